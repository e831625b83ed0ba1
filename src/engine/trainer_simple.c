/* Training on the oracle alone: slow, and right. */
#include <string.h>

#include "engine/engine.h"
#include "tensor/tensor.h"

/* One trained parameter. */
struct parameter {
    int32_t weight;
    float *grad;
    float **moments;
};

struct pr_trainer {
    pr_graph *graph;                 /* training form with its derivative */
    pr_weights *weights, *own;       /* the caller's, and the moving copy */
    pr_bn_link *links;
    size_t link_count, count;
    const pr_update_rule *rule;
    int batch;
    pr_value seed;
    struct parameter *parameters;
    pr_value *wanted;                /* gradients, then mean and variance of each batch norm */
    float **results;
    float *logits, *dlogits, *loss;
};

static bool trained(const pr_trainer *t, const pr_value_info *value)
{
    if (value->kind != PR_VALUE_WEIGHT)
        return false;
    pr_weight_role role = t->own->items[value->weight].role;
    return role == PR_WEIGHT_KERNEL || role == PR_WEIGHT_VECTOR;
}

static parry_status add_parameters(parry_ctx *ctx, pr_trainer *t)
{
    pr_value *grads;
    size_t values = t->graph->value_count;
    TRY(pr_alloc(ctx, values + 2 * t->link_count, &t->wanted));
    TRY(pr_alloc(ctx, values, &t->parameters));
    TRY(pr_alloc(ctx, values + 2 * t->link_count, &t->results));
    for (size_t v = 0; v < values; v++) {
        if (!trained(t, &t->graph->values[v]))
            continue;
        struct parameter *p = &t->parameters[t->count];
        p->weight = t->graph->values[v].weight;
        t->wanted[t->count++] = (pr_value)v;
        TRY(pr_alloc(ctx, t->rule->moments, &p->moments));
        TRY(pr_alloc(ctx, t->own->items[p->weight].count, &p->grad));
        for (int m = 0; m < t->rule->moments; m++)
            TRY(pr_alloc(ctx, t->own->items[p->weight].count, &p->moments[m]));
    }
    TRY(pr_alloc(ctx, t->count, &grads));
    parry_status status = pr_graph_differentiate(ctx, t->graph, t->graph->logits, t->wanted, t->count, &t->seed, grads);
    size_t kept = 0;
    for (size_t i = 0; status == PARRY_OK && i < t->count; i++) {
        t->wanted[i] = grads[i];
        t->results[i] = t->parameters[i].grad;
        kept += grads[i] >= 0;
    }
    pr_free(grads);
    TRY(status);
    if (kept < t->count)
        return pr_fail(ctx, PARRY_UNSUPPORTED, "the network has parameters that its output does not depend on");
    return PARRY_OK;
}

static parry_status add_statistics(parry_ctx *ctx, pr_trainer *t)
{
    for (size_t i = 0; i < 2 * t->link_count; i++) {
        const pr_bn_link *link = &t->links[i / 2];
        t->wanted[t->count + i] = i % 2 ? link->var : link->mean;
        TRY(pr_alloc(ctx, t->own->items[i % 2 ? link->var_weight : link->mean_weight].count,
                     &t->results[t->count + i]));
    }
    return PARRY_OK;
}

parry_status pr_trainer_create(parry_ctx *ctx, const pr_graph *graph, pr_weights *weights, int batch,
                               const pr_update_rule *rule, pr_backend backend, pr_trainer **out)
{
    parry_status status;
    pr_trainer *t;

    (void)backend;
    *out = NULL;
    TRY(pr_alloc(ctx, 1, &t));
    t->weights = weights;
    t->rule = rule;
    t->batch = batch;
    TRY_TO(fail, pr_weights_clone(ctx, weights, &t->own));
    TRY_TO(fail, pr_graph_to_training(ctx, graph, &t->graph, &t->links, &t->link_count));
    int64_t classes = pr_dims_row(t->graph->values[t->graph->logits].dims);
    TRY_TO(fail, pr_alloc(ctx, batch * classes, &t->logits));
    TRY_TO(fail, pr_alloc(ctx, batch * classes, &t->dlogits));
    TRY_TO(fail, pr_alloc(ctx, batch, &t->loss));
    TRY_TO(fail, add_parameters(ctx, t));
    TRY_TO(fail, add_statistics(ctx, t));
    *out = t;
    return PARRY_OK;
fail:
    pr_trainer_free(t);
    return status;
}

