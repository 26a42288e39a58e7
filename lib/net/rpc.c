/* rpc.c - calls: queue, dispatch to endpoints (singly or in batches), what an answer means for each call, retry on another one. */
#include "net/internal.h"

#include "base/clock.h"
#include "net/answer.h"
#include "net/http.h"

#include <stdio.h>
#include <string.h>

#define CALLS_MAX 4096
/* How many queued calls share a request although the endpoint would take more requests: so many that it has REQUEST_MS of work. A request
 * costs a node as much as a small answer does; answers that take long come sooner side by side, and many nodes answer a batch one by one. */
#define GROUP_MIN 4
#define GROUP_MAX 24
#define REQUEST_MS 40
#define PROBE_TIMEOUT_MS 5000
#define LOOK_MAX 256 /* queued calls that can't go now, before a turn gives up */
#define SHARED_MS 50 /* another thread may free an endpoint that a queued call waits for */
#define RETRY_SAME_MS 50 /* before the same endpoint is asked again; doubles */

struct call {
	struct call *next, *previous; /* in the queue */
	struct rpc_request request;   /* method and params are owned */
	uint64_t id, tried;
	unsigned attempts;
	bool probe, alone;
	int64_t deadline_ms, not_before_ms, sent_ns;
	/* the outcome of the latest attempt */
	bool answered;
	int code;
	int64_t rpc_code;
	struct error error;
	size_t endpoint;
	struct bytes result;
};

struct queue {
	struct call *first, *last;
	size_t count;
};

struct rpc {
	struct rpc_options options;
	struct http *http;
	struct queue urgent, normal; /* urgent: tip work and probes */
	struct log log;
	uint64_t next_id;
	size_t in_flight; /* calls not yet told */
	size_t told;      /* callbacks run, to notice that something happened */
	bool closing;
};

struct exchange { /* one HTTP request */
	struct rpc *rpc;
	size_t endpoint, count;
	struct buf body;
	struct call *calls[BATCH_MAX];
};

/* -- queue ---------------------------------------------------------------------------------------------------------------- */

static struct queue *queue_of(struct rpc *rpc, const struct call *c)
{
	return c->request.tip || c->probe ? &rpc->urgent : &rpc->normal;
}

static void enqueue(struct rpc *rpc, struct call *c, bool front)
{
	struct queue *q = queue_of(rpc, c);
	c->next = front ? q->first : NULL;
	c->previous = front ? NULL : q->last;
	if (c->next)
		c->next->previous = c;
	else
		q->last = c;
	if (c->previous)
		c->previous->next = c;
	else
		q->first = c;
	q->count++;
	if (c->request.only >= 0)
		endpoints_assign(rpc->options.endpoints, (size_t)c->request.only, 1);
}

static void dequeue(struct rpc *rpc, struct call *c)
{
	struct queue *q = queue_of(rpc, c);
	if (c->previous)
		c->previous->next = c->next;
	else
		q->first = c->next;
	if (c->next)
		c->next->previous = c->previous;
	else
		q->last = c->previous;
	q->count--;
	c->next = c->previous = NULL;
	if (c->request.only >= 0)
		endpoints_assign(rpc->options.endpoints, (size_t)c->request.only, -1);
}

/* Ends the call: tells its owner, once. The call is in no queue. */
static void tell(struct rpc *rpc, struct call *c)
{
	struct rpc_answer answer = { .code = c->code, .error = c->error, .endpoint = c->endpoint, .rpc_code = c->rpc_code, .result = c->result };
	if (c->sent_ns)
		answer.seconds = (double)(clock_mono_ns() - c->sent_ns) / 1e9;
	rpc->in_flight--;
	rpc->told++;
	c->request.on_done(&answer, c->request.arg);
	free((char *)(uintptr_t)c->request.method);
	free((char *)(uintptr_t)c->request.params);
	free(c);
}

static void fail(struct rpc *rpc, struct call *c, int code, const char *words)
{
	c->code = error_set(&c->error, code, "%s: %s", c->request.method, words);
	c->result = (struct bytes){ 0 };
	tell(rpc, c);
}

