/* Counter-based random numbers: Philox4x32-10.
 *
 * Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
 *
 * A draw is a pure function of (seed, stream, sample, draw): nothing is stored, so results do not depend on batch size,
 * thread count or resume point. `seed` is the user's, `stream` names the purpose (one of pr_stream), `sample` is the
 * index of the image, step or parameter that the draw belongs to, and `draw` counts within it. */
#ifndef PR_BASE_RNG_H
#define PR_BASE_RNG_H

#include <math.h>
#include <stdint.h>

/* One stream per purpose; a new purpose takes the next number and old numbers never change meaning. */
typedef enum pr_stream {
    PR_STREAM_INIT = 1, /* weight initialisation: sample = parameter index */
    PR_STREAM_SHUFFLE,  /* order of training images: sample = epoch */
    PR_STREAM_DROPOUT,  /* dropout masks: sample = step and row, see the engine */
    PR_STREAM_ATTACK,   /* random starts: sample = index of the image in its dataset */
    PR_STREAM_DIGITS,   /* built-in digits: sample = index of the digit */
    PR_STREAM_MIX,      /* which images of a mixed batch are attacked */
    PR_STREAM_TEST,     /* tests only */
    PR_STREAM_TARGET,   /* targets drawn at random: sample = index of the image in its dataset */
    PR_STREAM_NOISE,    /* images of noise: sample = number of the image */
} pr_stream;

typedef struct pr_rng_key {
    uint64_t seed;
    uint32_t stream;
    uint64_t sample;
} pr_rng_key;

typedef struct pr_u32x4 {
    uint32_t v[4];
} pr_u32x4;

/* Four uniform 32-bit words: block `draw` (64 bits are folded to 32 of the counter's remaining space) of `key`.
 * The counter is (draw, stream, sample low, sample high) and the Philox key is the seed. */
static inline pr_u32x4 pr_rng_block(pr_rng_key key, uint32_t draw)
{
    uint32_t c0 = draw, c1 = key.stream, c2 = (uint32_t)key.sample, c3 = (uint32_t)(key.sample >> 32);
    uint32_t k0 = (uint32_t)key.seed, k1 = (uint32_t)(key.seed >> 32);
    for (int round = 0; round < 10; round++) {
        uint64_t p0 = (uint64_t)0xD2511F53u * c0, p1 = (uint64_t)0xCD9E8D57u * c2;
        uint32_t n0 = (uint32_t)(p1 >> 32) ^ c1 ^ k0, n2 = (uint32_t)(p0 >> 32) ^ c3 ^ k1;
        c1 = (uint32_t)p1;
        c3 = (uint32_t)p0;
        c0 = n0;
        c2 = n2;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    return (pr_u32x4){{c0, c1, c2, c3}};
}

/* Uniform in [0, 1): 24 random bits, exact in float. */
static inline float pr_u32_to_unit(uint32_t bits)
{
    return (float)(bits >> 8) * 0x1p-24f;
}

/* A sequential reader over one key, for code that wants a number at a time. Draws are the words of blocks 0, 1, 2 ...
 */
typedef struct pr_rng {
    pr_rng_key key;
    uint32_t next_block;
    int left;
    pr_u32x4 block;
} pr_rng;

static inline pr_rng pr_rng_init(uint64_t seed, pr_stream stream, uint64_t sample)
{
    return (pr_rng){.key = {seed, (uint32_t)stream, sample}};
}

static inline uint32_t pr_rng_u32(pr_rng *rng)
{
    if (rng->left == 0) {
        rng->block = pr_rng_block(rng->key, rng->next_block++);
        rng->left = 4;
    }
    return rng->block.v[4 - rng->left--];
}

/* Uniform in [0, 1). */
static inline float pr_rng_unit(pr_rng *rng)
{
    return pr_u32_to_unit(pr_rng_u32(rng));
}

/* Uniform in [lo, hi). */
static inline float pr_rng_uniform(pr_rng *rng, float lo, float hi)
{
    return lo + (hi - lo) * pr_rng_unit(rng);
}

/* Standard normal (Box-Muller; two words a draw, the sine half is not kept so that draws stay countable). */
static inline float pr_rng_normal(pr_rng *rng)
{
    double u1 = ((double)pr_rng_u32(rng) + 1.0) * 0x1p-32, u2 = (double)pr_rng_u32(rng) * 0x1p-32;
    return (float)(sqrt(-2.0 * log(u1)) * cos(6.283185307179586 * u2));
}

/* Uniform integer in [0, bound), bound > 0 (Lemire's multiply-shift; the bias is below bound / 2^32). */
static inline uint32_t pr_rng_below(pr_rng *rng, uint32_t bound)
{
    return (uint32_t)(((uint64_t)pr_rng_u32(rng) * bound) >> 32);
}

#endif
