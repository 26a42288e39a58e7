/* scripted_node.h - an HTTP server on 127.0.0.1 that answers each request body as the test says: for answers that no honest node
 * gives (truncated, swapped, 429, silence). Also upgrades to a WebSocket by hand where the test wants one. */
#ifndef TESTS_SUPPORT_SCRIPTED_NODE_H
#define TESTS_SUPPORT_SCRIPTED_NODE_H

#include <stdbool.h>
#include <stddef.h>

struct scripted_reply {
	int status;          /* default 200 */
	const char *headers; /* further lines, each ended by \r\n, or NULL */
	char *body;          /* malloc'd by the handler; freed by the server */
	size_t body_size;    /* 0: strlen(body) */
	int delay_ms;        /* before the answer */
	bool hang_up;        /* close without an answer */
};
/* Runs on the server's threads, one request at a time. head: the request line and headers. */
typedef void scripted_handler(const char *head, const char *body, struct scripted_reply *, void *arg);

struct scripted_node;
struct scripted_node *scripted_node_start(scripted_handler *, void *arg); /* aborts the test program when it cannot */
const char *scripted_node_url(const struct scripted_node *);             /* http://127.0.0.1:port/ */
int scripted_node_port(const struct scripted_node *);
void scripted_node_stop(struct scripted_node **);

#endif
