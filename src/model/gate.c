/* Does the declared preprocessing look right? Measured on a few labelled images, before figures are made that mean
 * nothing.
 *
 * It looks wrong when accuracy is hardly above guessing, or clearly below what the file claims of itself; then the
 * usual other declarations are tried. That needs no other network: what the network sees under another declaration, it
 * sees under its own of an image that is scaled, shifted and reversed to match. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <parry/image.h>

#include "model/network.h"
#include "tensor/tensor.h"

/* Images that are looked at; large ones cost more, and of too few nothing can be said. Deviations that are no accident,
 * and a share that matters. */
enum { SMALL_ROW = 3 * 64 * 64, LEAST = 16, FEW = 48, MANY = 256 };
static const double deviations = 3, margin = 0.1;

typedef struct sample {
    const parry_model *model;
    int64_t count, row;
    float *images, *changed, *logits;
    int32_t *labels;
} sample;

static void sample_release(sample *s)
{
    pr_free(s->images);
    pr_free(s->changed);
    pr_free(s->logits);
    pr_free(s->labels);
}

/* Labelled images from all over the dataset: folders come class by class. */
static parry_status sample_fill(parry_ctx *ctx, const parry_model *model, const parry_dataset *dataset, sample *s)
{
    const int64_t all = parry_dataset_describe(dataset)->count, row = pr_model_row(model),
                  most = row <= SMALL_ROW ? MANY : FEW, tries = PR_MIN(all, most);
    const int32_t *labels = parry_dataset_labels(dataset);
    *s = (sample){.model = model, .row = row};
    TRY(pr_alloc_raw(ctx, tries * row, &s->images));
    TRY(pr_alloc_raw(ctx, tries * row, &s->changed));
    TRY(pr_alloc_raw(ctx, tries * pr_model_classes(model), &s->logits));
    TRY(pr_alloc_raw(ctx, tries, &s->labels));
    for (int64_t i = 0; i < tries; i++) {
        const int64_t at = i * all / tries;
        if (labels[at] < 0)
            continue;
        parry_dataset_images(dataset, at, 1, s->images + s->count * row);
        s->labels[s->count++] = labels[at];
    }
    return PARRY_OK;
}

static parry_status accuracy_of(parry_ctx *ctx, const sample *s, const float *images, double *out)
{
    const int classes = pr_model_classes(s->model);
    int64_t correct = 0;
    TRY(parry_model_logits(ctx, s->model, images, s->count, s->logits));
    for (int64_t i = 0; i < s->count; i++)
        correct += pr_argmax(s->logits + i * classes, classes) == s->labels[i];
    *out = (double)correct / (double)s->count;
    return PARRY_OK;
}

/* The images that the network sees, under the declaration it has, as it would see the sample's under `other`. */
static void see_as(const sample *s, const pr_affine *own, const pr_affine *other)
{
    const int64_t plane = s->row / own->channels;
    for (int c = 0; c < own->channels; c++) { /* a channel of the network */
        const int from = other->reversed ? other->channels - 1 - c : c, to = own->reversed ? own->channels - 1 - c : c;
        const float scale = (float)(other->scale[c] / own->scale[c]),
                    shift = (float)((other->shift[c] - own->shift[c]) / own->scale[c]);
        for (int64_t i = 0; i < s->count; i++)
            for (int64_t k = 0; k < plane; k++)
                s->changed[i * s->row + to * plane + k] = s->images[i * s->row + from * plane + k] * scale + shift;
    }
}

/* Tries one declaration; *best keeps the better one. */
static parry_status try_other(parry_ctx *ctx, const sample *s, const pr_network *network, const parry_preprocess *other,
                              parry_preprocess_check *best)
{
    pr_affine affine;
    double accuracy;
    TRY(pr_preprocess_affine(ctx, network->name, other, network->affine.channels, &affine));
    see_as(s, &network->affine, &affine);
    TRY(accuracy_of(ctx, s, s->changed, &accuracy));
    if (accuracy > best->better_accuracy) {
        best->better_accuracy = accuracy;
        best->better = *other;
        best->better.preset = NULL;
    }
    return PARRY_OK;
}

