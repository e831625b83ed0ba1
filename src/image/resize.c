/* Resizing 8-bit pictures, bit for bit as Pillow does, which is what torchvision and Keras call.
 *
 * BILINEAR there is a triangle filter whose half width is max(1, reduction) source pixels, so that a reduction averages
 * over everything it covers. The two directions are done one after the other, each a sum of at most 2 ceil(half width)
 * + 1 samples with weights that are normalised in double precision and rounded to 22 fractional bits, each rounded to 8
 * bits at its end. Integer sums have one value in any order, so the result is the same bytes on every machine.
 *
 * NEAREST takes the sample under the centre of each target pixel; the position is accumulated, as there. */
#include <math.h>
#include <string.h>

#include "image/image.h"
#include "tensor/tensor.h"

/* For outputs first .. first + count of one direction: which samples they sum, and by which weights. */
typedef struct weights {
    int count, most; /* `most`: room for one output's weights */
    int *start, *length;
    int32_t *values; /* count x most */
    int low, high;   /* the samples that are needed at all: low .. high - 1 */
} weights;

static void weights_release(weights *w)
{
    pr_free(w->start);
    pr_free(w->length);
    pr_free(w->values);
}

static double triangle(double x)
{
    x = fabs(x);
    return x < 1 ? 1 - x : 0;
}

static void weigh_one(double centre, double half_width, int in, int *start, int *length, double *raw, int32_t *values)
{
    const double per_pixel = 1 / half_width;
    int low = (int)(centre - half_width + 0.5), high = (int)(centre + half_width + 0.5);
    low = PR_MAX(low, 0);
    high = PR_MIN(high, in);
    double sum = 0;
    for (int i = low; i < high; i++)
        sum += raw[i - low] = triangle((i - centre + 0.5) * per_pixel);
    for (int i = low; i < high; i++) {
        double share = sum != 0 ? raw[i - low] / sum : raw[i - low];
        values[i - low] = (int32_t)(0.5 + share * (1 << PR_WEIGHT_BITS)); /* shares are not negative */
    }
    *start = low;
    *length = high - low;
}

static parry_status weigh(parry_ctx *ctx, int in, int out, int first, int count, weights *w)
{
    const double scale = (double)in / out, half_width = PR_MAX(scale, 1.0);
    double *raw;
    w->count = count;
    w->most = (int)ceil(half_width) * 2 + 2; /* one more than needed: an even number */
    TRY(pr_alloc(ctx, count, &w->start));
    TRY(pr_alloc(ctx, count, &w->length));
    TRY(pr_alloc(ctx, (int64_t)count * w->most, &w->values));
    TRY(pr_alloc(ctx, w->most, &raw));
    w->low = in;
    for (int i = 0; i < count; i++) {
        weigh_one((first + i + 0.5) * scale, half_width, in, &w->start[i], &w->length[i], raw,
                  w->values + (int64_t)i * w->most);
        w->low = PR_MIN(w->low, w->start[i]);
        w->high = PR_MAX(w->high, w->start[i] + w->length[i]);
    }
    pr_free(raw);
    return PARRY_OK;
}

static uint8_t to_byte(int32_t sum)
{
    const int32_t value = sum >> PR_WEIGHT_BITS;
    return (uint8_t)(value < 0 ? 0 : value > 255 ? 255 : value);
}

/* One row of a grey picture to a row of w->count pixels. */
static void sum_columns(const weights *w, const uint8_t *in, uint8_t *out)
{
    for (int x = 0; x < w->count; x++) {
        const int32_t *k = w->values + (int64_t)x * w->most;
        int32_t sum = 1 << (PR_WEIGHT_BITS - 1);
        for (int i = 0; i < w->length[x]; i++)
            sum += in[w->start[x] + i] * k[i];
        out[x] = to_byte(sum);
    }
}

