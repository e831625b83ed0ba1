/* Finding out how a photograph was made into an image of a network's size. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <parry/figure.h>

#include "base/file.h"
#include "data/photos.h"
#include "tensor/tensor.h"

/* Files that people crop resize the shorter side to at most this many times the crop. */
#define LARGEST_RESIZE 1.25
/* Of the pixel range: farther apart than that, two pictures have nothing to do with each other. */
#define FARTHEST 0.1

typedef struct fitting {
    const char *path;
    const parry_image *like;
    const pr_bitmap *photo;
    double nearest; /* mean absolute difference, in units of the pixel range */
    parry_image best;
    char *how;
} fitting;

static double distance(const pr_bitmap *fitted, const parry_image *like)
{
    const int64_t plane = (int64_t)like->height * like->width;
    double sum = 0;
    for (int64_t i = 0; i < plane; i++)
        for (int c = 0; c < like->channels; c++)
            sum += fabs((double)fitted->bytes[i * like->channels + c] / 255 - (double)like->pixels[c * plane + i]);
    return sum / (double)(plane * like->channels);
}

static void keep(fitting *f, const pr_bitmap *fitted)
{
    const int64_t plane = (int64_t)f->like->height * f->like->width;
    for (int64_t i = 0; i < plane; i++)
        for (int c = 0; c < f->like->channels; c++)
            pr_bytes_to_unit(fitted->bytes + i * f->like->channels + c, f->best.pixels + c * plane + i, 1);
}

/* side: of a crop, 0 for the others. */
static parry_status try_size(parry_ctx *ctx, fitting *f, parry_resize resize, int side)
{
    const pr_photo_size size = {f->like->channels, f->like->height, f->like->width, resize, side};
    pr_bitmap fitted;
    TRY(pr_poll(ctx));
    TRY(pr_photo_fit(ctx, f->path, f->photo, &size, &fitted));
    double away = distance(&fitted, f->like);
    if (away < f->nearest) {
        f->nearest = away;
        keep(f, &fitted);
        if (side)
            snprintf(f->how, 64, "shorter side to %d, centre %d x %d", side, f->like->width, f->like->height);
        else
            snprintf(f->how, 64, "squashed to %d x %d", f->like->width, f->like->height);
    }
    pr_bitmap_release(&fitted);
    return PARRY_OK;
}

static parry_status try_all(parry_ctx *ctx, fitting *f)
{
    const int longer = PR_MAX(f->like->height, f->like->width);
    if (f->photo->height < f->like->height || f->photo->width < f->like->width)
        return pr_fail(ctx, PARRY_MISMATCH,
                       "%s has %d x %d pixels, fewer than the %d x %d of the image it is compared with", f->path,
                       f->photo->width, f->photo->height, f->like->width, f->like->height);
    TRY(pr_alloc_raw(ctx, (int64_t)f->like->channels * f->like->height * f->like->width, &f->best.pixels));
    f->nearest = HUGE_VAL;
    TRY(try_size(ctx, f, PARRY_RESIZE_SQUASH, 0));
    TRY(try_size(ctx, f, PARRY_RESIZE_SQUASH_NEAREST, 0));
    for (int side = longer; side <= (int)(LARGEST_RESIZE * longer); side++) {
        TRY(try_size(ctx, f, PARRY_RESIZE_CROP, side));
        TRY(try_size(ctx, f, PARRY_RESIZE_CROP_ROUND, side));
    }
    if (f->nearest > FARTHEST)
        return pr_fail(ctx, PARRY_MISMATCH,
                       "%s and the image of %d x %d pixels that it is compared with differ by %.0f grey levels on "
                       "average, however it "
                       "is cropped: that image was not made from it",
                       f->path, f->like->width, f->like->height, 255 * f->nearest);
    return PARRY_OK;
}

parry_status parry_image_read_like(parry_ctx *ctx, const char *path, const parry_image *like, parry_image *out,
                                   char how[64])
{
    pr_bitmap photo;
    parry_image whole;
    *out = (parry_image){0};
    how[0] = '\0';
    TRY(parry_image_read(ctx, path, &whole));
    if (whole.channels == like->channels && whole.height == like->height && whole.width == like->width) {
        *out = whole;
        return PARRY_OK;
    }
    parry_image_clear(&whole);
    TRY(pr_photo_decode(ctx, path, NULL, &photo));
    fitting f = {.path = path, .like = like, .photo = &photo, .best = *like, .how = how};
    f.best.pixels = NULL;
    parry_status status = try_all(ctx, &f);
    pr_bitmap_release(&photo);
    if (status == PARRY_OK)
        *out = f.best;
    else
        parry_image_clear(&f.best);
    return status;
}
