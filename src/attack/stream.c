/* Endless batches, part clean, part adversarial.
 *
 * Each pass over the dataset is a new permutation, keyed by seed and pass: images are drawn without replacement, and a
 * trainer that resumes can seek. The adversarial part of a batch goes through the attack as one batch, so that it costs
 * one pass over the network per gradient, not one per image. */
#include <string.h>

#include "attack/attack.h"
#include "data/data.h"

struct parry_stream {
    const parry_model *model;
    const parry_dataset *dataset;
    parry_stream_options options;
    int64_t count, row; /* images of the dataset, floats of an image */
    int64_t pass, next; /* the running pass, the place of its next image in `order` */
    int64_t *order;
    float *originals; /* of the adversarial part of a batch */
};

/* Fisher and Yates' shuffle. */
static void shuffle(const parry_ctx *ctx, parry_stream *stream)
{
    pr_rng rng = pr_rng_init(parry_ctx_seed(ctx), PR_STREAM_SHUFFLE, (uint64_t)stream->pass);
    for (int64_t i = 0; i < stream->count; i++)
        stream->order[i] = i;
    for (int64_t i = stream->count - 1; i > 0; i--) {
        int64_t j = pr_rng_below(&rng, (uint32_t)(i + 1)), swap = stream->order[i];
        stream->order[i] = stream->order[j];
        stream->order[j] = swap;
    }
}

/* Random starts of an image differ between passes: each pass attacks under a seed of its own. */
static uint64_t pass_seed(const parry_ctx *ctx, const parry_stream *stream)
{
    pr_u32x4 words = pr_rng_block((pr_rng_key){parry_ctx_seed(ctx), PR_STREAM_MIX, (uint64_t)stream->pass}, 0);
    return (uint64_t)words.v[0] << 32 | words.v[1];
}

static parry_status check_options(parry_ctx *ctx, const parry_model *model, const parry_dataset *dataset,
                                  const parry_stream_options *options)
{
    const parry_dataset_info *data = parry_dataset_describe(dataset);
    if (options->batch < 1)
        return pr_fail(ctx, PARRY_INVALID, "a batch of %d images was asked for; it must be at least 1", options->batch);
    if (!(options->adversarial_share >= 0 && options->adversarial_share <= 1))
        return pr_fail(ctx, PARRY_INVALID, "the share of adversaries is %g; it must be between 0 and 1",
                       options->adversarial_share);
    if (options->adversarial_share > 0 && !(options->attack && options->threat))
        return pr_fail(ctx, PARRY_INVALID, "adversaries were asked for, but no attack or threat is given");
    if (data->count < 1 || data->count > UINT32_MAX || (options->drop_partial && data->count < options->batch))
        return pr_fail(ctx, PARRY_INVALID, "%s holds %lld images, which do not make batches of %d", data->name,
                       (long long)data->count, options->batch);
    if (options->adversarial_share > 0)
        TRY(parry_threat_check(ctx, options->threat));
    return pr_model_check_dataset(ctx, model, dataset);
}

static parry_status stream_fill(parry_ctx *ctx, const parry_model *model, const parry_dataset *dataset,
                                parry_stream *stream)
{
    stream->model = model;
    stream->dataset = dataset;
    stream->count = parry_dataset_describe(dataset)->count;
    stream->row = pr_model_row(model);
    TRY(pr_alloc_raw(ctx, stream->count, &stream->order));
    if (stream->options.adversarial_share > 0)
        TRY(pr_alloc_raw(ctx, stream->options.batch * stream->row, &stream->originals));
    shuffle(ctx, stream);
    return PARRY_OK;
}

parry_status parry_stream_create(parry_ctx *ctx, const parry_model *model, const parry_dataset *dataset,
                                 const parry_stream_options *options, parry_stream **out)
{
    parry_stream_options known = {0}; /* an older caller's struct is shorter */
    *out = NULL;
    memcpy(&known, options, PR_MIN(options->size, sizeof known));
    TRY(check_options(ctx, model, dataset, &known));
    TRY(pr_alloc(ctx, 1, out));
    (*out)->options = known;
    parry_status status = stream_fill(ctx, model, dataset, *out);
    if (status != PARRY_OK) {
        parry_stream_free(*out);
        *out = NULL;
    }
    return status;
}

parry_status pr_stream_seek(parry_ctx *ctx, parry_stream *stream, int64_t pass, int64_t batch)
{
    if (pass < 0 || batch < 0 || batch > stream->count / stream->options.batch + 1)
        return pr_fail(ctx, PARRY_INVALID, "batch %lld of pass %lld does not exist", (long long)batch, (long long)pass);
    stream->next = PR_MIN(batch * stream->options.batch, stream->count);
    if (pass != stream->pass) {
        stream->pass = pass;
        shuffle(ctx, stream);
    }
    return PARRY_OK;
}

/* How many images the next batch has, at the start of the next pass where this one has no more. */
static int64_t take(const parry_ctx *ctx, parry_stream *stream)
{
    const int64_t batch = stream->options.batch, left = stream->count - stream->next;
    if (left == 0 || (left < batch && stream->options.drop_partial)) {
        stream->pass++;
        stream->next = 0;
        shuffle(ctx, stream);
    }
    return PR_MIN(batch, stream->count - stream->next);
}

/* Copies images order[first], order[first + 1], ... */
static parry_status copy_images(parry_ctx *ctx, const parry_stream *stream, int64_t first, int64_t n, float *images,
                                int32_t *labels)
{
    for (int64_t i = 0; i < n; i++)
        labels[i] = parry_dataset_labels(stream->dataset)[stream->order[first + i]];
    return pr_dataset_read(ctx, stream->dataset, stream->order + first, 0, n, true, images);
}

parry_status parry_stream_next(parry_ctx *ctx, parry_stream *stream, float *images, int32_t *labels, int64_t *count)
{
    const int64_t n = take(ctx, stream), attacked = (int64_t)((double)n * stream->options.adversarial_share + 1e-9),
                  clean = n - attacked;
    TRY(copy_images(ctx, stream, stream->next, clean, images, labels));
    if (attacked > 0) {
        const int64_t first = stream->next + clean;
        TRY(copy_images(ctx, stream, first, attacked, stream->originals, labels + clean));
        pr_attack_request request = {
            .attack = stream->options.attack,
            .threat = stream->options.threat,
            .model = stream->model,
            .x = stream->originals,
            .labels = labels + clean,
            .index = stream->order + first,
            .n = attacked,
            .seed = pass_seed(ctx, stream),
            .adv = images + clean * stream->row,
        };
        TRY(pr_attack_rows(ctx, &request));
    }
    stream->next += n;
    *count = n;
    return PARRY_OK;
}

void parry_stream_free(parry_stream *stream)
{
    if (!stream)
        return;
    pr_free(stream->order);
    pr_free(stream->originals);
    pr_free(stream);
}
