/* The oracle and differentiation hold each other: every operator's gradient, as differentiate builds it and the oracle
 * computes it, against central finite differences of the oracle's forward pass. */
#include <stdio.h>
#include <stdlib.h>

#include "../../ops/ops_table.h"
#include "engine/engine.h"
#include "../support/context.h"

/* A graph, the values fed to it, and the derivative of <seed, of>. */
struct problem {
    const char *name;
    pr_graph *graph;
    pr_weights *weights;
    int inputs;
    pr_value in[PR_NODE_IN], of, seed, grads[PR_NODE_IN];
    float *data[PR_NODE_IN], *seed_data;
};

enum { BATCH = OP_CASE_BATCH };

static int64_t count_of(const struct problem *p, pr_value value)
{
    return pr_dims_count(p->graph->values[value].dims, BATCH);
}

static float *floats(int64_t count)
{
    float *data = NULL;
    OK(pr_alloc(ctx, count, &data));
    return data;
}

static void fill_normal(float *data, int64_t count, uint64_t seed)
{
    pr_rng rng = pr_rng_init(seed, PR_STREAM_TEST, 99);
    for (int64_t e = 0; e < count; e++)
        data[e] = pr_rng_normal(&rng);
}

static void evaluate(const struct problem *p, pr_value wanted, float *result)
{
    pr_ref_feed feeds[PR_NODE_IN + 1];
    size_t count = 0;
    for (int i = 0; i < p->inputs; i++)
        feeds[count++] = (pr_ref_feed){p->in[i], p->data[i]};
    if (p->seed >= 0)
        feeds[count++] = (pr_ref_feed){p->seed, p->seed_data};
    OK(pr_ref_run(ctx, p->graph, p->weights, BATCH, feeds, count, &wanted, 1, &result, 5, 11));
}

/* <seed, of> */
static double objective(const struct problem *p, float *scratch)
{
    double sum = 0;
    evaluate(p, p->of, scratch);
    for (int64_t e = 0; e < count_of(p, p->of); e++)
        sum += (double)scratch[e] * p->seed_data[e];
    return sum;
}

static void check_input(struct problem *p, int i)
{
    int64_t count = count_of(p, p->in[i]);
    float *grad = floats(count), *scratch = floats(count_of(p, p->of));
    double largest = 0;

    if (p->grads[i] >= 0)
        evaluate(p, p->grads[i], grad);
    for (int64_t e = 0; e < count; e++)
        largest = fmax(largest, fabs(grad[e]));
    for (int64_t e = 0; e < count; e++) {
        float here = p->data[i][e], up = here + 0.01f, down = here - 0.01f;
        p->data[i][e] = up;
        double above = objective(p, scratch);
        p->data[i][e] = down;
        double below = objective(p, scratch);
        p->data[i][e] = here;
        double slope = (above - below) / ((double)up - down);
        if (fabs(slope - grad[e]) > 2e-3 * fmax(1, largest))
            fail_msg("%s: input %d, element %lld: gradient %g, finite difference %g", p->name, i, (long long)e,
                     (double)grad[e], slope);
    }
    pr_free(grad);
    pr_free(scratch);
}

static void differentiate_all(struct problem *p, unsigned constants)
{
    pr_value wrt[PR_NODE_IN], grads[PR_NODE_IN];
    size_t count = 0;
    for (int i = 0; i < p->inputs; i++) {
        if (!(constants >> i & 1))
            wrt[count++] = p->in[i];
    }
    OK(pr_graph_differentiate(ctx, p->graph, p->of, wrt, count, &p->seed, grads));
    OK(pr_graph_check(ctx, p->graph, p->weights));
    count = 0;
    for (int i = 0; i < p->inputs; i++)
        p->grads[i] = constants >> i & 1 ? -1 : grads[count++];
    p->seed_data = floats(count_of(p, p->of));
    fill_normal(p->seed_data, count_of(p, p->of), 77);
}

static void release(struct problem *p)
{
    for (int i = 0; i < p->inputs; i++)
        pr_free(p->data[i]);
    pr_free(p->seed_data);
    pr_graph_free(p->graph);
    pr_weights_free(p->weights);
}

static struct problem problem_of(const op_case *c)
{
    struct problem p = {.name = c->name, .seed = -1};
    pr_value out[PR_NODE_OUT];
    OK(pr_graph_create(ctx, &p.graph));
    OK(pr_weights_create(ctx, &p.weights));
    OK(op_case_build(ctx, c, p.graph, p.weights, &p.inputs, p.in, out));
    OK(pr_graph_check(ctx, p.graph, p.weights));
    p.of = out[0];
    for (int i = 0; i < p.inputs; i++) {
        p.data[i] = floats(count_of(&p, p.in[i]));
        op_case_fill(c, i, 42, p.data[i], count_of(&p, p.in[i]));
    }
    return p;
}

