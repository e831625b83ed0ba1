/* Translations of the operators that become layers of the network. */
#include <float.h>
#include <limits.h>
#include <string.h>

#include "onnx/import.h"

/* Large enough for any window, small enough that no sum of sizes overflows. */
enum { WINDOW_MAX = 1 << 16 };

static bool is_float_constant(const slot *input)
{
    return pr_is_constant(input) && !input->constant.integer;
}

static bool is_vector(const slot *input)
{
    return is_float_constant(input) && input->constant.rank == 1;
}

/* ---- windows ---------------------------------------------------------------------------------------------------- */

typedef struct window {
    int kernel[2], stride[2], dilation[2], pad[4];
} window;

/* SAME_UPPER and SAME_LOWER: ceil(in / stride) positions, the odd pixel after or before. */
static void pad_same(window *w, const pr_dims *x, bool lower)
{
    for (int a = 0; a < 2; a++) {
        const int64_t in = x->dim[2 + a], out = (in + w->stride[a] - 1) / w->stride[a];
        const int64_t span = (int64_t)(w->kernel[a] - 1) * w->dilation[a] + 1;
        const int64_t total = PR_MAX((out - 1) * w->stride[a] + span - in, 0);
        w->pad[a] = (int)(lower ? total - total / 2 : total / 2);
        w->pad[2 + a] = (int)total - w->pad[a];
    }
}

/* Reads strides, dilations, pads and auto_pad; w->kernel is set before. */
static parry_status read_window(const importer *imp, const onnx_node *node, const pr_dims *x, window *w)
{
    bool found;
    for (int a = 0; a < 2; a++)
        w->stride[a] = w->dilation[a] = 1;
    memset(w->pad, 0, sizeof w->pad);
    TRY(pr_attribute_ints(imp, node, "strides", 2, 1, WINDOW_MAX, w->stride, &found));
    TRY(pr_attribute_ints(imp, node, "dilations", 2, 1, WINDOW_MAX, w->dilation, &found));
    if (pr_attribute_is(node, "auto_pad", "NOTSET", "NOTSET"))
        return pr_attribute_ints(imp, node, "pads", 4, 0, WINDOW_MAX, w->pad, &found);
    const bool lower = pr_attribute_is(node, "auto_pad", "", "SAME_LOWER");
    if (lower || pr_attribute_is(node, "auto_pad", "", "SAME_UPPER"))
        pad_same(w, x, lower);
    else if (!pr_attribute_is(node, "auto_pad", "", "VALID"))
        return pr_node_fail(imp, node, "the attribute auto_pad has no value that ONNX knows");
    return PARRY_OK;
}

parry_status pr_import_conv(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    slot *w = pr_node_input(imp, node, 1), *b = pr_node_input(imp, node, 2);
    pr_value in[3] = {x->value, -1, -1};
    int64_t group;
    bool found;
    if (pr_dims_of(imp, x)->rank != 4)
        return pr_node_missing(imp, node, "of other than two-dimensional images");
    if (!is_float_constant(w) || (b && !is_vector(b)))
        return pr_node_missing(imp, node, "with computed weights");
    if (w->constant.rank != 4)
        return pr_node_fail(imp, node, "the kernel '%s' has %d dimensions, expected 4", w->name, w->constant.rank);
    for (int d = 0; d < 4; d++)
        if (w->constant.dim[d] < 1 || w->constant.dim[d] > (d < 2 ? INT_MAX : WINDOW_MAX))
            return pr_node_fail(imp, node, "dimension %d of the kernel '%s' is %lld", d, w->name,
                                (long long)w->constant.dim[d]);

    window win = {.kernel = {(int)w->constant.dim[2], (int)w->constant.dim[3]}};
    TRY(pr_attribute_ints(imp, node, "kernel_shape", 2, 1, WINDOW_MAX, win.kernel, &found));
    TRY(pr_attribute_int(imp, node, "group", 1, 1, INT_MAX, &group));
    TRY(read_window(imp, node, pr_dims_of(imp, x), &win));
    pr_attrs attrs = {.conv = {.group = (int)group}};
    memcpy(attrs.conv.kernel, win.kernel, sizeof win.kernel);
    memcpy(attrs.conv.stride, win.stride, sizeof win.stride);
    memcpy(attrs.conv.dilation, win.dilation, sizeof win.dilation);
    memcpy(attrs.conv.pad, win.pad, sizeof win.pad);
    TRY(pr_weight_of(imp, w, PR_WEIGHT_KERNEL, false, &in[1]));
    if (b)
        TRY(pr_weight_of(imp, b, PR_WEIGHT_VECTOR, false, &in[2]));
    return pr_emit(imp, node, PR_OP_CONV, &attrs, in, b ? 3 : 2);
}

