/* Packed copies of weights: one per (weight, layout), shared by all steps that want it.
 *
 * A plan's copies derive from the plain weights. A trainer has masters: the copy that the optimiser moves, in the
 * layout of the weight's first user; the other copies of that weight derive from it. */
#ifndef PR_ENGINE_STORE_H
#define PR_ENGINE_STORE_H

#include "engine/onednn.h"
#include "graph/weights.h"

typedef struct pr_packed {
    int32_t weight;
    bool plain, master;
    pr_md *md;
    float *data;
    int64_t floats;
    int from; /* copy that this one derives from; -1: the plain weights */
    pr_prim *prim;
    pr_binding *binding;
} pr_packed;

typedef struct pr_store {
    const pr_dnnl *dnnl;
    const pr_weights *weights;
    bool training; /* the first copy of a trained weight becomes its master */
    pr_packed *items;
    size_t count, capacity;
} pr_store;

void pr_store_clear(pr_store *store);
/* The master of a weight, or -1. */
int pr_store_master(const pr_store *store, int32_t weight);
/* The copy of a weight in a layout (NULL: row-major); made, but not filled, where there is none yet. */
PARRY_CHECKED parry_status pr_store_get(parry_ctx *ctx, pr_store *store, int32_t weight, const pr_md *md, int *out);
/* Fills one copy from what it derives from; those that derive from others come after them. */
PARRY_CHECKED parry_status pr_store_fill(parry_ctx *ctx, pr_store *store, size_t index, const pr_weights *weights);
PARRY_CHECKED parry_status pr_store_fill_all(parry_ctx *ctx, pr_store *store, const pr_weights *weights);

#endif
