/* The oracle: any graph, node by node, in plain C. */
#include <string.h>

#include "engine/ref.h"

static const pr_ref_kernel kernels[PR_OP_COUNT] = {
    [PR_OP_CONV] = pr_ref_conv,
    [PR_OP_GEMM] = pr_ref_gemm,
    [PR_OP_BATCH_NORM] = pr_ref_batch_norm,
    [PR_OP_RELU] = pr_ref_relu,
    [PR_OP_LEAKY_RELU] = pr_ref_leaky_relu,
    [PR_OP_SIGMOID] = pr_ref_sigmoid,
    [PR_OP_TANH] = pr_ref_tanh,
    [PR_OP_SOFTMAX] = pr_ref_softmax,
    [PR_OP_LOG_SOFTMAX] = pr_ref_log_softmax,
    [PR_OP_MAX_POOL] = pr_ref_max_pool,
    [PR_OP_AVERAGE_POOL] = pr_ref_average_pool,
    [PR_OP_GLOBAL_AVERAGE_POOL] = pr_ref_global_average_pool,
    [PR_OP_ADD] = pr_ref_add,
    [PR_OP_SUB] = pr_ref_sub,
    [PR_OP_MUL] = pr_ref_mul,
    [PR_OP_DIV] = pr_ref_div,
    [PR_OP_NEG] = pr_ref_neg,
    [PR_OP_RESHAPE] = pr_ref_copy,
    [PR_OP_TRANSPOSE] = pr_ref_transpose,
    [PR_OP_PAD] = pr_ref_pad,
    [PR_OP_CONCAT] = pr_ref_concat,
    [PR_OP_GATHER] = pr_ref_gather,
    [PR_OP_IDENTITY] = pr_ref_copy,
    [PR_OP_DROPOUT] = pr_ref_copy,
    [PR_OP_CHANNEL_AFFINE] = pr_ref_channel_affine,
    [PR_OP_MAP] = pr_ref_map,
    [PR_OP_MAP_GRAD] = pr_ref_map_grad,
    [PR_OP_BINARY] = pr_ref_binary,
    [PR_OP_BINARY_GRAD] = pr_ref_binary_grad,
    [PR_OP_WHERE] = pr_ref_where,
    [PR_OP_REDUCE] = pr_ref_reduce,
    [PR_OP_REDUCE_GRAD] = pr_ref_reduce_grad,
    [PR_OP_ARG_MAX] = pr_ref_arg_max,
    [PR_OP_MATMUL] = pr_ref_matmul,
    [PR_OP_NORMALIZE] = pr_ref_normalize,
    [PR_OP_NORMALIZE_GRAD] = pr_ref_normalize_grad,
    [PR_OP_LRN] = pr_ref_lrn,
    [PR_OP_LRN_GRAD] = pr_ref_lrn_grad,
    [PR_OP_BATCH_NORM_TRAIN] = pr_ref_batch_norm_train,
    [PR_OP_DROPOUT_TRAIN] = pr_ref_dropout,
    [PR_OP_CONV_GRAD_X] = pr_ref_conv_grad_x,
    [PR_OP_CONV_GRAD_W] = pr_ref_conv_grad_w,
    [PR_OP_GEMM_GRAD_X] = pr_ref_gemm_grad_x,
    [PR_OP_GEMM_GRAD_W] = pr_ref_gemm_grad_w,
    [PR_OP_BATCH_NORM_GRAD_X] = pr_ref_batch_norm_grad_x,
    [PR_OP_BATCH_NORM_TRAIN_GRAD] = pr_ref_batch_norm_train_grad,
    [PR_OP_RELU_GRAD] = pr_ref_relu_grad,
    [PR_OP_LEAKY_RELU_GRAD] = pr_ref_leaky_relu_grad,
    [PR_OP_SIGMOID_GRAD] = pr_ref_sigmoid_grad,
    [PR_OP_TANH_GRAD] = pr_ref_tanh_grad,
    [PR_OP_SOFTMAX_GRAD] = pr_ref_softmax_grad,
    [PR_OP_LOG_SOFTMAX_GRAD] = pr_ref_log_softmax_grad,
    [PR_OP_MAX_POOL_GRAD] = pr_ref_max_pool_grad,
    [PR_OP_AVERAGE_POOL_GRAD] = pr_ref_average_pool_grad,
    [PR_OP_GLOBAL_AVERAGE_POOL_GRAD] = pr_ref_global_average_pool_grad,
    [PR_OP_GATHER_GRAD] = pr_ref_gather_grad,
    [PR_OP_DROPOUT_TRAIN_GRAD] = pr_ref_dropout,
    [PR_OP_CHANNEL_AFFINE_GRAD_X] = pr_ref_channel_affine_grad_x,
    [PR_OP_REDUCE_TO] = pr_ref_reduce_to,
};

pr_ref_planes pr_ref_planes_of(pr_dims dims)
{
    return (pr_ref_planes){dims.dim[0], dims.dim[1], pr_dims_row(dims) / (dims.dim[0] * dims.dim[1])};
}

/* dims of `value` for a batch of that size. */
static pr_dims concrete_dims(const pr_graph *graph, pr_value value, int64_t batch)
{
    if (value < 0)
        return (pr_dims){.rank = -1};
    pr_dims dims = graph->values[value].dims;
    if (dims.rank > 0 && dims.dim[0] == PR_BATCH)
        dims.dim[0] = batch;
    return dims;
}

