/* Kernels of the families of maths.def, softmax and normalisation. exp is a polynomial of degree 6 after reduction to
 * |r| <= ln 2 / 2, log one of degree 8 after reduction to sqrt(1/2) <= m < sqrt(2) (both Moshier's Cephes), erf is
 * formula 7.1.26 of Abramowitz and Stegun (absolute error 1.5e-7): about the rounding of float where results are of the
 * order of 1. The rest is the oracle's formula in float, or one that is equal and loses less. */
#include <math.h>

#include "engine/kernels_isa.h"

/* ---- functions of vectors ---------------------------------------------------------------------------------------- */

#define ALL(number) ((vec){0} + (number))
#define BLEND(condition, a, b) ((vec)(((condition) & (ivec)(a)) | (~(condition) & (ivec)(b))))

static inline vec vmin(vec a, vec b)
{
    return BLEND(b < a, b, a); /* a NaN in a stays */
}

static inline vec vmax(vec a, vec b)
{
    return BLEND(b > a, b, a);
}

static inline vec vabs(vec x)
{
    return (vec)((ivec)x & 0x7fffffff);
}

/* Nearest whole number, ties to even, of |x| < 2^22. */
static inline vec vround_small(vec x)
{
    const vec magic = ALL(12582912.0f);
    return (x + magic) - magic;
}

static inline vec vround(vec x)
{
    return BLEND(vabs(x) < ALL(4194304.0f), vround_small(x), x);
}

/* 2^k for whole -126 <= k <= 127. */
static inline vec vpower(ivec k)
{
    return (vec)((k + 127) << 23);
}

