/* The evaluation as JSON. Everything in it follows from models, data, settings and seed: no times, no paths, no thread
 * count.
 *
 * Accuracies are fractions in fields that end in _acc; eps is in units of the pixel range [0,1].
 *
 *   version, seed
 *   dataset      {name, split, sha256, count, total, note}     count: images in use, of total; note: a caveat or null
 *   threat       {norm, loss, clip, criterion, target, quantize, precision}   criterion, target: as given, or null
 *   stale_source {name, sha256}                                or null
 *   models       [{name, sha256, parameters, images: {channels, height, width, sha256}, clean_acc, clean_loss, count,
 *                  attacks:    [{attack, label, params{}, norm, eps, loss, clip, count, robust_acc, success_rate,
 *                                adv_loss, stale_acc?, mean_norm, max_norm, forward_queries, gradient_queries}],
 *                  worst_case: [{norm, eps, robust_acc, count}],
 *                  curve:      {attack, label, params{}, norm, count, points: [{eps, robust_acc}]}  or null}]
 *
 * success_rate is the share that meets the criterion, by default to be misclassified. With a criterion or a target,
 * worst_case and curve say "withstood" instead of robust_acc, and stale_acc is the share that withstands.
 */
#include "base/json.h"
#include "base/opt.h"
#include "report/report.h"
#include "space/space.h"

static const char *norm_name(const parry_evaluation *ev)
{
    return pr_norm_names[ev->threat.norm];
}

/* What the worst case and curves tell. */
static const char *robust_key(const parry_evaluation *ev)
{
    return pr_eval_has_goal(ev) ? "withstood" : "robust_acc";
}

static json_t *threat_json(const parry_evaluation *ev)
{
    return json_pack("{s:s, s:s, s:b, s:s?, s:s?, s:b, s:s}", "norm", norm_name(ev), "loss",
                     parry_loss_list()[ev->threat.loss], "clip", ev->threat.clip, "criterion", ev->threat.criterion,
                     "target", ev->threat.target, "quantize", ev->threat.quantize, "precision",
                     parry_precision_names[ev->threat.precision]);
}

static json_t *dataset_json(const parry_evaluation *ev)
{
    const parry_dataset_info *data = ev->dataset;
    return json_pack("{s:s, s:s, s:s?, s:I, s:I, s:s?}", "name", data->name, "split", data->split, "sha256",
                     data->sha256, "count", (json_int_t)data->count, "total", (json_int_t)ev->dataset_total, "note",
                     data->note);
}

static json_t *model_names_json(const parry_model_info *info)
{
    return json_pack("{s:s, s:s?}", "name", info->name, "sha256", info->sha256);
}

/* The attack's name and parameters; NULL on failure, which the callers' json_pack passes on. */
static json_t *attack_json(parry_ctx *ctx, const pr_eval_attack *attack)
{
    json_t *params = NULL;
    if (!attack->params)
        params = json_object();
    else if (pr_options_json(ctx, attack->info->options, attack->params, &params) != PARRY_OK)
        return NULL;
    return json_pack("{s:s, s:s, s:o}", "attack", attack->info->name, "label", attack->label, "params", params);
}

/* Adds the members of `more`, which is consumed, to `object`; NULL when either is. */
static json_t *joined(json_t *object, json_t *more)
{
    bool failed = !object || !more || json_object_update(object, more) != 0;
    json_decref(more);
    if (!failed)
        return object;
    json_decref(object);
    return NULL;
}

