/* Small networks for the engine's tests: every operator, the odd shapes, and the tutorial's network. Weights are
 * random. */
#ifndef PR_TEST_ZOO_H
#define PR_TEST_ZOO_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "base/rng.h"
#include "engine/engine.h"

typedef struct zoo {
    parry_ctx *ctx;
    pr_graph *graph;
    pr_weights *weights;
    pr_value at;
    pr_rng rng;
    int dropouts;
} zoo;

static inline pr_value zoo_weight(zoo *z, pr_weight_role role, int rank, const int64_t *dim, float lo, float hi)
{
    char name[32];
    int32_t index;
    pr_value value = -1;
    snprintf(name, sizeof name, "w%zu", z->weights->count);
    assert_int_equal(pr_weights_add(z->ctx, z->weights, name, role, rank, dim, &index), PARRY_OK);
    for (int64_t i = 0; i < z->weights->items[index].count; i++)
        z->weights->items[index].data[i] = pr_rng_uniform(&z->rng, lo, hi);
    assert_int_equal(pr_graph_weight(z->ctx, z->graph, z->weights, index, &value), PARRY_OK);
    return value;
}

static inline void zoo_node(zoo *z, pr_op op, const pr_attrs *attrs, const pr_value *more, int count)
{
    char name[48];
    pr_value in[PR_NODE_IN] = {z->at};
    for (int i = 0; i < count; i++)
        in[1 + i] = more[i];
    snprintf(name, sizeof name, "%s%zu", pr_op_name(op), z->graph->node_count);
    if (pr_graph_node(z->ctx, z->graph, op, name, attrs, in, 1 + count, &z->at) != PARRY_OK)
        fail_msg("%s", parry_ctx_error(z->ctx));
}

static inline int64_t zoo_dim(const zoo *z, int d)
{
    return z->graph->values[z->at].dims.dim[d];
}

static inline void zoo_op(zoo *z, pr_op op)
{
    zoo_node(z, op, NULL, NULL, 0);
}

/* kernel k, `group` groups; pads: top, left, bottom, right. */
static inline void zoo_conv(zoo *z, int64_t out, int k, int stride, int dilation, int group, const int pads[4])
{
    pr_attrs attrs = {.conv = {.group = group,
                               .stride = {stride, stride},
                               .dilation = {dilation, dilation},
                               .pad = {pads[0], pads[1], pads[2], pads[3]},
                               .kernel = {k, k}}};
    int64_t in = zoo_dim(z, 1) / group;
    float range = 1.7f / (float)(in * k);
    pr_value w[] = {zoo_weight(z, PR_WEIGHT_KERNEL, 4, (int64_t[]){out, in, k, k}, -range, range),
                    zoo_weight(z, PR_WEIGHT_VECTOR, 1, &out, -0.2f, 0.2f)};
    zoo_node(z, PR_OP_CONV, &attrs, w, 2);
}

static inline void zoo_gemm(zoo *z, int64_t out)
{
    pr_dims x = z->graph->values[z->at].dims;
    int64_t in = pr_dims_row(x);
    float range = 2.0f / (float)(in > 64 ? in / 8 : 8);
    pr_value w[] = {zoo_weight(z, PR_WEIGHT_KERNEL, 2, (int64_t[]){out, in}, -range, range),
                    zoo_weight(z, PR_WEIGHT_VECTOR, 1, &out, -0.2f, 0.2f)};
    zoo_node(z, PR_OP_GEMM, NULL, w, 2);
}

static inline void zoo_norm(zoo *z)
{
    pr_attrs attrs = {.bn = {1e-3f, 0.9f}};
    int64_t c = zoo_dim(z, 1);
    pr_value w[] = {
        zoo_weight(z, PR_WEIGHT_VECTOR, 1, &c, 0.5f, 1.5f), zoo_weight(z, PR_WEIGHT_VECTOR, 1, &c, -0.5f, 0.5f),
        zoo_weight(z, PR_WEIGHT_STATISTIC, 1, &c, -0.2f, 0.4f), zoo_weight(z, PR_WEIGHT_STATISTIC, 1, &c, 0.5f, 1.5f)};
    zoo_node(z, PR_OP_BATCH_NORM, &attrs, w, 4);
}