parry_status pr_import_pool(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    const bool max = strcmp(node->op_type, "MaxPool") == 0;
    int64_t ceil_mode, count_pad;
    bool found;
    if (pr_dims_of(imp, x)->rank != 4)
        return pr_node_missing(imp, node, "of other than two-dimensional images");
    window win;
    TRY(pr_attribute_ints(imp, node, "kernel_shape", 2, 1, WINDOW_MAX, win.kernel, &found));
    if (!found)
        return pr_node_fail(imp, node, "the attribute kernel_shape is missing");
    TRY(read_window(imp, node, pr_dims_of(imp, x), &win));
    TRY(pr_attribute_int(imp, node, "ceil_mode", 0, 0, 1, &ceil_mode));
    TRY(pr_attribute_int(imp, node, "count_include_pad", 0, 0, 1, &count_pad));
    pr_attrs attrs = {.pool = {.count_pad = count_pad && !max, .ceil_mode = ceil_mode}};
    memcpy(attrs.pool.kernel, win.kernel, sizeof win.kernel);
    memcpy(attrs.pool.stride, win.stride, sizeof win.stride);
    memcpy(attrs.pool.dilation, win.dilation, sizeof win.dilation);
    memcpy(attrs.pool.pad, win.pad, sizeof win.pad);
    return pr_emit(imp, node, max ? PR_OP_MAX_POOL : PR_OP_AVERAGE_POOL, &attrs, &x->value, 1);
}

/* Amounts for all axes, first those before and then those after; with `axes` only for those. */
static parry_status read_pads(importer *imp, const onnx_node *node, int rank, int64_t pads[2][PR_CONSTANT_RANK])
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
    if (count != 2 * (int64_t)axes.count)
        return pr_node_fail(imp, node, "pads has %lld numbers, expected two for each of %d axes", (long long)count,
                            axes.count);
    memset(pads, 0, 2 * sizeof pads[0]);
    for (int a = 0; a < axes.count; a++) {
        if (!pr_axis(&axes.at[a], rank))
            return pr_node_fail(imp, node, "axis %lld of a tensor with %d", (long long)axes.at[a], rank);
        for (int side = 0; side < 2; side++)
            pads[side][axes.at[a]] = from[side * axes.count + a];
    }
    return PARRY_OK;
}

parry_status pr_import_pad(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0), *fill = pr_node_input(imp, node, 2);
    const pr_dims *dims = pr_dims_of(imp, x);
    int64_t pads[2][PR_CONSTANT_RANK];
    pr_attrs attrs = {0};
    bool any = false;
    if (!pr_attribute_is(node, "mode", "constant", "constant"))
        return pr_node_missing(imp, node, "with another mode than constant");
    TRY(read_pads(imp, node, dims->rank, pads));
    TRY(pr_attribute_float(imp, node, "value", 0, &attrs.pad.value));
    if (fill) {
        if (!is_float_constant(fill) || fill->constant.count != 1)
            return pr_node_missing(imp, node, "with a computed value");
        attrs.pad.value = fill->constant.f[0];
    }
    for (int side = 0; side < 2; side++)
        for (int d = 0; d < dims->rank; d++) {
            any |= pads[side][d] != 0;
            if (pads[side][d] != 0 && (dims->rank != 4 || d < 2))
                return pr_node_missing(imp, node, "along other axes than height and width");
            if (pads[side][d] < 0)
                return pr_node_missing(imp, node, "by a negative amount");
            if (pads[side][d] > WINDOW_MAX)
                return pr_node_fail(imp, node, "%lld is too much padding", (long long)pads[side][d]);
            if (d >= 2)
                attrs.pad.pad[2 * side + d - 2] = (int)pads[side][d];
        }
    if (!any) {
        pr_define_same(imp, node, x);
        return PARRY_OK;
    }
    return pr_emit(imp, node, PR_OP_PAD, &attrs, &x->value, 1);
}

/* ---- matrices --------------------------------------------------------------------------------------------------- */

