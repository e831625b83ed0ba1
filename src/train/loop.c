/* The training loop, shared by plain training and every defence.
 *
 * A step draws a batch from a stream (which makes adversaries on the way where the stage asks for them), descends, and
 * moves the position. All that is random is a function of (seed, epoch, step), so a checkpoint needs weights, moments
 * and the position, and resumed training gives the same bytes. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/file.h"
#include "data/data.h"
#include "train/train.h"

/* SHA-256 over names, shapes and values. */
static parry_status weights_digest(parry_ctx *ctx, const pr_weights *weights, char hex[PR_SHA256_HEX])
{
    pr_sha256_state *digest;
    TRY(pr_sha256_begin(ctx, &digest));
    for (size_t i = 0; i < weights->count; i++) {
        const pr_weight *weight = &weights->items[i];
        pr_sha256_add(digest, weight->name, strlen(weight->name) + 1);
        pr_sha256_add(digest, weight->dim, (size_t)weight->rank * sizeof weight->dim[0]);
        pr_sha256_add(digest, weight->data, (size_t)weight->count * sizeof(float));
    }
    pr_sha256_end(digest, hex);
    return PARRY_OK;
}

static void put_back(pr_weights *weights, const pr_weights *given)
{
    for (size_t i = 0; i < weights->count; i++)
        pr_copy(weights->items[i].data, given->items[i].data, given->items[i].count);
    pr_weights_changed(weights);
}

static parry_status begin(parry_ctx *ctx, const pr_graph *graph, pr_training *run)
{
    const pr_stage *stage = run->stage;
    const parry_train_settings *settings = stage->settings;
    int64_t count = parry_dataset_describe(stage->data)->count, batch = PR_MIN(settings->batch, count);
    char from[PR_SHA256_HEX];
    if (stage->afresh)
        pr_initialise(graph, run->weights, parry_ctx_seed(ctx));
    run->optimiser = pr_optimiser_at((size_t)settings->optimiser);
    run->epochs = settings->epochs;
    run->steps = (count + batch - 1) / batch;
    run->curve = json_array();
    TRY(weights_digest(ctx, run->weights, from));
    TRY(pr_record_create(ctx, stage, from, &run->record));
    TRY(pr_alloc_raw(ctx, batch * pr_model_row(run->model), &run->images));
    TRY(pr_alloc_raw(ctx, batch, &run->labels));
    TRY(pr_trainer_create(ctx, graph, run->weights, (int)batch, &run->optimiser->rule, PR_BACKEND_AUTO,
                          (parry_precision)settings->precision, &run->trainer));
    TRY(pr_model_set_moving(ctx, run->model, stage->live));
    parry_stream_options options = {
        .size = sizeof options,
        .batch = (int)batch,
        .adversarial_share = stage->live ? stage->share : 0,
        .attack = stage->attack,
        .threat = stage->threat,
    };
    return parry_stream_create(ctx, run->model, stage->data, &options, &run->stream);
}

static parry_status resume(parry_ctx *ctx, pr_training *run)
{
    const parry_train_settings *settings = run->stage->settings;
    if (!settings->so_far && !(settings->resume && pr_file_exists(settings->checkpoint)))
        return PARRY_OK;
    TRY(pr_checkpoint_read(ctx, settings->checkpoint, run));
    pr_log(ctx, PARRY_LOG_INFO, "%s: %s after epoch %lld, step %lld", settings->checkpoint,
           settings->so_far ? "stopped" : "continues", (long long)run->at.epoch, (long long)run->at.step);
    return PARRY_OK;
}

static double rate(const pr_training *run, int64_t epoch, int64_t step)
{
    return pr_schedule_rate(run->stage->settings->schedule, run->stage->settings->lr,
                            (uint64_t)(epoch * run->steps + step), (uint64_t)(run->epochs * run->steps));
}

static void show_progress(parry_ctx *ctx, const pr_training *run)
{
    char task[96], note[32];
    snprintf(task, sizeof task, "%s epoch %lld/%lld", run->stage->method, (long long)run->at.epoch + 1,
             (long long)run->epochs);
    snprintf(note, sizeof note, "loss %.3f", run->at.loss_sum / (double)run->at.seen);
    pr_progress(ctx, &(parry_progress){
                         .task = task,
                         .unit = "images",
                         .done = (uint64_t)run->at.seen,
                         .total = (uint64_t)parry_dataset_describe(run->stage->data)->count,
                         .note = note,
                     });
}

static parry_status train_step(parry_ctx *ctx, pr_training *run)
{
    const parry_train_settings *settings = run->stage->settings;
    pr_position *at = &run->at;
    uint64_t step = (uint64_t)(at->epoch * run->steps + at->step);
    double scalars[PR_SCALARS_MAX], loss_sum;
    int64_t count, correct;
    TRY(pr_poll(ctx));
    if (run->stage->live) { /* adversaries of the model as it is now */
        TRY(pr_trainer_sync(ctx, run->trainer));
        TRY(pr_model_refresh(ctx, run->model));
    }
    TRY(parry_stream_next(ctx, run->stream, run->images, run->labels, &count));
    run->optimiser->scalars(rate(run, at->epoch, at->step), settings->momentum, step + 1, scalars);
    TRY(pr_trainer_step(ctx, run->trainer, run->images, run->labels, (int)count, pr_loss_at(0)->rows, NULL,
                        parry_ctx_seed(ctx), step, scalars, (float)settings->weight_decay, &loss_sum, &correct));
    if (!isfinite(loss_sum))
        return pr_fail(ctx, PARRY_NUMERIC,
                       "the loss is not finite in epoch %lld, step %lld; a smaller --lr than %g may help",
                       (long long)at->epoch + 1, (long long)at->step + 1, settings->lr);
    at->step++;
    at->seen += count;
    at->correct += correct;
    at->loss_sum += loss_sum;
    show_progress(ctx, run);
    return PARRY_OK;
}

