/* gateway_fuzz.c - the whole server, from a connection's bytes to its answers: both listeners' parser, routes, limits and handlers, and the live end
 * with its WebSockets, streams and polls. No port and no store: sockets are pairs, requests are handled on this thread, the bus is memory://, PostgreSQL
 * is away, the journal is one that is made here (pg_pool_… and replay_… below stand for their files of the library).
 *
 * An input: a byte of switches, the size of the pieces it is written in (0: one piece), then what the client sends before it ends its side. The server
 * must end the connection, too, and everything that it sent must be answers whose headers are its own. gateway_requests.h makes requests out of the
 * table of routes.
 */
#include "gateway_requests.h"

#include "services/gateway/call/admit.h"
#include "services/gateway/call/cursor_keys.h"
#include "services/gateway/call/files.h"
#include "services/gateway/call/final.h"
#include "services/gateway/call/negotiate.h"
#include "services/gateway/call/recent.h"
#include "services/gateway/control.h"
#include "services/gateway/http/http_internal.h"
#include "services/gateway/identity/keyring.h"
#include "services/gateway/kafka/export.h"
#include "services/gateway/live/hub.h"
#include "services/gateway/registry.h"
#include "services/gateway/rest/openapi.h"
#include "services/gateway/watchlist/watchlist.h"
#include "services/gateway/webhook/webhook.h"

#include "base/clock.h"
#include "bus/bus.h"
#include "weir/v1/ledger.pb-c.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

enum { FOR_OPERATORS = 1, WITH_EVENTS = 2, LATE = 4 }; /* switches; bits 4 and 5 say from where */

#define EVENTS 8           /* come with an input that wants some */
#define PIECE 16           /* of the journal is read at a time */
#define ANSWER_KEPT 65536  /* of what is sent is looked at */
#define LATE_MS 120000
#define HUB_TURNS 4
#define FULL_TURNS 1000 /* of a server that has not read what it was sent */

static struct gateway gateway;
static _Atomic int64_t now_ns = (int64_t)1763700000 * 1000000000;

static void must(int code, const struct error *err)
{
	if (!code)
		return;
	fprintf(stderr, "the gateway cannot be opened: %s\n", err->text);
	abort();
}

/* ---- time and chance: the same in each run ------------------------------------------------------------------------------------------------------ */

static int64_t now(void)
{
	return atomic_load(&now_ns);
}

static uint64_t not_random(void)
{
	static _Atomic uint64_t last;
	return atomic_fetch_add(&last, 1) * 0x9e3779b97f4a7c15u;
}

/* ---- PostgreSQL is away --------------------------------------------------------------------------------------------------------------------------- */

int pg_pool_open(const struct pg_options *options, size_t size, int64_t first_ms, struct pg_pool **ret, struct error *err)
{
	(void)options;
	(void)size;
	(void)first_ms;
	*ret = NULL;
	return error_set(err, WEIR_UNAVAILABLE, "there is none");
}

void pg_pool_close(struct pg_pool **pool)
{
	*pool = NULL;
}

struct pg *pg_pool_take(struct pg_pool *pool, int64_t timeout_ms, struct error *err)
{
	(void)pool;
	(void)timeout_ms;
	error_set(err, WEIR_UNAVAILABLE, "there is none");
	return NULL;
}

void pg_pool_give(struct pg_pool *pool, struct pg **pg)
{
	(void)pool;
	*pg = NULL;
}

/* ---- the journal: each event is a push of its own ------------------------------------------------------------------------------------------------ */

int replay_open(struct gateway *g, unsigned threads, replay_done *done, void *arg, struct replay **ret, struct error *err)
{
	(void)g;
	(void)threads;
	(void)done;
	(void)arg;
	(void)err;
	*ret = NULL;
	return 0;
}

void replay_close(struct replay **replay)
{
	*replay = NULL;
}

void replay_job_free(struct replay_job **jobp)
{
	struct replay_job *job = *jobp;
	for (size_t i = 0; job && i < job->count; i++)
		tail_drop(&job->pushes[i].tail);
	if (job)
		xfree(&job->pushes);
	xfree(jobp);
}

static void read_piece(struct replay_job *job, uint64_t newest)
{
	struct buf text = BUF_INIT(200);
	if (newest - job->offset.sequence > PIECE) /* it grows with each input, and an input's work must not */
		job->offset.sequence = newest - PIECE;
	job->pushes = xcalloc(newest - job->offset.sequence, sizeof *job->pushes);
	while (job->offset.sequence < newest) {
		uint64_t sequence = ++job->offset.sequence;
		buf_reset(&text);
		buf_printf(&text, ",\"event\":{\"type\":\"made\",\"chain\":\"dev\",\"number\":%llu}}", (unsigned long long)sequence);
		job->pushes[job->count++] = (struct push){ .tail = tail_new(&text), .at = { .sequence = sequence, .index = -1 } };
	}
	job->offset.index = -1;
	buf_free(&text);
}

