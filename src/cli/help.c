/* Help and the manual page, derived from the command and option tables. */
#include <string.h>

#include "cli/cli.h"

enum { COLUMNS = 80 };

void wrap(FILE *out, const char *text, int indent, int at)
{
    while (*text) {
        if (*text == '\n') {
            fputc('\n', out);
            text++;
            at = 0;
            if (*text && *text != '\n') {
                fprintf(out, "%*s", indent, "");
                at = indent;
            }
            continue;
        }
        int spaces = (int)strspn(text, " "), word = (int)strcspn(text + spaces, " \n");
        if (at > indent && at + spaces + word > COLUMNS) {
            fprintf(out, "\n%*s", indent, "");
            at = indent;
            text += spaces;
            spaces = 0;
        }
        fprintf(out, "%.*s", spaces + word, text);
        at += spaces + word;
        text += spaces + word;
    }
}

static const char *metavar(const parry_option *row)
{
    static const char *const by_type[] = {
        [PARRY_OPTION_BOOL] = "",       [PARRY_OPTION_INT] = "N",       [PARRY_OPTION_FLOAT] = "X",
        [PARRY_OPTION_STRING] = "TEXT", [PARRY_OPTION_CHOICE] = "NAME", [PARRY_OPTION_FLOATS] = "X,...",
        [PARRY_OPTION_SIZE] = "N|HxW",
    };
    return row->metavar ? row->metavar : by_type[row->type];
}

/* The help phrase, the choices and the default. */
static void describe(const parry_option *row, char *text, size_t size)
{
    int length = snprintf(text, size, "%s", row->help);
    for (int i = 0; row->choices && row->choices[i]; i++)
        length += snprintf(text + length, size - (size_t)length, "%s%s", i ? "|" : ": ", row->choices[i]);
    if (row->type == PARRY_OPTION_BOOL && row->def && strcmp(row->def, "true") == 0)
        snprintf(text + length, size - (size_t)length, " (default; off with --no-%s)", row->name);
    else if (row->type != PARRY_OPTION_BOOL && row->def && row->def[0])
        snprintf(text + length, size - (size_t)length, " (default %s)", row->def);
}

/* Whether a table before `table` among the command's has an option of that name: it is the one that counts. */
static bool shadowed(const cli_command *command, const parry_options *table, const char *name)
{
    for (int i = 0; command && i < CLI_TABLES_MAX && command->tables[i] && command->tables[i]() != table; i++)
        if (parry_options_find(command->tables[i](), name))
            return true;
    return false;
}

/* The rows of a table; those that `command` (NULL: none) takes from an earlier table are left out. */
static void help_table(FILE *out, const cli_command *command, const parry_options *table)
{
    char flag[80], text[512];
    for (size_t i = 0; table && i < table->count; i++) {
        const parry_option *row = &table->rows[i];
        if (shadowed(command, table, row->name))
            continue;
        snprintf(flag, sizeof flag, "  %s--%s %s",
                 strcmp(row->name, "output") == 0  ? "-o, "
                 : strcmp(row->name, "quiet") == 0 ? "-q, "
                                                   : "",
                 row->name, metavar(row));
        describe(row, text, sizeof text);
        int length = fprintf(out, "%s", flag);
        if (length < 25)
            length += fprintf(out, "%*s", 26 - length, "");
        else
            length = fprintf(out, "\n%26s", "") - 1;
        wrap(out, text, 26, length);
        fputc('\n', out);
    }
}

static const char criteria_text[] =
    "--criterion says when an image counts as adversarial: when an attack may stop, which of its attempts is kept and "
    "what --minimal-eps looks for. Without it an image must be misclassified, or with --target be called the target. "
    "Probabilities are the softmax of the logits. A CLASS is a number, a name (blanks or underscores between its "
    "words) "
    "or a WordNet identifier; a name with a comma, a colon or a bracket in it stands in single quotes.";
static const char criteria_examples[] =
    "  parry attack net.onnx photo.jpg --criterion confident:0.9 --minimal-eps\n"
    "  parry attack net.onnx photo.jpg --attack pgd --criterion targeted:volcano:0.9\n"
    "  parry attack net.onnx photo.jpg --attack pgd \\\n"
    "      --criterion 'and(topk:5,below:0.01)'\n";

void help_overview(FILE *out)
{
    fputs("parry: how easily is an image classifier fooled, and what makes it harder?\n\n"
          "usage: parry COMMAND [OPTIONS]\n\n",
          out);
    for (size_t i = 0; i < command_count; i++) {
        int at = fprintf(out, "  %-10s", commands[i].name);
        wrap(out, commands[i].summary, 12, at);
        fputc('\n', out);
    }
    fputs("\nparry help COMMAND shows a command's options, parry help ATTACK an attack's,\n"
          "parry help criteria when an image counts as adversarial.\n"
          "The shortest way to see it all: parry demo -o demo\n"
          "parry --version names the libraries, too.\n",
          out);
}

/* What the options of a table are about, where several commands have it; NULL: they are the command's own. */
static const char *heading_of(const parry_options *table)
{
    const struct {
        const parry_options *table;
        const char *heading;
    } shared[] = {
        {&data_table, "images"},
        {parry_preprocess_options(), "preprocessing"},
        {parry_threat_options(), "what the adversary may do"},
        {parry_search_options(), "search for the smallest eps"},
        {parry_train_options(), "training"},
        {&common_table, "in general"},
    };
    for (size_t i = 0; i < sizeof shared / sizeof shared[0]; i++)
        if (shared[i].table == table)
            return shared[i].heading;
    return NULL;
}

