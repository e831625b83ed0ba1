/* Geometry: projections end inside without tolerance, move nothing that was inside, and are nearest; ascent is
 * steepest; random starts fill the ball. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "space/space.h"

enum { ROW = 784 };

/* Pixels, many exactly 0 or 1 as in drawn digits. */
static void fill_image(float *x, uint64_t sample, int row)
{
    pr_rng rng = pr_rng_init(3, PR_STREAM_TEST, sample);
    for (int i = 0; i < row; i++) {
        float value = pr_rng_uniform(&rng, -0.5f, 1.5f);
        x[i] = value < 0 ? 0 : value > 1 ? 1 : value;
    }
}

static const double radii[] = {0, 1e-9, 1e-7, 1e-4, 8 / 255.0, 0.1, 0.3, 1, 2.7};

static void check_projection(parry_threat threat, uint64_t sample)
{
    float x[ROW], y[ROW], once[ROW];
    fill_image(x, sample, ROW);
    pr_rng rng = pr_rng_init(4, PR_STREAM_TEST, sample);
    float spread = powf(10, pr_rng_uniform(&rng, -4, 1));
    for (int i = 0; i < ROW; i++)
        once[i] = y[i] = x[i] + spread * pr_rng_normal(&rng);
    pr_project_row(&threat, x, once, ROW);
    assert_true(pr_distance_row(threat.norm, once, x, ROW) <= threat.eps);
    for (int i = 0; i < ROW; i++) {
        if (threat.norm == PARRY_LINF)
            assert_true(fabs((double)once[i] - x[i]) <= threat.eps);
        if (threat.clip)
            assert_true(once[i] >= 0 && once[i] <= 1);
    }
    float twice[ROW];
    memcpy(twice, once, sizeof twice);
    pr_project_row(&threat, x, twice, ROW);
    assert_memory_equal(once, twice, sizeof once);
    if (!threat.clip && pr_distance_row(threat.norm, y, x, ROW) > threat.eps && threat.eps >= 1e-4)
        assert_true(pr_distance_row(threat.norm, once, x, ROW) > threat.eps * (1 - 1e-5) - 1e-7);
}

static void test_projection_lands_inside(void **state)
{
    (void)state;
    for (size_t r = 0; r < PR_COUNT(radii); r++)
        for (uint64_t sample = 0; sample < 40; sample++)
            check_projection(
                (parry_threat){.norm = sample & 1 ? PARRY_L2 : PARRY_LINF, .eps = radii[r], .clip = sample & 2},
                sample);
}

static void test_eps_zero_returns_the_centre(void **state)
{
    (void)state;
    for (int norm = PARRY_LINF; norm <= PARRY_L2; norm++) {
        float x[ROW], y[ROW];
        fill_image(x, 1, ROW);
        fill_image(y, 2, ROW);
        parry_threat threat = {.norm = norm, .eps = 0, .clip = true};
        pr_project_row(&threat, x, y, ROW);
        assert_memory_equal(x, y, sizeof x);
        pr_rng rng = pr_rng_init(0, PR_STREAM_TEST, 0);
        pr_random_start_row(&threat, &rng, x, y, ROW);
        assert_memory_equal(x, y, sizeof x);
    }
}

/* No direction of the same length gains more along the gradient than d: |g|_1 for linf, |g|_2 for l2. */
static void test_ascent_is_steepest(void **state)
{
    (void)state;
    float grad[ROW], zero[ROW] = {0}, d[ROW];
    pr_rng rng = pr_rng_init(9, PR_STREAM_TEST, 0);
    for (int i = 0; i < ROW; i++)
        grad[i] = 1e-20f * pr_rng_normal(&rng);
    for (int norm = PARRY_LINF; norm <= PARRY_L2; norm++) {
        memset(d, 0, sizeof d);
        pr_ascend_row(norm, 0.5f, grad, d, ROW);
        double gain = 0, sum = 0;
        for (int i = 0; i < ROW; i++) {
            gain += (double)d[i] * grad[i];
            sum += fabs((double)grad[i]);
        }
        double best = norm == PARRY_LINF ? sum : sqrt(pr_sum_squares(grad, ROW));
        assert_true(fabs(gain - 0.5 * best) < 1e-6 * best);
        assert_true(fabs(pr_distance_row(norm, d, zero, ROW) - 0.5) < 1e-6);
    }
}

static void test_no_gradient_no_step(void **state)
{
    (void)state;
    float grad[4] = {0}, adv[4] = {1, 2, 3, 4}, before[4] = {1, 2, 3, 4};
    for (int norm = PARRY_LINF; norm <= PARRY_L2; norm++) {
        pr_ascend_row(norm, 1, grad, adv, 4);
        grad[2] = NAN;
        pr_ascend_row(norm, 1, grad, adv, 4);
        grad[2] = 0;
        assert_memory_equal(adv, before, sizeof adv);
    }
}

/* In 3 dimensions half of the volume lies within eps / 2^(1/3) of the centre; the mean is the centre. */
static void test_random_start_is_uniform_in_the_ball(void **state)
{
    (void)state;
    enum { DRAWS = 20000, DIMS = 3 };
    float centre[DIMS] = {0.5f, 0.5f, 0.5f};
    for (int norm = PARRY_LINF; norm <= PARRY_L2; norm++) {
        parry_threat threat = {.norm = norm, .eps = 0.25, .clip = true};
        double mean[DIMS] = {0};
        int inner = 0;
        for (int n = 0; n < DRAWS; n++) {
            float adv[DIMS];
            pr_rng rng = pr_rng_init(5, PR_STREAM_TEST, (uint64_t)n);
            pr_random_start_row(&threat, &rng, centre, adv, DIMS);
            double distance = pr_distance_row(norm, adv, centre, DIMS);
            assert_true(distance <= 0.25);
            inner += distance < 0.25 / cbrt(2);
            for (int i = 0; i < DIMS; i++)
                mean[i] += (adv[i] - 0.5) / DRAWS;
        }
        assert_true(abs(inner - DRAWS / 2) < 5 * 71); /* five standard deviations */
        for (int i = 0; i < DIMS; i++)
            assert_true(fabs(mean[i]) < 5 * 0.25 * 0.58 / sqrt(DRAWS));
    }
}

static void test_random_start_respects_the_box(void **state)
{
    (void)state;
    float x[ROW], adv[ROW];
    for (int norm = PARRY_LINF; norm <= PARRY_L2; norm++)
        for (uint64_t sample = 0; sample < 20; sample++) {
            fill_image(x, sample, ROW);
            parry_threat threat = {.norm = norm, .eps = 0.3, .clip = true};
            pr_rng rng = pr_rng_init(5, PR_STREAM_TEST, sample);
            pr_random_start_row(&threat, &rng, x, adv, ROW);
            assert_true(pr_distance_row(norm, adv, x, ROW) <= 0.3);
            for (int i = 0; i < ROW; i++)
                assert_true(adv[i] >= 0 && adv[i] <= 1);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_projection_lands_inside),
        cmocka_unit_test(test_eps_zero_returns_the_centre),
        cmocka_unit_test(test_ascent_is_steepest),
        cmocka_unit_test(test_no_gradient_no_step),
        cmocka_unit_test(test_random_start_is_uniform_in_the_ball),
        cmocka_unit_test(test_random_start_respects_the_box),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
