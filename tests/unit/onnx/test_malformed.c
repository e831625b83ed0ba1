/* Files that are not as they should be: each ends in one sentence that names the file, whatever is wrong with it. */
#include <setjmp.h>
#include <stdarg.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"
#include "base/rng.h"
#include "onnx/onnx.h"

/* Files of tests/golden/onnx (made by make.py there), and what their error says. */
static const struct {
    const char *name;
    parry_status status;
    const char *says;
} bad[] = {
    {"across_batch", PARRY_UNSUPPORTED,
     "not one row of class scores per image; at node 'y_node' (Reshape) the batch is no longer its first axis"},
    {"antialias_cubic", PARRY_UNSUPPORTED, "Resize with antialiasing that is not linear ('t_node')"},
    {"antialias_linear", PARRY_UNSUPPORTED, "Resize with antialiasing to so small a size ('t_node')"},
    {"batch_norm", PARRY_FORMAT, "'y_node' (BatchNormalization): each per-channel input should be 6, found 5"},
    {"bell", PARRY_UNSUPPORTED, "Bell??[2J ('n??ode')"},
    {"computed_kernel", PARRY_UNSUPPORTED, "Conv with computed weights ('t_node')"},
    {"constant_output", PARRY_FORMAT, "the output 'y' does not depend on the input"},
    {"branch_deep", PARRY_UNSUPPORTED, "its functions and branches nest more than 16 deep"},
    {"branch_missing", PARRY_FORMAT, "node 'y_node' (If): the attribute else_branch should be a graph"},
    {"branch_of_the_image", PARRY_UNSUPPORTED, "does not have: If with a condition that depends on the image ('y_node')"},
    {"branch_outputs", PARRY_FORMAT, "node 'y_node' (If): its then_branch has 2 outputs, expected 1"},
    {"branch_unknown", PARRY_FORMAT, "it reads 'none', which nothing defines"},
    {"cycle", PARRY_FORMAT, "node 'a_node' (Add): it reads 'b' before that is computed"},
    {"divide_by_zero", PARRY_UNSUPPORTED, "Div with"},
    {"empty_huge_dims", PARRY_FORMAT, "dimension 1 of tensor 'c' is 1073741824"},
    {"external", PARRY_FORMAT, "tensor 'c' is kept in '../../etc/passwd', outside the model's folder"},
    {"fixed_batch_moved", PARRY_UNSUPPORTED,
     "Transpose that moves values from one image to another ('t_node'); made for 2 images at a time: export it for one, "
     "or for any number"},
    {"fixed_batch_picked", PARRY_UNSUPPORTED,
     "Gather that moves values from one image to another ('g_node'); made for 2 images at a time: export it for one"},
    {"gemm", PARRY_FORMAT, "the matrix 'w' takes 5 numbers, its input has 6"},
    {"huge_constant", PARRY_UNSUPPORTED, "more memory than parry allows"},
    {"huge_dims", PARRY_FORMAT, "dimension 0 of tensor 'c' is 1099511627776"},
    {"huge_pads", PARRY_FORMAT, "the attribute pads holds 1099511627776"},
    {"identity_of_nothing", PARRY_FORMAT, "node 'y_node' (Identity): input 0 is missing"},
    {"image_moved", PARRY_UNSUPPORTED, "parry does not have: Conv of images that are not the batch's ('y_node')"},
    {"images_out", PARRY_UNSUPPORTED, "the output 'y' is not one row of class scores per image"},
    {"index", PARRY_FORMAT, "index 9 of an axis of size 6"},
    {"integer_input", PARRY_UNSUPPORTED, "the input 'x' is of ONNX data type 6, expected float"},
    {"kernel", PARRY_FORMAT, "a kernel of 2 x 3 x 1 x 1 in 1 groups does not fit 4 input channels"},
    {"kernel_rank", PARRY_FORMAT, "the kernel 'w' has 3 dimensions, expected 4"},
    {"large_constants", PARRY_UNSUPPORTED, "more memory than parry allows"},
    {"many_axes", PARRY_UNSUPPORTED, "tensor 'c' has 9 dimensions, at most 8"},
    {"many_axes_value", PARRY_UNSUPPORTED, "Add with a constant that differs between images"},
    {"max_pool_indices", PARRY_UNSUPPORTED, "MaxPool with more than its first output ('p_node')"},
    {"moved_and_missing", PARRY_UNSUPPORTED, "needs operators that parry does not have: LSTM ('a_node')"},
    {"moved_too_far", PARRY_UNSUPPORTED, "Transpose of a tensor of this many axes ('t_node')"},
    {"negative_dims", PARRY_FORMAT, "dimension 0 of tensor 'c' is -6"},
    {"no_data", PARRY_FORMAT, "tensor 'c' should hold 6 float values, but has 0 of them"},
    {"no_nodes", PARRY_FORMAT, "holds no network"},
    {"no_opset", PARRY_FORMAT, "does not say which opset"},
    {"no_output", PARRY_FORMAT, "nothing computes the output 'y'"},
    {"no_shape", PARRY_UNSUPPORTED, "the input 'x' should be a batch of images or vectors, with a stated shape"},
    {"one_score", PARRY_UNSUPPORTED, "not one row of class scores per image"},
    {"open_batch_cut", PARRY_UNSUPPORTED, "Slice that moves values from one image to another ('y_node')"},
    {"open_batch_last", PARRY_UNSUPPORTED, "Slice that moves values from one image to another ('y_node')"},
    {"open_batch_picked", PARRY_UNSUPPORTED, "Gather that moves values from one image to another ('g_node')"},
    {"open_image", PARRY_UNSUPPORTED,
     "axis 2 of the input 'x' has no fixed size: declare it with --input-size 224, or export it for one size"},
    {"open_image_last", PARRY_UNSUPPORTED, "axis 1 of the input 'x' has no fixed size: declare it with --input-size 224"},
    {"open_size", PARRY_UNSUPPORTED,
     "axis 1 of the input 'x' has no fixed size: name a dataset to fit it to, or export it for one size"},
    {"operators", PARRY_UNSUPPORTED,
     "(made by make.py 1) needs operators that parry does not have: LSTM ('a_node'); com.example.Fancy ('far'); "
     "Hardmax ('d_node', 'e_node', 'f_node' and 2 more)"},
    {"opset_new", PARRY_UNSUPPORTED, "opset 22, parry reads 7 to 21: export it with opset 21"},
    {"opset_old", PARRY_UNSUPPORTED, "opset 6, parry reads 7 to 21: export it with opset 7"},
    {"pad_mode", PARRY_FORMAT, "node 't_node' (Pad): the attribute mode has no value that ONNX knows"},
    {"self", PARRY_FORMAT, "node 'y_node' (Add): it reads 'y' before that is computed"},
    {"shape_size", PARRY_FORMAT, "node 't_node' (Reshape): 6 values do not fill the new shape"},
    {"short_data", PARRY_FORMAT, "tensor 'c' should hold 6 float values, but has 23 bytes"},
    {"slice_step", PARRY_FORMAT, "axis 0 with step 0"},
    {"softmax_axis", PARRY_UNSUPPORTED, "Softmax over the batch ('a_node')"},
    {"stride", PARRY_FORMAT, "the attribute strides holds 0, expected 1 to 65536"},
    {"strings", PARRY_UNSUPPORTED, "tensor 'c' is of ONNX data type 8"},
    {"support_vectors", PARRY_UNSUPPORTED,
     "ai.onnx.ml.SVMClassifier which votes between pairs of classes; support vectors are not supported yet"},
    {"transpose_batch", PARRY_UNSUPPORTED,
     "not one row of class scores per image; at node 'y_node' (Transpose) the batch is no longer its first axis"},
    {"trees", PARRY_UNSUPPORTED,
     "ai.onnx.ml.TreeEnsembleClassifier which has no gradient; trees are not supported yet ('TreeEnsembleClassifier')"},
    {"twice", PARRY_FORMAT, "the tensor 'y' is defined twice"},
    {"two_inputs", PARRY_UNSUPPORTED, "several inputs, 'x' and 'z'"},
    {"two_inputs_keras", PARRY_UNSUPPORTED, "python -m tf2onnx.convert --saved-model FOLDER"},
    {"two_outputs", PARRY_UNSUPPORTED, "2 outputs"},
    {"undefined", PARRY_FORMAT, "node 'y_node' (Add): it reads 'nowhere', which nothing defines"},
    {"window", PARRY_FORMAT, "node 't_node' (MaxPool): a window of 5 does not fit in 2"},
};

