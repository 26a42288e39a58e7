/* job.c - one block from the nodes: which calls, what their answers mean, when to ask again and whom.
 *
 * States of a job: asking (calls in flight) -> whole (moved to the ready list) | failed (waits, then asks elsewhere). A job of an older
 * generation (before a fork or a restart) is dropped when its calls have ended.
 */
#include "fetcher.h"

#include "base/clock.h"
#include "wire/hex.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ANSWER_ARENA (512u << 20)
#define RETRY_BASE_MS 50
#define RETRY_MAX_MS 5000
#define RECEIPTS_MAX (256u << 20)
#define ATTEMPTS 3 /* to ask one thing, each of another endpoint while there are others */
#define DOUBLINGS_MAX 4
#define IN_FLIGHT_BYTES (24.0 * (1 << 20))
#define LIMIT_LEAST 8    /* blocks under way whatever their size: RPC_ANSWER_MAX bounds them */
#define SHRINKING 0.01   /* large blocks are remembered for hundreds of small ones */
#define LACKING_TRIES 3 /* then an optional part is left out, even though an endpoint that is away now may have it */
#define EMPTY_TRIES 3   /* then an empty list, or one of another block, goes out as it is, for the proof to name who told it */
#define NOBODY SIZE_MAX /* no endpoint's fault */

void job_free(struct job **job)
{
	struct job *j = *job;
	if (!j)
		return;
	for (size_t i = 0; i < j->part_count; i++)
		buf_free(&j->parts[i].body);
	for (size_t i = 0; j->receipts && i < j->transaction_count; i++)
		buf_free(&j->receipts[i]);
	free(j->receipts);
	free(j->transactions);
	xfree(job);
}

static void fail(struct job *j, int code, size_t endpoint, const char *why)
{
	if (j->failed)
		return;
	j->failed = true;
	j->code = code;
	j->failed_endpoint = endpoint;
	snprintf(j->why, sizeof j->why, "%s", why);
}

/* -- answers --------------------------------------------------------------------------------------------------------------- */

struct call { /* argument of a callback: which job, which part or receipt */
	struct span span;
	struct job *job;
	size_t part;
	size_t receipt; /* SIZE_MAX: the part itself */
};

static const struct span_sink *spans(const struct job *j)
{
	return daemon_spans(j->f->fetcher->ctx);
}

/* What the call was, by the conventions for RPC (https://opentelemetry.io/docs/specs/semconv/rpc/json-rpc/). Ends it. */
static struct job *answered(struct call *call, const struct rpc_answer *answer)
{
	struct job *j = call->job;
	struct endpoint_status status = { .name = NULL };
	if (answer->endpoint < endpoints_count(j->f->endpoints)) /* nobody may have been asked */
		endpoints_status(j->f->endpoints, answer->endpoint, &status);
	span_text(&call->span, "rpc.system", "jsonrpc");
	span_text(&call->span, "rpc.method", call->span.name);
	span_text(&call->span, "rpc.jsonrpc.version", "2.0");
	span_text(&call->span, "weir.endpoint", status.name);
	span_number(&call->span, "weir.answer.size", (int64_t)answer->result.size);
	if (answer->code != 0) {
		span_text(&call->span, "error.type", error_name(answer->code));
		call->span.error = answer->error.text;
	}
	span_end(spans(j), &call->span);
	free(call);
	j->pending--;
	return j;
}

static void begin_trace(struct job *j)
{
	const struct config *config = daemon_config(j->f->fetcher->ctx);
	struct span_context root = span_root(spans(j) ? config->otel.per_million : 0);
	j->span = span_begin(spans(j), &root, SPAN_INTERNAL, "fetch block");
}

void job_tell(struct job *j)
{
	span_text(&j->span, "weir.chain", j->f->chain.name);
	span_number(&j->span, "weir.height", (int64_t)j->request.height);
	span_number(&j->span, "weir.tries", (int64_t)j->tries + 1);
	span_end(spans(j), &j->span);
}

static void finish(struct job *j);
static bool ask_receipts_singly(struct job *j);

