/* JSON text and option structs as JSON, on jansson. */
#include <stdlib.h>

#include "base/json.h"
#include "base/opt.h"

static int add_piece(const char *bytes, size_t size, void *text)
{
    pr_text_bytes(text, bytes, size);
    return 0;
}

/* Not json_dumps: when its buffer cannot grow, jansson may leave a piece out of the text and report success. */
parry_status pr_json_dump(parry_ctx *ctx, const json_t *value, size_t flags, char **out)
{
    pr_text text = {0};
    *out = NULL;
    if (json_dump_callback(value, add_piece, &text, flags | JSON_ENCODE_ANY) == 0)
        return pr_text_take(ctx, &text, out);
    pr_text_clear(&text);
    return pr_fail(ctx, PARRY_NO_MEMORY, "JSON could not be written");
}

parry_status pr_json_text(parry_ctx *ctx, const json_t *value, char **out)
{
    return pr_json_dump(ctx, value, JSON_INDENT(2) | JSON_REAL_PRECISION(9), out);
}

parry_status pr_json_parse(parry_ctx *ctx, const char *where, const char *text, json_t **out)
{
    json_error_t error;
    *out = json_loads(text, JSON_REJECT_DUPLICATES, &error);
    if (!*out)
        return pr_fail(ctx, PARRY_FORMAT, "%s: not valid JSON, line %d: %s", where, error.line, error.text);
    return PARRY_OK;
}

void pr_json_append(json_t **list, json_t *value)
{
    if (json_array_append_new(*list, value) == 0)
        return;
    json_decref(*list);
    *list = NULL;
}

void pr_json_set(json_t **object, const char *key, json_t *value)
{
    if (json_object_set_new(*object, key, value) == 0)
        return;
    json_decref(*object);
    *object = NULL;
}

static json_t *option_json(const parry_option *row, const void *values)
{
    const void *field = (const char *)values + row->offset;
    switch (row->type) {
    case PARRY_OPTION_BOOL:
        return json_boolean(*(const bool *)field);
    case PARRY_OPTION_INT:
        return json_integer(*(const int64_t *)field);
    case PARRY_OPTION_FLOAT:
        return json_real(*(const double *)field);
    case PARRY_OPTION_STRING:
        return *(const char *const *)field ? json_string(*(const char *const *)field) : json_null();
    case PARRY_OPTION_CHOICE:
        return json_string(row->choices[*(const int *)field]);
    case PARRY_OPTION_FLOATS: {
        json_t *list = json_array();
        const parry_floats *floats = field;
        for (int i = 0; i < floats->count; i++)
            pr_json_append(&list, json_real(floats->value[i]));
        return list;
    }
    case PARRY_OPTION_SIZE: {
        const parry_size *size = field;
        return size->height ? json_pack("[ii]", size->height, size->width) : json_null();
    }
    }
    return NULL;
}

parry_status pr_options_json(parry_ctx *ctx, const parry_options *table, const void *values, json_t **out)
{
    *out = json_object();
    for (size_t i = 0; i < table->count; i++)
        pr_json_set(out, table->rows[i].name, option_json(&table->rows[i], values));
    return *out ? PARRY_OK : pr_fail(ctx, PARRY_NO_MEMORY, "JSON could not be built");
}
