/* parry attack: adversarial images for one model, and what they do to it. */
#include <string.h>

#include "cli/commands.h"

typedef struct attack_options {
    const char *attack, *save_images, *save;
} attack_options;

PR_OPTIONS(attack_command_table, attack_options,
           OPT_STRING(attack_options, attack, "attack", "fgsm", "NAME",
                      "the attack (parry list attacks); options may follow as NAME:OPTION=VALUE"),
           OPT_STRING(attack_options, save_images, "save-images", NULL, "FOLDER",
                      "write the adversarial images as PNG files"),
           OPT_STRING(attack_options, save, "save", NULL, "FOLDER",
                      "write images.npy (float32) and labels.npy, a dataset for --data"));

/* "0.1 (25.5/255)" */
static void eps_text(double eps, char text[48])
{
    snprintf(text, 48, "%.4g (%.4g/255)", eps, 255 * eps);
}

static parry_status save_results(parry_ctx *ctx, const attack_options *options, const parry_dataset *data,
                                 const parry_attack_result *result)
{
    const parry_dataset_info *info = parry_dataset_describe(data);
    parry_status status = PARRY_OK;
    if (options->save) {
        parry_dataset *adversaries;
        status = parry_dataset_create(ctx, result->adversaries, parry_dataset_labels(data), result->count,
                                      info->channels, info->height, info->width, info->classes, &adversaries);
        if (status == PARRY_OK)
            status = parry_dataset_write(ctx, adversaries, options->save);
        parry_dataset_free(adversaries);
    }
    if (status == PARRY_OK && options->save_images)
        status = parry_images_write(ctx, options->save_images, "adv", result->adversaries, result->count,
                                    info->channels, info->height, info->width);
    return status;
}

static void print_result(const parry_attack *attack, const parry_threat *threat, const parry_model *model,
                         const parry_dataset *data, const parry_attack_result *result)
{
    const char *norm = parry_options_find(parry_threat_options(), "norm")->choices[threat->norm];
    const char *loss = parry_options_find(parry_threat_options(), "loss")->choices[threat->loss];
    char eps[48];
    eps_text(threat->eps, eps);
    terminal_clear();
    FILE *out = results();
    fprintf(out, "%s against %s, %lld images of %s\n", parry_attack_label(attack), parry_model_describe(model)->name,
            (long long)result->count, parry_dataset_describe(data)->name);
    fprintf(out, "  %s eps %s, loss %s, %s\n", norm, eps, loss, threat->clip ? "clipped to [0,1]" : "not clipped");
    fprintf(out, "  clean accuracy   %6.2f %%\n", 100 * result->clean_acc);
    fprintf(out, "  robust accuracy  %6.2f %%   loss %.4g on the adversaries\n", 100 * result->robust_acc,
            result->adv_loss);
    fprintf(out, "  perturbation     mean %.4g, largest %.4g (%s)\n", result->mean_norm, result->max_norm, norm);
    fprintf(out, "  queries          %.4g forward, %.4g gradient per image\n",
            (double)result->forward_queries / (double)result->count,
            (double)result->gradient_queries / (double)result->count);
}

static json_t *result_json(const parry_attack *attack, const parry_threat *threat, const parry_model *model,
                           const parry_dataset *data, const parry_attack_result *result)
{
    return json_pack(
        "{s:o, s:o, s:s, s:s, s:s, s:f, s:s, s:b, s:I, s:f, s:f, s:f, s:f, s:f, s:I, s:I}", "model", model_json(model),
        "dataset", data_json(data), "attack", parry_attack_describe(attack)->name, "label", parry_attack_label(attack),
        "norm", parry_options_find(parry_threat_options(), "norm")->choices[threat->norm], "eps", threat->eps, "loss",
        parry_options_find(parry_threat_options(), "loss")->choices[threat->loss], "clip", threat->clip, "count",
        (json_int_t)result->count, "clean_acc", result->clean_acc, "robust_acc", result->robust_acc, "adv_loss",
        result->adv_loss, "mean_norm", result->mean_norm, "max_norm", result->max_norm, "forward_queries",
        (json_int_t)result->forward_queries, "gradient_queries", (json_int_t)result->gradient_queries);
}

parry_status cmd_attack(parry_ctx *ctx, const cli_args *args)
{
    const attack_options *options = args_values(args, &attack_command_table);
    const parry_threat *threat = args_values(args, parry_threat_options());
    parry_attack *attack = NULL;
    cli_inputs inputs = {0};
    parry_attack_result result = {0};
    parry_status status = make_attack(ctx, args, options->attack, &attack);
    if (status == PARRY_OK)
        status = parry_threat_check(ctx, threat);
    if (status == PARRY_OK)
        status = probe_folder(ctx, options->save_images);
    if (status == PARRY_OK)
        status = probe_folder(ctx, options->save);
    if (status == PARRY_OK)
        status = open_inputs(ctx, args, 1, &inputs);
    const parry_model *model = inputs.models[0];
    const parry_dataset *data = inputs.data;
    if (status == PARRY_OK)
        status = parry_attack_run(ctx, attack, threat, model, data, &result);
    if (status == PARRY_OK) {
        print_result(attack, threat, model, data, &result);
        status = save_results(ctx, options, data, &result);
    }
    if (status == PARRY_OK)
        status = write_json(ctx, args, result_json(attack, threat, model, data, &result));
    parry_attack_result_clear(&result);
    close_inputs(&inputs);
    parry_attack_free(attack);
    return status;
}
