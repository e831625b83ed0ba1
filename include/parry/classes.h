/* Classes by name. */
#ifndef PARRY_CLASSES_H
#define PARRY_CLASSES_H

#include <parry/model.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { PARRY_CLASS_NAME_ROOM = 32 };

/* The class that `text` means: one of its names ("mountain tent", "mountain_tent"; letter case does not matter), its
 * WordNet identifier ("n03792972") or its index ("672"). PARRY_NOT_FOUND suggests the nearest names, PARRY_INVALID
 * names the candidates where there are several. */
PARRY_API PARRY_CHECKED parry_status parry_class_find(parry_ctx *ctx, const parry_model *model, const char *text,
                                                      int *out);
/* The first of the class's names, or "class 7", written to `buffer`, where the model has no names. -1 is "unknown". */
PARRY_API const char *parry_class_name(const parry_model *model, int index, char buffer[PARRY_CLASS_NAME_ROOM]);

#ifdef __cplusplus
}
#endif
#endif
