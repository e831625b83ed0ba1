/* Declared preprocessing: JSON and presets, files beside a model, who goes before whom, channel order, and what is
 * saved. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"
#include "base/json.h"
#include "base/rng.h"
#include "data/data.h"
#include "model/network.h"
#include "../support/context.h"

enum { SIDE = 6, CLASSES = 4, PIXELS = 3 * SIDE * SIDE };
static char folder[] = "/tmp/parry-preprocess-XXXXXX";

static void in_folder(const char *name, char path[128])
{
    snprintf(path, 128, "%s/%s", folder, name);
}

static void write_text(const char *name, const char *text)
{
    char path[128];
    in_folder(name, path);
    OK_IN(ctx, parry_file_write(ctx, path, text, strlen(text)));
}

static void forget(const char *name)
{
    char path[128];
    in_folder(name, path);
    unlink(path);
}

static char *flags_of(const parry_preprocess *preprocess)
{
    char *text;
    OK_IN(ctx, parry_preprocess_text(ctx, preprocess, &text));
    return text;
}

static parry_model *load(const char *name, const parry_preprocess *flags)
{
    char path[128];
    parry_model *model;
    in_folder(name, path);
    OK_IN(ctx, parry_model_load_as(ctx, path, flags, NULL, &model));
    return model;
}

static void assert_flags(const parry_model *model, const char *flags, const char *source)
{
    char *text = flags_of(parry_model_describe(model)->preprocess);
    assert_string_equal(text, flags);
    assert_string_equal(parry_model_describe(model)->preprocess_source, source);
    parry_string_free(text);
}

/* Logits, and the gradient with respect to the image before it is reversed, scaled and shifted. */
static void outputs_of(const parry_model *model, bool reversed, const float scale[3], const float shift[3],
                       float out[CLASSES], float gradient[PIXELS])
{
    const int32_t label = 1;
    float x[PIXELS], dy[PIXELS];
    pr_rng rng = pr_rng_init(1, PR_STREAM_TEST, 5);
    for (int i = 0; i < PIXELS; i++)
        x[i] = pr_rng_unit(&rng);
    float y[PIXELS];
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < SIDE * SIDE; i++)
            y[c * SIDE * SIDE + i] = x[(reversed ? 2 - c : c) * SIDE * SIDE + i] * scale[c] + shift[c];
    OK_IN(ctx, parry_model_logits(ctx, model, y, 1, out));
    OK_IN(ctx, parry_model_input_gradient(ctx, model, "ce", y, &label, 1, NULL, dy));
    for (int c = 0; c < 3; c++)
        for (int i = 0; i < SIDE * SIDE; i++)
            gradient[(reversed ? 2 - c : c) * SIDE * SIDE + i] = dy[c * SIDE * SIDE + i] * scale[c];
}

static void assert_close(const float *found, const float *expected, int count)
{
    float most = 0;
    for (int i = 0; i < count; i++)
        most = fmaxf(most, fabsf(expected[i]));
    for (int i = 0; i < count; i++)
        assert_float_equal(found[i], expected[i], 1e-5 * (double)most);
}

static const float ones[3] = {1, 1, 1}, zeros[3] = {0, 0, 0};

/* A network that was declared to take BGR says of an image what the plain one says of the image reversed, scaled and
 * shifted, and so does the copy that it is saved as. */
static void check_declared(const char *file, const parry_preprocess *flags, bool reversed, const float scale[3],
                           const float shift[3])
{
    float expected[CLASSES], found[CLASSES], dx_expected[PIXELS], dx_found[PIXELS];
    char copy[128];
    parry_model *plain = load(file, NULL), *declared = load(file, flags);
    outputs_of(plain, reversed, scale, shift, expected, dx_expected);
    outputs_of(declared, false, ones, zeros, found, dx_found);
    assert_close(found, expected, CLASSES);
    assert_close(dx_found, dx_expected, PIXELS);
    in_folder("copy.onnx", copy);
    OK_IN(ctx, parry_model_save(ctx, declared, copy));
    parry_model *saved = load("copy.onnx", NULL);
    assert_string_equal(parry_model_describe(saved)->preprocess_source, "metadata");
    outputs_of(saved, false, ones, zeros, expected, dx_expected);
    assert_memory_equal(found, expected, sizeof found);
    assert_memory_equal(dx_found, dx_expected, sizeof dx_found);
    parry_model_free(plain);
    parry_model_free(declared);
    parry_model_free(saved);
    unlink(copy);
}

