/* The tables of the HTML report, and the chart of accuracy against eps. */
#include <stdio.h>
#include <string.h>

#include "report/report.h"

static bool same_head(const pr_column *a, const pr_column *b, int line)
{
    return strcmp(a->group, b->group) == 0 && (line == 0 || strcmp(a->radius, b->radius) == 0) &&
           (line < 2 || strcmp(a->age, b->age) == 0);
}

/* One line of heads; neighbours that share all heads down to this line share a cell. Clean accuracy, which has no
 * radius, spans all lines. */
static void add_head_line(pr_text *out, const pr_column *columns, int count, int line, int lines)
{
    pr_text_add(out, "<tr>");
    if (line == 0)
        pr_text_add(out, "<th scope=\"col\" rowspan=\"%d\">model</th>", lines);
    for (int i = 0, next; i < count; i = next) {
        const pr_column *column = &columns[i];
        for (next = i + 1; next < count && same_head(column, &columns[next], line); next++)
            ;
        bool spans = column->kind == PR_COLUMN_CLEAN;
        if (spans && line > 0)
            continue;
        pr_text_add(out, "<th class=\"num\" scope=\"%s\" colspan=\"%d\" rowspan=\"%d\">",
                    next - i > 1 ? "colgroup" : "col", next - i, spans ? lines : 1);
        pr_text_add(out, "%s", line == 1 ? "eps " : "");
        pr_html_escape(out, line == 0 ? column->group : line == 1 ? column->radius : column->age);
        pr_text_add(out, "%s</th>", line == 0 ? column->mark : "");
    }
    pr_text_add(out, "</tr>\n");
}

static void add_rows(pr_text *out, const parry_evaluation *ev, const pr_column *columns, int count)
{
    char number[PR_NUMBER_TEXT];
    for (int m = 0; m < ev->model_count; m++) {
        pr_text_add(out, "<tr><th scope=\"row\" class=\"c%d\"><span class=\"key\"></span>", m % 6);
        pr_html_escape(out, ev->models[m].name);
        pr_text_add(out, "</th>");
        for (int i = 0; i < count; i++) {
            double value = pr_column_value(ev, &columns[i], m);
            pr_text_add(out, "<td class=\"num\" style=\"--v:%.2f%%\">%s</td>", 100 * value,
                        pr_percent_words(value, number));
        }
        pr_text_add(out, "</tr>\n");
    }
}

static void add_footnote(void *arg, const char *text)
{
    pr_text *out = arg;
    pr_text_add(out, "<p class=\"small\">");
    pr_html_escape(out, text);
    pr_text_add(out, "</p>\n");
}

/* The caption's words, escaped. Captions stand above the table's box, which scrolls sideways on a phone. */
static parry_status add_caption(parry_ctx *ctx, pr_text *out, const parry_evaluation *ev, pr_caption_part part)
{
    pr_text text = {0};
    char *caption;
    pr_caption(ev, part, &text);
    TRY(pr_text_take(ctx, &text, &caption));
    pr_html_escape(out, caption);
    pr_text_add(out, ". ");
    parry_string_free(caption);
    return PARRY_OK;
}

static parry_status add_table(parry_ctx *ctx, pr_text *out, const parry_evaluation *ev, pr_caption_part part,
                              const pr_column *columns, int count)
{
    int lines = ev->attack_count == 0 ? 1 : part == PR_CAPTION_STALE ? 3 : 2;
    pr_text_add(out, "<p class=\"small\">");
    TRY(add_caption(ctx, out, ev, part));
    if (ev->attack_count > 0)
        TRY(add_caption(ctx, out, ev, PR_CAPTION_THREAT));
    TRY(add_caption(ctx, out, ev, PR_CAPTION_DATA));
    pr_text_add(out, "</p>\n<div class=\"scroll\"><table>\n<thead>\n");
    for (int line = 0; line < lines; line++)
        add_head_line(out, columns, count, line, lines);
    pr_text_add(out, "</thead>\n<tbody>\n");
    add_rows(out, ev, columns, count);
    pr_text_add(out, "</tbody>\n</table></div>\n");
    pr_columns_footnotes(columns, count, add_footnote, out);
    return PARRY_OK;
}

