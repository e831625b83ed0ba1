/* Original, difference, adversary. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <parry/figure.h>

#include "report/canvas.h"
#include "report/report.h"
#include "tensor/tensor.h"

enum { MARGIN = 20, GAP = 20, SIDE_LEAST = 224, SIDE_MOST = 480, CAPTION_LINES = 8 };

static const pr_font title_font = {13, true, PR_INK}, head_font = {10, true, PR_INK}, text_font = {9, false, PR_INK};

typedef struct panel {
    const char *heading, *caption;
    const float *image;
} panel;

static int64_t values(const parry_triptych *t)
{
    return (int64_t)t->channels * t->height * t->width;
}

/* The fields that the caller's version of the struct has; the others are 0. */
static parry_triptych known_fields(const parry_triptych *given)
{
    parry_triptych known = {0};
    memcpy(&known, given, PR_MIN(given->size, sizeof known));
    return known;
}

static double magnification(const parry_triptych *t)
{
    if (t->magnify > 0)
        return t->magnify;
    double largest = pr_max_abs_diff(t->adversary, t->original, values(t));
    return largest > 0 ? (t->difference == PARRY_DIFFERENCE_SIGNED ? 0.5 : 1) / largest : 1;
}

double parry_figure_magnify(const parry_triptych *triptych)
{
    const parry_triptych t = known_fields(triptych);
    return magnification(&t);
}

static void magnify(const parry_triptych *t, float *out)
{
    double factor = magnification(t);
    for (int64_t i = 0; i < values(t); i++) {
        double d = (double)t->adversary[i] - (double)t->original[i];
        out[i] = (float)(t->difference == PARRY_DIFFERENCE_SIGNED ? 0.5 + factor * d : factor * fabs(d));
    }
}

/* "sum 200.0 grey levels", three lines. */
static void budget_words(const parry_triptych *t, char text[256])
{
    char changed[PR_NUMBER_TEXT], all[PR_NUMBER_TEXT], sum[PR_NUMBER_TEXT];
    parry_budget budget = parry_budget_of(t->original, t->adversary, t->channels, t->height, t->width, false);
    pr_count_words((int64_t)llrint(budget.sum), sum);
    if (budget.sum < 1000)
        snprintf(sum, sizeof sum, "%.4g", budget.sum);
    snprintf(text, 256, "sum of |d| %s grey levels\nL2 %.4g, L\xe2\x88\x9e %.3g (%.3g/255)\n%s of %s pixels changed",
             sum, budget.l2, budget.linf, 255 * budget.linf, pr_count_words(budget.pixels, changed),
             pr_count_words((int64_t)t->height * t->width, all));
}

/* Small images are enlarged by a whole number, large ones reduced. */
static void panel_size(const parry_triptych *t, int *width, int *height)
{
    int longer = PR_MAX(t->height, t->width), side = t->side;
    if (side <= 0)
        side = longer > SIDE_MOST    ? SIDE_MOST
               : longer < SIDE_LEAST ? (SIDE_LEAST + longer - 1) / longer * longer
                                     : longer;
    *width = PR_MAX(1, (int)((int64_t)t->width * side / longer));
    *height = PR_MAX(1, (int)((int64_t)t->height * side / longer));
}

static int caption_lines(const panel panels[3], int width)
{
    int lines = 0;
    for (int i = 0; i < 3; i++)
        if (panels[i].caption)
            lines = PR_MAX(lines, pr_canvas_wrapped(NULL, &text_font, 0, 0, width, CAPTION_LINES, PR_ALIGN_LEFT,
                                                    panels[i].caption));
    return lines;
}

static parry_status draw(parry_ctx *ctx, const parry_triptych *t, const panel panels[3], const char *path)
{
    int width, height, y = MARGIN;
    pr_canvas canvas;
    panel_size(t, &width, &height);
    int column = PR_MAX(width, SIDE_LEAST), total = 3 * column + 2 * GAP;
    int title = t->title ? pr_canvas_wrapped(NULL, &title_font, 0, 0, total, 2, PR_ALIGN_LEFT, t->title) : 0;
    int lines = caption_lines(panels, column);
    TRY(pr_canvas_create(ctx, total + 2 * MARGIN,
                         2 * MARGIN + title * pr_font_line(&title_font) + (title ? 8 : 0) + pr_font_line(&head_font) +
                             height + 10 + lines * pr_font_line(&text_font),
                         &canvas));
    if (title) {
        pr_canvas_wrapped(&canvas, &title_font, MARGIN, y, total, 2, PR_ALIGN_LEFT, t->title);
        y += title * pr_font_line(&title_font) + 8;
    }
    parry_status status = PARRY_OK;
    for (int i = 0; i < 3 && status == PARRY_OK; i++) {
        int x = MARGIN + i * (column + GAP), top = y + pr_font_line(&head_font);
        pr_canvas_wrapped(&canvas, &head_font, x, y, column, 1, PR_ALIGN_LEFT, panels[i].heading);
        const pr_planes image = {panels[i].image, t->channels, t->height, t->width};
        status =
            pr_canvas_image(ctx, &canvas, x, top, width, height, i == 1 ? PR_SHRINK_PICK : PR_SHRINK_AVERAGE, &image);
        if (panels[i].caption)
            pr_canvas_wrapped(&canvas, &text_font, x, top + height + 10, column, CAPTION_LINES, PR_ALIGN_LEFT,
                              panels[i].caption);
    }
    if (status == PARRY_OK)
        status = pr_canvas_write(ctx, &canvas, path);
    pr_canvas_release(&canvas);
    return status;
}

static parry_status draw_panels(parry_ctx *ctx, const parry_triptych *t, const char *path)
{
    char heading[64], budget[256];
    float *difference;
    if (!pr_all_finite(t->original, values(t)) || !pr_all_finite(t->adversary, values(t)))
        return pr_fail(ctx, PARRY_INVALID, "%s: a pixel of the images is not finite", path);
    TRY(pr_alloc_raw(ctx, values(t), &difference));
    magnify(t, difference);
    budget_words(t, budget);
    snprintf(heading, sizeof heading, "Difference \xc3\x97 %.4g", magnification(t));
    const panel panels[3] = {{"Original", t->original_caption, t->original},
                             {heading, budget, difference},
                             {"Adversarial", t->adversary_caption, t->adversary}};
    parry_status status = draw(ctx, t, panels, path);
    pr_free(difference);
    return status;
}

parry_status parry_figure_triptych(parry_ctx *ctx, const parry_triptych *triptych, const char *path)
{
    const parry_triptych t = known_fields(triptych);
    return draw_panels(ctx, &t, path);
}
