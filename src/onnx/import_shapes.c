/* Translations of the operators that rearrange: of activations they become RESHAPE and TRANSPOSE, of constants they are
 * carried out. */
#include <string.h>

#include "onnx/import.h"

static const char moves_values[] = "that moves values from one image to another";

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
        return pr_node_missing(imp, node, moves_values);
    const pr_attrs attrs = {.shape = {.to = pr_dims_make(to->rank, to->dim)}};
    if (pr_dims_equal(attrs.shape.to, *pr_dims_of(imp, x))) {
        pr_define_same(imp, node, x);
        return PARRY_OK;
    }
    return pr_emit(imp, node, PR_OP_RESHAPE, &attrs, &x->value, 1);
}

/* Elements, the batch counted as one; -1 on overflow. */
static int64_t elements(const pr_shape *s, int skip)
{
    int64_t count = 1;
    for (int d = 0; d < s->rank; d++)
        if (d != skip && s->dim[d] != PR_BATCH && __builtin_mul_overflow(count, s->dim[d], &count))
            return -1;
    return count;
}

/* The first size of a reshaped activation: 0 and the batch's symbol mean the batch, so does the batch size that the
 * file was made for, and so does -1 where the other sizes make up an image. */
static bool means_batch(const importer *imp, const pr_shape *from, const pr_shape *to, bool zero_copies)
{
    const int64_t first = to->dim[0];
    if (first == -1) {
        for (int d = 1; d < to->rank; d++)
            if (to->dim[d] < 1 && !(to->dim[d] == 0 && zero_copies))
                return false;
        return true;
    }
    return first == PR_SYMBOL_BATCH || (first == 0 && zero_copies && from->dim[0] == PR_BATCH) ||
           (imp->fixed_batch && first == imp->fixed_batch);
}

parry_status pr_import_reshape(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    const pr_shape from = pr_shape_of(imp, x);
    int64_t allow_zero;
    int_list list;
    bool found;
    TRY(pr_attribute_int(imp, node, "allowzero", 0, 0, 1, &allow_zero));
    if (!pr_is_constant(pr_node_input(imp, node, 1)))
        return pr_node_missing(imp, node, "to a computed shape");
    TRY(pr_list(imp, node, "shape", 1, &list, &found));
    pr_shape to = {.rank = list.count};
    memcpy(to.dim, list.at, (size_t)list.count * sizeof to.dim[0]);

    if (pr_is_value(x)) {
        if (!to.rank || !means_batch(imp, &from, &to, !allow_zero))
            return pr_node_missing(imp, node, moves_values);
        to.dim[0] = PR_BATCH;
    }
    int inferred = -1;
    for (int d = pr_is_value(x) ? 1 : 0; d < to.rank; d++) {
        if (to.dim[d] == 0 && !allow_zero && d < from.rank)
            to.dim[d] = from.dim[d];
        if (to.dim[d] == PR_SYMBOL_BATCH)
            return pr_node_missing(imp, node, moves_values);
        if (to.dim[d] == -1 && inferred < 0)
            inferred = d;
        else if (to.dim[d] < 0)
            return pr_node_fail(imp, node, "%lld is no size for axis %d of the new shape", (long long)to.dim[d], d);
    }
    const int64_t wanted = elements(&to, inferred), have = elements(&from, -1);
    if (inferred >= 0)
        to.dim[inferred] = wanted > 0 ? have / wanted : 0;
    if (elements(&to, -1) != have)
        return pr_is_value(x) ? pr_node_missing(imp, node, moves_values)
                              : pr_node_fail(imp, node, "%lld values do not fill the new shape", (long long)have);
    return pr_define_reshaped(imp, node, x, &to);
}

