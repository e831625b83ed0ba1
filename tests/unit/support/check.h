/* What tests check with: a call that must succeed, a failure whose sentence must say something; and skipping. */
#ifndef PR_TESTS_SUPPORT_CHECK_H
#define PR_TESTS_SUPPORT_CHECK_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/base.h"

/* cmocka calls a program whose tests were all skipped a passed one. Skips are counted, and such a program exits with
 * what meson takes for skipped. */
enum { ALL_SKIPPED = 77 };
static int tests_skipped;

static inline int tests_status(int failed, size_t tests)
{
    return failed == 0 && tests_skipped == (int)tests ? ALL_SKIPPED : failed;
}

#undef skip
#define skip() (tests_skipped++, _skip(__FILE__, __LINE__))
#undef cmocka_run_group_tests
#define cmocka_run_group_tests(tests, setup, teardown) cmocka_run_group_tests_name(#tests, tests, setup, teardown)
#undef cmocka_run_group_tests_name
#define cmocka_run_group_tests_name(name, tests, setup, teardown)                                                      \
    tests_status(_cmocka_run_group_tests(name, tests, PR_COUNT(tests), setup, teardown), PR_COUNT(tests))

/* Fails the test, with the sentence, unless the call succeeds in `context`. */
#define OK_IN(context, call)                                                                                           \
    do {                                                                                                               \
        parry_status ok_status = (call);                                                                               \
        if (ok_status != PARRY_OK)                                                                                     \
            fail_msg("%s: %s: %s", #call, parry_status_name(ok_status), parry_ctx_error(context));                     \
    } while (0)

/* The sentence of the latest failure contains `words`. */
static inline void check_says(const parry_ctx *context, const char *words)
{
    if (!strstr(parry_ctx_error(context), words))
        fail_msg("the error is \"%s\"; expected it to say \"%s\"", parry_ctx_error(context), words);
}

/* A call came to `status`: it failed as expected, and said so. */
static inline void check_error(const parry_ctx *context, parry_status status, parry_status expected, const char *words)
{
    assert_int_equal(status, expected);
    check_says(context, words);
}

#endif
