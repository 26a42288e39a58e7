/* node.c - asking nodes. Questions and answers belong to the chain family, transport and failover to lib/net. */
#include "node.h"

#include "base/clock.h"
#include "wire/hex.h"

#include <string.h>

#define ARENA_MAX ((size_t)64 << 20)
#define BALANCE_TIMEOUT_MS 15000
#define SECOND_TIMEOUT_MS 2000 /* the ledger does not stand still for an endpoint that cannot answer now … */
#define SECOND_PAUSE_MS 10000  /* … and does not ask it for its word again at once */
#define DISPUTE_MAX_MS 20000 /* so long the ledger waits for the checker to find out which of two endpoints lies about openings */

struct node {
	struct node_options options;
	const struct chain *chain;
	struct rpc *rpc;
	struct arena *arena; /* of the question at hand */
	struct cache *had_code; /* contract -> did it exist before the ledger's first block? */
	int64_t alone_until_ms; /* nobody else answers: one endpoint's word about openings counts until then */
	int64_t disputed_ms; /* since when endpoints tell different openings; 0: they don't */
	struct chain_call identify[2];
	struct arena *identify_arena;
};

struct contract_key {
	uint8_t size, bytes[32];
};
enum had_code { CODE_NO, CODE_YES, CODE_MAYBE /* no endpoint has that state */, CODE_ASKED, CODE_UNKNOWN /* nobody answered */ };

static int classify(void *arg, int64_t rpc_code, const char *message)
{
	const struct node *node = arg;
	return node->chain->family->classify(node->chain, rpc_code, message);
}

static int wrong_genesis(const struct node *node, const uint8_t theirs[32], struct error *err)
{
	char ours_text[67], theirs_text[67];
	hex_from_bytes(node->options.identity->genesis_hash, 32, ours_text);
	hex_from_bytes(theirs, 32, theirs_text);
	return error_set(err, WEIR_WRONG_CHAIN, "its genesis block is %s, the ledger's is %s", theirs_text, ours_text);
}

static int identify(void *arg, size_t endpoint, const char *chain_id_result, const char *genesis_result, struct error *err)
{
	struct node *node = arg;
	const struct chain *chain = node->chain;
	struct arena *arena = arena_new((size_t)1 << 20);
	struct chain_answer answer = { 0 };
	struct chain_args args = { .height = 0 };
	(void)endpoint;
	int code = chain->family->answer(chain, CHAIN_ASK_CHAIN_ID, &args,
					 (struct bytes){ (const uint8_t *)chain_id_result, strlen(chain_id_result) }, arena, &answer, err);
	if (!code && answer.number != chain->chain_id)
		code = error_set(err, WEIR_WRONG_CHAIN, "chain id is %llu, not %llu", (unsigned long long)answer.number,
				 (unsigned long long)chain->chain_id);
	if (!code && node->options.identity->genesis_known && genesis_result) {
		code = chain->family->answer(chain, CHAIN_ASK_BY_HEIGHT, &args,
					     (struct bytes){ (const uint8_t *)genesis_result, strlen(genesis_result) }, arena, &answer, err);
		if (!code && answer.found && memcmp(answer.block.hash, node->options.identity->genesis_hash, 32) != 0)
			code = wrong_genesis(node, answer.block.hash, err);
	}
	arena_free(&arena);
	return code;
}

int node_open(const struct node_options *options, struct node **ret, struct error *err)
{
	struct node *node = xmalloc(sizeof *node);
	node->options = *options;
	node->chain = options->identity->chain;
	node->arena = arena_new(ARENA_MAX);
	node->identify_arena = arena_new((size_t)1 << 20);
	node->had_code = cache_new(16384, sizeof(struct contract_key), 1);
	struct chain_args args = { .height = 0 };
	const struct chain_family *family = node->chain->family;
	int code = family->question(node->chain, CHAIN_ASK_CHAIN_ID, &args, node->identify_arena, &node->identify[0], err);
	if (!code)
		code = family->question(node->chain, CHAIN_ASK_BY_HEIGHT, &args, node->identify_arena, &node->identify[1], err);
	struct rpc_options o = {
		.endpoints = options->endpoints,
		.log = options->log,
		.metrics = options->metrics,
		.classify = classify,
		.identify = identify,
		.identify_methods = { node->identify[0].method, node->identify[1].method },
		.identify_params = { node->identify[0].params, node->identify[1].params },
		.arg = node,
		.timeout_ms = options->request_timeout_ms,
	};
	if (!code)
		code = rpc_open(&o, &node->rpc, err);
	if (code) {
		node_close(&node);
		return code;
	}
	*ret = node;
	return 0;
}

