/* The engine's elementwise and channelwise kernels, and the table of all. Sums over many rows run in float over blocks
 * of BLOCK rows and in double over blocks; their order depends on the shape alone. */
#include "engine/kernels_isa.h"

enum { BLOCK = 196 };

/* ---- elementwise ----------------------------------------------------------------------------------------------- */

#define EACH(before, expression)                                                                                       \
    before;                                                                                                            \
    for (int64_t i = 0; i < count; i++)                                                                                \
        y[i] = expression;
#define MAP(name, expression) static PR_FLAT(name, EACH((void)0, expression))
#define MAP_ALPHA(name, expression) static PR_FLAT(name, EACH(const float alpha = attrs->alpha.alpha, expression))

MAP(relu, a[i] < 0 ? 0 : a[i])
MAP(relu_grad, a[i] > 0 ? b[i] : 0)
MAP_ALPHA(leaky_relu, a[i] < 0 ? alpha * a[i] : a[i])
MAP_ALPHA(leaky_relu_grad, a[i] > 0 ? b[i] : alpha * b[i])
MAP(add, a[i] + b[i])
MAP(sub, a[i] - b[i])
MAP(mul, a[i] * b[i])
MAP(divide, a[i] / b[i])
MAP(neg, -a[i])
MAP(where, a[i] != 0 ? b[i] : c[i])
MAP(add_relu, a[i] + b[i] < 0 ? 0 : a[i] + b[i])
MAP(add_relu_grad, c[i] > 0 ? a[i] + b[i] : 0)

/* ---- channels -------------------------------------------------------------------------------------------------- */

static void affine(const float *x, float *y, int64_t rows, int64_t c, const float *scale, const float *shift)
{
    const vec zero = {0};
    int64_t ch = 0;
    for (; ch + LANES <= c; ch += LANES) {
        vec a = LOAD(scale + ch), b = shift ? LOAD(shift + ch) : zero;
        for (int64_t r = 0; r < rows; r++)
            STORE(y + r * c + ch, LOAD(x + r * c + ch) * a + b);
    }
    for (; ch < c; ch++) {
        float a = scale[ch], b = shift ? shift[ch] : 0;
        for (int64_t r = 0; r < rows; r++)
            y[r * c + ch] = x[r * c + ch] * a + b;
    }
}

static void column_sums(const float *x, int64_t rows, int64_t c, float *out)
{
    int64_t ch = 0;
    for (; ch + LANES <= c; ch += LANES) {
        vec sum = {0};
        for (int64_t r = 0; r < rows; r++)
            sum += LOAD(x + r * c + ch);
        STORE(out + ch, sum);
    }
    for (; ch < c; ch++) {
        float sum = 0;
        for (int64_t r = 0; r < rows; r++)
            sum += x[r * c + ch];
        out[ch] = sum;
    }
}

/* Adds a vector's lanes to doubles. */
static void widen(double *sum, vec v)
{
    for (int l = 0; l < LANES; l++)
        sum[l] += v[l];
}

/* Sums are taken of x less its first row: near the mean, the variance does not cancel away. */
static void moments(const float *x, int64_t rows, int64_t c, double *mean, double *squares)
{
    memset(mean, 0, (size_t)c * sizeof(*mean));
    memset(squares, 0, (size_t)c * sizeof(*squares));
    for (int64_t first = 0; first < rows; first += BLOCK) {
        int64_t end = MIN(rows, first + BLOCK);
        int64_t ch = 0;
        for (; ch + LANES <= c; ch += LANES) {
            vec pivot = LOAD(x + ch), sum[2] = {{0}}, square[2] = {{0}};
            int64_t r = first;
            for (; r + 2 <= end; r += 2)
                for (int k = 0; k < 2; k++) {
                    vec d = LOAD(x + (r + k) * c + ch) - pivot;
                    sum[k] += d;
                    square[k] += d * d;
                }
            for (; r < end; r++) {
                vec d = LOAD(x + r * c + ch) - pivot;
                sum[0] += d;
                square[0] += d * d;
            }
            widen(mean + ch, sum[0] + sum[1]);
            widen(squares + ch, square[0] + square[1]);
        }
        for (; ch < c; ch++) {
            float sum = 0, square = 0;
            for (int64_t r = first; r < end; r++) {
                float d = x[r * c + ch] - x[ch];
                sum += d;
                square += d * d;
            }
            mean[ch] += sum;
            squares[ch] += square;
        }
    }
    for (int64_t k = 0; k < c; k++) {
        double m = mean[k] / (double)rows;
        squares[k] = MAX(0, squares[k] - mean[k] * m);
        mean[k] = x[k] + m;
    }
}

