/* Rules of convolutions. oneDNN in nhwc, with bias, a map added to every image, and ReLU or Clip fused; a kernel of our
 * own for the gradient with respect to an input of few channels.
 *
 * A trainer of precision bf16 rounds what a convolution or its gradient reads, and sums and leaves the result in f32:
 * batch norm, the sums over branches and what the optimiser sees are as in f32. Each tensor is rounded once for all its
 * readers. The forward pass and the gradient with respect to x read copies in bf16 of the f32 master, which follow it
 * after every step. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "engine/lower.h"

enum { FEW_CHANNELS = 4, FEW_TAPS = 512 };

/* The convolution of `node` between an image of dims x and a result of dims y. */
static pr_conv_shape shape_of(const pr_node *node, pr_dims x, pr_dims y, int64_t kernel_h, int64_t kernel_w)
{
    pr_conv_shape s = {
        .in_c = x.dim[1], .in_h = x.dim[2], .in_w = x.dim[3], .out_c = y.dim[1], .out_h = y.dim[2], .out_w = y.dim[3]};
    s.kernel_h = kernel_h;
    s.kernel_w = kernel_w;
    s.group = node->attrs.conv.group;
    memcpy(s.stride, node->attrs.conv.stride, sizeof s.stride);
    memcpy(s.dilation, node->attrs.conv.dilation, sizeof s.dilation);
    memcpy(s.pad, node->attrs.conv.pad, sizeof s.pad);
    return s;
}

static double flop_of(const pr_conv_shape *s)
{
    return 2.0 * (double)(s->out_c * s->out_h * s->out_w * s->kernel_h * s->kernel_w) * (double)(s->in_c / s->group);
}

/* Primitives for all variants. With a layout of the weights that oneDNN has no good kernel for, it may choose one. */
static parry_status make_prims(pr_lower *l, pr_conv_kind kind, pr_conv_shape shape, pr_post post, const pr_md *weights,
                               pr_prim *prim[PR_VARIANTS])
{
    shape.n = pr_lower_rows(l, 0);
    shape.training = l->program->training;
    TRY(pr_prim_conv(l->ctx, l->dnnl, kind, &shape, weights, post, &prim[0]));
    if (weights && pr_prim_is_reference(prim[0])) {
        pr_prim_free(prim[0]);
        prim[0] = NULL;
        TRY(pr_prim_conv(l->ctx, l->dnnl, kind, &shape, NULL, post, &prim[0]));
    }
    if (l->program->variants < 2)
        return PARRY_OK;
    shape.n = pr_lower_rows(l, 1);
    return pr_prim_conv(l->ctx, l->dnnl, kind, &shape, pr_prim_md(prim[0], PR_ARG_WEIGHTS), post, &prim[1]);
}

/* bf16 where oneDNN has a kernel of its own for it. */
static parry_status choose_type(pr_lower *l, pr_conv_kind kind, pr_post post, pr_conv_shape *shape)
{
    pr_prim *prim;
    pr_conv_shape tried = *shape;
    if (!l->bf16 || shape->in_c <= FEW_CHANNELS)
        return PARRY_OK;
    tried.n = pr_lower_rows(l, 0);
    tried.type = PR_TYPE_BF16;
    tried.training = tried.wide = l->program->training;
    TRY(pr_prim_conv(l->ctx, l->dnnl, kind, &tried, NULL, post, &prim));
    if (pr_prim_is_direct(prim)) {
        shape->type = PR_TYPE_BF16;
        shape->wide = tried.wide;
    }
    pr_prim_free(prim);
    return PARRY_OK;
}

static pr_layout layout_of(const pr_conv_shape *shape)
{
    return shape->type == PR_TYPE_BF16 ? PR_NHWC_BF16 : PR_NHWC;
}

static pr_layout result_layout(const pr_conv_shape *shape)
{
    return shape->wide ? PR_NHWC : layout_of(shape);
}

