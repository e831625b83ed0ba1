/* One descriptor per operator and way of using it: shapes, attributes, kind of data. Read by the gradient test of the
 * oracle and by the comparison of the engine's kernels with it. A new operator needs a row here; a test fails where one
 * is missing. */
#ifndef PR_TESTS_OPS_TABLE_H
#define PR_TESTS_OPS_TABLE_H

#include <string.h>

#include "base/rng.h"
#include "graph/graph.h"

typedef struct op_case {
    const char *name;
    pr_op op;
    pr_dims in[PR_NODE_IN];          /* rank 0: no further input; those without a batch are weights */
    const char *fill;                /* per input: n normal, p positive, a away from zero, d different, t many ties, i positions
                                        along the axis of attrs.gather */
    int outputs;                     /* 0: all that the operator has */
    unsigned constants;              /* bit i: no derivative with respect to input i */
    bool no_gradient;                /* no derivative at all */
    bool kinks;                      /* the data lie where the derivative jumps: finite differences mean nothing */
    pr_attrs attrs;
} op_case;

enum { OP_CASE_BATCH = 3 };

#define IMAGE(c, h, w) {4, {PR_BATCH, c, h, w}}
#define ROWS(k) {2, {PR_BATCH, k}}
#define KERNEL(o, c, h, w) {4, {o, c, h, w}}
#define MATRIX(o, i) {2, {o, i}}
#define VECTOR(k) {1, {k}}
#define CONV_ATTRS(groups, sh, sw, dh, dw, top, left, bottom, right, kh, kw, ih, iw)                                   \
    {.conv = {.group = groups, .stride = {sh, sw}, .dilation = {dh, dw}, .pad = {top, left, bottom, right},            \
              .kernel = {kh, kw}, .in_h = ih, .in_w = iw}}
#define POOL_ATTRS(kh, kw, sh, sw, dh, dw, top, left, bottom, right, padded, ceil, ih, iw)                             \
    {.pool = {.kernel = {kh, kw}, .stride = {sh, sw}, .dilation = {dh, dw}, .pad = {top, left, bottom, right},         \
              .count_pad = padded, .ceil_mode = ceil, .in_h = ih, .in_w = iw}}

