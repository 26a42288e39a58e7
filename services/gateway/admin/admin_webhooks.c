/* admin_webhooks.c - /admin/v1/webhooks: receivers are registered, stopped, given new secrets, tried and removed. */
#include "admin/admin_webhooks.h"

#include "base/clock.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define OVERLAP_S 86400 /* how long an old secret signs beside its successor, unless said otherwise */

/* ---- what all of them need ------------------------------------------------------------------------------------------------------------ */

struct pg *admin_webhooks_begin(struct call *call)
{
	struct error err = { 0 };
	struct pg_result *r = NULL;
	struct webhooks *webhooks = call->gateway->webhooks;
	if (!webhooks_on(webhooks)) {
		call_problem(call, 409, "webhooks_off", "there are no webhooks here: set webhooks.encryption_key (openssl rand -base64 32) for all gateways");
		return NULL;
	}
	struct pg *pg = webhooks_take(webhooks, &err);
	if (!pg) {
		call_failed(call, &err);
		return NULL;
	}
	int code = pg_query(pg, "select count(*) from pg_namespace where nspname = 'weir_webhooks' and has_schema_privilege(oid, 'usage')", NULL, 0, &r, &err);
	bool usable = !code && pg_get_i64(r, 0, 0) == 1;
	pg_result_free(&r);
	if (usable && !pg_begin(pg, &err))
		return pg;
	if (!code && !usable)
		call_problem(call, 503, "webhooks_not_ready", "schema weir_webhooks is not there yet, or the gateway's role may not use it: start a reconciler, and grant "
							      "weir_webhooks to that role");
	else
		call_failed(call, &err);
	webhooks_give(webhooks);
	return NULL;
}

void admin_webhooks_end(struct call *call)
{
	webhooks_give(call->gateway->webhooks); /* what is not committed is rolled back */
}

bool admin_webhooks_ask(struct call *call, struct pg *pg, const char *name, const char *sql, const struct pg_param *p, size_t n, struct pg_result **ret)
{
	struct error err = { 0 };
	return pg_prepared(pg, name, sql, p, n, ret, &err) == 0 || call_failed(call, &err);
}

bool admin_webhooks_commit(struct call *call, struct pg *pg)
{
	struct error err = { 0 };
	if (pg_commit(pg, &err))
		return call_failed(call, &err);
	webhooks_wake(call->gateway->webhooks);
	return true;
}

bool admin_webhooks_number(struct call *call, const char *text, int64_t *ret)
{
	size_t n = strlen(text);
	*ret = 0;
	for (size_t i = 0; i < n && n <= 18; i++)
		*ret = *ret * 10 + (text[i] - '0');
	return (n >= 1 && n <= 18 && strspn(text, "0123456789") == n) || call_problem(call, 404, "webhook_unknown", "ids are numbers");
}

#define MS(column) "(extract(epoch from " column ") * 1000)::int8"
#define COLUMNS                                                                                                                                       \
	"e.id, e.url, e.description, e.chain, e.topic, e.account, e.asset, e.state, e.reason, " MS("e.state_at") ", e.failures::int8, e.position,"    \
	" e.start_height, " MS("e.created_at") ", e.created_by, (select count(*) from weir_webhooks.secrets s where s.endpoint = e.id"               \
	" and (s.expires_at is null or s.expires_at > now())), (select count(*) from (select 1 from weir_webhooks.deliveries d where d.endpoint = e.id" \
	" and d.state = 'pending' limit 10001) w), (select count(*) from (select 1 from weir_webhooks.deliveries d where d.endpoint = e.id"          \
	" and d.state = 'failed' limit 10001) w), " MS("case when e.state = 'failing' then e.probe_at end") ", case when e.lease_until > now() then e.owner end, e.watchlist::text, e.kind"

static const char *text_or_null(const struct pg_result *r, size_t row, size_t column)
{
	return pg_is_null(r, row, column) ? NULL : pg_get_text(r, row, column);
}

