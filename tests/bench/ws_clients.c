/* ws_clients.c - very many WebSocket clients in one thread, for measuring servers: they take what comes and count it.
 *
 *	ws_clients HOST:PORT PATH COUNT [MESSAGE [EXTENSIONS]]
 *
 * Opens COUNT connections, offering EXTENSIONS, and sends MESSAGE on each (empty: none), whose "%d" is the connection's number with 40 digits. When every one is open, and has one
 * message where MESSAGE asked for it, says {"ready": COUNT} on stdout. Each line on stdin is answered by one with what came since the last:
 *	{"frames":, "bytes":, "reads":, "cpu_us":, "p50_us":, "p99_us":, "max_us":, "closed":}
 * Times are of frames that contain "height":N, where N is the time on CLOCK_MONOTONIC, in nanoseconds, at which it was to be sent. Ends with stdin.
 */
#include "histogram.h"

#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define AT_ONCE 128 /* connections being opened */
#define KEPT_MAX 65536
#define OPENING_MS 120000

enum stage { CONNECTING, SHAKING, WAITING, OPEN, CLOSED };

struct client {
	int fd;
	enum stage stage;
	unsigned number, kept_size;
	char *kept; /* an incomplete frame, or head */
};

static struct client *clients;
static unsigned count, opened, closed;
static const char *path, *message, *extensions = "";
static struct addrinfo *server;
static int epoll;
static struct histogram latency;
static uint64_t frames, bytes, reads;

static void fail(const char *what)
{
	fprintf(stderr, "ws_clients: %s: %s (%u of %u are open)\n", what, strerror(errno), opened, count);
	exit(1);
}

static void put(struct client *c, const void *data, size_t size)
{
	if (send(c->fd, data, size, MSG_NOSIGNAL) != (ssize_t)size)
		fail("send");
}

/* Masked, as clients must, with a mask of zeros. */
static void put_frame(struct client *c, unsigned opcode, const char *data, size_t size)
{
	uint8_t frame[600];
	size_t n = 2;
	frame[0] = (uint8_t)(0x80 | opcode);
	frame[1] = (uint8_t)(0x80 | (size < 126 ? size : 126));
	if (size >= 126) {
		frame[n++] = (uint8_t)(size >> 8);
		frame[n++] = (uint8_t)size;
	}
	memset(frame + n, 0, 4);
	memcpy(frame + n + 4, data, size);
	put(c, frame, n + 4 + size);
}

