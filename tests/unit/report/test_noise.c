/* Noise studies: ranges as Python's, the statistics of the noise, and outputs that agree with the probabilities. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <parry/image.h>

#include "report/noise.h"
#include "../support/context.h"

static void test_ranges(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t count;
        double first, last;
    } good[] = {{"50:200:10", 15, 50, 190}, {"10:100:2", 45, 10, 98}, {"5:1:-2", 2, 5, 3},
                {"0:1:0.25", 4, 0, 0.75},   {"3:5", 2, 3, 4},         {"7", 1, 7, 7},
                {"50,60,1e1", 3, 50, 10},   {"0:10:3", 4, 0, 9}};
    static const struct {
        const char *text, *part;
    } bad[] = {{"1:2:0", "step"},     {"5:1:1", "no numbers"}, {"1:1", "no numbers"},
               {"", "not a number"},  {"a:3", "'a'"},          {"1:2:3:4", "more"},
               {"0:1e9:1", "100000"}, {"1,,2", "''"},          {"inf:3", "'inf'"}};
    for (size_t i = 0; i < PR_COUNT(good); i++) {
        double *values;
        int64_t count;
        assert_int_equal(parry_noise_range(ctx, good[i].text, &values, &count), PARRY_OK);
        assert_int_equal(count, good[i].count);
        assert_true(values[0] == good[i].first && values[count - 1] == good[i].last);
        parry_noise_range_free(values);
    }
    for (size_t i = 0; i < PR_COUNT(bad); i++) {
        double *values;
        int64_t count;
        assert_int_equal(parry_noise_range(ctx, bad[i].text, &values, &count), PARRY_INVALID);
        assert_null(values);
        check_says(ctx, bad[i].part);
    }
}

/* Mean, deviation, skewness and the correlation of neighbours lie within 5 standard errors. */
static void test_statistics(void **state)
{
    (void)state;
    enum { N = 200000 };
    float *x = malloc(N * sizeof *x);
    for (int64_t tile = 0; tile < 3; tile++) {
        const double mu = 128, sigma = 40;
        double sum = 0, squares = 0, cubes = 0, neighbours = 0;
        pr_noise_draw(11, tile, mu, sigma, N, x);
        for (int i = 0; i < N; i++) {
            const double z = ((double)x[i] - mu) / sigma, next = ((double)x[(i + 1) % N] - mu) / sigma;
            sum += z;
            squares += z * z;
            cubes += z * z * z;
            neighbours += z * next;
        }
        const double error = 5 / sqrt(N);
        assert_true(fabs(sum / N) < error);
        assert_true(fabs(squares / N - 1) < error * sqrt(2));
        assert_true(fabs(cubes / N) < error * sqrt(15));
        assert_true(fabs(neighbours / N) < error);
    }
    free(x);
}

static void test_images(void **state)
{
    (void)state;
    enum { N = 3000 };
    float a[N], b[N], raw[N];
    parry_noise_image(ctx, 4, 100, 90, N, a);
    pr_noise_draw(parry_ctx_seed(ctx), 4, 100, 90, N, raw);
    int low = 0, high = 0;
    for (int i = 0; i < N; i++) {
        low += raw[i] < 0;
        high += raw[i] > 255;
        assert_true(a[i] == fminf(fmaxf(raw[i], 0), 255) / 255);
    }
    assert_true(low > 0 && high > 0);
    parry_noise_image(ctx, 4, 100, 90, N / 2, b); /* a smaller image begins with the same numbers */
    assert_memory_equal(a, b, N / 2 * sizeof *a);
    parry_noise_image(ctx, 5, 100, 90, N, b);
    assert_memory_not_equal(a, b, sizeof a);
}

/* What enters the network is what the chapter's listing makes: the drawn number less the channel's mean, clipped to
 * 0..255. */
