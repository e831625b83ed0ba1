/* Built-in digits: handwriting drawn from vector strokes, so that parry has images of digits where MNIST is absent.
 *
 * A digit is drawn as a writer would: pick one of the class's styles (digits_strokes.def), blend its poses, misplace
 * the knots a little, run a cubic Hermite spline through them, bend the plane (elastic), slant, turn and stretch it
 * (affine), and draw the path with a round pen of varying pressure. The framing is MNIST's (LeCun, Bottou, Bengio,
 * Haffner, "Gradient-based learning applied to document recognition", 1998): the ink's bounding box fits 20 x 20 with
 * its aspect kept, and a whole-pixel shift brings its centre of mass to the middle of 28 x 28. The constants below were
 * chosen so that a network that has seen these digits alone reads MNIST's training images; no pixel of MNIST is here.
 * SimpleCNN, trained on them for 20 epochs (seed 0), reads 97.19 % of MNIST's test images.
 *
 * Bytes must not depend on the machine, so the arithmetic is + - * / and sqrt of IEEE 754, which leave no freedom in
 * the last bit; normal variates are sums of bytes, not logarithms; and a * b + c must not become one instruction. */
#ifdef __clang__
#pragma STDC FP_CONTRACT OFF
#else
#pragma GCC optimize("fp-contract=off")
#endif

#include "data/digits.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "base/rng.h"

enum {
    CLASSES = 10,
    POSES = 3,
    MAX_KNOTS = 12, /* of a style */
    STEPS = 6,      /* straight pieces per span between knots */
    MAX_POINTS = MAX_KNOTS * STEPS + MAX_KNOTS,
    SIDE = PR_DIGITS_SIDE,
    BOX = 20, /* MNIST fits the ink into this many pixels */
};

typedef enum knot_kind { M = 1, S, C } knot_kind; /* 0 ends the list */

typedef struct style_knot {
    uint8_t kind;
    int8_t at[2 * POSES];
} style_knot;

typedef struct style {
    uint8_t digit, weight;
    style_knot knots[MAX_KNOTS];
} style;

/* The table writes a knot as K(kind, x, y in each pose). */
/* clang-format off */
#define K(kind, ...) {kind, {__VA_ARGS__}}
/* clang-format on */
static const style styles[] = {
#include "data/digits_strokes.def"
};

/* How writers differ. Coordinates span -1 .. 1 over the digit's box. */
static const float pose_spread = 1.4f;                        /* blends reach this far beyond the poses */
static const float jitter_least = 0.02f, jitter_most = 0.15f; /* how far knots stray, from a tidy to an untidy hand */
static const float end_jitter = 1.5f;                         /* times as far at the ends of a stroke */
static const float rounding_most = 0.8f;                      /* of corners, 0 sharp, 1 as smooth as other knots */
static const float slant_mean = 0.10f, slant = 0.22f;         /* x per y: mean and deviation */
static const float turn = 0.14f;                              /* deviation of the sine of the rotation */
static const float aspect_mean = 0.94f, aspect = 0.28f;       /* width over height: median, its logarithm's deviation */
static const float radius_mean = 1.25f, radius = 0.30f;       /* of the pen in pixels: the same */
static const float radius_least = 0.55f, radius_most = 3.5f;
static const float crowding = 5.5f;  /* the radius times the path's length, in digit sizes, stays below this */
static const float pressure = 0.25f; /* deviation of the radius from knot to knot, relative */
static const float edge_least = 0.5f, edge_most = 1.4f; /* pixels over which ink fades to paper */

/* Deviations of the elastic warp's coefficients, for x and for y, on xx, xy, yy, xxx, xxy, xyy, yyy. Those on xy in x
 * and on yy in y are large: they size the digit's top against its bottom. */
static const float warps[2][7] = {
    {0.12f, 0.26f, 0.17f, 0.12f, 0.12f, 0.17f, 0.14f},
    {0.12f, 0.14f, 0.20f, 0.12f, 0.12f, 0.12f, 0.12f},
};

typedef struct point {
    float x, y, r; /* r: pen radius, relative until the digit is framed */
    bool down;     /* the pen goes down here: no ink from the point before */
} point;

typedef struct knot {
    float x, y, r;
    knot_kind kind;
} knot;

static float clampf(float v, float lo, float hi)
{
    return v < lo ? lo : v > hi ? hi : v;
}

static float minf(float a, float b)
{
    return a < b ? a : b;
}