void node_close(struct node **nodep)
{
	struct node *node = *nodep;
	if (!node)
		return;
	rpc_close(&node->rpc);
	arena_free(&node->arena);
	arena_free(&node->identify_arena);
	cache_free(&node->had_code);
	xfree(nodep);
}

int node_poll(struct node *node, int64_t timeout_ms, int wake_fd)
{
	return rpc_poll(node->rpc, timeout_ms, wake_fd);
}

struct rpc *node_rpc(struct node *node)
{
	return node->rpc;
}

size_t node_endpoints(const struct node *node)
{
	return endpoints_count(node->options.endpoints);
}

/* ---- blocks ------------------------------------------------------------------------------------------------------------------------ */

static int ask_block(struct node *node, enum chain_question question, const struct chain_args *args, uint64_t exclude, struct chain_answer *ret,
		     size_t *ret_endpoint, struct error *err)
{
	const struct chain_family *family = node->chain->family;
	struct chain_call call;
	struct bytes result;
	arena_reset(node->arena);
	*ret_endpoint = 0;
	int code = family->question(node->chain, question, args, node->arena, &call, err);
	if (code)
		return code;
	struct rpc_request request = { .method = call.method,
				       .params = call.params,
				       .role = ENDPOINT_HEAD,
				       .exclude = exclude,
				       .only = -1,
				       .timeout_ms = 10000,
				       .attempts = 3,
				       .tip = true };
	code = rpc_ask(node->rpc, &request, node->arena, &result, ret_endpoint, err);
	if (code == WEIR_NOT_FOUND) {
		*ret = (struct chain_answer){ .found = false };
		return 0;
	}
	if (code)
		return code;
	struct error why = { 0 };
	code = family->answer(node->chain, question, args, result, node->arena, ret, &why);
	if (!code && ret->found && !ret->block.proven)
		code = error_set(&why, WEIR_PROTOCOL, "the hash of block %llu does not follow from its header", (unsigned long long)ret->block.height);
	if (code) {
		endpoints_note_failure(node->options.endpoints, *ret_endpoint, code, why.text);
		error_set(err, code, "%s", why.text);
	}
	return code;
}

int node_block_at(struct node *node, uint64_t height, uint64_t exclude, bool *ret_found, struct chain_block_ref *ret, size_t *ret_endpoint,
		  struct error *err)
{
	struct chain_args args = { .height = height };
	int code = WEIR_PROTOCOL;
	/* Who answers what cannot be that block is passed over; when all do, that is the answer. */
	for (size_t asked = 0; code == WEIR_PROTOCOL && asked < node_endpoints(node); asked++) {
		struct chain_answer answer = { 0 };
		code = ask_block(node, CHAIN_ASK_BY_HEIGHT, &args, exclude, &answer, ret_endpoint, err);
		exclude |= UINT64_C(1) << *ret_endpoint;
		*ret_found = answer.found;
		*ret = answer.block;
	}
	return code;
}

int node_head(struct node *node, struct chain_block_ref *ret, struct error *err)
{
	struct chain_args args = { .height = 0 };
	struct chain_answer answer = { 0 };
	size_t endpoint;
	int code = ask_block(node, CHAIN_ASK_HEAD, &args, 0, &answer, &endpoint, err);
	if (!code && !answer.found)
		code = error_set(err, WEIR_NOT_FOUND, "the node has no head");
	*ret = answer.block;
	return code;
}

/* ---- balances ---------------------------------------------------------------------------------------------------------------------- */

struct balance_call {
	struct node *node;
	enum chain_question question;
	struct chain_args args;
	struct chain_asset asset;
	uint8_t account[32], hash[32];
	node_balance_fn *on_answer;
	void *arg;
};

/* Which failures mean "this cannot be known" rather than "nobody answered now". */
static int settle_code(int code)
{
	return code == WEIR_UNSUPPORTED || code == WEIR_LIMIT || code == WEIR_PROTOCOL || code == WEIR_INVALID ? WEIR_NOT_FOUND : code;
}

