/* What the rules of differentiation are written with. */
#ifndef PR_GRAPH_DIFFERENTIATE_H
#define PR_GRAPH_DIFFERENTIATE_H

#include "graph/internal.h"

struct diff {
    parry_ctx *ctx;
    pr_graph *graph;
    bool *active;   /* by value that was there before: depends on a wrt value */
    pr_value *grad; /* by such a value: the sum of the contributions so far, -1: none */
};

/* ---- what rules are written with -------------------------------------------------------------------------------- */

static inline bool wants(const struct diff *d, const pr_node *node, int input)
{
    return input < node->inputs && node->in[input] >= 0 && d->active[node->in[input]];
}

static inline pr_dims dims_of(const struct diff *d, pr_value value)
{
    return d->graph->values[value].dims;
}

/* Appends a node named after the one that is differentiated. */
static inline parry_status emit(struct diff *d, const pr_node *from, pr_op op, const pr_attrs *attrs,
                                const pr_value *in, int inputs, int outputs, pr_value *out)
{
    char *name;
    TRY(pr_asprintf(d->ctx, &name, "grad.%s", from->name));
    parry_status status = pr_graph_node_outputs(d->ctx, d->graph, op, name, attrs, in, inputs, outputs, out);
    pr_free(name);
    return status;
}

static inline parry_status emit_one(struct diff *d, const pr_node *from, pr_op op, const pr_attrs *attrs, pr_value a,
                                    pr_value b, pr_value *out)
{
    return emit(d, from, op, attrs, (pr_value[]){a, b}, b < 0 ? 1 : 2, 1, out);
}

/* Adds `contribution` to the gradient of `value`. */
static inline parry_status give(struct diff *d, const pr_node *from, pr_value value, pr_value contribution)
{
    if (d->grad[value] < 0) {
        d->grad[value] = contribution;
        return PARRY_OK;
    }
    return emit_one(d, from, PR_OP_ADD, NULL, d->grad[value], contribution, &d->grad[value]);
}

/* The contribution to input `input` is op(a, b) with `attrs`. */
static inline parry_status give_op(struct diff *d, const pr_node *node, int input, pr_op op, const pr_attrs *attrs,
                                   pr_value a, pr_value b)
{
    pr_value out;
    if (!wants(d, node, input))
        return PARRY_OK;
    TRY(emit_one(d, node, op, attrs, a, b, &out));
    return give(d, node, node->in[input], out);
}

/* For inputs that a rule takes for constants. */
static inline parry_status refuse(struct diff *d, const pr_node *node, int first)
{
    for (int i = first; i < node->inputs; i++) {
        if (wants(d, node, i))
            return pr_fail(d->ctx, PARRY_UNSUPPORTED, "node '%s' (%s): no derivative with respect to input %d",
                           node->name, pr_op_name(node->op), i);
    }
    return PARRY_OK;
}

static inline pr_attrs shape_attrs(const struct diff *d, pr_value value)
{
    return (pr_attrs){.shape = {dims_of(d, value)}};
}

/* Hands `contribution`, of the shape of y, to an input that was broadcast to it. */
static inline parry_status give_reduced(struct diff *d, const pr_node *node, int input, pr_value contribution)
{
    pr_attrs attrs = shape_attrs(d, node->in[input]);
    if (!pr_dims_equal(dims_of(d, contribution), attrs.shape.to))
        TRY(emit_one(d, node, PR_OP_REDUCE_TO, &attrs, contribution, -1, &contribution));
    return give(d, node, node->in[input], contribution);
}

/* ---- rules of arithmetic (differentiate_maths.c) ----------------------------------------------------------------- */

parry_status pr_map_rule(struct diff *d, const pr_node *node, pr_value dy);
parry_status pr_binary_rule(struct diff *d, const pr_node *node, pr_value dy);
parry_status pr_where_rule(struct diff *d, const pr_node *node, pr_value dy);
parry_status pr_reduce_rule(struct diff *d, const pr_node *node, pr_value dy);
parry_status pr_matmul_rule(struct diff *d, const pr_node *node, pr_value dy);
parry_status pr_normalize_rule(struct diff *d, const pr_node *node, pr_value dy);
parry_status pr_lrn_rule(struct diff *d, const pr_node *node, pr_value dy);
/* Piecewise constant: no contribution. */
parry_status pr_constant_rule(struct diff *d, const pr_node *node, pr_value dy);

#endif
