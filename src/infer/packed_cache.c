/* The file is a header and the memory of packed weights as it is, so it is for machines like the
 * one that wrote it; the fingerprint in its name says which. The team hashes, reads and checks
 * pieces side by side: one thread alone would take as long as packing does. */
#define _POSIX_C_SOURCE 200809L
#include "infer/packed_cache.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cpu.h"
#include "base/file.h"
#include "base/hash.h"
#include "dvit/status.h"

enum { FORMAT = 1, PIECE_BYTES = 1 << 20 };

struct header {
    char magic[8];
    uint64_t fingerprint, size_bytes, hash; /* hash: of the hashes of the pieces */
    unsigned char zeros[32];
};
_Static_assert(sizeof(struct header) == 64, "no padding is written");
static const char magic[8] = "dvitpack";

/* --- the fingerprint ----------------------------------------------------------------------------
 */

struct hashing {
    const struct dvit_model *model;
    const float *const *parameters;
    uint64_t *hashes; /* [parameters] */
    atomic_size_t next;
};

static void hash_parameters(void *context, int member, int members)
{
    struct hashing *h = context;
    const struct dvit_parameters *all = &h->model->parameters;
    size_t taken;
    (void)member, (void)members;
    while ((taken = atomic_fetch_add(&h->next, 1)) < all->count)
        h->hashes[taken] =
            dvit_hash(taken, h->parameters[taken], all->items[taken].count * sizeof(float));
}

static uint64_t hash_text(uint64_t hash, const char *text)
{
    return dvit_hash(hash, text, strlen(text) + 1);
}

static uint64_t hash_shape(uint64_t hash, const struct dvit_matmul_shape *shape)
{
    const uint64_t numbers[] = {shape->outputs, shape->inputs, shape->bf16, shape->int8,
                                shape->constant};
    return dvit_hash(hash, numbers, sizeof numbers);
}

/* Of what lays packed weights out: the build, the machine, and the operators in their order. */
static uint64_t hash_layout(const struct dvit_products *products, const struct dvit_graph *graph)
{
    char processor[128];
    dvit_cpu_describe(processor, sizeof processor);
    uint64_t hash = hash_text(FORMAT, dvit_version());
    hash = hash_text(hash, processor);
    hash = hash_text(hash, dvit_cpu_name(products->cpu));
    hash = hash_text(hash, dvit_products_server(products));
    for (int i = 0; i < graph->op_count; i++) {
        const struct dvit_op *op = &graph->ops[i];
        struct dvit_op_products shapes;
        if (!op->class->products)
            continue;
        op->class->products(graph, op, products->members, &shapes);
        hash = hash_shape(hash_text(hash, op->name), &shapes.forward);
    }
    return hash;
}

static enum dvit_status find_fingerprint(uint64_t *fingerprint,
                                         const struct dvit_products *products,
                                         const struct dvit_graph *graph,
                                         const struct dvit_model *model,
                                         const float *const *parameters, struct dvit_threads *team,
                                         struct dvit_error *error)
{
    size_t count = model->parameters.count;
    struct hashing hashing = {.model = model, .parameters = parameters};
    hashing.hashes = calloc(count + 1, sizeof *hashing.hashes);
    if (!hashing.hashes)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "packed weights: out of memory");
    dvit_threads_run(team, hash_parameters, &hashing);
    uint64_t hash = hash_layout(products, graph);
    *fingerprint = dvit_hash(hash, hashing.hashes, count * sizeof *hashing.hashes);
    free(hashing.hashes);
    return DVIT_OK;
}

/* --- the file -----------------------------------------------------------------------------------
 */

/* What members do with the pieces of the memory: fill them from a file, if there is one, and hash
 * them. */
struct pieces {
    int descriptor; /* of the file; −1: the memory is filled */
    unsigned char *memory;
    size_t size_bytes, count;
    uint64_t *hashes; /* [count] */
    atomic_size_t next;
    atomic_bool incomplete;
};

