/* The compiler's frame: which rule lowers which operator, layouts, and the way out through the oracle's plain C. */
#include <string.h>

#include "engine/lower.h"

/* ---- what rules are written with ------------------------------------------------------------------------------- */

/* Whether both layouts are the same bytes. */
static bool one_order(pr_dims dims)
{
    return dims.rank != 4 || dims.dim[1] == 1 || dims.dim[2] * dims.dim[3] == 1;
}

int64_t pr_lower_rows(const pr_lower *l, int v)
{
    if (l->program->whole)
        return l->program->rows;
    return v == 0 ? l->program->shard_rows : pr_program_shard_rows(l->program, l->program->shards - 1);
}

void pr_lower_keep(pr_lower *l, pr_value value)
{
    l->uses[value]++;
    l->user[value] = -1;
}

const pr_node *pr_lower_sole_user(const pr_lower *l, pr_value value, pr_op op)
{
    if (l->uses[value] != 1 || l->user[value] < 0)
        return NULL;
    const pr_node *node = &l->graph->nodes[l->user[value]];
    return node->op == op ? node : NULL;
}

void pr_lower_fuse(pr_lower *l, const pr_node *node)
{
    l->done[node - l->graph->nodes] = true;
}

void pr_lower_alias(pr_lower *l, pr_value value, pr_layout layout, int buffer)
{
    l->place[value][layout] = buffer;
    if (layout != PR_NHWC_BF16 && one_order(pr_dims_of(l, value)))
        l->place[value][PR_ROWS] = l->place[value][PR_NHWC] = buffer;
}

parry_status pr_lower_weight(pr_lower *l, pr_value value, const pr_md *md, int *buffer)
{
    int copy;
    TRY(pr_store_get(l->ctx, l->store, l->graph->values[value].weight, md, &copy));
    for (size_t b = 0; b < l->program->buffer_count; b++) {
        *buffer = (int)b;
        if (l->program->buffers[b].spread == PR_FROM_STORE && l->program->buffers[b].copy == copy)
            return PARRY_OK;
    }
    TRY(pr_program_buffer(l->ctx, l->program, PR_FROM_STORE, l->store->items[copy].floats, buffer));
    l->program->buffers[*buffer].copy = copy;
    return PARRY_OK;
}

/* Descriptors of `rows` images of one activation in a layout. */
static parry_status activation_md(pr_lower *l, pr_dims dims, int64_t rows, pr_layout layout, pr_md **out)
{
    int64_t c = dims.dim[1], h = dims.dim[2], w = dims.dim[3];
    dims.dim[0] = rows;
    return pr_md_create(l->ctx, dims.rank, dims.dim, layout == PR_NHWC ? (int64_t[]){c * h * w, 1, w * c, c} : NULL,
                        out);
}

/* Between the two layouts of f32. */
static parry_status reorder_prim(pr_lower *l, pr_dims dims, int64_t rows, pr_layout layout, pr_prim **out)
{
    pr_md *from = NULL, *to = NULL;
    parry_status status;
    TRY_TO(done, activation_md(l, dims, rows, 1 - layout, &from));
    TRY_TO(done, activation_md(l, dims, rows, layout, &to));
    TRY_TO(done, pr_prim_reorder(l->ctx, l->dnnl, from, to, out));
done:
    pr_md_free(from);
    pr_md_free(to);
    return status;
}

/* Values of rank 4 without a batch (constants) are never nhwc. */
static parry_status add_reorder(pr_lower *l, pr_value value, pr_layout layout, int *buffer)
{
    pr_step *step;
    int from = l->place[value][1 - layout];
    TRY(pr_lower_write(l, value, layout, buffer));
    TRY(pr_program_step(l->ctx, l->program, layout == PR_NHWC ? "reorder to nhwc" : "reorder to nchw", NULL,
                        PR_EACH_SHARD, &step));
    pr_step_operand(step, from, PR_READS, PR_ARG_SRC);
    pr_step_operand(step, *buffer, PR_WRITES, PR_ARG_DST);
    for (int v = 0; v < l->program->variants; v++)
        TRY(reorder_prim(l, pr_dims_of(l, value), pr_lower_rows(l, v), layout, &step->prim[v]));
    return PARRY_OK;
}