/* Of the URL no more than where it goes: receivers put secrets into paths. */
static void put_endpoint(struct buf *out, const struct pg_result *r, size_t row)
{
	char shown[256];
	put_i64(out, "id", pg_get_i64(r, row, 0));
	put_text(out, "url", log_url(pg_get_text(r, row, 1), shown));
	put_text(out, "description", pg_get_text(r, row, 2));
	put_text(out, "chain", pg_get_text(r, row, 3));
	put_text(out, "topic", pg_get_text(r, row, 4));
	put_text(out, "account", text_or_null(r, row, 5));
	put_text(out, "asset", text_or_null(r, row, 6));
	put_text(out, "state", pg_get_text(r, row, 7));
	put_text(out, "reason", pg_get_text(r, row, 8));
	put_milliseconds(out, "state_since", pg_get_i64(r, row, 9));
	put_i64(out, "failures", pg_get_i64(r, row, 10));
	put_text(out, "position", text_or_null(r, row, 11));
	if (pg_is_null(r, row, 12))
		put_null(out, "start_height");
	else
		put_i64(out, "start_height", pg_get_i64(r, row, 12));
	put_milliseconds(out, "created_at", pg_get_i64(r, row, 13));
	put_text(out, "created_by", pg_get_text(r, row, 14));
	put_i64(out, "secrets", pg_get_i64(r, row, 15));
	put_i64(out, "pending", pg_get_i64(r, row, 16));
	put_i64(out, "failed", pg_get_i64(r, row, 17));
	put_milliseconds(out, "probe_at", pg_is_null(r, row, 18) ? 0 : pg_get_i64(r, row, 18));
	put_text(out, "gateway", text_or_null(r, row, 19));
	put_text(out, "watchlist", text_or_null(r, row, 20));
	put_text(out, "kind", text_or_null(r, row, 21));
}

struct pg *admin_webhooks_find(struct call *call, int64_t *ret_id)
{
	struct pg_param p;
	struct pg_result *r = NULL;
	struct pg *pg = admin_webhooks_number(call, call->places[0], ret_id) ? admin_webhooks_begin(call) : NULL;
	if (!pg)
		return NULL;
	bool asked = admin_webhooks_ask(call, pg, "webhook_chain", "select chain from weir_webhooks.endpoints where id = $1", pg_i64(&p, *ret_id), 1, &r);
	bool found = asked && pg_rows(r) == 1;
	if (found)
		call->chain = gateway_find_chain(call->gateway, pg_get_text(r, 0, 0));
	pg_result_free(&r);
	if (asked && !found)
		call_problem(call, 404, "webhook_unknown", "there is no webhook of that id");
	else if (found && !call->chain)
		found = call_problem(call, 404, "chain_unknown", "the webhook's chain is not served here");
	if (found)
		return pg;
	admin_webhooks_end(call);
	return NULL;
}

/* ---- looking ----------------------------------------------------------------------------------------------------------------------------- */

void admin_webhooks_list(struct call *call)
{
	struct cursor cursor = { .kind = CURSOR_ROWS, .height = INT64_MAX, .pinned = -1, .as_of = -1 };
	size_t limit = (size_t)call_number(call, "limit", LIMIT_DEFAULT);
	struct pg_param p[2];
	struct pg_result *r = NULL;
	if (!page_cursor(call, CURSOR_ROWS, &cursor))
		return;
	struct pg *pg = admin_webhooks_begin(call);
	if (!pg)
		return;
	pg_i64(&p[0], cursor.height);
	pg_i64(&p[1], (int64_t)limit + 1);
	if (admin_webhooks_ask(call, pg, "webhook_list", "select " COLUMNS " from weir_webhooks.endpoints e where e.id < $1 order by e.id desc limit $2", p, 2, &r)) {
		size_t shown = page_put_rows(call, r, limit, put_endpoint);
		if (shown > 0)
			cursor.height = pg_get_i64(r, shown - 1, 0);
		page_end(call, pg_rows(r) > shown ? &cursor : NULL);
	}
	pg_result_free(&r);
	admin_webhooks_end(call);
}

