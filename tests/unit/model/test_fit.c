/* Fitting declared inputs to images: whatever the file's layout and scaling, the same image gives the same logits, and
 * what does not fit is refused. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rng.h"
#include "model/network.h"
#include "../support/context.h"

enum { CLASSES = 3, FLOATS_MAX = 4096 };

/* Metadata as a file would carry it. */
static parry_status set_meta(pr_onnx_model *file, const char *key, const char *value)
{
    TRY(pr_alloc(ctx, 1, &file->meta));
    file->meta_count = 1;
    TRY(pr_strdup(ctx, key, &file->meta[0].key));
    return pr_strdup(ctx, value, &file->meta[0].value);
}

/* input (of the declared dims) -> reshape -> dense layer whose weights are w(class, pixel in declared order). */
static parry_status make_file(pr_dims declared, const char *preprocess, float nan_or_zero, pr_onnx_model *file)
{
    pr_value in[3], reshaped;
    int32_t w, b;
    const int64_t pixels = pr_dims_row(declared);
    pr_attrs flat = {.shape.to = pr_dims_make(2, (int64_t[]){PR_BATCH, pixels})};
    *file = (pr_onnx_model){.tail = PR_OP_IDENTITY};
    TRY(pr_strdup(ctx, "", &file->producer));
    if (preprocess)
        TRY(set_meta(file, "parry.preprocess", preprocess));
    TRY(pr_graph_create(ctx, &file->graph));
    TRY(pr_weights_create(ctx, &file->weights));
    TRY(pr_weights_add(ctx, file->weights, "w", PR_WEIGHT_KERNEL, 2, (int64_t[]){CLASSES, pixels}, &w));
    TRY(pr_weights_add(ctx, file->weights, "b", PR_WEIGHT_VECTOR, 1, (int64_t[]){CLASSES}, &b));
    pr_rng rng = pr_rng_init(1, PR_STREAM_TEST, 0);
    for (int64_t i = 0; i < CLASSES * pixels; i++)
        file->weights->items[w].data[i] = pr_rng_normal(&rng);
    file->weights->items[b].data[1] = 0.25f + nan_or_zero;
    TRY(pr_graph_input(ctx, file->graph, "x", declared, &in[0]));
    file->graph->input = in[0];
    TRY(pr_graph_node(ctx, file->graph, PR_OP_RESHAPE, "flat", &flat, in, 1, &reshaped));
    in[0] = reshaped;
    TRY(pr_graph_weight(ctx, file->graph, file->weights, w, &in[1]));
    TRY(pr_graph_weight(ctx, file->graph, file->weights, b, &in[2]));
    return pr_graph_node(ctx, file->graph, PR_OP_GEMM, "dense", NULL, in, 3, &file->graph->logits);
}

static parry_status load(pr_dims declared, const char *preprocess, const parry_dataset_info *fit, pr_network **out)
{
    pr_onnx_model file;
    TRY(make_file(declared, preprocess, 0, &file));
    return pr_network_create(ctx, "net.onnx", NULL, &file, NULL, fit, out);
}

static parry_dataset_info images_of(int c, int h, int w)
{
    return (parry_dataset_info){.name = "pictures", .channels = c, .height = h, .width = w, .classes = CLASSES};
}

static pr_dims dims(int rank, int64_t a, int64_t b, int64_t c)
{
    return pr_dims_make(rank, (int64_t[]){PR_BATCH, a, b, c});
}

/* Place of pixel (c, y, x) in a flat image of either layout. */
static int64_t place(const parry_dataset_info *im, bool nhwc, int c, int y, int x)
{
    return nhwc ? ((int64_t)y * im->width + x) * im->channels + c : ((int64_t)c * im->height + y) * im->width + x;
}

/* Logits and the gradient of the first logit's loss must be those of the dense layer applied to scale * pixel + shift
 * in declared order. */
