/* Fitting a declared input to the images of a dataset.
 *
 * Files declare their input as N x C x H x W, as N x H x W x C, without a channel axis or flat, and in other ranges
 * than [0,1]. Nodes in front of the declared graph take care of that, so that everybody else sees N x C x H x W in
 * [0,1], and perturbations are measured there.
 *
 * The metadata key "parry.preprocess" holds a JSON object, every key optional:
 *   range   [lo, hi] or hi alone: what pixels 0 and 1 become first (default [0, 1])
 *   mean    number or one per channel, in those units, subtracted next
 *   std     number or one per channel, divided by last
 *   layout  "NCHW" or "NHWC": the order of the declared input's axes, where the shape alone does not tell */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "model/network.h"

enum { CHANNELS_MAX = 64, SIDE_MAX = 1 << 15 };

typedef enum layout { LAYOUT_UNSTATED, LAYOUT_NCHW, LAYOUT_NHWC } layout;

typedef struct preprocess {
    const char *name; /* of the model, for errors */
    layout layout;
    json_t *mean, *std; /* borrowed, may be NULL */
    double low, high;
} preprocess;

/* How the image gets its declared shape. */
typedef struct fitting {
    int64_t image[3];        /* C, H, W */
    bool transpose, reshape; /* to N x H x W x C; to the declared shape */
} fitting;

static const char preprocess_key[] = "parry.preprocess";

static parry_status bad_preprocess(parry_ctx *ctx, const char *name, const char *what)
{
    return pr_fail(ctx, PARRY_FORMAT, "%s: metadata \"%s\": %s", name, preprocess_key, what);
}

/* ---- reading the metadata ------------------------------------------------------------------------------------ */

static parry_status read_range(parry_ctx *ctx, const json_t *range, preprocess *pre)
{
    pre->low = 0;
    pre->high = 1;
    if (json_is_number(range)) {
        pre->high = json_number_value(range);
    } else if (json_array_size(range) == 2) {
        pre->low = json_number_value(json_array_get(range, 0));
        pre->high = json_number_value(json_array_get(range, 1));
    } else if (range) {
        return bad_preprocess(ctx, pre->name, "\"range\" must be a number or two");
    }
    if (!(pre->low < pre->high))
        return bad_preprocess(ctx, pre->name, "\"range\" is empty");
    return PARRY_OK;
}

static parry_status read_layout(parry_ctx *ctx, const json_t *value, preprocess *pre)
{
    if (!value)
        return PARRY_OK;
    const char *text = json_is_string(value) ? json_string_value(value) : "";
    pre->layout = strcmp(text, "NCHW") == 0 ? LAYOUT_NCHW : strcmp(text, "NHWC") == 0 ? LAYOUT_NHWC : LAYOUT_UNSTATED;
    if (pre->layout == LAYOUT_UNSTATED)
        return bad_preprocess(ctx, pre->name, "\"layout\" must be \"NCHW\" or \"NHWC\"");
    return PARRY_OK;
}

static parry_status read_preprocess(parry_ctx *ctx, const json_t *object, preprocess *pre)
{
    static const char *const known[] = {"range", "mean", "std", "layout"};
    const char *key;
    json_t *value;
    if (object && !json_is_object(object))
        return bad_preprocess(ctx, pre->name, "expected an object");
    json_object_foreach((json_t *)object, key, value)
    {
        bool found = false;
        for (size_t i = 0; i < PR_COUNT(known); i++)
            found |= strcmp(key, known[i]) == 0;
        if (!found) /* ignoring what we do not understand would attack another model than the file's */
            return pr_fail(ctx, PARRY_FORMAT, "%s: metadata \"%s\": unknown key \"%s\"", pre->name, preprocess_key,
                           key);
    }
    pre->mean = json_object_get(object, "mean");
    pre->std = json_object_get(object, "std");
    TRY(read_range(ctx, json_object_get(object, "range"), pre));
    return read_layout(ctx, json_object_get(object, "layout"), pre);
}

/* Channel c of a number, an array of one or an array of all channels; `missing` when there is none. */
static parry_status channel_value(parry_ctx *ctx, const preprocess *pre, const json_t *value, double missing, int64_t c,
                                  int64_t channels, double *out)
{
    *out = missing;
    if (!value)
        return PARRY_OK;
    size_t count = json_array_size(value);
    if (json_is_array(value) && count != 1 && count != (size_t)channels)
        return pr_fail(ctx, PARRY_FORMAT, "%s: metadata \"%s\": %zu means or deviations for %lld channels", pre->name,
                       preprocess_key, count, (long long)channels);
    const json_t *item = json_is_array(value) ? json_array_get(value, count == 1 ? 0 : (size_t)c) : value;
    if (!json_is_number(item))
        return bad_preprocess(ctx, pre->name, "\"mean\" and \"std\" must be numbers");
    *out = json_number_value(item);
    return PARRY_OK;
}

/* y = x * scale + shift is all of range, mean and std; *needed says whether it does anything. */
static parry_status affine_of(parry_ctx *ctx, const preprocess *pre, int64_t channels, float *scale, float *shift,
                              bool *needed)
{
    *needed = false;
    if (channels > CHANNELS_MAX)
        return pr_fail(ctx, PARRY_UNSUPPORTED, "%s: %lld image channels; at most %d are supported", pre->name,
                       (long long)channels, CHANNELS_MAX);
    for (int64_t c = 0; c < channels; c++) {
        double mean, std;
        TRY(channel_value(ctx, pre, pre->mean, 0, c, channels, &mean));
        TRY(channel_value(ctx, pre, pre->std, 1, c, channels, &std));
        if (!(std > 0))
            return bad_preprocess(ctx, pre->name, "\"std\" must be positive");
        scale[c] = (float)((pre->high - pre->low) / std);
        shift[c] = (float)((pre->low - mean) / std);
        *needed |= scale[c] != 1 || shift[c] != 0;
    }
    return PARRY_OK;
}

