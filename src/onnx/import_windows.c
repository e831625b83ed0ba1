/* Translations of the operators that slide a window: convolution and pooling, over images and, as images of one row,
 * over sequences. */
#include <float.h>
#include <limits.h>
#include <string.h>

#include "onnx/import.h"

/* Large enough for any window, small enough that no sum of sizes overflows. */
enum { WINDOW_MAX = 1 << 16 };

static const char other_rank[] = "of other than images or sequences";

typedef struct window {
    int axes; /* 2, or 1: kernel, stride, dilation and pads of the first axis are then those of a single row */
    int kernel[2], stride[2], dilation[2], pad[4];
} window;

/* ---- attributes ------------------------------------------------------------------------------------------------- */

/* An attribute with a number for each axis; the row of a sequence keeps `out`. */
static parry_status read_axes(const importer *imp, const onnx_node *node, const char *name, const window *w, int *out,
                              bool *found)
{
    return pr_attribute_ints(imp, node, name, w->axes, 1, WINDOW_MAX, out + 2 - w->axes, found);
}

static parry_status read_pads(const importer *imp, const onnx_node *node, window *w)
{
    int pads[4] = {0};
    bool found;
    TRY(pr_attribute_ints(imp, node, "pads", 2 * w->axes, 0, WINDOW_MAX, pads, &found));
    for (int side = 0; side < 2; side++)
        for (int a = 0; a < w->axes; a++)
            w->pad[2 * side + a + 2 - w->axes] = pads[side * w->axes + a];
    return PARRY_OK;
}

/* SAME_UPPER and SAME_LOWER: ceil(in / stride) positions, the odd pixel after or before. */
static void pad_same(window *w, const pr_dims *x, bool lower)
{
    for (int a = 2 - w->axes; a < 2; a++) {
        const int64_t in = x->dim[x->rank - 2 + a], out = (in + w->stride[a] - 1) / w->stride[a];
        const int64_t span = (int64_t)(w->kernel[a] - 1) * w->dilation[a] + 1;
        const int64_t total = PR_MAX((out - 1) * w->stride[a] + span - in, 0);
        w->pad[a] = (int)(lower ? total - total / 2 : total / 2);
        w->pad[2 + a] = (int)total - w->pad[a];
    }
}

/* Reads strides, dilations, pads and auto_pad; axes and kernel are set before. */
static parry_status read_window(const importer *imp, const onnx_node *node, const pr_dims *x, window *w)
{
    bool found;
    for (int a = 0; a < 2; a++)
        w->stride[a] = w->dilation[a] = 1;
    memset(w->pad, 0, sizeof w->pad);
    TRY(read_axes(imp, node, "strides", w, w->stride, &found));
    TRY(read_axes(imp, node, "dilations", w, w->dilation, &found));
    if (pr_attribute_is(node, "auto_pad", "NOTSET", "NOTSET"))
        return read_pads(imp, node, w);
    const bool lower = pr_attribute_is(node, "auto_pad", "", "SAME_LOWER");
    if (lower || pr_attribute_is(node, "auto_pad", "", "SAME_UPPER"))
        pad_same(w, x, lower);
    else if (!pr_attribute_is(node, "auto_pad", "", "VALID"))
        return pr_node_fail(imp, node, "the attribute auto_pad has no value that ONNX knows");
    return PARRY_OK;
}

/* ---- sequences as images of one row ----------------------------------------------------------------------------- */

static parry_status to_rank(importer *imp, const onnx_node *node, int rank, pr_value *value)
{
    const pr_dims from = imp->model->graph->values[*value].dims;
    pr_dims to = {rank, {from.dim[0], from.dim[1], 1, from.dim[from.rank - 1]}};
    if (from.rank == rank)
        return PARRY_OK;
    if (rank == 3)
        to.dim[2] = from.dim[3];
    return pr_add_node(imp, node, PR_OP_RESHAPE, &(pr_attrs){.shape = {.to = to}}, value, 1, value);
}

