/* Masks of dropout: a pure function of (seed, step, node, row, element), so that every backend and every split of the
 * batch draws the same. */
#include "base/rng.h"
#include "engine/engine.h"

void pr_dropout_mask(uint64_t seed, uint64_t step, int32_t stream, float ratio, int64_t index, int64_t row,
                     float *scale)
{
    pr_rng_key key = {seed, PR_STREAM_DROPOUT, (step << 16) + (uint64_t)stream};
    int64_t blocks = (row + 3) / 4;
    float kept = 1 / (1 - ratio);
    for (int64_t b = 0; b < blocks; b++) {
        pr_u32x4 words = pr_rng_block(key, (uint32_t)(index * blocks + b));
        for (int64_t e = 4 * b; e < PR_MIN(row, 4 * b + 4); e++)
            scale[e] = pr_u32_to_unit(words.v[e % 4]) >= ratio ? kept : 0;
    }
}
