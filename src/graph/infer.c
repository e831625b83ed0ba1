/* Shape inference: one rule per operator. A rule reads the shapes of the inputs, checks that they and the attributes
 * fit, and writes those of the outputs. */
#include <string.h>

#include "graph/infer.h"

/* No value of a network has more numbers per image than this: it keeps all arithmetic on sizes far from overflow. */
#define LARGEST ((int64_t)1 << 40)

/* ---- windows ---------------------------------------------------------------------------------------------------- */

/* Positions of a window along one axis. */
static parry_status window_count(const struct shapes *s, int64_t in, int64_t kernel, int64_t stride, int64_t dilation,
                                 int64_t before, int64_t after, bool round_up, int64_t *out)
{
    if (kernel < 1 || stride < 1 || dilation < 1 || before < 0 || after < 0)
        return mismatch(s, "kernel %lld, stride %lld, dilation %lld should be at least 1, pads %lld, %lld at least 0",
                        (long long)kernel, (long long)stride, (long long)dilation, (long long)before, (long long)after);
    int64_t span = (kernel - 1) * dilation + 1, room = in + before + after - span;
    if (room < 0)
        return mismatch(s, "a window of %lld does not fit in %lld with pads %lld and %lld", (long long)span,
                        (long long)in, (long long)before, (long long)after);
    *out = (room + (round_up ? stride - 1 : 0)) / stride + 1;
    if (round_up && (*out - 1) * stride >= in + before)
        --*out; /* the last window would start in the padding behind */
    return PARRY_OK;
}

static parry_status conv_out(const struct shapes *s, int64_t in_h, int64_t in_w, int64_t kernel_h, int64_t kernel_w,
                             int64_t *h, int64_t *w)
{
    const int *stride = s->attrs->conv.stride, *dilation = s->attrs->conv.dilation, *pad = s->attrs->conv.pad;
    TRY(window_count(s, in_h, kernel_h, stride[0], dilation[0], pad[0], pad[2], false, h));
    return window_count(s, in_w, kernel_w, stride[1], dilation[1], pad[1], pad[3], false, w);
}

static parry_status pool_out(const struct shapes *s, int64_t in_h, int64_t in_w, int64_t *h, int64_t *w)
{
    const int *kernel = s->attrs->pool.kernel, *stride = s->attrs->pool.stride, *dilation = s->attrs->pool.dilation;
    const int *pad = s->attrs->pool.pad;
    bool up = s->attrs->pool.ceil_mode;
    TRY(window_count(s, in_h, kernel[0], stride[0], dilation[0], pad[0], pad[2], up, h));
    TRY(window_count(s, in_w, kernel[1], stride[1], dilation[1], pad[1], pad[3], up, w));
    for (int i = 0; i < 4; i++) {
        if (pad[i] > (int64_t)(kernel[i % 2] - 1) * dilation[i % 2])
            return mismatch(s, "pad %d should be smaller than the window", pad[i]);
    }
    return PARRY_OK;
}

/* ---- convolution and GEMM --------------------------------------------------------------------------------------- */

/* Weights against `channels` of the input. */
static parry_status check_kernel(const struct shapes *s, int input, int64_t channels)
{
    char found[PR_DIMS_TEXT];
    int group = s->attrs->conv.group;
    const int *kernel = s->attrs->conv.kernel;
    TRY(need_rank(s, input, "the kernel", 4));
    const int64_t *w = s->in[input].dim;
    if (group < 1 || w[0] % group != 0 || w[1] * group != channels)
        return mismatch(s, "a kernel of %s in %d groups does not fit %lld input channels",
                        pr_dims_text(s->in[input], found), group, (long long)channels);
    if (kernel[0] && (kernel[0] != w[2] || kernel[1] != w[3]))
        return mismatch(s, "the kernel attribute is %d x %d, the kernel %lld x %lld", kernel[0], kernel[1],
                        (long long)w[2], (long long)w[3]);
    return PARRY_OK;
}

