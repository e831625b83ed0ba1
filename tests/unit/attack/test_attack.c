/* Attacks as values: specs, labels, threats; keeping the worst, stopping early, counting, cancelling. */
#include "../../attack/support.h"

enum { SIDE = 4, ROW = SIDE * SIDE, CLASSES = 3, COUNT = 60 };

static void check_label(parry_ctx *ctx, const char *spec, const char *label)
{
    parry_attack *attack;
    assert_int_equal(parry_attack_create(ctx, spec, &attack), PARRY_OK);
    assert_string_equal(parry_attack_label(attack), label);
    parry_attack_free(attack);
}

static void test_specs_and_labels(void **state)
{
    (void)state;
    parry_ctx *ctx = make_ctx(1, 0);
    check_label(ctx, "fgsm", "FGSM");
    check_label(ctx, "pgd", "PGD-40");
    check_label(ctx, "pgd:steps=100:restarts=5", "PGD-100x5");
    check_label(ctx, "pgd:step=2/255:random-start=false:steps=7", "PGD-7");
    parry_attack *attack;
    assert_int_equal(parry_attack_create(ctx, "pgd", &attack), PARRY_OK);
    assert_int_equal(parry_attack_set(ctx, attack, "steps", "12"), PARRY_OK);
    assert_string_equal(parry_attack_label(attack), "PGD-12");
    check_error(ctx, parry_attack_set(ctx, attack, "stepz", "12"), PARRY_INVALID, "steps");
    parry_attack_free(attack);
    check_error(ctx, parry_attack_create(ctx, "pdg", &attack), PARRY_NOT_FOUND, "'pgd'");
    check_error(ctx, parry_attack_create(ctx, "pgd:steps", &attack), PARRY_INVALID, "option=value");
    check_error(ctx, parry_attack_create(ctx, "pgd:steps=0", &attack), PARRY_INVALID, "steps");
    check_error(ctx, parry_attack_create(ctx, "pgd:steps=many", &attack), PARRY_INVALID, "steps");
    check_error(ctx, parry_attack_create(ctx, "fgsm:steps=3", &attack), PARRY_INVALID, "has none");
    check_error(ctx, parry_attack_create(ctx, "", &attack), PARRY_NOT_FOUND, "attack");
    assert_null(attack);
    parry_ctx_free(ctx);
}

static void test_threat(void **state)
{
    (void)state;
    parry_ctx *ctx = make_ctx(1, 0);
    parry_params *params;
    assert_int_equal(parry_params_create(ctx, parry_threat_options(), &params), PARRY_OK);
    const parry_threat *threat = parry_params_values(params);
    assert_true(threat->norm == PARRY_LINF && threat->eps == 0.1 && threat->loss == 0 && threat->clip);
    assert_int_equal(parry_params_set(ctx, params, "eps", "8/255"), PARRY_OK);
    assert_int_equal(parry_params_set(ctx, params, "norm", "l2"), PARRY_OK);
    assert_int_equal(parry_params_set(ctx, params, "loss", "mse"), PARRY_OK);
    assert_true(threat->norm == PARRY_L2 && threat->eps == 8 / 255.0 && threat->loss == 1);
    assert_int_equal(parry_threat_check(ctx, threat), PARRY_OK);
    assert_int_equal(parry_params_set(ctx, params, "eps", "-1"), PARRY_INVALID);
    const char *const *choices = parry_options_find(parry_threat_options(), "loss")->choices;
    for (size_t i = 0; choices[i] || parry_loss_list()[i]; i++)
        assert_string_equal(choices[i], parry_loss_list()[i]);
    parry_params_free(params);

    check_error(ctx, parry_threat_check(ctx, &(parry_threat){.eps = -0.1}), PARRY_INVALID, "-0.1");
    check_error(ctx, parry_threat_check(ctx, &(parry_threat){.eps = NAN}), PARRY_INVALID, "finite");
    check_error(ctx, parry_threat_check(ctx, &(parry_threat){.eps = INFINITY, .norm = PARRY_L2}), PARRY_INVALID,
                "finite");
    check_error(ctx, parry_threat_check(ctx, &(parry_threat){.eps = 8, .clip = true}), PARRY_INVALID, "8/255");
    assert_int_equal(parry_threat_check(ctx, &(parry_threat){.eps = 8}), PARRY_OK);
    assert_int_equal(parry_threat_check(ctx, &(parry_threat){.eps = 8, .norm = PARRY_L2, .clip = true}), PARRY_OK);
    parry_ctx_free(ctx);
}

