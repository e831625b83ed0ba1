/* The trainer's parts, shared by its two files: trainer_compile.c makes programs, trainer.c runs them. */
#ifndef PR_ENGINE_TRAINER_H
#define PR_ENGINE_TRAINER_H

#include "engine/lower.h"

enum { PR_MOMENTS_MOST = 4, PR_PROGRAMS = 2 };

/* A trained weight. */
typedef struct pr_parameter {
    int32_t weight;
    pr_value gradient;
    int master; /* in the store */
    float *moments[PR_MOMENTS_MOST];
    pr_binding *pack, *unpack; /* between row-major and the master's layout */
    pr_prim *pack_prim, *unpack_prim;
} pr_parameter;

/* A range of a parameter's master, the unit in which summing gradients and updating is dealt out. */
typedef struct pr_range {
    const pr_parameter *parameter;
    int64_t first, count;
} pr_range;

/* What runs batches of n images. */
typedef struct pr_compiled {
    int n;
    pr_program program;
    pr_instance *instance;
    int *gradient, *partials;          /* by weight, as the lowering left them */
    int in, logits, loss, *statistics; /* buffers; mean and variance of each link */
    pr_range *ranges;
    size_t range_count;
} pr_compiled;

struct pr_trainer {
    pr_dnnl *dnnl;
    pr_weights *weights, *own; /* the caller's; statistics, constants, and where masters began */
    pr_graph *graph;           /* training form with its derivative */
    size_t forward;            /* nodes of the forward pass */
    pr_bn_link *links;
    size_t link_count, count;
    const pr_update_rule *rule;
    int batch;
    bool reference;
    parry_precision precision;
    pr_value seed;
    pr_parameter *parameters;
    int *parameter_of; /* by weight; -1: not trained */
    pr_store store;
    pr_compiled programs[PR_PROGRAMS]; /* the full batch, another size */
};

/* The training form of the graph with its derivative, and the parameters in it. */
PARRY_CHECKED parry_status pr_trainer_make_graph(parry_ctx *ctx, const pr_graph *given, pr_trainer *t);
/* The program for batches of n images. */
PARRY_CHECKED parry_status pr_trainer_program(parry_ctx *ctx, pr_trainer *t, int n, pr_compiled **out);
void pr_compiled_clear(pr_compiled *c);

#endif