static bool is_text(struct bytes answer, const char *text)
{
	return answer.size == strlen(text) && memcmp(answer.data, text, answer.size) == 0;
}

static void store(struct job *j, struct job_part *part, const struct rpc_answer *answer)
{
	struct error err = { 0 };
	part->endpoint = answer->endpoint;
	part->size = answer->result.size;
	part->empty = is_text(answer->result, "[]");
	part->belongs = j->f->chain.family->belongs(part->kind, answer->result, part->owner);
	part->body = (struct buf)BUF_INIT((size_t)RPC_ANSWER_MAX * 2);
	if (compress_zstd(j->f->zstd, answer->result, &part->body, &err) != 0)
		fail(j, err.code, answer->endpoint, err.text);
	part->done = true;
}

/* A cheap look before anything is published; the normalizer proves the rest. */
static void look_at_block(struct job *j, const struct rpc_answer *answer)
{
	struct follower *f = j->f;
	struct error err = { 0 };
	const uint8_t *transactions;
	struct arena *arena = arena_new(ANSWER_ARENA);
	int r = f->chain.family->peek_block(&f->chain, answer->result, arena, &j->block, &transactions, &j->transaction_count, &err);
	if (r == 0 && j->block.height != j->request.height)
		r = error_set(&err, WEIR_PROTOCOL, "asked for block %" PRIu64 ", answered block %" PRIu64, j->request.height, j->block.height);
	if (r == 0 && j->request.hash && memcmp(j->block.hash, j->request.hash, 32) != 0)
		r = error_set(&err, WEIR_PROTOCOL, "asked for block %" PRIu64 " by hash, answered another one", j->request.height);
	if (r == 0) {
		j->has_block = true;
		j->transactions = xmemdup(transactions, 32 * j->transaction_count);
	} else {
		if (r != WEIR_NOT_FOUND || !j->request.hash) /* a fork may have taken the block that was asked for by hash */
			endpoints_note_failure(f->endpoints, answer->endpoint, r, err.text);
		fail(j, r, answer->endpoint, err.text);
	}
	arena_free(&arena);
}

static const char *feature_of(Weir__V1__PartKind kind)
{
	switch ((int)kind) {
	case WEIR__V1__PART_KIND__PART_KIND_RECEIPTS:
		return "block_receipts";
	case WEIR__V1__PART_KIND__PART_KIND_CALL_TRACES:
		return "call_tracer";
	case WEIR__V1__PART_KIND__PART_KIND_FLAT_TRACES:
		return "flat_traces";
	case WEIR__V1__PART_KIND__PART_KIND_STATE_DIFF:
		return "state_diff";
	default:
		return NULL;
	}
}

static bool lacks(const struct endpoint_status *s, Weir__V1__PartKind kind)
{
	switch ((int)kind) {
	case WEIR__V1__PART_KIND__PART_KIND_CALL_TRACES:
		return s->lacks_call_tracer;
	case WEIR__V1__PART_KIND__PART_KIND_FLAT_TRACES:
		return s->lacks_flat_traces;
	default:
		return s->lacks_state_diff;
	}
}

/* An endpoint was just found not to have it: somebody else may, or the same endpoint has the other kind of traces. */
static void try_without(struct job *j, const struct job_part *part, const struct rpc_answer *answer)
{
	bool elsewhere = false;
	struct endpoint_status s;
	for (size_t i = 0; i < endpoints_count(j->f->endpoints); i++) {
		endpoints_status(j->f->endpoints, i, &s);
		elsewhere = elsewhere || !lacks(&s, part->kind);
	}
	fail(j, elsewhere ? WEIR_UNSUPPORTED : WEIR_CANCELED, answer->endpoint, answer->error.text);
}

static void part_failed(struct job *j, struct job_part *part, const struct rpc_answer *answer)
{
	struct follower *f = j->f;
	const char *feature = feature_of(part->kind);
	if (answer->code == WEIR_UNSUPPORTED && feature) {
		endpoints_note_lacks(f->endpoints, answer->endpoint, feature);
		if (part->optional && j->tries < LACKING_TRIES) {
			try_without(j, part, answer);
			return;
		}
		if (part->kind == WEIR__V1__PART_KIND__PART_KIND_RECEIPTS) {
			part->missing = true; /* one by one instead, once the block says which */
			snprintf(part->why, sizeof part->why, "singly");
			return;
		}
	}
	if (part->optional && !error_retriable(answer->code)) {
		part->missing = true;
		snprintf(part->why, sizeof part->why, "%s: %.150s", error_name(answer->code), answer->error.text);
		return;
	}
	fail(j, answer->code, answer->endpoint, answer->error.text);
}

