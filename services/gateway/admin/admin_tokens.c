/* admin_tokens.c - /admin/v1/tokens/revoked: tokens of issuers that are refused before their end. */
#include "admin/admin.h"

#include "call/page.h"
#include "identity/denial.h"

#include <stdio.h>
#include <string.h>

static const char columns[] = "id, jti, subject, coalesce(extract(epoch from issued_before) * 1000, 0)::int8, (extract(epoch from until) * 1000)::int8,"
			      " (extract(epoch from created_at) * 1000)::int8, created_by, why";

static void put_denial(struct buf *out, const struct pg_result *r, size_t row)
{
	put_i64(out, "id", pg_get_i64(r, row, 0));
	put_text(out, "jti", pg_is_null(r, row, 1) ? NULL : pg_get_text(r, row, 1));
	put_text(out, "subject", pg_is_null(r, row, 2) ? NULL : pg_get_text(r, row, 2));
	put_milliseconds(out, "issued_before", pg_get_i64(r, row, 3));
	put_milliseconds(out, "until", pg_get_i64(r, row, 4));
	put_milliseconds(out, "created_at", pg_get_i64(r, row, 5));
	put_text(out, "created_by", pg_get_text(r, row, 6));
	put_text(out, "why", pg_get_text(r, row, 7));
}

void admin_tokens_revoked(struct call *call)
{
	struct cursor cursor = { .kind = CURSOR_ROWS, .height = INT64_MAX, .pinned = -1, .as_of = -1 };
	const size_t limit = (size_t)call_number(call, "limit", LIMIT_DEFAULT);
	char sql[600];
	struct pg_param p[2];
	struct pg_result *r = NULL;
	if (!page_cursor(call, CURSOR_ROWS, &cursor))
		return;
	pg_i64(&p[0], cursor.height);
	pg_i64(&p[1], (int64_t)limit + 1);
	snprintf(sql, sizeof sql, "select %s from weir_identity.token_denials where id < $1 and until > now() order by id desc limit $2", columns);
	if (!admin_identity_query(call, "revoked tokens", sql, p, 2, &r))
		return;
	const size_t shown = page_put_rows(call, r, limit, put_denial);
	if (shown > 0)
		cursor.height = pg_get_i64(r, shown - 1, 0);
	page_end(call, pg_rows(r) > shown ? &cursor : NULL);
	pg_result_free(&r);
}

void admin_token_revoke(struct call *call)
{
	const char *jti = call_text(call, "jti"), *subject = call_text(call, "subject");
	char detail[900], sql[1500];
	struct pg_param p[5];
	struct pg_result *r = NULL;
	if (!jti == !subject) {
		call_problem(call, 400, "invalid_body", "say which: a token by its jti, or all of a subject that were issued up to now");
		return;
	}
	snprintf(detail, sizeof detail, "%s %s: %s", jti ? "jti" : "subject", jti ? jti : subject, call_text(call, "why"));
	if (!admin_audit_identity(call, "token_revoke", detail))
		return;
	pg_text(&p[0], jti);
	pg_text(&p[1], subject);
	pg_i64(&p[2], call_number(call, "expires_in", 0));
	pg_text(&p[3], call->who->name);
	pg_text(&p[4], call_text(call, "why"));
	/* Those whose tokens have ended go. */
	snprintf(sql, sizeof sql,
		 "with c as (update weir_identity.changes set number = number + 1 returning number),"
		 " gone as (delete from weir_identity.token_denials where until <= now()),"
		 " n as (select count(*) as n from weir_identity.token_denials where until > now())"
		 " insert into weir_identity.token_denials (jti, subject, issued_before, until, created_by, why)"
		 " select $1::text, $2::text, case when $2::text is not null then now() end, now() + $3::int8 * interval '1 s', $4::text, $5::text from n, c where n < %d returning %s",
		 DENIALS_MAX, columns);
	if (!admin_identity_query(call, "revoked tokens", sql, p, 5, &r))
		return;
	if (pg_rows(r) == 1) {
		call->response->status = 201;
		put_object(call->out, NULL);
		put_denial(call->out, r, 0);
		put_end(call->out, '}');
	} else {
		call_problem(call, 409, "conflict", "%d revocations are in force, as many as there may be: revoke by subject, or change the issuer's keys", DENIALS_MAX);
	}
	pg_result_free(&r);
}
