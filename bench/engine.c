/* Speed of training, input gradients and inference through the layers that a user pays for: training steps as the
 * training loop takes them, gradients and logits through model sessions on the context's threads.
 *
 *     bench_engine [threads] [seconds per case] [NETWORK:BATCH ...]
 *
 * NETWORK is an architecture of the table below or an ONNX file. Inference and gradients also in bf16 where the
 * processor has it. Prints one JSON line per case: the median over the runs of a batch, and the process's peak memory
 * so far. */
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "common.h"
#include "base/rng.h"
#include "engine/engine.h"
#include "model/model.h"
#include "nn/nn.h"

enum { RUNS_MOST = 100000, NAME_MOST = 512, WARM_UPS = 3 };

/* What the architectures are built for; `train`: whether training is measured too. */
static const struct network {
    const char *name;
    int channels, side, classes;
    bool train;
} networks[] = {{"simplecnn", 1, 28, 10, true},
                {"resnet20", 3, 32, 10, true},
                {"resnet18", 3, 224, 1000, false},
                {"resnet50", 3, 224, 1000, false},
                {"inception_v3", 3, 299, 1000, false}};

static double seconds = 1;
static int threads = 2;

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Repeats work(arg) for the time of a case and reports its median rate. */
static void measure(const char *network, const char *workload, int batch, void (*work)(void *arg), void *arg)
{
    static double times[RUNS_MOST];
    struct rusage usage;
    int runs = 0;
    for (int i = 0; i < WARM_UPS; i++)
        work(arg);
    for (double begin = now(), end = begin; (end - begin < seconds || runs < 3) && runs < RUNS_MOST; runs++) {
        double start = end;
        work(arg);
        end = now();
        times[runs] = end - start;
    }
    qsort(times, (size_t)runs, sizeof times[0], by_value);
    getrusage(RUSAGE_SELF, &usage);
    printf("{\"bench\": \"engine\", \"network\": \"%s\", \"workload\": \"%s\", \"batch\": %d, \"threads\": %d, "
           "\"images_per_s\": %.1f, \"best\": %.1f, \"peak_mb\": %.0f}\n",
           network, workload, batch, threads, batch / times[runs / 2], batch / times[runs / 20],
           (double)usage.ru_maxrss / 1024);
    fflush(stdout);
}

/* ---- the cases ------------------------------------------------------------------------------------------------- */

typedef struct job {
    int batch, classes;
    int64_t row; /* floats of an image */
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
        pr_loss_at(0)->rows(NULL, PR_MIN(64, n - r), j->classes, logits + r * j->classes, j->labels + first + r, loss,
                            dlogits + r * j->classes);
}

static parry_status gradient_chunk(parry_ctx *c, void *arg, int64_t index, int worker)
{
    job *j = arg;
    pr_session *session;
    int64_t first = index * j->chunk, n = j->batch - first < j->chunk ? j->batch - first : j->chunk;
    float *grads[] = {j->results + first * j->row};
    parry_status status = pr_workers_session(c, &j->workers, worker, &session);
    return status != PARRY_OK ? status
                              : pr_session_vjp(c, session, j->images + first * j->row, n, 1, cotangent, j, NULL, grads);
}

