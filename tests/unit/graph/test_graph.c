/* Building, refusing, pruning, drawing and rewriting graphs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../ops/ops_table.h"
#include "../support/context.h"

struct net {
    pr_graph *graph;
    pr_weights *weights;
};

static struct net empty_net(void)
{
    struct net net;
    OK(pr_graph_create(ctx, &net.graph));
    OK(pr_weights_create(ctx, &net.weights));
    return net;
}

static void free_net(struct net *net)
{
    pr_graph_free(net->graph);
    pr_weights_free(net->weights);
}

static pr_value weight(struct net *net, const char *name, pr_weight_role role, pr_dims dims)
{
    int32_t index;
    pr_value value;
    OK(pr_weights_add(ctx, net->weights, name, role, dims.rank, dims.dim, &index));
    OK(pr_graph_weight(ctx, net->graph, net->weights, index, &value));
    return value;
}

static pr_value node(struct net *net, pr_op op, const char *name, const pr_attrs *attrs, const pr_value *in, int inputs)
{
    pr_value out[PR_NODE_OUT];
    OK(pr_graph_node(ctx, net->graph, op, name, attrs, in, inputs, out));
    return out[0];
}

static pr_value batch_norm(struct net *net, const char *name, int64_t channels, pr_value x)
{
    static const char *const parts[] = {"scale", "shift", "mean", "var"};
    pr_value in[5] = {x};
    for (int i = 0; i < 4; i++) {
        char full[64];
        snprintf(full, sizeof(full), "%s.%s", name, parts[i]);
        in[i + 1] = weight(net, full, i < 2 ? PR_WEIGHT_VECTOR : PR_WEIGHT_STATISTIC, (pr_dims)VECTOR(channels));
    }
    return node(net, PR_OP_BATCH_NORM, name, &(pr_attrs){.bn = {1e-3f, 0.99f}}, in, 5);
}

static const pr_attrs conv_attrs = CONV_ATTRS(1, 2, 2, 1, 1, 0, 0, 1, 1, 3, 3, 0, 0);

/* conv -> relu -> bn -> conv -> bn -> relu -> bn -> dropout -> flatten -> gemm */
static struct net small_net(void)
{
    struct net n = empty_net();
    pr_graph *g = n.graph;
    OK(pr_graph_input(ctx, g, "image", (pr_dims)IMAGE(1, 8, 8), &g->input));
    pr_value v = node(&n, PR_OP_CONV, "conv1", &conv_attrs,
                      (pr_value[]){g->input, weight(&n, "w1", PR_WEIGHT_KERNEL, (pr_dims)KERNEL(2, 1, 3, 3))}, 2);
    v = node(&n, PR_OP_RELU, "relu1", NULL, &v, 1);
    v = batch_norm(&n, "bn1", 2, v);
    v = node(&n, PR_OP_CONV, "conv2", &conv_attrs,
             (pr_value[]){v, weight(&n, "w2", PR_WEIGHT_KERNEL, (pr_dims)KERNEL(3, 2, 3, 3)),
                          weight(&n, "b2", PR_WEIGHT_VECTOR, (pr_dims)VECTOR(3))}, 3);
    v = batch_norm(&n, "bn2", 3, v);
    v = node(&n, PR_OP_RELU, "relu2", NULL, &v, 1);
    v = batch_norm(&n, "bn3", 3, v);
    v = node(&n, PR_OP_DROPOUT, "drop", &(pr_attrs){.dropout = {0.5f, 1}}, &v, 1);
    v = node(&n, PR_OP_RESHAPE, "flatten", &(pr_attrs){.shape = {ROWS(12)}}, &v, 1);
    g->logits = node(&n, PR_OP_GEMM, "gemm", NULL,
                     (pr_value[]){v, weight(&n, "w3", PR_WEIGHT_KERNEL, (pr_dims)MATRIX(4, 12))}, 2);
    OK(pr_graph_check(ctx, g, n.weights));
    return n;
}

static int count_op(const pr_graph *graph, pr_op op)
{
    int count = 0;
    for (size_t i = 0; i < graph->node_count; i++)
        count += graph->nodes[i].op == op;
    return count;
}

/* ---- building --------------------------------------------------------------------------------------------------- */

