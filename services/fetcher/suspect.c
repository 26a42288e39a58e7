/* suspect.c - does a block contradict what is known of its chain? Then a fork is suspected, which fork.c looks into. */
#include "fetcher.h"

#include <string.h>

static bool differs(const struct fetch_window *w, uint64_t height, const uint8_t hash[32])
{
	const struct height *h = fetch_window_find(w, height);
	return h && h->known && memcmp(h->hash, hash, 32) != 0;
}

bool fork_contradicts(const struct follower *f, const struct chain_block_ref *block)
{
	return differs(&f->window, block->height, block->hash) ||
	       (block->height > 0 && differs(&f->window, block->height - 1, block->parent_hash)) ||
	       fetch_window_other_parent_above(&f->window, block->height, block->hash);
}

void fork_suspect(struct follower *f, size_t endpoint, const struct chain_block_ref *block, bool by_block)
{
	bool below = !differs(&f->window, block->height, block->hash) && block->height > 0 &&
		     differs(&f->window, block->height - 1, block->parent_hash);
	f->fork_suspected = true;
	f->fork_endpoint = endpoint;
	f->fork_by_block = by_block;
	f->fork_from = block->height - below;
}
