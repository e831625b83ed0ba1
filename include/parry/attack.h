/* Attacks: the threat model, the registry, running one over a dataset, and streams of adversarial batches. */
#ifndef PARRY_ATTACK_H
#define PARRY_ATTACK_H

#include <parry/criterion.h>
#include <parry/dataset.h>
#include <parry/model.h>
#include <parry/options.h>
#include <parry/precision.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum parry_norm { PARRY_LINF, PARRY_L2 } parry_norm;
#define PARRY_NORM_BIT(norm) (1u << (norm))

enum parry_attack_needs { PARRY_NEEDS_GRADIENT = 1u }; /* logits are always given */

/* What the adversary may do. It belongs to the run, not to the attack. Option table: parry_threat_options. */
typedef struct parry_threat {
    int norm;              /* parry_norm */
    double eps;            /* radius of the ball, in units of the pixel range [0,1] */
    int loss;              /* index into parry_loss_list: what gradient attacks climb */
    bool clip;             /* keep adversaries inside the pixel box [0,1] */
    const char *criterion; /* when an image counts as adversarial (parry/criterion.h); NULL: misclassified, or with a
                              target: targeted */
    const char *target; /* the class that images are driven to: its name or number, or "next" (the label's successor),
                           "random" (another class, drawn for each image), "least-likely" (of the clean image). The
                           loss of the target is then descended. NULL: that of the criterion, if it names one; else
                           images are driven away from their labels */
    int precision; /* parry_precision: what gradients, and losses on the way, are computed in. Whatever is reported or
                      kept was judged in f32 */
    bool quantize; /* adversaries are multiples of 1/255, as a PNG stores them: images are rounded first, the ball is
                      around the rounded ones and its distances are counted in whole levels */
} parry_threat;
PARRY_API const parry_options *parry_threat_options(void);
/* PARRY_INVALID when eps is negative, not finite or, for linf with clipping, more than 1; when the criterion does not
 * parse; when quantize is asked for without clipping. PARRY_UNSUPPORTED as parry_precision_check. */
PARRY_API PARRY_CHECKED parry_status parry_threat_check(parry_ctx *ctx, const parry_threat *threat);

typedef struct parry_attack_info {
    const char *name, *summary, *cite;
    unsigned needs;               /* parry_attack_needs */
    unsigned norms;               /* PARRY_NORM_BIT of each norm served */
    const parry_options *options; /* its own, NULL when it has none */
} parry_attack_info;
/* NULL beyond the end. */
PARRY_API const parry_attack_info *parry_attack_at(size_t index);
/* PARRY_NOT_FOUND suggests the nearest name. */
PARRY_API PARRY_CHECKED parry_status parry_attack_find(parry_ctx *ctx, const char *name, const parry_attack_info **out);

/* An attack with its parameters, ready to run. */
typedef struct parry_attack parry_attack;
/* `spec` is a name, optionally with parameters: "pgd:steps=100:restarts=5". */
PARRY_API PARRY_CHECKED parry_status parry_attack_create(parry_ctx *ctx, const char *spec, parry_attack **out);
PARRY_API PARRY_CHECKED parry_status parry_attack_set(parry_ctx *ctx, parry_attack *attack, const char *name,
                                                      const char *text);
PARRY_API void parry_attack_free(parry_attack *attack);
PARRY_API const parry_attack_info *parry_attack_describe(const parry_attack *attack);
/* Name and strength for tables: "PGD-40", "FGSM". Owned by the attack. */
PARRY_API const char *parry_attack_label(const parry_attack *attack);

typedef struct parry_attack_result {
    int64_t count;
    int64_t unlabelled; /* images without a label (-1): attacked away from what the model calls them, and left out of
                           the two accuracies */
    double clean_acc, robust_acc;   /* fraction right before and after; an image counts as robust when its adversary is
                                       classified right. NaN when no image has a label */
    double clean_met, success_rate; /* fraction that meets the criterion before and after */
    double adv_loss;                /* mean cross-entropy on the adversaries */
    double mean_norm, max_norm;     /* of adversary minus image, in the threat's norm */
    int64_t forward_queries, gradient_queries; /* image evaluations */
    float *originals;                          /* count x C x H x W: the images; with quantize on the 8-bit grid */
    float *adversaries;                        /* count x C x H x W */
    float *clean_logits, *logits;              /* count x classes, on the images and on the adversaries */
    int32_t *labels;  /* count: the dataset's; where it has none, what the model called the image */
    int32_t *targets; /* count: each image's target, -1: none */
    bool *fooled;     /* count: misclassified after the attack (an image that was wrong already is fooled) */
    bool *met;        /* count: meets the criterion after the attack */
    /* Of parry_attack_minimal_eps, else NULL; count each. */
    double *minimal_eps; /* smallest eps found at which the attack met the criterion: 0 when the image as it is does;
                            NaN: at none that was tried */
    double *failed_eps;  /* largest eps below that which was tried and failed; 0: none */
} parry_attack_result;
/* Attacks every image of `dataset`. The result does not depend on the number of threads. Clear it with
 * parry_attack_result_clear. */