/* Scores the model, notes the epoch's figures and moves on to the next. */
static parry_status close_epoch(parry_ctx *ctx, pr_training *run)
{
    const pr_stage *stage = run->stage;
    double loss, accuracy;
    TRY(pr_trainer_sync(ctx, run->trainer));
    TRY(pr_weights_check_finite(ctx, "training", run->weights));
    TRY(pr_model_refresh(ctx, run->model));
    if (stage->test)
        TRY(parry_model_accuracy(ctx, run->model, stage->test, &accuracy, &loss));
    TRY(pr_curve_append(ctx, run->curve, &run->at, rate(run, run->at.epoch, 0), stage->test ? &loss : NULL,
                        stage->test ? &accuracy : NULL));
    run->at = (pr_position){.epoch = run->at.epoch + 1};
    return stage->settings->checkpoint ? pr_checkpoint_write(ctx, stage->settings->checkpoint, run) : PARRY_OK;
}

static parry_status all_epochs(parry_ctx *ctx, pr_training *run)
{
    while (run->at.epoch < run->epochs) {
        TRY(pr_stream_seek(ctx, run->stream, run->at.epoch, run->at.step));
        while (run->at.step < run->steps)
            TRY(train_step(ctx, run));
        TRY(close_epoch(ctx, run));
    }
    return PARRY_OK;
}

/* A stage that was interrupted can go on from here: between two steps, or between the last step of an epoch and its
 * scoring. */
static parry_status keep_interrupted(parry_ctx *ctx, pr_training *run)
{
    const char *path = run->stage->settings->checkpoint;
    if (!path)
        return PARRY_CANCELLED;
    TRY(pr_checkpoint_write(ctx, path, run));
    return pr_fail(
        ctx, PARRY_CANCELLED, "interrupted in epoch %lld of %lld, after step %lld of %lld; --resume continues from %s",
        (long long)run->at.epoch + 1, (long long)run->epochs, (long long)run->at.step, (long long)run->steps, path);
}

static parry_status run_stage(parry_ctx *ctx, const pr_graph *graph, pr_training *run)
{
    TRY(begin(ctx, graph, run));
    TRY(resume(ctx, run));
    parry_status status = run->stage->settings->so_far ? PARRY_OK : all_epochs(ctx, run);
    if (status == PARRY_CANCELLED)
        return keep_interrupted(ctx, run);
    TRY(status);
    TRY(pr_trainer_sync(ctx, run->trainer));
    return pr_history_append(ctx, run->model, run);
}

static void release(pr_training *run)
{
    parry_stream_free(run->stream);
    pr_trainer_free(run->trainer);
    pr_free(run->images);
    pr_free(run->labels);
    json_decref(run->record);
    json_decref(run->curve);
}

static parry_status check_stage(parry_ctx *ctx, const parry_model *model, const pr_stage *stage)
{
    const parry_train_settings *settings = stage->settings;
    TRY(pr_model_check_dataset(ctx, model, stage->data));
    TRY(pr_model_check_labels(ctx, model, parry_dataset_labels(stage->data),
                              parry_dataset_describe(stage->data)->count));
    if (stage->test)
        TRY(pr_model_check_dataset(ctx, model, stage->test));
    if (settings->checkpoint)
        TRY(parry_file_probe(ctx, settings->checkpoint));
    TRY(pr_dataset_load(ctx, stage->source));
    TRY(pr_dataset_load(ctx, stage->data));
    return stage->test ? pr_dataset_load(ctx, stage->test) : PARRY_OK;
}

parry_status pr_stage_run(parry_ctx *ctx, parry_model *model, const pr_stage *stage)
{
    pr_training run = {.stage = stage, .model = model};
    const pr_graph *graph;
    pr_weights *given;
    TRY(check_stage(ctx, model, stage));
    TRY(pr_model_network(ctx, model, &graph, &run.weights));
    TRY(pr_weights_clone(ctx, run.weights, &given));
    parry_status status = run_stage(ctx, graph, &run);
    release(&run);
    if (status != PARRY_OK)
        put_back(run.weights, given);
    pr_weights_free(given);
    /* A plan that cannot be brought up to date now is so at its next use: what was learnt is not lost to that. */
    parry_status settled = pr_model_set_moving(ctx, model, false);
    return settled == PARRY_NO_MEMORY ? status : status != PARRY_OK ? status : settled;
}

parry_status parry_train(parry_ctx *ctx, parry_model *model, const parry_dataset *dataset, const parry_dataset *test,
                         const parry_train_settings *settings)
{
    TRY(parry_train_check(ctx, settings));
    return pr_stage_run(
        ctx, model,
        &(pr_stage){.method = "train", .settings = settings, .source = dataset, .data = dataset, .test = test});
}