static parry_status run_convert(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    const pr_bf16_kernels *k = pr_bf16_kernels_get();
    int64_t count = frame->rows * step->area;
    (void)ctx;
    if (step->flag)
        k->narrow(pr_at(step, frame, 0), pr_bf16_at(step, frame, 1), count);
    else
        k->widen(pr_bf16_at(step, frame, 0), pr_at(step, frame, 1), count);
    return PARRY_OK;
}

/* Between bf16 and the f32 layout of the same order. */
static parry_status add_conversion(pr_lower *l, pr_value value, pr_layout from, pr_layout to, int *buffer)
{
    int in;
    pr_step *step;
    TRY(pr_lower_read(l, value, from, &in));
    TRY(pr_lower_write(l, value, to, buffer));
    TRY(pr_program_step(l->ctx, l->program, to == PR_NHWC_BF16 ? "to bf16" : "to f32", NULL, PR_EACH_SHARD, &step));
    step->run = run_convert;
    step->area = pr_dims_row(pr_dims_of(l, value));
    step->flag = to == PR_NHWC_BF16;
    pr_step_operand(step, in, PR_READS, PR_ARG_SRC);
    pr_step_operand(step, *buffer, PR_WRITES, PR_ARG_DST);
    return PARRY_OK;
}

parry_status pr_lower_read(pr_lower *l, pr_value value, pr_layout layout, int *buffer)
{
    *buffer = l->place[value][layout];
    if (*buffer >= 0)
        return PARRY_OK;
    if (pr_is_weight(l, value)) {
        TRY(pr_lower_weight(l, value, NULL, buffer));
        l->place[value][PR_ROWS] = *buffer;
        return PARRY_OK;
    }
    if (layout == PR_NHWC_BF16)
        return add_conversion(l, value, PR_NHWC, layout, buffer);
    if (l->place[value][1 - layout] >= 0)
        return add_reorder(l, value, layout, buffer);
    if (l->place[value][PR_NHWC_BF16] < 0)
        return pr_fail(l->ctx, PARRY_UNSUPPORTED, "value '%s' is needed in a form that the engine does not keep",
                       l->graph->values[value].name);
    TRY(add_conversion(l, value, PR_NHWC_BF16, PR_NHWC, buffer));
    return pr_lower_read(l, value, layout, buffer);
}

parry_status pr_lower_write(pr_lower *l, pr_value value, pr_layout layout, int *buffer)
{
    pr_dims dims = pr_dims_of(l, value);
    int64_t count = pr_dims_row(dims);
    TRY(pr_program_buffer(l->ctx, l->program, pr_has_batch(dims) ? PR_BY_ROW : PR_SHARED,
                          layout == PR_NHWC_BF16 ? (count + 1) / 2 : count, buffer));
    pr_lower_alias(l, value, layout, *buffer);
    return PARRY_OK;
}

pr_layout pr_lower_layout(const pr_lower *l, pr_value value)
{
    return l->place[value][PR_NHWC] >= 0 || l->place[value][PR_NHWC_BF16] >= 0 ? PR_NHWC : PR_ROWS;
}

parry_status pr_lower_room(pr_lower *l, int64_t floats, int *buffer)
{
    return pr_program_buffer(l->ctx, l->program, PR_BY_SHARD, (floats + 15) / 16 * 16, buffer);
}

static const char *name_of(const pr_node *node)
{
    return node->op == PR_OP_MAP      ? pr_map_name(node->attrs.map.function)
           : node->op == PR_OP_BINARY ? pr_binary_name(node->attrs.binary.function)
                                      : pr_op_name(node->op);
}

