/* ws_floor.c - the least that a fan-out can cost: one thread writes to connections that are watched by its epoll set, and does nothing else.
 *
 *	ws_floor CONNECTIONS ROUNDS SIZE PER_WRITE [READER_CORE]
 *
 * Each round writes PER_WRITE messages of SIZE bytes to each connection, in one write; a child process reads, on that core: a write that has to wake a
 * reader on another core costs more than one to a reader on the same. One JSON line: CPU of the writing thread for each write and for each message,
 * in microseconds.
 */
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static void must(bool good, const char *what)
{
	if (!good) {
		perror(what);
		exit(1);
	}
}

/* The child: connects, and throws away what comes. */
static void take_all(const struct sockaddr_in *address, unsigned connections, const char *core)
{
	static char data[1 << 18];
	struct epoll_event events[512];
	int epoll = epoll_create1(EPOLL_CLOEXEC);
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (core) {
		cpu_set_t cores;
		CPU_ZERO(&cores);
		CPU_SET((unsigned)atoi(core), &cores);
		must(sched_setaffinity(0, sizeof cores, &cores) == 0, "sched_setaffinity");
	}
	for (unsigned i = 0; i < connections; i++) {
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		struct epoll_event e = { .events = EPOLLIN, .data.fd = fd };
		must(fd >= 0 && connect(fd, (const struct sockaddr *)address, sizeof *address) == 0, "connect");
		must(epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &e) == 0, "epoll_ctl");
	}
	for (;;) {
		int n = epoll_wait(epoll, events, 512, -1);
		for (int i = 0; i < n; i++)
			if (recv(events[i].data.fd, data, sizeof data, 0) <= 0)
				_exit(0);
	}
}

static double cpu_us(void)
{
	struct rusage u;
	getrusage(RUSAGE_THREAD, &u);
	return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) * 1e6 + (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec);
}

int main(int argc, char **argv)
{
	must(argc == 5 || argc == 6, "usage: ws_floor CONNECTIONS ROUNDS SIZE PER_WRITE [READER_CORE]");
	unsigned connections = (unsigned)atoi(argv[1]), rounds = (unsigned)atoi(argv[2]);
	size_t size = (size_t)atoi(argv[3]), per_write = (size_t)atoi(argv[4]);
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof address;
	int listener = socket(AF_INET, SOCK_STREAM, 0), epoll = epoll_create1(EPOLL_CLOEXEC), on = 1;
	must(bind(listener, (struct sockaddr *)&address, sizeof address) == 0 && listen(listener, 4096) == 0, "listen");
	must(getsockname(listener, (struct sockaddr *)&address, &length) == 0, "getsockname");
	pid_t child = fork();
	must(child >= 0, "fork");
	if (child == 0)
		take_all(&address, connections, argc == 6 ? argv[5] : NULL);
	int *fds = calloc(connections, sizeof *fds);
	char *data = calloc(per_write, size);
	must(fds && data, "memory");
	for (unsigned i = 0; i < connections; i++) {
		fds[i] = accept(listener, NULL, NULL);
		struct epoll_event e = { .events = EPOLLIN, .data.fd = fds[i] };
		must(fds[i] >= 0 && epoll_ctl(epoll, EPOLL_CTL_ADD, fds[i], &e) == 0, "accept");
		setsockopt(fds[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	}
	double before = cpu_us();
	for (unsigned r = 0; r < rounds; r++) {
		for (unsigned i = 0; i < connections; i++)
			must(send(fds[i], data, size * per_write, MSG_NOSIGNAL) == (ssize_t)(size * per_write), "send");
		usleep(20000); /* the reader's turn: a full socket would be another measurement */
	}
	double us = cpu_us() - before, writes = (double)rounds * connections;
	printf("{\"per_write_us\":%.3f,\"per_message_us\":%.3f}\n", us / writes, us / writes / (double)per_write);
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	return 0;
}
