/* Rules of matrix products. Weights lie as [input][output]; inputs are in the order in which the activation lies in
 * memory, so an image in nhwc is read as it is.
 *
 * In training a large matrix is not split by images, which would give every shard a gradient as large as the matrix,
 * but by blocks of its rows: a thread multiplies the whole batch by its blocks and owns their gradient and their
 * update. The partial results are added in order. */
#include "engine/lower.h"

enum { LARGE = 1 << 17, MOST_BLOCKS = 16, LEAST_BLOCKS = 4, PREFERRED_BLOCKS = 8, LEAST_BF16 = 1 << 13 };

/* What the rules know of a product: y[rows][n] = x[rows][k] w[k][n]. */
struct product {
    int64_t k, n;
    int x, w; /* w: [input][output] */
};

static int64_t dim_of(const pr_lower *l, pr_value w, int d)
{
    return l->graph->values[w].dims.dim[d];
}

/* The copy of weights `w` for an x of these dims: strides `out` and `in` between outputs and between inputs. */
static parry_status weights_in(pr_lower *l, pr_value w, pr_dims x, int64_t out, int64_t in, int *buffer)
{
    pr_md *md;
    int64_t o = dim_of(l, w, 0), c = x.dim[1], h = x.dim[2], width = x.dim[3];
    if (x.rank == 4)
        TRY(pr_md_create(l->ctx, 4, (int64_t[]){o, c, h, width}, (int64_t[]){out, in, width * c * in, c * in}, &md));
    else
        TRY(pr_md_create(l->ctx, 2, (int64_t[]){o, dim_of(l, w, 1)}, (int64_t[]){out, in}, &md));
    parry_status status = pr_lower_weight(l, w, md, buffer);
    pr_md_free(md);
    return status;
}

static parry_status product_of(pr_lower *l, pr_value x, pr_value w, struct product *p)
{
    *p = (struct product){.k = dim_of(l, w, 1), .n = dim_of(l, w, 0)};
    TRY(pr_lower_read(l, x, pr_dims_of(l, x).rank == 4 ? PR_NHWC : PR_ROWS, &p->x));
    return weights_in(l, w, pr_dims_of(l, x), 1, p->n, &p->w);
}

/* ---- in plans -----------------------------------------------------------------------------------------------------
 * Our own kernel, whose results do not depend on where in a micro-batch an image stands. */

/* The widest panel that divides `columns`. */
static int64_t panel_width(int64_t columns)
{
    int64_t width = PR_MIN(columns, 32);
    while (columns % width)
        width--;
    return width;
}

static parry_status run_gemm(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    const float *bias = step->operands > 3 ? pr_at(step, frame, 2) : NULL;
    (void)ctx;
    pr_engine_kernels_get()->gemm(pr_at(step, frame, 0), frame->rows, step->area, step->channels, pr_at(step, frame, 1),
                                  step->width, bias, step->flag, pr_at(step, frame, step->operands - 1));
    return PARRY_OK;
}

static parry_status run_gemm_bf16(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    const float *bias = step->operands > 3 ? pr_at(step, frame, 2) : NULL;
    int y = step->operands - 1;
    (void)ctx;
    pr_bf16_kernels_get()->gemm(
        pr_bf16_at(step, frame, 0), frame->rows, step->area, step->channels, pr_bf16_at(step, frame, 1), step->width,
        bias, step->flag, step->bf16 ? NULL : pr_at(step, frame, y), step->bf16 ? pr_bf16_at(step, frame, y) : NULL);
    return PARRY_OK;
}

/* A product that is not worth the conversions of its operands, or one that reads the image, stays in f32; so does the
 * gradient of the latter. Two neighbouring inputs of the sum are multiplied at once. */
static bool in_bf16(const pr_lower *l, pr_value w, pr_dims x, bool gradient)
{
    int64_t k = dim_of(l, w, 1), n = dim_of(l, w, 0);
    bool image = false;
    for (size_t i = 0; i < l->graph->node_count; i++) {
        const pr_node *node = &l->graph->nodes[i];
        image |= node->op == PR_OP_GEMM && node->in[1] == w && pr_lower_is_image(l, node->in[0]);
    }
    return l->bf16 && k * n >= LEAST_BF16 && !image && (gradient ? n : x.dim[1]) % 2 == 0;
}

