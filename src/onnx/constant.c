/* Reading tensors of a file, and the one copying loop behind everything that rearranges constants. */
#include <limits.h>
#include <string.h>

#include "onnx/constant.h"

parry_status pr_budget_take(pr_budget *budget, int64_t elements)
{
    if (elements > budget->left)
        return pr_fail(budget->ctx, PARRY_UNSUPPORTED,
                       "%s: its constants and weights take more memory than parry allows a model", budget->where);
    budget->left -= elements;
    return PARRY_OK;
}

void pr_constant_release(pr_constant *constant)
{
    pr_free(constant->owned);
    *constant = (pr_constant){0};
}

/* `cost`: floats that an integer counts as in the budget. */
static parry_status make(pr_budget *budget, bool integer, int64_t cost, int rank, const int64_t *dim, pr_constant *out)
{
    *out = (pr_constant){.integer = integer, .rank = rank, .count = 1};
    for (int d = 0; d < rank; d++) {
        out->dim[d] = dim[d];
        if (__builtin_mul_overflow(out->count, dim[d], &out->count))
            out->count = INT64_MAX;
    }
    const size_t size = integer ? sizeof(int64_t) : sizeof(float);
    TRY(pr_budget_take(budget, PR_MIN(out->count, INT64_MAX / cost) * (integer ? cost : 1)));
    TRY(pr_alloc_raw_bytes(budget->ctx, (size_t)out->count, size, &out->owned));
    out->data = out->owned;
    return PARRY_OK;
}

parry_status pr_constant_make(pr_budget *budget, bool integer, int rank, const int64_t *dim, pr_constant *out)
{
    /* Integers that are computed are sizes and indices: an honest file has few of them. */
    enum { INTEGER_COST = 64 };
    return make(budget, integer, INTEGER_COST, rank, dim, out);
}

parry_status pr_constant_ints(pr_budget *budget, const int64_t *values, int64_t count, pr_constant *out)
{
    TRY(pr_constant_make(budget, true, 1, &count, out));
    if (count)
        memcpy(out->owned, values, (size_t)count * sizeof *values);
    return PARRY_OK;
}

/* ---- rearranging ------------------------------------------------------------------------------------------------ */

void pr_constant_strides(int rank, const int64_t *dim, int64_t *stride)
{
    uint64_t step = 1; /* wraps where an empty tensor has absurd sizes, which no one then walks along */
    for (int d = rank - 1; d >= 0; d--) {
        stride[d] = (int64_t)step;
        step *= (uint64_t)dim[d];
    }
}

void pr_constant_gather(const pr_constant *from, int64_t offset, const int64_t *stride, const pr_constant *to)
{
    int64_t at[PR_CONSTANT_RANK] = {0};
    float *f = to->owned;
    int64_t *i = to->owned;
    for (int64_t e = 0; e < to->count; e++) {
        if (to->integer)
            i[e] = from->i[offset];
        else
            f[e] = from->f[offset];
        for (int d = to->rank - 1; d >= 0; d--) {
            offset += stride[d];
            if (++at[d] < to->dim[d])
                break;
            offset -= at[d] * stride[d];
            at[d] = 0;
        }
    }
}

parry_status pr_constant_stretch(pr_budget *budget, const pr_constant *from, int rank, const int64_t *dim,
                                 pr_constant *out)
{
    int64_t stride[PR_CONSTANT_RANK], own[PR_CONSTANT_RANK];
    pr_constant_strides(from->rank, from->dim, own);
    for (int d = 0; d < rank; d++) {
        const int at = d - (rank - from->rank);
        stride[d] = at < 0 || from->dim[at] == 1 ? 0 : own[at];
    }
    TRY(pr_constant_make(budget, from->integer, rank, dim, out));
    pr_constant_gather(from, 0, stride, out);
    return PARRY_OK;
}

parry_status pr_constant_transpose(pr_budget *budget, const pr_constant *from, const int *perm, pr_constant *out)
{
    int64_t dim[PR_CONSTANT_RANK], stride[PR_CONSTANT_RANK], of_from[PR_CONSTANT_RANK];
    pr_constant_strides(from->rank, from->dim, of_from);
    for (int d = 0; d < from->rank; d++) {
        dim[d] = from->dim[perm[d]];
        stride[d] = of_from[perm[d]];
    }
    TRY(pr_constant_make(budget, from->integer, from->rank, dim, out));
    pr_constant_gather(from, 0, stride, out);
    return PARRY_OK;
}

