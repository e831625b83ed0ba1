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

/* "linf", "l2"; NULL-terminated. */
extern const char *const pr_norm_names[];

#endif
