/* redis_server.h - a private, real redis-server for one test program: unix socket in its own folder, append-only file on. */
#ifndef TESTS_SUPPORT_REDIS_SERVER_H
#define TESTS_SUPPORT_REDIS_SERVER_H

#include <sys/types.h>

struct redis_server {
	char dir[64];
	char url[128]; /* unix:///… */
	pid_t pid;
};
void redis_server_start(struct redis_server *);   /* aborts the test program when it cannot */
void redis_server_kill(struct redis_server *);    /* kill -9 */
void redis_server_restart(struct redis_server *); /* after kill, on the same data */
void redis_server_stop(struct redis_server *);    /* and remove its folder */

#endif
