/* What an attack is written against. An attack sees rows of pixels, labels, losses and gradients; never graphs or
 * engines. */
#ifndef PR_ATTACK_IMPL_H
#define PR_ATTACK_IMPL_H

#include <parry/attack.h>
#include <parry/criterion.h>

#include "base/opt.h"
#include "model/model.h"
#include "space/space.h"

/* What one image is attacked for: away from `label`, or towards `target` where that is not -1. */
typedef struct pr_goal {
    int32_t label, target;
} pr_goal;

/* A batch of images under attack. */
typedef struct pr_batch {
    pr_tensor x; /* n x (C*H*W) */
    const pr_goal *goals;
    const int64_t *index; /* each image's number in its dataset: it keys its random draws */
    const double *eps;    /* each image's radius; the threat's own eps is not used */
} pr_batch;

/* One worker's run over one batch. */
typedef struct pr_run pr_run;

typedef struct pr_attack_impl {
    parry_attack_info info;
    bool keeps_best; /* never returns less than the clean image: what met the criterion still does, and the loss does
                        not sink (but to meet the criterion at a smaller loss is more than not to meet it) */
    /* Writes adv (n x row). adv's content is undefined on entry. params: the attack's option struct or NULL. */
    parry_status (*run)(parry_ctx *ctx, pr_run *run, const void *params, const pr_batch *in, pr_tensor *adv);
    /* For attacks whose adversary at any eps is pr_step_to_surface along one and the same direction: writes that
     * direction, so that the search for the smallest eps asks for it once. NULL for the others. */
    parry_status (*direction)(parry_ctx *ctx, pr_run *run, const void *params, const pr_batch *in, pr_tensor *out);
    /* Writes name and strength, "PGD-40", for tables; NULL: upper-case name. */
    void (*label)(const void *params, char *text, size_t size);
    /* Warns (pr_log) of settings that make it weak against this threat; NULL: never. */
    void (*review)(parry_ctx *ctx, const void *params, const parry_threat *threat);
} pr_attack_impl;

/* NULL beyond the end; the order of registry.def. */
const pr_attack_impl *pr_attack_impl_at(size_t index);

/* The threat of image i of the batch: the run's, with the image's own eps. */
parry_threat pr_image_threat(const pr_run *run, const pr_batch *in, int64_t i);
/* Scratch that lives until the run ends (contents undefined): a tensor like `like` in shape, or `count` items of *out.
 * Taken from the run's arena: call before inner loops. */
PARRY_CHECKED parry_status pr_scratch_like(parry_ctx *ctx, pr_run *run, pr_tensor like, pr_tensor *out);
PARRY_CHECKED parry_status pr_scratch_bytes(parry_ctx *ctx, pr_run *run, size_t size, void **out);
#define pr_scratch(ctx, run, count, out)                                                                               \
    pr_scratch_bytes((ctx), (run), (size_t)(count) * sizeof(**(out)), (void **)(out))
/* What gradient attacks climb, and its gradient at x, per image: the threat's loss of the label, or minus that of the
 * target. loss (n) and logits (n x K) may be NULL. All in the threat's precision: where pr_run_estimates, losses and
 * logits point to candidates, and pr_loss_only decides. */
PARRY_CHECKED parry_status pr_loss_grad(parry_ctx *ctx, pr_run *run, const pr_tensor *x, const pr_goal *goals,
                                        float *loss, float *logits, pr_tensor *grad);
bool pr_run_estimates(const pr_run *run);
/* The same loss, which may be NULL, and the logits, in f32 whatever the precision. */
PARRY_CHECKED parry_status pr_loss_only(parry_ctx *ctx, pr_run *run, const pr_tensor *x, const pr_goal *goals,
                                        float *loss, float *logits);
/* Whether a row of logits meets the run's criterion. */
bool pr_met(const pr_run *run, const float *logits, pr_goal goal);
/* Which of two adversaries of an image is kept: to meet the criterion beats not to, then the larger loss wins. */
bool pr_better(bool met, float loss, bool than_met, float than_loss);
/* adv = each image moved by its eps along its direction (see pr_ascend_row), inside its ball and box. */
void pr_step_to_surface(const pr_run *run, const pr_batch *in, const pr_tensor *direction, pr_tensor *adv);
/* Random draws of image `index`, restart number `draw`. */
pr_rng pr_run_rng(const pr_run *run, int64_t index, uint32_t draw);
int pr_run_classes(const pr_run *run);

/* ---- running (attack/rows.c), used by the public functions, training and evaluation ---------------------------- */

/* A threat's criterion and target, looked up in a model. */
typedef struct pr_aim pr_aim;
PARRY_CHECKED parry_status pr_aim_create(parry_ctx *ctx, const parry_threat *threat, const parry_model *model,
                                         pr_aim **out);
void pr_aim_free(pr_aim *aim);
bool pr_aim_met(const pr_aim *aim, const float *logits, int classes, pr_goal goal);

/* Rows of pixels to attack in parallel, and where to write what comes of it. */
typedef struct pr_attack_request {
    const parry_attack *attack;
    const parry_threat *threat;
    const pr_aim *aim; /* NULL: made from the threat */
    const parry_model *model;
    const float *x; /* n x row; NULL: the first n images of */
    const parry_dataset *dataset;
    const int32_t *labels; /* n; -1: unknown, the image is attacked away from what the model calls it */
    const int64_t *index;  /* n numbers in the dataset, which key random draws; NULL: first_index + i */
    int64_t first_index, n;
    uint64_t seed;
    const char *task;                          /* what the progress is called; NULL: none is told */
    float *adv;                                /* written: n x row; or NULL */
    double *sizes;                             /* written: n, of adv minus image in the threat's norm; or NULL */
    float *logits;                             /* written: n x K, at adv; or NULL */
    pr_goal *goals;                            /* written: n, with labels and targets as they were used; or NULL */
    int64_t forward_queries, gradient_queries; /* added to: image evaluations of the attack alone */
    /* The smallest eps instead of the threat's: see parry_attack_minimal_eps. NULL: no. */
    const parry_eps_search *search;
    double *minimal_eps, *failed_eps; /* written by the search: n each */
} pr_attack_request;
PARRY_CHECKED parry_status pr_attack_rows(parry_ctx *ctx, pr_attack_request *request);
/* parry_attack_run without `originals` and `adversaries`, which stay NULL: in memory are a few chunks of images. */
PARRY_CHECKED parry_status pr_attack_score(parry_ctx *ctx, const parry_attack *attack, const parry_threat *threat,
                                           const parry_model *model, const parry_dataset *dataset,
                                           parry_attack_result *out);

/* ---- streams (attack/stream.c): for trainers that resume ------------------------------------------------------- */

/* Moves to batch `batch` of pass `pass`. What parry_stream_next writes from there on depends on the seed, these two
 * numbers and the model alone; random starts of an image differ from pass to pass. */
PARRY_CHECKED parry_status pr_stream_seek(parry_ctx *ctx, parry_stream *stream, int64_t pass, int64_t batch);

#endif
