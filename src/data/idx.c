/* IDX, the format of MNIST and Fashion-MNIST: two zero bytes, an element type, the rank, big-endian extents, then the
 * elements.
 *
 * LeCun, Cortes, Burges, "The MNIST database", section "File formats". Only unsigned bytes occur in data sets of
 * images. */
#include <string.h>

#include "data/data.h"

enum { TYPE_UNSIGNED_BYTE = 8, HEADER = 4 };

static uint32_t big_endian(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

/* Checks magic, extents and size; `*elements` points past the header. */
static parry_status read_header(parry_ctx *ctx, const char *where, const uint8_t *data, size_t size, int rank,
                                const char *what, int64_t *extent, const uint8_t **elements)
{
    const uint8_t magic[HEADER] = {0, 0, TYPE_UNSIGNED_BYTE, (uint8_t)rank};
    const size_t header = HEADER + 4 * (size_t)rank;
    if (memcmp(data, magic, PR_MIN(size, sizeof magic)) != 0) {
        uint8_t found[HEADER] = {0};
        memcpy(found, data, PR_MIN(size, sizeof found));
        return pr_fail(ctx, PARRY_FORMAT, "%s: not IDX %s: the magic number is 0x%08x; expected 0x%08x", where, what,
                       big_endian(found), big_endian(magic));
    }
    if (size < header)
        return pr_fail(ctx, PARRY_FORMAT, "%s: truncated: %zu bytes, shorter than the %zu-byte header of IDX %s", where,
                       size, header, what);
    for (int i = 0; i < rank; i++)
        extent[i] = big_endian(data + HEADER + 4 * i);
    size_t bytes;
    if (!pr_extent_bytes(extent, rank, 1, &bytes))
        return pr_fail(ctx, PARRY_FORMAT, "%s: the header announces %lld %s, some extent of which is zero or too large",
                       where, (long long)extent[0], what);
    if (size - header != bytes)
        return pr_fail(ctx, PARRY_FORMAT, "%s: %s: the header announces %zu bytes of %s, the file holds %zu", where,
                       size - header < bytes ? "truncated" : "too long", bytes, what, size - header);
    *elements = data + header;
    return PARRY_OK;
}

parry_status pr_idx_images(parry_ctx *ctx, const char *where, const uint8_t *data, size_t size, pr_images *out)
{
    int64_t extent[3];
    const uint8_t *pixels = NULL;
    *out = (pr_images){0};
    TRY(read_header(ctx, where, data, size, 3, "images", extent, &pixels));
    if (extent[1] > INT32_MAX || extent[2] > INT32_MAX)
        return pr_fail(ctx, PARRY_FORMAT, "%s: images of %lld x %lld pixels", where, (long long)extent[1],
                       (long long)extent[2]);
    size_t bytes = (size_t)(extent[0] * extent[1] * extent[2]);
    TRY(pr_alloc_raw(ctx, bytes, &out->bytes));
    memcpy(out->bytes, pixels, bytes);
    out->count = extent[0];
    out->channels = 1;
    out->height = (int)extent[1];
    out->width = (int)extent[2];
    return PARRY_OK;
}

parry_status pr_idx_labels(parry_ctx *ctx, const char *where, const uint8_t *data, size_t size, int classes,
                           pr_images *out)
{
    int64_t count;
    const uint8_t *labels = NULL;
    TRY(read_header(ctx, where, data, size, 1, "labels", &count, &labels));
    if (count != out->count)
        return pr_fail(ctx, PARRY_MISMATCH, "%s: %lld labels for %lld images", where, (long long)count,
                       (long long)out->count);
    TRY(pr_alloc_raw(ctx, count, &out->labels));
    int largest = 0;
    for (int64_t i = 0; i < count; i++) {
        if (classes && labels[i] >= classes)
            return pr_fail(ctx, PARRY_FORMAT, "%s: label %lld is %d; expected 0 to %d", where, (long long)i, labels[i],
                           classes - 1);
        out->labels[i] = labels[i];
        largest = PR_MAX(largest, labels[i]);
    }
    out->classes = classes ? classes : largest + 1;
    out->open_classes = classes == 0;
    return PARRY_OK;
}

parry_status pr_idx_read(parry_ctx *ctx, const char *images_path, const char *labels_path, int classes, pr_images *out)
{
    static const pr_pair_format format = {pr_idx_images, pr_idx_labels};
    return pr_pair_read(ctx, &format, images_path, labels_path, classes, out);
}
