/* Names, lock and housekeeping of a run folder. What is in the files is not known here. */
#define _GNU_SOURCE
#include "train/run_folder.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "dvit/train.h"

/* Files kept by epoch: "<kind>-epoch0007.safetensors". */
static const char *const kinds[2] = {"state", "last"};

enum dvit_status dvit_run_folder_name(struct dvit_run_folder *f, const char *path,
                                      struct dvit_error *error)
{
    *f = (struct dvit_run_folder){0};
    if (!path || !*path)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT, "no run folder was given");
    f->path = strdup(path);
    f->last = dvit_path_join(path, "last.safetensors");
    f->best = dvit_path_join(path, "best.safetensors");
    f->state = dvit_path_join(path, "state.safetensors");
    f->good = dvit_path_join(path, "good.safetensors");
    f->log = dvit_path_join(path, "log.jsonl");
    f->config = dvit_path_join(path, "config.json");
    if (!f->path || !f->last || !f->best || !f->state || !f->good || !f->log || !f->config)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "run folder: out of memory");
    return DVIT_OK;
}

/* As dvit_run_folder.made. */
static size_t first_missing(char *path)
{
    for (char *at = path + 1;; at++) {
        char end = *at;
        if (end != '/' && end != 0)
            continue;
        *at = 0;
        bool exists = dvit_folder_exists(path);
        *at = end;
        if (!exists)
            return (size_t)(at - path);
        if (!end)
            return 0;
    }
}

enum dvit_status dvit_run_folder_claim(struct dvit_run_folder *f, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    char *path = dvit_path_join(f->path, "run.lock");
    if (!path)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "run folder: out of memory");
    f->made = first_missing(f->path);
    DVIT_TRY(dvit_folder_create(f->path, error));
    DVIT_TRY(dvit_lock_take(&f->lock, path, error));
done:
    free(path);
    return status;
}

void dvit_run_folder_close(struct dvit_run_folder *f)
{
    dvit_lock_release(&f->lock);
    free(f->path);
    free(f->last);
    free(f->best);
    free(f->state);
    free(f->good);
    free(f->log);
    free(f->config);
    *f = (struct dvit_run_folder){0};
}

/* The epoch of a kept file's name, whole or as its temporary; −1 of any other name. */
static long kept_epoch(const char *name)
{
    static const char middle[] = "-epoch", end[] = ".safetensors";
    for (int k = 0; k < 2; k++) {
        const char *at = name + strlen(kinds[k]);
        char *after;
        if (strncmp(name, kinds[k], strlen(kinds[k])) != 0 ||
            strncmp(at, middle, sizeof middle - 1) != 0)
            continue;
        at += sizeof middle - 1;
        long epoch = strtol(at, &after, 10);
        if (after > at && strncmp(after, end, sizeof end - 1) == 0)
            return epoch;
    }
    return -1;
}

/* What a run puts into its folder, besides files kept by epoch and temporary ones. */
static const struct {
    const char *name;
    bool prefix; /* of the names of several files */
    bool marks;  /* no other program gives this name: the folder is a run's */
} own_names[] = {
    {"run.lock", false, true},
    {"log.jsonl", false, true},
    {"log.csv", false, false},
    {"config.json", false, false},
    {"state.safetensors", false, true},
    {"good.safetensors", false, false},
    {"best.safetensors", false, false},
    {"last.safetensors", false, false},
    {"kept", false, false},
    {"events.out.tfevents.", true, false},
    {"find_lr.json", false, true},
    {"find_lr.svg", false, false},
};

bool dvit_run_owns(const char *name)
{
    if (!name)
        return false;
    for (size_t i = 0; i < sizeof own_names / sizeof *own_names; i++)
        if (own_names[i].prefix ? strncmp(name, own_names[i].name, strlen(own_names[i].name)) == 0
                                : strcmp(name, own_names[i].name) == 0)
            return true;
    return kept_epoch(name) >= 0;
}

bool dvit_run_exists(const char *folder)
{
    if (!folder)
        return false;
    bool exists = false;
    for (size_t i = 0; !exists && i < sizeof own_names / sizeof *own_names; i++) {
        char *path = own_names[i].marks ? dvit_path_join(folder, own_names[i].name) : NULL;
        exists = path && dvit_file_exists(path);
        free(path);
    }
    return exists;
}

void dvit_run_folder_sweep(const struct dvit_run_folder *f)
{
    dvit_folder_sweep(f->path);
    char *kept = dvit_path_join(f->path, "kept");
    if (kept)
        dvit_folder_sweep(kept);
    free(kept);
}

void dvit_run_folder_abandon(struct dvit_run_folder *f)
{
    struct dvit_names names;
    if (!f->made)
        return;
    dvit_lock_release(&f->lock);
    if (dvit_folder_list(f->path, &names, NULL) == DVIT_OK) {
        for (size_t i = 0; i < names.count; i++) {
            char *path = dvit_path_join(f->path, names.items[i]);
            if (path && dvit_run_owns(names.items[i]))
                remove(path);
            free(path);
        }
        dvit_names_free(&names);
    }
    for (size_t length = strlen(f->path); length >= f->made && rmdir(f->path) == 0;) {
        while (length > f->made && f->path[length - 1] != '/')
            length--;
        while (length > f->made && f->path[length - 1] == '/')
            length--;
        if (f->path[length] == 0)
            break;
        f->path[length] = 0;
    }
    f->made = 0;
}

static void remove_kept(const struct dvit_run_folder *f, long last_removed)
{
    struct dvit_names names;
    if (dvit_folder_list(f->path, &names, NULL) != DVIT_OK)
        return;
    for (size_t i = 0; i < names.count; i++) {
        long epoch = kept_epoch(names.items[i]);
        char *path = dvit_path_join(f->path, names.items[i]);
        if (path && epoch >= 0 && epoch <= last_removed)
            remove(path);
        free(path);
    }
    dvit_names_free(&names);
}

enum dvit_status dvit_run_folder_keep(const struct dvit_run_folder *f, long epoch, long count,
                                      struct dvit_error *error)
{
    const char *sources[2] = {f->state, f->last};
    for (int k = 0; k < 2; k++) {
        char *path = NULL;
        if (!dvit_file_exists(sources[k])) /* a state that was brought here alone */
            continue;
        if (asprintf(&path, "%s/%s-epoch%04ld.safetensors", f->path, kinds[k], epoch) < 0)
            return dvit_error_set(error, DVIT_ERROR_MEMORY, "run folder: out of memory");
        enum dvit_status status = dvit_file_duplicate(sources[k], path, error);
        free(path);
        if (status != DVIT_OK)
            return status;
    }
    remove_kept(f, epoch - count);
    return DVIT_OK;
}
