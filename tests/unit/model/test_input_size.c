/* Networks whose files leave the size of the image open: who may say it, who goes before whom, and what is saved. The
 * files are those of tests/golden/onnx, with onnxruntime's output for images of 5 x 7 pixels. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/rng.h"
#include "data/data.h"
#include "model/network.h"
#include "../support/context.h"

enum { IMAGES = 2, CLASSES = 2, HEIGHT = 5, WIDTH = 7, PLANE = HEIGHT * WIDTH, COUNT = IMAGES * 3 * PLANE };
static char folder[] = "/tmp/parry-size-XXXXXX";
static const parry_preprocess right = {.input_size = {HEIGHT, WIDTH}};

static const char *in_folder(const char *name, char path[128])
{
    snprintf(path, 128, "%s/%s", folder, name);
    return path;
}

static void write_beside(const char *text)
{
    char path[128];
    if (text)
        OK(parry_file_write(ctx, in_folder("net.json", path), text, strlen(text)));
    else
        unlink(in_folder("net.json", path));
}

static parry_status load(const char *name, const parry_preprocess *flags, const parry_dataset *fit, parry_model **out)
{
    char path[128];
    return parry_model_load_as(ctx, in_folder(name, path), flags, fit, out);
}

static void numbers_of(const parry_model *model, const char *key, float *out, int count)
{
    const pr_network *network;
    OK(pr_network_of(ctx, model, &network));
    const char *text = pr_onnx_meta_get(&network->file, key);
    assert_non_null(text);
    for (int i = 0; i < count; i++) {
        char *end;
        out[i] = strtof(text, &end);
        assert_true(end != text);
        text = end;
    }
}

/* The network takes images of 5 x 7 pixels and says of them what onnxruntime does; who said so. */
static void assert_right(const parry_model *model, bool nhwc, const char *flags, const char *source)
{
    const parry_model_info *info = parry_model_describe(model);
    float file[COUNT], x[COUNT], y[IMAGES * CLASSES], expected[IMAGES * CLASSES];
    char *words;
    assert_true(info->channels == 3 && info->height == HEIGHT && info->width == WIDTH);
    OK(parry_preprocess_text(ctx, info->preprocess, &words));
    assert_string_equal(words, flags);
    assert_string_equal(info->preprocess_source, source);
    parry_string_free(words);
    numbers_of(model, "test.input", file, COUNT);
    numbers_of(model, "test.output", expected, IMAGES * CLASSES);
    for (int i = 0; i < COUNT; i++)
        x[i] = nhwc ? file[i / (3 * PLANE) * 3 * PLANE + i % PLANE * 3 + i / PLANE % 3] : file[i];
    OK(parry_model_logits(ctx, model, x, IMAGES, y));
    for (int i = 0; i < IMAGES * CLASSES; i++)
        assert_float_equal(y[i], expected[i], 1e-5);
}

static void check_right(const char *file, const parry_preprocess *flags, const parry_dataset *fit, const char *says,
                        const char *source)
{
    parry_model *model;
    OK(load(file, flags, fit, &model));
    assert_right(model, strcmp(file, "last.onnx") == 0, says, source);
    parry_model_free(model);
}

static void check_refused(const char *file, const parry_preprocess *flags, const parry_dataset *fit,
                          parry_status expected, const char *words)
{
    parry_model *model;
    check_error(ctx, load(file, flags, fit, &model), expected, words);
}

static parry_dataset *images_of(int height, int width)
{
    parry_dataset *data;
    float *pixels;
    OK(pr_alloc(ctx, 3 * height * width, &pixels));
    OK(parry_dataset_create(ctx, pixels, &(int32_t){1}, 1, 3, height, width, CLASSES, &data));
    pr_free(pixels);
    return data;
}

