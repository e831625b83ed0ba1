/* The end of a classifier: names of its classes, and logits in the place of probabilities.
 *
 * What scikit-learn's converter writes behind the scores of one class against the others, or of two classes, is undone:
 *   p = sigmoid(z), then (1 - p, p):              logits (0, z)
 *   p = sigmoid(z) of each class, over their sum: logits log p = -softplus(-z)
 *   p = exp(z - log sum exp z), naive Bayes:      logits z
 * Their softmax is what the file gives, and unlike p they do not saturate. */
#include <stdio.h>
#include <string.h>

#include "onnx/import.h"

/* ---- logits ------------------------------------------------------------------------------------------------------ */

static parry_status add(importer *imp, pr_op op, const pr_attrs *attrs, const pr_value *in, int inputs, pr_value *out)
{
    return pr_add_named(imp, "score", op, attrs, in, inputs, out);
}

/* 1 - p; *p. */
static bool is_complement(const importer *imp, pr_value value, pr_value *p)
{
    const pr_node *node = pr_graph_producer(imp->model->graph, value);
    if (!node || node->op != PR_OP_SUB || imp->model->graph->values[node->in[0]].kind != PR_VALUE_WEIGHT)
        return false;
    const pr_weight *one = &imp->model->weights->items[imp->model->graph->values[node->in[0]].weight];
    *p = node->in[1];
    return one->count == 1 && one->data[0] == 1;
}

/* Only picks or arranges numbers of its input. */
static bool picks(const pr_node *node)
{
    bool cuts = node->op == PR_OP_PAD;
    for (int d = 0; cuts && d < PR_RANK_MAX; d++)
        cuts = node->attrs.pad.before[d] <= 0 && node->attrs.pad.after[d] <= 0;
    return cuts || node->op == PR_OP_GATHER || node->op == PR_OP_RESHAPE;
}

/* The value is sigmoid(*z): adds what z needs; *z is -1 where it is not of this kind. */
static parry_status before_logistic(importer *imp, pr_value value, pr_value *z)
{
    const pr_node *found = pr_graph_producer(imp->model->graph, value);
    pr_value p;
    *z = -1;
    if (!found)
        return PARRY_OK;
    pr_node node = *found; /* adding nodes moves them */
    if (node.op == PR_OP_SIGMOID) {
        *z = node.in[0];
        return PARRY_OK;
    }
    if (is_complement(imp, value, &p)) {
        TRY(before_logistic(imp, p, z));
        return *z < 0 ? PARRY_OK : add(imp, PR_OP_NEG, NULL, z, 1, z);
    }
    if (node.op != PR_OP_CONCAT && !picks(&node))
        return PARRY_OK;
    for (int i = 0; i < (node.op == PR_OP_CONCAT ? node.inputs : 1); i++) {
        TRY(before_logistic(imp, node.in[i], &node.in[i]));
        if (node.in[i] < 0)
            return PARRY_OK;
    }
    return add(imp, node.op, &node.attrs, node.in, node.inputs, z);
}

/* What is divided by the sum of its magnitudes over the classes; else the value itself. */
static pr_value before_share(const pr_graph *graph, pr_value value)
{
    const pr_node *node = pr_graph_producer(graph, value);
    const pr_node *sum = node && node->op == PR_OP_DIV ? pr_graph_producer(graph, node->in[1]) : NULL;
    const bool share = sum && sum->op == PR_OP_REDUCE && sum->attrs.reduce.function == PR_REDUCE_L1 &&
                       sum->attrs.reduce.axes == 2 && sum->in[0] == node->in[0];
    return share ? node->in[0] : value;
}

/* z where the value is exp(z - log sum exp z) over the classes; else -1. */
static pr_value before_exp(const pr_graph *graph, pr_value value)
{
    const pr_node *node = pr_graph_producer(graph, value);
    const bool exponential = node && node->op == PR_OP_MAP && node->attrs.map.function == PR_MAP_EXP;
    const pr_node *less = exponential ? pr_graph_producer(graph, node->in[0]) : NULL;
    const pr_node *sum = less && less->op == PR_OP_SUB ? pr_graph_producer(graph, less->in[1]) : NULL;
    while (sum && sum->op == PR_OP_RESHAPE)
        sum = pr_graph_producer(graph, sum->in[0]);
    const bool softmax = sum && sum->op == PR_OP_REDUCE && sum->attrs.reduce.function == PR_REDUCE_LOG_SUM_EXP &&
                         sum->attrs.reduce.axes == 2 && sum->in[0] == less->in[0];
    return softmax && pr_dims_equal(graph->values[less->in[0]].dims, graph->values[value].dims) ? less->in[0] : -1;
}

/* (0, z) from z, N x 1. */
static parry_status add_first_score(importer *imp, pr_value *value)
{
    const pr_attrs before = {.pad = {.before = {0, 1}}};
    return add(imp, PR_OP_PAD, &before, value, 1, value);
}