static inline void zoo_affine(zoo *z)
{
    int64_t c = zoo_dim(z, 1);
    pr_value w[] = {zoo_weight(z, PR_WEIGHT_CONSTANT, 1, &c, 0.5f, 2), zoo_weight(z, PR_WEIGHT_CONSTANT, 1, &c, -1, 1)};
    zoo_node(z, PR_OP_CHANNEL_AFFINE, NULL, w, 2);
}

static inline void zoo_dropout(zoo *z, float ratio)
{
    pr_attrs attrs = {.dropout = {ratio, z->dropouts++}};
    zoo_node(z, PR_OP_DROPOUT, &attrs, NULL, 0);
}

static inline void zoo_flatten(zoo *z)
{
    pr_attrs attrs = {.shape = {.to = {2, {PR_BATCH, pr_dims_row(z->graph->values[z->at].dims)}}}};
    zoo_node(z, PR_OP_RESHAPE, &attrs, NULL, 0);
}

static inline void zoo_pool(zoo *z, pr_op op, int kernel, int stride, int dilation, const int pads[4], bool count_pad,
                            bool ceil_mode)
{
    pr_attrs attrs = {.pool = {.kernel = {kernel, kernel},
                               .stride = {stride, stride},
                               .dilation = {dilation, dilation},
                               .pad = {pads[0], pads[1], pads[2], pads[3]},
                               .count_pad = count_pad,
                               .ceil_mode = ceil_mode}};
    zoo_node(z, op, &attrs, NULL, 0);
}

static const int zoo_none[4] = {0, 0, 0, 0}, zoo_one[4] = {1, 1, 1, 1}, zoo_after[4] = {0, 0, 1, 1};

/* ---- networks -------------------------------------------------------------------------------------------------- */

static inline void simplecnn(zoo *z)
{
    zoo_conv(z, 32, 3, 2, 1, 1, zoo_dim(z, 2) % 2 ? zoo_one : zoo_after);
    zoo_op(z, PR_OP_RELU);
    zoo_norm(z);
    zoo_conv(z, 64, 3, 2, 1, 1, zoo_dim(z, 2) % 2 ? zoo_one : zoo_after);
    zoo_op(z, PR_OP_RELU);
    zoo_norm(z);
    zoo_flatten(z);
    zoo_gemm(z, 128);
    zoo_op(z, PR_OP_RELU);
    zoo_norm(z);
    zoo_dropout(z, 0.5f);
    zoo_gemm(z, 10);
}

static inline void convolutions(zoo *z)
{
    zoo_affine(z);
    zoo_conv(z, 12, 3, 1, 1, 1, (int[]){1, 0, 2, 1});
    zoo_norm(z);
    zoo_op(z, PR_OP_RELU);
    zoo_conv(z, 24, 3, 2, 1, 3, zoo_one);
    zoo_op(z, PR_OP_RELU);
    zoo_affine(z);
    zoo_conv(z, 8, 3, 1, 2, 1, (int[]){2, 2, 2, 2});
    zoo_op(z, PR_OP_RELU);
    zoo_affine(z);
    zoo_conv(z, 16, 1, 1, 1, 1, zoo_none);
    zoo_op(z, PR_OP_RELU);
    zoo_conv(z, 16, 3, 1, 1, 16, zoo_one);
    zoo_flatten(z);
    zoo_gemm(z, 7);
}

