/* Constants: where they come from, and arithmetic with them. The shape arithmetic that exporters leave behind (Shape,
 * Gather, Concat, ... of integers) is carried out and is gone from the network. */
#include <string.h>

#include "onnx/import.h"

/* ---- sources ---------------------------------------------------------------------------------------------------- */

parry_status pr_import_constant(importer *imp, const onnx_node *node)
{
    const onnx_attribute *a;
    pr_constant out;
    if ((a = pr_attribute(node, "value")) && a->t) {
        TRY(pr_constant_read(&imp->budget, pr_node_output(imp, node)->name, a->t, &out));
    } else if ((a = pr_attribute(node, "value_float"))) {
        TRY(pr_constant_make(&imp->budget, false, 0, NULL, &out));
        *(float *)out.owned = a->f;
    } else if ((a = pr_attribute(node, "value_floats"))) {
        TRY(pr_constant_make(&imp->budget, false, 1, &(int64_t){(int64_t)a->n_floats}, &out));
        if (a->n_floats)
            memcpy(out.owned, a->floats, a->n_floats * sizeof *a->floats);
    } else if ((a = pr_attribute(node, "value_int"))) {
        TRY(pr_constant_ints(&imp->budget, &a->i, 1, &out));
        out.rank = 0;
    } else if ((a = pr_attribute(node, "value_ints"))) {
        TRY(pr_constant_ints(&imp->budget, a->ints, (int64_t)a->n_ints, &out));
    } else {
        return pr_node_missing(imp, node, "of another kind than numbers");
    }
    pr_define_constant(imp, node, &out);
    return PARRY_OK;
}

parry_status pr_import_constant_of_shape(importer *imp, const onnx_node *node)
{
    const onnx_attribute *a = pr_attribute(node, "value");
    pr_constant value = {.rank = 1, .dim = {1}, .count = 1, .f = &(float){0}}, out;
    int_list dims;
    bool found;
    TRY(pr_list(imp, node, "input", 0, &dims, &found));
    for (int d = 0; d < dims.count; d++)
        if (dims.at[d] < 0)
            return pr_node_fail(imp, node, "%lld is no size", (long long)dims.at[d]);
    if (a && a->t)
        TRY(pr_constant_read(&imp->budget, pr_node_output(imp, node)->name, a->t, &value));
    parry_status status = value.count == 1 ? pr_constant_make(&imp->budget, value.integer, dims.count, dims.at, &out)
                                           : pr_node_fail(imp, node, "the value should be one number");
    if (status == PARRY_OK) {
        pr_constant_gather(&value, 0, (int64_t[PR_CONSTANT_RANK]){0}, &out);
        pr_define_constant(imp, node, &out);
    }
    pr_constant_release(&value);
    return status;
}

/* 1 where the constant is not 0. */
static parry_status cast_to_truth(importer *imp, const onnx_node *node, const pr_constant *x)
{
    pr_constant out;
    TRY(pr_constant_make(&imp->budget, true, x->rank, x->dim, &out));
    for (int64_t e = 0; e < out.count; e++)
        ((int64_t *)out.owned)[e] = x->integer ? x->i[e] != 0 : x->f[e] != 0;
    pr_define_constant(imp, node, &out);
    return PARRY_OK;
}

/* Truth values are the numbers 0 and 1. */
static bool is_truth(const pr_graph *graph, pr_value value)
{
    const pr_node *from = pr_graph_producer(graph, value);
    return from && ((from->op == PR_OP_BINARY && from->attrs.binary.function >= PR_BINARY_EQUAL) ||
                    (from->op == PR_OP_MAP && from->attrs.map.function == PR_MAP_NOT));
}

