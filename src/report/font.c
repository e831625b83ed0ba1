/* Text: strokes of a round pen, drawn with grey edges.
 *
 * Heights and widths are fitted to whole pixels, so that stems and bars stay sharp at small sizes: the baseline, the
 * height of small letters, the height of capitals and a letter's right edge fall on pixel centres; what lies between is
 * stretched linearly. */
#include <math.h>
#include <string.h>

#include "report/canvas.h"

typedef struct glyph {
    uint32_t code;
    int width;
    const char *path;
} glyph;

static const glyph glyphs[] = {
#define GLYPH(code, width, path) {code, width, path},
#include "report/font.def"
#undef GLYPH
};
static const glyph unknown = {0, 8, "0,0 8,0 8,14 0,14 0,0"};

enum {
    UNITS_CAPITAL = 14,
    UNITS_SMALL = 10,
    UNITS_TAIL = 4,
    UNITS_GAP = 4,
    CURVE_STEPS = 5,
    CAPITAL_MIN = 5,
    CAPITAL_MAX = 40
};

/* ---- the text's characters -------------------------------------------------------------------------------------- */

/* The next character of UTF-8; a byte that begins none stands for itself as an unknown one. */
static uint32_t next_code(const char **text)
{
    const unsigned char *c = (const unsigned char *)*text;
    int length = c[0] < 0x80 ? 1 : c[0] >> 5 == 6 ? 2 : c[0] >> 4 == 14 ? 3 : c[0] >> 3 == 30 ? 4 : 1;
    uint32_t code = length > 1 ? c[0] & (0x7fu >> length) : c[0];
    for (int i = 1; i < length; i++) {
        if (c[i] >> 6 != 2) {
            *text += i;
            return 0;
        }
        code = code << 6 | (c[i] & 0x3fu);
    }
    *text += length;
    return code;
}

static const glyph *find_glyph(uint32_t code)
{
    size_t low = 0, high = PR_COUNT(glyphs);
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (glyphs[middle].code == code)
            return &glyphs[middle];
        if (glyphs[middle].code < code)
            low = middle + 1;
        else
            high = middle;
    }
    return &unknown;
}

/* ---- fitting to pixels ------------------------------------------------------------------------------------------ */

static int font_size(const pr_font *font)
{
    return PR_MAX(CAPITAL_MIN, PR_MIN(font->size, CAPITAL_MAX));
}

/* Units to whole pixels, rounded. */
static int to_pixels(const pr_font *font, int units)
{
    return (2 * units * font_size(font) + UNITS_CAPITAL) / (2 * UNITS_CAPITAL);
}

static int advance(const pr_font *font, const glyph *g)
{
    return to_pixels(font, g->width) + PR_MAX(2, to_pixels(font, UNITS_GAP));
}

int pr_font_line(const pr_font *font)
{
    return (7 * font_size(font) + 2) / 4;
}

static float pen_width(const pr_font *font)
{
    float size = (float)font_size(font);
    return font->bold ? PR_MAX(1.6f, size * 0.19f) : PR_MAX(1.05f, size * 0.115f);
}

typedef struct point {
    float x, y;
} point;

/* From units to pixels right of and above the start of the baseline. */
static point fit(const pr_font *font, const glyph *g, float x, float y)
{
    float scale = (float)font_size(font) / UNITS_CAPITAL, small = (float)to_pixels(font, UNITS_SMALL),
          capital = (float)font_size(font);
    point p = {g->width ? x * (float)to_pixels(font, g->width) / (float)g->width : 0, y * scale};
    if (y < 0)
        p.y = y * PR_MAX(2.0f, roundf(UNITS_TAIL * scale)) / UNITS_TAIL;
    else if (y <= UNITS_SMALL)
        p.y = y * small / UNITS_SMALL;
    else
        p.y = small + (y - UNITS_SMALL) * (capital - small) / (UNITS_CAPITAL - UNITS_SMALL);
    return p;
}

/* ---- strokes ---------------------------------------------------------------------------------------------------- */

