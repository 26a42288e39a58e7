/* scripted_node.c - one accepting thread, one thread per connection, keep-alive. */
#include "support/scripted_node.h"

#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CONNECTIONS_MAX 256
#define REQUEST_MAX (1 << 20)

struct scripted_node {
	int fd, port;
	char url[64];
	scripted_handler *handler;
	void *arg;
	pthread_t acceptor;
	pthread_mutex_t lock; /* handler runs under it */
	atomic_bool stopping;
	struct connection {
		struct scripted_node *node;
		int fd;
		pthread_t thread;
	} connections[CONNECTIONS_MAX];
	size_t count;
};

static bool send_all(int fd, const char *data, size_t size)
{
	for (ssize_t n; size > 0; data += n, size -= (size_t)n)
		if ((n = send(fd, data, size, MSG_NOSIGNAL)) <= 0)
			return false;
	return true;
}

/* Reads up to the end of one request; false when the connection ends. */
static bool read_request(int fd, char *buffer, size_t *used, size_t *ret_head, size_t *ret_body)
{
	for (;;) {
		buffer[*used] = 0;
		char *blank = strstr(buffer, "\r\n\r\n");
		if (blank) {
			size_t head = (size_t)(blank - buffer) + 4;
			const char *length = strcasestr(buffer, "content-length:");
			size_t body = length && length < blank ? strtoul(length + 15, NULL, 10) : 0;
			if (*used >= head + body) {
				*ret_head = head;
				*ret_body = body;
				return true;
			}
		}
		if (*used >= REQUEST_MAX - 1)
			return false;
		ssize_t n = recv(fd, buffer + *used, REQUEST_MAX - 1 - *used, 0);
		if (n <= 0)
			return false;
		*used += (size_t)n;
	}
}

static bool answer(struct connection *c, const char *head, const char *body)
{
	struct scripted_reply reply = { .status = 200 };
	pthread_mutex_lock(&c->node->lock);
	c->node->handler(head, body, &reply, c->node->arg);
	pthread_mutex_unlock(&c->node->lock);
	for (int waited = 0; waited < reply.delay_ms && !atomic_load(&c->node->stopping); waited += 10)
		nanosleep(&(struct timespec){ .tv_nsec = 10000000 }, NULL);
	size_t size = reply.body_size ? reply.body_size : reply.body ? strlen(reply.body) : 0;
	bool good = !reply.hang_up;
	if (good && reply.status == 101) {
		good = send_all(c->fd, reply.body, size);
	} else if (good) {
		char line[512];
		int n = snprintf(line, sizeof line, "HTTP/1.1 %d X\r\ncontent-type: application/json\r\ncontent-length: %zu\r\n%s\r\n", reply.status, size,
				 reply.headers ? reply.headers : "");
		good = send_all(c->fd, line, (size_t)n) && (size == 0 || send_all(c->fd, reply.body, size));
	}
	free(reply.body);
	return good;
}

static void *serve(void *arg)
{
	struct connection *c = arg;
	char *buffer = malloc(REQUEST_MAX);
	size_t used = 0, head, body;
	while (buffer && read_request(c->fd, buffer, &used, &head, &body)) {
		char *h = strndup(buffer, head), *b = strndup(buffer + head, body);
		bool good = answer(c, h, b);
		free(h);
		free(b);
		memmove(buffer, buffer + head + body, used - head - body);
		used -= head + body;
		if (!good)
			break;
	}
	free(buffer);
	shutdown(c->fd, SHUT_RDWR);
	return NULL;
}

static void *accept_all(void *arg)
{
	struct scripted_node *node = arg;
	for (;;) {
		int fd = accept(node->fd, NULL, NULL);
		if (fd < 0 || atomic_load(&node->stopping) || node->count == CONNECTIONS_MAX) {
			if (fd >= 0)
				close(fd);
			return NULL;
		}
		int one = 1;
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
		struct connection *c = &node->connections[node->count];
		*c = (struct connection){ .node = node, .fd = fd };
		if (pthread_create(&c->thread, NULL, serve, c) != 0)
			abort();
		node->count++;
	}
}

struct scripted_node *scripted_node_start(scripted_handler *handler, void *arg)
{
	struct scripted_node *node = calloc(1, sizeof *node);
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t length = sizeof address;
	if (!node || (node->fd = socket(AF_INET, SOCK_STREAM, 0)) < 0 || bind(node->fd, (struct sockaddr *)&address, length) != 0 ||
	    listen(node->fd, 64) != 0 || getsockname(node->fd, (struct sockaddr *)&address, &length) != 0)
		abort();
	node->port = ntohs(address.sin_port);
	node->handler = handler;
	node->arg = arg;
	snprintf(node->url, sizeof node->url, "http://127.0.0.1:%d/", node->port);
	pthread_mutex_init(&node->lock, NULL);
	if (pthread_create(&node->acceptor, NULL, accept_all, node) != 0)
		abort();
	return node;
}

const char *scripted_node_url(const struct scripted_node *node)
{
	return node->url;
}

int scripted_node_port(const struct scripted_node *node)
{
	return node->port;
}

void scripted_node_stop(struct scripted_node **node)
{
	atomic_store(&(*node)->stopping, true);
	shutdown((*node)->fd, SHUT_RDWR);
	pthread_join((*node)->acceptor, NULL);
	for (size_t i = 0; i < (*node)->count; i++) {
		shutdown((*node)->connections[i].fd, SHUT_RDWR);
		pthread_join((*node)->connections[i].thread, NULL);
		close((*node)->connections[i].fd);
	}
	close((*node)->fd);
	pthread_mutex_destroy(&(*node)->lock);
	free(*node);
	*node = NULL;
}
