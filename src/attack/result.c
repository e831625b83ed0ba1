/* Attacking a dataset, and measuring what came of it. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "attack/attack.h"

/* What the measuring needs besides the result. */
typedef struct dataset_call {
    const parry_attack *attack;
    const parry_threat *threat;
    const parry_eps_search *search; /* NULL: the threat's eps */
    const parry_model *model;
    const int32_t *labels;
    bool keep_pixels; /* in the result */
    pr_aim *aim;
    int64_t n, row;
    int classes;
    float *loss;
    double *sizes;
    pr_goal *goals;
} dataset_call;

/* Accuracies are over the images that have labels. */
static void count_right(const dataset_call *call, parry_attack_result *out)
{
    int64_t clean = 0, robust = 0;
    for (int64_t i = 0; i < call->n; i++) {
        const int32_t label = out->labels[i];
        out->fooled[i] = pr_argmax(out->logits + i * call->classes, call->classes) != label;
        if (call->labels[i] < 0) {
            out->unlabelled++;
            continue;
        }
        clean += pr_argmax(out->clean_logits + i * call->classes, call->classes) == label;
        robust += !out->fooled[i];
    }
    const double labelled = (double)(call->n - out->unlabelled);
    out->clean_acc = labelled > 0 ? (double)clean / labelled : NAN;
    out->robust_acc = labelled > 0 ? (double)robust / labelled : NAN;
}

static void count_met(const dataset_call *call, parry_attack_result *out)
{
    int64_t before = 0, after = 0;
    for (int64_t i = 0; i < call->n; i++) {
        before += pr_aim_met(call->aim, out->clean_logits + i * call->classes, call->classes, call->goals[i]);
        out->met[i] = pr_aim_met(call->aim, out->logits + i * call->classes, call->classes, call->goals[i]);
        after += out->met[i];
    }
    out->clean_met = (double)before / (double)call->n;
    out->success_rate = (double)after / (double)call->n;
}

/* Everything is taken from the images that were handed over and from the logits on them, nothing from the attack's own
 * account. */
static void measure(const dataset_call *call, parry_attack_result *out)
{
    for (int64_t i = 0; i < call->n; i++) {
        out->labels[i] = call->goals[i].label;
        out->targets[i] = call->goals[i].target;
    }
    count_right(call, out);
    count_met(call, out);
    pr_loss_at(0)->rows(NULL, call->n, call->classes, out->logits, out->labels, call->loss, NULL);
    double loss = 0, norm = 0;
    for (int64_t i = 0; i < call->n; i++) {
        loss += call->loss[i];
        norm += call->sizes[i];
        out->max_norm = PR_MAX(out->max_norm, call->sizes[i]);
    }
    out->adv_loss = loss / (double)call->n;
    out->mean_norm = norm / (double)call->n;
}

static parry_status allocate(parry_ctx *ctx, dataset_call *call, parry_attack_result *out)
{
    const int64_t n = call->n, pixels = n * call->row, logits = n * call->classes;
    TRY(pr_alloc_raw(ctx, n, &call->loss));
    TRY(pr_alloc_raw(ctx, n, &call->sizes));
    TRY(pr_alloc_raw(ctx, n, &call->goals));
    if (call->keep_pixels) {
        TRY(pr_alloc_raw(ctx, pixels, &out->originals));
        TRY(pr_alloc_raw(ctx, pixels, &out->adversaries));
    }
    TRY(pr_alloc_raw(ctx, logits, &out->clean_logits));
    TRY(pr_alloc_raw(ctx, logits, &out->logits));
    TRY(pr_alloc_raw(ctx, n, &out->labels));
    TRY(pr_alloc_raw(ctx, n, &out->targets));
    TRY(pr_alloc_raw(ctx, n, &out->fooled));
    TRY(pr_alloc_raw(ctx, n, &out->met));
    if (call->search) {
        TRY(pr_alloc_raw(ctx, n, &out->minimal_eps));
        TRY(pr_alloc_raw(ctx, n, &out->failed_eps));
    }
    return PARRY_OK;
}

