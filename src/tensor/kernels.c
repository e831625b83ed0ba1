/* The kernels, compiled once per instruction set: PR_ISA names it (avx512, avx2, baseline).
 *
 * Elementwise loops are left to the compiler's vectoriser. A sum would have to be reassociated for that, which the
 * language forbids: sums keep 16 interleaved partial sums in double by hand, as a vector type that the compiler maps to
 * whatever registers there are. The file is compiled without contraction to fused multiply-adds, so every instruction
 * set returns the same bits. */
#include <math.h>
#include <string.h>
#ifdef __AVX2__
#include <immintrin.h>
#endif

#include "tensor/kernels.h"
#include "tensor/tensor.h"

enum { LANES = 16 };

typedef float floats __attribute__((vector_size(LANES * sizeof(float)), aligned(4)));
typedef double doubles __attribute__((vector_size(LANES * sizeof(double))));

#define WIDEN(at) __builtin_convertvector(*(const floats *)(at), doubles)

static void fill(float *to, float value, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        to[i] = value;
}

static void axpy(float a, const float *restrict x, float *restrict y, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        y[i] += a * x[i];
}

static void add_sign(float a, const float *restrict x, float *restrict y, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        y[i] += (x[i] > 0 ? a : 0) - (x[i] < 0 ? a : 0);
}

static void clamp(float lo, float hi, float *y, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        float value = y[i] < lo ? lo : y[i];
        y[i] = value > hi ? hi : value;
    }
}

/* The bounds center -+ radius are exact in double. Rounded to float they may lie outside the ball by half a unit in the
 * last place; then the float before is taken: for a normal f and a nudge of |f| (2^-24 + 2^-47), f - nudge rounds to
 * the float just below f and f + nudge to the one just above. (A nudge of |f| / 2^24 alone is a tie when f is a power
 * of two.) */
static void clamp_ball(const float *restrict center, float radius, float *restrict y, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        double lowest = (double)center[i] - radius, highest = (double)center[i] + radius;
        float lo = (float)lowest, hi = (float)highest;
        float up = lo + fabsf(lo) * 0x1.000002p-24f, down = hi - fabsf(hi) * 0x1.000002p-24f;
        lo = lo < lowest ? up : lo;
        hi = hi > highest ? down : hi;
        float value = y[i] < lo ? lo : y[i];
        y[i] = value > hi ? hi : value;
    }
}

/* The loops of a reduction: TERM_VECTOR adds elements i .. i+15 to the partial sums `part`, TERM gives element i of the
 * tail, which goes to lane i % 16. */
#define REDUCE(TERM_VECTOR, TERM)                                                                                      \
    doubles part = {0};                                                                                                \
    int64_t i = 0;                                                                                                     \
    for (; i + LANES <= count; i += LANES)                                                                             \
        part += (TERM_VECTOR);                                                                                         \
    for (int lane = 0; i < count; i++, lane++)                                                                         \
        part[lane] += (TERM);                                                                                          \
    double total = 0;                                                                                                  \
    for (int lane = 0; lane < LANES; lane++)                                                                           \
        total += part[lane];                                                                                           \
    return total

static double sum(const float *x, int64_t count)
{
    REDUCE(WIDEN(x + i), x[i]);
}

static double sum_squares(const float *x, int64_t count)
{
    REDUCE(WIDEN(x + i) * WIDEN(x + i), (double)x[i] * x[i]);
}

static doubles square_diff(const float *x, const float *y)
{
    doubles diff = WIDEN(x) - WIDEN(y);
    return diff * diff;
}

static double sum_squares_diff(const float *x, const float *y, int64_t count)
{
    REDUCE(square_diff(x + i, y + i), ((double)x[i] - y[i]) * ((double)x[i] - y[i]));
}

/* Magnitudes of floats order as their bits do as integers, with infinity and then NaN on top: an integer maximum
 * vectorises and a NaN is not lost. */
static int32_t magnitude_bits(float value)
{
    int32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits & 0x7fffffff;
}

