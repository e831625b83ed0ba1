/* Data sets. Pixels are in memory, but for photographs, which are read when they are asked for. They stay 8-bit where
 * the source was 8-bit (MNIST's training set: 47 MB, not 188) and become floats when they are copied out; subsets share
 * them by reference count. */
#include <math.h>
#include <stdatomic.h>
#include <string.h>

#include "base/json.h"
#include "data/data.h"
#include "data/photos.h"
#include "tensor/tensor.h"

typedef struct store {
    atomic_int references;
    pr_images images;
    char *name, *origin, *note;
    char **class_names;
    char sha256[PR_SHA256_HEX];
} store;

struct parry_dataset {
    parry_dataset_info info;
    store *store;
};

void pr_images_release(pr_images *images)
{
    pr_free(images->bytes);
    pr_free(images->floats);
    pr_free(images->labels);
    for (int64_t i = 0; images->names && i < images->count; i++)
        pr_free(images->names[i]);
    pr_free(images->names);
    pr_photo_reader_free(images->photos);
    *images = (pr_images){0};
}

int64_t pr_images_row(const pr_images *images)
{
    return (int64_t)images->channels * images->height * images->width;
}

parry_status pr_images_sha256(parry_ctx *ctx, const pr_images *images, int64_t count, char hex[PR_SHA256_HEX])
{
    size_t values = (size_t)(count * pr_images_row(images));
    pr_sha256_state *state;
    TRY(pr_sha256_begin(ctx, &state));
    if (images->bytes)
        pr_sha256_add(state, images->bytes, values);
    else
        pr_sha256_add(state, images->floats, values * sizeof(float));
    pr_sha256_add(state, images->labels, (size_t)count * sizeof(int32_t));
    pr_sha256_end(state, hex);
    return PARRY_OK;
}

bool pr_extent_bytes(const int64_t *extent, int rank, size_t size, size_t *bytes)
{
    *bytes = size;
    for (int i = 0; i < rank; i++)
        if (extent[i] <= 0 || __builtin_mul_overflow(*bytes, (uint64_t)extent[i], bytes) || *bytes > PR_DATA_FILE_LIMIT)
            return false;
    return true;
}

static void store_release(store *s)
{
    if (!s || atomic_fetch_sub(&s->references, 1) > 1)
        return;
    for (int i = 0; s->class_names && i < s->images.classes; i++)
        pr_free(s->class_names[i]);
    pr_free(s->class_names);
    pr_images_release(&s->images);
    pr_free(s->name);
    pr_free(s->origin);
    pr_free(s->note);
    pr_free(s);
}

static parry_status copy_words(parry_ctx *ctx, store *s, const pr_dataset_words *words)
{
    TRY(pr_strdup(ctx, words->name, &s->name));
    pr_make_printable(s->name);
    TRY(pr_strdup(ctx, words->origin, &s->origin));
    if (words->note)
        TRY(pr_strdup(ctx, words->note, &s->note));
    if (!words->class_names)
        return PARRY_OK;
    TRY(pr_alloc(ctx, s->images.classes, &s->class_names));
    for (int i = 0; i < s->images.classes; i++)
        TRY(pr_strdup(ctx, words->class_names[i], &s->class_names[i]));
    return PARRY_OK;
}

static parry_status store_create(parry_ctx *ctx, pr_images *images, const pr_dataset_words *words, store **out)
{
    *out = NULL;
    store *s;
    parry_status status = pr_alloc(ctx, 1, &s);
    if (status != PARRY_OK) {
        pr_images_release(images);
        return status;
    }
    atomic_init(&s->references, 1);
    s->images = *images;
    *images = (pr_images){0};
    TRY_TO(fail, copy_words(ctx, s, words));
    if (!s->images.photos)
        TRY_TO(fail, pr_images_sha256(ctx, &s->images, s->images.count, s->sha256));
    *out = s;
    return PARRY_OK;
fail:
    store_release(s);
    return status;
}

