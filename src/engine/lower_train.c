/* Rules of what exists in training only: batch norm over the whole batch, dropout, sums over rows.
 *
 * Batch norm synchronises shards exactly: each shard leaves its mean and sum of squares (moments), every shard then
 * combines all of them in the same order (Chan, Golub, LeVeque, 1979) and normalises its rows. The gradient works
 * alike: with M numbers per channel, dx = a dy - a s / M - a invstd^2 q / M (x - mean),   a = scale invstd, s = sum dy,
 * q = sum dy (x - mean). */
#include <math.h>
#include <string.h>

#include "engine/lower.h"

/* ---- forward --------------------------------------------------------------------------------------------------- */

/* Doubles in a buffer of floats: two of `channels`, per shard. */
static double *doubles(const pr_step *step, const pr_frame *frame, int operand, int shard)
{
    int buffer = step->operand[operand].buffer;
    return (double *)(frame->base[buffer] + shard * frame->program->buffers[buffer].count);
}

static parry_status run_moments(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    double *mean = doubles(step, frame, 1, frame->index);
    (void)ctx;
    pr_engine_kernels_get()->moments(pr_at(step, frame, 0), frame->rows * step->area, step->channels, mean,
                                     mean + step->channels);
    return PARRY_OK;
}

/* Mean and biased variance of channel c over all shards. */
static void combine(const pr_step *step, const pr_frame *frame, int64_t c, double *mean, double *var)
{
    double count = 0, m = 0, squares = 0;
    for (int s = 0; s < frame->program->shards; s++) {
        const double *part = doubles(step, frame, 1, s);
        double n = (double)(pr_program_shard_rows(frame->program, s) * step->area), delta = part[c] - m;
        m += delta * n / (count + n);
        squares += part[step->channels + c] + delta * delta * count * n / (count + n);
        count += n;
    }
    *mean = m;
    *var = squares / count;
}

/* Operands: x, moments, scale, shift, line (room for two rows of channels), mean, invstd, var, y. */
static parry_status run_normalise(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    const float *scale = pr_at(step, frame, 2), *shift = pr_at(step, frame, 3);
    float *a = pr_at(step, frame, 4), *b = a + step->channels;
    (void)ctx;
    for (int64_t c = 0; c < step->channels; c++) {
        double mean, var;
        combine(step, frame, c, &mean, &var);
        double invstd = 1 / sqrt(var + step->alpha);
        a[c] = (float)(scale[c] * invstd);
        b[c] = (float)(shift[c] - mean * scale[c] * invstd);
        if (frame->index == 0) {
            pr_at(step, frame, 5)[c] = (float)mean;
            pr_at(step, frame, 6)[c] = (float)invstd;
            pr_at(step, frame, 7)[c] = (float)var;
        }
    }
    pr_engine_kernels_get()->affine(pr_at(step, frame, 0), pr_at(step, frame, 8), frame->rows * step->area,
                                    step->channels, a, b);
    return PARRY_OK;
}

static parry_status channel_step(pr_lower *l, const char *what, const pr_node *node, pr_step_run run, int64_t area,
                                 int64_t channels, pr_step **step)
{
    TRY(pr_program_step(l->ctx, l->program, what, node, PR_EACH_SHARD, step));
    (*step)->run = run;
    (*step)->area = area;
    (*step)->channels = channels;
    (*step)->alpha = node->attrs.bn.eps;
    return PARRY_OK;
}

parry_status pr_rule_norm_train(pr_lower *l, const pr_node *node)
{
    int x, scale, shift, moments, line, out[4];
    pr_step *step;
    int64_t area, channels;
    if (!pr_lower_channels(l, node->in[0], &area, &channels))
        return pr_lower_plain_c(l, node);
    TRY(pr_lower_read(l, node->in[0], PR_NHWC, &x));
    TRY(pr_lower_read(l, node->in[1], PR_ROWS, &scale));
    TRY(pr_lower_read(l, node->in[2], PR_ROWS, &shift));
    TRY(pr_lower_room(l, 4 * channels, &moments));
    TRY(pr_lower_room(l, 2 * channels, &line));
    for (int o = 0; o < 4; o++)
        TRY(pr_lower_write(l, node->out[o], o ? PR_ROWS : PR_NHWC, &out[o]));
    TRY(channel_step(l, "BatchNormTrain moments", node, run_moments, area, channels, &step));
    pr_step_operand(step, x, PR_READS, PR_ARG_SRC);
    pr_step_operand(step, moments, PR_WRITES, PR_ARG_DST);
    TRY(channel_step(l, "BatchNormTrain", node, run_normalise, area, channels, &step));
    pr_step_operand(step, x, PR_READS, PR_ARG_SRC);
    pr_step_operand(step, moments, PR_READS | PR_GATHERS, PR_ARG_SRC);
    pr_step_operand(step, scale, PR_READS, PR_ARG_SRC);
    pr_step_operand(step, shift, PR_READS, PR_ARG_SRC);
    pr_step_operand(step, line, PR_WRITES, PR_ARG_DST);
    for (int o = 1; o < 4; o++)
        pr_step_operand(step, out[o], PR_WRITES, PR_ARG_DST);
    pr_step_operand(step, out[0], PR_WRITES, PR_ARG_DST);
    return PARRY_OK;
}

