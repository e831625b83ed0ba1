/* Built-in digits: handwritten-looking digits drawn from vector strokes, for use where MNIST is absent. */
#ifndef PR_DATA_DIGITS_H
#define PR_DATA_DIGITS_H

#include <stdint.h>

enum {
    PR_DIGITS_SIDE = 28,     /* width and height in pixels */
    PR_DIGITS_TRAIN = 60000, /* indices 0 .. 59999 are the training set */
    PR_DIGITS_TEST = 10000,  /* indices 60000 .. 69999 are the test set */
};

/* Draws digit `index` of the set `seed`: `pixels` (row-major, ink 255 on paper 0, framed like MNIST) and `*label` 0..9.
 * A pure function: the same (seed, index) gives the same bytes in any order, from any thread. Every aligned run of ten
 * indices holds each class once, in random order, so any such slice of the set is balanced. */
void pr_digits_render(uint64_t seed, uint64_t index, uint8_t pixels[PR_DIGITS_SIDE * PR_DIGITS_SIDE], uint8_t *label);

#endif
