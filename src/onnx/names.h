/* A map from borrowed names to numbers: tensor names of a file to whatever the importer or exporter keeps of them. */
#ifndef PR_ONNX_NAMES_H
#define PR_ONNX_NAMES_H

#include "base/base.h"

typedef struct pr_names {
    struct pr_names_entry {
        const char *name; /* NULL: free */
        int32_t number;
    } * entries;
    size_t capacity, count; /* capacity is a power of two, at most half of it is used */
} pr_names;

/* The number of `name`, or -1. */
int32_t pr_names_get(const pr_names *names, const char *name);
/* `name` must be new and outlive the map. */
PARRY_CHECKED parry_status pr_names_put(parry_ctx *ctx, pr_names *names, const char *name, int32_t number);
void pr_names_release(pr_names *names);

#endif
