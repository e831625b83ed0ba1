/* What translations are written with: labels, inputs and outputs, parameters, attributes. */
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "onnx/import.h"

/* ---- errors ----------------------------------------------------------------------------------------------------- */

const char *pr_node_label(const onnx_node *node, char label[NODE_LABEL])
{
    snprintf(label, NODE_LABEL, "node '%.80s' (%.40s)", *node->name || !node->n_output ? node->name : node->output[0],
             node->op_type);
    return label;
}

parry_status pr_node_fail(const importer *imp, const onnx_node *node, const char *format, ...)
{
    char label[NODE_LABEL], reason[512];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof reason, format, args);
    va_end(args);
    return pr_fail(imp->ctx, PARRY_FORMAT, "%s: %s: %s", imp->where, pr_node_label(node, label), reason);
}

void pr_define_all(importer *imp, const onnx_node *node, slot_kind kind)
{
    for (size_t o = 0; o < node->n_output; o++)
        if (*node->output[o])
            imp->slots[pr_names_get(&imp->names, node->output[o])].kind = kind;
}

parry_status pr_node_missing(importer *imp, const onnx_node *node, const char *detail)
{
    if (imp->missing_count < MISSING_MAX)
        imp->missing[imp->missing_count++] = (missing){node, detail};
    else
        imp->missing_more++;
    pr_define_all(imp, node, SLOT_POISONED);
    return PARRY_OK;
}

/* ---- inputs and outputs ----------------------------------------------------------------------------------------- */

slot *pr_node_input(importer *imp, const onnx_node *node, size_t i)
{
    if (i >= node->n_input || !*node->input[i])
        return NULL;
    return &imp->slots[pr_names_get(&imp->names, node->input[i])];
}

slot *pr_node_output(importer *imp, const onnx_node *node)
{
    return &imp->slots[pr_names_get(&imp->names, node->output[0])];
}

slot *pr_node_output_at(importer *imp, const onnx_node *node, size_t i)
{
    return i < node->n_output && *node->output[i] ? &imp->slots[pr_names_get(&imp->names, node->output[i])] : NULL;
}

void pr_define_value(importer *imp, const onnx_node *node, pr_value value)
{
    slot *output = pr_node_output(imp, node);
    output->kind = SLOT_VALUE;
    output->value = value;
}

void pr_define_constant(importer *imp, const onnx_node *node, pr_constant *constant)
{
    slot *output = pr_node_output(imp, node);
    output->kind = SLOT_CONSTANT;
    output->constant = *constant;
    *constant = (pr_constant){0};
}

void pr_stand_for(slot *output, const slot *source)
{
    output->kind = source->kind;
    output->single = source->single;
    output->value = source->value;
    output->constant = source->constant;
    output->constant.owned = NULL; /* the source lives as long as the importer */
    output->uses += source->uses - 1;
}

void pr_define_same(importer *imp, const onnx_node *node, const slot *source)
{
    pr_stand_for(pr_node_output(imp, node), source);
}

void pr_clean_name(const char *name, char out[GRAPH_NAME])
{
    size_t length = 0;
    for (; *name && length + 1 < GRAPH_NAME; name++)
        out[length++] = (unsigned char)*name < 0x20 || *name == 0x7f ? '?' : *name;
    out[length] = '\0';
}

parry_status pr_add_named(importer *imp, const char *name, pr_op op, const pr_attrs *attrs, const pr_value *in, int inputs,
                          pr_value *out)
{
    pr_graph *graph = imp->model->graph;
    char *unique;
    TRY(pr_graph_node(imp->ctx, graph, op, name, attrs, in, inputs, out));
    if (strcmp(graph->values[*out].name, name) == 0)
        return PARRY_OK;
    /* One of several of this name: each has a name of its own, as values have. */
    pr_node *added = &graph->nodes[graph->node_count - 1];
    TRY(pr_strdup(imp->ctx, graph->values[*out].name, &unique));
    pr_free(added->name);
    added->name = unique;
    return PARRY_OK;
}

