/* Threads: a pool per context, started on first use; the calling thread is worker 0.
 *
 * Two shapes of work: a loop whose indices are handed out dynamically, and a team whose ranks run together and meet at
 * barriers. Waiting spins for a bounded time and then sleeps: a spinning barrier collapses when another process takes
 * the core. */
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#if defined(__SSE__)
#include <immintrin.h>
#endif

#include "base/ctx.h"

enum { SPINS = 4000 };

typedef struct worker {
    pr_pool *pool;
    pthread_t thread;
    int rank;
} worker;

struct pr_team {
    int ranks;
    pthread_mutex_t lock;
    pthread_cond_t met;
    atomic_int arrived;
    atomic_uint phase;
};

struct pr_pool {
    pthread_mutex_t lock;
    pthread_cond_t wake, done;
    atomic_uint job_number; /* raised for each job */
    int active;             /* workers that may take part in the job, the caller included; 0: nobody any more */
    int entered;            /* helpers that take part */
    atomic_int finished;    /* those of them that are done */
    void (*work)(void *arg, int rank);
    void *work_arg;
    bool stop;
    int workers;     /* the caller included */
    worker *helpers; /* workers - 1 */
};

/* Which worker of which pool this thread is; nested calls run serially. */
static _Thread_local int current_rank = -1;

static void relax(void)
{
#if defined(__SSE__)
    _mm_pause();
#endif
}

unsigned pr_denormals_flush(void)
{
#if defined(__SSE__)
    unsigned state = _mm_getcsr();
    _mm_setcsr(state | 0x8040); /* flush to zero, denormals are zero */
    return state;
#else
    return 0;
#endif
}

void pr_denormals_restore(unsigned state)
{
#if defined(__SSE__)
    _mm_setcsr(state);
#else
    (void)state;
#endif
}

static void run_rank(pr_pool *pool, int rank)
{
    unsigned denormals = pr_denormals_flush();
    current_rank = rank;
    pool->work(pool->work_arg, rank);
    current_rank = -1;
    pr_denormals_restore(denormals);
}

static void *helper_main(void *arg)
{
    worker *self = arg;
    pr_pool *pool = self->pool;
    unsigned seen = 0;
    for (;;) {
        for (int spin = 0; spin < SPINS && atomic_load(&pool->job_number) == seen; spin++)
            relax();
        pthread_mutex_lock(&pool->lock);
        while (atomic_load(&pool->job_number) == seen && !pool->stop)
            pthread_cond_wait(&pool->wake, &pool->lock);
        bool stop = pool->stop, mine = self->rank < pool->active;
        pool->entered += mine;
        seen = atomic_load(&pool->job_number);
        pthread_mutex_unlock(&pool->lock);
        if (stop)
            return NULL;
        if (!mine)
            continue;
        run_rank(pool, self->rank);
        atomic_fetch_add(&pool->finished, 1);
        pthread_mutex_lock(&pool->lock);
        pthread_cond_signal(&pool->done);
        pthread_mutex_unlock(&pool->lock);
    }
}

