/* Reading a command line into option structs. --name value, --name=value, --flag, --no-flag, -o/-q/-h, and -- to end
 * options. */
#include <stdlib.h>
#include <string.h>

#include "cli/cli.h"

typedef struct short_option {
    const char *flag, *name;
} short_option;

static const short_option short_options[] = {{"-o", "output"}, {"-q", "quiet"}};

const void *args_values(const cli_args *args, const parry_options *table)
{
    for (int i = 0; i < args->table_count; i++)
        if (args->tables[i] == table)
            return parry_params_values(args->params[i]);
    return NULL;
}

bool args_given(const cli_args *args, const parry_options *table, const char *name)
{
    for (int i = 0; i < args->table_count; i++)
        if (args->tables[i] == table)
            return parry_params_given(args->params[i], name);
    return false;
}

/* The params that have an option `name`, and its row. */
static parry_params *find_option(const cli_args *args, const char *name, const parry_option **row)
{
    for (int i = 0; i < args->table_count; i++)
        if ((*row = parry_options_find(args->tables[i], name)))
            return args->params[i];
    return NULL;
}

parry_status args_defaults(parry_ctx *ctx, const cli_args *args, const char *words)
{
    char text[512];
    snprintf(text, sizeof text, "%s", words);
    char *rest = NULL;
    for (char *word = strtok_r(text, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        char *equals = strchr(word, '=');
        if (!equals)
            return usage(ctx, "'%s' is not name=value", word);
        *equals = '\0';
        const parry_option *row;
        parry_params *params = find_option(args, word, &row);
        if (!params || parry_params_given(params, word))
            continue;
        parry_status status = parry_params_set(ctx, params, word, equals + 1);
        if (status != PARRY_OK)
            return status;
    }
    return PARRY_OK;
}

/* The attack that has an option of that name. */
static const parry_attack_info *attack_with(const char *option)
{
    const parry_attack_info *attack;
    for (size_t i = 0; (attack = parry_attack_at(i)); i++)
        if (parry_options_find(attack->options, option))
            return attack;
    return NULL;
}

static parry_status unknown_option(parry_ctx *ctx, const cli_args *args, const parry_attack_info *attack,
                                   const char *name)
{
    const char *names[256];
    size_t count = 0;
    const parry_attack_info *owner = args->command->attack_options ? attack_with(name) : NULL;
    if (owner)
        return usage(ctx, "--%s is an option of the attack %s: give --attack %s", name, owner->name, owner->name);
    for (int i = 0; i < args->table_count; i++)
        for (size_t k = 0; k < args->tables[i]->count && count < 256; k++)
            names[count++] = args->tables[i]->rows[k].name;
    for (size_t k = 0; attack && attack->options && k < attack->options->count && count < 256; k++)
        names[count++] = attack->options->rows[k].name;
    const char *nearest = parry_nearest(name, names, count);
    if (nearest)
        return usage(ctx, "unknown option --%s; did you mean --%s?", name, nearest);
    return usage(ctx, "unknown option --%s; 'parry help %s' lists the options", name, args->command->name);
}

/* The attack that --attack names, when its options may be given directly. */
static parry_status chosen_attack(parry_ctx *ctx, const cli_command *command, int argc, char **argv,
                                  const parry_attack_info **out)
{
    char name[64];
    *out = NULL;
    for (int i = 0; command->attack_options && i < argc; i++) {
        const char *value = NULL;
        if (strncmp(argv[i], "--attack=", 9) == 0)
            value = argv[i] + 9;
        else if (strcmp(argv[i], "--attack") == 0 && i + 1 < argc)
            value = argv[i + 1];
        if (!value)
            continue;
        snprintf(name, sizeof name, "%.*s", (int)strcspn(value, ":,"), value);
        return wrong_name(ctx, parry_attack_find(ctx, name, out));
    }
    return PARRY_OK;
}

typedef struct cursor {
    int argc, at;
    char **argv;
} cursor;

/* Splits one "--name[=value]" word; *value is NULL when it has none. */
static void split_option(const char *word, char name[64], const char **value)
{
    const char *equals = strchr(word, '=');
    snprintf(name, 64, "%.*s", equals ? (int)(equals - word) : (int)strlen(word), word);
    *value = equals ? equals + 1 : NULL;
}

/* "--no-clip" for the bool option "clip". */
static parry_params *find_negated(const cli_args *args, const char *name, const parry_option **row)
{
    if (strncmp(name, "no-", 3) != 0)
        return NULL;
    parry_params *params = find_option(args, name + 3, row);
    return params && (*row)->type == PARRY_OPTION_BOOL ? params : NULL;
}

static parry_status take_value(parry_ctx *ctx, cursor *words, const char *name, const char **value)
{
    if (*value)
        return PARRY_OK;
    if (words->at + 1 >= words->argc)
        return usage(ctx, "--%s needs a value", name);
    *value = words->argv[++words->at];
    return PARRY_OK;
}

/* An empty text is no name of anything: most likely a shell variable that is not set. */
static parry_status take_text(parry_ctx *ctx, cursor *words, const parry_option *row, const char **value)
{
    parry_status status = take_value(ctx, words, row->name, value);
    if (status == PARRY_OK && row->type == PARRY_OPTION_STRING && !(*value)[0])
        status = usage(ctx, "--%s is empty", row->name);
    return status;
}

static parry_status set_option(parry_ctx *ctx, cli_args *args, const parry_attack_info *attack, cursor *words,
                               const char *word)
{
    char name[64];
    const char *value;
    const parry_option *row;
    parry_status status;
    split_option(word, name, &value);
    parry_params *params = find_option(args, name, &row);
    if (params && row->type == PARRY_OPTION_BOOL)
        return parry_params_set(ctx, params, name, value ? value : "true");
    if (params) {
        status = take_text(ctx, words, row, &value);
        return status == PARRY_OK ? parry_params_set(ctx, params, name, value) : status;
    }
    if ((params = find_negated(args, name, &row)))
        return value ? usage(ctx, "--%s takes no value", name) : parry_params_set(ctx, params, row->name, "false");

    /* The chosen attack's own. */
    bool negated = strncmp(name, "no-", 3) == 0;
    const char *own = negated && !parry_options_find(attack ? attack->options : NULL, name) ? name + 3 : name;
    row = attack ? parry_options_find(attack->options, own) : NULL;
    if (!row || (own != name && row->type != PARRY_OPTION_BOOL))
        return unknown_option(ctx, args, attack, name);
    if (row->type == PARRY_OPTION_BOOL)
        value = value ? value : (own != name ? "false" : "true");
    else if ((status = take_text(ctx, words, row, &value)) != PARRY_OK)
        return status;
    if (args->loose_count == CLI_LOOSE_MAX)
        return usage(ctx, "too many options");
    args->loose[args->loose_count][0] = row->name;
    args->loose[args->loose_count++][1] = value;
    return PARRY_OK;
}

/* A sentence about the positional arguments, `word` between quotes unless it is NULL. */
static parry_status wrong_words(parry_ctx *ctx, const cli_command *command, const char *what, const char *word)
{
    char line[160];
    usage_line(command, line, sizeof line);
    return usage(ctx, "%s%s%s%s; usage: %s", what, word ? " '" : "", word ? word : "", word ? "'" : "", line);
}

/* -eps is --eps with a dash too few. */
static parry_status unknown_short_option(parry_ctx *ctx, const cli_args *args, const char *word)
{
    char name[64];
    const char *value;
    const parry_option *row;
    split_option(word + 1, name, &value);
    return find_option(args, name, &row)
               ? usage(ctx, "unknown option %s; did you mean --%s?", word, name)
               : usage(ctx, "unknown option %s; 'parry help %s' lists the options", word, args->command->name);
}

static parry_status take_word(parry_ctx *ctx, cli_args *args, const parry_attack_info *attack, cursor *words,
                              bool *options_end)
{
    const char *word = words->argv[words->at];
    if (!*options_end && strcmp(word, "--") == 0) {
        *options_end = true;
        return PARRY_OK;
    }
    if (!*options_end && (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0)) {
        args->help = true;
        return PARRY_OK;
    }
    if (!*options_end && strncmp(word, "--", 2) == 0)
        return set_option(ctx, args, attack, words, word + 2);
    if (!*options_end && word[0] == '-' && word[1] != '\0') {
        for (size_t i = 0; i < sizeof short_options / sizeof short_options[0]; i++)
            if (strcmp(word, short_options[i].flag) == 0)
                return set_option(ctx, args, attack, words, short_options[i].name);
        return unknown_short_option(ctx, args, word);
    }
    if (!word[0])
        return wrong_words(ctx, args->command, "an argument is empty", NULL);
    if (args->word_count >= args->command->max_words)
        return wrong_words(ctx, args->command, "unexpected argument", word);
    args->words[args->word_count++] = word;
    return PARRY_OK;
}

/* One word in single quotes, a quote in it as '\''. Returns its length. */
static size_t quote_word(const char *word, char *out, size_t size)
{
    size_t length = (size_t)snprintf(out, size, " '");
    for (; *word && length < size; word++)
        length += (size_t)snprintf(out + length, size - length, *word == '\'' ? "'\\''" : "%c", *word);
    return length < size ? length + (size_t)snprintf(out + length, size - length, "'") : length;
}

void line_as_typed(const char *name, int argc, char **argv, char *line, size_t size)
{
    size_t length = (size_t)snprintf(line, size, "parry %s", name);
    for (int i = 0; i < argc && length < size; i++) {
        bool plain =
            argv[i][0] && strspn(argv[i], "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=,+@%") ==
                              strlen(argv[i]);
        length += plain ? (size_t)snprintf(line + length, size - length, " %s", argv[i])
                        : quote_word(argv[i], line + length, size - length);
    }
}

parry_status args_parse(parry_ctx *ctx, const cli_command *command, int argc, char **argv, cli_args *out)
{
    *out = (cli_args){.command = command};
    line_as_typed(command->name, argc, argv, out->line, sizeof out->line);
    parry_status status = PARRY_OK;
    for (int i = 0; i < CLI_TABLES_MAX && command->tables[i] && status == PARRY_OK; i++) {
        out->tables[i] = command->tables[i]();
        status = parry_params_create(ctx, out->tables[i], &out->params[i]);
        out->table_count += status == PARRY_OK;
    }
    const parry_attack_info *attack = NULL;
    if (status == PARRY_OK)
        status = chosen_attack(ctx, command, argc, argv, &attack);
    bool options_end = false;
    cursor words = {.argc = argc, .argv = argv};
    for (; words.at < argc && status == PARRY_OK && !out->help; words.at++)
        status = take_word(ctx, out, attack, &words, &options_end);
    if (status == PARRY_OK && !out->help && out->word_count < command->min_words)
        status = wrong_words(ctx, command, "missing argument", NULL);
    return status;
}

void args_clear(cli_args *args)
{
    for (int i = 0; i < args->table_count; i++)
        parry_params_free(args->params[i]);
    args->table_count = 0;
}