static parry_status infer_conv(const struct shapes *s)
{
    int64_t h, w;
    TRY(need_image(s, 0, "the input"));
    const int64_t *x = s->in[0].dim, *kernel = s->in[1].dim;
    TRY(check_kernel(s, 1, x[1]));
    TRY(need_vector(s, 2, "the bias", kernel[0]));
    TRY(conv_out(s, x[2], x[3], kernel[2], kernel[3], &h, &w));
    s->out[0] = (pr_dims){4, {PR_BATCH, kernel[0], h, w}};
    return PARRY_OK;
}

static parry_status infer_conv_grad_x(const struct shapes *s)
{
    int64_t h, w, in_h = s->attrs->conv.in_h, in_w = s->attrs->conv.in_w;
    TRY(need_image(s, 0, "the gradient"));
    TRY(need_rank(s, 1, "the kernel", 4));
    const int64_t *kernel = s->in[1].dim;
    TRY(check_kernel(s, 1, kernel[1] * s->attrs->conv.group));
    TRY(conv_out(s, in_h, in_w, kernel[2], kernel[3], &h, &w));
    TRY(need_dims(s, 0, "the gradient", (pr_dims){4, {PR_BATCH, kernel[0], h, w}}));
    s->out[0] = (pr_dims){4, {PR_BATCH, kernel[1] * s->attrs->conv.group, in_h, in_w}};
    return PARRY_OK;
}

static parry_status infer_conv_grad_w(const struct shapes *s)
{
    int64_t h, w;
    int group = s->attrs->conv.group;
    const int *kernel = s->attrs->conv.kernel;
    TRY(need_image(s, 0, "the input"));
    TRY(need_image(s, 1, "the gradient"));
    const int64_t *x = s->in[0].dim, *dy = s->in[1].dim;
    if (group < 1 || x[1] % group != 0 || dy[1] % group != 0)
        return mismatch(s, "%d groups do not divide %lld and %lld channels", group, (long long)x[1], (long long)dy[1]);
    TRY(conv_out(s, x[2], x[3], kernel[0], kernel[1], &h, &w));
    TRY(need_dims(s, 1, "the gradient", (pr_dims){4, {PR_BATCH, dy[1], h, w}}));
    s->out[0] = (pr_dims){4, {dy[1], x[1] / group, kernel[0], kernel[1]}};
    s->out[1] = (pr_dims){1, {dy[1]}};
    return PARRY_OK;
}

/* A matrix whose rows are as long as the row of `x`. */
static parry_status check_matrix(const struct shapes *s, int input, pr_dims x)
{
    char found[PR_DIMS_TEXT], rows[PR_DIMS_TEXT];
    TRY(need_rank(s, input, "the matrix", 2));
    if (s->in[input].dim[1] != pr_dims_row(x))
        return mismatch(s, "a matrix of %s does not fit rows of %s", pr_dims_text(s->in[input], found),
                        pr_dims_text(x, rows));
    return PARRY_OK;
}

static parry_status infer_gemm(const struct shapes *s)
{
    TRY(need_batch(s, 0, "the input", 2));
    TRY(check_matrix(s, 1, s->in[0]));
    TRY(need_vector(s, 2, "the bias", s->in[1].dim[0]));
    s->out[0] = (pr_dims){2, {PR_BATCH, s->in[1].dim[0]}};
    return PARRY_OK;
}

static parry_status infer_gemm_grad_x(const struct shapes *s)
{
    TRY(check_matrix(s, 1, s->attrs->shape.to));
    TRY(need_dims(s, 0, "the gradient", (pr_dims){2, {PR_BATCH, s->in[1].dim[0]}}));
    s->out[0] = s->attrs->shape.to;
    return PARRY_OK;
}

static parry_status infer_gemm_grad_w(const struct shapes *s)
{
    TRY(need_batch(s, 0, "the input", 2));
    TRY(need_batch(s, 1, "the gradient", 2));
    TRY(need_rank(s, 1, "the gradient", 2));
    s->out[0] = (pr_dims){2, {s->in[1].dim[1], pr_dims_row(s->in[0])}};
    s->out[1] = (pr_dims){1, {s->in[1].dim[1]}};
    return PARRY_OK;
}

