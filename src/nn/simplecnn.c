/* SimpleCNN: the small convolutional network of the adversarial-images tutorial.
 *
 *   conv 3x3x32 stride 2 -> ReLU -> batch norm -> conv 3x3x64 stride 2 -> ReLU -> batch norm -> flatten
 *   -> dense 128 -> ReLU -> batch norm -> dropout 0.5 -> dense classes = logits
 *
 * Convolutions pad as TensorFlow's "same": out = ceil(in / stride), and of the padding that this takes the smaller half
 * comes first, so an even size is padded by 0 before and 1 after. Batch norm has Keras' constants, eps 1e-3 and
 * momentum 0.99. */
#include "nn/builders.h"
#include "nn/chain.h"

enum { KERNEL = 3, STRIDE = 2 };

/* TensorFlow's "same" along one axis. */
static void same_padding(int64_t in, int *before, int *after)
{
    int64_t out = (in + STRIDE - 1) / STRIDE;
    int total = (int)PR_MAX((out - 1) * STRIDE + KERNEL - in, 0);
    *before = total / 2;
    *after = total - total / 2;
}

static parry_status conv(pr_chain *c, const char *name, int64_t filters)
{
    pr_dims in = c->graph->values[c->at].dims;
    pr_attrs attrs = {.conv = {.group = 1, .stride = {STRIDE, STRIDE}, .dilation = {1, 1}, .kernel = {KERNEL, KERNEL}}};
    same_padding(in.dim[2], &attrs.conv.pad[0], &attrs.conv.pad[2]);
    same_padding(in.dim[3], &attrs.conv.pad[1], &attrs.conv.pad[3]);
    return pr_chain_conv(c, name, filters, &attrs, true);
}

static parry_status batch_norm(pr_chain *c, const char *name)
{
    static const char *const parts[4] = {"scale", "shift", "mean", "var"};
    return pr_chain_batch_norm(c, name, parts, 1e-3f, 0.99f);
}

static parry_status build(parry_ctx *ctx, pr_graph *graph, pr_weights *weights, int channels, int height, int width,
                          int classes)
{
    static const pr_image_limits limits = {.name = "simplecnn", .side_min = 4, .side_max = 4096};
    pr_chain c = {.ctx = ctx, .graph = graph, .weights = weights};
    TRY(pr_chain_begin(&c, &limits, channels, height, width, classes));
    TRY(conv(&c, "conv1", 32));
    TRY(pr_chain_relu(&c, "relu1"));
    TRY(batch_norm(&c, "bn1"));
    TRY(conv(&c, "conv2", 64));
    TRY(pr_chain_relu(&c, "relu2"));
    TRY(batch_norm(&c, "bn2"));
    TRY(pr_chain_flatten(&c, "flatten"));
    TRY(pr_chain_dense(&c, "dense1", 128));
    TRY(pr_chain_relu(&c, "relu3"));
    TRY(batch_norm(&c, "bn3"));
    return pr_chain_end(&c, 0.5f, "logits", classes);
}

const pr_arch pr_arch_simplecnn = {
    .name = "simplecnn",
    .summary = "two strided convolutions and two dense layers, with batch norm and dropout",
    .side = 28,
    .build = build,
    .initialise = pr_initialise,
};