/* ---- strength --------------------------------------------------------------------------------------------------- */

static double mean_loss(const char *spec, uint64_t seed, double *robust)
{
    parry_ctx *ctx = make_ctx(1, seed);
    parry_model *model = make_linear(ctx, SIDE, CLASSES, NULL, NULL);
    parry_dataset *data = make_images(ctx, model, COUNT);
    parry_attack_result r = run_attack(ctx, spec, (parry_threat){.eps = 0.1, .clip = true}, model, data);
    const double loss = r.adv_loss;
    *robust = r.robust_acc;
    parry_attack_result_clear(&r);
    release(ctx, model, data);
    return loss;
}

/* The first restarts of a longer run are those of a shorter one, and so are the first steps: more never is less. */
static void test_more_is_never_less(void **state)
{
    (void)state;
    double robust, few_robust, few = mean_loss("pgd:steps=2:step=0.02:stop-when-fooled=false", 1, &few_robust);
    const double more_restarts = mean_loss("pgd:steps=2:step=0.02:restarts=4:stop-when-fooled=false", 1, &robust);
    assert_true(more_restarts > few && robust <= few_robust);
    const double more_steps = mean_loss("pgd:steps=6:step=0.02:stop-when-fooled=false", 1, &robust);
    assert_true(more_steps > few && robust <= few_robust);
}

/* Leaving early changes nothing about who is fooled, only how far and at what cost. */
static void test_early_leave(void **state)
{
    (void)state;
    double robust_early, robust_full;
    const double early = mean_loss("pgd:steps=8:step=0", 1, &robust_early);
    const double full = mean_loss("pgd:steps=8:step=0:stop-when-fooled=false", 1, &robust_full);
    assert_true(robust_early == robust_full);
    assert_true(full > early);
}

static void test_seeds_differ(void **state)
{
    (void)state;
    double robust;
    assert_true(mean_loss("pgd:steps=2:step=0.02", 1, &robust) != mean_loss("pgd:steps=2:step=0.02", 2, &robust));
    assert_true(mean_loss("fgsm", 1, &robust) == mean_loss("fgsm", 2, &robust));
}

static void test_queries(void **state)
{
    (void)state;
    parry_ctx *ctx = make_ctx(2, 0);
    parry_model *model = make_linear(ctx, SIDE, CLASSES, NULL, NULL);
    parry_dataset *data = make_images(ctx, model, COUNT);
    const parry_threat threat = {.eps = 0.1, .clip = true};
    parry_attack_result r = run_attack(ctx, "fgsm", threat, model, data);
    assert_int_equal(r.forward_queries, COUNT);
    assert_int_equal(r.gradient_queries, COUNT);
    parry_attack_result_clear(&r);
    r = run_attack(ctx, "pgd:steps=5:restarts=3:stop-when-fooled=false", threat, model, data);
    assert_int_equal(r.forward_queries,
                     COUNT * (1 + 3 * 6)); /* the clean image, then five steps and the last point of each walk */
    assert_int_equal(r.gradient_queries, COUNT * 3 * 5);
    parry_attack_result_clear(&r);
    r = run_attack(ctx, "pgd:steps=5:restarts=3", threat, model, data);
    assert_true(r.gradient_queries < COUNT * 3 * 5);
    parry_attack_result_clear(&r);
    release(ctx, model, data);
}

/* ---- what may go wrong ------------------------------------------------------------------------------------------ */

typedef struct watch {
    int polls_left, warnings;
    char task[32]; /* whose progress was told last */
    uint64_t done, total;
} watch;