/* ---- channels --------------------------------------------------------------------------------------------------- */

/* A batch with channels in axis 1 as input 0, and vectors of the channels as inputs `first` .. `last`. */
static parry_status check_channels(const struct shapes *s, int first, int last)
{
    TRY(need_batch(s, 0, "the input", 2));
    for (int i = first; i <= last; i++)
        TRY(need_vector(s, i, "each per-channel input", s->in[0].dim[1]));
    return PARRY_OK;
}

static parry_status infer_channels(const struct shapes *s)
{
    TRY(check_channels(s, 1, s->node->inputs - 1));
    s->out[0] = s->in[0];
    return PARRY_OK;
}

static parry_status infer_batch_norm_train(const struct shapes *s)
{
    TRY(infer_channels(s));
    for (int o = 1; o < 4; o++)
        s->out[o] = (pr_dims){1, {s->in[0].dim[1]}};
    return PARRY_OK;
}

static parry_status infer_batch_norm_train_grad(const struct shapes *s)
{
    TRY(check_channels(s, 2, 4));
    TRY(need_dims(s, 1, "the gradient", s->in[0]));
    s->out[0] = s->in[0];
    s->out[1] = s->out[2] = (pr_dims){1, {s->in[0].dim[1]}};
    return PARRY_OK;
}

/* ---- elementwise ------------------------------------------------------------------------------------------------ */

static parry_status infer_same(const struct shapes *s)
{
    s->out[0] = s->in[0];
    return PARRY_OK;
}

static parry_status infer_same_two(const struct shapes *s)
{
    TRY(need_dims(s, 1, "the second input", s->in[0]));
    s->out[0] = s->in[0];
    return PARRY_OK;
}

static parry_status infer_dropout(const struct shapes *s)
{
    float ratio = s->attrs->dropout.ratio;
    TRY(need_batch(s, 0, "the input", 1));
    if (!(ratio >= 0 && ratio < 1))
        return mismatch(s, "the ratio should be at least 0 and below 1, found %g", (double)ratio);
    s->out[0] = s->in[0];
    return PARRY_OK;
}

/* ---- pooling ---------------------------------------------------------------------------------------------------- */

static parry_status infer_pool(const struct shapes *s)
{
    int64_t h, w;
    TRY(need_image(s, 0, "the input"));
    const int64_t *x = s->in[0].dim;
    TRY(pool_out(s, x[2], x[3], &h, &w));
    s->out[0] = (pr_dims){4, {PR_BATCH, x[1], h, w}};
    return PARRY_OK;
}

static parry_status infer_max_pool_grad(const struct shapes *s)
{
    TRY(infer_pool(s));
    TRY(need_dims(s, 1, "the gradient", s->out[0]));
    s->out[0] = s->in[0];
    return PARRY_OK;
}

static parry_status infer_average_pool_grad(const struct shapes *s)
{
    int64_t h, w, in_h = s->attrs->pool.in_h, in_w = s->attrs->pool.in_w;
    TRY(need_image(s, 0, "the gradient"));
    int64_t channels = s->in[0].dim[1];
    TRY(pool_out(s, in_h, in_w, &h, &w));
    TRY(need_dims(s, 0, "the gradient", (pr_dims){4, {PR_BATCH, channels, h, w}}));
    s->out[0] = (pr_dims){4, {PR_BATCH, channels, in_h, in_w}};
    return PARRY_OK;
}

static parry_status infer_global_average_pool(const struct shapes *s)
{
    TRY(need_image(s, 0, "the input"));
    s->out[0] = (pr_dims){4, {PR_BATCH, s->in[0].dim[1], 1, 1}};
    return PARRY_OK;
}

