/* Translations of products: matrices of which both may be computed, transposed convolution. */
#include <limits.h>
#include <string.h>

#include "onnx/import.h"

/* ---- matrices ---------------------------------------------------------------------------------------------------- */

/* The operand as matrices: a vector becomes one row, or with `column` one column. */
static parry_status matrix_operand(importer *imp, const onnx_node *node, slot *like, slot *x, bool column, pr_value *out)
{
    *out = -1;
    if (pr_is_value(x)) {
        const pr_dims dims = *pr_dims_of(imp, x);
        *out = x->value;
        if (dims.rank != 1)
            return PARRY_OK;
        if (dims.dim[0] == PR_BATCH) {
            *out = -1;
            return pr_node_missing(imp, node, pr_moves_values);
        }
        const pr_dims to = column ? (pr_dims){2, {dims.dim[0], 1}} : (pr_dims){2, {1, dims.dim[0]}};
        return pr_add_reshape(imp, node, to, out);
    }
    pr_constant *c = &x->constant;
    if (c->integer || !c->count || c->rank < 1)
        return pr_node_fail(imp, node, "'%s' should hold matrices of float numbers", x->name);
    if (c->rank > 1)
        return pr_operand_as(imp, node, like, x, PR_WEIGHT_KERNEL, out);
    float *data;
    TRY(pr_weight_new(imp, x, PR_WEIGHT_KERNEL, 2, (int64_t[]){column ? c->count : 1, column ? 1 : c->count}, out, &data));
    memcpy(data, c->f, (size_t)c->count * sizeof *data);
    return PARRY_OK;
}

/* Rows of a batch that is itself the rows of the matrix: only a constant matrix keeps images apart. */
static bool mixes(const importer *imp, const slot *x)
{
    return pr_is_value(x) && pr_has_batch_axis(imp, x) && pr_dims_of(imp, x)->rank == 2;
}

parry_status pr_import_matmul(importer *imp, const onnx_node *node)
{
    slot *a = pr_node_input(imp, node, 0), *b = pr_node_input(imp, node, 1);
    pr_value in[2], value;
    if (pr_is_constant(a) && pr_is_constant(b))
        return pr_import_folded(imp, node, false, pr_import_matmul);
    if (mixes(imp, a) && pr_is_float_constant(b) && b->constant.rank == 2)
        return pr_dense(imp, node, b, false, 1, NULL, 0);
    if (mixes(imp, a) || mixes(imp, b))
        return pr_import_only_image(imp, node, pr_moves_values, pr_import_matmul);
    const int rank_a = pr_shape_of(imp, a).rank, rank_b = pr_shape_of(imp, b).rank;
    TRY(matrix_operand(imp, node, b, a, false, &in[0]));
    TRY(matrix_operand(imp, node, a, b, true, &in[1]));
    if (in[0] < 0 || in[1] < 0)
        return PARRY_OK;
    TRY(pr_add_node(imp, node, PR_OP_MATMUL, &(pr_attrs){0}, in, 2, &value));
    slot product = {.kind = SLOT_VALUE, .value = value};
    pr_shape from = pr_shape_of(imp, &product), to = {0};
    for (int d = 0; d < from.rank; d++) /* the row or column that a vector was made */
        if (!(rank_a == 1 && d == from.rank - 2) && !(rank_b == 1 && d == from.rank - 1))
            to.dim[to.rank++] = from.dim[d];
    return pr_define_reshaped(imp, node, &product, &to);
}

/* value = factor value */
static parry_status scaled(importer *imp, const onnx_node *node, const char *what, float factor, pr_value *value)
{
    float *data;
    pr_value in[2] = {*value};
    if (factor == 1)
        return PARRY_OK;
    TRY(pr_weight_made(imp, node, what, PR_WEIGHT_CONSTANT, 1, &(int64_t){1}, &in[1], &data));
    *data = factor;
    return pr_add_node(imp, node, PR_OP_MUL, NULL, in, 2, value);
}

parry_status pr_import_gemm(importer *imp, const onnx_node *node)
{
    slot *a = pr_node_input(imp, node, 0), *b = pr_node_input(imp, node, 1), *c = pr_node_input(imp, node, 2);
    int64_t trans_a, trans_b;
    float alpha, beta;
    pr_value in[2], sum[2];
    TRY(pr_attribute_int(imp, node, "transA", 0, 0, 1, &trans_a));
    TRY(pr_attribute_int(imp, node, "transB", 0, 0, 1, &trans_b));
    TRY(pr_attribute_float(imp, node, "alpha", 1, &alpha));
    TRY(pr_attribute_float(imp, node, "beta", 1, &beta));
    if (mixes(imp, a) && !trans_a)
        return pr_dense(imp, node, b, trans_b, alpha, c, beta);
    if (mixes(imp, a) || mixes(imp, b))
        return pr_import_only_image(imp, node, pr_moves_values, pr_import_gemm);
    const bool turned = trans_b && pr_is_float_constant(b) && b->constant.rank == 2 && b->constant.count;
    TRY(matrix_operand(imp, node, b, a, false, &in[0]));
    if (turned) /* the form that weights of a product have elsewhere */
        TRY(pr_weight_of(imp, b, PR_WEIGHT_KERNEL, true, &in[1]));
    else
        TRY(matrix_operand(imp, node, a, b, true, &in[1]));
    if (in[0] < 0 || in[1] < 0)
        return PARRY_OK;
    const pr_attrs attrs = {.matmul = {{trans_a, trans_b && !turned}}};
    TRY(pr_add_node(imp, node, PR_OP_MATMUL, &attrs, in, 2, &sum[0]));
    TRY(scaled(imp, node, "alpha", alpha, &sum[0]));
    slot product = {.kind = SLOT_VALUE, .value = sum[0]};
    if (c && beta != 0) {
        TRY(pr_operand_as(imp, node, &product, c, PR_WEIGHT_VECTOR, &sum[1]));
        if (sum[1] < 0)
            return PARRY_OK;
        TRY(scaled(imp, node, "beta", beta, &sum[1]));
        TRY(pr_add_node(imp, node, PR_OP_ADD, NULL, sum, 2, &sum[0]));
    }
    pr_define_value(imp, node, sum[0]);
    return PARRY_OK;
}

