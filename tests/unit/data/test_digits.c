/* Built-in digits: pinned bytes, purity, balance, and framing and greys like MNIST's. */
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "data/digits.h"

enum { SIDE = PR_DIGITS_SIDE, PIXELS = SIDE * SIDE, SAMPLE = 1000 };

/* FNV-1a. */
static uint64_t hash(uint64_t state, const uint8_t *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        state = (state ^ bytes[i]) * UINT64_C(0x100000001b3);
    return state;
}

/* Any instruction set, compiler and optimisation must give these bytes; a change to the strokes changes the sum. */
static void test_bytes_are_pinned(void **state)
{
    (void)state;
    uint64_t sum = UINT64_C(0xcbf29ce484222325);
    for (uint64_t i = 0; i < SAMPLE; i++) {
        uint8_t pixels[PIXELS], label;
        pr_digits_render(1, i, pixels, &label);
        sum = hash(hash(sum, pixels, PIXELS), &label, 1);
    }
    assert_int_equal(sum, UINT64_C(0x7570d2fd77cb10a0));
}

static void test_pure_in_seed_and_index(void **state)
{
    (void)state;
    uint8_t first[PIXELS], again[PIXELS], other[PIXELS], label, label_again;
    int differing = 0;
    for (uint64_t i = 0; i < 50; i++) {
        pr_digits_render(7, i, first, &label);
        pr_digits_render(7, 49 - i, other, &label_again);
        memset(again, 0xA5, sizeof(again)); /* whatever was there is overwritten */
        pr_digits_render(7, i, again, &label_again);
        assert_memory_equal(first, again, PIXELS);
        assert_int_equal(label, label_again);
        pr_digits_render(8, i, other, &label_again);
        differing += memcmp(first, other, PIXELS) != 0;
        pr_digits_render(7, i + 50, other, &label_again);
        differing += memcmp(first, other, PIXELS) != 0;
    }
    assert_int_equal(differing, 100);
}

static void test_far_indices_and_seeds(void **state)
{
    (void)state;
    const uint64_t ends[] = {0, PR_DIGITS_TRAIN + PR_DIGITS_TEST - 1, UINT64_C(1) << 40, UINT64_MAX};
    for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
        for (size_t j = 0; j < sizeof(ends) / sizeof(ends[0]); j++) {
            uint8_t pixels[PIXELS], label;
            pr_digits_render(ends[i], ends[j], pixels, &label);
            assert_in_range(label, 0, 9);
        }
}

static void test_classes_are_balanced_and_shuffled(void **state)
{
    (void)state;
    int in_order = 0;
    for (uint64_t run = 0; run < 100; run++) {
        unsigned seen = 0;
        for (uint64_t i = 0; i < 10; i++) {
            uint8_t pixels[PIXELS], label;
            pr_digits_render(3, run * 10 + i, pixels, &label);
            seen |= 1u << label;
            in_order += label == i;
        }
        assert_int_equal(seen, 0x3FF);
    }
    assert_in_range(in_order, 60, 140); /* 100 expected of 1000 */
}

/* MNIST: the ink's box is 20 x 20 (here but for a faint rim), its centre of mass within a pixel of (14, 14). */
static void test_framed_like_mnist(void **state)
{
    (void)state;
    for (uint64_t i = 0; i < SAMPLE; i++) {
        uint8_t pixels[PIXELS], label;
        pr_digits_render(5, i, pixels, &label);
        int left = SIDE, right = -1, top = SIDE, bottom = -1;
        double mass = 0, moment_x = 0, moment_y = 0;
        for (int y = 0; y < SIDE; y++)
            for (int x = 0; x < SIDE; x++) {
                int ink = pixels[y * SIDE + x];
                mass += ink;
                moment_x += ink * x;
                moment_y += ink * y;
                if (ink < 128)
                    continue;
                left = x < left ? x : left;
                right = x > right ? x : right;
                top = y < top ? y : top;
                bottom = y > bottom ? y : bottom;
            }
        assert_true(mass > 0);
        int width = right - left + 1, height = bottom - top + 1;
        assert_in_range(width > height ? width : height, 17, 21);
        assert_true(fabs(moment_x / mass - 14) <= 1 && fabs(moment_y / mass - 14) <= 1);
    }
}

/* MNIST's training set: mean 33.3, standard deviation 78.6. */
static void test_greys_like_mnist(void **state)
{
    (void)state;
    double sum = 0, squares = 0;
    for (uint64_t i = 0; i < SAMPLE; i++) {
        uint8_t pixels[PIXELS], label;
        pr_digits_render(9, i, pixels, &label);
        for (int p = 0; p < PIXELS; p++) {
            sum += pixels[p];
            squares += (double)pixels[p] * pixels[p];
        }
    }
    double mean = sum / (SAMPLE * PIXELS), deviation = sqrt(squares / (SAMPLE * PIXELS) - mean * mean);
    assert_true(fabs(mean - 33.3) < 2);
    assert_true(fabs(deviation - 78.6) < 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes_are_pinned),
        cmocka_unit_test(test_pure_in_seed_and_index),
        cmocka_unit_test(test_far_indices_and_seeds),
        cmocka_unit_test(test_classes_are_balanced_and_shuffled),
        cmocka_unit_test(test_framed_like_mnist),
        cmocka_unit_test(test_greys_like_mnist),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