/* The gradient's shape is that of the convolution; the type is chosen on its own. */
static parry_status choose_type_of_gradient(pr_lower *l, const pr_node *conv, pr_conv_shape *shape)
{
    shape->type = PR_TYPE_F32;
    shape->wide = false;
    return pr_lower_is_image(l, conv->in[0]) ? PARRY_OK : choose_type(l, PR_CONV_GRAD_WEIGHTS, (pr_post){0}, shape);
}

/* Before a trainer's convolution reads weights in bf16 they need their master, which is f32: in the layout in which
 * their gradient will come. */
static parry_status make_master(pr_lower *l, const pr_node *node, pr_conv_shape shape)
{
    int copy;
    const int32_t weight = l->graph->values[node->in[1]].weight;
    pr_prim *prim[PR_VARIANTS] = {0};
    if (!shape.wide || !pr_weight_trained(&l->weights->items[weight]) || pr_store_master(l->store, weight) >= 0)
        return PARRY_OK;
    TRY(choose_type_of_gradient(l, node, &shape));
    parry_status status = make_prims(l, PR_CONV_GRAD_WEIGHTS, shape, (pr_post){0}, NULL, prim);
    if (status == PARRY_OK)
        status = pr_store_get(l->ctx, l->store, weight, pr_prim_md(prim[0], PR_ARG_WEIGHTS), &copy);
    for (int v = 0; v < PR_VARIANTS; v++)
        pr_prim_free(prim[v]);
    return status;
}

/* ---- forward --------------------------------------------------------------------------------------------------- */

static parry_status run_repeat(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    const float *map = pr_at(step, frame, 0);
    float *y = pr_at(step, frame, 1);
    (void)ctx;
    for (int64_t r = 0; r < frame->rows; r++)
        memcpy(y + r * step->area, map, (size_t)step->area * sizeof(*y)); /* floats, or pairs in bf16 */
    return PARRY_OK;
}

/* Fills the result with the map that is to be added to it, C x H x W for every image. */
static parry_status add_repeat(pr_lower *l, const pr_node *node, pr_value map, pr_type type, int out)
{
    int copy;
    pr_step *step;
    pr_md *md;
    pr_dims dims = pr_dims_of(l, map);
    TRY(pr_md_create_as(l->ctx, type, 3, dims.dim, (int64_t[]){1, dims.dim[2] * dims.dim[0], dims.dim[0]}, &md));
    parry_status status = pr_lower_weight(l, map, md, &copy);
    pr_md_free(md);
    TRY(status);
    TRY(pr_program_step(l->ctx, l->program, "repeat map", node, PR_EACH_SHARD, &step));
    step->run = run_repeat;
    step->area = type == PR_TYPE_BF16 ? pr_dims_row(dims) / 2 : pr_dims_row(dims);
    pr_step_operand(step, copy, PR_READS, PR_ARG_SRC);
    pr_step_operand(step, out, PR_WRITES, PR_ARG_DST);
    return PARRY_OK;
}

/* The constant C x H x W map that the only reader of `y`, an Add, adds to it; or -1, and `add` is NULL. */
static pr_value added_map(const pr_lower *l, pr_value y, const pr_node **add)
{
    *add = pr_lower_sole_user(l, y, PR_OP_ADD);
    if (!*add)
        return -1;
    pr_value map = (*add)->in[(*add)->in[0] == y];
    pr_dims m = pr_is_weight(l, map) ? pr_dims_of(l, map) : (pr_dims){0}, image = pr_dims_of(l, y);
    if (m.rank == 3 && memcmp(m.dim, image.dim + 1, 3 * sizeof(*m.dim)) == 0)
        return map;
    *add = NULL;
    return -1;
}

