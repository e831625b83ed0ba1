/* What stands for other nodes, put in place before anything is translated: calls of model-local functions are replaced
 * by the function's nodes, and the branches of If by their nodes, each under its condition, before an If that only
 * chooses among their results. Tensors get names of their own. All to a limited depth and number of nodes. */
#include <stdio.h>
#include <string.h>

#include "onnx/import.h"

enum { DEPTH_MAX = 16, NODES_MAX = 1 << 18 };

/* What names mean. A function knows its arguments, results and tensors of its own; a branch what it defines, and all
 * that is known around it. NULL: the file's graph, names of which stay. */
typedef struct scope {
    const PrOnnx__FunctionProto *function; /* NULL: a branch */
    const onnx_node *call;                 /* of the function */
    const struct scope *around;            /* of the branch */
    pr_names own;                          /* what the branch defines */
    pr_guard guard;
    unsigned number;
} scope;

/* Memory that lives as long as the importer. */
static parry_status keep(importer *imp, size_t size, void *out)
{
    uint8_t *memory;
    TRY(pr_grow(imp->ctx, imp->owned_count + 1, &imp->owned_capacity, &imp->owned));
    TRY(pr_alloc(imp->ctx, PR_MAX(size, 1), &memory));
    imp->owned[imp->owned_count++] = memory;
    *(void **)out = memory;
    return PARRY_OK;
}

void pr_functions_release(importer *imp)
{
    for (size_t i = 0; i < imp->branch_count; i++)
        pr_onnx__graph_proto__free_unpacked(imp->branches[i], &imp->decoder->allocator);
    for (size_t i = 0; i < imp->owned_count; i++)
        pr_free(imp->owned[i]);
    pr_free(imp->branches);
    pr_free(imp->owned);
    pr_free(imp->expanded.node);
    pr_free(imp->guards);
}

static const PrOnnx__FunctionProto *function_of(const PrOnnx__ModelProto *file, const onnx_node *node)
{
    for (size_t f = 0; f < file->n_functions; f++)
        if (strcmp(file->functions[f]->name, node->op_type) == 0 &&
            strcmp(file->functions[f]->domain, node->domain) == 0)
            return file->functions[f];
    return NULL;
}

/* The name of a tensor of the scope in the graph. */
static parry_status outer_name(importer *imp, const scope *in, char *name, char **out)
{
    *out = name;
    while (in && !in->function && pr_names_get(&in->own, name) < 0)
        in = in->around;
    const PrOnnx__FunctionProto *f = in ? in->function : NULL;
    if (!*name || !in)
        return PARRY_OK;
    for (size_t i = 0; f && i < f->n_input; i++)
        if (strcmp(f->input[i], name) == 0) {
            *out = i < in->call->n_input ? in->call->input[i] : (char *)"";
            return PARRY_OK;
        }
    for (size_t o = 0; f && o < f->n_output; o++)
        if (strcmp(f->output[o], name) == 0 && o < in->call->n_output && *in->call->output[o]) {
            *out = in->call->output[o];
            return PARRY_OK;
        }
    const char *const of = f ? f->name : "If";
    const size_t size = strlen(name) + strlen(of) + 32;
    TRY(keep(imp, size, out));
    snprintf(*out, size, "%s.%u/%s", of, in->number, name);
    return PARRY_OK;
}

static parry_status outer_names(importer *imp, const scope *in, char **names, size_t count, char ***out)
{
    TRY(keep(imp, count * sizeof **out, out));
    for (size_t i = 0; i < count; i++)
        TRY(outer_name(imp, in, names[i], &(*out)[i]));
    return PARRY_OK;
}

static onnx_attribute *named(onnx_attribute *const *attributes, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(attributes[i]->name, name) == 0)
            return attributes[i];
    return NULL;
}

/* An attribute that refers to one of the function's takes the call's value or the function's default; without either it
 * is left out. */
static parry_status attributes_of(importer *imp, const scope *in, onnx_node *node)
{
    onnx_attribute **to;
    size_t count = 0;
    while (in && !in->function)
        in = in->around;
    if (!in)
        return PARRY_OK;
    TRY(keep(imp, node->n_attribute * sizeof *to, &to));
    for (size_t i = 0; i < node->n_attribute; i++) {
        onnx_attribute *own = node->attribute[i], *copy;
        if (!*own->ref_attr_name) {
            to[count++] = own;
            continue;
        }
        const onnx_attribute *given = named(in->call->attribute, in->call->n_attribute, own->ref_attr_name);
        if (!given)
            given = named(in->function->attribute_proto, in->function->n_attribute_proto, own->ref_attr_name);
        if (!given)
            continue;
        TRY(keep(imp, sizeof *copy, &copy));
        *copy = *given;
        copy->name = own->name;
        to[count++] = copy;
    }
    node->attribute = to;
    node->n_attribute = count;
    return PARRY_OK;
}

