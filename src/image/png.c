/* PNG, by libpng: every colour type and depth, interlaced or not. Samples are taken as they are: no gamma, no colour
 * profile, as other readers for networks do. */
#include <setjmp.h>
#include <string.h>

#include <png.h>

#include "image/image.h"

enum { CHUNK_LIMIT = 16 << 20, CHUNKS_MAX = 1000, SIGNATURE = 8, CHUNK_OVERHEAD = 12 };

typedef struct reader {
    const uint8_t *data;
    size_t size, at;
    png_structp png;
    png_infop info;
    png_bytep *rows;
    char message[128];
} reader;

static void on_error(png_structp png, png_const_charp text)
{
    reader *r = png_get_error_ptr(png);
    snprintf(r->message, sizeof r->message, "%s", text);
    png_longjmp(png, 1);
}

static void on_warning(png_structp png, png_const_charp text)
{
    (void)png;
    (void)text;
}

static void on_read(png_structp png, png_bytep to, size_t count)
{
    reader *r = png_get_io_ptr(png);
    if (count > r->size - r->at)
        png_error(png, "the file ends too early");
    memcpy(to, r->data + r->at, count);
    r->at += count;
}

/* Palettes and depths below 8 become bytes, a transparent colour becomes alpha. */
static void ask_for_samples(reader *r)
{
    png_set_expand(r->png);
    if (__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__)
        png_set_swap(r->png);
    png_set_interlace_handling(r->png);
    png_read_update_info(r->png, r->info);
}

static int orientation_of(reader *r)
{
#ifdef PNG_eXIf_SUPPORTED
    png_uint_32 size = 0;
    png_bytep exif = NULL;
    if (png_get_eXIf_1(r->png, r->info, &size, &exif) & PNG_INFO_eXIf)
        return pr_exif_orientation(exif, size);
#endif
    (void)r;
    return 1;
}

static parry_status read_rows(parry_ctx *ctx, const char *where, reader *r, pr_image_traits *traits, pr_bitmap *out)
{
    const int bits = png_get_bit_depth(r->png, r->info);
    const size_t height = png_get_image_height(r->png, r->info), row = png_get_rowbytes(r->png, r->info);
    TRY(pr_bitmap_create(ctx, where, png_get_channels(r->png, r->info), (int64_t)height,
                         png_get_image_width(r->png, r->info), bits, out));
    TRY(pr_alloc(ctx, height, &r->rows));
    for (size_t y = 0; y < height; y++)
        r->rows[y] = (bits == 16 ? (uint8_t *)out->words : out->bytes) + y * row;
    traits->deep = bits == 16;
    png_read_image(r->png, r->rows);
    png_read_end(r->png, r->info);
    traits->orientation = orientation_of(r);
    return PARRY_OK;
}

/* Whether every chunk (length, name, data, checksum) up to the one that ends the picture lies within the file: libpng
 * makes room for what some chunks announce before it reads them. */
static bool chunks_fit(const reader *r)
{
    for (size_t at = SIGNATURE; at <= r->size && r->size - at >= CHUNK_OVERHEAD;) {
        const uint8_t *chunk = r->data + at;
        const size_t length = (size_t)chunk[0] << 24 | (size_t)chunk[1] << 16 | (size_t)chunk[2] << 8 | chunk[3];
        if (length > r->size - at - CHUNK_OVERHEAD)
            return false;
        if (memcmp(chunk + 4, "IEND", 4) == 0)
            return true;
        at += CHUNK_OVERHEAD + length;
    }
    return true; /* libpng says what is missing */
}

static parry_status decode(parry_ctx *ctx, const char *where, reader *r, pr_image_traits *traits, pr_bitmap *out)
{
    if (setjmp(png_jmpbuf(r->png)))
        return pr_fail(ctx, PARRY_FORMAT, "%s: damaged or cut PNG: %s", where, r->message);
    if (!chunks_fit(r))
        png_error(r->png, "the file ends too early");
    png_set_user_limits(r->png, PR_IMAGE_SIDE_MAX, PR_IMAGE_SIDE_MAX);
    png_set_chunk_malloc_max(r->png, CHUNK_LIMIT);
    png_set_chunk_cache_max(r->png, CHUNKS_MAX);
    png_set_read_fn(r->png, r, on_read);
    png_read_info(r->png, r->info);
    ask_for_samples(r);
    return read_rows(ctx, where, r, traits, out);
}

parry_status pr_png_decode(parry_ctx *ctx, const char *where, const uint8_t *data, size_t size, pr_image_traits *traits,
                           pr_bitmap *out)
{
    reader r = {.data = data, .size = size};
    parry_status status;
    r.png = png_create_read_struct(PNG_LIBPNG_VER_STRING, &r, on_error, on_warning);
    r.info = r.png ? png_create_info_struct(r.png) : NULL;
    if (r.info)
        status = decode(ctx, where, &r, traits, out);
    else
        status = pr_fail(ctx, PARRY_NO_MEMORY, "%s: out of memory", where);
    png_destroy_read_struct(&r.png, &r.info, NULL);
    pr_free(r.rows);
    return status;
}
