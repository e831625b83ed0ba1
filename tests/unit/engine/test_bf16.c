/* Plans of precision bf16 against those of f32. A number in bf16 is off by at most U = 2^-9 of itself; along a path
 * through a network every node stores one and may multiply by one, so in a network whose nodes are linear, or Lipschitz
 * as ReLU and maxima are, a result is off by at most ((1 + U)^(2 nodes) - 1) M, where M is the result of the network of
 * absolute values: the sum of the sizes of all paths. (Sums are in f32: their rounding is below that by far.) Gradients
 * are held to it where the network is linear: a ReLU near its kink may pass what the other does not. */
#include <math.h>
#include <string.h>

#include "zoo.h"
#include "../support/context.h"

enum { IMAGES = 19, CLASSES = 10, PIXELS_MAX = 1024 };
static const double U = 0x1p-9;

static struct job {
    float x[IMAGES * PIXELS_MAX], dlogits[IMAGES * CLASSES], logits[IMAGES * CLASSES], dx[IMAGES * PIXELS_MAX];
} f32, bf16, sizes;

/* Skips where this processor has no bf16. */
static void need_bf16(void)
{
    if (parry_precision_check(ctx, PARRY_BF16) != PARRY_OK) {
        print_message("%s\n", parry_ctx_error(ctx));
        skip();
    }
}

static void fill_job(struct job *j)
{
    pr_rng rng = pr_rng_init(11, PR_STREAM_TEST, 98);
    zoo_fill(&rng, j->x, IMAGES * PIXELS_MAX, 0, 1);
    zoo_fill(&rng, j->dlogits, IMAGES * CLASSES, -1, 1);
}

static int64_t row_of(const zoo *z, pr_value value)
{
    return pr_dims_row(z->graph->values[value].dims);
}

/* Runs all images through a plan, `n` at a time (0: its micro-batch); its text when asked for. */
static void run_plan(const zoo *z, const pr_plan_options *options, int n, struct job *j, char **text)
{
    pr_plan *plan;
    pr_workspace *workspace;
    const int64_t pixels = row_of(z, z->graph->input), classes = row_of(z, z->graph->logits);
    OK(pr_plan_create(ctx, z->graph, z->weights, PR_INPUT_GRADIENT, options, &plan));
    OK(pr_workspace_create(ctx, plan, &workspace));
    const int step = n ? n : pr_plan_micro_batch(plan);
    for (int first = 0; first < IMAGES; first += step) {
        const int count = PR_MIN(step, IMAGES - first);
        OK(pr_plan_forward(ctx, plan, workspace, j->x + first * pixels, count, j->logits + first * classes));
        assert_false(pr_workspace_doubtful(workspace));
        for (int again = 0; again < 2; again++)
            OK(pr_plan_backward(ctx, plan, workspace, j->dlogits + first * classes, count, j->dx + first * pixels));
    }
    assert_int_equal(pr_plan_reference_steps(plan), 0);
    if (text)
        OK(pr_plan_text(ctx, plan, text));
    pr_workspace_free(workspace);
    pr_plan_free(plan);
}

/* ---- networks -------------------------------------------------------------------------------------------------- */

static void linear(zoo *z)
{
    zoo_affine(z);
    zoo_conv(z, 32, 3, 1, 1, 1, zoo_one);
    zoo_norm(z);
    const pr_value before = z->at;
    zoo_conv(z, 32, 3, 1, 1, 2, zoo_one);
    zoo_conv(z, 32, 1, 1, 1, 1, zoo_none);
    zoo_node(z, PR_OP_ADD, NULL, &before, 1);
    zoo_conv(z, 64, 3, 2, 1, 1, zoo_one);
    const pr_value half = z->at;
    zoo_conv(z, 64, 3, 1, 2, 1, (int[]){2, 2, 2, 2});
    zoo_node(z, PR_OP_SUB, NULL, &half, 1);
    zoo_pool(z, PR_OP_AVERAGE_POOL, 2, 1, 1, zoo_none, false, false);
    zoo_norm(z);
    zoo_conv(z, 64, 3, 1, 1, 64, zoo_one);
    zoo_op(z, PR_OP_GLOBAL_AVERAGE_POOL);
    zoo_flatten(z);
    zoo_gemm(z, CLASSES);
}

