/* The network as data: values and nodes by index. Built by importers and builders, rewritten by passes, differentiated
 * into a larger graph, and compiled by the engine. A graph holds no floats: parameters live in a pr_weights beside it,
 * by index. */
#ifndef PR_GRAPH_GRAPH_H
#define PR_GRAPH_GRAPH_H

#include "base/base.h"
#include "graph/weights.h"

typedef enum pr_op {
#define OP(id, name, in, out, attrs) PR_OP_##id,
#include "graph/ops.def"
#undef OP
    PR_OP_COUNT
} pr_op;

/* The functions of MAP, BINARY and REDUCE. */
typedef enum pr_map {
#define MAP(id, ...) PR_MAP_##id,
#include "graph/maths.def"
#undef MAP
    PR_MAP_COUNT
} pr_map;
typedef enum pr_binary {
#define BINARY(id, ...) PR_BINARY_##id,
#include "graph/maths.def"
#undef BINARY
    PR_BINARY_COUNT
} pr_binary;
typedef enum pr_reduce {
#define REDUCE(id, ...) PR_REDUCE_##id,
#include "graph/maths.def"
#undef REDUCE
    PR_REDUCE_COUNT
} pr_reduce;

/* Dimensions; dim[0] of an activation is PR_BATCH, whatever the batch will be. */
#define PR_BATCH (-1)
typedef struct pr_dims {
    int rank;
    int64_t dim[PR_RANK_MAX];
} pr_dims;

typedef int32_t pr_value; /* index into graph->values; -1: none */

typedef enum pr_value_kind {
    PR_VALUE_INPUT,  /* fed by the caller: the image batch, the seed of a derivative */
    PR_VALUE_WEIGHT, /* entry `weight` of the pr_weights */
    PR_VALUE_NODE,   /* produced by node `producer` */
} pr_value_kind;

typedef struct pr_value_info {
    char *name; /* unique, never empty */
    pr_value_kind kind;
    int32_t weight;   /* PR_VALUE_WEIGHT */
    int32_t producer; /* PR_VALUE_NODE */
    pr_dims dims;
} pr_value_info;

#define PR_NODE_IN 5
#define PR_NODE_OUT 4
typedef struct pr_attrs {
    union {
        struct {
            int group, stride[2], dilation[2], pad[4] /* top, left, bottom, right */, kernel[2];
            int64_t in_h, in_w;
        } conv;
        struct {
            int kernel[2], stride[2], dilation[2], pad[4];
            bool count_pad, ceil_mode;
            int64_t in_h, in_w;
        } pool;
        struct {
            float eps, momentum;
        } bn; /* momentum as ONNX: running = running * momentum + batch * (1 - momentum) */
        struct {
            int axis;
            bool last; /* of ARG_MAX: the last of equals, not the first */
        } axis;
        struct {
            float alpha;
        } alpha;
        struct {
            pr_dims to;
        } shape; /* dim[0] is PR_BATCH */
        struct {
            int perm[PR_RANK_MAX];
        } perm;
        struct {
            int before[PR_RANK_MAX], after[PR_RANK_MAX];
            float value;
        } pad; /* by axis, 0 for the batch */
        struct {
            int axis;
            int64_t size; /* of the axis in x */
        } gather;
        struct {
            float ratio;
            int32_t stream;
        } dropout; /* stream: distinguishes dropout nodes of one network */
        struct {
            pr_map function;
            float parameter[3]; /* a, b, c of maths.def */
        } map;
        struct {
            pr_binary function;
            int side; /* of the gradient: by input 0 or 1 */
        } binary;
        struct {
            pr_reduce function;
            unsigned axes; /* a bit for each */
        } reduce;
        struct {
            int axis;
            float eps;
        } norm;
        struct {
            int size;
            float alpha, beta, bias;
        } lrn; /* y = x / (bias + alpha / size * sum of squares of `size` channels around)^beta */
        struct {
            bool transposed[2];
        } matmul;
    };
} pr_attrs;

typedef struct pr_node {
    pr_op op;
    char *name; /* the file's node name, for errors; never NULL */
    int inputs, outputs;
    pr_value in[PR_NODE_IN], out[PR_NODE_OUT];
    pr_attrs attrs;
} pr_node;

typedef struct pr_graph {
    pr_value_info *values;
    size_t value_count, value_capacity;
    pr_node *nodes; /* in topological order */
    size_t node_count, node_capacity;
    pr_value *slots;   /* hash table of the values' names; -1: free */
    size_t slot_count; /* a power of two */
    pr_value input;    /* the image batch */
    pr_value logits;   /* N x classes */
} pr_graph;

/* The node that computes the value; NULL: an input, a weight, or none (-1). It moves when nodes are added. */
static inline const pr_node *pr_graph_producer(const pr_graph *graph, pr_value value)
{
    return value >= 0 && graph->values[value].kind == PR_VALUE_NODE ? &graph->nodes[graph->values[value].producer]
                                                                    : NULL;
}

