/* Residual networks.
 *
 * He, Zhang, Ren, Sun, "Deep residual learning for image recognition", CVPR 2016. ResNet-18, 34 and 50 have the layers,
 * names and strides of torchvision (a bottleneck's stride is at its 3 x 3 convolution), so that weights exported from
 * there load by name. ResNet-20 is the paper's section 4.2 network for 32 x 32 images, with convolutions in the
 * shortcuts where sizes change (the paper's option B).
 *
 * Kernels are drawn from N(0, 2 / fan_out) (He et al., "Delving deep into rectifiers", ICCV 2015, section 2.2, backward
 * case), as torchvision does; the last layer from U(-l, l) with l = 1 / sqrt(fan_in). */
#include <math.h>

#include "nn/builders.h"
#include "nn/chain.h"

enum { STAGES_MAX = 4, EXPANSION = 4 /* of a bottleneck */ };

typedef struct resnet_shape {
    const char *name;
    bool bottleneck, small; /* small: a 3 x 3 stem without pooling, for small images */
    int width, stages, blocks[STAGES_MAX];
} resnet_shape;

static void he_normal(pr_weight *weight, uint64_t seed, int32_t index)
{
    const double fan_out = (double)(weight->dim[0] * weight->dim[2] * weight->dim[3]);
    pr_draw_normal(weight, seed, index, sqrt(2 / fan_out));
}

static void fan_in_uniform(pr_weight *weight, uint64_t seed, int32_t index)
{
    pr_draw_uniform(weight, seed, index, (float)(1 / sqrt((double)weight->dim[1])));
}

static void initialise(const pr_graph *graph, pr_weights *weights, uint64_t seed)
{
    pr_initialise_with(graph, weights, seed, he_normal, fan_in_uniform);
}

static parry_status conv_norm(pr_chain *c, const char *conv, const char *norm, int64_t filters, int kernel, int stride)
{
    const pr_attrs attrs = pr_torch_conv(kernel, kernel, stride, kernel / 2, kernel / 2);
    TRY(pr_chain_conv(c, conv, filters, &attrs, false));
    return pr_chain_batch_norm(c, norm, pr_torch_norm_parts, 1e-5f, 0.9f);
}

static parry_status branch(pr_chain *c, bool bottleneck, int64_t width, int stride)
{
    TRY(conv_norm(c, "conv1", "bn1", width, bottleneck ? 1 : 3, bottleneck ? 1 : stride));
    TRY(pr_chain_relu(c, "relu1"));
    TRY(conv_norm(c, "conv2", "bn2", width, 3, bottleneck ? stride : 1));
    if (!bottleneck)
        return PARRY_OK;
    TRY(pr_chain_relu(c, "relu2"));
    return conv_norm(c, "conv3", "bn3", width * EXPANSION, 1, 1);
}

/* relu(branch(x) + shortcut(x)) */
static parry_status block(pr_chain *c, bool bottleneck, int64_t width, int stride)
{
    pr_chain shortcut = *c;
    TRY(branch(c, bottleneck, width, stride));
    const int64_t out = pr_chain_channels(c);
    if (stride != 1 || pr_chain_channels(&shortcut) != out)
        TRY(conv_norm(&shortcut, "downsample.0", "downsample.1", out, 1, stride));
    TRY(pr_chain_node(c, PR_OP_ADD, "add", NULL, &shortcut.at, 1));
    return pr_chain_relu(c, "relu");
}

static parry_status stem(pr_chain *c, const resnet_shape *shape)
{
    const pr_attrs pool = pr_torch_pool(3, 2, 1);
    TRY(conv_norm(c, "conv1", "bn1", shape->width, shape->small ? 3 : 7, shape->small ? 1 : 2));
    TRY(pr_chain_relu(c, "relu"));
    return shape->small ? PARRY_OK : pr_chain_node(c, PR_OP_MAX_POOL, "maxpool", &pool, NULL, 0);
}

static parry_status build(parry_ctx *ctx, const resnet_shape *shape, pr_graph *graph, pr_weights *weights, int channels,
                          int height, int width, int classes)
{
    pr_chain c = {.ctx = ctx, .graph = graph, .weights = weights};
    const pr_image_limits limits = {shape->name, 8, 4096};
    TRY(pr_chain_begin(&c, &limits, channels, height, width, classes));
    TRY(stem(&c, shape));
    for (int s = 0; s < shape->stages; s++) {
        for (int b = 0; b < shape->blocks[s]; b++) {
            TRY(pr_chain_scope(&c, "layer%d.%d.", s + 1, b));
            TRY(block(&c, shape->bottleneck, (int64_t)shape->width << s, s > 0 && b == 0 ? 2 : 1));
        }
    }
    TRY(pr_chain_average(&c));
    return pr_chain_end(&c, 0, "fc", classes);
}

/* ---- the family ------------------------------------------------------------------------------------------------ */

#define RESNET(number, pixels, what, ...)                                                                              \
    static const resnet_shape shape##number = {.name = "resnet" #number, __VA_ARGS__};                                 \
    static parry_status build##number(parry_ctx *ctx, pr_graph *graph, pr_weights *weights, int channels, int height,  \
                                      int width, int classes)                                                          \
    {                                                                                                                  \
        return build(ctx, &shape##number, graph, weights, channels, height, width, classes);                           \
    }                                                                                                                  \
    const pr_arch pr_arch_resnet##number = {                                                                           \
        .name = "resnet" #number, .summary = what, .side = pixels, .build = build##number, .initialise = initialise};

RESNET(18, 224, "ResNet-18 with torchvision's layer names", .width = 64, .stages = 4, .blocks = {2, 2, 2, 2})
RESNET(20, 32, "ResNet-20 for small images such as CIFAR's", .small = true, .width = 16, .stages = 3,
       .blocks = {3, 3, 3})
RESNET(34, 224, "ResNet-34 with torchvision's layer names", .width = 64, .stages = 4, .blocks = {3, 4, 6, 3})
RESNET(50, 224, "ResNet-50 with torchvision's layer names", .bottleneck = true, .width = 64, .stages = 4,
       .blocks = {3, 4, 6, 3})
