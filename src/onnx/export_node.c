/* What exporting is written with: memory, names, nodes and their attributes, tensors. */
#include <stdio.h>
#include <string.h>

#include "onnx/export.h"

parry_status pr_export_memory(exporter *ex, size_t size, void **out)
{
    uint8_t *memory;
    TRY(pr_alloc(ex->ctx, sizeof(arena_block) + size, &memory));
    arena_block *block = (void *)memory;
    block->next = ex->blocks;
    ex->blocks = block;
    *out = block->data;
    return PARRY_OK;
}

/* Room for one more pointer in an array of the file. */
static parry_status reserve(exporter *ex, size_t count, size_t *capacity, void *array)
{
    void **larger, **old = *(void ***)array;
    if (count < *capacity)
        return PARRY_OK;
    *capacity = PR_MAX(2 * *capacity, 64);
    TRY(MAKE(ex, *capacity, &larger));
    if (count)
        memcpy(larger, old, count * sizeof *larger);
    *(void ***)array = larger;
    return PARRY_OK;
}

/* A name that no tensor of the file has: base, or base with a number. */
parry_status pr_export_name(exporter *ex, const char *base, const char *suffix, char **out)
{
    const size_t size = strlen(base) + strlen(suffix) + 16;
    TRY(MAKE(ex, size, out));
    snprintf(*out, size, "%s%s", base, suffix);
    for (int i = 2; pr_names_get(&ex->names, *out) >= 0; i++)
        snprintf(*out, size, "%s%s_%d", base, suffix, i);
    return pr_names_put(ex->ctx, &ex->names, *out, 0);
}

/* ---- nodes and attributes --------------------------------------------------------------------------------------- */

enum { ATTRIBUTES_MAX = 8, INPUTS_MAX = PR_NODE_IN };

parry_status pr_export_node(exporter *ex, const char *type, const char *name, char *output, PrOnnx__NodeProto **out)
{
    PrOnnx__NodeProto *node;
    TRY(MAKE(ex, 1, &node));
    pr_onnx__node_proto__init(node);
    node->op_type = (char *)type;
    node->name = (char *)name;
    TRY(MAKE(ex, INPUTS_MAX, &node->input));
    TRY(MAKE(ex, 1, &node->output));
    TRY(MAKE(ex, ATTRIBUTES_MAX, &node->attribute));
    node->output[0] = output;
    node->n_output = 1;
    TRY(reserve(ex, ex->file->n_node, &ex->node_capacity, &ex->file->node));
    ex->file->node[ex->file->n_node++] = node;
    *out = node;
    return PARRY_OK;
}

void pr_export_input(PrOnnx__NodeProto *node, char *name)
{
    node->input[node->n_input++] = name;
}

parry_status pr_export_attribute(exporter *ex, PrOnnx__NodeProto *node, const char *name,
                                 PrOnnx__AttributeProto__Type type, PrOnnx__AttributeProto **out)
{
    TRY(MAKE(ex, 1, out));
    pr_onnx__attribute_proto__init(*out);
    (*out)->name = (char *)name;
    (*out)->type = type;
    node->attribute[node->n_attribute++] = *out;
    return PARRY_OK;
}

parry_status pr_export_float(exporter *ex, PrOnnx__NodeProto *node, const char *name, float value)
{
    PrOnnx__AttributeProto *attribute;
    TRY(pr_export_attribute(ex, node, name, PR_ONNX__ATTRIBUTE_PROTO__TYPE__FLOAT, &attribute));
    attribute->f = value;
    return PARRY_OK;
}

parry_status pr_export_int(exporter *ex, PrOnnx__NodeProto *node, const char *name, int64_t value)
{
    PrOnnx__AttributeProto *attribute;
    TRY(pr_export_attribute(ex, node, name, PR_ONNX__ATTRIBUTE_PROTO__TYPE__INT, &attribute));
    attribute->i = value;
    return PARRY_OK;
}

parry_status pr_export_ints(exporter *ex, PrOnnx__NodeProto *node, const char *name, const int *values, int count)
{
    PrOnnx__AttributeProto *attribute;
    TRY(pr_export_attribute(ex, node, name, PR_ONNX__ATTRIBUTE_PROTO__TYPE__INTS, &attribute));
    TRY(MAKE(ex, count, &attribute->ints));
    for (int i = 0; i < count; i++)
        attribute->ints[i] = values[i];
    attribute->n_ints = (size_t)count;
    return PARRY_OK;
}

/* ---- tensors ---------------------------------------------------------------------------------------------------- */

parry_status pr_export_tensor(exporter *ex, char *name, int32_t type, int rank, const int64_t *dim, const void *data,
                              size_t size)
{
    PrOnnx__TensorProto *tensor;
    TRY(MAKE(ex, 1, &tensor));
    pr_onnx__tensor_proto__init(tensor);
    tensor->name = name;
    tensor->data_type = type;
    TRY(MAKE(ex, PR_MAX(rank, 1), &tensor->dims));
    for (int d = 0; d < rank; d++)
        tensor->dims[d] = dim[d];
    tensor->n_dims = (size_t)rank;
    tensor->raw_data = (ProtobufCBinaryData){size, (uint8_t *)data};
    TRY(reserve(ex, ex->file->n_initializer, &ex->initializer_capacity, &ex->file->initializer));
    ex->file->initializer[ex->file->n_initializer++] = tensor;
    return PARRY_OK;
}

/* A constant of its own for an input that parry keeps as an attribute. */
parry_status pr_export_constant(exporter *ex, PrOnnx__NodeProto *node, const char *suffix, int32_t type, int rank,
                                int64_t count, const void *data, size_t size)
{
    char *name;
    void *copy;
    TRY(pr_export_name(ex, node->output[0], suffix, &name));
    TRY(pr_export_memory(ex, size, &copy));
    memcpy(copy, data, size);
    TRY(pr_export_tensor(ex, name, type, rank, &count, copy, size));
    pr_export_input(node, name);
    return PARRY_OK;
}

parry_status pr_export_int_list(exporter *ex, PrOnnx__NodeProto *node, const char *suffix, const int64_t *values,
                                int64_t count)
{
    return pr_export_constant(ex, node, suffix, PR_ONNX__TENSOR_PROTO__DATA_TYPE__INT64, 1, count, values,
                              (size_t)count * sizeof *values);
}

parry_status pr_export_number(exporter *ex, PrOnnx__NodeProto *node, const char *suffix, float value)
{
    return pr_export_constant(ex, node, suffix, PR_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, 0, 0, &value, sizeof value);
}

/* A node of its own in front of `node`, the last one. */
parry_status pr_export_before(exporter *ex, PrOnnx__NodeProto *node, const char *type, const char *suffix,
                              PrOnnx__NodeProto **out)
{
    char *name;
    TRY(pr_export_name(ex, node->output[0], suffix, &name));
    TRY(pr_export_node(ex, type, name, name, out));
    PrOnnx__NodeProto **last = &ex->file->node[ex->file->n_node - 1];
    last[0] = node;
    last[-1] = *out;
    return PARRY_OK;
}