/* Between float and integer constants; activations are float whatever their width in the file. */
parry_status pr_import_cast(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    int64_t to;
    TRY(pr_attribute_int(imp, node, "to", 0, 1, 1 << 10, &to));
    const bool to_float = to == PR_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT ||
                          to == PR_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16 ||
                          to == PR_ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE;
    const bool to_integer =
        to == PR_ONNX__TENSOR_PROTO__DATA_TYPE__INT32 || to == PR_ONNX__TENSOR_PROTO__DATA_TYPE__INT64;
    if (to == PR_ONNX__TENSOR_PROTO__DATA_TYPE__BOOL && pr_is_constant(x))
        return cast_to_truth(imp, node, &x->constant);
    if (to == PR_ONNX__TENSOR_PROTO__DATA_TYPE__BOOL) {
        pr_value value = x->value;
        for (int i = 0; i < 2 && !is_truth(imp->model->graph, x->value); i++)
            TRY(pr_add_map(imp, node, PR_MAP_NOT, 0, 0, 0, &value));
        pr_define_value(imp, node, value);
        return PARRY_OK;
    }
    if (pr_is_value(x) ? !to_float : !to_float && !to_integer)
        return pr_node_missing(imp, node, "to a type that is neither float nor a plain integer");
    if (pr_is_value(x) || x->constant.integer == to_integer) {
        pr_define_same(imp, node, x);
        return PARRY_OK;
    }
    pr_constant out;
    TRY(pr_constant_make(&imp->budget, to_integer, x->constant.rank, x->constant.dim, &out));
    for (int64_t e = 0; e < out.count; e++) {
        const float f = to_integer ? x->constant.f[e] : 0;
        if (to_integer)
            ((int64_t *)out.owned)[e] = f >= -0x1p62f && f <= 0x1p62f ? (int64_t)f : 0;
        else
            ((float *)out.owned)[e] = (float)x->constant.i[e];
    }
    pr_define_constant(imp, node, &out);
    return PARRY_OK;
}

/* ---- arithmetic ------------------------------------------------------------------------------------------------- */

static float float_result(pr_op op, float a, float b)
{
    return op == PR_OP_ADD ? a + b : op == PR_OP_SUB ? a - b : op == PR_OP_MUL ? a * b : a / b;
}

/* Broadcasts a and b into new constants x and y of the same shape. */
static parry_status stretch_both(importer *imp, const onnx_node *node, const pr_constant *a, const pr_constant *b,
                                 pr_constant *x, pr_constant *y)
{
    pr_shape shape = {.rank = PR_MAX(a->rank, b->rank)};
    for (int d = 1; d <= shape.rank; d++) {
        const int64_t m = d <= a->rank ? a->dim[a->rank - d] : 1, n = d <= b->rank ? b->dim[b->rank - d] : 1;
        if (m != n && m != 1 && n != 1)
            return pr_node_fail(imp, node, "sizes %lld and %lld do not broadcast", (long long)m, (long long)n);
        shape.dim[shape.rank - d] = m == 1 ? n : m;
    }
    TRY(pr_constant_stretch(&imp->budget, a, shape.rank, shape.dim, x));
    return pr_constant_stretch(&imp->budget, b, shape.rank, shape.dim, y);
}

static bool integer_power(int64_t a, int64_t b, int64_t *y)
{
    if (b < 0 || b > 64)
        return false;
    for (*y = 1; b > 0; b--)
        if (__builtin_mul_overflow(*y, a, y))
            return false;
    return true;
}

/* y = a function b of whole numbers; false where that is none of 64 bits. */
typedef bool (*whole)(int function, int64_t a, int64_t b, int64_t *y);

static bool whole_arithmetic(int op, int64_t a, int64_t b, int64_t *y)
{
    if (op == PR_OP_DIV) {
        if (b == 0 || (a == INT64_MIN && b == -1))
            return false;
        *y = a / b;
        return true;
    }
    return op == PR_OP_ADD   ? !__builtin_add_overflow(a, b, y)
           : op == PR_OP_SUB ? !__builtin_sub_overflow(a, b, y)
                             : !__builtin_mul_overflow(a, b, y);
}

