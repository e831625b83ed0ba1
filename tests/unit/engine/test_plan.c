/* Plans against the oracle: logits and input gradients of every network of the zoo; the same bits in every position,
 * for every way of cutting a job into micro-batches, and after weights have moved. */
#include <math.h>
#include <string.h>

#include "zoo.h"
#include "../support/context.h"

enum { IMAGES = 37, CLASSES_MAX = 16, PIXELS_MAX = 1024 };

/* One job: images, what flows back, and the results. */
static struct job {
    float x[IMAGES * PIXELS_MAX], dlogits[IMAGES * CLASSES_MAX], logits[IMAGES * CLASSES_MAX], dx[IMAGES * PIXELS_MAX];
} job, other;

static void fill_job(struct job *j)
{
    pr_rng rng = pr_rng_init(11, PR_STREAM_TEST, 99);
    zoo_fill(&rng, j->x, IMAGES * PIXELS_MAX, 0, 1);
    zoo_fill(&rng, j->dlogits, IMAGES * CLASSES_MAX, -1, 1);
}

/* Runs all images through a plan, `n` at a time. */
static void run_plan(const zoo *z, const pr_plan_options *options, int n, struct job *j)
{
    pr_plan *plan;
    pr_workspace *workspace;
    int64_t pixels = pr_dims_row(z->graph->values[z->graph->input].dims),
            classes = pr_dims_row(z->graph->values[z->graph->logits].dims);
    OK(pr_plan_create(ctx, z->graph, z->weights, PR_INPUT_GRADIENT, options, &plan));
    OK(pr_workspace_create(ctx, plan, &workspace));
    int step = n ? n : pr_plan_micro_batch(plan);
    for (int first = 0; first < IMAGES; first += step) {
        int count = PR_MIN(step, IMAGES - first);
        OK(pr_plan_forward(ctx, plan, workspace, j->x + first * pixels, count, j->logits + first * classes));
        assert_false(pr_workspace_doubtful(workspace));
        for (int again = 0; again < 2; again++)
            OK(pr_plan_backward(ctx, plan, workspace, j->dlogits + first * classes, count, j->dx + first * pixels));
    }
    pr_workspace_free(workspace);
    pr_plan_free(plan);
}

static void run_oracle(const zoo *z, struct job *j)
{
    pr_graph *graph;
    pr_weights *none;
    pr_value seed, dx;
    OK(pr_graph_to_inference(ctx, z->graph, z->weights, false, &graph, &none));
    OK(pr_graph_differentiate(ctx, graph, graph->logits, &graph->input, 1, &seed, &dx));
    pr_ref_feed feeds[] = {{graph->input, j->x}, {seed, j->dlogits}};
    OK(pr_ref_run(ctx, graph, z->weights, IMAGES, feeds, 2, (pr_value[]){graph->logits, dx}, 2,
                  (float *[]){j->logits, j->dx}, 0, 0));
    pr_graph_free(graph);
}

/* Largest difference, relative to the largest value. */
static double distance(const float *a, const float *b, int64_t count)
{
    double most = 0, scale = 1e-30;
    for (int64_t i = 0; i < count; i++) {
        most = fmax(most, fabs((double)a[i] - b[i]));
        scale = fmax(scale, fabs((double)b[i]));
    }
    return isfinite(most) ? most / scale : INFINITY;
}

static void compare(const char *name, const char *how, const zoo *z)
{
    double forward = distance(job.logits, other.logits, IMAGES * pr_dims_row(z->graph->values[z->graph->logits].dims));
    double backward = distance(job.dx, other.dx, IMAGES * pr_dims_row(z->graph->values[z->graph->input].dims));
    if (!(forward < 1e-4) || !(backward < 1e-4))
        fail_msg("%s, %s: logits differ by %g, gradients by %g", name, how, forward, backward);
}

