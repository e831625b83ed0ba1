/* The network's inputs. A classifier has one, the image batch. On the bench there may be several, activations and
 * constants: the activations are cut out of the rows of one input. */
#include <stdio.h>
#include <string.h>

#include "onnx/import.h"

static parry_status graph_input(importer *imp, const char *file_name, pr_dims dims, pr_value *out)
{
    char name[GRAPH_NAME];
    pr_clean_name(file_name, name);
    TRY(pr_graph_input(imp->ctx, imp->model->graph, name, dims, out));
    imp->model->graph->input = *out;
    return PARRY_OK;
}

/* ---- a classifier's --------------------------------------------------------------------------------------------- */

/* The stated sizes, 0 where one is open. */
static parry_status read_sizes(importer *imp, const PrOnnx__ValueInfoProto *info, pr_dims *dims)
{
    const PrOnnx__TensorShapeProto *shape = info->type->tensor_type->shape;
    *dims = (pr_dims){.rank = (int)shape->n_dim};
    for (int d = 0; d < dims->rank; d++) {
        const PrOnnx__TensorShapeProto__Dimension *size = shape->dim[d];
        if (size->value_case == PR_ONNX__TENSOR_SHAPE_PROTO__DIMENSION__VALUE_DIM_VALUE)
            dims->dim[d] = PR_MAX(size->dim_value, 0);
        if (d > 0 && dims->dim[d] > INT32_MAX)
            return pr_fail(imp->ctx, PARRY_UNSUPPORTED, "%s: axis %d of the input '%.80s' has size %lld", imp->where, d,
                           info->name, (long long)dims->dim[d]);
    }
    return PARRY_OK;
}

/* The sizes that the file leaves open, from whoever knows them. */
static parry_status fill_sizes(importer *imp, const PrOnnx__ValueInfoProto *info, pr_dims *dims)
{
    bool open = false;
    for (int d = 1; d < dims->rank; d++)
        open |= dims->dim[d] == 0;
    if (open && imp->sizes)
        TRY(imp->sizes->fill(imp->ctx, imp->sizes->arg, imp->model, dims));
    for (int d = 1; d < dims->rank; d++)
        if (dims->dim[d] == 0)
            return pr_fail(imp->ctx, PARRY_UNSUPPORTED,
                           "%s: axis %d of the input '%.80s' has no fixed size: %s, or export it for one size",
                           imp->where, d, info->name,
                           dims->rank == 4 && dims->dim[2] == 0 ? "declare it with --input-size 224"
                                                                : "name a dataset to fit it to");
    return PARRY_OK;
}

static parry_status image_input(importer *imp, const PrOnnx__ValueInfoProto *info)
{
    const PrOnnx__TypeProto__Tensor *type =
        info->type && info->type->value_case == PR_ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE ? info->type->tensor_type : NULL;
    const int32_t element = type ? type->elem_type : 0;
    if (!type || !type->shape || type->shape->n_dim < 2 || type->shape->n_dim > PR_RANK_MAX)
        return pr_fail(imp->ctx, PARRY_UNSUPPORTED,
                       "%s: the input '%.80s' should be a batch of images or vectors, with a stated shape", imp->where,
                       info->name);
    if (element != PR_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT && element != PR_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16 &&
        element != PR_ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE)
        return pr_fail(imp->ctx, PARRY_UNSUPPORTED, "%s: the input '%.80s' is of ONNX data type %d, expected float",
                       imp->where, info->name, (int)element);
    pr_dims dims;
    TRY(read_sizes(imp, info, &dims));
    TRY(fill_sizes(imp, info, &dims));
    imp->open = dims.dim[0] == 0;
    imp->batch = PR_MAX(dims.dim[0], 1);
    dims.dim[0] = PR_BATCH;
    slot *input = pr_find_slot(imp, info->name);
    input->kind = SLOT_VALUE;
    return graph_input(imp, info->name, dims, &input->value);
}

/* ---- the bench's ------------------------------------------------------------------------------------------------ */

static pr_dims activation_dims(const pr_onnx_tensor *tensor)
{
    pr_dims dims = pr_dims_make(PR_MIN(tensor->rank, PR_RANK_MAX), tensor->dim);
    dims.dim[0] = PR_BATCH;
    return dims;
}

