/* Rules of elementwise operators, pooling, and what works channel by channel. */
#include <math.h>
#include <string.h>

#include "engine/lower.h"

/* ---- elementwise ----------------------------------------------------------------------------------------------- */

/* Which of the operators below have a kernel for bf16. */
static const bool bf16_kernels[PR_OP_COUNT] = {[PR_OP_RELU] = true,
                                               [PR_OP_LEAKY_RELU] = true,
                                               [PR_OP_ADD] = true,
                                               [PR_OP_SUB] = true,
                                               [PR_OP_MUL] = true,
                                               [PR_OP_RELU_GRAD] = true,
                                               [PR_OP_MAX_POOL] = true,
                                               [PR_OP_LEAKY_RELU_GRAD] = true,
                                               [PR_OP_MAX_POOL_GRAD] = true,
                                               [PR_OP_BATCH_NORM] = true,
                                               [PR_OP_BATCH_NORM_GRAD_X] = true,
                                               [PR_OP_CHANNEL_AFFINE] = true,
                                               [PR_OP_CHANNEL_AFFINE_GRAD_X] = true};

/* Whether a node should work in bf16: it can, and one of its activations is there in bf16 already. What pooling leaves
 * is read by others that want bf16: it does not wait for that. Training keeps all of this in f32. */
static bool in_bf16(const pr_lower *l, const pr_node *node)
{
    if (l->program->training)
        return false;
    if (l->bf16 && node->op == PR_OP_MAX_POOL && !pr_lower_is_image(l, node->in[0]))
        return true;
    for (int i = 0; i < node->inputs && bf16_kernels[node->op]; i++)
        if (node->in[i] >= 0 && l->place[node->in[i]][PR_NHWC_BF16] >= 0)
            return true;
    return false;
}

static parry_status run_map_bf16(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    const pr_bf16_kernels *k = pr_bf16_kernels_get();
    const pr_bf16 *a = pr_bf16_at(step, frame, 0), *b = pr_bf16_at(step, frame, 1);
    pr_bf16 *y = pr_bf16_at(step, frame, step->operands - 1);
    int64_t count = frame->rows * step->area;
    (void)ctx;
    switch (step->node->op) {
    case PR_OP_RELU:
        k->relu(a, y, count);
        break;
    case PR_OP_LEAKY_RELU:
        k->leaky_relu(step->alpha, a, y, count);
        break;
    case PR_OP_ADD:
        k->add(a, b, y, count);
        break;
    case PR_OP_SUB:
        k->sub(a, b, y, count);
        break;
    case PR_OP_MUL:
        k->mul(a, b, y, count);
        break;
    case PR_OP_RELU_GRAD:
        k->relu_grad(a, b, y, count);
        break;
    default:
        k->leaky_relu_grad(step->alpha, a, b, y, count);
    }
    return PARRY_OK;
}

static parry_status run_map(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    const pr_engine_kernels *k = pr_engine_kernels_get();
    const float *a = pr_at(step, frame, 0), *b = pr_at(step, frame, 1);
    float *y = pr_at(step, frame, step->operands - 1);
    int64_t count = frame->rows * step->area;
    (void)ctx;
    switch (step->node->op) {
    case PR_OP_RELU:
        k->relu(a, y, count);
        break;
    case PR_OP_LEAKY_RELU:
        k->leaky_relu(step->alpha, a, y, count);
        break;
    case PR_OP_NEG:
        k->neg(a, y, count);
        break;
    case PR_OP_ADD:
        k->add(a, b, y, count);
        break;
    case PR_OP_SUB:
        k->sub(a, b, y, count);
        break;
    case PR_OP_MUL:
        k->mul(a, b, y, count);
        break;
    case PR_OP_DIV:
        k->div(a, b, y, count);
        break;
    case PR_OP_RELU_GRAD:
        k->relu_grad(a, b, y, count);
        break;
    default:
        k->leaky_relu_grad(step->alpha, a, b, y, count);
    }
    return PARRY_OK;
}

