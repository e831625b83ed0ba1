/* Dense float tensors and the elementwise kernels and reductions that attacks, losses and optimisers are made of.
 *
 * Kernels are compiled once per instruction set (AVX-512, AVX2, baseline) and chosen at run time; all return the same
 * bits. Results do not depend on alignment or on the neighbours of a row: a sum over a row always has 16 interleaved
 * partial sums in double, added up in order. */
#ifndef PR_TENSOR_TENSOR_H
#define PR_TENSOR_TENSOR_H

#include "base/base.h"

/* n rows of `row` floats each, contiguous. Borrowed or owned, as the holder says. */
typedef struct pr_tensor {
    float *data;
    int64_t n, row;
} pr_tensor;

/* y += a * x; y = x; y = v ... over `count` floats. */
void pr_copy(float *to, const float *from, int64_t count);
void pr_fill(float *to, float value, int64_t count);
void pr_axpy(float a, const float *x, float *y, int64_t count);
/* y += a * sign(x), with sign(0) = 0 and sign(NaN) = 0. */
void pr_add_sign(float a, const float *x, float *y, int64_t count);
/* y = min(max(y, lo), hi); NaN stays NaN. */
void pr_clamp(float lo, float hi, float *y, int64_t count);
/* The nearest float to each y such that |y - center| <= radius holds exactly, not just after rounding the difference;
 * NaN stays NaN. */
void pr_clamp_ball(const float *center, float radius, float *y, int64_t count);

double pr_sum(const float *x, int64_t count);
double pr_sum_squares(const float *x, int64_t count);
/* NaN when there is one. */
float pr_max_abs(const float *x, int64_t count);
/* Of the difference x - y: largest magnitude, Euclidean norm. */
float pr_max_abs_diff(const float *x, const float *y, int64_t count);
double pr_norm2_diff(const float *x, const float *y, int64_t count);
bool pr_all_finite(const float *x, int64_t count);
/* Index of the largest of k values, the first among equals; a NaN is never largest (all NaN: -1). */
int pr_argmax(const float *x, int k);
/* Sum of exp(x_i - x_top) over k logits, in order and in double: what the softmax of x_i, exp(x_i - x_top), is divided
 * by. */
double pr_softmax_total(const float *x, int k, int top);

/* Bytes to floats in [0,1]: x / 255, exactly rounded. */
void pr_bytes_to_unit(const uint8_t *bytes, float *out, int64_t count);
/* Weighted sums of neighbours in a row of RGB pixels, rounded: out pixel x = sum of weights[x room + k] in pixel
 * start[x] + k, k < taps[x]. Weights are not negative, have PR_WEIGHT_BITS fractional bits and add up to 1 but for
 * their rounding. `room` is even, and a weight behind the last is 0. PR_WEIGHT_SLACK bytes behind the last pixel are
 * read. */
enum { PR_WEIGHT_BITS = 22, PR_WEIGHT_SLACK = 8 };
void pr_weigh_pixels(const uint8_t *in, const int *start, const int *taps, const int32_t *weights, int64_t room,
                     uint8_t *out, int64_t count);

/* "avx512", "avx2" or "baseline": what this process uses. PARRY_MAX_ISA in the environment lowers it. */
const char *pr_isa_name(void);
/* PARRY_INVALID when PARRY_MAX_ISA is none of those names. Asked once for each model, before anything is computed. */
PARRY_CHECKED parry_status pr_isa_check(parry_ctx *ctx);

#endif
