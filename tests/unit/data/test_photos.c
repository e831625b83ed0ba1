/* Photographs: every kind of file reads as Pillow reads it, resizes as torchvision does, and damaged ones are named.
 * The expected values in golden/image are Pillow's and torchvision's (make.py there). */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <zlib.h>

#include "data/photos.h"
#include "../support/context.h"

enum { PATH = 512 };

static void golden_path(const char *name, char path[PATH])
{
    snprintf(path, PATH, "%s/image/%s", getenv("PARRY_TEST_DATA"), name);
}

/* NAME.npy: H x W (x C) bytes, as an image of planes. */
static parry_image expected(const char *name)
{
    char file[128], path[PATH];
    parry_image image;
    uint8_t *data;
    size_t size;
    snprintf(file, sizeof file, "%s.npy", name);
    golden_path(file, path);
    OK_IN(ctx, pr_file_read(ctx, path, 1 << 20, &data, &size));
    const bool flat = !memmem(data, 128, ", 3), }", 7);
    pr_free(data);
    if (flat) { /* H x W: give it the axis that readers of images expect */
        FILE *in = fopen(path, "rb");
        char header[128]; /* the dict begins behind magic, version and length */
        int h, w;
        assert_int_equal(fread(header, 1, sizeof header, in), sizeof header);
        header[sizeof header - 1] = '\0';
        const char *shape = strstr(header + 10, "'shape': (");
        assert_non_null(shape);
        assert_int_equal(sscanf(shape, "'shape': (%d, %d)", &h, &w), 2);
        image = (parry_image){1, h, w, NULL};
        OK_IN(ctx, pr_alloc_raw(ctx, h * w, &image.pixels));
        for (int i = 0; i < h * w; i++)
            image.pixels[i] = (float)getc(in) / 255;
        fclose(in);
        return image;
    }
    OK_IN(ctx, parry_image_read(ctx, path, &image));
    return image;
}

static void assert_same_image(const char *name, const parry_image *a, const parry_image *b)
{
    if (a->channels != b->channels || a->height != b->height || a->width != b->width)
        fail_msg("%s: %d x %d x %d, expected %d x %d x %d", name, a->channels, a->height, a->width, b->channels,
                 b->height, b->width);
    for (int i = 0; i < a->channels * a->height * a->width; i++)
        if (a->pixels[i] != b->pixels[i])
            fail_msg("%s: value %d is %g / 255, expected %g / 255", name, i, 255 * (double)a->pixels[i],
                     255 * (double)b->pixels[i]);
}

static void test_every_kind_reads_as_pillow(void **state)
{
    static const char *const files[] = {
        "grey.png",         "rgb.png",        "bilevel.png",    "palette.png", "palette_transparent.png",
        "rgba.png",         "grey_alpha.png", "interlaced.png", "photo.jpg",   "cmyk.jpg",
        "progressive.jpg",  "grey_jpeg.jpg",  "turned_png.png", "lossy.webp",  "lossless.webp",
        "turned_webp.webp", "turn1.jpg",      "turn2.jpg",      "turn3.jpg",   "turn4.jpg",
        "turn5.jpg",        "turn6.jpg",      "turn7.jpg",      "turn8.jpg",
    };
    (void)state;
    for (size_t i = 0; i < PR_COUNT(files); i++) {
        char path[PATH], name[64];
        parry_image read, wanted;
        golden_path(files[i], path);
        snprintf(name, sizeof name, "%.*s", (int)strcspn(files[i], "."), files[i]);
        OK_IN(ctx, parry_image_read(ctx, path, &read));
        wanted = expected(name);
        assert_same_image(files[i], &read, &wanted);
        parry_image_clear(&read);
        parry_image_clear(&wanted);
    }
}

static void test_sixteen_bits_lose_nothing(void **state)
{
    (void)state;
    for (int channels = 1; channels <= 3; channels += 2) {
        char path[PATH];
        parry_image read;
        golden_path(channels == 1 ? "grey16.png" : "rgb16.png", path);
        OK_IN(ctx, parry_image_read(ctx, path, &read));
        assert_int_equal(read.channels, channels);
        for (int c = 0; c < channels; c++)
            for (int y = 0; y < 21; y++)
                for (int x = 0; x < 26; x++)
                    assert_float_equal(read.pixels[(c * 21 + y) * 26 + x],
                                       (float)((y * 3001 + x * 17 + c * 11) % 65536) / 65535, 0);
        parry_image_clear(&read);
    }
}

