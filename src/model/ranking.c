/* What a row of logits says: probabilities and the classes in their order. */
#include <math.h>

#include <parry/model.h>

#include "tensor/tensor.h"

void parry_probabilities(const float *logits, int64_t n, int classes, float *out)
{
    for (int64_t i = 0; i < n; i++, logits += classes, out += classes) {
        const int top = pr_argmax(logits, classes);
        const double largest = logits[top], total = pr_softmax_total(logits, classes, top); /* out may be logits */
        for (int k = 0; k < classes; k++)
            out[k] = (float)(exp((double)logits[k] - largest) / total);
    }
}

void parry_top_classes(const float *row, int classes, int top, int *out)
{
    int count = 0;
    for (int k = 0; k < classes; k++) {
        if (count == top && !(row[k] > row[out[top - 1]]))
            continue;
        int at = count < top ? count++ : top - 1;
        for (; at > 0 && row[k] > row[out[at - 1]]; at--)
            out[at] = out[at - 1];
        out[at] = k;
    }
}

void parry_top_probabilities(const float *logits, int classes, int top, int *out, double *probabilities)
{
    parry_top_classes(logits, classes, top, out);
    const double total = pr_softmax_total(logits, classes, out[0]);
    for (int i = 0; i < top; i++)
        probabilities[i] = exp((double)logits[out[i]] - (double)logits[out[0]]) / total;
}
