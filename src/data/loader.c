/* The loader: worker threads fill a ring of batches ahead of the one the caller holds.
 *
 * Work is handed out in tickets of a few images, in order; who takes a ticket changes nothing in
 * what is made of it, because order and augmentation come from counter-based streams. One mutex
 * guards the tickets and the counts of finished images; pixels are written outside it, each image
 * into its own place. A failed image leaves a message at its place; the caller's thread closes the
 * gap, mixes the batch and keeps the report, so all of it comes out in batch order. Images are made
 * in prepare.c.
 */
#define _GNU_SOURCE
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/arena.h"
#include "base/rng.h"
#include "base/thread_start.h"
#include "data/loader_options.h"
#include "data/mixup.h"
#include "data/prepare.h"
#include "image/augment.h"

enum {
    TICKET_IMAGES = 4, /* per visit to the mutex; small, so that big images spread over workers */
};
static const size_t max_ring_bytes = (size_t)16 << 30;

/* One batch in the making. */
struct slot {
    size_t batch; /* index in the epoch; SIZE_MAX: empty */
    int planned;  /* images it should get */
    int finished; /* images made or failed; under the mutex */
    float *pixels;
    int *labels;
    uint32_t *indices;
    uint8_t *masks;           /* or NULL */
    uint8_t *pictures;        /* or NULL */
    enum dvit_status *failed; /* [batch] DVIT_OK, or why there is no image at this place */
    char **messages; /* [batch] malloc'ed where failed; NULL when that memory was out too */
};

/* Who makes images: a thread, or the caller's where there are none. */
struct worker {
    struct dvit_loader *loader;
    pthread_t thread;
    struct dvit_image_room room;
};

struct dvit_loader {
    struct dvit_dataset *dataset;
    struct dvit_loader_options options;
    struct dvit_augment augment;
    struct dvit_mixing mixing;
    size_t images, batches; /* of an epoch */
    size_t area;            /* pixels of an input image */
    size_t ring;            /* slots */
    struct slot *slots;     /* [ring]; batch b is made in slot b mod ring */
    uint32_t *order;        /* [images]; constant while tickets are out */
    float *targets;         /* [batch][classes] of the batch lent out; NULL: it is not mixed */
    struct dvit_arena arena;

    pthread_mutex_t lock;
    pthread_cond_t work; /* tickets may have become available */
    pthread_cond_t done; /* a batch was finished, or the last worker became idle */
    bool lock_made, work_made, done_made;
    struct worker *workers; /* [at least 1] */
    int thread_count;
    pid_t process; /* that they run in */
    /* Under the mutex while threads live. */
    bool open, quit;     /* tickets may be taken; threads must return */
    int busy;            /* workers holding a ticket */
    size_t ticket_batch; /* next ticket */
    int ticket_place;    /* its first image */
    size_t first_held;   /* batches before it are free to be overwritten */

    /* The caller's thread only. */
    uint64_t epoch;
    bool started, from_zero;
    size_t next, delivered; /* batch to lend next; images lent in this epoch */
    struct dvit_batch batch;
    uint8_t *reported; /* [images] 1 = in skips */
    struct dvit_skip *skips;
    size_t skip_count, skip_capacity;
};

struct ticket {
    struct slot *slot;
    int from, to; /* places in the slot */
};

/* ------------------------------------------------------------------------------- workers --- */

/* The image at a place of a slot. Repetitions of one image stand side by side, each with a stream
 * of its own. */
static enum dvit_status make_image(struct worker *worker, struct slot *slot, int place,
                                   struct dvit_error *error)
{
    struct dvit_loader *loader = worker->loader;
    size_t at = (size_t)place, area = loader->area;
    size_t position = slot->batch * (size_t)loader->options.batch + at;
    size_t repeats = (size_t)loader->options.repeats;
    struct dvit_place to = {
        .pixels = slot->pixels + at * 3 * area,
        .label = &slot->labels[at],
        .mask = slot->masks ? slot->masks + at * area : NULL,
        .picture = slot->pictures ? slot->pictures + at * 3 * area : NULL,
    };
    slot->indices[at] = loader->order[position / repeats];
    return dvit_place_fill(&to, loader->dataset, slot->indices[at], &loader->options,
                           loader->epoch * repeats + position % repeats, &worker->room, error);
}

static void make_images(struct worker *worker, struct ticket ticket)
{
    for (int place = ticket.from; place < ticket.to; place++) {
        struct dvit_error error = {0};
        enum dvit_status status = make_image(worker, ticket.slot, place, &error);
        ticket.slot->failed[place] = status;
        if (status != DVIT_OK)
            ticket.slot->messages[place] = strdup(error.message);
    }
}

