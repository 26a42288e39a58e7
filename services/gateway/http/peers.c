/* peers.c - see peers.h: a table of addresses that hold a connection, as large as there are connections at most. */
#include "http/peers.h"

#include "base/clock.h"
#include "base/mem.h"

#include <pthread.h>
#include <string.h>

#define BUCKETS 4096

struct peer {
	struct client_address address; /* as it counts: of IPv6 the network */
	int64_t count;
	struct peer *next;
};

struct peers {
	pthread_mutex_t lock; /* guards the table */
	uint64_t seed;
	int64_t most;
	struct peer *table[BUCKETS];
};

struct peers *peers_new(int64_t most)
{
	struct peers *peers = xmalloc(sizeof *peers);
	pthread_mutex_init(&peers->lock, NULL);
	peers->seed = random_u64();
	peers->most = most;
	return peers;
}

void peers_free(struct peers **peersp)
{
	struct peers *peers = *peersp;
	if (!peers)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		for (struct peer *peer = peers->table[i], *next; peer; peer = next) {
			next = peer->next;
			free(peer);
		}
	pthread_mutex_destroy(&peers->lock);
	xfree(peersp);
}

static struct client_address counted(const struct client_address *address)
{
	static const uint8_t mapped[12] = { [10] = 0xff, [11] = 0xff };
	struct client_address ret = *address;
	if (memcmp(ret.bytes, mapped, sizeof mapped) != 0)
		memset(ret.bytes + 8, 0, 8);
	return ret;
}

/* Where it is, or would be. */
static struct peer **place_of(struct peers *peers, const struct client_address *address)
{
	uint64_t hash = peers->seed;
	for (size_t i = 0; i < sizeof address->bytes; i++) /* FNV-1a; the seed keeps others from choosing addresses that meet */
		hash = (hash ^ address->bytes[i]) * UINT64_C(0x100000001b3);
	struct peer **place = &peers->table[(hash >> 32) % BUCKETS];
	while (*place && memcmp(&(*place)->address, address, sizeof *address) != 0)
		place = &(*place)->next;
	return place;
}

bool peers_enter(struct peers *peers, const struct client_address *address)
{
	const struct client_address key = counted(address);
	pthread_mutex_lock(&peers->lock);
	struct peer **place = place_of(peers, &key);
	if (!*place) {
		*place = xmalloc(sizeof **place);
		**place = (struct peer){ .address = key };
	}
	const bool room = (*place)->count < peers->most;
	(*place)->count += room;
	pthread_mutex_unlock(&peers->lock);
	return room;
}

void peers_leave(struct peers *peers, const struct client_address *address)
{
	const struct client_address key = counted(address);
	pthread_mutex_lock(&peers->lock);
	struct peer **place = place_of(peers, &key), *peer = *place;
	if (--peer->count == 0) {
		*place = peer->next;
		free(peer);
	}
	pthread_mutex_unlock(&peers->lock);
}
