/* Rules of elementwise operators and functions, pooling, and what works channel by channel. */
#include <math.h>
#include <string.h>

#include "engine/lower.h"
#include "engine/ref.h"

/* ---- elementwise ----------------------------------------------------------------------------------------------- */

/* Whether a plan has the value in bf16. Training keeps all but what convolutions read in f32. */
static bool in_bf16(const pr_lower *l, pr_value value)
{
    return !l->program->training && value >= 0 && l->place[value][PR_NHWC_BF16] >= 0;
}

/* Whether a node that has a kernel for bf16 should work in it: one of its activations is there in bf16 already. */
static bool reads_bf16(const pr_lower *l, const pr_node *node)
{
    bool any = false;
    for (int i = 0; i < node->inputs; i++)
        any |= in_bf16(l, node->in[i]);
    return any;
}

parry_status pr_run_flat(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    (void)ctx;
    step->flat(&step->node->attrs, pr_at(step, frame, 0), pr_at(step, frame, 1), pr_at(step, frame, 2),
               pr_at(step, frame, step->operands - 1), frame->rows * step->area);
    return PARRY_OK;
}

/* On numbers in bf16 by the kernel for f32, a piece at a time that stays in the first-level cache. */
static parry_status run_flat_widened(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    enum { PIECE = 2048 };
    const pr_bf16_kernels *k = pr_bf16_kernels_get();
    const int64_t count = frame->rows * step->area;
    float in[2][PIECE], out[PIECE];
    (void)ctx;
    for (int64_t at = 0; at < count; at += PIECE) {
        const int64_t n = PR_MIN(PIECE, count - at);
        for (int i = 0; i < step->node->inputs; i++)
            k->widen(pr_bf16_at(step, frame, i) + at, in[i], n);
        step->flat(&step->node->attrs, in[0], in[1], NULL, out, n);
        k->narrow(out, pr_bf16_at(step, frame, step->operands - 1) + at, n);
    }
    return PARRY_OK;
}

/* The kernel of the node's operator or function, NULL: none in this table. */
static pr_flat_kernel flat_of(const pr_flat_kernels *table, const pr_node *node)
{
    const bool binary = node->op == PR_OP_BINARY || node->op == PR_OP_BINARY_GRAD;
    const pr_flat_kernel *functions = node->op == PR_OP_MAP           ? table->map
                                      : node->op == PR_OP_MAP_GRAD    ? table->map_grad
                                      : node->op == PR_OP_BINARY      ? table->binary
                                      : node->op == PR_OP_BINARY_GRAD ? table->binary_grad
                                                                      : NULL;
    if (!functions)
        return table->op[node->op];
    return functions[binary ? (int)node->attrs.binary.function : (int)node->attrs.map.function];
}

