/* Training: the whole batch in phases on a team of threads.
 *
 * A batch of n is cut into shards whose number and sizes depend on n alone; shards, blocks of large matrices and ranges
 * of parameters are dealt out to the team's ranks, and everything that is summed over them is summed in their order:
 * the bytes are the same for any number of threads. Programs are compiled per n and kept for the full batch and for one
 * other size, the last of an epoch. */
#include <stdatomic.h>
#include <string.h>

#include "engine/lower.h"
#include "engine/rewrite.h"
#include "tensor/tensor.h"

enum {
    SHARD_LEAST = 8,
    SHARD_USUAL = 32,
    SHARDS_USUAL = 4,
    SHARDS_MOST = 8,
    CHUNK = 4096,
    MOMENTS_MOST = 4,
    PROGRAMS = 2
};

/* A trained weight. */
struct parameter {
    int32_t weight;
    pr_value gradient;
    int master; /* in the store */
    float *moments[MOMENTS_MOST];
    pr_binding *pack, *unpack; /* between row-major and the master's layout */
    pr_prim *pack_prim, *unpack_prim;
};

/* A range of a parameter's master, the unit in which summing gradients and updating is dealt out. */
struct range {
    const struct parameter *parameter;
    int64_t first, count;
};

/* What runs batches of n images. */
struct compiled {
    int n;
    pr_program program;
    pr_instance *instance;
    int *gradient, *partials;          /* by weight, as the lowering left them */
    int in, logits, loss, *statistics; /* buffers; mean and variance of each link */
    struct range *ranges;
    size_t range_count;
};

struct pr_trainer {
    pr_dnnl *dnnl;
    pr_weights *weights, *own; /* the caller's; statistics, constants, and where masters began */
    pr_graph *graph;           /* training form with its derivative */
    size_t forward;            /* nodes of the forward pass */
    pr_bn_link *links;
    size_t link_count, count;
    const pr_update_rule *rule;
    int batch;
    bool reference;
    pr_value seed;
    struct parameter *parameters;
    int *parameter_of; /* by weight; -1: not trained */
    pr_store store;
    struct compiled programs[PROGRAMS]; /* the full batch, another size */
};

/* ---- the graph ------------------------------------------------------------------------------------------------- */

static parry_status find_parameters(parry_ctx *ctx, pr_trainer *t)
{
    TRY(pr_alloc(ctx, t->graph->value_count, &t->parameters));
    TRY(pr_alloc(ctx, t->own->count, &t->parameter_of));
    for (size_t w = 0; w < t->own->count; w++)
        t->parameter_of[w] = -1;
    for (size_t v = 0; v < t->graph->value_count; v++) {
        const pr_value_info *value = &t->graph->values[v];
        if (value->kind != PR_VALUE_WEIGHT || !pr_weight_trained(&t->own->items[value->weight]))
            continue;
        t->parameter_of[value->weight] = (int)t->count;
        t->parameters[t->count++] = (struct parameter){.weight = value->weight, .gradient = (pr_value)v, .master = -1};
    }
    return PARRY_OK;
}

static parry_status differentiate(parry_ctx *ctx, pr_trainer *t)
{
    pr_value *values;
    TRY(pr_alloc(ctx, 2 * t->count, &values));
    for (size_t i = 0; i < t->count; i++)
        values[i] = t->parameters[i].gradient;
    t->forward = t->graph->node_count;
    parry_status status =
        pr_graph_differentiate(ctx, t->graph, t->graph->logits, values, t->count, &t->seed, values + t->count);
    for (size_t i = 0; status == PARRY_OK && i < t->count; i++) {
        t->parameters[i].gradient = values[t->count + i];
        if (values[t->count + i] < 0)
            status = pr_fail(ctx, PARRY_UNSUPPORTED, "the output of the network does not depend on its tensor '%s'",
                             t->own->items[t->parameters[i].weight].name);
    }
    pr_free(values);
    return status;
}

static parry_status make_graph(parry_ctx *ctx, const pr_graph *given, pr_trainer *t)
{
    pr_graph *flat;
    TRY(pr_rewrite_flatten(ctx, given, &flat));
    parry_status status = pr_graph_to_training(ctx, flat, &t->graph, &t->links, &t->link_count);
    pr_graph_free(flat);
    TRY(status);
    TRY(find_parameters(ctx, t));
    return differentiate(ctx, t);
}