parry_status pr_dataset_take(parry_ctx *ctx, pr_images *images, const pr_dataset_words *words, parry_dataset **out)
{
    store *s;
    *out = NULL;
    TRY(store_create(ctx, images, words, &s));
    parry_status status = pr_alloc(ctx, 1, out);
    if (status != PARRY_OK) {
        store_release(s);
        return status;
    }
    (*out)->store = s;
    (*out)->info = (parry_dataset_info){
        .name = s->name,
        .split = words->split,
        .origin = s->origin,
        .note = s->note,
        .sha256 = s->images.photos ? pr_photo_reader_sha256(s->images.photos) : s->sha256,
        .count = s->images.count,
        .channels = s->images.channels,
        .height = s->images.height,
        .width = s->images.width,
        .classes = s->images.classes,
        .open_classes = s->images.open_classes,
        .class_names = (const char *const *)s->class_names,
    };
    return PARRY_OK;
}

static parry_status check_values(parry_ctx *ctx, const pr_images *images)
{
    int64_t row = pr_images_row(images);
    for (int64_t i = 0; i < images->count; i++) {
        if (!pr_all_finite(images->floats + i * row, row))
            return pr_fail(ctx, PARRY_NUMERIC, "image %lld has a pixel that is not finite", (long long)i);
        if (images->labels[i] < -1 || images->labels[i] >= images->classes)
            return pr_fail(ctx, PARRY_INVALID, "label %lld is %d; expected 0 to %d, or -1 for unknown", (long long)i,
                           images->labels[i], images->classes - 1);
    }
    return PARRY_OK;
}

parry_status parry_dataset_create(parry_ctx *ctx, const float *images, const int32_t *labels, int64_t n, int channels,
                                  int height, int width, int classes, parry_dataset **out)
{
    *out = NULL;
    const int64_t extent[] = {n, channels, height, width};
    size_t bytes;
    if (classes < 1 || !pr_extent_bytes(extent, PR_COUNT(extent), sizeof(float), &bytes))
        return pr_fail(ctx, PARRY_INVALID,
                       "a dataset of %lld images of %d x %d x %d in %d classes: all must be positive and fit in memory",
                       (long long)n, channels, height, width, classes);
    pr_images copy = {.count = n, .channels = channels, .height = height, .width = width, .classes = classes};
    parry_status status;
    TRY_TO(fail, pr_alloc_raw_bytes(ctx, 1, bytes, (void **)&copy.floats));
    TRY_TO(fail, pr_alloc_raw(ctx, n, &copy.labels));
    memcpy(copy.floats, images, bytes);
    memcpy(copy.labels, labels, (size_t)n * sizeof *labels);
    TRY_TO(fail, check_values(ctx, &copy));
    return pr_dataset_take(ctx, &copy, &(pr_dataset_words){.name = "memory", .split = "all", .origin = "memory"}, out);
fail:
    pr_images_release(&copy);
    return status;
}

/* Pixels, labels and names of the first info.count images. */
static parry_status copy_images(parry_ctx *ctx, const parry_dataset *dataset, const float *pixels, pr_images *out)
{
    const pr_images *from = &dataset->store->images;
    const int64_t n = dataset->info.count, floats = n * pr_images_row(from);
    *out = (pr_images){.count = n,
                       .channels = from->channels,
                       .height = from->height,
                       .width = from->width,
                       .classes = from->classes,
                       .open_classes = from->open_classes};
    TRY(pr_alloc_raw(ctx, floats, &out->floats));
    TRY(pr_alloc_raw(ctx, n, &out->labels));
    memcpy(out->floats, pixels, (size_t)floats * sizeof *pixels);
    memcpy(out->labels, from->labels, (size_t)n * sizeof *from->labels);
    if (from->names)
        TRY(pr_alloc(ctx, n, &out->names));
    for (int64_t i = 0; from->names && i < n; i++)
        TRY(pr_strdup(ctx, from->names[i], &out->names[i]));
    return check_values(ctx, out);
}

