/* Plans for inference and input gradients, and the workspaces that run them. */
#include <fenv.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

#include "engine/lower.h"
#include "engine/rewrite.h"
#include "tensor/tensor.h"

enum {
    MICRO_BATCH_MOST = 32,
    SHARED_WEIGHTS = 4, /* images that weights should serve when they come from memory */
    CACHE = 1600 << 10, /* bytes of a second-level cache that activations may fill */
};

/* What moves with the weights. */
struct packed {
    pthread_mutex_t lock;
    atomic_ullong version;
    pr_weights *folded; /* NULL: the plan reads the weights as they are */
    pr_store store;
};

struct pr_plan {
    pr_dnnl *dnnl;
    const pr_weights *weights;
    pr_graph *given, *graph; /* as handed in, for folding again; as it runs */
    struct packed *packed;
    pr_program program;
    int micro_batch, shard; /* images at once; of those, in steps that run shard by shard */
    int most, least;        /* the engine's micro-batches for many images and for one */
    pr_value seed, dx;      /* -1 without gradients */
    int in, out, seed_buffer, dx_buffer;
    bool keeps_input,
        binds_dx; /* the input is read again by backward passes; dx can be written where the caller wants it */
};

struct pr_workspace {
    const pr_plan *plan;
    pr_instance *instance;
    pr_call call;
    float *x, *dlogits, *dx; /* of a full micro-batch, for smaller ones */
    bool doubtful;
};

static int64_t row_of(const pr_plan *plan, pr_value value)
{
    return pr_dims_row(plan->graph->values[value].dims);
}

/* ---- the micro-batch ------------------------------------------------------------------------------------------- */

/* A step's inputs and outputs for all images of a shard should stay in the cache: the largest power of two for which
 * they do. Bits do not depend on it, so the cache is that of a common processor, not this one's. */
static int choose_shard(const pr_graph *graph)
{
    int64_t largest = 1;
    int images = 1;
    for (size_t n = 0; n < graph->node_count; n++) {
        int64_t floats = 0;
        const pr_node *node = &graph->nodes[n];
        for (int i = 0; i < node->inputs; i++) {
            pr_dims dims = node->in[i] < 0 ? (pr_dims){0} : graph->values[node->in[i]].dims;
            floats += pr_has_batch(dims) ? pr_dims_row(dims) : 0;
        }
        for (int o = 0; o < node->outputs; o++)
            floats += pr_dims_row(graph->values[node->out[o]].dims);
        largest = PR_MAX(largest, floats);
    }
    while (images < MICRO_BATCH_MOST && 2 * images * largest * (int64_t)sizeof(float) <= CACHE)
        images *= 2;
    return images;
}

/* For few images half, a quarter ... of the micro-batch for many; down to one image where a shard is small too, since
 * an image then takes so long that none should be computed for padding. */
static void choose_sizes(pr_plan *plan, const pr_plan_options *options)
{
    const int shard = choose_shard(plan->graph);
    const int64_t images = options && options->images > 0 ? options->images : INT32_MAX;
    plan->most = PR_MAX(shard, SHARED_WEIGHTS);
    plan->least = shard < SHARED_WEIGHTS ? 1 : SHARED_WEIGHTS;
    plan->micro_batch = options && options->micro_batch > 0 ? options->micro_batch : plan->most;
    while ((!options || options->micro_batch <= 0) && plan->micro_batch / 2 >= PR_MAX(images, plan->least))
        plan->micro_batch /= 2;
    plan->shard = shard < SHARED_WEIGHTS && plan->micro_batch % shard == 0 ? shard : plan->micro_batch;
}

/* ---- weights --------------------------------------------------------------------------------------------------- */

/* The graph that runs, and with `fold` the weights that go with it. */
static parry_status fold(parry_ctx *ctx, const pr_plan *plan, bool with_weights, pr_graph **graph, pr_weights **weights)
{
    pr_graph *plain;
    TRY(pr_graph_to_inference(ctx, plan->given, plan->weights, with_weights, &plain, weights));
    if (!with_weights) {
        *graph = plain;
        return PARRY_OK;
    }
    parry_status status = pr_rewrite_channels(ctx, plain, *weights, graph);
    pr_graph_free(plain);
    return status;
}

static parry_status fill_locked(parry_ctx *ctx, const pr_plan *plan)
{
    struct packed *packed = plan->packed;
    unsigned long long version = plan->weights->version;
    if (atomic_load(&packed->version) == version)
        return PARRY_OK;
    if (packed->folded) {
        pr_graph *graph = NULL;
        pr_weights *folded = NULL;
        parry_status status = fold(ctx, plan, true, &graph, &folded);
        pr_graph_free(graph);
        if (status != PARRY_OK) {
            pr_weights_free(folded);
            return status;
        }
        pr_weights_free(packed->folded);
        packed->folded = folded;
        packed->store.weights = folded;
    }
    TRY(pr_store_fill_all(ctx, &packed->store, packed->folded ? packed->folded : plan->weights));
    atomic_store(&packed->version, version);
    return PARRY_OK;
}

