/* Oracle: pooling with its gradients, plane by plane. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "engine/ref.h"

/* Sizes of one plane before and after pooling. */
struct planes {
    const pr_attrs *attrs;
    int64_t count, in_h, in_w, out_h, out_w;
};

static struct planes plane_sizes(const pr_ref *ref, const int64_t *x, const int64_t *y)
{
    return (struct planes){ref->attrs, x[0] * x[1], x[2], x[3], y[2], y[3]};
}

/* The taps of a window along one axis: positions first, first + step ... below limit, clipped to the input; `padded`
 * counts those inside the padded input. */
struct taps {
    int64_t first, step, limit, padded;
};

static struct taps window_taps(const struct planes *p, int axis, int64_t out)
{
    int64_t size = axis ? p->in_w : p->in_h, step = p->attrs->pool.dilation[axis], kernel = p->attrs->pool.kernel[axis];
    struct taps t = {.first = out * p->attrs->pool.stride[axis] - p->attrs->pool.pad[axis], .step = step};
    int64_t end = t.first + (kernel - 1) * step + 1, padded_end = size + p->attrs->pool.pad[axis + 2];
    t.padded = (PR_MIN(end, padded_end) - t.first + step - 1) / step;
    t.limit = PR_MIN(end, size);
    while (t.first < 0)
        t.first += step;
    return t;
}

/* Offset in the plane of the window's largest value, the first among equals, or of a NaN if there is one; -1 when no
 * tap meets the input. */
static int64_t window_max(const struct planes *p, const float *x, int64_t oy, int64_t ox)
{
    struct taps v = window_taps(p, 0, oy), h = window_taps(p, 1, ox);
    int64_t best = -1;
    for (int64_t i = v.first; i < v.limit; i += v.step) {
        for (int64_t j = h.first; j < h.limit; j += h.step) {
            const int64_t at = i * p->in_w + j;
            if (best < 0 || x[at] > x[best] || isnan(x[at]))
                best = at;
        }
    }
    return best;
}

void pr_ref_max_pool(const pr_ref *ref)
{
    struct planes p = plane_sizes(ref, ref->in_dims[0].dim, ref->out_dims[0].dim);
    for (int64_t k = 0; k < p.count; k++) {
        const float *x = ref->in[0] + k * p.in_h * p.in_w;
        float *y = ref->out[0] + k * p.out_h * p.out_w;
        for (int64_t o = 0; o < p.out_h * p.out_w; o++) {
            int64_t at = window_max(&p, x, o / p.out_w, o % p.out_w);
            y[o] = at < 0 ? -FLT_MAX : x[at];
        }
    }
}

void pr_ref_max_pool_grad(const pr_ref *ref)
{
    struct planes p = plane_sizes(ref, ref->in_dims[0].dim, ref->in_dims[1].dim);
    memset(ref->out[0], 0, (size_t)(p.count * p.in_h * p.in_w) * sizeof(float));
    for (int64_t k = 0; k < p.count; k++) {
        const float *x = ref->in[0] + k * p.in_h * p.in_w, *dy = ref->in[1] + k * p.out_h * p.out_w;
        float *dx = ref->out[0] + k * p.in_h * p.in_w;
        for (int64_t o = 0; o < p.out_h * p.out_w; o++) {
            int64_t at = window_max(&p, x, o / p.out_w, o % p.out_w);
            if (at >= 0)
                dx[at] += dy[o];
        }
    }
}

/* What a window's sum is divided by; at least 1 (a dilated window may miss the input altogether). */
static double window_divisor(const struct planes *p, struct taps v, struct taps h)
{
    if (p->attrs->pool.count_pad)
        return (double)(v.padded * h.padded);
    int64_t rows = (v.limit - v.first + v.step - 1) / v.step, columns = (h.limit - h.first + h.step - 1) / h.step;
    return (double)PR_MAX(1, PR_MAX(0, rows) * PR_MAX(0, columns));
}

void pr_ref_average_pool(const pr_ref *ref)
{
    struct planes p = plane_sizes(ref, ref->in_dims[0].dim, ref->out_dims[0].dim);
    for (int64_t k = 0; k < p.count; k++) {
        const float *x = ref->in[0] + k * p.in_h * p.in_w;
        for (int64_t o = 0; o < p.out_h * p.out_w; o++) {
            struct taps v = window_taps(&p, 0, o / p.out_w), h = window_taps(&p, 1, o % p.out_w);
            double sum = 0;
            for (int64_t i = v.first; i < v.limit; i += v.step) {
                for (int64_t j = h.first; j < h.limit; j += h.step)
                    sum += x[i * p.in_w + j];
            }
            ref->out[0][k * p.out_h * p.out_w + o] = (float)(sum / window_divisor(&p, v, h));
        }
    }
}

void pr_ref_average_pool_grad(const pr_ref *ref)
{
    struct planes p = plane_sizes(ref, ref->out_dims[0].dim, ref->in_dims[0].dim);
    memset(ref->out[0], 0, (size_t)(p.count * p.in_h * p.in_w) * sizeof(float));
    for (int64_t k = 0; k < p.count; k++) {
        float *dx = ref->out[0] + k * p.in_h * p.in_w;
        for (int64_t o = 0; o < p.out_h * p.out_w; o++) {
            struct taps v = window_taps(&p, 0, o / p.out_w), h = window_taps(&p, 1, o % p.out_w);
            float share = (float)(ref->in[0][k * p.out_h * p.out_w + o] / window_divisor(&p, v, h));
            for (int64_t i = v.first; i < v.limit; i += v.step) {
                for (int64_t j = h.first; j < h.limit; j += h.step)
                    dx[i * p.in_w + j] += share;
            }
        }
    }
}

void pr_ref_global_average_pool(const pr_ref *ref)
{
    pr_ref_planes x = pr_ref_planes_of(ref->in_dims[0]);
    for (int64_t k = 0; k < x.n * x.c; k++) {
        double sum = 0;
        for (int64_t e = 0; e < x.area; e++)
            sum += ref->in[0][k * x.area + e];
        ref->out[0][k] = (float)(sum / (double)x.area);
    }
}

void pr_ref_global_average_pool_grad(const pr_ref *ref)
{
    pr_ref_planes x = pr_ref_planes_of(ref->out_dims[0]);
    for (int64_t e = 0; e < x.n * x.c * x.area; e++)
        ref->out[0][e] = ref->in[0][e / x.area] / (float)x.area;
}
