/* The report: one HTML file that loads nothing, put together from its sections. */
#include <string.h>

#include "base/opt.h"
#include "report/report.h"

/* What the report is about: the evaluations, and every model in them once, sources included. */
typedef struct subject {
    const parry_evaluation *const *evaluations;
    int count;
    const parry_model_info **models;
    int model_count;
} subject;

void pr_html_escape(pr_text *out, const char *text)
{
    static const struct {
        char letter;
        const char *entity;
    } entities[] = {
        {'&', "&amp;"}, {'<', "&lt;"}, {'>', "&gt;"}, {'"', "&quot;"}, {'\'', "&#39;"},
    };
    for (; text && *text; text++) {
        const char *entity = NULL;
        for (size_t i = 0; i < PR_COUNT(entities); i++)
            if (entities[i].letter == *text)
                entity = entities[i].entity;
        pr_text_bytes(out, entity ? entity : text, entity ? strlen(entity) : 1);
    }
}

/* ---- the models, once each -------------------------------------------------------------------------------------- */

static void add_distinct(subject *s, const parry_model_info *info)
{
    for (int i = 0; i < s->model_count; i++) {
        const parry_model_info *other = s->models[i];
        if (other == info || (other->sha256 && info->sha256 && strcmp(other->sha256, info->sha256) == 0 &&
                              strcmp(other->name, info->name) == 0))
            return;
    }
    s->models[s->model_count++] = info;
}

static parry_status collect_models(parry_ctx *ctx, subject *s)
{
    int most = 0;
    for (int i = 0; i < s->count; i++)
        most += s->evaluations[i]->model_count + 1;
    TRY(pr_alloc(ctx, most, &s->models));
    for (int i = 0; i < s->count; i++) {
        for (int m = 0; m < s->evaluations[i]->model_count; m++)
            add_distinct(s, s->evaluations[i]->models[m].info);
        if (s->evaluations[i]->source)
            add_distinct(s, s->evaluations[i]->source);
    }
    return PARRY_OK;
}

/* ---- sections --------------------------------------------------------------------------------------------------- */

static void add_head(pr_text *out, const char *title)
{
    pr_text_add(out, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"
                     "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>");
    pr_html_escape(out, title);
    pr_text_add(out, "</title>\n<style>\n%s</style>\n</head>\n<body>\n<main>\n", pr_html_style);
}

static parry_status add_headline(parry_ctx *ctx, pr_text *out, const parry_evaluation *ev)
{
    pr_text text = {0};
    char *headline;
    pr_headline(ev, &text);
    TRY(pr_text_take(ctx, &text, &headline));
    pr_text_add(out, "<p class=\"headline\">");
    pr_html_escape(out, headline);
    pr_text_add(out, "</p>\n");
    parry_string_free(headline);
    return PARRY_OK;
}

static void add_note(void *arg, const char *sentence)
{
    pr_text *out = arg;
    pr_text_add(out, "<li>");
    pr_html_escape(out, sentence);
    pr_text_add(out, ".</li>\n");
}

static void add_notes(pr_text *out, const parry_evaluation *ev)
{
    pr_text list = {0};
    pr_notes(ev, add_note, &list);
    if (list.length > 0) {
        pr_text_add(out, "<aside class=\"notes\"><b>Read the figures with this in mind</b>\n<ul>\n");
        pr_text_bytes(out, list.data, list.length);
        pr_text_add(out, "</ul></aside>\n");
    }
    out->failed |= list.failed;
    pr_text_clear(&list);
}

static parry_status add_evaluation(parry_ctx *ctx, pr_text *out, const parry_evaluation *ev)
{
    add_notes(out, ev);
    TRY(pr_html_tables(ctx, out, ev));
    pr_html_curves(out, ev);
    return pr_html_pictures(ctx, out, ev);
}

/* A further evaluation: named by its models, with a headline of its own. */
static parry_status add_further(parry_ctx *ctx, pr_text *out, const parry_evaluation *ev)
{
    pr_text_add(out, "<section class=\"part\">\n<h2>Evaluated apart: ");
    for (int m = 0; m < ev->model_count; m++) {
        pr_text_add(out, "%s", m ? ", " : "");
        pr_html_escape(out, ev->models[m].name);
    }
    pr_text_add(out, "</h2>\n");
    TRY(add_headline(ctx, out, ev));
    TRY(add_evaluation(ctx, out, ev));
    pr_text_add(out, "</section>\n");
    return PARRY_OK;
}

/* ---- how it was made -------------------------------------------------------------------------------------------- */

static void add_term(pr_text *out, const char *term, const char *text)
{
    pr_text_add(out, "<dt>");
    pr_html_escape(out, term);
    pr_text_add(out, "</dt><dd>");
    pr_html_escape(out, text);
    pr_text_add(out, "</dd>\n");
}

static void add_files(pr_text *out, const subject *s)
{
    char number[PR_NUMBER_TEXT];
    pr_text_add(out,
                "<h3>Models</h3>\n<div class=\"scroll\"><table class=\"small\">\n<thead><tr>"
                "<th scope=\"col\">model</th><th scope=\"col\" class=\"num\">parameters</th>"
                "<th scope=\"col\">producer</th><th scope=\"col\">SHA-256 of the file</th></tr></thead>\n<tbody>\n");
    for (int i = 0; i < s->model_count; i++) {
        const parry_model_info *info = s->models[i];
        pr_text_add(out, "<tr><th scope=\"row\">");
        pr_html_escape(out, info->name);
        pr_text_add(out, "</th><td class=\"num\">%s</td><td>", pr_count_words(info->parameters, number));
        pr_html_escape(out, info->producer);
        pr_text_add(out, "</td><td class=\"hash\"><code>");
        pr_html_escape(out, info->sha256 ? info->sha256 : "not from a file");
        pr_text_add(out, "</code></td></tr>\n");
    }
    pr_text_add(out, "</tbody></table></div>\n");
}

