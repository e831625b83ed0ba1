/* Networks as text: the lists of what there is, execution plans, drawings. */
#include <pthread.h>
#include <string.h>

#include "model/network.h"

enum { ARCHS_MAX = 64, TRAINING_BATCH = 64 };

static const char *arch_names[ARCHS_MAX + 1];

static void list_archs(void)
{
    for (size_t i = 0; i < ARCHS_MAX && pr_arch_at(i); i++)
        arch_names[i] = pr_arch_at(i)->name;
}

const char *const *parry_arch_list(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, list_archs);
    return arch_names;
}

const char *const *parry_loss_list(void)
{
    return pr_loss_names();
}

static parry_status plan_text(parry_ctx *ctx, const pr_network *network, pr_purpose purpose,
                              parry_precision precision, char **out)
{
    pr_plan *plan;
    pr_plan_options options = {.backend = PR_BACKEND_AUTO, .precision = precision};
    TRY(pr_plan_create(ctx, network->graph, network->file.weights, purpose, &options, &plan));
    parry_status status = pr_plan_text(ctx, plan, out);
    pr_plan_free(plan);
    return status;
}

/* The trainer takes no step and is not synchronised: the weights stay as they are. */
static parry_status training_text(parry_ctx *ctx, const pr_network *network, parry_precision precision, char **out)
{
    pr_trainer *trainer;
    TRY(pr_trainer_create(ctx, network->graph, network->file.weights, TRAINING_BATCH, &pr_optimiser_at(0)->rule,
                          PR_BACKEND_AUTO, precision, &trainer));
    parry_status status = pr_trainer_text(ctx, trainer, out);
    pr_trainer_free(trainer);
    return status;
}

parry_status parry_model_plan_text(parry_ctx *ctx, const parry_model *model, const char *purpose,
                                   parry_precision precision, char **out)
{
    const pr_network *network;
    *out = NULL;
    TRY(pr_network_of(ctx, model, &network));
    if (strcmp(purpose, "inference") == 0)
        return plan_text(ctx, network, PR_INFERENCE, precision, out);
    if (strcmp(purpose, "gradient") == 0)
        return plan_text(ctx, network, PR_INPUT_GRADIENT, precision, out);
    if (strcmp(purpose, "training") == 0)
        return training_text(ctx, network, precision, out);
    return pr_fail(ctx, PARRY_INVALID, "there are no plans for '%s'; expected inference, gradient or training",
                   purpose);
}

parry_status parry_model_dot(parry_ctx *ctx, const parry_model *model, char **out)
{
    const pr_network *network;
    *out = NULL;
    TRY(pr_network_of(ctx, model, &network));
    return pr_graph_dot(ctx, network->graph, out);
}
