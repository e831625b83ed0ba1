/* The architectures, one file each; arch.c lists them. */
#ifndef PR_NN_BUILDERS_H
#define PR_NN_BUILDERS_H

#include "nn/nn.h"

extern const pr_arch pr_arch_simplecnn;

#endif
