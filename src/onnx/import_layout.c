/* Translations of the operators that pick and join. Of constants they are carried out, which is how the shape
 * arithmetic of exporters disappears; of activations they become crops (PAD), GATHER and CONCAT along axes other than
 * the batch. */
#include <string.h>

#include "onnx/import.h"

/* Floats count that far without gaps. */
enum { INDEX_MAX = 1 << 24 };

/* ---- picking ---------------------------------------------------------------------------------------------------- */

static parry_status crop(importer *imp, const onnx_node *node, int axis, int64_t first, int64_t count, pr_value *value)
{
    const pr_dims *dims = &imp->model->graph->values[*value].dims;
    pr_attrs attrs = {0};
    attrs.pad.before[axis] = (int)-first;
    attrs.pad.after[axis] = (int)(first + count - dims->dim[axis]);
    if (first == 0 && count == dims->dim[axis])
        return PARRY_OK;
    return pr_add_node(imp, node, PR_OP_PAD, &attrs, value, 1, value);
}

parry_status pr_pick(importer *imp, const onnx_node *node, int axis, const int64_t *index, int64_t count,
                     const slot *named, pr_value *value)
{
    const int64_t size = imp->model->graph->values[*value].dims.dim[axis];
    bool run = true;
    float *data;
    pr_value in[2] = {*value, -1};
    if (count < 1)
        return pr_node_fail(imp, node, "nothing is picked of axis %d", axis);
    if (size > INDEX_MAX)
        return pr_node_fail(imp, node, "axis %d has %lld positions, more than can be told apart", axis,
                            (long long)size);
    for (int64_t k = 0; k < count; k++) {
        if (index[k] < 0 || index[k] >= size)
            return pr_node_fail(imp, node, "index %lld of an axis of size %lld", (long long)index[k], (long long)size);
        run = run && index[k] == index[0] + k;
    }
    if (run)
        return crop(imp, node, axis, index[0], count, value);
    TRY(named ? pr_weight_new(imp, named, PR_WEIGHT_INDEX, 1, &count, &in[1], &data)
              : pr_weight_made(imp, node, "index", PR_WEIGHT_INDEX, 1, &count, &in[1], &data));
    for (int64_t k = 0; k < count; k++)
        data[k] = (float)index[k];
    return pr_add_node(imp, node, PR_OP_GATHER, &(pr_attrs){.gather = {axis, size}}, in, 2, value);
}

/* Elements of a constant along `axis`, as Gather has it for an index of any shape. */
static parry_status gather_constant(importer *imp, const onnx_node *node, const pr_constant *x, int axis,
                                    const pr_constant *which)
{
    int64_t dim[PR_CONSTANT_RANK], stride[PR_CONSTANT_RANK];
    const int64_t size = x->dim[axis];
    pr_constant out;
    int rank = 0;
    for (int d = 0; d < axis; d++)
        dim[rank++] = x->dim[d];
    for (int d = 0; d < which->rank; d++)
        dim[rank++] = which->dim[d];
    for (int d = axis + 1; d < x->rank; d++)
        dim[rank++] = x->dim[d];
    for (int64_t k = 0; k < which->count; k++)
        if (which->i[k] < -size || which->i[k] >= size)
            return pr_node_fail(imp, node, "index %lld of an axis of size %lld", (long long)which->i[k],
                                (long long)size);
    TRY(pr_constant_make(&imp->budget, x->integer, rank, dim, &out));
    pr_constant_strides(x->rank, x->dim, stride);
    const int64_t inner = stride[axis], width = x->integer ? 8 : 4;
    char *to = out.owned;
    for (int64_t e = 0; e < out.count && which->count && inner; e += inner, to += inner * width) {
        const int64_t k = which->i[e / inner % which->count];
        const int64_t from = e / inner / which->count * size + (k < 0 ? k + size : k);
        memcpy(to, (const char *)x->data + from * inner * width, (size_t)(inner * width));
    }
    pr_define_constant(imp, node, &out);
    return PARRY_OK;
}

