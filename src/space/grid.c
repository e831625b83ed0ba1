/* The 8-bit grid: what is left of an adversary once it is stored as a picture. A pixel is one of 256 levels, k / 255;
 * differences and balls are counted in whole levels, which is exact where floats are not. */
#include <math.h>
#include <stdlib.h>

#include "space/space.h"

static int level_of(float pixel)
{
    return pixel > 0 ? (int)lrintf(255 * PR_MIN(pixel, 1.0f)) : 0;
}

static float pixel_of(int level)
{
    return (float)level / 255.0f;
}

double pr_grid_radius(const parry_threat *threat, double eps)
{
    if (!threat->quantize || threat->norm != PARRY_LINF)
        return eps;
    int levels = (int)(255 * PR_MIN(eps, 1.0) + 0.5);
    while (levels > 0 && levels / 255.0 > eps)
        levels--;
    return levels / 255.0;
}

void pr_grid_round(float *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        x[i] = pixel_of(level_of(x[i]));
}

void pr_grid_round_along(const float *direction, float *x, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        const double level = 255.0 * x[i], nearest = rint(level);
        if (fabs(level - nearest) < 1e-4 || direction[i] == 0)
            x[i] = pixel_of(level_of(x[i]));
        else
            x[i] = pixel_of((int)(direction[i] > 0 ? ceil(level) : floor(level)));
    }
}

double pr_grid_distance_row(int norm, const float *x, const float *y, int64_t row)
{
    double squares = 0, largest = 0;
    for (int64_t i = 0; i < row; i++) {
        const double d = level_of(x[i]) - level_of(y[i]);
        squares += d * d;
        largest = PR_MAX(largest, fabs(d));
    }
    return (norm == PARRY_LINF ? largest : sqrt(squares)) / 255;
}

/* By how much a coordinate lies further from the centre than it was meant to. */
static double overshoot(float center, float meant, float x)
{
    return fabs((double)level_of(x) - level_of(center)) - fabs(255.0 * meant - level_of(center));
}

static int by_overshoot(const void *left, const void *right)
{
    const pr_grid_rank *a = left, *b = right;
    if (a->overshoot != b->overshoot)
        return a->overshoot < b->overshoot ? 1 : -1;
    return a->place < b->place ? -1 : a->place > b->place;
}

void pr_grid_fit_row(const parry_threat *threat, const float *center, const float *meant, float *x, int64_t row,
                     pr_grid_rank *ranks)
{
    int64_t count = 0;
    double squares = 0;
    if (threat->norm == PARRY_LINF || pr_grid_distance_row(threat->norm, x, center, row) <= threat->eps)
        return;
    for (int64_t i = 0; i < row; i++) {
        const double d = level_of(x[i]) - level_of(center[i]), far = overshoot(center[i], meant[i], x[i]);
        squares += d * d;
        if (far > 0 && d != 0)
            ranks[count++] = (pr_grid_rank){(float)far, (int32_t)i};
    }
    qsort(ranks, (size_t)count, sizeof *ranks, by_overshoot);
    for (int64_t r = 0; r < count && sqrt(squares) / 255 > threat->eps; r++) {
        float *at = &x[ranks[r].place];
        const int level = level_of(*at), middle = level_of(center[ranks[r].place]), d = abs(level - middle);
        *at = pixel_of(level > middle ? level - 1 : level + 1);
        squares -= 2.0 * d - 1;
    }
}
