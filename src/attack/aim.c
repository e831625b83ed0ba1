/* What a run is after: the threat's criterion and target, looked up in a model, and from them each image's goal. */
#include <string.h>

#include <parry/classes.h>

#include "attack/attack.h"

/* Targets that differ from image to image. */
typedef enum rule { NO_TARGET, ONE_CLASS, NEXT, RANDOM, LEAST_LIKELY } rule;
static const char *const rule_names[] = {[NEXT] = "next", [RANDOM] = "random", [LEAST_LIKELY] = "least-likely"};

struct pr_aim {
    parry_criterion *criterion;
    rule rule;
    int target; /* of ONE_CLASS */
};

static rule rule_of(const char *target)
{
    if (!target)
        return NO_TARGET;
    for (size_t i = NEXT; i < PR_COUNT(rule_names); i++)
        if (strcmp(rule_names[i], target) == 0)
            return (rule)i;
    return ONE_CLASS;
}

/* A class that does not exist is a wrong option, not a thing that is missing. */
parry_status pr_class_find(parry_ctx *ctx, const parry_model *model, const char *text, int *out)
{
    const parry_status status = parry_class_find(ctx, model, text, out);
    return status == PARRY_NOT_FOUND ? PARRY_INVALID : status;
}

static parry_status choose_target(parry_ctx *ctx, const parry_threat *threat, const parry_model *model, pr_aim *aim)
{
    const int asked = parry_criterion_class(aim->criterion);
    aim->rule = rule_of(threat->target);
    if (aim->rule == ONE_CLASS)
        TRY(pr_class_find(ctx, model, threat->target, &aim->target));
    if (aim->rule == NO_TARGET && asked >= 0) {
        aim->rule = ONE_CLASS;
        aim->target = asked;
    }
    if (asked >= 0 && !(aim->rule == ONE_CLASS && aim->target == asked))
        return pr_fail(ctx, PARRY_INVALID, "--target is %s, but the criterion '%s' asks for class %d", threat->target,
                       threat->criterion, asked);
    if (aim->rule == NO_TARGET && parry_criterion_needs_target(aim->criterion))
        return pr_fail(ctx, PARRY_INVALID, "the criterion '%s' names no class, and there is no --target",
                       threat->criterion);
    return PARRY_OK;
}

parry_status pr_aim_create(parry_ctx *ctx, const parry_threat *threat, const parry_model *model, pr_aim **out)
{
    const char *criterion = threat->criterion ? threat->criterion : threat->target ? "targeted" : "misclassified";
    *out = NULL;
    TRY(pr_alloc(ctx, 1, out));
    parry_status status = parry_criterion_create(ctx, criterion, model, &(*out)->criterion);
    if (status == PARRY_OK)
        status = choose_target(ctx, threat, model, *out);
    if (status != PARRY_OK) {
        pr_aim_free(*out);
        *out = NULL;
    }
    return status;
}

void pr_aim_free(pr_aim *aim)
{
    if (!aim)
        return;
    parry_criterion_free(aim->criterion);
    pr_free(aim);
}

bool pr_aim_met(const pr_aim *aim, const float *logits, int classes, pr_goal goal)
{
    return parry_criterion_met(aim->criterion, logits, classes, goal.label, goal.target);
}

/* ---- goals ------------------------------------------------------------------------------------------------------- */

bool pr_aim_asks(const pr_aim *aim, const int32_t *labels, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (labels[i] < 0)
            return true;
    return aim->rule == LEAST_LIKELY;
}

static int32_t least_likely(const float *logits, int classes)
{
    int32_t least = 0;
    for (int32_t k = 1; k < classes; k++)
        if (logits[k] < logits[least])
            least = k;
    return least;
}

/* Any class but the label's, all equally likely. */
static int32_t random_other(uint64_t seed, int64_t index, int classes, int32_t label)
{
    pr_rng rng = pr_rng_init(seed, PR_STREAM_TARGET, (uint64_t)index);
    if (classes < 2)
        return 0;
    return (int32_t)((label + 1 + (int64_t)pr_rng_below(&rng, (uint32_t)classes - 1)) % classes);
}

void pr_aim_goals(const pr_aim *aim, uint64_t seed, const float *clean_logits, int classes, const int32_t *labels,
                  const int64_t *index, int64_t n, pr_goal *out)
{
    for (int64_t i = 0; i < n; i++) {
        const int32_t label = labels[i] >= 0 ? labels[i] : pr_argmax(clean_logits + i * classes, classes);
        out[i] = (pr_goal){label, -1};
        if (aim->rule == ONE_CLASS)
            out[i].target = aim->target;
        else if (aim->rule == NEXT)
            out[i].target = (label + 1) % classes;
        else if (aim->rule == RANDOM)
            out[i].target = random_other(seed, index[i], classes, label);
        else if (aim->rule == LEAST_LIKELY)
            out[i].target = least_likely(clean_logits + i * classes, classes);
    }
}