/* The operator on an image or a sequence; in[0] is the node's input. */
static parry_status emit_window(importer *imp, const onnx_node *node, pr_op op, const pr_attrs *attrs, pr_value *in,
                                int inputs)
{
    const int rank = imp->model->graph->values[in[0]].dims.rank;
    pr_value out;
    TRY(to_rank(imp, node, 4, &in[0]));
    TRY(pr_add_node(imp, node, op, attrs, in, inputs, &out));
    TRY(to_rank(imp, node, rank, &out));
    pr_define_value(imp, node, out);
    return PARRY_OK;
}

/* ---- convolution ------------------------------------------------------------------------------------------------ */

static parry_status read_kernel(importer *imp, const onnx_node *node, slot *w, int rank, pr_value *out)
{
    const int64_t *dim = w->constant.dim;
    float *data;
    if (w->constant.rank != rank)
        return pr_node_fail(imp, node, "the kernel '%s' has %d dimensions, expected %d", w->name, w->constant.rank,
                            rank);
    for (int d = 0; d < rank; d++)
        if (dim[d] < 1 || dim[d] > (d < 2 ? INT_MAX : WINDOW_MAX))
            return pr_node_fail(imp, node, "dimension %d of the kernel '%s' is %lld", d, w->name, (long long)dim[d]);
    if (rank == 4)
        return pr_weight_of(imp, w, PR_WEIGHT_KERNEL, false, out);
    TRY(pr_weight_new(imp, w, PR_WEIGHT_KERNEL, 4, (int64_t[]){dim[0], dim[1], 1, dim[2]}, out, &data));
    memcpy(data, w->constant.f, (size_t)w->constant.count * sizeof *data);
    return PARRY_OK;
}

parry_status pr_import_conv(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    slot *w = pr_node_input(imp, node, 1), *b = pr_node_input(imp, node, 2);
    const int rank = pr_dims_of(imp, x)->rank;
    pr_value in[3] = {x->value, -1, -1};
    int64_t group;
    bool found;
    if (rank != 3 && rank != 4)
        return pr_node_missing(imp, node, other_rank);
    if (!pr_is_float_constant(w) || (b && !pr_is_vector(b)))
        return pr_node_missing(imp, node, "with computed weights");
    TRY(read_kernel(imp, node, w, rank, &in[1]));

    window win = {.axes = rank - 2, .kernel = {1, (int)w->constant.dim[rank - 1]}};
    if (rank == 4)
        win.kernel[0] = (int)w->constant.dim[2];
    TRY(read_axes(imp, node, "kernel_shape", &win, win.kernel, &found));
    TRY(pr_attribute_int(imp, node, "group", 1, 1, INT_MAX, &group));
    TRY(read_window(imp, node, pr_dims_of(imp, x), &win));
    pr_attrs attrs = {.conv = {.group = (int)group}};
    memcpy(attrs.conv.kernel, win.kernel, sizeof win.kernel);
    memcpy(attrs.conv.stride, win.stride, sizeof win.stride);
    memcpy(attrs.conv.dilation, win.dilation, sizeof win.dilation);
    memcpy(attrs.conv.pad, win.pad, sizeof win.pad);
    if (b)
        TRY(pr_weight_of(imp, b, PR_WEIGHT_VECTOR, false, &in[2]));
    return emit_window(imp, node, PR_OP_CONV, &attrs, in, b ? 3 : 2);
}

/* ---- pooling ---------------------------------------------------------------------------------------------------- */

static pr_attrs pool_attrs(const window *w, bool count_pad, bool ceil_mode)
{
    pr_attrs attrs = {.pool = {.count_pad = count_pad, .ceil_mode = ceil_mode}};
    memcpy(attrs.pool.kernel, w->kernel, sizeof w->kernel);
    memcpy(attrs.pool.stride, w->stride, sizeof w->stride);
    memcpy(attrs.pool.dilation, w->dilation, sizeof w->dilation);
    memcpy(attrs.pool.pad, w->pad, sizeof w->pad);
    return attrs;
}

