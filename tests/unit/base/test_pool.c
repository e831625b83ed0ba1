/* Parallel loops and teams: every index once, for any number of threads; failures; nesting; barriers; denormals. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <stdatomic.h>
#include <string.h>

#include "base/base.h"

enum { MOST_THREADS = 5 };

static parry_ctx *make_ctx(int threads)
{
    parry_ctx *ctx;
    assert_int_equal(
        parry_ctx_create(&(parry_ctx_options){.size = sizeof(parry_ctx_options), .threads = threads}, &ctx), PARRY_OK);
    return ctx;
}

/* ---- loops ------------------------------------------------------------------------------------------------------ */

enum { MOST_INDICES = 1000 };

typedef struct tally {
    atomic_int seen[MOST_INDICES];
    atomic_int busy[MOST_THREADS]; /* jobs that a worker runs at the moment: its scratch is its own */
    atomic_int wrong;
    int threads;
} tally;

static parry_status count_index(parry_ctx *ctx, void *arg, int64_t index, int worker)
{
    (void)ctx;
    tally *t = arg;
    if (worker < 0 || worker >= t->threads || atomic_fetch_add(&t->busy[worker], 1) != 0)
        atomic_fetch_add(&t->wrong, 1);
    atomic_fetch_add(&t->seen[index], 1);
    atomic_fetch_sub(&t->busy[worker], 1);
    return PARRY_OK;
}

static void test_every_index_once(void **state)
{
    (void)state;
    static const int counts[] = {0, 1, 2, 3, 7, 64, MOST_INDICES};
    for (int threads = 1; threads <= MOST_THREADS; threads++) {
        parry_ctx *ctx = make_ctx(threads);
        for (size_t c = 0; c < PR_COUNT(counts); c++)
            for (int repeat = 0; repeat < 20; repeat++) {
                static tally t;
                memset(&t, 0, sizeof t);
                t.threads = threads;
                assert_int_equal(pr_parallel_for(ctx, counts[c], count_index, &t), PARRY_OK);
                assert_int_equal(t.wrong, 0);
                for (int i = 0; i < MOST_INDICES; i++)
                    assert_int_equal(t.seen[i], i < counts[c]);
            }
        parry_ctx_free(ctx);
    }
}

typedef struct failing {
    atomic_int runs;
    int64_t at;
} failing;

static parry_status fail_at_index(parry_ctx *ctx, void *arg, int64_t index, int worker)
{
    (void)worker;
    failing *f = arg;
    atomic_fetch_add(&f->runs, 1);
    if (index >= f->at)
        return pr_fail(ctx, PARRY_NUMERIC, "index %d", (int)index);
    return PARRY_OK;
}

/* The first failure is the result, the rest is not begun, and the pool works on afterwards. */
static void test_failure_stops_the_rest(void **state)
{
    (void)state;
    for (int threads = 1; threads <= MOST_THREADS; threads++) {
        parry_ctx *ctx = make_ctx(threads);
        for (int repeat = 0; repeat < 20; repeat++) {
            failing f = {.at = 50};
            assert_int_equal(pr_parallel_for(ctx, 1000000, fail_at_index, &f), PARRY_NUMERIC);
            assert_true(f.runs >= 1 && f.runs <= f.at + threads);
            assert_memory_equal(parry_ctx_error(ctx), "index ", 6);
        }
        parry_ctx_free(ctx);
    }
}

typedef struct nested {
    atomic_int inner[16 * 16];
    atomic_int wrong;
    int outer_index[MOST_THREADS]; /* by worker */
} nested;

static parry_status inner_job(parry_ctx *ctx, void *arg, int64_t index, int worker)
{
    (void)ctx;
    nested *n = arg;
    atomic_fetch_add(&n->inner[n->outer_index[worker] * 16 + index], 1);
    return PARRY_OK;
}

static void inner_team(pr_team *team, void *arg, int rank, int ranks)
{
    pr_team_barrier(team);
    if (rank != 0 || ranks != 1)
        atomic_fetch_add(&((nested *)arg)->wrong, 1);
}

static parry_status outer_job(parry_ctx *ctx, void *arg, int64_t index, int worker)
{
    nested *n = arg;
    n->outer_index[worker] = (int)index;
    TRY(pr_parallel_for(ctx, 16, inner_job, n));
    TRY(pr_parallel_team(ctx, 4, inner_team, n));
    return PARRY_OK;
}

static void outer_team(pr_team *team, void *arg, int rank, int ranks)
{
    (void)rank;
    pr_team_barrier(team);
    atomic_store((atomic_int *)arg, ranks);
}

