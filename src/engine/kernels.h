/* The engine's own kernels, compiled once per instruction set. Activations are rows x channels (nhwc with all pixels as
 * rows) where channels matter. */
#ifndef PR_ENGINE_KERNELS_H
#define PR_ENGINE_KERNELS_H

#include <stdbool.h>
#include <stdint.h>

#include "graph/graph.h"

/* A window sliding over an nhwc image; positions of taps: out * stride - pad + tap * dilation. */
typedef struct pr_window {
    int64_t n, c, in_h, in_w, out_h, out_w;
    int kernel[2], stride[2], dilation[2], pad[4];
    bool count_pad;
} pr_window;

/* Elementwise: y[i] from a[i], b[i] and c[i], as many of them as the operator has inputs and in its order, over `count`
 * numbers of the table's type. y may be one of the inputs. attrs: the operator's. */
typedef void (*pr_flat_kernel)(const pr_attrs *attrs, const void *a, const void *b, const void *c, void *y,
                               int64_t count);

/* Pooling from x, or its gradient from what the operator's node reads, into y. Numbers are of the table's type. A
 * gradient is zeroed by the kernel. */
typedef void (*pr_pool_kernel)(const pr_window *w, const void *x, const void *dy, void *y);

/* Of one type of numbers; NULL: there is none. */
typedef struct pr_flat_kernels {
    pr_flat_kernel op[PR_OP_COUNT];
    /* by pr_map and pr_binary */
    const pr_flat_kernel *map, *map_grad, *binary, *binary_grad;
    pr_flat_kernel add_relu;      /* floored at 0: a + b */
    pr_flat_kernel add_relu_grad; /* a + b where c > 0, and else 0 */
} pr_flat_kernels;

typedef struct pr_engine_kernels {
    pr_flat_kernels flat;
    pr_pool_kernel pool[PR_OP_COUNT];

    /* over rows of `count` numbers; the order of sums depends on `count` alone */
    void (*row_sums)(const float *x, int64_t rows, int64_t count, float *y);
    void (*softmax)(const float *x, int64_t rows, int64_t count, float *y);
    void (*softmax_grad)(const float *y, const float *dy, int64_t rows, int64_t count, float *dx);
    void (*normalize)(const float *x, int64_t rows, int64_t count, float eps, float *y);
    void (*normalize_grad)(const float *x, const float *dy, int64_t rows, int64_t count, float eps, float *dx);

    /* Across the channels of each of `rows` pixels; scratch: 4 pr_lrn_room() floats. */
    void (*lrn)(const pr_attrs *attrs, const float *x, int64_t rows, int64_t c, float *y, float *scratch);
    void (*lrn_grad)(const pr_attrs *attrs, const float *x, const float *dy, int64_t rows, int64_t c, float *dx,
                     float *scratch);

    /* y = x * scale[c] + shift[c]; shift NULL: none. In place allowed. */
    void (*affine)(const float *x, float *y, int64_t rows, int64_t c, const float *scale, const float *shift);
    /* out[c] = sum over rows of x. */
    void (*column_sums)(const float *x, int64_t rows, int64_t c, float *out);
    /* Per channel mean and sum of squared differences from it. */
    void (*moments)(const float *x, int64_t rows, int64_t c, double *mean, double *squares);
    /* sum[c] = sum dy, product[c] = sum dy (x - mean[c]). */
    void (*norm_grad_sums)(const float *dy, const float *x, int64_t rows, int64_t c, const float *mean, double *sum,
                           double *product);
    /* dx = dy a[c] + x b[c] + k[c], with `mask` only where x > 0 and else 0; column_sums NULL or the sums of dx. dx may
     * be dy. */
    void (*norm_grad)(const float *dy, const float *x, float *dx, int64_t rows, int64_t c, const float *a,
                      const float *b, const float *k, bool mask, float *column_sums);

    /* y = sum of `blocks` partial results, each `stride` floats after the other, + bias[c] (NULL: none), with `relu`
     * floored at 0. */
    void (*sum_blocks)(const float *partial, int blocks, int64_t stride, const float *bias, bool relu, int64_t rows,
                       int64_t c, float *y);

    /* y[rows][n] = x[rows][k] w + bias (NULL: none), with `relu` floored at 0. w in panels of `width` columns (at most
     * 32, dividing n): for each panel k rows of pr_panel_stride(width) floats. A row's bits do not depend on the other
     * rows. */
    void (*gemm)(const float *x, int64_t rows, int64_t k, int64_t n, const float *panels, int64_t width,
                 const float *bias, bool relu, float *y);

    /* Gradient of a convolution of few input channels (dilation 1 along rows) with respect to its input, dy counting
     * only where mask (NULL: everywhere) is positive; see kernels.c. packed: for each output channel pr_few_lanes()
     * taps. scratch: few_scratch() floats. */
    void (*few_grad)(const pr_window *w, int64_t out_c, const float *packed, const float *dy, const float *mask,
                     float *dx, float *scratch);
    int64_t (*few_scratch)(const pr_window *w, int64_t out_c);

    /* Dropout masks of rows first .. first + rows of a node, as pr_dropout_mask makes them. */
    void (*dropout_mask)(uint64_t seed, uint64_t sample, float ratio, int64_t first, int64_t rows, int64_t row,
                         float *mask);
} pr_engine_kernels;

/* The best for this process (pr_isa_name). */
const pr_engine_kernels *pr_engine_kernels_get(void);

static inline int64_t pr_panel_stride(int64_t width)
{
    return width <= 16 ? 16 : 32;
}

static inline int64_t pr_lrn_room(const pr_attrs *attrs, int64_t c)
{
    return c + attrs->lrn.size + 16;
}

/* few_grad's order of taps: kernel rows, in each its columns x channels padded to a multiple of 4; all padded to a
 * multiple of 16. */
static inline int64_t pr_few_run(int64_t taps)
{
    return (taps + 3) / 4 * 4;
}

static inline int64_t pr_few_lanes(int64_t kernel_rows, int64_t taps)
{
    return (kernel_rows * pr_few_run(taps) + 15) / 16 * 16;
}

#endif
