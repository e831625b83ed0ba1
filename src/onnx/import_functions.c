/* Model-local functions: before anything is translated, each call is replaced by the function's nodes, whose tensors get
 * names of their own. A function may call others, to a limited depth and number of nodes. */
#include <stdio.h>
#include <string.h>

#include "onnx/import.h"

enum { DEPTH_MAX = 16, NODES_MAX = 1 << 18 };

/* One call: whose formal names stand for which of the caller's. */
typedef struct call {
    const PrOnnx__FunctionProto *function;
    const onnx_node *node;
    unsigned number;
} call;

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
    for (size_t i = 0; i < imp->owned_count; i++)
        pr_free(imp->owned[i]);
    pr_free(imp->owned);
    pr_free(imp->expanded.node);
}

static const PrOnnx__FunctionProto *function_of(const PrOnnx__ModelProto *file, const onnx_node *node)
{
    for (size_t f = 0; f < file->n_functions; f++)
        if (strcmp(file->functions[f]->name, node->op_type) == 0 && strcmp(file->functions[f]->domain, node->domain) == 0)
            return file->functions[f];
    return NULL;
}

/* The caller's name of a tensor of the function. */
static parry_status outer_name(importer *imp, const call *c, char *name, char **out)
{
    const PrOnnx__FunctionProto *f = c->function;
    *out = (char *)"";
    if (!*name)
        return PARRY_OK;
    for (size_t i = 0; i < f->n_input; i++)
        if (strcmp(f->input[i], name) == 0) {
            *out = i < c->node->n_input ? c->node->input[i] : *out;
            return PARRY_OK;
        }
    for (size_t o = 0; o < f->n_output; o++)
        if (strcmp(f->output[o], name) == 0 && o < c->node->n_output && *c->node->output[o]) {
            *out = c->node->output[o];
            return PARRY_OK;
        }
    const size_t size = strlen(name) + strlen(f->name) + 32;
    TRY(keep(imp, size, out));
    snprintf(*out, size, "%s.%u/%s", f->name, c->number, name);
    return PARRY_OK;
}

static parry_status outer_names(importer *imp, const call *c, char **names, size_t count, char ***out)
{
    TRY(keep(imp, count * sizeof **out, out));
    for (size_t i = 0; i < count; i++)
        TRY(outer_name(imp, c, names[i], &(*out)[i]));
    return PARRY_OK;
}

static onnx_attribute *named(onnx_attribute *const *attributes, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(attributes[i]->name, name) == 0)
            return attributes[i];
    return NULL;
}

/* An attribute that refers to one of the function's takes the call's value or the function's default; without either it is
 * left out. */
static parry_status attributes_of(importer *imp, const call *c, onnx_node *node)
{
    onnx_attribute **to;
    size_t count = 0;
    TRY(keep(imp, node->n_attribute * sizeof *to, &to));
    for (size_t i = 0; i < node->n_attribute; i++) {
        onnx_attribute *own = node->attribute[i], *copy;
        if (!*own->ref_attr_name) {
            to[count++] = own;
            continue;
        }
        const onnx_attribute *given = named(c->node->attribute, c->node->n_attribute, own->ref_attr_name);
        if (!given)
            given = named(c->function->attribute_proto, c->function->n_attribute_proto, own->ref_attr_name);
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

static parry_status append(importer *imp, onnx_node *node)
{
    if (imp->expanded.n_node >= NODES_MAX)
        return pr_fail(imp->ctx, PARRY_UNSUPPORTED, "%s: its functions expand to more than %d nodes", imp->where, NODES_MAX);
    TRY(pr_grow(imp->ctx, imp->expanded.n_node + 1, &imp->expanded_capacity, &imp->expanded.node));
    imp->expanded.node[imp->expanded.n_node++] = node;
    return PARRY_OK;
}

static parry_status expand(importer *imp, const PrOnnx__ModelProto *file, onnx_node *node, int depth)
{
    const call c = {function_of(file, node), node, imp->calls++};
    if (!c.function)
        return append(imp, node);
    if (depth == DEPTH_MAX)
        return pr_fail(imp->ctx, PARRY_UNSUPPORTED, "%s: its functions call each other more than %d deep", imp->where,
                       DEPTH_MAX);
    for (size_t n = 0; n < c.function->n_node; n++) {
        onnx_node *copy;
        const onnx_node *inner = c.function->node[n];
        if (imp->calls > NODES_MAX)
            return pr_fail(imp->ctx, PARRY_UNSUPPORTED, "%s: its functions expand to more than %d nodes", imp->where,
                           NODES_MAX);
        TRY(keep(imp, sizeof *copy, &copy));
        *copy = *inner;
        TRY(outer_names(imp, &c, inner->input, inner->n_input, &copy->input));
        TRY(outer_names(imp, &c, inner->output, inner->n_output, &copy->output));
        TRY(attributes_of(imp, &c, copy));
        TRY(expand(imp, file, copy, depth + 1));
    }
    return PARRY_OK;
}

parry_status pr_functions_expand(importer *imp, const PrOnnx__ModelProto *file)
{
    imp->file = file->graph;
    if (!file->n_functions)
        return PARRY_OK;
    imp->expanded = *file->graph;
    imp->expanded.node = NULL;
    imp->expanded.n_node = 0;
    imp->file = &imp->expanded;
    for (size_t n = 0; n < file->graph->n_node; n++)
        TRY(expand(imp, file, file->graph->node[n], 0));
    return PARRY_OK;
}
