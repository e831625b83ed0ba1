/* What a row of logits says: probabilities and the classes in their order. */
#include <math.h>

#include <parry/model.h>

#include "tensor/tensor.h"

void parry_probabilities(const float *logits, int64_t n, int classes, float *out)
{
    for (int64_t i = 0; i < n; i++, logits += classes, out += classes) {
        const double largest = (double)logits[pr_argmax(logits, classes)];
        double sum = 0;
        for (int k = 0; k < classes; k++)
            sum += exp((double)logits[k] - largest);
        for (int k = 0; k < classes; k++)
            out[k] = (float)(exp((double)logits[k] - largest) / sum);
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