parry_status pr_add_node(importer *imp, const onnx_node *node, pr_op op, const pr_attrs *attrs, const pr_value *in,
                         int inputs, pr_value *out)
{
    char name[GRAPH_NAME], reason[640];
    pr_clean_name(*node->name ? node->name : node->output[0], name);
    parry_status status = pr_add_named(imp, name, op, attrs, in, inputs, out);
    if (status == PARRY_OK || status == PARRY_NO_MEMORY)
        return status;
    /* The graph knows the node, not the file; and that shapes do not fit is the file's fault. */
    snprintf(reason, sizeof reason, "%s", parry_ctx_error(imp->ctx));
    return pr_fail(imp->ctx, status == PARRY_MISMATCH ? PARRY_FORMAT : status, "%s: %s", imp->where, reason);
}

parry_status pr_emit(importer *imp, const onnx_node *node, pr_op op, const pr_attrs *attrs, const pr_value *in,
                     int inputs)
{
    pr_value out;
    TRY(pr_add_node(imp, node, op, attrs, in, inputs, &out));
    pr_define_value(imp, node, out);
    return PARRY_OK;
}

/* ---- weights ---------------------------------------------------------------------------------------------------- */

parry_status pr_weight_new(importer *imp, const slot *source, pr_weight_role role, int rank, const int64_t *dim,
                           pr_value *out, float **data)
{
    pr_weights *weights = imp->model->weights;
    char name[GRAPH_NAME];
    int32_t index;
    int64_t count = 1;
    for (int d = 0; d < rank; d++)
        count *= dim[d];
    TRY(pr_budget_take(&imp->budget, count));
    pr_clean_name(source->origin ? source->origin : source->name, name);
    TRY(pr_weights_add(imp->ctx, weights, name, role, rank, dim, &index));
    *data = weights->items[index].data;
    TRY(pr_graph_weight(imp->ctx, imp->model->graph, weights, index, out));
    /* The graph has made the name unique. */
    const char *unique = imp->model->graph->values[*out].name;
    if (strcmp(unique, name) == 0)
        return PARRY_OK;
    char *copy;
    TRY(pr_strdup(imp->ctx, unique, &copy));
    pr_free(weights->items[index].name);
    weights->items[index].name = copy;
    return PARRY_OK;
}

parry_status pr_weight_of(importer *imp, slot *constant, pr_weight_role role, bool transposed, pr_value *out)
{
    const pr_constant *c = &constant->constant;
    if (constant->weight[transposed].made && constant->weight[transposed].role == role) {
        *out = constant->weight[transposed].value;
        return PARRY_OK;
    }
    float *data;
    if (transposed) {
        TRY(pr_weight_new(imp, constant, role, 2, (int64_t[]){c->dim[1], c->dim[0]}, out, &data));
        pr_constant view = {.rank = 2, .dim = {c->dim[1], c->dim[0]}, .count = c->count, .owned = data};
        pr_constant_gather(c, 0, (int64_t[]){1, c->dim[1]}, &view);
    } else {
        TRY(pr_weight_new(imp, constant, role, c->rank, c->dim, out, &data));
        if (c->count)
            memcpy(data, c->f, (size_t)c->count * sizeof *data);
    }
    constant->weight[transposed].made = true;
    constant->weight[transposed].role = role;
    constant->weight[transposed].value = *out;
    return PARRY_OK;
}

parry_status pr_weight_made(importer *imp, const onnx_node *node, const char *what, pr_weight_role role, int rank,
                            const int64_t *dim, pr_value *out, float **data)
{
    char name[GRAPH_NAME];
    snprintf(name, sizeof name, "%.*s.%s", GRAPH_NAME - 32, *node->name ? node->name : node->output[0], what);
    return pr_weight_new(imp, &(slot){.name = name}, role, rank, dim, out, data);
}

/* ---- attributes ------------------------------------------------------------------------------------------------- */

const onnx_attribute *pr_attribute(const onnx_node *node, const char *name)
{
    for (size_t i = 0; i < node->n_attribute; i++)
        if (strcmp(node->attribute[i]->name, name) == 0)
            return node->attribute[i];
    return NULL;
}

/* The type may be left out by very old files. */
static bool has_type(const onnx_attribute *attribute, PrOnnx__AttributeProto__Type type)
{
    return attribute->type == type || attribute->type == PR_ONNX__ATTRIBUTE_PROTO__TYPE__UNDEFINED;
}

