/* Grids of pictures with captions. */
#include <math.h>
#include <string.h>

#include <parry/figure.h>

#include "report/canvas.h"

enum { MARGIN = 20, SIDE_USUAL = 168, CAPTION_LINES = 2, NOTE_LINES = 3, HEAD_LINES = 4, WIDTH_LEAST = 240 };

/* Width over height that a figure comes near to. */
#define BREADTH 1.6

/* Sizes in pixels, by the side of a tile: small tiles have small letters. */
typedef struct layout {
    int side, cell, columns; /* of a picture; from tile to tile */
    int gap;                 /* between picture and text, and between rows */
    pr_font title, plain, head, caption, note;
    int caption_lines, note_lines;              /* the most that a tile has */
    int across;                                 /* groups that stand side by side */
    int block_width, block_height, head_height; /* of a group; of its heading, the same for all */
    int width, height, group_top;               /* of the canvas; first group's heading */
} layout;

static int64_t most_tiles(const parry_tiles *tiles)
{
    int64_t most = 0;
    for (int g = 0; g < tiles->group_count; g++)
        most = PR_MAX(most, tiles->groups[g].count);
    return most;
}

int pr_tile_side(int64_t count)
{
    return count <= 18 ? 224 : count <= 60 ? 112 : count <= 200 ? 80 : 64;
}

/* The images' own side where there is room for it; smaller images are enlarged by a whole number. */
static int choose_side(const parry_tiles *tiles, int64_t most)
{
    const int room = pr_tile_side(most), wanted = PR_MIN(room, SIDE_USUAL);
    int own = 0;
    for (int g = 0; g < tiles->group_count; g++)
        for (int64_t i = 0; i < tiles->groups[g].count; i++)
            own = PR_MAX(own, PR_MAX(tiles->groups[g].tiles[i].height, tiles->groups[g].tiles[i].width));
    if (tiles->side > 0)
        return PR_MAX(8, tiles->side);
    if (own >= wanted)
        return own <= room ? own : wanted;
    return PR_MAX(1, wanted / own) * own;
}

static int text_lines(const pr_font *font, int width, int lines, const char *text)
{
    return text ? pr_canvas_wrapped(NULL, font, 0, 0, width, lines, PR_ALIGN_CENTER, text) : 0;
}

static void count_lines(const parry_tiles *tiles, layout *at)
{
    for (int g = 0; g < tiles->group_count; g++)
        for (int64_t i = 0; i < tiles->groups[g].count; i++) {
            const parry_tile *tile = &tiles->groups[g].tiles[i];
            at->caption_lines =
                PR_MAX(at->caption_lines, text_lines(&at->caption, at->cell - 6, CAPTION_LINES, tile->caption));
            at->note_lines = PR_MAX(at->note_lines, text_lines(&at->note, at->cell - 6, NOTE_LINES, tile->note));
        }
}

static int tile_height(const layout *at)
{
    return at->side + at->gap + at->caption_lines * pr_font_line(&at->caption) +
           at->note_lines * pr_font_line(&at->note) + at->gap;
}

static int group_rows(const layout *at, const parry_tile_group *group)
{
    return (int)((group->count + at->columns - 1) / at->columns);
}

/* Of the group that needs most. */
static void measure_groups(const parry_tiles *tiles, layout *at)
{
    int rows = 0, lines = 0;
    at->block_width = PR_MAX(at->columns * at->cell - (at->cell - at->side), WIDTH_LEAST);
    for (int g = 0; g < tiles->group_count; g++) {
        const parry_tile_group *group = &tiles->groups[g];
        rows = PR_MAX(rows, group_rows(at, group));
        if (group->heading)
            lines = PR_MAX(lines, pr_canvas_wrapped(NULL, &at->head, 0, 0, at->block_width, HEAD_LINES, PR_ALIGN_LEFT,
                                                    group->heading));
    }
    at->head_height = lines ? lines * pr_font_line(&at->head) + 6 : 0;
    at->block_height = at->head_height + rows * tile_height(at) + at->gap;
}

static int blocks_width(const layout *at, int across)
{
    return across * (at->block_width + 2 * MARGIN) - 2 * MARGIN;
}

static int blocks_height(const parry_tiles *tiles, const layout *at, int across)
{
    return (tiles->group_count + across - 1) / across * at->block_height;
}

/* As many groups side by side as bring the figure nearest to BREADTH. */
static int choose_across(const parry_tiles *tiles, const layout *at)
{
    int best = 1;
    double nearest = HUGE_VAL;
    for (int across = 1; across <= tiles->group_count; across++) {
        double away = fabs(log(blocks_width(at, across) / (BREADTH * blocks_height(tiles, at, across))));
        if (away < nearest) {
            nearest = away;
            best = across;
        }
    }
    return best;
}

static int choose_columns(const parry_tiles *tiles, const layout *at, int64_t most)
{
    if (tiles->columns > 0)
        return (int)PR_MIN(tiles->columns, most);
    double rows_per_column = (double)tile_height(at) * tiles->group_count / at->cell;
    int columns = (int)ceil(sqrt(BREADTH * (double)most * rows_per_column));
    columns = (int)PR_MAX(1, PR_MIN(columns, most));
    /* The same number of rows with the last one filled as well as it can be. */
    int64_t rows = (most + columns - 1) / columns;
    return (int)((most + rows - 1) / rows);
}

