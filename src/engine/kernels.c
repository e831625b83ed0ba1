/* The engine's own kernels, compiled once per instruction set: PR_ENGINE_ISA names it. Sums over many rows run in float
 * over blocks of BLOCK rows and in double over blocks; their order depends on the shape alone. */
#include <float.h>
#include <string.h>
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include "base/rng.h"
#include "engine/kernels.h"

#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
enum { BLOCK = 196, TILE = 64, POSITIONS = 14 };

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

typedef float vec __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));
#define LOAD(p) (*(const vec *)(p))
#define STORE(p, v) (*(vec *)(p) = (v))
#define SELECT(condition, v) ((vec)((condition) & (ivec)(v)))

/* ---- elementwise ----------------------------------------------------------------------------------------------- */

#define MAP(name, arguments, expression)                                                                               \
    static void name arguments                                                                                         \
    {                                                                                                                  \
        for (int64_t i = 0; i < count; i++)                                                                            \
            expression;                                                                                                \
    }

MAP(relu, (const float *x, float *y, int64_t count), y[i] = x[i] < 0 ? 0 : x[i])
MAP(relu_grad, (const float *y, const float *dy, float *dx, int64_t count), dx[i] = y[i] > 0 ? dy[i] : 0)
MAP(leaky_relu, (float alpha, const float *x, float *y, int64_t count), y[i] = x[i] < 0 ? alpha * x[i] : x[i])
MAP(leaky_relu_grad, (float alpha, const float *x, const float *dy, float *dx, int64_t count),
    dx[i] = x[i] > 0 ? dy[i] : alpha * dy[i])
MAP(add, (const float *a, const float *b, float *y, int64_t count), y[i] = a[i] + b[i])
MAP(sub, (const float *a, const float *b, float *y, int64_t count), y[i] = a[i] - b[i])
MAP(mul, (const float *a, const float *b, float *y, int64_t count), y[i] = a[i] * b[i])
MAP(divide, (const float *a, const float *b, float *y, int64_t count), y[i] = a[i] / b[i])
MAP(neg, (const float *x, float *y, int64_t count), y[i] = -x[i])

/* ---- channels -------------------------------------------------------------------------------------------------- */

static void affine(const float *x, float *y, int64_t rows, int64_t c, const float *scale, const float *shift)
{
    const vec zero = {0};
    int64_t ch = 0;
    for (; ch + LANES <= c; ch += LANES) {
        vec a = LOAD(scale + ch), b = shift ? LOAD(shift + ch) : zero;
        for (int64_t r = 0; r < rows; r++)
            STORE(y + r * c + ch, LOAD(x + r * c + ch) * a + b);
    }
    for (; ch < c; ch++) {
        float a = scale[ch], b = shift ? shift[ch] : 0;
        for (int64_t r = 0; r < rows; r++)
            y[r * c + ch] = x[r * c + ch] * a + b;
    }
}

static void column_sums(const float *x, int64_t rows, int64_t c, float *out)
{
    int64_t ch = 0;
    for (; ch + LANES <= c; ch += LANES) {
        vec sum = {0};
        for (int64_t r = 0; r < rows; r++)
            sum += LOAD(x + r * c + ch);
        STORE(out + ch, sum);
    }
    for (; ch < c; ch++) {
        float sum = 0;
        for (int64_t r = 0; r < rows; r++)
            sum += x[r * c + ch];
        out[ch] = sum;
    }
}

/* Adds a vector's lanes to doubles. */
static void widen(double *sum, vec v)
{
    for (int l = 0; l < LANES; l++)
        sum[l] += v[l];
}