static bool whole_function(int function, int64_t a, int64_t b, int64_t *y)
{
    switch (function) {
    case PR_BINARY_EQUAL:
        *y = a == b;
        return true;
    case PR_BINARY_POW:
        return integer_power(a, b, y);
    case PR_BINARY_MIN:
        *y = PR_MIN(a, b);
        return true;
    case PR_BINARY_MAX:
        *y = PR_MAX(a, b);
        return true;
    case PR_BINARY_GREATER:
    case PR_BINARY_LESS_OR_EQUAL:
        *y = (a > b) == (function == PR_BINARY_GREATER);
        return true;
    case PR_BINARY_LESS:
    case PR_BINARY_GREATER_OR_EQUAL:
        *y = (a < b) == (function == PR_BINARY_LESS);
        return true;
    case PR_BINARY_AND:
        *y = a && b;
        return true;
    case PR_BINARY_OR:
        *y = a || b;
        return true;
    default:
        return false;
    }
}

/* The remainder has the divisor's sign. */
static bool whole_remainder(int unused, int64_t a, int64_t b, int64_t *y)
{
    (void)unused;
    if (b == 0 || b == -1)
        return false;
    *y = a % b;
    *y += *y && (*y < 0) != (b < 0) ? b : 0;
    return true;
}

static parry_status fold_whole(importer *imp, const onnx_node *node, whole result, int function, const pr_constant *a,
                               const pr_constant *b)
{
    pr_constant x = {0}, y = {0};
    parry_status status;
    TRY_TO(done, stretch_both(imp, node, a, b, &x, &y));
    int64_t *to = x.owned;
    for (int64_t e = 0; e < x.count; e++)
        if (!result(function, to[e], y.i[e], &to[e])) {
            status = pr_node_missing(imp, node, "with a result that is no 64-bit number");
            goto done;
        }
    pr_define_constant(imp, node, &x);
done:
    pr_constant_release(&x);
    pr_constant_release(&y);
    return status;
}

parry_status pr_fold_binary(importer *imp, const onnx_node *node, pr_binary function, const pr_constant *a,
                            const pr_constant *b)
{
    if (!a->integer || !b->integer)
        return pr_import_folded(imp, node, false, pr_import_binary);
    return fold_whole(imp, node, whole_function, (int)function, a, b);
}

parry_status pr_import_mod(importer *imp, const onnx_node *node)
{
    const slot *a = pr_node_input(imp, node, 0), *b = pr_node_input(imp, node, 1);
    if (!pr_is_constant(b) || !a->constant.integer || !b->constant.integer)
        return pr_node_missing(imp, node, "of numbers that are not whole");
    return fold_whole(imp, node, whole_remainder, 0, &a->constant, &b->constant);
}

static parry_status fold_arithmetic(importer *imp, const onnx_node *node, pr_op op, const pr_constant *a,
                                    const pr_constant *b)
{
    pr_constant x = {0}, y = {0};
    parry_status status;
    if (a->integer != b->integer)
        return pr_node_fail(imp, node, "its inputs are of different types");
    if (a->integer)
        return fold_whole(imp, node, whole_arithmetic, (int)op, a, b);
    TRY_TO(done, stretch_both(imp, node, a, b, &x, &y));
    float *to = x.owned;
    for (int64_t e = 0; e < x.count; e++)
        to[e] = float_result(op, to[e], y.f[e]);
    pr_define_constant(imp, node, &x);
done:
    pr_constant_release(&x);
    pr_constant_release(&y);
    return status;
}

/* start, start + step, ... before limit, whole numbers. */
parry_status pr_import_range(importer *imp, const onnx_node *node)
{
    int64_t at[3], count = 0;
    pr_constant out;
    for (size_t i = 0; i < 3; i++) {
        const slot *x = pr_node_input(imp, node, i);
        if (!pr_is_constant(x) || !x->constant.integer || x->constant.count != 1)
            return pr_node_missing(imp, node, "of numbers that are not whole");
        at[i] = x->constant.i[0];
        if (at[i] < -INT32_MAX || at[i] > INT32_MAX)
            return pr_node_fail(imp, node, "%lld is out of range", (long long)at[i]);
    }
    if (at[2] == 0)
        return pr_node_fail(imp, node, "the step is 0");
    const int64_t way = at[1] - at[0];
    if (way != 0 && (way < 0) == (at[2] < 0))
        count = (way + at[2] - (at[2] > 0 ? 1 : -1)) / at[2];
    TRY(pr_constant_make(&imp->budget, true, 1, &count, &out));
    for (int64_t k = 0; k < count; k++)
        ((int64_t *)out.owned)[k] = at[0] + k * at[2];
    pr_define_constant(imp, node, &out);
    return PARRY_OK;
}

