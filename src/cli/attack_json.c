/* What parry attack writes: JSON, a CSV line for each image, the triptych. */
#include <stdlib.h>
#include <string.h>

#include "cli/attack.h"

/* JSON has no NaN. */
static json_t *number(double value)
{
    return isnan(value) ? json_null() : json_real(value);
}

static json_t *ranking_json(const parry_model *model, const float *logits)
{
    const ranking top = rank_classes(model, logits);
    json_t *list = json_array();
    char name[PARRY_CLASS_NAME_ROOM];
    for (int k = 0; k < top.count; k++)
        json_array_append_new(list, json_pack("{s:i, s:o, s:f}", "class", top.class[k], "name",
                                              text_json(parry_class_name(model, top.class[k], name)), "probability",
                                              top.probability[k]));
    return list;
}

static json_t *budget_json(const attack_report *report, int64_t i, bool levels)
{
    const parry_budget budget = budget_at(report, i, levels);
    return json_pack("{s:f, s:f, s:f, s:I}", "sum_levels", budget.sum, "l2", budget.l2, "linf", budget.linf, "pixels",
                     (json_int_t)budget.pixels);
}

static json_t *image_json(const attack_report *report, int64_t i)
{
    const parry_attack_result *result = report->result;
    const int classes = parry_model_describe(report->model)->classes;
    json_t *json =
        json_pack("{s:I, s:i, s:b, s:b, s:o, s:o, s:o, s:o}", "index", (json_int_t)i, "label", (int)result->labels[i],
                  "labelled", parry_dataset_labels(report->data)[i] >= 0, "met", (int)result->met[i], "before",
                  ranking_json(report->model, result->clean_logits + i * classes), "after",
                  ranking_json(report->model, result->logits + i * classes), "changed", budget_json(report, i, false),
                  "changed_8bit", budget_json(report, i, true));
    const char *name = parry_dataset_image_name(report->data, i);
    if (name[0])
        json_object_set_new(json, "name", text_json(name));
    if (result->targets[i] >= 0)
        json_object_set_new(json, "target", json_integer(result->targets[i]));
    if (report->search) {
        json_object_set_new(json, "minimal_eps", number(result->minimal_eps[i]));
        json_object_set_new(json, "failed_eps", json_real(result->failed_eps[i]));
    }
    if (report->stored)
        json_object_set_new(json, "met_as_png", json_boolean(report->stored[i]));
    return json;
}

static json_t *search_json(const attack_report *report)
{
    static const struct {
        const char *name;
        double q;
    } quantiles[] = {{"q05", 0.05}, {"q25", 0.25}, {"median", 0.5}, {"q75", 0.75}, {"q95", 0.95}};
    const parry_attack_result *result = report->result;
    int64_t found;
    const double largest = parry_attack_eps_quantile(result, 1, &found);
    json_t *json =
        json_pack("{s:I, s:I, s:I, s:f, s:o, s:o}", "found", (json_int_t)found, "none",
                  (json_int_t)(result->count - found), "scan", (json_int_t)report->search->scan, "resolution",
                  report->search->resolution, "mean", number(mean_eps(result)), "largest", number(largest));
    for (size_t k = 0; k < sizeof quantiles / sizeof quantiles[0]; k++)
        json_object_set_new(json, quantiles[k].name, number(parry_attack_eps_quantile(result, quantiles[k].q, NULL)));
    return json;
}

