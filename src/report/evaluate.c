/* Evaluation: every model under every attack at every eps, with fresh adversaries for each, and what follows from them.
 *
 * Fresh adversaries are made against the model that is scored on them. Stale ones are made once, against `source`, and
 * every model is scored on the same images: what a defender sees who tests a hardened model on the adversaries of its
 * predecessor. The worst case counts an image as robust only when no attack fooled it (Carlini et al.,
 * arXiv:1902.06705, "per-example worst case"), over the images that every attack saw. Curves and pictures use the
 * attack that fooled most; both repeat no figure of the tables, so eps 0 of a curve is the clean accuracy of the
 * curve's own images, and a curve is not forced to fall: one that rises tells of an attack that fails. */
#include <math.h>
#include <string.h>

#include "attack/impl.h"
#include "data/data.h"
#include "report/report.h"

PR_OPTIONS(
    evaluate_table, parry_evaluate_settings,
    OPT_STRING(
        parry_evaluate_settings, attacks, "attack", NULL, "LIST",
        "attacks, with commas between; pgd:steps=100 sets a parameter, pgd:first=2000 limits it to the first images"),
    OPT_FLOATS(parry_evaluate_settings, eps, "eps", "0.1", 0, DBL_MAX,
               "radii of the ball, in units of the pixel range"),
    OPT_INT(parry_evaluate_settings, first, "first", "0", 0, 1e15,
            "use only the first N images, in the dataset's order; of photographs in class folders one of each class in "
            "turn; 0: all"),
    OPT_INT(parry_evaluate_settings, curve, "curve", "500", 0, 1e15,
            "images for the accuracy-against-eps curves; 0: no curves"),
    OPT_INT(parry_evaluate_settings, examples, "examples", "10", 0, 1000, "pictures per model in the report"));

const parry_options *parry_evaluate_options(void)
{
    return &evaluate_table;
}

/* What is known only while attacks run. */
typedef struct tallies {
    bool *survived; /* model_count x eps.count x worst_count: no attack fooled the image yet */
    int64_t *met;   /* attack_count: images that met the criterion, over models, eps and those that every attack saw */
    bool *stale;    /* dataset->count */
} tallies;

static pr_eval_cell *cell_at(parry_evaluation *ev, int model, int attack, int eps)
{
    return &ev->models[model].cells[attack * ev->eps.count + eps];
}

const pr_eval_cell *pr_eval_cell_at(const parry_evaluation *ev, int model, int attack, int eps)
{
    return &ev->models[model].cells[attack * ev->eps.count + eps];
}

bool pr_eval_has_goal(const parry_evaluation *ev)
{
    return ev->threat.criterion || ev->threat.target;
}

static double share(int64_t part, int64_t of)
{
    return (double)part / (double)of;
}

static int64_t count_unmet(const bool *met, int64_t count)
{
    int64_t unmet = 0;
    for (int64_t i = 0; i < count; i++)
        unmet += !met[i];
    return unmet;
}

parry_threat pr_eval_threat(const parry_evaluation *ev, double eps)
{
    parry_threat threat = ev->threat;
    threat.eps = eps;
    return threat;
}

/* Books the fresh result of one model. */
static void record(parry_evaluation *ev, tallies *tally, int model, int attack, int eps,
                   const parry_attack_result *result)
{
    pr_eval_cell *cell = cell_at(ev, model, attack, eps);
    cell->robust_acc = result->robust_acc;
    cell->withstood = share(count_unmet(result->met, result->count), result->count);
    cell->adv_loss = result->adv_loss;
    cell->mean_norm = result->mean_norm;
    cell->max_norm = result->max_norm;
    cell->forward_queries = result->forward_queries;
    cell->gradient_queries = result->gradient_queries;
    bool *survived = tally->survived + ((int64_t)model * ev->eps.count + eps) * ev->worst_count;
    for (int64_t i = 0; i < ev->worst_count; i++) {
        survived[i] &= !result->met[i];
        tally->met[attack] += result->met[i];
    }
}

static parry_status score_stale(parry_ctx *ctx, parry_evaluation *ev, const parry_model *model,
                                const parry_attack_result *stale, int eps, bool *met, double *withstood)
{
    const parry_threat threat = pr_eval_threat(ev, ev->eps.value[eps]);
    TRY(parry_attack_judge(ctx, &threat, model, stale, stale->adversaries, met));
    *withstood = share(count_unmet(met, stale->count), stale->count);
    return PARRY_OK;
}

/* Also when one file was loaded twice. */
static bool same_model(const parry_model *a, const parry_model *b)
{
    const char *hash_a = parry_model_describe(a)->sha256, *hash_b = parry_model_describe(b)->sha256;
    return a == b || (hash_a && hash_b && strcmp(hash_a, hash_b) == 0);
}

