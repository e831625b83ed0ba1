/* Kernels: every instruction set against plain loops, bit for bit, at all lengths around the vector width. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/rng.h"
#include "tensor/kernels.h"
#include "tensor/tensor.h"

enum { LONGEST = 150, GUARD = 4 };

static const char *const isas[] = {"baseline", "avx2", "avx512"};

typedef struct vectors {
    float x[LONGEST + GUARD], y[LONGEST + GUARD], expected[LONGEST + GUARD];
} vectors;

/* Values of several magnitudes and both signs, zeros among them. */
static void fill_vectors(vectors *v, uint64_t sample)
{
    pr_rng rng = pr_rng_init(7, PR_STREAM_TEST, sample);
    for (int i = 0; i < LONGEST + GUARD; i++) {
        v->x[i] = i % 11 == 3 ? 0 : pr_rng_normal(&rng) * powf(10, (float)pr_rng_below(&rng, 5) - 2);
        v->y[i] = i % 13 == 5 ? v->x[i] : pr_rng_normal(&rng);
        v->expected[i] = v->y[i];
    }
}

/* Calls `check` for each instruction set this machine has, each length, and each alignment that matters. */
static void for_each(void (*check)(const pr_kernels *k, vectors *v, int count))
{
    int checked = 0;
    for (size_t isa = 0; isa < PR_COUNT(isas); isa++) {
        const pr_kernels *k = pr_kernels_for(isas[isa]);
        if (!k)
            continue;
        checked++;
        for (int count = 0; count <= LONGEST; count += count < 40 ? 1 : 17) {
            vectors v;
            fill_vectors(&v, (uint64_t)count);
            check(k, &v, count);
        }
    }
    assert_true(checked >= 1);
}

static void assert_same(const vectors *v, int count)
{
    for (int i = 0; i < count + GUARD; i++)
        if (memcmp(&v->y[i], &v->expected[i], sizeof(float)) != 0)
            fail_msg("element %d of %d is %.9g, expected %.9g", i, count, v->y[i], v->expected[i]);
}

static void check_elementwise(const pr_kernels *k, vectors *v, int count)
{
    k->axpy(0.37f, v->x, v->y, count);
    for (int i = 0; i < count; i++) {
        volatile float product = 0.37f * v->x[i]; /* rounded: no fused multiply-add */
        v->expected[i] += product;
    }
    assert_same(v, count);

    v->x[0] = NAN;
    k->add_sign(0.1f, v->x, v->y, count);
    for (int i = 0; i < count; i++)
        v->expected[i] += isnan(v->x[i]) || v->x[i] == 0 ? 0 : copysignf(0.1f, v->x[i]);
    assert_same(v, count);

    k->clamp(-0.5f, 0.25f, v->y, count);
    for (int i = 0; i < count; i++)
        v->expected[i] = fminf(fmaxf(v->expected[i], -0.5f), 0.25f);
    assert_same(v, count);

    k->fill(v->y, 3, count);
    for (int i = 0; i < count; i++)
        v->expected[i] = 3;
    assert_same(v, count);
}

static void test_elementwise(void **state)
{
    (void)state;
    for_each(check_elementwise);
}

static void check_nan_stays(const pr_kernels *k, vectors *v, int count)
{
    for (int i = 0; i < count; i++)
        v->y[i] = NAN;
    k->clamp(0, 1, v->y, count);
    k->clamp_ball(v->x, 0.1f, v->y, count);
    for (int i = 0; i < count; i++)
        assert_true(isnan(v->y[i]));
}

static void test_nan_survives_clamping(void **state)
{
    (void)state;
    for_each(check_nan_stays);
}

/* Inside exactly, and no farther inside than one step of the float grid. */
static void check_ball(const pr_kernels *k, vectors *v, int count)
{
    const float radii[] = {0, 0.1f, 0.3f, 8 / 255.0f, 1, 1e-3f};
    for (size_t r = 0; r < PR_COUNT(radii); r++) {
        float radius = radii[r];
        for (int i = 0; i < count; i++)
            v->y[i] = v->expected[i] = v->x[i] + (i % 3 - 1) * 2 * radius * (float)(i % 5);
        k->clamp_ball(v->x, radius, v->y, count);
        for (int i = 0; i < count; i++) {
            double before = (double)v->expected[i] - v->x[i], after = (double)v->y[i] - v->x[i];
            assert_true(fabs(after) <= radius);
            if (fabs(before) <= radius)
                assert_true(v->y[i] == v->expected[i]);
            else
                assert_true(fabs((double)nextafterf(v->y[i], v->expected[i]) - v->x[i]) > radius);
        }
    }
}

