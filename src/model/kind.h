/* What every kind of model is made of; for the files of this folder. */
#ifndef PR_MODEL_KIND_H
#define PR_MODEL_KIND_H

#include "model/model.h"

/* The head of each kind's own struct. Strings of `info` belong to the kind. */
struct parry_model {
    const pr_model_vtable *vtable;
    parry_model_info info;
};

/* The head of each kind's own session. */
struct pr_session {
    const parry_model *model;
    int micro_batch; /* images that are evaluated at once: work is best cut in multiples of it */
    int64_t forward_queries, gradient_queries;
};

#endif
