/* The built-in digits as a data set. Its seed is fixed and not the user's: "digits" means the same images everywhere.
 */
#include "data/data.h"
#include "data/digits.h"

#define DIGITS_SEED 20240u
enum { CHUNK = 500, PIXELS = PR_DIGITS_SIDE * PR_DIGITS_SIDE };

typedef struct drawing {
    pr_images *images;
    int64_t offset; /* index of the split's first digit */
} drawing;

static parry_status draw_chunk(parry_ctx *ctx, void *arg, int64_t chunk, int worker)
{
    (void)worker;
    const drawing *d = arg;
    TRY(pr_poll(ctx));
    int64_t end = PR_MIN((chunk + 1) * CHUNK, d->images->count);
    for (int64_t i = chunk * CHUNK; i < end; i++) {
        uint8_t label;
        pr_digits_render(DIGITS_SEED, (uint64_t)(d->offset + i), d->images->bytes + i * PIXELS, &label);
        d->images->labels[i] = label;
    }
    return PARRY_OK;
}

parry_status pr_digits_read(parry_ctx *ctx, parry_split split, pr_images *out)
{
    *out = (pr_images){.count = split == PARRY_TRAIN ? PR_DIGITS_TRAIN : PR_DIGITS_TEST,
                       .channels = 1,
                       .height = PR_DIGITS_SIDE,
                       .width = PR_DIGITS_SIDE,
                       .classes = 10};
    drawing d = {out, split == PARRY_TRAIN ? 0 : PR_DIGITS_TRAIN};
    parry_status status;
    TRY_TO(fail, pr_alloc_raw_bytes(ctx, (size_t)out->count, PIXELS, (void **)&out->bytes));
    TRY_TO(fail, pr_alloc_raw(ctx, out->count, &out->labels));
    TRY_TO(fail, pr_parallel_for(ctx, (out->count + CHUNK - 1) / CHUNK, draw_chunk, &d));
    return PARRY_OK;
fail:
    pr_images_release(out);
    return status;
}
