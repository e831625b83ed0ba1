/* Weights for a built network from a file of the same architecture.
 *
 * Files keep the layers' names or not, list nodes in various orders, and have batch norm folded into the convolutions
 * or not. So both graphs are walked from their logits, a sum's longer operand first, and what the walks meet is paired
 * in order; where the file has all the names of the kernels, these decide. Every pair must agree in operator, shape,
 * stride, padding and groups: a network that does anything else is refused, since its weights would mean something
 * else here. */
#include <stdio.h>
#include <string.h>

#include "model/transfer.h"

enum { SHAPE_TEXT = 160 };

/* What a walk meets: every node but those that only rename, with the batch norm behind a convolution or GEMM. */
typedef struct station {
    const pr_node *node, *norm;
} station;

typedef struct walk {
    const pr_graph *graph;
    const pr_weights *weights;
    int *depth; /* by node: the most convolutions and GEMMs on a path to it */
    int *stack, *state, *station_of;
    station *stations;
    size_t count;
} walk;

/* ---- walking --------------------------------------------------------------------------------------------------- */

static bool is_linear(const pr_node *node)
{
    return node->op == PR_OP_CONV || node->op == PR_OP_GEMM;
}

static bool only_renames(const pr_node *node)
{
    return node->op == PR_OP_IDENTITY || node->op == PR_OP_DROPOUT || node->op == PR_OP_RESHAPE;
}

static int producer(const walk *w, pr_value value)
{
    return value >= 0 && w->graph->values[value].kind == PR_VALUE_NODE ? w->graph->values[value].producer : -1;
}

static int depth_of(const walk *w, pr_value value)
{
    const int from = producer(w, value);
    return from < 0 ? 0 : w->depth[from];
}

static void measure_depth(walk *w)
{
    for (size_t n = 0; n < w->graph->node_count; n++) {
        const pr_node *node = &w->graph->nodes[n];
        for (int i = 0; i < node->inputs; i++)
            w->depth[n] = PR_MAX(w->depth[n], depth_of(w, node->in[i]));
        w->depth[n] += is_linear(node);
    }
}

/* Puts what `node` reads on the stack: the last is walked first. */
static size_t push_inputs(walk *w, const pr_node *node, size_t top)
{
    const bool swapped = node->op == PR_OP_ADD && depth_of(w, node->in[1]) > depth_of(w, node->in[0]);
    for (int i = node->inputs - 1; i >= 0; i--) {
        const int from = producer(w, node->in[swapped && i < 2 ? 1 - i : i]);
        if (from >= 0 && w->state[from] == 0)
            w->stack[top++] = from;
    }
    return top;
}

static void arrive(walk *w, int n)
{
    const pr_node *node = &w->graph->nodes[n];
    const int before = node->inputs > 0 ? producer(w, node->in[0]) : -1;
    if (only_renames(node) || node->op == PR_OP_CONCAT) { /* what is joined tells enough, however joints are nested */
        w->station_of[n] = before < 0 ? -1 : w->station_of[before];
        return;
    }
    if (node->op == PR_OP_BATCH_NORM && before >= 0 && is_linear(&w->graph->nodes[before])) {
        w->station_of[n] = w->station_of[before];
        w->stations[w->station_of[n]].norm = node;
        return;
    }
    w->station_of[n] = (int)w->count;
    w->stations[w->count++].node = node;
}

static parry_status walk_make(parry_ctx *ctx, const pr_graph *graph, const pr_weights *weights, walk *w)
{
    size_t top = 0;
    *w = (walk){.graph = graph, .weights = weights};
    TRY(pr_alloc(ctx, graph->node_count + 1, &w->depth));
    TRY(pr_alloc(ctx, graph->node_count + 1, &w->state));
    TRY(pr_alloc(ctx, graph->node_count + 1, &w->station_of));
    TRY(pr_alloc(ctx, graph->node_count + 1, &w->stations));
    TRY(pr_alloc(ctx, graph->node_count * PR_NODE_IN + 1, &w->stack));
    measure_depth(w);
    if (producer(w, graph->logits) >= 0)
        w->stack[top++] = producer(w, graph->logits);
    while (top > 0) {
        const int n = w->stack[top - 1];
        if (w->state[n]++ == 0) {
            top = push_inputs(w, &graph->nodes[n], top);
            continue;
        }
        top--;
        if (w->state[n] == 2)
            arrive(w, n);
    }
    return PARRY_OK;
}

static void walk_release(walk *w)
{
    pr_free(w->depth);
    pr_free(w->state);
    pr_free(w->station_of);
    pr_free(w->stations);
    pr_free(w->stack);
}

/* ---- comparing ------------------------------------------------------------------------------------------------- */

