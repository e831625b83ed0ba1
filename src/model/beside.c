/* The small JSON file beside a model: what it says of preprocessing, and the accuracy that it claims.
 *
 * Two ways of speaking are understood. Ours: the object of preprocess.c, as the whole file (MODEL.preprocess.json) or
 * under "preprocess". And that of model cards: "preprocessing" with channel_order, mean, std, and decode ("...
 * 0..255"), resize
 * ("shorter side to 256 px, bilinear ...") and crop ("centre 224x224") in words; "input" with range, layout, shape
 * (["N", 3, 224, 224]) and channel_order. Words that are not understood are an error, not a guess. Other JSON beside a
 * model (results of a command, say) is not looked at.
 *
 * Claims: every number of "clean_test_accuracy", and every "top1" of the objects under "verified". */
#include <stdio.h>
#include <string.h>

#include <parry/image.h>

#include "base/file.h"
#include "base/json.h"
#include "model/preprocess.h"

enum { CARD_LIMIT = 16 << 20 };

/* ---- model cards ------------------------------------------------------------------------------------------------ */

/* The keys of `from` that the object of preprocess.c has as well. */
static json_t *common_keys(const json_t *from, const char *const *keys, size_t count)
{
    json_t *object = json_object();
    for (size_t i = 0; i < count; i++)
        if (json_object_get(from, keys[i]))
            json_object_set(object, keys[i], json_object_get(from, keys[i]));
    const char *layout = json_string_value(json_object_get(object, "layout"));
    if (layout &&
        strlen(layout) != 4) /* "HW", "N": of an input that is no image with channels; its shape says as much */
        json_object_del(object, "layout");
    return object;
}

static parry_status read_common(parry_ctx *ctx, const char *path, const json_t *from, const char *const *keys,
                                size_t count, parry_preprocess *out)
{
    parry_preprocess part;
    json_t *object = common_keys(from, keys, count);
    parry_status status = pr_preprocess_read(ctx, path, object, &part);
    json_decref(object);
    TRY(status);
    pr_preprocess_merge(out, &part);
    return PARRY_OK;
}

/* "8-bit RGB, values 0..255": the units of mean and std. */
static parry_status read_decode(parry_ctx *ctx, const char *path, const char *words, parry_preprocess *out)
{
    if (!words)
        return PARRY_OK;
    const char *values = strstr(words, "values ");
    int low, high;
    if (!values || sscanf(values, "values %d..%d", &low, &high) != 2)
        return pr_fail(ctx, PARRY_FORMAT, "%s: \"decode\": \"%s\" is not understood; expected \"... values 0..255\"",
                       path, words);
    out->range = (parry_floats){2, {low, high}};
    return PARRY_OK;
}

static parry_status read_resize(parry_ctx *ctx, const char *path, const char *words, parry_preprocess *out)
{
    int size;
    if (!words)
        return PARRY_OK;
    if (sscanf(words, "shorter side to %d px", &size) != 1 || size < 1 || !strstr(words, "bilinear"))
        return pr_fail(ctx, PARRY_FORMAT,
                       "%s: \"resize\": \"%s\" is not understood; expected \"shorter side to N px, bilinear\"", path,
                       words);
    out->resize = PARRY_RESIZE_CROP_ROUND; /* the predictions that come with such cards were made so */
    out->resize_size = size;
    return PARRY_OK;
}

/* The sizes of the images among those of the input's shape. */
static void read_shape(const json_t *shape, parry_preprocess *out)
{
    const size_t first = out->layout == PARRY_LAYOUT_NHWC ? 1 : 2;
    const json_int_t height = json_integer_value(json_array_get(shape, first)),
                     width = json_integer_value(json_array_get(shape, first + 1));
    if (json_array_size(shape) == 4 && out->layout && height > 0 && height <= PR_SIDE_MAX && width > 0 &&
        width <= PR_SIDE_MAX)
        out->input_size = (parry_size){(int)height, (int)width};
}

