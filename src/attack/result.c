/* Attacking a dataset, and measuring what came of it. */
#include <stdio.h>

#include "attack/attack.h"

/* What the measuring needs besides the result. */
typedef struct dataset_call {
    const parry_attack *attack;
    const parry_threat *threat;
    const parry_model *model;
    const int32_t *labels;
    int64_t n, row;
    int classes;
    float *images, *clean_logits, *loss;
} dataset_call;

static int64_t count_right(const dataset_call *call, const float *logits, bool *fooled)
{
    int64_t right = 0;
    for (int64_t i = 0; i < call->n; i++) {
        bool is_right = pr_argmax(logits + i * call->classes, call->classes) == call->labels[i];
        right += is_right;
        if (fooled)
            fooled[i] = !is_right;
    }
    return right;
}

/* Everything is taken from the images that were handed over and from the logits on them, nothing from the attack's own
 * account. */
static void measure(const dataset_call *call, parry_attack_result *out)
{
    const double n = (double)call->n;
    out->clean_acc = (double)count_right(call, call->clean_logits, NULL) / n;
    out->robust_acc = (double)count_right(call, out->logits, out->fooled) / n;
    pr_loss_at(0)->rows(NULL, call->n, call->classes, out->logits, call->labels, call->loss, NULL);
    double loss = 0, norm = 0;
    for (int64_t i = 0; i < call->n; i++) {
        double size = pr_distance_row(call->threat->norm, out->adversaries + i * call->row,
                                      call->images + i * call->row, call->row);
        loss += call->loss[i];
        norm += size;
        out->max_norm = PR_MAX(out->max_norm, size);
    }
    out->adv_loss = loss / n;
    out->mean_norm = norm / n;
}

static parry_status run(parry_ctx *ctx, const parry_dataset *dataset, dataset_call *call, parry_attack_result *out)
{
    const int64_t n = call->n;
    char task[128];
    TRY(pr_alloc_raw(ctx, n * call->row, &call->images));
    TRY(pr_alloc_raw(ctx, n * call->classes, &call->clean_logits));
    TRY(pr_alloc_raw(ctx, n, &call->loss));
    TRY(pr_alloc_raw(ctx, n * call->row, &out->adversaries));
    TRY(pr_alloc_raw(ctx, n * call->classes, &out->logits));
    TRY(pr_alloc_raw(ctx, n, &out->fooled));
    out->count = n;
    snprintf(task, sizeof task, "%s eps %.4g", call->attack->label, call->threat->eps);
    parry_dataset_images(dataset, 0, n, call->images);
    TRY(parry_model_logits(ctx, call->model, call->images, n, call->clean_logits));
    pr_attack_request request = {
        .attack = call->attack,
        .threat = call->threat,
        .model = call->model,
        .x = call->images,
        .labels = call->labels,
        .n = n,
        .seed = parry_ctx_seed(ctx),
        .task = task,
        .adv = out->adversaries,
        .logits = out->logits,
    };
    TRY(pr_attack_rows(ctx, &request));
    out->forward_queries = request.forward_queries;
    out->gradient_queries = request.gradient_queries;
    measure(call, out);
    return PARRY_OK;
}

parry_status parry_attack_run(parry_ctx *ctx, const parry_attack *attack, const parry_threat *threat,
                              const parry_model *model, const parry_dataset *dataset, parry_attack_result *out)
{
    const parry_dataset_info *data = parry_dataset_describe(dataset);
    dataset_call call = {
        .attack = attack,
        .threat = threat,
        .model = model,
        .labels = parry_dataset_labels(dataset),
        .n = data->count,
        .row = pr_model_row(model),
        .classes = pr_model_classes(model),
    };
    *out = (parry_attack_result){0};
    if (call.n == 0)
        return pr_fail(ctx, PARRY_INVALID, "%s holds no images", data->name);
    TRY(parry_threat_check(ctx, threat));
    TRY(pr_model_check_dataset(ctx, model, dataset));
    if (attack->impl->review)
        attack->impl->review(ctx, pr_attack_params(attack), threat);
    parry_status status = run(ctx, dataset, &call, out);
    pr_free(call.images);
    pr_free(call.clean_logits);
    pr_free(call.loss);
    if (status != PARRY_OK)
        parry_attack_result_clear(out);
    return status;
}

void parry_attack_result_clear(parry_attack_result *result)
{
    pr_free(result->adversaries);
    pr_free(result->logits);
    pr_free(result->fooled);
    *result = (parry_attack_result){0};
}
