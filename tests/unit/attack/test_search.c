/* The smallest eps: what is reported was tried, once for each image, whatever the company; images without labels. */
#include "../../attack/support.h"

enum { SIDE = 4, ROW = SIDE * SIDE, COUNT = 40 };

static const parry_eps_search search = {.scan = 7, .resolution = 1 / 2000.0};

static parry_attack_result find(parry_ctx *ctx, const char *spec, const parry_threat *threat, const parry_model *model,
                                const parry_dataset *data)
{
    parry_attack *attack;
    parry_attack_result result;
    assert_int_equal(parry_attack_create(ctx, spec, &attack), PARRY_OK);
    if (parry_attack_minimal_eps(ctx, attack, threat, &search, model, data, &result) != PARRY_OK)
        fail_msg("%s: %s", spec, parry_ctx_error(ctx));
    parry_attack_free(attack);
    return result;
}

/* The plain attack at image i's eps. Results do not depend on the other images, so it need not run alone. */
static void check_at(parry_ctx *ctx, const char *spec, parry_threat threat, double eps, const parry_model *model,
                     const parry_dataset *data, int i, bool met, const float *adversary)
{
    threat.eps = eps;
    parry_attack_result r = run_attack(ctx, spec, threat, model, data);
    assert_int_equal(r.met[i], met);
    if (adversary)
        assert_memory_equal(adversary, r.adversaries + i * ROW, ROW * sizeof(float));
    parry_attack_result_clear(&r);
}

static void check_bracket(parry_ctx *ctx, const char *spec, parry_threat threat, const parry_model *model,
                          const parry_dataset *data)
{
    const double narrowest = threat.quantize && threat.norm == PARRY_LINF ? 1 / 255.0 + 1e-12 : search.resolution;
    parry_attack_result r = find(ctx, spec, &threat, model, data);
    int found = 0;
    for (int i = 0; i < COUNT; i++) {
        const float *adversary = r.adversaries + i * ROW;
        if (isnan(r.minimal_eps[i])) {
            assert_true(!r.met[i]);
            check_at(ctx, spec, threat, threat.eps, model, data, i, false, adversary);
            continue;
        }
        assert_true(r.met[i] && r.minimal_eps[i] <= threat.eps && r.failed_eps[i] <= r.minimal_eps[i]);
        assert_true(r.minimal_eps[i] - r.failed_eps[i] <= narrowest);
        check_at(ctx, spec, threat, r.minimal_eps[i], model, data, i, true, adversary);
        if (r.minimal_eps[i] > 0)
            check_at(ctx, spec, threat, r.failed_eps[i], model, data, i, false, NULL);
        found += r.minimal_eps[i] > 0;
    }
    assert_true(found > COUNT / 10);
    parry_attack_result_clear(&r);
}

static void test_what_is_reported_was_tried(void **state)
{
    (void)state;
    parry_ctx *ctx = make_ctx(2, 4);
    parry_model *model = make_linear(ctx, SIDE, 4, NULL, NULL);
    parry_dataset *data = make_images(ctx, model, COUNT);
    static const char *const specs[] = {"fgsm", "pgd:steps=5"};
    for (size_t s = 0; s < PR_COUNT(specs); s++) {
        check_bracket(ctx, specs[s], (parry_threat){.eps = 0.3, .clip = true}, model, data);
        check_bracket(ctx, specs[s], (parry_threat){.norm = PARRY_L2, .eps = 1.5, .criterion = "confident:0.7"}, model,
                      data);
        check_bracket(ctx, specs[s], (parry_threat){.eps = 0.4, .clip = true, .target = "random"}, model, data);
        check_bracket(ctx, specs[s], (parry_threat){.eps = 0.3, .clip = true, .quantize = true}, model, data);
    }
    release(ctx, model, data);
}

static void test_threads_change_nothing(void **state)
{
    (void)state;
    parry_attack_result kept = {0};
    for (int threads = 1; threads <= 3; threads++) {
        parry_ctx *ctx = make_ctx(threads, 4);
        parry_model *model = make_linear(ctx, SIDE, 4, NULL, NULL);
        parry_dataset *data = make_images(ctx, model, COUNT);
        const parry_threat threat = {.eps = 0.2, .clip = true, .target = "next"};
        parry_attack_result r = find(ctx, "pgd:steps=5:restarts=2", &threat, model, data);
        if (kept.adversaries) {
            assert_memory_equal(kept.adversaries, r.adversaries, COUNT * ROW * sizeof(float));
            assert_memory_equal(kept.minimal_eps, r.minimal_eps, COUNT * sizeof(double));
            assert_memory_equal(kept.failed_eps, r.failed_eps, COUNT * sizeof(double));
            assert_int_equal(kept.gradient_queries, r.gradient_queries);
            parry_attack_result_clear(&r);
        } else {
            kept = r;
        }
        release(ctx, model, data);
    }
    parry_attack_result_clear(&kept);
}

