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

static parry_status network_of(network *net, const char *name, int channels, int height, int width, int classes)
{
    const pr_arch *arch;
    assert_int_equal(pr_arch_find(net->ctx, name, &arch), PARRY_OK);
    parry_status status = arch->build(net->ctx, net->graph, net->weights, channels, height, width, classes);
    if (status == PARRY_OK)
        arch->initialise(net->graph, net->weights, 5);
    return status;
}

static parry_status network_build(network *net, int channels, int height, int width, int classes)
{
    return network_of(net, "simplecnn", channels, height, width, classes);
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

/* ---- residual networks ----------------------------------------------------------------------------------------- */

/* Trainable scalars as torchvision counts them for 1000 classes (Inception-V3 without the auxiliary head's 3,326,696);
 * ResNet-20 by hand: stem 432 + 32, stages 13,824 + 192,
 * 50,688 + 384, 202,752 + 768, shortcuts 512 + 64, 2048 + 128, last layer 650. */
static void networks_have_the_papers_parameters(void **state)
{
    (void)state;
    static const struct {
        const char *name, *last, *shortcut;
        int side, classes;
        int64_t parameters;
    } nets[] = {{"resnet18", "layer4.1.bn2.running_var", "layer2.0.downsample.1.running_mean", 224, 1000, 11689512},
                {"resnet34", "layer4.2.bn2.running_var", "layer2.0.downsample.1.running_mean", 224, 1000, 21797672},
                {"resnet50", "layer4.2.bn3.running_var", "layer2.0.downsample.1.running_mean", 224, 1000, 25557032},
                {"resnet20", "layer3.2.bn2.running_var", "layer2.0.downsample.1.running_mean", 32, 10, 272474},
                {"inception_v3", "Mixed_7c.branch_pool.bn.running_var", "Mixed_6b.branch7x7dbl_4.conv.weight", 299, 1000,
                 23834568}};
    for (size_t n = 0; n < PR_COUNT(nets); n++) {
        network net = network_make();
        int64_t trained = 0;
        assert_int_equal(network_of(&net, nets[n].name, 3, nets[n].side, nets[n].side, nets[n].classes), PARRY_OK);
        assert_int_equal(pr_graph_check(net.ctx, net.graph, net.weights), PARRY_OK);
        for (size_t i = 0; i < net.weights->count; i++)
            trained += net.weights->items[i].role == PR_WEIGHT_STATISTIC ? 0 : net.weights->items[i].count;
        assert_int_equal(trained, nets[n].parameters);
        weight_of(&net, nets[n].last);
        weight_of(&net, nets[n].shortcut);
        weight_of(&net, "fc.bias");
        network_free(&net);
    }
}

/* He's normal distribution by the fan of the output, to five standard errors; the last layer uniform by its inputs. */
static void residual_networks_start_as_he_says(void **state)
{
    (void)state;
    network net = network_make();
    assert_int_equal(network_of(&net, "resnet18", 3, 32, 32, 10), PARRY_OK);
    const pr_weight *kernel = weight_of(&net, "layer2.0.conv1.weight"), *last = weight_of(&net, "fc.weight");
    double sum = 0, squares = 0, largest = 0, variance = 2.0 / (128 * 9), n = (double)kernel->count;
    for (int64_t i = 0; i < kernel->count; i++) {
        sum += kernel->data[i];
        squares += (double)kernel->data[i] * kernel->data[i];
    }
    assert_true(fabs(sum / n) < 5 * sqrt(variance / n));
    assert_true(fabs(squares / n / variance - 1) < 5 * sqrt(2 / n));
    for (int64_t i = 0; i < last->count; i++)
        largest = fmax(largest, fabs(last->data[i]));
    assert_true(largest <= 1 / sqrt(512) * (1 + 1e-6) && largest > 0.95 / sqrt(512));
    network_free(&net);
}

/* A few steps on one batch learn it: shortcuts, batch norm and pooling take part in training. */
static void residual_networks_train(void **state)
{
    (void)state;
    enum { BATCH = 4, PIXELS = 3 * 16 * 16, STEPS = 6 };
    static const char *const names[] = {"resnet18", "resnet20"};
    for (size_t n = 0; n < PR_COUNT(names); n++) {
        network net = network_make();
        pr_trainer *trainer;
        float images[BATCH * PIXELS];
        double first = 0, loss = 0, scalars[PR_SCALARS_MAX];
        int64_t correct = 0;
        for (int i = 0; i < BATCH * PIXELS; i++)
            images[i] = (float)((i * 7919 + i / PIXELS * 31) % 101) / 101;
        assert_int_equal(network_of(&net, names[n], 3, 16, 16, 4), PARRY_OK);
        assert_int_equal(pr_trainer_create(net.ctx, net.graph, net.weights, BATCH, &pr_optimiser_at(0)->rule,
                                           PR_BACKEND_AUTO, PARRY_F32, &trainer),
                         PARRY_OK);
        for (int step = 0; step < STEPS; step++) {
            pr_optimiser_at(0)->scalars(1e-3, 0, (uint64_t)step + 1, scalars);
            assert_int_equal(pr_trainer_step(net.ctx, trainer, images, (int32_t[BATCH]){0, 1, 2, 3}, BATCH,
                                             pr_loss_at(0)->rows, NULL, 1, (uint64_t)step, scalars, 0, &loss, &correct),
                             PARRY_OK);
            first = step == 0 ? loss : first;
        }
        assert_true(isfinite(loss) && loss < 0.7 * first);
        pr_trainer_free(trainer);
        network_free(&net);
    }
}

/* An image's logits and gradient are the same bits whatever the plan's micro-batch is and wherever in it the image lies:
 * convolutions choose their kernels and blocks by the whole shape. ResNet-50's plans of 4 and 8 have shards of 2. */
static void bits_do_not_depend_on_the_micro_batch(void **state)
{
    (void)state;
    enum { IMAGES = 8, SIDE = 64, PIXELS = 3 * SIDE * SIDE, CLASSES = 5 };
    static const char *const names[] = {"resnet20", "resnet50"};
    static float images[IMAGES * PIXELS], dx[2][IMAGES * PIXELS], logits[2][IMAGES * CLASSES];
    for (int i = 0; i < IMAGES * PIXELS; i++)
        images[i] = (float)((i * 7919 + i / PIXELS * 31) % 101) / 101;
    for (size_t n = 0; n < PR_COUNT(names); n++) {
        network net = network_make();
        assert_int_equal(network_of(&net, names[n], 3, SIDE, SIDE, CLASSES), PARRY_OK);
        for (int micro = 8; micro >= 1; micro /= 2) {
            const int to = micro < 8;
            pr_plan_options options = {.micro_batch = micro};
            pr_plan *plan;
            pr_workspace *work;
            assert_int_equal(pr_plan_create(net.ctx, net.graph, net.weights, PR_INPUT_GRADIENT, &options, &plan), 0);
            assert_int_equal(pr_plan_reference_steps(plan), 0);
            assert_int_equal(pr_workspace_create(net.ctx, plan, &work), PARRY_OK);
            for (int i = 0; i < IMAGES; i += micro) {
                float *y = logits[to] + i * CLASSES, *d = dx[to] + i * PIXELS;
                assert_int_equal(pr_plan_forward(net.ctx, plan, work, images + i * PIXELS, micro, y), PARRY_OK);
                assert_int_equal(pr_plan_backward(net.ctx, plan, work, y, micro, d), PARRY_OK);
            }
            assert_memory_equal(logits[to], logits[0], sizeof logits[0]);
            assert_memory_equal(dx[to], dx[0], sizeof dx[0]);
            pr_workspace_free(work);
            pr_plan_free(plan);
        }
        network_free(&net);
    }
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
        cmocka_unit_test(networks_have_the_papers_parameters),
        cmocka_unit_test(residual_networks_start_as_he_says),
        cmocka_unit_test(residual_networks_train),
        cmocka_unit_test(bits_do_not_depend_on_the_micro_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
