/* Translations of the operators that slide a window: convolution and pooling, over images and, as images of one row,
 * over sequences; pooling over volumes too, in two steps. */
#include <float.h>
#include <limits.h>
#include <string.h>

#include "onnx/import.h"

/* Large enough for any window, small enough that no sum of sizes overflows. */
enum { WINDOW_MAX = 1 << 16, AXES = 3, SIDES = 2 };

static const char other_rank[] = "of other than images or sequences";

/* Along depth, rows and columns. Of an image the depth, of a sequence the rows too are of size 1. */
typedef struct window {
    int axes; /* 1 to 3, the last ones */
    int kernel[AXES], stride[AXES], dilation[AXES], pad[SIDES][AXES];
} window;

static window window_over(int axes)
{
    return (window){axes, {1, 1, 1}, {1, 1, 1}, {1, 1, 1}, {{0}}};
}

/* ---- attributes ------------------------------------------------------------------------------------------------- */

/* An attribute with a number for each axis. */
static parry_status read_axes(const importer *imp, const onnx_node *node, const char *name, const window *w, int *out,
                              bool *found)
{
    return pr_attribute_ints(imp, node, name, w->axes, 1, WINDOW_MAX, out + AXES - w->axes, found);
}

static parry_status read_pads(const importer *imp, const onnx_node *node, window *w)
{
    int pads[SIDES * AXES] = {0};
    bool found;
    TRY(pr_attribute_ints(imp, node, "pads", SIDES * w->axes, 0, WINDOW_MAX, pads, &found));
    for (int side = 0; side < SIDES; side++)
        for (int a = 0; a < w->axes; a++)
            w->pad[side][AXES - w->axes + a] = pads[side * w->axes + a];
    return PARRY_OK;
}

/* SAME_UPPER and SAME_LOWER: ceil(in / stride) positions, the odd pixel after or before. */
static void pad_same(window *w, const pr_dims *x, bool lower)
{
    for (int a = AXES - w->axes; a < AXES; a++) {
        const int64_t in = x->dim[x->rank - AXES + a], out = (in + w->stride[a] - 1) / w->stride[a];
        const int64_t span = (int64_t)(w->kernel[a] - 1) * w->dilation[a] + 1;
        const int64_t total = PR_MAX((out - 1) * w->stride[a] + span - in, 0);
        w->pad[0][a] = (int)(lower ? total - total / 2 : total / 2);
        w->pad[1][a] = (int)total - w->pad[0][a];
    }
}

/* Reads strides, dilations, pads and auto_pad; axes and kernel are set before. */
static parry_status read_window(const importer *imp, const onnx_node *node, const pr_dims *x, window *w)
{
    bool found;
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
    return pr_add_reshape(imp, node, to, value);
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

    window win = window_over(rank - 2);
    for (int d = 2; d < rank; d++)
        win.kernel[AXES - rank + d] = (int)w->constant.dim[d];
    TRY(read_axes(imp, node, "kernel_shape", &win, win.kernel, &found));
    TRY(pr_attribute_int(imp, node, "group", 1, 1, INT_MAX, &group));
    TRY(read_window(imp, node, pr_dims_of(imp, x), &win));
    pr_attrs attrs = {.conv = {.group = (int)group}};
    for (int a = 0; a < 2; a++) {
        attrs.conv.kernel[a] = win.kernel[1 + a];
        attrs.conv.stride[a] = win.stride[1 + a];
        attrs.conv.dilation[a] = win.dilation[1 + a];
        attrs.conv.pad[a] = win.pad[0][1 + a];
        attrs.conv.pad[2 + a] = win.pad[1][1 + a];
    }
    if (b)
        TRY(pr_weight_of(imp, b, PR_WEIGHT_VECTOR, false, &in[2]));
    TRY(to_rank(imp, node, 4, &in[0]));
    TRY(pr_add_node(imp, node, PR_OP_CONV, &attrs, in, b ? 3 : 2, &in[0]));
    TRY(to_rank(imp, node, rank, &in[0]));
    pr_define_value(imp, node, in[0]);
    return PARRY_OK;
}

/* ---- pooling ---------------------------------------------------------------------------------------------------- */

typedef struct pool {
    pr_op op;
    window window;
    int64_t count_pad, ceil_mode;
} pool;

