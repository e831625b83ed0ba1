/* Linear models, where the worst perturbation is known in closed form.
 *
 * With logits W x + b the margin of label y over class j can be lowered by eps |w_y - w_j|_* at most, | |_* the dual
 * norm (L1 for linf, L2 for L2), so that
 *   - an image can be fooled if and only if some margin_j(x) - eps |w_y - w_j|_* is negative,
 *   - its cross-entropy is at most log(1 + sum_j exp(-(margin_j - eps |w_y - w_j|_*))), with equality for two classes.
 * With the pixel box the linf ball becomes a box of its own around each pixel, whose worst corner is found coordinate
 * by coordinate. */
#include "support.h"

enum { SIDE = 6, ROW = SIDE * SIDE, COUNT = 200, CLASSES_MAX = 5 };

static parry_ctx *ctx;

typedef struct linear {
    parry_model *model;
    parry_dataset *data;
    const float *w, *b;
    int classes;
    float images[COUNT * ROW];
} linear;

static linear *open_linear(int classes)
{
    static linear l;
    l.classes = classes;
    l.model = make_linear(ctx, SIDE, classes, &l.w, &l.b);
    l.data = make_images(ctx, l.model, COUNT);
    assert_int_equal(parry_dataset_images(ctx, l.data, 0, COUNT, l.images), PARRY_OK);
    return &l;
}

static void close_linear(linear *l)
{
    parry_dataset_free(l->data);
    parry_model_free(l->model);
}

/* The smallest margin of image i's label over class j that the threat allows. */
static double worst_margin(const linear *l, const parry_threat *threat, int i, int j)
{
    const int y = parry_dataset_labels(l->data)[i];
    double margin = (double)l->b[y] - l->b[j], l1 = 0, l2 = 0, boxed = 0;
    for (int k = 0; k < ROW; k++) {
        const double d = (double)l->w[y * ROW + k] - l->w[j * ROW + k], x = l->images[i * ROW + k];
        const double lowest = fmax(0, x - threat->eps), highest = fmin(1, x + threat->eps);
        margin += d * x;
        l1 += fabs(d);
        l2 += d * d;
        boxed += fmax(d * (x - lowest), d * (x - highest));
    }
    if (threat->norm == PARRY_L2)
        return margin - threat->eps * sqrt(l2);
    return margin - (threat->clip ? boxed : threat->eps * l1);
}

/* Upper bound of the cross-entropy; *can_fool: whether some margin can turn negative by more than rounding. */
static double worst_loss(const linear *l, const parry_threat *threat, int i, bool *can_fool, bool *undecided)
{
    const int y = parry_dataset_labels(l->data)[i];
    double sum = 0, smallest = INFINITY;
    for (int j = 0; j < l->classes; j++) {
        if (j == y)
            continue;
        const double margin = worst_margin(l, threat, i, j);
        sum += exp(-margin);
        smallest = fmin(smallest, margin);
    }
    *can_fool = smallest < 0;
    *undecided = fabs(smallest) < 1e-4;
    return log1p(sum);
}

static double loss_of(const float *logits, int classes, int y)
{
    double sum = 0;
    for (int j = 0; j < classes; j++)
        sum += j == y ? 0 : exp((double)logits[j] - logits[y]);
    return log1p(sum);
}

/* Two classes: one step along the gradient is the worst there is, and a long walk finds the same. */
static void check_two_classes(const char *spec, parry_threat threat)
{
    linear *l = open_linear(2);
    parry_attack_result r = run_attack(ctx, spec, threat, l->model, l->data);
    int foolable = 0;
    for (int i = 0; i < COUNT; i++) {
        bool can_fool, undecided;
        const double bound = worst_loss(l, &threat, i, &can_fool, &undecided);
        const double loss = loss_of(r.logits + i * 2, 2, parry_dataset_labels(l->data)[i]);
        if (fabs(loss - bound) > 2e-4 * fmax(1, bound))
            fail_msg("%s, norm %d, eps %g, image %d: loss %.6f, the worst possible is %.6f", spec, threat.norm,
                     threat.eps, i, loss, bound);
        if (!undecided)
            assert_int_equal(r.fooled[i], can_fool);
        foolable += can_fool;
    }
    assert_in_range(foolable, COUNT / 4 + 1, COUNT - 1); /* the case is neither trivial nor hopeless */
    parry_attack_result_clear(&r);
    close_linear(l);
}

static void test_two_classes(void **state)
{
    (void)state;
    static const char *const specs[] = {"fgsm", "pgd:steps=12:step=1:stop-when-fooled=false",
                                        "pgd:steps=12:step=1:stop-when-fooled=false:random-start=false"};
    for (size_t i = 0; i < PR_COUNT(specs); i++) {
        check_two_classes(specs[i], (parry_threat){.norm = PARRY_LINF, .eps = 0.07});
        check_two_classes(specs[i], (parry_threat){.norm = PARRY_LINF, .eps = 0.12, .clip = true});
        check_two_classes(specs[i], (parry_threat){.norm = PARRY_L2, .eps = 0.5});
    }
}

/* More classes: nothing exceeds the bound, and most of what can be fooled is (climbing cross-entropy follows the
 * likeliest wrong class, which need not be the one within reach). */