/* "There is none" is an answer for an uncle, and for a block asked for by hash (a fork may have taken it). */
static bool may_be_null(const struct job *j, const struct job_part *part)
{
	return part->kind == WEIR__V1__PART_KIND__PART_KIND_UNCLE || (part->kind == WEIR__V1__PART_KIND__PART_KIND_BLOCK && j->request.hash != NULL);
}

/* Has the endpoint told a head at least so high? If not, it is no failure of its that it lacks the block which another one promised. */
static bool claims(struct follower *f, size_t endpoint, uint64_t height)
{
	struct endpoint_status status;
	endpoints_status(f->endpoints, endpoint, &status);
	return status.head_height == 0 || status.head_height >= height; /* 0: it is not asked for heads */
}

/* The endpoint does not have what it says exists. */
static void fail_for_lack(struct job *j, size_t endpoint, const char *why)
{
	if (claims(j->f, endpoint, j->request.height))
		endpoints_note_failure(j->f->endpoints, endpoint, WEIR_NOT_FOUND, why);
	fail(j, WEIR_NOT_FOUND, endpoint, why);
}

/* A reorg between two questions, or a lie. By number the same question is put again, and the endpoint that still contradicts itself is noted. */
static void fail_for_other_block(struct job *j, size_t endpoint, const char *what)
{
	char why[120];
	snprintf(why, sizeof why, "answered %s of another block than the one asked for", what);
	if (j->request.reason == WEIR__V1__FETCH_REASON__FETCH_REASON_TIP)
		j->request.hash = NULL; /* perhaps it is canonical no more: ask for what is */
	if (j->tries == 0)
		fail(j, WEIR_NOT_FOUND, NOBODY, why);
	else
		fail_for_lack(j, endpoint, why);
}

static void on_part(const struct rpc_answer *answer, void *arg)
{
	struct call *call = arg;
	size_t index = call->part;
	struct job *j = answered(call, answer);
	struct job_part *part = &j->parts[index];
	fetcher_count(j->f, "weir_fetcher_bytes_total", NULL, answer->result.size);
	if (j->generation != j->f->generation || j->failed)
		; /* nobody waits for it any more */
	else if (answer->code != 0)
		part_failed(j, part, answer);
	else if (is_text(answer->result, "null") && !may_be_null(j, part)) {
		fail_for_lack(j, answer->endpoint, "answered null for a block that exists");
	} else {
		if (part->kind == WEIR__V1__PART_KIND__PART_KIND_BLOCK)
			look_at_block(j, answer);
		if (!j->failed)
			store(j, part, answer);
	}
	finish(j);
}

static void on_receipt(const struct rpc_answer *answer, void *arg)
{
	struct call *call = arg;
	size_t index = call->receipt;
	struct job *j = answered(call, answer);
	if (j->generation == j->f->generation && !j->failed) {
		uint8_t owner[32];
		bool elsewhere = j->tries < EMPTY_TRIES && answer->code == 0 &&
				 j->f->chain.family->belongs(WEIR__V1__PART_KIND__PART_KIND_RECEIPTS, answer->result, owner) == CHAIN_BELONGS_TO_BLOCK &&
				 memcmp(owner, j->block.hash, 32) != 0;
		if (elsewhere) {
			fail_for_other_block(j, answer->endpoint, "a receipt");
		} else if (answer->code != 0 || is_text(answer->result, "null")) {
			fail(j, answer->code ? answer->code : WEIR_NOT_FOUND, answer->endpoint, answer->code ? answer->error.text : "a receipt is null");
		} else {
			j->receipts[index] = (struct buf)BUF_INIT(RPC_ANSWER_MAX);
			buf_add(&j->receipts[index], answer->result.data, answer->result.size);
			j->receipts_left--;
		}
	}
	finish(j);
}

