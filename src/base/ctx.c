/* The context: the error sentence, callbacks and identity of a caller's thread. */
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/ctx.h"

const char *parry_status_name(parry_status status)
{
    static const char *const names[] = {
#define STATUS_NAME(name, meaning) #name,
        PARRY_STATUS_LIST(STATUS_NAME)
#undef STATUS_NAME
    };
    return (size_t)status < PR_COUNT(names) ? names[status] : "UNKNOWN";
}

/* Processors this process may run on. */
static int available_threads(void)
{
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) != 0)
        return 1;
    return PR_MAX(1, CPU_COUNT(&set));
}

parry_status parry_ctx_create(const parry_ctx_options *options, parry_ctx **out)
{
    *out = NULL;
    parry_ctx *ctx = calloc(1, sizeof *ctx);
    if (!ctx)
        return PARRY_NO_MEMORY;
    if (options) /* an older caller's struct is shorter: the rest keeps its defaults */
        memcpy(&ctx->options, options, PR_MIN(options->size, sizeof ctx->options));
    if (ctx->options.threads <= 0)
        ctx->options.threads = available_threads();
    ctx->options.threads = PR_MIN(ctx->options.threads, 1024);
    pthread_mutex_init(&ctx->lock, NULL);
    *out = ctx;
    return PARRY_OK;
}

void parry_ctx_free(parry_ctx *ctx)
{
    if (!ctx)
        return;
    pr_pool_free(ctx->pool);
    pthread_mutex_destroy(&ctx->lock);
    free(ctx);
}

const char *parry_ctx_error(const parry_ctx *ctx)
{
    return ctx->error;
}

uint64_t parry_ctx_seed(const parry_ctx *ctx)
{
    return ctx->options.seed;
}

int parry_ctx_threads(const parry_ctx *ctx)
{
    return ctx->options.threads;
}

parry_status pr_fail(parry_ctx *ctx, parry_status status, const char *format, ...)
{
    char sentence[sizeof ctx->error]; /* the arguments may quote the sentence before */
    va_list args;
    va_start(args, format);
    vsnprintf(sentence, sizeof sentence, format, args);
    va_end(args);
    pthread_mutex_lock(&ctx->lock);
    memcpy(ctx->error, sentence, strlen(sentence) + 1);
    pthread_mutex_unlock(&ctx->lock);
    return status;
}

void pr_log(parry_ctx *ctx, parry_log_level level, const char *format, ...)
{
    if (!ctx->options.log)
        return;
    char message[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    pthread_mutex_lock(&ctx->lock);
    ctx->options.log(ctx->options.user, level, message);
    pthread_mutex_unlock(&ctx->lock);
}

void pr_progress(parry_ctx *ctx, const parry_progress *progress)
{
    if (!ctx->options.progress)
        return;
    pthread_mutex_lock(&ctx->lock);
    ctx->options.progress(ctx->options.user, progress);
    pthread_mutex_unlock(&ctx->lock);
}

parry_status pr_poll(parry_ctx *ctx)
{
    if (ctx->options.cancelled && ctx->options.cancelled(ctx->options.user))
        return pr_fail(ctx, PARRY_CANCELLED, "interrupted");
    return PARRY_OK;
}