static int add_call(struct rpc *rpc, const struct rpc_request *request, bool probe)
{
	if (rpc->closing)
		return WEIR_CANCELED;
	if (rpc->in_flight >= CALLS_MAX)
		return WEIR_FULL;
	struct call *c = xmalloc(sizeof *c);
	c->request = *request;
	c->request.method = xstrdup(request->method);
	c->request.params = xstrdup(request->params ? request->params : "[]");
	if (c->request.timeout_ms <= 0)
		c->request.timeout_ms = 30000;
	if (c->request.attempt_ms <= 0)
		c->request.attempt_ms = rpc->options.timeout_ms;
	if (c->request.attempts == 0)
		c->request.attempts = 3;
	c->probe = probe;
	c->id = ++rpc->next_id;
	c->deadline_ms = clock_mono_ms() + c->request.timeout_ms;
	rpc->in_flight++;
	enqueue(rpc, c, false);
	return 0;
}

int rpc_call(struct rpc *rpc, const struct rpc_request *request)
{
	return add_call(rpc, request, false);
}

size_t rpc_in_flight(const struct rpc *rpc)
{
	return rpc->in_flight;
}

/* -- after an attempt ------------------------------------------------------------------------------------------------------- */

static bool another_left(struct rpc *rpc, const struct call *c)
{
	if (c->request.only >= 0)
		return false;
	for (size_t i = 0; i < endpoints_count(rpc->options.endpoints); i++) {
		struct endpoint_status s;
		if ((c->tried >> i) & 1)
			continue;
		endpoints_status(rpc->options.endpoints, i, &s);
		if (s.identified && s.breaker == BREAKER_CLOSED && (c->request.role == 0 || (s.roles & c->request.role)))
			return true;
	}
	return false;
}

/* c->code says how the attempt went. Tells, or queues it again. */
static void settle(struct rpc *rpc, struct call *c)
{
	int64_t now = clock_mono_ms();
	if (c->code == 0 || c->code == WEIR_CANCELED || rpc->closing) {
		tell(rpc, c);
		return;
	}
	bool limited = c->code == WEIR_RATE_LIMITED; /* costs no attempt: the deadline bounds it */
	if (!limited) {
		c->attempts++;
		c->tried |= UINT64_C(1) << c->endpoint;
	}
	bool elsewhere = another_left(rpc, c);
	/* "No such block" and "no such method" are worth another endpoint, but not the same one again. */
	bool again = limited || elsewhere || error_retriable(c->code);
	if (!again || c->attempts >= c->request.attempts || now >= c->deadline_ms || c->probe) {
		tell(rpc, c);
		return;
	}
	if (!limited && !elsewhere)
		c->not_before_ms = now + (RETRY_SAME_MS << (c->attempts < 6 ? c->attempts : 6));
	enqueue(rpc, c, true);
}

/* -- one HTTP request --------------------------------------------------------------------------------------------------------- */

static void exchange_free(struct exchange *x)
{
	buf_free(&x->body);
	free(x);
}

static void set_code(struct call *c, int code, int64_t rpc_code, const char *words)
{
	c->rpc_code = rpc_code;
	c->code = error_set(&c->error, code, "%s: %s", c->request.method, words);
	c->result = (struct bytes){ 0 };
}

struct reading { /* of one answer */
	struct exchange *x;
	const char *wrong; /* what is not as it must be, NULL: nothing */
	bool whole;        /* one error without id, for the whole batch */
	struct answer_item whole_item;
};

static int meaning(struct rpc *rpc, const struct answer_item *item)
{
	int code = rpc->options.classify ? rpc->options.classify(rpc->options.arg, item->error_code, item->error_message) : WEIR_PROTOCOL;
	return code < 0 ? code : WEIR_PROTOCOL;
}

static void on_item(const struct answer_item *item, void *arg)
{
	struct reading *reading = arg;
	struct exchange *x = reading->x;
	struct call *c = NULL;
	for (size_t i = 0; i < x->count && item->has_id && !c; i++)
		if (x->calls[i]->id == item->id)
			c = x->calls[i];
	if (!c && !item->has_id && item->has_error) { /* JSON-RPC 2.0 §5: id null when the request could not be read */
		reading->whole = true;
		reading->whole_item = *item;
		return;
	}
	if (!c || c->answered) {
		reading->wrong = c ? "an answer twice" : "an answer to a question that was not asked (id)";
		return;
	}
	c->answered = true;
	if (item->has_error) {
		set_code(c, meaning(x->rpc, item), item->error_code, *item->error_message ? item->error_message : "error without a message");
		return;
	}
	c->code = 0;
	c->result = item->result;
}

