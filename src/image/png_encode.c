/* PNG files in memory, for pictures that parry makes. */
#include <math.h>
#include <stdio.h>

#include <png.h>

#include "image/image.h"

parry_status pr_png_encode(parry_ctx *ctx, const uint8_t *pixels, int channels, int height, int width, uint8_t **out,
                           size_t *size)
{
    png_image image = {.version = PNG_IMAGE_VERSION,
                       .width = (png_uint_32)width,
                       .height = (png_uint_32)height,
                       .format = channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB};
    png_alloc_size_t room = PNG_IMAGE_PNG_SIZE_MAX(image);
    TRY(pr_alloc_raw(ctx, room, out));
    if (!png_image_write_to_memory(&image, *out, &room, 0, pixels, 0, NULL)) {
        pr_free(*out);
        *out = NULL;
        return pr_fail(ctx, PARRY_NO_MEMORY, "a PNG of %d x %d pixels could not be encoded: %s", width, height,
                       image.message);
    }
    *size = room;
    return PARRY_OK;
}

uint8_t pr_level(float value)
{
    return value > 0 ? (uint8_t)lrintf(255 * PR_MIN(value, 1.0f)) : 0;
}

parry_status pr_png_image(parry_ctx *ctx, const float *image, int channels, int height, int width, uint8_t **out,
                          size_t *size)
{
    int64_t plane = (int64_t)height * width;
    uint8_t *pixels;
    if (channels != 1 && channels != 3)
        return pr_fail(ctx, PARRY_INVALID, "a PNG holds 1 or 3 channels; these images have %d", channels);
    TRY(pr_alloc_raw(ctx, plane * channels, &pixels));
    for (int64_t i = 0; i < plane; i++)
        for (int c = 0; c < channels; c++)
            pixels[i * channels + c] = pr_level(image[c * plane + i]);
    parry_status status = pr_png_encode(ctx, pixels, channels, height, width, out, size);
    pr_free(pixels);
    return status;
}
