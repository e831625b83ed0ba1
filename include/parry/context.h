/* The context: error sentence, log, progress, cancellation, seed and threads. One per user thread; not shared. */
#ifndef PARRY_CONTEXT_H
#define PARRY_CONTEXT_H

#include <stddef.h>
#include <stdint.h>

#include <parry/status.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct parry_ctx parry_ctx;

typedef enum parry_log_level { PARRY_LOG_WARNING, PARRY_LOG_INFO, PARRY_LOG_DEBUG } parry_log_level;

/* A snapshot of long work. `done` and `total` count `unit`s (images, usually); total is 0 when unknown. */
typedef struct parry_progress {
    const char *task; /* what is going on: "train epoch 3/20", "pgd eps 0.1" */
    const char *unit; /* "images", "bytes" */
    uint64_t done, total;
    const char *note; /* current figures, "loss 0.031", or NULL */
} parry_progress;

typedef struct parry_ctx_options {
    size_t size;                                                         /* sizeof(parry_ctx_options) */
    uint64_t seed;                                                       /* keys every random draw */
    int threads;                                                         /* 0: as many as the process may run on */
    void (*log)(void *user, parry_log_level level, const char *message); /* NULL: silent */
    void (*progress)(void *user, const parry_progress *progress); /* NULL: none; called from one thread at a time */
    int (*cancelled)(void *user);                                 /* polled; non-zero ends work with PARRY_CANCELLED */
    void *user;
} parry_ctx_options;

/* `options` may be NULL: seed 0, all threads, silent. The context's own threads block all signals. On the calling
 * thread, kernels of oneDNN move the stack pointer into the heap while they run: a program that handles signals there
 * must do so on an alternate stack (sigaltstack, SA_ONSTACK), or block them on that thread. */
PARRY_API PARRY_CHECKED parry_status parry_ctx_create(const parry_ctx_options *options, parry_ctx **out);
PARRY_API void parry_ctx_free(parry_ctx *ctx);

/* The sentence of the last failure, "" when there was none. Owned by the context, valid until its next call. */
PARRY_API const char *parry_ctx_error(const parry_ctx *ctx);
PARRY_API uint64_t parry_ctx_seed(const parry_ctx *ctx);
PARRY_API int parry_ctx_threads(const parry_ctx *ctx);

/* "0.1.0", and a line that names the libraries and the instruction set in use. */
PARRY_API const char *parry_version(void);
PARRY_API const char *parry_version_details(void);

/* Writes `size` bytes to `path`: to a temporary name in the same folder, then renamed, so that a failure leaves what
 * was there. PARRY_IO. */
PARRY_API PARRY_CHECKED parry_status parry_file_write(parry_ctx *ctx, const char *path, const void *data, size_t size);
/* Whether such a write could start now; nothing is left behind. To be asked before long work. PARRY_IO. */
PARRY_API PARRY_CHECKED parry_status parry_file_probe(parry_ctx *ctx, const char *path);
/* Creates a folder and those above it; one that is there already will do. PARRY_IO. */
PARRY_API PARRY_CHECKED parry_status parry_folder_make(parry_ctx *ctx, const char *path);

/* Strings that the library returns through char **out are freed with this. NULL is taken. */
PARRY_API void parry_string_free(char *string);

#ifdef __cplusplus
}
#endif
#endif
