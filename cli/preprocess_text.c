/* The options about preprocessing as the one text that the library reads. */
#include <stdio.h>
#include <string.h>

#include "command_line.h"

/* Appends a setting, after a comma where it is not the first. */
static void add_setting(struct cli_options *options, const char *key, const char *value)
{
    size_t used = strlen(options->preprocess_text), room = sizeof options->preprocess_text;
    if (value)
        snprintf(options->preprocess_text + used, room - used, "%s%s=%s",
                 options->preprocess_text[used - 1] == ':' ? "" : ",", key, value);
}

/* One number for all channels, or three with slashes between them. */
static bool add_channels(struct cli_options *options, const char *key,
                         const struct cli_reals *numbers)
{
    char text[100];
    size_t used = 0;
    if (numbers->count != 0 && numbers->count != 1 && numbers->count != 3) {
        cli_error("--%s has %d numbers, expected one or three", key, numbers->count);
        return false;
    }
    for (int i = 0; i < numbers->count; i++)
        used += (size_t)snprintf(text + used, sizeof text - used, "%s%.15g", i ? "/" : "",
                                 numbers->values[i]);
    add_setting(options, key, numbers->count ? text : NULL);
    return true;
}

bool cli_preprocess_compose(struct cli_options *options)
{
    char crop[40];
    bool changed = options->mean.count || options->std.count || options->crop > 0 ||
                   options->interpolation || options->resize;
    if (!options->preprocess && !changed)
        return true;
    snprintf(options->preprocess_text, sizeof options->preprocess_text, "%s%s",
             options->preprocess ? options->preprocess : "", changed ? ":" : "");
    if (!add_channels(options, "mean", &options->mean) ||
        !add_channels(options, "std", &options->std))
        return false;
    snprintf(crop, sizeof crop, "%.15g", options->crop);
    add_setting(options, "crop", options->crop > 0 ? crop : NULL);
    add_setting(options, "interpolation", options->interpolation);
    add_setting(options, "resize", options->resize);
    return true;
}
