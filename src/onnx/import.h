/* The importer's state and the services that the operators' translations are written with. */
#ifndef PR_ONNX_IMPORT_H
#define PR_ONNX_IMPORT_H

#include "onnx/constant.h"
#include "onnx/decode.h"
#include "onnx/names.h"
#include "onnx/onnx.h"

typedef PrOnnx__NodeProto onnx_node;
typedef PrOnnx__AttributeProto onnx_attribute;

/* What a tensor name of the file stands for. */
typedef enum slot_kind {
    SLOT_PENDING, /* its node has not been translated yet */
    SLOT_VALUE,   /* an activation */
    SLOT_TENSOR,  /* an initialiser, not read yet */
    SLOT_CONSTANT,
    SLOT_POISONED, /* depends on an operator that is missing */
    SLOT_UNTAKEN,  /* of a branch that the file's conditions never reach */
} slot_kind;

typedef struct slot {
    const char *name, *origin; /* origin: what its constant was called before it was merely expanded, NULL: name */
    slot_kind kind;
    bool needed;    /* the output depends on it */
    bool unshifted; /* QuantizeLinear's whole numbers, of which nobody wants the zero point: it has not been added */
    bool single;    /* SLOT_VALUE: the images are an axis in front of the file's, see import_single.c */
    bool of_batch;  /* SLOT_CONSTANT: computed from the size of an open batch, or from a shape that has it */
    int uses;       /* by needed nodes, and by the network's output */
    pr_value value; /* SLOT_VALUE */
    const PrOnnx__TensorProto *tensor;
    pr_constant constant; /* SLOT_CONSTANT */
    struct {
        bool made;
        pr_weight_role role;
        pr_value value;
    } weight[2]; /* the parameter made of the constant: as it is, and transposed */
} slot;

/* When a node counts: it stands in a branch of If. A condition of NULL: always. */
typedef struct pr_guard {
    const char *condition;
    bool when;
} pr_guard;

/* An operator or a use of one that parry lacks. */
typedef struct missing {
    const onnx_node *node;
    const char *detail; /* NULL: the operator itself */
} missing;
enum { MISSING_MAX = 256 };

typedef struct importer {
    parry_ctx *ctx;
    const char *where; /* the file's name */
    const PrOnnx__GraphProto *file;
    pr_onnx_model *model;
    PrOnnx__GraphProto expanded; /* the file's graph with functions and branches put in place */
    pr_guard *guards;            /* of its nodes */
    size_t expanded_capacity, guard_capacity;
    void **owned; /* what that has allocated */
    size_t owned_count, owned_capacity;
    pr_decoder *decoder;
    PrOnnx__GraphProto **branches; /* decoded */
    size_t branch_count, branch_capacity;
    unsigned calls;
    int opset;
    int64_t batch;           /* the size that the file is read for: that it was exported with, 1 where it is open */
    bool open;               /* it is: no image is the only one */
    bool in_front;           /* the node at hand gets its activations in the form of slot.single */
    const onnx_node *inside; /* the last one that did, or whose result has that form; NULL: none */
    pr_names names;          /* tensor name -> index into slots */
    slot *slots;
    size_t slot_count, slot_capacity;
    const char *output_name;
    slot *output;         /* the network's output, Identity nodes followed back; NULL: no node is its tail */
    size_t labels;        /* how many the file's classifier has, 0: it does not say */
    bool peeled;          /* what would be probabilities are logits now, this value */
    pr_value peeled_value;
    pr_onnx_bench *bench; /* NULL: a classifier is read */
    const pr_onnx_sizes *sizes;
    int32_t dropouts;
    pr_budget budget;
    missing missing[MISSING_MAX];
    size_t missing_count, missing_more;
} importer;

/* Sets imp->file to the graph with every call of a model-local function replaced by the function's nodes, and with the
 * branches' nodes, guarded, in front of each If, whose inputs are then the condition and what the branches give. */
