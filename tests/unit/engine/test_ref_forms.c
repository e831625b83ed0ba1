/* The inference form computes what the network computes, wherever batch norm stands. */
#include <stdio.h>
#include <stdlib.h>

#include "../../ops/ops_table.h"
#include "engine/engine.h"
#include "engine/rewrite.h"
#include "../support/context.h"

enum { BATCH = 3, CLASSES = 4, CHANNELS = 3, SIDE = 6, ROW = 2 * SIDE * SIDE };

struct net {
    pr_graph *graph;
    pr_weights *weights;
    pr_rng rng;
};

static struct net empty_net(void)
{
    struct net n = {.rng = pr_rng_init(3, PR_STREAM_TEST, 0)};
    OK(pr_graph_create(ctx, &n.graph));
    OK(pr_weights_create(ctx, &n.weights));
    OK(pr_graph_input(ctx, n.graph, "image", (pr_dims)IMAGE(2, SIDE, SIDE), &n.graph->input));
    return n;
}

static pr_value node(struct net *n, pr_op op, const pr_attrs *attrs, const pr_value *in, int inputs)
{
    pr_value out[PR_NODE_OUT];
    OK(pr_graph_node(ctx, n->graph, op, "", attrs, in, inputs, out));
    return out[0];
}

/* Random numbers around zero, or for `positive` in [0.5, 2). */
static pr_value tensor(struct net *n, pr_dims dims, bool positive)
{
    char name[32];
    int32_t index;
    pr_value value;
    snprintf(name, sizeof(name), "t%zu", n->weights->count);
    OK(pr_weights_add(ctx, n->weights, name, PR_WEIGHT_KERNEL, dims.rank, dims.dim, &index));
    OK(pr_graph_weight(ctx, n->graph, n->weights, index, &value));
    for (int64_t e = 0; e < n->weights->items[index].count; e++)
        n->weights->items[index].data[e] = positive ? pr_rng_uniform(&n->rng, 0.5f, 2) : 0.5f * pr_rng_normal(&n->rng);
    return value;
}

static pr_value batch_norm(struct net *n, pr_value x)
{
    pr_dims channels = {1, {n->graph->values[x].dims.dim[1]}};
    pr_value in[5] = {x, tensor(n, channels, false), tensor(n, channels, false), tensor(n, channels, false),
                      tensor(n, channels, true)};
    return node(n, PR_OP_BATCH_NORM, &(pr_attrs){.bn = {1e-3f, 0.9f}}, in, 5);
}

static pr_value conv_with(struct net *n, pr_value x, pr_value w, pr_value b)
{
    const pr_attrs same = CONV_ATTRS(1, 1, 1, 1, 1, 1, 1, 1, 1, 3, 3, 0, 0);
    return node(n, PR_OP_CONV, &same, (pr_value[]){x, w, b}, b < 0 ? 2 : 3);
}

static pr_value conv(struct net *n, pr_value x)
{
    int64_t in = n->graph->values[x].dims.dim[1];
    return conv_with(n, x, tensor(n, (pr_dims)KERNEL(CHANNELS, in, 3, 3), false), -1);
}

static pr_value relu(struct net *n, pr_value x)
{
    return node(n, PR_OP_RELU, NULL, &x, 1);
}

static pr_value gemm(struct net *n, pr_value x, int64_t outputs)
{
    int64_t row = pr_dims_row(n->graph->values[x].dims);
    return node(n, PR_OP_GEMM, NULL, (pr_value[]){x, tensor(n, (pr_dims)MATRIX(outputs, row), false),
                                                  tensor(n, (pr_dims)VECTOR(outputs), false)}, 3);
}

static pr_value flatten(struct net *n, pr_value x)
{
    return node(n, PR_OP_RESHAPE, &(pr_attrs){.shape = {ROWS(pr_dims_row(n->graph->values[x].dims))}}, &x, 1);
}

