/* Figures: what is drawn where. Text is compared by the hash of its pixels, which are the same on every machine. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <parry/figure.h>

#include "base/file.h"
#include "data/photos.h"
#include "report/canvas.h"
#include "../support/context.h"

/* ---- text -------------------------------------------------------------------------------------------------------- */

/* Every character of the font, at three sizes and both weights. */
static void test_font_pixels(void **state)
{
    (void)state;
    static const int sizes[] = {6, 9, 20};
    pr_canvas canvas;
    char text[128], hex[PR_SHA256_HEX];
    int y = 2;
    assert_int_equal(pr_canvas_create(ctx, 900, 400, &canvas), PARRY_OK);
    for (size_t i = 0; i < 2 * PR_COUNT(sizes); i++) {
        const pr_font font = {sizes[i / 2], i % 2, PR_INK};
        for (int from = 0x20; from < 0x7f; from += 32, y += pr_font_line(&font)) {
            int count = PR_MIN(32, 0x7f - from);
            for (int c = 0; c < count; c++)
                text[c] = (char)(from + c);
            text[count] = '\0';
            pr_canvas_text(&canvas, &font, 2, y, text);
        }
        pr_canvas_text(&canvas, &font, 600, y - pr_font_line(&font),
                       "\xc2\xb1\xc3\x97\xe2\x88\x9e\xce\xbc\xcf\x83\xe2\x80\xa6\xe2\x86\x92\xc3\xa9");
    }
    pr_sha256(canvas.rgb, (size_t)canvas.width * (size_t)canvas.height * 3, hex);
    pr_canvas_release(&canvas);
    assert_string_equal(hex, "d53b3452fb837016b6e14c4577b759c53b1532a3db497de5baba0d4fbccc4762");
}

/* No character reaches beyond its line, and everything but blanks leaves ink. */
static void test_glyphs_stay_inside(void **state)
{
    (void)state;
    enum { HIGH = 100, WIDE = 80, AT = 20 };
    for (int size = 5; size <= 40; size += 5)
        for (int c = 0x21; c < 0x7f; c++) {
            const pr_font font = {size, true, 0};
            const char text[2] = {(char)c, '\0'};
            pr_canvas canvas;
            int ink = 0;
            assert_int_equal(pr_canvas_create(ctx, WIDE, HIGH, &canvas), PARRY_OK);
            pr_canvas_text(&canvas, &font, AT, AT, text);
            for (int y = 0; y < HIGH; y++)
                for (int x = 0; x < WIDE; x++) {
                    const bool dark = canvas.rgb[(y * WIDE + x) * 3] < 128;
                    ink += dark;
                    if (dark && (y < AT - size / 2 || y >= AT + pr_font_line(&font) || x < AT - 1 - size / 4))
                        fail_msg("'%c' at size %d reaches (%d, %d)", c, size, x - AT, y - AT);
                }
            pr_canvas_release(&canvas);
            assert_true(ink > 0);
        }
}

static void test_wrapping(void **state)
{
    (void)state;
    const pr_font font = {9, false, 0};
    const int word = pr_font_width(&font, "mountain"), two = pr_font_width(&font, "mountain tent");
    assert_true(word > 0 && two > word && pr_font_width(&font, "") == 0);
    assert_int_equal(pr_canvas_wrapped(NULL, &font, 0, 0, two, 9, PR_ALIGN_LEFT, "mountain tent"), 1);
    assert_int_equal(pr_canvas_wrapped(NULL, &font, 0, 0, two - 1, 9, PR_ALIGN_LEFT, "mountain tent"), 2);
    assert_int_equal(pr_canvas_wrapped(NULL, &font, 0, 0, word / 2, 9, PR_ALIGN_LEFT, "mountain"), 3);
    assert_int_equal(pr_canvas_wrapped(NULL, &font, 0, 0, two, 9, PR_ALIGN_LEFT, "a\nb\n\nc"), 4);
    assert_int_equal(pr_canvas_wrapped(NULL, &font, 0, 0, two, 2, PR_ALIGN_LEFT, "a\nb\nc"), 2);
    assert_int_equal(pr_canvas_wrapped(NULL, &font, 0, 0, 1, 3, PR_ALIGN_CENTER, "wide"), 3);
}

/* ---- figures ----------------------------------------------------------------------------------------------------- */

static const char *scratch(void)
{
    static char path[64];
    snprintf(path, sizeof path, "/tmp/parry-figure-%d.png", (int)getpid());
    return path;
}

static float pixel(const parry_image *image, int channel, int y, int x)
{
    return image->pixels[((int64_t)channel * image->height + y) * image->width + x];
}

/* An 8 x 8 image whose corner is lifted by 0.1 and whose opposite corner is lowered by 0.05: the panels stand side by
 * side, 28 pixels for one, the middle one as the header says. */
