/* Kernels on bf16 numbers: the upper half of a float. Arithmetic is in f32, in registers; what is stored is rounded to
 * nearest even. Only processors with AVX512-BF16 have them. Activations are rows x channels, as in kernels.h. */
#ifndef PR_ENGINE_KERNELS_BF16_H
#define PR_ENGINE_KERNELS_BF16_H

#include "engine/kernels.h"

typedef uint16_t pr_bf16;

typedef struct pr_bf16_kernels {
    void (*narrow)(const float *x, pr_bf16 *y, int64_t count);
    void (*widen)(const pr_bf16 *x, float *y, int64_t count);

    /* elementwise over `count` numbers; y may be one of the inputs */
    void (*relu)(const pr_bf16 *x, pr_bf16 *y, int64_t count);
    void (*relu_grad)(const pr_bf16 *y, const pr_bf16 *dy, pr_bf16 *dx, int64_t count);
    void (*leaky_relu)(float alpha, const pr_bf16 *x, pr_bf16 *y, int64_t count);
    void (*leaky_relu_grad)(float alpha, const pr_bf16 *x, const pr_bf16 *dy, pr_bf16 *dx, int64_t count);
    void (*add)(const pr_bf16 *a, const pr_bf16 *b, pr_bf16 *y, int64_t count);
    void (*sub)(const pr_bf16 *a, const pr_bf16 *b, pr_bf16 *y, int64_t count);
    void (*mul)(const pr_bf16 *a, const pr_bf16 *b, pr_bf16 *y, int64_t count);
    void (*add_relu)(const pr_bf16 *a, const pr_bf16 *b, pr_bf16 *y, int64_t count);
    /* dx = a + b where y > 0 */
    void (*add_relu_grad)(const pr_bf16 *y, const pr_bf16 *a, const pr_bf16 *b, pr_bf16 *dx, int64_t count);

    /* y = x * scale[c] + shift[c]; shift NULL: none. In place allowed. */
    void (*affine)(const pr_bf16 *x, pr_bf16 *y, int64_t rows, int64_t c, const float *scale, const float *shift);

    /* Pooling; dx is zeroed by the kernel, and where windows overlap it is rounded after each addition. */
    void (*max_pool)(const pr_window *w, const pr_bf16 *x, pr_bf16 *y);
    void (*max_pool_grad)(const pr_window *w, const pr_bf16 *x, const pr_bf16 *dy, pr_bf16 *dx);
    /* Means over all of `area` pixels, in f32. */
    void (*global_average)(const pr_bf16 *x, float *y, int64_t rows, int64_t area, int64_t c);
    void (*global_average_grad)(const float *dy, pr_bf16 *dx, int64_t rows, int64_t area, int64_t c);

    /* y[rows][n] = x[rows][k] w + bias (NULL: none), with `relu` floored at 0, k even; y in f32 or, where that is NULL,
     * rounded to y16. w in panels of `width` columns (at most 32, dividing n): for each panel k / 2 rows of
     * pr_panel_stride(width) pairs, the weights of neighbouring inputs. A row's bits do not depend on the other rows.
     */
    void (*gemm)(const pr_bf16 *x, int64_t rows, int64_t k, int64_t n, const pr_bf16 *panels, int64_t width,
                 const float *bias, bool relu, float *y, pr_bf16 *y16);
} pr_bf16_kernels;

/* NULL where the processor has none or PARRY_MAX_ISA forbids them. */
const pr_bf16_kernels *pr_bf16_kernels_get(void);

#endif
