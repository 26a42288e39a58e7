/* pg_test.c - lib/store against a real PostgreSQL: values there and back, failures by code, lost connections, COPY, pool. */
#include "base/clock.h"
#include "store/pg.h"
#include "support/postgres_server.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

enum { INT8 = 20, INT4 = 23, INT2 = 21, BOOL = 16, BYTEA = 17, NUMERIC = 1700 };

static struct postgres_server *server;
static struct pg *pg;
static struct error err;

static struct pg_options options(void)
{
	return (struct pg_options){ .url = postgres_server_url(server), .connect_timeout_ms = 2000, .statement_timeout_ms = 20000 };
}

static int start(void **state)
{
	(void)state;
	server = postgres_server_start("-c fsync=off");
	struct pg_options o = options();
	return server && pg_open(&o, &pg, &err) == 0 ? 0 : -1;
}

static int stop(void **state)
{
	(void)state;
	pg_close(&pg);
	postgres_server_stop(&server);
	return 0;
}

#define OK(call)                                                                     \
	do {                                                                         \
		int ok_code_ = (call);                                               \
		if (ok_code_)                                                        \
			fail_msg("%s: %d %s", #call, ok_code_, err.text);            \
	} while (0)

static struct i256 dec(const char *text)
{
	struct i256 v;
	assert_int_equal(i256_from_dec(text, strlen(text), &v), 0);
	return v;
}

static void values_survive_the_way_there_and_back(void **state)
{
	(void)state;
	struct pg_param p[6];
	struct pg_result *r = NULL;
	pg_i64(&p[0], INT64_MIN);
	pg_i32(&p[1], -7);
	pg_bool(&p[2], true);
	pg_text(&p[3], "gr\xc3\xbc\xc3\x9f");
	pg_bytea(&p[4], (struct bytes){ (const uint8_t *)"\0\1\2", 3 });
	pg_null(&p[5]);
	OK(pg_query(pg, "select $1, $2, $3, $4::text, $5, $6::int8", p, 6, &r, &err));
	assert_int_equal(pg_rows(r), 1);
	assert_true(pg_get_i64(r, 0, 0) == INT64_MIN);
	assert_int_equal(pg_get_i64(r, 0, 1), -7);
	assert_true(pg_get_bool(r, 0, 2));
	assert_string_equal(pg_get_text(r, 0, 3), "gr\xc3\xbc\xc3\x9f");
	assert_int_equal(pg_get_bytes(r, 0, 4).size, 3);
	assert_memory_equal(pg_get_bytes(r, 0, 4).data, "\0\1\2", 3);
	assert_true(pg_is_null(r, 0, 5));
	assert_int_equal(pg_get_i64(r, 0, 5), 0);
	assert_string_equal(pg_get_text(r, 0, 5), "");
	pg_result_free(&r);
	pg_result_free(&r);
}

static const char *const numbers[] = {
	"0", "1", "-1", "9999", "10000", "-10000", "100000000", "123456789012345678901234567890", "10000000000000000",
	"99999999999999999999999999999999", "18446744073709551615", "18446744073709551616", "-340282366920938463463374607431768211456",
	"1000000000000000000000000000000000000000000000000000000000000", /* trailing zero digits */
	"57896044618658097711785492504343953926634992332820282019728792003956564819967",  /* 2^255 - 1 */
	"-57896044618658097711785492504343953926634992332820282019728792003956564819967",
};

static void numerics_mean_the_same_to_the_server(void **state)
{
	(void)state;
	struct buf b = BUF_INIT(1 << 20);
	struct pg_array a;
	pg_array_begin(&a, &b, NUMERIC);
	for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++)
		pg_array_numeric(&a, dec(numbers[i]));
	struct pg_param p;
	struct pg_result *r = NULL;
	OK(pg_query(pg, "select v, v::text from unnest($1) with ordinality as t(v, n) order by n", pg_array_finish(&a, &p), 1, &r, &err));
	assert_int_equal(pg_rows(r), sizeof numbers / sizeof numbers[0]);
	for (size_t i = 0; i < pg_rows(r); i++) {
		struct i256 v;
		assert_string_equal(pg_get_text(r, i, 1), numbers[i]);
		assert_int_equal(pg_get_numeric(r, i, 0, &v), 0);
		assert_int_equal(i256_cmp(v, dec(numbers[i])), 0);
	}
	pg_result_free(&r);
	buf_free(&b);
	/* What is not a whole number, or too large, is refused and never cut. */
	OK(pg_query(pg, "select 1.5, 0.0001, 'NaN'::numeric, 10::numeric ^ 90, 1e77::numeric * 6", NULL, 0, &r, &err));
	for (size_t i = 0; i < 5; i++) {
		struct i256 v;
		assert_int_equal(pg_get_numeric(r, 0, i, &v), WEIR_INVALID);
	}
	pg_result_free(&r);
}

