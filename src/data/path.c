/* Opening a data set by path: a folder with the files of a known layout, a folder written by parry_dataset_write, or
 * one file of images. */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "data/data.h"

enum { MOST_CLASSES = 1 << 20 };

/* Says what the images are where their content is known, and takes them into a data set. */
static parry_status take(parry_ctx *ctx, const char *path, const char *split, const pr_source *layout,
                         pr_images *images, parry_dataset **out)
{
    const pr_source *content;
    pr_dataset_words words = {.name = path, .split = split, .origin = path};
    parry_status status = pr_source_identify(ctx, images, &content);
    if (status != PARRY_OK) {
        pr_images_release(images);
        return status;
    }
    if (content) {
        words.class_names = content->class_names;
        words.note = content->note;
    } else if (layout && layout->format == PR_FORMAT_CIFAR) {
        words.class_names = layout->class_names;
        words.note = "in CIFAR-10's format, but not known to hold its original pixels";
    }
    return pr_dataset_take(ctx, images, &words, out);
}

/* ---- folders written by parry_dataset_write --------------------------------------------------------------------- */

/* The fields of dataset.json; `names` is NULL or has `classes` items, which point into the JSON value. classes: 0 where
 * it is not known. */
typedef struct description {
    json_t *json;
    int classes;
    const char *note;
    const char **names;
} description;

static parry_status read_names(parry_ctx *ctx, const char *path, const json_t *list, description *out)
{
    if (!json_is_array(list) || json_array_size(list) != (size_t)out->classes)
        return pr_fail(ctx, PARRY_FORMAT, "%s: \"class_names\" must be a list of %d names", path, out->classes);
    TRY(pr_alloc(ctx, out->classes, &out->names));
    for (int i = 0; i < out->classes; i++) {
        out->names[i] = json_string_value(json_array_get(list, (size_t)i));
        if (!out->names[i])
            return pr_fail(ctx, PARRY_FORMAT, "%s: \"class_names\" has an item that is not a text", path);
    }
    return PARRY_OK;
}

static parry_status read_description(parry_ctx *ctx, const char *folder, description *out)
{
    char *path;
    uint8_t *text = NULL;
    size_t size;
    TRY(pr_path_join(ctx, folder, "dataset.json", &path));
    parry_status status = PARRY_OK;
    if (!pr_file_exists(path))
        goto out;
    TRY_TO(out, pr_file_read(ctx, path, (size_t)64 << 20, &text, &size));
    TRY_TO(out, pr_json_parse(ctx, path, (const char *)text, &out->json));
    const json_t *stated = json_object_get(out->json, "classes"), *names = json_object_get(out->json, "class_names");
    const json_int_t classes = json_integer_value(stated);
    if (!json_is_object(out->json) || ((stated || names) && (classes < 1 || classes > MOST_CLASSES)))
        TRY_TO(out, pr_fail(ctx, PARRY_FORMAT, "%s: \"classes\" must be a number from 1 to %d", path, MOST_CLASSES));
    out->classes = (int)classes;
    out->note = json_string_value(json_object_get(out->json, "note"));
    if (names)
        status = read_names(ctx, path, names, out);
out:
    pr_free(text);
    pr_free(path);
    return status;
}

static parry_status open_written(parry_ctx *ctx, const char *folder, parry_dataset **out)
{
    char *images_path = NULL, *labels_path = NULL;
    description words = {0};
    pr_images images = {0};
    parry_status status;
    TRY_TO(out, pr_path_join(ctx, folder, "images.npy", &images_path));
    TRY_TO(out, pr_path_join(ctx, folder, "labels.npy", &labels_path));
    TRY_TO(out, read_description(ctx, folder, &words));
    TRY_TO(out, pr_npy_read(ctx, images_path, labels_path, words.classes, &images));
    status = pr_dataset_take(
        ctx, &images,
        &(pr_dataset_words){
            .name = folder, .split = "all", .origin = folder, .note = words.note, .class_names = words.names},
        out);
out:
    json_decref(words.json);
    pr_free(words.names);
    pr_free(images_path);
    pr_free(labels_path);
    return status;
}

