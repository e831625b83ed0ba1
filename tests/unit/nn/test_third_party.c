/* Networks of others through the engine, as an attack runs them: logits are those that an independent ONNX runtime
 * computed, gradients of the cross-entropy with respect to the input are PyTorch's.
 *
 * Without arguments: the networks below $PARRY_DATA against golden vectors (tests/golden/third_party.txt, made by
 * tests/torch_reference.py). With a mode of that script: against what it computes now, where PyTorch is installed; and
 * with a folder behind it: against what it has written there. */
#include <sys/wait.h>
#include <unistd.h>

#include "engine/engine.h"
#include "onnx_files.h"

enum { DIRECTIONS = 16 };

static const char *mode, *made; /* of tests/torch_reference.py; its folder, NULL: to be made */
static parry_ctx *ctx;

#define OK(call) OK_IN(ctx, call)

/* ---- a network at work ------------------------------------------------------------------------------------------ */

typedef struct network {
    pr_onnx_model model;
    pr_plan *plan;
    pr_workspace *workspace;
    int64_t row, classes;
} network;

static void network_open(const char *path, network *net)
{
    OK(pr_onnx_read(ctx, path, &net->model));
    OK(pr_plan_create(ctx, net->model.graph, net->model.weights, PR_INPUT_GRADIENT, NULL, &net->plan));
    OK(pr_workspace_create(ctx, net->plan, &net->workspace));
    net->row = input_row(&net->model);
    net->classes = class_count(&net->model);
}

static void network_close(network *net)
{
    pr_workspace_free(net->workspace);
    pr_plan_free(net->plan);
    pr_onnx_clear(&net->model);
}

/* exp(logits) to sum 1; *largest is at least 1 and the largest logit. */
static void softmax(const float *logits, int64_t classes, double *p, double *largest)
{
    double top = logits[0], sum = 0;
    for (int64_t c = 0; c < classes; c++) {
        top = fmax(top, logits[c]);
        *largest = fmax(*largest, fabs((double)logits[c]));
    }
    for (int64_t c = 0; c < classes; c++)
        sum += p[c] = exp(logits[c] - top);
    for (int64_t c = 0; c < classes; c++)
        p[c] /= sum;
}

/* The logits of one image and the gradient of its cross-entropy. */
static void run(const network *net, const float *x, int label, float *logits, float *gradient)
{
    double *p = malloc((size_t)net->classes * sizeof *p), largest = 1;
    float *seed = malloc((size_t)net->classes * sizeof *seed);
    OK(pr_plan_forward(ctx, net->plan, net->workspace, x, 1, logits));
    softmax(logits, net->classes, p, &largest);
    for (int64_t c = 0; c < net->classes; c++)
        seed[c] = (float)(p[c] - (c == label));
    OK(pr_plan_backward(ctx, net->plan, net->workspace, seed, 1, gradient));
    free(p);
    free(seed);
}

static void assert_close(const char *name, const float *found, const float *expected, int64_t count)
{
    float largest = 1;
    for (int64_t i = 0; i < count; i++)
        largest = fmaxf(largest, fabsf(expected[i]));
    for (int64_t i = 0; i < count; i++)
        if (!(fabsf(found[i] - expected[i]) <= 1e-4f * largest))
            fail_msg("%s: logit %lld is %.9g, expected %.9g", name, (long long)i, (double)found[i],
                     (double)expected[i]);
}

/* The file's own test: its input, and its output, which may be after a Softmax. */
static void check_logits(const network *net, const char *name, const char *rest)
{
    char path[PATH_SIZE], file[64];
    snprintf(file, sizeof file, "%sinput_0.pb", rest);
    floats x = read_floats(ctx, test_path(path, sizeof path, name, file));
    snprintf(file, sizeof file, "%soutput_0.pb", rest);
    floats y = read_floats(ctx, test_path(path, sizeof path, name, file));
    float *logits = malloc((size_t)y.count * sizeof *logits);
    double *p = malloc((size_t)net->classes * sizeof *p), largest = 1;
    assert_int_equal(x.count / net->row * net->classes, y.count);
    for (int64_t i = 0; i < x.count / net->row; i++) {
        float *row = logits + i * net->classes;
        OK(pr_plan_forward(ctx, net->plan, net->workspace, x.data + i * net->row, 1, row));
        softmax(row, net->classes, p, &largest);
        for (int64_t c = 0; c < net->classes && net->model.tail == PR_OP_SOFTMAX; c++)
            row[c] = (float)p[c];
    }
    assert_close(name, logits, y.data, y.count);
    free(logits);
    free(p);
    pr_free(x.file);
    pr_free(y.file);
}

