/* Declarations of preprocessing: the option table, presets, JSON objects, merging.
 *
 * An object has these keys, all optional, and no others, since ignoring one would attack another model than the file's:
 *   range          [low, high] or high alone
 *   mean, std      a number, or one per channel in the network's channel order, in the units of the range
 *   channel_order  "RGB" or "BGR"
 *   layout         "NCHW" or "NHWC"
 *   input_size     [height, width] in pixels, or one number for both, of a network whose file leaves them open
 *   resize         "none", "crop", "squash", "squash-nearest", "crop-round"
 *   resize_size    pixels of the shorter side before the cut */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include <parry/image.h>
#include <parry/model.h>

#include "base/json.h"
#include "base/opt.h"
#include "model/preprocess.h"

static const char *const orders[] = {"unstated", "rgb", "bgr", NULL};
static const char *const layouts[] = {"unstated", "nchw", "nhwc", NULL};
static const char *const resizes[] = {"unstated", "none", "crop", "squash", "squash-nearest", "crop-round", NULL};

#define LIMIT 1e6
PR_OPTIONS(
    preprocess_table, parry_preprocess,
    OPT_STRING(
        parry_preprocess, preset, "preprocess", NULL, "PRESET|JSON",
        "what the network expects of pixels: imagenet, keras-caffe, keras-tf, keras-torch, caffe, tf, cifar10, bytes, "
        "unit, or a .json file; the options below go before it"),
    OPT_FLOATS(parry_preprocess, range, "range", NULL, -LIMIT, LIMIT,
               "what black and white become first: low,high or high"),
    OPT_FLOATS(parry_preprocess, mean, "mean", NULL, -LIMIT, LIMIT,
               "subtracted next, in those units: one, or one per channel"),
    OPT_FLOATS(parry_preprocess, std, "std", NULL, 0, LIMIT, "divided by last: one, or one per channel"),
    OPT_CHOICE(parry_preprocess, channel_order, "channel-order", "unstated", orders,
               "of the network; rgb if nothing says"),
    OPT_CHOICE(parry_preprocess, layout, "layout", "unstated", layouts,
               "of its input, where the shape alone does not tell"),
    OPT_SIZE(parry_preprocess, input_size, "input-size", NULL, PR_SIDE_MAX,
             "pixels of the images that it takes, where its file leaves them open"),
    OPT_CHOICE(parry_preprocess, resize, "resize", "unstated", resizes,
               "photographs: crop (shorter side to --resize-size, the centre is cut out), squash to size, none; crop "
               "as torchvision rounds. If nothing says, crop"),
    OPT_INT(parry_preprocess, resize_size, "resize-size", "0", 0, PR_SIDE_MAX,
            "pixels of the shorter side before the cut; 0: 8/7 of the network's side"));
#undef LIMIT

const parry_options *parry_preprocess_options(void)
{
    return &preprocess_table;
}

/* ---- presets ---------------------------------------------------------------------------------------------------- */

/* Each row: a name, what is declared, how photographs are resized. Keras' presets squash without interpolation, the
 * default of its load_img. */
#define FLOATS(...)                                                                                                    \
    {                                                                                                                  \
        sizeof((double[]){__VA_ARGS__}) / sizeof(double),                                                              \
        {                                                                                                              \
            __VA_ARGS__                                                                                                \
        }                                                                                                              \
    }
#define NORMALISED(mean1, mean2, mean3, std1, std2, std3)                                                              \
    .range = FLOATS(0, 1), .mean = FLOATS(mean1, mean2, mean3), .std = FLOATS(std1, std2, std3)
#define IMAGENET NORMALISED(0.485, 0.456, 0.406, 0.229, 0.224, 0.225), .channel_order = PARRY_ORDER_RGB
#define CAFFE .range = FLOATS(0, 255), .mean = FLOATS(103.939, 116.779, 123.68), .channel_order = PARRY_ORDER_BGR
#define TF .range = FLOATS(-1, 1), .channel_order = PARRY_ORDER_RGB
#define PRESETS(ROW)                                                                                                   \
    ROW("imagenet", IMAGENET, CROP)                                                                                    \
    ROW("keras-caffe", CAFFE, SQUASH_NEAREST)                                                                          \
    ROW("keras-tf", TF, SQUASH_NEAREST)                                                                                \
    ROW("keras-torch", IMAGENET, SQUASH_NEAREST)                                                                       \
    ROW("caffe", CAFFE, CROP)                                                                                          \
    ROW("tf", TF, CROP)                                                                                                \
    ROW("cifar10", NORMALISED(0.4914, 0.4822, 0.4465, 0.2471, 0.2435, 0.2616), UNSTATED)                               \
    ROW("bytes", .range = FLOATS(0, 255), UNSTATED)                                                                    \
    ROW("unit", .range = FLOATS(0, 1), UNSTATED)

