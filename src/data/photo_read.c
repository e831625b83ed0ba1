/* Photographs to a network's size, in parallel, as 8-bit planes.
 *
 * The sizes are torchvision's: the shorter side becomes N and the longer one floor(N long / short); the cut begins at
 * half of what is over, rounded to even. */
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "data/photos.h"

/* ---- one photograph --------------------------------------------------------------------------------------------- */

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
    if (size->resize != PARRY_RESIZE_CROP && !nearest)
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

/* ---- many ------------------------------------------------------------------------------------------------------- */

/* What is remarked on, once for all pictures. */
enum { REMARK_TRANSLUCENT = 1, REMARK_CMYK = 2, REMARK_DEEP = 4, REMARK_TO_GREY = 8 };
static const struct {
    int bit;
    const char *words;
} remarks[] = {
    {REMARK_TRANSLUCENT, "transparent pixels were laid on white"},
    {REMARK_CMYK, "CMYK was converted to RGB without a colour profile"},
    {REMARK_DEEP, "16 bits a sample were rounded to 8"},
    {REMARK_TO_GREY, "colours were turned to grey, as the network takes one channel"},
};

typedef struct reading {
    const pr_photos *photos;
    const pr_photo_size *size;
    pr_images *out;
    uint8_t *remarks; /* by picture */
    atomic_llong done;
} reading;

static parry_status read_one(parry_ctx *ctx, void *arg, int64_t index, int worker)
{
    reading *r = arg;
    const pr_photo_size *size = r->size;
    const int64_t plane = (int64_t)size->height * size->width;
    pr_image_traits traits;
    pr_bitmap b;
    (void)worker;
    TRY(pr_poll(ctx));
    TRY(pr_photo_read(ctx, r->photos->items[index].path, size, &traits, &b));
    uint8_t *to = r->out->bytes + index * plane * size->channels;
    for (int64_t i = 0; i < plane; i++)
        for (int c = 0; c < size->channels; c++)
            to[c * plane + i] = b.bytes[i * size->channels + c];
    pr_bitmap_release(&b);
    r->remarks[index] =
        (uint8_t)((traits.translucent ? REMARK_TRANSLUCENT : 0) | (traits.cmyk ? REMARK_CMYK : 0) |
                  (traits.deep ? REMARK_DEEP : 0) | (traits.coloured && size->channels == 1 ? REMARK_TO_GREY : 0));
    const long long done = atomic_fetch_add(&r->done, 1) + 1;
    pr_progress(
        ctx, &(parry_progress){
                 .task = "reading photographs", .unit = "images", .done = (uint64_t)done, .total = r->photos->count});
    return PARRY_OK;
}

static void say_remarks(parry_ctx *ctx, const reading *r)
{
    for (size_t k = 0; k < PR_COUNT(remarks); k++) {
        size_t count = 0, first = 0;
        for (size_t i = r->photos->count; i-- > 0;)
            if (r->remarks[i] & remarks[k].bit) {
                count++;
                first = i;
            }
        if (count)
            pr_log(ctx, PARRY_LOG_WARNING, "%s%s: %s", r->photos->items[first].name, count > 1 ? " and others" : "",
                   remarks[k].words);
    }
}

static parry_status read_all(parry_ctx *ctx, reading *r)
{
    pr_images *out = r->out;
    TRY(pr_alloc_raw(ctx, out->count * pr_images_row(out), &out->bytes));
    TRY(pr_alloc(ctx, out->count, &out->labels));
    TRY(pr_alloc(ctx, out->count, &out->names));
    TRY(pr_alloc(ctx, out->count, &r->remarks));
    for (int64_t i = 0; i < out->count; i++) {
        out->labels[i] = r->photos->items[i].label;
        TRY(pr_strdup(ctx, r->photos->items[i].name, &out->names[i]));
    }
    TRY(pr_parallel_for(ctx, out->count, read_one, r));
    say_remarks(ctx, r);
    return PARRY_OK;
}

parry_status pr_photos_read(parry_ctx *ctx, const pr_photos *photos, const pr_photo_size *size, pr_images *out)
{
    *out = (pr_images){
        .count = (int64_t)photos->count, .channels = size->channels, .height = size->height, .width = size->width};
    const int64_t extent[] = {out->count, out->channels, out->height, out->width};
    size_t bytes;
    if (!pr_extent_bytes(extent, PR_COUNT(extent), 1, &bytes))
        return pr_fail(
            ctx, PARRY_UNSUPPORTED,
            "%zu photographs of %d x %d pixels do not fit in %zu GB of memory; take fewer at a time with --first N",
            photos->count, size->width, size->height, PR_DATA_FILE_LIMIT >> 30);
    reading r = {.photos = photos, .size = size, .out = out};
    parry_status status = read_all(ctx, &r);
    pr_free(r.remarks);
    if (status != PARRY_OK)
        pr_images_release(out);
    return status;
}
