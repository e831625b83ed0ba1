/* The text table against golden output, the JSON against its schema, and the sentences. */
#include <math.h>
#include <stdlib.h>

#include "base/json.h"
#include "fixture.h"
#include "../support/context.h"

static char *table_of(const parry_evaluation *ev, int width)
{
    char *text;
    assert_int_equal(parry_evaluation_table(ctx, ev, width, &text), PARRY_OK);
    return text;
}

/* ---- tables ----------------------------------------------------------------------------------------------------- */

static const char golden_80[] = "Clean accuracy, and robust accuracy: still right under the attack (worst: under\n"
                                "  all of them)\n"
                                "Linf norm; eps 0.1 (25.5/255), 0.3 (76.5/255) in units of the pixel range [0,1];\n"
                                "  adversaries clipped to it; loss ce\n"
                                "digits, test: 10,000 images\n"
                                "\n"
                                "model                   clean     FGSM     FGSM  PGD-40*  PGD-40*\n"
                                "  eps                              0.1      0.3      0.1      0.3\n"
                                "-----------------------------------------------------------------\n"
                                "standard.onnx          98.92%    1.71%    0.12%    0.05%    0.00%\n"
                                "a<b>&\"hardened\".onnx   98.50%   94.12%   80.01%   93.05%    5.50%\n"
                                "\n"
                                "model                  worst*   worst*\n"
                                "  eps                     0.1      0.3\n"
                                "--------------------------------------\n"
                                "standard.onnx           0.05%    0.00%\n"
                                "a<b>&\"hardened\".onnx   93.05%    5.50%\n"
                                "* first 2,000 images\n"
                                "\n"
                                "Robust accuracy on stale adversaries, made once, against standard.onnx, and on\n"
                                "  fresh ones, made against each model itself\n"
                                "\n"
                                "model                    FGSM     FGSM     FGSM     FGSM\n"
                                "  eps                     0.1      0.1      0.3      0.3\n"
                                "  adversaries           stale    fresh    stale    fresh\n"
                                "--------------------------------------------------------\n"
                                "standard.onnx           1.71%    1.71%    0.12%    0.12%\n"
                                "a<b>&\"hardened\".onnx   97.12%   94.12%   95.00%   80.01%\n"
                                "\n"
                                "model                 PGD-40*  PGD-40*  PGD-40*  PGD-40*\n"
                                "  eps                     0.1      0.1      0.3      0.3\n"
                                "  adversaries           stale    fresh    stale    fresh\n"
                                "--------------------------------------------------------\n"
                                "standard.onnx           0.05%    0.05%    0.00%    0.00%\n"
                                "a<b>&\"hardened\".onnx   96.05%   93.05%   90.00%    5.50%\n"
                                "* first 2,000 images\n"
                                "Note: Built-in digits, not MNIST <drawn>.\n";

static const char golden_120[] =
    "Clean accuracy, and robust accuracy: still right under the attack (worst: under all of them)\n"
    "Linf norm; eps 0.1 (25.5/255), 0.3 (76.5/255) in units of the pixel range [0,1]; "
    "adversaries clipped to it; loss ce\n"
    "digits, test: 10,000 images\n"
    "\n"
    "model                   clean     FGSM     FGSM  PGD-40*  PGD-40*   worst*   worst*\n"
    "  eps                              0.1      0.3      0.1      0.3      0.1      0.3\n"
    "-----------------------------------------------------------------------------------\n"
    "standard.onnx          98.92%    1.71%    0.12%    0.05%    0.00%    0.05%    0.00%\n"
    "a<b>&\"hardened\".onnx   98.50%   94.12%   80.01%   93.05%    5.50%   93.05%    5.50%\n"
    "* first 2,000 images\n"
    "Note: Built-in digits, not MNIST <drawn>.\n";

static void test_table_golden(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    char *text = table_of(&f.ev, 80);
    assert_string_equal(text, golden_80);
    parry_string_free(text);
    f.ev.source = NULL;
    text = table_of(&f.ev, 120);
    assert_string_equal(text, golden_120);
    parry_string_free(text);
}

