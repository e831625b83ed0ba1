/* Translations of normalisation: each is NORMALIZE over some axes, then a scale and a shift. */
#include <string.h>

#include "onnx/import.h"

/* value = value op the constant, whose numbers stand along axis `axis` of `rank`, each for `repeat` neighbours. */
static parry_status along(importer *imp, const onnx_node *node, pr_op op, slot *vector, int axis, int rank,
                          int64_t repeat, pr_value *value)
{
    float *data;
    int64_t dim[PR_RANK_MAX];
    pr_value in[2] = {*value};
    if (!pr_is_vector(vector))
        return pr_node_missing(imp, node, "with computed parameters");
    const int64_t count = vector->constant.count * repeat;
    for (int d = 0; d < rank - axis; d++)
        dim[d] = d == 0 ? count : 1;
    TRY(pr_weight_new(imp, vector, PR_WEIGHT_VECTOR, rank - axis, dim, &in[1], &data));
    for (int64_t i = 0; i < count; i++)
        data[i] = vector->constant.f[i / repeat];
    return pr_add_node(imp, node, op, NULL, in, 2, value);
}

parry_status pr_import_instance_norm(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    const int rank = pr_dims_of(imp, x)->rank;
    pr_attrs attrs = {.norm = {.axis = 2}};
    pr_value value = x->value;
    TRY(pr_attribute_float(imp, node, "epsilon", 1e-5f, &attrs.norm.eps));
    if (rank < 3)
        return pr_node_fail(imp, node, "the input should have channels and positions");
    for (size_t i = 1; i < 3; i++)
        if (!pr_is_vector(pr_node_input(imp, node, i)))
            return pr_node_missing(imp, node, "with computed parameters");
    TRY(pr_add_node(imp, node, PR_OP_NORMALIZE, &attrs, &value, 1, &value));
    TRY(along(imp, node, PR_OP_MUL, pr_node_input(imp, node, 1), 1, rank, 1, &value));
    TRY(along(imp, node, PR_OP_ADD, pr_node_input(imp, node, 2), 1, rank, 1, &value));
    pr_define_value(imp, node, value);
    return PARRY_OK;
}

/* Before opset 21 scale and shift were one number for a group, since then for a channel. */
parry_status pr_import_group_norm(importer *imp, const onnx_node *node)
{
    const slot *x = pr_node_input(imp, node, 0);
    const pr_dims dims = *pr_dims_of(imp, x);
    pr_attrs attrs = {.norm = {.axis = 2}};
    pr_value value = x->value;
    int64_t groups;
    TRY(pr_attribute_float(imp, node, "epsilon", 1e-5f, &attrs.norm.eps));
    TRY(pr_attribute_int(imp, node, "num_groups", 0, 1, INT32_MAX, &groups));
    if (dims.rank < 2 || dims.dim[1] % groups != 0)
        return pr_node_fail(imp, node, "%lld groups do not divide the channels", (long long)groups);
    for (size_t i = 1; i < 3; i++) {
        const slot *vector = pr_node_input(imp, node, i);
        if (!pr_is_vector(vector))
            return pr_node_missing(imp, node, "with computed parameters");
        if (vector->constant.count != groups && vector->constant.count != dims.dim[1])
            return pr_node_fail(imp, node, "'%s' should have a number for each group or channel", vector->name);
    }
    TRY(pr_add_reshape(imp, node, (pr_dims){3, {dims.dim[0], groups, pr_dims_row(dims) / groups}}, &value));
    TRY(pr_add_node(imp, node, PR_OP_NORMALIZE, &attrs, &value, 1, &value));
    TRY(pr_add_reshape(imp, node, dims, &value));
    for (size_t i = 1; i < 3; i++) {
        slot *vector = pr_node_input(imp, node, i);
        TRY(along(imp, node, i == 1 ? PR_OP_MUL : PR_OP_ADD, vector, 1, dims.rank,
                  vector->constant.count == groups ? dims.dim[1] / groups : 1, &value));
    }
    pr_define_value(imp, node, value);
    return PARRY_OK;
}