static void logits(const pr_graph *graph, const pr_weights *weights, float *out)
{
    float x[BATCH * ROW];
    pr_rng rng = pr_rng_init(9, PR_STREAM_TEST, 1);
    pr_ref_feed feed = {graph->input, x};
    for (int e = 0; e < BATCH * ROW; e++)
        x[e] = pr_rng_normal(&rng);
    OK(pr_ref_run(ctx, graph, weights, BATCH, &feed, 1, &graph->logits, 1, &out, 0, 0));
}

/* Both inference forms equal the network; folding leaves `affine` ChannelAffine, no batch norm, and `nodes` nodes. */
static void check(struct net *n, int affine, size_t nodes)
{
    float expected[BATCH * CLASSES], found[BATCH * CLASSES], scale = 1;
    logits(n->graph, n->weights, expected);
    for (int e = 0; e < BATCH * CLASSES; e++)
        scale = fmaxf(scale, fabsf(expected[e]));
    for (int fold = 0; fold < 2; fold++) {
        pr_graph *graph;
        pr_weights *weights;
        OK(pr_graph_to_inference(ctx, n->graph, n->weights, fold, &graph, &weights));
        OK(pr_graph_check(ctx, graph, fold ? weights : n->weights));
        logits(graph, fold ? weights : n->weights, found);
        for (int e = 0; e < BATCH * CLASSES; e++)
            assert_float_equal(found[e], expected[e], 1e-5 * scale);
        for (size_t i = 0; fold && i < graph->node_count; i++) {
            affine -= graph->nodes[i].op == PR_OP_CHANNEL_AFFINE;
            assert_true(graph->nodes[i].op != PR_OP_BATCH_NORM);
        }
        if (fold)
            assert_int_equal(graph->node_count, nodes);
        pr_graph_free(graph);
        pr_weights_free(weights);
    }
    assert_int_equal(affine, 0);
    /* The original is untouched. */
    logits(n->graph, n->weights, found);
    assert_memory_equal(found, expected, sizeof(found));
    pr_graph_free(n->graph);
    pr_weights_free(n->weights);
}

static void after_conv_and_gemm(void **state)
{
    (void)state;
    struct net n = empty_net();
    pr_value v = relu(&n, batch_norm(&n, conv(&n, n.graph->input)));
    n.graph->logits = batch_norm(&n, gemm(&n, flatten(&n, v), CLASSES));
    check(&n, 0, 3);                        /* conv, relu, gemm */
}

static void before_conv(void **state)
{
    (void)state;
    struct net n = empty_net();
    pr_value v = batch_norm(&n, relu(&n, conv(&n, n.graph->input)));
    n.graph->logits = gemm(&n, relu(&n, conv(&n, v)), CLASSES);
    check(&n, 1, 6);
}

static void before_gemm(void **state)
{
    (void)state;
    struct net n = empty_net();
    pr_value v = batch_norm(&n, relu(&n, conv(&n, n.graph->input)));
    v = node(&n, PR_OP_DROPOUT, &(pr_attrs){.dropout = {0.5f, 1}}, &v, 1);
    v = batch_norm(&n, relu(&n, gemm(&n, flatten(&n, v), 5)));
    n.graph->logits = gemm(&n, v, CLASSES);
    check(&n, 0, 5);                        /* conv, relu, gemm, relu, gemm */
}

static void shared_tensors_and_values(void **state)
{
    (void)state;
    struct net n = empty_net();
    pr_value w = tensor(&n, (pr_dims)KERNEL(2, 2, 3, 3), false), b = tensor(&n, (pr_dims)VECTOR(2), false);
    pr_value once = batch_norm(&n, conv_with(&n, n.graph->input, w, b));
    pr_value twice = batch_norm(&n, conv_with(&n, relu(&n, once), w, b));  /* the same kernel, other statistics */
    pr_value plain = conv(&n, twice), normed = batch_norm(&n, plain);      /* read by the norm and by the sum */
    pr_value sum = node(&n, PR_OP_ADD, NULL, (pr_value[]){plain, normed}, 2);
    n.graph->logits = gemm(&n, sum, CLASSES);
    check(&n, 1, 7);
}

