/* Networks behind the waist: plans made on demand, sessions that run them in micro-batches.
 *
 * Plans are immutable and shared; a session holds one thread's workspaces. Making either costs more than a small batch,
 * so plans stay with the model and a freed session waits there for its next user. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "data/data.h"
#include "model/network.h"
#include "tensor/tensor.h"

/* A plan computes a fixed number of images at once: the engine's choice for the network, or half, a quarter ... of it
 * (32 to 4 or 4 to 1). Which one makes no difference to the bits. */
enum { SIZES = 4, PURPOSES = 2, PRECISIONS = 2 };

typedef struct plan_slot {
    pr_plan *plan;
    int users; /* sessions at work on it */
} plan_slot;

typedef struct network_session {
    pr_session base;
    bool gradients, moving;
    parry_precision precision;
    int64_t images;            /* the size class it was made for */
    plan_slot *slot[PURPOSES]; /* by purpose; NULL until first needed */
    pr_workspace *workspace[PURPOSES];
    float *logits, *dlogits;      /* micro_batch x classes, for gradients */
    struct network_session *next; /* among the idle */
} network_session;

struct pr_network_cache {
    pthread_mutex_t lock;
    bool moving;
    /* by purpose, precision, whether the weights move, halvings of the micro-batch */
    plan_slot slots[PURPOSES][PRECISIONS][2][SIZES];
    network_session *idle;
};

static const pr_network *network_of(const parry_model *model)
{
    return (const pr_network *)model; /* the model is the network's first member */
}

/* ---- plans ------------------------------------------------------------------------------------------------ */

/* The plan of these slots that computes `size` images at once, or where none is made yet the slot for it. All of one
 * network and purpose are the engine's choice for many images, halved some times. */
static plan_slot *slot_for(plan_slot *slots, const pr_plan *any, int size)
{
    int halvings = 0;
    while (halvings + 1 < SIZES && pr_plan_most(any) >> halvings > size)
        halvings++;
    return &slots[halvings];
}

static const pr_plan *any_plan(const plan_slot *slots)
{
    for (int i = 0; i < SIZES; i++)
        if (slots[i].plan)
            return slots[i].plan;
    return NULL;
}

/* The one place that chooses how many images are computed at once: the engine's size for this network is the fastest
 * for large jobs; a session that sees fewer images than that gets the smallest plan that holds them, so that nothing is
 * computed for padding and the other workers get their share. */
static parry_status plan_for(parry_ctx *ctx, const pr_network *network, const network_session *session,
                             pr_purpose purpose, plan_slot **out)
{
    plan_slot *slots = network->cache->slots[purpose][session->precision][session->moving];
    const pr_plan *known = any_plan(slots);
    pr_plan_options options = {.backend = PR_BACKEND_AUTO,
                               .images = session->images,
                               .moving = session->moving,
                               .precision = session->precision};
    pr_plan *made;
    if (known) {
        int size = pr_plan_most(known);
        while (size / 2 >= PR_MAX(session->images, pr_plan_least(known)))
            size /= 2;
        *out = slot_for(slots, known, size);
        if ((*out)->plan)
            return PARRY_OK;
    }
    TRY(pr_plan_create(ctx, network->graph, network->file.weights, purpose, &options, &made));
    *out = slot_for(slots, made, pr_plan_micro_batch(made));
    (*out)->plan = made;
    return PARRY_OK;
}

/* ---- sessions ------------------------------------------------------------------------------------------------ */

static void session_destroy(network_session *session)
{
    if (!session)
        return;
    for (int purpose = 0; purpose < PURPOSES; purpose++)
        pr_workspace_free(session->workspace[purpose]);
    pr_free(session->logits);
    pr_free(session->dlogits);
    pr_free(session);
}

static parry_status open_locked(parry_ctx *ctx, network_session *session, pr_purpose purpose)
{
    plan_slot *slot;
    TRY(plan_for(ctx, network_of(session->base.model), session, purpose, &slot));
    TRY(pr_plan_refresh(ctx, slot->plan));
    TRY(pr_workspace_create(ctx, slot->plan, &session->workspace[purpose]));
    session->slot[purpose] = slot;
    slot->users++;
    return PARRY_OK;
}

/* Makes the session ready for a purpose; a session for gradients is asked for mere logits by some attacks only. */
static parry_status session_open(parry_ctx *ctx, network_session *session, pr_purpose purpose)
{
    if (session->slot[purpose])
        return PARRY_OK;
    pr_network_cache *cache = network_of(session->base.model)->cache;
    pthread_mutex_lock(&cache->lock);
    parry_status status = open_locked(ctx, session, purpose);
    pthread_mutex_unlock(&cache->lock);
    return status;
}

