/* apart.h - test cases that mostly wait, as processes of their own, some at a time. The program is called once more for each, with its number.
 *
 * apart_start before anything else is started; then apart_case is the case, in its stead, with its number as the state. apart_main does all of it where each
 * case of a program is a process.
 */
#ifndef TESTS_SUPPORT_APART_H
#define TESTS_SUPPORT_APART_H

#include <stdbool.h>
#include <stddef.h>

#define APART_MAX 128

/* which: those of the n cases that are processes; must live on. Starts the first ones. */
void apart_start(const bool *which, size_t n, const char *program);
/* Waits for the case, whose output goes to stderr when it failed. */
void apart_case(void **state);

struct CMUnitTest;
/* A main whose n tests are replaced by processes. run: test `at`, what it needs before and behind it; returns how many failed. */
int apart_main(int argc, char **argv, const char *program, struct CMUnitTest *tests, size_t n, int (*run)(size_t at));

#endif
