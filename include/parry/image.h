/* Single pictures: photographs in, PNG and NumPy arrays out. */
#ifndef PARRY_IMAGE_H
#define PARRY_IMAGE_H

#include <parry/context.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How a photograph becomes the size that a network takes. */
typedef enum parry_resize {
    PARRY_RESIZE_UNSTATED,
    PARRY_RESIZE_NONE,           /* it has that size already, or is refused */
    PARRY_RESIZE_CROP,           /* shorter side to the resize size, then the centre is cut out, as torchvision does */
    PARRY_RESIZE_SQUASH,         /* to the size at once, whatever the proportions, bilinear */
    PARRY_RESIZE_SQUASH_NEAREST, /* the same without interpolation, the default of Keras' load_img */
    PARRY_RESIZE_CROP_ROUND, /* as crop, but the longer side is rounded to the nearest pixel (torchvision rounds down)
                                and the cut to the top left (torchvision to even); others' pipelines do */
} parry_resize;

/* C x H x W floats in [0,1]; C is 1 (grey) or 3 (red, green, blue). */
typedef struct parry_image {
    int channels, height, width;
    float *pixels;
} parry_image;

/* Reads a PNG, JPEG or WebP file, told apart by content, or a .npy array of one image (C x H x W, H x W x C or H x W;
 * floats in [0,1] or uint8). Pictures are turned upright as EXIF says; grey ones keep one channel; transparent pixels
 * are laid on white; CMYK is converted without a profile; 16 bits keep their precision. Colour profiles are not
 * applied. PARRY_FORMAT names a file that is damaged or cut, PARRY_UNSUPPORTED one that is too large (128 megapixels,
 * 65535 a side) or of a kind not read. */
PARRY_API PARRY_CHECKED parry_status parry_image_read(parry_ctx *ctx, const char *path, parry_image *out);
/* By extension: .png (values clamped to [0,1] and rounded to 8 bits) or .npy (float32, C x H x W, exact). Written under
 * a temporary name and renamed. PARRY_INVALID for another extension, PARRY_IO. */
PARRY_API PARRY_CHECKED parry_status parry_image_write(parry_ctx *ctx, const char *path, const parry_image *image);
/* Frees the pixels. */
PARRY_API void parry_image_clear(parry_image *image);

#ifdef __cplusplus
}
#endif
#endif