static void on_the_image_and_in_a_row(void **state)
{
    (void)state;
    struct net n = empty_net();
    pr_value v = batch_norm(&n, batch_norm(&n, n.graph->input));
    v = node(&n, PR_OP_IDENTITY, NULL, &v, 1);
    n.graph->logits = batch_norm(&n, batch_norm(&n, gemm(&n, v, CLASSES)));
    check(&n, 0, 1);                        /* GEMM with all the norms on both sides */
}

static void residual_and_averaged(void **state)
{
    (void)state;
    struct net n = empty_net();
    pr_value stem = relu(&n, batch_norm(&n, conv(&n, n.graph->input)));
    pr_value branch = batch_norm(&n, conv(&n, relu(&n, batch_norm(&n, conv(&n, stem)))));
    pr_value v = relu(&n, node(&n, PR_OP_ADD, NULL, (pr_value[]){stem, branch}, 2));
    v = node(&n, PR_OP_GLOBAL_AVERAGE_POOL, NULL, &v, 1);
    n.graph->logits = gemm(&n, batch_norm(&n, flatten(&n, v)), CLASSES);
    check(&n, 0, 9);                        /* three convs, three relus, add, mean, GEMM; the flatten went too */
}

/* ---- random networks -------------------------------------------------------------------------------------------- */

static pr_value random_layer(struct net *n, pr_value v, pr_value earlier)
{
    const pr_attrs pool = POOL_ATTRS(3, 3, 1, 1, 1, 1, 1, 1, 1, 1, false, false, 0, 0);
    switch (pr_rng_below(&n->rng, 8)) {
    case 0: return conv(n, v);
    case 1: return relu(n, v);
    case 2: return batch_norm(n, v);
    case 3: return relu(n, batch_norm(n, conv(n, v)));
    case 4: return batch_norm(n, relu(n, conv(n, v)));
    case 5: return node(n, PR_OP_DROPOUT, &(pr_attrs){.dropout = {0.5f, (int32_t)n->graph->node_count}}, &v, 1);
    case 6: return node(n, PR_OP_MAX_POOL, &pool, &v, 1);
    default:
        if (!pr_dims_equal(n->graph->values[v].dims, n->graph->values[earlier].dims))
            return v;
        return node(n, PR_OP_ADD, NULL, (pr_value[]){v, earlier}, 2);
    }
}

static struct net random_net(uint64_t seed)
{
    enum { LAYERS = 10 };
    struct net n = empty_net();
    pr_value made[LAYERS + 1] = {n.graph->input};
    n.rng = pr_rng_init(seed, PR_STREAM_TEST, 5);
    for (int i = 0; i < LAYERS; i++)
        made[i + 1] = random_layer(&n, made[i], made[pr_rng_below(&n.rng, (uint32_t)i + 1)]);
    pr_value v = made[LAYERS];
    if (pr_rng_below(&n.rng, 2))
        v = flatten(&n, v);
    if (pr_rng_below(&n.rng, 2))
        v = batch_norm(&n, relu(&n, gemm(&n, v, 5)));
    n.graph->logits = gemm(&n, v, CLASSES);
    if (pr_rng_below(&n.rng, 2))
        n.graph->logits = batch_norm(&n, n.graph->logits);
    return n;
}

/* Logits and input gradient, after pruning to just those. */
static void run_with_gradient(pr_graph *graph, const pr_weights *weights, float *out, float *dx)
{
    float x[BATCH * ROW], dlogits[BATCH * CLASSES];
    pr_value keep[2];
    pr_rng rng = pr_rng_init(9, PR_STREAM_TEST, 1);
    OK(pr_graph_differentiate(ctx, graph, graph->logits, &graph->input, 1, &keep[0], &keep[1]));
    OK(pr_graph_check(ctx, graph, weights));
    OK(pr_graph_prune(ctx, graph, keep, 2));
    OK(pr_graph_check(ctx, graph, weights));
    for (int e = 0; e < BATCH * ROW; e++)
        x[e] = pr_rng_normal(&rng);
    for (int e = 0; e < BATCH * CLASSES; e++)
        dlogits[e] = pr_rng_normal(&rng);
    pr_ref_feed feeds[] = {{graph->input, x}, {keep[0], dlogits}};
    pr_value wanted[] = {graph->logits, keep[1]};
    OK(pr_ref_run(ctx, graph, weights, BATCH, feeds, 2, wanted, 2, (float *[]){out, dx}, 0, 0));
}