/* A pool over the whole image is a global one, however it is written. */
static pr_op kind_of(const walk *w, const pr_node *node)
{
    const pr_dims y = w->graph->values[node->out[0]].dims;
    const int *pad = node->attrs.pool.pad;
    return node->op == PR_OP_AVERAGE_POOL && y.rank == 4 && y.dim[2] * y.dim[3] == 1 &&
                   !(pad[0] | pad[1] | pad[2] | pad[3])
               ? PR_OP_GLOBAL_AVERAGE_POOL
               : node->op;
}

static const pr_weight *weight_of(const walk *w, const pr_node *node, int input)
{
    const pr_value value = input < node->inputs ? node->in[input] : -1;
    const bool stored = value >= 0 && w->graph->values[value].kind == PR_VALUE_WEIGHT;
    return stored ? &w->weights->items[w->graph->values[value].weight] : NULL;
}

/* All that must agree, in words; for errors, and compared as they are. */
static void describe(const walk *w, const station *s, char text[SHAPE_TEXT])
{
    const pr_node *node = s->node;
    const pr_weight *kernel = is_linear(node) ? weight_of(w, node, 1) : NULL;
    int at = snprintf(text, SHAPE_TEXT, "%s", pr_op_name(kind_of(w, node)));
    for (int d = 0; kernel && d < kernel->rank; d++)
        at += snprintf(text + at, (size_t)(SHAPE_TEXT - at), "%s%lld", d ? " x " : " ", (long long)kernel->dim[d]);
    if (node->op == PR_OP_CONV)
        snprintf(text + at, (size_t)(SHAPE_TEXT - at), ", stride %d %d, padding %d %d %d %d, dilation %d %d, groups %d",
                 node->attrs.conv.stride[0], node->attrs.conv.stride[1], node->attrs.conv.pad[0],
                 node->attrs.conv.pad[1], node->attrs.conv.pad[2], node->attrs.conv.pad[3],
                 node->attrs.conv.dilation[0], node->attrs.conv.dilation[1], node->attrs.conv.group);
    else if (node->op == PR_OP_MAX_POOL || kind_of(w, node) == PR_OP_AVERAGE_POOL)
        snprintf(text + at, (size_t)(SHAPE_TEXT - at), " %d x %d, stride %d %d, padding %d %d %d %d",
                 node->attrs.pool.kernel[0], node->attrs.pool.kernel[1], node->attrs.pool.stride[0],
                 node->attrs.pool.stride[1], node->attrs.pool.pad[0], node->attrs.pool.pad[1], node->attrs.pool.pad[2],
                 node->attrs.pool.pad[3]);
}

static parry_status compare(parry_ctx *ctx, const char *where, const char *arch, const walk *ours, const station *a,
                            const walk *theirs, const station *b)
{
    char own[SHAPE_TEXT], found[SHAPE_TEXT];
    describe(ours, a, own);
    describe(theirs, b, found);
    if (strcmp(own, found) != 0)
        return pr_fail(ctx, PARRY_MISMATCH, "%s is not a %s: '%s' (%s) stands where %s has '%s' (%s)", where, arch,
                       b->node->name, found, arch, a->node->name, own);
    if (b->norm && !a->norm)
        return pr_fail(ctx, PARRY_MISMATCH, "%s is not a %s: '%s' is followed by batch norm, '%s' of %s is not", where,
                       arch, b->node->name, a->node->name, arch);
    return PARRY_OK;
}

/* The walks stop at different places. */
static parry_status compare_lengths(parry_ctx *ctx, const char *where, const char *arch, const walk *ours,
                                    const walk *theirs)
{
    if (ours->count > theirs->count)
        return pr_fail(ctx, PARRY_MISMATCH, "%s is not a %s: it ends before '%s'", where, arch,
                       ours->stations[theirs->count].node->name);
    if (ours->count < theirs->count)
        return pr_fail(ctx, PARRY_MISMATCH, "%s is not a %s: it goes on with '%s'", where, arch,
                       theirs->stations[ours->count].node->name);
    return PARRY_OK;
}

/* ---- copying --------------------------------------------------------------------------------------------------- */

static parry_status copy(parry_ctx *ctx, const char *where, const station *a, const pr_weight *from, pr_weight *to)
{
    if (!to)
        return PARRY_OK;
    if (!from || from->count != to->count)
        return pr_fail(ctx, PARRY_MISMATCH, "%s holds no %s for '%s' (%lld numbers)", where, to->name, a->node->name,
                       (long long)to->count);
    memcpy(to->data, from->data, (size_t)to->count * sizeof(float));
    return PARRY_OK;
}

