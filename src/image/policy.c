/* Policies: reading timm's texts, and drawing the operations of one image. What the operations do
 * is in color_ops.c and geometry_ops.c, AutoAugment's tables in auto_augment.c. */
#include "image/policy.h"

#include <ctype.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define FULL_MAGNITUDE 10.0

/* ---- reading ---- */

enum { MAX_TEXT = 127 };

/* The numbers a policy's text can have, in the order of enum part. */
enum part { PART_M, PART_N, PART_P, PART_MSTD, PART_MMAX, PART_INC, PART_COUNT };
static const struct {
    const char *key;
    double low, high;
    bool whole;
    bool for_pairs; /* AutoAugment has it too */
} parts[PART_COUNT] = {
    {"m", 0, 100, true, false},    {"n", 1, DVIT_POLICY_LAYERS, true, false},
    {"p", 0, 1, false, false},     {"mstd", 0, 1e6, false, true},
    {"mmax", 1, 100, true, false}, {"inc", 0, 1, true, false},
};

static int find_part(const char *text, size_t length, bool for_pairs)
{
    for (int i = 0; i < PART_COUNT; i++)
        if (strlen(parts[i].key) == length && memcmp(parts[i].key, text, length) == 0)
            return parts[i].for_pairs || !for_pairs ? i : -1;
    return -1;
}

static void set_part(struct dvit_policy *policy, enum part part, double value)
{
    const double uniform_above = 100; /* timm's word for "no fixed deviation" */
    switch (part) {
    case PART_M:
        policy->magnitude = value;
        break;
    case PART_N:
        policy->layers = (int)value;
        break;
    case PART_P:
        policy->probability = value;
        break;
    case PART_MSTD:
        policy->deviation = value > uniform_above ? INFINITY : value;
        break;
    case PART_MMAX:
        policy->ceiling = value;
        break;
    case PART_INC:
        policy->increasing = value != 0;
        break;
    case PART_COUNT:
        break;
    }
}

/* A number of digits and one point, as Python's int or float read it; no sign, no exponent. */
static bool read_number(const char *text, bool whole, double *out)
{
    size_t digits = strspn(text, "0123456789"), length = digits;
    if (!whole && text[length] == '.')
        length += 1 + strspn(text + length + 1, "0123456789");
    *out = 0;
    double unit = 1;
    for (size_t i = 0; i < length; i++)
        if (text[i] != '.') {
            *out = *out * 10 + (text[i] - '0');
            unit *= i > digits ? 10 : 1;
        }
    *out /= unit;
    return digits > 0 && text[length] == 0;
}

/* One part between dashes, 0-terminated. `seen`: bits of those read before. */
static enum dvit_status read_part(struct dvit_policy *policy, const char *part, unsigned *seen,
                                  const char *text, struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    size_t letters = 0;
    double value;
    while (isalpha((unsigned char)part[letters]))
        letters++;
    if (!policy->pairs && strcmp(part, "tweights") == 0) {
        policy->weighted = policy->increasing = true;
        return DVIT_OK;
    }
    int found = find_part(part, letters, policy->pairs != NULL);
    if (found < 0)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT,
                  "augmentation policy \"%s\": \"%s\" is not known; expected %s", text, part,
                  policy->pairs ? "mstdX" : "mN, nN, pX, mstdX, mmaxN, inc0, inc1 or tweights");
    if (!read_number(part + letters, parts[found].whole, &value) || value < parts[found].low ||
        value > parts[found].high)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT,
                  "augmentation policy \"%s\": \"%s\" needs a %snumber from %g to %g after \"%s\"",
                  text, part, parts[found].whole ? "whole " : "", parts[found].low,
                  parts[found].high, parts[found].key);
    if (*seen & 1u << found)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "augmentation policy \"%s\": \"%s\" is given twice",
                  text, parts[found].key);
    *seen |= 1u << found;
    set_part(policy, (enum part)found, value);
done:
    return status;
}

