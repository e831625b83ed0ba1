/* The table of attacks, and attacks with parameters made from text. */
#include <ctype.h>
#include <string.h>

#include "attack/attack.h"

#define ATTACK(name) extern const pr_attack_impl pr_attack_##name;
#include "attack/registry.def"
#undef ATTACK

static const pr_attack_impl *const attacks[] = {
#define ATTACK(name) &pr_attack_##name,
#include "attack/registry.def"
#undef ATTACK
};

const pr_attack_impl *pr_attack_impl_at(size_t index)
{
    return index < PR_COUNT(attacks) ? attacks[index] : NULL;
}

const parry_attack_info *parry_attack_at(size_t index)
{
    return index < PR_COUNT(attacks) ? &attacks[index]->info : NULL;
}

static parry_status find(parry_ctx *ctx, const char *name, const pr_attack_impl **out)
{
    const char *names[PR_COUNT(attacks)];
    size_t index;
    for (size_t i = 0; i < PR_COUNT(attacks); i++)
        names[i] = attacks[i]->info.name;
    TRY(pr_name_find(ctx, "attack", "attacks", name, names, PR_COUNT(names), &index));
    *out = attacks[index];
    return PARRY_OK;
}

parry_status parry_attack_find(parry_ctx *ctx, const char *name, const parry_attack_info **out)
{
    const pr_attack_impl *impl = NULL;
    *out = NULL;
    TRY(find(ctx, name, &impl));
    *out = &impl->info;
    return PARRY_OK;
}

const void *pr_attack_params(const parry_attack *attack)
{
    return attack->params ? parry_params_values(attack->params) : NULL;
}

void pr_attack_review(parry_ctx *ctx, const parry_attack *attack, const parry_threat *threat)
{
    if (attack->impl->review)
        attack->impl->review(ctx, pr_attack_params(attack), threat);
}

static void write_label(parry_attack *attack)
{
    const pr_attack_impl *impl = attack->impl;
    if (impl->label) {
        impl->label(pr_attack_params(attack), attack->label, sizeof attack->label);
        return;
    }
    size_t i = 0;
    for (; impl->info.name[i] && i + 1 < sizeof attack->label; i++)
        attack->label[i] = (char)toupper((unsigned char)impl->info.name[i]);
    attack->label[i] = '\0';
}

parry_status parry_attack_set(parry_ctx *ctx, parry_attack *attack, const char *name, const char *text)
{
    if (!attack->params)
        return pr_fail(ctx, PARRY_INVALID, "'%s' is no option of %s, which has none", name, attack->impl->info.name);
    TRY(parry_params_set(ctx, attack->params, name, text));
    write_label(attack);
    return PARRY_OK;
}

/* Sets each "name=value" of `list`, which is taken apart. */
static parry_status set_all(parry_ctx *ctx, parry_attack *attack, char *list)
{
    char *rest = list;
    for (char *item = strsep(&rest, ":"); item; item = strsep(&rest, ":")) {
        char *value = strchr(item, '=');
        if (!value)
            return pr_fail(ctx, PARRY_INVALID, "%s: '%s' is not of the form option=value", attack->impl->info.name,
                           item);
        *value = '\0';
        TRY(parry_attack_set(ctx, attack, item, value + 1));
    }
    return PARRY_OK;
}

static parry_status attack_init(parry_ctx *ctx, char *spec, parry_attack *attack)
{
    char *options = strchr(spec, ':');
    if (options)
        *options++ = '\0';
    TRY(find(ctx, spec, &attack->impl));
    if (attack->impl->info.options)
        TRY(parry_params_create(ctx, attack->impl->info.options, &attack->params));
    write_label(attack);
    return options ? set_all(ctx, attack, options) : PARRY_OK;
}

parry_status parry_attack_create(parry_ctx *ctx, const char *spec, parry_attack **out)
{
    char *copy;
    *out = NULL;
    TRY(pr_strdup(ctx, spec, &copy));
    parry_status status = pr_alloc(ctx, 1, out);
    if (status == PARRY_OK)
        status = attack_init(ctx, copy, *out);
    pr_free(copy);
    if (status != PARRY_OK) {
        parry_attack_free(*out);
        *out = NULL;
    }
    return status;
}

void parry_attack_free(parry_attack *attack)
{
    if (!attack)
        return;
    parry_params_free(attack->params);
    pr_free(attack);
}

const parry_attack_info *parry_attack_describe(const parry_attack *attack)
{
    return &attack->impl->info;
}

const char *parry_attack_label(const parry_attack *attack)
{
    return attack->label;
}
