/* The store of a network's parameters. */
#include <math.h>
#include <string.h>

#include "graph/weights.h"

parry_status pr_weights_create(parry_ctx *ctx, pr_weights **out)
{
    TRY(pr_alloc(ctx, 1, out));
    (*out)->version = 1;
    return PARRY_OK;
}

void pr_weights_free(pr_weights *weights)
{
    if (!weights)
        return;
    for (size_t i = 0; i < weights->count; i++) {
        pr_free(weights->items[i].name);
        pr_free(weights->items[i].data);
    }
    pr_free(weights->items);
    pr_free(weights);
}

parry_status pr_weights_add(parry_ctx *ctx, pr_weights *weights, const char *name, pr_weight_role role, int rank,
                            const int64_t *dim, int32_t *index)
{
    if (rank < 0 || rank > PR_RANK_MAX)
        return pr_fail(ctx, PARRY_UNSUPPORTED, "tensor '%s' has %d dimensions, at most %d are supported", name, rank,
                       PR_RANK_MAX);
    pr_weight item = {.role = role, .rank = rank, .count = 1};
    for (int d = 0; d < rank; d++) {
        if (dim[d] < 0 || __builtin_mul_overflow(item.count, dim[d], &item.count))
            return pr_fail(ctx, PARRY_INVALID, "tensor '%s': dimension %d is %lld", name, d, (long long)dim[d]);
        item.dim[d] = dim[d];
    }
    if (weights->count >= INT32_MAX)
        return pr_fail(ctx, PARRY_UNSUPPORTED, "tensor '%s': too many tensors", name);
    TRY(pr_grow(ctx, weights->count + 1, &weights->capacity, &weights->items));
    TRY(pr_strdup(ctx, name, &item.name));
    parry_status status = pr_alloc(ctx, item.count, &item.data);
    if (status != PARRY_OK) {
        pr_free(item.name);
        return status;
    }
    weights->items[weights->count] = item;
    *index = (int32_t)weights->count++;
    return PARRY_OK;
}

parry_status pr_weights_clone(parry_ctx *ctx, const pr_weights *weights, pr_weights **out)
{
    parry_status status;
    pr_weights *copy;

    *out = NULL;
    TRY(pr_weights_create(ctx, &copy));
    for (size_t i = 0; i < weights->count; i++) {
        const pr_weight *item = &weights->items[i];
        int32_t index;
        TRY_TO(fail, pr_weights_add(ctx, copy, item->name, item->role, item->rank, item->dim, &index));
        if (item->count)
            memcpy(copy->items[index].data, item->data, (size_t)item->count * sizeof(float));
    }
    copy->version = weights->version;
    *out = copy;
    return PARRY_OK;
fail:
    pr_weights_free(copy);
    return status;
}

int32_t pr_weights_find(const pr_weights *weights, const char *name)
{
    for (size_t i = 0; i < weights->count; i++) {
        if (strcmp(weights->items[i].name, name) == 0)
            return (int32_t)i;
    }
    return -1;
}

void pr_weights_changed(pr_weights *weights)
{
    weights->version++;
}

bool pr_weight_trained(const pr_weight *weight)
{
    return weight->role == PR_WEIGHT_KERNEL || weight->role == PR_WEIGHT_VECTOR;
}

parry_status pr_weights_check_finite(parry_ctx *ctx, const char *where, const pr_weights *weights)
{
    for (size_t i = 0; i < weights->count; i++) {
        const pr_weight *item = &weights->items[i];
        for (int64_t e = 0; e < item->count; e++) {
            if (!isfinite(item->data[e]))
                return pr_fail(ctx, PARRY_NUMERIC, "%s: tensor '%s' holds %s at element %lld", where, item->name,
                               isnan(item->data[e]) ? "a NaN" : "an infinity", (long long)e);
        }
    }
    return PARRY_OK;
}