/* No line is wider than asked at any width from 40 up, and no figure gets lost on the way. */
static void test_table_width(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    for (int width = 40; width <= 130; width += 3) {
        char *text = table_of(&f.ev, width);
        for (const char *line = text; *line; line += strcspn(line, "\n") + 1)
            assert_true(strcspn(line, "\n") <= (size_t)width);
        assert_non_null(strstr(text, "98.92%"));
        assert_non_null(strstr(text, "96.05%"));
        assert_non_null(strstr(text, "5.50%"));
        parry_string_free(text);
    }
}

static void test_table_clean_only(void **state)
{
    (void)state;
    fixture f;
    fixture_init(&f);
    f.ev.attack_count = 0;
    f.ev.source = NULL;
    f.data.note = NULL;
    char *text = table_of(&f.ev, 80);
    assert_string_equal(text, "Clean accuracy: the share of images that are classified right; no attack was run\n"
                              "digits, test: 10,000 images\n"
                              "\n"
                              "model                   clean\n"
                              "-----------------------------\n"
                              "standard.onnx          98.92%\n"
                              "a<b>&\"hardened\".onnx   98.50%\n");
    parry_string_free(text);
}

/* ---- sentences -------------------------------------------------------------------------------------------------- */

static void join(void *arg, const char *sentence)
{
    pr_text_add(arg, "%s\n", sentence);
}

static void test_notes(void **state)
{
    (void)state;
    fixture f;
    pr_text text = {0};
    fixture_init(&f);
    f.ev.threat.clip = false;
    f.ev.attack_count = 1;
    f.cells[1][1].withstood = 0.99; /* more at 0.3 than at 0.1 */
    pr_notes(&f.ev, join, &text);
    assert_non_null(strstr(text.data, "Built-in digits"));
    assert_non_null(strstr(text.data, "Clipping is off"));
    assert_non_null(strstr(text.data, "Only FGSM"));
    assert_non_null(strstr(text.data, "at eps 0.3 than at 0.1"));
    pr_text_clear(&text);
    fixture_init(&f);
    f.data.note = NULL;
    pr_notes(&f.ev, join, &text);
    assert_int_equal(text.length, 0);
}

static void test_headline(void **state)
{
    (void)state;
    fixture f;
    pr_text text = {0};
    fixture_init(&f);
    pr_headline(&f.ev, &text);
    assert_string_equal(
        text.data,
        "At eps 0.1, standard.onnx keeps 0.05% of its 98.92% clean accuracy under FGSM and PGD-40 (first 2,000 "
        "images). "
        "a<b>&\"hardened\".onnx keeps the most: 93.05% of 98.50%. Tested on stale adversaries, a<b>&\"hardened\".onnx "
        "would seem to keep 90.00% under PGD-40 at eps 0.3; attacked afresh it keeps 5.50%.");
    pr_text_clear(&text);
}

static void test_numbers(void **state)
{
    (void)state;
    static const struct {
        int64_t count;
        const char *words;
    } known[] = {{0, "0"}, {999, "999"}, {1000, "1,000"}, {1234567, "1,234,567"}};
    char text[PR_NUMBER_TEXT];
    for (size_t i = 0; i < PR_COUNT(known); i++)
        assert_string_equal(pr_count_words(known[i].count, text), known[i].words);
    assert_string_equal(pr_percent_words(0.98905, text), "98.91%");
    assert_string_equal(pr_eps_words(8.0 / 255, text), "0.03137");
}

/* ---- JSON ------------------------------------------------------------------------------------------------------- */

/* Every member that ends in _acc is a fraction; every real number is finite. */
static void check_fractions(const json_t *value)
{
    const char *key;
    json_t *member;
    size_t i;
    json_object_foreach((json_t *)value, key, member)
    {
        size_t length = strlen(key);
        if (length > 4 && strcmp(key + length - 4, "_acc") == 0)
            assert_true(json_is_real(member) && json_real_value(member) >= 0 && json_real_value(member) <= 1);
        check_fractions(member);
    }
    json_array_foreach(value, i, member) check_fractions(member);
}

