/* Kernels on bf16 numbers: the upper half of a float. Arithmetic is in f32, in registers; what is stored is rounded to
 * nearest even. Only processors with AVX512-BF16 have them. Activations are rows x channels, as in kernels.h. */
#ifndef PR_ENGINE_KERNELS_BF16_H
#define PR_ENGINE_KERNELS_BF16_H

#include "engine/kernels.h"

typedef uint16_t pr_bf16;

typedef struct pr_bf16_kernels {
    void (*narrow)(const float *x, pr_bf16 *y, int64_t count);
    void (*widen)(const pr_bf16 *x, float *y, int64_t count);

    /* As in kernels.h. Where windows overlap, MaxPool's gradient is rounded after each addition; means over whole
     * images are written, and their gradients read, in f32. */
    pr_flat_kernels flat;
    pr_pool_kernel pool[PR_OP_COUNT];

    /* y = x * scale[c] + shift[c]; shift NULL: none. In place allowed. */
    void (*affine)(const pr_bf16 *x, pr_bf16 *y, int64_t rows, int64_t c, const float *scale, const float *shift);

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
