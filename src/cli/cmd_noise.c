/* parry noise: what networks see in pure noise. */
#include <string.h>

#include "cli/commands.h"

typedef struct noise_options {
    const char *attack, *csv, *figure, *title, *class, *data;
} noise_options;

PR_OPTIONS(noise_command_table, noise_options,
           OPT_STRING(noise_options, attack, "attack", NULL, "NAME",
                      "also attack the noise; options may follow as NAME:OPTION=VALUE"),
           OPT_STRING(noise_options, class, "class", NULL, "CLASS",
                      "list the images that are called this class (name, WordNet identifier or number)"),
           OPT_STRING(noise_options, data, "data", NULL, "NAME|PATH",
                      "dataset whose images the networks take, where their files do not say so"),
           OPT_STRING(noise_options, csv, "csv", NULL, "FILE", "write id, class, prediction, sigma and mu as CSV"),
           OPT_STRING(noise_options, figure, "figure", NULL, "FILE",
                      "draw the images with their predicted classes (PNG)"),
           OPT_STRING(noise_options, title, "title", NULL, "TEXT", "title of the figure"));

typedef struct noise_files {
    parry_model *models[CLI_MODELS_MAX];
    int count;
    parry_attack *attack;
    parry_noise_study *study;
} noise_files;

/* The command's own bound on its words keeps their number below CLI_MODELS_MAX. */
static parry_status load_models(parry_ctx *ctx, const cli_args *args, noise_files *files)
{
    const noise_options *options = args_values(args, &noise_command_table);
    parry_dataset *fit = NULL;
    parry_status status = options->data ? open_data(ctx, options->data, PARRY_TEST, 1, &fit) : PARRY_OK;
    for (int i = 0; i < args->word_count && status == PARRY_OK; i++) {
        status = load_model_among(ctx, args, args->words[i], args->word_count, fit, &files->models[i]);
        files->count += status == PARRY_OK;
    }
    parry_dataset_free(fit);
    return status;
}

/* ---- --class ----------------------------------------------------------------------------------------------------- */

/* Which images one network calls `class`, and the one where it is most probable. */
static void print_class_of(const noise_files *files, int model, bool attacked, int class)
{
    const int classes = parry_model_describe(files->models[model])->classes;
    char name[PARRY_CLASS_NAME_ROOM];
    int64_t best = 0, called = 0;
    double mu, sigma, most = -1;
    FILE *out = results();
    fprintf(out, "\n%s in noise%s, by %s:\n", parry_class_name(files->models[model], class, name),
            attacked ? " under attack" : "", parry_model_describe(files->models[model])->name);
    for (int64_t t = 0; t < parry_noise_count(files->study); t++) {
        const float *row = parry_noise_probabilities(files->study, model, attacked, t);
        int top;
        parry_top_classes(row, classes, 1, &top);
        if ((double)row[class] > most) {
            most = (double)row[class];
            best = t;
        }
        if (top != class)
            continue;
        parry_noise_pair(files->study, t, &mu, &sigma);
        fprintf(out, "  image %-5lld mu %-5g sigma %-5g %6.2f %%\n", (long long)t, mu, sigma, 100 * (double)row[class]);
        called++;
    }
    parry_noise_pair(files->study, best, &mu, &sigma);
    fprintf(out, "  %lld of %lld images; most probable in image %lld (mu %g, sigma %g): %.2f %%\n", (long long)called,
            (long long)parry_noise_count(files->study), (long long)best, mu, sigma, 100 * most);
}

static parry_status print_class(parry_ctx *ctx, const noise_files *files, const char *text)
{
    for (int i = 0; i < files->count; i++) {
        int class;
        parry_status status = parry_class_find(ctx, files->models[i], text, &class);
        if (status != PARRY_OK)
            return wrong_name(ctx, status);
        print_class_of(files, i, false, class);
        if (files->attack)
            print_class_of(files, i, true, class);
    }
    return PARRY_OK;
}

/* ---- outputs ----------------------------------------------------------------------------------------------------- */

static parry_status print_study(parry_ctx *ctx, const noise_files *files, const noise_options *options)
{
    char *text;
    parry_status status = parry_noise_text(ctx, files->study, &text);
    if (status != PARRY_OK)
        return status;
    terminal_clear();
    fputs(text, results());
    parry_string_free(text);
    return options->class ? print_class(ctx, files, options->class) : PARRY_OK;
}

static parry_status write_study(parry_ctx *ctx, const cli_args *args, const noise_files *files)
{
    const noise_options *options = args_values(args, &noise_command_table);
    const common_options *common = args_values(args, &common_table);
    char *text = NULL;
    parry_status status = print_study(ctx, files, options);
    if (status == PARRY_OK && options->csv) {
        status = parry_noise_csv(ctx, files->study, &text);
        if (status == PARRY_OK)
            status = parry_file_write(ctx, options->csv, text, strlen(text));
        parry_string_free(text);
    }
    if (status == PARRY_OK && common->json) {
        status = parry_noise_json(ctx, files->study, &text);
        if (status == PARRY_OK)
            status = write_json_text(ctx, args, text);
        parry_string_free(text);
    }
    if (status == PARRY_OK && options->figure) {
        status = parry_noise_figure(ctx, files->study, options->title, options->figure);
        if (status == PARRY_OK)
            chat("figure: %s", options->figure);
    }
    return status;
}

/* Names are looked up before the work. */
static parry_status check_class(parry_ctx *ctx, const noise_files *files, const char *text)
{
    for (int i = 0, class; text && i < files->count; i++) {
        parry_status status = parry_class_find(ctx, files->models[i], text, &class);
        if (status != PARRY_OK)
            return wrong_name(ctx, status);
    }
    return PARRY_OK;
}

parry_status cmd_noise(parry_ctx *ctx, const cli_args *args)
{
    const noise_options *options = args_values(args, &noise_command_table);
    const parry_noise_settings *settings = args_values(args, parry_noise_options());
    const parry_threat *threat = args_values(args, parry_threat_options());
    noise_files files = {0};
    parry_status status = probe_output(ctx, args, options->csv);
    if (status == PARRY_OK)
        status = probe_output(ctx, args, options->figure);
    if (status == PARRY_OK)
        status = probe_folder(ctx, settings->save_images);
    if (status == PARRY_OK && options->attack) {
        /* "Confident misclassification" unless something else is asked for. */
        status = args_defaults(ctx, args, threat->target ? "" : "criterion=confident:0.9");
        if (status == PARRY_OK)
            status = make_attack(ctx, args, options->attack, &files.attack);
        if (status == PARRY_OK)
            status = parry_threat_check(ctx, threat);
    }
    if (status == PARRY_OK)
        status = load_models(ctx, args, &files);
    if (status == PARRY_OK)
        status = check_class(ctx, &files, options->class);
    if (status == PARRY_OK)
        status = parry_noise_run(ctx, (const parry_model *const *)files.models, files.count, settings, files.attack,
                                 threat, &files.study);
    if (status == PARRY_OK)
        status = write_study(ctx, args, &files);
    parry_noise_free(files.study);
    parry_attack_free(files.attack);
    for (int i = 0; i < files.count; i++)
        parry_model_free(files.models[i]);
    return status;
}
