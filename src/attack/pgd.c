/* PGD: projected gradient ascent from a random point of the ball, repeated, the worst point kept for each image.
 *
 * Madry, Makelov, Schmidt, Tsipras, Vladu, "Towards deep learning models resistant to adversarial attacks",
 * arXiv:1706.06083: x0 uniform in the ball, x_{t+1} = Project(x_t + step * d(grad L(x_t))),  d = sign in linf, g / |g|
 * in L2. The default step is not the paper's 0.01 but 2.5 eps / steps, which fits any eps and norm and was measured to
 * be at least as strong (docs/attacks/pgd.md).
 *
 * Deviations, all in the attacker's favour: not the last iterate is returned but the worst of all iterates of all
 * restarts and the clean image, worst by the criterion first and by the loss among equals; an image of which some
 * iterate meets the criterion is done and leaves the batch (stop-when-fooled). Towards a target the loss of the target
 * is descended. */
#include <stdio.h>

#include "attack/impl.h"

typedef struct pgd {
    int64_t steps, restarts;
    double step;
    bool random_start, stop_when_fooled;
} pgd;

PR_OPTIONS(pr_pgd_options, pgd,
           OPT_INT(pgd, steps, "steps", "40", 1, 1e9, "gradient steps of each restart"),
           OPT_FLOAT(pgd, step, "step", "0", 0, HUGE_VAL,
                     "length of a step, in units of the pixel range; 0: 2.5 eps / steps"),
           OPT_INT(pgd, restarts, "restarts", "1", 1, 1e6, "independent walks for each image"),
           OPT_BOOL(pgd, random_start, "random-start", "true",
                    "start at a random point of the ball rather than at the image"),
           OPT_BOOL(pgd, stop_when_fooled, "stop-when-fooled", "true",
                    "an image is done once it meets the criterion; training wants false: the largest loss"));

/* The walk of one batch. Images still walking are packed: row j of the working arrays belongs to image who[j]. */
typedef struct walk {
    pr_run *run;
    const pgd *how;
    const pr_batch *in;
    pr_tensor *adv; /* the worst so far, by image */
    float *worst;   /* its loss, by image */
    bool *met;      /* whether it meets the criterion, by image */
    int64_t active; /* rows in use below */
    int64_t *who;
    pr_goal *goals;
    pr_tensor at, grad;
    float *loss, *logits;
} walk;

static parry_status walk_init(parry_ctx *ctx, pr_run *run, const pgd *how, const pr_batch *in, pr_tensor *adv,
                              walk *out)
{
    const size_t n = (size_t)in->x.n, classes = (size_t)pr_run_classes(run);
    *out = (walk){.run = run, .how = how, .in = in, .adv = adv};
    TRY(pr_scratch_bytes(ctx, run, n * sizeof *out->worst, (void **)&out->worst));
    TRY(pr_scratch_bytes(ctx, run, n * sizeof *out->met, (void **)&out->met));
    TRY(pr_scratch_bytes(ctx, run, n * sizeof *out->who, (void **)&out->who));
    TRY(pr_scratch_bytes(ctx, run, n * sizeof *out->goals, (void **)&out->goals));
    TRY(pr_scratch_bytes(ctx, run, n * sizeof *out->loss, (void **)&out->loss));
    TRY(pr_scratch_bytes(ctx, run, n * classes * sizeof *out->logits, (void **)&out->logits));
    TRY(pr_scratch_like(ctx, run, in->x, &out->at));
    return pr_scratch_like(ctx, run, in->x, &out->grad);
}

static float *row_of(const pr_tensor *tensor, int64_t i)
{
    return tensor->data + i * tensor->row;
}

static bool meets(const walk *w, int64_t j, pr_goal goal)
{
    return pr_met(w->run, w->logits + j * pr_run_classes(w->run), goal);
}

/* The clean images are the first candidates. */
static parry_status walk_from_clean(parry_ctx *ctx, walk *w)
{
    const pr_tensor *x = &w->in->x;
    TRY(pr_loss_only(ctx, w->run, x, w->in->goals, w->worst, w->logits));
    for (int64_t i = 0; i < x->n; i++)
        w->met[i] = meets(w, i, w->in->goals[i]);
    pr_copy(w->adv->data, x->data, x->n * x->row);
    return PARRY_OK;
}

static void start(walk *w, uint32_t restart)
{
    const pr_tensor *x = &w->in->x;
    w->active = 0;
    for (int64_t i = 0; i < x->n; i++) {
        if (w->met[i] && w->how->stop_when_fooled)
            continue;
        float *at = row_of(&w->at, w->active);
        w->who[w->active] = i;
        w->goals[w->active++] = w->in->goals[i];
        if (w->how->random_start) {
            const parry_threat threat = pr_image_threat(w->run, w->in, i);
            pr_rng rng = pr_run_rng(w->run, w->in->index[i], restart);
            pr_random_start_row(&threat, &rng, row_of(x, i), at, x->row);
        } else {
            pr_copy(at, row_of(x, i), x->row);
        }
    }
}

