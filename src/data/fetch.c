/* Downloads. Only exact content ever gets a file's name: bytes collect in NAME.part beside it, which survives a broken
 * connection and is continued next time, and is renamed once its size and SHA-256 are right. Continuing is checked
 * (status 206 and the range that was asked for); a server that sends the whole file instead makes the download start
 * over. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include <curl/curl.h>

#include "data/data.h"

enum {
    CONNECT_SECONDS = 15,
    STALL_BYTES = 200,
    STALL_SECONDS = 30, /* slower than this for so long counts as broken */
    MOST_REDIRECTS = 5,
    MOST_TRIES = 5, /* of one mirror, as long as each brings new bytes */
    REASON = 160,
};

typedef struct download {
    parry_ctx *ctx;
    const pr_fetch_task *task;
    const pr_remote_file *file;
    const char *part;
    FILE *stream;
    CURL *curl;
    uint64_t have;       /* bytes in the part file */
    uint64_t asked;      /* where this attempt asked to continue */
    bool range_ok;       /* the server confirmed just that range */
    bool started;        /* the first bytes of the body have been seen */
    int write_error;     /* errno of a failed write */
    bool resumed;        /* the part file holds bytes of an earlier attempt */
    char reason[REASON]; /* why the latest attempt ended, or "" */
} download;

/* ---- callbacks of libcurl --------------------------------------------------------------------------------------- */

static size_t on_header(char *line, size_t size, size_t count, void *arg)
{
    download *d = arg;
    char text[128];
    size_t length = PR_MIN(size * count, sizeof text - 1);
    memcpy(text, line, length);
    text[length] = '\0';
    static const char name[] = "content-range:";
    uint64_t start, end, total;
    if (strncasecmp(text, "HTTP/", 5) == 0)
        d->range_ok = false; /* a new response, after a redirect */
    if (strncasecmp(text, name, sizeof name - 1) == 0)
        d->range_ok =
            sscanf(text + sizeof name - 1, " bytes %" SCNu64 "-%" SCNu64 "/%" SCNu64, &start, &end, &total) == 3 &&
            start == d->asked && total == d->file->size;
    return size * count;
}

/* Decides with the first bytes whether they continue the part file or start it over. */
static bool start_body(download *d)
{
    long status = 0;
    curl_easy_getinfo(d->curl, CURLINFO_RESPONSE_CODE, &status);
    if (status == 206 && d->asked > 0 && d->range_ok)
        return true;
    if (status != 200) {
        snprintf(d->reason, REASON, status == 206 ? "the server sent another range than asked for" : "HTTP status %ld",
                 status);
        return false;
    }
    d->have = 0;
    d->resumed = false;
    return ftruncate(fileno(d->stream), 0) == 0 && fseek(d->stream, 0, SEEK_SET) == 0;
}

static size_t on_body(char *data, size_t size, size_t count, void *arg)
{
    download *d = arg;
    size_t bytes = size * count;
    if (!d->started && !start_body(d))
        return 0;
    d->started = true;
    if (bytes > d->file->size - d->have) {
        snprintf(d->reason, REASON, "more than the expected %" PRIu64 " bytes", d->file->size);
        d->have = 0; /* none of it is what was asked for */
        return 0;
    }
    if (fwrite(data, 1, bytes, d->stream) != bytes) {
        d->write_error = errno;
        return 0;
    }
    d->have += bytes;
    return bytes;
}

static int on_progress(void *arg, curl_off_t total, curl_off_t now, curl_off_t upload_total, curl_off_t uploaded)
{
    (void)total, (void)now, (void)upload_total, (void)uploaded;
    download *d = arg;
    pr_progress(d->ctx, &(parry_progress){.task = d->task->what,
                                          .unit = "bytes",
                                          .done = d->task->base + d->have,
                                          .total = d->task->total,
                                          .note = d->file->name});
    return pr_poll(d->ctx) != PARRY_OK;
}

/* ---- one attempt ------------------------------------------------------------------------------------------------ */

static void set_protocols(CURL *curl, bool allow_http)
{
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, allow_http ? "http,https" : "https");
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS_STR, allow_http ? "http,https" : "https");
#else
    long allowed = allow_http ? CURLPROTO_HTTP | CURLPROTO_HTTPS : CURLPROTO_HTTPS;
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS, allowed);
    curl_easy_setopt(curl, CURLOPT_REDIR_PROTOCOLS, allowed);
#endif
}

