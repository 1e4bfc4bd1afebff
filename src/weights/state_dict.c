/* Finding the state dict. Looks at names only; what the names mean is names.c's. */
#include "weights/state_dict.h"

#include <stdio.h>
#include <string.h>

enum { MAX_CANDIDATES = 64 };

/* How each scheme calls the weight of the patch embedding. */
static const struct {
    const char *name;
    enum dvit_naming naming;
} marks[] = {
    {"patch_embed.proj.weight", DVIT_NAMING_OFFICIAL},
    {"embeddings.patch_embeddings.projection.weight", DVIT_NAMING_HUGGING_FACE},
};

/* Keys and parts of prefixes that say nothing but "here it is". */
static const char *const usual[] = {"model", "state_dict", "module", "_orig_mod", "vit", "deit"};
static const char *const usual_averages[] = {"model_ema", "state_dict_ema"};

static const char separators[] = "/.";

struct candidates {
    struct dvit_state_dict items[MAX_CANDIDATES];
    size_t count;   /* of items */
    size_t dropped; /* beyond MAX_CANDIDATES */
};

static bool read_mark(struct dvit_state_dict *out, const char *name)
{
    size_t length = strlen(name);
    for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
        size_t mark = strlen(marks[i].name);
        if (length < mark || strcmp(name + length - mark, marks[i].name) != 0 ||
            (length > mark && !strchr(separators, name[length - mark - 1])))
            continue;
        const char *slash = strrchr(name, '/');
        *out = (struct dvit_state_dict){.naming = marks[i].naming,
                                        .found = true,
                                        .place = name,
                                        .root_bytes = slash ? (size_t)(slash - name) + 1 : 0,
                                        .body_bytes = length - mark};
        return true;
    }
    return false;
}

/* The parts of a place: *at moves to the next one. NULL past the last. */
static const char *next_part(const struct dvit_state_dict *dict, size_t *at, size_t *length)
{
    const char *part = dict->place + *at;
    if (*at >= dict->body_bytes)
        return NULL;
    *length = strcspn(part, separators);
    *at += *length + 1;
    return part;
}

static bool is_text(const char *part, size_t length, const char *text)
{
    return strlen(text) == length && memcmp(part, text, length) == 0;
}

/* Whether "ema", "average" or "averaged" is a word of a key: "model_ema", "ema_model". */
static bool is_averaged(const struct dvit_state_dict *dict)
{
    static const char *const words[] = {"ema", "EMA", "average", "averaged", "swa"};
    size_t at = 0, length;
    for (const char *part; (part = next_part(dict, &at, &length)) != NULL;)
        for (size_t begin = 0; begin <= length;) {
            size_t word = strcspn(part + begin, "_/.-");
            for (size_t i = 0; i < sizeof words / sizeof *words; i++)
                if (is_text(part + begin, word, words[i]))
                    return true;
            begin += word + 1;
        }
    return false;
}

static bool is_usual(const struct dvit_state_dict *dict, bool average)
{
    size_t at = 0, length;
    for (const char *part; (part = next_part(dict, &at, &length)) != NULL;) {
        bool found = false;
        for (size_t i = 0; i < sizeof usual / sizeof *usual; i++)
            found = found || is_text(part, length, usual[i]);
        for (size_t i = 0; average && i < sizeof usual_averages / sizeof *usual_averages; i++)
            found = found || is_text(part, length, usual_averages[i]);
        if (!found)
            return false;
    }
    return true;
}

/* "teacher", "teacher/" and "teacher/backbone." all mean what lies under teacher/backbone. */
static bool begins_with_key(const struct dvit_state_dict *dict, const char *key)
{
    size_t length = strlen(key);
    while (length > 0 && strchr(separators, key[length - 1]))
        length--;
    if (length == 0)
        return dict->body_bytes == 0;
    return length < dict->body_bytes && memcmp(dict->place, key, length) == 0 &&
           strchr(separators, dict->place[length]);
}

static void keep_if(struct candidates *all, const struct dvit_state_choice *choice, bool averaged)
{
    size_t kept = 0;
    for (size_t i = 0; i < all->count; i++)
        if (choice ? begins_with_key(&all->items[i], choice->key)
                   : is_averaged(&all->items[i]) == averaged)
            all->items[kept++] = all->items[i];
    all->count = kept;
}

static size_t count_averaged(const struct candidates *all)
{
    size_t averaged = 0;
    for (size_t i = 0; i < all->count; i++)
        averaged += is_averaged(&all->items[i]);
    return averaged;
}

struct dvit_shown_text dvit_state_dict_show(const struct dvit_state_dict *dict)
{
    struct dvit_shown_text shown;
    dvit_text_escape(dict->place, dict->body_bytes, shown.text, sizeof shown.text);
    return shown;
}

