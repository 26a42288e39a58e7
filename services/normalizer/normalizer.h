/* normalizer.h - the service's one private header: its state and what each file does.
 *
 * main.c  the table of contents · worker.c  one thread's loop · normalizer.c  start, stop, metrics
 */
#ifndef WEIR_NORMALIZER_H
#define WEIR_NORMALIZER_H

#include "bus/bus.h"
#include "chains/chain.h"
#include "daemon/daemon.h"

#include <pthread.h>

struct normalizer {
	struct daemon_ctx *ctx;
	struct chain chains[CONFIG_CHAINS_MAX];
	size_t chain_count;
	struct worker {
		struct normalizer *normalizer;
		unsigned index;
		pthread_t thread;
		bool running;
	} *workers;
	size_t worker_count;
};

extern const struct metric_def normalizer_metrics[];
extern const size_t normalizer_metric_count;

int normalizer_init(struct daemon_ctx *, void *state, struct error *);
int normalizer_run(struct daemon_ctx *, void *state, struct error *);
void normalizer_deinit(struct daemon_ctx *, void *state);

void *worker_main(void *worker); /* worker.c: until the process stops */

#endif
