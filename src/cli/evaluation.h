/* An evaluation with the models and data that it borrows, for cmd_evaluate and cmd_demo. */
#ifndef PR_CLI_EVALUATION_H
#define PR_CLI_EVALUATION_H

#include "cli/cli.h"

/* The command's own options: evaluate_command_table. */
typedef struct evaluate_options {
    const char *source, *report, *title;
} evaluate_options;

typedef struct evaluation_files {
    cli_inputs inputs;
    parry_model *source;
    parry_evaluation *evaluation;
} evaluation_files;

/* Loads the data and models and evaluates. Close it in any case. */
PARRY_CHECKED parry_status evaluation_open(parry_ctx *ctx, const cli_args *args, const char *source,
                                           const parry_threat *threat, const parry_evaluate_settings *settings,
                                           evaluation_files *out);
void evaluation_close(evaluation_files *files);
/* Prints the table. */
PARRY_CHECKED parry_status evaluation_print(parry_ctx *ctx, const parry_evaluation *evaluation);

#endif