static void test_triptych(void **state)
{
    (void)state;
    enum { SIDE = 8, ROW = SIDE * SIDE, TOP = 20 + 18, LEFT = 20, STEP = 224 + 20 };
    float original[ROW], adversary[ROW];
    for (int i = 0; i < ROW; i++)
        original[i] = adversary[i] = 0.4f;
    adversary[0] += 0.1f;
    adversary[ROW - 1] -= 0.05f;
    parry_triptych t = {
        .size = sizeof t, .original = original, .adversary = adversary, .channels = 1, .height = SIDE, .width = SIDE};
    assert_true(fabs(parry_figure_magnify(&t) - 5) < 1e-4);
    for (int kind = 0; kind < 2; kind++) {
        parry_image read;
        t.difference = kind;
        t.magnify = 4;
        assert_int_equal(parry_figure_triptych(ctx, &t, scratch()), PARRY_OK);
        assert_int_equal(parry_image_read(ctx, scratch(), &read), PARRY_OK);
        assert_int_equal(read.width, 2 * 20 + 3 * 224 + 2 * 20);
        const float still = kind == PARRY_DIFFERENCE_SIGNED ? 0.5f : 0, first = still + 0.4f,
                    last = kind == PARRY_DIFFERENCE_SIGNED ? 0.3f : 0.2f;
        assert_true(fabsf(pixel(&read, 0, TOP, LEFT) - 0.4f) < 0.003f);
        assert_true(fabsf(pixel(&read, 1, TOP + 10, LEFT + STEP + 10) - first) < 0.003f);
        assert_true(fabsf(pixel(&read, 2, TOP + 10, LEFT + STEP + 40) - still) < 0.003f);
        assert_true(fabsf(pixel(&read, 0, TOP + 223, LEFT + STEP + 223) - last) < 0.003f);
        assert_true(fabsf(pixel(&read, 0, TOP, LEFT + 2 * STEP) - 0.5f) < 0.003f);
        parry_image_clear(&read);
    }
    t.size = offsetof(parry_triptych, magnify); /* a caller that does not know of it */
    assert_true(fabs(parry_figure_magnify(&t) - 5) < 1e-4);
    t.size = sizeof t;
    adversary[3] = NAN;
    assert_int_equal(parry_figure_triptych(ctx, &t, scratch()), PARRY_INVALID);
    assert_int_equal(unlink(scratch()), 0);
}

static void test_tiles(void **state)
{
    (void)state;
    static const float grey[4] = {0.2f, 0.2f, 0.2f, 0.2f};
    parry_tile tiles[7];
    for (int i = 0; i < 7; i++)
        tiles[i] = (parry_tile){grey, 1, 2, 2, i % 2 ? "a caption that takes two lines" : "short", "note"};
    const parry_tile_group groups[2] = {{"first", tiles, 7}, {NULL, tiles, 2}};
    parry_tiles figure = {.size = sizeof figure,
                          .title = "Title",
                          .subtitle = "Subtitle",
                          .groups = groups,
                          .group_count = 2,
                          .columns = 4,
                          .side = 64};
    parry_image read;
    assert_int_equal(parry_figure_tiles(ctx, &figure, scratch()), PARRY_OK);
    assert_int_equal(parry_image_read(ctx, scratch(), &read), PARRY_OK);
    assert_int_equal(read.width, 20 + (4 * 84 - 20) + 40 + (4 * 84 - 20) + 20); /* both groups side by side */
    int filled = 0;
    for (int y = 0; y < read.height; y++)
        for (int x = 0; x < read.width; x++)
            filled += fabsf(pixel(&read, 0, y, x) - 0.2f) < 0.001f && fabsf(pixel(&read, 2, y, x) - 0.2f) < 0.001f;
    assert_int_equal(filled, 9 * 64 * 64);
    parry_image_clear(&read);
    figure.group_count = 0;
    assert_int_equal(parry_figure_tiles(ctx, &figure, scratch()), PARRY_INVALID);
    assert_int_equal(unlink(scratch()), 0);
}

