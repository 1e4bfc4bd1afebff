/* Has the caller draw the model, and keeps the drawing: kept/epoch-0007.png, and an image in the
 * event file. What is in the picture is the caller's business. */
#include "train/run_pictures.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/file.h"

enum { PICTURES = 10 }; /* of a run: what TensorBoard shows of a series */

bool dvit_run_picture_due(const struct dvit_train_options *options, int epoch)
{
    int every = (options->epochs + PICTURES - 1) / PICTURES;
    return options->draw &&
           (epoch == 0 || (epoch + 1) % every == 0 || epoch + 1 == options->epochs);
}

static enum dvit_status write_file(const char *out, int epoch, const unsigned char *png,
                                   size_t size, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    char name[32], *path = NULL, *folder = dvit_path_join(out, "kept");
    snprintf(name, sizeof name, "epoch-%04d.png", epoch + 1);
    path = folder ? dvit_path_join(folder, name) : NULL;
    if (!path)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", out);
    DVIT_TRY(dvit_folder_create(folder, error));
    DVIT_TRY(dvit_file_replace(path, png, size, error));
done:
    free(path);
    free(folder);
    return status;
}

enum dvit_status dvit_run_picture_add(struct dvit_run_log *log,
                                      const struct dvit_train_options *options,
                                      const struct dvit_model *model, int epoch, long step,
                                      struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_image image = {0};
    struct dvit_event_picture picture = {.tag = "kept/patches"};
    unsigned char *png = NULL;
    if (!dvit_run_picture_due(options, epoch))
        return DVIT_OK;
    DVIT_TRY(options->draw(options->draw_context, model, epoch, &image, error));
    DVIT_TRY(dvit_image_encode_png(&image, &png, &picture.png_bytes, error));
    DVIT_TRY(write_file(options->out, epoch, png, picture.png_bytes, error));
    picture.png = png;
    picture.width = image.width;
    picture.height = image.height;
    if (log->events.records.path)
        DVIT_TRY(dvit_event_file_add_picture(&log->events, dvit_run_log_time(log), step, &picture,
                                             error));
done:
    free(png);
    dvit_image_free(&image);
    return status;
}
