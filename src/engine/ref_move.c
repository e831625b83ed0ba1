/* Oracle: padding, joining and picking along an axis. */
#include <string.h>

#include "engine/ref.h"

/* A tensor seen along one axis: `outer` blocks of `size` runs of `inner` numbers. */
typedef struct along {
    int64_t outer, size, inner;
} along;

static along along_axis(pr_dims dims, int axis)
{
    along a = {1, dims.dim[axis], 1};
    for (int d = 0; d < dims.rank; d++) {
        a.outer *= d < axis ? dims.dim[d] : 1;
        a.inner *= d > axis ? dims.dim[d] : 1;
    }
    return a;
}

void pr_ref_pad(const pr_ref *ref)
{
    pr_dims x = ref->in_dims[0], y = ref->out_dims[0];
    for (int64_t e = 0, count = pr_dims_row(y); e < count; e++) {
        int64_t rest = e, from = 0, step = 1;
        bool inside = true;
        for (int d = y.rank - 1; d >= 0; d--) {
            int64_t at = rest % y.dim[d] - ref->attrs->pad.before[d];
            inside = inside && at >= 0 && at < x.dim[d];
            from += at * step;
            step *= x.dim[d];
            rest /= y.dim[d];
        }
        ref->out[0][e] = inside ? ref->in[0][from] : ref->attrs->pad.value;
    }
}

void pr_ref_concat(const pr_ref *ref)
{
    int axis = ref->attrs->axis.axis;
    along y = along_axis(ref->out_dims[0], axis);
    int64_t batch = ref->out_dims[0].dim[0], first = 0;
    for (int i = 0; i < ref->node->inputs; i++) {
        bool shared = ref->in_dims[i].rank < ref->out_dims[0].rank; /* the same for every image */
        along x = along_axis(ref->in_dims[i], shared ? axis - 1 : axis);
        for (int64_t o = 0; o < y.outer; o++) {
            int64_t from = shared ? o % (y.outer / batch) : o;
            memcpy(ref->out[0] + (o * y.size + first) * y.inner, ref->in[i] + from * x.size * x.inner,
                   (size_t)(x.size * x.inner) * sizeof(float));
        }
        first += x.size;
    }
}

void pr_ref_gather(const pr_ref *ref)
{
    along x = along_axis(ref->in_dims[0], ref->attrs->gather.axis);
    along y = along_axis(ref->out_dims[0], ref->attrs->gather.axis);
    for (int64_t r = 0; r < y.outer * y.size; r++) {
        int64_t from = r / y.size * x.size + (int64_t)ref->in[1][r % y.size];
        memcpy(ref->out[0] + r * y.inner, ref->in[0] + from * x.inner, (size_t)y.inner * sizeof(float));
    }
}

void pr_ref_gather_grad(const pr_ref *ref)
{
    along dy = along_axis(ref->in_dims[0], ref->attrs->gather.axis);
    along dx = along_axis(ref->out_dims[0], ref->attrs->gather.axis);
    memset(ref->out[0], 0, (size_t)pr_dims_row(ref->out_dims[0]) * sizeof(float));
    for (int64_t r = 0; r < dy.outer * dy.size; r++) {
        int64_t to = r / dy.size * dx.size + (int64_t)ref->in[1][r % dy.size];
        for (int64_t i = 0; i < dy.inner; i++)
            ref->out[0][to * dx.inner + i] += ref->in[0][r * dy.inner + i];
    }
}
