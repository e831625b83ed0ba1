/* The readers of IDX, CIFAR binary and .npy: what is right is read exactly, and whatever is cut, stretched or out of
 * range is refused. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zlib.h>

#include "base/rng.h"
#include "data/data.h"
#include "scratch.h"

enum { N = 5, H = 3, W = 4, PIXELS = N * H * W, IMAGES_HEADER = 16, LABELS_HEADER = 8 };

static const uint8_t idx_images[IMAGES_HEADER] = {0, 0, 8, 3, 0, 0, 0, N, 0, 0, 0, H, 0, 0, 0, W};
static const uint8_t idx_labels[LABELS_HEADER] = {0, 0, 8, 1, 0, 0, 0, N};

static void fill(uint8_t *bytes, size_t count, uint64_t sample, uint32_t below)
{
    pr_rng rng = pr_rng_init(1, PR_STREAM_TEST, sample);
    for (size_t i = 0; i < count; i++)
        bytes[i] = (uint8_t)pr_rng_below(&rng, below);
}

static void make_idx(uint8_t images[IMAGES_HEADER + PIXELS], uint8_t labels[LABELS_HEADER + N])
{
    memcpy(images, idx_images, IMAGES_HEADER);
    memcpy(labels, idx_labels, LABELS_HEADER);
    fill(images + IMAGES_HEADER, PIXELS, 0, 256);
    fill(labels + LABELS_HEADER, N, 1, 10);
}

static void test_idx_reads_what_is_there(void **state)
{
    parry_ctx *ctx = *state;
    uint8_t images[IMAGES_HEADER + PIXELS], labels[LABELS_HEADER + N];
    pr_images read;
    make_idx(images, labels);
    assert_int_equal(pr_idx_images(ctx, "i", images, sizeof images, &read), PARRY_OK);
    assert_int_equal(pr_idx_labels(ctx, "l", labels, sizeof labels, 10, &read), PARRY_OK);
    assert_int_equal(read.count, N);
    assert_int_equal(read.channels * 100 + read.height * 10 + read.width, 134);
    assert_int_equal(read.classes, 10);
    assert_memory_equal(read.bytes, images + IMAGES_HEADER, PIXELS);
    for (int i = 0; i < N; i++)
        assert_int_equal(read.labels[i], labels[LABELS_HEADER + i]);
    pr_images_release(&read);
}

/* Copies into exactly sized memory, so that a sanitizer sees any read past the end. */
static parry_status read_idx(parry_ctx *ctx, const uint8_t *images, size_t images_size, const uint8_t *labels,
                             size_t labels_size)
{
    pr_images read;
    uint8_t *i = malloc(images_size + 1), *l = malloc(labels_size + 1);
    memcpy(i + 1, images, images_size);
    memcpy(l + 1, labels, labels_size);
    parry_status status = pr_idx_images(ctx, "the images", i + 1, images_size, &read);
    if (status == PARRY_OK)
        status = pr_idx_labels(ctx, "the labels", l + 1, labels_size, 10, &read);
    pr_images_release(&read);
    free(i);
    free(l);
    return status;
}

static void test_idx_refuses_every_truncation(void **state)
{
    parry_ctx *ctx = *state;
    uint8_t images[IMAGES_HEADER + PIXELS], labels[LABELS_HEADER + N];
    make_idx(images, labels);
    for (size_t size = 0; size < sizeof images; size++) {
        assert_int_equal(read_idx(ctx, images, size, labels, sizeof labels), PARRY_FORMAT);
        assert_non_null(strstr(parry_ctx_error(ctx), "the images"));
        assert_non_null(strstr(parry_ctx_error(ctx), "truncated"));
    }
    for (size_t size = 0; size < sizeof labels; size++)
        assert_int_equal(read_idx(ctx, images, sizeof images, labels, size), PARRY_FORMAT);
    for (size_t size = 1; size < 5; size++) { /* what was never IDX is not called truncated */
        assert_int_equal(read_idx(ctx, (const uint8_t *)"junk", size, labels, sizeof labels), PARRY_FORMAT);
        assert_non_null(strstr(parry_ctx_error(ctx), "not IDX images: the magic number is 0x6a"));
    }
    assert_int_equal(read_idx(ctx, images, sizeof images, labels, sizeof labels), PARRY_OK);
}

