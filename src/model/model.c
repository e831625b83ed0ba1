/* parry_model: the public functions that are the same for every kind of model. */
#include <stdatomic.h>

#include "data/classes.h"
#include "data/data.h"
#include "model/kind.h"
#include "tensor/tensor.h"

/* A job's images, and floats of those that it reads itself. */
enum { JOB_IMAGES = 256, JOB_FLOATS = 1 << 22 };

void parry_model_free(parry_model *model)
{
    if (model)
        model->vtable->free(model);
}

const parry_model_info *parry_model_describe(const parry_model *model)
{
    return &model->info;
}

int64_t pr_model_row(const parry_model *model)
{
    return (int64_t)model->info.channels * model->info.height * model->info.width;
}

int pr_model_classes(const parry_model *model)
{
    return model->info.classes;
}

parry_status pr_model_check_labels(parry_ctx *ctx, const parry_model *model, const int32_t *labels, int64_t n)
{
    for (int64_t i = 0; i < n; i++)
        if (labels[i] == -1)
            return pr_fail(ctx, PARRY_INVALID, "image %lld has no label, and this needs one", (long long)i);
        else if (labels[i] < 0 || labels[i] >= model->info.classes)
            return pr_fail(ctx, PARRY_INVALID, "image %lld has label %d; %s tells %d classes apart", (long long)i,
                           (int)labels[i], model->info.name, model->info.classes);
    return PARRY_OK;
}

parry_status pr_model_check_dataset(parry_ctx *ctx, const parry_model *model, const parry_dataset *dataset)
{
    const parry_model_info *mine = &model->info;
    const parry_dataset_info *theirs = parry_dataset_describe(dataset);
    if (mine->channels != theirs->channels || mine->height != theirs->height || mine->width != theirs->width)
        return pr_fail(ctx, PARRY_MISMATCH, "%s takes images of N x %d x %d x %d, but those of %s are N x %d x %d x %d",
                       mine->name, mine->channels, mine->height, mine->width, theirs->name, theirs->channels,
                       theirs->height, theirs->width);
    TRY(pr_dataset_check_classes(ctx, theirs, mine->name, mine->classes));
    const pr_classes of_model = {.of = mine->name, .count = mine->classes, .names = mine->class_names},
                     of_data = {.of = theirs->name, .count = theirs->classes, .names = theirs->class_names};
    return pr_classes_match(ctx, &of_model, &of_data);
}

/* ---- logits and gradients of many images, in parallel ----------------------------------------------------------- */

typedef struct images_call {
    pr_workers workers;
    const pr_loss *loss; /* NULL: logits are wanted */
    const float *images;
    const int32_t *labels;
    int64_t n, chunk;
    float *logits, *loss_out, *gradient;
    const pr_dataset_pass *pass; /* NULL: `images` are given */
    float **scratch;             /* then: a chunk of images for each worker */
    atomic_llong done;
} images_call;

/* The images of a job, which may be read for it. */
static parry_status take_images(parry_ctx *ctx, images_call *call, int64_t first, int64_t n, int worker,
                                const float **out)
{
    const int64_t row = pr_model_row(call->workers.model);
    const pr_dataset_pass *pass = call->pass;
    if (!pass) {
        *out = call->images + first * row;
        return PARRY_OK;
    }
    if (!pass->images && !call->scratch[worker])
        TRY(pr_alloc_raw(ctx, call->chunk * row, &call->scratch[worker]));
    float *x = pass->images ? pass->images + first * row : call->scratch[worker];
    TRY(pr_dataset_read(ctx, pass->dataset, NULL, pass->first + first, n, pass->keep && !pass->images, x));
    if (pass->prepare)
        pass->prepare(x, n * row);
    const int64_t done = atomic_fetch_add(&call->done, n) + n;
    pr_progress(ctx, &(parry_progress){"classifying", "images", (uint64_t)done, (uint64_t)call->n, NULL});
    *out = x;
    return PARRY_OK;
}

static parry_status images_job(parry_ctx *ctx, void *arg, int64_t index, int worker)
{
    images_call *call = arg;
    const int64_t first = index * call->chunk, n = PR_MIN(call->chunk, call->n - first),
                  row = pr_model_row(call->workers.model);
    const float *x;
    pr_session *session;
    TRY(pr_poll(ctx));
    TRY(pr_workers_session(ctx, &call->workers, worker, &session));
    TRY(take_images(ctx, call, first, n, worker, &x));
    if (!call->loss)
        return pr_session_logits(ctx, session, x, n, call->logits + first * pr_model_classes(call->workers.model));
    return pr_session_loss_grad(ctx, session, call->loss, x, call->labels + first, n, NULL,
                                call->loss_out ? call->loss_out + first : NULL, call->gradient + first * row);
}

