/* Networks behind the waist: results do not depend on threads or on the company of an image; gradients are gradients;
 * weights may move. */
#include <math.h>

#include "../support/check.h"
#include "base/rng.h"
#include "model/model.h"
#include "tensor/tensor.h"

enum { SIDE = 8, ROW = SIDE * SIDE, CLASSES = 4, COUNT = 150 };

static float images[COUNT * ROW];
static int32_t labels[COUNT];

static parry_ctx *make_ctx(int threads)
{
    parry_ctx *ctx;
    parry_ctx_options options = {.size = sizeof options, .seed = 5, .threads = threads};
    assert_int_equal(parry_ctx_create(&options, &ctx), PARRY_OK);
    return ctx;
}

static parry_model *make_model(parry_ctx *ctx)
{
    parry_model *model;
    assert_int_equal(parry_model_build(ctx, "simplecnn", 1, SIDE, SIDE, CLASSES, &model), PARRY_OK);
    return model;
}

static int fill(void **state)
{
    (void)state;
    pr_rng rng = pr_rng_init(1, PR_STREAM_TEST, 0);
    for (int i = 0; i < COUNT * ROW; i++)
        images[i] = pr_rng_unit(&rng);
    for (int i = 0; i < COUNT; i++)
        labels[i] = (int32_t)pr_rng_below(&rng, CLASSES);
    return 0;
}

static void test_description(void **state)
{
    (void)state;
    parry_ctx *ctx = make_ctx(1);
    parry_model *model = make_model(ctx);
    const parry_model_info *info = parry_model_describe(model);
    assert_string_equal(info->name, "simplecnn");
    assert_null(info->path);
    assert_null(info->sha256);
    assert_null(info->history);
    assert_false(info->softmax_peeled);
    assert_int_equal(info->classes, CLASSES);
    const int64_t c1 = 32 * 9 + 32, bn = 2 * (32 + 64 + 128), c2 = 64 * 32 * 9 + 64, d1 = 128 * 64 * 4 + 128,
                  d2 = CLASSES * 128 + CLASSES;
    assert_int_equal(info->parameters, c1 + bn + c2 + d1 + d2);
    parry_model_free(model);
    parry_ctx_free(ctx);
}

static void test_threads_and_company_change_nothing(void **state)
{
    (void)state;
    static float logits[3][COUNT * CLASSES], loss[3][COUNT], grad[3][COUNT * ROW];
    for (int threads = 1; threads <= 3; threads++) {
        parry_ctx *ctx = make_ctx(threads);
        parry_model *model = make_model(ctx);
        assert_int_equal(parry_model_logits(ctx, model, images, COUNT, logits[threads - 1]), PARRY_OK);
        assert_int_equal(
            parry_model_input_gradient(ctx, model, "ce", images, labels, COUNT, loss[threads - 1], grad[threads - 1]),
            PARRY_OK);
        for (int i = 0; i < COUNT; i += 37) {
            float one[CLASSES], one_loss, one_grad[ROW];
            assert_int_equal(parry_model_logits(ctx, model, images + i * ROW, 1, one), PARRY_OK);
            assert_int_equal(
                parry_model_input_gradient(ctx, model, "ce", images + i * ROW, labels + i, 1, &one_loss, one_grad),
                PARRY_OK);
            assert_memory_equal(one, logits[threads - 1] + i * CLASSES, sizeof one);
            assert_memory_equal(one_grad, grad[threads - 1] + i * ROW, sizeof one_grad);
            assert_memory_equal(&one_loss, &loss[threads - 1][i], sizeof one_loss);
        }
        parry_model_free(model);
        parry_ctx_free(ctx);
    }
    for (int threads = 2; threads <= 3; threads++) {
        assert_memory_equal(logits[0], logits[threads - 1], sizeof logits[0]);
        assert_memory_equal(loss[0], loss[threads - 1], sizeof loss[0]);
        assert_memory_equal(grad[0], grad[threads - 1], sizeof grad[0]);
    }
}

