/* Fuzzes the reader of tables of labels: every row names a file and one of the classes, or none. */
#include "data/photos.h"
#include "file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const names[] = {"tench, Tinca tinca", "crane", "crane", "mountain tent"};
    static const char *const wnids[] = {"n01440764", "n02012849", "n03126707", "n03792972"};
    const pr_classes classes = {.of = "a network", .count = 4, .names = names, .wnids = wnids};
    pr_label_table table;
    parry_ctx *ctx;
    if (parry_ctx_create(NULL, &ctx) != PARRY_OK)
        abort();
    if (pr_labels_read(ctx, fuzz_file(data, size), &classes, &table) == PARRY_OK)
        for (size_t i = 0; i < table.count; i++)
            if (!table.rows[i].file || table.rows[i].label < -1 || table.rows[i].label >= classes.count)
                abort();
    pr_labels_release(&table);
    parry_ctx_free(ctx);
    return 0;
}
