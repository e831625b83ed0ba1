/* Checkpoints: one file with all that a stage of training needs to go on to the same bytes.
 *
 *     "parry checkpoint"             16 bytes
 *     version, length of the header  2 x uint32
 *     header                         JSON: "stage" (what identifies the training), "position", "curve"
 *     weights                        every tensor of the model in its order: float32
 *     moments                        for every trained tensor, each moment of the optimiser: float32
 *     SHA-256 of all that            64 hex digits
 *
 * Numbers are little-endian. Random draws need no state: they are functions of the seed and the position. */
#include <string.h>

#include "base/file.h"
#include "train/train.h"

static const char magic[] = "parry checkpoint";
enum {
    MAGIC = sizeof magic - 1,
    VERSION = 1,
    HEADER_AT = MAGIC + 2 * sizeof(uint32_t),
    HEADER_MAX = 1 << 26,
    DIGEST = PR_SHA256_HEX - 1,
};

/* Floats after the header, and the size of the largest tensor. */
static size_t float_count(const pr_training *training, size_t *largest)
{
    size_t total = 0;
    *largest = 0;
    for (size_t i = 0; i < training->weights->count; i++) {
        const pr_weight *weight = &training->weights->items[i];
        size_t copies = 1 + (pr_weight_trained(weight) ? (size_t)training->optimiser->rule.moments : 0);
        total += copies * (size_t)weight->count;
        *largest = PR_MAX(*largest, (size_t)weight->count);
    }
    return total;
}

/* ---- writing ----------------------------------------------------------------------------------------------- */

typedef struct writer {
    FILE *stream;
    pr_sha256_state *digest;
} writer;

static void put(writer *to, const void *data, size_t size)
{
    fwrite(data, 1, size, to->stream); /* an error stays with the stream: pr_output_commit */
    pr_sha256_add(to->digest, data, size);
}

/* 17 digits bring every double back exactly. */
static parry_status header_text(parry_ctx *ctx, const pr_training *training, char **out)
{
    const pr_position *at = &training->at;
    json_t *header =
        json_pack("{s:O, s:{s:I, s:I, s:I, s:I, s:f}, s:O}", "stage", training->record, "position", "epoch",
                  (json_int_t)at->epoch, "step", (json_int_t)at->step, "seen", (json_int_t)at->seen, "correct",
                  (json_int_t)at->correct, "loss_sum", at->loss_sum, "curve", training->curve);
    *out = NULL;
    parry_status status = header ? pr_json_dump(ctx, header, JSON_COMPACT | JSON_REAL_PRECISION(17), out)
                                 : pr_fail(ctx, PARRY_NO_MEMORY, "out of memory for the checkpoint's header");
    json_decref(header);
    return status;
}

static parry_status put_moments(parry_ctx *ctx, pr_training *training, writer *to)
{
    size_t largest;
    float *buffer;
    float_count(training, &largest);
    TRY(pr_alloc_raw(ctx, largest, &buffer));
    parry_status status = PARRY_OK;
    for (size_t i = 0; i < training->weights->count; i++) {
        const pr_weight *weight = &training->weights->items[i];
        for (int m = 0; pr_weight_trained(weight) && m < training->optimiser->rule.moments; m++) {
            TRY_TO(out, pr_trainer_moment(ctx, training->trainer, (int32_t)i, m, buffer, false));
            put(to, buffer, (size_t)weight->count * sizeof(float));
        }
    }
out:
    pr_free(buffer);
    return status;
}

static parry_status put_all(parry_ctx *ctx, pr_training *training, writer *to)
{
    char *header;
    TRY(header_text(ctx, training, &header));
    uint32_t lead[2] = {VERSION, (uint32_t)strlen(header)};
    put(to, magic, MAGIC);
    put(to, lead, sizeof lead);
    put(to, header, lead[1]);
    parry_string_free(header);
    for (size_t i = 0; i < training->weights->count; i++)
        put(to, training->weights->items[i].data, (size_t)training->weights->items[i].count * sizeof(float));
    return put_moments(ctx, training, to);
}

parry_status pr_checkpoint_write(parry_ctx *ctx, const char *path, pr_training *training)
{
    pr_output output;
    writer to = {0};
    char hex[PR_SHA256_HEX];
    TRY(pr_trainer_sync(ctx, training->trainer));
    TRY(pr_output_begin(ctx, path, &output));
    to.stream = output.stream;
    parry_status status = pr_sha256_begin(ctx, &to.digest);
    if (status == PARRY_OK) {
        status = put_all(ctx, training, &to);
        pr_sha256_end(to.digest, hex);
    }
    if (status == PARRY_OK) {
        fwrite(hex, 1, DIGEST, output.stream);
        status = pr_output_commit(ctx, &output);
    }
    pr_output_abort(&output);
    return status;
}

/* ---- reading ----------------------------------------------------------------------------------------------- */

typedef struct content {
    const char *path;
    uint8_t *data;
    size_t size, header_size; /* header_size: with what stands before it */
    json_t *header;
} content;

