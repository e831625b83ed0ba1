/* A model file in memory: reading it from disk, its metadata, letting go of it. */
#include <string.h>

#include "base/file.h"
#include "onnx/onnx.h"

/* Protocol buffers end at 2 GiB. */
#define FILE_LIMIT (((size_t)1 << 31) - 1)

parry_status pr_onnx_read(parry_ctx *ctx, const char *path, pr_onnx_model *out)
{
    uint8_t *data;
    size_t size;
    *out = (pr_onnx_model){.tail = PR_OP_IDENTITY};
    TRY(pr_file_read(ctx, path, FILE_LIMIT, &data, &size));
    parry_status status = pr_onnx_decode(ctx, path, path, data, size, NULL, out);
    pr_free(data);
    return status;
}

void pr_onnx_forget_names(pr_onnx_model *model)
{
    for (size_t i = 0; i < model->class_count; i++)
        pr_free(model->class_names[i]);
    pr_free(model->class_names);
    model->class_names = NULL;
    model->class_count = 0;
}

void pr_onnx_clear(pr_onnx_model *model)
{
    pr_graph_free(model->graph);
    pr_weights_free(model->weights);
    pr_free(model->producer);
    for (size_t i = 0; i < model->meta_count; i++) {
        pr_free(model->meta[i].key);
        pr_free(model->meta[i].value);
    }
    pr_free(model->meta);
    pr_onnx_forget_names(model);
    *model = (pr_onnx_model){.tail = PR_OP_IDENTITY};
}

const char *pr_onnx_meta_get(const pr_onnx_model *model, const char *key)
{
    for (size_t i = 0; i < model->meta_count; i++)
        if (strcmp(model->meta[i].key, key) == 0)
            return model->meta[i].value;
    return NULL;
}
