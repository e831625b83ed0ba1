/* Line charts as inline SVG.
 *
 * Coordinates are fixed by the view box; the page scales the whole. Colours are classes (c0 ... c5) of the page's
 * style, so that light, dark and print share the markup, and lines of one palette entry differ by dashes. Every point
 * carries its values in a <title>, which browsers show on hover. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/report.h"

enum {
    WIDTH = 480,
    HEIGHT = 314,
    LEFT = 58,
    RIGHT = 14,
    TOP = 38,
    BOTTOM = 48,
    LEGEND_LINE = 20,
    LEGEND_KEY = 26,
    LETTER = 7,
    POINTS_MAX = 60,
};

typedef struct axis {
    double lo, hi;
    double step;     /* ticks are its multiples */
    double from, to; /* places of lo and hi in the view box */
} axis;

/* Ticks at multiples of 1, 2 or 5 times a power of ten, about `ticks` of them. */
static axis nice_axis(double lo, double hi, int ticks, double from, double to)
{
    static const double steps[] = {1, 2, 5, 10};
    if (!(hi > lo)) {
        lo -= 0.5;
        hi += 0.5;
    }
    double rough = (hi - lo) / ticks, power = pow(10, floor(log10(rough)));
    size_t i = 0;
    while (i + 1 < PR_COUNT(steps) && steps[i] * power < rough * (1 - 1e-9))
        i++;
    return (axis){lo, hi, steps[i] * power, from, to};
}

/* The first tick inside; the next ones follow a step apart. Sums of steps would drift, so ticks are counted. */
static double tick(const axis *on, int index)
{
    return (ceil(on->lo / on->step - 1e-6) + index) * on->step;
}

static bool inside(const axis *on, double value)
{
    return value <= on->hi + on->step * 1e-6;
}

static double place(const axis *on, double value)
{
    return on->from + (on->to - on->from) * (value - on->lo) / (on->hi - on->lo);
}

/* Smallest and largest finite values of all lines. */
static void find_range(const pr_chart *chart, bool of_y, double *lo, double *hi)
{
    *lo = INFINITY;
    *hi = -INFINITY;
    for (int s = 0; s < chart->series_count; s++)
        for (int i = 0; i < chart->series[s].count; i++) {
            double value = of_y ? chart->series[s].y[i] : chart->series[s].x[i];
            if (isfinite(value)) {
                *lo = fmin(*lo, value);
                *hi = fmax(*hi, value);
            }
        }
    if (*lo > *hi)
        *lo = 0, *hi = 1;
}

static axis y_axis(const pr_chart *chart)
{
    double lo, hi;
    find_range(chart, true, &lo, &hi);
    if (chart->from_zero)
        lo = 0;
    if (chart->from_zero && chart->percent)
        hi = 1;
    axis y = nice_axis(lo, hi, 5, HEIGHT - BOTTOM, TOP);
    y.lo = floor(y.lo / y.step + 1e-6) * y.step;
    y.hi = ceil(y.hi / y.step - 1e-6) * y.step;
    if (chart->percent) {
        y.lo = fmax(y.lo, 0);
        y.hi = fmin(y.hi, 1);
    }
    return y;
}

/* Lines use the full width: the axis ends where they end, not at a tick. */
static axis x_axis(const pr_chart *chart)
{
    double lo, hi;
    find_range(chart, false, &lo, &hi);
    axis x = nice_axis(lo, hi, 6, LEFT + 6, WIDTH - RIGHT - 4);
    if (chart->whole_x)
        x.step = fmax(x.step, 1);
    return x;
}

static const char *value_words(const pr_chart *chart, double value, double step, char text[PR_NUMBER_TEXT])
{
    double shown = chart->percent ? 100 * value : value, unit = chart->percent ? 100 * step : step;
    int decimals = unit > 0 && unit < 1 ? (int)ceil(-log10(unit) - 1e-9) : 0;
    if (fabs(shown) < 1e6 && decimals < 10)
        snprintf(text, PR_NUMBER_TEXT, "%.*f%s", decimals, fabs(shown) < 1e-12 ? 0 : shown, chart->percent ? "%" : "");
    else
        snprintf(text, PR_NUMBER_TEXT, "%.3g", shown);
    return text;
}

static void add_y_axis(pr_text *out, const pr_chart *chart, const axis *y)
{
    char number[PR_NUMBER_TEXT];
    for (int i = 0; inside(y, tick(y, i)); i++) {
        double value = tick(y, i), at = place(y, value);
        pr_text_add(out, "<line class=\"grid\" x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\"/>", LEFT, WIDTH - RIGHT, at,
                    at);
        pr_text_add(out, "<text class=\"tick end\" x=\"%d\" y=\"%.1f\">%s</text>\n", LEFT - 7, at + 4,
                    value_words(chart, value, y->step, number));
    }
    pr_text_add(out, "<text class=\"label mid\" transform=\"translate(14 %d) rotate(-90)\">",
                (TOP + HEIGHT - BOTTOM) / 2);
    pr_html_escape(out, chart->y_label);
    pr_text_add(out, "</text>\n");
}

