/* The HTML report: well-formed, self-contained, escaped; charts hold the values they plot. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/file.h"
#include "fixture.h"
#include "../support/context.h"

/* The report as text; freed with pr_free. */
static char *report(const parry_evaluation *const *evaluations, int count, const char *title, const char *commands)
{
    char path[] = "/tmp/parry-report-XXXXXX";
    uint8_t *data;
    size_t size;
    int file = mkstemp(path);
    assert_true(file >= 0);
    close(file);
    assert_int_equal(parry_evaluation_write_html(ctx, evaluations, count, title, commands, path), PARRY_OK);
    assert_int_equal(pr_file_read(ctx, path, 1 << 24, &data, &size), PARRY_OK);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(strlen((char *)data), size);
    return (char *)data;
}

/* ---- a small checker of markup ---------------------------------------------------------------------------------- */

enum { DEPTH_MAX = 64, NAME_MAX_LENGTH = 16 };

static bool is_void(const char *name)
{
    static const char *const names[] = {"meta", "img", "br", "!DOCTYPE"};
    for (size_t i = 0; i < PR_COUNT(names); i++)
        if (strcmp(names[i], name) == 0)
            return true;
    return false;
}

/* The end of a tag that starts at `at`, after its ">"; quotes may hold anything but themselves. */
static const char *tag_end(const char *at)
{
    for (char quote = 0; *at; at++) {
        if (quote ? *at == quote : *at == '"')
            quote = quote ? 0 : *at;
        else if (!quote && *at == '>')
            return at + 1;
    }
    fail_msg("a tag does not end");
    return at;
}

/* Every element is closed in order, ampersands start entities, and text holds no stray bracket. */
static void check_markup(const char *html)
{
    char open[DEPTH_MAX][NAME_MAX_LENGTH];
    int depth = 0;
    for (const char *at = html; *at;) {
        if (*at == '&') {
            assert_true(isalpha((unsigned char)at[1]) || at[1] == '#');
            assert_int_equal(at[strcspn(at, "; ")], ';');
        }
        assert_true(*at != '>');
        if (*at != '<') {
            at++;
            continue;
        }
        bool closes = at[1] == '/';
        const char *name = at + 1 + closes, *end = tag_end(at);
        size_t length = strcspn(name, " />\n");
        char word[NAME_MAX_LENGTH] = {0};
        assert_true(length < NAME_MAX_LENGTH);
        memcpy(word, name, length);
        if (closes) {
            assert_true(depth > 0);
            assert_string_equal(open[--depth], word);
        } else if (!is_void(word) && end[-2] != '/') {
            assert_true(depth < DEPTH_MAX);
            memcpy(open[depth++], word, sizeof word);
        }
        at = strcmp(word, "style") == 0 && !closes ? strstr(end, "</style>") : end;
    }
    assert_int_equal(depth, 0);
}

static void test_markup(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    const parry_evaluation *twice[] = {&f.ev, &f.ev};
    char *html = report(twice, 2, "<script>alert('x')</script>", "parry evaluate a.onnx > \"out\" && echo </pre>");
    check_markup(html);
    assert_null(strstr(html, "<script"));
    assert_null(strstr(html, "a<b>"));
    assert_null(strstr(html, "<drawn>"));
    assert_null(strstr(html, "<i>&"));
    assert_non_null(strstr(html, "a&lt;b&gt;&amp;&quot;hardened&quot;.onnx"));
    assert_non_null(strstr(html, "&gt; &quot;out&quot; &amp;&amp; echo &lt;/pre&gt;"));
    pr_free(html);
}

/* Nothing is loaded from anywhere: no addresses, and sources hold their data. */
static void test_self_contained(void **state)
{
    (void)state;
    static const char *const loads[] = {"http:",  "https:", "href",    "url(",   "@import",
                                        "srcset", "<link",  "<iframe", "<object"};
    fixture f;
    fixture_init(&f);
    char *html = report((const parry_evaluation *[]){&f.ev}, 1, "Report", NULL);
    for (size_t i = 0; i < PR_COUNT(loads); i++)
        assert_null(strstr(html, loads[i]));
    int sources = 0;
    for (const char *at = html; (at = strstr(at, "src=\"")); at++, sources++)
        assert_memory_equal(at, "src=\"data:image/png;base64,", strlen("src=\"data:image/png;base64,"));
    assert_int_equal(sources, 3 * FIX_EXAMPLES * FIX_MODELS);
    pr_free(html);
}

