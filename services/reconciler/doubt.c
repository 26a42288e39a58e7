/* doubt.c - a balance differs from the chain: confirm it, find the first wrong block, have that block read again, conclude.
 *
 * States of an incident: confirmed, healing, then closed, or open: reading the block again did not help, a person has to look. What is
 * confirmed or healing and not at hand (this process began, took the chain over, or got no answer) is taken up again.
 */
#include "check.h"

#include "incident.h"

#include "wire/hex.h"

#include <stdio.h>
#include <string.h>

#define CONFIRM_ASKS 3
#define CONFIRM_PAUSE_MS 150   /* a node that is making a block may answer from the next one's state for a moment */
#define HEAL_TIMEOUT_MS 15000
#define HEALS_MAX 3
#define REPLACED_TIMEOUT_MS 120000 /* to apply again what was taken back, and for a node to tell the balance */
#define REPLACEMENTS_MAX 2     /* a block that was replaced so often and still gives a wrong balance is not replaced again */
#define LOOK_AGAIN_MS 60000    /* open incidents are compared again so often */
#define LOOK_AGAIN_MAX 16
#define EVIDENCE_MAX 8192
#define REPLACED_IN_VAIN "its block was replaced and the balance is still wrong"

void doubt_add(struct check *c, const struct ledger_touch *touch, struct u256 observed, size_t endpoint)
{
	if (c->doubt_count == CHECK_DOUBTS_MAX) {
		check_skip(c, "queue_full", 1); /* the sweep meets it again */
		return;
	}
	c->doubts[(c->doubt_first + c->doubt_count++) % CHECK_DOUBTS_MAX] = (struct doubt){ .touch = *touch, .observed = observed, .endpoint = endpoint };
}

/* ---- what the ledger says ------------------------------------------------------------------------------------------------------------------ */

static int ledger_balance_at(struct check *c, const struct ledger_touch *touch, int64_t height, struct i256 *ret, struct error *err)
{
	struct pg_param p[4];
	struct pg_result *r = NULL;
	pg_i64(&p[0], touch->account_id);
	pg_i32(&p[1], touch->asset_id);
	pg_i64(&p[2], height);
	pg_i32(&p[3], c->view.chain_id);
	int code = pg_prepared(c->pg, "balance_at",
			       "select balance from weir.entries where account = $1 and asset = $2 and height <= $3 and not superseded and chain = $4"
			       " order by height desc, ordinal desc limit 1",
			       p, 4, &r, err);
	*ret = (struct i256){ { 0 } };
	if (!code && pg_rows(r) > 0 && pg_get_numeric(r, 0, 0, ret))
		code = error_set(err, WEIR_INTERNAL, "a balance in the ledger is not a whole number");
	pg_result_free(&r);
	return code;
}

int check_canonical(struct check *c, int64_t height, uint8_t ret[32], bool *ret_found, struct error *err)
{
	struct pg_param p[2];
	struct pg_result *r = NULL;
	pg_i32(&p[0], c->view.chain_id);
	pg_i64(&p[1], height);
	int code = pg_prepared(c->pg, "canonical", "select hash from weir.blocks where chain = $1 and height = $2 and canonical", p, 2, &r, err);
	*ret_found = !code && pg_rows(r) == 1 && pg_get_bytes(r, 0, 0).size == 32;
	if (*ret_found)
		memcpy(ret, pg_get_bytes(r, 0, 0).data, 32);
	pg_result_free(&r);
	return code;
}

/* ---- confirming ------------------------------------------------------------------------------------------------------------------------------ */

static bool equals(struct i256 ledger, struct u256 chain)
{
	return !i256_is_negative(ledger) && u256_cmp(i256_abs(ledger), chain) == 0;
}

enum verdict { VERDICT_EQUAL, VERDICT_DIFFERENT, VERDICT_UNKNOWN };