void pr_trainer_free(pr_trainer *t)
{
    if (!t)
        return;
    for (size_t i = 0; i < t->count; i++) {
        for (int m = 0; t->parameters[i].moments && m < t->rule->moments; m++)
            pr_free(t->parameters[i].moments[m]);
        pr_free(t->parameters[i].moments);
        pr_free(t->parameters[i].grad);
    }
    for (size_t i = 0; t->results && i < 2 * t->link_count; i++)
        pr_free(t->results[t->count + i]);
    pr_free(t->results);
    pr_free(t->wanted);
    pr_free(t->parameters);
    pr_free(t->links);
    pr_free(t->logits);
    pr_free(t->dlogits);
    pr_free(t->loss);
    pr_graph_free(t->graph);
    pr_weights_free(t->own);
    pr_free(t);
}

static void move_statistics(pr_trainer *t)
{
    for (size_t i = 0; i < 2 * t->link_count; i++) {
        const pr_bn_link *link = &t->links[i / 2];
        pr_weight *running = &t->own->items[i % 2 ? link->var_weight : link->mean_weight];
        for (int64_t c = 0; c < running->count; c++)
            running->data[c] = running->data[c] * link->momentum + t->results[t->count + i][c] * (1 - link->momentum);
    }
}

parry_status pr_trainer_step(parry_ctx *ctx, pr_trainer *t, const float *x, const int32_t *labels, int n,
                             pr_loss_rows loss, const void *loss_arg, uint64_t seed, uint64_t step,
                             const double *scalars, float weight_decay, double *loss_sum, int64_t *correct)
{
    int classes = (int)pr_dims_row(t->graph->values[t->graph->logits].dims);
    pr_ref_feed feeds[] = {{t->graph->input, x}, {t->seed, t->dlogits}};

    TRY(pr_ref_run(ctx, t->graph, t->own, n, feeds, 1, &t->graph->logits, 1, &t->logits, seed, step));
    loss(loss_arg, n, classes, t->logits, labels, t->loss, t->dlogits);
    *loss_sum = pr_sum(t->loss, n);
    *correct = 0;
    for (int r = 0; r < n; r++)
        *correct += pr_argmax(t->logits + (int64_t)r * classes, classes) == labels[r];
    for (int64_t e = 0; e < (int64_t)n * classes; e++)
        t->dlogits[e] /= (float)n;
    TRY(pr_ref_run(ctx, t->graph, t->own, n, feeds, 2, t->wanted, t->count + 2 * t->link_count, t->results, seed,
                   step));
    for (size_t i = 0; i < t->count; i++) {
        pr_weight *w = &t->own->items[t->parameters[i].weight];
        t->rule->update(scalars, w->role == PR_WEIGHT_KERNEL ? weight_decay : 0, w->data, t->parameters[i].grad,
                        t->parameters[i].moments, w->count);
    }
    move_statistics(t);
    return PARRY_OK;
}

static void copy_weights(pr_weights *to, const pr_weights *from)
{
    for (size_t i = 0; i < from->count; i++) {
        if (from->items[i].count)
            memcpy(to->items[i].data, from->items[i].data, (size_t)from->items[i].count * sizeof(float));
    }
}

parry_status pr_trainer_sync(parry_ctx *ctx, pr_trainer *t)
{
    (void)ctx;
    copy_weights(t->weights, t->own);
    pr_weights_changed(t->weights);
    return PARRY_OK;
}

parry_status pr_trainer_load(parry_ctx *ctx, pr_trainer *t)
{
    (void)ctx;
    copy_weights(t->own, t->weights);
    return PARRY_OK;
}

parry_status pr_trainer_moment(parry_ctx *ctx, pr_trainer *t, int32_t weight, int moment, float *data, bool store)
{
    for (size_t i = 0; i < t->count; i++) {
        if (t->parameters[i].weight != weight || moment >= t->rule->moments)
            continue;
        float *own = t->parameters[i].moments[moment];
        memcpy(store ? own : data, store ? data : own, (size_t)t->own->items[weight].count * sizeof(float));
        return PARRY_OK;
    }
    return pr_fail(ctx, PARRY_INVALID, "tensor '%s' has no moment %d", t->own->items[weight].name, moment);
}

parry_status pr_trainer_text(parry_ctx *ctx, const pr_trainer *t, char **out)
{
    pr_text text = {0};
    for (size_t n = 0; n < t->graph->node_count; n++)
        pr_text_add(&text, "%-24s plain C  %s\n", pr_op_name(t->graph->nodes[n].op), t->graph->nodes[n].name);
    return pr_text_take(ctx, &text, out);
}
