/* Every operator of the table through the compiler, in a plan and cut into shards, against the oracle. */
#include <math.h>
#include <string.h>

#include "../../ops/ops_table.h"
#include "engine/lower.h"
#include "../support/context.h"

enum { SIZE = 4096, SEED = 9, STEP = 4 };

/* One operator's graph and data. */
typedef struct setup {
    const op_case *c;
    pr_graph *graph;
    pr_weights *weights;
    int inputs;
    pr_value in[PR_NODE_IN], out[PR_NODE_OUT];
    float data[PR_NODE_IN][SIZE], expected[PR_NODE_OUT][SIZE];
} setup;

static int outputs_of(const setup *s)
{
    return s->graph->nodes[0].outputs;
}

static int64_t count_of(const setup *s, pr_value value)
{
    return pr_dims_count(s->graph->values[value].dims, OP_CASE_BATCH);
}

static void setup_open(const op_case *c, setup *s)
{
    pr_ref_feed feeds[PR_NODE_IN];
    float *results[PR_NODE_OUT];
    size_t fed = 0;
    *s = (setup){.c = c};
    OK(pr_graph_create(ctx, &s->graph));
    OK(pr_weights_create(ctx, &s->weights));
    OK(op_case_build(ctx, c, s->graph, s->weights, &s->inputs, s->in, s->out));
    s->graph->input = -1;
    s->graph->logits = s->out[0];
    for (int i = 0; i < s->inputs; i++) {
        const pr_value_info *value = &s->graph->values[s->in[i]];
        op_case_fill(c, i, SEED, s->data[i], count_of(s, s->in[i]));
        if (value->kind == PR_VALUE_WEIGHT)
            memcpy(s->weights->items[value->weight].data, s->data[i], sizeof(float) * (size_t)count_of(s, s->in[i]));
        else
            feeds[fed++] = (pr_ref_feed){s->in[i], s->data[i]};
    }
    for (int o = 0; o < outputs_of(s); o++)
        results[o] = s->expected[o];
    OK(pr_ref_run(ctx, s->graph, s->weights, OP_CASE_BATCH, feeds, fed, s->out, (size_t)outputs_of(s), results, SEED,
                  STEP));
}

static void setup_close(setup *s)
{
    pr_graph_free(s->graph);
    pr_weights_free(s->weights);
}

/* Lowers the graph; in and out are the buffers of inputs (-1: weights) and outputs. With `nhwc` the inputs that are
 * images are there in that layout too, as behind a convolution. */
static void lower(const setup *s, pr_store *store, pr_program *program, bool nhwc, int *in, int *out)
{
    int unused;
    pr_lower l;
    OK(pr_lower_init(ctx, &l, s->graph, s->weights, store, program));
    for (int o = 0; o < outputs_of(s); o++)
        pr_lower_keep(&l, s->out[o]);
    for (int i = 0; i < s->inputs; i++) {
        in[i] = -1;
        if (s->graph->values[s->in[i]].kind == PR_VALUE_WEIGHT)
            continue;
        OK(pr_lower_write(&l, s->in[i], PR_ROWS, &in[i]));
        program->buffers[in[i]].spread = PR_BOUND;
        if (nhwc && s->graph->values[s->in[i]].dims.rank == 4)
            OK(pr_lower_read(&l, s->in[i], PR_NHWC, &unused));
    }
    OK(pr_lower_nodes(&l, 0, s->graph->node_count));
    for (int o = 0; o < outputs_of(s); o++) {
        OK(pr_lower_read(&l, s->out[o], PR_ROWS, &out[o]));
        program->buffers[out[o]].pinned = true;
    }
    OK(pr_program_finish(ctx, program));
    pr_lower_release(&l);
}

static void run(const setup *s, const pr_program *program, pr_instance *instance, const int *in)
{
    const pr_call call = {.seed = SEED, .step = STEP};
    pr_instance_call(instance, &call);
    for (int i = 0; i < s->inputs; i++)
        if (in[i] >= 0)
            OK(pr_instance_bind(ctx, instance, in[i], s->data[i]));
    for (int phase = 0; phase < program->phases; phase++)
        for (int f = 0; f < instance->frame_count; f++)
            OK(pr_frame_run(ctx, &instance->frames[f], program->phase_start[phase], program->phase_start[phase + 1]));
}

static void compare(const setup *s, int output, const float *found, bool training)
{
    double scale = 1;
    const float *expected = s->expected[output];
    for (int64_t e = 0; e < count_of(s, s->out[output]); e++)
        scale = fmax(scale, fabs((double)expected[e]));
    for (int64_t e = 0; e < count_of(s, s->out[output]); e++)
        if (!(fabs((double)found[e] - expected[e]) < 1e-5 * scale))
            fail_msg("%s%s: output %d [%d] is %g, not %g", s->c->name, training ? " in shards" : "", output, (int)e,
                     (double)found[e], (double)expected[e]);
}

static void check_case(const op_case *c, bool training, bool nhwc)
{
    static setup s;
    int in[PR_NODE_IN], out[PR_NODE_OUT], threads = pr_omp_single();
    pr_dnnl *dnnl;
    pr_instance *instance;
    setup_open(c, &s);
    OK(pr_dnnl_create(ctx, &dnnl));
    pr_store store = {.dnnl = dnnl, .weights = s.weights, .training = training};
    pr_program program = {.graph = s.graph,
                          .training = training,
                          .rows = OP_CASE_BATCH,
                          .shard_rows = training ? 2 : OP_CASE_BATCH,
                          .shards = training ? 2 : 1,
                          .variants = training ? 2 : 1};
    lower(&s, &store, &program, nhwc, in, out);
    OK(pr_store_fill_all(ctx, &store, s.weights));
    OK(pr_instance_create(ctx, dnnl, &program, &store, &instance));
    run(&s, &program, instance, in);
    for (int o = 0; o < outputs_of(&s); o++)
        compare(&s, o, instance->base[out[o]], training);
    pr_instance_free(instance);
    pr_program_clear(&program);
    pr_store_clear(&store);
    pr_dnnl_free(dnnl);
    setup_close(&s);
    pr_omp_restore(threads);
}

static void test_plan(void **state)
{
    (void)state;
    for (size_t c = 0; c < PR_COUNT(op_cases); c++)
        check_case(&op_cases[c], false, false);
}

static void test_shards(void **state)
{
    (void)state;
    for (size_t c = 0; c < PR_COUNT(op_cases); c++)
        check_case(&op_cases[c], true, false);
}

static void test_nhwc(void **state)
{
    (void)state;
    for (size_t c = 0; c < PR_COUNT(op_cases); c++)
        check_case(&op_cases[c], false, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_plan), cmocka_unit_test(test_shards),
                                       cmocka_unit_test(test_nhwc)};
    return cmocka_run_group_tests(tests, set_up_context, tear_down_context);
}