static parry_ctx *context(void)
{
    parry_ctx *ctx;
    assert_int_equal(parry_ctx_create(NULL, &ctx), PARRY_OK);
    return ctx;
}

static char *golden(char path[4096], const char *name)
{
    snprintf(path, 4096, "%s/onnx/%s", getenv("PARRY_TEST_DATA"), name);
    return path;
}

/* A failure is one line that names the source; what comes out is empty then, and consistent otherwise. */
static parry_status decode(parry_ctx *ctx, const uint8_t *data, size_t size)
{
    pr_onnx_model model;
    const parry_status status = pr_onnx_decode(ctx, "some file", NULL, data, size, NULL, &model);
    if (status == PARRY_OK) {
        assert_int_equal(pr_graph_check(ctx, model.graph, model.weights), PARRY_OK);
    } else {
        assert_non_null(strstr(parry_ctx_error(ctx), status == PARRY_NO_MEMORY ? "" : "some file"));
        assert_null(strpbrk(parry_ctx_error(ctx), "\n\r\033"));
        assert_null(model.graph);
    }
    pr_onnx_clear(&model);
    return status;
}

static void each_defect_has_its_sentence(void **state)
{
    (void)state;
    parry_ctx *ctx = context();
    for (size_t i = 0; i < PR_COUNT(bad); i++) {
        char name[64], path[4096];
        pr_onnx_model model;
        snprintf(name, sizeof name, "bad_%s.onnx", bad[i].name);
        const parry_status status = pr_onnx_read(ctx, golden(path, name), &model);
        if (status != bad[i].status || !strstr(parry_ctx_error(ctx), bad[i].says) ||
            !strstr(parry_ctx_error(ctx), name))
            fail_msg("%s: %s: %s", name, parry_status_name(status), parry_ctx_error(ctx));
    }
    pr_onnx_model model;
    assert_int_equal(pr_onnx_read(ctx, "/nonexistent/model.onnx", &model), PARRY_NOT_FOUND);
    assert_non_null(strstr(parry_ctx_error(ctx), "/nonexistent/model.onnx"));
    parry_ctx_free(ctx);
}

