/* A small task that a network learns in seconds and loses under attack until it is hardened. */
#ifndef PR_TESTS_TRAIN_SUPPORT_H
#define PR_TESTS_TRAIN_SUPPORT_H

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "../support/check.h"
#include "base/file.h"
#include "base/rng.h"
#include "train/train.h"

enum { SIDE = 8, CLASSES = 3 };

/* A caller that interrupts after a number of polls. */
typedef struct caller {
    atomic_long polls_left; /* 0: never interrupts */
    atomic_int interrupted;
} caller;

static int caller_cancels(void *user)
{
    caller *c = user;
    if (atomic_load(&c->polls_left) > 0 && atomic_fetch_sub(&c->polls_left, 1) == 1)
        atomic_store(&c->interrupted, 1);
    return atomic_load(&c->interrupted);
}

static inline void test_log(void *user, parry_log_level level, const char *message)
{
    (void)user;
    (void)level;
    if (getenv("PARRY_TEST_LOG"))
        fprintf(stderr, "  %s\n", message);
}

static inline parry_ctx *make_ctx(uint64_t seed, int threads, caller *c)
{
    parry_ctx *ctx;
    parry_ctx_options options = {.size = sizeof options, .seed = seed, .threads = threads, .log = test_log};
    if (c) {
        options.cancelled = caller_cancels;
        options.user = c;
    }
    assert_int_equal(parry_ctx_create(&options, &ctx), PARRY_OK);
    return ctx;
}

/* In the upper half class k has its bright third of the columns, under heavy noise, which no perturbation of 0.1 hides.
 * In the lower half faint pixels tell the classes apart almost without noise: a standard network leans on those, and a
 * perturbation of 0.1 turns them into those of another class. */
static inline parry_dataset *make_data(parry_ctx *ctx, int64_t n, uint64_t seed)
{
    float *images = calloc((size_t)n, SIDE * SIDE * sizeof *images);
    int32_t *labels = calloc((size_t)n, sizeof *labels);
    parry_dataset *data;
    for (int64_t i = 0; i < n; i++) {
        pr_rng rng = pr_rng_init(seed, PR_STREAM_TEST, (uint64_t)i);
        int label = (int)(i % CLASSES);
        for (int p = 0; p < SIDE * SIDE; p++) {
            bool upper = p < SIDE * SIDE / 2, bright = p % SIDE / 3 == label;
            float noise = pr_rng_uniform(&rng, -1, 1), faint = p % CLASSES == label ? 0.09f : -0.09f;
            float value = upper ? 0.3f + (bright ? 0.4f : 0.0f) + 0.3f * noise : 0.5f + faint + 0.03f * noise;
            images[i * SIDE * SIDE + p] = value < 0 ? 0 : value > 1 ? 1 : value;
        }
        labels[i] = label;
    }
    OK_IN(ctx, parry_dataset_create(ctx, images, labels, n, 1, SIDE, SIDE, CLASSES, &data));
    free(images);
    free(labels);
    return data;
}

static inline parry_model *make_model(parry_ctx *ctx)
{
    parry_model *model;
    OK_IN(ctx, parry_model_build(ctx, "simplecnn", 1, SIDE, SIDE, CLASSES, &model));
    return model;
}

static inline parry_train_settings make_settings(int64_t epochs, int64_t batch, double lr)
{
    return (parry_train_settings){.epochs = epochs, .batch = batch, .lr = lr, .momentum = 0.9};
}

static inline pr_weights *weights_of(parry_ctx *ctx, parry_model *model)
{
    const pr_graph *graph;
    pr_weights *weights;
    OK_IN(ctx, pr_model_network(ctx, model, &graph, &weights));
    return weights;
}

/* Skips where there is no bf16. */
static inline void need_bf16(void)
{
    parry_ctx *ctx = make_ctx(1, 1, NULL);
    const bool there = parry_precision_check(ctx, PARRY_BF16) == PARRY_OK;
    if (!there)
        print_message("%s\n", parry_ctx_error(ctx));
    parry_ctx_free(ctx);
    if (!there)
        skip();
}

/* All of a model's weights and its history, as a digest. */
static inline void model_digest(parry_ctx *ctx, parry_model *model, char hex[PR_SHA256_HEX])
{
    const pr_weights *weights = weights_of(ctx, model);
    const char *history = parry_model_describe(model)->history;
    pr_sha256_state *state;
    OK_IN(ctx, pr_sha256_begin(ctx, &state));
    for (size_t i = 0; i < weights->count; i++)
        pr_sha256_add(state, weights->items[i].data, (size_t)weights->items[i].count * sizeof(float));
    if (history)
        pr_sha256_add(state, history, strlen(history));
    pr_sha256_end(state, hex);
}

static inline char *temporary_path(const char *name)
{
    static char path[256];
    const char *folder = getenv("TMPDIR");
    snprintf(path, sizeof path, "%s/parry-%s-%ld", folder ? folder : "/tmp", name, (long)getpid());
    unlink(path);
    return path;
}

/* Field `key` of epoch `epoch` of the last stage in the model's history. */
static inline double curve_value(parry_ctx *ctx, const parry_model *model, size_t epoch, const char *key)
{
    json_t *history;
    OK_IN(ctx, pr_json_parse(ctx, "history", parry_model_describe(model)->history, &history));
    const json_t *stages = json_object_get(history, "stages");
    const json_t *stage = json_array_get(stages, json_array_size(stages) - 1);
    double value = json_number_value(json_object_get(json_array_get(json_object_get(stage, "curve"), epoch), key));
    json_decref(history);
    return value;
}

#endif