static void names_are_unique(void **state)
{
    (void)state;
    struct net n = empty_net();
    pr_value x, v;
    OK(pr_graph_input(ctx, n.graph, "relu", (pr_dims)ROWS(3), &x));
    v = x;
    for (int i = 0; i < 200; i++)
        v = node(&n, PR_OP_RELU, i % 3 ? "relu" : "", NULL, &v, 1);
    OK(pr_graph_check(ctx, n.graph, n.weights));                     /* checks that every name is unique */
    assert_int_equal(n.graph->value_count, 201);
    pr_value w = weight(&n, "w", PR_WEIGHT_KERNEL, (pr_dims)VECTOR(3)), again;
    OK(pr_graph_weight(ctx, n.graph, n.weights, 0, &again));
    assert_int_equal(w, again);
    free_net(&n);
}

/* Every malformed node is refused with a sentence that names it, and the graph stays valid. */
static void malformed_nodes_are_refused(void **state)
{
    (void)state;
    static const op_case bad[] = {
        {"wrong channels", PR_OP_CONV, {IMAGE(3, 6, 6), KERNEL(4, 2, 3, 3)},
         .attrs = CONV_ATTRS(1, 1, 1, 1, 1, 0, 0, 0, 0, 3, 3, 0, 0)},
        {"wrong groups", PR_OP_CONV, {IMAGE(4, 6, 6), KERNEL(3, 2, 3, 3)},
         .attrs = CONV_ATTRS(2, 1, 1, 1, 1, 0, 0, 0, 0, 3, 3, 0, 0)},
        {"no groups", PR_OP_CONV, {IMAGE(4, 6, 6), KERNEL(3, 4, 3, 3)},
         .attrs = CONV_ATTRS(0, 1, 1, 1, 1, 0, 0, 0, 0, 3, 3, 0, 0)},
        {"zero stride", PR_OP_CONV, {IMAGE(4, 6, 6), KERNEL(3, 4, 3, 3)},
         .attrs = CONV_ATTRS(1, 0, 1, 1, 1, 0, 0, 0, 0, 3, 3, 0, 0)},
        {"negative pad", PR_OP_CONV, {IMAGE(4, 6, 6), KERNEL(3, 4, 3, 3)},
         .attrs = CONV_ATTRS(1, 1, 1, 1, 1, -1, 0, 0, 0, 3, 3, 0, 0)},
        {"large kernel", PR_OP_CONV, {IMAGE(4, 6, 6), KERNEL(3, 4, 9, 9)},
         .attrs = CONV_ATTRS(1, 1, 1, 1, 1, 1, 1, 1, 1, 9, 9, 0, 0)},
        {"kernel attribute", PR_OP_CONV, {IMAGE(4, 6, 6), KERNEL(3, 4, 3, 3)},
         .attrs = CONV_ATTRS(1, 1, 1, 1, 1, 1, 1, 1, 1, 5, 5, 0, 0)},
        {"huge dilation", PR_OP_CONV, {IMAGE(4, 6, 6), KERNEL(3, 4, 3, 3)},
         .attrs = CONV_ATTRS(1, 1, 1, INT32_MAX, 1, INT32_MAX, 0, 0, 0, 3, 3, 0, 0)},
        {"wrong bias", PR_OP_CONV, {IMAGE(4, 6, 6), KERNEL(3, 4, 3, 3), VECTOR(4)},
         .attrs = CONV_ATTRS(1, 1, 1, 1, 1, 0, 0, 0, 0, 3, 3, 0, 0)},
        {"rows into conv", PR_OP_CONV, {ROWS(9), KERNEL(3, 4, 3, 3)},
         .attrs = CONV_ATTRS(1, 1, 1, 1, 1, 0, 0, 0, 0, 3, 3, 0, 0)},
        {"wrong row", PR_OP_GEMM, {ROWS(5), MATRIX(3, 4)}},
        {"gemm without weights", PR_OP_GEMM, {ROWS(5)}},
        {"too many inputs", PR_OP_RELU, {ROWS(5), ROWS(5)}},
        {"short statistics", PR_OP_BATCH_NORM, {IMAGE(3, 2, 2), VECTOR(3), VECTOR(3), VECTOR(2), VECTOR(3)}},
        {"softmax over rows", PR_OP_SOFTMAX, {IMAGE(3, 2, 2)}, .attrs = {.axis = {1}}},
        {"pad beyond window", PR_OP_MAX_POOL, {IMAGE(1, 6, 6)},
         .attrs = POOL_ATTRS(2, 2, 2, 2, 1, 1, 2, 0, 0, 0, 0, 0, 0, 0)},
        {"no broadcast", PR_OP_ADD, {IMAGE(3, 2, 2), VECTOR(3)}},
        {"batch against batch", PR_OP_MUL, {IMAGE(3, 2, 2), ROWS(2)}},
        {"wrong count", PR_OP_RESHAPE, {IMAGE(3, 2, 2)}, .attrs = {.shape = {ROWS(11)}}},
        {"batch dropped", PR_OP_RESHAPE, {IMAGE(3, 2, 2)}, .attrs = {.shape = {VECTOR(12)}}},
        {"rank of 9", PR_OP_RESHAPE, {IMAGE(3, 2, 2)}, .attrs = {.shape = {{.rank = 9}}}},
        {"no permutation", PR_OP_TRANSPOSE, {IMAGE(3, 2, 2)}, .attrs = {.perm = {{0, 1, 1, 2}}}},
        {"batch moved", PR_OP_TRANSPOSE, {IMAGE(3, 2, 2)}, .attrs = {.perm = {{1, 0, 2, 3}}}},
        {"cropped to nothing", PR_OP_PAD, {IMAGE(3, 2, 2)}, .attrs = {.pad = {{0, 0, -1}, {0, 0, -1}, 0}}},
        {"padded beyond measure", PR_OP_PAD, {IMAGE(3, 2, 2)},
         .attrs = {.pad = {{0, 0, INT32_MAX, INT32_MAX}, {0, 0, INT32_MAX, INT32_MAX}, 0}}},
        {"all dropped", PR_OP_DROPOUT, {ROWS(3)}, .attrs = {.dropout = {1, 0}}},
        {"gradient of another shape", PR_OP_RELU_GRAD, {ROWS(3), ROWS(4)}},
    };
    for (size_t c = 0; c < PR_COUNT(bad); c++) {
        struct net n = empty_net();
        pr_value in[PR_NODE_IN], out[PR_NODE_OUT];
        int inputs;
        parry_status status = op_case_build(ctx, &bad[c], n.graph, n.weights, &inputs, in, out);
        if (status != PARRY_MISMATCH && status != PARRY_UNSUPPORTED)
            fail_msg("'%s' was accepted", bad[c].name);
        check_says(ctx, bad[c].name);
        assert_int_equal(n.graph->node_count, 0);
        OK(pr_graph_check(ctx, n.graph, n.weights));
        free_net(&n);
    }
}