/* The cover of one glyph, 0 to 255 a pixel; row 0 is the top. */
enum { COVER_WIDE = CAPITAL_MAX + 24, COVER_HIGH = 2 * CAPITAL_MAX, COVER_MARGIN = 6 };
typedef struct glyph_cover {
    int wide, high;
    float left, top, radius; /* of pixel (0, 0)'s centre; of the pen */
    uint8_t value[COVER_HIGH][COVER_WIDE];
} glyph_cover;

static void segment(glyph_cover *out, point a, point b)
{
    float reach = out->radius + 1, dx = b.x - a.x, dy = b.y - a.y, length2 = dx * dx + dy * dy;
    int x0 = PR_MAX(0, (int)floorf(PR_MIN(a.x, b.x) - out->left - reach)),
        x1 = PR_MIN(out->wide - 1, (int)ceilf(PR_MAX(a.x, b.x) - out->left + reach)),
        y0 = PR_MAX(0, (int)floorf(out->top - PR_MAX(a.y, b.y) - reach)),
        y1 = PR_MIN(out->high - 1, (int)ceilf(out->top - PR_MIN(a.y, b.y) + reach));
    for (int y = y0; y <= y1; y++)
        for (int x = x0; x <= x1; x++) {
            float px = (float)x + out->left - a.x, py = out->top - (float)y - a.y;
            float along = length2 > 0 ? PR_MAX(0.0f, PR_MIN(1.0f, (px * dx + py * dy) / length2)) : 0;
            float ex = px - along * dx, ey = py - along * dy;
            float value = 255 * PR_MAX(0.0f, PR_MIN(1.0f, out->radius + 0.5f - sqrtf(ex * ex + ey * ey)));
            uint8_t byte = (uint8_t)(value + 0.5f);
            out->value[y][x] = PR_MAX(out->value[y][x], byte);
        }
}

static void curve(glyph_cover *out, point a, point control, point b)
{
    point last = a;
    for (int i = 1; i <= CURVE_STEPS; i++) {
        float t = (float)i / CURVE_STEPS, u = 1 - t;
        point next = {u * u * a.x + 2 * u * t * control.x + t * t * b.x,
                      u * u * a.y + 2 * u * t * control.y + t * t * b.y};
        segment(out, last, next);
        last = next;
    }
}

/* A whole number, with its sign. */
static float read_number(const char **at)
{
    float sign = **at == '-' ? -1 : 1;
    int value = 0;
    for (*at += **at == '-'; **at >= '0' && **at <= '9'; (*at)++)
        value = 10 * value + (**at - '0');
    return sign * (float)value;
}

static void draw_path(glyph_cover *out, const pr_font *font, const glyph *g)
{
    point pen = {0, 0}, control = {0, 0};
    bool down = false, bent = false;
    for (const char *at = g->path; *at;) {
        if (*at == ' ' || *at == '|') {
            down = down && *at == ' ';
            at++;
            continue;
        }
        bool bends = *at == '~';
        at += bends;
        float x = read_number(&at);
        at++; /* the comma */
        float y = read_number(&at);
        point p = fit(font, g, x, y), halfway = {(control.x + p.x) / 2, (control.y + p.y) / 2};
        if (bends && bent)
            curve(out, pen, control, halfway), pen = halfway;
        else if (!bends && bent)
            curve(out, pen, control, p), pen = p;
        else if (!bends) {
            if (down)
                segment(out, pen, p);
            pen = p;
        }
        control = p;
        bent = bends;
        down = true;
    }
}

/* Mixes `color` into a pixel. */
static void blend(uint8_t *rgb, pr_color color, int share)
{
    for (int c = 0; c < 3; c++) {
        int ink = (int)(color >> (16 - 8 * c) & 255);
        rgb[c] = (uint8_t)((rgb[c] * (255 - share) + ink * share + 127) / 255);
    }
}

