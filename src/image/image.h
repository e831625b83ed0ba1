/* Photographs as rows of interleaved samples: decoding by content, EXIF orientation, resizing, and PNG out. libpng,
 * libjpeg and libwebp are confined to this folder.
 *
 * Sizes are checked before anything is allocated; a file that is cut or damaged is an error, never a picture with grey
 * below. `where` names the source in errors. */
#ifndef PR_IMAGE_IMAGE_H
#define PR_IMAGE_IMAGE_H

#include "base/base.h"

/* Files larger than this, and pictures of more pixels, are refused. */
#define PR_IMAGE_FILE_LIMIT ((size_t)256 << 20)
enum { PR_IMAGE_PIXELS_MAX = 1 << 27, PR_IMAGE_SIDE_MAX = 65535 };

/* height x width x channels samples, those of 8 bits with PR_WEIGHT_SLACK bytes behind them; exactly one of `bytes` and
 * `words` (16 bits) is set. Inside the decoders there may be 2 or 4 channels (alpha last); pr_image_decode leaves 1
 * or 3. */
typedef struct pr_bitmap {
    int channels, height, width;
    uint8_t *bytes;
    uint16_t *words;
} pr_bitmap;
void pr_bitmap_release(pr_bitmap *bitmap);
/* Checks the extents against the limits, then allocates 8- or 16-bit samples. */
PARRY_CHECKED parry_status pr_bitmap_create(parry_ctx *ctx, const char *where, int channels, int64_t height,
                                            int64_t width, int bits, pr_bitmap *out);
/* 8 bits: as they are, or 16 rounded to 8. */
PARRY_CHECKED parry_status pr_bitmap_narrow(parry_ctx *ctx, pr_bitmap *bitmap);
/* 1 channel becomes 3 equal ones; 3 become 1 by the weights of ITU-R BT.601, in fixed point as Pillow's "L". 8 bits. */
PARRY_CHECKED parry_status pr_bitmap_to_channels(parry_ctx *ctx, const char *where, int channels, pr_bitmap *bitmap);

/* What a picture was before it became plain grey or RGB; for remarks. */
typedef struct pr_image_traits {
    const char *format; /* "JPEG" */
    int orientation;    /* EXIF's, 1 to 8; it has been applied */
    bool translucent;   /* some pixels were not opaque: composited on white */
    bool cmyk;          /* converted without a colour profile */
    bool deep;          /* 16 bits a sample */
    bool coloured;      /* RGB rather than grey */
    int height, width;  /* upright */
} pr_image_traits;

/* Whether the first bytes are those of a PNG, JPEG or WebP file. */
bool pr_image_is_known(const uint8_t *data, size_t size);
/* PNG, JPEG or WebP by content; upright, without alpha. `traits` may be NULL. */
PARRY_CHECKED parry_status pr_image_decode(parry_ctx *ctx, const char *where, const uint8_t *data, size_t size,
                                           pr_image_traits *traits, pr_bitmap *out);

/* The EXIF orientation in a TIFF block ("II*\0..." or "MM\0*..."): 1 to 8; 1 where there is none or the block is
 * damaged. */
int pr_exif_orientation(const uint8_t *tiff, size_t size);
/* Turns the bitmap upright. */
PARRY_CHECKED parry_status pr_bitmap_orient(parry_ctx *ctx, int orientation, pr_bitmap *bitmap);

/* ---- resizing (8 bits)
 * ------------------------------------------------------------------------------------------------ */

typedef enum pr_filter { PR_FILTER_BILINEAR, PR_FILTER_NEAREST } pr_filter;
/* A window of the picture that `in` would be at height x width. */
typedef struct pr_window {
    int height, width;                    /* of the whole resized picture */
    int top, left, out_height, out_width; /* the part that is wanted; must lie inside */
} pr_window;
/* Bit for bit what Pillow's Image.resize gives (8.0 to 11; BILINEAR is anti-aliased: its triangle widens with the
 * reduction), cropped; only the window is computed. */
PARRY_CHECKED parry_status pr_resize(parry_ctx *ctx, const pr_bitmap *in, pr_filter filter, const pr_window *window,
                                     pr_bitmap *out);

/* ---- PNG out
 * ---------------------------------------------------------------------------------------------------------- */

/* Grey (channels 1) or RGB (channels 3) rows of interleaved bytes as a PNG file in memory; freed with pr_free. */
PARRY_CHECKED parry_status pr_png_encode(parry_ctx *ctx, const uint8_t *pixels, int channels, int height, int width,
                                         uint8_t **out, size_t *size);
/* A value of [0,1] as 8 bits: clamped, NaN is black, rounded. */
uint8_t pr_level(float value);
/* An image of planes (C x H x W) in [0,1] as a PNG: values are clamped, NaN is black, and rounded to 8 bits. C is 1
 * or 3. */
PARRY_CHECKED parry_status pr_png_image(parry_ctx *ctx, const float *image, int channels, int height, int width,
                                        uint8_t **out, size_t *size);

/* ---- the decoders, for decode.c: samples as stored, alpha last
 * ---------------------------------------------------------- */

PARRY_CHECKED parry_status pr_jpeg_decode(parry_ctx *ctx, const char *where, const uint8_t *data, size_t size,
                                          pr_image_traits *traits, pr_bitmap *out);
PARRY_CHECKED parry_status pr_png_decode(parry_ctx *ctx, const char *where, const uint8_t *data, size_t size,
                                         pr_image_traits *traits, pr_bitmap *out);
PARRY_CHECKED parry_status pr_webp_decode(parry_ctx *ctx, const char *where, const uint8_t *data, size_t size,
                                          pr_image_traits *traits, pr_bitmap *out);

#endif
