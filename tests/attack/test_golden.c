/* Golden vectors: the adversaries of an independent implementation, see tests/golden/attack/README.md. */
#include "base/file.h"
#include "base/json.h"
#include "support.h"

enum { ROW = 784, CLASSES = 10, FILE_LIMIT = 1 << 20 };

static json_t *read_vectors(parry_ctx *ctx, const char *name)
{
    char path[1024];
    uint8_t *text;
    size_t size;
    json_t *vectors;
    snprintf(path, sizeof path, "%s/attack/%s.json", getenv("PARRY_TEST_DATA"), name);
    assert_int_equal(pr_file_read(ctx, path, FILE_LIMIT, &text, &size), PARRY_OK);
    assert_int_equal(pr_json_parse(ctx, path, (const char *)text, &vectors), PARRY_OK);
    pr_free(text);
    return vectors;
}

static int choice(const json_t *object, const char *option)
{
    const char *const *choices = parry_options_find(parry_threat_options(), option)->choices;
    for (int i = 0; choices[i]; i++)
        if (strcmp(choices[i], json_string_value(json_object_get(object, option))) == 0)
            return i;
    fail_msg("a golden vector has an unknown %s", option);
    return -1;
}

static double item(const json_t *object, const char *list, size_t i)
{
    return json_number_value(json_array_get(json_object_get(object, list), i));
}

/* A pixel may differ where a later gradient passes through zero; the logits then still agree. */
static void check_image(const char *spec, const json_t *expected, const float *adv, const float *logits)
{
    const size_t places = json_array_size(json_object_get(expected, "places"));
    const int index = (int)json_integer_value(json_object_get(expected, "index"));
    size_t same = 0;
    double largest = 1;
    for (size_t k = 0; k < CLASSES; k++)
        largest = fmax(largest, fabs(item(expected, "logits", k)));
    for (size_t k = 0; k < CLASSES; k++)
        if (fabs(logits[k] - item(expected, "logits", k)) > 2e-4 * largest)
            fail_msg("%s, image %d: logit %zu is %.6f, expected %.6f", spec, index, k, logits[k],
                     item(expected, "logits", k));
    for (size_t i = 0; i < places; i++)
        same += fabs(adv[(size_t)item(expected, "places", i)] - item(expected, "pixels", i)) < 2e-5;
    if (same + 1 < places)
        fail_msg("%s, image %d: %zu of %zu pixels as expected", spec, index, same, places);
}

static parry_threat threat_of(const json_t *vector)
{
    return (parry_threat){
        .norm = choice(vector, "norm"),
        .eps = json_number_value(json_object_get(vector, "eps")),
        .loss = choice(vector, "loss"),
        .clip = json_is_true(json_object_get(vector, "clip")),
        .criterion = json_string_value(json_object_get(vector, "criterion")),
        .target = json_string_value(json_object_get(vector, "target")),
    };
}

static void check_case(parry_ctx *ctx, const json_t *vector, const parry_model *model, const parry_dataset *data)
{
    static float images[ROW];
    const parry_threat threat = threat_of(vector);
    const char *spec = json_string_value(json_object_get(vector, "spec"));
    const json_t *expected;
    size_t i;
    json_array_foreach(json_object_get(vector, "images"), i, expected)
    {
        const int64_t index = json_integer_value(json_object_get(expected, "index"));
        parry_dataset *one;
        assert_int_equal(parry_dataset_images(ctx, data, index, 1, images), PARRY_OK);
        assert_int_equal(
            parry_dataset_create(ctx, images, parry_dataset_labels(data) + index, 1, 1, 28, 28, CLASSES, &one),
            PARRY_OK);
        parry_attack_result r = run_attack(ctx, spec, threat, model, one);
        check_image(spec, expected, r.adversaries, r.logits);
        parry_attack_result_clear(&r);
        parry_dataset_free(one);
    }
}

