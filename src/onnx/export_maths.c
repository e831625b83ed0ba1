/* Exporting arithmetic: the families' functions under their ONNX names; what has no operator of its own is composed. */
#include <math.h>
#include <string.h>

#include "onnx/export.h"

/* The whole numbers low .. high are those of a type but for the zero point; a reader takes the derivative straight
 * through QuantizeLinear, as here. */
static bool is_grid(const float *ends, float numbers)
{
    return ends[1] - ends[0] == numbers - 1 && ends[0] <= 0 && ends[1] >= 0 && ends[0] == rintf(ends[0]);
}

int pr_export_opset(const pr_node *from)
{
    if (from->op == PR_OP_NORMALIZE)
        return 17;
    if (from->op == PR_OP_AVERAGE_POOL && (from->attrs.pool.dilation[0] > 1 || from->attrs.pool.dilation[1] > 1))
        return 19;
    if (from->op != PR_OP_MAP)
        return 13;
    switch (from->attrs.map.function) {
    case PR_MAP_HARD_SWISH:
        return 14;
    case PR_MAP_QUANTIZE:
        return is_grid(from->attrs.map.parameter, 1 << 16) ? 21 : 13;
    case PR_MAP_MISH:
        return 18;
    case PR_MAP_GELU:
    case PR_MAP_GELU_TANH:
        return 20;
    default:
        return 13;
    }
}

/* The node's only input goes through an operator in front of it. */
static parry_status through(exporter *ex, PrOnnx__NodeProto *node, size_t input, const char *type, const char *suffix,
                            PrOnnx__NodeProto **out)
{
    TRY(pr_export_before(ex, node, type, suffix, out));
    pr_export_input(*out, node->input[input]);
    node->input[input] = (*out)->output[0];
    return PARRY_OK;
}

/* What the node computes is a truth value: it goes on as the numbers 0 and 1. The operator keeps the node's name, since
 * the Cast behind it is nothing when the file is read. */
static parry_status as_numbers(exporter *ex, const char *type, PrOnnx__NodeProto *node, PrOnnx__NodeProto **out)
{
    char *const name = node->name;
    TRY(pr_export_before(ex, node, type, ".truth", out));
    node->name = (*out)->name;
    (*out)->name = name;
    for (size_t i = 0; i < node->n_input; i++)
        pr_export_input(*out, node->input[i]);
    node->input[0] = (*out)->output[0];
    node->n_input = 1;
    node->op_type = (char *)"Cast";
    return pr_export_int(ex, node, "to", PR_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT);
}

static parry_status add_text(exporter *ex, PrOnnx__NodeProto *node, const char *name, const char *text)
{
    PrOnnx__AttributeProto *attribute;
    TRY(pr_export_attribute(ex, node, name, PR_ONNX__ATTRIBUTE_PROTO__TYPE__STRING, &attribute));
    attribute->s = (ProtobufCBinaryData){strlen(text), (uint8_t *)text};
    return PARRY_OK;
}

/* ---- functions of one tensor ------------------------------------------------------------------------------------- */

/* x times sigmoid(a x) */
static parry_status swish(exporter *ex, float a, PrOnnx__NodeProto *node)
{
    PrOnnx__NodeProto *scaled, *gate;
    char *x = node->input[0], *inside = x;
    node->op_type = (char *)"Mul";
    if (a != 1) {
        TRY(pr_export_before(ex, node, "Mul", ".scaled", &scaled));
        pr_export_input(scaled, x);
        TRY(pr_export_number(ex, scaled, ".factor", a));
        inside = scaled->output[0];
    }
    TRY(pr_export_before(ex, node, "Sigmoid", ".gate", &gate));
    pr_export_input(gate, inside);
    pr_export_input(node, gate->output[0]);
    return PARRY_OK;
}

static parry_status clip(exporter *ex, float low, float high, PrOnnx__NodeProto *node)
{
    node->op_type = (char *)"Clip";
    TRY(pr_export_number(ex, node, ".min", low));
    return pr_export_number(ex, node, ".max", high);
}

