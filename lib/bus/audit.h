/* audit.h - what operators did, one stream per chain, as a chain of hashes: a line that is rewritten, removed or put in between later is
 * found by verifying. Who may write to Redis could make the whole chain anew: note number and hash of a line elsewhere now and then
 * (the gateway's log has them) and verify against that.
 */
#ifndef WEIR_BUS_AUDIT_H
#define WEIR_BUS_AUDIT_H

#include "base/error.h"
#include "base/mem.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bus;

/* One more line in the chain's audit stream (AUDIT_KEY_FORMAT), which keeps the newest 100 000. What changes dead letters writes its own. */
int bus_audit(struct bus *, const char *chain, const char *who, const char *action, const char *detail, struct error *);

struct audit_line {
	const char *id; /* of the stream entry: a cursor */
	uint64_t number;
	int64_t at_ms;
	const char *hash;
	const char *const *words; /* names and values in turn, without number, time and hashes */
	size_t word_count;
};
/* Newest first, before the cursor (NULL: from the newest), at most limit. Return false to stop. */
typedef bool audit_line_fn(const struct audit_line *, void *arg);
int bus_audit_list(struct bus *, const char *chain, const char *cursor, size_t limit, audit_line_fn *, void *arg, struct error *);

struct audit_report {
	uint64_t first, last; /* numbers of the oldest and newest line; 0: there is none */
	uint64_t lines;
	char hash[65];        /* of the newest line: note it */
	bool sound;
	uint64_t wrong;       /* number of the first line that does not fit */
	char words[256];      /* what is wrong */
};
/* Checks every line. expect_number and expect_hash: a line that was noted (0, NULL: none). A broken chain is a report, not an error. */
int bus_audit_verify(struct bus *, const char *chain, uint64_t expect_number, const char *expect_hash, struct audit_report *ret, struct error *);

#endif
