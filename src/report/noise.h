/* A noise study from inside: what noise.c fills and noise_output.c renders. */
#ifndef PR_REPORT_NOISE_H
#define PR_REPORT_NOISE_H

#include <parry/noise.h>

#include "base/base.h"

/* One network's view of the images. */
typedef struct pr_noise_view {
    float *probabilities;          /* count x classes */
    double over_50, over_90, mean; /* share of images with more confidence than that; mean confidence */
    int *called;                   /* classes: of how many images each is the predicted class */
} pr_noise_view;

typedef struct pr_noise_network {
    const parry_model *model;
    const parry_model_info *info;
    pr_noise_view view[2]; /* of the noise; of its adversaries */
    float *tiles;          /* count x channels x tile_height x tile_width: the centres, for the figure */
    int tile_height, tile_width;
    double *offsets; /* chapter order: what is subtracted from each channel, in grey levels; else NULL */
} pr_noise_network;

struct parry_noise_study {
    parry_noise_settings settings; /* its strings are the study's */
    char *mu_text, *sigma_text;
    int64_t count;
    double *mu, *sigma; /* count each */
    int64_t sigmas;     /* deviations of the grid */
    uint64_t seed;
    pr_noise_network *networks;
    int network_count;
    char *attack;             /* label; NULL: no attack */
    parry_threat threat;      /* without strings */
    char *criterion, *target; /* the threat's, or NULL */
};

/* Fills the study's count, mu, sigma and sigmas from its settings. */
PARRY_CHECKED parry_status pr_noise_pair_up(parry_ctx *ctx, parry_noise_study *study);
/* values draws of mu + sigma z in grey levels, not clipped. */
void pr_noise_draw(uint64_t seed, int64_t tile, double mu, double sigma, int64_t values, float *out);
/* An image of the chapter's order, in units of the pixel range. */
void pr_noise_preprocessed(uint64_t seed, int64_t tile, double mu, double sigma, const double *offsets, int channels,
                           int64_t plane, float *out);
/* The predicted class of image `tile`, and its probability. */
int pr_noise_called(const pr_noise_network *network, const pr_noise_view *view, int64_t tile, double *confidence);
/* Writes up to `most` class numbers, the most called first (ties: the smaller number), and returns how many were called
 * at all. */
int pr_noise_ranking(const pr_noise_network *network, const pr_noise_view *view, int most, int *classes);

#endif