/* Asks again, elsewhere if there is an elsewhere: only an answer given twice in a row counts against the ledger. */
static enum verdict confirm(struct check *c, struct doubt *d)
{
	const struct bytes account = { d->touch.account, d->touch.account_size };
	uint64_t exclude = node_endpoints(c->node) > 1 ? UINT64_C(1) << d->endpoint : 0;
	struct u256 last = d->observed;
	unsigned repeated = 0;
	for (int i = 0; i < CONFIRM_ASKS; i++) {
		struct u256 amount;
		size_t endpoint;
		int code = node_balance(c->node, account, &d->touch.asset, (uint64_t)d->touch.height, d->touch.hash, exclude, &amount, &endpoint, NULL);
		if (code == WEIR_NOT_FOUND && check_refusal_is_zero(c, &d->touch))
			amount = u256_from_u64(0);
		else if (code == WEIR_NOT_FOUND && exclude) { /* no other endpoint has the state: the one that has is asked twice more */
			exclude = 0;
			continue;
		} else if (code)
			return VERDICT_UNKNOWN;
		if (equals(d->touch.amount, amount))
			return VERDICT_EQUAL;
		repeated = u256_cmp(amount, last) == 0 ? repeated + 1 : 0;
		last = amount;
		if (repeated >= 2)
			break;
		for (int64_t until = clock_mono_ms() + CONFIRM_PAUSE_MS; clock_mono_ms() < until;)
			node_poll(c->node, 20, -1);
	}
	d->observed = last;
	return repeated >= 2 ? VERDICT_DIFFERENT : VERDICT_UNKNOWN;
}

/* Who told a balance that the ledger and another endpoint contradict, and tells it again, lies: the others are asked for a while. A node that
 * was making a block at that moment tells the right one now. */
static void blame(struct check *c, const struct doubt *d)
{
	const struct bytes account = { d->touch.account, d->touch.account_size };
	uint64_t others = ~(UINT64_C(1) << d->endpoint);
	struct u256 amount;
	size_t endpoint;
	if (node_endpoints(c->node) > 1 &&
	    node_balance(c->node, account, &d->touch.asset, (uint64_t)d->touch.height, d->touch.hash, others, &amount, &endpoint, NULL) == 0 &&
	    endpoint == d->endpoint && !equals(d->touch.amount, amount))
		endpoints_note_lie(c->endpoints, endpoint, "it tells another balance than the ledger and another endpoint");
}

/* Does the doubt still speak about the ledger as it is? A reorg may have passed. */
static int still_stands(struct check *c, struct doubt *d, bool *ret, struct error *err)
{
	uint8_t hash[32];
	struct i256 ours;
	int code = check_canonical(c, d->touch.height, hash, ret, err);
	if (!code && *ret && memcmp(hash, d->touch.hash, 32) != 0)
		*ret = false;
	if (!code && *ret) {
		code = ledger_balance_at(c, &d->touch, d->touch.height, &ours, err);
		if (!code && i256_cmp(ours, d->touch.amount) != 0)
			*ret = false;
	}
	return code;
}

/* ---- evidence ---------------------------------------------------------------------------------------------------------------------------------- */

static void put_hex(struct buf *out, const uint8_t *data, size_t size)
{
	char text[2 * 32 + 3];
	hex_from_bytes(data, size < 32 ? size : 32, text);
	buf_printf(out, "\"%s\"", text);
}

static int put_transactions(struct check *c, struct buf *out, int64_t height, struct error *err)
{
	struct pg_param p[2];
	struct pg_result *r = NULL;
	pg_i32(&p[0], c->view.chain_id);
	pg_i64(&p[1], height);
	int code = pg_query(c->pg,
			    "select t.hash from weir.transactions t join weir.blocks b using (chain, height, branch)"
			    " where t.chain = $1 and t.height = $2 and b.canonical order by t.tx_index limit 20",
			    p, 2, &r, err);
	buf_add_str(out, ", \"transactions\": [");
	for (size_t i = 0; !code && i < pg_rows(r); i++) {
		if (i > 0)
			buf_add_str(out, ", ");
		put_hex(out, pg_get_bytes(r, i, 0).data, pg_get_bytes(r, i, 0).size);
	}
	buf_add_str(out, "]");
	pg_result_free(&r);
	return code;
}

/* Could the traces of the block be had? Without them value moved by contracts is not in the ledger. */
static int has_traces(struct check *c, int64_t height, bool *ret, struct error *err)
{
	struct pg_param p[2];
	struct pg_result *r = NULL;
	pg_i32(&p[0], c->view.chain_id);
	pg_i64(&p[1], height);
	int code = pg_query(c->pg,
			    "select (k.passed >> 10) & 1 from weir.certificates k join weir.blocks b using (chain, height, branch)"
			    " where k.chain = $1 and k.height = $2 and b.canonical",
			    p, 2, &r, err);
	*ret = !code && pg_rows(r) == 1 && pg_get_i64(r, 0, 0) == 1;
	pg_result_free(&r);
	return code;
}

