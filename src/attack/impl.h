/* What an attack is written against. An attack sees rows of pixels, labels, losses and gradients; never graphs or
 * engines. */
#ifndef PR_ATTACK_IMPL_H
#define PR_ATTACK_IMPL_H

#include <parry/attack.h>

#include "base/opt.h"
#include "model/model.h"
#include "space/space.h"

/* A batch of images under attack. index[i] is image i's number in its dataset: it keys its random draws. */
typedef struct pr_batch {
    pr_tensor x; /* n x (C*H*W) */
    const int32_t *labels;
    const int64_t *index;
} pr_batch;

/* One worker's run over one batch. */
typedef struct pr_run pr_run;

typedef struct pr_attack_impl {
    parry_attack_info info;
    bool keeps_best; /* never returns less than the clean image: what was misclassified stays so, and the loss does not
                        sink (but to be fooled at a smaller loss is more than not to be fooled) */
    /* Writes adv (n x row). adv's content is undefined on entry. params: the attack's option struct or NULL. */
    parry_status (*run)(parry_ctx *ctx, pr_run *run, const void *params, const pr_batch *in, pr_tensor *adv);
    /* Writes name and strength, "PGD-40", for tables; NULL: upper-case name. */
    void (*label)(const void *params, char *text, size_t size);
    /* Warns (pr_log) of settings that make it weak against this threat; NULL: never. */
    void (*review)(parry_ctx *ctx, const void *params, const parry_threat *threat);
} pr_attack_impl;

/* NULL beyond the end; the order of registry.def. */
const pr_attack_impl *pr_attack_impl_at(size_t index);

const parry_threat *pr_run_threat(const pr_run *run);
/* Scratch that lives until the run ends, like `like` in shape (contents undefined). Taken from the run's arena: call
 * before inner loops. */
PARRY_CHECKED parry_status pr_scratch_like(parry_ctx *ctx, pr_run *run, pr_tensor like, pr_tensor *out);
PARRY_CHECKED parry_status pr_scratch_bytes(parry_ctx *ctx, pr_run *run, size_t size, void **out);
/* The threat's loss and its gradient at x, per image; loss (n) and logits (n x K) may be NULL. */
PARRY_CHECKED parry_status pr_loss_grad(parry_ctx *ctx, pr_run *run, const pr_tensor *x, const int32_t *labels,
                                        float *loss, float *logits, pr_tensor *grad);
/* The threat's loss, which may be NULL, and the logits. */
PARRY_CHECKED parry_status pr_loss_only(parry_ctx *ctx, pr_run *run, const pr_tensor *x, const int32_t *labels,
                                        float *loss, float *logits);
/* Whole-batch forms of space.h. */
void pr_ascend(const parry_threat *threat, double step, const pr_tensor *grad, pr_tensor *adv);
void pr_project(const parry_threat *threat, const pr_tensor *center, pr_tensor *adv);
/* Random draws of image `index`, restart number `draw`. */
pr_rng pr_run_rng(const pr_run *run, int64_t index, uint32_t draw);
int pr_run_classes(const pr_run *run);

/* ---- running (attack/run.c), used by the public functions, training and evaluation ---------------------------- */

/* Rows of pixels to attack in parallel, and where to write what comes of it. */
typedef struct pr_attack_request {
    const parry_attack *attack;
    const parry_threat *threat;
    const parry_model *model;
    const float *x;        /* n x row */
    const int32_t *labels; /* n */
    const int64_t *index;  /* n numbers in the dataset, which key random draws; NULL: first_index + i */
    int64_t first_index, n;
    uint64_t seed;
    const char *task;      /* what the progress is called; NULL: none is told */
    float *adv;            /* written: n x row */
    float *logits;         /* written: n x K, at adv; or NULL */
    int64_t forward_queries, gradient_queries; /* added to: image evaluations of the attack alone */
} pr_attack_request;
PARRY_CHECKED parry_status pr_attack_rows(parry_ctx *ctx, pr_attack_request *request);

/* ---- streams (attack/stream.c): for trainers that resume ------------------------------------------------------- */

/* Moves to batch `batch` of pass `pass`. What parry_stream_next writes from there on depends on the seed, these two
 * numbers and the model alone; random starts of an image differ from pass to pass. */
PARRY_CHECKED parry_status pr_stream_seek(parry_ctx *ctx, parry_stream *stream, int64_t pass, int64_t batch);

#endif
