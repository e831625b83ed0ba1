/* Tables of labels: CSV (RFC 4180: quotes around fields with commas, doubled inside) with a header that says which
 * column is what. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "data/photos.h"

enum { FIELDS_MAX = 32, TABLE_LIMIT = 256 << 20 };

typedef enum column { COLUMN_FILE, COLUMN_LABEL } column;

/* Headings that are understood, the better ones first. */
static const struct {
    const char *heading;
    column column;
} headings[] = {
    {"file", COLUMN_FILE},        {"filename", COLUMN_FILE},     {"file_name", COLUMN_FILE}, {"image", COLUMN_FILE},
    {"path", COLUMN_FILE},        {"class_index", COLUMN_LABEL}, {"wnid", COLUMN_LABEL},     {"synset", COLUMN_LABEL},
    {"class_name", COLUMN_LABEL}, {"label", COLUMN_LABEL},       {"class", COLUMN_LABEL},
};

typedef struct csv {
    char *at; /* of a text that is cut up in place */
    int line;
    const char *path;
} csv;

/* Cuts one field out; *more says whether another follows on the line. Returns NULL when a quote is not closed, or
 * something other than a comma or the line's end comes behind it. */
static char *cut_field(csv *in, bool *more)
{
    char *from = in->at, *to = in->at, *field = in->at;
    const bool quoted = *from == '"';
    bool open = quoted;
    for (from += quoted; *from; from++) {
        if (quoted && *from == '"') {
            open = from[1] == '"';
            from++;
            if (!open)
                break;
        } else if (!quoted && (*from == ',' || *from == '\n' || *from == '\r'))
            break;
        in->line += *from == '\n';
        *to++ = *from;
    }
    while (*from == '\r')
        from++;
    if (open || (*from && *from != ',' && *from != '\n'))
        return NULL;
    *more = *from == ',';
    in->line += *from == '\n';
    in->at = *from ? from + 1 : from;
    *to = '\0';
    return field;
}

static parry_status cut_line(parry_ctx *ctx, csv *in, char *fields[FIELDS_MAX], int *count)
{
    bool more = true;
    const int line = in->line;
    for (*count = 0; more; (*count)++) {
        if (*count == FIELDS_MAX)
            return pr_fail(ctx, PARRY_FORMAT, "%s: line %d has more than %d fields", in->path, line, FIELDS_MAX);
        fields[*count] = cut_field(in, &more);
        if (!fields[*count])
            return pr_fail(
                ctx, PARRY_FORMAT,
                "%s: line %d: a quote is not closed, or a field is not followed by a comma or the line's end", in->path,
                line);
    }
    return PARRY_OK;
}

/* The column for `wanted`, by the best heading there is; -1 when there is none. */
static int find_column(char *const *fields, int count, column wanted)
{
    for (size_t h = 0; h < PR_COUNT(headings); h++)
        for (int i = 0; headings[h].column == wanted && i < count; i++)
            if (strcasecmp(fields[i], headings[h].heading) == 0)
                return i;
    return -1;
}

static parry_status read_row(parry_ctx *ctx, const csv *in, int line, const char *file, const char *text,
                             const pr_classes *classes, pr_label_table *out)
{
    int label = -1;
    if (text[0] && strcmp(text, "-1") != 0 && pr_classes_find(ctx, classes, text, &label) != PARRY_OK) {
        char why[512];
        snprintf(why, sizeof why, "%s", parry_ctx_error(ctx));
        return pr_fail(ctx, PARRY_MISMATCH, "%s: line %d: %s", in->path, line, why);
    }
    TRY(pr_grow(ctx, out->count + 1, &out->capacity, &out->rows));
    pr_label_row *row = &out->rows[out->count];
    *row = (pr_label_row){.label = label};
    TRY(pr_strdup(ctx, file, &row->file));
    out->count++;
    return PARRY_OK;
}

static parry_status read_rows(parry_ctx *ctx, csv *in, const pr_classes *classes, pr_label_table *out)
{
    char *fields[FIELDS_MAX];
    int count;
    TRY(cut_line(ctx, in, fields, &count));
    const int file = find_column(fields, count, COLUMN_FILE), label = find_column(fields, count, COLUMN_LABEL),
              columns = count;
    if (file < 0 || label < 0)
        return pr_fail(
            ctx, PARRY_FORMAT,
            "%s: the first line has no column for the %s; expected file, and one of class_index, wnid, class_name, "
            "label",
            in->path, file < 0 ? "file" : "label");
    while (*in->at) {
        const int line = in->line;
        TRY(cut_line(ctx, in, fields, &count));
        if (count == 1 && !fields[0][0])
            continue; /* an empty line */
        if (count != columns)
            return pr_fail(ctx, PARRY_FORMAT, "%s: line %d has %d fields, the first line has %d", in->path, line, count,
                           columns);
        TRY(read_row(ctx, in, line, fields[file], fields[label], classes, out));
    }
    return PARRY_OK;
}

