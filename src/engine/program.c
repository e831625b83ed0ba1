/* Programs: adding steps, grouping them in phases, and laying buffers out in one arena. */
#include <string.h>

#include "engine/program.h"

enum { ALIGN = 16, FOREVER = 1 << 30 }; /* floats */

void pr_program_clear(pr_program *program)
{
    for (size_t s = 0; s < program->step_count; s++) {
        for (int v = 0; v < PR_VARIANTS; v++)
            pr_prim_free(program->steps[s].prim[v]);
    }
    pr_free(program->steps);
    pr_free(program->buffers);
    pr_free(program->order);
    pr_free(program->phase_start);
    program->order = NULL;
    program->phase_start = NULL;
    program->steps = NULL;
    program->buffers = NULL;
    program->step_count = program->buffer_count = 0;
}

int64_t pr_program_shard_rows(const pr_program *program, int shard)
{
    return PR_MIN(program->shard_rows, program->rows - shard * program->shard_rows);
}

parry_status pr_program_buffer(parry_ctx *ctx, pr_program *program, pr_spread spread, int64_t count, int *out)
{
    TRY(pr_grow(ctx, program->buffer_count + 1, &program->buffer_capacity, &program->buffers));
    *out = (int)program->buffer_count++;
    program->buffers[*out] = (pr_buffer){.spread = spread, .count = count, .copy = -1};
    return PARRY_OK;
}

parry_status pr_program_step(parry_ctx *ctx, pr_program *program, const char *what, const pr_node *node,
                             pr_domain domain, pr_step **out)
{
    TRY(pr_grow(ctx, program->step_count + 1, &program->step_capacity, &program->steps));
    *out = &program->steps[program->step_count++];
    if (program->whole && domain == PR_EACH_SHARD)
        domain = PR_ONCE;
    **out = (pr_step){.what = what, .node = node, .domain = domain, .in_place = -1, .parameter = -1, .group = -1};
    return PARRY_OK;
}

parry_status pr_program_cut(parry_ctx *ctx, pr_program *program, int pieces, pr_step **first)
{
    const size_t last = program->step_count - 1;
    TRY(pr_grow(ctx, last + (size_t)pieces, &program->step_capacity, &program->steps));
    *first = &program->steps[last];
    (*first)->pieces = pieces;
    for (int p = 1; p < pieces; p++) {
        (*first)[p] = **first;
        (*first)[p].piece = p;
    }
    program->step_count = last + (size_t)pieces;
    return PARRY_OK;
}

void pr_step_operand(pr_step *step, int buffer, int access, pr_arg role)
{
    step->operand[step->operands++] = (pr_operand){.buffer = buffer, .access = access, .role = role};
}

void pr_step_product(pr_step *step, int x, int w, int bias, int y)
{
    pr_step_operand(step, x, PR_READS, PR_ARG_SRC);
    pr_step_operand(step, w, PR_READS, PR_ARG_WEIGHTS);
    if (bias >= 0)
        pr_step_operand(step, bias, PR_READS, PR_ARG_BIAS);
    pr_step_operand(step, y, PR_WRITES, PR_ARG_DST);
}

/* ---- phases ---------------------------------------------------------------------------------------------------- */

/* Whether a step may follow the one that wrote its operand without a barrier: the same thread runs both for the same
 * part. */
static bool same_part(const pr_program *program, const pr_step *writer, const pr_step *reader,
                      const pr_operand *operand)
{
    pr_spread spread = program->buffers[operand->buffer].spread;
    if (writer->domain != reader->domain || operand->access & PR_GATHERS)
        return false;
    if (writer->domain == PR_EACH_SHARD)
        return spread != PR_SHARED;
    return writer->domain == PR_ONCE || writer->group == reader->group;
}

/* A step that moves weights follows all that read them before. */
static void follow_readers(const pr_program *program, size_t s, const pr_operand *operand)
{
    pr_step *step = &program->steps[s];
    for (size_t r = 0; r < s; r++) {
        const pr_step *other = &program->steps[r];
        for (int o = 0; o < other->operands; o++) {
            if (other->operand[o].buffer == operand->buffer)
                step->phase = PR_MAX(step->phase, other->phase + !same_part(program, other, step, operand));
        }
    }
}

static void assign_phases(pr_program *program, int *writer)
{
    for (size_t b = 0; b < program->buffer_count; b++)
        writer[b] = -1;
    for (size_t s = 0; s < program->step_count; s++) {
        pr_step *step = &program->steps[s];
        for (int o = 0; o < step->operands; o++) {
            int w = writer[step->operand[o].buffer];
            if (w >= 0)
                step->phase = PR_MAX(step->phase, program->steps[w].phase +
                                                      !same_part(program, &program->steps[w], step, &step->operand[o]));
        }
        for (int o = 0; o < step->operands; o++) {
            if (step->operand[o].access & PR_WRITES &&
                program->buffers[step->operand[o].buffer].spread == PR_FROM_STORE)
                follow_readers(program, s, &step->operand[o]);
        }
        for (int o = 0; o < step->operands; o++) {
            if (step->operand[o].access & PR_WRITES)
                writer[step->operand[o].buffer] = (int)s;
        }
        program->phases = PR_MAX(program->phases, step->phase + 1);
    }
}