static int header_height(const parry_tiles *tiles, const layout *at, int width)
{
    int height = 0;
    if (tiles->title)
        height +=
            pr_canvas_wrapped(NULL, &at->title, 0, 0, width, 3, PR_ALIGN_LEFT, tiles->title) * pr_font_line(&at->title);
    if (tiles->subtitle)
        height += pr_canvas_wrapped(NULL, &at->plain, 0, 0, width, 3, PR_ALIGN_LEFT, tiles->subtitle) *
                  pr_font_line(&at->plain);
    return height ? height + 8 : 0;
}

static layout make_layout(const parry_tiles *tiles)
{
    int64_t most = most_tiles(tiles);
    layout at = {.side = choose_side(tiles, most)};
    int small = at.side < 72 ? 6 : at.side < 100 ? 7 : at.side < 150 ? 8 : 9;
    at.gap = at.side < 72 ? 5 : 8;
    at.cell = at.side + (at.side < 100 ? 20 : 16);
    at.title = (pr_font){most > 60 ? 14 : 12, true, PR_INK};
    at.plain = (pr_font){9, false, PR_INK_SOFT};
    at.head = (pr_font){most > 60 ? 11 : 10, true, PR_INK};
    at.caption = (pr_font){small, false, PR_INK};
    at.note = (pr_font){small, false, PR_INK_SOFT};
    count_lines(tiles, &at);
    at.columns = choose_columns(tiles, &at, most);
    measure_groups(tiles, &at);
    at.across = choose_across(tiles, &at);
    at.width = PR_MAX(blocks_width(&at, at.across), 400) + 2 * MARGIN;
    at.group_top = MARGIN + header_height(tiles, &at, at.width - 2 * MARGIN);
    at.height = at.group_top + blocks_height(tiles, &at, at.across) + MARGIN / 2;
    return at;
}

static parry_status draw_tile(parry_ctx *ctx, pr_canvas *canvas, const layout *at, const parry_tile *tile, int x, int y)
{
    int longer = PR_MAX(tile->height, tile->width);
    int width = PR_MAX(1, (int)((int64_t)tile->width * at->side / longer)),
        height = PR_MAX(1, (int)((int64_t)tile->height * at->side / longer));
    const pr_planes image = {tile->image, tile->channels, tile->height, tile->width};
    TRY(pr_canvas_image(ctx, canvas, x + (at->cell - width) / 2, y + at->side - height, width, height,
                        PR_SHRINK_AVERAGE, &image));
    y += at->side + at->gap;
    if (tile->caption)
        y += pr_canvas_wrapped(canvas, &at->caption, x + 3, y, at->cell - 6, CAPTION_LINES, PR_ALIGN_CENTER,
                               tile->caption) *
             pr_font_line(&at->caption);
    if (tile->note)
        pr_canvas_wrapped(canvas, &at->note, x + 3, y, at->cell - 6, NOTE_LINES, PR_ALIGN_CENTER, tile->note);
    return PARRY_OK;
}

static parry_status draw_group(parry_ctx *ctx, pr_canvas *canvas, const layout *at, const parry_tile_group *group,
                               int x, int y)
{
    if (group->heading)
        pr_canvas_wrapped(canvas, &at->head, x, y, at->block_width, HEAD_LINES, PR_ALIGN_LEFT, group->heading);
    y += at->head_height;
    int left = x - (at->cell - at->side) / 2; /* the first picture stands below the heading's start */
    for (int64_t i = 0; i < group->count; i++) {
        TRY(pr_poll(ctx));
        TRY(draw_tile(ctx, canvas, at, &group->tiles[i], left + (int)(i % at->columns) * at->cell,
                      y + (int)(i / at->columns) * tile_height(at)));
    }
    return PARRY_OK;
}

static void draw_header(pr_canvas *canvas, const parry_tiles *tiles, const layout *at)
{
    int y = MARGIN, width = at->width - 2 * MARGIN;
    if (tiles->title)
        y += pr_canvas_wrapped(canvas, &at->title, MARGIN, y, width, 3, PR_ALIGN_LEFT, tiles->title) *
             pr_font_line(&at->title);
    if (tiles->subtitle)
        pr_canvas_wrapped(canvas, &at->plain, MARGIN, y, width, 3, PR_ALIGN_LEFT, tiles->subtitle);
}

static parry_status draw(parry_ctx *ctx, const parry_tiles *tiles, const char *path)
{
    pr_canvas canvas;
    if (most_tiles(tiles) < 1)
        return pr_fail(ctx, PARRY_INVALID, "%s: there are no images to draw", path);
    const layout at = make_layout(tiles);
    TRY(pr_canvas_create(ctx, at.width, at.height, &canvas));
    draw_header(&canvas, tiles, &at);
    parry_status status = PARRY_OK;
    for (int g = 0; g < tiles->group_count && status == PARRY_OK; g++)
        status =
            draw_group(ctx, &canvas, &at, &tiles->groups[g], MARGIN + g % at.across * (at.block_width + 2 * MARGIN),
                       at.group_top + g / at.across * at.block_height);
    if (status == PARRY_OK)
        status = pr_canvas_write(ctx, &canvas, path);
    pr_canvas_release(&canvas);
    return status;
}

parry_status parry_figure_tiles(parry_ctx *ctx, const parry_tiles *tiles, const char *path)
{
    parry_tiles known = {0};
    memcpy(&known, tiles, PR_MIN(tiles->size, sizeof known));
    return draw(ctx, &known, path);
}
