/* publish.c - the journal onto topic "ledger": the same sequence, dense, each once, whatever Redis forgot. */
#include "follow.h"

#include "weir/streams.h"

#include <string.h>

#define CHUNK 256
#define KEEP_EVENTS 4096 /* what a stream that was lost gets again; older ones are read from PostgreSQL by who needs them */

static int know_tail(struct follow *f, struct error *err)
{
	if (f->published_known)
		return 0;
	int code = bus_tail_sequence(f->events, CLASS_NORMAL, &f->published, err);
	f->published_known = code == 0;
	return code;
}

/* Frames first.. ; what the stream does not follow on is found in *ret_published. */
static int send(struct follow *f, const struct journal_event *events, size_t n, struct error *err)
{
	struct frame frames[CHUNK];
	for (size_t i = 0; i < n; i++)
		journal_frame(&f->ledger->journal, &events[i], &frames[i]);
	uint64_t tail = f->published;
	int code = bus_publish_sequence(f->events, events[0].sequence, frames, n, &tail, err);
	if (code == 0) {
		metric_add(f->metrics.published, n);
		f->published = events[n - 1].sequence;
	} else if (code == WEIR_GAP) {
		f->published = tail;
	} else if (code != WEIR_FULL) {
		f->published_known = false;
	}
	return code;
}

/* Reads up to CHUNK events behind f->published from PostgreSQL and sends them. */
static int send_stored(struct follow *f, struct error *err)
{
	struct pg_param p[2];
	struct pg_result *r = NULL;
	struct journal_event events[CHUNK];
	pg_i32(&p[0], f->ledger->id);
	pg_i64(&p[1], (int64_t)f->published);
	int code = pg_prepared(f->ledger->pg, "journal_after",
			       "select sequence, kind, height, branch, body from weir.journal where chain = $1 and sequence > $2"
			       " order by sequence limit 256",
			       p, 2, &r, err);
	size_t n = code ? 0 : pg_rows(r);
	for (size_t i = 0; i < n; i++) {
		events[i] = (struct journal_event){ .sequence = (uint64_t)pg_get_i64(r, i, 0),
						    .kind = (int16_t)pg_get_i64(r, i, 1),
						    .height = pg_get_i64(r, i, 2),
						    .branch = (int16_t)pg_get_i64(r, i, 3),
						    .full = pg_get_bytes(r, i, 4) };
	}
	if (!code && n > 0)
		code = send(f, events, n, err);
	else if (!code)
		f->published = f->ledger->journal_sequence; /* nothing there: the journal was cut by hand */
	pg_result_free(&r);
	return code;
}

int follow_publish_due(struct follow *f, struct error *err)
{
	uint64_t newest = mailbox_journal(f->mailbox);
	if (newest < f->ledger->journal_sequence)
		newest = f->ledger->journal_sequence;
	int code = know_tail(f, err);
	/* A stream that Redis lost starts again near its end, and one that is ahead of a database that was restored from a copy starts
	 * again where the database is. */
	if (!code && (f->published > newest || newest - f->published > KEEP_EVENTS)) {
		f->published = f->published > newest || newest < KEEP_EVENTS ? newest : newest - KEEP_EVENTS;
		bus_publisher_restart_at(f->events, f->published + 1);
	}
	for (int round = 0; !code && f->published < newest && round < 64; round++) {
		code = send_stored(f, err);
		if (code == WEIR_GAP && newest - f->published <= KEEP_EVENTS)
			code = 0; /* goes on from the tail that was told */
		else if (code == WEIR_GAP)
			break;
	}
	metric_set(f->metrics.unpublished, newest > f->published ? (double)(newest - f->published) : 0);
	return code;
}

int follow_publish_new(struct follow *f, struct error *err)
{
	const struct journal *journal = &f->ledger->journal;
	int code = know_tail(f, err);
	if (!code && journal->count > 0 && f->published + 1 == journal->events[0].sequence)
		for (size_t i = 0; !code && i < journal->count; i += CHUNK)
			code = send(f, journal->events + i, journal->count - i < CHUNK ? journal->count - i : CHUNK, err);
	if (!code || code == WEIR_GAP)
		code = follow_publish_due(f, err);
	return code;
}
