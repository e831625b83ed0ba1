/* Photographs for networks of different sizes in one evaluation: each model's figures are those that it gets alone. */
#include <jansson.h>
#include <parry/image.h>

#include "../data/scratch.h"
#include "base/file.h"
#include "base/rng.h"
#include "model/model.h"
#include "report/report.h"

enum { PICTURES = 12, WIDE = 40, HIGH = 32, CLASSES = 3, MODELS = 3 };

typedef struct world {
    parry_model *models[MODELS]; /* 16 pixels; 24 pixels; 16 pixels, squashed */
    char *folder;
} world;

/* A folder of three classes, four pictures of noise each. */
static void draw(parry_ctx *ctx, const char *folder)
{
    float pixels[3 * HIGH * WIDE];
    const parry_image image = {.channels = 3, .height = HIGH, .width = WIDE, .pixels = pixels};
    for (int i = 0; i < PICTURES; i++) {
        char path[300];
        pr_rng rng = pr_rng_init(11, PR_STREAM_TEST, (uint64_t)i);
        for (size_t p = 0; p < PR_COUNT(pixels); p++)
            pixels[p] = pr_rng_unit(&rng);
        snprintf(path, sizeof path, "%.200s/c%d", folder, i % CLASSES);
        mkdir(path, 0700);
        snprintf(path, sizeof path, "%.200s/c%d/%02d.png", folder, i % CLASSES, i);
        OK_IN(ctx, parry_image_write(ctx, path, &image));
    }
}

static world make_world(parry_ctx *ctx)
{
    static const int sides[MODELS] = {16, 24, 16};
    world w = {.folder = scratch_path("photographs")};
    mkdir(w.folder, 0700);
    draw(ctx, w.folder);
    for (int m = 0; m < MODELS; m++) {
        const parry_preprocess rule = {.resize = m == 2 ? PARRY_RESIZE_SQUASH : PARRY_RESIZE_CROP,
                                       .resize_size = m == 2 ? 0 : sides[m] + 2};
        OK_IN(ctx, parry_model_build_for_images(ctx, "simplecnn", w.folder, sides[m], NULL, &rule, &w.models[m]));
    }
    return w;
}

static void free_world(world *w)
{
    for (int m = 0; m < MODELS; m++)
        parry_model_free(w->models[m]);
    free(w->folder);
}

static const parry_threat linf = {.norm = PARRY_LINF, .clip = true};
static const parry_evaluate_settings settings = {
    .attacks = "fgsm,pgd:steps=3:first=7", .eps = {2, {0.02, 0.1}}, .curve = 5, .examples = 4};

/* Evaluates `count` models from `first` on; the images are opened for the first of them. */
static parry_status evaluate(parry_ctx *ctx, const world *w, int first, int count, const parry_model *source,
                             parry_evaluation **out)
{
    const parry_model *models[MODELS] = {w->models[0], w->models[1], w->models[2]};
    const char *paths[] = {w->folder};
    parry_dataset *data;
    OK_IN(ctx, parry_dataset_open_images(ctx, paths, 1, models[first], NULL, PARRY_TEST, 0, &data));
    parry_status status = parry_evaluate(ctx, models + first, count, data, source, &linf, &settings, out);
    parry_dataset_free(data);
    return status;
}

static json_t *as_json(parry_ctx *ctx, const parry_evaluation *ev)
{
    char *text;
    OK_IN(ctx, parry_evaluation_json(ctx, ev, &text));
    json_t *root = json_loads(text, 0, NULL);
    assert_non_null(root);
    parry_string_free(text);
    return root;
}

static void test_each_as_alone(void **state)
{
    parry_ctx *ctx = *state;
    world w = make_world(ctx);
    parry_evaluation *all, *alone;
    OK_IN(ctx, evaluate(ctx, &w, 0, MODELS, NULL, &all));
    json_t *together = as_json(ctx, all);
    /* Pictures and curves are those of the attack that fooled most models: the same one in all four evaluations. */
    for (int m = 0; m < MODELS; m++) {
        OK_IN(ctx, evaluate(ctx, &w, m, 1, NULL, &alone));
        assert_int_equal(alone->strongest, all->strongest);
        json_t *single = as_json(ctx, alone);
        assert_true(json_equal(json_array_get(json_object_get(together, "models"), (size_t)m),
                               json_array_get(json_object_get(single, "models"), 0)));
        const pr_eval_model *here = &all->models[m], *there = &alone->models[0];
        const size_t bytes =
            sizeof(float) * (size_t)all->example_count * 3 * (size_t)here->images->height * (size_t)here->images->width;
        assert_int_equal(here->images->height, m == 1 ? 24 : 16);
        assert_memory_equal(here->originals, there->originals, bytes);
        assert_memory_equal(here->adversaries, there->adversaries, bytes);
        assert_true(here->reading && !there->reading);
        json_decref(single);
        parry_evaluation_free(alone);
    }
    assert_string_not_equal(all->models[0].images->sha256, all->models[2].images->sha256);
    json_decref(together);
    parry_evaluation_free(all);
    free_world(&w);
}