/* To meet the criterion beats not to; among equals the larger loss wins. */
static void keep_worst(walk *w)
{
    for (int64_t j = 0; j < w->active; j++) {
        const int64_t i = w->who[j];
        const bool met = meets(w, j, w->goals[j]);
        if (met == w->met[i] ? w->loss[j] <= w->worst[i] : w->met[i])
            continue;
        w->met[i] = met;
        w->worst[i] = w->loss[j];
        pr_copy(row_of(w->adv, i), row_of(&w->at, j), w->at.row);
    }
}

/* Packs the rows of images that do not meet the criterion yet. */
static void drop_met(walk *w)
{
    int64_t kept = 0;
    for (int64_t j = 0; j < w->active; j++) {
        if (w->met[w->who[j]])
            continue;
        if (kept != j) {
            w->who[kept] = w->who[j];
            w->goals[kept] = w->goals[j];
            pr_copy(row_of(&w->at, kept), row_of(&w->at, j), w->at.row);
            pr_copy(row_of(&w->grad, kept), row_of(&w->grad, j), w->grad.row);
        }
        kept++;
    }
    w->active = kept;
}

static void ascend(walk *w)
{
    for (int64_t j = 0; j < w->active; j++) {
        const parry_threat threat = pr_image_threat(w->run, w->in, w->who[j]);
        const double step = w->how->step > 0 ? w->how->step : 2.5 * threat.eps / (double)w->how->steps;
        float *at = row_of(&w->at, j);
        pr_ascend_row(threat.norm, (float)step, row_of(&w->grad, j), at, w->at.row);
        pr_project_row(&threat, row_of(&w->in->x, w->who[j]), at, w->at.row);
    }
}

static parry_status climb(parry_ctx *ctx, walk *w)
{
    for (int64_t step = 0; step < w->how->steps && w->active > 0; step++) {
        const pr_tensor at = {w->at.data, w->active, w->at.row};
        TRY(pr_loss_grad(ctx, w->run, &at, w->goals, w->loss, w->logits, &w->grad));
        keep_worst(w);
        if (w->how->stop_when_fooled)
            drop_met(w);
        ascend(w);
    }
    const pr_tensor last = {w->at.data, w->active, w->at.row};
    TRY(pr_loss_only(ctx, w->run, &last, w->goals, w->loss, w->logits));
    keep_worst(w);
    return PARRY_OK;
}

static parry_status pgd_run(parry_ctx *ctx, pr_run *run, const void *params, const pr_batch *in, pr_tensor *adv)
{
    const pgd *how = params;
    walk w;
    TRY(walk_init(ctx, run, how, in, adv, &w));
    TRY(walk_from_clean(ctx, &w));
    for (int64_t restart = 0; restart < how->restarts; restart++) {
        start(&w, (uint32_t)restart);
        TRY(climb(ctx, &w));
    }
    return PARRY_OK;
}

static void pgd_label(const void *params, char *text, size_t size)
{
    const pgd *how = params;
    if (how->restarts > 1)
        snprintf(text, size, "PGD-%lldx%lld", (long long)how->steps, (long long)how->restarts);
    else
        snprintf(text, size, "PGD-%lld", (long long)how->steps);
}

/* Settings that make the attack look weaker than the model is strong. */
static void pgd_review(parry_ctx *ctx, const void *params, const parry_threat *threat)
{
    const pgd *how = params;
    if (how->step > 0 && how->step * (double)how->steps < threat->eps)
        pr_log(ctx, PARRY_LOG_WARNING,
               "pgd: %lld steps of %g do not cross a ball of radius %g, so the attack is weak; step=0 takes steps of "
               "2.5 eps / steps",
               (long long)how->steps, how->step, threat->eps);
    if (how->restarts > 1 && !how->random_start)
        pr_log(ctx, PARRY_LOG_WARNING, "pgd: without random-start all %lld restarts are the same walk",
               (long long)how->restarts);
}

const pr_attack_impl pr_attack_pgd = {
    .info = {
        .name = "pgd",
        .summary = "projected gradient ascent with random starts, worst point kept",
        .cite = "arXiv:1706.06083",
        .needs = PARRY_NEEDS_GRADIENT,
        .norms = PARRY_NORM_BIT(PARRY_LINF) | PARRY_NORM_BIT(PARRY_L2),
        .options = &pr_pgd_options,
    },
    .keeps_best = true,
    .run = pgd_run,
    .label = pgd_label,
    .review = pgd_review,
};
