/* Architectures and initial weights. */
#include <setjmp.h>
#include <stdarg.h>
#include <math.h>
#include <string.h>

#include <cmocka.h>

#include "nn/nn.h"

typedef struct network {
    parry_ctx *ctx;
    pr_graph *graph;
    pr_weights *weights;
} network;

static network network_make(void)
{
    network net;
    assert_int_equal(parry_ctx_create(NULL, &net.ctx), PARRY_OK);
    assert_int_equal(pr_graph_create(net.ctx, &net.graph), PARRY_OK);
    assert_int_equal(pr_weights_create(net.ctx, &net.weights), PARRY_OK);
    return net;
}

static parry_status network_build(network *net, int channels, int height, int width, int classes)
{
    const pr_arch *arch;
    assert_int_equal(pr_arch_find(net->ctx, "simplecnn", &arch), PARRY_OK);
    return arch->build(net->ctx, net->graph, net->weights, channels, height, width, classes);
}

static void network_free(network *net)
{
    pr_graph_free(net->graph);
    pr_weights_free(net->weights);
    parry_ctx_free(net->ctx);
}

static const pr_weight *weight_of(const network *net, const char *name)
{
    const int32_t index = pr_weights_find(net->weights, name);
    assert_true(index >= 0);
    return &net->weights->items[index];
}

/* The figures of Keras' summary for 28 x 28 x 1 and ten classes. */
static void simplecnn_has_the_tutorials_parameters(void **state)
{
    (void)state;
    network net = network_make();
    assert_int_equal(network_build(&net, 1, 28, 28, 10), PARRY_OK);
    assert_int_equal(pr_graph_check(net.ctx, net.graph, net.weights), PARRY_OK);
    int64_t trained = 0, moved = 0;
    for (size_t i = 0; i < net.weights->count; i++)
        *(net.weights->items[i].role == PR_WEIGHT_STATISTIC ? &moved : &trained) += net.weights->items[i].count;
    assert_int_equal(trained, 320 + 64 + 18496 + 128 + 401536 + 256 + 1290);
    assert_int_equal(moved, 64 + 128 + 256);
    network_free(&net);
}

static void simplecnn_fits_any_size(void **state)
{
    (void)state;
    static const int sizes[][3] = {{1, 4, 4}, {3, 5, 7}, {1, 28, 28}, {3, 32, 33}, {3, 64, 6}};
    for (size_t i = 0; i < PR_COUNT(sizes); i++) {
        network net = network_make();
        const int height = sizes[i][1], width = sizes[i][2];
        assert_int_equal(network_build(&net, sizes[i][0], height, width, 7), PARRY_OK);
        const int64_t flat = (int64_t)64 * ((height + 3) / 4) * ((width + 3) / 4);
        assert_int_equal(weight_of(&net, "dense1.weight")->dim[1], flat);
        const pr_dims logits = net.graph->values[net.graph->logits].dims;
        assert_true(pr_dims_equal(logits, pr_dims_make(2, (int64_t[]){PR_BATCH, 7})));
        network_free(&net);
    }
}

static void even_sizes_are_padded_after_odd_ones_on_both_sides(void **state)
{
    (void)state;
    network net = network_make();
    assert_int_equal(network_build(&net, 1, 28, 27, 10), PARRY_OK);
    int seen = 0;
    for (size_t i = 0; i < net.graph->node_count; i++)
        if (strcmp(net.graph->nodes[i].name, "conv1") == 0) {
            assert_memory_equal(net.graph->nodes[i].attrs.conv.pad, ((int[4]){0, 1, 1, 1}), 4 * sizeof(int));
            seen++;
        }
    assert_int_equal(seen, 1);
    network_free(&net);
}