void replay_submit(struct replay *replay, struct replay_job *job)
{
	uint64_t newest = atomic_load(&job->chain->sequence);
	(void)replay;
	if (job->topic == TOPIC_OF_LETTERS)
		job->code = error_set(&job->error, WEIR_UNAVAILABLE, "there is none");
	else if (job->task == REPLAY_READ && job->offset.sequence < newest)
		read_piece(job, newest);
	else if (job->task == REPLAY_FROM_OFFSET && job->offset.sequence > newest)
		job->code = error_set(&job->error, WEIR_NOT_FOUND, "the offset is beyond the end");
	else if (job->task == REPLAY_FROM_HEIGHT)
		job->offset = (struct offset){ .index = -1, .min_height = job->height };
	else if (job->task == REPLAY_FROM_NOW)
		job->offset = (struct offset){ .sequence = newest, .index = -1, .given_after = newest };
	else if (job->task == REPLAY_SNAPSHOT)
		job->code = error_set(&job->error, WEIR_UNAVAILABLE, "there is none");
	hub_replayed(job, &gateway);
}

int replay_answer(struct gateway *g, struct replay_job *job, struct error *err)
{
	(void)g;
	(void)job;
	return error_set(err, WEIR_UNAVAILABLE, "there is none");
}

/* ---- the chain goes on -------------------------------------------------------------------------------------------------------------------------------- */

static struct event *make_event(uint64_t sequence)
{
	static uint8_t hash[32], delta = 7, account[20] = { 0xf3 };
	static char name[] = "dev";
	struct error err = { 0 };
	struct event *event = NULL;
	memcpy(hash, &sequence, sizeof sequence);
	Weir__V1__BlockRef ref = WEIR__V1__BLOCK_REF__INIT;
	ref.height = sequence;
	ref.hash = (ProtobufCBinaryData){ sizeof hash, hash };
	Weir__V1__Entry entry, *entries[] = { &entry };
	weir__v1__entry__init(&entry);
	entry.tx_index = -1;
	entry.delta = (ProtobufCBinaryData){ 1, &delta };
	entry.kind = WEIR__V1__ENTRY_KIND__ENTRY_KIND_REWARD;
	Weir__V1__Asset asset = WEIR__V1__ASSET__INIT, *assets[] = { &asset };
	asset.standard = WEIR__V1__TOKEN_STANDARD__TOKEN_STANDARD_NATIVE;
	ProtobufCBinaryData owners[] = { { sizeof account, account } };
	Weir__V1__BlockApplied applied = WEIR__V1__BLOCK_APPLIED__INIT;
	Weir__V1__BlockRetracted retracted = WEIR__V1__BLOCK_RETRACTED__INIT;
	Weir__V1__FinalityPromoted promoted = WEIR__V1__FINALITY_PROMOTED__INIT;
	applied.block = retracted.block = promoted.up_to = &ref;
	applied.parent_hash = ref.hash;
	applied.entry_count = retracted.entry_count = 1;
	applied.n_accounts = applied.n_assets = applied.n_entries = 1;
	applied.accounts = owners;
	applied.assets = assets;
	applied.entries = entries;
	promoted.finality = WEIR__V1__FINALITY__FINALITY_FINALIZED;
	Weir__V1__LedgerEvent message;
	weir__v1__ledger_event__init(&message);
	message.chain = name;
	message.sequence = sequence;
	switch (sequence % 4) {
	case 3:
		message.event_case = WEIR__V1__LEDGER_EVENT__EVENT_BLOCK_RETRACTED;
		message.block_retracted = &retracted;
		break;
	case 2:
		message.event_case = WEIR__V1__LEDGER_EVENT__EVENT_FINALITY_PROMOTED;
		message.finality_promoted = &promoted;
		break;
	default:
		message.event_case = WEIR__V1__LEDGER_EVENT__EVENT_BLOCK_APPLIED;
		message.block_applied = &applied;
	}
	uint8_t body[1024];
	must(weir__v1__ledger_event__get_packed_size(&message) > sizeof body ? WEIR_INTERNAL : 0, &err);
	const struct bytes packed = { body, weir__v1__ledger_event__pack(&message, body) };
	must(event_read(&gateway.chains[0].chain, packed, &event, &err), &err);
	return event;
}