static parry_status infer_global_average_pool_grad(const struct shapes *s)
{
    TRY(need_image(s, 0, "the gradient"));
    int64_t channels = s->in[0].dim[1];
    TRY(need_dims(s, 0, "the gradient", (pr_dims){4, {PR_BATCH, channels, 1, 1}}));
    s->out[0] = (pr_dims){4, {PR_BATCH, channels, s->attrs->pool.in_h, s->attrs->pool.in_w}};
    return PARRY_OK;
}

/* ---- movement --------------------------------------------------------------------------------------------------- */

static parry_status check_shape_attribute(const struct shapes *s)
{
    pr_dims to = s->attrs->shape.to;
    if (to.rank < 0 || to.rank > PR_RANK_MAX)
        return mismatch(s, "a shape of %d dimensions; at most %d are supported", to.rank, PR_RANK_MAX);
    for (int d = 0; d < to.rank; d++) {
        if (to.dim[d] < 1 && !(d == 0 && to.dim[d] == PR_BATCH))
            return mismatch(s, "dimension %d of the shape should be positive, found %lld", d, (long long)to.dim[d]);
    }
    return PARRY_OK;
}

static parry_status infer_reshape(const struct shapes *s)
{
    char from[PR_DIMS_TEXT], into[PR_DIMS_TEXT];
    pr_dims to = s->attrs->shape.to;
    TRY(check_shape_attribute(s));
    if (has_batch(to) != has_batch(s->in[0]) || pr_dims_row(to) != pr_dims_row(s->in[0]))
        return mismatch(s, "%s cannot be reshaped to %s", pr_dims_text(s->in[0], from), pr_dims_text(to, into));
    s->out[0] = to;
    return PARRY_OK;
}

static parry_status infer_transpose(const struct shapes *s)
{
    pr_dims x = s->in[0];
    unsigned seen = 0;
    s->out[0].rank = x.rank;
    for (int d = 0; d < x.rank; d++) {
        int from = s->attrs->perm.perm[d];
        if (from < 0 || from >= x.rank || (seen >> from & 1))
            return mismatch(s, "the attribute perm is not a permutation of %d axes", x.rank);
        seen |= 1u << from;
        s->out[0].dim[d] = x.dim[from];
    }
    if (has_batch(x) && s->attrs->perm.perm[0] != 0)
        return mismatch(s, "the batch axis should stay the first");
    return PARRY_OK;
}

static parry_status infer_pad(const struct shapes *s)
{
    char from[PR_DIMS_TEXT];
    const int *before = s->attrs->pad.before, *after = s->attrs->pad.after;
    pr_dims x = s->in[0];
    TRY(need_batch(s, 0, "the input", 2));
    if (before[0] || after[0])
        return mismatch(s, "the batch cannot be padded");
    for (int d = 1; d < x.rank; d++) {
        if (x.dim[d] + before[d] + after[d] < 1)
            return mismatch(s, "pads %d and %d leave nothing of axis %d of %s", before[d], after[d], d,
                            pr_dims_text(x, from));
        x.dim[d] += (int64_t)before[d] + after[d];
    }
    s->out[0] = x;
    return PARRY_OK;
}

static parry_status check_axis(const struct shapes *s, int axis, int rank)
{
    if (axis < 1 || axis >= rank)
        return mismatch(s, "axis %d should be one of 1 to %d", axis, rank - 1);
    return PARRY_OK;
}

/* Input `input` as one image of it has to be joined: the dims without the batch. */
static pr_dims one_image(pr_dims dims)
{
    if (!has_batch(dims))
        return dims;
    dims.rank--;
    memmove(dims.dim, dims.dim + 1, (size_t)dims.rank * sizeof(*dims.dim));
    return dims;
}

