/* Building graphs: values, nodes, unique names. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "graph/internal.h"

/* The name lists of ops.def. */
static const struct {
    const char *name, *inputs, *outputs;
} ops[PR_OP_COUNT] = {
#define OP(id, name, in, out, attrs) [PR_OP_##id] = {name, in, out},
#include "graph/ops.def"
#undef OP
};

const char *pr_op_name(pr_op op)
{
    return ops[op].name;
}

/* ---- families --------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    float parameter[3];
} maps[PR_MAP_COUNT] = {
#define NONE NAN
#define MAP(id, name, a, b, c, ...) [PR_MAP_##id] = {name, {(float)(a), (float)(b), (float)(c)}},
#include "graph/maths.def"
#undef MAP
#undef NONE
};
static const char *const binaries[PR_BINARY_COUNT] = {
#define BINARY(id, name, ...) [PR_BINARY_##id] = name,
#include "graph/maths.def"
#undef BINARY
};
static const char *const reductions[PR_REDUCE_COUNT] = {
#define REDUCE(id, name, ...) [PR_REDUCE_##id] = name,
#include "graph/maths.def"
#undef REDUCE
};

const char *pr_map_name(pr_map function)
{
    return maps[function].name;
}

const float *pr_map_defaults(pr_map function)
{
    return maps[function].parameter;
}

const char *pr_binary_name(pr_binary function)
{
    return binaries[function];
}

const char *pr_reduce_name(pr_reduce function)
{
    return reductions[function];
}

/* Number of names in a list of ops.def, and in *required those before the first optional one. */
static int count_slots(const char *list, int *required)
{
    int count = 1;
    for (const char *c = list; *c; c++)
        count += *c == ' ';
    const char *optional = strchr(list, '?');
    *required = count;
    for (const char *c = optional; c; c = strchr(c + 1, '?'))
        --*required;
    return count;
}

/* ---- dimensions ------------------------------------------------------------------------------------------------- */

pr_dims pr_dims_make(int rank, const int64_t *dim)
{
    pr_dims dims = {.rank = rank};
    memcpy(dims.dim, dim, (size_t)rank * sizeof(*dim));
    return dims;
}

bool pr_dims_equal(pr_dims a, pr_dims b)
{
    return a.rank == b.rank && memcmp(a.dim, b.dim, (size_t)a.rank * sizeof(a.dim[0])) == 0;
}

int64_t pr_dims_count(pr_dims dims, int64_t batch)
{
    int64_t count = 1;
    for (int d = 0; d < dims.rank; d++)
        count *= dims.dim[d] == PR_BATCH ? batch : dims.dim[d];
    return count;
}

int64_t pr_dims_row(pr_dims dims)
{
    return pr_dims_count(dims, 1);
}

const char *pr_dims_text(pr_dims dims, char text[PR_DIMS_TEXT])
{
    int length = 0;
    snprintf(text, PR_DIMS_TEXT, "scalar");
    for (int d = 0; d < dims.rank; d++) {
        const char *separator = d ? " x " : "";
        size_t left = (size_t)(PR_DIMS_TEXT - length);
        if (dims.dim[d] == PR_BATCH)
            length += snprintf(text + length, left, "%sN", separator);
        else
            length += snprintf(text + length, left, "%s%lld", separator, (long long)dims.dim[d]);
    }
    return text;
}

/* ---- creation --------------------------------------------------------------------------------------------------- */

parry_status pr_graph_create(parry_ctx *ctx, pr_graph **out)
{
    TRY(pr_alloc(ctx, 1, out));
    (*out)->input = (*out)->logits = -1;
    return PARRY_OK;
}

void pr_graph_free(pr_graph *graph)
{
    if (!graph)
        return;
    for (size_t v = 0; v < graph->value_count; v++)
        pr_free(graph->values[v].name);
    for (size_t n = 0; n < graph->node_count; n++)
        pr_free(graph->nodes[n].name);
    pr_free(graph->values);
    pr_free(graph->nodes);
    pr_free(graph->slots);
    pr_free(graph);
}

/* ---- names ------------------------------------------------------------------------------------------------------ */

/* The slot that holds `name`, or the free one where it belongs (FNV-1a, linear probing). */
static pr_value *name_slot(const pr_graph *graph, const char *name)
{
    uint64_t hash = 14695981039346656037u;
    for (const char *c = name; *c; c++)
        hash = (hash ^ (unsigned char)*c) * 1099511628211u;
    size_t at = hash & (graph->slot_count - 1);
    while (graph->slots[at] >= 0 && strcmp(graph->values[graph->slots[at]].name, name) != 0)
        at = (at + 1) & (graph->slot_count - 1);
    return &graph->slots[at];
}

