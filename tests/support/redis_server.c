/* redis_server.c - starts, kills and restarts a private redis-server. */
#include "support/redis_server.h"

#include <hiredis/hiredis.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
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
		execlp("redis-server", "redis-server", "--port", "0", "--unixsocket", socket, "--unixsocketperm", "700", "--save", "", "--appendonly",
		       "yes", "--appendfsync", "everysec", "--dir", s->dir, (char *)NULL);
		_exit(127);
	}
	for (int i = 0; i < 1000; i++) { /* 10 s */
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
