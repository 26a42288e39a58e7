/* audit_test.c - the audit stream's chain of hashes: sound as written, and every way of changing it later is found. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/bus_fixture.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define KEY "weir:{test}:audit"

/* Lines of many lengths, so that SHA-256's padding is met on every side of a block. */
static void write_lines(struct bus *bus, int n)
{
	char detail[200];
	for (int i = 0; i < n; i++) {
		memset(detail, 'a' + i % 26, sizeof detail);
		detail[i % 150] = 0;
		assert_int_equal(bus_audit(bus, "test", "me", "act", detail, NULL), 0);
	}
}

static struct audit_report verify(struct bus *bus, uint64_t number, const char *hash)
{
	struct audit_report report;
	assert_int_equal(bus_audit_verify(bus, "test", number, hash, &report, NULL), 0);
	return report;
}

struct lines {
	size_t n;
	char ids[400][48], hashes[400][65];
	uint64_t numbers[400];
	char words[200];
};

static bool keep(const struct audit_line *line, void *arg)
{
	struct lines *l = arg;
	if (l->n == 0)
		for (size_t i = 0; i < line->word_count; i++) {
			size_t used = strlen(l->words);
			snprintf(l->words + used, sizeof l->words - used, "%s%c", line->words[i], i % 2 ? ';' : '=');
		}
	assert_true(line->at_ms > 0);
	snprintf(l->ids[l->n], 48, "%s", line->id);
	snprintf(l->hashes[l->n], 65, "%s", line->hash);
	l->numbers[l->n++] = line->number;
	return true;
}

static void test_sound_and_listed(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	static struct lines all, page;
	struct audit_report report = verify(bus, 0, NULL);
	assert_true(report.sound);
	assert_int_equal(report.lines, 0);
	write_lines(bus, 200);
	assert_int_equal(bus_audit(bus, "test", "you", "last", "\xff \xc3\xa4", NULL), 0);
	report = verify(bus, 0, NULL);
	assert_true(report.sound);
	assert_int_equal(report.first, 1);
	assert_int_equal(report.last, 201);
	assert_int_equal(report.lines, 201);
	assert_int_equal(bus_audit_list(bus, "test", NULL, 0, keep, &all, NULL), 0);
	assert_int_equal(all.n, 201);
	assert_string_equal(all.hashes[0], report.hash);
	assert_string_equal(all.words, "action=last;who=you;detail=\xff \xc3\xa4;");
	assert_int_equal(bus_audit_list(bus, "test", all.ids[49], 50, keep, &page, NULL), 0);
	assert_int_equal(page.n, 50);
	assert_int_equal(page.numbers[0], 151);
	assert_int_equal(page.numbers[49], 102);
	assert_true(verify(bus, page.numbers[3], page.hashes[3]).sound);
	assert_false(verify(bus, page.numbers[3], page.hashes[4]).sound);
	assert_false(verify(bus, 1000, page.hashes[4]).sound); /* a number that was never reached: what followed was cut off */
	assert_int_equal(bus_audit_list(bus, "test", "x", 1, keep, &page, NULL), WEIR_INVALID);
	bus_close(&bus);
}

/* Writes the stream anew from Redis' own copy: each entry as it was, but the one at `which`, which `change` sees. */
enum change { SAME, REWRITE, REMOVE, INSERT, SWAP, REPLACE };

