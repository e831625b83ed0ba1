/* Translations of products: matrices of which both may be computed, Einsum, transposed convolution. */
#include <limits.h>
#include <string.h>

#include "onnx/import.h"

static const char between_images[] = "that mixes images";

/* ---- matrices ---------------------------------------------------------------------------------------------------- */

/* The operand as matrices: a vector becomes one row, or with `column` one column. */
static parry_status matrix_operand(importer *imp, const onnx_node *node, slot *like, slot *x, bool column, pr_value *out)
{
    *out = -1;
    if (pr_is_value(x)) {
        const pr_dims dims = *pr_dims_of(imp, x);
        *out = x->value;
        if (dims.rank != 1)
            return PARRY_OK;
        if (dims.dim[0] == PR_BATCH) {
            *out = -1;
            return pr_node_missing(imp, node, between_images);
        }
        const pr_dims to = column ? (pr_dims){2, {dims.dim[0], 1}} : (pr_dims){2, {1, dims.dim[0]}};
        return pr_add_node(imp, node, PR_OP_RESHAPE, &(pr_attrs){.shape = {.to = to}}, out, 1, out);
    }
    pr_constant *c = &x->constant;
    if (c->integer || !c->count || c->rank < 1)
        return pr_node_fail(imp, node, "'%s' should hold matrices of float numbers", x->name);
    if (c->rank > 1)
        return pr_operand_as(imp, node, like, x, PR_WEIGHT_KERNEL, out);
    float *data;
    TRY(pr_weight_new(imp, x, PR_WEIGHT_KERNEL, 2, (int64_t[]){column ? c->count : 1, column ? 1 : c->count}, out, &data));
    memcpy(data, c->f, (size_t)c->count * sizeof *data);
    return PARRY_OK;
}

/* Rows of a batch that is itself the rows of the matrix: only a constant matrix keeps images apart. */
static bool mixes(const importer *imp, const slot *x)
{
    return pr_is_value(x) && pr_has_batch_axis(imp, x) && pr_dims_of(imp, x)->rank == 2;
}

parry_status pr_import_matmul(importer *imp, const onnx_node *node)
{
    slot *a = pr_node_input(imp, node, 0), *b = pr_node_input(imp, node, 1);
    pr_value in[2], value;
    if (pr_is_constant(a) && pr_is_constant(b))
        return pr_import_folded(imp, node, false, pr_import_matmul);
    if (mixes(imp, a) && pr_is_float_constant(b) && b->constant.rank == 2)
        return pr_dense(imp, node, b, false, 1, NULL, 0);
    if (mixes(imp, a) || mixes(imp, b))
        return pr_node_missing(imp, node, between_images);
    const int rank_a = pr_shape_of(imp, a).rank, rank_b = pr_shape_of(imp, b).rank;
    TRY(matrix_operand(imp, node, b, a, false, &in[0]));
    TRY(matrix_operand(imp, node, a, b, true, &in[1]));
    if (in[0] < 0 || in[1] < 0)
        return PARRY_OK;
    TRY(pr_add_node(imp, node, PR_OP_MATMUL, &(pr_attrs){0}, in, 2, &value));
    slot product = {.kind = SLOT_VALUE, .value = value};
    pr_shape from = pr_shape_of(imp, &product), to = {0};
    for (int d = 0; d < from.rank; d++) /* the row or column that a vector was made */
        if (!(rank_a == 1 && d == from.rank - 2) && !(rank_b == 1 && d == from.rank - 1))
            to.dim[to.rank++] = from.dim[d];
    return pr_define_reshaped(imp, node, &product, &to);
}

/* value = factor value */
static parry_status scaled(importer *imp, const onnx_node *node, const char *what, float factor, pr_value *value)
{
    float *data;
    pr_value in[2] = {*value};
    if (factor == 1)
        return PARRY_OK;
    TRY(pr_weight_made(imp, node, what, PR_WEIGHT_CONSTANT, 1, &(int64_t){1}, &in[1], &data));
    *data = factor;
    return pr_add_node(imp, node, PR_OP_MUL, NULL, in, 2, value);
}

