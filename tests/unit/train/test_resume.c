/* Checkpoints: training interrupted anywhere and resumed equals uninterrupted training byte for byte; files that do not
 * belong are refused. */
#include "support.h"
#include "../../../fuzz/checkpoint.h"

/* Trains or hardens a fresh model; `method` is "train" or one of parry_harden_list. */
static parry_status work(parry_ctx *ctx, parry_model *model, const char *method, const parry_dataset *data,
                         const parry_dataset *test, const parry_train_settings *settings)
{
    parry_harden_settings harden = {.share = 0.5, .adversaries = 16, .preset = PR_PRESET_SHORT};
    parry_threat threat = {.norm = PARRY_LINF, .eps = 0.1, .clip = true};
    if (strcmp(method, "train") == 0)
        return parry_train(ctx, model, data, test, settings);
    while (strcmp(parry_harden_list()[harden.method], method) != 0)
        harden.method++;
    harden.attack = strcmp(method, "pgd") == 0 ? "pgd:steps=2:step=0.05" : NULL;
    return parry_harden(ctx, model, data, test, &harden, &threat, settings);
}

static void uninterrupted(const char *method, int precision, char hex[PR_SHA256_HEX])
{
    parry_ctx *ctx = make_ctx(3, 1, NULL);
    parry_dataset *data = make_data(ctx, 28, 1), *test = make_data(ctx, 9, 2);
    parry_model *model = make_model(ctx);
    parry_train_settings settings = make_settings(2, 12, 1e-3);
    settings.precision = precision;
    OK_IN(ctx, work(ctx, model, method, data, test, &settings));
    model_digest(ctx, model, hex);
    parry_model_free(model);
    parry_dataset_free(data);
    parry_dataset_free(test);
    parry_ctx_free(ctx);
}

/* Interrupts at poll number `polls`, resumes without interruption; false when the work ended before. */
static bool interrupted_once(const char *method, int precision, int threads, long polls, char hex[PR_SHA256_HEX])
{
    caller impatient = {.polls_left = polls};
    parry_ctx *ctx = make_ctx(3, threads, &impatient);
    parry_dataset *data = make_data(ctx, 28, 1), *test = make_data(ctx, 9, 2);
    parry_model *model = make_model(ctx);
    parry_train_settings settings = make_settings(2, 12, 1e-3);
    char given[PR_SHA256_HEX], left[PR_SHA256_HEX], *path = temporary_path("resume");
    settings.precision = precision;
    settings.checkpoint = path;
    settings.resume = true;
    model_digest(ctx, model, given);
    parry_status status = work(ctx, model, method, data, test, &settings);
    if (status == PARRY_CANCELLED) {
        model_digest(ctx, model, left);
        assert_string_equal(left, given);
        impatient.interrupted = 0;
        OK_IN(ctx, work(ctx, model, method, data, test, &settings));
    } else {
        OK_IN(ctx, status);
    }
    model_digest(ctx, model, hex);
    unlink(path);
    parry_model_free(model);
    parry_dataset_free(data);
    parry_dataset_free(test);
    parry_ctx_free(ctx);
    return status == PARRY_CANCELLED;
}

/* Polls come several to a step where adversaries are made; there only some of them are tried. */
typedef struct resumption {
    const char *method;
    long stride;
    int precision;
} resumption;

static void resumes_to_the_same_bytes(void **state)
{
    const resumption *how = *state;
    char expected[PR_SHA256_HEX], hex[PR_SHA256_HEX];
    int interruptions = 0;
    if (how->precision == PARRY_BF16)
        need_bf16();
    uninterrupted(how->method, how->precision, expected);
    for (int threads = 1; threads <= 3; threads++)
        for (long polls = threads;; polls += how->stride) {
            bool interrupted = interrupted_once(how->method, how->precision, threads, polls, hex);
            assert_string_equal(hex, expected);
            if (!interrupted)
                break;
            interruptions++;
        }
    assert_true(interruptions >= 8);
}