static void add_x_axis(pr_text *out, const pr_chart *chart, const axis *x)
{
    static const pr_chart plain = {0};
    char number[PR_NUMBER_TEXT];
    pr_text_add(out, "<line class=\"axis\" x1=\"%d\" x2=\"%d\" y1=\"%d\" y2=\"%d\"/>\n", LEFT, WIDTH - RIGHT,
                HEIGHT - BOTTOM, HEIGHT - BOTTOM);
    for (int i = 0; inside(x, tick(x, i)); i++) {
        double value = tick(x, i), at = place(x, value);
        pr_text_add(out, "<line class=\"axis\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>", at, at, HEIGHT - BOTTOM,
                    HEIGHT - BOTTOM + 4);
        pr_text_add(out, "<text class=\"tick mid\" x=\"%.1f\" y=\"%d\">%s</text>\n", at, HEIGHT - BOTTOM + 18,
                    value_words(&plain, value, x->step, number));
    }
    pr_text_add(out, "<text class=\"label mid\" x=\"%d\" y=\"%d\">", (LEFT + WIDTH - RIGHT) / 2, HEIGHT - BOTTOM + 38);
    pr_html_escape(out, chart->x_label);
    pr_text_add(out, "</text>\n");
}

static void add_rules(pr_text *out, const pr_chart *chart, const axis *x)
{
    for (int i = 0; i < chart->rule_count; i++) {
        double at = place(x, chart->rules[i].x);
        bool left = at > (LEFT + WIDTH - RIGHT) * 0.7;
        pr_text_add(out, "<line class=\"rule\" x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\"/>", at, at, TOP,
                    HEIGHT - BOTTOM);
        pr_text_add(out, "<text class=\"tick%s\" x=\"%.1f\" y=\"%d\">", left ? " end" : "", at + (left ? -5 : 5),
                    TOP - 5);
        pr_html_escape(out, chart->rules[i].text);
        pr_text_add(out, "</text>\n");
    }
}

static void add_path(pr_text *out, const pr_series *line, const axis *x, const axis *y)
{
    bool pen = false;
    pr_text_add(out, "<path class=\"line%s\" d=\"", line->dashed ? " dashed" : "");
    for (int i = 0; i < line->count; i++) {
        bool finite = isfinite(line->x[i]) && isfinite(line->y[i]);
        if (finite)
            pr_text_add(out, "%s%.1f %.1f", pen ? " L" : i ? " M" : "M", place(x, line->x[i]), place(y, line->y[i]));
        pen = finite;
    }
    pr_text_add(out, "\"/>\n");
}

static void add_points(pr_text *out, const pr_chart *chart, const pr_series *line, const axis *x, const axis *y)
{
    char number[PR_NUMBER_TEXT];
    for (int i = 0; i < line->count; i++) {
        if (!isfinite(line->x[i]) || !isfinite(line->y[i]))
            continue;
        pr_text_add(out, "<circle class=\"%s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%s\"><title>",
                    line->dashed ? "point open" : "point", place(x, line->x[i]), place(y, line->y[i]),
                    line->count > POINTS_MAX ? "1" : "3");
        pr_html_escape(out, line->name);
        pr_text_add(out, ": %s, ", value_words(chart, line->y[i], 1e-4, number));
        pr_html_escape(out, chart->x_label);
        pr_text_add(out, " %.4g</title></circle>\n", line->x[i]);
    }
}

/* The width of an entry, guessed from its letters: SVG cannot measure text. */
static int legend_width(const char *name)
{
    return LEGEND_KEY + (int)strlen(name) * LETTER + 16;
}

/* Where each entry goes: fills x and line, returns the number of lines. */
static int place_entry(const pr_chart *chart, int entry, int *x)
{
    int line = 0;
    *x = 0;
    for (int s = 0; s <= entry; s++) {
        int width = legend_width(chart->series[s].name);
        if (*x > 0 && LEFT + *x + width > WIDTH) {
            line++;
            *x = 0;
        }
        if (s < entry)
            *x += width;
    }
    return line;
}

static void add_legend(pr_text *out, const pr_chart *chart)
{
    for (int s = 0; s < chart->series_count; s++) {
        const pr_series *series = &chart->series[s];
        int x, y = HEIGHT + LEGEND_LINE * place_entry(chart, s, &x) + 6;
        x += LEFT;
        pr_text_add(out,
                    "<g class=\"c%d\"><path class=\"line%s\" d=\"M%d %dh20\"/><circle class=\"%s\" cx=\"%d\" cy=\"%d\" "
                    "r=\"3\"/></g>",
                    series->color % 6, series->dashed ? " dashed" : "", x, y, series->dashed ? "point open" : "point",
                    x + 10, y);
        pr_text_add(out, "<text class=\"label\" x=\"%d\" y=\"%d\">", x + LEGEND_KEY, y + 4);
        pr_html_escape(out, series->name);
        pr_text_add(out, "</text>\n");
    }
}

void pr_svg_chart(pr_text *out, const pr_chart *chart)
{
    int unused;
    axis x = x_axis(chart), y = y_axis(chart);
    int lines = chart->series_count > 0 ? 1 + place_entry(chart, chart->series_count - 1, &unused) : 0;
    pr_text_add(out, "<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"", WIDTH, HEIGHT + LEGEND_LINE * lines);
    pr_html_escape(out, chart->title);
    pr_text_add(out, "\">\n<text class=\"title\" x=\"%d\" y=\"16\">", LEFT);
    pr_html_escape(out, chart->title);
    pr_text_add(out, "</text>\n");
    add_y_axis(out, chart, &y);
    add_x_axis(out, chart, &x);
    add_rules(out, chart, &x);
    for (int s = 0; s < chart->series_count; s++) {
        pr_text_add(out, "<g class=\"c%d\">\n", chart->series[s].color % 6);
        add_path(out, &chart->series[s], &x, &y);
        add_points(out, chart, &chart->series[s], &x, &y);
        pr_text_add(out, "</g>\n");
    }
    add_legend(out, chart);
    pr_text_add(out, "</svg>\n");
}