/* Reads the window of a pool whose `op` is set; false in *open: the node has been noted as missing. */
static parry_status read_pool(importer *imp, const onnx_node *node, pool *p, bool *open)
{
    const pr_dims *dims = pr_dims_of(imp, pr_node_input(imp, node, 0));
    bool found;
    *open = dims->rank >= 3 && dims->rank <= 2 + AXES;
    if (!*open)
        return pr_node_missing(imp, node, "of other than images, sequences or volumes");
    p->window = window_over(dims->rank - 2);
    TRY(read_axes(imp, node, "kernel_shape", &p->window, p->window.kernel, &found));
    if (!found)
        return pr_node_fail(imp, node, "the attribute kernel_shape is missing");
    TRY(read_window(imp, node, dims, &p->window));
    TRY(pr_attribute_int(imp, node, "ceil_mode", 0, 0, 1, &p->ceil_mode));
    TRY(pr_attribute_int(imp, node, "count_include_pad", 0, 0, 1, &p->count_pad));
    return PARRY_OK;
}

/* value = pool of value, N x C x H x W, along two of the window's axes; -1: along none. */
static parry_status add_plane(importer *imp, const onnx_node *node, const pool *p, const int axes[2], pr_value *value)
{
    pr_attrs attrs = {.pool = {.count_pad = p->count_pad, .ceil_mode = p->ceil_mode}};
    for (int i = 0; i < 2; i++) {
        const int a = axes[i];
        attrs.pool.kernel[i] = a < 0 ? 1 : p->window.kernel[a];
        attrs.pool.stride[i] = a < 0 ? 1 : p->window.stride[a];
        attrs.pool.dilation[i] = a < 0 ? 1 : p->window.dilation[a];
        attrs.pool.pad[i] = a < 0 ? 0 : p->window.pad[0][a];
        attrs.pool.pad[2 + i] = a < 0 ? 0 : p->window.pad[1][a];
    }
    return pr_add_node(imp, node, p->op, &attrs, value, 1, value);
}

static bool slides(const window *w, int axis)
{
    return w->kernel[axis] != 1 || w->stride[axis] != 1 || w->pad[0][axis] || w->pad[1][axis];
}

/* A largest value of a volume is the largest of its rows' largest; a mean that of means, since what it is divided by is
 * a product of what there is along each axis. So the depth goes first, pixels being columns, then the planes, being
 * channels. */
static parry_status add_volume(importer *imp, const onnx_node *node, const pool *p, pr_value *value)
{
    const pr_dims *dims = &imp->model->graph->values[*value].dims;
    const int64_t channels = dims->dim[1], rows = dims->dim[3], columns = dims->dim[4];
    int64_t depth = dims->dim[2];
    if (slides(&p->window, 0)) {
        TRY(pr_add_reshape(imp, node, (pr_dims){4, {PR_BATCH, channels, depth, rows * columns}}, value));
        TRY(add_plane(imp, node, p, (int[]){0, -1}, value));
        depth = imp->model->graph->values[*value].dims.dim[2];
    }
    if (!slides(&p->window, 1) && !slides(&p->window, 2))
        return pr_add_reshape(imp, node, (pr_dims){5, {PR_BATCH, channels, depth, rows, columns}}, value);
    TRY(pr_add_reshape(imp, node, (pr_dims){4, {PR_BATCH, channels * depth, rows, columns}}, value));
    TRY(add_plane(imp, node, p, (int[]){1, 2}, value));
    const int64_t *out = imp->model->graph->values[*value].dims.dim;
    return pr_add_reshape(imp, node, (pr_dims){5, {PR_BATCH, channels, depth, out[2], out[3]}}, value);
}

static parry_status add_pool(importer *imp, const onnx_node *node, const pool *p, pr_value *value)
{
    const int rank = imp->model->graph->values[*value].dims.rank;
    if (rank == 2 + AXES)
        return add_volume(imp, node, p, value);
    TRY(to_rank(imp, node, 4, value));
    TRY(add_plane(imp, node, p, (int[]){1, 2}, value));
    return to_rank(imp, node, rank, value);
}