static int write_evidence(struct check *c, const struct doubt *d, struct buf *out, struct error *err)
{
	char ledger[I256_DEC_MAX], chain[U256_DEC_MAX];
	i256_to_dec(d->touch.amount, ledger);
	u256_to_dec(d->observed, chain);
	buf_printf(out, "{\"account\": ");
	put_hex(out, d->touch.account, d->touch.account_size);
	buf_printf(out, ", \"asset\": \"");
	c->chain->family->asset_print(c->chain, &d->touch.asset, out);
	buf_printf(out, "\", \"height\": %lld, \"hash\": ", (long long)d->touch.height);
	put_hex(out, d->touch.hash, 32);
	buf_printf(out, ", \"ledger\": \"%s\", \"chain\": \"%s\"", ledger, chain);
	int code = 0;
	if (d->first_wrong >= 0) {
		bool traces = false;
		buf_printf(out, ", \"first_wrong_height\": %lld, \"first_wrong_hash\": ", (long long)d->first_wrong);
		put_hex(out, d->first_wrong_hash, 32);
		buf_printf(out, ", \"replacements\": %u", d->replacements);
		code = put_transactions(c, out, d->first_wrong, err);
		if (!code)
			code = has_traces(c, d->first_wrong, &traces, err);
		if (!traces)
			buf_add_str(out, ", \"traces\": \"none: value moved inside contracts is unknown\"");
	}
	buf_add_str(out, "}");
	return code;
}

static void summary_of(struct check *c, const struct doubt *d, char ret[300])
{
	struct buf account = BUF_INIT(128), asset = BUF_INIT(256);
	char ledger[I256_DEC_MAX], chain[U256_DEC_MAX];
	i256_to_dec(d->touch.amount, ledger);
	u256_to_dec(d->observed, chain);
	c->chain->family->account_print(c->chain, (struct bytes){ d->touch.account, d->touch.account_size }, &account);
	c->chain->family->asset_print(c->chain, &d->touch.asset, &asset);
	snprintf(ret, 300, "%.70s of %.70s at block %lld: ledger %.40s, chain %.40s", buf_str(&asset), buf_str(&account), (long long)d->touch.height,
		 ledger, chain);
	buf_free(&account);
	buf_free(&asset);
}

/* ---- states of an incident ------------------------------------------------------------------------------------------------------------------------ */

static int count_open(struct check *c, struct error *err)
{
	struct pg_param p;
	struct pg_result *r = NULL;
	int code = pg_query(c->pg, "select count(*) from weir.incidents where chain = $1 and closed_at is null", pg_i32(&p, c->view.chain_id), 1, &r, err);
	if (!code)
		metric_set(c->metrics.incidents, (double)(c->open_incidents = (size_t)pg_get_i64(r, 0, 0)));
	pg_result_free(&r);
	return code;
}

/* The incident about this balance that is not closed, 0 if there is none. *ret_concluded: nothing more can be done about it here (a token is flagged
 * in the end). */
static int find_open(struct check *c, const struct ledger_touch *touch, int64_t *ret, bool *ret_concluded, struct error *err)
{
	struct pg_param p[3];
	struct pg_result *r = NULL;
	pg_i32(&p[0], c->view.chain_id);
	pg_i64(&p[1], touch->account_id);
	pg_i32(&p[2], touch->asset_id);
	int code = pg_query(c->pg, "select id, state = 'open' from weir.incidents where chain = $1 and closed_at is null and account = $2 and asset = $3 limit 1",
			    p, 3, &r, err);
	bool found = !code && pg_rows(r) > 0;
	*ret = found ? pg_get_i64(r, 0, 0) : 0;
	*ret_concluded = found && touch->asset.contract_size == 0 && pg_get_bool(r, 0, 1);
	pg_result_free(&r);
	return code;
}

