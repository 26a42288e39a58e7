/* http_loop.c - threads that accept, read and write: one epoll set each, edge-triggered, so that no request costs a change of it. */
#include "http/http_internal.h"
#include "http/peers.h"

#include "base/clock.h"

#include <errno.h>
#include <linux/sockios.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define READ_SIZE 16384
#define EVENTS 128
#define ACCEPTS 64  /* at a time */
#define SWEEP_MS 250
#define SEND_TIMEOUTS 6 /* an answer may take so many request timeouts to be taken */
#define TAKE_RATE 1024  /* bytes a second that must be taken of it, once the first of them is over */
#define UNSENT_MAX (64 << 10) /* of a connection in the kernel: what else it would hold for thousands who read slowly is missing to everybody's sockets */
#define UNTAKEN_MS 60000      /* the kernel gives a connection up whose peer acknowledges nothing for so long, also when it is closed here already */
#define LINGER_MS 1000
#define HANDSHAKES_MAX 256 /* of one thread; while there are more, a handshake gets this long: */
#define HANDSHAKE_HURRIED_MS 2000
#define LINGER_BYTES ((size_t)1 << 20)

/* ---- connections ------------------------------------------------------------------------------------------------------------------------ */

void http_set_phase(struct http_conn *conn, enum phase phase)
{
	bool was = conn->phase == PHASE_HANDLING || conn->phase == PHASE_SENDING, is = phase == PHASE_HANDLING || phase == PHASE_SENDING;
	if (was != is)
		atomic_fetch_add(&conn->loop->http->busy, is ? 1 : -1);
	conn->phase = phase;
	conn->since_ms = clock_mono_ms();
}

static void attach(struct http_conn *conn)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = conn };
	epoll_ctl(conn->loop->epoll, EPOLL_CTL_ADD, conn->io.fd, &event);
	conn->detached = false;
}

void http_detach(struct http_conn *conn)
{
	epoll_ctl(conn->loop->epoll, EPOLL_CTL_DEL, conn->io.fd, NULL);
	conn->detached = true;
}

static void forget(struct http_conn *conn)
{
	struct http_loop *loop = conn->loop;
	*(conn->previous ? &conn->previous->next : &loop->conns) = conn->next;
	if (conn->next)
		conn->next->previous = conn->previous;
	if (conn->counted) {
		const struct client_address peer = client_address_of((const struct sockaddr *)&conn->address);
		peers_leave(loop->http->peers, &peer);
	}
	http_exchange_free(&conn->x);
	buf_free(&conn->in);
	buf_free(&conn->out);
	free(conn);
}

static void destroy(struct http_conn *conn)
{
	struct http *http = conn->loop->http;
	http_set_phase(conn, PHASE_UPGRADED);
	channel_close(&conn->io);
	forget(conn);
	atomic_fetch_sub(&http->connections, 1);
}

/* The last word is out; the connection ends when the peer has read it, or after a moment. */
static void end_writing(struct http_conn *conn)
{
	http_set_phase(conn, PHASE_LINGERING);
	channel_end_writing(&conn->io);
	conn->sent = 0; /* now of bytes thrown away */
}

static void listen_again(struct http_loop *loop)
{
	const struct http *http = loop->http;
	struct epoll_event event = { .events = EPOLLIN | EPOLLEXCLUSIVE, .data.ptr = loop };
	bool wanted = !atomic_load(&http->quiet) && atomic_load(&http->connections) < http->options.max_connections;
	if (wanted && !loop->listening)
		loop->listening = epoll_ctl(loop->epoll, EPOLL_CTL_ADD, http->listen_fd, &event) == 0;
	else if (!wanted && loop->listening)
		loop->listening = epoll_ctl(loop->epoll, EPOLL_CTL_DEL, http->listen_fd, NULL) != 0;
}

void http_loop_take(struct http_loop *loop, int fd, const struct sockaddr_storage *address, bool counted)
{
	const struct http *http = loop->http;
	struct http_conn *conn = xmalloc(sizeof *conn);
	*conn = (struct http_conn){ .io.fd = fd, .loop = loop, .since_ms = clock_mono_ms(), .address = *address, .counted = counted, .next = loop->conns };
	conn->in = (struct buf)BUF_INIT(4 * READ_SIZE);
	conn->out = (struct buf)BUF_INIT(READ_SIZE);
	if (conn->next)
		conn->next->previous = conn;
	loop->conns = conn;
	if (http->options.tls) {
		conn->io.tls = tls_accept(http->options.tls, fd);
		conn->phase = PHASE_HANDSHAKE;
	}
	if (http->options.tls && !conn->io.tls)
		destroy(conn);
	else
		attach(conn);
}

