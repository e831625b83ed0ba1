/* Defences: those that attack the moving model make it harder to fool with fresh adversaries, fine-tuning learns the
 * adversaries that it was given; and each says what it did. */
#include "support.h"

static const parry_threat threat = {.norm = PARRY_LINF, .eps = 0.1, .clip = true};

/* Accuracy on fresh PGD adversaries. */
static double robust_acc(parry_ctx *ctx, const parry_model *model, const parry_dataset *test)
{
    parry_attack *attack;
    parry_attack_result result;
    OK_IN(ctx, parry_attack_create(ctx, "pgd:steps=10:step=0", &attack));
    OK_IN(ctx, parry_attack_run(ctx, attack, &threat, model, test, &result));
    double robust = result.robust_acc;
    parry_attack_result_clear(&result);
    parry_attack_free(attack);
    return robust;
}

static parry_model *standard_model(parry_ctx *ctx, const parry_dataset *data)
{
    parry_model *model = make_model(ctx);
    parry_train_settings settings = make_settings(6, 4, 1e-3);
    OK_IN(ctx, parry_train(ctx, model, data, NULL, &settings));
    return model;
}

static int method_number(const char *name)
{
    int method = 0;
    while (strcmp(parry_harden_list()[method], name) != 0)
        method++;
    return method;
}

/* The methods that attack the moving model. */
static void hardens(void **state)
{
    const char *name = *state;
    parry_ctx *ctx = make_ctx(5, 2, NULL);
    parry_dataset *data = make_data(ctx, 240, 1), *test = make_data(ctx, 120, 2);
    parry_model *model = standard_model(ctx, data);
    parry_harden_settings harden = {.method = method_number(name), .share = 0.5};
    parry_train_settings settings = make_settings(12, 4, 1e-3);
    double before = robust_acc(ctx, model, test), clean;
    harden.attack = strcmp(name, "pgd") == 0 ? "pgd:steps=3:step=0" : NULL;
    OK_IN(ctx, parry_harden(ctx, model, data, test, &harden, &threat, &settings));
    OK_IN(ctx, parry_model_accuracy(ctx, model, test, &clean, NULL));
    assert_true(robust_acc(ctx, model, test) > before + 0.2);
    assert_true(clean > 0.9);
    parry_model_free(model);
    parry_dataset_free(data);
    parry_dataset_free(test);
    parry_ctx_free(ctx);
}

/* FGSM adversaries of `model` as a dataset. */
static parry_dataset *adversaries_of(parry_ctx *ctx, const parry_model *model, const parry_dataset *data)
{
    const parry_dataset_info *info = parry_dataset_describe(data);
    parry_attack *attack;
    parry_attack_result result;
    parry_dataset *adversaries;
    OK_IN(ctx, parry_attack_create(ctx, "fgsm", &attack));
    OK_IN(ctx, parry_attack_run(ctx, attack, &threat, model, data, &result));
    OK_IN(ctx, parry_dataset_create(ctx, result.adversaries, parry_dataset_labels(data), info->count, 1, SIDE, SIDE,
                                    CLASSES, &adversaries));
    parry_attack_result_clear(&result);
    parry_attack_free(attack);
    return adversaries;
}

/* Tuning learns the adversaries that it is given, those of unseen images too; fresh ones are another matter, and here
 * it stays as weak as it was. With clean images mixed in it does not forget them. */
