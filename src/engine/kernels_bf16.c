/* Kernels on bf16 numbers, for AVX512-BF16. Ends of rows are handled by masks. */
#include <float.h>
#include <immintrin.h>
#include <string.h>

#include "engine/kernels_bf16.h"
#include "engine/kernels_window.h"

enum { WIDE = 16, TILE_ROWS = 8, PANEL_MOST = 32 };

/* ---- loads and stores ------------------------------------------------------------------------------------------ */

static __mmask16 lanes(int64_t left)
{
    return left >= WIDE ? 0xffff : (__mmask16)((1u << left) - 1);
}

static __m512 load(__mmask16 m, const pr_bf16 *p)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(m, p)), 16));
}

static void store(__mmask16 m, pr_bf16 *p, __m512 v)
{
    _mm256_mask_storeu_epi16(p, m, (__m256i)_mm512_cvtneps_pbh(v));
}

static void narrow(const float *x, pr_bf16 *y, int64_t count)
{
    for (int64_t i = 0; i < count; i += WIDE) {
        __mmask16 m = lanes(count - i);
        store(m, y + i, _mm512_maskz_loadu_ps(m, x + i));
    }
}

static void widen(const pr_bf16 *x, float *y, int64_t count)
{
    for (int64_t i = 0; i < count; i += WIDE) {
        __mmask16 m = lanes(count - i);
        _mm512_mask_storeu_ps(y + i, m, load(m, x + i));
    }
}

/* ---- elementwise ----------------------------------------------------------------------------------------------- */

static __m512 floored(__m512 v)
{
    return _mm512_mask_mov_ps(v, _mm512_cmp_ps_mask(v, _mm512_setzero_ps(), _CMP_LT_OQ), _mm512_setzero_ps());
}

/* A kernel (pr_flat_kernel) whose expression knows the vectors of its operands as A, B and C. */
#define MAP(name, before, expression)                                                                                  \
    static void name(const pr_attrs *attrs, const void *in_a, const void *in_b, const void *in_c, void *out,           \
                     int64_t count)                                                                                    \
    {                                                                                                                  \
        const pr_bf16 *a = in_a, *b = in_b, *c = in_c;                                                                 \
        pr_bf16 *y = out;                                                                                              \
        const __m512 zero = _mm512_setzero_ps();                                                                       \
        (void)attrs, (void)a, (void)b, (void)c, (void)zero;                                                            \
        before;                                                                                                        \
        for (int64_t i = 0; i < count; i += WIDE) {                                                                    \
            const __mmask16 m = lanes(count - i);                                                                      \
            store(m, y + i, expression);                                                                               \
        }                                                                                                              \
    }
#define A load(m, a + i)
#define B load(m, b + i)
#define C load(m, c + i)
#define ALPHA const __m512 alpha = _mm512_set1_ps(attrs->alpha.alpha)
#define POSITIVE(v) _mm512_cmp_ps_mask(v, zero, _CMP_GT_OQ)
#define NEGATIVE(v) _mm512_cmp_ps_mask(v, zero, _CMP_LT_OQ)

MAP(relu, (void)0, floored(A))
MAP(leaky_relu, ALPHA, _mm512_mask_mul_ps(A, NEGATIVE(A), A, alpha))
MAP(leaky_relu_grad, ALPHA, _mm512_mask_mov_ps(_mm512_mul_ps(B, alpha), POSITIVE(A), B))
MAP(add, (void)0, _mm512_add_ps(A, B))
MAP(sub, (void)0, _mm512_sub_ps(A, B))
MAP(mul, (void)0, _mm512_mul_ps(A, B))
MAP(add_relu, (void)0, floored(_mm512_add_ps(A, B)))
MAP(add_relu_grad, (void)0, _mm512_maskz_add_ps(POSITIVE(C), A, B))