/* Answers with the endpoint as it is now; secret: NULL, or what the receiver needs, told this once. */
static void answer(struct call *call, struct pg *pg, int64_t id, const char *secret)
{
	struct pg_param p;
	struct pg_result *r = NULL;
	if (admin_webhooks_ask(call, pg, "webhook_one", "select " COLUMNS " from weir_webhooks.endpoints e where e.id = $1", pg_i64(&p, id), 1, &r) &&
	    pg_rows(r) == 1) {
		put_object(call->out, NULL);
		put_endpoint(call->out, r, 0);
		if (secret)
			put_text(call->out, "secret", secret);
		put_end(call->out, '}');
	}
	pg_result_free(&r);
}

void admin_webhook_show(struct call *call)
{
	int64_t id;
	struct pg *pg = admin_webhooks_find(call, &id);
	if (!pg)
		return;
	answer(call, pg, id, NULL);
	admin_webhooks_end(call);
}

/* ---- registering --------------------------------------------------------------------------------------------------------------------------- */

struct wish {
	enum topic topic;
	char account[80], asset[ASSET_TEXT_MAX]; /* as the ledger writes them; "": all */
	int64_t watchlist;                       /* 0: none */
	int kind;                                /* 0: any */
	char host[256];
	struct webhook_secret secret;
};

static bool read_target(struct call *call, struct wish *ret)
{
	const struct webhook_rules *rules = webhooks_rules(call->gateway->webhooks);
	struct webhook_target target;
	struct sockaddr_storage addresses[WEBHOOK_ADDRESSES_MAX];
	struct error err = { 0 };
	size_t n = 0;
	if (webhook_target_read(call_text(call, "url"), rules, &target, &err))
		return call_problem(call, 400, "invalid_url", "%s", err.text);
	if (webhook_lookup_system(target.host, addresses, &n, &err) || webhook_addresses_check(rules, &target, addresses, n, &err))
		return call_problem(call, 400, "refused_address", "%s", err.text);
	log_url(call_text(call, "url"), ret->host);
	return true;
}

static bool read_want(struct call *call, struct wish *ret)
{
	const char *account = call_text(call, "account"), *asset = call_text(call, "asset");
	struct bytes bytes;
	uint8_t buffer[32];
	struct chain_asset parsed;
	if (!webhook_topic_read(call_text(call, "topic"), &ret->topic))
		return call_problem(call, 400, "invalid_body", "topic is blocks, entries, accounts, chain_status or watchlist");
	const char *list = call_text(call, "watchlist");
	struct error err = { 0 };
	if (watchlist_parse((struct text){ list, list ? strlen(list) : 0 }, &ret->watchlist, &err))
		return call_problem(call, 400, "invalid_body", "%s", err.text);
	const struct subscribe asked = { .topic = ret->topic, .chain = call->chain->chain.name, .account = account, .asset = asset,
					 .kind = call_text(call, "kind"), .watchlist = ret->watchlist };
	if (subscribe_check(&asked, &err))
		return call_problem(call, 400, "invalid_body", "%s", err.text);
	if ((account && !read_account(call, account, &bytes, buffer)) || (asset && !read_asset(call, asset, &parsed)) || !read_kind(call, &ret->kind))
		return false;
	if (account)
		account_text(&call->chain->chain, bytes, ret->account);
	if (asset)
		asset_text(&call->chain->chain, &parsed, ret->asset);
	return true;
}

static bool read_secret(struct call *call, struct webhook_secret *ret)
{
	const char *given = call_text(call, "secret"), *algorithm = call_text(call, "algorithm");
	struct error err = { 0 };
	bool asymmetric = algorithm && strcmp(algorithm, "v1a") == 0;
	if (algorithm && !asymmetric && strcmp(algorithm, "v1") != 0)
		return call_problem(call, 400, "invalid_body", "algorithm is v1 (HMAC-SHA256) or v1a (ed25519)");
	if (given && asymmetric)
		return call_problem(call, 400, "invalid_body", "a v1a key is made here and never leaves: give no secret");
	if (given)
		return webhook_secret_read(given, ret, &err) == 0 || call_problem(call, 400, "invalid_body", "%s", err.text);
	return webhook_secret_make(asymmetric ? WEBHOOK_V1A : WEBHOOK_V1, ret, &err) == 0 || call_failed(call, &err);
}

