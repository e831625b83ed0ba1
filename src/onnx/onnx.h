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
    char **class_names; /* the labels of a classifier of scikit-learn's, unless they are 0, 1, 2 ...; else NULL */
    size_t class_count;
} pr_onnx_model;

/* Errors name the file and the node. Unsupported operators are all listed in one sentence, each with its node. */
PARRY_CHECKED parry_status pr_onnx_read(parry_ctx *ctx, const char *path, pr_onnx_model *out);
/* Who knows the sizes that a file leaves open: sets those of the input's axes (axis 0 being the batch) that are 0, as
 * far as it knows them. Of `file` there are the metadata and the producer. */
typedef struct pr_onnx_sizes {
    parry_status (*fill)(parry_ctx *ctx, void *arg, const pr_onnx_model *file, pr_dims *dims);
    void *arg;
} pr_onnx_sizes;
/* From memory: `where` names the source in errors. Tensors may lie in other files inside the folder of `path`; NULL:
 * they may not. `sizes`: NULL: nobody. */
PARRY_CHECKED parry_status pr_onnx_decode(parry_ctx *ctx, const char *where, const char *path, const uint8_t *data,
                                          size_t size, const pr_onnx_sizes *sizes, pr_onnx_model *out);
void pr_onnx_clear(pr_onnx_model *model);
void pr_onnx_forget_names(pr_onnx_model *model);

/* ---- single tensors and single operators, as conformance tests hold them ---------------------------------------- */

/* Row-major; floating-point numbers of any width are float, integers and booleans int64_t. */
enum { PR_ONNX_RANK = 8 };
typedef struct pr_onnx_tensor {
    bool integer;
    int32_t type; /* ONNX data type in the file */
    int rank;
    int64_t dim[PR_ONNX_RANK], count;
    void *data;
} pr_onnx_tensor;
/* A file that holds one tensor. */
PARRY_CHECKED parry_status pr_onnx_tensor_decode(parry_ctx *ctx, const char *where, const uint8_t *data, size_t size,
                                                 pr_onnx_tensor *out);
void pr_onnx_tensor_clear(pr_onnx_tensor *tensor);

/* What a model file says of itself: names of ONNX data types are numbers (1 float, 7 int64, 9 bool, 11 double). */
enum { PR_ONNX_PORTS = 8 };
typedef struct pr_onnx_port {
    int type, rank;
} pr_onnx_port;
typedef struct pr_onnx_outline {
    int64_t opset; /* -1: not stated */
    pr_onnx_port input[PR_ONNX_PORTS], output[PR_ONNX_PORTS];
    size_t inputs, outputs;
    char *operators; /* the nodes' types in order, separated by blanks; "domain.Type" outside the default one */
} pr_onnx_outline;
/* The caller frees out->operators with pr_free. */
PARRY_CHECKED parry_status pr_onnx_outline_decode(parry_ctx *ctx, const char *where, const uint8_t *data, size_t size,
                                                  pr_onnx_outline *out);

/* A graph that need not be a classifier. Inputs (those without an initialiser, in the file's order) are the given
 * tensors: constants, or activations of which only the shape counts, axis 0 being the batch. Several activations lie
 * one after another in the rows of the graph's one input. The result is the output number `output`: an activation,
 * N x (all else), as the logits; or, where it depends on constants alone, *constant. Nothing is peeled off the end. */
typedef struct pr_onnx_given {
    const pr_onnx_tensor *tensor;
    bool constant;
} pr_onnx_given;
typedef struct pr_onnx_bench {
    const pr_onnx_given *input;
    size_t inputs, output;
    pr_onnx_tensor constant; /* set where the result is one; the caller clears it */
    bool is_constant;
} pr_onnx_bench;
PARRY_CHECKED parry_status pr_onnx_decode_bench(parry_ctx *ctx, const char *where, const uint8_t *data, size_t size,
                                                pr_onnx_bench *bench, pr_onnx_model *out);
const char *pr_onnx_meta_get(const pr_onnx_model *model, const char *key);
/* Writes atomically. Batch norm and dropout stay nodes; CHANNEL_AFFINE and other parry.* nodes must not be in the
 * graph. */
PARRY_CHECKED parry_status pr_onnx_write(parry_ctx *ctx, const char *path, const pr_onnx_model *model);

#endif
