/* Allocation with overflow checks and a switch that makes the n-th allocation fail (tests/fault). */
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "base/base.h"

enum { ALIGNMENT = 64, HUGE_PAGE = 2 << 20 };

static atomic_long fail_countdown;

void pr_alloc_fail_at(long n)
{
    atomic_store(&fail_countdown, n);
}

static bool told_to_fail(void)
{
    return atomic_load(&fail_countdown) > 0 && atomic_fetch_sub(&fail_countdown, 1) == 1;
}

static parry_status no_memory(parry_ctx *ctx, size_t count, size_t size)
{
    return pr_fail(ctx, PARRY_NO_MEMORY, "out of memory (%zu items of %zu bytes)", count, size);
}

/* Memory of a huge page and more begins on one and asks for them: fewer misses of the address cache, fewer faults.
 * (posix_memalign, since aligned_alloc is for whole multiples of the alignment.) */
static void *allocate(size_t bytes)
{
    void *memory;
    if (posix_memalign(&memory, bytes >= HUGE_PAGE ? HUGE_PAGE : ALIGNMENT,
                       (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT) != 0)
        return NULL;
#if defined(__linux__)
    if (bytes >= HUGE_PAGE)
        (void)madvise(memory, bytes / HUGE_PAGE * HUGE_PAGE, MADV_HUGEPAGE); /* advice: may be refused */
#endif
    return memory;
}

parry_status pr_alloc_raw_bytes(parry_ctx *ctx, size_t count, size_t size, void **out)
{
    *out = NULL;
    size_t bytes;
    if (__builtin_mul_overflow(count, size, &bytes) || bytes > PTRDIFF_MAX - HUGE_PAGE)
        return no_memory(ctx, count, size);
    if (bytes == 0)
        return PARRY_OK;
    if (!told_to_fail())
        *out = allocate(bytes);
    return *out ? PARRY_OK : no_memory(ctx, count, size);
}

parry_status pr_alloc_bytes(parry_ctx *ctx, size_t count, size_t size, void **out)
{
    TRY(pr_alloc_raw_bytes(ctx, count, size, out));
    if (*out)
        memset(*out, 0, count * size);
    return PARRY_OK;
}

parry_status pr_grow_bytes(parry_ctx *ctx, size_t need, size_t size, size_t *capacity, void **array)
{
    if (need <= *capacity)
        return PARRY_OK;
    size_t grown = PR_MAX(need, *capacity + *capacity / 2 + 8);
    void *larger;
    TRY(pr_alloc_bytes(ctx, grown, size, &larger));
    if (*capacity)
        memcpy(larger, *array, *capacity * size);
    pr_free(*array);
    *array = larger;
    *capacity = grown;
    return PARRY_OK;
}

void pr_free(void *memory)
{
    free(memory);
}

void parry_string_free(char *string)
{
    pr_free(string);
}
