/* What every attack of the registry owes, under every norm it serves, on every model here. */
#include "support.h"

enum { SIDE = 4, ROW = SIDE * SIDE, COUNT = 50 };

typedef struct subject {
    parry_ctx *ctx;
    parry_model *model;
    parry_dataset *data;
    const char *model_name;
    const pr_attack_impl *attack;
    parry_threat threat;
    parry_criterion *criterion; /* the threat's */
} subject;

static parry_model *make_model(parry_ctx *ctx, const char *name)
{
    parry_model *model;
    if (strcmp(name, "linear-2") == 0)
        return make_linear(ctx, SIDE, 2, NULL, NULL);
    if (strcmp(name, "linear-5") == 0)
        return make_linear(ctx, SIDE, 5, NULL, NULL);
    assert_int_equal(parry_model_build(ctx, name, 1, SIDE, SIDE, 4, &model), PARRY_OK);
    return model;
}

/* What the adversary wants, and on which pixels. */
typedef struct wish {
    const char *criterion, *target;
    bool quantize;
} wish;
static const wish wishes[] = {
    {NULL, NULL, false},
    {NULL, "next", false},
    {"confident:0.6", NULL, false},
    {"or(targeted::0.55, and(targeted, topk:1, not(confident:0.9)))", "random", false},
    {NULL, NULL, true},
    {"and(targeted, below:0.45)", "least-likely", true},
};

static void set_threat(subject *s, int variant, const wish *what)
{
    s->threat = (parry_threat){.norm = variant & 1,
                               .clip = (variant & 2) || what->quantize,
                               .loss = variant >> 2,
                               .criterion = what->criterion,
                               .target = what->target,
                               .quantize = what->quantize};
    s->threat.eps = s->threat.norm == PARRY_L2 ? 0.9 : 0.1;
    const char *text = what->criterion ? what->criterion : what->target ? "targeted" : "misclassified";
    if (parry_criterion_create(s->ctx, text, s->model, &s->criterion) != PARRY_OK)
        fail_msg("%s", parry_ctx_error(s->ctx));
}

/* Calls `check` for each combination, with a context of `threads` threads. */
static void for_each(int threads, uint64_t seed, void (*check)(const subject *s, void *arg, int number), void *arg)
{
    static const char *const models[] = {"linear-2", "linear-5", "simplecnn"};
    int number = 0;
    for (size_t m = 0; m < PR_COUNT(models); m++) {
        subject s = {.ctx = make_ctx(threads, seed), .model_name = models[m]};
        s.model = make_model(s.ctx, models[m]);
        s.data = make_images(s.ctx, s.model, COUNT);
        for (size_t a = 0; (s.attack = pr_attack_impl_at(a)); a++)
            for (int variant = 0; variant < 8 * (int)PR_COUNT(wishes); variant++) {
                set_threat(&s, variant % 8, &wishes[variant / 8]);
                if (s.attack->info.norms & PARRY_NORM_BIT(s.threat.norm))
                    check(&s, arg, number);
                parry_criterion_free(s.criterion);
                number++;
            }
        parry_dataset_free(s.data);
        parry_model_free(s.model);
        parry_ctx_free(s.ctx);
    }
}

/* The attack at little strength: these properties hold at any, and the network is evaluated in plain C where it has to
 * be. */
static const char *spec_of(const pr_attack_impl *attack, char text[64])
{
    snprintf(text, 64, parry_options_find(attack->info.options, "steps") ? "%s:steps=6:step=0" : "%s",
             attack->info.name);
    return text;
}

static parry_attack_result attack_of(const subject *s, parry_threat threat)
{
    char spec[64];
    return run_attack(s->ctx, spec_of(s->attack, spec), threat, s->model, s->data);
}

static const char *or_none(const char *text)
{
    return text ? text : "none";
}

