/* Draws a batch of the training loader. Its values are turned back into colours, so that erasing
 * and mixing, which happen after normalisation, are seen too. */
#include "augmented_sheet.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "cli.h"
#include "dvit/report.h"

enum { LARGEST_SIDE = 224, TILE = 128 }; /* pixels; the side where --image-size says nothing */

/* The input size asked for, or that of the first readable image. */
static int input_size(struct dvit_dataset *set, const struct cli_options *options,
                      struct cli_size *size)
{
    struct dvit_error error = {0};
    struct dvit_sample sample = {0};
    *size = options->image_size;
    for (size_t i = 0; size->width == 0 && i < dvit_dataset_size(set); i++)
        if (dvit_dataset_read(set, i, &sample, &error) == DVIT_OK)
            *size = (struct cli_size){sample.image.width, sample.image.height};
    dvit_sample_free(&sample);
    if (size->width == 0)
        return cli_fail(&error);
    if (options->image_size.width == 0 &&
        (size->width > LARGEST_SIDE || size->height > LARGEST_SIDE))
        *size = (struct cli_size){LARGEST_SIDE, LARGEST_SIDE};
    return CLI_EXIT_OK;
}

/* Nearest 8-bit colour; noise may lie outside of all colours. */
static unsigned char colour_of(const struct dvit_preprocess *preprocess, int channel, float value)
{
    double colour = rint(255 * ((double)value * (double)preprocess->std[channel] +
                                (double)preprocess->mean[channel]));
    return (unsigned char)(colour < 0 ? 0 : colour > 255 ? 255 : colour);
}

static enum dvit_status denormalise(struct dvit_image *out, const struct dvit_batch *batch,
                                    int index, const struct dvit_preprocess *preprocess,
                                    struct dvit_error *error)
{
    size_t area = (size_t)batch->width * (size_t)batch->height;
    const float *pixels = batch->pixels + (size_t)index * 3 * area;
    enum dvit_status status = dvit_image_create(out, batch->width, batch->height, error);
    for (size_t i = 0; status == DVIT_OK && i < area; i++)
        for (int c = 0; c < 3; c++)
            out->pixels[3 * i + (size_t)c] = colour_of(preprocess, c, pixels[(size_t)c * area + i]);
    return status;
}

/* "cat", or "cat 70 % + dog 30 %". */
static void tell_label(char *text, size_t size, const struct dvit_dataset *set,
                       const struct dvit_batch *batch, int index)
{
    int own = batch->labels[index], partner = batch->labels[batch->count - 1 - index];
    const char *name = dvit_dataset_class_name(set, own);
    if (own == partner || batch->own_share >= 1)
        snprintf(text, size, "%s", name);
    else
        snprintf(text, size, "%s %.0f %% + %s %.0f %%", name, 100 * batch->own_share,
                 dvit_dataset_class_name(set, partner), 100 * (1 - batch->own_share));
}

/* What the sheet holds; each image with its text. */
struct tiles {
    struct dvit_image *images;     /* [count] */
    struct dvit_overlay *overlays; /* [count] */
    char (*labels)[160];           /* [count] */
};

static void free_tiles(struct tiles *tiles, int count)
{
    for (int i = 0; tiles->images && i < count; i++)
        dvit_image_free(&tiles->images[i]);
    free(tiles->images);
    free(tiles->overlays);
    free(tiles->labels);
}

static enum dvit_status fill_tiles(struct tiles *tiles, const struct dvit_dataset *set,
                                   const struct dvit_batch *batch,
                                   const struct dvit_preprocess *preprocess,
                                   struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    for (int i = 0; status == DVIT_OK && i < batch->count; i++) {
        tell_label(tiles->labels[i], sizeof tiles->labels[i], set, batch, i);
        status = denormalise(&tiles->images[i], batch, i, preprocess, error);
        tiles->overlays[i] = (struct dvit_overlay){.image = &tiles->images[i],
                                                   .grid_width = 1,
                                                   .grid_height = 1,
                                                   .note = tiles->labels[i]};
    }
    return status;
}

static int columns_for(int count)
{
    int columns = 1;
    while (columns * columns < count && columns < 12)
        columns++;
    return columns;
}

static enum dvit_status draw_batch(const char *path, const struct dvit_dataset *set,
                                   const struct dvit_batch *batch,
                                   const struct dvit_preprocess *preprocess,
                                   struct dvit_error *error)
{
    size_t count = (size_t)batch->count;
    struct dvit_overlay_options look = dvit_overlay_options_default();
    struct dvit_image sheet = {0};
    struct tiles tiles = {
        .images = calloc(count, sizeof *tiles.images),
        .overlays = calloc(count, sizeof *tiles.overlays),
        .labels = calloc(count, sizeof *tiles.labels),
    };
    look.tile_px = TILE;
    look.grid = false;
    look.columns = columns_for(batch->count);
    enum dvit_status status = DVIT_ERROR_MEMORY;
    *error = (struct dvit_error){.status = status, .message = "out of memory for the preview"};
    if (tiles.images && tiles.overlays && tiles.labels)
        status = fill_tiles(&tiles, set, batch, preprocess, error);
    if (status == DVIT_OK)
        status = dvit_report_gallery(&sheet, tiles.overlays, batch->count, &look, error);
    if (status == DVIT_OK)
        status = dvit_image_write_png(path, &sheet, error);
    dvit_image_free(&sheet);
    free_tiles(&tiles, batch->count);
    return status;
}

int cli_augmented_sheet_write(struct dvit_dataset *train, const struct cli_options *options)
{
    struct dvit_error error = {0};
    struct dvit_loader *loader = NULL;
    struct dvit_preprocess preprocess;
    struct cli_size size;
    const struct dvit_batch *batch = NULL;
    struct dvit_train_options recipe = options->train;
    size_t images = dvit_dataset_size(train);
    recipe.batch = (size_t)options->count < images ? options->count : (int)images;
    recipe.seed = options->seed;
    int code = input_size(train, options, &size);
    if (code != CLI_EXIT_OK)
        return code;
    enum dvit_status status =
        dvit_preprocess_preset("dynamicvit", size.width, size.height, &preprocess, &error);
    if (status == DVIT_OK)
        status = dvit_train_loader_create(&loader, train, &recipe, &preprocess, &error);
    if (status == DVIT_OK)
        status = dvit_loader_start(loader, 0, 0, &error);
    if (status == DVIT_OK)
        status = dvit_loader_next(loader, &batch, &error);
    if (status == DVIT_OK)
        status = draw_batch(options->preview, train, batch, &preprocess, &error);
    dvit_loader_free(loader);
    return status == DVIT_OK ? CLI_EXIT_OK : cli_fail(&error);
}
