/* oneDNN behind a small interface: memory layouts, primitives, and primitives bound to memory. Only the onednn
 * files know the library, and onednn_versions.h the differences between its major versions. Everything is f32 unless
 * said otherwise, and single-threaded; a primitive is created and run with one OpenMP thread. */
#ifndef PR_ENGINE_ONEDNN_H
#define PR_ENGINE_ONEDNN_H

#include "base/base.h"

typedef struct pr_dnnl pr_dnnl;
PARRY_CHECKED parry_status pr_dnnl_create(parry_ctx *ctx, pr_dnnl **out);
void pr_dnnl_free(pr_dnnl *dnnl);
/* "oneDNN 2.6.3, avx512_core" */
const char *pr_dnnl_version(void);

/* ---- layouts --------------------------------------------------------------------------------------------------- */

typedef enum pr_type { PR_TYPE_F32, PR_TYPE_BF16 } pr_type;
/* Whether this process has oneDNN's bf16 kernels: the processor and ONEDNN_MAX_CPU_ISA allow them. */
bool pr_dnnl_has_bf16(void);

typedef struct pr_md pr_md;
/* The same numbers in another type. */
PARRY_CHECKED parry_status pr_md_create_as(parry_ctx *ctx, pr_type type, int rank, const int64_t *dim,
                                           const int64_t *stride, pr_md **out);
/* f32, strided; stride NULL: row-major. */
PARRY_CHECKED parry_status pr_md_create(parry_ctx *ctx, int rank, const int64_t *dim, const int64_t *stride,
                                        pr_md **out);
/* f32, row-major, with the dims of `md`. */
PARRY_CHECKED parry_status pr_md_plain(parry_ctx *ctx, const pr_md *md, pr_md **out);
PARRY_CHECKED parry_status pr_md_clone(parry_ctx *ctx, const pr_md *md, pr_md **out);
void pr_md_free(pr_md *md);
bool pr_md_equal(const pr_md *a, const pr_md *b);
bool pr_md_same_dims(const pr_md *a, const pr_md *b);
/* Memory that a tensor of this layout takes, padding included, in floats. */
int64_t pr_md_floats(const pr_md *md);

/* ---- primitives ------------------------------------------------------------------------------------------------ */

typedef enum pr_arg { PR_ARG_SRC, PR_ARG_WEIGHTS, PR_ARG_BIAS, PR_ARG_DST, PR_ARG_COUNT } pr_arg;

typedef struct pr_prim pr_prim;
void pr_prim_free(pr_prim *prim);
const char *pr_prim_impl(const pr_prim *prim);
/* Whether oneDNN has nothing better than its reference kernel. */
bool pr_prim_is_reference(const pr_prim *prim);
/* Whether it is written for this type, rather than converting, then multiplying matrices. */
bool pr_prim_is_direct(const pr_prim *prim);
const pr_md *pr_prim_md(const pr_prim *prim, pr_arg arg);
int64_t pr_prim_scratch(const pr_prim *prim); /* floats */

/* Activations are nhwc. Roles: SRC and DST are what the forward convolution calls so, whichever is the result; WEIGHTS
 * may be the gradient. */
typedef enum pr_conv_kind { PR_CONV_FORWARD, PR_CONV_GRAD_SRC, PR_CONV_GRAD_WEIGHTS } pr_conv_kind;
typedef struct pr_conv_shape {
    int64_t n, in_c, in_h, in_w, out_c, out_h, out_w, kernel_h, kernel_w;
    int group, stride[2], dilation[2], pad[4]; /* dilation 1: dense; pad: top, left, bottom, right */
    bool training;                             /* the weights' layout is to suit the gradients too */
    pr_type type;                              /* of images and weights; sums, bias and gradients of weights are f32 */
    bool wide;                                 /* the result is f32 whatever the type of what is read */
} pr_conv_shape;
typedef struct pr_post {
    bool bias, sum, relu, clip; /* dst = clip(relu(conv + bias + what dst held)) */
    float low, high;            /* of the clip */
} pr_post;
/* weights NULL: the layout that the implementation likes best (pr_prim_md tells). */
PARRY_CHECKED parry_status pr_prim_conv(parry_ctx *ctx, const pr_dnnl *dnnl, pr_conv_kind kind,
                                        const pr_conv_shape *shape, const pr_md *weights, pr_post post, pr_prim **out);

/* dst[m][n] = sum_k src[m][k] weights[k][n], with strides for rows and columns of src and weights; rows of dst are
 * dst_stride apart. */
typedef struct pr_matmul_shape {
    int64_t m, k, n, src_stride[2], weights_stride[2], dst_stride;
} pr_matmul_shape;
PARRY_CHECKED parry_status pr_prim_matmul(parry_ctx *ctx, const pr_dnnl *dnnl, const pr_matmul_shape *shape,
                                          pr_post post, pr_prim **out);

/* SRC to DST, the same dims in another layout or type. */
PARRY_CHECKED parry_status pr_prim_reorder(parry_ctx *ctx, const pr_dnnl *dnnl, const pr_md *from, const pr_md *to,
                                           pr_prim **out);

/* ---- bound to memory: one thread at a time runs a binding ------------------------------------------------------ */

typedef struct pr_binding pr_binding;
PARRY_CHECKED parry_status pr_binding_create(parry_ctx *ctx, const pr_dnnl *dnnl, const pr_prim *prim,
                                             float *const data[PR_ARG_COUNT], float *scratch, pr_binding **out);
void pr_binding_free(pr_binding *binding);
PARRY_CHECKED parry_status pr_binding_set(parry_ctx *ctx, pr_binding *binding, pr_arg arg, const float *data);
PARRY_CHECKED parry_status pr_binding_run(parry_ctx *ctx, const pr_binding *binding);

/* ---- OpenMP: plans bring their own threads --------------------------------------------------------------------- */

/* One thread for what this thread creates or runs; returns what to restore. */
int pr_omp_single(void);
void pr_omp_restore(int threads);

#endif
