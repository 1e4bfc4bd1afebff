/* Names what is in one image: the smallest program on the public headers.
 *
 *     classify_image MODEL IMAGE
 *
 * MODEL is a file that dvit wrote (dvit train, dvit sparsify). Prints the three best classes, and
 * how many patches each pruning stage kept. */
#include <stdio.h>
#include <stdlib.h>

#include "dvit/dvit.h"

enum { BEST = 3 };

static void print_answer(const struct dvit_model *model, const struct dvit_session *session,
                         float *logits)
{
    int best[BEST], classes = dvit_model_config(model)->classes;
    int count = classes < BEST ? classes : BEST;
    dvit_softmax(logits, classes, logits);
    dvit_top_k(logits, classes, count, best);
    for (int i = 0; i < count; i++)
        printf("%5.1f %%  %s\n", 100.0 * logits[best[i]], dvit_model_label(model, best[i]));
    for (int stage = 0; stage < dvit_session_stages(session); stage++) {
        int kept;
        dvit_session_kept(session, 0, stage, &kept);
        printf("stage %d kept %d of %d patches\n", stage + 1, kept,
               dvit_config_patches(dvit_model_config(model)));
    }
}

/* pixels and logits have room for one image. */
static enum dvit_status classify(const struct dvit_model *model, const struct dvit_image *image,
                                 float *pixels, float *logits, struct dvit_error *error)
{
    struct dvit_session_options options = dvit_session_options_default();
    struct dvit_session *session = NULL;
    options.max_batch = 1;
    enum dvit_status status = dvit_session_create(&session, model, &options, error);
    if (status == DVIT_OK)
        status = dvit_preprocess_run(dvit_model_preprocess(model), image, pixels, error);
    if (status == DVIT_OK)
        status = dvit_session_run(session, pixels, 1, logits, error);
    if (status == DVIT_OK)
        print_answer(model, session, logits);
    dvit_session_free(session);
    return status;
}

int main(int count, char **arguments)
{
    struct dvit_error error = {0};
    struct dvit_model *model = NULL;
    struct dvit_image image = {0};
    struct dvit_decode_options decode = dvit_decode_options_default();
    if (count != 3) {
        fprintf(stderr, "usage: classify_image MODEL IMAGE\n");
        return 2;
    }
    decode.apply_orientation = true; /* a photograph, not a data set */
    enum dvit_status status = dvit_model_load(&model, arguments[1], NULL, &error);
    if (status == DVIT_OK)
        status = dvit_image_load(&image, arguments[2], &decode, NULL, &error);
    if (status == DVIT_OK) {
        const struct dvit_config *config = dvit_model_config(model);
        size_t area = (size_t)config->image_width * (size_t)config->image_height;
        float *pixels = malloc(3 * area * sizeof *pixels);
        float *logits = malloc((size_t)config->classes * sizeof *logits);
        if (pixels && logits) {
            status = classify(model, &image, pixels, logits, &error);
        } else {
            status = DVIT_ERROR_MEMORY;
            snprintf(error.message, sizeof error.message, "out of memory");
        }
        free(pixels);
        free(logits);
    }
    if (status != DVIT_OK)
        fprintf(stderr, "classify_image: %s\n", error.message);
    dvit_image_free(&image);
    dvit_model_free(model);
    return status != DVIT_OK;
}
