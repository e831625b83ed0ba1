/* Built networks compute what torchvision's do (golden vectors, see tests/golden/architectures.py), and take weights
 * from files of the same architecture, whatever became of names and batch norm there. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "model/network.h"
#include "tensor/tensor.h"

#include "../support/context.h"

enum { PATH_SIZE = 512, CLASSES_MOST = 16, LINE_MOST = 1 << 14 };

/* ---- the rule of the golden vectors ---------------------------------------------------------------------------- */

static uint32_t fnv1a(const char *name)
{
    uint32_t h = 2166136261u;
    for (; *name; name++)
        h = (h ^ (uint8_t)*name) * 16777619u;
    return h;
}

static float unit(uint32_t hash, int64_t i)
{
    uint32_t v = hash + (uint32_t)i * 0x9E3779B9u;
    v = (v ^ v >> 16) * 0x85EBCA6Bu;
    v = (v ^ v >> 13) * 0xC2B2AE35u;
    v ^= v >> 16;
    return (float)(v >> 8) * 0x1p-24f;
}

static void fill_weight(pr_weight *weight)
{
    const uint32_t hash = fnv1a(weight->name);
    const size_t length = strlen(weight->name);
    const float limit = weight->rank > 1 ? (float)sqrt(6.0 / (double)(weight->count / weight->dim[0])) : 0;
    const bool variance = length > 11 && strcmp(weight->name + length - 11, "running_var") == 0;
    const bool scale = length > 6 && strcmp(weight->name + length - 6, "weight") == 0;
    for (int64_t i = 0; i < weight->count; i++) {
        const float u = unit(hash, i);
        weight->data[i] = weight->rank > 1 ? (2 * u - 1) * limit
                          : variance       ? 0.5f + u
                          : scale          ? 0.5f + 0.5f * u
                                           : 0.2f * u - 0.1f;
    }
}

static parry_model *make(const char *arch, int channels, int height, int width, int classes)
{
    parry_model *model;
    const pr_graph *graph;
    pr_weights *weights;
    OK(parry_model_build(ctx, arch, channels, height, width, classes, &model));
    OK(pr_model_network(ctx, model, &graph, &weights));
    for (size_t i = 0; i < weights->count; i++)
        fill_weight(&weights->items[i]);
    pr_weights_changed(weights);
    return model;
}

static float *make_images(int64_t count)
{
    float *images;
    OK(pr_alloc(ctx, count, &images));
    for (int64_t i = 0; i < count; i++)
        images[i] = unit(fnv1a("image"), i);
    return images;
}

/* ---- torchvision ----------------------------------------------------------------------------------------------- */

static const char *numbers(FILE *file, char line[LINE_MOST])
{
    assert_non_null(fgets(line, LINE_MOST, file));
    return line;
}

static double next(const char **at)
{
    char *end;
    const double value = strtod(*at, &end);
    assert_ptr_not_equal(end, *at);
    *at = end;
    return value;
}

static void check_image(FILE *file, const float *logits, int classes, const float *grad, int64_t row, int step)
{
    static char line[LINE_MOST];
    const char *at = numbers(file, line);
    double largest = 1, difference = 0, squares = 0;
    for (int k = 0; k < classes; k++)
        largest = fmax(largest, fabs((double)logits[k]));
    for (int k = 0; k < classes; k++)
        assert_true(fabs(next(&at) - logits[k]) <= 1e-4 * largest);
    at = numbers(file, line);
    const double norm = next(&at), own = sqrt(pr_sum_squares(grad, row));
    assert_true(norm > 0 && fabs(own - norm) <= 1e-3 * norm);
    at = numbers(file, line);
    for (int64_t i = 0; i < row; i += step) {
        const double expected = next(&at);
        difference += (expected - grad[i]) * (expected - grad[i]);
        squares += expected * expected;
    }
    assert_true(sqrt(difference) <= 1e-3 * sqrt(squares));
}

