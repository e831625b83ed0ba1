/* The optimisers' inner loops, compiled once per instruction set. */
#ifndef PR_NN_UPDATE_H
#define PR_NN_UPDATE_H

#include <stdint.h>

/* Adam's constants, as Keras sets them. */
#define PR_ADAM_BETA1 0.9
#define PR_ADAM_BETA2 0.999
#define PR_ADAM_EPSILON 1e-7

typedef struct pr_update_kernels {
    /* With g = grad + decay w:  m += (1 - beta1) (g - m);  v += (1 - beta2) (g^2 - v);  w -= alpha m / (sqrt(v) +
     * epsilon). */
    void (*adam)(float alpha, float decay, float *w, const float *grad, float *m, float *v, int64_t count);
    /* velocity = momentum velocity - lr g;  w += velocity. */
    void (*sgd)(float lr, float momentum, float decay, float *w, const float *grad, float *velocity, int64_t count);
} pr_update_kernels;

extern const pr_update_kernels pr_update_baseline;
#if defined(__x86_64__)
extern const pr_update_kernels pr_update_avx2, pr_update_avx512;
#endif

#endif
