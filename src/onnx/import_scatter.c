/* ScatterND and GatherND of constants, which are carried out: exporters write the masks and the tables of positions of
 * window attention with them. */
#include <string.h>

#include "onnx/import.h"

/* What indices of the last axis of `which` name in `x`: blocks of `inner` elements. */
struct blocks {
    int depth; /* axes of x that an index names */
    int64_t count, inner, stride[PR_CONSTANT_RANK];
};

static parry_status blocks_of(importer *imp, const onnx_node *node, const pr_constant *x, const pr_constant *which,
                              struct blocks *out)
{
    if (which->rank < 1 || which->dim[which->rank - 1] < 1 || which->dim[which->rank - 1] > x->rank)
        return pr_node_fail(imp, node, "its indices do not fit a tensor with %d axes", x->rank);
    *out = (struct blocks){.depth = (int)which->dim[which->rank - 1], .inner = 1};
    out->count = which->count / out->depth;
    pr_constant_strides(x->rank, x->dim, out->stride);
    for (int d = out->depth; d < x->rank; d++)
        out->inner *= x->dim[d];
    return PARRY_OK;
}

/* Where block k starts, in elements of x. */
static parry_status block_at(importer *imp, const onnx_node *node, const pr_constant *x, const pr_constant *which,
                             const struct blocks *b, int64_t k, int64_t *at)
{
    *at = 0;
    for (int d = 0; d < b->depth; d++) {
        const int64_t index = which->i[k * b->depth + d];
        if (index < -x->dim[d] || index >= x->dim[d])
            return pr_node_fail(imp, node, "index %lld of an axis of size %lld", (long long)index,
                                (long long)x->dim[d]);
        *at += (index < 0 ? index + x->dim[d] : index) * b->stride[d];
    }
    return PARRY_OK;
}

/* The blocks are replaced by those of `from`, or with from NULL copied to `to`. */
static parry_status move_blocks(importer *imp, const onnx_node *node, const pr_constant *x, const pr_constant *which,
                                const struct blocks *b, const pr_constant *from, pr_constant *to)
{
    const size_t size = (size_t)(b->inner * (x->integer ? 8 : 4));
    for (int64_t k = 0; k < b->count && size; k++) {
        int64_t at;
        TRY(block_at(imp, node, x, which, b, k, &at));
        const size_t block = (size_t)k * size, place = (size_t)at * (x->integer ? 8 : 4);
        if (from)
            memcpy((char *)to->owned + place, (const char *)from->data + block, size);
        else
            memcpy((char *)to->owned + block, (const char *)x->data + place, size);
    }
    return PARRY_OK;
}

/* Defines the output as `out`, or releases it. */
static parry_status define_moved(importer *imp, const onnx_node *node, parry_status status, pr_constant *out)
{
    if (status == PARRY_OK)
        pr_define_constant(imp, node, out);
    else
        pr_constant_release(out);
    return status;
}

parry_status pr_import_scatter_nd(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0), *which = pr_node_input(imp, node, 1), *from = pr_node_input(imp, node, 2);
    struct blocks b;
    pr_constant out;
    if (!pr_is_constant(x) || !pr_is_constant(which) || !which->constant.integer || !pr_is_constant(from))
        return pr_node_missing(imp, node, "of computed values");
    if (!pr_attribute_is(node, "reduction", "none", "none"))
        return pr_node_missing(imp, node, "with a reduction");
    TRY(blocks_of(imp, node, &x->constant, &which->constant, &b));
    if (from->constant.count != b.count * b.inner || from->constant.integer != x->constant.integer)
        return pr_node_fail(imp, node, "%lld updates for %lld places", (long long)from->constant.count,
                            (long long)(b.count * b.inner));
    TRY(pr_constant_make(&imp->budget, x->constant.integer, x->constant.rank, x->constant.dim, &out));
    if (out.count)
        memcpy(out.owned, x->constant.data, (size_t)out.count * (out.integer ? 8 : 4));
    return define_moved(imp, node, move_blocks(imp, node, &x->constant, &which->constant, &b, &from->constant, &out), &out);
}

parry_status pr_import_gather_nd(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0), *which = pr_node_input(imp, node, 1);
    int64_t dim[2 * PR_CONSTANT_RANK], batch;
    int rank = 0;
    struct blocks b;
    pr_constant out;
    if (!pr_is_constant(x) || !pr_is_constant(which) || !which->constant.integer)
        return pr_node_missing(imp, node, "of computed values");
    TRY(pr_attribute_int(imp, node, "batch_dims", 0, 0, PR_CONSTANT_RANK, &batch));
    if (batch)
        return pr_node_missing(imp, node, "with batch axes");
    TRY(blocks_of(imp, node, &x->constant, &which->constant, &b));
    for (int d = 0; d + 1 < which->constant.rank; d++)
        dim[rank++] = which->constant.dim[d];
    for (int d = b.depth; d < x->constant.rank; d++)
        dim[rank++] = x->constant.dim[d];
    if (rank > PR_CONSTANT_RANK)
        return pr_node_fail(imp, node, "the result would have %d axes", rank);
    TRY(pr_constant_make(&imp->budget, x->constant.integer, rank, dim, &out));
    return define_moved(imp, node, move_blocks(imp, node, &x->constant, &which->constant, &b, NULL, &out), &out);
}
