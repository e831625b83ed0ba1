/* The context, the error sentence, allocation and its injected failures, text and the nearest name. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

static int setup(void **state)
{
    parry_ctx *ctx;
    if (parry_ctx_create(NULL, &ctx) != PARRY_OK)
        return -1;
    *state = ctx;
    return 0;
}

static int teardown(void **state)
{
    parry_ctx_free(*state);
    return 0;
}

/* ---- context ---------------------------------------------------------------------------------------------------- */

typedef struct heard {
    char log[64];
    parry_log_level level;
    uint64_t done;
    int cancel;
} heard;

static void on_log(void *user, parry_log_level level, const char *message)
{
    heard *h = user;
    h->level = level;
    snprintf(h->log, sizeof h->log, "%s", message);
}

static void on_progress(void *user, const parry_progress *progress)
{
    ((heard *)user)->done = progress->done;
}

static int on_cancelled(void *user)
{
    return ((heard *)user)->cancel;
}

static void test_ctx_passes_on(void **state)
{
    (void)state;
    heard h = {0};
    parry_ctx_options options = {.size = sizeof options,
                                 .seed = 42,
                                 .threads = 3,
                                 .log = on_log,
                                 .progress = on_progress,
                                 .cancelled = on_cancelled,
                                 .user = &h};
    parry_ctx *ctx;
    assert_int_equal(parry_ctx_create(&options, &ctx), PARRY_OK);
    assert_int_equal(parry_ctx_seed(ctx), 42);
    assert_int_equal(parry_ctx_threads(ctx), 3);
    pr_log(ctx, PARRY_LOG_INFO, "%d of %d", 2, 3);
    assert_string_equal(h.log, "2 of 3");
    assert_int_equal(h.level, PARRY_LOG_INFO);
    pr_progress(ctx, &(parry_progress){.task = "t", .unit = "images", .done = 9, .total = 10});
    assert_int_equal(h.done, 9);
    assert_int_equal(pr_poll(ctx), PARRY_OK);
    h.cancel = 1;
    assert_int_equal(pr_poll(ctx), PARRY_CANCELLED);
    assert_string_equal(parry_ctx_error(ctx), "interrupted");
    parry_ctx_free(ctx);
}

/* A caller built against an older, shorter option struct: what it did not know keeps its default. */
static void test_ctx_takes_a_shorter_struct(void **state)
{
    (void)state;
    parry_ctx_options options = {.size = offsetof(parry_ctx_options, threads), .seed = 7, .threads = 99};
    parry_ctx *ctx;
    assert_int_equal(parry_ctx_create(&options, &ctx), PARRY_OK);
    assert_int_equal(parry_ctx_seed(ctx), 7);
    assert_true(parry_ctx_threads(ctx) >= 1 && parry_ctx_threads(ctx) != 99);
    parry_ctx_free(ctx);
    parry_ctx_free(NULL);
}

static void test_error_sentence(void **state)
{
    parry_ctx *ctx = *state;
    assert_int_equal(pr_fail(ctx, PARRY_FORMAT, "file %s: line %d", "a", 3), PARRY_FORMAT);
    assert_string_equal(parry_ctx_error(ctx), "file a: line 3");
    assert_int_equal(pr_fail(ctx, PARRY_IO, "later"), PARRY_IO);
    assert_string_equal(parry_ctx_error(ctx), "later");
    char longer[3000];
    memset(longer, 'x', sizeof longer);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(pr_fail(ctx, PARRY_IO, "%s", longer), PARRY_IO);
    assert_true(strlen(parry_ctx_error(ctx)) > 500 && strlen(parry_ctx_error(ctx)) < sizeof longer);
    assert_string_equal(parry_status_name(PARRY_NO_MEMORY), "NO_MEMORY");
    assert_string_equal(parry_status_name((parry_status)99), "UNKNOWN");
}

/* A sentence may quote the one before it. */
static void test_error_may_quote_itself(void **state)
{
    parry_ctx *ctx = *state;
    assert_int_equal(pr_fail(ctx, PARRY_IO, "inner"), PARRY_IO);
    assert_int_equal(pr_fail(ctx, PARRY_IO, "outer: %s", parry_ctx_error(ctx)), PARRY_IO);
    assert_string_equal(parry_ctx_error(ctx), "outer: inner");
}

/* ---- allocation ------------------------------------------------------------------------------------------------- */

static void test_alloc(void **state)
{
    parry_ctx *ctx = *state;
    double *values;
    assert_int_equal(pr_alloc(ctx, 100, &values), PARRY_OK);
    assert_int_equal((uintptr_t)values % 64, 0);
    for (int i = 0; i < 100; i++)
        assert_true(values[i] == 0);
    pr_free(values);
    assert_int_equal(pr_alloc(ctx, 0, &values), PARRY_OK);
    assert_null(values);
    assert_int_equal(pr_alloc(ctx, SIZE_MAX / 4, &values), PARRY_NO_MEMORY);
    assert_null(values);
    assert_int_equal(pr_alloc_raw(ctx, SIZE_MAX / sizeof *values, &values), PARRY_NO_MEMORY);
}

static void test_grow_keeps_content(void **state)
{
    parry_ctx *ctx = *state;
    int *items = NULL;
    size_t capacity = 0;
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(pr_grow(ctx, i + 1, &capacity, &items), PARRY_OK);
        items[i] = i;
    }
    for (int i = 0; i < 1000; i++)
        assert_int_equal(items[i], i);
    int *before = items;
    pr_alloc_fail_at(1);
    assert_int_equal(pr_grow(ctx, capacity + 1, &capacity, &items), PARRY_NO_MEMORY);
    assert_ptr_equal(items, before);
    pr_free(items);
}

