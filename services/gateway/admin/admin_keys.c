/* admin_keys.c - /admin/v1/keys: API keys of the database are made, listed and revoked. The key itself is told once, when it is made. */
#include "admin/admin.h"

#include "identity/api_key.h"
#include "control.h"
#include "identity/keyring.h"
#include "call/page.h"

#include "weir/streams.h"

#include <stdio.h>
#include <string.h>

bool admin_audit_identity(struct call *call, const char *action, const char *detail)
{
	struct error err = { 0 };
	struct bus *bus = control_take(call->gateway->control);
	int code = bus_audit(bus, AUDIT_GATEWAY, call->who->name, action, detail, &err);
	control_give(call->gateway->control);
	log_info(&call->gateway->log, "operator_action", detail, LOG_S("action", action), LOG_S("who", call->who->name), LOG_S("request_id", call->request->id));
	return code == 0 || call_failed(call, &err);
}

static const char columns[] = "id, name, array_to_string(scopes, ','), addresses, (extract(epoch from created_at) * 1000)::int8, created_by,"
			      " coalesce(extract(epoch from expires_at) * 1000, 0)::int8, coalesce(extract(epoch from revoked_at) * 1000, 0)::int8, revoked_by,"
			      " coalesce(extract(epoch from last_used_at) * 1000, 0)::int8";

static void put_key(struct buf *out, const struct pg_result *r, size_t row)
{
	const char *scopes = pg_get_text(r, row, 2);
	put_text(out, "id", pg_get_text(r, row, 0));
	put_text(out, "name", pg_get_text(r, row, 1));
	put_array(out, "scopes");
	for (scopes += strspn(scopes, ","); *scopes; scopes += strspn(scopes, ",")) {
		char scope[16];
		size_t size = strcspn(scopes, ",");
		snprintf(scope, sizeof scope, "%.*s", (int)size, scopes);
		put_text(out, NULL, scope);
		scopes += size;
	}
	put_end(out, ']');
	put_text(out, "addresses", pg_get_text(r, row, 3));
	put_milliseconds(out, "created_at", pg_get_i64(r, row, 4));
	put_text(out, "created_by", pg_get_text(r, row, 5));
	put_milliseconds(out, "expires_at", pg_get_i64(r, row, 6));
	put_milliseconds(out, "revoked_at", pg_get_i64(r, row, 7));
	put_text(out, "revoked_by", pg_is_null(r, row, 8) ? NULL : pg_get_text(r, row, 8));
	put_milliseconds(out, "last_used_at", pg_get_i64(r, row, 9));
}

bool admin_identity_query(struct call *call, const char *what, const char *sql, const struct pg_param *params, size_t n, struct pg_result **ret)
{
	struct error err = { 0 };
	struct pg *pg = keyring_take_pg(call->gateway->keyring, &err);
	int code = pg ? pg_query(pg, sql, params, n, ret, &err) : err.code;
	if (pg)
		keyring_give_pg(call->gateway->keyring);
	if (code == WEIR_PERMISSION)
		return call_problem(call, 503, "identity_unavailable", "the gateway's database login may not manage %s: grant weir_identity to it", what);
	return code == 0 || call_failed(call, &err);
}

void admin_keys(struct call *call)
{
	char behind[64] = "", sql[1024];
	struct pg_param p[3];
	struct pg_result *r = NULL;
	size_t limit = (size_t)call_number(call, "limit", LIMIT_DEFAULT);
	if (!page_cursor_text(call, behind, sizeof behind))
		return;
	snprintf(sql, sizeof sql,
		 "select %s from weir_identity.keys where ($1 = '' or (created_at, id) < (select created_at, id from weir_identity.keys where id = $1))"
		 " and ($3 or revoked_at is null) order by created_at desc, id desc limit $2",
		 columns);
	pg_text(&p[0], behind);
	pg_i64(&p[1], (int64_t)limit + 1);
	pg_bool(&p[2], call_value(call, "revoked")->number != 0);
	if (!admin_identity_query(call, "keys", sql, p, 3, &r))
		return;
	size_t shown = page_put_rows(call, r, limit, put_key);
	page_end_behind(call, pg_rows(r) > shown ? pg_get_text(r, shown - 1, 0) : NULL);
	pg_result_free(&r);
}

