/* Rows of option tables. A row names a field once; its type is checked at compile time against the macro used.
 *
 *     struct pgd { int64_t steps; bool random_start; };
 *     PR_OPTIONS(pgd_options, struct pgd,
 *                OPT_INT(struct pgd, steps, "steps", "40", 1, 1e6, "number of gradient steps"),
 *                OPT_BOOL(struct pgd, random_start, "random-start", "true", "start at a random point of the ball"));
 *
 * Not part of parry/parry.h: for code that defines tables of its own. */
#ifndef PARRY_OPTION_ROWS_H
#define PARRY_OPTION_ROWS_H

#include <float.h>
#include <math.h>

#include <parry/options.h>

/* 0, or a compile error when the field is not of the given type. */
#define OPT_CHECK(type, field, wanted)                                                                                 \
    (0 * sizeof(struct { int wrong_type : _Generic(((type *)0)->field, wanted: 1, default: -1); }))

#define OPT_BOOL(type, field, flag, def, help)                                                                        \
    {flag, PARRY_OPTION_BOOL, offsetof(type, field) + OPT_CHECK(type, field, bool), def, 0, 1, NULL, NULL, help}
#define OPT_INT(type, field, flag, def, min, max, help)                                                               \
    {flag, PARRY_OPTION_INT, offsetof(type, field) + OPT_CHECK(type, field, int64_t), def, min, max, NULL, NULL, help}
#define OPT_FLOAT(type, field, flag, def, min, max, help)                                                             \
    {flag, PARRY_OPTION_FLOAT, offsetof(type, field) + OPT_CHECK(type, field, double), def, min, max, NULL, NULL, help}
#define OPT_STRING(type, field, flag, def, metavar, help)                                                             \
    {flag, PARRY_OPTION_STRING, offsetof(type, field) + OPT_CHECK(type, field, const char *), def, 0, 0, NULL, metavar, \
     help}
#define OPT_CHOICE(type, field, flag, def, choices, help)                                                             \
    {flag, PARRY_OPTION_CHOICE, offsetof(type, field) + OPT_CHECK(type, field, int), def, 0, 0, choices, NULL, help}
#define OPT_FLOATS(type, field, flag, def, min, max, help)                                                            \
    {flag, PARRY_OPTION_FLOATS, offsetof(type, field) + OPT_CHECK(type, field, parry_floats), def, min, max, NULL, NULL, \
     help}

#define OPT_SIZE(type, field, flag, def, max, help)                                                                   \
    {flag, PARRY_OPTION_SIZE, offsetof(type, field) + OPT_CHECK(type, field, parry_size), def, 1, max, NULL, NULL, help}

/* Defines `const parry_options name` from rows. */
#define PR_OPTIONS(name, type, ...)                                                                                    \
    static const parry_option name##_rows[] = {__VA_ARGS__};                                                           \
    const parry_options name = {name##_rows, sizeof name##_rows / sizeof name##_rows[0], sizeof(type)}

#endif
