/* The optimisers' inner loops. meson compiles this file once per instruction set, with PR_UPDATE_TABLE naming the
 * table.
 *
 * Products and sums are not contracted to fused operations (-ffp-contract=off): with correctly rounded division and
 * square root an update has the same bits on every instruction set and for every way of cutting a parameter into
 * ranges. */
#include <math.h>

#include "nn/update.h"

static void adam(float alpha, float decay, float *restrict w, const float *restrict grad, float *restrict m,
                 float *restrict v, int64_t count)
{
    const float rate1 = (float)(1.0 - PR_ADAM_BETA1), rate2 = (float)(1.0 - PR_ADAM_BETA2),
                epsilon = (float)PR_ADAM_EPSILON;
    for (int64_t i = 0; i < count; i++) {
        const float g = grad[i] + decay * w[i];
        m[i] += rate1 * (g - m[i]);
        v[i] += rate2 * (g * g - v[i]);
        w[i] -= alpha * m[i] / (sqrtf(v[i]) + epsilon);
    }
}

static void sgd(float lr, float momentum, float decay, float *restrict w, const float *restrict grad,
                float *restrict velocity, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        const float g = grad[i] + decay * w[i];
        velocity[i] = momentum * velocity[i] - lr * g;
        w[i] += velocity[i];
    }
}

const pr_update_kernels PR_UPDATE_TABLE = {.adam = adam, .sgd = sgd};
