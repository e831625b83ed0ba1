/* parry evaluate: models side by side under attacks. */
#include <stdlib.h>
#include <string.h>

#include "cli/commands.h"
#include "cli/evaluation.h"

PR_OPTIONS(evaluate_command_table, evaluate_options,
           OPT_STRING(evaluate_options, report, "report", NULL, "FILE", "write one offline HTML report"),
           OPT_STRING(evaluate_options, title, "title", "Adversarial robustness", "TEXT", "title of the report"),
           OPT_STRING(evaluate_options, source, "source", NULL, "MODEL",
                      "also score every model on adversaries made against this one"));

parry_status evaluation_open(parry_ctx *ctx, const cli_args *args, const char *source, const parry_threat *threat,
                             const parry_evaluate_settings *settings, evaluation_files *out)
{
    *out = (evaluation_files){0};
    parry_status status = open_inputs(ctx, args, CLI_WORDS_MAX, &out->inputs);
    if (status == PARRY_OK && source)
        status = load_model_among(ctx, args, source, out->inputs.model_count + 1,
                                  out->inputs.photographs ? NULL : out->inputs.data, &out->source);
    if (status == PARRY_OK)
        status = parry_evaluate(ctx, (const parry_model *const *)out->inputs.models, out->inputs.model_count,
                                out->inputs.data, out->source, threat, settings, &out->evaluation);
    return status;
}

void evaluation_close(evaluation_files *files)
{
    parry_evaluation_free(files->evaluation);
    parry_model_free(files->source);
    close_inputs(&files->inputs);
    *files = (evaluation_files){0};
}

parry_status evaluation_print(parry_ctx *ctx, const parry_evaluation *evaluation)
{
    char *table;
    parry_status status = parry_evaluation_table(ctx, evaluation, terminal_width(), &table);
    if (status != PARRY_OK)
        return status;
    terminal_clear();
    fputs(table, results());
    parry_string_free(table);
    return PARRY_OK;
}

static parry_status write_outputs(parry_ctx *ctx, const cli_args *args, const parry_evaluation *evaluation)
{
    const evaluate_options *options = args_values(args, &evaluate_command_table);
    const common_options *common = args_values(args, &common_table);
    parry_status status = evaluation_print(ctx, evaluation);
    if (status == PARRY_OK && common->json) {
        char *json = NULL;
        status = parry_evaluation_json(ctx, evaluation, &json);
        if (status == PARRY_OK)
            status = write_json_text(ctx, args, json);
        parry_string_free(json);
    }
    if (status == PARRY_OK && options->report) {
        status = parry_evaluation_write_html(ctx, &evaluation, 1, options->title, args->line, options->report);
        if (status == PARRY_OK)
            chat("report: %s", options->report);
    }
    return status;
}

/* Two rows of one model would differ in nothing. */
static parry_status check_models(parry_ctx *ctx, const cli_args *args)
{
    for (int i = 0; i < args->word_count; i++)
        for (int j = 0; j < i; j++)
            if (same_file(args->words[i], args->words[j]))
                return strcmp(args->words[i], args->words[j]) == 0
                           ? usage(ctx, "%s is given twice", args->words[i])
                           : usage(ctx, "%s and %s are the same file", args->words[j], args->words[i]);
    return PARRY_OK;
}

parry_status cmd_evaluate(parry_ctx *ctx, const cli_args *args)
{
    const evaluate_options *options = args_values(args, &evaluate_command_table);
    parry_evaluate_settings settings = *(const parry_evaluate_settings *)args_values(args, parry_evaluate_options());
    evaluation_files files = {0};
    parry_status status = check_models(ctx, args);
    if (status == PARRY_OK)
        status = wrong_name(ctx, parry_evaluate_check(ctx, args_values(args, parry_threat_options()), &settings));
    if (status == PARRY_OK)
        status = probe_output(ctx, args, options->report);
    if (!options->report) { /* curves and pictures cost time and are seen in the report; JSON has curves if asked for */
        settings.curve = args_given(args, parry_evaluate_options(), "curve") ? settings.curve : 0;
        settings.examples = 0;
    }
    if (status == PARRY_OK)
        status =
            evaluation_open(ctx, args, options->source, args_values(args, parry_threat_options()), &settings, &files);
    if (status == PARRY_OK)
        status = write_outputs(ctx, args, files.evaluation);
    evaluation_close(&files);
    return status;
}
