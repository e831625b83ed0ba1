/* The downloader against a small server (server.h) that can serve, break off, ignore ranges, lie, redirect and be
 * missing. */
#include <signal.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/rng.h"
#include "data/data.h"
#include "scratch.h"
#include "server.h"

enum { SIZE = 200000 };

/* ---- what is fetched -------------------------------------------------------------------------------------------- */

static uint8_t content[SIZE];
static char content_hash[PR_SHA256_HEX];
static const pr_remote_file file = {"file.bin", SIZE, content_hash};

static int setup(void **state)
{
    static const char *const proxies[] = {"http_proxy", "https_proxy", "all_proxy",
                                          "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"};
    for (size_t i = 0; i < PR_COUNT(proxies); i++)
        unsetenv(proxies[i]);
    pr_rng rng = pr_rng_init(4, PR_STREAM_TEST, 0);
    for (int i = 0; i < SIZE; i++)
        content[i] = (uint8_t)pr_rng_u32(&rng);
    pr_sha256(content, SIZE, content_hash);
    return scratch_setup(state);
}

/* The folder without files of the test before. */
static int clear(void **state)
{
    (void)state;
    static const char *const names[] = {"file.bin", "file.bin.part"};
    for (size_t i = 0; i < PR_COUNT(names); i++) {
        char *path = scratch_path(names[i]);
        unlink(path);
        free(path);
    }
    return 0;
}

static parry_status fetch(parry_ctx *ctx, const char *first, const char *second)
{
    const char *const mirrors[] = {first, second, NULL};
    return pr_fetch_file(ctx,
                         &(pr_fetch_task){.what = "fetch test", .mirrors = mirrors, .allow_http = true, .total = SIZE},
                         &file, scratch_folder);
}

static parry_status fetch_from(parry_ctx *ctx, behaviour does)
{
    server s;
    start(&s, does, content, SIZE);
    parry_status status = fetch(ctx, s.url, NULL);
    stop(&s);
    return status;
}

static bool have(const char *name)
{
    char *path = scratch_path(name);
    bool there = pr_file_exists(path);
    free(path);
    return there;
}

static void assert_complete(parry_ctx *ctx)
{
    char *path = scratch_path("file.bin");
    uint8_t *data;
    size_t size;
    assert_int_equal(pr_file_read(ctx, path, SIZE, &data, &size), PARRY_OK);
    assert_int_equal(size, SIZE);
    assert_memory_equal(data, content, SIZE);
    pr_free(data);
    free(path);
    assert_false(have("file.bin.part"));
}

/* ---- tests ------------------------------------------------------------------------------------------------------ */

static void test_plain(void **state)
{
    parry_ctx *ctx = *state;
    server s;
    start(&s, SERVE, content, SIZE);
    assert_int_equal(fetch(ctx, s.url, NULL), PARRY_OK);
    assert_complete(ctx);
    assert_int_equal(fetch(ctx, s.url, NULL), PARRY_OK); /* there already: nothing is asked for */
    assert_int_equal(s.requests, 1);
    stop(&s);
}

/* A connection that breaks is continued where it broke: no byte is sent twice. */
static void test_broken_connection_is_continued(void **state)
{
    parry_ctx *ctx = *state;
    server s;
    start(&s, DROP, content, SIZE);
    assert_int_equal(fetch(ctx, s.url, NULL), PARRY_OK);
    assert_complete(ctx);
    assert_int_equal(s.sent, SIZE);
    assert_int_equal(s.requests, (SIZE + PIECE - 1) / PIECE);
    stop(&s);
}

/* A partial file of an earlier run is continued; from a second mirror, too. */
static void test_partial_file_is_continued(void **state)
{
    parry_ctx *ctx = *state;
    server gone, s;
    free(scratch_file("file.bin.part", content, PIECE));
    start(&gone, MISSING, content, SIZE);
    start(&s, SERVE, content, SIZE);
    assert_int_equal(fetch(ctx, gone.url, s.url), PARRY_OK);
    assert_complete(ctx);
    assert_int_equal(s.sent, SIZE - PIECE);
    assert_int_equal(s.first_range, PIECE);
    stop(&gone);
    stop(&s);
}