static int open_incident(struct check *c, struct doubt *d, struct error *err)
{
	struct buf evidence = BUF_INIT(EVIDENCE_MAX);
	char summary[300];
	struct i256 observed;
	bool fits = i256_from_u256_checked(d->observed, false, &observed);
	summary_of(c, d, summary);
	int code = write_evidence(c, d, &evidence, err);
	const struct incident_facts facts = { .kind = "mismatch",
					      .account_id = d->touch.account_id,
					      .asset_id = d->touch.asset_id,
					      .height = d->touch.height,
					      .expected = &d->touch.amount,
					      .observed = fits ? &observed : NULL,
					      .evidence = buf_str(&evidence),
					      .summary = summary };
	if (!code)
		code = check_begin(c, err);
	if (!code) {
		code = incident_insert(c->pg, &c->journal, c->view.chain_id, &facts, &d->incident, err);
		if (!code)
			code = check_commit(c, err);
		if (code)
			check_abort(c);
	}
	buf_free(&evidence);
	if (!code) {
		metric_inc(c->metrics.mismatches);
		log_warn(&c->log, "mismatch", summary, LOG_I("incident", d->incident));
		code = count_open(c, err);
	}
	return code;
}

static bool is_native(const struct doubt *d)
{
	return d->touch.asset.contract_size == 0;
}

/* The native asset cannot be flagged as one that lies: a difference that stays needs somebody to look. */
static void alert(struct check *c, const struct doubt *d, enum alert_state state, const char *why)
{
	char key[96], summary[300];
	summary_of(c, d, summary);
	snprintf(key, sizeof key, "mismatch %s %lld", c->chain->name, (long long)d->incident);
	if (state == ALERT_FIRING)
		alert_raise(c->ctx, key, state, "mismatch", "chain %s: %s; %s (incident %lld)", c->chain->name, summary, why, (long long)d->incident);
	else
		alert_raise(c->ctx, key, state, "mismatch", "chain %s: the difference of incident %lld is gone", c->chain->name,
			    (long long)d->incident);
}

static int change_incident(struct check *c, const struct doubt *d, const char *state, const char *resolution, struct error *err)
{
	struct buf evidence = BUF_INIT(EVIDENCE_MAX);
	char summary[300];
	summary_of(c, d, summary);
	int code = write_evidence(c, d, &evidence, err);
	if (!code)
		code = check_begin(c, err);
	if (!code) {
		code = incident_update(c->pg, &c->journal, d->incident, state, resolution, d->first_wrong, buf_str(&evidence), summary, err);
		if (!code)
			code = check_commit(c, err);
		if (code)
			check_abort(c);
	}
	buf_free(&evidence);
	if (!code) {
		log_info(&c->log, "incident", summary, LOG_I("incident", d->incident), LOG_S("state", state),
			 LOG_S("resolution", resolution ? resolution : ""));
		if (resolution && is_native(d))
			alert(c, d, ALERT_RESOLVED, NULL);
		code = count_open(c, err);
	}
	return code;
}

/* ---- bisecting --------------------------------------------------------------------------------------------------------------------------------------- */

/* Before the ledger's first block. */
static int64_t opening_height(const struct check *c)
{
	return c->view.start > 0 ? c->view.start - 1 : 0;
}

/* Where ledger and chain were last found equal. */
static int known_good(struct check *c, const struct doubt *d, int64_t *ret, struct error *err)
{
	struct pg_param p[2];
	struct pg_result *r = NULL;
	pg_i64(&p[0], d->touch.account_id);
	pg_i32(&p[1], d->touch.asset_id);
	int code = pg_query(c->pg, "select reconciled_height from weir.balances where account = $1 and asset = $2", p, 2, &r, err);
	int64_t opening = opening_height(c);
	bool found = !code && pg_rows(r) == 1;
	*ret = found && !pg_is_null(r, 0, 0) ? pg_get_i64(r, 0, 0) : opening;
	if (*ret >= d->touch.height || *ret < opening)
		*ret = opening;
	pg_result_free(&r);
	return code;
}

enum told { TOLD, NO_STATE, NOBODY };

/* What the chain said then. A token whose contract was not there had no holders, and one that has one owner at most and names none has none: in
 * both cases the contract's code tells that the state itself is there. */
