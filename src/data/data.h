/* Inside the data layer: what the readers of formats hand over, the catalogue of known data sets, and the downloader.
 *
 * Everything that comes from a file is checked here once: shapes against sizes before anything is allocated, counts
 * against each other, labels against the number of classes. Multi-byte values in memory and in .npy files are
 * little-endian, as on every machine parry is built for. */
#ifndef PR_DATA_DATA_H
#define PR_DATA_DATA_H

#include <parry/dataset.h>

#include "base/base.h"
#include "base/file.h"

/* Unpacked files larger than this are refused; so many bytes of photographs are kept in memory. */
#define PR_DATA_FILE_LIMIT ((size_t)4 << 30)

typedef struct pr_photo_reader pr_photo_reader;

/* Images as read: `bytes` where the source is 8-bit, else `floats`, N x C x H x W, or `photos`, which are read on
 * demand; all memory owned. */
typedef struct pr_images {
    int64_t count;
    int channels, height, width, classes;
    bool open_classes; /* see parry_dataset_info */
    uint8_t *bytes;
    float *floats;
    pr_photo_reader *photos;
    int32_t *labels; /* -1: unknown, of photographs */
    char **names;    /* of the images, or NULL */
} pr_images;
void pr_images_release(pr_images *images);
/* Values of one image. */
int64_t pr_images_row(const pr_images *images);
/* Of the first `count` images: their values as kept, then their labels as 32-bit integers. */
PARRY_CHECKED parry_status pr_images_sha256(parry_ctx *ctx, const pr_images *images, int64_t count,
                                            char hex[PR_SHA256_HEX]);
/* Product of `rank` extents and `size`; false when one is not positive or the product exceeds PR_DATA_FILE_LIMIT. */
bool pr_extent_bytes(const int64_t *extent, int rank, size_t size, size_t *bytes);

/* ---- formats; `where` names the source in errors ---------------------------------------------------------------- */

/* IDX images: fills all but the labels. */
PARRY_CHECKED parry_status pr_idx_images(parry_ctx *ctx, const char *where, const uint8_t *data, size_t size,
                                         pr_images *out);
/* IDX labels for images already in `out`: the counts must agree. Labels must lie below `classes`; 0 takes the classes
 * from the largest label. */
PARRY_CHECKED parry_status pr_idx_labels(parry_ctx *ctx, const char *where, const uint8_t *data, size_t size,
                                         int classes, pr_images *out);
PARRY_CHECKED parry_status pr_idx_read(parry_ctx *ctx, const char *images_path, const char *labels_path, int classes,
                                       pr_images *out);

/* A format of two files, by its readers; pr_pair_read reads both. */
typedef struct pr_pair_format {
    parry_status (*images)(parry_ctx *ctx, const char *where, const uint8_t *data, size_t size, pr_images *out);
    parry_status (*labels)(parry_ctx *ctx, const char *where, const uint8_t *data, size_t size, int classes,
                           pr_images *out);
} pr_pair_format;
PARRY_CHECKED parry_status pr_pair_read(parry_ctx *ctx, const pr_pair_format *format, const char *images_path,
                                        const char *labels_path, int classes, pr_images *out);

/* CIFAR-10 binary files, in order, all of the same size. */
PARRY_CHECKED parry_status pr_cifar_read(parry_ctx *ctx, char *const *paths, int count, pr_images *out);

/* NumPy arrays of images (float32, float64, uint8; N x H x W, N x C x H x W or N x H x W x C) and labels (int64, int32,
 * uint8; N or N x 1). A .npy holds no number of classes: 0 takes it from the largest label. */
PARRY_CHECKED parry_status pr_npy_images(parry_ctx *ctx, const char *where, const uint8_t *data, size_t size,
                                         pr_images *out);
PARRY_CHECKED parry_status pr_npy_labels(parry_ctx *ctx, const char *where, const uint8_t *data, size_t size,
                                         int classes, pr_images *out);
PARRY_CHECKED parry_status pr_npy_read(parry_ctx *ctx, const char *images_path, const char *labels_path, int classes,
                                       pr_images *out);
/* NumPy's .npz of images (x_train or x_test by split, else images, x or arr_0) and labels (y_..., labels, y, arr_1), in
 * small letters or capitals. */
PARRY_CHECKED parry_status pr_npz_read(parry_ctx *ctx, const char *path, parry_split split, pr_images *out);
/* Writes the header of a C-order array; the elements follow. `descr` is NumPy's: "<f4". */
void pr_npy_header(FILE *stream, const char *descr, const int64_t *shape, int rank);

/* The built-in digits: 60,000 for training, 10,000 others for testing, always the same. */
PARRY_CHECKED parry_status pr_digits_read(parry_ctx *ctx, parry_split split, pr_images *out);

/* ---- data sets -------------------------------------------------------------------------------------------------- */

/* What a data set says of itself; the strings are copied. */
typedef struct pr_dataset_words {
    const char *name, *split, *origin, *note;
    const char *const *class_names;
} pr_dataset_words;
/* Makes a data set of `images`, which are taken over and left empty, on failure too. */
PARRY_CHECKED parry_status pr_dataset_take(parry_ctx *ctx, pr_images *images, const pr_dataset_words *words,
                                           parry_dataset **out);
/* Writes n images as floats, n x C x H x W: those that `index` names, or with NULL first .. first + n - 1. Photographs
 * are decoded; `keep`: they will be asked for again. On the context's threads, or inside a job on its own. */