static void check_finds_damage(void **state)
{
    (void)state;
    struct net n = small_net();
    pr_graph *g = n.graph;
    pr_value logits = g->logits;

    g->values[logits].dims.dim[1]++;
    assert_int_equal(pr_graph_check(ctx, g, n.weights), PARRY_MISMATCH);
    g->values[logits].dims.dim[1]--;
    g->values[logits].producer--;
    assert_int_equal(pr_graph_check(ctx, g, n.weights), PARRY_MISMATCH);
    g->values[logits].producer++;
    pr_value in = g->nodes[1].in[0];
    g->nodes[1].in[0] = g->nodes[1].out[0];                          /* relu1 reads itself */
    assert_int_equal(pr_graph_check(ctx, g, n.weights), PARRY_MISMATCH);
    assert_non_null(strstr(parry_ctx_error(ctx), "relu1"));
    g->nodes[1].in[0] = in;
    n.weights->items[0].dim[2] = 5;
    assert_int_equal(pr_graph_check(ctx, g, n.weights), PARRY_MISMATCH);
    assert_non_null(strstr(parry_ctx_error(ctx), "w1"));
    n.weights->items[0].dim[2] = 3;
    OK(pr_graph_check(ctx, g, n.weights));
    free_net(&n);
}

/* ---- passes ----------------------------------------------------------------------------------------------------- */

static void clone_is_equal_and_apart(void **state)
{
    (void)state;
    struct net n = small_net();
    pr_graph *copy;
    OK(pr_graph_clone(ctx, n.graph, &copy));
    OK(pr_graph_check(ctx, copy, n.weights));
    assert_int_equal(copy->value_count, n.graph->value_count);
    assert_int_equal(copy->logits, n.graph->logits);
    for (size_t i = 0; i < copy->node_count; i++) {
        assert_string_equal(copy->nodes[i].name, n.graph->nodes[i].name);
        assert_ptr_not_equal(copy->nodes[i].name, n.graph->nodes[i].name);
    }
    pr_graph_free(copy);
    free_net(&n);
}

