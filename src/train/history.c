/* The history: how a model came to be, one entry per stage of training. It travels in the model's file and names all
 * that is needed to repeat it; no times or speeds, so that the same training gives the same bytes. */
#include "train/train.h"

static parry_status no_memory(parry_ctx *ctx)
{
    return pr_fail(ctx, PARRY_NO_MEMORY, "out of memory for the training history");
}

static json_t *dataset_json(const parry_dataset *dataset)
{
    const parry_dataset_info *info = parry_dataset_describe(dataset);
    json_t *json = json_pack("{s:s, s:s, s:I, s:s}", "name", info->name, "split", info->split, "count",
                             (json_int_t)info->count, "sha256", info->sha256);
    if (info->note)
        pr_json_set(&json, "note", json_string(info->note));
    return json;
}

/* The settings without those that do not change the result. */
static parry_status settings_json(parry_ctx *ctx, const parry_train_settings *settings, json_t **out)
{
    TRY(pr_options_json(ctx, parry_train_options(), settings, out));
    json_object_del(*out, "checkpoint");
    json_object_del(*out, "resume");
    json_object_del(*out, "so-far");
    return PARRY_OK;
}

static parry_status attack_json(parry_ctx *ctx, const pr_stage *stage, json_t *record)
{
    json_t *threat;
    TRY(pr_options_json(ctx, parry_threat_options(), stage->threat, &threat));
    json_t *attack = json_pack("{s:s, s:s, s:o, s:f, s:b}", "label", parry_attack_label(stage->attack), "spec",
                               stage->attack_spec, "threat", threat, "share", stage->share, "live", (int)stage->live);
    return json_object_set_new(record, "attack", attack) == 0 ? PARRY_OK : no_memory(ctx);
}

parry_status pr_record_create(parry_ctx *ctx, const pr_stage *stage, const char *from, json_t **out)
{
    json_t *settings;
    TRY(settings_json(ctx, stage->settings, &settings));
    *out = json_pack("{s:s, s:I, s:s, s:o, s:o}", "method", stage->method, "seed", (json_int_t)parry_ctx_seed(ctx),
                     "from_weights", from, "settings", settings, "data", dataset_json(stage->source));
    if (stage->test)
        pr_json_set(out, "test", dataset_json(stage->test));
    if (!*out)
        return no_memory(ctx);
    parry_status status = stage->attack ? attack_json(ctx, stage, *out) : PARRY_OK;
    if (status == PARRY_OK && stage->extra && json_object_update(*out, stage->extra) != 0)
        status = no_memory(ctx);
    if (status != PARRY_OK) {
        json_decref(*out);
        *out = NULL;
    }
    return status;
}

parry_status pr_curve_append(parry_ctx *ctx, json_t *curve, const pr_position *at, double lr, const double *test_loss,
                             const double *test_acc)
{
    double seen = (double)at->seen;
    json_t *entry = json_pack("{s:I, s:f, s:f, s:f}", "epoch", (json_int_t)at->epoch + 1, "lr", lr, "train_loss",
                              at->loss_sum / seen, "train_acc", (double)at->correct / seen);
    bool failed = test_loss && (json_object_set_new(entry, "test_loss", json_real(*test_loss)) != 0 ||
                                json_object_set_new(entry, "test_acc", json_real(*test_acc)) != 0);
    if (failed) {
        json_decref(entry);
        return no_memory(ctx);
    }
    return json_array_append_new(curve, entry) == 0 ? PARRY_OK : no_memory(ctx);
}

/* The stages that the model has behind it. A history of another making is left behind with a warning. */
static parry_status former_stages(parry_ctx *ctx, const parry_model *model, json_t **out)
{
    const char *text = parry_model_describe(model)->history;
    json_t *history = text ? json_loads(text, 0, NULL) : NULL;
    json_t *stages = json_object_get(history, "stages");
    if (text && !json_is_array(stages))
        pr_log(ctx, PARRY_LOG_WARNING, "%s: its training history cannot be read and is not carried on",
               parry_model_describe(model)->name);
    *out = json_is_array(stages) ? json_incref(stages) : json_array();
    json_decref(history);
    return *out ? PARRY_OK : no_memory(ctx);
}

parry_status pr_history_append(parry_ctx *ctx, parry_model *model, const pr_training *training)
{
    json_t *stages = NULL, *entry = json_copy(training->record), *history = NULL;
    char *text = NULL;
    parry_status status = PARRY_OK;
    if (training->stage->afresh)
        stages = json_array();
    else
        TRY_TO(out, former_stages(ctx, model, &stages));
    if (training->at.epoch < training->epochs &&
        json_object_set_new(entry, "stopped",
                            json_pack("{s:I, s:I, s:I}", "epoch", (json_int_t)training->at.epoch + 1, "step",
                                      (json_int_t)training->at.step, "of", (json_int_t)training->steps)) != 0)
        TRY_TO(out, no_memory(ctx));
    if (json_object_set(entry, "curve", training->curve) != 0 || json_array_append(stages, entry) != 0 ||
        !(history = json_pack("{s:O}", "stages", stages)))
        TRY_TO(out, no_memory(ctx));
    TRY_TO(out, pr_json_text(ctx, history, &text));
    TRY_TO(out, pr_model_set_history(ctx, model, text));
out:
    parry_string_free(text);
    json_decref(history);
    json_decref(entry);
    json_decref(stages);
    return status;
}