PARRY_CHECKED parry_status pr_dataset_read(parry_ctx *ctx, const parry_dataset *dataset, const int64_t *index,
                                           int64_t first, int64_t n, bool keep, float *out);
/* PARRY_MISMATCH unless the network `who`, of that many classes, knows those of the data. */
PARRY_CHECKED parry_status pr_dataset_check_classes(parry_ctx *ctx, const parry_dataset_info *info, const char *who,
                                                    int classes);
/* Whether the images are photographs, which can be read at another size. */
bool pr_dataset_has_photos(const parry_dataset *dataset);
/* Before long work on all images: photographs are read now, so that a damaged one is found, and kept. */
PARRY_CHECKED parry_status pr_dataset_load(parry_ctx *ctx, const parry_dataset *dataset);
/* Whether `path` is a folder with the files of a known layout, or one written by parry_dataset_write. */
bool pr_path_is_dataset(parry_ctx *ctx, const char *path);
/* Opens the folder or file `path`. */
PARRY_CHECKED parry_status pr_dataset_open_path(parry_ctx *ctx, const char *path, parry_split split,
                                                parry_dataset **out);

/* ---- the catalogue ---------------------------------------------------------------------------------------------- */

typedef enum pr_format { PR_FORMAT_IDX, PR_FORMAT_CIFAR, PR_FORMAT_BUILT_IN } pr_format;

enum { PR_SET_FILES = 6 };

/* The original content of a split: how many images, and the hash (pr_images_sha256) of the first `hashed` of them. */
typedef struct pr_known_content {
    int64_t count, hashed;
    const char *sha256;
} pr_known_content;

/* A file to download. */
typedef struct pr_remote_file {
    const char *name;
    uint64_t size;
    const char *sha256;
} pr_remote_file;

typedef struct pr_source {
    pr_format format;
    const char *folders[3];             /* below a root, in order of preference; NULL ends */
    const char *files[2][PR_SET_FILES]; /* by split; each may carry .gz in addition; NULL ends */
    pr_known_content known[2];          /* by split */
    bool only_known;                    /* under this name, other content is refused rather than remarked on */
    const char *note;                   /* the caveat of this content */
    int classes;
    const char *const *class_names;
    const char *by_hand; /* where it cannot be fetched: what to do instead */
    const pr_remote_file *remote;
    size_t remotes;
    const char *const *mirrors; /* base URLs, NULL-terminated */
} pr_source;

/* The source behind parry_dataset_list's entry with this name, or NULL. */
const pr_source *pr_source_find(const char *name);
/* The known source whose content `images` are, or NULL. */
PARRY_CHECKED parry_status pr_source_identify(parry_ctx *ctx, const pr_images *images, const pr_source **out);
/* *out becomes `path`, or `path`.gz, whichever is there; NULL when neither is. Freed with pr_free. */
PARRY_CHECKED parry_status pr_find_file(parry_ctx *ctx, const char *path, char **out);
/* Whether `folder` holds the files of a split of `source`: `paths` become their names, freed with pr_paths_free. */
PARRY_CHECKED parry_status pr_source_files(parry_ctx *ctx, const pr_source *source, const char *folder,
                                           parry_split split, char *paths[PR_SET_FILES], bool *found);
void pr_paths_free(char *paths[PR_SET_FILES]);
/* Reads the files that pr_source_files found. */
PARRY_CHECKED parry_status pr_source_read(parry_ctx *ctx, const pr_source *source, char *const paths[PR_SET_FILES],
                                          pr_images *out);
/* Sources by number, for trying each; NULL past the last. */
const pr_source *pr_source_at(size_t index);
/* PARRY_NOT_FOUND for a name that is none, with the nearest one that is. */
PARRY_CHECKED parry_status pr_source_unknown(parry_ctx *ctx, const char *name);

/* ---- downloads -------------------------------------------------------------------------------------------------- */

/* Brings `file` into `folder` (which exists): skipped when it is there and right; else each mirror in turn, continuing
 * a partial download kept beside it as NAME.part. Nothing but the exact content (size and SHA-256) ever gets the name.
 * `base` and `total` place the bytes in the progress of a larger task. Mirrors must be https://, or http:// too where
 * `allow_http`. */
typedef struct pr_fetch_task {
    const char *what; /* for progress: "fetch mnist" */
    const char *const *mirrors;
    bool allow_http;
    uint64_t base, total;
} pr_fetch_task;
PARRY_CHECKED parry_status pr_fetch_file(parry_ctx *ctx, const pr_fetch_task *task, const pr_remote_file *file,
                                         const char *folder);

/* PARRY_INVALID unless `mirror` is NULL or a URL of http or https. */
PARRY_CHECKED parry_status pr_mirror_check(parry_ctx *ctx, const char *mirror);

/* A trained network to download (models.c). */
typedef struct pr_remote_model {
    parry_dataset_entry entry;
    pr_remote_file file;
    const char *const *mirrors;
    const char *preprocess; /* the JSON beside the file */
} pr_remote_model;
/* NULL past the last one. */
const pr_remote_model *pr_remote_model_at(size_t index);
/* Into the models' folder of the user's cache, with its preprocessing beside it. `mirror` as for parry_dataset_fetch.
 */
PARRY_CHECKED parry_status pr_model_fetch(parry_ctx *ctx, const pr_remote_model *model, const char *mirror);

#endif