/* Flatten makes two axes: those before `axis`, and the others. */
parry_status pr_import_flatten(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    const pr_shape from = pr_shape_of(imp, x);
    int64_t axis;
    TRY(pr_attribute_int(imp, node, "axis", 1, -from.rank, from.rank, &axis));
    axis += axis < 0 ? from.rank : 0;
    pr_shape to = {.rank = 2, .dim = {1, 1}};
    for (int d = 0; d < from.rank; d++) {
        int64_t *side = &to.dim[d >= axis];
        if (from.dim[d] == PR_BATCH && axis > 0)
            *side = PR_BATCH;
        else if (*side == PR_BATCH ? from.dim[d] != 1 : __builtin_mul_overflow(*side, from.dim[d], side))
            return pr_node_missing(imp, node, moves_values);
    }
    return pr_define_reshaped(imp, node, x, &to);
}

parry_status pr_import_squeeze(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    const pr_shape from = pr_shape_of(imp, x);
    bool drop[PR_CONSTANT_RANK] = {false}, found;
    int_list axes;
    TRY(pr_list(imp, node, "axes", 1, &axes, &found));
    for (int d = 0; d < from.rank; d++)
        drop[d] = !found && from.dim[d] == 1;
    for (int a = 0; a < axes.count; a++) {
        if (!pr_axis(&axes.at[a], from.rank))
            return pr_node_fail(imp, node, "axis %lld of a tensor with %d", (long long)axes.at[a], from.rank);
        drop[axes.at[a]] = true;
    }
    pr_shape to = {0};
    for (int d = 0; d < from.rank; d++) {
        if (drop[d] && from.dim[d] != 1 && from.dim[d] != PR_BATCH)
            return pr_node_fail(imp, node, "axis %d has size %lld, only axes of size 1 can go", d,
                                (long long)from.dim[d]);
        if (!drop[d])
            to.dim[to.rank++] = from.dim[d];
    }
    return pr_define_reshaped(imp, node, x, &to);
}

parry_status pr_import_unsqueeze(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    const pr_shape from = pr_shape_of(imp, x);
    bool insert[PR_CONSTANT_RANK] = {false}, found;
    int_list axes;
    TRY(pr_list(imp, node, "axes", 1, &axes, &found));
    pr_shape to = {.rank = from.rank + axes.count};
    if (to.rank > PR_CONSTANT_RANK)
        return pr_node_fail(imp, node, "the result would have %d axes", to.rank);
    for (int a = 0; a < axes.count; a++) {
        if (!pr_axis(&axes.at[a], to.rank) || insert[axes.at[a]])
            return pr_node_fail(imp, node, "axis %lld of a result with %d", (long long)axes.at[a], to.rank);
        insert[axes.at[a]] = true;
    }
    for (int d = 0, at = 0; d < to.rank; d++)
        to.dim[d] = insert[d] ? 1 : from.dim[at++];
    return pr_define_reshaped(imp, node, x, &to);
}

parry_status pr_import_transpose(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    const int rank = pr_shape_of(imp, x).rank;
    int perm[PR_CONSTANT_RANK];
    unsigned seen = 0;
    bool found, moves = false;
    for (int d = 0; d < rank; d++)
        perm[d] = rank - 1 - d;
    TRY(pr_attribute_ints(imp, node, "perm", rank, 0, rank - 1, perm, &found));
    for (int d = 0; d < rank; d++) {
        seen |= 1u << perm[d];
        moves |= perm[d] != d;
    }
    if (seen != (1u << rank) - 1)
        return pr_node_fail(imp, node, "the attribute perm is not a permutation");
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
        return pr_node_missing(imp, node, "that moves the batch axis");
    pr_attrs attrs = {0};
    memcpy(attrs.perm.perm, perm, (size_t)rank * sizeof *perm);
    return pr_emit(imp, node, PR_OP_TRANSPOSE, &attrs, &x->value, 1);
}

parry_status pr_import_identity(importer *imp, const onnx_node *node)
{
    pr_define_same(imp, node, pr_node_input(imp, node, 0));
    return PARRY_OK;
}