/* Where the journal ends now, as an offset: nothing up to there was given. */
static bool journal_end(struct call *call, char ret[OFFSET_TEXT_MAX])
{
	struct pg_param p;
	struct pg_result *r = NULL;
	if (!call_begin(call) || !call_query(call, "webhook_end", "select journal_sequence from weir_api.chains where id = $1",
					     pg_i32(&p, atomic_load(&call->chain->id)), 1, &r))
		return false;
	uint64_t newest = pg_rows(r) == 1 ? (uint64_t)pg_get_i64(r, 0, 0) : 0;
	pg_result_free(&r);
	call_release(call);
	offset_print(&(struct offset){ .sequence = newest, .index = -1, .given_after = newest }, ret);
	return true;
}

static bool add_secret(struct call *call, struct pg *pg, int64_t id, const struct webhook_secret *secret)
{
	struct buf sealed = BUF_INIT(256);
	struct error err = { 0 };
	struct pg_param p[2];
	char context[WEBHOOK_CONTEXT];
	int code = webhook_secret_seal(webhooks_key(call->gateway->webhooks), webhook_context(id, context), secret, &sealed, &err);
	pg_i64(&p[0], id);
	pg_bytea(&p[1], (struct bytes){ sealed.data, sealed.size });
	bool added = code ? call_failed(call, &err) :
			    admin_webhooks_ask(call, pg, "webhook_secret", "insert into weir_webhooks.secrets (endpoint, sealed) values ($1, $2)", p, 2, NULL);
	buf_free(&sealed);
	return added;
}

static bool watchlist_is_there(struct call *call, struct pg *pg, int64_t id)
{
	struct pg_param p[2];
	struct pg_result *r = NULL;
	pg_i64(&p[0], id);
	pg_text(&p[1], call->chain->chain.name);
	if (id == 0)
		return true;
	if (!admin_webhooks_ask(call, pg, "webhook_watchlist", "select 1 from weir_watch.lists where id = $1 and chain = $2 and deleted_at is null", p, 2, &r))
		return false;
	bool there = pg_rows(r) == 1;
	pg_result_free(&r);
	return there || call_problem(call, 404, "watchlist_unknown", "there is no watch-list with this id on this chain");
}

static bool insert(struct call *call, struct pg *pg, const struct wish *wish, const char *position, int64_t *ret_id)
{
	const char *description = call_text(call, "description");
	const struct value *height = call_value(call, "from_height");
	struct pg_param p[11];
	struct pg_result *r = NULL;
	pg_text(&p[0], call_text(call, "url"));
	pg_text(&p[1], description ? description : "");
	pg_text(&p[2], call->chain->chain.name);
	pg_text(&p[3], webhook_topic_name(wish->topic));
	pg_text(&p[4], *wish->account ? wish->account : NULL);
	pg_text(&p[5], *wish->asset ? wish->asset : NULL);
	pg_text(&p[6], height->given ? NULL : position);
	pg_i64(&p[7], height->given ? height->number : -1);
	pg_text(&p[8], call->who->name);
	pg_i64(&p[9], wish->watchlist);
	pg_text(&p[10], wish->kind ? kind_name(wish->kind) : NULL);
	if (!watchlist_is_there(call, pg, wish->watchlist))
		return false;
	if (!admin_webhooks_ask(call, pg, "webhook_insert",
				"insert into weir_webhooks.endpoints (url, description, chain, topic, account, asset, position, start_height, created_by, watchlist, kind)"
				" select $1, $2, $3, $4, $5, $6, $7, nullif($8, -1), $9, nullif($10::int8, 0), $11 where (select count(*) from weir_webhooks.endpoints) < 1000 returning id",
				p, 11, &r))
		return false;
	bool room = pg_rows(r) == 1;
	*ret_id = room ? pg_get_i64(r, 0, 0) : 0;
	pg_result_free(&r);
	return room || call_problem(call, 409, "too_many_webhooks", "there are %d webhooks: remove one first", WEBHOOK_ENDPOINTS_MAX);
}