static void finetune_learns_stale_adversaries(void **state)
{
    (void)state;
    parry_ctx *ctx = make_ctx(5, 2, NULL);
    parry_dataset *data = make_data(ctx, 240, 1), *test = make_data(ctx, 120, 2);
    parry_model *model = standard_model(ctx, data);
    parry_dataset *stale = adversaries_of(ctx, model, test);
    parry_harden_settings harden = {.method = method_number("finetune"), .share = 0.5, .adversaries = 120};
    parry_train_settings settings = make_settings(12, 4, 1e-3);
    double before, after, clean;
    OK_IN(ctx, parry_model_accuracy(ctx, model, stale, &before, NULL));
    OK_IN(ctx, parry_harden(ctx, model, data, test, &harden, &threat, &settings));
    OK_IN(ctx, parry_model_accuracy(ctx, model, stale, &after, NULL));
    OK_IN(ctx, parry_model_accuracy(ctx, model, test, &clean, NULL));
    assert_true(before < 0.6);
    assert_true(after > 0.9);
    assert_true(clean > 0.9);
    assert_true(robust_acc(ctx, model, test) < 0.6);
    parry_dataset_free(stale);
    parry_model_free(model);
    parry_dataset_free(data);
    parry_dataset_free(test);
    parry_ctx_free(ctx);
}

/* The last stage of the history after one short epoch of hardening; *count is how many stages there are. */
static json_t *stage_of(parry_ctx *ctx, const parry_harden_settings *harden, size_t *count)
{
    parry_dataset *data = make_data(ctx, 24, 1);
    parry_model *model = make_model(ctx);
    parry_train_settings settings = make_settings(1, 8, 1e-4);
    json_t *history;
    OK_IN(ctx, parry_train(ctx, model, data, NULL, &settings));
    OK_IN(ctx, parry_harden(ctx, model, data, NULL, harden, &threat, &settings));
    OK_IN(ctx, pr_json_parse(ctx, "history", parry_model_describe(model)->history, &history));
    json_t *stages = json_object_get(history, "stages");
    *count = json_array_size(stages);
    json_t *stage = json_incref(json_array_get(stages, *count - 1));
    json_decref(history);
    parry_model_free(model);
    parry_dataset_free(data);
    return stage;
}

static void history_names_the_defence(void **state)
{
    (void)state;
    parry_ctx *ctx = make_ctx(5, 2, NULL);
    static const struct {
        parry_harden_settings harden;
        const char *method;
        size_t stages;
    } cases[] = {
        {{.method = 0, .share = 0.5, .adversaries = 8}, "finetune", 2},
        {{.method = 1, .share = 0.5}, "mixed", 2},
        {{.method = 2, .preset = PR_PRESET_SHORT, .keep_weights = true}, "pgd (short)", 2},
        {{.method = 2, .preset = PR_PRESET_MADRY}, "pgd", 1},
    };
    for (size_t i = 0; i < PR_COUNT(cases); i++) {
        size_t count;
        json_t *stage = stage_of(ctx, &cases[i].harden, &count);
        json_t *attack = json_object_get(stage, "attack");
        assert_string_equal(json_string_value(json_object_get(stage, "method")), cases[i].method);
        assert_int_equal(count, cases[i].stages);
        assert_float_equal(json_number_value(json_object_get(json_object_get(attack, "threat"), "eps")), threat.eps,
                           1e-12);
        assert_non_null(json_string_value(json_object_get(attack, "label")));
        json_decref(stage);
    }
    parry_ctx_free(ctx);
}

/* The words of every method and preset are options with values in range. */
static void defaults_are_options(void **state)
{
    (void)state;
    parry_ctx *ctx = make_ctx(0, 1, NULL);
    const parry_options *tables[] = {parry_harden_options(), parry_train_options(), parry_threat_options()};
    parry_params *params[PR_COUNT(tables)];
    for (size_t t = 0; t < PR_COUNT(tables); t++)
        OK_IN(ctx, parry_params_create(ctx, tables[t], &params[t]));
    int words = 0;
    for (int method = 0; parry_harden_list()[method]; method++)
        for (int preset = 0; preset < PR_PRESET_COUNT; preset++) {
            char text[256], *rest = text;
            snprintf(text, sizeof text, "%s", parry_harden_defaults(method, preset));
            for (char *word; (word = strsep(&rest, " ")); words++) {
                char *name = strsep(&word, "=");
                size_t t = 0;
                while (t < PR_COUNT(tables) && !parry_options_find(tables[t], name))
                    t++;
                assert_true(t < PR_COUNT(tables));
                OK_IN(ctx, parry_params_set(ctx, params[t], name, word));
            }
        }
    assert_true(words > 0);
    assert_null(parry_harden_defaults(99, 0));
    for (size_t t = 0; t < PR_COUNT(tables); t++)
        parry_params_free(params[t]);
    parry_ctx_free(ctx);
}

