/* apart.h - test cases that mostly wait, as processes of their own, some at a time. The program is called once more for each, with its number.
 *
 * apart_start before anything else is started; then apart_wait is the case, in its stead.
 */
#ifndef TESTS_SUPPORT_APART_H
#define TESTS_SUPPORT_APART_H

#include <stdbool.h>
#include <stddef.h>

#define APART_MAX 128

/* which: those of the n cases that are processes; must live on. Starts the first ones. */
void apart_start(const bool *which, size_t n, const char *program);
/* Waits for the case, whose output goes to stderr when it failed. True: it passed. */
bool apart_wait(size_t at);

#endif
