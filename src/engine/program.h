/* A compiled graph: steps in order over numbered buffers, for one number of rows.
 *
 * A plan's program runs from first to last step on one thread, but that pieces of a step are shared out. Its
 * micro-batch is one shard, or several where an image's activations fill the cache: consecutive steps that are for a
 * shard run shard by shard, those whose weights outweigh the activations once for all rows. A trainer's program cuts
 * the batch into shards: a step runs for each shard, for each block of a large matrix, or once; steps are grouped in
 * phases, with a barrier after each. Who runs what never changes a result. */
#ifndef PR_ENGINE_PROGRAM_H
#define PR_ENGINE_PROGRAM_H

#include "engine/engine.h"
#include "engine/kernels_bf16.h"
#include "engine/store.h"

typedef enum pr_domain { PR_EACH_SHARD, PR_EACH_BLOCK, PR_ONCE } pr_domain;

typedef enum pr_spread {
    PR_BY_ROW,     /* `count` floats for each row of the batch */
    PR_BY_SHARD,   /* `count` floats for each shard */
    PR_SHARED,     /* `count` floats in all */
    PR_FROM_STORE, /* copy number `copy` of a weight */
    PR_BOUND,      /* like BY_ROW, in memory of the caller */
} pr_spread;

typedef struct pr_buffer {
    pr_spread spread;
    int64_t count;
    int copy;
    bool pinned;     /* is read after the last step */
    bool local;      /* of a plan: lives within steps that run shard by shard, all of which use the same memory */
    int first, last; /* lifetime: steps of a plan, phases of a trainer */
    int64_t offset;  /* in the arena */
} pr_buffer;

enum { PR_READS = 1, PR_WRITES = 2, PR_GATHERS = 4 /* reads all shards' parts */ };
typedef struct pr_operand {
    int buffer, access;
    pr_arg role;
    int64_t block_stride; /* from one block's part to the next */
    int64_t offset;       /* of a piece: where its part begins in an image's, in floats */
} pr_operand;

typedef struct pr_step pr_step;
typedef struct pr_frame pr_frame;
typedef parry_status (*pr_step_run)(parry_ctx *ctx, const pr_step *step, const pr_frame *frame);

/* The numbers of rows that primitives exist for: a shard, the last shard. */
enum { PR_OPERANDS = 11, PR_VARIANTS = 2 };

struct pr_step {
    const char *what; /* the kernel's name */
    const pr_node *node;
    pr_step_run run; /* NULL: the primitive */
    pr_prim *prim[PR_VARIANTS];
    pr_domain domain;
    int blocks, group; /* EACH_BLOCK: how many, of which weight */
    int pieces, piece; /* how many consecutive steps this one may run at the same time with, itself included, 0: none;
                          its number among them */
    int phase, operands;
    pr_operand operand[PR_OPERANDS];
    int in_place; /* operand that the last one may share memory with, -1: none */
    /* what own kernels need */
    int64_t area, channels,
        width; /* rows of channels per row of the batch; of a matrix product: k, n, width of panels */
    float alpha;
    bool flag;
    bool bf16; /* an own kernel's operands are in bf16 */
    pr_flat_kernel flat;
    pr_pool_kernel pool;
    pr_window window;
    int parameter; /* weight that the step updates */
    double flop;   /* per row */
};

typedef struct pr_program {
    const pr_graph *graph;
    bool training;
    bool whole; /* steps that are added now run once for all rows of a plan */
    int64_t rows, shard_rows;
    int shards, variants, blocks, pieces; /* blocks, pieces: the most that a step has */
    pr_buffer *buffers;
    size_t buffer_count, buffer_capacity;
    pr_step *steps;
    size_t step_count, step_capacity, backward; /* first step of the backward pass */
    int phases;
    int *order;             /* steps by phase */
    size_t *phase_start;    /* by phase: where it begins in `order`; and the end */
    int64_t arena, scratch; /* floats */
} pr_program;

