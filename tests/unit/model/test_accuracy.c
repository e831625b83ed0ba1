/* Clean accuracy of third parties' networks, from the files as they lie in $PARRY_DATA: it must be the one that the JSON
 * beside a network states, to the image; for the networks of the verification competition, which state theirs in
 * per mille of the first images, to the last digit that is stated. */
#include <dirent.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "model/model.h"
#include "../support/context.h"

enum { PATH = 1024 };

static const char *root(void)
{
    return getenv("PARRY_DATA") ? getenv("PARRY_DATA") : "";
}

/* The key of a JSON's "clean_test_accuracy", and the data that it was measured on. */
static const struct {
    const char *key, *data;
} measured[] = {
    {"onnx_mnist_test_10000", "mnist"},
    {"onnx_cifar10_test_from_jpeg_10000", "cifar10-jpeg"},
    {"onnx_cifar10_lossless_300", "cifar10-lossless"},
};

static double accuracy_of(const char *path, const char *data, int64_t first, const parry_preprocess *preprocess,
                          int64_t *count)
{
    parry_dataset *all, *images;
    parry_model *model;
    double accuracy;
    OK_IN(ctx, parry_dataset_open(ctx, data, PARRY_TEST, &all));
    OK_IN(ctx, parry_dataset_first(ctx, all, first, &images));
    OK_IN(ctx, parry_model_load_as(ctx, path, preprocess, images, &model));
    OK_IN(ctx, parry_model_accuracy(ctx, model, images, &accuracy, NULL));
    *count = parry_dataset_describe(images)->count;
    parry_model_free(model);
    parry_dataset_free(images);
    parry_dataset_free(all);
    return accuracy;
}

/* Every accuracy that FOLDER/NAME.json states; returns how many. */
static int check_stated(const char *folder, const char *json_name)
{
    char path[2 * PATH];
    int checked = 0;
    snprintf(path, sizeof path, "%.1000s/%.1000s", folder, json_name);
    json_t *json = json_load_file(path, 0, NULL);
    assert_non_null(json);
    snprintf(strrchr(path, '.'), 6, ".onnx");
    for (size_t i = 0; i < PR_COUNT(measured); i++) {
        const json_t *stated = json_object_get(json_object_get(json, "clean_test_accuracy"), measured[i].key);
        int64_t count;
        if (!stated)
            continue;
        const double found = accuracy_of(path, measured[i].data, 0, NULL, &count);
        const long right = lround(found * (double)count), expected = lround(json_number_value(stated) * (double)count);
        if (right != expected)
            fail_msg("%s on %s: %ld of %lld right, its JSON says %ld", path, measured[i].data, right, (long long)count,
                     expected);
        checked++;
    }
    json_decref(json);
    return checked;
}

static void test_stated(void **state)
{
    static const struct {
        const char *name;
        int stated; /* the least number of accuracies that its JSON files state */
    } folders[] = {{"mnist", 6}, {"cifar10", 8}, {"third-party-onnx", 4}};
    (void)state;
    for (size_t i = 0; i < PR_COUNT(folders); i++) {
        char folder[PATH];
        int checked = 0;
        struct dirent *entry;
        snprintf(folder, sizeof folder, "%s/models/%s", root(), folders[i].name);
        if (!pr_is_folder(folder))
            skip();
        DIR *dir = opendir(folder);
        assert_non_null(dir);
        while ((entry = readdir(dir)))
            if (strlen(entry->d_name) > 5 && strcmp(entry->d_name + strlen(entry->d_name) - 5, ".json") == 0)
                checked += check_stated(folder, entry->d_name);
        closedir(dir);
        assert_true(checked >= folders[i].stated);
    }
}

#define CHANNELS(...) {.count = 3, .value = {__VA_ARGS__}}

static void test_competition(void **state)
{
    static const struct {
        const char *name, *data;
        int64_t first;
        int per_mille;
        parry_preprocess preprocess; /* where the file leaves it to its user */
    } nets[] = {
        {"mnist-net_256x2", "mnist", 2000, 974},
        {"mnist-net_256x6", "mnist", 2000, 959},
        {"mnist_relu_9_200", "mnist", 2000, 937},
        {"Convnet_maxpool", "mnist", 2000, 971},
        {"cifar10_small", "cifar10-lossless", 300, 630},
        {"resnet_2b", "cifar10-lossless", 300, 750,
         {.mean = CHANNELS(.4914, .4822, .4465), .std = CHANNELS(.2471, .2435, .2616)}},
        {"cifar_base_kw", "cifar10-lossless", 300, 630,
         {.mean = CHANNELS(.485, .456, .406), .std = CHANNELS(.225, .225, .225)}},
    };
    (void)state;
    for (size_t i = 0; i < PR_COUNT(nets); i++) {
        char path[PATH];
        int64_t count;
        snprintf(path, sizeof path, "%s/vnncomp/onnx/%s.onnx", root(), nets[i].name);
        if (access(path, R_OK) != 0)
            skip();
        const double found = accuracy_of(path, nets[i].data, nets[i].first, &nets[i].preprocess, &count);
        if (fabs(1000 * found - nets[i].per_mille) > 0.5)
            fail_msg("%s: %.2f %% of %lld images, expected %.1f %%", nets[i].name, 100 * found, (long long)count,
                     nets[i].per_mille / 10.0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stated),
        cmocka_unit_test(test_competition),
    };
    return cmocka_run_group_tests_name("accuracy", tests, set_up_context, tear_down_context);
}