/* Quantised in steps of 1, and back. */
static parry_status quantize(exporter *ex, const pr_node *from, PrOnnx__NodeProto *node)
{
    const float *ends = from->attrs.map.parameter;
    const bool bytes = is_grid(ends, 1 << 8);
    const uint8_t zero_8 = bytes ? (uint8_t)-ends[0] : 0;
    const uint16_t zero_16 = bytes ? 0 : (uint16_t)-ends[0];
    PrOnnx__NodeProto *whole;
    TRY(through(ex, node, 0, "QuantizeLinear", ".whole", &whole));
    TRY(pr_export_number(ex, whole, ".scale", 1));
    TRY(bytes ? pr_export_constant(ex, whole, ".zero", PR_ONNX__TENSOR_PROTO__DATA_TYPE__UINT8, 0, 0, &zero_8,
                                   sizeof zero_8)
              : pr_export_constant(ex, whole, ".zero", PR_ONNX__TENSOR_PROTO__DATA_TYPE__UINT16, 0, 0, &zero_16,
                                   sizeof zero_16));
    node->op_type = (char *)"DequantizeLinear";
    node->name = whole->name;
    whole->name = from->name; /* which is what it is read as */
    pr_export_input(node, whole->input[1]);
    pr_export_input(node, whole->input[2]);
    return PARRY_OK;
}

parry_status pr_export_map(exporter *ex, const pr_node *from, PrOnnx__NodeProto *node)
{
    static const char *const names[] = {"alpha", "beta", "gamma"};
    const pr_map function = from->attrs.map.function;
    const float *parameter = from->attrs.map.parameter;
    PrOnnx__NodeProto *other;
    node->op_type = (char *)pr_map_name(function);
    switch (function) {
    case PR_MAP_SWISH:
        return swish(ex, parameter[0], node);
    case PR_MAP_QUANTIZE:
        if (is_grid(parameter, 1 << 8) || is_grid(parameter, 1 << 16))
            return quantize(ex, from, node);
        TRY(through(ex, node, 0, "Round", ".round", &other)); /* zero points by channel: no form keeps the derivative */
        return clip(ex, parameter[0], parameter[1], node);
    case PR_MAP_CLIP:
        return clip(ex, parameter[0], parameter[1], node);
    case PR_MAP_POWER:
        node->op_type = (char *)"Pow";
        return pr_export_number(ex, node, ".exponent", parameter[0]);
    case PR_MAP_NOT:
        TRY(as_numbers(ex, "Equal", node, &other));
        return pr_export_number(ex, other, ".zero", 0);
    case PR_MAP_GELU_TANH:
        node->op_type = (char *)"Gelu";
        return add_text(ex, node, "approximate", "tanh");
    default:
        for (int i = 0; i < 3; i++)
            if (!isnan(pr_map_defaults(function)[i]))
                TRY(pr_export_float(ex, node, names[i], parameter[i]));
        return PARRY_OK;
    }
}

/* ---- functions of two and three ---------------------------------------------------------------------------------- */

parry_status pr_export_binary(exporter *ex, const pr_node *from, PrOnnx__NodeProto *node)
{
    const pr_binary function = from->attrs.binary.function;
    PrOnnx__NodeProto *other, *truth;
    node->op_type = (char *)pr_binary_name(function);
    if (function < PR_BINARY_EQUAL)
        return PARRY_OK;
    TRY(as_numbers(ex, pr_binary_name(function), node, &other));
    for (size_t i = 0; i < 2 && (function == PR_BINARY_AND || function == PR_BINARY_OR); i++) {
        TRY(pr_export_before(ex, node, "Cast", ".operand", &truth)); /* behind `other`: the two change places */
        pr_export_input(truth, other->input[i]);
        TRY(pr_export_int(ex, truth, "to", PR_ONNX__TENSOR_PROTO__DATA_TYPE__BOOL));
        other->input[i] = truth->output[0];
        PrOnnx__NodeProto **at = &ex->file->node[ex->file->n_node - 2];
        while (*at != other)
            at--;
        memmove(at + 1, at, (size_t)(&ex->file->node[ex->file->n_node - 2] - at) * sizeof *at);
        *at = truth;
    }
    return PARRY_OK;
}

parry_status pr_export_where(exporter *ex, const pr_node *from, PrOnnx__NodeProto *node)
{
    PrOnnx__NodeProto *cast;
    (void)from;
    TRY(through(ex, node, 0, "Cast", ".condition", &cast));
    return pr_export_int(ex, cast, "to", PR_ONNX__TENSOR_PROTO__DATA_TYPE__BOOL);
}

/* ---- over axes --------------------------------------------------------------------------------------------------- */

