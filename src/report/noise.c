/* Running a noise study: images are made, classified and attacked in portions, of which only probabilities and small
 * pictures are kept. */
#include <stdio.h>
#include <string.h>

#include "attack/attack.h"
#include "report/canvas.h"
#include "report/noise.h"
#include "report/report.h"
#include "tensor/tensor.h"

enum { PORTION_FLOATS = 1 << 24 };

/* ---- preparing -------------------------------------------------------------------------------------------------- */

static parry_status copy_text(parry_ctx *ctx, const char *text, char **out)
{
    return text ? pr_strdup(ctx, text, out) : PARRY_OK;
}

static parry_status copy_words(parry_ctx *ctx, parry_noise_study *study, const parry_attack *attack,
                               const parry_threat *threat)
{
    TRY(copy_text(ctx, study->settings.mu, &study->mu_text));
    TRY(copy_text(ctx, study->settings.sigma, &study->sigma_text));
    study->settings.mu = study->mu_text;
    study->settings.sigma = study->sigma_text;
    if (!attack)
        return PARRY_OK;
    study->threat = *threat;
    TRY(copy_text(ctx, threat->criterion, &study->criterion));
    TRY(copy_text(ctx, threat->target, &study->target));
    study->threat.criterion = study->criterion;
    study->threat.target = study->target;
    return pr_strdup(ctx, parry_attack_label(attack), &study->attack);
}

/* What a picture in the figure is cut down to. */
static int tile_side(const parry_noise_study *study)
{
    return study->settings.side > 0 ? (int)study->settings.side : pr_tile_side(study->count);
}

/* What preprocessing subtracts from each channel of an image in grey levels, red first. */
static parry_status find_offsets(parry_ctx *ctx, pr_noise_network *network)
{
    const parry_model_info *info = network->info;
    const parry_preprocess *pre = info->preprocess;
    const double low = pre->range.count == 2 ? pre->range.value[0] : 0,
                 high = pre->range.count ? pre->range.value[pre->range.count - 1] : 1;
    bool levels = high - low == 255;
    for (int i = 0; i < pre->std.count; i++)
        levels &= pre->std.value[i] == 1;
    if (!levels)
        return pr_fail(
            ctx, PARRY_UNSUPPORTED,
            "%s: the chapter's order clips what enters the network to 0..255, which makes sense for grey levels less a "
            "mean; this network's pixels become %g to %g%s first",
            info->name, low, high, pre->std.count ? ", less a mean, over a deviation" : "");
    TRY(pr_alloc(ctx, info->channels, &network->offsets));
    for (int c = 0; c < info->channels; c++) {
        const int taken = pre->channel_order == PARRY_ORDER_BGR ? info->channels - 1 - c : c;
        network->offsets[c] = (pre->mean.count == 0 ? 0 : pre->mean.value[pre->mean.count == 1 ? 0 : taken]) - low;
    }
    return PARRY_OK;
}

static parry_status prepare_network(parry_ctx *ctx, const parry_noise_study *study, const parry_model *model,
                                    pr_noise_network *network)
{
    network->model = model;
    network->info = parry_model_describe(model);
    network->tile_height = PR_MIN(network->info->height, tile_side(study));
    network->tile_width = PR_MIN(network->info->width, tile_side(study));
    TRY(pr_alloc_raw(ctx, study->count * network->info->channels * network->tile_height * network->tile_width,
                     &network->tiles));
    if (study->settings.chapter_order)
        TRY(find_offsets(ctx, network));
    for (int v = 0; v < (study->attack ? 2 : 1); v++) {
        TRY(pr_alloc(ctx, study->count * network->info->classes, &network->view[v].probabilities));
        TRY(pr_alloc(ctx, network->info->classes, &network->view[v].called));
    }
    return PARRY_OK;
}

/* ---- one portion of one network's images ------------------------------------------------------------------------ */

typedef struct portion {
    parry_noise_study *study;
    pr_noise_network *network;
    int64_t first, n, row;
    float *images, *adversaries, *logits;
    int32_t *labels;
} portion;

static parry_status draw_job(parry_ctx *ctx, void *arg, int64_t index, int worker)
{
    const portion *p = arg;
    const int64_t tile = p->first + index;
    (void)worker;
    TRY(pr_poll(ctx));
    const double mu = p->study->mu[tile], sigma = p->study->sigma[tile];
    const int channels = p->network->info->channels;
    float *out = p->images + index * p->row;
    if (p->network->offsets)
        pr_noise_preprocessed(p->study->seed, tile, mu, sigma, p->network->offsets, channels, p->row / channels, out);
    else
        parry_noise_image(ctx, tile, mu, sigma, p->row, out);
    return PARRY_OK;
}

