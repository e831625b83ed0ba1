/* Criteria: parsing their text, and judging a row of logits.
 *
 * A criterion is a list of nodes in the order of its text, so that a combination stands before its parts: `next` is
 * where the node's last part ends. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <parry/criterion.h>

#include "attack/attack.h"

enum { NODES_MAX = 64, DEPTH_MAX = 16, WORD_MAX = 128, OWN_TARGET = -1 };

/* A row of logits while it is judged. The softmax is exp(z_i - z_top) / total. */
typedef struct view {
    const float *logits;
    int classes, label, target, top;
    double total;
} view;

typedef struct node node;
typedef struct kind {
    const char *name;
    int arguments_min, arguments_max; /* after colons */
    int parts_max;                    /* in brackets; 0: it has none */
    bool (*met)(const parry_criterion *criterion, const node *at, const view *row);
    parry_criterion_form help;
} kind;

struct node {
    const kind *kind;
    double p;
    int k, target;
    int next;
};

struct parry_criterion {
    node nodes[NODES_MAX];
    int count;
};

/* ---- judging ----------------------------------------------------------------------------------------------------- */

static double probability(const view *row, int class)
{
    return exp((double)row->logits[class] - (double)row->logits[row->top]) / row->total;
}

static bool node_met(const parry_criterion *criterion, int at, const view *row)
{
    const node *here = &criterion->nodes[at];
    return here->kind->met(criterion, here, row);
}

static bool misclassified(const parry_criterion *criterion, const node *at, const view *row)
{
    (void)criterion;
    (void)at;
    return row->top != row->label;
}

static bool confident(const parry_criterion *criterion, const node *at, const view *row)
{
    (void)criterion;
    return row->top != row->label && probability(row, row->top) >= at->p;
}

static bool targeted(const parry_criterion *criterion, const node *at, const view *row)
{
    const int target = at->target == OWN_TARGET ? row->target : at->target;
    (void)criterion;
    return row->top == target && probability(row, target) >= at->p;
}

static bool topk(const parry_criterion *criterion, const node *at, const view *row)
{
    int before = 0;
    (void)criterion;
    for (int i = 0; i < row->classes; i++)
        before +=
            row->logits[i] > row->logits[row->label] || (row->logits[i] == row->logits[row->label] && i < row->label);
    return before >= at->k;
}

static bool below(const parry_criterion *criterion, const node *at, const view *row)
{
    (void)criterion;
    return probability(row, row->label) < at->p;
}

/* Whether some part's answer is `wanted`. */
static bool any_part(const parry_criterion *criterion, const node *at, const view *row, bool wanted)
{
    for (int part = (int)(at - criterion->nodes) + 1; part < at->next; part = criterion->nodes[part].next)
        if (node_met(criterion, part, row) == wanted)
            return true;
    return false;
}

static bool all_of(const parry_criterion *criterion, const node *at, const view *row)
{
    return !any_part(criterion, at, row, false);
}

static bool any_of(const parry_criterion *criterion, const node *at, const view *row)
{
    return any_part(criterion, at, row, true);
}

static bool none_of(const parry_criterion *criterion, const node *at, const view *row)
{
    return !any_part(criterion, at, row, true);
}

bool parry_criterion_met(const parry_criterion *criterion, const float *logits, int classes, int label, int target)
{
    view row = {logits, classes, label, target, pr_argmax(logits, classes), 0};
    if (row.top < 0) /* nothing but NaN */
        return false;
    row.total = pr_softmax_total(logits, classes, row.top);
    return node_met(criterion, 0, &row);
}

/* ---- the kinds --------------------------------------------------------------------------------------------------- */