static parry_status run_images(parry_ctx *ctx, const parry_model *model, images_call *call)
{
    parry_status status = pr_workers_init(ctx, model, call->loss != NULL, PARRY_F32, call->n, &call->workers);
    if (status == PARRY_OK && call->pass)
        status = pr_alloc(ctx, call->workers.count, &call->scratch);
    if (status == PARRY_OK) {
        const int64_t most = call->pass ? JOB_FLOATS / pr_model_row(model) + 1 : JOB_IMAGES;
        call->chunk = pr_workers_chunk(&call->workers, PR_MIN(JOB_IMAGES, most));
        status = pr_parallel_for(ctx, (call->n + call->chunk - 1) / call->chunk, images_job, call);
    }
    for (int i = 0; call->scratch && i < call->workers.count; i++)
        pr_free(call->scratch[i]);
    pr_free(call->scratch);
    pr_workers_release(&call->workers);
    return status;
}

static parry_status check_count(parry_ctx *ctx, int64_t n)
{
    return n >= 0 ? PARRY_OK : pr_fail(ctx, PARRY_INVALID, "the number of images is %lld", (long long)n);
}

parry_status parry_model_logits(parry_ctx *ctx, const parry_model *model, const float *images, int64_t n, float *logits)
{
    images_call call = {.images = images, .n = n, .logits = logits};
    TRY(check_count(ctx, n));
    return run_images(ctx, model, &call);
}

parry_status pr_model_pass(parry_ctx *ctx, const parry_model *model, const pr_dataset_pass *pass)
{
    images_call call = {.pass = pass, .n = pass->n, .logits = pass->logits};
    return run_images(ctx, model, &call);
}

parry_status parry_dataset_logits(parry_ctx *ctx, const parry_model *model, const parry_dataset *dataset, int64_t first,
                                  int64_t n, float *logits)
{
    const int64_t count = parry_dataset_describe(dataset)->count;
    if (first < 0 || n < 0 || first > count - n)
        return pr_fail(ctx, PARRY_INVALID, "images %lld to %lld of %s were asked for; it has %lld", (long long)first,
                       (long long)(first + n) - 1, parry_dataset_describe(dataset)->name, (long long)count);
    TRY(pr_model_check_dataset(ctx, model, dataset));
    return pr_model_pass(ctx, model, &(pr_dataset_pass){.dataset = dataset, .first = first, .n = n, .logits = logits});
}

static parry_status find_loss(parry_ctx *ctx, const char *name, const pr_loss **out)
{
    const char *const *names = pr_loss_names();
    size_t count = 0, index;
    while (names[count])
        count++;
    TRY(pr_name_find(ctx, "loss", "losses", name, names, count, &index));
    *out = pr_loss_at(index);
    return PARRY_OK;
}

parry_status parry_model_input_gradient(parry_ctx *ctx, const parry_model *model, const char *loss, const float *images,
                                        const int32_t *labels, int64_t n, float *loss_out, float *gradient)
{
    images_call call = {.images = images, .labels = labels, .n = n, .loss_out = loss_out, .gradient = gradient};
    TRY(check_count(ctx, n));
    TRY(find_loss(ctx, loss, &call.loss));
    TRY(pr_model_check_labels(ctx, model, labels, n));
    return run_images(ctx, model, &call);
}

/* ---- accuracy --------------------------------------------------------------------------------------------------- */

static int64_t count_labelled(const int32_t *labels, int64_t n)
{
    int64_t labelled = 0;
    for (int64_t i = 0; i < n; i++)
        labelled += labels[i] >= 0;
    return labelled;
}

static void measure(const float *logits, const int32_t *labels, int64_t n, int classes, int64_t labelled,
                    double *accuracy, double *loss)
{
    double loss_sum = 0;
    int64_t correct = 0;
    for (int64_t i = 0; i < n; i++) {
        const float *row = logits + i * classes;
        float one;
        if (labels[i] < 0)
            continue;
        pr_loss_at(0)->rows(NULL, 1, classes, row, labels + i, &one, NULL);
        loss_sum += one;
        correct += pr_argmax(row, classes) == labels[i];
    }
    *accuracy = (double)correct / (double)labelled;
    if (loss)
        *loss = loss_sum / (double)labelled;
}

parry_status parry_model_accuracy(parry_ctx *ctx, const parry_model *model, const parry_dataset *dataset,
                                  double *accuracy, double *loss)
{
    const parry_dataset_info *data = parry_dataset_describe(dataset);
    const int32_t *labels = parry_dataset_labels(dataset);
    const int64_t labelled = count_labelled(labels, data->count);
    pr_dataset_pass pass = {.dataset = dataset, .n = data->count, .keep = true};
    if (pass.n == 0)
        return pr_fail(ctx, PARRY_INVALID, "%s holds no images", data->name);
    if (labelled == 0)
        return pr_fail(ctx, PARRY_INVALID,
                       "%s: no image has a label, so accuracy is not known; give labels by class folders or a CSV file",
                       data->name);
    TRY(pr_model_check_dataset(ctx, model, dataset));
    TRY(pr_alloc_raw(ctx, pass.n * model->info.classes, &pass.logits));
    parry_status status = pr_model_pass(ctx, model, &pass);
    if (status == PARRY_OK)
        measure(pass.logits, labels, pass.n, model->info.classes, labelled, accuracy, loss);
    pr_free(pass.logits);
    return status;
}
