/* The public ONNX node tests: one operator each, with inputs and outputs as data ($PARRY_DATA/onnx-node-tests). Every
 * test goes the way of a model: import, graph, and a plan in both backends; inputs are tried as constants (the importer
 * computes the result), as one activation with constants beside it, and as several activations with axis 0 as the
 * batch. A test passes when at least one of these ways is open and every open way gives the expected numbers.
 *
 * Each network that comes of it is also exported, read again and run again: the same numbers and the same derivative.
 * With the argument "onnxruntime" that runs the exported files too (PARRY_PYTHON names an interpreter that has it). */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/file.h"
#include "engine/engine.h"
#include "onnx/onnx.h"
#include "../unit/support/context.h"
#include "node_applies.h"

static const char *check_folder; /* of what onnxruntime is to run; NULL: nothing */

enum { PATH_SIZE = 2048, TENSORS = PR_ONNX_PORTS, FILE_LIMIT = 1 << 26, SETS = 3 };

/* ---- numbers ---------------------------------------------------------------------------------------------------- */

static double number(const pr_onnx_tensor *t, int64_t e)
{
    return t->integer ? (double)((const int64_t *)t->data)[e] : ((const float *)t->data)[e];
}

/* float32 results of one operator: a few units in the last place of the largest term that they are made of. */
static bool equal(const char *way, const pr_onnx_tensor *expected, const float *f, const int64_t *i, int64_t count,
                  char reason[REASON])
{
    double scale = 1;
    if (count != expected->count) {
        snprintf(reason, REASON, "%s: %lld numbers, expected %lld", way, (long long)count, (long long)expected->count);
        return false;
    }
    for (int64_t e = 0; e < count; e++)
        if (isfinite(number(expected, e)) && !expected->integer)
            scale = fmax(scale, fabs(number(expected, e)));
    for (int64_t e = 0; e < count; e++) {
        double y = number(expected, e), x = f ? f[e] : (double)i[e];
        bool same = (isnan(x) && isnan(y)) || x == y || fabs(x - y) <= (expected->integer ? 0 : 1e-5 * scale);
        if (!same) {
            snprintf(reason, REASON, "%s: [%lld] is %.9g, expected %.9g", way, (long long)e, x, y);
            return false;
        }
    }
    return true;
}

static bool same_shape(const char *way, const pr_onnx_tensor *a, const pr_onnx_tensor *b, char reason[REASON])
{
    bool same = a->rank == b->rank;
    for (int d = 0; same && d < a->rank; d++)
        same = a->dim[d] == b->dim[d];
    if (!same)
        snprintf(reason, REASON, "%s: the result has %d axes of another shape than expected", way, a->rank);
    return same;
}

/* The activations, axis 0 being the batch, side by side in rows. */
static float *pack(const pr_onnx_given *given, size_t count, int64_t batch, int64_t row)
{
    float *x = calloc((size_t)(batch * row) + 1, sizeof *x);
    int64_t first = 0;
    for (size_t i = 0; i < count; i++) {
        const pr_onnx_tensor *t = given[i].tensor;
        if (given[i].constant)
            continue;
        int64_t own = t->count / batch;
        for (int64_t e = 0; e < t->count; e++)
            x[e / own * row + first + e % own] = (float)number(t, e);
        first += own;
    }
    return x;
}

static const pr_backend backends[] = {PR_BACKEND_REFERENCE, PR_BACKEND_AUTO};

/* What a plan makes of the rows of x: the output and, for that purpose, the derivative of its product with a seed. */
typedef struct outcome {
    float *y, *dx;
    int64_t outputs, inputs;
} outcome;

static void outcome_clear(outcome *o)
{
    free(o->y);
    free(o->dx);
}