PARRY_CHECKED parry_status pr_graph_create(parry_ctx *ctx, pr_graph **out);
PARRY_CHECKED parry_status pr_graph_clone(parry_ctx *ctx, const pr_graph *graph, pr_graph **out);
void pr_graph_free(pr_graph *graph);

const char *pr_op_name(pr_op op);
/* The ONNX name of a function of a family, and the defaults of its parameters (NaN: it has no such attribute). */
const char *pr_map_name(pr_map function);
const float *pr_map_defaults(pr_map function);
const char *pr_binary_name(pr_binary function);
const char *pr_reduce_name(pr_reduce function);

/* Building. Names are copied; an empty or taken name gets a number appended. pr_graph_node infers the output's shape
 * and fails with PARRY_MISMATCH naming the node when shapes do not fit. */
PARRY_CHECKED parry_status pr_graph_input(parry_ctx *ctx, pr_graph *graph, const char *name, pr_dims dims,
                                          pr_value *out);
PARRY_CHECKED parry_status pr_graph_weight(parry_ctx *ctx, pr_graph *graph, const pr_weights *weights, int32_t weight,
                                           pr_value *out);
PARRY_CHECKED parry_status pr_graph_node(parry_ctx *ctx, pr_graph *graph, pr_op op, const char *name,
                                         const pr_attrs *attrs, const pr_value *in, int inputs,
                                         pr_value *out /* as many as the op has outputs */);
/* The same with `outputs` outputs, for an op whose last output is optional. */
PARRY_CHECKED parry_status pr_graph_node_outputs(parry_ctx *ctx, pr_graph *graph, pr_op op, const char *name,
                                                 const pr_attrs *attrs, const pr_value *in, int inputs, int outputs,
                                                 pr_value *out);

/* Product of the dims without the batch. */
int64_t pr_dims_row(pr_dims dims);
pr_dims pr_dims_make(int rank, const int64_t *dim);
bool pr_dims_equal(pr_dims a, pr_dims b);
int64_t pr_dims_count(pr_dims dims, int64_t batch);

/* ---- passes: each returns a new graph or rewrites in place; none touches the weights except where it says so ---- */

/* Training form: BatchNormalization -> BATCH_NORM_TRAIN, Dropout -> DROPOUT_TRAIN. The values of running mean and
 * variance stay known: */
typedef struct pr_bn_link {
    int32_t mean_weight, var_weight;
    pr_value mean, var;
    float momentum;
} pr_bn_link;
PARRY_CHECKED parry_status pr_graph_to_training(parry_ctx *ctx, const pr_graph *graph, pr_graph **out,
                                                pr_bn_link **links, size_t *link_count);
/* Inference form: Dropout, Identity and pairs of Transposes removed, dead nodes removed, Flatten before GEMM folded
 * into it. With `fold`, a line per channel (batch norm, arithmetic with constants by channel) after a convolution or
 * GEMM is folded into *new* entries of `weights_out` (a clone of `weights` with the folded tensors replaced); other
 * lines become CHANNEL_AFFINE, and one before a GEMM (through Reshape) folds into that GEMM. Exact up to rounding.
 * Without `fold` the graph goes on using `weights`, and *weights_out is NULL. */
PARRY_CHECKED parry_status pr_graph_to_inference(parry_ctx *ctx, const pr_graph *graph, const pr_weights *weights,
                                                 bool fold, pr_graph **out, pr_weights **weights_out);
/* Removes nodes and values that neither the input, the logits nor the `keep` values need. The rest is renumbered, in
 * `keep` too. */
PARRY_CHECKED parry_status pr_graph_prune(parry_ctx *ctx, pr_graph *graph, pr_value *keep, size_t count);
/* Removes the weights that no value of the graph stands for; the rest is renumbered, in the graph too. */
PARRY_CHECKED parry_status pr_graph_prune_weights(parry_ctx *ctx, pr_graph *graph, pr_weights *weights);

/* Appends the derivative of <seed, of> with respect to each wrt value: adds an input `seed` of the shape of `of` and
 * backward nodes; grads[i] is the value with the gradient of wrt[i] (-1 when it does not depend on it). Only what leads
 * to the wrt values is added: an input gradient has no weight gradients. */
PARRY_CHECKED parry_status pr_graph_differentiate(parry_ctx *ctx, pr_graph *graph, pr_value of, const pr_value *wrt,
                                                  size_t count, pr_value *seed, pr_value *grads);

/* Graphviz. */
PARRY_CHECKED parry_status pr_graph_dot(parry_ctx *ctx, const pr_graph *graph, char **out);
/* Every invariant: topological order, single producers, unique names, shapes equal to inferred ones. For tests and
 * after import. */
PARRY_CHECKED parry_status pr_graph_check(parry_ctx *ctx, const pr_graph *graph, const pr_weights *weights);

#endif
