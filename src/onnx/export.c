/* Exporting: the graph as an opset 13 file that any ONNX runtime loads.
 *
 * The messages are built in an arena and point into the graph and the weights; only the packed file is a copy. The
 * network goes out as it is, batch norm and dropout as nodes; a tail that was peeled off at import is put back. */
#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "onnx/export.h"

/* The opset of files that need no newer one. */
enum { OPSET = 13 };

static char *value_name(const exporter *ex, pr_value value)
{
    return ex->model->graph->values[value].name;
}

/* ---- operators: what each adds to the node besides type, inputs and output -------------------------------------- */

static parry_status plain(exporter *ex, const pr_node *from, PrOnnx__NodeProto *node)
{
    (void)ex, (void)from, (void)node;
    return PARRY_OK;
}

static parry_status conv(exporter *ex, const pr_node *from, PrOnnx__NodeProto *node)
{
    const int64_t *kernel = ex->model->graph->values[from->in[1]].dims.dim + 2;
    TRY(pr_export_ints(ex, node, "kernel_shape", (int[]){(int)kernel[0], (int)kernel[1]}, 2));
    TRY(pr_export_ints(ex, node, "strides", from->attrs.conv.stride, 2));
    TRY(pr_export_ints(ex, node, "pads", from->attrs.conv.pad, 4));
    TRY(pr_export_ints(ex, node, "dilations", from->attrs.conv.dilation, 2));
    return pr_export_int(ex, node, "group", from->attrs.conv.group);
}

static parry_status pool(exporter *ex, const pr_node *from, PrOnnx__NodeProto *node)
{
    const bool max = from->op == PR_OP_MAX_POOL;
    TRY(pr_export_ints(ex, node, "kernel_shape", from->attrs.pool.kernel, 2));
    TRY(pr_export_ints(ex, node, "strides", from->attrs.pool.stride, 2));
    TRY(pr_export_ints(ex, node, "pads", from->attrs.pool.pad, 4));
    TRY(pr_export_int(ex, node, "ceil_mode", from->attrs.pool.ceil_mode));
    if (!max)
        TRY(pr_export_int(ex, node, "count_include_pad", from->attrs.pool.count_pad));
    return max || ex->opset >= 19 ? pr_export_ints(ex, node, "dilations", from->attrs.pool.dilation, 2) : PARRY_OK;
}

/* ONNX' Gemm takes matrices: an image in front is flattened. */
static parry_status gemm(exporter *ex, const pr_node *from, PrOnnx__NodeProto *node)
{
    if (ex->model->graph->values[from->in[0]].dims.rank > 2) {
        PrOnnx__NodeProto *flatten;
        TRY(pr_export_before(ex, node, "Flatten", ".flat", &flatten));
        pr_export_input(flatten, node->input[0]);
        TRY(pr_export_int(ex, flatten, "axis", 1));
        node->input[0] = flatten->output[0];
    }
    return pr_export_int(ex, node, "transB", 1);
}

static parry_status batch_norm(exporter *ex, const pr_node *from, PrOnnx__NodeProto *node)
{
    TRY(pr_export_float(ex, node, "epsilon", from->attrs.bn.eps));
    return pr_export_float(ex, node, "momentum", from->attrs.bn.momentum);
}

static parry_status leaky_relu(exporter *ex, const pr_node *from, PrOnnx__NodeProto *node)
{
    return pr_export_float(ex, node, "alpha", from->attrs.alpha.alpha);
}

static parry_status softmax(exporter *ex, const pr_node *from, PrOnnx__NodeProto *node)
{
    return pr_export_int(ex, node, "axis", from->attrs.axis.axis);
}

static parry_status reshape(exporter *ex, const pr_node *from, PrOnnx__NodeProto *node)
{
    const pr_dims to = from->attrs.shape.to;
    if (to.rank == 2) {
        node->op_type = "Flatten";
        return pr_export_int(ex, node, "axis", 1);
    }
    int64_t shape[PR_RANK_MAX] = {0}; /* 0: as in the input, which is the batch */
    for (int d = 1; d < to.rank; d++)
        shape[d] = to.dim[d];
    return pr_export_int_list(ex, node, ".shape", shape, to.rank);
}