static enum told chain_balance_at(struct check *c, const struct doubt *d, int64_t height, const uint8_t hash[32], struct u256 *ret)
{
	const struct chain_asset *asset = &d->touch.asset;
	size_t endpoint;
	bool code_there = false;
	int code = node_balance(c->node, (struct bytes){ d->touch.account, d->touch.account_size }, asset, (uint64_t)height, hash, 0, ret, &endpoint, NULL);
	if (code != WEIR_NOT_FOUND || asset->contract_size == 0)
		return code == WEIR_NOT_FOUND ? NO_STATE : code ? NOBODY : TOLD;
	code = node_has_code(c->node, (struct bytes){ asset->contract, asset->contract_size }, (uint64_t)height, hash, &code_there, NULL);
	if (code || (code_there && asset->standard != WEIR__V1__TOKEN_STANDARD__TOKEN_STANDARD_ERC721))
		return code && code != WEIR_NOT_FOUND ? NOBODY : NO_STATE;
	*ret = u256_from_u64(0);
	return TOLD;
}

/* The first block above searched_from after which ledger and chain differ, searched where endpoints have the state: that of the past may be gone.
 * first_wrong -1: it began before that, or nobody answers. */
static int bisect(struct check *c, struct doubt *d, struct error *err)
{
	int64_t good = d->searched_from, bad = d->touch.height;
	bool compared = true; /* at `good`, or nobody doubts it */
	int code = 0;
	d->first_wrong = -1;
	memcpy(d->first_wrong_hash, d->touch.hash, 32);
	while (!code && bad - good > 1) {
		int64_t middle = good + (bad - good) / 2;
		struct u256 theirs;
		struct i256 ours;
		uint8_t hash[32];
		bool found = false;
		code = check_canonical(c, middle, hash, &found, err);
		if (!code)
			code = ledger_balance_at(c, &d->touch, middle, &ours, err);
		if (code)
			return code;
		enum told told = found ? chain_balance_at(c, d, middle, hash, &theirs) : NOBODY;
		if (told == NOBODY)
			return 0;
		if (told == TOLD && !equals(ours, theirs)) {
			bad = middle;
			memcpy(d->first_wrong_hash, hash, 32);
		} else {
			good = middle;
			compared = told == TOLD;
		}
	}
	if (!code && compared)
		d->first_wrong = bad;
	return code;
}

/* ---- conclusions ------------------------------------------------------------------------------------------------------------------------------------- */

static int flag_rows(struct check *c, const struct doubt *d, const char *evidence, struct error *err)
{
	struct pg_param p[2];
	pg_i32(&p[0], d->touch.asset_id);
	pg_text(&p[1], evidence);
	return pg_query(c->pg,
			"update weir.assets set non_conserving = true, non_conserving_since = coalesce(non_conserving_since, now()),"
			" evidence = coalesce(evidence, $2::jsonb) where id = $1",
			p, 2, NULL, err);
}

static int close_others(struct check *c, const struct doubt *d, struct error *err)
{
	struct pg_param p[3];
	pg_i32(&p[0], c->view.chain_id);
	pg_i32(&p[1], d->touch.asset_id);
	pg_i64(&p[2], d->incident);
	return pg_query(c->pg,
			"update weir.incidents set state = 'closed', resolution = 'non_conserving', closed_at = now(), updated_at = now()"
			" where chain = $1 and asset = $2 and closed_at is null and id <> $3",
			p, 3, NULL, err);
}

static void journal_flag(struct check *c, const struct doubt *d)
{
	Weir__V1__LedgerEvent event;
	Weir__V1__AssetFlagged flagged;
	Weir__V1__Asset asset;
	uint8_t contract[32], token[32];
	weir__v1__ledger_event__init(&event);
	weir__v1__asset_flagged__init(&flagged);
	weir__v1__asset__init(&asset);
	memcpy(contract, d->touch.asset.contract, sizeof contract);
	asset.standard = (Weir__V1__TokenStandard)d->touch.asset.standard;
	asset.contract = (ProtobufCBinaryData){ d->touch.asset.contract_size, contract };
	asset.has_token_id = d->touch.asset.has_token_id;
	asset.token_id = (ProtobufCBinaryData){ u256_to_be_min(d->touch.asset.token_id, token), token };
	flagged.asset = &asset;
	flagged.non_conserving = true;
	event.event_case = WEIR__V1__LEDGER_EVENT__EVENT_ASSET_FLAGGED;
	event.asset_flagged = &flagged;
	journal_add(&c->journal, &event, NULL, d->touch.height, 0);
}

