/* libFuzzer target: the ONNX importer over arbitrary bytes; what it accepts is compiled and run, forward and backward,
 * where it is small. Run it with fuzz/corpus/onnx and tests/golden/onnx as seeds. */
#include <stdlib.h>

#include "engine/engine.h"
#include "onnx/onnx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { LARGEST = 1 << 14, NODES_MOST = 64 };

/* Whether a run takes no longer than reading a file does: sizes of values, and for windows what they look at. */
static bool is_small(const pr_onnx_model *model)
{
    const pr_graph *graph = model->graph;
    int64_t sum = 0;
    for (size_t v = 0; v < graph->value_count; v++) {
        const int64_t row = pr_dims_row(graph->values[v].dims);
        if (row > LARGEST || (sum += row) > 4 * LARGEST)
            return false;
    }
    for (size_t n = 0; n < graph->node_count; n++) {
        const pr_node *node = &graph->nodes[n];
        const bool pool = node->op == PR_OP_MAX_POOL || node->op == PR_OP_AVERAGE_POOL;
        if (pool && (int64_t)node->attrs.pool.kernel[0] * node->attrs.pool.kernel[1] > 1 << 8)
            return false;
    }
    return graph->node_count <= NODES_MOST;
}

/* Errors are for the caller of a plan as well; only memory and time must hold. */
static void run(parry_ctx *ctx, const pr_onnx_model *model)
{
    const pr_plan_options options = {.micro_batch = 1};
    pr_plan *plan = NULL;
    pr_workspace *workspace = NULL;
    float *x = calloc(3 * LARGEST, sizeof *x);
    if (!x)
        abort();
    if (pr_plan_create(ctx, model->graph, model->weights, PR_INPUT_GRADIENT, &options, &plan) == PARRY_OK &&
        pr_workspace_create(ctx, plan, &workspace) == PARRY_OK &&
        pr_plan_forward(ctx, plan, workspace, x, 1, x + LARGEST) == PARRY_OK &&
        pr_plan_backward(ctx, plan, workspace, x + LARGEST, 1, x + 2 * LARGEST) != PARRY_OK)
        abort();
    pr_workspace_free(workspace);
    pr_plan_free(plan);
    free(x);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    parry_ctx *ctx;
    pr_onnx_model model;
    if (parry_ctx_create(NULL, &ctx) != PARRY_OK)
        abort();
    if (pr_onnx_decode(ctx, "fuzz", NULL, data, size, NULL, &model) == PARRY_OK) {
        if (pr_graph_check(ctx, model.graph, model.weights) != PARRY_OK)
            abort();
        if (is_small(&model))
            run(ctx, &model);
    }
    pr_onnx_clear(&model);
    parry_ctx_free(ctx);
    return 0;
}
