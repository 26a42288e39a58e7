/* rest_watchlists.c - /v1/watchlists: made, listed, shown, renamed, changed in bulk and deleted by the key or user that owns them; operators may, too. */
#include "rest/rest.h"

#include "watchlist/watchlist.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COLUMNS "id::text, name, chain, owner, addresses, (extract(epoch from created_at) * 1000)::int8"
/* $1 the list, $2 who asks, $3 an operator asks. */
#define IF_MINE " where id = $1 and (owner = $2 or $3) and deleted_at is null"
#define MINE " from weir_watch.lists" IF_MINE

static bool is_operator(const struct call *call)
{
	return call->operators && scope_role(call->who->scopes) >= ROLE_OPERATOR;
}

static bool is_somebody(struct call *call)
{
	if (call->who)
		return true;
	call->response->authenticate = true;
	return call_problem(call, 401, "unauthorized", "watch-lists belong to a key or user: Authorization: Bearer KEY, or X-Api-Key: KEY");
}

static bool unknown(struct call *call)
{
	return call_problem(call, 404, "watchlist_unknown", "you have no watch-list with this id");
}

static bool read_id(struct call *call, int64_t *ret)
{
	const char *text = call->places[0];
	size_t n = strspn(text, "0123456789");
	if (n == 0 || n > 18 || text[n])
		return unknown(call);
	*ret = strtoll(text, NULL, 10);
	return true;
}

static bool check(struct call *call, int code, const struct error *err)
{
	if (code == WEIR_PERMISSION)
		return call_problem(call, 503, "watchlists_unavailable", "the gateway's database login may not manage watch-lists: grant weir_identity to it");
	return code == 0 || call_failed(call, err);
}

static struct pg *take(struct call *call)
{
	struct error err = { 0 };
	struct pg *pg = watchlists_take_pg(call->gateway->watchlists, &err);
	if (!pg)
		call_failed(call, &err);
	return pg;
}

/* One statement by itself. False: answered. */
static bool query(struct call *call, const char *sql, const struct pg_param *p, size_t n, struct pg_result **ret)
{
	struct error err = { 0 };
	struct pg *pg = take(call);
	int code = pg ? pg_query(pg, sql, p, n, ret, &err) : 0;
	if (!pg)
		return false;
	watchlists_give_pg(call->gateway->watchlists);
	return check(call, code, &err);
}

static void put_list(struct buf *out, const struct pg_result *r, size_t row)
{
	put_text(out, "id", pg_get_text(r, row, 0));
	put_text(out, "name", pg_get_text(r, row, 1));
	put_text(out, "chain", pg_get_text(r, row, 2));
	put_text(out, "owner", pg_get_text(r, row, 3));
	put_i64(out, "addresses", pg_get_i64(r, row, 4));
	put_milliseconds(out, "created_at", pg_get_i64(r, row, 5));
}

static void mine(const struct call *call, int64_t id, struct pg_param p[3])
{
	pg_i64(&p[0], id);
	pg_text(&p[1], call->who->name);
	pg_bool(&p[2], is_operator(call));
}

void rest_watchlists(struct call *call)
{
	char behind[64] = "";
	struct pg_param p[4];
	struct pg_result *r = NULL;
	size_t limit = (size_t)call_number(call, "limit", LIMIT_DEFAULT);
	if (!is_somebody(call) || !page_cursor_text(call, behind, sizeof behind))
		return;
	mine(call, strtoll(behind, NULL, 10), p);
	pg_i64(&p[3], (int64_t)limit + 1);
	if (!query(call, "select " COLUMNS " from weir_watch.lists where id > $1 and (owner = $2 or $3) and deleted_at is null order by id limit $4", p, 4, &r))
		return;
	size_t shown = page_put_rows(call, r, limit, put_list);
	page_end_behind(call, pg_rows(r) > shown ? pg_get_text(r, shown - 1, 0) : NULL);
	pg_result_free(&r);
}

