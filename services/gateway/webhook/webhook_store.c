/* webhook_store.c - the delivering thread's SQL. */
#include "webhook/webhook_store.h"

#include <string.h>

#define CLEAN_ROWS 5000

int webhook_store_lease(struct pg *pg, const char *owner, int64_t lease_ms, const char *chains, struct pg_result **ret, struct error *err)
{
	struct pg_param p[3];
	pg_text(&p[0], owner);
	pg_i64(&p[1], lease_ms);
	pg_text(&p[2], chains);
	/* Ours are renewed when a third of the lease is over. */
	int code = pg_prepared(pg, "webhook_lease",
			       "with free as (select id from weir_webhooks.endpoints where state <> 'disabled'"
			       " and chain in (select json_array_elements_text($3::json))"
			       " and (lease_until < now() or (owner = $1 and lease_until < now() + $2::int8 * interval '0.667 ms'))"
			       " order by id limit 1000 for update skip locked)"
			       " update weir_webhooks.endpoints e set owner = $1, lease_until = now() + $2::int8 * interval '1 ms' from free where e.id = free.id",
			       p, 3, NULL, err);
	if (code)
		return code;
	return pg_prepared(pg, "webhook_owned",
			   "select id, url, chain, topic, coalesce(account, ''), coalesce(asset, ''), state = 'failing', failures::int8, coalesce(position, ''),"
			   " coalesce(start_height, -1), (select count(*) from (select 1 from weir_webhooks.deliveries d where d.endpoint = e.id"
			   " and d.state = 'pending' limit 10000) w), journal, coalesce(watchlist, 0), coalesce(kind, '')"
			   " from weir_webhooks.endpoints e where owner = $1 and lease_until > now() and state <> 'disabled' order by id",
			   p, 1, ret, err);
}

void webhook_store_row(const struct pg_result *r, size_t row, struct webhook_row *ret)
{
	*ret = (struct webhook_row){ .id = pg_get_i64(r, row, 0),
				     .url = pg_get_text(r, row, 1),
				     .chain = pg_get_text(r, row, 2),
				     .account = pg_get_text(r, row, 4),
				     .asset = pg_get_text(r, row, 5),
				     .failing = pg_get_bool(r, row, 6),
				     .failures = pg_get_i64(r, row, 7),
				     .position = pg_get_text(r, row, 8),
				     .start_height = pg_get_i64(r, row, 9),
				     .pending = pg_get_i64(r, row, 10),
				     .journal = pg_get_i64(r, row, 11),
				     .watchlist = pg_get_i64(r, row, 12),
				     .kind = pg_get_text(r, row, 13) };
	(void)webhook_topic_read(pg_get_text(r, row, 3), &ret->topic);
}

int webhook_store_secrets(struct pg *pg, const char *owner, struct pg_result **ret, struct error *err)
{
	struct pg_param p;
	return pg_prepared(pg, "webhook_secrets",
			   "select s.endpoint, s.sealed from weir_webhooks.secrets s join weir_webhooks.endpoints e on e.id = s.endpoint"
			   " where e.owner = $1 and (s.expires_at is null or s.expires_at > now()) order by s.endpoint, s.id desc",
			   pg_text(&p, owner), 1, ret, err);
}

int webhook_store_release(struct pg *pg, const char *owner, struct error *err)
{
	struct pg_param p;
	return pg_query(pg, "update weir_webhooks.endpoints set owner = '', lease_until = '-infinity' where owner = $1", pg_text(&p, owner), 1, NULL, err);
}

/* heads: the first of each lane. A barrier goes when nothing is before it; nothing goes past a barrier. */
#define HEADS                                                                                                                          \
	"with heads as (select d.endpoint, d.lane, min(d.id) as id from weir_webhooks.deliveries d join weir_webhooks.endpoints e on e.id = d.endpoint" \
	" where d.state = 'pending' and e.owner = $1 and e.lease_until > now() and e.state <> 'disabled' group by d.endpoint, d.lane)," \
	" fronts as (select endpoint, min(id) filter (where lane is null) as barrier, min(id) as first from heads group by endpoint),"  \
	" ready as (select h.endpoint, h.id, e.state = 'failing' as failing,"                                                           \
	" case when e.state = 'failing' then e.probe_at else d.due_at end as due"                                                       \
	" from heads h join fronts f on f.endpoint = h.endpoint join weir_webhooks.endpoints e on e.id = h.endpoint"                    \
	" join weir_webhooks.deliveries d on d.id = h.id"                                                                               \
	" where case when e.state = 'failing' then h.id = f.first else f.barrier is null or h.id < f.barrier or h.id = f.first end)"

