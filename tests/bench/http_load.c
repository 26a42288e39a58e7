/* http_load.c - HTTP/1.1 load from one thread: so many users, each with a connection that stays, and every answer read.
 *
 *	http_load HOST:PORT USERS RATE SECONDS PATH [HEADER …]
 *
 * RATE 0: each user asks again as soon as it has its answer. Else so many requests a second are due, whether or not the server keeps up; one for which
 * no user is free waits for one, its time runs from when it was due, and it is given up on when that was a second ago. "%d" in PATH is a number that
 * grows by one with each request and begins somewhere below 150000.
 * One JSON line: {"answered":, "good":, "refused":, "failed":, "given_up":, "late":, "seconds":, "cpu_us":, "p50_us":, "p99_us":, "max_us":, "status":}
 * good: 2xx and 304, whose times these are, answered within a second of being due; refused: 429 and 503; failed: everything else, the last of
 * which is status, and connections that broke; late: sent more than LATE_MS after being due, because no user was free or this program had no time: as
 * long as there are few, what was offered is what RATE says.
 */
#include "histogram.h"

#include "base/clock.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD_MAX 8192
#define PATIENCE_NS 1000000000LL
#define LATE_MS 20

struct user {
	int fd;
	bool busy;
	int64_t due_ns;
	unsigned status;
	size_t head_size, body_left; /* body_left counts when status is set */
	char head[HEAD_MAX];
	struct user *next_free;
};

static struct user *users, *free_users;
static struct addrinfo *server;
static int epoll;
static const char *path;
static char fields[4096];
static struct histogram latency;
static uint64_t sent, answered, good, refused, failed, given_up, late;
static unsigned last_failure;

