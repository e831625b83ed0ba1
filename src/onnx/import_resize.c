/* Resize and Upsample, axis by axis, and the two operators that trade channels for pixels.
 *
 * Resizing along an axis is a sparse matrix: output k is a sum of few inputs, each with a weight. It becomes GATHER for
 * each of these taps, times the weights, added up; the nearest neighbour is one GATHER. Coordinates are computed in
 * float, as other runtimes do, so that ties fall alike. */
#include <math.h>
#include <string.h>

#include "onnx/import.h"

enum { TAPS_MAX = 64, RESIZED_MAX = 1 << 24 };

typedef enum method { NEAREST, LINEAR, CUBIC } method;

/* ---- coordinates ------------------------------------------------------------------------------------------------ */

/* One axis: sizes, and how many outputs there are to an input. */
typedef struct axis_scale {
    int64_t in, out;
    float scale;
} axis_scale;

typedef float (*coordinate)(const axis_scale *a, float k);

static float half_pixel(const axis_scale *a, float k)
{
    return (k + 0.5f) / a->scale - 0.5f;
}

static float pytorch_half_pixel(const axis_scale *a, float k)
{
    return a->out > 1 ? half_pixel(a, k) : 0;
}

static float tf_half_pixel_for_nn(const axis_scale *a, float k)
{
    return (k + 0.5f) / a->scale;
}

static float half_pixel_symmetric(const axis_scale *a, float k)
{
    const float adjustment = (float)a->out / (a->scale * (float)a->in), centre = (float)a->in / 2;
    return centre * (1 - adjustment) + half_pixel(a, k);
}

static float asymmetric(const axis_scale *a, float k)
{
    return k / a->scale;
}

static float align_corners(const axis_scale *a, float k)
{
    return a->out == 1 ? 0 : k * (float)(a->in - 1) / (float)(a->out - 1);
}

static const struct {
    const char *name;
    coordinate of;
} coordinates[] = {
    {"half_pixel", half_pixel},
    {"asymmetric", asymmetric},
    {"align_corners", align_corners},
    {"pytorch_half_pixel", pytorch_half_pixel},
    {"tf_half_pixel_for_nn", tf_half_pixel_for_nn},
    {"half_pixel_symmetric", half_pixel_symmetric},
};

static float prefer_floor(float at)
{
    return ceilf(at - 0.5f);
}

static float prefer_ceil(float at)
{
    return floorf(at + 0.5f);
}

/* Upsample, and Resize before it had modes: down to the pixel below, but up when the image shrinks. */
static float shrink_up(float at)
{
    return ceilf(at);
}

static const struct {
    const char *name;
    float (*of)(float at);
} roundings[] = {
    {"round_prefer_floor", prefer_floor},
    {"round_prefer_ceil", prefer_ceil},
    {"floor", floorf},
    {"ceil", ceilf},
};

/* ---- taps ------------------------------------------------------------------------------------------------------- */

typedef struct resize {
    method method;
    coordinate at;
    float (*round)(float at);
    bool old, exclude_outside, antialias;
    float cubic;
} resize;

/* The cubic convolution kernel with parameter a (Keys, "Cubic convolution interpolation for digital image processing",
 * 1981), at distance t. */
static float keys(float t, float a)
{
    t = fabsf(t);
    if (t <= 1)
        return ((a + 2) * t - (a + 3)) * t * t + 1;
    return t < 2 ? ((a * t - 5 * a) * t + 8 * a) * t - 4 * a : 0;
}

static int64_t clamp(int64_t at, int64_t size)
{
    return PR_MIN(PR_MAX(at, 0), size - 1);
}

/* Inputs on each side of where linear interpolation reads: 1, and with antialiasing as far as the triangle goes that is
 * as wide as one output. */
static float reach(const resize *r, const axis_scale *a)
{
    return r->antialias && a->scale < 1 ? 1 / a->scale : 1;
}

static int taps_of(const resize *r, const axis_scale *a)
{
    return r->method == NEAREST ? 1 : r->method == CUBIC ? 4 : 2 * (int)fminf(ceilf(reach(r, a)), TAPS_MAX);
}

