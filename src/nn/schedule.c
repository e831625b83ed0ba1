/* Learning-rate schedules as factors of the initial rate. */
#include <assert.h>
#include <math.h>

#include "nn/nn.h"

/* Each takes the share of the training that is done, in [0, 1). */
static double constant(double done)
{
    (void)done;
    return 1.0;
}

static double step_down(double done)
{
    return done < 0.5 ? 1.0 : done < 0.75 ? 0.1 : 0.01;
}

static double cosine(double done)
{
    return 0.5 * (1.0 + cos(3.141592653589793 * done));
}

static double linear(double done)
{
    return 1.0 - done;
}

double pr_schedule_rate(int schedule, double lr, uint64_t step, uint64_t total)
{
    static double (*const factors[])(double) = {constant, step_down, cosine, linear};
    assert(schedule >= 0 && (size_t)schedule < PR_COUNT(factors) && total > 0);
    return lr * factors[schedule]((double)step / (double)total);
}
