/* Files: atomic writing (a failure leaves what was there), whole reads with a limit, gzip that is cut or spoilt,
 * folders, hashes. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <cmocka.h>
#include <dirent.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <zlib.h>

#include "base/file.h"
#include "base/rng.h"

static char folder[64];

static int setup(void **state)
{
    parry_ctx *ctx;
    snprintf(folder, sizeof folder, "/tmp/parry-test-XXXXXX");
    if (!mkdtemp(folder) || parry_ctx_create(NULL, &ctx) != PARRY_OK)
        return -1;
    *state = ctx;
    return 0;
}

/* Removes the files of the folder and the folder; fails when a test left a folder in it. */
static int teardown(void **state)
{
    parry_ctx_free(*state);
    DIR *dir = opendir(folder);
    for (struct dirent *entry; (entry = readdir(dir));)
        unlinkat(dirfd(dir), entry->d_name, 0);
    closedir(dir);
    return rmdir(folder);
}

static const char *in_folder(const char *name)
{
    static char path[128];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

static int entries(void)
{
    int count = -2; /* . and .. */
    DIR *dir = opendir(folder);
    while (readdir(dir))
        count++;
    closedir(dir);
    return count;
}

static void assert_content(parry_ctx *ctx, const char *path, const char *expected)
{
    uint8_t *data;
    size_t size;
    assert_int_equal(pr_file_read(ctx, path, 1000, &data, &size), PARRY_OK);
    assert_int_equal(size, strlen(expected));
    assert_string_equal((char *)data, expected);
    pr_free(data);
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

static void test_write_replaces(void **state)
{
    parry_ctx *ctx = *state;
    const char *path = in_folder("a");
    assert_int_equal(parry_file_write(ctx, path, "old", 3), PARRY_OK);
    assert_int_equal(parry_file_write(ctx, path, "newer", 5), PARRY_OK);
    assert_content(ctx, path, "newer");
    assert_int_equal(parry_file_write(ctx, path, NULL, 0), PARRY_OK);
    assert_content(ctx, path, "");
    assert_int_equal(entries(), 1);
}

static void test_abort_leaves_the_old_file(void **state)
{
    parry_ctx *ctx = *state;
    const char *path = in_folder("a");
    pr_output output;
    assert_int_equal(parry_file_write(ctx, path, "old", 3), PARRY_OK);
    assert_int_equal(pr_output_begin(ctx, path, &output), PARRY_OK);
    fputs("half", output.stream);
    pr_output_abort(&output);
    assert_content(ctx, path, "old");
    assert_int_equal(entries(), 1);
    assert_int_equal(parry_file_probe(ctx, path), PARRY_OK);
    assert_content(ctx, path, "old");
    assert_int_equal(parry_file_probe(ctx, in_folder("b")), PARRY_OK);
    assert_int_equal(entries(), 1);
}

/* The disk fills up in the middle (here: the file-size limit): one sentence, the old file stays, nothing half-written
 * is left. */
static void test_full_disk(void **state)
{
    parry_ctx *ctx = *state;
    static char big[100000];
    char path[128];
    strcpy(path, in_folder("a"));
    assert_int_equal(parry_file_write(ctx, path, "old", 3), PARRY_OK);
    struct rlimit before, small;
    getrlimit(RLIMIT_FSIZE, &before);
    small = before;
    small.rlim_cur = 4096;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    parry_status status = parry_file_write(ctx, path, big, sizeof big);
    setrlimit(RLIMIT_FSIZE, &before);
    assert_int_equal(status, PARRY_IO);
    char sentence[200];
    snprintf(sentence, sizeof sentence, "%s: writing failed: File too large", path);
    assert_string_equal(parry_ctx_error(ctx), sentence);
    assert_content(ctx, path, "old");
    assert_int_equal(entries(), 1);
}

static void test_devices_are_written_in_place(void **state)
{
    parry_ctx *ctx = *state;
    assert_int_equal(parry_file_write(ctx, "/dev/null", "text", 4), PARRY_OK);
    assert_int_equal(parry_file_write(ctx, "/dev/full", "text", 4), PARRY_IO);
    assert_string_equal(parry_ctx_error(ctx), "/dev/full: writing failed: No space left on device");
}

static void test_unwritable(void **state)
{
    parry_ctx *ctx = *state;
    assert_int_equal(parry_file_write(ctx, folder, "x", 1), PARRY_IO);
    assert_non_null(strstr(parry_ctx_error(ctx), "is a folder"));
    assert_int_equal(parry_file_probe(ctx, in_folder("no/such")), PARRY_IO);
    assert_non_null(strstr(parry_ctx_error(ctx), "No such file"));
    assert_int_equal(parry_file_write(ctx, "", "x", 1), PARRY_IO);
    assert_int_equal(entries(), 0);
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

static void test_read_limits(void **state)
{
    parry_ctx *ctx = *state;
    const char *path = in_folder("a");
    uint8_t *data;
    size_t size;
    assert_int_equal(parry_file_write(ctx, path, "0123456789", 10), PARRY_OK);
    assert_int_equal(pr_file_read(ctx, path, 10, &data, &size), PARRY_OK);
    assert_int_equal(size, 10);
    assert_int_equal(data[10], 0);
    pr_free(data);
    assert_int_equal(pr_file_read(ctx, path, 9, &data, &size), PARRY_FORMAT);
    assert_null(data);
    assert_int_equal(pr_file_read_gz(ctx, path, 10, &data, &size), PARRY_OK); /* plain files pass */
    assert_memory_equal(data, "0123456789", 11);
    pr_free(data);
    assert_int_equal(pr_file_read_gz(ctx, path, 9, &data, &size), PARRY_FORMAT);
    assert_int_equal(pr_file_read(ctx, in_folder("none"), 9, &data, &size), PARRY_NOT_FOUND);
    assert_int_equal(pr_file_read_gz(ctx, in_folder("none"), 9, &data, &size), PARRY_NOT_FOUND);
    assert_int_equal(pr_file_read_gz(ctx, folder, 9, &data, &size), PARRY_IO);
    assert_int_equal(pr_file_read(ctx, folder, 9, &data, &size), PARRY_IO);
}

static void write_plain(const char *path, const uint8_t *data, size_t size)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    fclose(file);
}

/* Every proper prefix of a gzip file, and most single flipped bits, are refused; what is read is never wrong. */
static void test_gzip_cut_or_spoilt(void **state)
{
    parry_ctx *ctx = *state;
    enum { SIZE = 3000 };
    uint8_t content[SIZE], *packed, *data;
    size_t packed_size, size;
    char path[128];
    pr_rng rng = pr_rng_init(5, PR_STREAM_TEST, 0);
    for (int i = 0; i < SIZE; i++)
        content[i] = (uint8_t)pr_rng_below(&rng, 7);
    strcpy(path, in_folder("a.gz"));
    gzFile file = gzopen(path, "wb");
    gzwrite(file, content, SIZE);
    gzclose(file);
    assert_int_equal(pr_file_read(ctx, path, 1 << 20, &packed, &packed_size), PARRY_OK);
    assert_int_equal(pr_file_read_gz(ctx, path, SIZE, &data, &size), PARRY_OK);
    assert_int_equal(size, SIZE);
    assert_memory_equal(data, content, SIZE);
    pr_free(data);
    assert_int_equal(pr_file_read_gz(ctx, path, SIZE - 1, &data, &size), PARRY_FORMAT);

    for (size_t cut = 2; cut < packed_size; cut += cut < 30 || cut + 30 > packed_size ? 1 : 41) {
        write_plain(path, packed, cut);
        if (pr_file_read_gz(ctx, path, 1 << 20, &data, &size) == PARRY_OK)
            fail_msg("the first %zu of %zu bytes were read as %zu bytes", cut, packed_size, size);
        assert_non_null(strstr(parry_ctx_error(ctx), "a.gz"));
    }
    for (size_t at = 10; at < packed_size; at += 17) {
        packed[at] ^= 4;
        write_plain(path, packed, packed_size);
        assert_int_equal(pr_file_read_gz(ctx, path, 1 << 20, &data, &size), PARRY_FORMAT);
        packed[at] ^= 4;
    }
    pr_free(packed);
}

/* ---- the rest --------------------------------------------------------------------------------------------------- */

static void test_folders_and_paths(void **state)
{
    parry_ctx *ctx = *state;
    char deep[128], *joined;
    strcpy(deep, in_folder("x/y"));
    assert_int_equal(parry_folder_make(ctx, deep), PARRY_OK);
    assert_int_equal(parry_folder_make(ctx, deep), PARRY_OK);
    assert_true(pr_is_folder(deep));
    assert_false(pr_file_exists(deep));
    rmdir(deep);
    rmdir(in_folder("x"));
    assert_int_equal(parry_file_write(ctx, in_folder("file"), "", 0), PARRY_OK);
    assert_true(pr_file_exists(in_folder("file")));
    assert_int_equal(parry_folder_make(ctx, in_folder("file/x")), PARRY_IO);
    assert_int_equal(parry_folder_make(ctx, ""), PARRY_IO);
    assert_int_equal(parry_folder_make(ctx, "/"), PARRY_OK);
    assert_int_equal(pr_path_join(ctx, "a/", "b", &joined), PARRY_OK);
    assert_string_equal(joined, "a/b");
    assert_string_equal(pr_path_base(joined), "b");
    assert_string_equal(pr_path_base("c"), "c");
    pr_free(joined);
}

static void test_cache_folder(void **state)
{
    parry_ctx *ctx = *state;
    char *path;
    setenv("HOME", "/home/someone", 1);
    unsetenv("XDG_CACHE_HOME");
    assert_int_equal(pr_cache_folder(ctx, &path), PARRY_OK);
    assert_string_equal(path, "/home/someone/.cache/parry");
    pr_free(path);
    setenv("XDG_CACHE_HOME", "/var/c", 1);
    assert_int_equal(pr_cache_folder(ctx, &path), PARRY_OK);
    assert_string_equal(path, "/var/c/parry");
    pr_free(path);
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    assert_int_equal(pr_cache_folder(ctx, &path), PARRY_NOT_FOUND);
}

/* FIPS 180-2's examples. */
static void test_sha256(void **state)
{
    parry_ctx *ctx = *state;
    char hex[PR_SHA256_HEX];
    pr_sha256("abc", 3, hex);
    assert_string_equal(hex, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    pr_sha256("", 0, hex);
    assert_string_equal(hex, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    pr_sha256_state *pieces;
    assert_int_equal(pr_sha256_begin(ctx, &pieces), PARRY_OK);
    pr_sha256_add(pieces, "abcdbcdecdefdefgefghfghighij", 28);
    pr_sha256_add(pieces, "hijkijkljklmklmnlmnomnopnopq", 28);
    pr_sha256_end(pieces, hex);
    assert_string_equal(hex, "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
        TEST(test_write_replaces),     TEST(test_abort_leaves_the_old_file),
        TEST(test_full_disk),          TEST(test_devices_are_written_in_place),
        TEST(test_unwritable),         TEST(test_read_limits),
        TEST(test_gzip_cut_or_spoilt), TEST(test_folders_and_paths),
        TEST(test_cache_folder),       TEST(test_sha256),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
