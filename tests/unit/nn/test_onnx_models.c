/* Networks of other frameworks, read and run by the reference backend: their logits are those that an independent ONNX
 * runtime computed for the same input (the test_data_set_0 folders beside the models). Which files parry can read so
 * far is a table. */
#include "engine/engine.h"
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
            check_says(ctx, models[m].missing);
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

enum { GRADIENTS = 16 }; /* golden files that have one */

/* The gradient by the input of <cotangent, output>, where the file has PyTorch's: in plans of both backends. */
static void assert_gradient(parry_ctx *ctx, const char *name, const pr_onnx_model *model, void *arg)
{
    int64_t inputs, outputs, count;
    if (!pr_onnx_meta_get(model, "test.gradient"))
        return;
    ++*(int *)arg;
    float *x = meta_numbers(model, "test.input", &inputs), *seed = meta_numbers(model, "test.cotangent", &outputs);
    float *expected = meta_numbers(model, "test.gradient", &count);
    float *dx = calloc((size_t)inputs, sizeof *dx), *y = calloc((size_t)outputs, sizeof *y);
    const int n = (int)(inputs / input_row(model));
    for (int b = 0; b < 2; b++) {
        const pr_plan_options options = {.backend = b ? PR_BACKEND_REFERENCE : PR_BACKEND_AUTO, .micro_batch = n};
        pr_plan *plan;
        pr_workspace *workspace;
        double apart = 0, length = 0;
        if (pr_plan_create(ctx, model->graph, model->weights, PR_INPUT_GRADIENT, &options, &plan) != PARRY_OK)
            fail_msg("%s: %s", name, parry_ctx_error(ctx));
        assert_int_equal(pr_workspace_create(ctx, plan, &workspace), PARRY_OK);
        assert_int_equal(pr_plan_forward(ctx, plan, workspace, x, n, y), PARRY_OK);
        assert_int_equal(pr_plan_backward(ctx, plan, workspace, seed, n, dx), PARRY_OK);
        for (int64_t i = 0; i < count; i++) {
            apart += (dx[i] - expected[i]) * (dx[i] - expected[i]);
            length += expected[i] * expected[i];
        }
        if (!(apart <= 1e-8 * length))
            fail_msg("%s: the gradient is %g of its length away from PyTorch's", name, sqrt(apart / length));
        pr_workspace_free(workspace);
        pr_plan_free(plan);
    }
    free(x);
    free(seed);
    free(expected);
    free(dx);
    free(y);
}

/* What is exported is read as a network with the same output and gradient. */
static void assert_exported(parry_ctx *ctx, const char *name, const pr_onnx_model *model, void *arg)
{
    static const char path[] = "onnx-models-exported.onnx";
    pr_onnx_model back;
    if (pr_onnx_write(ctx, path, model) != PARRY_OK || pr_onnx_read(ctx, path, &back) != PARRY_OK)
        fail_msg("%s: %s", name, parry_ctx_error(ctx));
    assert_int_equal(remove(path), 0);
    assert_golden(ctx, name, &back, NULL);
    assert_gradient(ctx, name, &back, arg);
    pr_onnx_clear(&back);
}

/* Blocks of today's architectures and networks in 8 bits (tests/golden/onnx/blocks.py, qdq.py). */
static void gradients_agree_with_pytorch(void **state)
{
    (void)state;
    parry_ctx *ctx;
    int files = 0;
    assert_int_equal(parry_ctx_create(NULL, &ctx), PARRY_OK);
    for_each_golden(ctx, assert_gradient, &files);
    assert_int_equal(files, GRADIENTS);
    parry_ctx_free(ctx);
}

static void exports_agree_too(void **state)
{
    (void)state;
    parry_ctx *ctx;
    int files = 0;
    assert_int_equal(parry_ctx_create(NULL, &ctx), PARRY_OK);
    for_each_golden(ctx, assert_exported, &files);
    assert_int_equal(files, GRADIENTS);
    parry_ctx_free(ctx);
}

/* The labels of scikit-learn's classifiers, in its order: that of the alphabet, or of numbers; and probabilities are
 * taken off. */
static void labels_are_names(void **state)
{
    (void)state;
    static const struct {
        const char *file, *names[5];
    } files[] = {
        {"classic_names", {"one", "three", "two", "zero"}}, {"classic_numbers", {"5", "15", "25"}},
        {"classic_rest", {"one", "three", "two", "zero"}},  {"classic_rest_binary", {"one", "zero"}},
        {"classic_bayes", {"one", "three", "two", "zero"}},
        {"classic_layers", {"5", "15", "25"}},              {"classic_layers_binary", {"one", "zero"}},
        {"classic_score_binary", {"one", "zero"}},          {"classic_multinomial", {NULL}},
        {"classic_binary_zipmap", {NULL}},
    };
    parry_ctx *ctx;
    assert_int_equal(parry_ctx_create(NULL, &ctx), PARRY_OK);
    for (size_t f = 0; f < PR_COUNT(files); f++) {
        char path[PATH_SIZE];
        pr_onnx_model model;
        size_t count = 0;
        snprintf(path, sizeof path, "%s/onnx/%s.onnx", getenv("PARRY_TEST_DATA"), files[f].file);
        if (pr_onnx_read(ctx, path, &model) != PARRY_OK)
            fail_msg("%s", parry_ctx_error(ctx));
        for (; files[f].names[count]; count++) {
            assert_true(count < model.class_count);
            assert_string_equal(model.class_names[count], files[f].names[count]);
        }
        assert_int_equal(model.class_count, count);
        assert_int_equal(model.tail, strstr(files[f].file, "score") ? PR_OP_IDENTITY : PR_OP_SOFTMAX);
        pr_onnx_clear(&model);
    }
    parry_ctx_free(ctx);
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
        cmocka_unit_test(gradients_agree_with_pytorch),
        cmocka_unit_test(exports_agree_too),
        cmocka_unit_test(labels_are_names),
        cmocka_unit_test(networks_of_others_have_the_same_logits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