/* Sums are taken of x less its first row: near the mean, the variance does not cancel away. */
static void moments(const float *x, int64_t rows, int64_t c, double *mean, double *squares)
{
    memset(mean, 0, (size_t)c * sizeof(*mean));
    memset(squares, 0, (size_t)c * sizeof(*squares));
    for (int64_t first = 0; first < rows; first += BLOCK) {
        int64_t end = MIN(rows, first + BLOCK);
        int64_t ch = 0;
        for (; ch + LANES <= c; ch += LANES) {
            vec pivot = LOAD(x + ch), sum[2] = {{0}}, square[2] = {{0}};
            int64_t r = first;
            for (; r + 2 <= end; r += 2)
                for (int k = 0; k < 2; k++) {
                    vec d = LOAD(x + (r + k) * c + ch) - pivot;
                    sum[k] += d;
                    square[k] += d * d;
                }
            for (; r < end; r++) {
                vec d = LOAD(x + r * c + ch) - pivot;
                sum[0] += d;
                square[0] += d * d;
            }
            widen(mean + ch, sum[0] + sum[1]);
            widen(squares + ch, square[0] + square[1]);
        }
        for (; ch < c; ch++) {
            float sum = 0, square = 0;
            for (int64_t r = first; r < end; r++) {
                float d = x[r * c + ch] - x[ch];
                sum += d;
                square += d * d;
            }
            mean[ch] += sum;
            squares[ch] += square;
        }
    }
    for (int64_t k = 0; k < c; k++) {
        double m = mean[k] / (double)rows;
        squares[k] = MAX(0, squares[k] - mean[k] * m);
        mean[k] = x[k] + m;
    }
}

static void norm_grad_sums(const float *dy, const float *x, int64_t rows, int64_t c, const float *mean, double *sum,
                           double *product)
{
    memset(sum, 0, (size_t)c * sizeof(*sum));
    memset(product, 0, (size_t)c * sizeof(*product));
    for (int64_t first = 0; first < rows; first += BLOCK) {
        int64_t end = MIN(rows, first + BLOCK);
        int64_t ch = 0;
        for (; ch + LANES <= c; ch += LANES) {
            vec m = LOAD(mean + ch), s[2] = {{0}}, p[2] = {{0}};
            int64_t r = first;
            for (; r + 2 <= end; r += 2)
                for (int k = 0; k < 2; k++) {
                    vec d = LOAD(dy + (r + k) * c + ch);
                    s[k] += d;
                    p[k] += d * (LOAD(x + (r + k) * c + ch) - m);
                }
            for (; r < end; r++) {
                vec d = LOAD(dy + r * c + ch);
                s[0] += d;
                p[0] += d * (LOAD(x + r * c + ch) - m);
            }
            widen(sum + ch, s[0] + s[1]);
            widen(product + ch, p[0] + p[1]);
        }
        for (; ch < c; ch++) {
            float s = 0, p = 0;
            for (int64_t r = first; r < end; r++) {
                s += dy[r * c + ch];
                p += dy[r * c + ch] * (x[r * c + ch] - mean[ch]);
            }
            sum[ch] += s;
            product[ch] += p;
        }
    }
}

static inline __attribute__((always_inline)) void norm_grad_with(const float *dy, const float *x, float *dx,
                                                                 int64_t rows, int64_t c, const float *a,
                                                                 const float *b, const float *k, bool mask, float *sums)
{
    const vec zero = {0};
    int64_t ch = 0;
    for (; ch + LANES <= c; ch += LANES) {
        vec va = LOAD(a + ch), vb = LOAD(b + ch), vk = LOAD(k + ch), sum = zero;
        for (int64_t r = 0; r < rows; r++) {
            vec vx = LOAD(x + r * c + ch), d = LOAD(dy + r * c + ch) * va + (vx * vb + vk);
            d = mask ? SELECT(vx > zero, d) : d;
            STORE(dx + r * c + ch, d);
            sum += d;
        }
        if (sums)
            STORE(sums + ch, sum);
    }
    for (; ch < c; ch++) {
        float sum = 0;
        for (int64_t r = 0; r < rows; r++) {
            float d = dy[r * c + ch] * a[ch] + (x[r * c + ch] * b[ch] + k[ch]);
            sum += dx[r * c + ch] = mask && !(x[r * c + ch] > 0) ? 0 : d;
        }
        if (sums)
            sums[ch] = sum;
    }
}