/* The block was read twice and says the same: the token's books do not follow its logs. */
static int flag_asset(struct check *c, const struct doubt *d, struct error *err)
{
	struct buf evidence = BUF_INIT(EVIDENCE_MAX);
	char summary[300];
	const uint8_t yes = 1;
	const int64_t key = d->touch.asset_id;
	summary_of(c, d, summary);
	int code = write_evidence(c, d, &evidence, err);
	if (!code)
		code = check_begin(c, err);
	if (!code) {
		code = flag_rows(c, d, buf_str(&evidence), err);
		if (!code)
			code = incident_update(c->pg, &c->journal, d->incident, "closed", "non_conserving", d->first_wrong, buf_str(&evidence), summary,
					       err);
		if (!code)
			code = close_others(c, d, err);
		journal_flag(c, d);
		if (!code)
			code = check_commit(c, err);
		if (code)
			check_abort(c);
	}
	buf_free(&evidence);
	if (code)
		return code;
	cache_put(c->flagged, &key, &yes);
	log_warn(&c->log, "asset_flagged", "a token's balances do not follow its logs; they are served as the chain says", LOG_S("evidence", summary));
	check_store(c, &d->touch, d->observed, true);
	return count_open(c, err);
}

/* Reading the block again does not help. */
static int conclude_wrong(struct check *c, const char *why, struct error *err)
{
	struct doubt *d = &c->current;
	int code;
	if (is_native(d)) {
		code = change_incident(c, d, "open", NULL, err);
		if (!code)
			alert(c, d, ALERT_FIRING, why);
	} else {
		code = flag_asset(c, d, err);
	}
	if (!code)
		d->incident = 0;
	return code;
}

static void want_heal(struct check *c)
{
	struct doubt *d = &c->current;
	mailbox_want_heal(c->mailbox, d->first_wrong, d->first_wrong_hash);
	d->heal_until_ms = clock_mono_ms() + HEAL_TIMEOUT_MS;
}

/* The block was replaced in vain. Whoever takes the incident up goes on counting: not each instance replaces it anew. */
static int note_replaced(struct check *c, struct error *err)
{
	struct doubt *d = &c->current;
	d->replacements++;
	int code = change_incident(c, d, "healing", NULL, err);
	if (code)
		d->replacements--;
	return code;
}

/* How often was the incident's first wrong block, if it is this one, replaced in vain? */
static int load_replacements(struct check *c, struct doubt *d, struct error *err)
{
	struct pg_param p[2];
	struct pg_result *r = NULL;
	char hash[67];
	hex_from_bytes(d->first_wrong_hash, 32, hash);
	pg_i64(&p[0], d->incident);
	pg_text(&p[1], hash);
	int code = pg_query(c->pg,
			    "select coalesce((evidence->>'replacements')::int, 0) from weir.incidents where id = $1 and evidence->>'first_wrong_hash' = $2",
			    p, 2, &r, err);
	d->replacements = !code && pg_rows(r) == 1 ? (unsigned)pg_get_i64(r, 0, 0) : 0;
	pg_result_free(&r);
	return code;
}

/* After the block was replaced and applied again: is the balance right now? */
static int conclude_replaced(struct check *c, struct error *err)
{
	struct doubt *d = &c->current;
	struct i256 ours;
	struct u256 theirs;
	uint8_t hash[32];
	size_t endpoint;
	bool found = false;
	if (c->view.watermark < d->first_wrong) /* not applied again yet */
		return 0;
	int code = check_canonical(c, d->first_wrong, hash, &found, err);
	if (code || !found) /* taken back a moment ago: the view is older */
		return code;
	code = ledger_balance_at(c, &d->touch, d->first_wrong, &ours, err);
	if (code)
		return code;
	if (node_balance(c->node, (struct bytes){ d->touch.account, d->touch.account_size }, &d->touch.asset, (uint64_t)d->first_wrong, hash, 0,
				  &theirs, &endpoint, NULL))
		return 0; /* no answer now */
	if (equals(ours, theirs)) {
		code = change_incident(c, d, "closed", "healed", err);
		if (!code)
			d->incident = 0;
		return code;
	}
	code = note_replaced(c, err);
	if (code)
		return code;
	if (d->replacements >= REPLACEMENTS_MAX)
		return conclude_wrong(c, REPLACED_IN_VAIN, err);
	d->heals = 0;
	want_heal(c);
	return 0;
}

