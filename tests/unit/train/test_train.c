/* Plain training: it learns, it follows its schedule, it notices when it diverges, it writes down what it did. */
#include "support.h"

enum { SCORED = 300 };

/* Batch norm's running statistics need some hundred steps to arrive, hence the many small batches. */
static void learns_to_the_last_image(void **state)
{
    (void)state;
    static const struct {
        int optimiser;
        double lr;
        int64_t epochs;
    } cases[] = {{0, 1e-3, 24}, {1, 1e-2, 8}};
    for (size_t i = 0; i < PR_COUNT(cases); i++) {
        parry_ctx *ctx = make_ctx(1, 2, NULL);
        parry_dataset *data = make_data(ctx, 120, 1), *test = make_data(ctx, 60, 2);
        parry_model *model = make_model(ctx);
        parry_train_settings settings = make_settings(cases[i].epochs, 8, cases[i].lr);
        size_t last = (size_t)cases[i].epochs - 1;
        double accuracy, loss;
        settings.optimiser = cases[i].optimiser;
        OK_IN(ctx, parry_train(ctx, model, data, test, &settings));
        OK_IN(ctx, parry_model_accuracy(ctx, model, test, &accuracy, &loss));
        assert_float_equal(accuracy, 1, 0);
        assert_true(curve_value(ctx, model, last, "train_loss") < 0.5 * curve_value(ctx, model, 0, "train_loss"));
        assert_float_equal(curve_value(ctx, model, last, "test_acc"), accuracy, 0);
        assert_float_equal(curve_value(ctx, model, last, "test_loss"), loss, 1e-5 + 1e-5 * loss);
        parry_model_free(model);
        parry_dataset_free(data);
        parry_dataset_free(test);
        parry_ctx_free(ctx);
    }
}

static double accuracy_of(int precision, uint64_t seed)
{
    parry_ctx *ctx = make_ctx(seed, 2, NULL);
    parry_dataset *data = make_data(ctx, 120, 10 * seed), *test = make_data(ctx, SCORED, 10 * seed + 1);
    parry_model *model = make_model(ctx);
    parry_train_settings settings = make_settings(24, 8, 1e-3);
    double accuracy, loss;
    settings.precision = precision;
    OK_IN(ctx, parry_train(ctx, model, data, NULL, &settings));
    OK_IN(ctx, parry_model_accuracy(ctx, model, test, &accuracy, &loss));
    assert_non_null(strstr(parry_model_describe(model)->history, precision ? "\"bf16\"" : "\"f32\""));
    parry_model_free(model);
    parry_dataset_free(data);
    parry_dataset_free(test);
    parry_ctx_free(ctx);
    return accuracy;
}

/* Over five seeds f32 came to between 99.67 and 100 % here, bf16 to 100 %: the bound is three times that spread. */
static void bf16_learns_as_f32_does(void **state)
{
    (void)state;
    need_bf16();
    for (uint64_t seed = 1; seed <= 3; seed++)
        assert_float_equal(accuracy_of(PARRY_BF16, seed), accuracy_of(PARRY_F32, seed), 0.01);
}

static void follows_its_schedule(void **state)
{
    (void)state;
    static const double expected[4][2] = {{1e-3, 1e-3}, {1e-3, 1e-4}, {1e-3, 5e-4}, {1e-3, 5e-4}};
    parry_ctx *ctx = make_ctx(1, 1, NULL);
    parry_dataset *data = make_data(ctx, 40, 1);
    for (int schedule = 0; schedule < 4; schedule++) {
        parry_model *model = make_model(ctx);
        parry_train_settings settings = make_settings(2, 20, 1e-3);
        settings.schedule = schedule;
        OK_IN(ctx, parry_train(ctx, model, data, NULL, &settings));
        for (size_t epoch = 0; epoch < 2; epoch++)
            assert_float_equal(curve_value(ctx, model, epoch, "lr"), expected[schedule][epoch], 1e-8);
        parry_model_free(model);
    }
    parry_dataset_free(data);
    parry_ctx_free(ctx);
}

static void weight_decay_shrinks_kernels(void **state)
{
    (void)state;
    double size[2];
    parry_ctx *ctx = make_ctx(1, 1, NULL);
    parry_dataset *data = make_data(ctx, 60, 1);
    for (int decays = 0; decays < 2; decays++) {
        parry_model *model = make_model(ctx);
        parry_train_settings settings = make_settings(3, 20, 1e-2);
        settings.optimiser = 1;
        settings.weight_decay = decays ? 1 : 0;
        OK_IN(ctx, parry_train(ctx, model, data, NULL, &settings));
        const pr_weights *weights = weights_of(ctx, model);
        size[decays] = 0;
        for (size_t i = 0; i < weights->count; i++)
            if (weights->items[i].role == PR_WEIGHT_KERNEL)
                size[decays] += pr_sum_squares(weights->items[i].data, weights->items[i].count);
        parry_model_free(model);
    }
    assert_true(size[1] < 0.9 * size[0]);
    parry_dataset_free(data);
    parry_ctx_free(ctx);
}