static void test_chapter_order(void **state)
{
    (void)state;
    enum { PLANE = 500 };
    static const double offsets[3] = {123, 117, 104};
    float raw[3 * PLANE], image[3 * PLANE];
    int changed = 0;
    pr_noise_draw(parry_ctx_seed(ctx), 2, 180, 90, 3 * PLANE, raw);
    pr_noise_preprocessed(parry_ctx_seed(ctx), 2, 180, 90, offsets, 3, PLANE, image);
    for (int i = 0; i < 3 * PLANE; i++) {
        const double listed = fmin(fmax((double)raw[i] - offsets[i / PLANE], 0), 255),
                     entering = 255 * (double)image[i] - offsets[i / PLANE];
        assert_true(fabs(listed - entering) < 1e-4);
        changed += listed == 0 || listed == 255;
    }
    assert_true(changed > 100);
}

typedef struct run {
    parry_ctx *ctx;
    parry_model *model;
    parry_noise_study *study;
} run;

static run make_run(int threads, const parry_noise_settings *settings, const char *attack)
{
    const parry_ctx_options options = {.size = sizeof options, .seed = 3, .threads = threads};
    const parry_threat threat = {.norm = PARRY_LINF, .eps = 0.1, .clip = true, .criterion = "confident:0.5"};
    run r;
    parry_attack *made = NULL;
    assert_int_equal(parry_ctx_create(&options, &r.ctx), PARRY_OK);
    assert_int_equal(parry_model_build(r.ctx, "simplecnn", 1, 28, 28, 10, &r.model), PARRY_OK);
    if (attack)
        assert_int_equal(parry_attack_create(r.ctx, attack, &made), PARRY_OK);
    assert_int_equal(parry_noise_run(r.ctx, (const parry_model *const *)&r.model, 1, settings, made,
                                     attack ? &threat : NULL, &r.study),
                     PARRY_OK);
    parry_attack_free(made);
    return r;
}

static void end_run(run *r)
{
    parry_noise_free(r->study);
    parry_model_free(r->model);
    parry_ctx_free(r->ctx);
}

static int lines(const char *text)
{
    int count = 0;
    for (; *text; text++)
        count += *text == '\n';
    return count;
}

static void test_csv(void **state)
{
    (void)state;
    const parry_noise_settings settings = {.mu = "50:200:10", .sigma = "10:100:2", .pairs = PARRY_PAIRS_ZIP, .top = 4};
    static const char head[] = "id,class,prediction,sigma,mu\n";
    char *text;
    run r = make_run(1, &settings, NULL);
    assert_int_equal(parry_noise_count(r.study), 15);
    assert_int_equal(parry_noise_csv(r.ctx, r.study, &text), PARRY_OK);
    assert_int_equal(strncmp(text, head, strlen(head)), 0);
    assert_int_equal(lines(text), 1 + 15 * 4);
    const char *at = text + strlen(head);
    for (int row = 0; row < 15 * 4; row++, at = strchr(at, '\n') + 1) {
        int id, class;
        double prediction, sigma, mu;
        static double above;
        assert_int_equal(sscanf(at, "%d,class %d,%lf,%lf,%lf", &id, &class, &prediction, &sigma, &mu), 5);
        assert_int_equal(id, row / 4);
        assert_true(mu == 50 + 10 * id && sigma == 10 + 2 * id);
        assert_true(prediction <= (row % 4 ? above : 1));
        assert_true(fabs(prediction - (double)parry_noise_probabilities(r.study, 0, false, id)[class]) < 1e-8);
        above = prediction;
    }
    parry_string_free(text);
    end_run(&r);
}

