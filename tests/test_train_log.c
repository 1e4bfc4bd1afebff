/* The forms of a run's log agree: lines, table and TensorBoard's events say the same, also after
 * the run was stopped and resumed anywhere. */
#include "run_bench.h"

#include <jansson.h>

#include "event_reader.h"
#include "train/run_pictures.h"

static const char header[] =
    "event,time,epoch,step,lr,backbone_lr,loss,loss_cls,loss_ratio,loss_kl,loss_token,loss_aux,"
    "gradient_norm,images_per_s,bad_steps,val_top1,val_top5,val_loss,ema_top1,best";

static char *text_of(const char *folder, const char *name)
{
    struct dvit_error error;
    unsigned char *data;
    size_t size;
    char *path = dvit_path_join(folder, name);
    assert_ok(dvit_file_read(path, 1 << 24, &data, &size, &error), &error);
    free(path);
    return (char *)data;
}

static struct train_run dynamic_run(const char *folder)
{
    struct train_run run = run_create(folder);
    run.dynamic = true;
    return run;
}

/* ---- the table ---- */

/* The next cell of a row, ended with a zero; *row moves behind it. */
static char *next_cell(char **row)
{
    char *cell = *row, *end = cell + strcspn(cell, ",\n");
    *row = *end == ',' ? end + 1 : end;
    *end = 0;
    return cell;
}

static void expect_cell(const char *cell, const json_t *value)
{
    if (!value || json_is_null(value))
        assert_string_equal(cell, "");
    else if (json_is_string(value))
        assert_string_equal(cell, json_string_value(value));
    else if (json_is_boolean(value))
        assert_string_equal(cell, json_is_true(value) ? "1" : "0");
    else if (strtod(cell, NULL) != json_number_value(value))
        fail_msg("the table has %s, the log %.17g", cell, json_number_value(value));
}

/* The column's key in a record of this kind: an evaluation's "loss" is the table's "val_loss". */
static const json_t *logged(const json_t *line, const char *column)
{
    bool step = strcmp(json_string_value(json_object_get(line, "event")), "step") == 0;
    bool validated = strncmp(column, "val_", 4) == 0;
    if (strncmp(column, "keep_", 5) == 0)
        return json_array_get(json_object_get(line, "keep"), (size_t)(column[5] - '1'));
    if (step ? validated : strncmp(column, "loss", 4) == 0)
        return NULL;
    return json_object_get(line, validated ? column + 4 : column);
}

static void compare_row(char *row, const json_t *line, int stages)
{
    char names[sizeof header + 32], *name = names;
    snprintf(names, sizeof names, "%s%s\n", header, stages ? ",keep_1,keep_2" : "");
    while (*name && *name != '\n') {
        const char *column = next_cell(&name);
        expect_cell(next_cell(&row), logged(line, column));
    }
    assert_int_equal(*row, 0); /* nothing is left */
}

/* Every step and evaluation of the log is one row, in its order. */
static void table_agrees(const char *folder, int stages)
{
    char *table = text_of(folder, "log.csv"), *lines = text_of(folder, "log.jsonl");
    char *row = table, first[sizeof header + 32];
    snprintf(first, sizeof first, "%s%s\n", header, stages ? ",keep_1,keep_2" : "");
    assert_memory_equal(table, first, strlen(first));
    row += strlen(first);
    for (char *at = lines, *end; (end = strchr(at, '\n')); at = end + 1) {
        json_t *line = json_loadb(at, (size_t)(end - at), 0, NULL);
        assert_non_null(line);
        const char *event = json_string_value(json_object_get(line, "event"));
        if (strcmp(event, "step") == 0 || strcmp(event, "evaluated") == 0) {
            char *row_end = strchr(row, '\n');
            assert_non_null(row_end);
            *row_end = 0;
            compare_row(row, line, stages);
            row = row_end + 1;
        }
        json_decref(line);
    }
    assert_int_equal(*row, 0);
    free(table);
    free(lines);
}

static size_t lines_in(const char *folder, const char *name)
{
    char *text = text_of(folder, name);
    size_t count = 0;
    for (const char *at = text; (at = strchr(at, '\n')); at++)
        count++;
    free(text);
    return count;
}