void pr_program_clear(pr_program *program);
/* Rows of shard `shard`. */
int64_t pr_program_shard_rows(const pr_program *program, int shard);
PARRY_CHECKED parry_status pr_program_buffer(parry_ctx *ctx, pr_program *program, pr_spread spread, int64_t count,
                                             int *out);
/* The pointer is good until the next step is added. */
PARRY_CHECKED parry_status pr_program_step(parry_ctx *ctx, pr_program *program, const char *what, const pr_node *node,
                                           pr_domain domain, pr_step **out);
/* Puts `pieces` copies of the last step in its place, which may run at the same time: whoever asks gives each its part
 * and its primitive. */
PARRY_CHECKED parry_status pr_program_cut(parry_ctx *ctx, pr_program *program, int pieces, pr_step **first);
void pr_step_operand(pr_step *step, int buffer, int access, pr_arg role);
/* The operands of a product with weights: y = x w + bias; bias -1: none. */
void pr_step_product(pr_step *step, int x, int w, int bias, int y);
/* The end of the run of steps from s on that a plan carries out shard by shard, or once. */
size_t pr_program_run_end(const pr_program *program, size_t s);
/* After the last step: phases, memory shared in place, lifetimes, the arena. */
PARRY_CHECKED parry_status pr_program_finish(parry_ctx *ctx, pr_program *program);
/* seconds: by step, NULL where not measured; `runs` shares them out. */
void pr_program_text(const pr_program *program, const double *seconds, int runs, pr_text *text);
int pr_program_reference_steps(const pr_program *program);

/* ---- running --------------------------------------------------------------------------------------------------- */

/* What changes from one run to the next. */
typedef struct pr_call pr_call;
struct pr_call {
    uint64_t seed, step; /* key dropout masks */
    const int32_t *labels;
    pr_loss_rows loss;
    const void *loss_arg;
    const double *scalars; /* of the optimiser */
    float decay;
    /* Moves floats first .. first + count of a weight's master along its gradient. */
    void (*update)(const pr_call *call, int weight, int64_t first, int64_t count, const float *gradient);
    void *trainer;
    double *seconds; /* by step: time spent in it is added; NULL: nobody asks */
};

/* Memory as one shard or block sees it. */
struct pr_frame {
    const pr_program *program;
    pr_domain domain;
    int index, variant;
    int64_t first_row, rows;
    float **data;          /* by buffer */
    float *const *base;    /* by buffer: the first shard's */
    pr_binding **bindings; /* by step, NULL where this frame does not run it */
    const pr_call *call;
};

/* The memory of a program and all its frames. */
typedef struct pr_instance {
    const pr_program *program;
    float *arena, **base, *scratch;
    pr_frame *frames; /* shards, then blocks, then the whole */
    int frame_count;
} pr_instance;

PARRY_CHECKED parry_status pr_instance_create(parry_ctx *ctx, const pr_dnnl *dnnl, const pr_program *program,
                                              const pr_store *store, pr_instance **out);
void pr_instance_free(pr_instance *instance);
/* Gives a PR_BOUND buffer its memory, in the frames of all shards. */
PARRY_CHECKED parry_status pr_instance_bind(parry_ctx *ctx, pr_instance *instance, int buffer, const float *data);
void pr_instance_call(pr_instance *instance, const pr_call *call);
/* Runs those of the steps order[first .. end - 1] that belong to the frame; pieces on the threads that are free. */
PARRY_CHECKED parry_status pr_frame_run(parry_ctx *ctx, const pr_frame *frame, size_t first, size_t end);

static inline float *pr_at(const pr_step *step, const pr_frame *frame, int operand)
{
    return frame->data[step->operand[operand].buffer] + step->operand[operand].offset;
}

static inline pr_bf16 *pr_bf16_at(const pr_step *step, const pr_frame *frame, int operand)
{
    return (pr_bf16 *)pr_at(step, frame, operand);
}

#endif
