/* postgres_server.h - a private PostgreSQL server for one test program: own data folder, Unix socket only, gone at stop.
 *
 * Runs as user postgres when the test runs as root (PostgreSQL refuses root). The folder is short because a socket's path may
 * have 107 bytes only. The server dies with the test program, whatever ends that.
 */
#ifndef WEIR_TESTS_POSTGRES_SERVER_H
#define WEIR_TESTS_POSTGRES_SERVER_H

#include <stdbool.h>

struct postgres_server;
/* Null with a message on stderr when PostgreSQL is not installed or does not start. settings: "-c name=value …" or NULL. */
struct postgres_server *postgres_server_start(const char *settings);
void postgres_server_stop(struct postgres_server **);
const char *postgres_server_url(const struct postgres_server *); /* conninfo; database "weir", superuser */
/* Stops at once (SIGQUIT: like a crash, recovery at the next start) and starts again. */
void postgres_server_crash(struct postgres_server *);
bool postgres_server_resume(struct postgres_server *);

#endif
