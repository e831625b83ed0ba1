/* The kernels that exist once per instruction set, as a table. */
#ifndef PR_TENSOR_KERNELS_H
#define PR_TENSOR_KERNELS_H

#include <stdint.h>

typedef struct pr_kernels {
    const char *isa;
    void (*fill)(float *to, float value, int64_t count);
    void (*axpy)(float a, const float *x, float *y, int64_t count);
    void (*add_sign)(float a, const float *x, float *y, int64_t count);
    void (*clamp)(float lo, float hi, float *y, int64_t count);
    void (*clamp_ball)(const float *center, float radius, float *y, int64_t count);
    double (*sum)(const float *x, int64_t count);
    double (*sum_squares)(const float *x, int64_t count);
    double (*sum_squares_diff)(const float *x, const float *y, int64_t count);
    float (*max_abs)(const float *x, int64_t count);
    float (*max_abs_diff)(const float *x, const float *y, int64_t count);
    void (*bytes_to_unit)(const uint8_t *bytes, float *out, int64_t count);
    void (*weigh_pixels)(const uint8_t *in, const int *start, const int *taps, const int32_t *weights, int64_t room,
                         uint8_t *out, int64_t count);
} pr_kernels;

/* The kernels for "avx512", "avx2" or "baseline"; NULL where this build or this processor lacks them. */
const pr_kernels *pr_kernels_for(const char *isa);

#endif