/* The Clip that alone reads `y`, but for its own gradients, which read y too; or NULL. */
static const pr_node *clip_behind(const pr_lower *l, pr_value y)
{
    const pr_node *clip = NULL;
    int readers = 0;
    for (size_t n = 0; n < l->graph->node_count; n++) {
        const pr_node *node = &l->graph->nodes[n];
        if ((node->op != PR_OP_MAP && node->op != PR_OP_MAP_GRAD) || node->in[0] != y ||
            node->attrs.map.function != PR_MAP_CLIP)
            continue;
        if (clip && (node->op == PR_OP_MAP || memcmp(node->attrs.map.parameter, clip->attrs.map.parameter,
                                                     sizeof clip->attrs.map.parameter) != 0))
            return NULL;
        clip = clip ? clip : node;
        readers++;
    }
    return clip && clip->op == PR_OP_MAP && readers == l->uses[y] ? clip : NULL;
}

/* The next number from x on towards `to` that is not denormal: plans flush those to 0. */
static float next_float(float x, float to)
{
    return fabsf(x) < FLT_MIN ? copysignf(FLT_MIN, to) : nextafterf(x, to);
}

/* A clip within the convolution's kernel, at bounds one float outside its own. What the convolution itself gave is then
 * nowhere to be found, but the clip's gradient needs to know no more of it than whether it lay within the bounds, and
 * those numbers do now that did. It passes on the bounds, as that of PyTorch's clamp does (ReLU6's does not): clipped
 * at the bounds themselves, what was cut off could not be told from what lay there. In bf16 the next number is half a
 * per cent away: there the clip stays a step of its own. */
static void fuse_clip(pr_lower *l, const pr_node *clip, int out, pr_post *post)
{
    const float *bound = clip->attrs.map.parameter;
    pr_lower_fuse(l, clip);
    pr_lower_alias(l, clip->in[0], PR_NHWC, out);
    post->clip = true;
    post->low = next_float(bound[0], -INFINITY);
    post->high = next_float(bound[1], INFINITY);
}

/* Operands x, bias (-1: none), result. In training the weights lie as their master does. */
static parry_status add_conv(pr_lower *l, const pr_node *node, const pr_conv_shape *shape, pr_post post, int x, int b,
                             int out)
{
    int w;
    pr_step *step;
    TRY(make_master(l, node, *shape));
    int master = pr_store_master(l->store, l->graph->values[node->in[1]].weight);
    const pr_md *like =
        shape->type == PR_TYPE_F32 && master >= 0 && !l->store->items[master].plain ? l->store->items[master].md : NULL;
    const char *what = post.relu ? "Conv + Relu" : post.clip ? "Conv + Clip" : "Conv";
    TRY(pr_program_step(l->ctx, l->program, what, node, PR_EACH_SHARD, &step));
    step->flop = flop_of(shape);
    TRY(make_prims(l, PR_CONV_FORWARD, *shape, post, like, step->prim));
    TRY(pr_lower_weight(l, node->in[1], pr_prim_md(step->prim[0], PR_ARG_WEIGHTS), &w));
    pr_step_product(step, x, w, b, out);
    if (post.sum)
        step->operand[step->operands - 1].access |= PR_READS;
    return pr_cut_conv(l, PR_CONV_FORWARD, shape, post);
}

