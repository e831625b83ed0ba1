/* NumPy's .npy arrays: a magic string, a version, the length of a header, the header (a Python dict of descr,
 * fortran_order and shape), the elements.
 *
 * Format: "A simple file format for NumPy arrays", NEP 1; versions 1, 2 and 3 differ in the width of the length and the
 * header's encoding. */
#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/data.h"
#include "tensor/tensor.h"

enum { MAX_RANK = 4, PREAMBLE = 8, LONGEST_HEADER = 4096 };

typedef struct array {
    char descr[8];
    int rank;
    int64_t shape[MAX_RANK];
    size_t item; /* bytes of one element */
    const uint8_t *elements;
} array;

/* Where the value of `key` starts in the header's dict, or NULL. */
static const char *find_value(const char *header, const char *key)
{
    const char *at = strstr(header, key);
    if (!at)
        return NULL;
    at += strlen(key);
    while (*at == ' ' || *at == ':')
        at++;
    return at;
}

static bool read_descr(const char *header, array *out)
{
    const char *at = find_value(header, "'descr'");
    if (!at || *at != '\'')
        return false;
    size_t length = strcspn(++at, "'");
    if (at[length] != '\'' || length < 3 || length >= sizeof out->descr)
        return false;
    memcpy(out->descr, at, length);
    out->descr[length] = '\0';
    out->item = (size_t)strtoul(out->descr + 2, NULL, 10);
    return true;
}

/* "(60000, 28, 28)", "(60000,)". */
static bool read_shape(const char *header, array *out)
{
    const char *at = find_value(header, "'shape'");
    if (!at || *at++ != '(')
        return false;
    for (out->rank = 0; *at != ')'; out->rank++) {
        char *end;
        if (out->rank == MAX_RANK || !isdigit((unsigned char)*at))
            return false;
        out->shape[out->rank] = strtoll(at, &end, 10);
        for (at = end; *at == ',' || *at == ' ';)
            at++;
    }
    return true;
}

static parry_status read_array(parry_ctx *ctx, const char *where, const uint8_t *data, size_t size, array *out)
{
    *out = (array){0};
    size_t width = size > 6 && data[6] == 1 ? 2 : 4;
    if (size < PREAMBLE + width || memcmp(data, "\x93NUMPY", 6) != 0)
        return pr_fail(ctx, PARRY_FORMAT, "%s: not a .npy array: it does not start with NumPy's magic", where);
    size_t length = 0;
    for (size_t i = 0; i < width; i++)
        length |= (size_t)data[PREAMBLE + i] << (8 * i);
    size_t start = PREAMBLE + width;
    if (length > LONGEST_HEADER || length > size - start)
        return pr_fail(ctx, PARRY_FORMAT, "%s: a .npy header of %zu bytes in a file of %zu (truncated?)", where, length,
                       size);
    char header[LONGEST_HEADER + 1];
    memcpy(header, data + start, length);
    header[length] = '\0';
    const char *order = find_value(header, "'fortran_order'");
    if (!read_descr(header, out) || !read_shape(header, out) || !order)
        return pr_fail(ctx, PARRY_FORMAT, "%s: the .npy header is not one of a plain array of at most %d dimensions",
                       where, MAX_RANK);
    if (strncmp(order, "False", 5) != 0)
        return pr_fail(ctx, PARRY_UNSUPPORTED,
                       "%s: the array is in Fortran order; save it with numpy.ascontiguousarray", where);
    size_t bytes;
    if (out->item == 0 || out->rank == 0 || !pr_extent_bytes(out->shape, out->rank, out->item, &bytes))
        return pr_fail(ctx, PARRY_FORMAT, "%s: the array is empty, has no shape or is larger than what is accepted",
                       where);
    if (size - start - length != bytes)
        return pr_fail(ctx, PARRY_FORMAT, "%s: the header announces %zu bytes of elements, the file holds %zu", where,
                       bytes, size - start - length);
    out->elements = data + start + length;
    return PARRY_OK;
}

