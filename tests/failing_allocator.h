/* Makes one allocation fail. A program that is linked with failing_allocator.c and
 * failing_allocator_args (tests/meson.build) has its own calls of malloc, calloc, realloc,
 * aligned_alloc, strdup and strndup counted; those inside shared libraries are theirs. */
#ifndef DVIT_TESTS_FAILING_ALLOCATOR_H
#define DVIT_TESTS_FAILING_ALLOCATOR_H

/* Allocations until the one that fails: 0 is the next one. Each counts it down, past the failing
 * one to −1; negative: none fails. */
extern long allocations_until_failure;

#endif