pr_value pr_graph_find(const pr_graph *graph, const char *name)
{
    return graph->slot_count ? *name_slot(graph, name) : -1;
}

/* Keeps the table at most half full with one more value. */
static parry_status reserve_slots(parry_ctx *ctx, pr_graph *graph)
{
    if (2 * (graph->value_count + 1) <= graph->slot_count)
        return PARRY_OK;
    size_t larger = graph->slot_count ? 2 * graph->slot_count : 64;
    pr_value *slots;
    TRY(pr_alloc_raw(ctx, larger, &slots));
    pr_free(graph->slots);
    graph->slots = slots;
    graph->slot_count = larger;
    memset(slots, 0xff, larger * sizeof(*slots));
    for (size_t v = 0; v < graph->value_count; v++)
        *name_slot(graph, graph->values[v].name) = (pr_value)v;
    return PARRY_OK;
}

static parry_status unique_name(parry_ctx *ctx, const pr_graph *graph, const char *wish, char **out)
{
    if (wish && *wish && pr_graph_find(graph, wish) < 0)
        return pr_strdup(ctx, wish, out);
    for (size_t number = graph->value_count;; number++) {
        TRY(pr_asprintf(ctx, out, "%s_%zu", wish ? wish : "", number));
        if (pr_graph_find(graph, *out) < 0)
            return PARRY_OK;
        pr_free(*out);
    }
}

/* ---- values and nodes ------------------------------------------------------------------------------------------- */

parry_status pr_graph_add_value(parry_ctx *ctx, pr_graph *graph, const pr_value_info *info, pr_value *out)
{
    *out = -1;
    if (graph->value_count >= INT32_MAX)
        return pr_fail(ctx, PARRY_UNSUPPORTED, "'%s': too many values in one network", info->name);
    TRY(pr_grow(ctx, graph->value_count + 1, &graph->value_capacity, &graph->values));
    TRY(reserve_slots(ctx, graph));
    pr_value_info *value = &graph->values[graph->value_count];
    *value = *info;
    TRY(unique_name(ctx, graph, info->name, &value->name));
    *out = *name_slot(graph, value->name) = (pr_value)graph->value_count++;
    return PARRY_OK;
}

parry_status pr_graph_input(parry_ctx *ctx, pr_graph *graph, const char *name, pr_dims dims, pr_value *out)
{
    bool fits = dims.rank >= 1 && dims.rank <= PR_RANK_MAX && dims.dim[0] == PR_BATCH;
    for (int d = 1; fits && d < dims.rank; d++)
        fits = dims.dim[d] > 0;
    *out = -1;
    if (!fits)
        return pr_fail(ctx, PARRY_MISMATCH,
                       "input '%s': expected the batch and then positive dimensions, at most %d in all", name,
                       PR_RANK_MAX);
    pr_value_info info = {.name = (char *)name, .kind = PR_VALUE_INPUT, .dims = dims};
    return pr_graph_add_value(ctx, graph, &info, out);
}

parry_status pr_graph_weight(parry_ctx *ctx, pr_graph *graph, const pr_weights *weights, int32_t weight, pr_value *out)
{
    const pr_weight *item = &weights->items[weight];
    pr_value known = pr_graph_find(graph, item->name);
    if (known >= 0 && graph->values[known].kind == PR_VALUE_WEIGHT && graph->values[known].weight == weight) {
        *out = known;
        return PARRY_OK;
    }
    pr_value_info info = {
        .name = item->name, .kind = PR_VALUE_WEIGHT, .weight = weight, .dims = pr_dims_make(item->rank, item->dim)};
    return pr_graph_add_value(ctx, graph, &info, out);
}

static parry_status check_arity(parry_ctx *ctx, const pr_graph *graph, const pr_node *node)
{
    const char *op = ops[node->op].name;
    int in_needed, out_needed;
    int in_most = count_slots(ops[node->op].inputs, &in_needed);
    int out_most = count_slots(ops[node->op].outputs, &out_needed);

    if (node->inputs < in_needed || node->inputs > in_most)
        return pr_fail(ctx, PARRY_MISMATCH, "node '%s' (%s): expected %d to %d inputs, found %d", node->name, op,
                       in_needed, in_most, node->inputs);
    if (node->outputs < out_needed || node->outputs > out_most)
        return pr_fail(ctx, PARRY_MISMATCH, "node '%s' (%s): expected %d to %d outputs, found %d", node->name, op,
                       out_needed, out_most, node->outputs);
    for (int i = 0; i < node->inputs; i++) {
        if (node->in[i] >= (pr_value)graph->value_count || (node->in[i] < 0 && (i < in_needed || node->in[i] != -1)))
            return pr_fail(ctx, PARRY_MISMATCH, "node '%s' (%s): input %d is missing", node->name, op, i);
    }
    return PARRY_OK;
}