static void begin(unsigned number)
{
	struct client *c = &clients[number];
	int on = 1;
	c->number = number;
	c->fd = socket(server->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct epoll_event e = { .events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c };
	if (c->fd < 0 || (connect(c->fd, server->ai_addr, server->ai_addrlen) != 0 && errno != EINPROGRESS) ||
	    epoll_ctl(epoll, EPOLL_CTL_ADD, c->fd, &e) != 0)
		fail("connect");
	setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static void shake(struct client *c)
{
	char head[600];
	int error = 0;
	socklen_t size = sizeof error;
	getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
	errno = error;
	if (error)
		fail("connect");
	int n = snprintf(head, sizeof head,
			 "GET %s HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
			 "Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\n%s%s%s\r\n",
			 path, *extensions ? "Sec-WebSocket-Extensions: " : "", extensions, *extensions ? "\r\n" : "");
	put(c, head, (size_t)n);
	c->stage = SHAKING;
}

static void is_open(struct client *c)
{
	c->stage = OPEN;
	opened++;
}

static void subscribe(struct client *c)
{
	char text[500], digits[48];
	const char *place = message ? strstr(message, "%d") : NULL;
	if (!message) {
		is_open(c);
		return;
	}
	snprintf(digits, sizeof digits, "%040u", c->number);
	if (place)
		snprintf(text, sizeof text, "%.*s%s%s", (int)(place - message), message, digits, place + 2);
	else
		snprintf(text, sizeof text, "%s", message);
	put_frame(c, 1, text, strlen(text));
	c->stage = WAITING;
}

static void take_frame(struct client *c, unsigned opcode, const char *data, size_t size, int64_t now)
{
	static const char name[] = "\"height\":";
	if (opcode == 9)
		put_frame(c, 10, data, size);
	if (opcode > 2)
		return;
	if (c->stage == WAITING) {
		if (memmem(data, size, "\"error\"", 7)) {
			fprintf(stderr, "ws_clients: refused: %.*s\n", (int)size, data);
			exit(1);
		}
		is_open(c);
		return;
	}
	frames++;
	const char *found = memmem(data, size, name, sizeof name - 1);
	if (found)
		histogram_add(&latency, now - strtoll(found + sizeof name - 1, NULL, 10));
}

/* Bytes used up. */
static size_t take(struct client *c, const char *data, size_t size, int64_t now)
{
	size_t at = 0;
	if (c->stage == SHAKING) {
		const char *end = memmem(data, size, "\r\n\r\n", 4);
		if (!end)
			return 0;
		if (strncmp(data, "HTTP/1.1 101", 12) != 0) {
			fprintf(stderr, "ws_clients: no WebSocket: %.*s\n", (int)size, data);
			exit(1);
		}
		at = (size_t)(end - data) + 4;
		subscribe(c);
	}
	while (size - at >= 2) {
		const uint8_t *p = (const uint8_t *)data + at;
		size_t head = 2, length = p[1] & 0x7f;
		size_t more = length == 126 ? 2 : length == 127 ? 8 : 0;
		if (size - at < head + more)
			break;
		if (more)
			length = 0;
		for (size_t i = 0; i < more; i++)
			length = length << 8 | p[2 + i];
		head += more;
		if (size - at < head + length)
			break;
		take_frame(c, p[0] & 15u, data + at + head, length, now);
		at += head + length;
	}
	return at;
}

static void end(struct client *c)
{
	if (c->stage != OPEN)
		fail("closed while opening");
	close(c->fd);
	c->stage = CLOSED;
	closed++;
}

static void read_all(struct client *c)
{
	static char data[KEPT_MAX + (1 << 18)];
	for (;;) {
		size_t kept = c->kept_size;
		if (kept)
			memcpy(data, c->kept, kept);
		ssize_t n = recv(c->fd, data + kept, 1 << 18, 0);
		if (n == 0 || (n < 0 && errno != EAGAIN)) {
			end(c);
			return;
		}
		if (n < 0)
			return;
		reads++;
		bytes += (uint64_t)n;
		size_t size = kept + (size_t)n, used = take(c, data, size, clock_mono_ns());
		free(c->kept);
		c->kept = NULL;
		c->kept_size = (unsigned)(size - used);
		if (size - used > KEPT_MAX)
			fail("a frame is too large");
		if (size > used) {
			c->kept = malloc(size - used);
			memcpy(c->kept, data + used, size - used);
		}
		if (n < 1 << 18)
			return;
	}
}

static void turn(int timeout_ms)
{
	struct epoll_event events[512];
	int n = epoll_wait(epoll, events, 512, timeout_ms);
	for (int i = 0; i < n; i++) {
		struct client *c = events[i].data.ptr;
		if (!c || c->stage == CLOSED)
			continue;
		if (c->stage == CONNECTING && (events[i].events & (EPOLLOUT | EPOLLERR | EPOLLHUP)))
			shake(c);
		if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
			read_all(c);
	}
}

static void open_all(void)
{
	int64_t until = clock_mono_ms() + OPENING_MS;
	for (unsigned begun = 0; opened < count; turn(100)) {
		while (begun < count && begun - opened < AT_ONCE)
			begin(begun++);
		errno = ETIMEDOUT;
		if (clock_mono_ms() > until)
			fail("opening");
	}
}

static int64_t cpu_us(void)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1000000LL + u.ru_utime.tv_usec + u.ru_stime.tv_usec;
}

/* False: stdin has ended. */
static bool answer(void)
{
	char line[64];
	if (read(0, line, sizeof line) <= 0)
		return false;
	printf("{\"frames\":%llu,\"bytes\":%llu,\"reads\":%llu,\"cpu_us\":%lld,\"p50_us\":%.1f,\"p99_us\":%.1f,\"max_us\":%.1f,\"closed\":%u}\n",
	       (unsigned long long)frames, (unsigned long long)bytes, (unsigned long long)reads, (long long)cpu_us(), (double)histogram_at(&latency, 0.5) / 1e3,
	       (double)histogram_at(&latency, 0.99) / 1e3, (double)latency.largest / 1e3, closed);
	fflush(stdout);
	memset(&latency, 0, sizeof latency);
	frames = bytes = reads = 0;
	return true;
}

int main(int argc, char **argv)
{
	char *colon = argc >= 4 ? strrchr(argv[1], ':') : NULL;
	if (!colon) {
		fprintf(stderr, "usage: ws_clients HOST:PORT PATH COUNT [MESSAGE [EXTENSIONS]]\n");
		return 2;
	}
	*colon = '\0';
	path = argv[2];
	count = (unsigned)strtoul(argv[3], NULL, 10);
	message = argc > 4 && *argv[4] ? argv[4] : NULL;
	extensions = argc > 5 ? argv[5] : "";
	clients = calloc(count, sizeof *clients);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!clients || epoll < 0 || getaddrinfo(argv[1], colon + 1, &(struct addrinfo){ .ai_socktype = SOCK_STREAM }, &server) != 0)
		fail("start");
	open_all();
	printf("{\"ready\":%u}\n", count);
	fflush(stdout);
	struct epoll_event e = { .events = EPOLLIN };
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, 0, &e) != 0)
		fail("stdin is no pipe");
	for (struct pollfd in = { .fd = 0, .events = POLLIN };;) {
		turn(1000);
		if (poll(&in, 1, 0) > 0 && !answer())
			return 0;
	}
}