/* Takes the next ticket if there is one and its slot is free. Under the mutex. */
static bool take_ticket(struct dvit_loader *loader, struct ticket *out)
{
    size_t batch = loader->ticket_batch, size = (size_t)loader->options.batch;
    if (!loader->open || batch >= loader->batches || batch >= loader->first_held + loader->ring)
        return false;
    struct slot *slot = &loader->slots[batch % loader->ring];
    if (loader->ticket_place == 0) {
        size_t left = loader->images - batch * size;
        slot->batch = batch;
        slot->planned = (int)(left < size ? left : size);
        slot->finished = 0;
    }
    out->slot = slot;
    out->from = loader->ticket_place;
    out->to = out->from + TICKET_IMAGES < slot->planned ? out->from + TICKET_IMAGES : slot->planned;
    loader->ticket_place = out->to;
    if (out->to == slot->planned) {
        loader->ticket_batch++;
        loader->ticket_place = 0;
    }
    return true;
}

static void *run_worker(void *context)
{
    struct worker *worker = context;
    struct dvit_loader *loader = worker->loader;
    struct ticket ticket;
    pthread_mutex_lock(&loader->lock);
    while (!loader->quit) {
        if (!take_ticket(loader, &ticket)) {
            pthread_cond_wait(&loader->work, &loader->lock);
            continue;
        }
        loader->busy++;
        pthread_mutex_unlock(&loader->lock);
        make_images(worker, ticket);
        pthread_mutex_lock(&loader->lock);
        loader->busy--;
        ticket.slot->finished += ticket.to - ticket.from;
        if (ticket.slot->finished == ticket.slot->planned || loader->busy == 0)
            pthread_cond_broadcast(&loader->done);
    }
    pthread_mutex_unlock(&loader->lock);
    return NULL;
}

static enum dvit_status start_workers(struct dvit_loader *loader, struct dvit_error *error)
{
    int code = 0;
    loader->process = getpid();
    loader->lock_made = pthread_mutex_init(&loader->lock, NULL) == 0;
    loader->work_made = pthread_cond_init(&loader->work, NULL) == 0;
    loader->done_made = pthread_cond_init(&loader->done, NULL) == 0;
    if (!loader->lock_made || !loader->work_made || !loader->done_made)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "loader: cannot make a lock");
    while (loader->thread_count < loader->options.workers && code == 0) {
        struct worker *worker = &loader->workers[loader->thread_count];
        code = dvit_thread_start(&worker->thread, run_worker, worker);
        loader->thread_count += code == 0;
    }
    if (code != 0)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "loader: cannot start thread %d of %d: %s",
                              loader->thread_count + 1, loader->options.workers, strerror(code));
    return DVIT_OK;
}

/* Whether this process was forked from the one that the workers run in. */
static bool is_forked(const struct dvit_loader *loader)
{
    return loader->thread_count > 0 && loader->process != getpid();
}

static enum dvit_status check_process(const struct dvit_loader *loader, struct dvit_error *error)
{
    if (!is_forked(loader))
        return DVIT_OK;
    return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                          "loader: its %d threads run in process %ld, from which this one was "
                          "forked; create a loader here, or one without workers before the fork",
                          loader->thread_count, (long)loader->process);
}

static void stop_workers(struct dvit_loader *loader)
{
    if (is_forked(loader))
        return; /* they cannot be joined, and locks that they hold not be destroyed */
    if (loader->thread_count) {
        pthread_mutex_lock(&loader->lock);
        loader->quit = true;
        pthread_cond_broadcast(&loader->work);
        pthread_mutex_unlock(&loader->lock);
    }
    for (int i = 0; i < loader->thread_count; i++)
        pthread_join(loader->workers[i].thread, NULL);
    if (loader->lock_made)
        pthread_mutex_destroy(&loader->lock);
    if (loader->work_made)
        pthread_cond_destroy(&loader->work);
    if (loader->done_made)
        pthread_cond_destroy(&loader->done);
}

/* ------------------------------------------------------------------------ create and free --- */

static int worker_count(const struct dvit_loader *loader)
{
    return loader->options.workers > 0 ? loader->options.workers : 1;
}