static void test_resizing_is_pillows_to_the_bit(void **state)
{
    static const struct {
        const char *file, *expected;
        pr_photo_size size;
    } cases[] = {
        {"photo.jpg", "resize_crop", {3, 16, 16, PARRY_RESIZE_CROP, 19}},
        {"photo.jpg", "resize_crop_up", {3, 61, 61, PARRY_RESIZE_CROP, 64}},
        {"tall.png", "resize_crop_tall", {3, 17, 23, PARRY_RESIZE_CROP, 24}},
        {"photo.jpg", "resize_squash", {3, 17, 13, PARRY_RESIZE_SQUASH, 0}},
        {"photo.jpg", "resize_nearest", {3, 17, 13, PARRY_RESIZE_SQUASH_NEAREST, 0}},
        {"photo.jpg", "resize_nearest_up", {3, 61, 83, PARRY_RESIZE_SQUASH_NEAREST, 0}},
        {"photo.jpg", "to_grey", {1, 17, 13, PARRY_RESIZE_SQUASH, 0}},
        {"photo.jpg", "photo", {3, 37, 50, PARRY_RESIZE_NONE, 0}},
    };
    (void)state;
    for (size_t i = 0; i < PR_COUNT(cases); i++) {
        char path[PATH];
        pr_bitmap read;
        golden_path(cases[i].file, path);
        OK_IN(ctx, pr_photo_read(ctx, path, &cases[i].size, NULL, &read));
        parry_image wanted = expected(cases[i].expected);
        assert_int_equal(read.channels, wanted.channels);
        const int plane = read.height * read.width;
        for (int k = 0; k < plane * read.channels; k++) {
            const float is = (float)read.bytes[k] / 255,
                        should = wanted.pixels[k % read.channels * plane + k / read.channels];
            if (is != should)
                fail_msg("%s: byte %d is %g, expected %g", cases[i].expected, k, 255 * (double)is,
                         255 * (double)should);
        }
        pr_bitmap_release(&read);
        parry_image_clear(&wanted);
    }
}

/* ---- on demand --------------------------------------------------------------------------------------------------- */

enum { SIDE = 12, ON_DEMAND = 6, DEMAND_ROW = 3 * SIDE * SIDE };

/* Photographs of every kind, of which `room` may be kept. */
static parry_dataset *open_on_demand(size_t room, const char *const files[ON_DEMAND])
{
    pr_photos photos = {0};
    pr_images images;
    parry_dataset *data;
    for (int i = 0; i < ON_DEMAND; i++) {
        char path[PATH];
        const char *word = path;
        pr_photos one;
        golden_path(files[i], path);
        OK(pr_photos_list(ctx, &word, 1, NULL, NULL, PARRY_TEST, &one));
        OK(pr_grow(ctx, photos.count + 1, &photos.capacity, &photos.items));
        photos.items[photos.count++] = one.items[0];
        pr_free(one.items);
    }
    const pr_photo_size size = {3, SIDE, SIDE, PARRY_RESIZE_SQUASH, 0};
    OK(pr_photos_open(ctx, &photos, &size, room * DEMAND_ROW, &images));
    images.classes = 2;
    OK(pr_dataset_take(ctx, &images, &(pr_dataset_words){.name = "demand", .split = "all", .origin = "here"}, &data));
    return data;
}

static void test_photographs_are_read_on_demand(void **state)
{
    (void)state;
    static const char *const files[ON_DEMAND] = {"photo.jpg", "grey.png",   "rgba.png",
                                                 "cmyk.jpg",  "lossy.webp", "progressive.jpg"};
    static const int64_t order[] = {4, 0, 4, 5, 1, 3};
    static const size_t rooms[] = {ON_DEMAND, 2, 0};
    static float all[ON_DEMAND * DEMAND_ROW], some[PR_COUNT(order) * DEMAND_ROW];
    char sha256[PR_SHA256_HEX] = "";
    for (size_t k = 0; k < PR_COUNT(rooms); k++) {
        parry_dataset *data = open_on_demand(rooms[k], files);
        const parry_dataset_info *info = parry_dataset_describe(data);
        assert_string_equal(parry_dataset_image_name(data, 2), "rgba.png");
        OK(pr_dataset_read(ctx, data, order, 0, PR_COUNT(order), true, some));
        assert_string_equal(info->sha256, ""); /* the third was not read yet */
        if (k == 0)
            OK(parry_dataset_images(ctx, data, 0, ON_DEMAND, all));
        OK(pr_dataset_load(ctx, data));
        assert_int_equal(strlen(info->sha256), 64);
        if (k > 0)
            assert_string_equal(info->sha256, sha256);
        snprintf(sha256, sizeof sha256, "%s", info->sha256);
        for (size_t i = 0; i < PR_COUNT(order); i++)
            assert_memory_equal(some + i * DEMAND_ROW, all + order[i] * DEMAND_ROW, DEMAND_ROW * sizeof(float));
        for (int again = 0; again < 2; again++) {
            OK(pr_dataset_read(ctx, data, NULL, 1, 4, again, some));
            assert_memory_equal(some, all + DEMAND_ROW, 4 * DEMAND_ROW * sizeof(float));
        }
        parry_dataset_free(data);
    }
    for (int i = 0; i < ON_DEMAND; i++) { /* each is what it is by itself */
        char path[PATH];
        pr_bitmap one;
        golden_path(files[i], path);
        OK(pr_photo_read(ctx, path, &(pr_photo_size){3, SIDE, SIDE, PARRY_RESIZE_SQUASH, 0}, NULL, &one));
        for (int j = 0; j < DEMAND_ROW; j++)
            assert_true(all[i * DEMAND_ROW + j % 3 * SIDE * SIDE + j / 3] == (float)one.bytes[j] / 255);
        pr_bitmap_release(&one);
    }
}