static parry_status transpose(exporter *ex, const pr_node *from, PrOnnx__NodeProto *node)
{
    return pr_export_ints(ex, node, "perm", from->attrs.perm.perm, ex->model->graph->values[from->in[0]].dims.rank);
}

static parry_status pad(exporter *ex, const pr_node *from, PrOnnx__NodeProto *node)
{
    const int rank = ex->model->graph->values[from->in[0]].dims.rank;
    int64_t pads[2 * PR_RANK_MAX];
    for (int d = 0; d < rank; d++) {
        pads[d] = from->attrs.pad.before[d];
        pads[rank + d] = from->attrs.pad.after[d];
    }
    TRY(pr_export_int_list(ex, node, ".pads", pads, 2 * rank));
    return pr_export_number(ex, node, ".value", from->attrs.pad.value);
}

/* A constant part is stretched over the batch: expanded to (batch size, 1, ...), the size being that of `batch`. */
static parry_status expand_part(exporter *ex, PrOnnx__NodeProto *node, int part, int rank, char *batch)
{
    static const int64_t ones[PR_RANK_MAX] = {1, 1, 1, 1, 1, 1, 1, 1};
    PrOnnx__NodeProto *shape, *size, *full, *expand;
    TRY(pr_export_before(ex, node, "Shape", ".shape", &shape));
    pr_export_input(shape, batch);
    TRY(pr_export_before(ex, node, "Slice", ".batch", &size));
    pr_export_input(size, shape->output[0]);
    TRY(pr_export_int_list(ex, size, ".starts", (int64_t[]){0}, 1));
    TRY(pr_export_int_list(ex, size, ".ends", (int64_t[]){1}, 1));
    TRY(pr_export_before(ex, node, "Concat", ".full", &full));
    pr_export_input(full, size->output[0]);
    TRY(pr_export_int_list(ex, full, ".ones", ones, rank - 1));
    TRY(pr_export_int(ex, full, "axis", 0));
    TRY(pr_export_before(ex, node, "Expand", ".expanded", &expand));
    pr_export_input(expand, node->input[part]);
    pr_export_input(expand, full->output[0]);
    node->input[part] = expand->output[0];
    return PARRY_OK;
}

static parry_status concat(exporter *ex, const pr_node *from, PrOnnx__NodeProto *node)
{
    const pr_value_info *values = ex->model->graph->values;
    const int rank = values[from->out[0]].dims.rank;
    char *batch = NULL;
    for (int i = 0; i < from->inputs; i++)
        if (values[from->in[i]].dims.rank == rank)
            batch = node->input[i];
    for (int i = 0; i < from->inputs; i++)
        if (values[from->in[i]].dims.rank < rank)
            TRY(expand_part(ex, node, i, rank, batch));
    return pr_export_int(ex, node, "axis", from->attrs.axis.axis);
}

static parry_status gather(exporter *ex, const pr_node *from, PrOnnx__NodeProto *node)
{
    return pr_export_int(ex, node, "axis", from->attrs.gather.axis);
}

static parry_status dropout(exporter *ex, const pr_node *from, PrOnnx__NodeProto *node)
{
    return pr_export_number(ex, node, ".ratio", from->attrs.dropout.ratio);
}

typedef parry_status (*completion)(exporter *ex, const pr_node *from, PrOnnx__NodeProto *node);
static const completion completions[PR_OP_COUNT] = {
    [PR_OP_CONV] = conv,
    [PR_OP_GEMM] = gemm,
    [PR_OP_BATCH_NORM] = batch_norm,
    [PR_OP_RELU] = plain,
    [PR_OP_LEAKY_RELU] = leaky_relu,
    [PR_OP_SIGMOID] = plain,
    [PR_OP_TANH] = plain,
    [PR_OP_SOFTMAX] = softmax,
    [PR_OP_LOG_SOFTMAX] = softmax,
    [PR_OP_MAX_POOL] = pool,
    [PR_OP_AVERAGE_POOL] = pool,
    [PR_OP_GLOBAL_AVERAGE_POOL] = plain,
    [PR_OP_ADD] = plain,
    [PR_OP_SUB] = plain,
    [PR_OP_MUL] = plain,
    [PR_OP_DIV] = plain,
    [PR_OP_NEG] = plain,
    [PR_OP_MAP] = pr_export_map,
    [PR_OP_BINARY] = pr_export_binary,
    [PR_OP_WHERE] = pr_export_where,
    [PR_OP_REDUCE] = pr_export_reduce,
    [PR_OP_ARG_MAX] = pr_export_arg_max,
    [PR_OP_MATMUL] = pr_export_matmul,
    [PR_OP_NORMALIZE] = pr_export_normalize,
    [PR_OP_LRN] = pr_export_lrn,
    [PR_OP_CONV_GRAD_X] = pr_export_conv_transpose,
    [PR_OP_RESHAPE] = reshape,
    [PR_OP_TRANSPOSE] = transpose,
    [PR_OP_PAD] = pad,
    [PR_OP_CONCAT] = concat,
    [PR_OP_GATHER] = gather,
    [PR_OP_IDENTITY] = plain,
    [PR_OP_DROPOUT] = dropout,
};

