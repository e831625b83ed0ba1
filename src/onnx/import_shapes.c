/* Translations of the operators that rearrange, and of Shape: of activations they become RESHAPE and TRANSPOSE, of
 * constants they are carried out. Shapes are computed in the file's terms, so that it does not matter where the batch
 * stands. */
#include <string.h>

#include "onnx/import.h"

pr_shape pr_shape_of(const importer *imp, const slot *x)
{
    pr_shape s = {0};
    if (pr_is_value(x)) {
        const pr_dims *dims = pr_dims_of(imp, x);
        s.rank = dims->rank;
        memcpy(s.dim, dims->dim, sizeof dims->dim);
    } else {
        s.rank = x->constant.rank;
        memcpy(s.dim, x->constant.dim, sizeof s.dim);
    }
    return s;
}

pr_shape pr_file_shape(const importer *imp, const slot *x)
{
    pr_shape s = pr_shape_of(imp, x);
    if (pr_is_value(x) && x->single)
        memmove(s.dim, s.dim + 1, (size_t)--s.rank * sizeof s.dim[0]);
    else if (pr_is_value(x) && pr_has_batch_axis(imp, x))
        s.dim[0] = imp->batch;
    return s;
}

parry_status pr_add_reshape(importer *imp, const onnx_node *node, pr_dims to, pr_value *value)
{
    const pr_attrs attrs = {.shape = {.to = to}};
    if (pr_dims_equal(to, imp->model->graph->values[*value].dims))
        return PARRY_OK;
    return pr_add_node(imp, node, PR_OP_RESHAPE, &attrs, value, 1, value);
}

parry_status pr_define_reshaped(importer *imp, const onnx_node *node, const slot *x, const pr_shape *to)
{
    if (pr_is_constant(x)) {
        pr_define_same(imp, node, x);
        pr_constant *constant = &pr_node_output(imp, node)->constant;
        constant->rank = to->rank;
        memcpy(constant->dim, to->dim, sizeof to->dim);
        return PARRY_OK;
    }
    const bool batch = pr_has_batch_axis(imp, x), fits = to->rank <= PR_RANK_MAX && to->rank >= (batch ? 1 : 0);
    if (!fits || (batch && to->dim[0] != PR_BATCH))
        return pr_node_missing(imp, node, pr_moves_values);
    const pr_attrs attrs = {.shape = {.to = pr_dims_make(to->rank, to->dim)}};
    if (pr_dims_equal(attrs.shape.to, *pr_dims_of(imp, x))) {
        pr_define_same(imp, node, x);
        return PARRY_OK;
    }
    return pr_emit(imp, node, PR_OP_RESHAPE, &attrs, &x->value, 1);
}

/* -1 on overflow; a size of -1 counts as 1. */
static int64_t elements(const pr_shape *s)
{
    int64_t count = 1;
    for (int d = 0; d < s->rank; d++)
        if (s->dim[d] != -1 && __builtin_mul_overflow(count, s->dim[d], &count))
            return -1;
    return count;
}

/* The node's output is `x` in another shape of as many elements, as the file has it. Where the batch comes first,
 * images stay apart whatever the other axes become. */
static parry_status define_in_shape(importer *imp, const onnx_node *node, const slot *x, pr_shape to)
{
    const bool single = !to.rank || to.dim[0] != imp->batch;
    if (pr_is_constant(x))
        return pr_define_reshaped(imp, node, x, &to);
    if (single && imp->batch != 1)
        return pr_node_missing(imp, node, pr_moves_values);
    if (to.rank < 1 || to.rank + single > PR_RANK_MAX)
        return pr_node_missing(imp, node, "to a shape of this many axes");
    if (single) {
        memmove(to.dim + 1, to.dim, (size_t)to.rank++ * sizeof to.dim[0]);
        imp->inside = node;
    }
    to.dim[0] = PR_BATCH;
    TRY(pr_define_reshaped(imp, node, x, &to));
    pr_node_output(imp, node)->single = single;
    return PARRY_OK;
}

parry_status pr_import_shape(importer *imp, const onnx_node *node)
{
    const pr_shape shape = pr_file_shape(imp, pr_node_input(imp, node, 0));
    int64_t start, end;
    pr_constant out;
    TRY(pr_attribute_int(imp, node, "start", 0, INT64_MIN, INT64_MAX, &start));
    TRY(pr_attribute_int(imp, node, "end", shape.rank, INT64_MIN, INT64_MAX, &end));
    start = PR_MIN(PR_MAX(start < 0 ? start + shape.rank : start, 0), shape.rank);
    end = PR_MIN(PR_MAX(end < 0 ? end + shape.rank : end, start), shape.rank);
    TRY(pr_constant_ints(&imp->budget, shape.dim + start, end - start, &out));
    pr_define_constant(imp, node, &out);
    pr_node_output(imp, node)->of_batch = imp->open && pr_is_value(pr_node_input(imp, node, 0));
    return PARRY_OK;
}