static parry_status gather_value(importer *imp, const onnx_node *node, const slot *x, int axis, const slot *named)
{
    const pr_constant *which = &named->constant;
    const pr_shape from = pr_shape_of(imp, x);
    pr_shape to = {0};
    pr_value value = x->value;
    int64_t *index;
    TRY(pr_alloc(imp->ctx, which->count, &index));
    for (int64_t k = 0; k < which->count; k++)
        index[k] = which->i[k] + (which->i[k] < 0 ? from.dim[axis] : 0);
    parry_status status = pr_pick(imp, node, axis, index, which->count, named, &value);
    pr_free(index);
    TRY(status);
    for (int d = 0; d < axis; d++)
        to.dim[to.rank++] = from.dim[d];
    for (int d = 0; d < which->rank; d++)
        to.dim[to.rank++] = which->dim[d];
    for (int d = axis + 1; d < from.rank; d++)
        to.dim[to.rank++] = from.dim[d];
    return pr_define_reshaped(imp, node, &(slot){.kind = SLOT_VALUE, .value = value, .uses = x->uses}, &to);
}

parry_status pr_import_gather(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0), *which = pr_node_input(imp, node, 1);
    const int rank = pr_shape_of(imp, x).rank;
    int axis;
    if (!pr_is_constant(which) || !which->constant.integer)
        return pr_node_missing(imp, node, "with computed indices");
    TRY(pr_attribute_axis(imp, node, "axis", 0, rank, &axis));
    if (rank - 1 + which->constant.rank > PR_CONSTANT_RANK)
        return pr_node_fail(imp, node, "the result would have %d axes", rank - 1 + which->constant.rank);
    if (pr_is_constant(x))
        return gather_constant(imp, node, &x->constant, axis, &which->constant);
    if (axis == 0)
        return pr_import_only_image(imp, node, pr_moves_values, pr_import_gather);
    return gather_value(imp, node, x, axis, which);
}

/* ---- Slice ------------------------------------------------------------------------------------------------------ */

/* One axis: `count` elements from `first` on, `step` apart. */
typedef struct cut {
    int64_t first, step, count;
} cut;

/* By numpy's rules. */
static cut cut_of(int64_t size, int64_t start, int64_t end, int64_t step)
{
    const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? size : size - 1;
    start += start < 0 ? size : 0;
    end += end < 0 ? size : 0;
    start = PR_MIN(PR_MAX(start, low), high);
    end = PR_MIN(PR_MAX(end, low), high);
    const int64_t room = step > 0 ? end - start : start - end;
    return (cut){start, step, room > 0 ? (room - 1) / (step > 0 ? step : -step) + 1 : 0};
}

/* Whether a cut takes all images. No number names the last one of an open batch: the cut must go on to the end, or up
 * to the size that the file asks for. */
static bool keeps_batch(importer *imp, const onnx_node *node, int64_t start, int64_t end, int64_t step)
{
    const slot *starts = pr_node_input(imp, node, 1), *ends = pr_node_input(imp, node, 2);
    if (imp->open)
        return start == 0 && step == 1 && !(starts && starts->of_batch) &&
               (end >= INDEX_MAX || (end == imp->batch && ends && ends->of_batch));
    return cut_of(imp->batch, start, end, step).count == imp->batch && (step == 1 || imp->batch == 1);
}