static void set_up(int fd)
{
	static const struct {
		int option, value;
	} options[] = { { TCP_NODELAY, 1 }, { TCP_NOTSENT_LOWAT, UNSENT_MAX }, { TCP_USER_TIMEOUT, UNTAKEN_MS } };
	for (size_t i = 0; i < sizeof options / sizeof options[0]; i++)
		setsockopt(fd, IPPROTO_TCP, options[i].option, &options[i].value, sizeof options[i].value);
}

/* False: its peer has as many as it may have. A proxy has those of all its clients. */
static bool count_peer(const struct http *http, const struct sockaddr_storage *address, bool *ret_counted)
{
	const struct client_address peer = client_address_of((const struct sockaddr *)address);
	const struct client_ranges *trusted = http->options.trusted, *exempt = http->options.exempt;
	*ret_counted = http->peers && !(trusted && client_ranges_have(trusted, &peer)) && !(exempt && client_ranges_have(exempt, &peer));
	return !*ret_counted || peers_enter(http->peers, &peer);
}

static void tell_refused(struct http *http, const struct sockaddr_storage *address)
{
	uint64_t count;
	char text[CLIENT_ADDRESS_TEXT];
	const struct client_address peer = client_address_of((const struct sockaddr *)address);
	if (http->options.refused_peers)
		metric_inc(http->options.refused_peers);
	if (!http->options.log || !seldom_due(&http->refused_peers, &count))
		return;
	client_address_limited(&peer, text);
	log_warn(http->options.log, "connections_refused", "an address holds as many connections as it may (gateway.http_per_address); a reverse proxy belongs into gateway.trusted_proxies",
		 LOG_S("peer", text), LOG_I("most", http->options.connections_per_peer), LOG_U("count", count));
}

