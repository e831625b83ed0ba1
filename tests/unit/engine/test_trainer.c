/* The trainer against training on the oracle: parameters and running statistics after steps of Adam and SGD, with
 * partial batches and dropout; the same bytes for any number of threads; moments and checkpoints; gradients of a
 * trainer in bf16 against those of f32. */
#include <math.h>
#include <string.h>

#include "zoo.h"
#include "../support/context.h"

enum { BATCH = 40, CLASSES_MAX = 32, PIXELS_MAX = 1024, STEPS = 3, SEED = 5 };

static parry_ctx *with_threads[4]; /* by number of threads */

static int setup(void **state)
{
    for (int threads = 1; threads < 4; threads++) {
        parry_ctx_options options = {.size = sizeof options, .threads = threads};
        if (parry_ctx_create(&options, &with_threads[threads]) != PARRY_OK)
            return -1;
    }
    return set_up_context(state);
}

static int teardown(void **state)
{
    for (int threads = 1; threads < 4; threads++)
        parry_ctx_free(with_threads[threads]);
    return tear_down_context(state);
}

/* ---- a loss and two optimisers --------------------------------------------------------------------------------- */

static void cross_entropy(const void *arg, int64_t n, int k, const float *logits, const int32_t *labels, float *loss,
                          float *dlogits)
{
    (void)arg;
    for (int64_t r = 0; r < n; r++, logits += k, dlogits += k) {
        double top = logits[0], sum = 0;
        for (int c = 1; c < k; c++)
            top = fmax(top, logits[c]);
        for (int c = 0; c < k; c++)
            sum += exp(logits[c] - top);
        for (int c = 0; c < k; c++)
            dlogits[c] = (float)(exp(logits[c] - top) / sum - (c == labels[r]));
        loss[r] = (float)(top + log(sum) - logits[labels[r]]);
    }
}

static void sgd(const double *scalars, float decay, float *w, const float *grad, float *const *state, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        state[0][i] = 0.9f * state[0][i] - (float)scalars[0] * (grad[i] + decay * w[i]);
        w[i] += state[0][i];
    }
}

/* An epsilon that hides most of the rounding where a gradient is nearly zero. */
static void adam(const double *scalars, float decay, float *w, const float *grad, float *const *state, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        float g = grad[i] + decay * w[i];
        state[0][i] += 0.1f * (g - state[0][i]);
        state[1][i] += 0.001f * (g * g - state[1][i]);
        w[i] -= (float)scalars[0] * state[0][i] / (sqrtf(state[1][i]) + 1e-3f);
    }
}

static const pr_update_rule rules[] = {{"sgd", 1, sgd}, {"adam", 2, adam}};

/* ---- training twice -------------------------------------------------------------------------------------------- */

static float images[BATCH * PIXELS_MAX];
static int32_t labels[BATCH];

static void fill_batch(const zoo *z)
{
    pr_rng rng = pr_rng_init(3, PR_STREAM_TEST, 1);
    int classes = (int)pr_dims_row(z->graph->values[z->graph->logits].dims);
    zoo_fill(&rng, images, BATCH * PIXELS_MAX, 0, 1);
    for (int i = 0; i < BATCH; i++)
        labels[i] = (int32_t)pr_rng_below(&rng, (uint32_t)classes);
}

/* The size of step `step`: full batches with a small one between them. */
static int size_of(int step)
{
    return step == 1 ? 21 : BATCH;
}

static void train(const zoo *z, int threads, const pr_update_rule *rule, pr_backend backend, parry_precision precision,
                  double *loss)
{
    parry_ctx *own = with_threads[threads];
    pr_trainer *trainer;
    int64_t correct;
    const double scalars[] = {0.02};
    OK_IN(own, pr_trainer_create(own, z->graph, z->weights, BATCH, rule, backend, precision, &trainer));
    for (int step = 0; step < STEPS; step++) {
        OK_IN(own, pr_trainer_step(own, trainer, images, labels, size_of(step), cross_entropy, NULL, SEED,
                                   (uint64_t)step, scalars, 0.01f, loss, &correct));
        assert_in_range(correct, 0, size_of(step));
    }
    OK_IN(own, pr_trainer_sync(own, trainer));
    pr_trainer_free(trainer);
}

