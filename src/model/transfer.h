/* Weights for a built network from a file of the same architecture. */
#ifndef PR_MODEL_TRANSFER_H
#define PR_MODEL_TRANSFER_H

#include "onnx/onnx.h"

/* Fills `weights` of `graph`, which a builder made, from the file `from` (called `where` in errors). PARRY_MISMATCH
 * names the first layer that does not fit; what came before it has been filled. */
PARRY_CHECKED parry_status pr_transfer_weights(parry_ctx *ctx, const char *where, const char *arch,
                                               const pr_graph *graph, pr_weights *weights, const pr_onnx_model *from);

#endif