parry_status pr_lower_step(pr_lower *l, const pr_recipe *r, pr_step **step)
{
    int in[PR_NODE_IN], room[PR_ROOM], out[PR_NODE_OUT], rooms = 0;
    const pr_node *node = r->node;
    const pr_value *values = r->in ? r->in : node->in;
    const int inputs = r->in ? r->inputs : node->inputs;
    for (int i = 0; i < inputs; i++) {
        if (values[i] >= 0)
            TRY(pr_lower_read(l, values[i], pr_has_batch(pr_dims_of(l, values[i])) ? r->from : PR_ROWS, &in[i]));
    }
    for (; rooms < PR_ROOM && r->room[rooms]; rooms++)
        TRY(pr_lower_room(l, r->room[rooms], &room[rooms]));
    for (int o = 0; o < node->outputs; o++)
        TRY(pr_lower_write(l, node->out[o], r->to, &out[o]));
    TRY(pr_program_step(l->ctx, l->program, r->what ? r->what : name_of(node), node, r->once ? PR_ONCE : PR_EACH_SHARD,
                        step));
    (*step)->run = r->run;
    (*step)->area = pr_dims_row(pr_dims_of(l, node->out[0]));
    for (int i = 0; i < inputs; i++) {
        if (values[i] >= 0)
            pr_step_operand(*step, in[i], PR_READS, PR_ARG_SRC);
    }
    for (int i = 0; i < rooms; i++)
        pr_step_operand(*step, room[i], PR_WRITES, PR_ARG_SRC);
    for (int o = 0; o < node->outputs; o++)
        pr_step_operand(*step, out[o], PR_WRITES, PR_ARG_DST);
    return PARRY_OK;
}

bool pr_lower_is_image(const pr_lower *l, pr_value value)
{
    static const bool moves[PR_OP_COUNT] = {
        [PR_OP_RESHAPE] = true,    [PR_OP_TRANSPOSE] = true, [PR_OP_PAD] = true,
        [PR_OP_IDENTITY] = true,   [PR_OP_DROPOUT] = true,   [PR_OP_CHANNEL_AFFINE] = true,
        [PR_OP_BATCH_NORM] = true, [PR_OP_ADD] = true,       [PR_OP_SUB] = true,
        [PR_OP_MUL] = true,        [PR_OP_DIV] = true,       [PR_OP_GATHER] = true};
    const pr_value_info *info = &l->graph->values[value];
    while (info->kind == PR_VALUE_NODE && moves[l->graph->nodes[info->producer].op])
        info = &l->graph->values[l->graph->nodes[info->producer].in[0]];
    return info == &l->graph->values[l->graph->input];
}

bool pr_lower_channels(const pr_lower *l, pr_value value, int64_t *area, int64_t *channels)
{
    pr_dims dims = pr_dims_of(l, value);
    if (!pr_has_batch(dims) || (dims.rank != 2 && dims.rank != 4))
        return false;
    *channels = dims.dim[1];
    *area = pr_dims_row(dims) / *channels;
    return true;
}

/* ---- plain C --------------------------------------------------------------------------------------------------- */

static parry_status run_plain_c(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    const float *in[PR_NODE_IN] = {0};
    float *out[PR_NODE_OUT] = {0};
    int at = 0;
    for (int i = 0; i < step->node->inputs; i++) {
        if (step->node->in[i] >= 0)
            in[i] = pr_at(step, frame, at++);
    }
    for (int o = 0; o < step->node->outputs; o++)
        out[o] = pr_at(step, frame, at++);
    return pr_ref_node(ctx, frame->program->graph, step->node, frame->rows, in, out, frame->call->seed,
                       frame->call->step);
}

/* Whether rows of the result depend on the same rows of the operands alone. */
static bool row_wise(const pr_lower *l, const pr_node *node)
{
    if (node->op == PR_OP_BATCH_NORM_TRAIN || node->op == PR_OP_BATCH_NORM_TRAIN_GRAD ||
        node->op == PR_OP_DROPOUT_TRAIN || node->op == PR_OP_DROPOUT_TRAIN_GRAD)
        return false;
    for (int o = 0; o < node->outputs; o++) {
        if (!pr_has_batch(pr_dims_of(l, node->out[o])))
            return false;
    }
    return true;
}

parry_status pr_lower_plain_c(pr_lower *l, const pr_node *node)
{
    pr_step *step;
    const bool once = l->program->training && !row_wise(l, node);
    return pr_lower_step(l, &(pr_recipe){.node = node, .run = run_plain_c, .once = once}, &step);
}

