/* Networks: the kind of model that comes from a file or a builder. For the files of this folder. */
#ifndef PR_MODEL_NETWORK_H
#define PR_MODEL_NETWORK_H

#include "model/kind.h"
#include "model/preprocess.h"
#include "data/classes.h"
#include "onnx/onnx.h"

/* Plans and idle sessions, made on demand and shared by all threads. */
typedef struct pr_network_cache pr_network_cache;

typedef struct pr_network {
    parry_model base;
    pr_onnx_model file; /* the graph as declared by the file, the weights, the file's metadata */
    pr_graph *graph;    /* the declared graph behind fitting and preprocessing: takes images in [0,1] */
    char *name, *path, *history;
    parry_preprocess preprocess; /* merged from all who declared it */
    char *preprocess_source;     /* who: "metadata", a file's name, "flags"; "" when nobody */
    pr_affine affine;
    pr_claims claims;
    char **class_names; /* NULL where they are not the network's own */
    char sha256[65];
    pr_network_cache *cache;
} pr_network;

/* NULL and PARRY_UNSUPPORTED when the model is of another kind. */
PARRY_CHECKED parry_status pr_network_of(parry_ctx *ctx, const parry_model *model, const pr_network **out);
/* Takes over `file` (cleared on failure too), fits it to images of `fit`'s shape and describes it. `path` may be NULL,
 * and so may `flags`, which go before what the file and the JSON beside it declare. */
PARRY_CHECKED parry_status pr_network_create(parry_ctx *ctx, const char *name, const char *path,
                                             pr_onnx_model *file_take, const parry_preprocess *flags,
                                             const parry_dataset_info *fit, pr_network **out);

/* Fills preprocess, preprocess_source and claims: the metadata of `file`, over it the JSON beside `path` (NULL: none),
 * over that `flags` (NULL: none). Flags that set aside part of what the file says are warned of. */
PARRY_CHECKED parry_status pr_network_declare(parry_ctx *ctx, pr_network *network, const parry_preprocess *flags);

/* Who may say how large the images are of a file that leaves it open. */
typedef struct pr_declarers {
    const char *name, *path;       /* of the file; path may be NULL: nothing lies beside it */
    const parry_preprocess *flags; /* NULL: none */
    const parry_dataset_info *fit; /* NULL: none; asked where nothing is declared */
} pr_declarers;
/* For pr_onnx_sizes; arg: pr_declarers. */
PARRY_CHECKED parry_status pr_declared_sizes(parry_ctx *ctx, void *arg, const pr_onnx_model *file, pr_dims *dims);

/* Computes the logits of n images again in plain C, which passes NaNs on, and puts those that are not finite in the
 * place of `logits`. */
PARRY_CHECKED parry_status pr_network_recompute(parry_ctx *ctx, const pr_network *network, const float *x, int n,
                                                float *logits);

/* Fills class_names and class_wnids of the description, whose `classes` is known. `fit` may be NULL. */
PARRY_CHECKED parry_status pr_network_name_classes(parry_ctx *ctx, pr_network *network, const parry_dataset_info *fit);
/* The metadata key of a JSON array of names, one for each class. */
#define PR_CLASSES_KEY "parry.classes"
PARRY_CHECKED parry_status pr_classes_json(parry_ctx *ctx, const char *const *names, int count, char **out);
/* Writes the names into the file's metadata, unless they stand there in any order. */
PARRY_CHECKED parry_status pr_classes_declare(parry_ctx *ctx, const char *const *names, int count, pr_onnx_model *file);
/* The description's classes as a table. */
pr_classes pr_model_class_table(const parry_model *model);

/* What a declared graph is fitted by. */
typedef struct pr_fit_request {
    const char *name;  /* of the model */
    const char *where; /* who declared the preprocessing, for errors */
    pr_onnx_model *file;
    const parry_preprocess *preprocess;
    const parry_dataset_info *fit; /* NULL where the declared shape says enough */
} pr_fit_request;
/* Sets the sizes of the input's axes that are 0 and follow from the declared size, else from the images of `fit` (NULL:
 * none). */
void pr_fit_sizes(const parry_preprocess *declared, const parry_dataset_info *fit, pr_dims *dims);
/* Puts in front of the declared graph what images in [0,1], N x C x H x W, need to become its input: scaling and
 * channel order, then transposition and reshaping. Constants are added to file->weights. image receives C, H, W;
 * `affine` what the pixels go through. */
PARRY_CHECKED parry_status pr_fit(parry_ctx *ctx, const pr_fit_request *request, int image[3], pr_affine *affine,
                                  pr_graph **out);

#endif