/* What one step of the oracle needs. */
struct oracle {
    pr_graph *graph;
    pr_bn_link *links;
    size_t link_count, count;
    pr_value seed, values[64], grads[64];
    int32_t weight[64];
    float *state[64][2];
};

static void oracle_open(const zoo *z, struct oracle *o)
{
    *o = (struct oracle){0};
    OK(pr_graph_to_training(ctx, z->graph, &o->graph, &o->links, &o->link_count));
    for (size_t v = 0; v < o->graph->value_count; v++) {
        const pr_value_info *value = &o->graph->values[v];
        if (value->kind != PR_VALUE_WEIGHT || z->weights->items[value->weight].role > PR_WEIGHT_VECTOR)
            continue;
        for (int m = 0; m < 2; m++)
            OK(pr_alloc(ctx, z->weights->items[value->weight].count, &o->state[o->count][m]));
        o->weight[o->count] = value->weight;
        o->values[o->count++] = (pr_value)v;
    }
    OK(pr_graph_differentiate(ctx, o->graph, o->graph->logits, o->values, o->count, &o->seed, o->grads));
}

static void oracle_close(struct oracle *o)
{
    for (size_t i = 0; i < o->count; i++)
        for (int m = 0; m < 2; m++)
            pr_free(o->state[i][m]);
    pr_free(o->links);
    pr_graph_free(o->graph);
}

static void oracle_step(const zoo *z, struct oracle *o, const pr_update_rule *rule, int step, double *loss_sum)
{
    static float logits[BATCH * CLASSES_MAX], dlogits[BATCH * CLASSES_MAX], loss[BATCH];
    int n = size_of(step), classes = (int)pr_dims_row(o->graph->values[o->graph->logits].dims);
    const double scalars[] = {0.02};
    float *results[64] = {0};
    pr_value wanted[64];
    size_t count = o->count + 2 * o->link_count;
    pr_ref_feed feeds[] = {{o->graph->input, images}, {o->seed, dlogits}};
    OK(pr_ref_run(ctx, o->graph, z->weights, n, feeds, 1, &o->graph->logits, 1, (float *[]){logits}, SEED,
                  (uint64_t)step));
    cross_entropy(NULL, n, classes, logits, labels, loss, dlogits);
    *loss_sum = 0;
    for (int r = 0; r < n; r++)
        *loss_sum += loss[r];
    for (int e = 0; e < n * classes; e++)
        dlogits[e] /= (float)n;
    for (size_t i = 0; i < count; i++) {
        const pr_bn_link *link = i < o->count ? NULL : &o->links[(i - o->count) / 2];
        wanted[i] = !link ? o->grads[i] : (i - o->count) % 2 ? link->var : link->mean;
        OK(pr_alloc(ctx, pr_dims_row(o->graph->values[wanted[i]].dims), &results[i]));
    }
    OK(pr_ref_run(ctx, o->graph, z->weights, n, feeds, 2, wanted, count, results, SEED, (uint64_t)step));
    for (size_t i = 0; i < count; i++) {
        const pr_bn_link *link = i < o->count ? NULL : &o->links[(i - o->count) / 2];
        pr_weight *w = &z->weights->items[!link                ? o->weight[i]
                                          : (i - o->count) % 2 ? link->var_weight
                                                               : link->mean_weight];
        if (!link)
            rule->update(scalars, w->role == PR_WEIGHT_KERNEL ? 0.01f : 0, w->data, results[i], o->state[i], w->count);
        for (int64_t c = 0; link && c < w->count; c++)
            w->data[c] = w->data[c] * link->momentum + results[i][c] * (1 - link->momentum);
        pr_free(results[i]);
    }
}

