/* Mixed batches: part of every batch is replaced by adversaries of the model as it is at that step, so that it learns
 * both.
 *
 * Goodfellow, Shlens, Szegedy, arXiv:1412.6572, section 6, trains on alpha J(x, y) + (1 - alpha) J(x + eta, y) with
 * both terms on the same images and alpha 0.5. Here, as in the tutorial, the two halves are different images: a step
 * costs one batch, and an epoch shows each image once. */
#include "train/train.h"

static parry_status mixed_run(parry_ctx *ctx, parry_model *model, const pr_hardening *h)
{
    pr_stage stage = {.method = "mixed", .attack_spec = "fgsm", .share = h->harden->share};
    return pr_harden_live(ctx, model, h, &stage);
}

const pr_defence pr_defence_mixed = {
    .name = "mixed",
    .summary = "every batch is part original images, part adversaries of the model as it is at that step",
    .defaults = {"epochs=10 lr=1e-4 eps=0.1 share=0.5"},
    .run = mixed_run,
};
