/* check.h - the checker's thread of one chain: compares balances with the chain at the very block, observes what cannot be summed,
 * and works off differences: confirm, find the first wrong block, have it read again, draw the conclusion.
 */
#ifndef WEIR_RECONCILER_CHECK_H
#define WEIR_RECONCILER_CHECK_H

#include "give_way.h"
#include "ledger.h"
#include "mailbox.h"
#include "metrics.h"
#include "node.h"

#include "base/clock.h"
#include "daemon/daemon.h"

#define CHECK_RESULTS_MAX 256
#define CHECK_DOUBTS_MAX 1024

/* A balance that is being asked for. */
struct check_item {
	struct check *check;
	struct ledger_touch touch;
	bool busy, observe_only;
};

/* A comparison that came out equal, or an observation, to be written with others. */
struct check_result {
	int64_t account_id, height;
	int32_t asset_id;
	bool observation;
	uint8_t hash[32];
	struct u256 amount;
};

/* A comparison that came out different. */
struct doubt {
	struct ledger_touch touch;
	struct u256 observed;
	size_t endpoint;
	int64_t not_before_ms;
	int64_t incident; /* 0: not confirmed yet */
	int64_t searched_from; /* the height that the search for the first wrong block took for right */
	int64_t first_wrong;
	uint8_t first_wrong_hash[32];
	unsigned heals;        /* asked for, and nothing came */
	unsigned replacements; /* came with other entries, and the balance was wrong still; as the incident's evidence says */
	int64_t heal_until_ms;
};

struct check {
	/* Given, borrowed. */
	struct daemon_ctx *ctx;
	const struct config *config;
	const struct chain_config *settings;
	const struct chain *chain;
	struct endpoints *endpoints;
	struct node_identity *identity;
	struct mailbox *mailbox;

	/* Own. */
	struct log log;
	struct chain_metrics metrics;
	struct pg *pg;
	struct node *node;
	struct journal journal;
	struct mail_view view;
	char loaded_fence[96]; /* what the sets below were loaded under */
	struct cache *flagged; /* asset id -> 1: non-conserving */
	struct check_item *items;
	size_t item_count, in_flight;
	struct give_way way;
	struct check_result results[CHECK_RESULTS_MAX];
	size_t result_count;
	int64_t flush_ms;

	struct doubt *doubts; /* ring */
	size_t doubt_first, doubt_count;
	struct doubt current; /* incident that waits for a block to be read again; incident 0: none */
	size_t open_incidents;

	int64_t sweep_account;
	int32_t sweep_asset;
	struct ledger_touch *sweep; /* rows read ahead */
	size_t sweep_next, sweep_count;
	int64_t sweep_ms;
	double sweep_budget;
	int64_t answered_height; /* the newest block at which an endpoint told a balance: it has that state */
	bool sweep_hurry; /* an operator asked for all: as fast as the endpoints allow, once around */
	int64_t opening_ms, opening_wait_ms; /* when openings that nobody could tell are asked for again, and how long it is between */
	int64_t opening_account;             /* from here on */
	int32_t opening_asset;
	int64_t incident_ms; /* when open incidents were last looked at again */
	size_t incident_turn; /* so many come after those of now, the oldest first */
	struct backoff backoff;
	bool failing;
};

int check_open(struct check *, struct error *);
void check_close(struct check *);
void check_turn(struct check *);

/* -- parts ------------------------------------------------------------------------------------------------------------------ */

/* A fenced transaction of the checker: statements and journal_add between the two. */
int check_begin(struct check *, struct error *);
int check_commit(struct check *, struct error *);
void check_abort(struct check *);
/* Does a refused answer mean zero? So it is for a token that has one owner at most, where the endpoint has the state. */
bool check_refusal_is_zero(const struct check *, const struct ledger_touch *);
void check_skip(struct check *, const char *reason, size_t n);
void check_store(struct check *, const struct ledger_touch *, struct u256 amount, bool observation);
int check_flush(struct check *, struct error *);
bool check_is_flagged(struct check *, int32_t asset_id);
/* Reads rows of balances (with account and asset) as touches at the watermark. sql must select the columns of CHECK_ROW. */
#define CHECK_ROW                                                                                                                 \
	"b.account, b.asset, b.amount, b.opening_known, a.address, s.standard, s.contract, s.token_id, s.non_conserving,"             \
	" c.watermark_height, c.watermark_hash from weir.balances b join weir.accounts a on a.id = b.account"                        \
	" join weir.assets s on s.id = b.asset join weir.chains c on c.id = b.chain"
size_t check_read_rows(const struct pg_result *, struct ledger_touch *ret, size_t max);

/* doubt.c */
void doubt_add(struct check *, const struct ledger_touch *, struct u256 observed, size_t endpoint);
int doubt_step(struct check *, struct error *);
int check_canonical(struct check *, int64_t height, uint8_t ret_hash[32], bool *ret_found, struct error *);
int doubt_load(struct check *, struct error *); /* incidents that were open when the process started */
/* question.c */
int question_step(struct check *, struct error *);
/* ask_again.c */
int openings_step(struct check *, struct error *);
int openings_ask(struct check *, const struct ledger_touch *, size_t n, size_t *ret_told, struct error *); /* n: up to OPENINGS_TOLD_MAX */
void openings_hurry(struct check *); /* all of them, from now on */

#endif
