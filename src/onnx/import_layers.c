/* Translations of the operators that become layers of the network. */
#include <limits.h>
#include <string.h>

#include "onnx/import.h"

/* ---- matrices --------------------------------------------------------------------------------------------------- */

/* The value of GEMM's C as a vector of `units`: a scalar, a vector, or a row. */
static parry_status read_bias(importer *imp, const onnx_node *node, slot *c, int64_t units, float beta, pr_value *out)
{
    const pr_constant *bias = &c->constant;
    const int64_t last = bias->rank ? bias->dim[bias->rank - 1] : 1;
    if (bias->count != last || (last != units && last != 1))
        return pr_node_fail(imp, node, "the bias '%s' should be a vector of %lld numbers", c->name, (long long)units);
    if (bias->rank == 1 && last == units && beta == 1)
        return pr_weight_of(imp, c, PR_WEIGHT_VECTOR, false, out);
    float *data;
    TRY(pr_weight_new(imp, c, PR_WEIGHT_VECTOR, 1, &units, out, &data));
    for (int64_t i = 0; i < units; i++)
        data[i] = beta * bias->f[last == 1 ? 0 : i];
    return PARRY_OK;
}

parry_status pr_dense(importer *imp, const onnx_node *node, slot *w, bool transposed, float alpha, slot *c, float beta)
{
    const slot *x = pr_node_input(imp, node, 0);
    const pr_dims *dims = pr_dims_of(imp, x);
    pr_value in[3] = {x->value, -1, -1};
    if (dims->rank != 2)
        return pr_node_missing(imp, node, "of other than one vector per image");
    if (!pr_is_float_constant(w) || (c && !pr_is_float_constant(c)))
        return pr_node_missing(imp, node, "with computed weights");
    if (w->constant.rank != 2 || !w->constant.count)
        return pr_node_fail(imp, node, "'%s' should be a matrix", w->name);
    const int64_t units = w->constant.dim[transposed ? 0 : 1], inputs = w->constant.dim[transposed ? 1 : 0];
    if (inputs != dims->dim[1])
        return pr_node_fail(imp, node, "the matrix '%s' takes %lld numbers, its input has %lld", w->name,
                            (long long)inputs, (long long)dims->dim[1]);
    if (alpha == 1) {
        TRY(pr_weight_of(imp, w, PR_WEIGHT_KERNEL, !transposed, &in[1]));
    } else {
        float *data;
        TRY(pr_weight_new(imp, w, PR_WEIGHT_KERNEL, 2, (int64_t[]){units, inputs}, &in[1], &data));
        for (int64_t o = 0; o < units; o++)
            for (int64_t i = 0; i < inputs; i++)
                data[o * inputs + i] = alpha * w->constant.f[transposed ? o * inputs + i : i * units + o];
    }
    if (c)
        TRY(read_bias(imp, node, c, units, beta, &in[2]));
    return pr_emit(imp, node, PR_OP_GEMM, NULL, in, c ? 3 : 2);
}

/* ---- normalisation, activations --------------------------------------------------------------------------------- */

parry_status pr_import_batch_norm(importer *imp, const onnx_node *node)
{
    pr_value in[5] = {pr_node_input(imp, node, 0)->value};
    pr_attrs attrs = {0};
    int64_t training, spatial;
    TRY(pr_attribute_float(imp, node, "epsilon", 1e-5f, &attrs.bn.eps));
    TRY(pr_attribute_float(imp, node, "momentum", 0.9f, &attrs.bn.momentum));
    TRY(pr_attribute_int(imp, node, "training_mode", 0, 0, 1, &training));
    TRY(pr_attribute_int(imp, node, "spatial", 1, 0, 1, &spatial));
    if (training || !spatial)
        return pr_node_missing(imp, node, training ? "in training mode" : "with spatial = 0");
    for (size_t i = 1; i < 5; i++) {
        slot *vector = pr_node_input(imp, node, i);
        if (!pr_is_vector(vector))
            return pr_node_missing(imp, node, "with computed parameters");
        TRY(pr_weight_of(imp, vector, i < 3 ? PR_WEIGHT_VECTOR : PR_WEIGHT_STATISTIC, false, &in[i]));
    }
    return pr_emit(imp, node, PR_OP_BATCH_NORM, &attrs, in, 5);
}

parry_status pr_import_activation(importer *imp, const onnx_node *node)
{
    static const pr_op ops[] = {PR_OP_RELU, PR_OP_SIGMOID, PR_OP_TANH, PR_OP_NEG, PR_OP_GLOBAL_AVERAGE_POOL};
    size_t i = 0;
    while (strcmp(node->op_type, pr_op_name(ops[i])) != 0)
        i++;
    const slot *x = pr_node_input(imp, node, 0);
    /* The pooling node has two axes of positions; over one the mean is the same. */
    if (ops[i] == PR_OP_GLOBAL_AVERAGE_POOL && pr_dims_of(imp, x)->rank == 3)
        return pr_emit(imp, node, PR_OP_REDUCE, &(pr_attrs){.reduce = {PR_REDUCE_MEAN, 1u << 2}}, &x->value, 1);
    return pr_emit(imp, node, ops[i], NULL, &x->value, 1);
}

parry_status pr_import_leaky_relu(importer *imp, const onnx_node *node)
{
    pr_attrs attrs = {0};
    TRY(pr_attribute_float(imp, node, "alpha", 0.01f, &attrs.alpha.alpha));
    return pr_emit(imp, node, PR_OP_LEAKY_RELU, &attrs, &pr_node_input(imp, node, 0)->value, 1);
}

parry_status pr_import_dropout(importer *imp, const onnx_node *node)
{
    const slot *ratio = pr_node_input(imp, node, 1);
    pr_attrs attrs = {0};
    TRY(pr_attribute_float(imp, node, "ratio", 0.5f, &attrs.dropout.ratio));
    if (ratio && (!pr_is_float_constant(ratio) || ratio->constant.count != 1))
        return pr_node_missing(imp, node, "with a computed ratio");
    if (ratio)
        attrs.dropout.ratio = ratio->constant.f[0];
    attrs.dropout.stream = imp->dropouts++;
    return pr_emit(imp, node, PR_OP_DROPOUT, &attrs, &pr_node_input(imp, node, 0)->value, 1);
}
