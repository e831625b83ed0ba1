/* Geometry of the threat model, one image (row) at a time. */
#include <float.h>
#include <math.h>

#include "space/space.h"

/* The largest float that does not exceed eps: constraints hold against the double that the user gave. */
static float radius_of(double eps)
{
    float radius = (float)eps;
    return (double)radius > eps ? nextafterf(radius, 0) : radius;
}

const char *const pr_norm_names[] = {[PARRY_LINF] = "linf", [PARRY_L2] = "l2", NULL};

double pr_distance_row(int norm, const float *x, const float *y, int64_t row)
{
    return norm == PARRY_LINF ? pr_max_abs_diff(x, y, row) : pr_norm2_diff(x, y, row);
}

void pr_ascend_row(int norm, float step, const float *grad, float *adv, int64_t row)
{
    if (norm == PARRY_LINF) {
        pr_add_sign(step, grad, adv, row);
        return;
    }
    double length = sqrt(pr_sum_squares(grad, row));
    if (isfinite(length) && step <= FLT_MAX * length && length > 0)
        pr_axpy((float)(step / length), grad, adv, row);
}

/* adv = center + scale * (adv - center). */
static void scale_towards(const float *center, double scale, float *adv, int64_t row)
{
    for (int64_t i = 0; i < row; i++)
        adv[i] = (float)(center[i] + scale * ((double)adv[i] - center[i]));
}

/* Rounding to float can leave the scaled point just outside: it is then shrunk by ever more than the exact factor.
 * Where eps is below the spacing of floats around the centre only the centre itself may be left. */
static void project_l2(double eps, const float *center, float *adv, int64_t row)
{
    double distance = pr_norm2_diff(adv, center, row);
    for (double slack = 0; distance > eps; slack = slack == 0 ? 0x1p-24 : 4 * slack) {
        scale_towards(center, fmax(0, 1 - slack) * (eps / distance), adv, row);
        distance = pr_norm2_diff(adv, center, row);
    }
}

void pr_project_row(const parry_threat *threat, const float *center, float *adv, int64_t row)
{
    if (threat->norm == PARRY_LINF)
        pr_clamp_ball(center, radius_of(threat->eps), adv, row);
    else
        project_l2(threat->eps, center, adv, row);
    if (threat->clip)
        pr_clamp(0, 1, adv, row);
}

/* A direction from independent normals, a radius whose row-th power is uniform. */
static void random_in_l2_ball(double eps, pr_rng *rng, const float *center, float *adv, int64_t row)
{
    for (int64_t i = 0; i < row; i++)
        adv[i] = pr_rng_normal(rng);
    double radius = eps * pow(pr_rng_unit(rng), 1.0 / (double)row);
    double length = sqrt(pr_sum_squares(adv, row));
    double scale = length > 0 ? radius / length : 0;
    for (int64_t i = 0; i < row; i++)
        adv[i] = (float)(center[i] + scale * adv[i]);
}

void pr_random_start_row(const parry_threat *threat, pr_rng *rng, const float *center, float *adv, int64_t row)
{
    if (threat->norm == PARRY_LINF) {
        float radius = radius_of(threat->eps);
        for (int64_t i = 0; i < row; i++)
            adv[i] = center[i] + pr_rng_uniform(rng, -radius, radius);
    } else {
        random_in_l2_ball(threat->eps, rng, center, adv, row);
    }
    pr_project_row(threat, center, adv, row);
}