static bool read_piece(int descriptor, unsigned char *to, size_t size_bytes, size_t offset)
{
    while (size_bytes > 0) {
        ssize_t got = pread(descriptor, to, size_bytes, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        to += got;
        offset += (size_t)got;
        size_bytes -= (size_t)got;
    }
    return true;
}

static void take_pieces(void *context, int member, int members)
{
    struct pieces *p = context;
    size_t taken;
    (void)member, (void)members;
    while ((taken = atomic_fetch_add(&p->next, 1)) < p->count) {
        size_t first = taken * PIECE_BYTES, rest = p->size_bytes - first;
        size_t size = rest < PIECE_BYTES ? rest : PIECE_BYTES;
        if (p->descriptor >= 0 &&
            !read_piece(p->descriptor, p->memory + first, size, sizeof(struct header) + first))
            atomic_store(&p->incomplete, true);
        p->hashes[taken] = dvit_hash(taken, p->memory + first, size);
    }
}

/* The hash of all pieces; *complete: the file, if there is one, had them all. */
static enum dvit_status hash_pieces(int descriptor, const struct dvit_arena *memory,
                                    struct dvit_threads *team, uint64_t *hash, bool *complete,
                                    struct dvit_error *error)
{
    struct pieces pieces = {.descriptor = descriptor,
                            .memory = memory->base,
                            .size_bytes = memory->size_bytes,
                            .count = (memory->size_bytes + PIECE_BYTES - 1) / PIECE_BYTES};
    pieces.hashes = calloc(pieces.count + 1, sizeof *pieces.hashes);
    if (!pieces.hashes)
        return dvit_error_set(error, DVIT_ERROR_MEMORY, "packed weights: out of memory");
    dvit_threads_run(team, take_pieces, &pieces);
    *hash = dvit_hash(pieces.count, pieces.hashes, pieces.count * sizeof *pieces.hashes);
    *complete = !atomic_load(&pieces.incomplete);
    free(pieces.hashes);
    return DVIT_OK;
}

static bool fits(const struct header *header, uint64_t fingerprint, size_t size_bytes)
{
    return memcmp(header->magic, magic, sizeof magic) == 0 && header->fingerprint == fingerprint &&
           header->size_bytes == size_bytes;
}

/* *found: the memory holds what the file of this fingerprint has. A file that is there and cannot
 * be believed is removed, so that another one can take its place; *why says so. */
static enum dvit_status read_file(const char *path, uint64_t fingerprint,
                                  const struct dvit_arena *memory, struct dvit_threads *team,
                                  bool *found, struct dvit_error *why, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct header header;
    uint64_t hash = 0;
    int descriptor = -1;
    *found = false;
    enum dvit_status opened = dvit_file_open(&descriptor, path, DVIT_OPEN_READ, NULL, why);
    if (opened == DVIT_OK && dvit_file_check_trust(descriptor, path, why) != DVIT_OK) {
        unlink(path);
        goto done;
    }
    if (opened == DVIT_ERROR_NOT_FOUND)
        why->status = DVIT_OK;
    if (opened != DVIT_OK || !read_piece(descriptor, (unsigned char *)&header, sizeof header, 0) ||
        !fits(&header, fingerprint, memory->size_bytes))
        goto done;
    DVIT_TRY(hash_pieces(descriptor, memory, team, &hash, found, error));
    *found = *found && hash == header.hash;
    if (!*found) /* as it was before something was read */
        memset(memory->base, 0, memory->size_bytes);
done:
    if (descriptor >= 0)
        close(descriptor);
    return status;
}

static enum dvit_status write_file(const char *path, uint64_t fingerprint,
                                   const struct dvit_arena *memory, struct dvit_threads *team,
                                   struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_file_writer writer = {0};
    struct header header = {.fingerprint = fingerprint, .size_bytes = memory->size_bytes};
    bool complete;
    memcpy(header.magic, magic, sizeof magic);
    DVIT_TRY(hash_pieces(-1, memory, team, &header.hash, &complete, error));
    DVIT_TRY(dvit_file_begin(&writer, path, error));
    dvit_file_protect(fileno(writer.stream));
    DVIT_TRY(dvit_file_check_trust(fileno(writer.stream), path, error));
    DVIT_TRY(dvit_file_write(&writer, &header, sizeof header, error));
    DVIT_TRY(dvit_file_write(&writer, memory->base, memory->size_bytes, error));
    DVIT_TRY(dvit_file_commit(&writer, error));
done:
    dvit_file_abandon(&writer);
    return status;
}

enum dvit_status dvit_packed_cache_fill(const char *folder, struct dvit_products *products,
                                        struct dvit_graph *graph, const struct dvit_model *model,
                                        const float *const *parameters, struct dvit_threads *team,
                                        char trouble[DVIT_PACKED_TROUBLE], struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    uint64_t fingerprint = 0;
    bool found = false;
    char name[64], *path = NULL;
    struct dvit_error unread = {0}, unkept = {0};
    *trouble = 0;
    DVIT_TRY(find_fingerprint(&fingerprint, products, graph, model, parameters, team, error));
    snprintf(name, sizeof name, "%016" PRIx64 ".packed", fingerprint);
    path = dvit_path_join(folder, name);
    if (!path)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "packed weights: out of memory");
    enum dvit_status place = dvit_folder_create_own(folder, &unkept);
    if (place == DVIT_OK)
        DVIT_TRY(read_file(path, fingerprint, &products->packed, team, &found, &unread, error));
    if (found)
        goto done;
    DVIT_TRY(dvit_products_pack(products, graph, parameters, team, error));
    dvit_folder_sweep(folder);
    if (place == DVIT_OK)
        place = write_file(path, fingerprint, &products->packed, team, &unkept);
    if (place == DVIT_OK && unread.status == DVIT_OK)
        goto done;
    snprintf(trouble, DVIT_PACKED_TROUBLE, "%.980s; the weights were packed anew%s",
             unread.status != DVIT_OK ? unread.message : unkept.message,
             place == DVIT_OK ? " and kept" : " and are not kept");
done:
    free(path);
    return status;
}
