/* Attacks that search in bf16: what counts is what f32 says. */
#include "../../attack/support.h"

#include "tensor/tensor.h"

enum { PAIRS = 24, HALVINGS = 40 };

/* One thread and no bf16: skips. */
static parry_ctx *bf16_ctx(int threads)
{
    parry_ctx *ctx = make_ctx(threads, 3);
    if (parry_precision_check(ctx, PARRY_BF16) == PARRY_OK)
        return ctx;
    print_message("%s\n", parry_ctx_error(ctx));
    parry_ctx_free(ctx);
    skip();
    return NULL;
}

static parry_model *make_network(parry_ctx *ctx)
{
    parry_model *model;
    assert_int_equal(parry_model_build(ctx, "simplecnn", 1, 28, 28, 10, &model), PARRY_OK);
    return model;
}

static int called(parry_ctx *ctx, const parry_model *model, const float *x)
{
    float logits[10];
    assert_int_equal(parry_model_logits(ctx, model, x, 1, logits), PARRY_OK);
    return (int)pr_argmax(logits, 10);
}

static void blend(const float *a, const float *b, float share, float *x, int64_t row)
{
    for (int64_t k = 0; k < row; k++)
        x[k] = a[k] + share * (b[k] - a[k]);
}

/* Images on the brink: between two that f32 tells apart, as near the boundary as floats come, labelled as f32 calls
 * them. */
static parry_dataset *make_brink(parry_ctx *ctx, const parry_model *model)
{
    const int64_t row = pr_model_row(model);
    float *images = calloc((size_t)(PAIRS * row), sizeof *images), *ends = calloc((size_t)(2 * row), sizeof *ends);
    int32_t labels[PAIRS];
    parry_dataset *data;
    for (int i = 0; i < PAIRS; i++) {
        float *x = images + i * row, low = 0, high = 1;
        pr_rng rng = pr_rng_init(9, PR_STREAM_TEST, (uint64_t)i);
        do {
            for (int64_t k = 0; k < 2 * row; k++)
                ends[k] = pr_rng_unit(&rng) < 0.5f ? 0 : 1;
        } while (called(ctx, model, ends) == called(ctx, model, ends + row));
        labels[i] = called(ctx, model, ends);
        for (int step = 0; step < HALVINGS; step++) {
            const float middle = low + (high - low) / 2;
            blend(ends, ends + row, middle, x, row);
            *(called(ctx, model, x) == labels[i] ? &low : &high) = middle;
        }
        blend(ends, ends + row, low, x, row);
        assert_int_equal(called(ctx, model, x), labels[i]);
    }
    assert_int_equal(parry_dataset_create(ctx, images, labels, PAIRS, 1, 28, 28, 10, &data), PARRY_OK);
    free(images);
    free(ends);
    return data;
}

/* How many images a session of bf16 gets wrong. */
static int wrong_in_bf16(parry_ctx *ctx, const parry_model *model, const parry_dataset *data)
{
    pr_session *session;
    static float images[PAIRS * 784];
    float logits[PAIRS * 10];
    int wrong = 0;
    assert_int_equal(parry_dataset_images(ctx, data, 0, PAIRS, images), PARRY_OK);
    assert_int_equal(pr_session_create(ctx, model, true, PARRY_BF16, PAIRS, &session), PARRY_OK);
    assert_int_equal(pr_session_logits(ctx, session, images, PAIRS, logits), PARRY_OK);
    pr_session_free(session);
    for (int i = 0; i < PAIRS; i++)
        wrong += pr_argmax(logits + i * 10, 10) != parry_dataset_labels(data)[i];
    return wrong;
}

