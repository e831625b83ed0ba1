/* Update rules against Keras' own steps, their bits against instruction set and cutting, and the schedules. */
#include <setjmp.h>
#include <stdarg.h>
#include <math.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "nn/nn.h"
#include "nn/update.h"

enum { WEIGHTS = 4, STEPS = 3 };

/* Keras 3.15.1 on TensorFlow: a Variable of these weights, optimizer.apply of these gradients one after another;
 * Adam(1e-3) and SGD(0.1, momentum=0.9). Printed with nine digits. */
static const float start[WEIGHTS] = {0.5f, -1.25f, 2.0f, 0.0f};
static const float grads[STEPS][WEIGHTS] = {
    {0.1f, -0.2f, 3.0f, 1e-4f}, {0.3f, 0.25f, -1.5f, 1e-4f}, {-0.05f, 0.5f, 0.0f, -2e-4f}};
static const struct {
    size_t optimiser;
    const char *name;
    double lr, momentum;
    float after[STEPS][WEIGHTS];
} keras[] = {
    {0,
     "adam",
     1e-3,
     0.9,
     {{0.499000043f, -1.24900007f, 1.99899995f, -0.000969340035f},
      {0.49808228f, -1.24916279f, 1.99873364f, -0.00194745325f},
      {0.497481376f, -1.24976861f, 1.99852777f, -0.00187276863f}}},
    {1,
     "sgd",
     0.1,
     0.9,
     {{0.49000001f, -1.23000002f, 1.70000005f, -9.99999975e-06f},
      {0.451000005f, -1.23699999f, 1.58000004f, -2.89999989e-05f},
      {0.420900017f, -1.29330003f, 1.472f, -2.60999986e-05f}}},
};

static void steps_are_those_of_keras(void **state)
{
    (void)state;
    for (size_t k = 0; k < PR_COUNT(keras); k++) {
        const pr_optimiser *optimiser = pr_optimiser_at(keras[k].optimiser);
        assert_string_equal(optimiser->name, keras[k].name);
        float w[WEIGHTS], first[WEIGHTS] = {0}, second[WEIGHTS] = {0}, *moments[] = {first, second};
        memcpy(w, start, sizeof w);
        for (int s = 0; s < STEPS; s++) {
            double scalars[PR_SCALARS_MAX];
            optimiser->scalars(keras[k].lr, keras[k].momentum, (uint64_t)s + 1, scalars);
            optimiser->rule.update(scalars, 0, w, grads[s], moments, WEIGHTS);
            for (int i = 0; i < WEIGHTS; i++)
                assert_float_equal(w[i], keras[k].after[s][i], 2e-7f * fmaxf(1, fabsf(w[i])) * 0.5f + 1e-10f);
        }
    }
    assert_null(pr_optimiser_at(PR_COUNT(keras)));
}

/* Weight decay is L2: as if decay * w had been part of the gradient. */
static void decay_adds_to_the_gradient(void **state)
{
    (void)state;
    for (size_t k = 0; k < PR_COUNT(keras); k++) {
        const pr_optimiser *optimiser = pr_optimiser_at(k);
        double scalars[PR_SCALARS_MAX];
        optimiser->scalars(0.01, 0.9, 1, scalars);
        float w[2][WEIGHTS], g[WEIGHTS], moment[2][2][WEIGHTS] = {0};
        for (int i = 0; i < WEIGHTS; i++) {
            w[0][i] = w[1][i] = start[i];
            g[i] = grads[0][i] + 0.25f * start[i];
        }
        optimiser->rule.update(scalars, 0.25f, w[0], grads[0], (float *[]){moment[0][0], moment[0][1]}, WEIGHTS);
        optimiser->rule.update(scalars, 0, w[1], g, (float *[]){moment[1][0], moment[1][1]}, WEIGHTS);
        assert_memory_equal(w[0], w[1], sizeof w[0]);
        assert_memory_equal(moment[0], moment[1], sizeof moment[0]);
    }
}

enum { LONG = 203, VARIANTS = 4 };

static void run_both(const pr_update_kernels *kernels, int pieces, float out[6][LONG])
{
    for (int i = 0; i < LONG; i++) {
        pr_rng rng = pr_rng_init(3, PR_STREAM_TEST, (uint64_t)i);
        out[0][i] = out[3][i] = pr_rng_normal(&rng);
        out[5][i] = pr_rng_normal(&rng); /* the gradient */
        out[1][i] = out[4][i] = 0.1f * pr_rng_normal(&rng);
        out[2][i] = pr_rng_unit(&rng);
    }
    for (int p = 0; p < pieces; p++) {
        const int from = LONG * p / pieces, count = LONG * (p + 1) / pieces - from;
        kernels->adam(1e-3f, 1e-4f, out[0] + from, out[5] + from, out[1] + from, out[2] + from, count);
        kernels->sgd(1e-2f, 0.9f, 1e-4f, out[3] + from, out[5] + from, out[4] + from, count);
    }
}

static void bits_depend_neither_on_ranges_nor_on_instruction_set(void **state)
{
    (void)state;
    static float expected[6][LONG], got[6][LONG];
    const pr_update_kernels *variants[VARIANTS] = {&pr_update_baseline};
    int count = 1;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx2"))
        variants[count++] = &pr_update_avx2;
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
        __builtin_cpu_supports("avx512vl"))
        variants[count++] = &pr_update_avx512;
#endif
    run_both(&pr_update_baseline, 1, expected);
    for (int v = 0; v < count; v++)
        for (int pieces = 1; pieces <= LONG; pieces = 3 * pieces + 1) {
            run_both(variants[v], pieces, got);
            assert_memory_equal(got, expected, sizeof got);
        }
}

static void schedules_start_at_the_rate_and_fall(void **state)
{
    (void)state;
    static const struct {
        int schedule;
        uint64_t step;
        double factor;
    } rows[] = {{0, 0, 1},     {0, 99, 1}, {1, 0, 1},    {1, 49, 1}, {1, 50, 0.1},  {1, 74, 0.1},
                {1, 75, 0.01}, {2, 0, 1},  {2, 50, 0.5}, {3, 0, 1},  {3, 25, 0.75}, {3, 99, 0.01}};
    for (size_t i = 0; i < PR_COUNT(rows); i++)
        assert_float_equal(pr_schedule_rate(rows[i].schedule, 0.2, rows[i].step, 100), 0.2 * rows[i].factor, 1e-12);
    for (int schedule = 0; schedule < 4; schedule++)
        for (uint64_t step = 1; step < 100; step++) {
            const double rate = pr_schedule_rate(schedule, 1, step, 100);
            assert_true(rate > 0 && rate <= pr_schedule_rate(schedule, 1, step - 1, 100));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_are_those_of_keras),
        cmocka_unit_test(decay_adds_to_the_gradient),
        cmocka_unit_test(bits_depend_neither_on_ranges_nor_on_instruction_set),
        cmocka_unit_test(schedules_start_at_the_rate_and_fall),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
