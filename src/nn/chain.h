/* What builders are written with: layers added one behind the other, named as their framework names them. */
#ifndef PR_NN_CHAIN_H
#define PR_NN_CHAIN_H

#include "nn/nn.h"

enum { PR_SCOPE_MAX = 48 };

/* `at` is the value built so far; a copy of the struct is a branch. `scope` goes before the names of all layers. */
typedef struct pr_chain {
    parry_ctx *ctx;
    pr_graph *graph;
    pr_weights *weights;
    pr_value at;
    char scope[PR_SCOPE_MAX];
} pr_chain;

/* Sizes that an architecture accepts; errors call it `name`. */
typedef struct pr_image_limits {
    const char *name;
    int side_min, side_max;
} pr_image_limits;

/* Refuses other images than 1 or 3 channels within the limits, and other numbers of classes than 2 to 2^20; adds the
 * input "image". */
PARRY_CHECKED parry_status pr_chain_begin(pr_chain *chain, const pr_image_limits *limits, int channels, int height,
                                          int width, int classes);

/* printf into the scope. */
__attribute__((format(printf, 2, 3))) PARRY_CHECKED parry_status pr_chain_scope(pr_chain *chain, const char *format,
                                                                                ...);
PARRY_CHECKED parry_status pr_chain_node(pr_chain *chain, pr_op op, const char *name, const pr_attrs *attrs,
                                         const pr_value *params, int param_count);
/* attrs->conv.kernel and the strides and pads are the caller's; bias "layer.bias" where wanted. */
PARRY_CHECKED parry_status pr_chain_conv(pr_chain *chain, const char *name, int64_t filters, const pr_attrs *attrs,
                                         bool bias);
PARRY_CHECKED parry_status pr_chain_dense(pr_chain *chain, const char *name, int64_t units);
PARRY_CHECKED parry_status pr_chain_relu(pr_chain *chain, const char *name);
PARRY_CHECKED parry_status pr_chain_flatten(pr_chain *chain, const char *name);
/* `parts`: what scale, shift, mean and variance are called. */
PARRY_CHECKED parry_status pr_chain_batch_norm(pr_chain *chain, const char *name, const char *const parts[4], float eps,
                                               float momentum);
/* Behind the last block: no scope any more, and the mean over space, as rows. */
PARRY_CHECKED parry_status pr_chain_average(pr_chain *chain);
/* The last layers: dropout in training with that ratio (0: none) and the dense layer `name` of the scores, which are
 * the graph's output. */
PARRY_CHECKED parry_status pr_chain_end(pr_chain *chain, float dropout, const char *name, int classes);
int64_t pr_chain_channels(const pr_chain *chain);

/* As PyTorch names them: weight, bias, running_mean, running_var. */
extern const char *const pr_torch_norm_parts[4];
/* PyTorch's convolution: a square or oblong kernel, padding equal on both sides. */
pr_attrs pr_torch_conv(int kernel_h, int kernel_w, int stride, int pad_h, int pad_w);
pr_attrs pr_torch_pool(int kernel, int stride, int pad);

/* ---- initial weights ------------------------------------------------------------------------------------------- */

/* Fills a kernel from PR_STREAM_INIT, sample = weight index. */
typedef void (*pr_kernel_init)(pr_weight *weight, uint64_t seed, int32_t index);
/* What such functions are made of: U(-limit, limit), and N(0, deviation^2). */
void pr_draw_uniform(pr_weight *weight, uint64_t seed, int32_t index, float limit);
void pr_draw_normal(pr_weight *weight, uint64_t seed, int32_t index, double deviation);
/* Every kernel of the graph by `kernel` (a GEMM's by `dense`), biases and shifts 0, scales and variances 1, constants
 * as they are. New version. */
void pr_initialise_with(const pr_graph *graph, pr_weights *weights, uint64_t seed, pr_kernel_init kernel,
                        pr_kernel_init dense);

#endif