static void test_channel_order_and_scaling(void **state)
{
    (void)state;
    parry_preprocess flags = {
        .range = {2, {0, 255}}, .mean = {3, {10, 20, 30}}, .std = {3, {1, 2, 4}}, .channel_order = PARRY_ORDER_BGR};
    const float scale[3] = {255, 127.5f, 63.75f}, shift[3] = {-10, -10, -7.5f};
    check_declared("conv.onnx", &flags, true, scale, shift);  /* folded into the convolution */
    check_declared("dense.onnx", &flags, true, scale, shift); /* a node of its own */
    flags.channel_order = PARRY_ORDER_RGB;
    check_declared("conv.onnx", &flags, false, scale, shift);
    flags = (parry_preprocess){.preset = "caffe"};
    check_declared("conv.onnx", &flags, true, (float[]){255, 255, 255}, (float[]){-103.939f, -116.779f, -123.68f});
}

/* A convolution or a dense layer takes scale and shift into its weights, a convolution the order too: no step of a plan
 * is left for them. The declaration stays what it was. */
static void test_preprocessing_costs_nothing(void **state)
{
    static const char *const purposes[] = {"inference", "gradient"};
    (void)state;
    const parry_preprocess flags = {.preset = "imagenet", .channel_order = PARRY_ORDER_BGR};
    for (int convolution = 0; convolution < 2; convolution++)
        for (size_t p = 0; p < PR_COUNT(purposes); p++) {
            char *plain, *declared;
            parry_model *model = load(convolution ? "conv.onnx" : "dense.onnx", NULL);
            OK_IN(ctx, parry_model_plan_text(ctx, model, purposes[p], PARRY_F32, &plain));
            parry_model_free(model);
            model = load(convolution ? "conv.onnx" : "dense.onnx", &flags);
            assert_int_equal(parry_model_describe(model)->preprocess->channel_order, PARRY_ORDER_BGR);
            assert_float_equal(parry_model_describe(model)->preprocess->mean.value[0], 0.485, 0);
            OK_IN(ctx, parry_model_plan_text(ctx, model, purposes[p], PARRY_F32, &declared));
            assert_null(strstr(declared, "Affine"));
            assert_true(convolution == !strstr(declared, "Gather"));
            if (convolution)
                assert_string_equal(declared, plain);
            parry_string_free(plain);
            parry_string_free(declared);
            parry_model_free(model);
        }
}

static void test_who_goes_before_whom(void **state)
{
    (void)state;
    parry_model *model = load("conv.onnx", NULL);
    assert_flags(model, "", "");
    parry_model_free(model);

    write_text("conv.json", "{\"preprocess\": {\"range\": 255, \"mean\": [1, 2, 3], \"resize\": \"squash\"}}");
    model = load("conv.onnx", NULL);
    assert_flags(model, "--range 255 --mean 1,2,3 --resize squash", "conv.json");
    parry_model_free(model);

    model =
        load("conv.onnx", &(parry_preprocess){.std = {1, {2}}, .resize_size = 9}); /* range, mean and std go together */
    assert_flags(model, "--std 2 --resize squash --resize-size 9", "conv.json, flags");
    parry_model_free(model);

    write_text("conv.preprocess.json", "{\"layout\": \"NCHW\"}"); /* before conv.json */
    model = load("conv.onnx", NULL);
    assert_flags(model, "--layout nchw", "conv.preprocess.json");
    parry_model_free(model);
    forget("conv.preprocess.json");

    write_text("conv.json",
               "{\"model\": {\"name\": \"conv.onnx\"}, \"input\": [3, 6, 6], \"clean_acc\": 0.5}"); /* results */
    model = load("conv.onnx", NULL);
    assert_flags(model, "", "");
    parry_model_free(model);
    forget("conv.json");
}