static void test_quantiles(void **state)
{
    (void)state;
    double eps[] = {0.3, NAN, 0.1, 0, 0.1, NAN, 0.5};
    const parry_attack_result r = {.count = 7, .minimal_eps = eps};
    int64_t found;
    assert_true(parry_attack_eps_quantile(&r, 0.5, &found) == 0.1 && found == 5);
    assert_true(parry_attack_eps_quantile(&r, 0, NULL) == 0 && parry_attack_eps_quantile(&r, 1, NULL) == 0.5);
    assert_true(fabs(parry_attack_eps_quantile(&r, 0.875, NULL) - 0.4) < 1e-12);
    for (int i = 0; i < 7; i++)
        eps[i] = NAN;
    assert_true(isnan(parry_attack_eps_quantile(&r, 0.5, &found)) && found == 0);
}

/* What a perturbation costs, by hand: a change below half a level is none in 8 bits. */
static void test_budget(void **state)
{
    (void)state;
    const float image[] = {0, 0.5f, 1, 0.2f, /* second channel */ 0, 0.5f, 1, 0.2f};
    const float adversary[] = {0, 0.5f + 0.001f, 0.9f, 0.2f, /* second channel */ 0.1f, 0.5f, 0.8f, 0.2f};
    const parry_budget exact = parry_budget_of(image, adversary, 2, 2, 2, false),
                       stored = parry_budget_of(image, adversary, 2, 2, 2, true);
    assert_true(exact.pixels == 3 && stored.pixels == 2);
    assert_true(fabs(exact.linf - 0.2) < 1e-6 && fabs(stored.linf - 51 / 255.0) < 1e-12);
    assert_true(fabs(exact.sum - 255 * 0.401) < 1e-3);
    assert_true(stored.sum == 25 + 51 + 26 || stored.sum == 26 + 51 + 26); /* 0.1 and 0.9 lie between two levels */
    assert_true(fabs(exact.l2 - sqrt(0.001 * 0.001 + 0.01 + 0.01 + 0.04)) < 1e-6);
}

/* An image without a label is attacked away from what the model calls it. */
static void test_images_without_labels(void **state)
{
    (void)state;
    parry_ctx *ctx = make_ctx(2, 4);
    parry_model *model = make_linear(ctx, SIDE, 4, NULL, NULL);
    parry_dataset *data = make_images(ctx, model, COUNT);
    const parry_threat threat = {.eps = 0.05, .clip = true};
    static float images[COUNT * ROW], with[COUNT * ROW], without[COUNT * ROW], logits[COUNT * 4];
    int32_t called[COUNT], unknown[COUNT];
    pr_goal goals[COUNT];
    parry_attack *attack;
    assert_int_equal(parry_dataset_images(ctx, data, 0, COUNT, images), PARRY_OK);
    assert_int_equal(parry_model_logits(ctx, model, images, COUNT, logits), PARRY_OK);
    for (int i = 0; i < COUNT; i++) {
        called[i] = pr_argmax(logits + i * 4, 4);
        unknown[i] = -1;
    }
    assert_int_equal(parry_attack_create(ctx, "pgd:steps=5", &attack), PARRY_OK);
    pr_attack_request request = {
        .attack = attack, .threat = &threat, .model = model, .x = images, .labels = called, .n = COUNT, .adv = with};
    assert_int_equal(pr_attack_rows(ctx, &request), PARRY_OK);
    request.labels = unknown;
    request.adv = without;
    request.goals = goals;
    assert_int_equal(pr_attack_rows(ctx, &request), PARRY_OK);
    assert_memory_equal(with, without, sizeof with);
    for (int i = 0; i < COUNT; i++)
        assert_true(goals[i].label == called[i] && goals[i].target == -1);
    unknown[3] = -2;
    assert_int_equal(pr_attack_rows(ctx, &request), PARRY_INVALID);
    parry_attack_free(attack);
    release(ctx, model, data);
}

/* Every allocation of a search with a criterion, a target and the grid fails in turn. */
static void test_allocation_failures(void **state)
{
    (void)state;
    parry_ctx *ctx = make_ctx(1, 4);
    parry_model *model = make_linear(ctx, SIDE, 4, NULL, NULL);
    parry_dataset *data = make_images(ctx, model, COUNT);
    const parry_threat threat = {
        .eps = 0.2, .clip = true, .criterion = "targeted::0.4", .target = "least-likely", .quantize = true};
    parry_attack *attack;
    parry_attack_result r;
    parry_status status = PARRY_NO_MEMORY;
    int failures = 0;
    assert_int_equal(parry_attack_create(ctx, "pgd:steps=2", &attack), PARRY_OK);
    for (; status != PARRY_OK; failures++) {
        pr_alloc_fail_at(failures + 1);
        status = parry_attack_minimal_eps(ctx, attack, &threat, &search, model, data, &r);
        pr_alloc_fail_at(0);
        assert_true(status == PARRY_OK || (status == PARRY_NO_MEMORY && !r.adversaries));
    }
    assert_true(failures > 20);
    parry_attack_result_clear(&r);
    parry_attack_free(attack);
    release(ctx, model, data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_reported_was_tried),
        cmocka_unit_test(test_threads_change_nothing),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_quantiles),
        cmocka_unit_test(test_images_without_labels),
        cmocka_unit_test(test_allocation_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