/* -- asking ---------------------------------------------------------------------------------------------------------------- */

/* A block that takes its node longer than usual comes at last; asked as impatiently as before it never would, and the node had all the work. */
static int64_t patience_ms(const struct job *j)
{
	uint64_t doublings = (uint64_t)j->timeouts + j->request.attempt;
	return j->f->config->request_timeout_ms << (doublings < DOUBLINGS_MAX ? doublings : DOUBLINGS_MAX);
}

static unsigned role_of(const struct job *j)
{
	return j->request.reason == WEIR__V1__FETCH_REASON__FETCH_REASON_TIP ? ENDPOINT_HEAD : ENDPOINT_BACKFILL;
}

static bool ask(struct job *j, const struct chain_call *c, size_t part, size_t receipt, int only)
{
	struct follower *f = j->f;
	struct call *call = xmalloc(sizeof *call);
	*call = (struct call){ span_begin(spans(j), &j->span.context, SPAN_CLIENT, c->method), j, part, receipt };
	bool tip = j->request.reason == WEIR__V1__FETCH_REASON__FETCH_REASON_TIP;
	struct rpc_request request = { .method = c->method,
				       .params = c->params,
				       .role = role_of(j),
				       .exclude = j->request.exclude,
				       .only = only,
				       .needs_height = j->request.height,
				       .attempts = ATTEMPTS,
				       .attempt_ms = patience_ms(j),
				       .timeout_ms = ATTEMPTS * patience_ms(j),
				       .tip = tip,
				       .on_done = receipt == SIZE_MAX ? on_part : on_receipt,
				       .arg = call };
	if (rpc_call(f->rpc, &request) != 0) {
		free(call);
		fail(j, WEIR_FULL, 0, "too many calls in flight");
		return false;
	}
	j->pending++;
	return true;
}

/* What any endpoint may still offer; each refusal is learnt per endpoint and the call goes to the next one. */
static struct chain_capabilities capabilities(struct follower *f)
{
	struct chain_capabilities have = { false, false, false, false };
	for (size_t i = 0; i < endpoints_count(f->endpoints); i++) {
		struct endpoint_status s;
		endpoints_status(f->endpoints, i, &s);
		have.block_receipts = have.block_receipts || !s.lacks_block_receipts;
		have.call_tracer = have.call_tracer || !s.lacks_call_tracer;
		have.flat_traces = have.flat_traces || !s.lacks_flat_traces;
		have.state_diff = have.state_diff || !s.lacks_state_diff;
	}
	return have;
}

static void begin(struct job *j)
{
	struct follower *f = j->f;
	struct chain_part_call calls[CHAIN_PARTS_MAX];
	struct chain_capabilities have = capabilities(f);
	arena_reset(f->arena);
	for (size_t i = 0; i < j->part_count; i++)
		buf_free(&j->parts[i].body);
	memset(j->parts, 0, sizeof j->parts);
	j->failed = j->has_block = j->asked_instead = false;
	j->pending = 0;
	j->part_count = f->chain.family->parts(&f->chain, &have, f->config->traces, f->config->state_diff, j->request.height, j->request.hash,
					       f->arena, calls);
	bool has_receipts = false;
	for (size_t i = 0; i < j->part_count; i++) {
		j->parts[i].kind = calls[i].kind;
		j->parts[i].optional = calls[i].optional;
		if (!calls[i].call.method) { /* wanted, but nobody has it */
			j->parts[i].missing = true;
			snprintf(j->parts[i].why, sizeof j->parts[i].why, "%s: no endpoint offers it", error_name(WEIR_UNSUPPORTED));
		}
		has_receipts = has_receipts || calls[i].kind == WEIR__V1__PART_KIND__PART_KIND_RECEIPTS;
	}
	if (!has_receipts && j->part_count < CHAIN_PARTS_MAX) /* no endpoint has eth_getBlockReceipts */
		j->parts[j->part_count++] = (struct job_part){ .kind = WEIR__V1__PART_KIND__PART_KIND_RECEIPTS, .missing = true, .why = "singly" };
	j->pending++; /* held until all are asked, so that a callback can't finish the job early */
	for (size_t i = 0; i < j->part_count; i++)
		if (!j->parts[i].missing)
			ask(j, &calls[i].call, i, SIZE_MAX, -1);
	j->pending--;
	if (j->pending == 0)
		finish(j);
}