static void layout(struct dvit_loader *loader, struct dvit_arena *arena)
{
    size_t count = (size_t)loader->options.batch, area = loader->area;
    loader->slots = dvit_arena_take(arena, loader->ring, sizeof *loader->slots);
    loader->workers = dvit_arena_take(arena, (size_t)worker_count(loader), sizeof *loader->workers);
    loader->targets =
        dvit_mixing_is_on(&loader->mixing)
            ? dvit_arena_take(arena, count * (size_t)dvit_dataset_classes(loader->dataset),
                              sizeof *loader->targets)
            : NULL;
    for (int i = 0; loader->workers && i < worker_count(loader); i++) {
        loader->workers[i].loader = loader;
        loader->workers[i].room = dvit_image_room_begin(dvit_cpu_best());
    }
    loader->order = dvit_arena_take(arena, loader->images, sizeof *loader->order);
    loader->reported = dvit_arena_take(arena, dvit_dataset_size(loader->dataset), 1);
    for (size_t i = 0; i < loader->ring; i++) {
        struct slot slot = {.batch = SIZE_MAX};
        slot.pixels = dvit_arena_take(arena, count * 3 * area, sizeof *slot.pixels);
        slot.labels = dvit_arena_take(arena, count, sizeof *slot.labels);
        slot.indices = dvit_arena_take(arena, count, sizeof *slot.indices);
        slot.masks = loader->options.want_masks ? dvit_arena_take(arena, count * area, 1) : NULL;
        slot.pictures =
            loader->options.want_pictures ? dvit_arena_take(arena, count * 3 * area, 1) : NULL;
        slot.failed = dvit_arena_take(arena, count, sizeof *slot.failed);
        slot.messages = dvit_arena_take(arena, count, sizeof *slot.messages);
        if (loader->slots)
            loader->slots[i] = slot;
    }
}

static void plan_epoch(struct dvit_loader *loader)
{
    size_t size = dvit_dataset_size(loader->dataset), batch = (size_t)loader->options.batch;
    size_t limit = loader->options.limit;
    loader->images = limit && limit < size ? limit : size;
    loader->batches = loader->images / batch;
    if (loader->images % batch && !loader->options.drop_last)
        loader->batches++;
    loader->area = (size_t)loader->options.preprocess.crop_width *
                   (size_t)loader->options.preprocess.crop_height;
    loader->ring = (size_t)loader->options.ahead + 1;
}

enum dvit_status dvit_loader_create(struct dvit_loader **out, struct dvit_dataset *dataset,
                                    const struct dvit_loader_options *options,
                                    struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, out, dataset, options);
    enum dvit_status status = DVIT_OK;
    struct dvit_loader *loader = NULL;
    DVIT_TRY(dvit_loader_options_check(options, dataset, error));
    loader = calloc(1, sizeof *loader);
    if (!loader)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "loader: out of memory");
    loader->dataset = dataset;
    loader->options = *options;
    if (options->augment) {
        loader->augment = *options->augment;
        loader->options.augment = &loader->augment;
    }
    if (options->mixing)
        loader->mixing = *options->mixing;
    loader->options.mixing = &loader->mixing;
    plan_epoch(loader);
    if (loader->batches == 0)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT,
                  "loader: %zu images do not fill one batch of %d, and the last is left out: use a "
                  "smaller batch (--batch)",
                  loader->images, options->batch);
    layout(loader, &loader->arena);
    if (loader->arena.overflow || loader->arena.used_bytes > max_ring_bytes)
        DVIT_FAIL(
            error, DVIT_ERROR_MEMORY,
            "loader: batches of %d images of %d×%d, %d ahead, need %.2f GB of memory, expected "
            "at most %.2f GB",
            options->batch, options->preprocess.crop_width, options->preprocess.crop_height,
            options->ahead, (double)loader->arena.used_bytes / 1e9, (double)max_ring_bytes / 1e9);
    DVIT_TRY(dvit_arena_commit(&loader->arena, "loader", error));
    layout(loader, &loader->arena);
    DVIT_TRY(start_workers(loader, error));
    *out = loader;
    loader = NULL;
done:
    dvit_loader_free(loader);
    return status;
}

static void drop_messages(struct dvit_loader *loader, struct slot *slot)
{
    for (int i = 0; i < loader->options.batch; i++) {
        free(slot->messages[i]);
        slot->messages[i] = NULL;
    }
}

