/* What parry attack prints. */
#include <string.h>

#include "cli/attack.h"

parry_budget budget_at(const attack_report *report, int64_t i, bool levels)
{
    const parry_model_info *info = parry_model_describe(report->model);
    const int64_t row = (int64_t)info->channels * info->height * info->width;
    return parry_budget_of(report->result->originals + i * row, report->result->adversaries + i * row, info->channels,
                           info->height, info->width, levels);
}

const char *criterion_of(const parry_threat *threat)
{
    return threat->criterion ? threat->criterion : threat->target ? "targeted" : "misclassified";
}

double mean_eps(const parry_attack_result *result)
{
    double sum = 0;
    int64_t found = 0;
    for (int64_t i = 0; i < result->count; i++)
        if (!isnan(result->minimal_eps[i])) {
            sum += result->minimal_eps[i];
            found++;
        }
    return found ? sum / (double)found : NAN;
}

int64_t count_stored(const attack_report *report)
{
    int64_t count = 0;
    for (int64_t i = 0; i < report->result->count; i++)
        count += report->result->met[i] && report->stored[i];
    return count;
}

/* ---- one image --------------------------------------------------------------------------------------------------- */

static void print_rankings(FILE *out, const attack_report *report, int64_t i)
{
    const int classes = parry_model_describe(report->model)->classes;
    const ranking before = rank_classes(report->model, report->result->clean_logits + i * classes),
                  after = rank_classes(report->model, report->result->logits + i * classes);
    char left[PARRY_CLASS_NAME_ROOM], right[PARRY_CLASS_NAME_ROOM];
    fprintf(out, "  %-38s%s\n", "before", "after");
    for (int k = 0; k < before.count; k++)
        fprintf(out, "  %-26.26s %6.2f %%   %-26.26s %6.2f %%\n",
                parry_class_name(report->model, before.class[k], left), 100 * before.probability[k],
                parry_class_name(report->model, after.class[k], right), 100 * after.probability[k]);
}

static void print_budget(FILE *out, const attack_report *report, int64_t i, bool levels)
{
    const parry_model_info *info = parry_model_describe(report->model);
    const parry_budget budget = budget_at(report, i, levels);
    fprintf(
        out,
        "  %-9s sum of |d| %.6g grey levels, L2 %.4g, Linf %.4g (%.4g/255),\n            %lld of %lld pixels changed\n",
        levels ? "in 8 bits" : "changed", budget.sum, budget.l2, budget.linf, 255 * budget.linf,
        (long long)budget.pixels, (long long)info->height * info->width);
}

static void print_smallest(FILE *out, const attack_report *report, int64_t i)
{
    const parry_attack_result *result = report->result;
    const parry_model_info *info = parry_model_describe(report->model);
    char eps[PARRY_EPS_ROOM];
    if (isnan(result->minimal_eps[i]))
        fprintf(out, "  smallest  none up to %s\n", parry_eps_words(info, report->threat->eps, eps));
    else if (result->minimal_eps[i] == 0)
        fputs("  smallest  eps 0: the image as it is\n", out);
    else {
        fprintf(out, "  smallest  eps %s,\n", parry_eps_words(info, result->minimal_eps[i], eps));
        fprintf(out, "            not at %.4g\n", result->failed_eps[i]);
    }
}

static void print_image(FILE *out, const attack_report *report, int64_t i)
{
    const parry_attack_result *result = report->result;
    const char *name = parry_dataset_image_name(report->data, i);
    char class[PARRY_CLASS_NAME_ROOM];
    const bool labelled = parry_dataset_labels(report->data)[i] >= 0;
    if (name[0])
        fprintf(out, "\n%s: ", name);
    else
        fprintf(out, "\nimage %lld: ", (long long)i);
    fprintf(out, "%s%s", labelled ? "" : "no label, taken as ",
            parry_class_name(report->model, result->labels[i], class));
    if (result->targets[i] >= 0)
        fprintf(out, ", target %s", parry_class_name(report->model, result->targets[i], class));
    fputc('\n', out);
    print_rankings(out, report, i);
    fprintf(out, "  criterion %s %s%s\n", criterion_of(report->threat), result->met[i] ? "met" : "not met",
            !report->stored     ? ""
            : report->stored[i] ? "; as PNG met"
                                : "; as PNG not met");
    if (report->search)
        print_smallest(out, report, i);
    print_budget(out, report, i, false);
    if (!report->threat->quantize)
        print_budget(out, report, i, true);
}

