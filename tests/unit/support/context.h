/* What unit tests with one context share: making it, and a check that shows the context's sentence when a call fails.
 * Include it last: functions in other headers have parameters of that name. */
#ifndef PR_TESTS_SUPPORT_CONTEXT_H
#define PR_TESTS_SUPPORT_CONTEXT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/base.h"

/* The program's context, of two threads on any machine. */
static parry_ctx *ctx;

/* For cmocka_run_group_tests. */
static inline int set_up_context(void **state)
{
    (void)state;
    const parry_ctx_options options = {.size = sizeof options, .threads = 2};
    return parry_ctx_create(&options, &ctx) == PARRY_OK ? 0 : -1;
}

static inline int tear_down_context(void **state)
{
    (void)state;
    parry_ctx_free(ctx);
    ctx = NULL;
    return 0;
}

/* Fails the test, with the sentence, unless the call succeeds in `context`. */
#define OK_IN(context, call)                                                                                           \
    do {                                                                                                               \
        parry_status ok_status = (call);                                                                               \
        if (ok_status != PARRY_OK)                                                                                     \
            fail_msg("%s: %s: %s", #call, parry_status_name(ok_status), parry_ctx_error(context));                     \
    } while (0)
#define OK(call) OK_IN(ctx, call)

#endif
