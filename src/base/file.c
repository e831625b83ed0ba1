/* Files: whole reads with a limit, atomic writes, folders. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zlib.h>

#include "base/file.h"

bool pr_file_exists(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && !S_ISDIR(info.st_mode);
}

bool pr_is_folder(const char *path)
{
    struct stat info;
    return stat(path, &info) == 0 && S_ISDIR(info.st_mode);
}

const char *pr_path_base(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

parry_status pr_path_join(parry_ctx *ctx, const char *folder, const char *name, char **out)
{
    size_t length = strlen(folder);
    return pr_asprintf(ctx, out, "%s%s%s", folder, length && folder[length - 1] == '/' ? "" : "/", name);
}

parry_status parry_folder_make(parry_ctx *ctx, const char *path)
{
    char *partial;
    TRY(pr_strdup(ctx, path, &partial));
    parry_status status = PARRY_OK;
    for (char *at = partial + (partial[0] == '/'); status == PARRY_OK; at++) {
        if (*at != '/' && *at != '\0')
            continue;
        char kept = *at;
        *at = '\0';
        int reason = mkdir(partial, 0777) == 0 ? 0 : errno;
        if (reason && !pr_is_folder(partial))
            status = pr_fail(ctx, PARRY_IO, "%s: the folder could not be created: %s", partial, strerror(reason));
        *at = kept;
        if (kept == '\0')
            break;
    }
    pr_free(partial);
    return status;
}

parry_status pr_cache_folder(parry_ctx *ctx, char **out)
{
    const char *cache = getenv("XDG_CACHE_HOME"), *home = getenv("HOME");
    if (cache && cache[0] == '/')
        return pr_path_join(ctx, cache, "parry", out);
    if (home && home[0])
        return pr_path_join(ctx, home, ".cache/parry", out);
    return pr_fail(ctx, PARRY_NOT_FOUND, "no cache folder: neither HOME nor XDG_CACHE_HOME is set");
}

/* zlib's message without the path that it starts with. */
static const char *own_words(const char *path, const char *message)
{
    size_t length = strlen(path);
    return strncmp(message, path, length) == 0 && message[length] == ':' ? message + length + 2 : message;
}

/* Reads to the end through zlib, which passes plain files through unchanged. */
static parry_status read_all(parry_ctx *ctx, const char *path, gzFile file, size_t limit, uint8_t **data, size_t *size)
{
    size_t capacity = 0, length = 0;
    *data = NULL;
    for (;;) {
        if (pr_grow(ctx, length + 65536 + 1, &capacity, data) != PARRY_OK)
            return PARRY_NO_MEMORY;
        size_t room = PR_MIN(capacity - length - 1, (size_t)1 << 30);
        int got = gzread(file, *data + length, (unsigned)room);
        int code = Z_OK;
        const char *message = gzerror(file, &code);
        if (got < 0)
            return code == Z_ERRNO
                       ? pr_fail(ctx, PARRY_IO, "%s: reading failed: %s", path, strerror(errno))
                       : pr_fail(ctx, PARRY_FORMAT, "%s: corrupt gzip data: %s", path, own_words(path, message));
        if (code == Z_BUF_ERROR)
            return pr_fail(ctx, PARRY_FORMAT, "%s: truncated gzip data", path);
        length += (size_t)got;
        if (length > limit)
            return pr_fail(ctx, PARRY_FORMAT, "%s: larger than the expected %zu bytes at the most", path, limit);
        if (got == 0)
            break;
    }
    (*data)[length] = 0;
    *size = length;
    return PARRY_OK;
}

parry_status pr_file_read_gz(parry_ctx *ctx, const char *path, size_t limit, uint8_t **data, size_t *size)
{
    *data = NULL;
    *size = 0;
    if (pr_is_folder(path))
        return pr_fail(ctx, PARRY_IO, "%s: is a folder; expected a file", path);
    gzFile file = gzopen(path, "rb");
    if (!file)
        return pr_fail(ctx, errno == ENOENT ? PARRY_NOT_FOUND : PARRY_IO, "%s: cannot be opened: %s", path,
                       strerror(errno ? errno : ENOMEM));
    gzbuffer(file, 1 << 17);
    parry_status status = read_all(ctx, path, file, limit, data, size);
    gzclose(file);
    if (status != PARRY_OK) {
        pr_free(*data);
        *data = NULL;
    }
    return status;
}

/* Room for a regular file, for the byte behind it and for seeing its end; 0 where the size is not known. */
static size_t known_size(FILE *file, size_t limit)
{
    struct stat info;
    bool known = fstat(fileno(file), &info) == 0 && S_ISREG(info.st_mode) && info.st_size > 0;
    return known && (uintmax_t)info.st_size <= limit ? (size_t)info.st_size + 2 : 0;
}

