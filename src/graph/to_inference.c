/* The form that runs: no dropout, no identities, batch norm folded into its neighbours where that is exact.
 *
 * Batch norm of the inference form is y = a x + s per channel with a = scale / sqrt(var + eps) and s = shift - a mean.
 *   after a convolution or GEMM    W' = a W, b' = a b + s
 *   before a GEMM (any Flatten between them is dropped first)    W' = W a, b' = b + W s
 *   elsewhere                      ChannelAffine
 * Before a convolution it is not folded: where the convolution pads, its zeros would have to become s, so the shift is
 * wrong at the border. */
#include <math.h>
#include <string.h>

#include "graph/internal.h"

struct fold {
    parry_ctx *ctx;
    pr_graph *graph;
    pr_weights *weights;
    size_t values;                   /* when the counting below was done; later ones have one reader */
    int *uses;                       /* by value: how many read it, the network's output included */
    int32_t *reader;                 /* by value: the last node that reads it */
};

/* ---- identities ------------------------------------------------------------------------------------------------- */

/* Whether the node may hand its input on as it is. */
static bool is_identity(const pr_graph *graph, const pr_node *node)
{
    if (node->op == PR_OP_RESHAPE)
        return pr_dims_equal(graph->values[node->in[0]].dims, graph->values[node->out[0]].dims);
    return node->op == PR_OP_IDENTITY || node->op == PR_OP_DROPOUT;
}

/* GEMM reads rows, whatever their shape. */
static bool is_flatten(const pr_graph *graph, const pr_node *node)
{
    const pr_dims *x = &graph->values[node->in[0]].dims;
    return node->op == PR_OP_RESHAPE && x->rank >= 2 && x->dim[0] == PR_BATCH;
}

/* What `value` is a copy of. */
static pr_value source_of(const pr_graph *graph, pr_value value, bool through_flatten)
{
    while (value >= 0 && graph->values[value].kind == PR_VALUE_NODE) {
        const pr_node *node = &graph->nodes[graph->values[value].producer];
        if (!is_identity(graph, node) && !(through_flatten && is_flatten(graph, node)))
            break;
        value = node->in[0];
    }
    return value;
}

static parry_status drop_identities(parry_ctx *ctx, pr_graph *graph)
{
    for (size_t n = 0; n < graph->node_count; n++) {
        pr_node *node = &graph->nodes[n];
        for (int i = 0; i < node->inputs; i++)
            node->in[i] = source_of(graph, node->in[i], node->op == PR_OP_GEMM && i == 0);
    }
    graph->logits = source_of(graph, graph->logits, false);
    return pr_graph_prune(ctx, graph, NULL, 0);
}

/* ---- weights ---------------------------------------------------------------------------------------------------- */

static bool is_weight(const pr_graph *graph, pr_value value)
{
    return value >= 0 && graph->values[value].kind == PR_VALUE_WEIGHT;
}

static const float *constant(const struct fold *f, pr_value value)
{
    return f->weights->items[f->graph->values[value].weight].data;
}

static parry_status count_uses(struct fold *f)
{
    const pr_graph *graph = f->graph;
    f->values = graph->value_count;
    TRY(pr_alloc(f->ctx, f->values, &f->uses));
    TRY(pr_alloc(f->ctx, f->values, &f->reader));
    for (size_t n = 0; n < graph->node_count; n++) {
        for (int i = 0; i < graph->nodes[n].inputs; i++) {
            pr_value value = graph->nodes[n].in[i];
            if (value < 0)
                continue;
            f->uses[value]++;
            f->reader[value] = (int32_t)n;
        }
    }
    if (graph->logits >= 0)
        f->uses[graph->logits]++;
    return PARRY_OK;
}

static bool used_once(const struct fold *f, pr_value value)
{
    return (size_t)value >= f->values || f->uses[value] == 1;
}