parry_status pr_scores_to_logits(importer *imp, pr_value *value)
{
    const pr_graph *graph = imp->model->graph;
    const pr_value summed = before_share(graph, *value);
    const pr_node *pair = pr_graph_producer(graph, summed);
    pr_value p, z = before_exp(graph, *value);
    if (graph->values[*value].dims.rank != 2 || imp->model->tail != PR_OP_IDENTITY)
        return PARRY_OK;
    if (graph->values[*value].dims.dim[1] == 1 && imp->labels == 2) /* of two classes one score */
        return add_first_score(imp, value);
    if (pair && pair->op == PR_OP_CONCAT && pair->inputs == 2 && is_complement(imp, pair->in[0], &p) &&
        p == pair->in[1]) {
        TRY(before_logistic(imp, p, &z));
        if (z >= 0)
            TRY(add_first_score(imp, &z));
    } else if (summed != *value) {
        TRY(before_logistic(imp, summed, &z));
        if (z >= 0) {
            TRY(add(imp, PR_OP_NEG, NULL, &z, 1, &z));
            TRY(add(imp, PR_OP_MAP, &(pr_attrs){.map = {PR_MAP_SOFTPLUS}}, &z, 1, &z));
            TRY(add(imp, PR_OP_NEG, NULL, &z, 1, &z));
        }
    }
    if (z < 0)
        return PARRY_OK;
    imp->model->tail = PR_OP_SOFTMAX;
    *value = z;
    TRY(pr_graph_prune(imp->ctx, imp->model->graph, value, 1)); /* what only the probabilities needed */
    return pr_graph_prune_weights(imp->ctx, imp->model->graph, imp->model->weights);
}

/* ---- labels ------------------------------------------------------------------------------------------------------ */

/* The attributes that hold labels, of different operators. */
static const onnx_attribute *labels_of(const onnx_node *node)
{
    static const char *const names[] = {"classlabels_strings", "classlabels_ints", "classlabels_int64s"};
    for (size_t i = 0; i < PR_COUNT(names); i++) {
        const onnx_attribute *a = pr_attribute(node, names[i]);
        if (a && (a->n_strings || a->n_ints))
            return a;
    }
    return NULL;
}

size_t pr_label_count(const onnx_node *node)
{
    const onnx_attribute *labels = labels_of(node);
    return !labels ? 0 : labels->n_strings ? labels->n_strings : labels->n_ints;
}

/* Labels as the file has them: texts or whole numbers. */
typedef struct labels {
    size_t count;
    const ProtobufCBinaryData *texts;
    const int64_t *numbers;
    pr_constant owned;
} labels;

/* The labels that the node gives or picks from; count 0: none. */
static parry_status read_labels(importer *imp, const onnx_node *node, labels *out)
{
    const onnx_attribute *a = labels_of(node);
    *out = (labels){0};
    if (a) {
        *out = (labels){.count = pr_label_count(node), .texts = a->n_strings ? a->strings : NULL, .numbers = a->ints};
        return PARRY_OK;
    }
    const slot *from = node->n_input ? pr_find_slot(imp, node->input[0]) : NULL;
    if (!from || !from->tensor)
        return PARRY_OK;
    if (from->tensor->n_string_data) {
        *out = (labels){.count = from->tensor->n_string_data, .texts = from->tensor->string_data};
        return PARRY_OK;
    }
    TRY(pr_constant_read(&imp->budget, from->name, from->tensor, &out->owned));
    if (out->owned.integer)
        *out = (labels){.count = (size_t)out->owned.count, .numbers = out->owned.i, .owned = out->owned};
    return PARRY_OK;
}

/* Whole numbers that count the classes say nothing. */
static bool only_counts(const labels *l)
{
    for (size_t i = 0; i < l->count; i++)
        if (l->texts || l->numbers[i] != (int64_t)i)
            return false;
    return true;
}

static parry_status take_names(importer *imp, const labels *l)
{
    pr_onnx_model *model = imp->model;
    TRY(pr_alloc(imp->ctx, l->count, &model->class_names));
    for (model->class_count = 0; model->class_count < l->count; model->class_count++) {
        const size_t i = model->class_count;
        char name[GRAPH_NAME];
        if (l->texts)
            snprintf(name, sizeof name, "%.*s", (int)PR_MIN(l->texts[i].len, GRAPH_NAME - 1),
                     (const char *)l->texts[i].data);
        else
            snprintf(name, sizeof name, "%lld", (long long)l->numbers[i]);
        pr_make_printable(name);
        TRY(pr_strdup(imp->ctx, name, &model->class_names[i]));
    }
    return PARRY_OK;
}

/* The operators that know the labels, those nearer to the end first. */
parry_status pr_import_labels(importer *imp)
{
    static const char *const types[] = {"ZipMap", "ArrayFeatureExtractor", "LinearClassifier"};
    bool found = imp->bench != NULL;
    for (size_t t = 0; t < PR_COUNT(types) && !found; t++)
        for (size_t n = imp->file->n_node; n-- > 0 && !found;) {
            const onnx_node *node = imp->file->node[n];
            labels l;
            if (strcmp(node->op_type, types[t]) != 0 || strcmp(node->domain, "ai.onnx.ml") != 0)
                continue;
            TRY(read_labels(imp, node, &l));
            found = l.count >= 2;
            parry_status status = found && !only_counts(&l) ? take_names(imp, &l) : PARRY_OK;
            if (found && status == PARRY_OK)
                imp->labels = l.count;
            pr_constant_release(&l.owned);
            TRY(status);
        }
    return PARRY_OK;
}