static parry_status session_build(parry_ctx *ctx, network_session *session)
{
    const int classes = session->base.model->info.classes;
    const pr_purpose purpose = session->gradients ? PR_INPUT_GRADIENT : PR_INFERENCE;
    TRY(open_locked(ctx, session, purpose));
    session->base.micro_batch = pr_plan_micro_batch(session->slot[purpose]->plan);
    TRY(pr_alloc(ctx, session->base.micro_batch * classes, &session->logits));
    return pr_alloc(ctx, session->base.micro_batch * classes, &session->dlogits);
}

/* An idle session for the same use, taken off the list, or NULL. */
static network_session *take_idle(pr_network_cache *cache, bool gradients, parry_precision precision, int64_t images)
{
    for (network_session **at = &cache->idle; *at; at = &(*at)->next)
        if ((*at)->gradients == gradients && (*at)->precision == precision && (*at)->moving == cache->moving &&
            (*at)->images == images) {
            network_session *session = *at;
            *at = session->next;
            return session;
        }
    return NULL;
}

/* The weights may have moved while it was idle. */
static parry_status wake_locked(parry_ctx *ctx, network_session *session)
{
    for (int purpose = 0; purpose < PURPOSES; purpose++)
        if (session->slot[purpose])
            TRY(pr_plan_refresh(ctx, session->slot[purpose]->plan));
    for (int purpose = 0; purpose < PURPOSES; purpose++)
        if (session->slot[purpose])
            session->slot[purpose]->users++;
    return PARRY_OK;
}

static parry_status session_create_locked(parry_ctx *ctx, const pr_network *network, bool gradients,
                                          parry_precision precision, int64_t images, network_session **out)
{
    network_session *session = take_idle(network->cache, gradients, precision, images);
    parry_status status;
    if (session) {
        status = wake_locked(ctx, session);
    } else {
        TRY(pr_alloc(ctx, 1, &session));
        session->base.model = &network->base;
        session->gradients = gradients;
        session->precision = precision;
        session->moving = network->cache->moving;
        session->images = images;
        status = session_build(ctx, session);
    }
    if (status != PARRY_OK) {
        session_destroy(session);
        return status;
    }
    session->base.forward_queries = session->base.gradient_queries = 0;
    *out = session;
    return PARRY_OK;
}

static parry_status session_create(parry_ctx *ctx, const parry_model *model, bool gradients, parry_precision precision,
                                   int64_t images, pr_session **out)
{
    pr_network_cache *cache = network_of(model)->cache;
    network_session *session = NULL;
    int64_t size_class = 1;
    while (size_class < images && size_class < INT16_MAX)
        size_class *= 2;
    pthread_mutex_lock(&cache->lock);
    parry_status status = session_create_locked(ctx, network_of(model), gradients, precision, size_class, &session);
    pthread_mutex_unlock(&cache->lock);
    *out = (pr_session *)session;
    return status;
}

static void session_free(pr_session *base)
{
    network_session *session = (network_session *)base;
    pr_network_cache *cache = network_of(base->model)->cache;
    pthread_mutex_lock(&cache->lock);
    for (int purpose = 0; purpose < PURPOSES; purpose++)
        if (session->slot[purpose])
            session->slot[purpose]->users--;
    bool keep = session->moving == cache->moving;
    if (keep) {
        session->next = cache->idle;
        cache->idle = session;
    }
    pthread_mutex_unlock(&cache->lock);
    if (!keep)
        session_destroy(session);
}

/* At most a micro-batch of images, by the session's plan for the purpose. Logits are not finite where a number within
 * the network is no number, though fast kernels may lose that on the way. */
static parry_status forward(parry_ctx *ctx, const network_session *session, pr_purpose purpose, const float *x, int n,
                            float *out)
{
    const pr_plan *plan = session->slot[purpose]->plan;
    pr_workspace *workspace = session->workspace[purpose];
    TRY(pr_plan_forward(ctx, plan, workspace, x, n, out));
    return pr_workspace_doubtful(workspace) ? pr_network_recompute(ctx, network_of(session->base.model), x, n, out)
                                            : PARRY_OK;
}

static parry_status logits(parry_ctx *ctx, pr_session *base, const float *x, int64_t n, float *out)
{
    network_session *session = (network_session *)base;
    TRY(session_open(ctx, session, PR_INFERENCE));
    const pr_plan *plan = session->slot[PR_INFERENCE]->plan;
    const int64_t row = pr_model_row(base->model), classes = base->model->info.classes,
                  step = pr_plan_micro_batch(plan);
    for (int64_t first = 0; first < n; first += step)
        TRY(forward(ctx, session, PR_INFERENCE, x + first * row, (int)PR_MIN(step, n - first), out + first * classes));
    return PARRY_OK;
}