static void test_golden_vectors(void **state)
{
    (void)state;
    if (!getenv("PARRY_DATA") || !getenv("PARRY_TEST_DATA")) {
        print_message("skipped: PARRY_DATA, the folder with the reference network, is not set\n");
        skip();
    }
    parry_ctx *ctx = make_ctx(1, 0);
    parry_dataset *data;
    assert_int_equal(parry_dataset_open(ctx, "mnist", PARRY_TEST, &data), PARRY_OK);
    for (size_t a = 0; pr_attack_impl_at(a); a++) {
        json_t *vectors = read_vectors(ctx, pr_attack_impl_at(a)->info.name), *vector;
        char path[1024];
        size_t i;
        parry_model *model;
        snprintf(path, sizeof path, "%s/%s", getenv("PARRY_DATA"),
                 json_string_value(json_object_get(vectors, "model")));
        if (parry_model_load(ctx, path, data, &model) != PARRY_OK)
            fail_msg("%s", parry_ctx_error(ctx));
        assert_true(json_array_size(json_object_get(vectors, "cases")) > 0);
        json_array_foreach(json_object_get(vectors, "cases"), i, vector) check_case(ctx, vector, model, data);
        parry_model_free(model);
        json_decref(vectors);
    }
    parry_dataset_free(data);
    parry_ctx_free(ctx);
}

/* The smallest eps of FGSM against a search among many radii. */
static void check_minimal(parry_ctx *ctx, const json_t *vectors, const json_t *vector, const parry_model *model,
                          const parry_dataset *data)
{
    const parry_eps_search search = {.scan = 150, .resolution = 1e-4};
    const parry_threat threat = threat_of(vector);
    const char *spec = json_string_value(json_object_get(vector, "spec"));
    const json_t *expected;
    size_t i;
    parry_attack *attack;
    parry_attack_result r;
    assert_int_equal(parry_attack_create(ctx, spec, &attack), PARRY_OK);
    if (parry_attack_minimal_eps(ctx, attack, &threat, &search, model, data, &r) != PARRY_OK)
        fail_msg("%s", parry_ctx_error(ctx));
    json_array_foreach(json_object_get(vector, "minimal_eps"), i, expected)
    {
        const int index = (int)item(vectors, "index", i);
        const double eps = json_number_value(expected),
                     step = threat.eps / json_number_value(json_object_get(vectors, "radii"));
        if (json_is_null(expected) ? !isnan(r.minimal_eps[index])
                                   : !(fabs(r.minimal_eps[index] - eps) <= search.resolution + step))
            fail_msg("%s, norm %d, image %d: the smallest eps is %.6f, expected %.6f", spec, threat.norm, index,
                     r.minimal_eps[index], json_is_null(expected) ? NAN : eps);
    }
    parry_attack_result_clear(&r);
    parry_attack_free(attack);
}

static void test_smallest_eps(void **state)
{
    (void)state;
    if (!getenv("PARRY_DATA") || !getenv("PARRY_TEST_DATA"))
        skip();
    parry_ctx *ctx = make_ctx(1, 0);
    json_t *vectors = read_vectors(ctx, "minimal_eps"), *vector;
    parry_dataset *all, *data;
    parry_model *model;
    char path[1024];
    size_t i;
    assert_int_equal(parry_dataset_open(ctx, "mnist", PARRY_TEST, &all), PARRY_OK);
    assert_int_equal(parry_dataset_first(ctx, all, 20, &data), PARRY_OK);
    snprintf(path, sizeof path, "%s/%s", getenv("PARRY_DATA"), json_string_value(json_object_get(vectors, "model")));
    assert_int_equal(parry_model_load(ctx, path, data, &model), PARRY_OK);
    assert_true(json_array_size(json_object_get(vectors, "cases")) > 0);
    json_array_foreach(json_object_get(vectors, "cases"), i, vector) check_minimal(ctx, vectors, vector, model, data);
    parry_model_free(model);
    parry_dataset_free(data);
    parry_dataset_free(all);
    json_decref(vectors);
    parry_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_golden_vectors),
        cmocka_unit_test(test_smallest_eps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
