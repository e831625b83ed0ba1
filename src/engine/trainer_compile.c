/* From a graph to the programs of a trainer. */
#include <string.h>

#include "engine/rewrite.h"
#include "engine/trainer.h"

enum { SHARD_LEAST = 8, SHARD_USUAL = 32, SHARDS_USUAL = 4, SHARDS_MOST = 8, CHUNK = 4096 };

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
        t->parameters[t->count++] = (pr_parameter){.weight = value->weight, .gradient = (pr_value)v, .master = -1};
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

parry_status pr_trainer_make_graph(parry_ctx *ctx, const pr_graph *given, pr_trainer *t)
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

static parry_status add_loss(pr_lower *l, const pr_trainer *t, pr_compiled *c)
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

static parry_status collect_gradient(pr_lower *l, const pr_parameter *p)
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

static parry_status lower_all(pr_lower *l, const pr_trainer *t, pr_compiled *c)
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

static parry_status add_ranges(parry_ctx *ctx, const pr_trainer *t, pr_compiled *c)
{
    size_t count = 0, at = 0;
    for (size_t i = 0; i < t->count; i++)
        count += (size_t)(t->store.items[t->parameters[i].master].floats / CHUNK + 1);
    TRY(pr_alloc(ctx, count, &c->ranges));
    for (size_t i = 0; i < t->count; i++) {
        const pr_parameter *p = &t->parameters[i];
        int64_t floats = t->store.items[p->master].floats;
        for (int64_t first = 0; c->partials[p->weight] > 0 && first < floats; first += CHUNK)
            c->ranges[at++] = (pr_range){p, first, PR_MIN(CHUNK, floats - first)};
    }
    c->range_count = at;
    return PARRY_OK;
}

/* Moments and the ways between layouts, once the masters are known. */
static parry_status complete_parameter(parry_ctx *ctx, pr_trainer *t, pr_parameter *p)
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

static parry_status compile(parry_ctx *ctx, pr_trainer *t, int n, pr_compiled *c)
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
    l.bf16 = t->precision == PARRY_BF16 ? pr_bf16_kernels_get() : NULL;
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

void pr_compiled_clear(pr_compiled *c)
{
    pr_instance_free(c->instance);
    pr_program_clear(&c->program);
    pr_free(c->gradient);
    pr_free(c->partials);
    pr_free(c->statistics);
    pr_free(c->ranges);
    *c = (pr_compiled){0};
}

parry_status pr_trainer_program(parry_ctx *ctx, pr_trainer *t, int n, pr_compiled **out)
{
    pr_compiled *c = *out = &t->programs[n < t->batch];
    if (c->n == n)
        return PARRY_OK;
    pr_compiled_clear(c);
    int threads = pr_omp_single();
    parry_status status = compile(ctx, t, n, c);
    pr_omp_restore(threads);
    if (status != PARRY_OK)
        pr_compiled_clear(c);
    return status;
}
