/* From the names in a file to the names of the parameter table: what wrappers put into names, and
 * one table of rules per naming scheme. Looks at names only; where the state dict lies is
 * state_dict.c's, shapes and contents are the business of recognise.c and assemble.c. */
#include "weights/names.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "weights/text.h"

/* A name that is `from`, or begins with it and a dot, is `to` with the same rest; '#' stands for a
 * number. Without `to` the tensor is left out where `why` says so, else refused. */
struct rule {
    const char *from, *to;
    int part, parts;
    const char *why;
};

static const struct rule official_rules[] = {
    {"blocks.#.gamma_1", "blocks.#.ls1.gamma", 0, 1, NULL}, /* DeiT-III as its authors wrote it */
    {"blocks.#.gamma_2", "blocks.#.ls2.gamma", 0, 1, NULL},
    {"patch_embed.bn#.num_batches_tracked", NULL, 0, 0, "batch norms here do not count batches"},
    {"mask_token", NULL, 0, 0, "it served pretraining only"},
    {"pre_logits", NULL, 0, 0, NULL},
};

static const struct rule hugging_face_rules[] = {
    {"embeddings.cls_token", "cls_token", 0, 1, NULL},
    {"embeddings.distillation_token", "dist_token", 0, 1, NULL},
    {"embeddings.position_embeddings", "pos_embed", 0, 1, NULL},
    {"embeddings.patch_embeddings.projection", "patch_embed.proj", 0, 1, NULL},
    {"encoder.layer.#.layernorm_before", "blocks.#.norm1", 0, 1, NULL},
    {"encoder.layer.#.attention.attention.query", "blocks.#.attn.qkv", 0, 3, NULL},
    {"encoder.layer.#.attention.attention.key", "blocks.#.attn.qkv", 1, 3, NULL},
    {"encoder.layer.#.attention.attention.value", "blocks.#.attn.qkv", 2, 3, NULL},
    {"encoder.layer.#.attention.output.dense", "blocks.#.attn.proj", 0, 1, NULL},
    {"encoder.layer.#.layernorm_after", "blocks.#.norm2", 0, 1, NULL},
    {"encoder.layer.#.intermediate.dense", "blocks.#.mlp.fc1", 0, 1, NULL},
    {"encoder.layer.#.output.dense", "blocks.#.mlp.fc2", 0, 1, NULL},
    /* transformers 5 */
    {"layers.#.layernorm_before", "blocks.#.norm1", 0, 1, NULL},
    {"layers.#.attention.q_proj", "blocks.#.attn.qkv", 0, 3, NULL},
    {"layers.#.attention.k_proj", "blocks.#.attn.qkv", 1, 3, NULL},
    {"layers.#.attention.v_proj", "blocks.#.attn.qkv", 2, 3, NULL},
    {"layers.#.attention.o_proj", "blocks.#.attn.proj", 0, 1, NULL},
    {"layers.#.layernorm_after", "blocks.#.norm2", 0, 1, NULL},
    {"layers.#.mlp.fc1", "blocks.#.mlp.fc1", 0, 1, NULL},
    {"layers.#.mlp.fc2", "blocks.#.mlp.fc2", 0, 1, NULL},
    {"layernorm", "norm", 0, 1, NULL},
    {"classifier", "head", 0, 1, NULL},
    {"cls_classifier", "head", 0, 1, NULL},
    {"distillation_classifier", "head_dist", 0, 1, NULL},
    {"pooler.dense", NULL, 0, 0, "classification does not use the pooler"},
    {"embeddings.mask_token", NULL, 0, 0, "it served pretraining only"},
};

/* Heads beside their backbone, behind a shorter prefix: transformers' own classes, and modules that
 * hold a backbone without a head and a layer after it. */
static const struct outer_head {
    enum dvit_naming naming;
    const char *from, *to;
} outer_heads[] = {
    {DVIT_NAMING_HUGGING_FACE, "classifier", "head"},
    {DVIT_NAMING_HUGGING_FACE, "cls_classifier", "head"},
    {DVIT_NAMING_HUGGING_FACE, "distillation_classifier", "head_dist"},
    {DVIT_NAMING_OFFICIAL, "head", "head"},
    {DVIT_NAMING_OFFICIAL, "head_dist", "head_dist"},
    {DVIT_NAMING_OFFICIAL, "classifier", "head"},
    {DVIT_NAMING_OFFICIAL, "fc", "head"},
    {DVIT_NAMING_OFFICIAL, "linear", "head"},
};

static const struct scheme {
    const struct rule *rules;
    size_t count;
    bool others_stay; /* names without a rule are canonical already */
} schemes[] = {
    [DVIT_NAMING_OFFICIAL] = {official_rules, sizeof official_rules / sizeof *official_rules, true},
    [DVIT_NAMING_HUGGING_FACE] = {hugging_face_rules,
                                  sizeof hugging_face_rules / sizeof *hugging_face_rules, false},
};