static parry_status export_node(exporter *ex, const pr_node *from)
{
    const completion complete = completions[from->op];
    if (!complete)
        return pr_fail(ex->ctx, PARRY_UNSUPPORTED, "%s: node '%s': ONNX has no operator %s", ex->path, from->name,
                       pr_op_name(from->op));
    PrOnnx__NodeProto *node;
    TRY(pr_export_node(ex, pr_op_name(from->op), from->name, value_name(ex, from->out[0]), &node));
    for (int i = 0; i < from->inputs; i++)
        if (from->in[i] >= 0) /* optional inputs stand last */
            pr_export_input(node, value_name(ex, from->in[i]));
    return complete(ex, from, node);
}

/* ---- the file --------------------------------------------------------------------------------------------------- */

static parry_status describe(exporter *ex, char *name, pr_dims dims, PrOnnx__ValueInfoProto ***list, size_t *count)
{
    PrOnnx__ValueInfoProto *info;
    TRY(MAKE(ex, 1, list));
    TRY(MAKE(ex, 1, &info));
    pr_onnx__value_info_proto__init(info);
    info->name = name;
    TRY(MAKE(ex, 1, &info->type));
    pr_onnx__type_proto__init(info->type);
    info->type->value_case = PR_ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
    PrOnnx__TypeProto__Tensor *tensor;
    TRY(MAKE(ex, 1, &tensor));
    pr_onnx__type_proto__tensor__init(tensor);
    info->type->tensor_type = tensor;
    tensor->elem_type = PR_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT;
    TRY(MAKE(ex, 1, &tensor->shape));
    pr_onnx__tensor_shape_proto__init(tensor->shape);
    tensor->shape->n_dim = (size_t)dims.rank;
    TRY(MAKE(ex, dims.rank, &tensor->shape->dim));
    for (int d = 0; d < dims.rank; d++) {
        PrOnnx__TensorShapeProto__Dimension *size;
        TRY(MAKE(ex, 1, &size));
        pr_onnx__tensor_shape_proto__dimension__init(size);
        size->value_case = dims.dim[d] == PR_BATCH ? PR_ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_PARAM
                                                   : PR_ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE;
        if (dims.dim[d] == PR_BATCH)
            size->dim_param = "N";
        else
            size->dim_value = dims.dim[d];
        tensor->shape->dim[d] = size;
    }
    (*list)[0] = info;
    *count = 1;
    return PARRY_OK;
}

static parry_status add_index(exporter *ex, char *name, const pr_weight *weight)
{
    int64_t *whole;
    TRY(MAKE(ex, weight->count, &whole));
    for (int64_t e = 0; e < weight->count; e++)
        whole[e] = (int64_t)weight->data[e];
    return pr_export_tensor(ex, name, PR_ONNX__TENSOR_PROTO__DATA_TYPE__INT64, weight->rank, weight->dim, whole,
                      (size_t)weight->count * sizeof *whole);
}

/* The weights that the graph uses; a tensor is packed into one message of at most 2 GiB. */
static parry_status export_weights(exporter *ex)
{
    const pr_graph *graph = ex->model->graph;
    size_t total = 0;
    for (size_t v = 0; v < graph->value_count; v++) {
        TRY(pr_names_put(ex->ctx, &ex->names, graph->values[v].name, 0));
        if (graph->values[v].kind != PR_VALUE_WEIGHT)
            continue;
        const pr_weight *weight = &ex->model->weights->items[graph->values[v].weight];
        const size_t size = (size_t)weight->count * sizeof(float);
        total += size;
        if (total > INT_MAX - ((size_t)1 << 20))
            return pr_fail(ex->ctx, PARRY_UNSUPPORTED, "%s: the network is too large for one ONNX file (2 GiB)",
                           ex->path);
        if (weight->role == PR_WEIGHT_INDEX)
            TRY(add_index(ex, graph->values[v].name, weight));
        else
            TRY(pr_export_tensor(ex, graph->values[v].name, PR_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, weight->rank,
                           weight->dim, weight->data, size));
    }
    return PARRY_OK;
}

