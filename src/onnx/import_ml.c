/* Translations of ai.onnx.ml, as far as scikit-learn's converter needs it for pipelines that end in a linear classifier
 * or a perceptron of layers. What it makes of their scores at the end is undone in import_scores.c. */
#include <string.h>

#include "onnx/import.h"

/* value = value op numbers[0 .. count - 1]; one number or one for each feature. */
static parry_status with_numbers(importer *imp, const onnx_node *node, pr_op op, const char *name, int64_t features,
                                 pr_value *value)
{
    const onnx_attribute *a = pr_attribute(node, name);
    const int64_t count = a ? (int64_t)a->n_floats : 0;
    pr_value in[2] = {*value};
    float *data;
    if (!count)
        return PARRY_OK;
    if (count != 1 && count != features)
        return pr_node_fail(imp, node, "%lld numbers in %s for %lld features", (long long)count, name,
                            (long long)features);
    TRY(pr_weight_made(imp, node, name, PR_WEIGHT_CONSTANT, 1, &count, &in[1], &data));
    memcpy(data, a->floats, (size_t)count * sizeof *data);
    return pr_add_node(imp, node, op, NULL, in, 2, value);
}

parry_status pr_import_scaler(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    const pr_dims *dims = pr_dims_of(imp, x);
    const int64_t features = dims->dim[dims->rank - 1];
    pr_value value = x->value;
    TRY(with_numbers(imp, node, PR_OP_SUB, "offset", features, &value));
    TRY(with_numbers(imp, node, PR_OP_MUL, "scale", features, &value));
    pr_define_value(imp, node, value);
    return PARRY_OK;
}

/* x over its norm along an axis. */
static parry_status over_norm(importer *imp, const onnx_node *node, pr_reduce norm, int axis)
{
    const slot *x = pr_node_input(imp, node, 0);
    const pr_attrs attrs = {.reduce = {norm, 1u << axis}};
    pr_value in[2] = {x->value, x->value};
    if (axis == 0)
        return pr_node_missing(imp, node, "of single numbers");
    if (imp->peeled && norm == PR_REDUCE_L1 && x->value == imp->peeled_value) {
        pr_define_same(imp, node, x); /* the probabilities have been peeled off before it */
        return PARRY_OK;
    }
    TRY(pr_add_node(imp, node, PR_OP_REDUCE, &attrs, &in[1], 1, &in[1]));
    return pr_emit(imp, node, PR_OP_DIV, NULL, in, 2);
}

parry_status pr_import_normalizer(importer *imp, const onnx_node *node)
{
    const pr_reduce norm = pr_attribute_is(node, "norm", "MAX", "L1")   ? PR_REDUCE_L1
                           : pr_attribute_is(node, "norm", "MAX", "L2") ? PR_REDUCE_L2
                                                                        : PR_REDUCE_MAX;
    return over_norm(imp, node, norm, pr_dims_of(imp, pr_node_input(imp, node, 0))->rank - 1);
}

parry_status pr_import_lp_normalization(importer *imp, const onnx_node *node)
{
    int axis;
    int64_t p;
    TRY(pr_attribute_axis(imp, node, "axis", -1, pr_dims_of(imp, pr_node_input(imp, node, 0))->rank, &axis));
    TRY(pr_attribute_int(imp, node, "p", 2, 1, 2, &p));
    return over_norm(imp, node, p == 1 ? PR_REDUCE_L1 : PR_REDUCE_L2, axis);
}

/* Picks features. */
parry_status pr_import_array_feature_extractor(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0), *which = pr_node_input(imp, node, 1);
    const int axis = pr_dims_of(imp, x)->rank - 1;
    pr_value value = x->value;
    if (!pr_is_constant(which) || !which->constant.integer || axis < 1)
        return pr_node_missing(imp, node, "with computed indices");
    for (int64_t i = 0; i < which->constant.count; i++)
        if (which->constant.i[i] < 0 || which->constant.i[i] >= pr_dims_of(imp, x)->dim[axis])
            return pr_node_fail(imp, node, "feature %lld of %lld", (long long)which->constant.i[i],
                                (long long)pr_dims_of(imp, x)->dim[axis]);
    if (which->constant.count < 1)
        return pr_node_fail(imp, node, "it picks nothing");
    TRY(pr_pick(imp, node, axis, which->constant.i, which->constant.count, which, &value));
    pr_define_value(imp, node, value);
    return PARRY_OK;
}

parry_status pr_import_trees(importer *imp, const onnx_node *node)
{
    return pr_node_missing(imp, node, "which has no gradient; trees are not supported yet");
}

parry_status pr_import_support_vectors(importer *imp, const onnx_node *node)
{
    return pr_node_missing(imp, node, "which votes between pairs of classes; support vectors are not supported yet");
}

/* ---- linear classifiers ------------------------------------------------------------------------------------------ */

/* Scores of `classes`, N x classes, as a layer. */
typedef struct linear {
    int64_t features, rows, classes;
    const onnx_attribute *coefficients, *intercepts;
    bool complementary; /* two classes, whose scores are -z and z, or of which one score is all */
} linear;