static void wide_rows(zoo *z)
{
    zoo_conv(z, 32, 3, 1, 1, 1, zoo_one);
    zoo_conv(z, 20, 3, 2, 1, 1, zoo_one);
    zoo_flatten(z);
    zoo_gemm(z, 264);
    zoo_norm(z);
    zoo_gemm(z, CLASSES);
}

/* ReLUs after convolutions and alone, maxima over windows that overlap, what is neither. */
static void bent(zoo *z)
{
    const pr_attrs alpha = {.alpha = {0.1f}};
    zoo_conv(z, 32, 3, 1, 1, 1, zoo_one);
    zoo_op(z, PR_OP_RELU);
    zoo_pool(z, PR_OP_MAX_POOL, 3, 2, 1, zoo_one, false, false);
    zoo_conv(z, 40, 3, 1, 1, 1, zoo_one);
    zoo_norm(z);
    zoo_node(z, PR_OP_LEAKY_RELU, &alpha, NULL, 0);
    const pr_value before = z->at;
    zoo_conv(z, 40, 3, 1, 1, 1, zoo_one);
    zoo_node(z, PR_OP_ADD, NULL, &before, 1);
    zoo_op(z, PR_OP_RELU);
    zoo_pool(z, PR_OP_MAX_POOL, 2, 2, 1, zoo_none, false, false);
    zoo_flatten(z);
    zoo_gemm(z, 70);
    zoo_op(z, PR_OP_RELU);
    zoo_gemm(z, CLASSES);
}

/* Functions without kinks: gradients may be compared. */
static void smooth(zoo *z)
{
    zoo_conv(z, 32, 3, 1, 1, 1, zoo_one);
    zoo_conv(z, 32, 3, 1, 1, 1, zoo_one);
    zoo_op(z, PR_OP_SIGMOID);
    zoo_conv(z, 48, 3, 2, 1, 1, zoo_one);
    zoo_op(z, PR_OP_TANH);
    zoo_op(z, PR_OP_GLOBAL_AVERAGE_POOL);
    zoo_flatten(z);
    zoo_gemm(z, CLASSES);
}

static const struct zoo_case cases[] = {{"linear", linear, {3, 16, 14}},     {"wide rows", wide_rows, {1, 12, 12}},
                                        {"bent", bent, {3, 17, 15}},         {"simplecnn", simplecnn, {1, 28, 28}},
                                        {"residual", residual, {3, 16, 16}}, {"smooth", smooth, {3, 15, 13}},
                                        {"pools", pools, {2, 13, 12}}};
enum { LINEAR = 2, SMOOTH = 5 };

/* Makes every number that the network multiplies by or adds positive: of a batch norm the mean, which is subtracted,
 * negative. Means stand before variances. */
static void make_absolute(const zoo *z)
{
    pr_weight *items = z->weights->items;
    for (size_t w = 0; w < z->weights->count; w++) {
        const bool mean = items[w].role == PR_WEIGHT_STATISTIC && w + 1 < z->weights->count &&
                          items[w + 1].role == PR_WEIGHT_STATISTIC;
        for (int64_t i = 0; i < items[w].count; i++)
            items[w].data[i] = mean ? -fabsf(items[w].data[i]) : fabsf(items[w].data[i]);
    }
    for (size_t n = 0; n < z->graph->node_count; n++)
        if (z->graph->nodes[n].op == PR_OP_SUB)
            z->graph->nodes[n].op = PR_OP_ADD;
    pr_weights_changed(z->weights);
}

