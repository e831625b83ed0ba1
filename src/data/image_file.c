/* parry_image: one picture from a file and into one. */
#include <string.h>

#include "data/data.h"
#include "data/photos.h"
#include "tensor/tensor.h"

void parry_image_clear(parry_image *image)
{
    pr_free(image->pixels);
    *image = (parry_image){0};
}

/* Interleaved samples to planes of floats. */
static parry_status to_planes(parry_ctx *ctx, const pr_bitmap *b, parry_image *out)
{
    const int64_t plane = (int64_t)b->height * b->width;
    *out = (parry_image){.channels = b->channels, .height = b->height, .width = b->width};
    TRY(pr_alloc_raw(ctx, plane * b->channels, &out->pixels));
    for (int64_t i = 0; i < plane; i++)
        for (int c = 0; c < b->channels; c++) {
            const int64_t from = i * b->channels + c;
            out->pixels[c * plane + i] = b->words ? (float)b->words[from] / 65535 : (float)b->bytes[from] / 255;
        }
    return PARRY_OK;
}

static parry_status read_picture(parry_ctx *ctx, const char *path, const uint8_t *data, size_t size, parry_image *out)
{
    pr_image_traits traits;
    pr_bitmap b;
    TRY(pr_image_decode(ctx, path, data, size, &traits, &b));
    if (traits.translucent)
        pr_log(ctx, PARRY_LOG_WARNING, "%s: transparent pixels were laid on white", path);
    if (traits.cmyk)
        pr_log(ctx, PARRY_LOG_WARNING, "%s: CMYK was converted to RGB without a colour profile", path);
    parry_status status = to_planes(ctx, &b, out);
    pr_bitmap_release(&b);
    return status;
}

/* How the array of one image lies in what the reader of arrays of many makes of it: 1 x C x H x W as it is; C x H x W
 * is read as C grey images; H x W x C as H grey ones of C columns. */
static bool image_of(const pr_images *read, parry_image *out, bool *interleaved)
{
    *interleaved = false;
    *out = (parry_image){.channels = read->channels, .height = read->height, .width = read->width};
    if (read->count > 1 && read->channels == 1) {
        *interleaved = read->count != 3;
        *out = *interleaved ? (parry_image){.channels = read->width, .height = (int)read->count, .width = read->height}
                            : (parry_image){.channels = 3, .height = read->height, .width = read->width};
    } else if (read->count > 1)
        return false;
    return out->channels == 1 || out->channels == 3;
}

static parry_status read_array(parry_ctx *ctx, const char *path, const uint8_t *data, size_t size, parry_image *out)
{
    pr_images images;
    bool interleaved;
    float *values = NULL;
    TRY(pr_npy_images(ctx, path, data, size, &images));
    const int64_t count = images.count * pr_images_row(&images),
                  plane = image_of(&images, out, &interleaved) ? count / out->channels : 0;
    parry_status status = PARRY_OK;
    if (plane == 0 || images.count > PR_IMAGE_SIDE_MAX)
        TRY_TO(out, pr_fail(ctx, PARRY_FORMAT,
                            "%s: not the array of one image; expected C x H x W or H x W x C, C 1 or 3 (many images "
                            "are named with --data)",
                            path));
    TRY_TO(out, pr_alloc_raw(ctx, count, &values));
    TRY_TO(out, pr_alloc_raw(ctx, count, &out->pixels));
    if (images.bytes)
        pr_bytes_to_unit(images.bytes, values, count);
    else
        memcpy(values, images.floats, (size_t)count * sizeof *values);
    for (int64_t i = 0; i < count; i++)
        out->pixels[interleaved ? i % out->channels * plane + i / out->channels : i] = values[i];
out:
    pr_free(values);
    pr_images_release(&images);
    return status;
}

parry_status parry_image_read(parry_ctx *ctx, const char *path, parry_image *out)
{
    uint8_t *data;
    size_t size;
    *out = (parry_image){0};
    TRY(pr_file_read(ctx, path, PR_IMAGE_FILE_LIMIT, &data, &size));
    const bool array = size > 6 && memcmp(data, "\x93NUMPY", 6) == 0;
    parry_status status = (array ? read_array : read_picture)(ctx, path, data, size, out);
    pr_free(data);
    if (status != PARRY_OK)
        parry_image_clear(out);
    return status;
}

static parry_status write_png(parry_ctx *ctx, const char *path, const parry_image *image)
{
    uint8_t *png;
    size_t size;
    TRY(pr_png_image(ctx, image->pixels, image->channels, image->height, image->width, &png, &size));
    parry_status status = parry_file_write(ctx, path, png, size);
    pr_free(png);
    return status;
}

static parry_status write_array(parry_ctx *ctx, const char *path, const parry_image *image)
{
    pr_output output;
    const int64_t shape[] = {image->channels, image->height, image->width};
    TRY(pr_output_begin(ctx, path, &output));
    pr_npy_header(output.stream, "<f4", shape, 3);
    fwrite(image->pixels, sizeof *image->pixels, (size_t)(shape[0] * shape[1] * shape[2]), output.stream);
    parry_status status = pr_output_commit(ctx, &output);
    pr_output_abort(&output);
    return status;
}

parry_status parry_image_write(parry_ctx *ctx, const char *path, const parry_image *image)
{
    const char *dot = strrchr(pr_path_base(path), '.');
    if ((image->channels != 1 && image->channels != 3) || image->height < 1 || image->width < 1)
        return pr_fail(ctx, PARRY_INVALID, "%s: an image of %d x %d x %d; expected 1 or 3 channels of pixels", path,
                       image->channels, image->height, image->width);
    if (dot && strcasecmp(dot, ".png") == 0)
        return write_png(ctx, path, image);
    if (dot && strcasecmp(dot, ".npy") == 0)
        return write_array(ctx, path, image);
    return pr_fail(ctx, PARRY_INVALID, "%s: pictures are written as .png (8 bits) or .npy (float32, exact)", path);
}
