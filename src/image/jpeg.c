/* JPEG, by libjpeg with its default (accurate integer) transform and fancy upsampling: the same pixels as Pillow's.
 *
 * libjpeg fills what is missing of a cut file with grey and only warns; such warnings are errors here. Warnings about
 * rubbish between segments, which cameras leave, are not. */
#include <setjmp.h>
#include <stdio.h>
#include <string.h>

#include <jpeglib.h>
#include <jerror.h>

#include "image/image.h"

/* A progressive file may hold any number of scans over the whole picture; this many none needs. */
enum { SCANS_MAX = 200, EXIF_MARKER = JPEG_APP0 + 1 };

typedef struct reader {
    struct jpeg_decompress_struct jpeg;
    struct jpeg_error_mgr errors;
    struct jpeg_progress_mgr progress;
    jmp_buf escape;
    char message[JMSG_LENGTH_MAX];
} reader;

static void on_error(j_common_ptr jpeg)
{
    reader *r = jpeg->client_data;
    jpeg->err->format_message(jpeg, r->message);
    longjmp(r->escape, 1);
}

static void on_message(j_common_ptr jpeg, int level)
{
    static const int damage[] = {JWRN_JPEG_EOF, JWRN_HIT_MARKER, JWRN_HUFF_BAD_CODE, JWRN_ARITH_BAD_CODE,
                                 JWRN_MUST_RESYNC};
    for (size_t i = 0; level < 0 && i < PR_COUNT(damage); i++)
        if (jpeg->err->msg_code == damage[i])
            on_error(jpeg);
}

static void on_progress(j_common_ptr jpeg)
{
    reader *r = jpeg->client_data;
    if (r->jpeg.input_scan_number <= SCANS_MAX)
        return;
    snprintf(r->message, sizeof r->message, "more than %d scans", SCANS_MAX);
    longjmp(r->escape, 1);
}

static int orientation_of(const struct jpeg_decompress_struct *jpeg)
{
    for (jpeg_saved_marker_ptr m = jpeg->marker_list; m; m = m->next)
        if (m->marker == EXIF_MARKER && m->data_length > 6 && memcmp(m->data, "Exif\0\0", 6) == 0)
            return pr_exif_orientation(m->data + 6, m->data_length - 6);
    return 1;
}

/* Ink to light, without a profile; Adobe's programs store CMYK inverted. */
static void inks_to_rgb(const uint8_t *inks, uint8_t *rgb, int64_t pixels, bool inverted)
{
    for (int64_t i = 0; i < pixels; i++)
        for (int c = 0; c < 3; c++) {
            unsigned ink = inks[4 * i + c], black = inks[4 * i + 3];
            unsigned light = (inverted ? ink : 255 - ink) * (inverted ? black : 255 - black);
            rgb[3 * i + c] = (uint8_t)((light + 127) / 255);
        }
}

static parry_status read_rows(parry_ctx *ctx, const char *where, reader *r, pr_bitmap *out)
{
    struct jpeg_decompress_struct *jpeg = &r->jpeg;
    TRY(pr_bitmap_create(ctx, where, jpeg->num_components, jpeg->image_height, jpeg->image_width, 8, out));
    jpeg_start_decompress(jpeg);
    while (jpeg->output_scanline < jpeg->output_height) {
        JSAMPROW row = out->bytes + (size_t)jpeg->output_scanline * jpeg->output_width * (size_t)out->channels;
        jpeg_read_scanlines(jpeg, &row, 1);
    }
    jpeg_finish_decompress(jpeg);
    return PARRY_OK;
}

/* Between the header and the pixels. */
static parry_status choose_colours(parry_ctx *ctx, const char *where, struct jpeg_decompress_struct *jpeg,
                                   pr_image_traits *traits)
{
    if (jpeg->num_components == 4) {
        jpeg->out_color_space = JCS_CMYK;
        traits->cmyk = true;
        return PARRY_OK;
    }
    if (jpeg->num_components != 1 && jpeg->num_components != 3)
        return pr_fail(ctx, PARRY_UNSUPPORTED, "%s: a JPEG of %d colour components; expected 1, 3 or 4", where,
                       jpeg->num_components);
    jpeg->out_color_space = jpeg->num_components == 1 ? JCS_GRAYSCALE : JCS_RGB;
    return PARRY_OK;
}

static parry_status decode(parry_ctx *ctx, const char *where, reader *r, const uint8_t *data, size_t size,
                           pr_image_traits *traits, pr_bitmap *out)
{
    if (setjmp(r->escape))
        return pr_fail(ctx, PARRY_FORMAT, "%s: damaged or cut JPEG: %s", where, r->message);
    jpeg_create_decompress(&r->jpeg);
    r->jpeg.client_data = r;
    r->jpeg.progress = &r->progress;
    jpeg_mem_src(&r->jpeg, data, (unsigned long)size);
    jpeg_save_markers(&r->jpeg, EXIF_MARKER, 0xffff);
    jpeg_read_header(&r->jpeg, TRUE);
    traits->orientation = orientation_of(&r->jpeg);
    TRY(choose_colours(ctx, where, &r->jpeg, traits));
    return read_rows(ctx, where, r, out);
}

static parry_status convert_inks(parry_ctx *ctx, const char *where, bool inverted, pr_bitmap *b)
{
    pr_bitmap rgb;
    TRY(pr_bitmap_create(ctx, where, 3, b->height, b->width, 8, &rgb));
    inks_to_rgb(b->bytes, rgb.bytes, (int64_t)b->height * b->width, inverted);
    pr_bitmap_release(b);
    *b = rgb;
    return PARRY_OK;
}

parry_status pr_jpeg_decode(parry_ctx *ctx, const char *where, const uint8_t *data, size_t size,
                            pr_image_traits *traits, pr_bitmap *out)
{
    reader *r;
    TRY(pr_alloc(ctx, 1, &r));
    r->jpeg.err = jpeg_std_error(&r->errors);
    r->jpeg.client_data = r;
    r->errors.error_exit = on_error;
    r->errors.emit_message = on_message;
    r->progress.progress_monitor = on_progress;
    parry_status status = decode(ctx, where, r, data, size, traits, out);
    const bool inverted = r->jpeg.saw_Adobe_marker;
    jpeg_destroy_decompress(&r->jpeg);
    pr_free(r);
    if (status == PARRY_OK && traits->cmyk)
        status = convert_inks(ctx, where, inverted, out);
    return status;
}