static void go_on(void)
{
	struct gateway_chain *chain = &gateway.chains[0];
	for (int i = 0; i < EVENTS; i++) {
		uint64_t sequence = atomic_fetch_add(&chain->sequence, 1) + 1;
		recent_moved(gateway.recent, 0, false);
		hub_event(gateway.hub, chain, make_event(sequence));
	}
}

/* ---- opening: as gateway.c does, without threads for the listeners ------------------------------------------------------------------------------------- */

static void make_dashboard(char *dir)
{
	static const char page[] = "<!doctype html><title>weir</title>";
	char path[64];
	if (!mkdtemp(dir))
		abort();
	snprintf(path, sizeof path, "%s/index.html", dir);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, page, sizeof page - 1) != (ssize_t)sizeof page - 1)
		abort();
	close(fd);
	struct error err = { 0 };
	must(files_open(dir, &gateway.files, &err), &err);
	unlink(path);
	rmdir(dir);
}

static struct config *read_config(void)
{
	static const char yaml[] = "log: {level: error}\n"
				   "bus: {max_backlog: 100}\n"
				   "postgres: {url: \"postgresql:///weir?host=/nowhere\"}\n"
				   "gateway:\n"
				   "  keys: [{name: admin, key: " REQUEST_ADMIN_KEY ", role: admin}, {name: viewer, key: " REQUEST_VIEWER_KEY ", role: viewer}]\n"
				   "  cursor_key: 0123456789abcdef0123456789abcdef\n"
				   "  session_secret: 0123456789abcdef0123456789abcdef0123456789abcdef\n"
				   "  cors_origins: https://a.example\n"
				   "  trusted_proxies: 192.0.2.0/24\n"
				   "  websocket_queue: 64KiB\n"
				   "  max_body: 64KiB\n"
				   "  shed_after: 0\n"
				   "chains: [{name: dev, family: evm, profile: dev, chain_id: 31337, endpoints: [{url: \"http://127.0.0.1:9\"}]}]\n";
	struct error err = { 0 };
	struct config *config = NULL;
	must(config_parse(yaml, sizeof yaml - 1, "fuzz.yaml", &config, &err), &err);
	free(config->bus.redis_url);
	config->bus.redis_url = xstrdup("memory://fuzz");
	return config;
}

static void open_chain(struct error *err)
{
	const struct chain_config *config = &gateway.config->chains[0];
	struct gateway_chain *chain = gateway.chains = xcalloc(1, sizeof *gateway.chains);
	must(chain_init(&chain->chain, config->name, config->family, config->profile, config->chain_id, err), err);
	chain->config = config;
	gateway.chain_count = 1;
	atomic_store(&chain->id, 1);
}

static void open_listeners(struct error *err)
{
	struct http_options options = { .setting = "gateway.listen",
					.address = "127.0.0.1:0",
					.max_connections = 8,
					.max_body_bytes = gateway.config->gateway.max_body_bytes,
					.request_timeout_ms = gateway.config->gateway.request_timeout_ms,
					.handler = call_client,
					.at_once = call_at_once,
					.refuse = call_refuse,
					.trusted = &gateway.trusted_proxies,
					.websocket_path = "/v1/ws",
					.websocket_admit = admit_websocket,
					.websocket_room = hub_has_room,
					.upgraded = hub_adopt,
					.arg = &gateway,
					.log = &gateway.log };
	must(http_open(&options, &gateway.clients, err), err);
	options.handler = call_admin;
	options.at_once = NULL;
	options.websocket_admit = admit_operator_websocket;
	options.upgraded = hub_adopt_operator;
	must(http_open(&options, &gateway.admins, err), err);
}

static void keep_an_answer(void)
{
	static const char path[] = "/v1/chains/dev/blocks/1", body[] = "{\"height\":1}";
	struct target target;
	struct match match;
	struct error err = { 0 };
	must(target_parse(path, &target, &err), &err);
	route_find(client_routes, client_route_count, "GET", &target, &match);
	const struct final_answer answer = { .route = match.route, .type = "application/json", .caching = "private, max-age=86400, immutable", .etag = "\"one\"" };
	final_keep(gateway.final, final_turn(gateway.final), path, &answer, (struct bytes){ (const uint8_t *)body, sizeof body - 1 });
}