static void test_a_damaged_photograph_is_named_when_it_is_reached(void **state)
{
    (void)state;
    static const char *const files[ON_DEMAND] = {"photo.jpg", "grey.png", "photo.npy",
                                                 "rgb.png",   "cmyk.jpg", "rgba.png"};
    static float images[ON_DEMAND * DEMAND_ROW];
    parry_dataset *data = open_on_demand(ON_DEMAND, files);
    OK(parry_dataset_images(ctx, data, 0, 2, images));
    assert_int_equal(parry_dataset_images(ctx, data, 0, ON_DEMAND, images), PARRY_FORMAT);
    assert_non_null(strstr(parry_ctx_error(ctx), "photo.npy: not a picture"));
    assert_int_equal(pr_dataset_load(ctx, data), PARRY_FORMAT);
    OK(parry_dataset_images(ctx, data, 3, 3, images));
    assert_string_equal(parry_dataset_describe(data)->sha256, "");
    parry_dataset_free(data);
}

static void test_a_photograph_that_cannot_fill_the_window_is_named(void **state)
{
    char path[PATH];
    pr_bitmap read;
    (void)state;
    golden_path("photo.jpg", path);
    assert_int_equal(pr_photo_read(ctx, path, &(pr_photo_size){3, 32, 32, PARRY_RESIZE_CROP, 31}, NULL, &read),
                     PARRY_MISMATCH);
    assert_non_null(strstr(parry_ctx_error(ctx), "photo.jpg"));
    assert_int_equal(pr_photo_read(ctx, path, &(pr_photo_size){3, 32, 32, PARRY_RESIZE_NONE, 0}, NULL, &read),
                     PARRY_MISMATCH);
    assert_non_null(strstr(parry_ctx_error(ctx), "50 x 37"));
}

/* Every beginning of every kind of file, in memory of exactly that size. */
static void test_cut_files_are_errors(void **state)
{
    static const char *const files[] = {"palette.png", "interlaced.png", "photo.jpg",    "progressive.jpg",
                                        "cmyk.jpg",    "lossy.webp",     "lossless.webp"};
    (void)state;
    for (size_t i = 0; i < PR_COUNT(files); i++) {
        char path[PATH];
        uint8_t *data;
        size_t size;
        pr_bitmap read;
        golden_path(files[i], path);
        OK_IN(ctx, pr_file_read(ctx, path, 1 << 20, &data, &size));
        for (size_t cut = 0; cut + 2 < size; cut += 1 + cut / 40) {
            uint8_t *copy = malloc(cut + 1);
            memcpy(copy, data, cut);
            const parry_status status = pr_image_decode(ctx, files[i], copy, cut, NULL, &read);
            free(copy);
            if (status == PARRY_OK)
                fail_msg("%s cut to %zu of %zu bytes was read", files[i], cut, size);
            assert_int_equal(status, PARRY_FORMAT);
            assert_null(read.bytes);
            assert_non_null(strstr(parry_ctx_error(ctx), files[i]));
        }
        pr_free(data);
    }
}

/* Calls `check` for the fuzzer's seeds of one kind; returns how many there are. */
static int each_seed(const char *kind, void (*check)(const char *path))
{
    char folder[PATH], path[2 * PATH];
    int files = 0;
    snprintf(folder, sizeof folder, "%s/%s", getenv("PARRY_FUZZ_CORPUS"), kind);
    DIR *open = opendir(folder);
    assert_non_null(open);
    for (struct dirent *entry; (entry = readdir(open));) {
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        check(path);
        files++;
    }
    closedir(open);
    return files;
}

