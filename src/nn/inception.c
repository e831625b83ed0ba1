/* Inception-V3.
 *
 * Szegedy, Vanhoucke, Ioffe, Shlens, Wojna, "Rethinking the Inception architecture for computer vision", CVPR 2016,
 * table 1, with the layers and names of torchvision, so that weights exported from there load by name. The auxiliary
 * head, which takes part in training alone, is left out. Kernels are drawn from N(0, 0.1^2), as torchvision does. */
#include "nn/builders.h"
#include "nn/chain.h"

enum { BRANCHES_MAX = 4 };

static void normal(pr_weight *weight, uint64_t seed, int32_t index)
{
    pr_draw_normal(weight, seed, index, 0.1f);
}

static void initialise(const pr_graph *graph, pr_weights *weights, uint64_t seed)
{
    pr_initialise_with(graph, weights, seed, normal, normal);
}

/* ---- layers ---------------------------------------------------------------------------------------------------- */

/* A convolution with its batch norm and ReLU. */
typedef struct layer {
    const char *conv, *norm;
    int filters, kernel_h, kernel_w, stride;
    bool same; /* padded so that stride 1 keeps the size */
} layer;

#define LAYER(name, filters, ...)                                                                                      \
    {                                                                                                                  \
        name ".conv", name ".bn", filters, __VA_ARGS__                                                                 \
    }

static parry_status add_layer(pr_chain *c, const layer *l)
{
    const pr_attrs attrs = pr_torch_conv(l->kernel_h, l->kernel_w, l->stride, l->same ? l->kernel_h / 2 : 0,
                                         l->same ? l->kernel_w / 2 : 0);
    TRY(pr_chain_conv(c, l->conv, l->filters, &attrs, false));
    TRY(pr_chain_batch_norm(c, l->norm, pr_torch_norm_parts, 1e-3f, 0.9f));
    return pr_chain_relu(c, l->norm);
}

static parry_status add_layers(pr_chain *c, const layer *layers, size_t count)
{
    for (size_t i = 0; i < count; i++)
        TRY(add_layer(c, &layers[i]));
    return PARRY_OK;
}

#define ADD(c, ...) add_layers(c, (const layer[]){__VA_ARGS__}, PR_COUNT(((const layer[]){__VA_ARGS__})))

static parry_status average_pool(pr_chain *c)
{
    pr_attrs attrs = pr_torch_pool(3, 1, 1);
    attrs.pool.count_pad = true;
    return pr_chain_node(c, PR_OP_AVERAGE_POOL, "branch_pool.pool", &attrs, NULL, 0);
}

static parry_status max_pool(pr_chain *c, const char *name)
{
    const pr_attrs attrs = pr_torch_pool(3, 2, 0);
    return pr_chain_node(c, PR_OP_MAX_POOL, name, &attrs, NULL, 0);
}

/* c becomes the channels of all branches, one behind the other. */
static parry_status join(pr_chain *c, const char *name, const pr_chain *branch, int count)
{
    pr_value others[BRANCHES_MAX];
    const pr_attrs attrs = {.axis = {.axis = 1}};
    for (int b = 1; b < count; b++)
        others[b - 1] = branch[b].at;
    c->at = branch[0].at;
    return pr_chain_node(c, PR_OP_CONCAT, name, &attrs, others, count - 1);
}

/* ---- blocks, by torchvision's letters -------------------------------------------------------------------------- */

static parry_status block_a(pr_chain *c, int pool_filters)
{
    pr_chain b[4] = {*c, *c, *c, *c};
    TRY(ADD(&b[0], LAYER("branch1x1", 64, 1, 1, 1, true)));
    TRY(ADD(&b[1], LAYER("branch5x5_1", 48, 1, 1, 1, true), LAYER("branch5x5_2", 64, 5, 5, 1, true)));
    TRY(ADD(&b[2], LAYER("branch3x3dbl_1", 64, 1, 1, 1, true), LAYER("branch3x3dbl_2", 96, 3, 3, 1, true),
            LAYER("branch3x3dbl_3", 96, 3, 3, 1, true)));
    TRY(average_pool(&b[3]));
    TRY(ADD(&b[3], LAYER("branch_pool", pool_filters, 1, 1, 1, true)));
    return join(c, "concat", b, 4);
}

static parry_status block_b(pr_chain *c, int unused)
{
    pr_chain b[3] = {*c, *c, *c};
    (void)unused;
    TRY(ADD(&b[0], LAYER("branch3x3", 384, 3, 3, 2, false)));
    TRY(ADD(&b[1], LAYER("branch3x3dbl_1", 64, 1, 1, 1, true), LAYER("branch3x3dbl_2", 96, 3, 3, 1, true),
            LAYER("branch3x3dbl_3", 96, 3, 3, 2, false)));
    TRY(max_pool(&b[2], "branch_pool"));
    return join(c, "concat", b, 3);
}

