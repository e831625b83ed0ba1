/* Changes to a graph before it is lowered. */
#include <string.h>

#include "engine/rewrite.h"

parry_status pr_rewrite_flatten(parry_ctx *ctx, const pr_graph *graph, pr_graph **out)
{
    TRY(pr_graph_clone(ctx, graph, out));
    for (size_t n = 0; n < (*out)->node_count; n++) {
        pr_node *node = &(*out)->nodes[n];
        const pr_value_info *x = &(*out)->values[node->in[0]];
        if (node->op != PR_OP_GEMM || x->kind != PR_VALUE_NODE || (*out)->nodes[x->producer].op != PR_OP_RESHAPE)
            continue;
        pr_value before = (*out)->nodes[x->producer].in[0];
        if ((*out)->values[before].dims.rank >= 2 && (*out)->values[before].dims.dim[0] == PR_BATCH)
            node->in[0] = before;
    }
    parry_status status = pr_graph_prune(ctx, *out, NULL, 0);
    if (status != PARRY_OK) {
        pr_graph_free(*out);
        *out = NULL;
    }
    return status;
}

/* ---- ChannelAffine into the convolution behind it -------------------------------------------------------------- */

struct fold {
    parry_ctx *ctx;
    const pr_graph *from;
    pr_graph *into;
    pr_weights *weights;
    pr_value *map; /* value of `from` -> value of `into` */
};

static bool is_weight(const pr_graph *graph, pr_value value)
{
    return value < 0 || graph->values[value].kind == PR_VALUE_WEIGHT;
}

static int uses_of(const pr_graph *graph, pr_value value)
{
    int uses = graph->logits == value;
    for (size_t n = 0; n < graph->node_count; n++) {
        for (int i = 0; i < graph->nodes[n].inputs; i++)
            uses += graph->nodes[n].in[i] == value;
    }
    return uses;
}

/* The ChannelAffine that `node`, a convolution with stored parameters, can take over; NULL if there is none. */
static const pr_node *affine_before(const pr_graph *graph, const pr_node *node)
{
    const pr_value_info *x = &graph->values[node->in[0]];
    if (node->op != PR_OP_CONV || !is_weight(graph, node->in[1]) ||
        (node->inputs > 2 && !is_weight(graph, node->in[2])) || x->kind != PR_VALUE_NODE ||
        uses_of(graph, node->in[0]) != 1)
        return NULL;
    const pr_node *affine = &graph->nodes[x->producer];
    bool stored =
        affine->op == PR_OP_CHANNEL_AFFINE && is_weight(graph, affine->in[1]) && is_weight(graph, affine->in[2]);
    return stored ? affine : NULL;
}

static const float *data_of(const struct fold *f, pr_value value)
{
    return f->weights->items[f->from->values[value].weight].data;
}

static parry_status add_tensor(struct fold *f, const pr_node *node, const char *what, int rank, const int64_t *dim,
                               pr_value *value, float **data)
{
    char *name;
    int32_t index;
    TRY(pr_asprintf(f->ctx, &name, "%s.%s", node->name, what));
    parry_status status = pr_weights_add(f->ctx, f->weights, name, PR_WEIGHT_CONSTANT, rank, dim, &index);
    pr_free(name);
    TRY(status);
    *data = f->weights->items[index].data;
    return pr_graph_weight(f->ctx, f->into, f->weights, index, value);
}

static bool pads(const pr_node *node)
{
    const int *pad = node->attrs.conv.pad;
    return pad[0] || pad[1] || pad[2] || pad[3];
}

/* What one tap of output channel o adds for the shift alone. */
static double tap_shift(const float *w, const float *shift, int64_t o, int64_t group_out, int64_t group_in,
                        int64_t taps, int64_t tap)
{
    double sum = 0;
    for (int64_t i = 0; i < group_in; i++)
        sum += (double)w[(o * group_in + i) * taps + tap] * shift[o / group_out * group_in + i];
    return sum;
}

