/* Draws a contact sheet with the public image functions. */
#include "sheet.h"

#include <string.h>

#include "cli.h"
#include "dvit/image.h"

enum { TILE = 128, GAP = 4 }; /* pixels */

/* Width and height of an image that fills a tile on its long side. */
static void fit_tile(const struct dvit_image *image, int *width, int *height)
{
    *width = *height = TILE;
    if (image->width > image->height)
        *height = (int)((long)TILE * image->height / image->width);
    else
        *width = (int)((long)TILE * image->width / image->height);
    *width = *width ? *width : 1;
    *height = *height ? *height : 1;
}

static void paste(struct dvit_image *sheet, const struct dvit_image *tile, int x, int y)
{
    for (int row = 0; row < tile->height; row++)
        memcpy(sheet->pixels + 3 * ((size_t)(y + row) * (size_t)sheet->width + (size_t)x),
               tile->pixels + 3 * (size_t)row * (size_t)tile->width, 3 * (size_t)tile->width);
}

static enum dvit_status draw_tile(struct dvit_image *sheet, const struct dvit_image *image, int x,
                                  int y, struct dvit_error *error)
{
    struct dvit_image tile = {0};
    int width, height;
    fit_tile(image, &width, &height);
    enum dvit_status status =
        dvit_image_resize(&tile, image, width, height, DVIT_FILTER_BICUBIC, error);
    if (status == DVIT_OK)
        paste(sheet, &tile, x + (TILE - width) / 2, y + (TILE - height) / 2);
    dvit_image_free(&tile);
    return status;
}

int cli_sheet_write(const char *path, struct dvit_dataset *set, size_t count)
{
    struct dvit_error error = {0};
    struct dvit_image sheet = {0};
    size_t size = dvit_dataset_size(set);
    count = count < size ? count : size;
    int columns = 1;
    while ((size_t)columns * (size_t)columns < count && columns < 12)
        columns++;
    int rows = (int)((count + (size_t)columns - 1) / (size_t)columns);
    enum dvit_status status =
        dvit_image_create(&sheet, columns * (TILE + GAP) + GAP, rows * (TILE + GAP) + GAP, &error);
    for (size_t i = 0; status == DVIT_OK && i < count; i++) {
        struct dvit_sample sample = {0};
        int x = GAP + (int)(i % (size_t)columns) * (TILE + GAP);
        int y = GAP + (int)(i / (size_t)columns) * (TILE + GAP);
        if (dvit_dataset_read(set, i * size / count, &sample, NULL) == DVIT_OK)
            status = draw_tile(&sheet, &sample.image, x, y, &error);
        dvit_sample_free(&sample);
    }
    if (status == DVIT_OK)
        status = dvit_image_write_png(path, &sheet, &error);
    dvit_image_free(&sheet);
    return status == DVIT_OK ? CLI_EXIT_OK : cli_fail(&error);
}
