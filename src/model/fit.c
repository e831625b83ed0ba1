/* Fitting a declared input to the images of a dataset.
 *
 * Files declare their input as N x C x H x W, as N x H x W x C, without a channel axis or flat, and in other ranges
 * than [0,1]. Nodes in front of the declared graph take care of that, so that everybody else sees N x C x H x W in
 * [0,1], and perturbations are measured there. */
#include <stdio.h>
#include <string.h>

#include "model/network.h"

/* What was declared of a model. */
typedef struct declaration {
    const char *name;
    parry_layout layout;
    const pr_affine *affine; /* known once the channels are */
} declaration;

/* How the image gets its declared shape. */
typedef struct fitting {
    int64_t image[3];        /* C, H, W */
    bool transpose, reshape; /* to N x H x W x C; to the declared shape */
} fitting;

/* ---- shapes ----------------------------------------------------------------------------------------------------- */

static void dims_text(const int64_t *dim, int count, char *text, size_t size)
{
    int length = snprintf(text, size, "N");
    for (int i = 0; i < count && (size_t)length < size; i++)
        length += snprintf(text + length, size - (size_t)length, " x %lld", (long long)dim[i]);
}

static parry_status does_not_fit(parry_ctx *ctx, const char *name, const int64_t *declared, int rank,
                                 const parry_dataset_info *fit, const int64_t image[3], const char *because)
{
    char theirs[128], ours[64];
    dims_text(declared, rank, theirs, sizeof theirs);
    if (!fit)
        return pr_fail(ctx, PARRY_MISMATCH,
                       "%s takes %s: this does not say what images it takes; name a dataset to fit it to", name,
                       theirs);
    dims_text(image, 3, ours, sizeof ours);
    return pr_fail(ctx, PARRY_MISMATCH, "%s takes %s, but the images of %s are %s%s", name, theirs, fit->name, ours,
                   because);
}

/* dims without those that are 1; returns how many are left. */
static int squeeze(const int64_t *dim, int count, int64_t *out)
{
    int left = 0;
    for (int i = 0; i < count; i++)
        if (dim[i] != 1)
            out[left++] = dim[i];
    return left;
}

static bool same(const int64_t *a, int a_count, const int64_t *b, int b_count)
{
    return a_count == b_count && memcmp(a, b, (size_t)a_count * sizeof *a) == 0;
}

/* C, H, W from the declared shape alone. */
static bool guess_image(const int64_t *d, int rank, parry_layout *stated, int64_t image[3])
{
    if (rank == 2 && d[0] > 1 && d[1] > 1 && d[0] <= PR_SIDE_MAX && d[1] <= PR_SIDE_MAX) {
        memcpy(image, (int64_t[]){1, d[0], d[1]}, 3 * sizeof *image);
        return true;
    }
    if (rank != 3 || d[0] > PR_SIDE_MAX || d[1] > PR_SIDE_MAX || d[2] > PR_SIDE_MAX)
        return false;
    bool channels_last = (d[2] == 1 || d[2] == 3) && d[0] != 1 && d[0] != 3;
    if (*stated == PARRY_LAYOUT_UNSTATED)
        *stated = channels_last ? PARRY_LAYOUT_NHWC : PARRY_LAYOUT_NCHW;
    if (*stated == PARRY_LAYOUT_NHWC)
        memcpy(image, (int64_t[]){d[2], d[0], d[1]}, 3 * sizeof *image);
    else
        memcpy(image, d, 3 * sizeof *image);
    return true;
}

void pr_fit_sizes(const parry_preprocess *declared, const parry_dataset_info *fit, pr_dims *dims)
{
    const int64_t channels = fit ? fit->channels : 0, last = dims->dim[3];
    const int64_t height = declared->input_size.height ? declared->input_size.height : fit ? fit->height : 0;
    const int64_t width = declared->input_size.width ? declared->input_size.width : fit ? fit->width : 0;
    const bool nhwc =
        declared->layout ? declared->layout == PARRY_LAYOUT_NHWC : dims->dim[1] == 0 && (last == 1 || last == 3);
    const pr_dims by_rank[] = {
        [2] = {2, {0, channels * height * width}},
        [3] = {3, {0, height, width}},
        [4] = nhwc ? (pr_dims){4, {0, height, width, channels}} : (pr_dims){4, {0, channels, height, width}},
    };
    for (int d = 1; d < dims->rank && (size_t)dims->rank < PR_COUNT(by_rank); d++)
        dims->dim[d] = dims->dim[d] ? dims->dim[d] : by_rank[dims->rank].dim[d];
}

