/* Logits that are doubtful, computed again in plain C.
 *
 * A network may compute what is no number: infinity less infinity after an overflow, 0/0, the root of a negative
 * variance. oneDNN's ReLU and max pooling turn such a NaN into an ordinary number, and out come logits that look sound.
 * Plain C passes it on, as PyTorch does. It is slow, and asked only when the processor saw an invalid operation. */
#include <string.h>

#include "model/network.h"
#include "tensor/tensor.h"

static parry_status replace_unsound(parry_ctx *ctx, const pr_network *network, const pr_plan *plan,
                                    pr_workspace *workspace, const float *x, int n, float *plain, float *logits)
{
    const int64_t row = pr_model_row(&network->base), classes = network->base.info.classes;
    for (int i = 0; i < n; i++) {
        TRY(pr_plan_forward(ctx, plan, workspace, x + i * row, 1, plain));
        if (!pr_all_finite(plain, classes))
            memcpy(logits + i * classes, plain, (size_t)classes * sizeof *plain);
    }
    return PARRY_OK;
}

parry_status pr_network_recompute(parry_ctx *ctx, const pr_network *network, const float *x, int n, float *logits)
{
    const pr_plan_options options = {.backend = PR_BACKEND_REFERENCE, .micro_batch = 1};
    pr_plan *plan = NULL;
    pr_workspace *workspace = NULL;
    float *plain = NULL;
    parry_status status = pr_alloc(ctx, network->base.info.classes, &plain);
    if (status == PARRY_OK)
        status = pr_plan_create(ctx, network->graph, network->file.weights, PR_INFERENCE, &options, &plan);
    if (status == PARRY_OK)
        status = pr_workspace_create(ctx, plan, &workspace);
    if (status == PARRY_OK)
        status = replace_unsound(ctx, network, plan, workspace, x, n, plain, logits);
    pr_workspace_free(workspace);
    pr_plan_free(plan);
    pr_free(plain);
    return status;
}
