/* admin_users.c - /admin/v1/users: who may sign in, as what. */
#include "admin/admin.h"

#include "identity/keyring.h"
#include "call/page.h"
#include "identity/password.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#define COLUMNS "name, role, (extract(epoch from created_at) * 1000)::int8, created_by, (extract(epoch from password_at) * 1000)::int8," \
		" coalesce(extract(epoch from disabled_at) * 1000, 0)::int8, coalesce(extract(epoch from signed_in_at) * 1000, 0)::int8"

static void put_user(struct buf *out, const struct pg_result *r, size_t row)
{
	put_object(out, NULL);
	put_text(out, "name", pg_get_text(r, row, 0));
	put_text(out, "role", pg_get_text(r, row, 1));
	put_milliseconds(out, "created_at", pg_get_i64(r, row, 2));
	put_text(out, "created_by", pg_get_text(r, row, 3));
	put_milliseconds(out, "password_at", pg_get_i64(r, row, 4));
	put_milliseconds(out, "disabled_at", pg_get_i64(r, row, 5));
	put_milliseconds(out, "signed_in_at", pg_get_i64(r, row, 6));
	put_end(out, '}');
}

/* Runs a change of one user and answers with the row. */
static void change(struct call *call, const char *sql, const struct pg_param *params, size_t n, unsigned otherwise, const char *code, const char *words)
{
	struct pg_result *r = NULL;
	if (!admin_identity_query(call, "users", sql, params, n, &r))
		return;
	if (pg_rows(r) == 0)
		call_problem(call, otherwise, code, "%s", words);
	else
		put_user(call->out, r, 0);
	pg_result_free(&r);
}

void admin_users(struct call *call)
{
	char behind[80] = "";
	struct pg_param p[2];
	struct pg_result *r = NULL;
	size_t limit = (size_t)call_number(call, "limit", LIMIT_DEFAULT);
	if (!page_cursor_text(call, behind, sizeof behind))
		return;
	pg_text(&p[0], behind);
	pg_i64(&p[1], (int64_t)limit + 1);
	if (!admin_identity_query(call, "users", "select " COLUMNS " from weir_identity.users where name collate \"C\" > $1 order by name collate \"C\" limit $2", p, 2, &r))
		return;
	size_t n = pg_rows(r), shown = n > limit ? limit : n;
	page_begin(call);
	for (size_t i = 0; i < shown; i++)
		put_user(call->out, r, i);
	page_end_behind(call, n > shown ? pg_get_text(r, shown - 1, 0) : NULL);
	pg_result_free(&r);
}

static bool name_fits(struct call *call, const char *name)
{
	for (const char *p = name; *p; p++)
		if (!isalnum((unsigned char)*p) && !strchr("._-@", *p))
			return call_problem(call, 400, "invalid_name", "a user's name has letters, digits and . _ - @ only");
	return true;
}

static bool role_fits(struct call *call, const char *role)
{
	if (scope_role(scope_by_name(role, strlen(role))) != ROLE_NONE)
		return true;
	return call_problem(call, 400, "invalid_role", "\"%.32s\" is no role: viewer, operator, admin", role);
}

void admin_user_make(struct call *call)
{
	const char *name = call_text(call, "name"), *role = call_text(call, "role");
	char encoded[PASSWORD_ENCODED], detail[160];
	struct pg_param p[4];
	if (!name_fits(call, name) || !role_fits(call, role))
		return;
	snprintf(detail, sizeof detail, "%s: %s", name, role);
	if (!admin_audit_identity(call, "user_make", detail))
		return;
	password_hash(call_text(call, "password"), encoded);
	pg_text(&p[0], name);
	pg_text(&p[1], encoded);
	pg_text(&p[2], role);
	pg_text(&p[3], call->who->name);
	call->response->status = 201;
	change(call,
	       "insert into weir_identity.users (name, password, role, created_by) values ($1, $2, $3, $4) on conflict do nothing returning " COLUMNS, p, 4, 409,
	       "user_exists", "there is a user of that name already");
}

void admin_user_password(struct call *call)
{
	char encoded[PASSWORD_ENCODED];
	struct pg_param p[2];
	if (!admin_audit_identity(call, "user_password", call->places[0]))
		return;
	password_hash(call_text(call, "password"), encoded);
	pg_text(&p[0], call->places[0]);
	pg_text(&p[1], encoded);
	change(call,
	       "with ended as (update weir_identity.sessions set ended_at = now(), ended_by = 'password' where user_name = $1::text and ended_at is null)"
	       " update weir_identity.users set password = $2::text, password_at = now(), disabled_at = null where name = $1::text returning " COLUMNS,
	       p, 2, 404, "user_unknown", "there is no user of that name");
}

/* Sessions go on: each use looks the role up. */
void admin_user_role(struct call *call)
{
	const char *role = call_text(call, "role");
	char detail[160];
	struct pg_param p[2];
	snprintf(detail, sizeof detail, "%.64s: %.16s", call->places[0], role);
	if (!role_fits(call, role) || !admin_audit_identity(call, "user_role", detail))
		return;
	pg_text(&p[0], call->places[0]);
	pg_text(&p[1], role);
	change(call, "update weir_identity.users set role = $2::text where name = $1::text returning " COLUMNS, p, 2, 404, "user_unknown", "there is no user of that name");
}

void admin_user_disable(struct call *call)
{
	char detail[300];
	struct pg_param p[1];
	snprintf(detail, sizeof detail, "%.64s: %s", call->places[0], call_text(call, "why"));
	if (!admin_audit_identity(call, "user_disable", detail))
		return;
	pg_text(&p[0], call->places[0]);
	change(call,
	       "with ended as (update weir_identity.sessions set ended_at = now(), ended_by = 'disabled' where user_name = $1::text and ended_at is null)"
	       " update weir_identity.users set disabled_at = coalesce(disabled_at, now()) where name = $1::text returning " COLUMNS,
	       p, 1, 404, "user_unknown", "there is no user of that name");
}
