/* state.c - weir:{chain}:state and :hashes: what the ledger wants next, for the fetcher. Copies of PostgreSQL. */
#include "follow.h"

#include "base/clock.h"
#include "wire/hex.h"

#include "weir/streams.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define CHUNK 512

static const char *key_of(const struct follow *f, const char *format, char ret[160])
{
	struct buf b = BUF_INIT(160);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral" /* the formats are the constants of streams.h */
	buf_printf(&b, format, f->chain->name);
#pragma GCC diagnostic pop
	snprintf(ret, 160, "%s", buf_str(&b));
	buf_free(&b);
	return ret;
}

int state_write(struct follow *f, struct error *err)
{
	const struct ledger *ledger = f->ledger;
	char key[160], watermark[24], hash[67] = "", next[24], genesis[67] = "", epoch[24], written[24];
	bool any = ledger->watermark >= ledger->start;
	snprintf(watermark, sizeof watermark, "%" PRId64, ledger->watermark);
	snprintf(next, sizeof next, "%" PRId64, any ? ledger->watermark + 1 : ledger->start);
	snprintf(epoch, sizeof epoch, "%" PRId64, ledger->epoch);
	snprintf(written, sizeof written, "%" PRId64, clock_wall_ms());
	if (any)
		hex_from_bytes(ledger->watermark_hash, 32, hash);
	if (ledger->genesis_known)
		hex_from_bytes(ledger->genesis_hash, 32, genesis);
	const struct bus_field fields[] = {
		{ STATE_WATERMARK_HEIGHT, watermark }, { STATE_WATERMARK_HASH, hash },	 { STATE_NEXT_HEIGHT, next },	    { STATE_GENESIS_HASH, genesis },
		{ STATE_PAUSED, ledger->paused ? "1" : "0" }, { STATE_EPOCH, epoch }, { STATE_WRITTEN_MS, written },
	};
	int code = bus_hash_write(f->bus, key_of(f, STATE_KEY_FORMAT, key), fields, sizeof fields / sizeof fields[0], err);
	if (!code)
		f->state_known = true;
	return code;
}

int state_write_hashes(struct follow *f, int64_t from, int64_t to, struct error *err)
{
	char key[160];
	char(*names)[24] = xcalloc(CHUNK, sizeof *names);
	char(*values)[67] = xcalloc(CHUNK, sizeof *values);
	struct bus_field *fields = xcalloc(CHUNK, sizeof *fields);
	int code = 0;
	key_of(f, HASHES_KEY_FORMAT, key);
	if (from < f->ledger->recent_low)
		from = f->ledger->recent_low;
	for (int64_t height = from; !code && height <= to;) {
		size_t n = 0;
		for (; n < CHUNK && height <= to; n++, height++) {
			snprintf(names[n], sizeof names[n], "%" PRId64, height);
			hex_from_bytes(ledger_recent(f->ledger, height), 32, values[n]);
			fields[n] = (struct bus_field){ names[n], values[n] };
		}
		code = bus_hash_write(f->bus, key, fields, n, err);
	}
	xfree(&names);
	xfree(&values);
	xfree(&fields);
	return code;
}

/* Deletes the heights from..to. */
static int forget(struct follow *f, int64_t from, int64_t to, struct error *err)
{
	char key[160];
	char(*names)[24] = xcalloc(CHUNK, sizeof *names);
	const char **list = xcalloc(CHUNK, sizeof *list);
	int code = 0;
	key_of(f, HASHES_KEY_FORMAT, key);
	for (int64_t height = from; !code && height <= to;) {
		size_t n = 0;
		for (; n < CHUNK && height <= to; n++, height++) {
			snprintf(names[n], sizeof names[n], "%" PRId64, height);
			list[n] = names[n];
		}
		code = bus_hash_delete(f->bus, key, list, n, err);
	}
	xfree(&names);
	xfree(&list);
	return code;
}

int state_forget_above(struct follow *f, int64_t height, int64_t old_top, struct error *err)
{
	int64_t to = old_top - height > (int64_t)LEDGER_RECENT ? height + (int64_t)LEDGER_RECENT : old_top;
	return forget(f, height + 1, to, err);
}

struct strays {
	int64_t low, high; /* heights that belong into the hash */
	int64_t found[CHUNK];
	size_t count;
};

static void on_name(const char *name, const char *value, void *arg)
{
	struct strays *strays = arg;
	int64_t height = strtoll(name, NULL, 10);
	(void)value;
	if ((height < strays->low || height > strays->high) && strays->count < CHUNK)
		strays->found[strays->count++] = height;
}

int state_rewrite(struct follow *f, struct error *err)
{
	char key[160];
	struct strays strays = { .low = f->ledger->recent_low, .high = f->ledger->watermark };
	int code = bus_hash_read(f->bus, key_of(f, HASHES_KEY_FORMAT, key), on_name, &strays, err);
	if (code == WEIR_NOT_FOUND)
		code = 0;
	for (size_t i = 0; !code && i < strays.count; i++)
		code = forget(f, strays.found[i], strays.found[i], err);
	if (!code)
		code = state_write_hashes(f, f->ledger->recent_low, f->ledger->watermark, err);
	return code ? code : state_write(f, err);
}

static void on_nothing(const char *name, const char *value, void *arg)
{
	(void)name;
	(void)value;
	(void)arg;
}

bool state_is_missing(struct follow *f)
{
	char key[160];
	return bus_hash_read(f->bus, key_of(f, STATE_KEY_FORMAT, key), on_nothing, NULL, NULL) == WEIR_NOT_FOUND;
}