parry_status parry_dataset_replace(parry_ctx *ctx, const parry_dataset *dataset, const float *images, const char *note,
                                   parry_dataset **out)
{
    const parry_dataset_info *info = &dataset->info;
    pr_images copy;
    char *notes;
    *out = NULL;
    TRY(pr_asprintf(ctx, &notes, "%s%s%s", info->note ? info->note : "", info->note ? "; " : "", note));
    parry_status status = copy_images(ctx, dataset, images, &copy);
    if (status == PARRY_OK)
        status = pr_dataset_take(ctx, &copy,
                                 &(pr_dataset_words){.name = info->name,
                                                     .split = info->split,
                                                     .origin = "memory",
                                                     .note = notes,
                                                     .class_names = info->class_names},
                                 out);
    else
        pr_images_release(&copy);
    pr_free(notes);
    return status;
}

void parry_dataset_free(parry_dataset *dataset)
{
    if (!dataset)
        return;
    store_release(dataset->store);
    pr_free(dataset);
}

parry_status parry_dataset_first(parry_ctx *ctx, const parry_dataset *dataset, int64_t count, parry_dataset **out)
{
    *out = NULL;
    if (count < 0)
        return pr_fail(ctx, PARRY_INVALID, "the first %lld images were asked for; expected 0 (all) or more",
                       (long long)count);
    TRY(pr_alloc(ctx, 1, out));
    **out = *dataset;
    atomic_fetch_add(&dataset->store->references, 1);
    if (count > 0)
        (*out)->info.count = PR_MIN(count, dataset->info.count);
    return PARRY_OK;
}

parry_status pr_dataset_refit(parry_ctx *ctx, const parry_dataset *dataset, const pr_photo_size *size,
                              parry_dataset **out)
{
    const parry_dataset_info *info = &dataset->info;
    const pr_images *from = &dataset->store->images;
    pr_images images;
    *out = NULL;
    if (!from->photos || pr_photo_size_same(pr_photo_reader_size(from->photos), size))
        return parry_dataset_first(ctx, dataset, 0, out);
    TRY(pr_photos_reopen(ctx, from->photos, size, &images));
    images.classes = from->classes;
    TRY(pr_dataset_take(ctx, &images,
                        &(pr_dataset_words){.name = info->name,
                                            .split = info->split,
                                            .origin = info->origin,
                                            .note = info->note,
                                            .class_names = info->class_names},
                        out));
    (*out)->info.count = info->count;
    return PARRY_OK;
}

parry_status pr_dataset_check_classes(parry_ctx *ctx, const parry_dataset_info *info, const char *who, int classes)
{
    if (classes == info->classes || (info->open_classes && classes > info->classes))
        return PARRY_OK;
    return pr_fail(ctx, PARRY_MISMATCH, "%s tells %d classes apart, but %s has %d", who, classes, info->name,
                   info->classes);
}

bool pr_dataset_has_photos(const parry_dataset *dataset)
{
    return dataset->store->images.photos != NULL;
}

const parry_dataset_info *parry_dataset_describe(const parry_dataset *dataset)
{
    return &dataset->info;
}

typedef struct reading {
    const pr_images *images;
    const int64_t *index;
    int64_t first;
    bool keep;
    float *out;
} reading;

static parry_status read_image(parry_ctx *ctx, void *arg, int64_t i, int worker)
{
    const reading *r = arg;
    const pr_images *images = r->images;
    const int64_t row = pr_images_row(images), at = r->index ? r->index[i] : r->first + i;
    float *out = r->out + i * row;
    (void)worker;
    if (images->photos)
        return pr_photo_reader_read(ctx, images->photos, at, r->keep, out);
    if (images->bytes)
        pr_bytes_to_unit(images->bytes + at * row, out, row);
    else
        memcpy(out, images->floats + at * row, (size_t)row * sizeof *out);
    return PARRY_OK;
}

parry_status pr_dataset_read(parry_ctx *ctx, const parry_dataset *dataset, const int64_t *index, int64_t first,
                             int64_t n, bool keep, float *out)
{
    reading r = {&dataset->store->images, index, first, keep, out};
    if (r.images->photos)
        return pr_parallel_for(ctx, n, read_image, &r);
    for (int64_t i = 0; i < n; i++)
        TRY(read_image(ctx, &r, i, 0));
    return PARRY_OK;
}

parry_status parry_dataset_images(parry_ctx *ctx, const parry_dataset *dataset, int64_t first, int64_t n, float *out)
{
    return pr_dataset_read(ctx, dataset, NULL, first, n, true, out);
}

