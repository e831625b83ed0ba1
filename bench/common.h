/* What the benchmarks of the library share: the context, the end where a call fails, the clock. */
#ifndef PR_BENCH_COMMON_H
#define PR_BENCH_COMMON_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <parry/parry.h>

static parry_ctx *ctx;

static inline void check(parry_status status)
{
    if (status == PARRY_OK)
        return;
    fprintf(stderr, "%s: %s\n", program_invocation_short_name, parry_ctx_error(ctx));
    exit(1);
}

/* Seconds. */
static inline double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

#endif
