/* Everything: include this, or only the parts you use.
 *
 * The library in a program of one's own:
 *
 * Threads. A model may be read by several threads at once, a data set too; a session, a loader, a
 * table and a training belong to one thread at a time, any one. Sessions, trainings and loaders
 * start threads of their own when they are made, and end them when they are freed.
 *
 * Signals. The library sets no handler. Its threads block all signals but those of faults (SIGSEGV,
 * SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGSYS, SIGABRT); the calling thread does while it computes in
 * dvit_session_run or dvit_train, because a handler that ran in the middle of a product could
 * overwrite memory (dvit/train.h). A signal waits until then, or goes to another thread. A weight
 * file above 512 MiB is mapped while it is read: where another process shortens it meanwhile, the
 * program gets SIGBUS; smaller files are read, and that is an error.
 *
 * fork(). A child has none of the threads. Models and data sets work there; a session starts new
 * threads at its next run; a loader with workers, and what is inside dvit_train, cannot be used.
 * All can be freed. Fork while no other thread is inside the library.
 *
 * Locale. Numbers are printed and read with a decimal point, whatever setlocale was called with,
 * and messages are English but for the system's own words about its errors. The program's locale is
 * not changed.
 *
 * OpenMP. Where oneDNN brings OpenMP, each thread that multiplies does it with a team of one, and
 * the calling thread's own number of threads (omp_set_num_threads) is restored before a function
 * returns. Threads of sessions and of OpenMP do not know of each other: choose both counts. */
#ifndef DVIT_H
#define DVIT_H

#include "dvit/config.h"
#include "dvit/data.h"
#include "dvit/eval.h"
#include "dvit/image.h"
#include "dvit/infer.h"
#include "dvit/labels.h"
#include "dvit/model.h"
#include "dvit/quantize.h"
#include "dvit/report.h"
#include "dvit/status.h"
#include "dvit/train.h"
#include "dvit/weights.h"

#endif