static void networks_compute_what_torchvisions_do(void **state)
{
    (void)state;
    char path[PATH_SIZE], arch[32];
    int c, h, w, classes, images, step, cases = 0;
    snprintf(path, sizeof path, "%s/architectures.txt", getenv("PARRY_TEST_DATA"));
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fscanf(file, "case %31s %d %d %d %d %d %d\n", arch, &c, &h, &w, &classes, &images, &step) == 7) {
        const int64_t row = (int64_t)c * h * w;
        const int32_t labels[] = {0, 1};
        float logits[2 * CLASSES_MOST], *x = make_images(images * row), *grad;
        parry_model *model = make(arch, c, h, w, classes);
        assert_int_equal(images, 2);
        OK(pr_alloc(ctx, images * row, &grad));
        OK(parry_model_logits(ctx, model, x, images, logits));
        OK(parry_model_input_gradient(ctx, model, "ce", x, labels, images, NULL, grad));
        for (int n = 0; n < images; n++)
            check_image(file, logits + n * classes, classes, grad + n * row, row, step);
        pr_free(x);
        pr_free(grad);
        parry_model_free(model);
        cases++;
    }
    assert_true(feof(file) && cases == 5);
    fclose(file);
}

/* ---- weights from files ---------------------------------------------------------------------------------------- */

static char file_path[] = "architectures-XXXXXX.onnx";

static int set_up(void **state)
{
    const int fd = mkstemps(file_path, 5);
    return fd < 0 || close(fd) != 0 || set_up_context(state) != 0;
}

static int tear_down(void **state)
{
    unlink(file_path);
    return tear_down_context(state);
}

/* Largest difference of two models' logits on the same images. */
static double distance(const parry_model *a, const parry_model *b)
{
    enum { IMAGES = 3 };
    const int64_t row = pr_model_row(a);
    float x[2][IMAGES * CLASSES_MOST], *images = make_images(IMAGES * row);
    OK(parry_model_logits(ctx, a, images, IMAGES, x[0]));
    OK(parry_model_logits(ctx, b, images, IMAGES, x[1]));
    pr_free(images);
    return pr_max_abs_diff(x[0], x[1], IMAGES * pr_model_classes(a));
}

static void weights_return_by_name(void **state)
{
    (void)state;
    parry_model *given = make("resnet20", 3, 32, 32, 10), *same, *larger, *fresh;
    OK(parry_model_save(ctx, given, file_path));
    OK(parry_model_build_from(ctx, "resnet20", &(parry_build){3, 32, 32, 10, .weights = file_path}, &same));
    OK(parry_model_build(ctx, "resnet20", 3, 32, 32, 10, &fresh));
    assert_true(distance(given, same) == 0);
    assert_true(distance(given, fresh) > 0.1);
    OK(parry_model_build_from(ctx, "resnet20", &(parry_build){3, 40, 24, 10, .weights = file_path}, &larger));
    parry_model *expected = make("resnet20", 3, 40, 24, 10);
    assert_true(distance(expected, larger) == 0);
    parry_model_free(expected);
    parry_model_free(larger);
    parry_model_free(fresh);
    parry_model_free(same);
    parry_model_free(given);
}

/* As exporters for inference write it: batch norm folded into the convolutions, numbers for names, a sum's operands the
 * other way round. */
