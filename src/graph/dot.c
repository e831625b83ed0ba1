/* Graphviz: a box per node, an oval per input, an edge per value with its shape; weights are listed in the box. */
#include <string.h>

#include "graph/internal.h"

/* Text inside double quotes. */
static void add_quoted(pr_text *text, const char *string)
{
    for (const char *c = string; *c; c++) {
        if (*c == '"' || *c == '\\')
            pr_text_bytes(text, "\\", 1);
        pr_text_bytes(text, (unsigned char)*c < ' ' ? " " : c, 1);
    }
}

static void add_node(pr_text *text, const pr_graph *graph, size_t n)
{
    char shape[PR_DIMS_TEXT];
    const pr_node *node = &graph->nodes[n];

    pr_text_add(text, "  n%zu [shape=box, label=\"%s\\n", n, pr_op_name(node->op));
    add_quoted(text, node->name);
    for (int i = 0; i < node->inputs; i++) {
        if (node->in[i] >= 0 && graph->values[node->in[i]].kind == PR_VALUE_WEIGHT) {
            pr_text_add(text, "\\n");
            add_quoted(text, graph->values[node->in[i]].name);
            pr_text_add(text, " %s", pr_dims_text(graph->values[node->in[i]].dims, shape));
        }
    }
    pr_text_add(text, "\"];\n");
    for (int i = 0; i < node->inputs; i++) {
        const pr_value_info *value = node->in[i] >= 0 ? &graph->values[node->in[i]] : NULL;
        if (value && value->kind == PR_VALUE_NODE)
            pr_text_add(text, "  n%d -> n%zu [label=\"%s\"];\n", value->producer, n, pr_dims_text(value->dims, shape));
        if (value && value->kind == PR_VALUE_INPUT)
            pr_text_add(text, "  v%d -> n%zu [label=\"%s\"];\n", node->in[i], n, pr_dims_text(value->dims, shape));
    }
}

parry_status pr_graph_dot(parry_ctx *ctx, const pr_graph *graph, char **out)
{
    pr_text text = {0};

    pr_text_add(&text, "digraph network {\n");
    for (size_t v = 0; v < graph->value_count; v++) {
        if (graph->values[v].kind != PR_VALUE_INPUT)
            continue;
        pr_text_add(&text, "  v%zu [shape=oval, label=\"", v);
        add_quoted(&text, graph->values[v].name);
        pr_text_add(&text, "\"];\n");
    }
    for (size_t n = 0; n < graph->node_count; n++)
        add_node(&text, graph, n);
    if (graph->logits >= 0 && graph->values[graph->logits].kind == PR_VALUE_NODE)
        pr_text_add(&text, "  logits [shape=oval];\n  n%d -> logits;\n", graph->values[graph->logits].producer);
    pr_text_add(&text, "}\n");
    return pr_text_take(ctx, &text, out);
}
