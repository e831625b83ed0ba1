/* Pictures to draw on. */
#include <string.h>

#include "image/image.h"
#include "report/canvas.h"

parry_status pr_canvas_create(parry_ctx *ctx, int width, int height, pr_canvas *out)
{
    *out = (pr_canvas){width, height, NULL};
    if (width < 1 || height < 1 || (int64_t)width * height > PR_CANVAS_PIXELS_MAX)
        return pr_fail(ctx, PARRY_INVALID,
                       "a figure of %d x %d pixels is too large; take smaller tiles or fewer of them", width, height);
    TRY(pr_alloc_raw(ctx, (size_t)width * (size_t)height * 3, &out->rgb));
    memset(out->rgb, 255, (size_t)width * (size_t)height * 3);
    return PARRY_OK;
}

void pr_canvas_release(pr_canvas *canvas)
{
    pr_free(canvas->rgb);
    *canvas = (pr_canvas){0};
}

/* Rounded to whole levels. */
static parry_status to_bitmap(parry_ctx *ctx, const pr_planes *image, pr_bitmap *out)
{
    const int64_t plane = (int64_t)image->height * image->width;
    const int channels = image->channels;
    if (channels != 1 && channels != 3)
        return pr_fail(ctx, PARRY_INVALID, "a picture has 1 or 3 channels; these images have %d", channels);
    TRY(pr_bitmap_create(ctx, "a figure", channels, image->height, image->width, 8, out));
    for (int64_t i = 0; i < plane; i++)
        for (int c = 0; c < channels; c++)
            out->bytes[i * channels + c] = pr_level(image->values[c * plane + i]);
    return PARRY_OK;
}

/* The image in 8 bits, width x height. */
static parry_status scale(parry_ctx *ctx, const pr_planes *image, int width, int height, pr_shrink shrink,
                          pr_bitmap *out)
{
    const pr_window all = {height, width, 0, 0, height, width};
    const bool smooth = shrink == PR_SHRINK_AVERAGE && width < image->width;
    pr_bitmap whole;
    TRY(to_bitmap(ctx, image, &whole));
    parry_status status = pr_resize(ctx, &whole, smooth ? PR_FILTER_BILINEAR : PR_FILTER_NEAREST, &all, out);
    pr_bitmap_release(&whole);
    return status;
}

static void paste(pr_canvas *canvas, int x, int y, const pr_bitmap *picture)
{
    for (int row = PR_MAX(0, -y); row < picture->height && y + row < canvas->height; row++)
        for (int column = PR_MAX(0, -x); column < picture->width && x + column < canvas->width; column++) {
            uint8_t *to = canvas->rgb + ((size_t)(y + row) * (size_t)canvas->width + (size_t)(x + column)) * 3;
            const uint8_t *from =
                picture->bytes + ((size_t)row * (size_t)picture->width + (size_t)column) * (size_t)picture->channels;
            for (int c = 0; c < 3; c++)
                to[c] = from[picture->channels == 3 ? c : 0];
        }
}

parry_status pr_canvas_image(parry_ctx *ctx, pr_canvas *canvas, int x, int y, int width, int height, pr_shrink shrink,
                             const pr_planes *image)
{
    pr_bitmap scaled;
    TRY(scale(ctx, image, width, height, shrink, &scaled));
    paste(canvas, x, y, &scaled);
    pr_bitmap_release(&scaled);
    return PARRY_OK;
}

parry_status pr_png_reduced(parry_ctx *ctx, int side, pr_shrink shrink, const pr_planes *image, uint8_t **out,
                            size_t *size)
{
    const int longer = PR_MAX(image->height, image->width), shown = PR_MIN(side, longer);
    pr_bitmap scaled;
    TRY(scale(ctx, image, PR_MAX(1, (int)((int64_t)image->width * shown / longer)),
              PR_MAX(1, (int)((int64_t)image->height * shown / longer)), shrink, &scaled));
    parry_status status = pr_png_encode(ctx, scaled.bytes, scaled.channels, scaled.height, scaled.width, out, size);
    pr_bitmap_release(&scaled);
    return status;
}

parry_status pr_canvas_write(parry_ctx *ctx, const pr_canvas *canvas, const char *path)
{
    uint8_t *png;
    size_t size;
    TRY(pr_png_encode(ctx, canvas->rgb, 3, canvas->height, canvas->width, &png, &size));
    parry_status status = parry_file_write(ctx, path, png, size);
    pr_free(png);
    return status;
}