enum dvit_status dvit_policy_parse(struct dvit_policy *out, const char *text,
                                   struct dvit_error *error)
{
    enum dvit_status status = DVIT_OK;
    struct dvit_policy policy = {
        .layers = 2, .probability = .5, .magnitude = FULL_MAGNITUDE, .ceiling = FULL_MAGNITUDE};
    char copy[MAX_TEXT + 1], *rest = copy;
    unsigned seen = 0;
    *out = (struct dvit_policy){0};
    if (!text || !*text || strcmp(text, "none") == 0)
        return DVIT_OK;
    if (strlen(text) > MAX_TEXT)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT, "augmentation policy has %zu bytes, at most %d",
                  strlen(text), MAX_TEXT);
    memcpy(copy, text, strlen(text) + 1);
    size_t length = strcspn(copy, "-");
    rest = copy[length] ? copy + length + 1 : NULL;
    copy[length] = 0;
    policy.pairs = dvit_auto_augment_find(copy);
    if (!policy.pairs && strcmp(copy, "rand") != 0)
        DVIT_FAIL(error, DVIT_ERROR_ARGUMENT,
                  "augmentation policy \"%s\": \"%s\" is not known; expected rand, original, "
                  "originalr, v0 or v0r, or none",
                  text, copy);
    while (rest) {
        char *part = rest, *dash = strchr(rest, '-');
        rest = dash ? dash + 1 : NULL;
        if (dash)
            *dash = 0;
        DVIT_TRY(read_part(&policy, part, &seen, text, error));
    }
    policy.increasing = policy.increasing || policy.weighted; /* also where inc0 came later */
    *out = policy;
done:
    return status;
}

/* ---- arguments ---- */

static bool is_enhancer(enum dvit_image_op op)
{
    return op == DVIT_OP_COLOR || op == DVIT_OP_CONTRAST || op == DVIT_OP_BRIGHTNESS ||
           op == DVIT_OP_SHARPNESS;
}

bool dvit_policy_is_signed(enum dvit_image_op op, enum dvit_policy_scale scale)
{
    if (is_enhancer(op))
        return scale == DVIT_SCALE_INCREASING;
    return op == DVIT_OP_ROTATE || op >= DVIT_OP_SHEAR_X;
}

static int bits_kept(enum dvit_policy_scale scale, double level)
{
    int bits = (int)(level * 4);
    return scale == DVIT_SCALE_PLAIN ? bits : scale == DVIT_SCALE_INCREASING ? 4 - bits : bits + 4;
}

static int solarize_threshold(enum dvit_policy_scale scale, double level)
{
    int threshold = (int)(level * 256);
    threshold = threshold < 256 ? threshold : 256;
    return scale == DVIT_SCALE_INCREASING ? 256 - threshold : threshold;
}

static double enhancing_factor(enum dvit_policy_scale scale, double level, double sign)
{
    if (scale != DVIT_SCALE_INCREASING)
        return level * 1.8 + 0.1;
    double factor = 1.0 + sign * (level * .9);
    return factor > 0.1 ? factor : 0.1;
}

double dvit_policy_argument(enum dvit_image_op op, enum dvit_policy_scale scale, double magnitude,
                            bool negative)
{
    double level = magnitude / FULL_MAGNITUDE, sign = negative ? -1 : 1;
    int add = (int)(level * 110);
    switch (op) {
    case DVIT_OP_ROTATE:
        return sign * (level * 30.0);
    case DVIT_OP_POSTERIZE:
        return bits_kept(scale, level);
    case DVIT_OP_SOLARIZE:
        return solarize_threshold(scale, level);
    case DVIT_OP_SOLARIZE_ADD:
        return add < 128 ? add : 128;
    case DVIT_OP_SHEAR_X:
    case DVIT_OP_SHEAR_Y:
        return sign * (level * 0.3);
    case DVIT_OP_TRANSLATE_X:
    case DVIT_OP_TRANSLATE_Y:
        return sign * (level * 0.45);
    default:
        return is_enhancer(op) ? enhancing_factor(scale, level, sign) : 0;
    }
}

/* ---- drawing ---- */