/* The inputs that output k is made of, and their weights. */
static void find_taps(const resize *r, const axis_scale *a, int64_t k, int64_t *index, float *weight)
{
    const float wide = reach(r, a);
    float at = r->at(a, (float)k), sum = 0;
    if (r->method == NEAREST) {
        at = r->old && a->scale < 1 ? shrink_up(at) : r->round(at);
        index[0] = clamp((int64_t)at, a->in);
        weight[0] = 1;
        return;
    }
    if (r->method == LINEAR && wide <= 1)
        at = fminf(fmaxf(at, 0), (float)(a->in - 1));
    const int taps = taps_of(r, a);
    const int64_t below = (int64_t)floorf(at), first = below - taps / 2 + 1;
    const float rest = at - (float)below;
    for (int t = 0; t < taps; t++) {
        const int64_t from = first + t;
        const bool outside = from < 0 || from >= a->in;
        const float away = rest - (float)(t - taps / 2 + 1);
        weight[t] = r->method == CUBIC ? keys(away, r->cubic)
                    : wide > 1         ? fmaxf(1 - fabsf(away) / wide, 0)
                    : t                ? rest
                                       : 1 - rest;
        weight[t] = outside && r->exclude_outside ? 0 : weight[t];
        index[t] = clamp(from, a->in);
        sum += weight[t];
    }
    for (int t = 0; (r->exclude_outside || wide > 1) && sum != 0 && t < taps; t++)
        weight[t] /= sum;
}

/* ---- one axis --------------------------------------------------------------------------------------------------- */

/* y = sum over taps of GATHER(x, index) * weight */
static parry_status weigh_taps(importer *imp, const onnx_node *node, int axis, int taps, int64_t count,
                               const int64_t *index, const float *weight, pr_value *value)
{
    const pr_dims dims = imp->model->graph->values[*value].dims;
    pr_value sum = -1;
    for (int t = 0; t < taps; t++) {
        int64_t dim[PR_RANK_MAX] = {count, 1, 1, 1, 1, 1};
        pr_value pair[2] = {*value, -1};
        float *data;
        TRY(pr_pick(imp, node, axis, index + t * count, count, NULL, &pair[0]));
        if (taps == 1) {
            *value = pair[0];
            return PARRY_OK;
        }
        TRY(pr_weight_made(imp, node, "weight", PR_WEIGHT_CONSTANT, dims.rank - axis, dim, &pair[1], &data));
        memcpy(data, weight + t * count, (size_t)count * sizeof *data);
        TRY(pr_add_node(imp, node, PR_OP_MUL, NULL, pair, 2, &pair[0]));
        if (sum >= 0)
            TRY(pr_add_node(imp, node, PR_OP_ADD, NULL, (pr_value[]){sum, pair[0]}, 2, &pair[0]));
        sum = pair[0];
    }
    *value = sum;
    return PARRY_OK;
}

static parry_status resize_axis(importer *imp, const onnx_node *node, const resize *r, const axis_scale *a, int axis,
                                pr_value *value)
{
    const int taps = taps_of(r, a);
    int64_t *index;
    float *weight = NULL;
    parry_status status;
    if (a->out < 1 || a->out > RESIZED_MAX || !(a->scale > 0))
        return pr_node_fail(imp, node, "axis %d of size %lld cannot be resized to %lld", axis, (long long)a->in,
                            (long long)a->out);
    TRY(pr_budget_take(&imp->budget, 2 * taps * a->out));
    TRY(pr_alloc(imp->ctx, taps * a->out, &index));
    TRY_TO(done, pr_alloc(imp->ctx, taps * a->out, &weight));
    for (int64_t k = 0; k < a->out; k++) {
        int64_t from[TAPS_MAX];
        float share[TAPS_MAX];
        find_taps(r, a, k, from, share);
        for (int t = 0; t < taps; t++) {
            index[t * a->out + k] = from[t];
            weight[t * a->out + k] = share[t];
        }
    }
    status = weigh_taps(imp, node, axis, taps, a->out, index, weight, value);
done:
    pr_free(index);
    pr_free(weight);
    return status;
}

/* ---- the node --------------------------------------------------------------------------------------------------- */

