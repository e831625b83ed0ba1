/* Removes what nothing needs. */
#include "graph/internal.h"

/* Marks what `value` needs, the nodes being in topological order. */
static void mark_needed(const pr_graph *graph, bool *needed)
{
    for (size_t n = graph->node_count; n-- > 0;) {
        const pr_node *node = &graph->nodes[n];
        bool any = false;
        for (int o = 0; o < node->outputs; o++)
            any = any || needed[node->out[o]];
        for (int o = 0; any && o < node->outputs; o++)
            needed[node->out[o]] = true; /* a node keeps all its outputs */
        for (int i = 0; any && i < node->inputs; i++) {
            if (node->in[i] >= 0)
                needed[node->in[i]] = true;
        }
    }
}

/* Copies the needed part of `from` into the empty graph `into`; map[v] becomes the number of v there. */
static parry_status copy_needed(parry_ctx *ctx, const pr_graph *from, const bool *needed, pr_graph *into, pr_value *map)
{
    for (size_t v = 0; v < from->value_count; v++) {
        map[v] = -1;
        if (needed[v])
            TRY(pr_graph_add_value(ctx, into, &from->values[v], &map[v]));
    }
    TRY(pr_grow(ctx, from->node_count, &into->node_capacity, &into->nodes));
    for (size_t n = 0; n < from->node_count; n++) {
        pr_node node = from->nodes[n];
        if (!needed[node.out[0]])
            continue;
        for (int i = 0; i < PR_NODE_IN; i++)
            node.in[i] = node.in[i] < 0 ? -1 : map[node.in[i]];
        for (int o = 0; o < node.outputs; o++) {
            node.out[o] = map[node.out[o]];
            into->values[node.out[o]].producer = (int32_t)into->node_count;
        }
        TRY(pr_strdup(ctx, node.name, &node.name));
        into->nodes[into->node_count++] = node;
    }
    into->input = from->input < 0 ? -1 : map[from->input];
    into->logits = from->logits < 0 ? -1 : map[from->logits];
    return PARRY_OK;
}

parry_status pr_graph_prune(parry_ctx *ctx, pr_graph *graph, pr_value *keep, size_t count)
{
    parry_status status;
    bool *needed = NULL;
    pr_value *map = NULL;
    pr_graph *pruned = NULL;

    TRY_TO(done, pr_alloc(ctx, graph->value_count, &needed));
    TRY_TO(done, pr_alloc(ctx, graph->value_count, &map));
    TRY_TO(done, pr_graph_create(ctx, &pruned));
    if (graph->input >= 0)
        needed[graph->input] = true;
    if (graph->logits >= 0)
        needed[graph->logits] = true;
    for (size_t k = 0; k < count; k++) {
        if (keep[k] >= 0)
            needed[keep[k]] = true;
    }
    mark_needed(graph, needed);
    TRY_TO(done, copy_needed(ctx, graph, needed, pruned, map));
    for (size_t k = 0; k < count; k++)
        keep[k] = keep[k] < 0 ? -1 : map[keep[k]];
    pr_graph old = *graph;
    *graph = *pruned;
    *pruned = old; /* freed below */
done:
    pr_graph_free(pruned);
    pr_free(map);
    pr_free(needed);
    return status;
}

parry_status pr_graph_prune_weights(parry_ctx *ctx, pr_graph *graph, pr_weights *weights)
{
    int32_t *at; /* by weight: its new number; before that whether it is needed */
    size_t kept = 0;
    TRY(pr_alloc(ctx, weights->count, &at));
    for (size_t v = 0; v < graph->value_count; v++)
        if (graph->values[v].kind == PR_VALUE_WEIGHT)
            at[graph->values[v].weight] = 1;
    for (size_t w = 0; w < weights->count; w++) {
        const pr_weight item = weights->items[w];
        if (at[w]) {
            at[w] = (int32_t)kept;
            weights->items[kept++] = item;
        } else {
            pr_free(item.name);
            pr_free(item.data);
        }
    }
    weights->count = kept;
    for (size_t v = 0; v < graph->value_count; v++)
        if (graph->values[v].kind == PR_VALUE_WEIGHT)
            graph->values[v].weight = at[graph->values[v].weight];
    pr_free(at);
    return PARRY_OK;
}
