/* Rules of arithmetic: broadcasting, rows, reductions, products of matrices. Broadcasting walks the result in the order
 * in which it lies in memory. */
#include <string.h>

#include "engine/lower.h"
#include "engine/ref.h"

/* ---- broadcasting ------------------------------------------------------------------------------------------------ */

enum { OPERANDS = 3, CHUNK = 256 };

/* The result's axes in memory order, and how far each operand moves along them. */
struct walk {
    int rank;
    int64_t size[PR_RANK_MAX], stride[OPERANDS][PR_RANK_MAX];
};

/* Strides of the axes of `dims`, which lies row-major or in nhwc. */
static void memory_strides(pr_dims dims, bool nhwc, int64_t *stride)
{
    int64_t step = 1;
    for (int d = dims.rank - 1; d >= 0; d--) {
        stride[d] = step;
        step *= dims.dim[d];
    }
    if (!nhwc)
        return;
    stride[1] = 1;
    stride[3] = dims.dim[1];
    stride[2] = dims.dim[1] * dims.dim[3];
}

static pr_dims rows_of(const pr_frame *frame, pr_value value)
{
    pr_dims dims = frame->program->graph->values[value].dims;
    if (pr_has_batch(dims))
        dims.dim[0] = frame->rows;
    return dims;
}

/* Whether axis d + 1 goes on where axis d ends, for all operands. */
static bool joins(const struct walk *w, int inputs, int d)
{
    for (int i = 0; i < inputs; i++)
        if (w->stride[i][d] != w->stride[i][d + 1] * w->size[d + 1])
            return false;
    return true;
}

static struct walk walk_of(const pr_step *step, const pr_frame *frame)
{
    static const int rows[PR_RANK_MAX] = {0, 1, 2, 3, 4, 5, 6, 7}, image[] = {0, 2, 3, 1};
    const pr_node *node = step->node;
    const pr_dims y = rows_of(frame, node->out[0]);
    const int *order = step->flag ? image : rows;
    struct walk w = {.rank = y.rank};
    for (int i = 0; i < node->inputs; i++) {
        const pr_dims x = rows_of(frame, node->in[i]);
        const bool batch = pr_has_batch(frame->program->graph->values[node->in[i]].dims);
        int64_t stride[PR_RANK_MAX];
        memory_strides(x, step->flag && batch, stride);
        for (int d = 0; d < y.rank; d++) {
            const int own = order[d] - (y.rank - x.rank);
            w.stride[i][d] = own < 0 || x.dim[own] == 1 ? 0 : stride[own];
        }
    }
    for (int d = 0; d < y.rank; d++)
        w.size[d] = y.dim[order[d]];
    for (int d = w.rank - 2; d >= 0; d--) {
        if (!joins(&w, node->inputs, d))
            continue;
        w.size[d] *= w.size[d + 1];
        for (int i = 0; i < node->inputs; i++)
            w.stride[i][d] = w.stride[i][d + 1];
        w.rank--;
        for (int e = d + 1; e < w.rank; e++) {
            w.size[e] = w.size[e + 1];
            for (int i = 0; i < node->inputs; i++)
                w.stride[i][e] = w.stride[i][e + 1];
        }
    }
    return w;
}

/* A run along the last axis, in chunks: an operand that does not lie side by side is brought there. */
static void run_chunks(const pr_step *step, const struct walk *w, const float *const *x, float *y)
{
    const int last = w->rank - 1, inputs = step->node->inputs;
    float room[OPERANDS][CHUNK];
    const float *part[OPERANDS] = {NULL};
    bool direct = true;
    for (int i = 0; i < inputs; i++)
        direct &= w->stride[i][last] == 1;
    if (direct) {
        step->flat(&step->node->attrs, x[0], x[1], x[2], y, w->size[last]);
        return;
    }
    for (int64_t first = 0; first < w->size[last]; first += CHUNK) {
        const int64_t n = PR_MIN(CHUNK, w->size[last] - first);
        for (int i = 0; i < inputs; i++) {
            const int64_t stride = w->stride[i][last];
            part[i] = stride == 1 ? x[i] + first : room[i];
            for (int64_t e = 0; stride != 1 && e < n; e++)
                room[i][e] = x[i][(first + e) * stride];
        }
        step->flat(&step->node->attrs, part[0], part[1], part[2], y + first, n);
    }
}