static parry_status read_linear(importer *imp, const onnx_node *node, linear *l)
{
    const slot *x = pr_node_input(imp, node, 0);
    const pr_dims *dims = pr_dims_of(imp, x);
    const size_t labels = pr_label_count(node);
    *l = (linear){.coefficients = pr_attribute(node, "coefficients"), .intercepts = pr_attribute(node, "intercepts")};
    if (dims->rank != 2 || !l->coefficients || l->coefficients->n_floats % (size_t)dims->dim[1] != 0)
        return pr_node_fail(imp, node, "the coefficients do not fit the input");
    l->features = dims->dim[1];
    l->rows = (int64_t)l->coefficients->n_floats / l->features;
    l->classes = labels ? (int64_t)labels : l->rows;
    if (l->rows < 1 || (l->rows != l->classes && !(l->rows == 1 && l->classes == 2)) ||
        (l->intercepts && l->intercepts->n_floats && (int64_t)l->intercepts->n_floats != l->rows))
        return pr_node_fail(imp, node, "%lld rows of coefficients for %lld classes", (long long)l->rows,
                            (long long)l->classes);
    l->complementary = l->classes == 2;
    const float *w = l->coefficients->floats,
                *b = l->intercepts && l->intercepts->n_floats ? l->intercepts->floats : NULL;
    for (int64_t i = 0; l->rows == 2 && i < l->features; i++)
        l->complementary &= w[i] == -w[l->features + i];
    if (l->rows == 2 && b)
        l->complementary &= b[0] == -b[1];
    return PARRY_OK;
}

/* The scores of the last `rows` rows, behind `before` scores of 0. */
static parry_status add_scores(importer *imp, const onnx_node *node, const linear *l, int64_t before, int64_t rows,
                               pr_value *out)
{
    const int64_t outputs = before + rows, first = l->rows - rows;
    pr_value in[3] = {pr_node_input(imp, node, 0)->value};
    float *w, *b;
    TRY(pr_weight_made(imp, node, "coefficients", PR_WEIGHT_KERNEL, 2, (int64_t[]){outputs, l->features}, &in[1], &w));
    TRY(pr_weight_made(imp, node, "intercepts", PR_WEIGHT_VECTOR, 1, &outputs, &in[2], &b));
    memset(w, 0, (size_t)(outputs * l->features) * sizeof *w);
    memset(b, 0, (size_t)outputs * sizeof *b);
    memcpy(w + before * l->features, l->coefficients->floats + first * l->features,
           (size_t)(rows * l->features) * sizeof *w);
    if (l->intercepts && l->intercepts->n_floats)
        memcpy(b + before, l->intercepts->floats + first, (size_t)rows * sizeof *b);
    return pr_add_node(imp, node, PR_OP_GEMM, NULL, in, 3, out);
}

/* N x 1, the second of two classes' probability, to those of both. */
static parry_status add_other_class(importer *imp, const onnx_node *node, pr_value *value)
{
    pr_value pair[2], sub[2] = {-1, *value};
    float *one;
    TRY(pr_weight_made(imp, node, "one", PR_WEIGHT_CONSTANT, 1, &(int64_t){1}, &sub[0], &one));
    *one = 1;
    TRY(pr_add_node(imp, node, PR_OP_SUB, NULL, sub, 2, &pair[0]));
    pair[1] = *value;
    return pr_add_node(imp, node, PR_OP_CONCAT, &(pr_attrs){.axis = {1}}, pair, 2, value);
}

/* Output 1 is what counts: the probabilities or scores. */
parry_status pr_import_linear_classifier(importer *imp, const onnx_node *node)
{
    slot *output = pr_node_output_at(imp, node, 1), *label = pr_node_output_at(imp, node, 0);
    const bool logistic = pr_attribute_is(node, "post_transform", "NONE", "LOGISTIC"),
               softmax = pr_attribute_is(node, "post_transform", "NONE", "SOFTMAX"),
               none = pr_attribute_is(node, "post_transform", "NONE", "NONE");
    linear l;
    pr_value value;
    TRY(read_linear(imp, node, &l));
    if (!output || (label && label->needed) || (!logistic && !softmax && !none))
        return pr_node_missing(imp, node, "with its label, or with another function behind it");
    const bool last = output == imp->output, one_row = l.rows != l.classes;
    if (!last && one_row && !logistic)
        return pr_node_missing(imp, node, "of one row for two classes");
    if (logistic && l.complementary)
        TRY(add_scores(imp, node, &l, 0, 1, &value));
    else
        TRY(add_scores(imp, node, &l, one_row, l.rows, &value));
    if (logistic)
        TRY(pr_add_node(imp, node, PR_OP_SIGMOID, NULL, &value, 1, &value));
    if (logistic && l.complementary)
        TRY(add_other_class(imp, node, &value));
    if (softmax && last)
        imp->model->tail = PR_OP_SOFTMAX;
    else if (softmax)
        TRY(pr_add_node(imp, node, PR_OP_SOFTMAX, &(pr_attrs){.axis = {-1, false}}, &value, 1, &value));
    output->kind = SLOT_VALUE;
    output->value = value;
    imp->peeled = last && softmax;
    imp->peeled_value = value;
    return PARRY_OK;
}