parry_status pr_import_pool(importer *imp, const onnx_node *node)
{
    const bool max = strcmp(node->op_type, "MaxPool") == 0;
    pool p = {.op = max ? PR_OP_MAX_POOL : PR_OP_AVERAGE_POOL};
    pr_value value = pr_node_input(imp, node, 0)->value;
    bool open;
    TRY(read_pool(imp, node, &p, &open));
    if (!open)
        return PARRY_OK;
    p.count_pad = p.count_pad && !max;
    TRY(add_pool(imp, node, &p, &value));
    pr_define_value(imp, node, value);
    return PARRY_OK;
}

/* One window over the whole image. */
parry_status pr_import_global_max_pool(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    const pr_dims *dims = pr_dims_of(imp, x);
    pool p = {.op = PR_OP_MAX_POOL, .window = window_over(dims->rank - 2)};
    pr_value value = x->value;
    if (dims->rank < 3 || dims->rank > 2 + AXES)
        return pr_node_missing(imp, node, "of other than images, sequences or volumes");
    for (int d = 2; d < dims->rank; d++) {
        if (dims->dim[d] > INT_MAX)
            return pr_node_fail(imp, node, "axis %d has size %lld", d, (long long)dims->dim[d]);
        p.window.kernel[AXES - dims->rank + d] = (int)dims->dim[d];
    }
    TRY(add_pool(imp, node, &p, &value));
    pr_define_value(imp, node, value);
    return PARRY_OK;
}

/* Rounding up as padding: windows that start inside the padded input, and reach past its end, find zeros there. */
static void pad_up(const pr_dims *x, window *w)
{
    for (int a = AXES - w->axes; a < AXES; a++) {
        const int64_t in = x->dim[x->rank - AXES + a], span = (int64_t)(w->kernel[a] - 1) * w->dilation[a] + 1;
        const int64_t rest = in + w->pad[0][a] + w->pad[1][a] - span;
        int64_t last = (PR_MAX(rest, 0) + w->stride[a] - 1) / w->stride[a] * w->stride[a];
        if (last >= in + w->pad[0][a])
            last -= w->stride[a];
        w->pad[1][a] = (int)PR_MAX(w->pad[1][a], last + span - in - w->pad[0][a]);
    }
}

/* (sum of |x|^p)^(1/p) of each window: the sum is the mean over the window, padding counted, times its size. Sums too
 * small for a normal float count as the smallest one, so that the derivative of the root stays finite at 0. */
parry_status pr_import_lp_pool(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    pool mean = {.op = PR_OP_AVERAGE_POOL};
    pr_value value = x->value, size[2];
    int64_t p;
    float *data;
    bool open;
    TRY(read_pool(imp, node, &mean, &open));
    if (!open)
        return PARRY_OK;
    TRY(pr_attribute_int(imp, node, "p", 2, 1, 1 << 10, &p));
    if (mean.ceil_mode)
        pad_up(pr_dims_of(imp, x), &mean.window);
    mean.ceil_mode = false;
    mean.count_pad = true;
    if (p == 2)
        TRY(pr_add_node(imp, node, PR_OP_MUL, NULL, (pr_value[]){value, value}, 2, &value));
    else
        TRY(pr_add_map(imp, node, PR_MAP_ABS, 0, 0, 0, &value));
    if (p > 2)
        TRY(pr_add_map(imp, node, PR_MAP_POWER, (float)p, 0, 0, &value));
    TRY(add_pool(imp, node, &mean, &value));
    size[0] = value;
    TRY(pr_weight_made(imp, node, "size", PR_WEIGHT_CONSTANT, 1, &(int64_t){1}, &size[1], &data));
    *data = (float)mean.window.kernel[0] * (float)mean.window.kernel[1] * (float)mean.window.kernel[2];
    TRY(pr_add_node(imp, node, PR_OP_MUL, NULL, size, 2, &value));
    if (p > 1) {
        TRY(pr_add_map(imp, node, PR_MAP_CLIP, FLT_MIN, FLT_MAX, 0, &value));
        TRY(pr_add_map(imp, node, p == 2 ? PR_MAP_SQRT : PR_MAP_POWER, p == 2 ? 0 : 1 / (float)p, 0, 0, &value));
    }
    pr_define_value(imp, node, value);
    return PARRY_OK;
}
