/* A folder for the files of one test program, removed at its end, and a context as the tests' state. */
#ifndef TESTS_DATA_SCRATCH_H
#define TESTS_DATA_SCRATCH_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <zlib.h>

#include "../support/check.h"

static char scratch_folder[128];

static inline int scratch_setup(void **state)
{
    const char *base = getenv("TMPDIR");
    parry_ctx *ctx;
    snprintf(scratch_folder, sizeof scratch_folder, "%.100s/parry-test-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(scratch_folder) ||
        parry_ctx_create(&(parry_ctx_options){.size = sizeof(parry_ctx_options), .threads = 2}, &ctx) != PARRY_OK)
        return -1;
    *state = ctx;
    return 0;
}

static inline int scratch_remove(const char *path, const struct stat *info, int kind, struct FTW *walk)
{
    (void)info, (void)kind, (void)walk;
    return remove(path);
}

static inline int scratch_teardown(void **state)
{
    parry_ctx_free(*state);
    return nftw(scratch_folder, scratch_remove, 16, FTW_DEPTH | FTW_PHYS);
}

/* The path of `name` in the folder; its own folders are made. Freed with free. */
static inline char *scratch_path(const char *name)
{
    char *path = malloc(strlen(scratch_folder) + strlen(name) + 2);
    sprintf(path, "%s/%s", scratch_folder, name);
    for (char *slash = path + strlen(scratch_folder) + 1; (slash = strchr(slash, '/')); *slash++ = '/') {
        *slash = '\0';
        mkdir(path, 0777);
    }
    return path;
}

static inline char *scratch_file(const char *name, const void *data, size_t size)
{
    char *path = scratch_path(name);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(data, 1, size, file) != size || fclose(file) != 0)
        abort();
    return path;
}

static inline char *scratch_gz(const char *name, const void *data, size_t size)
{
    char *path = scratch_path(name);
    gzFile file = gzopen(path, "wb1");
    if (!file || gzwrite(file, data, (unsigned)size) != (int)size || gzclose(file) != Z_OK)
        abort();
    return path;
}

#endif