static parry_status block_c(pr_chain *c, int width)
{
    pr_chain b[4] = {*c, *c, *c, *c};
    TRY(ADD(&b[0], LAYER("branch1x1", 192, 1, 1, 1, true)));
    TRY(ADD(&b[1], LAYER("branch7x7_1", width, 1, 1, 1, true), LAYER("branch7x7_2", width, 1, 7, 1, true),
            LAYER("branch7x7_3", 192, 7, 1, 1, true)));
    TRY(ADD(&b[2], LAYER("branch7x7dbl_1", width, 1, 1, 1, true), LAYER("branch7x7dbl_2", width, 7, 1, 1, true),
            LAYER("branch7x7dbl_3", width, 1, 7, 1, true), LAYER("branch7x7dbl_4", width, 7, 1, 1, true),
            LAYER("branch7x7dbl_5", 192, 1, 7, 1, true)));
    TRY(average_pool(&b[3]));
    TRY(ADD(&b[3], LAYER("branch_pool", 192, 1, 1, 1, true)));
    return join(c, "concat", b, 4);
}

static parry_status block_d(pr_chain *c, int unused)
{
    pr_chain b[3] = {*c, *c, *c};
    (void)unused;
    TRY(ADD(&b[0], LAYER("branch3x3_1", 192, 1, 1, 1, true), LAYER("branch3x3_2", 320, 3, 3, 2, false)));
    TRY(ADD(&b[1], LAYER("branch7x7x3_1", 192, 1, 1, 1, true), LAYER("branch7x7x3_2", 192, 1, 7, 1, true),
            LAYER("branch7x7x3_3", 192, 7, 1, 1, true), LAYER("branch7x7x3_4", 192, 3, 3, 2, false)));
    TRY(max_pool(&b[2], "branch_pool"));
    return join(c, "concat", b, 3);
}

/* A branch that ends in a row and a column kernel side by side. */
static parry_status row_and_column(pr_chain *c, const char *name, const layer *row, const layer *column)
{
    pr_chain sides[2] = {*c, *c};
    TRY(add_layer(&sides[0], row));
    TRY(add_layer(&sides[1], column));
    return join(c, name, sides, 2);
}

static parry_status block_e(pr_chain *c, int unused)
{
    static const layer row = LAYER("branch3x3_2a", 384, 1, 3, 1, true),
                       column = LAYER("branch3x3_2b", 384, 3, 1, 1, true),
                       double_row = LAYER("branch3x3dbl_3a", 384, 1, 3, 1, true),
                       double_column = LAYER("branch3x3dbl_3b", 384, 3, 1, 1, true);
    pr_chain b[4] = {*c, *c, *c, *c};
    (void)unused;
    TRY(ADD(&b[0], LAYER("branch1x1", 320, 1, 1, 1, true)));
    TRY(ADD(&b[1], LAYER("branch3x3_1", 384, 1, 1, 1, true)));
    TRY(row_and_column(&b[1], "branch3x3_concat", &row, &column));
    TRY(ADD(&b[2], LAYER("branch3x3dbl_1", 448, 1, 1, 1, true), LAYER("branch3x3dbl_2", 384, 3, 3, 1, true)));
    TRY(row_and_column(&b[2], "branch3x3dbl_concat", &double_row, &double_column));
    TRY(average_pool(&b[3]));
    TRY(ADD(&b[3], LAYER("branch_pool", 192, 1, 1, 1, true)));
    return join(c, "concat", b, 4);
}

/* ---- the network ----------------------------------------------------------------------------------------------- */

static const struct {
    const char *scope;
    parry_status (*build)(pr_chain *c, int width);
    int width;
} blocks[] = {{"Mixed_5b.", block_a, 32},  {"Mixed_5c.", block_a, 64},  {"Mixed_5d.", block_a, 64},
              {"Mixed_6a.", block_b, 0},   {"Mixed_6b.", block_c, 128}, {"Mixed_6c.", block_c, 160},
              {"Mixed_6d.", block_c, 160}, {"Mixed_6e.", block_c, 192}, {"Mixed_7a.", block_d, 0},
              {"Mixed_7b.", block_e, 0},   {"Mixed_7c.", block_e, 0}};

static parry_status stem(pr_chain *c)
{
    TRY(ADD(c, LAYER("Conv2d_1a_3x3", 32, 3, 3, 2, false), LAYER("Conv2d_2a_3x3", 32, 3, 3, 1, false),
            LAYER("Conv2d_2b_3x3", 64, 3, 3, 1, true)));
    TRY(max_pool(c, "maxpool1"));
    TRY(ADD(c, LAYER("Conv2d_3b_1x1", 80, 1, 1, 1, true), LAYER("Conv2d_4a_3x3", 192, 3, 3, 1, false)));
    return max_pool(c, "maxpool2");
}

static parry_status build(parry_ctx *ctx, pr_graph *graph, pr_weights *weights, int channels, int height, int width,
                          int classes)
{
    static const pr_image_limits limits = {.name = "inception_v3", .side_min = 75, .side_max = 4096};
    pr_chain c = {.ctx = ctx, .graph = graph, .weights = weights};
    TRY(pr_chain_begin(&c, &limits, channels, height, width, classes));
    TRY(stem(&c));
    for (size_t b = 0; b < PR_COUNT(blocks); b++) {
        TRY(pr_chain_scope(&c, "%s", blocks[b].scope));
        TRY(blocks[b].build(&c, blocks[b].width));
    }
    TRY(pr_chain_average(&c));
    return pr_chain_end(&c, 0.5f, "fc", classes);
}

const pr_arch pr_arch_inception_v3 = {
    .name = "inception_v3",
    .summary = "Inception-V3 with torchvision's layer names, without the auxiliary head",
    .side = 299,
    .build = build,
    .initialise = initialise,
};
