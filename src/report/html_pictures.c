/* Pictures: original, magnified perturbation and adversary of the same images for every model. */
#include <math.h>

#include "data/classes.h"
#include "report/canvas.h"
#include "report/report.h"
#include "tensor/tensor.h"

/* Larger images are reduced to this side: a report of photographs stays small enough to be sent. */
enum { SIDE_MOST = 128, SIDE_SMALL = 64, NAME_ROOM = 32 };

typedef struct frame {
    int channels, height, width;
    int64_t row;
    double scale; /* from pixel units to the perturbation's picture */
} frame;

static parry_status add_picture(parry_ctx *ctx, pr_text *out, const frame *at, const float *image, pr_shrink shrink,
                                const char *what)
{
    const pr_planes planes = {image, at->channels, at->height, at->width};
    uint8_t *png;
    size_t size;
    TRY(pr_png_reduced(ctx, SIDE_MOST, shrink, &planes, &png, &size));
    pr_text_add(out, "<img alt=\"%s\" width=\"%d\" height=\"%d\" src=\"", what, at->width, at->height);
    pr_data_uri_add(out, png, size);
    pr_text_add(out, "\">");
    pr_free(png);
    return PARRY_OK;
}

/* Mid-grey where nothing changed. */
static parry_status add_perturbation(parry_ctx *ctx, pr_text *out, const frame *at, const float *original,
                                     const float *adversary)
{
    float *picture;
    TRY(pr_alloc_raw(ctx, at->row, &picture));
    for (int64_t i = 0; i < at->row; i++)
        picture[i] = (float)(0.5 + at->scale * ((double)adversary[i] - (double)original[i]));
    parry_status status = add_picture(ctx, out, at, picture, PR_SHRINK_PICK, "perturbation, magnified");
    pr_free(picture);
    return status;
}

/* The class's name as the model has it, else as the data have it, else its number. */
static void add_name(pr_text *out, const parry_evaluation *ev, int m, int class)
{
    const char *const *names = ev->models[m].info->class_names;
    char name[NAME_ROOM];
    names = names ? names : ev->dataset->class_names;
    if (names) {
        pr_class_first_name(names[class], name, sizeof name);
        pr_html_escape(out, name);
    } else {
        pr_text_add(out, "%d", class);
    }
}

static void add_class(pr_text *out, const parry_evaluation *ev, int m, int class, double confidence)
{
    char number[PR_NUMBER_TEXT];
    pr_text_add(out, "<b>");
    add_name(out, ev, m, class);
    pr_text_add(out, "</b> %s", pr_percent_words(confidence, number));
}

static parry_status add_example(parry_ctx *ctx, pr_text *out, const parry_evaluation *ev, const frame *at, int m,
                                int64_t i)
{
    const pr_eval_example *example = &ev->models[m].examples[i];
    const float *original = ev->originals + i * at->row, *adversary = ev->models[m].adversaries + i * at->row;
    int label = ev->example_labels[i];
    bool wrong = example->before != label, fooled = example->after != label;
    pr_text_add(out, "<figure class=\"card %s\"><div class=\"images\">", wrong || fooled ? "fooled" : "held");
    TRY(add_picture(ctx, out, at, original, PR_SHRINK_AVERAGE, "original"));
    TRY(add_perturbation(ctx, out, at, original, adversary));
    TRY(add_picture(ctx, out, at, adversary, PR_SHRINK_AVERAGE, "adversary"));
    pr_text_add(out, "</div><figcaption>");
    add_class(out, ev, m, example->before, example->before_confidence);
    pr_text_add(out, " &rarr; ");
    add_class(out, ev, m, example->after, example->after_confidence);
    pr_text_add(out, "<br><span class=\"verdict\">%s</span> label ",
                wrong    ? "wrong already"
                : fooled ? "fooled"
                         : "held");
    add_name(out, ev, m, label);
    pr_text_add(out, ", image %lld</figcaption></figure>\n", (long long)ev->example_index[i]);
    return PARRY_OK;
}

/* The magnification that brings the largest change to black or white. */
static double find_scale(const parry_evaluation *ev, int64_t row)
{
    double largest = 0;
    for (int m = 0; m < ev->model_count; m++)
        largest = fmax(largest, pr_max_abs_diff(ev->models[m].adversaries, ev->originals, ev->example_count * row));
    return largest > 0 ? 0.5 / largest : 1;
}

parry_status pr_html_pictures(parry_ctx *ctx, pr_text *out, const parry_evaluation *ev)
{
    char number[PR_NUMBER_TEXT];
    frame at = {ev->dataset->channels, ev->dataset->height, ev->dataset->width, 0, 1};
    if (ev->example_count == 0 || (at.channels != 1 && at.channels != 3))
        return PARRY_OK;
    at.row = (int64_t)at.channels * at.height * at.width;
    at.scale = find_scale(ev, at.row);
    pr_text_add(out,
                "<h2>Pictures</h2>\n<p>Original, perturbation magnified %.2g times (grey: no change) and adversary, "
                "with the predicted class and its "
                "confidence before and after ",
                at.scale);
    pr_html_escape(out, ev->attacks[ev->strongest].label);
    pr_text_add(out, " at eps %s. The first images of each class, whatever became of them.%s</p>\n",
                pr_eps_words(ev->example_eps, number),
                PR_MAX(at.height, at.width) > SIDE_MOST
                    ? " Images are shown reduced; of perturbations single pixels are picked."
                    : "");
    for (int m = 0; m < ev->model_count; m++) {
        pr_text_add(out, "<h3 class=\"c%d\"><span class=\"key\"></span>", m % 6);
        pr_html_escape(out, ev->models[m].name);
        pr_text_add(out, "</h3>\n<div class=\"cards%s\">\n", PR_MAX(at.height, at.width) > SIDE_SMALL ? " large" : "");
        for (int64_t i = 0; i < ev->example_count; i++)
            TRY(add_example(ctx, out, ev, &at, m, i));
        pr_text_add(out, "</div>\n");
    }
    return PARRY_OK;
}