/* The cuts of all axes. Of the batch only all images can be taken; *batch tells otherwise. */
static parry_status read_cuts(importer *imp, const onnx_node *node, const pr_shape *x, cut *cuts, bool *batch)
{
    int_list starts, ends, axes, steps;
    bool has_starts, has_ends, has_axes, has_steps, seen[PR_CONSTANT_RANK] = {false};
    *batch = false;
    TRY(pr_list(imp, node, "starts", 1, &starts, &has_starts));
    TRY(pr_list(imp, node, "ends", 2, &ends, &has_ends));
    TRY(pr_list(imp, node, "axes", 3, &axes, &has_axes));
    TRY(pr_list(imp, node, "steps", 4, &steps, &has_steps));
    if (!has_starts || !has_ends || ends.count != starts.count || (has_axes && axes.count != starts.count) ||
        (has_steps && steps.count != starts.count))
        return pr_node_fail(imp, node, "starts, ends, axes and steps differ in number");
    for (int d = 0; d < x->rank; d++)
        cuts[d] = (cut){0, 1, x->dim[d]};
    for (int a = 0; a < starts.count; a++) {
        const int64_t step = has_steps ? steps.at[a] : 1;
        int axis;
        TRY(pr_axis(imp, node, has_axes ? axes.at[a] : a, x->rank, &axis));
        if (seen[axis] || step == 0 || step < -INT32_MAX || step > INT32_MAX)
            return pr_node_fail(imp, node, "axis %d with step %lld%s", axis, (long long)step,
                                seen[axis] ? ", which is named twice" : "");
        seen[axis] = true;
        if (x->dim[axis] != PR_BATCH) {
            cuts[axis] = cut_of(x->dim[axis], starts.at[a], ends.at[a], step);
            continue;
        }
        *batch |= !keeps_batch(imp, node, starts.at[a], ends.at[a], step);
    }
    return PARRY_OK;
}

static parry_status slice_constant(importer *imp, const onnx_node *node, const pr_constant *x, const cut *cuts)
{
    int64_t dim[PR_CONSTANT_RANK], stride[PR_CONSTANT_RANK], offset = 0;
    pr_constant out;
    pr_constant_strides(x->rank, x->dim, stride);
    for (int d = 0; d < x->rank; d++) {
        dim[d] = cuts[d].count;
        offset += cuts[d].first * stride[d];
        stride[d] *= cuts[d].step;
    }
    TRY(pr_constant_make(&imp->budget, x->integer, x->rank, dim, &out));
    pr_constant_gather(x, offset, stride, &out);
    pr_define_constant(imp, node, &out);
    return PARRY_OK;
}

static parry_status slice_value(importer *imp, const onnx_node *node, const slot *x, const cut *cuts)
{
    pr_value value = x->value;
    for (int d = 1; d < pr_dims_of(imp, x)->rank; d++) {
        int64_t *index;
        if (cuts[d].count < 1)
            return pr_node_fail(imp, node, "nothing is picked of axis %d", d);
        TRY(pr_alloc(imp->ctx, cuts[d].count, &index));
        for (int64_t k = 0; k < cuts[d].count; k++)
            index[k] = cuts[d].first + k * cuts[d].step;
        parry_status status = pr_pick(imp, node, d, index, cuts[d].count, NULL, &value);
        pr_free(index);
        TRY(status);
    }
    pr_define_value(imp, node, value);
    return PARRY_OK;
}

parry_status pr_import_slice(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    const pr_shape shape = pr_shape_of(imp, x);
    cut cuts[PR_CONSTANT_RANK];
    bool batch = false;
    TRY(read_cuts(imp, node, &shape, cuts, &batch));
    if (batch)
        return pr_node_missing(imp, node, pr_moves_values);
    return pr_is_constant(x) ? slice_constant(imp, node, &x->constant, cuts) : slice_value(imp, node, x, cuts);
}

/* ---- Split ------------------------------------------------------------------------------------------------------ */