static void test_model_cards(void **state)
{
    (void)state;
    write_text("card.json",
               "{\"input\": {\"layout\": \"NCHW\", \"channel_order\": \"BGR\"}, \"preprocessing\": {\"decode\": "
               "\"8-bit RGB, values 0..255\","
               "\"resize\": \"shorter side to 146 px, bilinear with antialiasing\", \"crop\": \"centre 128x128\","
               "\"channel_order\": \"BGR\", \"mean\": [104, 117, 123], \"std\": [1, 1, 1], \"formula\": \"words\"},"
               "\"verified\": {\"runtime\": \"r\", \"a\": {\"top1\": 0.61}, \"b\": {\"top1\": 0.58}}}");
    char path[128];
    parry_preprocess read;
    pr_claims claims;
    bool found;
    in_folder("card.json", path);
    OK_IN(ctx, pr_preprocess_file(ctx, path, &read, &claims, &found));
    char *flags = flags_of(&read);
    assert_true(found);
    assert_string_equal(flags, "--range 0,255 --mean 104,117,123 --std 1,1,1 --channel-order bgr --layout nchw "
                               "--resize crop-round --resize-size 146");
    parry_string_free(flags);
    assert_int_equal(claims.count, 2);
    assert_float_equal(claims.least, 0.58, 1e-12);
}

/* What lies beside a network that was fetched says all that its reader asks. */
static void test_cards_of_the_catalogue(void **state)
{
    (void)state;
    static const char *const expected[] = {
        "--range 0,1 --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --channel-order rgb --layout nchw --resize crop "
        "--resize-size 256",
        "--range 0,1 --channel-order rgb --layout nchw --resize crop --resize-size 256",
    };
    size_t count = 0;
    for (const pr_remote_model *model; (model = pr_remote_model_at(count)); count++) {
        char path[128];
        parry_preprocess read;
        pr_claims claims;
        bool found;
        assert_true(count < PR_COUNT(expected));
        write_text("card.json", model->preprocess);
        in_folder("card.json", path);
        OK_IN(ctx, pr_preprocess_file(ctx, path, &read, &claims, &found));
        char *flags = flags_of(&read);
        assert_true(found);
        assert_string_equal(flags, expected[count]);
        parry_string_free(flags);
    }
    assert_int_equal(count, PR_COUNT(expected));
}

static void test_bad_declarations(void **state)
{
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"{\"preprocess\": {\"men\": 1}}", "unknown key \"men\""},
        {"{\"preprocess\": 3}", "expected an object"},
        {"{\"range\": [1, 1]}", "\"range\" is empty"},
        {"{\"range\": []}", "\"range\""},
        {"{\"mean\": [1, 2]}", "2 means or deviations for 3 channels"},
        {"{\"std\": 0}", "\"std\" must be positive"},
        {"{\"std\": 1e-300}", "too small to divide by"},
        {"{\"std\": \"one\"}", "\"std\" must be a number"},
        {"{\"channel_order\": \"RBG\"}", "one of rgb, bgr"},
        {"{\"resize\": \"stretch\"}", "squash-nearest"},
        {"{\"resize_size\": -3}", "resize_size"},
        {"{\"preprocessing\": {\"resize\": \"as you like\"}}", "not understood"},
        {"{\"preprocessing\": {\"decode\": \"as you like\"}}", "not understood"},
        {"{", "conv.json"},
    };
    (void)state;
    for (size_t i = 0; i < PR_COUNT(cases); i++) {
        char path[128];
        parry_model *model;
        write_text("conv.json", cases[i].text);
        in_folder("conv.onnx", path);
        assert_int_equal(parry_model_load(ctx, path, NULL, &model), PARRY_FORMAT);
        check_says(ctx, cases[i].words);
    }
    forget("conv.json");
}

