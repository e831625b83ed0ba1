/* What networks compute in. */
#ifndef PARRY_PRECISION_H
#define PARRY_PRECISION_H

#include <parry/context.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum parry_precision {
    PARRY_F32,
    PARRY_BF16, /* 8 bits of mantissa, the range of f32: about twice as fast where the processor has AVX512-BF16 or AMX
                 */
} parry_precision;

/* "f32", "bf16": by parry_precision; NULL ends the list. */
PARRY_API extern const char *const parry_precision_names[];
/* PARRY_UNSUPPORTED where this process cannot compute in it; the sentence says why. */
PARRY_API PARRY_CHECKED parry_status parry_precision_check(parry_ctx *ctx, parry_precision precision);

#ifdef __cplusplus
}
#endif
#endif