static void test_oracle(void **state)
{
    (void)state;
    const pr_plan_options cases[] = {
        {0}, {.moving = true}, {.backend = PR_BACKEND_REFERENCE}, {.micro_batch = 5}, {.micro_batch = 1}};
    static const char *const names[] = {"folded", "moving", "plain C", "micro-batch 5", "micro-batch 1"};
    fill_job(&job);
    fill_job(&other);
    for (size_t c = 0; c < PR_COUNT(zoo_cases); c++) {
        zoo z = zoo_open(ctx, &zoo_cases[c]);
        run_oracle(&z, &other);
        for (size_t o = 0; o < PR_COUNT(cases); o++) {
            memset(job.dx, 0, sizeof job.dx);
            run_plan(&z, &cases[o], 0, &job);
            compare(zoo_cases[c].name, names[o], &z);
        }
        zoo_close(&z);
    }
}

/* An image's bits depend neither on its place nor on its neighbours nor on how many images share its call. */
static void test_bits(void **state)
{
    (void)state;
    static const int sizes[] = {1, 7, 31};
    fill_job(&job);
    fill_job(&other);
    for (size_t c = 0; c < PR_COUNT(zoo_cases); c++) {
        zoo z = zoo_open(ctx, &zoo_cases[c]);
        int64_t pixels = pr_dims_row(z.graph->values[z.graph->input].dims),
                classes = pr_dims_row(z.graph->values[z.graph->logits].dims);
        run_plan(&z, NULL, 0, &other);
        for (size_t s = 0; s < PR_COUNT(sizes); s++) {
            run_plan(&z, NULL, sizes[s], &job);
            assert_memory_equal(job.logits, other.logits, sizeof(float) * (size_t)(IMAGES * classes));
            assert_memory_equal(job.dx, other.dx, sizeof(float) * (size_t)(IMAGES * pixels));
        }
        zoo_close(&z);
    }
}

/* Plans of 8, 16 and 32 images give the same bits on the tutorial's network: a small job may be cut finer. */
static void test_micro_batches(void **state)
{
    (void)state;
    zoo z = zoo_open(ctx, &zoo_cases[0]);
    fill_job(&job);
    fill_job(&other);
    run_plan(&z, &(pr_plan_options){.micro_batch = 32}, 0, &other);
    for (int size = 8; size <= 16; size *= 2) {
        run_plan(&z, &(pr_plan_options){.micro_batch = size}, 0, &job);
        assert_memory_equal(job.logits, other.logits, sizeof(float) * IMAGES * 10);
        assert_memory_equal(job.dx, other.dx, sizeof(float) * IMAGES * 784);
    }
    zoo_close(&z);
}

static void test_moving_weights(void **state)
{
    (void)state;
    static const pr_plan_options both[] = {{0}, {.moving = true}};
    for (size_t o = 0; o < PR_COUNT(both); o++) {
        zoo z = zoo_open(ctx, &zoo_cases[1]);
        pr_plan *plan;
        pr_workspace *workspace;
        fill_job(&job);
        fill_job(&other);
        OK(pr_plan_create(ctx, z.graph, z.weights, PR_INFERENCE, &both[o], &plan));
        OK(pr_workspace_create(ctx, plan, &workspace));
        for (int step = 0; step < 3; step++) {
            for (size_t w = 0; w < z.weights->count; w++)
                z.weights->items[w].data[0] *= 1.25f;
            pr_weights_changed(z.weights);
            if (step)
                OK(pr_plan_refresh(ctx, plan)); /* the first time the plan notices by itself */
            OK(pr_plan_forward(ctx, plan, workspace, job.x, 8, job.logits));
            run_oracle(&z, &other);
            assert_true(distance(job.logits, other.logits, 80) < 1e-4);
        }
        pr_workspace_free(workspace);
        pr_plan_free(plan);
        zoo_close(&z);
    }
}

