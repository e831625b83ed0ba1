/* The plain-C kernels, shared by the files of the oracle. Whole batch, row-major N x C x H x W, simple loops, sums in
 * double. */
#ifndef PR_ENGINE_REF_H
#define PR_ENGINE_REF_H

#include "engine/engine.h"

typedef struct pr_ref {
    const pr_node *node;
    const pr_attrs *attrs;
    pr_dims in_dims[PR_NODE_IN], out_dims[PR_NODE_OUT]; /* with the batch put in; rank -1: absent */
    const float *const *in;
    float *const *out;
    uint64_t seed, step;
} pr_ref;

typedef void (*pr_ref_kernel)(const pr_ref *ref);

/* N, C and H * W (everything beyond axis 1) of dims. */
typedef struct pr_ref_planes {
    int64_t n, c, area;
} pr_ref_planes;
pr_ref_planes pr_ref_planes_of(pr_dims dims);

/* Offset of the index'th element of a row-major tensor of `size` in one of the same rank with strides `stride`. */
int64_t pr_ref_offset(int64_t index, int rank, const int64_t *size, const int64_t *stride);
/* Row-major strides of `dims` seen with `rank` axes, axes added in front; 0 where it is 1 and repeats. */
void pr_ref_strides(pr_dims dims, int rank, int64_t *stride);

void pr_ref_conv(const pr_ref *ref);
void pr_ref_conv_grad_x(const pr_ref *ref);
void pr_ref_conv_grad_w(const pr_ref *ref);
void pr_ref_gemm(const pr_ref *ref);
void pr_ref_gemm_grad_x(const pr_ref *ref);
void pr_ref_gemm_grad_w(const pr_ref *ref);

void pr_ref_max_pool(const pr_ref *ref);
void pr_ref_max_pool_grad(const pr_ref *ref);
void pr_ref_average_pool(const pr_ref *ref);
void pr_ref_average_pool_grad(const pr_ref *ref);
void pr_ref_global_average_pool(const pr_ref *ref);
void pr_ref_global_average_pool_grad(const pr_ref *ref);

void pr_ref_pad(const pr_ref *ref);
void pr_ref_concat(const pr_ref *ref);
void pr_ref_gather(const pr_ref *ref);
void pr_ref_gather_grad(const pr_ref *ref);

void pr_ref_batch_norm(const pr_ref *ref);
void pr_ref_batch_norm_grad_x(const pr_ref *ref);
void pr_ref_batch_norm_train(const pr_ref *ref);
void pr_ref_batch_norm_train_grad(const pr_ref *ref);
void pr_ref_channel_affine(const pr_ref *ref);
void pr_ref_channel_affine_grad_x(const pr_ref *ref);
void pr_ref_softmax(const pr_ref *ref);
void pr_ref_log_softmax(const pr_ref *ref);
void pr_ref_softmax_grad(const pr_ref *ref);
void pr_ref_log_softmax_grad(const pr_ref *ref);

void pr_ref_relu(const pr_ref *ref);
void pr_ref_leaky_relu(const pr_ref *ref);
void pr_ref_sigmoid(const pr_ref *ref);
void pr_ref_tanh(const pr_ref *ref);
void pr_ref_neg(const pr_ref *ref);
void pr_ref_relu_grad(const pr_ref *ref);
void pr_ref_leaky_relu_grad(const pr_ref *ref);
void pr_ref_sigmoid_grad(const pr_ref *ref);
void pr_ref_tanh_grad(const pr_ref *ref);
void pr_ref_copy(const pr_ref *ref);
/* Over `count` numbers that lie side by side, in any order: pr_flat_kernels of what has no other. */
void pr_ref_map_flat(const pr_attrs *attrs, const void *x, const void *unused_b, const void *unused_c, void *y,
                     int64_t count);
void pr_ref_map_grad_flat(const pr_attrs *attrs, const void *x, const void *dy, const void *unused, void *dx,
                          int64_t count);
void pr_ref_binary_flat(const pr_attrs *attrs, const void *x, const void *z, const void *unused, void *y,
                        int64_t count);
void pr_ref_binary_grad_flat(const pr_attrs *attrs, const void *x, const void *z, const void *dy, void *d,
                             int64_t count);

void pr_ref_map(const pr_ref *ref);
void pr_ref_map_grad(const pr_ref *ref);
void pr_ref_binary(const pr_ref *ref);
void pr_ref_binary_grad(const pr_ref *ref);
void pr_ref_where(const pr_ref *ref);
void pr_ref_reduce(const pr_ref *ref);
void pr_ref_reduce_grad(const pr_ref *ref);
void pr_ref_arg_max(const pr_ref *ref);
void pr_ref_matmul(const pr_ref *ref);
void pr_ref_normalize(const pr_ref *ref);
void pr_ref_normalize_grad(const pr_ref *ref);
void pr_ref_lrn(const pr_ref *ref);
void pr_ref_lrn_grad(const pr_ref *ref);

void pr_ref_add(const pr_ref *ref);
void pr_ref_sub(const pr_ref *ref);
void pr_ref_mul(const pr_ref *ref);
void pr_ref_div(const pr_ref *ref);
void pr_ref_transpose(const pr_ref *ref);
void pr_ref_reduce_to(const pr_ref *ref);
void pr_ref_dropout(const pr_ref *ref);

#endif
