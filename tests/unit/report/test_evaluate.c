/* Evaluation of small networks end to end: what must hold between its figures, and what it refuses. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "report/report.h"
#include "tensor/tensor.h"

enum { SIDE = 4, ROW = SIDE * SIDE, CLASSES = 4, IMAGES = 40 };

typedef struct world {
    parry_ctx *ctx;
    parry_model *models[2]; /* random weights, of different seeds */
    parry_dataset *data;    /* labelled as the first model sees it, but for every eighth image */
} world;

static parry_ctx *make_ctx(uint64_t seed, int threads)
{
    parry_ctx *ctx;
    const parry_ctx_options options = {.size = sizeof options, .seed = seed, .threads = threads};
    assert_int_equal(parry_ctx_create(&options, &ctx), PARRY_OK);
    return ctx;
}

static parry_model *make_model(uint64_t seed)
{
    parry_model *model;
    parry_ctx *ctx = make_ctx(seed, 1);
    assert_int_equal(parry_model_build(ctx, "simplecnn", 1, SIDE, SIDE, CLASSES, &model), PARRY_OK);
    parry_ctx_free(ctx);
    return model;
}

static int setup(void **state)
{
    static world w;
    static float images[IMAGES * ROW], logits[IMAGES * CLASSES];
    int32_t labels[IMAGES];
    w.ctx = make_ctx(3, 2);
    for (int m = 0; m < 2; m++)
        w.models[m] = make_model((uint64_t)m + 1);
    for (int i = 0; i < IMAGES; i++) {
        pr_rng rng = pr_rng_init(5, PR_STREAM_TEST, (uint64_t)i);
        for (int p = 0; p < ROW; p++)
            images[i * ROW + p] = pr_rng_unit(&rng);
    }
    assert_int_equal(parry_model_logits(w.ctx, w.models[0], images, IMAGES, logits), PARRY_OK);
    for (int i = 0; i < IMAGES; i++)
        labels[i] = (pr_argmax(logits + i * CLASSES, CLASSES) + (i % 8 == 7)) % CLASSES;
    assert_int_equal(parry_dataset_create(w.ctx, images, labels, IMAGES, 1, SIDE, SIDE, CLASSES, &w.data), PARRY_OK);
    *state = &w;
    return 0;
}

static int teardown(void **state)
{
    world *w = *state;
    parry_dataset_free(w->data);
    for (int m = 0; m < 2; m++)
        parry_model_free(w->models[m]);
    parry_ctx_free(w->ctx);
    return 0;
}

static const parry_threat linf = {.norm = PARRY_LINF, .clip = true};

static parry_evaluation *evaluate(const world *w, parry_ctx *ctx, const parry_model *source, const parry_threat *threat,
                                  const parry_evaluate_settings *settings)
{
    parry_evaluation *ev;
    parry_status status =
        parry_evaluate(ctx, (const parry_model *const *)w->models, 2, w->data, source, threat, settings, &ev);
    if (status != PARRY_OK)
        fail_msg("%s", parry_ctx_error(ctx));
    return ev;
}

/* Worst cases are below every attack, eps 0 changes nothing, PGD on its share of images, stale equals fresh for the
 * source. */
static void test_relations(void **state)
{
    const world *w = *state;
    const parry_evaluate_settings settings = {.attacks = "fgsm,pgd:steps=5:first=20", .eps = {3, {0, 0.05, 0.4}}};
    parry_evaluation *ev = evaluate(w, w->ctx, w->models[0], &linf, &settings);
    assert_true(fabs(parry_evaluation_clean_acc(ev, 0) - 35.0 / IMAGES) < 1e-12);
    assert_int_equal(ev->worst_count, 20);
    for (int m = 0; m < 2; m++) {
        assert_true(parry_evaluation_robust_acc(ev, m, 0, 0) == parry_evaluation_clean_acc(ev, m));
        for (int e = 0; e < 3; e++) {
            assert_true(parry_evaluation_worst_acc(ev, m, e) <= parry_evaluation_robust_acc(ev, m, 1, e));
            assert_true(parry_evaluation_worst_acc(ev, m, e) * 20 <=
                        parry_evaluation_robust_acc(ev, m, 0, e) * IMAGES + 1e-9);
            for (int a = 0; a < 2; a++)
                assert_true(pr_eval_cell_at(ev, m, a, e)->max_norm <= ev->eps.value[e]);
        }
    }
    assert_true(parry_evaluation_robust_acc(ev, 0, 0, 2) < parry_evaluation_clean_acc(ev, 0));
    for (int a = 0; a < 2; a++)
        for (int e = 0; e < 3; e++)
            assert_true(pr_eval_cell_at(ev, 0, a, e)->stale_acc == parry_evaluation_robust_acc(ev, 0, a, e));
    assert_null(ev->models[0].curve_acc);
    assert_null(ev->models[0].originals);
    parry_evaluation_free(ev);
}