static void norm_grad(const float *dy, const float *x, float *dx, int64_t rows, int64_t c, const float *a,
                      const float *b, const float *k, bool mask, float *sums)
{
    if (mask)
        norm_grad_with(dy, x, dx, rows, c, a, b, k, true, sums);
    else
        norm_grad_with(dy, x, dx, rows, c, a, b, k, false, sums);
}

static void sum_blocks(const float *partial, int blocks, int64_t stride, const float *bias, bool relu_after,
                       int64_t rows, int64_t c, float *y)
{
    const vec zero = {0};
    for (int64_t r = 0; r < rows; r++, partial += c, y += c) {
        int64_t k = 0;
        for (; k + LANES <= c; k += LANES) {
            vec sum = bias ? LOAD(bias + k) : zero;
            for (int b = 0; b < blocks; b++)
                sum += LOAD(partial + b * stride + k);
            STORE(y + k, relu_after ? SELECT(~(sum < zero), sum) : sum);
        }
        for (; k < c; k++) {
            float sum = bias ? bias[k] : 0;
            for (int b = 0; b < blocks; b++)
                sum += partial[b * stride + k];
            y[k] = relu_after && sum < 0 ? 0 : sum;
        }
    }
}

/* ---- windows --------------------------------------------------------------------------------------------------- */

/* Position of tap `tap` of output position `out` along `axis`, -1 outside. */
static int64_t tap_at(const pr_window *w, int axis, int64_t out, int64_t tap)
{
    int64_t at = out * w->stride[axis] - w->pad[axis] + tap * w->dilation[axis], size = axis ? w->in_w : w->in_h;
    return at < size ? at : -1;
}

/* Offset of the pixel under a tap of output pixel (n, y, x), -1 outside. */
static int64_t pixel_at(const pr_window *w, int64_t n, int64_t y, int64_t x, int tap)
{
    int64_t i = tap_at(w, 0, y, tap / w->kernel[1]), j = tap_at(w, 1, x, tap % w->kernel[1]);
    return i < 0 || j < 0 ? -1 : ((n * w->in_h + i) * w->in_w + j) * w->c;
}

/* Runs BODY for each output pixel: n, y, x and its offset `at`. */
#define EACH_PIXEL(w, ...)                                                                                             \
    do {                                                                                                               \
        int64_t at = 0;                                                                                                \
        for (int64_t n = 0; n < (w)->n; n++)                                                                           \
            for (int64_t y = 0; y < (w)->out_h; y++)                                                                   \
                for (int64_t x = 0; x < (w)->out_w; x++, at += (w)->c)                                                 \
                    __VA_ARGS__;                                                                                       \
    } while (0)

