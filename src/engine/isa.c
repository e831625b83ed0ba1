/* Chooses the kernels of the instruction set that the tensor layer reports. */
#include <string.h>

#include "engine/kernels_bf16.h"
#include "tensor/tensor.h"

extern const pr_engine_kernels pr_engine_kernels_baseline;
#ifdef PR_HAVE_X86_KERNELS
extern const pr_engine_kernels pr_engine_kernels_avx2, pr_engine_kernels_avx512;
#endif

const pr_engine_kernels *pr_engine_kernels_get(void)
{
#ifdef PR_HAVE_X86_KERNELS
    const char *isa = pr_isa_name();
    if (strcmp(isa, "avx512") == 0)
        return &pr_engine_kernels_avx512;
    if (strcmp(isa, "avx2") == 0 && __builtin_cpu_supports("fma"))
        return &pr_engine_kernels_avx2;
#endif
    return &pr_engine_kernels_baseline;
}

#ifdef PR_HAVE_BF16_KERNELS
extern const pr_bf16_kernels pr_bf16_kernels_avx512;
#endif

const pr_bf16_kernels *pr_bf16_kernels_get(void)
{
#ifdef PR_HAVE_BF16_KERNELS
    if (strcmp(pr_isa_name(), "avx512") == 0 && __builtin_cpu_supports("avx512bf16"))
        return &pr_bf16_kernels_avx512;
#endif
    return NULL;
}
