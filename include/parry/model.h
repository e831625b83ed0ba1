/* Classifiers: loading, saving, building, logits and input gradients. */
#ifndef PARRY_MODEL_H
#define PARRY_MODEL_H

#include <stdbool.h>

#include <parry/context.h>
#include <parry/dataset.h>
#include <parry/precision.h>
#include <parry/preprocess.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct parry_model parry_model;

typedef struct parry_model_info {
    const char *name;     /* file name without folder, or the architecture's name */
    const char *path;     /* NULL for a model that was built */
    const char *sha256;   /* of the file, NULL for a model that was built */
    const char *producer; /* of the file, "" when it names none */
    int channels, height,
        width; /* of the images it takes, N x C x H x W in [0,1], before its own layout and preprocessing */
    int classes;
    int64_t parameters;  /* trainable scalars */
    bool softmax_peeled; /* the file ends in Softmax or LogSoftmax; logits are taken before it */
    const char *history; /* JSON: how it was trained (see parry_train), or NULL */
    /* `classes` names or NULL: the file's own, those of the dataset it was trained on or fitted to, or ImageNet's for
     * 1000 classes. A name may be several, separated by ", ". See parry/classes.h. */
    const char *const *class_names;
    const char *const *class_wnids;     /* WordNet identifiers, of ImageNet's classes, or NULL */
    const parry_preprocess *preprocess; /* what happens to an image in [0,1]; see parry/preprocess.h */
    const double *units; /* by channel of the network: what a step of 1 in [0,1] is in its own units; NULL: 1 */
    const char *preprocess_source; /* who declared it: "metadata", "net.json", "flags", several of them; "": nobody */
} parry_model_info;

/* Loads an ONNX classifier. A flat (N x 784), channel-less (N x 28 x 28) or NHWC input is fitted to images of `fit`'s
 * shape, which may be NULL when the file says enough. PARRY_FORMAT names what is wrong with the file, PARRY_UNSUPPORTED
 * lists every missing operator with its node, PARRY_MISMATCH says how file and dataset differ, PARRY_NUMERIC names a
 * weight that is not finite. */
PARRY_API PARRY_CHECKED parry_status parry_model_load(parry_ctx *ctx, const char *path, const parry_dataset *fit,
                                                      parry_model **out);
/* The same with preprocessing declared by the caller (NULL: nothing). It goes before what the JSON beside the file says
 * (MODEL.preprocess.json, or MODEL.json where it speaks of preprocessing), and that before the file's metadata. Models
 * that are saved carry the result. */
PARRY_API PARRY_CHECKED parry_status parry_model_load_as(parry_ctx *ctx, const char *path,
                                                         const parry_preprocess *preprocess, const parry_dataset *fit,
                                                         parry_model **out);
/* A freshly initialised network of an architecture that parry_arch_list names. Weights depend on the context's seed
 * alone. */
PARRY_API PARRY_CHECKED parry_status parry_model_build(parry_ctx *ctx, const char *arch, int channels, int height,
                                                       int width, int classes, parry_model **out);
/* What a network is built for, and from. */
typedef struct parry_build {
    int channels, height, width, classes;
    const char *const *class_names; /* `classes` names, or NULL */
    /* NULL, or an ONNX file of the same architecture, for images of any size: weights, preprocessing, class names and
     * history are its own. Weights go by the layers' names where the file kept them, else by structure; batch norm may
     * be folded there. Its class names stay where they are those above in another order, or where none are given. */
    const char *weights;
    const parry_preprocess *preprocess; /* goes before that of `weights`; NULL: nothing */
} parry_build;
/* PARRY_MISMATCH names the first layer of `weights` that does not fit. */
PARRY_API PARRY_CHECKED parry_status parry_model_build_from(parry_ctx *ctx, const char *arch, const parry_build *build,
                                                            parry_model **out);
/* The same for square photographs in `folder`, of `side` pixels (0: what the architecture was made for): the classes
 * are the folders of its training split, and how photographs are resized is stated in the model. */
PARRY_API PARRY_CHECKED parry_status parry_model_build_for_images(parry_ctx *ctx, const char *arch, const char *folder,
                                                                  int side, const char *weights,
                                                                  const parry_preprocess *preprocess,
                                                                  parry_model **out);
/* Writes ONNX (a Softmax that was peeled is restored) to a temporary name and renames it. */
PARRY_API PARRY_CHECKED parry_status parry_model_save(parry_ctx *ctx, const parry_model *model, const char *path);
PARRY_API void parry_model_free(parry_model *model);
PARRY_API const parry_model_info *parry_model_describe(const parry_model *model);

/* Logits, n x classes, of n images (n x C x H x W, in [0,1]; values outside are allowed). */
PARRY_API PARRY_CHECKED parry_status parry_model_logits(parry_ctx *ctx, const parry_model *model, const float *images,
                                                        int64_t n, float *logits);
/* The same of images [first, first + n) of `dataset`, which are read chunk by chunk, by the threads that classify them.
 */
PARRY_API PARRY_CHECKED parry_status parry_dataset_logits(parry_ctx *ctx, const parry_model *model,
                                                          const parry_dataset *dataset, int64_t first, int64_t n,
                                                          float *logits);