/* Few channels first, or few channels last: N x C x H x W, or N x H x W x C. */
static bool channels_last(const array *a)
{
    bool first_few = a->shape[1] == 1 || a->shape[1] == 3, last_few = a->shape[3] == 1 || a->shape[3] == 3;
    return last_few && !first_few && a->shape[2] > a->shape[3];
}

static parry_status image_shape(parry_ctx *ctx, const char *where, const array *a, pr_images *out)
{
    if (a->rank < 3)
        return pr_fail(ctx, PARRY_FORMAT,
                       "%s: an array of %d dimensions; expected N x H x W, N x C x H x W or N x H x W x C", where,
                       a->rank);
    for (int i = 1; i < a->rank; i++)
        if (a->shape[i] > INT32_MAX)
            return pr_fail(ctx, PARRY_FORMAT, "%s: images of %lld pixels in one direction", where,
                           (long long)a->shape[i]);
    bool last = a->rank == 4 && channels_last(a);
    int row = a->rank == 4 && !last ? 2 : 1;
    out->count = a->shape[0];
    out->channels = a->rank == 3 ? 1 : (int)a->shape[last ? 3 : 1];
    out->height = (int)a->shape[row];
    out->width = (int)a->shape[row + 1];
    return PARRY_OK;
}

/* Copies the elements of one image, channels first; both sides have items of `item` bytes. */
static void copy_image(const uint8_t *from, uint8_t *to, const pr_images *shape, bool last, size_t item)
{
    int64_t plane = (int64_t)shape->height * shape->width;
    if (!last) {
        memcpy(to, from, (size_t)(plane * shape->channels) * item);
        return;
    }
    for (int64_t i = 0; i < plane; i++)
        for (int c = 0; c < shape->channels; c++)
            memcpy(to + (size_t)(c * plane + i) * item, from + (size_t)(i * shape->channels + c) * item, item);
}

static void doubles_to_floats(const uint8_t *from, float *to, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        double value;
        memcpy(&value, from + i * (int64_t)sizeof value, sizeof value);
        to[i] = (float)value;
    }
}

/* Images made by an attack without clipping may leave [0,1] a little; values in 0..255 as floats are somebody's
 * mistake. */
static parry_status check_range(parry_ctx *ctx, const char *where, const pr_images *images)
{
    const float largest_meant = 16;
    int64_t row = pr_images_row(images);
    for (int64_t i = 0; i < images->count; i++) {
        float largest = pr_max_abs(images->floats + i * row, row);
        if (!isfinite(largest))
            return pr_fail(ctx, PARRY_NUMERIC, "%s: image %lld has a pixel that is not finite", where, (long long)i);
        if (largest > largest_meant)
            return pr_fail(ctx, PARRY_FORMAT,
                           "%s: image %lld has a pixel of %g; floats are expected in [0,1] (divide by 255, or save the "
                           "array as uint8)",
                           where, (long long)i, (double)largest);
    }
    return PARRY_OK;
}

static parry_status fill_floats(parry_ctx *ctx, const char *where, const array *a, bool last, pr_images *out)
{
    int64_t row = pr_images_row(out);
    float *image;
    TRY(pr_alloc_raw(ctx, out->count * row, &out->floats));
    TRY(pr_alloc_raw(ctx, row, &image));
    for (int64_t i = 0; i < out->count; i++) {
        const uint8_t *from = a->elements + (size_t)(i * row) * a->item;
        if (a->item == sizeof(double))
            doubles_to_floats(from, image, row);
        copy_image(a->item == sizeof(double) ? (const uint8_t *)image : from, (uint8_t *)(out->floats + i * row), out,
                   last, sizeof(float));
    }
    pr_free(image);
    return check_range(ctx, where, out);
}

