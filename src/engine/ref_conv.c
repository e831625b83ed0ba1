/* Oracle: convolution and matrix product with their gradients. Every result is gathered: one sum in double per output
 * number. */
#include "engine/ref.h"

/* The sizes of a convolution, whichever of x, w and y is the result. */
struct conv {
    const pr_attrs *attrs;
    int64_t n, in_c, in_h, in_w, out_c, out_h, out_w, kernel_h, kernel_w, group_in, group_out;
};

static struct conv conv_sizes(const pr_ref *ref, const int64_t *x, const int64_t *w, const int64_t *y)
{
    int group = ref->attrs->conv.group;
    return (struct conv){ref->attrs, x[0], x[1], x[2], x[3], y[1], y[2], y[3], w[2], w[3], x[1] / group, y[1] / group};
}

static int64_t x_at(const struct conv *c, int64_t n, int64_t ch, int64_t i, int64_t j)
{
    return ((n * c->in_c + ch) * c->in_h + i) * c->in_w + j;
}

static int64_t y_at(const struct conv *c, int64_t n, int64_t o, int64_t p, int64_t q)
{
    return ((n * c->out_c + o) * c->out_h + p) * c->out_w + q;
}

static int64_t w_at(const struct conv *c, int64_t o, int64_t k, int64_t r, int64_t s)
{
    return ((o * c->group_in + k) * c->kernel_h + r) * c->kernel_w + s;
}

/* Position along `axis` of the input that tap `tap` of output position `out` reads; may lie outside. */
static int64_t tap_of(const struct conv *c, int axis, int64_t out, int64_t tap)
{
    return out * c->attrs->conv.stride[axis] + tap * c->attrs->conv.dilation[axis] - c->attrs->conv.pad[axis];
}

static double conv_at(const struct conv *c, const float *x, const float *w, int64_t n, int64_t o, int64_t p, int64_t q)
{
    double sum = 0;
    int64_t first = o / c->group_out * c->group_in;
    for (int64_t k = 0; k < c->group_in; k++) {
        for (int64_t r = 0; r < c->kernel_h; r++) {
            int64_t i = tap_of(c, 0, p, r);
            if (i < 0 || i >= c->in_h)
                continue;
            for (int64_t s = 0; s < c->kernel_w; s++) {
                int64_t j = tap_of(c, 1, q, s);
                if (j >= 0 && j < c->in_w)
                    sum += (double)x[x_at(c, n, first + k, i, j)] * w[w_at(c, o, k, r, s)];
            }
        }
    }
    return sum;
}

void pr_ref_conv(const pr_ref *ref)
{
    struct conv c = conv_sizes(ref, ref->in_dims[0].dim, ref->in_dims[1].dim, ref->out_dims[0].dim);
    const float *x = ref->in[0], *w = ref->in[1], *b = ref->in[2];
    for (int64_t n = 0; n < c.n; n++) {
        for (int64_t o = 0; o < c.out_c; o++) {
            for (int64_t p = 0; p < c.out_h; p++) {
                for (int64_t q = 0; q < c.out_w; q++)
                    ref->out[0][y_at(&c, n, o, p, q)] = (float)(conv_at(&c, x, w, n, o, p, q) + (b ? b[o] : 0));
            }
        }
    }
}

/* Output position along `axis` whose tap `tap` reads input position `in`, or -1. */
static int64_t out_of(const struct conv *c, int axis, int64_t in, int64_t tap, int64_t limit)
{
    int64_t stride = c->attrs->conv.stride[axis];
    int64_t at = in + c->attrs->conv.pad[axis] - tap * c->attrs->conv.dilation[axis];
    return at >= 0 && at % stride == 0 && at / stride < limit ? at / stride : -1;
}

static double conv_grad_x_at(const struct conv *c, const float *dy, const float *w, int64_t n, int64_t ch, int64_t i,
                             int64_t j)
{
    double sum = 0;
    int64_t group = ch / c->group_in, k = ch % c->group_in;
    for (int64_t o = group * c->group_out; o < (group + 1) * c->group_out; o++) {
        for (int64_t r = 0; r < c->kernel_h; r++) {
            int64_t p = out_of(c, 0, i, r, c->out_h);
            if (p < 0)
                continue;
            for (int64_t s = 0; s < c->kernel_w; s++) {
                int64_t q = out_of(c, 1, j, s, c->out_w);
                if (q >= 0)
                    sum += (double)dy[y_at(c, n, o, p, q)] * w[w_at(c, o, k, r, s)];
            }
        }
    }
    return sum;
}

