/* hub.c - the hub's thread: sockets, and what other threads leave for it. */
#include "hub_internal.h"

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
#define TICK_MS 250
#define TEXT_MAX ((size_t)16 << 20)
#define REQUEST_MAX ((size_t)4 << 20)
#define DRAIN_MS 2000

/* ---- from other threads ---------------------------------------------------------------------------------------------------------------- */

static void leave(struct hub *hub, const struct note *from)
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

void hub_adopt(struct http_socket *socket, int fd, struct bytes early, const char *remote, void *arg)
{
	struct hub *hub = ((struct gateway *)arg)->hub;
	int on = 1;
	pthread_mutex_lock(&hub->lock);
	bool closing = hub->closing;
	pthread_mutex_unlock(&hub->lock);
	if (closing) {
		http_release(&socket);
		return;
	}
	struct conn *conn = xmalloc(sizeof *conn);
	conn->hub = hub;
	conn->socket = socket;
	conn->fd = fd;
	snprintf(conn->remote, sizeof conn->remote, "%s", remote);
	fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	atomic_fetch_add(&hub->connections, 1);
	leave(hub, &(struct note){ .kind = NOTE_CONNECTION, .conn = conn, .early = early.size ? xmemdup(early.data, early.size) : NULL, .early_size = early.size });
}

void hub_event(struct hub *hub, const struct gateway_chain *chain, struct event *event)
{
	leave(hub, &(struct note){ .kind = NOTE_EVENT, .chain = &hub->chains[chain->index], .event = event });
}

void hub_reset(struct hub *hub, const struct gateway_chain *chain, uint64_t newest)
{
	leave(hub, &(struct note){ .kind = NOTE_RESET, .chain = &hub->chains[chain->index], .newest = newest });
}

void hub_replayed(struct replay_job *job, void *arg)
{
	leave(((struct gateway *)arg)->hub, &(struct note){ .kind = NOTE_REPLAYED, .job = job });
}

struct hub_counts hub_counts(const struct hub *hub)
{
	return (struct hub_counts){ atomic_load(&hub->connections), atomic_load(&hub->subscriptions) };
}

/* ---- the thread ------------------------------------------------------------------------------------------------------------------------ */

static void note_latency(struct hub *hub, const struct event *event)
{
	const Weir__V1__LedgerEvent *m = event->message;
	if (m->event_case == WEIR__V1__LEDGER_EVENT__EVENT_BLOCK_APPLIED && m->block_applied->announced_at_unix_ms > 0)
		metric_observe(hub->metrics.latency, (double)(clock_wall_ms() - (int64_t)m->block_applied->announced_at_unix_ms) / 1e3);
}

static void take_note(struct hub *hub, struct note *note)
{
	switch (note->kind) {
	case NOTE_CONNECTION:
		conn_start(note->conn, (struct bytes){ note->early, note->early_size });
		free(note->early);
		metric_set(hub->metrics.connections, (double)atomic_load(&hub->connections));
		break;
	case NOTE_EVENT:
		note_latency(hub, note->event);
		live_event(hub, note->chain, note->event);
		break;
	case NOTE_RESET:
		live_reset(hub, note->chain, note->newest);
		break;
	case NOTE_REPLAYED:
		sub_replayed(hub, note->job);
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
	struct conn *next;
	for (struct conn *conn = hub->conns; conn; conn = next) {
		next = conn->next;
		if (conn->dead)
			conn_free(&conn);
	}
}

static void tick(struct hub *hub)
{
	int64_t now = clock_mono_ms();
	if (now - hub->ticked_ms < TICK_MS)
		return;
	hub->ticked_ms = now;
	for (struct conn *conn = hub->conns; conn; conn = conn->next) {
		conn_tick(conn, now);
		sub_retry(conn, now);
		if (conn->closing && conn->queue_count == 0)
			conn->dead = true;
	}
}

static void turn(struct hub *hub, struct epoll_event *events, int timeout_ms, bool *ret_closing)
{
	int n = epoll_wait(hub->epoll, events, EVENTS_PER_TURN, timeout_ms);
	*ret_closing = take_notes(hub);
	for (int i = 0; i < n; i++) {
		struct conn *conn = events[i].data.ptr;
		if (!conn)
			continue;
		if (events[i].events & EPOLLOUT)
			conn_flush(conn);
		if (events[i].events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
			conn_read(conn);
	}
	flush_dirty(hub);
	tick(hub);
	flush_dirty(hub);
	bury(hub);
}

static void *run(void *arg)
{
	struct hub *hub = arg;
	struct epoll_event *events = xcalloc(EVENTS_PER_TURN, sizeof *events);
	bool closing = false;
	while (!closing)
		turn(hub, events, TICK_MS, &closing);
	for (struct conn *conn = hub->conns; conn; conn = conn->next)
		conn_close(conn, 1001, "this server goes away: resume from the last offset on another one");
	for (int64_t deadline = clock_mono_ms() + DRAIN_MS; hub->conns && clock_mono_ms() < deadline;)
		turn(hub, events, 20, &closing);
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
		.latency = metrics_get(m, "weir_gateway_announced_to_hub_seconds", NULL, NULL, NULL),
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
	pthread_mutex_init(&hub->lock, NULL);
	hub->chains = xcalloc(gateway->chain_count ? gateway->chain_count : 1, sizeof *hub->chains);
	for (size_t i = 0; i < gateway->chain_count; i++)
		hub->chains[i].chain = &gateway->chains[i];
	find_metrics(hub);
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
	buf_free(&hub->text);
	arena_free(&hub->arena);
	if (hub->epoll >= 0)
		close(hub->epoll);
	if (hub->wake >= 0)
		close(hub->wake);
	pthread_mutex_destroy(&hub->lock);
	xfree(hubp);
}
