/* The context of unit tests that have one, and checks in it. Include it last: functions in other headers have
 * parameters of that name. */
#ifndef PR_TESTS_SUPPORT_CONTEXT_H
#define PR_TESTS_SUPPORT_CONTEXT_H

#include "check.h"

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

#define OK(call) OK_IN(ctx, call)

#endif