void dvit_loader_free(struct dvit_loader *loader)
{
    if (!loader)
        return;
    stop_workers(loader);
    for (size_t i = 0; loader->slots && i < loader->ring; i++)
        drop_messages(loader, &loader->slots[i]);
    for (int i = 0; loader->workers && i < worker_count(loader); i++)
        dvit_image_room_free(&loader->workers[i].room);
    for (size_t i = 0; i < loader->skip_count; i++)
        free((char *)loader->skips[i].message);
    free(loader->skips);
    dvit_arena_free(&loader->arena);
    free(loader);
}

size_t dvit_loader_batches(const struct dvit_loader *loader)
{
    if (!loader)
        return 0;
    return loader->batches;
}

/* -------------------------------------------------------------------------------- an epoch --- */

/* Lets the workers finish what they hold; afterwards nobody touches slots or order. */
static void quiesce(struct dvit_loader *loader)
{
    pthread_mutex_lock(&loader->lock);
    loader->open = false;
    while (loader->busy)
        pthread_cond_wait(&loader->done, &loader->lock);
    pthread_mutex_unlock(&loader->lock);
}

static void order_images(struct dvit_loader *loader)
{
    if (loader->options.shuffle) {
        struct dvit_rng rng =
            dvit_rng_stream(loader->options.seed, DVIT_RNG_SHUFFLE, loader->epoch, 0);
        dvit_rng_permutation(&rng, loader->order, (uint32_t)loader->images);
        return;
    }
    for (size_t i = 0; i < loader->images; i++)
        loader->order[i] = (uint32_t)i;
}

enum dvit_status dvit_loader_start(struct dvit_loader *loader, uint64_t epoch, size_t first_batch,
                                   struct dvit_error *error)
{
    DVIT_REQUIRE(error, loader);
    if (first_batch > loader->batches)
        return dvit_error_set(error, DVIT_ERROR_ARGUMENT,
                              "loader: first batch is %zu, an epoch has %zu", first_batch,
                              loader->batches);
    enum dvit_status status = check_process(loader, error);
    if (status != DVIT_OK)
        return status;
    quiesce(loader);
    for (size_t i = 0; i < loader->ring; i++) {
        loader->slots[i].batch = SIZE_MAX;
        drop_messages(loader, &loader->slots[i]);
    }
    loader->epoch = epoch;
    order_images(loader);
    loader->started = true;
    loader->from_zero = first_batch == 0;
    loader->next = first_batch;
    loader->delivered = 0;
    pthread_mutex_lock(&loader->lock);
    loader->ticket_batch = first_batch;
    loader->ticket_place = 0;
    loader->first_held = first_batch;
    loader->open = true;
    pthread_cond_broadcast(&loader->work);
    pthread_mutex_unlock(&loader->lock);
    return DVIT_OK;
}

/* Gives the slots before batch `next` back and waits until that batch is finished. */
static struct slot *await_batch(struct dvit_loader *loader, size_t next)
{
    struct slot *slot = &loader->slots[next % loader->ring];
    struct ticket ticket;
    pthread_mutex_lock(&loader->lock);
    loader->first_held = next;
    if (loader->thread_count == 0) {
        while (loader->ticket_batch <= next && take_ticket(loader, &ticket)) {
            make_images(&loader->workers[0], ticket);
            ticket.slot->finished += ticket.to - ticket.from;
        }
    } else {
        pthread_cond_broadcast(&loader->work);
        while (slot->batch != next || slot->finished < slot->planned)
            pthread_cond_wait(&loader->done, &loader->lock);
    }
    pthread_mutex_unlock(&loader->lock);
    return slot;
}

/* Adds the failed image at `place` to the report, once per image. */
static enum dvit_status report_skip(struct dvit_loader *loader, struct slot *slot, int place,
                                    struct dvit_error *error)
{
    uint32_t index = slot->indices[place];
    if (loader->reported[index])
        return DVIT_OK;
    if (loader->skip_count == loader->skip_capacity) {
        size_t capacity = loader->skip_capacity ? loader->skip_capacity * 2 : 16;
        struct dvit_skip *larger = realloc(loader->skips, capacity * sizeof *larger);
        if (!larger)
            return dvit_error_set(error, DVIT_ERROR_MEMORY,
                                  "loader: out of memory for the report of skipped images");
        loader->skips = larger;
        loader->skip_capacity = capacity;
    }
    loader->reported[index] = 1;
    loader->skips[loader->skip_count++] =
        (struct dvit_skip){.index = index,
                           .name = dvit_dataset_item_name(loader->dataset, index),
                           .message = slot->messages[place]};
    slot->messages[place] = NULL; /* the report owns it now */
    return DVIT_OK;
}