PARRY_CHECKED parry_status pr_functions_expand(importer *imp, const PrOnnx__ModelProto *file);
void pr_functions_release(importer *imp);
slot *pr_find_slot(const importer *imp, const char *name);
/* Defines the inputs without initialisers: the image batch, or what the bench gives. */
PARRY_CHECKED parry_status pr_import_inputs(importer *imp);

/* Translates one node: looks at inputs and attributes, defines outputs. */
typedef parry_status (*translation)(importer *imp, const onnx_node *node);

/* The node's result by `translate`, carried out with the oracle: all its inputs are constants. The first is handed to
 * the translation as an activation, with `batch` one whose axis 0 is the batch, else one without a batch. */
PARRY_CHECKED parry_status pr_import_folded(importer *imp, const onnx_node *node, bool batch, translation translate);

/* ---- inside the batch (import_single.c) ------------------------------------------------------------------------- */

/* What a translation says of a node that parry cannot carry out for each image on its own. */
extern const char pr_moves_values[];
/* The node's result with its activations in the form of slot.single. */
PARRY_CHECKED parry_status pr_import_in_front(importer *imp, const onnx_node *node, translation translate);
/* For a translation that finds its node to move the batch of an ordinary activation: goes on in that form where the
 * file is read for a batch of one, else the node is missing. */
PARRY_CHECKED parry_status pr_import_across(importer *imp, const onnx_node *node, translation translate);
/* The same for one that picks or reduces the batch, which leaves an image what it is only where the file is made for a
 * batch of one; else the node is missing for the reason `otherwise`. */
PARRY_CHECKED parry_status pr_import_only_image(importer *imp, const onnx_node *node, const char *otherwise,
                                                translation translate);

/* Sets the names of the classes where the file's classifier has labels. */
PARRY_CHECKED parry_status pr_import_labels(importer *imp);
size_t pr_label_count(const onnx_node *node);
/* Logits in the place of probabilities that a classifier of scikit-learn's ends in; else *value stays. */
PARRY_CHECKED parry_status pr_scores_to_logits(importer *imp, pr_value *value);

/* ---- errors ----------------------------------------------------------------------------------------------------- */

/* "node 'name' (Op)"; a node without a name goes by its first output. */
enum { NODE_LABEL = 160 };
const char *pr_node_label(const onnx_node *node, char label[NODE_LABEL]);
/* A malformed node: "file: node 'x' (Op): ...". */
parry_status pr_node_fail(const importer *imp, const onnx_node *node, const char *format, ...) PARRY_PRINTF(3, 4);
/* A use that parry lacks ("with mode reflect"; a string constant): noted for the one sentence that lists them all.
 * Importing goes on, the node's outputs are poisoned. pr_define_all gives all outputs a kind. */
PARRY_CHECKED parry_status pr_node_missing(importer *imp, const onnx_node *node, const char *detail);
void pr_define_all(importer *imp, const onnx_node *node, slot_kind kind);

/* ---- inputs and outputs ----------------------------------------------------------------------------------------- */

