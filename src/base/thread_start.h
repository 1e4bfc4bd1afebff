/* The one way to start a thread: with signals blocked, as base/threads.h says. */
#ifndef DVIT_BASE_THREAD_START_H
#define DVIT_BASE_THREAD_START_H

#include <pthread.h>

/* pthread_create. Returns 0 or an errno value. */
int dvit_thread_start(pthread_t *thread, void *(*function)(void *), void *context);

#endif
