/* The inside of an attack that is ready to run; for registry.c and run.c. */
#ifndef PR_ATTACK_ATTACK_H
#define PR_ATTACK_ATTACK_H

#include "attack/impl.h"

struct parry_attack {
    const pr_attack_impl *impl;
    parry_params *params; /* NULL when the attack has no options */
    char label[64];
};

/* The attack's option struct, or NULL. */
const void *pr_attack_params(const parry_attack *attack);

#endif
