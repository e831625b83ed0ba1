/* Data sets as objects: what goes in comes out, subsets share and outlive, writing and reading again loses nothing, and
 * every failed allocation is survived. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"
#include "data/classes.h"
#include "data/data.h"
#include "data/digits.h"
#include "scratch.h"

enum { N = 6, C = 3, H = 4, W = 5, ROW = C * H * W };

static float pixels[N * ROW];
static const int32_t labels[N] = {0, 3, 1, 1, 2, 0};

static int setup(void **state)
{
    pr_rng rng = pr_rng_init(2, PR_STREAM_TEST, 0);
    for (int i = 0; i < N * ROW; i++)
        pixels[i] = pr_rng_uniform(&rng, -0.1f, 1.1f); /* an attack without clipping leaves [0,1] */
    return scratch_setup(state);
}

static parry_dataset *create(parry_ctx *ctx)
{
    parry_dataset *made;
    assert_int_equal(parry_dataset_create(ctx, pixels, labels, N, C, H, W, 5, &made), PARRY_OK);
    return made;
}

static void assert_same(parry_ctx *ctx, const parry_dataset *a, const parry_dataset *b)
{
    const parry_dataset_info *left = parry_dataset_describe(a), *right = parry_dataset_describe(b);
    assert_int_equal(left->count, right->count);
    assert_int_equal(left->classes, right->classes);
    assert_true(left->channels == right->channels && left->height == right->height && left->width == right->width);
    assert_memory_equal(parry_dataset_labels(a), parry_dataset_labels(b), (size_t)left->count * sizeof(int32_t));
    size_t row = (size_t)left->channels * (size_t)left->height * (size_t)left->width;
    float *x = malloc(row * sizeof *x), *y = malloc(row * sizeof *y);
    for (int64_t i = 0; i < left->count; i++) {
        assert_int_equal(parry_dataset_images(ctx, a, i, 1, x), PARRY_OK);
        assert_int_equal(parry_dataset_images(ctx, b, i, 1, y), PARRY_OK);
        assert_memory_equal(x, y, row * sizeof *x);
    }
    free(x);
    free(y);
}

static void test_create_and_first(void **state)
{
    parry_ctx *ctx = *state;
    parry_dataset *all = create(ctx), *few, *same;
    float copied[2 * ROW];
    const parry_dataset_info *info = parry_dataset_describe(all);
    assert_int_equal(info->count, N);
    assert_int_equal(info->classes, 5);
    assert_string_equal(info->split, "all");
    assert_null(info->class_names);
    assert_null(info->note);
    assert_int_equal(strlen(info->sha256), 64);
    assert_memory_equal(parry_dataset_labels(all), labels, sizeof labels);

    assert_int_equal(parry_dataset_first(ctx, all, 4, &few), PARRY_OK);
    assert_int_equal(parry_dataset_first(ctx, all, 0, &same), PARRY_OK);
    assert_same(ctx, all, same);
    parry_dataset_free(same);
    assert_int_equal(parry_dataset_first(ctx, all, N + 1, &same), PARRY_OK);
    assert_int_equal(parry_dataset_describe(same)->count, N);
    parry_dataset_free(same);
    assert_int_equal(parry_dataset_first(ctx, all, -1, &same), PARRY_INVALID);
    parry_dataset_free(all); /* the subset lives on */
    assert_int_equal(parry_dataset_describe(few)->count, 4);
    assert_int_equal(parry_dataset_images(ctx, few, 2, 2, copied), PARRY_OK);
    assert_memory_equal(copied, pixels + 2 * ROW, sizeof copied);
    parry_dataset_free(few);
    parry_dataset_free(NULL);
}

