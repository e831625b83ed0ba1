/* The form that runs: no dropout, no identities, no Transpose that the next undoes, lines folded into their neighbours
 * where that is exact.
 *
 * A line is y = a x + s per channel: batch norm of the inference form with a = scale / sqrt(var + eps) and
 * s = shift - a mean, and arithmetic with a constant that is one number or one for each channel (normalisation of
 * pixels, biases, scales).
 *   after a convolution or GEMM    W' = a W, b' = a b + s
 *   before a GEMM (any Flatten between them is dropped first)    W' = W a, b' = b + W s
 *   after a ChannelAffine          that one takes it over
 *   elsewhere                      ChannelAffine
 * Before a convolution it is not folded: where the convolution pads, its zeros would have to become s, so the shift is
 * wrong at the border; the engine folds it with a map of shifts. */
#include <math.h>
#include <string.h>

#include "graph/internal.h"

struct fold {
    parry_ctx *ctx;
    pr_graph *graph;
    pr_weights *weights;
    size_t values;   /* when the counting below was done; later ones have one reader */
    int *uses;       /* by value: how many read it, the network's output included */
    int32_t *reader; /* by value: the last node that reads it */
    bool grid;       /* the network rounds to whole numbers: its arithmetic stays what is written, to the last bit */
};

/* ---- identities ------------------------------------------------------------------------------------------------- */