static parry_status infer_concat(const struct shapes *s)
{
    char first[PR_DIMS_TEXT], other[PR_DIMS_TEXT];
    int axis = s->attrs->axis.axis - 1;
    pr_dims y = one_image(s->in[0]);
    bool batch = false;
    TRY(check_axis(s, axis + 1, y.rank + 1));
    y.dim[axis] = 0;
    for (int i = 0; i < s->node->inputs; i++) {
        pr_dims x = one_image(s->in[i]);
        bool fits = x.rank == y.rank;
        for (int d = 0; fits && d < y.rank; d++)
            fits = d == axis || x.dim[d] == y.dim[d];
        if (!fits)
            return mismatch(s, "%s and %s do not join along axis %d", pr_dims_text(s->in[0], first),
                            pr_dims_text(s->in[i], other), axis + 1);
        y.dim[axis] += x.dim[axis];
        batch |= has_batch(s->in[i]);
    }
    if (!batch || y.rank >= PR_RANK_MAX)
        return mismatch(s, "one of the inputs should be a batch");
    s->out[0] = (pr_dims){y.rank + 1, {PR_BATCH}};
    memcpy(s->out[0].dim + 1, y.dim, (size_t)y.rank * sizeof(*y.dim));
    return PARRY_OK;
}

static parry_status infer_gather(const struct shapes *s)
{
    int axis = s->attrs->gather.axis;
    TRY(need_batch(s, 0, "the input", 2));
    TRY(need_rank(s, 1, "the index", 1));
    TRY(check_axis(s, axis, s->in[0].rank));
    s->out[0] = s->in[0];
    s->out[0].dim[axis] = s->in[1].dim[0];
    return PARRY_OK;
}

static parry_status infer_gather_grad(const struct shapes *s)
{
    int axis = s->attrs->gather.axis;
    TRY(need_batch(s, 0, "the gradient", 2));
    TRY(check_axis(s, axis, s->in[0].rank));
    TRY(need_vector(s, 1, "the index", s->in[0].dim[axis]));
    s->out[0] = s->in[0];
    s->out[0].dim[axis] = s->attrs->gather.size;
    return PARRY_OK;
}

static parry_status infer_reduce_to(const struct shapes *s)
{
    char from[PR_DIMS_TEXT], into[PR_DIMS_TEXT];
    pr_dims dy = s->in[0], to = s->attrs->shape.to;
    TRY(check_shape_attribute(s));
    bool fits = to.rank <= dy.rank;
    for (int d = 1; fits && d <= to.rank; d++)
        fits = to.dim[to.rank - d] == 1 || to.dim[to.rank - d] == dy.dim[dy.rank - d];
    if (!fits)
        return mismatch(s, "%s does not reduce to %s", pr_dims_text(dy, from), pr_dims_text(to, into));
    s->out[0] = to;
    return PARRY_OK;
}

/* ---- the table -------------------------------------------------------------------------------------------------- */