/* That `a` differs from `b`, and by no more than a share of its length: roundings do not add up with one sign. */
static void check_length(const char *name, const char *what, const float *a, const float *b, int64_t count,
                         double relative)
{
    double off = 0, all = 0;
    for (int64_t i = 0; i < count; i++) {
        off += ((double)a[i] - b[i]) * ((double)a[i] - b[i]);
        all += (double)b[i] * b[i];
    }
    assert_true(off > 0); /* or nothing ran in bf16 */
    if (!(sqrt(off) <= relative * sqrt(all)))
        fail_msg("%s, %ss: off by %g of their length, allowed %g", name, what, sqrt(off / all), relative);
}

static void check_bound(const char *name, const char *what, const float *a, const float *b, const float *sizes_of,
                        int64_t count, double relative)
{
    for (int64_t i = 0; i < count; i++) {
        if (!(fabs((double)a[i] - b[i]) <= relative * sizes_of[i]))
            fail_msg("%s, %s %lld: %g in bf16, %g in f32, paths add up to %g, allowed %g", name, what, (long long)i,
                     (double)a[i], (double)b[i], (double)sizes_of[i], relative);
    }
    check_length(name, what, a, b, count, relative);
}

/* ---- tests ----------------------------------------------------------------------------------------------------- */

static void test_bounds(void **state)
{
    (void)state;
    need_bf16();
    for (size_t c = 0; c < SMOOTH; c++) { /* the others bend in other ways */
        zoo z = zoo_open(ctx, &cases[c]);
        const double relative = pow(1 + U, 2 * (double)z.graph->node_count) - 1;
        fill_job(&f32);
        fill_job(&bf16);
        fill_job(&sizes);
        run_plan(&z, NULL, 0, &f32, NULL);
        run_plan(&z, &(pr_plan_options){.precision = PARRY_BF16}, 0, &bf16, NULL);
        make_absolute(&z);
        for (int i = 0; i < IMAGES * CLASSES; i++)
            sizes.dlogits[i] = fabsf(sizes.dlogits[i]);
        run_plan(&z, NULL, 0, &sizes, NULL);
        check_bound(cases[c].name, "logit", bf16.logits, f32.logits, sizes.logits, IMAGES * CLASSES, relative);
        if (c < LINEAR)
            check_bound(cases[c].name, "gradient", bf16.dx, f32.dx, sizes.dx, IMAGES * row_of(&z, z.graph->input),
                        relative);
        zoo_close(&z);
    }
}

static void test_functions(void **state)
{
    (void)state;
    need_bf16();
    zoo z = zoo_open(ctx, &cases[SMOOTH]);
    const double relative = pow(1 + U, 2 * (double)z.graph->node_count) - 1;
    char *text;
    fill_job(&f32);
    fill_job(&bf16);
    run_plan(&z, NULL, 0, &f32, NULL);
    run_plan(&z, &(pr_plan_options){.precision = PARRY_BF16}, 0, &bf16, &text);
    check_length("smooth", "logit", bf16.logits, f32.logits, IMAGES * CLASSES, relative);
    check_length("smooth", "gradient", bf16.dx, f32.dx, IMAGES * row_of(&z, z.graph->input), relative);
    const char *last = strstr(text, "to f32"); /* what is left of conversions: none around the functions */
    assert_true(last && !strstr(last, "to bf16"));
    pr_free(text);
    zoo_close(&z);
}

