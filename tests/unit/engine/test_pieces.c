/* Plans for one image, whose heavy steps threads share: the same bits as without, for any number of threads, on
 * convolutions of every kind that photographs' networks have. */
#include <math.h>
#include <string.h>

#include "zoo.h"
#include "../support/context.h"

enum { IMAGES = 4, CLASSES = 8, THREADS = 4 };

/* A convolution: the image, what comes out, kernel, stride, dilation, groups, pads (top, left, bottom, right). */
typedef struct shape {
    const char *name;
    int64_t in, h, w, out;
    int kernel[2], stride, dilation, group, pad[4];
} shape;

static const shape shapes[] = {
    {"ResNet-50, first", 3, 224, 224, 64, {7, 7}, 2, 1, 1, {3, 3, 3, 3}},
    {"ResNet-50, reduce", 256, 56, 56, 64, {1, 1}, 1, 1, 1, {0}},
    {"ResNet-50, 3 x 3", 128, 28, 28, 128, {3, 3}, 1, 1, 1, {1, 1, 1, 1}},
    {"ResNet-50, 3 x 3 stride 2", 256, 28, 28, 256, {3, 3}, 2, 1, 1, {1, 1, 1, 1}},
    {"ResNet-50, shortcut", 256, 56, 56, 512, {1, 1}, 2, 1, 1, {0}},
    {"ResNet-50, wide", 1024, 14, 14, 256, {1, 1}, 1, 1, 1, {0}},
    {"ResNet-50, last", 512, 7, 7, 512, {3, 3}, 1, 1, 1, {1, 1, 1, 1}},
    {"ResNeXt-50, grouped", 256, 28, 28, 256, {3, 3}, 1, 1, 32, {1, 1, 1, 1}},
    {"MobileNetV2, expand", 24, 56, 56, 144, {1, 1}, 1, 1, 1, {0}},
    {"MobileNetV2, depthwise", 96, 112, 112, 96, {3, 3}, 2, 1, 96, {1, 1, 1, 1}},
    {"SqueezeNet, first", 3, 224, 224, 64, {3, 3}, 2, 1, 1, {0}},
    {"SqueezeNet, expand", 48, 27, 27, 192, {3, 3}, 1, 1, 1, {1, 1, 1, 1}},
    {"Inception-V3, 1 x 7", 160, 17, 17, 192, {1, 7}, 1, 1, 1, {0, 3, 0, 3}},
    {"Inception-V3, 7 x 1", 160, 17, 17, 192, {7, 1}, 1, 1, 1, {3, 0, 3, 0}},
    {"Inception-V3, 3 x 3 stride 2", 288, 35, 35, 384, {3, 3}, 2, 1, 1, {0}},
    {"TensorFlow's pads", 32, 56, 56, 64, {3, 3}, 2, 1, 1, {0, 0, 1, 1}},
    {"odd channels", 33, 41, 37, 65, {3, 3}, 1, 1, 1, {1, 1, 1, 1}},
    {"dilated", 64, 29, 29, 64, {3, 3}, 1, 2, 1, {2, 2, 2, 2}},
    {"AlexNet, first", 3, 224, 224, 64, {11, 11}, 4, 1, 1, {2, 2, 2, 2}},
    {"kernel smaller than stride", 64, 50, 50, 64, {2, 2}, 3, 1, 1, {0}},
    {"more pad than kernel", 64, 30, 30, 64, {2, 2}, 2, 1, 1, {3, 3, 3, 3}},
};

/* The convolution, ReLU, what shows its bits in the gradient (a square), a sum of two with ReLU, a function, and
 * logits.
 */
static zoo network(const shape *s)
{
    zoo z = {.ctx = ctx, .rng = pr_rng_init(3, PR_STREAM_TEST, 5)};
    OK(pr_graph_create(ctx, &z.graph));
    OK(pr_weights_create(ctx, &z.weights));
    OK(pr_graph_input(ctx, z.graph, "image", (pr_dims){4, {PR_BATCH, s->in, s->h, s->w}}, &z.at));
    z.graph->input = z.at;
    pr_attrs attrs = {.conv = {.group = s->group,
                               .stride = {s->stride, s->stride},
                               .dilation = {s->dilation, s->dilation},
                               .kernel = {s->kernel[0], s->kernel[1]}}};
    memcpy(attrs.conv.pad, s->pad, sizeof s->pad);
    const int64_t in = s->in / s->group;
    const float range = 3.0f / sqrtf((float)(in * s->kernel[0] * s->kernel[1]));
    const pr_value w[] = {
        zoo_weight(&z, PR_WEIGHT_KERNEL, 4, (int64_t[]){s->out, in, s->kernel[0], s->kernel[1]}, -range, range),
        zoo_weight(&z, PR_WEIGHT_VECTOR, 1, &s->out, -0.2f, 0.2f)};
    zoo_node(&z, PR_OP_CONV, &attrs, w, 2);
    zoo_op(&z, PR_OP_RELU);
    const pr_value relu = z.at;
    zoo_node(&z, PR_OP_MUL, NULL, &relu, 1);
    zoo_node(&z, PR_OP_ADD, NULL, &relu, 1);
    zoo_op(&z, PR_OP_RELU);
    zoo_op(&z, PR_OP_SIGMOID);
    zoo_op(&z, PR_OP_GLOBAL_AVERAGE_POOL);
    zoo_flatten(&z);
    zoo_gemm(&z, CLASSES);
    z.graph->logits = z.at;
    return z;
}

typedef struct results {
    float logits[IMAGES * CLASSES], *dx;
} results;

