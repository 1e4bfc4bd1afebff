/* Fills overlays from sessions and names picture files. The drawing is dvit_report's. */
#define _POSIX_C_SOURCE 200809L
#include "picture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "workbench.h"

void cli_view_fill(struct cli_view *view, const struct dvit_session *session,
                   const struct dvit_model *model, int index, const struct dvit_image *image)
{
    const struct dvit_config *config = dvit_model_config(model);
    int stages = dvit_model_chooses(model) ? dvit_session_stages(session) : 0;
    for (int s = 0; s < stages; s++)
        view->kept[s] = dvit_session_kept(session, index, s, &view->kept_count[s]);
    view->overlay = (struct dvit_overlay){.image = image,
                                          .grid_width = config->image_width / config->patch,
                                          .grid_height = config->image_height / config->patch,
                                          .stages = stages,
                                          .kept = stages ? view->kept : NULL,
                                          .kept_count = view->kept_count,
                                          .caption = view->caption,
                                          .note = view->note};
}

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Length of a file's name without its ending. */
static size_t stem_length(const char *name)
{
    const char *dot = strrchr(name, '.');
    return dot && dot != name ? (size_t)(dot - name) : strlen(name);
}

static int compare_stems(const void *a, const void *b)
{
    const char *x = file_name(*(char *const *)a), *y = file_name(*(char *const *)b);
    size_t x_length = stem_length(x), y_length = stem_length(y);
    int order = memcmp(x, y, x_length < y_length ? x_length : y_length);
    return order ? order : (x_length > y_length) - (x_length < y_length);
}

static bool has_twins(char *const *paths, size_t count, bool *fits)
{
    char **sorted = malloc(count * sizeof *sorted);
    bool twins = false;
    *fits = sorted != NULL;
    if (!sorted)
        return false;
    memcpy(sorted, paths, count * sizeof *sorted);
    qsort(sorted, count, sizeof *sorted, compare_stems);
    for (size_t i = 1; !twins && i < count; i++)
        twins = compare_stems(&sorted[i - 1], &sorted[i]) == 0;
    free(sorted);
    return twins;
}

int cli_picture_plan(struct cli_picture_plan *plan, const char *out, char *const *paths,
                     size_t count, bool many)
{
    size_t length = strlen(out);
    bool is_png = length > 4 && strcmp(out + length - 4, ".png") == 0, fits = true;
    *plan = (struct cli_picture_plan){.out = out};
    if (!is_png && !many && !cli_is_folder(out)) {
        cli_error("--picture is \"%s\", expected a name ending in .png, or a folder", out);
        return CLI_EXIT_USAGE;
    }
    plan->is_folder = cli_is_folder(out) || (many && !is_png);
    plan->is_prefix = many && !plan->is_folder;
    plan->numbered = many && has_twins(paths, count, &fits);
    if (!fits) {
        cli_error("out of memory");
        return CLI_EXIT_FAILURE;
    }
    return plan->is_folder ? cli_make_folder(out) : cli_check_file(out);
}

char *cli_picture_path(const struct cli_picture_plan *plan, const char *image_path, size_t index)
{
    const char *name = file_name(image_path);
    size_t out_length = strlen(plan->out);
    size_t size = out_length + strlen(name) + 40;
    char *path = malloc(size), number[24] = "";
    if (!path)
        return NULL;
    if (plan->numbered)
        snprintf(number, sizeof number, "%04zu-", index + 1);
    if (plan->is_folder)
        snprintf(path, size, "%s%s%s%.*s.png", plan->out,
                 plan->out[out_length - 1] == '/' ? "" : "/", number, (int)stem_length(name), name);
    else if (plan->is_prefix)
        snprintf(path, size, "%.*s-%s%.*s.png", (int)out_length - 4, plan->out, number,
                 (int)stem_length(name), name);
    else
        snprintf(path, size, "%s", plan->out);
    return path;
}
