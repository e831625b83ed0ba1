/* What the tests of ONNX files share: running a network with the oracle, and the small golden files. */
#ifndef TEST_ONNX_FILES_H
#define TEST_ONNX_FILES_H

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "../support/check.h"
#include "base/file.h"
#include "engine/engine.h"
#include "nn/nn.h"
#include "onnx/onnx.h"

enum { GOLDEN_FILES = 137, PATH_SIZE = 4096 };

static inline int64_t input_row(const pr_onnx_model *model)
{
    return pr_dims_row(model->graph->values[model->graph->input].dims);
}

static inline int64_t class_count(const pr_onnx_model *model)
{
    return pr_dims_row(model->graph->values[model->graph->logits].dims);
}

/* Applies the network's tail to n rows of logits; *largest is at least 1 and the largest logit. */
static inline void apply_tail(const pr_onnx_model *model, int64_t n, float *y, float *largest)
{
    const int64_t k = class_count(model);
    *largest = 1;
    for (int64_t i = 0; i < n * k; i++)
        *largest = fmaxf(*largest, fabsf(y[i]));
    for (int64_t r = 0; r < n && model->tail != PR_OP_IDENTITY; r++) {
        double sum = 0, top = y[r * k];
        for (int64_t i = 0; i < k; i++)
            top = fmax(top, y[r * k + i]);
        for (int64_t i = 0; i < k; i++)
            sum += exp(y[r * k + i] - top);
        for (int64_t i = 0; i < k; i++) {
            const double log_p = y[r * k + i] - top - log(sum);
            y[r * k + i] = (float)(model->tail == PR_OP_SOFTMAX ? exp(log_p) : log_p);
        }
    }
}

/* The network's output for n images, through the tail where it has one. The caller frees it. */
static inline float *run_oracle(parry_ctx *ctx, const pr_onnx_model *model, const float *x, int64_t n, float *largest)
{
    float *y = calloc((size_t)(n * class_count(model)), sizeof *y);
    const pr_ref_feed feed = {model->graph->input, x};
    assert_int_equal(pr_ref_run(ctx, model->graph, model->weights, n, &feed, 1, &model->graph->logits, 1, &y, 0, 0),
                     PARRY_OK);
    apply_tail(model, n, y, largest);
    return y;
}

/* The same through a plan: for large networks. */
static inline float *run_plan(parry_ctx *ctx, const pr_onnx_model *model, const float *x, int64_t n, float *largest)
{
    float *y = calloc((size_t)(n * class_count(model)), sizeof *y);
    const pr_plan_options options = {.micro_batch = 1};
    pr_plan *plan;
    pr_workspace *workspace;
    assert_int_equal(pr_plan_create(ctx, model->graph, model->weights, PR_INFERENCE, &options, &plan), PARRY_OK);
    assert_int_equal(pr_workspace_create(ctx, plan, &workspace), PARRY_OK);
    for (int64_t i = 0; i < n; i++)
        assert_int_equal(pr_plan_forward(ctx, plan, workspace, x + i * input_row(model), 1, y + i * class_count(model)),
                         PARRY_OK);
    pr_workspace_free(workspace);
    pr_plan_free(plan);
    apply_tail(model, n, y, largest);
    return y;
}

/* Numbers of a metadata entry of the file; the caller frees them. */
static inline float *meta_numbers(const pr_onnx_model *model, const char *key, int64_t *count)
{
    const char *text = pr_onnx_meta_get(model, key);
    assert_non_null(text);
    float *numbers = malloc((strlen(text) + 1) * sizeof *numbers);
    for (*count = 0;; ++*count) {
        char *end;
        numbers[*count] = strtof(text, &end);
        if (end == text)
            return numbers;
        text = end;
    }
}

/* Calls test for each good file of tests/golden/onnx. */
static inline void
for_each_golden(parry_ctx *ctx, void (*test)(parry_ctx *ctx, const char *name, const pr_onnx_model *model, void *arg),
                void *arg)
{
    char folder[PATH_SIZE], path[PATH_SIZE + 300];
    int files = 0;
    snprintf(folder, sizeof folder, "%s/onnx", getenv("PARRY_TEST_DATA"));
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        if (!strstr(entry->d_name, ".onnx") || strncmp(entry->d_name, "bad_", 4) == 0)
            continue;
        pr_onnx_model model;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        if (pr_onnx_read(ctx, path, &model) != PARRY_OK)
            fail_msg("%s", parry_ctx_error(ctx));
        test(ctx, entry->d_name, &model, arg);
        pr_onnx_clear(&model);
        files++;
    }
    closedir(dir);
    assert_int_equal(files, GOLDEN_FILES);
}

/* ---- a reader of just enough of TensorProto --------------------------------------------------------------------- */

static inline uint64_t varint(const uint8_t **at)
{
    uint64_t value = 0;
    for (int shift = 0;; shift += 7) {
        const uint8_t byte = *(*at)++;
        value |= (uint64_t)(byte & 127) << shift;
        if (byte < 128)
            return value;
    }
}

typedef struct floats {
    uint8_t *file;
    const float *data;
    int64_t count, batch;
} floats;

static inline floats read_floats(parry_ctx *ctx, const char *path)
{
    floats out = {.batch = 0};
    size_t size;
    assert_int_equal(pr_file_read(ctx, path, 1 << 26, &out.file, &size), PARRY_OK);
    for (const uint8_t *at = out.file, *end = at + size; at < end;) {
        const uint64_t key = varint(&at), field = key >> 3;
        if ((key & 7) == 0) {
            const uint64_t value = varint(&at);
            if (field == 1 && !out.batch)
                out.batch = (int64_t)value;
            continue;
        }
        assert_int_equal(key & 7, 2);
        const uint64_t length = varint(&at);
        if (field == 1 && !out.batch) /* packed sizes */
            out.batch = at[0];
        if (field == 9 || field == 4) { /* raw bytes or packed floats: moved to where floats may lie */
            memmove(out.file, at, length);
            out.data = (const float *)(const void *)out.file;
            out.count = (int64_t)(length / sizeof(float));
            return out;
        }
        at += length;
    }
    fail_msg("%s holds no floats", path);
    return out;
}

/* A file of a model below $PARRY_DATA. */
static inline void *test_path(char *out, size_t size, const char *model, const char *rest)
{
    snprintf(out, size, "%s/%s%s", getenv("PARRY_DATA"), model, rest);
    return out;
}

/* Calls test for each network of tests/golden/third_party.txt, where $PARRY_DATA has them; false: it is not set. */
static inline bool for_each_third_party(parry_ctx *ctx,
                                        void (*test)(parry_ctx *ctx, const char *name, const pr_onnx_model *model,
                                                     void *arg),
                                        void *arg)
{
    char path[PATH_SIZE], line[1024], name[128];
    int images;
    if (!getenv("PARRY_DATA"))
        return false;
    snprintf(path, sizeof path, "%s/third_party.txt", getenv("PARRY_TEST_DATA"));
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        pr_onnx_model model;
        if ((line[0] != 'm' && line[0] != 'v') || sscanf(line, "%127s %d", name, &images) != 2)
            continue;
        if (pr_onnx_read(ctx, test_path(path, sizeof path, name, ".onnx"), &model) != PARRY_OK)
            fail_msg("%s", parry_ctx_error(ctx));
        test(ctx, strrchr(name, '/') + 1, &model, arg);
        pr_onnx_clear(&model);
    }
    fclose(file);
    return true;
}

#endif