/* y[rows][n] = x[rows][k] w, where md describes w in panels of `width` columns. */
static parry_status plan_product(pr_lower *l, const char *what, const pr_node *node, int x, pr_value w, pr_md *md,
                                 int64_t k, int64_t n, int64_t width, int bias, bool relu, int y)
{
    int panels;
    pr_step *step;
    parry_status status = pr_lower_weight(l, w, md, &panels);
    pr_md_free(md);
    TRY(status);
    TRY(pr_program_step(l->ctx, l->program, what, node, PR_EACH_SHARD, &step));
    step->run = run_gemm;
    step->area = k;
    step->channels = n;
    step->width = width;
    step->flag = relu;
    step->flop = 2.0 * (double)(k * n);
    pr_step_product(step, x, panels, bias, y);
    return PARRY_OK;
}

/* Panels of outputs: for each the inputs in the order in which they lie in memory, for bf16 in pairs. */
static parry_status forward_panels(pr_lower *l, pr_dims x, int64_t k, int64_t n, int64_t width, bool bf16, pr_md **md)
{
    int64_t stride = pr_panel_stride(width), c = x.dim[1], h = x.dim[2], w = x.dim[3], two = 2 * stride;
    if (bf16 && x.rank == 4)
        return pr_md_create_as(l->ctx, PR_TYPE_BF16, 6, (int64_t[]){n / width, width, c / 2, 2, h, w},
                               (int64_t[]){k * stride, 2, two, 1, w * c * stride, c * stride}, md);
    if (bf16)
        return pr_md_create_as(l->ctx, PR_TYPE_BF16, 4, (int64_t[]){n / width, width, k / 2, 2},
                               (int64_t[]){k * stride, 2, two, 1}, md);
    if (x.rank == 4)
        return pr_md_create(l->ctx, 5, (int64_t[]){n / width, width, c, h, w},
                            (int64_t[]){k * stride, 1, stride, w * c * stride, c * stride}, md);
    return pr_md_create(l->ctx, 3, (int64_t[]){n / width, width, k}, (int64_t[]){k * stride, 1, stride}, md);
}

/* Panels of inputs: of neighbouring channels of an image, or of neighbours in a row. */
static parry_status backward_panels(pr_lower *l, pr_dims x, int64_t k, int64_t n, bool bf16, int64_t *width, pr_md **md)
{
    bool image = x.rank == 4 && x.dim[1] > 1;
    *width = panel_width(image ? x.dim[1] : k);
    int64_t stride = pr_panel_stride(*width), panel = n * stride, c = x.dim[1] / *width, h = x.dim[2], w = x.dim[3];
    if (bf16 && image)
        return pr_md_create_as(l->ctx, PR_TYPE_BF16, 6, (int64_t[]){n / 2, 2, c, *width, h, w},
                               (int64_t[]){2 * stride, 1, panel, 2, w * c * panel, c * panel}, md);
    if (bf16)
        return pr_md_create_as(l->ctx, PR_TYPE_BF16, 4, (int64_t[]){n / 2, 2, k / *width, *width},
                               (int64_t[]){2 * stride, 1, panel, 2}, md);
    if (image)
        return pr_md_create(l->ctx, 5, (int64_t[]){n, c, *width, h, w},
                            (int64_t[]){stride, panel, 1, w * c * panel, c * panel}, md);
    return pr_md_create(l->ctx, 3, (int64_t[]){n, k / *width, *width}, (int64_t[]){stride, panel, 1}, md);
}

/* ---- by blocks ------------------------------------------------------------------------------------------------- */

/* Whether the weights are read by one product, its input gradient, and by nothing else, and their gradient goes to the
 * optimiser alone. */
static bool used_once(const pr_lower *l, pr_value w)
{
    int products = 0, gradients = 0;
    for (size_t n = 0; n < l->graph->node_count; n++) {
        const pr_node *node = &l->graph->nodes[n];
        for (int i = 0; i < node->inputs; i++) {
            if (node->in[i] == w && node->op != PR_OP_GEMM && node->op != PR_OP_GEMM_GRAD_X)
                return false;
            products += node->in[i] == w && node->op == PR_OP_GEMM;
        }
        gradients += node->op == PR_OP_GEMM_GRAD_W && l->parameter[node->out[0]] == l->graph->values[w].weight;
    }
    return products == 1 && gradients == 1;
}

