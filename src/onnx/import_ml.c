/* Translations of ai.onnx.ml, as far as scikit-learn's converter needs it for pipelines that end in a linear classifier.
 * The probabilities at their end are peeled off to logits whose softmax they are. */
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

parry_status pr_import_normalizer(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    const int rank = pr_dims_of(imp, x)->rank;
    pr_attrs attrs = {.reduce = {PR_REDUCE_MAX, 1u << (rank - 1)}};
    pr_value in[2] = {x->value, x->value};
    if (pr_attribute_is(node, "norm", "MAX", "L1"))
        attrs.reduce.function = PR_REDUCE_L1;
    if (pr_attribute_is(node, "norm", "MAX", "L2"))
        attrs.reduce.function = PR_REDUCE_L2;
    if (rank < 2)
        return pr_node_missing(imp, node, "of single numbers");
    if (imp->peeled && attrs.reduce.function == PR_REDUCE_L1 && x->value == imp->peeled_value) {
        pr_define_same(imp, node, x); /* the probabilities have been peeled off before it */
        return PARRY_OK;
    }
    TRY(pr_add_node(imp, node, PR_OP_REDUCE, &attrs, &in[1], 1, &in[1]));
    return pr_emit(imp, node, PR_OP_DIV, NULL, in, 2);
}

/* Scores of `classes`, N x classes, as a layer. */
typedef struct linear {
    int64_t features, rows, classes;
    const onnx_attribute *coefficients, *intercepts;
    bool complementary; /* two classes, whose scores are z and -z, or of which one score is all */
} linear;

static parry_status read_linear(importer *imp, const onnx_node *node, linear *l)
{
    const slot *x = pr_node_input(imp, node, 0);
    const pr_dims *dims = pr_dims_of(imp, x);
    const onnx_attribute *ints = pr_attribute(node, "classlabels_ints"), *names = pr_attribute(node, "classlabels_strings");
    *l = (linear){.coefficients = pr_attribute(node, "coefficients"), .intercepts = pr_attribute(node, "intercepts")};
    if (dims->rank != 2 || !l->coefficients || l->coefficients->n_floats % (size_t)dims->dim[1] != 0)
        return pr_node_fail(imp, node, "the coefficients do not fit the input");
    l->features = dims->dim[1];
    l->rows = (int64_t)l->coefficients->n_floats / l->features;
    l->classes = ints && ints->n_ints ? (int64_t)ints->n_ints : names && names->n_strings ? (int64_t)names->n_strings : l->rows;
    if (l->rows < 1 || (l->rows != l->classes && !(l->rows == 1 && l->classes == 2)) ||
        (l->intercepts && l->intercepts->n_floats && (int64_t)l->intercepts->n_floats != l->rows))
        return pr_node_fail(imp, node, "%lld rows of coefficients for %lld classes", (long long)l->rows,
                            (long long)l->classes);
    l->complementary = l->classes == 2;
    const float *w = l->coefficients->floats, *b = l->intercepts && l->intercepts->n_floats ? l->intercepts->floats : NULL;
    for (int64_t i = 0; l->rows == 2 && i < l->features; i++)
        l->complementary &= w[i] == -w[l->features + i];
    if (l->rows == 2 && b)
        l->complementary &= b[0] == -b[1];
    return PARRY_OK;
}

/* With `zero` the first of two classes has the score 0, the second the one that is there. */
static parry_status add_scores(importer *imp, const onnx_node *node, const linear *l, bool zero, pr_value *out)
{
    const int64_t outputs = zero ? 2 : l->rows;
    const int64_t last = (l->rows - 1) * l->features;
    pr_value in[3] = {pr_node_input(imp, node, 0)->value};
    float *w, *b;
    TRY(pr_weight_made(imp, node, "coefficients", PR_WEIGHT_KERNEL, 2, (int64_t[]){outputs, l->features}, &in[1], &w));
    TRY(pr_weight_made(imp, node, "intercepts", PR_WEIGHT_VECTOR, 1, &outputs, &in[2], &b));
    memset(w, 0, (size_t)(outputs * l->features) * sizeof *w);
    memset(b, 0, (size_t)outputs * sizeof *b);
    const float *from = l->coefficients->floats;
    const float *bias = l->intercepts && l->intercepts->n_floats ? l->intercepts->floats : NULL;
    if (zero) {
        memcpy(w + l->features, from + last, (size_t)l->features * sizeof *w);
        b[1] = bias ? bias[l->rows - 1] : 0;
    } else {
        memcpy(w, from, (size_t)(l->rows * l->features) * sizeof *w);
        if (bias)
            memcpy(b, bias, (size_t)l->rows * sizeof *b);
    }
    return pr_add_node(imp, node, PR_OP_GEMM, NULL, in, 3, out);
}

/* log sigmoid(z) = -softplus(-z) */
static parry_status log_sigmoid(importer *imp, const onnx_node *node, pr_value *value)
{
    TRY(pr_add_node(imp, node, PR_OP_NEG, NULL, value, 1, value));
    TRY(pr_add_map(imp, node, PR_MAP_SOFTPLUS, 0, 0, 0, value));
    return pr_add_node(imp, node, PR_OP_NEG, NULL, value, 1, value);
}

/* Output 1 is what counts: the probabilities or scores. Behind a logistic function of z and -z stand the logits 0 and z; behind
 * one for each class, normalised to the sum 1, their logarithms. */
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
    const bool last = output == imp->output, zero = l.complementary && (logistic || l.rows == 1);
    if (!last && l.rows != l.classes)
        return pr_node_missing(imp, node, "of one row for two classes");
    TRY(add_scores(imp, node, &l, zero && last, &value));
    if (last && logistic && !zero)
        TRY(log_sigmoid(imp, node, &value));
    if (last && (softmax || (logistic && (zero || imp->sums_to_one))))
        imp->model->tail = PR_OP_SOFTMAX;
    if (!last && softmax)
        TRY(pr_add_node(imp, node, PR_OP_SOFTMAX, &(pr_attrs){.axis = {-1, false}}, &value, 1, &value));
    if (!last && logistic)
        TRY(pr_add_node(imp, node, PR_OP_SIGMOID, NULL, &value, 1, &value));
    output->kind = SLOT_VALUE;
    output->value = value;
    imp->peeled = last;
    imp->peeled_value = value;
    return PARRY_OK;
}