/* Output row y from the rows of `in`, which begin with sample row `low`. */
static void sum_rows(const weights *w, int y, const uint8_t *in, int low, int row, int32_t *restrict sums,
                     uint8_t *restrict out)
{
    const int32_t *k = w->values + (int64_t)y * w->most;
    for (int i = 0; i < row; i++)
        sums[i] = 1 << (PR_WEIGHT_BITS - 1);
    for (int j = 0; j < w->length[y]; j++) {
        const uint8_t *from = in + (int64_t)(w->start[y] + j - low) * row;
        for (int i = 0; i < row; i++)
            sums[i] += from[i] * k[j];
    }
    for (int i = 0; i < row; i++)
        out[i] = to_byte(sums[i]);
}

/* Columns first, over the rows that the window needs; a direction that keeps its size is exact: its weights are one. */
static parry_status resize_bilinear(parry_ctx *ctx, const pr_bitmap *in, const pr_window *window,
                                    const weights *columns, const weights *rows, pr_bitmap *out)
{
    const int channels = in->channels, row = window->out_width * channels;
    uint8_t *narrow;
    int32_t *sums;
    TRY(pr_alloc_raw(ctx, (int64_t)(rows->high - rows->low) * row, &narrow));
    parry_status status = pr_alloc_raw(ctx, row, &sums);
    if (status == PARRY_OK) {
        for (int y = rows->low; y < rows->high; y++) {
            const uint8_t *from = in->bytes + (int64_t)y * in->width * channels;
            uint8_t *to = narrow + (int64_t)(y - rows->low) * row;
            if (channels == 3)
                pr_weigh_pixels(from, columns->start, columns->length, columns->values, columns->most, to,
                                columns->count);
            else
                sum_columns(columns, from, to);
        }
        for (int y = 0; y < window->out_height; y++)
            sum_rows(rows, y, narrow, rows->low, row, sums, out->bytes + (int64_t)y * row);
        pr_free(sums);
    }
    pr_free(narrow);
    return status;
}

/* The sample under each target pixel's centre. */
static void nearest_samples(int in, int out, int first, int count, int *sample)
{
    const double scale = (double)in / out;
    double at = scale * 0.5;
    for (int i = 0; i < first + count; i++, at += scale)
        if (i >= first)
            sample[i - first] = PR_MIN((int)at, in - 1);
}

static parry_status resize_nearest(parry_ctx *ctx, const pr_bitmap *in, const pr_window *window, pr_bitmap *out)
{
    int *rows;
    TRY(pr_alloc(ctx, window->out_height + window->out_width, &rows));
    int *columns = rows + window->out_height;
    nearest_samples(in->height, window->height, window->top, window->out_height, rows);
    nearest_samples(in->width, window->width, window->left, window->out_width, columns);
    uint8_t *to = out->bytes;
    for (int y = 0; y < window->out_height; y++)
        for (int x = 0; x < window->out_width; x++, to += in->channels)
            memcpy(to, in->bytes + ((int64_t)rows[y] * in->width + columns[x]) * in->channels, (size_t)in->channels);
    pr_free(rows);
    return PARRY_OK;
}

parry_status pr_resize(parry_ctx *ctx, const pr_bitmap *in, pr_filter filter, const pr_window *window, pr_bitmap *out)
{
    weights columns = {0}, rows = {0};
    parry_status status;
    TRY(pr_bitmap_create(ctx, "a resized picture", in->channels, window->out_height, window->out_width, 8, out));
    if (filter == PR_FILTER_NEAREST) {
        status = resize_nearest(ctx, in, window, out);
    } else {
        TRY_TO(out, weigh(ctx, in->width, window->width, window->left, window->out_width, &columns));
        TRY_TO(out, weigh(ctx, in->height, window->height, window->top, window->out_height, &rows));
        status = resize_bilinear(ctx, in, window, &columns, &rows, out);
    }
out:
    weights_release(&columns);
    weights_release(&rows);
    if (status != PARRY_OK)
        pr_bitmap_release(out);
    return status;
}
