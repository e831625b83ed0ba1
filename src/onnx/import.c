/* Importing: decodes the file, finds the nodes that the output depends on, and translates them in order.
 *
 * The file is a list of nodes over named tensors. Each name gets a slot; a translation looks at its inputs' slots and
 * defines its output's. What can be computed from constants alone is computed, so that only activations become nodes of
 * the graph. The batch is open: the file is read for the batch size that it was exported with, one where it is open,
 * and becomes a network for any. */
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "onnx/import.h"

enum { OPSET_MIN = 7, OPSET_MAX = 21, FILE_NAMES_MAX = 1 << 24 };

/* Floats that the constants and weights of a file may come to: 2 GiB of them at the most, and in proportion for a small
 * file (networks whose weights are ConstantOfShape nodes are the extreme among honest ones). */
static int64_t budget_for(size_t size)
{
    return PR_MIN((int64_t)1 << 29, ((int64_t)1 << 22) + ((int64_t)size << 15));
}

typedef struct op_row {
    const char *type;
    size_t min_inputs, max_inputs;
    enum {
        EITHER,    /* activation or constant */
        BROADCAST, /* the same, and all inputs are, aligned at their last axes */
        WHOLE,     /* activation or constant, wherever the batch stands in it */
        CONSTANT,  /* nothing else */
        IMAGE,     /* an activation whose axis 0 is the batch; of a constant the operator is carried out */
        TENSOR,    /* an activation of any axes; of a constant the operator is carried out */
    } first;
    translation translate;
    bool multi; /* it defines all the node's outputs, not just the first */
} op_row;

