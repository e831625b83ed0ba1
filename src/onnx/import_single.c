/* Nodes that look inside the batch. Exporters write a transformer's attention with the batch as an axis among others:
 * moved behind the sequence, joined with the heads, and back. Such a node cannot be said of any number of images at
 * once, but it can be said of one: the tensor of a single image, batch axis of size 1 included, is one row of a value
 * with the images in front. So the node is carried out on N x (the file's axes), each of its axes one further to the
 * right. A result whose first axis has size 1 is an ordinary activation again. */
#include <string.h>

#include "onnx/import.h"

static const char moves_values[] = "that moves values from one image to another";

/* x of rank `rank` in the file's terms: an ordinary activation gets its batch of 1 as an axis, one of fewer axes more
 * of size 1, as broadcasting has it. */
static parry_status put_images_in_front(importer *imp, const onnx_node *node, slot *x, int rank)
{
    const pr_dims from = *pr_dims_of(imp, x);
    const int own = x->single ? from.rank - 1 : from.rank;
    pr_attrs attrs = {.shape = {.to = {.rank = 1, .dim = {PR_BATCH}}}};
    pr_dims *to = &attrs.shape.to;
    while (to->rank < 1 + rank - own)
        to->dim[to->rank++] = 1;
    if (!x->single)
        to->dim[to->rank++] = 1;
    for (int d = 1; d < from.rank; d++)
        to->dim[to->rank++] = from.dim[d];
    x->single = true;
    return pr_dims_equal(*to, from) ? PARRY_OK : pr_add_node(imp, node, PR_OP_RESHAPE, &attrs, &x->value, 1, &x->value);
}

/* A result that starts with an axis of size 1 has the batch there. */
static parry_status take_batch_back(importer *imp, const onnx_node *node, slot *x)
{
    const pr_dims from = *pr_dims_of(imp, x);
    pr_attrs attrs = {.shape = {.to = {.rank = from.rank - 1, .dim = {PR_BATCH}}}};
    x->single = from.rank < 3 || from.dim[1] != 1;
    if (x->single)
        return PARRY_OK;
    memcpy(attrs.shape.to.dim + 1, from.dim + 2, (size_t)(from.rank - 2) * sizeof from.dim[0]);
    return pr_add_node(imp, node, PR_OP_RESHAPE, &attrs, &x->value, 1, &x->value);
}

/* ---- operators that name axes ----------------------------------------------------------------------------------- */

/* What their axes are called, as an attribute or since some opset as an input, and which they are by default. */
static const struct named_axes {
    const char *type, *attribute;
    size_t input; /* 0: never */
    enum { ONE, LIST, PERMUTATION } form;
    int64_t by_default;
} named[] = {
    {"Transpose", "perm", 0, PERMUTATION, 0},
    {"Gather", "axis", 0, ONE, 0},
    {"Concat", "axis", 0, ONE, 1},
    {"Split", "axis", 0, ONE, 0},
    {"Softmax", "axis", 0, ONE, -1},
    {"LogSoftmax", "axis", 0, ONE, -1},
    {"LayerNormalization", "axis", 0, ONE, -1},
    {"Slice", "axes", 3, LIST, 0},
    {"ReduceMean", "axes", 1, LIST, 0},
    {"ReduceSum", "axes", 1, LIST, 0},
    {"ReduceMax", "axes", 1, LIST, 0},
    {"ReduceMin", "axes", 1, LIST, 0},
    {"ReduceL2", "axes", 1, LIST, 0},
    {"QuantizeLinear", "axis", 0, ONE, 1},
    {"DequantizeLinear", "axis", 0, ONE, 1},
};

