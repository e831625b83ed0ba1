/* Does the declared preprocessing look right? Measured on a few labelled images, before figures are made that mean
 * nothing.
 *
 * It looks wrong when accuracy is hardly above guessing, when it is clearly below what the file claims of itself, and
 * when one of the usual other declarations is clearly better: by more than 15 points, and the images on which the two
 * differ favour it so strongly that a coin would do so in less than 1 % of cases (one-sided sign test; McNemar 1947,
 * exact). The others are tried in the first two cases, and where nothing of range, mean and deviation was declared or
 * accuracy is below 70 %. That needs no other network: what the network sees under another declaration, it sees under
 * its own of an image that is scaled, shifted and reversed to match. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <parry/image.h>

#include "data/data.h"
#include "model/network.h"
#include "tensor/tensor.h"

/* Images that are looked at; large ones cost more, and of too few nothing can be said. On FEW of them at most others
 * are tried, on SCREEN of these first: one that does worse there is given up. */
enum { SMALL_ROW = 3 * 64 * 64, LEAST = 16, FEW = 48, SCREEN = 16, MANY = 256, TRIALS = 13 };
/* Deviations that are no accident, a share that matters, and what makes another declaration clearly better. */
static const double deviations = 3, margin = 0.1, clear_gain = 0.15, clear_level = 0.01, low_accuracy = 0.7;

typedef struct sample {
    const parry_model *model;
    int64_t count, row;
    float *images, *changed, *logits;
    int32_t *labels;
    int64_t chosen[MANY]; /* their numbers in the dataset */
    int64_t picked[FEW];  /* images on which others are tried, the first SCREEN from all over the sample too */
    int picks;
    uint64_t right; /* bit k: picked[k] is classified correctly */
} sample;

/* Another declaration, and the picked images that it gets right. */
typedef struct trial {
    parry_preprocess declared;
    uint64_t right;
} trial;

static void sample_release(sample *s)
{
    pr_free(s->images);
    pr_free(s->changed);
    pr_free(s->logits);
    pr_free(s->labels);
}

/* Where the i-th of `tries` images lies: all over the dataset, or in a row from its start. */
static int64_t place(int64_t i, int64_t tries, int64_t all, bool spread)
{
    return spread ? i * all / tries : i;
}

static int count_classes(const int32_t *labels, int64_t tries, int64_t all, bool spread)
{
    int count = 0;
    for (int64_t i = 0; i < tries; i++) {
        const int32_t label = labels[place(i, tries, all, spread)];
        bool known = label < 0;
        for (int64_t k = 0; k < i && !known; k++)
            known = labels[place(k, tries, all, spread)] == label;
        count += !known;
    }
    return count;
}

/* Labelled images from all over the dataset, as tables of labels often go class by class; or the first ones, where
 * these show more classes: folders go by turns, with which even steps may fall in step. */
static parry_status sample_fill(parry_ctx *ctx, const parry_model *model, const parry_dataset *dataset, sample *s)
{
    const int64_t all = parry_dataset_describe(dataset)->count, row = pr_model_row(model),
                  most = row <= SMALL_ROW ? MANY : FEW, tries = PR_MIN(all, most);
    const int32_t *labels = parry_dataset_labels(dataset);
    const bool spread = count_classes(labels, tries, all, true) >= count_classes(labels, tries, all, false);
    *s = (sample){.model = model, .row = row};
    TRY(pr_alloc_raw(ctx, tries * row, &s->images));
    TRY(pr_alloc_raw(ctx, tries * row, &s->changed));
    TRY(pr_alloc_raw(ctx, tries * pr_model_classes(model), &s->logits));
    TRY(pr_alloc_raw(ctx, tries, &s->labels));
    for (int64_t i = 0; i < tries; i++) {
        const int64_t at = place(i, tries, all, spread);
        if (labels[at] < 0)
            continue;
        s->chosen[s->count] = at;
        s->labels[s->count++] = labels[at];
    }
    return pr_dataset_read(ctx, dataset, s->chosen, 0, s->count, true, s->images);
}

static int64_t common_divisor(int64_t a, int64_t b)
{
    return b ? common_divisor(b, a % b) : a;
}

/* Steps of a golden section, so that any number of the first picks lies evenly, whatever the period of the labels. */
static void pick(sample *s)
{
    int64_t step = PR_MAX(s->count * 618 / 1000, 1);
    while (common_divisor(step, s->count) != 1)
        step++;
    s->picks = (int)PR_MIN(s->count, FEW);
    for (int k = 0; k < s->picks; k++)
        s->picked[k] = k * step % s->count;
}

static bool is_right(const sample *s, int64_t at, int64_t image)
{
    const int classes = pr_model_classes(s->model);
    return pr_argmax(s->logits + at * classes, classes) == s->labels[image];
}

static parry_status accuracy_of(parry_ctx *ctx, sample *s, double *out)
{
    int64_t correct = 0;
    TRY(parry_model_logits(ctx, s->model, s->images, s->count, s->logits));
    for (int64_t i = 0; i < s->count; i++)
        correct += is_right(s, i, i);
    pick(s);
    for (int k = 0; k < s->picks; k++)
        s->right |= (uint64_t)is_right(s, s->picked[k], s->picked[k]) << k;
    *out = (double)correct / (double)s->count;
    return PARRY_OK;
}

