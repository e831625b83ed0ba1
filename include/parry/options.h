/* Option tables: one table per attack, defence, trainer and command yields defaults, flags, help, JSON and range
 * checks. */
#ifndef PARRY_OPTIONS_H
#define PARRY_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <parry/context.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum parry_option_type {
    PARRY_OPTION_BOOL,   /* bool; on the command line --name and --no-name */
    PARRY_OPTION_INT,    /* int64_t */
    PARRY_OPTION_FLOAT,  /* double; "8/255" is read as a fraction */
    PARRY_OPTION_STRING, /* const char *, NULL when not given */
    PARRY_OPTION_CHOICE, /* int: index into choices */
    PARRY_OPTION_FLOATS, /* parry_floats: a comma-separated list */
    PARRY_OPTION_SIZE,   /* parry_size: "224", or height x width as "224x299" */
} parry_option_type;

#define PARRY_FLOATS_MAX 64
typedef struct parry_floats {
    int count;
    double value[PARRY_FLOATS_MAX];
} parry_floats;

/* Pixels; 0, 0: not stated. */
typedef struct parry_size {
    int height, width;
} parry_size;

typedef struct parry_option {
    const char *name; /* as on the command line, without the dashes: "save-images" */
    parry_option_type type;
    size_t offset;              /* of the field in the option struct */
    const char *def;            /* the default as text; NULL: no value */
    double min, max;            /* inclusive range of numbers */
    const char *const *choices; /* NULL-terminated, for PARRY_OPTION_CHOICE */
    const char *metavar;        /* "N"; FILE and FOLDER are written, MODEL is read; NULL: by type */
    const char *help;           /* one phrase, with the unit */
} parry_option;

typedef struct parry_options {
    const parry_option *rows;
    size_t count;
    size_t size; /* of the option struct */
} parry_options;

/* Values for one or more tables, held in their option structs; the strings are owned by the params. */
typedef struct parry_params parry_params;

/* All defaults. `table` must outlive the params. */
PARRY_API PARRY_CHECKED parry_status parry_params_create(parry_ctx *ctx, const parry_options *table,
                                                         parry_params **out);
PARRY_API void parry_params_free(parry_params *params);
/* Sets one option from its text. PARRY_INVALID with a sentence for an unknown name (the nearest is suggested), text
 * that does not parse and values out of range. For a bool, text is "true" or "false". */
PARRY_API PARRY_CHECKED parry_status parry_params_set(parry_ctx *ctx, parry_params *params, const char *name,
                                                      const char *text);
/* The option struct itself, of the table's type. */
PARRY_API const void *parry_params_values(const parry_params *params);
/* Whether the option was set (rather than left at its default). */
PARRY_API bool parry_params_given(const parry_params *params, const char *name);

/* The row with this name, or NULL. */
PARRY_API const parry_option *parry_options_find(const parry_options *table, const char *name);

/* The candidate with the smallest edit distance to `word`, or NULL when none is near enough to be meant. */
PARRY_API const char *parry_nearest(const char *word, const char *const *candidates, size_t count);

#ifdef __cplusplus
}
#endif
#endif