/* Output `o`: `count` positions of `axis` from `first` on. */
static parry_status split_part(importer *imp, const onnx_node *node, const slot *x, int axis, int64_t first,
                               int64_t count, size_t o)
{
    slot *out = pr_node_output_at(imp, node, o);
    if (!out || !out->needed)
        return PARRY_OK;
    if (x->kind == SLOT_VALUE) {
        pr_value value = x->value;
        if (count < 1)
            return pr_node_fail(imp, node, "part %zu is empty", o);
        TRY(crop(imp, node, axis, first, count, &value));
        *out = (slot){.name = out->name, .kind = SLOT_VALUE, .needed = out->needed, .uses = out->uses, .value = value};
        if (value == x->value)
            out->uses += x->uses - 1;
        return PARRY_OK;
    }
    int64_t dim[PR_CONSTANT_RANK], stride[PR_CONSTANT_RANK];
    memcpy(dim, x->constant.dim, sizeof dim);
    dim[axis] = count;
    pr_constant_strides(x->constant.rank, x->constant.dim, stride);
    TRY(pr_constant_make(&imp->budget, x->constant.integer, x->constant.rank, dim, &out->constant));
    pr_constant_gather(&x->constant, first * stride[axis], stride, &out->constant);
    out->kind = SLOT_CONSTANT;
    return PARRY_OK;
}

parry_status pr_import_split(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0), *list = pr_node_input(imp, node, 1);
    const onnx_attribute *attribute = pr_attribute(node, "split");
    const pr_shape shape = pr_shape_of(imp, x);
    const int64_t parts = (int64_t)node->n_output;
    int64_t first = 0;
    int axis;
    TRY(pr_attribute_axis(imp, node, "axis", 0, shape.rank, &axis));
    if (shape.dim[axis] == PR_BATCH)
        return pr_import_only_image(imp, node, pr_moves_values, pr_import_split);
    if (list && !(pr_is_constant(list) && list->constant.integer))
        return pr_node_missing(imp, node, "into computed parts");
    const int64_t *sizes = attribute ? attribute->ints : list ? list->constant.i : NULL;
    const int64_t named = attribute ? (int64_t)attribute->n_ints : list ? list->constant.count : parts;
    const int64_t size = shape.dim[axis], even = (size + parts - 1) / parts;
    if (named != parts)
        return pr_node_fail(imp, node, "%lld parts are named for %lld outputs", (long long)named, (long long)parts);
    for (int64_t o = 0; o < parts; o++) {
        const int64_t count = sizes ? sizes[o] : PR_MAX(0, PR_MIN(even, size - first));
        if (count < 0 || count > size - first)
            return pr_node_fail(imp, node, "part %lld of %lld does not fit in an axis of size %lld", (long long)o,
                                (long long)count, (long long)size);
        TRY(split_part(imp, node, x, axis, first, count, (size_t)o));
        first += count;
    }
    return first == size ? PARRY_OK : pr_node_fail(imp, node, "the parts leave %lld over", (long long)(size - first));
}

/* ---- Concat ----------------------------------------------------------------------------------------------------- */

static parry_status join_constants(importer *imp, const onnx_node *node, int axis)
{
    const pr_constant *first = &pr_node_input(imp, node, 0)->constant;
    int64_t dim[PR_CONSTANT_RANK], outer = 1, inner = 1, at = 0;
    const int64_t width = first->integer ? 8 : 4;
    pr_constant out;
    memcpy(dim, first->dim, sizeof dim);
    dim[axis] = 0;
    for (size_t i = 0; i < node->n_input; i++) {
        const pr_constant *part = &pr_node_input(imp, node, i)->constant;
        if (part->integer != first->integer || part->rank != first->rank)
            return pr_node_fail(imp, node, "its inputs are of different types or dimensions");
        for (int d = 0; d < first->rank; d++)
            if (d != axis && part->dim[d] != first->dim[d])
                return pr_node_fail(imp, node, "its inputs differ along axis %d", d);
        dim[axis] += part->dim[axis];
    }
    TRY(pr_constant_make(&imp->budget, first->integer, first->rank, dim, &out));
    for (int d = 0; d < first->rank; d++) {
        outer *= d < axis ? dim[d] : 1;
        inner *= d > axis ? dim[d] : 1;
    }
    for (size_t i = 0; i < node->n_input && out.count; i++) {
        const pr_constant *part = &pr_node_input(imp, node, i)->constant;
        const int64_t run = part->dim[axis] * inner * width;
        for (int64_t o = 0; o < outer && run; o++)
            memcpy((char *)out.owned + o * dim[axis] * inner * width + at, (const char *)part->data + o * run,
                   (size_t)run);
        at += run;
    }
    pr_define_constant(imp, node, &out);
    return PARRY_OK;
}