/* Operators whose operands face each other from the last axis on: nothing changes but that the images are in front. */
static bool counts_from_the_right(const onnx_node *node)
{
    static const char *const types[] = {
        "MatMul",   "Add",        "Sub",   "Mul",       "Div",         "Pow",      "Min",   "Max",
        "Sum",      "Mean",       "Where", "Relu",      "LeakyRelu",   "Sigmoid",  "Tanh",  "Neg",
        "Identity", "Cast", "Expand",       "Clip",  "Erf",       "Gelu",        "Sqrt",     "Exp",   "Log",
        "Abs",      "Reciprocal", "Elu",   "HardSwish", "HardSigmoid", "Softplus", "Swish", "Mish"};
    for (size_t i = 0; i < PR_COUNT(types); i++)
        if (strcmp(node->op_type, types[i]) == 0)
            return true;
    return false;
}

/* The node's axes, counted from the left of the file's `rank`, each moved by one. */
static parry_status moved_axes(importer *imp, const onnx_node *node, const struct named_axes *row, int rank,
                               int64_t *axes, size_t *count)
{
    int_list list = {0};
    bool found = false;
    *count = 0;
    if (row->form == ONE) {
        const int64_t by_default =
            row->by_default == -1 && imp->opset < 13 && row->type[0] != 'L' ? 1 : row->by_default;
        list.count = 1;
        TRY(pr_attribute_int(imp, node, row->attribute, by_default, -rank, rank - 1, &list.at[0]));
    } else {
        TRY(pr_list(imp, node, row->attribute, row->input ? row->input : node->n_input, &list, &found));
    }
    if (row->form == PERMUTATION) {
        if (found && list.count != rank)
            return pr_node_fail(imp, node, "the attribute perm has %d numbers, expected %d", list.count, rank);
        axes[(*count)++] = 0;
    }
    if (row->form != ONE && !found)
        for (list.count = 0; list.count < rank; list.count++)
            list.at[list.count] = row->form == PERMUTATION ? rank - 1 - list.count : list.count;
    for (int i = 0; i < list.count; i++) {
        if (!pr_axis(&list.at[i], rank))
            return pr_node_fail(imp, node, "axis %lld of a tensor with %d", (long long)list.at[i], rank);
        axes[(*count)++] = list.at[i] + 1;
    }
    return PARRY_OK;
}

/* Translates the node with its axes moved: a copy in which they stand as an attribute. */
static parry_status translate_moved(importer *imp, const onnx_node *node, const struct named_axes *row, int rank,
                                    translation translate)
{
    int64_t axes[PR_CONSTANT_RANK + 1] = {0};
    onnx_attribute moved = PR_ONNX__ATTRIBUTE_PROTO__INIT, **attributes;
    onnx_node copy = *node;
    TRY(moved_axes(imp, node, row, rank, axes, &moved.n_ints));
    TRY(pr_alloc(imp->ctx, node->n_attribute + 1, &attributes));
    copy.attribute = attributes;
    copy.n_attribute = 0;
    for (size_t i = 0; i < node->n_attribute; i++)
        if (strcmp(node->attribute[i]->name, row->attribute) != 0)
            attributes[copy.n_attribute++] = node->attribute[i];
    attributes[copy.n_attribute++] = &moved;
    moved.name = (char *)row->attribute;
    moved.i = axes[0];
    moved.ints = axes;
    parry_status status = translate(imp, &copy);
    pr_free(attributes);
    return status;
}

/* ---- operators that only name a shape --------------------------------------------------------------------------- */

static bool is_type(const onnx_node *node, const char *type)
{
    return strcmp(node->op_type, type) == 0;
}

static parry_status squeezed(importer *imp, const onnx_node *node, const pr_shape *from, pr_shape *to)
{
    const bool insert = is_type(node, "Unsqueeze");
    int_list axes;
    bool found, named_one[PR_CONSTANT_RANK] = {false};
    TRY(pr_list(imp, node, "axes", 1, &axes, &found));
    const int rank = insert ? from->rank + axes.count : from->rank;
    for (int a = 0; a < axes.count; a++) {
        if (rank > PR_CONSTANT_RANK || !pr_axis(&axes.at[a], rank))
            return pr_node_fail(imp, node, "axis %lld of a tensor with %d", (long long)axes.at[a], rank);
        named_one[axes.at[a]] = true;
    }
    to->rank = 0;
    for (int d = 0, at = 0; d < rank; d++) {
        if (insert)
            to->dim[to->rank++] = named_one[d] || at >= from->rank ? 1 : from->dim[at++];
        else if (from->dim[d] != 1 || (found && !named_one[d]))
            to->dim[to->rank++] = from->dim[d];
    }
    return PARRY_OK;
}

