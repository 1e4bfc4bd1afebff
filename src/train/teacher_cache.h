/* What a teacher answered, kept in a file from epoch to epoch and from run to run. */
#ifndef DVIT_TRAIN_TEACHER_CACHE_H
#define DVIT_TRAIN_TEACHER_CACHE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error.h"

struct dvit_teacher_cache;

enum { DVIT_TEACHER_CACHE_NEWS = 1400 }; /* bytes of a message, with its end */

/* What the answers are of. `key` says all that they depend on beside the images' pixels: whoever
 * has the same key shares the file. */
struct dvit_teacher_answers {
    const char *key; /* lines of text */
    size_t images;   /* of the data set */
    size_t classes;  /* floats of an answer: logits, … */
    size_t compared; /* … and what a token loss compares, or 0 */
};

/* Opens or begins the file for these answers in `folder`, which is created. DVIT_ERROR_LIMIT where
 * the whole would exceed limit_bytes; DVIT_ERROR_FORMAT where a file of that name is something
 * else; DVIT_ERROR_IO where nothing can be kept there, or where others could write the folder. A
 * file that others could have written is begun anew. A file that can only be read is read. */
enum dvit_status dvit_teacher_cache_open(struct dvit_teacher_cache **out, const char *folder,
                                         const struct dvit_teacher_answers *answers,
                                         double limit_bytes, struct dvit_error *error);
void dvit_teacher_cache_close(struct dvit_teacher_cache *cache); /* NULL is legal */

/* By several threads at once. `pixels` is the hash of the image's pixels as the network sees them:
 * an answer to other pixels is none. False where there is none; logits and compared may then hold
 * anything. */
bool dvit_teacher_cache_read(struct dvit_teacher_cache *cache, uint32_t image, uint64_t pixels,
                             float *logits, float *compared);
/* Keeps an answer. A failure, as of a full disk, ends the writing for good and is told as news. */
void dvit_teacher_cache_write(struct dvit_teacher_cache *cache, uint32_t image, uint64_t pixels,
                              const float *logits, const float *compared);

/* What a user should know, each once: where the file is and how large it becomes, then what went
 * wrong. False where there is nothing new. By one thread, while no other uses the cache. */
bool dvit_teacher_cache_news(struct dvit_teacher_cache *cache, char text[DVIT_TEACHER_CACHE_NEWS]);

/* Answers found and computed so far. */
struct dvit_teacher_cache_counts {
    uint64_t found, missing;
};
struct dvit_teacher_cache_counts dvit_teacher_cache_count(const struct dvit_teacher_cache *cache);

#endif