/* A checkpoint of two epochs, and how reading it back ends for other training. */
typedef struct bench {
    parry_ctx *ctx;
    parry_dataset *data, *other;
    parry_train_settings settings;
    char path[256];
} bench;

static void bench_open(bench *b)
{
    b->ctx = make_ctx(3, 1, NULL);
    b->data = make_data(b->ctx, 28, 1);
    b->other = make_data(b->ctx, 28, 2);
    b->settings = make_settings(2, 12, 1e-3);
    strcpy(b->path, temporary_path("bench"));
    b->settings.checkpoint = b->path;
    parry_model *model = make_model(b->ctx);
    OK_IN(b->ctx, parry_train(b->ctx, model, b->data, NULL, &b->settings));
    parry_model_free(model);
    b->settings.resume = true;
}

static void bench_close(bench *b)
{
    unlink(b->path);
    parry_dataset_free(b->data);
    parry_dataset_free(b->other);
    parry_ctx_free(b->ctx);
}

static void expect_refusal(parry_ctx *ctx, const parry_dataset *data, const parry_train_settings *settings,
                           parry_status status, const char *words)
{
    parry_model *model = make_model(ctx);
    assert_int_equal(parry_train(ctx, model, data, NULL, settings), status);
    check_says(ctx, words);
    check_says(ctx, settings->checkpoint);
    parry_model_free(model);
}

static void damaged_files_are_refused(void **state)
{
    (void)state;
    bench b;
    uint8_t *good;
    size_t size;
    bench_open(&b);
    OK_IN(b.ctx, pr_file_read(b.ctx, b.path, 1 << 28, &good, &size));
    const size_t cuts[] = {0, 5, 20, 100, size / 2, size - 1};
    for (size_t i = 0; i < PR_COUNT(cuts); i++) {
        OK_IN(b.ctx, parry_file_write(b.ctx, b.path, good, cuts[i]));
        expect_refusal(b.ctx, b.data, &b.settings, PARRY_FORMAT,
                       cuts[i] < 16 ? "not a checkpoint" : "damaged or cut short");
    }
    const size_t flips[] = {17, 21, 40, size / 2, size - 1};
    for (size_t i = 0; i < PR_COUNT(flips); i++) {
        good[flips[i]] ^= 4;
        OK_IN(b.ctx, parry_file_write(b.ctx, b.path, good, size));
        expect_refusal(b.ctx, b.data, &b.settings, PARRY_FORMAT, "damaged");
        good[flips[i]] ^= 4;
    }
    OK_IN(b.ctx, parry_file_write(b.ctx, b.path, "some text that is not a checkpoint", 34));
    expect_refusal(b.ctx, b.data, &b.settings, PARRY_FORMAT, "not a checkpoint");
    pr_free(good);
    bench_close(&b);
}

/* The fuzzer's seeds: what is taken over stands where it says, the rest is refused by name. */
static void seeds_are_read_or_refused(void **state)
{
    static const struct {
        const char *name;
        parry_status status;
        int epoch, step;
        const char *words;
    } seeds[] = {
        {"begun", PARRY_OK, 0, 2},
        {"half", PARRY_OK, 1, 3},
        {"done", PARRY_OK, 3, 0},
        {"older", PARRY_OK, 1, 0},
        {"other", PARRY_MISMATCH, 0, 0, "settings.lr is 0.25, that of this run 0.5"},
        {"beyond", PARRY_FORMAT, 0, 0, "position"},
        {"short", PARRY_FORMAT, 0, 0, "116 bytes of weights; expected 120"},
        {"long-header", PARRY_FORMAT, 0, 0, "header is longer"},
    };
    (void)state;
    parry_ctx *ctx = make_ctx(0, 1, NULL);
    for (size_t i = 0; i < PR_COUNT(seeds); i++) {
        char seed[512], *path = temporary_path("seed");
        uint8_t *data, *whole;
        size_t size, total;
        fuzz_stage stage;
        snprintf(seed, sizeof seed, "%s/checkpoint/%s", getenv("PARRY_FUZZ_CORPUS"), seeds[i].name);
        OK_IN(ctx, pr_file_read(ctx, seed, 1 << 16, &data, &size));
        OK_IN(ctx, fuzz_stage_open(ctx, &stage));
        OK_IN(ctx, fuzz_checkpoint(ctx, data, size, &whole, &total));
        OK_IN(ctx, parry_file_write(ctx, path, whole, total));
        const parry_status status = pr_checkpoint_read(ctx, path, &stage.training);
        assert_int_equal(status, seeds[i].status);
        assert_true(fuzz_stage_holds(&stage.training));
        assert_int_equal(stage.training.at.epoch, seeds[i].epoch);
        assert_int_equal(stage.training.at.step, seeds[i].step);
        if (status == PARRY_OK)
            assert_true(stage.training.weights->items[0].data[1] == 1.0f / 16); /* the second float */
        else {
            check_says(ctx, seeds[i].words);
            check_says(ctx, path);
        }
        fuzz_stage_close(&stage);
        pr_free(data);
        pr_free(whole);
        unlink(path);
    }
    parry_ctx_free(ctx);
}

