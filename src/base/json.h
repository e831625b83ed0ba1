/* JSON values are the jansson library's; here is what parry adds: one format for files, and errors in the context. */
#ifndef PR_BASE_JSON_H
#define PR_BASE_JSON_H

#include <jansson.h>

#include "base/base.h"

/* The value as text, by jansson's flags; freed with pr_free. */
PARRY_CHECKED parry_status pr_json_dump(parry_ctx *ctx, const json_t *value, size_t flags, char **out);
/* Two-space indent, keys in insertion order, numbers with 9 significant digits at the most. */
PARRY_CHECKED parry_status pr_json_text(parry_ctx *ctx, const json_t *value, char **out);
/* `where` names the source in the error. The caller owns *out (json_decref). */
PARRY_CHECKED parry_status pr_json_parse(parry_ctx *ctx, const char *where, const char *text, json_t **out);
/* Appends `value`, which is consumed. Where it or the list is NULL, or memory is out, *list becomes NULL: a list lacks
 * nothing, and json_pack hands the NULL on. */
void pr_json_append(json_t **list, json_t *value);
/* Sets the field `key` in the same way: an object lacks nothing. (json_pack leaves out an optional field, s:s* or s:o*,
 * for which memory is out.) */
void pr_json_set(json_t **object, const char *key, json_t *value);
/* All values of an option struct as an object, keys as the flags' names. */
PARRY_CHECKED parry_status pr_options_json(parry_ctx *ctx, const parry_options *table, const void *values,
                                           json_t **out);

#endif