/* Where there is no room others wait in the kernel's queue. */
static void accept_some(struct http_loop *loop)
{
	struct http *http = loop->http;
	for (int i = 0; i < ACCEPTS && !atomic_load(&http->quiet); i++) {
		struct sockaddr_storage address;
		socklen_t size = sizeof address;
		if (atomic_fetch_add(&http->connections, 1) >= http->options.max_connections) {
			atomic_fetch_sub(&http->connections, 1);
			listen_again(loop);
			return;
		}
		int fd = accept4(http->listen_fd, (struct sockaddr *)&address, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
		if (fd < 0) {
			atomic_fetch_sub(&http->connections, 1);
			return;
		}
		bool counted;
		if (!count_peer(http, &address, &counted)) {
			close(fd);
			atomic_fetch_sub(&http->connections, 1);
			tell_refused(http, &address);
			continue;
		}
		set_up(fd);
		http_loop_take(loop, fd, &address, counted);
	}
}

/* False: it has to wait, or the connection is gone. Who is refused may still read why. */
static bool shake_hands(struct http_conn *conn)
{
	const struct http *http = conn->loop->http;
	const char *reason;
	switch (channel_shake_hands(&conn->io, &reason)) {
	case CHANNEL_OPEN:
		tls_count(http->options.tls, TLS_DONE);
		http_set_phase(conn, PHASE_READING);
		return true;
	case CHANNEL_REFUSED:
		tls_count(http->options.tls, TLS_FAILED);
		log_debug(http->options.log, "handshake_failed", reason, LOG_S("setting", http->options.setting));
		end_writing(conn);
		return true;
	case CHANNEL_WAITS:
		break;
	}
	return false;
}

/* ---- reading ---------------------------------------------------------------------------------------------------------------------------- */

static void consume(struct http_conn *conn, size_t n)
{
	conn->in.size -= n;
	memmove(conn->in.data, conn->in.data + n, conn->in.size);
}

static void send_continue(struct http_conn *conn)
{
	static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
	if (!channel_write_all(&conn->io, text, sizeof text - 1))
		conn->x->close = true; /* the socket's buffer is full at the start of an exchange: this peer does not read */
}

/* True: the request with this head has its answer already. */
static bool turn_away(struct http_conn *conn, const char *head, size_t size)
{
	const struct http_options *o = &conn->loop->http->options;
	const int64_t now = clock_mono_ns();
	struct http_arrival arrival;
	char text[DOOR_ANSWER_MAX];
	const struct http_load load = o->turns_away ? http_load_of(conn->loop, now) : (struct http_load){ 0 };
	if (load.wait_ms == 0 || !door_read(head, size, &arrival) || !o->turns_away(&arrival, &load, o->arg))
		return false;
	size_t n = door_answer(&conn->loop->door, o, &arrival, text);
	if (n == 0)
		return false;
	backlog_turned_away(&conn->loop->http->backlog, now);
	conn->since_ms = now / 1000000;
	if (!channel_write_all(&conn->io, text, n))
		end_writing(conn); /* the socket's buffer is full at the start of an exchange: this peer does not read */
	return true;
}

/* True: there is a whole head, refused or not. */
static bool advance_head(struct http_conn *conn)
{
	struct h1_problem problem;
	ssize_t n = h1_scan(&conn->scan, conn->in.data, conn->in.size, &problem);
	if (n == 0)
		return false;
	size_t begin = conn->scan.begin, size = n > 0 ? (size_t)n - begin : 0;
	conn->scan = (struct h1_scan){ 0 };
	conn->begun = false;
	if (n > 0 && turn_away(conn, (const char *)conn->in.data + begin, size)) {
		consume(conn, (size_t)n);
		conn->begun = conn->in.size > 0;
		return true;
	}
	char *text = xmalloc(size + 1);
	if (n > 0)
		memcpy(text, conn->in.data + begin, size);
	consume(conn, n > 0 ? (size_t)n : conn->in.size);
	http_begin(conn, text, size, n < 0 ? &problem : NULL);
	if (conn->phase == PHASE_READING && conn->x && conn->in.size == 0 && http_expects_continue(conn->x))
		send_continue(conn);
	return true;
}

/* True: something came out of it. */
static bool advance_body(struct http_conn *conn)
{
	struct exchange *x = conn->x;
	struct h1_problem problem;
	bool done = false;
	size_t n = conn->in.size;
	if (x->chunked) {
		ssize_t taken = h1_dechunk(&x->chunks, conn->in.data, n, &x->received, &done, &problem);
		if (taken < 0) {
			http_refuse_now(conn, problem.status, problem.code, problem.detail);
			return true;
		}
		n = (size_t)taken;
	} else {
		n = x->length < n ? (size_t)x->length : n;
		buf_add(&x->received, conn->in.data, n);
		x->length -= n;
		done = x->length == 0;
	}
	consume(conn, n);
	if (done)
		http_received(conn);
	return done;
}

/* False: nothing more for now, or the connection is gone. */
static bool read_more(struct http_conn *conn)
{
	char data[READ_SIZE];
	while (conn->readable) {
		ssize_t n = channel_read(&conn->io, data, sizeof data);
		if (n > 0) {
			if (!conn->begun && !conn->x)
				conn->since_ms = clock_mono_ms(); /* the time for a request runs from its first byte */
			conn->begun = true;
			/* Less than was asked for was all that there was: what comes next is an event (epoll(7)), unless there was one already. */
			conn->readable = (size_t)n == sizeof data || conn->ends || conn->io.tls;
			buf_add(&conn->in, data, (size_t)n);
			return true;
		}
		if (n < 0 && errno == EINTR)
			continue;
		conn->readable = false;
		if (n == 0 || (errno != EAGAIN && errno != EWOULDBLOCK)) {
			destroy(conn);
			return false;
		}
	}
	return false;
}

/* ---- writing ---------------------------------------------------------------------------------------------------------------------------- */

static void end_answer(struct http_conn *conn)
{
	bool close_it = conn->x->close;
	http_exchange_free(&conn->x);
	conn->begun = conn->in.size > 0;
	if (close_it)
		end_writing(conn);
	else
		http_set_phase(conn, PHASE_READING);
}

/* False: the kernel takes no more for now, or the connection is gone. */
static bool write_some(struct http_conn *conn)
{
	const struct buf *head = &conn->out, *body = http_body(&conn->x->response);
	size_t total = head->size + conn->body_size;
	while (conn->sent < total) {
		struct iovec parts[2];
		size_t count = 0;
		if (conn->sent < head->size)
			parts[count++] = (struct iovec){ head->data + conn->sent, head->size - conn->sent };
		size_t of_body = conn->sent > head->size ? conn->sent - head->size : 0;
		if (of_body < conn->body_size)
			parts[count++] = (struct iovec){ body->data + of_body, conn->body_size - of_body };
		ssize_t n = channel_write(&conn->io, parts, count);
		if (n > 0) {
			conn->sent += (size_t)n;
			continue;
		}
		if (n < 0 && errno == EINTR)
			continue;
		conn->writable = false;
		if (errno != EAGAIN && errno != EWOULDBLOCK)
			destroy(conn);
		return false;
	}
	end_answer(conn);
	return true;
}

/* Closing over unread bytes would reset the connection, and the answer with it (RFC 9112 section 9.6). */
static void linger(struct http_conn *conn)
{
	char data[READ_SIZE];
	while (conn->readable) {
		ssize_t n = recv(conn->io.fd, data, sizeof data, 0); /* whatever it says */
		if (n > 0 && (conn->sent += (size_t)n) < LINGER_BYTES)
			continue;
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
			conn->readable = false;
			return;
		}
		destroy(conn);
		return;
	}
}

