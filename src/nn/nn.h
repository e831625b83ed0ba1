/* Network builders, initialisers, losses, optimisers and learning-rate schedules. */
#ifndef PR_NN_NN_H
#define PR_NN_NN_H

#include "engine/engine.h"

/* ---- builders --------------------------------------------------------------------------------------------------- */
typedef struct pr_arch {
    const char *name, *summary;
    int side; /* pixels of the square images that its authors made it for */
    /* Adds the network to an empty graph and store (uninitialised weights; roles and names set). */
    parry_status (*build)(parry_ctx *ctx, pr_graph *graph, pr_weights *weights, int channels, int height, int width,
                          int classes);
    /* Draws the first weights as the architecture's authors do. New version. */
    void (*initialise)(const pr_graph *graph, pr_weights *weights, uint64_t seed);
} pr_arch;
const pr_arch *pr_arch_at(size_t index); /* NULL beyond the end */
PARRY_CHECKED parry_status pr_arch_find(parry_ctx *ctx, const char *name, const pr_arch **out);
/* Keras' defaults: Glorot uniform kernels (from PR_STREAM_INIT, sample = weight index), zero biases and shifts, unit
 * scales and variances. What a weight is follows from the nodes that use it, so an imported network starts afresh as
 * well as a built one; constants stay. New version. */
void pr_initialise(const pr_graph *graph, pr_weights *weights, uint64_t seed);

/* ---- losses ----------------------------------------------------------------------------------------------------- */
/* Row-wise, on logits; derivatives are of each row's own loss. Labels in 0..k-1. loss or dlogits may be NULL where only
 * the other is wanted. */
typedef struct pr_loss {
    const char *name, *summary;
    pr_loss_rows rows;
} pr_loss;
/* "ce": cross-entropy of softmax; "mse": mean squared error between softmax and one-hot (mean over classes, as Keras'
 * MeanSquaredError); NULL beyond the end. */
const pr_loss *pr_loss_at(size_t index);
const char *const *pr_loss_names(void); /* NULL-terminated, in registry order */

/* ---- optimisers ------------------------------------------------------------------------------------------------- */
enum { PR_SCALARS_MAX = 8 };
typedef struct pr_optimiser {
    const char *name;
    pr_update_rule rule;
    /* Fills the scalars of step `step` (1 = first) for learning rate lr and momentum. */
    void (*scalars)(double lr, double momentum, uint64_t step, double scalars[PR_SCALARS_MAX]);
} pr_optimiser;
/* 0: adam (Keras: beta 0.9, 0.999, epsilon 1e-7), 1: sgd with momentum. */
const pr_optimiser *pr_optimiser_at(size_t index);
/* Learning rate of step `step` (0-based) of `total`: lr times the factor of parry_train_settings.schedule. */
double pr_schedule_rate(int schedule, double lr, uint64_t step, uint64_t total);

#endif
