/* The evaluation as data, and the pieces that its renderings are made of. */
#ifndef PR_REPORT_REPORT_H
#define PR_REPORT_REPORT_H

#include <parry/evaluate.h>

#include "base/base.h"

enum { PR_NUMBER_TEXT = 32 }; /* room for a number in words */

/* ---- the evaluation --------------------------------------------------------------------------------------------- */

typedef struct pr_eval_attack {
    parry_attack *attack;
    const parry_attack_info *info;
    const void *params; /* the attack's own option struct, NULL when it has none */
    char *label;        /* for tables; attacks that differ have different ones */
    int64_t count;      /* it attacks the first `count` images */
} pr_eval_attack;

/* One model under one attack at one eps. */
typedef struct pr_eval_cell {
    double robust_acc; /* fraction classified right */
    double withstood;  /* fraction that does not meet the criterion; without one of its own the same */
    double adv_loss, mean_norm, max_norm;
    double stale_acc; /* fraction that withstands the adversaries of `source`; meaningless without one */
    int64_t forward_queries, gradient_queries;
} pr_eval_cell;

/* One picture of the report: what the model says before and after. */
typedef struct pr_eval_example {
    int before, after; /* predicted classes */
    double before_confidence, after_confidence;
} pr_eval_example;

typedef struct pr_eval_model {
    const parry_model_info *info;
    const char *name;    /* as shown: the file's, or its path where two models would look the same */
    parry_dataset *data; /* the images in use as it takes them */
    const parry_dataset_info *images;
    char *reading; /* how it takes photographs, where models differ in that; else NULL */
    double clean_acc, clean_loss;
    pr_eval_cell *cells;            /* attack_count x eps.count */
    double *worst_acc;              /* eps.count: fraction that withstands every attack */
    double *curve_acc;              /* PR_CURVE_POINTS: fraction that withstands the strongest; NULL without curves */
    pr_eval_example *examples;      /* example_count */
    float *originals, *adversaries; /* example_count x C x H x W */
} pr_eval_model;

enum { PR_CURVE_POINTS = 9 };

struct parry_evaluation {
    uint64_t seed;
    int threads;
    const parry_dataset_info *dataset; /* the images in use, of photographs as the first model takes them */
    int64_t dataset_total;             /* before --first */
    parry_dataset *data;               /* holds `dataset` */
    parry_threat threat;               /* its eps is not used */
    parry_floats eps;
    pr_eval_attack *attacks;
    int attack_count;
    pr_eval_model *models;
    int model_count;
    const parry_model_info *source; /* of the stale adversaries, or NULL */
    int64_t worst_count;            /* images that every attack saw */
    int strongest;       /* the attack that fooled most over all models and eps; used for curves and pictures */
    int64_t curve_count; /* images behind the curves, 0: none */
    double curve_eps[PR_CURVE_POINTS];
    int64_t example_count;
    double example_eps;
    int64_t *example_index; /* example_count: numbers in the dataset */
    int32_t *example_labels;
};

/* Whether the threat has a criterion or a target of its own, so that to withstand is not to be classified right. */
bool pr_eval_has_goal(const parry_evaluation *evaluation);
const pr_eval_cell *pr_eval_cell_at(const parry_evaluation *evaluation, int model, int attack, int eps);

/* The threat of the evaluation at one eps. */
parry_threat pr_eval_threat(const parry_evaluation *evaluation, double eps);
/* Fills what concerns `count` pictures, of every model (examples.c). */
PARRY_CHECKED parry_status pr_eval_examples(parry_ctx *ctx, parry_evaluation *evaluation,
                                            const parry_model *const *models, int64_t count);

/* Parses "fgsm,pgd:steps=40:first=2000" into evaluation->attacks (specs.c). NULL and "" give none. */
PARRY_CHECKED parry_status pr_eval_attacks(parry_ctx *ctx, parry_evaluation *evaluation, const char *specs);
void pr_eval_attacks_free(parry_evaluation *evaluation);

/* ---- columns of the tables, shared by text and HTML (columns.c) ------------------------------------------------- */

typedef enum pr_column_kind { PR_COLUMN_CLEAN, PR_COLUMN_FRESH, PR_COLUMN_STALE, PR_COLUMN_WORST } pr_column_kind;

typedef struct pr_column {
    pr_column_kind kind;
    int attack, eps;             /* indices; attack is not used by clean and worst */
    int64_t count;               /* images behind the figures */
    char group[64];              /* "clean", "PGD-40" */
    char radius[PR_NUMBER_TEXT]; /* "0.1" or "" */
    const char *age;             /* "stale", "fresh" or "" */
    char mark[4];                /* refers to a footnote: "*", "**"; "" where all images were used */
} pr_column;

