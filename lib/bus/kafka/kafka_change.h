/* kafka_change.h - private to lib/bus: edits and skips of dead letters over Kafka. Only the owner of a letter's partition knows whether it is being tried, and only
 * his records follow one another: so he does it, when he is asked by a row, and answers by another.
 *
 *	q/<nonce>/<id>  what is asked: 'e' or 's' (edit, skip), the SHA-256 in hex of the letter's row as the operator saw it, and the row as it is to be
 *	z/<nonce>       the answer, a number as dead_letter_edit.c has them
 *
 * The row as it is to be is made by the operator: what brokers refuse is refused to him, and never to the owner.
 */
#ifndef WEIR_BUS_KAFKA_CHANGE_H
#define WEIR_BUS_KAFKA_CHANGE_H

#include "bus/kafka/kafka_lane.h"

int kafka_dead_edit(struct bus *, const char *chain, const char *subscription, const char *id, const struct dead_letter_edit *, char *ret_sha256,
		    struct error *);
int kafka_dead_skip(struct bus *, const char *chain, const char *subscription, const char *id, const char *who, const char *why, struct error *);
/* The owner's part: does what is asked of the letters of a part. */
int kafka_changes_serve(struct kafka_lane *, struct kafka_table *, struct error *);

#endif
