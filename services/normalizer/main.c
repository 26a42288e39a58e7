/* main.c - weir-normalizer: raw blocks in, proven blocks out. */
#include "normalizer.h"

int main(int argc, char **argv)
{
	const struct daemon normalizer = {
		.name = "normalizer",
		.summary = "turns raw blocks into proven transactions and entries",
		.metrics = normalizer_metrics,
		.metric_count = normalizer_metric_count,
		.state_size = sizeof(struct normalizer),
		.init = normalizer_init,
		.run = normalizer_run,
		.deinit = normalizer_deinit,
	};
	return daemon_main(&normalizer, argc, argv);
}
