/* Opening a data set by name: looked for in $PARRY_DATA, then in the user's cache. A name never silently stands for
 * other content than its own. */
#include <stdlib.h>
#include <string.h>

#include "data/data.h"
#include "data/photos.h"

enum { ROOTS = 2 };

/* The folders below which named data sets lie. */
static parry_status find_roots(parry_ctx *ctx, char *roots[ROOTS])
{
    const char *data = getenv("PARRY_DATA");
    roots[0] = roots[1] = NULL;
    if (data && data[0])
        TRY(pr_strdup(ctx, data, &roots[0]));
    parry_status status = pr_cache_folder(ctx, &roots[1]);
    return status == PARRY_NOT_FOUND ? PARRY_OK : status;
}

static void free_roots(char *roots[ROOTS])
{
    for (int i = 0; i < ROOTS; i++)
        pr_free(roots[i]);
}

/* The first folder that holds the files of `split`, and the files; *folder is NULL when there is none. */
static parry_status find_split(parry_ctx *ctx, char *const roots[ROOTS], const pr_source *source, parry_split split,
                               char **folder, char *paths[PR_SET_FILES])
{
    *folder = NULL;
    for (int r = 0; r < ROOTS; r++)
        for (size_t f = 0; roots[r] && f < PR_COUNT(source->folders) && source->folders[f]; f++) {
            bool found;
            TRY(pr_path_join(ctx, roots[r], source->folders[f], folder));
            parry_status status = pr_source_files(ctx, source, *folder, split, paths, &found);
            if (status == PARRY_OK && found)
                return PARRY_OK;
            pr_free(*folder);
            *folder = NULL;
            TRY(status);
        }
    return PARRY_OK;
}

/* The parts of CIFAR-10 that are there when CIFAR-10 itself is not. */
static void say_parts(parry_ctx *ctx, char *const roots[ROOTS], pr_text *text)
{
    static const char *const parts[] = {"cifar10-jpeg", "cifar10-lossless"};
    for (size_t i = 0; i < PR_COUNT(parts); i++) {
        const pr_source *part = pr_source_find(parts[i]);
        char *folder, *paths[PR_SET_FILES];
        if (find_split(ctx, roots, part, PARRY_TEST, &folder, paths) != PARRY_OK || !folder)
            continue;
        pr_text_add(text, "; %s is there (%s): ask for it with --data %s", folder, part->note, parts[i]);
        pr_paths_free(paths);
        pr_free(folder);
    }
}

static parry_status not_found(parry_ctx *ctx, char *const roots[ROOTS], const char *name, const pr_source *source,
                              parry_split split)
{
    pr_text text = {0};
    char *sentence;
    pr_text_add(&text, "%s (%s): not on this machine; looked for %s (plain or .gz) in", name,
                split == PARRY_TRAIN ? "train" : "test", source->files[split][0]);
    const char *separator = "";
    for (int r = 0; r < ROOTS; r++)
        for (size_t f = 0; roots[r] && f < PR_COUNT(source->folders) && source->folders[f]; f++) {
            pr_text_add(&text, "%s %s/%s", separator, roots[r], source->folders[f]);
            separator = ",";
        }
    if (!roots[0])
        pr_text_add(&text, " ($PARRY_DATA is not set)");
    if (source->only_known)
        say_parts(ctx, roots, &text);
    if (source->mirrors)
        pr_text_add(&text, "; 'parry data fetch %s' downloads it, --data digits needs no files", name);
    else
        pr_text_add(&text, "; %s", source->by_hand);
    TRY(pr_text_take(ctx, &text, &sentence));
    parry_status status = pr_fail(ctx, PARRY_NOT_FOUND, "%s", sentence);
    parry_string_free(sentence);
    return status;
}

/* Whether the content is what the name stands for; otherwise a caveat, or a refusal. */
static parry_status check_content(parry_ctx *ctx, const char *name, const char *folder, const pr_source *source,
                                  const pr_images *images, const char **note)
{
    const pr_source *content;
    *note = source->note;
    TRY(pr_source_identify(ctx, images, &content));
    if (content == source)
        return PARRY_OK;
    if (source->only_known)
        return pr_fail(ctx, PARRY_MISMATCH,
                       "%s: the files in %s do not hold the original pixels of this dataset%s%s; to use them all the "
                       "same, name the folder: --data %s",
                       name, folder, content && content->note ? ": " : "",
                       content && content->note ? content->note : "", folder);
    if (!*note)
        *note = "the content differs from the original files of this dataset";
    return PARRY_OK;
}