static void check_equals_dense(pr_dims declared, const char *preprocess, parry_dataset_info im, bool nhwc,
                               const float *scale, const float *shift)
{
    pr_network *network;
    float image[FLOATS_MAX], logits[CLASSES], gradient[FLOATS_MAX], loss;
    assert_int_equal(load(declared, preprocess, &im, &network), PARRY_OK);
    const float *w = network->file.weights->items[0].data;
    const int64_t pixels = (int64_t)im.channels * im.height * im.width;
    double expected[CLASSES] = {0, 0.25, 0}, total = 0;
    pr_rng rng = pr_rng_init(2, PR_STREAM_TEST, 0);
    for (int64_t i = 0; i < pixels; i++)
        image[i] = pr_rng_unit(&rng);
    for (int k = 0; k < CLASSES; k++)
        for (int c = 0; c < im.channels; c++)
            for (int y = 0; y < im.height; y++)
                for (int x = 0; x < im.width; x++)
                    expected[k] += (double)w[k * pixels + place(&im, nhwc, c, y, x)] *
                                   ((double)image[place(&im, false, c, y, x)] * scale[c] + shift[c]);
    assert_int_equal(parry_model_logits(ctx, &network->base, image, 1, logits), PARRY_OK);
    for (int k = 0; k < CLASSES; k++) {
        assert_true(fabs(logits[k] - expected[k]) < 1e-4 * fmax(1, fabs(expected[k])));
        total += exp(expected[k] - expected[0]);
    }
    assert_int_equal(parry_model_input_gradient(ctx, &network->base, "ce", image, (int32_t[]){0}, 1, &loss, gradient),
                     PARRY_OK);
    assert_true(fabs(loss - log(total)) < 1e-3 * fmax(1, log(total)));
    for (int c = 0; c < im.channels; c++) {
        double slope = 0;
        for (int k = 0; k < CLASSES; k++)
            slope += (exp(expected[k] - expected[0]) / total - (k == 0)) * w[k * pixels + place(&im, nhwc, c, 1, 1)] *
                     scale[c];
        assert_true(fabs(gradient[place(&im, false, c, 1, 1)] - slope) < 1e-3 * fmax(1, fabs(slope)));
    }
    parry_model_free(&network->base);
}

static const float ones[] = {1, 1, 1}, zeros[] = {0, 0, 0};

static void test_layouts(void **state)
{
    (void)state;
    const parry_dataset_info grey = images_of(1, 5, 7), colour = images_of(3, 4, 5);
    check_equals_dense(dims(4, 1, 5, 7), NULL, grey, false, ones, zeros);
    check_equals_dense(dims(4, 5, 7, 1), NULL, grey, false, ones, zeros);
    check_equals_dense(dims(3, 5, 7, 0), NULL, grey, false, ones, zeros);
    check_equals_dense(dims(2, 35, 0, 0), NULL, grey, false, ones, zeros);
    check_equals_dense(dims(3, 35, 1, 0), NULL, grey, false, ones, zeros);
    check_equals_dense(dims(4, 3, 4, 5), NULL, colour, false, ones, zeros);
    check_equals_dense(dims(4, 4, 5, 3), NULL, colour, true, ones, zeros);
    check_equals_dense(dims(2, 60, 0, 0), "{\"layout\": \"NHWC\"}", colour, true, ones, zeros);
    check_equals_dense(dims(2, 60, 0, 0), "{\"layout\": \"NCHW\"}", colour, false, ones, zeros);
    check_equals_dense(dims(4, 3, 3, 3), "{\"layout\": \"NHWC\"}", images_of(3, 3, 3), true, ones, zeros);
}

static void test_preprocessing(void **state)
{
    (void)state;
    const parry_dataset_info colour = images_of(3, 4, 5);
    check_equals_dense(dims(4, 3, 4, 5), "{\"range\": 255}", colour, false, (float[]){255, 255, 255}, zeros);
    check_equals_dense(dims(4, 3, 4, 5), "{\"range\": [-1, 1]}", colour, false, (float[]){2, 2, 2},
                       (float[]){-1, -1, -1});
    check_equals_dense(dims(4, 4, 5, 3), "{\"mean\": [0.5, 0.25, 0], \"std\": [0.5, 0.25, 2], \"layout\": \"NHWC\"}",
                       colour, true, (float[]){2, 4, 0.5f}, (float[]){-1, -1, 0});
    check_equals_dense(dims(2, 35, 0, 0), "{\"range\": [0, 255], \"mean\": 127.5, \"std\": [127.5]}",
                       images_of(1, 5, 7), false, (float[]){2}, (float[]){-1});
}