static double number(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    assert_true(json_is_number(value));
    return json_number_value(value);
}

static void check_attacks(const json_t *model, const fixture *f, int m)
{
    const json_t *attacks = json_object_get(model, "attacks"), *worst = json_object_get(model, "worst_case");
    assert_int_equal(json_array_size(attacks), FIX_ATTACKS * FIX_RADII);
    assert_int_equal(json_array_size(worst), FIX_RADII);
    for (int c = 0; c < FIX_ATTACKS * FIX_RADII; c++) {
        const json_t *cell = json_array_get(attacks, (size_t)c);
        assert_true(fabs(number(cell, "robust_acc") - f->cells[m][c].robust_acc) < 1e-9);
        assert_true(fabs(number(cell, "stale_acc") - f->cells[m][c].stale_acc) < 1e-9);
        assert_true(number(cell, "eps") == f->ev.eps.value[c % FIX_RADII]);
        assert_true(number(cell, "count") == (c < FIX_RADII ? 10000 : 2000));
        assert_string_equal(json_string_value(json_object_get(cell, "norm")), "linf");
        assert_true(number(json_array_get(worst, (size_t)(c % FIX_RADII)), "robust_acc") <= number(cell, "robust_acc"));
        static const char *const others[] = {"adv_loss", "mean_norm", "max_norm", "forward_queries",
                                             "gradient_queries"};
        for (size_t i = 0; i < PR_COUNT(others); i++)
            number(cell, others[i]);
    }
}

static void test_json(void **state)
{
    (void)state;
    fixture f;
    char *text;
    json_t *root;
    fixture_init(&f);
    assert_int_equal(parry_evaluation_json(ctx, &f.ev, &text), PARRY_OK);
    assert_int_equal(pr_json_parse(ctx, "evaluation", text, &root), PARRY_OK);
    check_fractions(root);
    assert_int_equal(json_integer_value(json_object_get(root, "seed")), 7);
    assert_string_equal(json_string_value(json_object_get(root, "version")), parry_version());
    assert_string_equal(json_string_value(json_object_get(json_object_get(root, "dataset"), "note")), f.data.note);
    const json_t *models = json_object_get(root, "models");
    assert_int_equal(json_array_size(models), FIX_MODELS);
    for (int m = 0; m < FIX_MODELS; m++) {
        const json_t *model = json_array_get(models, (size_t)m), *curve = json_object_get(model, "curve");
        assert_string_equal(json_string_value(json_object_get(model, "name")), f.infos[m].name);
        assert_string_equal(json_string_value(json_object_get(model, "sha256")), f.infos[m].sha256);
        assert_true(fabs(number(model, "clean_acc") - f.models[m].clean_acc) < 1e-9);
        check_attacks(model, &f, m);
        assert_int_equal(json_array_size(json_object_get(curve, "points")), PR_CURVE_POINTS);
        assert_true(number(json_object_get(curve, "params"), "steps") == 40);
    }
    json_decref(root);
    parry_string_free(text);
}

/* A figure that JSON cannot hold is an error, not a broken file. */
static void test_json_not_finite(void **state)
{
    (void)state;
    fixture f;
    char *text;
    fixture_init(&f);
    f.cells[1][2].adv_loss = NAN;
    assert_int_equal(parry_evaluation_json(ctx, &f.ev, &text), PARRY_NUMERIC);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_golden),
        cmocka_unit_test(test_table_width),
        cmocka_unit_test(test_table_clean_only),
        cmocka_unit_test(test_notes),
        cmocka_unit_test(test_headline),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_json),
        cmocka_unit_test(test_json_not_finite),
    };
    return cmocka_run_group_tests(tests, set_up_context, tear_down_context);
}
