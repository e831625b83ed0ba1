/* What the rules of shape inference are written with. */
#ifndef PR_GRAPH_INFER_H
#define PR_GRAPH_INFER_H

#include <stdarg.h>
#include <stdio.h>

#include "graph/internal.h"

struct shapes {
    parry_ctx *ctx;
    const pr_node *node;
    const pr_attrs *attrs;
    pr_dims in[PR_NODE_IN]; /* rank -1: absent */
    pr_dims *out;
};

static inline parry_status mismatch(const struct shapes *s, const char *format, ...) PARRY_PRINTF(2, 3);
static inline parry_status mismatch(const struct shapes *s, const char *format, ...)
{
    char reason[640];
    va_list args;
    va_start(args, format);
    vsnprintf(reason, sizeof(reason), format, args);
    va_end(args);
    return pr_fail(s->ctx, PARRY_MISMATCH, "node '%s' (%s): %s", s->node->name, pr_op_name(s->node->op), reason);
}

static inline bool has_batch(pr_dims dims)
{
    return dims.rank > 0 && dims.dim[0] == PR_BATCH;
}

/* ---- checks ----------------------------------------------------------------------------------------------------- */

static inline parry_status need_rank(const struct shapes *s, int input, const char *what, int rank)
{
    char found[PR_DIMS_TEXT];
    if (s->in[input].rank != rank)
        return mismatch(s, "%s should have %d dimensions, found %s", what, rank, pr_dims_text(s->in[input], found));
    return PARRY_OK;
}

static inline parry_status need_image(const struct shapes *s, int input, const char *what)
{
    char found[PR_DIMS_TEXT];
    if (s->in[input].rank != 4 || !has_batch(s->in[input]))
        return mismatch(s, "%s should be N x C x H x W, found %s", what, pr_dims_text(s->in[input], found));
    return PARRY_OK;
}

static inline parry_status need_batch(const struct shapes *s, int input, const char *what, int least_rank)
{
    char found[PR_DIMS_TEXT];
    if (s->in[input].rank < least_rank || !has_batch(s->in[input]))
        return mismatch(s, "%s should be a batch with at least %d dimensions, found %s", what, least_rank,
                        pr_dims_text(s->in[input], found));
    return PARRY_OK;
}

static inline parry_status need_dims(const struct shapes *s, int input, const char *what, pr_dims expected)
{
    char wanted[PR_DIMS_TEXT], found[PR_DIMS_TEXT];
    if (!pr_dims_equal(s->in[input], expected))
        return mismatch(s, "%s should be %s, found %s", what, pr_dims_text(expected, wanted),
                        pr_dims_text(s->in[input], found));
    return PARRY_OK;
}

/* Input `input` is absent or a vector of `count` numbers. */
static inline parry_status need_vector(const struct shapes *s, int input, const char *what, int64_t count)
{
    return s->in[input].rank < 0 ? PARRY_OK : need_dims(s, input, what, (pr_dims){1, {count}});
}

/* ---- rules of arithmetic (infer_maths.c) ------------------------------------------------------------------------- */

parry_status pr_infer_broadcast(const struct shapes *s);
parry_status pr_infer_where(const struct shapes *s);
parry_status pr_infer_binary_grad(const struct shapes *s);
parry_status pr_infer_reduce(const struct shapes *s);
parry_status pr_infer_reduce_grad(const struct shapes *s);
parry_status pr_infer_arg_max(const struct shapes *s);
parry_status pr_infer_matmul(const struct shapes *s);
parry_status pr_infer_softmax(const struct shapes *s);
parry_status pr_infer_normalize(const struct shapes *s);
parry_status pr_infer_lrn(const struct shapes *s);

#endif
