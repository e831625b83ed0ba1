/* The tutorial's batch generator: an endless stream of batches, half of each adversarial against the model as it is.
 * Takes three batches and shows how the model fares on the clean and on the adversarial half.
 *
 *     cc batches.c -o batches $(pkg-config --cflags --libs parry) && ./batches cnn.onnx
 */
#include <stdio.h>

#include <parry/parry.h>

enum { BATCH = 64, CLASSES = 10, PIXELS = 28 * 28 };

/* How many of the rows [first, end) have their largest logit at the label. */
static int count_right(const float *logits, const int32_t *labels, int64_t first, int64_t end)
{
    int right = 0;
    for (int64_t i = first; i < end; i++) {
        int best = 0;
        for (int k = 1; k < CLASSES; k++)
            if (logits[i * CLASSES + k] > logits[i * CLASSES + best])
                best = k;
        right += best == labels[i];
    }
    return right;
}

static parry_status show_batches(parry_ctx *ctx, const parry_model *model, parry_stream *stream)
{
    static float images[BATCH * PIXELS], logits[BATCH * CLASSES];
    int32_t labels[BATCH];
    for (int i = 0; i < 3; i++) {
        int64_t n;
        parry_status status = parry_stream_next(ctx, stream, images, labels, &n);
        if (status == PARRY_OK)
            status = parry_model_logits(ctx, model, images, n, logits);
        if (status != PARRY_OK)
            return status;
        printf("batch %d: %d of %d clean images right, %d of %d adversaries\n", i + 1,
               count_right(logits, labels, 0, n / 2), (int)(n / 2), count_right(logits, labels, n / 2, n),
               (int)(n - n / 2));
    }
    return PARRY_OK;
}

static parry_status run(parry_ctx *ctx, const char *path)
{
    parry_dataset *images = NULL;
    parry_model *model = NULL;
    parry_attack *fgsm = NULL;
    parry_stream *stream = NULL;
    parry_threat threat = {.norm = PARRY_LINF, .eps = 0.1, .clip = true};

    parry_status status = parry_dataset_open(ctx, "mnist", PARRY_TRAIN, &images);
    if (status == PARRY_OK)
        status = parry_model_load(ctx, path, images, &model);
    if (status == PARRY_OK)
        status = parry_attack_create(ctx, "fgsm", &fgsm);
    if (status == PARRY_OK) {
        parry_stream_options options = {
            .size = sizeof options, .batch = BATCH, .adversarial_share = 0.5, .attack = fgsm, .threat = &threat};
        status = parry_stream_create(ctx, model, images, &options, &stream);
    }
    if (status == PARRY_OK)
        status = show_batches(ctx, model, stream);

    parry_stream_free(stream);
    parry_attack_free(fgsm);
    parry_model_free(model);
    parry_dataset_free(images);
    return status;
}

int main(int argc, char **argv)
{
    parry_ctx *ctx;
    if (argc != 2 || parry_ctx_create(NULL, &ctx) != PARRY_OK) {
        fprintf(stderr, "usage: batches MODEL.onnx\n");
        return 2;
    }
    parry_status status = run(ctx, argv[1]);
    if (status != PARRY_OK)
        fprintf(stderr, "%s\n", parry_ctx_error(ctx));
    parry_ctx_free(ctx);
    return status != PARRY_OK;
}
