/* NumPy's .npz: a ZIP archive of .npy arrays, stored or deflated. Images and labels are found by their names.
 *
 * Format: PKWARE's APPNOTE, sections 4.3.7 (local header), 4.3.12 (central directory) and 4.3.16 (its end). ZIP64 and
 * encryption are refused; sizes are checked against the file, and what is inflated against what was announced. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include <zlib.h>

#include "data/data.h"

enum { END_SIZE = 22, CENTRAL_SIZE = 46, LOCAL_SIZE = 30, COMMENT_MAX = 65535, STORED = 0, DEFLATED = 8 };
enum { DEFLATE_MOST = 1032 }; /* bytes that come of one: 258 for two bits, as zlib's documentation has it */

typedef struct archive {
    const char *path;
    const uint8_t *data;
    size_t size, directory; /* where the central directory begins */
    int entries;
} archive;

static uint32_t number(const uint8_t *at, int bytes)
{
    uint32_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint32_t)at[i] << 8 * i;
    return value;
}

static parry_status damaged(parry_ctx *ctx, const archive *a)
{
    return pr_fail(ctx, PARRY_FORMAT, "%s: not a ZIP archive as NumPy writes them, or damaged", a->path);
}

/* The record at the end of the file, which a comment may follow. */
static parry_status find_directory(parry_ctx *ctx, archive *a)
{
    for (size_t back = END_SIZE; back <= a->size && back <= END_SIZE + COMMENT_MAX; back++) {
        const uint8_t *end = a->data + a->size - back;
        if (memcmp(end, "PK\5\6", 4) != 0)
            continue;
        a->entries = (int)number(end + 10, 2);
        a->directory = number(end + 16, 4);
        return a->directory < a->size ? PARRY_OK : damaged(ctx, a);
    }
    return damaged(ctx, a);
}

static parry_status inflate_entry(parry_ctx *ctx, const archive *a, const uint8_t *from, size_t packed, size_t size,
                                  uint8_t *to)
{
    z_stream z = {.next_in = (Bytef *)from, .avail_in = (uInt)packed, .next_out = to, .avail_out = (uInt)size};
    if (inflateInit2(&z, -MAX_WBITS) != Z_OK)
        return pr_fail(ctx, PARRY_NO_MEMORY, "%s: out of memory", a->path);
    const int end = inflate(&z, Z_FINISH);
    const size_t made = z.total_out;
    inflateEnd(&z);
    return end == Z_STREAM_END && made == size ? PARRY_OK : damaged(ctx, a);
}

/* The content of the entry that the directory's record at `record` describes. */
static parry_status read_entry(parry_ctx *ctx, const archive *a, const uint8_t *record, uint8_t **out, size_t *size)
{
    const int method = (int)number(record + 10, 2);
    const size_t packed = number(record + 20, 4), at = number(record + 42, 4);
    *size = number(record + 24, 4);
    if (at > a->size || a->size - at < LOCAL_SIZE || memcmp(a->data + at, "PK\3\4", 4) != 0 ||
        *size > PR_DATA_FILE_LIMIT)
        return damaged(ctx, a);
    const size_t start = at + LOCAL_SIZE + number(a->data + at + 26, 2) + number(a->data + at + 28, 2);
    if (start > a->size || packed > a->size - start || *size / DEFLATE_MOST > packed)
        return damaged(ctx, a);
    if ((method != STORED && method != DEFLATED) || (number(record + 8, 2) & 1) ||
        (method == STORED && packed != *size))
        return pr_fail(ctx, PARRY_UNSUPPORTED, "%s: its arrays are packed in a way that NumPy does not use", a->path);
    TRY(pr_alloc_raw(ctx, *size + 1, out));
    if (method == DEFLATED)
        return inflate_entry(ctx, a, a->data + start, packed, *size, *out);
    memcpy(*out, a->data + start, packed);
    return PARRY_OK;
}

/* The record of the first of `names` (with .npy) that is there; NULL when none is. */
static parry_status find_entry(parry_ctx *ctx, const archive *a, const char *const *names, const uint8_t **out)
{
    *out = NULL;
    for (; *names && !*out; names++) {
        size_t at = a->directory;
        for (int i = 0; i < a->entries; i++) {
            if (a->size - at < CENTRAL_SIZE || memcmp(a->data + at, "PK\1\2", 4) != 0)
                return damaged(ctx, a);
            const size_t length = number(a->data + at + 28, 2),
                         whole = CENTRAL_SIZE + length + number(a->data + at + 30, 2) + number(a->data + at + 32, 2);
            if (whole > a->size - at)
                return damaged(ctx, a);
            char name[64];
            snprintf(name, sizeof name, "%s.npy", *names);
            if (length == strlen(name) && strncasecmp((const char *)a->data + at + CENTRAL_SIZE, name, length) == 0) {
                *out = a->data + at;
                break;
            }
            at += whole;
        }
    }
    return PARRY_OK;
}

typedef parry_status array_reader(parry_ctx *ctx, const archive *a, const uint8_t *data, size_t size, pr_images *out);

static parry_status read_images(parry_ctx *ctx, const archive *a, const uint8_t *data, size_t size, pr_images *out)
{
    return pr_npy_images(ctx, a->path, data, size, out);
}

static parry_status read_labels(parry_ctx *ctx, const archive *a, const uint8_t *data, size_t size, pr_images *out)
{
    return pr_npy_labels(ctx, a->path, data, size, 0, out);
}

static parry_status read_array(parry_ctx *ctx, const archive *a, const char *what, const char *const *names,
                               array_reader *read, pr_images *out)
{
    const uint8_t *record;
    uint8_t *data = NULL;
    size_t size;
    TRY(find_entry(ctx, a, names, &record));
    if (!record)
        return pr_fail(ctx, PARRY_FORMAT, "%s: no array of %s; expected one that is called %s, %s, %s or %s", a->path,
                       what, names[0], names[1], names[2], names[3]);
    parry_status status = read_entry(ctx, a, record, &data, &size);
    if (status == PARRY_OK)
        status = read(ctx, a, data, size, out);
    pr_free(data);
    return status;
}

parry_status pr_npz_read(parry_ctx *ctx, const char *path, parry_split split, pr_images *out)
{
    static const char *const images[][5] = {{"x_train", "images", "x", "arr_0", NULL},
                                            {"x_test", "images", "x", "arr_0", NULL}};
    static const char *const labels[][5] = {{"y_train", "labels", "y", "arr_1", NULL},
                                            {"y_test", "labels", "y", "arr_1", NULL}};
    archive a = {.path = path};
    uint8_t *data;
    *out = (pr_images){0};
    TRY(pr_file_read(ctx, path, PR_DATA_FILE_LIMIT, &data, &a.size));
    a.data = data;
    parry_status status = find_directory(ctx, &a);
    if (status == PARRY_OK)
        status = read_array(ctx, &a, "images", images[split], read_images, out);
    if (status == PARRY_OK)
        status = read_array(ctx, &a, "labels", labels[split], read_labels, out);
    pr_free(data);
    if (status != PARRY_OK)
        pr_images_release(out);
    return status;
}
