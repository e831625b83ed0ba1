/* Sentences about an evaluation: captions, the headline, and what weakens its figures. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "report/report.h"

const char *pr_count_words(int64_t count, char text[PR_NUMBER_TEXT])
{
    char digits[PR_NUMBER_TEXT];
    int length = snprintf(digits, sizeof digits, "%lld", (long long)count), at = 0;
    for (int i = 0; i < length; i++) {
        if (i > 0 && (length - i) % 3 == 0 && digits[i - 1] != '-')
            text[at++] = ',';
        text[at++] = digits[i];
    }
    text[at] = '\0';
    return text;
}

const char *pr_percent_words(double fraction, char text[PR_NUMBER_TEXT])
{
    snprintf(text, PR_NUMBER_TEXT, "%.2f%%", 100 * fraction);
    return text;
}

const char *pr_eps_words(double eps, char text[PR_NUMBER_TEXT])
{
    snprintf(text, PR_NUMBER_TEXT, "%.4g", eps);
    return text;
}

/* ---- captions --------------------------------------------------------------------------------------------------- */

static void caption_main(const parry_evaluation *ev, pr_text *out)
{
    if (ev->attack_count == 0)
        pr_text_add(out, "Clean accuracy: the share of images that are classified right; no attack was run");
    else if (pr_eval_has_goal(ev))
        pr_text_add(out,
                    "Clean accuracy, and the share of images that withstand the attack%s: no adversary meets the "
                    "criterion",
                    ev->attack_count > 1 ? " (worst: all of them)" : "");
    else
        pr_text_add(out, "Clean accuracy, and robust accuracy: still right under the attack%s",
                    ev->attack_count > 1 ? " (worst: under all of them)" : "");
}

static void caption_stale(const parry_evaluation *ev, pr_text *out)
{
    pr_text_add(out,
                "%s on stale adversaries, made once, against %s, and on fresh ones, made against each model itself",
                pr_eval_has_goal(ev) ? "Share that withstands" : "Robust accuracy", ev->source->name);
}

static void caption_threat(const parry_evaluation *ev, pr_text *out)
{
    char eps[PR_NUMBER_TEXT], grey[PR_NUMBER_TEXT];
    pr_text_add(out, "%s norm; eps ", ev->threat.norm == PARRY_LINF ? "Linf" : "L2");
    for (int e = 0; e < ev->eps.count; e++)
        pr_text_add(out, "%s%s (%s/255)", e ? ", " : "", pr_eps_words(ev->eps.value[e], eps),
                    pr_eps_words(255 * ev->eps.value[e], grey));
    pr_text_add(out, " in units of the pixel range [0,1]; adversaries %s to it; loss %s",
                ev->threat.clip ? "clipped" : "not clipped", parry_loss_list()[ev->threat.loss]);
    if (pr_eval_has_goal(ev))
        pr_text_add(out, "; criterion %s", ev->threat.criterion ? ev->threat.criterion : "targeted");
    if (ev->threat.target)
        pr_text_add(out, "; target %s", ev->threat.target);
    if (ev->threat.quantize)
        pr_text_add(out, "; on the 8-bit grid");
    if (ev->threat.precision != PARRY_F32)
        pr_text_add(out, "; searched in bf16, judged in f32");
}

static void caption_data(const parry_evaluation *ev, pr_text *out)
{
    char count[PR_NUMBER_TEXT], total[PR_NUMBER_TEXT];
    const parry_dataset_info *data = ev->dataset;
    if (data->count < ev->dataset_total)
        pr_text_add(out, "%s, %s: the first %s of %s images", data->name, data->split,
                    pr_count_words(data->count, count), pr_count_words(ev->dataset_total, total));
    else
        pr_text_add(out, "%s, %s: %s images", data->name, data->split, pr_count_words(data->count, count));
}

void pr_caption(const parry_evaluation *ev, pr_caption_part part, pr_text *out)
{
    static void (*const parts[])(const parry_evaluation *ev, pr_text *out) = {caption_main, caption_stale,
                                                                              caption_threat, caption_data};
    parts[part](ev, out);
}