static parry_status reshaped(importer *imp, const onnx_node *node, const pr_shape *from, pr_shape *to)
{
    int64_t allow_zero, have = 1, others = 1;
    int_list list;
    bool found;
    int inferred = -1;
    TRY(pr_attribute_int(imp, node, "allowzero", 0, 0, 1, &allow_zero));
    TRY(pr_list(imp, node, "shape", 1, &list, &found));
    for (int d = 0; d < from->rank; d++)
        have *= from->dim[d];
    to->rank = list.count;
    for (int d = 0; d < list.count; d++) {
        to->dim[d] = list.at[d] == 0 && !allow_zero && d < from->rank ? from->dim[d] : list.at[d];
        if (to->dim[d] == -1 && inferred < 0)
            inferred = d;
        else if (to->dim[d] < 1 || __builtin_mul_overflow(others, to->dim[d], &others))
            return pr_node_fail(imp, node, "%lld is no size for axis %d of the new shape", (long long)to->dim[d], d);
    }
    if (inferred >= 0)
        to->dim[inferred] = have / others;
    return PARRY_OK;
}

static parry_status flattened(importer *imp, const onnx_node *node, const pr_shape *from, pr_shape *to)
{
    int64_t axis;
    TRY(pr_attribute_int(imp, node, "axis", 1, -from->rank, from->rank, &axis));
    axis += axis < 0 ? from->rank : 0;
    *to = (pr_shape){.rank = 2, .dim = {1, 1}};
    for (int d = 0; d < from->rank; d++)
        to->dim[d >= axis] *= from->dim[d];
    return PARRY_OK;
}

/* The same values in another shape. */
static parry_status translate_shape(importer *imp, const onnx_node *node, const slot *x)
{
    const pr_dims dims = *pr_dims_of(imp, x);
    pr_shape from = {.rank = dims.rank - 1}, to = {0};
    memcpy(from.dim, dims.dim + 1, (size_t)from.rank * sizeof from.dim[0]);
    TRY(is_type(node, "Reshape")   ? reshaped(imp, node, &from, &to)
        : is_type(node, "Flatten") ? flattened(imp, node, &from, &to)
                                   : squeezed(imp, node, &from, &to));
    int64_t have = pr_dims_row(dims), count = 1;
    for (int d = 0; d < to.rank; d++)
        if (__builtin_mul_overflow(count, to.dim[d], &count))
            count = -1;
    if (count != have)
        return pr_node_fail(imp, node, "%lld values do not fill the new shape", (long long)have);
    if (to.rank < 1 || to.rank >= PR_RANK_MAX)
        return pr_node_missing(imp, node, "to a shape of this many axes");
    memmove(to.dim + 1, to.dim, (size_t)to.rank * sizeof to.dim[0]);
    to.dim[0] = PR_BATCH;
    to.rank++;
    return pr_define_reshaped(imp, node, x, &to);
}

