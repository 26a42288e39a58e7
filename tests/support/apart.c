/* apart.c - see apart.h. */
#include "support/apart.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
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

bool apart_wait(size_t at)
{
	struct process *p = &processes[at];
	char line[512];
	int status = -1;
	start_some(at);
	bool ended = waitpid(p->pid, &status, 0) == p->pid;
	rewind(p->output);
	while ((!ended || status != 0) && fgets(line, sizeof line, p->output))
		fputs(line, stderr);
	fclose(p->output);
	return ended && status == 0;
}