static void assert_near(const float *found, const float *expected, int count)
{
    float scale = 1;
    for (int e = 0; e < count; e++)
        scale = fmaxf(scale, fabsf(expected[e]));
    for (int e = 0; e < count; e++)
        assert_float_equal(found[e], expected[e], 2e-5 * scale);
}

/* The training form is valid, and differentiates with respect to everything that is trained. */
static void check_training_form(const struct net *n)
{
    pr_graph *train;
    pr_bn_link *links;
    size_t link_count, count = 0;
    pr_value wrt[128], grads[128], seed;
    OK(pr_graph_to_training(ctx, n->graph, &train, &links, &link_count));
    for (size_t v = 0; v < train->value_count; v++) {
        if (train->values[v].kind == PR_VALUE_WEIGHT)
            wrt[count++] = (pr_value)v;
    }
    OK(pr_graph_differentiate(ctx, train, train->logits, wrt, count, &seed, grads));
    OK(pr_graph_check(ctx, train, n->weights));
    for (size_t i = 0; i < count; i++)
        assert_true(grads[i] < 0 || pr_dims_equal(train->values[grads[i]].dims, train->values[wrt[i]].dims));
    pr_free(links);
    pr_graph_free(train);
}

static void random_networks(void **state)
{
    (void)state;
    for (uint64_t seed = 0; seed < 40; seed++) {
        struct net n = random_net(seed);
        pr_graph *folded;
        pr_weights *weights;
        float expected[BATCH * CLASSES], found[BATCH * CLASSES], dx_expected[BATCH * ROW], dx_found[BATCH * ROW];
        check_training_form(&n);
        OK(pr_graph_to_inference(ctx, n.graph, n.weights, true, &folded, &weights));
        run_with_gradient(folded, weights, found, dx_found);
        run_with_gradient(n.graph, n.weights, expected, dx_expected);
        assert_near(found, expected, BATCH * CLASSES);
        assert_near(dx_found, dx_expected, BATCH * ROW);
        pr_graph_free(folded);
        pr_weights_free(weights);
        pr_graph_free(n.graph);
        pr_weights_free(n.weights);
    }
}

/* ---- channels before a convolution ------------------------------------------------------------------------------ */

static pr_value affine(struct net *n, pr_value x)
{
    const pr_dims channels = {1, {n->graph->values[x].dims.dim[1]}};
    return node(n, PR_OP_CHANNEL_AFFINE, NULL,
                (pr_value[]){x, tensor(n, channels, true), tensor(n, channels, false)}, 3);
}

static pr_value reversed(struct net *n, pr_value x)
{
    const int64_t channels = n->graph->values[x].dims.dim[1];
    pr_value index = tensor(n, (pr_dims)VECTOR(channels), false);
    pr_weight *weight = &n->weights->items[n->graph->values[index].weight];
    weight->role = PR_WEIGHT_INDEX;
    for (int64_t c = 0; c < channels; c++)
        weight->data[c] = (float)(channels - 1 - c);
    return node(n, PR_OP_GATHER, &(pr_attrs){.gather = {1, channels}}, (pr_value[]){x, index}, 2);
}

static pr_value transposed(struct net *n, pr_value x, int a, int b, int c)
{
    return node(n, PR_OP_TRANSPOSE, &(pr_attrs){.perm.perm = {0, a, b, c}}, &x, 1);
}

