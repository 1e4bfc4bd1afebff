/* The beginning and the end of a worker's room; what fills it is in resize.c, crop.c and
 * preprocess.c. */
#include "image/room.h"

struct dvit_image_room dvit_image_room_begin(enum dvit_cpu cpu)
{
    return (struct dvit_image_room){.resizer = dvit_resizer_begin(cpu)};
}

void dvit_image_room_free(struct dvit_image_room *room)
{
    dvit_resizer_free(&room->resizer);
    dvit_image_free(&room->cut);
    dvit_image_free(&room->spare);
}
