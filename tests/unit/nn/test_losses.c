/* Losses: values of Keras, derivatives against finite differences, and exactness where the network is sure. */
#include <setjmp.h>
#include <stdarg.h>
#include <math.h>
#include <string.h>

#include <cmocka.h>

#include "base/rng.h"
#include "nn/nn.h"

enum { K = 4 };

/* categorical_crossentropy(from_logits=True) and mean_squared_error of softmax, Keras 3.15.1. */
static void values_are_those_of_keras(void **state)
{
    (void)state;
    static const float logits[2][K] = {{2, -1, 0.5f, 3}, {0.1f, 0.2f, -0.3f, 0}};
    static const int32_t labels[2] = {0, 2};
    static const float expected[2][2] = {{1.3840917f, 1.703002f}, {0.25720233f, 0.2233379f}};
    for (size_t l = 0; l < 2; l++) {
        float loss[2];
        pr_loss_at(l)->rows(NULL, 2, K, logits[0], labels, loss, NULL);
        for (int r = 0; r < 2; r++)
            assert_float_equal(loss[r], expected[l][r], 3e-7f);
        assert_string_equal(pr_loss_at(l)->name, pr_loss_names()[l]);
    }
    assert_null(pr_loss_at(2));
    assert_null(pr_loss_names()[2]);
}

/* The loss in double, by its definition. */
static double plain_loss(size_t which, const double *z, int label)
{
    double total = 0, squares = 0;
    for (int i = 0; i < K; i++)
        total += exp(z[i]);
    for (int i = 0; i < K; i++)
        squares += pow(exp(z[i]) / total - (i == label), 2);
    return which == 0 ? log(total) - z[label] : squares / K;
}

static void derivatives_are_the_slope_of_the_loss(void **state)
{
    (void)state;
    for (uint64_t trial = 0; trial < 200; trial++) {
        pr_rng rng = pr_rng_init(1, PR_STREAM_TEST, trial);
        float logits[K], loss, slope[K];
        const int32_t label = (int32_t)pr_rng_below(&rng, K);
        for (int i = 0; i < K; i++)
            logits[i] = 3 * pr_rng_normal(&rng);
        for (size_t l = 0; l < 2; l++) {
            pr_loss_at(l)->rows(NULL, 1, K, logits, &label, &loss, slope);
            for (int i = 0; i < K; i++) {
                double z[2][K];
                for (int j = 0; j < K; j++)
                    z[0][j] = z[1][j] = logits[j];
                z[0][i] -= 1e-5;
                z[1][i] += 1e-5;
                const double expected = (plain_loss(l, z[1], label) - plain_loss(l, z[0], label)) / 2e-5;
                assert_float_equal(slope[i], expected, 1e-6 * fmax(1, fabs(expected)));
            }
        }
    }
}

/* The label's probability rounds to 1, yet loss and slope keep their magnitude. */
static void sure_images_keep_their_gradient(void **state)
{
    (void)state;
    static const float logits[K] = {0, 40, 0, 0};
    const int32_t label = 1;
    const double rest = exp(-40), others = 3 * rest;
    float loss, slope[K];
    pr_loss_at(0)->rows(NULL, 1, K, logits, &label, &loss, slope);
    assert_float_equal(loss / others, 1, 1e-6);
    assert_float_equal(slope[1] / -others, 1, 1e-6);
    assert_float_equal(slope[0] / rest, 1, 1e-6);
    pr_loss_at(1)->rows(NULL, 1, K, logits, &label, &loss, slope);
    assert_float_equal(loss / ((others * others + 3 * rest * rest) / K), 1, 1e-6);
    assert_float_equal(slope[1] / (-2.0 / K * (others * others + 3 * rest * rest)), 1, 1e-6);
    assert_float_equal(slope[0] / (2.0 / K * rest * (rest + others)), 1, 1e-6);
}

static void huge_logits_stay_finite(void **state)
{
    (void)state;
    static const float logits[2][K] = {{3e38f, -3e38f, 0, 1}, {-1e5f, 1e5f, 1e5f, 0}};
    static const int32_t labels[2] = {0, 1};
    for (size_t l = 0; l < 2; l++) {
        float loss[2], slope[2][K];
        pr_loss_at(l)->rows(NULL, 2, K, logits[0], labels, loss, slope[0]);
        for (int r = 0; r < 2; r++) {
            float sum = 0;
            for (int i = 0; i < K; i++) {
                assert_true(isfinite(slope[r][i]));
                sum += slope[r][i];
            }
            assert_true(isfinite(loss[r]) && loss[r] >= 0);
            assert_float_equal(sum, 0, 1e-6); /* a shift of all logits changes nothing */
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(values_are_those_of_keras),
        cmocka_unit_test(derivatives_are_the_slope_of_the_loss),
        cmocka_unit_test(sure_images_keep_their_gradient),
        cmocka_unit_test(huge_logits_stay_finite),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
