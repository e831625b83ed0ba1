/* PGD adversarial training: the model is trained on nothing but adversaries of itself, made afresh for every batch by
 * projected gradient ascent from a random start; it approaches min over weights of E[max over the ball of the loss].
 *
 * Madry, Makelov, Schmidt, Tsipras, Vladu, "Towards deep learning models resistant to adversarial attacks",
 * arXiv:1706.06083. On MNIST they take eps 0.3 and 40 steps of 0.01. Deviations: adversaries are made with batch norm
 * in inference mode (their network has none), and the learning rate is larger, for far fewer steps. */
#include "train/train.h"

/* `short` is for a demonstration on a desk machine: few steps, of 2.5 eps / steps each (step=0), and fewer epochs. */
static const struct {
    const char *method, *attack;
} presets[PR_PRESET_COUNT] = {
    [PR_PRESET_MADRY] = {"pgd", "pgd:steps=40:step=0.01"},
    [PR_PRESET_SHORT] = {"pgd (short)", "pgd:steps=7:step=0"},
};

static parry_status pgd_run(parry_ctx *ctx, parry_model *model, const pr_hardening *h)
{
    pr_stage stage = {
        .method = presets[h->harden->preset].method,
        .attack_spec = presets[h->harden->preset].attack,
        .share = 1,
        .afresh = !h->harden->keep_weights,
    };
    return pr_harden_live(ctx, model, h, &stage);
}

const pr_defence pr_defence_pgd = {
    .name = "pgd",
    .summary = "every image is replaced by a PGD adversary of the model as it is at that step (Madry et al.)",
    .defaults = {[PR_PRESET_MADRY] = "epochs=20 lr=1e-3 eps=0.3",
                 [PR_PRESET_SHORT] = "epochs=3 lr=2e-3 schedule=linear eps=0.3"},
    .run = pgd_run,
};