/* How many blocks of rows the weights are cut into; 0: by images. */
static int blocks_of(const pr_lower *l, pr_value w)
{
    int64_t k = dim_of(l, w, 1);
    if (!l->program->training || k * dim_of(l, w, 0) < LARGE || !used_once(l, w))
        return 0;
    if (k % PREFERRED_BLOCKS == 0)
        return PREFERRED_BLOCKS;
    for (int blocks = MOST_BLOCKS; blocks >= LEAST_BLOCKS; blocks--) {
        if (k % blocks == 0)
            return blocks;
    }
    return 0;
}

static parry_status block_step(pr_lower *l, const char *what, const pr_node *node, pr_value w, int blocks,
                               pr_step **step)
{
    TRY(pr_program_step(l->ctx, l->program, what, node, PR_EACH_BLOCK, step));
    (*step)->blocks = blocks;
    (*step)->group = l->graph->values[w].weight;
    (*step)->flop = 2.0 * (double)(dim_of(l, w, 0) * dim_of(l, w, 1));
    return PARRY_OK;
}

/* A product in which operand i of x, w and y goes on by stride[i] from one block to the next. */
static parry_status block_product(pr_lower *l, const char *what, const pr_node *node, pr_value weights, int blocks,
                                  pr_matmul_shape shape, const int buffer[3], const int64_t stride[3])
{
    pr_step *step;
    TRY(block_step(l, what, node, weights, blocks, &step));
    TRY(pr_prim_matmul(l->ctx, l->dnnl, &shape, (pr_post){0}, &step->prim[0]));
    pr_step_product(step, buffer[0], buffer[1], -1, buffer[2]);
    for (int i = 0; i < 3; i++)
        step->operand[i].block_stride = stride[i];
    return PARRY_OK;
}

static parry_status run_sum_blocks(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    const float *bias = step->operands > 2 ? pr_at(step, frame, 1) : NULL;
    int64_t whole = frame->program->rows * step->channels;
    (void)ctx;
    pr_engine_kernels_get()->sum_blocks(pr_at(step, frame, 0) + frame->first_row * step->channels, step->blocks, whole,
                                        bias, step->flag, frame->rows, step->channels,
                                        pr_at(step, frame, step->operands - 1));
    return PARRY_OK;
}

static parry_status gemm_by_blocks(pr_lower *l, const pr_node *node, const struct product *p, int blocks, int bias,
                                   bool relu, int out)
{
    int partial;
    pr_step *step;
    int64_t rows = l->program->rows, part = p->k / blocks;
    TRY(pr_program_buffer(l->ctx, l->program, PR_SHARED, blocks * rows * p->n, &partial));
    TRY(block_product(l, "Gemm by blocks", node, node->in[1], blocks,
                      (pr_matmul_shape){rows, part, p->n, {p->k, 1}, {p->n, 1}, p->n}, (int[]){p->x, p->w, partial},
                      (int64_t[]){part, part * p->n, rows * p->n}));
    TRY(pr_program_step(l->ctx, l->program, relu ? "sum of blocks + Relu" : "sum of blocks", node, PR_EACH_SHARD,
                        &step));
    step->run = run_sum_blocks;
    step->blocks = blocks;
    step->channels = p->n;
    step->flag = relu;
    pr_step_operand(step, partial, PR_READS, PR_ARG_SRC);
    if (bias >= 0)
        pr_step_operand(step, bias, PR_READS, PR_ARG_BIAS);
    pr_step_operand(step, out, PR_WRITES, PR_ARG_DST);
    return PARRY_OK;
}

/* ---- rules ----------------------------------------------------------------------------------------------------- */

/* oneDNN's product y = x w + bias (-1: none) of each shard, whose rows stand for an m or k of 0. */
static parry_status shard_product(pr_lower *l, const char *what, const pr_node *node, pr_matmul_shape shape, bool relu,
                                  const int buffer[3], int bias)
{
    pr_step *step;
    TRY(pr_program_step(l->ctx, l->program, what, node, PR_EACH_SHARD, &step));
    step->flop = 2.0 * (double)(PR_MAX(shape.m, 1) * PR_MAX(shape.k, 1) * shape.n);
    for (int v = 0; v < l->program->variants; v++) {
        pr_matmul_shape own = shape;
        *(shape.m ? &own.k : &own.m) = pr_lower_rows(l, v);
        TRY(pr_prim_matmul(l->ctx, l->dnnl, &own, (pr_post){.bias = bias >= 0, .relu = relu}, &step->prim[v]));
    }
    pr_step_product(step, buffer[0], buffer[1], bias, buffer[2]);
    return PARRY_OK;
}