void usage_line(const cli_command *command, char *line, size_t size)
{
    snprintf(line, size, "parry %s%s%s%s", command->name, command->words[0] ? " " : "", command->words,
             command->tables[0] ? " [OPTIONS]" : "");
}

void help_command(FILE *out, const cli_command *command)
{
    char line[160];
    usage_line(command, line, sizeof line);
    fprintf(out, "usage: %s\n\n", line);
    wrap(out, command->text, 0, 0);
    fputs("\n", out);
    for (int i = 0; i < CLI_TABLES_MAX && command->tables[i]; i++) {
        const parry_options *table = command->tables[i]();
        const char *heading = i == 0 && !heading_of(table) ? "options" : heading_of(table);
        if (heading)
            fprintf(out, "\n%s:\n", heading);
        help_table(out, command, table);
    }
    if (command->attack_options)
        wrap(out, "\nThe options of the attack named by --attack may be given as well; parry help ATTACK lists them.\n",
             0, 0);
}

void help_attack(FILE *out, const parry_attack_info *attack)
{
    fprintf(out, "%s: ", attack->name);
    wrap(out, attack->summary, 0, (int)strlen(attack->name) + 2);
    fprintf(out, "\nsource: %s\nnorms:%s%s\nneeds: %s\n", attack->cite,
            attack->norms & PARRY_NORM_BIT(PARRY_LINF) ? " linf" : "",
            attack->norms & PARRY_NORM_BIT(PARRY_L2) ? " l2" : "",
            attack->needs & PARRY_NEEDS_GRADIENT ? "gradients" : "logits");
    if (attack->options && attack->options->count) {
        fputs("\noptions:\n", out);
        help_table(out, NULL, attack->options);
        fprintf(out, "\nIn a list: --attack %s:%s=...\n", attack->name, attack->options->rows[0].name);
    }
    fputs("\nThe threat model (norm, eps, loss, clipping) belongs to the run:\n", out);
    help_table(out, NULL, parry_threat_options());
}

void help_criteria(FILE *out)
{
    const parry_criterion_form *form;
    wrap(out, criteria_text, 0, 0);
    fputs("\n\n", out);
    for (size_t i = 0; (form = parry_criterion_form_at(i)); i++) {
        int length = fprintf(out, "  %s", form->form);
        length += fprintf(out, "%*s", length < 25 ? 26 - length : 1, "");
        wrap(out, form->summary, 26, length);
        fputc('\n', out);
    }
    fputc('\n', out);
    wrap(out, criteria_examples, 0, 0);
}

/* ---- the manual page ------------------------------------------------------------------------------------------- */

/* Text with roff's own characters escaped. */
static void roff_text(FILE *out, const char *text)
{
    for (bool line_start = true; *text; text++) {
        if (line_start && (*text == '.' || *text == '\''))
            fputs("\\&", out);
        if (*text == '\\' || *text == '-')
            fputc('\\', out);
        fputc(*text, out);
        line_start = *text == '\n';
    }
}

static void roff_table(FILE *out, const cli_command *command, const parry_options *table)
{
    char text[512];
    for (size_t i = 0; table && i < table->count; i++) {
        if (shadowed(command, table, table->rows[i].name))
            continue;
        fputs(".TP\n.B ", out);
        roff_text(out, "--");
        roff_text(out, table->rows[i].name);
        fprintf(out, " %s\n", metavar(&table->rows[i]));
        describe(&table->rows[i], text, sizeof text);
        roff_text(out, text);
        fputc('\n', out);
    }
}

void help_manual(FILE *out)
{
    fprintf(out, ".TH PARRY 1 \"\" \"parry %s\"\n.SH NAME\nparry \\- attack, evaluate and harden image classifiers\n",
            parry_version());
    fputs(".SH SYNOPSIS\n.B parry\nCOMMAND [OPTIONS]\n.SH COMMANDS\n", out);
    for (size_t i = 0; i < command_count; i++) {
        fprintf(out, ".SS parry %s %s\n.nf\n", commands[i].name, commands[i].words);
        roff_text(out, commands[i].text);
        fputs("\n.fi\n", out);
        for (int t = 0; t < CLI_TABLES_MAX && commands[i].tables[t]; t++)
            roff_table(out, &commands[i], commands[i].tables[t]());
    }
    fputs(".SH CRITERIA\n", out);
    roff_text(out, criteria_text);
    fputc('\n', out);
    const parry_criterion_form *form;
    for (size_t i = 0; (form = parry_criterion_form_at(i)); i++) {
        fputs(".TP\n.B ", out);
        roff_text(out, form->form);
        fputc('\n', out);
        roff_text(out, form->summary);
        fputc('\n', out);
    }
    fputs(".SH ATTACKS\n", out);
    const parry_attack_info *attack;
    for (size_t i = 0; (attack = parry_attack_at(i)); i++) {
        fprintf(out, ".SS %s\n", attack->name);
        roff_text(out, attack->summary);
        fprintf(out, " (%s)\n", attack->cite);
        roff_table(out, NULL, attack->options);
    }
    fputs(
        ".SH EXIT STATUS\n0 done; 1 failed, with a sentence on standard error; 2 the command line is wrong; 130 "
        "interrupted.\n"
        ".SH ENVIRONMENT\n.TP\n.B PARRY_DATA\nfolder in which datasets are looked for first\n"
        ".TP\n.B XDG_CACHE_HOME\nwhere fetched datasets are kept (parry/), else ~/.cache\n"
        ".TP\n.B PARRY_MAX_ISA\navx512, avx2 or baseline: the best instruction set that parry's own kernels may use\n",
        out);
}