/* Whether a constant says the same of every image: its first axis has size 1, or is the batch with equal rows. */
static bool same_for_all(const importer *imp, const pr_constant *c)
{
    if (c->dim[0] != 1 && c->dim[0] != imp->batch)
        return false;
    const int64_t row = c->count / c->dim[0];
    for (int64_t e = row; e < c->count; e++)
        if (c->f[e] != c->f[e - row])
            return false;
    return true;
}

/* A part as a value: of a constant, one image's share, the same for all. */
static parry_status part_value(importer *imp, const onnx_node *node, slot *part, pr_value *out)
{
    const pr_constant *c = &part->constant;
    const int first = !imp->in_front; /* there its axes are all an image's own */
    float *data;
    *out = part->value;
    if (pr_is_value(part))
        return PARRY_OK;
    if (c->integer || !c->count || c->rank <= first || (first && !same_for_all(imp, c))) {
        *out = -1;
        return pr_node_missing(imp, node, "with a constant that differs between images");
    }
    TRY(pr_weight_new(imp, part, PR_WEIGHT_CONSTANT, c->rank - first, c->dim + first, out, &data));
    memcpy(data, c->f, (size_t)(first ? c->count / c->dim[0] : c->count) * sizeof *data);
    return PARRY_OK;
}

/* Joins values[0 .. count - 1], as many at a time as a node takes, until one is left. A group of constants alone takes
 * in the next activation. */
static parry_status join_values(importer *imp, const onnx_node *node, int axis, pr_value *values, size_t count)
{
    const pr_attrs attrs = {.axis = {axis}};
    while (count > 1) {
        size_t made = 0;
        for (size_t first = 0, size; first < count; first += size) {
            size = PR_MIN(count - first, PR_NODE_IN);
            bool batch = false;
            for (size_t i = 0; i < size; i++)
                batch |= imp->model->graph->values[values[first + i]].kind != PR_VALUE_WEIGHT;
            if (size == 1 || !batch) {
                memmove(values + made, values + first, size * sizeof *values);
                made += size;
                continue;
            }
            TRY(pr_add_node(imp, node, PR_OP_CONCAT, &attrs, values + first, (int)size, &values[made]));
            made++;
        }
        if (made == count)
            return pr_node_missing(imp, node, "of so many constants");
        count = made;
    }
    pr_define_value(imp, node, values[0]);
    return PARRY_OK;
}

parry_status pr_import_concat(importer *imp, const onnx_node *node)
{
    const slot *like = pr_node_input(imp, node, 0); /* an activation, if there is one */
    bool missing_part = false;
    parry_status status = PARRY_OK;
    int axis;
    pr_value *values;
    for (size_t i = 0; i < node->n_input; i++) {
        if (!pr_node_input(imp, node, i))
            return pr_node_fail(imp, node, "input %zu is missing", i);
        like = pr_is_value(pr_node_input(imp, node, i)) ? pr_node_input(imp, node, i) : like;
    }
    TRY(pr_attribute_axis(imp, node, "axis", 1, pr_shape_of(imp, like).rank, &axis));
    if (pr_is_constant(like))
        return join_constants(imp, node, axis);
    if (axis == 0)
        return pr_import_across(imp, node, pr_import_concat);
    TRY(pr_alloc(imp->ctx, node->n_input, &values));
    for (size_t i = 0; i < node->n_input && status == PARRY_OK && !missing_part; i++) {
        status = part_value(imp, node, pr_node_input(imp, node, i), &values[i]);
        missing_part = values[i] < 0;
    }
    if (status == PARRY_OK && !missing_part)
        status = join_values(imp, node, axis, values, node->n_input);
    pr_free(values);
    return status;
}
