/* Reverse-mode differentiation: appends to a graph the nodes that compute the gradient of <seed, of>.
 *
 * One rule per operator. A rule is asked for the contribution to each input that matters (one that depends on a wrt
 * value) and hands it over with give(); several contributions to one value are added. Rules exist for the forward and
 * training operators, and for those backward operators that are linear in dy (second derivatives of networks of
 * convolutions, GEMMs and piecewise linear operators). */
#include <string.h>

#include "graph/differentiate.h"

typedef parry_status (*gradient_rule)(struct diff *d, const pr_node *node, pr_value dy);

/* ---- convolution and GEMM --------------------------------------------------------------------------------------- */

/* The attributes of the backward forms: those of the convolution with the shapes that it found. */
static pr_attrs conv_attrs(const struct diff *d, const pr_attrs *attrs, pr_value x, pr_value w)
{
    pr_attrs full = *attrs;
    pr_dims xd = dims_of(d, x), wd = dims_of(d, w);
    for (int i = 0; i < 2; i++)
        full.conv.kernel[i] = (int)wd.dim[2 + i];
    full.conv.in_h = xd.dim[2];
    full.conv.in_w = xd.dim[3];
    return full;
}

/* Contributions dw and, where wanted, db to inputs 1 and 2. */
static parry_status give_weights(struct diff *d, const pr_node *node, pr_op op, const pr_attrs *attrs, pr_value dy)
{
    pr_value out[2];
    bool bias = wants(d, node, 2);
    if (!bias && !wants(d, node, 1))
        return PARRY_OK;
    TRY(emit(d, node, op, attrs, (pr_value[]){node->in[0], dy}, 2, bias ? 2 : 1, out));
    if (wants(d, node, 1))
        TRY(give(d, node, node->in[1], out[0]));
    return bias ? give(d, node, node->in[2], out[1]) : PARRY_OK;
}

static parry_status conv_rule(struct diff *d, const pr_node *node, pr_value dy)
{
    pr_attrs attrs = conv_attrs(d, &node->attrs, node->in[0], node->in[1]);
    TRY(give_op(d, node, 0, PR_OP_CONV_GRAD_X, &attrs, dy, node->in[1]));
    return give_weights(d, node, PR_OP_CONV_GRAD_W, &attrs, dy);
}

static parry_status conv_grad_x_rule(struct diff *d, const pr_node *node, pr_value ddx)
{
    TRY(give_op(d, node, 0, PR_OP_CONV, &node->attrs, ddx, node->in[1]));
    return give_op(d, node, 1, PR_OP_CONV_GRAD_W, &node->attrs, ddx, node->in[0]);
}

static parry_status conv_grad_w_rule(struct diff *d, const pr_node *node, pr_value ddw)
{
    TRY(give_op(d, node, 0, PR_OP_CONV_GRAD_X, &node->attrs, node->in[1], ddw));
    return give_op(d, node, 1, PR_OP_CONV, &node->attrs, node->in[0], ddw);
}

static parry_status gemm_rule(struct diff *d, const pr_node *node, pr_value dy)
{
    pr_attrs attrs = shape_attrs(d, node->in[0]);
    TRY(give_op(d, node, 0, PR_OP_GEMM_GRAD_X, &attrs, dy, node->in[1]));
    return give_weights(d, node, PR_OP_GEMM_GRAD_W, NULL, dy);
}

static parry_status gemm_grad_x_rule(struct diff *d, const pr_node *node, pr_value ddx)
{
    TRY(give_op(d, node, 0, PR_OP_GEMM, NULL, ddx, node->in[1]));
    return give_op(d, node, 1, PR_OP_GEMM_GRAD_W, NULL, ddx, node->in[0]);
}

static parry_status gemm_grad_w_rule(struct diff *d, const pr_node *node, pr_value ddw)
{
    pr_attrs attrs = shape_attrs(d, node->in[0]);
    TRY(give_op(d, node, 0, PR_OP_GEMM_GRAD_X, &attrs, node->in[1], ddw));
    return give_op(d, node, 1, PR_OP_GEMM, NULL, node->in[0], ddw);
}

/* ---- normalisation ---------------------------------------------------------------------------------------------- */

