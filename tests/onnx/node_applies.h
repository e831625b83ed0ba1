/* Which of ONNX' node tests apply to parry: by opset, operators, number of axes and data types. */
#ifndef TEST_NODE_APPLIES_H
#define TEST_NODE_APPLIES_H

#include <stdio.h>
#include <string.h>

#include "onnx/onnx.h"

enum { REASON = 1024 };
enum {
    TYPE_FLOAT = 1,
    TYPE_UINT8 = 2,
    TYPE_INT8 = 3,
    TYPE_INT32 = 6,
    TYPE_INT64 = 7,
    TYPE_STRING = 8,
    TYPE_BOOL = 9,
    TYPE_DOUBLE = 11
};

/* Operators that parry reads, as README and --help state them. */
static const char supported[] =
    " Conv ConvTranspose Gemm MatMul BatchNormalization InstanceNormalization LayerNormalization GroupNormalization LRN"
    " Relu LeakyRelu PRelu Elu Selu Celu Sigmoid HardSigmoid HardSwish Tanh Softplus Softsign Gelu Erf Mish Clip "
    "Softmax"
    " LogSoftmax MaxPool AveragePool GlobalAveragePool GlobalMaxPool LpPool Add Sub Mul Div Neg Abs Exp Log Sqrt Pow"
    " Reciprocal Min Max Sum Mean ReduceMean ReduceSum ReduceMax ReduceMin ReduceL2 ArgMax Concat Split Slice Gather"
    " Reshape Flatten Squeeze Unsqueeze Expand Transpose Pad Resize Upsample Identity Dropout Cast Constant"
    " ConstantOfShape Shape Where Tile Equal Range Sign Floor ReduceProd DepthToSpace SpaceToDepth Einsum "
    "QuantizeLinear"
    " DequantizeLinear Greater GreaterOrEqual Less LessOrEqual Not And Or Ceil Round ReduceSumSquare ThresholdedRelu ";

/* Tests that do not apply, by a part of their name. */
static const struct {
    const char *part, *reason;
} excluded[] = {
    {"training_dropout", "random: dropout in training"},
    {"empty_set", "empty tensors"},
    {"batchnorm_epsilon_training_mode", "training form of batch norm"},
    {"batchnorm_example_training_mode", "training form of batch norm"},
    {"averagepool_3d_dilations_large_count_include_pad_is_1_ceil_mode_is_True",
     "disputed output: ONNX' reference and onnxruntime now compute what parry does"},
    {"_3d_", "three spatial dimensions"},
};

static bool is_supported(const char *operators, char missing[64])
{
    char list[REASON];
    snprintf(list, sizeof list, "%s", operators);
    for (char *save, *type = strtok_r(list, " ", &save); type; type = strtok_r(NULL, " ", &save)) {
        char word[66];
        snprintf(word, sizeof word, " %.60s ", type);
        snprintf(missing, 64, "%.60s", type);
        if (!strstr(supported, word))
            return false;
    }
    return true;
}

static bool has_operator(const pr_onnx_outline *o, const char *type)
{
    return strncmp(o->operators, type, strlen(type)) == 0;
}

static bool only_of_images(const pr_onnx_outline *o)
{
    static const char *const types[] = {"Conv", "BatchNorm", "InstanceNorm"};
    for (size_t i = 0; i < PR_COUNT(types); i++)
        if (has_operator(o, types[i]))
            return true;
    return false;
}

/* Tests whose second output, the mask or the indices, is none of a classifier's: the first has to be right beside it.
 */
static bool only_first_output(const char *name)
{
    return strstr(name, "dropout_default_mask") || strstr(name, "maxpool_with_argmax");
}

/* Why the test does not apply; "": it does. */
static void classify(const pr_onnx_outline *o, const char *name, char reason[REASON])
{
    char missing[64];
    *reason = '\0';
    if (o->opset < 7 || o->opset > 21) {
        snprintf(reason, REASON, "opset %lld", (long long)o->opset);
        return;
    }
    if (!is_supported(o->operators, missing)) {
        snprintf(reason, REASON, "operator %s", missing);
        return;
    }
    for (size_t i = 0; i < PR_COUNT(excluded); i++)
        if (strstr(name, excluded[i].part) && (strcmp(excluded[i].part, "_3d_") != 0 || only_of_images(o))) {
            snprintf(reason, REASON, "%s", excluded[i].reason);
            return;
        }
    if (o->inputs && o->input[0].rank > 4 && only_of_images(o)) {
        snprintf(reason, REASON, "three spatial dimensions");
        return;
    }
    bool quantised = strstr(o->operators, "QuantizeLinear") || strstr(o->operators, "DequantizeLinear");
    for (size_t i = 0; i < o->inputs + o->outputs; i++) {
        int type = i < o->inputs ? o->input[i].type : o->output[i - o->inputs].type;
        if (i > o->inputs && only_first_output(name))
            break;
        bool fits = type == TYPE_FLOAT || type == TYPE_DOUBLE || type == TYPE_INT64 || type == TYPE_BOOL ||
                    type == TYPE_INT32 || (quantised && (type == TYPE_UINT8 || type == TYPE_INT8));
        if (!fits) {
            snprintf(reason, REASON, "data type %d", type);
            return;
        }
    }
}

#endif
