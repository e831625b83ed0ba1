/* Strings: formatting into memory, a growing text, the nearest name. */
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

parry_status pr_strdup(parry_ctx *ctx, const char *text, char **out)
{
    size_t size = strlen(text) + 1;
    TRY(pr_alloc(ctx, size, out));
    memcpy(*out, text, size);
    return PARRY_OK;
}

/* The bytes of the UTF-8 character at `c`; 0 where there is none (overlong forms and surrogates included). */
static int utf8_length(const unsigned char *c)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    int length = c[0] < 0x80 ? 1 : c[0] >> 5 == 6 ? 2 : c[0] >> 4 == 14 ? 3 : c[0] >> 3 == 30 ? 4 : 0;
    uint32_t code = length > 1 ? c[0] & (0x7fu >> length) : c[0];
    for (int i = 1; i < length; i++) {
        if (c[i] >> 6 != 2)
            return 0;
        code = code << 6 | (c[i] & 0x3fu);
    }
    bool valid = length && code >= least[length] && code <= 0x10ffff && (code < 0xd800 || code > 0xdfff);
    return valid ? length : 0;
}

void pr_make_printable(char *text)
{
    for (unsigned char *c = (unsigned char *)text; *c;) {
        int length = utf8_length(c);
        if (length == 0 || *c < 0x20 || *c == 0x7f) {
            *c = '?';
            length = 1;
        }
        c += length;
    }
}

static parry_status vformat(parry_ctx *ctx, char **out, const char *format, va_list args)
{
    va_list again;
    va_copy(again, args);
    int length = vsnprintf(NULL, 0, format, again);
    va_end(again);
    TRY(pr_alloc(ctx, (size_t)length + 1, out));
    vsnprintf(*out, (size_t)length + 1, format, args);
    return PARRY_OK;
}

parry_status pr_asprintf(parry_ctx *ctx, char **out, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    parry_status status = vformat(ctx, out, format, args);
    va_end(args);
    return status;
}

/* Makes room for `more` bytes and a zero. */
static bool text_reserve(pr_text *text, size_t more)
{
    size_t need = text->length + more + 1;
    if (text->failed || need <= text->capacity)
        return !text->failed;
    size_t capacity = PR_MAX(need, text->capacity * 2);
    char *grown = realloc(text->data, capacity);
    if (!grown) {
        text->failed = true;
        return false;
    }
    text->data = grown;
    text->capacity = capacity;
    return true;
}

void pr_text_bytes(pr_text *text, const void *bytes, size_t count)
{
    if (!text_reserve(text, count))
        return;
    memcpy(text->data + text->length, bytes, count);
    text->length += count;
    text->data[text->length] = '\0';
}

void pr_text_add(pr_text *text, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    int length = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (!text_reserve(text, (size_t)length))
        return;
    va_start(args, format);
    vsnprintf(text->data + text->length, (size_t)length + 1, format, args);
    va_end(args);
    text->length += (size_t)length;
}

parry_status pr_text_take(parry_ctx *ctx, pr_text *text, char **out)
{
    *out = NULL;
    pr_text_bytes(text, "", 0);
    if (text->failed) {
        parry_status status = pr_fail(ctx, PARRY_NO_MEMORY, "out of memory after %zu bytes of text", text->length);
        pr_text_clear(text);
        return status;
    }
    *out = text->data;
    *text = (pr_text){0};
    return PARRY_OK;
}

void pr_text_clear(pr_text *text)
{
    free(text->data);
    *text = (pr_text){0};
}

static bool same_letter(char a, char b)
{
    return tolower((unsigned char)a) == tolower((unsigned char)b);
}

/* Levenshtein distance with adjacent transpositions counted as one, whatever the case of letters; words longer than the
 * buffer count as far away. */
static int edit_distance(const char *a, const char *b)
{
    enum { LONGEST = 63 };
    size_t la = strlen(a), lb = strlen(b);
    if (la > LONGEST || lb > LONGEST)
        return LONGEST;
    int row[3][LONGEST + 1] = {{0}};
    for (size_t j = 0; j <= lb; j++)
        row[0][j] = (int)j;
    for (size_t i = 1; i <= la; i++) {
        int *now = row[i % 3], *before = row[(i + 2) % 3], *earlier = row[(i + 1) % 3];
        now[0] = (int)i;
        for (size_t j = 1; j <= lb; j++) {
            int best = before[j - 1] + !same_letter(a[i - 1], b[j - 1]);
            best = PR_MIN(best, PR_MIN(before[j], now[j - 1]) + 1);
            if (i > 1 && j > 1 && same_letter(a[i - 1], b[j - 2]) && same_letter(a[i - 2], b[j - 1]))
                best = PR_MIN(best, earlier[j - 2] + 1);
            now[j] = best;
        }
    }
    return row[la % 3][lb];
}

const char *parry_nearest(const char *word, const char *const *candidates, size_t count)
{
    enum { SHORT = 4 }; /* by two letters of these one gets anywhere */
    const char *nearest = NULL;
    const size_t length = strlen(word);
    int best = length == 0 ? 1 : length <= SHORT ? 2 : 3;
    for (size_t i = 0; i < count; i++) {
        int distance = edit_distance(word, candidates[i]);
        if (distance < best) {
            best = distance;
            nearest = candidates[i];
        }
    }
    return nearest;
}

parry_status pr_name_find(parry_ctx *ctx, const char *kind, const char *kinds, const char *name,
                          const char *const *names, size_t count, size_t *index)
{
    for (*index = 0; *index < count; ++*index)
        if (strcmp(names[*index], name) == 0)
            return PARRY_OK;
    const char *nearest = parry_nearest(name, names, count);
    if (nearest)
        return pr_fail(ctx, PARRY_NOT_FOUND, "there is no %s '%s'; did you mean '%s'?", kind, name, nearest);
    return pr_fail(ctx, PARRY_NOT_FOUND, "there is no %s '%s'; 'parry list %s' shows them", kind, name, kinds);
}