/* Columns first .. first + (row of dims) of the packed input, in that shape. */
static parry_status unpack_input(importer *imp, slot *input, pr_value packed, int64_t total, int64_t first,
                                 pr_dims dims)
{
    pr_graph *graph = imp->model->graph;
    pr_attrs crop = {.pad = {.before = {0, (int)-first}, .after = {0, (int)(first + pr_dims_row(dims) - total)}}};
    const pr_attrs shape = {.shape = {.to = dims}};
    char cut[GRAPH_NAME], name[GRAPH_NAME + 16];
    pr_clean_name(input->name, cut);
    snprintf(name, sizeof name, "%s.row", cut);
    TRY(pr_graph_node(imp->ctx, graph, PR_OP_PAD, name, &crop, &packed, 1, &input->value));
    return pr_graph_node(imp->ctx, graph, PR_OP_RESHAPE, cut, &shape, &input->value, 1, &input->value);
}

static parry_status bench_inputs(importer *imp, slot **inputs, size_t count)
{
    const pr_onnx_bench *bench = imp->bench;
    size_t activations = 0;
    int64_t total = 0, first = 0;
    pr_value packed = -1;
    if (count != bench->inputs)
        return pr_fail(imp->ctx, PARRY_INVALID, "%s: the graph has %zu inputs, %zu are given", imp->where, count,
                       bench->inputs);
    for (size_t i = 0; i < count; i++) {
        const pr_onnx_tensor *tensor = bench->input[i].tensor;
        if (bench->input[i].constant) {
            inputs[i]->kind = SLOT_CONSTANT;
            inputs[i]->constant = (pr_constant){.integer = tensor->integer,
                                                .type = tensor->type,
                                                .rank = tensor->rank,
                                                .count = tensor->count,
                                                .data = tensor->data};
            memcpy(inputs[i]->constant.dim, tensor->dim, sizeof tensor->dim);
            continue;
        }
        inputs[i]->kind = SLOT_VALUE;
        activations++;
        total += pr_dims_row(activation_dims(tensor));
        imp->batch = tensor->dim[0];
    }
    for (size_t i = 0; i < count; i++) {
        pr_dims dims = activation_dims(bench->input[i].tensor);
        if (bench->input[i].constant)
            continue;
        if (activations == 1)
            return graph_input(imp, inputs[i]->name, dims, &inputs[i]->value);
        if (packed < 0)
            TRY(graph_input(imp, "packed", (pr_dims){2, {PR_BATCH, total}}, &packed));
        TRY(unpack_input(imp, inputs[i], packed, total, first, dims));
        first += pr_dims_row(dims);
    }
    return PARRY_OK;
}

/* tf2onnx turns the numbers of Keras' Normalization layer into inputs and forgets their values; in a SavedModel they
 * are kept. */
static parry_status several_inputs(importer *imp, const char *first, const char *second)
{
    return pr_fail(
        imp->ctx, PARRY_UNSUPPORTED,
        "%s: the network has several inputs, '%.80s' and '%.80s'; a classifier has one: %s", imp->where, first, second,
        strncmp(imp->model->producer, "tf2onnx", 7) == 0
            ? "a Keras model keeps its constants on the way through a SavedModel: model.export('FOLDER'), then "
              "python -m tf2onnx.convert --saved-model FOLDER --output FILE.onnx"
            : "export it so that what is no image is stored in the file");
}

parry_status pr_import_inputs(importer *imp)
{
    const PrOnnx__GraphProto *file = imp->file;
    const PrOnnx__ValueInfoProto *image = NULL;
    slot *inputs[PR_ONNX_PORTS];
    size_t count = 0;
    for (size_t i = 0; i < file->n_input; i++) {
        slot *input = pr_find_slot(imp, file->input[i]->name);
        if (input->kind != SLOT_PENDING)
            continue;
        if (image && !imp->bench)
            return several_inputs(imp, image->name, file->input[i]->name);
        image = file->input[i];
        if (imp->bench && count == PR_ONNX_PORTS)
            return pr_fail(imp->ctx, PARRY_UNSUPPORTED, "%s: more than %d inputs", imp->where, PR_ONNX_PORTS);
        if (imp->bench)
            inputs[count++] = input;
    }
    if (imp->bench)
        return bench_inputs(imp, inputs, count);
    if (!image)
        return pr_fail(imp->ctx, PARRY_FORMAT, "%s: the network has no input", imp->where);
    return image_input(imp, image);
}