/* The value's name: the node's, or with several outputs the node's and the output's. */
static parry_status add_output(parry_ctx *ctx, pr_graph *graph, const pr_node *node, int index, pr_dims dims,
                               pr_value *out)
{
    const char *label = ops[node->op].outputs;
    for (int i = 0; i < index; i++)
        label = strchr(label, ' ') + 1;
    char *name;
    if (index == 0)
        TRY(pr_strdup(ctx, node->name, &name));
    else
        TRY(pr_asprintf(ctx, &name, "%s.%.*s", node->name, (int)strcspn(label, " ?"), label));
    pr_value_info info = {.name = name, .kind = PR_VALUE_NODE, .producer = (int32_t)graph->node_count, .dims = dims};
    parry_status status = pr_graph_add_value(ctx, graph, &info, out);
    pr_free(name);
    return status;
}

parry_status pr_graph_node_outputs(parry_ctx *ctx, pr_graph *graph, pr_op op, const char *name, const pr_attrs *attrs,
                                   const pr_value *in, int inputs, int outputs, pr_value *out)
{
    parry_status status;
    pr_dims dims[PR_NODE_OUT];
    size_t values_before = graph->value_count;
    pr_node node = {.op = op, .inputs = inputs, .outputs = outputs, .attrs = attrs ? *attrs : (pr_attrs){{{0}}}};

    for (int i = 0; i < PR_NODE_IN; i++)
        node.in[i] = i < inputs ? in[i] : -1;
    for (int o = 0; o < PR_NODE_OUT; o++)
        node.out[o] = -1;
    TRY(pr_grow(ctx, graph->node_count + 1, &graph->node_capacity, &graph->nodes));
    TRY(pr_strdup(ctx, name && *name ? name : ops[op].name, &node.name));
    TRY_TO(fail, check_arity(ctx, graph, &node));
    TRY_TO(fail, pr_graph_infer(ctx, graph, &node, dims));
    for (int o = 0; o < outputs; o++)
        TRY_TO(fail, add_output(ctx, graph, &node, o, dims[o], &node.out[o]));
    graph->nodes[graph->node_count++] = node;
    memcpy(out, node.out, (size_t)outputs * sizeof(*out));
    return PARRY_OK;
fail:
    /* The outputs that were added stay out of the graph: without their node they would have no producer. */
    while (graph->value_count > values_before) {
        pr_value_info *value = &graph->values[graph->value_count - 1];
        *name_slot(graph, value->name) = -1;
        pr_free(value->name);
        graph->value_count--;
    }
    pr_free(node.name);
    return status;
}

parry_status pr_graph_node(parry_ctx *ctx, pr_graph *graph, pr_op op, const char *name, const pr_attrs *attrs,
                           const pr_value *in, int inputs, pr_value *out)
{
    int needed;
    return pr_graph_node_outputs(ctx, graph, op, name, attrs, in, inputs, count_slots(ops[op].outputs, &needed), out);
}

/* ---- copies ----------------------------------------------------------------------------------------------------- */

parry_status pr_graph_clone(parry_ctx *ctx, const pr_graph *graph, pr_graph **out)
{
    parry_status status;
    pr_graph *copy;

    *out = NULL;
    TRY(pr_graph_create(ctx, &copy));
    for (size_t v = 0; v < graph->value_count; v++) {
        pr_value value;
        TRY_TO(fail, pr_graph_add_value(ctx, copy, &graph->values[v], &value));
    }
    TRY_TO(fail, pr_grow(ctx, graph->node_count, &copy->node_capacity, &copy->nodes));
    for (size_t n = 0; n < graph->node_count; n++) {
        pr_node node = graph->nodes[n];
        TRY_TO(fail, pr_strdup(ctx, node.name, &node.name));
        copy->nodes[copy->node_count++] = node;
    }
    copy->input = graph->input;
    copy->logits = graph->logits;
    *out = copy;
    return PARRY_OK;
fail:
    pr_graph_free(copy);
    return status;
}