static void arrays_of_every_kind(void **state)
{
	(void)state;
	struct buf b = BUF_INIT(1 << 20);
	struct pg_array a[5];
	struct pg_param p[5];
	struct pg_result *r = NULL;
	pg_array_begin(&a[0], &b, INT8);
	pg_array_i64(&a[0], -5);
	pg_array_null(&a[0]);
	pg_array_begin(&a[1], &b, INT4);
	pg_array_i32(&a[1], 6);
	pg_array_i32(&a[1], 7);
	pg_array_begin(&a[2], &b, INT2);
	pg_array_i16(&a[2], -2);
	pg_array_i16(&a[2], 2);
	pg_array_begin(&a[3], &b, BOOL);
	pg_array_bool(&a[3], false);
	pg_array_bool(&a[3], true);
	pg_array_begin(&a[4], &b, BYTEA);
	pg_array_bytea(&a[4], (struct bytes){ (const uint8_t *)"xy", 2 });
	pg_array_bytea(&a[4], (struct bytes){ NULL, 0 });
	for (int i = 0; i < 5; i++) /* only now: the shared buffer moves while it grows */
		pg_array_finish(&a[i], &p[i]);
	OK(pg_query(pg, "select * from unnest($1, $2, $3, $4, $5)", p, 5, &r, &err));
	assert_int_equal(pg_rows(r), 2);
	assert_int_equal(pg_get_i64(r, 0, 0), -5);
	assert_true(pg_is_null(r, 1, 0));
	assert_int_equal(pg_get_i64(r, 1, 1), 7);
	assert_int_equal(pg_get_i64(r, 0, 2), -2);
	assert_true(pg_get_bool(r, 1, 3));
	assert_int_equal(pg_get_bytes(r, 0, 4).size, 2);
	assert_int_equal(pg_get_bytes(r, 1, 4).size, 0);
	assert_false(pg_is_null(r, 1, 4));
	pg_result_free(&r);
	buf_reset(&b);
	pg_array_begin(&a[0], &b, INT8);
	OK(pg_query(pg, "select cardinality($1)", pg_array_finish(&a[0], &p[0]), 1, &r, &err));
	assert_int_equal(pg_get_i64(r, 0, 0), 0);
	pg_result_free(&r);
	buf_free(&b);
}

static void failures_have_codes(void **state)
{
	(void)state;
	static const struct {
		const char *sql;
		int code;
	} cases[] = {
		{ "select 1/0", WEIR_INTERNAL },
		{ "do $$ begin raise exception 'x' using errcode = '40001'; end $$", WEIR_CONFLICT },
		{ "do $$ begin raise exception 'x' using errcode = '40P01'; end $$", WEIR_CONFLICT },
		{ "do $$ begin raise exception 'x' using errcode = '53100'; end $$", WEIR_IO },
		{ "do $$ begin raise exception 'x' using errcode = '53300'; end $$", WEIR_FULL },
		{ "do $$ begin raise exception 'x' using errcode = '42501'; end $$", WEIR_PERMISSION },
		{ "set statement_timeout = 20; select pg_sleep(5)", WEIR_TIMEOUT },
	};
	for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
		assert_int_equal(pg_exec(pg, cases[i].sql, &err), cases[i].code);
		assert_int_equal(err.code, cases[i].code);
		assert_non_null(strstr(err.text, "PostgreSQL"));
	}
	OK(pg_exec(pg, "set statement_timeout = 20000", &err));
	struct pg *other = NULL;
	struct pg_options o = options();
	o.url = "host=/nonexistent user=weir dbname=weir";
	assert_int_equal(pg_open(&o, &other, &err), WEIR_UNAVAILABLE);
	assert_null(other);
	char wrong[300];
	snprintf(wrong, sizeof wrong, "%s dbname=nothing", postgres_server_url(server));
	o.url = wrong;
	assert_int_equal(pg_open(&o, &other, &err), WEIR_NOT_FOUND);
	snprintf(wrong, sizeof wrong, "%s user=nobody", postgres_server_url(server));
	assert_int_equal(pg_open(&o, &other, &err), WEIR_PERMISSION);
}