static void forge(enum change change, const char *id)
{
	static const char script[] = "local out, change, other = {}, tonumber(ARGV[1]), redis.call('XRANGE', 'weir:{other}:audit', '-', '+') "
				     "for _, e in ipairs(redis.call('XRANGE', KEYS[1], '-', '+')) do "
				     "  local f = e[2] "
				     "  if e[1] == ARGV[2] then "
				     "    if change == 1 then for i = 1, #f, 2 do if f[i] == 'who' then f[i + 1] = 'nobody' end end end "
				     "    if change == 3 then local g = {} for i = 1, #f do g[i] = f[i] end out[#out + 1] = g end "
				     "    if change == 4 then out[#out], f = f, out[#out] end "
				     "    if change == 5 then f = other[#out + 1][2] end "
				     "  end "
				     "  if not (change == 2 and e[1] == ARGV[2]) then out[#out + 1] = f end "
				     "end "
				     "redis.call('DEL', KEYS[1]) "
				     "for _, f in ipairs(out) do redis.call('XADD', KEYS[1], '*', unpack(f)) end "
				     "return #out";
	assert_true(fixture_ask("EVAL %s 1 " KEY " %d %s", script, (int)change, id) > 0);
}

static void test_every_forgery_is_found(void **state)
{
	(void)state;
	static const struct {
		enum change change;
		size_t which; /* from the newest of 30 */
		uint64_t wrong;
	} rows[] = { { REWRITE, 10, 20 }, { REWRITE, 0, 30 }, { REMOVE, 10, 20 },  { REMOVE, 0, 30 }, { REMOVE, 29, 1 },
		     { INSERT, 10, 21 },  { SWAP, 10, 19 },   { REPLACE, 10, 20 }, { REPLACE, 0, 30 } };
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		static struct lines all;
		memset(&all, 0, sizeof all);
		assert_int_equal(fixture_flush(NULL), 0);
		struct bus *bus = fixture_bus("w");
		write_lines(bus, 30);
		for (int k = 0; k < 30; k++) /* lines of another chain, each sound in itself */
			assert_int_equal(bus_audit(bus, "other", "me", "act", "forged", NULL), 0);
		assert_int_equal(bus_audit_list(bus, "test", NULL, 0, keep, &all, NULL), 0);
		forge(SAME, all.ids[0]);
		assert_true(verify(bus, 0, NULL).sound); /* the ids alone say nothing */
		memset(&all, 0, sizeof all);
		assert_int_equal(bus_audit_list(bus, "test", NULL, 0, keep, &all, NULL), 0);
		forge(rows[i].change, all.ids[rows[i].which]);
		struct audit_report report = verify(bus, 0, NULL);
		if (report.sound)
			fail_msg("forgery %zu was not found", i);
		assert_true(strlen(report.words) > 0);
		assert_int_equal(report.wrong, rows[i].wrong);
		bus_close(&bus);
	}
}

/* Who makes the whole chain anew is found by the line that somebody noted. */
static void test_a_noted_line_finds_a_new_chain(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	write_lines(bus, 20);
	struct audit_report noted = verify(bus, 0, NULL);
	fixture_ask("DEL " KEY " " KEY "h");
	write_lines(bus, 25);
	assert_true(verify(bus, 0, NULL).sound);
	struct audit_report report = verify(bus, noted.last, noted.hash);
	assert_false(report.sound);
	assert_int_equal(report.wrong, 20);
	bus_close(&bus);
}

static void test_actions_write_their_lines(void **state)
{
	(void)state;
	struct bus *bus = fixture_bus("w");
	static struct lines all;
	uint64_t n;
	assert_int_equal(dead_letter_purge(bus, "test", "normalizer", NULL, (const char *[]){ "1-1" }, 1, "me", "why not", &n, NULL), 0);
	assert_int_equal(bus_audit_list(bus, "test", NULL, 0, keep, &all, NULL), 0);
	assert_int_equal(all.n, 1);
	assert_string_equal(all.words, "action=purge;who=me;why=why not;subscription=normalizer;count=0;first=1-1;");
	assert_true(verify(bus, 0, NULL).sound);
	bus_close(&bus);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(test_sound_and_listed, fixture_flush),
		cmocka_unit_test_setup(test_every_forgery_is_found, fixture_flush),
		cmocka_unit_test_setup(test_a_noted_line_finds_a_new_chain, fixture_flush),
		cmocka_unit_test_setup(test_actions_write_their_lines, fixture_flush),
	};
	return fixture_run(tests);
}
