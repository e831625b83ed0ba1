/* What is declared of a network's preprocessing: the file's metadata, over it the JSON beside the file, over that
 * flags. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "base/json.h"
#include "model/network.h"

static parry_status add_source(parry_ctx *ctx, pr_network *network, const parry_preprocess *part, const char *source)
{
    char *sources;
    pr_preprocess_merge(&network->preprocess, part);
    TRY(pr_asprintf(ctx, &sources, "%s%s%s", network->preprocess_source, network->preprocess_source[0] ? ", " : "",
                    source));
    pr_free(network->preprocess_source);
    network->preprocess_source = sources;
    return PARRY_OK;
}

static parry_status read_metadata(parry_ctx *ctx, const pr_network *network, const char *text, parry_preprocess *out)
{
    char where[512];
    json_t *object;
    snprintf(where, sizeof where, "%s: metadata \"%s\"", network->name, PR_PREPROCESS_KEY);
    TRY(pr_json_parse(ctx, network->name, text, &object));
    parry_status status = pr_preprocess_read(ctx, where, object, out);
    json_decref(object);
    return status;
}

/* Flags that state one of range, mean and deviation replace all three. That the others no longer hold should not pass
 * unnoticed; a preset or a file says all that it means to. */
static parry_status warn_set_aside(parry_ctx *ctx, const pr_network *network, const parry_preprocess *flags)
{
    const parry_preprocess *declared = &network->preprocess;
    parry_preprocess lost = {0};
    char *words;
    if (!flags || flags->preset || !(flags->range.count || flags->mean.count || flags->std.count))
        return PARRY_OK;
    lost.range = flags->range.count ? lost.range : declared->range;
    lost.mean = flags->mean.count ? lost.mean : declared->mean;
    lost.std = flags->std.count ? lost.std : declared->std;
    if (!pr_preprocess_states(&lost, false))
        return PARRY_OK;
    TRY(parry_preprocess_text(ctx, &lost, &words));
    pr_log(
        ctx, PARRY_LOG_WARNING,
        "%s: --range, --mean and --std go together, and what was given of them sets aside %s (%s); give that as well "
        "if it holds",
        network->name, words, network->preprocess_source);
    parry_string_free(words);
    return PARRY_OK;
}

/* What the metadata and the JSON beside the file declare. */
static parry_status declare_by_files(parry_ctx *ctx, pr_network *network)
{
    const char *text = pr_onnx_meta_get(&network->file, PR_PREPROCESS_KEY);
    parry_preprocess part;
    char *beside = NULL;
    TRY(pr_strdup(ctx, "", &network->preprocess_source));
    if (text) {
        TRY(read_metadata(ctx, network, text, &part));
        if (!network->path) /* it was built for a size of its own; only weights are the file's */
            part.input_size = (parry_size){0};
        TRY(add_source(ctx, network, &part, "metadata"));
    }
    if (network->path)
        TRY(pr_preprocess_beside(ctx, network->path, &part, &network->claims, &beside));
    if (beside) {
        parry_status status = add_source(ctx, network, &part, pr_path_base(beside));
        pr_free(beside);
        TRY(status);
    }
    return PARRY_OK;
}

parry_status pr_network_declare(parry_ctx *ctx, pr_network *network, const parry_preprocess *flags)
{
    parry_preprocess part;
    TRY(declare_by_files(ctx, network));
    TRY(warn_set_aside(ctx, network, flags));
    TRY(pr_preprocess_resolve(ctx, flags, &part));
    return pr_preprocess_states(&part, true) ? add_source(ctx, network, &part, "flags") : PARRY_OK;
}

parry_status pr_declared_sizes(parry_ctx *ctx, void *arg, const pr_onnx_model *file, pr_dims *dims)
{
    const pr_declarers *by = arg;
    pr_network network = {.file = *file, .name = (char *)by->name, .path = (char *)by->path}; /* all borrowed */
    parry_preprocess flags;
    parry_status status = declare_by_files(ctx, &network);
    if (status == PARRY_OK)
        status = pr_preprocess_resolve(ctx, by->flags, &flags);
    if (status == PARRY_OK) {
        pr_preprocess_merge(&network.preprocess, &flags);
        pr_fit_sizes(&network.preprocess, by->fit, dims);
    }
    pr_free(network.preprocess_source);
    return status;
}