parry_status pr_import_gemm(importer *imp, const onnx_node *node)
{
    slot *a = pr_node_input(imp, node, 0), *b = pr_node_input(imp, node, 1), *c = pr_node_input(imp, node, 2);
    int64_t trans_a, trans_b;
    float alpha, beta;
    pr_value in[2], sum[2];
    TRY(pr_attribute_int(imp, node, "transA", 0, 0, 1, &trans_a));
    TRY(pr_attribute_int(imp, node, "transB", 0, 0, 1, &trans_b));
    TRY(pr_attribute_float(imp, node, "alpha", 1, &alpha));
    TRY(pr_attribute_float(imp, node, "beta", 1, &beta));
    if (mixes(imp, a) && !trans_a)
        return pr_dense(imp, node, b, trans_b, alpha, c, beta);
    if (mixes(imp, a) || mixes(imp, b))
        return pr_node_missing(imp, node, between_images);
    TRY(matrix_operand(imp, node, b, a, false, &in[0]));
    TRY(matrix_operand(imp, node, a, b, true, &in[1]));
    if (in[0] < 0 || in[1] < 0)
        return PARRY_OK;
    const pr_attrs attrs = {.matmul = {{trans_a, trans_b}}};
    TRY(pr_add_node(imp, node, PR_OP_MATMUL, &attrs, in, 2, &sum[0]));
    TRY(scaled(imp, node, "alpha", alpha, &sum[0]));
    slot product = {.kind = SLOT_VALUE, .value = sum[0]};
    if (c && beta != 0) {
        TRY(pr_operand(imp, node, &product, c, &sum[1]));
        if (sum[1] < 0)
            return PARRY_OK;
        TRY(scaled(imp, node, "beta", beta, &sum[1]));
        TRY(pr_add_node(imp, node, PR_OP_ADD, NULL, sum, 2, &sum[0]));
    }
    pr_define_value(imp, node, sum[0]);
    return PARRY_OK;
}

/* ---- Einsum -------------------------------------------------------------------------------------------------------
 * Each operand is brought to the axes (shared with the result, own, summed), a product of matrices does the rest. */

enum { LABELS = 52 };
typedef struct labels {
    int count;
    char at[PR_RANK_MAX];
} labels;

static int find_label(const labels *l, char label)
{
    for (int i = 0; i < l->count; i++)
        if (l->at[i] == label)
            return i;
    return -1;
}

/* One term "b...ij" of the equation; false where it has something else than letters and one ellipsis, or too many. The
 * ellipsis stands for the `rank` - letters axes that are left, labelled with digits that end in 9. */
static bool read_term(const char **at, int rank, labels *out)
{
    int letters = 0;
    *out = (labels){0};
    for (const char *c = *at; *c && *c != ',' && *c != '-'; c++)
        letters += *c != ' ' && *c != '.';
    for (; **at && **at != ',' && **at != '-'; ++*at) {
        const char c = **at;
        if (c == ' ')
            continue;
        if (strncmp(*at, "...", 3) == 0) {
            for (int left = rank - letters; left > 0 && out->count < PR_RANK_MAX; left--)
                out->at[out->count++] = (char)('9' + 1 - left);
            *at += 2;
            continue;
        }
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) || out->count == PR_RANK_MAX)
            return false;
        out->at[out->count++] = c;
    }
    return true;
}

/* Terms and result; without "->" the result has the labels that occur once, in alphabetical order. */
static bool read_equation(const char *at, size_t inputs, const int *rank, labels *term, labels *result)
{
    int most = 0;
    for (size_t i = 0; i < inputs; i++) {
        if (!read_term(&at, rank[i], &term[i]) || (*at == ',') != (i + 1 < inputs))
            return false;
        at += *at == ',';
        int dots = 0;
        for (int d = 0; d < term[i].count; d++)
            dots += term[i].at[d] <= '9';
        most = PR_MAX(most, dots);
    }
    if (at[0] == '-' && at[1] == '>') {
        int letters = 0;
        at += 2;
        for (const char *c = at; *c; c++)
            letters += *c != ' ' && *c != '.';
        return read_term(&at, letters + most, result) && !*at;
    }
    *result = (labels){0};
    for (int d = most; d > 0 && result->count < PR_RANK_MAX; d--)
        result->at[result->count++] = (char)('9' + 1 - d);
    for (char c = 'A'; c <= 'z'; c++) {
        int found = 0;
        for (size_t i = 0; i < inputs; i++)
            for (int d = 0; d < term[i].count; d++)
                found += term[i].at[d] == c;
        if (found == 1 && result->count < PR_RANK_MAX)
            result->at[result->count++] = c;
    }
    return !*at;
}