static void other_training_is_refused(void **state)
{
    (void)state;
    bench b;
    bench_open(&b);
    parry_train_settings other = b.settings;
    other.lr = 2e-3;
    expect_refusal(b.ctx, b.data, &other, PARRY_MISMATCH, "settings.lr");
    other = b.settings;
    other.epochs = 3;
    expect_refusal(b.ctx, b.data, &other, PARRY_MISMATCH, "settings.epochs");
    expect_refusal(b.ctx, b.other, &b.settings, PARRY_MISMATCH, "data.sha256");
    parry_ctx *reseeded = make_ctx(4, 1, NULL);
    expect_refusal(reseeded, b.data, &b.settings, PARRY_MISMATCH, "seed");
    parry_ctx_free(reseeded);
    bench_close(&b);
}

static void another_precision_is_refused(void **state)
{
    (void)state;
    bench b;
    need_bf16();
    bench_open(&b);
    parry_train_settings other = b.settings;
    other.precision = PARRY_BF16;
    expect_refusal(b.ctx, b.data, &other, PARRY_MISMATCH, "settings.precision is \"f32\", that of this run \"bf16\"");
    bench_close(&b);
}

/* Checkpoints named no precision when all training was in f32. */
static void older_checkpoints_are_of_f32(void **state)
{
    static const char field[] = ",\"precision\":\"f32\"";
    enum { LENGTH_AT = 20, HEADER_AT = 24, CUT = sizeof field - 1, DIGEST = PR_SHA256_HEX - 1 };
    (void)state;
    bench b;
    uint8_t *file;
    size_t size;
    uint32_t length;
    char hex[PR_SHA256_HEX];
    bench_open(&b);
    OK_IN(b.ctx, pr_file_read(b.ctx, b.path, 1 << 28, &file, &size));
    uint8_t *at = memmem(file, size, field, CUT);
    assert_true(at > file + HEADER_AT);
    memmove(at, at + CUT, size - CUT - (size_t)(at - file));
    size -= CUT;
    memcpy(&length, file + LENGTH_AT, sizeof length);
    length -= CUT;
    memcpy(file + LENGTH_AT, &length, sizeof length);
    pr_sha256(file, size - DIGEST, hex);
    memcpy(file + size - DIGEST, hex, DIGEST);
    OK_IN(b.ctx, parry_file_write(b.ctx, b.path, file, size));
    pr_free(file);
    parry_model *model = make_model(b.ctx);
    OK_IN(b.ctx, parry_train(b.ctx, model, b.data, NULL, &b.settings));
    parry_model_free(model);
    bench_close(&b);
}

