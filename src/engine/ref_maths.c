/* Oracle: the families of maths.def, products of matrices, normalisation. */
#include <math.h>

#include "engine/ref.h"

/* ---- families ---------------------------------------------------------------------------------------------------- */

/* The formula's loop, one for each function. */
void pr_ref_map_flat(const pr_attrs *attrs, const void *in_x, const void *unused_b, const void *unused_c, void *out,
                     int64_t count)
{
    const float *in = in_x;
    float *y = out;
    const double a = attrs->map.parameter[0], b = attrs->map.parameter[1], c = attrs->map.parameter[2];
    (void)b, (void)c, (void)unused_b, (void)unused_c;
    switch (attrs->map.function) {
#define MAP(id, name, da, db, dc, f, df)                                                                               \
    case PR_MAP_##id:                                                                                                  \
        for (int64_t e = 0; e < count; e++) {                                                                          \
            double x = in[e];                                                                                          \
            y[e] = (float)(f);                                                                                         \
        }                                                                                                              \
        break;
#include "graph/maths.def"
#undef MAP
    default:
        break;
    }
}

void pr_ref_map_grad_flat(const pr_attrs *attrs, const void *in_x, const void *in_dy, const void *unused, void *out,
                          int64_t count)
{
    const float *in = in_x, *dy = in_dy;
    float *dx = out;
    const double a = attrs->map.parameter[0], b = attrs->map.parameter[1], c = attrs->map.parameter[2];
    (void)b, (void)c, (void)unused;
    switch (attrs->map.function) {
#define MAP(id, name, da, db, dc, f, df)                                                                               \
    case PR_MAP_##id:                                                                                                  \
        for (int64_t e = 0; e < count; e++) {                                                                          \
            double x = in[e];                                                                                          \
            (void)x;                                                                                                   \
            dx[e] = (float)(dy[e] * (double)(df));                                                                     \
        }                                                                                                              \
        break;
#include "graph/maths.def"
#undef MAP
    default:
        break;
    }
}

void pr_ref_binary_flat(const pr_attrs *attrs, const void *in_x, const void *in_z, const void *unused, void *out,
                        int64_t count)
{
    const float *a = in_x, *b = in_z;
    float *y = out;
    (void)unused;
    switch (attrs->binary.function) {
#define BINARY(id, name, f, dx, dz)                                                                                    \
    case PR_BINARY_##id:                                                                                               \
        for (int64_t e = 0; e < count; e++) {                                                                          \
            double x = a[e], z = b[e];                                                                                 \
            y[e] = (float)(f);                                                                                         \
        }                                                                                                              \
        break;
#include "graph/maths.def"
#undef BINARY
    default:
        break;
    }
}

void pr_ref_binary_grad_flat(const pr_attrs *attrs, const void *in_x, const void *in_z, const void *in_dy, void *out,
                             int64_t count)
{
    const float *a = in_x, *b = in_z, *dy = in_dy;
    float *d = out;
    const int side = attrs->binary.side;
    switch (attrs->binary.function) {
#define BINARY(id, name, f, dx, dz)                                                                                    \
    case PR_BINARY_##id:                                                                                               \
        for (int64_t e = 0; e < count; e++) {                                                                          \
            double x = a[e], z = b[e];                                                                                 \
            (void)x, (void)z;                                                                                          \
            d[e] = (float)(dy[e] * (side ? (double)(dz) : (double)(dx)));                                              \
        }                                                                                                              \
        break;
#include "graph/maths.def"
#undef BINARY
    default:
        break;
    }
}

void pr_ref_map(const pr_ref *ref)
{
    pr_ref_map_flat(ref->attrs, ref->in[0], NULL, NULL, ref->out[0], pr_dims_row(ref->out_dims[0]));
}

void pr_ref_map_grad(const pr_ref *ref)
{
    pr_ref_map_grad_flat(ref->attrs, ref->in[0], ref->in[1], NULL, ref->out[0], pr_dims_row(ref->out_dims[0]));
}

/* Element e of the result reads operand `input` at at[input]. */
static void operands(const pr_ref *ref, int inputs, int64_t e, int64_t *at)
{
    int rank = ref->out_dims[0].rank;
    int64_t stride[PR_RANK_MAX];
    for (int i = 0; i < inputs; i++) {
        pr_ref_strides(ref->in_dims[i], rank, stride);
        at[i] = pr_ref_offset(e, rank, ref->out_dims[0].dim, stride);
    }
}