parry_status pr_labels_read(parry_ctx *ctx, const char *path, const pr_classes *classes, pr_label_table *out)
{
    static const char byte_order_mark[] = "\xef\xbb\xbf";
    uint8_t *text;
    size_t size;
    *out = (pr_label_table){0};
    TRY(pr_file_read(ctx, path, TABLE_LIMIT, &text, &size));
    csv in = {.at = (char *)text, .line = 1, .path = path};
    if (strncmp(in.at, byte_order_mark, 3) == 0)
        in.at += 3;
    parry_status status = memchr(text, 0, size) ? pr_fail(ctx, PARRY_FORMAT, "%s: not a text file", path)
                                                : read_rows(ctx, &in, classes, out);
    pr_free(text);
    if (status != PARRY_OK)
        pr_labels_release(out);
    return status;
}

void pr_labels_release(pr_label_table *table)
{
    for (size_t i = 0; i < table->count; i++)
        pr_free(table->rows[i].file);
    pr_free(table->rows);
    *table = (pr_label_table){0};
}

/* ---- pictures that are listed already --------------------------------------------------------------------------- */

static int by_file(const void *a, const void *b)
{
    return strcmp(((const pr_label_row *)a)->file, ((const pr_label_row *)b)->file);
}

static int by_base(const void *a, const void *b)
{
    return strcmp(pr_path_base(((const pr_label_row *)a)->file), pr_path_base(((const pr_label_row *)b)->file));
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* The file names of all pictures, sorted. */
static parry_status sorted_bases(parry_ctx *ctx, const pr_photos *photos, const char ***out)
{
    TRY(pr_alloc_raw(ctx, photos->count, out));
    for (size_t i = 0; i < photos->count; i++)
        (*out)[i] = pr_path_base(photos->items[i].path);
    qsort(*out, photos->count, sizeof **out, by_name);
    return PARRY_OK;
}

/* Whether two pictures have the name `base`, which one has. */
static bool is_shared(const char *const *bases, size_t count, const char *base)
{
    const char *const *found = bsearch(&base, bases, count, sizeof *bases, by_name);
    return (found > bases && strcmp(found[-1], base) == 0) ||
           (found + 1 < bases + count && strcmp(found[1], base) == 0);
}

/* Rows by path below the folder that was named, else by file name as it stands. */
static size_t match_paths(pr_label_table *table, pr_photos *photos)
{
    size_t labelled = 0;
    qsort(table->rows, table->count, sizeof *table->rows, by_file);
    for (size_t i = 0; i < photos->count; i++) {
        const pr_label_row name = {.file = photos->items[i].name},
                           base = {.file = (char *)pr_path_base(photos->items[i].path)};
        const pr_label_row *row = bsearch(&name, table->rows, table->count, sizeof name, by_file);
        if (!row)
            row = bsearch(&base, table->rows, table->count, sizeof base, by_file);
        photos->items[i].label = row ? row->label : -1;
        photos->items[i].matched = row != NULL;
        labelled += row != NULL;
    }
    return labelled;
}

/* The rest by the file name that ends a row's path, where one row alone and one picture alone have it. */
static parry_status match_bases(parry_ctx *ctx, pr_label_table *table, pr_photos *photos, size_t *labelled)
{
    const char **bases;
    TRY(sorted_bases(ctx, photos, &bases));
    qsort(table->rows, table->count, sizeof *table->rows, by_base);
    for (size_t i = 0; i < photos->count; i++) {
        const pr_label_row base = {.file = photos->items[i].path};
        const pr_label_row *end = table->rows + table->count,
                           *row = photos->items[i].matched
                                      ? NULL
                                      : bsearch(&base, table->rows, table->count, sizeof base, by_base);
        if (!row || (row > table->rows && by_base(row - 1, row) == 0) ||
            (row + 1 < end && by_base(row, row + 1) == 0) ||
            is_shared(bases, photos->count, pr_path_base(photos->items[i].path)))
            continue;
        photos->items[i].label = row->label;
        (*labelled)++;
    }
    pr_free(bases);
    return PARRY_OK;
}

parry_status pr_labels_apply(parry_ctx *ctx, const char *path, const pr_classes *classes, pr_photos *photos)
{
    pr_label_table table;
    parry_status status = PARRY_OK;
    TRY(pr_labels_read(ctx, path, classes, &table));
    if (table.count == 0) {
        pr_labels_release(&table);
        return pr_fail(ctx, PARRY_MISMATCH, "%s: no lines after the header", path);
    }
    size_t labelled = match_paths(&table, photos);
    if (labelled < photos->count)
        status = match_bases(ctx, &table, photos, &labelled);
    if (status == PARRY_OK && labelled == 0)
        status = pr_fail(ctx, PARRY_MISMATCH,
                         "%s: none of its files is among the pictures: it says %s, the first picture is %s", path,
                         table.rows[0].file, photos->items[0].name);
    else if (status == PARRY_OK && labelled < photos->count)
        pr_log(ctx, PARRY_LOG_WARNING, "%s labels %zu of %zu pictures", path, labelled, photos->count);
    pr_labels_release(&table);
    return status;
}