static parry_status batch_norm_rule(struct diff *d, const pr_node *node, pr_value dy)
{
    pr_value out;
    TRY(refuse(d, node, 1));
    TRY(emit(d, node, PR_OP_BATCH_NORM_GRAD_X, &node->attrs, (pr_value[]){dy, node->in[1], node->in[4]}, 3, 1, &out));
    return give(d, node, node->in[0], out);
}

static parry_status batch_norm_grad_x_rule(struct diff *d, const pr_node *node, pr_value ddx)
{
    pr_value out;
    TRY(refuse(d, node, 1));
    TRY(emit(d, node, PR_OP_BATCH_NORM_GRAD_X, &node->attrs, (pr_value[]){ddx, node->in[1], node->in[2]}, 3, 1, &out));
    return give(d, node, node->in[0], out);
}

static parry_status batch_norm_train_rule(struct diff *d, const pr_node *node, pr_value dy)
{
    pr_value out[3], in[] = {node->in[0], dy, node->in[1], node->out[1], node->out[2]};
    TRY(emit(d, node, PR_OP_BATCH_NORM_TRAIN_GRAD, &node->attrs, in, 5, 3, out));
    for (int i = 0; i < 3; i++) {
        if (wants(d, node, i))
            TRY(give(d, node, node->in[i], out[i]));
    }
    return PARRY_OK;
}

static parry_status channel_affine_rule(struct diff *d, const pr_node *node, pr_value dy)
{
    TRY(refuse(d, node, 1));
    return give_op(d, node, 0, PR_OP_CHANNEL_AFFINE_GRAD_X, NULL, dy, node->in[1]);
}

static parry_status channel_affine_grad_x_rule(struct diff *d, const pr_node *node, pr_value ddx)
{
    TRY(refuse(d, node, 1));
    return give_op(d, node, 0, PR_OP_CHANNEL_AFFINE_GRAD_X, NULL, ddx, node->in[1]);
}

/* ---- elementwise ------------------------------------------------------------------------------------------------ */

static parry_status relu_rule(struct diff *d, const pr_node *node, pr_value dy)
{
    return give_op(d, node, 0, PR_OP_RELU_GRAD, NULL, node->out[0], dy);
}

static parry_status leaky_relu_rule(struct diff *d, const pr_node *node, pr_value dy)
{
    return give_op(d, node, 0, PR_OP_LEAKY_RELU_GRAD, &node->attrs, node->in[0], dy);
}

/* ReluGrad and LeakyReluGrad: piecewise constant in their first input, linear in the second. */
static parry_status kink_grad_rule(struct diff *d, const pr_node *node, pr_value ddx)
{
    return give_op(d, node, 1, node->op, &node->attrs, node->in[0], ddx);
}

static parry_status sigmoid_rule(struct diff *d, const pr_node *node, pr_value dy)
{
    return give_op(d, node, 0, PR_OP_SIGMOID_GRAD, NULL, node->out[0], dy);
}

static parry_status tanh_rule(struct diff *d, const pr_node *node, pr_value dy)
{
    return give_op(d, node, 0, PR_OP_TANH_GRAD, NULL, node->out[0], dy);
}

static parry_status softmax_rule(struct diff *d, const pr_node *node, pr_value dy)
{
    return give_op(d, node, 0, PR_OP_SOFTMAX_GRAD, &node->attrs, node->out[0], dy);
}

static parry_status log_softmax_rule(struct diff *d, const pr_node *node, pr_value dy)
{
    return give_op(d, node, 0, PR_OP_LOG_SOFTMAX_GRAD, &node->attrs, node->out[0], dy);
}

static parry_status add_rule(struct diff *d, const pr_node *node, pr_value dy)
{
    for (int i = 0; i < 2; i++) {
        if (wants(d, node, i))
            TRY(give_reduced(d, node, i, dy));
    }
    return PARRY_OK;
}

static parry_status sub_rule(struct diff *d, const pr_node *node, pr_value dy)
{
    pr_value minus;
    if (wants(d, node, 0))
        TRY(give_reduced(d, node, 0, dy));
    if (!wants(d, node, 1))
        return PARRY_OK;
    TRY(emit_one(d, node, PR_OP_NEG, NULL, dy, -1, &minus));
    return give_reduced(d, node, 1, minus);
}

