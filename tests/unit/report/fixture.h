/* An evaluation filled by hand: two models, FGSM at two radii and PGD on fewer images, stale figures, curves, pictures
 * and histories, with names and words that need escaping. Nothing in it is computed, so what the renderings print is
 * known. */
#ifndef TESTS_REPORT_FIXTURE_H
#define TESTS_REPORT_FIXTURE_H

#include <string.h>

#include "base/opt.h"
#include "report/report.h"

enum { FIX_MODELS = 2, FIX_ATTACKS = 2, FIX_RADII = 2, FIX_EXAMPLES = 3, FIX_SIDE = 8, FIX_ROW = FIX_SIDE * FIX_SIDE };

#define FIX_HASH_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define FIX_HASH_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define FIX_HASH_D "dddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd"

struct fix_params {
    int64_t steps;
};
PR_OPTIONS(fix_options, struct fix_params, OPT_INT(struct fix_params, steps, "steps", "40", 1, 1000, "steps"));

static const char fix_history[] =
    "{\"stages\":[{\"method\":\"train\",\"seed\":7,\"settings\":{\"lr\":0.001,\"note\":\"<i>&\"},\"curve\":["
    "{\"epoch\":1,\"train_loss\":0.5,\"train_acc\":0.85,\"test_loss\":0.2,\"test_acc\":0.94},"
    "{\"epoch\":2,\"train_loss\":0.2,\"train_acc\":0.9375,\"test_loss\":0.1,\"test_acc\":0.97},"
    "{\"epoch\":3,\"train_loss\":0.1,\"train_acc\":\"lost\",\"test_acc\":0.98}]},"
    "{\"method\":\"mixed\",\"curve\":[{\"epoch\":1,\"train_loss\":0.4,\"train_acc\":0.9}]},7]}";

typedef struct fixture {
    parry_evaluation ev;
    parry_dataset_info data;
    const char *class_names[10];
    parry_model_info infos[FIX_MODELS];
    pr_eval_model models[FIX_MODELS];
    pr_eval_cell cells[FIX_MODELS][FIX_ATTACKS * FIX_RADII];
    double worst[FIX_MODELS][FIX_RADII], curve[FIX_MODELS][PR_CURVE_POINTS];
    pr_eval_example examples[FIX_MODELS][FIX_EXAMPLES];
    float originals[FIX_EXAMPLES * FIX_ROW], adversaries[FIX_MODELS][FIX_EXAMPLES * FIX_ROW];
    int64_t index[FIX_EXAMPLES];
    int32_t labels[FIX_EXAMPLES];
    parry_attack_info fgsm, pgd;
    struct fix_params params;
    pr_eval_attack attacks[FIX_ATTACKS];
} fixture;

static void fixture_pictures(fixture *f)
{
    for (int i = 0; i < FIX_EXAMPLES; i++) {
        f->index[i] = 3 * i;
        f->labels[i] = i;
        for (int p = 0; p < FIX_ROW; p++) {
            f->originals[i * FIX_ROW + p] = (float)((p + i) % 7) / 6;
            for (int m = 0; m < FIX_MODELS; m++)
                f->adversaries[m][i * FIX_ROW + p] =
                    f->originals[i * FIX_ROW + p] + (p % 2 ? 0.1f : -0.1f) * (float)(m + 1) / 2;
        }
        f->examples[0][i] = (pr_eval_example){i, 9 - i, 0.999, 0.75};
        f->examples[1][i] = (pr_eval_example){i, i, 0.98, 0.6125};
    }
}