static void test_who_says_the_size(void **state)
{
    (void)state;
    check_right("net.onnx", &right, NULL, "--input-size 5x7", "flags");
    check_right("last.onnx", &right, NULL, "--input-size 5x7", "flags");
    check_right("last.onnx", &(parry_preprocess){.input_size = {HEIGHT, WIDTH}, .layout = PARRY_LAYOUT_NHWC}, NULL,
                "--layout nhwc --input-size 5x7", "flags");
    write_beside("{\"input_size\": [5, 7]}");
    check_right("net.onnx", NULL, NULL, "--input-size 5x7", "net.json");
    write_beside("{\"input\": {\"layout\": \"NCHW\", \"shape\": [\"N\", 3, 5, 7]}}");
    check_right("net.onnx", NULL, NULL, "--layout nchw --input-size 5x7", "net.json");
    write_beside("{\"preprocess\": {\"input_size\": 9}}");
    check_right("net.onnx", &right, NULL, "--input-size 5x7", "net.json, flags");
    write_beside(NULL);
    parry_dataset *data = images_of(HEIGHT, WIDTH), *others = images_of(WIDTH, HEIGHT);
    check_right("net.onnx", NULL, data, "", "");
    check_right("last.onnx", NULL, data, "", "");
    check_refused("net.onnx", &right, others, PARRY_MISMATCH,
                  "net.onnx takes N x 3 x 5 x 7, but the images of memory are N x 3 x 7 x 5");
    parry_dataset_free(data);
    parry_dataset_free(others);
}

/* The file that parry writes has a size, and says which was declared. */
static void test_what_is_saved(void **state)
{
    (void)state;
    char path[128];
    parry_model *model;
    OK(load("net.onnx", &right, NULL, &model));
    OK(parry_model_save(ctx, model, in_folder("saved.onnx", path)));
    parry_model_free(model);
    check_right("saved.onnx", NULL, NULL, "--input-size 5x7", "metadata");
    check_refused("saved.onnx", &(parry_preprocess){.input_size = {6, 7}}, NULL, PARRY_MISMATCH,
                  "an input size of 6 x 7 is declared, but the network takes 5 x 7");
    unlink(path);
}

static void test_what_is_refused(void **state)
{
    static const char *const wrong[] = {"[5]", "[5, 0]", "[5, 7, 3]", "\"5x7\"", "-5", "40000", "{}"};
    (void)state;
    check_refused("net.onnx", NULL, NULL, PARRY_UNSUPPORTED,
                  "axis 2 of the input 'x' has no fixed size: declare it with");
    check_refused("last.onnx", &(parry_preprocess){.input_size = {5, 7}, .layout = PARRY_LAYOUT_NCHW}, NULL,
                  PARRY_UNSUPPORTED, "axis 1 of the input 'x' has no fixed size");
    for (size_t i = 0; i < PR_COUNT(wrong); i++) {
        char text[64];
        snprintf(text, sizeof text, "{\"input_size\": %s}", wrong[i]);
        write_beside(text);
        check_refused("net.onnx", NULL, NULL, PARRY_FORMAT, "net.json: \"input_size\" must be a number of pixels");
    }
    write_beside(NULL);
}

static void test_out_of_memory(void **state)
{
    (void)state;
    parry_status status = PARRY_NO_MEMORY;
    write_beside("{\"input_size\": [5, 7], \"range\": 255}");
    for (long n = 1; status != PARRY_OK; n++) {
        parry_model *model;
        pr_alloc_fail_at(n);
        status = load("net.onnx", &right, NULL, &model);
        pr_alloc_fail_at(0);
        assert_true(status == PARRY_OK || status == PARRY_NO_MEMORY);
        if (status == PARRY_OK)
            parry_model_free(model);
    }
    write_beside(NULL);
}

static void copy(const char *golden, const char *name)
{
    char from[4096], path[128];
    uint8_t *data;
    size_t size;
    snprintf(from, sizeof from, "%s/onnx/%s", getenv("PARRY_TEST_DATA"), golden);
    OK(pr_file_read(ctx, from, 1 << 20, &data, &size));
    OK(parry_file_write(ctx, in_folder(name, path), data, size));
    pr_free(data);
}

static int set_up(void **state)
{
    if (set_up_context(state) != 0 || !mkdtemp(folder))
        return -1;
    copy("bad_open_image.onnx", "net.onnx");
    copy("bad_open_image_last.onnx", "last.onnx");
    return 0;
}

static int tear_down(void **state)
{
    static const char *const names[] = {"net.onnx", "last.onnx"};
    char path[128];
    for (size_t i = 0; i < PR_COUNT(names); i++)
        unlink(in_folder(names[i], path));
    rmdir(folder);
    return tear_down_context(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_who_says_the_size),
        cmocka_unit_test(test_what_is_saved),
        cmocka_unit_test(test_what_is_refused),
        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests_name("input size", tests, set_up, tear_down);
}
