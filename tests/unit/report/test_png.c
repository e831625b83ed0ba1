/* PNG in memory and on disk: what goes in comes out of libpng's reader, and data URIs decode to the same bytes. */
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

#include <png.h>

#include "base/file.h"
#include "image/image.h"
#include "report/report.h"
#include "../support/context.h"

/* Decodes with libpng into rows of interleaved bytes. */
static void decode(const uint8_t *png, size_t size, uint32_t format, uint32_t width, uint32_t height, uint8_t *pixels)
{
    png_image image = {.version = PNG_IMAGE_VERSION};
    assert_true(png_image_begin_read_from_memory(&image, png, size));
    assert_int_equal(image.width, width);
    assert_int_equal(image.height, height);
    assert_int_equal(image.format & PNG_FORMAT_FLAG_COLOR, format & PNG_FORMAT_FLAG_COLOR);
    image.format = format;
    assert_true(png_image_finish_read(&image, NULL, pixels, 0, NULL));
}

static void test_round_trip(void **state)
{
    (void)state;
    enum { H = 5, W = 7 };
    for (int channels = 1; channels <= 3; channels += 2) {
        uint8_t pixels[3 * H * W], back[3 * H * W], *png;
        size_t size;
        for (int i = 0; i < channels * H * W; i++)
            pixels[i] = (uint8_t)(i * 37);
        assert_int_equal(pr_png_encode(ctx, pixels, channels, H, W, &png, &size), PARRY_OK);
        decode(png, size, channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB, W, H, back);
        assert_memory_equal(pixels, back, (size_t)channels * H * W);
        pr_free(png);
    }
}

/* Planes become interleaved, values are clamped and rounded, NaN is black. */
static void test_image(void **state)
{
    (void)state;
    const float planes[3 * 2] = {0.5f, -1, 1, 2, NAN, 0.2f};
    const uint8_t expected[6] = {128, 255, 0, 0, 255, 51};
    uint8_t back[6], *png;
    size_t size;
    assert_int_equal(pr_png_image(ctx, planes, 3, 1, 2, &png, &size), PARRY_OK);
    decode(png, size, PNG_FORMAT_RGB, 2, 1, back);
    assert_memory_equal(expected, back, sizeof back);
    pr_free(png);
    assert_int_equal(pr_png_image(ctx, planes, 2, 1, 2, &png, &size), PARRY_INVALID);
    assert_non_null(strstr(parry_ctx_error(ctx), "2"));
}

static void test_data_uri(void **state)
{
    (void)state;
    static const struct {
        const char *bytes, *text;
    } known[] = {{"", ""}, {"f", "Zg=="}, {"fo", "Zm8="}, {"foo", "Zm9v"}, {"\xff\xfe\xfd", "//79"}};
    for (size_t i = 0; i < PR_COUNT(known); i++) {
        pr_text text = {0};
        pr_data_uri_add(&text, (const uint8_t *)known[i].bytes, strlen(known[i].bytes));
        assert_string_equal(text.data + strlen("data:image/png;base64,"), known[i].text);
        pr_text_clear(&text);
    }
}

static void test_files(void **state)
{
    (void)state;
    char folder[] = "/tmp/parry-png-XXXXXX", path[128], inner[64];
    const float images[2 * 4] = {0, 1, 0, 1, 1, 1, 0, 0};
    uint8_t back[4], *data;
    size_t size;
    assert_non_null(mkdtemp(folder));
    snprintf(inner, sizeof inner, "%s/a/b", folder);
    assert_int_equal(parry_images_write(ctx, inner, "adv", images, 0, 2, 1, 2, 2), PARRY_OK);
    for (int i = 0; i < 2; i++) {
        snprintf(path, sizeof path, "%s/adv-0000%d.png", inner, i);
        assert_int_equal(pr_file_read(ctx, path, 1 << 16, &data, &size), PARRY_OK);
        decode(data, size, PNG_FORMAT_GRAY, 2, 2, back);
        for (int p = 0; p < 4; p++)
            assert_int_equal(back[p], (int)(255 * images[4 * i + p]));
        pr_free(data);
        assert_int_equal(unlink(path), 0);
    }
    assert_int_equal(rmdir(inner), 0);
    snprintf(inner, sizeof inner, "%s/a", folder);
    assert_int_equal(rmdir(inner), 0);
    assert_int_equal(rmdir(folder), 0);
    assert_int_not_equal(parry_images_write(ctx, "/dev/null/x", "adv", images, 0, 2, 1, 2, 2), PARRY_OK);
    assert_true(strlen(parry_ctx_error(ctx)) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_image),
        cmocka_unit_test(test_data_uri),
        cmocka_unit_test(test_files),
    };
    return cmocka_run_group_tests(tests, set_up_context, tear_down_context);
}
