/* One photograph to a network's size.
 *
 * The sizes are torchvision's: the shorter side becomes N and the longer one floor(N long / short); the cut begins at
 * half of what is over, rounded to even. */
#include "data/photos.h"

bool pr_photo_is_cropped(const pr_photo_size *size)
{
    return size->resize == PARRY_RESIZE_CROP || size->resize == PARRY_RESIZE_CROP_ROUND;
}

bool pr_photo_size_same(const pr_photo_size *a, const pr_photo_size *b)
{
    return a->channels == b->channels && a->height == b->height && a->width == b->width && a->resize == b->resize &&
           (!pr_photo_is_cropped(a) || a->resize_size == b->resize_size);
}

/* Half of `over`, halves to even. */
static int half_to_even(int over)
{
    return over / 2 + (over % 4 == 3);
}

/* size * longer / shorter, rounded down or to the nearest (halves to even). */
static int64_t stretch(int64_t size, int64_t longer, int64_t shorter, bool nearest)
{
    const int64_t whole = size * longer / shorter, rest = size * longer % shorter;
    return whole + (nearest && (2 * rest > shorter || (2 * rest == shorter && whole % 2 == 1)));
}

static parry_status choose_window(parry_ctx *ctx, const char *where, const pr_bitmap *in, const pr_photo_size *size,
                                  pr_window *out)
{
    *out =
        (pr_window){.height = size->height, .width = size->width, .out_height = size->height, .out_width = size->width};
    if (size->resize == PARRY_RESIZE_NONE && (in->height != size->height || in->width != size->width))
        return pr_fail(ctx, PARRY_MISMATCH, "%s: %d x %d pixels; the network takes %d x %d, and --resize is none",
                       where, in->width, in->height, size->width, size->height);
    const bool nearest = size->resize == PARRY_RESIZE_CROP_ROUND;
    if (!pr_photo_is_cropped(size))
        return PARRY_OK;
    const int64_t shorter = PR_MIN(in->height, in->width), longer = PR_MAX(in->height, in->width),
                  stretched = stretch(size->resize_size, longer, shorter, nearest);
    if (stretched > PR_IMAGE_SIDE_MAX)
        return pr_fail(ctx, PARRY_UNSUPPORTED,
                       "%s: %d x %d pixels are too narrow to be resized to %d pixels at the shorter side", where,
                       in->width, in->height, size->resize_size);
    out->height = in->height <= in->width ? size->resize_size : (int)stretched;
    out->width = in->height <= in->width ? (int)stretched : size->resize_size;
    if (out->height < size->height || out->width < size->width)
        return pr_fail(
            ctx, PARRY_MISMATCH,
            "%s: resized to %d x %d pixels it is smaller than the %d x %d that the network takes; choose a larger "
            "--resize-size or --resize squash",
            where, out->width, out->height, size->width, size->height);
    out->top = nearest ? (out->height - size->height) / 2 : half_to_even(out->height - size->height);
    out->left = nearest ? (out->width - size->width) / 2 : half_to_even(out->width - size->width);
    return PARRY_OK;
}

parry_status pr_photo_fit(parry_ctx *ctx, const char *where, const pr_bitmap *photo, const pr_photo_size *size,
                          pr_bitmap *out)
{
    pr_window window;
    TRY(choose_window(ctx, where, photo, size, &window));
    TRY(pr_resize(ctx, photo, size->resize == PARRY_RESIZE_SQUASH_NEAREST ? PR_FILTER_NEAREST : PR_FILTER_BILINEAR,
                  &window, out));
    parry_status status = pr_bitmap_to_channels(ctx, where, size->channels, out);
    if (status != PARRY_OK)
        pr_bitmap_release(out);
    return status;
}

static parry_status fit_photo(parry_ctx *ctx, const char *where, const pr_photo_size *size, pr_bitmap *b)
{
    pr_bitmap fitted;
    if (b->channels > size->channels)
        TRY(pr_bitmap_to_channels(ctx, where, size->channels, b));
    TRY(pr_photo_fit(ctx, where, b, size, &fitted));
    pr_bitmap_release(b);
    *b = fitted;
    return PARRY_OK;
}

parry_status pr_photo_decode(parry_ctx *ctx, const char *path, pr_image_traits *traits, pr_bitmap *out)
{
    uint8_t *data;
    size_t bytes;
    *out = (pr_bitmap){0};
    TRY(pr_file_read(ctx, path, PR_IMAGE_FILE_LIMIT, &data, &bytes));
    parry_status status = pr_image_decode(ctx, path, data, bytes, traits, out);
    pr_free(data);
    if (status == PARRY_OK)
        status = pr_bitmap_narrow(ctx, out);
    if (status != PARRY_OK)
        pr_bitmap_release(out);
    return status;
}

parry_status pr_photo_read(parry_ctx *ctx, const char *path, const pr_photo_size *size, pr_image_traits *traits,
                           pr_bitmap *out)
{
    TRY(pr_photo_decode(ctx, path, traits, out));
    parry_status status = fit_photo(ctx, path, size, out);
    if (status != PARRY_OK)
        pr_bitmap_release(out);
    return status;
}