int webhook_store_due(struct pg *pg, const char *owner, const char *in_flight, int per_endpoint, struct pg_result **ret, struct error *err)
{
	struct pg_param p[3];
	pg_text(&p[0], owner);
	pg_text(&p[1], in_flight);
	pg_i32(&p[2], per_endpoint);
	return pg_prepared(pg, "webhook_due",
			   HEADS ", numbered as (select *, row_number() over (partition by endpoint order by id) as n from ready"
				 " where due <= now() and id not in (select json_array_elements_text($2::json)::int8))"
				 " select d.id, d.endpoint, d.message, d.body, d.tries, n.failing, d.attempts from numbered n"
				 " join weir_webhooks.deliveries d on d.id = n.id where n.n <= $3 order by d.id limit 256",
			   p, 3, ret, err);
}

int webhook_store_next_due_ms(struct pg *pg, const char *owner, int64_t *ret, struct error *err)
{
	struct pg_param p;
	struct pg_result *r = NULL;
	int code = pg_prepared(pg, "webhook_next_due", HEADS " select greatest(0, (extract(epoch from min(due) - now()) * 1000))::int8 from ready",
			       pg_text(&p, owner), 1, &r, err);
	*ret = code || pg_is_null(r, 0, 0) ? -1 : pg_get_i64(r, 0, 0);
	pg_result_free(&r);
	return code;
}

static int plan(struct pg *pg, const char *owner, int64_t endpoint, const char *from, const char *to, const char *messages, struct error *err)
{
	struct pg_param p[4];
	struct pg_result *r = NULL;
	pg_i64(&p[0], endpoint);
	pg_text(&p[1], owner);
	pg_text(&p[2], from);
	pg_text(&p[3], to);
	int code = pg_prepared(pg, "webhook_move",
			       "update weir_webhooks.endpoints set position = $4 where id = $1 and owner = $2 and lease_until > now()"
			       " and coalesce(position, '') = $3 returning 1",
			       p, 4, &r, err);
	bool ours = !code && pg_rows(r) == 1;
	pg_result_free(&r);
	if (code || !ours)
		return code ? code : error_set(err, WEIR_FENCED, "endpoint %lld is another gateway's now, or was moved", (long long)endpoint);
	pg_text(&p[1], messages);
	/* One that is known is asked for once more: the endpoint was moved back. */
	return pg_prepared(pg, "webhook_plan",
			   "insert into weir_webhooks.deliveries (endpoint, message, sequence, type, lane, body)"
			   " select $1, x.m, x.s, x.t, x.l, x.b from rows from (json_to_recordset($2::json) as (m text, s int8, t text, l text, b text))"
			   " with ordinality as x(m, s, t, l, b, n) order by x.n"
			   " on conflict (endpoint, message) do update set state = 'pending', tries = 0, due_at = now(), done_at = null"
			   " where deliveries.state <> 'pending'",
			   p, 2, NULL, err);
}

int webhook_store_plan(struct pg *pg, const char *owner, int64_t endpoint, const char *from, const char *to, const char *messages, struct error *err)
{
	int code = pg_begin(pg, err);
	if (!code)
		code = plan(pg, owner, endpoint, from, to, messages, err);
	if (!code)
		code = pg_commit(pg, err);
	if (code)
		pg_rollback(pg);
	return code;
}

int webhook_store_hold(struct pg *pg, const char *endpoints, struct error *err)
{
	struct pg_param p;
	return pg_prepared(pg, "webhook_hold",
			   "select from weir_webhooks.endpoints where id in (select json_array_elements_text($1::json)::int8) order by id for no key update",
			   pg_text(&p, endpoints), 1, NULL, err);
}

static int put_attempt(struct pg *pg, const char *gateway, const struct webhook_tried *t, struct error *err)
{
	struct pg_param p[8];
	pg_i64(&p[0], t->delivery);
	pg_text(&p[1], t->state);
	pg_i32(&p[2], t->counts);
	pg_i64(&p[3], t->wait_ms);
	pg_i64(&p[4], t->took_ms);
	pg_i32(&p[5], (int32_t)t->status);
	pg_text(&p[6], t->error);
	pg_text(&p[7], gateway);
	return pg_prepared(pg, "webhook_tried",
			   "with d as (update weir_webhooks.deliveries set state = $2, tries = tries + $3, attempts = attempts + 1,"
			   " due_at = now() + $4::int8 * interval '1 ms', done_at = case when $2 <> 'pending' then now() end"
			   " where id = $1 and state = 'pending' returning id, attempts)"
			   " insert into weir_webhooks.attempts (delivery, number, at, milliseconds, status, error, gateway)"
			   " select id, attempts, now() - $5::int8 * interval '1 ms', $5::int8::int4, $6, $7, $8 from d",
			   p, 8, NULL, err);
}

