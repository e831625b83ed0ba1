/* The engine's own changes to a graph before it is lowered. */
#ifndef PR_ENGINE_REWRITE_H
#define PR_ENGINE_REWRITE_H

#include "graph/graph.h"

/* GEMMs read images as they are: drops each Flatten (a Reshape that keeps the batch) before one. */
PARRY_CHECKED parry_status pr_rewrite_flatten(parry_ctx *ctx, const pr_graph *graph, pr_graph **out);
/* Folds into each convolution the ChannelAffines and Gathers of channels before it that nothing else reads: order and
 * scale into the weights, the shift into the bias or, where the convolution pads, into a map that is added to its result
 * (padding adds zeros, not shifts, so it is not the same number everywhere). So the preprocessing of pixels costs
 * nothing. New tensors go to `weights`. */
PARRY_CHECKED parry_status pr_rewrite_channels(parry_ctx *ctx, const pr_graph *graph, pr_weights *weights,
                                               pr_graph **out);

#endif
