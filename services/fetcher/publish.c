/* publish.c - what leaves the fetcher, and only here: whole blocks, forks and heads. */
#include "fetcher.h"

#include "base/clock.h"
#include "weir/streams.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct key {
	char text[24];
};

static struct frame frame_of(struct follower *f, uint16_t type, uint64_t height, struct bytes body, const struct span_context *cause, struct key *key)
{
	uint64_t random = random_u64();
	struct frame frame = { .type = type, .schema_version = 1, .created_unix_ms = (uint64_t)clock_wall_ms(), .body = body };
	frame.key = (struct bytes){ (const uint8_t *)key->text, (size_t)snprintf(key->text, sizeof key->text, "%" PRIu64, height) };
	f->event_number++;
	memcpy(frame.event_id, &f->event_number, 8);
	memcpy(frame.event_id + 8, &random, 8);
	if (cause) {
		frame_set_trace(&frame, cause);
	} else {
		memcpy(frame.trace_id, frame.event_id, 16);
		memcpy(frame.span_id, &random, 8);
	}
	return frame;
}

int publish_message(struct follower *f, struct bus_publisher *publisher, uint16_t type, uint64_t height, const void *packed, size_t size,
		    struct error *err)
{
	struct key key;
	struct frame frame = frame_of(f, type, height, (struct bytes){ packed, size }, NULL, &key);
	return bus_publish(publisher, &frame, 1, err);
}

static const char *const reasons[] = { "none", "backfill", "tip", "refetch" };

static struct bytes pack(struct follower *f, struct job *j)
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
	return (struct bytes){ packed, size };
}

/* Blocks that go out in one call: many small ones cost Redis and this thread a round trip each. */
#define TOGETHER_MAX 16
#define TOGETHER_BYTES (1u << 20) /* compressed; what is larger goes alone */

struct together {
	struct job *jobs[TOGETHER_MAX];
	size_t count, bytes;
};

static int publish_blocks(struct follower *f, const struct together *t, struct error *err)
{
	struct frame frames[TOGETHER_MAX];
	struct key keys[TOGETHER_MAX];
	for (size_t i = 0; i < t->count; i++) {
		struct job *j = t->jobs[i];
		uint16_t type = j->request.reason == WEIR__V1__FETCH_REASON__FETCH_REASON_BACKFILL ? MESSAGE_RAW_BLOCK_BACKFILL : MESSAGE_RAW_BLOCK_TIP;
		frames[i] = frame_of(f, type, j->request.height, pack(f, j), &j->span.context, &keys[i]);
	}
	int r = t->count > 0 ? bus_publish(f->raw, frames, t->count, err) : 0;
	for (size_t i = 0; i < t->count; i++) {
		if (r == 0)
			job_tell(t->jobs[i]);
		free((void *)(uintptr_t)frames[i].body.data);
	}
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

static void leave_ready(struct follower *f, const struct job *j)
{
	size_t kept = 0;
	for (size_t i = 0; i < f->ready_count; i++)
		if (f->ready[i] != j)
			f->ready[kept++] = f->ready[i];
	f->ready_count = kept;
}

static bool is_refetch(const struct job *j)
{
	return j->request.reason == WEIR__V1__FETCH_REASON__FETCH_REASON_REFETCH;
}

static bool is_stale(const struct follower *f, const struct job *j)
{
	return j->generation != f->generation;
}

/* Whether a block contradicts another is only known once the other is in the window: neighbours that do not fit do not go together. */
static bool fits_behind(const struct job *before, const struct job *j)
{
	return j->request.height > before->request.height + 1 ||
	       (j->request.height == before->request.height + 1 && memcmp(j->block.parent_hash, before->block.hash, 32) == 0);
}

/* From the ready list's place first on: what may go out in one call. *ret_end: behind the last that was looked at and passed. A block that
 * contradicts what is known is suspected of a fork when it comes first. */
static void gather(struct follower *f, size_t first, struct together *t, size_t *ret_end)
{
	size_t i = first;
	*t = (struct together){ .count = 0 };
	for (; i < f->ready_count && t->count < TOGETHER_MAX; i++) {
		struct job *j = f->ready[i];
		size_t bytes = 0;
		if (is_stale(f, j))
			continue;
		for (size_t k = 0; k < j->part_count; k++)
			bytes += j->parts[k].body.size;
		if (t->count > 0 && (t->bytes + bytes > TOGETHER_BYTES || !fits_behind(t->jobs[t->count - 1], j)))
			break;
		if (!is_refetch(j) && j->block.proven && fork_contradicts(f, &j->block)) {
			if (t->count == 0)
				fork_suspect(f, teller(j), &j->block, true); /* resolved by the loop; the block is then asked for again */
			break;
		}
		t->bytes += bytes;
		t->jobs[t->count++] = j;
	}
	*ret_end = i;
}

/* The endpoint whose answer is the largest made it too large for one message. */
static bool refuse_too_large(struct follower *f, struct job *j, const struct error *err)
{
	struct endpoint_status status;
	size_t largest = 0;
	for (size_t i = 1; i < j->part_count; i++)
		if (j->parts[i].body.size > j->parts[largest].body.size)
			largest = i;
	const size_t endpoint = j->parts[largest].endpoint;
	endpoints_status(f->endpoints, endpoint, &status);
	log_error(&f->log, "block_too_large", "its answers do not fit into one message; asking another endpoint", LOG_U("height", j->request.height),
		  LOG_S("endpoint", status.name), LOG_ERR(err));
	if (!job_again(j, WEIR_LIMIT, endpoint, err->text))
		return false;
	endpoints_note_failure(f->endpoints, endpoint, WEIR_LIMIT, err->text);
	return true;
}

int publish_ready(struct follower *f, struct error *err)
{
	int r = 0;
	size_t done = 0;
	sort_ready(f);
	while (done < f->ready_count && r == 0 && !f->fork_suspected) {
		struct together together;
		size_t end;
		gather(f, done, &together, &end);
		r = publish_blocks(f, &together, err);
		if (r == WEIR_LIMIT && together.count == 1 && refuse_too_large(f, together.jobs[0], err)) {
			leave_ready(f, together.jobs[0]);
			r = 0;
			continue;
		}
		if (r != 0)
			break;
		for (; done < end; done++) {
			const struct job *j = f->ready[done];
			if (!is_stale(f, j) && !is_refetch(j))
				note_published(f, j);
			if (!is_stale(f, j))
				fetcher_count(f, "weir_fetcher_blocks_total", reasons[j->request.reason % 4], 1);
			job_free(&f->ready[done]);
		}
	}
	memmove(f->ready, f->ready + done, (f->ready_count - done) * sizeof f->ready[0]);
	f->ready_count -= done;
	return r;
}