static float from_bits(int32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static float max_abs(const float *x, int64_t count)
{
    int32_t largest = 0;
    for (int64_t i = 0; i < count; i++) {
        int32_t bits = magnitude_bits(x[i]);
        largest = bits > largest ? bits : largest;
    }
    return from_bits(largest);
}

static float max_abs_diff(const float *x, const float *y, int64_t count)
{
    int32_t largest = 0;
    for (int64_t i = 0; i < count; i++) {
        int32_t bits = magnitude_bits(x[i] - y[i]);
        largest = bits > largest ? bits : largest;
    }
    return from_bits(largest);
}

static void bytes_to_unit(const uint8_t *restrict bytes, float *restrict out, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        out[i] = (float)bytes[i] / 255.0f;
}

/* One pixel; whole numbers, so any order gives the same bits. */
#ifdef __AVX2__
/* Two pixels at a time, three bytes of each spread to four lanes; the compiler finds no good code for this. */
static inline void weigh_pixel(const uint8_t *in, const int32_t *weights, int taps, uint8_t *out)
{
    const __m128i spread = _mm_setr_epi8(0, 1, 2, -1, 3, 4, 5, -1, -1, -1, -1, -1, -1, -1, -1, -1);
    const __m256i repeat = _mm256_setr_epi32(0, 0, 0, 0, 1, 1, 1, 1);
    __m256i sums = _mm256_setzero_si256();
    for (int k = 0; k < taps; k += 2) {
        const __m128i two = _mm_loadl_epi64((const __m128i *)(in + 3 * k)),
                      by = _mm_loadl_epi64((const __m128i *)(weights + k));
        const __m256i samples = _mm256_cvtepu8_epi32(_mm_shuffle_epi8(two, spread)),
                      factors = _mm256_permutevar8x32_epi32(_mm256_castsi128_si256(by), repeat);
        sums = _mm256_add_epi32(sums, _mm256_mullo_epi32(samples, factors));
    }
    __m128i sum = _mm_add_epi32(_mm256_castsi256_si128(sums), _mm256_extracti128_si256(sums, 1));
    sum = _mm_srai_epi32(_mm_add_epi32(sum, _mm_set1_epi32(1 << (PR_WEIGHT_BITS - 1))), PR_WEIGHT_BITS);
    const uint32_t packed = (uint32_t)_mm_cvtsi128_si32(_mm_packus_epi16(_mm_packus_epi32(sum, sum), sum));
    memcpy(out, &packed, 3);
}
#else
static inline void weigh_pixel(const uint8_t *in, const int32_t *weights, int taps, uint8_t *out)
{
    const int32_t half = 1 << (PR_WEIGHT_BITS - 1);
    int32_t sum[3] = {half, half, half};
    for (int k = 0; k < taps; k++)
        for (int c = 0; c < 3; c++)
            sum[c] += in[3 * k + c] * weights[k];
    for (int c = 0; c < 3; c++)
        out[c] = (uint8_t)(sum[c] >> PR_WEIGHT_BITS);
}
#endif

static void weigh_pixels(const uint8_t *in, const int *start, const int *taps, const int32_t *weights, int64_t room,
                         uint8_t *out, int64_t count)
{
    for (int64_t x = 0; x < count; x++)
        weigh_pixel(in + 3 * (int64_t)start[x], weights + x * room, taps[x], out + 3 * x);
}

#define TABLE_NAME_OF(isa) pr_kernels_##isa
#define TABLE_NAME(isa) TABLE_NAME_OF(isa)
#define TEXT_OF(isa) #isa
#define TEXT(isa) TEXT_OF(isa)

extern const pr_kernels TABLE_NAME(PR_ISA);
const pr_kernels TABLE_NAME(PR_ISA) = {
    .isa = TEXT(PR_ISA),
    .fill = fill,
    .axpy = axpy,
    .add_sign = add_sign,
    .clamp = clamp,
    .clamp_ball = clamp_ball,
    .sum = sum,
    .sum_squares = sum_squares,
    .sum_squares_diff = sum_squares_diff,
    .max_abs = max_abs,
    .max_abs_diff = max_abs_diff,
    .bytes_to_unit = bytes_to_unit,
    .weigh_pixels = weigh_pixels,
};
