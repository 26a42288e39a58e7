/* window.c - holding blocks until they fit. */
#include "window.h"

#include "base/error.h"

#include <string.h>

/* ---- reading facts (protobuf wire format: tag varint = field << 3 | type) ------------------------------------------------------- */

struct reader {
	const uint8_t *p, *end;
	bool bad;
};

static uint64_t varint(struct reader *r)
{
	uint64_t v = 0;
	for (unsigned shift = 0; shift < 64 && r->p < r->end; shift += 7) {
		uint8_t byte = *r->p++;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return v;
	}
	r->bad = true;
	return 0;
}

/* One field: *ret_number for varints, *ret_bytes for length-delimited ones. Returns the field's number, 0 at the end. */
static uint32_t field(struct reader *r, uint64_t *ret_number, struct bytes *ret_bytes)
{
	*ret_number = 0;
	*ret_bytes = (struct bytes){ NULL, 0 };
	if (r->bad || r->p == r->end)
		return 0;
	uint64_t tag = varint(r);
	uint64_t size = 0;
	switch (tag & 7) {
	case 0:
		*ret_number = varint(r);
		return r->bad ? 0 : (uint32_t)(tag >> 3);
	case 1:
		size = 8;
		break;
	case 2:
		size = varint(r);
		break;
	case 5:
		size = 4;
		break;
	default:
		r->bad = true;
	}
	if (r->bad || size > (uint64_t)(r->end - r->p)) {
		r->bad = true;
		return 0;
	}
	*ret_bytes = (struct bytes){ r->p, size };
	r->p += size;
	return (uint32_t)(tag >> 3);
}

static bool proven(struct bytes certificate)
{
	struct reader r = { certificate.data, certificate.data + certificate.size, false };
	uint64_t number;
	struct bytes bytes;
	bool yes = false;
	for (uint32_t f; (f = field(&r, &number, &bytes)) != 0;)
		if (f == 2)
			yes = number != 0;
	return yes && !r.bad;
}

int block_facts(struct bytes packed, struct block_facts *ret)
{
	struct reader r = { packed.data, packed.data + packed.size, false };
	uint64_t number;
	struct bytes bytes;
	bool hash = false, parent = false;
	*ret = (struct block_facts){ .height = -1 };
	ret->height = 0; /* proto3 leaves zero out */
	for (uint32_t f; (f = field(&r, &number, &bytes)) != 0;) {
		if (f == 2 && number > INT64_MAX / 2)
			return WEIR_INVALID;
		if (f == 2)
			ret->height = (int64_t)number;
		else if (f == 3 && bytes.size == 32 && (hash = true))
			memcpy(ret->hash, bytes.data, 32);
		else if (f == 4 && bytes.size == 32 && (parent = true))
			memcpy(ret->parent_hash, bytes.data, 32);
		else if (f == 6)
			ret->reason = (int)(number & 0xff);
		else if (f == 10 && bytes.data)
			ret->proven = proven(bytes);
	}
	/* An unproven block may lack what could not be decoded; it is never applied. */
	return r.bad || (ret->proven && !(hash && parent)) ? WEIR_INVALID : 0;
}

/* ---- holding ---------------------------------------------------------------------------------------------------------------------- */

void window_init(struct window *window, size_t max_count, size_t max_bytes)
{
	memset(window, 0, sizeof *window);
	window->max_count = max_count > 0 ? max_count : 1;
	window->max_bytes = max_bytes;
}

static struct held **bucket(const struct window *window, int64_t height)
{
	union {
		const struct window *in;
		struct window *out;
	} w = { .in = window };
	return &w.out->buckets[(uint64_t)height % WINDOW_BUCKETS];
}

void window_remove(struct window *window, struct held *held)
{
	for (struct held **p = bucket(window, held->facts.height); *p; p = &(*p)->next) {
		if (*p != held)
			continue;
		*p = held->next;
		window->count--;
		window->bytes -= held->size;
		xfree(&held->body);
		free(held);
		return;
	}
}

void window_clear(struct window *window)
{
	for (size_t i = 0; i < WINDOW_BUCKETS; i++)
		while (window->buckets[i])
			window_remove(window, window->buckets[i]);
}

struct held *window_find_hash(const struct window *window, int64_t height, const uint8_t hash[32])
{
	for (struct held *h = *bucket(window, height); h; h = h->next)
		if (h->facts.height == height && memcmp(h->facts.hash, hash, 32) == 0)
			return h;
	return NULL;
}

struct held *window_find(const struct window *window, int64_t height, const uint8_t *parent)
{
	struct held *best = NULL;
	for (struct held *h = *bucket(window, height); h; h = h->next)
		if (h->facts.height == height && (!parent || memcmp(h->facts.parent_hash, parent, 32) == 0) &&
		    (!best || h->arrival > best->arrival))
			best = h;
	return best;
}

static struct held *farthest(const struct window *window)
{
	struct held *best = NULL;
	for (size_t i = 0; i < WINDOW_BUCKETS; i++)
		for (struct held *h = window->buckets[i]; h; h = h->next)
			if (!best || h->facts.height > best->facts.height)
				best = h;
	return best;
}

bool window_add(struct window *window, const struct block_facts *facts, struct bytes body, uint8_t klass, uint64_t generation, uint64_t sequence)
{
	struct held *old = window_find_hash(window, facts->height, facts->hash);
	if (old)
		window_remove(window, old);
	while (window->count > 0 && (window->count >= window->max_count || window->bytes + body.size > window->max_bytes)) {
		struct held *far = farthest(window);
		if (far->facts.height <= facts->height)
			return false;
		window_remove(window, far);
	}
	struct held *held = xmalloc(sizeof *held);
	*held = (struct held){ .facts = *facts,
			       .body = xmemdup(body.data, body.size),
			       .size = body.size,
			       .klass = klass,
			       .generation = generation,
			       .sequence = sequence,
			       .arrival = ++window->arrivals };
	struct held **b = bucket(window, facts->height);
	held->next = *b;
	*b = held;
	window->count++;
	window->bytes += body.size;
	return true;
}

void window_drop_to(struct window *window, int64_t height)
{
	for (size_t i = 0; i < WINDOW_BUCKETS; i++)
		for (struct held *h = window->buckets[i], *next; h; h = next) {
			next = h->next;
			if (h->facts.height <= height)
				window_remove(window, h);
		}
}

int64_t window_lowest_above(const struct window *window, int64_t height)
{
	int64_t lowest = -1;
	for (size_t i = 0; i < WINDOW_BUCKETS; i++)
		for (const struct held *h = window->buckets[i]; h; h = h->next)
			if (h->facts.height > height && (lowest < 0 || h->facts.height < lowest))
				lowest = h->facts.height;
	return lowest;
}

int64_t window_highest(const struct window *window)
{
	const struct held *h = farthest(window);
	return h ? h->facts.height : -1;
}

bool window_pin(const struct window *window, uint8_t klass, int64_t watermark, uint64_t *ret_generation, uint64_t *ret_sequence)
{
	bool found = false;
	for (size_t i = 0; i < WINDOW_BUCKETS; i++)
		for (const struct held *h = window->buckets[i]; h; h = h->next) {
			if (h->klass != klass || h->facts.height <= watermark)
				continue;
			if (!found || h->generation < *ret_generation || (h->generation == *ret_generation && h->sequence < *ret_sequence)) {
				*ret_generation = h->generation;
				*ret_sequence = h->sequence;
				found = true;
			}
		}
	return found;
}
