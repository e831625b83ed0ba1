/* The context's inside, shared by ctx.c and pool.c only. */
#ifndef PR_BASE_CTX_H
#define PR_BASE_CTX_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/base.h"

typedef struct pr_pool pr_pool;

struct parry_ctx {
    parry_ctx_options options;
    pthread_mutex_t lock; /* guards error and the callbacks */
    char error[1024];
    pr_pool *pool; /* started on first use */
};

void pr_pool_free(pr_pool *pool);

#endif