static int cancelled(void *user)
{
    watch *w = user;
    return w->polls_left-- <= 0;
}

static void progress(void *user, const parry_progress *p)
{
    watch *w = user;
    if (strcmp(p->task, w->task) != 0) { /* first the images as they are, then the attack */
        snprintf(w->task, sizeof w->task, "%s", p->task);
        w->done = 0;
    }
    assert_true(p->done > w->done && p->done <= p->total);
    assert_string_equal(p->unit, "images");
    w->done = p->done;
    w->total = p->total;
}

static void log_line(void *user, parry_log_level level, const char *message)
{
    watch *w = user;
    w->warnings += level == PARRY_LOG_WARNING && strstr(message, "pgd") != NULL;
}

static parry_status watched_run(watch *w, const char *spec, double eps)
{
    parry_ctx *ctx;
    parry_ctx_options options = {
        .size = sizeof options, .threads = 1, .log = log_line, .progress = progress, .cancelled = cancelled, .user = w};
    parry_attack *attack;
    parry_attack_result r;
    w->polls_left += 1000; /* for the preparation */
    assert_int_equal(parry_ctx_create(&options, &ctx), PARRY_OK);
    parry_model *model = make_linear(ctx, SIDE, CLASSES, NULL, NULL);
    parry_dataset *data = make_images(ctx, model, 500);
    assert_int_equal(parry_attack_create(ctx, spec, &attack), PARRY_OK);
    w->polls_left -= 1000;
    parry_status status = parry_attack_run(ctx, attack, &(parry_threat){.eps = eps, .clip = true}, model, data, &r);
    if (status == PARRY_OK)
        parry_attack_result_clear(&r);
    else
        assert_null(r.adversaries);
    parry_attack_free(attack);
    release(ctx, model, data);
    return status;
}

static void test_progress_and_cancelling(void **state)
{
    (void)state;
    watch w = {.polls_left = 1000000};
    assert_int_equal(watched_run(&w, "pgd:steps=3", 0.02), PARRY_OK);
    assert_int_equal(w.done, 500);
    assert_int_equal(w.total, 500);
    w = (watch){.polls_left = 40};
    assert_int_equal(watched_run(&w, "pgd:steps=1000:stop-when-fooled=false", 0.02), PARRY_CANCELLED);
}

/* Without pixels in the result everything else is the same. */
static void test_scoring_keeps_no_pixels(void **state)
{
    (void)state;
    static const parry_threat threats[] = {{.eps = 0.05, .clip = true},
                                           {.eps = 0.05, .clip = true, .quantize = true, .norm = PARRY_L2}};
    for (size_t t = 0; t < PR_COUNT(threats); t++) {
        parry_ctx *ctx = make_ctx(2, 3);
        parry_model *model = make_linear(ctx, SIDE, CLASSES, NULL, NULL);
        parry_dataset *data = make_images(ctx, model, 300);
        parry_attack *attack;
        parry_attack_result full, score;
        assert_int_equal(parry_attack_create(ctx, "pgd:steps=3", &attack), PARRY_OK);
        assert_int_equal(parry_attack_run(ctx, attack, &threats[t], model, data, &full), PARRY_OK);
        assert_int_equal(pr_attack_score(ctx, attack, &threats[t], model, data, &score), PARRY_OK);
        assert_true(score.originals == NULL && score.adversaries == NULL && full.originals && full.adversaries);
        assert_true(score.clean_acc == full.clean_acc && score.robust_acc == full.robust_acc &&
                    score.adv_loss == full.adv_loss && score.mean_norm == full.mean_norm &&
                    score.max_norm == full.max_norm && score.forward_queries == full.forward_queries);
        assert_memory_equal(score.clean_logits, full.clean_logits, 300 * CLASSES * sizeof(float));
        assert_memory_equal(score.logits, full.logits, 300 * CLASSES * sizeof(float));
        assert_memory_equal(score.met, full.met, 300 * sizeof(bool));
        static float logits[300 * CLASSES];
        if (!threats[t].quantize) { /* the clean images, read in passing */
            assert_int_equal(parry_dataset_logits(ctx, model, data, 7, 200, logits), PARRY_OK);
            assert_memory_equal(logits, full.clean_logits + 7 * CLASSES, 200 * CLASSES * sizeof(float));
            assert_int_equal(parry_dataset_logits(ctx, model, data, 101, 200, logits), PARRY_INVALID);
        }
        parry_attack_result_clear(&full);
        parry_attack_result_clear(&score);
        parry_attack_free(attack);
        parry_dataset_free(data);
        parry_model_free(model);
        parry_ctx_free(ctx);
    }
}