static void draw_glyph(pr_canvas *canvas, const pr_font *font, int x, int y, const glyph *g)
{
    glyph_cover cover;
    float width = pen_width(font);
    /* A pen of an even number of pixels is sharp between pixel centres. */
    float shift = lrintf(width) % 2 == 0 ? 0.5f : 0;
    cover.wide = PR_MIN(COVER_WIDE, to_pixels(font, g->width) + 2 * COVER_MARGIN);
    cover.high = PR_MIN(COVER_HIGH, 2 * font_size(font));
    cover.left = -COVER_MARGIN - shift;
    cover.top = (float)font_size(font) * 1.25f;
    cover.top = floorf(cover.top) + shift;
    cover.radius = width / 2;
    memset(cover.value, 0, sizeof cover.value);
    draw_path(&cover, font, g);
    int top = y + font_size(font) - (int)floorf(cover.top);
    for (int row = PR_MAX(0, -top); row < cover.high && top + row < canvas->height; row++)
        for (int column = 0; column < cover.wide; column++) {
            int at = x - COVER_MARGIN + column;
            if (cover.value[row][column] && at >= 0 && at < canvas->width)
                blend(canvas->rgb + ((size_t)(top + row) * (size_t)canvas->width + (size_t)at) * 3, font->color,
                      cover.value[row][column]);
        }
}

int pr_font_width(const pr_font *font, const char *text)
{
    int width = 0;
    const glyph *g = NULL;
    while (*text) {
        g = find_glyph(next_code(&text));
        width += advance(font, g);
    }
    return g ? width - advance(font, g) + to_pixels(font, g->width) + 1 : 0;
}

void pr_canvas_text(pr_canvas *canvas, const pr_font *font, int x, int y, const char *text)
{
    while (*text) {
        const glyph *g = find_glyph(next_code(&text));
        draw_glyph(canvas, font, x, y, g);
        x += advance(font, g);
    }
}

/* ---- lines ------------------------------------------------------------------------------------------------------ */

enum { LINE_ROOM = 512 };

/* Copies the longest start of `text` that is no wider than `width` to `line`, without the space that it is broken at,
 * and returns what follows. At least one character is taken. */
static const char *break_line(const pr_font *font, const char *text, int width, char line[LINE_ROOM])
{
    const char *at = text, *end = text, *next;
    for (line[0] = '\0'; *at && *at != '\n';) {
        const char *after = at;
        next_code(&after);
        size_t length = (size_t)(after - text);
        if (length >= LINE_ROOM)
            break;
        memcpy(line, text, length);
        line[length] = '\0';
        if (at > text && *at != ' ' && pr_font_width(font, line) > width)
            break;
        at = after;
        if (*at == ' ' || *at == '\0' || *at == '\n')
            end = at;
    }
    if (end == text) /* not one word fits: break inside */
        end = at;
    memcpy(line, text, (size_t)(end - text));
    line[end - text] = '\0';
    for (next = end; *next == ' '; next++)
        ;
    return *next == '\n' ? next + 1 : next;
}

/* Shortens the line until it and an ellipsis fit. */
static void add_ellipsis(const pr_font *font, int width, char line[LINE_ROOM])
{
    static const char dots[] = "\xe2\x80\xa6";
    size_t length = PR_MIN(strlen(line), (size_t)LINE_ROOM - sizeof dots);
    for (;;) {
        while (length > 0 && line[length - 1] == ' ')
            length--;
        memcpy(line + length, dots, sizeof dots);
        if (length == 0 || pr_font_width(font, line) <= width)
            return;
        while (length > 0 && ((unsigned char)line[--length] >> 6) == 2)
            ;
    }
}

int pr_canvas_wrapped(pr_canvas *canvas, const pr_font *font, int x, int y, int width, int lines, pr_align align,
                      const char *text)
{
    char line[LINE_ROOM];
    int count = 0;
    while (*text && count < lines) {
        text = break_line(font, text, width, line);
        if (*text && count == lines - 1)
            add_ellipsis(font, width, line);
        int indent = align == PR_ALIGN_CENTER ? PR_MAX(0, (width - pr_font_width(font, line)) / 2) : 0;
        if (canvas)
            pr_canvas_text(canvas, font, x + indent, y + count * pr_font_line(font), line);
        count++;
    }
    return count;
}
