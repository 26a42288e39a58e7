/* mailbox.h - what the two threads of a chain tell each other: the one that writes the ledger, the one that checks it.
 *
 * Bounded queues under one lock. Thread-safe.
 */
#ifndef WEIR_RECONCILER_MAILBOX_H
#define WEIR_RECONCILER_MAILBOX_H

#include "opening.h"

#include <pthread.h>

/* A question from outside (Reconcile, Observe). */
struct mail_question {
	enum { MAIL_RECONCILE, MAIL_OBSERVE } kind;
	uint8_t account_size; /* 0: all accounts */
	uint8_t account[32];
	bool has_asset;
	struct chain_asset asset;
	uint64_t height;
};

/* The checker wants a block to be read again, elsewhere, and compared with what the ledger has. */
struct mail_heal {
	int64_t height; /* -1: none */
	uint8_t hash[32];
	enum { HEAL_WANTED, HEAL_ASKED, HEAL_SAME, HEAL_REPLACED, HEAL_GONE } state;
};

/* What the writer knows, for the checker. */
struct mail_view {
	bool owner;
	char fence[96];
	int16_t chain_id;
	int64_t watermark, head, start;
	uint8_t watermark_hash[32];
};

struct mailbox;
struct mailbox *mailbox_new(size_t queue_size);
void mailbox_free(struct mailbox **);
int mailbox_fd(const struct mailbox *); /* readable when there is something for the checker */

/* writer -> checker */
size_t mailbox_put_touches(struct mailbox *, const struct ledger_touch *, size_t n); /* how many fitted */
bool mailbox_put_question(struct mailbox *, const struct mail_question *);
void mailbox_set_view(struct mailbox *, const struct mail_view *);
size_t mailbox_take_openings(struct mailbox *, struct told_opening ret[OPENINGS_TOLD_MAX]);
/* checker */
bool mailbox_take_touch(struct mailbox *, struct ledger_touch *ret);
size_t mailbox_touches(struct mailbox *);
bool mailbox_take_question(struct mailbox *, struct mail_question *ret);
void mailbox_view(struct mailbox *, struct mail_view *ret);
void mailbox_wait_clear(struct mailbox *);

/* checker -> writer */
void mailbox_note_journal(struct mailbox *, uint64_t sequence); /* an event was written to the journal: publish it */
uint64_t mailbox_journal(struct mailbox *);
size_t mailbox_tell_openings(struct mailbox *, const struct told_opening *, size_t n); /* how many fitted */
void mailbox_want_heal(struct mailbox *, int64_t height, const uint8_t hash[32]);
void mailbox_heal(struct mailbox *, struct mail_heal *ret);
void mailbox_heal_is(struct mailbox *, int64_t height, int state);
void mailbox_heal_done(struct mailbox *);

#endif
