/* parry attack: adversarial images for one model, and what they do to it. */
#include <stdlib.h>
#include <string.h>

#include "cli/attack.h"
#include "cli/commands.h"

typedef struct attack_options {
    const char *attack, *output, *save_images, *save, *csv, *figure;
    bool minimal_eps;
} attack_options;

PR_OPTIONS(attack_command_table, attack_options,
           OPT_STRING(attack_options, attack, "attack", "fgsm", "NAME",
                      "the attack (parry list attacks); options may follow as NAME:OPTION=VALUE"),
           OPT_BOOL(attack_options, minimal_eps, "minimal-eps", "false",
                    "find for each image the smallest eps, up to --eps, at which the criterion is met"),
           OPT_STRING(attack_options, output, "output", NULL, "FILE",
                      "write the adversary of the only image: .png (8 bits) or .npy (float32)"),
           OPT_STRING(attack_options, save_images, "save-images", NULL, "FOLDER",
                      "write the adversarial images as PNG files, and classify those again"),
           OPT_STRING(attack_options, save, "save", NULL, "FOLDER",
                      "write images.npy (float32) and labels.npy, a dataset for --data"),
           OPT_STRING(attack_options, csv, "csv", NULL, "FILE", "write a line for each image"),
           OPT_STRING(attack_options, figure, "figure", NULL, "FILE",
                      "draw the only image, the difference and the adversary side by side (PNG)"));

/* ---- the 8-bit round trip ---------------------------------------------------------------------------------------- */

static bool is_png(const char *path)
{
    const size_t length = path ? strlen(path) : 0;
    return length > 4 && strcmp(path + length - 4, ".png") == 0;
}

static parry_status read_back(parry_ctx *ctx, const parry_model_info *info, const char *path, float *out)
{
    parry_image image;
    parry_status status = parry_image_read(ctx, path, &image);
    if (status != PARRY_OK)
        return status;
    if (image.channels == info->channels && image.height == info->height && image.width == info->width)
        memcpy(out, image.pixels, (size_t)info->channels * (size_t)(info->height * info->width) * sizeof *out);
    else
        status = usage(ctx, "%s was written as %d x %d x %d and read back as %d x %d x %d", path, info->channels,
                       info->height, info->width, image.channels, image.height, image.width);
    parry_image_clear(&image);
    return status;
}

/* Decodes what was written, and judges it: what --output wrote, or the files in --save-images. */
static parry_status judge_stored(parry_ctx *ctx, const attack_options *options, const attack_report *report, bool *met)
{
    const parry_model_info *info = parry_model_describe(report->model);
    const int64_t n = report->result->count, row = (int64_t)info->channels * info->height * info->width;
    float *images = malloc((size_t)(n * row) * sizeof *images);
    char path[4096];
    parry_status status = PARRY_OK;
    if (!images) {
        usage(ctx, "out of memory for %lld images", (long long)n);
        return PARRY_NO_MEMORY;
    }
    for (int64_t i = 0; i < n && status == PARRY_OK; i++) {
        if (options->save_images)
            snprintf(path, sizeof path, "%s/adv-%05lld.png", options->save_images, (long long)i);
        status = read_back(ctx, info, options->save_images ? path : options->output, images + i * row);
    }
    if (status == PARRY_OK)
        status = parry_attack_judge(ctx, report->threat, report->model, report->result, images, met);
    free(images);
    return status;
}

/* ---- saving ------------------------------------------------------------------------------------------------------ */

/* The images' own dataset with other pixels: its caveat stays, and what they are is added. */
static parry_status save_dataset(parry_ctx *ctx, const attack_report *report, const char *folder)
{
    const parry_threat *threat = report->threat;
    const char *norm = parry_options_find(parry_threat_options(), "norm")->choices[threat->norm];
    char note[512];
    snprintf(note, sizeof note, "adversarial against %.200s: %s, %s eps %s%.4g, criterion %.100s%s",
             parry_model_describe(report->model)->name, parry_attack_label(report->attack), norm,
             report->search ? "up to " : "", threat->eps, criterion_of(threat),
             threat->quantize ? ", on the 8-bit grid" : "");
    parry_dataset *adversaries;
    parry_status status = parry_dataset_replace(ctx, report->data, report->result->adversaries, note, &adversaries);
    if (status == PARRY_OK)
        status = parry_dataset_write(ctx, adversaries, folder);
    parry_dataset_free(adversaries);
    return status;
}