static parry_status mul_rule(struct diff *d, const pr_node *node, pr_value dy)
{
    for (int i = 0; i < 2; i++) {
        pr_value product;
        if (!wants(d, node, i))
            continue;
        TRY(emit_one(d, node, PR_OP_MUL, NULL, dy, node->in[1 - i], &product));
        TRY(give_reduced(d, node, i, product));
    }
    return PARRY_OK;
}

/* da = dy / b, db = -(da * y) */
static parry_status div_rule(struct diff *d, const pr_node *node, pr_value dy)
{
    pr_value da, product, minus;
    TRY(emit_one(d, node, PR_OP_DIV, NULL, dy, node->in[1], &da));
    if (wants(d, node, 0))
        TRY(give_reduced(d, node, 0, da));
    if (!wants(d, node, 1))
        return PARRY_OK;
    TRY(emit_one(d, node, PR_OP_MUL, NULL, da, node->out[0], &product));
    TRY(emit_one(d, node, PR_OP_NEG, NULL, product, -1, &minus));
    return give_reduced(d, node, 1, minus);
}

static parry_status neg_rule(struct diff *d, const pr_node *node, pr_value dy)
{
    return give_op(d, node, 0, PR_OP_NEG, NULL, dy, -1);
}

static parry_status identity_rule(struct diff *d, const pr_node *node, pr_value dy)
{
    return give(d, node, node->in[0], dy);
}

static parry_status dropout_train_rule(struct diff *d, const pr_node *node, pr_value dy)
{
    return give_op(d, node, 0, PR_OP_DROPOUT_TRAIN_GRAD, &node->attrs, dy, -1);
}

/* ---- pooling and movement --------------------------------------------------------------------------------------- */

static pr_attrs pool_attrs(const struct diff *d, const pr_attrs *attrs, pr_value x)
{
    pr_attrs full = *attrs;
    full.pool.in_h = dims_of(d, x).dim[2];
    full.pool.in_w = dims_of(d, x).dim[3];
    return full;
}

static parry_status max_pool_rule(struct diff *d, const pr_node *node, pr_value dy)
{
    return give_op(d, node, 0, PR_OP_MAX_POOL_GRAD, &node->attrs, node->in[0], dy);
}

static parry_status average_pool_rule(struct diff *d, const pr_node *node, pr_value dy)
{
    pr_attrs attrs = pool_attrs(d, &node->attrs, node->in[0]);
    return give_op(d, node, 0, PR_OP_AVERAGE_POOL_GRAD, &attrs, dy, -1);
}

static parry_status average_pool_grad_rule(struct diff *d, const pr_node *node, pr_value ddx)
{
    return give_op(d, node, 0, PR_OP_AVERAGE_POOL, &node->attrs, ddx, -1);
}

static parry_status global_average_pool_rule(struct diff *d, const pr_node *node, pr_value dy)
{
    pr_attrs attrs = pool_attrs(d, &node->attrs, node->in[0]);
    return give_op(d, node, 0, PR_OP_GLOBAL_AVERAGE_POOL_GRAD, &attrs, dy, -1);
}

static parry_status global_average_pool_grad_rule(struct diff *d, const pr_node *node, pr_value ddx)
{
    return give_op(d, node, 0, PR_OP_GLOBAL_AVERAGE_POOL, NULL, ddx, -1);
}

static parry_status reshape_rule(struct diff *d, const pr_node *node, pr_value dy)
{
    pr_attrs attrs = shape_attrs(d, node->in[0]);
    return give_op(d, node, 0, PR_OP_RESHAPE, &attrs, dy, -1);
}

static parry_status transpose_rule(struct diff *d, const pr_node *node, pr_value dy)
{
    pr_attrs inverse = {.perm = {{0}}};
    for (int i = 0; i < dims_of(d, node->in[0]).rank; i++)
        inverse.perm.perm[node->attrs.perm.perm[i]] = i;
    return give_op(d, node, 0, PR_OP_TRANSPOSE, &inverse, dy, -1);
}