/* The block was read again and says the same. If it was not replaced before, was the search misled, since the ledger is wrong below what was once found right (a row that was changed by
 * hand, a disk that lied)? Then it goes over the whole ledger, once. */
static int conclude_same(struct check *c, struct error *err)
{
	struct doubt *d = &c->current, deeper = *d;
	int code = 0;
	deeper.searched_from = opening_height(c);
	deeper.heals = 0;
	if (d->replacements == 0 && deeper.searched_from < d->searched_from)
		code = bisect(c, &deeper, err);
	d->searched_from = deeper.searched_from;
	if (code)
		return code;
	if (deeper.first_wrong < 0 || deeper.first_wrong >= d->first_wrong)
		return conclude_wrong(c, "its block was read again and says the same", err);
	code = load_replacements(c, &deeper, err);
	if (!code)
		code = change_incident(c, &deeper, "healing", NULL, err);
	if (code)
		return code;
	*d = deeper;
	log_warn(&c->log, "searched_deeper", "the ledger is wrong below the height at which it was last found right", LOG_I("incident", d->incident),
		 LOG_I("height", d->first_wrong));
	if (d->replacements >= REPLACEMENTS_MAX)
		return conclude_wrong(c, REPLACED_IN_VAIN, err);
	want_heal(c);
	return 0;
}

static int wait_for_heal(struct check *c, struct error *err)
{
	struct mail_heal heal;
	struct doubt *d = &c->current;
	int code = 0;
	mailbox_heal(c->mailbox, &heal);
	if (heal.state == HEAL_SAME) {
		code = conclude_same(c, err);
	} else if (heal.state == HEAL_REPLACED && clock_mono_ms() < d->heal_until_ms + REPLACED_TIMEOUT_MS) {
		code = conclude_replaced(c, err);
	} else if (heal.state == HEAL_REPLACED) {
		code = note_replaced(c, err);
		if (!code)
			d->incident = 0; /* nobody can tell now: it stays "healing", and is taken up again */
	} else if (heal.state == HEAL_GONE) {
		code = change_incident(c, d, "closed", "superseded", err);
		if (!code)
			d->incident = 0;
	} else if (clock_mono_ms() > d->heal_until_ms) {
		if (++d->heals < HEALS_MAX) {
			want_heal(c);
			return 0;
		}
		if (is_native(d))
			alert(c, d, ALERT_FIRING, "its block could not be read again so far: weir goes on trying");
		d->incident = 0; /* it stays "healing", and is taken up again */
	}
	if (!code && !d->incident)
		mailbox_heal_done(c->mailbox);
	return code;
}

/* ---- one doubt ------------------------------------------------------------------------------------------------------------------------------------------ */

/* The difference is real: from here on it is an incident. */
static int pursue(struct check *c, struct doubt *d, struct error *err)
{
	int64_t open = 0;
	bool concluded = false;
	int code = find_open(c, &d->touch, &open, &concluded, err);
	d->first_wrong = -1;
	d->incident = open;
	if (!code && !open)
		code = open_incident(c, d, err);
	if (!code)
		code = known_good(c, d, &d->searched_from, err);
	if (!code)
		code = bisect(c, d, err);
	if (!code && d->first_wrong < 0) {
		/* No node can tell where it began: the block at which it was seen is the best there is. */
		d->first_wrong = d->touch.height;
		memcpy(d->first_wrong_hash, d->touch.hash, 32);
	}
	if (!code)
		code = load_replacements(c, d, err);
	if (!code)
		code = change_incident(c, d, "healing", NULL, err);
	if (code)
		return code;
	c->current = *d;
	c->current.heals = 0;
	if (d->replacements >= REPLACEMENTS_MAX)
		return conclude_wrong(c, REPLACED_IN_VAIN, err);
	want_heal(c);
	return 0;
}