static void norm_grad_sums(const float *dy, const float *x, int64_t rows, int64_t c, const float *mean, double *sum,
                           double *product)
{
    memset(sum, 0, (size_t)c * sizeof(*sum));
    memset(product, 0, (size_t)c * sizeof(*product));
    for (int64_t first = 0; first < rows; first += BLOCK) {
        int64_t end = MIN(rows, first + BLOCK);
        int64_t ch = 0;
        for (; ch + LANES <= c; ch += LANES) {
            vec m = LOAD(mean + ch), s[2] = {{0}}, p[2] = {{0}};
            int64_t r = first;
            for (; r + 2 <= end; r += 2)
                for (int k = 0; k < 2; k++) {
                    vec d = LOAD(dy + (r + k) * c + ch);
                    s[k] += d;
                    p[k] += d * (LOAD(x + (r + k) * c + ch) - m);
                }
            for (; r < end; r++) {
                vec d = LOAD(dy + r * c + ch);
                s[0] += d;
                p[0] += d * (LOAD(x + r * c + ch) - m);
            }
            widen(sum + ch, s[0] + s[1]);
            widen(product + ch, p[0] + p[1]);
        }
        for (; ch < c; ch++) {
            float s = 0, p = 0;
            for (int64_t r = first; r < end; r++) {
                s += dy[r * c + ch];
                p += dy[r * c + ch] * (x[r * c + ch] - mean[ch]);
            }
            sum[ch] += s;
            product[ch] += p;
        }
    }
}

static inline __attribute__((always_inline)) void norm_grad_with(const float *dy, const float *x, float *dx,
                                                                 int64_t rows, int64_t c, const float *a,
                                                                 const float *b, const float *k, bool mask, float *sums)
{
    const vec zero = {0};
    int64_t ch = 0;
    for (; ch + LANES <= c; ch += LANES) {
        vec va = LOAD(a + ch), vb = LOAD(b + ch), vk = LOAD(k + ch), sum = zero;
        for (int64_t r = 0; r < rows; r++) {
            vec vx = LOAD(x + r * c + ch), d = LOAD(dy + r * c + ch) * va + (vx * vb + vk);
            d = mask ? SELECT(vx > zero, d) : d;
            STORE(dx + r * c + ch, d);
            sum += d;
        }
        if (sums)
            STORE(sums + ch, sum);
    }
    for (; ch < c; ch++) {
        float sum = 0;
        for (int64_t r = 0; r < rows; r++) {
            float d = dy[r * c + ch] * a[ch] + (x[r * c + ch] * b[ch] + k[ch]);
            sum += dx[r * c + ch] = mask && !(x[r * c + ch] > 0) ? 0 : d;
        }
        if (sums)
            sums[ch] = sum;
    }
}

static void norm_grad(const float *dy, const float *x, float *dx, int64_t rows, int64_t c, const float *a,
                      const float *b, const float *k, bool mask, float *sums)
{
    if (mask)
        norm_grad_with(dy, x, dx, rows, c, a, b, k, true, sums);
    else
        norm_grad_with(dy, x, dx, rows, c, a, b, k, false, sums);
}

