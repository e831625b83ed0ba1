/* Primitives, and which implementation runs: it is chosen by name, never by timing, so that results are the same from
 * run to run. The rules were measured on SimpleCNN's, ResNet's and Inception's shapes in nhwc: forward convolutions of
 * 16 or more channels are fastest in "brgconv" (by 1.0 to 1.4; in training nothing is gained), a first layer and
 * gradients in "jit" of the same instruction set (a first layer by up to 1.6), and in bf16 both are as good; for large
 * matrices "gemm" beats "brg" unless weights are repacked; a "ref" is up to 1900 times slower than any. */
#include <stdio.h>
#include <string.h>

#include "engine/onednn_versions.h"

enum { LARGE_MATRIX = 1 << 16, MANY_CHANNELS = 16 };

/* ---- choosing an implementation -------------------------------------------------------------------------------- */

static const char *impl_of(dnnl_primitive_desc_t pd)
{
    const char *name = NULL;
    return dnnl_primitive_desc_query(pd, dnnl_query_impl_info_str, 0, &name) == dnnl_success && name ? name : "";
}

static const char *isa_of(const char *impl)
{
    const char *colon = strrchr(impl, ':');
    return colon ? colon : impl;
}

/* How much an implementation is wanted; `first` is the first one that is not a reference, "" while there is none. */
static int rank_of(const char *impl, const char *first, const char *prefer)
{
    if (strstr(impl, "ref"))
        return 0;
    bool same_isa = !*first || strcmp(isa_of(impl), isa_of(first)) == 0 || strcmp(prefer, "gemm") == 0;
    return same_isa && strncmp(impl, prefer, strlen(prefer)) == 0 ? 2 : 1;
}

/* The best implementation whose name begins with `prefer`, else the first that is not a reference, else what there is.
 * Ends the search. */
static parry_status search_best(parry_ctx *ctx, search *s, const char *prefer, dnnl_primitive_desc_t *out)
{
    char first[IMPL_MAX] = "";
    int best = -1;
    *out = NULL;
    do {
        dnnl_primitive_desc_t pd;
        parry_status status = pr_dnnl_check(ctx, search_get(s, &pd), "looking for an implementation");
        if (status != PARRY_OK) {
            search_end(s);
            dnnl_primitive_desc_destroy(*out);
            return status;
        }
        int rank = rank_of(impl_of(pd), first, prefer);
        if (rank > 0 && !*first)
            snprintf(first, sizeof first, "%s", impl_of(pd));
        if (rank > best) {
            dnnl_primitive_desc_destroy(*out);
            *out = pd;
            best = rank;
        } else {
            dnnl_primitive_desc_destroy(pd);
        }
    } while (best < 2 && search_next(s) == dnnl_success);
    search_end(s);
    return PARRY_OK;
}

static parry_status make_attr(parry_ctx *ctx, pr_post post, dnnl_primitive_attr_t *out)
{
    dnnl_post_ops_t ops = NULL;
    TRY(pr_dnnl_check(ctx, dnnl_primitive_attr_create(out), "creating attributes"));
    dnnl_status_t done = dnnl_primitive_attr_set_scratchpad_mode(*out, dnnl_scratchpad_mode_user);
    if (done == dnnl_success)
        done = dnnl_post_ops_create(&ops);
    if (done == dnnl_success && post.sum)
        done = append_sum(ops);
    if (done == dnnl_success && post.relu)
        done = append_eltwise(ops, dnnl_eltwise_relu, 0, 0);
    if (done == dnnl_success && post.clip)
        done = append_eltwise(ops, dnnl_eltwise_clip, post.low, post.high);
    if (done == dnnl_success)
        done = dnnl_primitive_attr_set_post_ops(*out, ops);
    dnnl_post_ops_destroy(ops);
    if (done != dnnl_success)
        dnnl_primitive_attr_destroy(*out);
    return pr_dnnl_check(ctx, done, "setting attributes");
}

/* ---- primitives ------------------------------------------------------------------------------------------------ */

void pr_prim_free(pr_prim *prim)
{
    if (!prim)
        return;
    for (int a = 0; a < PR_ARG_COUNT; a++)
        pr_md_free(prim->md[a]);
    pr_md_free(prim->scratch);
    dnnl_primitive_destroy(prim->primitive);
    pr_free(prim);
}

