/* Data URIs, and folders of PNG files. */
#include "base/file.h"
#include "image/image.h"
#include "report/report.h"

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

parry_status parry_images_write(parry_ctx *ctx, const char *folder, const char *name, const float *images,
                                int64_t first, int64_t n, int channels, int height, int width)
{
    TRY(parry_folder_make(ctx, folder));
    for (int64_t i = 0; i < n; i++) {
        char *path;
        TRY(pr_poll(ctx));
        TRY(pr_asprintf(ctx, &path, "%s/%s-%05lld.png", folder, name, (long long)(first + i)));
        parry_status status = write_one(ctx, path, images + i * channels * height * width, channels, height, width);
        pr_free(path);
        TRY(status);
    }
    return PARRY_OK;
}