/* Each image's gradient is that of its own loss: a short step along it changes the loss by its squared length. */
static void test_gradient_predicts_the_loss(void **state)
{
    (void)state;
    parry_ctx *ctx = make_ctx(2);
    parry_model *model = make_model(ctx);
    for (const char *const *name = parry_loss_list(); *name; name++) {
        static float loss[COUNT], grad[COUNT * ROW], up[COUNT * ROW], down[COUNT * ROW], loss_up[COUNT],
            loss_down[COUNT], ignored[COUNT * ROW];
        assert_int_equal(parry_model_input_gradient(ctx, model, *name, images, labels, COUNT, loss, grad), PARRY_OK);
        for (int i = 0; i < COUNT; i++) {
            const float length = (float)sqrt(pr_sum_squares(grad + i * ROW, ROW));
            for (int k = i * ROW; k < (i + 1) * ROW; k++) {
                up[k] = images[k] + 0.01f * grad[k] / length;
                down[k] = images[k] - 0.01f * grad[k] / length;
            }
        }
        assert_int_equal(parry_model_input_gradient(ctx, model, *name, up, labels, COUNT, loss_up, ignored), PARRY_OK);
        assert_int_equal(parry_model_input_gradient(ctx, model, *name, down, labels, COUNT, loss_down, ignored),
                         PARRY_OK);
        int close = 0;
        for (int i = 0; i < COUNT; i++) {
            const double length = sqrt(pr_sum_squares(grad + i * ROW, ROW));
            close += fabs((loss_up[i] - loss_down[i]) / 0.02 - length) < 0.02 * length + 1e-4;
        }
        assert_true(close > COUNT * 9 / 10); /* a kink of the network lies between the two ends for a few */
    }
    parry_model_free(model);
    parry_ctx_free(ctx);
}

static void test_accuracy_counts_right_images(void **state)
{
    (void)state;
    static float logits[COUNT * CLASSES];
    parry_ctx *ctx = make_ctx(2);
    parry_model *model = make_model(ctx);
    parry_dataset *data;
    double accuracy, loss, expected = 0;
    int right = 0;
    assert_int_equal(parry_dataset_create(ctx, images, labels, COUNT, 1, SIDE, SIDE, CLASSES, &data), PARRY_OK);
    assert_int_equal(parry_model_accuracy(ctx, model, data, &accuracy, &loss), PARRY_OK);
    assert_int_equal(parry_model_logits(ctx, model, images, COUNT, logits), PARRY_OK);
    for (int i = 0; i < COUNT; i++) {
        const float *row = logits + i * CLASSES;
        double total = 0;
        right += pr_argmax(row, CLASSES) == labels[i];
        for (int k = 0; k < CLASSES; k++)
            total += exp((double)row[k] - row[labels[i]]);
        expected += log(total) / COUNT;
    }
    assert_true(accuracy == (double)right / COUNT);
    assert_true(fabs(loss - expected) < 1e-5);
    parry_dataset_free(data);
    parry_model_free(model);
    parry_ctx_free(ctx);
}

/* The bias of the logits, to be changed. */
static float *last_bias(parry_ctx *ctx, parry_model *model, pr_weights **weights)
{
    const pr_graph *graph;
    assert_int_equal(pr_model_network(ctx, model, &graph, weights), PARRY_OK);
    for (size_t i = 0; i < (*weights)->count; i++)
        if ((*weights)->items[i].role == PR_WEIGHT_VECTOR && (*weights)->items[i].count == CLASSES)
            return (*weights)->items[i].data;
    fail_msg("the network has no bias of %d values", CLASSES);
    return NULL;
}

/* After the weights moved and a refresh, both kinds of plans compute with the new ones. */
static void test_moving_weights(void **state)
{
    (void)state;
    float before[CLASSES], after[CLASSES];
    parry_ctx *ctx = make_ctx(1);
    parry_model *model = make_model(ctx);
    pr_weights *weights;
    float *bias = last_bias(ctx, model, &weights);
    for (int moving = 0; moving < 2; moving++) {
        assert_int_equal(pr_model_set_moving(ctx, model, moving), PARRY_OK);
        assert_int_equal(parry_model_logits(ctx, model, images, 1, before), PARRY_OK);
        bias[2] += 1;
        pr_weights_changed(weights);
        assert_int_equal(pr_model_refresh(ctx, model), PARRY_OK);
        assert_int_equal(parry_model_logits(ctx, model, images, 1, after), PARRY_OK);
        for (int k = 0; k < CLASSES; k++)
            assert_true(fabsf(after[k] - before[k] - (k == 2)) < 1e-5f);
    }
    parry_model_free(model);
    parry_ctx_free(ctx);
}