/* The Transpose that `node` undoes, or NULL. */
static const pr_node *undone(const pr_graph *graph, const pr_node *node)
{
    const pr_node *before = pr_graph_producer(graph, node->in[0]);
    if (node->op != PR_OP_TRANSPOSE || !before || before->op != PR_OP_TRANSPOSE)
        return NULL;
    for (int d = 0; d < graph->values[node->in[0]].dims.rank; d++) {
        if (before->attrs.perm.perm[node->attrs.perm.perm[d]] != d)
            return NULL;
    }
    return before;
}

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
    for (const pr_node *node; (node = pr_graph_producer(graph, value));) {
        const pr_node *before = undone(graph, node);
        if (!before && !is_identity(graph, node) && !(through_flatten && is_flatten(graph, node)))
            break;
        value = before ? before->in[0] : node->in[0];
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
        f->grid |= graph->nodes[n].op == PR_OP_MAP && graph->nodes[n].attrs.map.function == PR_MAP_QUANTIZE;
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

/* ---- lines ------------------------------------------------------------------------------------------------------ */

static bool is_arithmetic(pr_op op)
{
    return op == PR_OP_ADD || op == PR_OP_SUB || op == PR_OP_MUL || op == PR_OP_DIV;
}

/* Whether a constant is one number, or one for each channel of x. */
static bool is_by_channel(pr_dims constant, pr_dims x)
{
    int at = constant.rank - (x.rank - 1); /* of the channels, from the left */
    int64_t count = pr_dims_row(constant);
    return count == 1 || (at >= 0 && constant.dim[at] == x.dim[1] && count == x.dim[1]);
}

/* The input that the node maps channel by channel, or -1: it is no line, or its constants are computed. */
static int line_input(const pr_graph *graph, const pr_node *node)
{
    int first = is_arithmetic(node->op) && is_weight(graph, node->in[0]) ? 1 : 0;
    if (node->op != PR_OP_BATCH_NORM && node->op != PR_OP_CHANNEL_AFFINE && !is_arithmetic(node->op))
        return -1;
    for (int i = 0; i < node->inputs; i++) {
        if (i != first && !is_weight(graph, node->in[i]))
            return -1;
    }
    pr_dims x = graph->values[node->in[first]].dims;
    if (is_weight(graph, node->in[first]) || x.rank < 2 || x.dim[0] != PR_BATCH)
        return -1;
    if (!is_arithmetic(node->op))
        return 0;
    bool over = node->op == PR_OP_DIV && first == 1; /* a constant over x is no line */
    return !over && is_by_channel(graph->values[node->in[1 - first]].dims, x) ? first : -1;
}

static void line_of(const struct fold *f, const pr_node *node, int64_t c, double *a, double *s)
{
    if (node->op == PR_OP_BATCH_NORM) {
        *a = constant(f, node->in[1])[c] / sqrt((double)constant(f, node->in[4])[c] + node->attrs.bn.eps);
        *s = constant(f, node->in[2])[c] - constant(f, node->in[3])[c] * *a;
        return;
    }
    if (node->op == PR_OP_CHANNEL_AFFINE) {
        *a = constant(f, node->in[1])[c];
        *s = constant(f, node->in[2])[c];
        return;
    }
    int other = 1 - line_input(f->graph, node);
    bool one = pr_dims_row(f->graph->values[node->in[other]].dims) == 1;
    double k = constant(f, node->in[other])[one ? 0 : c];
    *a = node->op == PR_OP_MUL ? k : node->op == PR_OP_DIV ? 1 / k : node->op == PR_OP_SUB && other == 0 ? -1 : 1;
    *s = node->op == PR_OP_ADD || (node->op == PR_OP_SUB && other == 0) ? k : node->op == PR_OP_SUB ? -k : 0;
}

/* Whether the node is a convolution or GEMM whose parameters are stored. */
static bool can_absorb(const pr_graph *graph, const pr_node *node)
{
    bool linear = node->op == PR_OP_CONV || node->op == PR_OP_GEMM, bias = node->inputs == 3 && node->in[2] >= 0;
    return linear && is_weight(graph, node->in[1]) && (!bias || is_weight(graph, node->in[2]));
}

/* The node before a line's input `x`, lines that were folded passed over, if the line alone reads it, or NULL. */
static pr_node *node_before(const struct fold *f, pr_value x)
{
    const pr_value_info *value = &f->graph->values[x];
    if (value->kind != PR_VALUE_NODE || !used_once(f, x))
        return NULL;
    pr_node *node = &f->graph->nodes[value->producer];
    return node->op == PR_OP_IDENTITY ? node_before(f, node->in[0]) : node;
}

/* The GEMM behind the line that can take it, or NULL. */
static pr_node *absorber_after(const struct fold *f, const pr_node *line)
{
    pr_value y = line->out[0];
    if (!used_once(f, y) || f->graph->logits == y)
        return NULL;
    pr_node *node = &f->graph->nodes[f->reader[y]];
    return node->op == PR_OP_GEMM && node->in[0] == y && can_absorb(f->graph, node) ? node : NULL;
}

static parry_status fold_back(struct fold *f, const pr_node *line, pr_node *into)
{
    float *w, *b;
    pr_dims dims = f->graph->values[into->in[1]].dims;
    int64_t channels = dims.dim[0], row = pr_dims_row(dims) / channels;
    TRY(own_tensor(f, into, 1, &w));
    TRY(own_bias(f, into, channels, &b));
    for (int64_t o = 0; o < channels; o++) {
        double a, s;
        line_of(f, line, o, &a, &s);
        for (int64_t i = 0; i < row; i++)
            w[o * row + i] = (float)(w[o * row + i] * a);
        b[o] = (float)(b[o] * a + s);
    }
    return PARRY_OK;
}

static parry_status fold_forward(struct fold *f, const pr_node *line, pr_dims x, pr_node *gemm)
{
    float *w, *b;
    int64_t outputs = f->graph->values[gemm->in[1]].dims.dim[0], row = pr_dims_row(x), area = row / x.dim[1];
    TRY(own_tensor(f, gemm, 1, &w));
    TRY(own_bias(f, gemm, outputs, &b));
    for (int64_t o = 0; o < outputs; o++) {
        double shift = b[o], a, s;
        for (int64_t i = 0; i < row; i++) {
            line_of(f, line, i / area, &a, &s);
            shift += w[o * row + i] * s;
            w[o * row + i] = (float)(w[o * row + i] * a);
        }
        b[o] = (float)shift;
    }
    return PARRY_OK;
}

/* The line, after the one of the ChannelAffine `before` (NULL: none), as a ChannelAffine. */
static parry_status to_affine(struct fold *f, pr_node *line, pr_value x, const pr_node *before)
{
    float *scale, *shift;
    pr_value scale_value, shift_value;
    int64_t channels = f->graph->values[x].dims.dim[1];
    TRY(add_tensor(f, line, "folded_scale", PR_WEIGHT_CONSTANT, 1, &channels, &scale_value, &scale));
    TRY(add_tensor(f, line, "folded_shift", PR_WEIGHT_CONSTANT, 1, &channels, &shift_value, &shift));
    for (int64_t c = 0; c < channels; c++) {
        double a, s, a_before = 1, s_before = 0;
        line_of(f, line, c, &a, &s);
        if (before)
            line_of(f, before, c, &a_before, &s_before);
        scale[c] = (float)(a * a_before);
        shift[c] = (float)(a * s_before + s);
    }
    line->op = PR_OP_CHANNEL_AFFINE;
    line->inputs = 3;
    line->in[0] = before ? before->in[0] : x;
    line->in[1] = scale_value;
    line->in[2] = shift_value;
    line->in[3] = line->in[4] = -1;
    return PARRY_OK;
}

/* Whether a ChannelAffine only adds. */
static bool only_shifts(const struct fold *f, const pr_node *affine)
{
    for (int64_t c = 0; c < pr_dims_row(f->graph->values[affine->in[1]].dims); c++)
        if (constant(f, affine->in[1])[c] != 1)
            return false;
    return true;
}

/* Where a value is rounded to a whole number, the last bit before may decide: there a quotient stays one, no kernel takes
 * a scale, and only zero points are summed up, which is exact. */
static parry_status fold_line(struct fold *f, pr_node *line)
{
    int input = line_input(f->graph, line);
    const bool exact = f->grid && line->op != PR_OP_BATCH_NORM;
    if (input < 0 || (exact && line->op == PR_OP_DIV))
        return PARRY_OK;
    pr_value x = line->in[input];
    pr_node *before = node_before(f, x), *after = exact ? NULL : absorber_after(f, line);
    if (exact && before && (before->op != PR_OP_CHANNEL_AFFINE || !only_shifts(f, before)))
        before = NULL;
    bool back = before && can_absorb(f->graph, before);
    if (!back && before && before->op == PR_OP_CHANNEL_AFFINE && line_input(f->graph, before) == 0) {
        TRY(to_affine(f, line, x, before));
        x = line->in[0];
    }
    if (!back && !after)
        return line->op == PR_OP_CHANNEL_AFFINE ? PARRY_OK : to_affine(f, line, x, NULL);
    TRY(back ? fold_back(f, line, before) : fold_forward(f, line, f->graph->values[x].dims, after));
    line->op = PR_OP_IDENTITY;
    line->inputs = 1;
    line->in[0] = x;
    for (int i = 1; i < PR_NODE_IN; i++)
        line->in[i] = -1;
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
            TRY_TO(done, fold_line(&f, &f.graph->nodes[n]));
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
