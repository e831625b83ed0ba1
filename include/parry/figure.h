/* Pictures of results as PNG files: an image beside its adversary, and grids of images with captions. Text is drawn in
 * a font of the library's own; the same input gives the same bytes everywhere. */
#ifndef PARRY_FIGURE_H
#define PARRY_FIGURE_H

#include <parry/attack.h>
#include <parry/image.h>

#ifdef __cplusplus
extern "C" {
#endif

/* How a difference is shown, d = adversary - original being in units of the pixel range [0,1]. */
typedef enum parry_difference {
    PARRY_DIFFERENCE_SIGNED,   /* 1/2 + magnify d, clipped to [0,1]: mid-grey where nothing changed */
    PARRY_DIFFERENCE_ABSOLUTE, /* magnify |d|, clipped to [0,1]: black where nothing changed */
} parry_difference;

/* Original, difference and adversary side by side. */
typedef struct parry_triptych {
    size_t size; /* sizeof(parry_triptych) */
    const float *original, *adversary;
    int channels, height, width; /* of both; channels 1 or 3 */
    double magnify;    /* of the difference; 0: the factor that brings the largest change to the end of the range */
    int difference;    /* parry_difference */
    const char *title; /* NULL: none */
    const char *original_caption, *adversary_caption; /* lines of text below those panels; NULL: none */
    int side; /* pixels of a panel's longer side; 0: the image's own, or a multiple of it, from 224 to 480 */
} parry_triptych;
/* Below the middle panel stands what the difference costs: its sum in grey levels, L2, Linf and how many pixels
 * changed, of the images as they are given. PARRY_INVALID for other channels, or a pixel that is not finite. */
PARRY_API PARRY_CHECKED parry_status parry_figure_triptych(parry_ctx *ctx, const parry_triptych *triptych,
                                                           const char *path);
/* The factor that magnify 0 stands for. */
PARRY_API double parry_figure_magnify(const parry_triptych *triptych);

/* Reads an image as parry_image_read does; one of another size than `like` is a photograph that `like` was made from,
 * and is fitted to its size: the crop of the photograph resized, or the whole of it squashed, that comes nearest. `how`
 * receives words for it, "shorter side to 256, centre 224 x 224", or "" where nothing was to be done. PARRY_MISMATCH
 * when it has fewer pixels than `like`, or differs from it by more than a tenth of the pixel range on average. */
PARRY_API PARRY_CHECKED parry_status parry_image_read_like(parry_ctx *ctx, const char *path, const parry_image *like,
                                                           parry_image *out, char how[64]);

/* One picture of a grid. */
typedef struct parry_tile {
    const float *image; /* C x H x W, channels 1 or 3 */
    int channels, height, width;
    const char *caption; /* below the picture, in up to two lines; NULL: none */
    const char *note;    /* softer, below that, in up to three lines; NULL: none */
} parry_tile;

/* Tiles under one heading. */
typedef struct parry_tile_group {
    const char *heading; /* NULL: none */
    const parry_tile *tiles;
    int64_t count;
} parry_tile_group;

typedef struct parry_tiles {
    size_t size;                  /* sizeof(parry_tiles) */
    const char *title, *subtitle; /* NULL: none */
    const parry_tile_group *groups;
    int group_count;
    int columns; /* of a group's grid; 0: so many that the figure is broader than high */
    int side;    /* pixels of a tile's longer side; 0: by how many tiles there are, 64 to 224 */
} parry_tiles;
PARRY_API PARRY_CHECKED parry_status parry_figure_tiles(parry_ctx *ctx, const parry_tiles *tiles, const char *path);

#ifdef __cplusplus
}
#endif
#endif