static parry_status vjp(parry_ctx *ctx, pr_session *base, const float *x, int64_t n, int cotangents,
                        void (*cotangent)(void *arg, int which, int64_t first, int64_t n, const float *logits,
                                          float *dlogits),
                        void *arg, float *logits_out, float *const *grads)
{
    network_session *session = (network_session *)base;
    const pr_plan *plan = session->slot[PR_INPUT_GRADIENT]->plan;
    pr_workspace *workspace = session->workspace[PR_INPUT_GRADIENT];
    const int64_t row = pr_model_row(base->model), classes = base->model->info.classes,
                  step = pr_plan_micro_batch(plan);
    for (int64_t first = 0; first < n; first += step) {
        const int count = (int)PR_MIN(step, n - first);
        TRY(forward(ctx, session, PR_INPUT_GRADIENT, x + first * row, count, session->logits));
        for (int which = 0; which < cotangents; which++) {
            cotangent(arg, which, first, count, session->logits, session->dlogits);
            TRY(pr_plan_backward(ctx, plan, workspace, session->dlogits, count, grads[which] + first * row));
        }
        if (logits_out)
            memcpy(logits_out + first * classes, session->logits, (size_t)(count * classes) * sizeof *logits_out);
    }
    return PARRY_OK;
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

static void drop_idle(pr_network_cache *cache)
{
    while (cache->idle) {
        network_session *next = cache->idle->next;
        session_destroy(cache->idle);
        cache->idle = next;
    }
}

static void cache_free(pr_network_cache *cache)
{
    if (!cache)
        return;
    drop_idle(cache);
    plan_slot *slots = (plan_slot *)cache->slots;
    for (size_t slot = 0; slot < sizeof cache->slots / sizeof *slots; slot++)
        pr_plan_free(slots[slot].plan);
    pthread_mutex_destroy(&cache->lock);
    pr_free(cache);
}

static void network_free(parry_model *model)
{
    pr_network *network = (pr_network *)model;
    cache_free(network->cache);
    pr_graph_free(network->graph);
    pr_onnx_clear(&network->file);
    pr_free(network->name);
    pr_free(network->path);
    pr_free(network->history);
    pr_free(network->preprocess_source);
    for (int i = 0; network->class_names && i < model->info.classes; i++)
        pr_free(network->class_names[i]);
    pr_free(network->class_names);
    pr_free(network);
}

static const pr_model_vtable network_vtable = {
    .kind = "network",
    .session_create = session_create,
    .session_free = session_free,
    .logits = logits,
    .vjp = vjp,
    .free = network_free,
};

parry_status pr_network_of(parry_ctx *ctx, const parry_model *model, const pr_network **out)
{
    *out = model->vtable == &network_vtable ? network_of(model) : NULL;
    if (!*out)
        return pr_fail(ctx, PARRY_UNSUPPORTED, "'%s' is a %s; only networks can be trained, saved and drawn",
                       model->info.name, model->vtable->kind);
    return PARRY_OK;
}

static int64_t count_parameters(const pr_weights *weights)
{
    int64_t count = 0;
    for (size_t i = 0; i < weights->count; i++)
        if (pr_weight_trained(&weights->items[i]))
            count += weights->items[i].count;
    return count;
}

/* How many classes the graph ends in, and whether the dataset has as many. */
static parry_status fit_classes(parry_ctx *ctx, const pr_network *network, const parry_dataset_info *fit, int *classes)
{
    const pr_dims *dims = &network->graph->values[network->graph->logits].dims;
    if (dims->rank != 2 || dims->dim[1] < 2 || dims->dim[1] > INT32_MAX)
        return pr_fail(ctx, PARRY_MISMATCH, "%s does not end in N x classes logits, two classes at least",
                       network->name);
    *classes = (int)dims->dim[1];
    return fit ? pr_dataset_check_classes(ctx, fit, network->name, *classes) : PARRY_OK;
}

static parry_status check_size(parry_ctx *ctx, const pr_network *network, const char *where, const int image[3])
{
    const parry_size *declared = &network->preprocess.input_size;
    if (!declared->height || (declared->height == image[1] && declared->width == image[2]))
        return PARRY_OK;
    return pr_fail(ctx, PARRY_MISMATCH, "%s: an input size of %d x %d is declared, but the network takes %d x %d",
                   where, declared->height, declared->width, image[1], image[2]);
}

static parry_status fit_network(parry_ctx *ctx, pr_network *network, const parry_preprocess *flags,
                                const parry_dataset_info *fit, int image[3])
{
    char where[512];
    TRY(pr_network_declare(ctx, network, flags));
    if (strcmp(network->preprocess_source, "metadata") == 0)
        snprintf(where, sizeof where, "%s: metadata \"%s\"", network->name, PR_PREPROCESS_KEY);
    else
        snprintf(where, sizeof where, "%s: preprocessing (%s)", network->name, network->preprocess_source);
    const pr_fit_request request = {network->name, where, &network->file, &network->preprocess, fit};
    TRY(pr_fit(ctx, &request, image, &network->affine, &network->graph));
    return check_size(ctx, network, where, image);
}

static parry_status network_fill(parry_ctx *ctx, const char *name, const char *path, const parry_preprocess *flags,
                                 const parry_dataset_info *fit, pr_network *network)
{
    int image[3], classes = 0;
    TRY(pr_isa_check(ctx));
    TRY(pr_strdup(ctx, name, &network->name));
    pr_make_printable(network->name);
    if (path)
        TRY(pr_strdup(ctx, path, &network->path));
    const char *history = pr_onnx_meta_get(&network->file, "parry.history");
    if (history)
        TRY(pr_strdup(ctx, history, &network->history));
    TRY(pr_weights_check_finite(ctx, path ? path : name, network->file.weights));
    TRY(fit_network(ctx, network, flags, fit, image));
    TRY(fit_classes(ctx, network, fit, &classes));
    TRY(pr_alloc(ctx, 1, &network->cache));
    pthread_mutex_init(&network->cache->lock, NULL);
    network->base.info = (parry_model_info){
        .name = network->name,
        .path = network->path,
        .sha256 = path ? network->sha256 : NULL,
        .producer = network->file.producer,
        .channels = image[0],
        .height = image[1],
        .width = image[2],
        .classes = classes,
        .parameters = count_parameters(network->file.weights),
        .softmax_peeled = network->file.tail != PR_OP_IDENTITY,
        .history = network->history,
        .preprocess = &network->preprocess,
        .units = network->affine.scale,
        .preprocess_source = network->preprocess_source,
    };
    return pr_network_name_classes(ctx, network, fit);
}

parry_status pr_network_create(parry_ctx *ctx, const char *name, const char *path, pr_onnx_model *file_take,
                               const parry_preprocess *flags, const parry_dataset_info *fit, pr_network **out)
{
    pr_network *network = NULL;
    parry_status status = pr_alloc(ctx, 1, &network);
    if (status != PARRY_OK) {
        pr_onnx_clear(file_take);
        return status;
    }
    network->base.vtable = &network_vtable;
    network->file = *file_take;
    *file_take = (pr_onnx_model){0};
    status = network_fill(ctx, name, path, flags, fit, network);
    if (status != PARRY_OK)
        network_free(&network->base);
    else
        *out = network;
    return status;
}

/* ---- weights that move ------------------------------------------------------------------------------------------ */

parry_status pr_model_refresh(parry_ctx *ctx, const parry_model *model)
{
    const pr_network *network;
    TRY(pr_network_of(ctx, model, &network));
    plan_slot *slots = (plan_slot *)network->cache->slots;
    for (size_t slot = 0; slot < sizeof network->cache->slots / sizeof *slots; slot++)
        if (slots[slot].users > 0) /* the others are brought up to date for their next session */
            TRY(pr_plan_refresh(ctx, slots[slot].plan));
    return PARRY_OK;
}

parry_status pr_model_set_moving(parry_ctx *ctx, parry_model *model, bool moving)
{
    const pr_network *network;
    TRY(pr_network_of(ctx, model, &network));
    if (network->cache->moving != moving)
        drop_idle(network->cache);
    network->cache->moving = moving;
    return pr_model_refresh(ctx, model);
}

parry_status pr_model_network(parry_ctx *ctx, parry_model *model, const pr_graph **graph, pr_weights **weights)
{
    const pr_network *network;
    TRY(pr_network_of(ctx, model, &network));
    *graph = network->graph;
    *weights = network->file.weights;
    return PARRY_OK;
}

parry_status pr_model_set_history(parry_ctx *ctx, parry_model *model, const char *json)
{
    const pr_network *found;
    char *copy;
    TRY(pr_network_of(ctx, model, &found));
    TRY(pr_strdup(ctx, json, &copy));
    pr_network *network = (pr_network *)model;
    pr_free(network->history);
    network->history = copy;
    network->base.info.history = copy;
    return PARRY_OK;
}
