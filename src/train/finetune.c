/* Fine-tuning: adversaries of the model as given are made once, and the model is trained on them.
 *
 * The model then knows these very images; attacked afresh it falls again, which is why it is scored on fresh
 * adversaries. A share of clean images below 1 keeps it from forgetting them. */
#include <math.h>
#include <string.h>

#include "data/data.h"
#include "train/train.h"

/* The images that are tuned on: `attacked` adversaries, then `clean` originals. */
typedef struct tuning_set {
    const parry_dataset *source;
    int64_t attacked, clean;
    int64_t row;
    float *images;
    int32_t *labels;
} tuning_set;

static parry_status plan_set(parry_ctx *ctx, const pr_hardening *h, tuning_set *set)
{
    const parry_dataset_info *info = parry_dataset_describe(h->dataset);
    double share = h->harden->share;
    if (share <= 0)
        return pr_fail(ctx, PARRY_INVALID, "--share is 0; finetune needs a share of adversaries above 0");
    set->source = h->dataset;
    set->row = (int64_t)info->channels * info->height * info->width;
    set->attacked = h->harden->adversaries ? PR_MIN(h->harden->adversaries, info->count) : info->count;
    double clean = round((double)set->attacked * (1 - share) / share);
    if (clean > (double)info->count)
        return pr_fail(ctx, PARRY_INVALID, "--share %g asks for %.0f clean images beside %lld adversaries; %s has %lld",
                       share, clean, (long long)set->attacked, info->name, (long long)info->count);
    set->clean = (int64_t)clean;
    TRY(pr_alloc_raw(ctx, (set->attacked + set->clean) * set->row, &set->images));
    return pr_alloc_raw(ctx, set->attacked + set->clean, &set->labels);
}

/* Clean images are those that follow the attacked ones in the dataset, from the start again at its end. */
static parry_status add_clean(parry_ctx *ctx, tuning_set *set)
{
    int64_t count = parry_dataset_describe(set->source)->count;
    const int32_t *labels = parry_dataset_labels(set->source);
    for (int64_t i = set->attacked; i < set->attacked + set->clean; i++) {
        TRY(pr_dataset_read(ctx, set->source, NULL, i % count, 1, true, set->images + i * set->row));
        set->labels[i] = labels[i % count];
    }
    return PARRY_OK;
}

static parry_status add_adversaries(parry_ctx *ctx, const parry_model *model, const pr_hardening *h,
                                    const parry_attack *attack, tuning_set *set)
{
    parry_dataset *first;
    parry_attack_result result = {0};
    TRY(parry_dataset_first(ctx, set->source, set->attacked, &first));
    parry_status status = parry_attack_run(ctx, attack, h->threat, model, first, &result);
    if (status == PARRY_OK) {
        pr_copy(set->images, result.adversaries, set->attacked * set->row);
        memcpy(set->labels, parry_dataset_labels(first), (size_t)set->attacked * sizeof *set->labels);
        pr_log(ctx, PARRY_LOG_INFO, "%lld adversaries made; the model is right on %.2f %% of them",
               (long long)result.count, 100 * result.robust_acc);
    }
    parry_attack_result_clear(&result);
    parry_dataset_free(first);
    return status;
}

static parry_status make_set(parry_ctx *ctx, const parry_model *model, const pr_hardening *h,
                             const parry_attack *attack, tuning_set *set, parry_dataset **out)
{
    const parry_dataset_info *info = parry_dataset_describe(h->dataset);
    TRY(plan_set(ctx, h, set));
    TRY(add_adversaries(ctx, model, h, attack, set));
    TRY(add_clean(ctx, set));
    return parry_dataset_create(ctx, set->images, set->labels, set->attacked + set->clean, info->channels, info->height,
                                info->width, parry_model_describe(model)->classes, out);
}

static parry_status tune(parry_ctx *ctx, parry_model *model, const pr_hardening *h, const parry_attack *attack,
                         const char *spec)
{
    tuning_set set = {0};
    parry_dataset *data = NULL;
    parry_status status = make_set(ctx, model, h, attack, &set, &data);
    pr_free(set.images);
    pr_free(set.labels);
    if (status != PARRY_OK)
        return status;
    pr_stage stage = {
        .method = "finetune",
        .settings = h->settings,
        .source = h->dataset,
        .data = data,
        .test = h->test,
        .attack = attack,
        .attack_spec = spec,
        .threat = h->threat,
        .share = h->harden->share,
        .extra =
            json_pack("{s:I, s:I}", "adversaries", (json_int_t)set.attacked, "clean_images", (json_int_t)set.clean),
    };
    status =
        stage.extra ? pr_stage_run(ctx, model, &stage) : pr_fail(ctx, PARRY_NO_MEMORY, "out of memory for the history");
    json_decref(stage.extra);
    parry_dataset_free(data);
    return status;
}

static parry_status finetune_run(parry_ctx *ctx, parry_model *model, const pr_hardening *h)
{
    const char *spec = h->harden->attack ? h->harden->attack : "fgsm";
    parry_attack *attack;
    TRY(pr_training_attack(ctx, spec, &attack));
    parry_status status = tune(ctx, model, h, attack, spec);
    parry_attack_free(attack);
    return status;
}

const pr_defence pr_defence_finetune = {
    .name = "finetune",
    .summary = "adversaries of the model as given are made once, and it is trained on them",
    .defaults = {"epochs=10 lr=1e-4 eps=0.1 share=1"},
    .run = finetune_run,
};
