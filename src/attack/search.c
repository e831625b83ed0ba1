/* The smallest eps at which an attack meets the criterion, for each image by itself.
 *
 * Success need not grow with eps, least of all for a single step, so halving from the whole range could miss it. A
 * coarse scan of equal steps from below finds the first radius that works; the bracket between it and the radius before
 * is halved until it is as narrow as was asked for. What is reported is what was tried: the smallest radius found that
 * works and the largest below it that did not. All images of a batch are at it at once, each with its own radius; those
 * that are done leave. An attack with one direction for every radius (FGSM) is asked for its gradient once. */
#include <math.h>

#include "attack/attack.h"

PR_OPTIONS(pr_search_options, parry_eps_search,
           OPT_INT(parry_eps_search, scan, "eps-scan", "0", 0, 100000,
                   "--minimal-eps: radii of the coarse scan, in equal steps up to --eps; 0: 16, or 128 for an attack "
                   "that needs one gradient for all of them"),
           OPT_FLOAT(parry_eps_search, resolution, "eps-resolution", "1/25500", 1e-12, 1e6,
                     "--minimal-eps: narrowest bracket, in units of the pixel range; the default is a hundredth of a "
                     "grey level"));

const parry_options *parry_search_options(void)
{
    return &pr_search_options;
}

/* How many radii the coarse scan tries. */
static int64_t scan_radii(const parry_eps_search *search, const parry_attack *attack)
{
    enum { WALKS = 16, STEPS = 128 };
    return search->scan > 0 ? search->scan : attack->impl->direction ? STEPS : WALKS;
}

typedef struct hunt {
    pr_run *run;
    const parry_eps_search *search;
    const pr_batch *in;
    pr_tensor *adv;
    double *minimal, *failed; /* minimal: NaN while nothing was found */
    pr_subset some;
    pr_tensor tried, all_directions, directions; /* of the attempts; of all images; packed as `some` is */
    bool has_direction;
    float *logits;
} hunt;

/* The image as it is. */
static parry_status try_clean(parry_ctx *ctx, hunt *h)
{
    const pr_batch *in = h->in;
    TRY(pr_loss_only(ctx, h->run, &in->x, in->goals, NULL, h->logits));
    pr_copy(h->adv->data, in->x.data, in->x.n * in->x.row);
    for (int64_t i = 0; i < in->x.n; i++) {
        h->failed[i] = 0;
        h->minimal[i] = pr_met(h->run, h->logits + i * h->run->classes, in->goals[i]) ? 0 : NAN;
    }
    return PARRY_OK;
}

/* Directions of the images that are not done, once and for all. */
static parry_status find_directions(parry_ctx *ctx, hunt *h)
{
    const int64_t row = h->in->x.row;
    const parry_attack *attack = h->run->attack;
    if (!attack->impl->direction)
        return PARRY_OK;
    h->has_direction = true;
    TRY(pr_scratch_like(ctx, h->run, h->in->x, &h->all_directions));
    TRY(pr_scratch_like(ctx, h->run, h->in->x, &h->directions));
    for (int64_t i = 0; i < h->in->x.n; i++)
        if (isnan(h->minimal[i]))
            pr_subset_add(&h->some, h->in, i, h->run->threat->eps);
    h->directions.n = h->some.batch.x.n;
    if (h->directions.n > 0)
        TRY(attack->impl->direction(ctx, h->run, pr_attack_params(attack), &h->some.batch, &h->directions));
    for (int64_t j = 0; j < h->directions.n; j++)
        pr_copy(h->all_directions.data + h->some.who[j] * row, h->directions.data + j * row, row);
    pr_subset_empty(&h->some);
    return PARRY_OK;
}

static parry_status hunt_init(parry_ctx *ctx, hunt *h)
{
    TRY(pr_scratch(ctx, h->run, h->in->x.n * h->run->classes, &h->logits));
    TRY(pr_scratch_like(ctx, h->run, h->in->x, &h->tried));
    TRY(pr_subset_init(ctx, h->run, h->in, &h->some));
    TRY(try_clean(ctx, h));
    return find_directions(ctx, h);
}

/* Attacks the images in `some` at their radii and books what came of it. The scratch of the attempt is free again
 * afterwards. An image that nothing has fooled yet shows its latest attempt. */
static parry_status attempt(parry_ctx *ctx, hunt *h)
{
    const int64_t row = h->in->x.row, n = h->some.batch.x.n;
    const size_t mark = h->run->scratch.used;
    h->tried.n = n;
    for (int64_t j = 0; j < n && h->has_direction; j++)
        pr_copy(h->directions.data + j * row, h->all_directions.data + h->some.who[j] * row, row);
    h->directions.n = n;
    TRY(pr_attempt(ctx, h->run, &h->some.batch, h->has_direction ? &h->directions : NULL, &h->tried));
    TRY(pr_loss_only(ctx, h->run, &h->tried, h->some.goals, NULL, h->logits));
    h->run->scratch.used = mark;
    for (int64_t j = 0; j < n; j++) {
        const int64_t i = h->some.who[j];
        const bool met = pr_met(h->run, h->logits + j * h->run->classes, h->some.goals[j]);
        if (met || isnan(h->minimal[i]))
            pr_copy(h->adv->data + i * row, h->tried.data + j * row, row);
        *(met ? &h->minimal[i] : &h->failed[i]) = h->some.eps[j];
    }
    pr_subset_empty(&h->some);
    return PARRY_OK;
}

static parry_status scan(parry_ctx *ctx, hunt *h)
{
    const int64_t radii = scan_radii(h->search, h->run->attack);
    for (int64_t k = 1; k <= radii; k++) {
        const double share = k == radii ? 1 : (double)k / (double)radii,
                     eps = pr_grid_radius(h->run->threat, h->run->threat->eps * share);
        for (int64_t i = 0; i < h->in->x.n; i++)
            if (isnan(h->minimal[i]) && eps > h->failed[i])
                pr_subset_add(&h->some, h->in, i, eps);
        if (h->some.batch.x.n > 0)
            TRY(attempt(ctx, h));
    }
    return PARRY_OK;
}

/* The middle of the bracket of image i, or 0 where it is narrow enough. */
static double middle(const hunt *h, int64_t i)
{
    const double low = h->failed[i], high = h->minimal[i];
    if (!(high - low > h->search->resolution))
        return 0;
    double eps = pr_grid_radius(h->run->threat, low + (high - low) / 2);
    if (eps <= low && h->run->threat->quantize) /* on the grid the middle may round down to what failed */
        eps = pr_grid_radius(h->run->threat, low + 1.5 / 255);
    return eps > low && eps < high ? eps : 0;
}

static parry_status halve(parry_ctx *ctx, hunt *h)
{
    for (;;) {
        for (int64_t i = 0; i < h->in->x.n; i++) {
            const double eps = middle(h, i);
            if (eps > 0)
                pr_subset_add(&h->some, h->in, i, eps);
        }
        if (h->some.batch.x.n == 0)
            return PARRY_OK;
        TRY(attempt(ctx, h));
    }
}

parry_status pr_search_batch(parry_ctx *ctx, pr_run *run, const parry_eps_search *search, const pr_batch *in,
                             pr_tensor *adv, double *minimal, double *failed)
{
    hunt h = {.run = run, .search = search, .in = in, .adv = adv, .minimal = minimal, .failed = failed};
    TRY(hunt_init(ctx, &h));
    TRY(scan(ctx, &h));
    return halve(ctx, &h);
}
