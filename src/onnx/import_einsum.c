/* Translation of Einsum, of two operands at most. Each is brought to the axes (shared with the result, own, summed), a
 * product of matrices does the rest. */
#include <string.h>

#include "onnx/import.h"

enum { LABELS = 52 };
typedef struct labels {
    int count;
    char at[PR_RANK_MAX];
} labels;

static bool has_batch(pr_dims dims)
{
    return dims.rank > 0 && dims.dim[0] == PR_BATCH;
}

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
    return pr_add_reshape(imp, node, to, value);
}

/* Sums the axes of labels that neither `keep` nor `also` has. */
static parry_status sum_others(importer *imp, const onnx_node *node, labels *term, const labels *keep,
                               const labels *also, pr_value *value)
{
    const pr_dims dims = imp->model->graph->values[*value].dims;
    pr_attrs sum = {.reduce = {PR_REDUCE_SUM, 0}};
    pr_dims to = {.rank = 0};
    labels left = {0};
    for (int d = 0; d < term->count; d++) {
        const bool stays = find_label(keep, term->at[d]) >= 0 || find_label(also, term->at[d]) >= 0;
        sum.reduce.axes |= stays ? 0 : 1u << d;
        if (stays) {
            left.at[left.count++] = term->at[d];
            to.dim[to.rank++] = dims.dim[d];
        }
    }
    if (!sum.reduce.axes)
        return PARRY_OK;
    *term = left;
    TRY(pr_add_node(imp, node, PR_OP_REDUCE, &sum, value, 1, value));
    return pr_add_reshape(imp, node, to, value);
}

/* One side of the equation: an activation, or a constant that goes into the product with nothing but another order of
 * its axes (value -1), which it is given as a parameter. */
typedef struct operand {
    slot *input;
    labels term;
    pr_value value;
} operand;

static pr_dims operand_dims(const importer *imp, const operand *x)
{
    return x->value < 0 ? pr_dims_make(x->input->constant.rank, x->input->constant.dim)
                        : imp->model->graph->values[x->value].dims;
}

/* Leaves one axis for each different label that is in the result or in the `other` term; *ready is false where the node
 * has been noted as missing. */
static parry_status read_operand(importer *imp, const onnx_node *node, operand *x, const labels *result,
                                 const labels *other, bool *ready)
{
    const pr_constant *c = &x->input->constant;
    bool as_it_is = pr_is_float_constant(x->input) && c->count && c->rank == x->term.count;
    for (int d = 0; d < x->term.count; d++)
        as_it_is &= find_label(&x->term, x->term.at[d]) == d &&
                    (find_label(result, x->term.at[d]) >= 0 || find_label(other, x->term.at[d]) >= 0);
    x->value = -1;
    *ready = as_it_is;
    if (as_it_is)
        return PARRY_OK;
    TRY(pr_operand_plain(imp, node, x->input, &x->value));
    if (x->value < 0)
        return PARRY_OK;
    *ready = true;
    if (operand_dims(imp, x).rank != x->term.count)
        return pr_node_fail(imp, node, "'%s' has not as many axes as the equation says", x->input->name);
    for (int second = 1; second < x->term.count; second++) {
        const int first = find_label(&x->term, x->term.at[second]);
        if (first < second) {
            TRY(take_diagonal(imp, node, &x->term, first, second, &x->value));
            second--;
        }
    }
    return sum_others(imp, node, &x->term, result, other, &x->value);
}

/* Brings the axes of `value`, labelled `term`, into the order of `to`, a permutation of it. */
static parry_status order_axes(importer *imp, const onnx_node *node, const labels *term, const labels *to,
                               pr_value *value)
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

/* The constant with its axes in another order and shape. */
static parry_status constant_as(importer *imp, slot *x, const int *perm, pr_dims to, pr_value *out)
{
    pr_constant ordered;
    float *data;
    TRY(pr_constant_transpose(&imp->budget, &x->constant, perm, &ordered));
    const parry_status status = pr_weight_new(imp, x, PR_WEIGHT_KERNEL, to.rank, to.dim, out, &data);
    if (status == PARRY_OK)
        memcpy(data, ordered.f, (size_t)ordered.count * sizeof *data);
    pr_constant_release(&ordered);
    return status;
}

/* Those axes of `shared` that it has, then all of `rows` as one, then all of `columns` as one. */
static parry_status as_matrices(importer *imp, const onnx_node *node, const operand *x, const labels *shared,
                                const labels *rows, const labels *columns, pr_value *out)
{
    const pr_dims dims = operand_dims(imp, x);
    labels order = {0};
    pr_dims to = {.rank = 0};
    int perm[PR_CONSTANT_RANK];
    for (int i = 0; i < shared->count; i++)
        if (find_label(&x->term, shared->at[i]) >= 0)
            append(&order, shared->at[i]);
    const int own = order.count;
    for (int i = 0; i < rows->count; i++)
        append(&order, rows->at[i]);
    for (int i = 0; i < columns->count; i++)
        append(&order, columns->at[i]);
    to.rank = own + 2;
    to.dim[own] = to.dim[own + 1] = 1;
    for (int d = 0; d < order.count; d++) {
        perm[d] = find_label(&x->term, order.at[d]);
        if (d < own)
            to.dim[d] = dims.dim[perm[d]];
        else
            to.dim[own + (d >= own + rows->count)] *= dims.dim[perm[d]];
    }
    if (x->value < 0)
        return constant_as(imp, x->input, perm, to, out);
    *out = x->value;
    TRY(order_axes(imp, node, &x->term, &order, out));
    return pr_add_reshape(imp, node, to, out);
}

