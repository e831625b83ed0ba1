/* A set in two files, images and labels, of a format that has a reader for each. */
#include "data/data.h"

parry_status pr_pair_read(parry_ctx *ctx, const pr_pair_format *format, const char *images_path,
                          const char *labels_path, int classes, pr_images *out)
{
    uint8_t *data;
    size_t size;
    parry_status status;
    *out = (pr_images){0};
    TRY(pr_file_read_gz(ctx, images_path, PR_DATA_FILE_LIMIT, &data, &size));
    status = format->images(ctx, images_path, data, size, out);
    pr_free(data);
    TRY_TO(fail, status);
    TRY_TO(fail, pr_file_read_gz(ctx, labels_path, PR_DATA_FILE_LIMIT, &data, &size));
    status = format->labels(ctx, labels_path, data, size, classes, out);
    pr_free(data);
    TRY_TO(fail, status);
    return PARRY_OK;
fail:
    pr_images_release(out);
    return status;
}