/* ---- movement: the same numbers under another name ------------------------------------------------------------- */

static parry_status alias_rule(pr_lower *l, const pr_node *node)
{
    pr_value x = node->in[0], y = node->out[0];
    int buffer;
    if (node->op != PR_OP_RESHAPE || pr_dims_equal(pr_dims_of(l, x), pr_dims_of(l, y))) {
        if (l->place[x][PR_NHWC_BF16] < 0)
            TRY(pr_lower_read(l, x, pr_lower_layout(l, x), &buffer));
        memcpy(l->place[y], l->place[x], sizeof(*l->place));
        return PARRY_OK;
    }
    TRY(pr_lower_read(l, x, PR_ROWS, &buffer));
    pr_lower_alias(l, y, PR_ROWS, buffer);
    return PARRY_OK;
}

/* ---- the table ------------------------------------------------------------------------------------------------- */

static const pr_rule rules[PR_OP_COUNT] = {
    [PR_OP_CONV] = pr_rule_conv,
    [PR_OP_GEMM] = pr_rule_gemm,
    [PR_OP_BATCH_NORM] = pr_rule_norm,
    [PR_OP_RELU] = pr_rule_map,
    [PR_OP_SIGMOID] = pr_rule_function,
    [PR_OP_TANH] = pr_rule_function,
    [PR_OP_SIGMOID_GRAD] = pr_rule_function,
    [PR_OP_TANH_GRAD] = pr_rule_function,
    [PR_OP_MAP] = pr_rule_function,
    [PR_OP_MAP_GRAD] = pr_rule_function,
    [PR_OP_BINARY] = pr_rule_broadcast,
    [PR_OP_BINARY_GRAD] = pr_rule_broadcast,
    [PR_OP_WHERE] = pr_rule_broadcast,
    [PR_OP_REDUCE] = pr_rule_reduce,
    [PR_OP_REDUCE_GRAD] = pr_rule_reduce,
    [PR_OP_MATMUL] = pr_rule_matmul,
    [PR_OP_SOFTMAX] = pr_rule_rows,
    [PR_OP_SOFTMAX_GRAD] = pr_rule_rows,
    [PR_OP_NORMALIZE] = pr_rule_rows,
    [PR_OP_NORMALIZE_GRAD] = pr_rule_rows,
    [PR_OP_LRN] = pr_rule_lrn,
    [PR_OP_LRN_GRAD] = pr_rule_lrn,
    [PR_OP_LEAKY_RELU] = pr_rule_map,
    [PR_OP_MAX_POOL] = pr_rule_pool,
    [PR_OP_AVERAGE_POOL] = pr_rule_pool,
    [PR_OP_GLOBAL_AVERAGE_POOL] = pr_rule_pool,
    [PR_OP_ADD] = pr_rule_map,
    [PR_OP_SUB] = pr_rule_map,
    [PR_OP_MUL] = pr_rule_map,
    [PR_OP_DIV] = pr_rule_map,
    [PR_OP_NEG] = pr_rule_map,
    [PR_OP_RESHAPE] = alias_rule,
    [PR_OP_TRANSPOSE] = pr_rule_transpose,
    [PR_OP_PAD] = pr_rule_pad,
    [PR_OP_CONCAT] = pr_rule_concat,
    [PR_OP_GATHER] = pr_rule_gather,
    [PR_OP_GATHER_GRAD] = pr_rule_gather,
    [PR_OP_IDENTITY] = alias_rule,
    [PR_OP_DROPOUT] = alias_rule,
    [PR_OP_CHANNEL_AFFINE] = pr_rule_affine,
    [PR_OP_BATCH_NORM_TRAIN] = pr_rule_norm_train,
    [PR_OP_DROPOUT_TRAIN] = pr_rule_dropout,
    [PR_OP_CONV_GRAD_X] = pr_rule_conv_grad_x,
    [PR_OP_CONV_GRAD_W] = pr_rule_conv_grad_w,
    [PR_OP_GEMM_GRAD_X] = pr_rule_gemm_grad_x,
    [PR_OP_GEMM_GRAD_W] = pr_rule_gemm_grad_w,
    [PR_OP_BATCH_NORM_GRAD_X] = pr_rule_norm,
    [PR_OP_BATCH_NORM_TRAIN_GRAD] = pr_rule_norm_train_grad,
    [PR_OP_RELU_GRAD] = pr_rule_map,
    [PR_OP_LEAKY_RELU_GRAD] = pr_rule_map,
    [PR_OP_MAX_POOL_GRAD] = pr_rule_pool,
    [PR_OP_AVERAGE_POOL_GRAD] = pr_rule_pool,
    [PR_OP_GLOBAL_AVERAGE_POOL_GRAD] = pr_rule_pool,
    [PR_OP_DROPOUT_TRAIN_GRAD] = pr_rule_dropout,
    [PR_OP_CHANNEL_AFFINE_GRAD_X] = pr_rule_affine,
    [PR_OP_REDUCE_TO] = pr_rule_reduce_to,
};

