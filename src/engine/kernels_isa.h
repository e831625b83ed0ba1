/* What the files of kernels share. Each is compiled once per instruction set; PR_ENGINE_ISA names it and ends every
 * shared name. */
#ifndef PR_ENGINE_KERNELS_ISA_H
#define PR_ENGINE_KERNELS_ISA_H

#include <string.h>

#include "engine/kernels.h"

#define PR_ISA_NAME_OF(name, isa) pr_##name##_##isa
#define PR_ISA_NAME_WITH(name, isa) PR_ISA_NAME_OF(name, isa)
#define PR_ISA_NAME(name) PR_ISA_NAME_WITH(name, PR_ENGINE_ISA)

#if defined(__AVX512F__)
enum { LANES = 16 };
#elif defined(__AVX__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))

typedef float vec __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));
typedef int32_t ivec __attribute__((vector_size(LANES * sizeof(float)), aligned(4), may_alias));
#define LOAD(p) (*(const vec *)(p))
#define STORE(p, v) (*(vec *)(p) = (v))
#define SELECT(condition, v) ((vec)((condition) & (ivec)(v)))

/* An elementwise kernel (pr_flat_kernel) of f32; its loop knows the operands as a, b, c and y. */
#define PR_FLAT(name, loop)                                                                                            \
    void name(const pr_attrs *attrs, const void *in_a, const void *in_b, const void *in_c, void *out, int64_t count)   \
    {                                                                                                                  \
        const float *a = in_a, *b = in_b, *c = in_c;                                                                   \
        float *y = out;                                                                                                \
        (void)attrs, (void)a, (void)b, (void)c;                                                                        \
        loop                                                                                                           \
    }
#define PR_FLAT_DECLARE(name)                                                                                          \
    void PR_ISA_NAME(name)(const pr_attrs *attrs, const void *a, const void *b, const void *c, void *y, int64_t count)

extern const pr_flat_kernel PR_ISA_NAME(map_kernels)[PR_MAP_COUNT], PR_ISA_NAME(map_grad_kernels)[PR_MAP_COUNT];
extern const pr_flat_kernel PR_ISA_NAME(binary_kernels)[PR_BINARY_COUNT];
extern const pr_flat_kernel PR_ISA_NAME(binary_grad_kernels)[PR_BINARY_COUNT];
PR_FLAT_DECLARE(sigmoid);
PR_FLAT_DECLARE(sigmoid_grad);
PR_FLAT_DECLARE(tanh);
PR_FLAT_DECLARE(tanh_grad);
void PR_ISA_NAME(row_sums)(const float *x, int64_t rows, int64_t count, float *y);
void PR_ISA_NAME(softmax)(const float *x, int64_t rows, int64_t count, float *y);
void PR_ISA_NAME(softmax_grad)(const float *y, const float *dy, int64_t rows, int64_t count, float *dx);
void PR_ISA_NAME(normalize)(const float *x, int64_t rows, int64_t count, float eps, float *y);
void PR_ISA_NAME(normalize_grad)(const float *x, const float *dy, int64_t rows, int64_t count, float eps, float *dx);
void PR_ISA_NAME(lrn)(const pr_attrs *attrs, const float *x, int64_t rows, int64_t c, float *y, float *scratch);
void PR_ISA_NAME(lrn_grad)(const pr_attrs *attrs, const float *x, const float *dy, int64_t rows, int64_t c, float *dx,
                           float *scratch);
void PR_ISA_NAME(max_pool)(const pr_window *w, const void *x, const void *unused, void *y);
void PR_ISA_NAME(max_pool_grad)(const pr_window *w, const void *x, const void *dy, void *dx);
void PR_ISA_NAME(average_pool)(const pr_window *w, const void *x, const void *unused, void *y);
void PR_ISA_NAME(average_pool_grad)(const pr_window *w, const void *dy, const void *unused, void *dx);
int64_t PR_ISA_NAME(few_scratch)(const pr_window *w, int64_t out_c);
void PR_ISA_NAME(few_grad)(const pr_window *w, int64_t out_c, const float *packed, const float *dy, const float *mask,
                           float *dx, float *scratch);
void PR_ISA_NAME(gemm)(const float *x, int64_t rows, int64_t k, int64_t n, const float *panels, int64_t width,
                       const float *bias, bool relu_after, float *y);
void PR_ISA_NAME(dropout_mask)(uint64_t seed, uint64_t sample, float ratio, int64_t first, int64_t rows, int64_t row,
                               float *mask);

#endif
