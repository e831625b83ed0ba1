/* From graph to program: what the rules of the operators are written with. Activations of rank 4 are kept nhwc where
 * their producer has a kernel for it; a consumer that needs the logical order asks for it, and a reorder is put in
 * between once. Plans of precision bf16 hold in bf16 what their kernels for bf16 write; a conversion is put in between
 * once where somebody needs f32, or the other way round. */
#ifndef PR_ENGINE_LOWER_H
#define PR_ENGINE_LOWER_H

#include "engine/program.h"

enum { PR_ROOM = 3 };

typedef enum pr_layout {
    PR_ROWS, /* row-major, as the graph says */
    PR_NHWC,
    PR_NHWC_BF16, /* the order of PR_NHWC in bf16, two numbers in the place of a float; in bf16 plans alone */
    PR_LAYOUTS
} pr_layout;

typedef struct pr_lower {
    parry_ctx *ctx;
    const pr_dnnl *dnnl;
    const pr_graph *graph;
    const pr_weights *weights;
    pr_store *store;
    pr_program *program;
    bool reference;              /* plain C for everything */
    const pr_bf16_kernels *bf16; /* NULL: the program computes in f32 */
    int (*place)[PR_LAYOUTS];    /* by value: its buffer in each layout, -1: none */
    int *uses;                   /* by value: how many nodes read it, the caller counted */
    int *user;                   /* by value: the last node that reads it */
    bool *done;                  /* by node: fused into an earlier one */
    int *sums;                   /* by value: buffer with its column sums by shard, -1: none */
    int *mask;                   /* by node: buffer with a dropout's mask, -1: none */
    int *parameter;              /* by value: the weight that this is the final gradient of, -1: none */
    int *gradient;               /* by weight: its gradient's buffer, in the master's layout; -1: not made yet */
    int *partials; /* by weight: in how many parts the gradient lies there; 0: the program updates the weight itself */
} pr_lower;

typedef parry_status (*pr_rule)(pr_lower *l, const pr_node *node);

/* Lowers nodes first .. end - 1. */
PARRY_CHECKED parry_status pr_lower_init(parry_ctx *ctx, pr_lower *l, const pr_graph *graph, const pr_weights *weights,
                                         pr_store *store, pr_program *program);
void pr_lower_release(pr_lower *l);
PARRY_CHECKED parry_status pr_lower_nodes(pr_lower *l, size_t first, size_t end);
/* Keeps the value for the caller: it is one use more. */
void pr_lower_keep(pr_lower *l, pr_value value);

/* The buffer of a value in a layout, reordered or fetched from the store where need be. */
PARRY_CHECKED parry_status pr_lower_read(pr_lower *l, pr_value value, pr_layout layout, int *buffer);
/* A weight's copy in a layout (NULL: row-major). */
PARRY_CHECKED parry_status pr_lower_weight(pr_lower *l, pr_value value, const pr_md *md, int *buffer);
/* A new buffer for a value that a node writes. */
PARRY_CHECKED parry_status pr_lower_write(pr_lower *l, pr_value value, pr_layout layout, int *buffer);
/* `value` is what lies in `buffer`, read in that layout. */
void pr_lower_alias(pr_lower *l, pr_value value, pr_layout layout, int buffer);
/* The layout that a layout-blind kernel of f32 should work in: the one that `value` is there in. */
pr_layout pr_lower_layout(const pr_lower *l, pr_value value);
PARRY_CHECKED parry_status pr_lower_plain_c(pr_lower *l, const pr_node *node);

/* Memory to work in for each shard, in whole cache lines. */
PARRY_CHECKED parry_status pr_lower_room(pr_lower *l, int64_t floats, int *buffer);

/* A step of a kernel of our own, as most rules add one. */
typedef struct pr_recipe {
    const pr_node *node;
    pr_step_run run;
    const char *what;   /* NULL: what the node computes */
    const pr_value *in; /* `inputs` values that are read, -1 for one that is absent; NULL: the node's */
    int inputs;
    pr_layout from, to;    /* of what every image has of its own, read and written; the rest is row-major */
    int64_t room[PR_ROOM]; /* floats of memory to work in, operands after those that are read; 0: no more */
    bool once;             /* not for each shard */
} pr_recipe;

/* Adds it: the node's results are written, each in `to`. Its area is the first result's size per image. */
PARRY_CHECKED parry_status pr_lower_step(pr_lower *l, const pr_recipe *recipe, pr_step **step);

/* ---- pieces (lower_cut.c): in plans for one image -------------------------------------------------------------- */