/* The whole batch was refused with one error: smaller ones from now on, and nobody's attempt is used up. */
static int whole_refused(struct exchange *x, const struct answer_item *item, struct error *err)
{
	int code = meaning(x->rpc, item);
	if (x->count > 1 && code != WEIR_RATE_LIMITED && code != WEIR_UNAVAILABLE && code != WEIR_TIMEOUT) {
		endpoints_learn_batch(x->rpc->options.endpoints, x->endpoint, (int64_t)x->count / 2);
		return WEIR_LIMIT;
	}
	for (size_t i = 0; i < x->count; i++) {
		set_code(x->calls[i], code, item->error_code, item->error_message);
		x->calls[i]->answered = true;
	}
	return error_set(err, code, "%s", item->error_message);
}

/* What the exchange says about the endpoint: its calls' own failures count only when they say "slow down" or when all fail. */
static int judge(struct exchange *x, struct error *err)
{
	size_t down = 0;
	for (size_t i = 0; i < x->count; i++) {
		int code = x->calls[i]->code;
		if (code == WEIR_RATE_LIMITED) {
			*err = x->calls[i]->error;
			return code;
		}
		if (code == WEIR_UNAVAILABLE || code == WEIR_TIMEOUT)
			down++;
	}
	if (down < x->count)
		return 0;
	*err = x->calls[0]->error;
	return err->code;
}

/* 0, or what to hold against the endpoint. WEIR_LIMIT: the batch was too large for it. Every call has its code after this, unless LIMIT. */
static int read_answer(struct exchange *x, struct bytes text, struct error *err)
{
	struct reading reading = { .x = x };
	bool batch;
	int r = answer_split(text, on_item, &reading, &batch, err);
	if (r == 0 && reading.wrong)
		r = error_set(err, WEIR_PROTOCOL, "%s", reading.wrong);
	if (r == 0 && reading.whole)
		return whole_refused(x, &reading.whole_item, err);
	size_t missing = 0;
	for (size_t i = 0; i < x->count; i++) {
		struct call *c = x->calls[i];
		if (r != 0)
			set_code(c, r, 0, err->text);
		else if (!c->answered)
			set_code(c, WEIR_PROTOCOL, 0, "the batch answer leaves it out");
		missing += !c->answered;
	}
	if (r == 0 && missing > 0)
		return error_set(err, WEIR_PROTOCOL, "%zu of %zu calls are not in the batch answer", missing, x->count);
	return r != 0 ? r : judge(x, err);
}

/* A node may put a JSON-RPC error into a 4xx or 500 answer: it says more than the status. */
static int read_failure(struct exchange *x, const struct http_result *result, struct error *err)
{
	*err = result->error;
	struct reading reading = { .x = x };
	struct error ignored;
	bool batch;
	bool may_explain = result->status >= 400 && result->status <= 500 && result->status != 429 && result->status != 401 && result->status != 403;
	if (may_explain && answer_split(result->answer, on_item, &reading, &batch, &ignored) == 0 && !reading.wrong) {
		if (reading.whole)
			return whole_refused(x, &reading.whole_item, err);
		if (x->count == 1 && x->calls[0]->answered && x->calls[0]->code != 0)
			return judge(x, err);
	}
	if (result->code == WEIR_LIMIT && x->count > 1) {
		if (result->status == 413)
			endpoints_learn_batch(x->rpc->options.endpoints, x->endpoint, (int64_t)x->count / 2);
		else
			for (size_t i = 0; i < x->count; i++)
				x->calls[i]->alone = true; /* one of them is huge: find out which */
		return WEIR_LIMIT;
	}
	for (size_t i = 0; i < x->count; i++)
		set_code(x->calls[i], result->code, 0, result->error.text);
	return result->code;
}

static void on_http_done(const struct http_result *result, void *arg)
{
	struct exchange *x = arg;
	struct rpc *rpc = x->rpc;
	struct error err = { 0 };
	int code = result->code == 0 ? read_answer(x, result->answer, &err) : read_failure(x, result, &err);
	bool split = code == WEIR_LIMIT && x->count > 1;
	endpoints_end(rpc->options.endpoints, x->endpoint, split ? 0 : code, err.text, result->seconds, x->count, result->retry_after_ms, result->answer.size);
	for (size_t i = 0; i < x->count; i++) {
		struct call *c = x->calls[i];
		endpoints_assign(rpc->options.endpoints, x->endpoint, -1);
		if (split && !rpc->closing) {
			c->answered = false;
			enqueue(rpc, c, true);
			continue;
		}
		if (c->code == 0)
			endpoints_observe(rpc->options.endpoints, x->endpoint, c->request.method, result->seconds);
		else if (code == 0 && !(c->code == WEIR_NOT_FOUND && c->request.no_is_answer))
			endpoints_count_error(rpc->options.endpoints, x->endpoint, c->code);
		settle(rpc, c);
	}
	exchange_free(x);
}