static parry_status add_tensor(struct fold *f, const pr_node *node, const char *what, pr_weight_role role, int rank,
                               const int64_t *dim, pr_value *value, float **data)
{
    char *name;
    int32_t index;
    TRY(pr_asprintf(f->ctx, &name, "%s.%s", node->name, what));
    parry_status status = pr_weights_add(f->ctx, f->weights, name, role, rank, dim, &index);
    pr_free(name);
    TRY(status);
    *data = f->weights->items[index].data;
    return pr_graph_weight(f->ctx, f->graph, f->weights, index, value);
}

/* The tensor that input `input` of `node` reads, for writing: one that other nodes read too is copied first. */
static parry_status own_tensor(struct fold *f, pr_node *node, int input, float **data)
{
    const pr_weight shared = f->weights->items[f->graph->values[node->in[input]].weight];
    /* A value that had to take another name than its tensor's may be one of several that read the tensor. */
    if (used_once(f, node->in[input]) && strcmp(f->graph->values[node->in[input]].name, shared.name) == 0) {
        *data = shared.data;
        return PARRY_OK;
    }
    if ((size_t)node->in[input] < f->values)
        f->uses[node->in[input]]--;
    TRY(add_tensor(f, node, input == 1 ? "folded_weight" : "folded_bias", shared.role, shared.rank, shared.dim,
                   &node->in[input], data));
    memcpy(*data, shared.data, (size_t)shared.count * sizeof(float));
    return PARRY_OK;
}

static parry_status own_bias(struct fold *f, pr_node *node, int64_t count, float **data)
{
    if (node->inputs == 3 && node->in[2] >= 0)
        return own_tensor(f, node, 2, data);
    TRY(add_tensor(f, node, "folded_bias", PR_WEIGHT_VECTOR, 1, &count, &node->in[2], data));
    node->inputs = 3;
    return PARRY_OK;
}

/* ---- batch norm ------------------------------------------------------------------------------------------------- */

static void line_of(const struct fold *f, const pr_node *bn, int64_t c, double *a, double *s)
{
    *a = constant(f, bn->in[1])[c] / sqrt((double)constant(f, bn->in[4])[c] + bn->attrs.bn.eps);
    *s = constant(f, bn->in[2])[c] - constant(f, bn->in[3])[c] * *a;
}

/* Whether the node is a convolution or GEMM whose parameters are stored. */
static bool can_absorb(const pr_graph *graph, const pr_node *node)
{
    bool linear = node->op == PR_OP_CONV || node->op == PR_OP_GEMM, bias = node->inputs == 3 && node->in[2] >= 0;
    return linear && is_weight(graph, node->in[1]) && (!bias || is_weight(graph, node->in[2]));
}

/* The node before `bn` that can take it, or NULL. */
static pr_node *absorber_before(const struct fold *f, const pr_node *bn)
{
    const pr_value_info *x = &f->graph->values[bn->in[0]];
    if (x->kind != PR_VALUE_NODE || !used_once(f, bn->in[0]))
        return NULL;
    pr_node *node = &f->graph->nodes[x->producer];
    return can_absorb(f->graph, node) ? node : NULL;
}

/* The GEMM behind `bn` that can take it, or NULL. */
static pr_node *absorber_after(const struct fold *f, const pr_node *bn)
{
    pr_value y = bn->out[0];
    if (!used_once(f, y) || f->graph->logits == y)
        return NULL;
    pr_node *node = &f->graph->nodes[f->reader[y]];
    return node->op == PR_OP_GEMM && node->in[0] == y && can_absorb(f->graph, node) ? node : NULL;
}

static parry_status fold_back(struct fold *f, const pr_node *bn, pr_node *into)
{
    float *w, *b;
    pr_dims dims = f->graph->values[into->in[1]].dims;
    int64_t channels = dims.dim[0], row = pr_dims_row(dims) / channels;
    TRY(own_tensor(f, into, 1, &w));
    TRY(own_bias(f, into, channels, &b));
    for (int64_t o = 0; o < channels; o++) {
        double a, s;
        line_of(f, bn, o, &a, &s);
        for (int64_t i = 0; i < row; i++)
            w[o * row + i] = (float)(w[o * row + i] * a);
        b[o] = (float)(b[o] * a + s);
    }
    return PARRY_OK;
}