/* ---- sharing in place ------------------------------------------------------------------------------------------ */

static bool touches(const pr_step *step, int buffer)
{
    for (int o = 0; o < step->operands; o++) {
        if (step->operand[o].buffer == buffer)
            return true;
    }
    return false;
}

static bool same_step(const pr_program *program, size_t r, size_t s)
{
    return r - (size_t)program->steps[r].piece == s - (size_t)program->steps[s].piece;
}

/* Whether nobody but step s, and the pieces beside it, needs `from` from here on. */
static bool last_reader(const pr_program *program, size_t s, int from)
{
    const pr_step *step = &program->steps[s];
    for (size_t r = 0; r < program->step_count; r++) {
        const pr_step *other = &program->steps[r];
        if (same_step(program, r, s) || !touches(other, from))
            continue;
        bool earlier = r < s && (!program->training || other->phase < step->phase || other->domain == step->domain);
        if (!earlier || (s >= program->backward && r < program->backward))
            return false;
    }
    return true;
}

static void share_in_place(pr_program *program)
{
    for (size_t s = 0; s < program->step_count; s++) {
        pr_step *step = &program->steps[s];
        if (step->in_place < 0 || (program->training && step->domain != PR_EACH_SHARD))
            continue;
        int from = step->operand[step->in_place].buffer, to = step->operand[step->operands - 1].buffer;
        const pr_buffer *a = &program->buffers[from], *b = &program->buffers[to];
        if (a->spread != PR_BY_ROW || b->spread != PR_BY_ROW || a->count != b->count || a->pinned || b->pinned ||
            !last_reader(program, s, from))
            continue;
        for (size_t r = s; r < program->step_count; r++) {
            for (int o = 0; o < program->steps[r].operands; o++) {
                if (program->steps[r].operand[o].buffer == to)
                    program->steps[r].operand[o].buffer = from;
            }
        }
    }
}

/* ---- memory ---------------------------------------------------------------------------------------------------- */

static int64_t floats_of(const pr_program *program, const pr_buffer *buffer)
{
    int64_t times = 1;
    if (buffer->spread == PR_BY_ROW)
        times = buffer->local ? program->shard_rows : program->rows;
    else if (buffer->spread == PR_BY_SHARD && !buffer->local)
        times = program->shards;
    return (buffer->count * times + ALIGN - 1) / ALIGN * ALIGN;
}

static void find_lifetimes(pr_program *program)
{
    for (size_t b = 0; b < program->buffer_count; b++)
        program->buffers[b].first = -1;
    for (size_t s = 0; s < program->step_count; s++) {
        const pr_step *step = &program->steps[s];
        const int now = program->training ? step->phase : (int)s - step->piece,
                  end = now + PR_MAX(step->pieces - 1, 0); /* pieces run at the same time */
        for (int o = 0; o < step->operands; o++) {
            pr_buffer *buffer = &program->buffers[step->operand[o].buffer];
            if (buffer->first < 0)
                buffer->first = now;
            buffer->first = PR_MIN(buffer->first, now);
            buffer->last = PR_MAX(buffer->last, end);
            /* backward passes may be repeated: what the forward pass left for them stays */
            bool crosses = !program->training && s >= program->backward && buffer->first < (int)program->backward;
            if (buffer->pinned || crosses)
                buffer->last = FOREVER;
        }
    }
}

size_t pr_program_run_end(const pr_program *program, size_t s)
{
    size_t end = s < program->backward ? program->backward : program->step_count, next = s + 1;
    while (next < end && program->steps[next].domain == program->steps[s].domain)
        next++;
    return next;
}

/* A run of steps that is repeated for each shard is one moment for what others leave for it or it leaves for others:
 * every repetition reads or writes its part. What lives within the run alone is done with when the next shard comes. */
static void stretch_lifetimes(pr_program *program)
{
    for (size_t s = 0, end; s < program->step_count; s = end) {
        end = pr_program_run_end(program, s);
        if (program->steps[s].domain != PR_EACH_SHARD)
            continue;
        for (size_t b = 0; b < program->buffer_count; b++) {
            pr_buffer *buffer = &program->buffers[b];
            const bool begins = buffer->first >= (int)s && buffer->first < (int)end;
            const bool ends = buffer->last >= (int)s && buffer->last < (int)end;
            if (begins && ends)
                buffer->local = buffer->spread == PR_BY_ROW || buffer->spread == PR_BY_SHARD;
            else if (begins)
                buffer->first = (int)s;
            else if (ends)
                buffer->last = (int)end - 1;
        }
    }
}

static bool in_arena(const pr_buffer *buffer)
{
    return buffer->first >= 0 &&
           (buffer->spread == PR_BY_ROW || buffer->spread == PR_BY_SHARD || buffer->spread == PR_SHARED);
}

