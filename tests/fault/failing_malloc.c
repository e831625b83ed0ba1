#include "failing_malloc.h"

#include <errno.h>
#include <link.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)

void failing_malloc_start(void)
{
}

void failing_malloc_arm(long n)
{
    pr_alloc_fail_at(n);
}

/* pr_alloc does not tell, so the caller must take success for the end. */
bool failing_malloc_disarm(void)
{
    pr_alloc_fail_at(0);
    return false;
}

long failing_malloc_live(void)
{
    return 0;
}

#else

/* glibc's own, under the names that it keeps for replacements of malloc. */
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *memory, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *memory);

/* ---- whose allocations count ------------------------------------------------------------------------------------ */

enum { RANGES = 16, SLOTS = 1 << 16 };

static struct {
    uintptr_t from, to;
} ranges[RANGES];
static int range_count;

static int add_ranges(struct dl_phdr_info *info, size_t size, void *user)
{
    static const char *const parts[] = {"libjansson", "libprotobuf-c", "libz.", "libpng"};
    bool wanted = info->dlpi_name[0] == '\0'; /* the program itself */
    (void)size;
    (void)user;
    for (size_t i = 0; i < PR_COUNT(parts); i++)
        wanted |= strstr(info->dlpi_name, parts[i]) != NULL;
    for (int i = 0; wanted && i < info->dlpi_phnum && range_count < RANGES; i++)
        if (info->dlpi_phdr[i].p_type == PT_LOAD && info->dlpi_phdr[i].p_flags & PF_X) {
            ranges[range_count].from = info->dlpi_addr + info->dlpi_phdr[i].p_vaddr;
            ranges[range_count].to = ranges[range_count].from + info->dlpi_phdr[i].p_memsz;
            range_count++;
        }
    return 0;
}

void failing_malloc_start(void)
{
    dl_iterate_phdr(add_ranges, NULL);
}

static bool counts(const void *caller)
{
    for (int i = 0; i < range_count; i++)
        if ((uintptr_t)caller >= ranges[i].from && (uintptr_t)caller < ranges[i].to)
            return true;
    return false;
}

/* ---- what is live: a set of addresses, by linear probing -------------------------------------------------------- */

static atomic_flag locked = ATOMIC_FLAG_INIT;
static void *slots[SLOTS];
static long live;

static void lock(void)
{
    while (atomic_flag_test_and_set_explicit(&locked, memory_order_acquire))
        ;
}

static void unlock(void)
{
    atomic_flag_clear_explicit(&locked, memory_order_release);
}

static size_t home(const void *memory)
{
    return (size_t)(((uintptr_t)memory >> 4) * 0x9e3779b97f4a7c15u >> 48) % SLOTS;
}

static void remember(void *memory)
{
    lock();
    if (live >= SLOTS / 2)
        abort();
    size_t at = home(memory);
    while (slots[at])
        at = (at + 1) % SLOTS;
    slots[at] = memory;
    live++;
    unlock();
}

static void forget(const void *memory)
{
    lock();
    size_t at = home(memory);
    while (slots[at] && slots[at] != memory)
        at = (at + 1) % SLOTS;
    if (slots[at]) {
        live--;
        slots[at] = NULL;
        for (size_t next = (at + 1) % SLOTS; slots[next]; next = (next + 1) % SLOTS) /* close the gap */
            if ((next - home(slots[next])) % SLOTS >= (next - at) % SLOTS) {
                slots[at] = slots[next];
                slots[next] = NULL;
                at = next;
            }
    }
    unlock();
}

long failing_malloc_live(void)
{
    lock();
    long count = live;
    unlock();
    return count;
}

/* ---- failing ---------------------------------------------------------------------------------------------------- */

static atomic_long countdown;
static atomic_bool fired;

void failing_malloc_arm(long n)
{
    atomic_store(&fired, false);
    atomic_store(&countdown, n);
}

bool failing_malloc_disarm(void)
{
    atomic_store(&countdown, 0);
    return atomic_load(&fired);
}

static bool must_fail(const void *caller)
{
    if (atomic_load(&countdown) <= 0 || !counts(caller) || atomic_fetch_sub(&countdown, 1) != 1)
        return false;
    atomic_store(&fired, true);
    errno = ENOMEM;
    return true;
}

static void *booked(void *memory, const void *caller)
{
    if (memory && counts(caller))
        remember(memory);
    return memory;
}

#define CALLER __builtin_return_address(0)
#define EXPORTED __attribute__((visibility("default")))

EXPORTED void *malloc(size_t size)
{
    return must_fail(CALLER) ? NULL : booked(__libc_malloc(size), CALLER);
}

EXPORTED void *calloc(size_t count, size_t size)
{
    return must_fail(CALLER) ? NULL : booked(__libc_calloc(count, size), CALLER);
}

EXPORTED void *realloc(void *memory, size_t size)
{
    if (must_fail(CALLER))
        return NULL;
    forget(memory);
    return booked(__libc_realloc(memory, size), CALLER);
}

EXPORTED void *aligned_alloc(size_t alignment, size_t size)
{
    return must_fail(CALLER) ? NULL : booked(__libc_memalign(alignment, size), CALLER);
}

EXPORTED void *memalign(size_t alignment, size_t size)
{
    return must_fail(CALLER) ? NULL : booked(__libc_memalign(alignment, size), CALLER);
}

EXPORTED int posix_memalign(void **memory, size_t alignment, size_t size)
{
    *memory = must_fail(CALLER) ? NULL : booked(__libc_memalign(alignment, size), CALLER);
    return *memory ? 0 : ENOMEM;
}

EXPORTED void free(void *memory)
{
    if (memory)
        forget(memory);
    __libc_free(memory);
}

#endif
