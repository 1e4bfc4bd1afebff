/* Shared by the files of predictions. */
#ifndef DVIT_EVAL_PREDICTIONS_H
#define DVIT_EVAL_PREDICTIONS_H

/* qsort's order of struct dvit_confusion by label, then by answer. */
int dvit_confusion_by_classes(const void *a, const void *b);

#endif