static parry_status save_images(parry_ctx *ctx, const portion *p, const char *name, const float *images)
{
    const parry_noise_study *study = p->study;
    const parry_model_info *info = p->network->info;
    char *folder;
    if (!study->settings.save_images)
        return PARRY_OK;
    if (study->network_count == 1)
        TRY(pr_strdup(ctx, study->settings.save_images, &folder));
    else
        TRY(pr_asprintf(ctx, &folder, "%s/%d-%s", study->settings.save_images, (int)(p->network - study->networks) + 1,
                        info->name));
    parry_status status =
        parry_images_write(ctx, folder, name, images, p->first, p->n, info->channels, info->height, info->width);
    pr_free(folder);
    return status;
}

static void keep_probabilities(const portion *p, pr_noise_view *view)
{
    const int classes = p->network->info->classes;
    parry_probabilities(p->logits, p->n, classes, view->probabilities + p->first * classes);
}

/* The centres, pixel for pixel. */
static void keep_tiles(const portion *p, const float *images)
{
    const pr_noise_network *n = p->network;
    const int height = n->info->height, width = n->info->width, top = (height - n->tile_height) / 2,
              left = (width - n->tile_width) / 2;
    float *out = n->tiles + p->first * n->info->channels * n->tile_height * n->tile_width;
    for (int64_t i = 0; i < p->n * n->info->channels; i++)
        for (int y = 0; y < n->tile_height; y++, out += n->tile_width)
            memcpy(out, images + (i * height + top + y) * width + left, (size_t)n->tile_width * sizeof *out);
}

static parry_status attack_portion(parry_ctx *ctx, portion *p, const parry_attack *attack)
{
    char task[192];
    snprintf(task, sizeof task, "%s on noise, %s", p->study->attack, p->network->info->name);
    for (int64_t i = 0; i < p->n; i++)
        p->labels[i] = -1;
    pr_attack_request request = {
        .attack = attack,
        .threat = &p->study->threat,
        .model = p->network->model,
        .x = p->images,
        .labels = p->labels,
        .first_index = p->first,
        .n = p->n,
        .seed = p->study->seed,
        .task = task,
        .adv = p->adversaries,
        .logits = p->logits,
    };
    TRY(pr_attack_rows(ctx, &request));
    keep_probabilities(p, &p->network->view[1]);
    keep_tiles(p, p->adversaries);
    return save_images(ctx, p, "adv", p->adversaries);
}

static parry_status run_portion(parry_ctx *ctx, portion *p, const parry_attack *attack)
{
    char task[192];
    snprintf(task, sizeof task, "noise, %s", p->network->info->name);
    const parry_progress progress = {task, "images", (uint64_t)p->first, (uint64_t)p->study->count, NULL};
    TRY(pr_poll(ctx));
    pr_progress(ctx, &progress);
    TRY(pr_parallel_for(ctx, p->n, draw_job, p));
    TRY(parry_model_logits(ctx, p->network->model, p->images, p->n, p->logits));
    keep_probabilities(p, &p->network->view[0]);
    TRY(save_images(ctx, p, "noise", p->images));
    if (attack)
        return attack_portion(ctx, p, attack);
    keep_tiles(p, p->images);
    return PARRY_OK;
}

static parry_status run_network(parry_ctx *ctx, parry_noise_study *study, pr_noise_network *network,
                                const parry_attack *attack)
{
    const parry_model_info *info = network->info;
    portion p = {.study = study, .network = network, .row = (int64_t)info->channels * info->height * info->width};
    const int64_t most = PR_MIN(study->count, PR_MAX(1, PORTION_FLOATS / p.row));
    parry_status status = pr_alloc_raw(ctx, most * p.row, &p.images);
    if (status == PARRY_OK && attack)
        status = pr_alloc_raw(ctx, most * p.row, &p.adversaries);
    if (status == PARRY_OK)
        status = pr_alloc_raw(ctx, most * info->classes, &p.logits);
    if (status == PARRY_OK)
        status = pr_alloc_raw(ctx, most, &p.labels);
    for (; p.first < study->count && status == PARRY_OK; p.first += p.n) {
        p.n = PR_MIN(most, study->count - p.first);
        status = run_portion(ctx, &p, attack);
    }
    pr_free(p.images);
    pr_free(p.adversaries);
    pr_free(p.logits);
    pr_free(p.labels);
    return status;
}

