/* A flag that another thread of the program, or a signal handler, raises while the library reads
 * it.
 */
#ifndef DVIT_BASE_FLAG_H
#define DVIT_BASE_FLAG_H

/* The flag's value now; NULL: 0. */
int dvit_flag_read(const volatile int *flag);

#endif
