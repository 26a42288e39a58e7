/* redis_server.h - a private, real redis-server for one test program: unix socket in its own folder, append-only file on. */
#ifndef TESTS_SUPPORT_REDIS_SERVER_H
#define TESTS_SUPPORT_REDIS_SERVER_H

#include <sys/types.h>

struct redis_server {
	char dir[64];
	char url[128]; /* unix:///… */
	_Atomic pid_t pid; /* a thread may kill it while another looks whether it lives */
	int port, cluster_port; /* of a node of a cluster; else 0 */
	const char *settings;   /* a file of more of them, set before the start; NULL: none */
};
void redis_server_start(struct redis_server *);                  /* aborts the test program when it cannot */
void redis_server_start_node(struct redis_server *, int port);    /* the same as a node of a cluster, which has no slots yet, on TCP, too */
void redis_server_kill(struct redis_server *);                   /* kill -9 */
void redis_server_restart(struct redis_server *);                /* after kill, on the same data */
void redis_server_stop(struct redis_server *);                   /* and remove its folder */
int redis_server_free_port(void);                                /* of 127.0.0.1 */
void redis_server_listen(const struct redis_server *, int port); /* on TCP, too */
/* One command in hiredis' format: an integer reply, or whether a text has `word` in it (NULL: 0). Aborts the test program on an error. */
long long redis_server_ask(const struct redis_server *, const char *word, const char *format, ...);

#endif
