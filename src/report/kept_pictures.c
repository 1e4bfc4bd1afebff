/* The pictures that a training left in kept/ of its run folder: what was kept, epoch by epoch.
 *
 * Shows a few of them, from the first to the last. A file that is no picture is mentioned and left
 * out: a folder may be damaged, and its report is worth having all the same. */
#include "report/page.h"

#include <ctype.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "dvit/image.h"

enum { MAX_SHOWN = 6, MAX_PICTURE_BYTES = 32 << 20 };

/* The epoch of a file name like "epoch-0007.png", or −1. */
static long epoch_of(const char *name)
{
    char *end;
    if (strncmp(name, "epoch-", 6) != 0 || !isdigit((unsigned char)name[6]))
        return -1;
    long epoch = strtol(name + 6, &end, 10);
    return strcmp(end, ".png") == 0 && epoch < LONG_MAX ? epoch : -1;
}

static int compare_epochs(const void *left, const void *right)
{
    long a = epoch_of(*(char *const *)left), b = epoch_of(*(char *const *)right);
    return (a > b) - (a < b);
}

/* Sorts the names by epoch, pictures behind everything else; the index of the first picture. */
static size_t sort_names(struct dvit_names *names)
{
    size_t first = 0;
    if (names->count)
        qsort(names->items, names->count, sizeof *names->items, compare_epochs);
    while (first < names->count && epoch_of(names->items[first]) < 0)
        first++;
    return first;
}

static void add_image(struct dvit_markup *markup, const struct dvit_image *image,
                      const unsigned char *file, size_t size, const char *label, long epoch)
{
    dvit_markup_format(markup, "<figure class=\"picture\"><img width=\"%d\" height=\"%d\" alt=\"",
                       image->width, image->height);
    dvit_markup_escape(markup, label);
    dvit_markup_format(markup, ": patches kept after epoch %ld\" src=\"data:image/png;base64,",
                       epoch);
    dvit_markup_base64(markup, file, size);
    dvit_markup_format(markup, "\"/><figcaption>epoch %ld</figcaption></figure>\n", epoch);
}

static enum dvit_status add_file(struct dvit_markup *markup, const char *folder, const char *name,
                                 const char *label, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_image image = {0};
    unsigned char *file = NULL;
    size_t size = 0;
    char *path = dvit_path_join(folder, name);
    if (!path)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", folder);
    status = dvit_file_read(path, MAX_PICTURE_BYTES, &file, &size, error);
    if (status == DVIT_OK)
        status = dvit_image_decode(&image, file, size, NULL, NULL, error);
    if (status == DVIT_ERROR_MEMORY)
        goto done;
    if (status == DVIT_OK) {
        add_image(markup, &image, file, size, label, epoch_of(name));
    } else {
        dvit_markup_add(markup, "<p class=\"note\">Left out: ");
        dvit_markup_escape(markup, error->message);
        dvit_markup_add(markup, "</p>\n");
    }
    status = DVIT_OK;
done:
    dvit_image_free(&image);
    free(file);
    free(path);
    return status;
}

/* What the labels in the pictures say, in a size that is always readable. */
static void add_counts(struct dvit_markup *markup, const struct dvit_page_run *run)
{
    if (!run->kept_stages)
        return;
    dvit_markup_add(markup, "<p class=\"note\">From left to right: the image, then what inference "
                            "keeps after each stage: ");
    for (int s = 0; s < run->kept_stages; s++)
        dvit_markup_format(markup, "%s%d", s ? ", " : "", run->kept[s]);
    dvit_markup_format(markup, " of %d patches.</p>\n", run->patches);
}

static enum dvit_status add_run(const struct dvit_page_run *run, bool named, bool *begun,
                                struct dvit_markup *markup, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_names names = {0};
    struct dvit_markup label = {0};
    char *folder = dvit_path_join(run->folder, "kept");
    if (!folder)
        DVIT_FAIL(error, DVIT_ERROR_MEMORY, "\"%s\": out of memory", run->folder);
    if (!dvit_folder_exists(folder))
        goto done;
    DVIT_TRY(dvit_folder_list(folder, &names, error));
    size_t first = sort_names(&names), count = names.count - first;
    size_t shown = count < MAX_SHOWN ? count : MAX_SHOWN;
    if (count == 0)
        goto done;
    dvit_markup_add_bytes(&label, run->label, run->label_length);
    markup->failed = markup->failed || label.failed;
    if (!*begun)
        dvit_markup_add(markup, "<section>\n<h2>Patches kept, epoch by epoch</h2>\n");
    *begun = true;
    if (named) {
        dvit_markup_add(markup, "<h3>");
        dvit_markup_escape(markup, label.text);
        dvit_markup_add(markup, "</h3>\n");
    }
    add_counts(markup, run);
    dvit_markup_add(markup, "<div class=\"epochs\">\n");
    for (size_t i = 0; i < shown; i++) {
        size_t at = shown > 1 ? i * (count - 1) / (shown - 1) : 0;
        DVIT_TRY(add_file(markup, folder, names.items[first + at], label.text, error));
    }
    dvit_markup_add(markup, "</div>\n");
done:
    dvit_markup_free(&label);
    dvit_names_free(&names);
    free(folder);
    return status;
}

enum dvit_status dvit_page_add_kept(const struct dvit_page_run *runs, size_t count,
                                    struct dvit_markup *markup, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    bool begun = false;
    for (size_t i = 0; i < count; i++)
        DVIT_TRY(add_run(&runs[i], count > 1, &begun, markup, error));
    if (begun)
        dvit_markup_add(markup, "</section>\n");
done:
    return status;
}