/* The softmax of n rows of logits; `out` may be `logits`. */
PARRY_API void parry_probabilities(const float *logits, int64_t n, int classes, float *out);
/* The numbers of the `top` (1 to `classes`) largest entries of a row of logits or probabilities, the largest first;
 * equal ones in the order of the classes. */
PARRY_API void parry_top_classes(const float *row, int classes, int top, int *out);
/* The same for a row of logits, with the probabilities of those classes, which are not rounded to float. */
PARRY_API void parry_top_probabilities(const float *logits, int classes, int top, int *out, double *probabilities);
/* Gradient of each image's own loss (`loss` names one of parry_loss_list) with respect to that image, n x C x H x W.
 * `loss_out` (n) may be NULL. */
PARRY_API PARRY_CHECKED parry_status parry_model_input_gradient(parry_ctx *ctx, const parry_model *model,
                                                                const char *loss, const float *images,
                                                                const int32_t *labels, int64_t n, float *loss_out,
                                                                float *gradient);
/* Opens photographs at the size that `model` takes: `paths` name `count` picture files (PNG, JPEG, WebP) and folders. A
 * folder has a labels.csv (a column file, and one of class_index, wnid, class_name, label), or a folder for each class
 * (named by class name, WordNet identifier or index; else as many as there are classes, in alphabetical order), whose
 * pictures come one of each class in turn, so that the first N of them show as many classes as they can, or
 * train/val/test folders of those, or pictures alone, whose labels are unknown (-1). `labels` names a CSV for all of
 * them, or is NULL. `first`: only the first N; 0: all. Files are listed now and decoded to 8 bits a sample when they
 * are asked for, by the threads that work on them; see parry_dataset_images, and parry_image_read for what is
 * converted. */
PARRY_API PARRY_CHECKED parry_status parry_dataset_open_images(parry_ctx *ctx, const char *const *paths, size_t count,
                                                               const parry_model *model, const char *labels,
                                                               parry_split split, int64_t first, parry_dataset **out);

/* The same data as `model` takes them: photographs are read at its size and by its rule of resizing, each when it is
 * asked for; other data, and photographs that are so already, are shared as they are. Photographs that are kept share
 * the room of `dataset`. */
PARRY_API PARRY_CHECKED parry_status parry_dataset_fit_images(parry_ctx *ctx, const parry_dataset *dataset,
                                                              const parry_model *model, parry_dataset **out);

/* Share of the labelled images of `dataset` that are classified as labelled, and the mean cross-entropy (`loss` may be
 * NULL). PARRY_INVALID when no image has a label. */
PARRY_API PARRY_CHECKED parry_status parry_model_accuracy(parry_ctx *ctx, const parry_model *model,
                                                          const parry_dataset *dataset, double *accuracy, double *loss);

/* Whether the preprocessing looks right. */
typedef struct parry_preprocess_check {
    int64_t count; /* labelled images that were looked at, at most a few hundred; 0: there are none, nothing is known */
    double accuracy;        /* on them */
    double chance;          /* of a guess */
    double claim;           /* the least accuracy that the JSON beside the file claims; 0: none */
    bool suspicious;        /* accuracy is hardly above chance, far below the claim, or an alternative clearly better */
    double better_accuracy; /* of the best of the usual alternatives on at most 48 of the images, where it is clearly
                               better: by more than 15 points there, and at the 1 % level of a one-sided sign test; else
                               0 */
    parry_preprocess better; /* that one */
} parry_preprocess_check;
/* Measures accuracy on some images of the dataset and logs a warning when it looks as if the declared preprocessing
 * were wrong, with the alternative (range 0..1, 0..255 or -1..1, ImageNet's or CIFAR-10's mean and deviation, RGB or
 * BGR) that would do better. Alternatives are tried where accuracy looks wrong, is below 70 %, or is below 85 % and
 * neither range nor mean nor deviation was declared; on 16 images at least. */
PARRY_API PARRY_CHECKED parry_status parry_model_check_preprocess(parry_ctx *ctx, const parry_model *model,
                                                                  const parry_dataset *dataset,
                                                                  parry_preprocess_check *out);

enum { PARRY_EPS_ROOM = 160 };
/* The size of a perturbation in words: "0.03137 (8/255; 0.1370, 0.1401, 0.1394 in the network's units)": in [0,1], in
 * grey levels, and in what the preprocessing makes of it, by channel where they differ. */
PARRY_API const char *parry_eps_words(const parry_model_info *info, double eps, char buffer[PARRY_EPS_ROOM]);

/* The execution plan as text: a line per step with the implementation chosen; lines with a reference kernel of the
 * library are marked "REFERENCE". purpose: "inference", "gradient" or "training". Freed with parry_string_free. */
PARRY_API PARRY_CHECKED parry_status parry_model_plan_text(parry_ctx *ctx, const parry_model *model,
                                                           const char *purpose, parry_precision precision, char **out);
/* The graph in Graphviz' DOT language. */
PARRY_API PARRY_CHECKED parry_status parry_model_dot(parry_ctx *ctx, const parry_model *model, char **out);

/* Architectures for parry_model_build, losses; NULL-terminated lists. */
PARRY_API const char *const *parry_arch_list(void);
PARRY_API const char *const *parry_loss_list(void);

#ifdef __cplusplus
}
#endif
#endif
