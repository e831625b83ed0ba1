/* parry info, data, list and help: what there is. */
#include <string.h>

#include "cli/commands.h"

/* ---- info ------------------------------------------------------------------------------------------------------ */

typedef struct info_options {
    int plan, precision;
    bool dot;
    const char *data;
} info_options;

static const char *const purposes[] = {"none", "inference", "gradient", "training", NULL};

PR_OPTIONS(info_command_table, info_options,
           OPT_CHOICE(info_options, plan, "plan", "none", purposes, "show the execution plan for a purpose"),
           OPT_CHOICE(info_options, precision, "precision", "f32", parry_precision_names,
                      "of the plan that --plan shows"),
           OPT_BOOL(info_options, dot, "dot", "false", "print the graph in Graphviz' language"),
           OPT_STRING(info_options, data, "data", NULL, "NAME|PATH", "fit the model's input to this dataset"));

/* All of a few names; of many the first and the last. */
static void print_class_names(FILE *out, const parry_model_info *info)
{
    enum { FEW = 12 };
    for (int i = 0; info->class_names && i < info->classes; i++)
        if (info->classes <= FEW || i == 0 || i == info->classes - 1)
            fprintf(out, "%s%s%s", i ? "; " : ": ", info->classes > FEW && i ? "... " : "", info->class_names[i]);
}

/* "train on mnist, epochs: 20"; of one that is not at its end (train --so-far), where it stopped. */
static void print_stage(FILE *out, size_t number, const json_t *stage)
{
    const char *method = json_string_value(json_object_get(stage, "method"));
    const char *data = json_string_value(json_object_get(json_object_get(stage, "data"), "name"));
    const json_t *stopped = json_object_get(stage, "stopped");
    const json_int_t step = json_integer_value(json_object_get(stopped, "step"));
    fprintf(out, "  stage %-5zu %s on %s, epochs: %zu", number, method ? method : "?", data ? data : "?",
            json_array_size(json_object_get(stage, "curve")));
    if (stopped)
        fprintf(out, " of %lld",
                (long long)json_integer_value(json_object_get(json_object_get(stage, "settings"), "epochs")));
    if (step > 0)
        fprintf(out, ", and %lld of %lld steps of epoch %lld", (long long)step,
                (long long)json_integer_value(json_object_get(stopped, "of")),
                (long long)json_integer_value(json_object_get(stopped, "epoch")));
    fputc('\n', out);
}

static parry_status print_info(parry_ctx *ctx, const parry_model_info *info)
{
    FILE *out = results();
    char *preprocess;
    parry_status status = parry_preprocess_text(ctx, info->preprocess, &preprocess);
    if (status != PARRY_OK)
        return status;
    fprintf(out, "%s\n", info->name);
    if (info->sha256)
        fprintf(out, "  sha256      %s\n", info->sha256);
    fprintf(out, "  producer    %s\n", info->producer[0] ? info->producer : "not stated");
    fprintf(out, "  input       N x %d x %d x %d\n", info->channels, info->height, info->width);
    if (info->preprocess_source[0])
        fprintf(out, "  preprocess  %s (%s)\n", preprocess, info->preprocess_source);
    parry_string_free(preprocess);
    fprintf(out, "  classes     %d%s", info->classes,
            info->softmax_peeled ? " (logits; the file ends in a softmax)" : "");
    print_class_names(out, info);
    fprintf(out, "\n");
    fprintf(out, "  parameters  %lld\n", (long long)info->parameters);
    json_t *history = info->history ? json_loads(info->history, 0, NULL) : NULL, *stage;
    size_t i;
    json_array_foreach(json_object_get(history, "stages"), i, stage) print_stage(out, i + 1, stage);
    json_decref(history);
    return PARRY_OK;
}

