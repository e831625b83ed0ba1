/* Option tables: defaults, reading and writing values, ranges, unknown names; params own their strings; JSON of an
 * option struct. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>

#include "base/json.h"
#include "base/opt.h"

struct all {
    bool flag;
    int64_t steps;
    double eps;
    const char *path, *unset;
    int norm;
    parry_floats list;
    parry_size side;
};
static const char *const norms[] = {"linf", "l2", NULL};
PR_OPTIONS(table, struct all, OPT_BOOL(struct all, flag, "random-start", "true", "a flag"),
           OPT_INT(struct all, steps, "steps", "40", 1, 1e6, "a count"),
           OPT_FLOAT(struct all, eps, "eps", "8/255", 0, 1, "a number"),
           OPT_STRING(struct all, path, "path", "a.onnx", "FILE", "a text"),
           OPT_STRING(struct all, unset, "unset", NULL, "FILE", "a text without a default"),
           OPT_CHOICE(struct all, norm, "norm", "linf", norms, "one of several"),
           OPT_FLOATS(struct all, list, "list", "0.1,0.3", 0, INFINITY, "several numbers"),
           OPT_SIZE(struct all, side, "side", "3x5", 1000, "pixels"));

typedef struct fixture {
    parry_ctx *ctx;
    parry_params *params;
    const struct all *values;
} fixture;

static int setup(void **state)
{
    static fixture f;
    if (parry_ctx_create(NULL, &f.ctx) != PARRY_OK || parry_params_create(f.ctx, &table, &f.params) != PARRY_OK)
        return -1;
    f.values = parry_params_values(f.params);
    *state = &f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    parry_params_free(f->params);
    parry_ctx_free(f->ctx);
    return 0;
}

static void test_defaults(void **state)
{
    const struct all *v = ((fixture *)*state)->values;
    assert_true(v->flag);
    assert_int_equal(v->steps, 40);
    assert_true(v->eps == 8.0 / 255);
    assert_string_equal(v->path, "a.onnx");
    assert_null(v->unset);
    assert_int_equal(v->norm, 0);
    assert_int_equal(v->list.count, 2);
    assert_true(v->list.value[0] == 0.1 && v->list.value[1] == 0.3);
    assert_true(v->side.height == 3 && v->side.width == 5);
    assert_false(parry_params_given(((fixture *)*state)->params, "steps"));
}

static void test_set(void **state)
{
    fixture *f = *state;
    char path[] = "b.onnx";
    static const struct {
        const char *name, *text;
    } settings[] = {{"random-start", "false"}, {"steps", "1000000"}, {"eps", "1e-3"}, {"norm", "l2"},
                    {"list", "1/4"},           {"unset", ""},       {"side", "1000"}};
    for (size_t i = 0; i < PR_COUNT(settings); i++) {
        assert_int_equal(parry_params_set(f->ctx, f->params, settings[i].name, settings[i].text), PARRY_OK);
        assert_true(parry_params_given(f->params, settings[i].name));
    }
    assert_int_equal(parry_params_set(f->ctx, f->params, "path", path), PARRY_OK);
    memset(path, 'x', sizeof path - 1); /* the params have their own copy */
    assert_false(f->values->flag);
    assert_int_equal(f->values->steps, 1000000);
    assert_true(f->values->eps == 1e-3);
    assert_int_equal(f->values->norm, 1);
    assert_string_equal(f->values->path, "b.onnx");
    assert_string_equal(f->values->unset, "");
    assert_int_equal(f->values->list.count, 1);
    assert_true(f->values->list.value[0] == 0.25);
    assert_true(f->values->side.height == 1000 && f->values->side.width == 1000);
}

/* Each is refused with a sentence that names the option, and changes nothing. */
static void test_refusals(void **state)
{
    fixture *f = *state;
    static const struct {
        const char *name, *text, *says;
    } cases[] = {
        {"eps", "-0.1", "between 0 and 1"},
        {"eps", "1.5", "between 0 and 1"},
        {"eps", "nan", "finite"},
        {"eps", "inf", "finite"},
        {"eps", "1/0", "finite"},
        {"eps", "", "finite"},
        {"eps", "0.1x", "finite"},
        {"eps", " 0.1", "finite"},
        {"eps", "\t0.1", "finite"},
        {"eps", "0.1 ", "finite"},
        {"eps", "1//2", "finite"},
        {"eps", "1/", "finite"},
        {"steps", "0", "between 1 and"},
        {"steps", "1.5", "whole"},
        {"steps", "1e7", "between 1 and 1e+06"},
        {"steps", "forty", "number"},
        {"random-start", "yes", "true or false"},
        {"norm", "l1", "linf, l2"},
        {"list", "0.1,,0.2", "commas"},
        {"list", "0.1,", "commas"},
        {"list", "", "commas"},
        {"list", "0.1,-1", "at least 0"},
        {"list", "0.1,nan", "finite"},
        {"side", "", "expected pixels: 224, or height x width as 224x299"},
        {"side", "3x", "expected pixels"},
        {"side", "x3", "expected pixels"},
        {"side", "3 x 3", "expected pixels"},
        {"side", "3x4x5", "expected pixels"},
        {"side", "-3", "expected pixels"},
        {"side", "3x0", "between 1 and 1000"},
        {"side", "1001x3", "between 1 and 1000"},
        {"side", "99999999999999999999", "between 1 and 1000"},
    };
    struct all before;
    memcpy(&before, f->values, sizeof before);
    for (size_t i = 0; i < PR_COUNT(cases); i++) {
        assert_int_equal(parry_params_set(f->ctx, f->params, cases[i].name, cases[i].text), PARRY_INVALID);
        if (!strstr(parry_ctx_error(f->ctx), cases[i].says) || !strstr(parry_ctx_error(f->ctx), cases[i].name))
            fail_msg("--%s '%s' says: %s", cases[i].name, cases[i].text, parry_ctx_error(f->ctx));
        assert_false(parry_params_given(f->params, cases[i].name));
    }
    assert_int_equal(f->values->steps, before.steps);
    assert_true(f->values->eps == before.eps);
    assert_int_equal(f->values->list.count, before.list.count);
    char many[PARRY_FLOATS_MAX * 2 + 2];
    for (int i = 0; i <= PARRY_FLOATS_MAX; i++)
        memcpy(many + 2 * i, i < PARRY_FLOATS_MAX ? "1," : "1", 2);
    assert_int_equal(parry_params_set(f->ctx, f->params, "list", many), PARRY_INVALID);
    assert_non_null(strstr(parry_ctx_error(f->ctx), "more than 64"));
}