/* ---- the headline ----------------------------------------------------------------------------------------------- */

/* " under FGSM and PGD-40", and how many images the worst case saw where it did not see all. */
static void add_attacks(const parry_evaluation *ev, pr_text *out)
{
    char count[PR_NUMBER_TEXT];
    for (int a = 0; a < ev->attack_count; a++)
        pr_text_add(out, "%s%s", a == 0 ? " under " : a + 1 < ev->attack_count ? ", " : " and ", ev->attacks[a].label);
    if (ev->worst_count < ev->dataset->count)
        pr_text_add(out, " (first %s images)", pr_count_words(ev->worst_count, count));
}

static void add_best(const parry_evaluation *ev, pr_text *out)
{
    char robust[PR_NUMBER_TEXT], clean[PR_NUMBER_TEXT];
    int best = 0;
    for (int m = 1; m < ev->model_count; m++)
        if (ev->models[m].worst_acc[0] > ev->models[best].worst_acc[0])
            best = m;
    if (best == 0)
        pr_text_add(out, pr_eval_has_goal(ev) ? " On none of the others more do." : " None of the others keeps more.");
    else if (pr_eval_has_goal(ev))
        pr_text_add(out, " On %s most do: %s.", ev->models[best].name,
                    pr_percent_words(ev->models[best].worst_acc[0], robust));
    else
        pr_text_add(out, " %s keeps the most: %s of %s.", ev->models[best].name,
                    pr_percent_words(ev->models[best].worst_acc[0], robust),
                    pr_percent_words(ev->models[best].clean_acc, clean));
}

/* The model that stale adversaries flatter most. */
static void add_flattered(const parry_evaluation *ev, pr_text *out)
{
    char stale[PR_NUMBER_TEXT], fresh[PR_NUMBER_TEXT], eps[PR_NUMBER_TEXT];
    double widest = 0.1; /* smaller gaps are no headline */
    int model = -1, attack = 0, radius = 0;
    for (int m = 0; m < ev->model_count; m++)
        for (int a = 0; a < ev->attack_count; a++)
            for (int e = 0; e < ev->eps.count; e++) {
                const pr_eval_cell *cell = pr_eval_cell_at(ev, m, a, e);
                if (cell->stale_acc - cell->withstood > widest) {
                    widest = cell->stale_acc - cell->withstood;
                    model = m, attack = a, radius = e;
                }
            }
    if (model < 0)
        return;
    const pr_eval_cell *cell = pr_eval_cell_at(ev, model, attack, radius);
    pr_text_add(
        out, " Tested on stale adversaries, %s would seem to keep %s under %s at eps %s; attacked afresh it keeps %s.",
        ev->models[model].name, pr_percent_words(cell->stale_acc, stale), ev->attacks[attack].label,
        pr_eps_words(ev->eps.value[radius], eps), pr_percent_words(cell->withstood, fresh));
}

void pr_headline(const parry_evaluation *ev, pr_text *out)
{
    char eps[PR_NUMBER_TEXT], robust[PR_NUMBER_TEXT], clean[PR_NUMBER_TEXT];
    const pr_eval_model *model = &ev->models[0];
    if (ev->attack_count == 0) {
        pr_text_add(out, "%s classifies %s of the images right. No attack was run: this says nothing about robustness.",
                    model->name, pr_percent_words(model->clean_acc, clean));
        return;
    }
    if (pr_eval_has_goal(ev))
        pr_text_add(out, "At eps %s, %s of the images withstand on %s", pr_eps_words(ev->eps.value[0], eps),
                    pr_percent_words(model->worst_acc[0], robust), model->name);
    else
        pr_text_add(out, "At eps %s, %s keeps %s of its %s clean accuracy", pr_eps_words(ev->eps.value[0], eps),
                    model->name, pr_percent_words(model->worst_acc[0], robust),
                    pr_percent_words(model->clean_acc, clean));
    add_attacks(ev, out);
    pr_text_add(out, ".");
    if (ev->model_count > 1)
        add_best(ev, out);
    if (ev->source)
        add_flattered(ev, out);
}

