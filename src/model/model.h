/* The narrow waist: what attacks and trainers see of a classifier. Behind the vtable is a network today; other kinds of
 * model come beside it. */
#ifndef PR_MODEL_MODEL_H
#define PR_MODEL_MODEL_H

#include <parry/model.h>

#include "nn/nn.h"

/* One worker's workspaces on a model. Counts its queries (image evaluations). */
typedef struct pr_session pr_session;

typedef struct pr_model_vtable {
    const char *kind; /* "network" */
    parry_status (*session_create)(parry_ctx *ctx, const parry_model *model, bool gradients, parry_precision precision,
                                   int64_t images, pr_session **out);
    void (*session_free)(pr_session *session);
    parry_status (*logits)(parry_ctx *ctx, pr_session *session, const float *x, int64_t n, float *logits);
    /* See pr_session_vjp. */
    parry_status (*vjp)(parry_ctx *ctx, pr_session *session, const float *x, int64_t n, int cotangents,
                        void (*cotangent)(void *arg, int which, int64_t first, int64_t n, const float *logits,
                                          float *dlogits),
                        void *arg, float *logits, float *const *grads);
    void (*free)(parry_model *model);
} pr_model_vtable;

/* `gradients`: whether vjp will be called. `precision`: of what is computed; PARRY_UNSUPPORTED where the processor has
 * no bf16. `images`: how many images one call will bring, roughly. Sessions of one
 * model may run on different threads at once. Create them outside inner loops. After the model's weights moved call
 * pr_model_refresh once, outside parallel regions. */
PARRY_CHECKED parry_status pr_session_create(parry_ctx *ctx, const parry_model *model, bool gradients,
                                             parry_precision precision, int64_t images, pr_session **out);
void pr_session_free(pr_session *session);
/* Any n; in micro-batches inside. Single-threaded in a parallel loop, but for its only job. x: n x C x H x W images in
 * [0,1] units. */
PARRY_CHECKED parry_status pr_session_logits(parry_ctx *ctx, pr_session *session, const float *x, int64_t n,
                                             float *logits);
/* Vector-Jacobian products: per micro-batch one forward pass, then for which = 0 .. cotangents-1 the callback writes
 * dlogits (rows first .. first+n of the batch) and grads[which] (n x row) receives the gradient of <dlogits, logits>
 * with respect to x. logits (n x K) may be NULL. */
PARRY_CHECKED parry_status pr_session_vjp(parry_ctx *ctx, pr_session *session, const float *x, int64_t n,
                                          int cotangents,
                                          void (*cotangent)(void *arg, int which, int64_t first, int64_t n,
                                                            const float *logits, float *dlogits),
                                          void *arg, float *logits, float *const *grads);
/* Loss and its gradient per image; logits, loss may be NULL. */
PARRY_CHECKED parry_status pr_session_loss_grad(parry_ctx *ctx, pr_session *session, const pr_loss *loss,
                                                const float *x, const int32_t *labels, int64_t n, float *logits,
                                                float *loss_out, float *grad);
int64_t pr_session_forward_queries(const pr_session *session);
int64_t pr_session_gradient_queries(const pr_session *session);

/* Whether photographs become the same images for both. */
bool pr_model_reads_alike(const parry_model *a, const parry_model *b);
/* How: "3 x 224 x 224 (--resize crop --resize-size 256)". */
PARRY_CHECKED parry_status pr_model_reading(parry_ctx *ctx, const parry_model *model, char **out);

/* Sessions of one model for the workers of a parallel loop over n images, each made when its worker first asks. */
typedef struct pr_workers {
    const parry_model *model;
    bool gradients;
    parry_precision precision;
    int64_t n;
    int count; /* the context's threads */
    pr_session **sessions;
} pr_workers;
PARRY_CHECKED parry_status pr_workers_init(parry_ctx *ctx, const parry_model *model, bool gradients,
                                           parry_precision precision, int64_t n, pr_workers *out);
PARRY_CHECKED parry_status pr_workers_session(parry_ctx *ctx, pr_workers *workers, int worker, pr_session **out);
/* Images per job: whole micro-batches, about n / 16 but at most `most` images. */
int64_t pr_workers_chunk(const pr_workers *workers, int64_t most);
/* Also after a failed init. */
void pr_workers_release(pr_workers *workers);

/* Logits of images [first, first + n) of `dataset` on all threads: each reads a chunk of images, of a few megabytes,
 * and classifies it. `images`, which may be NULL, receives them too; else `keep` says whether photographs will be asked
 * for again. `prepare`, which may be NULL, changes n values of images before they are classified. */
typedef struct pr_dataset_pass {
    const parry_dataset *dataset;
    int64_t first, n;
    void (*prepare)(float *values, int64_t n);
    bool keep;
    float *images, *logits;
} pr_dataset_pass;
PARRY_CHECKED parry_status pr_model_pass(parry_ctx *ctx, const parry_model *model, const pr_dataset_pass *pass);

/* PARRY_INVALID naming the first label outside 0..classes-1. */
PARRY_CHECKED parry_status pr_model_check_labels(parry_ctx *ctx, const parry_model *model, const int32_t *labels,
                                                 int64_t n);
/* PARRY_MISMATCH unless the dataset's images and classes are what the model takes and tells apart, in its order where
 * both name them. */
PARRY_CHECKED parry_status pr_model_check_dataset(parry_ctx *ctx, const parry_model *model,
                                                  const parry_dataset *dataset);
int64_t pr_model_row(const parry_model *model); /* C * H * W */
int pr_model_classes(const parry_model *model);

/* ---- networks only (training) ---------------------------------------------------------------------------------- */
PARRY_CHECKED parry_status pr_model_refresh(parry_ctx *ctx, const parry_model *model);
/* The declared graph and weights with the preprocessing and fitting nodes in front: takes images in [0,1].
 * PARRY_UNSUPPORTED for other kinds of model. */
PARRY_CHECKED parry_status pr_model_network(parry_ctx *ctx, parry_model *model, const pr_graph **graph,
                                            pr_weights **weights);
/* Weights are about to move every few steps (true) or have come to rest (false): sessions created from now on use plans
 * made for that. */
PARRY_CHECKED parry_status pr_model_set_moving(parry_ctx *ctx, parry_model *model, bool moving);
/* Replaces the history (JSON object text), which travels in the file's metadata under "parry.history". */
PARRY_CHECKED parry_status pr_model_set_history(parry_ctx *ctx, parry_model *model, const char *json);

#endif
