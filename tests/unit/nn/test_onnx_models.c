/* Networks of other frameworks, read and run by the reference backend: their logits are those that an independent ONNX
 * runtime computed for the same input (the test_data_set_0 folders beside the models). Which files parry can read so
 * far is a table. */
#include "onnx_files.h"

/* A file below $PARRY_DATA without its ".onnx"; what the error names where parry cannot read it yet. */
static const struct {
    const char *path, *missing;
} models[] = {
    {"models/mnist/mnist_a_adv_sdp", NULL},
    {"models/mnist/mnist_cnn_small_lirpa", NULL},
    {"models/mnist/mnist_fc_3layer_lirpa", NULL},
    {"models/mnist/mnist_lenet5_clean_advertorch", NULL},
    {"models/mnist/mnist_mlp_advertorch", NULL},
    {"models/mnist/mnist_pgd_madry_wong", NULL},
    {"models/cifar10/cifar10_2c2f_lirpa", NULL},
    {"models/cifar10/cifar10_cnn_a_adv_sdp", NULL},
    {"models/cifar10/cifar10_resnet20_akamaster", NULL},
    {"models/cifar10/cifar10_resnet8_mlperf_tiny", NULL},
    {"models/third-party-onnx/keras_cnn_maxpool2", NULL},
    {"models/third-party-onnx/mlp_sigmoid_robust", NULL},
    {"models/third-party-onnx/mlp_softmax_last", NULL},
    {"models/third-party-onnx/torch_cnn_dynamic_reshape", NULL},
    {"vnncomp/onnx/Convnet_maxpool", NULL},
    {"vnncomp/onnx/cifar10_small", NULL},
    {"vnncomp/onnx/cifar_base_kw", NULL},
    {"vnncomp/onnx/cifar_bias_field_0", NULL},
    {"vnncomp/onnx/mnist-net_256x2", NULL},
    {"vnncomp/onnx/mnist-net_256x6", NULL},
    {"vnncomp/onnx/mnist_relu_9_200", NULL},
    {"vnncomp/onnx/resnet_2b", NULL},
};

/* ---- the tests -------------------------------------------------------------------------------------------------- */

static void assert_results(parry_ctx *ctx, const pr_onnx_model *model, const char *name, const float *x, int64_t inputs,
                           const float *expected, int64_t outputs)
{
    const int64_t n = inputs / input_row(model);
    float largest;
    assert_int_equal(n * input_row(model), inputs);
    assert_int_equal(n * class_count(model), outputs);
    float *found = run_oracle(ctx, model, x, n, &largest);
    for (int64_t i = 0; i < outputs; i++)
        if (!(fabsf(found[i] - expected[i]) <= 1e-4f * largest))
            fail_msg("%s: output %lld is %.9g, expected %.9g", name, (long long)i, (double)found[i],
                     (double)expected[i]);
    free(found);
}

static void assert_logits(parry_ctx *ctx, const pr_onnx_model *model, const char *name)
{
    char path[PATH_SIZE];
    floats x = read_floats(ctx, test_path(path, sizeof path, name, ".test_data_set_0/input_0.pb"));
    floats y = read_floats(ctx, test_path(path, sizeof path, name, ".test_data_set_0/output_0.pb"));
    assert_results(ctx, model, name, x.data, x.count, y.data, y.count);
    pr_free(x.file);
    pr_free(y.file);
}

static void networks_of_others_have_the_same_logits(void **state)
{
    (void)state;
    if (!getenv("PARRY_DATA")) {
        print_message("PARRY_DATA is not set: nothing to read\n");
        skip();
    }
    parry_ctx *ctx;
    assert_int_equal(parry_ctx_create(NULL, &ctx), PARRY_OK);
    for (size_t m = 0; m < PR_COUNT(models); m++) {
        char path[PATH_SIZE];
        pr_onnx_model model;
        test_path(path, sizeof path, models[m].path, ".onnx");
        const parry_status status = pr_onnx_read(ctx, path, &model);
        if (models[m].missing) {
            assert_int_equal(status, PARRY_UNSUPPORTED);
            if (!strstr(parry_ctx_error(ctx), models[m].missing))
                fail_msg("%s: %s", models[m].path, parry_ctx_error(ctx));
            continue;
        }
        if (status != PARRY_OK)
            fail_msg("%s: %s", models[m].path, parry_ctx_error(ctx));
        assert_logits(ctx, &model, models[m].path);
        pr_onnx_clear(&model);
    }
    parry_ctx_free(ctx);
}

static void assert_golden(parry_ctx *ctx, const char *name, const pr_onnx_model *model, void *arg)
{
    (void)arg;
    int64_t inputs, outputs;
    float *x = meta_numbers(model, "test.input", &inputs), *y = meta_numbers(model, "test.output", &outputs);
    assert_results(ctx, model, name, x, inputs, y, outputs);
    free(x);
    free(y);
}

/* Small files that carry an input and onnxruntime's output (tests/golden/onnx/make.py): variants of operators, shape
 * arithmetic, element types. */
static void operators_agree_with_onnxruntime(void **state)
{
    (void)state;
    parry_ctx *ctx;
    assert_int_equal(parry_ctx_create(NULL, &ctx), PARRY_OK);
    for_each_golden(ctx, assert_golden, NULL);
    parry_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(operators_agree_with_onnxruntime),
        cmocka_unit_test(networks_of_others_have_the_same_logits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