static parry_status append(importer *imp, const scope *in, onnx_node *node)
{
    PrOnnx__GraphProto *to = &imp->expanded;
    if (in && to->n_node >= NODES_MAX)
        return pr_fail(imp->ctx, PARRY_UNSUPPORTED, "%s: its functions and branches expand to more than %d nodes",
                       imp->where, NODES_MAX);
    TRY(pr_grow(imp->ctx, to->n_node + 1, &imp->expanded_capacity, &to->node));
    TRY(pr_grow(imp->ctx, to->n_node + 1, &imp->guard_capacity, &imp->guards));
    imp->guards[to->n_node] = in ? in->guard : (pr_guard){0};
    to->node[to->n_node++] = node;
    return PARRY_OK;
}

static parry_status expand(importer *imp, const PrOnnx__ModelProto *file, const scope *in, onnx_node *node, int depth);

/* The nodes of a function or branch, in the graph's names. */
static parry_status expand_nodes(importer *imp, const PrOnnx__ModelProto *file, const scope *in, onnx_node **nodes,
                                 size_t count, int depth)
{
    if (depth == DEPTH_MAX)
        return pr_fail(imp->ctx, PARRY_UNSUPPORTED, "%s: its functions and branches nest more than %d deep", imp->where,
                       DEPTH_MAX);
    for (size_t n = 0; n < count; n++) {
        onnx_node *copy;
        if (imp->calls > NODES_MAX)
            return pr_fail(imp->ctx, PARRY_UNSUPPORTED, "%s: it has more than %d calls and branches", imp->where,
                           NODES_MAX);
        TRY(keep(imp, sizeof *copy, &copy));
        *copy = *nodes[n];
        TRY(outer_names(imp, in, nodes[n]->input, nodes[n]->n_input, &copy->input));
        TRY(outer_names(imp, in, nodes[n]->output, nodes[n]->n_output, &copy->output));
        TRY(attributes_of(imp, in, copy));
        TRY(expand(imp, file, in, copy, depth + 1));
    }
    return PARRY_OK;
}

/* ---- the branches of If ----------------------------------------------------------------------------------------- */

static parry_status decode_branch(importer *imp, const onnx_node *node, const char *name, PrOnnx__GraphProto **out)
{
    const onnx_attribute *branch = pr_attribute(node, name);
    pr_decoder *decoder = imp->decoder;
    *out = NULL;
    if (!branch || !branch->g.len)
        return pr_node_fail(imp, node, "the attribute %s should be a graph", name);
    TRY(pr_grow(imp->ctx, imp->branch_count + 1, &imp->branch_capacity, &imp->branches));
    *out = pr_onnx__graph_proto__unpack(&decoder->allocator, branch->g.len, branch->g.data);
    if (!*out)
        return decoder->status == PARRY_NO_MEMORY ? PARRY_NO_MEMORY
                                                  : pr_node_fail(imp, node, "its %s is damaged", name);
    imp->branches[imp->branch_count++] = *out;
    if ((*out)->n_output != node->n_output)
        return pr_node_fail(imp, node, "its %s has %zu outputs, expected %zu", name, (*out)->n_output, node->n_output);
    return PARRY_OK;
}

static parry_status define(importer *imp, scope *in, const char *name)
{
    return !*name || pr_names_get(&in->own, name) >= 0 ? PARRY_OK : pr_names_put(imp->ctx, &in->own, name, 0);
}

static parry_status define_names(importer *imp, scope *in, const PrOnnx__GraphProto *branch)
{
    for (size_t i = 0; i < branch->n_initializer; i++)
        TRY(define(imp, in, branch->initializer[i]->name));
    for (size_t n = 0; n < branch->n_node; n++)
        for (size_t o = 0; o < branch->node[n]->n_output; o++)
            TRY(define(imp, in, branch->node[n]->output[o]));
    return PARRY_OK;
}

