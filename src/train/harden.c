/* Hardening: finds the defence and runs it. */
#include <string.h>

#include "base/opt.h"
#include "train/train.h"

static const pr_defence *const defences[] = {
#define PR_DEFENCE(name) &pr_defence_##name,
#include "train/registry.def"
#undef PR_DEFENCE
};

const char *parry_harden_defaults(int method, int preset)
{
    if (method < 0 || (size_t)method >= PR_COUNT(defences) || preset < 0 || preset >= PR_PRESET_COUNT)
        return NULL;
    const char *const *defaults = defences[method]->defaults;
    return defaults[preset] ? defaults[preset] : defaults[0];
}

parry_status pr_training_attack(parry_ctx *ctx, const char *spec, parry_attack **out)
{
    static const char early[] = "stop-when-fooled";
    TRY(parry_attack_create(ctx, spec, out));
    if (strstr(spec, early) || !parry_options_find(parry_attack_describe(*out)->options, early))
        return PARRY_OK;
    parry_status status = parry_attack_set(ctx, *out, early, "false");
    if (status != PARRY_OK) {
        parry_attack_free(*out);
        *out = NULL;
    }
    return status;
}

parry_status pr_harden_live(parry_ctx *ctx, parry_model *model, const pr_hardening *h, pr_stage *stage)
{
    parry_attack *attack;
    if (h->harden->attack)
        stage->attack_spec = h->harden->attack;
    TRY(pr_training_attack(ctx, stage->attack_spec, &attack));
    stage->settings = h->settings;
    stage->source = stage->data = h->dataset;
    stage->test = h->test;
    stage->attack = attack;
    stage->threat = h->threat;
    stage->live = true;
    parry_status status = pr_stage_run(ctx, model, stage);
    parry_attack_free(attack);
    return status;
}

parry_status parry_harden(parry_ctx *ctx, parry_model *model, const parry_dataset *dataset, const parry_dataset *test,
                          const parry_harden_settings *harden, const parry_threat *threat,
                          const parry_train_settings *settings)
{
    TRY(pr_settings_check(ctx, parry_harden_options(), harden));
    TRY(parry_train_check(ctx, settings));
    TRY(parry_threat_check(ctx, threat));
    const pr_defence *defence = defences[harden->method];
    pr_log(ctx, PARRY_LOG_INFO, "%s: %s", defence->name, defence->summary);
    pr_hardening hardening = {dataset, test, harden, threat, settings};
    return defence->run(ctx, model, &hardening);
}
