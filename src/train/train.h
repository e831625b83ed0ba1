/* Inside the train layer: a stage of training, what is recorded of it, its checkpoint; and the defences, which are made
 * of stages. */
#ifndef PR_TRAIN_TRAIN_H
#define PR_TRAIN_TRAIN_H

#include <parry/train.h>

#include "attack/impl.h"
#include "base/json.h"

/* ---- stages (loop.c) --------------------------------------------------------------------------------------- */

/* One pass of the training loop over a model, from its weights or afresh. */
typedef struct pr_stage {
    const char *method; /* as progress and history name it */
    const parry_train_settings *settings;
    const parry_dataset *source; /* the dataset that the history names */
    const parry_dataset *data;   /* what batches are drawn from: `source`, or what a defence made of it */
    const parry_dataset *test;   /* scored after each epoch, or NULL */
    bool afresh;                 /* begin with new weights; the model's earlier history ends here */
    const parry_attack *attack;  /* NULL: no adversaries are involved */
    const char *attack_spec;
    const parry_threat *threat;
    double share;  /* of adversaries in what is trained on */
    bool live;     /* made batch by batch against the moving weights; otherwise `data` holds them already */
    json_t *extra; /* further fields of the history's entry, borrowed, or NULL */
} pr_stage;

/* Trains the model and appends to its history. On failure the model has the weights that it came with. */
PARRY_CHECKED parry_status pr_stage_run(parry_ctx *ctx, parry_model *model, const pr_stage *stage);

/* Where a stage stands: `step` batches of epoch `epoch` are done, with these sums over them. */
typedef struct pr_position {
    int64_t epoch, step;
    int64_t seen, correct;
    double loss_sum;
} pr_position;

/* A stage under way. */
typedef struct pr_training {
    const pr_stage *stage;
    parry_model *model;
    pr_weights *weights;
    pr_trainer *trainer;
    parry_stream *stream;
    const pr_optimiser *optimiser;
    json_t *record;        /* what identifies the stage: pr_record_create */
    json_t *curve;         /* an entry per finished epoch */
    int64_t epochs, steps; /* in all; batches in an epoch */
    pr_position at;
    float *images;
    int32_t *labels;
} pr_training;

/* ---- checkpoints (checkpoint.c) ---------------------------------------------------------------------------- */

/* Writes weights, moments, position and curve, atomically. */
PARRY_CHECKED parry_status pr_checkpoint_write(parry_ctx *ctx, const char *path, pr_training *training);
/* Takes them from the file, which must have been written by the same stage on the same model and data. */
PARRY_CHECKED parry_status pr_checkpoint_read(parry_ctx *ctx, const char *path, pr_training *training);

/* ---- history (history.c) ----------------------------------------------------------------------------------- */

/* The stage's entry without its curve: method, seed, settings, data, attack. `from` is the SHA-256 of the weights it
 * starts from. */
PARRY_CHECKED parry_status pr_record_create(parry_ctx *ctx, const pr_stage *stage, const char *from, json_t **out);
/* Appends one epoch's figures; test figures only where there is a test set. */
PARRY_CHECKED parry_status pr_curve_append(parry_ctx *ctx, json_t *curve, const pr_position *at, double lr,
                                           const double *test_loss, const double *test_acc);
/* Sets the model's history: the stages that it had (none when the stage began afresh), then this one, with where it
 * stopped if that was before its end. */
PARRY_CHECKED parry_status pr_history_append(parry_ctx *ctx, parry_model *model, const pr_training *training);

/* ---- settings (options.c) ---------------------------------------------------------------------------------- */

/* Every value of an option struct within its row's range, as if it had been read from text. */
PARRY_CHECKED parry_status pr_settings_check(parry_ctx *ctx, const parry_options *table, const void *values);

/* ---- defences (harden.c, and a file each) ------------------------------------------------------------------ */

typedef enum pr_preset { PR_PRESET_MADRY, PR_PRESET_SHORT, PR_PRESET_COUNT } pr_preset;

/* What a defence is given. */
typedef struct pr_hardening {
    const parry_dataset *dataset, *test;
    const parry_harden_settings *harden;
    const parry_threat *threat;
    const parry_train_settings *settings;
} pr_hardening;

typedef struct pr_defence {
    const char *name, *summary;
    const char *defaults[PR_PRESET_COUNT]; /* "name=value" words; NULL: those of the first preset */
    parry_status (*run)(parry_ctx *ctx, parry_model *model, const pr_hardening *hardening);
} pr_defence;

#define PR_DEFENCE(name) extern const pr_defence pr_defence_##name;
#include "train/registry.def"
#undef PR_DEFENCE

/* An attack for making training images: it spends all its steps on every image, unless `spec` says otherwise. */
PARRY_CHECKED parry_status pr_training_attack(parry_ctx *ctx, const char *spec, parry_attack **out);

/* Runs a stage whose batches are attacked as the model moves, on the images that the defence is given. `stage` brings
 * its method, the attack to use unless the user names another (attack_spec), its share and whether it begins afresh. */
PARRY_CHECKED parry_status pr_harden_live(parry_ctx *ctx, parry_model *model, const pr_hardening *hardening,
                                          pr_stage *stage);

#endif
