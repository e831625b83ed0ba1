/* Models as files: what is written is what is read, bit for bit, and third-party files fit the images they were made
 * for. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rng.h"
#include "model/network.h"
#include "tensor/tensor.h"

enum { SIDE = 8, ROW = SIDE * SIDE, CLASSES = 4, COUNT = 20 };

static parry_ctx *ctx;
static char folder[] = "/tmp/parry-model-XXXXXX", path[64];

static int setup(void **state)
{
    (void)state;
    parry_ctx_options options = {.size = sizeof options, .seed = 9, .threads = 2};
    if (!mkdtemp(folder))
        return -1;
    snprintf(path, sizeof path, "%s/net.onnx", folder);
    return parry_ctx_create(&options, &ctx) == PARRY_OK ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    parry_ctx_free(ctx);
    unlink(path);
    return rmdir(folder);
}

static void fill(float *images, int count)
{
    pr_rng rng = pr_rng_init(1, PR_STREAM_TEST, 0);
    for (int i = 0; i < count; i++)
        images[i] = pr_rng_unit(&rng);
}

static void assert_same_logits(const parry_model *a, const parry_model *b)
{
    static float images[COUNT * ROW], one[COUNT * CLASSES], other[COUNT * CLASSES];
    fill(images, COUNT * ROW);
    assert_int_equal(parry_model_logits(ctx, a, images, COUNT, one), PARRY_OK);
    assert_int_equal(parry_model_logits(ctx, b, images, COUNT, other), PARRY_OK);
    assert_memory_equal(one, other, sizeof one);
}

static void test_saved_and_loaded(void **state)
{
    (void)state;
    parry_model *built, *loaded;
    uint8_t *data;
    size_t size;
    char sha256[PR_SHA256_HEX];
    assert_int_equal(parry_model_build(ctx, "simplecnn", 1, SIDE, SIDE, CLASSES, &built), PARRY_OK);
    assert_int_equal(pr_model_set_history(ctx, built, "{\"stages\": []}"), PARRY_OK);
    assert_int_equal(parry_model_save(ctx, built, path), PARRY_OK);
    if (parry_model_load(ctx, path, NULL, &loaded) != PARRY_OK)
        fail_msg("%s", parry_ctx_error(ctx));
    const parry_model_info *before = parry_model_describe(built), *after = parry_model_describe(loaded);
    assert_string_equal(after->name, "net.onnx");
    assert_string_equal(after->path, path);
    assert_string_equal(after->history, "{\"stages\": []}");
    assert_int_equal(after->parameters, before->parameters);
    assert_int_equal(after->classes, CLASSES);
    assert_true(after->channels == 1 && after->height == SIDE && after->width == SIDE);
    assert_int_equal(pr_file_read(ctx, path, 1 << 26, &data, &size), PARRY_OK);
    pr_sha256(data, size, sha256);
    assert_string_equal(after->sha256, sha256);
    pr_free(data);
    assert_same_logits(built, loaded);

    parry_model *again; /* saving what was loaded changes nothing either, the history's number of copies included */
    assert_int_equal(parry_model_save(ctx, loaded, path), PARRY_OK);
    assert_int_equal(parry_model_load(ctx, path, NULL, &again), PARRY_OK);
    assert_same_logits(built, again);
    assert_string_equal(parry_model_describe(again)->sha256, sha256);
    parry_model_free(built);
    parry_model_free(loaded);
    parry_model_free(again);
}

/* N x SIDE x SIDE x 1 images in [0,255], as a file of another tool declares them. */
static parry_status make_foreign(pr_onnx_model *file)
{
    pr_value in[3], at;
    int32_t w, b;
    const int64_t flat[] = {PR_BATCH, ROW};
    pr_attrs attrs = {.shape.to = pr_dims_make(2, flat)};
    *file = (pr_onnx_model){.tail = PR_OP_SOFTMAX};
    TRY(pr_strdup(ctx, "some tool 1.0", &file->producer));
    TRY(pr_alloc(ctx, 2, &file->meta));
    file->meta_count = 2;
    TRY(pr_strdup(ctx, "parry.preprocess", &file->meta[0].key));
    TRY(pr_strdup(ctx, "{\"range\": 255, \"mean\": 33.3, \"std\": 78.6}", &file->meta[0].value));
    TRY(pr_strdup(ctx, "author", &file->meta[1].key));
    TRY(pr_strdup(ctx, "somebody", &file->meta[1].value));
    TRY(pr_graph_create(ctx, &file->graph));
    TRY(pr_weights_create(ctx, &file->weights));
    TRY(pr_weights_add(ctx, file->weights, "w", PR_WEIGHT_KERNEL, 2, (int64_t[]){CLASSES, ROW}, &w));
    TRY(pr_weights_add(ctx, file->weights, "b", PR_WEIGHT_VECTOR, 1, (int64_t[]){CLASSES}, &b));
    fill(file->weights->items[w].data, CLASSES * ROW);
    TRY(pr_graph_input(ctx, file->graph, "x", pr_dims_make(4, (int64_t[]){PR_BATCH, SIDE, SIDE, 1}), &at));
    file->graph->input = at;
    TRY(pr_graph_node(ctx, file->graph, PR_OP_RESHAPE, "flat", &attrs, &at, 1, &in[0]));
    TRY(pr_graph_weight(ctx, file->graph, file->weights, w, &in[1]));
    TRY(pr_graph_weight(ctx, file->graph, file->weights, b, &in[2]));
    return pr_graph_node(ctx, file->graph, PR_OP_GEMM, "dense", NULL, in, 3, &file->graph->logits);
}

