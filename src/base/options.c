/* Option tables: reading values from text, writing them back, finding rows. */
#include <ctype.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <parry/precision.h>

#include "base/opt.h"

const char *const parry_precision_names[] = {[PARRY_F32] = "f32", [PARRY_BF16] = "bf16", NULL};

const parry_option *parry_options_find(const parry_options *table, const char *name)
{
    for (size_t i = 0; table && i < table->count; i++)
        if (strcmp(table->rows[i].name, name) == 0)
            return &table->rows[i];
    return NULL;
}

static bool parse_decimal(const char *text, const char **end, double *out)
{
    char *stop;
    if (isspace((unsigned char)text[0]) || text[0] == '\0')
        return false;
    *out = strtod(text, &stop);
    *end = stop;
    return stop != text;
}

bool pr_parse_number(const char *text, double *out)
{
    const char *end;
    if (!parse_decimal(text, &end, out))
        return false;
    if (*end == '/') {
        double divisor;
        if (!parse_decimal(end + 1, &end, &divisor) || divisor == 0)
            return false;
        *out /= divisor;
    }
    return *end == '\0' && isfinite(*out);
}

/* Shortest decimal text that reads back as the same double; whole numbers up to a million without an exponent. */
static void number_text(double value, char text[32])
{
    const double most = 1e6;
    if (value == floor(value) && fabs(value) < most) {
        snprintf(text, 32, "%.0f", value);
        return;
    }
    for (int digits = 1; digits <= 17; digits++) {
        snprintf(text, 32, "%.*g", digits, value);
        if (strtod(text, NULL) == value)
            return;
    }
}

static parry_status out_of_range(parry_ctx *ctx, const parry_option *row, const char *text)
{
    char lo[32], hi[32];
    number_text(row->min, lo);
    number_text(row->max, hi);
    if (isinf(row->max) || row->max >= (double)INT64_MAX)
        return pr_fail(ctx, PARRY_INVALID, "--%s is %s; it must be at least %s", row->name, text, lo);
    return pr_fail(ctx, PARRY_INVALID, "--%s is %s; it must be between %s and %s", row->name, text, lo, hi);
}

static parry_status set_number(parry_ctx *ctx, const parry_option *row, const char *text, double *out)
{
    if (!pr_parse_number(text, out))
        return pr_fail(ctx, PARRY_INVALID, "--%s is '%s'; expected a finite number", row->name, text);
    if (*out < row->min || *out > row->max)
        return out_of_range(ctx, row, text);
    return PARRY_OK;
}

static parry_status set_choice(parry_ctx *ctx, const parry_option *row, const char *text, int *out)
{
    pr_text known = {0};
    char *list;
    for (int i = 0; row->choices[i]; i++) {
        if (strcmp(row->choices[i], text) == 0) {
            pr_text_clear(&known);
            *out = i;
            return PARRY_OK;
        }
        pr_text_add(&known, "%s%s", i ? ", " : "", row->choices[i]);
    }
    TRY(pr_text_take(ctx, &known, &list));
    parry_status status = pr_fail(ctx, PARRY_INVALID, "--%s is '%s'; expected one of %s", row->name, text, list);
    parry_string_free(list);
    return status;
}

static parry_status set_floats(parry_ctx *ctx, const parry_option *row, const char *text, parry_floats *out)
{
    parry_floats list = {0};
    char item[64];
    for (const char *at = text;; at++) {
        size_t length = strcspn(at, ",");
        if (length == 0 || length >= sizeof item)
            return pr_fail(ctx, PARRY_INVALID, "--%s is '%s'; expected numbers separated by commas", row->name, text);
        if (list.count == PARRY_FLOATS_MAX)
            return pr_fail(ctx, PARRY_INVALID, "--%s has more than %d numbers", row->name, PARRY_FLOATS_MAX);
        memcpy(item, at, length);
        item[length] = '\0';
        TRY(set_number(ctx, row, item, &list.value[list.count++]));
        at += length;
        if (*at == '\0')
            break;
    }
    *out = list;
    return PARRY_OK;
}