static parry_status read_card(parry_ctx *ctx, const char *path, const json_t *card, parry_preprocess *out)
{
    static const char *const input_keys[] = {"range", "layout", "channel_order"}, *const keys[] = {"channel_order",
                                                                                                   "mean", "std"};
    const json_t *input = json_object_get(card, "input"), *pre = json_object_get(card, "preprocessing");
    if (json_is_object(input))
        TRY(read_common(ctx, path, input, input_keys, PR_COUNT(input_keys), out));
    read_shape(json_object_get(input, "shape"), out);
    if (!json_is_object(pre))
        return PARRY_OK;
    TRY(read_common(ctx, path, pre, keys, PR_COUNT(keys), out));
    TRY(read_decode(ctx, path, json_string_value(json_object_get(pre, "decode")), out));
    return read_resize(ctx, path, json_string_value(json_object_get(pre, "resize")), out);
}

/* ---- claims ----------------------------------------------------------------------------------------------------- */

static void claim(const json_t *value, pr_claims *out)
{
    const double fraction = json_number_value(value);
    if (!json_is_number(value) || fraction <= 0 || fraction > 1)
        return;
    out->least = out->count ? PR_MIN(out->least, fraction) : fraction;
    out->count++;
}

static void read_claims(const json_t *card, pr_claims *out)
{
    const char *key;
    json_t *value;
    json_object_foreach(json_object_get(card, "clean_test_accuracy"), key, value) claim(value, out);
    json_object_foreach(json_object_get(card, "verified"), key, value) claim(json_object_get(value, "top1"), out);
}

/* ---- files ------------------------------------------------------------------------------------------------------ */

static bool is_ours(const json_t *json)
{
    static const char *const keys[] = {"range",  "mean",       "std",    "channel_order",
                                       "layout", "input_size", "resize", "resize_size"};
    for (size_t i = 0; i < PR_COUNT(keys); i++)
        if (json_object_get(json, keys[i]))
            return true;
    return false;
}

static parry_status read_value(parry_ctx *ctx, const char *path, const json_t *json, parry_preprocess *out,
                               pr_claims *claims, bool *found)
{
    const json_t *part = json_object_get(json, "preprocess");
    read_claims(json, claims);
    *found = true;
    if (part || is_ours(json))
        return pr_preprocess_read(ctx, path, part ? part : json, out);
    *found = json_is_object(json_object_get(json, "preprocessing")) || json_is_object(json_object_get(json, "input"));
    return *found ? read_card(ctx, path, json, out) : PARRY_OK;
}

parry_status pr_preprocess_file(parry_ctx *ctx, const char *path, parry_preprocess *out, pr_claims *claims, bool *found)
{
    uint8_t *text;
    size_t size;
    json_t *json;
    *out = (parry_preprocess){0};
    *claims = (pr_claims){0};
    *found = false;
    TRY(pr_file_read(ctx, path, CARD_LIMIT, &text, &size));
    parry_status status = pr_json_parse(ctx, path, (const char *)text, &json);
    pr_free(text);
    TRY(status);
    status = read_value(ctx, path, json, out, claims, found);
    json_decref(json);
    return status;
}

parry_status pr_preprocess_beside(parry_ctx *ctx, const char *model_path, parry_preprocess *out, pr_claims *claims,
                                  char **found)
{
    static const char *const endings[] = {".preprocess.json", ".json"};
    const char *dot = strrchr(pr_path_base(model_path), '.');
    const int stem = dot && strcmp(dot, ".onnx") == 0 ? (int)(dot - model_path) : (int)strlen(model_path);
    *out = (parry_preprocess){0};
    *claims = (pr_claims){0};
    *found = NULL;
    for (size_t i = 0; i < PR_COUNT(endings); i++) {
        char *path;
        bool speaks = false;
        TRY(pr_asprintf(ctx, &path, "%.*s%s", stem, model_path, endings[i]));
        parry_status status = pr_file_exists(path) ? pr_preprocess_file(ctx, path, out, claims, &speaks) : PARRY_OK;
        if (status == PARRY_OK && speaks) {
            *found = path;
            return PARRY_OK;
        }
        pr_free(path);
        TRY(status);
    }
    return PARRY_OK;
}