/* Differences of all tensors, relative to each tensor's largest value. */
static void compare(const char *name, const char *how, double tolerance, const pr_weights *a, const pr_weights *b)
{
    for (size_t w = 0; w < a->count; w++) {
        double most = 0, scale = 1e-2;
        for (int64_t i = 0; i < a->items[w].count; i++) {
            double d = fabs((double)a->items[w].data[i] - b->items[w].data[i]);
            most = d > most || isnan(d) ? d : most;
            scale = fmax(scale, fabs((double)b->items[w].data[i]));
        }
        if (!(most / scale < tolerance))
            fail_msg("%s, %s: tensor %zu (%s, %lld numbers) differs by %g of %g", name, how, w, a->items[w].name,
                     (long long)a->items[w].count, most, scale);
    }
}

static void test_oracle(void **state)
{
    (void)state;
    for (size_t c = 0; c < PR_COUNT(zoo_cases); c++)
        for (size_t r = 0; r < PR_COUNT(rules); r++) {
            if (zoo_cases[c].image[1] > 16)
                continue; /* the oracle is slow */
            zoo z = zoo_open(ctx, &zoo_cases[c]), mine = zoo_open(ctx, &zoo_cases[c]);
            struct oracle o;
            double loss = 0, expected = 0;
            fill_batch(&z);
            oracle_open(&z, &o);
            for (int step = 0; step < STEPS; step++)
                oracle_step(&z, &o, &rules[r], step, &expected);
            oracle_close(&o);
            train(&mine, 2, &rules[r], PR_BACKEND_AUTO, PARRY_F32, &loss);
            compare(zoo_cases[c].name, rules[r].name, r ? 1e-3 : 1e-4, mine.weights, z.weights);
            assert_true(fabs(loss - expected) < 1e-3 * fabs(expected));
            zoo_close(&mine);
            zoo_close(&z);
        }
}

static void test_plain_c(void **state)
{
    (void)state;
    zoo a = zoo_open(ctx, &zoo_cases[1]), b = zoo_open(ctx, &zoo_cases[1]);
    double loss;
    fill_batch(&a);
    train(&a, 2, &rules[1], PR_BACKEND_AUTO, PARRY_F32, &loss);
    train(&b, 2, &rules[1], PR_BACKEND_REFERENCE, PARRY_F32, &loss);
    compare("simplecnn 8", "plain C", 1e-3, a.weights, b.weights);
    zoo_close(&a);
    zoo_close(&b);
}

static void check_threads(parry_precision precision)
{
    for (size_t c = 0; c < PR_COUNT(zoo_cases); c++) {
        double loss[4];
        zoo z[4];
        for (int threads = 1; threads < 4; threads++) {
            z[threads] = zoo_open(ctx, &zoo_cases[c]);
            fill_batch(&z[threads]);
            train(&z[threads], threads, &rules[1], PR_BACKEND_AUTO, precision, &loss[threads]);
        }
        for (int threads = 2; threads < 4; threads++) {
            assert_true(loss[threads] == loss[1]);
            for (size_t w = 0; w < z[1].weights->count; w++)
                assert_memory_equal(z[threads].weights->items[w].data, z[1].weights->items[w].data,
                                    sizeof(float) * (size_t)z[1].weights->items[w].count);
        }
        for (int threads = 1; threads < 4; threads++)
            zoo_close(&z[threads]);
    }
}

static void need_bf16(void)
{
    if (parry_precision_check(ctx, PARRY_BF16) == PARRY_OK)
        return;
    print_message("%s\n", parry_ctx_error(ctx));
    skip();
}

static void test_threads(void **state)
{
    (void)state;
    check_threads(PARRY_F32);
}

static void test_threads_bf16(void **state)
{
    (void)state;
    need_bf16();
    check_threads(PARRY_BF16);
}

/* The first moment of sgd after one step is the gradient: of tensor w, for two trainers. Adds the square of its norm in
 * f32, and of how far the other is off. */
static void compare_gradients(pr_trainer *const trainer[2], int32_t w, int64_t count, double *size, double *off)
{
    float *f32, *bf16;
    *size = *off = 0;
    OK(pr_alloc(ctx, count, &f32));
    OK(pr_alloc(ctx, count, &bf16));
    OK(pr_trainer_moment(ctx, trainer[0], w, 0, f32, false));
    OK(pr_trainer_moment(ctx, trainer[1], w, 0, bf16, false));
    for (int64_t i = 0; i < count; i++) {
        *off += ((double)bf16[i] - f32[i]) * ((double)bf16[i] - f32[i]);
        *size += (double)f32[i] * f32[i];
    }
    pr_free(f32);
    pr_free(bf16);
}

