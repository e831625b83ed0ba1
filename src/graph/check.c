/* The invariants of a graph. */
#include <string.h>

#include "graph/internal.h"

static parry_status check_value(parry_ctx *ctx, const pr_graph *graph, const pr_weights *weights, pr_value v)
{
    const pr_value_info *value = &graph->values[v];
    if (!value->name || !*value->name || pr_graph_find(graph, value->name) != v)
        return pr_fail(ctx, PARRY_MISMATCH, "value %d: the name '%s' is empty or not unique", v,
                       value->name ? value->name : "");
    if (value->kind == PR_VALUE_NODE) {
        bool produced = false;
        if (value->producer >= 0 && value->producer < (int32_t)graph->node_count) {
            const pr_node *node = &graph->nodes[value->producer];
            for (int o = 0; o < node->outputs; o++)
                produced = produced || node->out[o] == v;
        }
        if (!produced)
            return pr_fail(ctx, PARRY_MISMATCH,
                           "value '%s': the node that it names as its producer does not produce it", value->name);
    }
    if (value->kind == PR_VALUE_WEIGHT && weights) {
        if (value->weight < 0 || (size_t)value->weight >= weights->count)
            return pr_fail(ctx, PARRY_MISMATCH, "value '%s': tensor %d of %zu does not exist", value->name,
                           value->weight, weights->count);
        const pr_weight *item = &weights->items[value->weight];
        if (!pr_dims_equal(value->dims, pr_dims_make(item->rank, item->dim)))
            return pr_fail(ctx, PARRY_MISMATCH, "value '%s': its shape is not that of tensor '%s'", value->name,
                           item->name);
    }
    return PARRY_OK;
}

static parry_status check_node(parry_ctx *ctx, const pr_graph *graph, size_t n)
{
    char found[PR_DIMS_TEXT], expected[PR_DIMS_TEXT];
    pr_dims dims[PR_NODE_OUT];
    const pr_node *node = &graph->nodes[n];

    for (int i = 0; i < node->inputs; i++) {
        if (node->in[i] < 0)
            continue;
        if (node->in[i] >= (pr_value)graph->value_count)
            return pr_fail(ctx, PARRY_MISMATCH, "node '%s': input %d is value %d of %zu", node->name, i, node->in[i],
                           graph->value_count);
        const pr_value_info *value = &graph->values[node->in[i]];
        if (value->kind == PR_VALUE_NODE && value->producer >= (int32_t)n)
            return pr_fail(ctx, PARRY_MISMATCH, "node '%s': input '%s' is produced later", node->name, value->name);
    }
    TRY(pr_graph_infer(ctx, graph, node, dims));
    for (int o = 0; o < node->outputs; o++) {
        if (node->out[o] < 0 || node->out[o] >= (pr_value)graph->value_count)
            return pr_fail(ctx, PARRY_MISMATCH, "node '%s': output %d is value %d of %zu", node->name, o, node->out[o],
                           graph->value_count);
        const pr_value_info *value = &graph->values[node->out[o]];
        if (value->kind != PR_VALUE_NODE || value->producer != (int32_t)n)
            return pr_fail(ctx, PARRY_MISMATCH, "node '%s': output '%s' has another producer", node->name, value->name);
        if (!pr_dims_equal(value->dims, dims[o]))
            return pr_fail(ctx, PARRY_MISMATCH, "node '%s': output '%s' is %s, expected %s", node->name, value->name,
                           pr_dims_text(value->dims, found), pr_dims_text(dims[o], expected));
    }
    return PARRY_OK;
}

parry_status pr_graph_check(parry_ctx *ctx, const pr_graph *graph, const pr_weights *weights)
{
    for (size_t v = 0; v < graph->value_count; v++)
        TRY(check_value(ctx, graph, weights, (pr_value)v));
    for (size_t n = 0; n < graph->node_count; n++)
        TRY(check_node(ctx, graph, n));
    if (graph->input >= (pr_value)graph->value_count || graph->logits >= (pr_value)graph->value_count)
        return pr_fail(ctx, PARRY_MISMATCH, "the network's input or logits are values that do not exist");
    if (graph->logits < 0)
        return PARRY_OK;
    const pr_value_info *logits = &graph->values[graph->logits];
    if (logits->dims.rank != 2 || logits->dims.dim[0] != PR_BATCH)
        return pr_fail(ctx, PARRY_MISMATCH, "the network's output '%s' should be N x classes", logits->name);
    return PARRY_OK;
}
