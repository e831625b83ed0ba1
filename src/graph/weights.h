/* Parameters of a network: named float tensors with a version. Engine plans keep packed copies of them, derived per
 * version. */
#ifndef PR_GRAPH_WEIGHTS_H
#define PR_GRAPH_WEIGHTS_H

#include "base/base.h"

/* The most axes of a tensor, be it a parameter or a value between nodes. */
#define PR_RANK_MAX 8

typedef enum pr_weight_role {
    PR_WEIGHT_KERNEL,    /* trained, subject to weight decay */
    PR_WEIGHT_VECTOR,    /* trained, no decay: biases, batch-norm scale and shift */
    PR_WEIGHT_STATISTIC, /* running mean and variance: moved by batch norm, not by the optimiser */
    PR_WEIGHT_CONSTANT,  /* never changes: preprocessing, constants of the file */
    PR_WEIGHT_INDEX,     /* never changes: whole numbers, positions along an axis (below 2^24, where floats count) */
} pr_weight_role;

typedef struct pr_weight {
    char *name;
    pr_weight_role role;
    int rank;
    int64_t dim[PR_RANK_MAX];
    int64_t count;
    float *data; /* row-major */
} pr_weight;

typedef struct pr_weights {
    pr_weight *items;
    size_t count, capacity;
    uint64_t version; /* starts at 1; pr_weights_changed raises it */
} pr_weights;

PARRY_CHECKED parry_status pr_weights_create(parry_ctx *ctx, pr_weights **out);
PARRY_CHECKED parry_status pr_weights_clone(parry_ctx *ctx, const pr_weights *weights, pr_weights **out);
void pr_weights_free(pr_weights *weights);
/* Adds a zeroed tensor; *index is its number, weights->items[*index].data is to be filled. */
PARRY_CHECKED parry_status pr_weights_add(parry_ctx *ctx, pr_weights *weights, const char *name, pr_weight_role role,
                                          int rank, const int64_t *dim, int32_t *index);
/* -1 when absent. */
int32_t pr_weights_find(const pr_weights *weights, const char *name);
void pr_weights_changed(pr_weights *weights);
/* Whether an optimiser moves it. */
bool pr_weight_trained(const pr_weight *weight);
/* PARRY_NUMERIC naming the first tensor with a NaN or infinity. */
PARRY_CHECKED parry_status pr_weights_check_finite(parry_ctx *ctx, const char *where, const pr_weights *weights);

#endif