static void test_outputs_say_so(void **state)
{
    parry_ctx *ctx = *state;
    world w = make_world(ctx);
    parry_evaluation *ev;
    char *table, *html, *path = scratch_path("report.html");
    uint8_t *data;
    size_t size;
    OK_IN(ctx, evaluate(ctx, &w, 0, MODELS, NULL, &ev));
    OK_IN(ctx, parry_evaluation_table(ctx, ev, 300, &table));
    assert_non_null(strstr(table, "reads the photographs as 3 x 16 x 16 (--resize crop --resize-size 18)"));
    assert_non_null(strstr(table, "reads the photographs as 3 x 24 x 24 (--resize crop --resize-size 26)"));
    assert_non_null(strstr(table, "reads the photographs as 3 x 16 x 16 (--resize squash)"));
    parry_string_free(table);
    OK_IN(ctx, parry_evaluation_write_html(ctx, (const parry_evaluation *const *)&ev, 1, "t", NULL, path));
    OK_IN(ctx, pr_file_read(ctx, path, 1 << 24, &data, &size));
    html = (char *)data;
    assert_non_null(memmem(html, size, "width=\"16\" height=\"16\"", 22));
    assert_non_null(memmem(html, size, "width=\"24\" height=\"24\"", 22));
    pr_free(data);
    free(path);
    parry_evaluation_free(ev);
    free_world(&w);
}

/* Stale adversaries are images of the source's size. */
static void test_source(void **state)
{
    parry_ctx *ctx = *state;
    world w = make_world(ctx);
    parry_evaluation *ev;
    assert_int_equal(evaluate(ctx, &w, 0, 2, w.models[0], &ev), PARRY_MISMATCH);
    check_says(ctx, "as it reads them, 3 x 16 x 16");
    assert_null(ev);
    OK_IN(ctx, evaluate(ctx, &w, 1, 1, w.models[1], &ev));
    assert_true(pr_eval_cell_at(ev, 0, 0, 0)->stale_acc == pr_eval_cell_at(ev, 0, 0, 0)->withstood);
    parry_evaluation_free(ev);
    free_world(&w);
}

/* What a model takes as it is is shared, and a subset stays one. */
static void test_fitted(void **state)
{
    parry_ctx *ctx = *state;
    world w = make_world(ctx);
    const char *paths[] = {w.folder};
    parry_dataset *data, *five, *fitted;
    float here[3 * 24 * 24], there[3 * 24 * 24];
    OK_IN(ctx, parry_dataset_open_images(ctx, paths, 1, w.models[0], NULL, PARRY_TEST, 0, &data));
    OK_IN(ctx, parry_dataset_first(ctx, data, 5, &five));
    OK_IN(ctx, parry_dataset_fit_images(ctx, five, w.models[1], &fitted));
    assert_int_equal(parry_dataset_describe(fitted)->count, 5);
    assert_int_equal(parry_dataset_describe(fitted)->width, 24);
    assert_memory_equal(parry_dataset_labels(fitted), parry_dataset_labels(data), PICTURES * sizeof(int32_t));
    parry_dataset_free(five);
    OK_IN(ctx, parry_dataset_open_images(ctx, paths, 1, w.models[1], NULL, PARRY_TEST, 0, &five));
    for (int i = 0; i < 5; i++) {
        assert_string_equal(parry_dataset_image_name(fitted, i), parry_dataset_image_name(data, i));
        OK_IN(ctx, parry_dataset_images(ctx, fitted, i, 1, here));
        OK_IN(ctx, parry_dataset_images(ctx, five, i, 1, there));
        assert_memory_equal(here, there, sizeof here);
    }
    parry_dataset_free(fitted);
    OK_IN(ctx, parry_dataset_fit_images(ctx, data, w.models[0], &fitted));
    assert_ptr_equal(parry_dataset_labels(fitted), parry_dataset_labels(data));
    parry_dataset_free(fitted);
    parry_dataset_free(five);
    parry_dataset_free(data);
    free_world(&w);
}

static void test_out_of_memory(void **state)
{
    parry_ctx *ctx = *state;
    world w = make_world(ctx);
    const char *paths[] = {w.folder};
    parry_dataset *data, *fitted;
    parry_status status = PARRY_NO_MEMORY;
    int failures = -1;
    OK_IN(ctx, parry_dataset_open_images(ctx, paths, 1, w.models[0], NULL, PARRY_TEST, 0, &data));
    for (int n = 1; status == PARRY_NO_MEMORY; n++, failures++) {
        pr_alloc_fail_at(n);
        status = parry_dataset_fit_images(ctx, data, w.models[1], &fitted);
        pr_alloc_fail_at(0);
        assert_true((status == PARRY_OK) == (fitted != NULL));
        parry_dataset_free(fitted);
    }
    assert_int_equal(status, PARRY_OK);
    assert_true(failures > 10);
    parry_dataset_free(data);
    free_world(&w);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_as_alone), cmocka_unit_test(test_outputs_say_so), cmocka_unit_test(test_source),
        cmocka_unit_test(test_fitted),        cmocka_unit_test(test_out_of_memory),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