/* The fuzzer's seeds: what is understood scales by finite numbers, the rest is refused by name. */
static void test_seeds(void **state)
{
    static const char *const seeds[] = {"own", "within", "card", "tiny-std", "deep"};
    (void)state;
    for (size_t i = 0; i < PR_COUNT(seeds); i++) {
        char path[512];
        parry_preprocess read;
        pr_claims claims;
        pr_affine affine;
        bool found;
        snprintf(path, sizeof path, "%s/preprocess/%s", getenv("PARRY_FUZZ_CORPUS"), seeds[i]);
        parry_status status = pr_preprocess_file(ctx, path, &read, &claims, &found);
        if (status == PARRY_OK)
            status = pr_preprocess_affine(ctx, path, &read, 3, &affine);
        assert_int_equal(status, i < 3 ? PARRY_OK : PARRY_FORMAT);
        if (status == PARRY_OK)
            assert_true(isfinite((float)affine.scale[2]) && isfinite((float)affine.shift[2]));
        else
            assert_non_null(strstr(parry_ctx_error(ctx), path));
    }
}

/* Flags that are wrong for any model, before one is loaded and where one is. */
static void test_bad_flags(void **state)
{
    static const struct {
        parry_preprocess flags;
        const char *words;
    } cases[] = {
        {{.range = {2, {255, 0}}}, "\"range\" is empty: it goes from 255 to 0"},
        {{.range = {3, {0, 1, 2}}}, "--range has 3 numbers"},
        {{.std = {1, {0}}}, "\"std\" must be positive"},
        {{.std = {3, {1, 1, 0}}}, "\"std\" must be positive"},
        {{.std = {1, {1e-300}}}, "too small to divide by"},
        {{.mean = {3, {1, 2, 3}}, .std = {2, {1, 1}}}, "--mean has 3 numbers and --std 2"},
        {{.preset = "imagnet"}, "did you mean imagenet?"},
    };
    static const parry_preprocess right[] = {
        {0},
        {.range = {1, {255}}},
        {.mean = {3, {1, 2, 3}}, .std = {1, {2}}},
        {.mean = {2, {1, 2}}},
        {.preset = "tf"},
        {.preset = "missing.json", .channel_order = PARRY_ORDER_BGR},
    };
    (void)state;
    for (size_t i = 0; i < PR_COUNT(cases); i++) {
        char path[128];
        parry_model *model;
        in_folder("conv.onnx", path);
        check_error(ctx, parry_preprocess_check_flags(ctx, &cases[i].flags), PARRY_INVALID, cases[i].words);
        check_error(ctx, parry_model_load_as(ctx, path, &cases[i].flags, NULL, &model), PARRY_INVALID, cases[i].words);
    }
    for (size_t i = 0; i < PR_COUNT(right); i++)
        OK_IN(ctx, parry_preprocess_check_flags(ctx, &right[i]));
}

static void test_presets(void **state)
{
    parry_preprocess preset;
    (void)state;
    for (const char *const *name = parry_preprocess_presets(); *name; name++)
        OK_IN(ctx, parry_preprocess_preset(ctx, *name, &preset));
    assert_int_equal(parry_preprocess_preset(ctx, "imagnet", &preset), PARRY_INVALID);
    assert_non_null(strstr(parry_ctx_error(ctx), "did you mean imagenet?"));
}

/* ---- the check -------------------------------------------------------------------------------------------------- */

enum { IMAGES = 64 };

/* Class k is of brightness (k + 1/2) / CLASSES throughout, and the network takes the class whose brightness is nearest.
 */
static double level(int k)
{
    return (k + 0.5) / CLASSES;
}

