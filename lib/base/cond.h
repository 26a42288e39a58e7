/* cond.h - condition variables that wait by the monotonic clock: a change of the wall clock neither cuts a wait short nor draws it out. */
#ifndef WEIR_BASE_COND_H
#define WEIR_BASE_COND_H

#include <pthread.h>
#include <stdint.h>
#include <time.h>

void cond_init(pthread_cond_t *);
/* The moment in ms from now (0 or less: now), for pthread_cond_timedwait on a condition made by cond_init. */
struct timespec cond_deadline(int64_t ms);

#endif
