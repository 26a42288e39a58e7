/* careful.c - crash containment: what ends the process is noted before it is begun, and left out once it has done so BUS_CRASHES times (bus.h).
 *
 * A block may end us when it is read, or later, when its turn has come and another message was read. So it is noted both times, and by its own name: the same
 * block fetched again is the same. While a lane is careful a turn takes one message and applies one block, and the chains of a process take turns: only what
 * was under way alone is known to have ended it.
 */
#include "follow.h"

#include "base/version.h"
#include "wire/hex.h"

#include <stdio.h>

#define COMMANDS_NOTED 256

void careful_open(struct follow *f)
{
	/* What an instance had in hand is at most a window and a transaction; each block is noted as a message, by its name, and when it is applied. */
	int64_t blocks = f->config->reconciler.reorder_window + f->config->reconciler.batch_blocks;
	bus_owner_watch(f->blocks, weir_version, 3 * (unsigned)blocks);
	bus_owner_watch(f->control, weir_version, COMMANDS_NOTED);
}

/* Of all chains. Who does not get it has other work to do meanwhile. */
static pthread_mutex_t at_work = PTHREAD_MUTEX_INITIALIZER;

bool careful_enter(struct bus_owner *lane, bool *ret_careful)
{
	*ret_careful = bus_owner_careful(lane);
	return !*ret_careful || pthread_mutex_trylock(&at_work) == 0;
}

int careful_leave(struct bus_owner *lane, bool careful, int code, struct error *err)
{
	if (!careful)
		return code;
	int noted = bus_owner_note(lane, NULL, code ? NULL : err);
	pthread_mutex_unlock(&at_work);
	return code ? code : noted;
}

void careful_name(const struct block_facts *facts, const char *letter, char ret[CAREFUL_NAME])
{
	char hash[67];
	hex_from_bytes(facts->hash, 32, hash);
	if (*letter) /* somebody wants it tried once more */
		snprintf(ret, CAREFUL_NAME, "letter/%s", letter);
	else
		snprintf(ret, CAREFUL_NAME, "%s/%lld/%s", facts->proven ? "block" : "unproven", (long long)facts->height, hash);
}

int careful_apply(struct follow *f, const struct held *held, struct error *err)
{
	char name[CAREFUL_NAME];
	if (!f->careful || !held)
		return 0;
	careful_name(&held->facts, held->letter, name);
	return bus_owner_note(f->blocks, name, err);
}

void careful_applied(struct follow *f, const struct held *held)
{
	char name[CAREFUL_NAME];
	careful_name(&held->facts, "", name);
	(void)bus_owner_absolve(f->blocks, name, NULL); /* else a replay of its letter does it */
}