static void the_table_says_what_the_log_says(void **state)
{
    for (int dynamic = 0; dynamic < 2; dynamic++) {
        char folder[32];
        struct train_run run = run_create(test_folder_create(folder));
        run.dynamic = dynamic;
        assert_ok(run_train(&run), &run.error);
        table_agrees(folder, dynamic ? 2 : 0);
        assert_int_equal(lines_in(folder, "log.csv"), 1 + RUN_STEPS + RUN_EPOCHS);
        run_free(&run);
        test_folder_remove(folder);
    }
}

/* ---- events ---- */

/* The value of a tag at a step, as a reader finds it that obeys starts; NAN without one. Fails if
 * two are valid. */
static double event_at(const struct read_events *files, size_t count, const char *tag, long step)
{
    double found = NAN;
    for (size_t f = 0; f < count; f++)
        for (size_t i = 0; i < files[f].count; i++) {
            const struct read_event *event = &files[f].items[i];
            if (event->start == 1 && (long)event->step <= step)
                found = NAN;
            if (strcmp(event->tag, tag) != 0 || (long)event->step != step)
                continue;
            assert_true(isnan(found));
            found = (double)event->value;
        }
    return found;
}

static void expect_event(const struct read_events *files, size_t count, const char *tag, long step,
                         const json_t *value)
{
    double found = event_at(files, count, tag, step);
    double expected = json_real_value(value); /* nine digits of it */
    if (!(fabs(found - expected) <= 2e-7 * fabs(expected)))
        fail_msg("%s at step %ld is %g, the log has %g", tag, step, found, expected);
}

static void events_agree(const char *folder, size_t count)
{
    struct read_events files[4];
    char *lines = text_of(folder, "log.jsonl");
    assert_int_equal(event_file_count(folder), count);
    for (size_t f = 0; f < count; f++)
        files[f] = events_in(folder, f);
    for (char *at = lines, *end; (end = strchr(at, '\n')); at = end + 1) {
        json_t *line = json_loadb(at, (size_t)(end - at), 0, NULL);
        const char *event = json_string_value(json_object_get(line, "event"));
        long step = (long)json_integer_value(json_object_get(line, "step"));
        if (strcmp(event, "step") == 0) {
            expect_event(files, count, "loss/total", step, json_object_get(line, "loss"));
            expect_event(files, count, "loss/distillation", step, json_object_get(line, "loss_kl"));
            expect_event(files, count, "rate/lr", step, json_object_get(line, "lr"));
            expect_event(files, count, "step/gradient_norm", step,
                         json_object_get(line, "gradient_norm"));
            expect_event(files, count, "step/images_per_s", step,
                         json_object_get(line, "images_per_s"));
            expect_event(files, count, "keep/stage_2", step,
                         json_array_get(json_object_get(line, "keep"), 1));
        } else if (strcmp(event, "evaluated") == 0) {
            expect_event(files, count, "validation/top1", step, json_object_get(line, "top1"));
            expect_event(files, count, "validation/loss", step, json_object_get(line, "loss"));
            expect_event(files, count, "validation/ema_top1", step,
                         json_object_get(line, "ema_top1"));
        }
        json_decref(line);
    }
    for (size_t f = 0; f < count; f++)
        free(files[f].items);
    free(lines);
}

static void events_say_what_the_log_says(void **state)
{
    char folder[32];
    struct train_run run = dynamic_run(test_folder_create(folder));
    assert_ok(run_train(&run), &run.error);
    events_agree(folder, 1);
    run_free(&run);
    test_folder_remove(folder);
}

static void events_can_be_left_out(void **state)
{
    char folder[32];
    struct train_run run = run_create(test_folder_create(folder));
    run.options.tensorboard = false;
    run.options.epochs = 1;
    assert_ok(run_train(&run), &run.error);
    assert_int_equal(event_file_count(folder), 0);
    run_free(&run);
    test_folder_remove(folder);
}

/* ---- pictures ---- */

struct drawings {
    int count, epochs[8];
    bool failing;
};