static void senseless_sizes_and_names_are_refused(void **state)
{
    (void)state;
    static const int bad[][4] = {{2, 28, 28, 10},      {1, 3, 28, 10}, {1, 28, 0, 10},
                                 {1, 28, 1 << 20, 10}, {1, 28, 28, 1}, {1, 28, 28, -5}};
    for (size_t i = 0; i < PR_COUNT(bad); i++) {
        network net = network_make();
        assert_int_equal(network_build(&net, bad[i][0], bad[i][1], bad[i][2], bad[i][3]), PARRY_INVALID);
        assert_non_null(strstr(parry_ctx_error(net.ctx), "simplecnn takes"));
        network_free(&net);
    }
    network net = network_make();
    const pr_arch *arch;
    assert_int_equal(pr_arch_find(net.ctx, "simplecn", &arch), PARRY_NOT_FOUND);
    assert_non_null(strstr(parry_ctx_error(net.ctx), "did you mean 'simplecnn'"));
    network_free(&net);
}

static void first_weights_are_keras_defaults(void **state)
{
    (void)state;
    network net = network_make();
    assert_int_equal(network_build(&net, 1, 28, 28, 10), PARRY_OK);
    const uint64_t before = net.weights->version;
    pr_initialise(net.graph, net.weights, 7);
    assert_true(net.weights->version > before);

    static const struct {
        const char *name;
        int fans;
    } kernels[] = {{"conv1.weight", 9 * (1 + 32)},
                   {"conv2.weight", 9 * (32 + 64)},
                   {"dense1.weight", 3136 + 128},
                   {"logits.weight", 128 + 10}};
    for (size_t i = 0; i < PR_COUNT(kernels); i++) {
        const pr_weight *kernel = weight_of(&net, kernels[i].name);
        const double limit = sqrt(6.0 / kernels[i].fans);
        double sum = 0, squares = 0;
        for (int64_t j = 0; j < kernel->count; j++) {
            assert_true(fabs(kernel->data[j]) <= limit * (1 + 1e-6));
            sum += kernel->data[j];
            squares += (double)kernel->data[j] * kernel->data[j];
        }
        /* Mean 0 and variance limit^2 / 3, to five standard errors. */
        const double n = (double)kernel->count;
        assert_true(fabs(sum / n) < 5 * limit / sqrt(3 * n));
        assert_true(fabs(squares / n / (limit * limit) - 1.0 / 3) < 5 * sqrt(4.0 / 45 / n));
    }
    for (size_t i = 0; i < net.weights->count; i++) {
        const pr_weight *weight = &net.weights->items[i];
        const char *part = strrchr(weight->name, '.') + 1;
        if (weight->role == PR_WEIGHT_KERNEL)
            continue;
        const float expected = strcmp(part, "scale") == 0 || strcmp(part, "var") == 0 ? 1 : 0;
        for (int64_t j = 0; j < weight->count; j++)
            assert_true(weight->data[j] == expected);
    }
    network_free(&net);
}

static void first_weights_depend_on_the_seed_alone(void **state)
{
    (void)state;
    network a = network_make(), b = network_make();
    assert_int_equal(network_build(&a, 3, 16, 16, 10), PARRY_OK);
    assert_int_equal(network_build(&b, 3, 16, 16, 10), PARRY_OK);
    pr_initialise(a.graph, a.weights, 1);
    pr_initialise(b.graph, b.weights, 2);
    const pr_weight *of_a = weight_of(&a, "conv2.weight"), *of_b = weight_of(&b, "conv2.weight");
    assert_memory_not_equal(of_a->data, of_b->data, (size_t)of_a->count * sizeof(float));
    pr_initialise(b.graph, b.weights, 1);
    for (size_t i = 0; i < a.weights->count; i++)
        assert_memory_equal(a.weights->items[i].data, b.weights->items[i].data,
                            (size_t)a.weights->items[i].count * sizeof(float));
    network_free(&a);
    network_free(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(simplecnn_has_the_tutorials_parameters),
        cmocka_unit_test(simplecnn_fits_any_size),
        cmocka_unit_test(even_sizes_are_padded_after_odd_ones_on_both_sides),
        cmocka_unit_test(senseless_sizes_and_names_are_refused),
        cmocka_unit_test(first_weights_are_keras_defaults),
        cmocka_unit_test(first_weights_depend_on_the_seed_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
