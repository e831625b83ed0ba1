/* From bytes to protobuf-c's messages, within bounds of memory. */
#ifndef PR_ONNX_DECODE_H
#define PR_ONNX_DECODE_H

#include "base/base.h"
#include "onnx_wire.pb-c.h"

/* What protobuf-c may still allocate; it outlives the message. */
typedef struct pr_decoder {
    parry_ctx *ctx;
    size_t left;
    parry_status status;
    ProtobufCAllocator allocator;
} pr_decoder;

void pr_decoder_init(pr_decoder *decoder, parry_ctx *ctx, size_t size);
/* A model with a graph that has nodes; freed with pr_onnx__model_proto__free_unpacked and the decoder's allocator. */
PARRY_CHECKED parry_status pr_decode_model(pr_decoder *decoder, const char *where, const uint8_t *data, size_t size,
                                           PrOnnx__ModelProto **out);
/* The version of the default domain's operators; -1: the file does not say. */
int64_t pr_decode_opset(const PrOnnx__ModelProto *file);

#endif