static void check_case(const op_case *c)
{
    struct problem p = problem_of(c);
    if (c->no_gradient) {
        assert_int_equal(pr_graph_differentiate(ctx, p.graph, p.of, p.in, 1, &p.seed, p.grads), PARRY_UNSUPPORTED);
        assert_non_null(strstr(parry_ctx_error(ctx), c->name));
    } else {
        differentiate_all(&p, c->constants);
        for (int i = 0; i < p.inputs; i++) {
            if (!(c->constants >> i & 1) && !c->kinks)
                check_input(&p, i);
        }
    }
    release(&p);
}

static void every_operator_has_a_row(void **state)
{
    (void)state;
    bool seen[PR_OP_COUNT] = {false};
    for (size_t c = 0; c < PR_COUNT(op_cases); c++)
        seen[op_cases[c].op] = true;
    for (int op = 0; op < PR_OP_COUNT; op++) {
        if (!seen[op])
            fail_msg("no row for %s in tests/ops/ops_table.h", pr_op_name((pr_op)op));
    }
}

static const op_case *case_of(const char *name)
{
    for (size_t c = 0; c < PR_COUNT(op_cases); c++) {
        if (strcmp(op_cases[c].name, name) == 0)
            return &op_cases[c];
    }
    fail_msg("no row '%s' in tests/ops/ops_table.h", name);
    return NULL;
}

static void check_golden(FILE *file, const op_case *c)
{
    struct problem p = problem_of(c);
    int64_t count = count_of(&p, p.of);
    float *found = floats(count), expected;
    long long listed;
    evaluate(&p, p.of, found);
    assert_int_equal(fscanf(file, "%lld", &listed), 1);
    assert_int_equal(listed, count);
    for (int64_t e = 0; e < count; e++) {
        assert_int_equal(fscanf(file, "%f ", &expected), 1);
        if (fabsf(found[e] - expected) > 1e-5f * fmaxf(1, fabsf(expected)))
            fail_msg("%s: element %lld is %g, expected %g", c->name, (long long)e, (double)found[e], (double)expected);
    }
    pr_free(found);
    release(&p);
}

/* The forward operators against another implementation: see the head of the file. */
static void forward_equals_golden(void **state)
{
    (void)state;
    char path[4096], line[256];
    const char *folder = getenv("PARRY_TEST_DATA");
    snprintf(path, sizeof(path), "%s/ops_forward.txt", folder ? folder : "tests/golden");
    FILE *file = fopen(path, "r");
    int rows = 0;
    if (!file)
        fail_msg("cannot open %s", path);
    while (fgets(line, sizeof(line), file)) {
        line[strcspn(line, "\n")] = 0;
        if (line[0] == '#')
            continue;
        check_golden(file, case_of(line));
        rows++;
    }
    fclose(file);
    assert_true(rows >= 38);
}

static void gradients_equal_finite_differences(void **state)
{
    (void)state;
    for (size_t c = 0; c < PR_COUNT(op_cases); c++)
        check_case(&op_cases[c]);
}

static void random_windows(void **state)
{
    (void)state;
    pr_rng rng = pr_rng_init(1, PR_STREAM_TEST, 0);
    for (int round = 0; round < 60; round++) {
        int kh = 1 + (int)pr_rng_below(&rng, 3), kw = 1 + (int)pr_rng_below(&rng, 3);
        int group = 1 + (int)pr_rng_below(&rng, 2);
        int sh = 1 + (int)pr_rng_below(&rng, 3), sw = 1 + (int)pr_rng_below(&rng, 3);
        int dh = 1 + (int)pr_rng_below(&rng, 2), dw = 1 + (int)pr_rng_below(&rng, 2);
        int pad[4], h = 5 + (int)pr_rng_below(&rng, 3), w = 5 + (int)pr_rng_below(&rng, 3);
        for (int i = 0; i < 4; i++)
            pad[i] = (int)pr_rng_below(&rng, (uint32_t)(i % 2 ? kw : kh));
        bool padded = pr_rng_below(&rng, 2), up = pr_rng_below(&rng, 2);
        op_case conv = {"random conv", PR_OP_CONV,
                        {IMAGE(2, h, w), KERNEL(2 * group, 2 / group, kh, kw), VECTOR(2 * group)}, "nnn",
                        .attrs = CONV_ATTRS(group, sh, sw, dh, dw, pad[0], pad[1], pad[2], pad[3], kh, kw, 0, 0)};
        op_case max = {"random max pool", PR_OP_MAX_POOL, {IMAGE(1, h, w)}, "d",
                       .attrs = POOL_ATTRS(kh, kw, sh, sw, dh, dw, pad[0], pad[1], pad[2], pad[3], false, up, 0, 0)};
        op_case mean = {"random average pool", PR_OP_AVERAGE_POOL, {IMAGE(1, h, w)}, "n",
                        .attrs = POOL_ATTRS(kh, kw, sh, sw, dh, dw, pad[0], pad[1], pad[2], pad[3], padded, up, 0, 0)};
        check_case(&conv);
        check_case(&max);
        check_case(&mean);
    }
}