/* The value of GEMM's C as a vector of `units`: a scalar, a vector, or a row. */
static parry_status read_bias(importer *imp, const onnx_node *node, slot *c, int64_t units, float beta, pr_value *out)
{
    const pr_constant *bias = &c->constant;
    const int64_t last = bias->rank ? bias->dim[bias->rank - 1] : 1;
    if (bias->count != last || (last != units && last != 1))
        return pr_node_fail(imp, node, "the bias '%s' should be a vector of %lld numbers", c->name, (long long)units);
    if (bias->rank == 1 && last == units && beta == 1)
        return pr_weight_of(imp, c, PR_WEIGHT_VECTOR, false, out);
    float *data;
    TRY(pr_weight_new(imp, c, PR_WEIGHT_VECTOR, 1, &units, out, &data));
    for (int64_t i = 0; i < units; i++)
        data[i] = beta * bias->f[last == 1 ? 0 : i];
    return PARRY_OK;
}

/* x times a constant matrix, which is brought to the form O x I. */
static parry_status dense(importer *imp, const onnx_node *node, slot *w, bool transposed, float alpha, slot *c,
                          float beta)
{
    const slot *x = pr_node_input(imp, node, 0);
    const pr_dims *dims = pr_dims_of(imp, x);
    pr_value in[3] = {x->value, -1, -1};
    if (dims->rank != 2)
        return pr_node_missing(imp, node, "of other than one vector per image");
    if (!is_float_constant(w) || (c && !is_float_constant(c)))
        return pr_node_missing(imp, node, "with computed weights");
    if (w->constant.rank != 2 || !w->constant.count)
        return pr_node_fail(imp, node, "'%s' should be a matrix", w->name);
    const int64_t units = w->constant.dim[transposed ? 0 : 1], inputs = w->constant.dim[transposed ? 1 : 0];
    if (inputs != dims->dim[1])
        return pr_node_fail(imp, node, "the matrix '%s' takes %lld numbers, its input has %lld", w->name,
                            (long long)inputs, (long long)dims->dim[1]);
    if (alpha == 1) {
        TRY(pr_weight_of(imp, w, PR_WEIGHT_KERNEL, !transposed, &in[1]));
    } else {
        float *data;
        TRY(pr_weight_new(imp, w, PR_WEIGHT_KERNEL, 2, (int64_t[]){units, inputs}, &in[1], &data));
        for (int64_t o = 0; o < units; o++)
            for (int64_t i = 0; i < inputs; i++)
                data[o * inputs + i] = alpha * w->constant.f[transposed ? o * inputs + i : i * units + o];
    }
    if (c)
        TRY(read_bias(imp, node, c, units, beta, &in[2]));
    return pr_emit(imp, node, PR_OP_GEMM, NULL, in, c ? 3 : 2);
}

parry_status pr_import_gemm(importer *imp, const onnx_node *node)
{
    int64_t trans_a, trans_b;
    float alpha, beta;
    TRY(pr_attribute_int(imp, node, "transA", 0, 0, 1, &trans_a));
    TRY(pr_attribute_int(imp, node, "transB", 0, 0, 1, &trans_b));
    TRY(pr_attribute_float(imp, node, "alpha", 1, &alpha));
    TRY(pr_attribute_float(imp, node, "beta", 1, &beta));
    if (trans_a)
        return pr_node_missing(imp, node, "with transA");
    return dense(imp, node, pr_node_input(imp, node, 1), trans_b, alpha, pr_node_input(imp, node, 2), beta);
}

parry_status pr_import_matmul(importer *imp, const onnx_node *node)
{
    return dense(imp, node, pr_node_input(imp, node, 1), false, 1, NULL, 0);
}

/* ---- normalisation, activations --------------------------------------------------------------------------------- */

parry_status pr_import_batch_norm(importer *imp, const onnx_node *node)
{
    pr_value in[5] = {pr_node_input(imp, node, 0)->value};
    pr_attrs attrs = {0};
    int64_t training, spatial;
    TRY(pr_attribute_float(imp, node, "epsilon", 1e-5f, &attrs.bn.eps));
    TRY(pr_attribute_float(imp, node, "momentum", 0.9f, &attrs.bn.momentum));
    TRY(pr_attribute_int(imp, node, "training_mode", 0, 0, 1, &training));
    TRY(pr_attribute_int(imp, node, "spatial", 1, 0, 1, &spatial));
    if (training || !spatial)
        return pr_node_missing(imp, node, training ? "in training mode" : "with spatial = 0");
    for (size_t i = 1; i < 5; i++) {
        slot *vector = pr_node_input(imp, node, i);
        if (!is_vector(vector))
            return pr_node_missing(imp, node, "with computed parameters");
        TRY(pr_weight_of(imp, vector, i < 3 ? PR_WEIGHT_VECTOR : PR_WEIGHT_STATISTIC, false, &in[i]));
    }
    return pr_emit(imp, node, PR_OP_BATCH_NORM, &attrs, in, 5);
}