static float *walk_axes(const pr_step *step, const struct walk *w, int axis, const float *const *x, float *y)
{
    if (axis == w->rank - 1) {
        run_chunks(step, w, x, y);
        return y + w->size[axis];
    }
    const float *at[OPERANDS] = {NULL};
    for (int i = 0; i < step->node->inputs; i++)
        at[i] = x[i];
    for (int64_t e = 0; e < w->size[axis]; e++) {
        y = walk_axes(step, w, axis + 1, at, y);
        for (int i = 0; i < step->node->inputs; i++)
            at[i] += w->stride[i][axis];
    }
    return y;
}

static parry_status run_broadcast(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    const struct walk w = walk_of(step, frame);
    const float *x[OPERANDS] = {NULL};
    (void)ctx;
    for (int i = 0; i < step->node->inputs; i++)
        x[i] = pr_at(step, frame, i);
    (void)walk_axes(step, &w, 0, x, pr_at(step, frame, step->operands - 1));
    return PARRY_OK;
}

parry_status pr_rule_broadcast(pr_lower *l, const pr_node *node)
{
    pr_step *step;
    const pr_dims y = pr_dims_of(l, node->out[0]);
    pr_layout layout = PR_ROWS;
    if (!pr_has_batch(y))
        return pr_lower_plain_c(l, node);
    for (int i = 0; i < node->inputs; i++) /* the layout of the largest operand */
        if (pr_dims_equal(pr_dims_of(l, node->in[i]), y) && pr_lower_layout(l, node->in[i]) == PR_NHWC)
            layout = PR_NHWC;
    layout = y.rank == 4 ? layout : PR_ROWS;
    TRY(pr_lower_step(l, &(pr_recipe){.node = node, .run = run_broadcast, .from = layout, .to = layout}, &step));
    step->flat = pr_flat_f32(node);
    step->flag = layout == PR_NHWC;
    return PARRY_OK;
}

/* ---- rows -------------------------------------------------------------------------------------------------------- */

/* step->channels numbers are taken together. */
static parry_status run_rows(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    const pr_engine_kernels *k = pr_engine_kernels_get();
    const float *x = pr_at(step, frame, 0), *dy = pr_at(step, frame, 1);
    float *y = pr_at(step, frame, step->operands - 1);
    const int64_t n = step->channels, rows = frame->rows * step->area / n;
    (void)ctx;
    switch (step->node->op) {
    case PR_OP_SOFTMAX:
        k->softmax(x, rows, n, y);
        break;
    case PR_OP_SOFTMAX_GRAD:
        k->softmax_grad(x, dy, rows, n, y);
        break;
    case PR_OP_NORMALIZE:
        k->normalize(x, rows, n, step->alpha, y);
        break;
    default:
        k->normalize_grad(x, dy, rows, n, step->alpha, y);
    }
    return PARRY_OK;
}

parry_status pr_rule_rows(pr_lower *l, const pr_node *node)
{
    pr_step *step;
    const pr_dims dims = pr_dims_of(l, node->out[0]);
    const bool norm = node->op == PR_OP_NORMALIZE || node->op == PR_OP_NORMALIZE_GRAD;
    if (!pr_has_batch(dims))
        return pr_lower_plain_c(l, node);
    TRY(pr_lower_step(l, &(pr_recipe){.node = node, .run = run_rows}, &step));
    step->channels = 1;
    for (int d = norm ? node->attrs.norm.axis : dims.rank - 1; d < dims.rank; d++)
        step->channels *= dims.dim[d];
    step->alpha = norm ? node->attrs.norm.eps : 0;
    return PARRY_OK;
}

/* ---- sums and means over neighbouring axes ---------------------------------------------------------------------- */

/* outer x n x inner, of which n numbers become one; per image. */
static bool reduced_block(pr_dims x, unsigned axes, int64_t *outer, int64_t *n, int64_t *inner)
{
    int d = 1;
    *outer = *n = *inner = 1;
    for (; d < x.rank && !(axes >> d & 1); d++)
        *outer *= x.dim[d];
    for (; d < x.rank && axes >> d & 1; d++)
        *n *= x.dim[d];
    for (; d < x.rank && !(axes >> d & 1); d++)
        *inner *= x.dim[d];
    return d == x.rank;
}

