/* Rules of what only moves numbers: padding and cropping, joining, picking, transposing. All but the last work in
 * either layout: they see an image as its axes in the order in which they lie in memory. */
#include <string.h>

#include "engine/lower.h"

/* ---- axes in memory -------------------------------------------------------------------------------------------- */

/* The axes of one image, outermost first; axis[i] is the graph's number of the i'th. */
struct order {
    int count, axis[PR_RANK_MAX];
};

static struct order order_of(pr_dims dims, bool nhwc)
{
    static const int channels_last[] = {2, 3, 1};
    struct order o = {.count = dims.rank - 1};
    for (int i = 0; i < o.count; i++)
        o.axis[i] = nhwc ? channels_last[i] : i + 1;
    return o;
}

/* One image along one axis: `outer` blocks of `size` runs of `inner` numbers. */
struct along {
    int64_t outer, size, inner;
};

static struct along along_axis(pr_dims dims, bool nhwc, int axis)
{
    struct order o = order_of(dims, nhwc);
    struct along a = {1, dims.dim[axis], 1};
    bool inside = false;
    for (int i = 0; i < o.count; i++) {
        if (o.axis[i] == axis)
            inside = true;
        else
            *(inside ? &a.inner : &a.outer) *= dims.dim[o.axis[i]];
    }
    return a;
}

/* A step of `node` in `layout`; `flag` says that it is nhwc. */
static parry_status move_step(pr_lower *l, const pr_node *node, pr_step_run run, pr_layout layout)
{
    pr_step *step;
    TRY(pr_lower_step(l, &(pr_recipe){.node = node, .run = run, .from = layout, .to = layout}, &step));
    step->flag = layout == PR_NHWC && pr_dims_of(l, node->out[0]).rank == 4;
    return PARRY_OK;
}

static pr_dims step_dims(const pr_frame *frame, pr_value value)
{
    return frame->program->graph->values[value].dims;
}

/* ---- padding and cropping -------------------------------------------------------------------------------------- */

/* An image before and after, axes in memory order; the last axis is in runs of `inner` numbers. */
struct box {
    int rank;
    int64_t in[PR_RANK_MAX], out[PR_RANK_MAX], before[PR_RANK_MAX], in_step[PR_RANK_MAX], out_step[PR_RANK_MAX];
    float value;
};

static struct box box_of(const pr_node *node, pr_dims x, pr_dims y, bool nhwc)
{
    struct order o = order_of(x, nhwc);
    struct box b = {.rank = o.count, .value = node->attrs.pad.value};
    int64_t in_step = 1, out_step = 1;
    for (int i = o.count - 1; i >= 0; i--) {
        b.in[i] = x.dim[o.axis[i]];
        b.out[i] = y.dim[o.axis[i]];
        b.before[i] = node->attrs.pad.before[o.axis[i]];
        b.in_step[i] = in_step;
        b.out_step[i] = out_step;
        in_step *= b.in[i];
        out_step *= b.out[i];
    }
    /* Axes at the end that stay as they are move along in runs. */
    while (b.rank > 1 && b.before[b.rank - 1] == 0 && b.in[b.rank - 1] == b.out[b.rank - 1])
        b.rank--;
    return b;
}

static void fill(float *to, int64_t count, float value)
{
    for (int64_t e = 0; e < count; e++)
        to[e] = value;
}

static void pad_axis(const struct box *b, int axis, const float *x, float *y)
{
    int64_t first = PR_MIN(PR_MAX(0, b->before[axis]), b->out[axis]);
    int64_t end = PR_MAX(first, PR_MIN(b->out[axis], b->in[axis] + b->before[axis])), step = b->out_step[axis];
    fill(y, first * step, b->value);
    fill(y + end * step, (b->out[axis] - end) * step, b->value);
    if (end == first)
        return;
    const float *from = x + (first - b->before[axis]) * b->in_step[axis];
    if (axis == b->rank - 1) {
        memcpy(y + first * step, from, (size_t)((end - first) * step) * sizeof(*y));
        return;
    }
    for (int64_t i = first; i < end; i++, from += b->in_step[axis])
        pad_axis(b, axis + 1, from, y + i * step);
}

static parry_status run_pad(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    pr_dims x = step_dims(frame, step->node->in[0]), y = step_dims(frame, step->node->out[0]);
    struct box b = box_of(step->node, x, y, step->flag);
    (void)ctx;
    for (int64_t n = 0; n < frame->rows; n++)
        pad_axis(&b, 0, pr_at(step, frame, 0) + n * pr_dims_row(x), pr_at(step, frame, 1) + n * pr_dims_row(y));
    return PARRY_OK;
}

parry_status pr_rule_pad(pr_lower *l, const pr_node *node)
{
    return move_step(l, node, run_pad, pr_lower_layout(l, node->in[0]));
}

/* ---- joining --------------------------------------------------------------------------------------------------- */

static parry_status run_concat(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    int axis = step->node->attrs.axis.axis;
    pr_dims dims = step_dims(frame, step->node->out[0]);
    struct along y = along_axis(dims, step->flag, axis);
    float *to = pr_at(step, frame, step->operands - 1);
    (void)ctx;
    for (int i = 0; i < step->node->inputs; i++) {
        pr_dims part = step_dims(frame, step->node->in[i]);
        bool shared = !pr_has_batch(part);
        int64_t run = part.dim[shared ? axis - 1 : axis] * y.inner;
        for (int64_t o = 0; o < frame->rows * y.outer; o++) {
            int64_t from = shared ? o % y.outer : o;
            memcpy(to + o * y.size * y.inner, pr_at(step, frame, i) + from * run, (size_t)run * sizeof(*to));
        }
        to += run;
    }
    return PARRY_OK;
}