parry_status pr_import_activation(importer *imp, const onnx_node *node)
{
    static const pr_op ops[] = {PR_OP_RELU, PR_OP_SIGMOID, PR_OP_TANH, PR_OP_GLOBAL_AVERAGE_POOL};
    size_t i = 0;
    while (strcmp(node->op_type, pr_op_name(ops[i])) != 0)
        i++;
    return pr_emit(imp, node, ops[i], NULL, &pr_node_input(imp, node, 0)->value, 1);
}

parry_status pr_import_leaky_relu(importer *imp, const onnx_node *node)
{
    pr_attrs attrs = {0};
    TRY(pr_attribute_float(imp, node, "alpha", 0.01f, &attrs.alpha.alpha));
    return pr_emit(imp, node, PR_OP_LEAKY_RELU, &attrs, &pr_node_input(imp, node, 0)->value, 1);
}

/* Clip to [0, inf) is ReLU; without bounds it is nothing. */
parry_status pr_import_clip(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    float bound[2];
    TRY(pr_attribute_float(imp, node, "min", -FLT_MAX, &bound[0]));
    TRY(pr_attribute_float(imp, node, "max", FLT_MAX, &bound[1]));
    for (size_t i = 0; i < 2; i++) {
        const slot *input = pr_node_input(imp, node, 1 + i);
        if (input && (!is_float_constant(input) || input->constant.count != 1))
            return pr_node_missing(imp, node, "to computed bounds");
        if (input)
            bound[i] = input->constant.f[0];
    }
    if (!(bound[1] >= FLT_MAX) || (bound[0] != 0 && !(bound[0] <= -FLT_MAX)))
        return pr_node_missing(imp, node, "to bounds other than 0 and infinity");
    if (bound[0] == 0)
        return pr_emit(imp, node, PR_OP_RELU, NULL, &x->value, 1);
    pr_define_same(imp, node, x);
    return PARRY_OK;
}

/* Over the classes: the last axis of N x K, or the only one of N x K x 1 x 1 that has more than one class (before opset
 * 13 all axes from `axis` on were taken together). At the end of the network it is peeled off: what stands before it
 * are the logits. */
parry_status pr_import_softmax(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    const pr_dims *dims = pr_dims_of(imp, x);
    const pr_op op = strcmp(node->op_type, "Softmax") == 0 ? PR_OP_SOFTMAX : PR_OP_LOG_SOFTMAX;
    const bool last = pr_node_output(imp, node) == imp->output;
    int64_t axis;
    TRY(pr_attribute_int(imp, node, "axis", imp->opset < 13 ? 1 : -1, INT_MIN, INT_MAX, &axis));
    if (!pr_axis(&axis, dims->rank))
        return pr_node_fail(imp, node, "axis %lld of a tensor with %d", (long long)axis, dims->rank);
    const bool classes = axis == 1 && (dims->rank == 2 || imp->opset < 13 || dims->dim[1] == pr_dims_row(*dims));
    if (!classes || (dims->rank > 2 && !last))
        return pr_node_missing(imp, node, "over another axis than the classes");
    if (last) {
        imp->model->tail = op;
        pr_define_same(imp, node, x);
        return PARRY_OK;
    }
    return pr_emit(imp, node, op, &(pr_attrs){.axis = {.axis = 1}}, &x->value, 1);
}

parry_status pr_import_dropout(importer *imp, const onnx_node *node)
{
    const slot *ratio = pr_node_input(imp, node, 1);
    pr_attrs attrs = {0};
    TRY(pr_attribute_float(imp, node, "ratio", 0.5f, &attrs.dropout.ratio));
    if (ratio && (!is_float_constant(ratio) || ratio->constant.count != 1))
        return pr_node_missing(imp, node, "with a computed ratio");
    if (ratio)
        attrs.dropout.ratio = ratio->constant.f[0];
    attrs.dropout.stream = imp->dropouts++;
    return pr_emit(imp, node, PR_OP_DROPOUT, &attrs, &pr_node_input(imp, node, 0)->value, 1);
}