static void write_body(struct exchange *x)
{
	if (x->count > 1)
		buf_add_byte(&x->body, '[');
	for (size_t i = 0; i < x->count; i++)
		buf_printf(&x->body, "%s{\"jsonrpc\":\"2.0\",\"id\":%llu,\"method\":\"%s\",\"params\":%s}", i ? "," : "",
			   (unsigned long long)x->calls[i]->id, x->calls[i]->request.method, x->calls[i]->request.params);
	if (x->count > 1)
		buf_add_byte(&x->body, ']');
}

/* Takes the calls out of the queue and sends them in one request. */
static void send_calls(struct rpc *rpc, size_t endpoint, struct call **calls, size_t n)
{
	struct exchange *x = xmalloc(sizeof *x);
	x->rpc = rpc;
	x->endpoint = endpoint;
	x->count = n;
	x->body.max = RPC_ANSWER_MAX;
	memcpy(x->calls, calls, n * sizeof *calls);
	int64_t now = clock_mono_ms(), timeout = INT64_MAX;
	for (size_t i = 0; i < n; i++) {
		struct call *c = x->calls[i];
		dequeue(rpc, c);
		endpoints_assign(rpc->options.endpoints, endpoint, 1);
		c->answered = false;
		c->code = 0;
		c->endpoint = endpoint;
		c->sent_ns = clock_mono_ns();
		if (c->request.attempt_ms < timeout)
			timeout = c->request.attempt_ms;
		if (c->deadline_ms - now < timeout)
			timeout = c->deadline_ms - now;
	}
	write_body(x);
	struct http_request request = { .url = endpoints_url(rpc->options.endpoints, endpoint),
					.auth_header = endpoints_auth(rpc->options.endpoints, endpoint),
					.body = { x->body.data, x->body.size },
					.max_answer = RPC_ANSWER_MAX,
					.timeout_ms = timeout > 0 ? timeout : 1 };
	struct http_result failed = { 0 };
	failed.code = http_start(rpc->http, &request, on_http_done, x, &failed.error);
	if (failed.code != 0)
		on_http_done(&failed, x);
}

/* -- dispatch --------------------------------------------------------------------------------------------------------------- */

static int pick(struct rpc *rpc, const struct call *c)
{
	struct pick p = { .role = c->request.role,
			  .exclude = c->request.exclude,
			  .tried = c->tried,
			  .only = c->request.only,
			  .needs_height = c->request.needs_height };
	return c->probe ? c->request.only : endpoints_pick(rpc->options.endpoints, &p);
}

static bool may_join(const struct call *c, size_t endpoint, const struct endpoint_status *status, int64_t now)
{
	if (c->alone || now < c->not_before_ms)
		return false;
	if (c->request.only >= 0)
		return (size_t)c->request.only == endpoint;
	return !(((c->request.exclude | c->tried) >> endpoint) & 1) && (c->request.role == 0 || (status->roles & c->request.role)) &&
	       c->request.needs_height <= status->head_height;
}

size_t rpc_group(size_t queued, int64_t slots, double call_ms)
{
	const size_t share = queued / (size_t)(slots > 0 ? slots : 1) + 1;
	const double worth = call_ms > 0 ? REQUEST_MS / call_ms : GROUP_MIN;
	const size_t least = worth < GROUP_MIN ? GROUP_MIN : worth > GROUP_MAX ? GROUP_MAX : (size_t)worth;
	return share > least ? share : least;
}

/* The first call and those behind it that may go along, spread over the requests that the endpoint takes at a time. */
static size_t gather(struct rpc *rpc, struct call *first, size_t endpoint, int64_t now, struct call *ret[BATCH_MAX])
{
	size_t n = 0;
	ret[n++] = first;
	if (first->probe || first->request.tip || first->alone)
		return n;
	struct endpoint_status status;
	endpoints_status(rpc->options.endpoints, endpoint, &status);
	const size_t group = rpc_group(rpc->normal.count, endpoints_slots(rpc->options.endpoints, endpoint), status.call_ms);
	size_t looked = 0;
	for (struct call *c = first->next; c && n < group && n < BATCH_MAX && looked < 4 * BATCH_MAX; c = c->next, looked++)
		if (may_join(c, endpoint, &status, now))
			ret[n++] = c;
	return n;
}