/* Operands: a, b, and for the gradient the ReLU's result; then relu(a + b), or a + b where that result is positive. */
static parry_status run_add_relu(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    const pr_engine_kernels *k = pr_engine_kernels_get();
    const float *a = pr_at(step, frame, 0), *b = pr_at(step, frame, 1);
    float *y = pr_at(step, frame, step->operands - 1);
    (void)ctx;
    if (step->flag)
        k->add_relu_grad(pr_at(step, frame, 2), a, b, y, frame->rows * step->area);
    else
        k->add_relu(a, b, y, frame->rows * step->area);
    return PARRY_OK;
}

static parry_status run_add_relu_bf16(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    const pr_bf16_kernels *k = pr_bf16_kernels_get();
    const pr_bf16 *a = pr_bf16_at(step, frame, 0), *b = pr_bf16_at(step, frame, 1);
    pr_bf16 *y = pr_bf16_at(step, frame, step->operands - 1);
    (void)ctx;
    if (step->flag)
        k->add_relu_grad(pr_bf16_at(step, frame, 2), a, b, y, frame->rows * step->area);
    else
        k->add_relu(a, b, y, frame->rows * step->area);
    return PARRY_OK;
}

/* The ReLU, or ReLU's gradient, that alone reads the sum that `add` makes: one pass over memory for both. NULL where
 * there is none, or where another kernel takes the gradient's mask over. */
static const pr_node *relu_behind(pr_lower *l, const pr_node *add, bool *gradient)
{
    const pr_node *relu = pr_lower_sole_user(l, add->out[0], PR_OP_RELU);
    *gradient = !relu;
    if (!relu)
        relu = pr_lower_sole_user(l, add->out[0], PR_OP_RELU_GRAD);
    return relu && !(*gradient && (relu->in[1] != add->out[0] || pr_masks_gradient(l, relu))) ? relu : NULL;
}

static parry_status add_relu_rule(pr_lower *l, const pr_node *add, const pr_node *relu, bool gradient)
{
    int in[3], out, inputs = 2 + gradient;
    pr_step *step;
    const pr_value values[3] = {add->in[0], add->in[1], gradient ? relu->in[0] : -1};
    const bool bf16 = in_bf16(l, add);
    const pr_layout layout = bf16 ? PR_NHWC_BF16 : pr_lower_layout(l, values[0]);
    for (int i = 0; i < inputs; i++)
        TRY(pr_lower_read(l, values[i], layout, &in[i]));
    TRY(pr_lower_write(l, relu->out[0], layout, &out));
    TRY(pr_program_step(l->ctx, l->program, gradient ? "Add + ReluGrad" : "Add + Relu", relu, PR_EACH_SHARD, &step));
    step->run = bf16 ? run_add_relu_bf16 : run_add_relu;
    step->area = pr_dims_row(pr_dims_of(l, relu->out[0]));
    step->flag = gradient;
    step->in_place = 0;
    for (int i = 0; i < inputs; i++)
        pr_step_operand(step, in[i], PR_READS, PR_ARG_SRC);
    pr_step_operand(step, out, PR_WRITES, PR_ARG_DST);
    pr_lower_fuse(l, relu);
    return PARRY_OK;
}

/* The operand that holds the gradient or the only input: what the result may overwrite. */
static int overwritten(const pr_node *node)
{
    return node->op == PR_OP_RELU_GRAD || node->op == PR_OP_LEAKY_RELU_GRAD ? 1 : 0;
}

