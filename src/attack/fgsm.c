/* FGSM: one steepest-ascent step onto the surface of the ball.
 *
 * Goodfellow, Shlens, Szegedy, "Explaining and harnessing adversarial examples", arXiv:1412.6572, section 4:
 *   adv = x + eps sign(grad_x L(x, y))
 * In L2 the sign gives way to the gradient over its length, the steepest direction there. The loss is the threat's. */
#include "attack/impl.h"

static parry_status fgsm_run(parry_ctx *ctx, pr_run *run, const void *params, const pr_batch *in, pr_tensor *adv)
{
    const parry_threat *threat = pr_run_threat(run);
    pr_tensor grad;
    (void)params;
    TRY(pr_scratch_like(ctx, run, in->x, &grad));
    TRY(pr_loss_grad(ctx, run, &in->x, in->labels, NULL, NULL, &grad));
    pr_copy(adv->data, in->x.data, in->x.n * in->x.row);
    pr_ascend(threat, threat->eps, &grad, adv);
    pr_project(threat, &in->x, adv);
    return PARRY_OK;
}

const pr_attack_impl pr_attack_fgsm = {
    .info = {
        .name = "fgsm",
        .summary = "one step along the gradient, onto the surface of the ball",
        .cite = "arXiv:1412.6572",
        .needs = PARRY_NEEDS_GRADIENT,
        .norms = PARRY_NORM_BIT(PARRY_LINF) | PARRY_NORM_BIT(PARRY_L2),
    },
    .run = fgsm_run,
};
