/* Oracle: elementwise operators, broadcasting, movement, dropout. */
#include <math.h>
#include <string.h>

#include "engine/ref.h"

/* ---- one number at a time --------------------------------------------------------------------------------------- */

#define MAP(name, expression)                                                                                          \
    void pr_ref_##name(const pr_ref *ref)                                                                              \
    {                                                                                                                  \
        for (int64_t e = 0, count = pr_dims_row(ref->out_dims[0]); e < count; e++) {                                   \
            float x = ref->in[0][e];                                                                                   \
            ref->out[0][e] = (float)(expression);                                                                      \
        }                                                                                                              \
    }

MAP(relu, x < 0 ? 0 : x)                                             /* a NaN stays one */
MAP(leaky_relu, x < 0 ? ref->attrs->alpha.alpha * x : x)
MAP(sigmoid, 1 / (1 + exp(-(double)x)))
MAP(tanh, tanh((double)x))
MAP(neg, -x)
MAP(copy, x)
/* x is y in those that read the forward result */
MAP(relu_grad, x > 0 ? ref->in[1][e] : 0)
MAP(leaky_relu_grad, x > 0 ? ref->in[1][e] : ref->attrs->alpha.alpha * ref->in[1][e])
MAP(sigmoid_grad, (double)ref->in[1][e] * x * (1 - (double)x))
MAP(tanh_grad, ref->in[1][e] * (1 - (double)x * x))

/* ---- broadcasting ----------------------------------------------------------------------------------------------- */

int64_t pr_ref_offset(int64_t index, int rank, const int64_t *size, const int64_t *stride)
{
    int64_t offset = 0;
    for (int d = rank - 1; d >= 0; d--) {
        offset += index % size[d] * stride[d];
        index /= size[d];
    }
    return offset;
}

void pr_ref_strides(pr_dims dims, int rank, int64_t *stride)
{
    int64_t step = 1;
    for (int d = rank - 1; d >= 0; d--) {
        int own = d - (rank - dims.rank);
        int64_t size = own >= 0 ? dims.dim[own] : 1;
        stride[d] = size == 1 ? 0 : step;
        step *= size;
    }
}

#define BINARY(name, operator)                                                                                         \
    void pr_ref_##name(const pr_ref *ref)                                                                              \
    {                                                                                                                  \
        int rank = ref->out_dims[0].rank;                                                                              \
        int64_t a[PR_RANK_MAX], b[PR_RANK_MAX];                                                                        \
        pr_ref_strides(ref->in_dims[0], rank, a);                                                                          \
        pr_ref_strides(ref->in_dims[1], rank, b);                                                                          \
        for (int64_t e = 0, count = pr_dims_row(ref->out_dims[0]); e < count; e++)                                     \
            ref->out[0][e] = ref->in[0][pr_ref_offset(e, rank, ref->out_dims[0].dim, a)]                                   \
                operator ref->in[1][pr_ref_offset(e, rank, ref->out_dims[0].dim, b)];                                      \
    }

BINARY(add, +)
BINARY(sub, -)
BINARY(mul, *)
BINARY(div, /)

void pr_ref_reduce_to(const pr_ref *ref)
{
    /* The axes that stay run over the output, the others over the sum. */
    pr_dims dy = ref->in_dims[0], outer = dy, inner = dy;
    int64_t stride[PR_RANK_MAX];
    pr_ref_strides(dy, dy.rank, stride);
    for (int d = 0; d < dy.rank; d++) {
        int own = d - (dy.rank - ref->out_dims[0].rank);
        outer.dim[d] = own >= 0 ? ref->out_dims[0].dim[own] : 1;
        inner.dim[d] = dy.dim[d] / outer.dim[d];
    }
    for (int64_t e = 0, count = pr_dims_row(outer), terms = pr_dims_row(inner); e < count; e++) {
        double sum = 0;
        int64_t base = pr_ref_offset(e, dy.rank, outer.dim, stride);
        for (int64_t t = 0; t < terms; t++)
            sum += ref->in[0][base + pr_ref_offset(t, dy.rank, inner.dim, stride)];
        ref->out[0][e] = (float)sum;
    }
}

void pr_ref_transpose(const pr_ref *ref)
{
    int rank = ref->out_dims[0].rank;
    int64_t all[PR_RANK_MAX], stride[PR_RANK_MAX];
    pr_ref_strides(ref->in_dims[0], rank, all);
    for (int d = 0; d < rank; d++)
        stride[d] = all[ref->attrs->perm.perm[d]];
    for (int64_t e = 0, count = pr_dims_row(ref->out_dims[0]); e < count; e++)
        ref->out[0][e] = ref->in[0][pr_ref_offset(e, rank, ref->out_dims[0].dim, stride)];
}

/* ---- dropout ---------------------------------------------------------------------------------------------------- */

/* Forward and gradient alike: times the mask. */
void pr_ref_dropout(const pr_ref *ref)
{
    int64_t n = ref->out_dims[0].dim[0], row = pr_dims_row(ref->out_dims[0]) / n;
    for (int64_t r = 0; r < n; r++) {
        float *y = ref->out[0] + r * row;
        pr_dropout_mask(ref->seed, ref->step, ref->attrs->dropout.stream, ref->attrs->dropout.ratio, r, row, y);
        for (int64_t e = 0; e < row; e++)
            y[e] *= ref->in[0][r * row + e];
    }
}
