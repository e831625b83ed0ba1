/* Running attacks: images are cut into chunks, workers take chunks and attack them single-threaded, each with its own
 * session on the model and its own scratch. Nothing that an attack computes for an image depends on the other images of
 * its chunk, so neither chunks nor threads show in the result. */
#include <stdatomic.h>
#include <stdio.h>

#include "attack/attack.h"

enum { CHUNK_IMAGES = 256 };

/* Scratch is asked for in the same order by every run of an attack: block k serves the k-th request, and grows where a
 * chunk needs more. */
typedef struct arena {
    struct {
        void *data;
        size_t size;
    } * blocks;
    size_t count, capacity, used;
} arena;

struct pr_run {
    const parry_threat *threat;
    const pr_loss *loss;
    pr_session *session;
    uint64_t seed;
    int classes;
    arena scratch;
    int64_t forward_queries, gradient_queries; /* of the attack alone, without the pass that judges it */
};

/* ---- what an attack may call ------------------------------------------------------------------------------------- */

const parry_threat *pr_run_threat(const pr_run *run)
{
    return run->threat;
}

int pr_run_classes(const pr_run *run)
{
    return run->classes;
}

/* Restarts share the image's stream: the restart takes the upper bits of the sample number. */
pr_rng pr_run_rng(const pr_run *run, int64_t index, uint32_t draw)
{
    return pr_rng_init(run->seed, PR_STREAM_ATTACK, (uint64_t)index + ((uint64_t)draw << 40));
}

parry_status pr_scratch_bytes(parry_ctx *ctx, pr_run *run, size_t size, void **out)
{
    arena *scratch = &run->scratch;
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
    return pr_scratch_bytes(ctx, run, (size_t)(like.n * like.row) * sizeof(float), (void **)&out->data);
}

parry_status pr_loss_grad(parry_ctx *ctx, pr_run *run, const pr_tensor *x, const int32_t *labels, float *loss,
                          float *logits, pr_tensor *grad)
{
    TRY(pr_poll(ctx));
    return pr_session_loss_grad(ctx, run->session, run->loss, x->data, labels, x->n, logits, loss, grad->data);
}

parry_status pr_loss_only(parry_ctx *ctx, pr_run *run, const pr_tensor *x, const int32_t *labels, float *loss,
                          float *logits)
{
    TRY(pr_poll(ctx));
    TRY(pr_session_logits(ctx, run->session, x->data, x->n, logits));
    run->loss->rows(NULL, x->n, pr_run_classes(run), logits, labels, loss, NULL);
    return PARRY_OK;
}

void pr_ascend(const parry_threat *threat, double step, const pr_tensor *grad, pr_tensor *adv)
{
    for (int64_t i = 0; i < adv->n; i++)
        pr_ascend_row(threat->norm, (float)step, grad->data + i * grad->row, adv->data + i * adv->row, adv->row);
}

void pr_project(const parry_threat *threat, const pr_tensor *center, pr_tensor *adv)
{
    for (int64_t i = 0; i < adv->n; i++)
        pr_project_row(threat, center->data + i * center->row, adv->data + i * adv->row, adv->row);
}

/* ---- chunks over workers ---------------------------------------------------------------------------------------- */

typedef struct rows_call {
    const pr_attack_request *request;
    pr_workers workers;
    pr_run *runs; /* one per worker */
    int64_t chunk;
    atomic_llong done;
} rows_call;

static parry_status make_batch(parry_ctx *ctx, pr_run *run, const pr_attack_request *r, int64_t first, int64_t n, pr_batch *out)
{
    const int64_t row = pr_model_row(r->model);
    int64_t *index;
    out->x = (pr_tensor){(float *)r->x + first * row, n, row};
    out->labels = r->labels + first;
    TRY(pr_scratch_bytes(ctx, run, (size_t)n * sizeof *index, (void **)&index));
    for (int64_t i = 0; i < n; i++)
        index[i] = r->index ? r->index[first + i] : r->first_index + first + i;
    out->index = index;
    return PARRY_OK;
}

