/* Pad: with a constant it stays Pad; mirrored or repeated edges are picked along each axis. */
#include <string.h>

#include "onnx/import.h"

/* Small enough that no sum of sizes overflows. */
enum { PAD_MAX = 1 << 16, SIDES = 2 };

/* Amounts for all axes, those before and those after; with `axes` only for those. */
static parry_status read_pads(importer *imp, const onnx_node *node, int rank, int64_t pads[SIDES][PR_CONSTANT_RANK])
{
    const onnx_attribute *attribute = pr_attribute(node, "pads");
    const slot *list = pr_node_input(imp, node, 1);
    int_list axes = {.count = rank, .at = {0, 1, 2, 3, 4, 5, 6, 7}};
    bool found;
    if (pr_node_input(imp, node, 3))
        TRY(pr_list(imp, node, "axes", 3, &axes, &found));
    if (!attribute && !(pr_is_constant(list) && list->constant.integer))
        return pr_node_fail(imp, node, "the amounts to pad should be constant integers");
    const int64_t count = attribute ? (int64_t)attribute->n_ints : list->constant.count;
    const int64_t *from = attribute ? attribute->ints : list->constant.i;
    if (count != SIDES * (int64_t)axes.count)
        return pr_node_fail(imp, node, "pads has %lld numbers, expected two for each of %d axes", (long long)count,
                            axes.count);
    memset(pads, 0, SIDES * sizeof pads[0]);
    for (int a = 0, axis; a < axes.count; a++) {
        TRY(pr_axis(imp, node, axes.at[a], rank, &axis));
        for (int side = 0; side < SIDES; side++) {
            const int64_t amount = from[side * axes.count + a];
            if (amount < -PAD_MAX || amount > PAD_MAX)
                return pr_node_fail(imp, node, "%lld is too much padding", (long long)amount);
            pads[side][axis] = amount;
        }
    }
    return PARRY_OK;
}

/* Where position `at` of an axis of `size` reads when it lies outside. */
typedef int64_t (*outside)(int64_t at, int64_t size);

static int64_t nearest_edge(int64_t at, int64_t size)
{
    return PR_MIN(PR_MAX(at, 0), size - 1);
}

static int64_t around(int64_t at, int64_t size)
{
    return ((at % size) + size) % size;
}

/* Mirrored without repeating the edge, back and forth as often as it takes. */
static int64_t mirrored(int64_t at, int64_t size)
{
    const int64_t there = around(at, PR_MAX(2 * size - 2, 1));
    return there < size ? there : 2 * size - 2 - there;
}

static parry_status pad_by_picking(importer *imp, const onnx_node *node, const slot *x, outside from,
                                   int64_t pads[SIDES][PR_CONSTANT_RANK])
{
    const pr_dims dims = *pr_dims_of(imp, x);
    pr_value value = x->value;
    for (int d = 1; d < dims.rank; d++) {
        const int64_t count = dims.dim[d] + pads[0][d] + pads[1][d];
        int64_t *index;
        if (!pads[0][d] && !pads[1][d])
            continue;
        if (count < 1)
            return pr_node_fail(imp, node, "nothing is left of axis %d", d);
        TRY(pr_alloc(imp->ctx, count, &index));
        for (int64_t k = 0; k < count; k++)
            index[k] = from(k - pads[0][d], dims.dim[d]);
        parry_status status = pr_pick(imp, node, d, index, count, NULL, &value);
        pr_free(index);
        TRY(status);
    }
    pr_define_value(imp, node, value);
    return PARRY_OK;
}

static parry_status pad_with_constant(importer *imp, const onnx_node *node, const slot *x,
                                      int64_t pads[SIDES][PR_CONSTANT_RANK])
{
    const slot *fill = pr_node_input(imp, node, 2);
    pr_attrs attrs = {0};
    bool any = false;
    TRY(pr_attribute_float(imp, node, "value", 0, &attrs.pad.value));
    if (fill) {
        if (!pr_is_float_constant(fill) || fill->constant.count != 1)
            return pr_node_missing(imp, node, "with a computed value");
        attrs.pad.value = fill->constant.f[0];
    }
    for (int d = 1; d < pr_dims_of(imp, x)->rank; d++) {
        attrs.pad.before[d] = (int)pads[0][d];
        attrs.pad.after[d] = (int)pads[1][d];
        any |= pads[0][d] || pads[1][d];
    }
    if (any)
        return pr_emit(imp, node, PR_OP_PAD, &attrs, &x->value, 1);
    pr_define_same(imp, node, x);
    return PARRY_OK;
}

parry_status pr_import_pad(importer *imp, const onnx_node *node)
{
    static const struct {
        const char *name;
        outside from;
    } modes[] = {{"reflect", mirrored}, {"edge", nearest_edge}, {"wrap", around}};
    const slot *x = pr_node_input(imp, node, 0);
    int64_t pads[SIDES][PR_CONSTANT_RANK];
    TRY(read_pads(imp, node, pr_dims_of(imp, x)->rank, pads));
    if (pads[0][0] || pads[1][0])
        return pr_node_missing(imp, node, "of the batch");
    if (pr_attribute_is(node, "mode", "constant", "constant"))
        return pad_with_constant(imp, node, x, pads);
    for (size_t m = 0; m < PR_COUNT(modes); m++)
        if (pr_attribute_is(node, "mode", "", modes[m].name))
            return pad_by_picking(imp, node, x, modes[m].from, pads);
    return pr_node_fail(imp, node, "the attribute mode has no value that ONNX knows");
}