void pr_ref_binary(const pr_ref *ref)
{
    int64_t at[2];
    for (int64_t e = 0, count = pr_dims_row(ref->out_dims[0]); e < count; e++) {
        operands(ref, 2, e, at);
        pr_ref_binary_flat(ref->attrs, &ref->in[0][at[0]], &ref->in[1][at[1]], NULL, &ref->out[0][e], 1);
    }
}

void pr_ref_binary_grad(const pr_ref *ref)
{
    int64_t at[2];
    for (int64_t e = 0, count = pr_dims_row(ref->out_dims[0]); e < count; e++) {
        operands(ref, 2, e, at);
        pr_ref_binary_grad_flat(ref->attrs, &ref->in[0][at[0]], &ref->in[1][at[1]], &ref->in[2][e], &ref->out[0][e], 1);
    }
}

void pr_ref_where(const pr_ref *ref)
{
    int64_t at[3];
    for (int64_t e = 0, count = pr_dims_row(ref->out_dims[0]); e < count; e++) {
        operands(ref, 3, e, at);
        ref->out[0][e] = ref->in[0][at[0]] != 0 ? ref->in[1][at[1]] : ref->in[2][at[2]];
    }
}

/* ---- over axes --------------------------------------------------------------------------------------------------- */

/* The axes that stay, as the shape of the result, and those that are reduced. */
static void split_axes(pr_dims x, unsigned axes, pr_dims *outer, pr_dims *inner)
{
    *outer = *inner = x;
    for (int d = 0; d < x.rank; d++)
        *(axes >> d & 1 ? &outer->dim[d] : &inner->dim[d]) = 1;
}

/* What exp takes off its arguments so as not to overflow: 0 where the largest is infinite, which it is to stay. */
static double largest(const float *in, pr_dims inner, const int64_t *stride)
{
    double top = -INFINITY;
    for (int64_t t = 0; t < pr_dims_row(inner); t++)
        top = fmax(top, in[pr_ref_offset(t, inner.rank, inner.dim, stride)]);
    return isinf(top) ? 0 : top;
}

static double reduce(pr_reduce function, const float *in, pr_dims inner, const int64_t *stride)
{
    double acc, n = (double)pr_dims_row(inner);
    const double top = function == PR_REDUCE_LOG_SUM_EXP ? largest(in, inner, stride) : 0;
    switch (function) {
#define REDUCE(id, name, start, step, end, d)                                                                          \
    case PR_REDUCE_##id:                                                                                               \
        acc = start;                                                                                                   \
        for (int64_t t = 0; t < pr_dims_row(inner); t++) {                                                             \
            double x = in[pr_ref_offset(t, inner.rank, inner.dim, stride)];                                            \
            acc = step;                                                                                                \
        }                                                                                                              \
        return end;
#include "graph/maths.def"
#undef REDUCE
    default:
        return n;
    }
}

static double reduce_derivative(pr_reduce function, double x, double y, double n, double ties, double others)
{
    switch (function) {
#define REDUCE(id, name, start, step, end, d)                                                                          \
    case PR_REDUCE_##id:                                                                                               \
        return d;
#include "graph/maths.def"
#undef REDUCE
    default:
        return NAN;
    }
}

void pr_ref_reduce(const pr_ref *ref)
{
    pr_dims x = ref->in_dims[0], outer, inner;
    int64_t stride[PR_RANK_MAX];
    pr_ref_strides(x, x.rank, stride);
    split_axes(x, ref->attrs->reduce.axes, &outer, &inner);
    for (int64_t e = 0; e < pr_dims_row(outer); e++)
        ref->out[0][e] = (float)reduce(ref->attrs->reduce.function,
                                       ref->in[0] + pr_ref_offset(e, x.rank, outer.dim, stride), inner, stride);
}

/* The product of all numbers but number `skip`. */
static double product_of_others(const float *in, pr_dims inner, const int64_t *stride, int64_t skip)
{
    double product = 1;
    for (int64_t t = 0; t < pr_dims_row(inner); t++)
        product *= t == skip ? 1 : in[pr_ref_offset(t, inner.rank, inner.dim, stride)];
    return product;
}

