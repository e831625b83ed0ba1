/* Translations of arithmetic: functions of one, two and several tensors, and of axes. They take values with or without a
 * batch (of constants the importer makes values without one). */
#include <float.h>
#include <limits.h>
#include <math.h>
#include <string.h>

#include "onnx/import.h"

static const char over_batch[] = "over the batch";

bool pr_has_batch_axis(const importer *imp, const slot *x)
{
    const pr_dims *dims = pr_dims_of(imp, x);
    return dims->rank > 0 && dims->dim[0] == PR_BATCH;
}

parry_status pr_add_map(importer *imp, const onnx_node *node, pr_map function, float a, float b, float c, pr_value *value)
{
    const pr_attrs attrs = {.map = {function, {a, b, c}}};
    return pr_add_node(imp, node, PR_OP_MAP, &attrs, value, 1, value);
}

/* ---- functions of one tensor ------------------------------------------------------------------------------------- */

parry_status pr_import_map(importer *imp, const onnx_node *node)
{
    static const char *const names[] = {"alpha", "beta", "gamma"};
    int f = 0;
    pr_value value = pr_node_input(imp, node, 0)->value;
    while (strcmp(node->op_type, pr_map_name(f)) != 0)
        f++;
    float parameter[3] = {0};
    for (int i = 0; i < 3; i++)
        if (!isnan(pr_map_defaults(f)[i]))
            TRY(pr_attribute_float(imp, node, names[i], pr_map_defaults(f)[i], &parameter[i]));
    if (f == PR_MAP_GELU && pr_attribute_is(node, "approximate", "none", "tanh"))
        f = PR_MAP_GELU_TANH;
    TRY(pr_add_map(imp, node, f, parameter[0], parameter[1], parameter[2], &value));
    pr_define_value(imp, node, value);
    return PARRY_OK;
}

/* 1 - erf(x). ONNX has no such operator, but tf2onnx hands TensorFlow's on, which is in Keras' exact gelu. */
parry_status pr_import_erfc(importer *imp, const onnx_node *node)
{
    pr_value value = pr_node_input(imp, node, 0)->value, one;
    float *data;
    TRY(pr_add_map(imp, node, PR_MAP_ERF, 0, 0, 0, &value));
    TRY(pr_add_node(imp, node, PR_OP_NEG, NULL, &value, 1, &value));
    TRY(pr_weight_made(imp, node, "one", PR_WEIGHT_CONSTANT, 1, &(int64_t){1}, &one, &data));
    *data = 1;
    TRY(pr_add_node(imp, node, PR_OP_ADD, NULL, (pr_value[]){value, one}, 2, &value));
    pr_define_value(imp, node, value);
    return PARRY_OK;
}

/* Clip to [0, inf) is ReLU; without bounds it is nothing. */
parry_status pr_import_clip(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    float bound[2];
    pr_value value = x->value;
    TRY(pr_attribute_float(imp, node, "min", -FLT_MAX, &bound[0]));
    TRY(pr_attribute_float(imp, node, "max", FLT_MAX, &bound[1]));
    for (size_t i = 0; i < 2; i++) {
        const slot *input = pr_node_input(imp, node, 1 + i);
        if (input && (!pr_is_constant(input) || input->constant.count != 1))
            return pr_node_missing(imp, node, "to computed bounds");
        if (input)
            bound[i] = input->constant.integer ? (float)input->constant.i[0] : input->constant.f[0];
    }
    if (bound[0] <= -FLT_MAX && bound[1] >= FLT_MAX) {
        pr_define_same(imp, node, x);
        return PARRY_OK;
    }
    if (bound[0] == 0 && bound[1] >= FLT_MAX)
        return pr_emit(imp, node, PR_OP_RELU, NULL, &value, 1);
    TRY(pr_add_map(imp, node, PR_MAP_CLIP, bound[0], bound[1], 0, &value));
    pr_define_value(imp, node, value);
    return PARRY_OK;
}

/* ---- functions of two -------------------------------------------------------------------------------------------- */

static pr_value exponent_of_all(importer *imp, const onnx_node *node, float exponent, pr_value base, parry_status *status)
{
    pr_value value = base;
    if (exponent == 2)
        *status = pr_add_node(imp, node, PR_OP_MUL, NULL, (pr_value[]){base, base}, 2, &value);
    else if (exponent == 0.5f)
        *status = pr_add_map(imp, node, PR_MAP_SQRT, 0, 0, 0, &value);
    else if (exponent != 1)
        *status = pr_add_map(imp, node, PR_MAP_POWER, exponent, 0, 0, &value);
    return value;
}

