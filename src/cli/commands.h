/* One declaration per subcommand; the table is in commands.c. */
#ifndef PR_CLI_COMMANDS_H
#define PR_CLI_COMMANDS_H

#include "cli/cli.h"

parry_status cmd_noise(parry_ctx *ctx, const cli_args *args);
parry_status cmd_predict(parry_ctx *ctx, const cli_args *args);
parry_status cmd_train(parry_ctx *ctx, const cli_args *args);
parry_status cmd_attack(parry_ctx *ctx, const cli_args *args);
parry_status cmd_harden(parry_ctx *ctx, const cli_args *args);
parry_status cmd_evaluate(parry_ctx *ctx, const cli_args *args);
parry_status cmd_figure(parry_ctx *ctx, const cli_args *args);
parry_status cmd_info(parry_ctx *ctx, const cli_args *args);
parry_status cmd_data(parry_ctx *ctx, const cli_args *args);
parry_status cmd_list(parry_ctx *ctx, const cli_args *args);
parry_status cmd_help(parry_ctx *ctx, const cli_args *args);
parry_status cmd_demo(parry_ctx *ctx, const cli_args *args);

extern const parry_options train_command_table, attack_command_table, harden_command_table, evaluate_command_table,
    info_command_table, fetch_table, help_command_table, demo_table, figure_command_table, noise_command_table,
    predict_command_table;

#endif