static bool has_part(const struct job *j, Weir__V1__PartKind kind, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (j->parts[i].kind == kind)
			return true;
	return false;
}

/* Flat traces could not be had of this block, whatever its node has of others: the parts that would have been asked for without them. */
static bool ask_instead(struct job *j)
{
	struct follower *f = j->f;
	struct chain_part_call calls[CHAIN_PARTS_MAX];
	struct chain_capabilities have = capabilities(f);
	const size_t before = j->part_count;
	have.flat_traces = false;
	j->asked_instead = true;
	arena_reset(f->arena);
	size_t n = f->chain.family->parts(&f->chain, &have, f->config->traces, f->config->state_diff, j->request.height, j->block.hash, f->arena, calls);
	j->pending++;
	for (size_t i = 0; i < n && j->part_count < CHAIN_PARTS_MAX; i++) {
		if (!calls[i].call.method || has_part(j, calls[i].kind, before))
			continue;
		j->parts[j->part_count] = (struct job_part){ .kind = calls[i].kind, .optional = calls[i].optional };
		ask(j, &calls[i].call, j->part_count++, SIZE_MAX, -1);
	}
	j->pending--;
	return j->pending > 0;
}

static bool ask_receipts_singly(struct job *j)
{
	struct follower *f = j->f;
	int endpoint = rpc_choose(f->endpoints, role_of(j), j->request.exclude, j->request.height);
	if (endpoint < 0) {
		fail(j, WEIR_UNAVAILABLE, NOBODY, "no endpoint to ask for receipts");
		return false;
	}
	j->receipts_endpoint = (size_t)endpoint;
	j->receipts = xcalloc(j->transaction_count + 1, sizeof *j->receipts);
	j->receipts_left = j->transaction_count;
	arena_reset(f->arena);
	j->pending++;
	for (size_t i = 0; i < j->transaction_count && !j->failed; i++) {
		struct chain_call call;
		if (f->chain.family->receipt_call(&f->chain, j->transactions + 32 * i, f->arena, &call) == 0)
			ask(j, &call, 0, i, endpoint);
	}
	j->pending--;
	return j->pending > 0;
}

static void join_receipts(struct job *j, struct job_part *part)
{
	struct error err = { 0 };
	struct buf all = BUF_INIT(RECEIPTS_MAX);
	buf_add_byte(&all, '[');
	for (size_t i = 0; i < j->transaction_count; i++) {
		if (i)
			buf_add_byte(&all, ',');
		buf_add(&all, j->receipts[i].data, j->receipts[i].size);
	}
	buf_add_byte(&all, ']');
	part->endpoint = j->receipts_endpoint;
	part->size = all.size;
	part->missing = false;
	part->done = true;
	part->body = (struct buf)BUF_INIT(RECEIPTS_MAX);
	if (all.overflow || compress_zstd(j->f->zstd, (struct bytes){ all.data, all.size }, &part->body, &err) != 0)
		fail(j, WEIR_LIMIT, part->endpoint, "receipts too large");
	buf_free(&all);
}

/* -- the end of a try -------------------------------------------------------------------------------------------------------- */

static void learn_size(const struct job *j)
{
	double size = 0;
	for (size_t i = 0; i < j->part_count; i++)
		size += (double)j->parts[i].size;
	j->f->block_bytes += (size - j->f->block_bytes) * (size > j->f->block_bytes ? 1 : SHRINKING);
}

static void to_ready(struct job *j)
{
	struct follower *f = j->f;
	for (size_t i = 0; i < f->job_count; i++)
		if (f->jobs[i] == j)
			f->jobs[i] = f->jobs[--f->job_count];
	f->ready[f->ready_count++] = j;
	learn_size(j);
	f->limit += 1.0 / f->limit;
	if (f->limit > (double)f->config->backfill_workers)
		f->limit = (double)f->config->backfill_workers;
}

