/* kafka_ordered.c - the ordered lane over Kafka: in each partition one message after the other, those of parked keys aside. */
#include "bus/kafka/kafka_ordered.h"

#include "bus/kafka/kafka_letters.h"

#include "base/clock.h"

#include <string.h>

#define NOTHING ((struct bytes){ NULL, 0 })

/* -- reading ----------------------------------------------------------------------------------------------------------------------- */

/* What no caller gets: undecodable, parked already, or behind a dead letter of its key. *ret_aside: it is one of those, and parked. */
static int put_aside(struct kafka_lane *l, const struct bus_message *m, bool *ret_aside, struct error *err)
{
	struct kafka_part *part = kafka_lane_part(l, m);
	struct error why = { 0 };
	char id[48];
	*ret_aside = true;
	if (!part)
		return error_set(err, WEIR_FENCED, "message %s: its partition is not ours any more", m->id);
	kafka_letter_id(m, true, id);
	if (kafka_letter_known(part->letters, id))
		return 0; /* by whoever had it before us, and did not come to committing */
	if (!m->frame_ok)
		(void)frame_read(m->frame.body, &(struct frame){ 0 }, &why);
	else if (kafka_key_parked(part->letters, m))
		error_set(&why, WEIR_CONFLICT, "waits behind a dead letter of the same key");
	else
		*ret_aside = false;
	return *ret_aside ? kafka_letter_park(l, m, true, NOTHING, &why, err) : 0;
}

static int take_new(struct kafka_lane *l, size_t max, struct error *err)
{
	size_t from = l->batch.count, kept = from;
	int r = kafka_lane_take(l, max, err);
	for (size_t i = from; i < l->batch.count && r == 0; i++) {
		struct bus_message *m = &l->batch.messages[i];
		bool aside;
		r = put_aside(l, m, &aside, err);
		if (r != 0 || aside)
			continue;
		l->parts[m->generation - 1].handed[m->klass] = (int64_t)m->sequence;
		l->batch.messages[kept++] = *m;
	}
	l->batch.count = kept;
	return r;
}

/* Parts in which nothing is in a caller's hands: all that was read was put aside. */
static int commit_aside(struct kafka_lane *l, struct error *err)
{
	int r = 0;
	for (int32_t p = 0; p < l->part_count && r == 0; p++)
		for (int c = 0; c < CLASSES && r == 0; c++) {
			const struct kafka_part *part = &l->parts[p];
			if (part->owned && part->next[c] > part->committed[c] && part->next[c] > 0 && part->handed[c] <= part->committed[c])
				r = kafka_lane_commit(l, p, c, part->next[c], err);
		}
	return r;
}

int kafka_owner_read(struct kafka_lane *l, size_t max, int64_t timeout_ms, struct bus_message **ret, size_t *ret_n, struct error *err)
{
	int64_t deadline = clock_mono_ms() + timeout_ms;
	*ret_n = 0;
	for (;;) {
		bus_batch_reset(&l->batch);
		const bool new_first = l->replayed; /* however many letters are to be tried again, what is new has its turn in between */
		int r = kafka_lane_serve(l, err);
		if (r == 0 && new_first)
			r = take_new(l, max, err);
		l->replayed = r == 0 && l->batch.count == 0; /* letters come alone */
		if (l->replayed)
			r = kafka_letters_take(l, max, true, NULL, NULL, err);
		l->replayed = l->replayed && l->batch.count > 0;
		if (r == 0 && !new_first && l->batch.count == 0)
			r = take_new(l, max, err);
		if (r == 0 && l->batch.count == 0)
			r = commit_aside(l, err);
		if (r != 0)
			return r;
		int64_t left = deadline - clock_mono_ms();
		if (l->batch.count > 0 || left <= 0) {
			*ret = l->batch.messages;
			*ret_n = l->batch.count;
			return 0;
		}
		if (bus_canceled(l->kafka->bus))
			return error_set(err, WEIR_CANCELED, "stopping");
		kafka_lane_wait(l, left < REPLAY_EVERY_MS ? left : REPLAY_EVERY_MS);
	}
}

/* -- settling -------------------------------------------------------------------------------------------------------------------------- */

int kafka_owner_commit(struct kafka_lane *l, uint8_t klass, uint64_t generation, uint64_t sequence, struct error *err)
{
	if (klass >= CLASSES || generation == 0 || generation > (uint64_t)l->part_count)
		return error_set(err, l->part_count ? WEIR_INVALID : WEIR_FENCED, "no such place: class %u, partition %llu", klass,
				 (unsigned long long)generation - 1);
	const struct kafka_part *part = &l->parts[generation - 1];
	int64_t offset = (int64_t)sequence; /* of the next one */
	if (offset >= part->handed[klass] && part->next[klass] > offset)
		offset = part->next[klass]; /* what follows was put aside: done as well */
	return kafka_lane_commit(l, (int32_t)generation - 1, klass, offset, err);
}

int kafka_owner_renew(struct kafka_lane *l, struct error *err)
{
	return kafka_lane_serve(l, err);
}

int kafka_owner_park(struct kafka_lane *l, const struct bus_message *m, struct bytes history, const struct error *why, struct error *err)
{
	struct bus_message whole = *m;
	if (!m->replay && m->frame.key.size == 0) /* the letter keeps the frame as it was read, also when the caller leaves the key out */
		for (size_t i = 0; i < l->batch.count; i++)
			if (l->batch.messages[i].klass == m->klass && strcmp(l->batch.messages[i].id, m->id) == 0)
				whole.frame = l->batch.messages[i].frame;
	int r = kafka_letter_park(l, &whole, m->frame.key.size > 0, history, why, err);
	return r == 0 && m->replay ? kafka_lane_flush(l, m, err) : r; /* of new ones the commit waits for it */
}

bool kafka_owner_parked(const struct kafka_lane *l, struct bytes key)
{
	const struct bus_message m = { .frame = { .key = key }, .generation = 1, .sequence = 1 };
	for (int32_t p = 0; p < l->part_count; p++)
		if (l->parts[p].owned && kafka_key_parked(l->parts[p].letters, &m))
			return true;
	return false;
}

int kafka_owner_resolve(struct kafka_lane *l, const struct bus_message *const *m, size_t n, struct error *err)
{
	int r = 0;
	for (size_t i = 0; i < n && r == 0; i++)
		r = kafka_letter_resolve(l, m[i], true, err);
	for (size_t i = 0; i < n && r == 0; i++)
		r = kafka_lane_flush(l, m[i], err); /* once for each part: the others have nothing under way then */
	return r;
}
