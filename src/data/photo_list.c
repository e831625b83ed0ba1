/* Which files a word of the command line or a folder means, and what they show.
 *
 * A folder is, in this order: one with a table of labels (labels.csv, or the one that was named); train/val/test
 * folders, of which the split chooses; class folders, as torchvision's ImageFolder takes them, in alphabetical order,
 * their pictures one of each in turn, so that the first of them show as many classes as they can; a flat folder of
 * pictures whose labels are not known. Files are pictures by their content; names that claim to be one
 * are taken too, so that a damaged one is named rather than passed over. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "data/photos.h"

enum { DEPTH_MAX = 8, MAGIC_BYTES = 32 };

void pr_photos_truncate(pr_photos *photos, uint64_t count)
{
    while (photos->count > count) {
        const pr_photo *last = &photos->items[--photos->count];
        pr_free(last->path);
        pr_free(last->name);
    }
}

void pr_photos_release(pr_photos *photos)
{
    pr_photos_truncate(photos, 0);
    pr_free(photos->items);
    pr_free(photos->first_ignored);
    *photos = (pr_photos){0};
}

/* ---- files ------------------------------------------------------------------------------------------------------ */

static bool claims_to_be_picture(const char *path)
{
    static const char *const endings[] = {".jpg", ".jpeg", ".png", ".webp"};
    const char *dot = strrchr(pr_path_base(path), '.');
    for (size_t i = 0; dot && i < PR_COUNT(endings); i++)
        if (strcasecmp(dot, endings[i]) == 0)
            return true;
    return false;
}

static bool is_picture(const char *path)
{
    uint8_t magic[MAGIC_BYTES];
    FILE *file = fopen(path, "rb");
    size_t size = file ? fread(magic, 1, sizeof magic, file) : 0;
    if (file)
        fclose(file);
    return pr_image_is_known(magic, size) || claims_to_be_picture(path);
}

static parry_status add_photo(parry_ctx *ctx, const char *path, const char *name, int32_t label, pr_photos *out)
{
    TRY(pr_grow(ctx, out->count + 1, &out->capacity, &out->items));
    pr_photo *photo = &out->items[out->count];
    *photo = (pr_photo){.label = label};
    TRY(pr_strdup(ctx, path, &photo->path));
    out->count++;
    TRY(pr_strdup(ctx, name, &photo->name));
    pr_make_printable(photo->name);
    return PARRY_OK;
}

/* ---- folders ---------------------------------------------------------------------------------------------------- */

typedef struct listing {
    char **folders, **files; /* names, sorted by bytes, without hidden ones */
    size_t folder_count, file_count, folder_capacity, file_capacity;
} listing;

static void listing_release(listing *l)
{
    for (size_t i = 0; i < l->folder_count; i++)
        pr_free(l->folders[i]);
    for (size_t i = 0; i < l->file_count; i++)
        pr_free(l->files[i]);
    pr_free(l->folders);
    pr_free(l->files);
    *l = (listing){0};
}

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static parry_status list_entry(parry_ctx *ctx, const char *folder, const char *name, listing *out)
{
    char *path;
    TRY(pr_path_join(ctx, folder, name, &path));
    const bool is_folder = pr_is_folder(path);
    pr_free(path);
    if (is_folder) {
        TRY(pr_grow(ctx, out->folder_count + 1, &out->folder_capacity, &out->folders));
        TRY(pr_strdup(ctx, name, &out->folders[out->folder_count]));
        out->folder_count++;
        return PARRY_OK;
    }
    TRY(pr_grow(ctx, out->file_count + 1, &out->file_capacity, &out->files));
    TRY(pr_strdup(ctx, name, &out->files[out->file_count]));
    out->file_count++;
    return PARRY_OK;
}

static parry_status list_folder(parry_ctx *ctx, const char *folder, listing *out)
{
    *out = (listing){0};
    DIR *open = opendir(folder);
    if (!open)
        return pr_fail(ctx, PARRY_IO, "%s: the folder cannot be read", folder);
    parry_status status = PARRY_OK;
    for (struct dirent *entry; status == PARRY_OK && (entry = readdir(open));)
        if (entry->d_name[0] != '.')
            status = list_entry(ctx, folder, entry->d_name, out);
    closedir(open);
    if (status != PARRY_OK) {
        listing_release(out);
        return status;
    }
    if (out->folder_count)
        qsort(out->folders, out->folder_count, sizeof *out->folders, by_bytes);
    if (out->file_count)
        qsort(out->files, out->file_count, sizeof *out->files, by_bytes);
    return PARRY_OK;
}

