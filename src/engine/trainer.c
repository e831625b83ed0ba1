/* Training: the whole batch in phases on a team of threads.
 *
 * A batch of n is cut into shards whose number and sizes depend on n alone; shards, blocks of large matrices and ranges
 * of parameters are dealt out to the team's ranks, and everything that is summed over them is summed in their order:
 * the bytes are the same for any number of threads. Programs are compiled per n and kept for the full batch and for one
 * other size, the last of an epoch. */
#include <stdatomic.h>

#include "engine/trainer.h"
#include "tensor/tensor.h"

/* ---- life ------------------------------------------------------------------------------------------------------ */

static parry_status build(parry_ctx *ctx, const pr_graph *graph, pr_trainer *t)
{
    pr_compiled *c;
    if (t->rule->moments > PR_MOMENTS_MOST)
        return pr_fail(ctx, PARRY_UNSUPPORTED, "the optimiser %s has %d moments; at most %d are supported",
                       t->rule->name, t->rule->moments, PR_MOMENTS_MOST);
    TRY(pr_dnnl_create(ctx, &t->dnnl));
    TRY(pr_weights_clone(ctx, t->weights, &t->own));
    t->store = (pr_store){.dnnl = t->dnnl, .weights = t->own, .training = true};
    TRY(pr_trainer_make_graph(ctx, graph, t));
    return pr_trainer_program(ctx, t, t->batch, &c);
}

parry_status pr_trainer_create(parry_ctx *ctx, const pr_graph *graph, pr_weights *weights, int batch,
                               const pr_update_rule *rule, pr_backend backend, parry_precision precision,
                               pr_trainer **out)
{
    pr_trainer *t;
    *out = NULL;
    TRY(parry_precision_check(ctx, precision));
    TRY(pr_alloc(ctx, 1, &t));
    t->weights = weights;
    t->rule = rule;
    t->batch = batch;
    t->reference = backend == PR_BACKEND_REFERENCE;
    t->precision = precision;
    parry_status status = build(ctx, graph, t);
    if (status != PARRY_OK)
        pr_trainer_free(t);
    else
        *out = t;
    return status;
}

void pr_trainer_free(pr_trainer *t)
{
    if (!t)
        return;
    for (int p = 0; p < PR_PROGRAMS; p++)
        pr_compiled_clear(&t->programs[p]);
    for (size_t i = 0; i < t->count; i++) {
        pr_parameter *p = &t->parameters[i];
        for (int m = 0; m < PR_MOMENTS_MOST; m++)
            pr_free(p->moments[m]);
        pr_binding_free(p->pack);
        pr_binding_free(p->unpack);
        pr_prim_free(p->pack_prim);
        pr_prim_free(p->unpack_prim);
    }
    pr_store_clear(&t->store);
    pr_free(t->parameters);
    pr_free(t->parameter_of);
    pr_free(t->links);
    pr_graph_free(t->graph);
    pr_weights_free(t->own);
    pr_dnnl_free(t->dnnl);
    pr_free(t);
}

/* ---- a step ---------------------------------------------------------------------------------------------------- */

struct run {
    parry_ctx *ctx;
    pr_trainer *trainer;
    pr_compiled *compiled;
    const pr_call *call;
    atomic_int status;
};

static void update(const pr_call *call, int weight, int64_t first, int64_t count, const float *gradient)
{
    pr_trainer *t = call->trainer;
    const pr_parameter *p = &t->parameters[t->parameter_of[weight]];
    float *state[PR_MOMENTS_MOST];
    for (int m = 0; m < t->rule->moments; m++)
        state[m] = p->moments[m] + first;
    float decay = t->own->items[weight].role == PR_WEIGHT_KERNEL ? call->decay : 0;
    t->rule->update(call->scalars, decay, t->store.items[p->master].data + first, gradient, state, count);
}

/* The shards' gradients added up in order, then the optimiser. */
static void update_range(const struct run *r, const pr_range *range)
{
    const pr_compiled *c = r->compiled;
    int buffer = c->gradient[range->parameter->weight];
    float *sum = c->instance->base[buffer] + range->first;
    for (int s = 1; s < c->partials[range->parameter->weight]; s++)
        pr_engine_kernels_get()->flat.op[PR_OP_ADD](NULL, sum, sum + s * c->program.buffers[buffer].count, NULL, sum,
                                                    range->count);
    update(r->call, range->parameter->weight, range->first, range->count, sum);
}

static void move_statistics(const struct run *r)
{
    pr_trainer *t = r->trainer;
    for (size_t i = 0; i < 2 * t->link_count; i++) {
        const pr_bn_link *link = &t->links[i / 2];
        const float *batch = r->compiled->instance->base[r->compiled->statistics[i]];
        pr_weight *running = &t->own->items[i % 2 ? link->var_weight : link->mean_weight];
        for (int64_t c = 0; c < running->count; c++)
            running->data[c] = running->data[c] * link->momentum + batch[c] * (1 - link->momentum);
    }
}

static void keep_status(struct run *r, parry_status status)
{
    int ok = PARRY_OK;
    if (status != PARRY_OK)
        atomic_compare_exchange_strong(&r->status, &ok, (int)status);
}

static void run_phase(struct run *r, int phase, int rank, int ranks)
{
    const pr_program *program = &r->compiled->program;
    const pr_instance *instance = r->compiled->instance;
    size_t first = program->phase_start[phase], end = program->phase_start[phase + 1];
    for (int f = 0; f < instance->frame_count; f++) {
        const pr_frame *frame = &instance->frames[f];
        bool mine = frame->domain == PR_ONCE ? rank == 0 : frame->index % ranks == rank;
        if (mine && atomic_load(&r->status) == PARRY_OK)
            keep_status(r, pr_frame_run(r->ctx, frame, first, end));
    }
}