static float maxf(float a, float b)
{
    return a > b ? a : b;
}

/* Roughly normal, within 3.5 standard deviations: the sum of a word's four bytes. */
static float bell(pr_rng *rng)
{
    uint32_t w = pr_rng_u32(rng);
    int sum = (int)((w & 255) + (w >> 8 & 255) + (w >> 16 & 255) + (w >> 24));
    return (float)(sum - 510) * (1.0f / 147.8f);
}

/* Nearly log-normal: (1 + z / 2) / (1 - z / 2) is exp(z) to third order. */
static float log_bell(pr_rng *rng, float median, float deviation)
{
    float z = 0.5f * deviation * bell(rng);
    return median * (1.0f + z) / (1.0f - z);
}

/* Each run of ten indices is a shuffle of the ten classes, so that every prefix of a set is balanced. */
static uint8_t class_of(uint64_t seed, uint64_t index)
{
    pr_rng rng = pr_rng_init(seed, PR_STREAM_DIGITS, index / CLASSES | UINT64_C(1) << 63);
    uint8_t order[CLASSES];
    for (unsigned i = 0; i < CLASSES; i++) {
        unsigned j = pr_rng_below(&rng, i + 1);
        order[i] = order[j];
        order[j] = (uint8_t)i;
    }
    return order[index % CLASSES];
}

static const style *choose_style(pr_rng *rng, uint8_t digit)
{
    const unsigned count = sizeof(styles) / sizeof(styles[0]);
    uint32_t total = 0;
    for (unsigned i = 0; i < count; i++)
        total += styles[i].digit == digit ? styles[i].weight : 0;
    uint32_t ticket = pr_rng_below(rng, total);
    for (unsigned i = 0;; i++) {
        if (styles[i].digit != digit)
            continue;
        if (ticket < styles[i].weight)
            return &styles[i];
        ticket -= styles[i].weight;
    }
}

/* The style's knots in this writer's hand, -1 .. 1, y down. Returns how many. */
static int place_knots(pr_rng *rng, const style *chosen, knot *knots)
{
    float u = pr_rng_unit(rng), v = pr_rng_unit(rng);
    if (u + v > 1.0f) {
        u = 1.0f - u;
        v = 1.0f - v;
    }
    const float third = 1.0f / 3.0f, spread = pose_spread;
    float share[POSES] = {third + spread * (1.0f - u - v - third), third + spread * (u - third),
                          third + spread * (v - third)};
    float untidy = pr_rng_unit(rng);
    float jitter = jitter_least + (jitter_most - jitter_least) * untidy * untidy;

    int n = 0;
    for (; n < MAX_KNOTS && chosen->knots[n].kind; n++) {
        const style_knot *from = &chosen->knots[n];
        float x = 0, y = 0;
        for (int p = 0; p < POSES; p++) {
            x += share[p] * (float)from->at[2 * p];
            y += share[p] * (float)from->at[2 * p + 1];
        }
        bool last = n + 1 == MAX_KNOTS || !chosen->knots[n + 1].kind || chosen->knots[n + 1].kind == M;
        float stray = from->kind == M || last ? jitter * end_jitter : jitter;
        knots[n].kind = (knot_kind)from->kind;
        knots[n].x = x * 0.02f - 1.0f + stray * bell(rng);
        knots[n].y = y * 0.02f - 1.0f + stray * bell(rng);
        knots[n].r = clampf(1.0f + pressure * bell(rng), 0.5f, 1.6f);
    }
    return n;
}

/* The tangent at knot i for the span on its side `ahead` (+1: towards i + 1, -1: from i - 1). Catmull-Rom inside a
 * stroke, the chord at its ends; at a corner, `rounding` of the way from the chord to Catmull-Rom. */
static void tangent(const knot *knots, int n, int i, int ahead, float rounding, float *tx, float *ty)
{
    bool first = knots[i].kind == M, last = i + 1 == n || knots[i + 1].kind == M;
    int a = first ? i : i - 1, b = last ? i : i + 1;
    int c = ahead > 0 ? i : i - 1;
    float smooth = first || last ? 0.0f : knots[i].kind == C ? rounding : 1.0f;
    *tx = (1.0f - smooth) * (knots[c + 1].x - knots[c].x) + smooth * 0.5f * (knots[b].x - knots[a].x);
    *ty = (1.0f - smooth) * (knots[c + 1].y - knots[c].y) + smooth * 0.5f * (knots[b].y - knots[a].y);
}

