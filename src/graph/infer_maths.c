/* Shape inference of arithmetic: broadcasting, reductions, products. Values need not have a batch. */
#include "graph/infer.h"

/* ---- broadcasting ------------------------------------------------------------------------------------------------ */

static parry_status broadcast(const struct shapes *s, pr_dims a, pr_dims b, pr_dims *out)
{
    char first[PR_DIMS_TEXT], second[PR_DIMS_TEXT];
    pr_dims y = {.rank = PR_MAX(a.rank, b.rank)};
    for (int d = 1; d <= y.rank; d++) { /* from the right */
        int64_t m = d <= a.rank ? a.dim[a.rank - d] : 1, n = d <= b.rank ? b.dim[b.rank - d] : 1;
        bool batch_inside = (m == PR_BATCH || n == PR_BATCH) && d != y.rank;
        if (batch_inside || (m != n && m != 1 && n != 1))
            return mismatch(s, "%s and %s do not broadcast", pr_dims_text(a, first), pr_dims_text(b, second));
        y.dim[y.rank - d] = m == 1 ? n : m;
    }
    *out = y;
    return PARRY_OK;
}

parry_status pr_infer_broadcast(const struct shapes *s)
{
    return broadcast(s, s->in[0], s->in[1], &s->out[0]);
}

parry_status pr_infer_where(const struct shapes *s)
{
    pr_dims values;
    TRY(broadcast(s, s->in[1], s->in[2], &values));
    return broadcast(s, s->in[0], values, &s->out[0]);
}

parry_status pr_infer_binary_grad(const struct shapes *s)
{
    TRY(pr_infer_broadcast(s));
    return need_dims(s, 2, "the gradient", s->out[0]);
}

/* ---- reductions -------------------------------------------------------------------------------------------------- */

static pr_dims reduced(const struct shapes *s)
{
    pr_dims y = s->in[0];
    for (int d = 0; d < y.rank; d++)
        y.dim[d] = s->attrs->reduce.axes >> d & 1 ? 1 : y.dim[d];
    return y;
}

parry_status pr_infer_reduce(const struct shapes *s)
{
    const unsigned axes = s->attrs->reduce.axes;
    if (axes >> PR_MAX(s->in[0].rank, 0))
        return mismatch(s, "an axis that a tensor of %d does not have", s->in[0].rank);
    if (has_batch(s->in[0]) && axes & 1)
        return mismatch(s, "the batch cannot be reduced");
    s->out[0] = reduced(s);
    return PARRY_OK;
}

parry_status pr_infer_reduce_grad(const struct shapes *s)
{
    TRY(need_dims(s, 1, "the reduction", reduced(s)));
    TRY(need_dims(s, 2, "the gradient", reduced(s)));
    s->out[0] = s->in[0];
    return PARRY_OK;
}

/* An axis other than the batch. */
static parry_status need_axis(const struct shapes *s, int axis)
{
    const int first = has_batch(s->in[0]) ? 1 : 0;
    if (axis < first || axis >= s->in[0].rank)
        return mismatch(s, "axis %d should be one of %d to %d", axis, first, s->in[0].rank - 1);
    return PARRY_OK;
}

parry_status pr_infer_arg_max(const struct shapes *s)
{
    TRY(need_axis(s, s->attrs->axis.axis));
    s->out[0] = s->in[0];
    s->out[0].dim[s->attrs->axis.axis] = 1;
    return PARRY_OK;
}

/* ---- normalisation ----------------------------------------------------------------------------------------------- */

parry_status pr_infer_softmax(const struct shapes *s)
{
    int rank = s->in[0].rank, axis = s->attrs->axis.axis;
    TRY(need_axis(s, rank - 1));
    if (s->node->inputs == 2)
        TRY(need_dims(s, 1, "the gradient", s->in[0]));
    if (axis != -1 && axis != rank - 1)
        return pr_fail(s->ctx, PARRY_UNSUPPORTED, "node '%s' (%s): axis %d of %d; only the last is supported",
                       s->node->name, pr_op_name(s->node->op), axis, rank);
    s->out[0] = s->in[0];
    return PARRY_OK;
}

parry_status pr_infer_normalize(const struct shapes *s)
{
    TRY(need_axis(s, s->attrs->norm.axis));
    if (s->node->inputs == 2)
        TRY(need_dims(s, 1, "the gradient", s->in[0]));
    s->out[0] = s->in[0];
    return PARRY_OK;
}

parry_status pr_infer_lrn(const struct shapes *s)
{
    TRY(need_batch(s, 0, "the input", 2));
    if (s->attrs->lrn.size < 1)
        return mismatch(s, "the size %d should be positive", s->attrs->lrn.size);
    if (s->node->inputs == 2)
        TRY(need_dims(s, 1, "the gradient", s->in[0]));
    s->out[0] = s->in[0];
    return PARRY_OK;
}

/* ---- products ---------------------------------------------------------------------------------------------------- */

/* Rows and columns of operand `input`, transposed where the attributes say so. */
static void matrix_of(const struct shapes *s, int input, int64_t *rows, int64_t *columns)
{
    const pr_dims *x = &s->in[input];
    const bool transposed = s->attrs->matmul.transposed[input];
    *rows = x->dim[x->rank - (transposed ? 1 : 2)];
    *columns = x->dim[x->rank - (transposed ? 2 : 1)];
}

parry_status pr_infer_matmul(const struct shapes *s)
{
    char first[PR_DIMS_TEXT], second[PR_DIMS_TEXT];
    pr_dims outer[2];
    int64_t m, k, also_k, n;
    for (int i = 0; i < 2; i++) {
        const pr_dims *x = &s->in[i];
        if (x->rank < 2 || x->dim[x->rank - 2] == PR_BATCH)
            return mismatch(s, "operand %d should be matrices, found %s", i, pr_dims_text(*x, first));
        outer[i] = *x;
        outer[i].rank -= 2;
    }
    matrix_of(s, 0, &m, &k);
    matrix_of(s, 1, &also_k, &n);
    if (k != also_k)
        return mismatch(s, "matrices of %s and %s do not multiply", pr_dims_text(s->in[0], first),
                        pr_dims_text(s->in[1], second));
    TRY(broadcast(s, outer[0], outer[1], &s->out[0]));
    s->out[0].dim[s->out[0].rank++] = m;
    s->out[0].dim[s->out[0].rank++] = n;
    return PARRY_OK;
}