/* An image's bits depend neither on its place nor on its neighbours nor on how many images are computed at once. */
static void test_bits(void **state)
{
    (void)state;
    static const int batches[] = {1, 7}, micro[] = {4, 8, 32};
    need_bf16();
    fill_job(&f32);
    fill_job(&bf16);
    for (size_t c = 0; c < PR_COUNT(cases); c++) {
        zoo z = zoo_open(ctx, &cases[c]);
        const size_t logits = sizeof(float) * (size_t)(IMAGES * row_of(&z, z.graph->logits)),
                     dx = sizeof(float) * (size_t)(IMAGES * row_of(&z, z.graph->input));
        run_plan(&z, &(pr_plan_options){.precision = PARRY_BF16}, 0, &f32, NULL);
        for (size_t s = 0; s < PR_COUNT(batches) + PR_COUNT(micro); s++) {
            const bool batch = s < PR_COUNT(batches);
            const pr_plan_options options = {.precision = PARRY_BF16,
                                             .micro_batch = batch ? 0 : micro[s - PR_COUNT(batches)]};
            memset(bf16.dx, 0, sizeof bf16.dx);
            run_plan(&z, &options, batch ? batches[s] : 0, &bf16, NULL);
            assert_memory_equal(bf16.logits, f32.logits, logits);
            assert_memory_equal(bf16.dx, f32.dx, dx);
        }
        zoo_close(&z);
    }
}

/* Weights that have moved reach their copies in bf16, folded or not. */
static void test_moving_weights(void **state)
{
    (void)state;
    need_bf16();
    for (int moving = 0; moving < 2; moving++) {
        zoo z = zoo_open(ctx, &cases[4]);
        const pr_plan_options options = {.precision = PARRY_BF16, .moving = moving};
        pr_plan *plan;
        pr_workspace *workspace;
        fill_job(&bf16);
        fill_job(&f32);
        OK(pr_plan_create(ctx, z.graph, z.weights, PR_INFERENCE, &options, &plan));
        OK(pr_workspace_create(ctx, plan, &workspace));
        for (size_t w = 0; w < z.weights->count; w++)
            z.weights->items[w].data[0] *= 1.5f;
        pr_weights_changed(z.weights);
        OK(pr_plan_forward(ctx, plan, workspace, bf16.x, 4, bf16.logits));
        run_plan(&z, &options, 0, &f32, NULL);
        assert_memory_equal(bf16.logits, f32.logits, sizeof(float) * 4 * CLASSES);
        pr_workspace_free(workspace);
        pr_plan_free(plan);
        zoo_close(&z);
    }
}

/* What reads the image computes in f32, the rest in bf16. */
static void test_text(void **state)
{
    (void)state;
    char *text;
    need_bf16();
    zoo z = zoo_open(ctx, &cases[4]);
    fill_job(&bf16);
    run_plan(&z, &(pr_plan_options){.precision = PARRY_BF16}, 0, &bf16, &text);
    const char *first = strstr(text, "Conv"), *second = strstr(first + 1, "\nConv");
    assert_null(strstr(text, "REFERENCE"));
    assert_non_null(second);
    const char *where = strstr(text, "bf16");
    assert_non_null(where);
    assert_true(where > strchr(first, '\n') && where < strchr(second + 1, '\n'));
    pr_free(text);
    zoo_close(&z);
}

/* Every allocation fails in turn; what was made is given back. */
static void test_memory(void **state)
{
    (void)state;
    need_bf16();
    zoo z = zoo_open(ctx, &cases[4]);
    parry_status status = PARRY_NO_MEMORY;
    for (long n = 1; status != PARRY_OK; n += 3) {
        pr_plan *plan = NULL;
        pr_alloc_fail_at(n);
        status = pr_plan_create(ctx, z.graph, z.weights, PR_INPUT_GRADIENT, &(pr_plan_options){.precision = PARRY_BF16},
                                &plan);
        pr_alloc_fail_at(0);
        assert_true(status == PARRY_OK || status == PARRY_NO_MEMORY);
        pr_plan_free(plan);
    }
    zoo_close(&z);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds),         cmocka_unit_test(test_functions), cmocka_unit_test(test_bits),
        cmocka_unit_test(test_moving_weights), cmocka_unit_test(test_text),      cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, set_up_context, tear_down_context);
}
