/* A stage of training that the checkpoints in corpus/checkpoint belong to: one dense layer by SGD. Shared by the fuzz
 * target and the unit test that replays its seeds. */
#ifndef PARRY_FUZZ_CHECKPOINT_H
#define PARRY_FUZZ_CHECKPOINT_H

#include <string.h>

#include "base/file.h"
#include "nn/chain.h"
#include "train/train.h"

enum { FUZZ_EPOCHS = 3, FUZZ_STEPS = 5 };

typedef struct fuzz_stage {
    pr_graph *graph;
    pr_training training;
} fuzz_stage;

static inline parry_status fuzz_stage_open(parry_ctx *ctx, fuzz_stage *out)
{
    static const pr_image_limits limits = {.name = "dense", .side_min = 1, .side_max = 2};
    pr_training *t = &out->training;
    *out = (fuzz_stage){.training = {.optimiser = pr_optimiser_at(1), .epochs = FUZZ_EPOCHS, .steps = FUZZ_STEPS}};
    t->record =
        json_pack("{s:s, s:i, s:{s:f, s:s}}", "method", "train", "seed", 0, "settings", "lr", 0.5, "precision", "f32");
    t->curve = json_array();
    TRY(pr_graph_create(ctx, &out->graph));
    TRY(pr_weights_create(ctx, &t->weights));
    pr_chain chain = {.ctx = ctx, .graph = out->graph, .weights = t->weights};
    TRY(pr_chain_begin(&chain, &limits, 1, 2, 2, 3));
    TRY(pr_chain_flatten(&chain, "flatten"));
    TRY(pr_chain_end(&chain, 0, "logits", 3));
    pr_initialise(out->graph, t->weights, 0);
    return pr_trainer_create(ctx, out->graph, t->weights, 1, &t->optimiser->rule, PR_BACKEND_AUTO, PARRY_F32,
                             &t->trainer);
}

static inline void fuzz_stage_close(fuzz_stage *stage)
{
    pr_trainer_free(stage->training.trainer);
    json_decref(stage->training.record);
    json_decref(stage->training.curve);
    pr_weights_free(stage->training.weights);
    pr_graph_free(stage->graph);
}

/* The seeds lack the SHA-256 with which a checkpoint ends, so that a fuzzer's changes go past it: the whole file, to be
 * freed with pr_free. */
static inline parry_status fuzz_checkpoint(parry_ctx *ctx, const uint8_t *data, size_t size, uint8_t **out,
                                           size_t *total)
{
    char hex[PR_SHA256_HEX];
    *total = size + PR_SHA256_HEX - 1;
    TRY(pr_alloc_raw(ctx, *total, out));
    memcpy(*out, data, size);
    pr_sha256(data, size, hex);
    memcpy(*out + size, hex, PR_SHA256_HEX - 1);
    return PARRY_OK;
}

/* Whether the stage stands at a place that it has. */
static inline bool fuzz_stage_holds(const pr_training *t)
{
    return t->at.epoch >= 0 && t->at.epoch <= FUZZ_EPOCHS && t->at.step >= 0 && t->at.step <= FUZZ_STEPS &&
           json_array_size(t->curve) == (size_t)t->at.epoch;
}

#endif