static void open_gateway(void)
{
	char dir[] = "/tmp/weir-fuzz-XXXXXX";
	struct error err = { 0 };
	log_init(LOG_ERROR, LOG_FORMAT_JSON);
	clock_mono_ns = clock_wall_ns = now;
	random_u64 = not_random;
	const struct config *config = read_config();
	gateway.config = config;
	gateway.ctx = daemon_ctx_new("gateway", config, gateway_metrics, gateway_metric_count);
	gateway.log = *daemon_log(gateway.ctx);
	gateway.metrics = daemon_metrics(gateway.ctx);
	bus_register_metrics(gateway.metrics);
	gateway.recent = recent_new((size_t)1 << 20, 1, NULL);
	gateway.final = final_new((size_t)1 << 20, NULL, NULL);
	must(client_ranges_parse(config->gateway.trusted_proxies, &gateway.trusted_proxies, &err), &err);
	must(client_ranges_parse(config->gateway.limit_exempt, &gateway.limit_exempt, &err), &err);
	open_chain(&err);
	must(exports_open(&gateway, &gateway.exports, &err), &err); /* to nowhere: kafka.url is empty */
	must(control_open(&gateway, &gateway.control, &err), &err);
	must(control_open(&gateway, &gateway.letter_control, &err), &err);
	cursor_keys_open(&gateway, &gateway.cursor_keys);
	registry_open(&gateway, &gateway.registry);
	must(keyring_open(&gateway, &gateway.keyring, &err), &err);
	must(hub_open(&gateway, &gateway.hub, &err), &err);
	must(watchlists_open(&gateway, hub_watched, &gateway, &gateway.watchlists, &err), &err);
	must(limit_open(&gateway, &gateway.limits, &err), &err);
	gateway.cors = xcalloc(1, sizeof *gateway.cors);
	must(cors_parse(config->gateway.cors_origins, gateway.cors, &err), &err);
	must(webhooks_open(&gateway, &gateway.webhooks, &err), &err);
	gateway.openapi = openapi_new();
	make_dashboard(dir);
	open_listeners(&err);
	hub_reset(gateway.hub, &gateway.chains[0], 0, 0);
	keep_an_answer();
}

/* ---- what may come out ------------------------------------------------------------------------------------------------------------------------------------ */

static void fail(const char *why, const uint8_t *text, size_t size)
{
	fprintf(stderr, "%s: %.*s\n", why, (int)(size < 2000 ? size : 2000), (const char *)text);
	abort();
}

/* A header that is not one of these came in with the request. */
static bool is_own(const char *name, size_t size)
{
	static const char *const names[] = {
		"Date", "X-Content-Type-Options", "X-Frame-Options", "Referrer-Policy", "Cross-Origin-Resource-Policy", "Content-Security-Policy", "X-Request-Id",
		"Content-Type", "Cache-Control", "ETag", "Set-Cookie", "Allow", "WWW-Authenticate", "Idempotency-Replayed", "Retry-After", "Upgrade",
		"Sec-WebSocket-Version", "Content-Length", "Connection", "Sec-WebSocket-Accept", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions", "Vary",
		"Content-Encoding", "Access-Control-Allow-Origin", "Access-Control-Expose-Headers", "Access-Control-Allow-Methods", "Access-Control-Allow-Headers",
		"Access-Control-Max-Age", "RateLimit-Policy", "RateLimit", "X-RateLimit-Limit", "X-RateLimit-Remaining", "X-RateLimit-Reset", "Deprecation", "Sunset",
		"Link", "X-Accel-Buffering", "Transfer-Encoding",
	};
	for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
		if (strlen(names[i]) == size && strncasecmp(names[i], name, size) == 0)
			return true;
	return false;
}

/* The first answer's head. What is behind it cannot be told without knowing what was asked. */
static void judge(const uint8_t *text, size_t size)
{
	static const char status[] = "HTTP/1.1 ";
	if (size == 0)
		return;
	const uint8_t *end = memmem(text, size, "\r\n\r\n", 4), *line = text;
	if (size < sizeof status - 1 || memcmp(text, status, sizeof status - 1) != 0 || !end)
		fail("not an answer", text, size);
	for (const uint8_t *next; line < end; line = next) {
		const uint8_t *stop = memmem(line, (size_t)(end + 2 - line), "\r\n", 2), *colon = memchr(line, ':', (size_t)(stop - line));
		next = stop + 2;
		for (const uint8_t *p = line; p < stop; p++)
			if (*p < 0x20 || *p == 0x7f)
				fail("a byte that no header may have", text, size);
		if (line != text && (!colon || !is_own((const char *)line, (size_t)(colon - line))))
			fail("a header of somebody else's", text, size);
	}
}

/* ---- one connection ------------------------------------------------------------------------------------------------------------------------------------------ */