/* Axes are an attribute up to opset 17, except those of ReduceSum. */
parry_status pr_export_reduce(exporter *ex, const pr_node *from, PrOnnx__NodeProto *node)
{
    int64_t axes[PR_RANK_MAX];
    int narrow[PR_RANK_MAX], count = 0;
    for (int d = 0; d < PR_RANK_MAX; d++)
        if (from->attrs.reduce.axes >> d & 1) {
            narrow[count] = d;
            axes[count++] = d;
        }
    node->op_type = (char *)pr_reduce_name(from->attrs.reduce.function);
    if (ex->opset >= 18 || from->attrs.reduce.function == PR_REDUCE_SUM)
        return pr_export_int_list(ex, node, ".axes", axes, count);
    return pr_export_ints(ex, node, "axes", narrow, count);
}

parry_status pr_export_arg_max(exporter *ex, const pr_node *from, PrOnnx__NodeProto *node)
{
    PrOnnx__NodeProto *index;
    TRY(as_numbers(ex, "ArgMax", node, &index));
    TRY(pr_export_int(ex, index, "select_last_index", from->attrs.axis.last));
    return pr_export_int(ex, index, "axis", from->attrs.axis.axis);
}

/* LayerNormalization, whose scale is 1. */
parry_status pr_export_normalize(exporter *ex, const pr_node *from, PrOnnx__NodeProto *node)
{
    const pr_dims dims = ex->model->graph->values[from->in[0]].dims;
    const int axis = from->attrs.norm.axis;
    int64_t count = 1;
    float *ones;
    char *name;
    for (int d = axis; d < dims.rank; d++)
        count *= dims.dim[d];
    TRY(MAKE(ex, count, &ones));
    for (int64_t i = 0; i < count; i++)
        ones[i] = 1;
    TRY(pr_export_name(ex, node->output[0], ".ones", &name));
    TRY(pr_export_tensor(ex, name, PR_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, dims.rank - axis, dims.dim + axis, ones,
                         (size_t)count * sizeof *ones));
    node->op_type = (char *)"LayerNormalization";
    pr_export_input(node, name);
    TRY(pr_export_int(ex, node, "axis", axis));
    return pr_export_float(ex, node, "epsilon", from->attrs.norm.eps);
}

parry_status pr_export_lrn(exporter *ex, const pr_node *from, PrOnnx__NodeProto *node)
{
    TRY(pr_export_int(ex, node, "size", from->attrs.lrn.size));
    TRY(pr_export_float(ex, node, "alpha", from->attrs.lrn.alpha));
    TRY(pr_export_float(ex, node, "beta", from->attrs.lrn.beta));
    return pr_export_float(ex, node, "bias", from->attrs.lrn.bias);
}

/* ---- products ---------------------------------------------------------------------------------------------------- */

parry_status pr_export_matmul(exporter *ex, const pr_node *from, PrOnnx__NodeProto *node)
{
    for (size_t i = 0; i < 2; i++) {
        const int rank = ex->model->graph->values[from->in[i]].dims.rank;
        int perm[PR_RANK_MAX];
        PrOnnx__NodeProto *transpose;
        if (!from->attrs.matmul.transposed[i])
            continue;
        for (int d = 0; d < rank; d++)
            perm[d] = d < rank - 2 ? d : 2 * rank - 3 - d;
        TRY(through(ex, node, i, "Transpose", i ? ".right" : ".left", &transpose));
        TRY(pr_export_ints(ex, transpose, "perm", perm, rank));
    }
    return PARRY_OK;
}

parry_status pr_export_conv_transpose(exporter *ex, const pr_node *from, PrOnnx__NodeProto *node)
{
    const pr_attrs *a = &from->attrs;
    const int64_t *x = ex->model->graph->values[from->in[0]].dims.dim, size[] = {a->conv.in_h, a->conv.in_w};
    int more[2];
    for (int i = 0; i < 2; i++)
        more[i] = (int)(size[i] - (a->conv.stride[i] * (x[2 + i] - 1) + (a->conv.kernel[i] - 1) * a->conv.dilation[i] + 1 -
                                   a->conv.pad[i] - a->conv.pad[2 + i]));
    node->op_type = (char *)"ConvTranspose";
    TRY(pr_export_ints(ex, node, "kernel_shape", a->conv.kernel, 2));
    TRY(pr_export_ints(ex, node, "strides", a->conv.stride, 2));
    TRY(pr_export_ints(ex, node, "pads", a->conv.pad, 4));
    TRY(pr_export_ints(ex, node, "dilations", a->conv.dilation, 2));
    TRY(pr_export_ints(ex, node, "output_padding", more, 2));
    return pr_export_int(ex, node, "group", a->conv.group);
}
