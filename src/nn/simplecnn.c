/* SimpleCNN: the small convolutional network of the adversarial-images tutorial.
 *
 *   conv 3x3x32 stride 2 -> ReLU -> batch norm -> conv 3x3x64 stride 2 -> ReLU -> batch norm -> flatten
 *   -> dense 128 -> ReLU -> batch norm -> dropout 0.5 -> dense classes = logits
 *
 * Convolutions pad as TensorFlow's "same": out = ceil(in / stride), and of the padding that this takes the smaller half
 * comes first, so an even size is padded by 0 before and 1 after. Batch norm has Keras' constants, eps 1e-3 and
 * momentum 0.99. */
#include <stdio.h>

#include "nn/builders.h"

enum { KERNEL = 3, STRIDE = 2, SIDE_MIN = 4, SIDE_MAX = 4096, CLASSES_MAX = 1 << 20 };

/* What every step of the chain needs: `at` is the value built so far. */
typedef struct chain {
    parry_ctx *ctx;
    pr_graph *graph;
    pr_weights *weights;
    pr_value at;
} chain;

static parry_status add_weight(chain *c, const char *layer, const char *part, pr_weight_role role, int rank,
                               const int64_t *dim, pr_value *out)
{
    char name[64];
    int32_t index;
    snprintf(name, sizeof name, "%s.%s", layer, part);
    TRY(pr_weights_add(c->ctx, c->weights, name, role, rank, dim, &index));
    return pr_graph_weight(c->ctx, c->graph, c->weights, index, out);
}

static parry_status add_node(chain *c, pr_op op, const char *name, const pr_attrs *attrs, const pr_value *params,
                             int param_count)
{
    pr_value in[PR_NODE_IN] = {c->at};
    for (int i = 0; i < param_count; i++)
        in[1 + i] = params[i];
    return pr_graph_node(c->ctx, c->graph, op, name, attrs, in, 1 + param_count, &c->at);
}

static int64_t channels_at(const chain *c)
{
    return c->graph->values[c->at].dims.dim[1];
}

/* TensorFlow's "same" along one axis. */
static void same_padding(int64_t in, int *before, int *after)
{
    int64_t out = (in + STRIDE - 1) / STRIDE;
    int total = (int)PR_MAX((out - 1) * STRIDE + KERNEL - in, 0);
    *before = total / 2;
    *after = total - total / 2;
}

static parry_status conv(chain *c, const char *name, int64_t filters)
{
    pr_dims in = c->graph->values[c->at].dims;
    pr_attrs attrs = {.conv = {.group = 1, .stride = {STRIDE, STRIDE}, .dilation = {1, 1}, .kernel = {KERNEL, KERNEL}}};
    same_padding(in.dim[2], &attrs.conv.pad[0], &attrs.conv.pad[2]);
    same_padding(in.dim[3], &attrs.conv.pad[1], &attrs.conv.pad[3]);
    pr_value params[2];
    TRY(add_weight(c, name, "weight", PR_WEIGHT_KERNEL, 4, (int64_t[]){filters, in.dim[1], KERNEL, KERNEL},
                   &params[0]));
    TRY(add_weight(c, name, "bias", PR_WEIGHT_VECTOR, 1, &filters, &params[1]));
    return add_node(c, PR_OP_CONV, name, &attrs, params, 2);
}

static parry_status dense(chain *c, const char *name, int64_t units)
{
    pr_value params[2];
    TRY(add_weight(c, name, "weight", PR_WEIGHT_KERNEL, 2, (int64_t[]){units, channels_at(c)}, &params[0]));
    TRY(add_weight(c, name, "bias", PR_WEIGHT_VECTOR, 1, &units, &params[1]));
    return add_node(c, PR_OP_GEMM, name, NULL, params, 2);
}

static parry_status batch_norm(chain *c, const char *name)
{
    static const char *const parts[] = {"scale", "shift", "mean", "var"};
    const int64_t channels = channels_at(c);
    const pr_attrs attrs = {.bn = {.eps = 1e-3f, .momentum = 0.99f}};
    pr_value params[4];
    for (int i = 0; i < 4; i++)
        TRY(add_weight(c, name, parts[i], i < 2 ? PR_WEIGHT_VECTOR : PR_WEIGHT_STATISTIC, 1, &channels, &params[i]));
    return add_node(c, PR_OP_BATCH_NORM, name, &attrs, params, 4);
}

static parry_status flatten(chain *c, const char *name)
{
    pr_attrs attrs = {.shape = {.to = {.rank = 2, .dim = {PR_BATCH, pr_dims_row(c->graph->values[c->at].dims)}}}};
    return add_node(c, PR_OP_RESHAPE, name, &attrs, NULL, 0);
}

static parry_status build(parry_ctx *ctx, pr_graph *graph, pr_weights *weights, int channels, int height, int width,
                          int classes)
{
    if ((channels != 1 && channels != 3) || PR_MIN(height, width) < SIDE_MIN || PR_MAX(height, width) > SIDE_MAX)
        return pr_fail(ctx, PARRY_INVALID,
                       "simplecnn takes images of 1 or 3 channels, %d to %d pixels high and wide, not %d x %d x %d",
                       SIDE_MIN, SIDE_MAX, channels, height, width);
    if (classes < 2 || classes > CLASSES_MAX)
        return pr_fail(ctx, PARRY_INVALID, "simplecnn takes 2 to %d classes, not %d", CLASSES_MAX, classes);

    chain c = {.ctx = ctx, .graph = graph, .weights = weights};
    const pr_attrs dropout = {.dropout = {.ratio = 0.5f, .stream = 0}};
    TRY(pr_graph_input(ctx, graph, "image", pr_dims_make(4, (int64_t[]){PR_BATCH, channels, height, width}),
                       &graph->input));
    c.at = graph->input;
    TRY(conv(&c, "conv1", 32));
    TRY(add_node(&c, PR_OP_RELU, "relu1", NULL, NULL, 0));
    TRY(batch_norm(&c, "bn1"));
    TRY(conv(&c, "conv2", 64));
    TRY(add_node(&c, PR_OP_RELU, "relu2", NULL, NULL, 0));
    TRY(batch_norm(&c, "bn2"));
    TRY(flatten(&c, "flatten"));
    TRY(dense(&c, "dense1", 128));
    TRY(add_node(&c, PR_OP_RELU, "relu3", NULL, NULL, 0));
    TRY(batch_norm(&c, "bn3"));
    TRY(add_node(&c, PR_OP_DROPOUT, "dropout", &dropout, NULL, 0));
    TRY(dense(&c, "logits", classes));
    graph->logits = c.at;
    return PARRY_OK;
}

const pr_arch pr_arch_simplecnn = {
    .name = "simplecnn",
    .summary = "two strided convolutions and two dense layers, with batch norm and dropout",
    .build = build,
};