/* What a reader needs to repeat and to judge it. */
static void test_content(void **state)
{
    (void)state;
    static const char *const wanted[] = {"At eps 0.1, standard.onnx keeps 0.05% of its 98.92%",
                                         "Built-in digits, not MNIST",
                                         FIX_HASH_A,
                                         FIX_HASH_B,
                                         FIX_HASH_D,
                                         "parry train --seed 7",
                                         "first 2,000 images",
                                         "96.05%",
                                         "flatter",
                                         "75.00%",
                                         "422,026",
                                         "pgd, steps=40; first 2,000 images"};
    fixture f;
    fixture_init(&f);
    char *html = report((const parry_evaluation *[]){&f.ev}, 1, "Report", "parry train --seed 7");
    for (size_t i = 0; i < PR_COUNT(wanted); i++)
        if (!strstr(html, wanted[i]))
            fail_msg("the report lacks '%s'", wanted[i]);
    pr_free(html);
}

/* Clean accuracy alone makes a report too; so do models without histories and data of two channels, which have no
 * pictures. */
static void test_little(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    f.ev.attack_count = 0;
    f.ev.source = NULL;
    f.ev.curve_count = f.ev.example_count = 0;
    f.infos[0].history = f.infos[1].history = NULL;
    char *html = report((const parry_evaluation *[]){&f.ev}, 1, "Report", "");
    check_markup(html);
    assert_non_null(strstr(html, "No attack was run"));
    assert_null(strstr(html, "<svg"));
    pr_free(html);
    fixture_init(&f);
    f.data.channels = 2;
    html = report((const parry_evaluation *[]){&f.ev}, 1, "Report", NULL);
    check_markup(html);
    assert_null(strstr(html, "<img"));
    pr_free(html);
}

/* Histories come from files: none of these may break the report. */
static void test_odd_histories(void **state)
{
    (void)state;
    static const char *const histories[] = {
        "",
        "[]",
        "{}",
        "7",
        "{\"stages\":3}",
        "{\"stages\":[]}",
        "{\"stages\":[{\"curve\":{}}]}",
        "{\"stages\":[{\"curve\":[null,{},{\"test_acc\":\"x\"}],\"method\":4,\"settings\":[]}]}",
        "{\"stages\":[{\"curve\":[{\"test_acc\":0.5}],\"settings\":{\"a\":null,\"<\":\"&\"}}]}"};
    fixture f;
    fixture_init(&f);
    for (size_t i = 0; i < PR_COUNT(histories); i++) {
        f.infos[0].history = histories[i];
        char *html = report((const parry_evaluation *[]){&f.ev}, 1, "Report", NULL);
        check_markup(html);
        pr_free(html);
    }
}

static void test_unwritable(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    const parry_evaluation *one = &f.ev;
    assert_int_equal(parry_evaluation_write_html(ctx, &one, 1, "Report", NULL, "/nowhere/at/all/report.html"),
                     PARRY_IO);
    assert_non_null(strstr(parry_ctx_error(ctx), "/nowhere/at/all"));
}