static parry_status attack_chunk(parry_ctx *ctx, const rows_call *call, pr_run *run, int64_t first, int64_t n)
{
    const pr_attack_request *r = call->request;
    pr_tensor adv = {r->adv + first * pr_model_row(r->model), n, pr_model_row(r->model)};
    pr_batch batch;
    run->scratch.used = 0;
    TRY(make_batch(ctx, run, r, first, n, &batch));
    const int64_t forward = pr_session_forward_queries(run->session),
                  gradient = pr_session_gradient_queries(run->session);
    TRY(r->attack->impl->run(ctx, run, pr_attack_params(r->attack), &batch, &adv));
    run->forward_queries += pr_session_forward_queries(run->session) - forward;
    run->gradient_queries += pr_session_gradient_queries(run->session) - gradient;
    if (!r->logits) /* what the attack believes counts for nothing: what it returns is judged afresh */
        return PARRY_OK;
    return pr_session_logits(ctx, run->session, adv.data, n, r->logits + first * pr_run_classes(run));
}

static parry_status rows_job(parry_ctx *ctx, void *arg, int64_t index, int worker)
{
    rows_call *call = arg;
    const pr_attack_request *r = call->request;
    const int64_t first = index * call->chunk, n = PR_MIN(call->chunk, r->n - first);
    pr_run *run = &call->runs[worker];
    TRY(pr_poll(ctx));
    TRY(pr_workers_session(ctx, &call->workers, worker, &run->session));
    TRY(attack_chunk(ctx, call, run, first, n));
    const int64_t done = atomic_fetch_add(&call->done, n) + n;
    if (r->task)
        pr_progress(ctx, &(parry_progress){r->task, "images", (uint64_t)done, (uint64_t)r->n, NULL});
    return PARRY_OK;
}

static parry_status run_rows(parry_ctx *ctx, rows_call *call)
{
    const pr_attack_request *r = call->request;
    TRY(pr_workers_init(ctx, r->model, r->attack->impl->info.needs & PARRY_NEEDS_GRADIENT, r->n, &call->workers));
    TRY(pr_alloc(ctx, call->workers.count, &call->runs));
    for (int i = 0; i < call->workers.count; i++) {
        call->runs[i].threat = r->threat;
        call->runs[i].loss = pr_loss_at((size_t)r->threat->loss);
        call->runs[i].seed = r->seed;
        call->runs[i].classes = pr_model_classes(r->model);
    }
    call->chunk = pr_workers_chunk(&call->workers, CHUNK_IMAGES);
    return pr_parallel_for(ctx, (r->n + call->chunk - 1) / call->chunk, rows_job, call);
}

static void release_rows(rows_call *call, pr_attack_request *request)
{
    for (int i = 0; call->runs && i < call->workers.count; i++) {
        arena *scratch = &call->runs[i].scratch;
        request->forward_queries += call->runs[i].forward_queries;
        request->gradient_queries += call->runs[i].gradient_queries;
        for (size_t block = 0; block < scratch->count; block++)
            pr_free(scratch->blocks[block].data);
        pr_free(scratch->blocks);
    }
    pr_free(call->runs);
    pr_workers_release(&call->workers);
}

static parry_status check_norm(parry_ctx *ctx, const parry_attack *attack, const parry_threat *threat)
{
    TRY(parry_threat_check(ctx, threat));
    if (!(attack->impl->info.norms & PARRY_NORM_BIT(threat->norm)))
        return pr_fail(ctx, PARRY_UNSUPPORTED, "%s does not serve the norm %s", attack->impl->info.name,
                       pr_norm_names[threat->norm]);
    return PARRY_OK;
}

parry_status pr_attack_rows(parry_ctx *ctx, pr_attack_request *request)
{
    rows_call call = {.request = request};
    TRY(check_norm(ctx, request->attack, request->threat));
    TRY(pr_model_check_labels(ctx, request->model, request->labels, request->n));
    parry_status status = run_rows(ctx, &call);
    release_rows(&call, request);
    return status;
}
