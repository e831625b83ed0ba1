/* Photographs as data: which files, which labels, and reading them to the size of a network. */
#ifndef PR_DATA_PHOTOS_H
#define PR_DATA_PHOTOS_H

#include <parry/image.h>

#include "data/classes.h"
#include "data/data.h"
#include "image/image.h"

typedef struct pr_photo {
    char *path;
    char *name;    /* as shown: the path below the folder that was named */
    int32_t label; /* -1: unknown */
    bool matched;  /* by the path in a table of labels */
} pr_photo;

typedef struct pr_photos {
    pr_photo *items;
    size_t count, capacity;
    size_t ignored;      /* files that are no pictures */
    char *first_ignored; /* one of them, NULL when there is none */
} pr_photos;
void pr_photos_release(pr_photos *photos);
/* Only the first `count`, where there are more. */
void pr_photos_truncate(pr_photos *photos, uint64_t count);

/* Lists what `paths` name: picture files, and folders of class folders, with a table of labels, or flat (labels
 * unknown). `labels` is a CSV file for all of them, or NULL; see parry_dataset_open_images. */
PARRY_CHECKED parry_status pr_photos_list(parry_ctx *ctx, const char *const *paths, size_t count,
                                          const pr_classes *classes, const char *labels, parry_split split,
                                          pr_photos *out);
/* The class folders of `folder` (of its split folder where it has one) in the order of their labels, to be released. A
 * folder with a table of labels, with pictures alone or with fewer than two class folders is refused. */
typedef struct pr_photo_classes {
    char **names;
    size_t count;
} pr_photo_classes;
PARRY_CHECKED parry_status pr_photo_classes_list(parry_ctx *ctx, const char *folder, parry_split split,
                                                 pr_photo_classes *out);
void pr_photo_classes_release(pr_photo_classes *classes);
/* Whether all folders in `path` are splits, and one of them is `split`. */
bool pr_photos_have_split(parry_ctx *ctx, const char *path, parry_split split);
/* Whether `path` is a picture or a folder that has some, at most three folders down. */
bool pr_path_has_pictures(parry_ctx *ctx, const char *path);

/* ---- tables of labels (photo_labels.c) --------------------------------------------------------------------------- */

typedef struct pr_label_row {
    char *file;
    int32_t label;
} pr_label_row;
typedef struct pr_label_table {
    pr_label_row *rows;
    size_t count, capacity;
} pr_label_table;
/* CSV with a header: a column file (or filename, image, path), and one of class_index, wnid, class_name, label. */
PARRY_CHECKED parry_status pr_labels_read(parry_ctx *ctx, const char *path, const pr_classes *classes,
                                          pr_label_table *out);
void pr_labels_release(pr_label_table *table);
/* Labels of pictures that are listed already, from the table in the file `path`: by their paths, else by their names.
 */
PARRY_CHECKED parry_status pr_labels_apply(parry_ctx *ctx, const char *path, const pr_classes *classes,
                                           pr_photos *photos);

/* ---- reading ---------------------------------------------------------------------------------------------------- */

/* The network's size, and how a photograph gets there. */
typedef struct pr_photo_size {
    int channels, height, width;
    parry_resize resize;
    int resize_size; /* PARRY_RESIZE_CROP: pixels of the shorter side before the cut */
} pr_photo_size;
/* Whether the shorter side becomes resize_size and the middle is cut out. */
bool pr_photo_is_cropped(const pr_photo_size *size);
/* Whether every photograph becomes the same bytes at both. */
bool pr_photo_size_same(const pr_photo_size *a, const pr_photo_size *b);
/* One file as it is, upright, 8 bits. `traits` may be NULL. */
PARRY_CHECKED parry_status pr_photo_decode(parry_ctx *ctx, const char *path, pr_image_traits *traits, pr_bitmap *out);
/* A picture of 8 bits at the network's size; `where` names it in errors. */
PARRY_CHECKED parry_status pr_photo_fit(parry_ctx *ctx, const char *where, const pr_bitmap *photo,
                                        const pr_photo_size *size, pr_bitmap *out);
/* One file as height x width x channels bytes. `traits` may be NULL. */
PARRY_CHECKED parry_status pr_photo_read(parry_ctx *ctx, const char *path, const pr_photo_size *size,
                                         pr_image_traits *traits, pr_bitmap *out);

/* ---- many, on demand (photo_reader.c) ---------------------------------------------------------------------------- */

/* Fills labels and names of `out`, and its reader of photographs; `photos`, not empty, is taken over and left empty, on
 * failure too. Nothing is decoded. `room`: bytes of 8-bit planes that may be kept. */
PARRY_CHECKED parry_status pr_photos_open(parry_ctx *ctx, pr_photos *photos_take, const pr_photo_size *size,
                                          size_t room, pr_images *out);
/* The same photographs at another size, nothing decoded; the new reader takes half of the room that `from` has. Its
 * remarks are those that depend on the size. */
PARRY_CHECKED parry_status pr_photos_reopen(parry_ctx *ctx, pr_photo_reader *from, const pr_photo_size *size,
                                            pr_images *out);
const pr_photo_size *pr_photo_reader_size(const pr_photo_reader *reader);
/* Photograph `index` as C x H x W floats in [0,1]; from any thread. `keep`: it will be asked for again. `out` may be
 * NULL. When each was read once, remarks on what was converted are logged. */
PARRY_CHECKED parry_status pr_photo_reader_read(parry_ctx *ctx, pr_photo_reader *reader, int64_t index, bool keep,
                                                float *out);
/* Reads all of them, in parallel, and keeps as many as there is room for. */
PARRY_CHECKED parry_status pr_photo_reader_load(parry_ctx *ctx, pr_photo_reader *reader);
/* Of the photographs' planes and labels; "" until each was read once. */
const char *pr_photo_reader_sha256(const pr_photo_reader *reader);
void pr_photo_reader_free(pr_photo_reader *reader);

/* The dataset's photographs at `size`; of other data, and where they have it already, one more reference. */
PARRY_CHECKED parry_status pr_dataset_refit(parry_ctx *ctx, const parry_dataset *dataset, const pr_photo_size *size,
                                            parry_dataset **out);

#endif
