/* Speed of training, input gradients and inference on SimpleCNN, through the layers that a user pays for: training
 * steps as the training loop takes them, gradients and logits through model sessions on the context's threads.
 *
 *     bench_engine [threads] [seconds per case] [batch ...]
 *
 * Prints one JSON line per case: the median over the runs of a batch. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <parry/parry.h>

#include "base/rng.h"
#include "engine/engine.h"
#include "model/model.h"
#include "nn/nn.h"

enum { CHANNELS = 1, SIDE = 28, PIXELS = SIDE * SIDE, CLASSES = 10, RUNS_MOST = 100000, BATCHES_MOST = 8 };

static parry_ctx *ctx;
static double seconds = 1;
static int threads = 2;

static void check(parry_status status)
{
    if (status == PARRY_OK)
        return;
    fprintf(stderr, "bench_engine: %s\n", parry_ctx_error(ctx));
    exit(1);
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Repeats work(arg) for the time of a case and reports its median rate. */
static void measure(const char *workload, int batch, void (*work)(void *arg), void *arg)
{
    static double times[RUNS_MOST];
    int runs = 0;
    for (int i = 0; i < 5; i++)
        work(arg);
    for (double begin = now(), end = begin; (end - begin < seconds || runs < 5) && runs < RUNS_MOST; runs++) {
        double start = end;
        work(arg);
        end = now();
        times[runs] = end - start;
    }
    qsort(times, (size_t)runs, sizeof times[0], by_value);
    printf("{\"bench\": \"engine\", \"workload\": \"%s\", \"batch\": %d, \"threads\": %d, \"images_per_s\": %.0f, "
           "\"best\": %.0f}\n",
           workload, batch, threads, batch / times[runs / 2], batch / times[runs / 20]);
    fflush(stdout);
}

/* ---- the cases ------------------------------------------------------------------------------------------------- */

typedef struct job {
    int batch;
    uint64_t step;
    float *images, *results;
    int32_t *labels;
    pr_trainer *trainer;
    pr_workers workers;
    int64_t chunk;
} job;

static void train(void *arg)
{
    job *j = arg;
    const pr_optimiser *adam = pr_optimiser_at(0);
    double scalars[PR_SCALARS_MAX], loss;
    int64_t correct;
    adam->scalars(1e-3, 0, ++j->step, scalars);
    check(pr_trainer_step(ctx, j->trainer, j->images, j->labels, j->batch, pr_loss_at(0)->rows, NULL, 1, j->step,
                          scalars, 0, &loss, &correct));
}

static void cotangent(void *arg, int which, int64_t first, int64_t n, const float *logits, float *dlogits)
{
    float loss[64];
    const job *j = arg;
    (void)which;
    for (int64_t r = 0; r < n; r += 64)
        pr_loss_at(0)->rows(NULL, n - r < 64 ? n - r : 64, CLASSES, logits + r * CLASSES, j->labels + first + r, loss,
                            dlogits + r * CLASSES);
}

static parry_status gradient_chunk(parry_ctx *c, void *arg, int64_t index, int worker)
{
    job *j = arg;
    pr_session *session;
    int64_t first = index * j->chunk, n = j->batch - first < j->chunk ? j->batch - first : j->chunk;
    float *grads[] = {j->results + first * PIXELS};
    parry_status status = pr_workers_session(c, &j->workers, worker, &session);
    return status != PARRY_OK ? status
                              : pr_session_vjp(c, session, j->images + first * PIXELS, n, 1, cotangent, j, NULL, grads);
}

static parry_status logits_chunk(parry_ctx *c, void *arg, int64_t index, int worker)
{
    job *j = arg;
    pr_session *session;
    int64_t first = index * j->chunk, n = j->batch - first < j->chunk ? j->batch - first : j->chunk;
    parry_status status = pr_workers_session(c, &j->workers, worker, &session);
    return status != PARRY_OK
               ? status
               : pr_session_logits(c, session, j->images + first * PIXELS, n, j->results + first * CLASSES);
}

static void gradients(void *arg)
{
    job *j = arg;
    check(pr_parallel_for(ctx, (j->batch + j->chunk - 1) / j->chunk, gradient_chunk, j));
}

static void logits(void *arg)
{
    job *j = arg;
    check(pr_parallel_for(ctx, (j->batch + j->chunk - 1) / j->chunk, logits_chunk, j));
}

static void bench_batch(parry_model *model, const pr_graph *graph, pr_weights *weights, int batch)
{
    job j = {.batch = batch};
    check(pr_alloc(ctx, batch * PIXELS, &j.images));
    check(pr_alloc(ctx, batch * PIXELS, &j.results));
    check(pr_alloc(ctx, batch, &j.labels));
    pr_rng rng = pr_rng_init(1, PR_STREAM_TEST, 0);
    for (int i = 0; i < batch * PIXELS; i++)
        j.images[i] = pr_rng_unit(&rng);
    for (int i = 0; i < batch; i++)
        j.labels[i] = i % CLASSES;
    check(pr_workers_init(ctx, model, true, batch, &j.workers));
    j.chunk = pr_workers_chunk(&j.workers, batch);
    measure("inference", batch, logits, &j);
    measure("input-gradient", batch, gradients, &j);
    pr_workers_release(&j.workers);
    check(pr_trainer_create(ctx, graph, weights, batch, &pr_optimiser_at(0)->rule, PR_BACKEND_AUTO, &j.trainer));
    measure("train", batch, train, &j);
    pr_trainer_free(j.trainer);
    pr_free(j.images);
    pr_free(j.results);
    pr_free(j.labels);
}

int main(int argc, char **argv)
{
    int batches[BATCHES_MOST] = {64, 256}, count = 2;
    threads = argc > 1 ? atoi(argv[1]) : 2;
    seconds = argc > 2 ? atof(argv[2]) : 1;
    if (argc > 3)
        for (count = 0; count < BATCHES_MOST && argv[3 + count]; count++)
            batches[count] = atoi(argv[3 + count]);
    parry_ctx_options options = {.size = sizeof options, .seed = 1, .threads = threads};
    parry_model *model;
    const pr_graph *graph;
    pr_weights *weights;
    if (parry_ctx_create(&options, &ctx) != PARRY_OK)
        return 1;
    check(parry_model_build(ctx, "simplecnn", CHANNELS, SIDE, SIDE, CLASSES, &model));
    check(pr_model_network(ctx, model, &graph, &weights));
    for (int i = 0; i < count; i++)
        bench_batch(model, graph, weights, batches[i]);
    parry_model_free(model);
    parry_ctx_free(ctx);
    return 0;
}
