/* Execution: compiles a graph into an immutable plan for a purpose; a workspace per thread runs it.
 *
 * Inference and input gradients: plans of one micro-batch size run single-threaded, one thread each, tails padded, so
 * an image's bits depend neither on its neighbours nor on the thread count. In a plan for one image heavy steps are cut
 * into pieces, always the same, which any thread that is free may take. Training: the batch is cut into shards
 * whose number depends on the batch size alone; batch-norm sums and weight gradients are combined in shard order. */
#ifndef PR_ENGINE_ENGINE_H
#define PR_ENGINE_ENGINE_H

#include <parry/precision.h>

#include "graph/graph.h"

typedef enum pr_purpose { PR_INFERENCE, PR_INPUT_GRADIENT } pr_purpose;

typedef enum pr_backend {
    PR_BACKEND_AUTO,      /* oneDNN where it has an optimised kernel, plain C elsewhere */
    PR_BACKEND_REFERENCE, /* plain C only: the oracle */
} pr_backend;

typedef struct pr_plan pr_plan;
typedef struct pr_workspace pr_workspace;

typedef struct pr_plan_options {
    pr_backend backend;
    int micro_batch;           /* 0: the engine's choice for this network and this many images: */
    int64_t images;            /* that a call will bring, roughly; 0: many */
    bool moving;               /* weights change often: do not fold batch norm, refresh packed copies cheaply */
    parry_precision precision; /* PARRY_BF16: activations and weights in bf16, sums in f32, wherever there are kernels
                                  for it; layers that read the image, and logits, stay in f32 */
} pr_plan_options;

/* `graph` is in the form that importers and builders make (Dropout, BatchNormalization as nodes, ends in logits). The
 * plan keeps what it needs of the graph; it borrows `weights` and re-derives packed copies when their version has
 * moved. PARRY_UNSUPPORTED as parry_precision_check. */
PARRY_CHECKED parry_status pr_plan_create(parry_ctx *ctx, const pr_graph *graph, const pr_weights *weights,
                                          pr_purpose purpose, const pr_plan_options *options, pr_plan **out);
void pr_plan_free(pr_plan *plan);
int pr_plan_micro_batch(const pr_plan *plan);
/* The engine's choices for many images and for one. */
int pr_plan_most(const pr_plan *plan);
int pr_plan_least(const pr_plan *plan);
/* A line per step: kernel, implementation, layouts, GFLOP; "REFERENCE" marks oneDNN's reference kernels. */
PARRY_CHECKED parry_status pr_plan_text(parry_ctx *ctx, const pr_plan *plan, char **out);
/* Number of steps that run in one of oneDNN's reference kernels (a test wants none). */
int pr_plan_reference_steps(const pr_plan *plan);
/* Brings packed weights up to date; called outside parallel regions after weights moved (cheap when they did not). */
PARRY_CHECKED parry_status pr_plan_refresh(parry_ctx *ctx, pr_plan *plan);

PARRY_CHECKED parry_status pr_workspace_create(parry_ctx *ctx, const pr_plan *plan, pr_workspace **out);
void pr_workspace_free(pr_workspace *workspace);
/* pr_plan_text with the time that each step takes, in the mean over `runs` passes forward and backward on one
 * micro-batch x. */
PARRY_CHECKED parry_status pr_plan_profile(parry_ctx *ctx, const pr_plan *plan, pr_workspace *workspace, const float *x,
                                           int runs, char **out);

/* n <= micro_batch images, n x C x H x W -> logits, n x K. On the calling thread; a plan for one image, called outside
 * parallel loops, on all threads of the context. */
PARRY_CHECKED parry_status pr_plan_forward(parry_ctx *ctx, const pr_plan *plan, pr_workspace *workspace, const float *x,
                                           int n, float *logits);
/* Whether the last pass in the workspace made or compared a NaN (the processor's flag for invalid operations). oneDNN's
 * ReLU and max pooling drop NaNs, so that logits may look sound; a plan with PR_BACKEND_REFERENCE passes them on. The
 * flag may also stand for numbers that belong to no image. */
bool pr_workspace_doubtful(const pr_workspace *workspace);
/* After a forward of the same n images in the same workspace, any number of times: dlogits n x K -> dx n x C x H x W.
 */
PARRY_CHECKED parry_status pr_plan_backward(parry_ctx *ctx, const pr_plan *plan, pr_workspace *workspace,
                                            const float *dlogits, int n, float *dx);

/* ---- training --------------------------------------------------------------------------------------------------- */