static parry_status plan_gemm(pr_lower *l, const pr_node *node, int bias, const pr_node *relu)
{
    int x, y;
    pr_md *md;
    pr_dims dims = pr_dims_of(l, node->in[0]);
    int64_t k = dim_of(l, node->in[1], 1), n = dim_of(l, node->in[1], 0), width = panel_width(n);
    bool bf16 = in_bf16(l, node->in[1], dims, false);
    pr_layout layout = bf16 ? PR_NHWC_BF16 : dims.rank == 4 ? PR_NHWC : PR_ROWS;
    TRY(pr_lower_read(l, node->in[0], layout, &x));
    TRY(pr_lower_write(l, relu ? relu->out[0] : node->out[0], PR_ROWS, &y));
    TRY(forward_panels(l, dims, k, n, width, bf16, &md));
    TRY(plan_product(l, relu ? "Gemm + Relu" : "Gemm", node, x, node->in[1], md, k, n, width, bias, relu != NULL, y));
    if (bf16)
        l->program->steps[l->program->step_count - 1].run = run_gemm_bf16;
    return PARRY_OK;
}

static parry_status plan_gemm_grad_x(pr_lower *l, const pr_node *node)
{
    int dy, dx;
    pr_md *md;
    pr_dims x = pr_dims_of(l, node->out[0]);
    int64_t k = dim_of(l, node->in[1], 1), n = dim_of(l, node->in[1], 0), width;
    bool bf16 = in_bf16(l, node->in[1], x, true), image = x.rank == 4;
    TRY(pr_lower_read(l, node->in[0], bf16 ? PR_NHWC_BF16 : PR_ROWS, &dy));
    TRY(pr_lower_write(l, node->out[0], bf16 && image ? PR_NHWC_BF16 : image ? PR_NHWC : PR_ROWS, &dx));
    TRY(backward_panels(l, x, k, n, bf16, &width, &md));
    TRY(plan_product(l, pr_op_name(node->op), node, dy, node->in[1], md, n, k, width, -1, false, dx));
    pr_step *step = &l->program->steps[l->program->step_count - 1];
    step->run = bf16 ? run_gemm_bf16 : run_gemm;
    step->bf16 = bf16 && image;
    return PARRY_OK;
}

parry_status pr_rule_gemm(pr_lower *l, const pr_node *node)
{
    int b = -1, out;
    struct product p;
    if (!pr_is_weight(l, node->in[1]))
        return pr_lower_plain_c(l, node);
    if (node->inputs > 2 && node->in[2] >= 0)
        TRY(pr_lower_read(l, node->in[2], PR_ROWS, &b));
    const pr_node *relu = pr_lower_sole_user(l, node->out[0], PR_OP_RELU);
    if (relu)
        pr_lower_fuse(l, relu);
    if (!l->program->training)
        return plan_gemm(l, node, b, relu);
    TRY(product_of(l, node->in[0], node->in[1], &p));
    TRY(pr_lower_write(l, relu ? relu->out[0] : node->out[0], PR_ROWS, &out));
    int blocks = blocks_of(l, node->in[1]);
    if (blocks)
        return gemm_by_blocks(l, node, &p, blocks, b, relu != NULL, out);
    return shard_product(l, relu ? "Gemm + Relu" : "Gemm", node,
                         (pr_matmul_shape){0, p.k, p.n, {p.k, 1}, {p.n, 1}, p.n}, relu != NULL, (int[]){p.x, p.w, out},
                         b);
}

/* dx = dy w: a trainer reads the master transposed, a second copy would have to follow every step. */
parry_status pr_rule_gemm_grad_x(pr_lower *l, const pr_node *node)
{
    int dy, w, dx;
    pr_value weights = node->in[1];
    if (!pr_is_weight(l, weights))
        return pr_lower_plain_c(l, node);
    if (!l->program->training)
        return plan_gemm_grad_x(l, node);
    int64_t k = dim_of(l, weights, 1), n = dim_of(l, weights, 0);
    pr_dims x = pr_dims_of(l, node->out[0]);
    TRY(pr_lower_read(l, node->in[0], PR_ROWS, &dy));
    TRY(weights_in(l, weights, x, 1, n, &w));
    TRY(pr_lower_write(l, node->out[0], x.rank == 4 ? PR_NHWC : PR_ROWS, &dx));
    int blocks = blocks_of(l, weights);
    const int buffer[] = {dy, w, dx};
    const int64_t part = k / PR_MAX(blocks, 1);
    const pr_matmul_shape shape = {blocks ? l->program->rows : 0, n, part, {n, 1}, {1, n}, k};
    if (blocks)
        return block_product(l, "GemmGradX by blocks", node, weights, blocks, shape, buffer,
                             (int64_t[]){0, part * n, part});
    return shard_product(l, pr_op_name(node->op), node, shape, false, buffer, -1);
}

