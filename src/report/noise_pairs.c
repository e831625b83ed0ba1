/* The means and deviations of a noise study, and its images. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/opt.h"
#include "base/rng.h"
#include "report/noise.h"

enum { VALUES_MAX = 100000, IMAGES_MAX = 1000000, PARTS_MAX = 3 };

static const char *const pair_names[] = {"grid", "zip", NULL};

PR_OPTIONS(
    noise_table, parry_noise_settings,
    OPT_STRING(parry_noise_settings, mu, "mu", "50:200:10", "A:B:S",
               "mean in grey levels: A, A+S, ... without B; or a list"),
    OPT_STRING(parry_noise_settings, sigma, "sigma", "10:100:2", "A:B:S",
               "standard deviation in grey levels, the same way"),
    OPT_CHOICE(
        parry_noise_settings, pairs, "pairs", "grid", pair_names,
        "grid: every mean with every deviation; zip: the first with the first and so on, until the shorter ends"),
    OPT_BOOL(parry_noise_settings, chapter_order, "chapter-order", "false",
             "preprocess first and clip the result to 0..255, instead of clipping the pixels"),
    OPT_INT(parry_noise_settings, top, "top", "20", 1, 1e6, "classes of each image in the CSV"),
    OPT_INT(parry_noise_settings, side, "side", "0", 0, 1024,
            "pixels of each picture's longer side in the figure; 0: by how many there are"),
    OPT_STRING(parry_noise_settings, save_images, "save-images", NULL, "FOLDER",
               "write the images, and those under attack, as PNG files (8 bits)"));

const parry_options *parry_noise_options(void)
{
    return &noise_table;
}

/* ---- ranges ----------------------------------------------------------------------------------------------------- */

/* Cuts `text` at `separator` and reads the numbers. PARRY_INVALID names the part that is none. */
static parry_status read_parts(parry_ctx *ctx, const char *text, char separator, int64_t most, double *values,
                               int64_t *count)
{
    char part[64];
    for (*count = 0;; text++) {
        const char *end = strchr(text, separator);
        size_t length = end ? (size_t)(end - text) : strlen(text);
        if (*count == most)
            return pr_fail(ctx, PARRY_INVALID, "a range is A:B:S or a list of numbers; there is more in '%s'", text);
        if (length >= sizeof part)
            return pr_fail(ctx, PARRY_INVALID, "'%.40s...' is not a number", text);
        memcpy(part, text, length);
        part[length] = '\0';
        if (!pr_parse_number(part, &values[*count]))
            return pr_fail(ctx, PARRY_INVALID, "'%s' is not a number; a range is A:B:S, or a list such as 50,60", part);
        ++*count;
        if (!end)
            return PARRY_OK;
        text = end;
    }
}

/* As Python's range: from A in steps of S, without B. Every number is A + i S, so that errors do not add up. */
static parry_status read_range(parry_ctx *ctx, const char *text, double **values, int64_t *count)
{
    double parts[PARTS_MAX] = {0, 0, 1};
    int64_t given;
    TRY(read_parts(ctx, text, ':', PARTS_MAX, parts, &given));
    if (parts[2] == 0)
        return pr_fail(ctx, PARRY_INVALID, "the range %s has a step of 0", text);
    double steps = ceil((parts[1] - parts[0]) / parts[2]);
    if (!(steps >= 1))
        return pr_fail(ctx, PARRY_INVALID, "the range %s holds no numbers", text);
    if (steps > VALUES_MAX)
        return pr_fail(ctx, PARRY_INVALID, "the range %s holds more than %d numbers", text, VALUES_MAX);
    *count = (int64_t)steps;
    TRY(pr_alloc(ctx, *count, values));
    for (int64_t i = 0; i < *count; i++)
        (*values)[i] = parts[0] + (double)i * parts[2];
    return PARRY_OK;
}

parry_status parry_noise_range(parry_ctx *ctx, const char *text, double **values, int64_t *count)
{
    *values = NULL;
    if (strchr(text, ':'))
        return read_range(ctx, text, values, count);
    int64_t most = 1;
    for (const char *at = text; *at; at++)
        most += *at == ',';
    if (most > VALUES_MAX)
        return pr_fail(ctx, PARRY_INVALID, "a list of more than %d numbers", VALUES_MAX);
    TRY(pr_alloc(ctx, most, values));
    parry_status status = read_parts(ctx, text, ',', most, *values, count);
    if (status != PARRY_OK) {
        pr_free(*values);
        *values = NULL;
    }
    return status;
}

