/* Where the time of a plan goes, step by step, on one thread:
 *
 *     bench_profile NETWORK gradient|inference [micro-batch] [runs] [side] [classes] [f32|bf16]
 *
 * NETWORK is an architecture (for 3 x side x side images, 224 unless said otherwise) or an ONNX file; a micro-batch of
 * 0 is the engine's choice. */
#include <string.h>

#include "common.h"
#include "base/rng.h"
#include "engine/engine.h"
#include "model/model.h"

static void profile(const char *name, int side, int classes, pr_purpose purpose, const pr_plan_options *options,
                    int runs)
{
    parry_model *model;
    const pr_graph *graph;
    pr_weights *weights;
    pr_plan *plan;
    pr_workspace *workspace;
    float *x;
    char *text;
    if (strstr(name, ".onnx"))
        check(parry_model_load(ctx, name, NULL, &model));
    else
        check(parry_model_build(ctx, name, 3, side, side, classes, &model));
    check(pr_model_network(ctx, model, &graph, &weights));
    check(pr_plan_create(ctx, graph, weights, purpose, options, &plan));
    check(pr_workspace_create(ctx, plan, &workspace));
    const int64_t floats = pr_plan_micro_batch(plan) * pr_model_row(model);
    check(pr_alloc(ctx, floats, &x));
    pr_rng rng = pr_rng_init(1, PR_STREAM_TEST, 0);
    for (int64_t i = 0; i < floats; i++)
        x[i] = pr_rng_unit(&rng);
    check(pr_plan_profile(ctx, plan, workspace, x, 1, &text)); /* warms up */
    parry_string_free(text);
    check(pr_plan_profile(ctx, plan, workspace, x, runs, &text));
    fputs(text, stdout);
    parry_string_free(text);
    pr_free(x);
    pr_workspace_free(workspace);
    pr_plan_free(plan);
    parry_model_free(model);
}

int main(int argc, char **argv)
{
    parry_ctx_options context = {.size = sizeof context, .seed = 1, .threads = 1};
    pr_plan_options options = {.micro_batch = argc > 3 ? atoi(argv[3]) : 0,
                               .precision = argc > 7 && strcmp(argv[7], "bf16") == 0 ? PARRY_BF16 : PARRY_F32};
    if (argc < 3) {
        fprintf(stderr,
                "usage: bench_profile NETWORK gradient|inference [micro-batch] [runs] [side] [classes] [f32|bf16]\n");
        return 2;
    }
    if (parry_ctx_create(&context, &ctx) != PARRY_OK)
        return 1;
    profile(argv[1], argc > 5 ? atoi(argv[5]) : 224, argc > 6 ? atoi(argv[6]) : 1000,
            strcmp(argv[2], "inference") == 0 ? PR_INFERENCE : PR_INPUT_GRADIENT, &options,
            argc > 4 ? atoi(argv[4]) : 10);
    parry_ctx_free(ctx);
    return 0;
}
