/* What searching in bf16 loses: clean accuracy computed in f32 and in bf16, and robust accuracy (judged in f32) under
 * one attack that searches in either.
 *
 *     bench_precision [THREADS MODEL DATA ATTACK EPS FIRST]
 *
 * Prints one JSON line. Without arguments it succeeds where the processor has bf16. */
#include "common.h"
#include "model/model.h"
#include "tensor/tensor.h"

static double clean_accuracy(const parry_model *model, const parry_dataset *data, parry_precision precision)
{
    const int64_t n = parry_dataset_describe(data)->count;
    const int classes = pr_model_classes(model);
    const int32_t *labels = parry_dataset_labels(data);
    float *images, *logits;
    int64_t right = 0;
    pr_session *session;
    check(pr_alloc(ctx, n * pr_model_row(model), &images));
    check(pr_alloc(ctx, n * classes, &logits));
    check(parry_dataset_images(ctx, data, 0, n, images));
    check(pr_session_create(ctx, model, false, precision, n, &session));
    check(pr_session_logits(ctx, session, images, n, logits));
    for (int64_t i = 0; i < n; i++)
        right += pr_argmax(logits + i * classes, classes) == labels[i];
    pr_session_free(session);
    pr_free(images);
    pr_free(logits);
    return (double)right / (double)n;
}

static double robust_accuracy(const parry_model *model, const parry_dataset *data, const parry_attack *attack,
                              double eps, parry_precision precision, double *seconds)
{
    const parry_threat threat = {.eps = eps, .clip = true, .precision = precision};
    parry_attack_result result;
    const double begin = now();
    check(parry_attack_run(ctx, attack, &threat, model, data, &result));
    *seconds = now() - begin;
    const double accuracy = result.robust_acc;
    parry_attack_result_clear(&result);
    return accuracy;
}

static void compare(char **argv)
{
    parry_dataset *all, *data;
    parry_model *model;
    parry_attack *attack;
    const double eps = atof(argv[5]);
    double seconds[2];
    check(parry_dataset_open(ctx, argv[3], PARRY_TEST, &all));
    check(parry_dataset_first(ctx, all, atoll(argv[6]), &data));
    check(parry_model_load(ctx, argv[2], data, &model));
    check(parry_attack_create(ctx, argv[4], &attack));
    const double clean[] = {clean_accuracy(model, data, PARRY_F32), clean_accuracy(model, data, PARRY_BF16)},
                 robust[] = {robust_accuracy(model, data, attack, eps, PARRY_F32, &seconds[0]),
                             robust_accuracy(model, data, attack, eps, PARRY_BF16, &seconds[1])};
    printf("{\"bench\": \"precision\", \"model\": \"%s\", \"data\": \"%s\", \"count\": %lld, \"attack\": \"%s\", "
           "\"eps\": %.6g, \"clean_f32\": %.4f, \"clean_bf16\": %.4f, \"robust_f32\": %.4f, \"robust_bf16\": %.4f, "
           "\"seconds_f32\": %.3f, \"seconds_bf16\": %.3f}\n",
           parry_model_describe(model)->name, argv[3], (long long)parry_dataset_describe(data)->count, argv[4], eps,
           clean[0], clean[1], robust[0], robust[1], seconds[0], seconds[1]);
    parry_attack_free(attack);
    parry_model_free(model);
    parry_dataset_free(data);
    parry_dataset_free(all);
}

int main(int argc, char **argv)
{
    parry_ctx_options options = {.size = sizeof options, .seed = 1, .threads = argc > 1 ? atoi(argv[1]) : 1};
    if (parry_ctx_create(&options, &ctx) != PARRY_OK)
        return 1;
    check(parry_precision_check(ctx, PARRY_BF16));
    if (argc == 7)
        compare(argv);
    else if (argc > 1)
        fprintf(stderr, "usage: bench_precision [THREADS MODEL DATA ATTACK EPS FIRST]\n");
    parry_ctx_free(ctx);
    return argc == 1 || argc == 7 ? 0 : 2;
}