static void check_array_seed(const char *path)
{
    pr_images read;
    uint8_t *data;
    size_t size;
    OK_IN(ctx, pr_file_read(ctx, path, 1 << 20, &data, &size));
    if (pr_npy_images(ctx, path, data, size, &read) == PARRY_OK)
        assert_true(read.count > 0 && !read.bytes != !read.floats);
    pr_images_release(&read);
    pr_free(data);
    if (pr_npz_read(ctx, path, PARRY_TEST, &read) == PARRY_OK)
        assert_true(read.count > 0 && read.labels);
    else
        assert_non_null(strstr(parry_ctx_error(ctx), path));
    pr_images_release(&read);
}

static void check_labels_seed(const char *path)
{
    static const char *const names[] = {"tench, Tinca tinca", "crane", "crane", "mountain tent"};
    static const char *const wnids[] = {"n01440764", "n02012849", "n03126707", "n03792972"};
    const pr_classes classes = {.of = "a network", .count = 4, .names = names, .wnids = wnids};
    pr_label_table table;
    if (pr_labels_read(ctx, path, &classes, &table) == PARRY_OK)
        for (size_t i = 0; i < table.count; i++)
            assert_true(table.rows[i].file[0] && table.rows[i].label >= -1 && table.rows[i].label < 4);
    else
        assert_non_null(strstr(parry_ctx_error(ctx), path));
    pr_labels_release(&table);
}

/* Read or refused, and with one byte changed here and there never worse (the sanitizers watch). */
static void check_picture_seed(const char *path)
{
    uint8_t *data;
    size_t size;
    OK_IN(ctx, pr_file_read(ctx, path, 1 << 20, &data, &size));
    for (size_t at = 0; at <= size; at += 7) {
        pr_bitmap read;
        if (at < size)
            data[at] ^= 0x55;
        const parry_status status = pr_image_decode(ctx, path, data, size, NULL, &read);
        assert_true(status == PARRY_OK ? read.channels == 1 || read.channels == 3 : !read.bytes && !read.words);
        pr_bitmap_release(&read);
        if (at < size)
            data[at] ^= 0x55;
    }
    pr_free(data);
}

static void test_seeds(void **state)
{
    (void)state;
    assert_true(each_seed("image", check_picture_seed) >= 10);
    assert_true(each_seed("array", check_array_seed) >= 7);
    assert_true(each_seed("labels", check_labels_seed) >= 7);
}

static void test_what_is_no_picture_is_named(void **state)
{
    static const struct {
        const char *bytes;
        size_t size;
        const char *word;
    } cases[] = {{"", 0, "empty"},
                 {"hello", 5, "expected a PNG"},
                 {"GIF89a..", 8, "GIF"},
                 {"BM......", 8, "BMP"},
                 {"\0\0\0\x18"
                  "ftypheic",
                  12, "HEIC"}};
    pr_bitmap read;
    (void)state;
    for (size_t i = 0; i < PR_COUNT(cases); i++) {
        assert_int_equal(pr_image_decode(ctx, "f", (const uint8_t *)cases[i].bytes, cases[i].size, NULL, &read),
                         PARRY_FORMAT);
        assert_non_null(strstr(parry_ctx_error(ctx), cases[i].word));
    }
}

/* A header that promises 60,000 x 60,000 pixels is refused before memory is asked for. */
static void test_huge_extents_are_refused(void **state)
{
    uint8_t png[] = "\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\xea\x60\0\0\xea\x60\x08\x02\0\0\0\xff\xff\xff\xff";
    uint32_t crc = (uint32_t)crc32(0, png + 12, 17);
    pr_bitmap read;
    (void)state;
    for (int i = 0; i < 4; i++)
        png[29 + i] = (uint8_t)(crc >> (24 - 8 * i));
    uint8_t file[64];
    memcpy(file, png, 33);
    memcpy(file + 33, "\0\0\0\0IDAT\x35\xaf\x06\x1e", 12);
    assert_int_equal(pr_image_decode(ctx, "huge.png", file, 45, NULL, &read), PARRY_UNSUPPORTED);
    assert_non_null(strstr(parry_ctx_error(ctx), "60000 x 60000"));
}