static parry_status read_modes(importer *imp, const onnx_node *node, resize *r, const char **missing_use)
{
    int64_t antialias, exclude;
    *missing_use = NULL;
    r->old = imp->opset < 11 || strcmp(node->op_type, "Upsample") == 0;
    r->at = r->old ? asymmetric : NULL;
    r->round = r->old ? floorf : NULL;
    if (pr_attribute_is(node, "mode", "nearest", "nearest"))
        r->method = NEAREST;
    else if (pr_attribute_is(node, "mode", "nearest", "linear"))
        r->method = LINEAR;
    else if (pr_attribute_is(node, "mode", "nearest", "cubic"))
        r->method = CUBIC;
    else
        return pr_node_fail(imp, node, "the attribute mode has no value that ONNX knows");
    for (size_t i = 0; !r->at && i < PR_COUNT(coordinates); i++)
        if (pr_attribute_is(node, "coordinate_transformation_mode", "half_pixel", coordinates[i].name))
            r->at = coordinates[i].of;
    for (size_t i = 0; !r->round && i < PR_COUNT(roundings); i++)
        if (pr_attribute_is(node, "nearest_mode", "round_prefer_floor", roundings[i].name))
            r->round = roundings[i].of;
    TRY(pr_attribute_int(imp, node, "antialias", 0, 0, 1, &antialias));
    TRY(pr_attribute_int(imp, node, "exclude_outside", 0, 0, 1, &exclude));
    TRY(pr_attribute_float(imp, node, "cubic_coeff_a", -0.75f, &r->cubic));
    r->exclude_outside = exclude && (r->method == CUBIC || antialias);
    r->antialias = antialias;
    if (!r->at || !r->round)
        *missing_use = "with coordinates that parry does not know";
    else if (antialias && r->method != LINEAR)
        *missing_use = "with antialiasing that is not linear";
    else if (!pr_attribute_is(node, "keep_aspect_ratio_policy", "stretch", "stretch"))
        *missing_use = "that keeps the aspect ratio";
    return PARRY_OK;
}

/* Scales or sizes of the axes named, from the attribute, or the input where this opset has it. */
static parry_status read_axis_scales(importer *imp, const onnx_node *node, const pr_dims *dims, axis_scale *scale,
                                     bool *computed)
{
    const onnx_attribute *attribute = pr_attribute(node, "scales");
    const slot *scales = pr_node_input(imp, node, node->n_input > 2 ? 2 : 1), *sizes = pr_node_input(imp, node, 3);
    int_list axes = {.count = dims->rank, .at = {0, 1, 2, 3, 4, 5, 6, 7}};
    bool found;
    TRY(pr_list(imp, node, "axes", node->n_input, &axes, &found));
    if (!found)
        axes = (int_list){.count = dims->rank, .at = {0, 1, 2, 3, 4, 5, 6, 7}};
    if (sizes && (!scales || (pr_is_constant(scales) && !scales->constant.count)))
        scales = NULL;
    else
        sizes = NULL;
    *computed = (scales && !pr_is_float_constant(scales)) || (sizes && !pr_is_constant(sizes));
    if (*computed)
        return PARRY_OK;
    if (!attribute && !scales && !sizes)
        return pr_node_fail(imp, node, "neither scales nor sizes are given");
    const int64_t count = attribute ? (int64_t)attribute->n_floats : (scales ? scales : sizes)->constant.count;
    if (count != axes.count || (sizes && !sizes->constant.integer))
        return pr_node_fail(imp, node, "%lld scales or sizes for %d axes", (long long)count, axes.count);
    for (int a = 0, axis; a < axes.count; a++) {
        TRY(pr_axis(imp, node, axes.at[a], dims->rank, &axis));
        axis_scale *to = &scale[axis];
        if (sizes) {
            to->out = sizes->constant.i[a];
            to->scale = (float)to->out / (float)to->in;
            if (axis == 0 && to->out == imp->batch)
                to->scale = 1;
        } else {
            to->scale = attribute ? attribute->floats[a] : scales->constant.f[a];
            const float out = floorf((float)to->in * to->scale);
            to->out = out >= 1 && out <= RESIZED_MAX ? (int64_t)out : 0;
        }
    }
    return PARRY_OK;
}