static parry_status fold_forward(struct fold *f, const pr_node *bn, pr_node *gemm)
{
    float *w, *b;
    pr_dims x = f->graph->values[bn->in[0]].dims;
    int64_t outputs = f->graph->values[gemm->in[1]].dims.dim[0], row = pr_dims_row(x), area = row / x.dim[1];
    TRY(own_tensor(f, gemm, 1, &w));
    TRY(own_bias(f, gemm, outputs, &b));
    for (int64_t o = 0; o < outputs; o++) {
        double shift = b[o], a, s;
        for (int64_t i = 0; i < row; i++) {
            line_of(f, bn, i / area, &a, &s);
            shift += w[o * row + i] * s;
            w[o * row + i] = (float)(w[o * row + i] * a);
        }
        b[o] = (float)shift;
    }
    return PARRY_OK;
}

static parry_status to_affine(struct fold *f, pr_node *bn)
{
    float *scale, *shift;
    pr_value scale_value, shift_value;
    int64_t channels = f->graph->values[bn->in[0]].dims.dim[1];
    TRY(add_tensor(f, bn, "folded_scale", PR_WEIGHT_CONSTANT, 1, &channels, &scale_value, &scale));
    TRY(add_tensor(f, bn, "folded_shift", PR_WEIGHT_CONSTANT, 1, &channels, &shift_value, &shift));
    for (int64_t c = 0; c < channels; c++) {
        double a, s;
        line_of(f, bn, c, &a, &s);
        scale[c] = (float)a;
        shift[c] = (float)s;
    }
    bn->op = PR_OP_CHANNEL_AFFINE;
    bn->inputs = 3;
    bn->in[1] = scale_value;
    bn->in[2] = shift_value;
    bn->in[3] = bn->in[4] = -1;
    return PARRY_OK;
}

static parry_status fold_batch_norm(struct fold *f, pr_node *bn)
{
    for (int i = 1; i < 5; i++) {
        if (!is_weight(f->graph, bn->in[i]))
            return PARRY_OK;                                         /* computed statistics: it stays as it is */
    }
    pr_node *before = absorber_before(f, bn), *after = absorber_after(f, bn);
    if (!before && !after)
        return to_affine(f, bn);
    TRY(before ? fold_back(f, bn, before) : fold_forward(f, bn, after));
    bn->op = PR_OP_IDENTITY;
    bn->inputs = 1;
    for (int i = 1; i < 5; i++)
        bn->in[i] = -1;
    return PARRY_OK;
}

parry_status pr_graph_to_inference(parry_ctx *ctx, const pr_graph *graph, const pr_weights *weights, bool fold,
                                   pr_graph **out, pr_weights **weights_out)
{
    parry_status status;
    struct fold f = {.ctx = ctx};

    *out = NULL;
    *weights_out = NULL;
    TRY(pr_graph_clone(ctx, graph, &f.graph));
    TRY_TO(done, drop_identities(ctx, f.graph));
    if (fold) {
        TRY_TO(done, pr_weights_clone(ctx, weights, &f.weights));
        TRY_TO(done, count_uses(&f));
        for (size_t n = 0; n < f.graph->node_count; n++) {
            if (f.graph->nodes[n].op == PR_OP_BATCH_NORM)
                TRY_TO(done, fold_batch_norm(&f, &f.graph->nodes[n]));
        }
        TRY_TO(done, drop_identities(ctx, f.graph));
    }
    *out = f.graph;
    *weights_out = f.weights;
    f.graph = NULL;
    f.weights = NULL;
done:
    pr_graph_free(f.graph);
    pr_weights_free(f.weights);
    pr_free(f.uses);
    pr_free(f.reader);
    return status;
}
