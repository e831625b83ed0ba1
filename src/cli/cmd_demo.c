/* parry demo: the whole story, told as the commands that a user could type, and one report at the end. */
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/evaluation.h"

typedef struct demo_options {
    const char *output, *data;
    bool quick;
} demo_options;

PR_OPTIONS(demo_table, demo_options,
           OPT_STRING(demo_options, output, "output", "demo", "FOLDER",
                      "where models, results and report.html are written"),
           OPT_STRING(demo_options, data, "data", NULL, "NAME",
                      "mnist, fashion-mnist or digits; without it MNIST, else built-in digits"),
           OPT_BOOL(demo_options, quick, "quick", "false", "fewer images and epochs: under a minute, weaker figures"));

enum { PATH_SIZE = 512, WORDS = 48 };

typedef struct demo {
    const demo_options *options;
    const common_options *common;
    const char *data;
    char seed[24], threads[16];
    char cnn[PATH_SIZE], tutorial[PATH_SIZE], finetuned[PATH_SIZE], mixed[PATH_SIZE], pgd[PATH_SIZE]; /* networks */
    char report[PATH_SIZE];
    char commands[8192];             /* the lines so far, for the report */
    evaluation_files tutorials, all; /* of the tutorial's defence, and of all others */
} demo;

static void say(const char *format, ...) PARRY_PRINTF(1, 2);
static void say(const char *format, ...)
{
    va_list list;
    va_start(list, format);
    fputc('\n', results());
    vfprintf(results(), format, list);
    fputc('\n', results());
    fflush(results());
    va_end(list);
}

static void in_folder(const demo *d, char path[PATH_SIZE], const char *name)
{
    snprintf(path, PATH_SIZE, "%s/%s", d->options->output, name);
}

/* A command line: words up to NULL, then what every step shares. */
typedef struct line {
    const char *argv[WORDS];
    int argc;
} line;

static void add_words(line *l, ...)
{
    va_list list;
    va_start(list, l);
    const char *word;
    while ((word = va_arg(list, const char *)) && l->argc < WORDS - 1)
        l->argv[l->argc++] = word;
    va_end(list);
}

static line start_line(const demo *d, const char *command)
{
    line l = {.argv = {"parry", command}, .argc = 2};
    add_words(&l, "--data", d->data, NULL);
    if (d->common->seed)
        add_words(&l, "--seed", d->seed, NULL);
    if (d->common->threads)
        add_words(&l, "--threads", d->threads, NULL);
    return l;
}

/* Shows the line as typed and remembers it for the report. */
static void show(demo *d, const line *l)
{
    size_t length = strlen(d->commands);
    char *start = d->commands + length;
    line_as_typed(l->argv[1], l->argc - 2, (char **)l->argv + 2, start, sizeof d->commands - length);
    fprintf(results(), "$ %s\n", start);
    fflush(results());
    if (length + strlen(start) + 1 < sizeof d->commands)
        strcat(start, "\n");
}

static parry_status run_step(demo *d, line *l)
{
    show(d, l);
    if (d->common->quiet)
        add_words(l, "--quiet", NULL);
    int code = run_line(l->argc, (char **)l->argv);
    if (code == EXIT_DONE)
        return PARRY_OK;
    usage(NULL, "stopped at the step above");
    return code == EXIT_INTERRUPTED ? PARRY_CANCELLED : code == EXIT_USAGE ? PARRY_INVALID : PARRY_IO;
}

/* MNIST where it is or can be had, else the built-in digits; says which in the first line. */
static parry_status choose_data(parry_ctx *ctx, demo *d)
{
    if (d->options->data) {
        d->data = d->options->data;
        fprintf(results(), "data: %s, as asked\n", d->data);
        return PARRY_OK;
    }
    char *place = NULL;
    parry_status status = parry_dataset_locate(ctx, "mnist", &place);
    if (status != PARRY_OK)
        return status;
    d->data = "mnist";
    if (place)
        fprintf(results(), "data: MNIST, from %s\n", place);
    else if ((status = parry_dataset_fetch(ctx, "mnist", NULL)) == PARRY_OK)
        fprintf(results(), "data: MNIST, downloaded\n");
    else if (status != PARRY_CANCELLED) {
        d->data = "digits";
        status = PARRY_OK;
        fprintf(results(), "data: BUILT-IN DIGITS drawn by parry, not MNIST: it is neither here nor could\n"
                           "      it be downloaded; figures differ from MNIST's\n");
    }
    parry_string_free(place);
    return status;
}

static parry_status train_step(parry_ctx *ctx, demo *d)
{
    (void)ctx;
    say("1. Train a small network.");
    line l = start_line(d, "train");
    add_words(&l, "--arch", "simplecnn", "--epochs", d->options->quick ? "3" : "20", "-o", d->cnn, NULL);
    if (d->options->quick)
        add_words(&l, "--first", "20000", NULL);
    return run_step(d, &l);
}

static parry_status attack_step(parry_ctx *ctx, demo *d)
{
    (void)ctx;
    say("2. Break it: one gradient step per image, the tutorial's loss and no clipping.");
    line l = start_line(d, "attack");
    add_words(&l, d->cnn, "--attack", "fgsm", "--eps", "0.1", "--loss", "mse", "--no-clip", NULL);
    return run_step(d, &l);
}

/* One hardening of the network into `output`; extra words end with NULL. */
static parry_status harden(demo *d, const char *output, const char *method, const char *const *extra)
{
    line l = start_line(d, "harden");
    add_words(&l, d->cnn, "--method", method, NULL);
    for (; *extra; extra++)
        add_words(&l, *extra, NULL);
    add_words(&l, "-o", output, NULL);
    return run_step(d, &l);
}