static void on_balance(const struct rpc_answer *answer, void *arg)
{
	struct balance_call *call = arg;
	const struct chain *chain = call->node->chain;
	struct node_balance balance = { .code = settle_code(answer->code), .endpoint = answer->endpoint };
	if (!answer->code) {
		struct arena *arena = arena_new((size_t)4 << 20);
		struct chain_answer meaning = { 0 };
		struct error why = { 0 };
		int code = chain->family->answer(chain, call->question, &call->args, answer->result, arena, &meaning, &why);
		if (code == WEIR_PROTOCOL)
			endpoints_note_failure(call->node->options.endpoints, answer->endpoint, code, why.text);
		balance.code = code ? settle_code(code) : meaning.found ? 0 : WEIR_NOT_FOUND;
		balance.amount = call->question == CHAIN_ASK_HAS_CODE ? u256_from_u64(meaning.number) : meaning.amount;
		arena_free(&arena);
	}
	node_balance_fn *on_answer = call->on_answer;
	void *caller = call->arg;
	free(call);
	on_answer(&balance, caller);
}

static int ask(struct node *node, enum chain_question question, struct bytes account, const struct chain_asset *asset, uint64_t height,
	       const uint8_t *hash, uint64_t exclude, int64_t timeout_ms, node_balance_fn *on_answer, void *arg)
{
	struct balance_call *call = xmalloc(sizeof *call);
	struct chain_call text;
	call->node = node;
	call->question = question;
	call->on_answer = on_answer;
	call->arg = arg;
	memcpy(call->account, account.data, account.size);
	if (hash)
		memcpy(call->hash, hash, 32);
	if (asset)
		call->asset = *asset;
	call->args = (struct chain_args){ .height = height,
					  .hash = hash ? call->hash : NULL,
					  .account = { call->account, account.size },
					  .asset = asset ? &call->asset : NULL };
	arena_reset(node->arena);
	int code = node->chain->family->question(node->chain, question, &call->args, node->arena, &text, NULL);
	if (!code) {
		struct rpc_request request = { .method = text.method,
					       .params = text.params,
					       .role = ENDPOINT_VERIFY,
					       .exclude = exclude,
					       .only = -1,
					       .timeout_ms = timeout_ms,
					       .attempts = 3,
					       .no_is_answer = true,
					       .on_done = on_balance,
					       .arg = call };
		code = rpc_call(node->rpc, &request);
	}
	if (code)
		free(call);
	return code;
}

int node_ask_balance(struct node *node, struct bytes account, const struct chain_asset *asset, uint64_t height, const uint8_t *hash,
		     uint64_t exclude, node_balance_fn *on_answer, void *arg)
{
	return ask(node, CHAIN_ASK_BALANCE, account, asset, height, hash, exclude, BALANCE_TIMEOUT_MS, on_answer, arg);
}

struct waited {
	struct node_balance balance;
	bool done;
};

/* Moves the calls on, and lets the owner of the thread do what cannot wait (renew its lease). */
static void wait_a_little(struct node *node)
{
	rpc_poll(node->rpc, 100, -1);
	if (node->options.on_wait)
		node->options.on_wait(node->options.on_wait_arg);
}

static void on_waited(const struct node_balance *balance, void *arg)
{
	struct waited *waited = arg;
	waited->balance = *balance;
	waited->done = true;
}

int node_balance(struct node *node, struct bytes account, const struct chain_asset *asset, uint64_t height, const uint8_t *hash, uint64_t exclude,
		 struct u256 *ret, size_t *ret_endpoint, struct error *err)
{
	struct waited waited = { .done = false };
	int code = node_ask_balance(node, account, asset, height, hash, exclude, on_waited, &waited);
	if (code)
		return error_set(err, code, "the question for a balance could not be asked");
	while (!waited.done) /* every call ends: with an answer, or when its time is over */
		wait_a_little(node);
	*ret = waited.balance.amount;
	*ret_endpoint = waited.balance.endpoint;
	return waited.balance.code ? error_set(err, waited.balance.code, "no endpoint tells the balance at block %llu", (unsigned long long)height) : 0;
}

int node_has_code(struct node *node, struct bytes contract, uint64_t height, const uint8_t *hash, bool *ret, struct error *err)
{
	struct waited waited = { .done = false };
	int code = ask(node, CHAIN_ASK_HAS_CODE, contract, NULL, height, hash, 0, BALANCE_TIMEOUT_MS, on_waited, &waited);
	if (code)
		return error_set(err, code, "the question for a contract's code could not be asked");
	while (!waited.done)
		wait_a_little(node);
	*ret = !u256_is_zero(waited.balance.amount);
	return waited.balance.code ? error_set(err, waited.balance.code, "no endpoint tells a contract's code at block %llu", (unsigned long long)height) : 0;
}