/* One model under one attack at one eps; `stale` is NULL without a source. Against itself, the source's adversaries are
 * both. */
static parry_status run_model(parry_ctx *ctx, parry_evaluation *ev, tallies *tally, const parry_model *model, int m,
                              int a, int e, const parry_model *source, const parry_attack_result *stale)
{
    if (stale)
        TRY(score_stale(ctx, ev, model, stale, e, tally->stale, &cell_at(ev, m, a, e)->stale_acc));
    if (stale && same_model(model, source)) {
        record(ev, tally, m, a, e, stale);
        return PARRY_OK;
    }
    parry_attack_result fresh = {0};
    parry_dataset *images;
    parry_threat threat = pr_eval_threat(ev, ev->eps.value[e]);
    TRY(parry_dataset_first(ctx, ev->models[m].data, ev->attacks[a].count, &images));
    parry_status status = pr_attack_score(ctx, ev->attacks[a].attack, &threat, model, images, &fresh);
    if (status == PARRY_OK)
        record(ev, tally, m, a, e, &fresh);
    parry_attack_result_clear(&fresh);
    parry_dataset_free(images);
    return status;
}

/* The adversaries that every model is scored on: photographs as the source reads them, and all models alike. */
static parry_status make_stale(parry_ctx *ctx, const parry_evaluation *ev, const parry_model *source, int a, int e,
                               parry_attack_result *stale)
{
    parry_dataset *images;
    parry_threat threat = pr_eval_threat(ev, ev->eps.value[e]);
    TRY(parry_dataset_first(ctx, ev->models[0].data, ev->attacks[a].count, &images));
    parry_status status = parry_attack_run(ctx, ev->attacks[a].attack, &threat, source, images, stale);
    parry_dataset_free(images);
    return status;
}

static parry_status run_cells(parry_ctx *ctx, parry_evaluation *ev, tallies *tally, const parry_model *const *models,
                              const parry_model *source, int a, int e)
{
    parry_status status = PARRY_OK;
    parry_attack_result stale = {0};
    if (source)
        TRY_TO(done, make_stale(ctx, ev, source, a, e, &stale));
    for (int m = 0; m < ev->model_count; m++)
        TRY_TO(done, run_model(ctx, ev, tally, models[m], m, a, e, source, source ? &stale : NULL));
done:
    parry_attack_result_clear(&stale);
    return status;
}

/* Worst cases and the strongest attack. */
static void conclude(parry_evaluation *ev, const tallies *tally)
{
    for (int m = 0; m < ev->model_count; m++)
        for (int e = 0; e < ev->eps.count; e++) {
            const bool *survived = tally->survived + ((int64_t)m * ev->eps.count + e) * ev->worst_count;
            int64_t robust = 0;
            for (int64_t i = 0; i < ev->worst_count; i++)
                robust += survived[i];
            ev->models[m].worst_acc[e] = (double)robust / (double)ev->worst_count;
        }
    for (int a = 1; a < ev->attack_count; a++)
        if (tally->met[a] >= tally->met[ev->strongest])
            ev->strongest = a;
}

static parry_status run_attacks(parry_ctx *ctx, parry_evaluation *ev, const parry_model *const *models,
                                const parry_model *source)
{
    parry_status status;
    tallies tally = {0};
    int64_t survivors = (int64_t)ev->model_count * ev->eps.count * ev->worst_count;
    TRY(pr_alloc(ctx, survivors, &tally.survived));
    memset(tally.survived, true, (size_t)survivors);
    TRY_TO(done, pr_alloc(ctx, ev->attack_count, &tally.met));
    TRY_TO(done, pr_alloc_raw(ctx, ev->dataset->count, &tally.stale));
    for (int a = 0; a < ev->attack_count; a++)
        for (int e = 0; e < ev->eps.count; e++)
            TRY_TO(done, run_cells(ctx, ev, &tally, models, source, a, e));
    conclude(ev, &tally);
done:
    pr_free(tally.stale);
    pr_free(tally.met);
    pr_free(tally.survived);
    return status;
}

/* ---- curves ----------------------------------------------------------------------------------------------------- */

static parry_status run_curve(parry_ctx *ctx, parry_evaluation *ev, const parry_model *model,
                              const parry_dataset *images, double *acc)
{
    for (int k = 1; k < PR_CURVE_POINTS; k++) {
        parry_attack_result result = {0};
        parry_threat threat = pr_eval_threat(ev, ev->curve_eps[k]);
        parry_status status = pr_attack_score(ctx, ev->attacks[ev->strongest].attack, &threat, model, images, &result);
        if (status == PARRY_OK) {
            acc[0] = share(result.count - llround(result.clean_met * (double)result.count), result.count);
            acc[k] = share(count_unmet(result.met, result.count), result.count);
        }
        parry_attack_result_clear(&result);
        TRY(status);
    }
    return PARRY_OK;
}

