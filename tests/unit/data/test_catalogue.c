/* Finding data sets: by name in $PARRY_DATA and the cache, by path in every layout; and the promise that a name never
 * stands for other content. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <string.h>
#include <unistd.h>

#include "base/rng.h"
#include "data/data.h"
#include "scratch.h"

enum { N = 3, SIDE = 28, RECORD = 3073, BATCH = 10000 };

static char *real_data; /* $PARRY_DATA as the tests found it, or NULL */

/* $PARRY_DATA and the cache are folders of this test. */
static int setup(void **state)
{
    const char *data = getenv("PARRY_DATA");
    if (data && data[0])
        real_data = strdup(data);
    int failed = scratch_setup(state);
    char *root = scratch_path("data"), *cache = scratch_path("cache");
    setenv("PARRY_DATA", root, 1);
    setenv("XDG_CACHE_HOME", cache, 1);
    free(root);
    free(cache);
    return failed;
}

static int teardown(void **state)
{
    free(real_data);
    return scratch_teardown(state);
}

/* A small IDX pair: `mark` is the value of all pixels, and label i is i. */
static void write_idx(const char *folder, const char *prefix, uint8_t mark, bool gz)
{
    uint8_t images[16 + N * SIDE * SIDE] = {0, 0, 8, 3, 0, 0, 0, N, 0, 0, 0, SIDE, 0, 0, 0, SIDE},
                                   labels[8 + N] = {0, 0, 8, 1, 0, 0, 0, N};
    char name[200];
    memset(images + 16, mark, sizeof images - 16);
    for (int i = 0; i < N; i++)
        labels[8 + i] = (uint8_t)i;
    snprintf(name, sizeof name, "%s/%s-images-idx3-ubyte%s", folder, prefix, gz ? ".gz" : "");
    free((gz ? scratch_gz : scratch_file)(name, images, sizeof images));
    snprintf(name, sizeof name, "%s/%s-labels-idx1-ubyte%s", folder, prefix, gz ? ".gz" : "");
    free((gz ? scratch_gz : scratch_file)(name, labels, sizeof labels));
}

static void remove_file(const char *name)
{
    char *path = scratch_path(name);
    assert_int_equal(unlink(path), 0);
    free(path);
}

static void assert_opens(parry_ctx *ctx, const char *spec, parry_split split, int mark, const char *split_name)
{
    parry_dataset *read;
    float image[SIDE * SIDE];
    if (parry_dataset_open(ctx, spec, split, &read) != PARRY_OK)
        fail_msg("%s", parry_ctx_error(ctx));
    assert_int_equal(parry_dataset_images(ctx, read, 1, 1, image), PARRY_OK);
    assert_true(image[77] == (float)mark / 255.0f);
    assert_int_equal(parry_dataset_labels(read)[2], 2);
    assert_string_equal(parry_dataset_describe(read)->split, split_name);
    assert_string_equal(parry_dataset_describe(read)->name, spec);
    parry_dataset_free(read);
}

static void assert_refused(parry_ctx *ctx, const char *spec, parry_split split, parry_status status, const char *says)
{
    parry_dataset *read;
    assert_int_equal(parry_dataset_open(ctx, spec, split, &read), status);
    assert_null(read);
    check_says(ctx, says);
}

static void test_search_order(void **state)
{
    parry_ctx *ctx = *state;
    char *where;
    assert_refused(ctx, "mnist", PARRY_TEST, PARRY_NOT_FOUND, "parry data fetch mnist");
    assert_non_null(strstr(parry_ctx_error(ctx), "--data digits"));
    assert_non_null(strstr(parry_ctx_error(ctx), "/data/mnist, "));
    assert_non_null(strstr(parry_ctx_error(ctx), "/cache/parry/mnist"));
    assert_int_equal(parry_dataset_locate(ctx, "mnist", &where), PARRY_OK);
    assert_null(where);

    write_idx("cache/parry/mnist", "t10k", 10, true);
    assert_opens(ctx, "mnist", PARRY_TEST, 10, "test");
    assert_int_equal(parry_dataset_locate(ctx, "mnist", &where), PARRY_OK);
    assert_non_null(strstr(where, "/cache/parry/mnist"));
    parry_string_free(where);
    write_idx("data/mnist", "t10k", 20, false);
    assert_opens(ctx, "mnist", PARRY_TEST, 20, "test");
    assert_refused(ctx, "mnist", PARRY_TRAIN, PARRY_NOT_FOUND, "mnist (train)");
    write_idx("data/mnist", "train", 30, true);
    assert_opens(ctx, "mnist", PARRY_TRAIN, 30, "train");
    assert_opens(ctx, "mnist", PARRY_TEST, 20, "test");
    remove_file("data/mnist/t10k-labels-idx1-ubyte"); /* half a pair is none */
    assert_opens(ctx, "mnist", PARRY_TEST, 10, "test");
}