static void a_transaction_is_whole_or_not_at_all(void **state)
{
	(void)state;
	OK(pg_exec(pg, "create table t (v int primary key)", &err));
	OK(pg_begin(pg, &err));
	OK(pg_exec(pg, "insert into t values (1)", &err));
	pg_rollback(pg);
	OK(pg_begin(pg, &err));
	OK(pg_exec(pg, "insert into t values (2)", &err));
	OK(pg_commit(pg, &err));
	OK(pg_begin(pg, &err));
	assert_int_not_equal(pg_exec(pg, "insert into t values (3), (2)", &err), 0);
	assert_int_equal(pg_commit(pg, &err), WEIR_CONFLICT); /* the server answers ROLLBACK: that is not a commit */
	struct pg_result *r = NULL;
	OK(pg_query(pg, "select sum(v) from t", NULL, 0, &r, &err));
	assert_int_equal(pg_get_i64(r, 0, 0), 2);
	pg_result_free(&r);
	OK(pg_exec(pg, "drop table t", &err));
}

static void a_lost_connection_comes_back_outside_a_transaction(void **state)
{
	(void)state;
	struct pg_param p;
	struct pg_result *r = NULL;
	OK(pg_prepared(pg, "one", "select $1 + 1", pg_i64(&p, 1), 1, NULL, &err));
	OK(pg_begin(pg, &err));
	postgres_server_crash(server);
	assert_int_equal(pg_exec(pg, "select 1", &err), WEIR_UNAVAILABLE);
	assert_true(postgres_server_resume(server));
	assert_int_equal(pg_exec(pg, "select 1", &err), WEIR_UNAVAILABLE); /* still inside: half a transaction must not go on */
	assert_int_equal(pg_query(pg, "select 1", NULL, 0, NULL, &err), WEIR_UNAVAILABLE);
	pg_rollback(pg);
	OK(pg_prepared(pg, "one", "select $1 + 1", pg_i64(&p, 41), 1, &r, &err)); /* prepared again by itself */
	assert_int_equal(pg_get_i64(r, 0, 0), 42);
	pg_result_free(&r);
	postgres_server_crash(server);
	assert_true(postgres_server_resume(server));
	OK(pg_exec(pg, "select 1", &err)); /* an idle connection that died is seen before it is used */
}

#define TOGETHER 64

static void ask_many(struct pg_ask asks[TOGETHER], struct pg_param p[TOGETHER], int64_t divisor)
{
	for (int i = 0; i < TOGETHER; i++)
		asks[i] = i % 2 ? (struct pg_ask){ "tripled", "select $1 * 3, 'x'::text", pg_i64(&p[i], i), 1, NULL } :
				  (struct pg_ask){ "divided", "select 840 / $1 from generate_series(1, 2)", pg_i64(&p[i], i == 40 ? divisor : 1 + i % 7), 1, NULL };
}

static void many_go_together(void **state)
{
	(void)state;
	struct pg_ask asks[TOGETHER];
	struct pg_param p[TOGETHER], one;
	struct pg_result *r = NULL;
	ask_many(asks, p, 1);
	for (int round = 0; round < 3; round++) {
		OK(pg_prepared_all(pg, asks, round == 2 ? 1 : TOGETHER, NULL, &err));
		for (int i = 0; i < (round == 2 ? 1 : TOGETHER); i++) {
			assert_int_equal(pg_rows(asks[i].result), i % 2 ? 1 : 2);
			assert_int_equal(pg_get_i64(asks[i].result, 0, 0), i % 2 ? 3 * i : i == 40 ? 840 : 840 / (1 + i % 7));
			pg_result_free(&asks[i].result);
		}
	}
	OK(pg_prepared(pg, "tripled", "select $1 * 3, 'x'::text", pg_i64(&one, 5), 1, &r, &err)); /* one by one again */
	assert_int_equal(pg_get_i64(r, 0, 0), 15);
	pg_result_free(&r);
	OK(pg_begin(pg, &err));
	OK(pg_commit(pg, &err));
}