static void expire(struct rpc *rpc, struct call *c)
{
	dequeue(rpc, c);
	if (c->code == 0) {
		struct buf words = BUF_INIT(900);
		endpoints_explain(rpc->options.endpoints, &words);
		set_code(c, WEIR_TIMEOUT, 0, words.size ? buf_str(&words) : "no endpoint could be asked in time");
		buf_free(&words);
	}
	tell(rpc, c);
}

static void refuse(struct rpc *rpc, struct call *c, int code)
{
	struct buf words = BUF_INIT(900);
	endpoints_explain(rpc->options.endpoints, &words);
	dequeue(rpc, c);
	fail(rpc, c, code, code == WEIR_UNSUPPORTED ? "no endpoint has the role that this needs" : buf_str(&words));
	buf_free(&words);
}

static void dispatch_queue(struct rpc *rpc, struct queue *q)
{
	struct call *calls[BATCH_MAX] = { NULL };
	int64_t now = clock_mono_ms();
	size_t waiting = 0;
	for (struct call *c = q->first; c && waiting < LOOK_MAX;) {
		if (now >= c->deadline_ms) {
			struct call *late = c;
			c = c->next;
			expire(rpc, late);
			continue;
		}
		int endpoint = now < c->not_before_ms ? PICK_WAIT : pick(rpc, c);
		if (endpoint == PICK_WAIT) {
			waiting++;
			c = c->next;
			continue;
		}
		if (endpoint < 0) {
			struct call *refused = c;
			c = c->next;
			refuse(rpc, refused, endpoint);
			continue;
		}
		size_t n = gather(rpc, c, (size_t)endpoint, now, calls);
		int64_t may = endpoints_begin(rpc->options.endpoints, (size_t)endpoint, (int64_t)n, c->probe);
		if (may <= 0) {
			waiting++;
			c = c->next;
			continue;
		}
		send_calls(rpc, (size_t)endpoint, calls, (size_t)may);
		c = q->first; /* the queue changed */
		waiting = 0;
	}
}

/* Calls behind the part that dispatch looks at must not outlive their deadlines either. */
static void expire_queue(struct rpc *rpc, struct queue *q)
{
	int64_t now = clock_mono_ms();
	for (struct call *c = q->first, *next; c; c = next) {
		next = c->next;
		if (now >= c->deadline_ms)
			expire(rpc, c);
	}
}

/* -- identity ------------------------------------------------------------------------------------------------------------- */

struct probe {
	struct rpc *rpc;
	size_t endpoint;
	char *chain_id; /* first answer; NULL while it is on the way */
};

static void probe_end(struct probe *p, int code, const char *words)
{
	endpoints_probe_done(p->rpc->options.endpoints, p->endpoint, code, words);
	free(p->chain_id);
	free(p);
}

static void probe_ask(struct probe *p);

static void on_probe(const struct rpc_answer *answer, void *arg)
{
	struct probe *p = arg;
	if (answer->code != 0) {
		probe_end(p, answer->code, answer->error.text);
		return;
	}
	char *text = xstrndup((const char *)answer->result.data, answer->result.size);
	if (!p->chain_id && p->rpc->options.identify_methods[1]) {
		p->chain_id = text;
		probe_ask(p);
		return;
	}
	struct error err = { 0 };
	int r = 0;
	if (p->rpc->options.identify)
		r = p->rpc->options.identify(p->rpc->options.arg, p->endpoint, p->chain_id ? p->chain_id : text, text, &err);
	free(text);
	probe_end(p, r, err.text);
}

static void probe_ask(struct probe *p)
{
	const struct rpc_options *o = &p->rpc->options;
	size_t step = p->chain_id ? 1 : 0;
	struct rpc_request request = { .method = o->identify_methods[step],
				       .params = o->identify_params[step],
				       .only = (int)p->endpoint,
				       .timeout_ms = PROBE_TIMEOUT_MS,
				       .attempts = 1,
				       .on_done = on_probe,
				       .arg = p };
	int r = add_call(p->rpc, &request, true);
	if (r != 0)
		probe_end(p, r, "could not be asked now");
}

static void start_probes(struct rpc *rpc)
{
	for (int index; !rpc->closing && (index = endpoints_take_probe(rpc->options.endpoints)) >= 0;) {
		if (!rpc->options.identify_methods[0]) {
			endpoints_probe_done(rpc->options.endpoints, (size_t)index, 0, "");
			continue;
		}
		struct probe *p = xmalloc(sizeof *p);
		p->rpc = rpc;
		p->endpoint = (size_t)index;
		probe_ask(p);
	}
}

