/* Plans for one image: heavy steps cut into pieces, which the threads share. Convolutions are cut into rows of what
 * they compute, elementwise kernels into runs of numbers.
 *
 * Pieces are the same whatever the number of threads, and each computes its numbers as the whole step does. oneDNN sums
 * over taps and channels in an order that its implementation and its layout of the weights decide, not the height of
 * the image: a step stays whole where that implementation does not compute the pieces from that layout. */
#include <string.h>

#include "engine/lower.h"

/* A piece should take longer than waking a thread does. Depthwise convolutions wait for memory as elementwise kernels
 * do. */
enum { LEAST_FLOP = 1 << 20, LEAST_NUMBERS = 1 << 15 };

/* How many pieces a step is worth. */
static int pieces_for(const pr_lower *l, double work, double least)
{
    if (l->program->training || l->reference || l->program->rows > 1)
        return 1;
    return (int)PR_MIN(work / least, PR_PIECES);
}

/* ---- rows of a convolution ------------------------------------------------------------------------------------- */

static int64_t floor_div(int64_t a, int64_t b)
{
    return a >= 0 ? a / b : -((b - 1 - a) / b);
}

/* The row of the image where piece p begins: one where a window does, so that a kernel without padding needs none. */
static int64_t grad_border(const pr_conv_shape *s, int p, int pieces)
{
    const int64_t step = s->stride[0], pad = s->pad[0];
    const int64_t near = floor_div(s->in_h * p / pieces + pad, step) * step - pad;
    return p == 0 ? 0 : p == pieces ? s->in_h : PR_MAX(near, 0);
}

/* Rows first .. end - 1 of the result and the rows of the image that they read. */
static pr_slab forward_slab(const pr_conv_shape *s, int64_t first, int64_t end)
{
    const int64_t from = first * s->stride[0] - s->pad[0],
                  to = (end - 1) * s->stride[0] - s->pad[0] + (s->kernel_h - 1) * s->dilation[0] + 1;
    pr_slab slab = {.in = PR_MAX(from, 0), .out = first, .out_h = end - first};
    slab.in_h = PR_MIN(to, s->in_h) - slab.in;
    slab.pad[0] = slab.in - from;
    slab.pad[1] = PR_MAX(to - s->in_h, 0);
    return slab;
}

/* Rows first .. end - 1 of the image and the rows of the result whose windows reach them. */
static pr_slab grad_slab(const pr_conv_shape *s, int64_t first, int64_t end)
{
    const int64_t step = s->stride[0], pad = s->pad[0], reach = (s->kernel_h - 1) * s->dilation[0];
    const int64_t lowest = PR_MIN(-floor_div(reach - first - pad, step), floor_div(first + pad, step));
    const int64_t last = PR_MIN(floor_div(end - 1 + pad, step), s->out_h - 1);
    pr_slab slab = {.in = first, .in_h = end - first, .out = PR_MAX(lowest, 0)};
    slab.out_h = last + 1 - slab.out;
    slab.pad[0] = first + pad - slab.out * step;
    slab.pad[1] = PR_MAX(last * step - pad + reach + 1 - end, 0);
    return slab;
}

int pr_cut_rows(const pr_lower *l, const pr_conv_shape *s, bool gradient, int most, pr_slab slab[PR_PIECES])
{
    const int64_t height = gradient ? s->in_h : s->out_h;
    const double result = (double)(s->out_c * s->out_h * s->out_w),
                 flop = 2 * result * (double)(s->in_c / s->group * s->kernel_h * s->kernel_w);
    const int worth = PR_MAX(pieces_for(l, flop, LEAST_FLOP), pieces_for(l, result, LEAST_NUMBERS));
    const int pieces = (int)PR_MIN(PR_MIN(most, worth), height / s->stride[0]);
    for (int p = 0; p < pieces; p++) {
        slab[p] = gradient ? grad_slab(s, grad_border(s, p, pieces), grad_border(s, p + 1, pieces))
                           : forward_slab(s, height * p / pieces, height * (p + 1) / pieces);
        if (slab[p].in_h <= 0 || slab[p].out_h <= 0) /* nothing but padding, or nothing at all */
            return 1;
    }
    return PR_MAX(pieces, 1);
}