static void test_create_refusals(void **state)
{
    parry_ctx *ctx = *state;
    parry_dataset *made;
    float spoilt[N * ROW];
    int32_t wrong[N];
    assert_int_equal(parry_dataset_create(ctx, pixels, labels, N, C, H, W, 3, &made), PARRY_INVALID);
    assert_string_equal(parry_ctx_error(ctx), "label 1 is 3; expected 0 to 2, or -1 for unknown");
    memcpy(wrong, labels, sizeof wrong);
    wrong[5] = -2;
    assert_int_equal(parry_dataset_create(ctx, pixels, wrong, N, C, H, W, 4, &made), PARRY_INVALID);
    assert_int_equal(parry_dataset_create(ctx, pixels, labels, 0, C, H, W, 4, &made), PARRY_INVALID);
    assert_int_equal(parry_dataset_create(ctx, pixels, labels, INT64_MAX, C, H, W, 4, &made), PARRY_INVALID);
    assert_int_equal(parry_dataset_create(ctx, pixels, labels, N, C, H, W, 0, &made), PARRY_INVALID);
    memcpy(spoilt, pixels, sizeof spoilt);
    spoilt[4 * ROW + 7] = NAN;
    assert_int_equal(parry_dataset_create(ctx, spoilt, labels, N, C, H, W, 4, &made), PARRY_NUMERIC);
    assert_string_equal(parry_ctx_error(ctx), "image 4 has a pixel that is not finite");
    assert_null(made);
}

static void test_hash_covers_pixels_and_labels(void **state)
{
    parry_ctx *ctx = *state;
    parry_dataset *a = create(ctx), *b;
    int32_t other[N];
    memcpy(other, labels, sizeof other);
    assert_int_equal(parry_dataset_create(ctx, pixels, other, N, C, H, W, 5, &b), PARRY_OK);
    assert_string_equal(parry_dataset_describe(a)->sha256, parry_dataset_describe(b)->sha256);
    parry_dataset_free(b);
    other[N - 1] = 1;
    assert_int_equal(parry_dataset_create(ctx, pixels, other, N, C, H, W, 5, &b), PARRY_OK);
    assert_string_not_equal(parry_dataset_describe(a)->sha256, parry_dataset_describe(b)->sha256);
    parry_dataset_free(b);
    parry_dataset_free(a);
}

/* The number of classes, their names and the caveat come back too. */
static void test_write_and_open(void **state)
{
    parry_ctx *ctx = *state;
    parry_dataset *made = create(ctx), *read;
    char *folder = scratch_path("deep/written");
    assert_int_equal(parry_dataset_write(ctx, made, folder), PARRY_OK);
    assert_int_equal(parry_dataset_open(ctx, folder, PARRY_TEST, &read), PARRY_OK);
    assert_same(ctx, made, read);
    assert_string_equal(parry_dataset_describe(read)->sha256, parry_dataset_describe(made)->sha256);
    parry_dataset_free(read);
    parry_dataset_free(made);

    assert_int_equal(parry_dataset_open(ctx, "digits", PARRY_TEST, &read), PARRY_OK);
    assert_int_equal(parry_dataset_first(ctx, read, 30, &made), PARRY_OK);
    assert_int_equal(parry_dataset_write(ctx, made, folder), PARRY_OK);
    parry_dataset_free(read);
    assert_int_equal(parry_dataset_open(ctx, folder, PARRY_TEST, &read), PARRY_OK);
    assert_same(ctx, made, read);
    assert_string_equal(parry_dataset_describe(read)->note, parry_dataset_describe(made)->note);
    assert_string_equal(parry_dataset_describe(read)->class_names[9], "9");
    parry_dataset_free(read);
    parry_dataset_free(made);
    free(folder);
}