/* map[o][y][x] = b[o] + the convolution of the shifts; h = w = 1 for one that does not pad. */
static void fill_map(const pr_node *node, const int64_t *kernel, const int64_t *image, const int64_t *size,
                     const float *w, const float *shift, const float *b, float *map)
{
    const int *stride = node->attrs.conv.stride, *dilation = node->attrs.conv.dilation, *pad = node->attrs.conv.pad;
    int64_t taps = kernel[2] * kernel[3], group_out = kernel[0] / node->attrs.conv.group;
    for (int64_t o = 0; o < kernel[0]; o++) {
        float *plane = map + o * size[0] * size[1];
        for (int64_t e = 0; e < size[0] * size[1]; e++)
            plane[e] = b ? b[o] : 0;
        for (int64_t tap = 0; tap < taps; tap++) {
            float add = (float)tap_shift(w, shift, o, group_out, kernel[1], taps, tap);
            for (int64_t e = 0; e < size[0] * size[1]; e++) {
                int64_t i = e / size[1] * stride[0] - pad[0] + tap / kernel[3] * dilation[0];
                int64_t j = e % size[1] * stride[1] - pad[1] + tap % kernel[3] * dilation[1];
                plane[e] += i >= 0 && i < image[0] && j >= 0 && j < image[1] ? add : 0;
            }
        }
    }
}

static parry_status fold_conv(struct fold *f, const pr_node *node, const pr_node *affine)
{
    float *w, *map;
    pr_value in[3] = {f->map[affine->in[0]]}, moved, y;
    const int64_t *kernel = f->from->values[node->in[1]].dims.dim, *image = f->from->values[node->in[0]].dims.dim + 2;
    const int64_t *result = f->from->values[node->out[0]].dims.dim, one[2] = {1, 1};
    const float *b = node->inputs > 2 && node->in[2] >= 0 ? data_of(f, node->in[2]) : NULL;
    int64_t row = kernel[1] * kernel[2] * kernel[3], taps = kernel[2] * kernel[3],
            group_out = kernel[0] / node->attrs.conv.group;
    TRY(add_tensor(f, node, "scaled_weight", 4, kernel, &in[1], &w));
    TRY(add_tensor(f, node, "shift", pads(node) ? 3 : 1, result + 1, &moved, &map));
    const float *from = data_of(f, node->in[1]), *scale = data_of(f, affine->in[1]);
    for (int64_t e = 0; e < kernel[0] * row; e++)
        w[e] = from[e] * scale[e / row / group_out * kernel[1] + e % row / taps];
    fill_map(node, kernel, image, pads(node) ? result + 2 : one, from, data_of(f, affine->in[2]), b, map);
    in[2] = moved;
    TRY(pr_graph_node(f->ctx, f->into, PR_OP_CONV, node->name, &node->attrs, in, pads(node) ? 2 : 3, &y));
    if (pads(node))
        TRY(pr_graph_node(f->ctx, f->into, PR_OP_ADD, node->name, NULL, (pr_value[]){y, moved}, 2, &y));
    f->map[node->out[0]] = y;
    return PARRY_OK;
}

static parry_status copy_node(struct fold *f, const pr_node *node)
{
    pr_value in[PR_NODE_IN], out[PR_NODE_OUT];
    for (int i = 0; i < node->inputs; i++)
        in[i] = node->in[i] < 0 ? -1 : f->map[node->in[i]];
    TRY(pr_graph_node_outputs(f->ctx, f->into, node->op, node->name, &node->attrs, in, node->inputs, node->outputs,
                              out));
    for (int o = 0; o < node->outputs; o++)
        f->map[node->out[o]] = out[o];
    return PARRY_OK;
}

static parry_status rebuild(struct fold *f)
{
    const pr_graph *from = f->from;
    for (size_t v = 0; v < from->value_count; v++) {
        const pr_value_info *value = &from->values[v];
        if (value->kind == PR_VALUE_WEIGHT)
            TRY(pr_graph_weight(f->ctx, f->into, f->weights, value->weight, &f->map[v]));
        else if (value->kind == PR_VALUE_INPUT)
            TRY(pr_graph_input(f->ctx, f->into, value->name, value->dims, &f->map[v]));
    }
    for (size_t n = 0; n < from->node_count; n++) {
        const pr_node *affine = affine_before(from, &from->nodes[n]);
        TRY(affine ? fold_conv(f, &from->nodes[n], affine) : copy_node(f, &from->nodes[n]));
    }
    f->into->input = f->map[from->input];
    f->into->logits = f->map[from->logits];
    return pr_graph_prune(f->ctx, f->into, NULL, 0);
}

parry_status pr_rewrite_affine(parry_ctx *ctx, const pr_graph *graph, pr_weights *weights, pr_graph **out)
{
    struct fold f = {.ctx = ctx, .from = graph, .weights = weights};
    *out = NULL;
    TRY(pr_alloc(ctx, graph->value_count, &f.map));
    parry_status status = pr_graph_create(ctx, &f.into);
    if (status == PARRY_OK)
        status = rebuild(&f);
    pr_free(f.map);
    if (status != PARRY_OK)
        pr_graph_free(f.into);
    else
        *out = f.into;
    return status;
}
