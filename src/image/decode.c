/* Any picture file to plain grey or RGB: the decoder by content, then upright, then alpha laid on white.
 *
 * Alpha is composited, as a viewer shows the picture, rather than dropped, which would bring out whatever colour an
 * editor left under transparent pixels. */
#include <string.h>

#include "image/image.h"

typedef struct format {
    const char *name;
    size_t at;
    const char *magic;
    size_t magic_size;
    parry_status (*decode)(parry_ctx *, const char *, const uint8_t *, size_t, pr_image_traits *, pr_bitmap *);
} format;

/* The first three are read; the others are named in the error. */
static const format formats[] = {
    {"JPEG", 0, "\xff\xd8\xff", 3, pr_jpeg_decode},
    {"PNG", 0, "\x89PNG\r\n\x1a\n", 8, pr_png_decode},
    {"WebP", 8, "WEBPVP8", 7, pr_webp_decode},
    {"GIF", 0, "GIF8", 4, NULL},
    {"BMP", 0, "BM", 2, NULL},
    {"TIFF", 0, "II*\0", 4, NULL},
    {"TIFF", 0, "MM\0*", 4, NULL},
    {"HEIC or AVIF", 4, "ftyp", 4, NULL},
    {"JPEG XL", 0, "\xff\x0a", 2, NULL},
};

static const format *find_format(const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < PR_COUNT(formats); i++)
        if (size >= formats[i].at + formats[i].magic_size &&
            memcmp(data + formats[i].at, formats[i].magic, formats[i].magic_size) == 0)
            return &formats[i];
    return NULL;
}

bool pr_image_is_known(const uint8_t *data, size_t size)
{
    const format *found = find_format(data, size);
    return found && found->decode;
}

/* Samples of `max` stand for full light and full opacity. Returns whether any pixel was not opaque. */
#define LAY_ON_WHITE(name, type, max)                                                                                  \
    static bool name(const type *from, type *to, int64_t pixels, int colours)                                          \
    {                                                                                                                  \
        bool translucent = false;                                                                                      \
        for (int64_t i = 0; i < pixels; i++, from += colours + 1, to += colours) {                                     \
            const uint64_t alpha = from[colours];                                                                      \
            translucent |= alpha != max;                                                                               \
            for (int c = 0; c < colours; c++)                                                                          \
                to[c] = (type)((from[c] * alpha + (uint64_t)max * (max - alpha) + max / 2) / max);                     \
        }                                                                                                              \
        return translucent;                                                                                            \
    }
LAY_ON_WHITE(lay_bytes, uint8_t, 255)
LAY_ON_WHITE(lay_words, uint16_t, 65535)

static parry_status remove_alpha(parry_ctx *ctx, const char *where, pr_image_traits *traits, pr_bitmap *b)
{
    if (b->channels % 2 != 0)
        return PARRY_OK;
    pr_bitmap opaque;
    const int colours = b->channels - 1;
    const int64_t pixels = (int64_t)b->height * b->width;
    TRY(pr_bitmap_create(ctx, where, colours, b->height, b->width, b->words ? 16 : 8, &opaque));
    traits->translucent = b->words ? lay_words(b->words, opaque.words, pixels, colours)
                                   : lay_bytes(b->bytes, opaque.bytes, pixels, colours);
    pr_bitmap_release(b);
    *b = opaque;
    return PARRY_OK;
}

parry_status pr_image_decode(parry_ctx *ctx, const char *where, const uint8_t *data, size_t size,
                             pr_image_traits *traits, pr_bitmap *out)
{
    pr_image_traits unwanted, *found = traits ? traits : &unwanted;
    const format *of = find_format(data, size);
    *out = (pr_bitmap){0};
    *found = (pr_image_traits){.orientation = 1};
    if (size == 0)
        return pr_fail(ctx, PARRY_FORMAT, "%s: the file is empty", where);
    if (!of || !of->decode)
        return pr_fail(ctx, PARRY_FORMAT, "%s: %s%s; expected a PNG, JPEG or WebP file", where,
                       of ? "looks like " : "not a picture that parry reads", of ? of->name : "");
    found->format = of->name;
    parry_status status = of->decode(ctx, where, data, size, found, out);
    if (status == PARRY_OK)
        status = remove_alpha(ctx, where, found, out);
    if (status == PARRY_OK)
        status = pr_bitmap_orient(ctx, found->orientation, out);
    found->coloured = out->channels == 3;
    found->height = out->height;
    found->width = out->width;
    if (status != PARRY_OK)
        pr_bitmap_release(out);
    return status;
}