/* A source of its own: each model's stale accuracy is what it scores on the source's adversaries. */
static void test_stale(void **state)
{
    const world *w = *state;
    parry_model *source = make_model(9);
    const parry_evaluate_settings settings = {.attacks = "fgsm", .eps = {1, {0.1}}};
    parry_evaluation *ev = evaluate(w, w->ctx, source, &linf, &settings);
    parry_attack *attack;
    parry_attack_result stale = {0};
    parry_threat threat = linf;
    threat.eps = 0.1;
    assert_int_equal(parry_attack_create(w->ctx, "fgsm", &attack), PARRY_OK);
    assert_int_equal(parry_attack_run(w->ctx, attack, &threat, source, w->data, &stale), PARRY_OK);
    for (int m = 0; m < 2; m++) {
        float logits[IMAGES * CLASSES];
        int right = 0;
        assert_int_equal(parry_model_logits(w->ctx, w->models[m], stale.adversaries, IMAGES, logits), PARRY_OK);
        for (int i = 0; i < IMAGES; i++)
            right += pr_argmax(logits + i * CLASSES, CLASSES) == parry_dataset_labels(w->data)[i];
        assert_true(fabs(pr_eval_cell_at(ev, m, 0, 0)->stale_acc - (double)right / IMAGES) < 1e-12);
    }
    parry_attack_result_clear(&stale);
    parry_attack_free(attack);
    parry_evaluation_free(ev);
    parry_model_free(source);
}

/* With a criterion and targets of its own the evaluation counts what attacks do under them. */
static void test_criterion(void **state)
{
    const world *w = *state;
    parry_threat threat = linf;
    threat.criterion = "and(targeted,below:0.9)";
    threat.target = "next";
    const parry_evaluate_settings settings = {.attacks = "fgsm,pgd:steps=5", .eps = {2, {0, 0.3}}, .curve = IMAGES};
    parry_evaluation *ev = evaluate(w, w->ctx, w->models[1], &threat, &settings);
    char *table, *json;
    for (int m = 0; m < 2; m++)
        for (int a = 0; a < 2; a++) {
            parry_attack_result r;
            parry_threat at = threat;
            at.eps = 0.3;
            assert_int_equal(parry_attack_run(w->ctx, ev->attacks[a].attack, &at, w->models[m], w->data, &r), PARRY_OK);
            assert_true(fabs(parry_evaluation_withstood(ev, m, a, 1) - (1 - r.success_rate)) < 1e-12);
            assert_true(parry_evaluation_robust_acc(ev, m, a, 1) == r.robust_acc);
            assert_true(fabs(parry_evaluation_withstood(ev, m, a, 0) - (1 - r.clean_met)) < 1e-12);
            if (a == ev->strongest)
                assert_true(fabs(ev->models[m].curve_acc[0] - (1 - r.clean_met)) < 1e-12 &&
                            fabs(ev->models[m].curve_acc[PR_CURVE_POINTS - 1] - (1 - r.success_rate)) < 1e-12);
            if (m == 1)
                assert_true(pr_eval_cell_at(ev, m, a, 1)->stale_acc == parry_evaluation_withstood(ev, m, a, 1));
            assert_true(a == 0 || r.success_rate > r.clean_met); /* one step may overshoot */
            parry_attack_result_clear(&r);
        }
    assert_int_equal(parry_evaluation_table(w->ctx, ev, 200, &table), PARRY_OK);
    assert_non_null(strstr(table, "criterion and(targeted,below:0.9); target next"));
    assert_non_null(strstr(table, "withstand"));
    assert_int_equal(parry_evaluation_json(w->ctx, ev, &json), PARRY_OK);
    assert_non_null(strstr(json, "\"success_rate\""));
    assert_non_null(strstr(json, "\"withstood\""));
    parry_string_free(table);
    parry_string_free(json);
    parry_evaluation_free(ev);
}