parry_status cmd_info(parry_ctx *ctx, const cli_args *args)
{
    const info_options *options = args_values(args, &info_command_table);
    parry_dataset *fit = NULL;
    parry_model *model = NULL;
    char *text = NULL;
    parry_status status = PARRY_OK;
    if (options->data && !parry_dataset_has_images(ctx, options->data))
        status = open_data(ctx, options->data, PARRY_TEST, 0, &fit);
    if (status == PARRY_OK)
        status = load_model(ctx, args, args->words[0], fit, &model);
    if (status == PARRY_OK && options->dot)
        status = parry_model_dot(ctx, model, &text);
    else if (status == PARRY_OK && options->plan)
        status = parry_model_plan_text(ctx, model, purposes[options->plan], (parry_precision)options->precision, &text);
    if (status == PARRY_OK && text)
        fputs(text, results());
    else if (status == PARRY_OK)
        status = print_info(ctx, parry_model_describe(model));
    if (status == PARRY_OK) {
        json_t *json = model_json(model);
        const parry_model_info *info = parry_model_describe(model);
        json_object_set_new(json, "input", json_pack("[i,i,i]", info->channels, info->height, info->width));
        if (info->history)
            json_object_set_new(json, "history", json_loads(info->history, 0, NULL));
        status = write_json(ctx, args, json);
    }
    parry_string_free(text);
    parry_model_free(model);
    parry_dataset_free(fit);
    return status;
}

/* ---- data ------------------------------------------------------------------------------------------------------ */

typedef struct fetch_options {
    const char *mirror;
} fetch_options;

PR_OPTIONS(fetch_table, fetch_options,
           OPT_STRING(fetch_options, mirror, "mirror", NULL, "URL",
                      "fetch: download from this folder instead of the known mirrors"));

static void print_entry(const parry_dataset_entry *entry, const char *place)
{
    int at = printf("  %-17s ", entry->name);
    wrap(stdout, entry->summary, at, at);
    printf("\n%*s%s; %s\n", at, "", entry->shape,
           place              ? place
           : entry->fetchable ? "not here; parry data fetch gets it"
                              : "not here");
}

static parry_status list_datasets(parry_ctx *ctx)
{
    size_t count;
    const parry_dataset_entry *entries = parry_dataset_list(&count);
    for (size_t i = 0; i < count; i++) {
        char *place = NULL;
        parry_status status = parry_dataset_locate(ctx, entries[i].name, &place);
        if (status != PARRY_OK)
            return status;
        print_entry(&entries[i], place);
        parry_string_free(place);
    }
    return PARRY_OK;
}

static parry_status list_models(parry_ctx *ctx)
{
    const parry_dataset_entry *entry;
    printf("\nTrained networks:\n");
    for (size_t i = 0; (entry = parry_model_catalogue(i)); i++) {
        char *place;
        parry_status status = parry_model_locate(ctx, entry->name, &place);
        if (status != PARRY_OK)
            return status;
        print_entry(entry, place);
        parry_string_free(place);
    }
    return PARRY_OK;
}

static bool is_model(const char *name)
{
    const parry_dataset_entry *entry;
    for (size_t i = 0; (entry = parry_model_catalogue(i)); i++)
        if (strcmp(entry->name, name) == 0)
            return true;
    return false;
}

static parry_status describe_split(parry_ctx *ctx, const char *name, parry_split split)
{
    parry_dataset *data;
    parry_status status = parry_dataset_open(ctx, name, split, &data);
    if (status != PARRY_OK)
        return status;
    const parry_dataset_info *info = parry_dataset_describe(data);
    printf("%s, %s: %lld images of %d x %d x %d, %s%d classes\n  from    %s\n  sha256  %s\n", info->name, info->split,
           (long long)info->count, info->channels, info->height, info->width, info->open_classes ? "at least " : "",
           info->classes, info->origin, info->sha256);
    if (info->note)
        printf("  note    %s\n", info->note);
    parry_dataset_free(data);
    return PARRY_OK;
}

