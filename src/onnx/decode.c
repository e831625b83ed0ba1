/* Decoding: model files and tensor files become messages, tensors of them become plain arrays. */
#include <string.h>

#include "onnx/constant.h"
#include "onnx/decode.h"
#include "onnx/onnx.h"

/* Decoded messages are larger than their encoding, but not without limit. */
enum { DECODER_OVERHEAD = 64 };

static void *decoder_alloc(void *data, size_t size)
{
    pr_decoder *d = data;
    void *memory = NULL;
    if (d->status != PARRY_OK)
        return NULL;
    if (size > d->left || d->left - size < DECODER_OVERHEAD) {
        d->status = PARRY_FORMAT;
        return NULL;
    }
    d->left -= size + DECODER_OVERHEAD;
    d->status = pr_alloc_raw_bytes(d->ctx, PR_MAX(size, 1), 1, &memory);
    return memory;
}

static void decoder_free(void *data, void *memory)
{
    (void)data;
    pr_free(memory);
}

void pr_decoder_init(pr_decoder *decoder, parry_ctx *ctx, size_t size)
{
    *decoder = (pr_decoder){.ctx = ctx, .left = 64 * size + (1 << 20), .status = PARRY_OK};
    decoder->allocator = (ProtobufCAllocator){decoder_alloc, decoder_free, decoder};
}

/* What people hold for an ONNX file, by how it begins, and what to do with it. */
static const struct {
    size_t at, size;
    const char *bytes, *words;
} mistaken[] = {
    {0, 16, "parry checkpoint",
     "this is a checkpoint of training; 'parry train' or 'parry harden' with the options that "
     "made it and --so-far writes the network it holds"},
    {0, 4, "PK\3\4",
     "this is a zip archive, as PyTorch (.pt, .pth) and Keras (.keras) save networks; export it to ONNX: "
     "torch.onnx.export(model.eval(), example, 'net.onnx') or model.export('net.onnx', format='onnx')"},
    {0, 1, "\x80",
     "this is a Python pickle, as PyTorch and scikit-learn save models; export it to ONNX: "
     "torch.onnx.export(model.eval(), example, 'net.onnx') or skl2onnx.to_onnx(model, example)"},
    {0, 4, "\x89HDF",
     "this is HDF5, as Keras saves networks (.h5); export it to ONNX: model.export('net.onnx', "
     "format='onnx')"},
    {4, 4, "TFL3",
     "this is TensorFlow Lite; convert it to ONNX: python -m tf2onnx.convert --tflite FILE --output "
     "net.onnx"},
    {0, 8, "version ", "this is a pointer of Git LFS, not the file that it stands for: git lfs pull"},
    {0, 1, "<", "this is a web page or XML: what was to be downloaded is elsewhere"},
};

static parry_status not_onnx(parry_ctx *ctx, const char *where, const uint8_t *data, size_t size)
{
    for (size_t i = 0; i < PR_COUNT(mistaken); i++)
        if (size >= mistaken[i].at + mistaken[i].size &&
            memcmp(data + mistaken[i].at, mistaken[i].bytes, mistaken[i].size) == 0)
            return pr_fail(ctx, PARRY_FORMAT, "%s: %s", where, mistaken[i].words);
    return pr_fail(ctx, PARRY_FORMAT, "%s: this is not an ONNX file, or it is damaged or cut short", where);
}

parry_status pr_decode_model(pr_decoder *decoder, const char *where, const uint8_t *data, size_t size,
                             PrOnnx__ModelProto **out)
{
    *out = pr_onnx__model_proto__unpack(&decoder->allocator, size, data);
    if (decoder->status == PARRY_NO_MEMORY)
        return PARRY_NO_MEMORY;
    if (!*out)
        return not_onnx(decoder->ctx, where, data, size);
    if (!(*out)->graph || !(*out)->graph->n_node)
        return pr_fail(decoder->ctx, PARRY_FORMAT, "%s: this ONNX file holds no network", where);
    return PARRY_OK;
}