/* The same window the other way round: what was cropped is zeros, what was padded is cropped. */
static parry_status pad_rule(struct diff *d, const pr_node *node, pr_value dy)
{
    pr_attrs back = {.pad = {.value = 0}};
    for (int axis = 0; axis < PR_RANK_MAX; axis++) {
        back.pad.before[axis] = -node->attrs.pad.before[axis];
        back.pad.after[axis] = -node->attrs.pad.after[axis];
    }
    return give_op(d, node, 0, PR_OP_PAD, &back, dy, -1);
}

static parry_status concat_rule(struct diff *d, const pr_node *node, pr_value dy)
{
    int axis = node->attrs.axis.axis, at = 0, total = (int)dims_of(d, dy).dim[axis];
    for (int i = 0; i < node->inputs; i++) {
        pr_dims part = dims_of(d, node->in[i]);
        bool batch = part.dim[0] == PR_BATCH;
        int size = (int)part.dim[axis - !batch];
        pr_attrs crop = {.pad = {.value = 0}};
        pr_value out;
        crop.pad.before[axis] = -at;
        crop.pad.after[axis] = at + size - total;
        at += size;
        if (!wants(d, node, i))
            continue;
        TRY(emit_one(d, node, PR_OP_PAD, &crop, dy, -1, &out));
        TRY(give_reduced(d, node, i, out));
    }
    return PARRY_OK;
}

static parry_status gather_rule(struct diff *d, const pr_node *node, pr_value dy)
{
    pr_attrs attrs = node->attrs;
    attrs.gather.size = dims_of(d, node->in[0]).dim[attrs.gather.axis];
    TRY(refuse(d, node, 1));
    return give_op(d, node, 0, PR_OP_GATHER_GRAD, &attrs, dy, node->in[1]);
}

static parry_status gather_grad_rule(struct diff *d, const pr_node *node, pr_value ddx)
{
    TRY(refuse(d, node, 1));
    return give_op(d, node, 0, PR_OP_GATHER, &node->attrs, ddx, node->in[1]);
}

static const gradient_rule rules[PR_OP_COUNT] = {
    [PR_OP_CONV] = conv_rule,
    [PR_OP_GEMM] = gemm_rule,
    [PR_OP_BATCH_NORM] = batch_norm_rule,
    [PR_OP_RELU] = relu_rule,
    [PR_OP_LEAKY_RELU] = leaky_relu_rule,
    [PR_OP_SIGMOID] = sigmoid_rule,
    [PR_OP_TANH] = tanh_rule,
    [PR_OP_SOFTMAX] = softmax_rule,
    [PR_OP_LOG_SOFTMAX] = log_softmax_rule,
    [PR_OP_MAX_POOL] = max_pool_rule,
    [PR_OP_AVERAGE_POOL] = average_pool_rule,
    [PR_OP_GLOBAL_AVERAGE_POOL] = global_average_pool_rule,
    [PR_OP_ADD] = add_rule,
    [PR_OP_SUB] = sub_rule,
    [PR_OP_MUL] = mul_rule,
    [PR_OP_DIV] = div_rule,
    [PR_OP_NEG] = neg_rule,
    [PR_OP_RESHAPE] = reshape_rule,
    [PR_OP_TRANSPOSE] = transpose_rule,
    [PR_OP_PAD] = pad_rule,
    [PR_OP_CONCAT] = concat_rule,
    [PR_OP_GATHER] = gather_rule,
    [PR_OP_IDENTITY] = identity_rule,
    [PR_OP_DROPOUT] = identity_rule,
    [PR_OP_CHANNEL_AFFINE] = channel_affine_rule,
    [PR_OP_BATCH_NORM_TRAIN] = batch_norm_train_rule,
    [PR_OP_DROPOUT_TRAIN] = dropout_train_rule,
    [PR_OP_MAP] = pr_map_rule,
    [PR_OP_BINARY] = pr_binary_rule,
    [PR_OP_WHERE] = pr_where_rule,
    [PR_OP_REDUCE] = pr_reduce_rule,
    [PR_OP_ARG_MAX] = pr_constant_rule,
    [PR_OP_MATMUL] = pr_matmul_rule,
    [PR_OP_NORMALIZE] = pr_normalize_rule,
    [PR_OP_LRN] = pr_lrn_rule,
    [PR_OP_CONV_GRAD_X] = conv_grad_x_rule,
    [PR_OP_CONV_GRAD_W] = conv_grad_w_rule,
    [PR_OP_GEMM_GRAD_X] = gemm_grad_x_rule,
    [PR_OP_GEMM_GRAD_W] = gemm_grad_w_rule,
    [PR_OP_BATCH_NORM_GRAD_X] = batch_norm_grad_x_rule,
    [PR_OP_RELU_GRAD] = kink_grad_rule,
    [PR_OP_LEAKY_RELU_GRAD] = kink_grad_rule,
    [PR_OP_AVERAGE_POOL_GRAD] = average_pool_grad_rule,
    [PR_OP_GLOBAL_AVERAGE_POOL_GRAD] = global_average_pool_grad_rule,
    [PR_OP_GATHER_GRAD] = gather_grad_rule,
    [PR_OP_DROPOUT_TRAIN_GRAD] = dropout_train_rule,
    [PR_OP_CHANNEL_AFFINE_GRAD_X] = channel_affine_grad_x_rule,
};

