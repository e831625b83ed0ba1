/* FGSM: one steepest-ascent step onto the surface of the ball.
 *
 * Goodfellow, Shlens, Szegedy, "Explaining and harnessing adversarial examples", arXiv:1412.6572, section 4:
 *   adv = x + eps sign(grad_x L(x, y))
 * In L2 the sign gives way to the gradient over its length, the steepest direction there. The loss is the threat's;
 * towards a target it is descended: adv = x - eps sign(grad_x L(x, target)). The gradient is the same for every eps. */
#include "attack/impl.h"

static parry_status fgsm_direction(parry_ctx *ctx, pr_run *run, const void *params, const pr_batch *in, pr_tensor *out)
{
    (void)params;
    return pr_loss_grad(ctx, run, &in->x, in->goals, NULL, NULL, out);
}

static parry_status fgsm_run(parry_ctx *ctx, pr_run *run, const void *params, const pr_batch *in, pr_tensor *adv)
{
    pr_tensor grad;
    TRY(pr_scratch_like(ctx, run, in->x, &grad));
    TRY(fgsm_direction(ctx, run, params, in, &grad));
    pr_step_to_surface(run, in, &grad, adv);
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
    .direction = fgsm_direction,
};
