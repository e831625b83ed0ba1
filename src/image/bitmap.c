/* Bitmaps: allocation within limits, 16 to 8 bits, grey to colour and back. */
#include <string.h>

#include "image/image.h"
#include "tensor/tensor.h"

void pr_bitmap_release(pr_bitmap *bitmap)
{
    pr_free(bitmap->bytes);
    pr_free(bitmap->words);
    *bitmap = (pr_bitmap){0};
}

parry_status pr_bitmap_create(parry_ctx *ctx, const char *where, int channels, int64_t height, int64_t width, int bits,
                              pr_bitmap *out)
{
    *out = (pr_bitmap){0};
    if (height < 1 || width < 1 || height > PR_IMAGE_SIDE_MAX || width > PR_IMAGE_SIDE_MAX ||
        height * width > PR_IMAGE_PIXELS_MAX)
        return pr_fail(ctx, PARRY_UNSUPPORTED,
                       "%s: a picture of %lld x %lld pixels; expected 1 to %d a side and %d million at most", where,
                       (long long)width, (long long)height, PR_IMAGE_SIDE_MAX, PR_IMAGE_PIXELS_MAX / 1000000);
    const int64_t count = height * width * channels;
    if (bits == 16)
        TRY(pr_alloc_raw(ctx, count, &out->words));
    else
        TRY(pr_alloc_raw(ctx, count + PR_WEIGHT_SLACK, &out->bytes));
    out->channels = channels;
    out->height = (int)height;
    out->width = (int)width;
    return PARRY_OK;
}

parry_status pr_bitmap_narrow(parry_ctx *ctx, pr_bitmap *b)
{
    if (!b->words)
        return PARRY_OK;
    const int64_t count = (int64_t)b->height * b->width * b->channels;
    TRY(pr_alloc_raw(ctx, count + PR_WEIGHT_SLACK, &b->bytes));
    for (int64_t i = 0; i < count; i++)
        b->bytes[i] = (uint8_t)((b->words[i] * 255u + 32767) / 65535);
    pr_free(b->words);
    b->words = NULL;
    return PARRY_OK;
}

parry_status pr_bitmap_to_channels(parry_ctx *ctx, const char *where, int channels, pr_bitmap *b)
{
    if (channels == b->channels)
        return PARRY_OK;
    if (channels != 1 && channels != 3)
        return pr_fail(ctx, PARRY_MISMATCH, "%s: a photograph has 1 or 3 channels; %d are asked for", where, channels);
    pr_bitmap other;
    TRY(pr_bitmap_create(ctx, where, channels, b->height, b->width, 8, &other));
    const int64_t pixels = (int64_t)b->height * b->width;
    for (int64_t i = 0; i < pixels; i++)
        if (channels == 3) {
            memset(other.bytes + 3 * i, b->bytes[i], 3);
        } else { /* 0.299, 0.587, 0.114 in 16 bits, as they sum to 65536 */
            const uint8_t *rgb = b->bytes + 3 * i;
            other.bytes[i] = (uint8_t)((19595u * rgb[0] + 38470u * rgb[1] + 7471u * rgb[2] + 0x8000) >> 16);
        }
    pr_bitmap_release(b);
    *b = other;
    return PARRY_OK;
}