const char *pr_prim_impl(const pr_prim *prim)
{
    return prim->impl;
}

bool pr_prim_is_reference(const pr_prim *prim)
{
    return strstr(prim->impl, "ref") != NULL;
}

bool pr_prim_is_direct(const pr_prim *prim)
{
    return !pr_prim_is_reference(prim) && !strstr(prim->impl, "gemm");
}

const pr_md *pr_prim_md(const pr_prim *prim, pr_arg arg)
{
    return prim->md[arg];
}

int64_t pr_prim_scratch(const pr_prim *prim)
{
    return prim->scratch ? pr_md_floats(prim->scratch) : 0;
}

/* Keeps descriptor `query` of pd, which has the dims of `like`, as role `arg` with oneDNN's number. */
static parry_status keep_arg(parry_ctx *ctx, pr_prim *prim, pr_arg arg, int number, dnnl_primitive_desc_t pd,
                             dnnl_query_t query, const pr_md *like)
{
    if (!like)
        return PARRY_OK;
    prim->number[arg] = number;
    return pr_md_of_desc(ctx, dnnl_primitive_desc_query_md(pd, query, 0), like->rank, like->dim, &prim->md[arg]);
}

static parry_status finish(parry_ctx *ctx, pr_prim *prim, dnnl_primitive_desc_t pd)
{
    desc_ref scratch = dnnl_primitive_desc_query_md(pd, dnnl_query_scratchpad_md, 0);
    snprintf(prim->impl, sizeof prim->impl, "%s", impl_of(pd));
    if (scratch && dnnl_memory_desc_get_size(scratch) > 0)
        TRY(pr_md_of_desc(ctx, scratch, 0, NULL, &prim->scratch));
    return pr_dnnl_check(ctx, dnnl_primitive_create(&prim->primitive, pd), "creating a primitive");
}

/* The four descriptors of a convolution; weights and bias may be NULL in `out`. */
struct conv_mds {
    pr_md *src, *weights, *bias, *dst;
};

static parry_status nhwc(parry_ctx *ctx, pr_type type, int64_t n, int64_t c, int64_t h, int64_t w, pr_md **out)
{
    return pr_md_create_as(ctx, type, 4, (int64_t[]){n, c, h, w}, (int64_t[]){h * w * c, 1, w * c, c}, out);
}

static parry_status conv_mds_make(parry_ctx *ctx, pr_conv_kind kind, const pr_conv_shape *s, const pr_md *weights,
                                  bool bias, struct conv_mds *out)
{
    const pr_type result = s->wide ? PR_TYPE_F32 : s->type;
    const pr_type of_weights = kind == PR_CONV_GRAD_WEIGHTS ? PR_TYPE_F32 : s->type;
    int64_t grouped[] = {s->group, s->out_c / s->group, s->in_c / s->group, s->kernel_h, s->kernel_w};
    bool one = s->group == 1;
    TRY(nhwc(ctx, kind == PR_CONV_GRAD_SRC ? result : s->type, s->n, s->in_c, s->in_h, s->in_w, &out->src));
    TRY(nhwc(ctx, kind == PR_CONV_FORWARD ? result : s->type, s->n, s->out_c, s->out_h, s->out_w, &out->dst));
    TRY(weights ? pr_md_clone(ctx, weights, &out->weights)
                : pr_md_or_any(ctx, of_weights, one ? 4 : 5, grouped + one, NULL, &out->weights));
    return bias ? pr_md_create(ctx, 1, &s->out_c, NULL, &out->bias) : PARRY_OK;
}

static void conv_mds_free(struct conv_mds *mds)
{
    pr_md_free(mds->src);
    pr_md_free(mds->weights);
    pr_md_free(mds->bias);
    pr_md_free(mds->dst);
}

static struct conv_call conv_call_of(const pr_conv_shape *s, const struct conv_mds *mds)
{
    struct conv_call call = {
        .src = DESC(mds->src), .weights = DESC(mds->weights), .bias = DESC(mds->bias), .dst = DESC(mds->dst)};
    for (int axis = 0; axis < 2; axis++) {
        call.stride[axis] = s->stride[axis];
        call.dilation[axis] = s->dilation[axis] - 1;
        call.before[axis] = s->pad[axis];
        call.after[axis] = s->pad[2 + axis];
    }
    return call;
}