/* ---- what came of it -------------------------------------------------------------------------------------------- */

int pr_noise_called(const pr_noise_network *network, const pr_noise_view *view, int64_t tile, double *confidence)
{
    const float *row = view->probabilities + tile * network->info->classes;
    int called = pr_argmax(row, network->info->classes);
    *confidence = row[called];
    return called;
}

static void summarise(const parry_noise_study *study, const pr_noise_network *network, pr_noise_view *view)
{
    for (int64_t i = 0; i < study->count; i++) {
        double confidence;
        view->called[pr_noise_called(network, view, i, &confidence)]++;
        view->over_50 += confidence > 0.5;
        view->over_90 += confidence > 0.9;
        view->mean += confidence;
    }
    view->over_50 /= (double)study->count;
    view->over_90 /= (double)study->count;
    view->mean /= (double)study->count;
}

static parry_status check_attack(parry_ctx *ctx, const parry_noise_study *study, const parry_attack *attack,
                                 const parry_threat *threat)
{
    TRY(parry_threat_check(ctx, threat));
    if (threat->clip && study->settings.chapter_order)
        return pr_fail(ctx, PARRY_INVALID,
                       "the chapter's order makes pixels beyond 255, and this attack keeps to the pixel range; "
                       "expected one without clipping (--no-clip)");
    pr_attack_review(ctx, attack, threat);
    return PARRY_OK;
}

static parry_status run(parry_ctx *ctx, const parry_model *const *models, const parry_attack *attack,
                        const parry_threat *threat, parry_noise_study *study)
{
    TRY(pr_noise_pair_up(ctx, study));
    TRY(copy_words(ctx, study, attack, threat));
    TRY(pr_alloc(ctx, study->network_count, &study->networks));
    if (attack)
        TRY(check_attack(ctx, study, attack, threat));
    for (int i = 0; i < study->network_count; i++) {
        pr_noise_network *network = &study->networks[i];
        TRY(prepare_network(ctx, study, models[i], network));
        TRY(run_network(ctx, study, network, attack));
        for (int v = 0; v < (attack ? 2 : 1); v++)
            summarise(study, network, &network->view[v]);
    }
    return PARRY_OK;
}

parry_status parry_noise_run(parry_ctx *ctx, const parry_model *const *models, int model_count,
                             const parry_noise_settings *settings, const parry_attack *attack,
                             const parry_threat *threat, parry_noise_study **out)
{
    parry_noise_study *study;
    *out = NULL;
    TRY(pr_alloc(ctx, 1, &study));
    study->settings = *settings;
    study->seed = parry_ctx_seed(ctx);
    study->network_count = model_count;
    parry_status status = run(ctx, models, attack, threat, study);
    study->settings.save_images = NULL; /* was borrowed */
    if (status == PARRY_OK)
        *out = study;
    else
        parry_noise_free(study);
    return status;
}

void parry_noise_free(parry_noise_study *study)
{
    if (!study)
        return;
    for (int i = 0; study->networks && i < study->network_count; i++) {
        for (int v = 0; v < 2; v++) {
            pr_free(study->networks[i].view[v].probabilities);
            pr_free(study->networks[i].view[v].called);
        }
        pr_free(study->networks[i].tiles);
        pr_free(study->networks[i].offsets);
    }
    pr_free(study->networks);
    pr_free(study->mu_text);
    pr_free(study->sigma_text);
    pr_free(study->mu);
    pr_free(study->sigma);
    pr_free(study->attack);
    pr_free(study->criterion);
    pr_free(study->target);
    pr_free(study);
}

int64_t parry_noise_count(const parry_noise_study *study)
{
    return study->count;
}

void parry_noise_pair(const parry_noise_study *study, int64_t tile, double *mu, double *sigma)
{
    *mu = study->mu[tile];
    *sigma = study->sigma[tile];
}

const float *parry_noise_probabilities(const parry_noise_study *study, int model, bool attacked, int64_t tile)
{
    const pr_noise_network *network = &study->networks[model];
    return network->view[attacked].probabilities + tile * network->info->classes;
}