static void check_more_classes(const char *spec, parry_threat threat, double share)
{
    linear *l = open_linear(CLASSES_MAX);
    parry_attack_result r = run_attack(ctx, spec, threat, l->model, l->data);
    int foolable = 0, found = 0;
    for (int i = 0; i < COUNT; i++) {
        bool can_fool, undecided;
        const double bound = worst_loss(l, &threat, i, &can_fool, &undecided);
        const double loss = loss_of(r.logits + i * CLASSES_MAX, CLASSES_MAX, parry_dataset_labels(l->data)[i]);
        assert_true(loss <= bound * (1 + 1e-4) + 1e-4);
        assert_true(can_fool || undecided || !r.fooled[i]);
        foolable += can_fool;
        found += r.fooled[i];
    }
    assert_in_range(foolable, COUNT / 4 + 1, COUNT - 1);
    if (found < share * foolable)
        fail_msg("%s, norm %d: %d of %d images that can be fooled were", spec, threat.norm, found, foolable);
    parry_attack_result_clear(&r);
    close_linear(l);
}

static void test_more_classes(void **state)
{
    (void)state;
    const parry_threat linf = {.norm = PARRY_LINF, .eps = 0.06},
                       boxed = {.norm = PARRY_LINF, .eps = 0.08, .clip = true}, l2 = {.norm = PARRY_L2, .eps = 0.4};
    check_more_classes("fgsm", linf, 0.9);
    check_more_classes("fgsm", l2, 0.9);
    check_more_classes("pgd:steps=30:step=0:restarts=5", linf, 0.9);
    check_more_classes("pgd:steps=30:step=0:restarts=5", boxed, 0.9);
    check_more_classes("pgd:steps=30:step=0:restarts=5", l2, 0.9);
}

/* The smallest eps that fools a linear model of two classes is its margin over the dual norm of w_y - w_j. A step along
 * the gradient finds it, and so does a walk, up to the resolution. */
static void check_smallest_eps(const char *spec, int norm, double most)
{
    linear *l = open_linear(2);
    const parry_threat threat = {.norm = norm, .eps = most}, none = {.norm = norm, .eps = 0},
                       one = {.norm = norm, .eps = 1};
    const parry_eps_search search = {.scan = 10, .resolution = 1e-4};
    parry_attack *attack;
    parry_attack_result r;
    int found = 0, zero = 0;
    assert_int_equal(parry_attack_create(ctx, spec, &attack), PARRY_OK);
    if (parry_attack_minimal_eps(ctx, attack, &threat, &search, l->model, l->data, &r) != PARRY_OK)
        fail_msg("%s", parry_ctx_error(ctx));
    for (int i = 0; i < COUNT; i++) {
        const int other = 1 - parry_dataset_labels(l->data)[i];
        const double margin = worst_margin(l, &none, i, other), lost = margin - worst_margin(l, &one, i, other),
                     expected = margin > 0 ? margin / lost : 0;
        if (expected > most) {
            assert_true(isnan(r.minimal_eps[i]) && r.failed_eps[i] == most && !r.met[i]);
            continue;
        }
        if (!(r.minimal_eps[i] >= expected - 1e-5 && r.minimal_eps[i] <= expected + 1e-4 + 1e-5))
            fail_msg("%s, norm %d, image %d: the smallest eps is %.6f, expected %.6f", spec, norm, i, r.minimal_eps[i],
                     expected);
        assert_true(r.met[i] && (expected == 0 || r.failed_eps[i] <= expected + 1e-5));
        assert_true(r.minimal_eps[i] - r.failed_eps[i] <= 1e-4);
        found++;
        zero += expected == 0;
    }
    assert_in_range(found, COUNT / 2, COUNT - 1); /* some are out of reach */
    assert_in_range(zero, 1, COUNT / 2);
    if (strcmp(spec, "fgsm") == 0)
        assert_int_equal(r.gradient_queries, COUNT - zero);
    parry_attack_result_clear(&r);
    parry_attack_free(attack);
    close_linear(l);
}

static void test_smallest_eps(void **state)
{
    (void)state;
    check_smallest_eps("fgsm", PARRY_LINF, 0.15);
    check_smallest_eps("fgsm", PARRY_L2, 0.8);
    check_smallest_eps("pgd:steps=4:random-start=false", PARRY_LINF, 0.15);
    check_smallest_eps("pgd:steps=4:random-start=false", PARRY_L2, 0.8);
}

/* What is found at one eps is found at every larger one. */
static void test_accuracy_falls_with_eps(void **state)
{
    (void)state;
    linear *l = open_linear(CLASSES_MAX);
    for (int norm = PARRY_LINF; norm <= PARRY_L2; norm++) {
        double last = 1;
        for (double eps = 0; eps <= 1; eps = eps == 0 ? 0.01 : 2 * eps) {
            parry_threat threat = {.norm = norm, .eps = norm == PARRY_L2 ? 6 * eps : eps, .clip = true};
            parry_attack_result r = run_attack(ctx, "pgd:steps=20:step=0", threat, l->model, l->data);
            assert_true(r.robust_acc <= last);
            last = r.robust_acc;
            parry_attack_result_clear(&r);
        }
        assert_true(last == 0);
    }
    close_linear(l);
}

static int setup(void **state)
{
    (void)state;
    ctx = make_ctx(2, 3);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    parry_ctx_free(ctx);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_two_classes),
        cmocka_unit_test(test_more_classes),
        cmocka_unit_test(test_smallest_eps),
        cmocka_unit_test(test_accuracy_falls_with_eps),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