static parry_status run_plan(const pr_onnx_model *model, pr_backend backend, pr_purpose purpose, const float *x,
                             int64_t batch, outcome *out)
{
    enum { MICRO_BATCH = 2 };
    const int64_t row = pr_dims_row(model->graph->values[model->graph->logits].dims);
    const int64_t in = pr_dims_row(model->graph->values[model->graph->input].dims);
    const pr_plan_options options = {.backend = backend, .micro_batch = MICRO_BATCH};
    float *seed = calloc((size_t)(MICRO_BATCH * row) + 1, sizeof *seed);
    pr_plan *plan = NULL;
    pr_workspace *workspace = NULL;
    *out = (outcome){.outputs = batch * row, .inputs = batch * in};
    out->y = calloc((size_t)out->outputs + 1, sizeof *out->y);
    out->dx = calloc((size_t)out->inputs + 1, sizeof *out->dx);
    for (int64_t e = 0; e < MICRO_BATCH * row; e++)
        seed[e] = (float)(e * 5 % 7) - 2.5f;
    parry_status status = pr_plan_create(ctx, model->graph, model->weights, purpose, &options, &plan);
    if (status == PARRY_OK)
        status = pr_workspace_create(ctx, plan, &workspace);
    for (int64_t n = 0; status == PARRY_OK && n < batch; n += MICRO_BATCH) {
        const int images = (int)PR_MIN(MICRO_BATCH, batch - n);
        status = pr_plan_forward(ctx, plan, workspace, x + n * in, images, out->y + n * row);
        if (status == PARRY_OK && purpose == PR_INPUT_GRADIENT)
            status = pr_plan_backward(ctx, plan, workspace, seed, images, out->dx + n * in);
    }
    pr_workspace_free(workspace);
    pr_plan_free(plan);
    free(seed);
    return status;
}

/* Whether both backends give the expected numbers. */
static bool computes(const char *way, const pr_onnx_model *model, const float *x, int64_t batch,
                     const pr_onnx_tensor *expected, char reason[REASON])
{
    bool passed = true;
    for (size_t k = 0; k < PR_COUNT(backends) && passed; k++) {
        outcome o;
        passed = run_plan(model, backends[k], PR_INFERENCE, x, batch, &o) == PARRY_OK;
        if (!passed)
            snprintf(reason, REASON, "%s: %.900s", way, parry_ctx_error(ctx));
        passed = passed && equal(way, expected, o.y, NULL, o.outputs, reason);
        outcome_clear(&o);
    }
    return passed;
}

/* ---- out and back ------------------------------------------------------------------------------------------------ */

/* Tests of which a network comes back as another graph, which rounds differently, by a part of their name. */
static const struct {
    const char *part, *reason;
} rearranged[] = {
    {"layer_normalization_4d_axis2",
     "the mean, a second output, over height and width comes back as GlobalAveragePool"},
    {"layer_normalization_4d_axis_negative_2", "the same"},
};

/* The network as a file. */
static bool write_out(const pr_onnx_model *model, uint8_t **data, size_t *size)
{
    char path[PATH_SIZE];
    snprintf(path, sizeof path, "%.1900s/node-test-%ld.onnx", getenv("PARRY_TEST_SCRATCH"), (long)getpid());
    if (pr_onnx_write(ctx, path, model) != PARRY_OK)
        return false;
    OK(pr_file_read(ctx, path, FILE_LIMIT, data, size));
    (void)unlink(path);
    return true;
}

/* The file's network, of the one input that `from` has. */
static bool read_back(const uint8_t *data, size_t size, const pr_onnx_model *from, int64_t batch, pr_onnx_model *out)
{
    const pr_dims dims = from->graph->values[from->graph->input].dims;
    pr_onnx_tensor input = {.type = TYPE_FLOAT, .rank = dims.rank, .count = batch * pr_dims_row(dims)};
    const pr_onnx_given given = {&input, false};
    pr_onnx_bench bench = {.input = &given, .inputs = 1};
    memcpy(input.dim, dims.dim, sizeof input.dim);
    input.dim[0] = batch;
    return pr_onnx_decode_bench(ctx, "the exported file", data, size, &bench, out) == PARRY_OK && !bench.is_constant;
}

/* Whether both networks give the same output and the same derivative in both backends, bit by bit. */
static bool same_bits(const char *way, const pr_onnx_model *a, const pr_onnx_model *b, const float *x, int64_t batch,
                      char reason[REASON])
{
    bool same = true;
    for (size_t k = 0; k < PR_COUNT(backends) && same; k++) {
        outcome o[2];
        OK(run_plan(a, backends[k], PR_INPUT_GRADIENT, x, batch, &o[0]));
        OK(run_plan(b, backends[k], PR_INPUT_GRADIENT, x, batch, &o[1]));
        const bool same_y = memcmp(o[0].y, o[1].y, (size_t)o[0].outputs * sizeof(float)) == 0,
                   same_dx = memcmp(o[0].dx, o[1].dx, (size_t)o[0].inputs * sizeof(float)) == 0;
        if (!same_y || !same_dx)
            snprintf(reason, REASON, "%s, exported and read again: another %s", way, same_y ? "derivative" : "output");
        same = same_y && same_dx;
        outcome_clear(&o[0]);
        outcome_clear(&o[1]);
    }
    return same;
}