/* 2^n e^r for whole -150 <= n <= 129 and |r| <= ln 2 / 2. */
static inline vec power_exp(vec n, vec r)
{
    vec p = ALL(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.0f;
    const ivec k = __builtin_convertvector(n, ivec), half = k >> 1;
    return p * vpower(half) * vpower(k - half);
}

static inline vec vexp(vec x)
{
    const vec bounded = vmin(vmax(x, ALL(-104.0f)), ALL(89.0f));
    const vec n = vround_small(bounded * 1.44269504088896341f);
    const vec y = power_exp(n, (bounded - n * 0.693359375f) + n * 2.12194440e-4f);
    return BLEND(x == x, y, x);
}

static inline vec vsigmoid(vec x)
{
    return 1.0f / (1.0f + vexp(-x));
}

static inline vec vtanh(vec x)
{
    return 1.0f - 2.0f / (vexp(2.0f * x) + 1.0f);
}

static inline vec verf(vec x)
{
    const vec u = vabs(x), t = 1.0f / (1.0f + 0.3275911f * u);
    vec p = ALL(1.061405429f);
    p = p * t - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = p * t + 0.254829592f;
    const vec y = 1.0f - p * t * vexp(-u * u);
    return BLEND(x < (vec){0}, -y, y);
}

static inline vec vsqrt(vec x)
{
    vec y;
    for (int l = 0; l < LANES; l++)
        y[l] = sqrtf(x[l]);
    return y;
}

/* log(m) of a positive number m 2^e, m from sqrt(1/2) to sqrt(2), and e. */
static inline vec mantissa_log(vec x, vec *e)
{
    const vec tiny = ALL(1.17549435e-38f);                                   /* below it a float has no leading 1 */
    const ivec bits = (ivec)BLEND(x < tiny, x * 8388608.0f, x) - 0x3f3504f3; /* sqrt(1/2) */
    const vec m = (vec)((bits & 0x7fffff) + 0x3f3504f3) - 1.0f;
    *e = __builtin_convertvector(bits >> 23, vec) - BLEND(x < tiny, ALL(23.0f), ALL(0.0f));
    vec p = ALL(7.0376836292e-2f);
    p = p * m - 1.1514610310e-1f;
    p = p * m + 1.1676998740e-1f;
    p = p * m - 1.2420140846e-1f;
    p = p * m + 1.4249322787e-1f;
    p = p * m - 1.6668057665e-1f;
    p = p * m + 2.0000714765e-1f;
    p = p * m - 2.4999993993e-1f;
    p = p * m + 3.3333331174e-1f;
    return m + (p * m * m * m - 0.5f * m * m);
}

static inline vec vlog(vec x)
{
    vec e;
    const vec log_m = mantissa_log(x, &e), y = (log_m + e * -2.12194440e-4f) + e * 0.693359375f;
    const vec outside = BLEND(x == ALL(0.0f), ALL(-INFINITY), BLEND(x < ALL(0.0f), ALL(NAN), x)); /* inf and NaN stay */
    return BLEND((x > ALL(0.0f)) & (x < ALL(INFINITY)), y, outside);
}

/* log(1 + u) of u >= 0: what rounding takes from 1 + u is given back. */
static inline vec vlog1p(vec u)
{
    const vec w = 1.0f + u;
    return BLEND(w == ALL(1.0f), u, vlog(w) * (u / (w - 1.0f)));
}

static inline vec vsoftplus(vec x)
{
    return vmax(x, ALL(0.0f)) + vlog1p(vexp(-vabs(x)));
}

/* x^a for x >= 0: 2^(a e + a log2(m)). a e has to be exact to the last bit of its fraction: a in two parts. */
static inline vec positive_power(vec x, float a)
{
    int32_t bits;
    memcpy(&bits, &a, sizeof bits);
    bits &= ~0xfff;
    float high;
    memcpy(&high, &bits, sizeof high);
    vec e;
    const vec log_m = mantissa_log(x, &e), rest = (a - high) * e;
    const vec t = high * e + (rest + a * log_m * 1.44269504088896341f);
    const vec n = vround_small(vmin(vmax(t, ALL(-150.0f)), ALL(129.0f)));
    const vec r = ((high * e - n) + rest) * 0.693147181f + a * log_m;
    const vec y = power_exp(n, BLEND((t > ALL(-150.0f)) & (t < ALL(129.0f)), r, ALL(0.0f)));
    const vec far = ALL(INFINITY), at_zero = ALL(a > 0 ? 0.0f : INFINITY), at_far = ALL(a > 0 ? INFINITY : 0.0f);
    return BLEND((x > ALL(0.0f)) & (x < far), y, BLEND(x == ALL(0.0f), at_zero, BLEND(x == far, at_far, x)));
}

/* x^a; of finite x < 0 for whole a alone. */
static inline vec vpow(vec x, float a)
{
    if (a == 2)
        return x * x;
    if (a == 0.5f)
        return vsqrt(x + 0.0f); /* of -0 it is 0 */
    if (a == 0)
        return ALL(1.0f);
    const bool whole = floorf(a) == a, odd = whole && fmodf(a, 2) != 0;
    const vec size = positive_power(vabs(x), a), below = whole ? size * (odd ? -1.0f : 1.0f) : ALL(NAN);
    return BLEND((x < ALL(0.0f)) & (whole ? x == x : x > ALL(-INFINITY)), below, size);
}

static inline vec power_slope(vec x, float a)
{
    return a == 0 ? ALL(0.0f) : a * vpow(x, a - 1);
}

/* With n = e^x, tanh(log(1 + n)) = w / (w + 2), w = n (n + 2); beyond 20 it is 1 in float. x_slope: x times its slope.
 */
static inline vec mish_gate(vec x, vec *x_slope)
{
    const vec bounded = vmin(x, ALL(20.0f)), n = vexp(bounded), w = n * (n + 2.0f), scale = 1.0f / (w + 2.0f);
    *x_slope = bounded * (4.0f * n * (n + 1.0f) * scale * scale);
    return w * scale;
}

static inline vec mish(vec x)
{
    vec x_slope;
    return x * mish_gate(x, &x_slope);
}

static inline vec mish_slope(vec x)
{
    vec x_slope;
    const vec gate = mish_gate(x, &x_slope);
    return gate + x_slope;
}

/* 0 to 1 */
static inline vec vunit(vec x)
{
    return vmin(vmax(x, ALL(0.0f)), ALL(1.0f));
}

#define GELU_SLOPE(x) (0.5f * (1.0f + verf((x)*0.70710678f)) + (x)*0.39894228f * vexp(-0.5f * (x) * (x)))
/* Where |x| > 10 the tanh is 1 or -1 in float; a number beyond has a cube beyond float. */
static inline vec gelu_tanh_bounded(vec x)
{
    return vmin(vmax(x, ALL(-10.0f)), ALL(10.0f));
}

static inline vec gelu_tanh_gate(vec x)
{
    const vec b = gelu_tanh_bounded(x);
    return 0.5f * (1.0f + vtanh(0.79788456f * (b + 0.044715f * b * b * b)));
}

static inline vec gelu_tanh_slope(vec x)
{
    const vec b = gelu_tanh_bounded(x), gate = gelu_tanh_gate(x);
    return gate + 2.0f * b * gate * (1.0f - gate) * 0.79788456f * (1.0f + 0.134145f * b * b);
}

static inline vec swish_slope(vec x, float a)
{
    const vec bounded = vmin(vmax(a * x, ALL(-104.0f)), ALL(104.0f)), s = vsigmoid(bounded);
    return s * (1.0f + bounded * (1.0f - s));
}

/* ---- elementwise ------------------------------------------------------------------------------------------------- */

/* Rows of vectors, the last one filled up with what is there. */
#define EACH(statement_on_vectors)                                                                                     \
    for (int64_t i = 0; i < count; i += LANES) {                                                                       \
        const int64_t n = MIN(LANES, count - i);                                                                       \
        statement_on_vectors                                                                                           \
    }

static inline vec load_part(const float *p, int64_t n)
{
    vec v = {0};
    if (n == LANES)
        return LOAD(p);
    memcpy(&v, p, (size_t)n * sizeof(float));
    return v;
}

static inline void store_part(float *p, vec v, int64_t n)
{
    if (n == LANES)
        STORE(p, v);
    else
        memcpy(p, &v, (size_t)n * sizeof(float));
}

/* Kernels by their parameters a, b, c and operand x: f, and dy times df. */
#define FUNCTION_LOOP(name, result)                                                                                    \
    static void name(const pr_attrs *attrs, const void *in, const void *in_dy, const void *unused, void *out,          \
                     int64_t count)                                                                                    \
    {                                                                                                                  \
        const float a = attrs->map.parameter[0], b = attrs->map.parameter[1], c = attrs->map.parameter[2];             \
        const float *from = in, *dy = in_dy;                                                                           \
        float *y = out;                                                                                                \
        (void)a, (void)b, (void)c, (void)dy, (void)unused;                                                             \
        EACH(const vec x = load_part(from + i, n); store_part(y + i, result, n);)                                      \
    }
#define FUNCTION(name, f, df)                                                                                          \
    FUNCTION_LOOP(name, (f))                                                                                           \
    FUNCTION_LOOP(name##_grad, load_part(dy + i, n) * (df))
#define ZERO ((vec){0})
#define ONE ALL(1.0f)

FUNCTION(absolute, vabs(x), BLEND(x > ZERO, ONE, BLEND(x < ZERO, -ONE, ZERO)))
FUNCTION(exponential, vexp(x), vexp(x))
FUNCTION(reciprocal, 1.0f / x, -1.0f / (x * x))
FUNCTION(error_function, verf(x), 1.12837917f * vexp(-x * x))
FUNCTION(elu, BLEND(x > ZERO, x, a *(vexp(x) - 1.0f)), BLEND(x > ZERO, ONE, a *vexp(x)))
FUNCTION(selu, c *BLEND(x > ZERO, x, a *(vexp(x) - 1.0f)), c *BLEND(x > ZERO, ONE, a *vexp(x)))
FUNCTION(celu, BLEND(x > ZERO, x, a *(vexp(x / a) - 1.0f)), BLEND(x > ZERO, ONE, vexp(x / a)))
FUNCTION(hard_sigmoid, vunit(a *x + b), BLEND((a * x + b > ZERO) & (a * x + b < ONE), ALL(a), ZERO))
FUNCTION(hard_swish, x *vunit(x / 6.0f + 0.5f),
         BLEND(x <= ALL(-3.0f), ZERO, BLEND(x < ALL(3.0f), x / 3.0f + 0.5f, ONE)))
FUNCTION(softsign, x / (1.0f + vabs(x)), 1.0f / ((1.0f + vabs(x)) * (1.0f + vabs(x))))
FUNCTION(gelu, 0.5f * x * (1.0f + verf(x * 0.70710678f)), GELU_SLOPE(x))
FUNCTION(gelu_tanh, x *gelu_tanh_gate(x), gelu_tanh_slope(x))
FUNCTION(swish, x *vsigmoid(a *x), swish_slope(x, a))
FUNCTION(logarithm, vlog(x), 1.0f / x)
FUNCTION(square_root, vsqrt(x), 0.5f / vsqrt(x))
FUNCTION(softplus, vsoftplus(x), vsigmoid(x))
FUNCTION(mish_function, mish(x), mish_slope(x))
FUNCTION(power, vpow(x, a), power_slope(x, a))
FUNCTION(clip, vmin(vmax(x, ALL(a)), ALL(b)), BLEND((x >= ALL(a)) & (x <= ALL(b)), ONE, ZERO))
FUNCTION(quantize, vmin(vmax(vround(x), ALL(a)), ALL(b)), BLEND((x >= ALL(a)) & (x <= ALL(b)), ONE, ZERO))

#define FUNCTIONS(KERNEL)                                                                                              \
    KERNEL(ABS, absolute)                                                                                              \
    KERNEL(EXP, exponential)                                                                                           \
    KERNEL(RECIPROCAL, reciprocal)                                                                                     \
    KERNEL(ERF, error_function)                                                                                        \
    KERNEL(ELU, elu)                                                                                                   \
    KERNEL(SELU, selu)                                                                                                 \
    KERNEL(CELU, celu)                                                                                                 \
    KERNEL(HARD_SIGMOID, hard_sigmoid)                                                                                 \
    KERNEL(HARD_SWISH, hard_swish)                                                                                     \
    KERNEL(SOFTSIGN, softsign)                                                                                         \
    KERNEL(GELU, gelu)                                                                                                 \
    KERNEL(GELU_TANH, gelu_tanh)                                                                                       \
    KERNEL(SWISH, swish)                                                                                               \
    KERNEL(LOG, logarithm)                                                                                             \
    KERNEL(SQRT, square_root)                                                                                          \
    KERNEL(SOFTPLUS, softplus)                                                                                         \
    KERNEL(MISH, mish_function)                                                                                        \
    KERNEL(POWER, power)                                                                                               \
    KERNEL(CLIP, clip)                                                                                                 \
    KERNEL(QUANTIZE, quantize)
#define ENTRY(id, name) [PR_MAP_##id] = name,
#define GRAD_ENTRY(id, name) [PR_MAP_##id] = name##_grad,

const pr_flat_kernel PR_ISA_NAME(map_kernels)[PR_MAP_COUNT] = {FUNCTIONS(ENTRY)};
const pr_flat_kernel PR_ISA_NAME(map_grad_kernels)[PR_MAP_COUNT] = {FUNCTIONS(GRAD_ENTRY)};

/* Kernels of two numbers x and z: f, and c, the result's gradient, times the derivative by the side that attrs name. */
#define LOAD_TWO                                                                                                       \
    const vec x = load_part(a + i, n);                                                                                 \
    const vec z = load_part(b + i, n);
#define FUNCTION_OF_TWO(name, f, by_x, by_z)                                                                           \
    static PR_FLAT(name, EACH(LOAD_TWO store_part(y + i, (f), n);)) static PR_FLAT(                                    \
        name##_grad, EACH(LOAD_TWO vec slope = (by_x); if (attrs->binary.side) slope = (by_z);                         \
                          store_part(y + i, load_part(c + i, n) * slope, n);))
#define SHARE(mine) BLEND(mine, ONE, BLEND(x == z, ALL(0.5f), ZERO))

FUNCTION_OF_TWO(minimum, BLEND((x < z) | (x != x), x, z), SHARE(x < z), SHARE(z < x))
FUNCTION_OF_TWO(maximum, BLEND((x > z) | (x != x), x, z), SHARE(x > z), SHARE(z > x))
FUNCTION_OF_TWO(prelu, BLEND(x < ZERO, x *z, x), BLEND(x > ZERO, ONE, z), BLEND(x > ZERO, ZERO, x))

const pr_flat_kernel PR_ISA_NAME(binary_kernels)[PR_BINARY_COUNT] = {
    [PR_BINARY_MIN] = minimum, [PR_BINARY_MAX] = maximum, [PR_BINARY_PRELU] = prelu};
const pr_flat_kernel PR_ISA_NAME(binary_grad_kernels)[PR_BINARY_COUNT] = {
    [PR_BINARY_MIN] = minimum_grad, [PR_BINARY_MAX] = maximum_grad, [PR_BINARY_PRELU] = prelu_grad};

PR_FLAT(PR_ISA_NAME(sigmoid), EACH(store_part(y + i, vsigmoid(load_part(a + i, n)), n);))
PR_FLAT(PR_ISA_NAME(tanh), EACH(store_part(y + i, vtanh(load_part(a + i, n)), n);))
/* a is the function's result, b its gradient */
PR_FLAT(PR_ISA_NAME(sigmoid_grad),
        EACH(const vec f = load_part(a + i, n); store_part(y + i, load_part(b + i, n) * f * (1.0f - f), n);))
PR_FLAT(PR_ISA_NAME(tanh_grad),
        EACH(const vec f = load_part(a + i, n); store_part(y + i, load_part(b + i, n) * (1.0f - f * f), n);))

/* ---- rows -------------------------------------------------------------------------------------------------------- */

/* The sum of a vector's lanes, in their order. */
static inline float lane_sum(vec v)
{
    float sum = 0;
    for (int l = 0; l < LANES; l++)
        sum += v[l];
    return sum;
}

/* The sum over i of a vector expression; lanes beyond the end count 0. */
#define ROW_SUM(result, expression)                                                                                    \
    do {                                                                                                               \
        vec total = {0};                                                                                               \
        EACH(vec term = (expression); total += n == LANES ? term : load_part((const float *)&term, n);)                \
        (result) = lane_sum(total);                                                                                    \
    } while (0)

void PR_ISA_NAME(row_sums)(const float *x, int64_t rows, int64_t count, float *y)
{
    for (int64_t r = 0; r < rows; r++, x += count)
        ROW_SUM(y[r], load_part(x + i, n));
}

void PR_ISA_NAME(softmax)(const float *x, int64_t rows, int64_t count, float *y)
{
    for (int64_t r = 0; r < rows; r++, x += count, y += count) {
        float top = x[0], sum;
        for (int64_t i = 1; i < count; i++)
            top = x[i] > top || x[i] != x[i] ? x[i] : top;
        EACH(store_part(y + i, vexp(load_part(x + i, n) - top), n);)
        ROW_SUM(sum, load_part(y + i, n));
        const float scale = 1 / sum;
        EACH(store_part(y + i, load_part(y + i, n) * scale, n);)
    }
}

void PR_ISA_NAME(softmax_grad)(const float *y, const float *dy, int64_t rows, int64_t count, float *dx)
{
    for (int64_t r = 0; r < rows; r++, y += count, dy += count, dx += count) {
        float dot;
        ROW_SUM(dot, load_part(y + i, n) * load_part(dy + i, n));
        EACH(store_part(dx + i, load_part(y + i, n) * (load_part(dy + i, n) - dot), n);)
    }
}

static void row_moments(const float *x, int64_t count, float eps, float *mean, float *invstd)
{
    float sum, squares;
    ROW_SUM(sum, load_part(x + i, n));
    const float m = sum / (float)count;
    ROW_SUM(squares, (load_part(x + i, n) - m) * (load_part(x + i, n) - m));
    *mean = m;
    *invstd = (float)(1 / sqrt((double)squares / (double)count + (double)eps));
}

void PR_ISA_NAME(normalize)(const float *x, int64_t rows, int64_t count, float eps, float *y)
{
    for (int64_t r = 0; r < rows; r++, x += count, y += count) {
        float mean, invstd;
        row_moments(x, count, eps, &mean, &invstd);
        EACH(store_part(y + i, (load_part(x + i, n) - mean) * invstd, n);)
    }
}

void PR_ISA_NAME(normalize_grad)(const float *x, const float *dy, int64_t rows, int64_t count, float eps, float *dx)
{
    for (int64_t r = 0; r < rows; r++, x += count, dy += count, dx += count) {
        float mean, invstd, sum, product;
        row_moments(x, count, eps, &mean, &invstd);
        ROW_SUM(sum, load_part(dy + i, n));
        ROW_SUM(product, load_part(dy + i, n) * (load_part(x + i, n) - mean));
        const float shift = sum / (float)count, slope = product * invstd * invstd / (float)count;
        EACH(store_part(dx + i, invstd * (load_part(dy + i, n) - shift - (load_part(x + i, n) - mean) * slope), n);)
    }
}

/* ---- local response normalisation -------------------------------------------------------------------------------- */

/* sums[i] of `size` numbers from numbers[i] on; `numbers` has zeros around and vectors may read past its end. */
static inline vec window_sum(const float *numbers, int64_t size)
{
    vec sum = {0};
    for (int64_t t = 0; t < size; t++)
        sum += LOAD(numbers + t);
    return sum;
}

/* For the channels of one pixel: s = bias + alpha / size * the sum of squares around, and s^-beta. squares: c + size +
 * LANES numbers, zeros but from `before` on, where the squares go. */
static inline void lrn_scales(const pr_attrs *attrs, const float *x, int64_t c, float *squares, float *scale,
                              float *power)
{
    const int64_t size = attrs->lrn.size, before = (size - 1) / 2;
    const float slope = attrs->lrn.alpha / (float)size;
    for (int64_t i = 0; i < c; i++)
        squares[before + i] = x[i] * x[i];
    for (int64_t i = 0; i < c; i += LANES) {
        const vec s = attrs->lrn.bias + slope * window_sum(squares + i, size);
        STORE(scale + i, s);
        STORE(power + i, vpow(s, -attrs->lrn.beta));
    }
}

void PR_ISA_NAME(lrn)(const pr_attrs *attrs, const float *x, int64_t rows, int64_t count, float *y, float *scratch)
{
    const int64_t room = pr_lrn_room(attrs, count);
    float *squares = scratch, *scale = scratch + room, *power = scratch + 2 * room;
    memset(squares, 0, (size_t)room * sizeof *squares);
    for (int64_t r = 0; r < rows; r++, x += count, y += count) {
        lrn_scales(attrs, x, count, squares, scale, power);
        for (int64_t i = 0; i < count; i++)
            y[i] = x[i] * power[i];
    }
}

/* dx = dy s^-beta - 2 alpha beta / size x (sum of dy x s^(-beta - 1) over those whose sums this channel is in). */
void PR_ISA_NAME(lrn_grad)(const pr_attrs *attrs, const float *x, const float *dy, int64_t rows, int64_t count,
                           float *dx, float *scratch)
{
    const int64_t room = pr_lrn_room(attrs, count), size = attrs->lrn.size, before = size / 2;
    const float slope = 2 * attrs->lrn.alpha * attrs->lrn.beta / (float)size;
    float *squares = scratch, *scale = scratch + room, *power = scratch + 2 * room, *terms = scratch + 3 * room;
    memset(squares, 0, (size_t)room * sizeof *squares);
    memset(terms, 0, (size_t)room * sizeof *terms);
    for (int64_t r = 0; r < rows; r++, x += count, dy += count, dx += count) {
        lrn_scales(attrs, x, count, squares, scale, power);
        for (int64_t i = 0; i < count; i++)
            terms[before + i] = dy[i] * x[i] * power[i] / scale[i];
        EACH(const vec direct = load_part(dy + i, n) * LOAD(power + i);
             store_part(dx + i, direct - slope * load_part(x + i, n) * window_sum(terms + i, size), n);)
    }
}