static void test_idx_refuses_wrong_headers(void **state)
{
    parry_ctx *ctx = *state;
    static const struct {
        bool labels;
        int at, value;
        parry_status status;
        const char *says;
    } changes[] = {
        {false, 3, 1, PARRY_FORMAT, "magic"},
        {false, 2, 13, PARRY_FORMAT, "magic"},
        {false, 0, 31, PARRY_FORMAT, "magic"},
        {true, 3, 3, PARRY_FORMAT, "magic"},
        {false, 7, 0, PARRY_FORMAT, "zero"},
        {false, 11, 0, PARRY_FORMAT, "zero"},
        {false, 7, N + 1, PARRY_FORMAT, "truncated"},
        {false, 7, N - 1, PARRY_FORMAT, "too long"},
        {false, 4, 255, PARRY_FORMAT, "too large"},
        {false, 12, 255, PARRY_FORMAT, "too large"},
        {true, 7, N - 1, PARRY_FORMAT, "too long"},
        {true, LABELS_HEADER, 10, PARRY_FORMAT, "label 0 is 10"},
        {true, LABELS_HEADER + 3, 255, PARRY_FORMAT, "label 3 is 255"},
    };
    for (size_t i = 0; i < PR_COUNT(changes); i++) {
        uint8_t images[IMAGES_HEADER + PIXELS], labels[LABELS_HEADER + N];
        make_idx(images, labels);
        (changes[i].labels ? labels : images)[changes[i].at] = (uint8_t)changes[i].value;
        assert_int_equal(read_idx(ctx, images, sizeof images, labels, sizeof labels), changes[i].status);
        assert_non_null(strstr(parry_ctx_error(ctx), changes[i].says));
        assert_non_null(strstr(parry_ctx_error(ctx), changes[i].labels ? "the labels" : "the images"));
    }
}

static void test_idx_counts_must_agree(void **state)
{
    parry_ctx *ctx = *state;
    uint8_t images[IMAGES_HEADER + PIXELS], labels[LABELS_HEADER + N];
    make_idx(images, labels);
    labels[7] = N - 1;
    assert_int_equal(read_idx(ctx, images, sizeof images, labels, sizeof labels - 1), PARRY_MISMATCH);
    assert_string_equal(parry_ctx_error(ctx), "the labels: 4 labels for 5 images");
}

/* Extents whose product wraps around to the size of the file must not pass. */
static void test_idx_extents_do_not_overflow(void **state)
{
    parry_ctx *ctx = *state;
    uint8_t images[IMAGES_HEADER + PIXELS], labels[LABELS_HEADER + N];
    make_idx(images, labels);
    static const uint8_t wrapping[12] = {128, 0, 0, 0, 128, 0, 0, 0, 0, 0, 0, 8};
    memcpy(images + 4, wrapping, sizeof wrapping);
    assert_int_equal(read_idx(ctx, images, IMAGES_HEADER, labels, sizeof labels), PARRY_FORMAT);
    memset(images + 4, 255, 12);
    assert_int_equal(read_idx(ctx, images, sizeof images, labels, sizeof labels), PARRY_FORMAT);
}

/* ---- CIFAR ------------------------------------------------------------------------------------------------------ */

enum { RECORD = 3073 };