static inline void residual(zoo *z)
{
    zoo_conv(z, 16, 3, 1, 1, 1, zoo_one);
    zoo_norm(z);
    zoo_op(z, PR_OP_RELU);
    for (int block = 0; block < 2; block++) {
        pr_value before = z->at;
        zoo_conv(z, 16, 3, 1, 1, 1, zoo_one);
        zoo_norm(z);
        zoo_op(z, PR_OP_RELU);
        zoo_conv(z, 16, 3, 1, 1, 1, zoo_one);
        zoo_norm(z);
        zoo_node(z, PR_OP_ADD, NULL, &before, 1);
        zoo_op(z, PR_OP_RELU);
    }
    zoo_op(z, PR_OP_GLOBAL_AVERAGE_POOL);
    zoo_flatten(z);
    zoo_gemm(z, 10);
}

static inline void pools(zoo *z)
{
    pr_attrs alpha = {.alpha = {0.1f}};
    zoo_conv(z, 20, 3, 1, 1, 1, zoo_one);
    zoo_node(z, PR_OP_LEAKY_RELU, &alpha, NULL, 0);
    zoo_pool(z, PR_OP_MAX_POOL, 3, 2, 1, zoo_one, false, false);
    zoo_pool(z, PR_OP_AVERAGE_POOL, 2, 1, 1, (int[]){1, 0, 0, 1}, true, false);
    zoo_op(z, PR_OP_SIGMOID);
    zoo_pool(z, PR_OP_AVERAGE_POOL, 3, 2, 1, zoo_one, false, true);
    zoo_op(z, PR_OP_TANH);
    zoo_flatten(z);
    zoo_gemm(z, 5);
}

static inline void movement(zoo *z)
{
    pr_attrs perm = {.perm = {{0, 2, 3, 1}}}, back = {.perm = {{0, 3, 1, 2}}},
             pad = {.pad = {{0, 0, 1, 0}, {0, 0, 0, 2}, 0.25f}};
    pr_value first = z->at;
    zoo_node(z, PR_OP_TRANSPOSE, &perm, NULL, 0);
    zoo_op(z, PR_OP_TANH);
    zoo_node(z, PR_OP_TRANSPOSE, &back, NULL, 0);
    zoo_node(z, PR_OP_MUL, NULL, &first, 1);
    zoo_node(z, PR_OP_PAD, &pad, NULL, 0);
    zoo_conv(z, 6, 3, 1, 1, 1, zoo_none);
    int64_t scalar[] = {6, 1, 1};
    pr_value scale = zoo_weight(z, PR_WEIGHT_CONSTANT, 3, scalar, 0.5f, 1);
    zoo_node(z, PR_OP_DIV, NULL, &scale, 1);
    pr_attrs shape = {.shape = {.to = {3, {PR_BATCH, 6, zoo_dim(z, 2) * zoo_dim(z, 3)}}}}, last = {.axis = {-1}};
    zoo_node(z, PR_OP_RESHAPE, &shape, NULL, 0);
    zoo_op(z, PR_OP_NEG);
    zoo_node(z, PR_OP_SOFTMAX, &last, NULL, 0);
    zoo_flatten(z);
    zoo_gemm(z, 9);
    zoo_norm(z);
    zoo_node(z, PR_OP_LOG_SOFTMAX, &last, NULL, 0);
}

static inline void perceptron(zoo *z)
{
    zoo_flatten(z);
    zoo_gemm(z, 40);
    zoo_op(z, PR_OP_RELU);
    zoo_norm(z);
    zoo_dropout(z, 0.3f);
    zoo_gemm(z, 17);
    zoo_op(z, PR_OP_TANH);
    zoo_gemm(z, 3);
}

/* A matrix large enough to be cut into blocks. */
static inline void wide(zoo *z)
{
    zoo_conv(z, 16, 1, 1, 1, 1, zoo_none);
    zoo_op(z, PR_OP_RELU);
    zoo_flatten(z);
    zoo_gemm(z, 128);
    zoo_op(z, PR_OP_RELU);
    zoo_norm(z);
    zoo_gemm(z, 4);
}

