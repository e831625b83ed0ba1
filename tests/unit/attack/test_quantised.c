/* Networks in 8 bits (tests/golden/onnx/qdq.py): the derivative goes straight through the rounding, so an attack with
 * gradients gets further than noise of the same size, also against the network exported and read again. */
#include "../../attack/support.h"

#include "base/rng.h"

enum { IMAGES = 64, ROW = 3 * 16 * 16, CLASSES = 5 };

/* Weights are random: attention looks at positions more than at pixels, so that it takes larger steps to move it, and
 * the scores of the last network lie too far apart for those too: there the loss alone shows the attack. */
static const struct {
    const char *name;
    double eps;
    bool fooled;
} networks[] = {
    {"qdq_cnn", 8.0 / 255, true},
    {"qdq_cnn_channels", 8.0 / 255, true},
    {"qdq_attention", 64.0 / 255, true},
    {"qdq_attention_channels", 64.0 / 255, false},
};

/* Images of random pixels, labelled as the network calls them. */
static parry_dataset *make_called(parry_ctx *ctx, const parry_model *model)
{
    static float images[IMAGES * ROW];
    float logits[IMAGES * CLASSES];
    int32_t labels[IMAGES];
    parry_dataset *data;
    pr_rng rng = pr_rng_init(31, PR_STREAM_TEST, 0);
    for (int i = 0; i < IMAGES * ROW; i++)
        images[i] = pr_rng_unit(&rng);
    OK_IN(ctx, parry_model_logits(ctx, model, images, IMAGES, logits));
    for (int i = 0; i < IMAGES; i++)
        labels[i] = (int32_t)pr_argmax(logits + i * CLASSES, CLASSES);
    OK_IN(ctx, parry_dataset_create(ctx, images, labels, IMAGES, 3, 16, 16, CLASSES, &data));
    return data;
}

/* Mean cross-entropy and accuracy of the images, every pixel moved by `reach` up or down at random. */
static void under_noise(parry_ctx *ctx, const parry_model *model, const parry_dataset *data, float reach, double *loss,
                        double *accuracy)
{
    static float images[IMAGES * ROW];
    float logits[IMAGES * CLASSES];
    const int32_t *labels = parry_dataset_labels(data);
    pr_rng rng = pr_rng_init(32, PR_STREAM_TEST, 0);
    *loss = *accuracy = 0;
    assert_int_equal(parry_dataset_images(ctx, data, 0, IMAGES, images), PARRY_OK);
    for (int i = 0; i < IMAGES * ROW; i++)
        images[i] = fminf(fmaxf(images[i] + (pr_rng_unit(&rng) < 0.5f ? -reach : reach), 0), 1);
    OK_IN(ctx, parry_model_logits(ctx, model, images, IMAGES, logits));
    for (int i = 0; i < IMAGES; i++) {
        const float *row = logits + i * CLASSES;
        double sum = 0;
        for (int k = 0; k < CLASSES; k++)
            sum += exp((double)row[k] - row[labels[i]]);
        *loss += log(sum) / IMAGES;
        *accuracy += pr_argmax(row, CLASSES) == labels[i] ? 1.0 / IMAGES : 0;
    }
}

static void test_gradients_fool_quantised_networks(void **state)
{
    (void)state;
    parry_ctx *ctx = make_ctx(1, 3);
    for (size_t n = 0; n < PR_COUNT(networks); n++) {
        const char *name = networks[n].name;
        const parry_threat threat = {.eps = networks[n].eps, .clip = true};
        char path[1024], exported[64];
        parry_model *model, *back;
        double clean_loss, clean, noise_loss, noise;
        snprintf(path, sizeof path, "%s/onnx/%s.onnx", getenv("PARRY_TEST_DATA"), name);
        snprintf(exported, sizeof exported, "%s_exported.onnx", name);
        OK_IN(ctx, parry_model_load(ctx, path, NULL, &model));
        OK_IN(ctx, parry_model_save(ctx, model, exported));
        OK_IN(ctx, parry_model_load(ctx, exported, NULL, &back));
        assert_int_equal(remove(exported), 0);
        parry_dataset *data = make_called(ctx, model);
        under_noise(ctx, model, data, 0, &clean_loss, &clean);
        under_noise(ctx, model, data, (float)threat.eps, &noise_loss, &noise);
        parry_attack_result a = run_attack(ctx, "pgd:steps=20", threat, model, data),
                            b = run_attack(ctx, "pgd:steps=20", threat, back, data);
        print_message("%s: accuracy %.3f, %.3f under noise, %.3f under PGD; loss %.3f, %.3f, %.3f\n", name, clean,
                      noise, a.robust_acc, clean_loss, noise_loss, a.adv_loss);
        assert_true(clean == 1 && a.clean_acc == 1);
        assert_true(!networks[n].fooled || a.robust_acc < noise / 2);
        assert_true(a.adv_loss > clean_loss && a.adv_loss - clean_loss > 5 * fabs(noise_loss - clean_loss));
        assert_memory_equal(a.adversaries, b.adversaries, sizeof(float) * IMAGES * ROW);
        assert_memory_equal(a.logits, b.logits, sizeof(float) * IMAGES * CLASSES);
        parry_attack_result_clear(&a);
        parry_attack_result_clear(&b);
        parry_dataset_free(data);
        parry_model_free(model);
        parry_model_free(back);
    }
    parry_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_gradients_fool_quantised_networks)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
