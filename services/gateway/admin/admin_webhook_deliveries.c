/* admin_webhook_deliveries.c - /admin/v1/webhooks/{id}/deliveries and …/replay: what was sent, how it went, and sending it again. */
#include "admin/admin_webhooks.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define ATTEMPTS_SHOWN 100
#define REPLAY_MAX 10000 /* in one call */

/* Rounded, so a time that was told is compared as it was told. */
#define MS(column) "(extract(epoch from " column ") * 1000)::int8"
#define COLUMNS                                                                                                                               \
	"d.id, d.message, d.sequence, d.type, d.lane, d.state, d.tries::int8, d.attempts::int8, " MS("d.due_at") ", " MS("d.created_at") ", " \
	MS("d.done_at") ", a.status::int8, a.error"
#define LAST_ATTEMPT " left join weir_webhooks.attempts a on a.delivery = d.id and a.number = d.attempts"

static void put_delivery(struct buf *out, const struct pg_result *r, size_t row)
{
	bool pending = strcmp(pg_get_text(r, row, 5), "pending") == 0;
	put_i64(out, "id", pg_get_i64(r, row, 0));
	put_text(out, "message", pg_get_text(r, row, 1));
	put_i64(out, "sequence", pg_get_i64(r, row, 2));
	put_text(out, "type", pg_get_text(r, row, 3));
	put_text(out, "account", pg_is_null(r, row, 4) || !*pg_get_text(r, row, 4) ? NULL : pg_get_text(r, row, 4));
	put_text(out, "state", pg_get_text(r, row, 5));
	put_i64(out, "tries", pg_get_i64(r, row, 6));
	put_i64(out, "attempts", pg_get_i64(r, row, 7));
	put_milliseconds(out, "due_at", pending ? pg_get_i64(r, row, 8) : 0);
	put_milliseconds(out, "created_at", pg_get_i64(r, row, 9));
	put_milliseconds(out, "done_at", pg_get_i64(r, row, 10));
	if (pg_is_null(r, row, 11))
		put_null(out, "last_status");
	else
		put_i64(out, "last_status", pg_get_i64(r, row, 11));
	put_text(out, "last_error", pg_is_null(r, row, 12) || !*pg_get_text(r, row, 12) ? NULL : pg_get_text(r, row, 12));
}

static bool is_state(const char *state)
{
	return strcmp(state, "pending") == 0 || strcmp(state, "delivered") == 0 || strcmp(state, "failed") == 0;
}

static bool check_state(struct call *call, const char *code)
{
	const char *state = call_text(call, "state");
	return !state || is_state(state) || call_problem(call, 400, code, "state is pending, delivered or failed");
}

void admin_webhook_deliveries(struct call *call)
{
	struct cursor cursor = { .kind = CURSOR_ROWS, .height = INT64_MAX, .pinned = -1, .as_of = -1 };
	size_t limit = (size_t)call_number(call, "limit", LIMIT_DEFAULT);
	struct pg_param p[5];
	struct pg_result *r = NULL;
	int64_t id;
	if (!page_cursor(call, CURSOR_ROWS, &cursor) || !check_state(call, "invalid_parameter"))
		return;
	struct pg *pg = admin_webhooks_find(call, &id);
	if (!pg)
		return;
	pg_i64(&p[0], id);
	pg_i64(&p[1], cursor.height);
	pg_text(&p[2], call_text(call, "state"));
	pg_text(&p[3], call_text(call, "type"));
	pg_i64(&p[4], (int64_t)limit + 1);
	if (admin_webhooks_ask(call, pg, "webhook_deliveries",
			       "select " COLUMNS " from weir_webhooks.deliveries d" LAST_ATTEMPT " where d.endpoint = $1 and d.id < $2"
			       " and ($3::text is null or d.state = $3) and ($4::text is null or d.type = $4) order by d.id desc limit $5",
			       p, 5, &r)) {
		size_t shown = page_put_rows(call, r, limit, put_delivery);
		if (shown > 0)
			cursor.height = pg_get_i64(r, shown - 1, 0);
		page_end(call, pg_rows(r) > shown ? &cursor : NULL);
	}
	pg_result_free(&r);
	admin_webhooks_end(call);
}

static void put_attempts(struct call *call, struct pg *pg, int64_t delivery)
{
	struct pg_param p[2];
	struct pg_result *r = NULL;
	pg_i64(&p[0], delivery);
	pg_i64(&p[1], ATTEMPTS_SHOWN);
	if (!admin_webhooks_ask(call, pg, "webhook_attempts",
				"select number::int8, " MS("at") ", milliseconds::int8, status::int8, error, gateway from weir_webhooks.attempts"
				" where delivery = $1 order by number desc limit $2",
				p, 2, &r))
		return;
	put_array(call->out, "history");
	for (size_t i = 0; i < pg_rows(r); i++) {
		put_object(call->out, NULL);
		put_i64(call->out, "number", pg_get_i64(r, i, 0));
		put_milliseconds(call->out, "at", pg_get_i64(r, i, 1));
		put_i64(call->out, "milliseconds", pg_get_i64(r, i, 2));
		put_i64(call->out, "status", pg_get_i64(r, i, 3));
		put_text(call->out, "error", *pg_get_text(r, i, 4) ? pg_get_text(r, i, 4) : NULL);
		put_text(call->out, "gateway", pg_get_text(r, i, 5));
		put_end(call->out, '}');
	}
	put_end(call->out, ']');
	pg_result_free(&r);
	put_end(call->out, '}');
}