static void make_brightness(const char *name)
{
    char path[128];
    pr_onnx_model file = {.tail = PR_OP_IDENTITY};
    pr_value at, in[3];
    int32_t w, b;
    const int64_t image[] = {PR_BATCH, 3, SIDE, SIDE}, flat[] = {PR_BATCH, PIXELS};
    const pr_attrs attrs = {.shape.to = pr_dims_make(2, flat)};
    OK_IN(ctx, pr_strdup(ctx, "test", &file.producer));
    OK_IN(ctx, pr_graph_create(ctx, &file.graph));
    OK_IN(ctx, pr_weights_create(ctx, &file.weights));
    OK_IN(ctx, pr_weights_add(ctx, file.weights, "w", PR_WEIGHT_KERNEL, 2, (int64_t[]){CLASSES, PIXELS}, &w));
    OK_IN(ctx, pr_weights_add(ctx, file.weights, "b", PR_WEIGHT_VECTOR, 1, (int64_t[]){CLASSES}, &b));
    for (int k = 0; k < CLASSES; k++) {
        for (int i = 0; i < PIXELS; i++)
            file.weights->items[w].data[k * PIXELS + i] = (float)(2 * level(k) / PIXELS);
        file.weights->items[b].data[k] = (float)(-level(k) * level(k));
    }
    OK_IN(ctx, pr_graph_input(ctx, file.graph, "x", pr_dims_make(4, image), &at));
    file.graph->input = at;
    OK_IN(ctx, pr_graph_node(ctx, file.graph, PR_OP_RESHAPE, "flat", &attrs, &at, 1, &in[0]));
    OK_IN(ctx, pr_graph_weight(ctx, file.graph, file.weights, w, &in[1]));
    OK_IN(ctx, pr_graph_weight(ctx, file.graph, file.weights, b, &in[2]));
    OK_IN(ctx, pr_graph_node(ctx, file.graph, PR_OP_GEMM, "dense", NULL, in, 3, &file.graph->logits));
    in_folder(name, path);
    OK_IN(ctx, pr_onnx_write(ctx, path, &file));
    pr_onnx_clear(&file);
}

static parry_dataset *brightnesses(int first_label)
{
    static float pixels[IMAGES * PIXELS];
    int32_t labels[IMAGES];
    parry_dataset *made;
    for (int i = 0; i < IMAGES; i++) {
        labels[i] = i < first_label ? -1 : i % CLASSES;
        for (int k = 0; k < PIXELS; k++)
            pixels[i * PIXELS + k] = (float)level(i % CLASSES);
    }
    OK_IN(ctx, parry_dataset_create(ctx, pixels, labels, IMAGES, 3, SIDE, SIDE, CLASSES, &made));
    return made;
}

static parry_preprocess_check check(const parry_preprocess *flags, const parry_dataset *dataset)
{
    parry_preprocess_check result;
    parry_model *model = load("light.onnx", flags);
    OK_IN(ctx, parry_model_check_preprocess(ctx, model, dataset, &result));
    parry_model_free(model);
    return result;
}

static void test_wrong_declarations_are_noticed(void **state)
{
    (void)state;
    make_brightness("light.onnx");
    parry_dataset *all = brightnesses(0), *some = brightnesses(IMAGES / 2), *none = brightnesses(IMAGES);
    parry_preprocess_check c = check(NULL, all);
    assert_int_equal(c.count, IMAGES);
    assert_false(c.suspicious);
    assert_float_equal(c.accuracy, 1, 0);

    c = check(&(parry_preprocess){.range = {1, {255}}}, all); /* everything is bright */
    assert_true(c.suspicious);
    assert_float_equal(c.accuracy, 0.25, 0);
    assert_float_equal(c.better_accuracy, 1, 0);
    char *flags = flags_of(&c.better);
    assert_string_equal(flags, "--range 0,1 --channel-order rgb");
    parry_string_free(flags);

    c = check(&(parry_preprocess){.range = {2, {0, 0.82}}}, all); /* some wrong, but nothing better was claimed */
    assert_false(c.suspicious);
    assert_true(c.accuracy < 0.8);
    c = check(&(parry_preprocess){.range = {2, {0, 0.7}}}, all); /* half of them wrong: another is clearly better */
    assert_true(c.suspicious);
    assert_float_equal(c.accuracy, 0.5, 0);
    assert_float_equal(c.better_accuracy, 1, 0);
    assert_float_equal(c.better.range.value[1], 1, 0);
    write_text("light.json", "{\"clean_test_accuracy\": {\"a\": 1.0, \"b\": 0.99}}");
    c = check(&(parry_preprocess){.range = {2, {0, 0.82}}}, all);
    assert_true(c.suspicious);
    assert_float_equal(c.claim, 0.99, 1e-12);
    assert_float_equal(c.better_accuracy, 1, 0);
    c = check(NULL, all);
    assert_false(c.suspicious);
    forget("light.json");

    assert_int_equal(check(NULL, some).count, IMAGES / 2);
    assert_int_equal(check(NULL, none).count, 0);
    parry_dataset_free(all);
    parry_dataset_free(some);
    parry_dataset_free(none);
    forget("light.onnx");
}

