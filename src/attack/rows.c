/* Attacking rows of pixels: they are cut into chunks, workers take chunks and attack them single-threaded, each with
 * its own session on the model and its own scratch. Nothing that an attack computes for an image depends on the other
 * images of its chunk, so neither chunks nor threads show in the result. */
#include <stdatomic.h>

#include "attack/attack.h"
#include "data/data.h"

enum { CHUNK_IMAGES = 256, CHUNK_FLOATS = 1 << 24 };

typedef struct rows_call {
    const pr_attack_request *request;
    const pr_aim *aim;
    pr_workers workers, judges; /* judges: where the search is not in f32 */
    pr_run *runs;               /* one per worker */
    int64_t chunk;
    atomic_llong done;
} rows_call;

/* Radii for the whole batch. On the 8-bit grid a ball of linf is as good as the largest one inside it whose faces lie
 * on the grid. */
static parry_status make_radii(parry_ctx *ctx, pr_run *run, int64_t n, const double **out)
{
    double *eps;
    TRY(pr_scratch(ctx, run, n, &eps));
    for (int64_t i = 0; i < n; i++)
        eps[i] = pr_grid_radius(run->threat, run->threat->eps);
    *out = eps;
    return PARRY_OK;
}

/* The images, given or read; their 8-bit versions where the threat asks for the grid. */
static parry_status make_images(parry_ctx *ctx, pr_run *run, const pr_attack_request *r, int64_t first, int64_t n,
                                pr_tensor *out)
{
    const int64_t row = pr_model_row(r->model);
    *out = (pr_tensor){r->x ? (float *)r->x + first * row : NULL, n, row};
    if (r->x && !r->threat->quantize)
        return PARRY_OK;
    TRY(pr_scratch_like(ctx, run, *out, out));
    if (r->x)
        pr_copy(out->data, r->x + first * row, n * row);
    else
        TRY(pr_dataset_read(ctx, r->dataset, NULL, first, n, true, out->data));
    if (r->threat->quantize)
        pr_grid_round(out->data, n * row);
    return PARRY_OK;
}

static parry_status make_goals(parry_ctx *ctx, pr_run *run, const pr_attack_request *r, int64_t first, pr_batch *batch)
{
    const int64_t n = batch->x.n;
    const int32_t *labels = r->labels + first;
    float *clean;
    pr_goal *goals;
    TRY(pr_scratch(ctx, run, n, &goals));
    TRY(pr_scratch(ctx, run, n * run->classes, &clean));
    if (pr_aim_asks(run->aim, labels, n))
        TRY(pr_session_logits(ctx, run->judge, batch->x.data, n, clean));
    pr_aim_goals(run->aim, run->seed, clean, run->classes, labels, batch->index, n, goals);
    for (int64_t i = 0; r->goals && i < n; i++)
        r->goals[first + i] = goals[i];
    batch->goals = goals;
    return PARRY_OK;
}

static parry_status make_batch(parry_ctx *ctx, pr_run *run, const pr_attack_request *r, int64_t first, int64_t n,
                               pr_batch *out)
{
    int64_t *index;
    TRY(make_images(ctx, run, r, first, n, &out->x));
    TRY(make_radii(ctx, run, n, &out->eps));
    TRY(pr_scratch(ctx, run, n, &index));
    for (int64_t i = 0; i < n; i++)
        index[i] = r->index ? r->index[first + i] : r->first_index + first + i;
    out->index = index;
    return make_goals(ctx, run, r, first, out);
}

/* Adds the queries of the run's sessions, or with sign -1 takes them away. */
static void count_queries(pr_run *run, int sign)
{
    pr_session *sessions[] = {run->search, run->judge};
    for (int i = 0; i < (pr_run_estimates(run) ? 2 : 1); i++) {
        run->forward_queries += sign * pr_session_forward_queries(sessions[i]);
        run->gradient_queries += sign * pr_session_gradient_queries(sessions[i]);
    }
}

static void measure_sizes(const pr_attack_request *r, const pr_tensor *x, const pr_tensor *adv, double *sizes)
{
    for (int64_t i = 0; i < x->n; i++)
        sizes[i] = (r->threat->quantize ? pr_grid_distance_row : pr_distance_row)(
            r->threat->norm, adv->data + i * x->row, x->data + i * x->row, x->row);
}