/* -- the loop ------------------------------------------------------------------------------------------------------------- */

static void dispatch(struct rpc *rpc)
{
	start_probes(rpc);
	dispatch_queue(rpc, &rpc->urgent);
	dispatch_queue(rpc, &rpc->normal);
}

static int64_t wait_ms(struct rpc *rpc, int64_t limit)
{
	int64_t now = clock_mono_ms(), wait = limit;
	const struct queue *queues[] = { &rpc->urgent, &rpc->normal };
	for (size_t i = 0; i < 2; i++)
		for (const struct call *c = queues[i]->first; c; c = c->next) {
			int64_t due = c->not_before_ms > now ? c->not_before_ms - now : c->deadline_ms - now;
			if (due < wait)
				wait = due;
		}
	if (rpc->urgent.count + rpc->normal.count > 0 && wait > SHARED_MS)
		wait = SHARED_MS;
	return wait <= 0 ? 0 : endpoints_wait_ms(rpc->options.endpoints, wait);
}

int rpc_poll(struct rpc *rpc, int64_t timeout_ms, int wake_fd)
{
	size_t told = rpc->told;
	dispatch(rpc);
	http_poll(rpc->http, rpc->told != told ? 0 : wait_ms(rpc, timeout_ms), wake_fd);
	expire_queue(rpc, &rpc->urgent);
	expire_queue(rpc, &rpc->normal);
	dispatch(rpc); /* what the callbacks asked goes out now and not at the next turn */
	http_poll(rpc->http, 0, -1);
	return 0;
}

struct waiting { /* rpc_ask's callback */
	bool done;
	int code;
	struct error error;
	size_t endpoint;
	struct arena *arena;
	struct bytes result;
};

static void on_asked(const struct rpc_answer *answer, void *arg)
{
	struct waiting *w = arg;
	w->done = true;
	w->code = answer->code;
	w->error = answer->error;
	w->endpoint = answer->endpoint;
	if (answer->code != 0)
		return;
	uint8_t *copy = arena_alloc(w->arena, answer->result.size + 1);
	if (!copy) {
		w->code = error_set(&w->error, WEIR_LIMIT, "an answer of %zu bytes does not fit", answer->result.size);
		return;
	}
	memcpy(copy, answer->result.data, answer->result.size);
	copy[answer->result.size] = 0;
	w->result = (struct bytes){ copy, answer->result.size };
}

int rpc_ask(struct rpc *rpc, const struct rpc_request *request, struct arena *arena, struct bytes *ret_result, size_t *ret_endpoint, struct error *err)
{
	struct waiting w = { .arena = arena };
	struct rpc_request copy = *request;
	copy.on_done = on_asked;
	copy.arg = &w;
	int r = rpc_call(rpc, &copy);
	if (r != 0)
		return error_set(err, r, "%s: cannot be asked now", request->method);
	while (!w.done)
		rpc_poll(rpc, 1000, -1);
	if (ret_endpoint)
		*ret_endpoint = w.endpoint;
	if (w.code != 0 && err)
		*err = w.error;
	*ret_result = w.result;
	return w.code;
}

int rpc_open(const struct rpc_options *options, struct rpc **ret, struct error *err)
{
	*ret = NULL;
	for (size_t i = 0; i < endpoints_count(options->endpoints); i++) {
		int r = http_check_url(endpoints_url(options->endpoints, i), err);
		if (r != 0)
			return error_prefix(err, "chain %s, endpoint %zu", endpoints_chain(options->endpoints), i);
	}
	struct rpc *rpc = xmalloc(sizeof *rpc);
	rpc->options = *options;
	if (rpc->options.timeout_ms <= 0)
		rpc->options.timeout_ms = 10000;
	if (options->log)
		rpc->log = *options->log;
	rpc->http = http_new();
	if (!rpc->http) {
		free(rpc);
		return error_set(err, WEIR_INTERNAL, "libcurl gives no multi handle");
	}
	*ret = rpc;
	return 0;
}

void rpc_close(struct rpc **rpc)
{
	if (!*rpc)
		return;
	(*rpc)->closing = true;
	http_free(&(*rpc)->http);
	struct queue *queues[] = { &(*rpc)->urgent, &(*rpc)->normal };
	for (size_t i = 0; i < 2; i++)
		while (queues[i]->first) {
			struct call *c = queues[i]->first;
			dequeue(*rpc, c);
			fail(*rpc, c, WEIR_CANCELED, "canceled");
		}
	xfree(rpc);
}