/* step->area outer blocks of step->width x step->channels. */
static parry_status run_reduce(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    const pr_engine_kernels *k = pr_engine_kernels_get();
    const int64_t blocks = frame->rows * step->area, n = step->width, inner = step->channels;
    const float *x = pr_at(step, frame, 0);
    float *y = pr_at(step, frame, 1);
    (void)ctx;
    if (inner == 1)
        k->row_sums(x, blocks, n, y);
    for (int64_t b = 0; inner > 1 && b < blocks; b++)
        k->column_sums(x + b * n * inner, n, inner, y + b * inner);
    for (int64_t e = 0; step->flag && e < blocks * inner; e++)
        y[e] /= (float)n;
    return PARRY_OK;
}

static parry_status run_reduce_grad(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    const int64_t blocks = frame->rows * step->area, n = step->width, inner = step->channels;
    const float *dy = pr_at(step, frame, 0);
    float *dx = pr_at(step, frame, 1);
    const float share = step->flag ? 1 / (float)n : 1;
    (void)ctx;
    for (int64_t b = 0; b < blocks; b++, dy += inner)
        for (int64_t i = 0; i < n; i++, dx += inner)
            for (int64_t e = 0; e < inner; e++)
                dx[e] = dy[e] * share;
    return PARRY_OK;
}

parry_status pr_rule_reduce(pr_lower *l, const pr_node *node)
{
    const bool backward = node->op == PR_OP_REDUCE_GRAD;
    const pr_reduce function = node->attrs.reduce.function;
    const pr_dims x = pr_dims_of(l, node->in[0]);
    const pr_value in = node->in[backward ? 2 : 0]; /* the gradient needs neither x nor y */
    const pr_step_run run = backward ? run_reduce_grad : run_reduce;
    int64_t outer, n, inner;
    pr_step *step;
    if (!pr_has_batch(x) || (function != PR_REDUCE_SUM && function != PR_REDUCE_MEAN) ||
        !reduced_block(x, node->attrs.reduce.axes, &outer, &n, &inner))
        return pr_lower_plain_c(l, node);
    TRY(pr_lower_step(l, &(pr_recipe){.node = node, .run = run, .in = &in, .inputs = 1}, &step));
    step->area = outer;
    step->width = n;
    step->channels = inner;
    step->flag = function == PR_REDUCE_MEAN;
    return PARRY_OK;
}

/* ---- products ----------------------------------------------------------------------------------------------------
 * By the kernel of GEMM, whose bits do not depend on where a row stands: the right operand is packed into panels, a
 * left one that is stored transposed is turned round. What all images share is packed once, and if the left operand has
 * images of its own, multiplied at once. */

enum { PANEL = 32 };

struct product {
    int64_t m, k, n;
    bool transposed[2];
};

static struct product product_of(const pr_node *node, pr_dims a, pr_dims y)
{
    struct product p = {.m = y.dim[y.rank - 2], .n = y.dim[y.rank - 1]};
    memcpy(p.transposed, node->attrs.matmul.transposed, sizeof p.transposed);
    p.k = a.dim[a.rank - (p.transposed[0] ? 2 : 1)];
    return p;
}

/* Panels of 32 columns, each k rows of 32; the last padded with zeros. */
static void pack_panels(const struct product *p, const float *b, float *panels)
{
    for (int64_t first = 0; first < p->n; first += PANEL, panels += p->k * PANEL) {
        const int64_t columns = PR_MIN(PANEL, p->n - first);
        if (columns < PANEL)
            memset(panels, 0, (size_t)(p->k * PANEL) * sizeof *panels);
        for (int64_t i = 0; i < p->k && !p->transposed[1]; i++)
            memcpy(panels + i * PANEL, b + i * p->n + first, (size_t)columns * sizeof *panels);
        for (int64_t c = 0; c < columns && p->transposed[1]; c++)
            for (int64_t i = 0; i < p->k; i++)
                panels[i * PANEL + c] = b[(first + c) * p->k + i];
    }
}

