/* Fuzzes the reader of checkpoints: what is taken over stands at an epoch and a step of the training, with a curve as
 * long; what is refused is refused in a sentence. */
#include <string.h>

#include "checkpoint.h"
#include "file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    parry_ctx *ctx;
    fuzz_stage stage;
    uint8_t *whole;
    size_t total;
    if (parry_ctx_create(&(parry_ctx_options){.size = sizeof(parry_ctx_options), .threads = 1}, &ctx) != PARRY_OK ||
        fuzz_stage_open(ctx, &stage) != PARRY_OK || fuzz_checkpoint(ctx, data, size, &whole, &total) != PARRY_OK)
        abort();
    const parry_status status = pr_checkpoint_read(ctx, fuzz_file(whole, total), &stage.training);
    if (status == PARRY_OK ? !fuzz_stage_holds(&stage.training) : !parry_ctx_error(ctx)[0])
        abort();
    pr_free(whole);
    fuzz_stage_close(&stage);
    parry_ctx_free(ctx);
    return 0;
}