static json_t *cell_json(parry_ctx *ctx, const parry_evaluation *ev, int m, int a, int e)
{
    const pr_eval_cell *cell = pr_eval_cell_at(ev, m, a, e);
    json_t *object =
        joined(attack_json(ctx, &ev->attacks[a]),
               json_pack("{s:s, s:f, s:s, s:b, s:I, s:f, s:f, s:f}", "norm", norm_name(ev), "eps", ev->eps.value[e],
                         "loss", parry_loss_list()[ev->threat.loss], "clip", ev->threat.clip, "count",
                         (json_int_t)ev->attacks[a].count, "robust_acc", cell->robust_acc, "success_rate",
                         1 - cell->withstood, "adv_loss", cell->adv_loss));
    if (ev->source)
        object = joined(object, json_pack("{s:f}", "stale_acc", cell->stale_acc));
    return joined(object, json_pack("{s:f, s:f, s:I, s:I}", "mean_norm", cell->mean_norm, "max_norm", cell->max_norm,
                                    "forward_queries", (json_int_t)cell->forward_queries, "gradient_queries",
                                    (json_int_t)cell->gradient_queries));
}

static json_t *cells_json(parry_ctx *ctx, const parry_evaluation *ev, int m)
{
    json_t *list = json_array();
    for (int a = 0; a < ev->attack_count; a++)
        for (int e = 0; e < ev->eps.count; e++)
            pr_json_append(&list, cell_json(ctx, ev, m, a, e));
    return list;
}

static json_t *worst_json(const parry_evaluation *ev, int m)
{
    json_t *list = json_array();
    for (int e = 0; e < ev->eps.count && ev->attack_count > 0; e++)
        pr_json_append(&list,
                       json_pack("{s:s, s:f, s:f, s:I}", "norm", norm_name(ev), "eps", ev->eps.value[e], robust_key(ev),
                                 ev->models[m].worst_acc[e], "count", (json_int_t)ev->worst_count));
    return list;
}

static json_t *curve_json(parry_ctx *ctx, const parry_evaluation *ev, int m)
{
    if (ev->curve_count == 0)
        return json_null();
    json_t *points = json_array();
    for (int k = 0; k < PR_CURVE_POINTS; k++)
        pr_json_append(&points,
                       json_pack("{s:f, s:f}", "eps", ev->curve_eps[k], robust_key(ev), ev->models[m].curve_acc[k]));
    return joined(
        attack_json(ctx, &ev->attacks[ev->strongest]),
        json_pack("{s:s, s:I, s:o}", "norm", norm_name(ev), "count", (json_int_t)ev->curve_count, "points", points));
}

/* As the model takes them: photographs at its size. */
static json_t *images_json(const parry_dataset_info *images)
{
    return json_pack("{s:i, s:i, s:i, s:s}", "channels", images->channels, "height", images->height, "width",
                     images->width, "sha256", images->sha256);
}

static json_t *model_json(parry_ctx *ctx, const parry_evaluation *ev, int m)
{
    const pr_eval_model *model = &ev->models[m];
    return joined(model_names_json(model->info),
                  json_pack("{s:I, s:o, s:f, s:f, s:I, s:o, s:o, s:o}", "parameters",
                            (json_int_t)model->info->parameters, "images", images_json(model->images), "clean_acc",
                            model->clean_acc, "clean_loss", model->clean_loss, "count", (json_int_t)ev->dataset->count,
                            "attacks", cells_json(ctx, ev, m), "worst_case", worst_json(ev, m), "curve",
                            curve_json(ctx, ev, m)));
}

static json_t *models_json(parry_ctx *ctx, const parry_evaluation *ev)
{
    json_t *list = json_array();
    for (int m = 0; m < ev->model_count; m++)
        pr_json_append(&list, model_json(ctx, ev, m));
    return list;
}

parry_status parry_evaluation_json(parry_ctx *ctx, const parry_evaluation *ev, char **out)
{
    json_t *root = json_pack("{s:s, s:I, s:o, s:o, s:o, s:o}", "version", parry_version(), "seed", (json_int_t)ev->seed,
                             "dataset", dataset_json(ev), "threat", threat_json(ev), "stale_source",
                             ev->source ? model_names_json(ev->source) : json_null(), "models", models_json(ctx, ev));
    if (!root)
        return pr_fail(
            ctx, PARRY_NUMERIC,
            "the evaluation cannot be written as JSON: a figure is not finite, a text not UTF-8, or memory is out");
    parry_status status = pr_json_text(ctx, root, out);
    json_decref(root);
    return status;
}
