/* Packed copies of weights. */
#include <string.h>

#include "engine/store.h"

enum { SLACK = 64 }; /* floats behind a copy, for kernels that load whole vectors */

void pr_store_clear(pr_store *store)
{
    for (size_t i = 0; i < store->count; i++) {
        pr_binding_free(store->items[i].binding);
        pr_prim_free(store->items[i].prim);
        pr_md_free(store->items[i].md);
        pr_free(store->items[i].data);
    }
    pr_free(store->items);
    store->items = NULL;
    store->count = store->capacity = 0;
}

int pr_store_master(const pr_store *store, int32_t weight)
{
    for (size_t i = 0; i < store->count; i++) {
        if (store->items[i].weight == weight && store->items[i].master)
            return (int)i;
    }
    return -1;
}

static int find(const pr_store *store, int32_t weight, const pr_md *md)
{
    for (size_t i = 0; i < store->count; i++) {
        const pr_packed *copy = &store->items[i];
        if (copy->weight == weight && (md ? pr_md_equal(copy->md, md) : copy->plain))
            return (int)i;
    }
    return -1;
}

/* The change of layout that fills `copy`: between layouts of the same dims, a row-major side taking those of the other.
 */
static parry_status make_reorder(parry_ctx *ctx, const pr_store *store, pr_packed *copy)
{
    parry_status status;
    const pr_packed *source = copy->from < 0 ? NULL : &store->items[copy->from];
    pr_md *from = NULL, *to = NULL;
    float *data[PR_ARG_COUNT] = {[PR_ARG_DST] = copy->data};

    TRY_TO(done, source && !source->plain ? pr_md_clone(ctx, source->md, &from) : pr_md_plain(ctx, copy->md, &from));
    TRY_TO(done, copy->plain && source ? pr_md_plain(ctx, from, &to) : pr_md_clone(ctx, copy->md, &to));
    TRY_TO(done, pr_prim_reorder(ctx, store->dnnl, from, to, &copy->prim));
    data[PR_ARG_SRC] = source ? source->data : store->weights->items[copy->weight].data;
    TRY_TO(done, pr_binding_create(ctx, store->dnnl, copy->prim, data, NULL, &copy->binding));
done:
    pr_md_free(from);
    pr_md_free(to);
    return status;
}

static parry_status fill_new(parry_ctx *ctx, const pr_store *store, int32_t weight, const pr_md *md, int from,
                             pr_packed *copy)
{
    const pr_weight *info = &store->weights->items[weight];
    *copy = (pr_packed){.weight = weight, .plain = !md, .from = from};
    copy->master = store->training && from < 0 && pr_weight_trained(info);
    TRY(md ? pr_md_clone(ctx, md, &copy->md) : pr_md_create(ctx, 1, &info->count, NULL, &copy->md));
    copy->floats = pr_md_floats(copy->md);
    TRY(pr_alloc(ctx, copy->floats + SLACK, &copy->data));
    return make_reorder(ctx, store, copy);
}

parry_status pr_store_get(parry_ctx *ctx, pr_store *store, int32_t weight, const pr_md *md, int *out)
{
    int from = pr_store_master(store, weight);
    *out = find(store, weight, md);
    if (*out >= 0)
        return PARRY_OK;
    /* Between layouts of different dims the way leads through the row-major one. */
    if (from >= 0 && md && !store->items[from].plain && !pr_md_same_dims(md, store->items[from].md))
        TRY(pr_store_get(ctx, store, weight, NULL, &from));
    TRY(pr_grow(ctx, store->count + 1, &store->capacity, &store->items));
    *out = (int)store->count++;
    return fill_new(ctx, store, weight, md, from, &store->items[*out]);
}

parry_status pr_store_fill(parry_ctx *ctx, pr_store *store, size_t index, const pr_weights *weights)
{
    pr_packed *copy = &store->items[index];
    if (copy->from < 0)
        TRY(pr_binding_set(ctx, copy->binding, PR_ARG_SRC, weights->items[copy->weight].data));
    return pr_binding_run(ctx, copy->binding);
}

parry_status pr_store_fill_all(parry_ctx *ctx, pr_store *store, const pr_weights *weights)
{
    for (size_t i = 0; i < store->count; i++)
        TRY(pr_store_fill(ctx, store, i, weights));
    return PARRY_OK;
}
