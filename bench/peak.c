/* Measures this machine's single-precision peak: the yardstick every other
 * speed is quoted against.
 *
 *     peak [threads] [seconds]
 *
 * Each thread runs a loop of independent fused multiply-adds that never leaves
 * the registers, so nothing but the FMA units limits it.  The loop exists for
 * AVX-512, AVX2+FMA and plain C, and the best that the processor offers is
 * chosen at run time: the file compiles for the baseline of the architecture.
 *
 * Prints one JSON line for one thread and one for `threads` threads (default:
 * every online processor).  Each line gives the median and the best of several
 * rounds; on a quiet machine they agree, on a shared one the best is nearer to
 * the truth.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

enum {
    ROUNDS = 9,
    MAX_THREADS = 256,
    CHAINS = 12,   /* > 2 units x 4..5 cycles of latency, and fits in 16 registers;
                    * EACH_CHAIN lists them */
    STEPS = 4,     /* steps of each chain per trip: counting the trips takes a slot too */
    BURST = 25000, /* loop trips between two looks at the clock */
};

static double now(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* Every kernel makes `trips` trips over the chains and returns a value that
 * depends on all of them, so that the compiler keeps the work.  With
 * x -> x * 0.999 + 0.001 the values converge to 1: no denormals, no overflow.
 * No chain starts at 1 itself, a fixed point which a compiler may fold away.
 * The chains are named variables, not an array: an array stays in memory at
 * some optimisation levels, and then the loop measures loads and stores. */
#define EACH_CHAIN(DO) DO(0) DO(1) DO(2) DO(3) DO(4) DO(5) DO(6) DO(7) DO(8) DO(9) DO(10) DO(11)

typedef float kernel_fn(long trips);

struct kernel {
    const char *isa;
    int flop_per_trip;
    kernel_fn *run;
};

#if defined(__x86_64__)
__attribute__((target("avx512f"))) static float run_avx512(long trips)
{
    const __m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.001f);
    __m512 sum = _mm512_setzero_ps();

#define START(i) __m512 x##i = _mm512_set1_ps((float)(i + 2));
#define STEP(i) x##i = _mm512_fmadd_ps(x##i, a, b);
#define ADD(i) sum = _mm512_add_ps(sum, x##i);
    EACH_CHAIN(START)
    while (trips-- > 0) {
        EACH_CHAIN(STEP)
        EACH_CHAIN(STEP)
        EACH_CHAIN(STEP)
        EACH_CHAIN(STEP)
    }
    EACH_CHAIN(ADD)
#undef START
#undef STEP
#undef ADD
    return _mm512_reduce_add_ps(sum);
}

__attribute__((target("avx2,fma"))) static float run_avx2(long trips)
{
    const __m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);
    __m256 sum = _mm256_setzero_ps();
    float lanes[8], total = 0;

#define START(i) __m256 x##i = _mm256_set1_ps((float)(i + 2));
#define STEP(i) x##i = _mm256_fmadd_ps(x##i, a, b);
#define ADD(i) sum = _mm256_add_ps(sum, x##i);
    EACH_CHAIN(START)
    while (trips-- > 0) {
        EACH_CHAIN(STEP)
        EACH_CHAIN(STEP)
        EACH_CHAIN(STEP)
        EACH_CHAIN(STEP)
    }
    EACH_CHAIN(ADD)
#undef START
#undef STEP
#undef ADD
    _mm256_storeu_ps(lanes, sum);
    for (int i = 0; i < 8; i++)
        total += lanes[i];
    return total;
}
#endif

/* The fallback: four-lane vectors, which every 64-bit target has in hardware
 * and which the compiler contracts to fused operations where they exist. */
typedef float vec4 __attribute__((vector_size(16)));