static bool begins(const char *name, const char *prefix)
{
    return strncmp(name, prefix, strlen(prefix)) == 0;
}

/* --- names ---------------------------------------------------------------------------------- */

enum {
    NAME_ROOM = 1200, /* bytes; longer names are no parameter's */
    MAX_LEVELS = 8    /* parts of a prefix */
};

/* `name` without the parts that compiling and sharding put into it, in `room` where it has any. */
static const char *without_wrappers(const char *name, char room[NAME_ROOM])
{
    static const char *const wrappers[] = {"_orig_mod.", "_fsdp_wrapped_module.",
                                           "_checkpoint_wrapped_module."};
    size_t used = 0;
    if (!strchr(name, '_') || strlen(name) >= NAME_ROOM)
        return name;
    while (*name) {
        for (size_t i = 0; i < sizeof wrappers / sizeof *wrappers; i++)
            if (begins(name, wrappers[i])) {
                name += strlen(wrappers[i]);
                i = SIZE_MAX; /* they may be nested: begin again */
            }
        size_t part = strcspn(name, ".");
        part += name[part] == '.';
        memcpy(room + used, name, part);
        used += part;
        name += part;
    }
    room[used] = 0;
    return room;
}

/* Whether `name` follows `from`; the number in it, and what comes behind. */
static bool match(const char *from, const char *name, const char **digits, int *digit_count,
                  const char **rest)
{
    *digits = "";
    *digit_count = 0;
    for (; *from; from++) {
        if (*from != '#') {
            if (*name++ != *from)
                return false;
            continue;
        }
        size_t length = strspn(name, "0123456789");
        if (length < 1 || length > 6 || (length > 1 && *name == '0'))
            return false;
        *digits = name;
        *digit_count = (int)length;
        name += length;
    }
    *rest = name;
    return *name == 0 || *name == '.';
}

/* `to` with its number and the rest put in; empty when it is too long to be a parameter's. */
static void rename_as(const char *to, const char *digits, int digit_count, const char *rest,
                      char name[64])
{
    const char *hash = strchr(to, '#');
    int before = hash ? (int)(hash - to) : (int)strlen(to);
    int length = snprintf(name, 64, "%.*s%.*s%s%s", before, to, digit_count, digits,
                          hash ? hash + 1 : "", rest);
    if (length < 0 || length >= 64)
        name[0] = 0;
}

/* Fills item->name, or says in *left_out that the tensor does not count. */
static enum dvit_status apply_rules(enum dvit_naming naming, struct dvit_named_tensor *item,
                                    const char *name, bool *left_out, struct dvit_notes *notes,
                                    struct dvit_error *error)
{
    const struct scheme *scheme = &schemes[naming];
    const char *digits, *rest;
    int digit_count;
    *left_out = false;
    item->parts = 1;
    for (size_t i = 0; i < scheme->count; i++) {
        const struct rule *rule = &scheme->rules[i];
        if (!match(rule->from, name, &digits, &digit_count, &rest))
            continue;
        if (rule->to) {
            item->part = rule->part;
            item->parts = rule->parts;
            rename_as(rule->to, digits, digit_count, rest, item->name);
            return DVIT_OK;
        }
        if (!rule->why)
            return dvit_error_set(error, DVIT_ERROR_UNSUPPORTED,
                                  "tensor \"%s\": models with this layer are not supported",
                                  dvit_text_show(item->view->name).text);
        *left_out = true;
        return dvit_notes_add(notes, error, "tensor \"%s\" is not used: %s",
                              dvit_text_show(item->view->name).text, rule->why);
    }
    if (scheme->others_stay && strlen(name) < sizeof item->name)
        memcpy(item->name, name, strlen(name) + 1);
    return DVIT_OK;
}

static int compare(const void *left, const void *right)
{
    const struct dvit_named_tensor *a = left, *b = right;
    int order = strcmp(a->name, b->name);
    if (order == 0)
        order = a->part - b->part;
    return order ? order : strcmp(a->view->name, b->view->name);
}

static bool holds(const struct dvit_tensor_names *names, size_t count, const char *name)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(names->items[i].name, name) == 0)
            return true;
    return false;
}

/* Whether the tensor is of a head beside its backbone, which has none of its own; fills item->name.
 * `inner`: how many items are the backbone's. */