static void test_exif_orientation(void **state)
{
    const uint8_t little[] = {'I', 'I', 42, 0, 8, 0, 0, 0, 1, 0, 0x12, 1, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0};
    const uint8_t big[] = {'M', 'M', 0, 42, 0, 0, 0, 8, 0, 1, 1, 0x12, 0, 3, 0, 0, 0, 1, 0, 8, 0, 0};
    (void)state;
    assert_int_equal(pr_exif_orientation(little, sizeof little), 6);
    assert_int_equal(pr_exif_orientation(big, sizeof big), 8);
    for (size_t cut = 0; cut < sizeof little; cut++) {
        uint8_t *copy = malloc(cut + 1);
        memcpy(copy, little, cut);
        assert_int_equal(pr_exif_orientation(copy, cut), 1);
        free(copy);
    }
    uint8_t far_away[sizeof little];
    memcpy(far_away, little, sizeof little);
    memset(far_away + 4, 0xff, 4);
    assert_int_equal(pr_exif_orientation(far_away, sizeof far_away), 1);
}

static void check_npz(const char *name, parry_split split, int first, int count)
{
    char path[PATH];
    pr_images read;
    golden_path(name, path);
    OK_IN(ctx, pr_npz_read(ctx, path, split, &read));
    assert_int_equal(read.count, count);
    assert_int_equal(read.height * 10 + read.width, 45);
    for (int i = 0; i < count * 20; i++)
        assert_int_equal(read.bytes[i], (first * 20 + i) * 7 % 256);
    for (int i = 0; i < count; i++)
        assert_int_equal(read.labels[i], (first + i) % 3);
    pr_images_release(&read);
}

/* Every beginning of the archive, and every byte changed, is read or refused. */
static void test_npz(void **state)
{
    (void)state;
    check_npz("digits.npz", PARRY_TRAIN, 0, 4);
    check_npz("digits.npz", PARRY_TEST, 4, 2);
    check_npz("digits_stored.npz", PARRY_TEST, 0, 6);
    char path[PATH], broken[] = "/tmp/parry-npz-XXXXXX";
    uint8_t *data;
    size_t size;
    pr_images read;
    golden_path("digits.npz", path);
    OK_IN(ctx, pr_file_read(ctx, path, 1 << 20, &data, &size));
    close(mkstemp(broken));
    for (size_t at = 0; at < size; at += 11) {
        OK_IN(ctx, parry_file_write(ctx, broken, data, at));
        assert_int_equal(pr_npz_read(ctx, broken, PARRY_TEST, &read), PARRY_FORMAT);
        data[at] ^= 0xff;
        OK_IN(ctx, parry_file_write(ctx, broken, data, size));
        if (pr_npz_read(ctx, broken, PARRY_TEST, &read) == PARRY_OK)
            pr_images_release(&read);
        data[at] ^= 0xff;
    }
    unlink(broken);
    pr_free(data);
}

static void test_write_and_read_again(void **state)
{
    float pixels[3 * 2 * 2] = {0, 0.1f, 0.25f, 1, 0.5f, 0.75f, 1, 0, 0.2f, 0.4f, 0.6f, 0.8f};
    const parry_image image = {3, 2, 2, pixels};
    parry_image back;
    char folder[] = "/tmp/parry-image-XXXXXX", path[PATH];
    (void)state;
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/a.npy", folder);
    OK_IN(ctx, parry_image_write(ctx, path, &image));
    OK_IN(ctx, parry_image_read(ctx, path, &back));
    assert_same_image(path, &back, &image);
    parry_image_clear(&back);
    unlink(path);
    snprintf(path, sizeof path, "%s/a.png", folder);
    OK_IN(ctx, parry_image_write(ctx, path, &image));
    OK_IN(ctx, parry_image_read(ctx, path, &back));
    for (int i = 0; i < 12; i++)
        assert_float_equal(back.pixels[i], roundf(255 * pixels[i]) / 255, 1e-7);
    parry_image_clear(&back);
    unlink(path);
    snprintf(path, sizeof path, "%s/a.jpg", folder);
    assert_int_equal(parry_image_write(ctx, path, &image), PARRY_INVALID);
    rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_kind_reads_as_pillow),
        cmocka_unit_test(test_sixteen_bits_lose_nothing),
        cmocka_unit_test(test_resizing_is_pillows_to_the_bit),
        cmocka_unit_test(test_photographs_are_read_on_demand),
        cmocka_unit_test(test_a_damaged_photograph_is_named_when_it_is_reached),
        cmocka_unit_test(test_a_photograph_that_cannot_fill_the_window_is_named),
        cmocka_unit_test(test_cut_files_are_errors),
        cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_what_is_no_picture_is_named),
        cmocka_unit_test(test_huge_extents_are_refused),
        cmocka_unit_test(test_exif_orientation),
        cmocka_unit_test(test_npz),
        cmocka_unit_test(test_write_and_read_again),
    };
    return cmocka_run_group_tests_name("photos", tests, set_up_context, tear_down_context);
}
