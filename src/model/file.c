/* Models from files and builders, and back into files. */
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "model/network.h"
#include "model/transfer.h"

/* The format's own limit: a protobuf message has no more than 2 GiB. */
static const size_t file_limit = (size_t)1 << 31;

/* Metadata that parry writes anew each time. */
static const char history_key[] = "parry.history", version_key[] = "parry.version";

static parry_status decode(parry_ctx *ctx, const char *path, pr_declarers *by, char sha256[PR_SHA256_HEX],
                           pr_onnx_model *out)
{
    const pr_onnx_sizes sizes = {pr_declared_sizes, by};
    uint8_t *data;
    size_t size;
    if (pr_is_folder(path))
        return pr_fail(ctx, PARRY_IO,
                       "%s: is a folder; expected an ONNX file, which a TensorFlow SavedModel becomes by python -m "
                       "tf2onnx.convert --saved-model FOLDER --output net.onnx",
                       path);
    TRY(pr_file_read(ctx, path, file_limit, &data, &size));
    pr_sha256(data, size, sha256);
    parry_status status = pr_onnx_decode(ctx, path, path, data, size, &sizes, out);
    pr_free(data);
    return status;
}

parry_status parry_model_load(parry_ctx *ctx, const char *path, const parry_dataset *fit, parry_model **out)
{
    return parry_model_load_as(ctx, path, NULL, fit, out);
}

parry_status parry_model_load_as(parry_ctx *ctx, const char *path, const parry_preprocess *preprocess,
                                 const parry_dataset *fit, parry_model **out)
{
    char sha256[PR_SHA256_HEX];
    pr_onnx_model file = {0};
    pr_network *network;
    pr_declarers by = {pr_path_base(path), path, preprocess, fit ? parry_dataset_describe(fit) : NULL};
    *out = NULL;
    TRY(decode(ctx, path, &by, sha256, &file));
    TRY(pr_network_create(ctx, by.name, path, &file, preprocess, by.fit, &network));
    memcpy(network->sha256, sha256, sizeof sha256);
    *out = &network->base;
    return PARRY_OK;
}

/* Fills the built network's weights from the ONNX file at `path` and takes its metadata over: preprocessing, the names
 * of the classes and the history go with the weights. */
static parry_status take_weights(parry_ctx *ctx, const pr_arch *arch, const char *path, const parry_dataset_info *asked,
                                 pr_onnx_model *file)
{
    char sha256[PR_SHA256_HEX];
    pr_onnx_model from = {0};
    TRY(decode(ctx, path, &(pr_declarers){.name = pr_path_base(path), .fit = asked}, sha256, &from));
    parry_status status = pr_transfer_weights(ctx, path, arch->name, file->graph, file->weights, &from);
    if (status == PARRY_OK) {
        file->meta = from.meta;
        file->meta_count = from.meta_count;
        from.meta = NULL;
        from.meta_count = 0;
    }
    pr_onnx_clear(&from);
    return status;
}

static parry_status build_file(parry_ctx *ctx, const pr_arch *arch, const parry_build *build,
                               const parry_dataset_info *asked, pr_onnx_model *file)
{
    file->tail = PR_OP_IDENTITY;
    TRY(pr_graph_create(ctx, &file->graph));
    TRY(pr_weights_create(ctx, &file->weights));
    TRY(pr_strdup(ctx, "", &file->producer));
    TRY(arch->build(ctx, file->graph, file->weights, build->channels, build->height, build->width, build->classes));
    if (build->weights)
        TRY(take_weights(ctx, arch, build->weights, asked, file));
    else
        arch->initialise(file->graph, file->weights, parry_ctx_seed(ctx));
    return build->class_names ? pr_classes_declare(ctx, build->class_names, build->classes, file) : PARRY_OK;
}

parry_status parry_model_build_from(parry_ctx *ctx, const char *arch, const parry_build *build, parry_model **out)
{
    const pr_arch *found;
    pr_onnx_model file = {0};
    pr_network *network;
    *out = NULL;
    if (build->channels < 1 || build->height < 1 || build->width < 1 || build->classes < 2)
        return pr_fail(ctx, PARRY_INVALID, "a network for %d x %d x %d images and %d classes cannot be built",
                       build->channels, build->height, build->width, build->classes);
    TRY(pr_arch_find(ctx, arch, &found));
    const parry_dataset_info asked = {.name = "the request",
                                      .channels = build->channels,
                                      .height = build->height,
                                      .width = build->width,
                                      .classes = build->classes};
    parry_status status = build_file(ctx, found, build, &asked, &file);
    if (status != PARRY_OK) {
        pr_onnx_clear(&file);
        return status;
    }
    TRY(pr_network_create(ctx, found->name, NULL, &file, build->preprocess, &asked, &network));
    *out = &network->base;
    return PARRY_OK;
}

parry_status parry_model_build(parry_ctx *ctx, const char *arch, int channels, int height, int width, int classes,
                               parry_model **out)
{
    const parry_build build = {.channels = channels, .height = height, .width = width, .classes = classes};
    return parry_model_build_from(ctx, arch, &build, out);
}

/* The classes' own names as JSON; NULL when the model has none. */
static parry_status class_words(parry_ctx *ctx, const pr_network *network, char **out)
{
    *out = NULL;
    return network->class_names ? pr_classes_json(ctx, network->base.info.class_names, network->base.info.classes, out)
                                : PARRY_OK;
}

/* The declaration as JSON; NULL when nobody declared any. */
static parry_status preprocess_words(parry_ctx *ctx, const pr_network *network, char **out)
{
    json_t *object;
    *out = NULL;
    if (!network->preprocess_source[0])
        return PARRY_OK;
    TRY(pr_preprocess_json(ctx, &network->preprocess, &object));
    parry_status status = pr_json_text(ctx, object, out);
    json_decref(object);
    return status;
}

static parry_status save_with(parry_ctx *ctx, const pr_network *network, const char *preprocess, const char *classes,
                              const char *path)
{
    pr_onnx_model file = network->file; /* everything is borrowed for the call */
    const pr_onnx_meta ours[] = {{(char *)version_key, PARRY_VERSION},
                                 {(char *)history_key, network->history},
                                 {PR_PREPROCESS_KEY, (char *)preprocess},
                                 {PR_CLASSES_KEY, (char *)classes}};
    pr_onnx_meta *meta;
    TRY(pr_alloc(ctx, network->file.meta_count + PR_COUNT(ours), &meta));
    file.meta = meta;
    file.meta_count = 0;
    for (size_t i = 0; i < network->file.meta_count; i++) {
        bool anew = false;
        for (size_t k = 0; k < PR_COUNT(ours); k++)
            anew |= strcmp(network->file.meta[i].key, ours[k].key) == 0;
        if (!anew)
            meta[file.meta_count++] = network->file.meta[i];
    }
    for (size_t k = 0; k < PR_COUNT(ours); k++)
        if (ours[k].value)
            meta[file.meta_count++] = ours[k];
    parry_status status = pr_onnx_write(ctx, path, &file);
    pr_free(meta);
    return status;
}

parry_status parry_model_save(parry_ctx *ctx, const parry_model *model, const char *path)
{
    const pr_network *network;
    char *preprocess, *classes = NULL;
    TRY(pr_network_of(ctx, model, &network));
    parry_status status = preprocess_words(ctx, network, &preprocess);
    if (status == PARRY_OK)
        status = class_words(ctx, network, &classes);
    if (status == PARRY_OK)
        status = save_with(ctx, network, preprocess, classes, path);
    parry_string_free(preprocess);
    parry_string_free(classes);
    return status;
}
