/* A picture to draw on: images, and text in a font of the library's own, so that figures are the same bytes on every
 * machine. Coordinates are pixels from the top left. */
#ifndef PR_REPORT_CANVAS_H
#define PR_REPORT_CANVAS_H

#include "base/base.h"

/* 0xRRGGBB. */
typedef uint32_t pr_color;
enum { PR_INK = 0x1F2933, PR_INK_SOFT = 0x66727F };

typedef struct pr_canvas {
    int width, height;
    uint8_t *rgb; /* height x width x 3 */
} pr_canvas;
enum { PR_CANVAS_PIXELS_MAX = 1 << 27 };
/* White. PARRY_INVALID when it would have more than PR_CANVAS_PIXELS_MAX pixels. */
PARRY_CHECKED parry_status pr_canvas_create(parry_ctx *ctx, int width, int height, pr_canvas *out);
void pr_canvas_release(pr_canvas *canvas);
/* How an image is reduced: averages, or single pixels of it, for noise that averages would wash out. Images are
 * enlarged without smoothing, so that pixels stay visible. */
typedef enum pr_shrink { PR_SHRINK_AVERAGE, PR_SHRINK_PICK } pr_shrink;
/* Planes (C x H x W, C 1 or 3, values clamped to [0,1], NaN is black). */
typedef struct pr_planes {
    const float *values;
    int channels, height, width;
} pr_planes;
/* Draws an image width x height. What lies outside the canvas is cut off, here and below. */
PARRY_CHECKED parry_status pr_canvas_image(parry_ctx *ctx, pr_canvas *canvas, int x, int y, int width, int height,
                                           pr_shrink shrink, const pr_planes *image);
/* Pixels of a picture's longer side in a grid of `count`, at the most (figure_tiles.c): few are large, many small. */
int pr_tile_side(int64_t count);
/* An image as a PNG in memory, its longer side reduced to `side` where it is larger; freed with pr_free. */
PARRY_CHECKED parry_status pr_png_reduced(parry_ctx *ctx, int side, pr_shrink shrink, const pr_planes *image,
                                          uint8_t **out, size_t *size);
/* Writes the canvas as a PNG file. */
PARRY_CHECKED parry_status pr_canvas_write(parry_ctx *ctx, const pr_canvas *canvas, const char *path);

/* ---- text (font.c) ---------------------------------------------------------------------------------------------- */

typedef struct pr_font {
    int size;  /* height of capitals in pixels, 5 to 40 */
    bool bold; /* broader strokes, same widths */
    pr_color color;
} pr_font;
/* From baseline to baseline. */
int pr_font_line(const pr_font *font);
/* Of one line of UTF-8 in pixels. What the font does not have is drawn as a box. */
int pr_font_width(const pr_font *font, const char *text);
/* Draws one line; `y` is the top of its capitals. */
void pr_canvas_text(pr_canvas *canvas, const pr_font *font, int x, int y, const char *text);

typedef enum pr_align { PR_ALIGN_LEFT, PR_ALIGN_CENTER } pr_align;
/* Draws `text` in at most `lines` lines no wider than `width`: broken at spaces and newlines, inside a word that is
 * wider than a line, and ended with an ellipsis where it does not fit. Returns how many lines it took. A NULL canvas
 * only counts. */
int pr_canvas_wrapped(pr_canvas *canvas, const pr_font *font, int x, int y, int width, int lines, pr_align align,
                      const char *text);

#endif