static parry_status run(parry_ctx *ctx, const parry_dataset *dataset, dataset_call *call, parry_attack_result *out)
{
    const int64_t n = call->n;
    char task[128];
    TRY(pr_aim_create(ctx, call->threat, call->model, &call->aim));
    TRY(allocate(ctx, call, out));
    out->count = n;
    snprintf(task, sizeof task, "%s eps %s%.4g", call->attack->label, call->search ? "up to " : "", call->threat->eps);
    TRY(pr_model_pass(ctx, call->model,
                      &(pr_dataset_pass){.dataset = dataset,
                                         .n = n,
                                         .prepare = call->threat->quantize ? pr_grid_round : NULL,
                                         .keep = true,
                                         .images = out->originals,
                                         .logits = out->clean_logits}));
    pr_attack_request request = {
        .attack = call->attack,
        .threat = call->threat,
        .aim = call->aim,
        .model = call->model,
        .x = out->originals,
        .dataset = dataset,
        .labels = call->labels,
        .n = n,
        .seed = parry_ctx_seed(ctx),
        .task = task,
        .adv = out->adversaries,
        .sizes = call->sizes,
        .logits = out->logits,
        .goals = call->goals,
        .search = call->search,
        .minimal_eps = out->minimal_eps,
        .failed_eps = out->failed_eps,
    };
    TRY(pr_attack_rows(ctx, &request));
    out->forward_queries = request.forward_queries;
    out->gradient_queries = request.gradient_queries;
    measure(call, out);
    return PARRY_OK;
}

static parry_status check_search(parry_ctx *ctx, const parry_eps_search *search)
{
    if (search && (search->scan < 0 || !(search->resolution > 0)))
        return pr_fail(ctx, PARRY_INVALID,
                       "the search for the smallest eps has %lld radii and a resolution of %g; expected 0 or "
                       "more, and a resolution of more than 0",
                       (long long)search->scan, search->resolution);
    return PARRY_OK;
}

static parry_status run_dataset(parry_ctx *ctx, dataset_call *call, const parry_dataset *dataset,
                                parry_attack_result *out)
{
    const parry_dataset_info *data = parry_dataset_describe(dataset);
    call->labels = parry_dataset_labels(dataset);
    call->n = data->count;
    call->row = pr_model_row(call->model);
    call->classes = pr_model_classes(call->model);
    *out = (parry_attack_result){0};
    if (call->n == 0)
        return pr_fail(ctx, PARRY_INVALID, "%s holds no images", data->name);
    TRY(parry_threat_check(ctx, call->threat));
    TRY(check_search(ctx, call->search));
    TRY(pr_model_check_dataset(ctx, call->model, dataset));
    pr_attack_review(ctx, call->attack, call->threat);
    parry_status status = run(ctx, dataset, call, out);
    pr_aim_free(call->aim);
    pr_free(call->loss);
    pr_free(call->sizes);
    pr_free(call->goals);
    if (status != PARRY_OK)
        parry_attack_result_clear(out);
    return status;
}

parry_status parry_attack_run(parry_ctx *ctx, const parry_attack *attack, const parry_threat *threat,
                              const parry_model *model, const parry_dataset *dataset, parry_attack_result *out)
{
    dataset_call call = {.attack = attack, .threat = threat, .model = model, .keep_pixels = true};
    return run_dataset(ctx, &call, dataset, out);
}

parry_status pr_attack_score(parry_ctx *ctx, const parry_attack *attack, const parry_threat *threat,
                             const parry_model *model, const parry_dataset *dataset, parry_attack_result *out)
{
    dataset_call call = {.attack = attack, .threat = threat, .model = model};
    return run_dataset(ctx, &call, dataset, out);
}

