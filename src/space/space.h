/* Geometry of the threat model: norms, balls, the pixel box, projections, steepest-ascent steps, random starts. All are
 * per image (row). */
#ifndef PR_SPACE_SPACE_H
#define PR_SPACE_SPACE_H

#include <parry/attack.h>

#include "base/rng.h"
#include "tensor/tensor.h"

/* adv += step * d, where d is the direction of steepest ascent of the unit ball: sign(g) for linf, g / |g|_2 for l2 (0
 * where g is 0 or NaN). */
void pr_ascend_row(int norm, float step, const float *grad, float *adv, int64_t row);
/* The nearest point (in the norm) inside the eps-ball around `center`, then inside the box [0,1] when the threat clips:
 * ball, then box, since the box contains the centre and clamping never leaves the ball (for linf this is the projection
 * onto both). |adv - center| <= eps holds as measured by pr_distance_row, without tolerance. */
void pr_project_row(const parry_threat *threat, const float *center, float *adv, int64_t row);
/* Uniform in the ball: linf independently per coordinate, l2 uniform in volume; then projected into the box. */
void pr_random_start_row(const parry_threat *threat, pr_rng *rng, const float *center, float *adv, int64_t row);
double pr_distance_row(int norm, const float *x, const float *y, int64_t row);

/* ---- the 8-bit grid (grid.c): pixels k / 255, k = 0..255 -------------------------------------------------------- */

/* The radius that counts on the grid: for linf with quantize the largest multiple of 1/255 that is at most eps, so that
 * the faces of a ball around a point of the grid lie on it; else eps. */
double pr_grid_radius(const parry_threat *threat, double eps);
/* To the nearest level, inside [0,1], as a PNG stores it. */
void pr_grid_round(float *x, int64_t count);
/* The same, but what lies between two levels goes to the one that `direction` points to. x is in [0,1]. */
void pr_grid_round_along(const float *direction, float *x, int64_t count);
/* Distance of two points of the grid, counted in levels and then divided by 255: exact where floats are not. */
double pr_grid_distance_row(int norm, const float *x, const float *y, int64_t row);
typedef struct pr_grid_rank {
    float overshoot;
    int32_t place;
} pr_grid_rank;
/* Brings x, which is on the grid at most a level away from `meant`, back into the l2 ball around `center`, a point of
 * the grid: coordinates that rounding moved away from the centre are moved one level back, those furthest off first.
 * `meant` lies in the ball. Nothing is to be done for linf (see pr_grid_radius). ranks: scratch, `row` of them. */
void pr_grid_fit_row(const parry_threat *threat, const float *center, const float *meant, float *x, int64_t row,
                     pr_grid_rank *ranks);

/* "linf", "l2"; NULL-terminated. */
extern const char *const pr_norm_names[];

#endif