/* Every allocation of a plan and its workspace fails in turn; what was made is given back (the sanitizers look). */
static void test_memory(void **state)
{
    (void)state;
    zoo z = zoo_open(ctx, &zoo_cases[1]);
    zoo_fail_each_allocation(ctx, &z, NULL);
    zoo_close(&z);
}

static void test_text(void **state)
{
    (void)state;
    zoo z = zoo_open(ctx, &zoo_cases[0]);
    for (int moving = 0; moving < 2; moving++)
        for (int purpose = PR_INFERENCE; purpose <= PR_INPUT_GRADIENT; purpose++) {
            pr_plan *plan;
            char *text;
            OK(pr_plan_create(ctx, z.graph, z.weights, (pr_purpose)purpose, &(pr_plan_options){.moving = moving},
                              &plan));
            OK(pr_plan_text(ctx, plan, &text));
            assert_int_equal(pr_plan_micro_batch(plan), 32);
            assert_int_equal(pr_plan_reference_steps(plan), 0);
            assert_null(strstr(text, "REFERENCE"));
            assert_non_null(strstr(text, "Conv + Relu"));
            assert_non_null(strstr(text, "GFLOP"));
            pr_free(text);
            pr_plan_free(plan);
        }
    assert_non_null(strstr(pr_engine_version(), "oneDNN "));
    zoo_close(&z);
}

/* A quantised network rounds where onnxruntime does: halves of the scale, and numbers next to them, are the same as written. */
static void test_grid(void **state)
{
    (void)state;
    enum { NUMBERS = 300 };
    const float scale = 0.017407153f;
    pr_graph *graph;
    pr_weights *weights;
    pr_plan *plan;
    pr_workspace *workspace;
    pr_value in[2], quotient, whole;
    int32_t index;
    float x[NUMBERS], y[NUMBERS];
    const pr_attrs round = {.map = {PR_MAP_QUANTIZE, {-128, 127}}};
    OK(pr_graph_create(ctx, &graph));
    OK(pr_weights_create(ctx, &weights));
    OK(pr_weights_add(ctx, weights, "scale", PR_WEIGHT_CONSTANT, 1, (int64_t[]){1}, &index));
    weights->items[index].data[0] = scale;
    OK(pr_graph_input(ctx, graph, "x", (pr_dims){2, {PR_BATCH, NUMBERS}}, &in[0]));
    graph->input = in[0];
    OK(pr_graph_weight(ctx, graph, weights, index, &in[1]));
    OK(pr_graph_node(ctx, graph, PR_OP_DIV, "quotient", NULL, in, 2, &quotient));
    OK(pr_graph_node(ctx, graph, PR_OP_MAP, "whole", &round, &quotient, 1, &whole));
    in[0] = whole;
    OK(pr_graph_node(ctx, graph, PR_OP_MUL, "y", NULL, in, 2, &graph->logits));
    OK(pr_plan_create(ctx, graph, weights, PR_INFERENCE, NULL, &plan));
    OK(pr_workspace_create(ctx, plan, &workspace));
    for (int i = 0; i < NUMBERS; i++) {
        const float tie = ((float)(i / 3 - 50) + 0.5f) * scale;
        x[i] = i % 3 == 0 ? tie : nextafterf(tie, i % 3 == 1 ? 9.0f : -9.0f);
    }
    OK(pr_plan_forward(ctx, plan, workspace, x, 1, y));
    for (int i = 0; i < NUMBERS; i++)
        assert_true(y[i] == rintf(x[i] / scale) * scale);
    pr_workspace_free(workspace);
    pr_plan_free(plan);
    pr_graph_free(graph);
    pr_weights_free(weights);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_oracle),         cmocka_unit_test(test_bits),   cmocka_unit_test(test_micro_batches),
        cmocka_unit_test(test_moving_weights), cmocka_unit_test(test_memory), cmocka_unit_test(test_text),
        cmocka_unit_test(test_grid),
    };
    return cmocka_run_group_tests(tests, set_up_context, tear_down_context);
}
