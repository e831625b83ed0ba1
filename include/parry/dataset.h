/* Labelled images. */
#ifndef PARRY_DATASET_H
#define PARRY_DATASET_H

#include <stdbool.h>

#include <parry/context.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct parry_dataset parry_dataset;
typedef enum parry_split { PARRY_TRAIN, PARRY_TEST } parry_split;

typedef struct parry_dataset_info {
    const char *name;   /* "mnist", "digits", ... or the path */
    const char *split;  /* "train", "test" or "all" */
    const char *origin; /* where it was found, in words: a path, "built-in", "memory" */
    const char *note;   /* a caveat that every output repeats (built-in, recompressed), or NULL */
    const char *sha256; /* of the pixels and labels as read (a subset's: of the whole), 64 hex digits; of photographs
                           "" until each was read once, then of each one's pixels' own, and the labels */
    int64_t count;
    int channels, height, width; /* images are N x C x H x W, in [0,1] */
    int classes;
    const char *const *class_names; /* `classes` names, or NULL */
    bool open_classes; /* nothing says how many classes there are: `classes` is one more than the largest label, and a
                          network may know more */
} parry_dataset_info;

/* Opens `spec`: a name ("mnist", "fashion-mnist", "cifar10", "digits") looked for in $PARRY_DATA and the user's cache,
 * or a path: a folder with a dataset's files, one IDX images file (its labels file beside it), a
 * .npy of images (its labels beside it: images.npy and labels.npy, x_test.npy and y_test.npy, NAME.npy and
 * NAME-labels.npy), a .npz of both, a CIFAR binary file, or
 * a folder or .npy written by parry_dataset_write. PARRY_NOT_FOUND says which file is not there, or what was looked for
 * and how to fetch it; PARRY_INVALID that no dataset has the name. A name never stands for other content than its own:
 * recompressed or partial copies have names of their own and a note. */
PARRY_API PARRY_CHECKED parry_status parry_dataset_open(parry_ctx *ctx, const char *spec, parry_split split,
                                                        parry_dataset **out);

/* Whether `spec` means photographs (a picture file, or a folder of them that is no dataset parry_dataset_open knows):
 * those need a model, which says their size: parry_dataset_open_images. */
PARRY_API bool parry_dataset_has_images(parry_ctx *ctx, const char *spec);

/* Whether `spec`, a folder of photographs, keeps the images of `split` apart (train; val, valid, validation or test);
 * one without such folders has the same images in both. */
PARRY_API bool parry_dataset_has_split(parry_ctx *ctx, const char *spec, parry_split split);

/* Copies n images (C x H x W floats in [0,1], but see clip) and labels in 0..classes-1, or -1 for unknown. */
PARRY_API PARRY_CHECKED parry_status parry_dataset_create(parry_ctx *ctx, const float *images, const int32_t *labels,
                                                          int64_t n, int channels, int height, int width, int classes,
                                                          parry_dataset **out);
PARRY_API void parry_dataset_free(parry_dataset *dataset);

/* The first `count` images (all when count is 0 or more than there are); shares the pixels, may outlive `dataset`. */
PARRY_API PARRY_CHECKED parry_status parry_dataset_first(parry_ctx *ctx, const parry_dataset *dataset, int64_t count,
                                                         parry_dataset **out);

/* The same images with other pixels (`images`, count x C x H x W floats): name, labels, class names and the images'
 * names stay, and so does the note, to which `note` is added. */
PARRY_API PARRY_CHECKED parry_status parry_dataset_replace(parry_ctx *ctx, const parry_dataset *dataset,
                                                           const float *images, const char *note, parry_dataset **out);

PARRY_API const parry_dataset_info *parry_dataset_describe(const parry_dataset *dataset);
/* Writes images [first, first + n) as floats, n x C x H x W. The range must lie inside. Photographs are decoded when
 * they are asked for, and 4 GiB of them, in 8 bits, are kept for the next time; a damaged one is named. Nothing else
 * fails. */
PARRY_API PARRY_CHECKED parry_status parry_dataset_images(parry_ctx *ctx, const parry_dataset *dataset, int64_t first,
                                                          int64_t n, float *out);
/* `count` labels; -1 is unknown, as those of photographs may be. */
PARRY_API const int32_t *parry_dataset_labels(const parry_dataset *dataset);
/* The file that image `index` was read from, as it was named; "" where images have no names. */
PARRY_API const char *parry_dataset_image_name(const parry_dataset *dataset, int64_t index);

/* Writes images.npy (float32, N x C x H x W), labels.npy (int64) and dataset.json (classes, their names, the note) into
 * the folder `path`, which is created. */
PARRY_API PARRY_CHECKED parry_status parry_dataset_write(parry_ctx *ctx, const parry_dataset *dataset,
                                                         const char *path);

/* The known datasets, by name; NULL ends the list. */
typedef struct parry_dataset_entry {
    const char *name, *summary, *shape, *licence;
    bool fetchable; /* whether parry_dataset_fetch has verified mirrors */
} parry_dataset_entry;
PARRY_API const parry_dataset_entry *parry_dataset_list(size_t *count);
/* Where `name` would be read from, or NULL when it is not on this machine. Freed with parry_string_free. Here and for
 * fetching, a name that no dataset has is PARRY_INVALID. */
PARRY_API PARRY_CHECKED parry_status parry_dataset_locate(parry_ctx *ctx, const char *name, char **out);

/* Downloads `name` into the user's cache: each mirror in turn, resuming a partial file, SHA-256 checked, atomically
 * renamed. `mirror` (a base URL, https:// or http://) replaces the built-in mirrors when not NULL; hashes are checked
 * all the same. */
PARRY_API PARRY_CHECKED parry_status parry_dataset_fetch(parry_ctx *ctx, const char *name, const char *mirror);

/* The known trained networks, described in the same way (`shape` is that of their images); NULL past the last. */
PARRY_API const parry_dataset_entry *parry_model_catalogue(size_t index);
/* Where the ONNX file of a known network lies in the user's cache, or NULL when it was not fetched. */
PARRY_API PARRY_CHECKED parry_status parry_model_locate(parry_ctx *ctx, const char *name, char **out);
/* Downloads it, as parry_dataset_fetch does, and writes its preprocessing beside it, where parry_model_load finds it.
 * PARRY_UNSUPPORTED says what to do by hand where no verified download is known. */
PARRY_API PARRY_CHECKED parry_status parry_model_fetch(parry_ctx *ctx, const char *name, const char *mirror);

#ifdef __cplusplus
}
#endif
#endif
