/* What belongs to an attack beside its code: a row, a page of prose, golden vectors, and a description that a user can
 * work with. */
#include "base/file.h"
#include "support.h"

/* The files that exist are checked from the root of the source tree, two folders above the golden data. */
static void assert_file(parry_ctx *ctx, const char *format, const char *name, const char *what)
{
    const char *golden = getenv("PARRY_TEST_DATA");
    char *relative, *path;
    if (!golden)
        skip();
    assert_int_equal(pr_asprintf(ctx, &relative, format, name), PARRY_OK);
    assert_int_equal(pr_asprintf(ctx, &path, "%s/../../%s", golden, relative), PARRY_OK);
    if (!pr_file_exists(path))
        fail_msg("attack %s has no %s: %s is missing", name, what, relative);
    parry_string_free(relative);
    parry_string_free(path);
}

static void test_every_attack_is_complete(void **state)
{
    (void)state;
    parry_ctx *ctx = make_ctx(1, 0);
    for (size_t i = 0; pr_attack_impl_at(i); i++) {
        const char *name = pr_attack_impl_at(i)->info.name;
        assert_file(ctx, "src/attack/%s.c", name, "source file of its name");
        assert_file(ctx, "docs/attacks/%s.md", name, "page of prose");
        assert_file(ctx, "tests/golden/attack/%s.json", name, "golden vectors");
    }
    parry_ctx_free(ctx);
}

static void test_every_attack_describes_itself(void **state)
{
    (void)state;
    parry_ctx *ctx = make_ctx(1, 0);
    size_t count = 0;
    for (; pr_attack_impl_at(count); count++) {
        const pr_attack_impl *impl = pr_attack_impl_at(count);
        const parry_attack_info *info = parry_attack_at(count), *found;
        parry_attack *attack;
        assert_ptr_equal(info, &impl->info);
        assert_int_equal(parry_attack_find(ctx, info->name, &found), PARRY_OK);
        assert_ptr_equal(found, info);
        assert_int_equal(strspn(info->name, "abcdefghijklmnopqrstuvwxyz0123456789-"), strlen(info->name));
        assert_true(strlen(info->summary) > 10 && strlen(info->summary) < 75);
        assert_true(strncmp(info->cite, "arXiv:", 6) == 0);
        assert_true(info->norms != 0 && info->needs != 0);
        assert_non_null(impl->run);
        assert_int_equal(parry_attack_create(ctx, info->name, &attack), PARRY_OK);
        assert_true(strlen(parry_attack_label(attack)) > 1);
        parry_attack_free(attack);
        for (size_t row = 0; info->options && row < info->options->count; row++) {
            const parry_option *option = &info->options->rows[row];
            assert_true(option->help && strlen(option->help) > 5);
            assert_non_null(option->def); /* an attack runs without being told anything */
        }
    }
    assert_null(parry_attack_at(count));
    parry_ctx_free(ctx);
}

static char *read_source(parry_ctx *ctx, const char *name)
{
    char path[1024];
    uint8_t *text;
    size_t size;
    snprintf(path, sizeof path, "%s/../../%s", getenv("PARRY_TEST_DATA"), name);
    assert_int_equal(pr_file_read(ctx, path, 1 << 20, &text, &size), PARRY_OK);
    return (char *)text;
}

/* Every piece of C in the page that teaches how to add an attack stands in the sources word for word. */
static void test_the_lesson_shows_the_code_as_it_is(void **state)
{
    (void)state;
    static const char *const names[] = {"src/attack/fgsm.c", "src/attack/pgd.c", "src/attack/registry.def"};
    if (!getenv("PARRY_TEST_DATA"))
        skip();
    parry_ctx *ctx = make_ctx(1, 0);
    char *page = read_source(ctx, "docs/adding-an-attack.md"), *sources[PR_COUNT(names)], *block = page;
    int blocks = 0;
    for (size_t i = 0; i < PR_COUNT(names); i++)
        sources[i] = read_source(ctx, names[i]);
    while ((block = strstr(block, "```c\n"))) {
        block += strlen("```c\n");
        char *end = strstr(block, "```");
        bool found = false;
        assert_non_null(end);
        *end = '\0';
        for (size_t i = 0; i < PR_COUNT(names); i++)
            found |= strstr(sources[i], block) != NULL;
        if (!found)
            fail_msg("docs/adding-an-attack.md shows code that no source has:\n%s", block);
        block = end + 1;
        blocks++;
    }
    assert_in_range(blocks, 4, 20);
    for (size_t i = 0; i < PR_COUNT(names); i++)
        pr_free(sources[i]);
    pr_free(page);
    parry_ctx_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_attack_is_complete),
        cmocka_unit_test(test_every_attack_describes_itself),
        cmocka_unit_test(test_the_lesson_shows_the_code_as_it_is),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
