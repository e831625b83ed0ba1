/* CIFAR-10's binary format: records of one label byte and 3 x 32 x 32 pixel bytes (red, green, blue planes), nothing
 * else.
 *
 * Krizhevsky, "Learning multiple layers of features from tiny images", 2009. A set comes in several files of equal
 * size. */
#include <string.h>

#include "data/data.h"

enum { CHANNELS = 3, SIDE = 32, CLASSES = 10, PIXELS = CHANNELS * SIDE * SIDE, RECORD = 1 + PIXELS };

static parry_status unpack(parry_ctx *ctx, const char *where, const uint8_t *data, int64_t count, int64_t first,
                           pr_images *out)
{
    for (int64_t i = 0; i < count; i++) {
        const uint8_t *record = data + i * RECORD;
        if (record[0] >= CLASSES)
            return pr_fail(ctx, PARRY_FORMAT, "%s: the label of record %lld is %d; expected 0 to %d", where,
                           (long long)i, record[0], CLASSES - 1);
        out->labels[first + i] = record[0];
        memcpy(out->bytes + (first + i) * PIXELS, record + 1, PIXELS);
    }
    return PARRY_OK;
}

/* File `index` of `files`. The first one tells the size of all. */
static parry_status read_file(parry_ctx *ctx, const char *path, int index, int files, pr_images *out)
{
    uint8_t *data;
    size_t size;
    TRY(pr_file_read_gz(ctx, path, PR_DATA_FILE_LIMIT / (size_t)files, &data, &size));
    parry_status status = PARRY_OK;
    int64_t count = (int64_t)(size / RECORD);
    if (count == 0 || size % RECORD != 0)
        TRY_TO(out, pr_fail(ctx, PARRY_FORMAT,
                            "%s: %zu bytes are not a whole number of CIFAR-10 records of %d bytes (truncated?)", path,
                            size, RECORD));
    if (index == 0) {
        out->count = count * files;
        TRY_TO(out, pr_alloc_raw_bytes(ctx, (size_t)out->count, PIXELS, (void **)&out->bytes));
        TRY_TO(out, pr_alloc_raw(ctx, out->count, &out->labels));
    }
    if (count * files != out->count)
        TRY_TO(out, pr_fail(ctx, PARRY_MISMATCH, "%s: %lld records; the first file of the set has %lld", path,
                            (long long)count, (long long)(out->count / files)));
    status = unpack(ctx, path, data, count, index * count, out);
out:
    pr_free(data);
    return status;
}

parry_status pr_cifar_read(parry_ctx *ctx, char *const *paths, int count, pr_images *out)
{
    *out = (pr_images){.channels = CHANNELS, .height = SIDE, .width = SIDE, .classes = CLASSES};
    for (int i = 0; i < count; i++) {
        parry_status status = read_file(ctx, paths[i], i, count, out);
        if (status != PARRY_OK) {
            pr_images_release(out);
            return status;
        }
    }
    return PARRY_OK;
}