static void add(struct call *call, struct pg *pg, const struct wish *wish, const char *position)
{
	char shown[WEBHOOK_SECRET_TEXT];
	struct error err = { 0 };
	int64_t id;
	if (!insert(call, pg, wish, position, &id) || !add_secret(call, pg, id, &wish->secret) || !admin_webhooks_commit(call, pg))
		return;
	if (webhook_receiver_key(&wish->secret, shown, &err)) {
		call_failed(call, &err);
		return;
	}
	answer(call, pg, id, shown);
}

void admin_webhook_add(struct call *call)
{
	struct wish wish = { 0 };
	char position[OFFSET_TEXT_MAX], detail[400];
	const char *chain = call_text(call, "chain");
	struct pg *pg = admin_webhooks_begin(call); /* first: is there anything to register with? */
	if (!pg)
		return;
	admin_webhooks_end(call);
	if (!chain)
		chain = admin_one_chain(call);
	if (!chain || !call_chain_named(call, chain) || !read_want(call, &wish) || !read_target(call, &wish) || !read_secret(call, &wish.secret) ||
	    !journal_end(call, position))
		return;
	snprintf(detail, sizeof detail, "%s to %s", webhook_topic_name(wish.topic), wish.host);
	if (admin_audit(call, "webhook_add", detail) && (pg = admin_webhooks_begin(call))) {
		add(call, pg, &wish, position);
		admin_webhooks_end(call);
	}
	webhook_secret_wipe(&wish.secret);
}

/* ---- changing -------------------------------------------------------------------------------------------------------------------------------- */

/* Finds the endpoint and writes down what is about to be done to it. */
static struct pg *begin_change(struct call *call, const char *action, int64_t *ret_id)
{
	char detail[400];
	const char *why = call_text(call, "why");
	struct pg *pg = admin_webhooks_find(call, ret_id);
	if (!pg)
		return NULL;
	admin_webhooks_end(call); /* the audit waits for Redis: not with this connection in hand */
	snprintf(detail, sizeof detail, "webhook %" PRId64 "%s%s", *ret_id, why ? ": " : "", why ? why : "");
	return admin_audit(call, action, detail) ? admin_webhooks_begin(call) : NULL;
}

void admin_webhook_disable(struct call *call)
{
	struct pg_param p[2];
	int64_t id;
	struct pg *pg = begin_change(call, "webhook_disable", &id);
	if (!pg)
		return;
	pg_i64(&p[0], id);
	pg_text(&p[1], call_text(call, "why"));
	if (admin_webhooks_ask(call, pg, "webhook_off",
			       "update weir_webhooks.endpoints set state = 'disabled', reason = $2, state_at = now(), owner = '', lease_until = '-infinity'"
			       " where id = $1 and state <> 'disabled'",
			       p, 2, NULL) &&
	    admin_webhooks_commit(call, pg))
		answer(call, pg, id, NULL);
	admin_webhooks_end(call);
}

void admin_webhook_enable(struct call *call)
{
	struct pg_param p[3];
	char position[OFFSET_TEXT_MAX], key[WEBHOOK_CONTEXT];
	int64_t id;
	struct pg *pg = begin_change(call, "webhook_enable", &id);
	if (!pg)
		return;
	pg_i64(&p[0], id);
	pg_text(&p[1], position);
	pg_i64(&p[2], call_number(call, "from_height", -1));
	if (journal_end(call, position) &&
	    admin_webhooks_ask(call, pg, "webhook_on",
			       "update weir_webhooks.endpoints set state = 'enabled', reason = '', failures = 0, probe_at = null,"
			       " state_at = case when state <> 'enabled' then now() else state_at end,"
			       " position = case when $3 >= 0 then null else coalesce(position, case when start_height is null then $2 end) end,"
			       " start_height = case when $3 >= 0 then $3 else start_height end where id = $1",
			       p, 3, NULL) &&
	    admin_webhooks_ask(call, pg, "webhook_now", "update weir_webhooks.deliveries set due_at = now() where endpoint = $1 and state = 'pending'", p, 1, NULL) &&
	    admin_webhooks_commit(call, pg)) {
		alert_raise(call->gateway->ctx, webhook_context(id, key), ALERT_RESOLVED, "webhooks", "%s was enabled by %s", key, call->who->name);
		answer(call, pg, id, NULL);
	}
	admin_webhooks_end(call);
}

