/* The threat model: what the adversary may do. */
#include "attack/attack.h"

/* As nn/losses.c numbers them; a test compares the two. */
static const char *const losses[] = {"ce", "mse", NULL};

PR_OPTIONS(pr_threat_options, parry_threat,
           OPT_CHOICE(parry_threat, norm, "norm", "linf", pr_norm_names, "how the size of a perturbation is measured"),
           OPT_FLOAT(parry_threat, eps, "eps", "0.1", 0, HUGE_VAL,
                     "largest perturbation, in units of the pixel range [0,1]; 8/255 works"),
           OPT_CHOICE(parry_threat, loss, "loss", "ce", losses,
                      "what gradient attacks climb: cross-entropy, or mean squared error of the softmax"),
           OPT_BOOL(parry_threat, clip, "clip", "true", "keep adversaries inside the pixel range"),
           OPT_STRING(parry_threat, criterion, "criterion", NULL, "TEXT",
                      "when an image counts as adversarial, such as confident:0.9 (parry help criteria); otherwise "
                      "misclassified, or with --target: targeted"),
           OPT_STRING(parry_threat, target, "target", NULL, "CLASS",
                      "drive images to this class, by name or number; or next, random, least-likely for each image"),
           OPT_BOOL(parry_threat, quantize, "quantize", "false",
                    "finish on the 8-bit grid: adversaries are what a PNG stores"),
           OPT_CHOICE(parry_threat, precision, "precision", "f32", parry_precision_names,
                      "what the search computes in; bf16 is about twice as fast where the processor has it; results "
                      "are judged in f32 either way"));

const parry_options *parry_threat_options(void)
{
    return &pr_threat_options;
}

parry_status parry_threat_check(parry_ctx *ctx, const parry_threat *threat)
{
    if (threat->norm != PARRY_LINF && threat->norm != PARRY_L2)
        return pr_fail(ctx, PARRY_INVALID, "the threat's norm is number %d, which does not exist", threat->norm);
    if (threat->loss < 0 || threat->loss >= (int)PR_COUNT(losses) - 1)
        return pr_fail(ctx, PARRY_INVALID, "the threat's loss is number %d, which does not exist", threat->loss);
    if (threat->precision != PARRY_F32 && threat->precision != PARRY_BF16)
        return pr_fail(ctx, PARRY_INVALID, "the threat's precision is number %d, which does not exist",
                       threat->precision);
    TRY(parry_precision_check(ctx, (parry_precision)threat->precision));
    if (!isfinite(threat->eps) || threat->eps < 0)
        return pr_fail(ctx, PARRY_INVALID, "--eps is %g; it must be finite and not negative", threat->eps);
    if (threat->norm == PARRY_LINF && threat->clip && threat->eps > 1)
        return pr_fail(
            ctx, PARRY_INVALID,
            "--eps is %g, but pixels lie in [0,1]: for linf it cannot be more than 1 (for 8-bit units write 8/255)",
            threat->eps);
    if (threat->quantize && !threat->clip)
        return pr_fail(ctx, PARRY_INVALID, "--quantize needs clipping: 8 bits hold pixels in [0,1] only");
    return threat->criterion ? parry_criterion_check(ctx, threat->criterion) : PARRY_OK;
}
