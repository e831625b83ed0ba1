/* How easily is a classifier fooled? Loads an ONNX file, attacks it with PGD on MNIST's first 500 test images and
 * prints both accuracies.
 *
 *     cc attack.c -o attack $(pkg-config --cflags --libs parry) && ./attack cnn.onnx
 */
#include <stdio.h>

#include <parry/parry.h>

static parry_status run(parry_ctx *ctx, const char *path)
{
    parry_dataset *all = NULL, *images = NULL;
    parry_model *model = NULL;
    parry_attack *pgd = NULL;
    parry_attack_result result = {0};
    parry_threat threat = {.norm = PARRY_LINF, .eps = 0.1, .loss = 0 /* cross-entropy */, .clip = true};

    parry_status status = parry_dataset_open(ctx, "mnist", PARRY_TEST, &all);
    if (status == PARRY_OK)
        status = parry_dataset_first(ctx, all, 500, &images);
    if (status == PARRY_OK)
        status = parry_model_load(ctx, path, images, &model);
    if (status == PARRY_OK)
        status = parry_attack_create(ctx, "pgd:steps=40:restarts=2", &pgd);
    if (status == PARRY_OK)
        status = parry_attack_run(ctx, pgd, &threat, model, images, &result);
    if (status == PARRY_OK)
        printf("clean accuracy %.1f %%, under %s at eps %.1f: %.1f %%\n", 100 * result.clean_acc,
               parry_attack_label(pgd), threat.eps, 100 * result.robust_acc);

    parry_attack_result_clear(&result);
    parry_attack_free(pgd);
    parry_model_free(model);
    parry_dataset_free(images);
    parry_dataset_free(all);
    return status;
}

int main(int argc, char **argv)
{
    parry_ctx *ctx;
    if (argc != 2 || parry_ctx_create(NULL, &ctx) != PARRY_OK) {
        fprintf(stderr, "usage: attack MODEL.onnx\n");
        return 2;
    }
    parry_status status = run(ctx, argv[1]);
    if (status != PARRY_OK)
        fprintf(stderr, "%s\n", parry_ctx_error(ctx));
    parry_ctx_free(ctx);
    return status != PARRY_OK;
}