/* onnx' checker infers another shape for this one, in the public test's own file too. */
static const char disputed[] = "maxpool_2d_ceil_output_size_reduce_by_one";

/* For tests/onnx_check.py: the file, the input and what parry computed. */
static void keep_for_onnxruntime(const uint8_t *data, size_t size, const pr_onnx_model *model, const float *x,
                                 int64_t batch)
{
    static int number;
    static const char *const endings[] = {"onnx", "input", "output"};
    outcome o;
    OK(run_plan(model, PR_BACKEND_REFERENCE, PR_INFERENCE, x, batch, &o));
    const struct {
        const void *data;
        size_t size;
    } part[] = {{data, size}, {x, (size_t)o.inputs * sizeof *x}, {o.y, (size_t)o.outputs * sizeof *o.y}};
    number++;
    for (size_t i = 0; i < PR_COUNT(part); i++) {
        char path[PATH_SIZE];
        snprintf(path, sizeof path, "%.1900s/%d.%s", check_folder, number, endings[i]);
        OK(parry_file_write(ctx, path, part[i].data, part[i].size));
    }
    outcome_clear(&o);
}

static int count_networks, count_rearranged, count_exported; /* the last: tests with a network */

static bool comes_back(const char *way, const char *path, const pr_onnx_model *model, const float *x, int64_t batch,
                       const pr_onnx_tensor *expected, char reason[REASON])
{
    uint8_t *data = NULL;
    size_t size;
    pr_onnx_model back = {0};
    bool same_graph = true, same = false;
    for (size_t i = 0; i < PR_COUNT(rearranged); i++)
        same_graph &= !strstr(path, rearranged[i].part);
    if (!model->graph->node_count && strstr(path, "/test_cast_")) /* from float to float: no network to write */
        return true;
    if (!write_out(model, &data, &size) || !read_back(data, size, model, batch, &back))
        snprintf(reason, REASON, "%s, exported: %.900s", way, parry_ctx_error(ctx));
    else
        same = computes(way, &back, x, batch, expected, reason) &&
               (!same_graph || same_bits(way, model, &back, x, batch, reason));
    if (same && check_folder && !strstr(path, disputed))
        keep_for_onnxruntime(data, size, model, x, batch);
    count_networks += same;
    count_rearranged += same && !same_graph;
    pr_free(data);
    pr_onnx_clear(&back);
    return same;
}

/* ---- one way of one test ----------------------------------------------------------------------------------------- */

typedef enum verdict { CLOSED, PASSED, FAILED } verdict;

/* Imports with the inputs as given and runs what comes of it. */
static verdict try_way(const char *way, const char *where, const uint8_t *data, size_t size, const pr_onnx_given *given,
                       size_t inputs, size_t output, const pr_onnx_tensor *expected, char reason[REASON])
{
    pr_onnx_model model;
    pr_onnx_bench bench = {.input = given, .inputs = inputs, .output = output};
    bool passed = true;
    if (pr_onnx_decode_bench(ctx, where, data, size, &bench, &model) != PARRY_OK) {
        snprintf(reason, REASON, "%s: %.900s", way, parry_ctx_error(ctx));
        return CLOSED;
    }
    if (bench.is_constant) {
        const float *f = bench.constant.integer ? NULL : bench.constant.data;
        passed = same_shape(way, &bench.constant, expected, reason) &&
                 equal(way, expected, f, bench.constant.data, bench.constant.count, reason);
        pr_onnx_tensor_clear(&bench.constant);
        pr_onnx_clear(&model);
        return passed ? PASSED : FAILED;
    }
    int64_t batch = 1;
    for (size_t i = 0; i < inputs; i++)
        if (!given[i].constant)
            batch = given[i].tensor->dim[0];
    float *x = pack(given, inputs, batch, pr_dims_row(model.graph->values[model.graph->input].dims));
    passed =
        computes(way, &model, x, batch, expected, reason) && comes_back(way, where, &model, x, batch, expected, reason);
    free(x);
    pr_onnx_clear(&model);
    return passed ? PASSED : FAILED;
}