/* Images one micro-batch after the other, on a context's threads; *text: the plan's. */
static void run(parry_ctx *threads, const zoo *z, int micro_batch, const float *x, results *out, char **text)
{
    static const float dlogits[IMAGES * CLASSES] = {1, -1, 0.5f, 2, 0, 1, -3, 0.25f, 1, 1, 1, -2, 3, 0.5f, 0, -1,
                                                    2, 0,  -1,   1, 1, 2, 0,  -0.5f, 1, 0, 2, 1,  1, -1,   1, 4};
    const int64_t row = pr_dims_row(z->graph->values[z->graph->input].dims);
    pr_plan *plan;
    pr_workspace *workspace;
    OK_IN(threads, pr_plan_create(threads, z->graph, z->weights, PR_INPUT_GRADIENT,
                                  &(pr_plan_options){.micro_batch = micro_batch}, &plan));
    OK_IN(threads, pr_workspace_create(threads, plan, &workspace));
    for (int i = 0; i < IMAGES; i += micro_batch) {
        OK_IN(threads, pr_plan_forward(threads, plan, workspace, x + i * row, micro_batch, out->logits + i * CLASSES));
        assert_false(pr_workspace_doubtful(workspace));
        OK_IN(threads,
              pr_plan_backward(threads, plan, workspace, dlogits + i * CLASSES, micro_batch, out->dx + i * row));
    }
    OK_IN(threads, pr_plan_text(threads, plan, text));
    pr_workspace_free(workspace);
    pr_plan_free(plan);
}

static parry_ctx *context_of(int threads)
{
    parry_ctx *out;
    assert_int_equal(
        parry_ctx_create(&(parry_ctx_options){.size = sizeof(parry_ctx_options), .threads = threads}, &out), PARRY_OK);
    return out;
}

static int count(const char *text, const char *word)
{
    int found = 0;
    for (const char *at = text; (at = strstr(at, word)); at++)
        found++;
    return found;
}

static void test_bits(void **state)
{
    (void)state;
    int cut = 0;
    parry_ctx *threads[THREADS];
    for (int t = 0; t < THREADS; t++)
        threads[t] = context_of(t + 1);
    for (size_t c = 0; c < PR_COUNT(shapes); c++) {
        const int64_t floats = IMAGES * shapes[c].in * shapes[c].h * shapes[c].w;
        results whole, pieces;
        float *x;
        char *text;
        zoo z = network(&shapes[c]);
        OK(pr_alloc(ctx, floats, &x));
        OK(pr_alloc(ctx, floats, &whole.dx));
        OK(pr_alloc(ctx, floats, &pieces.dx));
        zoo_fill(&z.rng, x, floats, 0, 1);
        run(ctx, &z, IMAGES, x, &whole, &text);
        assert_int_equal(count(text, "pieces"), 0);
        parry_string_free(text);
        for (int t = 0; t < THREADS; t++) {
            memset(pieces.dx, 0, (size_t)floats * sizeof *pieces.dx);
            run(threads[t], &z, 1, x, &pieces, &text);
            cut += t == 0 ? count(text, "pieces") : 0;
            parry_string_free(text);
            if (memcmp(whole.logits, pieces.logits, sizeof whole.logits) != 0 ||
                memcmp(whole.dx, pieces.dx, (size_t)floats * sizeof *x) != 0)
                fail_msg("%s: %d threads, other bits", shapes[c].name, t + 1);
        }
        pr_free(x);
        pr_free(whole.dx);
        pr_free(pieces.dx);
        zoo_close(&z);
    }
    assert_true(cut > 2 * (int)PR_COUNT(shapes)); /* of five to seven steps each */
    for (int t = 0; t < THREADS; t++)
        parry_ctx_free(threads[t]);
}

/* Infinity less infinity in one piece, whichever thread computes it, is noticed, and forgotten by the next pass. */
static void test_doubt(void **state)
{
    (void)state;
    const shape *s = &shapes[2];
    const int64_t row = s->in * s->h * s->w;
    parry_ctx *threads = context_of(THREADS);
    pr_plan *plan;
    pr_workspace *workspace;
    float *x, logits[CLASSES];
    zoo z = network(s);
    OK(pr_alloc(ctx, row, &x));
    OK(pr_plan_create(ctx, z.graph, z.weights, PR_INFERENCE, &(pr_plan_options){.micro_batch = 1}, &plan));
    OK(pr_workspace_create(ctx, plan, &workspace));
    for (int pass = 0; pass < 40; pass++) {
        const int64_t pixel = pass * s->w * 7 % (s->h * s->w);
        x[pixel] = x[pixel + s->h * s->w] = pass % 2 ? INFINITY : 1;
        OK_IN(threads, pr_plan_forward(threads, plan, workspace, x, 1, logits));
        assert_int_equal(pr_workspace_doubtful(workspace), pass % 2);
        x[pixel] = x[pixel + s->h * s->w] = 0;
    }
    pr_workspace_free(workspace);
    pr_plan_free(plan);
    pr_free(x);
    zoo_close(&z);
    parry_ctx_free(threads);
}

/* Every allocation of a plan in pieces and its workspace fails in turn. */
static void test_memory(void **state)
{
    (void)state;
    static const size_t cases[] = {0, 8};
    for (size_t c = 0; c < PR_COUNT(cases); c++) {
        zoo z = network(&shapes[cases[c]]);
        zoo_fail_each_allocation(ctx, &z, &(pr_plan_options){.micro_batch = 1});
        zoo_close(&z);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bits),
        cmocka_unit_test(test_doubt),
        cmocka_unit_test(test_memory),
    };
    return cmocka_run_group_tests(tests, set_up_context, tear_down_context);
}