parry_status pr_ref_node(parry_ctx *ctx, const pr_graph *graph, const pr_node *node, int64_t batch,
                         const float *const *in, float *const *out, uint64_t seed, uint64_t step)
{
    const float *inputs[PR_NODE_IN] = {0};
    pr_ref ref = {.node = node, .attrs = &node->attrs, .in = inputs, .out = out, .seed = seed, .step = step};

    if (!kernels[node->op])
        return pr_fail(ctx, PARRY_UNSUPPORTED, "node '%s': no plain-C kernel for %s", node->name, pr_op_name(node->op));
    for (int i = 0; i < PR_NODE_IN; i++) {
        ref.in_dims[i] = concrete_dims(graph, node->in[i], batch);
        inputs[i] = node->in[i] >= 0 ? in[i] : NULL;
    }
    for (int o = 0; o < PR_NODE_OUT; o++)
        ref.out_dims[o] = concrete_dims(graph, node->out[o], batch);
    kernels[node->op](&ref);
    return PARRY_OK;
}

/* ---- whole graphs ----------------------------------------------------------------------------------------------- */

struct run {
    const pr_graph *graph;
    const pr_weights *weights;
    int64_t batch;
    bool *needed;                    /* by value */
    const float **data;              /* by value: what the nodes read */
    float **owned;                   /* by value: what the nodes wrote */
};

static void find_needed(struct run *run, const pr_value *wanted, size_t wanted_count)
{
    const pr_graph *graph = run->graph;
    for (size_t w = 0; w < wanted_count; w++)
        run->needed[wanted[w]] = true;
    for (size_t n = graph->node_count; n-- > 0;) {
        const pr_node *node = &graph->nodes[n];
        bool any = false;
        for (int o = 0; o < node->outputs; o++)
            any = any || run->needed[node->out[o]];
        for (int i = 0; any && i < node->inputs; i++) {
            if (node->in[i] >= 0)
                run->needed[node->in[i]] = true;
        }
    }
}

static parry_status feed(parry_ctx *ctx, struct run *run, const pr_ref_feed *feeds, size_t feed_count)
{
    for (size_t f = 0; f < feed_count; f++)
        run->data[feeds[f].value] = feeds[f].data;
    for (size_t v = 0; v < run->graph->value_count; v++) {
        const pr_value_info *value = &run->graph->values[v];
        if (value->kind == PR_VALUE_WEIGHT && !run->data[v])
            run->data[v] = run->weights->items[value->weight].data;
        if (value->kind == PR_VALUE_INPUT && run->needed[v] && !run->data[v])
            return pr_fail(ctx, PARRY_INVALID, "nothing is fed to the input '%s'", value->name);
    }
    return PARRY_OK;
}

static parry_status run_node(parry_ctx *ctx, struct run *run, const pr_node *node, uint64_t seed, uint64_t step)
{
    const float *in[PR_NODE_IN] = {0};
    float *out[PR_NODE_OUT] = {0};
    bool any = false;

    for (int o = 0; o < node->outputs; o++)
        any = any || run->needed[node->out[o]];
    if (!any)
        return PARRY_OK;
    for (int i = 0; i < node->inputs; i++)
        in[i] = node->in[i] >= 0 ? run->data[node->in[i]] : NULL;
    for (int o = 0; o < node->outputs; o++) {
        int64_t count = pr_dims_count(run->graph->values[node->out[o]].dims, run->batch);
        TRY(pr_alloc_raw(ctx, count, &run->owned[node->out[o]]));
        run->data[node->out[o]] = out[o] = run->owned[node->out[o]];
    }
    return pr_ref_node(ctx, run->graph, node, run->batch, in, out, seed, step);
}

parry_status pr_ref_run(parry_ctx *ctx, const pr_graph *graph, const pr_weights *weights, int64_t batch,
                        const pr_ref_feed *feeds, size_t feed_count, const pr_value *wanted, size_t wanted_count,
                        float *const *results, uint64_t seed, uint64_t step)
{
    parry_status status;
    struct run run = {.graph = graph, .weights = weights, .batch = batch};

    TRY_TO(done, pr_alloc(ctx, graph->value_count, &run.needed));
    TRY_TO(done, pr_alloc(ctx, graph->value_count, &run.data));
    TRY_TO(done, pr_alloc(ctx, graph->value_count, &run.owned));
    find_needed(&run, wanted, wanted_count);
    TRY_TO(done, feed(ctx, &run, feeds, feed_count));
    for (size_t n = 0; n < graph->node_count; n++)
        TRY_TO(done, run_node(ctx, &run, &graph->nodes[n], seed, step));
    for (size_t w = 0; w < wanted_count; w++) {
        int64_t count = pr_dims_count(graph->values[wanted[w]].dims, batch);
        memcpy(results[w], run.data[wanted[w]], (size_t)count * sizeof(float));
    }
done:
    for (size_t v = 0; run.owned && v < graph->value_count; v++)
        pr_free(run.owned[v]);
    pr_free(run.owned);
    pr_free((void *)run.data);
    pr_free(run.needed);
    return status;
}