/* ---- notes ------------------------------------------------------------------------------------------------------ */

/* An attack that finds less in a larger ball failed there: whatever it found in the smaller one is still inside. */
static void note_rise(const parry_evaluation *ev, int m, int a, int small, int large,
                      void (*note)(void *arg, const char *sentence), void *arg)
{
    static const char words[] = "%s is fooled less by %s at eps %s than at %s, although the larger ball holds every "
                                "adversary of the smaller: the attack fails there, the model is weaker than its figure";
    char low[PR_NUMBER_TEXT], high[PR_NUMBER_TEXT], text[512];
    double gain = pr_eval_cell_at(ev, m, a, large)->withstood - pr_eval_cell_at(ev, m, a, small)->withstood;
    if (ev->eps.value[large] <= ev->eps.value[small] || gain < 0.01)
        return;
    snprintf(text, sizeof text, words, ev->models[m].name, ev->attacks[a].label,
             pr_eps_words(ev->eps.value[large], high), pr_eps_words(ev->eps.value[small], low));
    note(arg, text);
}

static void note_rises(const parry_evaluation *ev, void (*note)(void *arg, const char *sentence), void *arg)
{
    for (int m = 0; m < ev->model_count; m++)
        for (int a = 0; a < ev->attack_count; a++)
            for (int small = 0; small < ev->eps.count; small++)
                for (int large = 0; large < ev->eps.count; large++)
                    note_rise(ev, m, a, small, large, note, arg);
}

/* What the caption's eps are to networks that do not take pixels in [0,1]. */
static void note_units(const parry_evaluation *ev, void (*note)(void *arg, const char *sentence), void *arg)
{
    for (int m = 0; ev->attack_count > 0 && m < ev->model_count; m++) {
        const parry_model_info *info = ev->models[m].info;
        char sentence[1024];
        bool differs = false;
        for (int c = 0; info->units && c < info->channels; c++)
            differs |= info->units[c] != 1;
        int length = snprintf(sentence, sizeof sentence, "To %.200s, eps is", ev->models[m].name);
        for (int e = 0; e < ev->eps.count && length < (int)sizeof sentence; e++) {
            char eps[PARRY_EPS_ROOM];
            length += snprintf(sentence + length, sizeof sentence - (size_t)length, "%s %s", e ? "," : "",
                               parry_eps_words(info, ev->eps.value[e], eps));
        }
        if (differs)
            note(arg, sentence);
    }
}

/* Networks of different sizes see different images of the same photographs. */
static void note_readings(const parry_evaluation *ev, void (*note)(void *arg, const char *sentence), void *arg)
{
    for (int m = 0; m < ev->model_count; m++) {
        char sentence[512];
        if (!ev->models[m].reading)
            continue;
        snprintf(sentence, sizeof sentence, "%.200s reads the photographs as %s", ev->models[m].name,
                 ev->models[m].reading);
        note(arg, sentence);
    }
    if (ev->model_count > 0 && ev->models[0].reading && ev->attack_count > 0 && ev->threat.norm != PARRY_LINF)
        note(arg, "A radius in this norm does not mean the same at different sizes: an image of more pixels can be "
                  "changed less in each of them");
}

void pr_notes(const parry_evaluation *ev, void (*note)(void *arg, const char *sentence), void *arg)
{
    bool iterates = ev->attack_count == 0;
    if (ev->dataset->note)
        note(arg, ev->dataset->note);
    if (ev->attack_count > 0 && !ev->threat.clip)
        note(arg, "Clipping is off: adversaries may hold values that no image file can");
    for (int a = 0; a < ev->attack_count; a++)
        iterates |= strcmp(ev->attacks[a].info->name, "fgsm") != 0;
    if (!iterates)
        note(
            arg,
            "Only FGSM, a single step, was run: attacks that iterate find more. Add pgd before calling a model robust");
    note_readings(ev, note, arg);
    note_rises(ev, note, arg);
    note_units(ev, note, arg);
}