static void try_later(struct job *j)
{
	struct follower *f = j->f;
	struct backoff b = { RETRY_BASE_MS, RETRY_MAX_MS, j->tries++ };
	j->not_before_ms = clock_mono_ms() + backoff_next_ms(&b);
	if (j->failed_endpoint < 63 && j->code != WEIR_FULL && j->code != WEIR_CANCELED)
		j->request.exclude |= (uint64_t)1 << j->failed_endpoint;
	j->timeouts += j->code == WEIR_TIMEOUT;
	if (j->request.exclude + 1 >= (uint64_t)1 << endpoints_count(f->endpoints))
		j->request.exclude = 0; /* all were tried: begin with the first again */
	if (j->tries % 4 == 0 && j->request.hash && j->request.reason == WEIR__V1__FETCH_REASON__FETCH_REASON_TIP)
		j->request.hash = NULL; /* perhaps it is canonical no more: ask for what is */
	f->limit = f->limit > 2 ? f->limit / 2 : 1;
	fetcher_count(f, "weir_fetcher_job_failures_total", error_name(j->code), 1);
	log_at(&f->log, j->tries >= 5 ? LOG_WARN : LOG_DEBUG, "fetch_failed", j->why, LOG_U("height", j->request.height),
	       LOG_S("error_code", error_name(j->code)), LOG_U("tries", j->tries));
}

/* A node that is dropping the block, or does not have all of it yet, answers with an empty list where another says null. */
static void look_for_empty(struct job *j)
{
	char why[120];
	if (j->transaction_count == 0 || j->tries >= EMPTY_TRIES)
		return;
	for (size_t i = 0; i < j->part_count && !j->failed; i++) {
		if (!j->parts[i].empty)
			continue;
		const ProtobufCEnumValue *kind = protobuf_c_enum_descriptor_get_value(&weir__v1__part_kind__descriptor, (int)j->parts[i].kind);
		snprintf(why, sizeof why, "answered an empty list (%s) for a block of %zu transactions", kind->name, j->transaction_count);
		fail_for_lack(j, j->parts[i].endpoint, why);
	}
}

/* Parts are asked for side by side: of a block that a reorg is just taking they may be of two branches. */
static void look_for_other_block(struct job *j)
{
	for (size_t i = 0; i < j->part_count && !j->failed && j->tries < EMPTY_TRIES; i++) {
		const struct job_part *part = &j->parts[i];
		const uint8_t *owner = part->belongs == CHAIN_BELONGS_TO_BLOCK ? j->block.hash : j->transaction_count > 0 ? j->transactions : NULL;
		if (part->belongs == CHAIN_BELONGS_UNSAID || (owner && memcmp(part->owner, owner, 32) == 0))
			continue;
		fail_for_other_block(j, part->endpoint, protobuf_c_enum_descriptor_get_value(&weir__v1__part_kind__descriptor, (int)part->kind)->name);
	}
}

static void finish(struct job *j)
{
	if (j->pending > 0 || j->generation != j->f->generation)
		return; /* stale jobs are swept by jobs_schedule when their calls have ended */
	for (size_t i = 0; i < j->part_count && !j->failed; i++) {
		struct job_part *part = &j->parts[i];
		if (part->missing && part->kind == WEIR__V1__PART_KIND__PART_KIND_FLAT_TRACES && j->has_block && !j->asked_instead && ask_instead(j))
			return;
		if (!part->missing || part->kind != WEIR__V1__PART_KIND__PART_KIND_RECEIPTS)
			continue;
		if (!j->receipts && j->transaction_count > 0 && ask_receipts_singly(j))
			return;
		if (!j->failed && j->receipts_left == 0)
			join_receipts(j, part);
	}
	if (!j->failed && !j->has_block)
		fail(j, WEIR_NOT_FOUND, j->failed_endpoint, "the block did not come");
	if (!j->failed)
		look_for_empty(j);
	if (!j->failed)
		look_for_other_block(j);
	if (j->failed)
		try_later(j);
	else
		to_ready(j);
}