/* ---- folders with the files of a known layout ------------------------------------------------------------------- */

/* Tries every layout in `folder`; *out stays NULL when none fits. */
static parry_status open_layout(parry_ctx *ctx, const char *folder, parry_split split, parry_dataset **out)
{
    const pr_source *source;
    for (size_t i = 0; (source = pr_source_at(i)); i++) {
        char *paths[PR_SET_FILES];
        bool found;
        pr_images images;
        TRY(pr_source_files(ctx, source, folder, split, paths, &found));
        if (!found)
            continue;
        parry_status status = pr_source_read(ctx, source, paths, &images);
        pr_paths_free(paths);
        TRY(status);
        return take(ctx, folder, split == PARRY_TRAIN ? "train" : "test", source, &images, out);
    }
    return PARRY_OK;
}

static parry_status open_subfolder(parry_ctx *ctx, const char *folder, const char *name, parry_split split,
                                   parry_dataset **out)
{
    char *inner;
    TRY(pr_path_join(ctx, folder, name, &inner));
    parry_status status = open_layout(ctx, inner, split, out);
    pr_free(inner);
    return status;
}

static parry_status has_file(parry_ctx *ctx, const char *folder, const char *name, bool *found)
{
    char *path;
    *found = false;
    TRY(pr_path_join(ctx, folder, name, &path));
    *found = pr_file_exists(path);
    pr_free(path);
    return PARRY_OK;
}

bool pr_path_is_dataset(parry_ctx *ctx, const char *path)
{
    const pr_source *source;
    bool found;
    if (!pr_is_folder(path) || has_file(ctx, path, "images.npy", &found) != PARRY_OK)
        return false;
    for (size_t i = 0; !found && (source = pr_source_at(i)); i++)
        for (int split = 0; !found && split < 2; split++) {
            char *paths[PR_SET_FILES];
            if (pr_source_files(ctx, source, path, (parry_split)split, paths, &found) == PARRY_OK && found)
                pr_paths_free(paths);
        }
    return found;
}

static parry_status open_folder(parry_ctx *ctx, const char *folder, parry_split split, parry_dataset **out)
{
    bool is_written;
    TRY(has_file(ctx, folder, "images.npy", &is_written));
    if (is_written)
        return open_written(ctx, folder, out);
    TRY(open_layout(ctx, folder, split, out));
    if (!*out)
        TRY(open_subfolder(ctx, folder, "cifar-10-batches-bin", split, out));
    if (*out)
        return PARRY_OK;
    return pr_fail(
        ctx, PARRY_NOT_FOUND,
        "%s: no %s images in this folder; expected images.npy and labels.npy, IDX files named as MNIST's, or "
        "CIFAR-10's .bin files",
        folder, split == PARRY_TRAIN ? "training" : "test");
}

/* ---- single files ----------------------------------------------------------------------------------------------- */

static bool ends_with(const char *text, const char *ending)
{
    size_t length = strlen(text), tail = strlen(ending);
    return length >= tail && strcmp(text + length - tail, ending) == 0;
}

/* What the file of labels beside a file of images is called: `images` at the start of the name or anywhere in it
 * becomes `labels`; with no `images`, `labels` goes before the ending. */
static const struct label_name {
    const char *images, *labels;
    bool at_start;
} label_names[] = {{"images", "labels", false}, {"x_", "y_", true},       {"X_", "y_", true},      {"x.", "y.", true},
                   {"X.", "y.", true},          {NULL, "-labels", false}, {NULL, "_labels", false}};

