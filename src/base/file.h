/* Files: reading whole files with a limit, writing atomically, folders, hashes. */
#ifndef PR_BASE_FILE_H
#define PR_BASE_FILE_H

#include <stdio.h>

#include "base/base.h"

/* The whole file, and its size; a zero byte follows the content. PARRY_FORMAT when it is larger than `limit` bytes.
 * Freed with pr_free. */
PARRY_CHECKED parry_status pr_file_read(parry_ctx *ctx, const char *path, size_t limit, uint8_t **data, size_t *size);
/* The same, decompressing gzip when the content starts with its magic; `limit` bounds the decompressed size. */
PARRY_CHECKED parry_status pr_file_read_gz(parry_ctx *ctx, const char *path, size_t limit, uint8_t **data,
                                           size_t *size);

/* An output that appears under its name only when complete: written to a temporary name in the same folder, flushed to
 * disk and renamed by commit. pr_output_abort removes the temporary file; it may follow a failed commit and is then
 * harmless. Write errors (disk full) come out of commit at the latest. */
typedef struct pr_output {
    FILE *stream;
    char *path, *temporary;
} pr_output;
PARRY_CHECKED parry_status pr_output_begin(parry_ctx *ctx, const char *path, pr_output *out);
PARRY_CHECKED parry_status pr_output_commit(parry_ctx *ctx, pr_output *out);
void pr_output_abort(pr_output *out);
/* All in one: parry_file_write. */

bool pr_file_exists(const char *path);
bool pr_is_folder(const char *path);
/* "folder/name". */
PARRY_CHECKED parry_status pr_path_join(parry_ctx *ctx, const char *folder, const char *name, char **out);
/* The part after the last slash. */
const char *pr_path_base(const char *path);
/* $XDG_CACHE_HOME/parry, else $HOME/.cache/parry; PARRY_NOT_FOUND when neither is set. Not created. */
PARRY_CHECKED parry_status pr_cache_folder(parry_ctx *ctx, char **out);

#define PR_SHA256_HEX 65
/* Lower-case hex digits and a zero. */
void pr_sha256(const void *data, size_t size, char hex[PR_SHA256_HEX]);
/* Incremental, over several pieces. */
typedef struct pr_sha256_state pr_sha256_state;
PARRY_CHECKED parry_status pr_sha256_begin(parry_ctx *ctx, pr_sha256_state **out);
void pr_sha256_add(pr_sha256_state *state, const void *data, size_t size);
/* Writes the digest and frees the state. */
void pr_sha256_end(pr_sha256_state *state, char hex[PR_SHA256_HEX]);

#endif
