/* answer.c - waiting for the server, with a limit of the client's own: libpq has none, and a server that was stopped says nothing. */
#include "store/internal.h"

#include "base/clock.h"

#include <limits.h>
#include <poll.h>

#define GRACE_LEAST_MS 1000
#define GRACE_MOST_MS 5000

/* The server cancels a statement itself; who hears nothing a while after that hears nothing any more. 0: no limit. */
static int64_t limit_ms(const struct pg *pg)
{
	const int64_t own = pg->unlimited ? 0 : pg->statement_timeout_ms;
	const int64_t grace = own < GRACE_LEAST_MS ? GRACE_LEAST_MS : own > GRACE_MOST_MS ? GRACE_MOST_MS : own;
	return own > 0 ? own + grace : 0;
}

static int give_up(struct pg *pg, int64_t limit, struct error *err)
{
	pg_drop(pg);
	return error_set(err, WEIR_UNAVAILABLE,
			 "PostgreSQL has said nothing for %.1f s, %.1f s longer than it may take for a statement: the connection was given up; whether what it was doing "
			 "happened is not known",
			 (double)limit / 1000, (double)(limit - pg->statement_timeout_ms) / 1000);
}

int pg_wait(struct pg *pg, enum pg_wait_for what, const struct pg_patience *patience, struct error *err)
{
	const int64_t limit = limit_ms(pg), until = clock_mono_ms() + limit;
	struct pollfd fd = { .fd = PQsocket(pg->conn) };
	for (;;) {
		const int unsent = PQflush(pg->conn);
		if (unsent < 0 || (unsent == 0 && (what == PG_SENT || !PQisBusy(pg->conn))))
			return 0; /* a failure is in the result */
		const int64_t left = limit > 0 ? until - clock_mono_ms() : INT_MAX;
		if (left <= 0)
			return give_up(pg, limit, err);
		const bool by_patience = patience && patience->after_ms < left;
		fd.events = (short)(POLLIN | (unsent ? POLLOUT : 0));
		const int ready = poll(&fd, 1, by_patience ? (int)patience->after_ms : limit > 0 && left < INT_MAX ? (int)left : -1);
		if (ready == 0 && by_patience)
			patience->over(patience->arg);
		else if (ready > 0 && (fd.revents & ~POLLOUT) && !PQconsumeInput(pg->conn))
			return 0;
	}
}

int pg_answer(struct pg *pg, int sent, PGresult **ret, struct error *err)
{
	PGresult *next = NULL;
	*ret = NULL;
	while (sent) {
		int code = pg_wait(pg, PG_ANSWERED, NULL, err);
		if (code) {
			PQclear(*ret);
			*ret = NULL;
			return code;
		}
		next = PQgetResult(pg->conn);
		if (!next)
			break;
		PQclear(*ret);
		*ret = next;
		if (PQresultStatus(next) == PGRES_COPY_IN)
			break;
	}
	return 0;
}

int pg_unlimited(struct pg *pg, struct error *err)
{
	int code = pg_exec(pg, "set local statement_timeout = 0", err);
	pg->unlimited = code == 0;
	return code;
}
