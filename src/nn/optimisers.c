/* Adam (Kingma and Ba, arXiv:1412.6980, algorithm 1 in the form of the end of its section 2, as Keras has it: epsilon
 * is added to the uncorrected sqrt(v)) and SGD with momentum (Keras' form, the learning rate inside the velocity). */
#include <math.h>
#include <string.h>

#include "nn/nn.h"
#include "nn/update.h"
#include "tensor/tensor.h"

static const pr_update_kernels *kernels(void)
{
#if defined(__x86_64__)
    static const struct {
        const char *isa;
        const pr_update_kernels *kernels;
    } tables[] = {{"avx512", &pr_update_avx512}, {"avx2", &pr_update_avx2}};
    const char *isa = pr_isa_name();
    for (size_t i = 0; i < PR_COUNT(tables); i++)
        if (strcmp(isa, tables[i].isa) == 0)
            return tables[i].kernels;
#endif
    return &pr_update_baseline;
}

/* scalars: alpha. */
static void adam_update(const double *scalars, float decay, float *w, const float *grad, float *const *state,
                        int64_t count)
{
    kernels()->adam((float)scalars[0], decay, w, grad, state[0], state[1], count);
}

static void adam_scalars(double lr, double momentum, uint64_t step, double scalars[PR_SCALARS_MAX])
{
    (void)momentum;
    scalars[0] = lr * sqrt(1.0 - pow(PR_ADAM_BETA2, (double)step)) / (1.0 - pow(PR_ADAM_BETA1, (double)step));
}

/* scalars: lr, momentum. */
static void sgd_update(const double *scalars, float decay, float *w, const float *grad, float *const *state,
                       int64_t count)
{
    kernels()->sgd((float)scalars[0], (float)scalars[1], decay, w, grad, state[0], count);
}

static void sgd_scalars(double lr, double momentum, uint64_t step, double scalars[PR_SCALARS_MAX])
{
    (void)step;
    scalars[0] = lr;
    scalars[1] = momentum;
}

static const pr_optimiser optimisers[] = {
    {"adam", {"adam", 2, adam_update}, adam_scalars},
    {"sgd", {"sgd", 1, sgd_update}, sgd_scalars},
};

const pr_optimiser *pr_optimiser_at(size_t index)
{
    return index < PR_COUNT(optimisers) ? &optimisers[index] : NULL;
}
