/* letters.h - topic dead_letters: what happened to a chain's dead letters, read from the bus for one subscription at a time.
 *
 * There is no journal of them: what becomes of each letter is told in one stream of the bus (letter_tail.h), what operators did in the chain's audit stream. A
 * place is one id in each of the two (struct offset), so nothing is missed, also of a letter that was parked and gone between two looks, and nothing comes
 * twice. Decision: docs/decisions/0031-dead-letters-live.md.
 */
#ifndef WEIR_GATEWAY_LETTERS_H
#define WEIR_GATEWAY_LETTERS_H

#include "live/replay.h"

#include "weir/v1/dead_letter.pb-c.h"

extern const char *const letter_subscriptions[LETTER_SUBSCRIPTIONS];
size_t letter_subscription(const char *name); /* which of them; LETTER_SUBSCRIPTIONS: none, also for NULL */
const char *letter_kind(Weir__V1__DeadLetterKind);

/* Answers a job of topic dead_letters, as replay.c does those of the others. Waits for the gateway's connection to the bus. */
int letters_answer(struct gateway *, struct replay_job *, struct error *);

#endif
