/* Classes by name: "mountain_tent", "Mountain Tent", "n03792972" and "672" are the same one. */
#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "data/classes.h"

#define CLASS(wnid, names) names,
const char *const pr_imagenet_names[PR_IMAGENET_CLASSES] = {
#include "data/imagenet_classes.def"
};
#undef CLASS
#define CLASS(wnid, names) wnid,
const char *const pr_imagenet_wnids[PR_IMAGENET_CLASSES] = {
#include "data/imagenet_classes.def"
};
#undef CLASS

/* A shorter word than this is part of any number of names, and near to others by accident: nothing is suggested. */
enum { NAME_MAX_BYTES = 256, CANDIDATES_SHOWN = 4, ORDER_SHOWN = 12, INDEX_DIGITS = 9, TELLING = 3 };

/* Lower case, single spaces for runs of spaces and underscores, none at the ends. */
static void normalise(const char *text, size_t length, char out[NAME_MAX_BYTES])
{
    size_t n = 0;
    for (size_t i = 0; i < length && n + 1 < NAME_MAX_BYTES; i++) {
        const bool gap = text[i] == ' ' || text[i] == '_';
        if (gap && (n == 0 || out[n - 1] == ' '))
            continue;
        out[n++] = gap ? ' ' : (char)tolower((unsigned char)text[i]);
    }
    while (n > 0 && out[n - 1] == ' ')
        n--;
    out[n] = '\0';
}

/* Whether `wanted` (normalised) is the whole text of the names, or one of them. */
static bool is_called(const char *names, const char *wanted)
{
    char one[NAME_MAX_BYTES];
    normalise(names, strlen(names), one);
    if (strcmp(one, wanted) == 0)
        return true;
    for (const char *at = names;; at += 2) {
        const char *end = strstr(at, ", ");
        normalise(at, end ? (size_t)(end - at) : strlen(at), one);
        if (strcmp(one, wanted) == 0)
            return true;
        if (!end)
            return false;
        at = end;
    }
}

/* The whole text is a class index. */
static bool read_index(const char *text, int *out)
{
    const size_t length = strlen(text);
    if (length == 0 || length > INDEX_DIGITS || strspn(text, "0123456789") != length)
        return false;
    *out = atoi(text);
    return true;
}

static parry_status ambiguous(parry_ctx *ctx, const pr_classes *classes, const char *text, const char *wanted)
{
    pr_text words = {0};
    char *list;
    int shown = 0;
    for (int i = 0; i < classes->count && shown < CANDIDATES_SHOWN; i++)
        if (is_called(classes->names[i], wanted))
            pr_text_add(&words, "%s%d (%s%s%s)", shown++ ? " or " : "", i, classes->wnids ? classes->wnids[i] : "",
                        classes->wnids ? ", " : "", classes->names[i]);
    TRY(pr_text_take(ctx, &words, &list));
    parry_status status = pr_fail(ctx, PARRY_INVALID, "'%s' may be class %s: give the number%s", text, list,
                                  classes->wnids ? " or the WordNet identifier" : "");
    parry_string_free(list);
    return status;
}

/* Classes that have the word among theirs, else the nearest spelling. */
static parry_status not_found(parry_ctx *ctx, const pr_classes *classes, const char *text, const char *wanted)
{
    pr_text words = {0};
    char *list, one[NAME_MAX_BYTES];
    int shown = 0;
    const bool telling = strlen(wanted) >= TELLING;
    for (int i = 0; i < classes->count && shown < CANDIDATES_SHOWN && telling; i++) {
        normalise(classes->names[i], strlen(classes->names[i]), one);
        if (strstr(one, wanted)) {
            pr_class_first_name(classes->names[i], one, sizeof one);
            pr_text_add(&words, "%s'%s' (%d)", shown++ ? ", " : "; did you mean ", one, i);
        }
    }
    const char *nearest = shown || !telling ? NULL : parry_nearest(wanted, classes->names, (size_t)classes->count);
    if (nearest)
        pr_text_add(&words, "; did you mean '%s'?", nearest);
    else
        pr_text_add(&words, "%s", shown ? "?" : "");
    TRY(pr_text_take(ctx, &words, &list));
    parry_status status = pr_fail(ctx, PARRY_NOT_FOUND, "%s has no class '%s'%s", classes->of, text, list);
    parry_string_free(list);
    return status;
}