/* Digits alone; moves *at behind them. */
static bool parse_side(const char **at, int *out)
{
    char *end;
    if (!isdigit((unsigned char)**at))
        return false;
    *out = (int)PR_MIN(strtol(*at, &end, 10), INT_MAX);
    *at = end;
    return true;
}

static parry_status set_size(parry_ctx *ctx, const parry_option *row, const char *text, parry_size *out)
{
    parry_size size;
    const char *at = text;
    bool read = parse_side(&at, &size.height);
    size.width = size.height;
    if (read && *at == 'x') {
        at++;
        read = parse_side(&at, &size.width);
    }
    if (!read || *at)
        return pr_fail(ctx, PARRY_INVALID, "--%s is '%s'; expected pixels: 224, or height x width as 224x299",
                       row->name, text);
    if (PR_MIN(size.height, size.width) < row->min || PR_MAX(size.height, size.width) > row->max)
        return out_of_range(ctx, row, text);
    *out = size;
    return PARRY_OK;
}

parry_status pr_option_parse(parry_ctx *ctx, const parry_option *row, const char *text, void *values)
{
    void *field = (char *)values + row->offset;
    double number;
    switch (row->type) {
    case PARRY_OPTION_BOOL:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
            return pr_fail(ctx, PARRY_INVALID, "--%s is '%s'; expected true or false", row->name, text);
        *(bool *)field = text[0] == 't';
        return PARRY_OK;
    case PARRY_OPTION_INT:
        TRY(set_number(ctx, row, text, &number));
        if (number != floor(number))
            return pr_fail(ctx, PARRY_INVALID, "--%s is %s; expected a whole number", row->name, text);
        *(int64_t *)field = (int64_t)number;
        return PARRY_OK;
    case PARRY_OPTION_FLOAT:
        TRY(set_number(ctx, row, text, &number));
        *(double *)field = number;
        return PARRY_OK;
    case PARRY_OPTION_STRING:
        *(const char **)field = text;
        return PARRY_OK;
    case PARRY_OPTION_CHOICE:
        return set_choice(ctx, row, text, field);
    case PARRY_OPTION_FLOATS:
        return set_floats(ctx, row, text, field);
    case PARRY_OPTION_SIZE:
        return set_size(ctx, row, text, field);
    }
    return pr_fail(ctx, PARRY_INVALID, "--%s has an unknown type", row->name);
}

parry_status pr_option_text(parry_ctx *ctx, const parry_option *row, const void *values, char **out)
{
    const void *field = (const char *)values + row->offset;
    char number[32];
    pr_text text = {0};
    switch (row->type) {
    case PARRY_OPTION_BOOL:
        pr_text_add(&text, "%s", *(const bool *)field ? "true" : "false");
        break;
    case PARRY_OPTION_INT:
        pr_text_add(&text, "%lld", (long long)*(const int64_t *)field);
        break;
    case PARRY_OPTION_FLOAT:
        number_text(*(const double *)field, number);
        pr_text_add(&text, "%s", number);
        break;
    case PARRY_OPTION_STRING:
        pr_text_add(&text, "%s", *(const char *const *)field ? *(const char *const *)field : "");
        break;
    case PARRY_OPTION_CHOICE:
        pr_text_add(&text, "%s", row->choices[*(const int *)field]);
        break;
    case PARRY_OPTION_FLOATS:
        for (int i = 0; i < ((const parry_floats *)field)->count; i++) {
            number_text(((const parry_floats *)field)->value[i], number);
            pr_text_add(&text, "%s%s", i ? "," : "", number);
        }
        break;
    case PARRY_OPTION_SIZE:
        if (((const parry_size *)field)->height)
            pr_text_add(&text, "%dx%d", ((const parry_size *)field)->height, ((const parry_size *)field)->width);
        break;
    }
    return pr_text_take(ctx, &text, out);
}
