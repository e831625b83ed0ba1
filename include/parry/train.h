/* Training and hardening. */
#ifndef PARRY_TRAIN_H
#define PARRY_TRAIN_H

#include <parry/attack.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Optimiser, schedule and bookkeeping, shared by training and hardening. Option table: parry_train_options. */
typedef struct parry_train_settings {
    int64_t epochs, batch;
    int optimiser;          /* 0 adam, 1 sgd (with momentum) */
    double lr;              /* initial learning rate */
    double momentum;        /* sgd only */
    double weight_decay;    /* L2, added to the gradient of weights that are not biases or batch-norm parameters */
    int schedule;           /* 0 constant, 1 step (x 0.1 at 1/2 and 3/4), 2 cosine to 0, 3 linear to 0 */
    int precision;          /* parry_precision: what convolutions and their gradients read; they sum in f32, and
                             * weights, the optimiser, batch norm and losses are f32 in both */
    const char *checkpoint; /* file written after each epoch and on interruption, NULL: none */
    bool resume;            /* continue from the checkpoint if it is there */
    bool so_far; /* train no further: the model becomes what the checkpoint, which must be there, holds, and its
                  * history tells where that stopped */
} parry_train_settings;
PARRY_API const parry_options *parry_train_options(void);
/* What can be told of settings before any images are read: PARRY_INVALID where a value is out of its range or one
 * option lacks another, PARRY_UNSUPPORTED as parry_precision_check. Training and hardening check it themselves. */
PARRY_API PARRY_CHECKED parry_status parry_train_check(parry_ctx *ctx, const parry_train_settings *settings);

/* Trains `model` on `dataset` by categorical cross-entropy. After each epoch `test` (may be NULL) is scored. The
 * model's history (see parry_model_info) records settings, seed, data and the curves. PARRY_CANCELLED leaves a valid
 * checkpoint. The same seed gives the same bytes for any number of threads and any resume point. PARRY_NUMERIC when the
 * loss stops being finite, PARRY_UNSUPPORTED as parry_precision_check. On any failure the model is left with the
 * weights that it came with. */
PARRY_API PARRY_CHECKED parry_status parry_train(parry_ctx *ctx, parry_model *model, const parry_dataset *dataset,
                                                 const parry_dataset *test, const parry_train_settings *settings);

typedef struct parry_harden_settings {
    int method;          /* index into parry_harden_list */
    double share;        /* finetune, mixed: share of adversaries (finetune: 1 means adversaries only) */
    int64_t adversaries; /* finetune: how many images are attacked, once, before tuning; 0: all */
    int preset;          /* pgd: 0 madry (40 steps of 0.01 at eps 0.3), 1 short (named so in every output) */
    bool keep_weights;   /* pgd: start from the file's weights instead of afresh */
    const char *attack;  /* attack spec; NULL: the method's own (fgsm; pgd) */
} parry_harden_settings;
PARRY_API const parry_options *parry_harden_options(void);
/* "finetune", "mixed", "pgd"; NULL-terminated. */
PARRY_API const char *const *parry_harden_list(void);
/* The settings that a method starts from, where they differ from the tables' defaults, as "name=value" words (rows of
 * the harden, train and threat tables); an explicit option wins. `preset` is an index into the choices of the option
 * "preset". */
PARRY_API const char *parry_harden_defaults(int method, int preset);

/* Hardens `model` in place. finetune: adversaries of `dataset` made once against the model as given, then training on
 * them; mixed: every batch is part original, part adversaries of the model as it is (arXiv:1412.6572 in spirit); pgd:
 * Madry et al., arXiv:1706.06083. */
PARRY_API PARRY_CHECKED parry_status parry_harden(parry_ctx *ctx, parry_model *model, const parry_dataset *dataset,
                                                  const parry_dataset *test, const parry_harden_settings *harden,
                                                  const parry_threat *threat, const parry_train_settings *settings);

#ifdef __cplusplus
}
#endif
#endif