static float run_generic(long trips)
{
    const vec4 a = {0.999f, 0.999f, 0.999f, 0.999f}, b = {0.001f, 0.001f, 0.001f, 0.001f};
    vec4 sum = {0, 0, 0, 0};

#define START(i) vec4 x##i = {i + 2, i + 2, i + 2, i + 2};
#define STEP(i) x##i = x##i * a + b;
#define ADD(i) sum += x##i;
    EACH_CHAIN(START)
    while (trips-- > 0) {
        EACH_CHAIN(STEP)
        EACH_CHAIN(STEP)
        EACH_CHAIN(STEP)
        EACH_CHAIN(STEP)
    }
    EACH_CHAIN(ADD)
#undef START
#undef STEP
#undef ADD
    return sum[0] + sum[1] + sum[2] + sum[3];
}

static struct kernel choose_kernel(void)
{
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f"))
        return (struct kernel){"avx512", STEPS * CHAINS * 16 * 2, run_avx512};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
        return (struct kernel){"avx2", STEPS * CHAINS * 8 * 2, run_avx2};
#endif
    return (struct kernel){"generic", STEPS * CHAINS * 4 * 2, run_generic};
}

struct job {
    const struct kernel *kernel;
    pthread_barrier_t *start;
    double seconds;
    double gflops; /* out */
    float sink;    /* out: keeps the arithmetic alive */
};

static void *measure(void *arg)
{
    struct job *job = arg;
    double begin, end;
    long trips = 0;
    float sink = job->kernel->run(BURST); /* warm up: clock and vector units */

    pthread_barrier_wait(job->start);
    begin = now();
    do {
        sink += job->kernel->run(BURST);
        trips += BURST;
        end = now();
    } while (end - begin < job->seconds);
    job->gflops = 1e-9 * (double)trips * job->kernel->flop_per_trip / (end - begin);
    job->sink = sink;
    return NULL;
}

static int by_value(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* One round: all threads start together; their rates add up. */
static double one_round(const struct kernel *kernel, int threads, double seconds)
{
    pthread_t ids[MAX_THREADS];
    struct job jobs[MAX_THREADS];
    pthread_barrier_t start;
    double total = 0;

    pthread_barrier_init(&start, NULL, (unsigned)threads);
    for (int i = 0; i < threads; i++) {
        jobs[i] = (struct job){.kernel = kernel, .start = &start, .seconds = seconds};
        if (pthread_create(&ids[i], NULL, measure, &jobs[i]) != 0) {
            fprintf(stderr, "peak: cannot start thread %d\n", i);
            exit(1);
        }
    }
    for (int i = 0; i < threads; i++) {
        pthread_join(ids[i], NULL);
        total += jobs[i].gflops;
    }
    pthread_barrier_destroy(&start);
    return total;
}

static void report(const struct kernel *kernel, int threads, double seconds)
{
    double rate[ROUNDS];

    for (int i = 0; i < ROUNDS; i++)
        rate[i] = one_round(kernel, threads, seconds / ROUNDS);
    qsort(rate, ROUNDS, sizeof rate[0], by_value);
    printf("{\"bench\": \"peak\", \"isa\": \"%s\", \"threads\": %d, "
           "\"gflops\": %.1f, \"gflops_best\": %.1f}\n",
           kernel->isa, threads, rate[ROUNDS / 2], rate[ROUNDS - 1]);
    fflush(stdout);
}

int main(int argc, char **argv)
{
    const struct kernel kernel = choose_kernel();
    long threads = argc > 1 ? strtol(argv[1], NULL, 10) : sysconf(_SC_NPROCESSORS_ONLN);
    double seconds = argc > 2 ? strtod(argv[2], NULL) : 1.0;

    if (threads < 1 || threads > MAX_THREADS || !(seconds > 0)) {
        fprintf(stderr, "usage: peak [threads 1..%d] [seconds]\n", MAX_THREADS);
        return 2;
    }
    report(&kernel, 1, seconds);
    if (threads > 1)
        report(&kernel, (int)threads, seconds);
    return 0;
}