parry_status pr_npy_images(parry_ctx *ctx, const char *where, const uint8_t *data, size_t size, pr_images *out)
{
    array a;
    *out = (pr_images){0};
    TRY(read_array(ctx, where, data, size, &a));
    TRY(image_shape(ctx, where, &a, out));
    bool last = a.rank == 4 && channels_last(&a);
    if (strcmp(a.descr, "<f4") == 0 || strcmp(a.descr, "<f8") == 0)
        return fill_floats(ctx, where, &a, last, out);
    if (strcmp(a.descr, "|u1") != 0)
        return pr_fail(ctx, PARRY_UNSUPPORTED,
                       "%s: elements of type '%s'; images are read from float32, float64 and uint8", where, a.descr);
    int64_t row = pr_images_row(out);
    TRY(pr_alloc_raw(ctx, out->count * row, &out->bytes));
    for (int64_t i = 0; i < out->count; i++)
        copy_image(a.elements + i * row, out->bytes + i * row, out, last, 1);
    return PARRY_OK;
}

static int64_t integer_at(const array *a, int64_t index)
{
    int64_t wide;
    int32_t narrow;
    const uint8_t *at = a->elements + (size_t)index * a->item;
    if (a->item == 1)
        return *at;
    memcpy(&narrow, at, sizeof narrow);
    if (a->item == sizeof narrow)
        return narrow;
    memcpy(&wide, at, sizeof wide);
    return wide;
}

parry_status pr_npy_labels(parry_ctx *ctx, const char *where, const uint8_t *data, size_t size, int classes,
                           pr_images *out)
{
    enum { MOST_CLASSES = 1 << 20 };
    array a;
    TRY(read_array(ctx, where, data, size, &a));
    if (a.rank != 1 && !(a.rank == 2 && a.shape[1] == 1))
        return pr_fail(ctx, PARRY_FORMAT, "%s: labels of %d dimensions; expected one number for each image%s", where,
                       a.rank, a.rank == 2 ? " (of one-hot rows, save labels.argmax(1))" : "");
    if (strcmp(a.descr, "<i8") != 0 && strcmp(a.descr, "<i4") != 0 && strcmp(a.descr, "|u1") != 0)
        return pr_fail(
            ctx, PARRY_UNSUPPORTED,
            "%s: labels of type '%s'; they are read from int64, int32 and uint8 (save labels.astype('int64'))", where,
            a.descr);
    if (a.shape[0] != out->count)
        return pr_fail(ctx, PARRY_MISMATCH, "%s: %lld labels for %lld images", where, (long long)a.shape[0],
                       (long long)out->count);
    TRY(pr_alloc_raw(ctx, out->count, &out->labels));
    int64_t limit = classes ? classes : MOST_CLASSES, largest = 0;
    for (int64_t i = 0; i < out->count; i++) {
        int64_t label = integer_at(&a, i);
        if (label < -1 || label >= limit) /* -1: unknown */
            return pr_fail(ctx, PARRY_FORMAT, "%s: label %lld is %lld; expected 0 to %lld", where, (long long)i,
                           (long long)label, (long long)limit - 1);
        out->labels[i] = (int32_t)label;
        largest = PR_MAX(largest, label);
    }
    out->classes = classes ? classes : (int)largest + 1;
    out->open_classes = classes == 0;
    return PARRY_OK;
}

parry_status pr_npy_read(parry_ctx *ctx, const char *images_path, const char *labels_path, int classes, pr_images *out)
{
    static const pr_pair_format format = {pr_npy_images, pr_npy_labels};
    return pr_pair_read(ctx, &format, images_path, labels_path, classes, out);
}

void pr_npy_header(FILE *stream, const char *descr, const int64_t *shape, int rank)
{
    char header[256];
    int length = snprintf(header, sizeof header, "{'descr': '%s', 'fortran_order': False, 'shape': (", descr);
    for (int i = 0; i < rank; i++)
        length +=
            snprintf(header + length, sizeof header - (size_t)length, "%s%lld", i ? ", " : "", (long long)shape[i]);
    length += snprintf(header + length, sizeof header - (size_t)length, "%s), }", rank == 1 ? "," : "");
    while ((PREAMBLE + 2 + length + 1) % 64 != 0) /* NumPy aligns the elements to 64 bytes */
        header[length++] = ' ';
    header[length++] = '\n';
    fwrite("\x93NUMPY\x01\x00", 1, PREAMBLE, stream);
    fputc(length & 0xff, stream);
    fputc(length >> 8, stream);
    fwrite(header, 1, (size_t)length, stream);
}