/* A convolution and its pieces. */
struct cut {
    pr_conv_kind kind;
    const pr_conv_shape *shape;
    pr_post post;
    int pieces;
    pr_slab slab[PR_PIECES];
    pr_prim *prim[PR_PIECES];
};

/* *same: the pieces compute as `whole` does. */
static parry_status make_prims(pr_lower *l, struct cut *c, const pr_prim *whole, bool *same)
{
    *same = true;
    for (int p = 0; p < c->pieces && *same; p++) {
        pr_conv_shape part = *c->shape;
        part.n = 1;
        part.in_h = c->slab[p].in_h;
        part.out_h = c->slab[p].out_h;
        part.pad[0] = (int)c->slab[p].pad[0];
        part.pad[2] = (int)c->slab[p].pad[1];
        TRY(pr_prim_conv(l->ctx, l->dnnl, c->kind, &part, pr_prim_md(whole, PR_ARG_WEIGHTS), c->post, &c->prim[p]));
        *same = strcmp(pr_prim_impl(c->prim[p]), pr_prim_impl(whole)) == 0;
    }
    return PARRY_OK;
}

/* Puts the pieces in the place of the whole. */
static parry_status put_pieces(pr_lower *l, struct cut *c, pr_prim *whole)
{
    const pr_conv_shape *s = c->shape;
    pr_step *step;
    TRY(pr_program_cut(l->ctx, l->program, c->pieces, &step));
    pr_prim_free(whole);
    for (int p = 0; p < c->pieces; p++, step++) {
        step->prim[0] = c->prim[p];
        c->prim[p] = NULL;
        step->flop *= c->kind == PR_CONV_FORWARD ? (double)c->slab[p].out_h / (double)s->out_h
                                                 : (double)c->slab[p].in_h / (double)s->in_h;
        for (int o = 0; o < step->operands; o++) {
            if (step->operand[o].role == PR_ARG_SRC)
                step->operand[o].offset = c->slab[p].in * s->in_w * s->in_c;
            else if (step->operand[o].role == PR_ARG_DST)
                step->operand[o].offset = c->slab[p].out * s->out_w * s->out_c;
        }
    }
    return PARRY_OK;
}

static parry_status try_pieces(pr_lower *l, struct cut *c, pr_prim *whole, bool *done)
{
    parry_status status = make_prims(l, c, whole, done);
    if (status == PARRY_OK && *done)
        status = put_pieces(l, c, whole);
    for (int p = 0; p < c->pieces; p++) {
        pr_prim_free(c->prim[p]);
        c->prim[p] = NULL;
    }
    return status;
}

/* Only implementations of oneDNN's own for convolutions: those that multiply matrices sum in an order that depends on
 * how many rows there are. For low images oneDNN may want another layout: then fewer pieces are tried. */
parry_status pr_cut_conv(pr_lower *l, pr_conv_kind kind, const pr_conv_shape *shape, pr_post post)
{
    struct cut c = {.kind = kind, .shape = shape, .post = post};
    pr_prim *whole = l->program->steps[l->program->step_count - 1].prim[0];
    bool done = shape->type != PR_TYPE_F32 || !pr_prim_is_direct(whole);
    for (int most = PR_PIECES; most > 1 && !done; most /= 2) {
        c.pieces = pr_cut_rows(l, shape, kind == PR_CONV_GRAD_SRC, most, c.slab);
        if (c.pieces > 1)
            TRY(try_pieces(l, &c, whole, &done));
    }
    return PARRY_OK;
}

/* ---- runs of numbers ------------------------------------------------------------------------------------------- */

parry_status pr_cut_flat(pr_lower *l)
{
    enum { ALIGN = 16 };
    pr_step *step = &l->program->steps[l->program->step_count - 1];
    const int64_t area = step->area;
    const int pieces = pieces_for(l, (double)area, LEAST_NUMBERS);
    if (pieces < 2)
        return PARRY_OK;
    TRY(pr_program_cut(l->ctx, l->program, pieces, &step));
    for (int p = 0; p < pieces; p++) {
        const int64_t first = area * p / pieces / ALIGN * ALIGN,
                      end = p + 1 < pieces ? area * (p + 1) / pieces / ALIGN * ALIGN : area;
        step[p].area = end - first;
        for (int o = 0; o < step[p].operands; o++)
            step[p].operand[o].offset = first;
    }
    return PARRY_OK;
}
