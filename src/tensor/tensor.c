/* Chooses the kernels for this processor and offers them under their public names. */
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tensor/kernels.h"
#include "tensor/tensor.h"

extern const pr_kernels pr_kernels_baseline;
#if defined(PR_HAVE_X86_KERNELS)
extern const pr_kernels pr_kernels_avx512, pr_kernels_avx2;
#endif

/* Best first. */
static const struct candidate {
    const char *isa;
    const pr_kernels *kernels;
} candidates[] = {
#if defined(PR_HAVE_X86_KERNELS)
    {"avx512", &pr_kernels_avx512},
    {"avx2", &pr_kernels_avx2},
#endif
    {"baseline", &pr_kernels_baseline},
};

static bool supported(const pr_kernels *kernels)
{
#if defined(PR_HAVE_X86_KERNELS)
    __builtin_cpu_init();
    if (kernels == &pr_kernels_avx512)
        return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
               __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq");
    if (kernels == &pr_kernels_avx2)
        return __builtin_cpu_supports("avx2");
#endif
    return kernels == &pr_kernels_baseline;
}

const pr_kernels *pr_kernels_for(const char *isa)
{
    for (size_t i = 0; i < PR_COUNT(candidates); i++)
        if (strcmp(candidates[i].isa, isa) == 0 && supported(candidates[i].kernels))
            return candidates[i].kernels;
    return NULL;
}

/* Where the candidates begin that PARRY_MAX_ISA allows; PR_COUNT(candidates) when it names none of them. */
static size_t first_allowed(const char *cap)
{
    size_t first = 0;
    while (cap && cap[0] && first < PR_COUNT(candidates) && strcmp(candidates[first].isa, cap) != 0)
        first++;
    return first;
}

parry_status pr_isa_check(parry_ctx *ctx)
{
    const char *cap = getenv("PARRY_MAX_ISA");
    if (first_allowed(cap) < PR_COUNT(candidates))
        return PARRY_OK;
    char names[64] = "";
    for (size_t i = 0; i < PR_COUNT(candidates); i++)
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i ? ", " : "", candidates[i].isa);
    return pr_fail(ctx, PARRY_INVALID, "PARRY_MAX_ISA is '%s'; expected one of %s", cap, names);
}

static const pr_kernels *choose(void)
{
    size_t first = first_allowed(getenv("PARRY_MAX_ISA")) % PR_COUNT(candidates);
    while (!supported(candidates[first].kernels))
        first++;
    return candidates[first].kernels;
}

/* Every thread would choose the same: whoever comes first stores it. */
static const pr_kernels *kernels(void)
{
    static _Atomic(const pr_kernels *) chosen;
    const pr_kernels *table = atomic_load_explicit(&chosen, memory_order_acquire);
    if (!table) {
        table = choose();
        atomic_store_explicit(&chosen, table, memory_order_release);
    }
    return table;
}

const char *pr_isa_name(void)
{
    return kernels()->isa;
}

void pr_copy(float *to, const float *from, int64_t count)
{
    memcpy(to, from, (size_t)count * sizeof *to);
}

void pr_fill(float *to, float value, int64_t count)
{
    kernels()->fill(to, value, count);
}

void pr_axpy(float a, const float *x, float *y, int64_t count)
{
    kernels()->axpy(a, x, y, count);
}

void pr_add_sign(float a, const float *x, float *y, int64_t count)
{
    kernels()->add_sign(a, x, y, count);
}

void pr_clamp(float lo, float hi, float *y, int64_t count)
{
    kernels()->clamp(lo, hi, y, count);
}

void pr_clamp_ball(const float *center, float radius, float *y, int64_t count)
{
    kernels()->clamp_ball(center, radius, y, count);
}

double pr_sum(const float *x, int64_t count)
{
    return kernels()->sum(x, count);
}

double pr_sum_squares(const float *x, int64_t count)
{
    return kernels()->sum_squares(x, count);
}

float pr_max_abs(const float *x, int64_t count)
{
    return kernels()->max_abs(x, count);
}

float pr_max_abs_diff(const float *x, const float *y, int64_t count)
{
    return kernels()->max_abs_diff(x, y, count);
}

double pr_norm2_diff(const float *x, const float *y, int64_t count)
{
    return sqrt(kernels()->sum_squares_diff(x, y, count));
}

bool pr_all_finite(const float *x, int64_t count)
{
    return isfinite(kernels()->max_abs(x, count));
}

int pr_argmax(const float *x, int k)
{
    int best = -1;
    for (int i = 0; i < k; i++)
        if (best < 0 ? !isnan(x[i]) : x[i] > x[best])
            best = i;
    return best;
}

double pr_softmax_total(const float *x, int k, int top)
{
    double total = 0;
    for (int i = 0; i < k; i++)
        total += exp((double)x[i] - (double)x[top]);
    return total;
}

void pr_bytes_to_unit(const uint8_t *bytes, float *out, int64_t count)
{
    kernels()->bytes_to_unit(bytes, out, count);
}

void pr_weigh_pixels(const uint8_t *in, const int *start, const int *taps, const int32_t *weights, int64_t room,
                     uint8_t *out, int64_t count)
{
    kernels()->weigh_pixels(in, start, taps, weights, room, out, count);
}
