/* Memory runs out at every place in turn: loading a model, saving one, attacking, evaluating and writing the results.
 * Each time the call fails with a sentence, nothing is leaked or left in place of a good file, and the next call
 * succeeds; where the work can do without what it could not have, the result is the same. */
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "attack/impl.h"
#include "base/file.h"
#include "failing_malloc.h"
#include "report/report.h"
#include "../unit/support/context.h"

enum { SIDE = 8, CLASSES = 3, IMAGES = 4, ROW = SIDE * SIDE };

static char folder[] = "/tmp/parry-fault-XXXXXX", model_path[64], output_path[64], photo_folder[64];
static const char *const written_parts[] = {"images.npy", "labels.npy", "dataset.json"}; /* of a dataset */
static parry_dataset *data;

/* What the work is about, and a digest of what it made, "" when it failed. */
typedef struct job {
    parry_model *model;
    char digest[PR_SHA256_HEX];
} job;

static void digest(job *j, const void *bytes, size_t size)
{
    pr_sha256_state *state;
    if (pr_sha256_begin(ctx, &state) != PARRY_OK)
        return;
    pr_sha256_add(state, bytes, size);
    pr_sha256_end(state, j->digest);
}

/* ---- the work --------------------------------------------------------------------------------------------------- */

static parry_status load(job *j)
{
    TRY(parry_model_load(ctx, model_path, data, &j->model));
    strcpy(j->digest, parry_model_describe(j->model)->sha256);
    return PARRY_OK;
}

/* The digest of files that were written, "" where memory runs out only here. */
static void digest_files(job *j, const char *in, const char *const *names, size_t count)
{
    char all[8][PR_SHA256_HEX], path[96];
    for (size_t i = 0; i < count; i++) {
        snprintf(path, sizeof path, "%s/%s", in, names[i]);
        uint8_t *written;
        size_t size;
        if (pr_file_read(ctx, path, 1 << 30, &written, &size) != PARRY_OK)
            return;
        pr_sha256(written, size, all[i]);
        pr_free(written);
    }
    digest(j, all, count * sizeof all[0]);
}

static parry_status save(job *j)
{
    TRY(parry_model_save(ctx, j->model, output_path));
    digest_files(j, folder, (const char *const[]){"output"}, 1);
    return PARRY_OK;
}

static parry_status run_attack(job *j)
{
    const parry_threat threat = {.eps = 0.1, .clip = true};
    parry_attack *attack;
    parry_attack_result result;
    TRY(parry_attack_create(ctx, "pgd:steps=2:restarts=2", &attack));
    parry_status status = parry_attack_run(ctx, attack, &threat, j->model, data, &result);
    parry_attack_free(attack);
    TRY(status);
    digest(j, result.adversaries, IMAGES * ROW * sizeof(float));
    parry_attack_result_clear(&result);
    return PARRY_OK;
}

static parry_status evaluate(job *j)
{
    const parry_threat threat = {.clip = true};
    const parry_evaluate_settings settings = {.attacks = "fgsm", .eps = {1, {0.1}}, .curve = 1, .examples = 1};
    const parry_model *models[] = {j->model};
    parry_evaluation *evaluation;
    char *text = NULL;
    TRY(parry_evaluate(ctx, models, 1, data, NULL, &threat, &settings, &evaluation));
    parry_status status =
        parry_evaluation_write_html(ctx, (const parry_evaluation *const *)&evaluation, 1, "report", NULL, output_path);
    if (status == PARRY_OK)
        status = parry_evaluation_table(ctx, evaluation, 80, &text);
    parry_string_free(text);
    text = NULL;
    if (status == PARRY_OK)
        status = parry_evaluation_json(ctx, evaluation, &text);
    if (status == PARRY_OK)
        digest(j, text, strlen(text));
    parry_string_free(text);
    parry_evaluation_free(evaluation);
    return status;
}

static parry_status reopen(job *j)
{
    parry_dataset *copy;
    TRY(parry_dataset_write(ctx, data, folder));
    TRY(parry_dataset_open(ctx, folder, PARRY_TEST, &copy));
    parry_dataset_free(copy);
    digest_files(j, folder, written_parts, PR_COUNT(written_parts));
    return PARRY_OK;
}

/* Photographs are decoded while they are classified, and again for an attack. */
static parry_status classify_photographs(job *j)
{
    const parry_threat threat = {.eps = 0.1, .clip = true};
    const char *paths[] = {photo_folder};
    parry_dataset *photos;
    parry_attack *attack = NULL;
    parry_attack_result result = {0};
    float logits[IMAGES * CLASSES];
    TRY(parry_dataset_open_images(ctx, paths, 1, j->model, NULL, PARRY_TEST, 0, &photos));
    parry_status status = parry_dataset_logits(ctx, j->model, photos, 0, IMAGES, logits);
    if (status == PARRY_OK)
        status = parry_attack_create(ctx, "fgsm", &attack);
    if (status == PARRY_OK)
        status = pr_attack_score(ctx, attack, &threat, j->model, photos, &result);
    if (status == PARRY_OK)
        digest(j, logits, sizeof logits);
    parry_attack_result_clear(&result);
    parry_attack_free(attack);
    parry_dataset_free(photos);
    return status;
}

/* ---- failing ---------------------------------------------------------------------------------------------------- */

static void check_failure(const char *name, long n, parry_status status)
{
    const char *sentence = parry_ctx_error(ctx);
    if (!sentence[0] || strchr(sentence, '\n'))
        fail_msg("%s, allocation %ld: %s, but the sentence is '%s'", name, n, parry_status_name(status), sentence);
}