/* ---- openings ---------------------------------------------------------------------------------------------------------------------- */

/* Who told an opening. No block proves it, since it is from before the first one: it takes another endpoint's word, where there is another. */
struct opinion {
	bool asked, disputed;
	size_t endpoint;
};

struct opening_run {
	struct node *node;
	bool second; /* the others are asked about what was told */
	int failed; /* first retriable failure */
	size_t waiting, disputes, silent; /* silent: second questions that nobody answered */
};

struct opening_call {
	struct opening_run *run;
	struct opening *opening; /* or NULL: the question was for the contract's code */
	struct opinion *opinion;
	struct contract_key contract;
};

static struct contract_key contract_key(const struct chain_asset *asset)
{
	struct contract_key key;
	memset(&key, 0, sizeof key);
	key.size = asset->contract_size;
	memcpy(key.bytes, asset->contract, asset->contract_size);
	return key;
}

static void settle_opening(struct node *node, struct opening *opening, const struct node_balance *balance)
{
	struct contract_key key = contract_key(opening->asset);
	const uint8_t *had = cache_get(node->had_code, &key);
	opening->known = balance->code == 0 && i256_from_u256_checked(balance->amount, false, &opening->amount);
	/* The state was there and the contract refuses to name an owner: that token did not exist yet. */
	if (balance->code == WEIR_NOT_FOUND && opening->asset->standard == WEIR__V1__TOKEN_STANDARD__TOKEN_STANDARD_ERC721 && had && *had == CODE_YES)
		opening->known = true;
}

static void compare_opening(struct opening_run *run, struct opening *opening, struct opinion *opinion, const struct node_balance *balance)
{
	struct opening other = { .account = opening->account, .asset = opening->asset };
	if (balance->endpoint == opinion->endpoint) /* there is nobody else at present */
		return;
	settle_opening(run->node, &other, balance);
	if (other.known && !opening->known)
		*opening = other;
	opinion->disputed = other.known && i256_cmp(other.amount, opening->amount) != 0;
	run->disputes += opinion->disputed;
}

static void on_opening(const struct node_balance *balance, void *arg)
{
	struct opening_call *call = arg;
	struct opening_run *run = call->run;
	bool answered = !balance->code || balance->code == WEIR_NOT_FOUND;
	run->waiting--;
	if (!answered && !run->second)
		run->failed = balance->code;
	run->silent += !answered && run->second;
	if (answered && call->opening && run->second)
		compare_opening(run, call->opening, call->opinion, balance);
	if (answered && call->opening && !run->second) {
		call->opinion->endpoint = balance->endpoint;
		settle_opening(run->node, call->opening, balance);
	}
	if (!call->opening) {
		const uint8_t had = balance->code == WEIR_NOT_FOUND ? CODE_MAYBE :
				    balance->code			? CODE_UNKNOWN :
				    u256_is_zero(balance->amount)	? CODE_NO :
									  CODE_YES;
		cache_put(run->node->had_code, &call->contract, &had);
	}
	free(call);
}

static int submit(struct opening_run *run, struct opening *opening, struct opinion *opinion, const struct contract_key *contract, uint64_t height,
		  const uint8_t hash[32])
{
	struct node *node = run->node;
	struct opening_call *call = xmalloc(sizeof *call);
	*call = (struct opening_call){ .run = run, .opening = opening, .opinion = opinion };
	uint64_t exclude = run->second && opinion ? UINT64_C(1) << opinion->endpoint : 0; /* it has told already */
	int64_t timeout_ms = run->second ? SECOND_TIMEOUT_MS : BALANCE_TIMEOUT_MS;
	if (contract)
		call->contract = *contract;
	const size_t limit = node->options.concurrency > 0 ? node->options.concurrency * 8 : 64;
	while (run->waiting >= limit)
		wait_a_little(node);
	run->waiting++;
	int code = contract ? ask(node, CHAIN_ASK_HAS_CODE, (struct bytes){ call->contract.bytes, contract->size }, NULL, height, hash, 0, timeout_ms,
				  on_opening, call) :
			      ask(node, CHAIN_ASK_BALANCE, opening->account, opening->asset, height, hash, exclude, timeout_ms, on_opening, call);
	if (code) {
		run->waiting--;
		free(call);
	}
	return code;
}

static int finish(struct opening_run *run, struct error *err)
{
	while (run->waiting > 0)
		wait_a_little(run->node);
	return run->failed ? error_set(err, run->failed, "no endpoint answers for opening balances") : 0;
}