parry_status pr_rule_concat(pr_lower *l, const pr_node *node)
{
    pr_layout layout = PR_ROWS;
    bool shared = false;
    for (int i = 0; i < node->inputs; i++) {
        shared |= !pr_has_batch(pr_dims_of(l, node->in[i]));
        if (pr_lower_layout(l, node->in[i]) == PR_NHWC)
            layout = PR_NHWC;
    }
    return move_step(l, node, run_concat, shared ? PR_ROWS : layout); /* constants are row-major */
}

/* ---- picking --------------------------------------------------------------------------------------------------- */

static parry_status run_gather(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    int axis = step->node->attrs.gather.axis;
    struct along x = along_axis(step_dims(frame, step->node->in[0]), step->flag, axis);
    struct along y = along_axis(step_dims(frame, step->node->out[0]), step->flag, axis);
    const float *from = pr_at(step, frame, 0), *index = pr_at(step, frame, 1);
    float *to = pr_at(step, frame, 2);
    (void)ctx;
    for (int64_t o = 0; o < frame->rows * x.outer; o++, from += x.size * x.inner)
        for (int64_t k = 0; k < y.size; k++, to += y.inner) {
            const float *run = from + (int64_t)index[k] * x.inner;
            if (y.inner == 1)
                *to = *run;
            else
                memcpy(to, run, (size_t)y.inner * sizeof(*to));
        }
    return PARRY_OK;
}

static parry_status run_gather_grad(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    int axis = step->node->attrs.gather.axis;
    struct along dy = along_axis(step_dims(frame, step->node->in[0]), step->flag, axis);
    struct along dx = along_axis(step_dims(frame, step->node->out[0]), step->flag, axis);
    const float *from = pr_at(step, frame, 0), *index = pr_at(step, frame, 1);
    float *to = pr_at(step, frame, 2);
    (void)ctx;
    memset(to, 0, (size_t)(frame->rows * dx.outer * dx.size * dx.inner) * sizeof(*to));
    for (int64_t o = 0; o < frame->rows * dy.outer; o++, to += dx.size * dx.inner)
        for (int64_t k = 0; k < dy.size; k++, from += dy.inner) {
            float *run = to + (int64_t)index[k] * dx.inner;
            for (int64_t i = 0; i < dy.inner; i++)
                run[i] += from[i];
        }
    return PARRY_OK;
}

parry_status pr_rule_gather(pr_lower *l, const pr_node *node)
{
    return move_step(l, node, node->op == PR_OP_GATHER ? run_gather : run_gather_grad, pr_lower_layout(l, node->in[0]));
}

/* ---- transposing ----------------------------------------------------------------------------------------------- */

/* Writes `axes` axes of the result, whose sizes and strides in the input are given. */
static float *transpose_axes(int axes, const int64_t *size, const int64_t *stride, const float *x, float *to)
{
    if (axes > 1) {
        for (int64_t i = 0; i < *size; i++)
            to = transpose_axes(axes - 1, size + 1, stride + 1, x + i * *stride, to);
        return to;
    }
    if (*stride == 1)
        memcpy(to, x, (size_t)*size * sizeof(*to));
    for (int64_t i = 0; *stride != 1 && i < *size; i++)
        to[i] = x[i * *stride];
    return to + *size;
}

static parry_status run_transpose(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    pr_dims x = step_dims(frame, step->node->in[0]), y = step_dims(frame, step->node->out[0]);
    int64_t own[PR_RANK_MAX], stride[PR_RANK_MAX], length = 1;
    const float *from = pr_at(step, frame, 0);
    float *to = pr_at(step, frame, 1);
    (void)ctx;
    for (int d = x.rank - 1; d > 0; d--) {
        own[d] = length;
        length *= x.dim[d];
    }
    for (int d = 1; d < y.rank; d++)
        stride[d] = own[step->node->attrs.perm.perm[d]];
    for (int64_t n = 0; n < frame->rows; n++, from += length)
        to = transpose_axes(y.rank - 1, y.dim + 1, stride + 1, from, to);
    return PARRY_OK;
}

static bool has_perm(const pr_node *node, int a, int b, int c)
{
    const int *perm = node->attrs.perm.perm;
    return perm[1] == a && perm[2] == b && perm[3] == c;
}

/* Between N x H x W x C and N x C x H x W nothing moves: the bytes of the one are nhwc of the other. */
parry_status pr_rule_transpose(pr_lower *l, const pr_node *node)
{
    int in;
    pr_dims x = pr_dims_of(l, node->in[0]);
    if (!pr_has_batch(x) || x.rank < 2)
        return pr_lower_plain_c(l, node);
    bool to_planes = x.rank == 4 && has_perm(node, 3, 1, 2), from_planes = x.rank == 4 && has_perm(node, 2, 3, 1);
    if (to_planes || from_planes) {
        TRY(pr_lower_read(l, node->in[0], to_planes ? PR_ROWS : PR_NHWC, &in));
        pr_lower_alias(l, node->out[0], to_planes ? PR_NHWC : PR_ROWS, in);
        return PARRY_OK;
    }
    return move_step(l, node, run_transpose, PR_ROWS);
}