/* Whether a node of a plan in several shards runs once for all rows: where it reads more weights than activations, each
 * weight that comes from memory should serve all images. A node without weights goes with the one before it. */
static bool runs_whole(const pr_lower *l, const pr_node *node)
{
    int64_t weights = 0, activations = 0;
    for (int i = 0; i < node->inputs; i++) {
        if (node->in[i] >= 0)
            *(pr_is_weight(l, node->in[i]) ? &weights : &activations) += pr_dims_row(pr_dims_of(l, node->in[i]));
    }
    for (int o = 0; o < node->outputs; o++)
        activations += pr_dims_row(pr_dims_of(l, node->out[o]));
    return weights > 0 ? weights >= activations : l->program->whole;
}

parry_status pr_lower_nodes(pr_lower *l, size_t first, size_t end)
{
    for (size_t n = first; n < end; n++) {
        const pr_node *node = &l->graph->nodes[n];
        if (!l->program->training && l->program->shards > 1 && !l->done[n])
            l->program->whole = runs_whole(l, node);
        pr_rule rule = l->reference && rules[node->op] != alias_rule ? NULL : rules[node->op];
        if (!l->done[n])
            TRY(rule ? rule(l, node) : pr_lower_plain_c(l, node));
    }
    return PARRY_OK;
}

static void count_uses(pr_lower *l)
{
    for (size_t n = 0; n < l->graph->node_count; n++) {
        for (int i = 0; i < l->graph->nodes[n].inputs; i++) {
            pr_value value = l->graph->nodes[n].in[i];
            if (value < 0)
                continue;
            l->uses[value]++;
            l->user[value] = (int)n;
        }
    }
}

parry_status pr_lower_init(parry_ctx *ctx, pr_lower *l, const pr_graph *graph, const pr_weights *weights,
                           pr_store *store, pr_program *program)
{
    size_t values = graph->value_count;
    *l = (pr_lower){
        .ctx = ctx, .dnnl = store->dnnl, .graph = graph, .weights = weights, .store = store, .program = program};
    TRY(pr_alloc(ctx, values, &l->place));
    TRY(pr_alloc(ctx, values, &l->uses));
    TRY(pr_alloc(ctx, values, &l->user));
    TRY(pr_alloc(ctx, values, &l->sums));
    TRY(pr_alloc(ctx, values, &l->parameter));
    TRY(pr_alloc(ctx, graph->node_count + 1, &l->done));
    TRY(pr_alloc(ctx, graph->node_count + 1, &l->mask));
    memset(l->place, 0xff, values * sizeof(*l->place));
    memset(l->sums, 0xff, values * sizeof(*l->sums));
    memset(l->parameter, 0xff, values * sizeof(*l->parameter));
    memset(l->mask, 0xff, (graph->node_count + 1) * sizeof(*l->mask));
    count_uses(l);
    pr_lower_keep(l, graph->logits);
    return PARRY_OK;
}

void pr_lower_release(pr_lower *l)
{
    pr_free(l->place);
    pr_free(l->uses);
    pr_free(l->user);
    pr_free(l->sums);
    pr_free(l->parameter);
    pr_free(l->done);
    pr_free(l->mask);
}