/* ---- external data ---------------------------------------------------------------------------------------------- */

/* Appends a field of bytes: its key, length and content (all shorter than 128 bytes). */
static uint8_t *put(uint8_t *to, int field, const void *bytes, size_t size)
{
    *to++ = (uint8_t)(field << 3 | 2);
    *to++ = (uint8_t)size;
    memcpy(to, bytes, size);
    return to + size;
}

static uint8_t *put_text(uint8_t *to, int field, const char *text)
{
    return put(to, field, text, strlen(text));
}

static uint8_t *put_number(uint8_t *to, int field, uint8_t number)
{
    *to++ = (uint8_t)(field << 3);
    *to++ = number;
    return to;
}

/* y = x w for x of N x 3 and an external w of 3 x 2, written field by field. Returns the file's size. */
static size_t external_model(const char *location, const char *length, uint8_t file[256])
{
    uint8_t entry[64], tensor[120], node[32], dims[8], shape[24], type[32], value[40], info[64], graph[240], opset[4], *at;
    at = put_text(put_text(entry, 1, "location"), 2, location);
    const size_t entry_size = (size_t)(at - entry);
    at = put_text(put_number(put_number(put_number(tensor, 1, 3), 1, 2), 2, 1), 8, "w");
    at = put(at, 13, entry, entry_size);
    if (length) {
        uint8_t *more = put_text(put_text(entry, 1, "length"), 2, length);
        at = put(at, 13, entry, (size_t)(more - entry));
    }
    at = put_number(at, 14, 1);
    const size_t tensor_size = (size_t)(at - tensor);
    at = put_text(put_text(put_text(put_text(node, 1, "x"), 1, "w"), 2, "y"), 4, "MatMul");
    uint8_t *end = put(graph, 1, node, (size_t)(at - node));
    end = put(end, 5, tensor, tensor_size);
    at = put(put_text(shape, 1, "\x12\1N"), 1, dims, (size_t)(put_number(dims, 1, 3) - dims));
    at = put(put_number(type, 1, 1), 2, shape, (size_t)(at - shape));
    at = put(value, 1, type, (size_t)(at - type));
    at = put(put_text(info, 1, "x"), 2, value, (size_t)(at - value));
    end = put(end, 11, info, (size_t)(at - info));
    end = put(end, 12, info, (size_t)(put_text(info, 1, "y") - info));
    assert_true(end - graph < 128);
    at = put(put_number(file, 1, 7), 7, graph, (size_t)(end - graph));
    at = put(at, 8, opset, (size_t)(put_number(opset, 2, 13) - opset));
    return (size_t)(at - file);
}

