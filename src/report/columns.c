/* The columns of the tables, and the numbers in them. */
#include <stdio.h>
#include <string.h>

#include "report/report.h"

static pr_column make_column(const parry_evaluation *ev, pr_column_kind kind, int attack, int eps)
{
    pr_column column = {.kind = kind, .attack = attack, .eps = eps, .age = "", .count = ev->dataset->count};
    if (kind == PR_COLUMN_CLEAN) {
        snprintf(column.group, sizeof column.group, "clean");
        return column;
    }
    pr_eps_words(ev->eps.value[eps], column.radius);
    if (kind == PR_COLUMN_WORST) {
        column.count = ev->worst_count;
        snprintf(column.group, sizeof column.group, "worst");
        return column;
    }
    column.count = ev->attacks[attack].count;
    snprintf(column.group, sizeof column.group, "%s", ev->attacks[attack].label);
    return column;
}

/* The n-th different number of images below the dataset's has n asterisks, three at the most. */
static void mark_columns(const parry_evaluation *ev, pr_column *columns, int count)
{
    int distinct = 0;
    for (int i = 0; i < count; i++) {
        if (columns[i].count == ev->dataset->count)
            continue;
        int earlier = 0;
        while (columns[earlier].count != columns[i].count)
            earlier++;
        if (earlier < i)
            strcpy(columns[i].mark, columns[earlier].mark);
        else
            snprintf(columns[i].mark, sizeof columns[i].mark, "%.*s", ++distinct, "***");
    }
}

parry_status pr_columns_main(parry_ctx *ctx, const parry_evaluation *ev, pr_column **out, int *count)
{
    int n = 0, attacks = ev->attack_count, radii = attacks > 0 ? ev->eps.count : 0;
    TRY(pr_alloc(ctx, 1 + (attacks + 1) * radii, out));
    (*out)[n++] = make_column(ev, PR_COLUMN_CLEAN, 0, 0);
    for (int a = 0; a < attacks; a++)
        for (int e = 0; e < radii; e++)
            (*out)[n++] = make_column(ev, PR_COLUMN_FRESH, a, e);
    for (int e = 0; e < radii && attacks > 1; e++)
        (*out)[n++] = make_column(ev, PR_COLUMN_WORST, 0, e);
    mark_columns(ev, *out, n);
    *count = n;
    return PARRY_OK;
}

parry_status pr_columns_stale(parry_ctx *ctx, const parry_evaluation *ev, pr_column **out, int *count)
{
    static const struct {
        pr_column_kind kind;
        const char *age;
    } ages[] = {{PR_COLUMN_STALE, "stale"}, {PR_COLUMN_FRESH, "fresh"}};
    int n = 0, cells = ev->source ? ev->attack_count * ev->eps.count : 0;
    TRY(pr_alloc(ctx, 1 + 2 * cells, out));
    for (int cell = 0; cell < cells; cell++)
        for (size_t age = 0; age < PR_COUNT(ages); age++) {
            (*out)[n] = make_column(ev, ages[age].kind, cell / ev->eps.count, cell % ev->eps.count);
            (*out)[n++].age = ages[age].age;
        }
    mark_columns(ev, *out, n);
    *count = n;
    return PARRY_OK;
}

double pr_column_value(const parry_evaluation *ev, const pr_column *column, int model)
{
    switch (column->kind) {
    case PR_COLUMN_FRESH:
        return pr_eval_cell_at(ev, model, column->attack, column->eps)->withstood;
    case PR_COLUMN_STALE:
        return pr_eval_cell_at(ev, model, column->attack, column->eps)->stale_acc;
    case PR_COLUMN_WORST:
        return ev->models[model].worst_acc[column->eps];
    case PR_COLUMN_CLEAN:
        break;
    }
    return ev->models[model].clean_acc;
}

void pr_columns_footnotes(const pr_column *columns, int count, void (*line)(void *arg, const char *text), void *arg)
{
    for (int i = 0; i < count; i++) {
        bool repeated = false;
        for (int j = 0; j < i; j++)
            repeated |= columns[j].count == columns[i].count;
        if (!*columns[i].mark || repeated)
            continue;
        char number[PR_NUMBER_TEXT], text[96];
        snprintf(text, sizeof text, "%s first %s images", columns[i].mark, pr_count_words(columns[i].count, number));
        line(arg, text);
    }
}