parry_status pr_rule_conv(pr_lower *l, const pr_node *node)
{
    int x, b = -1, out;
    const pr_node *add;
    pr_dims kernel = pr_dims_of(l, node->in[1]), y = pr_dims_of(l, node->out[0]);
    if (!pr_is_weight(l, node->in[1]))
        return pr_lower_plain_c(l, node);
    pr_value map = added_map(l, node->out[0], &add), sum = add ? add->out[0] : node->out[0];
    const pr_node *relu = pr_lower_sole_user(l, sum, PR_OP_RELU), *clip = clip_behind(l, sum);
    pr_post post = {.bias = node->inputs > 2 && node->in[2] >= 0, .sum = add != NULL, .relu = true};
    pr_conv_shape shape = shape_of(node, pr_dims_of(l, node->in[0]), y, kernel.dim[2], kernel.dim[3]);
    if (!pr_lower_is_image(l, node->in[0]) && (!add || pr_dims_row(y) % 2 == 0))
        TRY(choose_type(l, PR_CONV_FORWARD, post, &shape));
    if (result_layout(&shape) != PR_NHWC)
        clip = NULL;
    TRY(pr_lower_read(l, node->in[0], layout_of(&shape), &x));
    if (post.bias)
        TRY(pr_lower_read(l, node->in[2], PR_ROWS, &b));
    TRY(pr_lower_write(l, relu ? relu->out[0] : clip ? clip->out[0] : sum, result_layout(&shape), &out));
    if (add) {
        pr_lower_fuse(l, add);
        TRY(add_repeat(l, node, map, shape.wide ? PR_TYPE_F32 : shape.type, out));
    }
    post.relu = relu != NULL;
    if (relu)
        pr_lower_fuse(l, relu);
    if (clip)
        fuse_clip(l, clip, out, &post);
    return add_conv(l, node, &shape, post, x, b, out);
}

/* ---- gradient with respect to the input ------------------------------------------------------------------------ */

/* Operands: dy, weights, scratch, with `flag` the ReLU's result that masks dy, dx. */
static parry_status run_few(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    pr_window window = step->window;
    (void)ctx;
    window.n = frame->rows;
    pr_engine_kernels_get()->few_grad(&window, step->channels, pr_at(step, frame, 1), pr_at(step, frame, 0),
                                      step->flag ? pr_at(step, frame, 3) : NULL, pr_at(step, frame, step->operands - 1),
                                      pr_at(step, frame, 2));
    return PARRY_OK;
}

/* Weights as rows of taps, one for each output channel. */
static parry_status few_weights(pr_lower *l, pr_value w, int *buffer)
{
    pr_md *md;
    const int64_t *dim = l->graph->values[w].dims.dim;
    int64_t run = dim[3] * dim[1];
    TRY(pr_md_create(l->ctx, 4, dim, (int64_t[]){pr_few_lanes(dim[2], run), 1, pr_few_run(run), dim[1]}, &md));
    parry_status status = pr_lower_weight(l, w, md, buffer);
    pr_md_free(md);
    return status;
}

static pr_conv_shape grad_x_shape(const pr_lower *l, const pr_node *node)
{
    pr_dims kernel = pr_dims_of(l, node->in[1]);
    return shape_of(node, pr_dims_of(l, node->out[0]), pr_dims_of(l, node->in[0]), kernel.dim[2], kernel.dim[3]);
}

static bool few_channels(const pr_conv_shape *s)
{
    return s->group == 1 && s->dilation[1] == 1 && s->in_c <= FEW_CHANNELS &&
           s->in_c * s->kernel_h * s->kernel_w <= FEW_TAPS;
}

bool pr_masks_gradient(const pr_lower *l, const pr_node *relu_grad)
{
    const pr_node *conv = pr_lower_sole_user(l, relu_grad->out[0], PR_OP_CONV_GRAD_X);
    if (!conv || !pr_is_weight(l, conv->in[1]))
        return false;
    pr_conv_shape shape = grad_x_shape(l, conv);
    return few_channels(&shape);
}

/* The ReluGrad before a gradient of few channels that left its work to it, or NULL. */
static const pr_node *deferred_mask(const pr_lower *l, pr_value dy)
{
    const pr_node *node = pr_graph_producer(l->graph, dy);
    bool made = l->place[dy][PR_NHWC] >= 0 || l->place[dy][PR_ROWS] >= 0 || l->place[dy][PR_NHWC_BF16] >= 0;
    return node && node->op == PR_OP_RELU_GRAD && !made ? node : NULL;
}

