/* kafka_letters.h - private to lib/bus: the rows of a letters table (kafka_table.h), and dead letters in and out of them.
 *
 *	l/<id>            the letter without its failures, packed
 *	k/<id>            the same of one that was skipped: out of its key's order
 *	a/<id>/<number>   a failure, packed: a letter is its base with its failures behind it
 *	r/<id>            to be tried again, who said so; s/<id>: the same of one that was skipped
 *
 * An id is <hash of the key>.<class>.<partition>.<offset>: the letters of a key stand together in the order in which they are tried, and
 * parking a message twice is once. Without a key (and in shared lanes, which keep no order) the hash is of the message's place.
 */
#ifndef WEIR_BUS_KAFKA_LETTERS_H
#define WEIR_BUS_KAFKA_LETTERS_H

#include "bus/kafka/kafka_lane.h"

#define KAFKA_HASH_SIZE 16 /* of an id's beginning that letters of one key share */

#define KAFKA_SKIPPED 'k' /* the first letter of such a row's key */

/* A mark "r/…", "s/…" or "w/…" that a job put there: its value is '\1', 'f' or 'p' (free, paced), and the job's id with its end. */
#define KAFKA_JOB_MARK '\1'
struct kafka_mark {
	char value[32];
	bool paced; /* the job says when the next of its key is tried */
	bool waits; /* it stood in "w/…": chosen, and not to be tried now */
};
static inline const char *kafka_mark_id(const struct kafka_mark *m)
{
	return m->value + 2;
}
bool kafka_mark_job(const struct kafka_row *, struct kafka_mark *ret); /* NULL: no row. False: none of a job's */
/* Tells the job what became of a letter: 'o' it went well, 'f' it failed, 'g' it is gone. */
int kafka_job_settled(struct kafka_table *, const struct kafka_mark *job, const char *id, char how, bool as_owner, struct error *);
void kafka_letter_id(const struct bus_message *, bool by_key, char ret[48]);
bool kafka_letter_known(const struct kafka_table *, const char *id);
const struct kafka_row *kafka_letter_row(const struct kafka_table *, const char *id); /* NULL: there is none */
bool kafka_letter_by_key(const struct kafka_row *); /* others may wait behind it */
bool kafka_letter_is_first(const struct kafka_table *, const char *id); /* of its key */
bool kafka_letter_in_hand(const struct kafka_lane *, const struct kafka_table *, const char *id); /* given to a handler, and not settled */
/* Takes it out of its key's order, as the row `as`; the next one is to be tried. */
int kafka_letter_skip(struct kafka_table *, const char *id, struct bytes as, struct error *);
bool kafka_key_parked(const struct kafka_table *, const struct bus_message *);
/* Parks a message (it is on its way when this returns), or says that a replayed one failed again (m->letter), which ends its key's replay. history: failures before, packed. */
int kafka_letter_park(struct kafka_lane *, const struct bus_message *, bool by_key, struct bytes history, const struct error *why, struct error *);
/* The same with what was packed already: the letter without its failures (base.data NULL: m is a replayed one), and this and former failures. */
int kafka_letter_store(struct kafka_lane *, const struct bus_message *, bool by_key, int code, struct bytes base, struct bytes failures,
		       struct error *);
/* A replay succeeded: the letter goes, and the next one of its key is to be tried. */
int kafka_letter_resolve(struct kafka_lane *, const struct bus_message *, bool by_key, struct error *);
/* Adds letters to try again to the lane's batch: of each key the first. in_hand: leaves out those for which it is true; may be NULL. */
int kafka_letters_take(struct kafka_lane *, size_t max, bool by_key, bool (*in_hand)(void *, const char *id), void *arg, struct error *);

#endif
