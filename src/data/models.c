/* Trained networks that can be downloaded: what they are, where from, and the preprocessing that goes beside the file.
 *
 * A download is listed only where its SHA-256 is published by those who keep the file: here, the pointer under which
 * their repository stores it. */
#include <string.h>

#include <parry/model.h>

#include "data/data.h"

static const char *const resnet50_mirrors[] = {
    "https://github.com/onnx/models/raw/652f4e4af7975c8e7a505c4b6e0f8ac72d8260ea/vision/classification/resnet/model/",
    "https://media.githubusercontent.com/media/onnx/models/main/validated/vision/classification/resnet/model/",
    NULL,
};

static const char *const inception_mirrors[] = {
    "https://huggingface.co/qualcomm/Inception-v3/resolve/509e028bd029517de182e20eed8e1744faa48cd1/",
    NULL,
};

static const pr_remote_model models[] = {
    {
        .entry = {"resnet50", "ResNet-50 (v1) of the ONNX model zoo, trained on ImageNet", "3x224x224", "Apache-2.0",
                  true},
        .file = {"resnet50-v1-12.onnx", 102576419, "ab65bdc02c5b3123eb3cdf6dac01742438517d8635d4f233913b2be1c70db3b6"},
        .mirrors = resnet50_mirrors,
        .preprocess =
            "{\"range\": [0, 1], \"mean\": [0.485, 0.456, 0.406], \"std\": [0.229, 0.224, 0.225],\n"
            " \"channel_order\": \"RGB\", \"layout\": \"NCHW\", \"resize\": \"crop\", \"resize_size\": 256}\n",
    },
    {
        /* torchvision's weights (IMAGENET1K_V1) as Qualcomm's AI Hub Models export them for ONNX Runtime: for 224x224,
         * with 2x - 1, which is ImageNet's mean and deviation and the network's own transform in one, inside. Their
         * code has done so in every release that has this target (0.5.0 and later); before it, neither was there. */
        .entry = {"inception-v3", "Inception-V3 of torchvision, trained on ImageNet, exported by AI Hub Models",
                  "3x224x224", "BSD-3-Clause (weights); the exported file under its publisher's terms", true},
        .file = {"Inception-v3.onnx", 95332968, "ec1c6d3fc7f4b572631c65ee6d82484cb57359a1edc750c21ab3a2931ceec800"},
        .mirrors = inception_mirrors,
        .preprocess = "{\"range\": [0, 1], \"channel_order\": \"RGB\", \"layout\": \"NCHW\", \"resize\": \"crop\",\n"
                      " \"resize_size\": 256}\n",
    },
};

static const pr_remote_model *find_model(const char *name)
{
    for (size_t i = 0; i < PR_COUNT(models); i++)
        if (strcmp(models[i].entry.name, name) == 0)
            return &models[i];
    return NULL;
}

const pr_remote_model *pr_remote_model_at(size_t index)
{
    return index < PR_COUNT(models) ? &models[index] : NULL;
}

const parry_dataset_entry *parry_model_catalogue(size_t index)
{
    return index < PR_COUNT(models) ? &models[index].entry : NULL;
}

static parry_status unknown(parry_ctx *ctx, const char *name)
{
    const char *names[PR_COUNT(models)];
    for (size_t i = 0; i < PR_COUNT(models); i++)
        names[i] = models[i].entry.name;
    const char *nearest = parry_nearest(name, names, PR_COUNT(models));
    return pr_fail(ctx, PARRY_NOT_FOUND, "no downloadable model is called '%s'%s%s%s", name,
                   nearest ? "; did you mean '" : "", nearest ? nearest : "",
                   nearest ? "'?" : "; 'parry data list' shows them");
}

/* The folder of downloaded models in the user's cache. */
static parry_status models_folder(parry_ctx *ctx, char **out)
{
    char *cache;
    TRY(pr_cache_folder(ctx, &cache));
    parry_status status = pr_path_join(ctx, cache, "models", out);
    pr_free(cache);
    return status;
}

parry_status parry_model_locate(parry_ctx *ctx, const char *name, char **out)
{
    const pr_remote_model *model = find_model(name);
    char *folder, *path;
    *out = NULL;
    if (!model)
        return unknown(ctx, name);
    parry_status status = models_folder(ctx, &folder);
    if (status == PARRY_NOT_FOUND) /* no home, no cache */
        return PARRY_OK;
    TRY(status);
    status = pr_path_join(ctx, folder, model->file.name, &path);
    pr_free(folder);
    TRY(status);
    if (pr_file_exists(path))
        *out = path;
    else
        pr_free(path);
    return PARRY_OK;
}

/* NAME.preprocess.json beside NAME.onnx. */
static parry_status write_preprocess(parry_ctx *ctx, const pr_remote_model *model, const char *folder)
{
    char *path;
    const char *dot = strrchr(model->file.name, '.');
    TRY(pr_asprintf(ctx, &path, "%s/%.*s.preprocess.json", folder, (int)(dot - model->file.name), model->file.name));
    parry_status status = parry_file_write(ctx, path, model->preprocess, strlen(model->preprocess));
    pr_free(path);
    return status;
}

parry_status pr_model_fetch(parry_ctx *ctx, const pr_remote_model *model, const char *mirror)
{
    const char *const only[] = {mirror, NULL};
    char *folder, *what = NULL;
    TRY(pr_mirror_check(ctx, mirror));
    TRY(models_folder(ctx, &folder));
    parry_status status;
    TRY_TO(out, parry_folder_make(ctx, folder));
    TRY_TO(out, pr_asprintf(ctx, &what, "fetch %s", model->entry.name));
    const pr_fetch_task task = {.what = what,
                                .mirrors = mirror ? only : model->mirrors,
                                .allow_http = mirror != NULL,
                                .total = model->file.size};
    TRY_TO(out, pr_fetch_file(ctx, &task, &model->file, folder));
    status = write_preprocess(ctx, model, folder);
out:
    pr_free(what);
    pr_free(folder);
    return status;
}

parry_status parry_model_fetch(parry_ctx *ctx, const char *name, const char *mirror)
{
    const pr_remote_model *model = find_model(name);
    return model ? pr_model_fetch(ctx, model, mirror) : unknown(ctx, name);
}