/* Operands as run_few's. Each piece has memory of its own to work in. */
static parry_status cut_few(pr_lower *l, const pr_conv_shape *s)
{
    pr_slab slab[PR_PIECES];
    pr_step *step;
    const int pieces = pr_cut_rows(l, s, true, PR_PIECES, slab);
    if (pieces < 2)
        return PARRY_OK;
    TRY(pr_program_cut(l->ctx, l->program, pieces, &step));
    for (int p = 0; p < pieces; p++, step++) {
        const int64_t out = slab[p].out * s->out_w * s->out_c;
        step->window.in_h = slab[p].in_h;
        step->window.out_h = slab[p].out_h;
        step->window.pad[0] = (int)slab[p].pad[0];
        step->window.pad[2] = (int)slab[p].pad[1];
        TRY(pr_lower_room(l, pr_engine_kernels_get()->few_scratch(&step->window, s->out_c), &step->operand[2].buffer));
        step->flop *= (double)slab[p].in_h / (double)s->in_h;
        step->operand[0].offset = out;
        if (step->flag)
            step->operand[3].offset = out;
        step->operand[step->operands - 1].offset = slab[p].in * s->in_w * s->in_c;
    }
    return PARRY_OK;
}

static parry_status few_rule(pr_lower *l, const pr_node *node, const pr_conv_shape *s)
{
    int dy, w, scratch, mask = -1, dx;
    pr_step *step;
    pr_window window = {.c = s->in_c,
                        .in_h = s->in_h,
                        .in_w = s->in_w,
                        .out_h = s->out_h,
                        .out_w = s->out_w,
                        .kernel = {(int)s->kernel_h, (int)s->kernel_w}};
    memcpy(window.stride, s->stride, sizeof s->stride);
    memcpy(window.dilation, s->dilation, sizeof s->dilation);
    memcpy(window.pad, s->pad, sizeof s->pad);
    const pr_node *relu = deferred_mask(l, node->in[0]);
    TRY(pr_lower_read(l, relu ? relu->in[1] : node->in[0], PR_NHWC, &dy));
    if (relu)
        TRY(pr_lower_read(l, relu->in[0], PR_NHWC, &mask));
    TRY(few_weights(l, node->in[1], &w));
    TRY(pr_lower_room(l, pr_engine_kernels_get()->few_scratch(&window, s->out_c), &scratch));
    TRY(pr_lower_write(l, node->out[0], PR_NHWC, &dx));
    TRY(pr_program_step(l->ctx, l->program, relu ? "ReluGrad + ConvGradX, few" : "ConvGradX, few", node, PR_EACH_SHARD,
                        &step));
    step->run = run_few;
    step->flop = flop_of(s);
    step->channels = s->out_c;
    step->flag = relu != NULL;
    step->window = window;
    pr_step_operand(step, dy, PR_READS, PR_ARG_SRC);
    pr_step_operand(step, w, PR_READS, PR_ARG_WEIGHTS);
    pr_step_operand(step, scratch, PR_WRITES, PR_ARG_SRC);
    if (relu)
        pr_step_operand(step, mask, PR_READS, PR_ARG_SRC);
    pr_step_operand(step, dx, PR_WRITES, PR_ARG_DST);
    return cut_few(l, s);
}

parry_status pr_rule_conv_grad_x(pr_lower *l, const pr_node *node)
{
    int dy, w, dx;
    pr_step *step;
    if (!pr_is_weight(l, node->in[1]))
        return pr_lower_plain_c(l, node);
    pr_conv_shape shape = grad_x_shape(l, node);
    if (few_channels(&shape))
        return few_rule(l, node, &shape);
    TRY(choose_type(l, PR_CONV_GRAD_SRC, (pr_post){0}, &shape));
    TRY(pr_lower_read(l, node->in[0], layout_of(&shape), &dy));
    TRY(pr_lower_write(l, node->out[0], result_layout(&shape), &dx));
    TRY(pr_program_step(l->ctx, l->program, pr_op_name(node->op), node, PR_EACH_SHARD, &step));
    step->flop = flop_of(&shape);
    TRY(make_prims(l, PR_CONV_GRAD_SRC, shape, (pr_post){0}, NULL, step->prim));
    TRY(pr_lower_weight(l, node->in[1], pr_prim_md(step->prim[0], PR_ARG_WEIGHTS), &w));
    pr_step_operand(step, dy, PR_READS, PR_ARG_DST);
    pr_step_operand(step, w, PR_READS, PR_ARG_WEIGHTS);
    pr_step_operand(step, dx, PR_WRITES, PR_ARG_SRC);
    return pr_cut_conv(l, PR_CONV_GRAD_SRC, &shape, (pr_post){0});
}