/* A convolution with a bias, padded or not, in groups of one channel or in one. */
static pr_value first_conv(struct net *n, pr_value x, bool pads, bool groups)
{
    const int pad = pads ? 1 : 0;
    const pr_attrs one = CONV_ATTRS(1, 1, 1, 1, 1, pad, pad, pad, pad, 3, 3, 0, 0),
                   two = CONV_ATTRS(2, 1, 1, 1, 1, pad, pad, pad, pad, 3, 3, 0, 0);
    return node(n, PR_OP_CONV, groups ? &two : &one,
                (pr_value[]){x, tensor(n, (pr_dims)KERNEL(4, groups ? 1 : 2, 3, 3), false),
                             tensor(n, (pr_dims)VECTOR(4), false)},
                3);
}

/* What runs for the network that ends in `v` and a GEMM has `nodes` nodes and gives its logits and input gradients. */
static void check_channels(struct net *n, pr_value v, size_t nodes)
{
    pr_graph *plain, *graph;
    pr_weights *weights;
    float expected[BATCH * CLASSES], found[BATCH * CLASSES], dx_expected[BATCH * ROW], dx_found[BATCH * ROW];
    n->graph->logits = gemm(n, v, CLASSES);
    OK(pr_graph_to_inference(ctx, n->graph, n->weights, true, &plain, &weights));
    OK(pr_rewrite_channels(ctx, plain, weights, &graph));
    OK(pr_graph_check(ctx, graph, weights));
    assert_int_equal(graph->node_count, nodes);
    run_with_gradient(graph, weights, found, dx_found);
    run_with_gradient(n->graph, n->weights, expected, dx_expected);
    assert_near(found, expected, BATCH * CLASSES);
    assert_near(dx_found, dx_expected, BATCH * ROW);
    pr_graph_free(plain);
    pr_graph_free(graph);
    pr_weights_free(weights);
    pr_graph_free(n->graph);
    pr_weights_free(n->weights);
}

static void channels_before_conv(void **state)
{
    (void)state;
    for (int pads = 0; pads < 2; pads++) {
        struct net n = empty_net(); /* a line, an order, a line: with padding the shift becomes a map that is added */
        pr_value v = affine(&n, reversed(&n, affine(&n, n.graph->input)));
        check_channels(&n, first_conv(&n, v, pads, false), pads ? 3 : 2);

        n = empty_net(); /* an order alone shifts nothing */
        check_channels(&n, first_conv(&n, reversed(&n, n.graph->input), pads, false), 2);

        n = empty_net(); /* of a network that reads N x H x W x C and turns it round */
        v = transposed(&n, reversed(&n, affine(&n, n.graph->input)), 2, 3, 1);
        check_channels(&n, first_conv(&n, transposed(&n, v, 3, 1, 2), pads, false), pads ? 3 : 2);

        n = empty_net(); /* channels do not change groups */
        v = affine(&n, reversed(&n, n.graph->input));
        check_channels(&n, first_conv(&n, v, pads, true), pads ? 4 : 3);

        n = empty_net(); /* what others read as well stays */
        v = reversed(&n, n.graph->input);
        v = node(&n, PR_OP_ADD, NULL, (pr_value[]){first_conv(&n, v, pads, false), first_conv(&n, v, pads, true)}, 2);
        check_channels(&n, v, 5);
    }
    struct net n = empty_net(); /* Transposes that do not undo one another */
    pr_value v = transposed(&n, transposed(&n, n.graph->input, 2, 3, 1), 2, 3, 1);
    check_channels(&n, v, 3);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(after_conv_and_gemm),
        cmocka_unit_test(before_conv),
        cmocka_unit_test(before_gemm),
        cmocka_unit_test(shared_tensors_and_values),
        cmocka_unit_test(on_the_image_and_in_a_row),
        cmocka_unit_test(residual_and_averaged),
        cmocka_unit_test(random_networks),
        cmocka_unit_test(channels_before_conv),
    };
    return cmocka_run_group_tests(tests, set_up_context, tear_down_context);
}