#define BOUNDS                                                                                                         \
    const __m512 low = _mm512_set1_ps(attrs->map.parameter[0]), high = _mm512_set1_ps(attrs->map.parameter[1]),        \
                 one = _mm512_set1_ps(1)
#define WITHIN(v) (_mm512_cmp_ps_mask(v, low, _CMP_GE_OQ) & _mm512_cmp_ps_mask(v, high, _CMP_LE_OQ))

/* A NaN stays one: the second operand is what _mm512_max_ps returns then. */
MAP(clip, BOUNDS; (void)one, _mm512_min_ps(high, _mm512_max_ps(low, A)))
MAP(clip_grad, BOUNDS, _mm512_mul_ps(B, _mm512_maskz_mov_ps(WITHIN(A), one)))

static const pr_flat_kernel map_kernels[PR_MAP_COUNT] = {[PR_MAP_CLIP] = clip};
static const pr_flat_kernel map_grad_kernels[PR_MAP_COUNT] = {[PR_MAP_CLIP] = clip_grad};

/* Positive as a bf16 number is positive as an integer. */
static void relu_grad(const pr_attrs *attrs, const void *in_y, const void *in_dy, const void *unused, void *out,
                      int64_t count)
{
    enum { ALL = 2 * WIDE };
    const pr_bf16 *y = in_y, *dy = in_dy;
    pr_bf16 *dx = out;
    (void)attrs, (void)unused;
    for (int64_t i = 0; i < count; i += ALL) {
        const __mmask32 m = count - i >= ALL ? 0xffffffff : (__mmask32)((1u << (count - i)) - 1);
        const __mmask32 on = _mm512_cmpgt_epi16_mask(_mm512_maskz_loadu_epi16(m, y + i), _mm512_setzero_si512());
        _mm512_mask_storeu_epi16(dx + i, m, _mm512_maskz_loadu_epi16(on, dy + i));
    }
}

static void affine(const pr_bf16 *x, pr_bf16 *y, int64_t rows, int64_t c, const float *scale, const float *shift)
{
    for (int64_t ch = 0; ch < c; ch += WIDE) {
        const __mmask16 m = lanes(c - ch);
        const __m512 a = _mm512_maskz_loadu_ps(m, scale + ch),
                     b = shift ? _mm512_maskz_loadu_ps(m, shift + ch) : _mm512_setzero_ps();
        for (int64_t r = 0; r < rows; r++)
            store(m, y + r * c + ch, _mm512_fmadd_ps(load(m, x + r * c + ch), a, b));
    }
}

/* ---- pooling --------------------------------------------------------------------------------------------------- */

/* The largest of each channel under the window of output pixel (n, y, x), and under which tap it came first. */
static __m512 largest(const pr_window *w, const pr_bf16 *in, int64_t n, int64_t y, int64_t x, int64_t ch, __mmask16 m,
                      __m512i *where)
{
    __m512 best = _mm512_set1_ps(-FLT_MAX);
    *where = _mm512_set1_epi32(-1);
    for (int tap = 0; tap < w->kernel[0] * w->kernel[1]; tap++) {
        const int64_t from = pr_pixel_at(w, n, y, x, tap);
        if (from < 0)
            continue;
        const __m512 v = load(m, in + from + ch);
        const __mmask16 better =
            _mm512_cmp_ps_mask(v, best, _CMP_GT_OQ) | _mm512_cmpeq_epi32_mask(*where, _mm512_set1_epi32(-1));
        best = _mm512_mask_mov_ps(best, better, v);
        *where = _mm512_mask_mov_epi32(*where, better, _mm512_set1_epi32(tap));
    }
    return best;
}

#define EACH_OUTPUT(w, ...)                                                                                            \
    PR_EACH_PIXEL(                                                                                                     \
        w, for (int64_t ch = 0; ch < (w)->c; ch += WIDE) {                                                             \
            const __mmask16 m = lanes((w)->c - ch);                                                                    \
            __VA_ARGS__;                                                                                               \
        })

