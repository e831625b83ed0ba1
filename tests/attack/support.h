/* What the tests of attacks share: small models and images, and running an attack on them. */
#ifndef TESTS_ATTACK_SUPPORT_H
#define TESTS_ATTACK_SUPPORT_H

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "../unit/support/check.h"
#include "attack/impl.h"
#include "model/network.h"

static inline parry_ctx *make_ctx(int threads, uint64_t seed)
{
    parry_ctx *ctx;
    parry_ctx_options options = {.size = sizeof options, .seed = seed, .threads = threads};
    assert_int_equal(parry_ctx_create(&options, &ctx), PARRY_OK);
    return ctx;
}

static inline parry_status linear_file(parry_ctx *ctx, int side, int classes, pr_onnx_model *file)
{
    pr_value in[3];
    int32_t w, b;
    const int64_t row = (int64_t)side * side;
    pr_rng rng = pr_rng_init(21, PR_STREAM_TEST, (uint64_t)classes);
    *file = (pr_onnx_model){.tail = PR_OP_IDENTITY};
    TRY(pr_strdup(ctx, "", &file->producer));
    TRY(pr_graph_create(ctx, &file->graph));
    TRY(pr_weights_create(ctx, &file->weights));
    TRY(pr_weights_add(ctx, file->weights, "w", PR_WEIGHT_KERNEL, 2, (int64_t[]){classes, row}, &w));
    TRY(pr_weights_add(ctx, file->weights, "b", PR_WEIGHT_VECTOR, 1, (int64_t[]){classes}, &b));
    for (int64_t i = 0; i < classes * row; i++)
        file->weights->items[w].data[i] = 0.3f * pr_rng_normal(&rng);
    for (int k = 0; k < classes; k++)
        file->weights->items[b].data[k] = 0.5f * pr_rng_normal(&rng);
    TRY(pr_graph_input(ctx, file->graph, "x", pr_dims_make(2, (int64_t[]){PR_BATCH, row}), &in[0]));
    file->graph->input = in[0];
    TRY(pr_graph_weight(ctx, file->graph, file->weights, w, &in[1]));
    TRY(pr_graph_weight(ctx, file->graph, file->weights, b, &in[2]));
    return pr_graph_node(ctx, file->graph, PR_OP_GEMM, "dense", NULL, in, 3, &file->graph->logits);
}

/* logits = W x + b on 1 x side x side images; *w (classes x side * side) and *b (classes) may be NULL. */
static inline parry_model *make_linear(parry_ctx *ctx, int side, int classes, const float **w, const float **b)
{
    pr_onnx_model file;
    pr_network *network;
    parry_dataset_info fit = {.name = "images", .channels = 1, .height = side, .width = side, .classes = classes};
    assert_int_equal(linear_file(ctx, side, classes, &file), PARRY_OK);
    assert_int_equal(pr_network_create(ctx, "linear", NULL, &file, NULL, &fit, &network), PARRY_OK);
    if (w)
        *w = network->file.weights->items[0].data;
    if (b)
        *b = network->file.weights->items[1].data;
    return &network->base;
}

/* Images with many pixels at the ends of the range, as drawn digits have them; three of four labels as the model sees
 * it, so that attacks have something to do. */
static inline parry_dataset *make_images(parry_ctx *ctx, const parry_model *model, int n)
{
    const parry_model_info *info = parry_model_describe(model);
    const int64_t row = pr_model_row(model);
    float *images = malloc((size_t)(n * row) * sizeof *images),
          *logits = malloc((size_t)(n * info->classes) * sizeof *logits);
    int32_t *labels = malloc((size_t)n * sizeof *labels);
    parry_dataset *data;
    for (int i = 0; i < n; i++) {
        pr_rng rng = pr_rng_init(8, PR_STREAM_TEST, (uint64_t)i);
        for (int64_t k = 0; k < row; k++)
            images[i * row + k] = fminf(fmaxf(pr_rng_uniform(&rng, -0.5f, 1.5f), 0), 1);
    }
    assert_int_equal(parry_model_logits(ctx, model, images, n, logits), PARRY_OK);
    for (int i = 0; i < n; i++)
        labels[i] = (pr_argmax(logits + i * info->classes, info->classes) + (i % 4 == 3)) % info->classes;
    assert_int_equal(
        parry_dataset_create(ctx, images, labels, n, info->channels, info->height, info->width, info->classes, &data),
        PARRY_OK);
    free(images);
    free(logits);
    free(labels);
    return data;
}

static inline void release(parry_ctx *ctx, parry_model *model, parry_dataset *data)
{
    parry_dataset_free(data);
    parry_model_free(model);
    parry_ctx_free(ctx);
}

static inline parry_attack_result run_attack(parry_ctx *ctx, const char *spec, parry_threat threat,
                                             const parry_model *model, const parry_dataset *data)
{
    parry_attack *attack;
    parry_attack_result result;
    assert_int_equal(parry_attack_create(ctx, spec, &attack), PARRY_OK);
    if (parry_attack_run(ctx, attack, &threat, model, data, &result) != PARRY_OK)
        fail_msg("%s: %s", spec, parry_ctx_error(ctx));
    parry_attack_free(attack);
    return result;
}

#endif
