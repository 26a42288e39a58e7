/* main.c - weir-reconciler: the ledger's owner. */
#include "reconciler.h"

#include "metrics.h"

int main(int argc, char **argv)
{
	struct daemon daemon = reconciler_daemon;
	daemon.metric_count = reconciler_metric_count;
	return daemon_main(&daemon, argc, argv);
}
