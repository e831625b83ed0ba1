/* Export: what is written is read back as it was, and onnxruntime computes the same with it. */
#include <unistd.h>

#include "base/file.h"
#include "base/rng.h"
#include "onnx_files.h"

typedef struct fixture {
    parry_ctx *ctx;
    char folder[64];
} fixture;

static int setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    assert_int_equal(parry_ctx_create(NULL, &f->ctx), PARRY_OK);
    snprintf(f->folder, sizeof f->folder, "%s", "onnx-export-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    fixture *f = *state;
    DIR *dir = opendir(f->folder);
    for (struct dirent *entry; (entry = readdir(dir));) {
        char path[PATH_SIZE];
        snprintf(path, sizeof path, "%s/%s", f->folder, entry->d_name);
        (void)unlink(path);
    }
    closedir(dir);
    (void)rmdir(f->folder);
    parry_ctx_free(f->ctx);
    free(f);
    return 0;
}

static char *path_of(const fixture *f, char path[PATH_SIZE], const char *name, const char *ending)
{
    snprintf(path, PATH_SIZE, "%s/%.*s%s", f->folder, (int)strcspn(name, "."), name, ending);
    return path;
}

/* SimpleCNN as after some training: nothing is 0 or 1 any more. */
static pr_onnx_model simplecnn(parry_ctx *ctx, int channels, int height, int width, pr_op tail)
{
    pr_onnx_model model = {.tail = tail};
    const pr_arch *arch;
    assert_int_equal(pr_graph_create(ctx, &model.graph), PARRY_OK);
    assert_int_equal(pr_weights_create(ctx, &model.weights), PARRY_OK);
    assert_int_equal(pr_arch_find(ctx, "simplecnn", &arch), PARRY_OK);
    assert_int_equal(arch->build(ctx, model.graph, model.weights, channels, height, width, 10), PARRY_OK);
    pr_initialise(model.graph, model.weights, 3);
    for (size_t w = 0; w < model.weights->count; w++) {
        pr_rng rng = pr_rng_init(4, PR_STREAM_TEST, w);
        for (int64_t i = 0; i < model.weights->items[w].count && model.weights->items[w].role != PR_WEIGHT_KERNEL; i++)
            model.weights->items[w].data[i] += 0.2f * pr_rng_unit(&rng);
    }
    assert_int_equal(pr_alloc(ctx, 2, &model.meta), PARRY_OK);
    for (; model.meta_count < 2; model.meta_count++) {
        assert_int_equal(
            pr_strdup(ctx, model.meta_count ? "parry.empty" : "parry.history", &model.meta[model.meta_count].key),
            PARRY_OK);
        assert_int_equal(
            pr_strdup(ctx, model.meta_count ? "" : "{\"epochs\": 20}", &model.meta[model.meta_count].value), PARRY_OK);
    }
    return model;
}

/* ---- there and back --------------------------------------------------------------------------------------------- */

static void assert_same_network(const char *name, const pr_onnx_model *a, const pr_onnx_model *b)
{
    assert_int_equal(a->tail, b->tail);
    if (a->graph->node_count != b->graph->node_count)
        fail_msg("%s: %zu nodes came back as %zu", name, a->graph->node_count, b->graph->node_count);
    for (size_t n = 0; n < a->graph->node_count; n++) {
        const pr_node *p = &a->graph->nodes[n], *q = &b->graph->nodes[n];
        assert_int_equal(p->op, q->op);
        assert_string_equal(p->name, q->name);
        assert_int_equal(p->inputs, q->inputs);
        assert_true(pr_dims_equal(a->graph->values[p->out[0]].dims, b->graph->values[q->out[0]].dims));
        for (int i = 0; i < p->inputs; i++)
            assert_string_equal(a->graph->values[p->in[i]].name, b->graph->values[q->in[i]].name);
    }
    assert_int_equal(a->weights->count, b->weights->count);
    for (size_t w = 0; w < a->weights->count; w++) {
        const pr_weight *p = &a->weights->items[w];
        const int32_t found = pr_weights_find(b->weights, p->name);
        assert_true(found >= 0);
        const pr_weight *q = &b->weights->items[found];
        assert_int_equal(p->role, q->role);
        assert_int_equal(p->rank, q->rank);
        assert_memory_equal(p->dim, q->dim, (size_t)p->rank * sizeof p->dim[0]);
        assert_memory_equal(p->data, q->data, (size_t)p->count * sizeof *p->data);
    }
    assert_int_equal(a->meta_count, b->meta_count);
    for (size_t m = 0; m < a->meta_count; m++)
        assert_string_equal(pr_onnx_meta_get(b, a->meta[m].key), a->meta[m].value);
}

/* Writes the network, reads it again and writes that: the same network and the same bytes. */
static void assert_round_trip(parry_ctx *ctx, const char *name, const pr_onnx_model *model, void *arg)
{
    const fixture *f = arg;
    char path[2][PATH_SIZE];
    pr_onnx_model back;
    uint8_t *bytes[2];
    size_t size[2];
    if (pr_onnx_write(ctx, path_of(f, path[0], name, ".first"), model) != PARRY_OK ||
        pr_onnx_read(ctx, path[0], &back) != PARRY_OK)
        fail_msg("%s: %s", name, parry_ctx_error(ctx));
    assert_same_network(name, model, &back);
    assert_string_equal(back.producer, "parry 0.1.0");
    assert_int_equal(pr_onnx_write(ctx, path_of(f, path[1], name, ".second"), &back), PARRY_OK);
    for (int i = 0; i < 2; i++)
        assert_int_equal(pr_file_read(ctx, path[i], 1 << 26, &bytes[i], &size[i]), PARRY_OK);
    if (size[0] != size[1] || memcmp(bytes[0], bytes[1], size[0]) != 0)
        fail_msg("%s: written twice, the files differ", name);
    pr_free(bytes[0]);
    pr_free(bytes[1]);
    pr_onnx_clear(&back);
}