parry_status pr_html_tables(parry_ctx *ctx, pr_text *out, const parry_evaluation *ev)
{
    pr_column *columns;
    int count;
    pr_text_add(out, "<h2>Accuracy</h2>\n");
    TRY(pr_columns_main(ctx, ev, &columns, &count));
    parry_status status = add_table(ctx, out, ev, PR_CAPTION_MAIN, columns, count);
    pr_free(columns);
    if (status != PARRY_OK || !ev->source || ev->attack_count == 0)
        return status;
    pr_text_add(out, "<h2>Stale and fresh adversaries</h2>\n<p>Stale adversaries were made once, against <b>");
    pr_html_escape(out, ev->source->name);
    pr_text_add(out, "</b>. They flatter a model that was hardened on such images: whoever attacks it makes new ones "
                     "against it, the fresh ones. High on stale and low on fresh means that the old images no longer "
                     "fool the model, and new ones do. Only the fresh columns measure robustness.</p>\n");
    TRY(pr_columns_stale(ctx, ev, &columns, &count));
    status = add_table(ctx, out, ev, PR_CAPTION_STALE, columns, count);
    pr_free(columns);
    return status;
}

/* ---- accuracy against eps --------------------------------------------------------------------------------------- */

static void add_curve_values(pr_text *out, const parry_evaluation *ev)
{
    char number[PR_NUMBER_TEXT];
    pr_text_add(
        out, "<details><summary>Values</summary><div class=\"scroll\"><table>\n<thead><tr><th scope=\"col\">eps</th>");
    for (int k = 0; k < PR_CURVE_POINTS; k++)
        pr_text_add(out, "<th class=\"num\" scope=\"col\">%s</th>", pr_eps_words(ev->curve_eps[k], number));
    pr_text_add(out, "</tr></thead>\n<tbody>\n");
    for (int m = 0; m < ev->model_count; m++) {
        pr_text_add(out, "<tr><th scope=\"row\">");
        pr_html_escape(out, ev->models[m].name);
        pr_text_add(out, "</th>");
        for (int k = 0; k < PR_CURVE_POINTS; k++)
            pr_text_add(out, "<td class=\"num\">%s</td>", pr_percent_words(ev->models[m].curve_acc[k], number));
        pr_text_add(out, "</tr>\n");
    }
    pr_text_add(out, "</tbody></table></div></details>\n");
}

void pr_html_curves(pr_text *out, const parry_evaluation *ev)
{
    enum { MODELS_MAX = 64 };
    pr_series series[MODELS_MAX];
    char number[PR_NUMBER_TEXT];
    if (ev->curve_count == 0)
        return;
    for (int m = 0; m < PR_MIN(ev->model_count, MODELS_MAX); m++)
        series[m] = (pr_series){.name = ev->models[m].name,
                                .x = ev->curve_eps,
                                .y = ev->models[m].curve_acc,
                                .count = PR_CURVE_POINTS,
                                .color = m,
                                .dashed = m >= 6};
    const bool goal = pr_eval_has_goal(ev);
    pr_chart chart = {.title = goal ? "Share that withstands against eps" : "Robust accuracy against eps",
                      .x_label = "eps",
                      .y_label = goal ? "withstands" : "robust accuracy",
                      .percent = true,
                      .from_zero = true,
                      .series = series,
                      .series_count = PR_MIN(ev->model_count, MODELS_MAX)};
    pr_text_add(out, "<h2>Accuracy against eps</h2>\n<p>");
    pr_html_escape(out, ev->attacks[ev->strongest].label);
    pr_text_add(out,
                ", the attack of the table that fooled most, on the first %s images at nine radii; at eps 0 it is the "
                "clean accuracy of "
                "those images. Each point is measured by itself.</p>\n<figure class=\"wide\">\n",
                pr_count_words(ev->curve_count, number));
    pr_svg_chart(out, &chart);
    pr_text_add(out, "</figure>\n");
    add_curve_values(out, ev);
}