static void divergence_is_named_and_undone(void **state)
{
    (void)state;
    parry_ctx *ctx = make_ctx(1, 2, NULL);
    parry_dataset *data = make_data(ctx, 60, 1);
    parry_model *model = make_model(ctx);
    parry_train_settings settings = make_settings(2, 20, 1e30);
    char before[PR_SHA256_HEX], after[PR_SHA256_HEX];
    settings.optimiser = 1;
    model_digest(ctx, model, before);
    assert_int_equal(parry_train(ctx, model, data, NULL, &settings), PARRY_NUMERIC);
    assert_non_null(strstr(parry_ctx_error(ctx), "epoch 1, step"));
    model_digest(ctx, model, after);
    assert_string_equal(before, after);
    parry_model_free(model);
    parry_dataset_free(data);
    parry_ctx_free(ctx);
}

static void bad_requests_are_refused(void **state)
{
    (void)state;
    parry_ctx *ctx = make_ctx(1, 1, NULL);
    parry_dataset *data = make_data(ctx, 30, 1), *wide;
    parry_model *model = make_model(ctx);
    parry_train_settings settings;
    float pixels[2 * 10] = {0};
    int32_t labels[2] = {0, 1};
    OK_IN(ctx, parry_dataset_create(ctx, pixels, labels, 2, 1, 2, 5, 2, &wide));
    const struct {
        parry_train_settings settings;
        const parry_dataset *data;
        parry_status status;
        const char *names;
    } cases[] = {
        {make_settings(0, 8, 1e-3), data, PARRY_INVALID, "--epochs"},
        {make_settings(1, 0, 1e-3), data, PARRY_INVALID, "--batch"},
        {make_settings(1, 8, -1), data, PARRY_INVALID, "--lr"},
        {make_settings(1, 8, (double)NAN), data, PARRY_INVALID, "--lr"},
        {{.epochs = 1, .batch = 8, .lr = 1e-3, .schedule = 9}, data, PARRY_INVALID, "--schedule"},
        {{.epochs = 1, .batch = 8, .lr = 1e-3, .resume = true}, data, PARRY_INVALID, "--checkpoint"},
        {{.epochs = 1, .batch = 8, .lr = 1e-3, .checkpoint = "/nonexistent/x"}, data, PARRY_IO, "/nonexistent/x"},
        {make_settings(1, 8, 1e-3), wide, PARRY_MISMATCH, "1 x 2 x 5"},
    };
    for (size_t i = 0; i < PR_COUNT(cases); i++) {
        settings = cases[i].settings;
        assert_int_equal(parry_train(ctx, model, cases[i].data, NULL, &settings), cases[i].status);
        assert_non_null(strstr(parry_ctx_error(ctx), cases[i].names));
    }
    parry_model_free(model);
    parry_dataset_free(data);
    parry_dataset_free(wide);
    parry_ctx_free(ctx);
}

static void history_tells_the_lineage(void **state)
{
    (void)state;
    parry_ctx *ctx = make_ctx(7, 2, NULL);
    parry_dataset *data = make_data(ctx, 30, 1);
    parry_model *model = make_model(ctx);
    parry_train_settings settings = make_settings(2, 10, 1e-3);
    json_t *history;
    OK_IN(ctx, parry_train(ctx, model, data, NULL, &settings));
    settings.epochs = 1;
    OK_IN(ctx, parry_train(ctx, model, data, data, &settings));
    OK_IN(ctx, pr_json_parse(ctx, "history", parry_model_describe(model)->history, &history));
    const json_t *stages = json_object_get(history, "stages"), *first = json_array_get(stages, 0);
    assert_int_equal(json_array_size(stages), 2);
    assert_int_equal(json_integer_value(json_object_get(first, "seed")), 7);
    assert_int_equal(json_array_size(json_object_get(first, "curve")), 2);
    assert_null(json_object_get(json_array_get(json_object_get(first, "curve"), 0), "test_acc"));
    assert_string_equal(json_string_value(json_object_get(json_object_get(first, "data"), "sha256")),
                        parry_dataset_describe(data)->sha256);
    const json_t *second = json_array_get(stages, 1), *curve = json_object_get(second, "curve");
    assert_string_not_equal(json_string_value(json_object_get(first, "from_weights")),
                            json_string_value(json_object_get(second, "from_weights")));
    assert_true(json_is_real(json_object_get(json_array_get(curve, 0), "test_acc")));
    json_decref(history);
    parry_model_free(model);
    parry_dataset_free(data);
    parry_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(learns_to_the_last_image),       cmocka_unit_test(bf16_learns_as_f32_does),
        cmocka_unit_test(follows_its_schedule),           cmocka_unit_test(weight_decay_shrinks_kernels),
        cmocka_unit_test(divergence_is_named_and_undone), cmocka_unit_test(bad_requests_are_refused),
        cmocka_unit_test(history_tells_the_lineage),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
