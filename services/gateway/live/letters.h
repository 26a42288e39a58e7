/* letters.h - topic dead_letters: what happened to a chain's dead letters, read from the bus for one subscription at a time.
 *
 * There is no journal of them: letters parked are the new entries of each subscription's queue, and what operators did is in the chain's audit stream. A place is
 * one id in each of these streams (struct offset), so nothing is missed and nothing comes twice. What leaves no trace of its own, replays that
 * succeeded or failed again, shows in the counts. Decision: docs/decisions/0031-dead-letters-live.md.
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
