/* The public ONNX node tests: one operator each, with inputs and outputs as data ($PARRY_DATA/onnx-node-tests). Every
 * test goes the way of a model: import, graph, and a plan in both backends; inputs are tried as constants (the importer
 * computes the result), as one activation with constants beside it, and as several activations with axis 0 as the
 * batch. A test passes when at least one of these ways is open and every open way gives the expected numbers. */
#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/file.h"
#include "engine/engine.h"
#include "onnx/onnx.h"
#include "../unit/support/context.h"

enum { PATH_SIZE = 2048, REASON = 1024, TENSORS = PR_ONNX_PORTS, FILE_LIMIT = 1 << 26, SETS = 3 };
enum { TYPE_FLOAT = 1, TYPE_UINT8 = 2, TYPE_INT8 = 3, TYPE_INT32 = 6, TYPE_INT64 = 7, TYPE_STRING = 8, TYPE_BOOL = 9, TYPE_DOUBLE = 11 };

/* ---- what applies ----------------------------------------------------------------------------------------------- */

/* Operators that parry reads, as README and --help state them. */
static const char supported[] =
    " Conv ConvTranspose Gemm MatMul BatchNormalization InstanceNormalization LayerNormalization GroupNormalization LRN"
    " Relu LeakyRelu PRelu Elu Selu Celu Sigmoid HardSigmoid HardSwish Tanh Softplus Softsign Gelu Erf Mish Clip Softmax"
    " LogSoftmax MaxPool AveragePool GlobalAveragePool GlobalMaxPool LpPool Add Sub Mul Div Neg Abs Exp Log Sqrt Pow"
    " Reciprocal Min Max Sum Mean ReduceMean ReduceSum ReduceMax ReduceMin ReduceL2 ArgMax Concat Split Slice Gather"
    " Reshape Flatten Squeeze Unsqueeze Expand Transpose Pad Resize Upsample Identity Dropout Cast Constant"
    " ConstantOfShape Shape Where Tile Equal Range Sign Floor ReduceProd DepthToSpace SpaceToDepth Einsum QuantizeLinear"
    " DequantizeLinear Greater GreaterOrEqual Less LessOrEqual Not And Or Ceil Round ReduceSumSquare ThresholdedRelu ";

/* Tests that do not apply, by a part of their name. */
static const struct {
    const char *part, *reason;
} excluded[] = {
    {"training_dropout", "random: dropout in training"},
    {"empty_set", "empty tensors"},
    {"batchnorm_epsilon_training_mode", "training form of batch norm"},
    {"batchnorm_example_training_mode", "training form of batch norm"},
    {"averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_True",
     "disputed output: ONNX' reference and onnxruntime now compute what parry does"},
    {"_3d_", "three spatial dimensions"},
};

static bool is_supported(const char *operators, char missing[64])
{
    char list[REASON];
    snprintf(list, sizeof list, "%s", operators);
    for (char *save, *type = strtok_r(list, " ", &save); type; type = strtok_r(NULL, " ", &save)) {
        char word[66];
        snprintf(word, sizeof word, " %.60s ", type);
        snprintf(missing, 64, "%.60s", type);
        if (!strstr(supported, word))
            return false;
    }
    return true;
}

static bool has_operator(const pr_onnx_outline *o, const char *type)
{
    return strncmp(o->operators, type, strlen(type)) == 0;
}

static bool only_of_images(const pr_onnx_outline *o)
{
    static const char *const types[] = {"Conv", "BatchNorm", "InstanceNorm"};
    for (size_t i = 0; i < PR_COUNT(types); i++)
        if (has_operator(o, types[i]))
            return true;
    return false;
}

/* Tests whose second output, the mask or the indices, is none of a classifier's: the first has to be right beside it. */
static bool only_first_output(const char *name)
{
    return strstr(name, "dropout_default_mask") || strstr(name, "maxpool_with_argmax");
}