/* Each allocation fails in turn: an error, nothing leaks, and the file that was there stays. */
static void test_out_of_memory(void **state)
{
    (void)state;
    char path[] = "/tmp/parry-report-XXXXXX";
    fixture f;
    fixture_init(&f);
    const parry_evaluation *one = &f.ev;
    uint8_t *data;
    size_t size;
    parry_status status = PARRY_NO_MEMORY;
    int failures = -1;
    close(mkstemp(path));
    assert_int_equal(parry_file_write(ctx, path, "old", 3), PARRY_OK);
    for (int n = 1; status == PARRY_NO_MEMORY; n++, failures++) {
        assert_int_equal(pr_file_read(ctx, path, 1 << 24, &data, &size), PARRY_OK);
        assert_string_equal((char *)data, "old");
        pr_free(data);
        pr_alloc_fail_at(n);
        status = parry_evaluation_write_html(ctx, &one, 1, "Report", NULL, path);
        pr_alloc_fail_at(0);
    }
    assert_int_equal(unlink(path), 0);
    assert_int_equal(status, PARRY_OK);
    assert_true(failures > 20);
}

/* ---- charts ----------------------------------------------------------------------------------------------------- */

static int count_words(const char *text, const char *word)
{
    int count = 0;
    for (; (text = strstr(text, word)); text++)
        count++;
    return count;
}

/* Every finite point carries its name and values; gaps break the line. */
static void test_chart_values(void **state)
{
    (void)state;
    const double x[] = {0, 0.1, 0.2, 0.3}, a[] = {0.9, NAN, 0.25, 0.125}, b[] = {1, 1, 1, 1};
    const pr_series series[] = {{"one & only", x, a, 4, 0, false}, {"two", x, b, 4, 1, true}};
    const pr_rule rule = {0.15, "here <"};
    const pr_chart chart = {.title = "Title",
                            .x_label = "eps",
                            .y_label = "accuracy",
                            .percent = true,
                            .from_zero = true,
                            .series = series,
                            .series_count = 2,
                            .rules = &rule,
                            .rule_count = 1};
    pr_text text = {0};
    pr_svg_chart(&text, &chart);
    check_markup(text.data);
    assert_non_null(strstr(text.data, "one &amp; only: 90.00%, eps 0"));
    assert_non_null(strstr(text.data, "one &amp; only: 12.50%, eps 0.3"));
    assert_non_null(strstr(text.data, "two: 100.00%, eps 0.1"));
    assert_non_null(strstr(text.data, "here &lt;"));
    assert_null(strstr(text.data, "nan"));
    assert_int_equal(count_words(text.data, "<title>"), 7);
    static const char *const ticks[] = {">0%<", ">20%<", ">100%<", ">0.00<", ">0.30<"};
    for (size_t i = 0; i < PR_COUNT(ticks); i++)
        assert_non_null(strstr(text.data, ticks[i]));
    pr_text_clear(&text);
}

/* One point, equal values, nothing finite, nothing at all, and extreme values: always a chart without nan or inf, and
 * few ticks. */
static void test_chart_degenerate(void **state)
{
    (void)state;
    static const double one[] = {1}, flat[] = {3, 3, 3}, none[] = {NAN, INFINITY, NAN}, wide[] = {1e-30, 1e30, 5},
                        x[] = {1, 2, 3};
    const struct {
        const double *y;
        int count;
    } cases[] = {{one, 1}, {flat, 3}, {none, 3}, {wide, 3}, {NULL, 0}};
    for (size_t i = 0; i < PR_COUNT(cases); i++) {
        const pr_series series = {"name", x, cases[i].y, cases[i].count, 7, false};
        const pr_chart chart = {
            .title = "", .x_label = "x", .y_label = "y", .whole_x = true, .series = &series, .series_count = 1};
        pr_text text = {0};
        pr_svg_chart(&text, &chart);
        check_markup(text.data);
        assert_null(strstr(text.data, "nan"));
        assert_null(strstr(text.data, "inf"));
        assert_true(count_words(text.data, "class=\"tick") < 24);
        pr_text_clear(&text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_markup),           cmocka_unit_test(test_self_contained),
        cmocka_unit_test(test_content),          cmocka_unit_test(test_little),
        cmocka_unit_test(test_odd_histories),    cmocka_unit_test(test_unwritable),
        cmocka_unit_test(test_out_of_memory),    cmocka_unit_test(test_chart_values),
        cmocka_unit_test(test_chart_degenerate),
    };
    return cmocka_run_group_tests(tests, set_up_context, tear_down_context);
}
