/* TensorBoard's event files: scalars and pictures over the steps of a run.
 *
 * A file is a row of records, each framed by its length and two checksums, each an Event message of
 * Protocol Buffers. The layout is in TensorFlow's record_writer.cc, event.proto and summary.proto.
 */
#ifndef DVIT_TRAIN_EVENT_FILE_H
#define DVIT_TRAIN_EVENT_FILE_H

#include <stdint.h>

#include "train/record_file.h"

struct dvit_event_file {
    struct dvit_record_file records;
};

struct dvit_event_scalar {
    char tag[64]; /* "loss/total": the part before the slash groups the charts */
    float value;
};

/* A PNG file in memory. */
struct dvit_event_picture {
    const char *tag;
    int width, height; /* pixels */
    const unsigned char *png;
    size_t png_bytes;
};

/* Makes a new file events.out.tfevents.TIME.HOST.PROCESS.N in `folder`, N the first that is free.
 * It tells readers to forget what earlier files of the folder say of `first_step` and later: a
 * resumed run repeats those. Times are seconds since 1970. */
enum dvit_status dvit_event_file_create(struct dvit_event_file *file, const char *folder,
                                        double time_s, long first_step, struct dvit_error *error);
/* One record with all of them; a count of 0 writes none. */
enum dvit_status dvit_event_file_add_scalars(struct dvit_event_file *file, double time_s, long step,
                                             const struct dvit_event_scalar *scalars, size_t count,
                                             struct dvit_error *error);
enum dvit_status dvit_event_file_add_picture(struct dvit_event_file *file, double time_s, long step,
                                             const struct dvit_event_picture *picture,
                                             struct dvit_error *error);
/* Legal on a zeroed struct and twice. */
void dvit_event_file_close(struct dvit_event_file *file);

/* The checksum of the format: CRC-32C (Castagnoli). */
uint32_t dvit_crc32c(const void *data, size_t size_bytes);

#endif
