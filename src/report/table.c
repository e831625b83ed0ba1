/* Plain-text tables for terminals: models as rows, cut into blocks of columns where the width demands it. */
#include <stdio.h>
#include <string.h>

#include "report/report.h"

enum { WIDTH_MIN = 40, WIDTH_MAX = 200, GAP = 2, HEAD_LINES = 3 };

typedef struct layout {
    int width; /* of the terminal */
    int name_width;
    pr_text *out;
} layout;

/* Adds `text` wrapped at blanks; further lines start with `indent` blanks. */
static void add_wrapped(const layout *at, const char *text, int indent)
{
    int column = 0;
    bool begun = false; /* the line holds a word */
    while (*text) {
        int word = (int)strcspn(text, " ");
        if (begun && column + 1 + word > at->width) {
            pr_text_add(at->out, "\n%*s", indent, "");
            column = indent;
        } else if (begun) {
            pr_text_add(at->out, " ");
            column++;
        }
        pr_text_bytes(at->out, text, (size_t)word);
        begun = true;
        column += word;
        text += word;
        text += strspn(text, " ");
    }
    pr_text_add(at->out, "\n");
}

/* The words above a column, line by line. */
static void head_line(const pr_column *column, int line, char text[80])
{
    if (line == 0)
        snprintf(text, 80, "%s%s", column->group, column->mark);
    else
        snprintf(text, 80, "%s", line == 1 ? column->radius : column->age);
}

static int column_width(const pr_column *column)
{
    char text[80];
    int width = (int)strlen("100.00%");
    for (int line = 0; line < HEAD_LINES; line++) {
        head_line(column, line, text);
        width = PR_MAX(width, (int)strlen(text));
    }
    return width + GAP;
}

/* A name that is too long loses its middle: both ends tell models apart. */
static void add_name(const layout *at, const char *name)
{
    int length = (int)strlen(name), tail = (at->name_width - 3) / 2;
    if (length <= at->name_width)
        pr_text_add(at->out, "%-*s", at->name_width, name);
    else
        pr_text_add(at->out, "%.*s...%s", at->name_width - 3 - tail, name, name + length - tail);
}

static void add_heads(const layout *at, const pr_column *columns, int count)
{
    static const char *const words[HEAD_LINES] = {"model", "  eps", "  adversaries"};
    for (int line = 0; line < HEAD_LINES; line++) {
        char text[80];
        bool used = line == 0;
        for (int i = 0; i < count && !used; i++) {
            head_line(&columns[i], line, text);
            used = *text != '\0';
        }
        if (!used)
            continue;
        pr_text_add(at->out, "%-*.*s", at->name_width, at->name_width, words[line]);
        for (int i = 0; i < count; i++) {
            head_line(&columns[i], line, text);
            pr_text_add(at->out, "%*s", column_width(&columns[i]), text);
        }
        pr_text_add(at->out, "\n");
    }
}

static void add_rule(const layout *at, const pr_column *columns, int count)
{
    int width = at->name_width;
    for (int i = 0; i < count; i++)
        width += column_width(&columns[i]);
    while (width-- > 0)
        pr_text_add(at->out, "-");
    pr_text_add(at->out, "\n");
}

static void add_block(const layout *at, const parry_evaluation *ev, const pr_column *columns, int count)
{
    char number[PR_NUMBER_TEXT];
    add_heads(at, columns, count);
    add_rule(at, columns, count);
    for (int m = 0; m < ev->model_count; m++) {
        add_name(at, ev->models[m].name);
        for (int i = 0; i < count; i++)
            pr_text_add(at->out, "%*s", column_width(&columns[i]),
                        pr_percent_words(pr_column_value(ev, &columns[i], m), number));
        pr_text_add(at->out, "\n");
    }
}

static void add_line(void *arg, const char *text)
{
    add_wrapped(arg, text, 2);
}

/* The end of the run of columns of one attack that starts at `first`. */
static int group_end(const pr_column *columns, int count, int first)
{
    int end = first + 1;
    while (end < count && strcmp(columns[end].group, columns[first].group) == 0)
        end++;
    return end;
}

static int total_width(const pr_column *columns, int first, int end)
{
    int width = 0;
    for (int i = first; i < end; i++)
        width += column_width(&columns[i]);
    return width;
}

/* Where a block that starts at `first` ends: after as many whole groups as fit, or inside a group that alone is too
 * wide. */
static int block_end(const layout *at, const pr_column *columns, int count, int first)
{
    int room = at->width - at->name_width, end = group_end(columns, count, first);
    while (end > first + 1 && total_width(columns, first, end) > room)
        end--;
    for (int next; end < count && strcmp(columns[end].group, columns[end - 1].group) != 0; end = next) {
        next = group_end(columns, count, end);
        if (total_width(columns, first, next) > room)
            break;
    }
    return end;
}

static void add_blocks(layout *at, const parry_evaluation *ev, const pr_column *columns, int count)
{
    for (int first = 0, end; first < count; first = end) {
        end = block_end(at, columns, count, first);
        pr_text_add(at->out, "\n");
        add_block(at, ev, columns + first, end - first);
    }
    pr_columns_footnotes(columns, count, add_line, at);
}

static void add_note(void *arg, const char *sentence)
{
    layout *at = arg;
    pr_text note = {0};
    pr_text_add(&note, "Note: %s.", sentence);
    add_wrapped(at, note.failed ? sentence : note.data, 2);
    pr_text_clear(&note);
}

static parry_status add_caption(parry_ctx *ctx, const layout *at, const parry_evaluation *ev, pr_caption_part part)
{
    pr_text text = {0};
    char *caption;
    pr_caption(ev, part, &text);
    TRY(pr_text_take(ctx, &text, &caption));
    add_wrapped(at, caption, 2);
    parry_string_free(caption);
    return PARRY_OK;
}

static parry_status add_tables(parry_ctx *ctx, layout *at, const parry_evaluation *ev)
{
    pr_column *columns;
    int count;
    TRY(add_caption(ctx, at, ev, PR_CAPTION_MAIN));
    if (ev->attack_count > 0)
        TRY(add_caption(ctx, at, ev, PR_CAPTION_THREAT));
    TRY(add_caption(ctx, at, ev, PR_CAPTION_DATA));
    TRY(pr_columns_main(ctx, ev, &columns, &count));
    add_blocks(at, ev, columns, count);
    pr_free(columns);
    if (ev->source && ev->attack_count > 0) {
        pr_text_add(at->out, "\n");
        TRY(add_caption(ctx, at, ev, PR_CAPTION_STALE));
        TRY(pr_columns_stale(ctx, ev, &columns, &count));
        add_blocks(at, ev, columns, count);
        pr_free(columns);
    }
    pr_notes(ev, add_note, at);
    return PARRY_OK;
}

parry_status parry_evaluation_table(parry_ctx *ctx, const parry_evaluation *ev, int width, char **out)
{
    pr_text text = {0};
    layout at = {.width = PR_MIN(PR_MAX(width, WIDTH_MIN), WIDTH_MAX), .out = &text};
    int words = (int)strlen(ev->source ? "  adversaries" : "model");
    for (int m = 0; m < ev->model_count; m++)
        at.name_width = PR_MAX(at.name_width, (int)strlen(ev->models[m].name));
    at.name_width = PR_MAX(PR_MIN(at.name_width, at.width / 3), words);
    parry_status status = add_tables(ctx, &at, ev);
    if (status != PARRY_OK) {
        pr_text_clear(&text);
        return status;
    }
    return pr_text_take(ctx, &text, out);
}