#define CHANNELS(c) {3, {c, 1, 1}}
#define TOKENS(t, c) {3, {PR_BATCH, t, c}}
#define MAP_CASE(what, kind, f, ...) {what, PR_OP_MAP, {IMAGE(2, 3, 4)}, kind, .attrs = {.map = {PR_MAP_##f, {__VA_ARGS__}}}}
#define MAP_GRAD_CASE(what, kind, f, ...)                                                                              \
    {what, PR_OP_MAP_GRAD, {IMAGE(2, 3, 4), IMAGE(2, 3, 4)}, kind, .no_gradient = true,                                \
     .attrs = {.map = {PR_MAP_##f, {__VA_ARGS__}}}}
#define STEPS_CASE(what, f)                                                                                            \
    {what, PR_OP_MAP, {ROWS(9)}, "a", .constants = 1, .attrs = {.map = {PR_MAP_##f, {0}}}}
#define BINARY_CASE(what, f, a, b, kind) {what, PR_OP_BINARY, {a, b}, kind, .attrs = {.binary = {PR_BINARY_##f, 0}}}
#define COMPARISON_CASE(what, f, a, b)                                                                                 \
    {what, PR_OP_BINARY, {a, b}, "tt", .constants = 3, .attrs = {.binary = {PR_BINARY_##f, 0}}}
#define REDUCE_CASE(what, f, x, kind, bits) {what, PR_OP_REDUCE, {x}, kind, .attrs = {.reduce = {PR_REDUCE_##f, bits}}}

static const op_case op_cases[] = {
    /* ---- forward ------------------------------------------------------------------------------------------------ */
    {"conv 3x3 same", PR_OP_CONV, {IMAGE(3, 6, 5), KERNEL(4, 3, 3, 3), VECTOR(4)}, "nnn",
     .attrs = CONV_ATTRS(1, 1, 1, 1, 1, 1, 1, 1, 1, 3, 3, 0, 0)},
    {"conv stride 2, TensorFlow's same, no bias", PR_OP_CONV, {IMAGE(2, 6, 6), KERNEL(4, 2, 3, 3)}, "nn",
     .attrs = CONV_ATTRS(1, 2, 2, 1, 1, 0, 0, 1, 1, 3, 3, 0, 0)},
    {"conv grouped, dilated, uneven", PR_OP_CONV, {IMAGE(4, 7, 8), KERNEL(6, 2, 3, 2), VECTOR(6)}, "nnn",
     .attrs = CONV_ATTRS(2, 1, 2, 2, 3, 2, 0, 1, 3, 3, 2, 0, 0)},
    {"conv depthwise", PR_OP_CONV, {IMAGE(4, 5, 5), KERNEL(4, 1, 3, 3), VECTOR(4)}, "nnn",
     .attrs = CONV_ATTRS(4, 1, 1, 1, 1, 1, 1, 1, 1, 3, 3, 0, 0)},
    {"conv 1x1 stride 2", PR_OP_CONV, {IMAGE(5, 5, 5), KERNEL(3, 5, 1, 1)}, "nn",
     .attrs = CONV_ATTRS(1, 2, 2, 1, 1, 0, 0, 0, 0, 1, 1, 0, 0)},
    {"gemm", PR_OP_GEMM, {ROWS(7), MATRIX(5, 7), VECTOR(5)}, "nnn"},
    {"gemm over planes, no bias", PR_OP_GEMM, {IMAGE(3, 2, 2), MATRIX(4, 12)}, "nn"},
    {"batch norm", PR_OP_BATCH_NORM, {IMAGE(3, 4, 2), VECTOR(3), VECTOR(3), VECTOR(3), VECTOR(3)}, "nnnnp",
     .constants = 0x1e, .attrs = {.bn = {1e-3f, 0.9f}}},
    {"batch norm of rows", PR_OP_BATCH_NORM, {ROWS(6), VECTOR(6), VECTOR(6), VECTOR(6), VECTOR(6)}, "nnnnp",
     .constants = 0x1e, .attrs = {.bn = {1e-5f, 0.9f}}},
    {"relu", PR_OP_RELU, {IMAGE(2, 3, 4)}, "a"},
    {"leaky relu", PR_OP_LEAKY_RELU, {IMAGE(2, 3, 4)}, "a", .attrs = {.alpha = {0.1f}}},
    {"sigmoid", PR_OP_SIGMOID, {ROWS(9)}, "n"},
    {"tanh", PR_OP_TANH, {ROWS(9)}, "n"},
    {"softmax", PR_OP_SOFTMAX, {ROWS(7)}, "n", .attrs = {.axis = {-1}}},
    {"log softmax", PR_OP_LOG_SOFTMAX, {ROWS(7)}, "n", .attrs = {.axis = {1}}},
    {"max pool 2x2", PR_OP_MAX_POOL, {IMAGE(3, 6, 6)}, "d",
     .attrs = POOL_ATTRS(2, 2, 2, 2, 1, 1, 0, 0, 0, 0, false, false, 0, 0)},
    {"max pool padded", PR_OP_MAX_POOL, {IMAGE(2, 7, 6)}, "d",
     .attrs = POOL_ATTRS(3, 3, 2, 2, 1, 1, 1, 1, 1, 1, false, false, 0, 0)},
    {"max pool dilated, rounded up", PR_OP_MAX_POOL, {IMAGE(2, 8, 7)}, "d",
     .attrs = POOL_ATTRS(2, 3, 2, 3, 2, 1, 1, 0, 0, 2, false, true, 0, 0)},
    {"max pool with ties", PR_OP_MAX_POOL, {IMAGE(2, 7, 7)}, "t", .kinks = true,
     .attrs = POOL_ATTRS(3, 3, 2, 2, 1, 1, 1, 1, 0, 0, false, false, 0, 0)},
    {"average pool", PR_OP_AVERAGE_POOL, {IMAGE(3, 6, 6)}, "n",
     .attrs = POOL_ATTRS(2, 2, 2, 2, 1, 1, 0, 0, 0, 0, false, false, 0, 0)},
    {"average pool, pads counted", PR_OP_AVERAGE_POOL, {IMAGE(2, 6, 7)}, "n",
     .attrs = POOL_ATTRS(3, 3, 2, 2, 1, 1, 1, 0, 1, 2, true, false, 0, 0)},
    {"average pool, pads not counted", PR_OP_AVERAGE_POOL, {IMAGE(2, 6, 7)}, "n",
     .attrs = POOL_ATTRS(3, 3, 2, 2, 1, 1, 1, 0, 1, 2, false, false, 0, 0)},
    {"average pool, rounded up", PR_OP_AVERAGE_POOL, {IMAGE(2, 6, 6)}, "n",
     .attrs = POOL_ATTRS(3, 3, 2, 2, 1, 1, 0, 0, 0, 0, true, true, 0, 0)},
    {"global average pool", PR_OP_GLOBAL_AVERAGE_POOL, {IMAGE(4, 3, 5)}, "n"},
    {"add", PR_OP_ADD, {IMAGE(2, 3, 4), IMAGE(2, 3, 4)}, "nn"},
    {"add a channel vector", PR_OP_ADD, {IMAGE(2, 3, 4), {3, {2, 1, 1}}}, "nn"},
    {"add a row", PR_OP_ADD, {ROWS(5), VECTOR(5)}, "nn"},
    {"sub from a constant", PR_OP_SUB, {{4, {1, 2, 1, 1}}, IMAGE(2, 3, 4)}, "nn"},
    {"add planes of one image", PR_OP_ADD, {IMAGE(2, 3, 4), {3, {2, 3, 4}}}, "nn"},
    {"mul by a row and a column", PR_OP_MUL, {IMAGE(2, 1, 4), {3, {2, 3, 1}}}, "nn"},
    {"sub from a plane of each image", PR_OP_SUB, {IMAGE(1, 3, 4), IMAGE(3, 3, 4)}, "nn"},
    {"div of rank 3", PR_OP_DIV, {{3, {PR_BATCH, 3, 4}}, {2, {3, 1}}}, "np"},
    {"mul by a gate", PR_OP_MUL, {IMAGE(2, 3, 4), IMAGE(2, 1, 1)}, "nn"},
    {"mul", PR_OP_MUL, {ROWS(5), ROWS(5)}, "nn"},
    {"div by a constant", PR_OP_DIV, {IMAGE(2, 3, 4), {3, {2, 1, 1}}}, "np"},
    {"div", PR_OP_DIV, {ROWS(5), ROWS(5)}, "np"},
    {"neg", PR_OP_NEG, {ROWS(5)}, "n"},
    {"flatten", PR_OP_RESHAPE, {IMAGE(2, 3, 4)}, "n", .attrs = {.shape = {ROWS(24)}}},
    {"transpose", PR_OP_TRANSPOSE, {IMAGE(2, 3, 4)}, "n", .attrs = {.perm = {{0, 2, 3, 1}}}},
    {"transpose to planes", PR_OP_TRANSPOSE, {IMAGE(2, 3, 4)}, "n", .attrs = {.perm = {{0, 3, 1, 2}}}},
    {"transpose of rank 5", PR_OP_TRANSPOSE, {{5, {PR_BATCH, 2, 3, 2, 3}}}, "n", .attrs = {.perm = {{0, 2, 1, 3, 4}}}},
    {"transpose of rank 3", PR_OP_TRANSPOSE, {{3, {PR_BATCH, 4, 3}}}, "n", .attrs = {.perm = {{0, 2, 1}}}},
    {"pad", PR_OP_PAD, {IMAGE(2, 3, 4)}, "n", .attrs = {.pad = {{0, 0, 1, 0}, {0, 0, 2, 3}, 0.5f}}},
    {"pad channels, crop rows", PR_OP_PAD, {IMAGE(2, 5, 3)}, "n", .attrs = {.pad = {{0, 2, -1, 1}, {0, 1, -2, -2}, -1}}},
    {"pad, nothing of the input left in view", PR_OP_PAD, {ROWS(4)}, "n", .attrs = {.pad = {{0, 3}, {0, -5}, 0.5f}}},
    {"slice of rank 3", PR_OP_PAD, {{3, {PR_BATCH, 4, 5}}}, "n", .attrs = {.pad = {{0, -1, -2}, {0, -1, 0}, 0}}},
    {"concat of channels", PR_OP_CONCAT, {IMAGE(2, 3, 2), IMAGE(1, 3, 2), IMAGE(3, 3, 2)}, "nnn", .attrs = {.axis = {1}}},
    {"concat of rows", PR_OP_CONCAT, {IMAGE(2, 3, 2), IMAGE(2, 1, 2)}, "nn", .attrs = {.axis = {2}}},
    {"concat of columns of five", PR_OP_CONCAT, {IMAGE(2, 2, 1), IMAGE(2, 2, 2), IMAGE(2, 2, 1), IMAGE(2, 2, 3), IMAGE(2, 2, 1)},
     "nnnnn", .attrs = {.axis = {3}}},
    {"concat of one", PR_OP_CONCAT, {ROWS(4)}, "n", .attrs = {.axis = {1}}},
    {"concat with a constant", PR_OP_CONCAT, {{2, {1, 4}}, {3, {PR_BATCH, 3, 4}}}, "nn", .attrs = {.axis = {1}}},
    {"gather channels", PR_OP_GATHER, {IMAGE(4, 3, 2), VECTOR(5)}, "ni", .constants = 2, .attrs = {.gather = {1, 4}}},
    {"gather columns", PR_OP_GATHER, {IMAGE(2, 3, 4), VECTOR(7)}, "ni", .constants = 2, .attrs = {.gather = {3, 4}}},
    {"gather of rows", PR_OP_GATHER, {ROWS(6), VECTOR(3)}, "ni", .constants = 2, .attrs = {.gather = {1, 6}}},
    {"identity", PR_OP_IDENTITY, {ROWS(5)}, "n"},
    {"dropout", PR_OP_DROPOUT, {ROWS(5)}, "n", .attrs = {.dropout = {0.5f, 1}}},
    {"channel affine", PR_OP_CHANNEL_AFFINE, {IMAGE(3, 2, 4), VECTOR(3), VECTOR(3)}, "nnn", .constants = 6},

    /* ---- arithmetic --------------------------------------------------------------------------------------------- */
    MAP_CASE("abs", "a", ABS, 0),
    MAP_CASE("exp", "n", EXP, 0),
    MAP_CASE("log", "p", LOG, 0),
    MAP_CASE("sqrt", "p", SQRT, 0),
    MAP_CASE("reciprocal", "p", RECIPROCAL, 0),
    MAP_CASE("erf", "n", ERF, 0),
    MAP_CASE("elu", "a", ELU, 0.7f),
    MAP_CASE("selu", "a", SELU, 1.67f, 0, 1.05f),
    MAP_CASE("celu", "a", CELU, 2),
    MAP_CASE("thresholded relu", "a", THRESHOLDED_RELU, 0.1f),
    MAP_CASE("hard sigmoid", "n", HARD_SIGMOID, 0.2f, 0.5f),
    MAP_CASE("hard swish", "n", HARD_SWISH, 0),
    MAP_CASE("softplus", "n", SOFTPLUS, 0),
    MAP_CASE("softsign", "a", SOFTSIGN, 0),
    MAP_CASE("gelu", "n", GELU, 0),
    MAP_CASE("gelu, tanh", "n", GELU_TANH, 0),
    MAP_CASE("swish", "n", SWISH, 1.5f),
    MAP_CASE("mish", "n", MISH, 0),
    MAP_CASE("clip", "a", CLIP, 0, 6),
    MAP_CASE("power", "p", POWER, 1.7f),
    STEPS_CASE("floor", FLOOR),
    STEPS_CASE("ceil", CEIL),
    STEPS_CASE("round", ROUND),
    STEPS_CASE("sign", SIGN),
    STEPS_CASE("not", NOT),
    {"quantize", PR_OP_MAP, {ROWS(9)}, "n", .kinks = true, .attrs = {.map = {PR_MAP_QUANTIZE, {-1, 2, 0}}}},
    BINARY_CASE("pow", POW, IMAGE(2, 3, 4), CHANNELS(2), "pn"),
    BINARY_CASE("min", MIN, ROWS(6), ROWS(6), "ta"),
    BINARY_CASE("max with a row", MAX, IMAGE(2, 3, 4), VECTOR(4), "tn"),
    BINARY_CASE("prelu", PRELU, IMAGE(2, 3, 4), CHANNELS(2), "ap"),
    COMPARISON_CASE("equal", EQUAL, ROWS(9), ROWS(9)),
    COMPARISON_CASE("greater", GREATER, ROWS(9), ROWS(9)),
    COMPARISON_CASE("less or equal", LESS_OR_EQUAL, IMAGE(2, 3, 4), VECTOR(4)),
    COMPARISON_CASE("and", AND, ROWS(9), VECTOR(9)),
    {"where", PR_OP_WHERE, {IMAGE(2, 3, 4), IMAGE(2, 3, 4), VECTOR(4)}, "tnn", .constants = 1},
    REDUCE_CASE("reduce sum over space", SUM, IMAGE(3, 4, 5), "n", 0xc),
    REDUCE_CASE("reduce mean of channels", MEAN, IMAGE(3, 4, 5), "n", 0x2),
    REDUCE_CASE("reduce mean of rows", MEAN, TOKENS(4, 6), "n", 0x4),
    REDUCE_CASE("reduce mean of tokens", MEAN, TOKENS(4, 6), "n", 0x2),
    REDUCE_CASE("reduce max", MAX, IMAGE(3, 4, 5), "d", 0xc),
    REDUCE_CASE("reduce min", MIN, IMAGE(3, 4, 5), "d", 0x6),
    REDUCE_CASE("reduce prod", PROD, ROWS(5), "a", 0x2),
    REDUCE_CASE("reduce l1", L1, ROWS(5), "a", 0x2),
    REDUCE_CASE("reduce l2", L2, IMAGE(3, 4, 5), "n", 0xa),
    REDUCE_CASE("reduce squares", SUM_SQUARE, ROWS(5), "n", 0x2),
    REDUCE_CASE("reduce log sum", LOG_SUM, ROWS(5), "p", 0x2),
    REDUCE_CASE("reduce log sum exp", LOG_SUM_EXP, ROWS(5), "n", 0x2),
    {"reduce max with ties", PR_OP_REDUCE, {IMAGE(3, 4, 5)}, "t", .kinks = true, .attrs = {.reduce = {PR_REDUCE_MAX, 0xc}}},
    {"arg max", PR_OP_ARG_MAX, {IMAGE(4, 3, 2)}, "n", .constants = 1, .attrs = {.axis = {1, false}}},
    {"matmul of a batch", PR_OP_MATMUL, {{3, {PR_BATCH, 3, 4}}, {3, {PR_BATCH, 4, 5}}}, "nn"},
    {"matmul, transposed", PR_OP_MATMUL, {IMAGE(2, 4, 3), IMAGE(2, 5, 4)}, "nn", .attrs = {.matmul = {{true, true}}}},
    {"matmul, keys transposed", PR_OP_MATMUL, {IMAGE(2, 5, 33), IMAGE(2, 7, 33)}, "nn", .attrs = {.matmul = {{false, true}}}},
    {"matmul by weights", PR_OP_MATMUL, {{3, {PR_BATCH, 5, 6}}, MATRIX(6, 8)}, "nn"},
    {"matmul by weights, transposed", PR_OP_MATMUL, {{3, {PR_BATCH, 5, 6}}, MATRIX(7, 6)}, "nn",
     .attrs = {.matmul = {{false, true}}}},
    {"matmul of weights", PR_OP_MATMUL, {MATRIX(4, 3), IMAGE(2, 3, 5)}, "nn"},
    {"matmul with broadcast", PR_OP_MATMUL, {IMAGE(2, 3, 4), IMAGE(1, 4, 3)}, "nn"},
    {"normalize rows", PR_OP_NORMALIZE, {{3, {PR_BATCH, 3, 7}}}, "n", .attrs = {.norm = {2, 1e-2f}}},
    {"normalize planes", PR_OP_NORMALIZE, {IMAGE(3, 4, 5)}, "n", .attrs = {.norm = {2, 1e-3f}}},
    {"lrn", PR_OP_LRN, {IMAGE(7, 2, 3)}, "n", .attrs = {.lrn = {5, 0.3f, 0.75f, 1}}},
    {"lrn, even", PR_OP_LRN, {IMAGE(5, 2, 3)}, "n", .attrs = {.lrn = {4, 0.3f, 0.5f, 2}}},
    {"softmax of rank 4", PR_OP_SOFTMAX, {IMAGE(2, 3, 33)}, "n", .attrs = {.axis = {-1, false}}},

    /* ---- training forms ----------------------------------------------------------------------------------------- */
    {"batch norm, training", PR_OP_BATCH_NORM_TRAIN, {IMAGE(3, 3, 2), VECTOR(3), VECTOR(3)}, "nnn",
     .attrs = {.bn = {1e-3f, 0.9f}}},
    {"batch norm of rows, training", PR_OP_BATCH_NORM_TRAIN, {ROWS(5), VECTOR(5), VECTOR(5)}, "nnn",
     .attrs = {.bn = {1e-2f, 0.9f}}},
    {"dropout, training", PR_OP_DROPOUT_TRAIN, {IMAGE(3, 5, 3)}, "n", .attrs = {.dropout = {0.4f, 3}}},

    /* ---- backward ----------------------------------------------------------------------------------------------- */
    {"gradient of conv, input", PR_OP_CONV_GRAD_X, {IMAGE(4, 4, 3), KERNEL(4, 1, 3, 2)}, "nn",
     .attrs = CONV_ATTRS(2, 2, 2, 1, 2, 1, 1, 1, 0, 3, 2, 7, 6)},
    {"gradient of conv, weights", PR_OP_CONV_GRAD_W, {IMAGE(2, 7, 6), IMAGE(4, 4, 3)}, "nn", .outputs = 1,
     .attrs = CONV_ATTRS(2, 2, 2, 1, 2, 1, 1, 1, 0, 3, 2, 7, 6)},
    {"gradient of conv, weights and bias", PR_OP_CONV_GRAD_W, {IMAGE(3, 5, 5), IMAGE(4, 5, 5)}, "nn",
     .attrs = CONV_ATTRS(1, 1, 1, 1, 1, 1, 1, 1, 1, 3, 3, 5, 5)},
    {"gradient of gemm, input", PR_OP_GEMM_GRAD_X, {ROWS(4), MATRIX(4, 12)}, "nn",
     .attrs = {.shape = {IMAGE(3, 2, 2)}}},
    {"gradient of gemm, weights", PR_OP_GEMM_GRAD_W, {ROWS(6), ROWS(4)}, "nn", .outputs = 1},
    {"gradient of gemm, weights and bias", PR_OP_GEMM_GRAD_W, {IMAGE(3, 2, 2), ROWS(4)}, "nn"},
    {"gradient of batch norm", PR_OP_BATCH_NORM_GRAD_X, {IMAGE(3, 4, 2), VECTOR(3), VECTOR(3)}, "nnp", .constants = 6,
     .attrs = {.bn = {1e-3f, 0.9f}}},
    {"gradient of batch norm, training", PR_OP_BATCH_NORM_TRAIN_GRAD,
     {IMAGE(3, 4, 2), IMAGE(3, 4, 2), VECTOR(3), VECTOR(3), VECTOR(3)}, "nnnnp",
     .no_gradient = true, .attrs = {.bn = {1e-3f, 0.9f}}},
    {"gradient of relu", PR_OP_RELU_GRAD, {IMAGE(2, 3, 4), IMAGE(2, 3, 4)}, "an"},
    {"gradient of leaky relu", PR_OP_LEAKY_RELU_GRAD, {IMAGE(2, 3, 4), IMAGE(2, 3, 4)}, "an",
     .attrs = {.alpha = {0.1f}}},
    {"gradient of sigmoid", PR_OP_SIGMOID_GRAD, {ROWS(9), ROWS(9)}, "pn", .no_gradient = true},
    {"gradient of tanh", PR_OP_TANH_GRAD, {ROWS(9), ROWS(9)}, "nn", .no_gradient = true},
    {"gradient of softmax", PR_OP_SOFTMAX_GRAD, {ROWS(7), ROWS(7)}, "pn", .no_gradient = true, .attrs = {.axis = {-1}}},
    {"gradient of log softmax", PR_OP_LOG_SOFTMAX_GRAD, {ROWS(7), ROWS(7)}, "nn", .no_gradient = true,
     .attrs = {.axis = {-1}}},
    {"gradient of max pool", PR_OP_MAX_POOL_GRAD, {IMAGE(2, 7, 7), IMAGE(2, 4, 4)}, "tn", .no_gradient = true,
     .attrs = POOL_ATTRS(3, 3, 2, 2, 1, 1, 1, 1, 1, 1, false, false, 0, 0)},
    {"gradient of average pool", PR_OP_AVERAGE_POOL_GRAD, {IMAGE(2, 3, 4)}, "n",
     .attrs = POOL_ATTRS(3, 3, 2, 2, 1, 1, 1, 0, 1, 2, false, false, 6, 7)},
    {"gradient of average pool, pads counted", PR_OP_AVERAGE_POOL_GRAD, {IMAGE(2, 3, 4)}, "n",
     .attrs = POOL_ATTRS(3, 3, 2, 2, 1, 1, 1, 0, 1, 2, true, false, 6, 7)},
    {"gradient of global average pool", PR_OP_GLOBAL_AVERAGE_POOL_GRAD, {IMAGE(4, 1, 1)}, "n",
     .attrs = {.pool = {.in_h = 3, .in_w = 5}}},
    {"gradient of gather", PR_OP_GATHER_GRAD, {IMAGE(5, 2, 3), VECTOR(5)}, "ni", .constants = 2, .attrs = {.gather = {1, 3}}},
    {"gradient of dropout", PR_OP_DROPOUT_TRAIN_GRAD, {IMAGE(3, 5, 3)}, "n", .attrs = {.dropout = {0.4f, 3}}},
    {"gradient of channel affine", PR_OP_CHANNEL_AFFINE_GRAD_X, {IMAGE(3, 2, 4), VECTOR(3)}, "nn", .constants = 2},
    MAP_GRAD_CASE("gradient of gelu", "nn", GELU, 0),
    MAP_GRAD_CASE("gradient of clip", "nn", CLIP, -1, 1),
    MAP_GRAD_CASE("gradient of clip at its bounds", "tn", CLIP, 0, 1),
    MAP_GRAD_CASE("gradient of abs at its kink", "tn", ABS, 0),
    MAP_GRAD_CASE("gradient of elu", "nn", ELU, 1),
    MAP_GRAD_CASE("gradient of hard swish", "nn", HARD_SWISH, 0),
    MAP_GRAD_CASE("gradient of swish", "nn", SWISH, 1),
    MAP_GRAD_CASE("gradient of softplus", "nn", SOFTPLUS, 0),
    {"gradient of max", PR_OP_BINARY_GRAD, {ROWS(6), ROWS(6), ROWS(6)}, "ttn", .no_gradient = true,
     .attrs = {.binary = {PR_BINARY_MAX, 1}}},
    {"gradient of prelu", PR_OP_BINARY_GRAD, {IMAGE(2, 3, 4), CHANNELS(2), IMAGE(2, 3, 4)}, "npn", .no_gradient = true,
     .attrs = {.binary = {PR_BINARY_PRELU, 0}}},
    {"gradient of reduce mean", PR_OP_REDUCE_GRAD, {IMAGE(3, 4, 5), IMAGE(3, 1, 1), IMAGE(3, 1, 1)}, "nnn", .no_gradient = true,
     .attrs = {.reduce = {PR_REDUCE_MEAN, 0xc}}},
    {"gradient of reduce mean of tokens", PR_OP_REDUCE_GRAD, {TOKENS(4, 6), TOKENS(1, 6), TOKENS(1, 6)}, "nnn", .no_gradient = true,
     .attrs = {.reduce = {PR_REDUCE_MEAN, 0x2}}},
    {"gradient of reduce max", PR_OP_REDUCE_GRAD, {TOKENS(4, 6), TOKENS(4, 1), TOKENS(4, 1)}, "ttn", .no_gradient = true,
     .attrs = {.reduce = {PR_REDUCE_MAX, 0x4}}},
    {"gradient of normalize", PR_OP_NORMALIZE_GRAD, {TOKENS(4, 7), TOKENS(4, 7)}, "nn", .no_gradient = true,
     .attrs = {.norm = {2, 1e-2f}}},
    {"gradient of lrn", PR_OP_LRN_GRAD, {IMAGE(7, 2, 3), IMAGE(7, 2, 3)}, "nn", .no_gradient = true,
     .attrs = {.lrn = {5, 0.3f, 0.75f, 1}}},
    {"reduce to a channel vector", PR_OP_REDUCE_TO, {IMAGE(2, 3, 4)}, "n", .no_gradient = true,
     .attrs = {.shape = {{3, {2, 1, 1}}}}},
    {"reduce to a gate of one pixel's image", PR_OP_REDUCE_TO, {IMAGE(5, 1, 1)}, "n", .no_gradient = true,
     .attrs = {.shape = {IMAGE(5, 1, 1)}}},
    {"reduce to a gate", PR_OP_REDUCE_TO, {IMAGE(2, 3, 4)}, "n", .no_gradient = true,
     .attrs = {.shape = {IMAGE(2, 1, 1)}}},
};

/* A graph of that one node, its inputs and outputs; weights (zeroed) are added to `weights`. */
static inline parry_status op_case_build(parry_ctx *ctx, const op_case *c, pr_graph *graph, pr_weights *weights,
                                         int *inputs, pr_value in[PR_NODE_IN], pr_value out[PR_NODE_OUT])
{
    static const char *const names[PR_NODE_IN] = {"in0", "in1", "in2", "in3", "in4"};
    for (*inputs = 0; *inputs < PR_NODE_IN && c->in[*inputs].rank > 0; ++*inputs) {
        int i = *inputs;
        int32_t weight;
        if (c->in[i].dim[0] == PR_BATCH) {
            TRY(pr_graph_input(ctx, graph, names[i], c->in[i], &in[i]));
        } else {
            TRY(pr_weights_add(ctx, weights, names[i], PR_WEIGHT_KERNEL, c->in[i].rank, c->in[i].dim, &weight));
            TRY(pr_graph_weight(ctx, graph, weights, weight, &in[i]));
        }
    }
    for (int o = 0; o < PR_NODE_OUT; o++)
        out[o] = -1;
    if (c->outputs)
        return pr_graph_node_outputs(ctx, graph, c->op, c->name, &c->attrs, in, *inputs, c->outputs, out);
    return pr_graph_node(ctx, graph, c->op, c->name, &c->attrs, in, *inputs, out);
}

/* Data of input `input`: a pure function of (case, input, seed). */
static inline void op_case_fill(const op_case *c, int input, uint64_t seed, float *data, int64_t count)
{
    pr_rng rng = pr_rng_init(seed, PR_STREAM_TEST, (uint64_t)input);
    for (int64_t e = 0; e < count; e++) {
        float z = pr_rng_normal(&rng);
        switch (c->fill[input]) {
        case 'p': data[e] = 0.5f + 1.5f * fabsf(z) / (1 + fabsf(z)); break;
        case 'a': data[e] = z + (z < 0 ? -0.2f : 0.2f); break;
        case 'd': data[e] = 0.1f * (float)(e * 7919 % 1009) - 50; break;
        case 'i': data[e] = (float)pr_rng_below(&rng, (uint32_t)c->attrs.gather.size); break;
        case 't': data[e] = 0.5f * (float)pr_rng_below(&rng, 3); break;
        default: data[e] = z;
        }
    }
}

#endif
