/* Pieces that several commands share: opening data, writing JSON, probing outputs. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

parry_status open_data(parry_ctx *ctx, const char *spec, parry_split split, int64_t first, parry_dataset **out)
{
    parry_dataset *all;
    parry_status status = parry_dataset_open(ctx, spec, split, &all);
    if (status != PARRY_OK)
        return status;
    status = parry_dataset_first(ctx, all, first, out);
    parry_dataset_free(all);
    if (status == PARRY_OK && parry_dataset_describe(*out)->note)
        chat("note: %s: %s", parry_dataset_describe(*out)->name, parry_dataset_describe(*out)->note);
    return status;
}

parry_status probe_output(parry_ctx *ctx, const cli_args *args, const char *path)
{
    if (!path || strcmp(path, "-") == 0)
        return PARRY_OK;
    for (int i = 0; i < args->word_count; i++)
        if (same_file(args->words[i], path))
            return usage(ctx, "%s is read; writing there would lose it", path);
    return parry_file_probe(ctx, path);
}

parry_status check_there(parry_ctx *ctx, const char *path)
{
    if (access(path, R_OK) == 0)
        return PARRY_OK;
    usage(ctx, "%s: cannot be opened: %s", path, strerror(errno));
    return PARRY_IO;
}

parry_status probe_folder(parry_ctx *ctx, const char *path)
{
    if (!path)
        return PARRY_OK;
    parry_status status = parry_folder_make(ctx, path);
    if (status != PARRY_OK)
        return status;
    char file[4096];
    snprintf(file, sizeof file, "%s/probe", path);
    return parry_file_probe(ctx, file);
}

parry_status make_attack(parry_ctx *ctx, const cli_args *args, const char *spec, parry_attack **out)
{
    *out = NULL;
    if (strchr(spec, ','))
        return usage(ctx, "--attack %s: one attack at a time; parry evaluate sets several side by side", spec);
    parry_status status = wrong_name(ctx, parry_attack_create(ctx, spec, out));
    for (int i = 0; i < args->loose_count && status == PARRY_OK; i++)
        status = parry_attack_set(ctx, *out, args->loose[i][0], args->loose[i][1]);
    return status;
}

void csv_field(FILE *out, const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
        fputs(text, out);
        return;
    }
    fputc('"', out);
    for (; *text; text++) {
        if (*text == '"')
            fputc('"', out);
        fputc(*text, out);
    }
    fputc('"', out);
}

parry_status write_json_text(parry_ctx *ctx, const cli_args *args, const char *text)
{
    const common_options *common = args_values(args, &common_table);
    if (!common->json)
        return PARRY_OK;
    if (strcmp(common->json, "-") != 0)
        return parry_file_write(ctx, common->json, text, strlen(text));
    terminal_clear();
    fputs(text, stdout);
    fputc('\n', stdout);
    return PARRY_OK;
}

parry_status write_json(parry_ctx *ctx, const cli_args *args, json_t *value)
{
    json_object_set_new(value, "version", json_string(parry_version()));
    json_object_set_new(value, "seed", json_integer((json_int_t)parry_ctx_seed(ctx)));
    const size_t flags = JSON_INDENT(2) | JSON_REAL_PRECISION(9), size = json_dumpb(value, NULL, 0, flags);
    char *text = size ? malloc(size + 1) : NULL; /* json_dumps may lose a piece when memory is out */
    if (text)
        text[json_dumpb(value, text, size, flags)] = '\0';
    json_decref(value);
    if (!text) {
        usage(ctx, "the results cannot be written as JSON: a figure is not finite, or memory is out");
        return PARRY_IO;
    }
    parry_status status = write_json_text(ctx, args, text);
    free(text);
    return status;
}

json_t *text_json(const char *text)
{
    json_t *json = json_string(text);
    if (json)
        return json;
    char ascii[512];
    snprintf(ascii, sizeof ascii, "%s", text);
    for (char *at = ascii; *at; at++)
        if ((unsigned char)*at >= 0x80)
            *at = '?';
    return json_string(ascii);
}

ranking rank_classes(const parry_model *model, const float *logits)
{
    const int classes = parry_model_describe(model)->classes;
    ranking out = {.count = classes < 3 ? classes : 3};
    parry_top_probabilities(logits, classes, out.count, out.class, out.probability);
    return out;
}

void caption_classes(const parry_model *model, const float *logits, char text[CAPTION_ROOM])
{
    const ranking top = rank_classes(model, logits);
    char name[PARRY_CLASS_NAME_ROOM];
    text[0] = '\0';
    for (int k = 0; k < top.count; k++)
        snprintf(text + strlen(text), CAPTION_ROOM - strlen(text), "%s%.60s %.1f %%", k ? "\n" : "",
                 parry_class_name(model, top.class[k], name), 100 * top.probability[k]);
}

json_t *model_json(const parry_model *model)
{
    const parry_model_info *info = parry_model_describe(model);
    json_t *json = json_pack("{s:s, s:i, s:I}", "name", info->name, "classes", info->classes, "parameters",
                             (json_int_t)info->parameters);
    if (info->sha256)
        json_object_set_new(json, "sha256", json_string(info->sha256));
    return json;
}

json_t *data_json(const parry_dataset *dataset)
{
    const parry_dataset_info *info = parry_dataset_describe(dataset);
    json_t *json = json_pack("{s:s, s:s, s:I, s:s}", "name", info->name, "split", info->split, "count",
                             (json_int_t)info->count, "sha256", info->sha256);
    if (info->note)
        json_object_set_new(json, "note", json_string(info->note));
    return json;
}
