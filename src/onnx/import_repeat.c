/* Translations of the operators that repeat, Expand and Tile: of activations they pick positions over and over, of
 * constants they are carried out. */
#include <string.h>

#include "onnx/import.h"

/* Repeats an activation: its axes, those of the file, become as long as `to` says, over and over, and stand behind
 * those that `to` has more. */
static parry_status repeat_value(importer *imp, const onnx_node *node, const slot *x, const pr_shape *to)
{
    const pr_dims from = *pr_dims_of(imp, x);
    pr_dims dims = {.rank = to->rank + imp->in_front, .dim = {PR_BATCH}};
    pr_value value = x->value;
    if (dims.rank > PR_RANK_MAX)
        return pr_node_missing(imp, node, "to a shape of this many axes");
    for (int d = 1; d < dims.rank; d++)
        dims.dim[d] = d <= dims.rank - from.rank ? 1 : from.dim[d - (dims.rank - from.rank)];
    TRY(pr_add_reshape(imp, node, dims, &value));
    for (int d = 1; d < dims.rank; d++) {
        const int64_t size = to->dim[d - imp->in_front];
        int64_t *index;
        if (size == dims.dim[d])
            continue;
        TRY(pr_budget_take(&imp->budget, size));
        TRY(pr_alloc(imp->ctx, size, &index));
        for (int64_t k = 0; k < size; k++)
            index[k] = k % dims.dim[d];
        parry_status status = pr_pick(imp, node, d, index, size, NULL, &value);
        pr_free(index);
        TRY(status);
    }
    pr_define_value(imp, node, value);
    return PARRY_OK;
}

static parry_status repeat_constant(importer *imp, const onnx_node *node, const pr_constant *x, const pr_shape *to)
{
    pr_constant out;
    TRY(pr_constant_stretch(&imp->budget, x, to->rank, to->dim, &out));
    pr_define_constant(imp, node, &out);
    return PARRY_OK;
}

/* Of a constant the batch is left at 1: it is the same for every image. */
parry_status pr_import_expand(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    const pr_shape from = pr_file_shape(imp, x);
    const bool value = pr_is_value(x);
    int_list list;
    bool found;
    if (!pr_is_constant(pr_node_input(imp, node, 1)))
        return pr_node_missing(imp, node, "to a computed shape");
    TRY(pr_list(imp, node, "shape", 1, &list, &found));
    pr_shape to = {.rank = PR_MAX(from.rank, list.count)};
    for (int d = 1; d <= to.rank; d++) { /* from the right */
        const int at = to.rank - d;
        const int64_t have = d <= from.rank ? from.dim[from.rank - d] : 1;
        const int64_t want = d <= list.count ? list.at[list.count - d] : 1;
        if (want < 1 || (have != want && have != 1 && want != 1))
            return pr_node_fail(imp, node, "size %lld cannot become %lld", (long long)have, (long long)want);
        to.dim[at] = have == 1 && (at || value || want != imp->batch) ? want : have;
    }
    if (!value) {
        TRY(repeat_constant(imp, node, &x->constant, &to));
        if (pr_node_output(imp, node)->constant.count == x->constant.count)
            pr_node_output(imp, node)->origin = x->origin ? x->origin : x->name;
        return PARRY_OK;
    }
    if (!imp->in_front && (to.rank != from.rank || to.dim[0] != from.dim[0]))
        return pr_import_across(imp, node, pr_import_expand);
    return repeat_value(imp, node, x, &to);
}

parry_status pr_import_tile(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    const pr_shape from = pr_file_shape(imp, x);
    pr_shape to = from, split = {0}, twice = {0};
    int_list list;
    bool found;
    if (!pr_is_constant(pr_node_input(imp, node, 1)))
        return pr_node_missing(imp, node, "with computed repeats");
    TRY(pr_list(imp, node, "repeats", 1, &list, &found));
    if (list.count != from.rank)
        return pr_node_fail(imp, node, "%d repeats for %d axes", list.count, from.rank);
    for (int d = 0; d < from.rank; d++) {
        if (list.at[d] < 1 || list.at[d] > INT32_MAX)
            return pr_node_fail(imp, node, "%lld repeats of axis %d", (long long)list.at[d], d);
        if (__builtin_mul_overflow(from.dim[d], list.at[d], &to.dim[d]))
            return pr_node_fail(imp, node, "axis %d would be too large", d);
    }
    if (pr_is_value(x) && !imp->in_front && to.dim[0] != from.dim[0])
        return pr_import_across(imp, node, pr_import_tile);
    if (pr_is_value(x))
        return repeat_value(imp, node, x, &to);
    /* A constant: each axis in two, the repeats and the axis itself. */
    if (2 * from.rank > PR_CONSTANT_RANK)
        return pr_node_missing(imp, node, "of a constant of so many axes");
    for (int d = 0; d < from.rank; d++) {
        split.dim[split.rank++] = 1;
        split.dim[split.rank++] = from.dim[d];
        twice.dim[twice.rank++] = list.at[d];
        twice.dim[twice.rank++] = from.dim[d];
    }
    pr_constant view = x->constant;
    view.rank = split.rank;
    memcpy(view.dim, split.dim, sizeof split.dim);
    TRY(repeat_constant(imp, node, &view, &twice));
    pr_constant *out = &pr_node_output(imp, node)->constant;
    out->rank = to.rank;
    memcpy(out->dim, to.dim, sizeof to.dim);
    return PARRY_OK;
}
