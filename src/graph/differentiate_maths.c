/* Derivatives of arithmetic: the families of maths.def, products, normalisation. */
#include "graph/differentiate.h"

parry_status pr_constant_rule(struct diff *d, const pr_node *node, pr_value dy)
{
    (void)d, (void)node, (void)dy;
    return PARRY_OK;
}

/* ---- elementwise ------------------------------------------------------------------------------------------------- */

/* Functions that are constant between their steps. */
static bool map_has_steps(pr_map function)
{
    return function == PR_MAP_FLOOR || function == PR_MAP_CEIL || function == PR_MAP_ROUND || function == PR_MAP_SIGN ||
           function == PR_MAP_NOT;
}

parry_status pr_map_rule(struct diff *d, const pr_node *node, pr_value dy)
{
    if (map_has_steps(node->attrs.map.function))
        return PARRY_OK;
    return give_op(d, node, 0, PR_OP_MAP_GRAD, &node->attrs, node->in[0], dy);
}

parry_status pr_binary_rule(struct diff *d, const pr_node *node, pr_value dy)
{
    if (node->attrs.binary.function >= PR_BINARY_EQUAL)
        return PARRY_OK;
    for (int side = 0; side < 2; side++) {
        pr_attrs attrs = node->attrs;
        pr_value out, in[] = {node->in[0], node->in[1], dy};
        attrs.binary.side = side;
        if (!wants(d, node, side))
            continue;
        TRY(emit(d, node, PR_OP_BINARY_GRAD, &attrs, in, 3, 1, &out));
        TRY(give_reduced(d, node, side, out));
    }
    return PARRY_OK;
}

/* da = dy [condition], db = dy [not condition] */
parry_status pr_where_rule(struct diff *d, const pr_node *node, pr_value dy)
{
    static const pr_attrs not = {.map = {PR_MAP_NOT, {0}}};
    pr_value mask = node->in[0], out;
    if (!wants(d, node, 1) && !wants(d, node, 2))
        return PARRY_OK;
    for (int i = 2; i > 0; i--) { /* not the condition, and then not that */
        TRY(emit_one(d, node, PR_OP_MAP, &not, mask, -1, &mask));
        if (!wants(d, node, i))
            continue;
        TRY(emit_one(d, node, PR_OP_MUL, NULL, dy, mask, &out));
        TRY(give_reduced(d, node, i, out));
    }
    return PARRY_OK;
}

/* ---- over axes --------------------------------------------------------------------------------------------------- */

parry_status pr_reduce_rule(struct diff *d, const pr_node *node, pr_value dy)
{
    pr_value out, in[] = {node->in[0], node->out[0], dy};
    TRY(emit(d, node, PR_OP_REDUCE_GRAD, &node->attrs, in, 3, 1, &out));
    return give(d, node, node->in[0], out);
}

parry_status pr_normalize_rule(struct diff *d, const pr_node *node, pr_value dy)
{
    return give_op(d, node, 0, PR_OP_NORMALIZE_GRAD, &node->attrs, node->in[0], dy);
}

parry_status pr_lrn_rule(struct diff *d, const pr_node *node, pr_value dy)
{
    return give_op(d, node, 0, PR_OP_LRN_GRAD, &node->attrs, node->in[0], dy);
}

/* ---- products ---------------------------------------------------------------------------------------------------- */

/* With A and B as they are multiplied, y = A B: dA = dy B', dB = A' dy; a stored transpose gets the transposed one. */
parry_status pr_matmul_rule(struct diff *d, const pr_node *node, pr_value dy)
{
    const bool ta = node->attrs.matmul.transposed[0], tb = node->attrs.matmul.transposed[1];
    pr_value out;
    if (wants(d, node, 0)) {
        const pr_attrs attrs = {.matmul = {{ta && tb, ta || !tb}}};
        TRY(emit_one(d, node, PR_OP_MATMUL, &attrs, ta ? node->in[1] : dy, ta ? dy : node->in[1], &out));
        TRY(give_reduced(d, node, 0, out));
    }
    if (wants(d, node, 1)) {
        const pr_attrs attrs = {.matmul = {{tb || !ta, tb && ta}}};
        TRY(emit_one(d, node, PR_OP_MATMUL, &attrs, tb ? dy : node->in[0], tb ? node->in[0] : dy, &out));
        TRY(give_reduced(d, node, 1, out));
    }
    return PARRY_OK;
}