static parry_status try_others(parry_ctx *ctx, const sample *s, const pr_network *network, parry_preprocess_check *best)
{
    static const char *const colour[] = {"unit", "bytes", "tf", "imagenet", "cifar10", "caffe"}, *const grey[] = {
                                                                                                     "unit", "bytes",
                                                                                                     "tf"};
    const bool coloured = network->affine.channels == 3;
    const size_t count = coloured ? PR_COUNT(colour) : PR_COUNT(grey);
    for (size_t i = 0; i < count; i++)
        for (int order = PARRY_ORDER_RGB; order <= (coloured ? PARRY_ORDER_BGR : PARRY_ORDER_RGB); order++) {
            parry_preprocess other;
            TRY(parry_preprocess_preset(ctx, coloured ? colour[i] : grey[i], &other));
            other.channel_order = coloured ? order : PARRY_ORDER_UNSTATED;
            other.resize = PARRY_RESIZE_UNSTATED;
            TRY(try_other(ctx, s, network, &other, best));
        }
    return PARRY_OK;
}

static bool looks_wrong(const parry_preprocess_check *c)
{
    const double n = (double)c->count, chance = c->chance,
                 accident = deviations * sqrt(PR_MAX(chance * (1 - chance), chance) / n);
    if (c->accuracy <= chance + PR_MAX(accident, margin / 2))
        return true;
    return c->claim > 0 && c->accuracy < c->claim - margin - deviations * sqrt(c->claim * (1 - c->claim) / n);
}

static parry_status say(parry_ctx *ctx, const pr_network *network, const parry_preprocess_check *c)
{
    pr_text text = {0};
    char *own, *other = NULL, *sentence = NULL;
    parry_status status = parry_preprocess_text(ctx, &network->preprocess, &own);
    if (status == PARRY_OK)
        status = parry_preprocess_text(ctx, &c->better, &other);
    pr_text_add(&text, "%s classifies %.1f %% of %lld images correctly", network->name, 100 * c->accuracy,
                (long long)c->count);
    if (c->claim > 0 && c->accuracy > c->chance * 2 + margin)
        pr_text_add(&text, ", and claims %.1f %%", 100 * c->claim);
    else
        pr_text_add(&text, ", about as by guessing");
    pr_text_add(&text, ": the preprocessing (%s; %s) looks wrong",
                status == PARRY_OK && own[0] ? own : "pixels in [0,1] as they are",
                network->preprocess_source[0] ? network->preprocess_source : "nothing was declared");
    if (c->better_accuracy > 0)
        pr_text_add(&text, "; with %s it would be %.1f %%", status == PARRY_OK ? other : "", 100 * c->better_accuracy);
    else
        pr_text_add(&text, ", or the labels do; none of the usual alternatives does better");
    if (status == PARRY_OK)
        status = pr_text_take(ctx, &text, &sentence);
    if (status == PARRY_OK)
        pr_log(ctx, PARRY_LOG_WARNING, "%s", sentence);
    pr_text_clear(&text);
    parry_string_free(sentence);
    parry_string_free(own);
    parry_string_free(other);
    return status;
}

static parry_status check_sample(parry_ctx *ctx, const pr_network *network, const sample *s,
                                 parry_preprocess_check *out)
{
    *out = (parry_preprocess_check){.count = s->count,
                                    .chance = 1.0 / pr_model_classes(s->model),
                                    .claim = network->claims.count ? network->claims.least : 0};
    if (s->count == 0)
        return PARRY_OK;
    TRY(accuracy_of(ctx, s, s->images, &out->accuracy));
    out->suspicious = s->count >= LEAST && looks_wrong(out);
    if (!out->suspicious)
        return PARRY_OK;
    TRY(try_others(ctx, s, network, out));
    if (out->better_accuracy < out->accuracy + margin) {
        out->better_accuracy = 0;
        out->better = (parry_preprocess){0};
    }
    return say(ctx, network, out);
}

parry_status parry_model_check_preprocess(parry_ctx *ctx, const parry_model *model, const parry_dataset *dataset,
                                          parry_preprocess_check *out)
{
    const pr_network *network;
    sample s;
    *out = (parry_preprocess_check){0};
    TRY(pr_network_of(ctx, model, &network));
    TRY(pr_model_check_dataset(ctx, model, dataset));
    parry_status status = sample_fill(ctx, model, dataset, &s);
    if (status == PARRY_OK)
        status = check_sample(ctx, network, &s, out);
    sample_release(&s);
    return status;
}
