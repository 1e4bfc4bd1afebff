/* The learning-rate schedule: linear warm-up, then half a cosine. */
#include <math.h>

#include "dvit/train.h"

double dvit_schedule_rate(double base, double min, long it, long warmup, long total)
{
    const double pi = 3.14159265358979323846;
    if (it < warmup)
        return warmup > 1 ? base * (double)it / (double)(warmup - 1) : base;
    if (total <= warmup)
        return base;
    double share = (double)(it - warmup) / (double)(total - warmup);
    return min + 0.5 * (base - min) * (1.0 + cos(pi * share));
}