/* The diagonal of two axes with the same label: everything else is masked away and summed. */
static parry_status take_diagonal(importer *imp, const onnx_node *node, labels *term, int first, int second,
                                  pr_value *value)
{
    const pr_dims dims = imp->model->graph->values[*value].dims;
    const int64_t n = dims.dim[second];
    int64_t dim[PR_RANK_MAX];
    float *mask;
    pr_value in[2] = {*value};
    if (n != dims.dim[first] || n < 1)
        return pr_node_fail(imp, node, "the axes of one label have different sizes");
    for (int d = first; d < dims.rank; d++)
        dim[d - first] = d == first || d == second ? n : 1;
    TRY(pr_weight_made(imp, node, "diagonal", PR_WEIGHT_CONSTANT, dims.rank - first, dim, &in[1], &mask));
    for (int64_t i = 0; i < n * n; i++)
        mask[i] = i / n == i % n;
    TRY(pr_add_node(imp, node, PR_OP_MUL, NULL, in, 2, value));
    const pr_attrs sum = {.reduce = {PR_REDUCE_SUM, 1u << second}};
    TRY(pr_add_node(imp, node, PR_OP_REDUCE, &sum, value, 1, value));
    pr_dims to = {.rank = 0};
    for (int d = 0; d < dims.rank; d++)
        if (d != second)
            to.dim[to.rank++] = dims.dim[d];
    memmove(term->at + second, term->at + second + 1, (size_t)(term->count - second - 1));
    term->count--;
    return pr_add_node(imp, node, PR_OP_RESHAPE, &(pr_attrs){.shape = {.to = to}}, value, 1, value);
}

/* An operand as a value with one axis for each different label. */
static parry_status einsum_operand(importer *imp, const onnx_node *node, slot *input, labels *term, pr_value *value)
{
    TRY(pr_operand_plain(imp, node, input, value));
    if (*value < 0)
        return PARRY_OK;
    if (imp->model->graph->values[*value].dims.rank != term->count)
        return pr_node_fail(imp, node, "'%s' has not as many axes as the equation says", input->name);
    for (int second = 1; second < term->count; second++) {
        const int first = find_label(term, term->at[second]);
        if (first < second) {
            TRY(take_diagonal(imp, node, term, first, second, value));
            second--;
        }
    }
    return PARRY_OK;
}

/* Sums the axes of labels that neither `keep` list has. */
static parry_status sum_others(importer *imp, const onnx_node *node, labels *term, const labels *keep, const labels *also,
                               pr_value *value)
{
    const pr_dims dims = imp->model->graph->values[*value].dims;
    pr_attrs sum = {.reduce = {PR_REDUCE_SUM, 0}}, shape = {0};
    labels left = {0};
    for (int d = 0; d < term->count; d++) {
        const bool stays = find_label(keep, term->at[d]) >= 0 || (also && find_label(also, term->at[d]) >= 0);
        sum.reduce.axes |= stays ? 0 : 1u << d;
        if (stays) {
            left.at[left.count++] = term->at[d];
            shape.shape.to.dim[shape.shape.to.rank++] = dims.dim[d];
        }
    }
    if (!sum.reduce.axes)
        return PARRY_OK;
    *term = left;
    TRY(pr_add_node(imp, node, PR_OP_REDUCE, &sum, value, 1, value));
    return pr_add_node(imp, node, PR_OP_RESHAPE, &shape, value, 1, value);
}

/* Brings the axes of `value`, labelled `term`, into the order of `to`, a permutation of it. */
static parry_status order_axes(importer *imp, const onnx_node *node, const labels *term, const labels *to, pr_value *value)
{
    pr_attrs perm = {0};
    bool moves = false;
    for (int d = 0; d < to->count; d++) {
        perm.perm.perm[d] = find_label(term, to->at[d]);
        moves |= perm.perm.perm[d] != d;
    }
    return moves ? pr_add_node(imp, node, PR_OP_TRANSPOSE, &perm, value, 1, value) : PARRY_OK;
}

static void append(labels *to, char label)
{
    to->at[to->count++] = label;
}

/* Axes `shared`, then all of `rows` as one, then all of `columns` as one. */
static parry_status as_matrices(importer *imp, const onnx_node *node, const labels *term, const labels *shared,
                                const labels *rows, const labels *columns, pr_value *value)
{
    labels order = *shared;
    pr_attrs shape = {0};
    pr_dims *to = &shape.shape.to;
    for (int i = 0; i < rows->count; i++)
        append(&order, rows->at[i]);
    for (int i = 0; i < columns->count; i++)
        append(&order, columns->at[i]);
    TRY(order_axes(imp, node, term, &order, value));
    const pr_dims dims = imp->model->graph->values[*value].dims;
    for (int d = 0; d < shared->count; d++)
        to->dim[to->rank++] = dims.dim[d];
    to->dim[to->rank] = to->dim[to->rank + 1] = 1;
    for (int d = shared->count; d < dims.rank; d++)
        to->dim[to->rank + (d >= shared->count + rows->count)] *= dims.dim[d];
    to->rank += 2;
    return pr_add_node(imp, node, PR_OP_RESHAPE, &shape, value, 1, value);
}