/* ---- one test ---------------------------------------------------------------------------------------------------- */

typedef struct node_test {
    char path[PATH_SIZE];
    uint8_t *model;
    size_t size;
    pr_onnx_tensor input[TENSORS], output[TENSORS];
    size_t inputs, outputs, checked;
} node_test;

static size_t read_tensors(const char *folder, const char *kind, pr_onnx_tensor *out, bool *readable)
{
    size_t count = 0;
    for (; count < TENSORS; count++) {
        char path[PATH_SIZE + 64];
        struct stat st;
        uint8_t *data;
        size_t size;
        snprintf(path, sizeof path, "%s/%s_%zu.pb", folder, kind, count);
        if (stat(path, &st) != 0)
            break;
        OK(pr_file_read(ctx, path, FILE_LIMIT, &data, &size));
        *readable = pr_onnx_tensor_decode(ctx, path, data, size, &out[count]) == PARRY_OK && *readable;
        pr_free(data);
    }
    return count;
}

static void clear_tensors(pr_onnx_tensor *tensors, size_t count)
{
    for (size_t i = 0; i < count; i++)
        pr_onnx_tensor_clear(&tensors[i]);
}

/* Ways: 0 constants alone, 1 the first input an activation, 2 all floats with the same axis 0. */
static bool give(const node_test *t, int way, pr_onnx_given *given)
{
    size_t activations = 0;
    for (size_t i = 0; i < t->inputs; i++) {
        const pr_onnx_tensor *x = &t->input[i];
        bool fits =
            !x->integer && x->rank > 0 && x->count > 0 && t->input[0].rank > 0 && x->dim[0] == t->input[0].dim[0];
        given[i] = (pr_onnx_given){x, !fits || way == 0 || (way == 1 && i > 0)};
        activations += !given[i].constant;
    }
    return activations == (way == 0 ? 0 : 1) || (way == 2 && activations > 1);
}

static bool run_set(const node_test *t, char reason[REASON])
{
    static const char *const names[] = {"as constants", "as an activation", "as activations"};
    for (size_t o = 0; o < t->checked; o++) {
        int open = 0;
        for (int way = 0; way < 3; way++) {
            pr_onnx_given given[TENSORS];
            if (!give(t, way, given))
                continue;
            verdict result =
                try_way(names[way], t->path, t->model, t->size, given, t->inputs, o, &t->output[o], reason);
            if (result == FAILED)
                return false;
            open += result == PASSED;
        }
        if (!open)
            return false;
    }
    return true;
}

static int count_passed, count_applicable, count_skipped, count_failed;

static void skip_node_test(const char *name, const char *reason)
{
    printf("skipped %-64s %s\n", name, reason);
    count_skipped++;
}

static void run_node_test(const char *root, const char *name)
{
    char path[PATH_SIZE + 64], reason[REASON] = "";
    node_test t = {0};
    pr_onnx_outline outline;
    snprintf(t.path, sizeof t.path, "%.1000s/%.900s/model.onnx", root, name);
    OK(pr_file_read(ctx, t.path, FILE_LIMIT, &t.model, &t.size));
    OK(pr_onnx_outline_decode(ctx, t.path, t.model, t.size, &outline));
    classify(&outline, name, reason);
    pr_free(outline.operators);
    if (*reason) {
        skip_node_test(name, reason);
        pr_free(t.model);
        return;
    }
    bool passed = true;
    int sets = 0, networks = count_networks;
    for (; sets < SETS && passed; sets++) {
        bool readable = true;
        struct stat st;
        snprintf(path, sizeof path, "%.1000s/%.900s/test_data_set_%d", root, name, sets);
        if (stat(path, &st) != 0)
            break;
        t.inputs = read_tensors(path, "input", t.input, &readable);
        t.outputs = read_tensors(path, "output", t.output, &readable);
        t.checked = only_first_output(name) ? 1 : t.outputs;
        passed = readable && run_set(&t, reason);
        if (!readable)
            snprintf(reason, sizeof reason, "%.1000s", parry_ctx_error(ctx));
        clear_tensors(t.input, t.inputs);
        clear_tensors(t.output, t.outputs);
    }
    passed = passed && sets;
    count_applicable++;
    count_passed += passed;
    count_exported += count_networks > networks;
    count_failed += !passed;
    if (!passed)
        printf("FAILED  %-64s %s\n", name, reason);
    pr_free(t.model);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void run_folder(const char *root, const char *only)
{
    enum { MOST = 2048 };
    char *names[MOST];
    size_t count = 0;
    DIR *dir = opendir(root);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir)) && count < MOST;)
        if (strncmp(entry->d_name, "test_", 5) == 0 && (!only || strstr(entry->d_name, only)))
            names[count++] = strdup(entry->d_name);
    closedir(dir);
    qsort(names, count, sizeof *names, by_name);
    for (size_t i = 0; i < count; i++) {
        run_node_test(root, names[i]);
        free(names[i]);
    }
}

