/* How kernels of any type slide a window over an nhwc image. */
#ifndef PR_ENGINE_KERNELS_WINDOW_H
#define PR_ENGINE_KERNELS_WINDOW_H

#include "engine/kernels.h"

/* Position of tap `tap` of output position `out` along `axis`, -1 outside. */
static inline int64_t pr_tap_at(const pr_window *w, int axis, int64_t out, int64_t tap)
{
    int64_t at = out * w->stride[axis] - w->pad[axis] + tap * w->dilation[axis], size = axis ? w->in_w : w->in_h;
    return at < size ? at : -1;
}

/* Offset of the pixel under a tap of output pixel (n, y, x), -1 outside. */
static inline int64_t pr_pixel_at(const pr_window *w, int64_t n, int64_t y, int64_t x, int tap)
{
    int64_t i = pr_tap_at(w, 0, y, tap / w->kernel[1]), j = pr_tap_at(w, 1, x, tap % w->kernel[1]);
    return i < 0 || j < 0 ? -1 : ((n * w->in_h + i) * w->in_w + j) * w->c;
}

/* Runs a statement for each output pixel: n, y, x and its offset `at`. */
#define PR_EACH_PIXEL(w, ...)                                                                                          \
    do {                                                                                                               \
        int64_t at = 0;                                                                                                \
        for (int64_t n = 0; n < (w)->n; n++)                                                                           \
            for (int64_t y = 0; y < (w)->out_h; y++)                                                                   \
                for (int64_t x = 0; x < (w)->out_w; x++, at += (w)->c)                                                 \
                    __VA_ARGS__;                                                                                       \
    } while (0)

#endif