/* Goes on with a connection until it has to wait. */
static void drive(struct http_conn *conn)
{
	for (;;) {
		switch (conn->phase) {
		case PHASE_READING:
			if (conn->in.size > 0 && (conn->x ? advance_body(conn) : advance_head(conn)))
				break;
			if (!read_more(conn))
				return;
			break;
		case PHASE_SENDING:
			if (!conn->writable || !write_some(conn))
				return;
			break;
		case PHASE_LINGERING:
			linger(conn);
			return;
		case PHASE_HANDSHAKE:
			if (!shake_hands(conn))
				return;
			break;
		case PHASE_HANDLING:
			return;
		case PHASE_UPGRADED:
			forget(conn);
			return;
		}
	}
}

/* ---- what others leave for the loop --------------------------------------------------------------------------------------------------- */

static void wake(struct http_loop *loop)
{
	uint64_t one = 1;
	(void)!write(loop->wake, &one, sizeof one);
}

void http_done(struct http_conn *conn)
{
	struct http_loop *loop = conn->loop;
	pthread_mutex_lock(&loop->http->lock);
	bool first = !loop->done;
	conn->done_next = loop->done;
	loop->done = conn;
	pthread_mutex_unlock(&loop->http->lock);
	if (first)
		wake(loop);
}

void http_done_all(struct exchange *const exchanges[], size_t n)
{
	struct http *http = exchanges[0]->conn->loop->http;
	uint64_t woken = 0; /* loops, by number */
	pthread_mutex_lock(&http->lock);
	for (size_t i = 0; i < n; i++) {
		struct http_conn *conn = exchanges[i]->conn;
		struct http_loop *loop = conn->loop;
		woken |= loop->done ? 0 : (uint64_t)1 << (loop - http->loops) % 64;
		conn->done_next = loop->done;
		loop->done = conn;
	}
	pthread_mutex_unlock(&http->lock);
	for (unsigned i = 0; i < http->loop_count; i++)
		if (woken >> i % 64 & 1)
			wake(&http->loops[i]);
}

static void take_done(struct http_loop *loop)
{
	uint64_t count;
	(void)!read(loop->wake, &count, sizeof count);
	pthread_mutex_lock(&loop->http->lock);
	struct http_conn *done = loop->done;
	loop->done = NULL;
	pthread_mutex_unlock(&loop->http->lock);
	while (done) {
		struct http_conn *conn = done;
		done = conn->done_next;
		if (!conn->x || conn->x->stage == STAGE_RELEASED) {
			destroy(conn);
			continue;
		}
		if (conn->detached) {
			attach(conn);
			conn->readable = conn->writable = true;
		}
		http_send(conn);
		drive(conn);
	}
}

/* ---- the thread ------------------------------------------------------------------------------------------------------------------------- */

/* What the kernel still has to send ends with the connection, instead of being kept for a peer that does not take it. */
static void forget_unsent(const struct http_conn *conn)
{
	const struct linger none = { .l_onoff = 1 };
	setsockopt(conn->io.fd, SOL_SOCKET, SO_LINGER, &none, sizeof none);
}

/* Does the peer take its answer at a rate that nobody needs who means it? */
static bool takes_slowly(const struct http_conn *conn, int64_t since_ms)
{
	int waiting = 0;
	if (ioctl(conn->io.fd, SIOCOUTQ, &waiting) != 0 || waiting < 0)
		return false;
	size_t taken = conn->sent > (size_t)waiting ? conn->sent - (size_t)waiting : 0;
	return taken < (size_t)since_ms * TAKE_RATE / 1000;
}

static void time_out(struct http_conn *conn)
{
	if (conn->phase == PHASE_READING && (conn->begun || conn->x)) {
		if (conn->x)
			http_refuse_now(conn, 408, "request_timeout", "the request did not come in time");
		else
			http_begin(conn, xmalloc(1), 0, &(struct h1_problem){ 408, "request_timeout", "the request did not come in time" });
		drive(conn);
	} else {
		if (conn->phase == PHASE_HANDSHAKE)
			tls_count(conn->loop->http->options.tls, TLS_TIMEOUT);
		if (conn->phase == PHASE_SENDING)
			forget_unsent(conn);
		destroy(conn);
	}
}