static void fail(const char *what)
{
	fprintf(stderr, "http_load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void connect_user(struct user *u)
{
	int on = 1;
	u->fd = socket(server->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (u->fd < 0 || connect(u->fd, server->ai_addr, server->ai_addrlen) != 0)
		fail("connect");
	struct epoll_event e = { .events = EPOLLIN, .data.ptr = u };
	setsockopt(u->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	if (epoll_ctl(epoll, EPOLL_CTL_ADD, u->fd, &e) != 0)
		fail("epoll_ctl");
	u->status = 0;
	u->head_size = u->body_left = 0;
}

static void set_free(struct user *u)
{
	u->busy = false;
	u->next_free = free_users;
	free_users = u;
}

static void broke(struct user *u)
{
	failed += u->busy;
	close(u->fd);
	connect_user(u);
	if (u->busy)
		set_free(u);
}

static void ask(struct user *u, int64_t due)
{
	char text[6000];
	const char *place = strstr(path, "%d");
	int n = place ? snprintf(text, sizeof text, "GET %.*s%llu%s HTTP/1.1\r\nHost: a\r\n%s\r\n", (int)(place - path), path, (unsigned long long)sent, place + 2, fields) :
			snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: a\r\n%s\r\n", path, fields);
	u->busy = true;
	u->due_ns = due;
	sent++;
	if (send(u->fd, text, (size_t)n, MSG_NOSIGNAL) != n)
		broke(u);
}

static void finish(struct user *u)
{
	int64_t took = clock_mono_ns() - u->due_ns;
	bool fine = u->status / 100 == 2 || u->status == 304;
	answered++;
	if (fine && took <= PATIENCE_NS)
		good++;
	else if (u->status == 429 || u->status == 503)
		refused++;
	else if (!fine)
		failed++;
	if (fine)
		histogram_add(&latency, took);
	else
		last_failure = u->status;
	u->status = 0;
	u->head_size = 0;
	set_free(u);
}

static size_t length_of(const char *head)
{
	for (const char *line = strstr(head, "\r\n"); line; line = strstr(line + 2, "\r\n"))
		if (strncasecmp(line + 2, "content-length:", 15) == 0)
			return strtoull(line + 17, NULL, 10);
	return 0;
}

/* The head is kept until it is whole; a body is counted down. */
static void take(struct user *u, const char *data, size_t size)
{
	while (size > 0 || (u->status && u->body_left == 0)) {
		if (u->status) {
			size_t n = size < u->body_left ? size : u->body_left;
			u->body_left -= n;
			data += n;
			size -= n;
			if (u->body_left == 0)
				finish(u);
			if (!u->busy)
				return;
			continue;
		}
		size_t n = size < HEAD_MAX - 1 - u->head_size ? size : HEAD_MAX - 1 - u->head_size, before = u->head_size;
		memcpy(u->head + before, data, n);
		u->head_size += n;
		u->head[u->head_size] = '\0';
		char *end = strstr(u->head, "\r\n\r\n");
		if (!end)
			return;
		n = (size_t)(end - u->head) + 4 - before;
		end[2] = '\0';
		u->status = (unsigned)atoi(u->head + 9);
		u->body_left = u->status == 304 || u->status == 204 ? 0 : length_of(u->head);
		data += n;
		size -= n;
	}
}

static void turn(int timeout_ms)
{
	static char data[1 << 18];
	struct epoll_event events[256];
	int n = epoll_wait(epoll, events, 256, timeout_ms);
	for (int i = 0; i < n; i++) {
		struct user *u = events[i].data.ptr;
		ssize_t got = recv(u->fd, data, sizeof data, 0);
		if (got <= 0)
			broke(u);
		else
			take(u, data, (size_t)got);
	}
}

static struct user *take_free(void)
{
	struct user *u = free_users;
	free_users = u->next_free;
	return u;
}

static void run_closed(int64_t until)
{
	while (clock_mono_ns() < until) {
		while (free_users)
			ask(take_free(), clock_mono_ns());
		turn(100);
	}
}

static void run_open(int64_t began, int64_t until, double rate)
{
	uint64_t begun = 0;
	for (int64_t now; (now = clock_mono_ns()) < until; turn(free_users ? 1 : 10)) {
		uint64_t due = (uint64_t)((double)(now - began) / 1e9 * rate);
		for (; begun < due; begun++) {
			int64_t at = began + (int64_t)((double)begun / rate * 1e9);
			if (now - at > PATIENCE_NS) {
				given_up++;
				continue;
			}
			if (!free_users)
				break;
			ask(take_free(), at);
			late += now - at > LATE_MS * 1000000LL;
		}
	}
}

static double cpu_us(void)
{
	struct rusage u;
	getrusage(RUSAGE_SELF, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

int main(int argc, char **argv)
{
	char *colon = argc >= 6 ? strrchr(argv[1], ':') : NULL;
	if (!colon) {
		fprintf(stderr, "usage: http_load HOST:PORT USERS RATE SECONDS PATH [HEADER ...]\n");
		return 2;
	}
	*colon = '\0';
	unsigned count = (unsigned)strtoul(argv[2], NULL, 10);
	double rate = strtod(argv[3], NULL), seconds = strtod(argv[4], NULL);
	path = argv[5];
	for (int i = 6; i < argc; i++)
		snprintf(fields + strlen(fields), sizeof fields - strlen(fields), "%s\r\n", argv[i]);
	epoll = epoll_create1(EPOLL_CLOEXEC);
	users = calloc(count, sizeof *users);
	if (epoll < 0 || !users || getaddrinfo(argv[1], colon + 1, &(struct addrinfo){ .ai_socktype = SOCK_STREAM }, &server) != 0)
		fail("start");
	for (unsigned i = 0; i < count; i++) {
		connect_user(&users[i]);
		set_free(&users[i]);
	}
	sent = (uint64_t)clock_mono_ns() / 1000 % 150000;
	int64_t began = clock_mono_ns(), until = began + (int64_t)(seconds * 1e9);
	if (rate > 0)
		run_open(began, until, rate);
	else
		run_closed(until);
	printf("{\"answered\":%llu,\"good\":%llu,\"refused\":%llu,\"failed\":%llu,\"given_up\":%llu,\"late\":%llu,\"seconds\":%.3f,\"cpu_us\":%.0f,\"p50_us\":%.1f,\"p99_us\":%.1f,"
	       "\"max_us\":%.1f,\"status\":%u}\n",
	       (unsigned long long)answered, (unsigned long long)good, (unsigned long long)refused, (unsigned long long)failed, (unsigned long long)given_up, (unsigned long long)late,
	       (double)(clock_mono_ns() - began) / 1e9, cpu_us(), (double)histogram_at(&latency, 0.5) / 1e3, (double)histogram_at(&latency, 0.99) / 1e3,
	       (double)latency.largest / 1e3, last_failure);
	return 0;
}
