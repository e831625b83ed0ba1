/* parry predict: what a model calls images, and how sure it is. */
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"

typedef struct predict_options {
    int64_t top, show;
    const char *csv;
} predict_options;

PR_OPTIONS(predict_command_table, predict_options,
           OPT_INT(predict_options, top, "top", "3", 1, 1000, "classes of each image, the most probable first"),
           OPT_INT(predict_options, show, "show", "10", 0, 1e9, "images printed; CSV and JSON hold all"),
           OPT_STRING(predict_options, csv, "csv", NULL, "FILE",
                      "write image, label, rank, class, name and confidence of every image as CSV"));

enum { PORTION_FLOATS = 1 << 22 };

/* The `top` classes of every image. */
typedef struct predictions {
    const parry_model *model;
    const parry_dataset *data;
    const parry_dataset_info *info;
    int top;
    int64_t count, labelled, first_right, top_right; /* of the labelled: label is the first, among the top */
    int *classes;                                    /* count x top */
    float *confidences;                              /* count x top */
} predictions;

static void judge(predictions *p, int64_t image, const float *row, int classes)
{
    int *top = p->classes + image * p->top, label = parry_dataset_labels(p->data)[image];
    parry_top_classes(row, classes, p->top, top);
    p->labelled += label >= 0;
    p->first_right += label >= 0 && top[0] == label;
    for (int k = 0; k < p->top; k++) {
        p->confidences[image * p->top + k] = row[top[k]];
        p->top_right += label >= 0 && top[k] == label;
    }
}

/* In portions, so that logits of few images are in memory. */
static parry_status predict_all(parry_ctx *ctx, predictions *p)
{
    const int classes = parry_model_describe(p->model)->classes;
    const int64_t wanted = PORTION_FLOATS / classes + 1, most = wanted < p->count ? wanted : p->count;
    float *logits = malloc((size_t)(most * classes) * sizeof *logits);
    p->classes = malloc((size_t)(p->count * p->top) * sizeof *p->classes);
    p->confidences = malloc((size_t)(p->count * p->top) * sizeof *p->confidences);
    parry_status status = logits && p->classes && p->confidences ? PARRY_OK : PARRY_NO_MEMORY;
    for (int64_t first = 0, n; first < p->count && status == PARRY_OK; first += n) {
        n = most < p->count - first ? most : p->count - first;
        status = parry_dataset_logits(ctx, p->model, p->data, first, n, logits);
        if (status != PARRY_OK)
            break;
        parry_probabilities(logits, n, classes, logits);
        for (int64_t i = 0; i < n; i++)
            judge(p, first + i, logits + i * classes, classes);
    }
    free(logits);
    return status;
}

/* ---- outputs ----------------------------------------------------------------------------------------------------- */

/* The file that it was read from, or its number. */
static const char *image_words(const predictions *p, int64_t image, char text[32])
{
    const char *name = parry_dataset_image_name(p->data, image);
    if (name[0])
        return name;
    snprintf(text, 32, "image %lld", (long long)image);
    return text;
}

static void print_image(FILE *out, const predictions *p, int64_t image)
{
    char text[32], name[PARRY_CLASS_NAME_ROOM];
    int label = parry_dataset_labels(p->data)[image];
    fprintf(out, "%s", image_words(p, image, text));
    if (label >= 0)
        fprintf(out, "  (label %s)", parry_class_name(p->model, label, name));
    fprintf(out, "\n");
    for (int k = 0; k < p->top; k++)
        fprintf(out, "  %6.2f %%  %s\n", 100 * (double)p->confidences[image * p->top + k],
                parry_class_name(p->model, p->classes[image * p->top + k], name));
}

static void print_accuracy(FILE *out, const predictions *p)
{
    const double n = (double)p->labelled;
    if (!p->labelled)
        return;
    fprintf(out, "right: %lld of %lld (%.2f %%)", (long long)p->first_right, (long long)p->labelled,
            100 * (double)p->first_right / n);
    if (p->top > 1)
        fprintf(out, "; label among the first %d: %lld (%.2f %%)", p->top, (long long)p->top_right,
                100 * (double)p->top_right / n);
    fprintf(out, "\n");
}

