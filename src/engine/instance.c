/* The memory of a program: one arena, and for each shard and block a frame of pointers and bound primitives into it. */
#include <fenv.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

#include "engine/program.h"

static void set_base(pr_instance *instance, const pr_store *store)
{
    for (size_t b = 0; b < instance->program->buffer_count; b++) {
        const pr_buffer *buffer = &instance->program->buffers[b];
        if (buffer->spread == PR_FROM_STORE)
            instance->base[b] = store->items[buffer->copy].data;
        else if (buffer->spread != PR_BOUND)
            instance->base[b] = instance->arena + buffer->offset;
    }
}

/* Where the frame's part of a buffer begins, in floats from the buffer's beginning. */
static int64_t part_of(const pr_frame *frame, const pr_buffer *buffer)
{
    if (frame->domain != PR_EACH_SHARD || buffer->local)
        return 0;
    if (buffer->spread == PR_BY_ROW || buffer->spread == PR_BOUND)
        return frame->first_row * buffer->count;
    return buffer->spread == PR_BY_SHARD ? frame->index * buffer->count : 0;
}

static bool runs(const pr_frame *frame, const pr_step *step)
{
    return step->domain == frame->domain && (step->domain != PR_EACH_BLOCK || frame->index < step->blocks);
}

/* Where what the frame binds begins in its part of an operand's buffer. */
static int64_t shift_of(const pr_frame *frame, const pr_operand *operand)
{
    return operand->offset + (frame->domain == PR_EACH_BLOCK ? frame->index * operand->block_stride : 0);
}

static parry_status bind_step(parry_ctx *ctx, const pr_dnnl *dnnl, const pr_step *step, pr_frame *frame, float *scratch,
                              pr_binding **out)
{
    float *data[PR_ARG_COUNT] = {0};
    for (int o = 0; o < step->operands; o++) {
        float *at = frame->data[step->operand[o].buffer];
        if (at)
            data[step->operand[o].role] = at + shift_of(frame, &step->operand[o]);
    }
    return pr_binding_create(ctx, dnnl, step->prim[frame->variant], data, scratch, out);
}

static parry_status frame_fill(parry_ctx *ctx, const pr_dnnl *dnnl, const pr_instance *instance, int number,
                               pr_frame *frame)
{
    const pr_program *program = instance->program;
    TRY(pr_alloc(ctx, program->buffer_count, &frame->data));
    TRY(pr_alloc(ctx, program->step_count, &frame->bindings));
    for (size_t b = 0; b < program->buffer_count; b++) {
        if (instance->base[b])
            frame->data[b] = instance->base[b] + part_of(frame, &program->buffers[b]);
    }
    for (size_t s = 0; s < program->step_count; s++) {
        if (runs(frame, &program->steps[s]) && !program->steps[s].run)
            TRY(bind_step(ctx, dnnl, &program->steps[s], frame,
                          instance->scratch + (number + program->steps[s].piece) * program->scratch,
                          &frame->bindings[s]));
    }
    return PARRY_OK;
}

static parry_status fill(parry_ctx *ctx, const pr_dnnl *dnnl, const pr_store *store, pr_instance *instance)
{
    const pr_program *program = instance->program;
    int count = program->shards + program->blocks + 1,
        scratches = program->training ? count : PR_MAX(1, program->pieces);
    /* one number more, so that there is an arena to point into where nothing needs one */
    TRY(pr_alloc(ctx, program->arena + program->scratch * scratches + 1, &instance->arena));
    instance->scratch = instance->arena + program->arena;
    TRY(pr_alloc(ctx, program->buffer_count, &instance->base));
    TRY(pr_alloc(ctx, count, &instance->frames));
    instance->frame_count = count;
    set_base(instance, store);
    for (int f = 0; f < count; f++) {
        pr_domain domain = f < program->shards ? PR_EACH_SHARD : f + 1 < count ? PR_EACH_BLOCK : PR_ONCE;
        pr_frame *frame = &instance->frames[f];
        *frame = (pr_frame){.program = program, .domain = domain, .rows = program->rows, .base = instance->base};
        frame->index = domain == PR_EACH_BLOCK ? f - program->shards : f;
        if (domain == PR_EACH_SHARD) {
            frame->first_row = f * program->shard_rows;
            frame->rows = pr_program_shard_rows(program, f);
            frame->variant = frame->rows < program->shard_rows;
        }
        TRY(frame_fill(ctx, dnnl, instance, program->training ? f : 0, frame));
    }
    return PARRY_OK;
}