static void sum_blocks(const float *partial, int blocks, int64_t stride, const float *bias, bool relu_after,
                       int64_t rows, int64_t c, float *y)
{
    const vec zero = {0};
    for (int64_t r = 0; r < rows; r++, partial += c, y += c) {
        int64_t k = 0;
        for (; k + LANES <= c; k += LANES) {
            vec sum = bias ? LOAD(bias + k) : zero;
            for (int b = 0; b < blocks; b++)
                sum += LOAD(partial + b * stride + k);
            STORE(y + k, relu_after ? SELECT(~(sum < zero), sum) : sum);
        }
        for (; k < c; k++) {
            float sum = bias ? bias[k] : 0;
            for (int b = 0; b < blocks; b++)
                sum += partial[b * stride + k];
            y[k] = relu_after && sum < 0 ? 0 : sum;
        }
    }
}

/* ---- the table ------------------------------------------------------------------------------------------------- */

extern const pr_engine_kernels PR_ISA_NAME(engine_kernels);
const pr_engine_kernels PR_ISA_NAME(engine_kernels) = {
    .flat = {.op = {[PR_OP_RELU] = relu,
                    [PR_OP_LEAKY_RELU] = leaky_relu,
                    [PR_OP_SIGMOID] = PR_ISA_NAME(sigmoid),
                    [PR_OP_TANH] = PR_ISA_NAME(tanh),
                    [PR_OP_ADD] = add,
                    [PR_OP_SUB] = sub,
                    [PR_OP_MUL] = mul,
                    [PR_OP_DIV] = divide,
                    [PR_OP_NEG] = neg,
                    [PR_OP_WHERE] = where,
                    [PR_OP_RELU_GRAD] = relu_grad,
                    [PR_OP_LEAKY_RELU_GRAD] = leaky_relu_grad,
                    [PR_OP_SIGMOID_GRAD] = PR_ISA_NAME(sigmoid_grad),
                    [PR_OP_TANH_GRAD] = PR_ISA_NAME(tanh_grad)},
             .map = PR_ISA_NAME(map_kernels),
             .map_grad = PR_ISA_NAME(map_grad_kernels),
             .binary = PR_ISA_NAME(binary_kernels),
             .binary_grad = PR_ISA_NAME(binary_grad_kernels),
             .add_relu = add_relu,
             .add_relu_grad = add_relu_grad},
    .pool = {[PR_OP_MAX_POOL] = PR_ISA_NAME(max_pool),
             [PR_OP_MAX_POOL_GRAD] = PR_ISA_NAME(max_pool_grad),
             [PR_OP_AVERAGE_POOL] = PR_ISA_NAME(average_pool),
             [PR_OP_AVERAGE_POOL_GRAD] = PR_ISA_NAME(average_pool_grad),
             [PR_OP_GLOBAL_AVERAGE_POOL] = PR_ISA_NAME(average_pool),
             [PR_OP_GLOBAL_AVERAGE_POOL_GRAD] = PR_ISA_NAME(average_pool_grad)},
    .row_sums = PR_ISA_NAME(row_sums),
    .softmax = PR_ISA_NAME(softmax),
    .softmax_grad = PR_ISA_NAME(softmax_grad),
    .normalize = PR_ISA_NAME(normalize),
    .normalize_grad = PR_ISA_NAME(normalize_grad),
    .lrn = PR_ISA_NAME(lrn),
    .lrn_grad = PR_ISA_NAME(lrn_grad),
    .affine = affine,
    .column_sums = column_sums,
    .moments = moments,
    .norm_grad_sums = norm_grad_sums,
    .norm_grad = norm_grad,
    .sum_blocks = sum_blocks,
    .gemm = PR_ISA_NAME(gemm),
    .few_grad = PR_ISA_NAME(few_grad),
    .few_scratch = PR_ISA_NAME(few_scratch),
    .dropout_mask = PR_ISA_NAME(dropout_mask),
};
