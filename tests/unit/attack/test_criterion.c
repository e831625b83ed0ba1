/* Criteria: what they say of a row of logits, and how wrong text is refused. */
#include "../../attack/support.h"

enum { CLASSES = 5 };

static parry_ctx *ctx;
static parry_model *model;

static int setup(void **state)
{
    (void)state;
    ctx = make_ctx(1, 0);
    model = make_linear(ctx, 4, CLASSES, NULL, NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    parry_model_free(model);
    parry_ctx_free(ctx);
    return 0;
}

static bool met(const char *text, const float *logits, int label, int target)
{
    parry_criterion *criterion;
    if (parry_criterion_create(ctx, text, model, &criterion) != PARRY_OK)
        fail_msg("%s", parry_ctx_error(ctx));
    const bool is = parry_criterion_met(criterion, logits, CLASSES, label, target);
    parry_criterion_free(criterion);
    return is;
}

/* Softmax of the logits log p is p itself. */
static void logits_of(const double p[CLASSES], float logits[CLASSES])
{
    for (int k = 0; k < CLASSES; k++)
        logits[k] = (float)log(p[k]);
}

static void test_each_kind(void **state)
{
    (void)state;
    float z[CLASSES];
    logits_of((double[]){0.1, 0.6, 0.2, 0.06, 0.04}, z);
    assert_true(met("misclassified", z, 0, -1) && !met("misclassified", z, 1, -1));
    assert_true(met("confident:0.59", z, 0, -1) && !met("confident:0.61", z, 0, -1) && !met("confident:0.1", z, 1, -1));
    assert_true(met("targeted:1", z, 0, -1) && !met("targeted:2", z, 0, -1) && met("targeted:1", z, 1, -1));
    assert_true(met("targeted:1:0.59", z, 0, -1) && !met("targeted:1:0.61", z, 0, -1));
    assert_true(met("targeted", z, 0, 1) && !met("targeted", z, 0, 2) && !met("targeted", z, 0, -1));
    assert_true(met("targeted::0.59", z, 0, 1) && !met("targeted::3/4", z, 0, 1));
    assert_true(met("topk:2", z, 0, -1) && !met("topk:3", z, 0, -1) && !met("topk:1", z, 1, -1) &&
                met("topk:4", z, 4, -1));
    assert_true(met("below:0.11", z, 0, -1) && !met("below:0.09", z, 0, -1));
}

static void test_combinations(void **state)
{
    (void)state;
    float z[CLASSES];
    logits_of((double[]){0.1, 0.6, 0.2, 0.06, 0.04}, z);
    assert_true(met("and(misclassified,below:0.2)", z, 0, -1) && !met("and(misclassified,below:0.15)", z, 2, -1));
    assert_true(met("or(targeted:4, targeted:1)", z, 0, -1) && !met("or(targeted:4,targeted:3)", z, 0, -1));
    assert_true(met(" not( misclassified ) ", z, 1, -1) && !met("not(misclassified)", z, 0, -1));
    assert_true(met("and(not(or(targeted:0,targeted:2)),or(topk:2,below:0.01),misclassified)", z, 0, -1));
    assert_true(met("targeted:'1':0.5", z, 0, -1));
}

/* Equal logits rank in the order of the classes, as the prediction does. */
static void test_ties(void **state)
{
    (void)state;
    const float z[CLASSES] = {1, 2, 2, 2, 0};
    assert_true(!met("misclassified", z, 1, -1) && met("misclassified", z, 2, -1));
    for (int label = 1; label <= 3; label++)
        for (int k = 1; k <= 4; k++) {
            char text[16];
            snprintf(text, sizeof text, "topk:%d", k);
            assert_int_equal(met(text, z, label, -1), label > k);
        }
    assert_int_equal(met("topk:1", z, 2, -1), met("misclassified", z, 2, -1));
    const float far[CLASSES] = {3e38f, -3e38f, 0, 0, 0}, same[CLASSES] = {0};
    assert_true(met("confident:1", far, 1, -1) && met("below:1e-30", far, 1, -1));
    assert_true(!met("confident:0.2000001", same, 1, -1) && met("confident:0.2", same, 1, -1));
}

static void refuse(const char *text, const char *says)
{
    parry_criterion *criterion;
    assert_int_equal(parry_criterion_create(ctx, text, model, &criterion), PARRY_INVALID);
    assert_null(criterion);
    check_says(ctx, says);
}

static void test_bad_text(void **state)
{
    (void)state;
    char deep[400] = "";
    refuse("", "expected a criterion, found the end");
    refuse("misclasified", "did you mean 'misclassified'");
    refuse("wibble", "parry help criteria");
    refuse("confident", "written confident:P");
    refuse("confident:", "probability");
    refuse("confident:1.5", "from 0 to 1");
    refuse("confident:nan", "from 0 to 1");
    refuse("confident:0.5:0.5", "expected the end");
    refuse("topk:0", "from 1 to 4");
    refuse("topk:5", "from 1 to 4");
    refuse("topk:1.5", "whole number");
    refuse("targeted:9", "no class '9'");
    refuse("targeted:-1", "no class");
    refuse("targeted:'1", "closing quote");
    refuse("and", "expected '('");
    refuse("and()", "expected a criterion");
    refuse("and(misclassified", "',' or ')'");
    refuse("and(misclassified,)", "expected a criterion");
    refuse("not(misclassified,misclassified)", "expected ')'");
    refuse("misclassified below:0.1", "there is no 'misclassified below'");
    refuse("misclassified)", "expected the end, found ')'");
    for (int i = 0; i < 40; i++)
        strcat(deep, "not(");
    refuse(deep, "brackets");
    memset(deep, 'x', sizeof deep - 1);
    refuse(deep, "shorter word");
    strcpy(deep, "and(");
    for (int i = 0; i < 70; i++)
        strcat(deep, "or,");
    refuse(deep, "");
    assert_int_equal(parry_criterion_check(ctx, "targeted:volcano:0.9"), PARRY_OK); /* names need a model */
    assert_int_equal(parry_criterion_check(ctx, "targeted:volcano:9"), PARRY_INVALID);
}

/* Words of the language in any order: they parse or are refused, and what parses can be asked. */
static void test_any_text(void **state)
{
    (void)state;
    static const char *const words[] = {"misclassified", "confident", "targeted", "topk", "below", "and", "or", "not",
                                        ":", ",", "(", ")", "'", " ", "0.5", "2", "1e999", "-", "", "x"};
    const float z[CLASSES] = {1, 3, 2, 0, -1};
    int parsed = 0;
    for (uint64_t sample = 0; sample < 20000; sample++) {
        pr_rng rng = pr_rng_init(1, PR_STREAM_TEST, sample);
        char text[200] = "";
        parry_criterion *criterion;
        for (uint32_t left = 1 + pr_rng_below(&rng, 9); left > 0; left--)
            strcat(text, words[pr_rng_below(&rng, PR_COUNT(words))]);
        const parry_status status = parry_criterion_create(ctx, text, model, &criterion);
        assert_true(status == PARRY_OK || (status == PARRY_INVALID && strlen(parry_ctx_error(ctx)) > 10));
        assert_true(parry_criterion_check(ctx, text) == PARRY_OK || status != PARRY_OK);
        if (status != PARRY_OK)
            continue;
        parsed++;
        (void)parry_criterion_met(criterion, z, CLASSES, 1, 2);
        parry_criterion_free(criterion);
    }
    assert_in_range(parsed, 100, 19000);
}

static void test_targets_that_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int class;
        bool needs;
    } cases[] = {{"misclassified", -1, false},
                 {"targeted", -1, true},
                 {"targeted:3", 3, false},
                 {"and(below:0.1,targeted:2:0.5)", 2, false},
                 {"and(not(targeted:2),targeted:4)", 4, false},
                 {"not(targeted)", -1, true},
                 {"not(targeted:1)", -1, false}};
    for (size_t i = 0; i < PR_COUNT(cases); i++) {
        parry_criterion *criterion;
        assert_int_equal(parry_criterion_create(ctx, cases[i].text, model, &criterion), PARRY_OK);
        assert_int_equal(parry_criterion_class(criterion), cases[i].class);
        assert_int_equal(parry_criterion_needs_target(criterion), cases[i].needs);
        parry_criterion_free(criterion);
    }
}

