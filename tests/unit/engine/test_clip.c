/* Clip behind a convolution: which gradients pass at the bounds, in f32, where the convolution's kernel clips, and in
 * bf16, against plain C. Convolutions are the identity and what flows back are small whole numbers, so that the numbers
 * at the clip, and the gradients, are exact in both. */
#include <math.h>
#include <string.h>

#include "zoo.h"
#include "../support/context.h"

enum { CHANNELS = 32, SIDE = 4, CLASSES = 2, PIXELS = CHANNELS * SIDE * SIDE };

static void identity(zoo *z)
{
    zoo_conv(z, CHANNELS, 1, 1, 1, 1, zoo_none);
    for (int i = 0; i < CHANNELS * CHANNELS; i++)
        z->weights->items[z->weights->count - 2].data[i] = i / CHANNELS == i % CHANNELS;
    memset(z->weights->items[z->weights->count - 1].data, 0, CHANNELS * sizeof(float));
}

/* A convolution that reads the image, one that does not and may be in bf16, the clip; `twice`: what it clips is read by
 * another, too. */
static zoo network(float low, float high, bool twice)
{
    zoo z = {.ctx = ctx};
    OK(pr_graph_create(ctx, &z.graph));
    OK(pr_weights_create(ctx, &z.weights));
    OK(pr_graph_input(ctx, z.graph, "image", (pr_dims){4, {PR_BATCH, CHANNELS, SIDE, SIDE}}, &z.at));
    z.graph->input = z.at;
    identity(&z);
    identity(&z);
    const pr_value before = z.at;
    zoo_clip(&z, low, high);
    if (twice)
        zoo_node(&z, PR_OP_ADD, NULL, &before, 1);
    identity(&z);
    zoo_flatten(&z);
    zoo_gemm(&z, CLASSES);
    for (int i = 0; i < CLASSES * PIXELS; i++)
        z.weights->items[z.weights->count - 2].data[i] = (float)(i % 5 - 2);
    z.graph->logits = z.at;
    return z;
}

static void run(const zoo *z, const pr_plan_options *options, const float *x, float *logits, float *dx, char **text)
{
    static const float dlogits[CLASSES] = {1, -1};
    pr_plan *plan;
    pr_workspace *workspace;
    OK(pr_plan_create(ctx, z->graph, z->weights, PR_INPUT_GRADIENT, options, &plan));
    OK(pr_workspace_create(ctx, plan, &workspace));
    OK(pr_plan_forward(ctx, plan, workspace, x, 1, logits));
    OK(pr_plan_backward(ctx, plan, workspace, dlogits, 1, dx));
    OK(pr_plan_text(ctx, plan, text));
    pr_workspace_free(workspace);
    pr_plan_free(plan);
}

/* The number in bf16, or with `neighbour` the next one away from or towards 0. */
static float in_bf16(float x, int neighbour)
{
    uint32_t bits;
    memcpy(&bits, &x, sizeof bits);
    bits = (bits & 0xffff0000) + (uint32_t)neighbour * 0x10000;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* The bounds, their neighbours, zeros and what is far on either side. */
static void fill(float low, float high, bool bf16, float *x)
{
    const float base[] = {low, high, 1, -1, 7, -7};
    float special[PR_COUNT(base) * 3 + 4] = {0.0f, -0.0f, 0x1p-126f, -0x1p-126f};
    for (size_t i = 0; i < PR_COUNT(base); i++) {
        const float at = isfinite(base[i]) ? base[i] : 3;
        float *to = special + 4 + 3 * i;
        to[0] = bf16 ? in_bf16(at, 0) : at;
        to[1] = bf16 ? in_bf16(at == 0 ? 1 : at, 1) : nextafterf(at == 0 ? 1 : at, INFINITY);
        to[2] = bf16 ? in_bf16(at == 0 ? 1 : at, -1) : nextafterf(at == 0 ? 1 : at, -INFINITY);
    }
    for (int i = 0; i < PIXELS; i++)
        x[i] = special[(size_t)i % PR_COUNT(special)];
}

static void compare(float low, float high, bool twice, parry_precision precision)
{
    static float x[PIXELS], dx[PIXELS], expected[PIXELS];
    float logits[CLASSES], expected_logits[CLASSES];
    char *text, *plain;
    zoo z = network(low, high, twice);
    fill(low, high, precision == PARRY_BF16, x);
    run(&z, &(pr_plan_options){.backend = PR_BACKEND_REFERENCE}, x, expected_logits, expected, &plain);
    run(&z, &(pr_plan_options){.precision = precision}, x, logits, dx, &text);
    assert_int_equal(strstr(text, "Conv + Clip") != NULL, precision == PARRY_F32 && !twice);
    int passed = 0;
    for (int i = 0; i < PIXELS; i++) {
        if (dx[i] != expected[i])
            fail_msg("clip to %g .. %g of %.9g: the gradient is %g, not %g", (double)low, (double)high, (double)x[i],
                     (double)dx[i], (double)expected[i]);
        passed += dx[i] != 0 && (x[i] == low || x[i] == high);
    }
    assert_true(passed > 0 || in_bf16(low, 0) != low);
    const float slack = precision == PARRY_BF16 ? 0x1p-8f : 1e-6f;
    for (int k = 0; k < CLASSES; k++)
        assert_true(fabsf(logits[k] - expected_logits[k]) <= slack * 7 * 2 * PIXELS);
    parry_string_free(text);
    parry_string_free(plain);
    zoo_close(&z);
}

static const float bounds[][2] = {{0, 6}, {-1, 1}, {0.1f, INFINITY}, {-INFINITY, 0}, {0.3f, 0.30000004f}};

static void test_f32(void **state)
{
    (void)state;
    for (size_t b = 0; b < PR_COUNT(bounds); b++)
        for (int twice = 0; twice < 2; twice++)
            compare(bounds[b][0], bounds[b][1], twice, PARRY_F32);
}

static void test_bf16(void **state)
{
    (void)state;
    if (parry_precision_check(ctx, PARRY_BF16) != PARRY_OK)
        skip();
    for (size_t b = 0; b < PR_COUNT(bounds); b++)
        for (int twice = 0; twice < 2; twice++)
            compare(bounds[b][0], bounds[b][1], twice, PARRY_BF16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_f32), cmocka_unit_test(test_bf16)};
    return cmocka_run_group_tests(tests, set_up_context, tear_down_context);
}