static void test_unknown_names(void **state)
{
    fixture *f = *state;
    assert_int_equal(parry_params_set(f->ctx, f->params, "stpes", "1"), PARRY_INVALID);
    assert_string_equal(parry_ctx_error(f->ctx), "unknown option 'stpes'; did you mean 'steps'?");
    assert_int_equal(parry_params_set(f->ctx, f->params, "zzzzzzzz", "1"), PARRY_INVALID);
    assert_string_equal(parry_ctx_error(f->ctx), "unknown option 'zzzzzzzz'");
    assert_null(parry_options_find(&table, "step"));
}

/* What an option writes, it reads back as the same value. */
static void test_text_round_trip(void **state)
{
    fixture *f = *state;
    struct all copy = {0};
    char *texts[16];
    for (size_t i = 0; i < table.count; i++) {
        assert_int_equal(pr_option_text(f->ctx, &table.rows[i], f->values, &texts[i]), PARRY_OK);
        if (strcmp(table.rows[i].name, "unset") != 0)
            assert_int_equal(pr_option_parse(f->ctx, &table.rows[i], texts[i], &copy), PARRY_OK);
    }
    assert_true(copy.flag == f->values->flag && copy.steps == f->values->steps && copy.eps == f->values->eps &&
                copy.norm == f->values->norm && copy.side.height == 3 && copy.side.width == 5);
    assert_string_equal(copy.path, f->values->path);
    assert_memory_equal(&copy.list, &f->values->list, sizeof copy.list);
    for (size_t i = 0; i < table.count; i++)
        pr_free(texts[i]);
}

static void test_json(void **state)
{
    fixture *f = *state;
    json_t *json, *back;
    char *text;
    assert_int_equal(pr_options_json(f->ctx, &table, f->values, &json), PARRY_OK);
    assert_int_equal(pr_json_text(f->ctx, json, &text), PARRY_OK);
    assert_int_equal(pr_json_parse(f->ctx, "text", text, &back), PARRY_OK);
    assert_true(json_equal(json, back) || fabs(json_real_value(json_object_get(back, "eps")) - f->values->eps) < 1e-9);
    assert_int_equal(json_integer_value(json_object_get(back, "steps")), 40);
    assert_string_equal(json_string_value(json_object_get(back, "norm")), "linf");
    assert_true(json_is_null(json_object_get(back, "unset")));
    assert_int_equal(json_array_size(json_object_get(back, "list")), 2);
    json_decref(json);
    json_decref(back);
    parry_string_free(text);
    assert_int_equal(pr_json_parse(f->ctx, "bad.json", "{\"a\": 1,\n}", &json), PARRY_FORMAT);
    assert_non_null(strstr(parry_ctx_error(f->ctx), "bad.json: not valid JSON, line 2"));
}

/* A list to which something could not be added is given up; what follows is consumed all the same. */
static void test_json_lists(void **state)
{
    (void)state;
    json_t *list = json_array();
    pr_json_append(&list, json_real(0.5));
    pr_json_append(&list, json_integer(3));
    assert_int_equal(json_array_size(list), 2);
    pr_json_append(&list, json_real(NAN));
    assert_null(list);
    pr_json_append(&list, json_integer(4));
    assert_null(list);
}

/* Whichever allocation fails, creating and setting give PARRY_NO_MEMORY and leak nothing (the sanitizer watches). */
static void test_memory_failures(void **state)
{
    fixture *f = *state;
    parry_status status = PARRY_NO_MEMORY;
    for (int n = 1; status != PARRY_OK; n++) {
        parry_params *params;
        assert_true(n < 100);
        pr_alloc_fail_at(n);
        status = parry_params_create(f->ctx, &table, &params);
        if (status == PARRY_OK)
            status = parry_params_set(f->ctx, params, "path", "another");
        assert_true(status == PARRY_OK || status == PARRY_NO_MEMORY);
        parry_params_free(params);
    }
    pr_alloc_fail_at(0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_defaults),        TEST(test_set),  TEST(test_refusals),   TEST(test_unknown_names),
        TEST(test_text_round_trip), TEST(test_json), TEST(test_json_lists), TEST(test_memory_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