/* Averaging a chequered image gives grey, picking keeps black and white; small images stay as they are. */
static void test_reduced(void **state)
{
    (void)state;
    enum { WIDE = 300, HIGH = 200 };
    static float chequered[HIGH * WIDE];
    for (int i = 0; i < HIGH * WIDE; i++)
        chequered[i] = (float)((i % WIDE + i / WIDE) % 2);
    for (int reduce = 0; reduce < 2; reduce++)
        for (int side = 100; side <= 400; side += 300) {
            const pr_planes image = {chequered, 1, HIGH, WIDE};
            parry_image read;
            uint8_t *png;
            size_t size;
            assert_int_equal(pr_png_reduced(ctx, side, (pr_shrink)reduce, &image, &png, &size), PARRY_OK);
            assert_int_equal(parry_file_write(ctx, scratch(), png, size), PARRY_OK);
            assert_int_equal(parry_image_read(ctx, scratch(), &read), PARRY_OK);
            assert_int_equal(read.width, side == 100 ? 100 : WIDE);
            assert_int_equal(read.height, side == 100 ? 66 : HIGH);
            const bool grey = reduce == PR_SHRINK_AVERAGE && side == 100;
            for (int i = 0; i < read.width * read.height; i++)
                assert_true(grey ? fabsf(read.pixels[i] - 0.5f) < 0.15f : read.pixels[i] == 0 || read.pixels[i] == 1);
            parry_image_clear(&read);
            pr_free(png);
        }
    assert_int_equal(unlink(scratch()), 0);
}

/* ---- fitting a photograph --------------------------------------------------------------------------------------- */

/* A picture without symmetries, in which every crop differs from every other. */
static void fill(parry_image *image)
{
    for (int c = 0; c < image->channels; c++)
        for (int y = 0; y < image->height; y++)
            for (int x = 0; x < image->width; x++)
                image->pixels[((int64_t)c * image->height + y) * image->width + x] =
                    (float)(0.5 + 0.3 * sin(0.19 * x + 0.05 * y * c) + 0.2 * cos(0.23 * y + 0.002 * x * x));
}

static void test_read_like(void **state)
{
    (void)state;
    static const struct {
        parry_resize resize;
        int side;
        const char *how;
    } forms[] = {{PARRY_RESIZE_CROP, 36, "shorter side to 36, centre 32 x 32"},
                 {PARRY_RESIZE_CROP, 32, "shorter side to 32, centre 32 x 32"},
                 {PARRY_RESIZE_CROP, 35, "shorter side to 35, centre 32 x 32"}, /* of 51.9 pixels: 51 or 52 */
                 {PARRY_RESIZE_CROP_ROUND, 35, "shorter side to 35, centre 32 x 32"},
                 {PARRY_RESIZE_SQUASH, 0, "squashed to 32 x 32"},
                 {PARRY_RESIZE_SQUASH_NEAREST, 0, "squashed to 32 x 32"}};
    parry_image photo = {3, 60, 89, malloc(3 * 60 * 89 * sizeof(float))},
                small = {3, 32, 32, malloc(3 * 32 * 32 * sizeof(float))};
    char how[64];
    fill(&photo);
    assert_int_equal(parry_image_write(ctx, scratch(), &photo), PARRY_OK);
    for (size_t i = 0; i < PR_COUNT(forms); i++) {
        const pr_photo_size size = {3, 32, 32, forms[i].resize, forms[i].side};
        pr_bitmap bitmap;
        parry_image found;
        assert_int_equal(pr_photo_read(ctx, scratch(), &size, NULL, &bitmap), PARRY_OK);
        for (int k = 0; k < 3 * 32 * 32; k++) /* an adversary: two levels away */
            small.pixels[k % 3 * 1024 + k / 3] = (float)(bitmap.bytes[k] + (k % 2 ? 2 : -2)) / 255;
        assert_int_equal(parry_image_read_like(ctx, scratch(), &small, &found, how), PARRY_OK);
        assert_string_equal(how, forms[i].how);
        for (int k = 0; k < 3 * 32 * 32; k++)
            assert_true(found.pixels[k % 3 * 1024 + k / 3] == (float)bitmap.bytes[k] / 255);
        parry_image_clear(&found);
        pr_bitmap_release(&bitmap);
    }
    parry_image found;
    for (int k = 0; k < 3 * 32 * 32; k++)
        small.pixels[k] = 1 - small.pixels[k];
    assert_int_equal(parry_image_read_like(ctx, scratch(), &small, &found, how), PARRY_MISMATCH);
    assert_non_null(strstr(parry_ctx_error(ctx), "was not made from it"));
    assert_int_equal(parry_image_read_like(ctx, scratch(), &photo, &found, how), PARRY_OK);
    assert_string_equal(how, "");
    parry_image_clear(&found);
    photo.height = photo.width = 70;
    assert_int_equal(parry_image_read_like(ctx, scratch(), &photo, &found, how), PARRY_MISMATCH);
    assert_non_null(strstr(parry_ctx_error(ctx), "fewer"));
    free(photo.pixels);
    free(small.pixels);
    assert_int_equal(unlink(scratch()), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_font_pixels), cmocka_unit_test(test_glyphs_stay_inside),
        cmocka_unit_test(test_wrapping),    cmocka_unit_test(test_triptych),
        cmocka_unit_test(test_tiles),       cmocka_unit_test(test_read_like),
        cmocka_unit_test(test_reduced),
    };
    return cmocka_run_group_tests(tests, set_up_context, tear_down_context);
}