static void ties_go_to_the_first(void **state)
{
    (void)state;
    op_case c = {"ties", PR_OP_MAX_POOL_GRAD, {IMAGE(1, 2, 4), IMAGE(1, 1, 2)}, "nn",
                 .attrs = POOL_ATTRS(2, 2, 2, 2, 1, 1, 0, 0, 0, 0, false, false, 0, 0)};
    struct problem p = problem_of(&c);
    static const float x[8] = {1, 1, 0, 2, 1, 1, 2, 2}, expected[8] = {1, 0, 0, 1};
    float dx[8 * BATCH];
    for (int n = 0; n < BATCH; n++)
        memcpy(p.data[0] + 8 * n, x, sizeof(x));
    for (int e = 0; e < 2 * BATCH; e++)
        p.data[1][e] = 1;
    evaluate(&p, p.of, dx);
    for (int e = 0; e < 8 * BATCH; e++)
        assert_true(dx[e] == expected[e % 8]);
    release(&p);
}

/* Gradient of a gradient, <v, d<seed, logits>/dx>, through a small network of (piecewise) linear operators. */
static void second_derivative(void **state)
{
    (void)state;
    struct problem p = {.name = "second derivative", .inputs = 4, .seed = -1};
    int32_t weight;
    pr_value v, grad, seed;
    pr_attrs conv = CONV_ATTRS(1, 1, 1, 1, 1, 1, 1, 1, 1, 3, 3, 0, 0);
    pr_attrs pool = POOL_ATTRS(2, 2, 2, 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0);
    OK(pr_graph_create(ctx, &p.graph));
    OK(pr_weights_create(ctx, &p.weights));
    OK(pr_graph_input(ctx, p.graph, "x", (pr_dims)IMAGE(2, 4, 4), &p.in[0]));
    OK(pr_weights_add(ctx, p.weights, "conv", PR_WEIGHT_KERNEL, 4, (int64_t[]){3, 2, 3, 3}, &weight));
    OK(pr_graph_weight(ctx, p.graph, p.weights, weight, &p.in[1]));
    OK(pr_weights_add(ctx, p.weights, "gemm", PR_WEIGHT_KERNEL, 2, (int64_t[]){4, 12}, &weight));
    OK(pr_graph_weight(ctx, p.graph, p.weights, weight, &p.in[2]));
    OK(pr_graph_node(ctx, p.graph, PR_OP_CONV, "conv", &conv, (pr_value[]){p.in[0], p.in[1]}, 2, &v));
    OK(pr_graph_node(ctx, p.graph, PR_OP_LEAKY_RELU, "act", &(pr_attrs){.alpha = {0.3f}}, &v, 1, &v));
    OK(pr_graph_node(ctx, p.graph, PR_OP_AVERAGE_POOL, "pool", &pool, &v, 1, &v));
    OK(pr_graph_node(ctx, p.graph, PR_OP_MUL, "square", NULL, (pr_value[]){v, v}, 2, &v));
    OK(pr_graph_node(ctx, p.graph, PR_OP_GEMM, "gemm", NULL, (pr_value[]){v, p.in[2]}, 2, &v));
    OK(pr_graph_differentiate(ctx, p.graph, v, &p.in[0], 1, &seed, &grad));
    p.in[3] = seed;
    p.of = grad;
    for (int i = 0; i < p.inputs; i++) {
        p.data[i] = floats(count_of(&p, p.in[i]));
        fill_normal(p.data[i], count_of(&p, p.in[i]), (uint64_t)(200 + i));
    }
    differentiate_all(&p, 0);
    /* Some of the steps of x and of the kernel cross the activation's kink; the GEMM's weights and the first seed are
     * clear of it. */
    check_input(&p, 2);
    check_input(&p, 3);
    assert_true(p.grads[0] >= 0 && p.grads[1] >= 0);
    release(&p);
}