const char *const *parry_preprocess_presets(void)
{
#define NAME(name, declared, resizing) name,
    static const char *const names[] = {PRESETS(NAME) NULL};
#undef NAME
    return names;
}

parry_status parry_preprocess_preset(parry_ctx *ctx, const char *name, parry_preprocess *out)
{
#define DECLARATION(name, declared, resizing) {.preset = name, declared, .resize = PARRY_RESIZE_##resizing},
    static const parry_preprocess presets[] = {PRESETS(DECLARATION)};
#undef DECLARATION
    for (size_t i = 0; i < PR_COUNT(presets); i++) {
        *out = presets[i];
        if (strcmp(out->preset, name) == 0)
            return PARRY_OK;
    }
    const char *nearest = parry_nearest(name, parry_preprocess_presets(), PR_COUNT(presets));
    return pr_fail(ctx, PARRY_INVALID, "--preprocess %s: no such preset; %s%s%s", name,
                   nearest ? "did you mean " : "expected a name that 'parry list presets' shows, or a .json file",
                   nearest ? nearest : "", nearest ? "?" : "");
}

static bool names_a_file(const char *preset)
{
    const char *dot = strrchr(preset, '.');
    return dot && strcmp(dot, ".json") == 0;
}

parry_status parry_preprocess_check_flags(parry_ctx *ctx, const parry_preprocess *preprocess)
{
    const int means = preprocess->mean.count, deviations = preprocess->std.count;
    const parry_preprocess numbers = {.range = preprocess->range, .mean = preprocess->mean, .std = preprocess->std};
    parry_preprocess preset;
    pr_affine affine;
    if (preprocess->preset && !names_a_file(preprocess->preset))
        TRY(parry_preprocess_preset(ctx, preprocess->preset, &preset));
    if (preprocess->range.count > 2)
        return pr_fail(ctx, PARRY_INVALID, "--range has %d numbers; expected low,high or high", preprocess->range.count);
    if (means > 1 && deviations > 1 && means != deviations)
        return pr_fail(ctx, PARRY_INVALID, "--mean has %d numbers and --std %d; expected one of each, or one per channel",
                       means, deviations);
    const parry_status status =
        pr_preprocess_affine(ctx, "flags", &numbers, PR_MAX(1, PR_MAX(means, deviations)), &affine);
    return status == PARRY_FORMAT ? PARRY_INVALID : status;
}

/* ---- merging ---------------------------------------------------------------------------------------------------- */

bool pr_preprocess_states(const parry_preprocess *p, bool resizing)
{
    return p->range.count || p->mean.count || p->std.count || p->channel_order || p->layout || p->input_size.height ||
           (resizing && (p->resize || p->resize_size));
}

void pr_preprocess_merge(parry_preprocess *out, const parry_preprocess *over)
{
    if (over->range.count || over->mean.count || over->std.count) {
        out->range = over->range;
        out->mean = over->mean;
        out->std = over->std;
    }
    out->channel_order = over->channel_order ? over->channel_order : out->channel_order;
    out->layout = over->layout ? over->layout : out->layout;
    out->input_size = over->input_size.height ? over->input_size : out->input_size;
    out->resize = over->resize ? over->resize : out->resize;
    out->resize_size = over->resize_size ? over->resize_size : out->resize_size;
}

parry_status pr_preprocess_resolve(parry_ctx *ctx, const parry_preprocess *flags, parry_preprocess *out)
{
    *out = (parry_preprocess){0};
    if (!flags)
        return PARRY_OK;
    TRY(parry_preprocess_check_flags(ctx, flags));
    if (flags->preset && names_a_file(flags->preset)) {
        bool found;
        pr_claims claims;
        TRY(pr_preprocess_file(ctx, flags->preset, out, &claims, &found));
        if (!found)
            return pr_fail(ctx, PARRY_FORMAT, "%s: says nothing of preprocessing", flags->preset);
    } else if (flags->preset) {
        TRY(parry_preprocess_preset(ctx, flags->preset, out));
    }
    out->preset = NULL;
    pr_preprocess_merge(out, flags);
    return PARRY_OK;
}

/* ---- JSON objects ----------------------------------------------------------------------------------------------- */

static parry_status read_numbers(parry_ctx *ctx, const char *where, const char *key, const json_t *value, int most,
                                 parry_floats *out)
{
    const size_t count = json_is_array(value) ? json_array_size(value) : 1;
    if (count < 1 || count > (size_t)most)
        return pr_fail(ctx, PARRY_FORMAT, "%s: \"%s\" must be a number or a list of at most %d", where, key, most);
    for (size_t i = 0; i < count; i++) {
        const json_t *item = json_is_array(value) ? json_array_get(value, i) : value;
        if (!json_is_number(item))
            return pr_fail(ctx, PARRY_FORMAT, "%s: \"%s\" must be a number or a list of them", where, key);
        out->value[i] = json_number_value(item);
    }
    out->count = (int)count;
    return PARRY_OK;
}