static parry_status einsum_pair(importer *imp, const onnx_node *node, labels term[2], const labels *result, pr_value in[2],
                                pr_value *value)
{
    labels shared = {0}, own[2] = {{0}}, summed = {0}, order;
    pr_attrs shape = {0};
    pr_dims *to = &shape.shape.to;
    for (int i = 0; i < 2; i++)
        TRY(sum_others(imp, node, &term[i], result, &term[1 - i], &in[i]));
    for (int i = 0; i < 2; i++)
        for (int d = 0; d < term[i].count; d++) {
            const char c = term[i].at[d];
            const bool both = find_label(&term[1 - i], c) >= 0, kept = find_label(result, c) >= 0;
            if (!both || i == 0)
                append(!both ? &own[i] : kept ? &shared : &summed, c);
        }
    if (shared.count > PR_RANK_MAX - 2)
        return pr_node_missing(imp, node, "of so many axes");
    const pr_dims dims[2] = {imp->model->graph->values[in[0]].dims, imp->model->graph->values[in[1]].dims};
    TRY(as_matrices(imp, node, &term[0], &shared, &own[0], &summed, &in[0]));
    TRY(as_matrices(imp, node, &term[1], &shared, &summed, &own[1], &in[1]));
    TRY(pr_add_node(imp, node, PR_OP_MATMUL, &(pr_attrs){0}, in, 2, value));
    order = shared;
    for (int i = 0; i < 2; i++)
        for (int d = 0; d < own[i].count; d++)
            append(&order, own[i].at[d]);
    for (int d = 0; d < order.count; d++) {
        const int side = find_label(&term[0], order.at[d]) >= 0 ? 0 : 1;
        to->dim[to->rank++] = dims[side].dim[find_label(&term[side], order.at[d])];
    }
    TRY(pr_add_node(imp, node, PR_OP_RESHAPE, &shape, value, 1, value));
    return order_axes(imp, node, &order, result, value);
}

parry_status pr_import_einsum(importer *imp, const onnx_node *node)
{
    const onnx_attribute *equation = pr_attribute(node, "equation");
    labels term[2], result;
    pr_value in[2], value;
    char text[128] = "";
    bool constant = true;
    if (equation && equation->s.len < sizeof text)
        memcpy(text, equation->s.data, equation->s.len);
    for (size_t i = 0; i < node->n_input; i++)
        constant &= pr_is_constant(pr_node_input(imp, node, i));
    if (constant)
        return pr_import_folded(imp, node, false, pr_import_einsum);
    int rank[2] = {0};
    for (size_t i = 0; i < node->n_input; i++)
        rank[i] = pr_shape_of(imp, pr_node_input(imp, node, i)).rank;
    if (!read_equation(text, node->n_input, rank, term, &result))
        return pr_node_missing(imp, node, "of other than plain terms");
    for (size_t i = 0; i < node->n_input; i++) {
        TRY(einsum_operand(imp, node, pr_node_input(imp, node, i), &term[i], &in[i]));
        if (in[i] < 0)
            return PARRY_OK;
        const pr_dims *dims = &imp->model->graph->values[in[i]].dims;
        if (dims->rank && dims->dim[0] == PR_BATCH && (!result.count || result.at[0] != term[i].at[0]))
            return pr_node_missing(imp, node, between_images);
    }
    if (node->n_input == 2) {
        TRY(einsum_pair(imp, node, term, &result, in, &value));
    } else {
        value = in[0];
        TRY(sum_others(imp, node, &term[0], &result, NULL, &value));
        if (term[0].count != result.count)
            return pr_node_fail(imp, node, "the equation's result has other labels than its terms");
        TRY(order_axes(imp, node, &term[0], &result, &value));
    }
    pr_define_value(imp, node, value);
    return PARRY_OK;
}

/* ---- transposed convolution --------------------------------------------------------------------------------------- */

/* Sizes of the result and pads along one axis. Where a size is asked for that needs negative pads, the result just goes
 * on behind. */
static void transposed_axis(int64_t in, int kernel, int stride, int dilation, int more, int64_t wanted, bool upper,
                            int *before, int *after, int64_t *out)
{
    const int64_t whole = stride * (in - 1) + more + (int64_t)(kernel - 1) * dilation + 1;
    if (wanted < 0) {
        *out = whole - *before - *after;
        return;
    }
    const int64_t total = PR_MAX(whole - wanted, 0);
    *out = wanted;
    *before = (int)(upper ? total / 2 : total - total / 2);
    *after = (int)total - *before;
}