parry_status parry_attack_minimal_eps(parry_ctx *ctx, const parry_attack *attack, const parry_threat *threat,
                                      const parry_eps_search *search, const parry_model *model,
                                      const parry_dataset *dataset, parry_attack_result *out)
{
    dataset_call call = {.attack = attack, .threat = threat, .search = search, .model = model, .keep_pixels = true};
    return run_dataset(ctx, &call, dataset, out);
}

void parry_attack_result_clear(parry_attack_result *result)
{
    pr_free(result->originals);
    pr_free(result->adversaries);
    pr_free(result->clean_logits);
    pr_free(result->logits);
    pr_free(result->labels);
    pr_free(result->targets);
    pr_free(result->fooled);
    pr_free(result->met);
    pr_free(result->minimal_eps);
    pr_free(result->failed_eps);
    *result = (parry_attack_result){0};
}

/* ---- what a result says ------------------------------------------------------------------------------------------ */

parry_status parry_attack_judge(parry_ctx *ctx, const parry_threat *threat, const parry_model *model,
                                const parry_attack_result *result, const float *images, bool *met)
{
    const int classes = pr_model_classes(model);
    pr_aim *aim;
    float *logits = NULL;
    TRY(pr_aim_create(ctx, threat, model, &aim));
    parry_status status = pr_alloc_raw(ctx, result->count * classes, &logits);
    if (status == PARRY_OK)
        status = parry_model_logits(ctx, model, images, result->count, logits);
    for (int64_t i = 0; i < result->count && status == PARRY_OK; i++)
        met[i] = pr_aim_met(aim, logits + i * classes, classes, (pr_goal){result->labels[i], result->targets[i]});
    pr_free(logits);
    pr_aim_free(aim);
    return status;
}

/* The k-th smallest, counted from 0, without a sorted copy: the bits of numbers that are not negative are in the order
 * of the numbers, so the smallest bits with more than k numbers up to them are found by halving. */
static double kth_smallest(const parry_attack_result *result, int64_t k)
{
    union {
        double value;
        uint64_t bits;
    } low = {.value = 0}, high = {.value = HUGE_VAL}, middle;
    while (low.bits < high.bits) {
        int64_t up_to = 0;
        middle.bits = low.bits + (high.bits - low.bits) / 2;
        for (int64_t i = 0; i < result->count; i++)
            up_to += result->minimal_eps[i] <= middle.value; /* false for NaN */
        if (up_to > k)
            high = middle;
        else
            low.bits = middle.bits + 1;
    }
    return low.value;
}

double parry_attack_eps_quantile(const parry_attack_result *result, double q, int64_t *found)
{
    int64_t count = 0;
    for (int64_t i = 0; result->minimal_eps && i < result->count; i++)
        count += !isnan(result->minimal_eps[i]);
    if (found)
        *found = count;
    if (count == 0)
        return NAN;
    const double place = PR_MIN(PR_MAX(q, 0.0), 1.0) * (double)(count - 1), low = floor(place);
    const double below = kth_smallest(result, (int64_t)low);
    return place == low ? below : below + (place - low) * (kth_smallest(result, (int64_t)low + 1) - below);
}

parry_budget parry_budget_of(const float *image, const float *adversary, int channels, int height, int width,
                             bool levels)
{
    const int64_t plane = (int64_t)height * width;
    parry_budget budget = {0};
    double squares = 0;
    for (int64_t at = 0; at < plane; at++) {
        bool changed = false;
        for (int c = 0; c < channels; c++) {
            float pair[2] = {image[c * plane + at], adversary[c * plane + at]};
            const double d =
                levels ? pr_grid_distance_row(PARRY_LINF, &pair[0], &pair[1], 1) : fabs((double)pair[0] - pair[1]);
            changed |= d != 0;
            squares += d * d;
            budget.sum += 255 * d;
            budget.linf = PR_MAX(budget.linf, d);
        }
        budget.pixels += changed;
    }
    budget.l2 = sqrt(squares);
    return budget;
}
