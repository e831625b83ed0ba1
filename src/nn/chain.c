/* Layers for builders. */
#include <stdarg.h>
#include <stdio.h>

#include "nn/chain.h"

enum { CLASSES_MAX = 1 << 20, NAME_SIZE = 128 };

const char *const pr_torch_norm_parts[4] = {"weight", "bias", "running_mean", "running_var"};

parry_status pr_chain_begin(pr_chain *chain, const pr_image_limits *limits, int channels, int height, int width,
                            int classes)
{
    if ((channels != 1 && channels != 3) || PR_MIN(height, width) < limits->side_min ||
        PR_MAX(height, width) > limits->side_max)
        return pr_fail(chain->ctx, PARRY_INVALID,
                       "%s takes images of 1 or 3 channels, %d to %d pixels high and wide, not %d x %d x %d",
                       limits->name, limits->side_min, limits->side_max, channels, height, width);
    if (classes < 2 || classes > CLASSES_MAX)
        return pr_fail(chain->ctx, PARRY_INVALID, "%s takes 2 to %d classes, not %d", limits->name, CLASSES_MAX,
                       classes);
    TRY(pr_graph_input(chain->ctx, chain->graph, "image",
                       pr_dims_make(4, (int64_t[]){PR_BATCH, channels, height, width}), &chain->graph->input));
    chain->at = chain->graph->input;
    return PARRY_OK;
}

parry_status pr_chain_scope(pr_chain *chain, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    const int length = vsnprintf(chain->scope, sizeof chain->scope, format, args);
    va_end(args);
    return length < PR_SCOPE_MAX ? PARRY_OK : pr_fail(chain->ctx, PARRY_INVALID, "the scope '%s' is cut", chain->scope);
}

/* The layer's whole name, with `part` behind a dot. */
static parry_status full_name(const pr_chain *chain, const char *layer, const char *part, char name[NAME_SIZE])
{
    const int length = snprintf(name, NAME_SIZE, "%s%s%s%s", chain->scope, layer, part ? "." : "", part ? part : "");
    return length < NAME_SIZE ? PARRY_OK : pr_fail(chain->ctx, PARRY_INVALID, "the name '%s' is cut", name);
}

/* The weight "scope layer.part". */
static parry_status add_weight(pr_chain *chain, const char *layer, const char *part, pr_weight_role role, int rank,
                               const int64_t *dim, pr_value *out)
{
    char name[NAME_SIZE];
    int32_t index;
    TRY(full_name(chain, layer, part, name));
    TRY(pr_weights_add(chain->ctx, chain->weights, name, role, rank, dim, &index));
    return pr_graph_weight(chain->ctx, chain->graph, chain->weights, index, out);
}

parry_status pr_chain_node(pr_chain *chain, pr_op op, const char *name, const pr_attrs *attrs, const pr_value *params,
                           int param_count)
{
    pr_value in[PR_NODE_IN] = {chain->at};
    char full[NAME_SIZE];
    for (int i = 0; i < param_count; i++)
        in[1 + i] = params[i];
    TRY(full_name(chain, name, NULL, full));
    return pr_graph_node(chain->ctx, chain->graph, op, full, attrs, in, 1 + param_count, &chain->at);
}

int64_t pr_chain_channels(const pr_chain *chain)
{
    return chain->graph->values[chain->at].dims.dim[1];
}

parry_status pr_chain_conv(pr_chain *chain, const char *name, int64_t filters, const pr_attrs *attrs, bool bias)
{
    pr_value params[2];
    const int64_t kernel[] = {filters, pr_chain_channels(chain) / attrs->conv.group, attrs->conv.kernel[0],
                              attrs->conv.kernel[1]};
    TRY(add_weight(chain, name, "weight", PR_WEIGHT_KERNEL, 4, kernel, &params[0]));
    if (bias)
        TRY(add_weight(chain, name, "bias", PR_WEIGHT_VECTOR, 1, &filters, &params[1]));
    return pr_chain_node(chain, PR_OP_CONV, name, attrs, params, 1 + bias);
}

parry_status pr_chain_dense(pr_chain *chain, const char *name, int64_t units)
{
    pr_value params[2];
    const int64_t kernel[] = {units, pr_chain_channels(chain)};
    TRY(add_weight(chain, name, "weight", PR_WEIGHT_KERNEL, 2, kernel, &params[0]));
    TRY(add_weight(chain, name, "bias", PR_WEIGHT_VECTOR, 1, &units, &params[1]));
    return pr_chain_node(chain, PR_OP_GEMM, name, NULL, params, 2);
}

parry_status pr_chain_relu(pr_chain *chain, const char *name)
{
    return pr_chain_node(chain, PR_OP_RELU, name, NULL, NULL, 0);
}

parry_status pr_chain_flatten(pr_chain *chain, const char *name)
{
    const pr_dims dims = chain->graph->values[chain->at].dims;
    const pr_attrs attrs = {.shape = {.to = {.rank = 2, .dim = {PR_BATCH, pr_dims_row(dims)}}}};
    return pr_chain_node(chain, PR_OP_RESHAPE, name, &attrs, NULL, 0);
}

parry_status pr_chain_batch_norm(pr_chain *chain, const char *name, const char *const parts[4], float eps,
                                 float momentum)
{
    const int64_t channels = pr_chain_channels(chain);
    const pr_attrs attrs = {.bn = {.eps = eps, .momentum = momentum}};
    pr_value params[4];
    for (int i = 0; i < 4; i++)
        TRY(add_weight(chain, name, parts[i], i < 2 ? PR_WEIGHT_VECTOR : PR_WEIGHT_STATISTIC, 1, &channels,
                       &params[i]));
    return pr_chain_node(chain, PR_OP_BATCH_NORM, name, &attrs, params, 4);
}

parry_status pr_chain_average(pr_chain *chain)
{
    chain->scope[0] = '\0';
    TRY(pr_chain_node(chain, PR_OP_GLOBAL_AVERAGE_POOL, "avgpool", NULL, NULL, 0));
    return pr_chain_flatten(chain, "flatten");
}

parry_status pr_chain_end(pr_chain *chain, float dropout, const char *name, int classes)
{
    const pr_attrs attrs = {.dropout = {.ratio = dropout, .stream = 0}};
    if (dropout > 0)
        TRY(pr_chain_node(chain, PR_OP_DROPOUT, "dropout", &attrs, NULL, 0));
    TRY(pr_chain_dense(chain, name, classes));
    chain->graph->logits = chain->at;
    return PARRY_OK;
}

pr_attrs pr_torch_conv(int kernel_h, int kernel_w, int stride, int pad_h, int pad_w)
{
    return (pr_attrs){.conv = {.group = 1,
                               .stride = {stride, stride},
                               .dilation = {1, 1},
                               .pad = {pad_h, pad_w, pad_h, pad_w},
                               .kernel = {kernel_h, kernel_w}}};
}

pr_attrs pr_torch_pool(int kernel, int stride, int pad)
{
    return (pr_attrs){
        .pool = {
            .kernel = {kernel, kernel}, .stride = {stride, stride}, .dilation = {1, 1}, .pad = {pad, pad, pad, pad}}};
}