static void one_that_fails_fails_them_all(void **state)
{
	(void)state;
	struct pg_ask asks[TOGETHER];
	struct pg_param p[TOGETHER], many[PG_TOGETHER_PARAMS + 1];
	ask_many(asks, p, 0);
	assert_int_equal(pg_prepared_all(pg, asks, TOGETHER, NULL, &err), WEIR_INTERNAL);
	assert_non_null(strstr(err.text, "division by zero"));
	for (int i = 0; i < TOGETHER; i++)
		assert_null(asks[i].result);
	asks[7].sql = "select from where";
	asks[7].name = "no sql";
	assert_int_equal(pg_prepared_all(pg, asks, TOGETHER, NULL, &err), WEIR_INTERNAL);
	ask_many(asks, p, 2);
	for (int i = 0; i <= PG_TOGETHER_PARAMS; i++)
		pg_i64(&many[i], 1);
	asks[3] = (struct pg_ask){ "many", "select 1", many, PG_TOGETHER_PARAMS + 1, NULL };
	assert_int_equal(pg_prepared_all(pg, asks, TOGETHER, NULL, &err), WEIR_INTERNAL);
	ask_many(asks, p, 2);
	OK(pg_prepared_all(pg, asks, TOGETHER, NULL, &err));
	for (int i = 0; i < TOGETHER; i++)
		pg_result_free(&asks[i].result);
}

static void many_on_a_lost_connection(void **state)
{
	(void)state;
	struct pg_ask asks[TOGETHER];
	struct pg_param p[TOGETHER];
	ask_many(asks, p, 3);
	struct pg_ask last = asks[5];
	asks[5] = (struct pg_ask){ "the end", "select pg_terminate_backend(pg_backend_pid())", NULL, 0, NULL };
	assert_int_equal(pg_prepared_all(pg, asks, TOGETHER, NULL, &err), WEIR_UNAVAILABLE);
	for (int i = 0; i < TOGETHER; i++)
		assert_null(asks[i].result);
	asks[5] = last;
	OK(pg_prepared_all(pg, asks, TOGETHER, NULL, &err)); /* connected and prepared again by itself */
	for (int i = 0; i < TOGETHER; i++)
		pg_result_free(&asks[i].result);
}

static void count(void *n)
{
	++*(int *)n;
}

static void patience_is_told_when_it_is_over(void **state)
{
	(void)state;
	int times = 0;
	const struct pg_patience patience = { 10, count, &times };
	struct pg_ask asks[] = { { "slow", "select pg_sleep(0.3)::text, 1", NULL, 0, NULL }, { "quick", "select 2", NULL, 0, NULL } };
	OK(pg_prepared_all(pg, asks, 2, &patience, &err));
	assert_true(times > 0);
	assert_int_equal(pg_get_i64(asks[1].result, 0, 0), 2);
	for (int i = 0; i < 2; i++)
		pg_result_free(&asks[i].result);
}

/* Its server process, stopped and running again. */
static pid_t freeze(struct pg *frozen)
{
	struct pg_result *r = NULL;
	OK(pg_query(frozen, "select pg_backend_pid()", NULL, 0, &r, &err));
	pid_t pid = (pid_t)pg_get_i64(r, 0, 0);
	pg_result_free(&r);
	assert_int_equal(kill(pid, SIGSTOP), 0);
	return pid;
}

static void a_server_that_says_nothing_keeps_nobody(void **state)
{
	(void)state;
	struct pg_options o = options();
	o.statement_timeout_ms = 1000;
	struct pg *p;
	struct pg_copy *copy;
	struct pg_ask ask = { .name = "asked", .sql = "select 1" };
	OK(pg_open(&o, &p, &err));
	OK(pg_exec(p, "create table if not exists frozen (v bytea)", &err));

	pid_t pid = freeze(p);
	assert_int_equal(pg_query(p, "select 1", NULL, 0, NULL, &err), WEIR_UNAVAILABLE);
	assert_non_null(strstr(err.text, "has said nothing for 2.0 s, 1.0 s longer"));
	assert_false(pg_alive(p));
	kill(pid, SIGCONT);

	pid = freeze(p); /* connected again by itself */
	assert_int_equal(pg_prepared_all(p, &ask, 1, NULL, &err), WEIR_UNAVAILABLE);
	kill(pid, SIGCONT);

	OK(pg_begin(p, &err));
	OK(pg_copy_begin(p, "copy frozen (v) from stdin binary", &copy, &err));
	struct pg *other; /* a COPY under way cannot be asked for its pid */
	OK(pg_open(&o, &other, &err));
	struct pg_result *r = NULL;
	OK(pg_query(other, "select pid from pg_stat_activity where query like 'copy frozen%'", NULL, 0, &r, &err));
	assert_int_equal(pg_rows(r), 1);
	pid = (pid_t)pg_get_i64(r, 0, 0);
	pg_result_free(&r);
	assert_int_equal(kill(pid, SIGSTOP), 0);
	static const uint8_t row[100000];
	for (size_t i = 0; i < 100; i++) { /* more than sockets keep */
		pg_copy_row(copy, 1);
		pg_copy_bytes(copy, (struct bytes){ row, sizeof row });
	}
	assert_int_equal(pg_copy_end(&copy, &err), WEIR_UNAVAILABLE);
	assert_non_null(strstr(err.text, "has said nothing"));
	assert_int_equal(pg_exec(p, "select 1", &err), WEIR_UNAVAILABLE); /* until this transaction has ended */
	kill(pid, SIGCONT);
	(void)pg_rollback(p);
	OK(pg_query(p, "select count(*) from frozen", NULL, 0, &r, &err));
	assert_int_equal(pg_get_i64(r, 0, 0), 0);
	pg_result_free(&r);
	pg_close(&other);
	pg_close(&p);
}

