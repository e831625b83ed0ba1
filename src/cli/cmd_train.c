/* parry train and parry harden. */
#include <string.h>

#include "cli/commands.h"

typedef struct train_options {
    const char *arch, *weights, *data, *output;
    int64_t first, size;
} train_options;

PR_OPTIONS(train_command_table, train_options,
           OPT_STRING(train_options, output, "output", NULL, "FILE", "where the model is written, required"),
           OPT_STRING(train_options, arch, "arch", "simplecnn", "NAME", "architecture (parry list architectures)"),
           OPT_STRING(train_options, weights, "weights", NULL, "MODEL",
                      "start from the weights of this ONNX file, which is of the same architecture"),
           OPT_STRING(train_options, data, "data", "mnist", "NAME|PATH",
                      "the images, or photographs in a folder for each class; trained on the train split, scored on "
                      "the test split"),
           OPT_INT(train_options, size, "size", "0", 0, 65535,
                   "photographs: pixels of the network's side; 0: what the architecture was made for"),
           OPT_INT(train_options, first, "first", "0", 0, 1e12, "train on the first N images only, of photographs one of each class in turn; 0: all"));

typedef struct harden_options {
    const char *data, *output;
    int split;
    int64_t first;
} harden_options;

PR_OPTIONS(
    harden_command_table, harden_options,
    OPT_STRING(harden_options, output, "output", NULL, "FILE", "where the hardened model is written, required"),
    OPT_STRING(harden_options, data, "data", "mnist", "NAME|PATH",
               "the images, or photographs in a folder for each class"),
    OPT_CHOICE(harden_options, split, "split", "train", split_names,
               "images that are attacked and trained on; test is the tutorial's way and flatters the test score"),
    OPT_INT(harden_options, first, "first", "0", 0, 1e12, "train on the first N images only, of photographs one of each class in turn; 0: all"));

/* What a network is trained and scored on. */
typedef struct both_splits {
    parry_dataset *train, *test; /* test NULL: there is none */
} both_splits;

static void close_both(both_splits *both)
{
    parry_dataset_free(both->train);
    parry_dataset_free(both->test);
}

/* Both splits; the test split may be missing (a folder of one's own). */
static parry_status open_both(parry_ctx *ctx, const char *spec, parry_split split, int64_t first, both_splits *out)
{
    parry_status status = open_data(ctx, spec, split, first, &out->train);
    if (status != PARRY_OK)
        return status;
    status = parry_dataset_open(ctx, spec, PARRY_TEST, &out->test);
    if (status == PARRY_NOT_FOUND) {
        chat("note: %s has no test split; no test accuracy is measured", spec);
        status = PARRY_OK;
    }
    return status;
}

/* Training needs to know what every image shows. */
static parry_status check_labelled(parry_ctx *ctx, const char *spec, const parry_dataset *data)
{
    const int32_t *labels = parry_dataset_labels(data);
    for (int64_t i = 0; i < parry_dataset_describe(data)->count; i++)
        if (labels[i] < 0)
            return usage(ctx,
                         "%s: %s has no label; a network is trained on photographs in a folder for each class, or "
                         "with a labels.csv that names every one",
                         spec, parry_dataset_image_name(data, i));
    return PARRY_OK;
}

/* The same of a folder of photographs, at the size of `model`. */
static parry_status open_both_photographs(parry_ctx *ctx, const char *spec, const parry_model *model, parry_split split,
                                          int64_t first, both_splits *out)
{
    const bool has_test = parry_dataset_has_split(ctx, spec, PARRY_TEST);
    parry_status status = parry_dataset_open_images(ctx, &spec, 1, model, NULL, split, first, &out->train);
    if (status == PARRY_OK)
        status = check_labelled(ctx, spec, out->train);
    if (status == PARRY_OK && has_test)
        status = parry_dataset_open_images(ctx, &spec, 1, model, NULL, PARRY_TEST, 0, &out->test);
    else if (status == PARRY_OK)
        chat("note: %s has no folder val or test beside a folder train; no test accuracy is measured", spec);
    return status;
}

/* Saves, scores and reports a model that was just trained. */
static parry_status finish(parry_ctx *ctx, const cli_args *args, const parry_model *model, const parry_dataset *data,
                           const parry_dataset *test, const char *output)
{
    parry_status status = parry_model_save(ctx, model, output);
    if (status != PARRY_OK)
        return status;
    json_t *json = json_pack("{s:o, s:o, s:o}", "output", text_json(output), "model", model_json(model), "trained_on",
                             data_json(data));
    terminal_clear();
    if (test) {
        double acc, loss;
        status = parry_model_accuracy(ctx, model, test, &acc, &loss);
        json_object_set_new(json, "clean_acc", json_real(acc));
        json_object_set_new(json, "clean_loss", json_real(loss));
        json_object_set_new(json, "tested_on", data_json(test));
        if (status == PARRY_OK)
            fprintf(results(), "%s: clean accuracy %.2f %% on %lld test images of %s\n", output, 100 * acc,
                    (long long)parry_dataset_describe(test)->count, parry_dataset_describe(test)->name);
    } else
        fprintf(results(), "%s: written\n", output);
    const char *history = parry_model_describe(model)->history;
    if (history)
        json_object_set_new(json, "history", json_loads(history, 0, NULL));
    if (status != PARRY_OK) {
        json_decref(json);
        return status;
    }
    return write_json(ctx, args, json);
}