static void test_eps_in_the_networks_units(void **state)
{
    char words[PARRY_EPS_ROOM];
    (void)state;
    parry_model *model = load("conv.onnx", &(parry_preprocess){.range = {1, {255}}, .std = {3, {1, 2, 5}}});
    assert_string_equal(parry_eps_words(parry_model_describe(model), 0.1, words),
                        "0.1 (25.5/255; 25.5, 12.75, 5.1 in the network's units)");
    parry_model_free(model);
    model = load("conv.onnx", NULL);
    assert_string_equal(parry_eps_words(parry_model_describe(model), 0.1, words),
                        "0.1 (25.5/255; 0.1 in the network's units)");
    parry_model_free(model);
}

/* A convolution or a dense layer over 3 x SIDE x SIDE, without a declaration. */
static void make_network(const char *name, bool convolution)
{
    char path[128];
    pr_onnx_model file = {.tail = PR_OP_IDENTITY};
    pr_value at, in[2];
    int32_t w;
    const int64_t image[] = {PR_BATCH, 3, SIDE, SIDE}, kernel[] = {CLASSES, 3, SIDE, SIDE}, dense[] = {CLASSES, PIXELS};
    OK_IN(ctx, pr_strdup(ctx, "test", &file.producer));
    OK_IN(ctx, pr_graph_create(ctx, &file.graph));
    OK_IN(ctx, pr_weights_create(ctx, &file.weights));
    OK_IN(ctx, pr_weights_add(ctx, file.weights, "w", PR_WEIGHT_KERNEL, convolution ? 4 : 2,
                              convolution ? kernel : dense, &w));
    pr_rng rng = pr_rng_init(2, PR_STREAM_TEST, 1);
    for (int i = 0; i < CLASSES * PIXELS; i++)
        file.weights->items[w].data[i] = pr_rng_normal(&rng) / PIXELS;
    OK_IN(ctx, pr_graph_input(ctx, file.graph, "x", pr_dims_make(4, image), &at));
    file.graph->input = at;
    const pr_attrs flat = {.shape.to = pr_dims_make(2, (int64_t[]){PR_BATCH, convolution ? CLASSES : PIXELS})};
    pr_attrs conv = {.conv = {.kernel = {SIDE, SIDE}, .stride = {1, 1}, .dilation = {1, 1}, .group = 1}};
    OK_IN(ctx, pr_graph_weight(ctx, file.graph, file.weights, w, &in[1]));
    in[0] = at;
    if (convolution)
        OK_IN(ctx, pr_graph_node(ctx, file.graph, PR_OP_CONV, "conv", &conv, in, 2, &in[0]));
    OK_IN(ctx, pr_graph_node(ctx, file.graph, PR_OP_RESHAPE, "flat", &flat, in, 1,
                             convolution ? &file.graph->logits : &in[0]));
    if (!convolution)
        OK_IN(ctx, pr_graph_node(ctx, file.graph, PR_OP_GEMM, "dense", NULL, in, 2, &file.graph->logits));
    in_folder(name, path);
    OK_IN(ctx, pr_onnx_write(ctx, path, &file));
    pr_onnx_clear(&file);
}

static int set_up(void **state)
{
    if (set_up_context(state) != 0 || !mkdtemp(folder))
        return -1;
    make_network("conv.onnx", true);
    make_network("dense.onnx", false);
    return 0;
}

static int tear_down(void **state)
{
    forget("conv.onnx");
    forget("dense.onnx");
    forget("card.json");
    rmdir(folder);
    return tear_down_context(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_channel_order_and_scaling),
        cmocka_unit_test(test_preprocessing_costs_nothing),
        cmocka_unit_test(test_who_goes_before_whom),
        cmocka_unit_test(test_model_cards),
        cmocka_unit_test(test_cards_of_the_catalogue),
        cmocka_unit_test(test_bad_declarations),
        cmocka_unit_test(test_seeds),
        cmocka_unit_test(test_bad_flags),
        cmocka_unit_test(test_presets),
        cmocka_unit_test(test_wrong_declarations_are_noticed),
        cmocka_unit_test(test_eps_in_the_networks_units),
    };
    return cmocka_run_group_tests_name("preprocess", tests, set_up, tear_down);
}
