/* Oracle: batch norm, per-channel scale and shift, softmax. */
#include <math.h>

#include "engine/ref.h"

/* ---- channels --------------------------------------------------------------------------------------------------- */

/* y = x * scale[c] + shift[c]; scale and shift come from `line`. */
static void affine(const pr_ref *ref, void (*line)(const pr_ref *ref, int64_t c, double *scale, double *shift))
{
    pr_ref_planes x = pr_ref_planes_of(ref->in_dims[0]);
    for (int64_t k = 0; k < x.n * x.c; k++) {
        double scale, shift;
        line(ref, k % x.c, &scale, &shift);
        for (int64_t e = k * x.area; e < (k + 1) * x.area; e++)
            ref->out[0][e] = (float)(ref->in[0][e] * scale + shift);
    }
}

static void batch_norm_line(const pr_ref *ref, int64_t c, double *scale, double *shift)
{
    *scale = ref->in[1][c] / sqrt((double)ref->in[4][c] + ref->attrs->bn.eps);
    *shift = ref->in[2][c] - ref->in[3][c] * *scale;
}

static void batch_norm_grad_line(const pr_ref *ref, int64_t c, double *scale, double *shift)
{
    *scale = ref->in[1][c] / sqrt((double)ref->in[2][c] + ref->attrs->bn.eps);
    *shift = 0;
}

static void channel_line(const pr_ref *ref, int64_t c, double *scale, double *shift)
{
    *scale = ref->in[1][c];
    *shift = ref->in[2][c];
}

static void channel_grad_line(const pr_ref *ref, int64_t c, double *scale, double *shift)
{
    *scale = ref->in[1][c];
    *shift = 0;
}

void pr_ref_batch_norm(const pr_ref *ref)
{
    affine(ref, batch_norm_line);
}

void pr_ref_batch_norm_grad_x(const pr_ref *ref)
{
    affine(ref, batch_norm_grad_line);
}

void pr_ref_channel_affine(const pr_ref *ref)
{
    affine(ref, channel_line);
}

void pr_ref_channel_affine_grad_x(const pr_ref *ref)
{
    affine(ref, channel_grad_line);
}

void pr_ref_batch_norm_train(const pr_ref *ref)
{
    pr_ref_planes x = pr_ref_planes_of(ref->in_dims[0]);
    double count = (double)(x.n * x.area);
    for (int64_t c = 0; c < x.c; c++) {
        double sum = 0, squares = 0;
        for (int64_t e = 0; e < x.n * x.area; e++)
            sum += ref->in[0][(e / x.area * x.c + c) * x.area + e % x.area];
        double mean = sum / count;
        for (int64_t e = 0; e < x.n * x.area; e++) {
            double d = ref->in[0][(e / x.area * x.c + c) * x.area + e % x.area] - mean;
            squares += d * d;
        }
        double invstd = 1 / sqrt(squares / count + ref->attrs->bn.eps);
        for (int64_t e = 0; e < x.n * x.area; e++) {
            int64_t at = (e / x.area * x.c + c) * x.area + e % x.area;
            ref->out[0][at] = (float)((ref->in[0][at] - mean) * invstd * ref->in[1][c] + ref->in[2][c]);
        }
        ref->out[1][c] = (float)mean;
        ref->out[2][c] = (float)invstd;
        ref->out[3][c] = (float)(squares / count);
    }
}

/* With M numbers per channel and xh = (x - mean) * invstd:
 * dshift = sum dy, dscale = sum dy xh, dx = scale * invstd * (dy - dshift / M - xh * dscale / M). */
void pr_ref_batch_norm_train_grad(const pr_ref *ref)
{
    const float *x = ref->in[0], *dy = ref->in[1], *scale = ref->in[2], *mean = ref->in[3], *invstd = ref->in[4];
    pr_ref_planes p = pr_ref_planes_of(ref->in_dims[0]);
    double count = (double)(p.n * p.area);
    for (int64_t c = 0; c < p.c; c++) {
        double dshift = 0, dscale = 0;
        for (int64_t e = 0; e < p.n * p.area; e++) {
            int64_t at = (e / p.area * p.c + c) * p.area + e % p.area;
            dshift += dy[at];
            dscale += dy[at] * ((double)x[at] - mean[c]) * invstd[c];
        }
        for (int64_t e = 0; e < p.n * p.area; e++) {
            int64_t at = (e / p.area * p.c + c) * p.area + e % p.area;
            double xh = ((double)x[at] - mean[c]) * invstd[c];
            ref->out[0][at] = (float)(scale[c] * invstd[c] * (dy[at] - dshift / count - xh * dscale / count));
        }
        ref->out[1][c] = (float)dscale;
        ref->out[2][c] = (float)dshift;
    }
}

/* ---- softmax over the last axis --------------------------------------------------------------------------------- */

/* One row of k numbers; dy is NULL for the forward operators. */
static void each_row(const pr_ref *ref, void (*row)(const float *x, const float *dy, float *y, int64_t k))
{
    pr_dims dims = ref->in_dims[0];
    int64_t k = dims.dim[dims.rank - 1], rows = pr_dims_row(dims) / k;
    for (int64_t r = 0; r < rows; r++)
        row(ref->in[0] + r * k, ref->in[1] ? ref->in[1] + r * k : NULL, ref->out[0] + r * k, k);
}

/* log(sum(exp(x))) */
static double log_sum_exp(const float *x, int64_t k)
{
    double top = x[0], sum = 0;
    for (int64_t i = 1; i < k; i++)
        top = fmax(top, x[i]);
    for (int64_t i = 0; i < k; i++)
        sum += exp(x[i] - top);
    return top + log(sum);
}

static void softmax_row(const float *x, const float *dy, float *y, int64_t k)
{
    double norm = log_sum_exp(x, k);
    (void)dy;
    for (int64_t i = 0; i < k; i++)
        y[i] = (float)exp(x[i] - norm);
}

static void log_softmax_row(const float *x, const float *dy, float *y, int64_t k)
{
    double norm = log_sum_exp(x, k);
    (void)dy;
    for (int64_t i = 0; i < k; i++)
        y[i] = (float)(x[i] - norm);
}

static void softmax_grad_row(const float *y, const float *dy, float *dx, int64_t k)
{
    double dot = 0;
    for (int64_t i = 0; i < k; i++)
        dot += (double)y[i] * dy[i];
    for (int64_t i = 0; i < k; i++)
        dx[i] = (float)(y[i] * (dy[i] - dot));
}

static void log_softmax_grad_row(const float *y, const float *dy, float *dx, int64_t k)
{
    double sum = 0;
    for (int64_t i = 0; i < k; i++)
        sum += dy[i];
    for (int64_t i = 0; i < k; i++)
        dx[i] = (float)(dy[i] - exp(y[i]) * sum);
}

void pr_ref_softmax(const pr_ref *ref)
{
    each_row(ref, softmax_row);
}

void pr_ref_log_softmax(const pr_ref *ref)
{
    each_row(ref, log_softmax_row);
}

void pr_ref_softmax_grad(const pr_ref *ref)
{
    each_row(ref, softmax_grad_row);
}

void pr_ref_log_softmax_grad(const pr_ref *ref)
{
    each_row(ref, log_softmax_grad_row);
}
