/* export_store.c - the sending threads' SQL. */
#include "kafka/export_store.h"

#include <stdio.h>
#include <string.h>

static const char *const states[] = { "running", "waiting", "stopped" };

const char *export_state_name(enum export_state state)
{
	return states[state];
}

static enum export_state state_of(const char *name)
{
	for (size_t i = 0; i < sizeof states / sizeof states[0]; i++)
		if (strcmp(states[i], name) == 0)
			return (enum export_state)i;
	return EXPORT_STOPPED; /* a newer weir's */
}

static void read_row(const struct pg_result *r, const char *owner, struct export_row *ret)
{
	*ret = (struct export_row){ .epoch = pg_get_i64(r, 0, 0),
				    .start_height = pg_get_i64(r, 0, 2),
				    .records = pg_get_i64(r, 0, 3),
				    .state = state_of(pg_get_text(r, 0, 4)),
				    .state_seconds = pg_get_i64(r, 0, 5) };
	snprintf(ret->position, sizeof ret->position, "%s", pg_get_text(r, 0, 1));
	snprintf(ret->reason, sizeof ret->reason, "%s", pg_get_text(r, 0, 6));
	snprintf(ret->owner, sizeof ret->owner, "%s", pg_get_text(r, 0, 7));
	ret->ours = strcmp(ret->owner, owner) == 0;
}

int export_store_lease(struct pg *pg, const char *chain, const char *owner, int64_t lease_ms, struct export_row *ret, struct error *err)
{
	struct pg_param p[3];
	struct pg_result *r = NULL;
	pg_text(&p[0], chain);
	pg_text(&p[1], owner);
	pg_i64(&p[2], lease_ms);
	int code = pg_prepared(pg, "export_lease",
			       "update weir_kafka.exports set owner = $2, lease_until = now() + $3::int8 * interval '1 ms'"
			       " where chain = $1 and (owner = $2 or lease_until < now())",
			       p, 3, &r, err);
	const bool ours = !code && pg_affected(r) == 1;
	pg_result_free(&r);
	if (!code && !ours)
		code = pg_prepared(pg, "export_make", "insert into weir_kafka.exports (chain) values ($1) on conflict do nothing", p, 1, NULL, err);
	if (!code)
		code = pg_prepared(pg, "export_row",
				   "select epoch, coalesce(position, ''), coalesce(start_height, -1), records, state, extract(epoch from now() - state_at)::int8, reason, owner"
				   " from weir_kafka.exports where chain = $1",
				   p, 1, &r, err);
	if (!code && pg_rows(r) == 0)
		code = error_set(err, WEIR_CONFLICT, "chain %s has no row in weir_kafka.exports any more", chain);
	if (!code)
		read_row(r, owner, ret);
	pg_result_free(&r);
	return code;
}

int export_store_release(struct pg *pg, const char *chain, const char *owner, struct error *err)
{
	struct pg_param p[2];
	pg_text(&p[0], chain);
	pg_text(&p[1], owner);
	return pg_query(pg, "update weir_kafka.exports set owner = '', lease_until = '-infinity' where chain = $1 and owner = $2", p, 2, NULL, err);
}

int export_store_move(struct pg *pg, const char *chain, const char *owner, const struct export_row *from, const char *to, int64_t records, struct error *err)
{
	struct pg_param p[6];
	struct pg_result *r = NULL;
	pg_text(&p[0], chain);
	pg_text(&p[1], owner);
	pg_i64(&p[2], from->epoch);
	pg_text(&p[3], from->position);
	pg_text(&p[4], to);
	pg_i64(&p[5], records);
	int code = pg_prepared(pg, "export_move",
			       "update weir_kafka.exports set position = $5, records = records + $6, moved_at = now()"
			       " where chain = $1 and owner = $2 and epoch = $3 and coalesce(position, '') = $4",
			       p, 6, &r, err);
	const bool moved = !code && pg_affected(r) == 1;
	pg_result_free(&r);
	if (code || moved)
		return code;
	return error_set(err, WEIR_FENCED, "the export of chain %s to Kafka is another gateway's now, or was begun anew", chain);
}

int export_store_state(struct pg *pg, const char *chain, const char *owner, enum export_state state, const char *reason, struct error *err)
{
	struct pg_param p[4];
	pg_text(&p[0], chain);
	pg_text(&p[1], owner);
	pg_text(&p[2], states[state]);
	pg_text(&p[3], reason);
	return pg_prepared(pg, "export_state",
			   "update weir_kafka.exports set state = $3, reason = $4, state_at = case when state = $3 then state_at else now() end"
			   " where chain = $1 and owner = $2",
			   p, 4, NULL, err);
}

int export_store_restart(struct pg *pg, const char *chain, int64_t start_height, int64_t *ret_epoch, struct error *err)
{
	struct pg_param p[2];
	struct pg_result *r = NULL;
	pg_text(&p[0], chain);
	pg_i64(&p[1], start_height);
	int code = pg_query(pg,
			    "update weir_kafka.exports set epoch = greatest(epoch + 1, extract(epoch from now())::int8), position = null, start_height = nullif($2, -1), state = 'running', reason = '',"
			    " state_at = now() where chain = $1 returning epoch",
			    p, 2, &r, err);
	if (!code && pg_rows(r) == 0)
		code = error_set(err, WEIR_NOT_FOUND, "the export of chain %s to Kafka has not begun yet", chain);
	if (!code)
		*ret_epoch = pg_get_i64(r, 0, 0);
	pg_result_free(&r);
	return code;
}
