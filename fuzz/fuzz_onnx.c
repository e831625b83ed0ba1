/* libFuzzer target: the ONNX importer over arbitrary bytes. Run it with fuzz/corpus/onnx and tests/golden/onnx as
 * seeds. */
#include <stdlib.h>

#include "onnx/onnx.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    parry_ctx *ctx;
    pr_onnx_model model;
    if (parry_ctx_create(NULL, &ctx) != PARRY_OK)
        abort();
    if (pr_onnx_decode(ctx, "fuzz", data, size, &model) == PARRY_OK &&
        pr_graph_check(ctx, model.graph, model.weights) != PARRY_OK)
        abort();
    pr_onnx_clear(&model);
    parry_ctx_free(ctx);
    return 0;
}