/* Signals go to the caller's threads: see parry_ctx_create. Returns an error number. */
static int start_without_signals(worker *helper)
{
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(&helper->thread, NULL, helper_main, helper);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

static parry_status pool_create(parry_ctx *ctx, pr_pool **out)
{
    pr_pool *pool;
    TRY(pr_alloc(ctx, 1, &pool));
    *out = pool;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pthread_cond_init(&pool->done, NULL);
    pool->workers = 1;
    TRY(pr_alloc(ctx, ctx->options.threads, &pool->helpers));
    for (int rank = 1; rank < ctx->options.threads; rank++) {
        worker *helper = &pool->helpers[rank - 1];
        *helper = (worker){pool, 0, rank};
        int error = start_without_signals(helper);
        if (error != 0)
            return pr_fail(ctx, PARRY_NO_MEMORY, "thread %d of %d could not be started: %s", rank + 1,
                           ctx->options.threads, strerror(error));
        pool->workers++;
    }
    return PARRY_OK;
}

void pr_pool_free(pr_pool *pool)
{
    if (!pool)
        return;
    pthread_mutex_lock(&pool->lock);
    pool->stop = true;
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < pool->workers - 1; i++)
        pthread_join(pool->helpers[i].thread, NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_cond_destroy(&pool->done);
    pthread_mutex_destroy(&pool->lock);
    pr_free(pool->helpers);
    pr_free(pool);
}

static parry_status pool_start(parry_ctx *ctx)
{
    pr_pool *pool = NULL;
    parry_status status = pool_create(ctx, &pool);
    if (status == PARRY_OK)
        ctx->pool = pool;
    else
        pr_pool_free(pool);
    return status;
}

/* Waits for `helpers` helpers, -1: those that have begun; one that another process keeps from its core has nothing left
 * to do. */
static void pool_wait(pr_pool *pool, int helpers)
{
    if (helpers < 0) {
        pthread_mutex_lock(&pool->lock);
        pool->active = 0;
        helpers = pool->entered;
        pthread_mutex_unlock(&pool->lock);
    }
    for (int spin = 0; spin < SPINS && atomic_load(&pool->finished) < helpers; spin++)
        relax();
    pthread_mutex_lock(&pool->lock);
    while (atomic_load(&pool->finished) < helpers)
        pthread_cond_wait(&pool->done, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
}

/* Runs work(arg, rank) on ranks 0..active-1 and returns when all have finished; unless `all` need to run, those that
 * come too late are left out. */
static parry_status pool_run(parry_ctx *ctx, int active, bool all, void (*work)(void *, int), void *arg)
{
    if (active > 1 && !ctx->pool)
        TRY(pool_start(ctx));
    if (active <= 1) {
        unsigned denormals = pr_denormals_flush();
        current_rank = 0;
        work(arg, 0);
        current_rank = -1;
        pr_denormals_restore(denormals);
        return PARRY_OK;
    }
    pr_pool *pool = ctx->pool;
    pthread_mutex_lock(&pool->lock);
    pool->work = work;
    pool->work_arg = arg;
    pool->active = active;
    pool->entered = 0;
    atomic_store(&pool->finished, 0);
    atomic_fetch_add(&pool->job_number, 1);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);

    run_rank(pool, 0);
    pool_wait(pool, all ? active - 1 : -1);
    return PARRY_OK;
}

/* ---- loops ------------------------------------------------------------------------------------------------ */

typedef struct loop {
    parry_ctx *ctx;
    int64_t count;
    pr_job job;
    void *arg;
    atomic_llong next;
    atomic_int status;
} loop;

static void loop_work(void *arg, int rank)
{
    loop *l = arg;
    for (;;) {
        int64_t index = atomic_fetch_add(&l->next, 1);
        if (index >= l->count || atomic_load(&l->status) != PARRY_OK)
            return;
        parry_status status = l->job(l->ctx, l->arg, index, rank);
        if (status != PARRY_OK) {
            int ok = PARRY_OK;
            atomic_compare_exchange_strong(&l->status, &ok, (int)status);
        }
    }
}

parry_status pr_parallel_for(parry_ctx *ctx, int64_t count, pr_job job, void *arg)
{
    if (current_rank >= 0) {
        for (int64_t i = 0; i < count; i++)
            TRY(job(ctx, arg, i, current_rank));
        return PARRY_OK;
    }
    if (count == 1) { /* the threads are free for loops within the job */
        unsigned denormals = pr_denormals_flush();
        parry_status status = job(ctx, arg, 0, 0);
        pr_denormals_restore(denormals);
        return status;
    }
    loop l = {.ctx = ctx, .count = count, .job = job, .arg = arg};
    TRY(pool_run(ctx, (int)PR_MIN(count, ctx->options.threads), false, loop_work, &l));
    return (parry_status)atomic_load(&l.status);
}

/* ---- teams ------------------------------------------------------------------------------------------------- */

void pr_team_barrier(pr_team *team)
{
    if (team->ranks == 1)
        return;
    unsigned phase = atomic_load(&team->phase);
    if (atomic_fetch_add(&team->arrived, 1) == team->ranks - 1) {
        atomic_store(&team->arrived, 0);
        pthread_mutex_lock(&team->lock);
        atomic_fetch_add(&team->phase, 1);
        pthread_cond_broadcast(&team->met);
        pthread_mutex_unlock(&team->lock);
        return;
    }
    for (int spin = 0; spin < SPINS; spin++) {
        if (atomic_load(&team->phase) != phase)
            return;
        relax();
    }
    pthread_mutex_lock(&team->lock);
    while (atomic_load(&team->phase) == phase)
        pthread_cond_wait(&team->met, &team->lock);
    pthread_mutex_unlock(&team->lock);
}

typedef struct team_call {
    pr_team team;
    pr_team_job job;
    void *arg;
} team_call;

static void team_work(void *arg, int rank)
{
    team_call *call = arg;
    call->job(&call->team, call->arg, rank, call->team.ranks);
}

parry_status pr_parallel_team(parry_ctx *ctx, int ranks, pr_team_job job, void *arg)
{
    team_call call = {.job = job, .arg = arg};
    call.team.ranks = current_rank >= 0 ? 1 : PR_MAX(1, PR_MIN(ranks, ctx->options.threads));
    if (current_rank >= 0) {
        job(&call.team, arg, 0, 1);
        return PARRY_OK;
    }
    pthread_mutex_init(&call.team.lock, NULL);
    pthread_cond_init(&call.team.met, NULL);
    parry_status status = pool_run(ctx, call.team.ranks, true, team_work, &call);
    pthread_cond_destroy(&call.team.met);
    pthread_mutex_destroy(&call.team.lock);
    return status;
}