#define assert_holds(s, condition)                                                                                     \
    do {                                                                                                               \
        if (!(condition))                                                                                              \
            fail_msg("%s on %s, norm %d, clip %d, loss %d, criterion %s, target %s, quantize %d: %s",                  \
                     (s)->attack->info.name, (s)->model_name, (s)->threat.norm, (s)->threat.clip, (s)->threat.loss,    \
                     or_none((s)->threat.criterion), or_none((s)->threat.target), (s)->threat.quantize, #condition);   \
    } while (0)

/* ---- inside, and reported as it is ------------------------------------------------------------------------------- */

/* The images as they are attacked: on the 8-bit grid if the threat asks for that. */
static void read_images(const subject *s, float images[COUNT * ROW])
{
    assert_int_equal(parry_dataset_images(s->ctx, s->data, 0, COUNT, images), PARRY_OK);
    for (int k = 0; s->threat.quantize && k < COUNT * ROW; k++)
        images[k] = (float)lrint(255.0 * images[k]) / 255.0f;
}

/* The size of a perturbation; on the grid every pixel is k / 255 and differences are counted in whole levels. */
static double size_of(const subject *s, const float *image, const float *adversary)
{
    double square = 0, linf = 0;
    for (int k = 0; k < ROW; k++) {
        double d = (double)adversary[k] - image[k];
        assert_holds(s, !s->threat.clip || (adversary[k] >= 0 && adversary[k] <= 1));
        if (s->threat.quantize) {
            assert_holds(s, adversary[k] == (float)lrint(255.0 * adversary[k]) / 255.0f);
            d = (double)(lrint(255.0 * adversary[k]) - lrint(255.0 * image[k]));
        }
        square += d * d;
        linf = fmax(linf, fabs(d));
    }
    return (s->threat.norm == PARRY_L2 ? sqrt(square) : linf) / (s->threat.quantize ? 255 : 1);
}

static void check_judgement(const subject *s, const parry_attack_result *r, const float *logits)
{
    const int classes = parry_model_describe(s->model)->classes;
    int robust = 0, met = 0;
    for (int i = 0; i < COUNT; i++) {
        const bool right = pr_argmax(logits + i * classes, classes) == parry_dataset_labels(s->data)[i];
        const bool meets =
            parry_criterion_met(s->criterion, logits + i * classes, classes, r->labels[i], r->targets[i]);
        assert_holds(s, r->fooled[i] == !right && r->met[i] == meets);
        assert_holds(s, r->labels[i] == parry_dataset_labels(s->data)[i]);
        assert_holds(s, (r->targets[i] >= 0) == (s->threat.target != NULL) && r->targets[i] < classes);
        robust += right;
        met += meets;
    }
    assert_holds(s, r->robust_acc == robust / (double)COUNT && r->count == COUNT && r->unlabelled == 0);
    assert_holds(s, r->success_rate == met / (double)COUNT);
    if (!s->threat.criterion && !s->threat.target)
        assert_holds(s, met + robust == COUNT);
    if (!s->threat.criterion) /* a finer one may be out of reach, and a single step may overshoot it */
        assert_holds(s, r->success_rate > r->clean_met);
}

static void check_result(const subject *s, void *arg, int number)
{
    (void)arg;
    (void)number;
    static float images[COUNT * ROW], logits[COUNT * 8];
    const int classes = parry_model_describe(s->model)->classes;
    parry_attack_result r = attack_of(s, s->threat);
    double largest = 0, sum = 0;
    read_images(s, images);
    assert_holds(s, memcmp(images, r.originals, sizeof images) == 0);
    assert_int_equal(parry_model_logits(s->ctx, s->model, r.adversaries, COUNT, logits), PARRY_OK);
    for (int i = 0; i < COUNT; i++) {
        const double size = size_of(s, images + i * ROW, r.adversaries + i * ROW);
        assert_holds(s, size <= s->threat.eps);
        largest = fmax(largest, size);
        sum += size;
    }
    check_judgement(s, &r, logits);
    assert_holds(s, memcmp(logits, r.logits, (size_t)(COUNT * classes) * sizeof *logits) == 0);
    assert_holds(s, fabs(r.max_norm - largest) < 1e-7 && fabs(r.mean_norm - sum / COUNT) < 1e-6);
    if (!s->threat.quantize)
        assert_holds(s, fabs(r.clean_acc - 38.0 / COUNT) < 1e-9); /* every fourth label is wrong on purpose */
    if (!s->threat.target)
        assert_holds(s, r.robust_acc < r.clean_acc);
    assert_holds(s, r.forward_queries >= COUNT && r.gradient_queries >= 1);
    parry_attack_result_clear(&r);
}

static void test_results_are_inside_and_exact(void **state)
{
    (void)state;
    for_each(2, 1, check_result, NULL);
}

static void check_identity(const subject *s, void *arg, int number)
{
    (void)arg;
    (void)number;
    static float images[COUNT * ROW];
    parry_threat still = s->threat;
    still.eps = 0;
    parry_attack_result r = attack_of(s, still);
    read_images(s, images);
    assert_holds(s, memcmp(images, r.adversaries, sizeof images) == 0);
    assert_holds(s, r.max_norm == 0 && r.clean_acc == r.robust_acc);
    parry_attack_result_clear(&r);
}

static void test_eps_zero_is_the_identity(void **state)
{
    (void)state;
    for_each(2, 1, check_identity, NULL);
}

/* ---- keeps_best ------------------------------------------------------------------------------------------------- */

/* The loss that is climbed: of the label, or minus that of the target. */
static void climbed(const subject *s, const parry_attack_result *r, const float *logits, float loss[COUNT])
{
    const int32_t *goal = s->threat.target ? r->targets : r->labels;
    pr_loss_at((size_t)s->threat.loss)
        ->rows(NULL, COUNT, parry_model_describe(s->model)->classes, logits, goal, loss, NULL);
    for (int i = 0; i < COUNT && s->threat.target; i++)
        loss[i] = -loss[i];
}

static void check_keeps_best(const subject *s, void *arg, int number)
{
    (void)arg;
    (void)number;
    if (!s->attack->keeps_best)
        return;
    float before[COUNT], after[COUNT];
    const int classes = parry_model_describe(s->model)->classes;
    parry_attack_result r = attack_of(s, s->threat);
    climbed(s, &r, r.clean_logits, before);
    climbed(s, &r, r.logits, after);
    for (int i = 0; i < COUNT; i++) {
        const bool was =
            parry_criterion_met(s->criterion, r.clean_logits + i * classes, classes, r.labels[i], r.targets[i]);
        assert_holds(s, r.met[i] || !was);
        assert_holds(s, after[i] >= before[i] - 1e-5f || r.met[i] > was);
    }
    parry_attack_result_clear(&r);
}

static void test_never_less_than_the_clean_image(void **state)
{
    (void)state;
    for_each(2, 1, check_keeps_best, NULL);
}

/* ---- determinism ------------------------------------------------------------------------------------------------ */

enum { COMBINATIONS = 512 };

static void keep_or_compare(const subject *s, void *arg, int number)
{
    parry_attack_result *kept = (parry_attack_result *)arg + number;
    parry_attack_result r = attack_of(s, s->threat);
    assert_true(number < COMBINATIONS);
    if (!kept->adversaries) {
        *kept = r;
        return;
    }
    assert_holds(s, memcmp(kept->adversaries, r.adversaries, COUNT * ROW * sizeof(float)) == 0);
    assert_holds(s, kept->forward_queries == r.forward_queries && kept->gradient_queries == r.gradient_queries);
    assert_holds(s, kept->adv_loss == r.adv_loss && kept->mean_norm == r.mean_norm);
    parry_attack_result_clear(&r);
}

static void test_threads_change_nothing(void **state)
{
    (void)state;
    static parry_attack_result kept[COMBINATIONS];
    for (int threads = 1; threads <= 3; threads++)
        for_each(threads, 1, keep_or_compare, kept);
    for (int i = 0; i < COMBINATIONS; i++)
        parry_attack_result_clear(&kept[i]);
}

/* Rows in another order, keyed by the same indices, and a part of them alone. */
static void check_permutation(const subject *s, void *arg, int number)
{
    (void)arg;
    (void)number;
    static float images[COUNT * ROW], shuffled[COUNT * ROW], adv[COUNT * ROW];
    int32_t labels[COUNT];
    int64_t index[COUNT];
    char spec[64];
    parry_attack *attack;
    parry_attack_result r = attack_of(s, s->threat);
    assert_int_equal(parry_dataset_images(s->ctx, s->data, 0, COUNT, images), PARRY_OK);
    for (int i = 0; i < COUNT; i++) {
        index[i] = (i * 37 + 11) % COUNT;
        labels[i] = parry_dataset_labels(s->data)[index[i]];
        memcpy(shuffled + i * ROW, images + index[i] * ROW, ROW * sizeof(float));
    }
    assert_int_equal(parry_attack_create(s->ctx, spec_of(s->attack, spec), &attack), PARRY_OK);
    for (int n = COUNT; n > 0; n /= 3) {
        pr_attack_request request = {
            .attack = attack,
            .threat = &s->threat,
            .model = s->model,
            .x = shuffled,
            .labels = labels,
            .index = index,
            .n = n,
            .seed = parry_ctx_seed(s->ctx),
            .adv = adv,
        };
        assert_int_equal(pr_attack_rows(s->ctx, &request), PARRY_OK);
        for (int i = 0; i < n; i++)
            assert_holds(s, memcmp(adv + i * ROW, r.adversaries + index[i] * ROW, ROW * sizeof(float)) == 0);
    }
    parry_attack_free(attack);
    parry_attack_result_clear(&r);
}

static void test_order_and_company_change_nothing(void **state)
{
    (void)state;
    for_each(2, 1, check_permutation, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_results_are_inside_and_exact),     cmocka_unit_test(test_eps_zero_is_the_identity),
        cmocka_unit_test(test_never_less_than_the_clean_image),  cmocka_unit_test(test_threads_change_nothing),
        cmocka_unit_test(test_order_and_company_change_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