/* Input i; NULL when it is left out. */
slot *pr_node_input(importer *imp, const onnx_node *node, size_t i);
static inline bool pr_is_value(const slot *input)
{
    return input && input->kind == SLOT_VALUE;
}
static inline bool pr_is_constant(const slot *input)
{
    return input && input->kind == SLOT_CONSTANT;
}
static inline bool pr_is_float_constant(const slot *input)
{
    return pr_is_constant(input) && !input->constant.integer;
}
/* Of one number. */
static inline bool pr_truth(const pr_constant *c)
{
    return c->integer ? c->i[0] != 0 : c->f[0] != 0;
}
static inline bool pr_is_vector(const slot *input)
{
    return pr_is_float_constant(input) && input->constant.rank == 1;
}
static inline const pr_dims *pr_dims_of(const importer *imp, const slot *input)
{
    return &imp->model->graph->values[input->value].dims;
}
slot *pr_node_output(importer *imp, const onnx_node *node);
/* Output i, for nodes that define several; NULL when it is left out. */
slot *pr_node_output_at(importer *imp, const onnx_node *node, size_t i);
/* A name of the file as one of the graph: of limited length, without control characters. */
enum { GRAPH_NAME = 160 };
void pr_clean_name(const char *name, char out[GRAPH_NAME]);
/* The output is the value, which other slots may stand for too. */
void pr_define_value(importer *imp, const onnx_node *node, pr_value value);
/* The output is this constant, which is taken over. */
void pr_define_constant(importer *imp, const onnx_node *node, pr_constant *constant);
/* `output` is another name for what `source` is. */
void pr_stand_for(slot *output, const slot *source);
/* The output is the same as `source`. */
void pr_define_same(importer *imp, const onnx_node *node, const slot *source);
/* Adds a node to the graph and makes its result the output; pr_add_node only adds it. */
PARRY_CHECKED parry_status pr_emit(importer *imp, const onnx_node *node, pr_op op, const pr_attrs *attrs,
                                   const pr_value *in, int inputs);
PARRY_CHECKED parry_status pr_add_node(importer *imp, const onnx_node *node, pr_op op, const pr_attrs *attrs,
                                       const pr_value *in, int inputs, pr_value *out);
/* A node that none of the file's stands for. */
PARRY_CHECKED parry_status pr_add_named(importer *imp, const char *name, pr_op op, const pr_attrs *attrs,
                                        const pr_value *in, int inputs, pr_value *out);

/* ---- shapes ---------------------------------------------------------------------------------------------------- */

typedef struct pr_shape {
    int rank;
    int64_t dim[PR_CONSTANT_RANK];
} pr_shape;
/* As the graph has it: of an activation the first size is PR_BATCH. */
pr_shape pr_shape_of(const importer *imp, const slot *x);
/* As the file has it, for a batch of imp->batch: numbers alone. */
pr_shape pr_file_shape(const importer *imp, const slot *x);
/* The node's output is `x`, activation or constant, in another shape of as many elements, as the graph has it. */
PARRY_CHECKED parry_status pr_define_reshaped(importer *imp, const onnx_node *node, const slot *x, const pr_shape *to);
/* Follows `value` with a RESHAPE, where it has not that shape already. */
PARRY_CHECKED parry_status pr_add_reshape(importer *imp, const onnx_node *node, pr_dims to, pr_value *value);
/* Follows `value` with a node that picks positions index[0 .. count - 1] along an axis other than the batch: nothing, a
 * crop or GATHER. The index is named after the constant `named`, NULL: after the node. */
PARRY_CHECKED parry_status pr_pick(importer *imp, const onnx_node *node, int axis, const int64_t *index, int64_t count,
                                   const slot *named, pr_value *value);
/* A parameter of the graph that the file does not have, named after the node's output; *data is to be filled. */
PARRY_CHECKED parry_status pr_weight_made(importer *imp, const onnx_node *node, const char *what, pr_weight_role role,
                                          int rank, const int64_t *dim, pr_value *out, float **data);

/* ---- weights ---------------------------------------------------------------------------------------------------- */

/* The constant as a parameter of the network; asked again, the same one. `transposed` swaps the axes of a matrix. */
PARRY_CHECKED parry_status pr_weight_of(importer *imp, slot *constant, pr_weight_role role, bool transposed,
                                        pr_value *out);
/* A new parameter named after `source`, of another shape; *data is to be filled. */
PARRY_CHECKED parry_status pr_weight_new(importer *imp, const slot *source, pr_weight_role role, int rank,
                                         const int64_t *dim, pr_value *out, float **data);

/* ---- operands ---------------------------------------------------------------------------------------------------- */