/* The network, untrained, and its images. */
static parry_status open_training(parry_ctx *ctx, const cli_args *args, both_splits *both, parry_model **model)
{
    const train_options *options = args_values(args, &train_command_table);
    const parry_preprocess *preprocess = args_values(args, parry_preprocess_options());
    if (parry_dataset_has_images(ctx, options->data)) {
        parry_status status = parry_model_build_for_images(ctx, options->arch, options->data, (int)options->size,
                                                           options->weights, preprocess, model);
        return status == PARRY_OK
                   ? open_both_photographs(ctx, options->data, *model, PARRY_TRAIN, options->first, both)
                   : status;
    }
    if (options->size)
        return usage(ctx, "--size is for photographs; the images of %s have a size of their own", options->data);
    parry_status status = open_both(ctx, options->data, PARRY_TRAIN, options->first, both);
    if (status != PARRY_OK)
        return status;
    const parry_dataset_info *info = parry_dataset_describe(both->train);
    const parry_build build = {.channels = info->channels,
                               .height = info->height,
                               .width = info->width,
                               .classes = info->classes,
                               .class_names = info->class_names,
                               .weights = options->weights,
                               .preprocess = preprocess};
    return parry_model_build_from(ctx, options->arch, &build, model);
}

/* Said before the images are looked for. */
static parry_status check_arch(parry_ctx *ctx, const char *name)
{
    const char *const *names = parry_arch_list();
    size_t count = 0;
    for (; names[count]; count++)
        if (strcmp(names[count], name) == 0)
            return PARRY_OK;
    const char *nearest = parry_nearest(name, names, count);
    return nearest ? usage(ctx, "there is no architecture '%s'; did you mean '%s'?", name, nearest)
                   : usage(ctx, "there is no architecture '%s'; 'parry list architectures' shows them", name);
}

parry_status cmd_train(parry_ctx *ctx, const cli_args *args)
{
    const train_options *options = args_values(args, &train_command_table);
    const parry_train_settings *settings = args_values(args, parry_train_options());
    if (!options->output)
        return usage(ctx, "-o FILE is missing: where shall the model be written?");
    both_splits both = {0};
    parry_model *model = NULL;
    parry_status status = check_arch(ctx, options->arch);
    if (status == PARRY_OK)
        status = parry_train_check(ctx, settings);
    if (status == PARRY_OK)
        status = probe_output(ctx, args, options->output);
    if (status == PARRY_OK)
        status = probe_output(ctx, args, settings->checkpoint);
    if (status == PARRY_OK && options->weights)
        status = check_there(ctx, options->weights);
    if (status == PARRY_OK)
        status = open_training(ctx, args, &both, &model);
    if (status == PARRY_OK)
        status = parry_train(ctx, model, both.train, both.test, settings);
    if (status == PARRY_OK)
        status = finish(ctx, args, model, both.train, both.test, options->output);
    parry_model_free(model);
    close_both(&both);
    return status;
}

/* The network to be hardened, and its images: a dataset says what an input without axes means, photographs are read at
 * the model's size. */
static parry_status open_hardening(parry_ctx *ctx, const cli_args *args, both_splits *both, parry_model **model)
{
    const harden_options *options = args_values(args, &harden_command_table);
    const parry_split split = (parry_split)options->split;
    if (parry_dataset_has_images(ctx, options->data)) {
        parry_status status = load_model(ctx, args, args->words[0], NULL, model);
        return status == PARRY_OK ? open_both_photographs(ctx, options->data, *model, split, options->first, both)
                                  : status;
    }
    parry_status status = check_there(ctx, args->words[0]);
    if (status == PARRY_OK)
        status = open_both(ctx, options->data, split, options->first, both);
    return status == PARRY_OK ? load_model(ctx, args, args->words[0], both->train, model) : status;
}

parry_status cmd_harden(parry_ctx *ctx, const cli_args *args)
{
    const harden_options *options = args_values(args, &harden_command_table);
    const parry_harden_settings *harden = args_values(args, parry_harden_options());
    const parry_threat *threat = args_values(args, parry_threat_options());
    if (!options->output)
        return usage(ctx, "-o FILE is missing: where shall the hardened model be written?");
    parry_status status = args_defaults(ctx, args, parry_harden_defaults(harden->method, harden->preset));
    both_splits both = {0};
    parry_train_settings settings = *(const parry_train_settings *)args_values(args, parry_train_options());
    settings.precision = threat->precision; /* one option for the search and for the training */
    parry_model *model = NULL;
    if (status == PARRY_OK)
        status = parry_threat_check(ctx, threat);
    if (status == PARRY_OK)
        status = parry_train_check(ctx, &settings);
    parry_attack *attack = NULL; /* asked for only to refuse a wrong one before the work */
    if (status == PARRY_OK && harden->attack)
        status = make_attack(ctx, args, harden->attack, &attack);
    parry_attack_free(attack);
    if (status == PARRY_OK)
        status = parry_file_probe(ctx, options->output); /* the model that is read may be replaced */
    if (status == PARRY_OK)
        status = probe_output(ctx, args, settings.checkpoint);
    if (status == PARRY_OK)
        status = open_hardening(ctx, args, &both, &model);
    if (status == PARRY_OK)
        status = parry_harden(ctx, model, both.train, both.test, harden, threat, &settings);
    if (status == PARRY_OK)
        status = finish(ctx, args, model, both.train, both.test, options->output);
    parry_model_free(model);
    close_both(&both);
    return status;
}