/* "pgd, steps=40, step=0.01; first 2,000 images". */
static parry_status add_attack(parry_ctx *ctx, pr_text *out, const parry_evaluation *ev, const pr_eval_attack *attack)
{
    char number[PR_NUMBER_TEXT];
    const parry_options *table = attack->info->options;
    pr_text_add(out, "<dt>");
    pr_html_escape(out, attack->label);
    pr_text_add(out, "</dt><dd>");
    pr_html_escape(out, attack->info->name);
    for (size_t i = 0; table && attack->params && i < table->count; i++) {
        char *text;
        TRY(pr_option_text(ctx, &table->rows[i], attack->params, &text));
        pr_text_add(out, ", %s=", table->rows[i].name);
        pr_html_escape(out, text);
        parry_string_free(text);
    }
    if (attack->count < ev->dataset->count)
        pr_text_add(out, "; first %s images", pr_count_words(attack->count, number));
    pr_text_add(out, "</dd>\n");
    return PARRY_OK;
}

static parry_status add_attacks(parry_ctx *ctx, pr_text *out, const subject *s)
{
    for (int i = 0; i < s->count; i++) {
        const parry_evaluation *ev = s->evaluations[i];
        if (ev->attack_count == 0)
            continue;
        pr_text_add(out, "<h3>Attacks%s</h3>\n<dl>\n", i ? " of the evaluation apart" : "");
        for (int a = 0; a < ev->attack_count; a++)
            TRY(add_attack(ctx, out, ev, &ev->attacks[a]));
        pr_text_add(out, "</dl>\n");
    }
    return PARRY_OK;
}

static bool same_data(const parry_dataset_info *a, const parry_dataset_info *b)
{
    return a == b || (strcmp(a->sha256, b->sha256) == 0 && strcmp(a->name, b->name) == 0);
}

static void add_data(pr_text *out, const subject *s)
{
    char number[PR_NUMBER_TEXT];
    pr_text_add(out, "<h3>Data</h3>\n");
    for (int i = 0; i < s->count; i++) {
        const parry_dataset_info *data = s->evaluations[i]->dataset;
        if (i > 0 && same_data(data, s->evaluations[0]->dataset))
            continue;
        pr_text_add(out, "<dl>\n");
        add_term(out, "dataset", data->name);
        add_term(out, "split", data->split);
        add_term(out, "images in use", pr_count_words(data->count, number));
        add_term(out, "origin", data->origin);
        add_term(out, "SHA-256", data->sha256);
        if (data->note)
            add_term(out, "note", data->note);
        pr_text_add(out, "</dl>\n");
    }
}

static parry_status add_making(parry_ctx *ctx, pr_text *out, const subject *s, const char *commands)
{
    const parry_evaluation *ev = s->evaluations[0];
    pr_text_add(out, "<section class=\"part\">\n<h2>How this was made</h2>\n");
    if (commands && *commands) {
        pr_text_add(out, "<pre>");
        pr_html_escape(out, commands);
        pr_text_add(out, "</pre>\n");
    }
    pr_text_add(out, "<dl>\n");
    add_term(out, "version", parry_version_details());
    pr_text_add(out,
                "<dt>seed</dt><dd>%llu</dd>\n<dt>threads</dt><dd>%d; the figures do not depend on it</dd>\n</dl>\n",
                (unsigned long long)ev->seed, ev->threads);
    TRY(add_attacks(ctx, out, s));
    add_files(out, s);
    add_data(out, s);
    pr_text_add(out, "</section>\n");
    return PARRY_OK;
}

/* ---- the whole -------------------------------------------------------------------------------------------------- */

static parry_status add_page(parry_ctx *ctx, pr_text *out, const subject *s, const char *title, const char *commands)
{
    add_head(out, title);
    pr_text_add(out, "<header>\n<p class=\"kicker\">parry %s &middot; robustness report</p>\n<h1>", parry_version());
    pr_html_escape(out, title);
    pr_text_add(out, "</h1>\n");
    TRY(add_headline(ctx, out, s->evaluations[0]));
    pr_text_add(out, "</header>\n");
    TRY(add_evaluation(ctx, out, s->evaluations[0]));
    for (int i = 1; i < s->count; i++)
        TRY(add_further(ctx, out, s->evaluations[i]));
    TRY(pr_html_training(ctx, out, s->models, s->model_count));
    TRY(add_making(ctx, out, s, commands));
    pr_text_add(out, "</main>\n</body>\n</html>\n");
    return PARRY_OK;
}

parry_status parry_evaluation_write_html(parry_ctx *ctx, const parry_evaluation *const *evaluations, int count,
                                         const char *title, const char *commands, const char *path)
{
    parry_status status;
    pr_text page = {0};
    char *html = NULL;
    subject s = {.evaluations = evaluations, .count = count};
    TRY(parry_file_probe(ctx, path));
    TRY(collect_models(ctx, &s));
    TRY_TO(done, add_page(ctx, &page, &s, title, commands));
    size_t size = page.length;
    TRY_TO(done, pr_text_take(ctx, &page, &html));
    status = parry_file_write(ctx, path, html, size);
done:
    parry_string_free(html);
    pr_text_clear(&page);
    pr_free(s.models);
    return status;
}