/* The batch norm that adds `bias` (NULL: nothing) and does nothing else. */
static void identity_norm(const pr_node *norm, const pr_weight *bias, pr_weight *const part[4])
{
    for (int64_t c = 0; c < part[0]->count; c++) {
        part[0]->data[c] = 1;
        part[1]->data[c] = bias ? bias->data[c] : 0;
        part[2]->data[c] = 0;
        part[3]->data[c] = 1 - norm->attrs.bn.eps;
    }
}

static parry_status copy_norm(parry_ctx *ctx, const char *where, const walk *ours, const station *a,
                              const pr_node *norm, const walk *theirs, const pr_node *from, const pr_weight *bias)
{
    pr_weight *part[4];
    for (int i = 0; i < 4; i++)
        part[i] = (pr_weight *)weight_of(ours, norm, 1 + i);
    if (!from) {
        if (bias && bias->count != part[1]->count)
            return pr_fail(ctx, PARRY_MISMATCH, "%s: the bias of '%s' has %lld numbers, not %lld", where, a->node->name,
                           (long long)bias->count, (long long)part[1]->count);
        identity_norm(norm, bias, part);
        return PARRY_OK;
    }
    for (int i = 0; i < 4; i++)
        TRY(copy(ctx, where, a, weight_of(theirs, from, 1 + i), part[i]));
    for (int64_t c = 0; c < part[3]->count; c++) {
        part[3]->data[c] += from->attrs.bn.eps - norm->attrs.bn.eps;
        if (bias) /* normalising x + b is normalising x about mean - b */
            part[2]->data[c] -= bias->data[c];
    }
    return PARRY_OK;
}

static parry_status copy_station(parry_ctx *ctx, const char *where, const walk *ours, const station *a,
                                 const walk *theirs, const station *b)
{
    if (a->node->op == PR_OP_BATCH_NORM)
        return copy_norm(ctx, where, ours, a, a->node, theirs, b->node, NULL);
    if (!is_linear(a->node))
        return PARRY_OK;
    const pr_weight *bias = weight_of(theirs, b->node, 2);
    pr_weight *to = (pr_weight *)weight_of(ours, a->node, 2);
    TRY(copy(ctx, where, a, weight_of(theirs, b->node, 1), (pr_weight *)weight_of(ours, a->node, 1)));
    if (a->norm)
        return copy_norm(ctx, where, ours, a, a->norm, theirs, b->norm, bias);
    if (to && !bias)
        memset(to->data, 0, (size_t)to->count * sizeof(float));
    return bias ? copy(ctx, where, a, bias, to) : PARRY_OK;
}

/* ---- pairing --------------------------------------------------------------------------------------------------- */

/* The station of the file whose kernel is called as that of `a`; NULL where none is. */
static const station *namesake(const walk *ours, const station *a, const walk *theirs)
{
    const pr_weight *mine = is_linear(a->node) ? weight_of(ours, a->node, 1) : NULL;
    for (size_t i = 0; mine && i < theirs->count; i++) {
        const station *b = &theirs->stations[i];
        const pr_weight *other = is_linear(b->node) ? weight_of(theirs, b->node, 1) : NULL;
        if (other && strcmp(other->name, mine->name) == 0)
            return b;
    }
    return NULL;
}

static bool all_named(const walk *ours, const walk *theirs)
{
    for (size_t i = 0; i < ours->count; i++) {
        if (is_linear(ours->stations[i].node) && !namesake(ours, &ours->stations[i], theirs))
            return false;
    }
    return true;
}

static parry_status transfer(parry_ctx *ctx, const char *where, const char *arch, const walk *ours, const walk *theirs)
{
    const bool by_name = all_named(ours, theirs);
    for (size_t i = 0; i < PR_MIN(ours->count, theirs->count); i++) {
        const station *a = &ours->stations[i],
                      *b = by_name && is_linear(a->node) ? namesake(ours, a, theirs) : &theirs->stations[i];
        TRY(compare(ctx, where, arch, ours, a, theirs, b));
        TRY(copy_station(ctx, where, ours, a, theirs, b));
    }
    return compare_lengths(ctx, where, arch, ours, theirs);
}

parry_status pr_transfer_weights(parry_ctx *ctx, const char *where, const char *arch, const pr_graph *graph,
                                 pr_weights *weights, const pr_onnx_model *from)
{
    walk ours = {0}, theirs = {0};
    parry_status status = walk_make(ctx, graph, weights, &ours);
    if (status == PARRY_OK)
        status = walk_make(ctx, from->graph, from->weights, &theirs);
    if (status == PARRY_OK)
        status = transfer(ctx, where, arch, &ours, &theirs);
    walk_release(&ours);
    walk_release(&theirs);
    pr_weights_changed(weights);
    return status;
}
