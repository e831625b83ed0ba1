/* Photographs at a model's size, and models for a folder of photographs. */
#include "data/photos.h"
#include "model/network.h"
#include "nn/nn.h"

/* What is read when nothing else was declared: the share of the picture that ImageNet's networks are tested on (256 to
 * 224 pixels) for large inputs, all of it for small ones. */
enum { SMALL_SIDE = 64 };

static int usual_resize_size(int side)
{
    return side <= SMALL_SIDE ? side : (side * 256 + 112) / 224;
}

static pr_photo_size photo_size(const parry_model_info *info)
{
    return (pr_photo_size){
        .channels = info->channels,
        .height = info->height,
        .width = info->width,
        .resize = info->preprocess->resize ? (parry_resize)info->preprocess->resize : PARRY_RESIZE_CROP,
        .resize_size = info->preprocess->resize_size ? (int)info->preprocess->resize_size
                                                     : usual_resize_size(PR_MAX(info->height, info->width))};
}

static parry_status open_listed(parry_ctx *ctx, const parry_model *model, const char *name, pr_photos *photos_take,
                                parry_split split, parry_dataset **out)
{
    const parry_model_info *info = &model->info;
    const pr_photo_size size = photo_size(info);
    pr_images images;
    TRY(pr_photos_open(ctx, photos_take, &size, PR_DATA_FILE_LIMIT, &images));
    images.classes = info->classes;
    return pr_dataset_take(ctx, &images,
                           &(pr_dataset_words){.name = name,
                                               .split = split == PARRY_TRAIN ? "train" : "test",
                                               .origin = name,
                                               .class_names = info->class_names},
                           out);
}

parry_status parry_dataset_open_images(parry_ctx *ctx, const char *const *paths, size_t count, const parry_model *model,
                                       const char *labels, parry_split split, int64_t first, parry_dataset **out)
{
    const pr_classes classes = pr_model_class_table(model);
    pr_photos photos;
    *out = NULL;
    if (count == 0 || first < 0)
        return pr_fail(ctx, PARRY_INVALID, "the first %lld images of %zu files and folders were asked for",
                       (long long)first, count);
    if (model->info.channels != 1 && model->info.channels != 3)
        return pr_fail(ctx, PARRY_MISMATCH, "%s takes images of %d channels; photographs have 1 or 3", model->info.name,
                       model->info.channels);
    TRY(pr_photos_list(ctx, paths, count, &classes, labels, split, &photos));
    if (first > 0)
        pr_photos_truncate(&photos, (uint64_t)first);
    return open_listed(ctx, model, count == 1 ? paths[0] : "photographs", &photos, split, out);
}

parry_status parry_model_build_for_images(parry_ctx *ctx, const char *arch, const char *folder, int side,
                                          const char *weights, const parry_preprocess *preprocess, parry_model **out)
{
    const pr_arch *found;
    pr_photo_classes classes;
    parry_preprocess stated = {0};
    *out = NULL;
    TRY(pr_arch_find(ctx, arch, &found));
    side = side ? side : found->side;
    TRY(pr_preprocess_resolve(ctx, preprocess, &stated));
    if (!weights) { /* a file of weights may state its own */
        stated.resize = stated.resize ? stated.resize : PARRY_RESIZE_CROP;
        stated.resize_size = stated.resize_size ? stated.resize_size : usual_resize_size(side);
    }
    TRY(pr_photo_classes_list(ctx, folder, PARRY_TRAIN, &classes));
    const parry_build build = {.channels = 3,
                               .height = side,
                               .width = side,
                               .classes = (int)classes.count,
                               .class_names = (const char *const *)classes.names,
                               .weights = weights,
                               .preprocess = &stated};
    parry_status status = parry_model_build_from(ctx, arch, &build, out);
    pr_photo_classes_release(&classes);
    return status;
}

parry_status parry_dataset_fit_images(parry_ctx *ctx, const parry_dataset *dataset, const parry_model *model,
                                      parry_dataset **out)
{
    const pr_photo_size size = photo_size(&model->info);
    return pr_dataset_refit(ctx, dataset, &size, out);
}

bool pr_model_reads_alike(const parry_model *a, const parry_model *b)
{
    const pr_photo_size one = photo_size(&a->info), other = photo_size(&b->info);
    return pr_photo_size_same(&one, &other);
}

parry_status pr_model_reading(parry_ctx *ctx, const parry_model *model, char **out)
{
    const pr_photo_size size = photo_size(&model->info);
    const parry_preprocess rule = {.resize = size.resize,
                                   .resize_size = pr_photo_is_cropped(&size) ? size.resize_size : 0};
    char *words;
    TRY(parry_preprocess_text(ctx, &rule, &words));
    parry_status status = pr_asprintf(ctx, out, "%d x %d x %d (%s)", size.channels, size.height, size.width, words);
    parry_string_free(words);
    return status;
}
