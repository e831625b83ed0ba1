/* The inside of an attack that is ready to run, and of its runs; for the files of this layer that are no attacks. */
#ifndef PR_ATTACK_ATTACK_H
#define PR_ATTACK_ATTACK_H

#include "attack/impl.h"

struct parry_attack {
    const pr_attack_impl *impl;
    parry_params *params; /* NULL when the attack has no options */
    char label[64];
};

/* The attack's option struct, or NULL. */
const void *pr_attack_params(const parry_attack *attack);
/* Warns of settings that make the attack weak against this threat. */
void pr_attack_review(parry_ctx *ctx, const parry_attack *attack, const parry_threat *threat);

/* Scratch is asked for in the same order by every run of an attack: block k serves the k-th request, and grows where a
 * chunk needs more. */
typedef struct pr_arena {
    struct {
        void *data;
        size_t size;
    } * blocks;
    size_t count, capacity, used;
} pr_arena;

struct pr_run {
    const parry_attack *attack;
    const parry_threat *threat;
    const pr_aim *aim;
    const pr_loss *loss;
    pr_session *search, *judge; /* of the threat's precision, and of f32; one and the same where that is f32 */
    uint64_t seed;
    int classes;
    pr_arena scratch;
    int64_t forward_queries, gradient_queries; /* of the attack alone, without the pass that judges it */
};

/* Some images of a batch, packed: row j is image who[j] of it. */
typedef struct pr_subset {
    pr_batch batch;
    int64_t *who, *index; /* index, goals and eps are the batch's own, to be written */
    pr_goal *goals;
    double *eps;
} pr_subset;
/* Empty, with room for all of `in`. */
PARRY_CHECKED parry_status pr_subset_init(parry_ctx *ctx, pr_run *run, const pr_batch *in, pr_subset *out);
void pr_subset_empty(pr_subset *subset);
void pr_subset_add(pr_subset *subset, const pr_batch *in, int64_t i, double eps);

/* The attack at each image's eps, finished on the 8-bit grid where the threat asks for that. `direction` is what the
 * attack's own function of that name wrote for these images, or NULL. */
PARRY_CHECKED parry_status pr_attempt(parry_ctx *ctx, pr_run *run, const pr_batch *in, const pr_tensor *direction,
                                      pr_tensor *adv);
/* Moves adversaries to the 8-bit grid (quantize.c). in->x is on it. */
PARRY_CHECKED parry_status pr_quantize(parry_ctx *ctx, pr_run *run, const pr_batch *in, const pr_tensor *direction,
                                       pr_tensor *adv);
/* Finds each image's smallest eps up to the threat's (search.c); in->eps is not used. */
PARRY_CHECKED parry_status pr_search_batch(parry_ctx *ctx, pr_run *run, const parry_eps_search *search,
                                           const pr_batch *in, pr_tensor *adv, double *minimal, double *failed);

/* Labels and targets of n images (aim.c). clean_logits is used where pr_aim_asks says so. */
bool pr_aim_asks(const pr_aim *aim, const int32_t *labels, int64_t n);
void pr_aim_goals(const pr_aim *aim, uint64_t seed, const float *clean_logits, int classes, const int32_t *labels,
                  const int64_t *index, int64_t n, pr_goal *out);

/* The number of a class given by number or name. */
PARRY_CHECKED parry_status pr_class_find(parry_ctx *ctx, const parry_model *model, const char *text, int *out);

#endif
