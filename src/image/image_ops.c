/* The table of operations: what each is called, and how its one argument is understood. The
 * operations themselves are in color_ops.c and geometry_ops.c; who draws them, in policy.c. */
#include "image/image_ops.h"

#include <assert.h>

static const char *const names[] = {
    "AutoContrast", "Equalize",    "Invert", "Rotate",     "Posterize",
    "Solarize",     "SolarizeAdd", "Color",  "Contrast",   "Brightness",
    "Sharpness",    "ShearX",      "ShearY", "TranslateX", "TranslateY",
};
static_assert(sizeof names / sizeof *names == DVIT_OP_COUNT, "one name per operation");

const char *dvit_image_op_name(enum dvit_image_op op)
{
    return names[op];
}

void dvit_image_op_run(enum dvit_image_op op, double argument, const unsigned char fill[3],
                       struct dvit_image *image, struct dvit_image *spare)
{
    struct dvit_affine map = {.a = 1, .e = 1};
    switch (op) {
    case DVIT_OP_AUTO_CONTRAST:
        dvit_image_auto_contrast(image);
        return;
    case DVIT_OP_EQUALIZE:
        dvit_image_equalize(image);
        return;
    case DVIT_OP_INVERT:
        dvit_image_invert(image);
        return;
    case DVIT_OP_ROTATE:
        dvit_image_rotate(image, spare, argument, fill);
        return;
    case DVIT_OP_POSTERIZE:
        dvit_image_posterize(image, (int)argument);
        return;
    case DVIT_OP_SOLARIZE:
        dvit_image_solarize(image, (int)argument);
        return;
    case DVIT_OP_SOLARIZE_ADD:
        dvit_image_solarize_add(image, (int)argument);
        return;
    case DVIT_OP_COLOR:
        dvit_image_color(image, (float)argument);
        return;
    case DVIT_OP_CONTRAST:
        dvit_image_contrast(image, (float)argument);
        return;
    case DVIT_OP_BRIGHTNESS:
        dvit_image_brightness(image, (float)argument);
        return;
    case DVIT_OP_SHARPNESS:
        dvit_image_sharpness(image, spare, (float)argument);
        return;
    case DVIT_OP_SHEAR_X:
        map.b = argument;
        break;
    case DVIT_OP_SHEAR_Y:
        map.d = argument;
        break;
    case DVIT_OP_TRANSLATE_X:
        map.c = argument * image->width;
        break;
    case DVIT_OP_TRANSLATE_Y:
        map.f = argument * image->height;
        break;
    case DVIT_OP_COUNT:
        return;
    }
    dvit_image_affine(image, spare, &map, fill);
}
