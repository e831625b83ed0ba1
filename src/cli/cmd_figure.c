/* parry figure: a photograph, what was done to it, and its adversary, side by side. */
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"

typedef struct figure_options {
    const char *output, *model, *title;
    double magnify;
    int difference;
    int64_t side;
} figure_options;

static const char *const differences[] = {"signed", "absolute", NULL}; /* parry_difference */

PR_OPTIONS(figure_command_table, figure_options,
           OPT_STRING(figure_options, output, "output", NULL, "FILE", "where the picture is written (PNG), required"),
           OPT_STRING(figure_options, model, "model", NULL, "MODEL", "also show what this model calls both, and how sure it is"),
           OPT_FLOAT(figure_options, magnify, "magnify", "0", 0, 1e9,
                     "factor of the difference; 0: the largest change reaches the end of the range"),
           OPT_CHOICE(figure_options, difference, "difference", "signed", differences,
                      "signed: grey where nothing changed; absolute: black there"),
           OPT_INT(figure_options, side, "side", "0", 0, 4096, "longer side of each picture in pixels; 0: by the image's size"),
           OPT_STRING(figure_options, title, "title", NULL, "TEXT", "title above the pictures"));

/* "mountain tent 82.1 %" on the first line, the next two classes below. */
static parry_status caption(parry_ctx *ctx, const parry_model *model, const parry_image *image, char text[CAPTION_ROOM])
{
    float *logits = malloc((size_t)parry_model_describe(model)->classes * sizeof *logits);
    parry_status status = logits ? parry_model_logits(ctx, model, image->pixels, 1, logits) : PARRY_NO_MEMORY;
    if (status == PARRY_OK)
        caption_classes(model, logits, text);
    free(logits);
    return status;
}

static parry_status check_model(parry_ctx *ctx, const parry_model *model, const char *path, const parry_image *image)
{
    const parry_model_info *info = parry_model_describe(model);
    if (info->channels == image->channels && info->height == image->height && info->width == image->width)
        return PARRY_OK;
    return usage(ctx, "%s takes images of %d x %d x %d; %s has %d x %d x %d", info->name, info->channels, info->height, info->width,
                 path, image->channels, image->height, image->width);
}

/* The two captions, where there is a model. */
static parry_status name_both(parry_ctx *ctx, const cli_args *args, const char *path, const parry_image *photo,
                              const parry_image *adversary, char before[CAPTION_ROOM], char after[CAPTION_ROOM])
{
    parry_model *model;
    if (!path)
        return PARRY_OK;
    parry_status status = load_model(ctx, args, path, NULL, &model);
    if (status != PARRY_OK)
        return status;
    status = check_model(ctx, model, args->words[1], adversary);
    if (status == PARRY_OK)
        status = caption(ctx, model, photo, before);
    if (status == PARRY_OK)
        status = caption(ctx, model, adversary, after);
    parry_model_free(model);
    return status;
}

static void print_words(const char *what, const char *words)
{
    if (words[0])
        fprintf(results(), "  %-12s %.*s\n", what, (int)strcspn(words, "\n"), words);
}

static void print_figure(const parry_triptych *t, const parry_budget *budget, const char *path)
{
    terminal_clear();
    fprintf(results(), "%s: difference magnified %.4g times\n", path, parry_figure_magnify(t));
    fprintf(results(), "  budget       sum of |d| %.4g grey levels, L2 %.4g, Linf %.4g (%.4g/255), %lld of %lld pixels changed\n",
            budget->sum, budget->l2, budget->linf, 255 * budget->linf, (long long)budget->pixels,
            (long long)t->height * t->width);
    print_words("original", t->original_caption ? t->original_caption : "");
    print_words("adversarial", t->adversary_caption ? t->adversary_caption : "");
}

static parry_status draw(parry_ctx *ctx, const cli_args *args, const parry_image *photo, const parry_image *adversary)
{
    const figure_options *options = args_values(args, &figure_command_table);
    const common_options *common = args_values(args, &common_table);
    char before[CAPTION_ROOM] = "", after[CAPTION_ROOM] = "";
    parry_status status = name_both(ctx, args, options->model, photo, adversary, before, after);
    if (status != PARRY_OK)
        return status;
    const parry_triptych t = {.size = sizeof t, .original = photo->pixels, .adversary = adversary->pixels,
                              .channels = photo->channels, .height = photo->height, .width = photo->width,
                              .magnify = options->magnify, .difference = options->difference, .title = options->title,
                              .original_caption = before[0] ? before : NULL, .adversary_caption = after[0] ? after : NULL,
                              .side = (int)options->side};
    const parry_budget budget = parry_budget_of(t.original, t.adversary, t.channels, t.height, t.width, false);
    status = parry_figure_triptych(ctx, &t, options->output);
    if (status != PARRY_OK)
        return status;
    print_figure(&t, &budget, options->output);
    if (!common->json)
        return PARRY_OK;
    return write_json(ctx, args, json_pack("{s:o, s:o, s:f, s:f, s:f, s:f, s:I}", "original", text_json(args->words[0]), "adversarial",
                                           text_json(args->words[1]), "magnify", parry_figure_magnify(&t), "sum_levels", budget.sum,
                                           "l2", budget.l2, "linf", budget.linf, "pixels", (json_int_t)budget.pixels));
}

parry_status cmd_figure(parry_ctx *ctx, const cli_args *args)
{
    const figure_options *options = args_values(args, &figure_command_table);
    parry_image photo = {0}, adversary = {0};
    char how[64];
    if (!options->output)
        return usage(ctx, "-o FILE is missing: where the picture is written");
    parry_status status = probe_output(ctx, args, options->output);
    if (status == PARRY_OK)
        status = parry_image_read(ctx, args->words[1], &adversary);
    if (status == PARRY_OK)
        status = parry_image_read_like(ctx, args->words[0], &adversary, &photo, how);
    if (status == PARRY_OK && how[0])
        chat("note: %s was fitted to the adversary: %s", args->words[0], how);
    if (status == PARRY_OK)
        status = draw(ctx, args, &photo, &adversary);
    parry_image_clear(&photo);
    parry_image_clear(&adversary);
    return status;
}
