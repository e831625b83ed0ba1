/* What happens to an image between [0,1] and a network's input: declared once, by flags, by a JSON file beside the
 * model or in the model file's metadata, and stored in the files that parry writes. */
#ifndef PARRY_PREPROCESS_H
#define PARRY_PREPROCESS_H

#include <parry/options.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum parry_channel_order { PARRY_ORDER_UNSTATED, PARRY_ORDER_RGB, PARRY_ORDER_BGR } parry_channel_order;
typedef enum parry_layout { PARRY_LAYOUT_UNSTATED, PARRY_LAYOUT_NCHW, PARRY_LAYOUT_NHWC } parry_layout;

/* A declaration; what is not stated has count 0, or the value 0 of its enumeration. A declaration over another replaces
 * range, mean and std together when it states one of them, for they are in the same units; the rest one by one. */
typedef struct parry_preprocess {
    const char *preset; /* a preset's name or a .json file, which fill what is not stated here; NULL: none */
    parry_floats range; /* what pixels 0 and 1 become first: low and high, or high alone; [0,1] */
    parry_floats mean;  /* subtracted next, in those units: one, or one per channel in the network's channel order; 0 */
    parry_floats std;   /* divided by last: likewise; 1 */
    int channel_order;  /* parry_channel_order that the network takes; RGB */
    int layout;         /* parry_layout of its input, where the shape alone does not tell */
    parry_size input_size; /* of the images it takes, where the file leaves that open */
    int resize;         /* parry_resize, of photographs; crop */
    int64_t
        resize_size; /* pixels of the shorter side before the cut; 0: 8/7 of the network's side, all of it up to 64 */
} parry_preprocess;
PARRY_API const parry_options *parry_preprocess_options(void);
/* The presets' names; NULL ends the list. */
PARRY_API const char *const *parry_preprocess_presets(void);

/* What one of them states. PARRY_INVALID suggests the nearest name. */
PARRY_API PARRY_CHECKED parry_status parry_preprocess_preset(parry_ctx *ctx, const char *name, parry_preprocess *out);
/* What can be told of flags without a model: PARRY_INVALID where a range is empty or has more than two numbers, where a
 * deviation is not positive, means and deviations differ in number, or no preset has the name. A .json file is not read
 * yet. Loading a model checks its flags itself. */
PARRY_API PARRY_CHECKED parry_status parry_preprocess_check_flags(parry_ctx *ctx, const parry_preprocess *preprocess);
/* A declaration as flags: "--range 0,255 --mean 104,117,123 --channel-order bgr"; "" when nothing is stated. Freed with
 * parry_string_free. */
PARRY_API PARRY_CHECKED parry_status parry_preprocess_text(parry_ctx *ctx, const parry_preprocess *preprocess,
                                                           char **out);

#ifdef __cplusplus
}
#endif
#endif