static void test_server_without_ranges_starts_over(void **state)
{
    parry_ctx *ctx = *state;
    free(scratch_file("file.bin.part", content + 7, PIECE)); /* wrong bytes, which must not survive */
    assert_int_equal(fetch_from(ctx, NO_RANGES), PARRY_OK);
    assert_complete(ctx);
}

static void test_wrong_range_is_refused(void **state)
{
    parry_ctx *ctx = *state;
    free(scratch_file("file.bin.part", content, PIECE));
    assert_int_equal(fetch_from(ctx, WRONG_RANGE), PARRY_NETWORK);
    check_says(ctx, "another range");
    assert_false(have("file.bin"));
}

/* The part file was spoilt: found out at the end, discarded, fetched afresh from the same mirror. */
static void test_spoilt_part_file(void **state)
{
    parry_ctx *ctx = *state;
    free(scratch_file("file.bin.part", content + 7, PIECE));
    assert_int_equal(fetch_from(ctx, SERVE), PARRY_OK);
    assert_complete(ctx);
    clear(state);
    free(scratch_file("file.bin.part", content + 1, SIZE - 1)); /* one byte short */
    assert_int_equal(fetch_from(ctx, SERVE), PARRY_OK);
    assert_complete(ctx);
    clear(state);
    uint8_t *longer = calloc(1, SIZE + 5);
    free(scratch_file("file.bin.part", longer, SIZE + 5));
    assert_int_equal(fetch_from(ctx, SERVE), PARRY_OK);
    assert_complete(ctx);
    clear(state);
    free(scratch_file("file.bin.part", longer, SIZE)); /* the right size, the wrong bytes */
    assert_int_equal(fetch_from(ctx, SERVE), PARRY_OK);
    assert_complete(ctx);
    free(longer);
}

/* Wrong content never gets the name; what had the name stays; nothing is left for the next run to trust. */
static void test_wrong_content_is_discarded(void **state)
{
    parry_ctx *ctx = *state;
    static const behaviour lies[] = {WRONG_BYTES, TOO_LONG};
    for (size_t i = 0; i < PR_COUNT(lies); i++) {
        char *path = scratch_file("file.bin", "the old one", 11);
        uint8_t *data;
        size_t size;
        assert_int_equal(fetch_from(ctx, lies[i]), PARRY_NETWORK);
        check_says(ctx,
                    lies[i] == TOO_LONG ? "more than the expected 200000 bytes" : "wrong content (SHA-256 differs)");
        assert_int_equal(pr_file_read(ctx, path, 100, &data, &size), PARRY_OK);
        assert_string_equal((char *)data, "the old one");
        pr_free(data);
        assert_false(have("file.bin.part"));
        free(path);
    }
    server liar, s;
    start(&liar, WRONG_BYTES, content, SIZE);
    start(&s, SERVE, content, SIZE);
    assert_int_equal(fetch(ctx, liar.url, s.url), PARRY_OK); /* the next mirror tells the truth */
    assert_complete(ctx);
    stop(&liar);
    stop(&s);
}

static void test_all_mirrors_fail(void **state)
{
    parry_ctx *ctx = *state;
    server missing, closed;
    start(&closed, SERVE, content, SIZE);
    stop(&closed);
    start(&missing, MISSING, content, SIZE);
    assert_int_equal(fetch(ctx, missing.url, closed.url), PARRY_NETWORK);
    check_says(ctx, "file.bin could not be downloaded");
    check_says(ctx, missing.url);
    check_says(ctx, "HTTP status 404");
    check_says(ctx, closed.url);
    check_says(ctx, "connect");
    assert_int_equal(missing.requests, 1);
    assert_false(have("file.bin"));
    assert_false(have("file.bin.part"));
    stop(&missing);
}

/* A mirror is given up after a few broken connections; what they brought is kept for the next run. */
static void test_progress_survives_failure(void **state)
{
    parry_ctx *ctx = *state;
    server s;
    start(&s, DROP, content, SIZE);
    s.piece = 1000;
    assert_int_equal(fetch(ctx, s.url, NULL), PARRY_NETWORK);
    assert_int_equal(s.sent, 5000);
    stop(&s);
    assert_true(have("file.bin.part"));
    start(&s, SERVE, content, SIZE);
    assert_int_equal(fetch(ctx, s.url, NULL), PARRY_OK);
    assert_int_equal(s.first_range, 5000);
    assert_complete(ctx);
    stop(&s);
}

