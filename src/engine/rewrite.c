/* Changes to a graph before it is lowered. */
#include <string.h>

#include "engine/rewrite.h"

parry_status pr_rewrite_flatten(parry_ctx *ctx, const pr_graph *graph, pr_graph **out)
{
    TRY(pr_graph_clone(ctx, graph, out));
    for (size_t n = 0; n < (*out)->node_count; n++) {
        pr_node *node = &(*out)->nodes[n];
        const pr_node *flatten = pr_graph_producer(*out, node->in[0]);
        if (node->op != PR_OP_GEMM || !flatten || flatten->op != PR_OP_RESHAPE)
            continue;
        pr_value before = flatten->in[0];
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

/* ---- scale, shift and order of channels into the convolution behind them ---------------------------------------- */

struct fold {
    parry_ctx *ctx;
    const pr_graph *from;
    pr_graph *into;
    pr_weights *weights;
    pr_value *map; /* value of `from` -> value of `into` */
};

/* What a convolution reads, channel by channel: y[c] = x[takes[c]] * scale[c] + shift[c]. Whether anything is shifted
 * is told by the nodes, not by their numbers, which may change under a plan. */
struct mix {
    pr_value x;
    bool shifted;
    int64_t *takes;
    double *scale, *shift;
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

/* Numbers that a quantised network has rounded: their scale stays outside, so that sums are rounded as they are written. */
static bool is_rounded(const pr_graph *graph, pr_value x)
{
    const pr_node *node = pr_graph_producer(graph, x);
    return node && node->op == PR_OP_MAP && node->attrs.map.function == PR_MAP_QUANTIZE;
}

/* The node that made `x`, if `conv` can take it over and nothing else reads it: a ChannelAffine, or a Gather of as many
 * channels as there are, where these may all change places. NULL if it is none of them. */
static const pr_node *mixer_before(const pr_graph *graph, const pr_node *conv, pr_value x)
{
    const pr_node *node = pr_graph_producer(graph, x);
    if (!node || uses_of(graph, x) != 1)
        return NULL;
    for (int i = 1; i < node->inputs; i++) {
        if (!is_weight(graph, node->in[i]))
            return NULL;
    }
    if (node->op == PR_OP_CHANNEL_AFFINE)
        return is_rounded(graph, node->in[0]) ? NULL : node;
    bool orders = node->op == PR_OP_GATHER && node->attrs.gather.axis == 1 && conv->attrs.conv.group == 1;
    return orders && pr_dims_equal(graph->values[node->in[0]].dims, graph->values[x].dims) ? node : NULL;
}

/* Whether the node is a convolution with stored parameters, behind what it can take over. */
static bool can_fold(const pr_graph *graph, const pr_node *node)
{
    return node->op == PR_OP_CONV && is_weight(graph, node->in[1]) &&
           (node->inputs < 3 || is_weight(graph, node->in[2])) && mixer_before(graph, node, node->in[0]);
}

static const float *data_of(const struct fold *f, pr_value value)
{
    return f->weights->items[f->from->values[value].weight].data;
}

static void mix_release(struct mix *mix)
{
    pr_free(mix->takes);
    pr_free(mix->scale);
    pr_free(mix->shift);
}

static parry_status mix_make(const struct fold *f, const pr_node *conv, struct mix *mix)
{
    int64_t channels = f->from->values[conv->in[0]].dims.dim[1];
    const pr_node *node;
    TRY(pr_alloc(f->ctx, channels, &mix->takes));
    TRY(pr_alloc(f->ctx, channels, &mix->scale));
    TRY(pr_alloc(f->ctx, channels, &mix->shift));
    for (int64_t c = 0; c < channels; c++) {
        mix->takes[c] = c;
        mix->scale[c] = 1;
    }
    for (mix->x = conv->in[0]; (node = mixer_before(f->from, conv, mix->x)); mix->x = node->in[0]) {
        mix->shifted |= node->op == PR_OP_CHANNEL_AFFINE;
        for (int64_t c = 0; c < channels; c++) {
            int64_t *takes = &mix->takes[c];
            if (node->op == PR_OP_GATHER) {
                *takes = (int64_t)data_of(f, node->in[1])[*takes];
                continue;
            }
            mix->shift[c] += mix->scale[c] * data_of(f, node->in[2])[*takes];
            mix->scale[c] *= data_of(f, node->in[1])[*takes];
        }
    }
    return PARRY_OK;
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
static double tap_shift(const float *w, const double *shift, int64_t o, int64_t group_out, int64_t group_in,
                        int64_t taps, int64_t tap)
{
    double sum = 0;
    for (int64_t i = 0; i < group_in; i++)
        sum += (double)w[(o * group_in + i) * taps + tap] * shift[o / group_out * group_in + i];
    return sum;
}

/* map[o][y][x] = b[o] + the convolution of the shifts; h = w = 1 for one that does not pad. */
static void fill_map(const pr_node *node, const int64_t *kernel, const int64_t *image, const int64_t *size,
                     const float *w, const double *shift, const float *b, float *map)
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

/* The kernel `from` for the channels of mix->x, added to the zeros in `to`. */
static void mix_kernel(const pr_node *node, const int64_t *kernel, const struct mix *mix, const float *from, float *to)
{
    int64_t taps = kernel[2] * kernel[3], group_out = kernel[0] / node->attrs.conv.group;
    for (int64_t o = 0; o < kernel[0]; o++)
        for (int64_t i = 0; i < kernel[1]; i++) {
            int64_t first = o / group_out * kernel[1], c = first + i; /* of the group, this one */
            float *row = to + (o * kernel[1] + mix->takes[c] - first) * taps;
            for (int64_t tap = 0; tap < taps; tap++)
                row[tap] += (float)(from[(o * kernel[1] + i) * taps + tap] * mix->scale[c]);
        }
}

/* The bias with what the shifts add, one number for each channel or, where the convolution pads, for each place. */
static parry_status add_shift(struct fold *f, const pr_node *node, const struct mix *mix, pr_value *out)
{
    float *map;
    const int64_t *kernel = f->from->values[node->in[1]].dims.dim, *image = f->from->values[node->in[0]].dims.dim + 2;
    const int64_t *result = f->from->values[node->out[0]].dims.dim, one[2] = {1, 1};
    const float *b = node->inputs > 2 && node->in[2] >= 0 ? data_of(f, node->in[2]) : NULL;
    TRY(add_tensor(f, node, "shift", pads(node) ? 3 : 1, result + 1, out, &map));
    fill_map(node, kernel, image, pads(node) ? result + 2 : one, data_of(f, node->in[1]), mix->shift, b, map);
    return PARRY_OK;
}

static parry_status fold_mix(struct fold *f, const pr_node *node, const struct mix *mix)
{
    float *w;
    const int64_t *kernel = f->from->values[node->in[1]].dims.dim;
    bool bias = node->inputs > 2 && node->in[2] >= 0, spread = mix->shifted && pads(node);
    pr_value in[3] = {f->map[mix->x], -1, bias ? f->map[node->in[2]] : -1}, shift, *out = &f->map[node->out[0]];
    TRY(add_tensor(f, node, "mixed_weight", 4, kernel, &in[1], &w));
    mix_kernel(node, kernel, mix, data_of(f, node->in[1]), w);
    if (mix->shifted)
        TRY(add_shift(f, node, mix, spread ? &shift : &in[2]));
    TRY(pr_graph_node(f->ctx, f->into, PR_OP_CONV, node->name, &node->attrs, in, spread || in[2] < 0 ? 2 : 3, out));
    if (spread)
        TRY(pr_graph_node(f->ctx, f->into, PR_OP_ADD, node->name, NULL, (pr_value[]){*out, shift}, 2, out));
    return PARRY_OK;
}

static parry_status fold_conv(struct fold *f, const pr_node *node)
{
    struct mix mix = {0};
    parry_status status = mix_make(f, node, &mix);
    if (status == PARRY_OK)
        status = fold_mix(f, node, &mix);
    mix_release(&mix);
    return status;
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
        const pr_node *node = &from->nodes[n];
        TRY(can_fold(from, node) ? fold_conv(f, node) : copy_node(f, node));
    }
    f->into->input = f->map[from->input];
    f->into->logits = f->map[from->logits];
    return pr_graph_prune(f->ctx, f->into, NULL, 0);
}

parry_status pr_rewrite_channels(parry_ctx *ctx, const pr_graph *graph, pr_weights *weights, pr_graph **out)
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