/* What goes out is the declared network: its own input shape, its Softmax, its metadata; not the nodes that fitted it
 * here. */
static void test_a_fitted_model_goes_out_as_it_came(void **state)
{
    (void)state;
    pr_onnx_model file, written;
    pr_network *network;
    parry_model *loaded;
    const parry_dataset_info fit = {.name = "images", .channels = 1, .height = SIDE, .width = SIDE, .classes = CLASSES};
    assert_int_equal(make_foreign(&file), PARRY_OK);
    assert_int_equal(pr_network_create(ctx, "foreign", NULL, &file, NULL, &fit, &network), PARRY_OK);
    assert_true(parry_model_describe(&network->base)->softmax_peeled);
    assert_int_equal(parry_model_describe(&network->base)->parameters, CLASSES * (ROW + 1));
    if (parry_model_save(ctx, &network->base, path) != PARRY_OK)
        fail_msg("%s", parry_ctx_error(ctx));
    assert_int_equal(pr_onnx_read(ctx, path, &written), PARRY_OK);
    const pr_dims *declared = &written.graph->values[written.graph->input].dims;
    assert_true(pr_dims_equal(*declared, pr_dims_make(4, (int64_t[]){PR_BATCH, SIDE, SIDE, 1})));
    assert_int_equal(written.tail, PR_OP_SOFTMAX);
    assert_int_equal(written.weights->count, 2);
    assert_string_equal(pr_onnx_meta_get(&written, "author"), "somebody");
    assert_non_null(pr_onnx_meta_get(&written, "parry.version"));
    pr_onnx_clear(&written);
    assert_int_equal(parry_model_load(ctx, path, NULL, &loaded), PARRY_OK);
    assert_same_logits(&network->base, loaded);
    parry_model_free(loaded);
    parry_model_free(&network->base);
}

static void test_files_that_cannot_be(void **state)
{
    (void)state;
    parry_model *model;
    char elsewhere[96];
    assert_int_equal(parry_model_load(ctx, "/nowhere/net.onnx", NULL, &model), PARRY_NOT_FOUND);
    assert_non_null(strstr(parry_ctx_error(ctx), "/nowhere/net.onnx"));
    assert_int_equal(parry_file_write(ctx, path, "no model", 8), PARRY_OK);
    assert_int_equal(parry_model_load(ctx, path, NULL, &model), PARRY_FORMAT);
    assert_non_null(strstr(parry_ctx_error(ctx), path));
    assert_int_equal(parry_model_build(ctx, "simplecnn", 1, SIDE, SIDE, CLASSES, &model), PARRY_OK);
    snprintf(elsewhere, sizeof elsewhere, "%s/missing/net.onnx", folder);
    assert_int_not_equal(parry_model_save(ctx, model, elsewhere), PARRY_OK);
    assert_false(pr_file_exists(elsewhere));
    parry_model_free(model);
}

/* Declared N x 784, N x 28 x 28, N x 28 x 28 x 1 and with a fixed batch: each gets digits right once it is fitted, and
 * most of them. */
static void test_third_party_files_fit(void **state)
{
    (void)state;
    static const struct {
        const char *file;
        double least;
    } cases[] = {
        {"models/third-party-onnx/keras_cnn_maxpool2.onnx", 0.9},
        {"models/third-party-onnx/mlp_sigmoid_robust.onnx", 0.88},
        {"models/third-party-onnx/mlp_softmax_last.onnx", 0.8},
        {"models/third-party-onnx/torch_cnn_dynamic_reshape.onnx", 0.9},
        {"models/mnist/mnist_mlp_advertorch.onnx", 0.9},
    };
    const char *shared = getenv("PARRY_DATA");
    if (!shared) {
        print_message("skipped: PARRY_DATA, the folder with third-party networks, is not set\n");
        skip();
    }
    parry_dataset *all, *digits;
    assert_int_equal(parry_dataset_open(ctx, "mnist", PARRY_TEST, &all), PARRY_OK);
    assert_int_equal(parry_dataset_first(ctx, all, 50, &digits), PARRY_OK);
    for (size_t i = 0; i < PR_COUNT(cases); i++) {
        char file[1024];
        parry_model *model;
        double accuracy;
        snprintf(file, sizeof file, "%s/%s", shared, cases[i].file);
        if (parry_model_load(ctx, file, digits, &model) != PARRY_OK ||
            parry_model_accuracy(ctx, model, digits, &accuracy, NULL) != PARRY_OK)
            fail_msg("%s", parry_ctx_error(ctx));
        if (accuracy < cases[i].least)
            fail_msg("%s gets %g of the digits right, expected at least %g", cases[i].file, accuracy, cases[i].least);
        parry_model_free(model);
    }
    parry_dataset_free(digits);
    parry_dataset_free(all);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_saved_and_loaded),
        cmocka_unit_test(test_a_fitted_model_goes_out_as_it_came),
        cmocka_unit_test(test_files_that_cannot_be),
        cmocka_unit_test(test_third_party_files_fit),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