/* Names are shown from here on: the folder that the user named. */
typedef struct tree {
    const char *root;
    pr_photos *out;
} tree;

static parry_status ignore_file(parry_ctx *ctx, const char *path, pr_photos *out)
{
    if (!out->ignored++)
        TRY(pr_strdup(ctx, pr_path_base(path), &out->first_ignored));
    return PARRY_OK;
}

static parry_status add_file(parry_ctx *ctx, const tree *t, const char *path, int32_t label)
{
    const char *name = path + strlen(t->root);
    if (!is_picture(path))
        return ignore_file(ctx, path, t->out);
    return add_photo(ctx, path, name + (*name == '/'), label, t->out);
}

/* Every picture at and below `folder` gets the label. */
static parry_status add_folder(parry_ctx *ctx, const tree *t, const char *folder, int32_t label, int depth)
{
    listing l;
    char *path;
    if (depth > DEPTH_MAX)
        return pr_fail(ctx, PARRY_UNSUPPORTED, "%s: more than %d folders deep", folder, DEPTH_MAX);
    TRY(list_folder(ctx, folder, &l));
    parry_status status = PARRY_OK;
    for (size_t i = 0; i < l.file_count + l.folder_count && status == PARRY_OK; i++) {
        const bool is_file = i < l.file_count;
        TRY_TO(out, pr_path_join(ctx, folder, is_file ? l.files[i] : l.folders[i - l.file_count], &path));
        status = is_file ? add_file(ctx, t, path, label) : add_folder(ctx, t, path, label, depth + 1);
        pr_free(path);
    }
out:
    listing_release(&l);
    return status;
}

/* ---- labels ----------------------------------------------------------------------------------------------------- */

/* The rows of a table, each a file beside it. */
static parry_status add_table(parry_ctx *ctx, const tree *t, const char *folder, const char *table_path,
                              const pr_classes *classes)
{
    pr_label_table table;
    TRY(pr_labels_read(ctx, table_path, classes, &table));
    parry_status status = PARRY_OK;
    for (size_t i = 0; i < table.count && status == PARRY_OK; i++) {
        char *path;
        TRY_TO(out, table.rows[i].file[0] == '/' ? pr_strdup(ctx, table.rows[i].file, &path)
                                                 : pr_path_join(ctx, folder, table.rows[i].file, &path));
        if (!pr_file_exists(path))
            status = pr_fail(ctx, PARRY_NOT_FOUND, "%s: line for %s: there is no such file in %s", table_path,
                             table.rows[i].file, folder);
        else
            status = add_photo(ctx, path, table.rows[i].file, table.rows[i].label, t->out);
        pr_free(path);
    }
out:
    pr_labels_release(&table);
    return status;
}

/* The class of each folder: by name, else by place in the alphabet when there are as many folders as classes. */
static parry_status label_folders(parry_ctx *ctx, const char *root, const listing *l, const pr_classes *classes,
                                  int32_t *labels)
{
    for (size_t i = 0; i < l->folder_count; i++) {
        int label;
        const parry_status status = pr_classes_find(ctx, classes, l->folders[i], &label);
        labels[i] = label;
        if (status == PARRY_OK)
            continue;
        if (l->folder_count != (size_t)classes->count) {
            char why[512];
            snprintf(why, sizeof why, "%s", parry_ctx_error(ctx));
            return pr_fail(
                ctx, PARRY_MISMATCH,
                "%s: the folder %s stands for no class (%s), and %zu folders are not one for each of the %d classes; "
                "name the folders by class, or give --labels FILE.csv",
                root, l->folders[i], why, l->folder_count, classes->count);
        }
        pr_log(ctx, PARRY_LOG_INFO, "%s: class folders are not named by class; taken in alphabetical order", root);
        for (size_t k = 0; k < l->folder_count; k++)
            labels[k] = (int32_t)k;
        return PARRY_OK;
    }
    return PARRY_OK;
}

/* Puts the pictures of `folders` folders, those of folder i from begin[i] on, in the order one of each in turn. */
static parry_status take_turns(parry_ctx *ctx, const size_t *begin, size_t folders, pr_photos *photos)
{
    const size_t first = begin[0], count = begin[folders] - first;
    pr_photo *turns;
    TRY(pr_alloc_raw(ctx, count, &turns));
    for (size_t round = 0, taken = 0; taken < count; round++)
        for (size_t i = 0; i < folders; i++)
            if (round < begin[i + 1] - begin[i])
                turns[taken++] = photos->items[begin[i] + round];
    for (size_t i = 0; i < count; i++)
        photos->items[first + i] = turns[i];
    pr_free(turns);
    return PARRY_OK;
}