/* x w' + c of one image's matrix x: a product with the transposed weights, which keep their name, and a sum. */
static parry_status translate_gemm(importer *imp, const onnx_node *node)
{
    slot *x = pr_node_input(imp, node, 0), *w = pr_node_input(imp, node, 1), *c = pr_node_input(imp, node, 2);
    int64_t trans_a, trans_b;
    float alpha, beta;
    pr_value in[2] = {x->value}, sum[2];
    TRY(pr_attribute_int(imp, node, "transA", 0, 0, 1, &trans_a));
    TRY(pr_attribute_int(imp, node, "transB", 0, 0, 1, &trans_b));
    TRY(pr_attribute_float(imp, node, "alpha", 1, &alpha));
    TRY(pr_attribute_float(imp, node, "beta", 1, &beta));
    if (trans_a || !pr_is_value(x))
        return pr_node_missing(imp, node, moves_values);
    if (!trans_b || alpha != 1 || beta != 1 || !pr_is_float_constant(w) || w->constant.rank != 2)
        return pr_import_gemm(imp, node);
    TRY(pr_weight_of(imp, w, PR_WEIGHT_KERNEL, true, &in[1]));
    TRY(pr_add_node(imp, node, PR_OP_MATMUL, &(pr_attrs){0}, in, 2, &sum[0]));
    if (c) {
        slot product = {.kind = SLOT_VALUE, .value = sum[0]};
        TRY(pr_operand_as(imp, node, &product, c, PR_WEIGHT_VECTOR, &sum[1]));
        if (sum[1] < 0)
            return PARRY_OK;
        TRY(pr_add_node(imp, node, PR_OP_ADD, NULL, sum, 2, &sum[0]));
    }
    pr_define_value(imp, node, sum[0]);
    return PARRY_OK;
}

/* ---- all together ----------------------------------------------------------------------------------------------- */

static parry_status translate_single(importer *imp, const onnx_node *node, int rank, translation translate)
{
    const slot *x = pr_node_input(imp, node, 0), *sizes = pr_node_input(imp, node, 1);
    if (is_type(node, "Expand") && (!pr_is_constant(sizes) || sizes->constant.count > rank))
        return pr_node_missing(imp, node, "to more axes, or to a computed shape");
    if (counts_from_the_right(node))
        return translate(imp, node);
    if (is_type(node, "Gemm"))
        return translate_gemm(imp, node);
    if (!pr_is_value(x))
        return pr_node_missing(imp, node, moves_values);
    if (is_type(node, "Reshape") || is_type(node, "Flatten") || is_type(node, "Squeeze") || is_type(node, "Unsqueeze"))
        return translate_shape(imp, node, x);
    for (size_t i = 0; i < PR_COUNT(named); i++)
        if (is_type(node, named[i].type))
            return translate_moved(imp, node, &named[i], rank, translate);
    return pr_node_missing(imp, node, moves_values);
}

parry_status pr_import_single(importer *imp, const onnx_node *node, translation translate)
{
    enum { INPUTS = 8 };
    slot before[INPUTS];
    int rank = 0;
    parry_status status = PARRY_OK;
    if (node->n_input > INPUTS)
        return pr_node_missing(imp, node, moves_values);
    for (size_t i = 0; i < node->n_input; i++) {
        const slot *x = pr_node_input(imp, node, i);
        before[i] = x ? *x : (slot){0};
        if (pr_is_value(x))
            rank = PR_MAX(rank, pr_dims_of(imp, x)->rank - x->single);
        else if (x && is_type(node, "Concat"))
            return pr_node_missing(imp, node, "of a constant and an activation");
    }
    if (rank + 1 > PR_RANK_MAX)
        return pr_node_missing(imp, node, "of a tensor of this many axes");
    for (size_t i = 0; i < node->n_input && status == PARRY_OK; i++)
        if (pr_is_value(pr_node_input(imp, node, i)))
            status = put_images_in_front(imp, node, pr_node_input(imp, node, i), rank);
    if (status == PARRY_OK)
        status = translate_single(imp, node, rank, translate);
    for (size_t i = 0; i < node->n_input; i++)
        if (pr_is_value(pr_node_input(imp, node, i))) {
            pr_node_input(imp, node, i)->value = before[i].value;
            pr_node_input(imp, node, i)->single = before[i].single;
        }
    for (size_t o = 0; o < node->n_output && status == PARRY_OK; o++) {
        slot *output = pr_node_output_at(imp, node, o);
        if (output && output->needed && output->kind == SLOT_VALUE)
            status = take_batch_back(imp, node, output);
    }
    return status;
}
