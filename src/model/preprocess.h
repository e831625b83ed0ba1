/* Declarations of preprocessing: from presets, JSON and files beside the model; merging; what they amount to. */
#ifndef PR_MODEL_PREPROCESS_H
#define PR_MODEL_PREPROCESS_H

#include <jansson.h>

#include <parry/preprocess.h>

#include "base/base.h"

#define PR_PREPROCESS_KEY "parry.preprocess"
enum { PR_PREPROCESS_CHANNELS = PARRY_FLOATS_MAX, PR_SIDE_MAX = 1 << 15 };

/* Accuracies that a file beside the model claims, as fractions; count 0: none. */
typedef struct pr_claims {
    int count;
    double least;
} pr_claims;

/* y = x * scale + shift by channel of the network, and whether those are the image's in reverse. */
typedef struct pr_affine {
    int channels;
    bool reversed;
    double scale[PR_PREPROCESS_CHANNELS], shift[PR_PREPROCESS_CHANNELS];
} pr_affine;

/* Every key of the object is one of the declaration's; `where` begins errors. */
PARRY_CHECKED parry_status pr_preprocess_read(parry_ctx *ctx, const char *where, const json_t *object,
                                              parry_preprocess *out);
/* What is stated, as such an object. */
PARRY_CHECKED parry_status pr_preprocess_json(parry_ctx *ctx, const parry_preprocess *from, json_t **out);
/* Whether anything is stated (`resizing`: counting what concerns photographs only). */
bool pr_preprocess_states(const parry_preprocess *from, bool resizing);
/* `over` where it states something, else what `out` holds. The preset is not carried over. */
void pr_preprocess_merge(parry_preprocess *out, const parry_preprocess *over);
/* What flags declare, their preset or file looked up and merged beneath. */
PARRY_CHECKED parry_status pr_preprocess_resolve(parry_ctx *ctx, const parry_preprocess *flags, parry_preprocess *out);
/* The JSON beside the model: MODEL.preprocess.json, else MODEL.json (MODEL without .onnx) if it speaks of
 * preprocessing. *found is the file's name, freed with pr_free, or NULL. */
PARRY_CHECKED parry_status pr_preprocess_beside(parry_ctx *ctx, const char *model_path, parry_preprocess *out,
                                                pr_claims *claims, char **found);
/* One file in that format. */
PARRY_CHECKED parry_status pr_preprocess_file(parry_ctx *ctx, const char *path, parry_preprocess *out,
                                              pr_claims *claims, bool *found);
/* `where` begins errors: means or deviations that are not one per channel, a deviation that is not positive. */
PARRY_CHECKED parry_status pr_preprocess_affine(parry_ctx *ctx, const char *where, const parry_preprocess *from,
                                                int64_t channels, pr_affine *out);

#endif
