/* Makes the n-th allocation of the program fail: of parry's own code and of the C libraries that it hands files to
 * (jansson, protobuf-c, zlib, libpng), malloc and its kin as well as pr_alloc; and counts what of theirs is not freed
 * again. The C library, oneDNN and OpenMP are spared: they end the process when memory is out.
 *
 * Under a sanitizer, which brings its own malloc and counts leaks itself, only pr_alloc fails. */
#ifndef PR_TESTS_FAILING_MALLOC_H
#define PR_TESTS_FAILING_MALLOC_H

#include <stdbool.h>

/* Finds the libraries; call first. */
void failing_malloc_start(void);
/* The n-th allocation from now fails, once. */
void failing_malloc_arm(long n);
/* Ends that; whether an allocation was made to fail. */
bool failing_malloc_disarm(void);
/* Allocated and not freed; always 0 under a sanitizer. */
long failing_malloc_live(void);

#endif