/* ---- numbers that tests/torch_reference.py makes too ------------------------------------------------------------ */

static uint64_t splitmix64(uint64_t z)
{
    z += 0x9E3779B97F4A7C15;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9;
    z = (z ^ z >> 27) * 0x94D049BB133111EB;
    return z ^ z >> 31;
}

static float unit(uint64_t stream, uint64_t i)
{
    return (float)(splitmix64(i + (stream << 32)) >> 40) * 0x1p-24f;
}

/* Image `i`: one of the x, and from the second round on with noise of a quarter of their range. */
static void make_image(const floats *x, int64_t row, int i, float *image)
{
    const int64_t own = x->count / row;
    const float *from = x->data + i % own * row;
    float low = x->data[0], high = x->data[0];
    for (int64_t e = 0; e < x->count; e++) {
        low = fminf(low, x->data[e]);
        high = fmaxf(high, x->data[e]);
    }
    const float reach = 0.25f * (high - low);
    for (int64_t e = 0; e < row; e++) {
        volatile float noise = reach * (unit((uint64_t)i, (uint64_t)e) - 0.5f); /* rounded, not fused */
        image[e] = i < own ? from[e] : from[e] + noise;
    }
}

static double projection(const float *gradient, int64_t row, int direction)
{
    double sum = 0;
    for (int64_t e = 0; e < row; e++)
        sum += splitmix64((uint64_t)(e * DIRECTIONS + direction)) & 1 ? gradient[e] : -(double)gradient[e];
    return sum;
}

/* ---- golden vectors --------------------------------------------------------------------------------------------- */

/* The mean square of a difference's projections onto random signs is its squared length. */
static void check_gradient(const network *net, const char *name, int image, const float *gradient, double norm,
                           const double *projections)
{
    double square = 0, apart = 0;
    for (int64_t e = 0; e < net->row; e++)
        square += (double)gradient[e] * gradient[e];
    for (int d = 0; d < DIRECTIONS; d++) {
        const double difference = projection(gradient, net->row, d) - projections[d];
        apart += difference * difference / DIRECTIONS;
    }
    if (!(fabs(sqrt(square) - norm) <= 1e-3 * norm) || !(sqrt(apart) <= 1e-3 * norm))
        fail_msg("%s, image %d: the gradient is %.2g away from PyTorch's in relative L2 (length %g, expected %g)", name,
                 image, sqrt(apart) / norm, sqrt(square), norm);
}

static void check_image(const network *net, const char *name, const floats *x, int image, int label, char *rest)
{
    float *pixels = malloc((size_t)net->row * sizeof *pixels), *gradient = malloc((size_t)net->row * sizeof *gradient),
          *logits = malloc((size_t)net->classes * sizeof *logits);
    double numbers[1 + DIRECTIONS];
    for (int k = 0; k <= DIRECTIONS; k++)
        numbers[k] = strtod(rest, &rest);
    make_image(x, net->row, image, pixels);
    run(net, pixels, label, logits, gradient);
    check_gradient(net, name, image, gradient, numbers[0], numbers + 1);
    free(pixels);
    free(gradient);
    free(logits);
}

static bool unset(const char *variable)
{
    if (!getenv(variable))
        print_message("%s is not set: nothing to read\n", variable);
    return !getenv(variable);
}