/* "" where the rule is not for such a name. Freed with pr_free. */
static parry_status name_labels(parry_ctx *ctx, const struct label_name *rule, const char *path, char **out)
{
    const char *base = pr_path_base(path), *ending = strchr(base, '.'),
               *found = rule->images ? strstr(base, rule->images) : ending;
    if (!found || (rule->at_start && found != base))
        return pr_strdup(ctx, "", out);
    const char *rest = found + (rule->images ? strlen(rule->images) : 0);
    const size_t tail = strlen(rest) - (ends_with(rest, ".gz") ? 3 : 0);
    TRY(pr_asprintf(ctx, out, "%.*s%s%.*s", (int)(found - path), path, rule->labels, (int)tail, rest));
    char *rank = strstr(*out + (base - path), "idx3");
    if (rank)
        rank[3] = '1';
    return PARRY_OK;
}

/* The file of labels beside a file of images, with or without .gz. */
static parry_status find_labels(parry_ctx *ctx, const char *images_path, char **out)
{
    char expected[256] = "";
    *out = NULL;
    if (strstr(pr_path_base(images_path), "labels"))
        return pr_fail(ctx, PARRY_NOT_FOUND,
                       "%s: name a file of images rather than of labels; the labels are looked for beside it",
                       images_path);
    for (size_t i = 0; i < PR_COUNT(label_names) && !*out; i++) {
        char *name;
        TRY(name_labels(ctx, &label_names[i], images_path, &name));
        if (!expected[0])
            snprintf(expected, sizeof expected, "%s", pr_path_base(name));
        parry_status status = name[0] ? pr_find_file(ctx, name, out) : PARRY_OK;
        pr_free(name);
        TRY(status);
    }
    return *out ? PARRY_OK
                : pr_fail(ctx, PARRY_NOT_FOUND, "%s: its labels are missing: expected %s beside it, plain or .gz",
                          images_path, expected);
}

static parry_status open_pair(parry_ctx *ctx, const char *path, parry_dataset **out,
                              parry_status (*read)(parry_ctx *, const char *, const char *, int, pr_images *),
                              int classes)
{
    char *labels;
    pr_images images;
    TRY(find_labels(ctx, path, &labels));
    parry_status status = read(ctx, path, labels, classes, &images);
    pr_free(labels);
    TRY(status);
    return take(ctx, path, "all", NULL, &images, out);
}

static parry_status open_cifar(parry_ctx *ctx, const char *path, parry_dataset **out)
{
    char *copy;
    pr_images images;
    TRY(pr_strdup(ctx, path, &copy));
    parry_status status = pr_cifar_read(ctx, &copy, 1, &images);
    pr_free(copy);
    TRY(status);
    return take(ctx, path, "all", pr_source_find("cifar10"), &images, out);
}

static parry_status open_npz(parry_ctx *ctx, const char *path, parry_split split, parry_dataset **out)
{
    pr_images images;
    TRY(pr_npz_read(ctx, path, split, &images));
    return take(ctx, path, split == PARRY_TRAIN ? "train" : "test", NULL, &images, out);
}

parry_status pr_dataset_open_path(parry_ctx *ctx, const char *path, parry_split split, parry_dataset **out)
{
    const char *base = pr_path_base(path);
    *out = NULL;
    if (pr_is_folder(path))
        return open_folder(ctx, path, split, out);
    if (ends_with(base, ".npy"))
        return open_pair(ctx, path, out, pr_npy_read, 0);
    if (ends_with(base, ".npz"))
        return open_npz(ctx, path, split, out);
    if (ends_with(base, ".bin") || ends_with(base, ".bin.gz"))
        return open_cifar(ctx, path, out);
    if (strstr(base, "idx") || strstr(base, "ubyte"))
        return open_pair(ctx, path, out, pr_idx_read, 0);
    return pr_fail(ctx, PARRY_FORMAT,
                   "%s: not a known kind of data; expected an IDX file (...-idx3-ubyte), a CIFAR-10 binary file "
                   "(.bin), a .npy or .npz of "
                   "images, or a folder",
                   path);
}
