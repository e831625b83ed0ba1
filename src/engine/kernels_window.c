/* Kernels that slide a window over an nhwc image: pooling, and the gradient of a convolution of few input channels. */
#include <float.h>

#include "engine/kernels_isa.h"
#include "engine/kernels_window.h"

enum { TILE = 64, POSITIONS = 14 };

/* ---- pooling --------------------------------------------------------------------------------------------------- */

void PR_ISA_NAME(max_pool)(const pr_window *w, const void *a, const void *unused, void *result)
{
    const float *in = a;
    float *out = result;
    (void)unused;
    const int taps = w->kernel[0] * w->kernel[1];
    PR_EACH_PIXEL(w, {
        bool any = false;
        float *to = out + at;
        for (int64_t k = 0; k < w->c; k++)
            to[k] = -FLT_MAX;
        for (int tap = 0; tap < taps; tap++) {
            int64_t from = pr_pixel_at(w, n, y, x, tap);
            if (from < 0)
                continue;
            for (int64_t k = 0; k < w->c; k++)
                to[k] = !any || in[from + k] > to[k] ? in[from + k] : to[k];
            any = true;
        }
    });
}

/* For channels first .. first + count of one output pixel: finds each maximum's tap again and adds dy there. */
static void max_pool_grad_tile(const pr_window *w, const float *in, const float *dy, float *dx, int64_t n, int64_t y,
                               int64_t x, int64_t first, int64_t count)
{
    float best[TILE];
    int32_t where[TILE];
    int taps = w->kernel[0] * w->kernel[1];
    for (int64_t k = 0; k < count; k++)
        where[k] = -1;
    for (int tap = 0; tap < taps; tap++) {
        int64_t from = pr_pixel_at(w, n, y, x, tap);
        for (int64_t k = 0; from >= 0 && k < count; k++) {
            bool better = where[k] < 0 || in[from + first + k] > best[k];
            best[k] = better ? in[from + first + k] : best[k];
            where[k] = better ? tap : where[k];
        }
    }
    for (int tap = 0; tap < taps; tap++) {
        int64_t to = pr_pixel_at(w, n, y, x, tap);
        for (int64_t k = 0; to >= 0 && k < count; k++)
            dx[to + first + k] += where[k] == tap ? dy[k] : 0;
    }
}

void PR_ISA_NAME(max_pool_grad)(const pr_window *w, const void *a, const void *b, void *result)
{
    const float *in = a, *dy = b;
    float *dx = result;
    memset(dx, 0, (size_t)(w->n * w->in_h * w->in_w * w->c) * sizeof(float));
    PR_EACH_PIXEL(w, {
        for (int64_t first = 0; first < w->c; first += TILE)
            max_pool_grad_tile(w, in, dy + at + first, dx, n, y, x, first, MIN(TILE, w->c - first));
    });
}

/* How many taps along `axis` lie in the image, or in the padded image. */
static int64_t taps_inside(const pr_window *w, int axis, int64_t out, bool padded)
{
    int64_t size = axis ? w->in_w : w->in_h, low = padded ? -w->pad[axis] : 0,
            high = padded ? size + w->pad[axis + 2] : size, count = 0;
    for (int tap = 0; tap < w->kernel[axis]; tap++) {
        int64_t at = out * w->stride[axis] - w->pad[axis] + (int64_t)tap * w->dilation[axis];
        count += at >= low && at < high;
    }
    return count;
}

static float divisor(const pr_window *w, int64_t y, int64_t x)
{
    int64_t count = taps_inside(w, 0, y, w->count_pad) * taps_inside(w, 1, x, w->count_pad);
    return (float)MAX(1, count);
}

void PR_ISA_NAME(average_pool)(const pr_window *w, const void *a, const void *unused, void *result)
{
    const float *in = a;
    float *out = result;
    (void)unused;
    int taps = w->kernel[0] * w->kernel[1];
    PR_EACH_PIXEL(w, {
        float *to = out + at, d = divisor(w, y, x);
        memset(to, 0, (size_t)w->c * sizeof(float));
        for (int tap = 0; tap < taps; tap++) {
            int64_t from = pr_pixel_at(w, n, y, x, tap);
            for (int64_t k = 0; from >= 0 && k < w->c; k++)
                to[k] += in[from + k];
        }
        for (int64_t k = 0; k < w->c; k++)
            to[k] /= d;
    });
}

void PR_ISA_NAME(average_pool_grad)(const pr_window *w, const void *a, const void *unused, void *result)
{
    const float *dy = a;
    float *dx = result;
    (void)unused;
    int taps = w->kernel[0] * w->kernel[1];
    memset(dx, 0, (size_t)(w->n * w->in_h * w->in_w * w->c) * sizeof(float));
    PR_EACH_PIXEL(w, {
        float d = divisor(w, y, x);
        for (int tap = 0; tap < taps; tap++) {
            int64_t to = pr_pixel_at(w, n, y, x, tap);
            for (int64_t k = 0; to >= 0 && k < w->c; k++)
                dx[to + k] += dy[at + k] / d;
        }
    });
}

/* ---- gradient of a first layer ------------------------------------------------------------------------------------
 * With one or three input channels oneDNN leaves most of each vector empty. Here the lanes are taps (kernel position x
 * input channel): for each output pixel, column[tap] = sum over output channels of dy * w[tap], a matrix product that
 * keeps POSITIONS pixels in registers; the columns are then added to the pixels under the taps. */