static void gradients_are_those_of_pytorch(void **state)
{
    (void)state;
    char path[PATH_SIZE], line[1024], name[128];
    int images, networks = 0, compared = 0;
    if (unset("PARRY_DATA"))
        skip();
    snprintf(path, sizeof path, "%s/third_party.txt", getenv("PARRY_TEST_DATA"));
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    while (fgets(line, sizeof line, file)) {
        network net;
        if (line[0] == '#')
            continue;
        assert_int_equal(sscanf(line, "%127s %d", name, &images), 2);
        network_open(test_path(path, sizeof path, name, ".onnx"), &net);
        check_logits(&net, name, ".test_data_set_0/");
        floats x = read_floats(ctx, test_path(path, sizeof path, name, ".test_data_set_0/input_0.pb"));
        for (int i = 0; i < images; i++) {
            assert_non_null(fgets(line, sizeof line, file));
            char *rest;
            const int label = (int)strtol(line, &rest, 10);
            if (strstr(rest, "kink"))
                continue;
            check_image(&net, name, &x, i, label, rest);
            compared++;
        }
        pr_free(x.file);
        network_close(&net);
        networks++;
    }
    fclose(file);
    print_message("%d networks, %d gradients\n", networks, compared);
    assert_true(networks >= 25 && compared >= 3 * networks);
}

/* Large architectures of constant weights (onnx-light): they load and run. */
static void large_architectures_run(void **state)
{
    (void)state;
    static const char *const names[] = {"bvlc_alexnet", "densenet121", "inception_v1", "resnet50",
                                        "shufflenet",   "squeezenet",  "vgg19"};
    if (unset("PARRY_DATA"))
        skip();
    for (size_t i = 0; i < PR_COUNT(names); i++) {
        char folder[64], path[PATH_SIZE];
        network net;
        snprintf(folder, sizeof folder, "models/onnx-light/light_%s/", names[i]);
        network_open(test_path(path, sizeof path, folder, "model.onnx"), &net);
        check_logits(&net, folder, "test_data_set_0/");
        network_close(&net);
    }
}

/* ---- live ------------------------------------------------------------------------------------------------------- */

/* Of all networks: of a deep one with random weights every image may lie at a kink, and only its logits count. */
static size_t gradients_compared;

static float *read_all(const char *folder, const char *name, const char *ending, size_t *count)
{
    char path[PATH_SIZE];
    uint8_t *data;
    size_t size;
    snprintf(path, sizeof path, "%s/%s.%s", folder, name, ending);
    OK(pr_file_read(ctx, path, (size_t)1 << 30, &data, &size));
    *count = size / sizeof(float);
    return (float *)(void *)data;
}

static void compare_live(const char *folder, const char *name)
{
    char path[PATH_SIZE];
    size_t values, n, logit_count, gradients;
    network net;
    snprintf(path, sizeof path, "%s/%s.onnx", folder, name);
    network_open(path, &net);
    float *x = read_all(folder, name, "input", &values), *y = read_all(folder, name, "logits", &logit_count),
          *expected = read_all(folder, name, "gradient", &gradients);
    int32_t *labels = (int32_t *)(void *)read_all(folder, name, "labels", &n);
    float *logits = malloc((size_t)net.classes * sizeof *logits), *found = malloc((size_t)net.row * sizeof *found);
    assert_int_equal(values, n * (size_t)net.row);
    assert_int_equal(gradients, values);
    assert_int_equal(logit_count, n * (size_t)net.classes);
    int compared = 0;
    for (size_t i = 0; i < n; i++) {
        double square = 0, apart = 0;
        run(&net, x + (int64_t)i * net.row, labels[i] < 0 ? 0 : labels[i], logits, found);
        assert_close(name, logits, y + (int64_t)i * net.classes, net.classes);
        for (int64_t e = 0; e < net.row; e++) {
            const double wanted = expected[(int64_t)i * net.row + e], difference = found[e] - wanted;
            square += wanted * wanted;
            apart += difference * difference;
        }
        print_message("%s, image %zu: %s\n", name, i, labels[i] < 0 ? "at a kink" : "compared");
        if (labels[i] >= 0 && !(apart <= 1e-6 * square))
            fail_msg("%s, image %zu: the gradient is %.2g away from PyTorch's in relative L2", name, i,
                     sqrt(apart / square));
        compared += labels[i] >= 0;
    }
    gradients_compared += compared;
    pr_free(x);
    pr_free(y);
    pr_free(expected);
    pr_free(labels);
    free(logits);
    free(found);
    network_close(&net);
}

