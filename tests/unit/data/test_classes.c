/* Classes by name, identifier and index; labels from a table. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "data/photos.h"
#include "../support/context.h"

static const pr_classes imagenet = {"the network", PR_IMAGENET_CLASSES, pr_imagenet_names, pr_imagenet_wnids};
static const char *const pets[] = {"cat", "dog", "2"};
static const pr_classes small = {"the network", 3, pets, NULL};
static const pr_classes nameless = {"the network", 3, NULL, NULL};

static void check(const pr_classes *classes, const char *text, int expected)
{
    int found = -1;
    OK_IN(ctx, pr_classes_find(ctx, classes, text, &found));
    if (found != expected)
        fail_msg("'%s' is %d, expected %d", text, found, expected);
}

static void check_not(const pr_classes *classes, const char *text, parry_status status, const char *words)
{
    int found;
    assert_int_equal(pr_classes_find(ctx, classes, text, &found), status);
    check_says(ctx, words);
}

static void test_imagenet(void **state)
{
    (void)state;
    check(&imagenet, "mountain tent", 672);
    check(&imagenet, "Mountain_Tent", 672);
    check(&imagenet, "n03792972", 672);
    check(&imagenet, "672", 672);
    check(&imagenet, "volcano", 980);
    check(&imagenet, "Tinca tinca", 0);
    check(&imagenet, "tench, Tinca tinca", 0);
    check(&imagenet, "jigsaw_puzzle", 611);
    check_not(&imagenet, "crane", PARRY_INVALID, "134");
    check_not(&imagenet, "crane", PARRY_INVALID, "517");
    check_not(&imagenet, "tent", PARRY_NOT_FOUND, "mountain tent");
    check_not(&imagenet, "vulcano", PARRY_NOT_FOUND, "volcano");
    check_not(&imagenet, "1000", PARRY_NOT_FOUND, "0 to 999");
    check_not(&imagenet, "n99999999", PARRY_NOT_FOUND, "n99999999");
    check_not(&imagenet, "", PARRY_NOT_FOUND, "''");
    check_not(&imagenet, "a", PARRY_NOT_FOUND, "no class 'a'");
    int index;
    assert_int_equal(pr_classes_find(ctx, &imagenet, "an", &index), PARRY_NOT_FOUND); /* part of many names */
    assert_null(strstr(parry_ctx_error(ctx), "did you mean"));
}

static void test_identifiers_ascend_and_are_unique(void **state)
{
    (void)state;
    for (int i = 0; i + 1 < PR_IMAGENET_CLASSES; i++)
        assert_true(strcmp(pr_imagenet_wnids[i], pr_imagenet_wnids[i + 1]) < 0);
}

static void test_others(void **state)
{
    (void)state;
    check(&small, "DOG", 1);
    check(&small, "0", 0);
    check(&small, "2", 2);
    check_not(&small, "n03792972", PARRY_NOT_FOUND, "n03792972");
    check(&nameless, "1", 1);
    check_not(&nameless, "dog", PARRY_NOT_FOUND, "0 to 2");
    char name[8];
    pr_class_first_name("tench, Tinca tinca", name, sizeof name);
    assert_string_equal(name, "tench");
    pr_class_first_name("hammerhead", name, sizeof name);
    assert_string_equal(name, "hammerh");
}

static void test_names_that_are_numbers(void **state)
{
    (void)state;
    static const char *const fives[] = {"5", "0", "15"};
    const pr_classes numbers = {"the network", 3, fives, NULL};
    check(&numbers, "5", 0);
    check(&numbers, "0", 1);
    check_not(&numbers, "2", PARRY_NOT_FOUND, "no class '2'");
}