static parry_status choose(parry_ctx *ctx, const declaration *pre, const int64_t *d, int rank,
                           const parry_dataset_info *fit, fitting *out)
{
    int64_t *image = out->image, squeezed[PR_RANK_MAX], plane[2];
    parry_layout stated = pre->layout;
    if (fit)
        memcpy(image, (int64_t[]){fit->channels, fit->height, fit->width}, sizeof out->image);
    else if (!guess_image(d, rank, &stated, image))
        return does_not_fit(ctx, pre->name, d, rank, fit, NULL, "");

    const int64_t pixels = image[0] * image[1] * image[2], channels_last[3] = {image[1], image[2], image[0]};
    int left = squeeze(d, rank, squeezed), plane_left = squeeze(image + 1, 2, plane);
    bool flat = same(squeezed, left, &pixels, 1);
    if (image[0] == 1 && (flat || same(squeezed, left, plane, plane_left))) {
        out->reshape = !same(d, rank, image, 3); /* one channel: every layout is the same bytes */
        return PARRY_OK;
    }
    bool first = same(d, rank, image, 3), last = same(d, rank, channels_last, 3);
    if (stated == PARRY_LAYOUT_UNSTATED && ((first && last) || flat))
        return does_not_fit(ctx, pre->name, d, rank, fit, image,
                            ", and the order of its axes cannot be told: say it with --layout nchw or nhwc");
    if (!flat && !(first && stated != PARRY_LAYOUT_NHWC) && !(last && stated != PARRY_LAYOUT_NCHW))
        return does_not_fit(ctx, pre->name, d, rank, fit, image, "");
    out->transpose = flat ? stated == PARRY_LAYOUT_NHWC : !(first && stated != PARRY_LAYOUT_NHWC);
    out->reshape = flat;
    return PARRY_OK;
}

/* ---- building --------------------------------------------------------------------------------------------------- */

static parry_status add_constant(parry_ctx *ctx, pr_graph *graph, pr_weights *weights, const char *name,
                                 pr_weight_role role, const float *values, int64_t count, pr_value *out)
{
    int32_t index;
    TRY(pr_weights_add(ctx, weights, name, role, 1, &count, &index));
    memcpy(weights->items[index].data, values, (size_t)count * sizeof *values);
    pr_weights_changed(weights);
    return pr_graph_weight(ctx, graph, weights, index, out);
}

/* The network's channel order, then the affine map of its channels, each where it does something. */
static parry_status add_affine(parry_ctx *ctx, const pr_affine *affine, pr_graph *graph, pr_weights *weights,
                               pr_value *at)
{
    float scale[PR_PREPROCESS_CHANNELS], shift[PR_PREPROCESS_CHANNELS], index[PR_PREPROCESS_CHANNELS];
    bool needed = false;
    for (int c = 0; c < affine->channels; c++) {
        scale[c] = (float)affine->scale[c];
        shift[c] = (float)affine->shift[c];
        index[c] = (float)(affine->channels - 1 - c);
        needed |= scale[c] != 1 || shift[c] != 0;
    }
    if (affine->reversed) {
        pr_value in[2] = {*at};
        const pr_attrs attrs = {.gather = {.axis = 1, .size = affine->channels}};
        TRY(add_constant(ctx, graph, weights, "parry.preprocess.order", PR_WEIGHT_INDEX, index, affine->channels,
                         &in[1]));
        TRY(pr_graph_node(ctx, graph, PR_OP_GATHER, "parry.order", &attrs, in, 2, at));
    }
    if (!needed)
        return PARRY_OK;
    pr_value in[3] = {*at};
    TRY(add_constant(ctx, graph, weights, "parry.preprocess.scale", PR_WEIGHT_CONSTANT, scale, affine->channels,
                     &in[1]));
    TRY(add_constant(ctx, graph, weights, "parry.preprocess.shift", PR_WEIGHT_CONSTANT, shift, affine->channels,
                     &in[2]));
    return pr_graph_node(ctx, graph, PR_OP_CHANNEL_AFFINE, "parry.preprocess", NULL, in, 3, at);
}

