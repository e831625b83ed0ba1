/* Evaluation of one or more models under one or more attacks, and its outputs: text table, JSON, one offline HTML
 * report. */
#ifndef PARRY_EVALUATE_H
#define PARRY_EVALUATE_H

#include <parry/attack.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct parry_evaluation parry_evaluation;

typedef struct parry_evaluate_settings {
    /* Comma-separated specs, "fgsm,pgd:steps=40:first=2000"; NULL: clean accuracy only. The pseudo-parameter first=N
     * limits that attack to the first N images, and every output says so. */
    const char *attacks;
    parry_floats eps; /* every attack runs at each; none twice */
    int64_t first;    /* use only the first N images; 0: all */
    int64_t curve;    /* images for accuracy-against-eps curves; 0: no curves */
    int64_t examples; /* pictures kept per model for the report */
} parry_evaluate_settings;
PARRY_API const parry_options *parry_evaluate_options(void);

/* What parry_evaluate would refuse of attacks, eps and threat, before data and models are loaded. */
PARRY_API PARRY_CHECKED parry_status parry_evaluate_check(parry_ctx *ctx, const parry_threat *threat,
                                                          const parry_evaluate_settings *settings);

/* `threat` gives all but eps, which is not used. With a criterion or a target, what the tables show is the share of
 * images that withstand: whose adversaries do not meet it. Every image needs a label. `source`, when not NULL, is the
 * model against which stale adversaries are made: each model is also scored on adversaries of `source` (transfer),
 * beside the fresh ones made against itself. Models are borrowed until the evaluation is freed. */
PARRY_API PARRY_CHECKED parry_status parry_evaluate(parry_ctx *ctx, const parry_model *const *models, int model_count,
                                                    const parry_dataset *dataset, const parry_model *source,
                                                    const parry_threat *threat, const parry_evaluate_settings *settings,
                                                    parry_evaluation **out);
PARRY_API void parry_evaluation_free(parry_evaluation *evaluation);

PARRY_API double parry_evaluation_clean_acc(const parry_evaluation *evaluation, int model);
/* Fresh robust accuracy of `model` under attack number `attack` at eps number `eps`, as numbered in the settings. */
PARRY_API double parry_evaluation_robust_acc(const parry_evaluation *evaluation, int model, int attack, int eps);
/* Fraction that withstood (did not meet the criterion) there; without a criterion or target the robust accuracy. */
PARRY_API double parry_evaluation_withstood(const parry_evaluation *evaluation, int model, int attack, int eps);
/* Fraction that withstood every attack at that eps, over the images that every attack saw. */
PARRY_API double parry_evaluation_worst_acc(const parry_evaluation *evaluation, int model, int eps);

/* Renderings; strings are freed with parry_string_free, files are written atomically. `width` is the terminal's, in
 * columns. */
PARRY_API PARRY_CHECKED parry_status parry_evaluation_table(parry_ctx *ctx, const parry_evaluation *evaluation,
                                                            int width, char **out);
PARRY_API PARRY_CHECKED parry_status parry_evaluation_json(parry_ctx *ctx, const parry_evaluation *evaluation,
                                                           char **out);
/* The first evaluation is what the report is about; further ones become sections of their own with their tables.
 * `commands`: the commands that led here, a line each, shown verbatim. NULL: none. */
PARRY_API PARRY_CHECKED parry_status parry_evaluation_write_html(parry_ctx *ctx,
                                                                 const parry_evaluation *const *evaluations, int count,
                                                                 const char *title, const char *commands,
                                                                 const char *path);

/* Writes images (n x C x H x W, C 1 or 3, values clamped to [0,1]) as PNG files NAME-00000.png ..., counted from
 * `first`, into `folder`, which is created. */
PARRY_API PARRY_CHECKED parry_status parry_images_write(parry_ctx *ctx, const char *folder, const char *name,
                                                        const float *images, int64_t first, int64_t n, int channels,
                                                        int height, int width);

#ifdef __cplusplus
}
#endif
#endif
