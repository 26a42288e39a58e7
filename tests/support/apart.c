/* apart.c - see apart.h. */
#include "support/apart.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/types.h>
#include <sys/wait.h>
#include <unistd.h>

#define AT_A_TIME 14

static struct process {
	pid_t pid;
	FILE *output;
} processes[APART_MAX];
static const bool *apart;
static const char *name;
static size_t count, started; /* all cases before were started, or are none */

static void start(size_t at)
{
	char number[16];
	struct process *p = &processes[at];
	snprintf(number, sizeof number, "%zu", at);
	p->output = tmpfile();
	if (!p->output)
		abort();
	p->pid = fork();
	if (p->pid != 0)
		return;
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (dup2(fileno(p->output), STDOUT_FILENO) >= 0 && dup2(fileno(p->output), STDERR_FILENO) >= 0)
		execl("/proc/self/exe", name, number, (char *)NULL);
	_exit(127);
}

static void start_some(size_t from)
{
	size_t running = 0;
	for (size_t i = from; i < count && running < AT_A_TIME; i++) {
		if (!apart[i])
			continue;
		if (i >= started)
			start(i);
		started = i >= started ? i + 1 : started;
		running++;
	}
}

void apart_start(const bool *which, size_t n, const char *program)
{
	if (n > APART_MAX)
		abort();
	apart = which;
	count = n;
	name = program;
	start_some(0);
}

void apart_case(void **state)
{
	const size_t at = (size_t)(uintptr_t)*state;
	struct process *p = &processes[at];
	char line[512];
	int status = -1;
	start_some(at);
	bool ended = waitpid(p->pid, &status, 0) == p->pid;
	rewind(p->output);
	while ((!ended || status != 0) && fgets(line, sizeof line, p->output))
		fputs(line, stderr);
	fclose(p->output);
	assert_true(ended && status == 0);
}

int apart_main(int argc, char **argv, const char *program, struct CMUnitTest *tests, size_t n, int (*run)(size_t at))
{
	static bool all[APART_MAX];
	if (argc > 1) {
		size_t at = strtoul(argv[1], NULL, 10);
		return at < n ? run(at) : 2;
	}
	memset(all, true, sizeof all);
	apart_start(all, n, program);
	for (size_t i = 0; i < n; i++)
		tests[i] = (struct CMUnitTest){ tests[i].name, apart_case, NULL, NULL, (void *)(uintptr_t)i };
	return _cmocka_run_group_tests(program, tests, n, NULL, NULL);
}