static parry_status (*const rules[PR_OP_COUNT])(const struct shapes *s) = {
    [PR_OP_CONV] = infer_conv,
    [PR_OP_GEMM] = infer_gemm,
    [PR_OP_BATCH_NORM] = infer_channels,
    [PR_OP_RELU] = infer_same,
    [PR_OP_LEAKY_RELU] = infer_same,
    [PR_OP_SIGMOID] = infer_same,
    [PR_OP_TANH] = infer_same,
    [PR_OP_SOFTMAX] = pr_infer_softmax,
    [PR_OP_LOG_SOFTMAX] = pr_infer_softmax,
    [PR_OP_MAX_POOL] = infer_pool,
    [PR_OP_AVERAGE_POOL] = infer_pool,
    [PR_OP_GLOBAL_AVERAGE_POOL] = infer_global_average_pool,
    [PR_OP_ADD] = pr_infer_broadcast,
    [PR_OP_SUB] = pr_infer_broadcast,
    [PR_OP_MUL] = pr_infer_broadcast,
    [PR_OP_DIV] = pr_infer_broadcast,
    [PR_OP_NEG] = infer_same,
    [PR_OP_RESHAPE] = infer_reshape,
    [PR_OP_TRANSPOSE] = infer_transpose,
    [PR_OP_PAD] = infer_pad,
    [PR_OP_CONCAT] = infer_concat,
    [PR_OP_GATHER] = infer_gather,
    [PR_OP_IDENTITY] = infer_same,
    [PR_OP_DROPOUT] = infer_dropout,
    [PR_OP_CHANNEL_AFFINE] = infer_channels,
    [PR_OP_BATCH_NORM_TRAIN] = infer_batch_norm_train,
    [PR_OP_DROPOUT_TRAIN] = infer_dropout,
    [PR_OP_MAP] = infer_same,
    [PR_OP_BINARY] = pr_infer_broadcast,
    [PR_OP_WHERE] = pr_infer_where,
    [PR_OP_REDUCE] = pr_infer_reduce,
    [PR_OP_ARG_MAX] = pr_infer_arg_max,
    [PR_OP_MATMUL] = pr_infer_matmul,
    [PR_OP_NORMALIZE] = pr_infer_normalize,
    [PR_OP_LRN] = pr_infer_lrn,
    [PR_OP_CONV_GRAD_X] = infer_conv_grad_x,
    [PR_OP_CONV_GRAD_W] = infer_conv_grad_w,
    [PR_OP_GEMM_GRAD_X] = infer_gemm_grad_x,
    [PR_OP_GEMM_GRAD_W] = infer_gemm_grad_w,
    [PR_OP_BATCH_NORM_GRAD_X] = infer_channels,
    [PR_OP_BATCH_NORM_TRAIN_GRAD] = infer_batch_norm_train_grad,
    [PR_OP_RELU_GRAD] = infer_same_two,
    [PR_OP_LEAKY_RELU_GRAD] = infer_same_two,
    [PR_OP_SIGMOID_GRAD] = infer_same_two,
    [PR_OP_TANH_GRAD] = infer_same_two,
    [PR_OP_SOFTMAX_GRAD] = pr_infer_softmax,
    [PR_OP_LOG_SOFTMAX_GRAD] = pr_infer_softmax,
    [PR_OP_MAX_POOL_GRAD] = infer_max_pool_grad,
    [PR_OP_AVERAGE_POOL_GRAD] = infer_average_pool_grad,
    [PR_OP_GLOBAL_AVERAGE_POOL_GRAD] = infer_global_average_pool_grad,
    [PR_OP_MAP_GRAD] = infer_same_two,
    [PR_OP_BINARY_GRAD] = pr_infer_binary_grad,
    [PR_OP_REDUCE_GRAD] = pr_infer_reduce_grad,
    [PR_OP_NORMALIZE_GRAD] = pr_infer_normalize,
    [PR_OP_LRN_GRAD] = pr_infer_lrn,
    [PR_OP_GATHER_GRAD] = infer_gather_grad,
    [PR_OP_DROPOUT_TRAIN_GRAD] = infer_dropout,
    [PR_OP_CHANNEL_AFFINE_GRAD_X] = infer_channels,
    [PR_OP_REDUCE_TO] = infer_reduce_to,
};

static parry_status check_size(const struct shapes *s, pr_dims dims)
{
    int64_t size = 1;
    for (int d = 0; d < dims.rank; d++) {
        if (dims.dim[d] == PR_BATCH)
            continue;
        if (dims.dim[d] < 1 || __builtin_mul_overflow(size, dims.dim[d], &size) || size > LARGEST)
            return mismatch(s, "the result would be empty or larger than 2^40 numbers");
    }
    return PARRY_OK;
}

parry_status pr_graph_infer(parry_ctx *ctx, const pr_graph *graph, const pr_node *node, pr_dims out[PR_NODE_OUT])
{
    struct shapes s = {.ctx = ctx, .node = node, .attrs = &node->attrs, .out = out};
    for (int i = 0; i < PR_NODE_IN; i++)
        s.in[i] = node->in[i] < 0 ? (pr_dims){.rank = -1} : graph->values[node->in[i]].dims;
    memset(out, 0, PR_NODE_OUT * sizeof(*out));
    TRY(rules[node->op](&s));
    for (int o = 0; o < node->outputs; o++)
        TRY(check_size(&s, out[o]));
    return PARRY_OK;
}