static parry_status read_choice(parry_ctx *ctx, const char *where, const char *key, const json_t *value,
                                const char *const *choices, int *out)
{
    for (int i = 1; choices[i]; i++)
        if (json_is_string(value) && strcasecmp(json_string_value(value), choices[i]) == 0) {
            *out = i;
            return PARRY_OK;
        }
    pr_text words = {0};
    char *list;
    for (int i = 1; choices[i]; i++)
        pr_text_add(&words, "%s%s", i > 1 ? ", " : "", choices[i]);
    TRY(pr_text_take(ctx, &words, &list));
    parry_status status = pr_fail(ctx, PARRY_FORMAT, "%s: \"%s\" must be one of %s", where, key, list);
    parry_string_free(list);
    return status;
}

static parry_status read_pixels(parry_ctx *ctx, const char *where, const char *key, const json_t *value, int64_t *out)
{
    *out = json_integer_value(value);
    return *out >= 1 && *out <= PR_SIDE_MAX
               ? PARRY_OK
               : pr_fail(ctx, PARRY_FORMAT, "%s: \"%s\" must be a number of pixels", where, key);
}

static parry_status read_size(parry_ctx *ctx, const char *where, const char *key, const json_t *value, parry_size *out)
{
    const bool pair = json_is_array(value) && json_array_size(value) == 2;
    int64_t side[2];
    for (size_t i = 0; i < 2; i++)
        TRY(read_pixels(ctx, where, key, pair ? json_array_get(value, i) : value, &side[i]));
    *out = (parry_size){(int)side[0], (int)side[1]};
    return PARRY_OK;
}

static parry_status read_key(parry_ctx *ctx, const char *where, const char *key, const json_t *value,
                             parry_preprocess *out)
{
    if (strcmp(key, "range") == 0)
        return read_numbers(ctx, where, key, value, 2, &out->range);
    if (strcmp(key, "mean") == 0)
        return read_numbers(ctx, where, key, value, PARRY_FLOATS_MAX, &out->mean);
    if (strcmp(key, "std") == 0)
        return read_numbers(ctx, where, key, value, PARRY_FLOATS_MAX, &out->std);
    if (strcmp(key, "channel_order") == 0)
        return read_choice(ctx, where, key, value, orders, &out->channel_order);
    if (strcmp(key, "layout") == 0)
        return read_choice(ctx, where, key, value, layouts, &out->layout);
    if (strcmp(key, "resize") == 0)
        return read_choice(ctx, where, key, value, resizes, &out->resize);
    if (strcmp(key, "input_size") == 0)
        return read_size(ctx, where, key, value, &out->input_size);
    if (strcmp(key, "resize_size") == 0)
        return read_pixels(ctx, where, key, value, &out->resize_size);
    return pr_fail(ctx, PARRY_FORMAT, "%s: unknown key \"%s\"", where, key);
}

parry_status pr_preprocess_read(parry_ctx *ctx, const char *where, const json_t *object, parry_preprocess *out)
{
    const char *key;
    json_t *value;
    *out = (parry_preprocess){0};
    if (!json_is_object(object))
        return pr_fail(ctx, PARRY_FORMAT, "%s: expected an object", where);
    json_object_foreach((json_t *)object, key, value) TRY(read_key(ctx, where, key, value, out));
    return PARRY_OK;
}

static void put_numbers(json_t **object, const char *key, const parry_floats *numbers)
{
    if (!numbers->count)
        return;
    json_t *list = json_array();
    for (int i = 0; i < numbers->count; i++)
        pr_json_append(&list, json_real(numbers->value[i]));
    pr_json_set(object, key, list);
}

parry_status pr_preprocess_json(parry_ctx *ctx, const parry_preprocess *from, json_t **out)
{
    static const char *const upper_orders[] = {"", "RGB", "BGR"}, *const upper_layouts[] = {"", "NCHW", "NHWC"};
    *out = json_object();
    put_numbers(out, "range", &from->range);
    put_numbers(out, "mean", &from->mean);
    put_numbers(out, "std", &from->std);
    if (from->channel_order)
        pr_json_set(out, "channel_order", json_string(upper_orders[from->channel_order]));
    if (from->layout)
        pr_json_set(out, "layout", json_string(upper_layouts[from->layout]));
    if (from->input_size.height)
        pr_json_set(out, "input_size", json_pack("[ii]", from->input_size.height, from->input_size.width));
    if (from->resize)
        pr_json_set(out, "resize", json_string(resizes[from->resize]));
    if (from->resize_size)
        pr_json_set(out, "resize_size", json_integer(from->resize_size));
    return *out ? PARRY_OK : pr_fail(ctx, PARRY_NO_MEMORY, "out of memory for the preprocessing");
}