static void refuse_threat(parry_threat threat, const char *says)
{
    pr_aim *aim;
    assert_int_equal(pr_aim_create(ctx, &threat, model, &aim), PARRY_INVALID);
    assert_null(aim);
    check_says(ctx, says);
}

static void test_threats_that_contradict_themselves(void **state)
{
    (void)state;
    refuse_threat((parry_threat){.criterion = "targeted"}, "no --target");
    refuse_threat((parry_threat){.criterion = "targeted:1", .target = "2"}, "asks for class 1");
    refuse_threat((parry_threat){.criterion = "targeted:1", .target = "random"}, "asks for class 1");
    refuse_threat((parry_threat){.target = "7"}, "no class '7'");
    assert_int_equal(parry_threat_check(ctx, &(parry_threat){.criterion = "and(", .clip = true}), PARRY_INVALID);
    assert_int_equal(parry_threat_check(ctx, &(parry_threat){.quantize = true}), PARRY_INVALID);
}

static void test_forms(void **state)
{
    (void)state;
    size_t count = 0;
    for (; parry_criterion_form_at(count); count++)
        assert_true(strlen(parry_criterion_form_at(count)->summary) > 5);
    assert_int_equal(count, 8);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_kind),
        cmocka_unit_test(test_combinations),
        cmocka_unit_test(test_ties),
        cmocka_unit_test(test_bad_text),
        cmocka_unit_test(test_any_text),
        cmocka_unit_test(test_targets_that_are_named),
        cmocka_unit_test(test_threats_that_contradict_themselves),
        cmocka_unit_test(test_forms),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
