/* oneDNN 2 and 3, and what the two files that use oneDNN share. The differences: in 2 a memory descriptor is a struct
 * and a primitive begins with an operation descriptor, in 3 both are handles. */
#ifndef PR_ENGINE_ONEDNN_VERSIONS_H
#define PR_ENGINE_ONEDNN_VERSIONS_H

#include <dnnl.h>

#include "engine/onednn.h"

enum { RANK_MAX = 6, IMPL_MAX = 64 };

struct pr_dnnl {
    dnnl_engine_t engine;
};

struct pr_md {
    dnnl_memory_desc_t desc;
    int rank;
    int64_t dim[RANK_MAX];
};

struct pr_prim {
    dnnl_primitive_t primitive;
    int number[PR_ARG_COUNT]; /* oneDNN's name of the argument; 0: absent */
    pr_md *md[PR_ARG_COUNT], *scratch;
    char impl[IMPL_MAX];
};

struct pr_binding {
    dnnl_primitive_t primitive; /* the pr_prim's */
    dnnl_stream_t stream;
    dnnl_exec_arg_t args[PR_ARG_COUNT + 1];
    int count, place[PR_ARG_COUNT]; /* index of each role in args */
};

/* ---- differences between versions ------------------------------------------------------------------------------ */

#if DNNL_VERSION_MAJOR >= 3

#define DESC(md) ((md) ? (md)->desc : NULL)
typedef const_dnnl_memory_desc_t desc_ref;
typedef struct search {
    dnnl_primitive_desc_t at; /* stands at an implementation */
} search;

static inline dnnl_status_t desc_strided(dnnl_memory_desc_t *desc, dnnl_data_type_t type, int rank,
                                         const dnnl_dim_t *dim, const dnnl_dim_t *stride)
{
    return stride ? dnnl_memory_desc_create_with_strides(desc, rank, dim, type, stride)
                  : dnnl_memory_desc_create_with_tag(desc, rank, dim, type, dnnl_format_tag_any);
}

static inline dnnl_status_t desc_copy(dnnl_memory_desc_t *to, desc_ref from)
{
    return dnnl_memory_desc_clone(to, from);
}

static inline void desc_release(pr_md *md)
{
    dnnl_memory_desc_destroy(md->desc);
}

static inline dnnl_status_t append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1, 0, dnnl_data_type_undef);
}

static inline dnnl_status_t append_eltwise(dnnl_post_ops_t ops, dnnl_alg_kind_t function, float alpha, float beta)
{
    return dnnl_post_ops_append_eltwise(ops, function, alpha, beta);
}

static inline dnnl_status_t search_next(search *s)
{
    return dnnl_primitive_desc_next_impl(s->at);
}

static inline dnnl_status_t search_get(const search *s, dnnl_primitive_desc_t *out)
{
    return dnnl_primitive_desc_clone(out, s->at);
}

static inline void search_end(search *s)
{
    dnnl_primitive_desc_destroy(s->at);
}

#else

#define DESC(md) ((md) ? &(md)->desc : NULL)
typedef const dnnl_memory_desc_t *desc_ref;
typedef struct search {
    dnnl_primitive_desc_iterator_t at;
    union {
        dnnl_convolution_desc_t conv;
        dnnl_matmul_desc_t matmul;
    } op; /* which the iterator refers to */
} search;

static inline dnnl_status_t desc_strided(dnnl_memory_desc_t *desc, dnnl_data_type_t type, int rank,
                                         const dnnl_dim_t *dim, const dnnl_dim_t *stride)
{
    return stride ? dnnl_memory_desc_init_by_strides(desc, rank, dim, type, stride)
                  : dnnl_memory_desc_init_by_tag(desc, rank, dim, type, dnnl_format_tag_any);
}

static inline dnnl_status_t desc_copy(dnnl_memory_desc_t *to, desc_ref from)
{
    *to = *from;
    return dnnl_success;
}

static inline void desc_release(pr_md *md)
{
    (void)md;
}

static inline dnnl_status_t append_sum(dnnl_post_ops_t ops)
{
    return dnnl_post_ops_append_sum(ops, 1);
}

static inline dnnl_status_t append_eltwise(dnnl_post_ops_t ops, dnnl_alg_kind_t function, float alpha, float beta)
{
    return dnnl_post_ops_append_eltwise(ops, 1, function, alpha, beta);
}