bool job_again(struct job *j, int code, size_t endpoint, const char *why)
{
	struct follower *f = j->f;
	if (f->job_count >= JOBS_MAX)
		return false;
	fail(j, code, endpoint, why);
	f->jobs[f->job_count++] = j;
	try_later(j);
	return true;
}

bool job_start(struct follower *f, const struct job_request *request)
{
	if (f->job_count >= JOBS_MAX || f->ready_count + f->job_count >= READY_MAX)
		return false;
	struct job *j = xmalloc(sizeof *j);
	j->f = f;
	j->generation = f->generation;
	j->request = *request;
	if (request->hash) {
		memcpy(j->wanted_hash, request->hash, 32);
		j->request.hash = j->wanted_hash;
	}
	f->jobs[f->job_count++] = j;
	begin_trace(j);
	begin(j);
	return true;
}

bool job_under_way(const struct follower *f, uint64_t height)
{
	for (size_t i = 0; i < f->job_count; i++)
		if (f->jobs[i]->generation == f->generation && f->jobs[i]->request.height == height)
			return true;
	return false;
}

size_t jobs_room(double limit, double block_bytes)
{
	const double by_size = block_bytes > 0 ? IN_FLIGHT_BYTES / block_bytes : LIMIT_LEAST;
	const double most = by_size > LIMIT_LEAST ? by_size : LIMIT_LEAST;
	return (size_t)(limit < most ? limit : most);
}

static size_t active(const struct follower *f)
{
	size_t n = 0;
	for (size_t i = 0; i < f->job_count; i++)
		n += f->jobs[i]->pending > 0;
	return n;
}

static void sweep_and_repeat(struct follower *f)
{
	int64_t now = clock_mono_ms();
	for (size_t i = 0; i < f->job_count; i++) {
		struct job *j = f->jobs[i];
		if (j->pending > 0)
			continue;
		if (j->generation != f->generation) {
			f->jobs[i--] = f->jobs[--f->job_count];
			job_free(&j);
		} else if (j->failed && now >= j->not_before_ms) {
			free(j->transactions);
			for (size_t k = 0; j->receipts && k < j->transaction_count; k++)
				buf_free(&j->receipts[k]);
			free(j->receipts);
			j->transactions = NULL;
			j->receipts = NULL;
			j->transaction_count = 0;
			begin(j);
			return; /* begin may have moved the list */
		}
	}
}

/* What the ledger wants next. For a while after a fork its word may be from before the fork: then from the ancestor on. */
static uint64_t wanted_from(struct follower *f)
{
	uint64_t next = f->ledger.next_height;
	if (clock_mono_ms() < f->fork_until_ms && f->fork_height < next)
		return f->fork_height;
	return next;
}

void jobs_schedule(struct follower *f)
{
	sweep_and_repeat(f);
	if (!f->owning || f->paused || f->ledger.paused || !f->ledger.known || !f->has_seen || f->fork_suspected)
		return;
	uint64_t last = f->seen_head.height, next = wanted_from(f);
	uint64_t limit = next + (uint64_t)f->config->window - 1;
	if (last > limit)
		last = limit;
	size_t room = jobs_room(f->limit, f->block_bytes), n = active(f);
	for (uint64_t height = next; height <= last && n < room; height++) {
		struct height *h = fetch_window_at(&f->window, height);
		if (h->state != HEIGHT_WANTED)
			continue;
		bool tip = height == f->seen_head.height;
		struct job_request request = { .height = height,
					       .hash = tip ? f->seen_head.hash : NULL,
					       .reason = tip || height + 2 > f->seen_head.height ? WEIR__V1__FETCH_REASON__FETCH_REASON_TIP :
												   WEIR__V1__FETCH_REASON__FETCH_REASON_BACKFILL,
					       .announced_ms = tip ? f->announced_ms : 0 };
		if (!job_start(f, &request))
			break;
		h->state = HEIGHT_IN_FLIGHT;
		n++;
	}
	fetcher_gauge(f, "weir_fetcher_jobs", (double)n);
	fetcher_gauge(f, "weir_fetcher_job_limit", (double)room);
}