/* ---- gradient -------------------------------------------------------------------------------------------------- */

static parry_status run_grad_sums(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    double *sum = doubles(step, frame, 3, frame->index);
    (void)ctx;
    pr_engine_kernels_get()->norm_grad_sums(pr_at(step, frame, 0), pr_at(step, frame, 1), frame->rows * step->area,
                                            step->channels, pr_at(step, frame, 2), sum, sum + step->channels);
    return PARRY_OK;
}

/* Operands: x, sums, scale, mean, invstd, line (room for three rows of channels), dscale, dshift, sums of dx's columns,
 * dy, dx. */
enum {
    GRAD_X,
    GRAD_SUMS,
    GRAD_SCALE,
    GRAD_MEAN,
    GRAD_INVSTD,
    GRAD_LINE,
    GRAD_DSCALE,
    GRAD_DSHIFT,
    GRAD_COLUMNS,
    GRAD_DY,
    GRAD_DX
};

static parry_status run_norm_grad(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    const float *scale = pr_at(step, frame, GRAD_SCALE), *mean = pr_at(step, frame, GRAD_MEAN),
                *invstd = pr_at(step, frame, GRAD_INVSTD);
    int64_t channels = step->channels;
    float *a = pr_at(step, frame, GRAD_LINE), *b = a + channels, *k = b + channels;
    double count = (double)(frame->program->rows * step->area);
    (void)ctx;
    for (int64_t c = 0; c < channels; c++) {
        double sum = 0, product = 0;
        for (int s = 0; s < frame->program->shards; s++) {
            const double *part = doubles(step, frame, GRAD_SUMS, s);
            sum += part[c];
            product += part[channels + c];
        }
        double factor = (double)scale[c] * invstd[c], slope = -factor * invstd[c] * invstd[c] * product / count;
        a[c] = (float)factor;
        b[c] = (float)slope;
        k[c] = (float)(-factor * sum / count - slope * mean[c]);
        if (frame->index == 0) {
            pr_at(step, frame, GRAD_DSCALE)[c] = (float)(product * invstd[c]);
            pr_at(step, frame, GRAD_DSHIFT)[c] = (float)sum;
        }
    }
    pr_engine_kernels_get()->norm_grad(pr_at(step, frame, GRAD_DY), pr_at(step, frame, GRAD_X),
                                       pr_at(step, frame, GRAD_DX), frame->rows * step->area, channels, a, b, k,
                                       step->flag, pr_at(step, frame, GRAD_COLUMNS));
    return PARRY_OK;
}

/* The ReLU before the norm whose gradient can be taken along: the norm's x is its result. */
static const pr_node *relu_before(const pr_lower *l, const pr_node *node)
{
    const pr_node *relu = pr_lower_sole_user(l, node->out[0], PR_OP_RELU_GRAD);
    return relu && relu->in[0] == node->in[0] && relu->in[1] == node->out[0] ? relu : NULL;
}

static parry_status add_grad_sums(pr_lower *l, const pr_node *node, const int *in, int64_t area, int64_t channels,
                                  int sums)
{
    pr_step *step;
    TRY(channel_step(l, "BatchNormTrainGrad sums", node, run_grad_sums, area, channels, &step));
    pr_step_operand(step, in[1], PR_READS, PR_ARG_SRC);
    pr_step_operand(step, in[0], PR_READS, PR_ARG_SRC);
    pr_step_operand(step, in[3], PR_READS, PR_ARG_SRC);
    pr_step_operand(step, sums, PR_WRITES, PR_ARG_DST);
    return PARRY_OK;
}

/* in: x, dy, scale, mean, invstd; out: dx, dscale, dshift */
static parry_status add_norm_grad(pr_lower *l, const pr_node *node, const int *in, const int *out, int64_t area,
                                  int64_t channels, int sums, int columns, bool relu)
{
    int line;
    pr_step *step;
    TRY(pr_lower_room(l, 3 * channels, &line));
    TRY(channel_step(l, relu ? "BatchNormTrainGrad + ReluGrad" : "BatchNormTrainGrad", node, run_norm_grad, area,
                     channels, &step));
    step->flag = relu;
    pr_step_operand(step, in[0], PR_READS, PR_ARG_SRC);
    pr_step_operand(step, sums, PR_READS | PR_GATHERS, PR_ARG_SRC);
    for (int i = 2; i < 5; i++)
        pr_step_operand(step, in[i], PR_READS, PR_ARG_SRC);
    pr_step_operand(step, line, PR_WRITES, PR_ARG_DST);
    pr_step_operand(step, out[1], PR_WRITES, PR_ARG_DST);
    pr_step_operand(step, out[2], PR_WRITES, PR_ARG_DST);
    pr_step_operand(step, columns, PR_WRITES, PR_ARG_DST);
    pr_step_operand(step, in[1], PR_READS, PR_ARG_SRC);
    pr_step_operand(step, out[0], PR_WRITES, PR_ARG_DST);
    step->in_place = GRAD_DY;
    return PARRY_OK;
}