parry_status pr_import_pool(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    const bool max = strcmp(node->op_type, "MaxPool") == 0;
    const int rank = pr_dims_of(imp, x)->rank;
    int64_t ceil_mode, count_pad;
    bool found;
    if (rank != 3 && rank != 4)
        return pr_node_missing(imp, node, other_rank);
    window win = {.axes = rank - 2, .kernel = {1, 1}};
    TRY(read_axes(imp, node, "kernel_shape", &win, win.kernel, &found));
    if (!found)
        return pr_node_fail(imp, node, "the attribute kernel_shape is missing");
    TRY(read_window(imp, node, pr_dims_of(imp, x), &win));
    TRY(pr_attribute_int(imp, node, "ceil_mode", 0, 0, 1, &ceil_mode));
    TRY(pr_attribute_int(imp, node, "count_include_pad", 0, 0, 1, &count_pad));
    const pr_attrs attrs = pool_attrs(&win, count_pad && !max, ceil_mode);
    return emit_window(imp, node, max ? PR_OP_MAX_POOL : PR_OP_AVERAGE_POOL, &attrs, (pr_value[]){x->value}, 1);
}

/* One window over the whole image. */
parry_status pr_import_global_max_pool(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    const pr_dims *dims = pr_dims_of(imp, x);
    window win = {.axes = dims->rank - 2, .kernel = {1, 1}, .stride = {1, 1}, .dilation = {1, 1}};
    if (dims->rank != 3 && dims->rank != 4)
        return pr_node_missing(imp, node, other_rank);
    for (int d = 2; d < dims->rank; d++) {
        if (dims->dim[d] > INT_MAX)
            return pr_node_fail(imp, node, "axis %d has size %lld", d, (long long)dims->dim[d]);
        win.kernel[d - dims->rank + 2] = (int)dims->dim[d];
    }
    const pr_attrs attrs = pool_attrs(&win, false, false);
    return emit_window(imp, node, PR_OP_MAX_POOL, &attrs, (pr_value[]){x->value}, 1);
}

/* (sum of |x|^p)^(1/p) of each window: the sum is the mean over the window, padding counted, times its size. Sums too
 * small for a normal float count as the smallest one, so that the derivative of the root stays finite at 0. */
parry_status pr_import_lp_pool(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    const int rank = pr_dims_of(imp, x)->rank;
    pr_value value = x->value, size[2];
    int64_t ceil_mode, p;
    float *data;
    bool found;
    if (rank != 3 && rank != 4)
        return pr_node_missing(imp, node, other_rank);
    window win = {.axes = rank - 2, .kernel = {1, 1}};
    TRY(read_axes(imp, node, "kernel_shape", &win, win.kernel, &found));
    if (!found)
        return pr_node_fail(imp, node, "the attribute kernel_shape is missing");
    TRY(read_window(imp, node, pr_dims_of(imp, x), &win));
    TRY(pr_attribute_int(imp, node, "ceil_mode", 0, 0, 1, &ceil_mode));
    TRY(pr_attribute_int(imp, node, "p", 2, 1, 1 << 10, &p));
    if (ceil_mode)
        return pr_node_missing(imp, node, "rounded up");
    if (p == 2)
        TRY(pr_add_node(imp, node, PR_OP_MUL, NULL, (pr_value[]){value, value}, 2, &value));
    else
        TRY(pr_add_map(imp, node, PR_MAP_ABS, 0, 0, 0, &value));
    if (p > 2)
        TRY(pr_add_map(imp, node, PR_MAP_POWER, (float)p, 0, 0, &value));
    const pr_attrs attrs = pool_attrs(&win, true, false);
    TRY(to_rank(imp, node, 4, &value));
    TRY(pr_add_node(imp, node, PR_OP_AVERAGE_POOL, &attrs, &value, 1, &size[0]));
    TRY(pr_weight_made(imp, node, "size", PR_WEIGHT_CONSTANT, 1, &(int64_t){1}, &size[1], &data));
    *data = (float)win.kernel[0] * (float)win.kernel[1];
    TRY(pr_add_node(imp, node, PR_OP_MUL, NULL, size, 2, &value));
    if (p > 1) {
        TRY(pr_add_map(imp, node, PR_MAP_CLIP, FLT_MIN, FLT_MAX, 0, &value));
        TRY(pr_add_map(imp, node, p == 2 ? PR_MAP_SQRT : PR_MAP_POWER, p == 2 ? 0 : 1 / (float)p, 0, 0, &value));
    }
    TRY(to_rank(imp, node, rank, &value));
    pr_define_value(imp, node, value);
    return PARRY_OK;
}