static void what_may_take_long_is_waited_for(void **state)
{
	(void)state;
	struct pg_options o = options();
	o.statement_timeout_ms = 1000;
	struct pg *p;
	OK(pg_open(&o, &p, &err));
	assert_int_equal(pg_exec(p, "select pg_sleep(10)", &err), WEIR_TIMEOUT); /* the server's own limit */
	OK(pg_begin(p, &err));
	OK(pg_unlimited(p, &err));
	OK(pg_exec(p, "select pg_sleep(3)", &err));
	OK(pg_commit(p, &err));
	assert_int_equal(pg_exec(p, "select pg_sleep(10)", &err), WEIR_TIMEOUT);
	pg_close(&p);
}

static void copy_writes_rows_and_reports_what_fails(void **state)
{
	(void)state;
	enum { ROWS = 20000 }; /* several flushes */
	struct pg_copy *copy = NULL;
	struct pg_result *r = NULL;
	OK(pg_exec(pg, "create table c (a int8 primary key, b int4, c int2, d bool, e bytea, f numeric(78,0), g text)", &err));
	OK(pg_copy_begin(pg, "copy c from stdin binary", &copy, &err));
	for (int i = 0; i < ROWS; i++) {
		pg_copy_row(copy, 7);
		pg_copy_i64(copy, i);
		pg_copy_i32(copy, -i);
		pg_copy_i16(copy, 3);
		pg_copy_bool(copy, i % 2 == 0);
		pg_copy_bytes(copy, (struct bytes){ (const uint8_t *)"0123456789abcdef0123", 20 });
		pg_copy_numeric(copy, dec("-1000000000000000000000000"));
		if (i % 3 == 0)
			pg_copy_null(copy);
		else
			pg_copy_bytes(copy, (struct bytes){ (const uint8_t *)"text", 4 });
	}
	OK(pg_copy_end(&copy, &err));
	assert_null(copy);
	OK(pg_query(pg, "select count(*), sum(a), sum(b), count(*) filter (where d), count(g), sum(f)::text from c", NULL, 0, &r, &err));
	assert_int_equal(pg_get_i64(r, 0, 0), ROWS);
	assert_int_equal(pg_get_i64(r, 0, 3), ROWS / 2);
	assert_int_equal(pg_get_i64(r, 0, 4), ROWS - (ROWS + 2) / 3);
	assert_string_equal(pg_get_text(r, 0, 5), "-20000000000000000000000000000");
	pg_result_free(&r);
	/* A duplicate key fails the COPY, and the connection is fit for use afterwards. */
	OK(pg_copy_begin(pg, "copy c (a) from stdin binary", &copy, &err));
	pg_copy_row(copy, 1);
	pg_copy_i64(copy, 5);
	assert_int_equal(pg_copy_end(&copy, &err), WEIR_INTERNAL);
	assert_non_null(strstr(err.text, "23505"));
	OK(pg_copy_begin(pg, "copy c (a) from stdin binary", &copy, &err));
	pg_copy_row(copy, 1);
	pg_copy_i64(copy, ROWS + 1);
	pg_copy_abort(&copy);
	OK(pg_query(pg, "select count(*) from c", NULL, 0, &r, &err));
	assert_int_equal(pg_get_i64(r, 0, 0), ROWS);
	pg_result_free(&r);
	OK(pg_exec(pg, "drop table c", &err));
}