/* Curves start at the clean accuracy of their images and end at the table's figure; pictures lie in the ball and repeat
 * no class before all had one. */
static void test_curves_and_pictures(void **state)
{
    const world *w = *state;
    const parry_evaluate_settings settings = {
        .attacks = "pgd:steps=5", .eps = {2, {0.1, 0.04}}, .first = 30, .curve = 500, .examples = 8};
    parry_evaluation *ev = evaluate(w, w->ctx, NULL, &linf, &settings);
    assert_int_equal(ev->dataset->count, 30);
    assert_int_equal(ev->curve_count, 30);
    assert_true(ev->example_eps == 0.04);
    for (int m = 0; m < 2; m++) {
        assert_true(ev->models[m].curve_acc[0] == parry_evaluation_clean_acc(ev, m));
        assert_true(ev->models[m].curve_acc[PR_CURVE_POINTS - 1] == parry_evaluation_robust_acc(ev, m, 0, 0));
        assert_true(pr_max_abs_diff(ev->models[m].adversaries, ev->models[m].originals, 8 * ROW) <= 0.04f);
        for (int i = 0; i < 8; i++) {
            const pr_eval_example *example = &ev->models[m].examples[i];
            assert_in_range(example->before, 0, CLASSES - 1);
            assert_true(example->before_confidence >= 1.0 / CLASSES && example->before_confidence <= 1);
            assert_true(example->after_confidence >= 1.0 / CLASSES && example->after_confidence <= 1);
        }
    }
    bool present[CLASSES] = {false};
    int distinct = 0;
    for (int i = 0; i < 30; i++)
        present[parry_dataset_labels(w->data)[i]] = true;
    for (int k = 0; k < CLASSES; k++)
        distinct += present[k];
    for (int i = 0; i < 8; i++) {
        assert_int_equal(ev->example_labels[i], parry_dataset_labels(w->data)[ev->example_index[i]]);
        for (int j = 0; j < i; j++)
            assert_true(ev->example_index[j] != ev->example_index[i] &&
                        (i >= distinct || ev->example_labels[j] != ev->example_labels[i]));
    }
    parry_evaluation_free(ev);
}

/* The same bytes of JSON for any number of threads, L2 and no clipping included. */
static void test_deterministic(void **state)
{
    const world *w = *state;
    const parry_threat l2 = {.norm = PARRY_L2, .clip = false};
    const parry_evaluate_settings settings = {
        .attacks = "fgsm,pgd:steps=3:restarts=2", .eps = {1, {0.5}}, .curve = 10, .examples = 2};
    char *texts[2];
    for (int t = 0; t < 2; t++) {
        parry_ctx *ctx = make_ctx(3, 1 + 2 * t);
        parry_evaluation *ev = evaluate(w, ctx, w->models[1], &l2, &settings);
        assert_int_equal(parry_evaluation_json(ctx, ev, &texts[t]), PARRY_OK);
        parry_evaluation_free(ev);
        parry_ctx_free(ctx);
    }
    assert_string_equal(texts[0], texts[1]);
    assert_non_null(strstr(texts[0], "\"restarts\": 2"));
    assert_non_null(strstr(texts[0], "\"norm\": \"l2\""));
    parry_string_free(texts[0]);
    parry_string_free(texts[1]);
}

static void test_labels(void **state)
{
    const world *w = *state;
    const parry_evaluate_settings settings = {
        .attacks = "pgd:steps=2,pgd:steps=2:step=0.05,fgsm", .eps = {1, {0.1}}, .first = 4};
    parry_evaluation *ev = evaluate(w, w->ctx, NULL, &linf, &settings);
    assert_string_equal(ev->attacks[0].label, "pgd:steps=2");
    assert_string_equal(ev->attacks[1].label, "pgd:steps=2:step=0.05");
    assert_string_equal(ev->attacks[2].label, "FGSM");
    parry_evaluation_free(ev);
}