static void print_all(const predictions *p, int64_t show)
{
    terminal_clear();
    FILE *out = results();
    for (int64_t i = 0; i < p->count && i < show; i++)
        print_image(out, p, i);
    if (show > 0 && p->count > show)
        fprintf(out, "... and %lld more (--show N prints more, --csv FILE writes all)\n", (long long)(p->count - show));
    print_accuracy(out, p);
}

static void csv_rows(FILE *out, const predictions *p)
{
    char name[PARRY_CLASS_NAME_ROOM], text[32];
    fputs("image,label,rank,class,name,confidence\n", out);
    for (int64_t i = 0; i < p->count; i++)
        for (int k = 0; k < p->top; k++) {
            const int64_t at = i * p->top + k;
            const char *named = parry_dataset_image_name(p->data, i);
            snprintf(text, sizeof text, "%lld", (long long)i);
            csv_field(out, named[0] ? named : text);
            if (parry_dataset_labels(p->data)[i] >= 0)
                fprintf(out, ",%d", (int)parry_dataset_labels(p->data)[i]);
            else
                fputc(',', out);
            fprintf(out, ",%d,%d,", k + 1, p->classes[at]);
            csv_field(out, parry_class_name(p->model, p->classes[at], name));
            fprintf(out, ",%.9g\n", (double)p->confidences[at]);
        }
}

static parry_status write_csv(parry_ctx *ctx, const char *path, const predictions *p)
{
    char *text = NULL;
    size_t size = 0;
    if (!path)
        return PARRY_OK;
    FILE *stream = open_memstream(&text, &size);
    if (!stream)
        return PARRY_NO_MEMORY;
    csv_rows(stream, p);
    parry_status status = fclose(stream) == 0 ? parry_file_write(ctx, path, text, size) : PARRY_NO_MEMORY;
    free(text);
    return status;
}

static json_t *image_json(const predictions *p, int64_t image)
{
    char name[PARRY_CLASS_NAME_ROOM];
    const char *file = parry_dataset_image_name(p->data, image);
    const int label = parry_dataset_labels(p->data)[image];
    json_t *list = json_array();
    for (int64_t at = image * p->top; at < (image + 1) * p->top; at++)
        json_array_append_new(list, json_pack("{s:i, s:o, s:f}", "class", p->classes[at], "name",
                                              text_json(parry_class_name(p->model, p->classes[at], name)), "confidence",
                                              (double)p->confidences[at]));
    return json_pack("{s:I, s:o, s:o, s:o}", "id", (json_int_t)image, "file", file[0] ? text_json(file) : json_null(),
                     "label", label >= 0 ? json_integer(label) : json_null(), "predictions", list);
}

static json_t *predictions_json(const predictions *p)
{
    json_t *images = json_array();
    for (int64_t i = 0; i < p->count; i++)
        json_array_append_new(images, image_json(p, i));
    json_t *json = json_pack("{s:o, s:o, s:i, s:I, s:o}", "model", model_json(p->model), "dataset", data_json(p->data),
                             "top", p->top, "labelled", (json_int_t)p->labelled, "images", images);
    json_object_set_new(json, "acc",
                        p->labelled ? json_real((double)p->first_right / (double)p->labelled) : json_null());
    json_object_set_new(json, "top_acc",
                        p->labelled ? json_real((double)p->top_right / (double)p->labelled) : json_null());
    return json;
}

parry_status cmd_predict(parry_ctx *ctx, const cli_args *args)
{
    const predict_options *options = args_values(args, &predict_command_table);
    const common_options *common = args_values(args, &common_table);
    cli_inputs inputs = {0};
    predictions p = {0};
    parry_status status = probe_output(ctx, args, options->csv);
    if (status == PARRY_OK)
        status = open_inputs(ctx, args, 1, &inputs);
    if (status == PARRY_OK) {
        const int classes = parry_model_describe(inputs.models[0])->classes;
        p = (predictions){.model = inputs.models[0], .data = inputs.data, .info = parry_dataset_describe(inputs.data)};
        p.count = p.info->count;
        p.top = options->top < classes ? (int)options->top : classes;
        status = predict_all(ctx, &p);
    }
    if (status == PARRY_OK) {
        print_all(&p, options->show);
        status = write_csv(ctx, options->csv, &p);
    }
    if (status == PARRY_OK && common->json)
        status = write_json(ctx, args, predictions_json(&p));
    free(p.classes);
    free(p.confidences);
    close_inputs(&inputs);
    return status;
}