/* A token whose contract did not exist yet had no holders. */
static int ask_for_code(struct opening_run *run, uint64_t height, const uint8_t hash[32], const struct opening *openings, size_t n, struct error *err)
{
	const uint8_t asked = CODE_ASKED;
	int code = 0;
	for (size_t i = 0; !code && !run->failed && i < n; i++) {
		if (openings[i].asset->contract_size == 0)
			continue;
		struct contract_key key = contract_key(openings[i].asset);
		const uint8_t *known = cache_get(run->node->had_code, &key);
		if (known && *known != CODE_UNKNOWN)
			continue;
		cache_put(run->node->had_code, &key, &asked);
		code = submit(run, NULL, NULL, &key, height, hash);
	}
	int finished = finish(run, err);
	return code ? error_set(err, code, "the question for a contract's code could not be asked") : finished;
}

/* The first answers; opinions[i].asked tells which openings had to be asked for. */
static int ask_first(struct opening_run *run, uint64_t height, const uint8_t hash[32], struct opening *openings, struct opinion *opinions, size_t n,
		     struct error *err)
{
	struct node *node = run->node;
	int code = ask_for_code(run, height, hash, openings, n, err);
	for (size_t i = 0; !code && !run->failed && i < n; i++) {
		struct opening *opening = &openings[i];
		const char *reason;
		opening->known = true;
		opening->amount = (struct i256){ { 0 } };
		if (!node->chain->family->reconcilable(node->chain, opening->account, opening->asset, &reason))
			continue;
		struct contract_key key = contract_key(opening->asset);
		const uint8_t *had = opening->asset->contract_size > 0 ? cache_get(node->had_code, &key) : NULL;
		if (had && *had == CODE_NO)
			continue;
		opinions[i].asked = true;
		code = submit(run, opening, &opinions[i], NULL, height, hash);
	}
	int finished = finish(run, err);
	return code ? error_set(err, code, "the question for an opening balance could not be asked") : finished;
}

/* Endpoints that tell different openings: which one is right, the checker finds out by what they say about balances that blocks prove. When
 * it does not, the opening is not known, which is better than wrong. */
static int settle_disputes(struct opening_run *run, struct opening *openings, const struct opinion *opinions, size_t n, struct error *err)
{
	struct node *node = run->node;
	int64_t now = clock_mono_ms();
	if (run->disputes == 0) {
		node->disputed_ms = 0;
		return 0;
	}
	if (node->disputed_ms == 0)
		node->disputed_ms = now;
	if (now - node->disputed_ms < DISPUTE_MAX_MS)
		return error_set(err, WEIR_UNAVAILABLE, "endpoints tell %zu opening balances differently; the ledger waits until one is found lying",
				 run->disputes);
	for (size_t i = 0; i < n; i++)
		if (opinions[i].disputed)
			openings[i].known = false;
	log_warn(node->options.log, "openings_disputed", "endpoints tell these opening balances differently; they count as unknown",
		 LOG_U("openings", run->disputes));
	return 0;
}

static int ask_second(struct opening_run *run, uint64_t height, const uint8_t hash[32], struct opening *openings, struct opinion *opinions, size_t n,
		      struct error *err)
{
	struct node *node = run->node;
	int code = 0;
	run->second = true;
	for (size_t i = 0; !code && i < n; i++)
		if (opinions[i].asked)
			code = submit(run, &openings[i], &opinions[i], NULL, height, hash);
	int finished = finish(run, err);
	if (code || finished)
		return code ? error_set(err, code, "the second question for an opening balance could not be asked") : finished;
	if (run->silent > 0)
		node->alone_until_ms = clock_mono_ms() + SECOND_PAUSE_MS;
	return settle_disputes(run, openings, opinions, n, err);
}

void node_forget_codes(struct node *node)
{
	cache_clear(node->had_code);
}

int node_openings(void *arg, uint64_t height, const uint8_t hash[32], struct opening *openings, size_t n, struct error *err)
{
	struct node *node = arg;
	struct opening_run run = { .node = node };
	struct opinion *opinions = xcalloc(n + 1, sizeof *opinions);
	int code = ask_first(&run, height, hash, openings, opinions, n, err);
	if (!code && node_endpoints(node) > 1 && clock_mono_ms() >= node->alone_until_ms)
		code = ask_second(&run, height, hash, openings, opinions, n, err);
	xfree(&opinions);
	return code;
}
