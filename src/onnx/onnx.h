/* ONNX import and export. protobuf-c stays inside this folder. */
#ifndef PR_ONNX_ONNX_H
#define PR_ONNX_ONNX_H

#include "graph/graph.h"

/* One key of the file's metadata. */
typedef struct pr_onnx_meta {
    char *key, *value;
} pr_onnx_meta;

/* A model file, decoded. */
typedef struct pr_onnx_model {
    pr_graph *graph; /* input as declared by the file (N x ..., any rank), ends in logits */
    pr_weights *weights;
    pr_op tail;     /* PR_OP_SOFTMAX or PR_OP_LOG_SOFTMAX peeled off the end, else PR_OP_IDENTITY */
    char *producer; /* producer_name and version, "" when absent */
    pr_onnx_meta *meta;
    size_t meta_count;
} pr_onnx_model;

/* Errors name the file and the node. Unsupported operators are all listed in one sentence, each with its node. */
PARRY_CHECKED parry_status pr_onnx_read(parry_ctx *ctx, const char *path, pr_onnx_model *out);
/* From memory: `where` names the source in errors. */
PARRY_CHECKED parry_status pr_onnx_decode(parry_ctx *ctx, const char *where, const uint8_t *data, size_t size,
                                          pr_onnx_model *out);
void pr_onnx_clear(pr_onnx_model *model);
const char *pr_onnx_meta_get(const pr_onnx_model *model, const char *key);
/* Writes atomically. Batch norm and dropout stay nodes; CHANNEL_AFFINE and other parry.* nodes must not be in the
 * graph. */
PARRY_CHECKED parry_status pr_onnx_write(parry_ctx *ctx, const char *path, const pr_onnx_model *model);

#endif