static parry_status conv_choose(parry_ctx *ctx, const pr_dnnl *dnnl, pr_conv_kind kind, const struct conv_call *call,
                                pr_post post, const char *prefer, dnnl_primitive_desc_t hint,
                                dnnl_primitive_desc_t *out)
{
    dnnl_primitive_attr_t attr;
    search s;
    TRY(make_attr(ctx, post, &attr));
    parry_status status =
        pr_dnnl_check(ctx, conv_search(dnnl->engine, kind, call, attr, hint, &s), "describing a convolution");
    if (status == PARRY_OK)
        status = search_best(ctx, &s, prefer, out);
    dnnl_primitive_attr_destroy(attr);
    return status;
}

static parry_status conv_fill(parry_ctx *ctx, pr_conv_kind kind, const struct conv_mds *mds, dnnl_primitive_desc_t pd,
                              pr_prim *prim)
{
    static const struct {
        int number;
        dnnl_query_t query;
    } roles[3][PR_ARG_COUNT] = {
        [PR_CONV_FORWARD] = {{DNNL_ARG_SRC, dnnl_query_src_md},
                             {DNNL_ARG_WEIGHTS, dnnl_query_weights_md},
                             {DNNL_ARG_BIAS, dnnl_query_weights_md},
                             {DNNL_ARG_DST, dnnl_query_dst_md}},
        [PR_CONV_GRAD_SRC] = {{DNNL_ARG_DIFF_SRC, dnnl_query_diff_src_md},
                              {DNNL_ARG_WEIGHTS, dnnl_query_weights_md},
                              {0, dnnl_query_undef},
                              {DNNL_ARG_DIFF_DST, dnnl_query_diff_dst_md}},
        [PR_CONV_GRAD_WEIGHTS] = {{DNNL_ARG_SRC, dnnl_query_src_md},
                                  {DNNL_ARG_DIFF_WEIGHTS, dnnl_query_diff_weights_md},
                                  {0, dnnl_query_undef},
                                  {DNNL_ARG_DIFF_DST, dnnl_query_diff_dst_md}},
    };
    const pr_md *like[] = {mds->src, mds->weights, NULL, mds->dst};
    for (int a = 0; a < PR_ARG_COUNT; a++)
        TRY(keep_arg(ctx, prim, (pr_arg)a, roles[kind][a].number, pd, roles[kind][a].query, like[a]));
    if (mds->bias) {
        prim->number[PR_ARG_BIAS] = DNNL_ARG_BIAS;
        TRY(pr_md_clone(ctx, mds->bias, &prim->md[PR_ARG_BIAS]));
    }
    return finish(ctx, prim, pd);
}

parry_status pr_prim_conv(parry_ctx *ctx, const pr_dnnl *dnnl, pr_conv_kind kind, const pr_conv_shape *shape,
                          const pr_md *weights, pr_post post, pr_prim **out)
{
    parry_status status;
    struct conv_mds mds = {0}, any = {0};
    dnnl_primitive_desc_t pd = NULL, hint = NULL;

    *out = NULL;
    TRY_TO(done, conv_mds_make(ctx, kind, shape, weights, post.bias, &mds));
    if (kind != PR_CONV_FORWARD) {
        TRY_TO(done, conv_mds_make(ctx, PR_CONV_FORWARD, shape, NULL, false, &any));
        struct conv_call forward = conv_call_of(shape, &any);
        TRY_TO(done, conv_choose(ctx, dnnl, PR_CONV_FORWARD, &forward, (pr_post){0}, "jit", NULL, &hint));
    }
    struct conv_call call = conv_call_of(shape, &mds);
    bool many = kind == PR_CONV_FORWARD && !shape->training && shape->type == PR_TYPE_F32 && shape->in_c / shape->group >= MANY_CHANNELS;
    TRY_TO(done, conv_choose(ctx, dnnl, kind, &call, post, many ? "brg" : "jit", hint, &pd));
    TRY_TO(done, pr_alloc(ctx, 1, out));
    TRY_TO(done, conv_fill(ctx, kind, &mds, pd, *out));
done:
    if (status != PARRY_OK) {
        pr_prim_free(*out);
        *out = NULL;
    }
    dnnl_primitive_desc_destroy(pd);
    dnnl_primitive_desc_destroy(hint);
    conv_mds_free(&mds);
    conv_mds_free(&any);
    return status;
}