parry_status pr_import_resize(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    const pr_dims dims = *pr_dims_of(imp, x);
    axis_scale scale[PR_RANK_MAX];
    const char *missing_use;
    bool computed;
    resize r = {0};
    pr_value value = x->value;
    for (int d = 0; d < dims.rank; d++)
        scale[d] = (axis_scale){dims.dim[d], dims.dim[d], 1};
    TRY(read_modes(imp, node, &r, &missing_use));
    if (missing_use)
        return pr_node_missing(imp, node, missing_use);
    TRY(read_axis_scales(imp, node, &dims, scale, &computed));
    if (computed)
        return pr_node_missing(imp, node, "to a computed size");
    if (scale[0].scale != 1)
        return pr_node_missing(imp, node, "of the batch");
    for (int d = 1; d < dims.rank; d++)
        if (taps_of(&r, &scale[d]) > TAPS_MAX)
            return pr_node_missing(imp, node, "with antialiasing to so small a size");
    for (int d = 1; d < dims.rank; d++)
        if (scale[d].scale != 1 || scale[d].out != scale[d].in)
            TRY(resize_axis(imp, node, &r, &scale[d], d, &value));
    pr_define_value(imp, node, value);
    return PARRY_OK;
}

/* ---- channels against pixels ------------------------------------------------------------------------------------ */

/* Reshape to six axes, transpose, reshape to the result. */
static parry_status shuffle(importer *imp, const onnx_node *node, const int64_t *six, const int *perm,
                            const int64_t *four)
{
    pr_value value = pr_node_input(imp, node, 0)->value;
    const pr_attrs split = {.shape = {.to = pr_dims_make(6, six)}}, join = {.shape = {.to = pr_dims_make(4, four)}};
    pr_attrs order = {.perm = {{0}}};
    memcpy(order.perm.perm, perm, 6 * sizeof *perm);
    TRY(pr_add_node(imp, node, PR_OP_RESHAPE, &split, &value, 1, &value));
    TRY(pr_add_node(imp, node, PR_OP_TRANSPOSE, &order, &value, 1, &value));
    return pr_emit(imp, node, PR_OP_RESHAPE, &join, &value, 1);
}

static parry_status read_block(importer *imp, const onnx_node *node, int64_t *block, bool *image)
{
    *image = pr_dims_of(imp, pr_node_input(imp, node, 0))->rank == 4;
    return pr_attribute_int(imp, node, "blocksize", 0, 1, 1 << 15, block);
}

parry_status pr_import_depth_to_space(importer *imp, const onnx_node *node)
{
    const int64_t *x = pr_dims_of(imp, pr_node_input(imp, node, 0))->dim;
    const bool rows_first = pr_attribute_is(node, "mode", "DCR", "DCR");
    int64_t b;
    bool image;
    TRY(read_block(imp, node, &b, &image));
    if (!image)
        return pr_node_missing(imp, node, "of other than images");
    if (x[1] % (b * b) != 0)
        return pr_node_fail(imp, node, "%lld channels are no blocks of %lld x %lld", (long long)x[1], (long long)b,
                            (long long)b);
    const int64_t c = x[1] / (b * b), four[] = {PR_BATCH, c, x[2] * b, x[3] * b};
    return rows_first ? shuffle(imp, node, (int64_t[]){PR_BATCH, b, b, c, x[2], x[3]}, (int[]){0, 3, 4, 1, 5, 2}, four)
                      : shuffle(imp, node, (int64_t[]){PR_BATCH, c, b, b, x[2], x[3]}, (int[]){0, 1, 4, 2, 5, 3}, four);
}

parry_status pr_import_space_to_depth(importer *imp, const onnx_node *node)
{
    const int64_t *x = pr_dims_of(imp, pr_node_input(imp, node, 0))->dim;
    int64_t b;
    bool image;
    TRY(read_block(imp, node, &b, &image));
    if (!image)
        return pr_node_missing(imp, node, "of other than images");
    if (x[2] % b != 0 || x[3] % b != 0)
        return pr_node_fail(imp, node, "%lld x %lld pixels are no blocks of %lld", (long long)x[2], (long long)x[3],
                            (long long)b);
    const int64_t six[] = {PR_BATCH, x[1], x[2] / b, b, x[3] / b, b}, four[] = {PR_BATCH, x[1] * b * b, six[2], six[4]};
    return shuffle(imp, node, six, (int[]){0, 3, 5, 1, 2, 4}, four);
}