static parry_status read_named(parry_ctx *ctx, const char *name, const pr_source *source, parry_split split,
                               const char *folder, char *const paths[PR_SET_FILES], parry_dataset **out)
{
    pr_images images;
    pr_dataset_words words = {.name = name,
                              .split = split == PARRY_TRAIN ? "train" : "test",
                              .origin = folder,
                              .class_names = source->class_names};
    TRY(pr_source_read(ctx, source, paths, &images));
    parry_status status = check_content(ctx, name, folder, source, &images, &words.note);
    if (status != PARRY_OK) {
        pr_images_release(&images);
        return status;
    }
    return pr_dataset_take(ctx, &images, &words, out);
}

static parry_status open_built_in(parry_ctx *ctx, const char *name, const pr_source *source, parry_split split,
                                  parry_dataset **out)
{
    pr_images images;
    const pr_dataset_words words = {.name = name,
                                    .split = split == PARRY_TRAIN ? "train" : "test",
                                    .origin = "built-in",
                                    .note = source->note,
                                    .class_names = source->class_names};
    TRY(pr_digits_read(ctx, split, &images));
    return pr_dataset_take(ctx, &images, &words, out);
}

static parry_status open_named(parry_ctx *ctx, const char *name, const pr_source *source, parry_split split,
                               parry_dataset **out)
{
    char *roots[ROOTS], *folder = NULL, *paths[PR_SET_FILES] = {0};
    parry_status status;
    TRY_TO(out, find_roots(ctx, roots));
    TRY_TO(out, find_split(ctx, roots, source, split, &folder, paths));
    if (folder)
        status = read_named(ctx, name, source, split, folder, paths, out);
    else
        status = not_found(ctx, roots, name, source, split);
out:
    pr_paths_free(paths);
    pr_free(folder);
    free_roots(roots);
    return status;
}

parry_status parry_dataset_open(parry_ctx *ctx, const char *spec, parry_split split, parry_dataset **out)
{
    *out = NULL;
    const pr_source *source = pr_source_find(spec);
    if (source && source->format == PR_FORMAT_BUILT_IN)
        return open_built_in(ctx, spec, source, split, out);
    if (source)
        return open_named(ctx, spec, source, split, out);
    if (pr_file_exists(spec) || pr_is_folder(spec))
        return pr_dataset_open_path(ctx, spec, split, out);
    if (strpbrk(spec, "/.") || strstr(spec, "-ubyte")) /* a path, no dataset's name */
        return pr_fail(ctx, PARRY_NOT_FOUND, "%s: there is no such file or folder", spec);
    return pr_source_unknown(ctx, spec);
}

bool parry_dataset_has_images(parry_ctx *ctx, const char *spec)
{
    return !pr_source_find(spec) && !pr_path_is_dataset(ctx, spec) && pr_path_has_pictures(ctx, spec);
}

bool parry_dataset_has_split(parry_ctx *ctx, const char *spec, parry_split split)
{
    return pr_photos_have_split(ctx, spec, split);
}

parry_status parry_dataset_locate(parry_ctx *ctx, const char *name, char **out)
{
    char *roots[ROOTS], *paths[PR_SET_FILES];
    *out = NULL;
    const pr_source *source = pr_source_find(name);
    if (!source)
        return pr_source_unknown(ctx, name);
    if (source->format == PR_FORMAT_BUILT_IN)
        return pr_strdup(ctx, "built-in", out);
    parry_status status = find_roots(ctx, roots);
    for (int split = 0; status == PARRY_OK && !*out && split < 2; split++) {
        status = find_split(ctx, roots, source, (parry_split)split, out, paths);
        if (status == PARRY_OK && *out)
            pr_paths_free(paths);
    }
    free_roots(roots);
    return status;
}
