/* PNG files and data URIs. */
#include <math.h>
#include <stdio.h>

#include <png.h>

#include "base/file.h"
#include "report/report.h"

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

static uint8_t to_byte(float value)
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
            pixels[i * channels + c] = to_byte(image[c * plane + i]);
    parry_status status = pr_png_encode(ctx, pixels, channels, height, width, out, size);
    pr_free(pixels);
    return status;
}

void pr_data_uri_add(pr_text *out, const uint8_t *png, size_t size)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    pr_text_add(out, "data:image/png;base64,");
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t group =
            (uint32_t)png[i] << 16 | (left > 1 ? (uint32_t)png[i + 1] << 8 : 0) | (left > 2 ? png[i + 2] : 0);
        char quad[4] = {digits[group >> 18], digits[group >> 12 & 63], left > 1 ? digits[group >> 6 & 63] : '=',
                        left > 2 ? digits[group & 63] : '='};
        pr_text_bytes(out, quad, sizeof quad);
    }
}

static parry_status write_one(parry_ctx *ctx, const char *path, const float *image, int channels, int height, int width)
{
    uint8_t *png;
    size_t size;
    TRY(pr_png_image(ctx, image, channels, height, width, &png, &size));
    parry_status status = parry_file_write(ctx, path, png, size);
    pr_free(png);
    return status;
}

parry_status parry_images_write(parry_ctx *ctx, const char *folder, const char *name, const float *images, int64_t n,
                                int channels, int height, int width)
{
    TRY(parry_folder_make(ctx, folder));
    for (int64_t i = 0; i < n; i++) {
        char *path;
        TRY(pr_poll(ctx));
        TRY(pr_asprintf(ctx, &path, "%s/%s-%05lld.png", folder, name, (long long)i));
        parry_status status = write_one(ctx, path, images + i * channels * height * width, channels, height, width);
        pr_free(path);
        TRY(status);
    }
    return PARRY_OK;
}