static parry_status logits_chunk(parry_ctx *c, void *arg, int64_t index, int worker)
{
    job *j = arg;
    pr_session *session;
    int64_t first = index * j->chunk, n = j->batch - first < j->chunk ? j->batch - first : j->chunk;
    parry_status status = pr_workers_session(c, &j->workers, worker, &session);
    return status != PARRY_OK
               ? status
               : pr_session_logits(c, session, j->images + first * j->row, n, j->results + first * j->classes);
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

static void bench_batch(const char *name, parry_model *model, int batch, bool with_training)
{
    const parry_model_info *info = parry_model_describe(model);
    job j = {.batch = batch, .classes = info->classes, .row = pr_model_row(model)};
    const pr_graph *graph;
    pr_weights *weights;
    check(pr_alloc(ctx, batch * j.row, &j.images));
    check(pr_alloc(ctx, batch * PR_MAX(j.row, j.classes), &j.results));
    check(pr_alloc(ctx, batch, &j.labels));
    pr_rng rng = pr_rng_init(1, PR_STREAM_TEST, 0);
    for (int64_t i = 0; i < batch * j.row; i++)
        j.images[i] = pr_rng_unit(&rng);
    for (int i = 0; i < batch; i++)
        j.labels[i] = i % j.classes;
    for (int workload = 0; workload < 4; workload++) {
        static const char *const names[] = {"inference", "input-gradient", "inference-bf16", "input-gradient-bf16"};
        const bool gradient = workload % 2;
        const parry_precision precision = workload < 2 ? PARRY_F32 : PARRY_BF16;
        if (parry_precision_check(ctx, precision) != PARRY_OK)
            break;
        check(pr_workers_init(ctx, model, gradient, precision, batch, &j.workers));
        j.chunk = pr_workers_chunk(&j.workers, batch);
        measure(name, names[workload], batch, gradient ? gradients : logits, &j);
        pr_workers_release(&j.workers);
    }
    for (int precision = PARRY_F32; with_training && precision <= PARRY_BF16; precision++) {
        if (parry_precision_check(ctx, (parry_precision)precision) != PARRY_OK)
            break;
        check(pr_model_network(ctx, model, &graph, &weights));
        check(pr_trainer_create(ctx, graph, weights, batch, &pr_optimiser_at(0)->rule, PR_BACKEND_AUTO,
                                (parry_precision)precision, &j.trainer));
        measure(name, precision == PARRY_F32 ? "train" : "train-bf16", batch, train, &j);
        pr_trainer_free(j.trainer);
    }
    pr_free(j.images);
    pr_free(j.results);
    pr_free(j.labels);
}

/* From an ONNX file, still in the system's cache, to the first prediction. */
static void bench_load(const char *network, const parry_model *given)
{
    enum { RUNS = 3 };
    char path[] = "bench-XXXXXX.onnx";
    const int fd = mkstemps(path, 5);
    const parry_model_info *info = parry_model_describe(given);
    double times[RUNS];
    float *image, *scores;
    if (fd < 0)
        return;
    close(fd);
    check(parry_model_save(ctx, given, path));
    check(pr_alloc(ctx, pr_model_row(given), &image));
    check(pr_alloc(ctx, info->classes, &scores));
    for (int run = 0; run < RUNS; run++) {
        parry_model *model;
        const double begin = now();
        check(parry_model_load(ctx, path, NULL, &model));
        check(parry_model_logits(ctx, model, image, 1, scores));
        times[run] = now() - begin;
        parry_model_free(model);
    }
    unlink(path);
    qsort(times, RUNS, sizeof times[0], by_value);
    printf("{\"bench\": \"load\", \"network\": \"%s\", \"seconds\": %.3f}\n", network, times[RUNS / 2]);
    pr_free(image);
    pr_free(scores);
}

static void bench_case(const char *text)
{
    char name[NAME_MOST];
    parry_model *model = NULL;
    bool with_training = false;
    const char *colon = strrchr(text, ':');
    const int batch = colon ? atoi(colon + 1) : 0;
    if (batch < 1 || colon - text >= NAME_MOST) {
        fprintf(stderr, "bench_engine: expected NETWORK:BATCH, not '%s'\n", text);
        exit(2);
    }
    snprintf(name, sizeof name, "%.*s", (int)(colon - text), text);
    for (size_t n = 0; n < PR_COUNT(networks); n++) {
        const struct network *net = &networks[n];
        if (strcmp(net->name, name) != 0)
            continue;
        check(parry_model_build(ctx, name, net->channels, net->side, net->side, net->classes, &model));
        with_training = net->train;
    }
    if (!model)
        check(parry_model_load(ctx, name, NULL, &model));
    bench_batch(parry_model_describe(model)->name, model, batch, with_training);
    bench_load(parry_model_describe(model)->name, model);
    parry_model_free(model);
}

int main(int argc, char **argv)
{
    static const char *const usual[] = {"simplecnn:64", "simplecnn:256"};
    threads = argc > 1 ? atoi(argv[1]) : 2;
    seconds = argc > 2 ? atof(argv[2]) : 1;
    parry_ctx_options options = {.size = sizeof options, .seed = 1, .threads = threads};
    if (parry_ctx_create(&options, &ctx) != PARRY_OK)
        return 1;
    for (int i = 3; i < argc; i++)
        bench_case(argv[i]);
    for (size_t i = 0; argc <= 3 && i < PR_COUNT(usual); i++)
        bench_case(usual[i]);
    parry_ctx_free(ctx);
    return 0;
}
