/* The names of a model's classes: where they come from, and finding one. */
#include <stdio.h>
#include <string.h>

#include <parry/classes.h>

#include "base/json.h"
#include "data/classes.h"
#include "data/data.h"
#include "model/network.h"

static parry_status copy_names(parry_ctx *ctx, const char *const *names, int count, char ***out)
{
    TRY(pr_alloc(ctx, count, out));
    for (int i = 0; i < count; i++)
        TRY(pr_strdup(ctx, names[i], &(*out)[i]));
    return PARRY_OK;
}

static parry_status names_from_metadata(parry_ctx *ctx, const char *where, const char *text, int classes, char ***out)
{
    json_t *list;
    TRY(pr_json_parse(ctx, where, text, &list));
    parry_status status = PARRY_OK;
    if (!json_is_array(list) || json_array_size(list) != (size_t)classes)
        TRY_TO(out, pr_fail(ctx, PARRY_FORMAT, "%s: metadata \"%s\" must be a list of %d names", where, PR_CLASSES_KEY,
                            classes));
    TRY_TO(out, pr_alloc(ctx, classes, out));
    for (int i = 0; i < classes; i++) {
        const char *name = json_string_value(json_array_get(list, (size_t)i));
        if (!name)
            TRY_TO(out, pr_fail(ctx, PARRY_FORMAT, "%s: metadata \"%s\" has an item that is not a text", where,
                                PR_CLASSES_KEY));
        TRY_TO(out, pr_strdup(ctx, name, &(*out)[i]));
    }
out:
    json_decref(list);
    return status;
}

/* The known dataset that the last stage of the history was trained on, or NULL. */
static const pr_source *source_of(const char *history)
{
    json_t *json = history ? json_loads(history, 0, NULL) : NULL, *stages = json_object_get(json, "stages");
    const size_t count = json_array_size(stages);
    const json_t *data = count ? json_object_get(json_array_get(stages, count - 1), "data") : NULL;
    const char *name = json_string_value(json_object_get(data, "name"));
    const pr_source *source = name ? pr_source_find(name) : NULL;
    json_decref(json);
    return source;
}

parry_status pr_network_name_classes(parry_ctx *ctx, pr_network *network, const parry_dataset_info *fit)
{
    parry_model_info *info = &network->base.info;
    const char *text = pr_onnx_meta_get(&network->file, PR_CLASSES_KEY);
    const pr_source *source = source_of(network->history);
    const char *const *names = NULL;
    if (text) {
        TRY(names_from_metadata(ctx, network->name, text, info->classes, &network->class_names));
    } else if (network->file.class_names) {
        TRY(copy_names(ctx, (const char *const *)network->file.class_names, info->classes, &network->class_names));
    } else {
        if (source && source->classes == info->classes)
            names = source->class_names;
        else if (fit && fit->classes == info->classes)
            names = fit->class_names;
        if (names)
            TRY(copy_names(ctx, names, info->classes, &network->class_names));
    }
    info->class_names = (const char *const *)network->class_names;
    if (!network->class_names && info->classes == PR_IMAGENET_CLASSES) {
        info->class_names = pr_imagenet_names;
        info->class_wnids = pr_imagenet_wnids;
    }
    return PARRY_OK;
}

parry_status pr_classes_json(parry_ctx *ctx, const char *const *names, int count, char **out)
{
    json_t *list = json_array();
    *out = NULL;
    for (int i = 0; i < count; i++)
        if (json_array_append_new(list, json_string(names[i]))) {
            json_decref(list);
            return pr_fail(ctx, PARRY_INVALID, "the name of class %d, '%s', cannot be written: it is not UTF-8", i,
                           names[i]);
        }
    parry_status status = pr_json_dump(ctx, list, JSON_COMPACT, out);
    json_decref(list);
    return status;
}

/* Whether the JSON array holds each of the names. */
static bool same_names(const json_t *list, const char *const *names, int count)
{
    bool same = json_array_size(list) == (size_t)count;
    for (int i = 0; same && i < count; i++) {
        same = false;
        for (int k = 0; !same && k < count; k++) {
            const char *name = json_string_value(json_array_get(list, (size_t)k));
            same = name && strcmp(name, names[i]) == 0;
        }
    }
    return same;
}

parry_status pr_classes_declare(parry_ctx *ctx, const char *const *names, int count, pr_onnx_model *file)
{
    pr_onnx_meta *at = NULL, *grown;
    char *text;
    for (size_t i = 0; i < file->meta_count; i++)
        if (strcmp(file->meta[i].key, PR_CLASSES_KEY) == 0)
            at = &file->meta[i];
    json_t *there = at ? json_loads(at->value, 0, NULL) : NULL;
    const bool same = there && same_names(there, names, count);
    json_decref(there);
    if (same)
        return PARRY_OK;
    TRY(pr_classes_json(ctx, names, count, &text));
    if (at) {
        pr_free(at->value);
        at->value = text;
        return PARRY_OK;
    }
    parry_status status = pr_alloc(ctx, file->meta_count + 1, &grown);
    if (status == PARRY_OK && (status = pr_strdup(ctx, PR_CLASSES_KEY, &grown[file->meta_count].key)) != PARRY_OK)
        pr_free(grown);
    if (status != PARRY_OK) {
        pr_free(text);
        return status;
    }
    grown[file->meta_count].value = text;
    if (file->meta_count)
        memcpy(grown, file->meta, file->meta_count * sizeof *grown);
    pr_free(file->meta);
    file->meta = grown;
    file->meta_count++;
    return PARRY_OK;
}

pr_classes pr_model_class_table(const parry_model *model)
{
    const parry_model_info *info = &model->info;
    return (pr_classes){
        .of = info->name, .count = info->classes, .names = info->class_names, .wnids = info->class_wnids};
}

parry_status parry_class_find(parry_ctx *ctx, const parry_model *model, const char *text, int *out)
{
    const pr_classes classes = pr_model_class_table(model);
    return pr_classes_find(ctx, &classes, text, out);
}

const char *parry_class_name(const parry_model *model, int index, char buffer[PARRY_CLASS_NAME_ROOM])
{
    const parry_model_info *info = &model->info;
    if (index < 0 || index >= info->classes)
        snprintf(buffer, PARRY_CLASS_NAME_ROOM, "unknown");
    else if (info->class_names)
        pr_class_first_name(info->class_names[index], buffer, PARRY_CLASS_NAME_ROOM);
    else
        snprintf(buffer, PARRY_CLASS_NAME_ROOM, "class %d", index);
    return buffer;
}