static void test_weak_settings_are_pointed_out(void **state)
{
    (void)state;
    const struct {
        const char *spec;
        double eps;
        int warnings;
    } cases[] = {
        {"pgd:steps=3:step=0.01", 0.02, 0},
        {"pgd:steps=3:step=0.01", 0.5, 1},
        {"pgd:steps=3:step=0", 0.5, 0},
        {"pgd:steps=3:step=0:restarts=2:random-start=false", 0.5, 1},
    };
    for (size_t i = 0; i < PR_COUNT(cases); i++) {
        watch w = {.polls_left = 1000000};
        assert_int_equal(watched_run(&w, cases[i].spec, cases[i].eps), PARRY_OK);
        assert_int_equal(w.warnings, cases[i].warnings);
    }
}

static void test_a_model_that_returns_nan(void **state)
{
    (void)state;
    parry_ctx *ctx = make_ctx(2, 0);
    const float *w;
    parry_model *model = make_linear(ctx, SIDE, CLASSES, &w, NULL);
    parry_dataset *data = make_images(ctx, model, COUNT);
    parry_attack *attack;
    parry_attack_result r;
    pr_weights *weights;
    const pr_graph *graph;
    assert_int_equal(pr_model_network(ctx, model, &graph, &weights), PARRY_OK);
    weights->items[0].data[3] = NAN;
    pr_weights_changed(weights);
    assert_int_equal(pr_model_refresh(ctx, model), PARRY_OK);
    assert_int_equal(parry_attack_create(ctx, "pgd", &attack), PARRY_OK);
    check_error(ctx, parry_attack_run(ctx, attack, &(parry_threat){.eps = 0.1}, model, data, &r), PARRY_NUMERIC,
                "linear");
    parry_attack_free(attack);
    release(ctx, model, data);
}

/* Every allocation of a run fails in turn. */
static void test_out_of_memory(void **state)
{
    (void)state;
    parry_ctx *ctx = make_ctx(1, 0);
    parry_model *model = make_linear(ctx, SIDE, CLASSES, NULL, NULL);
    parry_dataset *data = make_images(ctx, model, 8);
    parry_status status = PARRY_NO_MEMORY;
    for (long n = 1; status != PARRY_OK; n++) {
        parry_attack *attack = NULL;
        parry_attack_result r;
        pr_alloc_fail_at(n);
        status = parry_attack_create(ctx, "pgd:steps=2:restarts=2", &attack);
        if (status == PARRY_OK)
            status = parry_attack_run(ctx, attack, &(parry_threat){.eps = 0.1}, model, data, &r);
        pr_alloc_fail_at(0);
        assert_true(status == PARRY_OK || status == PARRY_NO_MEMORY);
        if (status == PARRY_OK)
            parry_attack_result_clear(&r);
        parry_attack_free(attack);
    }
    release(ctx, model, data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_specs_and_labels),
        cmocka_unit_test(test_threat),
        cmocka_unit_test(test_more_is_never_less),
        cmocka_unit_test(test_early_leave),
        cmocka_unit_test(test_seeds_differ),
        cmocka_unit_test(test_queries),
        cmocka_unit_test(test_progress_and_cancelling),
        cmocka_unit_test(test_scoring_keeps_no_pixels),
        cmocka_unit_test(test_weak_settings_are_pointed_out),
        cmocka_unit_test(test_a_model_that_returns_nan),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
