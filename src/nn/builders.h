/* The architectures, a family to a file; arch.c lists them. */
#ifndef PR_NN_BUILDERS_H
#define PR_NN_BUILDERS_H

#include "nn/nn.h"

extern const pr_arch pr_arch_simplecnn;
extern const pr_arch pr_arch_inception_v3;
extern const pr_arch pr_arch_resnet18, pr_arch_resnet20, pr_arch_resnet34, pr_arch_resnet50;

#endif