static void test_clean_only(void **state)
{
    const world *w = *state;
    const parry_evaluate_settings settings = {.attacks = NULL, .eps = {1, {0.1}}, .curve = 10, .examples = 2};
    parry_evaluation *ev = evaluate(w, w->ctx, NULL, &linf, &settings);
    double accuracy;
    assert_int_equal(parry_model_accuracy(w->ctx, w->models[1], w->data, &accuracy, NULL), PARRY_OK);
    assert_true(parry_evaluation_clean_acc(ev, 1) == accuracy);
    assert_int_equal(ev->attack_count, 0);
    parry_evaluation_free(ev);
}

/* Each refusal names what it was about. */
static void test_refusals(void **state)
{
    static const struct {
        const char *attacks;
        double eps;
        int count;
        parry_status status;
        const char *word;
    } bad[] = {
        {"fgsn", 0.1, 1, PARRY_NOT_FOUND, "fgsm"},
        {"fgsm,", 0.1, 1, PARRY_NOT_FOUND, ""},
        {"pgd:first=0", 0.1, 1, PARRY_INVALID, "first"},
        {"pgd:first=2.5", 0.1, 1, PARRY_INVALID, "2.5"},
        {"pgd:first=1e300", 0.1, 1, PARRY_INVALID, "first"},
        {"pgd:steps", 0.1, 1, PARRY_INVALID, "steps"},
        {"pgd:stepps=3", 0.1, 1, PARRY_INVALID, "steps"},
        {"fgsm:steps=3", 0.1, 1, PARRY_INVALID, "steps"},
        {"fgsm", -0.1, 1, PARRY_INVALID, "-0.1"},
        {"fgsm", NAN, 1, PARRY_INVALID, "nan"},
        {"fgsm", 1.5, 1, PARRY_INVALID, "1.5"},
        {"fgsm", 0.1, 0, PARRY_INVALID, "eps"},
        {"fgsm,pgd,fgsm", 0.1, 1, PARRY_INVALID, "'fgsm' is listed twice"},
        {"fgsm", 0.1, 2, PARRY_INVALID, "twice"},
    };
    const world *w = *state;
    for (size_t i = 0; i < PR_COUNT(bad); i++) {
        const parry_evaluate_settings settings = {.attacks = bad[i].attacks,
                                                  .eps = {bad[i].count, {bad[i].eps, bad[i].eps}}};
        parry_evaluation *ev;
        parry_status status =
            parry_evaluate(w->ctx, (const parry_model *const *)w->models, 2, w->data, NULL, &linf, &settings, &ev);
        if (status != bad[i].status || !strstr(parry_ctx_error(w->ctx), bad[i].word))
            fail_msg("%s at %g: %s, '%s'", bad[i].attacks, bad[i].eps, parry_status_name(status),
                     parry_ctx_error(w->ctx));
        assert_null(ev);
    }
}

/* Allocations fail, the early ones each and the later ones at growing distances: an error each time, no leak, and
 * success at the end. */
static void test_out_of_memory(void **state)
{
    const world *w = *state;
    parry_ctx *ctx = make_ctx(3, 1);
    const parry_evaluate_settings settings = {
        .attacks = "fgsm:first=1", .eps = {1, {0.1}}, .first = 2, .curve = 1, .examples = 1};
    parry_status status = PARRY_NO_MEMORY;
    int failures = -1;
    for (int n = 1; status == PARRY_NO_MEMORY; n += 1 + n / 8, failures++) {
        parry_evaluation *ev;
        pr_alloc_fail_at(n);
        status =
            parry_evaluate(ctx, (const parry_model *const *)w->models, 1, w->data, w->models[0], &linf, &settings, &ev);
        pr_alloc_fail_at(0);
        assert_true(status == PARRY_OK || !ev);
        parry_evaluation_free(status == PARRY_OK ? ev : NULL);
    }
    assert_int_equal(status, PARRY_OK);
    assert_true(failures > 10);
    parry_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_relations),     cmocka_unit_test(test_stale),
        cmocka_unit_test(test_criterion),     cmocka_unit_test(test_curves_and_pictures),
        cmocka_unit_test(test_deterministic), cmocka_unit_test(test_labels),
        cmocka_unit_test(test_clean_only),    cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
