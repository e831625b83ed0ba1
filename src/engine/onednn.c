/* The library itself, memory layouts, and primitives bound to memory. */
#include <omp.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

#include "engine/onednn_versions.h"

/* ---- small services -------------------------------------------------------------------------------------------- */

parry_status pr_dnnl_check(parry_ctx *ctx, dnnl_status_t done, const char *what)
{
    if (done == dnnl_success)
        return PARRY_OK;
    return pr_fail(ctx, done == dnnl_out_of_memory ? PARRY_NO_MEMORY : PARRY_UNSUPPORTED,
                   "oneDNN: %s failed with status %d", what, (int)done);
}

int pr_omp_single(void)
{
    int threads = omp_get_max_threads();
    omp_set_num_threads(1);
    return threads;
}

void pr_omp_restore(int threads)
{
    omp_set_num_threads(threads);
}

/* oneDNN 2.2, which Ubuntu 22.04 has, crashes while it makes convolutions for AVX-512; 2.6 does not. */
static void avoid_avx512_of_old_versions(void)
{
    const dnnl_version_t *v = dnnl_version();
    if (v->major < 2 || (v->major == 2 && v->minor < 6))
        (void)dnnl_set_max_cpu_isa(dnnl_cpu_isa_avx2); /* refused where somebody else has used oneDNN in this process */
}

static pthread_once_t isa_settled = PTHREAD_ONCE_INIT;

static dnnl_cpu_isa_t effective_isa(void)
{
    pthread_once(&isa_settled, avoid_avx512_of_old_versions);
    return dnnl_get_effective_cpu_isa();
}

parry_status pr_dnnl_create(parry_ctx *ctx, pr_dnnl **out)
{
    pthread_once(&isa_settled, avoid_avx512_of_old_versions);
    TRY(pr_alloc(ctx, 1, out));
    parry_status status =
        pr_dnnl_check(ctx, dnnl_engine_create(&(*out)->engine, dnnl_cpu, 0), "creating the CPU engine");
    if (status != PARRY_OK) {
        pr_free(*out);
        *out = NULL;
    }
    return status;
}

void pr_dnnl_free(pr_dnnl *dnnl)
{
    if (!dnnl)
        return;
    dnnl_engine_destroy(dnnl->engine);
    pr_free(dnnl);
}

/* ---- layouts --------------------------------------------------------------------------------------------------- */

parry_status pr_md_or_any(parry_ctx *ctx, pr_type type, int rank, const int64_t *dim, const int64_t *stride,
                          pr_md **out)
{
    dnnl_dim_t dims[DNNL_MAX_NDIMS] = {0}, strides[DNNL_MAX_NDIMS] = {0};
    *out = NULL;
    if (rank > RANK_MAX)
        return pr_fail(ctx, PARRY_UNSUPPORTED, "oneDNN: tensors of %d dimensions are not supported", rank);
    TRY(pr_alloc(ctx, 1, out));
    (*out)->rank = rank;
    for (int d = 0; d < rank; d++) {
        (*out)->dim[d] = dims[d] = dim[d];
        strides[d] = stride ? stride[d] : 0;
    }
    parry_status status = pr_dnnl_check(
        ctx,
        desc_strided(&(*out)->desc, type == PR_TYPE_BF16 ? dnnl_bf16 : dnnl_f32, rank, dims, stride ? strides : NULL),
        "describing memory");
    if (status != PARRY_OK) {
        pr_free(*out);
        *out = NULL;
    }
    return status;
}

parry_status pr_md_create_as(parry_ctx *ctx, pr_type type, int rank, const int64_t *dim, const int64_t *stride,
                             pr_md **out)
{
    int64_t row_major[RANK_MAX], step = 1;
    for (int d = PR_MIN(rank, RANK_MAX) - 1; d >= 0; d--) {
        row_major[d] = step;
        step *= dim[d];
    }
    return pr_md_or_any(ctx, type, rank, dim, stride ? stride : row_major, out);
}

parry_status pr_md_create(parry_ctx *ctx, int rank, const int64_t *dim, const int64_t *stride, pr_md **out)
{
    return pr_md_create_as(ctx, PR_TYPE_F32, rank, dim, stride, out);
}

parry_status pr_md_plain(parry_ctx *ctx, const pr_md *md, pr_md **out)
{
    return pr_md_create(ctx, md->rank, md->dim, NULL, out);
}

parry_status pr_md_of_desc(parry_ctx *ctx, desc_ref desc, int rank, const int64_t *dim, pr_md **out)
{
    TRY(pr_alloc(ctx, 1, out));
    (*out)->rank = rank;
    if (rank)
        memcpy((*out)->dim, dim, (size_t)rank * sizeof(*dim));
    parry_status status = pr_dnnl_check(ctx, desc_copy(&(*out)->desc, desc), "describing memory");
    if (status != PARRY_OK) {
        pr_free(*out);
        *out = NULL;
    }
    return status;
}