/* A model whose matrix lies in a file beside it: what the name, a link or a length may not lead to. */
static void external_data_stays_in_the_folder(void **state)
{
    (void)state;
    static const struct {
        const char *location, *length;
        parry_status status;
        const char *says;
    } cases[] = {
        {"weights.bin", "24", PARRY_OK, ""},
        {"./weights.bin", NULL, PARRY_OK, ""},
        {"link.bin", NULL, PARRY_OK, ""},
        {"away.bin", NULL, PARRY_FORMAT, "outside the model's folder"},
        {"folder/../weights.bin", NULL, PARRY_FORMAT, "outside the model's folder"},
        {"/etc/passwd", NULL, PARRY_FORMAT, "outside the model's folder"},
        {"none.bin", NULL, PARRY_NOT_FOUND, "which is not there"},
        {"folder", NULL, PARRY_FORMAT, "is not a plain file"},
        {"pipe", NULL, PARRY_FORMAT, "is not a plain file"},
        {"short.bin", NULL, PARRY_FORMAT, "which has 20 bytes"},
        {"weights.bin", "23", PARRY_FORMAT, "does not fit 24 bytes"},
        {"", NULL, PARRY_FORMAT, "does not fit 24 bytes"},
    };
    static const float weights[] = {1, 2, 3, 4, 5, 6}, transposed[] = {1, 3, 5, 2, 4, 6};
    parry_ctx *ctx = context();
    char folder[] = "external-XXXXXX", path[64], cwd[64];
    assert_non_null(mkdtemp(folder));
    snprintf(cwd, sizeof cwd, "%s/model.onnx", folder);
#define IN_FOLDER(name) (snprintf(path, sizeof path, "%s/%s", folder, name), path)
    assert_int_equal(parry_file_write(ctx, IN_FOLDER("weights.bin"), weights, sizeof weights), PARRY_OK);
    assert_int_equal(parry_file_write(ctx, IN_FOLDER("short.bin"), weights, 20), PARRY_OK);
    assert_int_equal(mkdir(IN_FOLDER("folder"), 0700), 0);
    assert_int_equal(mkfifo(IN_FOLDER("pipe"), 0600), 0);
    assert_int_equal(symlink("weights.bin", IN_FOLDER("link.bin")), 0);
    assert_int_equal(symlink("/etc/passwd", IN_FOLDER("away.bin")), 0);
    for (size_t i = 0; i < PR_COUNT(cases); i++) {
        char text[256];
        pr_onnx_model model;
        const size_t size = external_model(cases[i].location, cases[i].length, (uint8_t *)text);
        assert_int_equal(parry_file_write(ctx, cwd, text, size), PARRY_OK);
        const parry_status status = pr_onnx_read(ctx, cwd, &model);
        if (status != cases[i].status || (status != PARRY_OK && !strstr(parry_ctx_error(ctx), cases[i].says)))
            fail_msg("'%s': %s: %s", cases[i].location, parry_status_name(status), parry_ctx_error(ctx));
        if (status == PARRY_OK)
            assert_memory_equal(model.weights->items[0].data, transposed, sizeof transposed);
        pr_onnx_clear(&model);
    }
    static const char *const names[] = {"weights.bin", "short.bin", "pipe", "link.bin", "away.bin", "model.onnx"};
    for (size_t i = 0; i < PR_COUNT(names); i++)
        assert_int_equal(unlink(IN_FOLDER(names[i])), 0);
    assert_int_equal(rmdir(IN_FOLDER("folder")), 0);
    assert_int_equal(rmdir(folder), 0);
    parry_ctx_free(ctx);
}