static parry_status only_job(parry_ctx *ctx, void *arg, int64_t index, int worker)
{
    assert_int_equal(index, 0);
    assert_int_equal(worker, 0);
    return pr_parallel_team(ctx, MOST_THREADS, outer_team, arg);
}

/* A loop of one job leaves the threads to it. */
static void test_only_job_has_the_threads(void **state)
{
    (void)state;
    for (int threads = 1; threads <= MOST_THREADS; threads++) {
        parry_ctx *ctx = make_ctx(threads);
        atomic_int ranks = 0;
        assert_int_equal(pr_parallel_for(ctx, 1, only_job, &ranks), PARRY_OK);
        assert_int_equal(ranks, threads);
        parry_ctx_free(ctx);
    }
}

static void test_nested_calls_are_serial(void **state)
{
    (void)state;
    for (int threads = 1; threads <= MOST_THREADS; threads++) {
        parry_ctx *ctx = make_ctx(threads);
        nested n = {0};
        assert_int_equal(pr_parallel_for(ctx, 16, outer_job, &n), PARRY_OK);
        assert_int_equal(n.wrong, 0);
        for (int i = 0; i < 16 * 16; i++)
            assert_int_equal(n.inner[i], 1);
        parry_ctx_free(ctx);
    }
}

/* ---- teams ------------------------------------------------------------------------------------------------------ */

enum { ROUNDS = 200 };

typedef struct relay {
    int value[MOST_THREADS]; /* plain on purpose: the barriers alone order the accesses */
    int ranks;
    atomic_int wrong;
} relay;

/* Each round every rank writes its own cell, and after the barrier reads all of them. */
static void relay_job(pr_team *team, void *arg, int rank, int ranks)
{
    relay *r = arg;
    if (rank == 0)
        r->ranks = ranks;
    for (int round = 1; round <= ROUNDS; round++) {
        r->value[rank] = round;
        pr_team_barrier(team);
        for (int other = 0; other < ranks; other++)
            if (r->value[other] != round)
                atomic_fetch_add(&r->wrong, 1);
        pr_team_barrier(team);
    }
}

static void test_barriers_order(void **state)
{
    (void)state;
    for (int threads = 1; threads <= MOST_THREADS; threads++) {
        parry_ctx *ctx = make_ctx(threads);
        for (int ranks = 1; ranks <= threads + 1; ranks++) {
            relay r = {0};
            assert_int_equal(pr_parallel_team(ctx, ranks, relay_job, &r), PARRY_OK);
            assert_int_equal(r.ranks, PR_MIN(ranks, threads));
            assert_int_equal(r.wrong, 0);
        }
        parry_ctx_free(ctx);
    }
}

/* ---- denormals -------------------------------------------------------------------------------------------------- */

#if defined(__SSE__)
static volatile float tiny = 1e-30f; /* times 1e-12 it is a denormal */

static bool flushes(void)
{
    volatile float product = tiny * 1e-12f;
    return product == 0;
}

static void flush_job(pr_team *team, void *arg, int rank, int ranks)
{
    (void)rank, (void)ranks;
    if (flushes())
        atomic_fetch_add((atomic_int *)arg, 1);
    pr_team_barrier(team);
}

static parry_status flush_index(parry_ctx *ctx, void *arg, int64_t index, int worker)
{
    (void)ctx, (void)index, (void)worker;
    if (flushes())
        atomic_fetch_add((atomic_int *)arg, 1);
    return PARRY_OK;
}

static void test_denormals_are_flushed_in_all_workers(void **state)
{
    (void)state;
    assert_false(flushes());
    for (int threads = 1; threads <= MOST_THREADS; threads++) {
        parry_ctx *ctx = make_ctx(threads);
        atomic_int count = 0;
        assert_int_equal(pr_parallel_team(ctx, threads, flush_job, &count), PARRY_OK);
        assert_int_equal(count, threads);
        assert_int_equal(pr_parallel_for(ctx, 100, flush_index, &count), PARRY_OK);
        assert_int_equal(count, threads + 100);
        assert_false(flushes()); /* the caller's own setting is back */
        parry_ctx_free(ctx);
    }
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_index_once),
        cmocka_unit_test(test_failure_stops_the_rest),
        cmocka_unit_test(test_only_job_has_the_threads),
        cmocka_unit_test(test_nested_calls_are_serial),
        cmocka_unit_test(test_barriers_order),
#if defined(__SSE__)
        cmocka_unit_test(test_denormals_are_flushed_in_all_workers),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