bool pr_has_batch_axis(const importer *imp, const slot *x);
/* What an operator combines with `x`: a value as it is, a constant as a parameter, axes of size 1 that would face the
 * batch dropped. -1: the node has been noted as missing. */
PARRY_CHECKED parry_status pr_operand_as(importer *imp, const onnx_node *node, const slot *x, slot *operand,
                                         pr_weight_role role, pr_value *out);
PARRY_CHECKED parry_status pr_operand(importer *imp, const onnx_node *node, const slot *x, slot *operand, pr_value *out);
/* The same where nothing is broadcast. */
PARRY_CHECKED parry_status pr_operand_plain(importer *imp, const onnx_node *node, slot *operand, pr_value *out);
/* The node's result is op(operands), of which one at least is a value. */
PARRY_CHECKED parry_status pr_emit_operands(importer *imp, const onnx_node *node, pr_op op, const pr_attrs *attrs,
                                            slot *const *operands, int count);
/* value = function(value) */
PARRY_CHECKED parry_status pr_add_map(importer *imp, const onnx_node *node, pr_map function, float a, float b, float c,
                                  pr_value *value);
/* function(a, b) of constants; integers exactly. */
PARRY_CHECKED parry_status pr_fold_binary(importer *imp, const onnx_node *node, pr_binary function, const pr_constant *a,
                                          const pr_constant *b);
PARRY_CHECKED parry_status pr_fold_where(importer *imp, const onnx_node *node, const pr_constant *condition,
                                         const pr_constant *a, const pr_constant *b);
/* alpha x w + beta c with x input 0, N x I, and a constant matrix, which is brought to the form O x I. */
PARRY_CHECKED parry_status pr_dense(importer *imp, const onnx_node *node, slot *w, bool transposed, float alpha, slot *c,
                                    float beta);

/* ---- attributes: absent ones have the default, one of the wrong kind or out of range is an error ---------------- */

const onnx_attribute *pr_attribute(const onnx_node *node, const char *name);
PARRY_CHECKED parry_status pr_attribute_int(const importer *imp, const onnx_node *node, const char *name, int64_t def,
                                            int64_t min, int64_t max, int64_t *out);
PARRY_CHECKED parry_status pr_attribute_float(const importer *imp, const onnx_node *node, const char *name, float def,
                                              float *out);
/* Exactly `count` integers within min .. max; *found tells whether the attribute is there, `out` keeps its content
 * otherwise. */
PARRY_CHECKED parry_status pr_attribute_ints(const importer *imp, const onnx_node *node, const char *name, int count,
                                             int min, int max, int *out, bool *found);
/* Whether the attribute, a string, is `text`; an absent one counts as `def`. */
bool pr_attribute_is(const onnx_node *node, const char *name, const char *def, const char *text);
/* The file's axis as the graph counts those of a tensor with `rank`: from 0, and one further where the images are in
 * front. */
PARRY_CHECKED parry_status pr_axis(const importer *imp, const onnx_node *node, int64_t axis, int rank, int *out);
PARRY_CHECKED parry_status pr_attribute_axis(const importer *imp, const onnx_node *node, const char *name, int64_t def,
                                             int rank, int *out);
/* A list of integers that older opsets have as an attribute and newer ones as input number `input`; *found as above.
 * PR_CONSTANT_RANK values at most. */
typedef struct int_list {
    int count;
    int64_t at[PR_CONSTANT_RANK];
} int_list;
PARRY_CHECKED parry_status pr_list(importer *imp, const onnx_node *node, const char *attribute, size_t input,
                                   int_list *out, bool *found);

/* ---- translations (import_ops.def) ------------------------------------------------------------------------------ */

#define OP(type, min_inputs, max_inputs, first, function)                                                              \
    parry_status pr_import_##function(importer *imp, const onnx_node *node);
#define SAME(type, min_inputs, max_inputs, first, function)
#define MULTI OP
#include "onnx/import_ops.def"
#undef OP
#undef MULTI
#undef SAME

#endif