static void check_refused(pr_dims declared, const char *preprocess, const parry_dataset_info *fit,
                          parry_status expected, const char *says)
{
    pr_network *network = NULL;
    assert_int_equal(load(declared, preprocess, fit, &network), expected);
    check_says(ctx, says);
}

static void test_what_does_not_fit_is_refused(void **state)
{
    (void)state;
    const parry_dataset_info grey = images_of(1, 5, 7), colour = images_of(3, 4, 5), cube = images_of(3, 3, 3);
    check_refused(dims(4, 3, 32, 32), NULL, &grey, PARRY_MISMATCH,
                  "net.onnx takes N x 3 x 32 x 32, but the images of pictures are N x 1 x 5 x 7");
    check_refused(dims(2, 34, 0, 0), NULL, &grey, PARRY_MISMATCH, "N x 34");
    check_refused(dims(4, 1, 7, 5), NULL, &grey, PARRY_MISMATCH, "N x 1 x 7 x 5");
    check_refused(dims(2, 60, 0, 0), NULL, &colour, PARRY_MISMATCH, "layout");
    check_refused(dims(4, 3, 3, 3), NULL, &cube, PARRY_MISMATCH, "layout");
    check_refused(dims(4, 4, 5, 3), "{\"layout\": \"NCHW\"}", &colour, PARRY_MISMATCH, "N x 4 x 5 x 3");
    check_refused(dims(2, 35, 0, 0), NULL, NULL, PARRY_MISMATCH, "name a dataset");
    parry_dataset_info ten = grey;
    ten.classes = 10;
    check_refused(dims(2, 35, 0, 0), NULL, &ten, PARRY_MISMATCH, "3 classes apart, but pictures has 10");
}

static void test_bad_metadata_is_refused(void **state)
{
    (void)state;
    const parry_dataset_info grey = images_of(1, 5, 7);
    static const char *const bad[] = {
        "[1]",
        "{\"range\": [1, 0]}",
        "{\"range\": \"255\"}",
        "{\"std\": 0}",
        "{\"std\": [1, 2]}",
        "{\"mean\": \"0.5\"}",
        "{\"layout\": \"CHWN\"}",
        "{\"crop\": 224}",
        "{",
    };
    for (size_t i = 0; i < PR_COUNT(bad); i++)
        check_refused(dims(2, 35, 0, 0), bad[i], &grey, PARRY_FORMAT, "net.onnx");
}

static void test_shapes_without_a_dataset(void **state)
{
    (void)state;
    const struct {
        pr_dims declared;
        int c, h, w;
    } cases[] = {
        {dims(4, 3, 32, 24), 3, 32, 24},
        {dims(4, 32, 24, 3), 3, 32, 24},
        {dims(4, 32, 24, 1), 1, 32, 24},
        {dims(3, 28, 24, 0), 1, 28, 24},
    };
    for (size_t i = 0; i < PR_COUNT(cases); i++) {
        pr_network *network;
        assert_int_equal(load(cases[i].declared, NULL, NULL, &network), PARRY_OK);
        const parry_model_info *info = parry_model_describe(&network->base);
        assert_int_equal(info->channels, cases[i].c);
        assert_int_equal(info->height, cases[i].h);
        assert_int_equal(info->width, cases[i].w);
        assert_int_equal(info->classes, CLASSES);
        assert_int_equal(info->parameters, CLASSES * (cases[i].c * cases[i].h * cases[i].w + 1));
        parry_model_free(&network->base);
    }
}