int64_t pr_decode_opset(const PrOnnx__ModelProto *file)
{
    int64_t opset = -1;
    for (size_t i = 0; i < file->n_opset_import; i++)
        if (!*file->opset_import[i]->domain || strcmp(file->opset_import[i]->domain, "ai.onnx") == 0)
            opset = file->opset_import[i]->version;
    return opset;
}

/* ---- tensors ---------------------------------------------------------------------------------------------------- */

parry_status pr_onnx_tensor_of(parry_ctx *ctx, const pr_constant *constant, pr_onnx_tensor *out)
{
    const size_t width = constant->integer ? sizeof(int64_t) : sizeof(float);
    *out = (pr_onnx_tensor){
        .integer = constant->integer, .type = constant->type, .rank = constant->rank, .count = constant->count};
    memcpy(out->dim, constant->dim, sizeof out->dim);
    TRY(pr_alloc_raw_bytes(ctx, (size_t)PR_MAX(constant->count, 1), width, &out->data));
    if (constant->count)
        memcpy(out->data, constant->data, (size_t)constant->count * width);
    return PARRY_OK;
}

parry_status pr_onnx_tensor_decode(parry_ctx *ctx, const char *where, const uint8_t *data, size_t size,
                                   pr_onnx_tensor *out)
{
    pr_decoder decoder;
    pr_constant constant = {0};
    pr_budget budget = {.ctx = ctx, .where = where, .left = (int64_t)1 << 32};
    *out = (pr_onnx_tensor){0};
    pr_decoder_init(&decoder, ctx, size);
    PrOnnx__TensorProto *tensor = pr_onnx__tensor_proto__unpack(&decoder.allocator, size, data);
    if (!tensor)
        return decoder.status == PARRY_NO_MEMORY
                   ? PARRY_NO_MEMORY
                   : pr_fail(ctx, PARRY_FORMAT, "%s: this is not an ONNX tensor, or it is damaged", where);
    parry_status status = pr_constant_read(&budget, tensor->name, tensor, &constant);
    if (status == PARRY_OK)
        status = pr_onnx_tensor_of(ctx, &constant, out);
    pr_constant_release(&constant);
    pr_onnx__tensor_proto__free_unpacked(tensor, &decoder.allocator);
    return status;
}

void pr_onnx_tensor_clear(pr_onnx_tensor *tensor)
{
    pr_free(tensor->data);
    *tensor = (pr_onnx_tensor){0};
}

/* ---- outlines --------------------------------------------------------------------------------------------------- */

static void outline_values(PrOnnx__ValueInfoProto **values, size_t count, pr_onnx_port *out, size_t *filled)
{
    for (size_t i = 0; i < count && *filled < PR_ONNX_PORTS; i++) {
        const PrOnnx__TypeProto *type = values[i]->type;
        pr_onnx_port *port = &out[(*filled)++];
        *port = (pr_onnx_port){0};
        if (!type || type->value_case != PR_ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE)
            continue;
        port->type = type->tensor_type->elem_type;
        port->rank = type->tensor_type->shape ? (int)type->tensor_type->shape->n_dim : 0;
    }
}

parry_status pr_onnx_outline_decode(parry_ctx *ctx, const char *where, const uint8_t *data, size_t size,
                                    pr_onnx_outline *out)
{
    pr_decoder decoder;
    PrOnnx__ModelProto *file;
    pr_text text = {0};
    *out = (pr_onnx_outline){0};
    pr_decoder_init(&decoder, ctx, size);
    TRY(pr_decode_model(&decoder, where, data, size, &file));
    out->opset = pr_decode_opset(file);
    outline_values(file->graph->input, file->graph->n_input, out->input, &out->inputs);
    outline_values(file->graph->output, file->graph->n_output, out->output, &out->outputs);
    for (size_t n = 0; n < file->graph->n_node; n++) {
        const PrOnnx__NodeProto *node = file->graph->node[n];
        pr_text_add(&text, "%s%s%s%s", n ? " " : "", node->domain, *node->domain ? "." : "", node->op_type);
    }
    parry_status status = pr_text_take(ctx, &text, &out->operators);
    pr_onnx__model_proto__free_unpacked(file, &decoder.allocator);
    return status;
}