/* parry evaluate, but the evaluation is kept for the report. */
static parry_status evaluate(parry_ctx *ctx, demo *d, line *l, evaluation_files *files)
{
    cli_args args;
    show(d, l);
    parry_status status = args_parse(ctx, find_command("evaluate"), l->argc - 2, (char **)l->argv + 2, &args);
    const evaluate_options *options = args_values(&args, &evaluate_command_table);
    if (status == PARRY_OK)
        status = evaluation_open(ctx, &args, options->source, args_values(&args, parry_threat_options()),
                                 args_values(&args, parry_evaluate_options()), files);
    if (status == PARRY_OK)
        status = evaluation_print(ctx, files->evaluation);
    args_clear(&args);
    return status;
}

static parry_status tutorial_step(parry_ctx *ctx, demo *d)
{
    say("3. The tutorial's defence: fine-tune on those very images, and test on them again.");
    parry_status status = harden(d, d->tutorial, "finetune",
                                 (const char *const[]){"--split", "test", "--loss", "mse", "--no-clip", NULL});
    if (status != PARRY_OK)
        return status;
    say("   Stale adversaries were made against the network before its defence; fresh ones know the defence.");
    line l = start_line(d, "evaluate");
    add_words(&l, d->cnn, d->tutorial, "--attack", "fgsm,pgd:first=2000", "--eps", "0.1", "--loss", "mse", "--no-clip",
              "--source", d->cnn, "--curve", "0", "--examples", "0", NULL);
    return evaluate(ctx, d, &l, &d->tutorials);
}

static parry_status defences_step(parry_ctx *ctx, demo *d)
{
    static const char *const none[] = {NULL}, *const shorter[] = {"--epochs", "1", "--first", "20000", NULL},
                             *const preset[] = {"--preset", "short", NULL}, *const both[] = {"--preset", "short",
                                                                                             "--epochs", "1",
                                                                                             "--first",  "20000",
                                                                                             NULL};
    const bool quick = d->options->quick;
    (void)ctx;
    say("4. Three defences, trained on adversaries of training images: fine-tuning, mixed batches, PGD training.");
    parry_status status = harden(d, d->finetuned, "finetune", none);
    if (status == PARRY_OK)
        status = harden(d, d->mixed, "mixed", quick ? shorter : none);
    if (status == PARRY_OK)
        status = harden(d, d->pgd, "pgd", quick ? both : preset);
    return status;
}

static parry_status compare_step(parry_ctx *ctx, demo *d)
{
    const bool quick = d->options->quick;
    say("5. What each is worth against fresh adversaries.");
    line l = start_line(d, "evaluate");
    add_words(&l, d->cnn, d->finetuned, d->mixed, d->pgd, "--attack",
              quick ? "fgsm,pgd:first=500" : "fgsm,pgd:first=2000", "--eps", "0.1,0.3", "--source", d->cnn, "--curve",
              quick ? "100" : "500", NULL);
    return evaluate(ctx, d, &l, &d->all);
}

static parry_status report_step(parry_ctx *ctx, demo *d)
{
    const parry_evaluation *const both[] = {d->all.evaluation, d->tutorials.evaluation};
    parry_status status =
        parry_evaluation_write_html(ctx, both, 2, "A small network, broken and hardened", d->commands, d->report);
    if (status == PARRY_OK)
        say("The whole story with pictures: %s", d->report);
    return status;
}

static parry_status write_results(parry_ctx *ctx, const cli_args *args, const demo *d)
{
    char *json = NULL;
    parry_status status = parry_evaluation_json(ctx, d->all.evaluation, &json);
    if (status == PARRY_OK)
        status = write_json_text(ctx, args, json);
    parry_string_free(json);
    return status;
}

/* Names everything, and makes sure that the report can be written before the work begins. */
static parry_status prepare(parry_ctx *ctx, demo *d)
{
    static const char longest[] = "/finetuned.onnx";
    if (strlen(d->options->output) + sizeof longest > PATH_SIZE)
        return usage(ctx, "the folder's name is longer than %d characters", PATH_SIZE - (int)sizeof longest);
    in_folder(d, d->cnn, "cnn.onnx");
    in_folder(d, d->tutorial, "tutorial.onnx");
    in_folder(d, d->finetuned, "finetuned.onnx");
    in_folder(d, d->mixed, "mixed.onnx");
    in_folder(d, d->pgd, "pgd.onnx");
    in_folder(d, d->report, "report.html");
    snprintf(d->seed, sizeof d->seed, "%lld", (long long)d->common->seed);
    snprintf(d->threads, sizeof d->threads, "%lld", (long long)d->common->threads);
    parry_status status = probe_folder(ctx, d->options->output);
    return status == PARRY_OK ? parry_file_probe(ctx, d->report) : status;
}

parry_status cmd_demo(parry_ctx *ctx, const cli_args *args)
{
    static parry_status (*const steps[])(parry_ctx *, demo *) = {
        prepare, choose_data, train_step, attack_step, tutorial_step, defences_step, compare_step, report_step};
    demo d = {.options = args_values(args, &demo_table), .common = args_values(args, &common_table)};
    parry_status status = PARRY_OK;
    for (size_t i = 0; i < sizeof steps / sizeof steps[0] && status == PARRY_OK; i++)
        status = steps[i](ctx, &d);
    if (status == PARRY_OK)
        status = write_results(ctx, args, &d);
    evaluation_close(&d.tutorials);
    evaluation_close(&d.all);
    return status;
}
