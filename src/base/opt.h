/* Rows of option tables. A row names a field once; its type is checked at compile time against the macro used. */
#ifndef PR_BASE_OPT_H
#define PR_BASE_OPT_H

#include <float.h>
#include <math.h>
#include <stddef.h>

#include <parry/options.h>

#include "base/base.h"

/* 0, or a compile error when the field is not of the given type. */
#define OPT_CHECK(type, field, wanted) (0 * sizeof(struct { int wrong_type : _Generic(((type *)0)->field, wanted: 1, default: -1); }))

#define OPT_BOOL(type, field, flag, def, help)                                                                        \
    {flag, PARRY_OPTION_BOOL, offsetof(type, field) + OPT_CHECK(type, field, bool), def, 0, 1, NULL, NULL, help}
#define OPT_INT(type, field, flag, def, min, max, help)                                                               \
    {flag, PARRY_OPTION_INT, offsetof(type, field) + OPT_CHECK(type, field, int64_t), def, min, max, NULL, NULL, help}
#define OPT_FLOAT(type, field, flag, def, min, max, help)                                                             \
    {flag, PARRY_OPTION_FLOAT, offsetof(type, field) + OPT_CHECK(type, field, double), def, min, max, NULL, NULL, help}
#define OPT_STRING(type, field, flag, def, metavar, help)                                                             \
    {flag, PARRY_OPTION_STRING, offsetof(type, field) + OPT_CHECK(type, field, const char *), def, 0, 0, NULL, metavar, help}
#define OPT_CHOICE(type, field, flag, def, choices, help)                                                             \
    {flag, PARRY_OPTION_CHOICE, offsetof(type, field) + OPT_CHECK(type, field, int), def, 0, 0, choices, NULL, help}
#define OPT_FLOATS(type, field, flag, def, min, max, help)                                                            \
    {flag, PARRY_OPTION_FLOATS, offsetof(type, field) + OPT_CHECK(type, field, parry_floats), def, min, max, NULL, NULL, help}

/* Defines `const parry_options name` from rows: PR_OPTIONS(pgd_options, struct pgd, OPT_INT(...), OPT_FLOAT(...)); */
#define PR_OPTIONS(name, type, ...)                                                                                    \
    static const parry_option name##_rows[] = {__VA_ARGS__};                                                           \
    const parry_options name = {name##_rows, PR_COUNT(name##_rows), sizeof(type)}

/* Reads `text` into the row's field of `values`. A string field points to `text` itself, which must outlive it. */
PARRY_CHECKED parry_status pr_option_parse(parry_ctx *ctx, const parry_option *row, const char *text, void *values);
/* Writable option struct of the params, for code that sets fields directly (presets). */
void *pr_params_mutable(parry_params *params);
/* One option's value as text, as it would be given on the command line ("" for an unset string). */
PARRY_CHECKED parry_status pr_option_text(parry_ctx *ctx, const parry_option *row, const void *values, char **out);
/* Parses a finite number: decimal, or a fraction such as 8/255. False when `text` is not exactly one. */
bool pr_parse_number(const char *text, double *out);

#endif
