/* The engine's own changes to a graph before it is lowered. */
#ifndef PR_ENGINE_REWRITE_H
#define PR_ENGINE_REWRITE_H

#include "graph/graph.h"

/* GEMMs read images as they are: drops each Flatten (a Reshape that keeps the batch) before one. */
PARRY_CHECKED parry_status pr_rewrite_flatten(parry_ctx *ctx, const pr_graph *graph, pr_graph **out);
/* Folds each ChannelAffine that only a convolution reads into it: the scale into the weights, the shift into the bias
 * or, where the convolution pads, into a map that is added to its result (padding adds zeros, not shifts, so it is not
 * the same number everywhere). New tensors go to `weights`. */
PARRY_CHECKED parry_status pr_rewrite_affine(parry_ctx *ctx, const pr_graph *graph, pr_weights *weights,
                                             pr_graph **out);

#endif
