/* What every layer uses: error propagation, allocation, strings, and the context's services. */
#ifndef PR_BASE_BASE_H
#define PR_BASE_BASE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <parry/context.h>
#include <parry/options.h>
#include <parry/status.h>

/* Propagate a failure; whoever detected it has set the sentence (pr_fail). */
#define TRY(call)                                                                                                      \
    do {                                                                                                               \
        parry_status try_status_ = (call);                                                                             \
        if (try_status_ != PARRY_OK)                                                                                   \
            return try_status_;                                                                                        \
    } while (0)
/* The same where there is something to release: needs `parry_status status` and the label. */
#define TRY_TO(label, call)                                                                                            \
    do {                                                                                                               \
        if ((status = (call)) != PARRY_OK)                                                                             \
            goto label;                                                                                                \
    } while (0)

#define PR_MIN(a, b) ((a) < (b) ? (a) : (b))
#define PR_MAX(a, b) ((a) > (b) ? (a) : (b))
#define PR_COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* Sets the sentence of the failure and returns `status`. The latest failure wins, so whoever handles one and goes on
 * need not tidy up. Thread-safe. The sentence names the file, node or option, what was expected and what was found; no
 * trailing full stop or newline. */
parry_status pr_fail(parry_ctx *ctx, parry_status status, const char *format, ...) PARRY_PRINTF(3, 4);

void pr_log(parry_ctx *ctx, parry_log_level level, const char *format, ...) PARRY_PRINTF(3, 4);
/* Throttled by the receiver, not here; call it per batch, not per image. Thread-safe. */
void pr_progress(parry_ctx *ctx, const parry_progress *progress);
/* PARRY_CANCELLED when the caller asked to stop; poll it per batch. */
PARRY_CHECKED parry_status pr_poll(parry_ctx *ctx);

/* ---- allocation: 64-byte aligned, freed with pr_free -------------------------------------------------------- */

/* *out becomes zeroed memory for count * size bytes (NULL when that is 0). PARRY_NO_MEMORY on overflow or exhaustion.
 */
PARRY_CHECKED parry_status pr_alloc_bytes(parry_ctx *ctx, size_t count, size_t size, void **out);
#define pr_alloc(ctx, count, out) pr_alloc_bytes((ctx), (size_t)(count), sizeof(**(out)), (void **)(out))
/* The same, not zeroed: for big buffers that are written before they are read. */
PARRY_CHECKED parry_status pr_alloc_raw_bytes(parry_ctx *ctx, size_t count, size_t size, void **out);
#define pr_alloc_raw(ctx, count, out) pr_alloc_raw_bytes((ctx), (size_t)(count), sizeof(**(out)), (void **)(out))
/* Grows *array (holding *capacity items) to hold at least `need`; keeps the content. */
PARRY_CHECKED parry_status pr_grow_bytes(parry_ctx *ctx, size_t need, size_t size, size_t *capacity, void **array);
#define pr_grow(ctx, need, capacity, array)                                                                            \
    pr_grow_bytes((ctx), (size_t)(need), sizeof(**(array)), (capacity), (void **)(array))
void pr_free(void *memory);

/* Tests: the n-th allocation from now fails (0: none does). Process-wide. */
void pr_alloc_fail_at(long n);

/* ---- strings ---------------------------------------------------------------------------------------------------- */

PARRY_CHECKED parry_status pr_strdup(parry_ctx *ctx, const char *text, char **out);
/* For names that come from files and paths and go to terminals and JSON: control characters and bytes that are no UTF-8
 * become '?'. */
void pr_make_printable(char *text);
PARRY_CHECKED parry_status pr_asprintf(parry_ctx *ctx, char **out, const char *format, ...) PARRY_PRINTF(3, 4);

/* Which of `names` is `name`. PARRY_NOT_FOUND: "there is no attack 'pgb'; did you mean 'pgd'?", or where no name is
 * near "...; 'parry list attacks' shows them"; `kind` and `kinds` are the words for it. */
PARRY_CHECKED parry_status pr_name_find(parry_ctx *ctx, const char *kind, const char *kinds, const char *name,
                                        const char *const *names, size_t count, size_t *index);

/* A growing text. Zero-initialise; failures are sticky and come out of pr_text_take. */
typedef struct pr_text {
    char *data;
    size_t length, capacity;
    bool failed;
} pr_text;
void pr_text_add(pr_text *text, const char *format, ...) PARRY_PRINTF(2, 3);
void pr_text_bytes(pr_text *text, const void *bytes, size_t count);
/* Hands over the zero-terminated string ("" when nothing was added); the text is empty again. */
PARRY_CHECKED parry_status pr_text_take(parry_ctx *ctx, pr_text *text, char **out);
void pr_text_clear(pr_text *text);

/* ---- parallel work ---------------------------------------------------------------------------------------------- */

/* Runs job(arg, index, worker) for index 0..count-1 on the context's threads; worker is in 0..threads-1 and identifies
 * per-thread scratch. Indices are handed out dynamically: results must not depend on who runs what. The first failure
 * stops the rest. A call from inside a job runs serially as that job's worker; inside the only job of a loop it runs on
 * the threads, which are free. All workers flush denormals to zero while they work. */
typedef parry_status (*pr_job)(parry_ctx *ctx, void *arg, int64_t index, int worker);
PARRY_CHECKED parry_status pr_parallel_for(parry_ctx *ctx, int64_t count, pr_job job, void *arg);

/* Runs job(arg, rank, ranks) once on each of `ranks` <= threads threads at the same time; inside, pr_team_barrier makes
 * all ranks meet (bounded spin, then sleep). Every rank must pass the same barriers, failures included. */
typedef struct pr_team pr_team;
typedef void (*pr_team_job)(pr_team *team, void *arg, int rank, int ranks);
PARRY_CHECKED parry_status pr_parallel_team(parry_ctx *ctx, int ranks, pr_team_job job, void *arg);
void pr_team_barrier(pr_team *team);

/* The denormal policy (flush to zero) for the calling thread; returns the previous state for pr_denormals_restore. */
unsigned pr_denormals_flush(void);
void pr_denormals_restore(unsigned state);

#endif