/* Content under a known name that is not the original is remarked on. */
static void test_other_content_is_remarked_on(void **state)
{
    parry_ctx *ctx = *state;
    parry_dataset *read;
    write_idx("data/fashion-mnist", "t10k", 1, false);
    assert_int_equal(parry_dataset_open(ctx, "fashion-mnist", PARRY_TEST, &read), PARRY_OK);
    assert_non_null(strstr(parry_dataset_describe(read)->note, "differs from the original"));
    assert_string_equal(parry_dataset_describe(read)->class_names[9], "Ankle boot");
    parry_dataset_free(read);
}

static void test_paths(void **state)
{
    parry_ctx *ctx = *state;
    write_idx("mine", "t10k", 40, true);
    write_idx("mine", "train", 50, false);
    write_idx("mine", "odd", 60, true);
    char *folder = scratch_path("mine"), *file = scratch_path("mine/odd-images-idx3-ubyte.gz"),
         *text = scratch_file("mine/a.txt", "x", 1);
    char *labels = scratch_path("mine/odd-labels-idx1-ubyte.gz");
    assert_opens(ctx, folder, PARRY_TEST, 40, "test");
    assert_opens(ctx, folder, PARRY_TRAIN, 50, "train");
    assert_opens(ctx, file, PARRY_TEST, 60, "all");
    assert_refused(ctx, text, PARRY_TEST, PARRY_FORMAT, "not a known kind of data");
    assert_refused(ctx, labels, PARRY_TEST, PARRY_NOT_FOUND, "name a file of images");
    remove_file("mine/odd-labels-idx1-ubyte.gz");
    assert_refused(ctx, file, PARRY_TEST, PARRY_NOT_FOUND, "expected odd-labels-idx1-ubyte beside it");
    remove_file("mine/train-images-idx3-ubyte");
    assert_refused(ctx, folder, PARRY_TRAIN, PARRY_NOT_FOUND, "no training images in this folder");
    static const char *const missing[] = {"no/such/thing", "missing/", "missing.npz", "images.npy",
                                          "train-images-idx3-ubyte"};
    for (size_t i = 0; i < PR_COUNT(missing); i++)
        assert_refused(ctx, missing[i], PARRY_TEST, PARRY_NOT_FOUND, "there is no such file or folder");
    free(folder);
    free(file);
    free(text);
    free(labels);
}

static void test_broken_pairs(void **state)
{
    parry_ctx *ctx = *state;
    static const uint8_t wrong_label[8 + N] = {0, 0, 8, 1, 0, 0, 0, N, 0, 10, 2},
                                         two_labels[8 + 2] = {0, 0, 8, 1, 0, 0, 0, 2};
    char *folder = scratch_path("broken");
    write_idx("broken", "t10k", 1, true);
    free(scratch_gz("broken/t10k-labels-idx1-ubyte.gz", wrong_label, sizeof wrong_label));
    assert_refused(ctx, folder, PARRY_TEST, PARRY_FORMAT, "t10k-labels-idx1-ubyte.gz: label 1 is 10; expected 0 to 9");
    free(scratch_gz("broken/t10k-labels-idx1-ubyte.gz", two_labels, sizeof two_labels));
    assert_refused(ctx, folder, PARRY_TEST, PARRY_MISMATCH, "2 labels for 3 images");
    static const uint8_t cut_gz[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 0x63};
    free(scratch_file("broken/t10k-images-idx3-ubyte.gz", cut_gz, sizeof cut_gz));
    assert_refused(ctx, folder, PARRY_TEST, PARRY_FORMAT, "t10k-images-idx3-ubyte.gz");
    free(folder);
}

static void test_unknown_names(void **state)
{
    parry_ctx *ctx = *state;
    char *where;
    assert_refused(ctx, "minst", PARRY_TEST, PARRY_INVALID, "did you mean 'mnist'?");
    assert_refused(ctx, "fasion-mnist", PARRY_TEST, PARRY_INVALID, "did you mean 'fashion-mnist'?");
    assert_refused(ctx, "cifar-10", PARRY_TEST, PARRY_INVALID, "did you mean 'cifar10'?");
    assert_refused(ctx, "photographs", PARRY_TEST, PARRY_INVALID, "digits");
    assert_int_equal(parry_dataset_locate(ctx, "digist", &where), PARRY_INVALID);
    assert_int_equal(parry_dataset_locate(ctx, "digits", &where), PARRY_OK);
    assert_string_equal(where, "built-in");
    parry_string_free(where);
}

