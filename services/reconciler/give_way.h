/* give_way.h - when the checker leaves node and database to a block that is on its way into the ledger: clients wait for the block, nobody
 * for a comparison. Pure. */
#ifndef WEIR_RECONCILER_GIVE_WAY_H
#define WEIR_RECONCILER_GIVE_WAY_H

#include <stdbool.h>
#include <stdint.h>

#define GIVE_WAY_MS 300 /* at most so long: a block may not come at all */

struct give_way {
	int64_t since_ms; /* waiting since; 0: not */
	int64_t until_ms; /* comparing in any case until: as long as it waited, so that blocks in close succession do not stop it */
};

/* awaited: a block was announced and is not in the ledger. now_ms: of one clock that never stands at 0. */
bool give_way(struct give_way *, bool awaited, int64_t now_ms);

#endif
