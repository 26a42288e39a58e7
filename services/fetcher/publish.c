/* publish.c - what leaves the fetcher, and only here: whole blocks, forks and heads. */
#include "fetcher.h"

#include "base/clock.h"
#include "weir/streams.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

int publish_message(struct follower *f, struct bus_publisher *publisher, uint16_t type, uint64_t key, const void *packed, size_t size,
		    struct error *err)
{
	char text[24];
	uint64_t random = random_u64();
	struct frame frame = { .type = type, .schema_version = 1, .created_unix_ms = (uint64_t)clock_wall_ms() };
	frame.key = (struct bytes){ (const uint8_t *)text, (size_t)snprintf(text, sizeof text, "%" PRIu64, key) };
	frame.body = (struct bytes){ packed, size };
	f->event_number++;
	memcpy(frame.event_id, &f->event_number, 8);
	memcpy(frame.event_id + 8, &random, 8);
	memcpy(frame.trace_id, frame.event_id, 16);
	memcpy(frame.span_id, &random, 8);
	return bus_publish(publisher, &frame, 1, err);
}

static const char *const reasons[] = { "none", "backfill", "tip", "refetch" };

static int publish_block(struct follower *f, struct job *j, struct error *err)
{
	Weir__V1__RawBlock raw;
	weir__v1__raw_block__init(&raw);
	Weir__V1__Part parts[CHAIN_PARTS_MAX], *list[CHAIN_PARTS_MAX];
	for (size_t i = 0; i < j->part_count; i++) {
		struct endpoint_status status;
		weir__v1__part__init(&parts[i]);
		endpoints_status(f->endpoints, j->parts[i].endpoint, &status);
		parts[i].kind = j->parts[i].kind;
		parts[i].endpoint = (char *)(uintptr_t)status.name;
		parts[i].encoding = WEIR__V1__ENCODING__ENCODING_ZSTD;
		parts[i].size = j->parts[i].size;
		if (j->parts[i].missing)
			parts[i].unavailable = j->parts[i].why;
		else
			parts[i].body = (ProtobufCBinaryData){ .len = j->parts[i].body.size, .data = j->parts[i].body.data };
		list[i] = &parts[i];
	}
	raw.chain = (char *)(uintptr_t)f->chain.name;
	raw.chain_id = f->chain.chain_id;
	raw.height = j->request.height;
	raw.hash = (ProtobufCBinaryData){ .len = 32, .data = j->block.hash };
	raw.reason = j->request.reason;
	raw.attempt = j->request.attempt;
	raw.fetched_at_unix_ms = (uint64_t)clock_wall_ms();
	raw.announced_at_unix_ms = (uint64_t)j->request.announced_ms;
	raw.n_parts = j->part_count;
	raw.parts = list;
	size_t size = weir__v1__raw_block__get_packed_size(&raw);
	uint8_t *packed = xmalloc(size);
	weir__v1__raw_block__pack(&raw, packed);
	uint16_t type = j->request.reason == WEIR__V1__FETCH_REASON__FETCH_REASON_BACKFILL ? MESSAGE_RAW_BLOCK_BACKFILL : MESSAGE_RAW_BLOCK_TIP;
	int r = publish_message(f, f->raw, type, j->request.height, packed, size, err);
	free(packed);
	return r;
}

static size_t teller(const struct job *j)
{
	for (size_t i = 0; i < j->part_count; i++)
		if (j->parts[i].kind == WEIR__V1__PART_KIND__PART_KIND_BLOCK)
			return j->parts[i].endpoint;
	return 0;
}

/* A header that does not give the block's hash says nothing about parents: it goes out, for the proof to name, and is not believed here. */
static void note_published(struct follower *f, const struct job *j)
{
	if (j->block.proven)
		fetch_window_learn(&f->window, j->block.height, j->block.hash, j->block.parent_hash);
	fetch_window_at(&f->window, j->block.height)->state = HEIGHT_PUBLISHED;
	fetcher_gauge(f, "weir_fetcher_published_height", (double)f->window.highest_known);
}

/* In order of height as far as they are here: the ledger has less to hold. */
static void sort_ready(struct follower *f)
{
	for (size_t i = 1; i < f->ready_count; i++)
		for (size_t k = i; k > 0 && f->ready[k - 1]->request.height > f->ready[k]->request.height; k--) {
			struct job *swap = f->ready[k];
			f->ready[k] = f->ready[k - 1];
			f->ready[k - 1] = swap;
		}
}

int publish_ready(struct follower *f, struct error *err)
{
	int r = 0;
	size_t done = 0;
	sort_ready(f);
	for (; done < f->ready_count && r == 0 && !f->fork_suspected; done++) {
		struct job *j = f->ready[done];
		bool stale = j->generation != f->generation;
		bool refetch = j->request.reason == WEIR__V1__FETCH_REASON__FETCH_REASON_REFETCH;
		if (!stale && !refetch && j->block.proven && fork_contradicts(f, &j->block)) {
			fork_suspect(f, teller(j), &j->block, true); /* resolved by the loop; the block is then asked for again */
			break;
		}
		if (!stale && (r = publish_block(f, j, err)) != 0)
			break;
		if (!stale && !refetch)
			note_published(f, j);
		if (!stale)
			fetcher_count(f, "weir_fetcher_blocks_total", reasons[j->request.reason % 4], 1);
		job_free(&f->ready[done]);
	}
	memmove(f->ready, f->ready + done, (f->ready_count - done) * sizeof f->ready[0]);
	f->ready_count -= done;
	return r;
}
