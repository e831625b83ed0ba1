/* Option tables inside the library: the rows' macros, and reading and writing single values. */
#ifndef PR_BASE_OPT_H
#define PR_BASE_OPT_H

#include <parry/option_rows.h>

#include "base/base.h"

/* Reads `text` into the row's field of `values`. A string field points to `text` itself, which must outlive it. */
PARRY_CHECKED parry_status pr_option_parse(parry_ctx *ctx, const parry_option *row, const char *text, void *values);
/* One option's value as text, as it would be given on the command line ("" for an unset string). */
PARRY_CHECKED parry_status pr_option_text(parry_ctx *ctx, const parry_option *row, const void *values, char **out);
/* Parses a finite number: decimal, or a fraction such as 8/255. False when `text` is not exactly one. */
bool pr_parse_number(const char *text, double *out);

#endif