/* ---- other declarations ------------------------------------------------------------------------------------------ */

/* A picked image that the network sees, under the declaration it has, as it would see it under `other`. */
static void see_as(const sample *s, const pr_affine *own, const pr_affine *other, int64_t image, float *to)
{
    const int64_t plane = s->row / own->channels;
    for (int c = 0; c < own->channels; c++) { /* a channel of the network */
        const int last = own->channels - 1, take = other->reversed ? last - c : c, put = own->reversed ? last - c : c;
        const float scale = (float)(other->scale[c] / own->scale[c]),
                    shift = (float)((other->shift[c] - own->shift[c]) / own->scale[c]);
        const float *from = s->images + image * s->row + take * plane;
        for (int64_t k = 0; k < plane; k++)
            to[put * plane + k] = from[k] * scale + shift;
    }
}

static parry_status try_on(parry_ctx *ctx, const sample *s, const pr_affine *own, const pr_affine *other, int first,
                           int end, uint64_t *right)
{
    for (int k = first; k < end; k++)
        see_as(s, own, other, s->picked[k], s->changed + (k - first) * s->row);
    if (end > first)
        TRY(parry_model_logits(ctx, s->model, s->changed, end - first, s->logits));
    for (int k = first; k < end; k++)
        *right |= (uint64_t)is_right(s, k - first, s->picked[k]) << k;
    return PARRY_OK;
}

static int bits(uint64_t of)
{
    return __builtin_popcountll(of);
}

/* The probability that a coin favours the better one of two as often, where they differ. */
static double sign_test(uint64_t better, uint64_t worse)
{
    const int gained = bits(better & ~worse), differ = bits(better ^ worse);
    double ways = 1, tail = 0;
    for (int k = 0; k <= differ; k++) {
        tail += k >= gained ? ways : 0;
        ways = ways * (differ - k) / (k + 1);
    }
    return ldexp(tail, -differ);
}

static bool clearly_better(const sample *s, uint64_t right)
{
    return bits(right) - bits(s->right) > clear_gain * s->picks && sign_test(right, s->right) < clear_level;
}

static bool same_affine(const pr_affine *a, const pr_affine *b)
{
    for (int c = 0; c < a->channels; c++)
        if (fabs(a->scale[c] - b->scale[c]) > 1e-9 * fabs(a->scale[c]) ||
            fabs(a->shift[c] - b->shift[c]) > 1e-9 * (1 + fabs(a->shift[c])))
            return false;
    return a->reversed == b->reversed;
}

static void swap_ends(parry_floats *values)
{
    if (values->count == 3) {
        const double first = values->value[0];
        values->value[0] = values->value[2];
        values->value[2] = first;
    }
}

/* The i-th of the usual declarations, each in both orders (its means and deviations belong to colours), after them the
 * network's own in the other order; false after the last. */
static parry_status usual(parry_ctx *ctx, const pr_network *network, size_t i, parry_preprocess *out, bool *any)
{
    static const char *const names[] = {"unit", "bytes", "tf", "imagenet", "cifar10", "caffe"};
    const bool coloured = network->affine.channels == 3;
    const size_t count = coloured ? PR_COUNT(names) : 3, orders = coloured ? 2 : 1;
    *any = i < count * orders + (coloured ? 1 : 0);
    if (!*any)
        return PARRY_OK;
    if (i < count * orders) {
        TRY(parry_preprocess_preset(ctx, names[i / orders], out));
        const parry_channel_order order = i % orders ? PARRY_ORDER_BGR : PARRY_ORDER_RGB;
        if (coloured && (out->channel_order == PARRY_ORDER_BGR) != (order == PARRY_ORDER_BGR)) {
            swap_ends(&out->mean);
            swap_ends(&out->std);
        }
        out->channel_order = coloured ? order : PARRY_ORDER_UNSTATED;
    } else {
        *out = network->preprocess;
        out->channel_order = out->channel_order == PARRY_ORDER_BGR ? PARRY_ORDER_RGB : PARRY_ORDER_BGR;
    }
    out->preset = NULL;
    out->resize = PARRY_RESIZE_UNSTATED;
    out->layout = PARRY_LAYOUT_UNSTATED;
    out->input_size = (parry_size){0};
    out->resize_size = 0;
    return PARRY_OK;
}

