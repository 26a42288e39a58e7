/* hub.c - the hub's thread: sockets, and what other threads leave for it. */
#include "live/hub_internal.h"
#include "live/hub_trace.h"

#include "identity/keyring.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define EVENTS_PER_TURN 256
#define LATE_MS 2000 /* between two ticks: the machine has too much to do */
#define TEXT_MAX ((size_t)16 << 20)
#define REQUEST_MAX ((size_t)4 << 20)
#define DRAIN_MS 2000
#define COME_BACK_MS 5000
#define KERNEL_QUEUE_MAX ((size_t)256 << 10) /* unsent in a socket; else Linux lets it grow to megabytes, out of sight of laggards' limits */

/* ---- from other threads ---------------------------------------------------------------------------------------------------------------- */

void hub_leave(struct hub *hub, const struct note *from)
{
	struct note *note = xmemdup(from, sizeof *from);
	uint64_t one = 1;
	note->next = NULL;
	pthread_mutex_lock(&hub->lock);
	bool first = !hub->notes;
	*hub->notes_end = note;
	hub->notes_end = &note->next;
	pthread_mutex_unlock(&hub->lock);
	if (first && write(hub->wake, &one, sizeof one) < 0 && errno != EAGAIN)
		log_error(&hub->log, "hub_wake", strerror(errno));
}

bool hub_has_room(void *arg)
{
	struct gateway *gateway = arg;
	return atomic_load(&gateway->hub->connections) < (uint64_t)gateway->config->gateway.max_websockets;
}

static bool is_closing(struct hub *hub)
{
	pthread_mutex_lock(&hub->lock);
	bool closing = hub->closing;
	pthread_mutex_unlock(&hub->lock);
	return closing;
}

static struct conn *adopt(struct hub *hub, enum carrier carrier, struct http_socket *socket, int fd, const char *remote)
{
	int on = 1, most = (int)(hub->queue_max < KERNEL_QUEUE_MAX ? hub->queue_max : KERNEL_QUEUE_MAX);
	struct conn *conn = xmalloc(sizeof *conn);
	conn->hub = hub;
	conn->carrier = carrier;
	conn->socket = socket;
	conn->io = http_channel(socket);
	conn->deflates = http_deflates(socket);
	conn->packs = http_protocol(socket) && strcmp(http_protocol(socket), HTTP_PROTOCOL_MSGPACK) == 0;
	conn->fd = fd;
	snprintf(conn->remote, sizeof conn->remote, "%s", remote);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &most, sizeof most);
	atomic_fetch_add(&hub->connections, 1);
	return conn;
}

static void take_in(struct hub *hub, struct http_socket *socket, int fd, struct bytes early, const char *remote, bool operators)
{
	if (is_closing(hub)) {
		http_release(&socket);
		return;
	}
	struct conn *conn = adopt(hub, CARRIER_WEBSOCKET, socket, fd, remote);
	conn->operators = operators;
	hub_leave(hub, &(struct note){ .kind = NOTE_CONNECTION, .conn = conn, .early = early.size ? xmemdup(early.data, early.size) : NULL, .early_size = early.size });
}

void hub_adopt(struct http_socket *socket, int fd, struct bytes early, const char *remote, void *arg)
{
	take_in(((struct gateway *)arg)->hub, socket, fd, early, remote, false);
}

void hub_adopt_operator(struct http_socket *socket, int fd, struct bytes early, const char *remote, void *arg)
{
	take_in(((struct gateway *)arg)->hub, socket, fd, early, remote, true);
}

void hub_take(struct http_socket *socket, int fd, void *arg)
{
	struct hub_request *request = arg;
	struct hub *hub = request->gateway->hub;
	/* While it closes, too: whoever is in the queue is answered. */
	struct conn *conn = adopt(hub, request->carrier, socket, fd, http_request_of(socket)->remote);
	conn->operators = request->operators;
	hub_leave(hub, &(struct note){ .kind = NOTE_REQUEST, .conn = conn, .request = request });
}

void hub_event(struct hub *hub, const struct gateway_chain *chain, struct event *event)
{
	hub_leave(hub, &(struct note){ .kind = NOTE_EVENT, .chain = &hub->chains[chain->index], .event = event });
}