/* ---- gradient with respect to the weights ---------------------------------------------------------------------- */

static parry_status run_update(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    int64_t count = step->channels / step->blocks;
    (void)ctx;
    frame->call->update(frame->call, step->parameter, frame->index * count, count,
                        pr_at(step, frame, 0) + frame->index * count);
    return PARRY_OK;
}

/* A block's gradient is final when it is made, and its owner moves the weights while they are in its cache. */
static parry_status gradient_by_blocks(pr_lower *l, const pr_node *node, pr_value weights, const struct product *p,
                                       int dy, int blocks)
{
    int dw;
    pr_step *step;
    int64_t rows = l->program->rows, part = p->k / blocks;
    TRY(pr_program_buffer(l->ctx, l->program, PR_SHARED, p->k * p->n, &dw));
    TRY(block_product(l, "GemmGradW by blocks", node, weights, blocks,
                      (pr_matmul_shape){part, rows, p->n, {1, p->k}, {p->n, 1}, p->n}, (int[]){p->x, dy, dw},
                      (int64_t[]){part, 0, part * p->n}));
    TRY(block_step(l, "update by blocks", node, weights, blocks, &step));
    step->run = run_update;
    step->flop = 0;
    step->channels = p->k * p->n;
    step->parameter = l->graph->values[weights].weight;
    pr_step_operand(step, dw, PR_READS, PR_ARG_SRC);
    pr_step_operand(step, p->w, PR_WRITES, PR_ARG_DST);
    l->partials[step->parameter] = 0;
    return PARRY_OK;
}

static parry_status gradient_by_images(pr_lower *l, const pr_node *node, const struct product *p, int parameter, int dy)
{
    int *dw = &l->gradient[parameter];
    TRY(pr_lower_room(l, p->k * p->n, dw));
    TRY(shard_product(l, pr_op_name(node->op), node, (pr_matmul_shape){p->k, 0, p->n, {1, p->k}, {p->n, 1}, p->n},
                      false, (int[]){p->x, dy, *dw}, -1));
    l->partials[parameter] = l->program->shards;
    return PARRY_OK;
}

/* The graph's value of a weight, or -1. */
static pr_value value_of(const pr_lower *l, int32_t weight)
{
    for (size_t v = 0; v < l->graph->value_count; v++) {
        if (l->graph->values[v].kind == PR_VALUE_WEIGHT && l->graph->values[v].weight == weight)
            return (pr_value)v;
    }
    return -1;
}

static parry_status add_gradient(pr_lower *l, const pr_node *node, int parameter, int dy, bool *fits)
{
    struct product p;
    pr_value weights = value_of(l, parameter);
    TRY(product_of(l, node->in[0], weights, &p));
    *fits = l->store->items[l->program->buffers[p.w].copy].master;
    int blocks = *fits ? blocks_of(l, weights) : 0;
    if (blocks)
        return gradient_by_blocks(l, node, weights, &p, dy, blocks);
    return *fits ? gradient_by_images(l, node, &p, parameter, dy) : PARRY_OK;
}

parry_status pr_rule_gemm_grad_w(pr_lower *l, const pr_node *node)
{
    int dy, parameter = l->parameter[node->out[0]], bias = node->outputs > 1 ? l->parameter[node->out[1]] : -1;
    bool direct = l->uses[node->out[0]] == 0 && (node->outputs < 2 || l->uses[node->out[1]] == 0);
    if (!direct)
        return pr_lower_plain_c(l, node);
    TRY(pr_lower_read(l, node->in[1], PR_ROWS, &dy));
    if (parameter >= 0) {
        bool fits;
        TRY(add_gradient(l, node, parameter, dy, &fits));
        if (!fits)
            return pr_lower_plain_c(l, node);
    }
    if (bias < 0)
        return PARRY_OK;
    l->partials[bias] = l->program->shards;
    return pr_lower_column_sums(l, node, node->in[1], &l->gradient[bias]);
}