/* Allocations fail one after the other (all of the first, then ever fewer): an error, no leak, and the model as it was.
 */
static void failed_allocations_leave_the_model(void **state)
{
    (void)state;
    parry_ctx *ctx = make_ctx(5, 1, NULL);
    parry_dataset *data = make_data(ctx, 8, 1);
    parry_model *model = make_model(ctx);
    parry_train_settings settings = make_settings(1, 8, 1e-3);
    char before[PR_SHA256_HEX], after[PR_SHA256_HEX];
    model_digest(ctx, model, before);
    for (int method = 0; method < 2; method++) {
        parry_harden_settings harden = {.method = method, .share = 0.5, .adversaries = 4};
        parry_status status = PARRY_NO_MEMORY;
        for (long n = 1; status == PARRY_NO_MEMORY; n += 1 + n / 20) {
            pr_alloc_fail_at(n);
            status = parry_harden(ctx, model, data, NULL, &harden, &threat, &settings);
            pr_alloc_fail_at(0);
            if (status == PARRY_NO_MEMORY) {
                model_digest(ctx, model, after);
                assert_string_equal(before, after);
            }
        }
        OK_IN(ctx, status);
        model_digest(ctx, model, before);
    }
    parry_model_free(model);
    parry_dataset_free(data);
    parry_ctx_free(ctx);
}

static void bad_requests_are_refused(void **state)
{
    (void)state;
    parry_ctx *ctx = make_ctx(0, 1, NULL);
    parry_dataset *data = make_data(ctx, 24, 1);
    parry_model *model = make_model(ctx);
    parry_train_settings settings = make_settings(1, 8, 1e-4);
    parry_threat negative = threat;
    negative.eps = -1;
    const struct {
        parry_harden_settings harden;
        const parry_threat *threat;
        parry_status status;
        const char *words;
    } cases[] = {
        {{.method = 7, .share = 0.5, .adversaries = 8}, &threat, PARRY_INVALID, "--method"},
        {{.method = 1, .share = 1.5, .adversaries = 8}, &threat, PARRY_INVALID, "--share"},
        {{.method = 0, .share = 0, .adversaries = 8}, &threat, PARRY_INVALID, "--share"},
        {{.method = 0, .share = 0.01, .adversaries = 8}, &threat, PARRY_INVALID, "792 clean images"},
        {{.method = 1, .share = 0.5, .adversaries = 8}, &negative, PARRY_INVALID, "eps"},
        {{.method = 1, .share = 0.5, .adversaries = 8, .attack = "pgx"}, &threat, PARRY_NOT_FOUND, "pgd"},
    };
    for (size_t i = 0; i < PR_COUNT(cases); i++) {
        assert_int_equal(parry_harden(ctx, model, data, NULL, &cases[i].harden, cases[i].threat, &settings),
                         cases[i].status);
        assert_non_null(strstr(parry_ctx_error(ctx), cases[i].words));
    }
    parry_model_free(model);
    parry_dataset_free(data);
    parry_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finetune_learns_stale_adversaries),
        {"mixed hardens", hardens, NULL, NULL, "mixed"},
        {"pgd hardens", hardens, NULL, NULL, "pgd"},
        cmocka_unit_test(history_names_the_defence),
        cmocka_unit_test(defaults_are_options),
        cmocka_unit_test(failed_allocations_leave_the_model),
        cmocka_unit_test(bad_requests_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