static void test_cifar(void **state)
{
    parry_ctx *ctx = *state;
    uint8_t records[3 * RECORD];
    fill(records, sizeof records, 2, 256);
    for (int i = 0; i < 3; i++)
        records[i * RECORD] = (uint8_t)(i + 7);
    char *paths[2] = {scratch_file("a.bin", records, sizeof records), scratch_gz("b.bin.gz", records, sizeof records)};
    pr_images read;
    assert_int_equal(pr_cifar_read(ctx, paths, 2, &read), PARRY_OK);
    assert_int_equal(read.count, 6);
    for (int i = 0; i < 6; i++) {
        assert_int_equal(read.labels[i], i % 3 + 7);
        assert_memory_equal(read.bytes + i * 3072, records + i % 3 * RECORD + 1, 3072);
    }
    pr_images_release(&read);
    free(paths[1]);

    paths[1] = scratch_file("short.bin", records, 2 * RECORD);
    assert_int_equal(pr_cifar_read(ctx, paths, 2, &read), PARRY_MISMATCH);
    free(paths[1]);
    for (size_t size = 0; size < 2 * RECORD; size += 440) {
        paths[1] = scratch_file("cut.bin", records, size);
        assert_int_equal(pr_cifar_read(ctx, paths + 1, 1, &read), PARRY_FORMAT);
        assert_non_null(strstr(parry_ctx_error(ctx), "cut.bin"));
        free(paths[1]);
    }
    records[RECORD] = 10;
    paths[1] = scratch_file("label.bin", records, sizeof records);
    assert_int_equal(pr_cifar_read(ctx, paths + 1, 1, &read), PARRY_FORMAT);
    assert_non_null(strstr(parry_ctx_error(ctx), "record 1 is 10; expected 0 to 9"));
    free(paths[0]);
    free(paths[1]);
}

/* ---- .npy ------------------------------------------------------------------------------------------------------- */

/* A .npy file in memory, its header as NumPy writes it. */
static uint8_t *make_npy(const char *descr, bool fortran, const char *shape, const void *elements, size_t bytes,
                         size_t *size)
{
    char dict[200];
    int length = snprintf(dict, sizeof dict, "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }", descr,
                          fortran ? "True" : "False", shape);
    while ((10 + length + 1) % 64)
        dict[length++] = ' ';
    dict[length++] = '\n';
    *size = 10 + (size_t)length + bytes;
    uint8_t *file = malloc(*size);
    memcpy(file, "\x93NUMPY\x01\x00", 8);
    file[8] = (uint8_t)length;
    file[9] = 0;
    memcpy(file + 10, dict, (size_t)length);
    if (bytes)
        memcpy(file + 10 + length, elements, bytes);
    return file;
}

static parry_status read_npy(parry_ctx *ctx, const char *descr, bool fortran, const char *shape, const void *elements,
                             size_t bytes, pr_images *out)
{
    size_t size;
    uint8_t *file = make_npy(descr, fortran, shape, elements, bytes, &size);
    parry_status status = pr_npy_images(ctx, "x.npy", file, size, out);
    free(file);
    return status;
}

static void test_npy_types_and_layouts(void **state)
{
    parry_ctx *ctx = *state;
    enum { COUNT = 2, SIDE = 4, ROW = 3 * SIDE * SIDE };
    float singles[COUNT * ROW];
    double doubles[COUNT * ROW];
    uint8_t bytes[COUNT * ROW];
    for (int i = 0; i < COUNT * ROW; i++) {
        bytes[i] = (uint8_t)(i * 2);
        doubles[i] = singles[i] = (float)i / 100;
    }
    pr_images read;
    assert_int_equal(read_npy(ctx, "<f4", false, "(2, 3, 4, 4)", singles, sizeof singles, &read), PARRY_OK);
    assert_int_equal(read.channels, 3);
    assert_memory_equal(read.floats, singles, sizeof singles);
    pr_images_release(&read);
    assert_int_equal(read_npy(ctx, "<f8", false, "(2, 4, 4, 3)", doubles, sizeof doubles, &read), PARRY_OK);
    assert_int_equal(read.channels, 3);
    for (int n = 0; n < COUNT; n++)
        for (int c = 0; c < 3; c++)
            for (int p = 0; p < SIDE * SIDE; p++)
                assert_true(read.floats[n * ROW + c * SIDE * SIDE + p] == singles[n * ROW + p * 3 + c]);
    pr_images_release(&read);
    assert_int_equal(read_npy(ctx, "|u1", false, "(6, 4, 4)", bytes, sizeof bytes, &read), PARRY_OK);
    assert_int_equal(read.count, 6);
    assert_int_equal(read.channels, 1);
    assert_memory_equal(read.bytes, bytes, sizeof bytes);
    pr_images_release(&read);
}

