/* The command `parry`: finds the subcommand, parses its options, runs it, and turns failures into one sentence and an
 * exit code. */
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/commands.h"

const char *const split_names[] = {[PARRY_TRAIN] = "train", [PARRY_TEST] = "test", NULL};

PR_OPTIONS(common_table, common_options,
           OPT_INT(common_options, seed, "seed", "0", 0, 9007199254740991,
                   "keys every random draw; the same seed gives the same bytes"),
           OPT_INT(common_options, threads, "threads", "0", 0, 1024, "worker threads; 0: one per processor"),
           OPT_STRING(common_options, json, "json", NULL, "FILE", "write the results as JSON; - is standard output"),
           OPT_BOOL(common_options, quiet, "quiet", "false", "only results and errors"));

PR_OPTIONS(
    data_table, data_options,
    OPT_STRING(
        data_options, data, "data", "mnist", "NAME|PATH",
        "the images: a dataset's name (parry data list), a folder or a file; photographs are resized and cropped"),
    OPT_STRING(data_options, labels, "labels", NULL, "CSV",
               "table with the labels of photographs: columns file and class_index, wnid, class_name or label"),
    OPT_CHOICE(data_options, split, "split", "test", split_names, "which part of the dataset"),
    OPT_INT(data_options, first, "first", "0", 0, 1e12, "use only the first N images, in the dataset's order; of photographs in class folders one of each class in turn; "
            "0: all"));

const cli_command *find_command(const char *name)
{
    for (size_t i = 0; i < command_count; i++)
        if (strcmp(commands[i].name, name) == 0)
            return &commands[i];
    return NULL;
}

/* The sentence of a command line that is wrong; it takes precedence over the context's. */
static char usage_sentence[1024];

parry_status usage(parry_ctx *ctx, const char *format, ...)
{
    (void)ctx;
    va_list list;
    va_start(list, format);
    vsnprintf(usage_sentence, sizeof usage_sentence, format, list);
    va_end(list);
    return PARRY_INVALID;
}

parry_status wrong_name(parry_ctx *ctx, parry_status status)
{
    return status == PARRY_NOT_FOUND ? usage(ctx, "%s", parry_ctx_error(ctx)) : status;
}

static int exit_code(parry_status status)
{
    switch (status) {
    case PARRY_OK:
        return EXIT_DONE;
    case PARRY_INVALID:
        return EXIT_USAGE;
    case PARRY_CANCELLED:
        return EXIT_INTERRUPTED;
    default:
        return EXIT_FAILED;
    }
}

static int unknown_command(const char *name)
{
    const char *names[32] = {"--version", "--help"};
    size_t count = 2;
    for (size_t i = 0; i < command_count; i++)
        names[count++] = commands[i].name;
    const char *nearest = parry_nearest(name, names, count);
    if (nearest)
        fprintf(stderr, "parry: unknown command '%s'; did you mean '%s'?\n", name, nearest);
    else
        fprintf(stderr, "parry: unknown command '%s'; 'parry --help' lists the commands\n", name);
    return EXIT_USAGE;
}

/* What is wrong with the line whatever the files hold. */
static parry_status check_line(parry_ctx *ctx, const cli_args *args)
{
    const parry_preprocess *preprocess = args_values(args, parry_preprocess_options());
    parry_status status = check_paths(ctx, args);
    return status == PARRY_OK && preprocess ? parry_preprocess_check_flags(ctx, preprocess) : status;
}

/* The parsing context only serves messages; the command's own has its seed and threads. */
static parry_status parse_and_run(parry_ctx *parsing, const cli_command *command, int argc, char **argv,
                                  parry_ctx **running)
{
    cli_args args;
    parry_status status = args_parse(parsing, command, argc, argv, &args);
    if (status == PARRY_OK && !args.help)
        status = check_line(parsing, &args);
    if (status == PARRY_OK && args.help)
        help_command(stdout, command);
    else if (status == PARRY_OK) {
        const common_options *common = args_values(&args, &common_table);
        status = terminal_context(common, running);
        if (status == PARRY_OK && common && common->json)
            status = probe_output(*running, &args, common->json);
        if (status == PARRY_OK)
            status = command->run(*running, &args);
    }
    terminal_clear();
    args_clear(&args);
    return status;
}

int run_line(int argc, char **argv)
{
    const cli_command *command = find_command(argv[1]);
    if (!command)
        return unknown_command(argv[1]);
    parry_ctx *parsing = NULL, *running = NULL;
    usage_sentence[0] = '\0';
    parry_status status = parry_ctx_create(NULL, &parsing);
    if (status == PARRY_OK)
        status = parse_and_run(parsing, command, argc - 2, argv + 2, &running);
    if (fflush(stdout) != 0 && status == PARRY_OK) {
        usage(parsing, "standard output could not be written");
        status = PARRY_IO;
    }
    if (status != PARRY_OK) {
        const char *sentence = usage_sentence[0] ? usage_sentence
                               : running         ? parry_ctx_error(running)
                               : parsing         ? parry_ctx_error(parsing)
                                                 : "";
        fprintf(stderr, "parry %s: %s\n", command->name, sentence[0] ? sentence : parry_status_name(status));
    }
    parry_ctx_free(running);
    parry_ctx_free(parsing);
    return exit_code(status);
}

/* A standard descriptor that the caller closed would be given to the first file opened, and messages would end up in
 * it. It is opened the wrong way round instead, so that using it fails. */
static void hold_standard_descriptors(void)
{
    for (int descriptor = 0; descriptor <= 2; descriptor++)
        if (fcntl(descriptor, F_GETFD) == -1 && open("/dev/null", descriptor == 0 ? O_WRONLY : O_RDONLY) != descriptor)
            _exit(EXIT_FAILED);
}

int main(int argc, char **argv)
{
    hold_standard_descriptors();
    if (argc < 2) {
        help_overview(stderr);
        return EXIT_USAGE;
    }
    if (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0) {
        help_overview(stdout);
        return EXIT_DONE;
    }
    if (strcmp(argv[1], "--version") == 0) {
        puts(parry_version_details());
        return EXIT_DONE;
    }
    return run_line(argc, argv);
}