static parry_status describe_dataset(parry_ctx *ctx, const char *name)
{
    size_t count;
    if (is_model(name))
        return usage(ctx, "%s is a network; 'parry data fetch %s' downloads it, 'parry info FILE' describes the file",
                     name, name);
    const parry_dataset_entry *entries = parry_dataset_list(&count);
    for (size_t i = 0; i < count; i++)
        if (strcmp(entries[i].name, name) == 0)
            printf("%s\n  licence %s\n", entries[i].summary, entries[i].licence);
    parry_status status = describe_split(ctx, name, PARRY_TRAIN);
    return status == PARRY_OK ? describe_split(ctx, name, PARRY_TEST) : status;
}

static parry_status list_all(parry_ctx *ctx)
{
    parry_status status = list_datasets(ctx);
    return status == PARRY_OK ? list_models(ctx) : status;
}

/* Datasets and networks, in the order of data list; PARRY_INVALID unless `name` is one of them. */
static parry_status check_known(parry_ctx *ctx, const char *name)
{
    enum { MOST = 64 };
    const char *names[MOST];
    size_t known = 0, count;
    const parry_dataset_entry *entry = parry_dataset_list(&count);
    for (size_t i = 0; i < count && known < MOST; i++)
        names[known++] = entry[i].name;
    for (size_t i = 0; (entry = parry_model_catalogue(i)) && known < MOST; i++)
        names[known++] = entry->name;
    for (size_t i = 0; i < known; i++)
        if (strcmp(names[i], name) == 0)
            return PARRY_OK;
    const char *nearest = parry_nearest(name, names, known);
    return nearest ? usage(ctx, "nothing is called '%s'; did you mean '%s'?", name, nearest)
                   : usage(ctx, "nothing is called '%s'; 'parry data list' shows what there is", name);
}

static parry_status fetch_one(parry_ctx *ctx, const char *name, const char *mirror)
{
    const bool model = is_model(name);
    char *place = NULL;
    if (check_known(ctx, name) != PARRY_OK)
        return PARRY_INVALID;
    parry_status status = model ? parry_model_fetch(ctx, name, mirror) : parry_dataset_fetch(ctx, name, mirror);
    if (status == PARRY_OK)
        status = model ? parry_model_locate(ctx, name, &place) : parry_dataset_locate(ctx, name, &place);
    if (status == PARRY_OK) {
        terminal_clear();
        printf("%s: %s\n", name, place ? place : "fetched");
    }
    parry_string_free(place);
    return status;
}

parry_status cmd_data(parry_ctx *ctx, const cli_args *args)
{
    const char *verb = args->words[0], *name = args->word_count > 1 ? args->words[1] : NULL;
    if (strcmp(verb, "list") == 0)
        return name ? usage(ctx, "data list takes no name; 'parry data info %s' describes one", name) : list_all(ctx);
    bool fetch = strcmp(verb, "fetch") == 0;
    if (!fetch && strcmp(verb, "info") != 0)
        return usage(ctx, "unknown 'data %s'; expected list, info NAME or fetch NAME", verb);
    if (!name)
        return usage(ctx, "data %s needs a name; 'parry data list' shows them", verb);
    if (!fetch)
        return describe_dataset(ctx, name);
    return fetch_one(ctx, name, ((const fetch_options *)args_values(args, &fetch_table))->mirror);
}

/* ---- list ------------------------------------------------------------------------------------------------------ */

static parry_status list_attacks(parry_ctx *ctx)
{
    (void)ctx;
    const parry_attack_info *attack;
    for (size_t i = 0; (attack = parry_attack_at(i)); i++) {
        char text[256];
        snprintf(text, sizeof text, "%s (%s)\n", attack->summary, attack->cite);
        const int at = printf("  %-12s ", attack->name);
        wrap(stdout, text, at, at);
    }
    return PARRY_OK;
}

static parry_status list_names(const char *const *names)
{
    for (; *names; names++)
        printf("  %s\n", *names);
    return PARRY_OK;
}

static parry_status list_archs(parry_ctx *ctx)
{
    (void)ctx;
    return list_names(parry_arch_list());
}

