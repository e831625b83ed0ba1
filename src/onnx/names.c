/* Open addressing with linear probing over FNV-1a hashes (Fowler, Noll, Vo). */
#include <string.h>

#include "onnx/names.h"

static struct pr_names_entry *find(struct pr_names_entry *entries, size_t capacity, const char *name)
{
    uint64_t hash = 14695981039346656037u;
    for (const char *c = name; *c; c++)
        hash = (hash ^ (uint8_t)*c) * 1099511628211u;
    size_t at = (hash ^ hash >> 32) & (capacity - 1);
    while (entries[at].name && strcmp(entries[at].name, name) != 0)
        at = (at + 1) & (capacity - 1);
    return &entries[at];
}

int32_t pr_names_get(const pr_names *names, const char *name)
{
    if (!names->capacity)
        return -1;
    const struct pr_names_entry *entry = find(names->entries, names->capacity, name);
    return entry->name ? entry->number : -1;
}

static parry_status grow(parry_ctx *ctx, pr_names *names)
{
    const size_t capacity = PR_MAX(2 * names->capacity, 64);
    struct pr_names_entry *entries;
    TRY(pr_alloc(ctx, capacity, &entries));
    for (size_t i = 0; i < names->capacity; i++)
        if (names->entries[i].name)
            *find(entries, capacity, names->entries[i].name) = names->entries[i];
    pr_free(names->entries);
    names->entries = entries;
    names->capacity = capacity;
    return PARRY_OK;
}

parry_status pr_names_put(parry_ctx *ctx, pr_names *names, const char *name, int32_t number)
{
    if (2 * (names->count + 1) > names->capacity)
        TRY(grow(ctx, names));
    *find(names->entries, names->capacity, name) = (struct pr_names_entry){name, number};
    names->count++;
    return PARRY_OK;
}

void pr_names_release(pr_names *names)
{
    pr_free(names->entries);
    *names = (pr_names){0};
}
