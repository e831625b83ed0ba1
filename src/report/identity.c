/* The library's identity, which reports quote: version and what it was built with. */
#include <stdio.h>

#include <parry/parry.h>

#include "engine/engine.h"
#include "tensor/tensor.h"

const char *parry_version(void)
{
    return PARRY_VERSION;
}

const char *parry_version_details(void)
{
    static char text[160];
    snprintf(text, sizeof text, "parry %s, %s, kernels for %s", PARRY_VERSION, pr_engine_version(), pr_isa_name());
    return text;
}