static void test_list(void **state)
{
    (void)state;
    size_t count;
    const parry_dataset_entry *list = parry_dataset_list(&count);
    assert_null(list[count].name);
    for (size_t i = 0; i < count; i++) {
        const pr_source *source = pr_source_find(list[i].name);
        assert_ptr_equal(source, pr_source_at(i));
        assert_true(list[i].fetchable == (source->remotes > 0));
        assert_true(source->mirrors ? source->by_hand == NULL : source->by_hand != NULL);
        for (size_t m = 0; source->mirrors && source->mirrors[m]; m++)
            assert_memory_equal(source->mirrors[m], "https://", 8);
        for (size_t r = 0; r < source->remotes; r++)
            assert_true(strlen(source->remote[r].sha256) == 64 && source->remote[r].size > 0);
    }
    assert_null(pr_source_at(count));
}

/* Whichever allocation fails, finding and reading a data set report it, and leak nothing (the sanitizer watches). */
static void test_memory_failures(void **state)
{
    parry_ctx *ctx = *state;
    static const struct {
        const char *name;
        parry_status ends_with;
    } cases[] = {{"mnist", PARRY_OK}, {"cifar10", PARRY_NOT_FOUND}};
    write_idx("data/mnist", "t10k", 20, true);
    for (size_t i = 0; i < PR_COUNT(cases); i++) {
        parry_status status = PARRY_NO_MEMORY;
        int failed = 0;
        for (; status == PARRY_NO_MEMORY && failed < 200; failed++) {
            parry_dataset *read;
            pr_alloc_fail_at(failed + 1);
            status = parry_dataset_open(ctx, cases[i].name, PARRY_TEST, &read);
            parry_dataset_free(read);
        }
        pr_alloc_fail_at(0);
        assert_true(failed > 5);
        assert_int_equal(status, cases[i].ends_with);
    }
}

/* ---- CIFAR-10 and its likenesses -------------------------------------------------------------------------------- */

/* Batches of `count` records, of which the first ones may be given; the rest is noise. */
static void write_batch(const char *name, int count, const uint8_t *first, size_t first_size)
{
    uint8_t *records = malloc((size_t)count * RECORD);
    pr_rng rng = pr_rng_init(3, PR_STREAM_TEST, 0);
    for (int i = 0; i < count * RECORD; i++)
        records[i] = i % RECORD ? (uint8_t)pr_rng_u32(&rng) : (uint8_t)(i / RECORD % 10);
    if (first_size)
        memcpy(records, first, first_size);
    free(scratch_file(name, records, (size_t)count * RECORD));
    free(records);
}

/* The parts lie below the folder "cifar10" and the name does not take them; it says what is there and how to ask for
 * it. */
static void test_cifar10_never_takes_its_likenesses(void **state)
{
    parry_ctx *ctx = *state;
    write_batch("data/cifar10/from-jpeg/test_batch.bin", 20, NULL, 0);
    write_batch("data/cifar10/from-jpeg/data_batch_1.bin", 20, NULL, 0);
    write_batch("data/cifar10/lossless/test_subset300.bin", 20, NULL, 0);
    for (int split = 0; split < 2; split++) {
        assert_refused(ctx, "cifar10", (parry_split)split, PARRY_NOT_FOUND, "--data cifar10-jpeg");
        assert_non_null(strstr(parry_ctx_error(ctx), "not the original pixels"));
        assert_non_null(strstr(parry_ctx_error(ctx), "--data cifar10-lossless"));
    }
    parry_dataset *read;
    assert_int_equal(parry_dataset_open(ctx, "cifar10-jpeg", PARRY_TEST, &read), PARRY_OK);
    assert_string_equal(parry_dataset_describe(read)->note,
                        "decoded from JPEG-recompressed images, not the original pixels");
    assert_string_equal(parry_dataset_describe(read)->class_names[9], "truck");
    parry_dataset_free(read);

    char *folder = scratch_path("data/cifar10"); /* nor does the folder's path */
    assert_refused(ctx, folder, PARRY_TEST, PARRY_NOT_FOUND, "no test images");
    free(folder);

    /* ... even where other images lie under the right file name; by path they are taken, with a remark */
    write_batch("data/cifar10/test_batch.bin", BATCH, NULL, 0);
    assert_refused(ctx, "cifar10", PARRY_TEST, PARRY_MISMATCH, "do not hold the original pixels");
    folder = scratch_path("data/cifar10");
    assert_int_equal(parry_dataset_open(ctx, folder, PARRY_TEST, &read), PARRY_OK);
    assert_non_null(strstr(parry_dataset_describe(read)->note, "not known to hold"));
    parry_dataset_free(read);
    free(folder);
    remove_file("data/cifar10/test_batch.bin");
    assert_refused(ctx, "cifar10-lossless", PARRY_TEST, PARRY_MISMATCH, "do not hold the original pixels");
}