static void sweep(struct http_loop *loop)
{
	int64_t now = clock_mono_ms(), timeout = loop->http->options.request_timeout_ms;
	const int64_t handshake = loop->shaking > HANDSHAKES_MAX && timeout > HANDSHAKE_HURRIED_MS ? HANDSHAKE_HURRIED_MS : timeout;
	const int64_t limits[] = { [PHASE_READING] = timeout, [PHASE_SENDING] = SEND_TIMEOUTS * timeout, [PHASE_LINGERING] = LINGER_MS,
				   [PHASE_HANDSHAKE] = handshake };
	loop->shaking = 0;
	for (struct http_conn *conn = loop->conns, *next; conn; conn = next) {
		next = conn->next;
		bool timed = conn->phase != PHASE_HANDLING && conn->phase != PHASE_UPGRADED;
		loop->shaking += conn->phase == PHASE_HANDSHAKE;
		int64_t since = now - conn->since_ms;
		if (timed && (since > limits[conn->phase] || (conn->phase == PHASE_SENDING && since > timeout && takes_slowly(conn, since))))
			time_out(conn);
	}
}

static void on_event(struct http_conn *conn, uint32_t events)
{
	if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR))
		conn->readable = true;
	if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) {
		conn->ends = true;
		atomic_store(&conn->left, true);
	}
	if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR))
		conn->writable = true;
	if (conn->io.tls)
		conn->readable = conn->writable = true; /* TLS may have waited for the other one */
	drive(conn);
}

void http_loop_turn(struct http_loop *loop, int timeout_ms)
{
	struct epoll_event events[EVENTS];
	int n = epoll_wait(loop->epoll, events, EVENTS, timeout_ms);
	const int64_t began = clock_mono_ms();
	bool woken = false, waiting = false;
	for (int i = 0; i < n; i++) {
		if (events[i].data.ptr == loop)
			waiting = true;
		else if (events[i].data.ptr == &loop->wake)
			woken = true;
		else
			on_event(events[i].data.ptr, events[i].events);
	}
	/* What may free or make connections comes when no event of this turn is left. */
	if (woken)
		take_done(loop);
	if (waiting)
		accept_some(loop);
	const int64_t now = clock_mono_ms();
	if (n > 0)
		lag_note(&loop->lag, began, now);
	if (now - loop->swept_ms >= SWEEP_MS) {
		sweep(loop);
		loop->swept_ms = clock_mono_ms();
	}
	listen_again(loop);
}

static void *run(void *arg)
{
	struct http_loop *loop = arg;
	while (!atomic_load(&loop->http->closing))
		http_loop_turn(loop, SWEEP_MS);
	return NULL;
}

static int open_loop(struct http *http, struct http_loop *loop)
{
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = &loop->wake };
	loop->http = http;
	loop->epoll = epoll_create1(EPOLL_CLOEXEC);
	loop->wake = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
	if (loop->epoll < 0 || loop->wake < 0 || epoll_ctl(loop->epoll, EPOLL_CTL_ADD, loop->wake, &event) != 0)
		return -1;
	loop->swept_ms = clock_mono_ms();
	listen_again(loop);
	if (http->options.threads == 0)
		return 0;
	loop->running = pthread_create(&loop->thread, NULL, run, loop) == 0;
	return loop->running ? 0 : -1;
}

int http_loops_open(struct http *http, struct error *err)
{
	const unsigned count = http->options.threads > 0 ? http->options.threads : 1;
	http->loops = xcalloc(count, sizeof *http->loops);
	for (; http->loop_count < count; http->loop_count++)
		if (open_loop(http, &http->loops[http->loop_count]) != 0) {
			http->loop_count++;
			return error_set(err, WEIR_FULL, "cannot start the threads of %s: the system's limit on threads or files is reached", http->options.setting);
		}
	return 0;
}

void http_loops_wake(struct http *http)
{
	for (unsigned i = 0; i < http->loop_count; i++)
		wake(&http->loops[i]);
}

void http_loops_close(struct http *http)
{
	atomic_store(&http->closing, true);
	http_loops_wake(http);
	for (unsigned i = 0; i < http->loop_count; i++) {
		struct http_loop *loop = &http->loops[i];
		if (loop->running)
			pthread_join(loop->thread, NULL);
		while (loop->conns)
			destroy(loop->conns);
		door_free(&loop->door);
		if (loop->epoll >= 0)
			close(loop->epoll);
		if (loop->wake >= 0)
			close(loop->wake);
	}
	xfree(&http->loops);
	http->loop_count = 0;
}