/* Sessions count images, not calls, and start from zero again when a workspace is used again. */
static void test_queries_are_counted(void **state)
{
    (void)state;
    parry_ctx *ctx = make_ctx(1);
    parry_model *model = make_model(ctx);
    for (int again = 0; again < 2; again++) {
        float logits[10 * CLASSES], grad[10 * ROW];
        pr_session *session;
        assert_int_equal(pr_session_create(ctx, model, true, PARRY_F32, 10, &session), PARRY_OK);
        assert_int_equal(pr_session_logits(ctx, session, images, 10, logits), PARRY_OK);
        assert_int_equal(pr_session_loss_grad(ctx, session, pr_loss_at(0), images, labels, 7, NULL, NULL, grad),
                         PARRY_OK);
        assert_int_equal(pr_session_forward_queries(session), 17);
        assert_int_equal(pr_session_gradient_queries(session), 7);
        pr_session_free(session);
    }
    parry_model_free(model);
    parry_ctx_free(ctx);
}

static void test_numbers_that_are_not_finite_are_reported(void **state)
{
    (void)state;
    parry_ctx *ctx = make_ctx(2);
    parry_model *model = make_model(ctx);
    static float logits[2 * CLASSES], grad[2 * ROW];
    pr_weights *weights;
    last_bias(ctx, model, &weights)[1] = NAN;
    pr_weights_changed(weights);
    assert_int_equal(pr_model_refresh(ctx, model), PARRY_OK);
    assert_int_equal(parry_model_logits(ctx, model, images, 2, logits), PARRY_NUMERIC);
    assert_non_null(strstr(parry_ctx_error(ctx), "simplecnn"));
    assert_int_equal(parry_model_input_gradient(ctx, model, "mse", images, labels, 2, NULL, grad), PARRY_NUMERIC);
    parry_model_free(model);
    parry_ctx_free(ctx);
}

static pr_weight *named_weight(pr_weights *weights, const char *ending)
{
    for (size_t i = 0; i < weights->count; i++) {
        const char *name = weights->items[i].name;
        if (strlen(name) >= strlen(ending) && strcmp(name + strlen(name) - strlen(ending), ending) == 0)
            return &weights->items[i];
    }
    fail_msg("no weight %s", ending);
    return NULL;
}

/* Numbers within the network that are none, behind which ReLUs still follow: a negative variance, and infinity less
 * infinity. */
static void test_what_a_relu_hides_is_reported(void **state)
{
    (void)state;
    for (int which = 0; which < 2; which++) {
        parry_ctx *ctx = make_ctx(2);
        parry_model *model = make_model(ctx);
        static float logits[40 * CLASSES], grad[40 * ROW];
        const pr_graph *graph;
        pr_weights *weights;
        assert_int_equal(pr_model_network(ctx, model, &graph, &weights), PARRY_OK);
        assert_int_equal(parry_model_logits(ctx, model, images, 40, logits), PARRY_OK);
        if (which == 0) {
            named_weight(weights, "bn1.var")->data[3] = -1;
        } else {
            for (int k = 0; k < 32; k++)
                named_weight(weights, "conv1.bias")->data[k] = named_weight(weights, "bn1.scale")->data[k] = 3e38f;
        }
        pr_weights_changed(weights);
        assert_int_equal(pr_model_refresh(ctx, model), PARRY_OK);
        assert_int_equal(parry_model_logits(ctx, model, images, 40, logits), PARRY_NUMERIC);
        assert_non_null(strstr(parry_ctx_error(ctx), "simplecnn: a logit that is not finite"));
        assert_int_equal(parry_model_input_gradient(ctx, model, "ce", images, labels, 1, NULL, grad), PARRY_NUMERIC);
        assert_int_equal(pr_model_set_moving(ctx, model, true), PARRY_OK);
        assert_int_equal(parry_model_logits(ctx, model, images, 1, logits), PARRY_NUMERIC);
        parry_model_free(model);
        parry_ctx_free(ctx);
    }
}