static void needs_real_data(void)
{
    if (!real_data) {
        print_message("skipped: PARRY_DATA is not set\n");
        skip();
    }
}

/* Files with the original's first images are the original; recompressed ones copied over its name are not. */
static void test_cifar10_is_told_by_its_pixels(void **state)
{
    parry_ctx *ctx = *state;
    char path[512];
    uint8_t *exact;
    size_t size;
    parry_dataset *read;
    needs_real_data();
    snprintf(path, sizeof path, "%s/cifar10/lossless/test_subset300.bin.gz", real_data);
    assert_int_equal(pr_file_read_gz(ctx, path, 1 << 20, &exact, &size), PARRY_OK);
    write_batch("data/cifar10/cifar-10-batches-bin/test_batch.bin", BATCH, exact, 100 * RECORD);
    pr_free(exact);
    assert_int_equal(parry_dataset_open(ctx, "cifar10", PARRY_TEST, &read), PARRY_OK);
    assert_int_equal(parry_dataset_describe(read)->count, BATCH);
    assert_null(parry_dataset_describe(read)->note);
    parry_dataset_free(read);

    char *copy = scratch_path("data/cifar10/cifar-10-batches-bin/test_batch.bin.gz");
    remove_file("data/cifar10/cifar-10-batches-bin/test_batch.bin");
    snprintf(path, sizeof path, "%s/cifar10/from-jpeg/test_batch.bin.gz", real_data);
    assert_int_equal(symlink(path, copy), 0);
    assert_refused(ctx, "cifar10", PARRY_TEST, PARRY_MISMATCH, "decoded from JPEG");
    assert_int_equal(parry_dataset_open(ctx, copy, PARRY_TEST, &read), PARRY_OK);
    assert_non_null(strstr(parry_dataset_describe(read)->note, "not the original pixels"));
    parry_dataset_free(read);
    free(copy);
}

/* The sizes and hashes of what can be downloaded are those of the real files. */
static void test_remote_files_are_the_real_ones(void **state)
{
    parry_ctx *ctx = *state;
    const pr_source *source;
    needs_real_data();
    for (size_t i = 0; (source = pr_source_at(i)); i++)
        for (size_t r = 0; r < source->remotes; r++) {
            const pr_remote_file *remote = &source->remote[r];
            char path[512], hex[PR_SHA256_HEX];
            uint8_t *data;
            size_t size;
            snprintf(path, sizeof path, "%s/%s/%s", real_data, source->folders[0], remote->name);
            assert_int_equal(pr_file_read(ctx, path, remote->size, &data, &size), PARRY_OK);
            pr_sha256(data, size, hex);
            pr_free(data);
            assert_int_equal(size, remote->size);
            assert_string_equal(hex, remote->sha256);
        }
}

static void test_real_data(void **state)
{
    parry_ctx *ctx = *state;
    static const struct {
        const char *name, *split, *note;
        int count, channels;
        const char *last_class;
    } sets[] = {
        {"mnist", "test", NULL, 10000, 1, "9"},
        {"fashion-mnist", "test", NULL, 10000, 1, "Ankle boot"},
        {"cifar10-lossless", "test", "a part of CIFAR-10 (original pixels)", 300, 3, "truck"},
    };
    needs_real_data();
    setenv("PARRY_DATA", real_data, 1);
    for (size_t i = 0; i < PR_COUNT(sets); i++) {
        parry_dataset *read;
        if (parry_dataset_open(ctx, sets[i].name, PARRY_TEST, &read) != PARRY_OK)
            fail_msg("%s", parry_ctx_error(ctx));
        const parry_dataset_info *info = parry_dataset_describe(read);
        assert_int_equal(info->count, sets[i].count);
        assert_int_equal(info->channels, sets[i].channels);
        assert_string_equal(info->note ? info->note : "", sets[i].note ? sets[i].note : "");
        assert_string_equal(info->class_names[9], sets[i].last_class);
        parry_dataset_free(read);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_search_order),
        cmocka_unit_test(test_other_content_is_remarked_on),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_broken_pairs),
        cmocka_unit_test(test_unknown_names),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_memory_failures),
        cmocka_unit_test(test_cifar10_never_takes_its_likenesses),
        cmocka_unit_test(test_cifar10_is_told_by_its_pixels),
        cmocka_unit_test(test_remote_files_are_the_real_ones),
        cmocka_unit_test(test_real_data),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
