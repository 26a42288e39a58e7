/* main.c - weir-fetcher: chain nodes in, raw blocks out. */
#include "fetcher.h"

int main(int argc, char **argv)
{
	const struct daemon fetcher = {
		.name = "fetcher",
		.summary = "follows chains through their nodes and publishes each block as it was answered",
		.metrics = fetcher_metrics,
		.metric_count = fetcher_metric_count,
		.asks_nodes = true,
		.state_size = sizeof(struct fetcher),
		.init = fetcher_init,
		.check = fetcher_check,
		.run = fetcher_run,
		.deinit = fetcher_deinit,
	};
	return daemon_main(&fetcher, argc, argv);
}
