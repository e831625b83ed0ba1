/* The 8-bit grid: rounding, radii that lie on it, and coming back into the ball. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "space/space.h"

enum { ROW = 300 };

static void test_radii(void **state)
{
    (void)state;
    const parry_threat grid = {.quantize = true, .clip = true}, free = {.clip = true},
                       l2 = {.norm = PARRY_L2, .quantize = true, .clip = true};
    for (int level = 0; level <= 255; level++) {
        const double exact = level / 255.0;
        assert_true(pr_grid_radius(&grid, exact) == exact);
        assert_true(pr_grid_radius(&grid, exact + 0.9 / 255) == exact || level == 255);
        assert_true(pr_grid_radius(&grid, nextafter(exact, 0)) <= nextafter(exact, 0));
    }
    assert_true(pr_grid_radius(&free, 0.1) == 0.1 && pr_grid_radius(&l2, 0.1) == 0.1);
}

static void test_rounding(void **state)
{
    (void)state;
    float x[256], y[256], along[256];
    for (int level = 0; level < 256; level++)
        x[level] = y[level] = (float)level / 255.0f;
    pr_grid_round(y, 256);
    assert_memory_equal(x, y, sizeof x);
    for (int level = 0; level < 256; level++)
        along[level] = level % 3 - 1.0f;
    pr_grid_round_along(along, y, 256); /* what is on the grid stays */
    assert_memory_equal(x, y, sizeof x);
    float z[] = {-0.1f, 1.2f, 10.4f / 255, 10.6f / 255, 10.4f / 255, 10.6f / 255, 10.4f / 255};
    const float sign[] = {0, 0, 1, -1, -1, 1, 0};
    pr_grid_round(z, 2);
    assert_true(z[0] == 0 && z[1] == 1);
    pr_grid_round_along(sign, z, 7);
    static const int levels[] = {0, 255, 11, 10, 10, 11, 10};
    for (int i = 0; i < 7; i++)
        assert_true(z[i] == (float)levels[i] / 255.0f);
}

/* Points of the ball, rounded either way, come back into it without losing more than needed. */
static void test_fitting(void **state)
{
    (void)state;
    float center[ROW], meant[ROW], x[ROW], along[ROW];
    static pr_grid_rank ranks[ROW];
    int moved = 0;
    for (uint64_t sample = 0; sample < 60; sample++) {
        pr_rng rng = pr_rng_init(3, PR_STREAM_TEST, sample);
        parry_threat threat = {.norm = PARRY_L2, .eps = 0.01 * (double)(1 + sample), .clip = true, .quantize = true};
        for (int i = 0; i < ROW; i++) {
            center[i] = (float)pr_rng_below(&rng, 256) / 255.0f;
            along[i] = pr_rng_normal(&rng);
        }
        pr_random_start_row(&threat, &rng, center, meant, ROW);
        for (int i = 0; i < ROW; i++)
            x[i] = meant[i];
        if (sample % 2)
            pr_grid_round_along(along, x, ROW);
        else
            pr_grid_round(x, ROW);
        const double before = pr_grid_distance_row(PARRY_L2, x, center, ROW);
        pr_grid_fit_row(&threat, center, meant, x, ROW, ranks);
        const double after = pr_grid_distance_row(PARRY_L2, x, center, ROW);
        assert_true(after <= threat.eps && after <= before);
        assert_true(before <= threat.eps ? after == before : after > 0.8 * threat.eps || threat.eps < 0.1);
        moved += before > threat.eps;
    }
    assert_in_range(moved, 10, 60);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_radii),
        cmocka_unit_test(test_rounding),
        cmocka_unit_test(test_fitting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