int webhook_store_tried(struct pg *pg, const char *gateway, const struct webhook_tried *t, int64_t breaker_failures, int64_t probe_ms, bool *ret_failing,
			int64_t *ret_failures, struct error *err)
{
	struct pg_param p[4];
	struct pg_result *r = NULL;
	int code = put_attempt(pg, gateway, t, err);
	if (code)
		return code;
	pg_i64(&p[0], t->endpoint);
	pg_i64(&p[1], breaker_failures);
	pg_i64(&p[2], probe_ms);
	pg_text(&p[3], t->error);
	bool delivered = strcmp(t->state, "delivered") == 0;
	if (delivered) /* back again: nothing waits for what failed while it was away */
		code = pg_prepared(pg, "webhook_hurry",
				   "update weir_webhooks.deliveries set due_at = now() where endpoint = $1 and state = 'pending' and due_at > now()"
				   " and exists (select from weir_webhooks.endpoints where id = $1 and state = 'failing')",
				   p, 1, NULL, err);
	if (!code && delivered)
		code = pg_prepared(pg, "webhook_well",
				   "update weir_webhooks.endpoints set failures = 0, probe_at = null, reason = '',"
				   " state_at = case when state = 'failing' then now() else state_at end, state = 'enabled'"
				   " where id = $1 and state <> 'disabled' and (failures > 0 or state = 'failing')",
				   p, 1, NULL, err);
	else if (!code)
		code = pg_prepared(pg, "webhook_failed",
				   "update weir_webhooks.endpoints set failures = failures + 1, reason = $4,"
				   " state_at = case when state = 'enabled' and failures + 1 >= $2 then now() else state_at end,"
				   " state = case when failures + 1 >= $2 then 'failing' else state end,"
				   " probe_at = case when failures + 1 >= $2 then now() + $3::int8 * interval '1 ms' end"
				   " where id = $1 and state <> 'disabled'",
				   p, 4, NULL, err);
	if (!code)
		code = pg_prepared(pg, "webhook_state", "select state = 'failing', failures::int8 from weir_webhooks.endpoints where id = $1", p, 1, &r, err);
	*ret_failing = !code && pg_rows(r) > 0 && pg_get_bool(r, 0, 0);
	*ret_failures = !code && pg_rows(r) > 0 ? pg_get_i64(r, 0, 1) : 0;
	pg_result_free(&r);
	return code || !t->gone ? code : webhook_store_disable(pg, t->endpoint, "the receiver answered 410: it wants no more", err);
}

int webhook_store_disable(struct pg *pg, int64_t endpoint, const char *reason, struct error *err)
{
	struct pg_param p[2];
	pg_i64(&p[0], endpoint);
	pg_text(&p[1], reason);
	return pg_prepared(pg, "webhook_disable",
			   "update weir_webhooks.endpoints set state = 'disabled', reason = $2, state_at = now(), owner = '', lease_until = '-infinity' where id = $1",
			   p, 2, NULL, err);
}

int webhook_store_forget(struct pg *pg, int64_t endpoint, const char *reason, struct error *err)
{
	struct pg_param p;
	int code = pg_begin(pg, err);
	if (!code)
		code = webhook_store_disable(pg, endpoint, reason, err);
	if (!code)
		code = pg_prepared(pg, "webhook_again",
				   "update weir_webhooks.endpoints set position = null, start_height = null, journal = journal + 1 where id = $1",
				   pg_i64(&p, endpoint), 1, NULL, err);
	if (!code)
		code = pg_prepared(pg, "webhook_forget", "delete from weir_webhooks.deliveries where endpoint = $1", &p, 1, NULL, err);
	if (!code)
		code = pg_commit(pg, err);
	if (code)
		pg_rollback(pg);
	return code;
}

int webhook_store_clean(struct pg *pg, int64_t retention_ms, uint64_t *ret_n, struct error *err)
{
	struct pg_param p[2];
	struct pg_result *r = NULL;
	pg_i64(&p[0], retention_ms);
	pg_i64(&p[1], CLEAN_ROWS);
	int code = pg_prepared(pg, "webhook_clean",
			       "delete from weir_webhooks.deliveries where id in (select id from weir_webhooks.deliveries where state <> 'pending'"
			       " and done_at < now() - $1::int8 * interval '1 ms' limit $2 for update skip locked)",
			       p, 2, &r, err);
	*ret_n = code ? 0 : pg_affected(r);
	pg_result_free(&r);
	return code;
}
