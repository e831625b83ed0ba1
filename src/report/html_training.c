/* Training curves, from the histories that travel in the models' files.
 *
 * A history is {"stages": [{"method", "seed", "settings": {}, "data": {}, "test": {}, "attack": {}, "curve": [{"epoch",
 * "lr", "train_loss", "train_acc", "test_loss", "test_acc"}]}]} (see train/history.c). Files come from anywhere:
 * whatever is missing or of another type is left out. */
#include <math.h>
#include <stdio.h>

#include "base/json.h"
#include "report/report.h"

enum { STAGES_MAX = 32, EPOCHS_MAX = 100000, DEPTH_MAX = 4 };

/* The four figures of all stages, epoch after epoch. */
typedef struct recorded {
    double *x, *figure[4];
    int count;
    pr_rule rules[STAGES_MAX]; /* where a stage begins */
    int rule_count;
} recorded;

static const char *const figure_keys[] = {"train_acc", "test_acc", "train_loss", "test_loss"};

static double number_or_nan(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

static const char *string_or(const json_t *object, const char *key, const char *otherwise)
{
    const char *text = json_string_value(json_object_get(object, key));
    return text ? text : otherwise;
}

static size_t count_epochs(const json_t *stages)
{
    size_t count = 0, i;
    json_t *stage;
    json_array_foreach(stages, i, stage) count += json_array_size(json_object_get(stage, "curve"));
    return count;
}

static parry_status read_curves(parry_ctx *ctx, const json_t *stages, size_t epochs, recorded *out)
{
    size_t s, e;
    json_t *stage, *epoch;
    TRY(pr_alloc(ctx, 5 * epochs, &out->x));
    for (int f = 0; f < 4; f++)
        out->figure[f] = out->x + (size_t)(f + 1) * epochs;
    json_array_foreach(stages, s, stage)
    {
        const json_t *list = json_object_get(stage, "curve");
        if (json_array_size(list) > 0 && out->count > 0 && out->rule_count < STAGES_MAX)
            out->rules[out->rule_count++] = (pr_rule){out->count + 0.5, string_or(stage, "method", "")};
        json_array_foreach(list, e, epoch)
        {
            out->x[out->count] = out->count + 1;
            for (int f = 0; f < 4; f++)
                out->figure[f][out->count] = number_or_nan(epoch, figure_keys[f]);
            out->count++;
        }
    }
    return PARRY_OK;
}

static bool any_finite(const double *values, int count)
{
    for (int i = 0; i < count; i++)
        if (isfinite(values[i]))
            return true;
    return false;
}

/* One chart of a pair of figures, train and test; none where neither was recorded. */
static void add_chart(pr_text *out, const recorded *curves, int figure, bool percent, const char *title,
                      const char *y_label)
{
    static const char *const names[] = {"training", "test"};
    pr_series series[2];
    int count = 0;
    for (int i = 0; i < 2; i++)
        if (any_finite(curves->figure[figure + i], curves->count))
            series[count++] = (pr_series){.name = names[i],
                                          .x = curves->x,
                                          .y = curves->figure[figure + i],
                                          .count = curves->count,
                                          .color = i,
                                          .dashed = i == 0};
    if (count == 0)
        return;
    pr_chart chart = {.title = title,
                      .x_label = "epoch",
                      .y_label = y_label,
                      .percent = percent,
                      .from_zero = !percent,
                      .whole_x = true,
                      .series = series,
                      .series_count = count,
                      .rules = curves->rules,
                      .rule_count = curves->rule_count};
    pr_text_add(out, "<figure>\n");
    pr_svg_chart(out, &chart);
    pr_text_add(out, "</figure>\n");
}

/* "epochs=20, lr=0.001, threat: eps=0.1": scalars, and what objects hold, so deep that no file can exhaust the stack.
 */
static void add_members(pr_text *out, const json_t *object, int depth)
{
    const char *key, *separator = "";
    json_t *value;
    json_object_foreach((json_t *)object, key, value)
    {
        bool scalar = !json_is_object(value) && !json_is_array(value);
        bool nested = json_is_object(value) && depth < DEPTH_MAX;
        char *text = scalar ? json_dumps(value, JSON_ENCODE_ANY | JSON_REAL_PRECISION(6)) : NULL;
        out->failed |= scalar && !text;
        if (!text && !nested)
            continue;
        pr_text_add(out, "%s", separator);
        pr_html_escape(out, key);
        pr_text_add(out, text ? "=" : ": ");
        pr_html_escape(out, text);
        if (nested)
            add_members(out, value, depth + 1);
        separator = ", ";
        free(text);
    }
}

static void add_stage_list(pr_text *out, const json_t *stages)
{
    size_t s;
    json_t *stage, *value;
    const char *key;
    pr_text_add(out, "<details><summary>Settings of each stage</summary><ol class=\"small\">\n");
    json_array_foreach(stages, s, stage)
    {
        pr_text_add(out, "<li><b>");
        pr_html_escape(out, string_or(stage, "method", "stage"));
        pr_text_add(out, "</b>");
        if (json_is_integer(json_object_get(stage, "seed")))
            pr_text_add(out, ", seed %lld", (long long)json_integer_value(json_object_get(stage, "seed")));
        json_object_foreach(stage, key, value)
        {
            if (json_object_size(value) == 0)
                continue;
            pr_text_add(out, "<br>");
            pr_html_escape(out, key);
            pr_text_add(out, ": ");
            add_members(out, value, 0);
        }
        pr_text_add(out, "</li>\n");
    }
    pr_text_add(out, "</ol></details>\n");
}

static parry_status add_model(parry_ctx *ctx, pr_text *out, const parry_model_info *model, const json_t *stages,
                              size_t epochs)
{
    recorded curves = {0};
    TRY(read_curves(ctx, stages, epochs, &curves));
    pr_text_add(out, "<h3>");
    pr_html_escape(out, model->name);
    pr_text_add(out, "</h3>\n<div class=\"charts\">\n");
    add_chart(out, &curves, 0, true, "Accuracy", "accuracy");
    add_chart(out, &curves, 2, false, "Loss", "cross-entropy");
    pr_text_add(out, "</div>\n");
    add_stage_list(out, stages);
    pr_free(curves.x);
    return PARRY_OK;
}

parry_status pr_html_training(parry_ctx *ctx, pr_text *out, const parry_model_info *const *models, int count)
{
    bool headed = false;
    for (int m = 0; m < count; m++) {
        json_t *history = NULL;
        if (!models[m]->history || pr_json_parse(ctx, models[m]->name, models[m]->history, &history) != PARRY_OK)
            continue;
        const json_t *stages = json_object_get(history, "stages");
        size_t epochs = count_epochs(stages);
        parry_status status = PARRY_OK;
        if (epochs > 0 && epochs <= EPOCHS_MAX) {
            if (!headed)
                pr_text_add(out, "<h2>Training</h2>\n<p>As recorded in the models' files. Training figures are those "
                                 "of the batches as the model saw "
                                 "them, adversaries and dropout included; test figures are clean.</p>\n");
            headed = true;
            status = add_model(ctx, out, models[m], stages, epochs);
        }
        json_decref(history);
        TRY(status);
    }
    return PARRY_OK;
}