static parry_status refresh(parry_ctx *ctx, const pr_plan *plan)
{
    if (atomic_load(&plan->packed->version) == plan->weights->version)
        return PARRY_OK;
    int threads = pr_omp_single();
    pthread_mutex_lock(&plan->packed->lock);
    parry_status status = fill_locked(ctx, plan);
    pthread_mutex_unlock(&plan->packed->lock);
    pr_omp_restore(threads);
    return status;
}

parry_status pr_plan_refresh(parry_ctx *ctx, pr_plan *plan)
{
    return refresh(ctx, plan);
}

/* ---- compiling ------------------------------------------------------------------------------------------------- */

static parry_status add_bound(pr_lower *l, pr_value value, int *buffer)
{
    TRY(pr_lower_write(l, value, PR_ROWS, buffer));
    l->program->buffers[*buffer].spread = PR_BOUND;
    return PARRY_OK;
}

static bool read_by(const pr_program *program, int buffer, size_t first)
{
    for (size_t s = first; s < program->step_count; s++) {
        for (int o = 0; o < program->steps[s].operands; o++) {
            if (program->steps[s].operand[o].buffer == buffer && program->steps[s].operand[o].access & PR_READS)
                return true;
        }
    }
    return false;
}

static parry_status lower_backward(pr_lower *l, pr_plan *plan, size_t forward)
{
    l->program->backward = l->program->step_count;
    if (plan->seed < 0)
        return PARRY_OK;
    TRY(add_bound(l, plan->seed, &plan->seed_buffer));
    TRY(pr_lower_nodes(l, forward, l->graph->node_count));
    if (plan->dx < 0)
        return PARRY_OK;
    TRY(pr_lower_read(l, plan->dx, PR_ROWS, &plan->dx_buffer));
    pr_buffer *buffer = &l->program->buffers[plan->dx_buffer];
    plan->binds_dx = buffer->spread == PR_BY_ROW && !read_by(l->program, plan->dx_buffer, 0);
    buffer->pinned = true;
    if (plan->binds_dx)
        buffer->spread = PR_BOUND;
    return PARRY_OK;
}

static parry_status lower_all(pr_lower *l, pr_plan *plan, size_t forward)
{
    TRY(add_bound(l, plan->graph->input, &plan->in));
    if (plan->dx >= 0)
        pr_lower_keep(l, plan->dx);
    TRY(pr_lower_nodes(l, 0, forward));
    TRY(pr_lower_read(l, plan->graph->logits, PR_ROWS, &plan->out));
    l->program->buffers[plan->out].pinned = true;
    TRY(lower_backward(l, plan, forward));
    plan->keeps_input = read_by(l->program, plan->in, l->program->backward);
    return pr_program_finish(l->ctx, l->program);
}

static parry_status compile(parry_ctx *ctx, pr_plan *plan, pr_purpose purpose, bool reference,
                            parry_precision precision)
{
    pr_lower l;
    size_t forward = plan->graph->node_count;
    if (purpose == PR_INPUT_GRADIENT)
        TRY(pr_graph_differentiate(ctx, plan->graph, plan->graph->logits, &plan->graph->input, 1, &plan->seed,
                                   &plan->dx));
    plan->program =
        (pr_program){.graph = plan->graph, .rows = plan->micro_batch, .shard_rows = plan->shard, .variants = 1};
    plan->program.shards = plan->micro_batch / plan->shard;
    parry_status status =
        pr_lower_init(ctx, &l, plan->graph, plan->packed->store.weights, &plan->packed->store, &plan->program);
    l.reference = reference;
    l.bf16 = precision == PARRY_BF16 ? pr_bf16_kernels_get() : NULL;
    if (status == PARRY_OK)
        status = lower_all(&l, plan, forward);
    pr_lower_release(&l);
    return status;
}

static parry_status packed_create(parry_ctx *ctx, struct packed **out)
{
    TRY(pr_alloc(ctx, 1, out));
    pthread_mutex_init(&(*out)->lock, NULL);
    return PARRY_OK;
}

