/* Reads TensorBoard event files, written from the format's description and not from our writer. */
#ifndef DVIT_TESTS_EVENT_READER_H
#define DVIT_TESTS_EVENT_READER_H

#include "test_util.h"

struct read_event {
    double time;
    uint64_t step;
    char tag[64]; /* empty: no value, but a version or a start */
    float value;
    uint64_t start;      /* SessionLog.status, 0 where there is none */
    char version[32];    /* file_version */
    uint64_t picture[3]; /* height, width, colour space; 0 where there is none */
    size_t png_bytes;
};

struct read_events {
    struct read_event *items; /* one per value; owned */
    size_t count;
    bool cut; /* the file ends within a record */
};

/* Asserts that every whole record is sound: both checksums, known fields. */
struct read_events events_of(const unsigned char *data, size_t size);
/* Those of the only (or the index-th, by name) event file in a folder. */
struct read_events events_in(const char *folder, size_t index);
size_t event_file_count(const char *folder);

#endif