/* The tests' folder, unpacked once into the build folder; NULL: there are none. Two programs may unpack at a time: each
 * does so beside it, and the first to finish gives it its name. */
static const char *unpacked(char root[PATH_SIZE])
{
    const char *data = getenv("PARRY_DATA"), *build = getenv("PARRY_TEST_SCRATCH");
    char archive[PATH_SIZE], part[PATH_SIZE], command[7 * PATH_SIZE];
    struct stat st;
    if (!data || !build)
        return NULL;
    snprintf(root, PATH_SIZE, "%.1900s/onnx-node-tests", build);
    snprintf(archive, sizeof archive, "%.1900s/onnx-node-tests/onnx-node-tests.tar.gz", data);
    if (stat(root, &st) == 0)
        return root;
    if (stat(archive, &st) != 0)
        return NULL;
    snprintf(part, sizeof part, "%.1900s/onnx-node-tests.part.%ld", build, (long)getpid());
    snprintf(command, sizeof command,
             "mkdir '%s' && tar xzf '%s' -C '%s' && { mv -T '%s' '%s' 2>/dev/null || rm -r '%s'; }", part, archive,
             part, part, root, part);
    assert_int_equal(system(command), 0);
    assert_int_equal(stat(root, &st), 0);
    return root;
}

static void test_nodes(void **state)
{
    static const char *const folders[] = {"opset13", "opset21", "pytorch-converted"};
    char root[PATH_SIZE], folder[PATH_SIZE];
    (void)state;
    if (!unpacked(root)) {
        printf("skipped: no onnx-node-tests under $PARRY_DATA\n");
        skip();
    }
    for (size_t f = 0; f < PR_COUNT(folders); f++) {
        int passed = count_passed, applicable = count_applicable, skipped = count_skipped;
        snprintf(folder, sizeof folder, "%.1900s/%s", root, folders[f]);
        run_folder(folder, getenv("PARRY_NODE_TEST"));
        printf("%s: %d passed of %d applicable, %d do not apply\n", folders[f], count_passed - passed,
               count_applicable - applicable, count_skipped - skipped);
    }
    printf("all: %d passed of %d applicable, %d do not apply\n", count_passed, count_applicable, count_skipped);
    printf("all: %d networks of %d tests exported and read again, %d as another graph; the rest are constants\n",
           count_networks, count_exported, count_rearranged);
    assert_int_equal(count_failed, 0);
    assert_true(count_networks > 900 || getenv("PARRY_NODE_TEST"));
}

static void test_exports_in_onnxruntime(void **state)
{
    char folder[] = "node-exports-XXXXXX", command[2 * PATH_SIZE];
    const char *python = getenv("PARRY_PYTHON");
    if (!getenv("PARRY_DATA"))
        skip();
    check_folder = mkdtemp(folder);
    assert_non_null(check_folder);
    test_nodes(state);
    snprintf(command, sizeof command, "%s %s/../onnx_check.py %s", python ? python : "python3",
             getenv("PARRY_TEST_DATA"), folder);
    const int status = system(command);
    snprintf(command, sizeof command, "rm -r %s", folder);
    assert_int_equal(system(command), 0);
    if (WIFEXITED(status) && (WEXITSTATUS(status) == 77 || WEXITSTATUS(status) == 127)) {
        print_message("onnxruntime is not installed (PARRY_PYTHON names an interpreter that has it)\n");
        skip();
    }
    assert_int_equal(status, 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nodes)},
                            live[] = {cmocka_unit_test(test_exports_in_onnxruntime)};
    return argc > 1 && strcmp(argv[1], "onnxruntime") == 0
               ? cmocka_run_group_tests(live, set_up_context, tear_down_context)
               : cmocka_run_group_tests(tests, set_up_context, tear_down_context);
}