static parry_status add_shape_nodes(parry_ctx *ctx, const fitting *how, pr_dims declared, pr_graph *graph, pr_value *at)
{
    if (how->transpose) {
        pr_attrs attrs = {.perm.perm = {0, 2, 3, 1}};
        TRY(pr_graph_node(ctx, graph, PR_OP_TRANSPOSE, "parry.layout", &attrs, at, 1, at));
    }
    if (how->reshape) {
        pr_attrs attrs = {.shape.to = declared};
        TRY(pr_graph_node(ctx, graph, PR_OP_RESHAPE, "parry.shape", &attrs, at, 1, at));
    }
    return PARRY_OK;
}

/* Appends the nodes of `from` to `to`, reading `input` instead of from's own input. map: one entry per value of `from`.
 */
static parry_status append(parry_ctx *ctx, const pr_graph *from, const pr_weights *weights, pr_value input,
                           pr_value *map, pr_graph *to)
{
    for (size_t v = 0; v < from->value_count; v++)
        if (from->values[v].kind == PR_VALUE_WEIGHT)
            TRY(pr_graph_weight(ctx, to, weights, from->values[v].weight, &map[v]));
    map[from->input] = input;
    for (size_t i = 0; i < from->node_count; i++) {
        const pr_node *node = &from->nodes[i];
        pr_value in[PR_NODE_IN], out[PR_NODE_OUT];
        for (int k = 0; k < node->inputs; k++)
            in[k] = node->in[k] < 0 ? -1 : map[node->in[k]];
        TRY(pr_graph_node(ctx, to, node->op, node->name, &node->attrs, in, node->inputs, out));
        for (int k = 0; k < node->outputs; k++)
            map[node->out[k]] = out[k];
    }
    to->logits = map[from->logits];
    return PARRY_OK;
}

static parry_status build(parry_ctx *ctx, const declaration *pre, pr_onnx_model *file, const fitting *how,
                          pr_value *map, pr_graph *graph)
{
    pr_dims declared = file->graph->values[file->graph->input].dims;
    pr_value at;
    TRY(pr_graph_input(ctx, graph, "image",
                       pr_dims_make(4, (int64_t[]){PR_BATCH, how->image[0], how->image[1], how->image[2]}), &at));
    graph->input = at;
    TRY(add_affine(ctx, pre->affine, graph, file->weights, &at));
    TRY(add_shape_nodes(ctx, how, declared, graph, &at));
    return append(ctx, file->graph, file->weights, at, map, graph);
}

parry_status pr_fit(parry_ctx *ctx, const pr_fit_request *request, int image[3], pr_affine *affine, pr_graph **out)
{
    pr_onnx_model *file = request->file;
    const declaration pre = {request->name, (parry_layout)request->preprocess->layout, affine};
    const pr_dims *dims = &file->graph->values[file->graph->input].dims;
    fitting how = {0};
    *out = NULL;
    TRY(choose(ctx, &pre, dims->dim + 1, dims->rank - 1, request->fit, &how));
    TRY(pr_preprocess_affine(ctx, request->where, request->preprocess, how.image[0], affine));
    for (int i = 0; i < 3; i++)
        image[i] = (int)how.image[i];

    pr_value *map;
    TRY(pr_alloc(ctx, file->graph->value_count, &map));
    parry_status status = pr_graph_create(ctx, out);
    if (status == PARRY_OK)
        status = build(ctx, &pre, file, &how, map, *out);
    if (status != PARRY_OK) {
        pr_graph_free(*out);
        *out = NULL;
    }
    pr_free(map);
    return status;
}