/* Centres and radii as attacks have them: bounds fall on powers of two, such as 153/255 - 0.1 near 0.5. */
static void check_ball_at_grey_levels(const pr_kernels *k, vectors *v, int count)
{
    for (int hundredths = 1; hundredths <= 50; hundredths++) {
        float radius = nextafterf((float)hundredths / 100, (float)(hundredths % 2));
        for (int level = 0; level < 256; level++)
            for (int side = -1; side <= 1; side += 2) {
                float center = (float)level / 255.0f, bound = (float)side;
                v->expected[0] = center;
                v->y[0] = bound;
                k->clamp_ball(v->expected, radius, v->y, 1);
                assert_true(fabs((double)v->y[0] - center) <= radius);
                assert_true(fabs((double)nextafterf(v->y[0], bound) - center) > radius || v->y[0] == bound);
            }
    }
    (void)count;
}

static void test_clamp_ball_is_exact(void **state)
{
    (void)state;
    for_each(check_ball);
    for_each(check_ball_at_grey_levels);
}

typedef double (*term)(const vectors *v, int i);

static double term_x(const vectors *v, int i)
{
    return v->x[i];
}
static double term_square(const vectors *v, int i)
{
    return (double)v->x[i] * v->x[i];
}
static double term_diff(const vectors *v, int i)
{
    double diff = (double)v->x[i] - v->y[i];
    return diff * diff;
}

/* The documented order of summation. */
static double expected_sum(const vectors *v, int count, term of)
{
    double part[16] = {0}, total = 0;
    for (int i = 0; i < count; i++)
        part[i % 16] += of(v, i);
    for (int lane = 0; lane < 16; lane++)
        total += part[lane];
    return total;
}

static void check_reductions(const pr_kernels *k, vectors *v, int count)
{
    assert_true(k->sum(v->x, count) == expected_sum(v, count, term_x));
    assert_true(k->sum_squares(v->x, count) == expected_sum(v, count, term_square));
    assert_true(k->sum_squares_diff(v->x, v->y, count) == expected_sum(v, count, term_diff));
    float largest = 0, largest_diff = 0;
    for (int i = 0; i < count; i++) {
        largest = fmaxf(largest, fabsf(v->x[i]));
        largest_diff = fmaxf(largest_diff, fabsf(v->x[i] - v->y[i]));
    }
    assert_true(k->max_abs(v->x, count) == largest);
    assert_true(k->max_abs_diff(v->x, v->y, count) == largest_diff);
    if (count > 0) {
        v->x[count - 1] = -INFINITY;
        assert_true(isinf(k->max_abs(v->x, count)));
        v->x[count / 2] = NAN;
        assert_true(isnan(k->max_abs(v->x, count)));
        assert_true(isnan(k->max_abs_diff(v->x, v->y, count)));
    }
}

static void test_reductions(void **state)
{
    (void)state;
    for_each(check_reductions);
}

static void test_bytes_to_unit(void **state)
{
    (void)state;
    uint8_t bytes[256];
    float unit[256];
    for (int i = 0; i < 256; i++)
        bytes[i] = (uint8_t)i;
    for (size_t isa = 0; isa < PR_COUNT(isas); isa++) {
        const pr_kernels *k = pr_kernels_for(isas[isa]);
        if (!k)
            continue;
        k->bytes_to_unit(bytes, unit, 256);
        for (int i = 0; i < 256; i++)
            assert_true(unit[i] == (float)(i / 255.0));
    }
}