/* Where of constants: numbers are only chosen, whole ones stay whole. */
parry_status pr_fold_where(importer *imp, const onnx_node *node, const pr_constant *condition, const pr_constant *a,
                           const pr_constant *b)
{
    pr_constant c = {0}, all = {0}, x = {0}, y = {0};
    parry_status status;
    if (!condition->integer || a->integer != b->integer)
        return pr_import_folded(imp, node, false, pr_import_where);
    TRY_TO(done, stretch_both(imp, node, a, b, &all, &y));
    pr_constant_release(&y);
    TRY_TO(done, stretch_both(imp, node, condition, &all, &c, &y)); /* the shape of all three */
    pr_constant_release(&y);
    TRY_TO(done, pr_constant_stretch(&imp->budget, a, c.rank, c.dim, &x));
    TRY_TO(done, pr_constant_stretch(&imp->budget, b, c.rank, c.dim, &y));
    for (int64_t e = 0; e < c.count; e++) {
        if (c.i[e])
            continue;
        if (x.integer)
            ((int64_t *)x.owned)[e] = y.i[e];
        else
            ((float *)x.owned)[e] = y.f[e];
    }
    pr_define_constant(imp, node, &x);
done:
    pr_constant_release(&c);
    pr_constant_release(&all);
    pr_constant_release(&x);
    pr_constant_release(&y);
    return status;
}

/* A constant vector added to a GEMM or convolution that has no bias and no other reader becomes its bias. */
static parry_status fold_bias(importer *imp, const slot *x, slot *constant, bool *folded)
{
    pr_graph *graph = imp->model->graph;
    const pr_value_info *value = &graph->values[x->value];
    const pr_constant *c = &constant->constant;
    *folded = false;
    if (value->kind != PR_VALUE_NODE || x->uses != 1)
        return PARRY_OK;
    const int32_t producer = value->producer;
    const pr_op op = graph->nodes[producer].op;
    const int channels_at = value->dims.rank == 4 ? 3 : 1; /* from the right */
    if ((op != PR_OP_GEMM && op != PR_OP_CONV) || graph->nodes[producer].inputs != 2 || c->rank < channels_at ||
        c->rank > value->dims.rank || c->count != value->dims.dim[1] || c->dim[c->rank - channels_at] != c->count)
        return PARRY_OK;
    pr_value bias;
    if (c->rank == 1) {
        TRY(pr_weight_of(imp, constant, PR_WEIGHT_VECTOR, false, &bias));
    } else {
        float *data;
        TRY(pr_weight_new(imp, constant, PR_WEIGHT_VECTOR, 1, &c->count, &bias, &data));
        memcpy(data, c->f, (size_t)c->count * sizeof *data);
    }
    graph->nodes[producer].in[2] = bias;
    graph->nodes[producer].inputs = 3;
    *folded = true;
    return PARRY_OK;
}

/* ---- operands ---------------------------------------------------------------------------------------------------- */

parry_status pr_operand_as(importer *imp, const onnx_node *node, const slot *x, slot *operand, pr_weight_role role,
                           pr_value *out)
{
    const pr_constant *c = &operand->constant;
    int first = 0;
    *out = operand->value;
    if (pr_is_value(operand))
        return PARRY_OK;
    *out = -1;
    if (!c->count)
        return pr_node_fail(imp, node, "'%s' is empty", operand->name);
    const bool batch = pr_has_batch_axis(imp, x);
    const int rank = batch ? pr_dims_of(imp, x)->rank : PR_RANK_MAX + 1;
    while (first < c->rank && c->rank - first >= rank && c->dim[first] == 1)
        first++;
    if (c->rank - first >= rank)
        return pr_node_missing(imp, node, "with a constant that differs between images");
    if (first == 0 && c->rank > 0 && !c->integer)
        return pr_weight_of(imp, operand, role, false, out);
    float *data;
    if (c->rank - first == 0)
        TRY(pr_weight_new(imp, operand, role, 1, &(int64_t){1}, out, &data));
    else
        TRY(pr_weight_new(imp, operand, role, c->rank - first, c->dim + first, out, &data));
    for (int64_t i = 0; i < c->count; i++)
        data[i] = c->integer ? (float)c->i[i] : c->f[i];
    return PARRY_OK;
}