/* An initialiser as the node Constant. */
static parry_status append_constant(importer *imp, const scope *in, PrOnnx__TensorProto *tensor)
{
    struct {
        onnx_node node;
        onnx_attribute value, *values[1];
        char *outputs[1];
    } * kept;
    TRY(keep(imp, sizeof *kept, &kept));
    kept->node = (onnx_node)PR_ONNX__NODE_PROTO__INIT;
    kept->value = (onnx_attribute)PR_ONNX__ATTRIBUTE_PROTO__INIT;
    kept->value.name = (char *)"value";
    kept->value.t = tensor;
    kept->values[0] = &kept->value;
    kept->node.op_type = (char *)"Constant";
    kept->node.attribute = kept->values;
    kept->node.n_attribute = 1;
    kept->node.output = kept->outputs;
    kept->node.n_output = 1;
    TRY(outer_name(imp, in, tensor->name, &kept->outputs[0]));
    return append(imp, in, &kept->node);
}

/* *results: the graph's names of what the branch gives. */
static parry_status expand_branch(importer *imp, const PrOnnx__ModelProto *file, const scope *around,
                                  const onnx_node *node, bool then, char **results, int depth)
{
    scope in = {.around = around, .guard = {node->input[0], then}, .number = imp->calls++};
    PrOnnx__GraphProto *branch;
    parry_status status;
    TRY(decode_branch(imp, node, then ? "then_branch" : "else_branch", &branch));
    TRY_TO(done, define_names(imp, &in, branch));
    for (size_t i = 0; i < branch->n_initializer; i++)
        TRY_TO(done, append_constant(imp, &in, branch->initializer[i]));
    TRY_TO(done, expand_nodes(imp, file, &in, branch->node, branch->n_node, depth));
    for (size_t o = 0; o < branch->n_output; o++)
        TRY_TO(done, outer_name(imp, &in, branch->output[o]->name, &results[o]));
    status = PARRY_OK;
done:
    pr_names_release(&in.own);
    return status;
}

/* If (condition) becomes If (condition, what the one branch gives, what the other gives). */
static parry_status expand_if(importer *imp, const PrOnnx__ModelProto *file, const scope *around, const onnx_node *node,
                              int depth)
{
    onnx_node *choice;
    if (node->n_input != 1 || !*node->input[0])
        return pr_node_fail(imp, node, "it should have one input, the condition");
    TRY(keep(imp, sizeof *choice, &choice));
    *choice = *node;
    choice->n_attribute = 0;
    choice->n_input = 1 + 2 * node->n_output;
    TRY(keep(imp, choice->n_input * sizeof *choice->input, &choice->input));
    choice->input[0] = node->input[0];
    TRY(expand_branch(imp, file, around, node, true, choice->input + 1, depth));
    TRY(expand_branch(imp, file, around, node, false, choice->input + 1 + node->n_output, depth));
    return append(imp, around, choice);
}

parry_status pr_import_if(importer *imp, const onnx_node *node)
{
    const slot *condition = pr_node_input(imp, node, 0);
    if (!pr_is_constant(condition))
        return pr_node_missing(imp, node, "with a condition that depends on the image");
    if (condition->constant.count != 1)
        return pr_node_fail(imp, node, "the condition should be one truth value");
    for (size_t o = 0; o < node->n_output; o++) {
        slot *output = pr_node_output_at(imp, node, o);
        const slot *chosen = pr_node_input(imp, node, 1 + o + (pr_truth(&condition->constant) ? 0 : node->n_output));
        if (!chosen)
            return pr_node_fail(imp, node, "its branch does not give output %zu", o);
        if (output)
            pr_stand_for(output, chosen);
    }
    return PARRY_OK;
}

/* ---- all together ----------------------------------------------------------------------------------------------- */

static parry_status expand(importer *imp, const PrOnnx__ModelProto *file, const scope *in, onnx_node *node, int depth)
{
    const scope call = {.function = function_of(file, node),
                        .call = node,
                        .guard = in ? in->guard : (pr_guard){0},
                        .number = imp->calls++};
    if (call.function)
        return expand_nodes(imp, file, &call, call.function->node, call.function->n_node, depth);
    if (!*node->domain && strcmp(node->op_type, "If") == 0)
        return expand_if(imp, file, in, node, depth);
    return append(imp, in, node);
}

parry_status pr_functions_expand(importer *imp, const PrOnnx__ModelProto *file)
{
    imp->expanded = *file->graph;
    imp->expanded.node = NULL;
    imp->expanded.n_node = 0;
    imp->file = &imp->expanded;
    for (size_t n = 0; n < file->graph->n_node; n++)
        TRY(expand(imp, file, NULL, file->graph->node[n], 0));
    return PARRY_OK;
}