void admin_webhook_delivery(struct call *call)
{
	struct pg_param p[2];
	struct pg_result *r = NULL;
	int64_t id, delivery;
	if (!admin_webhooks_number(call, call->places[1], &delivery))
		return;
	struct pg *pg = admin_webhooks_find(call, &id);
	if (!pg)
		return;
	pg_i64(&p[0], id);
	pg_i64(&p[1], delivery);
	if (admin_webhooks_ask(call, pg, "webhook_delivery",
			       "select " COLUMNS ", d.body from weir_webhooks.deliveries d" LAST_ATTEMPT " where d.endpoint = $1 and d.id = $2", p, 2, &r)) {
		if (pg_rows(r) == 0) {
			call_problem(call, 404, "delivery_unknown", "the webhook has no delivery of that id, or it is older than webhooks.retention");
		} else {
			put_object(call->out, NULL);
			put_delivery(call->out, r, 0);
			put_raw(call->out, "body", pg_get_text(r, 0, 13));
			put_attempts(call, pg, delivery);
		}
	}
	pg_result_free(&r);
	admin_webhooks_end(call);
}

/* ---- again ----------------------------------------------------------------------------------------------------------------------------------- */

static char *list_ids(const struct call *call)
{
	const struct value *ids = call_value(call, "ids");
	struct buf list = BUF_INIT((size_t)4 << 20);
	if (!ids->given)
		return NULL;
	put_array(&list, NULL);
	for (size_t i = 0; i < ids->count; i++)
		put_text(&list, NULL, ids->texts[i]);
	put_end(&list, ']');
	return (char *)buf_detach(&list);
}

#define CHOSEN                                                                                                                               \
	"select id from weir_webhooks.deliveries where endpoint = $1 and state <> 'pending'"                                                \
	" and ($2::json is null or id::text in (select json_array_elements_text($2::json)) or message in (select json_array_elements_text($2::json)))" \
	" and ($3::text is null or state = $3) and ($4::text is null or type = $4) and ($5::text is null or lane = lower($5))"              \
	" and sequence between $6 and $7 and " MS("created_at") " between $9 and $10 order by id limit $8"

/* Of deliveries, when they were made of the journal. */
struct span {
	int64_t since_ms, until_ms;
};

static void replay(struct call *call, struct pg *pg, int64_t id, const struct span *span, bool dry_run)
{
	struct pg_param p[10];
	struct pg_result *r = NULL;
	char *ids = list_ids(call);
	pg_i64(&p[0], id);
	pg_text(&p[1], ids);
	pg_text(&p[2], call_text(call, "state"));
	pg_text(&p[3], call_text(call, "type"));
	pg_text(&p[4], call_text(call, "account"));
	pg_i64(&p[5], call_number(call, "from_sequence", 0));
	pg_i64(&p[6], call_number(call, "to_sequence", INT64_MAX));
	pg_i64(&p[7], REPLAY_MAX);
	pg_i64(&p[8], span->since_ms);
	pg_i64(&p[9], span->until_ms);
	bool asked = dry_run ? admin_webhooks_ask(call, pg, "webhook_chosen", CHOSEN, p, 10, &r) :
			       admin_webhooks_ask(call, pg, "webhook_again",
						  "update weir_webhooks.deliveries set state = 'pending', tries = 0, due_at = now(), done_at = null where id in (" CHOSEN
						  ") returning id",
						  p, 10, &r);
	size_t n = asked ? pg_rows(r) : 0;
	pg_result_free(&r);
	free(ids);
	if (!asked || (!dry_run && !admin_webhooks_commit(call, pg)))
		return;
	put_object(call->out, NULL);
	put_u64(call->out, "count", n);
	put_end(call->out, '}');
}

void admin_webhook_replay(struct call *call)
{
	const struct value *dry = call_value(call, "dry_run"), *ids = call_value(call, "ids");
	bool dry_run = dry->given && dry->number, all = call_value(call, "all")->given && call_value(call, "all")->number;
	bool chosen = ids->given || call_text(call, "state") || call_text(call, "type") || call_text(call, "account") ||
		      call_value(call, "from_sequence")->given || call_value(call, "to_sequence")->given || call_text(call, "since") || call_text(call, "until");
	char detail[400];
	const char *why = call_text(call, "why");
	int64_t id;
	struct span span = { 0, 253402300799999 };
	if (!check_state(call, "invalid_body") || !admin_read_time(call, "since", &span.since_ms) || !admin_read_time(call, "until", &span.until_ms))
		return;
	if (chosen == all) {
		call_problem(call, 400, "invalid_body", "say which: ids, state, type, account, from_sequence, to_sequence, since, until; or all, and none of these");
		return;
	}
	struct pg *pg = admin_webhooks_find(call, &id);
	if (pg && !dry_run) {
		admin_webhooks_end(call);
		snprintf(detail, sizeof detail, "webhook %" PRId64 ": %s", id, why ? why : "");
		pg = admin_audit(call, "webhook_replay", detail) ? admin_webhooks_begin(call) : NULL;
	}
	if (!pg)
		return;
	replay(call, pg, id, &span, dry_run);
	admin_webhooks_end(call);
}
