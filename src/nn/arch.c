/* The table of architectures, and the initial weights of a network.
 *
 * Kernels are drawn from Glorot and Bengio's uniform distribution (AISTATS 2010, eq. 16) with the fans as Keras
 * computes them: U(-l, l) with l = sqrt(6 / (fan_in + fan_out)), where the fans of a convolution count the kernel's
 * area. */
#include <math.h>

#include "base/rng.h"
#include "nn/builders.h"
#include "nn/chain.h"
#include "tensor/tensor.h"

static const pr_arch *const archs[] = {&pr_arch_simplecnn, &pr_arch_resnet18, &pr_arch_resnet20,
                                       &pr_arch_resnet34,  &pr_arch_resnet50, &pr_arch_inception_v3};

const pr_arch *pr_arch_at(size_t index)
{
    return index < PR_COUNT(archs) ? archs[index] : NULL;
}

parry_status pr_arch_find(parry_ctx *ctx, const char *name, const pr_arch **out)
{
    const char *names[PR_COUNT(archs)];
    size_t index;
    *out = NULL;
    for (size_t i = 0; i < PR_COUNT(archs); i++)
        names[i] = archs[i]->name;
    TRY(pr_name_find(ctx, "architecture", "architectures", name, names, PR_COUNT(names), &index));
    *out = archs[index];
    return PARRY_OK;
}

void pr_draw_uniform(pr_weight *weight, uint64_t seed, int32_t index, float limit)
{
    pr_rng rng = pr_rng_init(seed, PR_STREAM_INIT, (uint64_t)index);
    for (int64_t i = 0; i < weight->count; i++)
        weight->data[i] = pr_rng_uniform(&rng, -limit, limit);
}

void pr_draw_normal(pr_weight *weight, uint64_t seed, int32_t index, double deviation)
{
    pr_rng rng = pr_rng_init(seed, PR_STREAM_INIT, (uint64_t)index);
    for (int64_t i = 0; i < weight->count; i++)
        weight->data[i] = (float)(deviation * (double)pr_rng_normal(&rng));
}

static void glorot_uniform(pr_weight *weight, uint64_t seed, int32_t index)
{
    const int64_t area = weight->rank == 4 ? weight->dim[2] * weight->dim[3] : 1;
    const double fans = (double)(weight->dim[0] + weight->dim[1]) * (double)area;
    pr_draw_uniform(weight, seed, index, (float)sqrt(6.0 / fans));
}

void pr_initialise_with(const pr_graph *graph, pr_weights *weights, uint64_t seed, pr_kernel_init kernel,
                        pr_kernel_init dense)
{
    /* What input number i of a batch norm starts as; other vectors are biases and start at 0. */
    static const float batch_norm_start[PR_NODE_IN] = {0, 1 /* scale */, 0 /* shift */, 0 /* mean */, 1 /* var */};
    for (size_t n = 0; n < graph->node_count; n++) {
        const pr_node *node = &graph->nodes[n];
        for (int i = 0; i < node->inputs; i++) {
            if (node->in[i] < 0 || graph->values[node->in[i]].kind != PR_VALUE_WEIGHT)
                continue;
            const int32_t index = graph->values[node->in[i]].weight;
            pr_weight *weight = &weights->items[index];
            if (weight->role == PR_WEIGHT_KERNEL)
                (node->op == PR_OP_GEMM ? dense : kernel)(weight, seed, index);
            else if (weight->role != PR_WEIGHT_CONSTANT && weight->role != PR_WEIGHT_INDEX)
                pr_fill(weight->data, node->op == PR_OP_BATCH_NORM ? batch_norm_start[i] : 0, weight->count);
        }
    }
    pr_weights_changed(weights);
}

void pr_initialise(const pr_graph *graph, pr_weights *weights, uint64_t seed)
{
    pr_initialise_with(graph, weights, seed, glorot_uniform, glorot_uniform);
}