static const op_row rows[] = {
#define ROW(type, min_inputs, max_inputs, first, function, multi)                                                      \
    {type, min_inputs, max_inputs, first, pr_import_##function, multi},
#define OP(type, min_inputs, max_inputs, first, function) ROW(type, min_inputs, max_inputs, first, function, false)
#define SAME OP
#define MULTI(type, min_inputs, max_inputs, first, function) ROW(type, min_inputs, max_inputs, first, function, true)
#include "onnx/import_ops.def"
#undef ROW
#undef OP
#undef SAME
#undef MULTI
};

/* Operators of ai.onnx.ml have the domain before their name. */
static const op_row *row_of(const onnx_node *node)
{
    static const char ml[] = "ai.onnx.ml";
    const bool classic = strcmp(node->domain, ml) == 0;
    if (*node->domain && strcmp(node->domain, "ai.onnx") != 0 && !classic)
        return NULL;
    for (size_t i = 0; i < PR_COUNT(rows); i++) {
        const bool row_classic = strncmp(rows[i].type, ml, sizeof ml - 1) == 0;
        if (row_classic == classic && strcmp(rows[i].type + (classic ? sizeof ml : 0), node->op_type) == 0)
            return &rows[i];
    }
    return NULL;
}

/* ---- what the file says of itself ------------------------------------------------------------------------------ */

static parry_status read_opset(importer *imp, const PrOnnx__ModelProto *file)
{
    const int64_t opset = pr_decode_opset(file);
    if (opset < 0)
        return pr_fail(imp->ctx, PARRY_FORMAT, "%s: the file does not say which opset it is written in", imp->where);
    if (opset < OPSET_MIN || opset > OPSET_MAX)
        return pr_fail(imp->ctx, PARRY_UNSUPPORTED,
                       "%s: the file is written in opset %lld, parry reads %d to %d: export it with opset %d",
                       imp->where, (long long)opset, OPSET_MIN, OPSET_MAX, opset < OPSET_MIN ? OPSET_MIN : OPSET_MAX);
    imp->opset = (int)opset;
    return PARRY_OK;
}

static parry_status read_identity(importer *imp, const PrOnnx__ModelProto *file)
{
    pr_onnx_model *model = imp->model;
    TRY(pr_asprintf(imp->ctx, &model->producer, "%s%s%s", file->producer_name, *file->producer_version ? " " : "",
                    file->producer_version));
    TRY(pr_alloc(imp->ctx, file->n_metadata_props, &model->meta));
    for (size_t i = 0; i < file->n_metadata_props; i++) {
        TRY(pr_strdup(imp->ctx, file->metadata_props[i]->key, &model->meta[i].key));
        model->meta_count = i + 1;
        TRY(pr_strdup(imp->ctx, file->metadata_props[i]->value, &model->meta[i].value));
    }
    return PARRY_OK;
}

/* ---- names ------------------------------------------------------------------------------------------------------ */

slot *pr_find_slot(const importer *imp, const char *name)
{
    const int32_t index = pr_names_get(&imp->names, name);
    return index < 0 ? NULL : &imp->slots[index];
}

static parry_status add_slot(importer *imp, const char *name, slot_kind kind, const PrOnnx__TensorProto *tensor)
{
    if (pr_find_slot(imp, name))
        return pr_fail(imp->ctx, PARRY_FORMAT, "%s: the tensor '%.80s' is defined twice", imp->where, name);
    if (imp->slot_count >= FILE_NAMES_MAX)
        return pr_fail(imp->ctx, PARRY_UNSUPPORTED, "%s: the network has too many tensors", imp->where);
    TRY(pr_grow(imp->ctx, imp->slot_count + 1, &imp->slot_capacity, &imp->slots));
    imp->slots[imp->slot_count] = (slot){.name = name, .kind = kind, .tensor = tensor, .value = -1};
    TRY(pr_names_put(imp->ctx, &imp->names, name, (int32_t)imp->slot_count));
    imp->slot_count++;
    return PARRY_OK;
}

/* Slots for initialisers, for inputs that have none, and for what nodes compute. */
static parry_status add_slots(importer *imp)
{
    const PrOnnx__GraphProto *file = imp->file;
    for (size_t i = 0; i < file->n_initializer; i++)
        TRY(add_slot(imp, file->initializer[i]->name, SLOT_TENSOR, file->initializer[i]));
    for (size_t i = 0; i < file->n_input; i++) {
        const slot *known = pr_find_slot(imp, file->input[i]->name);
        if (!known || known->kind != SLOT_TENSOR) /* before IR version 4 initialisers were listed as inputs too */
            TRY(add_slot(imp, file->input[i]->name, SLOT_PENDING, NULL));
    }
    for (size_t n = 0; n < file->n_node; n++)
        for (size_t o = 0; o < file->node[n]->n_output; o++)
            if (*file->node[n]->output[o])
                TRY(add_slot(imp, file->node[n]->output[o], SLOT_PENDING, NULL));
    return PARRY_OK;
}

/* ---- the output, and what it depends on ------------------------------------------------------------------------- */

static bool any_output_needed(const importer *imp, const onnx_node *node)
{
    for (size_t o = 0; o < node->n_output; o++)
        if (*node->output[o] && pr_find_slot(imp, node->output[o])->needed)
            return true;
    return false;
}

/* The output with the classes' scores: the only one, or the only one that is not the label (whole numbers or text)
 * beside it; n_output: that is none. */
static size_t scores_of(const PrOnnx__GraphProto *file)
{
    size_t found = file->n_output;
    for (size_t o = 0; o < file->n_output; o++) {
        const PrOnnx__TypeProto *type = file->output[o]->type;
        const bool tensor = type && type->value_case == PR_ONNX__TYPE_PROTO__VALUE_TENSOR_TYPE;
        const int32_t element = tensor ? type->tensor_type->elem_type : 0;
        enum { STRING = 8 };
        if (file->n_output > 1 && (element == PR_ONNX__TENSOR_PROTO__DATA_TYPE__INT64 || element == STRING))
            continue;
        if (found < file->n_output)
            return file->n_output;
        found = o;
    }
    return found;
}

/* Whether the probabilities are the same before the node: Identity, the mapping of classes to probabilities, and their
 * division by their sum, which is 1 behind Softmax. */
static bool hands_on(const onnx_node *node)
{
    const bool classic = strcmp(node->domain, "ai.onnx.ml") == 0;
    const bool share =
        classic && strcmp(node->op_type, "Normalizer") == 0 && pr_attribute_is(node, "norm", "MAX", "L1");
    return share || (classic && strcmp(node->op_type, "ZipMap") == 0) || strcmp(node->op_type, "Identity") == 0;
}

/* Marks slots and counts their uses, from the last node to the first: nodes stand in order. */
static parry_status mark_needed(importer *imp)
{
    const PrOnnx__GraphProto *file = imp->file;
    const size_t scores = imp->bench ? imp->bench->output : scores_of(file);
    if (scores >= file->n_output)
        return pr_fail(imp->ctx, PARRY_UNSUPPORTED, "%s: the network has %zu outputs, a classifier has one", imp->where,
                       file->n_output);
    imp->output_name = file->output[scores]->name;
    imp->output = pr_find_slot(imp, imp->output_name);
    if (!imp->output)
        return pr_fail(imp->ctx, PARRY_FORMAT, "%s: nothing computes the output '%.80s'", imp->where, imp->output_name);
    imp->output->needed = true;
    imp->output->uses = 1;
    for (size_t n = file->n_node; n-- > 0;) {
        const onnx_node *node = file->node[n];
        if (!any_output_needed(imp, node))
            continue;
        for (size_t i = 0; i < node->n_input; i++) {
            slot *input = *node->input[i] ? pr_find_slot(imp, node->input[i]) : NULL;
            if (!input && *node->input[i])
                return pr_node_fail(imp, node, "it reads '%.80s', which nothing defines", node->input[i]);
            if (input) {
                input->needed = true;
                input->uses++;
            }
        }
        /* A Softmax with nothing but such nodes after it is still the network's tail. */
        if (node->n_input == 1 && *node->input[0] && pr_find_slot(imp, node->output[0]) == imp->output &&
            pr_find_slot(imp, node->input[0])->uses == 1 && hands_on(node))
            imp->output = pr_find_slot(imp, node->input[0]);
    }
    if (imp->bench)
        imp->output = NULL; /* nothing is a tail */
    return PARRY_OK;
}

/* ---- translating ------------------------------------------------------------------------------------------------ */

static parry_status read_initialiser(importer *imp, slot *x)
{
    if (x->kind == SLOT_TENSOR) {
        TRY(pr_constant_read(&imp->budget, x->name, x->tensor, &x->constant));
        x->kind = SLOT_CONSTANT;
    }
    return PARRY_OK;
}

/* What a node of a branch is worth: SLOT_PENDING, to be translated, or what its outputs are without being looked at. */
static parry_status judge(importer *imp, const pr_guard *guard, slot_kind *kind)
{
    slot *condition = guard->condition ? pr_find_slot(imp, guard->condition) : NULL;
    *kind = SLOT_PENDING;
    if (!condition)
        return PARRY_OK;
    TRY(read_initialiser(imp, condition));
    if (!pr_is_constant(condition))
        *kind = pr_is_value(condition) ? SLOT_UNTAKEN : condition->kind; /* of a value the If itself complains */
    else if (condition->constant.count == 1 && pr_truth(&condition->constant) != guard->when)
        *kind = SLOT_UNTAKEN;
    return PARRY_OK;
}

static parry_status read_inputs(importer *imp, const onnx_node *node, bool *poisoned)
{
    *poisoned = false;
    for (size_t i = 0; i < node->n_input; i++) {
        slot *input = pr_node_input(imp, node, i);
        if (input)
            TRY(read_initialiser(imp, input));
        if (input && input->kind == SLOT_PENDING)
            return pr_node_fail(imp, node,
                                "it reads '%.80s' before that is computed: the nodes are out of order, or form a cycle",
                                input->name);
        *poisoned |= input && input->kind == SLOT_POISONED;
    }
    return PARRY_OK;
}

static bool any_single(importer *imp, const onnx_node *node)
{
    bool single = false;
    for (size_t i = 0; i < node->n_input; i++)
        single |= pr_is_value(pr_node_input(imp, node, i)) && pr_node_input(imp, node, i)->single;
    return single;
}

/* Whether the batch of an activation faces another axis of a longer one, which that of the only image may. */
static bool faces_another_axis(importer *imp, const onnx_node *node)
{
    int least = PR_RANK_MAX, most = 0;
    for (size_t i = 0; i < node->n_input && imp->batch == 1 && !imp->open; i++)
        if (pr_is_value(pr_node_input(imp, node, i))) {
            const int rank = pr_file_shape(imp, pr_node_input(imp, node, i)).rank;
            least = PR_MIN(least, rank);
            most = PR_MAX(most, rank);
        }
    return least < most;
}

static parry_status translate(importer *imp, const onnx_node *node)
{
    const op_row *row = row_of(node);
    bool poisoned, only_first = *node->output[0];
    for (size_t o = 1; o < node->n_output; o++)
        only_first &= !*node->output[o] || !pr_find_slot(imp, node->output[o])->needed;
    only_first |= row && row->multi;
    TRY(read_inputs(imp, node, &poisoned));
    if (!row || !only_first)
        return pr_node_missing(imp, node, row ? "with more than its first output" : NULL);
    if (poisoned) {
        pr_define_all(imp, node, SLOT_POISONED);
        return PARRY_OK;
    }
    if (node->n_input < row->min_inputs || node->n_input > row->max_inputs)
        return pr_node_fail(imp, node, "it has %zu inputs, expected %zu to %zu", node->n_input, row->min_inputs,
                            row->max_inputs);
    for (size_t i = 0; i < row->min_inputs; i++)
        if (!pr_node_input(imp, node, i))
            return pr_node_fail(imp, node, "input %zu is missing", i);
    if (row->first >= IMAGE && !pr_is_value(pr_node_input(imp, node, 0)))
        return pr_import_folded(imp, node, row->first == IMAGE, row->translate);
    if (row->first == CONSTANT && !pr_is_constant(pr_node_input(imp, node, 0)))
        return pr_node_missing(imp, node, NULL);
    const bool in_front = any_single(imp, node) || (row->first == BROADCAST && faces_another_axis(imp, node));
    if (row->first == WHOLE || !in_front)
        return row->translate(imp, node);
    return row->first == IMAGE ? pr_node_missing(imp, node, "of images that are not the batch's")
                               : pr_import_in_front(imp, node, row->translate);
}

/* What is computed from constants of the batch's size is one. */
static void pass_on_batch(importer *imp, const onnx_node *node)
{
    bool of_batch = false;
    for (size_t i = 0; i < node->n_input; i++)
        of_batch |= pr_is_constant(pr_node_input(imp, node, i)) && pr_node_input(imp, node, i)->of_batch;
    for (size_t o = 0; o < node->n_output; o++)
        if (pr_is_constant(pr_node_output_at(imp, node, o)))
            pr_node_output_at(imp, node, o)->of_batch |= of_batch;
}

/* One clause for all nodes that lack the same: "Slice ('a', 'b', 'c' and 2 more)". */
static void list_missing(const importer *imp, size_t first, pr_text *text)
{
    enum { NAMED = 3 };
    const missing *kind = &imp->missing[first];
    size_t count = 0;
    pr_text_add(text, "%s%.40s%s%.40s%s%s (", first ? "; " : "", kind->node->domain, *kind->node->domain ? "." : "",
                kind->node->op_type, kind->detail ? " " : "", kind->detail ? kind->detail : "");
    for (size_t m = first; m < imp->missing_count; m++) {
        const missing *other = &imp->missing[m];
        if (strcmp(other->node->op_type, kind->node->op_type) != 0 || other->detail != kind->detail)
            continue;
        const char *name = *other->node->name || !other->node->n_output ? other->node->name : other->node->output[0];
        if (count++ < NAMED)
            pr_text_add(text, "%s'%.60s'", count > 1 ? ", " : "", name);
    }
    if (count > NAMED)
        pr_text_add(text, " and %zu more", count - NAMED);
    pr_text_add(text, ")");
}

static parry_status report_missing(const importer *imp)
{
    pr_text text = {0};
    char *list;
    bool moves = false;
    for (size_t m = 0; m < imp->missing_count; m++) {
        bool seen = false;
        moves |= imp->missing[m].detail == pr_moves_values;
        for (size_t e = 0; e < m && !seen; e++)
            seen = strcmp(imp->missing[e].node->op_type, imp->missing[m].node->op_type) == 0 &&
                   imp->missing[e].detail == imp->missing[m].detail;
        if (!seen)
            list_missing(imp, m, &text);
    }
    if (imp->missing_more)
        pr_text_add(&text, "; and %zu more nodes", imp->missing_more);
    if (moves && imp->batch > 1)
        pr_text_add(&text, "; made for %lld images at a time: export it for one, or for any number",
                    (long long)imp->batch);
    TRY(pr_text_take(imp->ctx, &text, &list));
    parry_status status =
        pr_fail(imp->ctx, PARRY_UNSUPPORTED, "%s (made by %.60s) needs operators that parry does not have: %s",
                imp->where, *imp->model->producer ? imp->model->producer : "a producer that it does not name", list);
    pr_free(list);
    return status;
}

/* Where the batch was lost on the way, that is what to look at. */
static parry_status not_class_scores(const importer *imp, const slot *output)
{
    char label[NODE_LABEL];
    const bool moved = output->single && imp->inside;
    return pr_fail(imp->ctx, PARRY_UNSUPPORTED, "%s: the output '%.80s' is not one row of class scores per image%s%s%s",
                   imp->where, output->name, moved ? "; at " : "", moved ? pr_node_label(imp->inside, label) : "",
                   moved ? " the batch is no longer its first axis" : "");
}

/* The output becomes N x classes. */
static parry_status finish(importer *imp)
{
    pr_onnx_model *model = imp->model;
    pr_graph *graph = model->graph;
    slot *output = pr_find_slot(imp, imp->output_name);
    if (imp->bench && pr_is_constant(output)) {
        imp->bench->is_constant = true;
        return pr_onnx_tensor_of(imp->ctx, &output->constant, &imp->bench->constant);
    }
    if (!pr_is_value(output))
        return pr_fail(imp->ctx, PARRY_FORMAT, "%s: the output '%.80s' does not depend on the input", imp->where,
                       output->name);
    if (!graph->node_count && !imp->bench)
        return pr_fail(imp->ctx, PARRY_FORMAT, "%s: the network computes nothing", imp->where);
    if (!imp->bench && !output->single)
        TRY(pr_scores_to_logits(imp, &output->value));
    const pr_dims dims = graph->values[output->value].dims;
    const int64_t classes = imp->bench ? pr_dims_row(dims) : dims.rank > 1 ? dims.dim[1] : 0;
    if (!imp->bench && (classes < 2 || classes != pr_dims_row(dims) || (output->single && dims.rank != 2)))
        return not_class_scores(imp, output);
    graph->logits = output->value;
    if (dims.rank != 2) {
        const pr_attrs attrs = {.shape = {.to = {.rank = 2, .dim = {PR_BATCH, classes}}}};
        TRY(pr_graph_node(imp->ctx, graph, PR_OP_RESHAPE, "logits", &attrs, &output->value, 1, &graph->logits));
    }
    if (model->class_count != (size_t)classes)
        pr_onnx_forget_names(model);
    return pr_graph_check(imp->ctx, graph, model->weights);
}

static parry_status import_graph(importer *imp)
{
    TRY(add_slots(imp));
    TRY(mark_needed(imp));
    TRY(pr_import_inputs(imp));
    TRY(pr_import_labels(imp));
    for (size_t n = 0; n < imp->file->n_node; n++) {
        const onnx_node *node = imp->file->node[n];
        slot_kind known;
        TRY(judge(imp, &imp->guards[n], &known));
        if (known != SLOT_PENDING)
            pr_define_all(imp, node, known);
        else if (any_output_needed(imp, node)) {
            TRY(translate(imp, node));
            pass_on_batch(imp, node);
        }
    }
    return imp->missing_count ? report_missing(imp) : finish(imp);
}

/* Names of the file may hold anything; what is printed may not. */
static void clean_error(parry_ctx *ctx, parry_status failure)
{
    char text[1024];
    snprintf(text, sizeof text, "%s", parry_ctx_error(ctx));
    for (char *c = text; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    (void)pr_fail(ctx, failure, "%s", text);
}

static parry_status decode(parry_ctx *ctx, const char *where, const char *path, const uint8_t *data, size_t size,
                           const pr_onnx_sizes *sizes, pr_onnx_bench *bench, pr_onnx_model *out)
{
    *out = (pr_onnx_model){.tail = PR_OP_IDENTITY};
    importer *imp;
    char *folder = NULL;
    TRY(pr_alloc(ctx, 1, &imp));
    *imp = (importer){.ctx = ctx,
                      .where = where,
                      .model = out,
                      .bench = bench,
                      .sizes = sizes,
                      .budget = {.ctx = ctx, .where = where, .left = budget_for(size)}};
    pr_decoder decoder;
    PrOnnx__ModelProto *file = NULL;
    parry_status status;
    pr_decoder_init(&decoder, ctx, size);
    if (path)
        TRY_TO(done, pr_asprintf(ctx, &folder, "%.*s.", (int)(pr_path_base(path) - path), path));
    imp->budget.folder = folder;
    TRY_TO(done, pr_decode_model(&decoder, where, data, size, &file));
    imp->decoder = &decoder;
    TRY_TO(done, pr_functions_expand(imp, file));
    TRY_TO(done, read_opset(imp, file));
    TRY_TO(done, read_identity(imp, file));
    TRY_TO(done, pr_graph_create(ctx, &out->graph));
    TRY_TO(done, pr_weights_create(ctx, &out->weights));
    status = import_graph(imp);
done:
    for (size_t s = 0; s < imp->slot_count; s++)
        pr_constant_release(&imp->slots[s].constant);
    pr_free(folder);
    pr_free(imp->budget.files);
    pr_free(imp->slots);
    pr_names_release(&imp->names);
    pr_functions_release(imp);
    pr_free(imp);
    if (file)
        pr_onnx__model_proto__free_unpacked(file, &decoder.allocator);
    if (status != PARRY_OK) {
        clean_error(ctx, status);
        pr_onnx_clear(out);
    }
    return status;
}

parry_status pr_onnx_decode(parry_ctx *ctx, const char *where, const char *path, const uint8_t *data, size_t size,
                            const pr_onnx_sizes *sizes, pr_onnx_model *out)
{
    return decode(ctx, where, path, data, size, sizes, NULL, out);
}

parry_status pr_onnx_decode_bench(parry_ctx *ctx, const char *where, const uint8_t *data, size_t size,
                                  pr_onnx_bench *bench, pr_onnx_model *out)
{
    bench->is_constant = false;
    return decode(ctx, where, NULL, data, size, NULL, bench, out);
}