static void test_orders(void **state)
{
    (void)state;
    static const char *const names[][3] = {{"cat", "dog", "bird"}, {"Cat", "dog", "a bird, bird"}, {"kitten", "dog", "bird"},
                                           {"x", "y", "z"},        {"dog", "cat", "bird"},         {"x", "y", "cat"}};
    const pr_classes mine = {"net.onnx", 3, names[0], NULL}, nobody = {"data", 3, NULL, NULL};
    for (int i = 0; i < 4; i++) {
        const pr_classes theirs = {"data", 3, names[i], NULL};
        OK_IN(ctx, pr_classes_match(ctx, &mine, &theirs));
    }
    OK_IN(ctx, pr_classes_match(ctx, &mine, &nobody));
    OK_IN(ctx, pr_classes_match(ctx, &nobody, &mine));
    OK_IN(ctx, pr_classes_match(ctx, &imagenet, &imagenet)); /* has names twice */
    for (int i = 4; i < 6; i++) {
        const pr_classes theirs = {"data", 3, names[i], NULL};
        assert_int_equal(pr_classes_match(ctx, &mine, &theirs), PARRY_MISMATCH);
        if (i == 4)
            assert_string_equal(parry_ctx_error(ctx), "net.onnx and data count the same classes differently: cat, dog, bird; and "
                                                      "dog, cat, bird. Give the data in the network's order");
    }
}

static void write_file(char *path, const char *text)
{
    strcpy(path, "/tmp/parry-labels-XXXXXX");
    FILE *out = fdopen(mkstemp(path), "w");
    fputs(text, out);
    fclose(out);
}

static parry_status read_table(const char *text, pr_label_table *table)
{
    char path[64];
    write_file(path, text);
    const parry_status status = pr_labels_read(ctx, path, &imagenet, table);
    unlink(path);
    return status;
}

static void test_tables(void **state)
{
    pr_label_table table;
    (void)state;
    OK_IN(ctx, read_table("\xef\xbb\xbfname,file,class_name\r\n1,a.jpg,\"buckeye, horse chestnut, conker\"\r\n2,\"b "
                          "\"\"c\"\".jpg\",volcano\r\n\r\n3,d,\r\n",
                          &table));
    assert_int_equal(table.count, 3);
    assert_string_equal(table.rows[0].file, "a.jpg");
    assert_int_equal(table.rows[0].label, 990);
    assert_string_equal(table.rows[1].file, "b \"c\".jpg");
    assert_int_equal(table.rows[1].label, 980);
    assert_int_equal(table.rows[2].label, -1);
    pr_labels_release(&table);
    OK_IN(ctx, read_table("image,wnid,class_index\nx,n03792972,7\n", &table)); /* the index is the better column */
    assert_int_equal(table.rows[0].label, 7);
    pr_labels_release(&table);
    OK_IN(ctx, read_table("file,label\nx,7", &table)); /* no newline at the end */
    assert_int_equal(table.count, 1);
    pr_labels_release(&table);
}

static void test_bad_tables(void **state)
{
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"", "no column for the file"},
        {"file\nx\n", "no column for the label"},
        {"file,label\nx\n", "line 2 has 1 fields"},
        {"file,label\nx,\"7\n", "not closed"},
        {"file,label\nx,\"", "not closed"},
        {"file,label\n\"x\"y,7\n", "line 2"},
        {"file,label\nx\ry,7\n", "line 2"},
        {"file,label\nx,vulcano\n", "line 2"},
        {"file,label\nx,1\ny,1234\n", "line 3"},
    };
    pr_label_table table;
    (void)state;
    for (size_t i = 0; i < PR_COUNT(cases); i++) {
        assert_int_not_equal(read_table(cases[i].text, &table), PARRY_OK);
        check_says(ctx, cases[i].words);
        assert_null(table.rows);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_imagenet),   cmocka_unit_test(test_identifiers_ascend_and_are_unique),
        cmocka_unit_test(test_others), cmocka_unit_test(test_names_that_are_numbers), cmocka_unit_test(test_orders),     cmocka_unit_test(test_tables),
        cmocka_unit_test(test_bad_tables),
    };
    return cmocka_run_group_tests_name("classes", tests, set_up_context, tear_down_context);
}