static void turn_round(const struct product *p, const float *a, float *to)
{
    for (int64_t r = 0; r < p->m; r++)
        for (int64_t i = 0; i < p->k; i++)
            to[r * p->k + i] = a[i * p->m + r];
}

/* y = rows of k numbers times the panels. The kernel takes whole panels; the last columns go through `rest`. */
static void multiply(const struct product *p, const float *a, int64_t rows, const float *panels, float *rest, float *y)
{
    const pr_engine_kernels *k = pr_engine_kernels_get();
    const int64_t whole = p->n / PANEL * PANEL, left = p->n - whole;
    if (!left) {
        k->gemm(a, rows, p->k, p->n, panels, PANEL, NULL, false, y);
        return;
    }
    for (int64_t first = 0; first < p->n; first += PANEL) {
        const int64_t columns = PR_MIN(PANEL, p->n - first);
        k->gemm(a, rows, p->k, PANEL, panels + first * p->k, PANEL, NULL, false, rest);
        for (int64_t r = 0; r < rows; r++)
            memcpy(y + r * p->n + first, rest + r * PANEL, (size_t)columns * sizeof *y);
    }
}

/* Offset of matrix number `index` of the leading axes `outer` in an operand. */
static int64_t matrix_offset(int64_t index, pr_dims outer, pr_dims x, int64_t y_rank)
{
    int64_t stride[PR_RANK_MAX];
    pr_ref_strides(x, (int)y_rank, stride);
    return pr_ref_offset(index, outer.rank, outer.dim, stride);
}

/* Operands: a, b, room for panels, for a turned round, for the last columns; y. */
static parry_status run_matmul(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    const pr_node *node = step->node;
    const pr_dims a = rows_of(frame, node->in[0]), b = rows_of(frame, node->in[1]), y = rows_of(frame, node->out[0]);
    const struct product p = product_of(node, a, y);
    float *panels = pr_at(step, frame, 2), *turned = pr_at(step, frame, 3), *rest = pr_at(step, frame, 4);
    float *to = pr_at(step, frame, 5);
    pr_dims outer = y;
    outer.rank -= 2;
    (void)ctx;
    if (step->flag) { /* one matrix for all */
        pack_panels(&p, pr_at(step, frame, 1), panels);
        const int64_t rows = pr_dims_row(outer) * p.m;
        for (int64_t r = 0; r < rows; r += p.m)
            multiply(&p, pr_at(step, frame, 0) + r * p.k, p.m, panels, rest, to + r * p.n);
        return PARRY_OK;
    }
    for (int64_t e = 0; e < pr_dims_row(outer); e++) {
        const float *left = pr_at(step, frame, 0) + matrix_offset(e, outer, a, y.rank);
        pack_panels(&p, pr_at(step, frame, 1) + matrix_offset(e, outer, b, y.rank), panels);
        if (p.transposed[0])
            turn_round(&p, left, turned);
        multiply(&p, p.transposed[0] ? turned : left, p.m, panels, rest, to + e * p.m * p.n);
    }
    return PARRY_OK;
}

parry_status pr_rule_matmul(pr_lower *l, const pr_node *node)
{
    pr_step *step;
    const pr_dims a = pr_dims_of(l, node->in[0]), b = pr_dims_of(l, node->in[1]), y = pr_dims_of(l, node->out[0]);
    if (!pr_has_batch(y))
        return pr_lower_plain_c(l, node);
    const struct product p = product_of(node, a, y);
    const int64_t panels = (p.n + PANEL - 1) / PANEL * PANEL * p.k;
    pr_dims own = a; /* whether a has every leading axis of y itself */
    own.rank -= 2;
    pr_dims outer = y;
    outer.rank -= 2;
    TRY(pr_lower_step(l, &(pr_recipe){.node = node, .run = run_matmul, .room = {panels, p.m * p.k, p.m * PANEL}},
                      &step));
    step->flag = b.rank == 2 && !p.transposed[0] && pr_dims_equal(own, outer);
    step->flop = 2.0 * (double)(pr_dims_row(y) * p.k);
    return PARRY_OK;
}
