/* What comes together in a family of models. */
#ifndef DVIT_MODELS_TRAITS_H
#define DVIT_MODELS_TRAITS_H

#include "dvit/config.h"

/* Gives `config` what every LV-ViT has: the convolutional stem of this width, layer norms of eps
 * 1e-5, no bias in qkv, an auxiliary head. skip_lam stays as it is. */
void dvit_config_make_lvvit(struct dvit_config *config, int stem_width);

#endif