/* The Softmax or LogSoftmax that was peeled off, under the name of the output that parry's models have. */
static parry_status export_output(exporter *ex)
{
    const pr_graph *graph = ex->model->graph;
    char *name = value_name(ex, graph->logits);
    if (ex->model->tail != PR_OP_IDENTITY) {
        PrOnnx__NodeProto *tail;
        char *logits = name;
        TRY(pr_export_name(ex, ex->model->tail == PR_OP_SOFTMAX ? "probabilities" : "log_probabilities", "", &name));
        TRY(pr_export_node(ex, pr_op_name(ex->model->tail), name, name, &tail));
        pr_export_input(tail, logits);
        TRY(pr_export_int(ex, tail, "axis", 1));
    }
    return describe(ex, name, graph->values[graph->logits].dims, &ex->file->output, &ex->file->n_output);
}

static parry_status export_graph(exporter *ex, PrOnnx__GraphProto **out)
{
    const pr_graph *graph = ex->model->graph;
    TRY(MAKE(ex, 1, &ex->file));
    pr_onnx__graph_proto__init(ex->file);
    ex->file->name = "parry";
    TRY(export_weights(ex));
    TRY(describe(ex, value_name(ex, graph->input), graph->values[graph->input].dims, &ex->file->input,
                 &ex->file->n_input));
    for (size_t n = 0; n < graph->node_count; n++)
        TRY(export_node(ex, &graph->nodes[n]));
    TRY(export_output(ex));
    *out = ex->file;
    return PARRY_OK;
}

static parry_status export_model(exporter *ex, PrOnnx__ModelProto *file)
{
    const pr_onnx_model *model = ex->model;
    ex->opset = OPSET;
    for (size_t n = 0; n < model->graph->node_count; n++)
        ex->opset = PR_MAX(ex->opset, pr_export_opset(&model->graph->nodes[n]));
    file->ir_version = ex->opset == OPSET ? 7 : ex->opset < 19 ? 8 : 9;
    file->producer_name = "parry";
    file->producer_version = PARRY_VERSION;
    TRY(export_graph(ex, &file->graph));
    TRY(MAKE(ex, 1, &file->opset_import));
    TRY(MAKE(ex, 1, &file->opset_import[0]));
    pr_onnx__operator_set_id_proto__init(file->opset_import[0]);
    file->opset_import[0]->version = ex->opset;
    file->n_opset_import = 1;
    TRY(MAKE(ex, model->meta_count, &file->metadata_props));
    for (size_t i = 0; i < model->meta_count; i++) {
        PrOnnx__StringStringEntryProto *entry;
        TRY(MAKE(ex, 1, &entry));
        pr_onnx__string_string_entry_proto__init(entry);
        entry->key = model->meta[i].key;
        entry->value = model->meta[i].value;
        file->metadata_props[file->n_metadata_props++] = entry;
    }
    return PARRY_OK;
}

parry_status pr_onnx_write(parry_ctx *ctx, const char *path, const pr_onnx_model *model)
{
    exporter ex = {.ctx = ctx, .path = path, .model = model};
    PrOnnx__ModelProto file = PR_ONNX__MODEL_PROTO__INIT;
    uint8_t *packed = NULL;
    parry_status status;
    TRY_TO(done, export_model(&ex, &file));
    const size_t size = pr_onnx__model_proto__get_packed_size(&file);
    TRY_TO(done, pr_alloc_raw(ctx, size, &packed));
    pr_onnx__model_proto__pack(&file, packed);
    status = parry_file_write(ctx, path, packed, size);
done:
    pr_free(packed);
    pr_names_release(&ex.names);
    while (ex.blocks) {
        arena_block *next = ex.blocks->next;
        pr_free(ex.blocks);
        ex.blocks = next;
    }
    return status;
}
