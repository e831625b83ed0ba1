/* Philox4x32-10 against the published vectors, and the reader's order of draws. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>

#include "base/base.h"
#include "base/rng.h"

/* Random123's kat_vectors, philox4x32 with 10 rounds: counter, key, result. */
static void test_known_answers(void **state)
{
    (void)state;
    static const struct {
        uint32_t counter[4], key[2], expected[4];
    } vectors[] = {
        {{0, 0, 0, 0}, {0, 0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
        {{~0u, ~0u, ~0u, ~0u}, {~0u, ~0u}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
        {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344},
         {0xa4093822, 0x299f31d0},
         {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
    };
    for (size_t i = 0; i < PR_COUNT(vectors); i++) {
        const uint32_t *c = vectors[i].counter, *k = vectors[i].key;
        pr_rng_key key = {.seed = (uint64_t)k[1] << 32 | k[0], .stream = c[1], .sample = (uint64_t)c[3] << 32 | c[2]};
        pr_u32x4 block = pr_rng_block(key, c[0]);
        assert_memory_equal(block.v, vectors[i].expected, sizeof block.v);
    }
}

static void test_reader_walks_the_blocks(void **state)
{
    (void)state;
    pr_rng rng = pr_rng_init(7, PR_STREAM_TEST, 11);
    for (uint32_t i = 0; i < 20; i++)
        assert_int_equal(pr_rng_u32(&rng), pr_rng_block(rng.key, i / 4).v[i % 4]);
}

/* Every part of the key matters: neighbours in seed, stream and sample share no word. */
static void test_streams_differ(void **state)
{
    (void)state;
    pr_rng_key keys[] = {
        {5, 2, 9}, {6, 2, 9}, {5, 3, 9}, {5, 2, 10}, {5 + (UINT64_C(1) << 32), 2, 9}, {5, 2, 9 + (UINT64_C(1) << 32)}};
    for (size_t a = 0; a < PR_COUNT(keys); a++)
        for (size_t b = 0; b < a; b++)
            for (int i = 0; i < 4; i++)
                assert_int_not_equal(pr_rng_block(keys[a], 0).v[i], pr_rng_block(keys[b], 0).v[i]);
}

static void test_distributions(void **state)
{
    (void)state;
    enum { DRAWS = 40000 };
    pr_rng rng = pr_rng_init(1, PR_STREAM_TEST, 0);
    double sum = 0, squares = 0, fourth = 0, unit = 0;
    int below[7] = {0};
    for (int i = 0; i < DRAWS; i++) {
        double normal = (double)pr_rng_normal(&rng);
        sum += normal;
        squares += normal * normal;
        fourth += normal * normal * normal * normal;
        float u = pr_rng_uniform(&rng, -1, 3);
        assert_true(u >= -1 && u < 3);
        unit += (double)u;
        below[pr_rng_below(&rng, 7)]++;
    }
    /* five standard errors each */
    assert_true(fabs(sum / DRAWS) < 5 / sqrt(DRAWS));
    assert_true(fabs(squares / DRAWS - 1) < 5 * sqrt(2.0 / DRAWS));
    assert_true(fabs(fourth / DRAWS - 3) < 5 * sqrt(96.0 / DRAWS));
    assert_true(fabs(unit / DRAWS - 1) < 5 * 4 / sqrt(12.0 * DRAWS));
    for (int i = 0; i < 7; i++)
        assert_true(fabs(below[i] - DRAWS / 7.0) < 5 * sqrt(DRAWS / 7.0));
    assert_true(pr_u32_to_unit(UINT32_MAX) < 1 && pr_u32_to_unit(255) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_known_answers),
        cmocka_unit_test(test_reader_walks_the_blocks),
        cmocka_unit_test(test_streams_differ),
        cmocka_unit_test(test_distributions),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