static void test_npy_refusals(void **state)
{
    parry_ctx *ctx = *state;
    static const float values[8] = {0, 0.25f, 0.5f, 0.75f, 1, 1.0625f, -0.5f, 0};
    static const struct {
        const char *descr;
        bool fortran;
        const char *shape;
        parry_status status;
        const char *says;
    } cases[] = {
        {"<f4", false, "(2, 2, 2)", PARRY_OK, ""},
        {"<f4", true, "(2, 2, 2)", PARRY_UNSUPPORTED, "Fortran"},
        {">f4", false, "(2, 2, 2)", PARRY_UNSUPPORTED, "'>f4'"},
        {"<i4", false, "(2, 2, 2)", PARRY_UNSUPPORTED, "'<i4'"},
        {"<f4", false, "(2, 2, 3)", PARRY_FORMAT, "announces 48 bytes"},
        {"<f4", false, "(2, 4)", PARRY_FORMAT, "2 dimensions"},
        {"<f4", false, "(2, 0, 4)", PARRY_FORMAT, "empty"},
        {"<f4", false, "()", PARRY_FORMAT, "no shape"},
        {"<f4", false, "(1, 1, 1, 1, 8)", PARRY_FORMAT, "header"},
        {"<f4", false, "(2, -2, 2)", PARRY_FORMAT, "header"},
        {"<f4", false, "(2, 2, 2", PARRY_FORMAT, "header"},
        {"<f4", false, "(4611686018427387904, 4, 4)", PARRY_FORMAT, "larger"},
        {"<f4", false, "(99999999999999999999, 4, 4)", PARRY_FORMAT, "larger"},
        {"<f8", false, "(2, 2, 2)", PARRY_FORMAT, "announces 64 bytes"},
        {"<f99999999999999999999", false, "(2, 2, 2)", PARRY_FORMAT, "header"},
    };
    for (size_t i = 0; i < PR_COUNT(cases); i++) {
        pr_images read;
        assert_int_equal(read_npy(ctx, cases[i].descr, cases[i].fortran, cases[i].shape, values, sizeof values, &read),
                         cases[i].status);
        pr_images_release(&read);
        if (cases[i].status != PARRY_OK)
            assert_non_null(strstr(parry_ctx_error(ctx), cases[i].says));
    }
    static const float wrong[] = {NAN, INFINITY, 255};
    static const parry_status statuses[] = {PARRY_NUMERIC, PARRY_NUMERIC, PARRY_FORMAT};
    for (size_t i = 0; i < PR_COUNT(wrong); i++) {
        float spoilt[8] = {0, 0, 0, 0, 0, wrong[i], 0, 0};
        pr_images read;
        assert_int_equal(read_npy(ctx, "<f4", false, "(2, 2, 2)", spoilt, sizeof spoilt, &read), statuses[i]);
        assert_non_null(strstr(parry_ctx_error(ctx), "image 1"));
        pr_images_release(&read);
    }
}

static void test_npy_refuses_every_truncation(void **state)
{
    parry_ctx *ctx = *state;
    static const float values[8];
    size_t size;
    uint8_t *file = make_npy("<f4", false, "(2, 2, 2)", values, sizeof values, &size);
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *exact = malloc(cut + 1);
        memcpy(exact + 1, file, cut);
        pr_images read;
        assert_int_equal(pr_npy_images(ctx, "x.npy", exact + 1, cut, &read), PARRY_FORMAT);
        free(exact);
    }
    free(file);
}