/* ---- shapes -------------------------------------------------------------------------------------------------------
 */

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
static bool guess_image(const int64_t *d, int rank, layout *stated, int64_t image[3])
{
    if (rank == 2 && d[0] > 1 && d[1] > 1 && d[0] <= SIDE_MAX && d[1] <= SIDE_MAX) {
        memcpy(image, (int64_t[]){1, d[0], d[1]}, 3 * sizeof *image);
        return true;
    }
    if (rank != 3 || d[0] > SIDE_MAX || d[1] > SIDE_MAX || d[2] > SIDE_MAX)
        return false;
    bool channels_last = (d[2] == 1 || d[2] == 3) && d[0] != 1 && d[0] != 3;
    if (*stated == LAYOUT_UNSTATED)
        *stated = channels_last ? LAYOUT_NHWC : LAYOUT_NCHW;
    if (*stated == LAYOUT_NHWC)
        memcpy(image, (int64_t[]){d[2], d[0], d[1]}, 3 * sizeof *image);
    else
        memcpy(image, d, 3 * sizeof *image);
    return true;
}

static parry_status choose(parry_ctx *ctx, const preprocess *pre, const int64_t *d, int rank,
                           const parry_dataset_info *fit, fitting *out)
{
    int64_t *image = out->image, squeezed[PR_RANK_MAX], plane[2];
    layout stated = pre->layout;
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
    if (stated == LAYOUT_UNSTATED && ((first && last) || flat))
        return does_not_fit(
            ctx, pre->name, d, rank, fit, image,
            ", and the order of its axes cannot be told: state \"layout\" in its \"parry.preprocess\" metadata");
    if (!flat && !(first && stated != LAYOUT_NHWC) && !(last && stated != LAYOUT_NCHW))
        return does_not_fit(ctx, pre->name, d, rank, fit, image, "");
    out->transpose = flat ? stated == LAYOUT_NHWC : !(first && stated != LAYOUT_NHWC);
    out->reshape = flat;
    return PARRY_OK;
}

/* ---- building ------------------------------------------------------------------------------------------------------
 */

static parry_status add_constant(parry_ctx *ctx, pr_graph *graph, pr_weights *weights, const char *name,
                                 const float *values, int64_t count, pr_value *out)
{
    int32_t index;
    TRY(pr_weights_add(ctx, weights, name, PR_WEIGHT_CONSTANT, 1, &count, &index));
    memcpy(weights->items[index].data, values, (size_t)count * sizeof *values);
    pr_weights_changed(weights);
    return pr_graph_weight(ctx, graph, weights, index, out);
}

static parry_status add_affine(parry_ctx *ctx, const preprocess *pre, int64_t channels, pr_graph *graph,
                               pr_weights *weights, pr_value *at)
{
    float scale[CHANNELS_MAX], shift[CHANNELS_MAX];
    bool needed;
    TRY(affine_of(ctx, pre, channels, scale, shift, &needed));
    if (!needed)
        return PARRY_OK;
    pr_value in[3] = {*at};
    TRY(add_constant(ctx, graph, weights, "parry.preprocess.scale", scale, channels, &in[1]));
    TRY(add_constant(ctx, graph, weights, "parry.preprocess.shift", shift, channels, &in[2]));
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

static parry_status build(parry_ctx *ctx, const preprocess *pre, pr_onnx_model *file, const fitting *how, pr_value *map,
                          pr_graph *graph)
{
    pr_dims declared = file->graph->values[file->graph->input].dims;
    pr_value at;
    TRY(pr_graph_input(ctx, graph, "image",
                       pr_dims_make(4, (int64_t[]){PR_BATCH, how->image[0], how->image[1], how->image[2]}), &at));
    graph->input = at;
    TRY(add_affine(ctx, pre, how->image[0], graph, file->weights, &at));
    TRY(add_shape_nodes(ctx, how, declared, graph, &at));
    return append(ctx, file->graph, file->weights, at, map, graph);
}

static parry_status fit_with(parry_ctx *ctx, const preprocess *pre, pr_onnx_model *file, const parry_dataset_info *fit,
                             int image[3], pr_graph **out)
{
    const pr_dims *declared = &file->graph->values[file->graph->input].dims;
    fitting how = {0};
    TRY(choose(ctx, pre, declared->dim + 1, declared->rank - 1, fit, &how));
    for (int i = 0; i < 3; i++)
        image[i] = (int)how.image[i];

    pr_value *map;
    *out = NULL;
    TRY(pr_alloc(ctx, file->graph->value_count, &map));
    parry_status status = pr_graph_create(ctx, out);
    if (status == PARRY_OK)
        status = build(ctx, pre, file, &how, map, *out);
    if (status != PARRY_OK) {
        pr_graph_free(*out);
        *out = NULL;
    }
    pr_free(map);
    return status;
}

parry_status pr_fit(parry_ctx *ctx, const char *name, pr_onnx_model *file, const parry_dataset_info *fit, int image[3],
                    pr_graph **out)
{
    const char *text = pr_onnx_meta_get(file, preprocess_key);
    json_t *object = NULL;
    preprocess pre = {.name = name};
    if (text)
        TRY(pr_json_parse(ctx, name, text, &object));
    parry_status status = read_preprocess(ctx, object, &pre);
    if (status == PARRY_OK)
        status = fit_with(ctx, &pre, file, fit, image, out);
    json_decref(object);
    return status;
}