static void set_options(download *d, const char *url)
{
    CURL *curl = d->curl;
    curl_easy_reset(curl);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    set_protocols(curl, d->task->allow_http);
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 1L);
    curl_easy_setopt(curl, CURLOPT_MAXREDIRS, (long)MOST_REDIRECTS);
    curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, (long)CONNECT_SECONDS);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, (long)STALL_BYTES);
    curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME, (long)STALL_SECONDS);
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "parry");
    curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
    curl_easy_setopt(curl, CURLOPT_XFERINFODATA, d);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, on_header);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, d);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, d);
}

/* Transfers what is missing, into the part file; `reason` says why it is not complete. */
static parry_status attempt(download *d, const char *mirror)
{
    char *url, range[32];
    size_t length = strlen(mirror);
    TRY(pr_asprintf(d->ctx, &url, "%s%s%s", mirror, length && mirror[length - 1] == '/' ? "" : "/", d->file->name));
    set_options(d, url);
    d->asked = d->have;
    d->resumed = d->have > 0;
    d->started = d->range_ok = false;
    d->reason[0] = '\0';
    snprintf(range, sizeof range, "%" PRIu64 "-", d->have);
    if (d->have > 0)
        curl_easy_setopt(d->curl, CURLOPT_RANGE, range);
    fseek(d->stream, (long)d->have, SEEK_SET);
    CURLcode code = curl_easy_perform(d->curl);
    pr_free(url);
    long status = 0;
    curl_easy_getinfo(d->curl, CURLINFO_RESPONSE_CODE, &status);
    TRY(pr_poll(d->ctx));
    if (!d->write_error && fflush(d->stream) != 0)
        d->write_error = errno;
    if (d->write_error)
        return pr_fail(d->ctx, PARRY_IO, "%s: writing failed: %s", d->part, strerror(d->write_error));
    if (d->reason[0])
        return PARRY_OK;
    if (code != CURLE_OK)
        snprintf(d->reason, REASON, "%s", curl_easy_strerror(code));
    else if (status != 200 && status != 206)
        snprintf(d->reason, REASON, "HTTP status %ld", status);
    else if (d->have < d->file->size)
        snprintf(d->reason, REASON, "only %" PRIu64 " of %" PRIu64 " bytes", d->have, d->file->size);
    return PARRY_OK;
}

/* ---- one file from several mirrors ------------------------------------------------------------------------------ */

static parry_status has_content(parry_ctx *ctx, const char *path, const pr_remote_file *file, bool *same)
{
    uint8_t *data;
    size_t size;
    char hex[PR_SHA256_HEX];
    *same = false;
    parry_status status = pr_file_read(ctx, path, file->size, &data, &size);
    if (status == PARRY_FORMAT || status == PARRY_NOT_FOUND)
        return PARRY_OK;
    TRY(status);
    pr_sha256(data, size, hex);
    pr_free(data);
    *same = size == file->size && strcmp(hex, file->sha256) == 0;
    return PARRY_OK;
}

static bool start_over(download *d)
{
    d->have = 0;
    return ftruncate(fileno(d->stream), 0) == 0;
}

/* Tries one mirror while it brings new bytes. *done: the part file is complete and right. */
static parry_status try_mirror(download *d, const char *mirror, bool *done)
{
    *done = false;
    for (int tries = 0; tries < MOST_TRIES; tries++) {
        uint64_t before = d->have;
        if (d->have < d->file->size)
            TRY(attempt(d, mirror));
        if (d->have < d->file->size) {
            if (d->have > before)
                continue;
            return PARRY_OK;
        }
        TRY(has_content(d->ctx, d->part, d->file, done));
        if (*done)
            return PARRY_OK;
        bool mixed = d->resumed || before == d->file->size; /* this mirror may not be the one to blame */
        snprintf(d->reason, REASON, "wrong content (SHA-256 differs), discarded");
        if (!start_over(d))
            return pr_fail(d->ctx, PARRY_IO, "%s: writing failed: %s", d->part, strerror(errno));
        if (!mixed)
            return PARRY_OK;
    }
    return PARRY_OK;
}

static parry_status try_mirrors(download *d)
{
    pr_text failures = {0};
    char *list;
    bool done = false;
    parry_status status = PARRY_OK;
    for (const char *const *mirror = d->task->mirrors; *mirror && status == PARRY_OK && !done; mirror++) {
        status = try_mirror(d, *mirror, &done);
        if (!done)
            pr_text_add(&failures, "%s%s: %s", mirror == d->task->mirrors ? "" : "; ", *mirror, d->reason);
    }
    if (status != PARRY_OK || done) {
        pr_text_clear(&failures);
        return status;
    }
    TRY(pr_text_take(d->ctx, &failures, &list));
    status = pr_fail(d->ctx, PARRY_NETWORK, "%s could not be downloaded: %s", d->file->name, list);
    parry_string_free(list);
    return status;
}