void parry_noise_range_free(double *values)
{
    pr_free(values);
}

/* ---- pairs ------------------------------------------------------------------------------------------------------ */

typedef struct numbers {
    double *value;
    int64_t count;
} numbers;

static parry_status count_pairs(parry_ctx *ctx, const numbers *mu, const numbers *sigma, parry_noise_study *study)
{
    const bool zip = study->settings.pairs == PARRY_PAIRS_ZIP;
    study->count = zip ? PR_MIN(mu->count, sigma->count) : mu->count * sigma->count;
    if (study->count > IMAGES_MAX)
        return pr_fail(ctx, PARRY_INVALID, "%lld means and %lld deviations make more than a million images",
                       (long long)mu->count, (long long)sigma->count);
    if (zip && mu->count != sigma->count)
        pr_log(ctx, PARRY_LOG_INFO,
               "--pairs zip: %lld means and %lld deviations make %lld pairs; the longer list is cut",
               (long long)mu->count, (long long)sigma->count, (long long)study->count);
    for (int64_t i = 0; i < sigma->count; i++)
        if (sigma->value[i] < 0)
            return pr_fail(ctx, PARRY_INVALID, "a standard deviation is not negative; %s holds %g",
                           study->settings.sigma, sigma->value[i]);
    return PARRY_OK;
}

static parry_status fill_pairs(parry_ctx *ctx, const numbers *mu, const numbers *sigma, parry_noise_study *study)
{
    const bool zip = study->settings.pairs == PARRY_PAIRS_ZIP;
    TRY(count_pairs(ctx, mu, sigma, study));
    TRY(pr_alloc(ctx, study->count, &study->mu));
    TRY(pr_alloc(ctx, study->count, &study->sigma));
    study->sigmas = sigma->count;
    for (int64_t i = 0; i < study->count; i++) {
        study->mu[i] = mu->value[zip ? i : i / sigma->count];
        study->sigma[i] = sigma->value[zip ? i : i % sigma->count];
    }
    return PARRY_OK;
}

parry_status pr_noise_pair_up(parry_ctx *ctx, parry_noise_study *study)
{
    numbers mu = {0}, sigma = {0};
    parry_status status = parry_noise_range(ctx, study->settings.mu, &mu.value, &mu.count);
    if (status == PARRY_OK)
        status = parry_noise_range(ctx, study->settings.sigma, &sigma.value, &sigma.count);
    if (status == PARRY_OK)
        status = fill_pairs(ctx, &mu, &sigma, study);
    pr_free(mu.value);
    pr_free(sigma.value);
    return status;
}

/* ---- images ----------------------------------------------------------------------------------------------------- */

void pr_noise_draw(uint64_t seed, int64_t tile, double mu, double sigma, int64_t values, float *out)
{
    pr_rng rng = pr_rng_init(seed, PR_STREAM_NOISE, (uint64_t)tile);
    for (int64_t i = 0; i < values; i++)
        out[i] = (float)(mu + sigma * (double)pr_rng_normal(&rng));
}

/* The chapter's order: preprocess, which is to subtract the channel's offset, and clip what comes out. The pixels that
 * this stands for are the clipped numbers with the offset added again; the network subtracts it. */
void pr_noise_preprocessed(uint64_t seed, int64_t tile, double mu, double sigma, const double *offsets, int channels,
                           int64_t plane, float *out)
{
    pr_noise_draw(seed, tile, mu, sigma, channels * plane, out);
    for (int c = 0; c < channels; c++)
        for (int64_t i = c * plane; i < (c + 1) * plane; i++) {
            const double entering = (double)out[i] - offsets[c];
            out[i] = (float)((PR_MAX(0.0, PR_MIN(entering, 255.0)) + offsets[c]) / 255);
        }
}

void parry_noise_image(const parry_ctx *ctx, int64_t tile, double mu, double sigma, int64_t values, float *out)
{
    pr_noise_draw(parry_ctx_seed(ctx), tile, mu, sigma, values, out);
    for (int64_t i = 0; i < values; i++)
        out[i] = PR_MAX(0.0f, PR_MIN(out[i], 255.0f)) / 255;
}
