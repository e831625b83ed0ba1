/* External data: tensors that lie in files beside the model. A model file may come from anywhere, so what it names is
 * read only if it is a plain file inside the model's own folder, all links followed, and only as much as lies there. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "onnx/constant.h"

/* What the constants of a file may take grows with its external data: twice as many floats, as read and as parameters.
 * Each file counts once. */
static parry_status count_file(pr_budget *budget, const struct stat *info)
{
    enum { COPIES = 2 };
    for (size_t i = 0; i < budget->file_count; i++)
        if (budget->files[i].device == (uint64_t)info->st_dev && budget->files[i].number == (uint64_t)info->st_ino)
            return PARRY_OK;
    TRY(pr_grow(budget->ctx, budget->file_count + 1, &budget->file_capacity, &budget->files));
    budget->files[budget->file_count++] = (pr_external_file){(uint64_t)info->st_dev, (uint64_t)info->st_ino};
    budget->left += COPIES * (int64_t)(info->st_size / (off_t)sizeof(float));
    return PARRY_OK;
}

/* Whether the name alone leads elsewhere. */
static bool leaves(const char *location)
{
    for (const char *part = location; part; part = strchr(part, '/') ? strchr(part, '/') + 1 : NULL)
        if (strncmp(part, "..", 2) == 0 && (part[2] == '/' || !part[2]))
            return true;
    return location[0] == '/';
}

/* The real path of `location` if that is inside the real path of the model's folder. */
static parry_status locate(const pr_budget *budget, const char *name, const char *location, char **out)
{
    char *path, *folder = realpath(budget->folder, NULL);
    *out = NULL;
    parry_status status = leaves(location) || !folder ? PARRY_INVALID : PARRY_OK;
    if (status == PARRY_OK && (status = pr_path_join(budget->ctx, folder, location, &path)) == PARRY_OK) {
        *out = realpath(path, NULL);
        pr_free(path);
        const size_t length = strlen(folder);
        const bool inside = *out && strncmp(*out, folder, length) == 0 && (length == 1 || (*out)[length] == '/');
        if (!*out)
            status = pr_fail(budget->ctx, PARRY_NOT_FOUND,
                             "%s: tensor '%s' is kept in a separate file '%.200s', which is not there", budget->where,
                             name, location);
        else if (!inside)
            status = PARRY_INVALID;
    }
    free(folder);
    if (status == PARRY_INVALID)
        status = pr_fail(budget->ctx, PARRY_FORMAT,
                         "%s: tensor '%s' is kept in '%.200s', outside the model's folder; that is not read",
                         budget->where, name, location);
    if (status != PARRY_OK) {
        free(*out);
        *out = NULL;
    }
    return status;
}

static parry_status read_part(pr_budget *budget, const char *name, const char *path, int64_t offset, size_t needed,
                              void **out)
{
    struct stat info;
    parry_status status = PARRY_OK;
    const int file = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC); /* a pipe would keep us waiting */
    if (file < 0 || fstat(file, &info) != 0)
        status = pr_fail(budget->ctx, PARRY_IO, "%s: cannot be opened: %s", path, strerror(errno));
    else if (!S_ISREG(info.st_mode))
        status = pr_fail(budget->ctx, PARRY_FORMAT, "%s: tensor '%s': %s is not a plain file", budget->where, name, path);
    else if (offset < 0 || offset > info.st_size || needed > (size_t)(info.st_size - offset))
        status = pr_fail(budget->ctx, PARRY_FORMAT,
                         "%s: tensor '%s' should be %zu bytes at %lld of %s, which has %lld bytes", budget->where, name,
                         needed, (long long)offset, path, (long long)info.st_size);
    if (status == PARRY_OK)
        status = count_file(budget, &info);
    if (status == PARRY_OK)
        status = pr_budget_take(budget, (int64_t)(needed / sizeof(float)));
    if (status == PARRY_OK)
        status = pr_alloc_raw_bytes(budget->ctx, PR_MAX(needed, 1), 1, out);
    for (size_t got = 0; status == PARRY_OK && got < needed;) {
        const ssize_t more = pread(file, (char *)*out + got, needed - got, (off_t)(offset + (int64_t)got));
        if (more <= 0)
            status = pr_fail(budget->ctx, PARRY_IO, "%s: reading failed: %s", path, more ? strerror(errno) : "cut short");
        else
            got += (size_t)more;
    }
    if (file >= 0)
        close(file);
    if (status != PARRY_OK) {
        pr_free(*out);
        *out = NULL;
    }
    return status;
}

static const char *entry_of(const PrOnnx__TensorProto *tensor, const char *key, const char *absent)
{
    for (size_t i = 0; i < tensor->n_external_data; i++)
        if (strcmp(tensor->external_data[i]->key, key) == 0)
            return tensor->external_data[i]->value;
    return absent;
}

parry_status pr_external_read(pr_budget *budget, const char *name, const PrOnnx__TensorProto *tensor, size_t needed,
                              void **out)
{
    const char *location = entry_of(tensor, "location", ""), *length = entry_of(tensor, "length", NULL);
    char *end, *path;
    *out = NULL;
    if (!budget->folder)
        return pr_fail(budget->ctx, PARRY_UNSUPPORTED,
                       "%s: tensor '%s' is kept in a separate file (external data), and where the model lies is not "
                       "known",
                       budget->where, name);
    errno = 0;
    const long long offset = strtoll(entry_of(tensor, "offset", "0"), &end, 10);
    if (*end || errno || !*location || (length && strtoull(length, NULL, 10) != needed))
        return pr_fail(budget->ctx, PARRY_FORMAT,
                       "%s: tensor '%s' is kept in a separate file, but its place there (location '%.80s', offset "
                       "'%.30s', length '%.30s') does not fit %zu bytes",
                       budget->where, name, location, entry_of(tensor, "offset", ""), length ? length : "", needed);
    TRY(locate(budget, name, location, &path));
    parry_status status = read_part(budget, name, path, offset, needed, out);
    free(path);
    return status;
}