parry_status pr_operand(importer *imp, const onnx_node *node, const slot *x, slot *operand, pr_value *out)
{
    return pr_operand_as(imp, node, x, operand, PR_WEIGHT_CONSTANT, out);
}

parry_status pr_operand_plain(importer *imp, const onnx_node *node, slot *operand, pr_value *out)
{
    *out = operand->value;
    if (pr_is_value(operand))
        return PARRY_OK;
    if (!pr_is_float_constant(operand) || !operand->constant.count || !operand->constant.rank)
        return pr_node_missing(imp, node, "of such a constant");
    return pr_weight_of(imp, operand, PR_WEIGHT_KERNEL, false, out);
}

parry_status pr_emit_operands(importer *imp, const onnx_node *node, pr_op op, const pr_attrs *attrs, slot *const *operands,
                              int count)
{
    const slot *x = NULL;
    pr_value in[PR_NODE_IN];
    for (int i = 0; i < count; i++)
        if (pr_is_value(operands[i]) && (!x || pr_dims_of(imp, operands[i])->rank > pr_dims_of(imp, x)->rank))
            x = operands[i];
    for (int i = 0; i < count; i++) {
        TRY(pr_operand(imp, node, x, operands[i], &in[i]));
        if (in[i] < 0)
            return PARRY_OK;
    }
    return pr_emit(imp, node, op, attrs, in, count);
}

/* What a constant is that x is scaled or shifted by: behind a normalisation, a product or a transposed convolution a
 * parameter of that layer, as files have it in which the layer is one operator; but none is divided by. */
static pr_weight_role operand_role(const importer *imp, pr_op op, const slot *x)
{
    const pr_graph *graph = imp->model->graph;
    pr_value at = x->value;
    for (int steps = 0; op != PR_OP_DIV && steps < 3 && graph->values[at].kind == PR_VALUE_NODE; steps++) {
        const pr_node *node = &graph->nodes[graph->values[at].producer];
        if (node->op == PR_OP_NORMALIZE || node->op == PR_OP_MATMUL || node->op == PR_OP_CONV_GRAD_X)
            return PR_WEIGHT_VECTOR;
        if (node->op != PR_OP_MUL && node->op != PR_OP_RESHAPE)
            break;
        at = node->in[0];
    }
    return PR_WEIGHT_CONSTANT;
}

parry_status pr_import_arithmetic(importer *imp, const onnx_node *node)
{
    static const pr_op ops[] = {PR_OP_ADD, PR_OP_SUB, PR_OP_MUL, PR_OP_DIV};
    slot *input[2] = {pr_node_input(imp, node, 0), pr_node_input(imp, node, 1)};
    pr_value in[2];
    size_t which = 0;
    while (strcmp(node->op_type, pr_op_name(ops[which])) != 0)
        which++;
    if (pr_is_constant(input[0]) && pr_is_constant(input[1]))
        return fold_arithmetic(imp, node, ops[which], &input[0]->constant, &input[1]->constant);
    for (int i = 0; i < 2; i++) {
        slot *other = input[1 - i];
        in[i] = input[i]->value;
        if (pr_is_value(input[i]))
            continue;
        if (input[i]->constant.integer || !input[i]->constant.count)
            return pr_node_fail(imp, node, "'%s' should hold float numbers", input[i]->name);
        if (ops[which] == PR_OP_ADD) {
            bool folded;
            TRY(fold_bias(imp, other, input[i], &folded));
            if (folded) {
                pr_define_same(imp, node, other);
                return PARRY_OK;
            }
        }
        TRY(pr_operand_as(imp, node, other, input[i], operand_role(imp, ops[which], other), &in[i]));
        if (in[i] < 0)
            return PARRY_OK;
    }
    return pr_emit(imp, node, ops[which], NULL, in, 2);
}
