/* Photographs that are read when they are asked for, from any thread, as 8-bit planes of a network's size.
 *
 * Whoever classifies photographs or attacks them decodes them chunk by chunk on the thread that works on the chunk, so
 * that reading and computing overlap and only a few chunks are in memory. Who will ask again has them kept: as many as
 * there is room for, the others are decoded again. The bytes are the same in any case. */
#include <stdatomic.h>
#include <string.h>

#include "data/photos.h"
#include "tensor/tensor.h"

/* What is remarked on, once for all pictures. */
enum { REMARK_TRANSLUCENT = 1, REMARK_CMYK = 2, REMARK_DEEP = 4, REMARK_TO_GREY = 8, REMARK_EXACT = 16 };
static const struct {
    int bit;
    const char *words;
} remarks[] = {
    {REMARK_TRANSLUCENT, "transparent pixels were laid on white"},
    {REMARK_CMYK, "CMYK was converted to RGB without a colour profile"},
    {REMARK_DEEP, "16 bits a sample were rounded to 8"},
    {REMARK_TO_GREY, "colours were turned to grey, as the network takes one channel"},
    {REMARK_EXACT,
     "it has the network's size already, but is resized and cropped like any photograph; an adversary that "
     "was saved as PNG is read as it is with --resize none"},
};

/* What is known of a photograph since it was first read. */
typedef struct picture {
    _Atomic(uint8_t *) kept; /* its planes, or NULL */
    atomic_bool seen;
    uint8_t remarks;
    char sha256[PR_SHA256_HEX]; /* of the planes */
} picture;

struct pr_photo_reader {
    pr_photos photos;
    pr_photo_size size;
    picture *pictures;
    size_t room;                /* bytes of planes that may be kept */
    uint8_t told;               /* remarks that another reader of the same files makes */
    atomic_size_t filled, seen; /* bytes that are; pictures that were read at least once */
    pr_sha256_state *whole;     /* until all were: taken then, so that nothing can fail at the end */
    char sha256[PR_SHA256_HEX];
};

static size_t plane_bytes(const pr_photo_reader *r)
{
    return (size_t)r->size.channels * (size_t)r->size.height * (size_t)r->size.width;
}

/* ---- one photograph --------------------------------------------------------------------------------------------- */

/* Whether a picture that needs no resizing is resized: what lies in it at single pixels is lost. */
static bool recut(const pr_photo_size *size, const pr_image_traits *traits)
{
    return pr_photo_is_cropped(size) && traits->height == size->height && traits->width == size->width &&
           size->resize_size != PR_MIN(size->height, size->width);
}

static parry_status decode(parry_ctx *ctx, const pr_photo_reader *r, int64_t index, uint8_t *planes, uint8_t *remarked)
{
    const int channels = r->size.channels;
    const int64_t plane = (int64_t)r->size.height * r->size.width;
    pr_image_traits traits;
    pr_bitmap b;
    TRY(pr_photo_read(ctx, r->photos.items[index].path, &r->size, &traits, &b));
    for (int64_t i = 0; i < plane; i++)
        for (int c = 0; c < channels; c++)
            planes[c * plane + i] = b.bytes[i * channels + c];
    pr_bitmap_release(&b);
    *remarked = (uint8_t)((traits.translucent ? REMARK_TRANSLUCENT : 0) | (traits.cmyk ? REMARK_CMYK : 0) |
                          (traits.deep ? REMARK_DEEP : 0) | (traits.coloured && channels == 1 ? REMARK_TO_GREY : 0) |
                          (recut(&r->size, &traits) ? REMARK_EXACT : 0));
    return PARRY_OK;
}

static void say_remarks(parry_ctx *ctx, const pr_photo_reader *r)
{
    for (size_t k = 0; k < PR_COUNT(remarks); k++) {
        size_t count = 0, first = 0;
        for (size_t i = r->photos.count; i-- > 0;)
            if (r->pictures[i].remarks & ~r->told & remarks[k].bit) {
                count++;
                first = i;
            }
        if (count)
            pr_log(ctx, PARRY_LOG_WARNING, "%s%s: %s", r->photos.items[first].name, count > 1 ? " and others" : "",
                   remarks[k].words);
    }
}

/* Every photograph was read: what can be said of all. */
static void settle(parry_ctx *ctx, pr_photo_reader *r)
{
    for (size_t i = 0; i < r->photos.count; i++) {
        pr_sha256_add(r->whole, r->pictures[i].sha256, PR_SHA256_HEX - 1);
        pr_sha256_add(r->whole, &r->photos.items[i].label, sizeof r->photos.items[i].label);
    }
    pr_sha256_end(r->whole, r->sha256);
    r->whole = NULL;
    say_remarks(ctx, r);
}

/* Books what was read for the first time. */
static parry_status note(parry_ctx *ctx, pr_photo_reader *r, picture *p, const uint8_t *planes, uint8_t remarked)
{
    char sha256[PR_SHA256_HEX];
    pr_sha256_state *state;
    if (atomic_load(&p->seen))
        return PARRY_OK;
    TRY(pr_sha256_begin(ctx, &state));
    pr_sha256_add(state, planes, plane_bytes(r));
    pr_sha256_end(state, sha256);
    if (atomic_exchange(&p->seen, true))
        return PARRY_OK;
    memcpy(p->sha256, sha256, sizeof sha256);
    p->remarks = remarked;
    if (atomic_fetch_add(&r->seen, 1) + 1 == r->photos.count)
        settle(ctx, r);
    return PARRY_OK;
}

