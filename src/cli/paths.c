/* What a command line writes: every output has a file of its own, and what is read is not written over. */
#include <libgen.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/cli.h"

/* The path without links, dots and doubled slashes; of a file that is not there yet, those of its folder. */
static bool canonical(const char *path, char out[PATH_MAX])
{
    char copy[PATH_MAX], base[PATH_MAX], folder[PATH_MAX];
    if (realpath(path, out))
        return true;
    if (strlen(path) >= sizeof copy)
        return false;
    strcpy(copy, path);
    snprintf(base, sizeof base, "%s", basename(copy));
    strcpy(copy, path);
    return realpath(dirname(copy), folder) && snprintf(out, PATH_MAX, "%s/%s", folder, base) < PATH_MAX;
}

bool same_file(const char *a, const char *b)
{
    char x[PATH_MAX], y[PATH_MAX];
    struct stat s, t;
    if (stat(a, &s) == 0 && stat(b, &t) == 0) /* under two names, perhaps */
        return s.st_dev == t.st_dev && s.st_ino == t.st_ino;
    return canonical(a, x) && canonical(b, y) && strcmp(x, y) == 0;
}

typedef struct named_path {
    const parry_option *row;
    const char *path;
    bool file; /* written as one file; else a folder that is written into, or a model that is read */
} named_path;

/* The options that name a file or folder, by what their help calls the value: FILE, FOLDER or MODEL. */
static int collect(const cli_args *args, named_path *out, int most)
{
    int count = 0;
    for (int t = 0; t < args->table_count; t++) {
        const char *values = parry_params_values(args->params[t]);
        for (size_t i = 0; i < args->tables[t]->count && count < most; i++) {
            const parry_option *row = &args->tables[t]->rows[i];
            const char *kind = row->metavar, *path;
            if (row->type != PARRY_OPTION_STRING || !kind)
                continue;
            memcpy(&path, values + row->offset, sizeof path);
            bool file = strcmp(kind, "FILE") == 0;
            if (path && (file || strcmp(kind, "FOLDER") == 0 || strcmp(kind, "MODEL") == 0))
                out[count++] = (named_path){row, path, file};
        }
    }
    return count;
}

parry_status check_paths(parry_ctx *ctx, const cli_args *args)
{
    named_path paths[32];
    int count = collect(args, paths, sizeof paths / sizeof paths[0]);
    for (int i = 0; i < count; i++)
        if (strcmp(paths[i].path, "-") == 0 && strcmp(paths[i].row->name, "json") != 0)
            return usage(ctx, "--%s is -, but only --json can go to standard output (./- is a file of that name)",
                         paths[i].row->name);
    for (int i = 0; i < count; i++)
        for (int j = i + 1; j < count; j++)
            if ((paths[i].file || paths[j].file) && same_file(paths[i].path, paths[j].path))
                return usage(ctx, "--%s and --%s both name %s; each needs a file of its own", paths[i].row->name,
                             paths[j].row->name, paths[j].path);
    return PARRY_OK;
}