/* The part file, locked against a second download of the same. */
static parry_status open_part(download *d)
{
    int descriptor = open(d->part, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    if (descriptor < 0 || !(d->stream = fdopen(descriptor, "r+b"))) {
        int reason = errno;
        if (descriptor >= 0)
            close(descriptor);
        return pr_fail(d->ctx, PARRY_IO, "%s: cannot be written: %s", d->part, strerror(reason));
    }
    if (flock(descriptor, LOCK_EX | LOCK_NB) != 0)
        return pr_fail(d->ctx, PARRY_IO, "%s: another download of this file is running", d->part);
    off_t size = lseek(descriptor, 0, SEEK_END);
    d->have = size > 0 ? (uint64_t)size : 0;
    if (d->have > d->file->size && !start_over(d))
        return pr_fail(d->ctx, PARRY_IO, "%s: writing failed: %s", d->part, strerror(errno));
    return PARRY_OK;
}

static parry_status fetch_to(parry_ctx *ctx, const pr_fetch_task *task, const pr_remote_file *file, const char *path,
                             const char *part)
{
    download d = {.ctx = ctx, .task = task, .file = file, .part = part};
    parry_status status;
    TRY_TO(out, open_part(&d));
    if (!(d.curl = curl_easy_init()))
        TRY_TO(out, pr_fail(ctx, PARRY_NO_MEMORY, "libcurl could not be started"));
    status = try_mirrors(&d);
    if (status == PARRY_OK && (fsync(fileno(d.stream)) != 0 || rename(part, path) != 0))
        status = pr_fail(ctx, PARRY_IO, "%s: writing failed: %s", path, strerror(errno));
    if (status != PARRY_OK && d.have == 0)
        unlink(part);
out:
    if (d.curl)
        curl_easy_cleanup(d.curl);
    if (d.stream)
        fclose(d.stream);
    return status;
}

parry_status pr_fetch_file(parry_ctx *ctx, const pr_fetch_task *task, const pr_remote_file *file, const char *folder)
{
    char *path = NULL, *part = NULL;
    bool there;
    parry_status status;
    TRY_TO(out, pr_path_join(ctx, folder, file->name, &path));
    TRY_TO(out, pr_asprintf(ctx, &part, "%s.part", path));
    TRY_TO(out, has_content(ctx, path, file, &there));
    if (!there)
        status = fetch_to(ctx, task, file, path, part);
out:
    pr_free(part);
    pr_free(path);
    return status;
}

/* ---- a data set ------------------------------------------------------------------------------------------------- */

static parry_status fetch_all(parry_ctx *ctx, const pr_source *source, pr_fetch_task *task)
{
    char *cache, *folder;
    TRY(pr_cache_folder(ctx, &cache));
    parry_status status = pr_path_join(ctx, cache, source->folders[0], &folder);
    pr_free(cache);
    TRY(status);
    status = parry_folder_make(ctx, folder);
    for (size_t i = 0; i < source->remotes; i++)
        task->total += source->remote[i].size;
    for (size_t i = 0; status == PARRY_OK && i < source->remotes; i++) {
        status = pr_fetch_file(ctx, task, &source->remote[i], folder);
        task->base += source->remote[i].size;
    }
    if (status == PARRY_OK)
        pr_log(ctx, PARRY_LOG_INFO, "%s: complete in %s", task->what, folder);
    pr_free(folder);
    return status;
}

parry_status pr_mirror_check(parry_ctx *ctx, const char *mirror)
{
    if (mirror && strncmp(mirror, "https://", 8) != 0 && strncmp(mirror, "http://", 7) != 0)
        return pr_fail(ctx, PARRY_INVALID, "the mirror '%s' is not a URL that starts with https:// or http://", mirror);
    return PARRY_OK;
}

parry_status parry_dataset_fetch(parry_ctx *ctx, const char *name, const char *mirror)
{
    const pr_source *source = pr_source_find(name);
    if (!source)
        return pr_source_unknown(ctx, name);
    if (!source->remotes)
        return pr_fail(ctx, PARRY_UNSUPPORTED, "%s cannot be fetched: %s", name, source->by_hand);
    TRY(pr_mirror_check(ctx, mirror));
    const char *const only[] = {mirror, NULL};
    char *what;
    TRY(pr_asprintf(ctx, &what, "fetch %s", name));
    pr_fetch_task task = {.what = what, .mirrors = mirror ? only : source->mirrors, .allow_http = mirror != NULL};
    parry_status status = fetch_all(ctx, source, &task);
    pr_free(what);
    return status;
}
