/* Tables of classes: names, WordNet identifiers, and finding one by text. */
#ifndef PR_DATA_CLASSES_H
#define PR_DATA_CLASSES_H

#include "base/base.h"

enum { PR_IMAGENET_CLASSES = 1000 };

/* A name may be several, separated by ", ". `names` and `wnids` may be NULL. */
typedef struct pr_classes {
    const char *of; /* whose classes they are, for errors */
    int count;
    const char *const *names, *const *wnids;
} pr_classes;

extern const char *const pr_imagenet_names[PR_IMAGENET_CLASSES], *const pr_imagenet_wnids[PR_IMAGENET_CLASSES];

/* See parry_class_find. */
PARRY_CHECKED parry_status pr_classes_find(parry_ctx *ctx, const pr_classes *classes, const char *text, int *out);
/* PARRY_MISMATCH where a class of theirs is called as another one of mine, by its first name: labels would count for wrong
 * classes. Names that only one side knows say nothing. */
PARRY_CHECKED parry_status pr_classes_match(parry_ctx *ctx, const pr_classes *mine, const pr_classes *theirs);
/* The first of a class's names, cut to `size` bytes with the ending zero. */
void pr_class_first_name(const char *names, char *out, size_t size);

#endif