static enum dvit_status draw(void *context, const struct dvit_model *model, int epoch,
                             struct dvit_image *out, struct dvit_error *error)
{
    struct drawings *drawings = context;
    assert_non_null(model);
    assert_true(drawings->count < 8);
    drawings->epochs[drawings->count++] = epoch;
    if (!drawings->failing)
        return dvit_image_create(out, 6, 4 + epoch, error);
    error->status = DVIT_ERROR_LIMIT;
    snprintf(error->message, sizeof error->message, "no pencil");
    return error->status;
}

static void expect_picture(const char *folder, int epoch)
{
    char path[96];
    struct dvit_error error;
    struct dvit_image image;
    snprintf(path, sizeof path, "%s/kept/epoch-%04d.png", folder, epoch + 1);
    assert_ok(dvit_image_load(&image, path, NULL, NULL, &error), &error);
    assert_int_equal(image.height, 4 + epoch);
    dvit_image_free(&image);
}

static void pictures_are_kept(void **state)
{
    char folder[32], kept[48];
    struct drawings drawings = {0};
    struct train_run run = run_create(test_folder_create(folder));
    run.options.draw = draw;
    run.options.draw_context = &drawings;
    assert_ok(run_train(&run), &run.error);
    struct read_events events = events_in(folder, 0);
    size_t pictures = 0;
    assert_int_equal(drawings.count, RUN_EPOCHS);
    for (int epoch = 0; epoch < RUN_EPOCHS; epoch++)
        expect_picture(folder, epoch);
    for (size_t i = 0; i < events.count; i++) {
        const struct read_event *event = &events.items[i];
        if (strcmp(event->tag, "kept/patches") != 0)
            continue;
        pictures++;
        assert_int_equal(event->step, pictures * RUN_STEPS_PER_EPOCH);
        assert_int_equal(event->picture[0], 3 + pictures);
        assert_int_equal(event->picture[1], 6);
        assert_int_equal(event->picture[2], 3);
        assert_true(event->png_bytes > 50);
    }
    assert_int_equal(pictures, RUN_EPOCHS);
    free(events.items);
    run_free(&run);
    snprintf(kept, sizeof kept, "%s/kept", folder);
    test_folder_remove(kept);
    test_folder_remove(folder);
}

static void pictures_that_fail_are_told(void **state)
{
    char folder[32];
    struct drawings drawings = {.failing = true};
    struct train_run run = run_create(test_folder_create(folder));
    run.options.draw = draw;
    run.options.draw_context = &drawings;
    assert_ok(run_train(&run), &run.error);
    assert_int_equal(run.told[DVIT_TRAIN_SKIPPED], RUN_EPOCHS);
    assert_string_equal(run.skipped, "no pencil");
    run_free(&run);
    test_folder_remove(folder);
}

static void pictures_are_few(void **state)
{
    struct drawings drawings = {0};
    struct dvit_train_options options = {.epochs = 300};
    int count = 0;
    assert_false(dvit_run_picture_due(&options, 0)); /* nobody draws */
    options.draw = draw;
    options.draw_context = &drawings;
    for (int epoch = 0; epoch < 300; epoch++)
        count += dvit_run_picture_due(&options, epoch);
    assert_int_equal(count, 11);
    assert_true(dvit_run_picture_due(&options, 0));
    assert_true(dvit_run_picture_due(&options, 29));
    assert_true(dvit_run_picture_due(&options, 299));
    options.epochs = 25;
    assert_true(dvit_run_picture_due(&options, 24)); /* the last, though it is no third */
    assert_int_equal(drawings.count, 0);
}

/* ---- stopped and resumed ---- */

/* What a killed run leaves: records after its last state, the last of them cut short. */
static void add_orphans(const char *folder)
{
    static const char orphans[] = "{\"event\":\"step\",\"time\":1,\"epoch\":1,\"step\":8,"
                                  "\"loss\":123}\n{\"event\":\"evaluated\",\"step\":9,\"to";
    char *path = dvit_path_join(folder, "log.jsonl");
    FILE *stream = fopen(path, "ab");
    assert_non_null(stream);
    fputs(orphans, stream);
    fclose(stream);
    free(path);
    path = dvit_path_join(folder, "log.csv");
    stream = fopen(path, "ab");
    assert_non_null(stream);
    fputs("step,1,1,8,,,123,,\nstep,1,", stream);
    fclose(stream);
    free(path);
}