json_t *attack_json(const attack_report *report)
{
    const parry_attack_result *result = report->result;
    const parry_threat *threat = report->threat;
    json_t *json = json_pack(
        "{s:o, s:o, s:s, s:s, s:s, s:f, s:s, s:b, s:s, s:s?, s:b, s:s, s:I, s:I, s:o, s:o, s:f, s:f, s:f, s:f, s:f, s:I, "
        "s:I}",
        "model", model_json(report->model), "dataset", data_json(report->data), "attack",
        parry_attack_describe(report->attack)->name, "label", parry_attack_label(report->attack), "norm",
        parry_options_find(parry_threat_options(), "norm")->choices[threat->norm], "eps", threat->eps, "loss",
        parry_options_find(parry_threat_options(), "loss")->choices[threat->loss], "clip", (int)threat->clip,
        "criterion", criterion_of(threat), "target", threat->target, "quantize", (int)threat->quantize, "precision",
        parry_options_find(parry_threat_options(), "precision")->choices[threat->precision], "count",
        (json_int_t)result->count, "unlabelled", (json_int_t)result->unlabelled, "clean_acc", number(result->clean_acc),
        "robust_acc", number(result->robust_acc), "clean_met", result->clean_met, "success_rate", result->success_rate,
        "adv_loss", result->adv_loss, "mean_norm", result->mean_norm, "max_norm", result->max_norm, "forward_queries",
        (json_int_t)result->forward_queries, "gradient_queries", (json_int_t)result->gradient_queries);
    if (report->search)
        json_object_set_new(json, "minimal_eps", search_json(report));
    if (report->stored)
        json_object_set_new(json, "met_as_png", json_integer((json_int_t)count_stored(report)));
    if (report->search || result->count <= ATTACK_SHOWN) {
        json_t *images = json_array();
        for (int64_t i = 0; i < result->count; i++)
            json_array_append_new(images, image_json(report, i));
        json_object_set_new(json, "images", images);
    }
    return json;
}

/* ---- CSV --------------------------------------------------------------------------------------------------------- */

static void csv_number(FILE *out, double value)
{
    if (isnan(value))
        fputc(',', out);
    else
        fprintf(out, ",%.9g", value);
}

static void csv_line(FILE *out, const attack_report *report, int64_t i)
{
    const parry_attack_result *result = report->result;
    const int classes = parry_model_describe(report->model)->classes;
    const ranking before = rank_classes(report->model, result->clean_logits + i * classes),
                  after = rank_classes(report->model, result->logits + i * classes);
    const parry_budget budget = budget_at(report, i, false);
    fprintf(out, "%lld,", (long long)i);
    csv_field(out, parry_dataset_image_name(report->data, i));
    fprintf(out, ",%d,", (int)parry_dataset_labels(report->data)[i]);
    if (result->targets[i] >= 0)
        fprintf(out, "%d", (int)result->targets[i]);
    fprintf(out, ",%d,%.6g,%d,%.6g,%d", before.class[0], before.probability[0], after.class[0], after.probability[0],
            (int)result->met[i]);
    csv_number(out, report->search ? result->minimal_eps[i] : NAN);
    csv_number(out, report->search ? result->failed_eps[i] : NAN);
    fprintf(out, ",%.9g,%.9g,%.9g,%lld,", budget.linf, budget.l2, budget.sum, (long long)budget.pixels);
    if (report->stored)
        fprintf(out, "%d", (int)report->stored[i]);
    fputc('\n', out);
}

parry_status attack_csv(parry_ctx *ctx, const attack_report *report, const char *path)
{
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out) {
        usage(ctx, "%s could not be written: out of memory", path);
        return PARRY_NO_MEMORY;
    }
    fputs(
        "index,name,label,target,before,before_probability,after,after_probability,met,minimal_eps,failed_eps,linf,l2,"
        "sum_levels,pixels,met_as_png\n",
        out);
    for (int64_t i = 0; i < report->result->count; i++)
        csv_line(out, report, i);
    const bool failed = ferror(out) != 0;
    parry_status status;
    if (fclose(out) != 0 || failed) {
        usage(ctx, "%s could not be written: out of memory", path);
        status = PARRY_NO_MEMORY;
    } else {
        status = parry_file_write(ctx, path, text, size);
    }
    free(text);
    return status;
}

/* ---- the triptych ------------------------------------------------------------------------------------------------ */

parry_status attack_figure(parry_ctx *ctx, const attack_report *report, const char *path)
{
    const parry_model_info *info = parry_model_describe(report->model);
    char before[CAPTION_ROOM], after[CAPTION_ROOM], title[256];
    caption_classes(report->model, report->result->clean_logits, before);
    caption_classes(report->model, report->result->logits, after);
    snprintf(title, sizeof title, "%s against %.100s, eps %.4g", parry_attack_label(report->attack), info->name,
             report->search && report->result->met[0] ? report->result->minimal_eps[0] : report->threat->eps);
    const parry_triptych triptych = {.size = sizeof triptych,
                                     .original = report->result->originals,
                                     .adversary = report->result->adversaries,
                                     .channels = info->channels,
                                     .height = info->height,
                                     .width = info->width,
                                     .title = title,
                                     .original_caption = before,
                                     .adversary_caption = after};
    return parry_figure_triptych(ctx, &triptych, path);
}
