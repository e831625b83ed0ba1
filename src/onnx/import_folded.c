/* Operators of constants alone: translated into a graph of their own, which the oracle evaluates at once. So every
 * operator that the importer knows works on constants too, with one meaning. */
#include <string.h>

#include "engine/engine.h"
#include "onnx/import.h"

/* Floats count that far without gaps. */
enum { INTEGERS_MAX = 1 << 24 };

/* The first input as a value of the scratch graph; integers become floats. */
static parry_status lift(importer *imp, slot *input, bool batch, float **data)
{
    const pr_constant *c = &input->constant;
    pr_graph *graph = imp->model->graph;
    TRY(pr_alloc_raw(imp->ctx, PR_MAX(c->count, 1), data));
    for (int64_t e = 0; e < c->count; e++)
        (*data)[e] = c->integer ? (float)c->i[e] : c->f[e];
    pr_dims dims = pr_dims_make(c->rank, c->dim);
    if (batch) {
        dims.dim[0] = PR_BATCH;
        TRY(pr_graph_input(imp->ctx, graph, "constant", dims, &input->value));
    } else {
        int32_t index;
        TRY(pr_weights_add(imp->ctx, imp->model->weights, "constant", PR_WEIGHT_CONSTANT, c->rank, c->dim, &index));
        if (c->count)
            memcpy(imp->model->weights->items[index].data, *data, (size_t)c->count * sizeof **data);
        TRY(pr_graph_weight(imp->ctx, graph, imp->model->weights, index, &input->value));
    }
    input->kind = SLOT_VALUE;
    return PARRY_OK;
}

/* Turns one output from a value of the scratch graph into a constant. */
static parry_status evaluate(importer *imp, slot *output, const pr_ref_feed *feed, int64_t batch)
{
    pr_constant out;
    pr_dims dims = imp->model->graph->values[output->value].dims;
    if (dims.rank > 0 && dims.dim[0] == PR_BATCH)
        dims.dim[0] = batch;
    TRY(pr_constant_make(&imp->budget, false, dims.rank, dims.dim, &out));
    float *result = out.owned;
    parry_status status = pr_ref_run(imp->ctx, imp->model->graph, imp->model->weights, batch, feed, feed ? 1 : 0,
                                     &output->value, 1, &result, 0, 0);
    if (status != PARRY_OK) {
        pr_constant_release(&out);
        return status;
    }
    output->kind = SLOT_CONSTANT;
    output->constant = out;
    output->uses = PR_MAX(output->uses, 1);
    return PARRY_OK;
}

/* A function of whole numbers that gives whole numbers: sizes, of which Concat and Reshape go on. */
static parry_status keep_integers(importer *imp, const onnx_node *node, slot *output)
{
    static const char *const types[] = {"ReduceProd", "ReduceSum", "ReduceMax", "ReduceMin", "Neg",
                                        "Abs",        "Max",       "Min",       "Sum"};
    pr_constant whole;
    bool named = false;
    for (size_t i = 0; i < PR_COUNT(types); i++)
        named |= strcmp(node->op_type, types[i]) == 0;
    if (!named || output->constant.integer)
        return PARRY_OK;
    for (int64_t e = 0; e < output->constant.count; e++)
        if (!(output->constant.f[e] > -INTEGERS_MAX && output->constant.f[e] < INTEGERS_MAX))
            return PARRY_OK; /* beyond that floats have gaps */
    TRY(pr_constant_make(&imp->budget, true, output->constant.rank, output->constant.dim, &whole));
    for (int64_t e = 0; e < whole.count; e++)
        ((int64_t *)whole.owned)[e] = (int64_t)output->constant.f[e];
    pr_constant_release(&output->constant);
    output->constant = whole;
    return PARRY_OK;
}

static parry_status fold(importer *imp, const onnx_node *node, bool batch, translation translate, float **data)
{
    slot *input = pr_node_input(imp, node, 0);
    const int64_t rows = batch ? input->constant.dim[0] : 1;
    const bool integer = input->constant.integer;
    TRY(pr_graph_create(imp->ctx, &imp->model->graph));
    TRY(pr_weights_create(imp->ctx, &imp->model->weights));
    TRY(lift(imp, input, batch, data));
    TRY(translate(imp, node));
    const pr_ref_feed feed = {input->value, *data};
    for (size_t o = 0; o < node->n_output; o++) {
        slot *output = pr_node_output_at(imp, node, o);
        if (output && output->kind == SLOT_VALUE)
            TRY(evaluate(imp, output, batch ? &feed : NULL, rows));
        if (output && integer && output->kind == SLOT_CONSTANT)
            TRY(keep_integers(imp, node, output));
    }
    return PARRY_OK;
}

parry_status pr_import_folded(importer *imp, const onnx_node *node, bool batch, translation translate)
{
    enum { INPUTS = 8 };
    slot before[INPUTS], *input = pr_node_input(imp, node, 0);
    const slot *output = imp->output;
    const int64_t own_batch = imp->batch;
    pr_graph *graph = imp->model->graph;
    pr_weights *weights = imp->model->weights;
    float *data = NULL;
    for (size_t i = 0; i < node->n_input; i++)
        if (pr_is_value(pr_node_input(imp, node, i)) || i >= INPUTS)
            return pr_node_missing(imp, node, "of a constant and an activation");
    if (input->constant.rank > PR_RANK_MAX || (batch && !input->constant.rank) || !input->constant.count)
        return pr_node_missing(imp, node, "of a constant of this shape");
    for (size_t i = 0; i < node->n_input; i++)
        if (pr_node_input(imp, node, i))
            before[i] = *pr_node_input(imp, node, i);
    imp->output = NULL;
    imp->batch = batch ? input->constant.dim[0] : 0;
    imp->model->graph = NULL;
    imp->model->weights = NULL;
    parry_status status = fold(imp, node, batch, translate, &data);
    /* The inputs are constants again, and have no parameters in the scratch graph. */
    for (size_t i = 0; i < node->n_input; i++)
        if (pr_node_input(imp, node, i))
            *pr_node_input(imp, node, i) = before[i];
    pr_graph_free(imp->model->graph);
    pr_weights_free(imp->model->weights);
    pr_free(data);
    imp->model->graph = graph;
    imp->model->weights = weights;
    imp->output = (slot *)output;
    imp->batch = own_batch;
    return status;
}