static struct sockaddr_storage address_of(unsigned which)
{
	union {
		struct sockaddr_storage any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} u = { 0 };
	if (which & 1) {
		u.v6.sin6_family = AF_INET6;
		inet_pton(AF_INET6, which & 2 ? "2001:db8::1" : "::1", &u.v6.sin6_addr);
	} else {
		u.v4.sin_family = AF_INET;
		inet_pton(AF_INET, which & 2 ? "192.0.2.1" : "127.0.0.1", &u.v4.sin_addr);
	}
	return u.any;
}

/* Until nothing is left to do for the listener. */
static void move(struct http *http)
{
	struct pollfd work = { .fd = http->loops[0].epoll, .events = POLLIN };
	do
		http_loop_turn(&http->loops[0], 0);
	while (http_handle_one(http) || poll(&work, 1, 0) > 0);
}

struct answer {
	uint8_t data[ANSWER_KEPT];
	size_t size;
};

/* False: the server has ended its side. */
static bool take(int fd, struct answer *answer)
{
	static uint8_t rest[65536];
	for (;;) {
		size_t room = sizeof answer->data - answer->size;
		ssize_t n = recv(fd, room > 0 ? answer->data + answer->size : rest, room > 0 ? room : sizeof rest, MSG_DONTWAIT);
		if (n <= 0)
			return n < 0 && (errno == EAGAIN || errno == EINTR);
		answer->size += room > 0 ? (size_t)n : 0;
	}
}

/* False: the server takes no more: it has ended its side, or gives an answer without end and reads nothing meanwhile. */
static bool say(struct http *http, int fd, struct bytes what, struct answer *answer)
{
	unsigned in_vain = 0;
	for (size_t done = 0; done < what.size;) {
		ssize_t n = send(fd, what.data + done, what.size - done, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (n < 0 && (errno != EAGAIN || ++in_vain == FULL_TURNS))
			return false;
		done += n > 0 ? (size_t)n : 0;
		move(http);
		if (!take(fd, answer))
			return false;
	}
	return true;
}

/* What the hub was left before this is done, and what came of that, too: a turn each. */
static void let_hub_work(void)
{
	struct buf list = BUF_INIT((size_t)1 << 20);
	for (int i = 0; i < HUB_TURNS && hub_counts(gateway.hub).connections > 0; i++) {
		buf_reset(&list);
		(void)hub_list(gateway.hub, &list, &(struct hub_search){ .limit = 1, .find = "dev" });
	}
	buf_free(&list);
}

static void talk(struct http *http, unsigned switches, size_t piece, struct bytes input, struct answer *answer)
{
	int pair[2];
	const struct sockaddr_storage from = address_of(switches >> 4 & 3);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
		abort();
	fcntl(pair[1], F_SETFL, O_NONBLOCK);
	atomic_fetch_add(&http->connections, 1);
	http_loop_take(&http->loops[0], pair[1], &from, false);
	bool open = true;
	for (size_t at = 0; open && at < input.size; at += piece)
		open = say(http, pair[0], (struct bytes){ input.data + at, input.size - at < piece ? input.size - at : piece }, answer);
	let_hub_work();
	if (switches & WITH_EVENTS) {
		go_on();
		let_hub_work();
	}
	if (switches & LATE) {
		atomic_fetch_add(&now_ns, (int64_t)LATE_MS * 1000000);
		move(http);
	}
	shutdown(pair[0], SHUT_WR);
	while (open) {
		struct pollfd fds[] = { { .fd = pair[0], .events = POLLIN }, { .fd = http->loops[0].epoll, .events = POLLIN } };
		move(http);
		open = take(pair[0], answer);
		if (open)
			poll(fds, 2, 1000);
	}
	close(pair[0]);
	while (atomic_load(&http->connections) > 0) { /* the hub may still have it */
		struct pollfd work = { .fd = http->loops[0].epoll, .events = POLLIN };
		move(http);
		if (atomic_load(&http->connections) > 0)
			poll(&work, 1, 1);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct answer answer;
	if (!gateway.ctx)
		open_gateway();
	if (size < 2)
		return 0;
	atomic_fetch_add(&now_ns, (int64_t)61 * 1000000000); /* limits are paid off */
	answer.size = 0;
	struct http *http = data[0] & FOR_OPERATORS ? gateway.admins : gateway.clients;
	talk(http, data[0], data[1] ? data[1] : size, (struct bytes){ data + 2, size - 2 }, &answer);
	judge(answer.data, answer.size);
	return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
	return requests_mutate(data, size, max_size, seed, FOR_OPERATORS);
}
