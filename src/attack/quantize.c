/* Finishing on the 8-bit grid: adversaries become multiples of 1/255, stay in the ball, and meet the criterion where a
 * way of rounding is found that does.
 *
 * First every pixel goes to the nearest level. Where that loses the criterion, what lies between two levels is rounded
 * in the direction in which the loss grows, along one more gradient; the better of the two stays. An attack that
 * never returns less than the clean image keeps that promise. In L2, where rounding may leave the ball, pixels are
 * moved back towards the image. */
#include "attack/attack.h"

typedef struct finish {
    pr_run *run;
    const pr_batch *in;
    pr_tensor *adv, meant;
    float *loss, *logits;             /* of adv, by image */
    float *other_loss, *other_logits; /* of what might take its place */
    pr_grid_rank *ranks;
} finish;

static bool met(const finish *f, const float *logits, int64_t j, int64_t image)
{
    return pr_met(f->run, logits + j * f->run->classes, f->in->goals[image]);
}

static parry_status finish_init(parry_ctx *ctx, pr_run *run, const pr_batch *in, pr_tensor *adv, finish *out)
{
    const int64_t n = in->x.n, logits = n * run->classes;
    *out = (finish){.run = run, .in = in, .adv = adv};
    TRY(pr_scratch_like(ctx, run, in->x, &out->meant));
    TRY(pr_scratch(ctx, run, n, &out->loss));
    TRY(pr_scratch(ctx, run, logits, &out->logits));
    TRY(pr_scratch(ctx, run, n, &out->other_loss));
    TRY(pr_scratch(ctx, run, logits, &out->other_logits));
    TRY(pr_scratch(ctx, run, in->x.row, &out->ranks));
    pr_copy(out->meant.data, adv->data, in->x.n * in->x.row);
    return PARRY_OK;
}

static void fit(const finish *f, int64_t i, float *x)
{
    const int64_t row = f->in->x.row;
    const parry_threat threat = pr_image_threat(f->run, f->in, i);
    pr_grid_fit_row(&threat, f->in->x.data + i * row, f->meant.data + i * row, x, row, f->ranks);
}

static parry_status round_to_nearest(parry_ctx *ctx, finish *f)
{
    const int64_t row = f->in->x.row;
    pr_grid_round(f->adv->data, f->in->x.n * row);
    for (int64_t i = 0; i < f->in->x.n; i++)
        fit(f, i, f->adv->data + i * row);
    return pr_loss_only(ctx, f->run, f->adv, f->in->goals, f->loss, f->logits);
}

static bool moved(const finish *f, int64_t i)
{
    const int64_t row = f->in->x.row;
    return pr_max_abs_diff(f->adv->data + i * row, f->meant.data + i * row, row) > 1e-6f;
}

/* Takes row j of the others, judged already, for image i where it is better. */
static void take_better(finish *f, int64_t i, int64_t j, const float *others)
{
    const int64_t row = f->in->x.row;
    const int classes = f->run->classes;
    if (!pr_better(met(f, f->other_logits, j, i), f->other_loss[j], met(f, f->logits, i, i), f->loss[i]))
        return;
    pr_copy(f->adv->data + i * row, others + j * row, row);
    pr_copy(f->logits + i * classes, f->other_logits + j * classes, classes);
    f->loss[i] = f->other_loss[j];
}

/* Rounds images that lost the criterion along the gradient. */
static parry_status round_along_gradient(parry_ctx *ctx, finish *f, const pr_tensor *direction)
{
    const int64_t row = f->in->x.row;
    pr_batch meant = *f->in;
    pr_subset some;
    pr_tensor grad;
    meant.x = f->meant;
    TRY(pr_subset_init(ctx, f->run, &meant, &some));
    TRY(pr_scratch_like(ctx, f->run, f->in->x, &grad));
    for (int64_t i = 0; i < meant.x.n; i++)
        if (!met(f, f->logits, i, i) && moved(f, i))
            pr_subset_add(&some, &meant, i, meant.eps[i]);
    if (some.batch.x.n == 0)
        return PARRY_OK;
    if (!direction)
        TRY(pr_loss_grad(ctx, f->run, &some.batch.x, some.goals, NULL, NULL, &grad));
    for (int64_t j = 0; j < some.batch.x.n; j++) {
        const float *along = direction ? direction->data + some.who[j] * row : grad.data + j * row;
        pr_grid_round_along(along, some.batch.x.data + j * row, row);
        fit(f, some.who[j], some.batch.x.data + j * row);
    }
    TRY(pr_loss_only(ctx, f->run, &some.batch.x, some.goals, f->other_loss, f->other_logits));
    for (int64_t j = 0; j < some.batch.x.n; j++)
        take_better(f, some.who[j], j, some.batch.x.data);
    return PARRY_OK;
}

static parry_status keep_clean(parry_ctx *ctx, finish *f)
{
    TRY(pr_loss_only(ctx, f->run, &f->in->x, f->in->goals, f->other_loss, f->other_logits));
    for (int64_t i = 0; i < f->in->x.n; i++)
        take_better(f, i, i, f->in->x.data);
    return PARRY_OK;
}

parry_status pr_quantize(parry_ctx *ctx, pr_run *run, const pr_batch *in, const pr_tensor *direction, pr_tensor *adv)
{
    finish f;
    TRY(finish_init(ctx, run, in, adv, &f));
    TRY(round_to_nearest(ctx, &f));
    if (run->attack->impl->info.needs & PARRY_NEEDS_GRADIENT)
        TRY(round_along_gradient(ctx, &f, direction));
    return run->attack->impl->keeps_best ? keep_clean(ctx, &f) : PARRY_OK;
}
