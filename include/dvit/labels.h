/* What classes are called: the names of ImageNet-1k, which most published models predict. */
#ifndef DVIT_LABELS_H
#define DVIT_LABELS_H

#include "dvit/status.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { DVIT_IMAGENET_CLASSES = 1000 };

/* Class index 0 … 999 of a WordNet identifier ("n01440764"), −1 if it is none of ImageNet-1k's. */
DVIT_API int dvit_imagenet_class(const char *wnid);

/* WordNet identifier of a class, NULL out of range. Borrowed, never freed. */
DVIT_API const char *dvit_imagenet_wnid(int class_index);

/* English name of a class ("tench"; two pairs of classes share theirs), NULL out of range. */
DVIT_API const char *dvit_imagenet_label(int class_index);

#ifdef __cplusplus
}
#endif
#endif