static void prune_renumbers(void **state)
{
    (void)state;
    struct net n = small_net();
    size_t nodes = n.graph->node_count, values = n.graph->value_count;
    pr_value seed, grad, keep[2];
    OK(pr_graph_differentiate(ctx, n.graph, n.graph->logits, &n.graph->input, 1, &seed, &grad));
    OK(pr_graph_check(ctx, n.graph, n.weights));
    keep[0] = seed;
    keep[1] = grad;
    OK(pr_graph_prune(ctx, n.graph, keep, 2));
    OK(pr_graph_check(ctx, n.graph, n.weights));
    assert_true(n.graph->values[keep[0]].kind == PR_VALUE_INPUT);
    assert_true(pr_dims_equal(n.graph->values[keep[1]].dims, n.graph->values[n.graph->input].dims));
    OK(pr_graph_prune(ctx, n.graph, NULL, 0));                       /* the derivative goes away again */
    assert_int_equal(n.graph->node_count, nodes);
    assert_int_equal(n.graph->value_count, values);
    OK(pr_graph_check(ctx, n.graph, n.weights));
    free_net(&n);
}

static void input_gradient_has_no_weight_gradients(void **state)
{
    (void)state;
    struct net n = small_net();
    pr_value seed, grad;
    OK(pr_graph_differentiate(ctx, n.graph, n.graph->logits, &n.graph->input, 1, &seed, &grad));
    assert_int_equal(count_op(n.graph, PR_OP_CONV_GRAD_X), 2);
    assert_int_equal(count_op(n.graph, PR_OP_CONV_GRAD_W) + count_op(n.graph, PR_OP_GEMM_GRAD_W), 0);
    free_net(&n);
}

static void training_gradient_spares_the_image(void **state)
{
    (void)state;
    struct net n = small_net();
    pr_graph *train;
    pr_bn_link *links;
    size_t link_count, count = 0;
    pr_value wrt[32], grads[32], seed;
    OK(pr_graph_to_training(ctx, n.graph, &train, &links, &link_count));
    OK(pr_graph_check(ctx, train, n.weights));
    assert_int_equal(link_count, 3);
    for (size_t i = 0; i < link_count; i++) {
        assert_int_equal(n.weights->items[links[i].mean_weight].role, PR_WEIGHT_STATISTIC);
        assert_true(links[i].var_weight == links[i].mean_weight + 1);
        assert_true(pr_dims_row(train->values[links[i].mean].dims) == n.weights->items[links[i].mean_weight].count);
        assert_true(links[i].momentum == 0.99f);
    }
    for (size_t v = 0; v < train->value_count; v++) {
        if (train->values[v].kind == PR_VALUE_WEIGHT)
            wrt[count++] = (pr_value)v;
    }
    assert_int_equal(count, 4 + 6);                                  /* the running statistics stayed behind */
    OK(pr_graph_differentiate(ctx, train, train->logits, wrt, count, &seed, grads));
    OK(pr_graph_check(ctx, train, n.weights));
    for (size_t i = 0; i < count; i++)
        assert_true(pr_dims_equal(train->values[grads[i]].dims, train->values[wrt[i]].dims));
    assert_int_equal(count_op(train, PR_OP_CONV_GRAD_X), 1);         /* the first convolution passes nothing on */
    assert_int_equal(count_op(train, PR_OP_DROPOUT_TRAIN_GRAD), 1);
    assert_int_equal(count_op(train, PR_OP_BATCH_NORM) + count_op(train, PR_OP_DROPOUT), 0);
    pr_free(links);
    pr_graph_free(train);
    free_net(&n);
}

static void independent_values_have_no_gradient(void **state)
{
    (void)state;
    struct net n = small_net();
    pr_value lonely = weight(&n, "lonely", PR_WEIGHT_VECTOR, (pr_dims)VECTOR(3)), grad, seed;
    size_t nodes = n.graph->node_count;
    OK(pr_graph_differentiate(ctx, n.graph, n.graph->logits, &lonely, 1, &seed, &grad));
    assert_int_equal(grad, -1);
    assert_int_equal(n.graph->node_count, nodes);
    free_net(&n);
}

