/* What the files of this layer share. */
#ifndef PR_GRAPH_INTERNAL_H
#define PR_GRAPH_INTERNAL_H

#include "graph/graph.h"

/* Appends a value; its name is copied and made unique. */
PARRY_CHECKED parry_status pr_graph_add_value(parry_ctx *ctx, pr_graph *graph, const pr_value_info *info,
                                              pr_value *out);
/* The value of that name, or -1. */
pr_value pr_graph_find(const pr_graph *graph, const char *name);
/* Shapes of the outputs of `node`, whose inputs are set. PARRY_MISMATCH names the node. */
PARRY_CHECKED parry_status pr_graph_infer(parry_ctx *ctx, const pr_graph *graph, const pr_node *node,
                                          pr_dims out[PR_NODE_OUT]);

enum { PR_DIMS_TEXT = 160 };
/* "N x 3 x 32 x 32" */
const char *pr_dims_text(pr_dims dims, char text[PR_DIMS_TEXT]);

#endif