static bool is_name(struct call *call, const char *name)
{
	for (const char *c = name; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			return call_problem(call, 400, "invalid_name", "a watch-list's name has no control characters");
	return true;
}

static void answer_list(struct call *call, const struct pg_result *r)
{
	put_object(call->out, NULL);
	put_list(call->out, r, 0);
	put_end(call->out, '}');
}

void rest_watchlist_make(struct call *call)
{
	struct pg_param p[4];
	struct pg_result *r = NULL;
	const char *name = call_text(call, "name");
	if (!is_somebody(call) || !call_chain_named(call, call_text(call, "chain")) || !is_name(call, name))
		return;
	pg_text(&p[0], call->who->name);
	pg_text(&p[1], call->chain->chain.name);
	pg_text(&p[2], name);
	pg_i64(&p[3], call->gateway->config->gateway.watchlists_per_owner);
	if (!query(call,
		   "insert into weir_watch.lists (owner, chain, name) select $1::text, $2::text, $3::text"
		   " where (select count(*) from weir_watch.lists where owner = $1 and deleted_at is null) < $4 returning " COLUMNS,
		   p, 4, &r))
		return;
	if (pg_rows(r) == 0) {
		call_problem(call, 409, "too_many_watchlists", "you have %lld watch-lists, as many as one may have: delete one",
			     (long long)call->gateway->config->gateway.watchlists_per_owner);
	} else {
		call->response->status = 201;
		answer_list(call, r);
	}
	pg_result_free(&r);
}

void rest_watchlist(struct call *call)
{
	int64_t id = 0;
	struct pg_param p[3];
	struct pg_result *r = NULL;
	if (!is_somebody(call) || !read_id(call, &id))
		return;
	mine(call, id, p);
	if (!query(call, "select " COLUMNS MINE, p, 3, &r))
		return;
	if (pg_rows(r) == 0)
		unknown(call);
	else
		answer_list(call, r);
	pg_result_free(&r);
}

/* Subscriptions and webhooks name it by its id: nothing changes for them. */
void rest_watchlist_rename(struct call *call)
{
	int64_t id = 0;
	struct pg_param p[4];
	struct pg_result *r = NULL;
	if (!is_somebody(call) || !read_id(call, &id) || !is_name(call, call_text(call, "name")))
		return;
	mine(call, id, p);
	pg_text(&p[3], call_text(call, "name"));
	if (!query(call, "update weir_watch.lists set name = $4" IF_MINE " returning " COLUMNS, p, 4, &r))
		return;
	if (pg_rows(r) == 0)
		unknown(call);
	else
		answer_list(call, r);
	pg_result_free(&r);
}

/* Sets call->chain, and *ret_size to how many belong to it. */
static bool find_chain_of(struct call *call, int64_t id)
{
	struct pg_param p[3];
	struct pg_result *r = NULL;
	mine(call, id, p);
	if (!query(call, "select chain" MINE, p, 3, &r))
		return false;
	bool found = pg_rows(r) > 0 ? call_chain_named(call, pg_get_text(r, 0, 0)) : unknown(call);
	pg_result_free(&r);
	return found;
}

void rest_watchlist_addresses(struct call *call)
{
	int64_t id = 0;
	char behind[80] = "", text[80];
	uint8_t buffer[32];
	struct bytes address = { buffer, 0 };
	struct pg_param p[3];
	struct pg_result *r = NULL;
	size_t limit = (size_t)call_number(call, "limit", LIMIT_DEFAULT);
	if (!is_somebody(call) || !read_id(call, &id) || !page_cursor_text(call, behind, sizeof behind) || !find_chain_of(call, id))
		return;
	if (behind[0] && !read_account(call, behind, &address, buffer))
		return;
	pg_i64(&p[0], id);
	pg_bytea(&p[1], address);
	pg_i64(&p[2], (int64_t)limit + 1);
	if (!query(call, "select address from weir_watch.addresses where list = $1 and address > $2 and removed is null order by address limit $3", p, 3, &r))
		return;
	size_t n = pg_rows(r), shown = n > limit ? limit : n;
	page_begin(call);
	for (size_t i = 0; i < shown; i++) {
		account_text(&call->chain->chain, pg_get_bytes(r, i, 0), text);
		put_text(call->out, NULL, text);
	}
	page_end_behind(call, n > shown ? text : NULL);
	pg_result_free(&r);
}

/* ---- changes ------------------------------------------------------------------------------------------------------------------------------- */

struct change {
	int64_t list, id, sequence;
	uint64_t changed;
};

/* In its transaction, the list locked: nobody else changes it meanwhile. */
static bool begin_change(struct call *call, struct pg *pg, struct change *change)
{
	struct error err = { 0 };
	struct pg_param p[3];
	struct pg_result *r = NULL;
	mine(call, change->list, p);
	int code = pg_begin(pg, &err);
	if (!code)
		code = pg_query(pg, "select nextval('weir_watch.change_ids')" MINE " for update", p, 3, &r, &err);
	bool found = !code && pg_rows(r) > 0;
	if (found)
		change->id = pg_get_i64(r, 0, 0);
	pg_result_free(&r);
	return check(call, code, &err) && (found || unknown(call));
}

static bool finish_change(struct call *call, struct pg *pg, int64_t more, bool always, struct change *change)
{
	struct error err = { 0 };
	struct pg_param p[4];
	struct pg_result *r = NULL;
	pg_i64(&p[0], change->list);
	pg_i64(&p[1], change->id);
	pg_i64(&p[2], more);
	pg_bool(&p[3], always);
	int code = pg_query(pg, "select weir_watch.finish($1, $2, $3, $4)", p, 4, &r, &err);
	if (!code)
		change->sequence = pg_get_i64(r, 0, 0);
	pg_result_free(&r);
	if (!code)
		code = pg_commit(pg, &err);
	return check(call, code, &err);
}

static bool fits(struct call *call, struct pg *pg, const struct change *change)
{
	struct error err = { 0 };
	struct pg_param p;
	struct pg_result *r = NULL;
	int64_t most = call->gateway->config->gateway.watchlist_addresses;
	int code = pg_query(pg, "select addresses from weir_watch.lists where id = $1", pg_i64(&p, change->list), 1, &r, &err);
	int64_t have = !code && pg_rows(r) > 0 ? pg_get_i64(r, 0, 0) : 0;
	pg_result_free(&r);
	if (!check(call, code, &err))
		return false;
	return have + (int64_t)change->changed <= most ||
	       call_problem(call, 409, "watchlist_full", "the watch-list has %lld addresses and may have %lld: nothing was added", (long long)have, (long long)most);
}

/* $1 list, $2 change, $3 addresses. */
static const char *const add_sql =
	"insert into weir_watch.addresses (list, address, added) select distinct $1::int8, a, $2::int8 from unnest($3::bytea[]) a"
	" where not exists (select from weir_watch.addresses x where x.list = $1 and x.address = a and x.removed is null)";
static const char *const remove_sql = "update weir_watch.addresses set removed = $2 where list = $1 and address = any($3::bytea[]) and removed is null";

static bool carry_out(struct call *call, struct pg *pg, struct pg_param p[3], bool adds, struct change *change)
{
	struct error err = { 0 };
	struct pg_result *r = NULL;
	if (!begin_change(call, pg, change))
		return false;
	pg_i64(&p[0], change->list);
	pg_i64(&p[1], change->id);
	int code = pg_query(pg, adds ? add_sql : remove_sql, p, 3, &r, &err);
	change->changed = code ? 0 : pg_affected(r);
	pg_result_free(&r);
	if (!check(call, code, &err) || (adds && !fits(call, pg, change)))
		return false;
	if (change->changed == 0)
		return true;
	int64_t n = (int64_t)change->changed;
	return finish_change(call, pg, adds ? n : -n, adds && call_number(call, "always", 0) != 0, change);
}

static bool read_addresses(struct call *call, const struct value *texts, struct pg_array *array)
{
	const struct chain *chain = &call->chain->chain;
	struct error err = { 0 };
	uint8_t address[32];
	for (size_t i = 0; i < texts->count; i++) {
		size_t size = 0;
		if (chain->family->account_parse(chain, texts->texts[i], address, &size, &err))
			return call_problem(call, 400, "invalid_address", "address %zu of %zu, \"%.80s\": %s; nothing was changed", i + 1, texts->count,
					    texts->texts[i], err.text);
		pg_array_bytea(array, (struct bytes){ address, size });
	}
	return texts->count > 0 || call_problem(call, 400, "invalid_body", "addresses is empty");
}

static void change(struct call *call, bool adds)
{
	struct change change = { 0 };
	struct buf out = BUF_INIT((size_t)1 << 20);
	struct pg_array array;
	struct pg_param p[3];
	const struct value *texts = call_value(call, "addresses");
	if (!is_somebody(call) || !read_id(call, &change.list) || !find_chain_of(call, change.list))
		return;
	pg_array_begin(&array, &out, 17);
	struct pg *pg = read_addresses(call, texts, &array) ? take(call) : NULL;
	pg_array_finish(&array, &p[2]);
	bool done = pg && carry_out(call, pg, p, adds, &change);
	if (pg)
		watchlists_give_pg(call->gateway->watchlists);
	buf_free(&out);
	if (!done)
		return;
	char sequence[24];
	snprintf(sequence, sizeof sequence, "%lld", (long long)change.sequence);
	put_object(call->out, NULL);
	put_u64(call->out, "changed", change.changed);
	put_u64(call->out, "unchanged", texts->count - change.changed);
	put_text(call->out, "after_offset", change.changed ? sequence : NULL);
	put_end(call->out, '}');
}

void rest_watchlist_add(struct call *call)
{
	change(call, true);
}

void rest_watchlist_remove(struct call *call)
{
	change(call, false);
}

void rest_watchlist_delete(struct call *call)
{
	struct change change = { 0 };
	struct error err = { 0 };
	struct pg_param p;
	if (!is_somebody(call) || !read_id(call, &change.list))
		return;
	struct pg *pg = take(call);
	if (!pg)
		return;
	bool done = begin_change(call, pg, &change);
	if (done)
		done = check(call, pg_query(pg, "update weir_watch.lists set deleted_at = now() where id = $1", pg_i64(&p, change.list), 1, NULL, &err), &err) &&
		       finish_change(call, pg, 0, true, &change);
	watchlists_give_pg(call->gateway->watchlists);
	if (!done)
		return;
	put_object(call->out, NULL);
	put_text(call->out, "id", call->places[0]);
	put_bool(call->out, "deleted", true);
	put_end(call->out, '}');
}
