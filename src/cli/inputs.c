/* Models and images in the right order: a dataset says what an input without axes means, so it comes before the model;
 * photographs are read at the model's size, so they come after it. */
#include <string.h>

#include "cli/cli.h"

/* How many of the command's words are models: the rest, from the first photograph on, are photographs. */
static int count_models(parry_ctx *ctx, const cli_args *args, int most)
{
    int count = 1;
    while (count < args->word_count && count < most && !parry_dataset_has_images(ctx, args->words[count]))
        count++;
    return count;
}

parry_status load_model(parry_ctx *ctx, const cli_args *args, const char *path, const parry_dataset *fit,
                        parry_model **out)
{
    return parry_model_load_as(ctx, path, args_values(args, parry_preprocess_options()), fit, out);
}

parry_status load_model_among(parry_ctx *ctx, const cli_args *args, const char *path, int count,
                              const parry_dataset *fit, parry_model **out)
{
    parry_preprocess flags = *(const parry_preprocess *)args_values(args, parry_preprocess_options());
    parry_status status = load_model(ctx, args, path, fit, out);
    if (status != PARRY_MISMATCH || count < 2 || !flags.input_size.height)
        return status;
    flags.input_size = (parry_size){0}; /* fails again where something else was wrong */
    return parry_model_load_as(ctx, path, &flags, fit, out);
}

static parry_status load_models(parry_ctx *ctx, const cli_args *args, cli_inputs *out)
{
    const int count = out->model_count;
    for (int i = out->model_count = 0; i < count; i++) {
        parry_status status = load_model_among(ctx, args, args->words[i], count, out->data, &out->models[i]);
        if (status != PARRY_OK)
            return status;
        out->model_count++;
    }
    return PARRY_OK;
}

/* --first, whichever table of the command has it: only so many photographs need be decoded. */
static int64_t first_photographs(const cli_args *args)
{
    const data_options *where = args_values(args, &data_table);
    const parry_evaluate_settings *settings = args_values(args, parry_evaluate_options());
    return settings && settings->first ? settings->first : where->first;
}

static parry_status open_photographs(parry_ctx *ctx, const cli_args *args, const char *const *words, int count,
                                     cli_inputs *out)
{
    const data_options *where = args_values(args, &data_table);
    parry_status status = load_models(ctx, args, out);
    out->photographs = true;
    if (status == PARRY_OK)
        status = parry_dataset_open_images(ctx, words, (size_t)count, out->models[0], where->labels,
                                           (parry_split)where->split, first_photographs(args), &out->data);
    return status;
}

static bool ends_with(const char *text, const char *ending)
{
    const size_t length = strlen(text), tail = strlen(ending);
    return length >= tail && strcmp(text + length - tail, ending) == 0;
}

/* Arrays of images with labels (.npz, or ...images....npy with its labels beside it) are data like those of --data. */
static bool is_labelled_array(const char *word)
{
    const char *slash = strrchr(word, '/');
    return ends_with(word, ".npz") || (ends_with(word, ".npy") && strstr(slash ? slash : word, "images"));
}

/* A .npy of one image at the network's size, as attack -o writes it; its label is unknown. */
static parry_status open_one_array(parry_ctx *ctx, const cli_args *args, const char *path, cli_inputs *out)
{
    const int32_t unknown = -1;
    parry_image image;
    parry_status status = load_models(ctx, args, out);
    if (status != PARRY_OK)
        return status;
    status = parry_image_read(ctx, path, &image);
    if (status != PARRY_OK)
        return status;
    status = parry_dataset_create(ctx, image.pixels, &unknown, 1, image.channels, image.height, image.width,
                                  parry_model_describe(out->models[0])->classes, &out->data);
    parry_image_clear(&image);
    return status;
}

static parry_status open_arrays(parry_ctx *ctx, const cli_args *args, const char *path, cli_inputs *out)
{
    const data_options *where = args_values(args, &data_table);
    if (where->labels)
        return usage(ctx, "--labels is for photographs; %s is an array", path);
    if (!is_labelled_array(path))
        return open_one_array(ctx, args, path, out);
    parry_status status = open_data(ctx, path, (parry_split)where->split, where->first, &out->data);
    return status == PARRY_OK ? load_models(ctx, args, out) : status;
}

static parry_status open_in_order(parry_ctx *ctx, const cli_args *args, int most_models, cli_inputs *out)
{
    const data_options *where = args_values(args, &data_table);
    *out = (cli_inputs){.model_count = count_models(ctx, args, most_models)};
    const int photographs = args->word_count - out->model_count;
    if (out->model_count > CLI_MODELS_MAX)
        return usage(ctx, "%d models; at most %d are taken at a time", out->model_count, CLI_MODELS_MAX);
    if (photographs > 0 && args_given(args, &data_table, "data"))
        return usage(ctx, "both --data %s and the photograph %s were given; expected one of them", where->data,
                     args->words[out->model_count]);
    const char *last = args->words[args->word_count - 1];
    if (photographs == 1 && (ends_with(last, ".npy") || ends_with(last, ".npz")))
        return open_arrays(ctx, args, last, out);
    if (photographs > 0)
        return open_photographs(ctx, args, args->words + out->model_count, photographs, out);
    if (parry_dataset_has_images(ctx, where->data))
        return open_photographs(ctx, args, &where->data, 1, out);
    if (where->labels)
        return usage(ctx, "--labels is for photographs; %s has labels of its own", where->data);
    parry_status status = PARRY_OK;
    for (int i = 0; i < out->model_count && status == PARRY_OK; i++)
        status = check_there(ctx, args->words[i]);
    if (status == PARRY_OK)
        status = open_data(ctx, where->data, (parry_split)where->split, where->first, &out->data);
    return status == PARRY_OK ? load_models(ctx, args, out) : status;
}

/* A warning where the preprocessing looks wrong; costs a few images' logits. */
static parry_status check_preprocess(parry_ctx *ctx, const cli_inputs *inputs)
{
    parry_status status = PARRY_OK;
    for (int i = 0; i < inputs->model_count && status == PARRY_OK; i++) {
        parry_preprocess_check check;
        parry_dataset *images;
        status = parry_dataset_fit_images(ctx, inputs->data, inputs->models[i], &images);
        if (status == PARRY_OK)
            status = parry_model_check_preprocess(ctx, inputs->models[i], images, &check);
        parry_dataset_free(images);
    }
    return status;
}

parry_status open_inputs(parry_ctx *ctx, const cli_args *args, int most_models, cli_inputs *out)
{
    parry_status status = open_in_order(ctx, args, most_models, out);
    return status == PARRY_OK ? check_preprocess(ctx, out) : status;
}

void close_inputs(cli_inputs *inputs)
{
    for (int i = 0; i < inputs->model_count; i++)
        parry_model_free(inputs->models[i]);
    parry_dataset_free(inputs->data);
    *inputs = (cli_inputs){0};
}
