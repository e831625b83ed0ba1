/* The command: a table of subcommands, their options and what they share. Uses the public headers only. */
#ifndef PR_CLI_CLI_H
#define PR_CLI_CLI_H

#include <stdio.h>

#include <jansson.h>

#include <parry/option_rows.h>
#include <parry/parry.h>

/* Exit codes. */
enum { EXIT_DONE = 0, EXIT_FAILED = 1, EXIT_USAGE = 2, EXIT_INTERRUPTED = 130 };

enum { CLI_TABLES_MAX = 8, CLI_WORDS_MAX = 4096, CLI_LOOSE_MAX = 64, CLI_MODELS_MAX = 64 };

/* Options that every computing command takes. */
typedef struct common_options {
    int64_t seed, threads;
    const char *json;
    bool quiet;
} common_options;
extern const parry_options common_table;

/* Options of commands that read images. */
typedef struct data_options {
    const char *data, *labels;
    int split; /* parry_split */
    int64_t first;
} data_options;
extern const parry_options data_table;
extern const char *const split_names[]; /* by parry_split */

typedef struct cli_command cli_command;

/* A command line, parsed: positional words and one parry_params per option table. */
typedef struct cli_args {
    const cli_command *command;
    const parry_options *tables[CLI_TABLES_MAX];
    parry_params *params[CLI_TABLES_MAX];
    int table_count;
    const char *words[CLI_WORDS_MAX];
    int word_count;
    /* Options of the chosen attack, when the command takes them (see command.attack_options): name and text pairs. */
    const char *loose[CLI_LOOSE_MAX][2];
    int loose_count;
    char line[1024]; /* the command line as typed, for reports */
    bool help;
} cli_args;

struct cli_command {
    const char *name;
    const char *words; /* the positional arguments as shown: "MODEL..." */
    int min_words, max_words;
    const char *summary;
    const char *text; /* paragraphs of help, then examples */
    const parry_options *(*tables[CLI_TABLES_MAX])(void);
    bool attack_options; /* takes the options of the attack named by --attack directly */
    parry_status (*run)(parry_ctx *ctx, const cli_args *args);
};

extern const cli_command commands[];
extern const size_t command_count;
const cli_command *find_command(const char *name);

/* ---- args.c ---------------------------------------------------------------------------------------------------- */
/* argv without the program's and the command's name. Strings are borrowed from argv. */
PARRY_CHECKED parry_status args_parse(parry_ctx *ctx, const cli_command *command, int argc, char **argv, cli_args *out);
void args_clear(cli_args *args);
/* The option struct of one of the command's tables. */
const void *args_values(const cli_args *args, const parry_options *table);
bool args_given(const cli_args *args, const parry_options *table, const char *name);
/* "parry NAME WORDS..." as a shell would take it: single quotes around words that it would split or expand. */
void line_as_typed(const char *name, int argc, char **argv, char *line, size_t size);
/* Sets an option of a table unless the user gave it: "name=value name=value". */
PARRY_CHECKED parry_status args_defaults(parry_ctx *ctx, const cli_args *args, const char *words);

/* ---- help.c ---------------------------------------------------------------------------------------------------- */
/* Writes `text` wrapped between `indent` and 80 columns, the cursor being at column `at`. Newlines in the text are
 * kept. */
void wrap(FILE *out, const char *text, int indent, int at);
/* "parry attack MODEL [PHOTO...] [OPTIONS]" */
void usage_line(const cli_command *command, char *line, size_t size);
void help_overview(FILE *out);
void help_command(FILE *out, const cli_command *command);
void help_attack(FILE *out, const parry_attack_info *attack);
void help_criteria(FILE *out);
/* The manual page of the whole command, in roff. */
void help_manual(FILE *out);

/* ---- term.c ---------------------------------------------------------------------------------------------------- */
/* Columns of standard output's terminal; 80 where it is none. */
int terminal_width(void);
/* A context with this command line's seed, threads and callbacks: warnings and, on a terminal, a progress bar on
 * standard error; Ctrl-C cancels. */
PARRY_CHECKED parry_status terminal_context(const common_options *options, parry_ctx **out);
/* Where a command's tables go: standard output, or standard error once --json - has taken that. */
FILE *results(void);
/* Ends the line of the progress bar, if one is shown. Call before printing results. */
void terminal_clear(void);
/* A line on standard error unless --quiet. */
void chat(const char *format, ...) PARRY_PRINTF(1, 2);