static void refill_copies(struct run *r, int rank, int ranks)
{
    pr_trainer *t = r->trainer;
    for (size_t i = 0; i < t->store.count; i++) {
        if (t->store.items[i].from >= 0 && t->store.items[i].weight % ranks == rank)
            keep_status(r, pr_store_fill(r->ctx, &t->store, i, t->own));
    }
}

static void work(pr_team *team, void *arg, int rank, int ranks)
{
    struct run *r = arg;
    pr_compiled *c = r->compiled;
    int threads = pr_omp_single();
    for (int phase = 0; phase < c->program.phases; phase++) {
        run_phase(r, phase, rank, ranks);
        pr_team_barrier(team);
    }
    if (atomic_load(&r->status) == PARRY_OK) {
        for (size_t i = (size_t)rank; i < c->range_count; i += (size_t)ranks)
            update_range(r, &c->ranges[i]);
        if (rank == 0)
            move_statistics(r);
    }
    pr_team_barrier(team);
    refill_copies(r, rank, ranks);
    pr_omp_restore(threads);
}

parry_status pr_trainer_step(parry_ctx *ctx, pr_trainer *t, const float *x, const int32_t *labels, int n,
                             pr_loss_rows loss, const void *loss_arg, uint64_t seed, uint64_t step,
                             const double *scalars, float weight_decay, double *loss_sum, int64_t *correct)
{
    pr_compiled *c;
    int classes = (int)pr_dims_row(t->graph->values[t->graph->logits].dims);
    pr_call call = {.seed = seed,
                    .step = step,
                    .labels = labels,
                    .loss = loss,
                    .loss_arg = loss_arg,
                    .scalars = scalars,
                    .decay = weight_decay,
                    .update = update,
                    .trainer = t};
    TRY(pr_trainer_program(ctx, t, n, &c));
    struct run run = {.ctx = ctx, .trainer = t, .compiled = c, .call = &call};
    pr_instance_call(c->instance, &call);
    TRY(pr_instance_bind(ctx, c->instance, c->in, x));
    TRY(pr_parallel_team(ctx, PR_MAX(c->program.shards, c->program.blocks), work, &run));
    TRY((parry_status)atomic_load(&run.status));
    *loss_sum = pr_sum(c->instance->base[c->loss], n);
    *correct = 0;
    for (int r = 0; r < n; r++)
        *correct += pr_argmax(c->instance->base[c->logits] + (int64_t)r * classes, classes) == labels[r];
    return PARRY_OK;
}

/* ---- parameters in and out ------------------------------------------------------------------------------------- */

/* Copies between a row-major tensor and one in the layout of a parameter's master. */
static parry_status convert(parry_ctx *ctx, pr_binding *binding, const float *from, float *to)
{
    TRY(pr_binding_set(ctx, binding, PR_ARG_SRC, from));
    TRY(pr_binding_set(ctx, binding, PR_ARG_DST, to));
    return pr_binding_run(ctx, binding);
}

static parry_status sync_parameter(parry_ctx *ctx, void *arg, int64_t index, int worker)
{
    pr_trainer *t = arg;
    const pr_parameter *p = &t->parameters[index];
    (void)worker;
    int threads = pr_omp_single();
    parry_status status = convert(ctx, p->unpack, t->store.items[p->master].data, t->weights->items[p->weight].data);
    pr_omp_restore(threads);
    return status;
}

parry_status pr_trainer_sync(parry_ctx *ctx, pr_trainer *t)
{
    TRY(pr_parallel_for(ctx, (int64_t)t->count, sync_parameter, t));
    for (size_t i = 0; i < t->own->count; i++) {
        if (t->own->items[i].role == PR_WEIGHT_STATISTIC)
            pr_copy(t->weights->items[i].data, t->own->items[i].data, t->own->items[i].count);
    }
    pr_weights_changed(t->weights);
    return PARRY_OK;
}

parry_status pr_trainer_load(parry_ctx *ctx, pr_trainer *t)
{
    for (size_t i = 0; i < t->own->count; i++)
        pr_copy(t->own->items[i].data, t->weights->items[i].data, t->own->items[i].count);
    int threads = pr_omp_single();
    parry_status status = pr_store_fill_all(ctx, &t->store, t->own);
    pr_omp_restore(threads);
    return status;
}

parry_status pr_trainer_moment(parry_ctx *ctx, pr_trainer *t, int32_t weight, int moment, float *data, bool store)
{
    if (weight < 0 || (size_t)weight >= t->own->count || t->parameter_of[weight] < 0 || moment < 0 ||
        moment >= t->rule->moments)
        return pr_fail(ctx, PARRY_INVALID, "tensor %d has no moment %d", (int)weight, moment);
    const pr_parameter *p = &t->parameters[t->parameter_of[weight]];
    int threads = pr_omp_single();
    parry_status status =
        store ? convert(ctx, p->pack, data, p->moments[moment]) : convert(ctx, p->unpack, p->moments[moment], data);
    pr_omp_restore(threads);
    return status;
}

parry_status pr_trainer_text(parry_ctx *ctx, const pr_trainer *t, char **out)
{
    pr_text text = {0};
    pr_program_text(&t->programs[0].program, NULL, 1, &text);
    return pr_text_take(ctx, &text, out);
}