/* ---- what it amounts to ----------------------------------------------------------------------------------------- */

static parry_status check_count(parry_ctx *ctx, const char *where, const parry_floats *values, int64_t channels)
{
    if (values->count > 1 && values->count != channels)
        return pr_fail(ctx, PARRY_FORMAT, "%s: %d means or deviations for %lld channel%s", where, values->count,
                       (long long)channels, channels == 1 ? "" : "s");
    return PARRY_OK;
}

static double channel_value(const parry_floats *values, int64_t c, double missing)
{
    return values->count == 0 ? missing : values->value[values->count == 1 ? 0 : c];
}

parry_status pr_preprocess_affine(parry_ctx *ctx, const char *where, const parry_preprocess *from, int64_t channels,
                                  pr_affine *out)
{
    const double low = from->range.count == 2 ? from->range.value[0] : 0,
                 high = from->range.count ? from->range.value[from->range.count - 1] : 1;
    *out = (pr_affine){.channels = (int)channels, .reversed = from->channel_order == PARRY_ORDER_BGR && channels > 1};
    if (!(low < high))
        return pr_fail(ctx, PARRY_FORMAT, "%s: \"range\" is empty: it goes from %g to %g", where, low, high);
    if (channels > PR_PREPROCESS_CHANNELS)
        return pr_fail(ctx, PARRY_UNSUPPORTED, "%s: %lld image channels; at most %d are supported", where,
                       (long long)channels, PR_PREPROCESS_CHANNELS);
    if (out->reversed && channels != 3)
        return pr_fail(ctx, PARRY_FORMAT, "%s: the channel order is BGR, of %lld channels", where, (long long)channels);
    TRY(check_count(ctx, where, &from->mean, channels));
    TRY(check_count(ctx, where, &from->std, channels));
    for (int64_t c = 0; c < channels; c++) {
        const double mean = channel_value(&from->mean, c, 0), std = channel_value(&from->std, c, 1);
        if (!(std > 0))
            return pr_fail(ctx, PARRY_FORMAT, "%s: \"std\" must be positive", where);
        out->scale[c] = (high - low) / std;
        out->shift[c] = (low - mean) / std;
        if (!isfinite((float)out->scale[c]) || !isfinite((float)out->shift[c]))
            return pr_fail(ctx, PARRY_FORMAT, "%s: \"std\" is %g, too small to divide by", where, std);
    }
    return PARRY_OK;
}

static void add_numbers(pr_text *text, const char *flag, const parry_floats *values)
{
    for (int i = 0; i < values->count; i++)
        pr_text_add(text, "%s%.6g", i ? "," : flag, values->value[i]);
}

parry_status parry_preprocess_text(parry_ctx *ctx, const parry_preprocess *p, char **out)
{
    pr_text text = {0};
    char *spaced;
    add_numbers(&text, " --range ", &p->range);
    add_numbers(&text, " --mean ", &p->mean);
    add_numbers(&text, " --std ", &p->std);
    if (p->channel_order)
        pr_text_add(&text, " --channel-order %s", orders[p->channel_order]);
    if (p->layout)
        pr_text_add(&text, " --layout %s", layouts[p->layout]);
    if (p->input_size.height)
        pr_text_add(&text, " --input-size %dx%d", p->input_size.height, p->input_size.width);
    if (p->resize)
        pr_text_add(&text, " --resize %s", resizes[p->resize]);
    if (p->resize_size)
        pr_text_add(&text, " --resize-size %lld", (long long)p->resize_size);
    TRY(pr_text_take(ctx, &text, &spaced));
    parry_status status = pr_strdup(ctx, spaced + (spaced[0] == ' '), out);
    parry_string_free(spaced);
    return status;
}

/* ---- units ------------------------------------------------------------------------------------------------------ */

const char *parry_eps_words(const parry_model_info *info, double eps, char buffer[PARRY_EPS_ROOM])
{
    enum { SHOWN = 4 };
    int shown = 1;
    for (int c = 1; info->units && c < info->channels; c++)
        if (info->units[c] != info->units[0])
            shown = PR_MIN(info->channels, SHOWN);
    int length = snprintf(buffer, PARRY_EPS_ROOM, "%.4g (%.4g/255; ", eps, 255 * eps);
    for (int c = 0; c < shown; c++)
        length += snprintf(buffer + length, (size_t)(PARRY_EPS_ROOM - length), "%s%.4g", c ? ", " : "",
                           info->units ? eps * info->units[c] : eps);
    snprintf(buffer + length, (size_t)(PARRY_EPS_ROOM - length), "%s in the network's units)",
             shown < info->channels && shown > 1 ? ", ..." : "");
    return buffer;
}