static void networks_come_back_as_they_went(void **state)
{
    fixture *f = *state;
    for (int tail = 0; tail < 3; tail++) {
        pr_onnx_model model =
            simplecnn(f->ctx, tail ? 3 : 1, 28, 27, (pr_op[]){PR_OP_IDENTITY, PR_OP_SOFTMAX, PR_OP_LOG_SOFTMAX}[tail]);
        assert_round_trip(f->ctx, "simplecnn", &model, f);
        pr_onnx_clear(&model);
    }
    for_each_golden(f->ctx, assert_round_trip, f);
}

static void networks_of_others_come_back_as_they_went(void **state)
{
    fixture *f = *state;
    if (!for_each_third_party(f->ctx, assert_round_trip, f))
        skip();
}

/* ---- in onnxruntime --------------------------------------------------------------------------------------------- */

static void write_floats(const fixture *f, const char *name, const char *ending, const float *data, int64_t count)
{
    char path[PATH_SIZE];
    assert_int_equal(parry_file_write(f->ctx, path_of(f, path, name, ending), data, (size_t)count * sizeof *data),
                     PARRY_OK);
}

static void write_check(parry_ctx *ctx, const char *name, const pr_onnx_model *model, void *arg)
{
    enum { N = 3 };
    const fixture *f = arg;
    char path[PATH_SIZE];
    const int64_t count = N * input_row(model);
    float *x = malloc((size_t)count * sizeof *x), largest;
    pr_rng rng = pr_rng_init(5, PR_STREAM_TEST, 0);
    for (int64_t i = 0; i < count; i++)
        x[i] = pr_rng_normal(&rng);
    float *y = run_plan(ctx, model, x, N, &largest);
    assert_int_equal(pr_onnx_write(ctx, path_of(f, path, name, ".onnx"), model), PARRY_OK);
    write_floats(f, name, ".input", x, count);
    write_floats(f, name, ".output", y, N * class_count(model));
    free(x);
    free(y);
}

static void onnxruntime_computes_the_same(void **state)
{
    fixture *f = *state;
    const char *python = getenv("PARRY_PYTHON");
    char command[2 * PATH_SIZE];
    for_each_golden(f->ctx, write_check, f);
    (void)for_each_third_party(f->ctx, write_check, f);
    pr_onnx_model grey = simplecnn(f->ctx, 1, 28, 28, PR_OP_SOFTMAX),
                  colour = simplecnn(f->ctx, 3, 17, 20, PR_OP_IDENTITY);
    write_check(f->ctx, "grey", &grey, f);
    write_check(f->ctx, "colour", &colour, f);
    pr_onnx_clear(&grey);
    pr_onnx_clear(&colour);
    snprintf(command, sizeof command, "%s %s/../onnx_check.py %s", python ? python : "python3",
             getenv("PARRY_TEST_DATA"), f->folder);
    const int status = system(command);
    if (WIFEXITED(status) && (WEXITSTATUS(status) == 77 || WEXITSTATUS(status) == 127)) {
        print_message(
            "onnxruntime is not installed (PARRY_PYTHON names an interpreter that has it): nothing to compare with\n");
        skip();
    }
    assert_int_equal(status, 0);
}

/* ---- what cannot be written ------------------------------------------------------------------------------------- */

static void failures_leave_no_file(void **state)
{
    fixture *f = *state;
    char path[PATH_SIZE];
    pr_onnx_model model = simplecnn(f->ctx, 1, 8, 8, PR_OP_IDENTITY);
    assert_int_equal(pr_onnx_write(f->ctx, "/nonexistent/model.onnx", &model), PARRY_IO);
    assert_non_null(strstr(parry_ctx_error(f->ctx), "/nonexistent/model.onnx"));

    parry_status status = PARRY_NO_MEMORY;
    path_of(f, path, "memory", ".onnx");
    for (long n = 1; status != PARRY_OK; n++) {
        assert_true(n < 10000);
        assert_false(pr_file_exists(path));
        pr_alloc_fail_at(n);
        status = pr_onnx_write(f->ctx, path, &model);
        pr_alloc_fail_at(0);
        assert_true(status == PARRY_OK || status == PARRY_NO_MEMORY);
    }

    pr_value scale, shift, in[3];
    int32_t index;
    assert_int_equal(pr_weights_add(f->ctx, model.weights, "scale", PR_WEIGHT_CONSTANT, 1, &(int64_t){10}, &index),
                     PARRY_OK);
    assert_int_equal(pr_graph_weight(f->ctx, model.graph, model.weights, index, &scale), PARRY_OK);
    shift = scale;
    in[0] = model.graph->logits, in[1] = scale, in[2] = shift;
    assert_int_equal(
        pr_graph_node(f->ctx, model.graph, PR_OP_CHANNEL_AFFINE, "inner", NULL, in, 3, &model.graph->logits), PARRY_OK);
    assert_int_equal(pr_onnx_write(f->ctx, path_of(f, path, "inner", ".onnx"), &model), PARRY_UNSUPPORTED);
    assert_non_null(strstr(parry_ctx_error(f->ctx), "node 'inner'"));
    assert_false(pr_file_exists(path));
    pr_onnx_clear(&model);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(networks_come_back_as_they_went, setup, teardown),
        cmocka_unit_test_setup_teardown(networks_of_others_come_back_as_they_went, setup, teardown),
        cmocka_unit_test_setup_teardown(onnxruntime_computes_the_same, setup, teardown),
        cmocka_unit_test_setup_teardown(failures_leave_no_file, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