/* ---- compiling ------------------------------------------------------------------------------------------------- */

static int round_up(int n, int to)
{
    return (n + to - 1) / to * to;
}

/* Four shards, so that four threads have work, but of 32 rows at most; eight shards at most: each has gradients of its
 * own. */
static int shard_rows(int n)
{
    int usual = PR_MIN(SHARD_USUAL, round_up((n + SHARDS_USUAL - 1) / SHARDS_USUAL, SHARD_LEAST));
    return PR_MAX(usual, round_up((n + SHARDS_MOST - 1) / SHARDS_MOST, SHARD_LEAST));
}

static parry_status run_loss(parry_ctx *ctx, const pr_step *step, const pr_frame *frame)
{
    const pr_call *call = frame->call;
    float *dlogits = pr_at(step, frame, 2), rows = (float)frame->program->rows;
    (void)ctx;
    call->loss(call->loss_arg, frame->rows, (int)step->channels, pr_at(step, frame, 0), call->labels + frame->first_row,
               pr_at(step, frame, 1), dlogits);
    for (int64_t e = 0; e < frame->rows * step->channels; e++)
        dlogits[e] /= rows;
    return PARRY_OK;
}

static parry_status add_loss(pr_lower *l, const pr_trainer *t, struct compiled *c)
{
    int dlogits;
    pr_step *step;
    TRY(pr_lower_read(l, l->graph->logits, PR_ROWS, &c->logits));
    TRY(pr_program_buffer(l->ctx, l->program, PR_BY_ROW, 1, &c->loss));
    TRY(pr_lower_write(l, t->seed, PR_ROWS, &dlogits));
    TRY(pr_program_step(l->ctx, l->program, "loss", NULL, PR_EACH_SHARD, &step));
    step->run = run_loss;
    step->channels = pr_dims_row(pr_dims_of(l, l->graph->logits));
    pr_step_operand(step, c->logits, PR_READS, PR_ARG_SRC);
    pr_step_operand(step, c->loss, PR_WRITES, PR_ARG_DST);
    pr_step_operand(step, dlogits, PR_WRITES, PR_ARG_DST);
    l->program->buffers[c->logits].pinned = l->program->buffers[c->loss].pinned = true;
    return PARRY_OK;
}

/* A gradient that came out row-major, for a master that is not. */
static parry_status reorder_gradient(pr_lower *l, const pr_packed *master, int *gradient)
{
    int from = *gradient;
    pr_step *step;
    pr_md *plain;
    TRY(pr_program_buffer(l->ctx, l->program, PR_SHARED, master->floats, gradient));
    TRY(pr_program_step(l->ctx, l->program, "reorder gradient", NULL, PR_ONCE, &step));
    pr_step_operand(step, from, PR_READS, PR_ARG_SRC);
    pr_step_operand(step, *gradient, PR_WRITES, PR_ARG_DST);
    TRY(pr_md_plain(l->ctx, master->md, &plain));
    parry_status status = pr_prim_reorder(l->ctx, l->dnnl, plain, master->md, &step->prim[0]);
    pr_md_free(plain);
    return status;
}

static parry_status collect_gradient(pr_lower *l, const struct parameter *p)
{
    const int32_t w = p->weight;
    int any;
    if (l->partials[w] == 0)
        return PARRY_OK;
    if (pr_store_master(l->store, w) < 0)
        TRY(pr_store_get(l->ctx, l->store, w, NULL, &any));
    if (l->gradient[w] < 0) {
        const pr_packed *master = &l->store->items[pr_store_master(l->store, w)];
        TRY(pr_lower_read(l, p->gradient, PR_ROWS, &l->gradient[w]));
        l->partials[w] = 1;
        if (!master->plain)
            TRY(reorder_gradient(l, master, &l->gradient[w]));
    }
    l->program->buffers[l->gradient[w]].pinned = true;
    return PARRY_OK;
}