PARRY_API PARRY_CHECKED parry_status parry_attack_run(parry_ctx *ctx, const parry_attack *attack,
                                                      const parry_threat *threat, const parry_model *model,
                                                      const parry_dataset *dataset, parry_attack_result *out);

/* How the smallest eps is searched for. Option table: parry_search_options. */
typedef struct parry_eps_search {
    int64_t scan;      /* radii of the coarse scan, in equal steps up to the threat's eps; 0: 128 for attacks that take
                          one gradient for all of them, else 16 */
    double resolution; /* the bracket is halved until it is no wider, in units of the pixel range */
} parry_eps_search;
PARRY_API const parry_options *parry_search_options(void);
/* For each image the smallest eps, up to the threat's, at which the attack meets the criterion: a coarse scan (success
 * need not grow with eps), then halving inside the first bracket. The adversaries are those at the smallest eps; of an
 * image that none met, the one at the largest. */
PARRY_API PARRY_CHECKED parry_status parry_attack_minimal_eps(parry_ctx *ctx, const parry_attack *attack,
                                                              const parry_threat *threat,
                                                              const parry_eps_search *search, const parry_model *model,
                                                              const parry_dataset *dataset, parry_attack_result *out);
/* The q-quantile (0..1, linear between neighbours) of minimal_eps over the images that have one; NaN when none has.
 * `found`, which may be NULL, receives their number. */
PARRY_API double parry_attack_eps_quantile(const parry_attack_result *result, double q, int64_t *found);

/* Judges other versions of a result's adversaries (count x C x H x W; decoded from files, say) by the same criterion,
 * labels and targets. met: count. */
PARRY_API PARRY_CHECKED parry_status parry_attack_judge(parry_ctx *ctx, const parry_threat *threat,
                                                        const parry_model *model, const parry_attack_result *result,
                                                        const float *images, bool *met);
PARRY_API void parry_attack_result_clear(parry_attack_result *result);

/* What a perturbation costs, whatever the threat's norm. */
typedef struct parry_budget {
    double sum; /* of the absolute differences, in grey levels (1/255) */
    double l2, linf;
    int64_t pixels; /* places (of height x width) where some channel differs */
} parry_budget;
/* Of two images (C x H x W); with `levels` as they are stored in 8 bits. */
PARRY_API parry_budget parry_budget_of(const float *image, const float *adversary, int channels, int height, int width,
                                       bool levels);

/* An endless stream of batches from `dataset`: each pass over the images is a new permutation (sampling without
 * replacement), a share of each batch is replaced by adversaries that `attack` makes against `model` as it is at that
 * moment, all in one pass over the network. */
typedef struct parry_stream parry_stream;
typedef struct parry_stream_options {
    size_t size;                /* sizeof(parry_stream_options) */
    int batch;                  /* images per batch */
    double adversarial_share;   /* 0..1; floor(batch * share) adversaries, placed after the clean images */
    const parry_attack *attack; /* not needed when the share is 0 */
    const parry_threat *threat;
    bool drop_partial; /* false: the last batch of a pass may be smaller */
} parry_stream_options;
/* model, dataset, attack and threat are borrowed until the stream is freed. */
PARRY_API PARRY_CHECKED parry_status parry_stream_create(parry_ctx *ctx, const parry_model *model,
                                                         const parry_dataset *dataset,
                                                         const parry_stream_options *options, parry_stream **out);
/* Writes the next batch: up to `batch` images (C x H x W each), labels and how many there are. */
PARRY_API PARRY_CHECKED parry_status parry_stream_next(parry_ctx *ctx, parry_stream *stream, float *images,
                                                       int32_t *labels, int64_t *count);
PARRY_API void parry_stream_free(parry_stream *stream);

#ifdef __cplusplus
}
#endif
#endif