/* The relative L2 error of the worst tensor's gradient in bf16. A bias before batch norm has none but noise: what is
 * smaller than 1e-5 of the largest gradient is measured by that. */
static double gradient_error(const struct zoo_case *which)
{
    enum { TENSORS_MAX = 64 };
    pr_trainer *trainer[2];
    zoo z = zoo_open(ctx, which);
    const double scalars[] = {0.01};
    double loss, size[TENSORS_MAX], off[TENSORS_MAX], largest = 0, worst = 0;
    int64_t correct;
    size_t tensors = 0;
    fill_batch(&z);
    for (int p = PARRY_F32; p <= PARRY_BF16; p++) {
        OK(pr_trainer_create(ctx, z.graph, z.weights, BATCH, &rules[0], PR_BACKEND_AUTO, (parry_precision)p,
                             &trainer[p]));
        OK(pr_trainer_step(ctx, trainer[p], images, labels, BATCH, cross_entropy, NULL, SEED, 0, scalars, 0, &loss,
                           &correct));
    }
    assert_true(z.weights->count <= TENSORS_MAX);
    for (size_t w = 0; w < z.weights->count; w++) {
        if (z.weights->items[w].role > PR_WEIGHT_VECTOR)
            continue;
        compare_gradients(trainer, (int32_t)w, z.weights->items[w].count, &size[tensors], &off[tensors]);
        largest = fmax(largest, size[tensors++]);
    }
    for (size_t t = 0; t < tensors; t++)
        worst = fmax(worst, sqrt(off[t] / fmax(size[t], 1e-10 * largest)));
    pr_trainer_free(trainer[0]);
    pr_trainer_free(trainer[1]);
    zoo_close(&z);
    return worst;
}

/* Rounding moves what a ReLU sees by about 2^-8 of its size, so about that share of its units change sides, each of
 * which adds or drops its whole part of the gradient: sqrt(2^-8) = 1/16 in L2 for one ReLU, 1/8 for four behind each
 * other. Networks 5 to 8 have no convolution of enough channels for bf16. */
static void test_gradients_bf16(void **state)
{
    (void)state;
    need_bf16();
    for (size_t c = 0; c < PR_COUNT(zoo_cases); c++) {
        double error = gradient_error(&zoo_cases[c]);
        bool rounds = c < 5 || c > 8;
        if (error > 1.0 / 8 || (error > 1.0 / 4096) != rounds)
            fail_msg("%s: gradients in bf16 are off by %g", zoo_cases[c].name, error);
    }
}

/* Going on from copied weights and moments is going on. */
static void test_checkpoint(void **state)
{
    (void)state;
    zoo z = zoo_open(ctx, &zoo_cases[0]), copy = zoo_open(ctx, &zoo_cases[0]);
    pr_trainer *first, *second;
    double loss[2];
    int64_t correct;
    const double scalars[] = {0.01};
    fill_batch(&z);
    OK(pr_trainer_create(ctx, z.graph, z.weights, BATCH, &rules[1], PR_BACKEND_AUTO, PARRY_F32, &first));
    OK(pr_trainer_create(ctx, copy.graph, copy.weights, BATCH, &rules[1], PR_BACKEND_AUTO, PARRY_F32, &second));
    OK(pr_trainer_step(ctx, first, images, labels, BATCH, cross_entropy, NULL, SEED, 0, scalars, 0, loss, &correct));
    uint64_t version = z.weights->version;
    OK(pr_trainer_sync(ctx, first));
    assert_true(z.weights->version > version);
    for (size_t w = 0; w < z.weights->count; w++) {
        memcpy(copy.weights->items[w].data, z.weights->items[w].data,
               sizeof(float) * (size_t)z.weights->items[w].count);
        for (int m = 0; m < 2 && z.weights->items[w].role <= PR_WEIGHT_VECTOR; m++) {
            float *moment;
            OK(pr_alloc(ctx, z.weights->items[w].count, &moment));
            OK(pr_trainer_moment(ctx, first, (int32_t)w, m, moment, false));
            OK(pr_trainer_moment(ctx, second, (int32_t)w, m, moment, true));
            pr_free(moment);
        }
    }
    OK(pr_trainer_load(ctx, second));
    for (int step = 1; step < 3; step++) {
        OK(pr_trainer_step(ctx, first, images, labels, BATCH, cross_entropy, NULL, SEED, (uint64_t)step, scalars, 0,
                           &loss[0], &correct));
        OK(pr_trainer_step(ctx, second, images, labels, BATCH, cross_entropy, NULL, SEED, (uint64_t)step, scalars, 0,
                           &loss[1], &correct));
        assert_true(loss[0] == loss[1]);
    }
    assert_int_equal(pr_trainer_moment(ctx, first, 0, 2, NULL, false), PARRY_INVALID);
    pr_trainer_free(first);
    pr_trainer_free(second);
    zoo_close(&z);
    zoo_close(&copy);
}

