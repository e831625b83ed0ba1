/* Networks: the kind of model that comes from a file or a builder. For the files of this folder. */
#ifndef PR_MODEL_NETWORK_H
#define PR_MODEL_NETWORK_H

#include "model/kind.h"
#include "data/classes.h"
#include "onnx/onnx.h"

/* Plans and idle sessions, made on demand and shared by all threads. */
typedef struct pr_network_cache pr_network_cache;

typedef struct pr_network {
    parry_model base;
    pr_onnx_model file; /* the graph as declared by the file, the weights, the file's metadata */
    pr_graph *graph;    /* the declared graph behind fitting and preprocessing: takes images in [0,1] */
    char *name, *path, *history;
    char **class_names; /* NULL where they are not the network's own */
    char sha256[65];
    pr_network_cache *cache;
} pr_network;

/* NULL and PARRY_UNSUPPORTED when the model is of another kind. */
PARRY_CHECKED parry_status pr_network_of(parry_ctx *ctx, const parry_model *model, const pr_network **out);
/* Takes over `file` (cleared on failure too), fits it to images of `fit`'s shape and describes it. `path` may be NULL.
 */
PARRY_CHECKED parry_status pr_network_create(parry_ctx *ctx, const char *name, const char *path,
                                             pr_onnx_model *file_take, const parry_dataset_info *fit, pr_network **out);

/* Fills class_names and class_wnids of the description, whose `classes` is known. `fit` may be NULL. */
PARRY_CHECKED parry_status pr_network_name_classes(parry_ctx *ctx, pr_network *network, const parry_dataset_info *fit);
/* The description's classes as a table. */
pr_classes pr_model_class_table(const parry_model *model);

/* Puts in front of the declared graph what images in [0,1], N x C x H x W, need to become its input: scaling as the
 * metadata key "parry.preprocess" says, then transposition and reshaping. Constants are added to file->weights. `fit`
 * may be NULL when the declared shape says enough; image receives C, H, W. */
PARRY_CHECKED parry_status pr_fit(parry_ctx *ctx, const char *name, pr_onnx_model *file, const parry_dataset_info *fit,
                                  int image[3], pr_graph **out);

#endif