typedef float taps16 __attribute__((vector_size(64), aligned(4), may_alias));
typedef float taps4 __attribute__((vector_size(16), aligned(4), may_alias));

/* columns[p][16] = sum_o dy[p][o] packed[o][16] for `count` = POSITIONS pixels. */
static void few_columns(const float *dy, int64_t out_c, const float *packed, int64_t lanes, float *columns)
{
    taps16 sum[POSITIONS];
#pragma GCC unroll 14
    for (int p = 0; p < POSITIONS; p++)
        sum[p] = (taps16){0};
    for (int64_t o = 0; o < out_c; o++) {
        taps16 w = *(const taps16 *)(packed + o * lanes);
#pragma GCC unroll 14
        for (int p = 0; p < POSITIONS; p++)
            sum[p] += dy[p * out_c + o] * w;
    }
#pragma GCC unroll 14
    for (int p = 0; p < POSITIONS; p++)
        *(taps16 *)(columns + p * lanes) = sum[p];
}

static void few_column(const float *dy, int64_t out_c, const float *packed, int64_t lanes, float *columns)
{
    taps16 sum = {0};
    for (int64_t o = 0; o < out_c; o++)
        sum += dy[o] * *(const taps16 *)(packed + o * lanes);
    *(taps16 *)columns = sum;
}

/* masked = dy where mask is positive. */
static void apply_mask(const float *mask, const float *dy, float *masked, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        masked[i] = mask[i] > 0 ? dy[i] : 0;
}

/* The frame that columns are added to: the image with all that its windows reach, so that no tap needs a check. */
struct canvas {
    int64_t run, rows, width, size; /* taps of a kernel row, padded; rows; floats of a row */
};

static struct canvas canvas_of(const pr_window *w)
{
    struct canvas c = {.run = pr_few_run(w->kernel[1] * w->c)};
    c.rows = MAX((w->out_h - 1) * w->stride[0] + (int64_t)(w->kernel[0] - 1) * w->dilation[0] + 1, w->pad[0] + w->in_h);
    c.width = MAX((w->out_w - 1) * w->stride[1] * w->c + c.run, (w->pad[1] + w->in_w) * w->c);
    c.size = c.rows * c.width;
    return c;
}

/* Adds the columns of output row y. A kernel row's taps are neighbours on the canvas: whole vectors are added.
 * Neighbouring pixels' runs overlap, and a load waits for a store that it overlaps with: each pass takes pixels that
 * are far enough apart. */
static void few_scatter(const pr_window *w, const struct canvas *c, const float *columns, int64_t lanes, int64_t y,
                        float *canvas)
{
    const int64_t step = (int64_t)w->stride[1] * w->c, passes = (c->run + step - 1) / step;
    float *top = canvas + y * w->stride[0] * c->width;
    for (int64_t pass = 0; pass < passes; pass++)
        for (int64_t x = pass; x < w->out_w; x += passes) {
            const float *column = columns + x * lanes;
            for (int r = 0; r < w->kernel[0]; r++) {
                float *to = top + r * w->dilation[0] * c->width + x * step;
                for (int64_t k = 0; k < c->run; k += 4)
                    *(taps4 *)(to + k) += *(const taps4 *)(column + r * c->run + k);
            }
        }
}

static void few_row(const pr_window *w, int64_t out_c, const float *packed, const float *dy, int64_t lanes,
                    float *columns)
{
    for (int64_t lane = 0; lane < lanes; lane += 16) {
        int64_t x = 0;
        for (; x + POSITIONS <= w->out_w; x += POSITIONS)
            few_columns(dy + x * out_c, out_c, packed + lane, lanes, columns + x * lanes + lane);
        for (; x < w->out_w; x++)
            few_column(dy + x * out_c, out_c, packed + lane, lanes, columns + x * lanes + lane);
    }
}

int64_t PR_ISA_NAME(few_scratch)(const pr_window *w, int64_t out_c)
{
    return w->out_w * (pr_few_lanes(w->kernel[0], w->kernel[1] * w->c) + out_c) + canvas_of(w).size;
}

void PR_ISA_NAME(few_grad)(const pr_window *w, int64_t out_c, const float *packed, const float *dy, const float *mask,
                           float *dx, float *scratch)
{
    const struct canvas c = canvas_of(w);
    const int64_t lanes = pr_few_lanes(w->kernel[0], w->kernel[1] * w->c), row = w->out_w * out_c;
    float *columns = scratch, *masked = columns + w->out_w * lanes, *canvas = masked + row;
    for (int64_t n = 0; n < w->n; n++) {
        memset(canvas, 0, (size_t)c.size * sizeof(float));
        for (int64_t y = 0; y < w->out_h; y++, dy += row) {
            if (mask)
                apply_mask(mask + (n * w->out_h + y) * row, dy, masked, row);
            few_row(w, out_c, packed, mask ? masked : dy, lanes, columns);
            few_scatter(w, &c, columns, lanes, y, canvas);
        }
        for (int64_t i = 0; i < w->in_h; i++, dx += w->in_w * w->c)
            memcpy(dx, canvas + (i + w->pad[0]) * c.width + w->pad[1] * w->c, (size_t)(w->in_w * w->c) * sizeof(float));
    }
}
