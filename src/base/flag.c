/* Reading a flag of the program's, an int that it may write as it likes: with an atomic store, or
 * as a volatile int, which is all that its type promises.
 *
 * An aligned int is read whole: a volatile read compiles to the instruction of a relaxed atomic
 * one, and no other memory is read because of what it says. It is not written as an atomic one
 * because ThreadSanitizer would take that, beside a volatile write of the program, for a race. */
#include "base/flag.h"

#include <stddef.h>

__attribute__((noinline, no_sanitize("thread"))) int dvit_flag_read(const volatile int *flag)
{
    return flag ? *flag : 0;
}
