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
 * is descended.
 *
 * Where the walk's own losses are estimates (precision bf16), an iterate is kept by what f32 says of it: an image of
 * which an iterate seems to meet the criterion is looked at again before it leaves; at the end of a walk its last
 * iterate and the one that seemed worst are. */
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

/* Images packed: row j belongs to image who[j]. at.n: how many. */
typedef struct pack {
    int64_t *who;
    pr_goal *goals;
    pr_tensor at;
    float *loss, *logits;
} pack;

/* For each image a point, its loss, and whether it meets the criterion. */
typedef struct points {
    pr_tensor *at;
    float *loss;
    bool *met;
} points;

/* The walk of one batch. */
typedef struct walk {
    pr_run *run;
    const pgd *how;
    const pr_batch *in;
    points worst;   /* so far */
    pack active;    /* still walking */
    pr_tensor grad; /* of the active */
    /* where losses on the way are estimates */
    points seeming; /* the worst of this walk, as it seems */
    pr_tensor seeming_at;
    pack doubtful; /* to be judged */
} walk;

static parry_status pack_init(parry_ctx *ctx, pr_run *run, pr_tensor like, pack *out)
{
    const int64_t n = like.n, classes = pr_run_classes(run);
    TRY(pr_scratch(ctx, run, n, &out->who));
    TRY(pr_scratch(ctx, run, n, &out->goals));
    TRY(pr_scratch(ctx, run, n, &out->loss));
    TRY(pr_scratch(ctx, run, n * classes, &out->logits));
    TRY(pr_scratch_like(ctx, run, like, &out->at));
    out->at.n = 0;
    return PARRY_OK;
}

static parry_status points_init(parry_ctx *ctx, pr_run *run, pr_tensor *at, points *out)
{
    out->at = at;
    TRY(pr_scratch(ctx, run, at->n, &out->loss));
    return pr_scratch(ctx, run, at->n, &out->met);
}

static parry_status walk_init(parry_ctx *ctx, pr_run *run, const pgd *how, const pr_batch *in, pr_tensor *adv,
                              walk *out)
{
    *out = (walk){.run = run, .how = how, .in = in};
    TRY(points_init(ctx, run, adv, &out->worst));
    TRY(pack_init(ctx, run, in->x, &out->active));
    TRY(pr_scratch_like(ctx, run, in->x, &out->grad));
    if (!pr_run_estimates(run))
        return PARRY_OK;
    TRY(pr_scratch_like(ctx, run, in->x, &out->seeming_at));
    TRY(points_init(ctx, run, &out->seeming_at, &out->seeming));
    return pack_init(ctx, run, in->x, &out->doubtful);
}

static float *row_of(const pr_tensor *tensor, int64_t i)
{
    return tensor->data + i * tensor->row;
}

static bool meets(const walk *w, const pack *p, int64_t j)
{
    return pr_met(w->run, p->logits + j * pr_run_classes(w->run), p->goals[j]);
}

static void pack_add(pack *p, const walk *w, int64_t i, const float *at)
{
    const int64_t j = p->at.n++;
    p->who[j] = i;
    p->goals[j] = w->in->goals[i];
    pr_copy(row_of(&p->at, j), at, p->at.row);
}

static void keep_worst(const walk *w, const pack *p, points *kept)
{
    for (int64_t j = 0; j < p->at.n; j++) {
        const int64_t i = p->who[j];
        const bool met = meets(w, p, j);
        if (!pr_better(met, p->loss[j], kept->met[i], kept->loss[i]))
            continue;
        kept->met[i] = met;
        kept->loss[i] = p->loss[j];
        pr_copy(row_of(kept->at, i), row_of(&p->at, j), p->at.row);
    }
}

static parry_status judge(parry_ctx *ctx, walk *w, pack *p)
{
    if (p->at.n == 0)
        return PARRY_OK;
    TRY(pr_loss_only(ctx, w->run, &p->at, p->goals, p->loss, p->logits));
    keep_worst(w, p, &w->worst);
    return PARRY_OK;
}

