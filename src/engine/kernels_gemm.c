/* The matrix product of plans, and dropout masks. */
#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include "base/rng.h"
#include "engine/kernels_isa.h"

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

void PR_ISA_NAME(gemm)(const float *x, int64_t rows, int64_t k, int64_t n, const float *panels, int64_t width,
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

void PR_ISA_NAME(dropout_mask)(uint64_t seed, uint64_t sample, float ratio, int64_t first, int64_t rows, int64_t row,
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