/* ---- gradient with respect to the weights ---------------------------------------------------------------------- */

/* Changes each shard's gradient from the layout of `md` to the master's. */
static parry_status add_gradient_reorder(pr_lower *l, const pr_node *node, const pr_md *from, const pr_md *to,
                                         int buffer, int *out)
{
    pr_step *step;
    TRY(pr_lower_room(l, pr_md_floats(to), out));
    TRY(pr_program_step(l->ctx, l->program, "reorder gradient", node, PR_EACH_SHARD, &step));
    for (int v = 0; v < l->program->variants; v++)
        TRY(pr_prim_reorder(l->ctx, l->dnnl, from, to, &step->prim[v]));
    pr_step_operand(step, buffer, PR_READS, PR_ARG_SRC);
    pr_step_operand(step, *out, PR_WRITES, PR_ARG_DST);
    return PARRY_OK;
}

static parry_status add_kernel_gradient(pr_lower *l, const pr_node *node, int parameter, const pr_packed *master)
{
    int x, dy, dw;
    pr_step *step;
    const int *kernel = node->attrs.conv.kernel;
    pr_conv_shape shape = shape_of(node, pr_dims_of(l, node->in[0]), pr_dims_of(l, node->in[1]), kernel[0], kernel[1]);
    TRY(choose_type_of_gradient(l, node, &shape));
    TRY(pr_lower_read(l, node->in[0], layout_of(&shape), &x));
    TRY(pr_lower_read(l, node->in[1], layout_of(&shape), &dy));
    TRY(pr_program_step(l->ctx, l->program, "ConvGradW", node, PR_EACH_SHARD, &step));
    step->flop = flop_of(&shape);
    TRY(make_prims(l, PR_CONV_GRAD_WEIGHTS, shape, (pr_post){0}, master->md, step->prim));
    const pr_md *md = pr_prim_md(step->prim[0], PR_ARG_WEIGHTS);
    TRY(pr_lower_room(l, pr_md_floats(md), &dw));
    pr_step_operand(step, x, PR_READS, PR_ARG_SRC);
    pr_step_operand(step, dy, PR_READS, PR_ARG_DST);
    pr_step_operand(step, dw, PR_WRITES, PR_ARG_WEIGHTS);
    if (!pr_md_equal(md, master->md))
        TRY(add_gradient_reorder(l, node, md, master->md, dw, &dw));
    l->gradient[parameter] = dw;
    l->partials[parameter] = l->program->shards;
    return PARRY_OK;
}

parry_status pr_rule_conv_grad_w(pr_lower *l, const pr_node *node)
{
    int parameter = l->parameter[node->out[0]], bias = node->outputs > 1 ? l->parameter[node->out[1]] : -1;
    bool direct = l->uses[node->out[0]] == 0 && (node->outputs < 2 || l->uses[node->out[1]] == 0);
    int master = parameter < 0 ? -1 : pr_store_master(l->store, parameter);
    if (!direct || (parameter >= 0 && (master < 0 || l->store->items[master].plain)))
        return pr_lower_plain_c(l, node);
    if (parameter >= 0)
        TRY(add_kernel_gradient(l, node, parameter, &l->store->items[master]));
    if (bias < 0)
        return PARRY_OK;
    l->partials[bias] = l->program->shards;
    return pr_lower_column_sums(l, node, node->in[1], &l->gradient[bias]);
}