parry_status pr_rule_map(pr_lower *l, const pr_node *node)
{
    int in[2], out;
    bool gradient;
    pr_step *step;
    pr_dims dims = pr_dims_of(l, node->out[0]);
    if (!pr_has_batch(dims))
        return pr_lower_plain_c(l, node);
    for (int i = 0; i < node->inputs; i++) {
        if (!pr_dims_equal(pr_dims_of(l, node->in[i]), dims))
            return pr_rule_broadcast(l, node);
    }
    if (node->op == PR_OP_RELU_GRAD && pr_masks_gradient(l, node))
        return PARRY_OK;
    const pr_node *relu = node->op == PR_OP_ADD ? relu_behind(l, node, &gradient) : NULL;
    if (relu)
        return add_relu_rule(l, node, relu, gradient);
    bool bf16 = in_bf16(l, node);
    pr_layout layout = bf16 ? PR_NHWC_BF16 : pr_lower_layout(l, node->in[0]);
    for (int i = 0; i < node->inputs; i++)
        TRY(pr_lower_read(l, node->in[i], layout, &in[i]));
    TRY(pr_lower_write(l, node->out[0], layout, &out));
    TRY(pr_program_step(l->ctx, l->program, pr_op_name(node->op), node, PR_EACH_SHARD, &step));
    step->run = bf16 ? run_map_bf16 : run_map;
    step->area = pr_dims_row(dims);
    step->alpha = node->attrs.alpha.alpha;
    step->in_place = overwritten(node);
    for (int i = 0; i < node->inputs; i++)
        pr_step_operand(step, in[i], PR_READS, PR_ARG_SRC);
    pr_step_operand(step, out, PR_WRITES, PR_ARG_DST);
    return PARRY_OK;
}

/* ---- pooling --------------------------------------------------------------------------------------------------- */

/* The mean over an image is taken and given back in f32. */
static parry_status run_pool_bf16(const pr_step *step, const pr_frame *frame, const pr_window *w)
{
    const pr_bf16_kernels *k = pr_bf16_kernels_get();
    const pr_bf16 *a = pr_bf16_at(step, frame, 0), *b = pr_bf16_at(step, frame, 1);
    pr_bf16 *y = pr_bf16_at(step, frame, step->operands - 1);
    if (step->node->op == PR_OP_MAX_POOL)
        k->max_pool(w, a, y);
    else if (step->node->op == PR_OP_MAX_POOL_GRAD)
        k->max_pool_grad(w, a, b, y);
    else if (step->node->op == PR_OP_GLOBAL_AVERAGE_POOL)
        k->global_average(a, pr_at(step, frame, 1), w->n, w->in_h * w->in_w, w->c);
    else
        k->global_average_grad(pr_at(step, frame, 0), y, w->n, w->in_h * w->in_w, w->c);
    return PARRY_OK;
}

static parry_status run_pool(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    const pr_engine_kernels *k = pr_engine_kernels_get();
    const float *a = pr_at(step, frame, 0), *b = pr_at(step, frame, 1);
    float *y = pr_at(step, frame, step->operands - 1);
    pr_window window = step->window;
    (void)ctx;
    window.n = frame->rows;
    if (step->bf16)
        return run_pool_bf16(step, frame, &window);
    switch (step->node->op) {
    case PR_OP_MAX_POOL:
        k->max_pool(&window, a, y);
        break;
    case PR_OP_MAX_POOL_GRAD:
        k->max_pool_grad(&window, a, b, y);
        break;
    case PR_OP_AVERAGE_POOL:
    case PR_OP_GLOBAL_AVERAGE_POOL:
        k->average_pool(&window, a, y);
        break;
    default:
        k->average_pool_grad(&window, a, y);
    }
    return PARRY_OK;
}

/* The window of a pooling operator; `x` has the dims of its image, `y` of its result. */
static pr_window window_of(const pr_node *node, pr_dims x, pr_dims y)
{
    pr_window w = {.c = x.dim[1], .in_h = x.dim[2], .in_w = x.dim[3], .out_h = y.dim[2], .out_w = y.dim[3]};
    bool global = node->op == PR_OP_GLOBAL_AVERAGE_POOL || node->op == PR_OP_GLOBAL_AVERAGE_POOL_GRAD;
    for (int i = 0; i < 2; i++) {
        w.kernel[i] = global ? (int)x.dim[2 + i] : node->attrs.pool.kernel[i];
        w.stride[i] = global ? 1 : node->attrs.pool.stride[i];
        w.dilation[i] = global ? 1 : node->attrs.pool.dilation[i];
        w.pad[i] = global ? 0 : node->attrs.pool.pad[i];
        w.pad[2 + i] = global ? 0 : node->attrs.pool.pad[2 + i];
    }
    w.count_pad = !global && node->attrs.pool.count_pad;
    return w;
}

