/* WebP, by libwebp: lossy and lossless stills, 8 bits. */
#include <string.h>

#include <webp/decode.h>

#include "image/image.h"

enum { RIFF_HEADER = 12, CHUNK_HEADER = 8 };

/* The EXIF chunk of the RIFF container, some writers begin it as JPEG does. */
static int orientation_of(const uint8_t *data, size_t size)
{
    for (size_t at = RIFF_HEADER; at <= size && size - at >= CHUNK_HEADER;) {
        const uint8_t *chunk = data + at;
        size_t length = chunk[4] | (size_t)chunk[5] << 8 | (size_t)chunk[6] << 16 | (size_t)chunk[7] << 24;
        at += CHUNK_HEADER;
        if (length > size - at)
            return 1;
        if (memcmp(chunk, "EXIF", 4) == 0) {
            const size_t skip = length > 6 && memcmp(data + at, "Exif\0\0", 6) == 0 ? 6 : 0;
            return pr_exif_orientation(data + at + skip, length - skip);
        }
        at += length + (length & 1);
    }
    return 1;
}

parry_status pr_webp_decode(parry_ctx *ctx, const char *where, const uint8_t *data, size_t size,
                            pr_image_traits *traits, pr_bitmap *out)
{
    WebPBitstreamFeatures features;
    if (WebPGetFeatures(data, size, &features) != VP8_STATUS_OK)
        return pr_fail(ctx, PARRY_FORMAT, "%s: damaged or cut WebP: its header cannot be read", where);
    if (features.has_animation)
        return pr_fail(ctx, PARRY_UNSUPPORTED, "%s: an animated WebP; expected a still picture", where);
    const int channels = features.has_alpha ? 4 : 3;
    TRY(pr_bitmap_create(ctx, where, channels, features.height, features.width, 8, out));
    const int stride = channels * out->width;
    const size_t room = (size_t)stride * (size_t)out->height;
    if (!(channels == 4 ? WebPDecodeRGBAInto : WebPDecodeRGBInto)(data, size, out->bytes, room, stride))
        return pr_fail(ctx, PARRY_FORMAT, "%s: damaged or cut WebP", where);
    traits->orientation = orientation_of(data, size);
    return PARRY_OK;
}