static const kind kinds[] = {
    {"misclassified", 0, 0, 0, misclassified, {"misclassified", "called anything but its class"}},
    {"confident", 1, 1, 0, confident, {"confident:P", "called something else with a probability of at least P"}},
    {"targeted", 0, 2, 0, targeted, {"targeted[:CLASS[:P]]", "called CLASS (without one: that of --target), with a "
                                                             "probability of at least P"}},
    {"topk", 1, 1, 0, topk, {"topk:K", "its class is not among the K likeliest"}},
    {"below", 1, 1, 0, below, {"below:P", "its class has a probability of less than P"}},
    {"and", 0, 0, NODES_MAX, all_of, {"and(A,B,...)", "all of them"}},
    {"or", 0, 0, NODES_MAX, any_of, {"or(A,B,...)", "any of them"}},
    {"not", 0, 0, 1, none_of, {"not(A)", "the opposite"}},
};

const parry_criterion_form *parry_criterion_form_at(size_t index)
{
    return index < PR_COUNT(kinds) ? &kinds[index].help : NULL;
}

int parry_criterion_class(const parry_criterion *criterion)
{
    for (int at = 0; at < criterion->count; at++) {
        const node *here = &criterion->nodes[at];
        if (here->kind->met == none_of)
            at = here->next - 1;
        else if (here->kind->met == targeted && here->target != OWN_TARGET)
            return here->target;
    }
    return -1;
}

bool parry_criterion_needs_target(const parry_criterion *criterion)
{
    for (int at = 0; at < criterion->count; at++)
        if (criterion->nodes[at].kind->met == targeted && criterion->nodes[at].target == OWN_TARGET)
            return true;
    return false;
}

/* ---- parsing ----------------------------------------------------------------------------------------------------- */

typedef struct parser {
    const char *text, *at;
    const parry_model *model; /* NULL: class names are not looked up */
    parry_criterion *criterion;
    int depth;
} parser;

static parry_status parse_failed(parry_ctx *ctx, const parser *p, const char *wanted)
{
    const char *found = *p->at ? p->at : "the end";
    return pr_fail(ctx, PARRY_INVALID, "criterion '%s': expected %s, found %s%.40s%s", p->text, wanted,
                   *p->at ? "'" : "", found, *p->at ? "'" : "");
}

static void skip_blanks(parser *p)
{
    p->at += strspn(p->at, " \t");
}

static bool take(parser *p, char c)
{
    skip_blanks(p);
    if (*p->at != c)
        return false;
    p->at++;
    return true;
}

/* Up to the next separator, without blanks at its ends; or what stands in single quotes. */
static parry_status take_word(parry_ctx *ctx, parser *p, char word[WORD_MAX])
{
    skip_blanks(p);
    const bool quoted = take(p, '\'');
    size_t length = strcspn(p->at, quoted ? "'" : ":,()");
    const char *after = p->at + length;
    if (quoted && *after != '\'')
        return parse_failed(ctx, p, "a closing quote");
    while (!quoted && length > 0 && (p->at[length - 1] == ' ' || p->at[length - 1] == '\t'))
        length--;
    if (length >= WORD_MAX)
        return parse_failed(ctx, p, "a shorter word");
    memcpy(word, p->at, length);
    word[length] = '\0';
    p->at = after + quoted;
    return PARRY_OK;
}

static parry_status find_kind(parry_ctx *ctx, const parser *p, const char *name, const kind **out)
{
    const char *names[PR_COUNT(kinds)];
    for (size_t i = 0; i < PR_COUNT(kinds); i++) {
        names[i] = kinds[i].name;
        if (strcmp(names[i], name) == 0) {
            *out = &kinds[i];
            return PARRY_OK;
        }
    }
    const char *nearest = parry_nearest(name, names, PR_COUNT(names));
    return pr_fail(ctx, PARRY_INVALID, "criterion '%s': there is no '%s'; %s%s%s", p->text, name,
                   nearest ? "did you mean '" : "'parry help criteria' shows what there is", nearest ? nearest : "",
                   nearest ? "'?" : "");
}

static parry_status read_probability(parry_ctx *ctx, const parser *p, const char *name, const char *word, double *out)
{
    if (!pr_parse_number(word, out) || *out < 0 || *out > 1)
        return pr_fail(ctx, PARRY_INVALID, "criterion '%s': %s takes a probability from 0 to 1, found '%s'", p->text,
                       name, word);
    return PARRY_OK;
}