/* A full disk (here: the file-size limit) is not the mirror's fault: one sentence, and no other mirror is tried. */
static void test_full_disk(void **state)
{
    parry_ctx *ctx = *state;
    struct rlimit before, small;
    server s;
    start(&s, SERVE, content, SIZE);
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = SIZE / 2;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    parry_status status = fetch(ctx, s.url, s.url);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(status, PARRY_IO);
    check_says(ctx, "file.bin.part: writing failed: File too large");
    assert_int_equal(s.requests, 1);
    assert_false(have("file.bin"));
    stop(&s);
}

static void test_redirects(void **state)
{
    parry_ctx *ctx = *state;
    assert_int_equal(fetch_from(ctx, REDIRECT_FOREVER), PARRY_NETWORK);
    assert_int_equal(fetch_from(ctx, REDIRECT_TO_FILE), PARRY_NETWORK);
    assert_false(have("file.bin"));
    assert_int_equal(fetch_from(ctx, REDIRECT), PARRY_OK);
    assert_complete(ctx);
}

/* Built-in mirrors are https only. */
static void test_plain_http_must_be_allowed(void **state)
{
    parry_ctx *ctx = *state;
    server s;
    start(&s, SERVE, content, SIZE);
    const char *const mirrors[] = {s.url, NULL};
    assert_int_equal(pr_fetch_file(ctx, &(pr_fetch_task){.what = "t", .mirrors = mirrors}, &file, scratch_folder),
                     PARRY_NETWORK);
    assert_int_equal(s.requests, 0);
    stop(&s);
}

typedef struct listener {
    uint64_t done, total;
    uint64_t cancel_at;
} listener;

static void on_progress(void *user, const parry_progress *progress)
{
    listener *l = user;
    assert_string_equal(progress->unit, "bytes");
    assert_true(progress->done >= l->done && progress->done <= progress->total);
    l->done = progress->done;
    l->total = progress->total;
}

static int on_cancelled(void *user)
{
    const listener *l = user;
    return l->done >= l->cancel_at;
}

static void test_progress_and_cancelling(void **state)
{
    (void)state;
    listener l = {.cancel_at = UINT64_MAX};
    parry_ctx *ctx;
    assert_int_equal(parry_ctx_create(&(parry_ctx_options){.size = sizeof(parry_ctx_options),
                                                           .progress = on_progress,
                                                           .cancelled = on_cancelled,
                                                           .user = &l},
                                      &ctx),
                     PARRY_OK);
    assert_int_equal(fetch_from(ctx, DROP), PARRY_OK);
    assert_int_equal(l.total, SIZE);
    assert_true(l.done > SIZE / 2);
    clear(state);
    l = (listener){.cancel_at = PIECE / 2};
    assert_int_equal(fetch_from(ctx, DROP), PARRY_CANCELLED);
    assert_string_equal(parry_ctx_error(ctx), "interrupted");
    assert_false(have("file.bin"));
    assert_true(have("file.bin.part"));
    l = (listener){.cancel_at = UINT64_MAX};
    assert_int_equal(fetch_from(ctx, SERVE), PARRY_OK);
    assert_complete(ctx);
    parry_ctx_free(ctx);
}

static void test_names(void **state)
{
    parry_ctx *ctx = *state;
    assert_int_equal(parry_dataset_fetch(ctx, "minst", NULL), PARRY_INVALID);
    check_says(ctx, "'mnist'");
    assert_int_equal(parry_dataset_fetch(ctx, "cifar10", NULL), PARRY_UNSUPPORTED);
    check_says(ctx, "cifar-10-binary.tar.gz");
    assert_int_equal(parry_dataset_fetch(ctx, "digits", NULL), PARRY_UNSUPPORTED);
    check_says(ctx, "built in");
    assert_int_equal(parry_dataset_fetch(ctx, "mnist", "ftp://example.org/"), PARRY_INVALID);
    check_says(ctx, "ftp://example.org/");
}