static inline dnnl_status_t search_next(search *s)
{
    return dnnl_primitive_desc_iterator_next(s->at);
}

static inline dnnl_status_t search_get(const search *s, dnnl_primitive_desc_t *out)
{
    *out = dnnl_primitive_desc_iterator_fetch(s->at);
    return *out ? dnnl_success : dnnl_out_of_memory;
}

static inline void search_end(search *s)
{
    dnnl_primitive_desc_iterator_destroy(s->at);
}

#endif

/* What a convolution is made of, in oneDNN's terms. */
struct conv_call {
    desc_ref src, weights, bias, dst;
    dnnl_dim_t stride[RANK_MAX * 2], dilation[RANK_MAX * 2], before[RANK_MAX * 2], after[RANK_MAX * 2];
};

static inline dnnl_status_t conv_search(dnnl_engine_t engine, pr_conv_kind kind, const struct conv_call *c,
                                        dnnl_primitive_attr_t attr, dnnl_primitive_desc_t hint, search *out)
{
#if DNNL_VERSION_MAJOR >= 3
    if (kind == PR_CONV_FORWARD)
        return dnnl_convolution_forward_primitive_desc_create(
            &out->at, engine, dnnl_forward_training, dnnl_convolution_direct, c->src, c->weights, c->bias, c->dst,
            c->stride, c->dilation, c->before, c->after, attr);
    if (kind == PR_CONV_GRAD_SRC)
        return dnnl_convolution_backward_data_primitive_desc_create(&out->at, engine, dnnl_convolution_direct, c->src,
                                                                    c->weights, c->dst, c->stride, c->dilation,
                                                                    c->before, c->after, hint, attr);
    return dnnl_convolution_backward_weights_primitive_desc_create(&out->at, engine, dnnl_convolution_direct, c->src,
                                                                   c->weights, c->bias, c->dst, c->stride, c->dilation,
                                                                   c->before, c->after, hint, attr);
#else
    dnnl_status_t done;
    if (kind == PR_CONV_FORWARD)
        done = dnnl_dilated_convolution_forward_desc_init(&out->op.conv, dnnl_forward_training, dnnl_convolution_direct,
                                                          c->src, c->weights, c->bias, c->dst, c->stride, c->dilation,
                                                          c->before, c->after);
    else if (kind == PR_CONV_GRAD_SRC)
        done =
            dnnl_dilated_convolution_backward_data_desc_init(&out->op.conv, dnnl_convolution_direct, c->src, c->weights,
                                                             c->dst, c->stride, c->dilation, c->before, c->after);
    else
        done = dnnl_dilated_convolution_backward_weights_desc_init(&out->op.conv, dnnl_convolution_direct, c->src,
                                                                   c->weights, c->bias, c->dst, c->stride, c->dilation,
                                                                   c->before, c->after);
    return done != dnnl_success ? done
                                : dnnl_primitive_desc_iterator_create(&out->at, &out->op.conv, attr, engine, hint);
#endif
}

static inline dnnl_status_t matmul_search(dnnl_engine_t engine, desc_ref src, desc_ref weights, desc_ref bias,
                                          desc_ref dst, dnnl_primitive_attr_t attr, search *out)
{
#if DNNL_VERSION_MAJOR >= 3
    return dnnl_matmul_primitive_desc_create(&out->at, engine, src, weights, bias, dst, attr);
#else
    dnnl_status_t done = dnnl_matmul_desc_init(&out->op.matmul, src, weights, bias, dst);
    return done != dnnl_success ? done
                                : dnnl_primitive_desc_iterator_create(&out->at, &out->op.matmul, attr, engine, NULL);
#endif
}

/* Turns a failure of oneDNN into ours. */
PARRY_CHECKED parry_status pr_dnnl_check(parry_ctx *ctx, dnnl_status_t done, const char *what);
/* A layout that oneDNN chose, of the given dims. */
PARRY_CHECKED parry_status pr_md_of_desc(parry_ctx *ctx, desc_ref desc, int rank, const int64_t *dim, pr_md **out);
/* Strided, or with stride NULL left to oneDNN. */
PARRY_CHECKED parry_status pr_md_or_any(parry_ctx *ctx, pr_type type, int rank, const int64_t *dim,
                                        const int64_t *stride, pr_md **out);

#endif