/* Why the test does not apply; "": it does. */
static void classify(const pr_onnx_outline *o, const char *name, char reason[REASON])
{
    char missing[64];
    *reason = '\0';
    if (o->opset < 7 || o->opset > 21) {
        snprintf(reason, REASON, "opset %lld", (long long)o->opset);
        return;
    }
    if (!is_supported(o->operators, missing)) {
        snprintf(reason, REASON, "operator %s", missing);
        return;
    }
    for (size_t i = 0; i < PR_COUNT(excluded); i++)
        if (strstr(name, excluded[i].part) && (strcmp(excluded[i].part, "_3d_") != 0 || only_of_images(o))) {
            snprintf(reason, REASON, "%s", excluded[i].reason);
            return;
        }
    if (o->inputs && o->input[0].rank > 4 && only_of_images(o)) {
        snprintf(reason, REASON, "three spatial dimensions");
        return;
    }
    bool quantised = strstr(o->operators, "QuantizeLinear") || strstr(o->operators, "DequantizeLinear");
    for (size_t i = 0; i < o->inputs + o->outputs; i++) {
        int type = i < o->inputs ? o->input[i].type : o->output[i - o->inputs].type;
        if (i > o->inputs && only_first_output(name))
            break;
        bool fits = type == TYPE_FLOAT || type == TYPE_DOUBLE || type == TYPE_INT64 || type == TYPE_BOOL ||
                    type == TYPE_INT32 ||
                    (quantised && (type == TYPE_UINT8 || type == TYPE_INT8));
        if (!fits) {
            snprintf(reason, REASON, "data type %d", type);
            return;
        }
    }
}

/* ---- one way of one test ---------------------------------------------------------------------------------------- */

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

static bool run_plan(const char *way, const pr_onnx_model *model, pr_backend backend, const float *x, int64_t batch,
                     const pr_onnx_tensor *expected, char reason[REASON])
{
    const int64_t row = pr_dims_row(model->graph->values[model->graph->logits].dims);
    const int64_t in = pr_dims_row(model->graph->values[model->graph->input].dims);
    const pr_plan_options options = {.backend = backend, .micro_batch = 2};
    float *y = calloc((size_t)(batch * row) + 1, sizeof *y);
    pr_plan *plan = NULL;
    pr_workspace *workspace = NULL;
    parry_status status = pr_plan_create(ctx, model->graph, model->weights, PR_INFERENCE, &options, &plan);
    if (status == PARRY_OK)
        status = pr_workspace_create(ctx, plan, &workspace);
    for (int64_t n = 0; status == PARRY_OK && n < batch; n += 2)
        status = pr_plan_forward(ctx, plan, workspace, x + n * in, (int)PR_MIN(2, batch - n), y + n * row);
    bool passed = status == PARRY_OK;
    if (!passed)
        snprintf(reason, REASON, "%s: %.900s", way, parry_ctx_error(ctx));
    passed = passed && equal(way, expected, y, NULL, batch * row, reason);
    pr_workspace_free(workspace);
    pr_plan_free(plan);
    free(y);
    return passed;
}

typedef enum outcome { CLOSED, PASSED, FAILED } outcome;

/* Imports with the inputs as given and runs what comes of it. */
static outcome try_way(const char *way, const char *where, const uint8_t *data, size_t size, const pr_onnx_given *given,
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
    passed = run_plan(way, &model, PR_BACKEND_REFERENCE, x, batch, expected, reason) &&
             run_plan(way, &model, PR_BACKEND_AUTO, x, batch, expected, reason);
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
        bool fits = !x->integer && x->rank > 0 && x->count > 0 && t->input[0].rank > 0 && x->dim[0] == t->input[0].dim[0];
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
            outcome result = try_way(names[way], t->path, t->model, t->size, given, t->inputs, o, &t->output[o], reason);
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
    int sets = 0;
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

/* The tests' folder, unpacked once into the build folder; NULL: there are none. */
static const char *unpacked(char root[PATH_SIZE])
{
    const char *data = getenv("PARRY_DATA"), *build = getenv("PARRY_TEST_SCRATCH");
    char archive[PATH_SIZE], command[6 * PATH_SIZE];
    struct stat st;
    if (!data || !build)
        return NULL;
    snprintf(root, PATH_SIZE, "%.1900s/onnx-node-tests", build);
    snprintf(archive, sizeof archive, "%.1900s/onnx-node-tests/onnx-node-tests.tar.gz", data);
    if (stat(root, &st) == 0)
        return root;
    if (stat(archive, &st) != 0)
        return NULL;
    snprintf(command, sizeof command, "mkdir -p '%s.part' && tar xzf '%s' -C '%s.part' && mv '%s.part' '%s'", root, archive, root, root,
             root);
    assert_int_equal(system(command), 0);
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
        printf("%s: %d passed of %d applicable, %d do not apply\n", folders[f], count_passed - passed, count_applicable - applicable,
               count_skipped - skipped);
    }
    printf("all: %d passed of %d applicable, %d do not apply\n", count_passed, count_applicable, count_skipped);
    assert_int_equal(count_failed, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_nodes)};
    return cmocka_run_group_tests(tests, set_up_context, tear_down_context);
}