static void inference_form(void **state)
{
    (void)state;
    struct net n = small_net();
    pr_graph *plain, *folded;
    pr_weights *none, *weights;
    OK(pr_graph_to_inference(ctx, n.graph, n.weights, false, &plain, &none));
    OK(pr_graph_check(ctx, plain, n.weights));
    assert_null(none);
    assert_int_equal(plain->node_count, n.graph->node_count - 2);    /* dropout and flatten */
    OK(pr_graph_to_inference(ctx, n.graph, n.weights, true, &folded, &weights));
    OK(pr_graph_check(ctx, folded, weights));
    /* bn1 stands before a padding convolution: exact only as scale and shift. bn2 folds into conv2, bn3 into gemm. */
    assert_int_equal(count_op(folded, PR_OP_BATCH_NORM), 0);
    assert_int_equal(count_op(folded, PR_OP_CHANNEL_AFFINE), 1);
    assert_int_equal(folded->node_count, 6);
    pr_graph_free(plain);
    pr_graph_free(folded);
    pr_weights_free(weights);
    free_net(&n);
}

/* ((x - k) / [c]) before a padding convolution, and 1 - [c] * (...) behind it with a batch norm in between. */
static void arithmetic_by_channel_folds(void **state)
{
    (void)state;
    struct net n = empty_net();
    pr_graph *g = n.graph, *folded;
    pr_weights *weights;
    OK(pr_graph_input(ctx, g, "image", (pr_dims)IMAGE(2, 4, 4), &g->input));
    pr_value one = weight(&n, "one", PR_WEIGHT_CONSTANT, (pr_dims)VECTOR(1)),
             two = weight(&n, "two", PR_WEIGHT_CONSTANT, (pr_dims){3, {2, 1, 1}}),
             row = weight(&n, "row", PR_WEIGHT_CONSTANT, (pr_dims){3, {2, 1, 4}});
    pr_value v = node(&n, PR_OP_SUB, "sub", NULL, (pr_value[]){g->input, one}, 2);
    v = node(&n, PR_OP_DIV, "div", NULL, (pr_value[]){v, two}, 2);
    v = node(&n, PR_OP_CONV, "conv", &conv_attrs,
             (pr_value[]){v, weight(&n, "w", PR_WEIGHT_KERNEL, (pr_dims)KERNEL(2, 2, 3, 3))}, 2);
    v = batch_norm(&n, "bn", 2, v);
    v = node(&n, PR_OP_MUL, "mul", NULL, (pr_value[]){two, v}, 2);
    v = node(&n, PR_OP_SUB, "from", NULL, (pr_value[]){one, v}, 2);
    pr_value size = g->values[v].dims.dim[3] == 4 ? row : two;
    v = node(&n, PR_OP_DIV, "over", NULL, (pr_value[]){size, v}, 2); /* no line: a constant over x */
    int64_t count = pr_dims_row(g->values[v].dims);
    g->logits = node(&n, PR_OP_RESHAPE, "flatten", &(pr_attrs){.shape = {ROWS(count)}}, &v, 1);
    OK(pr_graph_to_inference(ctx, g, n.weights, true, &folded, &weights));
    OK(pr_graph_check(ctx, folded, weights));
    assert_int_equal(count_op(folded, PR_OP_CHANNEL_AFFINE), 1);
    assert_int_equal(count_op(folded, PR_OP_CONV), 1);
    assert_int_equal(count_op(folded, PR_OP_DIV), 1);
    assert_int_equal(folded->node_count, 4);
    pr_graph_free(folded);
    pr_weights_free(weights);
    free_net(&n);
}

static void dot_lists_everything(void **state)
{
    (void)state;
    struct net n = small_net();
    char *text;
    pr_value v = node(&n, PR_OP_RELU, "a \"quoted\" \\ name\n", NULL, &n.graph->logits, 1);
    (void)v;
    OK(pr_graph_dot(ctx, n.graph, &text));
    assert_ptr_equal(strstr(text, "digraph network {\n"), text);
    size_t boxes = 0, depth = 0;
    for (const char *at = text; (at = strstr(at, "shape=box")); at++)
        boxes++;
    assert_int_equal(boxes, n.graph->node_count);
    /* Quotes pair up, escapes aside, and braces close. */
    bool quoted = false;
    for (const char *c = text; *c; c++) {
        if (quoted && *c == '\\' && c[1])
            c++;
        else if (*c == '"')
            quoted = !quoted;
        else if (!quoted)
            depth += *c == '{' ? 1 : *c == '}' ? (size_t)-1 : 0;
        assert_false(quoted && *c == '\n');
    }
    assert_false(quoted);
    assert_int_equal(depth, 0);
    assert_non_null(strstr(text, "a \\\"quoted\\\" \\\\ name "));
    pr_free(text);
    free_net(&n);
}

