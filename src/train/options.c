/* The option tables of training and hardening, and the check of settings that did not come through them. */
#include "base/opt.h"
#include "train/train.h"

static const char *const optimisers[] = {"adam", "sgd", NULL};
static const char *const schedules[] = {"constant", "step", "cosine", "linear", NULL};
static const char *const presets[] = {"madry", "short", NULL};
static const char *const methods[] = {
#define PR_DEFENCE(name) #name,
#include "train/registry.def"
#undef PR_DEFENCE
    NULL};

PR_OPTIONS(pr_train_options, parry_train_settings,
           OPT_INT(parry_train_settings, epochs, "epochs", "20", 1, 1e6, "passes over the training images"),
           OPT_INT(parry_train_settings, batch, "batch", "64", 1, 65536, "images per step"),
           OPT_CHOICE(parry_train_settings, optimiser, "optimiser", "adam", optimisers,
                      "how weights follow their gradient"),
           OPT_FLOAT(parry_train_settings, lr, "lr", "0.001", 0, DBL_MAX, "learning rate at the start"),
           OPT_FLOAT(parry_train_settings, momentum, "momentum", "0.9", 0, 1, "momentum of sgd"),
           OPT_FLOAT(parry_train_settings, weight_decay, "weight-decay", "0", 0, DBL_MAX,
                     "multiple of the kernels that is added to their gradient"),
           OPT_CHOICE(parry_train_settings, schedule, "schedule", "constant", schedules,
                      "course of the learning rate: step is x 0.1 at 1/2 and 3/4; cosine and linear end at 0"),
           OPT_CHOICE(parry_train_settings, precision, "precision", "f32", parry_precision_names,
                      "what convolutions read when weights are trained; weights, sums and losses are f32 in both"),
           OPT_STRING(parry_train_settings, checkpoint, "checkpoint", NULL, "FILE",
                      "state to resume from, written after each epoch and on interruption"),
           OPT_BOOL(parry_train_settings, resume, "resume", "false", "continue from the checkpoint if it is there"),
           OPT_BOOL(parry_train_settings, so_far, "so-far", "false",
                    "train no further: write the network that the checkpoint holds"));

PR_OPTIONS(pr_harden_options, parry_harden_settings,
           OPT_CHOICE(parry_harden_settings, method, "method", "mixed", methods, "the defence"),
           OPT_FLOAT(parry_harden_settings, share, "share", "0.5", 0, 1,
                     "finetune, mixed: share of adversaries in what is trained on"),
           OPT_INT(parry_harden_settings, adversaries, "adversaries", "10000", 0, 1e9,
                   "finetune: how many images are attacked, once, before tuning; 0: all"),
           OPT_CHOICE(parry_harden_settings, preset, "preset", "madry", presets,
                      "pgd: 40 steps of 0.01 as published, or fewer, larger steps"),
           OPT_BOOL(parry_harden_settings, keep_weights, "keep-weights", "false",
                    "pgd: start from the file's weights instead of afresh"),
           OPT_STRING(parry_harden_settings, attack, "attack", NULL, "SPEC",
                      "attack that makes the adversaries; default: the method's own"));

const parry_options *parry_train_options(void)
{
    return &pr_train_options;
}

const parry_options *parry_harden_options(void)
{
    return &pr_harden_options;
}

const char *const *parry_harden_list(void)
{
    return methods;
}

static bool choice_known(const parry_option *row, const void *values)
{
    int choice = *(const int *)((const char *)values + row->offset), count = 0;
    while (row->choices[count])
        count++;
    return choice >= 0 && choice < count;
}

/* A value is fine when its text would be accepted; one sentence then serves the command line and callers of the
 * library. */
static parry_status check_row(parry_ctx *ctx, const parry_option *row, const void *values, void *scratch)
{
    char *text;
    if (row->type == PARRY_OPTION_CHOICE && !choice_known(row, values))
        return pr_fail(ctx, PARRY_INVALID, "--%s has a number that stands for none of its choices", row->name);
    TRY(pr_option_text(ctx, row, values, &text));
    parry_status status = pr_option_parse(ctx, row, text, scratch);
    parry_string_free(text);
    return status;
}

parry_status pr_settings_check(parry_ctx *ctx, const parry_options *table, const void *values)
{
    void *scratch;
    TRY(pr_alloc_bytes(ctx, 1, table->size, &scratch));
    parry_status status = PARRY_OK;
    for (size_t i = 0; i < table->count && status == PARRY_OK; i++)
        status = check_row(ctx, &table->rows[i], values, scratch);
    pr_free(scratch);
    return status;
}

parry_status parry_train_check(parry_ctx *ctx, const parry_train_settings *settings)
{
    TRY(pr_settings_check(ctx, parry_train_options(), settings));
    if ((settings->resume || settings->so_far) && !settings->checkpoint)
        return pr_fail(ctx, PARRY_INVALID, "--%s needs --checkpoint with the file to %s",
                       settings->so_far ? "so-far" : "resume",
                       settings->so_far ? "take the network from" : "continue from");
    return parry_precision_check(ctx, (parry_precision)settings->precision);
}