/* ---- transposed convolution --------------------------------------------------------------------------------------- */

/* Sizes of the result and pads along one axis. Where a size is asked for that needs negative pads, the result just goes
 * on behind. */
static void transposed_axis(int64_t in, int kernel, int stride, int dilation, int more, int64_t wanted, bool upper,
                            int *before, int *after, int64_t *out)
{
    const int64_t whole = stride * (in - 1) + more + (int64_t)(kernel - 1) * dilation + 1;
    if (wanted < 0) {
        *out = whole - *before - *after;
        return;
    }
    const int64_t total = PR_MAX(whole - wanted, 0);
    *out = wanted;
    *before = (int)(upper ? total / 2 : total - total / 2);
    *after = (int)total - *before;
}

parry_status pr_import_conv_transpose(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    slot *w = pr_node_input(imp, node, 1), *b = pr_node_input(imp, node, 2);
    pr_dims dims = *pr_dims_of(imp, x);
    pr_attrs attrs = {.conv = {.stride = {1, 1}, .dilation = {1, 1}}};
    int more[2] = {0}, wanted[2] = {-1, -1};
    const int axes = dims.rank - 2, skip = 2 - axes;
    int64_t group, out[2];
    bool found, given;
    pr_value in[2] = {x->value};
    float *data;
    if ((axes != 1 && axes != 2) || !pr_is_float_constant(w) || w->constant.rank != dims.rank)
        return pr_node_missing(imp, node, "of other than one or two spatial axes and constant weights");
    const int64_t *wd = w->constant.dim;
    const int64_t kernel[4] = {wd[0], wd[1], axes == 2 ? wd[2] : 1, wd[axes + 1]};
    TRY(pr_attribute_int(imp, node, "group", 1, 1, INT_MAX, &group));
    TRY(pr_attribute_ints(imp, node, "strides", axes, 1, 1 << 15, attrs.conv.stride + skip, &found));
    TRY(pr_attribute_ints(imp, node, "dilations", axes, 1, 1 << 15, attrs.conv.dilation + skip, &found));
    TRY(pr_attribute_ints(imp, node, "output_padding", axes, 0, 1 << 15, more + skip, &found));
    TRY(pr_attribute_ints(imp, node, "output_shape", axes, 1, 1 << 20, wanted + skip, &given));
    int pads[4] = {0};
    TRY(pr_attribute_ints(imp, node, "pads", 2 * axes, 0, 1 << 15, pads, &found));
    for (int i = 0; i < axes; i++) {
        attrs.conv.pad[skip + i] = pads[i];
        attrs.conv.pad[2 + skip + i] = pads[axes + i];
    }
    if (dims.dim[1] != kernel[0] || kernel[0] % group != 0 || !w->constant.count)
        return pr_node_fail(imp, node, "weights for %lld channels in %lld groups do not fit an input of %lld",
                            (long long)kernel[0], (long long)group, (long long)dims.dim[1]);
    const bool upper = pr_attribute_is(node, "auto_pad", "NOTSET", "SAME_UPPER"),
               same = upper || pr_attribute_is(node, "auto_pad", "NOTSET", "SAME_LOWER");
    attrs.conv.group = (int)group;
    for (int i = 0; i < 2; i++) {
        const int64_t size = i < skip ? 1 : dims.dim[2 + i - skip];
        const int64_t asked = wanted[i] >= 0 ? wanted[i] : same && i >= skip ? size * attrs.conv.stride[i] : -1;
        attrs.conv.kernel[i] = (int)kernel[2 + i];
        transposed_axis(size, (int)kernel[2 + i], attrs.conv.stride[i], attrs.conv.dilation[i], more[i], asked, upper,
                        &attrs.conv.pad[i], &attrs.conv.pad[2 + i], &out[i]);
    }
    attrs.conv.in_h = out[0];
    attrs.conv.in_w = out[1];
    if (axes == 1)
        TRY(pr_add_reshape(imp, node, (pr_dims){4, {dims.dim[0], dims.dim[1], 1, dims.dim[2]}}, in));
    TRY(pr_weight_new(imp, w, PR_WEIGHT_KERNEL, 4, kernel, &in[1], &data));
    memcpy(data, w->constant.f, (size_t)w->constant.count * sizeof *data);
    TRY(pr_add_node(imp, node, PR_OP_CONV_GRAD_X, &attrs, in, 2, in));
    if (b) {
        if (!pr_is_vector(b))
            return pr_node_missing(imp, node, "with a computed bias");
        TRY(pr_weight_new(imp, b, PR_WEIGHT_VECTOR, 3, (int64_t[]){b->constant.count, 1, 1}, &in[1], &data));
        memcpy(data, b->constant.f, (size_t)b->constant.count * sizeof *data);
        TRY(pr_add_node(imp, node, PR_OP_ADD, NULL, in, 2, in));
    }
    if (axes == 1)
        TRY(pr_add_reshape(imp, node, (pr_dims){3, {dims.dim[0], kernel[1] * group, out[1]}}, in));
    pr_define_value(imp, node, in[0]);
    return PARRY_OK;
}
