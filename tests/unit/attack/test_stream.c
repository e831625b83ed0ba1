/* Streams: every pass shows every image once, in an order of its own; the adversarial part is what the attack makes of
 * those images; seeking is exact. */
#include "../../attack/support.h"

enum { SIDE = 4, ROW = SIDE * SIDE, CLASSES = 3, COUNT = 50, BATCH = 16 };

typedef struct fixture {
    parry_ctx *ctx;
    parry_model *model;
    parry_dataset *data;
    parry_attack *attack;
    parry_threat threat;
    float images[COUNT * ROW];
} fixture;

static fixture *open_fixture(int threads, const char *spec)
{
    static fixture f;
    f = (fixture){.ctx = make_ctx(threads, 4), .threat = {.eps = 0.1, .clip = true}};
    f.model = make_linear(f.ctx, SIDE, CLASSES, NULL, NULL);
    f.data = make_images(f.ctx, f.model, COUNT);
    assert_int_equal(parry_dataset_images(f.ctx, f.data, 0, COUNT, f.images), PARRY_OK);
    assert_int_equal(parry_attack_create(f.ctx, spec, &f.attack), PARRY_OK);
    return &f;
}

static void close_fixture(fixture *f)
{
    parry_attack_free(f->attack);
    parry_dataset_free(f->data);
    parry_model_free(f->model);
    parry_ctx_free(f->ctx);
}

static parry_stream *open_stream(fixture *f, double share, bool drop_partial)
{
    parry_stream *stream;
    parry_stream_options options = {.size = sizeof options,
                                    .batch = BATCH,
                                    .adversarial_share = share,
                                    .attack = f->attack,
                                    .threat = &f->threat,
                                    .drop_partial = drop_partial};
    assert_int_equal(parry_stream_create(f->ctx, f->model, f->data, &options, &stream), PARRY_OK);
    return stream;
}

/* Which image of the dataset this is. */
static int find_image(const fixture *f, const float *image)
{
    for (int i = 0; i < COUNT; i++)
        if (memcmp(f->images + i * ROW, image, ROW * sizeof *image) == 0)
            return i;
    fail_msg("an image of the stream is none of the dataset");
    return -1;
}

static void test_each_pass_is_a_permutation(void **state)
{
    (void)state;
    for (int drop = 0; drop < 2; drop++) {
        fixture *f = open_fixture(1, "fgsm");
        parry_stream *stream = open_stream(f, 0, drop);
        static float images[BATCH * ROW];
        int32_t labels[BATCH];
        int64_t count;
        int first_order[COUNT], moved = 0;
        for (int pass = 0; pass < 3; pass++) {
            bool seen[COUNT] = {0};
            int shown = 0;
            for (int batch = 0; batch < (drop ? COUNT / BATCH : COUNT / BATCH + 1); batch++) {
                assert_int_equal(parry_stream_next(f->ctx, stream, images, labels, &count), PARRY_OK);
                assert_int_equal(count, batch < COUNT / BATCH ? BATCH : COUNT % BATCH);
                for (int i = 0; i < count; i++) {
                    const int which = find_image(f, images + i * ROW);
                    assert_false(seen[which]);
                    seen[which] = true;
                    assert_int_equal(labels[i], parry_dataset_labels(f->data)[which]);
                    if (pass == 0)
                        first_order[shown] = which;
                    moved += pass > 0 && first_order[shown] != which;
                    shown++;
                }
            }
            assert_int_equal(shown, drop ? COUNT / BATCH * BATCH : COUNT);
        }
        assert_true(moved > COUNT);
        parry_stream_free(stream);
        close_fixture(f);
    }
}

/* The last floor(n * share) images of a batch are within eps of images of the dataset, fool the model more often, and
 * belong to the pass. */