void admin_webhook_remove(struct call *call)
{
	struct pg_param p;
	int64_t id;
	struct pg *pg = begin_change(call, "webhook_remove", &id);
	if (!pg)
		return;
	if (admin_webhooks_ask(call, pg, "webhook_remove", "delete from weir_webhooks.endpoints where id = $1", pg_i64(&p, id), 1, NULL) &&
	    admin_webhooks_commit(call, pg)) {
		put_object(call->out, NULL);
		put_i64(call->out, "count", 1);
		put_end(call->out, '}');
	}
	admin_webhooks_end(call);
}

/* The new secret signs at once, the others beside it until they expire. */
static bool rotate(struct call *call, struct pg *pg, int64_t id, const struct webhook_secret *secret)
{
	struct pg_param p[2];
	struct pg_result *r = NULL;
	pg_i64(&p[0], id);
	pg_i64(&p[1], call_number(call, "overlap_seconds", OVERLAP_S));
	if (!admin_webhooks_ask(call, pg, "webhook_expired", "delete from weir_webhooks.secrets where endpoint = $1 and expires_at <= now()", p, 1, NULL) ||
	    !admin_webhooks_ask(call, pg, "webhook_expire",
				"update weir_webhooks.secrets set expires_at = least(coalesce(expires_at, 'infinity'), now() + $2::int8 * interval '1 s')"
				" where endpoint = $1 returning id",
				p, 2, &r))
		return false;
	size_t n = pg_rows(r);
	pg_result_free(&r);
	if (n >= WEBHOOK_SECRETS_MAX)
		return call_problem(call, 409, "too_many_secrets", "%zu secrets sign already: wait until one of them expires", n);
	return add_secret(call, pg, id, secret);
}

void admin_webhook_rotate(struct call *call)
{
	struct webhook_secret secret;
	struct error err = { 0 };
	char shown[WEBHOOK_SECRET_TEXT];
	int64_t id;
	if (!read_secret(call, &secret))
		return;
	struct pg *pg = begin_change(call, "webhook_rotate", &id);
	if (pg && rotate(call, pg, id, &secret) && admin_webhooks_commit(call, pg)) {
		if (webhook_receiver_key(&secret, shown, &err))
			call_failed(call, &err);
		else
			answer(call, pg, id, shown);
	}
	if (pg)
		admin_webhooks_end(call);
	webhook_secret_wipe(&secret);
}

void admin_webhook_test(struct call *call)
{
	struct webhook_message message;
	struct buf body = BUF_INIT(1024);
	struct pg_param p[4];
	struct pg_result *r = NULL;
	int64_t id;
	struct pg *pg = begin_change(call, "webhook_test", &id);
	if (!pg)
		return;
	webhook_message_test(id, random_u64(), clock_wall_ms(), &message, &body);
	pg_i64(&p[0], id);
	pg_text(&p[1], message.id);
	pg_text(&p[2], message.type);
	pg_text(&p[3], buf_str(&body));
	if (admin_webhooks_ask(call, pg, "webhook_test",
			       "insert into weir_webhooks.deliveries (endpoint, message, sequence, type, lane, body) values ($1, $2, 0, $3, 'test', $4) returning id", p, 4,
			       &r)) {
		int64_t delivery = pg_get_i64(r, 0, 0);
		if (admin_webhooks_commit(call, pg)) {
			put_object(call->out, NULL);
			put_i64(call->out, "delivery", delivery);
			put_text(call->out, "message", message.id);
			put_end(call->out, '}');
		}
	}
	pg_result_free(&r);
	buf_free(&body);
	admin_webhooks_end(call);
}