/* ---- reading ---------------------------------------------------------------------------------------------------- */

/* IEEE 754 binary16 to binary32. */
static float half_to_float(uint16_t half)
{
    const uint32_t sign = (uint32_t)(half & 0x8000) << 16, exponent = half >> 10 & 31, fraction = half & 0x3ff;
    if (exponent == 0) { /* zero or subnormal: a multiple of 2^-24 */
        const float value = (float)fraction * 0x1p-24f;
        return sign ? -value : value;
    }
    const uint32_t bits = sign | (exponent == 31 ? 0xffu : exponent + 112) << 23 | fraction << 13;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* Elements of one type, from raw bytes or from the typed field; all loops below are of this form. The raw bytes are
 * little-endian, as is every machine that parry is built for. */
#define CONVERT(target, source_type, source, expression)                                                               \
    for (int64_t e = 0; e < out->count; e++) {                                                                         \
        source_type x;                                                                                                 \
        memcpy(&x, (const char *)(source) + (size_t)e * sizeof x, sizeof x);                                           \
        ((target *)out->owned)[e] = (expression);                                                                      \
    }

/* How a data type is stored: its width in raw_data, and in which typed field it is otherwise. */
typedef enum field { FIELD_FLOAT, FIELD_DOUBLE, FIELD_INT32, FIELD_INT64 } field;
typedef struct encoding {
    int32_t type;
    const char *name;
    size_t width;
    field field;
    bool integer;
} encoding;

static const encoding encodings[] = {
    {PR_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT, "float", 4, FIELD_FLOAT, false},
    {PR_ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE, "double", 8, FIELD_DOUBLE, false},
    {PR_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16, "float16", 2, FIELD_INT32, false},
    {PR_ONNX__TENSOR_PROTO__DATA_TYPE__INT64, "int64", 8, FIELD_INT64, true},
    {PR_ONNX__TENSOR_PROTO__DATA_TYPE__INT32, "int32", 4, FIELD_INT32, true},
    {PR_ONNX__TENSOR_PROTO__DATA_TYPE__INT16, "int16", 2, FIELD_INT32, true},
    {PR_ONNX__TENSOR_PROTO__DATA_TYPE__INT8, "int8", 1, FIELD_INT32, true},
    {PR_ONNX__TENSOR_PROTO__DATA_TYPE__UINT16, "uint16", 2, FIELD_INT32, true},
    {PR_ONNX__TENSOR_PROTO__DATA_TYPE__UINT8, "uint8", 1, FIELD_INT32, true},
    {PR_ONNX__TENSOR_PROTO__DATA_TYPE__BOOL, "bool", 1, FIELD_INT32, true},
};

static void convert_raw(const encoding *code, const uint8_t *raw, pr_constant *out)
{
    switch (code->type) {
    case PR_ONNX__TENSOR_PROTO__DATA_TYPE__DOUBLE:
        CONVERT(float, double, raw, (float)x);
        break;
    case PR_ONNX__TENSOR_PROTO__DATA_TYPE__FLOAT16:
        CONVERT(float, uint16_t, raw, half_to_float(x));
        break;
    case PR_ONNX__TENSOR_PROTO__DATA_TYPE__INT32:
        CONVERT(int64_t, int32_t, raw, x);
        break;
    case PR_ONNX__TENSOR_PROTO__DATA_TYPE__INT16:
        CONVERT(int64_t, int16_t, raw, x);
        break;
    case PR_ONNX__TENSOR_PROTO__DATA_TYPE__INT8:
        CONVERT(int64_t, int8_t, raw, x);
        break;
    case PR_ONNX__TENSOR_PROTO__DATA_TYPE__UINT16:
        CONVERT(int64_t, uint16_t, raw, x);
        break;
    default: /* uint8, bool */
        CONVERT(int64_t, uint8_t, raw, x);
    }
}

/* float and int64 are borrowed before it comes to this. */
static void convert_typed(const encoding *code, const PrOnnx__TensorProto *tensor, pr_constant *out)
{
    if (code->field == FIELD_DOUBLE)
        CONVERT(float, double, tensor->double_data, (float)x)
    else if (code->integer)
        CONVERT(int64_t, int32_t, tensor->int32_data, x)
    else
        CONVERT(float, int32_t, tensor->int32_data, half_to_float((uint16_t)x))
}

static parry_status read_dims(pr_budget *budget, const char *name, const PrOnnx__TensorProto *tensor, pr_constant *out)
{
    if (tensor->n_dims > PR_CONSTANT_RANK)
        return pr_fail(budget->ctx, PARRY_UNSUPPORTED, "%s: tensor '%s' has %zu dimensions, at most %d are supported",
                       budget->where, name, tensor->n_dims, PR_CONSTANT_RANK);
    out->rank = (int)tensor->n_dims;
    out->count = 1;
    for (int d = 0; d < out->rank; d++) {
        out->dim[d] = tensor->dims[d];
        if (tensor->dims[d] < 0 || __builtin_mul_overflow(out->count, tensor->dims[d], &out->count) ||
            out->count > INT_MAX)
            return pr_fail(budget->ctx, PARRY_FORMAT, "%s: dimension %d of tensor '%s' is %lld, which cannot be",
                           budget->where, d, name, (long long)tensor->dims[d]);
    }
    return PARRY_OK;
}

parry_status pr_constant_read(pr_budget *budget, const char *name, const PrOnnx__TensorProto *tensor, pr_constant *out)
{
    *out = (pr_constant){0};
    const encoding *code = NULL;
    for (size_t i = 0; i < PR_COUNT(encodings); i++)
        if (encodings[i].type == tensor->data_type)
            code = &encodings[i];
    if (!code)
        return pr_fail(budget->ctx, PARRY_UNSUPPORTED,
                       "%s: tensor '%s' is of ONNX data type %d, which parry does not read", budget->where, name,
                       (int)tensor->data_type);
    TRY(read_dims(budget, name, tensor, out));

    const struct {
        size_t count;
        const void *data;
    } fields[] = {
        [FIELD_FLOAT] = {tensor->n_float_data, tensor->float_data},
        [FIELD_DOUBLE] = {tensor->n_double_data, tensor->double_data},
        [FIELD_INT32] = {tensor->n_int32_data, tensor->int32_data},
        [FIELD_INT64] = {tensor->n_int64_data, tensor->int64_data},
    };
    const bool external = tensor->data_location != PR_ONNX__TENSOR_PROTO__DATA_LOCATION__DEFAULT;
    const bool raw = external || tensor->raw_data.len > 0;
    const size_t needed = (size_t)out->count * (raw ? code->width : 1);
    const size_t found = raw ? tensor->raw_data.len : fields[code->field].count;
    void *bytes = NULL; /* of external data */
    if (external)
        TRY(pr_external_read(budget, name, tensor, needed, &bytes));
    else if (needed != found)
        return pr_fail(budget->ctx, PARRY_FORMAT, "%s: tensor '%s' should hold %lld %s values, but has %zu %s",
                       budget->where, name, (long long)out->count, code->name, found, raw ? "bytes" : "of them");
    const uint8_t *from = external ? bytes : tensor->raw_data.data;
    out->integer = code->integer;
    out->type = code->type;
    if (code->field == FIELD_FLOAT || code->field == FIELD_INT64) {
        out->data = raw ? from : fields[code->field].data;
        out->owned = bytes;
        return PARRY_OK;
    }
    /* What the file holds may be a quantised network's weights. */
    int64_t dim[PR_CONSTANT_RANK];
    memcpy(dim, out->dim, sizeof dim);
    parry_status status = make(budget, code->integer, sizeof(int64_t) / sizeof(float), out->rank, dim, out);
    out->type = code->type;
    if (status == PARRY_OK && raw)
        convert_raw(code, from, out);
    else if (status == PARRY_OK)
        convert_typed(code, tensor, out);
    pr_free(bytes);
    return status;
}
