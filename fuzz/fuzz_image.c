/* Fuzzes the decoders of pictures: what is read has 1 or 3 channels and plausible extents, and can be resized. */
#include <stdlib.h>

#include "image/image.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    enum { PIXELS = 1 << 20 }; /* larger ones take too long for a fuzzer */
    parry_ctx *ctx;
    pr_bitmap read, small;
    if (parry_ctx_create(NULL, &ctx) != PARRY_OK)
        abort();
    const int turn = pr_exif_orientation(data, size);
    if (turn < 1 || turn > 8)
        abort();
    if (pr_image_decode(ctx, "input", data, size, NULL, &read) == PARRY_OK) {
        if ((read.channels != 1 && read.channels != 3) || read.height < 1 || read.width < 1 ||
            !read.bytes == !read.words)
            abort();
        const pr_window window = {.height = 9, .width = 7, .top = 1, .left = 2, .out_height = 5, .out_width = 4};
        if ((int64_t)read.height * read.width <= PIXELS && pr_bitmap_narrow(ctx, &read) == PARRY_OK &&
            pr_resize(ctx, &read, PR_FILTER_BILINEAR, &window, &small) == PARRY_OK)
            pr_bitmap_release(&small);
    } else if (read.bytes || read.words)
        abort();
    pr_bitmap_release(&read);
    parry_ctx_free(ctx);
    return 0;
}