static void max_pool(const pr_window *w, const float *in, float *out)
{
    int taps = w->kernel[0] * w->kernel[1];
    EACH_PIXEL(w, {
        bool any = false;
        float *to = out + at;
        for (int64_t k = 0; k < w->c; k++)
            to[k] = -FLT_MAX;
        for (int tap = 0; tap < taps; tap++) {
            int64_t from = pixel_at(w, n, y, x, tap);
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
        int64_t from = pixel_at(w, n, y, x, tap);
        for (int64_t k = 0; from >= 0 && k < count; k++) {
            bool better = where[k] < 0 || in[from + first + k] > best[k];
            best[k] = better ? in[from + first + k] : best[k];
            where[k] = better ? tap : where[k];
        }
    }
    for (int tap = 0; tap < taps; tap++) {
        int64_t to = pixel_at(w, n, y, x, tap);
        for (int64_t k = 0; to >= 0 && k < count; k++)
            dx[to + first + k] += where[k] == tap ? dy[k] : 0;
    }
}

static void max_pool_grad(const pr_window *w, const float *in, const float *dy, float *dx)
{
    memset(dx, 0, (size_t)(w->n * w->in_h * w->in_w * w->c) * sizeof(float));
    EACH_PIXEL(w, {
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

static void average_pool(const pr_window *w, const float *in, float *out)
{
    int taps = w->kernel[0] * w->kernel[1];
    EACH_PIXEL(w, {
        float *to = out + at, d = divisor(w, y, x);
        memset(to, 0, (size_t)w->c * sizeof(float));
        for (int tap = 0; tap < taps; tap++) {
            int64_t from = pixel_at(w, n, y, x, tap);
            for (int64_t k = 0; from >= 0 && k < w->c; k++)
                to[k] += in[from + k];
        }
        for (int64_t k = 0; k < w->c; k++)
            to[k] /= d;
    });
}

static void average_pool_grad(const pr_window *w, const float *dy, float *dx)
{
    int taps = w->kernel[0] * w->kernel[1];
    memset(dx, 0, (size_t)(w->n * w->in_h * w->in_w * w->c) * sizeof(float));
    EACH_PIXEL(w, {
        float d = divisor(w, y, x);
        for (int tap = 0; tap < taps; tap++) {
            int64_t to = pixel_at(w, n, y, x, tap);
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

static int64_t few_scratch(const pr_window *w, int64_t out_c)
{
    return w->out_w * (pr_few_lanes(w->kernel[0], w->kernel[1] * w->c) + out_c) + canvas_of(w).size;
}

static void few_grad(const pr_window *w, int64_t out_c, const float *packed, const float *dy, const float *mask,
                     float *dx, float *scratch)
{
    const struct canvas c = canvas_of(w);
    const int64_t lanes = pr_few_lanes(w->kernel[0], w->kernel[1] * w->c), row = w->out_w * out_c;
    float *columns = scratch, *masked = columns + w->out_w * lanes, *canvas = masked + row;
    for (int64_t n = 0; n < w->n; n++) {
        memset(canvas, 0, (size_t)c.size * sizeof(float));
        for (int64_t y = 0; y < w->out_h; y++, dy += row) {
            if (mask)
                relu_grad(mask + (n * w->out_h + y) * row, dy, masked, row);
            few_row(w, out_c, packed, mask ? masked : dy, lanes, columns);
            few_scatter(w, &c, columns, lanes, y, canvas);
        }
        for (int64_t i = 0; i < w->in_h; i++, dx += w->in_w * w->c)
            memcpy(dx, canvas + (i + w->pad[0]) * c.width + w->pad[1] * w->c, (size_t)(w->in_w * w->c) * sizeof(float));
    }
}

/* ---- matrix product -----------------------------------------------------------------------------------------------
 * A tile of rows x one panel is kept in registers over all of k; every number of y is one chain of multiply-adds in the
 * order of k, wherever its row stands. (oneDNN's sgemm for AVX2 has no such order.) The panel is read in the order in
 * which it lies in memory. */

#if defined(__AVX512F__)
enum { TILE_ROWS = 8 };
#elif defined(__AVX__)
enum { TILE_ROWS = 3 };
#else
enum { TILE_ROWS = 1 };
#endif

/* Rows 0 .. ROWS - 1 of y, VECTORS vectors wide; `first`: what sums begin with. The panel is asked for AHEAD of its
 * use: it comes from beyond the second-level cache where the weights are large. */
enum { AHEAD = 24 };
#define GEMM_TILE(ROWS, VECTORS)                                                                                       \
    do {                                                                                                               \
        const vec zero = {0};                                                                                          \
        vec sum[ROWS][VECTORS];                                                                                        \
        for (int r = 0; r < (ROWS); r++)                                                                               \
            for (int v = 0; v < (VECTORS); v++)                                                                        \
                sum[r][v] = LOAD(first + v * LANES);                                                                   \
        for (int64_t i = 0; i < k; i++, panel += (VECTORS)*LANES) {                                                    \
            for (int line = 0; line < (VECTORS)*LANES; line += 16)                                                     \
                __builtin_prefetch(panel + AHEAD * (VECTORS)*LANES + line);                                            \
            for (int r = 0; r < (ROWS); r++)                                                                           \
                for (int v = 0; v < (VECTORS); v++)                                                                    \
                    sum[r][v] += x[r * k + i] * LOAD(panel + v * LANES);                                               \
        }                                                                                                              \
        for (int r = 0; r < (ROWS); r++)                                                                               \
            for (int v = 0; v < (VECTORS); v++)                                                                        \
                STORE(y + r * stride + v * LANES, relu_after ? SELECT(~(sum[r][v] < zero), sum[r][v]) : sum[r][v]);    \
    } while (0)

typedef void gemm_tile(const float *x, int64_t k, const float *panel, const float *first, bool relu_after, float *y,
                       int64_t stride);

static void gemm_rows_wide(const float *x, int64_t k, const float *panel, const float *first, bool relu_after, float *y,
                           int64_t stride)
{
    GEMM_TILE(TILE_ROWS, 32 / LANES);
}

static void gemm_row_wide(const float *x, int64_t k, const float *panel, const float *first, bool relu_after, float *y,
                          int64_t stride)
{
    GEMM_TILE(1, 32 / LANES);
}

static void gemm_rows_narrow(const float *x, int64_t k, const float *panel, const float *first, bool relu_after,
                             float *y, int64_t stride)
{
    GEMM_TILE(TILE_ROWS, 16 / LANES);
}

static void gemm_row_narrow(const float *x, int64_t k, const float *panel, const float *first, bool relu_after,
                            float *y, int64_t stride)
{
    GEMM_TILE(1, 16 / LANES);
}

static void gemm(const float *x, int64_t rows, int64_t k, int64_t n, const float *panels, int64_t width,
                 const float *bias, bool relu_after, float *y)
{
    const int64_t stride = pr_panel_stride(width);
    gemm_tile *const all = stride == 32 ? gemm_rows_wide : gemm_rows_narrow, *const one = stride == 32
                                                                                              ? gemm_row_wide
                                                                                              : gemm_row_narrow;
    float first[32], out[TILE_ROWS * 32];
    for (int64_t column = 0; column < n; column += width, panels += k * stride) {
        memset(first, 0, sizeof first);
        if (bias)
            memcpy(first, bias + column, (size_t)width * sizeof(float));
        for (int64_t r = 0, step; r < rows; r += step) {
            gemm_tile *tile = rows - r >= TILE_ROWS ? all : one;
            step = tile == all ? TILE_ROWS : 1;
            if (width == stride) {
                tile(x + r * k, k, panels, first, relu_after, y + r * n + column, n);
                continue;
            }
            tile(x + r * k, k, panels, first, relu_after, out, stride);
            for (int64_t t = 0; t < step; t++)
                memcpy(y + (r + t) * n + column, out + t * stride, (size_t)width * sizeof(float));
        }
    }
}

/* ---- dropout --------------------------------------------------------------------------------------------------- */

enum { DRAWS = LANES }; /* Philox blocks drawn together, a lane each */
typedef uint32_t uvec __attribute__((vector_size(DRAWS * sizeof(uint32_t))));
typedef uint64_t wide __attribute__((vector_size(DRAWS * sizeof(uint64_t))));

/* Low and high halves of factor * v. (gcc has no vector form of the 32 x 32 bit product.) */
static void multiply(uint32_t factor, uvec v, uvec *low, uvec *high)
{
#if defined(__AVX512F__)
    const __m512i x = (__m512i)v, f = _mm512_set1_epi32((int)factor);
    __m512i even = _mm512_mul_epu32(x, f), odd = _mm512_mul_epu32(_mm512_srli_epi64(x, 32), f);
    *low = (uvec)_mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32));
    *high = (uvec)_mm512_mask_blend_epi32(0xaaaa, _mm512_srli_epi64(even, 32), odd);
#else
    wide product = __builtin_convertvector(v, wide) * (uint64_t)factor;
    *low = __builtin_convertvector(product, uvec);
    *high = __builtin_convertvector(product >> 32, uvec);
#endif
}

/* Blocks first .. first + DRAWS - 1 of pr_rng_block: words[w][d] is word w of block first + d. */
static void philox(uint64_t seed, uint64_t sample, uint32_t first, uvec words[4])
{
    uvec c0 = {0}, c1 = {0}, c2 = {0}, c3 = {0};
    uint32_t k0 = (uint32_t)seed, k1 = (uint32_t)(seed >> 32);
    for (int d = 0; d < DRAWS; d++)
        c0[d] = first + (uint32_t)d;
    c1 += PR_STREAM_DROPOUT;
    c2 += (uint32_t)sample;
    c3 += (uint32_t)(sample >> 32);
    for (int round = 0; round < 10; round++) {
        uvec low0, high0, low1, high1;
        multiply(0xD2511F53u, c0, &low0, &high0);
        multiply(0xCD9E8D57u, c2, &low1, &high1);
        c0 = high1 ^ c1 ^ k0;
        c1 = low1;
        c2 = high0 ^ c3 ^ k1;
        c3 = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    words[0] = c0;
    words[1] = c1;
    words[2] = c2;
    words[3] = c3;
}

/* The masks of DRAWS blocks: element w of block d where word w of it says so. */
static void mask_of(const uvec words[4], float ratio, float kept, float out[4 * DRAWS])
{
    float lanes[4][DRAWS];
    for (int w = 0; w < 4; w++)
        for (int d = 0; d < DRAWS; d++)
            lanes[w][d] = pr_u32_to_unit(words[w][d]) >= ratio ? kept : 0;
    for (int d = 0; d < DRAWS; d++)
        for (int w = 0; w < 4; w++)
            out[4 * d + w] = lanes[w][d];
}

static void dropout_mask(uint64_t seed, uint64_t sample, float ratio, int64_t first, int64_t rows, int64_t row,
                         float *mask)
{
    const int64_t blocks = (row + 3) / 4;
    const float kept = 1 / (1 - ratio);
    uvec words[4];
    float part[4 * DRAWS];
    for (int64_t r = 0; r < rows; r++)
        for (int64_t b = 0; b < blocks; b += DRAWS) {
            philox(seed, sample, (uint32_t)((first + r) * blocks + b), words);
            mask_of(words, ratio, kept, part);
            memcpy(mask + r * row + 4 * b, part, sizeof(float) * (size_t)MIN(4 * DRAWS, row - 4 * b));
        }
}

/* ---- the table ------------------------------------------------------------------------------------------------- */

#define TABLE_NAME_OF(isa) pr_engine_kernels_##isa
#define TABLE_NAME(isa) TABLE_NAME_OF(isa)

extern const pr_engine_kernels TABLE_NAME(PR_ENGINE_ISA);
const pr_engine_kernels TABLE_NAME(PR_ENGINE_ISA) = {
    .relu = relu,
    .relu_grad = relu_grad,
    .leaky_relu = leaky_relu,
    .leaky_relu_grad = leaky_relu_grad,
    .add = add,
    .sub = sub,
    .mul = mul,
    .div = divide,
    .neg = neg,
    .affine = affine,
    .column_sums = column_sums,
    .moments = moments,
    .norm_grad_sums = norm_grad_sums,
    .norm_grad = norm_grad,
    .sum_blocks = sum_blocks,
    .gemm = gemm,
    .max_pool = max_pool,
    .max_pool_grad = max_pool_grad,
    .average_pool = average_pool,
    .average_pool_grad = average_pool_grad,
    .few_grad = few_grad,
    .few_scratch = few_scratch,
    .dropout_mask = dropout_mask,
};