/* Does the work once for every allocation in it, or from the n-th on for every n / `spread`-th; each time with a model
 * of its own where it needs one. */
static void fail_each(const char *name, parry_status (*work)(job *), bool needs_model, long spread)
{
    char expected[PR_SHA256_HEX] = "";
    for (long n = 0;; n += 1 + n / spread) { /* 0: none fails; what is made only once is made now */
        job j = {0};
        long before = failing_malloc_live();
        if (needs_model)
            OK(parry_model_load(ctx, model_path, data, &j.model));
        failing_malloc_arm(n);
        parry_status status = work(&j);
        bool failed = failing_malloc_disarm();
        parry_model_free(j.model);
        if (n == 0) {
            OK(status);
            strcpy(expected, j.digest);
            continue;
        }
        if (failing_malloc_live() != before)
            fail_msg("%s, allocation %ld: %s leaves %ld blocks (%s)", name, n, parry_status_name(status),
                     failing_malloc_live() - before, parry_ctx_error(ctx));
        if (status != PARRY_OK)
            check_failure(name, n, status);
        else if (j.digest[0] && strcmp(j.digest, expected) != 0)
            fail_msg("%s, allocation %ld: succeeds with another result", name, n);
        if (status == PARRY_OK && !failed) {
            assert_true(n > 10);
            return;
        }
    }
}

static void test_load(void **state)
{
    (void)state;
    fail_each("load", load, false, LONG_MAX);
}

/* The file that was there is whole until the new one is. */
static void test_save(void **state)
{
    (void)state;
    fail_each("save", save, true, LONG_MAX);
    uint8_t *first, *second;
    size_t first_size, second_size;
    OK(pr_file_read(ctx, model_path, 1 << 30, &first, &first_size));
    OK(pr_file_read(ctx, output_path, 1 << 30, &second, &second_size));
    assert_int_equal(first_size, second_size);
    assert_memory_equal(first, second, first_size);
    pr_free(first);
    pr_free(second);
}

static void test_attack(void **state)
{
    (void)state;
    fail_each("attack", run_attack, true, LONG_MAX);
}

static void test_evaluate(void **state)
{
    (void)state;
    fail_each("evaluate", evaluate, true, 64);
}

static void test_dataset(void **state)
{
    (void)state;
    fail_each("dataset", reopen, false, LONG_MAX);
}

static void test_photographs(void **state)
{
    (void)state;
    fail_each("photographs", classify_photographs, true, 64);
}

/* ---- a model and images ------------------------------------------------------------------------------------------ */

/* A caveat and names of the classes, which data in memory lack. */
static void add_words(void)
{
    static const char words[] =
        "{\"classes\": 3, \"note\": \"a caveat\", \"class_names\": [\"cat\", \"dog\", \"bird\"]}";
    char path[96];
    snprintf(path, sizeof path, "%s/dataset.json", folder);
    OK(parry_dataset_write(ctx, data, folder));
    OK(parry_file_write(ctx, path, words, sizeof words - 1));
    parry_dataset_free(data);
    OK(parry_dataset_open(ctx, folder, PARRY_TEST, &data));
}

static int set_up(void **state)
{
    static float images[IMAGES * ROW];
    int32_t labels[IMAGES];
    parry_model *model;
    if (set_up_context(state) != 0 || !mkdtemp(folder))
        return -1;
    snprintf(model_path, sizeof model_path, "%s/net.onnx", folder);
    snprintf(output_path, sizeof output_path, "%s/output", folder);
    snprintf(photo_folder, sizeof photo_folder, "%s/photos", folder);
    for (int i = 0; i < IMAGES * ROW; i++)
        images[i] = (float)(i * 37 % 101) / 100;
    for (int i = 0; i < IMAGES; i++)
        labels[i] = i % CLASSES;
    OK(parry_dataset_create(ctx, images, labels, IMAGES, 1, SIDE, SIDE, CLASSES, &data));
    add_words();
    OK(parry_images_write(ctx, photo_folder, "photo", images, 0, IMAGES, 1, SIDE, SIDE));
    const parry_preprocess declared = {.range = {2, {0, 255}}, .mean = {1, {128}}, .std = {1, {64}}};
    const parry_build build = {.channels = 1,
                               .height = SIDE,
                               .width = SIDE,
                               .classes = CLASSES,
                               .class_names = parry_dataset_describe(data)->class_names,
                               .preprocess = &declared};
    OK(parry_model_build_from(ctx, "simplecnn", &build, &model));
    OK(parry_model_save(ctx, model, model_path));
    parry_model_free(model);
    return 0;
}

static int tear_down(void **state)
{
    parry_dataset_free(data);
    unlink(model_path);
    unlink(output_path);
    for (size_t i = 0; i < PR_COUNT(written_parts); i++) {
        char path[96];
        snprintf(path, sizeof path, "%s/%s", folder, written_parts[i]);
        unlink(path);
    }
    for (int i = 0; i < IMAGES; i++) {
        char path[96];
        snprintf(path, sizeof path, "%s/photo-%05d.png", photo_folder, i);
        unlink(path);
    }
    rmdir(photo_folder);
    return rmdir(folder) | tear_down_context(state); /* fails when a temporary file was left */
}

int main(void)
{
    failing_malloc_start();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load),     cmocka_unit_test(test_save),    cmocka_unit_test(test_attack),
        cmocka_unit_test(test_evaluate), cmocka_unit_test(test_dataset), cmocka_unit_test(test_photographs),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