static void test_wrong_requests(void **state)
{
    (void)state;
    static float grad[ROW];
    parry_ctx *ctx = make_ctx(1);
    parry_model *model = make_model(ctx), *none;
    parry_dataset *wide, *coarse;
    char *text;
    double accuracy;
    check_error(ctx, parry_model_build(ctx, "simplecn", 1, 8, 8, 4, &none), PARRY_NOT_FOUND, "simplecnn");
    check_error(ctx, parry_model_build(ctx, "simplecnn", 1, 8, 8, 1, &none), PARRY_INVALID, "1 classes");
    check_error(ctx, parry_model_input_gradient(ctx, model, "cee", images, labels, 1, NULL, grad), PARRY_NOT_FOUND,
                "'ce'");
    check_error(ctx, parry_model_input_gradient(ctx, model, "ce", images, (int32_t[]){CLASSES}, 1, NULL, grad),
                PARRY_INVALID, "label 4");
    check_error(ctx, parry_model_plan_text(ctx, model, "fun", PARRY_F32, &text), PARRY_INVALID, "training");
    assert_int_equal(parry_dataset_create(ctx, images, labels, 4, 1, SIDE / 2, 2 * SIDE, CLASSES, &wide), PARRY_OK);
    assert_int_equal(parry_dataset_create(ctx, images, labels, 4, 1, SIDE, SIDE, CLASSES + 1, &coarse), PARRY_OK);
    check_error(ctx, parry_model_accuracy(ctx, model, wide, &accuracy, NULL), PARRY_MISMATCH, "N x 1 x 4 x 16");
    check_error(ctx, parry_model_accuracy(ctx, model, coarse, &accuracy, NULL), PARRY_MISMATCH, "has 5");
    parry_dataset_free(wide);
    parry_dataset_free(coarse);
    parry_model_free(model);
    parry_ctx_free(ctx);
}

static void test_texts(void **state)
{
    (void)state;
    parry_ctx *ctx = make_ctx(1);
    parry_model *model = make_model(ctx);
    char *text;
    static const char *const purposes[] = {"inference", "gradient", "training"};
    for (size_t i = 0; i < PR_COUNT(purposes); i++) {
        assert_int_equal(parry_model_plan_text(ctx, model, purposes[i], PARRY_F32, &text), PARRY_OK);
        assert_non_null(strchr(text, '\n'));
        parry_string_free(text);
    }
    assert_int_equal(parry_model_dot(ctx, model, &text), PARRY_OK);
    assert_non_null(strstr(text, "digraph"));
    parry_string_free(text);
    assert_int_equal(pr_model_set_history(ctx, model, "{\"a\": 1}"), PARRY_OK);
    assert_string_equal(parry_model_describe(model)->history, "{\"a\": 1}");
    assert_string_equal(parry_arch_list()[0], "simplecnn");
    parry_model_free(model);
    parry_ctx_free(ctx);
}

/* Logarithms of probabilities, in units that would overflow: equal classes rank in their order. */
static void test_ranking(void **state)
{
    static const double p[] = {0.125, 0.5, 0.0625, 0.125, 0.1875};
    enum { CLASSES_HERE = 5, TOP = 4 };
    static const int expected[TOP] = {1, 4, 0, 3};
    float logits[CLASSES_HERE], all[CLASSES_HERE];
    int order[TOP];
    double top[TOP];
    (void)state;
    for (int k = 0; k < CLASSES_HERE; k++)
        logits[k] = (float)log(p[k]) + 512;
    parry_probabilities(logits, 1, CLASSES_HERE, all);
    parry_top_probabilities(logits, CLASSES_HERE, TOP, order, top);
    for (int k = 0; k < TOP; k++) {
        assert_int_equal(order[k], expected[k]);
        assert_true(fabs(top[k] - p[order[k]]) < 1e-4);
        assert_true((float)top[k] == all[order[k]]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_description),
        cmocka_unit_test(test_threads_and_company_change_nothing),
        cmocka_unit_test(test_gradient_predicts_the_loss),
        cmocka_unit_test(test_accuracy_counts_right_images),
        cmocka_unit_test(test_moving_weights),
        cmocka_unit_test(test_queries_are_counted),
        cmocka_unit_test(test_numbers_that_are_not_finite_are_reported),
        cmocka_unit_test(test_what_a_relu_hides_is_reported),
        cmocka_unit_test(test_wrong_requests),
        cmocka_unit_test(test_texts),
        cmocka_unit_test(test_ranking),
    };
    return cmocka_run_group_tests(tests, fill, NULL);
}
