/* Real networks on real photographs, from the files as they lie in $PARRY_DATA: the JSON beside each says the
 * preprocessing, and top-1, top-5 and each photograph's best class are those that another runtime with another decoder
 * found. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "model/model.h"
#include "../support/context.h"

enum { PHOTOS = 60, CLASSES = 1000, TOP = 5, PATH = 1024 };

/* The five best classes of each photograph, by the order of labels.csv. */
static void read_predictions(const char *path, int best[PHOTOS][TOP])
{
    FILE *in = fopen(path, "r");
    char line[512];
    assert_non_null(in);
    assert_non_null(fgets(line, sizeof line, in)); /* the header */
    for (int i = 0; i < PHOTOS; i++) {
        assert_non_null(fgets(line, sizeof line, in));
        const char *numbers = strchr(line, ',');
        assert_non_null(numbers);
        assert_int_equal(
            sscanf(numbers, ",%*d,%d,%d,%d,%d,%d", &best[i][0], &best[i][1], &best[i][2], &best[i][3], &best[i][4]),
            TOP);
    }
    fclose(in);
}

static int rank_of(const float *logits, int class)
{
    int rank = 0;
    for (int k = 0; k < CLASSES; k++)
        rank += logits[k] > logits[class];
    return rank;
}

static void check_network(const char *name, int top1, int top5)
{
    char path[PATH];
    const char *data = getenv("PARRY_DATA");
    parry_model *model;
    parry_dataset *photos;
    static int best[PHOTOS][TOP];
    snprintf(path, sizeof path, "%s/models/imagenet/%s.onnx", data, name);
    OK_IN(ctx, parry_model_load(ctx, path, NULL, &model));
    snprintf(path, sizeof path, "%s/models/imagenet/%s.predictions.csv", data, name);
    read_predictions(path, best);
    snprintf(path, sizeof path, "%s/imagenet", data);
    const char *const paths[] = {path};
    OK_IN(ctx, parry_dataset_open_images(ctx, paths, 1, model, NULL, PARRY_TEST, 0, &photos));
    assert_int_equal(parry_dataset_describe(photos)->count, PHOTOS);
    float *images = malloc(sizeof(float) * PHOTOS * (size_t)pr_model_row(model)),
          *logits = malloc(sizeof(float) * PHOTOS * CLASSES);
    OK_IN(ctx, parry_dataset_images(ctx, photos, 0, PHOTOS, images));
    OK_IN(ctx, parry_model_logits(ctx, model, images, PHOTOS, logits));
    int right = 0, near = 0;
    for (int i = 0; i < PHOTOS; i++) {
        const float *row = logits + i * CLASSES;
        const int rank = rank_of(row, parry_dataset_labels(photos)[i]);
        right += rank == 0;
        near += rank < TOP;
        for (int k = 0; k < TOP; k++)
            if (rank_of(row, best[i][k]) != k)
                fail_msg("%s: %s: class %d has rank %d, expected %d", name, parry_dataset_image_name(photos, i),
                         best[i][k], rank_of(row, best[i][k]), k);
    }
    assert_int_equal(right, top1);
    assert_int_equal(near, top5);
    free(images);
    free(logits);
    parry_dataset_free(photos);
    parry_model_free(model);
}

static bool absent(void)
{
    char path[PATH];
    snprintf(path, sizeof path, "%s/models/imagenet", getenv("PARRY_DATA") ? getenv("PARRY_DATA") : "");
    return !getenv("PARRY_DATA") || !pr_is_folder(path);
}

static void test_squeezenet(void **state)
{
    (void)state;
    if (absent())
        skip();
    check_network("squeezenet1.1", 37, 46); /* BGR, 0..255 */
}

static void test_mobilenet_v1(void **state)
{
    (void)state;
    if (absent())
        skip();
    check_network("mobilenet_v1_0.25_128", 26, 42);
}

static void test_mobilenet_v2(void **state)
{
    (void)state;
    if (absent())
        skip();
    check_network("mobilenet_v2_1.0_224", 54, 58);
}

/* Whether the declaration over the one in the file beside the network looks wrong, and what is said to be better. */
static parry_preprocess_check gate(const char *name, const parry_preprocess *flags)
{
    char path[PATH];
    const char *data = getenv("PARRY_DATA");
    parry_model *model;
    parry_dataset *photos;
    parry_preprocess_check found;
    snprintf(path, sizeof path, "%s/models/imagenet/%s.onnx", data, name);
    OK_IN(ctx, parry_model_load_as(ctx, path, flags, NULL, &model));
    snprintf(path, sizeof path, "%s/imagenet", data);
    const char *const paths[] = {path};
    OK_IN(ctx, parry_dataset_open_images(ctx, paths, 1, model, NULL, PARRY_TEST, 0, &photos));
    OK_IN(ctx, parry_model_check_preprocess(ctx, model, photos, &found));
    parry_dataset_free(photos);
    parry_model_free(model);
    return found;
}

static void test_wrong_declarations(void **state)
{
    (void)state;
    if (absent())
        skip();
    parry_preprocess_check c = gate("mobilenet_v1_0.25_128", NULL);
    assert_false(c.suspicious);
    c = gate("squeezenet1.1", NULL); /* below 70 %, but nothing does better */
    assert_false(c.suspicious);
    c = gate("squeezenet1.1", &(parry_preprocess){.preset = "tf", .channel_order = PARRY_ORDER_BGR});
    assert_true(c.suspicious);
    assert_float_equal(c.better_accuracy, 30.0 / 48, 1e-12);
    assert_int_equal(c.better.channel_order, PARRY_ORDER_BGR);
    assert_float_equal(c.better.mean.value[0], 103.939, 1e-9);
    c = gate("squeezenet1.1", &(parry_preprocess){.channel_order = PARRY_ORDER_RGB}); /* far from guessing */
    assert_true(c.suspicious);
    assert_true(c.accuracy > 0.35);
    assert_int_equal(c.better.channel_order, PARRY_ORDER_BGR);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_squeezenet),
        cmocka_unit_test(test_mobilenet_v1),
        cmocka_unit_test(test_mobilenet_v2),
        cmocka_unit_test(test_wrong_declarations),
    };
    return cmocka_run_group_tests_name("imagenet", tests, set_up_context, tear_down_context);
}
