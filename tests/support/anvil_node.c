/* anvil_node.c - starts anvil, reads the port that it says it listens on. */
#include "support/anvil_node.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *binary(void)
{
	const char *path = getenv("WEIR_ANVIL");
	return path ? path : "tests/support/chain/node_modules/@foundry-rs/anvil-linux-amd64/bin/anvil";
}

bool anvil_node_available(void)
{
	return access(binary(), X_OK) == 0;
}

void anvil_node_start(struct anvil_node *node, int port)
{
	int out[2];
	char wanted[16], line[512];
	snprintf(wanted, sizeof wanted, "%d", port);
	if (pipe(out) != 0)
		abort();
	node->pid = fork();
	if (node->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		dup2(out[1], 1);
		dup2(out[1], 2);
		close(out[0]);
		close(out[1]);
		execl(binary(), binary(), "--host", "127.0.0.1", "--port", wanted, "--no-mining", (char *)NULL);
		_exit(127);
	}
	close(out[1]);
	FILE *lines = fdopen(out[0], "r");
	node->port = 0;
	while (node->port == 0 && fgets(line, sizeof line, lines))
		sscanf(line, "Listening on 127.0.0.1:%d", &node->port);
	if (node->port == 0)
		abort();
	fclose(lines);
	snprintf(node->url, sizeof node->url, "http://127.0.0.1:%d", node->port);
	snprintf(node->ws_url, sizeof node->ws_url, "ws://127.0.0.1:%d", node->port);
}

void anvil_node_stop(struct anvil_node *node)
{
	if (node->pid) {
		kill(node->pid, SIGKILL);
		waitpid(node->pid, NULL, 0);
	}
	node->pid = 0;
}