static parry_status add_class_folders(parry_ctx *ctx, const tree *t, const char *root, const listing *l,
                                      const pr_classes *classes)
{
    int32_t *labels;
    size_t *begin = NULL;
    TRY(pr_alloc(ctx, l->folder_count, &labels));
    parry_status status;
    TRY_TO(out, pr_alloc(ctx, l->folder_count + 1, &begin));
    TRY_TO(out, label_folders(ctx, root, l, classes, labels));
    for (size_t i = 0; i < l->folder_count; i++) {
        char *path;
        begin[i] = t->out->count;
        TRY_TO(out, pr_path_join(ctx, root, l->folders[i], &path));
        status = add_folder(ctx, t, path, labels[i], 1);
        pr_free(path);
        TRY_TO(out, status);
    }
    begin[l->folder_count] = t->out->count;
    status = take_turns(ctx, begin, l->folder_count, t->out);
out:
    pr_free(begin);
    pr_free(labels);
    return status;
}

/* The folder of the split when all folders are splits, else NULL. */
static const char *split_folder(const listing *l, parry_split split)
{
    static const struct {
        const char *name;
        parry_split split;
    } splits[] = {{"test", PARRY_TEST},
                  {"val", PARRY_TEST},
                  {"valid", PARRY_TEST},
                  {"validation", PARRY_TEST},
                  {"train", PARRY_TRAIN}};
    const char *chosen = NULL;
    for (size_t i = 0; i < l->folder_count; i++) {
        bool known = false;
        for (size_t s = 0; s < PR_COUNT(splits); s++)
            if (strcasecmp(l->folders[i], splits[s].name) == 0) {
                known = true;
                if (splits[s].split == split && !chosen)
                    chosen = l->folders[i];
            }
        if (!known)
            return NULL;
    }
    return chosen;
}

static parry_status add_root(parry_ctx *ctx, const tree *t, const char *folder, const pr_classes *classes,
                             parry_split split);

static parry_status add_listed(parry_ctx *ctx, const tree *t, const char *folder, const listing *l,
                               const pr_classes *classes, parry_split split)
{
    const char *chosen = split_folder(l, split);
    size_t pictures = 0;
    char *path;
    if (chosen) {
        TRY(pr_path_join(ctx, folder, chosen, &path));
        parry_status status = add_root(ctx, t, path, classes, split);
        pr_free(path);
        return status;
    }
    const size_t before = t->out->count;
    for (size_t i = 0; i < l->file_count; i++) {
        TRY(pr_path_join(ctx, folder, l->files[i], &path));
        parry_status status = add_file(ctx, t, path, -1);
        pr_free(path);
        TRY(status);
    }
    pictures = t->out->count - before;
    if (pictures == 0 && l->folder_count > 0)
        return add_class_folders(ctx, t, folder, l, classes);
    if (l->folder_count > 0)
        pr_log(ctx, PARRY_LOG_WARNING, "%s: pictures lie beside %zu folders (%s); the folders are not looked into",
               folder, l->folder_count, l->folders[0]);
    return PARRY_OK;
}

static parry_status add_root(parry_ctx *ctx, const tree *t, const char *folder, const pr_classes *classes,
                             parry_split split)
{
    char *table;
    listing l;
    TRY(pr_path_join(ctx, folder, "labels.csv", &table));
    const bool has_table = pr_file_exists(table);
    parry_status status = has_table ? add_table(ctx, t, folder, table, classes) : PARRY_OK;
    pr_free(table);
    if (has_table || status != PARRY_OK)
        return status;
    TRY(list_folder(ctx, folder, &l));
    status = add_listed(ctx, t, folder, &l, classes, split);
    listing_release(&l);
    return status;
}

/* ---- words ------------------------------------------------------------------------------------------------------ */

static parry_status add_word(parry_ctx *ctx, const char *path, const pr_classes *classes, bool labels_follow,
                             parry_split split, pr_photos *out)
{
    const tree t = {path, out};
    if (pr_is_folder(path))
        return labels_follow ? add_folder(ctx, &t, path, -1, 0) : add_root(ctx, &t, path, classes, split);
    if (!pr_file_exists(path))
        return pr_fail(ctx, PARRY_NOT_FOUND, "%s: there is no such file or folder", path);
    return add_photo(ctx, path, pr_path_base(path), -1, out);
}