parry_status pr_attribute_int(const importer *imp, const onnx_node *node, const char *name, int64_t def, int64_t min,
                              int64_t max, int64_t *out)
{
    const onnx_attribute *attribute = pr_attribute(node, name);
    *out = attribute ? attribute->i : def;
    if (attribute && !has_type(attribute, PR_ONNX__ATTRIBUTE_PROTO__TYPE__INT))
        return pr_node_fail(imp, node, "the attribute %s should be an integer", name);
    if (*out < min || *out > max)
        return pr_node_fail(imp, node, "the attribute %s is %lld, expected %lld to %lld", name, (long long)*out,
                            (long long)min, (long long)max);
    return PARRY_OK;
}

parry_status pr_attribute_float(const importer *imp, const onnx_node *node, const char *name, float def, float *out)
{
    const onnx_attribute *attribute = pr_attribute(node, name);
    *out = attribute ? attribute->f : def;
    if (attribute && !has_type(attribute, PR_ONNX__ATTRIBUTE_PROTO__TYPE__FLOAT))
        return pr_node_fail(imp, node, "the attribute %s should be a number", name);
    return PARRY_OK;
}

parry_status pr_attribute_ints(const importer *imp, const onnx_node *node, const char *name, int count, int min,
                               int max, int *out, bool *found)
{
    const onnx_attribute *attribute = pr_attribute(node, name);
    *found = attribute != NULL;
    if (!attribute)
        return PARRY_OK;
    if (attribute->n_ints != (size_t)count)
        return pr_node_fail(imp, node, "the attribute %s has %zu numbers, expected %d", name, attribute->n_ints, count);
    for (int i = 0; i < count; i++) {
        if (attribute->ints[i] < min || attribute->ints[i] > max)
            return pr_node_fail(imp, node, "the attribute %s holds %lld, expected %d to %d", name,
                                (long long)attribute->ints[i], min, max);
        out[i] = (int)attribute->ints[i];
    }
    return PARRY_OK;
}

bool pr_attribute_is(const onnx_node *node, const char *name, const char *def, const char *text)
{
    const onnx_attribute *attribute = pr_attribute(node, name);
    if (!attribute)
        return strcmp(def, text) == 0;
    return attribute->s.len == strlen(text) && memcmp(attribute->s.data, text, attribute->s.len) == 0;
}

parry_status pr_axis(const importer *imp, const onnx_node *node, int64_t axis, int rank, int *out)
{
    const int own = rank - imp->in_front;
    if (axis < -own || axis >= own)
        return pr_node_fail(imp, node, "axis %lld of a tensor with %d", (long long)axis, own);
    *out = (int)axis + (axis < 0 ? rank : imp->in_front);
    return PARRY_OK;
}

parry_status pr_attribute_axis(const importer *imp, const onnx_node *node, const char *name, int64_t def, int rank,
                               int *out)
{
    int64_t axis;
    TRY(pr_attribute_int(imp, node, name, def, INT32_MIN, INT32_MAX, &axis));
    return pr_axis(imp, node, axis, rank, out);
}

parry_status pr_list(importer *imp, const onnx_node *node, const char *attribute, size_t input, int_list *out,
                     bool *found)
{
    const onnx_attribute *ints = pr_attribute(node, attribute);
    const slot *list = pr_node_input(imp, node, input);
    const int64_t *from = ints ? ints->ints : NULL;
    int64_t count = ints ? (int64_t)ints->n_ints : 0;
    out->count = 0;
    *found = ints || list;
    if (!*found)
        return PARRY_OK;
    if (!ints) {
        if (!pr_is_constant(list) || !list->constant.integer)
            return pr_node_fail(imp, node, "%s should be constant integers", attribute);
        from = list->constant.i;
        count = list->constant.count;
    }
    if (count > PR_CONSTANT_RANK)
        return pr_node_fail(imp, node, "%s has %lld numbers, more than a tensor has axes", attribute, (long long)count);
    out->count = (int)count;
    if (count)
        memcpy(out->at, from, (size_t)count * sizeof *from);
    return PARRY_OK;
}