static void test_weighted_pixels(void **state)
{
    (void)state;
    enum { PIXELS = 9, ROOM = 4, COUNT = 3 };
    static const int32_t weights[COUNT * ROOM] = {1 << 20, 1 << 21, 1 << 20, 0, 1 << 22, 0, 0, 0, 1 << 21, 1 << 21};
    static const int start[COUNT] = {1, 4, 7}, taps[COUNT] = {3, 1, 2};
    uint8_t in[3 * PIXELS + PR_WEIGHT_SLACK], out[3 * COUNT + 1];
    for (size_t i = 0; i < sizeof in; i++)
        in[i] = (uint8_t)(i / 3 == 4 ? 255 : i * 157 + 31);
    for (size_t isa = 0; isa < PR_COUNT(isas); isa++) {
        const pr_kernels *k = pr_kernels_for(isas[isa]);
        if (!k)
            continue;
        out[3 * COUNT] = 77;
        k->weigh_pixels(in, start, taps, weights, ROOM, out, COUNT);
        for (int c = 0; c < 3; c++) {
            assert_int_equal(out[c], (in[3 + c] + 2 * in[6 + c] + in[9 + c] + 2) / 4);
            assert_int_equal(out[3 + c], 255);
            assert_int_equal(out[6 + c], (in[21 + c] + in[24 + c] + 1) / 2);
        }
        assert_int_equal(out[3 * COUNT], 77);
    }
}

static void test_argmax(void **state)
{
    (void)state;
    assert_int_equal(pr_argmax((float[]){1, 3, 3, 2}, 4), 1);
    assert_int_equal(pr_argmax((float[]){NAN, -5, NAN, -7}, 4), 1);
    assert_int_equal(pr_argmax((float[]){-INFINITY, -INFINITY}, 2), 0);
    assert_int_equal(pr_argmax((float[]){NAN, NAN}, 2), -1);
}

static void test_softmax_total(void **state)
{
    (void)state;
    assert_true(pr_softmax_total((float[]){2, 2, 2, 2}, 4, 3) == 4);
    assert_true(pr_softmax_total((float[]){-1000, 1e30f, 0}, 3, 1) == 1);
    assert_float_equal(pr_softmax_total((float[]){1, 3, 2}, 3, 1), 1 + exp(-1) + exp(-2), 1e-15);
}

static void test_all_finite(void **state)
{
    (void)state;
    float x[] = {0, -1e30f, 3e38f, 1};
    assert_true(pr_all_finite(x, 4));
    x[2] = -INFINITY;
    assert_false(pr_all_finite(x, 4));
    x[2] = NAN;
    assert_false(pr_all_finite(x, 4));
    assert_true(pr_all_finite(x, 0));
}

/* The public names use one of the tables; the cap is read once per process, so only its absence is checked here. */
static void test_isa_is_known(void **state)
{
    (void)state;
    assert_non_null(pr_kernels_for(pr_isa_name()));
    assert_null(pr_kernels_for("mmx"));
}

static void test_cap_is_checked(void **state)
{
    (void)state;
    parry_ctx *ctx;
    assert_int_equal(parry_ctx_create(NULL, &ctx), PARRY_OK);
    const char *before = getenv("PARRY_MAX_ISA");
    char *kept = before ? strdup(before) : NULL;
    static const char *const good[] = {"baseline", ""};
    for (size_t i = 0; i < PR_COUNT(good); i++) {
        setenv("PARRY_MAX_ISA", good[i], 1);
        assert_int_equal(pr_isa_check(ctx), PARRY_OK);
    }
    setenv("PARRY_MAX_ISA", "bogus", 1);
    assert_int_equal(pr_isa_check(ctx), PARRY_INVALID);
    assert_non_null(strstr(parry_ctx_error(ctx), "'bogus'"));
    assert_non_null(strstr(parry_ctx_error(ctx), "baseline"));
    unsetenv("PARRY_MAX_ISA");
    assert_int_equal(pr_isa_check(ctx), PARRY_OK);
    if (kept)
        setenv("PARRY_MAX_ISA", kept, 1);
    free(kept);
    parry_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_elementwise),         cmocka_unit_test(test_nan_survives_clamping),
        cmocka_unit_test(test_clamp_ball_is_exact), cmocka_unit_test(test_reductions),
        cmocka_unit_test(test_bytes_to_unit),       cmocka_unit_test(test_argmax),
        cmocka_unit_test(test_softmax_total),       cmocka_unit_test(test_all_finite),
        cmocka_unit_test(test_isa_is_known),        cmocka_unit_test(test_cap_is_checked),
        cmocka_unit_test(test_weighted_pixels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