/* ---- the whole --------------------------------------------------------------------------------------------------- */

static void print_accuracy(FILE *out, const parry_attack_result *result)
{
    if (result->unlabelled > 0 && result->count > 1)
        fprintf(out, "  %lld of %lld images have no label: what the model calls them stands in for it\n",
                (long long)result->unlabelled, (long long)result->count);
    if (result->unlabelled == result->count)
        return;
    fprintf(out, "  clean accuracy   %6.2f %%\n", 100 * result->clean_acc);
    fprintf(out, "  robust accuracy  %6.2f %%   loss %.4g on the adversaries\n", 100 * result->robust_acc,
            result->adv_loss);
}

static void print_search(FILE *out, const attack_report *report)
{
    const parry_attack_result *result = report->result;
    int64_t found;
    char eps[PARRY_EPS_ROOM];
    const double median = parry_attack_eps_quantile(result, 0.5, &found);
    if (found > 0) {
        fprintf(out, "  smallest eps     median %s,\n",
                parry_eps_words(parry_model_describe(report->model), median, eps));
        fprintf(out, "                   mean %.4g, quartiles %.4g and %.4g, of %lld images\n", mean_eps(result),
                parry_attack_eps_quantile(result, 0.25, NULL), parry_attack_eps_quantile(result, 0.75, NULL),
                (long long)found);
    }
    if (found < result->count)
        fprintf(out, "  %s%lld of %lld images met the criterion at no eps up to %.4g\n",
                found ? "                 " : "smallest eps     ", (long long)(result->count - found),
                (long long)result->count, report->threat->eps);
}

static void print_threat(FILE *out, const attack_report *report)
{
    const parry_threat *threat = report->threat;
    char eps[PARRY_EPS_ROOM];
    fprintf(out, "  %s eps %s%s, loss %s, %s%s%s\n",
            parry_options_find(parry_threat_options(), "norm")->choices[threat->norm], report->search ? "up to " : "",
            parry_eps_words(parry_model_describe(report->model), threat->eps, eps),
            parry_options_find(parry_threat_options(), "loss")->choices[threat->loss],
            threat->clip ? "clipped to [0,1]" : "not clipped", threat->quantize ? ", on the 8-bit grid" : "",
            threat->precision == PARRY_F32 ? "" : ", searched in bf16, judged in f32");
    if (threat->criterion || threat->target)
        fprintf(out, "  criterion %s%s%s\n", criterion_of(threat), threat->target ? ", target " : "",
                threat->target ? threat->target : "");
}

void attack_print(const attack_report *report)
{
    const parry_attack_result *result = report->result;
    const char *norm = parry_options_find(parry_threat_options(), "norm")->choices[report->threat->norm];
    FILE *out = results();
    terminal_clear();
    fprintf(out, "%s against %s, %lld image%s of %s\n", parry_attack_label(report->attack),
            parry_model_describe(report->model)->name, (long long)result->count, result->count == 1 ? "" : "s",
            parry_dataset_describe(report->data)->name);
    print_threat(out, report);
    print_accuracy(out, result);
    if (report->threat->criterion || report->threat->target || result->unlabelled > 0)
        fprintf(out, "  success rate     %6.2f %%   %s; %.2f %% before the attack\n", 100 * result->success_rate,
                criterion_of(report->threat), 100 * result->clean_met);
    if (report->search && result->count > 1)
        print_search(out, report);
    fprintf(out, "  perturbation     mean %.4g, largest %.4g (%s)\n", result->mean_norm, result->max_norm, norm);
    fprintf(out, "  queries          %.4g forward, %.4g gradient per image\n",
            (double)result->forward_queries / (double)result->count,
            (double)result->gradient_queries / (double)result->count);
    if (report->stored)
        fprintf(out, "  as PNG files     %lld of %lld still meet the criterion, decoded and classified again\n",
                (long long)count_stored(report), (long long)llround(result->success_rate * (double)result->count));
    for (int64_t i = 0; i < result->count && result->count <= ATTACK_SHOWN; i++)
        print_image(out, report, i);
}