static void test_memory(void **state)
{
    (void)state;
    zoo z = zoo_open(ctx, &zoo_cases[8]);
    parry_status status = PARRY_NO_MEMORY;
    for (long n = 1; status != PARRY_OK; n++) {
        pr_trainer *trainer;
        pr_alloc_fail_at(n);
        status = pr_trainer_create(ctx, z.graph, z.weights, BATCH, &rules[1], PR_BACKEND_AUTO, PARRY_F32, &trainer);
        pr_alloc_fail_at(0);
        assert_true(status == PARRY_OK || status == PARRY_NO_MEMORY);
        pr_trainer_free(trainer);
    }
    zoo_close(&z);
}

static void test_text(void **state)
{
    (void)state;
    zoo z = zoo_open(ctx, &zoo_cases[0]);
    pr_trainer *trainer;
    char *text;
    OK(pr_trainer_create(ctx, z.graph, z.weights, 64, &rules[0], PR_BACKEND_AUTO, PARRY_F32, &trainer));
    OK(pr_trainer_text(ctx, trainer, &text));
    assert_null(strstr(text, "REFERENCE"));
    assert_non_null(strstr(text, "update by blocks"));
    assert_non_null(strstr(text, "BatchNormTrainGrad + ReluGrad"));
    assert_null(strstr(text, "bf16"));
    pr_free(text);
    pr_trainer_free(trainer);
    zoo_close(&z);
}

/* All three products of a convolution behind the first, on numbers that were rounded once. */
static void test_text_bf16(void **state)
{
    (void)state;
    need_bf16();
    zoo z = zoo_open(ctx, &zoo_cases[0]);
    pr_trainer *trainer;
    char *text;
    OK(pr_trainer_create(ctx, z.graph, z.weights, 64, &rules[0], PR_BACKEND_AUTO, PARRY_BF16, &trainer));
    OK(pr_trainer_text(ctx, trainer, &text));
    assert_null(strstr(text, "REFERENCE"));
    for (const char *line = text; line; line = (line = strchr(line, '\n')) ? line + 1 : NULL) {
        size_t length = strcspn(line, "\n");
        bool second = memmem(line, length, "conv2", 5) && memmem(line, length, "Conv", 4);
        assert_true(!second || memmem(line, length, "avx512_core_bf16", 16));
    }
    assert_non_null(strstr(text, "to bf16"));
    assert_null(strstr(text, "to f32"));
    pr_free(text);
    pr_trainer_free(trainer);
    zoo_close(&z);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_oracle),       cmocka_unit_test(test_plain_c),        cmocka_unit_test(test_threads),
        cmocka_unit_test(test_checkpoint),   cmocka_unit_test(test_memory),         cmocka_unit_test(test_text),
        cmocka_unit_test(test_threads_bf16), cmocka_unit_test(test_gradients_bf16), cmocka_unit_test(test_text_bf16),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