static inline void zoo_clip(zoo *z, float low, float high)
{
    zoo_node(z, PR_OP_MAP, &(pr_attrs){.map = {PR_MAP_CLIP, {low, high}}}, NULL, 0);
}

/* Clip behind all that it may be fused with, and behind what it may not. */
static inline void clips(zoo *z)
{
    zoo_affine(z);
    zoo_conv(z, 24, 3, 1, 1, 1, zoo_one);
    zoo_norm(z);
    zoo_clip(z, 0, 0.4f);
    zoo_conv(z, 24, 3, 2, 1, 24, zoo_one);
    zoo_clip(z, -0.1f, 0.3f);
    zoo_conv(z, 32, 1, 1, 1, 1, zoo_none);
    const pr_value before = z->at;
    zoo_clip(z, 0, 0.25f);
    zoo_conv(z, 32, 1, 1, 1, 1, zoo_none);
    zoo_node(z, PR_OP_ADD, NULL, &before, 1);
    zoo_clip(z, 0, 0.3f);
    zoo_affine(z);
    zoo_conv(z, 16, 3, 1, 1, 1, zoo_one);
    zoo_clip(z, -0.2f, 0.6f);
    zoo_flatten(z);
    zoo_gemm(z, 5);
}

static const struct zoo_case {
    const char *name;
    void (*build)(zoo *z);
    int64_t image[3];
} zoo_cases[] = {
    {"simplecnn 28", simplecnn, {1, 28, 28}},
    {"simplecnn 8", simplecnn, {1, 8, 8}},
    {"simplecnn 15 colour", simplecnn, {3, 15, 15}},
    {"convolutions", convolutions, {3, 11, 9}},
    {"residual", residual, {3, 8, 8}},
    {"pools", pools, {2, 13, 12}},
    {"movement", movement, {3, 6, 5}},
    {"perceptron", perceptron, {1, 7, 9}},
    {"wide", wide, {2, 8, 8}},
    {"clips", clips, {3, 9, 8}},
};

static inline zoo zoo_open(parry_ctx *ctx, const struct zoo_case *c)
{
    zoo z = {.ctx = ctx, .rng = pr_rng_init(7, PR_STREAM_TEST, (uint64_t)(c - zoo_cases))};
    assert_int_equal(pr_graph_create(ctx, &z.graph), PARRY_OK);
    assert_int_equal(pr_weights_create(ctx, &z.weights), PARRY_OK);
    pr_dims dims = {4, {PR_BATCH, c->image[0], c->image[1], c->image[2]}};
    assert_int_equal(pr_graph_input(ctx, z.graph, "image", dims, &z.at), PARRY_OK);
    z.graph->input = z.at;
    c->build(&z);
    z.graph->logits = z.at;
    return z;
}

static inline void zoo_close(zoo *z)
{
    pr_graph_free(z->graph);
    pr_weights_free(z->weights);
}

/* Every allocation of a plan for input gradients and its workspace fails in turn; what was made is given back. */
static inline void zoo_fail_each_allocation(parry_ctx *ctx, const zoo *z, const pr_plan_options *options)
{
    parry_status status = PARRY_NO_MEMORY;
    for (long n = 1; status != PARRY_OK; n++) {
        pr_plan *plan = NULL;
        pr_workspace *workspace = NULL;
        pr_alloc_fail_at(n);
        status = pr_plan_create(ctx, z->graph, z->weights, PR_INPUT_GRADIENT, options, &plan);
        if (status == PARRY_OK)
            status = pr_workspace_create(ctx, plan, &workspace);
        pr_alloc_fail_at(0);
        assert_true(status == PARRY_OK || status == PARRY_NO_MEMORY);
        pr_workspace_free(workspace);
        pr_plan_free(plan);
    }
}

static inline void zoo_fill(pr_rng *rng, float *x, int64_t count, float lo, float hi)
{
    for (int64_t i = 0; i < count; i++)
        x[i] = pr_rng_uniform(rng, lo, hi);
}

#endif
