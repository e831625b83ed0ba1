/* The one thing that parry reads of EXIF: which way up the picture is.
 *
 * EXIF is a TIFF file within the picture's: byte order, 42, the offset of the first directory; a directory is a count
 * and entries of 12 bytes (tag, type, count, value or its offset). Tag 0x0112, type SHORT: the orientation, CIPA
 * DC-008 4.6.5.1. */
#include <string.h>

#include "image/image.h"

enum { HEADER = 8, ENTRY = 12, ORIENTATION_TAG = 0x0112, TYPE_SHORT = 3, UPRIGHT = 1 };

typedef struct tiff {
    const uint8_t *data;
    size_t size;
    bool big_endian;
} tiff;

static uint32_t number(const tiff *t, size_t at, int bytes)
{
    uint32_t value = 0;
    for (int i = 0; i < bytes; i++)
        value |= (uint32_t)t->data[at + (size_t)i] << 8 * (t->big_endian ? bytes - 1 - i : i);
    return value;
}

int pr_exif_orientation(const uint8_t *data, size_t size)
{
    tiff t = {data, size, size >= 2 && data[0] == 'M'};
    if (size < HEADER || (memcmp(data, "II", 2) != 0 && memcmp(data, "MM", 2) != 0) || number(&t, 2, 2) != 42)
        return UPRIGHT;
    size_t at = number(&t, 4, 4);
    if (at > size - 2)
        return UPRIGHT;
    size_t entries = number(&t, at, 2);
    at += 2;
    for (size_t i = 0; i < entries && size - at >= ENTRY; i++, at += ENTRY)
        if (number(&t, at, 2) == ORIENTATION_TAG && number(&t, at + 2, 2) == TYPE_SHORT) {
            uint32_t value = number(&t, at + 8, 2);
            return value >= 1 && value <= 8 ? (int)value : UPRIGHT;
        }
    return UPRIGHT;
}

/* Where the sample of row y, column x of the upright picture lies in the stored one: its offset at (0, 0), and how far
 * apart neighbours in a row and in a column are, in pixels. */
parry_status pr_bitmap_orient(parry_ctx *ctx, int orientation, pr_bitmap *b)
{
    /* by orientation less 1: rows and columns change places, then read from the far end */
    static const struct {
        bool transpose, flip_y, flip_x;
    } turns[] = {{0, 0, 0}, {0, 0, 1}, {0, 1, 1}, {0, 1, 0}, {1, 0, 0}, {1, 1, 0}, {1, 1, 1}, {1, 0, 1}};
    if (orientation <= UPRIGHT || orientation > 8)
        return PARRY_OK;
    const bool transpose = turns[orientation - 1].transpose;
    const int64_t h = b->height, w = b->width, item = b->channels * (b->words ? 2 : 1);
    pr_bitmap turned;
    TRY(pr_bitmap_create(ctx, "a picture to turn", b->channels, transpose ? w : h, transpose ? h : w, b->words ? 16 : 8,
                         &turned));
    const uint8_t *from = b->words ? (const uint8_t *)b->words : b->bytes;
    uint8_t *to = turned.words ? (uint8_t *)turned.words : turned.bytes;
    for (int64_t y = 0; y < turned.height; y++)
        for (int64_t x = 0; x < turned.width; x++, to += item) {
            int64_t row = transpose ? x : y, column = transpose ? y : x; /* in the stored picture */
            row = turns[orientation - 1].flip_y ? h - 1 - row : row;
            column = turns[orientation - 1].flip_x ? w - 1 - column : column;
            memcpy(to, from + (row * w + column) * item, (size_t)item);
        }
    pr_bitmap_release(b);
    *b = turned;
    return PARRY_OK;
}
