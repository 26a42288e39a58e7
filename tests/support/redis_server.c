/* redis_server.c - starts, kills and restarts a private redis-server. */
#include "support/redis_server.h"

#include <arpa/inet.h>
#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static void spawn(struct redis_server *s)
{
	char socket[96];
	snprintf(socket, sizeof socket, "%s/s", s->dir);
	s->pid = fork();
	if (s->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (chdir(s->dir) != 0 || !freopen("redis.log", "a", stdout))
			_exit(126);
		char port[16], cluster_port[16];
		snprintf(port, sizeof port, "%d", s->port);
		snprintf(cluster_port, sizeof cluster_port, "%d", s->cluster_port);
		execlp("redis-server", "redis-server", "--port", port, "--bind", "127.0.0.1", "--unixsocket", socket, "--unixsocketperm", "700", "--save",
		       "", "--appendonly", "yes", "--appendfsync", "everysec", "--dir", s->dir, "--cluster-enabled", s->port ? "yes" : "no",
		       "--cluster-node-timeout", "1000", "--cluster-port", cluster_port, s->settings ? "--include" : (char *)NULL, s->settings,
		       (char *)NULL);
		_exit(127);
	}
	for (int i = 0; i < 3000; i++) { /* 30 s: a long file on a busy disk */
		redisContext *c = redisConnectUnix(socket);
		redisReply *r = c && !c->err ? redisCommand(c, "PING") : NULL;
		int up = r && r->type == REDIS_REPLY_STATUS;
		if (r)
			freeReplyObject(r);
		if (c)
			redisFree(c);
		if (up)
			return;
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	}
	fprintf(stderr, "redis-server did not start in %s\n", s->dir);
	abort();
}

void redis_server_start_node(struct redis_server *s, int port)
{
	s->port = port;
	s->cluster_port = redis_server_free_port();
	redis_server_start(s);
}

void redis_server_start(struct redis_server *s)
{
	signal(SIGPIPE, SIG_IGN); /* as daemon_main does: a killed server must not kill its client */
	snprintf(s->dir, sizeof s->dir, "/tmp/weir-redis-XXXXXX");
	if (!mkdtemp(s->dir))
		abort();
	snprintf(s->url, sizeof s->url, "unix://%s/s", s->dir);
	spawn(s);
}

void redis_server_kill(struct redis_server *s)
{
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
	s->pid = 0;
}

void redis_server_restart(struct redis_server *s)
{
	spawn(s);
}

void redis_server_stop(struct redis_server *s)
{
	if (s->pid)
		redis_server_kill(s);
	char command[128];
	snprintf(command, sizeof command, "rm -rf '%s'", s->dir);
	if (system(command) != 0)
		fprintf(stderr, "could not remove %s\n", s->dir);
}

/* Below the ports that the kernel gives to outgoing connections, which could take one before its server listens; each process has 64 of its own, so that
 * programs side by side don't get the same one. */
int redis_server_free_port(void)
{
	static int given;
	for (int tries = 0; tries < 64; tries++) {
		struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
		int port = 10000 + (int)(getpid() % 350) * 64 + given++ % 64;
		a.sin_port = htons((uint16_t)port);
		int fd = socket(AF_INET, SOCK_STREAM, 0);
		int bound = bind(fd, (struct sockaddr *)&a, sizeof a);
		close(fd);
		if (bound == 0)
			return port;
	}
	abort();
}

void redis_server_listen(const struct redis_server *s, int port)
{
	(void)redis_server_ask(s, NULL, "CONFIG SET port %d", port);
}

long long redis_server_ask(const struct redis_server *s, const char *word, const char *format, ...)
{
	va_list args;
	redisContext *c = redisConnectUnix(s->url + strlen("unix://"));
	va_start(args, format);
	redisReply *r = c && !c->err ? redisvCommand(c, format, args) : NULL;
	va_end(args);
	if (!r || r->type == REDIS_REPLY_ERROR) {
		fprintf(stderr, "%s: %s\n", format, r ? r->str : c ? c->errstr : "no memory");
		abort();
	}
	long long n = r->type == REDIS_REPLY_INTEGER ? r->integer : word && r->type == REDIS_REPLY_STRING ? strstr(r->str, word) != NULL : 0;
	freeReplyObject(r);
	redisFree(c);
	return n;
}
