/* What parry attack has to tell: the pieces that its text, JSON and CSV are made from. */
#ifndef PR_CLI_ATTACK_H
#define PR_CLI_ATTACK_H

#include "cli/cli.h"

typedef struct attack_report {
    const parry_attack *attack;
    const parry_threat *threat;
    const parry_eps_search *search; /* NULL: the smallest eps was not looked for */
    const parry_model *model;
    const parry_dataset *data;
    const parry_attack_result *result;
    const bool *stored; /* by image: meets the criterion when decoded from the PNG written; NULL: none was written */
} attack_report;

/* What the adversary of image i costs; with `levels` as stored in 8 bits. */
parry_budget budget_at(const attack_report *report, int64_t i, bool levels);
/* "confident:0.9", "targeted", "misclassified". */
const char *criterion_of(const parry_threat *threat);
/* Over the images that have a smallest eps; NaN when none has. */
double mean_eps(const parry_attack_result *result);
/* Images that meet the criterion and still do as they were stored. */
int64_t count_stored(const attack_report *report);

/* The table; images one by one where they are few. */
void attack_print(const attack_report *report);
json_t *attack_json(const attack_report *report);
/* One line for each image. */
PARRY_CHECKED parry_status attack_csv(parry_ctx *ctx, const attack_report *report, const char *path);
/* Original, difference and adversary of the only image. */
PARRY_CHECKED parry_status attack_figure(parry_ctx *ctx, const attack_report *report, const char *path);

enum { ATTACK_SHOWN = 10 }; /* so many images are shown one by one */

#endif
