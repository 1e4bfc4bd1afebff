/* Everything: include this, or only the parts you use. */
#ifndef DVIT_H
#define DVIT_H

#include "dvit/config.h"
#include "dvit/data.h"
#include "dvit/eval.h"
#include "dvit/image.h"
#include "dvit/infer.h"
#include "dvit/labels.h"
#include "dvit/model.h"
#include "dvit/quantize.h"
#include "dvit/report.h"
#include "dvit/status.h"
#include "dvit/train.h"
#include "dvit/weights.h"

#endif