/* Shares of "tweights", of no particular sum. */
static const double weights[DVIT_OP_COUNT] = {
    [DVIT_OP_ROTATE] = 3,         [DVIT_OP_SHEAR_X] = 2,         [DVIT_OP_SHEAR_Y] = 2,
    [DVIT_OP_TRANSLATE_X] = 1,    [DVIT_OP_TRANSLATE_Y] = 1,     [DVIT_OP_COLOR] = .25,
    [DVIT_OP_SHARPNESS] = .25,    [DVIT_OP_AUTO_CONTRAST] = .25, [DVIT_OP_SOLARIZE] = .05,
    [DVIT_OP_SOLARIZE_ADD] = .05, [DVIT_OP_CONTRAST] = .05,      [DVIT_OP_BRIGHTNESS] = .05,
    [DVIT_OP_EQUALIZE] = .05,     [DVIT_OP_POSTERIZE] = .05,     [DVIT_OP_INVERT] = .05,
};

/* One operation by weight, not one of those in `taken`. */
static enum dvit_image_op draw_weighted(unsigned *taken, struct dvit_rng *rng)
{
    double sum = 0;
    int last = 0;
    for (int op = 0; op < DVIT_OP_COUNT; op++)
        sum += *taken & 1u << op ? 0 : weights[op];
    double left = dvit_rng_uniform(rng) * sum;
    for (int op = 0; op < DVIT_OP_COUNT && left >= 0; op++) {
        if (*taken & 1u << op)
            continue;
        left -= weights[op];
        last = op;
    }
    *taken |= 1u << last;
    return (enum dvit_image_op)last;
}

/* The steps of one image: all choices are drawn before what becomes of each. */
static void choose_steps(const struct dvit_policy *policy, struct dvit_rng *rng,
                         struct dvit_policy_step steps[DVIT_POLICY_LAYERS])
{
    unsigned taken = 0;
    if (policy->pairs) {
        uint32_t pair = dvit_rng_below(rng, DVIT_AUTO_AUGMENT_PAIRS);
        memcpy(steps, policy->pairs[pair], sizeof policy->pairs[pair]);
        return;
    }
    for (int i = 0; i < policy->layers; i++)
        steps[i] = (struct dvit_policy_step){
            .op = policy->weighted ? draw_weighted(&taken, rng)
                                   : (enum dvit_image_op)dvit_rng_below(rng, DVIT_OP_COUNT),
            .scale = policy->increasing ? DVIT_SCALE_INCREASING : DVIT_SCALE_PLAIN,
            .probability = policy->probability,
            .magnitude = policy->magnitude,
        };
}

static double draw_magnitude(const struct dvit_policy *policy, double magnitude,
                             struct dvit_rng *rng)
{
    if (isinf(policy->deviation))
        magnitude = dvit_rng_range(rng, 0, magnitude);
    else if (policy->deviation > 0)
        magnitude += policy->deviation * dvit_rng_normal(rng);
    return magnitude < 0 ? 0 : magnitude > policy->ceiling ? policy->ceiling : magnitude;
}

struct dvit_policy_draw dvit_policy_draw(const struct dvit_policy *policy, struct dvit_rng *rng)
{
    struct dvit_policy_draw draw = {0};
    struct dvit_policy_step steps[DVIT_POLICY_LAYERS];
    if (policy->layers == 0)
        return draw;
    choose_steps(policy, rng, steps);
    for (int i = 0; i < policy->layers; i++) {
        const struct dvit_policy_step *step = &steps[i];
        if (dvit_rng_uniform(rng) >= step->probability)
            continue;
        double magnitude = draw_magnitude(policy, step->magnitude, rng);
        bool negative =
            dvit_policy_is_signed(step->op, step->scale) && dvit_rng_uniform(rng) >= 0.5;
        draw.ops[draw.count].op = step->op;
        draw.ops[draw.count++].argument =
            dvit_policy_argument(step->op, step->scale, magnitude, negative);
    }
    return draw;
}

struct dvit_policy_draw dvit_jitter_draw(double strength, struct dvit_rng *rng)
{
    static const enum dvit_image_op ops[3] = {DVIT_OP_BRIGHTNESS, DVIT_OP_CONTRAST, DVIT_OP_COLOR};
    struct dvit_policy_draw draw = {.count = 3};
    uint32_t order[3];
    double low = strength < 1 ? 1 - strength : 0;
    dvit_rng_permutation(rng, order, 3);
    for (int i = 0; i < 3; i++) {
        draw.ops[i].op = ops[order[i]];
        draw.ops[i].argument = dvit_rng_range(rng, low, 1 + strength);
    }
    return draw;
}