parry_status pr_dataset_load(parry_ctx *ctx, const parry_dataset *dataset)
{
    pr_photo_reader *photos = dataset->store->images.photos;
    return photos ? pr_photo_reader_load(ctx, photos) : PARRY_OK;
}

const int32_t *parry_dataset_labels(const parry_dataset *dataset)
{
    return dataset->store->images.labels;
}

const char *parry_dataset_image_name(const parry_dataset *dataset, int64_t index)
{
    char *const *names = dataset->store->images.names;
    return names ? names[index] : "";
}

/* ---- writing ---------------------------------------------------------------------------------------------------- */

static parry_status write_pixels(parry_ctx *ctx, const parry_dataset *dataset, FILE *stream)
{
    const parry_dataset_info *info = &dataset->info;
    int64_t row = pr_images_row(&dataset->store->images);
    float *image;
    parry_status status = PARRY_OK;
    TRY(pr_alloc_raw(ctx, row, &image));
    pr_npy_header(stream, "<f4", (const int64_t[]){info->count, info->channels, info->height, info->width}, 4);
    for (int64_t i = 0; i < info->count && status == PARRY_OK; i++) {
        status = pr_dataset_read(ctx, dataset, NULL, i, 1, false, image);
        fwrite(image, sizeof *image, (size_t)row, stream);
    }
    pr_free(image);
    return status;
}

static parry_status write_labels(parry_ctx *ctx, const parry_dataset *dataset, FILE *stream)
{
    (void)ctx;
    pr_npy_header(stream, "<i8", &dataset->info.count, 1);
    for (int64_t i = 0; i < dataset->info.count; i++) {
        int64_t label = dataset->store->images.labels[i];
        fwrite(&label, sizeof label, 1, stream);
    }
    return PARRY_OK;
}

/* What the arrays do not say: the number of classes, their names, and the caveat. */
static parry_status write_words(parry_ctx *ctx, const parry_dataset *dataset, FILE *stream)
{
    const parry_dataset_info *info = &dataset->info;
    json_t *words = json_pack("{s:s, s:s}", "data", info->name, "split", info->split);
    if (!info->open_classes)
        pr_json_set(&words, "classes", json_integer(info->classes));
    if (info->note)
        pr_json_set(&words, "note", json_string(info->note));
    if (info->class_names) {
        json_t *names = json_array();
        for (int i = 0; i < info->classes; i++)
            pr_json_append(&names, json_string(info->class_names[i]));
        pr_json_set(&words, "class_names", names);
    }
    char *text;
    parry_status status = pr_json_text(ctx, words, &text);
    json_decref(words);
    TRY(status);
    fprintf(stream, "%s\n", text);
    parry_string_free(text);
    return PARRY_OK;
}

static const struct {
    const char *name;
    parry_status (*write)(parry_ctx *, const parry_dataset *, FILE *);
} parts[] = {{"images.npy", write_pixels}, {"labels.npy", write_labels}, {"dataset.json", write_words}};

static parry_status begin_part(parry_ctx *ctx, const char *folder, const char *name, pr_output *output)
{
    char *path;
    TRY(pr_path_join(ctx, folder, name, &path));
    parry_status status = pr_output_begin(ctx, path, output);
    pr_free(path);
    return status;
}

/* All parts are complete before any appears under its name. */
parry_status parry_dataset_write(parry_ctx *ctx, const parry_dataset *dataset, const char *path)
{
    pr_output outputs[PR_COUNT(parts)] = {0};
    parry_status status;
    TRY(parry_folder_make(ctx, path));
    for (size_t i = 0; i < PR_COUNT(parts); i++) {
        TRY_TO(out, begin_part(ctx, path, parts[i].name, &outputs[i]));
        TRY_TO(out, parts[i].write(ctx, dataset, outputs[i].stream));
    }
    for (size_t i = 0; i < PR_COUNT(parts); i++)
        TRY_TO(out, pr_output_commit(ctx, &outputs[i]));
out:
    for (size_t i = 0; i < PR_COUNT(parts); i++)
        pr_output_abort(&outputs[i]);
    return status;
}