static void empty_folder(const char *folder)
{
    DIR *dir = opendir(folder);
    for (struct dirent *entry; (entry = readdir(dir));) {
        char path[PATH_SIZE + 300];
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        (void)unlink(path);
    }
    closedir(dir);
}

static void remove_folder(const char *folder)
{
    empty_folder(folder);
    (void)rmdir(folder);
}

/* What to hand to the script, by mode: files below $PARRY_DATA, or names of torchvision's architectures. */
static const struct {
    const char *mode, *names[12];
} work[] = {
    {"live",
     {"models/onnx-light/light_densenet121/model.onnx", "models/onnx-light/light_inception_v1/model.onnx",
      "models/onnx-light/light_shufflenet/model.onnx", "models/imagenet/mobilenet_v2_1.0_224.onnx",
      "models/cifar10/cifar10_resnet8_mlperf_tiny.onnx"}},
    {"export",
     {"resnet50", "inception_v3", "mobilenet_v3_small", "shufflenet_v2_x0_5", "vit_b_16", "swin", "swin.dynamo",
      "convnext", "convnext.dynamo"}},
};

/* Compares all that the script has written to the folder. */
static int compare_folder(const char *folder)
{
    int networks = 0;
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        char name[256];
        const char *ending = strstr(entry->d_name, ".onnx");
        if (!ending || strcmp(ending, ".onnx") != 0) /* .onnx.data belongs to another file */
            continue;
        snprintf(name, sizeof name, "%.*s", (int)(ending - entry->d_name), entry->d_name);
        compare_live(folder, name);
        networks++;
    }
    closedir(dir);
    return networks;
}

static void pytorch_agrees_now(void **state)
{
    (void)state;
    char folder[] = "third-party-XXXXXX", command[2 * PATH_SIZE];
    const char *python = getenv("PARRY_PYTHON");
    const bool live = strcmp(mode, "live") == 0;
    if (made) {
        assert_true(compare_folder(made) > 0);
        return;
    }
    if (live && unset("PARRY_DATA"))
        skip();
    assert_non_null(mkdtemp(folder));
    for (int k = 0; k < (int)PR_COUNT(work->names) && work[!live].names[k]; k++) {
        const char *name = work[!live].names[k];
        snprintf(command, sizeof command, "%s %s/../torch_reference.py %s %s %s%s%s", python ? python : "python3",
                 getenv("PARRY_TEST_DATA"), mode, folder, live ? getenv("PARRY_DATA") : "", live ? "/" : "", name);
        const int status = system(command);
        if (WIFEXITED(status) && (WEXITSTATUS(status) == 77 || WEXITSTATUS(status) == 127)) {
            print_message("PyTorch is not installed (PARRY_PYTHON names an interpreter that has it)\n");
            remove_folder(folder);
            skip();
        }
        assert_int_equal(status, 0);
        assert_int_equal(compare_folder(folder), 1);
        empty_folder(folder); /* the files are large */
    }
    assert_true(gradients_compared >= 8);
    remove_folder(folder);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest golden[] = {
        cmocka_unit_test(gradients_are_those_of_pytorch),
        cmocka_unit_test(large_architectures_run),
    };
    const struct CMUnitTest live[] = {cmocka_unit_test(pytorch_agrees_now)};
    parry_ctx_options options = {.size = sizeof options, .threads = 1};
    mode = argc > 1 ? argv[1] : NULL;
    made = argc > 2 ? argv[2] : NULL;
    if (parry_ctx_create(&options, &ctx) != PARRY_OK)
        return 1;
    const int failed = mode ? cmocka_run_group_tests(live, NULL, NULL) : cmocka_run_group_tests(golden, NULL, NULL);
    parry_ctx_free(ctx);
    return failed;
}
