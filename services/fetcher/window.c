/* window.c - a ring of heights: what is under way, what was published, which hash is canonical as far as we know. */
#include "fetcher.h"

#include <string.h>

void fetch_window_init(struct fetch_window *w, size_t window)
{
	size_t size = KNOWN_MAX;
	while (size < window * 2)
		size *= 2;
	w->slots = xcalloc(size, sizeof *w->slots);
	w->mask = size - 1;
}

void fetch_window_free(struct fetch_window *w)
{
	xfree(&w->slots);
}

struct height *fetch_window_find(const struct fetch_window *w, uint64_t height)
{
	struct height *h = &w->slots[height & w->mask];
	return h->used && h->height == height ? h : NULL;
}

uint64_t fetch_window_lowest_known(const struct fetch_window *w)
{
	uint64_t lowest = UINT64_MAX;
	for (size_t i = 0; i <= w->mask; i++)
		if (w->slots[i].used && w->slots[i].known && w->slots[i].height < lowest)
			lowest = w->slots[i].height;
	return lowest;
}

struct height *fetch_window_at(struct fetch_window *w, uint64_t height)
{
	struct height *h = &w->slots[height & w->mask];
	if (!h->used || h->height != height) {
		memset(h, 0, sizeof *h);
		h->used = true;
		h->height = height;
	}
	return h;
}

void fetch_window_learn(struct fetch_window *w, uint64_t height, const uint8_t hash[32], const uint8_t *parent_hash)
{
	struct height *h = fetch_window_at(w, height);
	h->known = true;
	memcpy(h->hash, hash, 32);
	if (parent_hash)
		memcpy(h->parent_hash, parent_hash, 32);
	else
		memset(h->parent_hash, 0, 32);
	if (!w->any_known || height > w->highest_known)
		w->highest_known = height;
	w->any_known = true;
}

void fetch_window_forget_above(struct fetch_window *w, uint64_t height)
{
	w->any_known = false;
	w->highest_known = 0;
	for (size_t i = 0; i <= w->mask; i++) {
		struct height *h = &w->slots[i];
		if (h->used && h->height > height)
			memset(h, 0, sizeof *h);
		if (h->used && h->known && (!w->any_known || h->height > w->highest_known)) {
			w->highest_known = h->height;
			w->any_known = true;
		}
	}
}

void fetch_window_forget_published(struct fetch_window *w)
{
	for (size_t i = 0; i <= w->mask; i++)
		w->slots[i].state = HEIGHT_WANTED;
}

static bool is_zero(const uint8_t hash[32])
{
	static const uint8_t zero[32];
	return memcmp(hash, zero, 32) == 0;
}

bool fetch_window_other_parent_above(const struct fetch_window *w, uint64_t height, const uint8_t hash[32])
{
	const struct height *above = fetch_window_find(w, height + 1);
	return above && above->known && !is_zero(above->parent_hash) && memcmp(above->parent_hash, hash, 32) != 0;
}