pr_flat_kernel pr_flat_f32(const pr_node *node)
{
    static const pr_flat_kernel plain_c[PR_OP_COUNT] = {[PR_OP_MAP] = pr_ref_map_flat,
                                                        [PR_OP_MAP_GRAD] = pr_ref_map_grad_flat,
                                                        [PR_OP_BINARY] = pr_ref_binary_flat,
                                                        [PR_OP_BINARY_GRAD] = pr_ref_binary_grad_flat};
    const pr_flat_kernel fast = flat_of(&pr_engine_kernels_get()->flat, node);
    return fast ? fast : plain_c[node->op];
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

/* relu(a + b), or for the gradient a + b where the ReLU's result, the third operand, is positive. */
static parry_status add_relu_rule(pr_lower *l, const pr_node *add, const pr_node *relu, bool gradient)
{
    pr_step *step;
    const pr_value in[3] = {add->in[0], add->in[1], relu->in[0]};
    const bool bf16 = reads_bf16(l, add);
    const pr_layout layout = bf16 ? PR_NHWC_BF16 : pr_lower_layout(l, in[0]);
    const pr_flat_kernels *k = bf16 ? &l->bf16->flat : &pr_engine_kernels_get()->flat;
    TRY(pr_lower_step(l,
                      &(pr_recipe){.node = relu,
                                   .run = pr_run_flat,
                                   .what = gradient ? "Add + ReluGrad" : "Add + Relu",
                                   .in = in,
                                   .inputs = 2 + gradient,
                                   .from = layout,
                                   .to = layout},
                      &step));
    step->flat = gradient ? k->add_relu_grad : k->add_relu;
    step->in_place = 0;
    pr_lower_fuse(l, relu);
    return bf16 ? PARRY_OK : pr_cut_flat(l);
}

/* The operand that holds the gradient or the only input: what the result may overwrite. */
static int overwritten(const pr_node *node)
{
    return node->op == PR_OP_RELU_GRAD || node->op == PR_OP_LEAKY_RELU_GRAD ? 1 : 0;
}

parry_status pr_rule_map(pr_lower *l, const pr_node *node)
{
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
    const bool bf16 = reads_bf16(l, node) && l->bf16->flat.op[node->op];
    const pr_layout layout = bf16 ? PR_NHWC_BF16 : pr_lower_layout(l, node->in[0]);
    TRY(pr_lower_step(l, &(pr_recipe){.node = node, .run = pr_run_flat, .from = layout, .to = layout}, &step));
    step->flat = bf16 ? l->bf16->flat.op[node->op] : pr_flat_f32(node);
    step->in_place = overwritten(node);
    return bf16 ? PARRY_OK : pr_cut_flat(l);
}

parry_status pr_rule_function(pr_lower *l, const pr_node *node)
{
    pr_step *step;
    if (!pr_has_batch(pr_dims_of(l, node->out[0])))
        return pr_lower_plain_c(l, node);
    const bool bf16 = in_bf16(l, node->in[0]);
    const pr_layout layout = bf16 ? PR_NHWC_BF16 : pr_lower_layout(l, node->in[0]);
    const pr_flat_kernel own = bf16 ? flat_of(&l->bf16->flat, node) : NULL;
    const pr_step_run run = bf16 && !own ? run_flat_widened : pr_run_flat;
    TRY(pr_lower_step(l, &(pr_recipe){.node = node, .run = run, .from = layout, .to = layout}, &step));
    step->flat = own ? own : pr_flat_f32(node);
    step->in_place = node->inputs - 1;
    return bf16 ? PARRY_OK : pr_cut_flat(l);
}

/* ---- pooling --------------------------------------------------------------------------------------------------- */

static parry_status run_pool(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    pr_window window = step->window;
    (void)ctx;
    window.n = frame->rows;
    step->pool(&window, pr_at(step, frame, 0), pr_at(step, frame, 1), pr_at(step, frame, step->operands - 1));
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

/* What MaxPool leaves is read by others that want bf16, and so is the gradient of a mean over an image: they do not
 * wait for an operand in bf16. */
static bool pools_in_bf16(const pr_lower *l, const pr_node *node)
{
    if (l->program->training || !l->bf16 || !l->bf16->pool[node->op])
        return false;
    return reads_bf16(l, node) || node->op == PR_OP_GLOBAL_AVERAGE_POOL_GRAD ||
           (node->op == PR_OP_MAX_POOL && !pr_lower_is_image(l, node->in[0]));
}

/* The mean over an image is taken and given back in f32. */
parry_status pr_rule_pool(pr_lower *l, const pr_node *node)
{
    pr_step *step;
    bool forward =
        node->op == PR_OP_MAX_POOL || node->op == PR_OP_AVERAGE_POOL || node->op == PR_OP_GLOBAL_AVERAGE_POOL;
    pr_dims x = pr_dims_of(l, forward ? node->in[0] : node->out[0]),
            y = pr_dims_of(l, forward ? node->out[0] : node->in[node->inputs - 1]);
    const bool bf16 = pools_in_bf16(l, node);
    pr_recipe recipe = {.node = node, .run = run_pool, .from = PR_NHWC, .to = PR_NHWC};
    if (bf16 && node->op != PR_OP_GLOBAL_AVERAGE_POOL_GRAD)
        recipe.from = PR_NHWC_BF16;
    if (bf16 && node->op != PR_OP_GLOBAL_AVERAGE_POOL)
        recipe.to = PR_NHWC_BF16;
    TRY(pr_lower_step(l, &recipe, &step));
    step->pool = (bf16 ? l->bf16->pool : pr_engine_kernels_get()->pool)[node->op];
    step->window = window_of(node, x, y);
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
    pr_step *step;
    pr_dims x = pr_dims_of(l, node->in[0]), y = pr_dims_of(l, node->out[0]);
    if (x.rank != 4 || y.rank != 4 || !pr_has_batch(y) || y.dim[1] != x.dim[1] || y.dim[2] * y.dim[3] != 1)
        return pr_lower_plain_c(l, node);
    TRY(pr_lower_step(l, &(pr_recipe){.node = node, .run = run_plane_sums, .from = PR_NHWC, .to = PR_NHWC}, &step));
    step->area = x.dim[2] * x.dim[3];
    step->channels = x.dim[1];
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

/* The operands behind the first are vectors; `room` rows of channels to work in. */
static parry_status line_rule(pr_lower *l, const pr_node *node, pr_step_run run, int64_t room)
{
    pr_step *step;
    int64_t area, channels;
    if (!pr_lower_channels(l, node->in[0], &area, &channels))
        return pr_lower_plain_c(l, node);
    const bool bf16 = reads_bf16(l, node);
    const pr_layout layout = bf16 ? PR_NHWC_BF16 : PR_NHWC;
    TRY(pr_lower_step(
        l, &(pr_recipe){.node = node, .run = run, .from = layout, .to = layout, .room = {room * channels}}, &step));
    step->bf16 = bf16;
    step->area = area;
    step->channels = channels;
    step->alpha = node->attrs.bn.eps;
    step->flag = node->op == PR_OP_CHANNEL_AFFINE || node->op == PR_OP_BATCH_NORM;
    step->in_place = 0;
    return PARRY_OK;
}

parry_status pr_rule_affine(pr_lower *l, const pr_node *node)
{
    return line_rule(l, node, run_affine, 0);
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
    return line_rule(l, node, run_norm, 2);
}

/* ---- across channels ------------------------------------------------------------------------------------------- */

/* Operands: x, and for the gradient dy; room; the result. */
static parry_status run_lrn(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    const pr_engine_kernels *k = pr_engine_kernels_get();
    const pr_attrs *attrs = &step->node->attrs;
    const int64_t rows = frame->rows * step->area;
    float *room = pr_at(step, frame, step->operands - 2), *y = pr_at(step, frame, step->operands - 1);
    (void)ctx;
    if (step->flag)
        k->lrn_grad(attrs, pr_at(step, frame, 0), pr_at(step, frame, 1), rows, step->channels, y, room);
    else
        k->lrn(attrs, pr_at(step, frame, 0), rows, step->channels, y, room);
    return PARRY_OK;
}

parry_status pr_rule_lrn(pr_lower *l, const pr_node *node)
{
    pr_step *step;
    int64_t area, channels;
    if (!pr_lower_channels(l, node->in[0], &area, &channels) || node->attrs.lrn.size > 2 * channels)
        return pr_lower_plain_c(l, node);
    const int64_t room = 4 * pr_lrn_room(&node->attrs, channels);
    TRY(pr_lower_step(l, &(pr_recipe){.node = node, .run = run_lrn, .from = PR_NHWC, .to = PR_NHWC, .room = {room}},
                      &step));
    step->area = area;
    step->channels = channels;
    step->flag = node->op == PR_OP_LRN_GRAD;
    step->in_place = -1;
    return PARRY_OK;
}