/* Takes the planes over: kept where there is room and nobody else was faster, else freed. */
static void keep_or_free(pr_photo_reader *r, picture *p, bool keep, uint8_t *planes_take)
{
    uint8_t *none = NULL;
    const size_t bytes = plane_bytes(r);
    if (keep && atomic_fetch_add(&r->filled, bytes) + bytes <= r->room &&
        atomic_compare_exchange_strong(&p->kept, &none, planes_take))
        return;
    if (keep)
        atomic_fetch_sub(&r->filled, bytes);
    pr_free(planes_take);
}

parry_status pr_photo_reader_read(parry_ctx *ctx, pr_photo_reader *r, int64_t index, bool keep, float *out)
{
    picture *p = &r->pictures[index];
    const uint8_t *kept = atomic_load(&p->kept);
    uint8_t *planes, remarked;
    if (kept) {
        if (out)
            pr_bytes_to_unit(kept, out, (int64_t)plane_bytes(r));
        return PARRY_OK;
    }
    TRY(pr_poll(ctx));
    TRY(pr_alloc_raw(ctx, plane_bytes(r), &planes));
    parry_status status = decode(ctx, r, index, planes, &remarked);
    if (status == PARRY_OK)
        status = note(ctx, r, p, planes, remarked);
    if (status == PARRY_OK && out)
        pr_bytes_to_unit(planes, out, (int64_t)plane_bytes(r));
    keep_or_free(r, p, keep && status == PARRY_OK, planes);
    return status;
}

/* ---- all of them ------------------------------------------------------------------------------------------------ */

typedef struct loading {
    pr_photo_reader *reader;
    atomic_llong done;
} loading;

static parry_status load_one(parry_ctx *ctx, void *arg, int64_t index, int worker)
{
    loading *l = arg;
    (void)worker;
    TRY(pr_photo_reader_read(ctx, l->reader, index, true, NULL));
    const long long done = atomic_fetch_add(&l->done, 1) + 1;
    pr_progress(ctx, &(parry_progress){.task = "reading photographs",
                                       .unit = "images",
                                       .done = (uint64_t)done,
                                       .total = l->reader->photos.count});
    return PARRY_OK;
}

parry_status pr_photo_reader_load(parry_ctx *ctx, pr_photo_reader *r)
{
    loading l = {.reader = r};
    return pr_parallel_for(ctx, (int64_t)r->photos.count, load_one, &l);
}

/* ---- creating --------------------------------------------------------------------------------------------------- */

static parry_status fill_images(parry_ctx *ctx, pr_photo_reader *r, pr_images *out)
{
    *out = (pr_images){.count = (int64_t)r->photos.count,
                       .channels = r->size.channels,
                       .height = r->size.height,
                       .width = r->size.width,
                       .photos = r};
    TRY(pr_alloc(ctx, r->photos.count, &r->pictures));
    TRY(pr_sha256_begin(ctx, &r->whole));
    TRY(pr_alloc(ctx, out->count, &out->labels));
    TRY(pr_alloc(ctx, out->count, &out->names));
    for (int64_t i = 0; i < out->count; i++) {
        out->labels[i] = r->photos.items[i].label;
        TRY(pr_strdup(ctx, r->photos.items[i].name, &out->names[i]));
    }
    return PARRY_OK;
}

parry_status pr_photos_open(parry_ctx *ctx, pr_photos *photos, const pr_photo_size *size, size_t room, pr_images *out)
{
    pr_photo_reader *r;
    *out = (pr_images){0};
    parry_status status = pr_alloc(ctx, 1, &r);
    if (status != PARRY_OK) {
        pr_photos_release(photos);
        return status;
    }
    r->photos = *photos;
    r->size = *size;
    r->room = room;
    *photos = (pr_photos){0};
    status = fill_images(ctx, r, out);
    if (status != PARRY_OK)
        pr_images_release(out);
    return status;
}

static parry_status copy_list(parry_ctx *ctx, const pr_photos *from, pr_photos *out)
{
    *out = (pr_photos){0};
    TRY(pr_alloc(ctx, from->count, &out->items));
    for (out->capacity = from->count; out->count < from->count; out->count++) {
        const pr_photo *photo = &from->items[out->count];
        pr_photo *copy = &out->items[out->count];
        TRY(pr_strdup(ctx, photo->path, &copy->path));
        parry_status status = pr_strdup(ctx, photo->name, &copy->name);
        if (status != PARRY_OK) {
            pr_free(copy->path);
            return status;
        }
        copy->label = photo->label;
    }
    return PARRY_OK;
}

parry_status pr_photos_reopen(parry_ctx *ctx, pr_photo_reader *from, const pr_photo_size *size, pr_images *out)
{
    pr_photos photos;
    *out = (pr_images){0};
    parry_status status = copy_list(ctx, &from->photos, &photos);
    if (status != PARRY_OK) {
        pr_photos_release(&photos);
        return status;
    }
    const size_t room = from->room / 2;
    TRY(pr_photos_open(ctx, &photos, size, room, out));
    from->room -= room;
    out->photos->told =
        REMARK_TRANSLUCENT | REMARK_CMYK | REMARK_DEEP | (size->channels == from->size.channels ? REMARK_TO_GREY : 0);
    return PARRY_OK;
}

const pr_photo_size *pr_photo_reader_size(const pr_photo_reader *r)
{
    return &r->size;
}

void pr_photo_reader_free(pr_photo_reader *r)
{
    char unused[PR_SHA256_HEX];
    if (!r)
        return;
    for (size_t i = 0; r->pictures && i < r->photos.count; i++)
        pr_free(atomic_load(&r->pictures[i].kept));
    pr_free(r->pictures);
    if (r->whole)
        pr_sha256_end(r->whole, unused);
    pr_photos_release(&r->photos);
    pr_free(r);
}

const char *pr_photo_reader_sha256(const pr_photo_reader *r)
{
    return r->sha256;
}