/* No allocation may fail without a clean way out. */
static void every_allocation_fails(void **state)
{
    (void)state;
    struct net n = small_net();
    for (int pass = 0; pass < 3; pass++) {
        parry_status status = PARRY_NO_MEMORY;
        for (long at = 1; status != PARRY_OK; at++) {
            pr_graph *graph = NULL;
            pr_weights *weights = NULL;
            pr_bn_link *links = NULL;
            size_t link_count;
            pr_value seed, grad;
            pr_alloc_fail_at(at);
            if (pass == 0) {
                status = pr_graph_to_inference(ctx, n.graph, n.weights, true, &graph, &weights);
            } else if (pass == 1) {
                status = pr_graph_to_training(ctx, n.graph, &graph, &links, &link_count);
            } else if ((status = pr_graph_clone(ctx, n.graph, &graph)) == PARRY_OK) {
                status = pr_graph_differentiate(ctx, graph, graph->logits, &graph->input, 1, &seed, &grad);
            }
            pr_alloc_fail_at(0);
            assert_true(status == PARRY_OK || status == PARRY_NO_MEMORY);
            assert_true(at < 2000);
            pr_graph_free(graph);
            pr_weights_free(weights);
            pr_free(links);
        }
    }
    free_net(&n);
}

/* ---- weights ---------------------------------------------------------------------------------------------------- */

static void weights_store(void **state)
{
    (void)state;
    pr_weights *weights, *copy;
    int32_t a, b;
    OK(pr_weights_create(ctx, &weights));
    OK(pr_weights_add(ctx, weights, "a", PR_WEIGHT_KERNEL, 2, (int64_t[]){2, 3}, &a));
    OK(pr_weights_add(ctx, weights, "b", PR_WEIGHT_STATISTIC, 0, NULL, &b));
    assert_int_equal(weights->items[a].count, 6);
    assert_int_equal(weights->items[b].count, 1);
    assert_int_equal(pr_weights_find(weights, "b"), b);
    assert_int_equal(pr_weights_find(weights, "c"), -1);
    weights->items[a].data[5] = 7;
    OK(pr_weights_clone(ctx, weights, &copy));
    weights->items[a].data[5] = HUGE_VALF;
    assert_true(copy->items[a].data[5] == 7);
    OK(pr_weights_check_finite(ctx, "model.onnx", copy));
    assert_int_equal(pr_weights_check_finite(ctx, "model.onnx", weights), PARRY_NUMERIC);
    assert_non_null(strstr(parry_ctx_error(ctx), "'a'"));
    assert_int_equal(weights->version, 1);
    pr_weights_changed(weights);
    assert_int_equal(weights->version, 2);
    assert_int_equal(pr_weights_add(ctx, weights, "big", PR_WEIGHT_KERNEL, 2, (int64_t[]){INT64_MAX, 2}, &a),
                     PARRY_INVALID);
    const int64_t ones[PR_RANK_MAX + 1] = {1, 1, 1, 1, 1, 1, 1, 1, 1};
    assert_int_equal(pr_weights_add(ctx, weights, "too deep", PR_WEIGHT_KERNEL, PR_RANK_MAX + 1, ones, &a),
                     PARRY_UNSUPPORTED);
    assert_int_equal(weights->count, 2);
    OK(pr_weights_add(ctx, weights, "deep", PR_WEIGHT_KERNEL, PR_RANK_MAX, ones, &a));
    assert_int_equal(weights->items[a].rank, PR_RANK_MAX);
    pr_weights_free(weights);
    pr_weights_free(copy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_unique),
        cmocka_unit_test(malformed_nodes_are_refused),
        cmocka_unit_test(check_finds_damage),
        cmocka_unit_test(clone_is_equal_and_apart),
        cmocka_unit_test(prune_renumbers),
        cmocka_unit_test(input_gradient_has_no_weight_gradients),
        cmocka_unit_test(training_gradient_spares_the_image),
        cmocka_unit_test(independent_values_have_no_gradient),
        cmocka_unit_test(inference_form),
        cmocka_unit_test(arithmetic_by_channel_folds),
        cmocka_unit_test(dot_lists_everything),
        cmocka_unit_test(every_allocation_fails),
        cmocka_unit_test(weights_store),
    };
    return cmocka_run_group_tests(tests, set_up_context, tear_down_context);
}