/* Shares, rankings and bytes do not depend on the number of threads; the grid has all pairs, the mean outermost. */
static void test_attacked_grid(void **state)
{
    (void)state;
    const parry_noise_settings settings = {.mu = "60,180", .sigma = "10:40:10", .pairs = PARRY_PAIRS_GRID, .top = 10};
    char *text[2], *json[2];
    for (int i = 0; i < 2; i++) {
        run r = make_run(i ? 3 : 1, &settings, "pgd:steps=5");
        const pr_noise_network *network = &r.study->networks[0];
        double mu, sigma, sum = 0;
        assert_int_equal(parry_noise_count(r.study), 6);
        parry_noise_pair(r.study, 4, &mu, &sigma);
        assert_true(mu == 180 && sigma == 20);
        for (int k = 0; k < 10; k++)
            sum += (double)parry_noise_probabilities(r.study, 0, true, 4)[k];
        assert_true(fabs(sum - 1) < 1e-5);
        int order[10], found = pr_noise_ranking(network, &network->view[1], 10, order), total = 0;
        for (int k = 0; k < found; k++) {
            total += network->view[1].called[order[k]];
            assert_true(k == 0 || network->view[1].called[order[k]] <= network->view[1].called[order[k - 1]]);
        }
        assert_int_equal(total, 6);
        assert_int_equal(parry_noise_csv(r.ctx, r.study, &text[i]), PARRY_OK);
        assert_int_equal(lines(text[i]), 1 + 2 * 6 * 10);
        assert_int_equal(parry_noise_json(r.ctx, r.study, &json[i]), PARRY_OK);
        end_run(&r);
    }
    assert_string_equal(text[0], text[1]);
    assert_string_equal(json[0], json[1]);
    assert_non_null(strstr(json[0], "confident:0.5"));
    for (int i = 0; i < 2; i++) {
        parry_string_free(text[i]);
        parry_string_free(json[i]);
    }
}

/* What is written is the noise, to half a level, and the adversaries, within eps of it. */
static void test_saved_images(void **state)
{
    (void)state;
    enum { PIXELS = 28 * 28 };
    char folder[] = "/tmp/parry-noise-XXXXXX", path[2][64];
    float noise[PIXELS];
    assert_non_null(mkdtemp(folder));
    run r =
        make_run(1, &(parry_noise_settings){.mu = "100", .sigma = "20,90", .top = 1, .save_images = folder}, "fgsm");
    for (int tile = 0; tile < 2; tile++) {
        parry_image image[2];
        double away[2] = {0}, mu, sigma;
        parry_noise_pair(r.study, tile, &mu, &sigma);
        parry_noise_image(r.ctx, tile, mu, sigma, PIXELS, noise);
        for (int v = 0; v < 2; v++) {
            snprintf(path[v], sizeof path[v], "%s/%s-%05d.png", folder, v ? "adv" : "noise", tile);
            OK_IN(r.ctx, parry_image_read(r.ctx, path[v], &image[v]));
            assert_int_equal(image[v].channels * image[v].height * image[v].width, PIXELS);
            for (int i = 0; i < PIXELS; i++)
                away[v] = fmax(away[v], fabs((double)image[v].pixels[i] - (double)noise[i]));
            parry_image_clear(&image[v]);
            unlink(path[v]);
        }
        assert_true(away[0] <= 0.5001 / 255);
        assert_true(away[1] > 0.05 && away[1] <= 0.1 + 0.5001 / 255);
    }
    rmdir(folder);
    end_run(&r);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        parry_noise_settings settings;
        const char *part;
    } bad[] = {{{.mu = "1:2:0", .sigma = "1", .top = 1}, "step"},
               {{.mu = "50", .sigma = "-1", .top = 1}, "negative"},
               {{.mu = "0:5000", .sigma = "0:5000", .top = 1}, "million"}};
    const parry_noise_settings listing = {.mu = "50", .sigma = "10", .chapter_order = true, .top = 1};
    parry_model *model;
    parry_noise_study *study;
    assert_int_equal(parry_model_build(ctx, "simplecnn", 1, 28, 28, 10, &model), PARRY_OK);
    for (size_t i = 0; i < PR_COUNT(bad); i++) {
        assert_int_equal(
            parry_noise_run(ctx, (const parry_model *const *)&model, 1, &bad[i].settings, NULL, NULL, &study),
            PARRY_INVALID);
        assert_null(study);
        check_says(ctx, bad[i].part);
    }
    assert_int_equal(parry_noise_run(ctx, (const parry_model *const *)&model, 1, &listing, NULL, NULL, &study),
                     PARRY_UNSUPPORTED);
    assert_non_null(strstr(parry_ctx_error(ctx), "0 to 1 first"));
    parry_model_free(model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_ranges),        cmocka_unit_test(test_statistics), cmocka_unit_test(test_images),
        cmocka_unit_test(test_chapter_order), cmocka_unit_test(test_csv),        cmocka_unit_test(test_attacked_grid),
        cmocka_unit_test(test_saved_images),  cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, set_up_context, tear_down_context);
}