void hub_reset(struct hub *hub, const struct gateway_chain *chain, uint64_t newest, uint32_t print)
{
	hub_leave(hub, &(struct note){ .kind = NOTE_RESET, .chain = &hub->chains[chain->index], .newest = newest, .print = print });
}

void hub_watched(void *gateway, const struct gateway_chain *chain, uint64_t sequence)
{
	struct hub *hub = ((struct gateway *)gateway)->hub;
	hub_leave(hub, &(struct note){ .kind = NOTE_WATCHED, .chain = &hub->chains[chain->index], .newest = sequence });
}

void hub_replayed(struct replay_job *job, void *arg)
{
	hub_leave(((struct gateway *)arg)->hub, &(struct note){ .kind = NOTE_REPLAYED, .job = job });
}

struct hub_counts hub_counts(const struct hub *hub)
{
	return (struct hub_counts){ atomic_load(&hub->connections), atomic_load(&hub->subscriptions) };
}

/* ---- the thread ------------------------------------------------------------------------------------------------------------------------ */

static void take_note(struct hub *hub, struct note *note)
{
	switch (note->kind) {
	case NOTE_CONNECTION:
		conn_start(note->conn, (struct bytes){ note->early, note->early_size });
		free(note->early);
		conn_enter_room(note->conn);
		metric_set(hub->metrics.connections, (double)atomic_load(&hub->connections));
		break;
	case NOTE_REQUEST:
		plain_start(note->conn, note->request);
		free(note->request);
		conn_enter_room(note->conn);
		metric_set(hub->metrics.connections, (double)atomic_load(&hub->connections));
		break;
	case NOTE_EVENT:
		hub_trace_begin(hub, note->chain, note->event);
		live_event(hub, note->chain, note->event);
		hub_trace_offered(hub);
		break;
	case NOTE_RESET:
		live_reset(hub, note->chain, note->newest, note->print);
		break;
	case NOTE_WATCHED:
		lists_known(hub, note->chain, note->newest);
		break;
	case NOTE_REPLAYED:
		sub_replayed(hub, note->job);
		break;
	case NOTE_LISTING:
		hub_list_write(hub, note->listing);
		break;
	}
	free(note);
}

static bool take_notes(struct hub *hub)
{
	uint64_t count;
	(void)!read(hub->wake, &count, sizeof count);
	pthread_mutex_lock(&hub->lock);
	struct note *note = hub->notes;
	hub->notes = NULL;
	hub->notes_end = &hub->notes;
	bool closing = hub->closing;
	pthread_mutex_unlock(&hub->lock);
	while (note) {
		struct note *next = note->next;
		take_note(hub, note);
		note = next;
	}
	return closing;
}

/* Everything that the turn produced, one write per connection. */
static void flush_dirty(struct hub *hub)
{
	while (hub->dirty) {
		struct conn *conn = hub->dirty;
		hub->dirty = conn->next_dirty;
		conn->dirty = false;
		if (!conn->blocked)
			conn_flush(conn);
	}
}

static void bury(struct hub *hub)
{
	while (hub->dying) {
		struct conn *conn = hub->dying;
		hub->dying = conn->next_dying;
		conn_free(&conn);
	}
}

/* Keys came or went: whoever holds a connection by one that is gone must go. */
static void look_at_holders(struct hub *hub)
{
	const uint64_t generation = keyring_generation(hub->gateway->keyring) + 1;
	for (struct conn *conn = hub->conns; conn && generation != hub->holders_seen; conn = conn->next)
		conn_soon(conn);
	hub->holders_seen = generation;
}

static void look(struct conn *conn, int64_t now)
{
	conn_tick(conn, now);
	sub_retry(conn, now);
	if (conn->closing && conn->queue_count == 0 && (!conn->lingers || frames_parted(conn->frames)))
		conn_die(conn);
	if (!conn->dead && conn->due.due == 0)
		wheel_put(&conn->hub->wheel, &conn->due, (uint64_t)(conn_due_ms(conn, now) / TICK_MS) + 1);
}

