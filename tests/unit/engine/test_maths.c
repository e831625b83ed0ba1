/* The fast kernels of maths.def's functions against its formulas, over the whole range of floats and where functions
 * end: zeros, infinities, NaN. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "../support/context.h"
#include "engine/kernels.h"
#include "engine/ref.h"

enum { COUNT = 6007 }; /* no multiple of a vector's length */

/* A fine sweep of -20 to 20, then powers of ten from 1e-36 to 1e36 of either sign, then what is special. */
static void fill(float *x)
{
    static const float special[] = {0.0f, -0.0f, INFINITY, -INFINITY, NAN, FLT_MAX, -FLT_MAX, FLT_MIN, 1e-42f, 1, -1};
    const int fine = 4001, rest = COUNT - (int)PR_COUNT(special);
    for (int i = 0; i < fine; i++)
        x[i] = (float)(i - 2000) / 100;
    for (int i = fine; i < rest; i++)
        x[i] = (i % 2 ? 1.0f : -1.0f) * powf(10, 72.0f * (float)(i - fine) / (float)(rest - fine) - 36);
    memcpy(x + rest, special, sizeof special);
}

static void assert_near(const char *what, float x, float expected, float found)
{
    const float slack = 4e-6f * fmaxf(1, fabsf(expected));
    const bool same =
        isnan(expected) ? isnan(found) || isinf(x) : /* a formula may have inf * 0 at the end */ expected == found ||
                                                         fabsf(found - expected) <= slack;
    if (!same)
        fail_msg("%s of %.9g is %.9g, not %.9g", what, (double)x, (double)found, (double)expected);
}

static void test_functions(void **state)
{
    static const float parameters[PR_MAP_COUNT][2][3] = {
        [PR_MAP_ELU] = {{1}, {0.3f}},    [PR_MAP_SELU] = {{1.67f, 0, 1.05f}, {1, 0, 2}},
        [PR_MAP_CELU] = {{1}, {2}},      [PR_MAP_HARD_SIGMOID] = {{0.2f, 0.5f}, {1, 0}},
        [PR_MAP_SWISH] = {{1}, {1.5f}},  [PR_MAP_CLIP] = {{0, 6}, {-1, 1}},
        [PR_MAP_POWER] = {{2}, {0.75f}}, [PR_MAP_QUANTIZE] = {{-128, 127}, {0, 255}},
    };
    static float x[COUNT], dy[COUNT], y[COUNT], expected[COUNT];
    const pr_flat_kernels *k = &pr_engine_kernels_get()->flat;
    int compared = 0;
    (void)state;
    fill(x);
    for (int i = 0; i < COUNT; i++)
        dy[i] = 1;
    for (int f = 0; f < PR_MAP_COUNT; f++)
        for (int set = 0; set < 2; set++) {
            pr_attrs attrs = {.map = {(pr_map)f, {0}}};
            memcpy(attrs.map.parameter, parameters[f][set], sizeof parameters[f][set]);
            assert_true(!k->map[f] == !k->map_grad[f]);
            if (!k->map[f])
                continue;
            pr_ref_map_flat(&attrs, x, NULL, NULL, expected, COUNT);
            k->map[f](&attrs, x, NULL, NULL, y, COUNT);
            for (int i = 0; i < COUNT; i++)
                assert_near(pr_map_name((pr_map)f), x[i], expected[i], y[i]);
            pr_ref_map_grad_flat(&attrs, x, dy, NULL, expected, COUNT);
            k->map_grad[f](&attrs, x, dy, NULL, y, COUNT);
            for (int i = 0; i < COUNT; i++)
                assert_near(pr_map_name((pr_map)f), x[i], expected[i], y[i]);
            compared++;
        }
    assert_true(compared > 30);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_functions)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