/* Interrupted in its second epoch, training gives the network as it is then, and can still go on. */
static void the_network_so_far(void **state)
{
    (void)state;
    caller impatient = {.polls_left = 1000};
    parry_ctx *ctx = make_ctx(3, 1, &impatient);
    parry_dataset *data = make_data(ctx, 28, 1);
    parry_model *model = make_model(ctx), *partial = make_model(ctx);
    parry_train_settings settings = make_settings(2, 12, 1e-3), plain = settings;
    char fresh[PR_SHA256_HEX], half[PR_SHA256_HEX], whole[PR_SHA256_HEX], expected[PR_SHA256_HEX];
    char *path = temporary_path("so-far");
    model_digest(ctx, model, fresh);
    settings.checkpoint = path;
    settings.so_far = true;
    assert_int_equal(parry_train(ctx, model, data, NULL, &settings), PARRY_NOT_FOUND);
    settings.checkpoint = NULL;
    assert_int_equal(parry_train(ctx, model, data, NULL, &settings), PARRY_INVALID);
    settings.checkpoint = path;
    settings.so_far = false;
    impatient.polls_left = 5;
    assert_int_equal(parry_train(ctx, model, data, NULL, &settings), PARRY_CANCELLED);
    impatient.interrupted = 0;
    impatient.polls_left = 1000;
    settings.so_far = true;
    OK_IN(ctx, parry_train(ctx, partial, data, NULL, &settings));
    model_digest(ctx, partial, half);
    assert_true(strcmp(half, fresh) != 0);
    json_t *history = json_loads(parry_model_describe(partial)->history, 0, NULL);
    const json_t *stage = json_array_get(json_object_get(history, "stages"), 0),
                 *stopped = json_object_get(stage, "stopped");
    assert_int_equal(json_array_size(json_object_get(stage, "curve")), 1);
    assert_int_equal(json_integer_value(json_object_get(stopped, "epoch")), 2);
    assert_int_equal(json_integer_value(json_object_get(stopped, "of")), 3);
    json_decref(history);
    settings.so_far = false;
    settings.resume = true;
    OK_IN(ctx, parry_train(ctx, model, data, NULL, &settings));
    model_digest(ctx, model, whole);
    unlink(path);
    parry_model_free(model);
    model = make_model(ctx);
    OK_IN(ctx, parry_train(ctx, model, data, NULL, &plain));
    model_digest(ctx, model, expected);
    assert_string_equal(whole, expected);
    assert_true(strcmp(half, whole) != 0);
    parry_model_free(model);
    parry_model_free(partial);
    parry_dataset_free(data);
    parry_ctx_free(ctx);
}

static void finished_training_resumes_to_itself(void **state)
{
    (void)state;
    bench b;
    char once[PR_SHA256_HEX], again[PR_SHA256_HEX];
    bench_open(&b);
    parry_train_settings plain = make_settings(2, 12, 1e-3);
    parry_model *model = make_model(b.ctx), *resumed = make_model(b.ctx);
    OK_IN(b.ctx, parry_train(b.ctx, model, b.data, NULL, &plain));
    OK_IN(b.ctx, parry_train(b.ctx, resumed, b.data, NULL, &b.settings));
    model_digest(b.ctx, model, once);
    model_digest(b.ctx, resumed, again);
    assert_string_equal(once, again);
    parry_model_free(model);
    parry_model_free(resumed);
    bench_close(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        {"train resumes to the same bytes", resumes_to_the_same_bytes, NULL, NULL, &(resumption){"train", 1}},
        {"train in bf16 resumes to the same bytes", resumes_to_the_same_bytes, NULL, NULL,
         &(resumption){"train", 1, PARRY_BF16}},
        {"finetune resumes to the same bytes", resumes_to_the_same_bytes, NULL, NULL, &(resumption){"finetune", 1}},
        {"mixed resumes to the same bytes", resumes_to_the_same_bytes, NULL, NULL, &(resumption){"mixed", 4}},
        {"pgd resumes to the same bytes", resumes_to_the_same_bytes, NULL, NULL, &(resumption){"pgd", 9}},
        cmocka_unit_test(damaged_files_are_refused),
        cmocka_unit_test(seeds_are_read_or_refused),
        cmocka_unit_test(other_training_is_refused),
        cmocka_unit_test(another_precision_is_refused),
        cmocka_unit_test(older_checkpoints_are_of_f32),
        cmocka_unit_test(the_network_so_far),
        cmocka_unit_test(finished_training_resumes_to_itself),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