static parry_status list_losses(parry_ctx *ctx)
{
    (void)ctx;
    return list_names(parry_loss_list());
}

static parry_status list_methods(parry_ctx *ctx)
{
    (void)ctx;
    const char *const *names = parry_harden_list(), *const *presets =
                                                        parry_options_find(parry_harden_options(), "preset")->choices;
    for (int i = 0; names[i]; i++)
        for (int k = 0; presets[k]; k++) {
            const char *defaults = parry_harden_defaults(i, k);
            if (k == 0)
                printf("  %-20s %s\n", names[i], defaults);
            else if (strcmp(defaults, parry_harden_defaults(i, 0)) != 0)
                printf("  %s --preset %-*s %s\n", names[i], 10 - (int)strlen(names[i]), presets[k], defaults);
        }
    return PARRY_OK;
}

static parry_status list_presets(parry_ctx *ctx)
{
    const char *const *names = parry_preprocess_presets();
    parry_status status = PARRY_OK;
    for (; *names && status == PARRY_OK; names++) {
        parry_preprocess preset;
        char *flags;
        status = parry_preprocess_preset(ctx, *names, &preset);
        if (status == PARRY_OK)
            status = parry_preprocess_text(ctx, &preset, &flags);
        if (status != PARRY_OK)
            break;
        printf("  %-12s %s\n", *names, flags);
        parry_string_free(flags);
    }
    return status;
}

parry_status cmd_list(parry_ctx *ctx, const cli_args *args)
{
    static const struct {
        const char *kind;
        parry_status (*list)(parry_ctx *);
    } kinds[] = {
        {"attacks", list_attacks}, {"architectures", list_archs}, {"datasets", list_datasets},
        {"losses", list_losses},   {"methods", list_methods},     {"presets", list_presets},
    };
    enum { KINDS = sizeof kinds / sizeof kinds[0] };
    const char *names[KINDS];
    for (int i = 0; i < KINDS; i++) {
        if (strcmp(kinds[i].kind, args->words[0]) == 0)
            return kinds[i].list(ctx);
        names[i] = kinds[i].kind;
    }
    const char *nearest = parry_nearest(args->words[0], names, KINDS);
    return nearest
               ? usage(ctx, "cannot list '%s'; did you mean '%s'?", args->words[0], nearest)
               : usage(ctx, "cannot list '%s'; there are attacks, architectures, datasets, losses, methods, presets",
                       args->words[0]);
}

/* ---- help ------------------------------------------------------------------------------------------------------ */

typedef struct help_options {
    bool man;
} help_options;

PR_OPTIONS(help_command_table, help_options,
           OPT_BOOL(help_options, man, "man", "false", "print the manual page in roff"));

parry_status cmd_help(parry_ctx *ctx, const cli_args *args)
{
    if (((const help_options *)args_values(args, &help_command_table))->man) {
        help_manual(stdout);
        return PARRY_OK;
    }
    if (args->word_count == 0) {
        help_overview(stdout);
        return PARRY_OK;
    }
    const cli_command *command = find_command(args->words[0]);
    if (command) {
        help_command(stdout, command);
        return PARRY_OK;
    }
    if (strcmp(args->words[0], "criteria") == 0) {
        help_criteria(stdout);
        return PARRY_OK;
    }
    const char *names[128];
    size_t count = 0;
    const parry_attack_info *attack;
    for (size_t i = 0; (attack = parry_attack_at(i)); i++) {
        if (strcmp(attack->name, args->words[0]) == 0) {
            help_attack(stdout, attack);
            return PARRY_OK;
        }
        names[count++] = attack->name;
    }
    for (size_t i = 0; i < command_count && count < 127; i++)
        names[count++] = commands[i].name;
    names[count++] = "criteria";
    const char *nearest = parry_nearest(args->words[0], names, count);
    return usage(ctx, "no command or attack is called '%s'%s%s%s", args->words[0],
                 nearest ? "; did you mean '" : "; see 'parry --help'", nearest ? nearest : "", nearest ? "'?" : "");
}
