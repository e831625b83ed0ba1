/* One worker's run over one batch: what an attack may call. */
#include "attack/attack.h"

int pr_run_classes(const pr_run *run)
{
    return run->classes;
}

parry_threat pr_image_threat(const pr_run *run, const pr_batch *in, int64_t i)
{
    parry_threat threat = *run->threat;
    threat.eps = in->eps[i];
    return threat;
}

/* Restarts share the image's stream: the restart takes the upper bits of the sample number. */
pr_rng pr_run_rng(const pr_run *run, int64_t index, uint32_t draw)
{
    return pr_rng_init(run->seed, PR_STREAM_ATTACK, (uint64_t)index + ((uint64_t)draw << 40));
}

parry_status pr_scratch_bytes(parry_ctx *ctx, pr_run *run, size_t size, void **out)
{
    pr_arena *scratch = &run->scratch;
    if (scratch->used == scratch->count) {
        TRY(pr_grow(ctx, scratch->count + 1, &scratch->capacity, &scratch->blocks));
        scratch->blocks[scratch->count].data = NULL;
        scratch->blocks[scratch->count++].size = 0;
    }
    if (scratch->blocks[scratch->used].size < size) {
        uint8_t *data;
        TRY(pr_alloc_raw(ctx, size, &data));
        pr_free(scratch->blocks[scratch->used].data);
        scratch->blocks[scratch->used].data = data;
        scratch->blocks[scratch->used].size = size;
    }
    *out = scratch->blocks[scratch->used++].data;
    return PARRY_OK;
}

parry_status pr_scratch_like(parry_ctx *ctx, pr_run *run, pr_tensor like, pr_tensor *out)
{
    *out = like;
    return pr_scratch(ctx, run, like.n * like.row, &out->data);
}

/* ---- the model --------------------------------------------------------------------------------------------------- */

/* What is climbed of one row: the loss of its label, or minus that of its target. */
static void climbed_row(const pr_loss *loss, int classes, const float *logits, pr_goal goal, float *out, float *dlogits)
{
    const bool towards = goal.target >= 0;
    loss->rows(NULL, 1, classes, logits, towards ? &goal.target : &goal.label, out, dlogits);
    if (towards && out)
        *out = -*out;
    for (int k = 0; towards && dlogits && k < classes; k++)
        dlogits[k] = -dlogits[k];
}

typedef struct climb_call {
    const pr_run *run;
    const pr_goal *goals;
    float *loss;
} climb_call;

static void climb_cotangent(void *arg, int which, int64_t first, int64_t n, const float *logits, float *dlogits)
{
    const climb_call *call = arg;
    const int classes = call->run->classes;
    (void)which;
    for (int64_t i = 0; i < n; i++)
        climbed_row(call->run->loss, classes, logits + i * classes, call->goals[first + i],
                    call->loss ? call->loss + first + i : NULL, dlogits + i * classes);
}

parry_status pr_loss_grad(parry_ctx *ctx, pr_run *run, const pr_tensor *x, const pr_goal *goals, float *loss,
                          float *logits, pr_tensor *grad)
{
    climb_call call = {run, goals, loss};
    TRY(pr_poll(ctx));
    return pr_session_vjp(ctx, run->search, x->data, x->n, 1, climb_cotangent, &call, logits, &grad->data);
}

parry_status pr_loss_only(parry_ctx *ctx, pr_run *run, const pr_tensor *x, const pr_goal *goals, float *loss,
                          float *logits)
{
    TRY(pr_poll(ctx));
    TRY(pr_session_logits(ctx, run->judge, x->data, x->n, logits));
    for (int64_t i = 0; loss && i < x->n; i++)
        climbed_row(run->loss, run->classes, logits + i * run->classes, goals[i], loss + i, NULL);
    return PARRY_OK;
}

bool pr_run_estimates(const pr_run *run)
{
    return run->search != run->judge;
}

bool pr_met(const pr_run *run, const float *logits, pr_goal goal)
{
    return pr_aim_met(run->aim, logits, run->classes, goal);
}

bool pr_better(bool met, float loss, bool than_met, float than_loss)
{
    return met == than_met ? loss > than_loss : met;
}

/* ---- geometry ---------------------------------------------------------------------------------------------------- */

void pr_step_to_surface(const pr_run *run, const pr_batch *in, const pr_tensor *direction, pr_tensor *adv)
{
    const int64_t row = in->x.row;
    pr_copy(adv->data, in->x.data, in->x.n * row);
    for (int64_t i = 0; i < in->x.n; i++) {
        const parry_threat threat = pr_image_threat(run, in, i);
        float *at = adv->data + i * row;
        pr_ascend_row(threat.norm, (float)threat.eps, direction->data + i * row, at, row);
        pr_project_row(&threat, in->x.data + i * row, at, row);
    }
}

/* ---- one attempt ------------------------------------------------------------------------------------------------- */

parry_status pr_attempt(parry_ctx *ctx, pr_run *run, const pr_batch *in, const pr_tensor *direction, pr_tensor *adv)
{
    if (direction)
        pr_step_to_surface(run, in, direction, adv);
    else
        TRY(run->attack->impl->run(ctx, run, pr_attack_params(run->attack), in, adv));
    return run->threat->quantize ? pr_quantize(ctx, run, in, direction, adv) : PARRY_OK;
}

/* ---- some images of a batch -------------------------------------------------------------------------------------- */

parry_status pr_subset_init(parry_ctx *ctx, pr_run *run, const pr_batch *in, pr_subset *out)
{
    const int64_t n = in->x.n;
    TRY(pr_scratch(ctx, run, n, &out->who));
    TRY(pr_scratch(ctx, run, n, &out->index));
    TRY(pr_scratch(ctx, run, n, &out->goals));
    TRY(pr_scratch(ctx, run, n, &out->eps));
    TRY(pr_scratch_like(ctx, run, in->x, &out->batch.x));
    out->batch.goals = out->goals;
    out->batch.index = out->index;
    out->batch.eps = out->eps;
    pr_subset_empty(out);
    return PARRY_OK;
}

void pr_subset_empty(pr_subset *subset)
{
    subset->batch.x.n = 0;
}

void pr_subset_add(pr_subset *subset, const pr_batch *in, int64_t i, double eps)
{
    const int64_t j = subset->batch.x.n++, row = in->x.row;
    subset->who[j] = i;
    subset->index[j] = in->index[i];
    subset->goals[j] = in->goals[i];
    subset->eps[j] = eps;
    pr_copy(subset->batch.x.data + j * row, in->x.data + i * row, row);
}
