/* migrate.c - numbered schema changes: each once, in order, in one transaction, under a lock that all instances share; and what is left to do. */
#include "store/internal.h"

#include <string.h>

/* Any constant that no other program uses: "weir" in ASCII. */
#define LOCK_SQL "select pg_advisory_xact_lock(2003134834)"
#define NO_SCHEMA "weir's role may not create or use schema weir (grant create on database … to the role, or let the schema's owner run weir)"

static int was_changed(const struct pg_migration *m, struct error *err)
{
	return error_set(err, WEIR_CONFLICT, "migration %d (%s) in the database is not the one of this program: a released migration was changed",
			 m->number, m->name);
}

static int refuse_newer(struct pg *pg, const struct pg_migration *migrations, size_t n, struct error *err)
{
	struct pg_result *rows = NULL;
	int newest = n > 0 ? migrations[n - 1].number : 0;
	int code = pg_query(pg, "select coalesce(max(number), 0) from weir.migrations", NULL, 0, &rows, err);
	if (!code && pg_get_i64(rows, 0, 0) > newest)
		code = error_set(err, WEIR_CONFLICT, "the database has migration %lld, this program knows only up to %d: run the newer weir",
				 (long long)pg_get_i64(rows, 0, 0), newest);
	pg_result_free(&rows);
	return code;
}

static int prepare(struct pg *pg, struct error *err)
{
	int code = pg_begin(pg, err);
	if (!code)
		code = pg_unlimited(pg, err);
	if (!code)
		code = pg_exec(pg, LOCK_SQL, err);
	struct pg_result *rows = NULL;
	if (!code)
		code = pg_query(pg, "select to_regclass('weir.migrations') is not null", NULL, 0, &rows, err);
	bool exists = !code && pg_get_bool(rows, 0, 0);
	pg_result_free(&rows);
	if (!code && !exists)
		code = pg_exec(pg,
			       "create schema if not exists weir;"
			       "create table weir.migrations (number integer primary key, name text not null, checksum bytea not null,"
			       " applied_at timestamptz not null default now())",
			       err);
	if (code == WEIR_PERMISSION)
		error_prefix(err, NO_SCHEMA);
	if (!code)
		return pg_commit(pg, err);
	pg_rollback(pg);
	return code;
}

/* Applies one, unless it was. *ret_applied tells. Two instances that start together meet at the lock; the second finds it done. */
static int apply(struct pg *pg, const struct pg_migration *m, bool *ret_applied, struct error *err)
{
	struct pg_param params[3];
	struct pg_result *rows = NULL;
	pg_i32(&params[0], m->number);
	pg_text(&params[1], m->name);
	pg_text(&params[2], m->sql);
	*ret_applied = false;
	int code = pg_begin(pg, err);
	if (!code)
		code = pg_unlimited(pg, err);
	if (!code)
		code = pg_exec(pg, LOCK_SQL, err);
	if (!code)
		code = pg_query(pg,
				"select m.checksum = sha256(convert_to($3::text, 'UTF8')), $2::text from weir.migrations m where m.number = $1",
				params, 3, &rows, err);
	if (!code && pg_rows(rows) > 0) {
		if (!pg_get_bool(rows, 0, 0))
			code = was_changed(m, err);
	} else if (!code) {
		code = pg_exec(pg, m->sql, err);
		if (!code)
			code = pg_query(pg,
					"insert into weir.migrations (number, name, checksum)"
					" values ($1, $2, sha256(convert_to($3::text, 'UTF8')))",
					params, 3, NULL, err);
		*ret_applied = true;
	}
	pg_result_free(&rows);
	if (!code)
		code = pg_commit(pg, err);
	if (code) {
		pg_rollback(pg);
		error_prefix(err, "migration %d (%s)", m->number, m->name);
	}
	return code;
}

int pg_migrate(struct pg *pg, const struct pg_migration *migrations, size_t n, struct error *err)
{
	int code = prepare(pg, err);
	for (size_t i = 0; !code && i < n; i++) {
		bool applied = false;
		code = apply(pg, &migrations[i], &applied, err);
		if (!code && applied)
			log_info(&pg->log, "migration_applied", NULL, LOG_I("number", migrations[i].number), LOG_S("name", migrations[i].name));
	}
	return code ? code : refuse_newer(pg, migrations, n, err);
}

static int is_applied(struct pg *pg, const struct pg_migration *m, bool *ret, struct error *err)
{
	struct pg_param params[2];
	struct pg_result *rows = NULL;
	pg_i32(&params[0], m->number);
	pg_text(&params[1], m->sql);
	int code = pg_query(pg, "select checksum = sha256(convert_to($2::text, 'UTF8')) from weir.migrations where number = $1", params, 2, &rows, err);
	*ret = !code && pg_rows(rows) > 0;
	if (*ret && !pg_get_bool(rows, 0, 0))
		code = was_changed(m, err);
	pg_result_free(&rows);
	return code;
}

int pg_migrations_pending(struct pg *pg, const struct pg_migration *migrations, size_t n, size_t *ret, struct error *err)
{
	struct pg_result *rows = NULL;
	int code = pg_query(pg, "select to_regclass('weir.migrations') is not null", NULL, 0, &rows, err);
	bool exists = !code && pg_get_bool(rows, 0, 0);
	pg_result_free(&rows);
	*ret = 0;
	for (size_t i = 0; !code && i < n; i++) {
		bool applied = false;
		if (exists)
			code = is_applied(pg, &migrations[i], &applied, err);
		*ret += !applied;
	}
	if (!code && exists)
		code = refuse_newer(pg, migrations, n, err);
	if (code == WEIR_PERMISSION)
		error_prefix(err, NO_SCHEMA);
	return code;
}