/* ---- the pass --------------------------------------------------------------------------------------------------- */

static void mark_active(struct diff *d, const pr_value *wrt, size_t count)
{
    for (size_t i = 0; i < count; i++)
        d->active[wrt[i]] = true;
    for (size_t n = 0; n < d->graph->node_count; n++) {
        const pr_node *node = &d->graph->nodes[n];
        bool any = false;
        for (int i = 0; i < node->inputs; i++)
            any = any || wants(d, node, i);
        for (int o = 0; any && o < node->outputs; o++)
            d->active[node->out[o]] = true;
    }
}

static parry_status differentiate_node(struct diff *d, const pr_node *node)
{
    for (int o = 1; o < node->outputs; o++) {
        if (d->grad[node->out[o]] >= 0)
            return pr_fail(d->ctx, PARRY_UNSUPPORTED, "node '%s' (%s): output %d has no derivative", node->name,
                           pr_op_name(node->op), o);
    }
    pr_value dy = d->grad[node->out[0]];
    if (dy < 0)
        return PARRY_OK;
    if (!rules[node->op])
        return pr_fail(d->ctx, PARRY_UNSUPPORTED, "node '%s' (%s): the operator has no derivative", node->name,
                       pr_op_name(node->op));
    return rules[node->op](d, node, dy);
}

/* Not pr_graph_input: the derivative of a weight's gradient has a seed without a batch. */
static parry_status add_seed(struct diff *d, pr_value of, pr_value *seed)
{
    pr_value_info info = {.kind = PR_VALUE_INPUT, .dims = dims_of(d, of)};
    TRY(pr_asprintf(d->ctx, &info.name, "seed.%s", d->graph->values[of].name));
    parry_status status = pr_graph_add_value(d->ctx, d->graph, &info, seed);
    pr_free(info.name);
    return status;
}

parry_status pr_graph_differentiate(parry_ctx *ctx, pr_graph *graph, pr_value of, const pr_value *wrt, size_t count,
                                    pr_value *seed, pr_value *grads)
{
    parry_status status;
    struct diff d = {.ctx = ctx, .graph = graph};
    const size_t values = graph->value_count;

    TRY_TO(done, pr_alloc(ctx, values, &d.active));
    TRY_TO(done, pr_alloc(ctx, values, &d.grad));
    memset(d.grad, 0xff, values * sizeof(*d.grad));
    mark_active(&d, wrt, count);
    TRY_TO(done, add_seed(&d, of, seed));
    if (d.active[of])
        d.grad[of] = *seed;
    for (size_t n = graph->node_count; n-- > 0;) {
        pr_node node = graph->nodes[n]; /* a copy: rules append to graph->nodes */
        TRY_TO(done, differentiate_node(&d, &node));
    }
    for (size_t i = 0; i < count; i++)
        grads[i] = d.grad[wrt[i]];
done:
    pr_free(d.grad);
    pr_free(d.active);
    return status;
}