enum { PR_PIECES = 8 };
/* Rows of an image and of what a window makes of them; pad: above and below. */
typedef struct pr_slab {
    int64_t in, in_h, out, out_h, pad[2];
} pr_slab;
/* Cuts the rows of a convolution's result, or with `gradient` of its image, into at most `most` pieces; returns how
 * many; 1 or less: it is not worth it. */
int pr_cut_rows(const pr_lower *l, const pr_conv_shape *shape, bool gradient, int most, pr_slab slab[PR_PIECES]);
/* Cuts the step added last, a convolution's primitive or a kernel of pr_run_flat, where it is worth it. */
PARRY_CHECKED parry_status pr_cut_conv(pr_lower *l, pr_conv_kind kind, const pr_conv_shape *shape, pr_post post);
PARRY_CHECKED parry_status pr_cut_flat(pr_lower *l);

static inline pr_dims pr_dims_of(const pr_lower *l, pr_value value)
{
    return l->graph->values[value].dims;
}

static inline bool pr_is_weight(const pr_lower *l, pr_value value)
{
    return value >= 0 && l->graph->values[value].kind == PR_VALUE_WEIGHT;
}

static inline bool pr_has_batch(pr_dims dims)
{
    return dims.rank > 0 && dims.dim[0] == PR_BATCH;
}

/* Whether what computes `value` from the image only scales or moves it: layers that read this read the image, whose
 * small changes bf16 would round away; they stay in f32. */
bool pr_lower_is_image(const pr_lower *l, pr_value value);
/* The node that alone reads `value`, if it is a `op`; NULL otherwise. */
const pr_node *pr_lower_sole_user(const pr_lower *l, pr_value value, pr_op op);
void pr_lower_fuse(pr_lower *l, const pr_node *node);
/* Number of rows that variant `v` of a step's primitives is for. */
int64_t pr_lower_rows(const pr_lower *l, int v);
/* Whether the operator's kernels see `value` as rows of channels: rank 2, or rank 4 (then in nhwc). */
bool pr_lower_channels(const pr_lower *l, pr_value value, int64_t *area, int64_t *channels);

/* ---- rules, by file -------------------------------------------------------------------------------------------- */

parry_status pr_rule_conv(pr_lower *l, const pr_node *node);
parry_status pr_rule_conv_grad_x(pr_lower *l, const pr_node *node);
/* Whether a ReluGrad may leave its work to the kernel that alone reads its result. */
bool pr_masks_gradient(const pr_lower *l, const pr_node *relu_grad);
parry_status pr_rule_conv_grad_w(pr_lower *l, const pr_node *node);
parry_status pr_rule_gemm(pr_lower *l, const pr_node *node);
parry_status pr_rule_gemm_grad_x(pr_lower *l, const pr_node *node);
parry_status pr_rule_gemm_grad_w(pr_lower *l, const pr_node *node);
/* Elementwise operators, and functions of one tensor; the same where operands differ in shape. */
parry_status pr_rule_map(pr_lower *l, const pr_node *node);
parry_status pr_rule_function(pr_lower *l, const pr_node *node);
parry_status pr_rule_broadcast(pr_lower *l, const pr_node *node);
/* The kernel for f32 of an elementwise operator or function. */
pr_flat_kernel pr_flat_f32(const pr_node *node);
/* step->flat on the step's operands, over step->area numbers for each image. */
parry_status pr_run_flat(parry_ctx *ctx, const pr_step *step, const pr_frame *frame);
/* What works on rows; sums over axes. */
parry_status pr_rule_rows(pr_lower *l, const pr_node *node);
parry_status pr_rule_reduce(pr_lower *l, const pr_node *node);
parry_status pr_rule_matmul(pr_lower *l, const pr_node *node);
parry_status pr_rule_reduce_to(pr_lower *l, const pr_node *node);
parry_status pr_rule_pool(pr_lower *l, const pr_node *node);
parry_status pr_rule_pad(pr_lower *l, const pr_node *node);
parry_status pr_rule_concat(pr_lower *l, const pr_node *node);
parry_status pr_rule_gather(pr_lower *l, const pr_node *node);
parry_status pr_rule_transpose(pr_lower *l, const pr_node *node);
parry_status pr_rule_affine(pr_lower *l, const pr_node *node);
parry_status pr_rule_norm(pr_lower *l, const pr_node *node);
parry_status pr_rule_lrn(pr_lower *l, const pr_node *node);
parry_status pr_rule_norm_train(pr_lower *l, const pr_node *node);
parry_status pr_rule_norm_train_grad(pr_lower *l, const pr_node *node);
parry_status pr_rule_dropout(pr_lower *l, const pr_node *node);
/* Sums of the columns of dy, by shard: the gradient of a bias. */
PARRY_CHECKED parry_status pr_lower_column_sums(pr_lower *l, const pr_node *node, pr_value dy, int *buffer);

#endif