static void max_pool(const pr_window *w, const void *a, const void *unused, void *result)
{
    const pr_bf16 *in = a;
    pr_bf16 *out = result;
    __m512i where;
    (void)unused;
    EACH_OUTPUT(w, store(m, out + at + ch, largest(w, in, n, y, x, ch, m, &where)));
}

static void max_pool_grad(const pr_window *w, const void *a, const void *b, void *result)
{
    const pr_bf16 *in = a, *dy = b;
    pr_bf16 *dx = result;
    const int taps = w->kernel[0] * w->kernel[1];
    __m512i where;
    memset(dx, 0, (size_t)(w->n * w->in_h * w->in_w * w->c) * sizeof(*dx));
    EACH_OUTPUT(w, {
        const __m512 d = load(m, dy + at + ch);
        (void)largest(w, in, n, y, x, ch, m, &where);
        for (int tap = 0; tap < taps; tap++) {
            const int64_t to = pr_pixel_at(w, n, y, x, tap);
            const __mmask16 here = _mm512_mask_cmpeq_epi32_mask(m, where, _mm512_set1_epi32(tap));
            if (to >= 0 && here)
                store(here, dx + to + ch, _mm512_add_ps(load(here, dx + to + ch), d));
        }
    });
}

static void global_average(const pr_window *w, const void *a, const void *unused, void *result)
{
    const int64_t area = w->in_h * w->in_w, c = w->c;
    const pr_bf16 *x = a;
    float *y = result;
    (void)unused;
    for (int64_t n = 0; n < w->n; n++, x += area * c, y += c)
        for (int64_t ch = 0; ch < c; ch += WIDE) {
            const __mmask16 m = lanes(c - ch);
            __m512 sum = _mm512_setzero_ps();
            for (int64_t p = 0; p < area; p++)
                sum = _mm512_add_ps(sum, load(m, x + p * c + ch));
            _mm512_mask_storeu_ps(y + ch, m, _mm512_div_ps(sum, _mm512_set1_ps((float)area)));
        }
}

static void global_average_grad(const pr_window *w, const void *a, const void *unused, void *result)
{
    const int64_t area = w->in_h * w->in_w, c = w->c;
    const float *dy = a;
    pr_bf16 *dx = result;
    (void)unused;
    for (int64_t n = 0; n < w->n; n++, dx += area * c, dy += c)
        for (int64_t ch = 0; ch < c; ch += WIDE) {
            const __mmask16 m = lanes(c - ch);
            const __m512 d = _mm512_div_ps(_mm512_maskz_loadu_ps(m, dy + ch), _mm512_set1_ps((float)area));
            for (int64_t p = 0; p < area; p++)
                store(m, dx + p * c + ch, d);
        }
}

/* ---- matrix product: as in kernels_gemm.c, two inputs at a time ------------------------------------------------ */

static int32_t pair(const pr_bf16 *x)
{
    int32_t bits;
    memcpy(&bits, x, sizeof bits);
    return bits;
}

#define GEMM_TILE(ROWS, VECTORS)                                                                                       \
    do {                                                                                                               \
        __m512 sum[ROWS][VECTORS];                                                                                     \
        for (int r = 0; r < (ROWS); r++)                                                                               \
            for (int v = 0; v < (VECTORS); v++)                                                                        \
                sum[r][v] = _mm512_loadu_ps(first + v * WIDE);                                                         \
        for (int64_t i = 0; i < k; i += 2, panel += (VECTORS)*2 * WIDE)                                                \
            for (int r = 0; r < (ROWS); r++) {                                                                         \
                const __m512bh a = (__m512bh)_mm512_set1_epi32(pair(x + r * k + i));                                   \
                for (int v = 0; v < (VECTORS); v++)                                                                    \
                    sum[r][v] = _mm512_dpbf16_ps(sum[r][v], a, (__m512bh)_mm512_loadu_si512(panel + v * 2 * WIDE));    \
            }                                                                                                          \
        for (int r = 0; r < (ROWS); r++)                                                                               \
            for (int v = 0; v < (VECTORS); v++)                                                                        \
                _mm512_storeu_ps(y + r * (VECTORS)*WIDE + v * WIDE, relu_after ? floored(sum[r][v]) : sum[r][v]);      \
    } while (0)