static parry_status open_content(parry_ctx *ctx, size_t floats, content *file)
{
    TRY(pr_file_read(ctx, file->path, HEADER_AT + (size_t)HEADER_MAX + floats * sizeof(float) + DIGEST, &file->data,
                     &file->size));
    if (file->size < MAGIC || memcmp(file->data, magic, MAGIC) != 0)
        return pr_fail(ctx, PARRY_FORMAT, "%s: is not a checkpoint of parry", file->path);
    char hex[PR_SHA256_HEX];
    size_t body = file->size - DIGEST;
    if (file->size >= HEADER_AT + DIGEST)
        pr_sha256(file->data, body, hex);
    if (file->size < HEADER_AT + DIGEST || memcmp(hex, file->data + body, DIGEST) != 0)
        return pr_fail(ctx, PARRY_FORMAT, "%s: the checkpoint is damaged or cut short: its checksum does not match",
                       file->path);
    uint32_t lead[2];
    memcpy(lead, file->data + MAGIC, sizeof lead);
    if (lead[0] != VERSION)
        return pr_fail(ctx, PARRY_UNSUPPORTED, "%s: checkpoint version %u; this build reads version %d", file->path,
                       lead[0], VERSION);
    if (lead[1] > body - HEADER_AT)
        return pr_fail(ctx, PARRY_FORMAT, "%s: the checkpoint's header is longer than the file", file->path);
    file->header_size = HEADER_AT + lead[1];
    file->header = json_loadb((const char *)file->data + HEADER_AT, lead[1], JSON_REJECT_DUPLICATES, NULL);
    return file->header ? PARRY_OK
                        : pr_fail(ctx, PARRY_FORMAT, "%s: the checkpoint's header is not valid JSON", file->path);
}

/* Names the first field in which two records differ; `within` is the path that leads to them. */
static parry_status report_difference(parry_ctx *ctx, const char *path, const char *within, const json_t *then,
                                      json_t *now)
{
    const char *key;
    json_t *value;
    char name[128];
    json_object_foreach(now, key, value)
    {
        const json_t *former = json_object_get(then, key);
        if (json_equal(former, value))
            continue;
        snprintf(name, sizeof name - 1, "%s%s", within, key);
        if (json_is_object(former) && json_is_object(value))
            return report_difference(ctx, path, strcat(name, "."), former, value);
        char *was = json_dumps(former, JSON_ENCODE_ANY), *is = json_dumps(value, JSON_ENCODE_ANY);
        parry_status status = pr_fail(ctx, PARRY_MISMATCH,
                                      "%s: the checkpoint belongs to other training: its %s is %s, that of this run %s",
                                      path, name, was ? was : "absent", is ? is : "unknown");
        parry_string_free(was);
        parry_string_free(is);
        return status;
    }
    return pr_fail(ctx, PARRY_MISMATCH, "%s: the checkpoint belongs to other training, with more to it than this",
                   path);
}

static parry_status take_position(parry_ctx *ctx, const content *file, pr_training *training)
{
    json_int_t epoch, step, seen, correct;
    double loss_sum;
    json_t *curve;
    int failed = json_unpack(file->header, "{s:{s:I, s:I, s:I, s:I, s:F}, s:o}", "position", "epoch", &epoch, "step",
                             &step, "seen", &seen, "correct", &correct, "loss_sum", &loss_sum, "curve", &curve);
    if (failed || epoch < 0 || epoch > training->epochs || step < 0 || step > training->steps || seen < step ||
        !json_is_array(curve) || json_array_size(curve) != (size_t)epoch)
        return pr_fail(ctx, PARRY_FORMAT, "%s: the checkpoint's position is not one of this training", file->path);
    training->at = (pr_position){epoch, step, seen, correct, loss_sum};
    json_decref(training->curve);
    training->curve = json_incref(curve);
    return PARRY_OK;
}

static const uint8_t *take(float *to, int64_t count, const uint8_t *from)
{
    memcpy(to, from, (size_t)count * sizeof(float));
    return from + (size_t)count * sizeof(float);
}

static parry_status take_floats(parry_ctx *ctx, const uint8_t *from, size_t largest, pr_training *training)
{
    float *buffer;
    for (size_t i = 0; i < training->weights->count; i++)
        from = take(training->weights->items[i].data, training->weights->items[i].count, from);
    pr_weights_changed(training->weights);
    TRY(pr_trainer_load(ctx, training->trainer));
    TRY(pr_alloc_raw(ctx, largest, &buffer));
    parry_status status = PARRY_OK;
    for (size_t i = 0; i < training->weights->count; i++) {
        const pr_weight *weight = &training->weights->items[i];
        for (int m = 0; pr_weight_trained(weight) && m < training->optimiser->rule.moments; m++) {
            from = take(buffer, weight->count, from);
            TRY_TO(out, pr_trainer_moment(ctx, training->trainer, (int32_t)i, m, buffer, true));
        }
    }
out:
    pr_free(buffer);
    return status;
}

/* What identifies the training; one that does not name its precision is from before there was a choice. */
static json_t *stage_of(const content *file)
{
    json_t *stage = json_object_get(file->header, "stage"), *settings = json_object_get(stage, "settings");
    if (settings && !json_object_get(settings, "precision"))
        json_object_set_new(settings, "precision", json_string("f32"));
    return stage;
}

static parry_status take_content(parry_ctx *ctx, content *file, pr_training *training)
{
    size_t largest, floats = float_count(training, &largest);
    TRY(open_content(ctx, floats, file));
    const json_t *stage = stage_of(file);
    if (!json_equal(stage, training->record))
        return report_difference(ctx, file->path, "", stage, training->record);
    if (file->size != file->header_size + floats * sizeof(float) + DIGEST)
        return pr_fail(ctx, PARRY_FORMAT, "%s: the checkpoint holds %zu bytes of weights; expected %zu", file->path,
                       file->size - file->header_size - DIGEST, floats * sizeof(float));
    TRY(take_position(ctx, file, training));
    return take_floats(ctx, file->data + file->header_size, largest, training);
}

parry_status pr_checkpoint_read(parry_ctx *ctx, const char *path, pr_training *training)
{
    content file = {.path = path};
    parry_status status = take_content(ctx, &file, training);
    json_decref(file.header);
    pr_free(file.data);
    return status;
}