void pr_ref_reduce_grad(const pr_ref *ref)
{
    pr_dims x = ref->in_dims[0], outer, inner;
    const pr_reduce function = ref->attrs->reduce.function;
    int64_t stride[PR_RANK_MAX];
    pr_ref_strides(x, x.rank, stride);
    split_axes(x, ref->attrs->reduce.axes, &outer, &inner);
    const int64_t n = pr_dims_row(inner);
    for (int64_t e = 0; e < pr_dims_row(outer); e++) {
        int64_t base = pr_ref_offset(e, x.rank, outer.dim, stride), ties = 0;
        double y = ref->in[1][e];
        if (function == PR_REDUCE_LOG_SUM_EXP) /* a float is too coarse for what exp makes of a large one */
            y = reduce(function, ref->in[0] + base, inner, stride);
        for (int64_t t = 0; t < n; t++)
            ties += ref->in[0][base + pr_ref_offset(t, x.rank, inner.dim, stride)] == y;
        for (int64_t t = 0; t < n; t++) {
            int64_t at = base + pr_ref_offset(t, x.rank, inner.dim, stride);
            double others = function == PR_REDUCE_PROD ? product_of_others(ref->in[0] + base, inner, stride, t) : 0;
            ref->out[0][at] = (float)(ref->in[2][e] *
                                      reduce_derivative(function, ref->in[0][at], y, (double)n, (double)ties, others));
        }
    }
}

void pr_ref_arg_max(const pr_ref *ref)
{
    pr_dims x = ref->in_dims[0];
    int64_t inner = 1, n = x.dim[ref->attrs->axis.axis];
    for (int d = ref->attrs->axis.axis + 1; d < x.rank; d++)
        inner *= x.dim[d];
    for (int64_t e = 0; e < pr_dims_row(ref->out_dims[0]); e++) {
        const float *in = ref->in[0] + e / inner * n * inner + e % inner;
        int64_t best = 0;
        for (int64_t i = 1; i < n; i++)
            best = in[i * inner] > in[best * inner] || (ref->attrs->axis.last && in[i * inner] == in[best * inner])
                       ? i
                       : best;
        ref->out[0][e] = (float)best;
    }
}

/* ---- products ---------------------------------------------------------------------------------------------------- */

void pr_ref_matmul(const pr_ref *ref)
{
    const pr_dims y = ref->out_dims[0];
    const bool *transposed = ref->attrs->matmul.transposed;
    const int64_t m = y.dim[y.rank - 2], n = y.dim[y.rank - 1];
    const pr_dims *a = &ref->in_dims[0];
    const int64_t k = a->dim[a->rank - (transposed[0] ? 2 : 1)];
    int64_t stride[2][PR_RANK_MAX];
    pr_dims outer = y;
    outer.rank -= 2;
    for (int i = 0; i < 2; i++)
        pr_ref_strides(ref->in_dims[i], y.rank, stride[i]); /* of the leading axes */
    for (int64_t e = 0; e < pr_dims_row(outer); e++) {
        const float *left = ref->in[0] + pr_ref_offset(e, outer.rank, outer.dim, stride[0]);
        const float *right = ref->in[1] + pr_ref_offset(e, outer.rank, outer.dim, stride[1]);
        for (int64_t r = 0; r < m; r++)
            for (int64_t c = 0; c < n; c++) {
                double sum = 0;
                for (int64_t i = 0; i < k; i++)
                    sum += (double)left[transposed[0] ? i * m + r : r * k + i] *
                           right[transposed[1] ? c * k + i : i * n + c];
                ref->out[0][(e * m + r) * n + c] = (float)sum;
            }
    }
}

/* ---- normalisation ----------------------------------------------------------------------------------------------- */

/* Mean and 1 / sqrt(variance + eps) of n numbers. */
static void moments(const float *x, int64_t n, double eps, double *mean, double *invstd)
{
    double sum = 0, squares = 0;
    for (int64_t i = 0; i < n; i++)
        sum += x[i];
    *mean = sum / (double)n;
    for (int64_t i = 0; i < n; i++)
        squares += (x[i] - *mean) * (x[i] - *mean);
    *invstd = 1 / sqrt(squares / (double)n + eps);
}