/* The mean over the axes from `axis` on, and 1 / sqrt(variance + eps), which LayerNormalization may also give. */
static parry_status layer_statistics(importer *imp, const onnx_node *node, pr_value x, pr_attrs norm, pr_value out[2])
{
    const int rank = imp->model->graph->values[x].dims.rank;
    const pr_attrs mean = {.reduce = {PR_REDUCE_MEAN, ((1u << rank) - 1) & ~((1u << norm.norm.axis) - 1)}};
    float *data;
    pr_value eps, value;
    TRY(pr_weight_made(imp, node, "eps", PR_WEIGHT_CONSTANT, 1, &(int64_t){1}, &eps, &data));
    *data = norm.norm.eps;
    TRY(pr_add_node(imp, node, PR_OP_REDUCE, &mean, &x, 1, &out[0]));
    TRY(pr_add_node(imp, node, PR_OP_SUB, NULL, (pr_value[]){x, out[0]}, 2, &value));
    TRY(pr_add_node(imp, node, PR_OP_MUL, NULL, (pr_value[]){value, value}, 2, &value));
    TRY(pr_add_node(imp, node, PR_OP_REDUCE, &mean, &value, 1, &value));
    TRY(pr_add_node(imp, node, PR_OP_ADD, NULL, (pr_value[]){value, eps}, 2, &out[1]));
    TRY(pr_add_map(imp, node, PR_MAP_SQRT, 0, 0, 0, &out[1]));
    return pr_add_map(imp, node, PR_MAP_RECIPROCAL, 0, 0, 0, &out[1]);
}

/* What exporters write where a network has no scale. */
static bool all_ones(const slot *scale)
{
    for (int64_t i = 0; pr_is_float_constant(scale) && i < scale->constant.count; i++)
        if (scale->constant.f[i] != 1)
            return false;
    return pr_is_float_constant(scale);
}

parry_status pr_import_layer_norm(importer *imp, const onnx_node *node)
{
    slot *x = pr_node_input(imp, node, 0);
    const int rank = pr_dims_of(imp, x)->rank;
    pr_attrs attrs = {0};
    pr_value value = x->value, statistics[2];
    TRY(pr_attribute_float(imp, node, "epsilon", 1e-5f, &attrs.norm.eps));
    TRY(pr_attribute_axis(imp, node, "axis", -1, rank, &attrs.norm.axis));
    if (pr_has_batch_axis(imp, x) && attrs.norm.axis == 0)
        return pr_node_missing(imp, node, "over the batch");
    TRY(pr_add_node(imp, node, PR_OP_NORMALIZE, &attrs, &value, 1, &value));
    for (size_t i = 1; i < 3; i++) {
        slot *parameter = pr_node_input(imp, node, i);
        pr_value in[2] = {value};
        if (!parameter || (i == 1 && all_ones(parameter)))
            continue;
        TRY(pr_operand_as(imp, node, x, parameter, PR_WEIGHT_VECTOR, &in[1]));
        if (in[1] < 0)
            return PARRY_OK;
        TRY(pr_add_node(imp, node, i == 1 ? PR_OP_MUL : PR_OP_ADD, NULL, in, 2, &value));
    }
    pr_define_value(imp, node, value);
    slot *more[] = {pr_node_output_at(imp, node, 1), pr_node_output_at(imp, node, 2)};
    if ((!more[0] || !more[0]->needed) && (!more[1] || !more[1]->needed))
        return PARRY_OK;
    TRY(layer_statistics(imp, node, x->value, attrs, statistics));
    for (int i = 0; i < 2; i++) {
        if (!more[i])
            continue;
        more[i]->kind = SLOT_VALUE;
        more[i]->value = statistics[i];
    }
    return PARRY_OK;
}

parry_status pr_import_lrn(importer *imp, const onnx_node *node)
{
    pr_attrs attrs = {0};
    int64_t size;
    TRY(pr_attribute_float(imp, node, "alpha", 1e-4f, &attrs.lrn.alpha));
    TRY(pr_attribute_float(imp, node, "beta", 0.75f, &attrs.lrn.beta));
    TRY(pr_attribute_float(imp, node, "bias", 1, &attrs.lrn.bias));
    TRY(pr_attribute_int(imp, node, "size", 0, 1, INT32_MAX, &size));
    attrs.lrn.size = (int)size;
    return pr_emit(imp, node, PR_OP_LRN, &attrs, &pr_node_input(imp, node, 0)->value, 1);
}