static void test_written_folder_spoilt(void **state)
{
    parry_ctx *ctx = *state;
    static const struct {
        const char *json;
        parry_status status;
        const char *says;
    } cases[] = {
        {"{\"classes\": 4}", PARRY_OK, ""},
        {"{\"classes\": 3}", PARRY_FORMAT, "labels.npy: label 1 is 3; expected 0 to 2"},
        {"{\"classes\": 0}", PARRY_FORMAT, "\"classes\""},
        {"{\"classes\": 99999999}", PARRY_FORMAT, "\"classes\""},
        {"{\"classes\": \"4\"}", PARRY_FORMAT, "\"classes\""},
        {"[1]", PARRY_FORMAT, "\"classes\""},
        {"{}", PARRY_OK, ""},
        {"{\"class_names\": [\"a\"]}", PARRY_FORMAT, "\"classes\""},
        {"{\"classes\": 4, \"class_names\": [\"a\"]}", PARRY_FORMAT, "list of 4 names"},
        {"{\"classes\": 4, \"class_names\": [\"a\", \"b\", 3, \"d\"]}", PARRY_FORMAT, "not a text"},
        {"{\"classes\": 4", PARRY_FORMAT, "not valid JSON"},
    };
    parry_dataset *made = create(ctx), *read;
    char *folder = scratch_path("spoilt"), *labels_path = scratch_path("spoilt/labels.npy");
    assert_int_equal(parry_dataset_write(ctx, made, folder), PARRY_OK);
    parry_dataset_free(made);
    for (size_t i = 0; i < PR_COUNT(cases); i++) {
        free(scratch_file("spoilt/dataset.json", cases[i].json, strlen(cases[i].json)));
        assert_int_equal(parry_dataset_open(ctx, folder, PARRY_TEST, &read), cases[i].status);
        if (cases[i].status != PARRY_OK)
            assert_non_null(strstr(parry_ctx_error(ctx), cases[i].says));
        else /* the largest label is 3: without a word there may be more classes */
            assert_true(parry_dataset_describe(read)->classes == 4 &&
                        parry_dataset_describe(read)->open_classes == (strcmp(cases[i].json, "{}") == 0));
        parry_dataset_free(read);
    }
    free(scratch_file("spoilt/dataset.json", "{\"classes\": 4}", 14));
    unlink(labels_path);
    assert_int_equal(parry_dataset_open(ctx, folder, PARRY_TEST, &read), PARRY_NOT_FOUND);
    assert_non_null(strstr(parry_ctx_error(ctx), "spoilt/labels.npy"));
    free(labels_path);
    free(folder);
}

static void test_unwritable(void **state)
{
    parry_ctx *ctx = *state;
    parry_dataset *made = create(ctx);
    char *file = scratch_file("file", "", 0), *below = scratch_path("file/x");
    assert_int_equal(parry_dataset_write(ctx, made, below), PARRY_IO);
    free(file);
    free(below);
    parry_dataset_free(made);
}

/* The same digits whoever draws them, with however many threads; the splits share none. */
static void test_digits(void **state)
{
    (void)state;
    parry_dataset *one[2], *many;
    parry_ctx *ctx = NULL;
    for (int threads = 1; threads <= 3; threads += 2) {
        parry_ctx_free(ctx);
        assert_int_equal(
            parry_ctx_create(
                &(parry_ctx_options){.size = sizeof(parry_ctx_options), .threads = threads, .seed = (uint64_t)threads},
                &ctx),
            PARRY_OK);
        if (threads == 1) {
            assert_int_equal(parry_dataset_open(ctx, "digits", PARRY_TEST, &one[0]), PARRY_OK);
            assert_int_equal(parry_dataset_open(ctx, "digits", PARRY_TRAIN, &one[1]), PARRY_OK);
        } else {
            assert_int_equal(parry_dataset_open(ctx, "digits", PARRY_TEST, &many), PARRY_OK);
        }
    }
    assert_same(ctx, one[0], many);
    const parry_dataset_info *test = parry_dataset_describe(one[0]), *train = parry_dataset_describe(one[1]);
    assert_string_equal(test->sha256, parry_dataset_describe(many)->sha256);
    assert_int_equal(test->count, 10000);
    assert_int_equal(train->count, 60000);
    assert_string_equal(test->origin, "built-in");
    assert_string_equal(test->split, "test");
    assert_non_null(strstr(test->note, "not MNIST"));
    float a[784], b[784];
    for (int i = 0; i < 1000; i++) {
        assert_int_equal(parry_dataset_images(ctx, one[0], i, 1, a), PARRY_OK);
        assert_int_equal(parry_dataset_images(ctx, one[1], i, 1, b), PARRY_OK);
        assert_memory_not_equal(a, b, sizeof a);
    }
    parry_dataset_free(one[0]);
    parry_dataset_free(one[1]);
    parry_dataset_free(many);
    parry_ctx_free(ctx);
}

