/* fetcher_crash.c - weir-fetcher with a defect, for tests of what becomes of that (tests/service/test_crash_poison.py): it ends when it is told to fetch block
 * CRASH_AT_BLOCK again. The linker puts this function before the service's own. */
#include "fetcher.h"

#include <stdlib.h>
#include <sys/resource.h>

bool __real_job_start(struct follower *, const struct job_request *);
bool __wrap_job_start(struct follower *, const struct job_request *);

bool __wrap_job_start(struct follower *f, const struct job_request *request)
{
	const char *height = getenv("CRASH_AT_BLOCK");
	if (height && request->reason == WEIR__V1__FETCH_REASON__FETCH_REASON_REFETCH && request->height == strtoull(height, NULL, 10))
		abort();
	return __real_job_start(f, request);
}

int main(int argc, char **argv)
{
	const struct daemon daemon = {
		.name = "fetcher",
		.summary = "the fetcher with a defect",
		.metrics = fetcher_metrics,
		.metric_count = fetcher_metric_count,
		.asks_nodes = true,
		.state_size = sizeof(struct fetcher),
		.init = fetcher_init,
		.run = fetcher_run,
		.deinit = fetcher_deinit,
	};
	setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
	return daemon_main(&daemon, argc, argv);
}