parry_status pr_import_pow(importer *imp, const onnx_node *node)
{
    const slot *base = pr_node_input(imp, node, 0), *exponent = pr_node_input(imp, node, 1);
    if (!pr_is_value(base) || !pr_is_constant(exponent) || exponent->constant.count != 1 || exponent->constant.rank > 1)
        return pr_import_binary(imp, node);
    const pr_constant *c = &exponent->constant;
    parry_status status = PARRY_OK;
    pr_value value = exponent_of_all(imp, node, c->integer ? (float)c->i[0] : c->f[0], base->value, &status);
    TRY(status);
    pr_define_value(imp, node, value);
    return PARRY_OK;
}

parry_status pr_import_binary(importer *imp, const onnx_node *node)
{
    int f = 0;
    while (strcmp(node->op_type, pr_binary_name(f)) != 0)
        f++;
    const pr_attrs attrs = {.binary = {.function = f}};
    slot *a = pr_node_input(imp, node, 0), *b = pr_node_input(imp, node, 1);
    if (pr_is_constant(a) && pr_is_constant(b))
        return pr_fold_binary(imp, node, f, &a->constant, &b->constant);
    if (f == PR_BINARY_EQUAL && pr_is_constant(b) && b->constant.count == 1 && b->constant.rank <= 1 && !pr_truth(&b->constant)) {
        pr_value value = a->value;
        TRY(pr_add_map(imp, node, PR_MAP_NOT, 0, 0, 0, &value));
        pr_define_value(imp, node, value);
        return PARRY_OK;
    }
    return pr_emit_operands(imp, node, PR_OP_BINARY, &attrs, (slot *[]){a, b}, 2);
}

parry_status pr_import_where(importer *imp, const onnx_node *node)
{
    slot *in[] = {pr_node_input(imp, node, 0), pr_node_input(imp, node, 1), pr_node_input(imp, node, 2)};
    bool constant = true;
    for (int i = 0; i < 3; i++)
        constant &= pr_is_constant(in[i]);
    if (constant)
        return pr_fold_where(imp, node, &in[0]->constant, &in[1]->constant, &in[2]->constant);
    return pr_emit_operands(imp, node, PR_OP_WHERE, NULL, in, 3);
}

/* PRelu's slope is broadcast towards x; PyTorch's vector of channels has been given its axes by the exporter. */

/* ---- functions of any number: chains ----------------------------------------------------------------------------- */

parry_status pr_import_variadic(importer *imp, const onnx_node *node)
{
    const bool sum = strcmp(node->op_type, "Sum") == 0, mean = strcmp(node->op_type, "Mean") == 0;
    const pr_attrs attrs = {.binary = {.function = strcmp(node->op_type, "Min") == 0 ? PR_BINARY_MIN : PR_BINARY_MAX}};
    const slot *first = NULL;
    pr_value value = -1, share;
    for (size_t i = 0; i < node->n_input; i++)
        if (!pr_node_input(imp, node, i))
            return pr_node_fail(imp, node, "input %zu is missing", i);
    for (size_t i = 0; i < node->n_input && !first; i++)
        first = pr_is_value(pr_node_input(imp, node, i)) ? pr_node_input(imp, node, i) : NULL;
    if (!first)
        return pr_import_folded(imp, node, false, pr_import_variadic);
    for (size_t i = 0; i < node->n_input; i++) {
        pr_value in[2] = {value};
        TRY(pr_operand(imp, node, first, pr_node_input(imp, node, i), &in[1]));
        if (in[1] < 0)
            return PARRY_OK;
        value = in[1];
        if (in[0] >= 0)
            TRY(pr_add_node(imp, node, sum || mean ? PR_OP_ADD : PR_OP_BINARY, sum || mean ? NULL : &attrs, in, 2, &value));
    }
    if (mean && node->n_input > 1) {
        float *data;
        TRY(pr_weight_made(imp, node, "share", PR_WEIGHT_CONSTANT, 1, &(int64_t){1}, &share, &data));
        *data = 1 / (float)node->n_input;
        TRY(pr_add_node(imp, node, PR_OP_MUL, NULL, (pr_value[]){value, share}, 2, &value));
    }
    pr_define_value(imp, node, value);
    return PARRY_OK;
}

/* ---- over axes --------------------------------------------------------------------------------------------------- */

/* The node's output is `value`, of which the axes of size 1 in `axes` go unless they are kept. */
static parry_status define_reduced(importer *imp, const onnx_node *node, pr_value value, unsigned axes, bool keep)
{
    slot result = {.kind = SLOT_VALUE, .value = value};
    pr_shape from = pr_shape_of(imp, &result), to = {0};
    for (int d = 0; d < from.rank; d++)
        if (keep || !(axes >> d & 1))
            to.dim[to.rank++] = from.dim[d];
    return pr_define_reshaped(imp, node, &result, &to);
}