static void test_injected_failures(void **state)
{
    parry_ctx *ctx = *state;
    char *text;
    for (int n = 1; n <= 3; n++) {
        pr_alloc_fail_at(n);
        for (int i = 1; i <= 4; i++) {
            assert_int_equal(pr_strdup(ctx, "text", &text), i == n ? PARRY_NO_MEMORY : PARRY_OK);
            pr_free(text);
        }
    }
    assert_non_null(strstr(parry_ctx_error(ctx), "out of memory"));
}

/* ---- text ------------------------------------------------------------------------------------------------------- */

static void test_text(void **state)
{
    parry_ctx *ctx = *state;
    char *text;
    assert_int_equal(pr_asprintf(ctx, &text, "%s/%05d", "a", 42), PARRY_OK);
    assert_string_equal(text, "a/00042");
    pr_free(text);

    pr_text growing = {0};
    assert_int_equal(pr_text_take(ctx, &growing, &text), PARRY_OK);
    assert_string_equal(text, "");
    parry_string_free(text);
    for (int i = 0; i < 2000; i++)
        pr_text_add(&growing, "%d,", i % 10);
    pr_text_bytes(&growing, "a\0b", 3);
    assert_int_equal(growing.length, 4003);
    assert_int_equal(pr_text_take(ctx, &growing, &text), PARRY_OK);
    assert_memory_equal(text, "0,1,2,3,", 8);
    assert_memory_equal(text + 3998, "9,a\0b\0", 6);
    parry_string_free(text);
    assert_null(growing.data);
}

static void test_printable(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        {"plain", "plain"},
        {"\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80", "\xc3\xbc\xe2\x82\xac\xf0\x9f\x98\x80"}, /* two, three and four bytes */
        {"a\x1b[31m\nb\x7f", "a?[31m?b?"},
        {"\xff\xfe", "??"},
        {"\xc3", "?"},                                    /* cut short */
        {"\xc0\xaf", "??"},                               /* overlong */
        {"\xed\xa0\x80", "???"},                          /* a surrogate */
        {"\xf4\x90\x80\x80", "????"},                     /* beyond the last character */
    };
    for (size_t i = 0; i < PR_COUNT(pairs); i++) {
        char text[32];
        strcpy(text, pairs[i][0]);
        pr_make_printable(text);
        assert_string_equal(text, pairs[i][1]);
    }
}

static void test_nearest_name(void **state)
{
    (void)state;
    static const char *const names[] = {"fgsm", "pgd", "mnist", "fashion-mnist", "finetune"};
    static const struct {
        const char *word, *nearest;
    } cases[] = {
        {"fgsm", "fgsm"},
        {"fsgm", "fgsm"},
        {"fgs", "fgsm"},
        {"pdg", "pgd"},
        {"minst", "mnist"},
        {"mnsit", "mnist"},
        {"fasion-mnist", "fashion-mnist"},
        {"fine-tune", "finetune"},
        {"PGD", "pgd"},
        {"FashionMNIST", "fashion-mnist"},
        {"xyz", NULL},
        {"tiny", NULL},
        {"pgs", "pgd"},
        {"fgd", "pgd"},
        {"", NULL},
        {"deepfool", NULL},
        {"a", NULL},
    };
    for (size_t i = 0; i < PR_COUNT(cases); i++) {
        const char *nearest = parry_nearest(cases[i].word, names, PR_COUNT(names));
        if (cases[i].nearest)
            assert_string_equal(nearest ? nearest : "(none)", cases[i].nearest);
        else
            assert_null(nearest);
    }
    char longest[200];
    memset(longest, 'f', sizeof longest);
    longest[sizeof longest - 1] = '\0';
    assert_null(parry_nearest(longest, names, PR_COUNT(names)));
}

static void test_find_name(void **state)
{
    parry_ctx *ctx = *state;
    static const char *const names[] = {"fgsm", "pgd"};
    size_t index;
    assert_int_equal(pr_name_find(ctx, "attack", "attacks", "pgd", names, PR_COUNT(names), &index), PARRY_OK);
    assert_int_equal(index, 1);
    assert_int_equal(pr_name_find(ctx, "attack", "attacks", "pdg", names, PR_COUNT(names), &index), PARRY_NOT_FOUND);
    assert_string_equal(parry_ctx_error(ctx), "there is no attack 'pdg'; did you mean 'pgd'?");
    assert_int_equal(pr_name_find(ctx, "attack", "attacks", "deepfool", names, PR_COUNT(names), &index),
                     PARRY_NOT_FOUND);
    assert_string_equal(parry_ctx_error(ctx), "there is no attack 'deepfool'; 'parry list attacks' shows them");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ctx_passes_on),
        cmocka_unit_test(test_ctx_takes_a_shorter_struct),
        cmocka_unit_test(test_error_sentence),
        cmocka_unit_test(test_error_may_quote_itself),
        cmocka_unit_test(test_alloc),
        cmocka_unit_test(test_grow_keeps_content),
        cmocka_unit_test(test_injected_failures),
        cmocka_unit_test(test_text),
        cmocka_unit_test(test_printable),
        cmocka_unit_test(test_nearest_name),
        cmocka_unit_test(test_find_name),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