static bool is_outer_head(const struct dvit_tensor_names *names, size_t inner,
                          struct dvit_named_tensor *item)
{
    const char *name, *digits, *rest;
    int digit_count;
    for (int level = 1; level <= MAX_LEVELS; level++) {
        name = dvit_state_dict_outer(&names->place, item->view->name, level);
        for (size_t i = 0; name && i < sizeof outer_heads / sizeof *outer_heads; i++) {
            const struct outer_head *head = &outer_heads[i];
            if (head->naming != names->place.naming ||
                !match(head->from, name, &digits, &digit_count, &rest) ||
                (strcmp(rest, ".weight") != 0 && strcmp(rest, ".bias") != 0))
                continue;
            rename_as(head->to, "", 0, rest, item->name);
            item->parts = 1;
            return !holds(names, inner, item->name);
        }
    }
    return false;
}

/* The tensors inside the state dict. */
static enum dvit_status collect(struct dvit_tensor_names *names,
                                const struct dvit_tensor_view *const *views, size_t count,
                                struct dvit_notes *notes, struct dvit_error *error)
{
    char room[NAME_ROOM];
    for (size_t i = 0; i < count; i++) {
        const char *name = dvit_state_dict_inner(&names->place, views[i]->name);
        struct dvit_named_tensor item = {.view = views[i]};
        bool left_out;
        if (!name)
            continue;
        enum dvit_status status = apply_rules(
            names->place.naming, &item, without_wrappers(name, room), &left_out, notes, error);
        if (status != DVIT_OK)
            return status;
        if (!left_out)
            names->items[names->count++] = item;
    }
    return DVIT_OK;
}

/* What lies beside the state dict: a head, or what stays unread. "3 tensors that are not the
 * model's weights stay unread: optimizer, model_ema". */
static enum dvit_status collect_others(struct dvit_tensor_names *names,
                                       const struct dvit_tensor_view *const *views, size_t count,
                                       struct dvit_notes *notes, struct dvit_error *error)
{
    char keys[200] = "", last[64] = "";
    size_t others = 0, used = 0, inner = names->count;
    for (size_t i = 0; i < count; i++) {
        struct dvit_named_tensor item = {.view = views[i]};
        char key[64];
        if (dvit_state_dict_inner(&names->place, views[i]->name))
            continue;
        if (is_outer_head(names, inner, &item)) {
            names->items[names->count++] = item;
            continue;
        }
        int length = (int)strcspn(views[i]->name, strchr(views[i]->name, '/') ? "/" : ".");
        snprintf(key, sizeof key, "%.*s", length, views[i]->name);
        others++;
        if (strcmp(key, last) == 0 || used + 2 * sizeof key > sizeof keys)
            continue;
        memcpy(last, key, sizeof last);
        used += (size_t)snprintf(keys + used, sizeof keys - used, "%s%s", used ? ", " : "", key);
    }
    if (others == 0)
        return DVIT_OK;
    return dvit_notes_add(notes, error,
                          "%zu tensors that are not the model's weights stay unread: %s", others,
                          dvit_text_show(keys).text);
}

enum dvit_status dvit_tensor_names_create(struct dvit_tensor_names *out,
                                          const struct dvit_tensor_view *const *views, size_t count,
                                          const struct dvit_state_choice *choice,
                                          struct dvit_notes *notes, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    *out = (struct dvit_tensor_names){.items = calloc(count + 1, sizeof *out->items)};
    if (!out->items)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "names of %zu tensors: out of memory", count);
    DVIT_TRY(dvit_state_dict_find(&out->place, views, count, choice, notes, error));
    DVIT_TRY(collect(out, views, count, notes, error));
    DVIT_TRY(collect_others(out, views, count, notes, error));
    qsort(out->items, out->count, sizeof *out->items, compare);
done:
    if (status != DVIT_OK)
        dvit_tensor_names_free(out);
    return status;
}

void dvit_tensor_names_free(struct dvit_tensor_names *names)
{
    free(names->items);
    *names = (struct dvit_tensor_names){0};
}

size_t dvit_tensor_names_lookup(const struct dvit_tensor_names *names, const char *name)
{
    size_t low = 0, high = names->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (strcmp(names->items[middle].name, name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    bool found = low < names->count && strcmp(names->items[low].name, name) == 0;
    return found ? low : names->count;
}

const struct dvit_tensor_view *dvit_tensor_names_find(const struct dvit_tensor_names *names,
                                                      const char *name)
{
    size_t index = dvit_tensor_names_lookup(names, name);
    return index < names->count ? names->items[index].view : NULL;
}

int dvit_tensor_names_indices(const struct dvit_tensor_names *names, const char *prefix)
{
    int indices = 0;
    for (size_t i = 0; i < names->count; i++) {
        const char *name = names->items[i].name;
        if (!begins(name, prefix))
            continue;
        name += strlen(prefix);
        size_t length = strspn(name, "0123456789");
        if (length < 1 || length > 6 || name[length] != '.')
            continue;
        int index = (int)strtol(name, NULL, 10);
        indices = index >= indices ? index + 1 : indices;
    }
    return indices;
}