static parry_status attack_chunk(parry_ctx *ctx, const rows_call *call, pr_run *run, int64_t first, int64_t n)
{
    const pr_attack_request *r = call->request;
    pr_batch batch;
    run->scratch.used = 0;
    count_queries(run, -1);
    TRY(make_batch(ctx, run, r, first, n, &batch));
    pr_tensor adv = {r->adv ? r->adv + first * batch.x.row : NULL, n, batch.x.row};
    if (!r->adv)
        TRY(pr_scratch_like(ctx, run, batch.x, &adv));
    if (r->search)
        TRY(pr_search_batch(ctx, run, r->search, &batch, &adv, r->minimal_eps + first, r->failed_eps + first));
    else
        TRY(pr_attempt(ctx, run, &batch, NULL, &adv));
    count_queries(run, 1);
    if (r->sizes)
        measure_sizes(r, &batch.x, &adv, r->sizes + first);
    if (!r->logits) /* what the attack believes counts for nothing: what it returns is judged afresh */
        return PARRY_OK;
    return pr_session_logits(ctx, run->judge, adv.data, n, r->logits + first * pr_run_classes(run));
}

static parry_status rows_job(parry_ctx *ctx, void *arg, int64_t index, int worker)
{
    rows_call *call = arg;
    const pr_attack_request *r = call->request;
    const int64_t first = index * call->chunk, n = PR_MIN(call->chunk, r->n - first);
    pr_run *run = &call->runs[worker];
    TRY(pr_poll(ctx));
    TRY(pr_workers_session(ctx, &call->workers, worker, &run->search));
    run->judge = run->search;
    if (call->judges.sessions)
        TRY(pr_workers_session(ctx, &call->judges, worker, &run->judge));
    TRY(attack_chunk(ctx, call, run, first, n));
    const int64_t done = atomic_fetch_add(&call->done, n) + n;
    if (r->task)
        pr_progress(ctx, &(parry_progress){r->task, "images", (uint64_t)done, (uint64_t)r->n, NULL});
    return PARRY_OK;
}

static parry_status run_rows(parry_ctx *ctx, rows_call *call)
{
    const pr_attack_request *r = call->request;
    const parry_precision precision = (parry_precision)r->threat->precision;
    TRY(pr_workers_init(ctx, r->model, r->attack->impl->info.needs & PARRY_NEEDS_GRADIENT, precision, r->n,
                        &call->workers));
    if (precision != PARRY_F32)
        TRY(pr_workers_init(ctx, r->model, false, PARRY_F32, r->n, &call->judges));
    TRY(pr_alloc(ctx, call->workers.count, &call->runs));
    for (int i = 0; i < call->workers.count; i++) {
        call->runs[i].attack = r->attack;
        call->runs[i].threat = r->threat;
        call->runs[i].aim = call->aim;
        call->runs[i].loss = pr_loss_at((size_t)r->threat->loss);
        call->runs[i].seed = r->seed;
        call->runs[i].classes = pr_model_classes(r->model);
    }
    call->chunk = pr_workers_chunk(&call->workers, PR_MIN(CHUNK_IMAGES, CHUNK_FLOATS / pr_model_row(r->model) + 1));
    return pr_parallel_for(ctx, (r->n + call->chunk - 1) / call->chunk, rows_job, call);
}

static void release_rows(rows_call *call, pr_attack_request *request)
{
    for (int i = 0; call->runs && i < call->workers.count; i++) {
        pr_arena *scratch = &call->runs[i].scratch;
        request->forward_queries += call->runs[i].forward_queries;
        request->gradient_queries += call->runs[i].gradient_queries;
        for (size_t block = 0; block < scratch->count; block++)
            pr_free(scratch->blocks[block].data);
        pr_free(scratch->blocks);
    }
    pr_free(call->runs);
    pr_workers_release(&call->workers);
    pr_workers_release(&call->judges);
}

static parry_status check_norm(parry_ctx *ctx, const parry_attack *attack, const parry_threat *threat)
{
    TRY(parry_threat_check(ctx, threat));
    if (!(attack->impl->info.norms & PARRY_NORM_BIT(threat->norm)))
        return pr_fail(ctx, PARRY_UNSUPPORTED, "%s does not serve the norm %s", attack->impl->info.name,
                       pr_norm_names[threat->norm]);
    return PARRY_OK;
}

/* -1 stands for an image whose class is not known. */
static parry_status check_labels(parry_ctx *ctx, const pr_attack_request *r)
{
    for (int64_t i = 0; i < r->n; i++)
        if (r->labels[i] != -1)
            TRY(pr_model_check_labels(ctx, r->model, r->labels + i, 1));
    return PARRY_OK;
}

parry_status pr_attack_rows(parry_ctx *ctx, pr_attack_request *request)
{
    rows_call call = {.request = request, .aim = request->aim};
    pr_aim *made = NULL;
    TRY(check_norm(ctx, request->attack, request->threat));
    TRY(check_labels(ctx, request));
    if (!call.aim)
        TRY(pr_aim_create(ctx, request->threat, request->model, &made));
    if (made)
        call.aim = made;
    parry_status status = run_rows(ctx, &call);
    release_rows(&call, request);
    pr_aim_free(made);
    return status;
}