static void the_pool_is_bounded_and_read_only(void **state)
{
	(void)state;
	struct pg_pool *pool = NULL;
	struct pg_options o = options();
	OK(pg_pool_open(&o, 2, 60000, &pool, &err));
	struct pg *a = pg_pool_take(pool, 1000, &err), *b = pg_pool_take(pool, 1000, &err);
	assert_non_null(a);
	assert_non_null(b);
	assert_null(pg_pool_take(pool, 20, &err));
	assert_int_equal(err.code, WEIR_FULL);
	assert_int_equal(pg_exec(a, "create table never (v int)", &err), WEIR_PERMISSION);
	postgres_server_crash(server);
	assert_true(postgres_server_resume(server));
	pg_pool_give(pool, &a);
	assert_null(a);
	a = pg_pool_take(pool, 1000, &err);
	assert_non_null(a);
	OK(pg_exec(a, "select 1", &err));
	pg_pool_give(pool, &a);
	pg_pool_give(pool, &b);
	pg_pool_close(&pool);
	pg_pool_close(&pool);
}

static void migrations_run_once_and_notice_changes(void **state)
{
	(void)state;
	struct pg_migration m[] = {
		{ 1, "first", "create table weir.a (v int); insert into weir.a values (1)" },
		{ 2, "second", "alter table weir.a add column w int; create table weir.b (v int); select 1/(select 0)" },
	};
	struct pg_result *r = NULL;
	size_t pending = 0;
	OK(pg_migrations_pending(pg, m, 2, &pending, &err));
	assert_int_equal(pending, 2);
	assert_int_equal(pg_migrate(pg, m, 2, &err), WEIR_INTERNAL);
	OK(pg_migrations_pending(pg, m, 2, &pending, &err));
	assert_int_equal(pending, 1);
	assert_non_null(strstr(err.text, "migration 2 (second)"));
	m[1].sql = "alter table weir.a add column w int";
	OK(pg_migrate(pg, m, 2, &err));
	OK(pg_migrate(pg, m, 2, &err));
	OK(pg_migrations_pending(pg, m, 2, &pending, &err));
	assert_int_equal(pending, 0);
	OK(pg_query(pg, "select count(*), count(w), (select count(*) from weir.migrations), to_regclass('weir.b') is null from weir.a", NULL, 0, &r,
		    &err));
	assert_int_equal(pg_get_i64(r, 0, 0), 1);
	assert_int_equal(pg_get_i64(r, 0, 2), 2);
	assert_true(pg_get_bool(r, 0, 3));
	pg_result_free(&r);
	assert_int_equal(pg_migrate(pg, m, 1, &err), WEIR_CONFLICT); /* a database newer than the program */
	assert_int_equal(pg_migrations_pending(pg, m, 1, &pending, &err), WEIR_CONFLICT);
	m[0].sql = "create table weir.changed (v int)";
	assert_int_equal(pg_migrate(pg, m, 2, &err), WEIR_CONFLICT);
	assert_int_equal(pg_migrations_pending(pg, m, 2, &pending, &err), WEIR_CONFLICT);
	OK(pg_exec(pg, "create role poor login; grant connect on database weir to poor; drop schema weir cascade", &err));
	struct pg_options o = options();
	char url[300];
	snprintf(url, sizeof url, "%s user=poor", postgres_server_url(server));
	o.url = url;
	struct pg *poor = NULL;
	OK(pg_open(&o, &poor, &err));
	assert_int_equal(pg_migrate(poor, m, 2, &err), WEIR_PERMISSION);
	pg_close(&poor);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(values_survive_the_way_there_and_back),
		cmocka_unit_test(numerics_mean_the_same_to_the_server),
		cmocka_unit_test(arrays_of_every_kind),
		cmocka_unit_test(failures_have_codes),
		cmocka_unit_test(a_transaction_is_whole_or_not_at_all),
		cmocka_unit_test(a_lost_connection_comes_back_outside_a_transaction),
		cmocka_unit_test(many_go_together),
		cmocka_unit_test(one_that_fails_fails_them_all),
		cmocka_unit_test(many_on_a_lost_connection),
		cmocka_unit_test(patience_is_told_when_it_is_over),
		cmocka_unit_test(a_server_that_says_nothing_keeps_nobody),
		cmocka_unit_test(what_may_take_long_is_waited_for),
		cmocka_unit_test(copy_writes_rows_and_reports_what_fails),
		cmocka_unit_test(the_pool_is_bounded_and_read_only),
		cmocka_unit_test(migrations_run_once_and_notice_changes),
	};
	return cmocka_run_group_tests(tests, start, stop);
}