/* bf16 gets images on the brink wrong that f32 gets right. With no room to move nothing may be called fooled. */
static void test_f32_judges(void **state)
{
    (void)state;
    static const char *const specs[] = {"pgd:steps=4:restarts=2", "pgd:steps=4:stop-when-fooled=false", "fgsm"};
    parry_ctx *ctx = bf16_ctx(1);
    parry_model *model = make_network(ctx);
    parry_dataset *data = make_brink(ctx, model);
    assert_true(wrong_in_bf16(ctx, model, data) > 0);
    for (size_t s = 0; s < PR_COUNT(specs); s++) {
        parry_attack_result r =
            run_attack(ctx, specs[s], (parry_threat){.clip = true, .precision = PARRY_BF16}, model, data);
        assert_true(r.robust_acc == 1 && r.success_rate == 0);
        for (int i = 0; i < PAIRS; i++)
            assert_true(!r.fooled[i] && !r.met[i]);
        assert_memory_equal(r.adversaries, r.originals, sizeof(float) * PAIRS * 784);
        parry_attack_result_clear(&r);
    }
    release(ctx, model, data);
}

/* The logits that are reported are those of f32, and the search does fool. */
static void test_reports_f32(void **state)
{
    (void)state;
    parry_ctx *ctx = bf16_ctx(1);
    parry_model *model = make_network(ctx);
    parry_dataset *data = make_images(ctx, model, 64);
    const parry_threat f32 = {.eps = 0.02, .clip = true}, bf16 = {.eps = 0.02, .clip = true, .precision = PARRY_BF16};
    parry_attack_result a = run_attack(ctx, "pgd:steps=10", f32, model, data),
                        b = run_attack(ctx, "pgd:steps=10", bf16, model, data);
    float logits[64 * 10];
    assert_int_equal(parry_model_logits(ctx, model, b.adversaries, 64, logits), PARRY_OK);
    assert_memory_equal(b.logits, logits, sizeof logits);
    for (int i = 0; i < 64; i++)
        assert_true(b.fooled[i] == (pr_argmax(logits + i * 10, 10) != b.labels[i]));
    assert_true(b.robust_acc < b.clean_acc && a.clean_acc == b.clean_acc);
    assert_true(memcmp(a.adversaries, b.adversaries, sizeof(float) * 64 * 784) != 0); /* it did search in bf16 */
    parry_attack_result_clear(&a);
    parry_attack_result_clear(&b);
    release(ctx, model, data);
}

/* Every evaluation is counted, those that judge along the way too: per image and restart, for each step one pass and
 * one gradient, then the last iterate and the one that seemed worst; before all of it the image itself. */
static void test_queries(void **state)
{
    (void)state;
    parry_ctx *ctx = bf16_ctx(1);
    parry_model *model = make_network(ctx);
    parry_dataset *data = make_images(ctx, model, 40);
    const parry_threat threat = {.eps = 0.01, .clip = true, .precision = PARRY_BF16};
    parry_attack_result r = run_attack(ctx, "pgd:steps=5:restarts=3:stop-when-fooled=false", threat, model, data);
    assert_int_equal(r.forward_queries, 40 * (1 + 3 * (5 + 2)));
    assert_int_equal(r.gradient_queries, 40 * 3 * 5);
    parry_attack_result_clear(&r);
    release(ctx, model, data);
}

/* The same bytes on any number of threads and for any number of images. */
static void test_bits(void **state)
{
    (void)state;
    static float first[70 * 784];
    for (int threads = 1; threads <= 3; threads += 2) {
        parry_ctx *ctx = bf16_ctx(threads);
        parry_model *model = make_network(ctx);
        parry_dataset *data = make_images(ctx, model, threads == 1 ? 70 : 23);
        const parry_threat threat = {.eps = 0.05, .clip = true, .precision = PARRY_BF16};
        parry_attack_result r = run_attack(ctx, "pgd:steps=6:restarts=2", threat, model, data);
        if (threads == 1)
            memcpy(first, r.adversaries, sizeof first);
        assert_memory_equal(r.adversaries, first, sizeof(float) * (size_t)r.count * 784);
        parry_attack_result_clear(&r);
        release(ctx, model, data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_f32_judges), cmocka_unit_test(test_reports_f32),
                                       cmocka_unit_test(test_queries), cmocka_unit_test(test_bits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
