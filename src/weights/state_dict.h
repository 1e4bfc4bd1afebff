/* Where in a file a vision transformer's state dict lies: below which keys, behind which prefix.
 *
 * It is found by the name of its patch embedding, which each naming scheme has one of, and not by a
 * list of keys: "net/patch_embed.proj.weight" lies under the key "net", and
 * "state_dict/model.backbone.patch_embed.proj.weight" under "state_dict" with the prefix
 * "model.backbone.". */
#ifndef DVIT_WEIGHTS_STATE_DICT_H
#define DVIT_WEIGHTS_STATE_DICT_H

#include "models/notes.h"
#include "weights/tensor_view.h"
#include "weights/text.h"

enum dvit_naming {
    DVIT_NAMING_OFFICIAL,     /* DeiT, DynamicViT, timm, LV-ViT, dvit itself */
    DVIT_NAMING_HUGGING_FACE, /* ViT… and DeiTForImageClassification, with or without "vit." */
};

/* Which state dict is meant, in a file that holds several. */
struct dvit_state_choice {
    bool average;    /* the averaged one: a key or prefix has the word "ema" or "average" */
    const char *key; /* how its place begins ("teacher"); NULL: it is the only one */
    bool own;        /* as dvit writes it: under "model/" or at the top level, no prefix */
};

struct dvit_state_dict {
    enum dvit_naming naming;
    bool found;        /* else there is no patch embedding, and the place is the whole file */
    const char *place; /* the patch embedding's full name, borrowed from its tensor; or "" */
    size_t root_bytes; /* place[0 … root_bytes): the keys, each with its '/' */
    size_t body_bytes; /* place[root_bytes … body_bytes): the prefix, each part with its '.' */
};

/* NOT_FOUND: what `choice` asks for is not there. MISMATCH: there are several; all are named. A
 * place that is not usual becomes a note. */
enum dvit_status dvit_state_dict_find(struct dvit_state_dict *out,
                                      const struct dvit_tensor_view *const *views, size_t count,
                                      const struct dvit_state_choice *choice,
                                      struct dvit_notes *notes, struct dvit_error *error);

/* What stands of `name` behind the keys and the prefix; NULL where it does not belong there. */
const char *dvit_state_dict_inner(const struct dvit_state_dict *dict, const char *name);
/* What stands of `name` behind the keys and a part of the prefix, which is the `level`th shorter
 * one (from 1), as a head beside its backbone does; NULL where there is none. */
const char *dvit_state_dict_outer(const struct dvit_state_dict *dict, const char *name, int level);

/* Keys and prefix, for messages. */
struct dvit_shown_text dvit_state_dict_show(const struct dvit_state_dict *dict);

#endif