/* The lowest place where `buffer` meets none of the placed ones that live with it. */
static int64_t lowest_place(const pr_program *program, const pr_buffer *buffer, const int *placed, size_t count)
{
    int64_t place = 0, size = floats_of(program, buffer);
    for (bool moved = true; moved;) {
        moved = false;
        for (size_t i = 0; i < count; i++) {
            const pr_buffer *other = &program->buffers[placed[i]];
            int64_t end = other->offset + floats_of(program, other);
            if (other->last >= buffer->first && buffer->last >= other->first && place < end &&
                other->offset < place + size) {
                place = end;
                moved = true;
            }
        }
    }
    return place;
}

/* Largest first. */
static void lay_out(pr_program *program, int *order)
{
    size_t count = 0;
    for (size_t b = 0; b < program->buffer_count; b++) {
        const pr_buffer *buffer = &program->buffers[b];
        size_t at = count;
        if (!in_arena(buffer))
            continue;
        for (; at > 0 && floats_of(program, &program->buffers[order[at - 1]]) < floats_of(program, buffer); at--)
            order[at] = order[at - 1];
        order[at] = (int)b;
        count++;
    }
    for (size_t i = 0; i < count; i++) {
        pr_buffer *buffer = &program->buffers[order[i]];
        buffer->offset = lowest_place(program, buffer, order, i);
        program->arena = PR_MAX(program->arena, buffer->offset + floats_of(program, buffer));
    }
}

static parry_status sort_by_phase(parry_ctx *ctx, pr_program *program)
{
    size_t at = 0;
    TRY(pr_alloc(ctx, program->step_count, &program->order));
    TRY(pr_alloc(ctx, program->phases + 1, &program->phase_start));
    for (int phase = 0; phase < program->phases; phase++) {
        program->phase_start[phase] = at;
        for (size_t s = 0; s < program->step_count; s++) {
            if (program->steps[s].phase == phase)
                program->order[at++] = (int)s;
        }
    }
    program->phase_start[program->phases] = at;
    return PARRY_OK;
}

parry_status pr_program_finish(parry_ctx *ctx, pr_program *program)
{
    int *scratch;
    TRY(pr_alloc(ctx, program->buffer_count, &scratch));
    program->phases = 1;
    if (program->training)
        assign_phases(program, scratch);
    share_in_place(program);
    find_lifetimes(program);
    if (!program->training && program->shards > 1)
        stretch_lifetimes(program);
    lay_out(program, scratch);
    pr_free(scratch);
    for (size_t s = 0; s < program->step_count; s++) {
        program->blocks = PR_MAX(program->blocks, program->steps[s].blocks);
        program->pieces = PR_MAX(program->pieces, program->steps[s].pieces);
        for (int v = 0; v < PR_VARIANTS; v++) {
            if (program->steps[s].prim[v])
                program->scratch =
                    PR_MAX(program->scratch, (pr_prim_scratch(program->steps[s].prim[v]) + ALIGN - 1) / ALIGN * ALIGN);
        }
    }
    return sort_by_phase(ctx, program);
}

/* ---- text ------------------------------------------------------------------------------------------------------ */

static bool is_reference(const pr_step *step)
{
    return step->prim[0] &&
           (pr_prim_is_reference(step->prim[0]) || (step->prim[1] && pr_prim_is_reference(step->prim[1])));
}

static void add_time(double flop, double seconds, double all, pr_text *text)
{
    pr_text_add(text, "  %.3f ms %.1f %%", seconds * 1e3, 100 * seconds / all);
    if (flop > 0)
        pr_text_add(text, " %.0f GF/s", flop * 1e-9 / seconds);
}

void pr_program_text(const pr_program *program, const double *seconds, int runs, pr_text *text)
{
    static const char *const domains[] = {"shard", "block", "once"};
    double all = 0;
    for (size_t s = 0; seconds && s < program->step_count; s++)
        all += seconds[s] / runs;
    for (size_t s = 0, next; s < program->step_count; s = next) {
        const pr_step *step = &program->steps[s];
        double flop = 0, spent = 0;
        for (next = s; next < s + (size_t)PR_MAX(step->pieces, 1); next++) {
            flop += program->steps[next].flop * (double)program->rows;
            spent += seconds ? seconds[next] / runs : 0;
        }
        if (program->training)
            pr_text_add(text, "%3d %-5s ", step->phase, domains[step->domain]);
        pr_text_add(text, "%-22s %-22s %s", step->what, step->prim[0] ? pr_prim_impl(step->prim[0]) : "",
                    step->node ? step->node->name : "");
        if (flop > 0)
            pr_text_add(text, "  %.3g GFLOP", flop * 1e-9);
        if (step->pieces)
            pr_text_add(text, "  %d pieces", step->pieces);
        if (seconds)
            add_time(flop, spent, all, text);
        pr_text_add(text, "%s\n", is_reference(step) ? "  REFERENCE" : "");
    }
    if (seconds)
        pr_text_add(text, "%.3f ms\n", all * 1e3);
    pr_text_add(text, "arena %.1f MB, %lld rows\n", (double)program->arena * 4e-6, (long long)program->rows);
}

int pr_program_reference_steps(const pr_program *program)
{
    int count = 0;
    for (size_t s = 0; s < program->step_count; s++)
        count += is_reference(&program->steps[s]);
    return count;
}