/* Empty, damaged, or another kind of file that is easily taken for a network: then the sentence says which. */
static void other_files_are_no_networks(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        size_t size;
        const char *words;
    } files[] = {
        {"", 0, "no network"},
        {"\n", 1, "not an ONNX file"},
        {"\x89PNG\r\n\x1a\n", 8, "not an ONNX file"},
        {"PK\3\4\0\0\b\b", 8, "a zip archive, as PyTorch"},
        {"\x80\2\x8a\nl\xfc\x9c\x46", 8, "a Python pickle"},
        {"\x80\4}q\0.", 6, "a Python pickle"},
        {"\x89HDF\r\n\x1a\n", 8, "HDF5, as Keras"},
        {"\x1c\0\0\0TFL3", 8, "TensorFlow Lite"},
        {"version https://git-lfs.github.com/spec/v1\n", 43, "a pointer of Git LFS"},
        {"<!DOCTYPE html><html></html>", 28, "a web page"},
        {"parry checkpoint\1\0\0\0", 20, "a checkpoint of training"},
        {"parry check", 11, "not an ONNX file"},
    };
    parry_ctx *ctx = context();
    for (size_t i = 0; i < PR_COUNT(files); i++) {
        assert_int_equal(decode(ctx, (const uint8_t *)files[i].bytes, files[i].size), PARRY_FORMAT);
        assert_non_null(strstr(parry_ctx_error(ctx), files[i].words));
    }
    parry_ctx_free(ctx);
}

/* Files that between them use every operator. */
static const char *const seeds[] = {
    "conv_group_dilated.onnx", "pad_chain.onnx",      "shape_slice.onnx",  "batch_norm.onnx", "average_pool.onnx",
    "gemm_scaled.onnx",        "softmax_tail.onnx",   "type_float16.onnx", "nhwc.onnx",       "preprocessing.onnx",
    "matmul_add.onnx",         "constant_nodes.onnx", "squeeze.onnx",      "dropout.onnx",    "fixed_batch.onnx",
    "split.onnx",        "concat_constant.onnx", "resize_cubic.onnx", "slice.onnx",     "pad_reflect.onnx",
    "tile.onnx",         "depth_to_space_dcr.onnx", "gather_matrix.onnx", "lp_pool.onnx",
    "branches.onnx",     "max_pool_volume.onnx", "sequence_first.onnx", "inside_one_image.onnx", "resize_antialias_outside.onnx",
    "classic_rest.onnx", "classic_layers_binary.onnx", "only_image.onnx"};