/* y: rows of a whole panel each. */
typedef void gemm_tile(const pr_bf16 *x, int64_t k, const pr_bf16 *panel, const float *first, bool relu_after,
                       float *y);

static void rows_wide(const pr_bf16 *x, int64_t k, const pr_bf16 *panel, const float *first, bool relu_after, float *y)
{
    GEMM_TILE(TILE_ROWS, 2);
}

static void row_wide(const pr_bf16 *x, int64_t k, const pr_bf16 *panel, const float *first, bool relu_after, float *y)
{
    GEMM_TILE(1, 2);
}

static void rows_narrow(const pr_bf16 *x, int64_t k, const pr_bf16 *panel, const float *first, bool relu_after,
                        float *y)
{
    GEMM_TILE(TILE_ROWS, 1);
}

static void row_narrow(const pr_bf16 *x, int64_t k, const pr_bf16 *panel, const float *first, bool relu_after, float *y)
{
    GEMM_TILE(1, 1);
}

static void gemm(const pr_bf16 *x, int64_t rows, int64_t k, int64_t n, const pr_bf16 *panels, int64_t width,
                 const float *bias, bool relu_after, float *y, pr_bf16 *y16)
{
    static gemm_tile *const tiles[2][2] = {{row_narrow, rows_narrow}, {row_wide, rows_wide}};
    const int64_t stride = pr_panel_stride(width);
    float first[PANEL_MOST], out[TILE_ROWS * PANEL_MOST];
    for (int64_t column = 0; column < n; column += width, panels += k * stride) {
        memset(first, 0, sizeof first);
        if (bias)
            memcpy(first, bias + column, (size_t)width * sizeof(float));
        for (int64_t r = 0, step; r < rows; r += step) {
            const bool many = rows - r >= TILE_ROWS;
            step = many ? TILE_ROWS : 1;
            tiles[stride == PANEL_MOST][many](x + r * k, k, panels, first, relu_after, out);
            for (int64_t t = 0; t < step; t++) {
                const int64_t at = (r + t) * n + column;
                if (y)
                    memcpy(y + at, out + t * stride, (size_t)width * sizeof(float));
                else
                    narrow(out + t * stride, y16 + at, width);
            }
        }
    }
}

/* ---- the table ------------------------------------------------------------------------------------------------- */

extern const pr_bf16_kernels pr_bf16_kernels_avx512;
const pr_bf16_kernels pr_bf16_kernels_avx512 = {
    .narrow = narrow,
    .widen = widen,
    .flat = {.op = {[PR_OP_RELU] = relu,
                    [PR_OP_LEAKY_RELU] = leaky_relu,
                    [PR_OP_ADD] = add,
                    [PR_OP_SUB] = sub,
                    [PR_OP_MUL] = mul,
                    [PR_OP_RELU_GRAD] = relu_grad,
                    [PR_OP_LEAKY_RELU_GRAD] = leaky_relu_grad},
             .map = map_kernels,
             .map_grad = map_grad_kernels,
             .add_relu = add_relu,
             .add_relu_grad = add_relu_grad},
    .pool = {[PR_OP_MAX_POOL] = max_pool,
             [PR_OP_MAX_POOL_GRAD] = max_pool_grad,
             [PR_OP_GLOBAL_AVERAGE_POOL] = global_average,
             [PR_OP_GLOBAL_AVERAGE_POOL_GRAD] = global_average_grad},
    .affine = affine,
    .gemm = gemm,
};
