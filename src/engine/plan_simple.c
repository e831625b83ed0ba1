/* The engine's interface on the oracle alone: slow, and right. */
#include <string.h>

#include "engine/engine.h"

struct pr_plan {
    pr_graph *graph;
    const pr_weights *weights;
    int micro_batch;
    pr_value seed, dx;               /* -1 without gradients */
};

struct pr_workspace {
    float *x;                        /* of the last forward pass, for the backward passes */
};

enum { DEFAULT_MICRO_BATCH = 32 };

parry_status pr_plan_create(parry_ctx *ctx, const pr_graph *graph, const pr_weights *weights, pr_purpose purpose,
                            const pr_plan_options *options, pr_plan **out)
{
    parry_status status;
    pr_weights *none;
    pr_plan *plan;

    *out = NULL;
    TRY(pr_alloc(ctx, 1, &plan));
    plan->weights = weights;
    plan->seed = plan->dx = -1;
    plan->micro_batch = options && options->micro_batch > 0 ? options->micro_batch : DEFAULT_MICRO_BATCH;
    TRY_TO(fail, pr_graph_to_inference(ctx, graph, weights, false, &plan->graph, &none));
    if (purpose == PR_INPUT_GRADIENT)
        TRY_TO(fail, pr_graph_differentiate(ctx, plan->graph, plan->graph->logits, &plan->graph->input, 1, &plan->seed,
                                            &plan->dx));
    *out = plan;
    return PARRY_OK;
fail:
    pr_plan_free(plan);
    return status;
}

void pr_plan_free(pr_plan *plan)
{
    if (!plan)
        return;
    pr_graph_free(plan->graph);
    pr_free(plan);
}

int pr_plan_micro_batch(const pr_plan *plan)
{
    return plan->micro_batch;
}

parry_status pr_plan_text(parry_ctx *ctx, const pr_plan *plan, char **out)
{
    pr_text text = {0};
    for (size_t n = 0; n < plan->graph->node_count; n++)
        pr_text_add(&text, "%-24s plain C  %s\n", pr_op_name(plan->graph->nodes[n].op), plan->graph->nodes[n].name);
    return pr_text_take(ctx, &text, out);
}

int pr_plan_reference_steps(const pr_plan *plan)
{
    (void)plan;
    return 0;
}

parry_status pr_plan_refresh(parry_ctx *ctx, pr_plan *plan)
{
    (void)ctx;
    (void)plan;
    return PARRY_OK;
}

parry_status pr_workspace_create(parry_ctx *ctx, const pr_plan *plan, pr_workspace **out)
{
    TRY(pr_alloc(ctx, 1, out));
    parry_status status = pr_alloc(ctx, pr_dims_count(plan->graph->values[plan->graph->input].dims, plan->micro_batch),
                                   &(*out)->x);
    if (status != PARRY_OK) {
        pr_workspace_free(*out);
        *out = NULL;
    }
    return status;
}

void pr_workspace_free(pr_workspace *workspace)
{
    if (!workspace)
        return;
    pr_free(workspace->x);
    pr_free(workspace);
}

parry_status pr_plan_forward(parry_ctx *ctx, const pr_plan *plan, pr_workspace *workspace, const float *x, int n,
                             float *logits)
{
    const pr_graph *graph = plan->graph;
    pr_ref_feed feed = {graph->input, x};
    memcpy(workspace->x, x, (size_t)pr_dims_count(graph->values[graph->input].dims, n) * sizeof(float));
    return pr_ref_run(ctx, graph, plan->weights, n, &feed, 1, &graph->logits, 1, &logits, 0, 0);
}

parry_status pr_plan_backward(parry_ctx *ctx, const pr_plan *plan, pr_workspace *workspace, const float *dlogits, int n,
                              float *dx)
{
    pr_ref_feed feeds[] = {{plan->graph->input, workspace->x}, {plan->seed, dlogits}};
    if (plan->dx < 0) {
        memset(dx, 0, (size_t)pr_dims_count(plan->graph->values[plan->graph->input].dims, n) * sizeof(float));
        return PARRY_OK;
    }
    return pr_ref_run(ctx, plan->graph, plan->weights, n, feeds, 2, &plan->dx, 1, &dx, 0, 0);
}

const char *pr_engine_version(void)
{
    return "plain C";
}
