/* Criteria: when an image counts as adversarial. Objects made from text, which combine.
 *
 *     misclassified              the largest logit is not the label's
 *     confident:P                misclassified, and the class called instead has a probability of at least P
 *     targeted[:CLASS[:P]]       called CLASS (without one: the run's target), with a probability of at least P
 *     topk:K                     the label is not among the K largest logits
 *     below:P                    the label's probability is less than P
 *     and(A,B,...)  or(A,B,...)  not(A)
 *
 * Probabilities are the softmax of the logits. Equal logits rank in the order of the classes. A CLASS is a number or a
 * name; one that has a comma, a colon or a bracket in it stands in single quotes. */
#ifndef PARRY_CRITERION_H
#define PARRY_CRITERION_H

#include <parry/model.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct parry_criterion parry_criterion;

/* `text` as above; class names and numbers are those of `model`. PARRY_INVALID says where it does not parse, or
 * which class does not exist or is ambiguous. */
PARRY_API PARRY_CHECKED parry_status parry_criterion_create(parry_ctx *ctx, const char *text, const parry_model *model,
                                                            parry_criterion **out);
/* Whether `text` parses, without a model to look class names up in. */
PARRY_API PARRY_CHECKED parry_status parry_criterion_check(parry_ctx *ctx, const char *text);
PARRY_API void parry_criterion_free(parry_criterion *criterion);

/* Whether one row of logits meets it. `label` is the image's class; `target` is the run's, for "targeted" without a
 * class (-1: there is none, and it is not met). */
PARRY_API bool parry_criterion_met(const parry_criterion *criterion, const float *logits, int classes, int label,
                                   int target);
/* The class that it asks for outside not(), the first where there are several; -1: none. */
PARRY_API int parry_criterion_class(const parry_criterion *criterion);
/* Whether "targeted" stands in it without a class, so that the run must have a target. */
PARRY_API bool parry_criterion_needs_target(const parry_criterion *criterion);

/* The forms above, for help: how each is written and what it means. NULL beyond the end. */
typedef struct parry_criterion_form {
    const char *form, *summary;
} parry_criterion_form;
PARRY_API const parry_criterion_form *parry_criterion_form_at(size_t index);

#ifdef __cplusplus
}
#endif
#endif