static void test_npy_labels(void **state)
{
    parry_ctx *ctx = *state;
    static const int64_t wide[3] = {2, 0, 11}, negative[3] = {0, -2, 0};
    static const int32_t narrow[3] = {2, 0, 11};
    static const uint8_t bytes[3] = {2, 0, 11};
    static const struct {
        const char *descr;
        const void *values;
        size_t item;
    } types[] = {{"<i8", wide, 8}, {"<i4", narrow, 4}, {"|u1", bytes, 1}};
    size_t size;
    uint8_t *file;
    for (size_t i = 0; i < PR_COUNT(types); i++) {
        pr_images read = {.count = 3};
        file = make_npy(types[i].descr, false, "(3,)", types[i].values, 3 * types[i].item, &size);
        assert_int_equal(pr_npy_labels(ctx, "y.npy", file, size, 0, &read), PARRY_OK);
        assert_memory_equal(read.labels, narrow, sizeof narrow);
        assert_int_equal(read.classes, 12);
        pr_images_release(&read);
        assert_int_equal(pr_npy_labels(ctx, "y.npy", file, size, 11, &read), PARRY_MISMATCH); /* the count is 0 now */
        read.count = 3;
        assert_int_equal(pr_npy_labels(ctx, "y.npy", file, size, 11, &read), PARRY_FORMAT);
        assert_string_equal(parry_ctx_error(ctx), "y.npy: label 2 is 11; expected 0 to 10");
        pr_images_release(&read);
        free(file);
    }
    pr_images read = {.count = 3};
    file = make_npy("<i8", false, "(3,)", negative, sizeof negative, &size);
    assert_int_equal(pr_npy_labels(ctx, "y.npy", file, size, 0, &read), PARRY_FORMAT);
    pr_images_release(&read);
    free(file);
}

/* The seeds of the fuzzer, and every one of them with each of its first bytes changed: no input may do more than fail.
 */
static void test_fuzz_corpus(void **state)
{
    parry_ctx *ctx = *state;
    static const char *const seeds[] = {"images", "labels", "wrapping", "empty", "wrong-type", "long"};
    for (size_t i = 0; i < PR_COUNT(seeds); i++) {
        char path[512];
        uint8_t *data;
        size_t size;
        snprintf(path, sizeof path, "%s/idx/%s", getenv("PARRY_FUZZ_CORPUS"), seeds[i]);
        assert_int_equal(pr_file_read(ctx, path, 1 << 16, &data, &size), PARRY_OK);
        for (size_t at = 0; at < PR_MIN(size, (size_t)24) * 4; at++) {
            static const uint8_t flips[] = {0, 1, 0x80, 0xff};
            pr_images read;
            data[at / 4] ^= flips[at % 4];
            if (pr_idx_images(ctx, "seed", data, size, &read) == PARRY_OK)
                assert_true((size_t)(read.count * pr_images_row(&read)) + IMAGES_HEADER == size);
            pr_images_release(&read);
            read.count = 2;
            if (pr_idx_labels(ctx, "seed", data, size, 10, &read) == PARRY_OK)
                assert_true(read.labels[0] < 10 && read.labels[1] < 10 && size == LABELS_HEADER + 2);
            pr_images_release(&read);
            data[at / 4] ^= flips[at % 4];
        }
        pr_free(data);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idx_reads_what_is_there),
        cmocka_unit_test(test_idx_refuses_every_truncation),
        cmocka_unit_test(test_idx_refuses_wrong_headers),
        cmocka_unit_test(test_idx_counts_must_agree),
        cmocka_unit_test(test_idx_extents_do_not_overflow),
        cmocka_unit_test(test_cifar),
        cmocka_unit_test(test_npy_types_and_layouts),
        cmocka_unit_test(test_npy_refusals),
        cmocka_unit_test(test_npy_refuses_every_truncation),
        cmocka_unit_test(test_npy_labels),
        cmocka_unit_test(test_fuzz_corpus),
    };
    return cmocka_run_group_tests(tests, scratch_setup, scratch_teardown);
}