/* The whole of `data fetch`, with a server that has the wrong files: hashes hold for any mirror. */
static void test_data_set_from_a_mirror(void **state)
{
    parry_ctx *ctx = *state;
    char *cache = scratch_path("cache");
    setenv("XDG_CACHE_HOME", cache, 1);
    server s;
    start(&s, SERVE, content, SIZE);
    assert_int_equal(parry_dataset_fetch(ctx, "mnist", s.url), PARRY_NETWORK);
    check_says(ctx, "train-images-idx3-ubyte.gz could not be downloaded");
    assert_false(have("cache/parry/mnist/train-images-idx3-ubyte.gz"));
    stop(&s);
    free(cache);
}

/* A network from a mirror lies in the cache with its preprocessing beside it; one with other content is refused. */
static void test_network_from_a_mirror(void **state)
{
    parry_ctx *ctx = *state;
    static const char *const nowhere[] = {"https://127.0.0.1:9/", NULL};
    pr_remote_model model = {.entry = {.name = "net"},
                             .file = {"net.onnx", SIZE, content_hash},
                             .mirrors = nowhere,
                             .preprocess = "{\"range\": 255}"};
    char *cache = scratch_path("cache");
    setenv("XDG_CACHE_HOME", cache, 1);
    server s;
    start(&s, SERVE, content, SIZE);
    assert_int_equal(pr_model_fetch(ctx, &model, s.url), PARRY_OK);
    assert_true(have("cache/parry/models/net.onnx"));
    assert_true(have("cache/parry/models/net.preprocess.json"));
    stop(&s);
    model.file = (pr_remote_file){"other.onnx", SIZE, "00"};
    start(&s, SERVE, content, SIZE);
    assert_int_equal(pr_model_fetch(ctx, &model, s.url), PARRY_NETWORK);
    assert_false(have("cache/parry/models/other.onnx"));
    assert_false(have("cache/parry/models/other.preprocess.json"));
    stop(&s);
    assert_int_equal(pr_model_fetch(ctx, &model, "ftp://x/"), PARRY_INVALID);
    free(cache);
}

/* Every network of the catalogue is fetched over TLS from where it is listed, and refused where its bytes are others. */
static void test_networks_of_the_catalogue(void **state)
{
    parry_ctx *ctx = *state;
    char *path, *cache = scratch_path("empty-cache");
    setenv("XDG_CACHE_HOME", cache, 1);
    const pr_remote_model *model;
    size_t count = 0;
    for (; (model = pr_remote_model_at(count)); count++) {
        assert_ptr_equal(parry_model_catalogue(count), &model->entry);
        assert_true(model->entry.fetchable && strlen(model->file.sha256) == 64 && model->file.size > 0);
        for (size_t m = 0; m == 0 || model->mirrors[m]; m++)
            assert_memory_equal(model->mirrors[m], "https://", 8);
        server s;
        start(&s, SERVE, content, SIZE);
        assert_int_equal(parry_model_fetch(ctx, model->entry.name, s.url), PARRY_NETWORK);
        stop(&s);
        assert_int_equal(parry_model_locate(ctx, model->entry.name, &path), PARRY_OK);
        assert_null(path);
    }
    assert_null(parry_model_catalogue(count));
    assert_int_equal(count, 2);
    assert_int_equal(parry_model_fetch(ctx, "resnet51", NULL), PARRY_NOT_FOUND);
    check_says(ctx, "'resnet50'");
    free(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, clear, clear)
        TEST(test_plain),
        TEST(test_broken_connection_is_continued),
        TEST(test_partial_file_is_continued),
        TEST(test_server_without_ranges_starts_over),
        TEST(test_wrong_range_is_refused),
        TEST(test_spoilt_part_file),
        TEST(test_wrong_content_is_discarded),
        TEST(test_all_mirrors_fail),
        TEST(test_progress_survives_failure),
        TEST(test_full_disk),
        TEST(test_redirects),
        TEST(test_plain_http_must_be_allowed),
        TEST(test_progress_and_cancelling),
        TEST(test_names),
        TEST(test_data_set_from_a_mirror),
        TEST(test_network_from_a_mirror),
        TEST(test_networks_of_the_catalogue),
    };
    return cmocka_run_group_tests(tests, setup, scratch_teardown);
}