static int consider(struct check *c, struct doubt *d, struct error *err)
{
	bool stands = false;
	if (check_is_flagged(c, d->touch.asset_id)) {
		check_store(c, &d->touch, d->observed, true);
		return 0;
	}
	int code = still_stands(c, d, &stands, err);
	if (code)
		return code;
	enum verdict verdict = stands ? confirm(c, d) : VERDICT_UNKNOWN;
	if (stands && verdict == VERDICT_DIFFERENT)
		code = still_stands(c, d, &stands, err); /* asking took a while */
	if (code)
		return code;
	if (!stands) {
		check_skip(c, "superseded", 1);
		return 0;
	}
	if (verdict == VERDICT_EQUAL) {
		check_store(c, &d->touch, i256_abs(d->touch.amount), false);
		blame(c, d);
	}
	if (verdict == VERDICT_UNKNOWN)
		check_skip(c, "unstable", 1);
	return verdict == VERDICT_DIFFERENT ? pursue(c, d, err) : 0;
}

/* Incidents that are not closed are compared again from time to time: what was wrong may be right now, and what was unfinished goes on. Some each time, in
 * turn: those that wait for a person keep no other one from it. */
static int look_again(struct check *c, struct error *err)
{
	struct pg_param p[3];
	struct pg_result *r = NULL;
	struct ledger_touch touches[LOOK_AGAIN_MAX];
	pg_i32(&p[0], c->view.chain_id);
	pg_i64(&p[1], (int64_t)c->incident_turn);
	pg_i32(&p[2], LOOK_AGAIN_MAX);
	int code = pg_query(c->pg,
			    "select " CHECK_ROW " join weir.incidents i on i.account = b.account and i.asset = b.asset"
			    " where i.chain = $1 and b.chain = $1 and i.closed_at is null and c.watermark_hash is not null order by i.id offset $2 limit $3",
			    p, 3, &r, err);
	size_t n = code ? 0 : check_read_rows(r, touches, LOOK_AGAIN_MAX);
	if (!code)
		c->incident_turn = pg_rows(r) < LOOK_AGAIN_MAX ? 0 : c->incident_turn + LOOK_AGAIN_MAX;
	pg_result_free(&r);
	for (size_t i = 0; !code && i < n; i++) {
		struct doubt d = { .touch = touches[i], .first_wrong = -1 };
		size_t endpoint;
		bool concluded = false;
		if (node_balance(c->node, (struct bytes){ d.touch.account, d.touch.account_size }, &d.touch.asset, (uint64_t)d.touch.height, d.touch.hash,
				 0, &d.observed, &endpoint, NULL))
			continue;
		code = find_open(c, &d.touch, &d.incident, &concluded, err);
		d.endpoint = endpoint;
		if (!code && d.incident && equals(d.touch.amount, d.observed))
			code = change_incident(c, &d, "closed", "healed", err);
		else if (!code && concluded) /* whoever concluded it may have ended before anybody heard */
			alert(c, &d, ALERT_FIRING, "reading its block again did not help");
		else if (!code)
			doubt_add(c, &d.touch, d.observed, endpoint);
	}
	return code;
}

int doubt_load(struct check *c, struct error *err)
{
	c->current.incident = 0;
	c->doubt_count = 0;
	c->incident_ms = 0;
	mailbox_heal_done(c->mailbox);
	return count_open(c, err);
}

int doubt_step(struct check *c, struct error *err)
{
	if (c->current.incident)
		return wait_for_heal(c, err);
	int64_t now = clock_mono_ms();
	if (c->open_incidents > 0 && now - c->incident_ms >= LOOK_AGAIN_MS && c->view.watermark + LEDGER_TIP_DISTANCE >= c->view.head) {
		c->incident_ms = now;
		int code = look_again(c, err);
		if (code)
			return code;
	}
	if (c->doubt_count == 0)
		return 0;
	struct doubt *d = &c->doubts[c->doubt_first];
	int64_t open = 0;
	bool concluded = false;
	int code = find_open(c, &d->touch, &open, &concluded, err);
	if (!code && concluded)
		check_skip(c, "incident_open", 1);
	else if (!code)
		code = consider(c, d, err);
	if (!code) {
		c->doubt_first = (c->doubt_first + 1) % CHECK_DOUBTS_MAX;
		c->doubt_count--;
	}
	return code;
}