static void logs_agree_after_a_resume(void **state)
{
    char folder[32];
    struct train_run run = dynamic_run(test_folder_create(folder));
    run.stop_at = 7;
    run_train(&run);
    assert_int_equal(run.status, DVIT_ERROR_INTERRUPTED);
    add_orphans(folder);
    run.stop_at = 0;
    run.stop = 0;
    run.options.resume = true;
    assert_ok(run_train(&run), &run.error);
    table_agrees(folder, 2);
    events_agree(folder, 2);
    char *table = text_of(folder, "log.csv");
    assert_null(strstr(table, ",123,"));
    assert_int_equal(lines_in(folder, "log.csv"), 1 + RUN_STEPS + RUN_EPOCHS);
    free(table);
    run_free(&run);
    test_folder_remove(folder);
}

/* A state as it is on disk during an evaluation. */
struct state_during {
    const char *folder;
    struct run_file file;
};

/* A dvit_train_draw that runs after an evaluation, while the state says that it is to come. */
static enum dvit_status keep_state(void *context, const struct dvit_model *model, int epoch,
                                   struct dvit_image *out, struct dvit_error *error)
{
    struct state_during *state = context;
    if (epoch == 0)
        state->file = run_read(state->folder, "state.safetensors");
    return dvit_image_create(out, 1, 1, error);
}

/* Killed between an evaluation and the save after it, a run evaluates again when it goes on. */
static void evaluations_are_logged_once(void **state)
{
    char folder[32], kept[48];
    struct dvit_error error;
    struct state_during killed = {.folder = test_folder_create(folder)};
    struct train_run run = dynamic_run(folder);
    run.options.draw = keep_state;
    run.options.draw_context = &killed;
    run.options.max_steps = RUN_STEPS_PER_EPOCH;
    assert_ok(run_train(&run), &run.error);
    char *path = dvit_path_join(folder, "state.safetensors");
    assert_ok(dvit_file_replace(path, killed.file.data, killed.file.size, &error), &error);
    free(path);
    free(killed.file.data);
    run.options.draw = NULL;
    run.options.max_steps = 0;
    run.options.resume = true;
    assert_ok(run_train(&run), &run.error);
    assert_int_equal(run.told[DVIT_TRAIN_EVALUATED], RUN_EPOCHS);
    table_agrees(folder, 2);
    assert_int_equal(lines_in(folder, "log.csv"), 1 + RUN_STEPS + RUN_EPOCHS);
    run_free(&run);
    snprintf(kept, sizeof kept, "%s/kept", folder);
    test_folder_remove(kept);
    test_folder_remove(folder);
}

/* A run that an earlier dvit began has no table: the resumed one makes it whole. */
static void a_missing_table_is_made_anew(void **state)
{
    char folder[32];
    struct train_run run = dynamic_run(test_folder_create(folder));
    run.options.max_steps = 6;
    assert_ok(run_train(&run), &run.error);
    char *path = dvit_path_join(folder, "log.csv");
    assert_int_equal(remove(path), 0);
    free(path);
    run.options.max_steps = 0;
    run.options.resume = true;
    assert_ok(run_train(&run), &run.error);
    table_agrees(folder, 2);
    run_free(&run);
    test_folder_remove(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_table_says_what_the_log_says),
        cmocka_unit_test(events_say_what_the_log_says),
        cmocka_unit_test(events_can_be_left_out),
        cmocka_unit_test(pictures_are_kept),
        cmocka_unit_test(pictures_that_fail_are_told),
        cmocka_unit_test(pictures_are_few),
        cmocka_unit_test(logs_agree_after_a_resume),
        cmocka_unit_test(evaluations_are_logged_once),
        cmocka_unit_test(a_missing_table_is_made_anew),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