/* The best two of the others that are not given up; *count of them. */
static parry_status try_others(parry_ctx *ctx, const sample *s, const pr_network *network, trial best[2], int *count)
{
    pr_affine seen[TRIALS + 1] = {network->affine};
    const int screen = PR_MIN(SCREEN, s->picks);
    const uint64_t screened = (UINT64_C(1) << screen) - 1;
    bool any = true, known;
    int tried = 1;
    *count = 0;
    for (size_t i = 0; any; i++) {
        trial t = {0};
        TRY(usual(ctx, network, i, &t.declared, &any));
        if (!any)
            break;
        TRY(pr_preprocess_affine(ctx, network->name, &t.declared, network->affine.channels, &seen[tried]));
        known = false;
        for (int k = 0; k < tried; k++)
            known = known || same_affine(&seen[k], &seen[tried]);
        if (known)
            continue;
        TRY(try_on(ctx, s, &network->affine, &seen[tried], 0, screen, &t.right));
        if (bits(t.right) >= bits(s->right & screened)) {
            TRY(try_on(ctx, s, &network->affine, &seen[tried], screen, s->picks, &t.right));
            if (*count == 0 || bits(t.right) > bits(best[0].right)) {
                best[1] = best[0];
                best[0] = t;
            } else if (*count == 1 || bits(t.right) > bits(best[1].right)) {
                best[1] = t;
            }
            *count = PR_MIN(*count + 1, 2);
        }
        tried++;
    }
    return PARRY_OK;
}

/* ---- the verdict ------------------------------------------------------------------------------------------------- */

static bool near_guessing(const parry_preprocess_check *c)
{
    const double chance = c->chance,
                 accident = deviations * sqrt(PR_MAX(chance * (1 - chance), chance) / (double)c->count);
    return c->accuracy <= chance + PR_MAX(accident, margin / 2);
}

static bool below_claim(const parry_preprocess_check *c)
{
    return c->claim > 0 &&
           c->accuracy < c->claim - margin - deviations * sqrt(c->claim * (1 - c->claim) / (double)c->count);
}

static bool worth_trying(const pr_network *network, const parry_preprocess_check *c)
{
    const parry_preprocess *p = &network->preprocess;
    const bool declared = p->range.count || p->mean.count || p->std.count;
    return c->accuracy < (declared ? low_accuracy : 1 - clear_gain);
}

/* What would be better; on fewer images than accuracy was measured on, what it is there. */
static parry_status say_better(parry_ctx *ctx, const sample *s, const parry_preprocess_check *c, const trial *next,
                               pr_text *text)
{
    char *words;
    if (c->better_accuracy <= 0) {
        pr_text_add(text, ", or the labels do; none of the usual alternatives is clearly better");
        return PARRY_OK;
    }
    TRY(parry_preprocess_text(ctx, &c->better, &words));
    pr_text_add(text, "; with %s it would be %.1f %%", words, 100 * c->better_accuracy);
    parry_string_free(words);
    if (next) {
        TRY(parry_preprocess_text(ctx, &next->declared, &words));
        pr_text_add(text, ", and %.1f %% with %s, which is no certain difference", 100.0 * bits(next->right) / s->picks,
                    words);
        parry_string_free(words);
    }
    if (s->picks < s->count)
        pr_text_add(text, " (on %d of them, where it is now %.1f %%)", s->picks, 100.0 * bits(s->right) / s->picks);
    return PARRY_OK;
}

static parry_status say(parry_ctx *ctx, const pr_network *network, const sample *s, const parry_preprocess_check *c,
                        const trial *next)
{
    pr_text text = {0};
    char *own, *sentence = NULL;
    TRY(parry_preprocess_text(ctx, &network->preprocess, &own));
    pr_text_add(&text, "%s classifies %.1f %% of %lld images correctly", network->name, 100 * c->accuracy,
                (long long)c->count);
    if (near_guessing(c))
        pr_text_add(&text, ", about as by guessing");
    else if (below_claim(c))
        pr_text_add(&text, ", and claims %.1f %%", 100 * c->claim);
    pr_text_add(&text, ": the preprocessing (%s; %s) looks wrong", own[0] ? own : "pixels in [0,1] as they are",
                network->preprocess_source[0] ? network->preprocess_source : "nothing was declared");
    parry_string_free(own);
    parry_status status = say_better(ctx, s, c, next, &text);
    if (status == PARRY_OK)
        status = pr_text_take(ctx, &text, &sentence);
    if (status == PARRY_OK)
        pr_log(ctx, PARRY_LOG_WARNING, "%s", sentence);
    pr_text_clear(&text);
    parry_string_free(sentence);
    return status;
}

static parry_status check_sample(parry_ctx *ctx, const pr_network *network, sample *s, parry_preprocess_check *out)
{
    trial best[2];
    int count;
    *out = (parry_preprocess_check){.count = s->count,
                                    .chance = 1.0 / pr_model_classes(s->model),
                                    .claim = network->claims.count ? network->claims.least : 0};
    if (s->count == 0)
        return PARRY_OK;
    TRY(accuracy_of(ctx, s, &out->accuracy));
    if (s->count < LEAST)
        return PARRY_OK;
    out->suspicious = near_guessing(out) || below_claim(out);
    if (!out->suspicious && !worth_trying(network, out))
        return PARRY_OK;
    TRY(try_others(ctx, s, network, best, &count));
    if (count > 0 && clearly_better(s, best[0].right)) {
        out->suspicious = true;
        out->better_accuracy = (double)bits(best[0].right) / s->picks;
        out->better = best[0].declared;
    }
    const bool close = count > 1 && sign_test(best[0].right, best[1].right) >= clear_level;
    return out->suspicious ? say(ctx, network, s, out, close ? &best[1] : NULL) : PARRY_OK;
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
