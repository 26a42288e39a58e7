/* protocol.h - what clients ask of the live end, read strictly and without any effect. Documented in openapi.json (/v1/ws, /v1/stream, /v1/poll). */
#ifndef WEIR_GATEWAY_PROTOCOL_H
#define WEIR_GATEWAY_PROTOCOL_H

#include "base/error.h"
#include "base/mem.h"
#include "wire/json.h"

#include <stdbool.h>
#include <stdint.h>

/* TOPIC_OF_LEDGER is everything in the journal at once, entry by entry, also where they are taken back: for kafka/; clients cannot ask for it. */
enum topic { TOPIC_OF_BLOCKS, TOPIC_OF_ENTRIES, TOPIC_OF_ACCOUNTS, TOPIC_OF_STATUS, TOPIC_OF_WATCHLIST, TOPIC_OF_LETTERS, TOPIC_OF_LEDGER };

/* Are its pushes entries, one by one? */
static inline bool topic_has_entries(enum topic topic)
{
	return topic == TOPIC_OF_ENTRIES || topic == TOPIC_OF_WATCHLIST || topic == TOPIC_OF_LEDGER;
}

/* Where a subscription stands: everything up to `sequence` was given; of event `sequence` itself, if index >= 0, only up to that item.
 * given_after and min_height belong to the subscription's begin and travel with the offset, so that a retraction after a reconnect
 * names exactly what was given: blocks applied at or before given_after, or below min_height, never were.
 * The print says which event that is (event.h): in a ledger that was restored or made anew the same sequence is another event, and then the offset is
 * refused (docs/decisions/0032-offsets.md). As text: sequence[-print][.index][~given_after[~min_height]].
 *
 * Topic dead_letters is in no journal: its offsets are places in the streams of the bus that tell of letters (letters.h), as text L<id>_<id>. */
#define LETTER_SUBSCRIPTIONS 3
#define OFFSET_PLACES 2
struct offset {
	union {
		struct {
			uint64_t sequence;
			int64_t index; /* -1: the whole event */
			uint64_t given_after;
			int64_t min_height;
		};
		uint64_t places[OFFSET_PLACES]; /* of_letters: ids (letter_id_pack) in the chain's audit stream and in the one that tells what became of letters */
	};
	uint32_t print; /* of the event; 0: not known, or there is none */
	bool of_letters;
};
#define OFFSET_TEXT_MAX 100
size_t offset_print(const struct offset *, char ret[OFFSET_TEXT_MAX]);
int offset_parse(const char *text, struct offset *ret, struct error *);

enum begin { FROM_LIVE, FROM_OFFSET, FROM_HEIGHT, FROM_SNAPSHOT };

/* What becomes of a subscription at the live end whose client does not take what it is sent. */
enum laggard {
	LAGGARD_CLOSE,    /* its connection is closed, with the offset to resume from */
	LAGGARD_RESUME,   /* it is held back and goes on where it stood, at the client's pace: nothing is lost */
	LAGGARD_DROP,     /* it goes on at the live end; a push of type "skipped" says how much was left out */
	LAGGARD_CONFLATE, /* it is given what is newest of each kind only */
};

/* What a subscription is to give, however it was asked for. */
struct subscribe {
	enum topic topic;
	const char *chain, *account, *asset, *kind; /* whoever asked owns them; NULL: not given */
	int64_t watchlist; /* 0: not given */
	enum begin from;
	struct offset offset;
	int64_t height;
	bool has_hash; /* of the block at the height, as the client knows it: the ledger must have the same one */
	uint8_t hash[32];
	enum laggard laggard;
	bool finality; /* promotions, too, where the topic does not have them anyway */
};
int block_hash_parse(struct text, struct subscribe *ret, struct error *); /* 0x and 64 digits */
int watchlist_parse(struct text, int64_t *ret, struct error *); /* absent: 0 */
int laggard_parse(struct text, enum laggard *ret, struct error *); /* absent: LAGGARD_CLOSE */
const char *laggard_name(enum laggard);
int topic_parse(struct text, enum topic *ret, struct error *);
const char *topic_name(enum topic);
int subscribe_check(const struct subscribe *, struct error *); /* do its members go together? */

enum ws_method { WS_SUBSCRIBE, WS_UNSUBSCRIBE, WS_PING, WS_AUTHENTICATE };

struct ws_request {
	char id[200]; /* as JSON text: a number or a string; "null" when it could not be read */
	enum ws_method method;
	struct subscribe subscribe; /* its texts lie in the arena */
	uint32_t subscription;
	const char *token, *key; /* one of the two, in the arena */
};
/* WEIR_INVALID with words for the client; ret->id is set whenever it could be read. */
int ws_request_read(struct bytes text, struct arena *, struct ws_request *ret, struct error *);

#endif