static parry_status build(parry_ctx *ctx, const pr_graph *graph, pr_purpose purpose, const pr_plan_options *options,
                          pr_plan *plan)
{
    bool reference = options && options->backend == PR_BACKEND_REFERENCE, moving = options && options->moving;
    parry_precision precision = options ? options->precision : PARRY_F32;
    TRY(parry_precision_check(ctx, precision));
    TRY(packed_create(ctx, &plan->packed));
    TRY(pr_dnnl_create(ctx, &plan->dnnl));
    TRY(pr_graph_clone(ctx, graph, &plan->given));
    TRY(fold(ctx, plan, !moving && !reference, &plan->graph, &plan->packed->folded));
    plan->packed->store =
        (pr_store){.dnnl = plan->dnnl, .weights = plan->packed->folded ? plan->packed->folded : plan->weights};
    choose_sizes(plan, options);
    TRY(compile(ctx, plan, purpose, reference, precision));
    TRY(pr_store_fill_all(ctx, &plan->packed->store, plan->packed->store.weights));
    atomic_store(&plan->packed->version, plan->weights->version);
    return PARRY_OK;
}

parry_status parry_precision_check(parry_ctx *ctx, parry_precision precision)
{
    if (precision == PARRY_F32 || (pr_bf16_kernels_get() && pr_dnnl_has_bf16()))
        return PARRY_OK;
    return pr_fail(ctx, PARRY_UNSUPPORTED,
                   "precision bf16 needs a processor with AVX512-BF16, and nothing that forbids it (PARRY_MAX_ISA, "
                   "ONEDNN_MAX_CPU_ISA); here are parry's kernels for %s and %s",
                   pr_isa_name(), pr_dnnl_version());
}

parry_status pr_plan_create(parry_ctx *ctx, const pr_graph *graph, const pr_weights *weights, pr_purpose purpose,
                            const pr_plan_options *options, pr_plan **out)
{
    pr_plan *plan;
    *out = NULL;
    TRY(pr_alloc(ctx, 1, &plan));
    plan->weights = weights;
    plan->seed = plan->dx = -1;
    int threads = pr_omp_single();
    parry_status status = build(ctx, graph, purpose, options, plan);
    pr_omp_restore(threads);
    if (status != PARRY_OK)
        pr_plan_free(plan);
    else
        *out = plan;
    return status;
}

void pr_plan_free(pr_plan *plan)
{
    if (!plan)
        return;
    if (plan->packed) {
        pthread_mutex_destroy(&plan->packed->lock);
        pr_store_clear(&plan->packed->store);
        pr_weights_free(plan->packed->folded);
        pr_free(plan->packed);
    }
    pr_program_clear(&plan->program);
    pr_graph_free(plan->given);
    pr_graph_free(plan->graph);
    pr_dnnl_free(plan->dnnl);
    pr_free(plan);
}

int pr_plan_micro_batch(const pr_plan *plan)
{
    return plan->micro_batch;
}

int pr_plan_most(const pr_plan *plan)
{
    return plan->most;
}

int pr_plan_least(const pr_plan *plan)
{
    return plan->least;
}

parry_status pr_plan_text(parry_ctx *ctx, const pr_plan *plan, char **out)
{
    pr_text text = {0};
    pr_program_text(&plan->program, NULL, 1, &text);
    return pr_text_take(ctx, &text, out);
}

parry_status pr_plan_profile(parry_ctx *ctx, const pr_plan *plan, pr_workspace *workspace, const float *x, int runs,
                             char **out)
{
    pr_text text = {0};
    float *logits = NULL, *dx = NULL;
    parry_status status;
    TRY_TO(done, pr_alloc(ctx, row_of(plan, plan->graph->logits) * plan->micro_batch, &logits));
    TRY_TO(done, pr_alloc(ctx, row_of(plan, plan->graph->input) * plan->micro_batch, &dx));
    TRY_TO(done, pr_alloc(ctx, plan->program.step_count, &workspace->call.seconds));
    for (int run = 0; run < runs; run++) {
        TRY_TO(done, pr_plan_forward(ctx, plan, workspace, x, plan->micro_batch, logits));
        TRY_TO(done, pr_plan_backward(ctx, plan, workspace, logits, plan->micro_batch, dx));
    }
    pr_program_text(&plan->program, workspace->call.seconds, runs, &text);
    TRY_TO(done, pr_text_take(ctx, &text, out));
done:
    pr_free(workspace->call.seconds);
    workspace->call.seconds = NULL;
    pr_free(logits);
    pr_free(dx);
    return status;
}

int pr_plan_reference_steps(const pr_plan *plan)
{
    return pr_program_reference_steps(&plan->program);
}

/* ---- workspaces ------------------------------------------------------------------------------------------------ */

static parry_status workspace_fill(parry_ctx *ctx, const pr_plan *plan, pr_workspace *workspace)
{
    int64_t image = row_of(plan, plan->graph->input) * plan->micro_batch;
    TRY(pr_instance_create(ctx, plan->dnnl, &plan->program, &plan->packed->store, &workspace->instance));
    pr_instance_call(workspace->instance, &workspace->call);
    TRY(pr_alloc(ctx, image, &workspace->x));
    if (plan->seed < 0)
        return PARRY_OK;
    TRY(pr_alloc(ctx, image, &workspace->dx));
    return pr_alloc(ctx, row_of(plan, plan->graph->logits) * plan->micro_batch, &workspace->dlogits);
}

