/* kafka_job.h - private to lib/bus: replay jobs over Kafka. A job is a row in partition 0 of the letters of a topic (its home), and whoever owns that partition moves it
 * on: he reads the letters of all partitions, as operators do, and marks those whose turn it is. So rate, concurrency and the share that fails are of all
 * partitions together, and a job goes on when its partition goes to another instance.
 *
 *	j/<job>           the order and its progress; written by who gave the order, and from then on by the home's owner
 *	n/<job>           the letters named, a line each
 *	i/<job>           what an operator wants done with it: a word, who, why. Gone: it is done
 *	r/<id>, s/<id>    marks as other replays have them (kafka_letters.h), whose value names the job: these letters are out
 *	w/<id>            chosen, and waits for its turn: also the next one of a key, while the one before it was tried
 *	x/<job>/<id>      what became of a letter, told by its partition's owner (or by who purged it); gone when it is counted
 *
 * Counting and taking away what was counted are two steps: after a crash in between, letters may be counted twice.
 */
#ifndef WEIR_BUS_KAFKA_JOB_H
#define WEIR_BUS_KAFKA_JOB_H

#include "bus/kafka/kafka_lane.h"

#include <string.h>

int kafka_job_start(struct bus *, const char *chain, const char *subscription, const struct dead_letter_order *, uint64_t *ret_total,
		    struct dead_letter_job *ret, struct error *);
int kafka_job_show(struct bus *, const char *chain, const char *id, struct dead_letter_job *ret, struct error *);
int kafka_job_list(struct bus *, const char *chain, const char *subscription, size_t limit, dead_letter_job_fn *, void *arg, struct error *);
int kafka_job_control(struct bus *, const char *chain, const char *id, enum dead_letter_job_action, const char *who, const char *why,
		      struct dead_letter_job *ret, struct error *);

/* -- the owner of a home ------------------------------------------------------------------------------------------------------------------ */

/* Moves on what jobs the table has. */
int kafka_jobs_serve(struct kafka_lane *, struct kafka_table *, struct error *);
/* Does what an operator wants: "pause", "resume" or "cancel". What does not fit its state changes nothing. */
int kafka_job_do(struct kafka_lane *, struct kafka_table *, const char *id, const char *word, const char *who, const char *why, struct error *);

/* -- the row ---------------------------------------------------------------------------------------------------------------------------------- */

struct kafka_job {
	struct dead_letter_job job; /* out and ready: as of when it was written */
	char idempotency[132], order[72]; /* digest of the order */
	char topics[1024];          /* whose letters it takes, with spaces between them */
	char at_id[64];             /* behind this one of its table goes on what is chosen; of named ones nothing */
	int64_t at;                 /* the table, in the order of topics and partitions; of named ones the line */
	int64_t exhausted;          /* everything was chosen */
	int64_t tokens_milli, tokens_at_ms;
	int64_t base_succeeded, base_failed; /* when it was resumed */
};
bool kafka_job_read(const char *chain, const struct kafka_row *, struct kafka_job *ret); /* False: it is none */
int kafka_job_write(struct kafka_table *, const struct kafka_job *, bool as_owner, struct error *);
static inline bool kafka_job_active(const struct kafka_job *j)
{
	return strcmp(j->job.state, "running") == 0 || strcmp(j->job.state, "paused") == 0;
}
/* The filter as the letters are compared with it; points into the job. */
void kafka_job_filter(const struct kafka_job *, struct dead_letter_filter *ret);

#endif
