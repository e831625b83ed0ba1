/* Fuzzes the JSON beside a model: what is understood scales and shifts channels by finite numbers, or is refused. */
#include <math.h>

#include "model/preprocess.h"
#include "file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    parry_preprocess declared;
    pr_claims claims;
    parry_ctx *ctx;
    char *words;
    bool found;
    if (parry_ctx_create(NULL, &ctx) != PARRY_OK)
        abort();
    if (pr_preprocess_file(ctx, fuzz_file(data, size), &declared, &claims, &found) == PARRY_OK && found) {
        for (int channels = 1; channels <= 3; channels += 2) {
            pr_affine affine;
            if (pr_preprocess_affine(ctx, "input", &declared, channels, &affine) == PARRY_OK)
                for (int c = 0; c < channels; c++)
                    if (!isfinite((float)affine.scale[c]) || !isfinite((float)affine.shift[c]) || affine.scale[c] == 0)
                        abort();
        }
        if (parry_preprocess_text(ctx, &declared, &words) == PARRY_OK)
            parry_string_free(words);
    }
    parry_ctx_free(ctx);
    return 0;
}
