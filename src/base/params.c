/* Values for an option table: the option struct, which options were given, and the strings they point to. */
#include <string.h>

#include "base/opt.h"

struct parry_params {
    const parry_options *table;
    void *values;
    char **texts; /* owned text of each row's string value, NULL when not set */
    bool *given;
};

static parry_status assign(parry_ctx *ctx, parry_params *params, size_t row, const char *text)
{
    char *copy;
    TRY(pr_strdup(ctx, text, &copy));
    parry_status status = pr_option_parse(ctx, &params->table->rows[row], copy, params->values);
    if (status != PARRY_OK) {
        pr_free(copy);
        return status;
    }
    pr_free(params->texts[row]);
    params->texts[row] = copy;
    return PARRY_OK;
}

static parry_status set_defaults(parry_ctx *ctx, parry_params *params)
{
    const parry_options *table = params->table;
    TRY(pr_alloc_bytes(ctx, 1, table->size, &params->values));
    TRY(pr_alloc(ctx, table->count, &params->texts));
    TRY(pr_alloc(ctx, table->count, &params->given));
    for (size_t i = 0; i < table->count; i++)
        if (table->rows[i].def)
            TRY(assign(ctx, params, i, table->rows[i].def));
    return PARRY_OK;
}

parry_status parry_params_create(parry_ctx *ctx, const parry_options *table, parry_params **out)
{
    TRY(pr_alloc(ctx, 1, out));
    (*out)->table = table;
    parry_status status = set_defaults(ctx, *out);
    if (status != PARRY_OK) {
        parry_params_free(*out);
        *out = NULL;
    }
    return status;
}

void parry_params_free(parry_params *params)
{
    if (!params)
        return;
    for (size_t i = 0; params->texts && i < params->table->count; i++)
        pr_free(params->texts[i]);
    pr_free(params->texts);
    pr_free(params->given);
    pr_free(params->values);
    pr_free(params);
}

static parry_status unknown_option(parry_ctx *ctx, const parry_options *table, const char *name)
{
    const char **names;
    TRY(pr_alloc(ctx, table->count, &names));
    for (size_t i = 0; i < table->count; i++)
        names[i] = table->rows[i].name;
    const char *nearest = parry_nearest(name, names, table->count);
    pr_free(names);
    if (nearest)
        return pr_fail(ctx, PARRY_INVALID, "unknown option '%s'; did you mean '%s'?", name, nearest);
    return pr_fail(ctx, PARRY_INVALID, "unknown option '%s'", name);
}

parry_status parry_params_set(parry_ctx *ctx, parry_params *params, const char *name, const char *text)
{
    const parry_option *row = parry_options_find(params->table, name);
    if (!row)
        return unknown_option(ctx, params->table, name);
    size_t index = (size_t)(row - params->table->rows);
    TRY(assign(ctx, params, index, text));
    params->given[index] = true;
    return PARRY_OK;
}

const void *parry_params_values(const parry_params *params)
{
    return params->values;
}

bool parry_params_given(const parry_params *params, const char *name)
{
    const parry_option *row = parry_options_find(params->table, name);
    return row && params->given[row - params->table->rows];
}
