/* Photographs from disk to network: how fast they load, how fast the network alone is, and both together.
 *
 *     bench_photos THREADS MODEL FOLDER TIMES
 *
 * The photographs of FOLDER are read TIMES times over. `load` decodes, resizes and crops them all; `network` classifies
 * pixels that are in memory; `both` starts with files, as parry predict does. At best it takes as long as the two added
 * up, on as many cores: both keep every thread busy. */
#include "common.h"
#include "data/data.h"

static parry_dataset *open_photographs(const parry_model *model, const char *folder, int times)
{
    const char *paths[64];
    parry_dataset *data;
    for (int i = 0; i < times; i++)
        paths[i] = folder;
    check(parry_dataset_open_images(ctx, paths, (size_t)times, model, NULL, PARRY_TEST, 0, &data));
    return data;
}

static void tell(const parry_model *model, const char *what, int64_t count, double seconds)
{
    printf("{\"bench\": \"photos\", \"model\": \"%s\", \"side\": %d, \"work\": \"%s\", \"images\": %lld, "
           "\"images_per_s\": %.1f}\n",
           parry_model_describe(model)->name, parry_model_describe(model)->width, what, (long long)count,
           (double)count / seconds);
}

static void measure(const char *path, const char *folder, int times)
{
    parry_model *model;
    float *images, *logits;
    check(parry_model_load(ctx, path, NULL, &model));
    const parry_model_info *info = parry_model_describe(model);
    const int64_t row = (int64_t)info->channels * info->height * info->width;

    parry_dataset *data = open_photographs(model, folder, times);
    const int64_t count = parry_dataset_describe(data)->count;
    double begin = now();
    check(pr_dataset_load(ctx, data));
    tell(model, "load", count, now() - begin);

    check(pr_alloc(ctx, count * row, &images));
    check(pr_alloc(ctx, count * info->classes, &logits));
    check(parry_dataset_images(ctx, data, 0, count, images));
    check(parry_model_logits(ctx, model, images, count / times, logits)); /* compiles the network */
    begin = now();
    check(parry_model_logits(ctx, model, images, count, logits));
    tell(model, "network", count, now() - begin);
    parry_dataset_free(data);

    data = open_photographs(model, folder, times);
    begin = now();
    check(parry_dataset_logits(ctx, model, data, 0, count, logits));
    tell(model, "both", count, now() - begin);
    parry_dataset_free(data);
    pr_free(images);
    pr_free(logits);
    parry_model_free(model);
}

int main(int argc, char **argv)
{
    if (argc != 5 || atoi(argv[4]) < 1 || atoi(argv[4]) > 64) {
        fprintf(stderr, "usage: bench_photos THREADS MODEL FOLDER TIMES (1 to 64)\n");
        return 2;
    }
    parry_ctx_options options = {.size = sizeof options, .seed = 1, .threads = atoi(argv[1])};
    if (parry_ctx_create(&options, &ctx) != PARRY_OK)
        return 1;
    measure(argv[2], argv[3], atoi(argv[4]));
    parry_ctx_free(ctx);
    return 0;
}