static int always_cancelled(void *user)
{
    (void)user;
    return 1;
}

static void test_digits_can_be_cancelled(void **state)
{
    (void)state;
    parry_ctx *ctx;
    parry_dataset *read;
    assert_int_equal(
        parry_ctx_create(&(parry_ctx_options){.size = sizeof(parry_ctx_options), .cancelled = always_cancelled}, &ctx),
        PARRY_OK);
    assert_int_equal(parry_dataset_open(ctx, "digits", PARRY_TRAIN, &read), PARRY_CANCELLED);
    assert_null(read);
    parry_ctx_free(ctx);
}

/* Whichever allocation fails, opening, cutting and writing report it and leak nothing (the sanitizer watches). */
static void test_memory_failures(void **state)
{
    parry_ctx *ctx = *state;
    parry_dataset *made = create(ctx);
    char *folder = scratch_path("memory");
    assert_int_equal(parry_dataset_write(ctx, made, folder), PARRY_OK);
    static const char words[] = "{\"classes\": 4, \"note\": \"n\", \"class_names\": [\"a\", \"b\", \"c\", \"d\"]}";
    free(scratch_file("memory/dataset.json", words, sizeof words - 1));
    char *second = scratch_path("memory-again");
    parry_status status = PARRY_NO_MEMORY;
    int failed = 0;
    for (; status != PARRY_OK && failed < 200; failed++) {
        parry_dataset *read = NULL, *few = NULL;
        pr_alloc_fail_at(failed + 1);
        status = parry_dataset_open(ctx, folder, PARRY_TEST, &read);
        if (status == PARRY_OK)
            status = parry_dataset_first(ctx, read, 2, &few);
        if (status == PARRY_OK)
            status = parry_dataset_write(ctx, few, second);
        assert_true(status == PARRY_OK || status == PARRY_NO_MEMORY);
        parry_dataset_free(read);
        parry_dataset_free(few);
    }
    pr_alloc_fail_at(0);
    assert_true(failed > 20 && failed < 200);
    parry_dataset_free(made);
    free(folder);
    free(second);
}

/* Other pixels, the same story: note and class names stay, subsets are subsets, and every failed allocation is
 * survived. */
static void test_replace(void **state)
{
    parry_ctx *ctx = *state;
    parry_dataset *digits, *few, *other = NULL, *again;
    static float white[4 * PR_DIGITS_SIDE * PR_DIGITS_SIDE];
    assert_int_equal(parry_dataset_open(ctx, "digits", PARRY_TEST, &digits), PARRY_OK);
    assert_int_equal(parry_dataset_first(ctx, digits, 4, &few), PARRY_OK);
    for (size_t i = 0; i < PR_COUNT(white); i++)
        white[i] = 1;
    for (long n = 1; !other; n++) {
        pr_alloc_fail_at(n);
        const parry_status status = parry_dataset_replace(ctx, few, white, "all white", &other);
        assert_true(status == (other ? PARRY_OK : PARRY_NO_MEMORY));
    }
    pr_alloc_fail_at(0);
    const parry_dataset_info *was = parry_dataset_describe(few), *is = parry_dataset_describe(other);
    assert_true(is->count == 4 && is->classes == 10 && strcmp(is->name, "digits") == 0);
    assert_true(strncmp(is->note, was->note, strlen(was->note)) == 0);
    assert_string_equal(is->note + strlen(was->note), "; all white");
    assert_string_equal(is->class_names[7], was->class_names[7]);
    assert_memory_equal(parry_dataset_labels(other), parry_dataset_labels(few), 4 * sizeof(int32_t));
    assert_string_not_equal(is->sha256, was->sha256);
    float pixel[PR_DIGITS_SIDE * PR_DIGITS_SIDE];
    assert_int_equal(parry_dataset_images(ctx, other, 3, 1, pixel), PARRY_OK);
    assert_true(pixel[0] == 1);
    assert_int_equal(parry_dataset_replace(ctx, other, white, "twice", &again), PARRY_OK);
    assert_non_null(strstr(parry_dataset_describe(again)->note, "; all white; twice"));
    white[5] = NAN;
    parry_dataset_free(again);
    assert_int_equal(parry_dataset_replace(ctx, few, white, "broken", &again), PARRY_NUMERIC);
    parry_dataset_free(other);
    parry_dataset_free(few);
    parry_dataset_free(digits);
}