parry_status pr_md_clone(parry_ctx *ctx, const pr_md *md, pr_md **out)
{
    return pr_md_of_desc(ctx, DESC(md), md->rank, md->dim, out);
}

void pr_md_free(pr_md *md)
{
    if (!md)
        return;
    desc_release(md);
    pr_free(md);
}

bool pr_md_equal(const pr_md *a, const pr_md *b)
{
    return pr_md_same_dims(a, b) && dnnl_memory_desc_equal(DESC(a), DESC(b));
}

bool pr_md_same_dims(const pr_md *a, const pr_md *b)
{
    return a->rank == b->rank && memcmp(a->dim, b->dim, (size_t)a->rank * sizeof(*a->dim)) == 0;
}

int64_t pr_md_floats(const pr_md *md)
{
    return (int64_t)((dnnl_memory_desc_get_size(DESC(md)) + sizeof(float) - 1) / sizeof(float));
}

/* ---- bindings -------------------------------------------------------------------------------------------------- */

static parry_status bind(parry_ctx *ctx, const pr_dnnl *dnnl, pr_binding *binding, int number, const pr_md *md,
                         float *data)
{
    dnnl_exec_arg_t *arg = &binding->args[binding->count];
    arg->arg = number;
    TRY(pr_dnnl_check(ctx, dnnl_memory_create(&arg->memory, DESC(md), dnnl->engine, data), "binding memory"));
    binding->count++;
    return PARRY_OK;
}

static parry_status bind_all(parry_ctx *ctx, const pr_dnnl *dnnl, const pr_prim *prim, float *const data[PR_ARG_COUNT],
                             float *scratch, pr_binding *binding)
{
    TRY(pr_dnnl_check(ctx, dnnl_stream_create(&binding->stream, dnnl->engine, dnnl_stream_default_flags),
                      "creating a stream"));
    for (int a = 0; a < PR_ARG_COUNT; a++) {
        binding->place[a] = binding->count;
        if (prim->number[a])
            TRY(bind(ctx, dnnl, binding, prim->number[a], prim->md[a], data[a]));
    }
    return prim->scratch ? bind(ctx, dnnl, binding, DNNL_ARG_SCRATCHPAD, prim->scratch, scratch) : PARRY_OK;
}

parry_status pr_binding_create(parry_ctx *ctx, const pr_dnnl *dnnl, const pr_prim *prim,
                               float *const data[PR_ARG_COUNT], float *scratch, pr_binding **out)
{
    TRY(pr_alloc(ctx, 1, out));
    (*out)->primitive = prim->primitive;
    parry_status status = bind_all(ctx, dnnl, prim, data, scratch, *out);
    if (status != PARRY_OK) {
        pr_binding_free(*out);
        *out = NULL;
    }
    return status;
}

void pr_binding_free(pr_binding *binding)
{
    if (!binding)
        return;
    for (int a = 0; a < binding->count; a++)
        dnnl_memory_destroy(binding->args[a].memory);
    dnnl_stream_destroy(binding->stream);
    pr_free(binding);
}

parry_status pr_binding_set(parry_ctx *ctx, pr_binding *binding, pr_arg arg, const float *data)
{
    return pr_dnnl_check(ctx, dnnl_memory_set_data_handle(binding->args[binding->place[arg]].memory, (void *)data),
                         "binding memory");
}

parry_status pr_binding_run(parry_ctx *ctx, const pr_binding *binding)
{
    return pr_dnnl_check(ctx,
                         dnnl_primitive_execute(binding->primitive, binding->stream, binding->count, binding->args),
                         "running a primitive");
}

/* ---- version --------------------------------------------------------------------------------------------------- */

static const char *isa_name(void)
{
    switch (effective_isa()) {
    case dnnl_cpu_isa_sse41:
        return "sse41";
    case dnnl_cpu_isa_avx:
        return "avx";
    case dnnl_cpu_isa_avx2:
        return "avx2";
    default:
        return effective_isa() >= dnnl_cpu_isa_avx512_core ? "avx512_core" : "generic";
    }
}

bool pr_dnnl_has_bf16(void)
{
    return effective_isa() >= dnnl_cpu_isa_avx512_core_bf16;
}

static char version_text[IMPL_MAX];

static void write_version(void)
{
    const dnnl_version_t *v = dnnl_version();
    snprintf(version_text, sizeof version_text, "oneDNN %d.%d.%d, %s", v->major, v->minor, v->patch, isa_name());
}

const char *pr_dnnl_version(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, write_version);
    return version_text;
}