parry_status pr_instance_create(parry_ctx *ctx, const pr_dnnl *dnnl, const pr_program *program, const pr_store *store,
                                pr_instance **out)
{
    TRY(pr_alloc(ctx, 1, out));
    (*out)->program = program;
    parry_status status = fill(ctx, dnnl, store, *out);
    if (status != PARRY_OK) {
        pr_instance_free(*out);
        *out = NULL;
    }
    return status;
}

void pr_instance_free(pr_instance *instance)
{
    if (!instance)
        return;
    for (int f = 0; instance->frames && f < instance->frame_count; f++) {
        pr_frame *frame = &instance->frames[f];
        for (size_t s = 0; frame->bindings && s < instance->program->step_count; s++)
            pr_binding_free(frame->bindings[s]);
        pr_free(frame->bindings);
        pr_free(frame->data);
    }
    pr_free(instance->frames);
    pr_free(instance->base);
    pr_free(instance->arena);
    pr_free(instance);
}

parry_status pr_instance_bind(parry_ctx *ctx, pr_instance *instance, int buffer, const float *data)
{
    const pr_program *program = instance->program;
    if (instance->base[buffer] == data)
        return PARRY_OK;
    instance->base[buffer] = (float *)data;
    for (int f = 0; f < instance->frame_count; f++) {
        pr_frame *frame = &instance->frames[f];
        frame->data[buffer] = instance->base[buffer] + part_of(frame, &program->buffers[buffer]);
        for (size_t s = 0; s < program->step_count; s++) {
            const pr_step *step = &program->steps[s];
            for (int o = 0; frame->bindings[s] && o < step->operands; o++) {
                if (step->operand[o].buffer == buffer)
                    TRY(pr_binding_set(ctx, frame->bindings[s], step->operand[o].role,
                                       frame->data[buffer] + shift_of(frame, &step->operand[o])));
            }
        }
    }
    return PARRY_OK;
}

void pr_instance_call(pr_instance *instance, const pr_call *call)
{
    for (int f = 0; f < instance->frame_count; f++)
        instance->frames[f].call = call;
}

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static parry_status run_step(parry_ctx *ctx, const pr_frame *frame, int s)
{
    const pr_step *step = &frame->program->steps[s];
    double begin = frame->call->seconds ? now() : 0;
    TRY(step->run ? step->run(ctx, step, frame) : pr_binding_run(ctx, frame->bindings[s]));
    if (frame->call->seconds)
        frame->call->seconds[s] += now() - begin;
    return PARRY_OK;
}

/* Steps that run at the same time. */
struct pieces {
    const pr_frame *frame;
    int first;           /* step */
    atomic_bool invalid; /* one of them raised the processor's flag for invalid operations */
};

static parry_status run_piece(parry_ctx *ctx, void *arg, int64_t index, int worker)
{
    struct pieces *p = arg;
    fenv_t before;
    (void)worker;
    int threads = pr_omp_single();
    feholdexcept(&before);
    parry_status status = run_step(ctx, p->frame, p->first + (int)index);
    if (fetestexcept(FE_INVALID))
        atomic_store(&p->invalid, true);
    fesetenv(&before);
    pr_omp_restore(threads);
    return status;
}

static parry_status run_pieces(parry_ctx *ctx, const pr_frame *frame, int first, int count)
{
    struct pieces p = {.frame = frame, .first = first};
    TRY(pr_parallel_for(ctx, count, run_piece, &p));
    if (atomic_load(&p.invalid))
        feraiseexcept(FE_INVALID); /* as if this thread had done it all */
    return PARRY_OK;
}

parry_status pr_frame_run(parry_ctx *ctx, const pr_frame *frame, size_t first, size_t end)
{
    for (size_t i = first; i < end; i++) {
        int s = frame->program->order[i];
        const pr_step *step = &frame->program->steps[s];
        if (runs(frame, step) && step->piece == 0)
            TRY(step->pieces ? run_pieces(ctx, frame, s, step->pieces) : run_step(ctx, frame, s));
    }
    return PARRY_OK;
}