static void test_the_adversarial_part(void **state)
{
    (void)state;
    fixture *f = open_fixture(2, "pgd:steps=5:step=0");
    parry_stream *clean = open_stream(f, 0, false), *mixed = open_stream(f, 0.5, false);
    static float plain[BATCH * ROW], images[BATCH * ROW], logits[BATCH * CLASSES];
    int32_t plain_labels[BATCH], labels[BATCH];
    int64_t count;
    int fooled = 0, attacked = 0;
    for (int batch = 0; batch < 8; batch++) {
        assert_int_equal(parry_stream_next(f->ctx, clean, plain, plain_labels, &count), PARRY_OK);
        assert_int_equal(parry_stream_next(f->ctx, mixed, images, labels, &count), PARRY_OK);
        assert_memory_equal(labels, plain_labels, (size_t)count * sizeof *labels);
        const int64_t untouched = count - count / 2;
        assert_memory_equal(images, plain, (size_t)(untouched * ROW) * sizeof *images);
        assert_int_equal(parry_model_logits(f->ctx, f->model, images, count, logits), PARRY_OK);
        for (int64_t i = untouched; i < count; i++) {
            assert_true(pr_distance_row(PARRY_LINF, images + i * ROW, plain + i * ROW, ROW) <= f->threat.eps);
            fooled += pr_argmax(logits + i * CLASSES, CLASSES) != labels[i];
            attacked++;
        }
    }
    assert_true(fooled > attacked * 2 / 5); /* a quarter of the labels is wrong to begin with */
    parry_stream_free(clean);
    parry_stream_free(mixed);
    close_fixture(f);
}

/* Batch `batch` of pass `pass` is the same however one gets there, with any number of threads; random starts differ
 * between passes. */
static void test_seeking(void **state)
{
    (void)state;
    static float kept[12][BATCH * ROW], images[BATCH * ROW];
    static int32_t labels[BATCH];
    const int batches = COUNT / BATCH + 1;
    int64_t count;
    for (int threads = 1; threads <= 3; threads++) {
        fixture *f = open_fixture(threads, "pgd:steps=3:step=0.01");
        parry_stream *stream = open_stream(f, 1, false);
        for (int i = 0; i < 3 * batches; i++) {
            assert_int_equal(parry_stream_next(f->ctx, stream, images, labels, &count), PARRY_OK);
            if (threads == 1)
                memcpy(kept[i], images, sizeof images);
            assert_memory_equal(kept[i], images, (size_t)(count * ROW) * sizeof *images);
        }
        for (int i = 3 * batches - 1; i >= 0; i -= 2) {
            assert_int_equal(pr_stream_seek(f->ctx, stream, i / batches, i % batches), PARRY_OK);
            assert_int_equal(parry_stream_next(f->ctx, stream, images, labels, &count), PARRY_OK);
            assert_memory_equal(kept[i], images, (size_t)(count * ROW) * sizeof *images);
        }
        assert_int_equal(pr_stream_seek(f->ctx, stream, 0, batches),
                         PARRY_OK); /* the end of a pass is the start of the next */
        assert_int_equal(parry_stream_next(f->ctx, stream, images, labels, &count), PARRY_OK);
        assert_memory_equal(kept[batches], images, sizeof images);
        parry_stream_free(stream);
        close_fixture(f);
    }
}

static void test_wrong_options(void **state)
{
    (void)state;
    fixture *f = open_fixture(1, "fgsm");
    const parry_threat wide = {.eps = 2, .clip = true};
    const parry_stream_options wrong[] = {
        {.batch = 0},
        {.batch = BATCH, .adversarial_share = 1.5, .attack = f->attack, .threat = &f->threat},
        {.batch = BATCH, .adversarial_share = NAN, .attack = f->attack, .threat = &f->threat},
        {.batch = BATCH, .adversarial_share = 0.5},
        {.batch = BATCH, .adversarial_share = 0.5, .attack = f->attack, .threat = &wide},
        {.batch = COUNT + 1, .drop_partial = true},
    };
    for (size_t i = 0; i < PR_COUNT(wrong); i++) {
        parry_stream *stream;
        parry_stream_options options = wrong[i];
        options.size = sizeof options;
        assert_int_equal(parry_stream_create(f->ctx, f->model, f->data, &options, &stream), PARRY_INVALID);
        assert_null(stream);
    }
    close_fixture(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_pass_is_a_permutation),
        cmocka_unit_test(test_the_adversarial_part),
        cmocka_unit_test(test_seeking),
        cmocka_unit_test(test_wrong_options),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