static parry_status read_count(parry_ctx *ctx, const parser *p, const char *word, int *out)
{
    const int most = p->model ? pr_model_classes(p->model) - 1 : 1000000;
    double value;
    if (!pr_parse_number(word, &value) || value != floor(value) || value < 1 || value > most)
        return pr_fail(ctx, PARRY_INVALID, "criterion '%s': topk takes a whole number from 1 to %d, found '%s'",
                       p->text, most, word);
    *out = (int)value;
    return PARRY_OK;
}

static parry_status read_class(parry_ctx *ctx, const parser *p, const char *word, int *out)
{
    *out = OWN_TARGET;
    if (!word[0])
        return PARRY_OK;
    *out = 0;
    return p->model ? pr_class_find(ctx, p->model, word, out) : PARRY_OK;
}

static parry_status read_argument(parry_ctx *ctx, parser *p, node *here, int number)
{
    char word[WORD_MAX];
    TRY(take_word(ctx, p, word));
    if (here->kind->met == targeted && number == 0)
        return read_class(ctx, p, word, &here->target);
    if (here->kind->met == topk)
        return read_count(ctx, p, word, &here->k);
    return read_probability(ctx, p, here->kind->name, word, &here->p);
}

static parry_status parse_node(parry_ctx *ctx, parser *p);

static parry_status parse_parts(parry_ctx *ctx, parser *p, int most)
{
    int parts = 0;
    if (!take(p, '('))
        return parse_failed(ctx, p, "'('");
    if (++p->depth > DEPTH_MAX)
        return pr_fail(ctx, PARRY_INVALID, "criterion '%.60s...': more than %d brackets inside each other", p->text,
                       DEPTH_MAX);
    do {
        TRY(parse_node(ctx, p));
        parts++;
    } while (parts < most && take(p, ','));
    p->depth--;
    if (!take(p, ')'))
        return parse_failed(ctx, p, parts < most ? "',' or ')'" : "')'");
    return PARRY_OK;
}

static parry_status parse_node(parry_ctx *ctx, parser *p)
{
    char word[WORD_MAX];
    const char *start;
    int arguments = 0;
    skip_blanks(p);
    start = p->at;
    if (p->criterion->count == NODES_MAX)
        return pr_fail(ctx, PARRY_INVALID, "criterion '%.60s...' has more than %d parts", p->text, NODES_MAX);
    node *here = &p->criterion->nodes[p->criterion->count++];
    here->target = OWN_TARGET;
    TRY(take_word(ctx, p, word));
    if (!word[0]) {
        p->at = start;
        return parse_failed(ctx, p, "a criterion");
    }
    TRY(find_kind(ctx, p, word, &here->kind));
    while (arguments < here->kind->arguments_max && take(p, ':'))
        TRY(read_argument(ctx, p, here, arguments++));
    if (arguments < here->kind->arguments_min)
        return pr_fail(ctx, PARRY_INVALID, "criterion '%s': '%s' is written %s", p->text, word, here->kind->help.form);
    if (here->kind->parts_max > 0)
        TRY(parse_parts(ctx, p, here->kind->parts_max));
    here->next = p->criterion->count;
    return PARRY_OK;
}

static parry_status parse(parry_ctx *ctx, const char *text, const parry_model *model, parry_criterion *out)
{
    parser p = {.text = text, .at = text, .model = model, .criterion = out};
    TRY(parse_node(ctx, &p));
    skip_blanks(&p);
    return *p.at ? parse_failed(ctx, &p, "the end") : PARRY_OK;
}

parry_status parry_criterion_create(parry_ctx *ctx, const char *text, const parry_model *model, parry_criterion **out)
{
    *out = NULL;
    TRY(pr_alloc(ctx, 1, out));
    parry_status status = parse(ctx, text, model, *out);
    if (status != PARRY_OK) {
        parry_criterion_free(*out);
        *out = NULL;
    }
    return status;
}

parry_status parry_criterion_check(parry_ctx *ctx, const char *text)
{
    parry_criterion scratch = {0};
    return parse(ctx, text, NULL, &scratch);
}

void parry_criterion_free(parry_criterion *criterion)
{
    pr_free(criterion);
}
