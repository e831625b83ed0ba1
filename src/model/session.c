/* Sessions: what is the same for every kind of model: counting queries, refusing numbers that are not finite, losses.
 */
#include "model/kind.h"
#include "tensor/tensor.h"

parry_status pr_session_create(parry_ctx *ctx, const parry_model *model, bool gradients, parry_precision precision,
                               int64_t images, pr_session **out)
{
    *out = NULL;
    return model->vtable->session_create(ctx, model, gradients, precision, images, out);
}

void pr_session_free(pr_session *session)
{
    if (session)
        session->model->vtable->session_free(session);
}

int64_t pr_session_forward_queries(const pr_session *session)
{
    return session->forward_queries;
}

int64_t pr_session_gradient_queries(const pr_session *session)
{
    return session->gradient_queries;
}

/* An attack that climbs a gradient of NaNs goes nowhere and would call the model robust. */
static parry_status check_finite(parry_ctx *ctx, const parry_model *model, const char *what, const float *values,
                                 int64_t count)
{
    if (pr_all_finite(values, count))
        return PARRY_OK;
    return pr_fail(ctx, PARRY_NUMERIC, "%s: %s that is not finite came out of the model", model->info.name, what);
}

parry_status pr_session_logits(parry_ctx *ctx, pr_session *session, const float *x, int64_t n, float *logits)
{
    const parry_model *model = session->model;
    session->forward_queries += n;
    TRY(model->vtable->logits(ctx, session, x, n, logits));
    return check_finite(ctx, model, "a logit", logits, n * model->info.classes);
}

/* Checks each micro-batch's logits on the way to the caller's cotangents. */
typedef struct checked {
    void (*cotangent)(void *arg, int which, int64_t first, int64_t n, const float *logits, float *dlogits);
    void *arg;
    int classes;
    bool finite;
} checked;

static void checked_cotangent(void *arg, int which, int64_t first, int64_t n, const float *logits, float *dlogits)
{
    checked *check = arg;
    if (which == 0)
        check->finite &= pr_all_finite(logits, n * check->classes);
    check->cotangent(check->arg, which, first, n, logits, dlogits);
}

parry_status pr_session_vjp(parry_ctx *ctx, pr_session *session, const float *x, int64_t n, int cotangents,
                            void (*cotangent)(void *arg, int which, int64_t first, int64_t n, const float *logits,
                                              float *dlogits),
                            void *arg, float *logits, float *const *grads)
{
    const parry_model *model = session->model;
    checked check = {cotangent, arg, model->info.classes, true};
    session->forward_queries += n;
    session->gradient_queries += n * cotangents;
    TRY(model->vtable->vjp(ctx, session, x, n, cotangents, checked_cotangent, &check, logits, grads));
    if (!check.finite)
        return pr_fail(ctx, PARRY_NUMERIC, "%s: a logit that is not finite came out of the model", model->info.name);
    for (int which = 0; which < cotangents; which++)
        TRY(check_finite(ctx, model, "a gradient", grads[which], n * pr_model_row(model)));
    return PARRY_OK;
}

typedef struct loss_call {
    const pr_loss *loss;
    const int32_t *labels;
    int classes;
    float *out;
} loss_call;

static void loss_cotangent(void *arg, int which, int64_t first, int64_t n, const float *logits, float *dlogits)
{
    const loss_call *call = arg;
    (void)which;
    call->loss->rows(NULL, n, call->classes, logits, call->labels + first, call->out ? call->out + first : NULL,
                     dlogits);
}

parry_status pr_session_loss_grad(parry_ctx *ctx, pr_session *session, const pr_loss *loss, const float *x,
                                  const int32_t *labels, int64_t n, float *logits, float *loss_out, float *grad)
{
    loss_call call = {loss, labels, session->model->info.classes, loss_out};
    return pr_session_vjp(ctx, session, x, n, 1, loss_cotangent, &call, logits, &grad);
}