static void fixture_models(fixture *f)
{
    static const double robust[FIX_MODELS][FIX_ATTACKS * FIX_RADII] = {{0.0171, 0.0012, 0.0005, 0},
                                                                       {0.9412, 0.8001, 0.9305, 0.055}};
    static const double stale[FIX_MODELS][FIX_ATTACKS * FIX_RADII] = {{0.0171, 0.0012, 0.0005, 0},
                                                                      {0.9712, 0.95, 0.9605, 0.9}};
    f->infos[0] = (parry_model_info){.name = "standard.onnx",
                                     .sha256 = FIX_HASH_A,
                                     .producer = "parry",
                                     .channels = 1,
                                     .height = FIX_SIDE,
                                     .width = FIX_SIDE,
                                     .classes = 10,
                                     .parameters = 422026,
                                     .history = "not JSON"};
    f->infos[1] = f->infos[0];
    f->infos[1].name = "a<b>&\"hardened\".onnx";
    f->infos[1].sha256 = FIX_HASH_B;
    f->infos[1].history = fix_history;
    for (int m = 0; m < FIX_MODELS; m++) {
        f->models[m] = (pr_eval_model){.info = &f->infos[m],
                                       .name = f->infos[m].name,
                                       .clean_acc = m ? 0.985 : 0.9892,
                                       .clean_loss = 0.05,
                                       .cells = f->cells[m],
                                       .worst_acc = f->worst[m],
                                       .curve_acc = f->curve[m],
                                       .examples = f->examples[m],
                                       .images = &f->data,
                                       .originals = f->originals,
                                       .adversaries = f->adversaries[m]};
        for (int c = 0; c < FIX_ATTACKS * FIX_RADII; c++)
            f->cells[m][c] = (pr_eval_cell){.robust_acc = robust[m][c],
                                            .withstood = robust[m][c],
                                            .adv_loss = 2.5,
                                            .mean_norm = c % 2 ? 0.3 : 0.1,
                                            .max_norm = c % 2 ? 0.3 : 0.1,
                                            .stale_acc = stale[m][c],
                                            .forward_queries = 20000,
                                            .gradient_queries = 10000};
        for (int e = 0; e < FIX_RADII; e++)
            f->worst[m][e] = robust[m][FIX_RADII + e];
        for (int k = 0; k < PR_CURVE_POINTS; k++)
            f->curve[m][k] = m ? 0.98 - 0.115 * k : 0.99 / (1 + k * k);
    }
}

/* Fills everything; nothing needs to be freed. */
static void fixture_init(fixture *f)
{
    memset(f, 0, sizeof *f);
    f->data = (parry_dataset_info){.name = "digits",
                                   .split = "test",
                                   .origin = "built-in",
                                   .note = "Built-in digits, not MNIST <drawn>",
                                   .sha256 = FIX_HASH_D,
                                   .count = 10000,
                                   .channels = 1,
                                   .height = FIX_SIDE,
                                   .width = FIX_SIDE,
                                   .classes = 10};
    f->fgsm = (parry_attack_info){.name = "fgsm"};
    f->pgd = (parry_attack_info){.name = "pgd", .options = &fix_options};
    f->attacks[0] = (pr_eval_attack){.info = &f->fgsm, .label = "FGSM", .count = 10000};
    f->attacks[1] = (pr_eval_attack){.info = &f->pgd, .label = "PGD-40", .count = 2000};
    f->params.steps = 40;
    f->attacks[1].params = &f->params;
    fixture_models(f);
    fixture_pictures(f);
    f->ev = (parry_evaluation){.seed = 7,
                               .threads = 2,
                               .dataset = &f->data,
                               .dataset_total = 10000,
                               .threat = {PARRY_LINF, 0, 0, true},
                               .eps = {2, {0.1, 0.3}},
                               .attacks = f->attacks,
                               .attack_count = FIX_ATTACKS,
                               .models = f->models,
                               .model_count = FIX_MODELS,
                               .source = &f->infos[0],
                               .worst_count = 2000,
                               .strongest = 1,
                               .curve_count = 500,
                               .example_count = FIX_EXAMPLES,
                               .example_eps = 0.1,
                               .example_index = f->index,
                               .example_labels = f->labels};
    for (int k = 0; k < PR_CURVE_POINTS; k++)
        f->ev.curve_eps[k] = 0.3 * k / (PR_CURVE_POINTS - 1);
}

#endif
