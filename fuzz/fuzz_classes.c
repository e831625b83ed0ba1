/* Fuzzes names of classes: the input is the dataset.json of a folder of images. Every name that it brings is looked for
 * among them and compared with ImageNet's. */
#include <stdlib.h>
#include <string.h>

#include <parry/dataset.h>

#include "data/classes.h"
#include "data/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* The folder with two images; its dataset.json is written anew each time. */
static const char *make_folder(parry_ctx *ctx)
{
    static char folder[] = "/tmp/parry-fuzz-classes-XXXXXX";
    static bool made;
    const float images[2] = {0, 1};
    const int32_t labels[2] = {0, 1};
    parry_dataset *dataset;
    if (made)
        return folder;
    if (!mkdtemp(folder) || parry_dataset_create(ctx, images, labels, 2, 1, 1, 1, 2, &dataset) != PARRY_OK ||
        parry_dataset_write(ctx, dataset, folder) != PARRY_OK)
        abort();
    parry_dataset_free(dataset);
    made = true;
    return folder;
}

static void write_words(const char *folder, const uint8_t *data, size_t size)
{
    char path[64];
    snprintf(path, sizeof path, "%s/dataset.json", folder);
    FILE *out = fopen(path, "wb");
    if (!out || fwrite(data, 1, size, out) != size || fclose(out) != 0)
        abort();
}

static void look(parry_ctx *ctx, const parry_dataset_info *info)
{
    static const pr_classes imagenet = {"a network", PR_IMAGENET_CLASSES, pr_imagenet_names, pr_imagenet_wnids};
    enum { FEW = 16 };
    const pr_classes own = {.of = info->name, .count = info->classes, .names = info->class_names};
    int found;
    if (!own.names)
        return;
    for (int i = 0; i < own.count && i < FEW; i++) {
        char name[16];
        pr_class_first_name(own.names[i], name, sizeof name);
        if (strlen(name) >= sizeof name ||
            (pr_classes_find(ctx, &own, own.names[i], &found) == PARRY_OK && (found < 0 || found >= own.count)))
            abort();
    }
    if (pr_classes_match(ctx, &own, &own) != PARRY_OK && !parry_ctx_error(ctx)[0])
        abort();
    if (pr_classes_match(ctx, &imagenet, &own) != PARRY_OK && !parry_ctx_error(ctx)[0])
        abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    parry_ctx *ctx;
    parry_dataset *dataset;
    if (parry_ctx_create(NULL, &ctx) != PARRY_OK)
        abort();
    const char *folder = make_folder(ctx);
    write_words(folder, data, size);
    if (parry_dataset_open(ctx, folder, PARRY_TEST, &dataset) == PARRY_OK) {
        look(ctx, parry_dataset_describe(dataset));
        parry_dataset_free(dataset);
    } else if (!parry_ctx_error(ctx)[0])
        abort();
    parry_ctx_free(ctx);
    return 0;
}
