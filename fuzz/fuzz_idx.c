/* Fuzzes the readers of IDX files: the input is taken as images, and as labels for as many images as it has. */
#include <stdlib.h>

#include "data/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    parry_ctx *ctx;
    pr_images images;
    if (parry_ctx_create(NULL, &ctx) != PARRY_OK)
        abort();
    if (pr_idx_images(ctx, "input", data, size, &images) == PARRY_OK &&
        (size_t)(images.count * pr_images_row(&images)) > size)
        abort();
    pr_images_release(&images);
    images.count = size > 8 ? (int64_t)size - 8 : 1;
    if (pr_idx_labels(ctx, "input", data, size, 10, &images) == PARRY_OK)
        for (int64_t i = 0; i < images.count; i++)
            if (images.labels[i] < 0 || images.labels[i] > 9)
                abort();
    pr_images_release(&images);
    parry_ctx_free(ctx);
    return 0;
}