static parry_status run_curves(parry_ctx *ctx, parry_evaluation *ev, const parry_model *const *models, int64_t count)
{
    double widest = 0;
    for (int e = 0; e < ev->eps.count; e++)
        widest = PR_MAX(widest, ev->eps.value[e]);
    if (count == 0 || widest == 0)
        return PARRY_OK;
    for (int k = 0; k < PR_CURVE_POINTS; k++)
        ev->curve_eps[k] = widest * k / (PR_CURVE_POINTS - 1);
    ev->curve_count = PR_MIN(count, ev->attacks[ev->strongest].count);
    for (int m = 0; m < ev->model_count; m++) {
        parry_dataset *images;
        TRY(pr_alloc(ctx, PR_CURVE_POINTS, &ev->models[m].curve_acc));
        TRY(parry_dataset_first(ctx, ev->models[m].data, ev->curve_count, &images));
        parry_status status = run_curve(ctx, ev, models[m], images, ev->models[m].curve_acc);
        parry_dataset_free(images);
        TRY(status);
    }
    return PARRY_OK;
}

/* ---- the whole -------------------------------------------------------------------------------------------------- */

/* Files of one name in different folders are shown with their paths. */
static void name_models(parry_evaluation *ev)
{
    for (int m = 0; m < ev->model_count; m++) {
        const parry_model_info *info = ev->models[m].info;
        ev->models[m].name = info->name;
        for (int other = 0; other < ev->model_count; other++)
            if (other != m && info->path && strcmp(info->name, ev->models[other].info->name) == 0)
                ev->models[m].name = info->path;
    }
}

static parry_status open_models(parry_ctx *ctx, parry_evaluation *ev, const parry_model *const *models, int count)
{
    TRY(pr_alloc(ctx, count, &ev->models));
    ev->model_count = count;
    for (int m = 0; m < count; m++) {
        pr_eval_model *model = &ev->models[m];
        model->info = parry_model_describe(models[m]);
        TRY(pr_alloc(ctx, ev->attack_count * ev->eps.count, &model->cells));
        TRY(pr_alloc(ctx, ev->eps.count, &model->worst_acc));
    }
    return PARRY_OK;
}

/* The images as each model takes them; those that take photographs alike share what was read. */
static parry_status fit_images(parry_ctx *ctx, parry_evaluation *ev, const parry_model *const *models)
{
    bool alike = true;
    for (int m = 0; m < ev->model_count; m++) {
        pr_eval_model *model = &ev->models[m];
        int first = 0;
        while (first < m && !pr_model_reads_alike(models[first], models[m]))
            first++;
        TRY(parry_dataset_fit_images(ctx, first < m ? ev->models[first].data : ev->data, models[m], &model->data));
        model->images = parry_dataset_describe(model->data);
        alike &= first == 0;
    }
    ev->dataset = ev->models[0].images;
    for (int m = 0; m < ev->model_count && !alike && pr_dataset_has_photos(ev->data); m++)
        TRY(pr_model_reading(ctx, models[m], &ev->models[m].reading));
    return PARRY_OK;
}

/* Adversaries made against the source are images of its size. */
static parry_status check_source(parry_ctx *ctx, const parry_evaluation *ev, const parry_model *const *models,
                                 const parry_model *source)
{
    for (int m = 0; source && m < ev->model_count && pr_dataset_has_photos(ev->data); m++) {
        char *reading;
        if (pr_model_reads_alike(source, models[m]))
            continue;
        TRY(pr_model_reading(ctx, source, &reading));
        parry_status status = pr_fail(ctx, PARRY_MISMATCH,
                                      "adversaries made against %s are photographs as it reads them, %s; %s reads them "
                                      "otherwise: give another source, or a network that reads alike",
                                      ev->source->name, reading, ev->models[m].name);
        pr_free(reading);
        return status;
    }
    return PARRY_OK;
}

static parry_status check_radii(parry_ctx *ctx, const parry_evaluation *ev)
{
    if (ev->eps.count < 1)
        return pr_fail(ctx, PARRY_INVALID, "no eps: attacks need at least one radius");
    for (int e = 0; e < ev->eps.count; e++) {
        parry_threat threat = pr_eval_threat(ev, ev->eps.value[e]);
        TRY(parry_threat_check(ctx, &threat));
        for (int other = 0; other < e; other++)
            if (ev->eps.value[other] == ev->eps.value[e])
                return pr_fail(ctx, PARRY_INVALID, "--eps holds %g twice", ev->eps.value[e]);
    }
    return PARRY_OK;
}