/* Runs splines through the knots; returns the number of points. */
static int trace(const knot *knots, int n, float rounding, point *points)
{
    int count = 0;
    for (int i = 0; i < n; i++) {
        const knot *p = &knots[i], *q = p + 1;
        if (p->kind == M)
            points[count++] = (point){p->x, p->y, p->r, true};
        if (i + 1 == n || q->kind == M)
            continue;
        float px, py, qx, qy;
        tangent(knots, n, i, +1, rounding, &px, &py);
        tangent(knots, n, i + 1, -1, rounding, &qx, &qy);
        for (int s = 1; s <= STEPS; s++) {
            float t = (float)s * (1.0f / STEPS), t2 = t * t, t3 = t2 * t;
            float hp = 2.0f * t3 - 3.0f * t2 + 1.0f, hq = 3.0f * t2 - 2.0f * t3;
            float gp = t3 - 2.0f * t2 + t, gq = t3 - t2;
            points[count++] = (point){hp * p->x + hq * q->x + gp * px + gq * qx,
                                      hp * p->y + hq * q->y + gp * py + gq * qy, p->r + (q->r - p->r) * t, false};
        }
    }
    return count;
}

/* Bends, slants, turns and stretches the plane under the points. */
static void deform(pr_rng *rng, point *points, int count)
{
    float warp[2][7];
    for (int axis = 0; axis < 2; axis++)
        for (int k = 0; k < 7; k++)
            warp[axis][k] = warps[axis][k] * bell(rng);
    float lean = slant_mean + slant * bell(rng), stretch = log_bell(rng, aspect_mean, aspect);
    float sine = clampf(turn * bell(rng), -0.5f, 0.5f), cosine = sqrtf(1.0f - sine * sine);
    /* The product of turn and slant, so that only sums remain below: GCC makes a * b - c * d beside a * b + c * d one
     * instruction (fmaddsub) even where contraction is off. */
    const float to_x[2] = {cosine * stretch, -cosine * lean - sine}, to_y[2] = {sine * stretch, cosine - sine * lean};
    for (int i = 0; i < count; i++) {
        float x = points[i].x, y = points[i].y, xx = x * x, yy = y * y;
        const float basis[7] = {xx, x * y, yy, xx * x, xx * y, x * yy, yy * y};
        float bent[2] = {x, y};
        for (int axis = 0; axis < 2; axis++)
            for (int k = 0; k < 7; k++)
                bent[axis] += warp[axis][k] * basis[k];
        points[i].x = to_x[0] * bent[0] + to_x[1] * bent[1];
        points[i].y = to_y[0] * bent[0] + to_y[1] * bent[1];
    }
}

typedef struct extent {
    float x0, x1, y0, y1;
} extent;

/* The box of the ink, but for its fainter rim, when the path is scaled and drawn with radii of pen * r + rim. */
static extent measure(const point *points, int count, float scale, float pen, float rim)
{
    extent box = {INFINITY, -INFINITY, INFINITY, -INFINITY};
    for (int i = 0; i < count; i++) {
        float x = points[i].x * scale, y = points[i].y * scale, r = points[i].r * pen + rim;
        box.x0 = minf(box.x0, x - r);
        box.x1 = maxf(box.x1, x + r);
        box.y0 = minf(box.y0, y - r);
        box.y1 = maxf(box.y1, y + r);
    }
    return box;
}

/* Scales and moves the path so that its ink spans BOX pixels in the canvas's middle. `pen` is the radius in pixels that
 * the writer would use; a path with many turns gets a finer one, as else its loops would fill. */
static void frame(point *points, int count, float pen, float edge)
{
    float length = 0;
    for (int i = 1; i < count; i++) {
        float dx = points[i].x - points[i - 1].x, dy = points[i].y - points[i - 1].y;
        length += points[i].down ? 0.0f : sqrtf(dx * dx + dy * dy);
    }
    extent box = measure(points, count, 1.0f, 0.0f, 0.0f);
    float span = maxf(box.x1 - box.x0, box.y1 - box.y0);
    pen = clampf(pen, radius_least, minf(radius_most, crowding * span / length));

    /* The pen does not scale with the path, so the box is no multiple of the scale; it is convex in it, and Newton's
     * steps with the steepest slope come down from above: three bring the excess below a tenth of a pixel. */
    float rim = 0.25f * edge, scale = (BOX - 2.0f * (0.5f * pen + rim)) / span;
    for (int round = 0; round < 3; round++) {
        box = measure(points, count, scale, pen, rim);
        scale -= (maxf(box.x1 - box.x0, box.y1 - box.y0) - BOX) / span;
    }
    box = measure(points, count, scale, pen, rim);
    for (int i = 0; i < count; i++) {
        points[i].x = points[i].x * scale + 0.5f * (SIDE - BOX) - box.x0;
        points[i].y = points[i].y * scale + 0.5f * (SIDE - BOX) - box.y0;
        points[i].r *= pen;
    }
}

