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

extern const pr_map_kernel PR_ISA_NAME(map_kernels)[PR_MAP_COUNT];
extern const pr_map_grad_kernel PR_ISA_NAME(map_grad_kernels)[PR_MAP_COUNT];
void PR_ISA_NAME(sigmoid)(const float *in, float *y, int64_t count);
void PR_ISA_NAME(sigmoid_grad)(const float *in, const float *dy, float *dx, int64_t count);
void PR_ISA_NAME(tanh)(const float *in, float *y, int64_t count);
void PR_ISA_NAME(tanh_grad)(const float *in, const float *dy, float *dx, int64_t count);
void PR_ISA_NAME(row_sums)(const float *x, int64_t rows, int64_t count, float *y);
void PR_ISA_NAME(softmax)(const float *x, int64_t rows, int64_t count, float *y);
void PR_ISA_NAME(softmax_grad)(const float *y, const float *dy, int64_t rows, int64_t count, float *dx);
void PR_ISA_NAME(normalize)(const float *x, int64_t rows, int64_t count, float eps, float *y);
void PR_ISA_NAME(normalize_grad)(const float *x, const float *dy, int64_t rows, int64_t count, float eps, float *dx);
void PR_ISA_NAME(max_pool)(const pr_window *w, const float *in, float *out);
void PR_ISA_NAME(max_pool_grad)(const pr_window *w, const float *in, const float *dy, float *dx);
void PR_ISA_NAME(average_pool)(const pr_window *w, const float *in, float *out);
void PR_ISA_NAME(average_pool_grad)(const pr_window *w, const float *dy, float *dx);
int64_t PR_ISA_NAME(few_scratch)(const pr_window *w, int64_t out_c);
void PR_ISA_NAME(few_grad)(const pr_window *w, int64_t out_c, const float *packed, const float *dy, const float *mask,
                           float *dx, float *scratch);
void PR_ISA_NAME(gemm)(const float *x, int64_t rows, int64_t k, int64_t n, const float *panels, int64_t width,
                       const float *bias, bool relu_after, float *y);
void PR_ISA_NAME(dropout_mask)(uint64_t seed, uint64_t sample, float ratio, int64_t first, int64_t rows, int64_t row,
                               float *mask);

#endif
