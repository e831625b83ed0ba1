/* Losses on logits, a row at a time, with the derivative of each row's own loss.
 *
 * With p = softmax(z) and label y:
 *   ce:  L = -log p_y                         dL/dz_j = p_j - [j = y]
 *   mse: L = 1/k sum_i (p_i - [i = y])^2      dL/dz_j = p_j (g_j - sum_i g_i p_i),  g_i = 2/k (p_i - [i = y])
 *
 * p_y - 1 is summed from the other classes and log sum exp is taken around the largest logit with log1p, so that loss
 * and derivative stay exact for images that the network is sure of: those are the ones that attacks need a direction
 * for. */
#include <math.h>

#include "nn/nn.h"
#include "tensor/tensor.h"

/* The row's softmax as exp(z_i - z_top) / total. */
typedef struct softmax_row {
    const float *logits;
    int k, label, top;
    double total;  /* sum of all exponentials */
    double others; /* of those that are not the largest logit's */
    double wrong;  /* of those that are not the label's */
} softmax_row;

static double exponential(const softmax_row *row, int i)
{
    return exp((double)row->logits[i] - (double)row->logits[row->top]);
}

static softmax_row softmax_of(const float *logits, int k, int label)
{
    softmax_row row = {.logits = logits, .k = k, .label = label, .top = PR_MAX(pr_argmax(logits, k), 0)};
    for (int i = 0; i < k; i++) {
        const double e = exponential(&row, i);
        row.total += e;
        row.others += i == row.top ? 0 : e;
        row.wrong += i == label ? 0 : e;
    }
    return row;
}

/* p_i - [i = label]. */
static double residual(const softmax_row *row, int i)
{
    return i == row->label ? -row->wrong / row->total : exponential(row, i) / row->total;
}

static void cross_entropy_row(const softmax_row *row, float *loss, float *dlogits)
{
    if (loss)
        *loss = (float)((double)row->logits[row->top] - (double)row->logits[row->label] + log1p(row->others));
    if (dlogits)
        for (int i = 0; i < row->k; i++)
            dlogits[i] = (float)residual(row, i);
}

static void mean_squared_error_row(const softmax_row *row, float *loss, float *dlogits)
{
    double squares = 0, inner = 0; /* inner: sum of r_i p_i over all but the largest logit */
    for (int i = 0; i < row->k; i++) {
        const double r = residual(row, i);
        squares += r * r;
        inner += i == row->top ? 0 : r * exponential(row, i) / row->total;
    }
    if (loss)
        *loss = (float)(squares / row->k);
    if (!dlogits)
        return;
    const double r_top = residual(row, row->top), p_top = 1 / row->total, p_others = row->others / row->total;
    for (int i = 0; i < row->k; i++) {
        /* r_i - sum_j r_j p_j; of the largest logit with r - r p = r (1 - p), which does not cancel. */
        const double slope = i == row->top ? r_top * p_others - inner : residual(row, i) - inner - r_top * p_top;
        dlogits[i] = (float)(2.0 / row->k * exponential(row, i) / row->total * slope);
    }
}

static void each_row(void (*one)(const softmax_row *, float *, float *), int64_t n, int k, const float *logits,
                     const int32_t *labels, float *loss, float *dlogits)
{
    for (int64_t r = 0; r < n; r++) {
        const softmax_row row = softmax_of(logits + r * k, k, labels[r]);
        one(&row, loss ? loss + r : NULL, dlogits ? dlogits + r * k : NULL);
    }
}

static void cross_entropy(const void *arg, int64_t n, int k, const float *logits, const int32_t *labels, float *loss,
                          float *dlogits)
{
    (void)arg;
    each_row(cross_entropy_row, n, k, logits, labels, loss, dlogits);
}

static void mean_squared_error(const void *arg, int64_t n, int k, const float *logits, const int32_t *labels,
                               float *loss, float *dlogits)
{
    (void)arg;
    each_row(mean_squared_error_row, n, k, logits, labels, loss, dlogits);
}

static const pr_loss losses[] = {
    {"ce", "cross-entropy of the softmax", cross_entropy},
    {"mse", "mean over the classes of the squared difference between softmax and one-hot label", mean_squared_error},
};

const pr_loss *pr_loss_at(size_t index)
{
    return index < PR_COUNT(losses) ? &losses[index] : NULL;
}

const char *const *pr_loss_names(void)
{
    static const char *const names[] = {"ce", "mse", NULL};
    return names;
}