parry_status pr_rule_pool(pr_lower *l, const pr_node *node)
{
    int in[2], out;
    pr_step *step;
    bool forward =
        node->op == PR_OP_MAX_POOL || node->op == PR_OP_AVERAGE_POOL || node->op == PR_OP_GLOBAL_AVERAGE_POOL;
    pr_dims x = pr_dims_of(l, forward ? node->in[0] : node->out[0]),
            y = pr_dims_of(l, forward ? node->out[0] : node->in[node->inputs - 1]);
    bool mean = node->op == PR_OP_GLOBAL_AVERAGE_POOL, mean_grad = node->op == PR_OP_GLOBAL_AVERAGE_POOL_GRAD;
    bool bf16 = in_bf16(l, node) || (!l->program->training &&
                                     ((mean && l->place[node->in[0]][PR_NHWC_BF16] >= 0) || (mean_grad && l->bf16)));
    pr_layout from = bf16 && !mean_grad ? PR_NHWC_BF16 : PR_NHWC, to = bf16 && !mean ? PR_NHWC_BF16 : PR_NHWC;
    for (int i = 0; i < node->inputs; i++)
        TRY(pr_lower_read(l, node->in[i], from, &in[i]));
    TRY(pr_lower_write(l, node->out[0], to, &out));
    TRY(pr_program_step(l->ctx, l->program, pr_op_name(node->op), node, PR_EACH_SHARD, &step));
    step->run = run_pool;
    step->bf16 = bf16;
    step->window = window_of(node, x, y);
    for (int i = 0; i < node->inputs; i++)
        pr_step_operand(step, in[i], PR_READS, PR_ARG_SRC);
    pr_step_operand(step, out, PR_WRITES, PR_ARG_DST);
    return PARRY_OK;
}

/* ---- sums of planes ------------------------------------------------------------------------------------- */

static parry_status run_plane_sums(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    const int64_t image = step->area * step->channels;
    (void)ctx;
    for (int64_t n = 0; n < frame->rows; n++)
        pr_engine_kernels_get()->column_sums(pr_at(step, frame, 0) + n * image, step->area, step->channels,
                                             pr_at(step, frame, 1) + n * step->channels);
    return PARRY_OK;
}

/* Of an image's planes to a number each, the gradient of a gate; other sums are the oracle's. */
parry_status pr_rule_reduce_to(pr_lower *l, const pr_node *node)
{
    int in, out;
    pr_step *step;
    pr_dims x = pr_dims_of(l, node->in[0]), y = pr_dims_of(l, node->out[0]);
    if (x.rank != 4 || y.rank != 4 || !pr_has_batch(y) || y.dim[1] != x.dim[1] || y.dim[2] * y.dim[3] != 1)
        return pr_lower_plain_c(l, node);
    TRY(pr_lower_read(l, node->in[0], PR_NHWC, &in));
    TRY(pr_lower_write(l, node->out[0], PR_NHWC, &out));
    TRY(pr_program_step(l->ctx, l->program, pr_op_name(node->op), node, PR_EACH_SHARD, &step));
    step->run = run_plane_sums;
    step->area = x.dim[2] * x.dim[3];
    step->channels = x.dim[1];
    pr_step_operand(step, in, PR_READS, PR_ARG_SRC);
    pr_step_operand(step, out, PR_WRITES, PR_ARG_DST);
    return PARRY_OK;
}

/* ---- scale and shift by channel -------------------------------------------------------------------------------- */

/* y = x a + b by channel; operand 0 to the last, in the step's type. */
static void scale_and_shift(const pr_step *step, const pr_frame *frame, const float *a, const float *b)
{
    int last = step->operands - 1;
    int64_t rows = frame->rows * step->area;
    if (step->bf16)
        pr_bf16_kernels_get()->affine(pr_bf16_at(step, frame, 0), pr_bf16_at(step, frame, last), rows, step->channels,
                                      a, b);
    else
        pr_engine_kernels_get()->affine(pr_at(step, frame, 0), pr_at(step, frame, last), rows, step->channels, a, b);
}