/* Then a number is a name, and no index. */
static bool all_numbers(const pr_classes *classes)
{
    int index;
    for (int i = 0; classes->names && i < classes->count; i++)
        if (!read_index(classes->names[i], &index))
            return false;
    return classes->names != NULL;
}

parry_status pr_classes_find(parry_ctx *ctx, const pr_classes *classes, const char *text, int *out)
{
    char wanted[NAME_MAX_BYTES];
    int found = 0, index;
    normalise(text, strlen(text), wanted);
    for (int i = 0; classes->names && i < classes->count; i++)
        if (is_called(classes->names[i], wanted)) {
            *out = i;
            found++;
        }
    if (found > 1)
        return ambiguous(ctx, classes, text, wanted);
    for (int i = 0; !found && classes->wnids && i < classes->count; i++)
        if (strcmp(classes->wnids[i], wanted) == 0) {
            *out = i;
            found = 1;
        }
    if (found)
        return PARRY_OK;
    if (!read_index(wanted, &index) || all_numbers(classes)) {
        if (!classes->names)
            return pr_fail(ctx, PARRY_NOT_FOUND, "%s has no class '%s': it does not name them; expected an index, 0 to %d",
                           classes->of, text, classes->count - 1);
        return not_found(ctx, classes, text, wanted);
    }
    if (index >= classes->count)
        return pr_fail(ctx, PARRY_NOT_FOUND, "%s has no class '%s'; expected 0 to %d", classes->of, text,
                       classes->count - 1);
    *out = index;
    return PARRY_OK;
}

/* "zero, one, two, ..." */
static void list_names(pr_text *text, const pr_classes *classes)
{
    char one[NAME_MAX_BYTES];
    for (int i = 0; i < classes->count && i < ORDER_SHOWN; i++) {
        pr_class_first_name(classes->names[i], one, sizeof one);
        pr_text_add(text, "%s%s", i ? ", " : "", one);
    }
    pr_text_add(text, "%s", classes->count > ORDER_SHOWN ? ", ..." : "");
}

parry_status pr_classes_match(parry_ctx *ctx, const pr_classes *mine, const pr_classes *theirs)
{
    char first[NAME_MAX_BYTES], wanted[NAME_MAX_BYTES], *list;
    int moved = -1;
    for (int i = 0; mine->names && theirs->names && i < theirs->count && moved < 0; i++) {
        pr_class_first_name(theirs->names[i], first, sizeof first);
        normalise(first, strlen(first), wanted);
        for (int k = 0; (i >= mine->count || !is_called(mine->names[i], wanted)) && k < mine->count && moved < 0; k++)
            moved = is_called(mine->names[k], wanted) ? i : -1;
    }
    if (moved < 0)
        return PARRY_OK;
    pr_text text = {0};
    pr_text_add(&text, "%s and %s count the same classes differently: ", mine->of, theirs->of);
    list_names(&text, mine);
    pr_text_add(&text, "; and ");
    list_names(&text, theirs);
    pr_text_add(&text, ". Give the data in the network's order");
    TRY(pr_text_take(ctx, &text, &list));
    parry_status status = pr_fail(ctx, PARRY_MISMATCH, "%s", list);
    parry_string_free(list);
    return status;
}

void pr_class_first_name(const char *names, char *out, size_t size)
{
    const char *end = strstr(names, ", ");
    const size_t length = end ? (size_t)(end - names) : strlen(names);
    const size_t kept = PR_MIN(length, size - 1);
    memcpy(out, names, kept);
    out[kept] = '\0';
}
