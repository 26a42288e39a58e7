/* ledger_events.c - publishes made LedgerEvents on topic "ledger", as the reconciler does after each commit.
 *
 *	ledger_events REDIS_URL CHAIN FIRST COUNT RATE BURST ACCOUNTS
 *
 * COUNT events from sequence FIRST on, BURST at a time, RATE a second. ACCOUNTS 0: blocks without entries; else each block has one entry, of one
 * of that many accounts in turn: 20 bytes whose 40 digits are the account's number. A block's height is the time on CLOCK_MONOTONIC, in nanoseconds, at which
 * it was to be published. One JSON line: how late the last was.
 */
#include "base/clock.h"
#include "bus/bus.h"
#include "wire/frame.h"

#include "weir/streams.h"
#include "weir/v1/ledger.pb-c.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BURST_MAX 256
#define BODY_MAX 1024

struct body {
	uint8_t data[BODY_MAX];
};

/* The number's digits as they are, two in a byte. */
static void set_account(uint64_t number, uint8_t ret[20])
{
	memset(ret, 0, 20);
	for (int i = 19; i >= 0 && number > 0; i--, number /= 100)
		ret[i] = (uint8_t)(number % 10 | number / 10 % 10 << 4);
}

static size_t write_event(const char *chain, uint64_t sequence, int64_t height, uint64_t accounts, uint8_t ret[BODY_MAX])
{
	static uint8_t hash[32], parent[32], delta = 7;
	uint8_t account[20];
	union { /* protobuf-c has no const texts */
		const char *in;
		char *out;
	} name = { .in = chain };
	set_account(accounts ? sequence % accounts : 0, account);
	memcpy(hash, &sequence, sizeof sequence);
	Weir__V1__BlockRef ref = WEIR__V1__BLOCK_REF__INIT;
	ref.height = (uint64_t)height;
	ref.hash = (ProtobufCBinaryData){ sizeof hash, hash };
	Weir__V1__Entry entry, *entries[] = { &entry };
	weir__v1__entry__init(&entry);
	entry.tx_index = -1;
	entry.delta = (ProtobufCBinaryData){ 1, &delta };
	entry.kind = WEIR__V1__ENTRY_KIND__ENTRY_KIND_REWARD;
	Weir__V1__Asset asset = WEIR__V1__ASSET__INIT, *assets[] = { &asset };
	asset.standard = WEIR__V1__TOKEN_STANDARD__TOKEN_STANDARD_NATIVE;
	ProtobufCBinaryData owners[] = { { sizeof account, account } };
	Weir__V1__BlockApplied applied = WEIR__V1__BLOCK_APPLIED__INIT;
	applied.block = &ref;
	applied.parent_hash = (ProtobufCBinaryData){ sizeof parent, parent };
	applied.finality = WEIR__V1__FINALITY__FINALITY_SAFE;
	if (accounts) {
		applied.entry_count = 1;
		applied.n_accounts = applied.n_assets = applied.n_entries = 1;
		applied.accounts = owners;
		applied.assets = assets;
		applied.entries = entries;
	}
	Weir__V1__LedgerEvent event;
	weir__v1__ledger_event__init(&event);
	event.chain = name.out;
	event.sequence = sequence;
	event.committed_at_unix_ms = (uint64_t)clock_wall_ms();
	event.event_case = WEIR__V1__LEDGER_EVENT__EVENT_BLOCK_APPLIED;
	event.block_applied = &applied;
	size_t size = weir__v1__ledger_event__get_packed_size(&event);
	if (size > BODY_MAX)
		abort();
	return weir__v1__ledger_event__pack(&event, ret);
}

static void must(int code, const struct error *err)
{
	if (code) {
		fprintf(stderr, "ledger_events: %s\n", err->text);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	if (argc != 8) {
		fprintf(stderr, "usage: ledger_events REDIS_URL CHAIN FIRST COUNT RATE BURST ACCOUNTS\n");
		return 2;
	}
	const char *chain = argv[2];
	uint64_t next = strtoull(argv[3], NULL, 10), left = strtoull(argv[4], NULL, 10), accounts = strtoull(argv[7], NULL, 10), tail = 0;
	double rate = strtod(argv[5], NULL);
	size_t burst = strtoull(argv[6], NULL, 10);
	static struct body bodies[BURST_MAX];
	struct frame frames[BURST_MAX];
	struct error err = { 0 };
	struct bus *bus = NULL;
	struct bus_publisher *publisher = NULL;
	burst = burst < 1 ? 1 : burst > BURST_MAX ? BURST_MAX : burst;
	must(bus_open(&(struct bus_options){ .url = argv[1], .command_timeout_ms = 10000, .worker = "bench", .max_backlog = 1000000 }, &bus, &err), &err);
	must(bus_publisher_open(bus, chain, TOPIC_LEDGER, "bench", &publisher, &err), &err);
	int64_t began = clock_mono_ns(), due = began;
	for (uint64_t sent = 0; left > 0; sent += burst) {
		size_t n = left < burst ? left : burst;
		due = began + (int64_t)((double)sent / rate * 1e9);
		while (clock_mono_ns() < due)
			clock_sleep_ms(due - clock_mono_ns() > 2000000 ? 1 : 0);
		for (size_t i = 0; i < n; i++) {
			size_t size = write_event(chain, next + i, due, accounts, bodies[i].data);
			frames[i] = (struct frame){ .type = MESSAGE_LEDGER_EVENT, .schema_version = 1, .created_unix_ms = (uint64_t)clock_wall_ms(),
						    .body = { bodies[i].data, size } };
			uint64_t number = next + i;
			memcpy(frames[i].event_id, &number, sizeof number);
		}
		must(bus_publish_sequence(publisher, next, frames, n, &tail, &err), &err);
		next += n;
		left -= n;
	}
	printf("{\"late_ms\":%.1f}\n", (double)(clock_mono_ns() - due) / 1e6);
	bus_publisher_close(&publisher);
	bus_close(&bus);
	return 0;
}