parry_status pr_import_reduce(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    const pr_dims dims = *pr_dims_of(imp, x);
    int64_t keep, nothing;
    int_list list;
    bool found;
    int f = 0;
    unsigned axes = 0;
    while (strcmp(node->op_type, pr_reduce_name(f)) != 0)
        f++;
    TRY(pr_attribute_int(imp, node, "keepdims", 1, 0, 1, &keep));
    TRY(pr_attribute_int(imp, node, "noop_with_empty_axes", 0, 0, 1, &nothing));
    TRY(pr_list(imp, node, "axes", 1, &list, &found));
    for (int i = 0, axis; i < list.count; i++) {
        TRY(pr_axis(imp, node, list.at[i], dims.rank, &axis));
        axes |= 1u << axis;
    }
    if (!list.count && !nothing)
        axes = (1u << dims.rank) - (1u << imp->in_front);
    if (pr_has_batch_axis(imp, x) && axes & 1)
        return pr_import_only_image(imp, node, over_batch, pr_import_reduce);
    pr_value value = x->value;
    const pr_attrs attrs = {.reduce = {f, axes}};
    if (f == PR_REDUCE_MEAN && dims.rank == 4 && axes == 0xc && pr_has_batch_axis(imp, x))
        TRY(pr_add_node(imp, node, PR_OP_GLOBAL_AVERAGE_POOL, NULL, &value, 1, &value));
    else if (axes)
        TRY(pr_add_node(imp, node, PR_OP_REDUCE, &attrs, &value, 1, &value));
    return define_reduced(imp, node, value, axes, keep);
}

/* At the end of the network the classes' scores are more than the largest one's number: it is peeled off. */
parry_status pr_import_arg_max(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    const int rank = pr_dims_of(imp, x)->rank;
    int64_t keep, last;
    int axis;
    TRY(pr_attribute_axis(imp, node, "axis", 0, rank, &axis));
    TRY(pr_attribute_int(imp, node, "keepdims", 1, 0, 1, &keep));
    TRY(pr_attribute_int(imp, node, "select_last_index", 0, 0, 1, &last));
    if (pr_has_batch_axis(imp, x) && axis == 0)
        return pr_import_only_image(imp, node, over_batch, pr_import_arg_max);
    if (pr_node_output(imp, node) == imp->output && axis == 1) {
        pr_define_same(imp, node, x);
        return PARRY_OK;
    }
    pr_value value = x->value;
    TRY(pr_add_node(imp, node, PR_OP_ARG_MAX, &(pr_attrs){.axis = {axis, last}}, &value, 1, &value));
    return define_reduced(imp, node, value, 1u << axis, keep);
}

/* x with the axes `first` .. `end` - 1 together as the last one, softmax, and back. */
static parry_status softmax_over(importer *imp, const onnx_node *node, pr_op op, const slot *x, int first, int end)
{
    const pr_dims dims = *pr_dims_of(imp, x);
    const pr_attrs last = {.axis = {-1}};
    pr_attrs perm = {0};
    pr_dims rows = dims;
    const bool moves = end != dims.rank, joins = end - first > 1;
    pr_value value = x->value;
    for (int d = 0; d < dims.rank; d++) /* swaps the axis with the last */
        perm.perm.perm[d] = !moves ? d : d == first ? dims.rank - 1 : d == dims.rank - 1 ? first : d;
    rows.rank = first + 1;
    rows.dim[first] = 1;
    for (int d = first; d < dims.rank; d++)
        rows.dim[first] *= dims.dim[d];
    if (moves)
        TRY(pr_add_node(imp, node, PR_OP_TRANSPOSE, &perm, &value, 1, &value));
    if (joins)
        TRY(pr_add_reshape(imp, node, rows, &value));
    TRY(pr_add_node(imp, node, op, &last, &value, 1, &value));
    if (joins)
        TRY(pr_add_reshape(imp, node, dims, &value));
    if (moves)
        TRY(pr_add_node(imp, node, PR_OP_TRANSPOSE, &perm, &value, 1, &value));
    pr_define_value(imp, node, value);
    return PARRY_OK;
}

/* Before opset 13 all axes from `axis` on were taken together. Over the classes at the end of the network it is peeled
 * off: what stands before it are the logits. */
parry_status pr_import_softmax(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    const pr_dims *dims = pr_dims_of(imp, x);
    const pr_op op = strcmp(node->op_type, "Softmax") == 0 ? PR_OP_SOFTMAX : PR_OP_LOG_SOFTMAX;
    const bool together = imp->opset < 13;
    int axis;
    TRY(pr_attribute_axis(imp, node, "axis", together ? 1 : -1, dims->rank, &axis));
    if (pr_has_batch_axis(imp, x) && axis == 0)
        return pr_import_only_image(imp, node, over_batch, pr_import_softmax);
    const bool classes = axis == 1 && (dims->rank == 2 || together || dims->dim[1] == pr_dims_row(*dims));
    if (classes && pr_node_output(imp, node) == imp->output) {
        imp->model->tail = op;
        imp->peeled = true;
        imp->peeled_value = x->value;
        pr_define_same(imp, node, x);
        return PARRY_OK;
    }
    return softmax_over(imp, node, op, x, axis, together ? dims->rank : axis + 1);
}