static void test_weights_that_are_not_finite(void **state)
{
    (void)state;
    pr_onnx_model file;
    pr_network *network;
    const parry_dataset_info grey = images_of(1, 5, 7);
    assert_int_equal(make_file(dims(2, 35, 0, 0), NULL, NAN, &file), PARRY_OK);
    assert_int_equal(pr_network_create(ctx, "net.onnx", NULL, &file, NULL, &grey, &network), PARRY_NUMERIC);
    assert_non_null(strstr(parry_ctx_error(ctx), "b"));
}

/* Every allocation fails in turn: a clean failure each time, and nothing leaks (under the sanitizer). */
static void test_out_of_memory(void **state)
{
    (void)state;
    const parry_dataset_info colour = images_of(3, 4, 5);
    parry_status status = PARRY_NO_MEMORY;
    for (long n = 1; status != PARRY_OK; n++) {
        pr_onnx_model file;
        pr_network *network;
        assert_int_equal(make_file(dims(4, 4, 5, 3), "{\"range\": 255}", 0, &file), PARRY_OK);
        pr_alloc_fail_at(n);
        status = pr_network_create(ctx, "net.onnx", NULL, &file, NULL, &colour, &network);
        pr_alloc_fail_at(0);
        assert_true(status == PARRY_OK || status == PARRY_NO_MEMORY);
        if (status == PARRY_OK)
            parry_model_free(&network->base);
    }
}

/* scikit-learn counts its labels by the alphabet. Such a network keeps them as names, and refuses data that count the same
 * classes otherwise. */
static void test_labels_of_a_classifier(void **state)
{
    (void)state;
    static const char *const orders[] = {"[\"one\",\"three\",\"two\",\"zero\"]", "[\"zero\",\"one\",\"two\",\"three\"]"};
    const float pixels[5] = {0.1f, 0.9f, 0.3f, 0.2f, 0.5f};
    char folder[] = "/tmp/parry-labels-XXXXXX", path[4096], words[128];
    parry_dataset *made;
    assert_non_null(mkdtemp(folder));
    OK_IN(ctx, parry_dataset_create(ctx, pixels, &(int32_t){3}, 1, 1, 1, 5, 4, &made));
    OK_IN(ctx, parry_dataset_write(ctx, made, folder));
    for (int i = 0; i < 2; i++) {
        parry_dataset *data;
        parry_model *model;
        double accuracy;
        snprintf(path, sizeof path, "%s/dataset.json", folder);
        const int length = snprintf(words, sizeof words, "{\"classes\": 4, \"class_names\": %s}", orders[i]);
        OK_IN(ctx, parry_file_write(ctx, path, words, (size_t)length));
        OK_IN(ctx, parry_dataset_open(ctx, folder, PARRY_TEST, &data));
        snprintf(path, sizeof path, "%s/onnx/classic_names.onnx", getenv("PARRY_TEST_DATA"));
        OK_IN(ctx, parry_model_load(ctx, path, data, &model));
        assert_string_equal(parry_model_describe(model)->class_names[3], "zero");
        assert_int_equal(parry_model_accuracy(ctx, model, data, &accuracy, NULL), i ? PARRY_MISMATCH : PARRY_OK);
        assert_true(!i || strstr(parry_ctx_error(ctx), "differently: one, three, two, zero; and zero, one, two, three"));
        parry_model_free(model);
        parry_dataset_free(data);
    }
    parry_dataset_free(made);
    static const char *const files[] = {"images.npy", "labels.npy", "dataset.json"};
    for (size_t i = 0; i < PR_COUNT(files); i++) {
        snprintf(path, sizeof path, "%s/%s", folder, files[i]);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(folder), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_layouts),
        cmocka_unit_test(test_preprocessing),
        cmocka_unit_test(test_what_does_not_fit_is_refused),
        cmocka_unit_test(test_bad_metadata_is_refused),
        cmocka_unit_test(test_shapes_without_a_dataset),
        cmocka_unit_test(test_weights_that_are_not_finite),
        cmocka_unit_test(test_out_of_memory),
        cmocka_unit_test(test_labels_of_a_classifier),
    };
    return cmocka_run_group_tests(tests, set_up_context, tear_down_context);
}