/* Runs one command line (main's argc and argv) from start to end; prints the error sentence, returns the exit code. */
int run_line(int argc, char **argv);

/* ---- paths.c --------------------------------------------------------------------------------------------------- */
/* Whether both paths lead to one file, or would once it is written. */
bool same_file(const char *a, const char *b);
/* Refuses two options that name the same file where one of them is written. An option's kind is what its help calls
 * the value: FILE and FOLDER are written, MODEL is read. */
PARRY_CHECKED parry_status check_paths(parry_ctx *ctx, const cli_args *args);

/* ---- inputs.c ---------------------------------------------------------------------------------------------------- */
/* The models and images of a command that has the options of data_table. */
typedef struct cli_inputs {
    parry_model *models[CLI_MODELS_MAX];
    int model_count;
    parry_dataset *data;
    bool photographs; /* data are read at the size, and by the rule, of models[0] */
} cli_inputs;
/* Loads a model with the preprocessing that the command line declares. */
PARRY_CHECKED parry_status load_model(parry_ctx *ctx, const cli_args *args, const char *path, const parry_dataset *fit,
                                      parry_model **out);
/* The same for one of `count`: where there are others, --input-size is for those whose file leaves the size open, and
 * does not contradict one that has its own. */
PARRY_CHECKED parry_status load_model_among(parry_ctx *ctx, const cli_args *args, const char *path, int count,
                                            const parry_dataset *fit, parry_model **out);
/* Loads the models that the first words name, `most_models` at most, and opens the images: the photographs that the
 * other words name, else --data, which names a dataset or photographs. Close it in any case. */
PARRY_CHECKED parry_status open_inputs(parry_ctx *ctx, const cli_args *args, int most_models, cli_inputs *out);
void close_inputs(cli_inputs *inputs);

/* ---- shared.c -------------------------------------------------------------------------------------------------- */
/* Opens one split of the dataset of --data, the first --first images of it (all when 0), and tells its caveat. */
PARRY_CHECKED parry_status open_data(parry_ctx *ctx, const char *spec, parry_split split, int64_t first,
                                     parry_dataset **out);
/* The attack `spec` with the attack's own options of the command line (see command.attack_options). */
PARRY_CHECKED parry_status make_attack(parry_ctx *ctx, const cli_args *args, const char *spec, parry_attack **out);
/* One field of a CSV file: in double quotes where it has a comma, a quote or a line's end. */
void csv_field(FILE *out, const char *text);
/* Writes JSON text to the file of --json ("-": standard output) if given. */
PARRY_CHECKED parry_status write_json_text(parry_ctx *ctx, const cli_args *args, const char *text);
/* The same for a value, which is released. */
PARRY_CHECKED parry_status write_json(parry_ctx *ctx, const cli_args *args, json_t *value);
/* The likeliest classes, the likeliest first. */
typedef struct ranking {
    int count; /* 3, or as many as there are classes */
    int class[3];
    double probability[3];
} ranking;
ranking rank_classes(const parry_model *model, const float *logits);
/* The same in words, for a figure: a line for each class. */
enum { CAPTION_ROOM = 256 };
void caption_classes(const parry_model *model, const float *logits, char text[CAPTION_ROOM]);
/* What every JSON output says of a model and of the data. */
json_t *model_json(const parry_model *model);
/* A string for JSON from text that may not be UTF-8, as a file's name may be: what is not ASCII becomes '?' then. */
json_t *text_json(const char *text);
json_t *data_json(const parry_dataset *dataset);
/* Fails now rather than after the work when an output could not be written, or when it would replace a model that is
 * read. NULL and "-" pass. */
PARRY_CHECKED parry_status probe_output(parry_ctx *ctx, const cli_args *args, const char *path);
/* The same for a folder of outputs, which is created. */
PARRY_CHECKED parry_status probe_folder(parry_ctx *ctx, const char *path);
/* A file that is to be read after others is there: said before the others are, which may take long. */
PARRY_CHECKED parry_status check_there(parry_ctx *ctx, const char *path);
/* PARRY_NOT_FOUND for a name that the command line gave (an architecture, an attack) makes the line a wrong one; other
 * statuses pass. */
parry_status wrong_name(parry_ctx *ctx, parry_status status);
/* PARRY_INVALID with a sentence about the command line. The sentence replaces the context's. */
parry_status usage(parry_ctx *ctx, const char *format, ...) PARRY_PRINTF(2, 3);

#endif