static void for_each_seed(void (*test)(parry_ctx *ctx, uint8_t *data, size_t size))
{
    parry_ctx *ctx = context();
    for (size_t i = 0; i < PR_COUNT(seeds); i++) {
        char path[4096];
        uint8_t *data;
        size_t size;
        assert_int_equal(pr_file_read(ctx, golden(path, seeds[i]), 1 << 20, &data, &size), PARRY_OK);
        test(ctx, data, size);
        pr_free(data);
    }
    parry_ctx_free(ctx);
}

static void truncate_everywhere(parry_ctx *ctx, uint8_t *data, size_t size)
{
    for (size_t length = 0; length < size; length += 3) {
        uint8_t *copy = malloc(length + 1); /* of its own, so that a sanitiser sees reads beyond the end */
        memcpy(copy, data, length);
        (void)decode(ctx, copy, length); /* a cut between two fields of the model may leave a whole one */
        free(copy);
    }
}

static void truncated_files_are_refused_or_whole(void **state)
{
    (void)state;
    for_each_seed(truncate_everywhere);
}

static void flip_bits(parry_ctx *ctx, uint8_t *data, size_t size)
{
    for (uint64_t trial = 0; trial < 400; trial++) {
        pr_rng rng = pr_rng_init(1, PR_STREAM_TEST, trial);
        uint8_t *copy = malloc(size);
        memcpy(copy, data, size);
        for (uint32_t flips = 1 + pr_rng_below(&rng, 4); flips > 0; flips--)
            copy[pr_rng_below(&rng, (uint32_t)size)] ^= (uint8_t)(1u << pr_rng_below(&rng, 8));
        (void)decode(ctx, copy, size); /* some bits, those of weights and names, do no harm */
        free(copy);
    }
}

static void damaged_files_do_no_harm(void **state)
{
    (void)state;
    for_each_seed(flip_bits);
}

static void fail_each_allocation(parry_ctx *ctx, uint8_t *data, size_t size)
{
    parry_status status = PARRY_NO_MEMORY;
    for (long n = 1; status != PARRY_OK; n++) {
        assert_true(n < 10000);
        pr_alloc_fail_at(n);
        status = decode(ctx, data, size);
        pr_alloc_fail_at(0);
        assert_true(status == PARRY_OK || status == PARRY_NO_MEMORY);
    }
}

static void every_failing_allocation_is_reported(void **state)
{
    (void)state;
    for_each_seed(fail_each_allocation);
}

/* What the fuzzer (fuzz/fuzz_onnx.c) has found worth keeping. */
static void fuzz_corpus_is_harmless(void **state)
{
    (void)state;
    char folder[4096], path[4096 + 300];
    parry_ctx *ctx = context();
    int files = 0;
    snprintf(folder, sizeof folder, "%s/onnx", getenv("PARRY_FUZZ_CORPUS"));
    DIR *dir = opendir(folder);
    assert_non_null(dir);
    for (struct dirent *entry; (entry = readdir(dir));) {
        uint8_t *data;
        size_t size;
        if (entry->d_name[0] == '.')
            continue;
        snprintf(path, sizeof path, "%s/%s", folder, entry->d_name);
        assert_int_equal(pr_file_read(ctx, path, 1 << 20, &data, &size), PARRY_OK);
        (void)decode(ctx, data, size);
        pr_free(data);
        files++;
    }
    closedir(dir);
    assert_true(files > 0);
    parry_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(external_data_stays_in_the_folder),
        cmocka_unit_test(each_defect_has_its_sentence),         cmocka_unit_test(other_files_are_no_networks),
        cmocka_unit_test(truncated_files_are_refused_or_whole), cmocka_unit_test(damaged_files_do_no_harm),
        cmocka_unit_test(every_failing_allocation_is_reported), cmocka_unit_test(fuzz_corpus_is_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