static parry_status einsum_pair(importer *imp, const onnx_node *node, const operand x[2], const labels *result,
                                pr_value *value)
{
    labels shared = {0}, own[2] = {{0}}, summed = {0}, order;
    pr_dims to = {.rank = 0};
    pr_value in[2];
    const pr_dims dims[2] = {operand_dims(imp, &x[0]), operand_dims(imp, &x[1])};
    const bool batch = has_batch(dims[0]) || has_batch(dims[1]);
    if (batch) /* the first axis of the result, which a constant lacks */
        append(&shared, result->at[0]);
    for (int i = 0; i < 2; i++)
        for (int d = 0; d < x[i].term.count; d++) {
            const char c = x[i].term.at[d];
            const bool both = find_label(&x[1 - i].term, c) >= 0, kept = find_label(result, c) >= 0;
            if ((!both || i == 0) && !(batch && c == result->at[0]))
                append(!both ? &own[i] : kept ? &shared : &summed, c);
        }
    if (shared.count > PR_RANK_MAX - 2)
        return pr_node_missing(imp, node, "of so many axes");
    TRY(as_matrices(imp, node, &x[0], &shared, &own[0], &summed, &in[0]));
    TRY(as_matrices(imp, node, &x[1], &shared, &summed, &own[1], &in[1]));
    TRY(pr_add_node(imp, node, PR_OP_MATMUL, &(pr_attrs){0}, in, 2, value));
    order = shared;
    for (int i = 0; i < 2; i++)
        for (int d = 0; d < own[i].count; d++)
            append(&order, own[i].at[d]);
    for (int d = 0; d < order.count; d++) {
        const int side = find_label(&x[0].term, order.at[d]) >= 0 ? 0 : 1;
        to.dim[to.rank++] = dims[side].dim[find_label(&x[side].term, order.at[d])];
    }
    TRY(pr_add_reshape(imp, node, to, value));
    return order_axes(imp, node, &order, result, value);
}

/* Where the images are in front, they are one more label of the activations and of the result. False where that is one
 * too many, or where an activation has been given axes that its term does not name. */
static bool label_images(importer *imp, const onnx_node *node, labels *term, labels *result)
{
    for (size_t i = 0; i <= node->n_input; i++) {
        const slot *x = i < node->n_input ? pr_node_input(imp, node, i) : NULL;
        labels *l = x ? &term[i] : result;
        if (x && !pr_is_value(x))
            continue;
        if (l->count == PR_RANK_MAX || (x && l->count != pr_file_shape(imp, x).rank))
            return false;
        memmove(l->at + 1, l->at, (size_t)l->count++);
        l->at[0] = '*';
    }
    return true;
}

parry_status pr_import_einsum(importer *imp, const onnx_node *node)
{
    const onnx_attribute *equation = pr_attribute(node, "equation");
    labels term[2] = {{0}}, result;
    operand in[2];
    pr_value value;
    char text[128] = "";
    bool constant = true;
    if (equation && equation->s.len > 0 && equation->s.len < sizeof text)
        memcpy(text, equation->s.data, equation->s.len);
    for (size_t i = 0; i < node->n_input; i++)
        constant &= pr_is_constant(pr_node_input(imp, node, i));
    if (constant)
        return pr_import_folded(imp, node, false, pr_import_einsum);
    int rank[2] = {0};
    for (size_t i = 0; i < node->n_input; i++)
        rank[i] = pr_file_shape(imp, pr_node_input(imp, node, i)).rank;
    if (!read_equation(text, node->n_input, rank, term, &result))
        return pr_node_missing(imp, node, "of other than plain terms");
    if (imp->in_front && !label_images(imp, node, term, &result))
        return pr_node_missing(imp, node, "of activations with so many or different numbers of axes");
    for (size_t i = 0; i < node->n_input; i++) {
        const slot *x = pr_node_input(imp, node, i);
        if (pr_is_value(x) && pr_has_batch_axis(imp, x) && (!result.count || result.at[0] != term[i].at[0]))
            return pr_import_across(imp, node, pr_import_einsum);
    }
    for (size_t i = 0; i < node->n_input; i++) {
        bool ready;
        in[i] = (operand){pr_node_input(imp, node, i), term[i], -1};
        TRY(read_operand(imp, node, &in[i], &result, &term[1 - i], &ready));
        if (!ready)
            return PARRY_OK;
    }
    if (node->n_input == 2) {
        TRY(einsum_pair(imp, node, in, &result, &value));
    } else {
        value = in[0].value;
        if (in[0].term.count != result.count)
            return pr_node_fail(imp, node, "the equation's result has other labels than its terms");
        TRY(order_axes(imp, node, &in[0].term, &result, &value));
    }
    pr_define_value(imp, node, value);
    return PARRY_OK;
}
