/* Fuzzes the readers of NumPy's files: the input is taken as an array of images, as labels and as an archive. */
#include "data/data.h"
#include "file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void look(const pr_images *images)
{
    const int64_t row = pr_images_row(images);
    if (images->count < 1 || row < 1 || !images->bytes == !images->floats)
        abort();
    for (int64_t i = 0; i < images->count; i++)
        if (images->labels && (images->labels[i] < -1 || images->labels[i] >= images->classes))
            abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    parry_ctx *ctx;
    pr_images images;
    if (parry_ctx_create(NULL, &ctx) != PARRY_OK)
        abort();
    if (pr_npy_images(ctx, "input", data, size, &images) == PARRY_OK)
        look(&images);
    pr_images_release(&images);
    images.count = size > 128 ? (int64_t)(size - 128) : 1;
    if (pr_npy_labels(ctx, "input", data, size, 10, &images) == PARRY_OK)
        for (int64_t i = 0; i < images.count; i++)
            if (images.labels[i] < -1 || images.labels[i] > 9)
                abort();
    pr_images_release(&images);
    for (int split = 0; split < 2; split++)
        if (pr_npz_read(ctx, fuzz_file(data, size), (parry_split)split, &images) == PARRY_OK) {
            look(&images);
            pr_images_release(&images);
        }
    parry_ctx_free(ctx);
    return 0;
}
