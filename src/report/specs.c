/* The list of attacks of an evaluation: "fgsm,pgd:steps=40:first=2000".
 *
 * Commas separate attacks, colons their parameters. first=N is not the attack's own: it limits the attack to the first
 * N images. */
#include <string.h>

#include "attack/attack.h"
#include "report/report.h"

/* Cuts the next piece, up to `separator`, off *rest; NULL at the end. */
static char *cut(char **rest, char separator)
{
    char *piece = *rest;
    if (!piece)
        return NULL;
    char *end = strchr(piece, separator);
    if (end)
        *end++ = '\0';
    *rest = end;
    return piece;
}

static parry_status set_first(parry_ctx *ctx, pr_eval_attack *attack, const char *text)
{
    double count;
    if (!pr_parse_number(text, &count) || count < 1 || count > 1e15 || count != floor(count))
        return pr_fail(ctx, PARRY_INVALID,
                       "attack '%s': first=N takes a whole number of images, at least 1; found '%s'",
                       attack->info->name, text);
    attack->count = PR_MIN(attack->count, (int64_t)count);
    return PARRY_OK;
}

static parry_status set_parameter(parry_ctx *ctx, pr_eval_attack *attack, char *pair)
{
    char *text = pair, *name = cut(&text, '=');
    if (!text)
        return pr_fail(ctx, PARRY_INVALID, "attack '%s': parameters are written name=value; found '%s'",
                       attack->info->name, pair);
    if (strcmp(name, "first") == 0)
        return set_first(ctx, attack, text);
    return parry_attack_set(ctx, attack->attack, name, text);
}

static parry_status open_attack(parry_ctx *ctx, pr_eval_attack *attack, char *spec)
{
    char *name = cut(&spec, ':');
    TRY(parry_attack_create(ctx, name, &attack->attack));
    attack->info = parry_attack_describe(attack->attack);
    for (char *pair; (pair = cut(&spec, ':'));)
        TRY(set_parameter(ctx, attack, pair));
    attack->params = pr_attack_params(attack->attack);
    return pr_strdup(ctx, parry_attack_label(attack->attack), &attack->label);
}

/* Attacks that differ in more than their label tells are told apart by their specs. */
static parry_status distinguish(parry_ctx *ctx, parry_evaluation *evaluation, char *const *specs)
{
    for (int i = 0; i < evaluation->attack_count; i++) {
        pr_eval_attack *attack = &evaluation->attacks[i];
        for (int j = 0; j < evaluation->attack_count; j++)
            if (j != i &&
                strcmp(parry_attack_label(attack->attack), parry_attack_label(evaluation->attacks[j].attack)) == 0) {
                pr_free(attack->label);
                attack->label = NULL;
                TRY(pr_strdup(ctx, specs[i], &attack->label));
                break;
            }
    }
    return PARRY_OK;
}

static parry_status open_list(parry_ctx *ctx, parry_evaluation *evaluation, char *list, char **specs)
{
    for (char *spec; (spec = cut(&list, ','));) {
        pr_eval_attack *attack = &evaluation->attacks[evaluation->attack_count];
        attack->count = evaluation->data ? evaluation->dataset->count : INT64_MAX;
        for (int i = 0; i < evaluation->attack_count; i++)
            if (strcmp(spec, specs[i]) == 0)
                return pr_fail(ctx, PARRY_INVALID, "attack '%s' is listed twice", spec);
        TRY(pr_strdup(ctx, spec, &specs[evaluation->attack_count++]));
        TRY(open_attack(ctx, attack, spec));
    }
    return distinguish(ctx, evaluation, specs);
}

parry_status pr_eval_attacks(parry_ctx *ctx, parry_evaluation *evaluation, const char *specs)
{
    parry_status status;
    char *list = NULL, **pieces = NULL;
    size_t commas = 0;
    if (!specs || !*specs)
        return PARRY_OK;
    for (const char *at = specs; (at = strchr(at, ',')); at++)
        commas++;
    TRY(pr_alloc(ctx, commas + 1, &evaluation->attacks));
    TRY_TO(done, pr_alloc(ctx, commas + 1, &pieces));
    TRY_TO(done, pr_strdup(ctx, specs, &list));
    TRY_TO(done, open_list(ctx, evaluation, list, pieces));
done:
    for (size_t i = 0; pieces && i <= commas; i++)
        pr_free(pieces[i]);
    pr_free(pieces);
    pr_free(list);
    return status;
}

void pr_eval_attacks_free(parry_evaluation *evaluation)
{
    for (int i = 0; i < evaluation->attack_count; i++) {
        parry_attack_free(evaluation->attacks[i].attack);
        pr_free(evaluation->attacks[i].label);
    }
    pr_free(evaluation->attacks);
}