/* The fuzzer's seeds as the words beside two images: names are read and found, or the folder is refused by name. */
static void test_seeds_of_names(void **state)
{
    static const struct {
        const char *seed;
        parry_status status, match; /* of the folder; of its names with ImageNet's */
        int names;
    } seeds[] = {
        {"two", PARRY_OK, PARRY_OK, 2},         {"none", PARRY_OK, PARRY_OK, 0}, {"numbers", PARRY_OK, PARRY_OK, 3},
        {"moved", PARRY_OK, PARRY_MISMATCH, 3}, {"odd", PARRY_OK, PARRY_OK, 4},  {"long", PARRY_OK, PARRY_OK, 2},
        {"fewer", PARRY_FORMAT, PARRY_OK, 0},
    };
    static const pr_classes imagenet = {"a network", PR_IMAGENET_CLASSES, pr_imagenet_names, pr_imagenet_wnids};
    parry_ctx *ctx = *state;
    parry_dataset *two, *read;
    OK_IN(ctx, parry_dataset_create(ctx, pixels, (const int32_t[]){0, 1}, 2, C, H, W, 2, &two));
    char *folder = scratch_path("seeds"), *words = scratch_path("seeds/dataset.json");
    for (size_t i = 0; i < PR_COUNT(seeds); i++) {
        char path[512];
        uint8_t *data;
        size_t size;
        snprintf(path, sizeof path, "%s/classes/%s", getenv("PARRY_FUZZ_CORPUS"), seeds[i].seed);
        OK_IN(ctx, pr_file_read(ctx, path, 1 << 16, &data, &size));
        OK_IN(ctx, parry_dataset_write(ctx, two, folder));
        OK_IN(ctx, parry_file_write(ctx, words, data, size));
        pr_free(data);
        const parry_status status = parry_dataset_open(ctx, folder, PARRY_TEST, &read);
        if (status != PARRY_OK) {
            check_error(ctx, status, seeds[i].status, words);
            continue;
        }
        const parry_dataset_info *info = parry_dataset_describe(read);
        const pr_classes theirs = {"data", info->classes, info->class_names, NULL};
        assert_int_equal(info->class_names ? info->classes : 0, seeds[i].names);
        assert_int_equal(pr_classes_match(ctx, &imagenet, &theirs), seeds[i].match);
        int found;
        for (int k = 0; k < seeds[i].names; k++)
            if (pr_classes_find(ctx, &theirs, info->class_names[k], &found) == PARRY_OK)
                assert_int_equal(found, k);
            else
                check_says(ctx, "may be class");
        parry_dataset_free(read);
    }
    parry_dataset_free(two);
    free(folder);
    free(words);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_create_and_first),
        cmocka_unit_test(test_create_refusals),
        cmocka_unit_test(test_hash_covers_pixels_and_labels),
        cmocka_unit_test(test_write_and_open),
        cmocka_unit_test(test_written_folder_spoilt),
        cmocka_unit_test(test_unwritable),
        cmocka_unit_test(test_digits),
        cmocka_unit_test(test_digits_can_be_cancelled),
        cmocka_unit_test(test_memory_failures),
        cmocka_unit_test(test_replace),
        cmocka_unit_test(test_seeds_of_names),
    };
    return cmocka_run_group_tests(tests, setup, scratch_teardown);
}