parry_status pr_rule_norm_train_grad(pr_lower *l, const pr_node *node)
{
    int in[5], out[3], sums, columns;
    int64_t area, channels;
    if (!pr_lower_channels(l, node->in[0], &area, &channels))
        return pr_lower_plain_c(l, node);
    const pr_node *relu = relu_before(l, node);
    pr_value dx = relu ? relu->out[0] : node->out[0];
    if (relu)
        pr_lower_fuse(l, relu);
    for (int i = 0; i < 5; i++)
        TRY(pr_lower_read(l, node->in[i], i < 2 ? PR_NHWC : PR_ROWS, &in[i]));
    TRY(pr_lower_room(l, 4 * channels, &sums));
    TRY(pr_lower_room(l, channels, &columns));
    TRY(pr_lower_write(l, dx, PR_NHWC, &out[0]));
    for (int o = 1; o < 3; o++)
        TRY(pr_lower_write(l, node->out[o], PR_ROWS, &out[o]));
    l->sums[dx] = columns;
    TRY(add_grad_sums(l, node, in, area, channels, sums));
    return add_norm_grad(l, node, in, out, area, channels, sums, columns, relu != NULL);
}

/* ---- sums over rows -------------------------------------------------------------------------------------------- */

static parry_status run_column_sums(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    (void)ctx;
    pr_engine_kernels_get()->column_sums(pr_at(step, frame, 0), frame->rows * step->area, step->channels,
                                         pr_at(step, frame, 1));
    return PARRY_OK;
}

parry_status pr_lower_column_sums(pr_lower *l, const pr_node *node, pr_value dy, int *buffer)
{
    int in;
    pr_step *step;
    int64_t area, channels;
    if (l->sums[dy] < 0 && pr_lower_channels(l, dy, &area, &channels)) {
        TRY(pr_lower_read(l, dy, PR_NHWC, &in));
        TRY(pr_lower_room(l, channels, &l->sums[dy]));
        TRY(channel_step(l, "column sums", node, run_column_sums, area, channels, &step));
        pr_step_operand(step, in, PR_READS, PR_ARG_SRC);
        pr_step_operand(step, l->sums[dy], PR_WRITES, PR_ARG_DST);
    }
    *buffer = l->sums[dy];
    return PARRY_OK;
}

/* ---- dropout --------------------------------------------------------------------------------------------------- */

static parry_status run_mask(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    const pr_attrs *attrs = &step->node->attrs;
    uint64_t sample = (frame->call->step << 16) + (uint64_t)attrs->dropout.stream;
    (void)ctx;
    pr_engine_kernels_get()->dropout_mask(frame->call->seed, sample, attrs->dropout.ratio, frame->first_row,
                                          frame->rows, step->area, pr_at(step, frame, 0));
    return PARRY_OK;
}

/* The mask that the forward node of the same stream has made, or a new one. */
static parry_status mask_of(pr_lower *l, const pr_node *node, int64_t row, int *mask)
{
    pr_step *step;
    for (size_t n = 0; n < l->graph->node_count; n++) {
        const pr_node *other = &l->graph->nodes[n];
        *mask = l->mask[n];
        if (*mask >= 0 && other->attrs.dropout.stream == node->attrs.dropout.stream &&
            l->program->buffers[*mask].count == row)
            return PARRY_OK;
    }
    TRY(pr_program_buffer(l->ctx, l->program, PR_BY_ROW, row, mask));
    TRY(pr_program_step(l->ctx, l->program, "dropout mask", node, PR_EACH_SHARD, &step));
    step->run = run_mask;
    step->area = row;
    pr_step_operand(step, *mask, PR_WRITES, PR_ARG_DST);
    l->mask[node - l->graph->nodes] = *mask;
    return PARRY_OK;
}

parry_status pr_rule_dropout(pr_lower *l, const pr_node *node)
{
    int x, y, mask;
    pr_step *step;
    int64_t row = pr_dims_row(pr_dims_of(l, node->in[0]));
    TRY(mask_of(l, node, row, &mask));
    TRY(pr_lower_read(l, node->in[0], PR_ROWS, &x));
    TRY(pr_lower_write(l, node->out[0], PR_ROWS, &y));
    TRY(pr_program_step(l->ctx, l->program, pr_op_name(node->op), node, PR_EACH_SHARD, &step));
    step->run = pr_run_flat;
    step->flat = pr_engine_kernels_get()->flat.op[PR_OP_MUL];
    step->area = row;
    step->in_place = 0;
    pr_step_operand(step, x, PR_READS, PR_ARG_SRC);
    pr_step_operand(step, mask, PR_READS, PR_ARG_SRC);
    pr_step_operand(step, y, PR_WRITES, PR_ARG_DST);
    return PARRY_OK;
}