/* Those that are due: one on which nothing happens costs nothing between two pings. */
static void tick(struct hub *hub)
{
	int64_t now = clock_mono_ms();
	int64_t since = now - hub->ticked_ms;
	if (since < TICK_MS)
		return;
	hub->ticked_ms = now;
	if (since > LATE_MS) /* this thread was away: what clients did meanwhile is not held against them */
		for (struct conn *conn = hub->conns; conn; conn = conn->next) {
			conn->heard_ms += since;
			conn->progress_ms += since;
			conn->prove_by_ms += since;
		}
	look_at_holders(hub);
	for (struct wheel_entry *e; (e = wheel_take(&hub->wheel, (uint64_t)(now / TICK_MS))) != NULL;)
		look((struct conn *)((char *)e - offsetof(struct conn, due)), now);
}

static void turn(struct hub *hub, struct epoll_event *events, int timeout_ms, bool *ret_closing)
{
	int n = epoll_wait(hub->epoll, events, EVENTS_PER_TURN, timeout_ms);
	hub->turned_ms = clock_mono_ms();
	*ret_closing = take_notes(hub);
	for (int i = 0; i < n; i++) {
		struct conn *conn = events[i].data.ptr;
		if (!conn)
			continue;
		if (events[i].events & EPOLLOUT) {
			conn->heard_ms = hub->turned_ms; /* room where there was none: the client took something, though its pong may wait behind the rest */
			conn_flush(conn);
		}
		if (events[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
			conn_read(conn);
	}
	flush_dirty(hub);
	hub_traces_end(hub);
	tick(hub);
	flush_dirty(hub);
	bury(hub);
}

/* Each is told another time to come back, so that they do not all fall upon the next server at once. */
static void send_away(struct conn *conn)
{
	char reason[124];
	int after_ms = (int)(random_u64() % COME_BACK_MS);
	for (struct sub *sub = conn->subs; sub; sub = sub->next_of_conn)
		sub_send_away(sub, after_ms);
	snprintf(reason, sizeof reason, "this server goes away: resume from the last offset on another one, in %d ms", after_ms);
	conn_close(conn, 1001, reason);
	conn->lingers = conn->carrier == CARRIER_WEBSOCKET;
}

static size_t count_open(const struct hub *hub)
{
	size_t n = 0;
	for (const struct conn *conn = hub->conns; conn; conn = conn->next)
		n += !conn->closing && !conn->dead;
	return n;
}

/* One after the other over the time that the settings give; who is not sent away yet goes on hearing of everything. */
static void drain(struct hub *hub, struct epoll_event *events)
{
	const int64_t begun = clock_mono_ms(), most = hub->gateway->config->gateway.drain_ms;
	const size_t all = count_open(hub);
	bool closing;
	for (int64_t now = begun; hub->conns && now < begun + most + DRAIN_MS; now = clock_mono_ms()) {
		size_t stay = now >= begun + most ? 0 : all - 1 - (size_t)(now - begun) * all / (size_t)most, open = count_open(hub);
		for (struct conn *conn = hub->conns; conn && open > stay; conn = conn->next)
			if (!conn->closing && !conn->dead) {
				send_away(conn);
				open--;
			}
		turn(hub, events, 20, &closing);
	}
	log_info(&hub->log, "drained", "live clients were sent to other gateways", LOG_U("connections", all), LOG_I("milliseconds", clock_mono_ms() - begun));
}

static void *run(void *arg)
{
	struct hub *hub = arg;
	struct epoll_event *events = xcalloc(EVENTS_PER_TURN, sizeof *events);
	bool closing = false;
	while (!closing)
		turn(hub, events, TICK_MS, &closing);
	drain(hub, events);
	while (hub->conns) {
		struct conn *conn = hub->conns;
		conn_free(&conn);
	}
	free(events);
	return NULL;
}

/* ---- opening and closing --------------------------------------------------------------------------------------------------------------- */

static void find_metrics(struct hub *hub)
{
	struct metrics *m = hub->gateway->metrics;
	hub->metrics = (struct hub_metrics){
		.connections = metrics_get(m, "weir_gateway_websocket_connections", NULL, NULL, NULL),
		.subscriptions = metrics_get(m, "weir_gateway_subscriptions", NULL, NULL, NULL),
		.pushes = metrics_get(m, "weir_gateway_pushes_total", NULL, NULL, NULL),
		.bytes = metrics_get(m, "weir_gateway_websocket_bytes_total", NULL, NULL, NULL),
		.replays = metrics_get(m, "weir_gateway_replay_jobs_total", NULL, NULL, NULL),
		.lagged = { NULL, metrics_get(m, "weir_gateway_laggards_total", "resume", NULL, NULL), metrics_get(m, "weir_gateway_laggards_total", "drop", NULL, NULL),
			    metrics_get(m, "weir_gateway_laggards_total", "conflate", NULL, NULL) },
		.latency = metrics_get(m, "weir_gateway_announced_to_frame_seconds", NULL, NULL, NULL),
		.authenticated = metrics_get(m, "weir_gateway_websocket_authentications_total", "accepted", NULL, NULL),
		.refused = metrics_get(m, "weir_gateway_websocket_authentications_total", "refused", NULL, NULL),
	};
}

int hub_open(struct gateway *gateway, struct hub **ret, struct error *err)
{
	struct hub *hub = xmalloc(sizeof *hub);
	*ret = hub;
	hub->gateway = gateway;
	hub->log = gateway->log;
	hub->queue_max = (size_t)gateway->config->gateway.websocket_queue_bytes;
	hub->notes_end = &hub->notes;
	hub->text = (struct buf)BUF_INIT(TEXT_MAX);
	hub->arena = arena_new(REQUEST_MAX);
	hub->deflate = deflate_new();
	hub->scratch = arena_new(8 * TEXT_MAX);
	hub->packed = (struct buf)BUF_INIT(2 * TEXT_MAX);
	hub->together = xmalloc(TOGETHER_SIZE);
	hub->traces = hub_traces_new();
	pthread_mutex_init(&hub->lock, NULL);
	pthread_cond_init(&hub->listed, NULL);
	hub->chains = xcalloc(gateway->chain_count ? gateway->chain_count : 1, sizeof *hub->chains);
	for (size_t i = 0; i < gateway->chain_count; i++)
		hub->chains[i].chain = &gateway->chains[i];
	find_metrics(hub);
	hub->wheel.tick = (uint64_t)(clock_mono_ms() / TICK_MS) + 1;
	hub->epoll = epoll_create1(EPOLL_CLOEXEC);
	hub->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = NULL };
	if (hub->epoll < 0 || hub->wake < 0 || epoll_ctl(hub->epoll, EPOLL_CTL_ADD, hub->wake, &e) != 0) {
		hub_close(ret);
		return error_set(err, WEIR_FULL, "cannot open the hub's descriptors: %s", strerror(errno));
	}
	if (pthread_create(&hub->thread, NULL, run, hub) != 0) {
		hub_close(ret);
		return error_set(err, WEIR_FULL, "cannot start a thread: the system's limit is reached");
	}
	hub->started = true;
	return 0;
}

static void free_conns(struct hub *hub)
{
	take_notes(hub);
	while (hub->conns) {
		struct conn *conn = hub->conns;
		conn_free(&conn);
	}
}

void hub_stop(struct hub *hub)
{
	uint64_t one = 1;
	if (!hub || !hub->started)
		return;
	pthread_mutex_lock(&hub->lock);
	hub->closing = true;
	pthread_mutex_unlock(&hub->lock);
	(void)!write(hub->wake, &one, sizeof one);
	pthread_join(hub->thread, NULL);
	hub->started = false;
	free_conns(hub); /* adopted in the last moment */
}

void hub_close(struct hub **hubp)
{
	struct hub *hub = *hubp;
	if (!hub)
		return;
	hub_stop(hub);
	free_conns(hub); /* and jobs of subscriptions that are gone */
	for (size_t i = 0; i < hub->gateway->chain_count; i++)
		live_free(&hub->chains[i]);
	xfree(&hub->chains);
	xfree(&hub->rooms);
	buf_free(&hub->text);
	arena_free(&hub->arena);
	deflate_free(&hub->deflate);
	arena_free(&hub->scratch);
	buf_free(&hub->packed);
	xfree(&hub->together);
	hub_traces_free(&hub->traces);
	queue_free_spare(hub);
	if (hub->epoll >= 0)
		close(hub->epoll);
	if (hub->wake >= 0)
		close(hub->wake);
	pthread_cond_destroy(&hub->listed);
	pthread_mutex_destroy(&hub->lock);
	xfree(hubp);
}