static void move_image(const struct dvit_loader *loader, struct slot *slot, int to, int from)
{
    size_t area = loader->area, t = (size_t)to, f = (size_t)from;
    memcpy(slot->pixels + t * 3 * area, slot->pixels + f * 3 * area,
           3 * area * sizeof *slot->pixels);
    slot->labels[t] = slot->labels[f];
    slot->indices[t] = slot->indices[f];
    if (slot->masks)
        memcpy(slot->masks + t * area, slot->masks + f * area, area);
    if (slot->pictures)
        memcpy(slot->pictures + t * 3 * area, slot->pictures + f * 3 * area, 3 * area);
}

/* Closes the gaps failed images left; *count is what remains. */
static enum dvit_status close_gaps(struct dvit_loader *loader, struct slot *slot, int *count,
                                   struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    int kept = 0;
    for (int place = 0; place < slot->planned; place++) {
        if (slot->failed[place] == DVIT_OK) {
            if (kept != place)
                move_image(loader, slot, kept, place);
            kept++;
            continue;
        }
        if (loader->options.strict)
            DVIT_FAIL(error, slot->failed[place], "%s",
                      slot->messages[place] ? slot->messages[place] : "out of memory");
        DVIT_TRY(report_skip(loader, slot, place, error));
    }
    *count = kept;
done:
    drop_messages(loader, slot);
    return status;
}

static void fill_batch(struct dvit_loader *loader, const struct slot *slot, int count)
{
    loader->batch = (struct dvit_batch){
        .index = slot->batch,
        .count = count,
        .width = loader->options.preprocess.crop_width,
        .height = loader->options.preprocess.crop_height,
        .pixels = slot->pixels,
        .labels = slot->labels,
        .indices = slot->indices,
        .masks = slot->masks,
        .pictures = slot->pictures,
        .own_share = 1,
    };
}

/* Done by the caller's thread: only then is it known who is whose partner. */
static void mix_batch(struct dvit_loader *loader, struct slot *slot)
{
    struct dvit_batch *batch = &loader->batch;
    struct dvit_rng rng =
        dvit_rng_stream(loader->options.seed, DVIT_RNG_MIX, loader->epoch, (uint32_t)batch->index);
    struct dvit_mix_draw draw = dvit_mix_draw(&loader->mixing, batch->width, batch->height, &rng);
    dvit_mix_pixels(&draw, slot->pixels, batch->count, batch->width, batch->height);
    dvit_mix_targets(&draw, loader->targets, batch->labels, batch->count,
                     dvit_dataset_classes(loader->dataset), loader->mixing.label_smoothing);
    batch->targets = loader->targets;
    batch->own_share = draw.share;
}

static enum dvit_status end_of_epoch(const struct dvit_loader *loader, struct dvit_error *error)
{
    struct dvit_skip first;
    if (loader->delivered || !loader->from_zero)
        return DVIT_OK;
    bool known = dvit_loader_skipped(loader, 0, &first);
    return dvit_error_set(error, DVIT_ERROR_FORMAT,
                          "loader: none of the %zu images could be used; the first: %s",
                          loader->images, known ? first.message : "unknown");
}

enum dvit_status dvit_loader_next(struct dvit_loader *loader, const struct dvit_batch **out,
                                  struct dvit_error *error)
{
    DVIT_CLEAR(out);
    DVIT_REQUIRE(error, out, loader);
    enum dvit_status status = DVIT_OK;
    int count = 0;
    DVIT_TRY(check_process(loader, error));
    if (!loader->started)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "loader: no epoch was started");
    while (count == 0 && loader->next < loader->batches) {
        struct slot *slot = await_batch(loader, loader->next);
        DVIT_TRY(close_gaps(loader, slot, &count, error));
        fill_batch(loader, slot, count);
        if (loader->targets && count)
            mix_batch(loader, slot);
        loader->next++;
    }
    if (count == 0)
        DVIT_TRY(end_of_epoch(loader, error));
    loader->delivered += (size_t)count;
    *out = count ? &loader->batch : NULL;
done:
    if (status != DVIT_OK)
        loader->started = false;
    return status;
}

size_t dvit_loader_skipped_count(const struct dvit_loader *loader)
{
    if (!loader)
        return 0;
    return loader->skip_count;
}

bool dvit_loader_skipped(const struct dvit_loader *loader, size_t i, struct dvit_skip *out)
{
    if (!loader || !out || i >= loader->skip_count)
        return false;
    *out = loader->skips[i];
    if (!out->message)
        out->message = "out of memory";
    return true;
}