/* The clean images are the first candidates. */
static parry_status walk_from_clean(parry_ctx *ctx, walk *w)
{
    w->active.at.n = 0;
    for (int64_t i = 0; i < w->in->x.n; i++) {
        pack_add(&w->active, w, i, row_of(&w->in->x, i));
        w->worst.met[i] = false;
        w->worst.loss[i] = -INFINITY;
    }
    pr_copy(w->worst.at->data, w->in->x.data, w->in->x.n * w->in->x.row);
    return judge(ctx, w, &w->active);
}

static void start(walk *w, uint32_t restart)
{
    w->active.at.n = 0;
    for (int64_t i = 0; i < w->in->x.n; i++) {
        const float *x = row_of(&w->in->x, i);
        if (w->worst.met[i] && w->how->stop_when_fooled)
            continue;
        pack_add(&w->active, w, i, x);
        if (w->how->random_start) {
            const parry_threat threat = pr_image_threat(w->run, w->in, i);
            pr_rng rng = pr_run_rng(w->run, w->in->index[i], restart);
            pr_random_start_row(&threat, &rng, x, row_of(&w->active.at, w->active.at.n - 1), w->in->x.row);
        }
        if (pr_run_estimates(w->run)) {
            w->seeming.met[i] = false;
            w->seeming.loss[i] = -INFINITY;
        }
    }
}

/* Packs the rows of images that do not meet the criterion yet. */
static void drop_met(walk *w)
{
    pack *p = &w->active;
    int64_t kept = 0;
    for (int64_t j = 0; j < p->at.n; j++) {
        if (w->worst.met[p->who[j]])
            continue;
        if (kept != j) {
            p->who[kept] = p->who[j];
            p->goals[kept] = p->goals[j];
            pr_copy(row_of(&p->at, kept), row_of(&p->at, j), p->at.row);
            pr_copy(row_of(&w->grad, kept), row_of(&w->grad, j), w->grad.row);
        }
        kept++;
    }
    p->at.n = kept;
}

/* Keeps what the estimates point to; those of images that would leave now are judged. */
static parry_status keep_seeming(parry_ctx *ctx, walk *w)
{
    keep_worst(w, &w->active, &w->seeming);
    w->doubtful.at.n = 0;
    for (int64_t j = 0; j < w->active.at.n && w->how->stop_when_fooled; j++)
        if (meets(w, &w->active, j))
            pack_add(&w->doubtful, w, w->active.who[j], row_of(&w->active.at, j));
    return judge(ctx, w, &w->doubtful);
}

static parry_status judge_seeming(parry_ctx *ctx, walk *w)
{
    w->doubtful.at.n = 0;
    for (int64_t j = 0; j < w->active.at.n; j++) {
        const int64_t i = w->active.who[j];
        if (!(w->worst.met[i] && w->how->stop_when_fooled))
            pack_add(&w->doubtful, w, i, row_of(w->seeming.at, i));
    }
    return judge(ctx, w, &w->doubtful);
}

static void ascend(walk *w)
{
    for (int64_t j = 0; j < w->active.at.n; j++) {
        const int64_t i = w->active.who[j];
        const parry_threat threat = pr_image_threat(w->run, w->in, i);
        const double step = w->how->step > 0 ? w->how->step : 2.5 * threat.eps / (double)w->how->steps;
        float *at = row_of(&w->active.at, j);
        pr_ascend_row(threat.norm, (float)step, row_of(&w->grad, j), at, w->grad.row);
        pr_project_row(&threat, row_of(&w->in->x, i), at, w->grad.row);
    }
}

static parry_status climb(parry_ctx *ctx, walk *w)
{
    pack *p = &w->active;
    for (int64_t step = 0; step < w->how->steps && p->at.n > 0; step++) {
        TRY(pr_loss_grad(ctx, w->run, &p->at, p->goals, p->loss, p->logits, &w->grad));
        if (pr_run_estimates(w->run))
            TRY(keep_seeming(ctx, w));
        else
            keep_worst(w, p, &w->worst);
        if (w->how->stop_when_fooled)
            drop_met(w);
        ascend(w);
    }
    TRY(judge(ctx, w, p));
    return pr_run_estimates(w->run) ? judge_seeming(ctx, w) : PARRY_OK;
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
    .info =
        {
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