static parry_status run_affine(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    const float *shift = step->flag ? pr_at(step, frame, 2) : NULL;
    (void)ctx;
    scale_and_shift(step, frame, pr_at(step, frame, 1), shift);
    return PARRY_OK;
}

parry_status pr_rule_affine(pr_lower *l, const pr_node *node)
{
    int in[3], out;
    pr_step *step;
    int64_t area, channels;
    if (!pr_lower_channels(l, node->in[0], &area, &channels))
        return pr_lower_plain_c(l, node);
    bool bf16 = in_bf16(l, node);
    pr_layout layout = bf16 ? PR_NHWC_BF16 : PR_NHWC;
    for (int i = 0; i < node->inputs; i++)
        TRY(pr_lower_read(l, node->in[i], i ? PR_ROWS : layout, &in[i]));
    TRY(pr_lower_write(l, node->out[0], layout, &out));
    TRY(pr_program_step(l->ctx, l->program, pr_op_name(node->op), node, PR_EACH_SHARD, &step));
    step->run = run_affine;
    step->bf16 = bf16;
    step->area = area;
    step->channels = channels;
    step->flag = node->op == PR_OP_CHANNEL_AFFINE;
    step->in_place = 0;
    for (int i = 0; i < node->inputs; i++)
        pr_step_operand(step, in[i], PR_READS, PR_ARG_SRC);
    pr_step_operand(step, out, PR_WRITES, PR_ARG_DST);
    return PARRY_OK;
}

/* Batch norm on running statistics, or its gradient: y = x a + s with a = scale / sqrt(var + eps), s = shift - mean a
 * (0 for the gradient). Operands: x, scale, shift, mean, var or dy, scale, var; then room for a and s; then the result.
 */
static parry_status run_norm(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    const float *scale = pr_at(step, frame, 1), *var = pr_at(step, frame, step->operands - 3);
    float *a = pr_at(step, frame, step->operands - 2), *s = a + step->channels;
    (void)ctx;
    for (int64_t c = 0; c < step->channels; c++) {
        double factor = scale[c] / sqrt((double)var[c] + step->alpha);
        a[c] = (float)factor;
        s[c] = step->flag ? (float)(pr_at(step, frame, 2)[c] - pr_at(step, frame, 3)[c] * factor) : 0;
    }
    scale_and_shift(step, frame, a, step->flag ? s : NULL);
    return PARRY_OK;
}

parry_status pr_rule_norm(pr_lower *l, const pr_node *node)
{
    int in[5], line, out;
    pr_step *step;
    int64_t area, channels;
    if (!pr_lower_channels(l, node->in[0], &area, &channels))
        return pr_lower_plain_c(l, node);
    bool bf16 = in_bf16(l, node);
    pr_layout layout = bf16 ? PR_NHWC_BF16 : PR_NHWC;
    for (int i = 0; i < node->inputs; i++)
        TRY(pr_lower_read(l, node->in[i], i ? PR_ROWS : layout, &in[i]));
    TRY(pr_program_buffer(l->ctx, l->program, PR_BY_SHARD, 2 * channels, &line));
    TRY(pr_lower_write(l, node->out[0], layout, &out));
    TRY(pr_program_step(l->ctx, l->program, pr_op_name(node->op), node, PR_EACH_SHARD, &step));
    step->run = run_norm;
    step->bf16 = bf16;
    step->area = area;
    step->channels = channels;
    step->alpha = node->attrs.bn.eps;
    step->flag = node->op == PR_OP_BATCH_NORM;
    step->in_place = 0;
    for (int i = 0; i < node->inputs; i++)
        pr_step_operand(step, in[i], PR_READS, PR_ARG_SRC);
    pr_step_operand(step, line, PR_WRITES, PR_ARG_SRC);
    pr_step_operand(step, out, PR_WRITES, PR_ARG_DST);
    return PARRY_OK;
}