parry_status pr_workspace_create(parry_ctx *ctx, const pr_plan *plan, pr_workspace **out)
{
    TRY(pr_alloc(ctx, 1, out));
    (*out)->plan = plan;
    parry_status status = workspace_fill(ctx, plan, *out);
    if (status != PARRY_OK) {
        pr_workspace_free(*out);
        *out = NULL;
    }
    return status;
}

void pr_workspace_free(pr_workspace *workspace)
{
    if (!workspace)
        return;
    pr_instance_free(workspace->instance);
    pr_free(workspace->x);
    pr_free(workspace->dlogits);
    pr_free(workspace->dx);
    pr_free(workspace);
}

/* Binds the caller's n rows where they are a whole micro-batch, and a copy of them in `own` otherwise, filled up with
 * the last one: of what else there is there may be no logits. */
static parry_status feed(parry_ctx *ctx, pr_workspace *workspace, int buffer, const float *data, int n, int64_t row,
                         bool copy, float *own)
{
    if (copy || n < workspace->plan->micro_batch) {
        memcpy(own, data, (size_t)(n * row) * sizeof(*own));
        for (int64_t r = n; r < workspace->plan->micro_batch; r++)
            memcpy(own + r * row, data + (n - 1) * row, (size_t)row * sizeof(*own));
        data = own;
    }
    return pr_instance_bind(ctx, workspace->instance, buffer, data);
}

/* Steps first .. end - 1, for those shards that hold any of n images. */
static parry_status run_steps(parry_ctx *ctx, const pr_workspace *workspace, size_t first, size_t end, int n)
{
    const pr_program *program = &workspace->plan->program;
    const pr_frame *frames = workspace->instance->frames, *whole = &frames[workspace->instance->frame_count - 1];
    for (size_t s = first, next; s < end; s = next) {
        next = PR_MIN(end, pr_program_run_end(program, s));
        if (program->steps[s].domain == PR_ONCE)
            TRY(pr_frame_run(ctx, whole, s, next));
        for (int f = 0; program->steps[s].domain == PR_EACH_SHARD && f < program->shards; f++) {
            if (frames[f].first_row < n)
                TRY(pr_frame_run(ctx, &frames[f], s, next));
        }
    }
    return PARRY_OK;
}

/* Runs steps first .. end - 1 under the engine's policies. */
static parry_status run(parry_ctx *ctx, pr_workspace *workspace, size_t first, size_t end, int n)
{
    int threads = pr_omp_single();
    unsigned denormals = pr_denormals_flush();
    feclearexcept(FE_INVALID);
    parry_status status = run_steps(ctx, workspace, first, end, n);
    workspace->doubtful = fetestexcept(FE_INVALID);
    pr_denormals_restore(denormals);
    pr_omp_restore(threads);
    return status;
}

parry_status pr_plan_forward(parry_ctx *ctx, const pr_plan *plan, pr_workspace *workspace, const float *x, int n,
                             float *logits)
{
    TRY(refresh(ctx, plan));
    TRY(feed(ctx, workspace, plan->in, x, n, row_of(plan, plan->graph->input), plan->keeps_input, workspace->x));
    TRY(run(ctx, workspace, 0, plan->program.backward, n));
    memcpy(logits, workspace->instance->frames[0].data[plan->out],
           (size_t)(n * row_of(plan, plan->graph->logits)) * sizeof(*logits));
    return PARRY_OK;
}

bool pr_workspace_doubtful(const pr_workspace *workspace)
{
    return workspace->doubtful;
}

parry_status pr_plan_backward(parry_ctx *ctx, const pr_plan *plan, pr_workspace *workspace, const float *dlogits, int n,
                              float *dx)
{
    size_t bytes = (size_t)(n * row_of(plan, plan->graph->input)) * sizeof(*dx);
    float *to = plan->binds_dx && n == plan->micro_batch ? dx : workspace->dx;
    if (plan->dx < 0) {
        memset(dx, 0, bytes);
        return PARRY_OK;
    }
    TRY(feed(ctx, workspace, plan->seed_buffer, dlogits, n, row_of(plan, plan->graph->logits), false,
             workspace->dlogits));
    if (plan->binds_dx)
        TRY(pr_instance_bind(ctx, workspace->instance, plan->dx_buffer, to));
    TRY(run(ctx, workspace, plan->program.backward, plan->program.step_count, n));
    const float *from = workspace->instance->frames[0].data[plan->dx_buffer];
    if (from != dx)
        memcpy(dx, from, bytes);
    return PARRY_OK;
}

const char *pr_engine_version(void)
{
    return pr_dnnl_version();
}