static void write_folded(const char *arch, int side, int classes)
{
    parry_model *model = make(arch, 3, side, side, classes);
    const pr_graph *graph;
    pr_weights *weights;
    pr_onnx_model file = {.tail = PR_OP_IDENTITY, .producer = ""};
    OK(pr_model_network(ctx, model, &graph, &weights));
    OK(pr_graph_to_inference(ctx, graph, weights, true, &file.graph, &file.weights));
    for (size_t i = 0; i < file.weights->count; i++)
        snprintf(file.weights->items[i].name, strlen(file.weights->items[i].name) + 1, "%zu", i);
    for (size_t n = 0; n < file.graph->node_count; n++) {
        pr_node *node = &file.graph->nodes[n];
        assert_true(node->op != PR_OP_BATCH_NORM);
        if (node->op == PR_OP_ADD) {
            const pr_value first = node->in[0];
            node->in[0] = node->in[1];
            node->in[1] = first;
        }
    }
    OK(pr_onnx_write(ctx, file_path, &file));
    pr_graph_free(file.graph);
    pr_weights_free(file.weights);
    parry_model_free(model);
}

static void weights_return_by_structure(void **state)
{
    (void)state;
    static const struct {
        const char *arch;
        int side, classes;
    } cases[] = {{"resnet18", 32, 5}, {"inception_v3", 75, 3}};
    for (size_t i = 0; i < PR_COUNT(cases); i++) {
        parry_model *expected, *built;
        write_folded(cases[i].arch, cases[i].side, cases[i].classes);
        expected = make(cases[i].arch, 3, cases[i].side, cases[i].side, cases[i].classes);
        const parry_build build = {3, cases[i].side, cases[i].side, cases[i].classes, .weights = file_path};
        OK(parry_model_build_from(ctx, cases[i].arch, &build, &built));
        assert_true(distance(expected, built) < 1e-3);
        parry_model_free(built);
        parry_model_free(expected);
    }
}

static void refused(const char *arch, int classes, const char *words)
{
    parry_model *model;
    const parry_build build = {3, 32, 32, classes, .weights = file_path};
    assert_int_equal(parry_model_build_from(ctx, arch, &build, &model), PARRY_MISMATCH);
    assert_null(model);
    check_says(ctx, words);
}

static void other_networks_are_refused(void **state)
{
    (void)state;
    parry_model *given = make("resnet18", 3, 32, 32, 5);
    OK(parry_model_save(ctx, given, file_path));
    parry_model_free(given);
    refused("resnet18", 6, "'fc' (Gemm 5 x 512) stands where resnet18 has 'fc' (Gemm 6 x 512)");
    refused("resnet34", 5, "stands where resnet34 has 'layer1.2.conv1'");
    refused("resnet50", 5, "stands where resnet50 has 'layer1.0.conv1' (Conv 64 x 64 x 1 x 1, stride 1 1");
    refused("simplecnn", 5, "is not a simplecnn: 'conv1' (Conv 64 x 3 x 7 x 7");
    write_folded("resnet18", 32, 5);
    refused("resnet34", 5, "stands where resnet34 has 'layer1.2.conv1'");
}

/* Preprocessing belongs to the weights. */
static void preprocessing_goes_along(void **state)
{
    (void)state;
    char text[] = "{\"range\": 255, \"mean\": 100, \"std\": 50}", key[] = "parry.preprocess";
    pr_onnx_meta meta = {key, text};
    parry_model *given = make("resnet20", 3, 16, 16, 4), *loaded, *built;
    const pr_network *network;
    OK(pr_network_of(ctx, given, &network));
    pr_onnx_model file = network->file;
    file.meta = &meta;
    file.meta_count = 1;
    OK(pr_onnx_write(ctx, file_path, &file));
    OK(parry_model_load(ctx, file_path, NULL, &loaded));
    OK(parry_model_build_from(ctx, "resnet20", &(parry_build){3, 16, 16, 4, .weights = file_path}, &built));
    assert_true(distance(loaded, built) == 0);
    assert_true(distance(given, built) > 0.1);
    parry_model_free(built);
    parry_model_free(loaded);
    parry_model_free(given);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(networks_compute_what_torchvisions_do),
        cmocka_unit_test(weights_return_by_name),
        cmocka_unit_test(weights_return_by_structure),
        cmocka_unit_test(other_networks_are_refused),
        cmocka_unit_test(preprocessing_goes_along),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