parry_status pr_import_reshape(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    const pr_shape from = pr_file_shape(imp, x);
    int64_t allow_zero;
    int_list list;
    bool found;
    int inferred = -1;
    TRY(pr_attribute_int(imp, node, "allowzero", 0, 0, 1, &allow_zero));
    if (!pr_is_constant(pr_node_input(imp, node, 1)))
        return pr_node_missing(imp, node, "to a computed shape");
    TRY(pr_list(imp, node, "shape", 1, &list, &found));
    pr_shape to = {.rank = list.count};
    for (int d = 0; d < to.rank; d++) {
        to.dim[d] = list.at[d] == 0 && !allow_zero && d < from.rank ? from.dim[d] : list.at[d];
        if (to.dim[d] == -1 && inferred < 0)
            inferred = d;
        else if (to.dim[d] < 0)
            return pr_node_fail(imp, node, "%lld is no size for axis %d of the new shape", (long long)to.dim[d], d);
    }
    const int64_t have = elements(&from), wanted = elements(&to);
    if (inferred >= 0)
        to.dim[inferred] = wanted > 0 ? have / wanted : 0;
    if (elements(&to) != have)
        return pr_node_fail(imp, node, "%lld values do not fill the new shape", (long long)have);
    return define_in_shape(imp, node, x, to);
}

/* Flatten makes two axes: those before `axis`, and the others. */
parry_status pr_import_flatten(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    const pr_shape from = pr_file_shape(imp, x);
    pr_shape to = {.rank = 2, .dim = {1, 1}};
    int64_t axis;
    TRY(pr_attribute_int(imp, node, "axis", 1, -from.rank, from.rank, &axis));
    axis += axis < 0 ? from.rank : 0;
    for (int d = 0; d < from.rank; d++)
        if (__builtin_mul_overflow(to.dim[d >= axis], from.dim[d], &to.dim[d >= axis]))
            return pr_node_fail(imp, node, "it makes too large an axis");
    return define_in_shape(imp, node, x, to);
}

/* Without axes an open batch stays: it is of any size. */
parry_status pr_import_squeeze(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    const pr_shape from = pr_file_shape(imp, x);
    const bool batch = pr_is_value(x) && !x->single && imp->open;
    bool drop[PR_CONSTANT_RANK] = {false}, found;
    pr_shape to = {0};
    int_list axes;
    TRY(pr_list(imp, node, "axes", 1, &axes, &found));
    for (int d = 0; d < from.rank; d++)
        drop[d] = !found && from.dim[d] == 1 && !(batch && d == 0);
    for (int a = 0, axis; a < axes.count; a++) {
        TRY(pr_axis(imp, node, axes.at[a], from.rank, &axis));
        if (from.dim[axis] != 1)
            return pr_node_fail(imp, node, "axis %d has size %lld, only axes of size 1 can go", axis,
                                (long long)from.dim[axis]);
        drop[axis] = true;
    }
    for (int d = 0; d < from.rank; d++)
        if (!drop[d])
            to.dim[to.rank++] = from.dim[d];
    return define_in_shape(imp, node, x, to);
}

parry_status pr_import_unsqueeze(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    const pr_shape from = pr_file_shape(imp, x);
    bool insert[PR_CONSTANT_RANK] = {false}, found;
    int_list axes;
    TRY(pr_list(imp, node, "axes", 1, &axes, &found));
    pr_shape to = {.rank = from.rank + axes.count};
    if (to.rank > PR_CONSTANT_RANK)
        return pr_node_fail(imp, node, "the result would have %d axes", to.rank);
    for (int a = 0, axis; a < axes.count; a++) {
        TRY(pr_axis(imp, node, axes.at[a], to.rank, &axis));
        if (insert[axis])
            return pr_node_fail(imp, node, "axis %d is named twice", axis);
        insert[axis] = true;
    }
    for (int d = 0, at = 0; d < to.rank; d++)
        to.dim[d] = insert[d] ? 1 : from.dim[at++];
    return define_in_shape(imp, node, x, to);
}

/* The permutation of the graph's axes that the file's is. */
static parry_status read_perm(importer *imp, const onnx_node *node, int rank, int perm[PR_CONSTANT_RANK])
{
    const int first = imp->in_front;
    unsigned seen = 0;
    bool found;
    perm[0] = 0;
    for (int d = first; d < rank; d++)
        perm[d] = rank - 1 - d;
    TRY(pr_attribute_ints(imp, node, "perm", rank - first, 0, rank - first - 1, perm + first, &found));
    for (int d = first; d < rank; d++) {
        perm[d] += first;
        seen |= 1u << perm[d];
    }
    return seen == (1u << rank) - (1u << first) ? PARRY_OK
                                                : pr_node_fail(imp, node, "the attribute perm is not a permutation");
}

parry_status pr_import_transpose(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    const int rank = pr_shape_of(imp, x).rank;
    int perm[PR_CONSTANT_RANK];
    bool moves = false;
    TRY(read_perm(imp, node, rank, perm));
    for (int d = 0; d < rank; d++)
        moves |= perm[d] != d;
    if (!moves) {
        pr_define_same(imp, node, x);
        return PARRY_OK;
    }
    if (pr_is_constant(x)) {
        pr_constant out;
        TRY(pr_constant_transpose(&imp->budget, &x->constant, perm, &out));
        pr_define_constant(imp, node, &out);
        return PARRY_OK;
    }
    if (perm[0] != 0)
        return pr_import_across(imp, node, pr_import_transpose);
    pr_attrs attrs = {0};
    memcpy(attrs.perm.perm, perm, (size_t)rank * sizeof *perm);
    return pr_emit(imp, node, PR_OP_TRANSPOSE, &attrs, &x->value, 1);
}

parry_status pr_import_identity(importer *imp, const onnx_node *node)
{
    pr_define_same(imp, node, pr_node_input(imp, node, 0));
    return PARRY_OK;
}
