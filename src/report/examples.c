/* The pictures of a report: a few images, chosen by label alone, and what the strongest attack makes of them against
 * each model. */
#include <string.h>

#include "attack/impl.h"
#include "data/data.h"
#include "report/report.h"

/* The first image of each class, then the second of each ...: chosen by label alone, so that no picture is there for
 * its outcome. The order is that of the dataset within each round. */
static void choose_examples(parry_evaluation *ev, const int32_t *labels, int64_t *seen)
{
    int64_t chosen = 0;
    for (int64_t round = 0; chosen < ev->example_count; round++) {
        memset(seen, 0, (size_t)ev->dataset->classes * sizeof *seen);
        for (int64_t i = 0; i < ev->dataset->count && chosen < ev->example_count; i++)
            if (seen[labels[i]]++ == round) {
                ev->example_index[chosen] = i;
                ev->example_labels[chosen++] = labels[i];
            }
    }
}

static parry_status list_examples(parry_ctx *ctx, parry_evaluation *ev)
{
    int64_t *seen;
    TRY(pr_alloc(ctx, ev->example_count, &ev->example_index));
    TRY(pr_alloc(ctx, ev->example_count, &ev->example_labels));
    TRY(pr_alloc(ctx, ev->dataset->classes, &seen));
    choose_examples(ev, parry_dataset_labels(ev->data), seen);
    pr_free(seen);
    return PARRY_OK;
}

/* The largest logit's class and its softmax. */
static void read_logits(const float *logits, int classes, int *predicted, double *confidence)
{
    *predicted = PR_MAX(0, pr_argmax(logits, classes));
    *confidence = 1 / pr_softmax_total(logits, classes, *predicted);
}

static parry_status attack_examples(parry_ctx *ctx, parry_evaluation *ev, const parry_model *model, pr_eval_model *out,
                                    float *before, float *after)
{
    const int classes = out->info->classes;
    const int64_t values = ev->example_count * out->images->channels * out->images->height * out->images->width;
    parry_threat threat = pr_eval_threat(ev, ev->example_eps);
    TRY(pr_alloc(ctx, ev->example_count, &out->examples));
    TRY(pr_alloc(ctx, values, &out->originals));
    TRY(pr_alloc(ctx, values, &out->adversaries));
    TRY(pr_dataset_read(ctx, out->data, ev->example_index, 0, ev->example_count, true, out->originals));
    TRY(parry_model_logits(ctx, model, out->originals, ev->example_count, before));
    pr_attack_request request = {
        .attack = ev->attacks[ev->strongest].attack,
        .threat = &threat,
        .model = model,
        .x = out->originals,
        .labels = ev->example_labels,
        .index = ev->example_index,
        .n = ev->example_count,
        .seed = ev->seed,
        .task = "pictures",
        .adv = out->adversaries,
        .logits = after,
    };
    TRY(pr_attack_rows(ctx, &request));
    for (int64_t i = 0; i < ev->example_count; i++) {
        pr_eval_example *example = &out->examples[i];
        read_logits(before + i * classes, classes, &example->before, &example->before_confidence);
        read_logits(after + i * classes, classes, &example->after, &example->after_confidence);
    }
    return PARRY_OK;
}

parry_status pr_eval_examples(parry_ctx *ctx, parry_evaluation *ev, const parry_model *const *models, int64_t count)
{
    parry_status status;
    float *before = NULL, *after = NULL;
    int classes = 0; /* of the model that has most */
    for (int m = 0; m < ev->model_count; m++)
        classes = PR_MAX(classes, ev->models[m].info->classes);
    ev->example_count = PR_MIN(count, ev->dataset->count);
    if (ev->example_count == 0)
        return PARRY_OK;
    ev->example_eps = ev->eps.value[0];
    for (int e = 1; e < ev->eps.count; e++)
        ev->example_eps = PR_MIN(ev->example_eps, ev->eps.value[e]);
    TRY(list_examples(ctx, ev));
    TRY_TO(done, pr_alloc(ctx, ev->example_count * classes, &before));
    TRY_TO(done, pr_alloc(ctx, ev->example_count * classes, &after));
    for (int m = 0; m < ev->model_count; m++)
        TRY_TO(done, attack_examples(ctx, ev, models[m], &ev->models[m], before, after));
done:
    pr_free(before);
    pr_free(after);
    return status;
}