parry_status pr_import_conv_transpose(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    slot *w = pr_node_input(imp, node, 1), *b = pr_node_input(imp, node, 2);
    pr_dims dims = *pr_dims_of(imp, x);
    pr_attrs attrs = {.conv = {.stride = {1, 1}, .dilation = {1, 1}}};
    int more[2] = {0}, wanted[2] = {-1, -1};
    const int axes = dims.rank - 2, skip = 2 - axes;
    int64_t group, out[2];
    bool found, given;
    pr_value in[2] = {x->value};
    float *data;
    if ((axes != 1 && axes != 2) || !pr_is_float_constant(w) || w->constant.rank != dims.rank)
        return pr_node_missing(imp, node, "of other than one or two spatial axes and constant weights");
    const int64_t *wd = w->constant.dim;
    const int64_t kernel[4] = {wd[0], wd[1], axes == 2 ? wd[2] : 1, wd[axes + 1]};
    TRY(pr_attribute_int(imp, node, "group", 1, 1, INT_MAX, &group));
    TRY(pr_attribute_ints(imp, node, "strides", axes, 1, 1 << 15, attrs.conv.stride + skip, &found));
    TRY(pr_attribute_ints(imp, node, "dilations", axes, 1, 1 << 15, attrs.conv.dilation + skip, &found));
    TRY(pr_attribute_ints(imp, node, "output_padding", axes, 0, 1 << 15, more + skip, &found));
    TRY(pr_attribute_ints(imp, node, "output_shape", axes, 1, 1 << 20, wanted + skip, &given));
    int pads[4] = {0};
    TRY(pr_attribute_ints(imp, node, "pads", 2 * axes, 0, 1 << 15, pads, &found));
    for (int i = 0; i < axes; i++) {
        attrs.conv.pad[skip + i] = pads[i];
        attrs.conv.pad[2 + skip + i] = pads[axes + i];
    }
    if (dims.dim[1] != kernel[0] || kernel[0] % group != 0 || !w->constant.count)
        return pr_node_fail(imp, node, "weights for %lld channels in %lld groups do not fit an input of %lld",
                            (long long)kernel[0], (long long)group, (long long)dims.dim[1]);
    const bool upper = pr_attribute_is(node, "auto_pad", "NOTSET", "SAME_UPPER"),
               same = upper || pr_attribute_is(node, "auto_pad", "NOTSET", "SAME_LOWER");
    attrs.conv.group = (int)group;
    for (int i = 0; i < 2; i++) {
        const int64_t size = i < skip ? 1 : dims.dim[2 + i - skip];
        const int64_t asked = wanted[i] >= 0 ? wanted[i] : same && i >= skip ? size * attrs.conv.stride[i] : -1;
        attrs.conv.kernel[i] = (int)kernel[2 + i];
        transposed_axis(size, (int)kernel[2 + i], attrs.conv.stride[i], attrs.conv.dilation[i], more[i], asked, upper,
                        &attrs.conv.pad[i], &attrs.conv.pad[2 + i], &out[i]);
    }
    attrs.conv.in_h = out[0];
    attrs.conv.in_w = out[1];
    if (axes == 1) {
        const pr_attrs image = {.shape = {.to = {4, {dims.dim[0], dims.dim[1], 1, dims.dim[2]}}}};
        TRY(pr_add_node(imp, node, PR_OP_RESHAPE, &image, in, 1, in));
    }
    TRY(pr_weight_new(imp, w, PR_WEIGHT_KERNEL, 4, kernel, &in[1], &data));
    memcpy(data, w->constant.f, (size_t)w->constant.count * sizeof *data);
    TRY(pr_add_node(imp, node, PR_OP_CONV_GRAD_X, &attrs, in, 2, in));
    if (b) {
        if (!pr_is_vector(b))
            return pr_node_missing(imp, node, "with a computed bias");
        TRY(pr_weight_new(imp, b, PR_WEIGHT_VECTOR, 3, (int64_t[]){b->constant.count, 1, 1}, &in[1], &data));
        memcpy(data, b->constant.f, (size_t)b->constant.count * sizeof *data);
        TRY(pr_add_node(imp, node, PR_OP_ADD, NULL, in, 2, in));
    }
    if (axes == 1) {
        const pr_attrs row = {.shape = {.to = {3, {dims.dim[0], kernel[1] * group, out[1]}}}};
        TRY(pr_add_node(imp, node, PR_OP_RESHAPE, &row, in, 1, in));
    }
    pr_define_value(imp, node, in[0]);
    return PARRY_OK;
}