static parry_status list_all(parry_ctx *ctx, const char *const *paths, size_t count, const pr_classes *classes,
                             const char *labels, parry_split split, pr_photos *out)
{
    for (size_t i = 0; i < count; i++)
        TRY(add_word(ctx, paths[i], classes, labels != NULL, split, out));
    if (out->count == 0)
        return pr_fail(ctx, PARRY_NOT_FOUND, "%s: no PNG, JPEG or WebP pictures in this folder%s%s",
                       count ? paths[0] : "", out->ignored ? "; not pictures: " : "",
                       out->ignored ? out->first_ignored : "");
    if (out->ignored)
        pr_log(ctx, PARRY_LOG_INFO, "%s: %zu file%s that %s no picture%s ignored (%s%s)", paths[0], out->ignored,
               out->ignored == 1 ? "" : "s", out->ignored == 1 ? "is" : "are", out->ignored == 1 ? "" : "s",
               out->first_ignored, out->ignored == 1 ? "" : ", ...");
    return labels ? pr_labels_apply(ctx, labels, classes, out) : PARRY_OK;
}

parry_status pr_photos_list(parry_ctx *ctx, const char *const *paths, size_t count, const pr_classes *classes,
                            const char *labels, parry_split split, pr_photos *out)
{
    *out = (pr_photos){0};
    parry_status status = list_all(ctx, paths, count, classes, labels, split, out);
    if (status != PARRY_OK)
        pr_photos_release(out);
    return status;
}

/* ---- what a folder says without a network ----------------------------------------------------------------------- */

bool pr_photos_have_split(parry_ctx *ctx, const char *path, parry_split split)
{
    listing l;
    if (!pr_is_folder(path) || list_folder(ctx, path, &l) != PARRY_OK)
        return false;
    const bool found = split_folder(&l, split) != NULL;
    listing_release(&l);
    return found;
}

static parry_status take_class_names(parry_ctx *ctx, const char *folder, listing *l, pr_photo_classes *out)
{
    char *table;
    TRY(pr_path_join(ctx, folder, "labels.csv", &table));
    const bool has_table = pr_file_exists(table);
    pr_free(table);
    if (has_table)
        return pr_fail(ctx, PARRY_UNSUPPORTED,
                       "%s: classes are taken from a folder for each; it has labels.csv, which does not name them all",
                       folder);
    if (l->folder_count < 2)
        return pr_fail(ctx, PARRY_MISMATCH, "%s: %zu class folders; expected two or more, each with its pictures",
                       folder, l->folder_count);
    for (size_t i = 0; i < l->folder_count; i++)
        pr_make_printable(l->folders[i]);
    *out = (pr_photo_classes){.names = l->folders, .count = l->folder_count};
    l->folders = NULL;
    l->folder_count = 0;
    return PARRY_OK;
}

parry_status pr_photo_classes_list(parry_ctx *ctx, const char *folder, parry_split split, pr_photo_classes *out)
{
    listing l;
    char *inner;
    *out = (pr_photo_classes){0};
    if (!pr_is_folder(folder))
        return pr_fail(ctx, PARRY_MISMATCH, "%s: is a file; to train on photographs takes a folder for each class",
                       folder);
    TRY(list_folder(ctx, folder, &l));
    const char *chosen = split_folder(&l, split);
    parry_status status;
    if (chosen) {
        TRY_TO(out, pr_path_join(ctx, folder, chosen, &inner));
        status = pr_photo_classes_list(ctx, inner, split, out);
        pr_free(inner);
    } else
        status = take_class_names(ctx, folder, &l, out);
out:
    listing_release(&l);
    return status;
}

void pr_photo_classes_release(pr_photo_classes *classes)
{
    for (size_t i = 0; i < classes->count; i++)
        pr_free(classes->names[i]);
    pr_free(classes->names);
    *classes = (pr_photo_classes){0};
}

static bool folder_has_pictures(parry_ctx *ctx, const char *folder, int depth)
{
    listing l;
    bool found = false;
    if (depth > 3 || list_folder(ctx, folder, &l) != PARRY_OK)
        return false;
    for (size_t i = 0; i < l.file_count + l.folder_count && !found; i++) {
        char *path;
        if (pr_path_join(ctx, folder, i < l.file_count ? l.files[i] : l.folders[i - l.file_count], &path) != PARRY_OK)
            break;
        found = i < l.file_count ? is_picture(path) : folder_has_pictures(ctx, path, depth + 1);
        pr_free(path);
    }
    listing_release(&l);
    return found;
}

bool pr_path_has_pictures(parry_ctx *ctx, const char *path)
{
    return pr_is_folder(path) ? folder_has_pictures(ctx, path, 0) : pr_file_exists(path) && is_picture(path);
}