/* One piece of stroke from a to b: each pixel keeps its darkest ink, which fades over `edge` pixels around the rim. */
static void draw(float canvas[SIDE][SIDE], const point *a, const point *b, float edge)
{
    float r = 0.5f * (a->r + b->r), reach = r + 0.5f * edge;
    float dx = b->x - a->x, dy = b->y - a->y, length2 = dx * dx + dy * dy;
    float inverse = length2 > 1e-9f ? 1.0f / length2 : 0.0f, per_edge = 1.0f / edge;
    int x0 = (int)clampf(minf(a->x, b->x) - reach, 0, SIDE - 1);
    int x1 = (int)clampf(maxf(a->x, b->x) + reach, 0, SIDE - 1);
    int y0 = (int)clampf(minf(a->y, b->y) - reach, 0, SIDE - 1);
    int y1 = (int)clampf(maxf(a->y, b->y) + reach, 0, SIDE - 1);
    for (int y = y0; y <= y1; y++)
        for (int x = x0; x <= x1; x++) {
            float px = (float)x + 0.5f - a->x, py = (float)y + 0.5f - a->y;
            float t = clampf((px * dx + py * dy) * inverse, 0.0f, 1.0f);
            float ex = px - t * dx, ey = py - t * dy, d2 = ex * ex + ey * ey;
            canvas[y][x] = maxf(canvas[y][x], (reach - sqrtf(d2)) * per_edge); /* beyond reach: below 0 */
        }
}

/* Quantises the ink and shifts it by whole pixels until its centre of mass is in the middle, or its box at the rim. */
static void settle(float canvas[SIDE][SIDE], uint8_t *pixels)
{
    int64_t mass = 0, moment_x = 0, moment_y = 0;
    uint8_t ink[SIDE][SIDE];
    int left = SIDE, right = 0, top = SIDE, bottom = 0;
    for (int y = 0; y < SIDE; y++)
        for (int x = 0; x < SIDE; x++) {
            int v = (int)(clampf(canvas[y][x], 0.0f, 1.0f) * 255.0f + 0.5f);
            ink[y][x] = (uint8_t)v;
            if (v == 0)
                continue;
            mass += v;
            moment_x += v * x;
            moment_y += v * y;
            left = x < left ? x : left;
            right = x > right ? x : right;
            top = y < top ? y : top;
            bottom = y;
        }
    int sx = mass ? SIDE / 2 - (int)((moment_x + mass / 2) / mass) : 0;
    int sy = mass ? SIDE / 2 - (int)((moment_y + mass / 2) / mass) : 0;
    sx = sx < -left ? -left : sx > SIDE - 1 - right ? SIDE - 1 - right : sx;
    sy = sy < -top ? -top : sy > SIDE - 1 - bottom ? SIDE - 1 - bottom : sy;
    memset(pixels, 0, (size_t)SIDE * SIDE);
    for (int y = top; y <= bottom; y++)
        for (int x = left; x <= right; x++)
            pixels[(y + sy) * SIDE + x + sx] = ink[y][x];
}

void pr_digits_render(uint64_t seed, uint64_t index, uint8_t pixels[SIDE * SIDE], uint8_t *label)
{
    *label = class_of(seed, index);
    pr_rng rng = pr_rng_init(seed, PR_STREAM_DIGITS, index);
    knot knots[MAX_KNOTS];
    point points[MAX_POINTS];
    int n = place_knots(&rng, choose_style(&rng, *label), knots);
    int count = trace(knots, n, pr_rng_uniform(&rng, 0.0f, rounding_most), points);
    deform(&rng, points, count);

    float pen = log_bell(&rng, radius_mean, radius);
    float edge = pr_rng_uniform(&rng, edge_least, edge_most);
    frame(points, count, pen, edge);
    float canvas[SIDE][SIDE] = {{0}};
    for (int i = 1; i < count; i++)
        if (!points[i].down)
            draw(canvas, &points[i - 1], &points[i], edge);
    settle(canvas, pixels);
}
