/* Translations of QuantizeLinear and DequantizeLinear. A quantised network computes with numbers on a grid; its
 * derivative is taken straight through the rounding, where the grid does not end. */
#include <math.h>
#include <string.h>

#include "onnx/import.h"

/* What whole numbers a type holds. */
static const struct {
    int32_t type;
    float low, high;
} ranges[] = {
    {PR_ONNX__TENSOR_PROTO__DATA_TYPE__UINT8, 0, 255},
    {PR_ONNX__TENSOR_PROTO__DATA_TYPE__INT8, -128, 127},
    {PR_ONNX__TENSOR_PROTO__DATA_TYPE__UINT16, 0, 65535},
    {PR_ONNX__TENSOR_PROTO__DATA_TYPE__INT16, -32768, 32767},
};

/* Scale or zero point (`input`) as an operand for x: a number, or one for each position along the attribute axis. */
static parry_status grid_operand(importer *imp, const onnx_node *node, const slot *x, slot *input, pr_value *out)
{
    const int rank = pr_dims_of(imp, x)->rank;
    const pr_constant *c = &input->constant;
    int64_t dim[PR_RANK_MAX];
    int axis = rank - 1;
    float *data;
    *out = -1;
    if (!pr_is_constant(input) || c->rank > 1)
        return pr_node_missing(imp, node, "with a computed scale, or one for each block");
    const bool vector = c->count > 1;
    if (vector)
        TRY(pr_attribute_axis(imp, node, "axis", 1, rank, &axis));
    if (vector && c->count != pr_dims_of(imp, x)->dim[axis])
        return pr_node_fail(imp, node, "'%s' does not fit the axis", input->name);
    const int axes = rank - axis;
    for (int d = 0; d < axes; d++)
        dim[d] = d ? 1 : c->count;
    TRY(pr_weight_new(imp, input, PR_WEIGHT_CONSTANT, axes, dim, out, &data));
    for (int64_t i = 0; i < c->count; i++)
        data[i] = c->integer ? (float)c->i[i] : c->f[i];
    return PARRY_OK;
}

static bool all_zero(const slot *zero)
{
    for (int64_t i = 0; i < zero->constant.count; i++)
        if (zero->constant.integer ? zero->constant.i[i] != 0 : zero->constant.f[i] != 0)
            return false;
    return true;
}

static bool is_one(const slot *scale)
{
    const pr_constant *c = &scale->constant;
    return pr_is_float_constant(scale) && c->count == 1 && c->rank <= 1 && c->f[0] == 1;
}

/* Whether all that read the node's output are DequantizeLinear nodes that take the zero point off again. */
static bool only_dequantized(const importer *imp, const onnx_node *node)
{
    const char *output = node->output[0];
    for (size_t n = 0; n < imp->file->n_node; n++) {
        const onnx_node *reader = imp->file->node[n];
        for (size_t i = 0; i < reader->n_input; i++)
            if (strcmp(reader->input[i], output) == 0 &&
                (strcmp(reader->op_type, "DequantizeLinear") != 0 || i > 0 || reader->n_input < 3 ||
                 strcmp(reader->input[2], node->input[2]) != 0))
                return false;
    }
    return strcmp(output, imp->output_name) != 0;
}

/* One rounding: value = op(value, constant). */
static parry_status grid_step(importer *imp, const onnx_node *node, const slot *x, pr_op op, slot *input,
                              pr_value *value)
{
    pr_value in[2] = {*value, -1};
    if ((op == PR_OP_DIV || op == PR_OP_MUL) && is_one(input))
        return PARRY_OK;
    TRY(grid_operand(imp, node, x, input, &in[1]));
    *value = -1;
    return in[1] < 0 ? PARRY_OK : pr_add_node(imp, node, op, NULL, in, 2, value);
}

/* y = limited(round(x / scale) + zero point) */
parry_status pr_import_quantize(importer *imp, const onnx_node *node)
{
    slot *x = pr_node_input(imp, node, 0), *zero = pr_node_input(imp, node, 2);
    int64_t type;
    pr_value value = x->value;
    float low = 0, high = -1;
    TRY(pr_attribute_int(imp, node, "output_dtype", 0, 0, 1 << 10, &type));
    if (zero && !pr_is_constant(zero))
        return pr_node_missing(imp, node, "with a computed zero point");
    if (zero && zero->constant.type)
        type = zero->constant.type;
    type = type ? type : PR_ONNX__TENSOR_PROTO__DATA_TYPE__UINT8;
    for (size_t i = 0; i < PR_COUNT(ranges); i++) {
        low = ranges[i].type == type ? ranges[i].low : low;
        high = ranges[i].type == type ? ranges[i].high : high;
    }
    if (high < low)
        return pr_node_missing(imp, node, "to a type that is no integer of 8 or 16 bits");
    TRY(grid_step(imp, node, x, PR_OP_DIV, pr_node_input(imp, node, 1), &value));
    if (value < 0)
        return PARRY_OK;
    const bool shifted = zero && !all_zero(zero);
    if (!shifted || zero->constant.count == 1) {
        const float at = shifted ? (float)zero->constant.i[0] : 0;
        TRY(pr_add_map(imp, node, PR_MAP_QUANTIZE, low - at, high - at, 0, &value));
    } else {
        TRY(pr_add_map(imp, node, PR_MAP_QUANTIZE, -INFINITY, INFINITY, 0, &value));
    }
    pr_node_output(imp, node)->unshifted = shifted && zero->constant.count == 1 && only_dequantized(imp, node);
    if (shifted && !pr_node_output(imp, node)->unshifted)
        TRY(grid_step(imp, node, x, PR_OP_ADD, zero, &value));
    if (shifted && zero->constant.count > 1)
        TRY(pr_add_map(imp, node, PR_MAP_CLIP, low, high, 0, &value));
    pr_define_value(imp, node, value);
    return PARRY_OK;
}

/* y = (x - zero point) scale */
parry_status pr_import_dequantize(importer *imp, const onnx_node *node)
{
    slot *x = pr_node_input(imp, node, 0), *zero = pr_node_input(imp, node, 2);
    pr_value value = x->value;
    if (zero && !pr_is_constant(zero))
        return pr_node_missing(imp, node, "with a computed zero point");
    if (zero && !all_zero(zero) && !x->unshifted)
        TRY(grid_step(imp, node, x, PR_OP_SUB, zero, &value));
    if (value >= 0)
        TRY(grid_step(imp, node, x, PR_OP_MUL, pr_node_input(imp, node, 1), &value));
    if (value >= 0)
        pr_define_value(imp, node, value);
    return PARRY_OK;
}