void pr_ref_conv_grad_x(const pr_ref *ref)
{
    struct conv c = conv_sizes(ref, ref->out_dims[0].dim, ref->in_dims[1].dim, ref->in_dims[0].dim);
    for (int64_t n = 0; n < c.n; n++) {
        for (int64_t ch = 0; ch < c.in_c; ch++) {
            for (int64_t i = 0; i < c.in_h; i++) {
                for (int64_t j = 0; j < c.in_w; j++)
                    ref->out[0][x_at(&c, n, ch, i, j)] = (float)conv_grad_x_at(&c, ref->in[0], ref->in[1], n, ch, i, j);
            }
        }
    }
}

static double conv_grad_w_at(const struct conv *c, const float *x, const float *dy, int64_t o, int64_t k, int64_t r,
                             int64_t s)
{
    double sum = 0;
    int64_t ch = o / c->group_out * c->group_in + k;
    for (int64_t n = 0; n < c->n; n++) {
        for (int64_t p = 0; p < c->out_h; p++) {
            int64_t i = tap_of(c, 0, p, r);
            if (i < 0 || i >= c->in_h)
                continue;
            for (int64_t q = 0; q < c->out_w; q++) {
                int64_t j = tap_of(c, 1, q, s);
                if (j >= 0 && j < c->in_w)
                    sum += (double)x[x_at(c, n, ch, i, j)] * dy[y_at(c, n, o, p, q)];
            }
        }
    }
    return sum;
}

/* db[c] = sum of dy over the batch and each plane; nothing where db was not asked for. */
static void bias_grad(const pr_ref *ref)
{
    pr_ref_planes dy = pr_ref_planes_of(ref->in_dims[1]);
    for (int64_t o = 0; ref->node->outputs > 1 && o < dy.c; o++) {
        double sum = 0;
        for (int64_t n = 0; n < dy.n; n++) {
            for (int64_t e = 0; e < dy.area; e++)
                sum += ref->in[1][(n * dy.c + o) * dy.area + e];
        }
        ref->out[1][o] = (float)sum;
    }
}

void pr_ref_conv_grad_w(const pr_ref *ref)
{
    struct conv c = conv_sizes(ref, ref->in_dims[0].dim, ref->out_dims[0].dim, ref->in_dims[1].dim);
    for (int64_t o = 0; o < c.out_c; o++) {
        for (int64_t k = 0; k < c.group_in; k++) {
            for (int64_t r = 0; r < c.kernel_h; r++) {
                for (int64_t s = 0; s < c.kernel_w; s++)
                    ref->out[0][w_at(&c, o, k, r, s)] = (float)conv_grad_w_at(&c, ref->in[0], ref->in[1], o, k, r, s);
            }
        }
    }
    bias_grad(ref);
}

void pr_ref_gemm(const pr_ref *ref)
{
    int64_t n_count = ref->out_dims[0].dim[0], rows = ref->in_dims[1].dim[0], row = ref->in_dims[1].dim[1];
    for (int64_t n = 0; n < n_count; n++) {
        for (int64_t o = 0; o < rows; o++) {
            double sum = ref->in[2] ? ref->in[2][o] : 0;
            for (int64_t i = 0; i < row; i++)
                sum += (double)ref->in[0][n * row + i] * ref->in[1][o * row + i];
            ref->out[0][n * rows + o] = (float)sum;
        }
    }
}

void pr_ref_gemm_grad_x(const pr_ref *ref)
{
    int64_t n_count = ref->in_dims[0].dim[0], rows = ref->in_dims[1].dim[0], row = ref->in_dims[1].dim[1];
    for (int64_t n = 0; n < n_count; n++) {
        for (int64_t i = 0; i < row; i++) {
            double sum = 0;
            for (int64_t o = 0; o < rows; o++)
                sum += (double)ref->in[0][n * rows + o] * ref->in[1][o * row + i];
            ref->out[0][n * row + i] = (float)sum;
        }
    }
}

void pr_ref_gemm_grad_w(const pr_ref *ref)
{
    int64_t n_count = ref->in_dims[1].dim[0], rows = ref->out_dims[0].dim[0], row = ref->out_dims[0].dim[1];
    for (int64_t o = 0; o < rows; o++) {
        for (int64_t i = 0; i < row; i++) {
            double sum = 0;
            for (int64_t n = 0; n < n_count; n++)
                sum += (double)ref->in[0][n * row + i] * ref->in[1][n * rows + o];
            ref->out[0][o * row + i] = (float)sum;
        }
    }
    bias_grad(ref);
}
