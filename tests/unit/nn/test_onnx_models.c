/* Networks of other frameworks, read and run by the reference backend: their logits are those that an independent ONNX runtime computed for the
 * same input (the test_data_set_0 folders beside the models). Which files parry can read so far is a table. */
#include <setjmp.h>
#include <stdarg.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/file.h"
#include "nn/nn.h"
#include "onnx/onnx.h"

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
    {"models/cifar10/cifar10_resnet20_akamaster", "Slice ('/1/layer2/layer2.0/Slice', '/1/layer2/layer2.0/Slice_1', '/1/layer3/layer3.0/Slice' and 1 more)"},
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

/* ---- a reader of just enough of TensorProto ---------------------------------------------------------------------------- */

static uint64_t varint(const uint8_t **at)
{
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
        const uint8_t byte = *(*at)++;
        value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            return value;
    }
}

typedef struct floats {
    uint8_t *file;
    const float *data;
    int64_t count, batch;
} floats;

static floats read_floats(parry_ctx *ctx, const char *path)
{
    floats out = {.batch = 0};
    size_t size;
    assert_int_equal(pr_file_read(ctx, path, 1 << 26, &out.file, &size), PARRY_OK);
    for (const uint8_t *at = out.file, *end = at + size; at < end;) {
        const uint64_t key = varint(&at), field = key >> 3;
        if ((key & 7) == 0) {
            const uint64_t value = varint(&at);
            if (field == 1 && !out.batch)
                out.batch = (int64_t)value;
            continue;
        }
        assert_int_equal(key & 7, 2);
        const uint64_t length = varint(&at);
        if (field == 1 && !out.batch)                /* packed sizes */
            out.batch = at[0];
        if (field == 9 || field == 4) {              /* raw bytes or packed floats: moved to where floats may lie */
            memmove(out.file, at, length);
            out.data = (const float *)(const void *)out.file;
            out.count = (int64_t)(length / sizeof(float));
            return out;
        }
        at += length;
    }
    fail_msg("%s holds no floats", path);
    return out;
}

static void *test_path(char *out, size_t size, const char *model, const char *rest)
{
    snprintf(out, size, "%s/%s%s", getenv("PARRY_DATA"), model, rest);
    return out;
}

/* ---- the tests --------------------------------------------------------------------------------------------------------- */

static void softmax_rows(pr_op tail, float *rows, int64_t n, int64_t k)
{
    for (int64_t r = 0; r < n; r++) {
        double sum = 0;
        for (int64_t i = 0; i < k; i++)
            sum += exp(rows[r * k + i]);
        for (int64_t i = 0; i < k; i++)
            rows[r * k + i] = (float)(tail == PR_OP_SOFTMAX ? exp(rows[r * k + i]) / sum : rows[r * k + i] - log(sum));
    }
}

static void assert_logits(parry_ctx *ctx, const pr_onnx_model *model, const char *name)
{
    char path[4096];
    floats x = read_floats(ctx, test_path(path, sizeof path, name, ".test_data_set_0/input_0.pb"));
    floats y = read_floats(ctx, test_path(path, sizeof path, name, ".test_data_set_0/output_0.pb"));
    const pr_graph *graph = model->graph;
    const int64_t row = pr_dims_row(graph->values[graph->input].dims), classes = pr_dims_row(graph->values[graph->logits].dims);
    const int64_t n = x.count / row;
    assert_int_equal(n * row, x.count);
    assert_int_equal(n * classes, y.count);
    float *logits = calloc((size_t)y.count, sizeof *logits), largest = 1;
    assert_int_equal(pr_ref_run(ctx, graph, model->weights, n, &(pr_ref_feed){graph->input, x.data}, 1, &graph->logits, 1, &logits, 0, 0),
                     PARRY_OK);
    for (int64_t i = 0; i < y.count; i++)
        largest = fmaxf(largest, fabsf(logits[i]));
    if (model->tail != PR_OP_IDENTITY)
        softmax_rows(model->tail, logits, n, classes);
    for (int64_t i = 0; i < y.count; i++)
        if (!(fabsf(logits[i] - y.data[i]) <= 1e-4f * largest))
            fail_msg("%s: output %lld is %.9g, expected %.9g", name, (long long)i, (double)logits[i], (double)y.data[i]);
    free(logits);
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
        char path[4096];
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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(networks_of_others_have_the_same_logits)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
