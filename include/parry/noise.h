/* What networks see in pure noise: images of independent Gaussian noise over pairs of mean and deviation, classified by
 * one or more networks, as they are and after an attack. */
#ifndef PARRY_NOISE_H
#define PARRY_NOISE_H

#include <parry/attack.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum parry_pairs {
    PARRY_PAIRS_GRID, /* every mean with every deviation, the mean outermost */
    PARRY_PAIRS_ZIP,  /* the first mean with the first deviation and so on, until one of the two ends */
} parry_pairs;

/* Option table: parry_noise_options. */
typedef struct parry_noise_settings {
    const char *mu, *sigma; /* grey levels 0..255: "A:B:S" is A, A + S, ... without B, as Python's range, "A:B" has step
                               1; or a list "50,60" */
    int pairs;              /* parry_pairs */
    bool chapter_order; /* preprocess before clipping: the numbers that enter the network, grey levels less a mean m,
                           are what is clipped to [0,255], as if pixels were clipped to [m, 255 + m]. PARRY_UNSUPPORTED
                           for networks whose numbers are not grey levels; PARRY_INVALID with an attack that keeps to
                           the pixel range */
    int64_t top;        /* classes of each image in the CSV */
    int64_t side;       /* longer side of a picture of the figure in pixels; 0: by how many there are */
    const char
        *save_images; /* folder for the images as PNG files, numbered as in the CSV: noise-00000.png ..., after an
                       * attack adv-00000.png ... too; several networks' in folders 1-NAME, 2-NAME ... NULL: none */
} parry_noise_settings;
PARRY_API const parry_options *parry_noise_options(void);

/* The numbers of "A:B:S" or a list; freed with parry_noise_range_free. PARRY_INVALID says what is wrong with the text:
 * no numbers, a step of 0, or more than 100,000. */
PARRY_API PARRY_CHECKED parry_status parry_noise_range(parry_ctx *ctx, const char *text, double **values,
                                                       int64_t *count);
PARRY_API void parry_noise_range_free(double *values);

/* One image of noise, `values` independent draws: pixel = clip(mu + sigma z, 0, 255) / 255, not rounded to whole
 * levels, every channel on its own. z depends on the context's seed and `tile` alone. */
PARRY_API void parry_noise_image(const parry_ctx *ctx, int64_t tile, double mu, double sigma, int64_t values,
                                 float *out);

typedef struct parry_noise_study parry_noise_study;
/* Makes the images at each network's own size (the same statistics at different sizes), classifies them, and where
 * `attack` is not NULL attacks them under `threat`, away from what the network itself calls them. Models are borrowed
 * until the study is freed. */
PARRY_API PARRY_CHECKED parry_status parry_noise_run(parry_ctx *ctx, const parry_model *const *models, int model_count,
                                                     const parry_noise_settings *settings, const parry_attack *attack,
                                                     const parry_threat *threat, parry_noise_study **out);
PARRY_API void parry_noise_free(parry_noise_study *study);

/* How many images, and the mean and deviation of one. */
PARRY_API int64_t parry_noise_count(const parry_noise_study *study);
PARRY_API void parry_noise_pair(const parry_noise_study *study, int64_t tile, double *mu, double *sigma);
/* The probabilities of a model's classes on one image; of its adversary when `attacked`. */
PARRY_API const float *parry_noise_probabilities(const parry_noise_study *study, int model, bool attacked,
                                                 int64_t tile);

/* Share of images that a model calls something with more than 50 % and 90 % confidence, and the classes that it calls
 * most, for all models side by side; with up to 20 images, each one's class. Freed with parry_string_free. */
PARRY_API PARRY_CHECKED parry_status parry_noise_text(parry_ctx *ctx, const parry_noise_study *study, char **out);
PARRY_API PARRY_CHECKED parry_status parry_noise_json(parry_ctx *ctx, const parry_noise_study *study, char **out);
/* Columns id,class,prediction,sigma,mu: the image's number, a class name, its probability; `top` rows an image, the
 * most probable first. Columns network and attack follow where there are several networks or an attack. Freed with
 * parry_string_free. */
PARRY_API PARRY_CHECKED parry_status parry_noise_csv(parry_ctx *ctx, const parry_noise_study *study, char **out);
/* The images of each network (attacked, where there was an attack) with the predicted class and its confidence below;
 * of images larger than a tile the centre, pixel for pixel, since reducing noise averages it away. `title` may be NULL.
 */
PARRY_API PARRY_CHECKED parry_status parry_noise_figure(parry_ctx *ctx, const parry_noise_study *study,
                                                        const char *title, const char *path);

#ifdef __cplusplus
}
#endif
#endif
