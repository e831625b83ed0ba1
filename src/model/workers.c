/* One session per worker of a parallel loop. */
#include "model/kind.h"

enum { JOBS = 16 };

parry_status pr_workers_init(parry_ctx *ctx, const parry_model *model, bool gradients, parry_precision precision,
                             int64_t n, pr_workers *out)
{
    *out = (pr_workers){
        .model = model, .gradients = gradients, .precision = precision, .n = n, .count = parry_ctx_threads(ctx)};
    TRY(pr_alloc(ctx, out->count, &out->sessions));
    pr_session *first; /* it knows the micro-batch */
    return pr_workers_session(ctx, out, 0, &first);
}

parry_status pr_workers_session(parry_ctx *ctx, pr_workers *workers, int worker, pr_session **out)
{
    const int64_t share = (workers->n + workers->count - 1) / workers->count;
    if (!workers->sessions[worker])
        TRY(pr_session_create(ctx, workers->model, workers->gradients, workers->precision, share,
                              &workers->sessions[worker]));
    *out = workers->sessions[worker];
    return PARRY_OK;
}

int64_t pr_workers_chunk(const pr_workers *workers, int64_t most)
{
    const int64_t micro = workers->sessions[0]->micro_batch;
    const int64_t wanted = PR_MIN((workers->n + JOBS - 1) / JOBS, most);
    return PR_MAX(1, (wanted + micro - 1) / micro) * micro;
}

void pr_workers_release(pr_workers *workers)
{
    for (int i = 0; workers->sessions && i < workers->count; i++)
        pr_session_free(workers->sessions[i]);
    pr_free(workers->sessions);
    *workers = (pr_workers){0};
}