parry_status pr_file_read(parry_ctx *ctx, const char *path, size_t limit, uint8_t **data, size_t *size)
{
    *data = NULL;
    *size = 0;
    if (pr_is_folder(path))
        return pr_fail(ctx, PARRY_IO, "%s: is a folder; expected a file", path);
    FILE *file = fopen(path, "rb");
    if (!file)
        return pr_fail(ctx, errno == ENOENT ? PARRY_NOT_FOUND : PARRY_IO, "%s: cannot be opened: %s", path,
                       strerror(errno));
    parry_status status = PARRY_OK;
    size_t capacity = known_size(file, limit), got;
    if (capacity > 0)
        TRY_TO(out, pr_alloc_raw(ctx, capacity, data));
    do {
        if (*size + 2 > capacity)
            TRY_TO(out, pr_grow(ctx, *size + 65536 + 1, &capacity, data));
        got = fread(*data + *size, 1, capacity - *size - 1, file);
        *size += got;
        if (*size > limit)
            TRY_TO(out, pr_fail(ctx, PARRY_FORMAT, "%s: larger than the %zu bytes that are accepted", path, limit));
    } while (got > 0);
    if (ferror(file))
        TRY_TO(out, pr_fail(ctx, PARRY_IO, "%s: reading failed: %s", path, strerror(errno)));
    (*data)[*size] = 0;
out:
    fclose(file);
    if (status != PARRY_OK) {
        pr_free(*data);
        *data = NULL;
    }
    return status;
}

parry_status pr_output_begin(parry_ctx *ctx, const char *path, pr_output *out)
{
    *out = (pr_output){0};
    struct stat info;
    bool device = stat(path, &info) == 0 && !S_ISREG(info.st_mode); /* a pipe or /dev/stdout is written in place */
    bool link = !device && lstat(path, &info) == 0 && S_ISLNK(info.st_mode);
    char *target = link ? realpath(path, NULL) : NULL; /* a link stays, the file that it names is replaced */
    parry_status status = pr_strdup(ctx, target ? target : path, &out->path);
    free(target);
    if (status == PARRY_OK && pr_is_folder(path))
        status = pr_fail(ctx, PARRY_IO, "%s: is a folder; expected the name of a file to write", path);
    if (status == PARRY_OK && !device)
        status = pr_asprintf(ctx, &out->temporary, "%s.tmp%ld", out->path, (long)getpid());
    if (status == PARRY_OK) {
        out->stream = fopen(device ? path : out->temporary, "wb");
        if (!out->stream)
            status = pr_fail(ctx, PARRY_IO, "%s: cannot be written: %s", path, strerror(errno));
    }
    if (status != PARRY_OK)
        pr_output_abort(out);
    return status;
}

parry_status pr_output_commit(parry_ctx *ctx, pr_output *out)
{
    bool failed = ferror(out->stream);
    errno = 0;
    if (failed)
        fputc(0, out->stream); /* the reason is gone by now; one byte more meets it again */
    if (fflush(out->stream) != 0 || (out->temporary && fsync(fileno(out->stream)) != 0))
        failed = true;
    int reason = errno;
    if (fclose(out->stream) != 0 && !failed) {
        failed = true;
        reason = errno;
    }
    out->stream = NULL;
    if (!failed && out->temporary && rename(out->temporary, out->path) != 0) {
        failed = true;
        reason = errno;
    }
    parry_status status = PARRY_OK;
    if (failed)
        status = pr_fail(ctx, PARRY_IO, "%s: writing failed: %s", out->path,
                         reason ? strerror(reason) : "the disk is full or failing");
    else if (out->temporary)
        out->temporary[0] = '\0'; /* renamed: nothing left to remove */
    pr_output_abort(out);
    return status;
}

void pr_output_abort(pr_output *out)
{
    if (out->stream)
        fclose(out->stream);
    if (out->temporary && out->temporary[0])
        unlink(out->temporary);
    pr_free(out->temporary);
    pr_free(out->path);
    *out = (pr_output){0};
}

parry_status parry_file_write(parry_ctx *ctx, const char *path, const void *data, size_t size)
{
    pr_output output;
    TRY(pr_output_begin(ctx, path, &output));
    if (size)
        fwrite(data, 1, size, output.stream);
    return pr_output_commit(ctx, &output);
}

parry_status parry_file_probe(parry_ctx *ctx, const char *path)
{
    pr_output output;
    TRY(pr_output_begin(ctx, path, &output));
    pr_output_abort(&output);
    return PARRY_OK;
}
