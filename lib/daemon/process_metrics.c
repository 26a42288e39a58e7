/* process_metrics.c - what every process says about itself: memory, CPU, files, start, version, alerts. */
#include "daemon/internal.h"

#include "base/clock.h"
#include "base/version.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

const struct metric_def process_metric_defs[] = {
	{ .name = "weir_build_info", .kind = METRIC_GAUGE, .help = "Always 1; the labels say what runs.", .labels = { "process", "version" } },
	{ .name = "weir_process_start_time_seconds", .kind = METRIC_GAUGE, .help = "Unix time at which the process started." },
	{ .name = "weir_process_resident_memory_bytes", .kind = METRIC_GAUGE, .help = "Resident memory." },
	{ .name = "weir_process_cpu_seconds", .kind = METRIC_GAUGE, .help = "CPU time used, user and system." },
	{ .name = "weir_process_open_fds", .kind = METRIC_GAUGE, .help = "Open file descriptors." },
	{ .name = "weir_alerts_total", .kind = METRIC_COUNTER, .help = "Alerts said, by state and runbook page.", .labels = { "state", "runbook" } },
	{ .name = "weir_alert_posts_total",
	  .kind = METRIC_COUNTER,
	  .help = "Alerts to destinations: messages sent, failed, or retried because they were not taken at once; alerts dropped because too many waited, or silenced.",
	  .labels = { "result" } },
};
const size_t process_metric_count = sizeof process_metric_defs / sizeof process_metric_defs[0];

static double resident_bytes(void)
{
	char text[128] = "";
	FILE *f = fopen("/proc/self/statm", "re");
	if (!f)
		return 0;
	size_t n = fread(text, 1, sizeof text - 1, f);
	fclose(f);
	text[n] = 0;
	const char *second = strchr(text, ' '); /* total, then resident, in pages */
	unsigned long resident = second ? strtoul(second, NULL, 10) : 0;
	return (double)resident * (double)sysconf(_SC_PAGESIZE);
}

static double open_files(void)
{
	DIR *dir = opendir("/proc/self/fd");
	if (!dir)
		return 0;
	int n = 0;
	while (readdir(dir))
		n++;
	closedir(dir);
	return n - 3; /* ".", "..", and the folder itself */
}

void process_metrics_update(struct daemon_ctx *ctx)
{
	struct metrics *m = ctx->metrics;
	struct rusage usage;
	getrusage(RUSAGE_SELF, &usage);
	double cpu = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) + (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
	metric_set(metrics_get(m, "weir_build_info", ctx->name, weir_version, NULL), 1);
	metric_set(metrics_get(m, "weir_process_start_time_seconds", NULL, NULL, NULL), (double)ctx->started_wall_ms / 1000);
	metric_set(metrics_get(m, "weir_process_resident_memory_bytes", NULL, NULL, NULL), resident_bytes());
	metric_set(metrics_get(m, "weir_process_cpu_seconds", NULL, NULL, NULL), cpu);
	metric_set(metrics_get(m, "weir_process_open_fds", NULL, NULL, NULL), open_files());
}