static parry_status lower_all(pr_lower *l, const pr_trainer *t, struct compiled *c)
{
    for (size_t i = 0; i < t->count; i++)
        l->parameter[t->parameters[i].gradient] = t->parameters[i].weight;
    TRY(pr_lower_write(l, l->graph->input, PR_ROWS, &c->in));
    l->program->buffers[c->in].spread = PR_BOUND;
    TRY(pr_lower_nodes(l, 0, t->forward));
    TRY(add_loss(l, t, c));
    TRY(pr_lower_nodes(l, t->forward, l->graph->node_count));
    for (size_t i = 0; i < t->count; i++)
        TRY(collect_gradient(l, &t->parameters[i]));
    for (size_t i = 0; i < 2 * t->link_count; i++) {
        TRY(pr_lower_read(l, i % 2 ? t->links[i / 2].var : t->links[i / 2].mean, PR_ROWS, &c->statistics[i]));
        l->program->buffers[c->statistics[i]].pinned = true;
    }
    return pr_program_finish(l->ctx, l->program);
}

/* Fills the copies that a new program has asked for; masters that move already are left alone. */
static parry_status fill_new_copies(parry_ctx *ctx, pr_trainer *t, size_t first)
{
    for (size_t i = first; i < t->store.count; i++)
        TRY(pr_store_fill(ctx, &t->store, i, t->own));
    return PARRY_OK;
}

static parry_status add_ranges(parry_ctx *ctx, const pr_trainer *t, struct compiled *c)
{
    size_t count = 0, at = 0;
    for (size_t i = 0; i < t->count; i++)
        count += (size_t)(t->store.items[t->parameters[i].master].floats / CHUNK + 1);
    TRY(pr_alloc(ctx, count, &c->ranges));
    for (size_t i = 0; i < t->count; i++) {
        const struct parameter *p = &t->parameters[i];
        int64_t floats = t->store.items[p->master].floats;
        for (int64_t first = 0; c->partials[p->weight] > 0 && first < floats; first += CHUNK)
            c->ranges[at++] = (struct range){p, first, PR_MIN(CHUNK, floats - first)};
    }
    c->range_count = at;
    return PARRY_OK;
}

/* Moments and the ways between layouts, once the masters are known. */
static parry_status complete_parameter(parry_ctx *ctx, pr_trainer *t, struct parameter *p)
{
    parry_status status;
    pr_md *plain = NULL;
    float *none[PR_ARG_COUNT] = {0};
    p->master = pr_store_master(&t->store, p->weight);
    const pr_packed *master = &t->store.items[p->master];
    for (int m = 0; m < t->rule->moments; m++)
        TRY(pr_alloc(ctx, master->floats, &p->moments[m]));
    TRY(pr_md_plain(ctx, master->md, &plain));
    TRY_TO(done, pr_prim_reorder(ctx, t->dnnl, plain, master->md, &p->pack_prim));
    TRY_TO(done, pr_binding_create(ctx, t->dnnl, p->pack_prim, none, NULL, &p->pack));
    TRY_TO(done, pr_prim_reorder(ctx, t->dnnl, master->md, plain, &p->unpack_prim));
    TRY_TO(done, pr_binding_create(ctx, t->dnnl, p->unpack_prim, none, NULL, &p->unpack));
done:
    pr_md_free(plain);
    return status;
}

static parry_status compile(parry_ctx *ctx, pr_trainer *t, int n, struct compiled *c)
{
    pr_lower l;
    size_t copies = t->store.count, weights = t->own->count;
    int rows = shard_rows(n), shards = (n + rows - 1) / rows;
    c->n = n;
    c->program =
        (pr_program){.graph = t->graph, .training = true, .rows = n, .shard_rows = PR_MIN(rows, n), .shards = shards};
    c->program.variants = shards > 1 && n % rows ? 2 : 1;
    TRY(pr_alloc(ctx, weights, &c->gradient));
    TRY(pr_alloc(ctx, weights, &c->partials));
    TRY(pr_alloc(ctx, 2 * t->link_count, &c->statistics));
    memset(c->gradient, 0xff, weights * sizeof(*c->gradient));
    memset(c->partials, 0xff, weights * sizeof(*c->partials));
    parry_status status = pr_lower_init(ctx, &l, t->graph, t->own, &t->store, &c->program);
    l.reference = t->reference;
    l.gradient = c->gradient;
    l.partials = c->partials;
    if (status == PARRY_OK)
        status = lower_all(&l, t, c);
    pr_lower_release(&l);
    TRY(status);
    TRY(fill_new_copies(ctx, t, copies));
    for (size_t i = 0; i < t->count; i++) {
        if (t->parameters[i].master < 0)
            TRY(complete_parameter(ctx, t, &t->parameters[i]));
    }
    TRY(add_ranges(ctx, t, c));
    return pr_instance_create(ctx, t->dnnl, &c->program, &t->store, &c->instance);
}