/* An optimiser as an elementwise rule over any range of a parameter, in whatever order the engine stores it; every
 * range of a step gets the same scalars. `state` holds rule->moments arrays, each parallel to w. grad is the gradient
 * of the mean loss; decay is 0 for parameters without weight decay. */
typedef struct pr_update_rule {
    const char *name;
    int moments;
    void (*update)(const double *scalars, float decay, float *w, const float *grad, float *const *state, int64_t count);
} pr_update_rule;

/* Row-wise loss: for n rows of k logits writes each row's loss and its derivative (of that row's own loss, unscaled).
 */
typedef void (*pr_loss_rows)(const void *arg, int64_t n, int k, const float *logits, const int32_t *labels, float *loss,
                             float *dlogits);

typedef struct pr_trainer pr_trainer;

/* The trainer owns the moving parameters from here on: `weights` is stale until pr_trainer_sync. Batches of up to
 * `batch` images. Of precision bf16: convolutions and their gradients read activations, gradients and weights rounded
 * to bf16 and sum in f32; parameters, moments, batch norm, other layers and the loss are f32. PARRY_UNSUPPORTED as
 * parry_precision_check. */
PARRY_CHECKED parry_status pr_trainer_create(parry_ctx *ctx, const pr_graph *graph, pr_weights *weights, int batch,
                                             const pr_update_rule *rule, pr_backend backend, parry_precision precision,
                                             pr_trainer **out);
void pr_trainer_free(pr_trainer *trainer);
/* One step on n images (0 < n <= batch): forward in training mode, loss averaged over n, backward, update, running
 * statistics. (seed, step) key the dropout masks. *loss_sum: sum of the rows' losses; *correct: rows whose largest
 * logit (in training mode) is the label. */
PARRY_CHECKED parry_status pr_trainer_step(parry_ctx *ctx, pr_trainer *trainer, const float *x, const int32_t *labels,
                                           int n, pr_loss_rows loss, const void *loss_arg, uint64_t seed, uint64_t step,
                                           const double *scalars, float weight_decay, double *loss_sum,
                                           int64_t *correct);
/* Writes the parameters and running statistics back to the weights (new version). Cheap enough to call every step. */
PARRY_CHECKED parry_status pr_trainer_sync(parry_ctx *ctx, pr_trainer *trainer);
/* Optimiser moments in plain row-major order of each trained weight, for checkpoints: copies moment `moment` of weight
 * `weight` out (store false) or in (true). */
PARRY_CHECKED parry_status pr_trainer_moment(parry_ctx *ctx, pr_trainer *trainer, int32_t weight, int moment,
                                             float *data, bool store);
/* Takes the weights' current values as the parameters (after loading a checkpoint). */
PARRY_CHECKED parry_status pr_trainer_load(parry_ctx *ctx, pr_trainer *trainer);
PARRY_CHECKED parry_status pr_trainer_text(parry_ctx *ctx, const pr_trainer *trainer, char **out);

/* ---- the oracle: plain C, whole batch, logical NCHW layout ------------------------------------------------------ */

/* Runs one node: in[i] and out[i] point to row-major tensors of the graph's shapes with `batch` for PR_BATCH. (seed,
 * step) key dropout masks. */
PARRY_CHECKED parry_status pr_ref_node(parry_ctx *ctx, const pr_graph *graph, const pr_node *node, int64_t batch,
                                       const float *const *in, float *const *out, uint64_t seed, uint64_t step);
/* Evaluates the whole graph for `wanted` values; inputs are given by value id. Slow and simple. */
typedef struct pr_ref_feed {
    pr_value value;
    const float *data;
} pr_ref_feed;
PARRY_CHECKED parry_status pr_ref_run(parry_ctx *ctx, const pr_graph *graph, const pr_weights *weights, int64_t batch,
                                      const pr_ref_feed *feeds, size_t feed_count, const pr_value *wanted,
                                      size_t wanted_count, float *const *results, uint64_t seed, uint64_t step);

/* The mask of a dropout node, shared by every backend: kept[i] for the `row` elements of batch row `index`. Philox key
 * (seed, PR_STREAM_DROPOUT, step * 2^16 + stream), draws row-wise: element e of row r is word e % 4 of block r *
 * ceil(row / 4) + e / 4. Kept when the unit draw >= ratio. */
void pr_dropout_mask(uint64_t seed, uint64_t step, int32_t stream, float ratio, int64_t index, int64_t row,
                     float *scale);

/* Names and versions of what computes: "oneDNN 2.6.3, avx512_core". */
const char *pr_engine_version(void);

#endif