/* The main table (clean, every attack at every eps, worst), or the table of stale beside fresh adversaries. *out is
 * freed with pr_free. */
PARRY_CHECKED parry_status pr_columns_main(parry_ctx *ctx, const parry_evaluation *evaluation, pr_column **out,
                                           int *count);
PARRY_CHECKED parry_status pr_columns_stale(parry_ctx *ctx, const parry_evaluation *evaluation, pr_column **out,
                                            int *count);
double pr_column_value(const parry_evaluation *evaluation, const pr_column *column, int model);
/* "* first 2,000 images" for each mark in use, in order; `line` is called for each. */
void pr_columns_footnotes(const pr_column *columns, int count, void (*line)(void *arg, const char *text), void *arg);

/* ---- sentences, shared by text and HTML (findings.c) ------------------------------------------------------------ */

typedef enum pr_caption_part { PR_CAPTION_MAIN, PR_CAPTION_STALE, PR_CAPTION_THREAT, PR_CAPTION_DATA } pr_caption_part;
/* What the main or the stale table shows; norm, eps in [0,1] and in /255, loss and clipping; which images. No full stop
 * at the end. */
void pr_caption(const parry_evaluation *evaluation, pr_caption_part part, pr_text *out);
/* What was found, in plain words: one to three sentences. */
void pr_headline(const parry_evaluation *evaluation, pr_text *out);
/* What the reader must know to trust the figures: the dataset's caveat, clipping off, single-step attacks only,
 * accuracy that rises with eps. `note` is called for each. */
void pr_notes(const parry_evaluation *evaluation, void (*note)(void *arg, const char *sentence), void *arg);

/* "10,000" */
const char *pr_count_words(int64_t count, char text[PR_NUMBER_TEXT]);
/* "98.90%": two decimals. */
const char *pr_percent_words(double fraction, char text[PR_NUMBER_TEXT]);
/* "0.1", "0.03137": up to four significant digits. */
const char *pr_eps_words(double eps, char text[PR_NUMBER_TEXT]);

/* ---- figures ---------------------------------------------------------------------------------------------------- */

/* A line of a chart. NaN in y leaves a gap. */
typedef struct pr_series {
    const char *name;
    const double *x, *y;
    int count;
    int color; /* index into the palette; lines of one colour differ by `dashed` */
    bool dashed;
} pr_series;

/* A vertical rule with words: a boundary between stages. */
typedef struct pr_rule {
    double x;
    const char *text;
} pr_rule;

typedef struct pr_chart {
    const char *title, *x_label, *y_label;
    bool percent;   /* y holds fractions, shown as percentages; the axis stays inside 0..1 */
    bool from_zero; /* the y axis starts at 0, and ends at 100% with `percent` */
    bool whole_x;   /* x counts something: no ticks between whole numbers */
    const pr_series *series;
    int series_count;
    const pr_rule *rules;
    int rule_count;
} pr_chart;

/* Appends the chart as an inline <svg>, coloured by the classes of the page's style (svg.c). */
void pr_svg_chart(pr_text *out, const pr_chart *chart);

/* Appends "data:image/png;base64,..." (png.c). */
void pr_data_uri_add(pr_text *out, const uint8_t *png, size_t size);

/* ---- HTML ------------------------------------------------------------------------------------------------------- */

/* The style sheet, light and dark, screen and print (html_style.c). */
extern const char pr_html_style[];

/* Appends `text` with & < > " ' escaped; NULL appends nothing. */
void pr_html_escape(pr_text *out, const char *text);
/* Sections of the report, each with its heading; nothing is appended where there is nothing to show. */
PARRY_CHECKED parry_status pr_html_tables(parry_ctx *ctx, pr_text *out,
                                          const parry_evaluation *evaluation); /* html_tables.c */
void pr_html_curves(pr_text *out, const parry_evaluation *evaluation);         /* html_tables.c */
PARRY_CHECKED parry_status pr_html_pictures(parry_ctx *ctx, pr_text *out,
                                            const parry_evaluation *evaluation); /* html_pictures.c */
/* Curves from the models' histories. A history that cannot be read is left out. */
PARRY_CHECKED parry_status pr_html_training(parry_ctx *ctx, pr_text *out, const parry_model_info *const *models,
                                            int count); /* html_training.c */

#endif