/* Training-form batch norm against the formulas written out for one channel of four numbers. */
static void batch_norm_by_hand(void **state)
{
    (void)state;
    op_case c = {"bn", PR_OP_BATCH_NORM_TRAIN, {ROWS(1), VECTOR(1), VECTOR(1)}, "nnn", .attrs = {.bn = {0.25f, 0.9f}}};
    struct problem p = problem_of(&c);
    static const float x[BATCH] = {1, 2, 6};
    float y[BATCH], mean, invstd, var;
    memcpy(p.data[0], x, sizeof(x));
    p.data[1][0] = 2;
    p.data[2][0] = -1;
    evaluate(&p, p.of, y);
    evaluate(&p, p.of + 1, &mean);
    evaluate(&p, p.of + 2, &invstd);
    evaluate(&p, p.of + 3, &var);
    double v = (4.0 + 1 + 9) / 3;                                    /* mean 3 */
    assert_true(mean == 3);
    assert_float_equal(var, v, 1e-6);
    assert_float_equal(invstd, 1 / sqrt(v + 0.25), 1e-6);
    for (int n = 0; n < BATCH; n++)
        assert_float_equal(y[n], 2 * (x[n] - 3) / sqrt(v + 0.25) - 1, 1e-5);
    release(&p);
}

/* The same numbers higher or lower by as much as exp would not bear; its gradient is softmax, which takes no notice. */
static void log_sum_exp_of_large_numbers(void **state)
{
    (void)state;
    enum { ROW = 4 };
    static const float offset[BATCH] = {0, 30000, -30000}, x[ROW] = {0.5f, -1.25f, 2, -INFINITY};
    op_case c = REDUCE_CASE("large", LOG_SUM_EXP, ROWS(ROW), "n", 0x2);
    struct problem p = problem_of(&c);
    double sum = 0;
    float y[BATCH], dx[BATCH * ROW];
    for (int e = 0; e < BATCH * ROW; e++)
        p.data[0][e] = offset[e / ROW] + x[e % ROW];
    for (int e = 0; e < ROW; e++)
        sum += exp(x[e]);
    differentiate_all(&p, 0);
    for (int n = 0; n < BATCH; n++)
        p.seed_data[n] = 1;
    evaluate(&p, p.of, y);
    evaluate(&p, p.grads[0], dx);
    for (int n = 0; n < BATCH; n++)
        assert_true(y[n] == (float)(offset[n] + log(sum)));
    for (int e = 0; e < BATCH * ROW; e++)
        assert_float_equal(dx[e], exp(x[e % ROW]) / sum, 1e-7);
    release(&p);
}

static void dropout_masks(void **state)
{
    (void)state;
    enum { ROW = 1003 };
    float mask[ROW], again[ROW], other[ROW];
    pr_dropout_mask(7, 3, 1, 0.25f, 5, ROW, mask);
    pr_dropout_mask(7, 3, 1, 0.25f, 5, ROW, again);
    pr_dropout_mask(7, 3, 2, 0.25f, 5, ROW, other);
    int kept = 0;
    for (int e = 0; e < ROW; e++) {
        assert_true(mask[e] == 0 || mask[e] == 1 / (1 - 0.25f));
        kept += mask[e] != 0;
        pr_u32x4 block = pr_rng_block((pr_rng_key){7, PR_STREAM_DROPOUT, 3 * 65536 + 1}, 5 * 251 + (uint32_t)e / 4);
        assert_int_equal(mask[e] != 0, pr_u32_to_unit(block.v[e % 4]) >= 0.25f);
    }
    assert_in_range(kept, 690, 815);
    assert_memory_equal(mask, again, sizeof(mask));
    assert_memory_not_equal(mask, other, sizeof(mask));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_operator_has_a_row),
        cmocka_unit_test(forward_equals_golden),
        cmocka_unit_test(gradients_equal_finite_differences),
        cmocka_unit_test(random_windows),
        cmocka_unit_test(ties_go_to_the_first),
        cmocka_unit_test(second_derivative),
        cmocka_unit_test(batch_norm_by_hand),
        cmocka_unit_test(log_sum_exp_of_large_numbers),
        cmocka_unit_test(dropout_masks),
    };
    return cmocka_run_group_tests(tests, set_up_context, tear_down_context);
}
