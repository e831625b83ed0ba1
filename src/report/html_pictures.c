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
    const float *original = ev->models[m].originals + i * at->row, *adversary = ev->models[m].adversaries + i * at->row;
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

static frame frame_of(const pr_eval_model *model, double scale)
{
    const parry_dataset_info *images = model->images;
    return (frame){images->channels, images->height, images->width,
                   (int64_t)images->channels * images->height * images->width, scale};
}

/* The magnification that brings the largest change to black or white. */
static double find_scale(const parry_evaluation *ev)
{
    double largest = 0;
    for (int m = 0; m < ev->model_count; m++) {
        const pr_eval_model *model = &ev->models[m];
        largest = fmax(
            largest, pr_max_abs_diff(model->adversaries, model->originals, ev->example_count * frame_of(model, 1).row));
    }
    return largest > 0 ? 0.5 / largest : 1;
}

static int longest_side(const parry_evaluation *ev)
{
    int longest = 0;
    for (int m = 0; m < ev->model_count; m++)
        longest = PR_MAX(longest, PR_MAX(ev->models[m].images->height, ev->models[m].images->width));
    return longest;
}

static parry_status add_model(parry_ctx *ctx, pr_text *out, const parry_evaluation *ev, int m, const frame *at)
{
    pr_text_add(out, "<h3 class=\"c%d\"><span class=\"key\"></span>", m % 6);
    pr_html_escape(out, ev->models[m].name);
    pr_text_add(out, "</h3>\n<div class=\"cards%s\">\n", PR_MAX(at->height, at->width) > SIDE_SMALL ? " large" : "");
    for (int64_t i = 0; i < ev->example_count; i++)
        TRY(add_example(ctx, out, ev, at, m, i));
    pr_text_add(out, "</div>\n");
    return PARRY_OK;
}

parry_status pr_html_pictures(parry_ctx *ctx, pr_text *out, const parry_evaluation *ev)
{
    char number[PR_NUMBER_TEXT];
    if (ev->example_count == 0 || (ev->dataset->channels != 1 && ev->dataset->channels != 3))
        return PARRY_OK;
    const double scale = find_scale(ev);
    pr_text_add(out,
                "<h2>Pictures</h2>\n<p>Original, perturbation magnified %.*f times (grey: no change) and adversary, "
                "with the predicted class and its confidence before and after ",
                scale < 10, scale);
    pr_html_escape(out, ev->attacks[ev->strongest].label);
    pr_text_add(out, " at eps %s. The first images of each class, whatever became of them.%s</p>\n",
                pr_eps_words(ev->example_eps, number),
                longest_side(ev) > SIDE_MOST ? " Images are shown reduced; of perturbations single pixels are picked."
                                             : "");
    for (int m = 0; m < ev->model_count; m++) {
        const frame at = frame_of(&ev->models[m], scale);
        TRY(add_model(ctx, out, ev, m, &at));
    }
    return PARRY_OK;
}