/* "\"student/module.backbone.\", \"teacher/backbone.\"" */
static void list_places(const struct candidates *all, char *text, size_t capacity)
{
    size_t used = 0;
    text[0] = 0;
    for (size_t i = 0; i < all->count && used < capacity; i++)
        used += (size_t)snprintf(text + used, capacity - used, "%s\"%s\"", i ? ", " : "",
                                 dvit_state_dict_show(&all->items[i]).text);
    if (all->dropped && used < capacity)
        snprintf(text + used, capacity - used, " and %zu more", all->dropped);
}

static enum dvit_status choose(struct candidates *all, const struct dvit_state_choice *choice,
                               struct dvit_error *error)
{
    char places[500];
    list_places(all, places, sizeof places);
    if (choice->key) {
        keep_if(all, choice, false);
        if (all->count == 0)
            return dvit_error_set(error, DVIT_ERROR_NOT_FOUND,
                                  "no vision transformer under the key \"%s\"; there %s%s",
                                  dvit_text_show(choice->key).text,
                                  *places ? "is one at " : "is none at all", *places ? places : "");
    }
    if (choice->average) {
        keep_if(all, NULL, true);
        if (all->count == 0)
            return dvit_error_set(error, DVIT_ERROR_NOT_FOUND,
                                  "no averaged weights: nothing under \"model_ema\", "
                                  "\"state_dict_ema\" or another key with \"ema\" in it");
    } else if (!choice->key && count_averaged(all) < all->count) {
        keep_if(all, NULL, false);
    }
    if (all->count < 2)
        return DVIT_OK;
    list_places(all, places, sizeof places);
    return dvit_error_set(error, DVIT_ERROR_MISMATCH,
                          "holds %zu vision transformers: %s; choose one with --weights-key KEY",
                          all->count + all->dropped, places);
}

/* "under \"net\" with the prefix \"model.\"" */
static enum dvit_status note_place(const struct dvit_state_dict *dict,
                                   const struct dvit_state_choice *choice, struct dvit_notes *notes,
                                   struct dvit_error *error)
{
    char key[100], prefix[100];
    size_t root = dict->root_bytes, body = dict->body_bytes;
    if (choice->key || is_usual(dict, choice->average))
        return DVIT_OK;
    dvit_text_escape(dict->place, root ? root - 1 : 0, key, sizeof key);
    dvit_text_escape(dict->place + root, body - root, prefix, sizeof prefix);
    return dvit_notes_add(
        notes, error, "the weights lie %s%s%s%s%s%s%s%s", root ? "under \"" : "", root ? key : "",
        root ? "\"" : "", root && body > root ? ", " : "",
        body > root ? "behind the prefix \"" : "", body > root ? prefix : "",
        body > root ? "\"" : "",
        is_averaged(dict) && !choice->average ? ": averaged ones, the file has no others" : "");
}

static struct dvit_state_dict own_place(const struct dvit_tensor_view *const *views, size_t count)
{
    static const char key[] = "model/";
    size_t length = sizeof key - 1;
    for (size_t i = 0; i < count; i++)
        if (strncmp(views[i]->name, key, length) == 0)
            return (struct dvit_state_dict){
                .found = true, .place = views[i]->name, .root_bytes = length, .body_bytes = length};
    return (struct dvit_state_dict){.place = ""};
}

enum dvit_status dvit_state_dict_find(struct dvit_state_dict *out,
                                      const struct dvit_tensor_view *const *views, size_t count,
                                      const struct dvit_state_choice *choice,
                                      struct dvit_notes *notes, struct dvit_error *error)
{
    struct candidates all = {.count = 0};
    struct dvit_state_dict found;
    *out = (struct dvit_state_dict){.place = ""};
    if (choice->own && !choice->average && !choice->key) {
        *out = own_place(views, count);
        return DVIT_OK;
    }
    for (size_t i = 0; i < count; i++) {
        if (!read_mark(&found, views[i]->name))
            continue;
        if (all.count < MAX_CANDIDATES)
            all.items[all.count++] = found;
        else
            all.dropped++;
    }
    enum dvit_status status = choose(&all, choice, error);
    if (status != DVIT_OK || all.count == 0)
        return status;
    *out = all.items[0];
    return note_place(out, choice, notes, error);
}

const char *dvit_state_dict_inner(const struct dvit_state_dict *dict, const char *name)
{
    if (!dict->found)
        return name;
    if (strncmp(name, dict->place, dict->body_bytes) != 0)
        return NULL;
    name += dict->body_bytes;
    return strchr(name, '/') ? NULL : name;
}

const char *dvit_state_dict_outer(const struct dvit_state_dict *dict, const char *name, int level)
{
    size_t length = dict->body_bytes;
    while (level > 0 && length > dict->root_bytes) {
        length--;
        while (length > dict->root_bytes && dict->place[length - 1] != '.')
            length--;
        level--;
    }
    if (level > 0 || strncmp(name, dict->place, length) != 0 || strchr(name + length, '/'))
        return NULL;
    return name + length;
}
