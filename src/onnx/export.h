/* What the exporter's files share. */
#ifndef PR_ONNX_EXPORT_H
#define PR_ONNX_EXPORT_H

#include <stddef.h>

#include "onnx/names.h"
#include "onnx/onnx.h"
#include "onnx_wire.pb-c.h"

/* Memory that lives until the file is packed. Failure is sticky. */
typedef struct arena_block {
    struct arena_block *next;
    max_align_t data[];
} arena_block;

typedef struct exporter {
    parry_ctx *ctx;
    const char *path;
    const pr_onnx_model *model;
    int opset; /* of the file */
    arena_block *blocks;
    pr_names names; /* tensors of the file */
    PrOnnx__GraphProto *file;
    size_t node_capacity, initializer_capacity;
} exporter;

PARRY_CHECKED parry_status pr_export_memory(exporter *ex, size_t size, void **out);
#define MAKE(ex, count, out) pr_export_memory((ex), (size_t)(count) * sizeof(**(out)), (void **)(out))
/* A name that no tensor of the file has. */
PARRY_CHECKED parry_status pr_export_name(exporter *ex, const char *base, const char *suffix, char **out);

/* A node with one output, the last of the file so far. */
PARRY_CHECKED parry_status pr_export_node(exporter *ex, const char *type, const char *name, char *output,
                                          PrOnnx__NodeProto **out);
void pr_export_input(PrOnnx__NodeProto *node, char *name);
PARRY_CHECKED parry_status pr_export_attribute(exporter *ex, PrOnnx__NodeProto *node, const char *name,
                                               PrOnnx__AttributeProto__Type type, PrOnnx__AttributeProto **out);
PARRY_CHECKED parry_status pr_export_float(exporter *ex, PrOnnx__NodeProto *node, const char *name, float value);
PARRY_CHECKED parry_status pr_export_int(exporter *ex, PrOnnx__NodeProto *node, const char *name, int64_t value);
PARRY_CHECKED parry_status pr_export_ints(exporter *ex, PrOnnx__NodeProto *node, const char *name, const int *values,
                                          int count);
PARRY_CHECKED parry_status pr_export_tensor(exporter *ex, char *name, int32_t type, int rank, const int64_t *dim,
                                            const void *data, size_t size);
/* Constants of their own for what parry keeps as an attribute: the node's next input. */
PARRY_CHECKED parry_status pr_export_int_list(exporter *ex, PrOnnx__NodeProto *node, const char *suffix,
                                              const int64_t *values, int64_t count);
PARRY_CHECKED parry_status pr_export_constant(exporter *ex, PrOnnx__NodeProto *node, const char *suffix, int32_t type,
                                              int rank, int64_t count, const void *data, size_t size);
PARRY_CHECKED parry_status pr_export_number(exporter *ex, PrOnnx__NodeProto *node, const char *suffix, float value);
/* A node of its own in front of `node`, the last one. */
PARRY_CHECKED parry_status pr_export_before(exporter *ex, PrOnnx__NodeProto *node, const char *type, const char *suffix,
                                            PrOnnx__NodeProto **out);

/* ---- arithmetic (export_maths.c) --------------------------------------------------------------------------------- */

/* The oldest opset from 13 on that has the operator. */
int pr_export_opset(const pr_node *from);
parry_status pr_export_map(exporter *ex, const pr_node *from, PrOnnx__NodeProto *node);
parry_status pr_export_binary(exporter *ex, const pr_node *from, PrOnnx__NodeProto *node);
parry_status pr_export_where(exporter *ex, const pr_node *from, PrOnnx__NodeProto *node);
parry_status pr_export_reduce(exporter *ex, const pr_node *from, PrOnnx__NodeProto *node);
parry_status pr_export_arg_max(exporter *ex, const pr_node *from, PrOnnx__NodeProto *node);
parry_status pr_export_matmul(exporter *ex, const pr_node *from, PrOnnx__NodeProto *node);
parry_status pr_export_normalize(exporter *ex, const pr_node *from, PrOnnx__NodeProto *node);
parry_status pr_export_lrn(exporter *ex, const pr_node *from, PrOnnx__NodeProto *node);
parry_status pr_export_conv_transpose(exporter *ex, const pr_node *from, PrOnnx__NodeProto *node);

#endif