static void compiled_clear(struct compiled *c)
{
    pr_instance_free(c->instance);
    pr_program_clear(&c->program);
    pr_free(c->gradient);
    pr_free(c->partials);
    pr_free(c->statistics);
    pr_free(c->ranges);
    *c = (struct compiled){0};
}

static parry_status program_for(parry_ctx *ctx, pr_trainer *t, int n, struct compiled **out)
{
    struct compiled *c = *out = &t->programs[n < t->batch];
    if (c->n == n)
        return PARRY_OK;
    compiled_clear(c);
    int threads = pr_omp_single();
    parry_status status = compile(ctx, t, n, c);
    pr_omp_restore(threads);
    if (status != PARRY_OK)
        compiled_clear(c);
    return status;
}

/* ---- life ------------------------------------------------------------------------------------------------------ */

static parry_status build(parry_ctx *ctx, const pr_graph *graph, pr_trainer *t)
{
    struct compiled *c;
    if (t->rule->moments > MOMENTS_MOST)
        return pr_fail(ctx, PARRY_UNSUPPORTED, "the optimiser %s has %d moments; at most %d are supported",
                       t->rule->name, t->rule->moments, MOMENTS_MOST);
    TRY(pr_dnnl_create(ctx, &t->dnnl));
    TRY(pr_weights_clone(ctx, t->weights, &t->own));
    t->store = (pr_store){.dnnl = t->dnnl, .weights = t->own, .training = true};
    TRY(make_graph(ctx, graph, t));
    return program_for(ctx, t, t->batch, &c);
}

parry_status pr_trainer_create(parry_ctx *ctx, const pr_graph *graph, pr_weights *weights, int batch,
                               const pr_update_rule *rule, pr_backend backend, pr_trainer **out)
{
    pr_trainer *t;
    *out = NULL;
    TRY(pr_alloc(ctx, 1, &t));
    t->weights = weights;
    t->rule = rule;
    t->batch = batch;
    t->reference = backend == PR_BACKEND_REFERENCE;
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
    for (int p = 0; p < PROGRAMS; p++)
        compiled_clear(&t->programs[p]);
    for (size_t i = 0; i < t->count; i++) {
        struct parameter *p = &t->parameters[i];
        for (int m = 0; m < MOMENTS_MOST; m++)
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
    struct compiled *compiled;
    const pr_call *call;
    atomic_int status;
};

static void update(const pr_call *call, int weight, int64_t first, int64_t count, const float *gradient)
{
    pr_trainer *t = call->trainer;
    const struct parameter *p = &t->parameters[t->parameter_of[weight]];
    float *state[MOMENTS_MOST];
    for (int m = 0; m < t->rule->moments; m++)
        state[m] = p->moments[m] + first;
    float decay = t->own->items[weight].role == PR_WEIGHT_KERNEL ? call->decay : 0;
    t->rule->update(call->scalars, decay, t->store.items[p->master].data + first, gradient, state, count);
}

/* The shards' gradients added up in order, then the optimiser. */
static void update_range(const struct run *r, const struct range *range)
{
    const struct compiled *c = r->compiled;
    int buffer = c->gradient[range->parameter->weight];
    float *sum = c->instance->base[buffer] + range->first;
    for (int s = 1; s < c->partials[range->parameter->weight]; s++)
        pr_engine_kernels_get()->add(sum, sum + s * c->program.buffers[buffer].count, sum, range->count);
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
    struct compiled *c = r->compiled;
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
    struct compiled *c;
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
    TRY(program_for(ctx, t, n, &c));
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
    const struct parameter *p = &t->parameters[index];
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
    const struct parameter *p = &t->parameters[t->parameter_of[weight]];
    int threads = pr_omp_single();
    parry_status status =
        store ? convert(ctx, p->pack, data, p->moments[moment]) : convert(ctx, p->unpack, p->moments[moment], data);
    pr_omp_restore(threads);
    return status;
}

parry_status pr_trainer_text(parry_ctx *ctx, const pr_trainer *t, char **out)
{
    pr_text text = {0};
    pr_program_text(&t->programs[0].program, &text);
    return pr_text_take(ctx, &text, out);
}