static parry_status matmul_fill(parry_ctx *ctx, const pr_dnnl *dnnl, const pr_matmul_shape *s, pr_post post,
                                pr_prim *prim)
{
    static const int number[] = {DNNL_ARG_SRC, DNNL_ARG_WEIGHTS, DNNL_ARG_BIAS, DNNL_ARG_DST};
    dnnl_primitive_attr_t attr;
    dnnl_primitive_desc_t pd = NULL;
    search found;
    pr_md **md = prim->md;
    TRY(pr_md_create(ctx, 2, (int64_t[]){s->m, s->k}, s->src_stride, &md[PR_ARG_SRC]));
    TRY(pr_md_create(ctx, 2, (int64_t[]){s->k, s->n}, s->weights_stride, &md[PR_ARG_WEIGHTS]));
    TRY(pr_md_create(ctx, 2, (int64_t[]){s->m, s->n}, (int64_t[]){s->dst_stride, 1}, &md[PR_ARG_DST]));
    if (post.bias)
        TRY(pr_md_create(ctx, 2, (int64_t[]){1, s->n}, NULL, &md[PR_ARG_BIAS]));
    for (int a = 0; a < PR_ARG_COUNT; a++)
        prim->number[a] = md[a] ? number[a] : 0;
    TRY(make_attr(ctx, post, &attr));
    parry_status status = pr_dnnl_check(ctx,
                                        matmul_search(dnnl->engine, DESC(md[PR_ARG_SRC]), DESC(md[PR_ARG_WEIGHTS]),
                                                      DESC(md[PR_ARG_BIAS]), DESC(md[PR_ARG_DST]), attr, &found),
                                        "describing a matrix product");
    if (status == PARRY_OK)
        status = search_best(ctx, &found, s->k * s->n + s->m * s->n >= LARGE_MATRIX ? "gemm" : "", &pd);
    dnnl_primitive_attr_destroy(attr);
    if (status == PARRY_OK)
        status = finish(ctx, prim, pd);
    dnnl_primitive_desc_destroy(pd);
    return status;
}

parry_status pr_prim_matmul(parry_ctx *ctx, const pr_dnnl *dnnl, const pr_matmul_shape *shape, pr_post post,
                            pr_prim **out)
{
    TRY(pr_alloc(ctx, 1, out));
    parry_status status = matmul_fill(ctx, dnnl, shape, post, *out);
    if (status != PARRY_OK) {
        pr_prim_free(*out);
        *out = NULL;
    }
    return status;
}

static parry_status reorder_fill(parry_ctx *ctx, const pr_dnnl *dnnl, const pr_md *from, const pr_md *to, pr_prim *prim)
{
    dnnl_primitive_attr_t attr;
    dnnl_primitive_desc_t pd;
    prim->number[PR_ARG_SRC] = DNNL_ARG_FROM;
    prim->number[PR_ARG_DST] = DNNL_ARG_TO;
    TRY(pr_md_clone(ctx, from, &prim->md[PR_ARG_SRC]));
    TRY(pr_md_clone(ctx, to, &prim->md[PR_ARG_DST]));
    TRY(make_attr(ctx, (pr_post){0}, &attr));
    dnnl_status_t done =
        dnnl_reorder_primitive_desc_create(&pd, DESC(from), dnnl->engine, DESC(to), dnnl->engine, attr);
    dnnl_primitive_attr_destroy(attr);
    TRY(pr_dnnl_check(ctx, done, "describing a change of layout"));
    parry_status status = finish(ctx, prim, pd);
    dnnl_primitive_desc_destroy(pd);
    return status;
}

parry_status pr_prim_reorder(parry_ctx *ctx, const pr_dnnl *dnnl, const pr_md *from, const pr_md *to, pr_prim **out)
{
    TRY(pr_alloc(ctx, 1, out));
    parry_status status = reorder_fill(ctx, dnnl, from, to, *out);
    if (status != PARRY_OK) {
        pr_prim_free(*out);
        *out = NULL;
    }
    return status;
}