/* Nobody gives away more than they have. */
static bool check_scopes(struct call *call, const struct value *scopes, char ret[64])
{
	ret[0] = '\0';
	for (size_t i = 0; i < scopes->count; i++) {
		unsigned scope = scope_by_name(scopes->texts[i], strlen(scopes->texts[i]));
		if (!scope)
			return call_problem(call, 400, "invalid_scope", "\"%.32s\" is no scope: read, stream, viewer, operator, admin", scopes->texts[i]);
		size_t used = strlen(ret);
		snprintf(ret + used, 64 - used, "%s%s", used ? "," : "", scopes->texts[i]);
	}
	return scopes->count > 0 || call_problem(call, 400, "invalid_scope", "give at least one scope: read, stream, viewer, operator, admin");
}

static bool key_name_fits(struct call *call, const char *name)
{
	for (const char *p = name; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f || *p == '#')
			return call_problem(call, 400, "invalid_name", "a key's name has no control characters and no '#'");
	return true;
}

void admin_key_make(struct call *call)
{
	const char *name = call_text(call, "name"), *addresses = call_text(call, "addresses");
	const struct value *expires = call_value(call, "expires_in");
	char key[API_KEY_TEXT], id[API_KEY_ID], scopes[64], detail[400], sql[1200];
	uint8_t hash[API_KEY_HASH];
	struct client_ranges ranges;
	struct error err = { 0 };
	struct pg_param p[7];
	struct pg_result *r = NULL;
	if (!key_name_fits(call, name) || !check_scopes(call, call_value(call, "scopes"), scopes))
		return;
	if (client_ranges_parse(addresses ? addresses : "", &ranges, &err)) {
		call_problem(call, 400, "invalid_addresses", "addresses: %s", err.text);
		return;
	}
	api_key_make(key, id);
	api_key_hash(key, call->gateway->config->gateway.key_pepper, hash);
	snprintf(detail, sizeof detail, "%s (%s): %s%s%s", id, name, scopes, addresses && *addresses ? ", from " : "", addresses ? addresses : "");
	if (!admin_audit_identity(call, "key_make", detail)) /* first: nothing happens that is not written down */
		return;
	snprintf(sql, sizeof sql,
		 "with c as (update weir_identity.changes set number = number + 1 returning number)"
		 " insert into weir_identity.keys (id, name, hash, scopes, addresses, created_by, expires_at, change)"
		 " select $1::text, $2::text, $3::bytea, string_to_array($4::text, ','), $5::text, $6::text, now() + $7::int8 * interval '1 second', number from c"
		 " returning %s",
		 columns);
	pg_text(&p[0], id);
	pg_text(&p[1], name);
	pg_bytea(&p[2], (struct bytes){ hash, sizeof hash });
	pg_text(&p[3], scopes);
	pg_text(&p[4], addresses ? addresses : "");
	pg_text(&p[5], call->who->name);
	if (expires->given)
		pg_i64(&p[6], expires->number);
	else
		pg_null(&p[6]);
	if (!admin_identity_query(call, "keys", sql, p, 7, &r))
		return;
	call->response->status = 201;
	put_object(call->out, NULL);
	put_text(call->out, "key", key);
	put_key(call->out, r, 0);
	put_end(call->out, '}');
	pg_result_free(&r);
}

void admin_key_revoke(struct call *call)
{
	char detail[300], sql[1024];
	struct pg_param p[2];
	struct pg_result *r = NULL;
	snprintf(detail, sizeof detail, "%.32s: %s", call->places[0], call_text(call, "why"));
	if (!admin_audit_identity(call, "key_revoke", detail))
		return;
	snprintf(sql, sizeof sql,
		 "with k as (select id from weir_identity.keys where id = $1::text),"
		 " c as (update weir_identity.changes set number = number + 1 where exists (select from k) returning number)"
		 " update weir_identity.keys set revoked_at = coalesce(revoked_at, now()), revoked_by = coalesce(revoked_by, $2::text), change = c.number from c"
		 " where id = $1::text returning %s",
		 columns);
	pg_text(&p[0], call->places[0]);
	pg_text(&p[1], call->who->name);
	if (!admin_identity_query(call, "keys", sql, p, 2, &r))
		return;
	if (pg_rows(r) == 0) {
		call_problem(call, 404, "key_unknown", "there is no API key with this id; keys of the settings are removed there");
	} else {
		put_object(call->out, NULL);
		put_key(call->out, r, 0);
		put_end(call->out, '}');
	}
	pg_result_free(&r);
}