/* Length of what is normalised together. */
static int64_t norm_run(const pr_ref *ref)
{
    int64_t n = 1;
    for (int d = ref->attrs->norm.axis; d < ref->in_dims[0].rank; d++)
        n *= ref->in_dims[0].dim[d];
    return n;
}

void pr_ref_normalize(const pr_ref *ref)
{
    const int64_t n = norm_run(ref), count = pr_dims_row(ref->in_dims[0]);
    for (int64_t first = 0; first < count; first += n) {
        double mean, invstd;
        moments(ref->in[0] + first, n, ref->attrs->norm.eps, &mean, &invstd);
        for (int64_t e = first; e < first + n; e++)
            ref->out[0][e] = (float)((ref->in[0][e] - mean) * invstd);
    }
}

/* With xh = (x - mean) * invstd: dx = invstd * (dy - mean of dy - xh * mean of (dy xh)). */
void pr_ref_normalize_grad(const pr_ref *ref)
{
    const int64_t n = norm_run(ref), count = pr_dims_row(ref->in_dims[0]);
    const float *x = ref->in[0], *dy = ref->in[1];
    for (int64_t first = 0; first < count; first += n) {
        double mean, invstd, sum = 0, product = 0;
        moments(x + first, n, ref->attrs->norm.eps, &mean, &invstd);
        for (int64_t e = first; e < first + n; e++) {
            sum += dy[e];
            product += dy[e] * (x[e] - mean) * invstd;
        }
        for (int64_t e = first; e < first + n; e++)
            ref->out[0][e] = (float)(invstd * (dy[e] - sum / (double)n - (x[e] - mean) * invstd * product / (double)n));
    }
}

/* bias + alpha / size * sum of squares of the channels around c, at one pixel; x points to its channel 0. */
static double lrn_scale(const pr_ref *ref, const float *x, pr_ref_planes p, int64_t c)
{
    const int64_t size = ref->attrs->lrn.size, first = c - (size - 1) / 2;
    double sum = 0;
    for (int64_t i = PR_MAX(first, 0); i < PR_MIN(first + size, p.c); i++)
        sum += (double)x[i * p.area] * x[i * p.area];
    return ref->attrs->lrn.bias + ref->attrs->lrn.alpha / (double)size * sum;
}

void pr_ref_lrn(const pr_ref *ref)
{
    pr_ref_planes p = pr_ref_planes_of(ref->in_dims[0]);
    for (int64_t e = 0; e < p.n * p.area; e++) {
        int64_t at = e / p.area * p.c * p.area + e % p.area;
        for (int64_t c = 0; c < p.c; c++)
            ref->out[0][at + c * p.area] = (float)(ref->in[0][at + c * p.area] *
                                                   pow(lrn_scale(ref, ref->in[0] + at, p, c), -ref->attrs->lrn.beta));
    }
}

/* With s the scale of a channel: dx_c = dy_c s_c^-beta - 2 alpha beta / size x_c sum over windows i around c of
 * dy_i x_i s_i^(-beta-1). */
void pr_ref_lrn_grad(const pr_ref *ref)
{
    pr_ref_planes p = pr_ref_planes_of(ref->in_dims[0]);
    const int64_t size = ref->attrs->lrn.size;
    const double alpha = ref->attrs->lrn.alpha, beta = ref->attrs->lrn.beta;
    for (int64_t e = 0; e < p.n * p.area; e++) {
        int64_t at = e / p.area * p.c * p.area + e % p.area;
        const float *x = ref->in[0] + at, *dy = ref->in[1] + at;
        for (int64_t c = 0; c < p.c; c++) {
            double sum = 0;
            for (int64_t i = PR_MAX(c - size / 2, 0); i <= PR_MIN(c + (size - 1) / 2, p.c - 1); i++)
                sum += (double)dy[i * p.area] * x[i * p.area] * pow(lrn_scale(ref, x, p, i), -beta - 1);
            ref->out[0][at + c * p.area] = (float)(dy[c * p.area] * pow(lrn_scale(ref, x, p, c), -beta) -
                                                   2 * alpha * beta / (double)size * x[c * p.area] * sum);
        }
    }
}
