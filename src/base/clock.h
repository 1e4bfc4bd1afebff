/* Monotonic time in seconds, for rates and progress; never for anything that is stored. */
#ifndef DVIT_BASE_CLOCK_H
#define DVIT_BASE_CLOCK_H

double dvit_clock_seconds(void);

#endif