static parry_status save_images(parry_ctx *ctx, const attack_options *options, const attack_report *report)
{
    const parry_model_info *info = parry_model_describe(report->model);
    parry_status status = PARRY_OK;
    if (options->output) {
        const parry_image image = {info->channels, info->height, info->width, report->result->adversaries};
        status = parry_image_write(ctx, options->output, &image);
    }
    if (status == PARRY_OK && options->save_images)
        status = parry_images_write(ctx, options->save_images, "adv", report->result->adversaries, 0,
                                    report->result->count, info->channels, info->height, info->width);
    if (status == PARRY_OK && options->save)
        status = save_dataset(ctx, report, options->save);
    return status;
}

/* Images first: whether they are still adversarial as they were stored belongs to what is told. */
static parry_status tell(parry_ctx *ctx, const cli_args *args, const attack_options *options, attack_report *report)
{
    bool *stored = NULL;
    parry_status status = save_images(ctx, options, report);
    if (status == PARRY_OK && (options->save_images || is_png(options->output))) {
        report->stored = stored = calloc((size_t)report->result->count, sizeof *stored);
        if (stored)
            status = judge_stored(ctx, options, report, stored);
        else
            status = PARRY_NO_MEMORY;
    }
    if (status == PARRY_OK)
        attack_print(report);
    if (status == PARRY_OK && options->csv)
        status = attack_csv(ctx, report, options->csv);
    if (status == PARRY_OK && options->figure)
        status = attack_figure(ctx, report, options->figure);
    if (status == PARRY_OK)
        status = write_json(ctx, args, attack_json(report));
    free(stored);
    report->stored = NULL;
    return status;
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

static parry_status check_outputs(parry_ctx *ctx, const cli_args *args, const attack_options *options)
{
    const char *const files[] = {options->output, options->csv, options->figure};
    parry_status status = PARRY_OK;
    for (size_t i = 0; i < sizeof files / sizeof files[0] && status == PARRY_OK; i++)
        status = probe_output(ctx, args, files[i]);
    if (status == PARRY_OK)
        status = probe_folder(ctx, options->save_images);
    return status == PARRY_OK ? probe_folder(ctx, options->save) : status;
}

/* Some outputs are of one image. */
static parry_status check_single(parry_ctx *ctx, const attack_options *options, const parry_dataset *data)
{
    const int64_t count = parry_dataset_describe(data)->count;
    if (count != 1 && (options->output || options->figure))
        return usage(ctx, "--%s is for one image, and there are %lld; --save-images FOLDER writes them all",
                     options->output ? "output" : "figure", (long long)count);
    return PARRY_OK;
}

static parry_status attack_inputs(parry_ctx *ctx, const cli_args *args, const attack_options *options,
                                  attack_report *report)
{
    parry_attack_result result = {0};
    parry_status status;
    if (report->search)
        status = parry_attack_minimal_eps(ctx, report->attack, report->threat, report->search, report->model,
                                          report->data, &result);
    else
        status = parry_attack_run(ctx, report->attack, report->threat, report->model, report->data, &result);
    report->result = &result;
    if (status == PARRY_OK)
        status = tell(ctx, args, options, report);
    parry_attack_result_clear(&result);
    return status;
}

parry_status cmd_attack(parry_ctx *ctx, const cli_args *args)
{
    const attack_options *options = args_values(args, &attack_command_table);
    const parry_threat *threat = args_values(args, parry_threat_options());
    parry_attack *attack = NULL;
    cli_inputs inputs = {0};
    parry_status status = make_attack(ctx, args, options->attack, &attack);
    if (status == PARRY_OK)
        status = parry_threat_check(ctx, threat);
    if (status == PARRY_OK)
        status = check_outputs(ctx, args, options);
    if (status == PARRY_OK)
        status = open_inputs(ctx, args, 1, &inputs);
    if (status == PARRY_OK)
        status = check_single(ctx, options, inputs.data);
    if (status == PARRY_OK) {
        attack_report report = {.attack = attack,
                                .threat = threat,
                                .search = options->minimal_eps ? args_values(args, parry_search_options()) : NULL,
                                .model = inputs.models[0],
                                .data = inputs.data};
        status = attack_inputs(ctx, args, options, &report);
    }
    close_inputs(&inputs);
    parry_attack_free(attack);
    return status;
}