parry_status parry_evaluate_check(parry_ctx *ctx, const parry_threat *threat, const parry_evaluate_settings *settings)
{
    parry_evaluation scratch = {.threat = *threat, .eps = settings->eps};
    parry_status status = pr_eval_attacks(ctx, &scratch, settings->attacks);
    if (status == PARRY_OK && scratch.attack_count > 0)
        status = check_radii(ctx, &scratch);
    pr_eval_attacks_free(&scratch);
    return status;
}

static parry_status evaluate(parry_ctx *ctx, parry_evaluation *ev, const parry_model *const *models, int model_count,
                             const parry_dataset *dataset, const parry_model *source,
                             const parry_evaluate_settings *settings)
{
    TRY(parry_dataset_first(ctx, dataset, settings->first, &ev->data));
    ev->dataset = parry_dataset_describe(ev->data);
    ev->dataset_total = parry_dataset_describe(dataset)->count;
    if (ev->dataset->count < 1)
        return pr_fail(ctx, PARRY_INVALID, "dataset %s holds no images to evaluate on", ev->dataset->name);
    TRY(parry_evaluate_check(ctx, &ev->threat, settings));
    TRY(pr_eval_attacks(ctx, ev, settings->attacks));
    for (int m = 0; m < model_count; m++)
        TRY(pr_model_check_labels(ctx, models[m], parry_dataset_labels(ev->data), ev->dataset->count));
    ev->worst_count = ev->dataset->count;
    for (int a = 0; a < ev->attack_count; a++)
        ev->worst_count = PR_MIN(ev->worst_count, ev->attacks[a].count);
    TRY(open_models(ctx, ev, models, model_count));
    name_models(ev);
    TRY(check_source(ctx, ev, models, source));
    TRY(fit_images(ctx, ev, models));
    for (int m = 0; m < model_count; m++)
        TRY(parry_model_accuracy(ctx, models[m], ev->models[m].data, &ev->models[m].clean_acc,
                                 &ev->models[m].clean_loss));
    if (ev->attack_count == 0)
        return PARRY_OK;
    TRY(run_attacks(ctx, ev, models, source));
    TRY(run_curves(ctx, ev, models, settings->curve));
    return pr_eval_examples(ctx, ev, models, settings->examples);
}

parry_status parry_evaluate(parry_ctx *ctx, const parry_model *const *models, int model_count,
                            const parry_dataset *dataset, const parry_model *source, const parry_threat *threat,
                            const parry_evaluate_settings *settings, parry_evaluation **out)
{
    TRY(pr_alloc(ctx, 1, out));
    parry_evaluation *ev = *out;
    ev->seed = parry_ctx_seed(ctx);
    ev->threads = parry_ctx_threads(ctx);
    ev->threat = *threat;
    ev->eps = settings->eps;
    ev->source = source ? parry_model_describe(source) : NULL;
    parry_status status = evaluate(ctx, ev, models, model_count, dataset, source, settings);
    if (status != PARRY_OK) {
        parry_evaluation_free(ev);
        *out = NULL;
    }
    return status;
}

void parry_evaluation_free(parry_evaluation *ev)
{
    if (!ev)
        return;
    for (int m = 0; m < ev->model_count; m++) {
        pr_free(ev->models[m].cells);
        pr_free(ev->models[m].worst_acc);
        pr_free(ev->models[m].curve_acc);
        pr_free(ev->models[m].examples);
        pr_free(ev->models[m].originals);
        pr_free(ev->models[m].adversaries);
        pr_free(ev->models[m].reading);
        parry_dataset_free(ev->models[m].data);
    }
    pr_free(ev->models);
    pr_eval_attacks_free(ev);
    pr_free(ev->example_index);
    pr_free(ev->example_labels);
    parry_dataset_free(ev->data);
    pr_free(ev);
}

double parry_evaluation_clean_acc(const parry_evaluation *evaluation, int model)
{
    return evaluation->models[model].clean_acc;
}

double parry_evaluation_robust_acc(const parry_evaluation *evaluation, int model, int attack, int eps)
{
    return pr_eval_cell_at(evaluation, model, attack, eps)->robust_acc;
}

double parry_evaluation_withstood(const parry_evaluation *evaluation, int model, int attack, int eps)
{
    return pr_eval_cell_at(evaluation, model, attack, eps)->withstood;
}

double parry_evaluation_worst_acc(const parry_evaluation *evaluation, int model, int eps)
{
    return evaluation->models[model].worst_acc[eps];
}
