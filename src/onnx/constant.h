/* Constants of a file while it is being imported: initialisers, Constant nodes and what is computed from them. */
#ifndef PR_ONNX_CONSTANT_H
#define PR_ONNX_CONSTANT_H

#include "base/base.h"
#include "onnx/onnx.h"
#include "onnx_wire.pb-c.h"

enum { PR_CONSTANT_RANK = PR_ONNX_RANK };

/* Row-major; floating-point tensors of any width are read as float, integer and boolean ones as int64_t. */
typedef struct pr_constant {
    bool integer;
    int32_t type; /* ONNX data type in the file, 0 when it was computed */
    int rank;
    int64_t dim[PR_CONSTANT_RANK];
    int64_t count;
    union {
        const void *data;
        const float *f;
        const int64_t *i;
    };
    void *owned; /* what to free: NULL where data belongs to the file or to another constant */
} pr_constant;

/* A file of external data, by its device and its number there. */
typedef struct pr_external_file {
    uint64_t device, number;
} pr_external_file;

/* What all computed constants and weights of one file may take: a small file must not ask for all memory. */
typedef struct pr_budget {
    parry_ctx *ctx;
    const char *where;  /* the file's name */
    int64_t left;       /* elements */
    const char *folder; /* holds the file and its external data; NULL: there is none */
    pr_external_file *files; /* counted into `left` */
    size_t file_count, file_capacity;
} pr_budget;
PARRY_CHECKED parry_status pr_budget_take(pr_budget *budget, int64_t elements);

/* Reads a tensor of the file; borrows its data where it has the right type. `name` is for errors. */
PARRY_CHECKED parry_status pr_constant_read(pr_budget *budget, const char *name, const PrOnnx__TensorProto *tensor,
                                            pr_constant *out);
/* The `needed` bytes of a tensor that is kept in a file of its own; the caller frees them. PARRY_FORMAT for a place
 * outside the model's folder. */
PARRY_CHECKED parry_status pr_external_read(pr_budget *budget, const char *name, const PrOnnx__TensorProto *tensor,
                                            size_t needed, void **out);
void pr_constant_release(pr_constant *constant);
/* A copy. */
PARRY_CHECKED parry_status pr_onnx_tensor_of(parry_ctx *ctx, const pr_constant *constant, pr_onnx_tensor *out);

/* A new constant of the given shape with uninitialised elements, to be written through `owned`. */
PARRY_CHECKED parry_status pr_constant_make(pr_budget *budget, bool integer, int rank, const int64_t *dim,
                                            pr_constant *out);
/* A rank-1 integer constant. */
PARRY_CHECKED parry_status pr_constant_ints(pr_budget *budget, const int64_t *values, int64_t count, pr_constant *out);
/* Copies elements of `from`, starting at `offset` and with `stride` elements per step of each axis of `to`, into
 * to->owned. */
void pr_constant_gather(const pr_constant *from, int64_t offset, const int64_t *stride, const pr_constant *to);
/* Row-major strides. */
void pr_constant_strides(int rank, const int64_t *dim, int64_t *stride);
/* `from` in a shape that it broadcasts to: axes of size 1, and those that it lacks on the left, are repeated. */
PARRY_CHECKED parry_status pr_constant_stretch(pr_budget *budget, const pr_constant *from, int rank, const int64_t *dim,
                                               pr_constant *out);
/* Axis i of the result is axis perm[i] of `from`. */
PARRY_CHECKED parry_status pr_constant_transpose(pr_budget *budget, const pr_constant *from, const int *perm,
                                                 pr_constant *out);

#endif
