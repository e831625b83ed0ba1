/* The form that trains: statistics of the batch instead of the running ones, dropout that drops. */
#include "graph/internal.h"

struct rewrite {
    const pr_graph *from;
    pr_graph *into;
    pr_value *map; /* value of `from` -> value of `into`, -1: not there yet */
    pr_bn_link *links;
    size_t link_count, link_capacity;
};

/* The value of the new graph; leaves are copied when they are first used, so that running statistics stay behind. */
static parry_status mapped(parry_ctx *ctx, struct rewrite *r, pr_value value, pr_value *out)
{
    if (value >= 0 && r->map[value] < 0)
        TRY(pr_graph_add_value(ctx, r->into, &r->from->values[value], &r->map[value]));
    *out = value < 0 ? -1 : r->map[value];
    return PARRY_OK;
}

static parry_status add_link(parry_ctx *ctx, struct rewrite *r, const pr_node *node, const pr_value *out)
{
    const pr_value_info *mean = &r->from->values[node->in[3]], *var = &r->from->values[node->in[4]];
    if (mean->kind != PR_VALUE_WEIGHT || var->kind != PR_VALUE_WEIGHT)
        return pr_fail(ctx, PARRY_UNSUPPORTED,
                       "node '%s' (%s): training needs stored running statistics, these are computed", node->name,
                       pr_op_name(node->op));
    TRY(pr_grow(ctx, r->link_count + 1, &r->link_capacity, &r->links));
    r->links[r->link_count++] = (pr_bn_link){mean->weight, var->weight, out[1], out[3], node->attrs.bn.momentum};
    return PARRY_OK;
}

static parry_status rewrite_node(parry_ctx *ctx, struct rewrite *r, const pr_node *node)
{
    bool batch_norm = node->op == PR_OP_BATCH_NORM, dropout = node->op == PR_OP_DROPOUT;
    pr_op op = batch_norm ? PR_OP_BATCH_NORM_TRAIN : dropout ? PR_OP_DROPOUT_TRAIN : node->op;
    int inputs = batch_norm ? 3 : node->inputs, outputs = batch_norm ? 4 : node->outputs;
    pr_value in[PR_NODE_IN], out[PR_NODE_OUT];

    for (int i = 0; i < inputs; i++)
        TRY(mapped(ctx, r, node->in[i], &in[i]));
    TRY(pr_graph_node_outputs(ctx, r->into, op, node->name, &node->attrs, in, inputs, outputs, out));
    for (int o = 0; o < node->outputs; o++)
        r->map[node->out[o]] = out[o];
    return batch_norm ? add_link(ctx, r, node, out) : PARRY_OK;
}

parry_status pr_graph_to_training(parry_ctx *ctx, const pr_graph *graph, pr_graph **out, pr_bn_link **links,
                                  size_t *link_count)
{
    parry_status status;
    struct rewrite r = {.from = graph};

    *out = NULL;
    *links = NULL;
    *link_count = 0;
    TRY_TO(done, pr_alloc(ctx, graph->value_count, &r.map));
    for (size_t v = 0; v < graph->value_count; v++)
        r.map[v] = -1;
    TRY_TO(done, pr_graph_create(ctx, &r.into));
    TRY_TO(done, mapped(ctx, &r, graph->input, &r.into->input));
    for (size_t n = 0; n < graph->node_count; n++)
        TRY_TO(done, rewrite_node(ctx, &r, &graph->nodes[n]));
    TRY_TO(done, mapped(ctx, &r, graph->logits, &r.into->logits));
    *out = r.into;
    *links = r.links;
    *link_count = r.link_count;
    r.into = NULL;
    r.links = NULL;
done:
    pr_graph_free(r.into);
    pr_free(r.links);
    pr_free(r.map);
    return status;
}
