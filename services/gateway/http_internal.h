/* http_internal.h - private to http.c and head.c. */
#ifndef WEIR_GATEWAY_HTTP_INTERNAL_H
#define WEIR_GATEWAY_HTTP_INTERNAL_H

#include "http.h"

#include <microhttpd.h>
#include <pthread.h>

#define HTTP_ANSWER_MAX ((size_t)64 << 20)
#define HTTP_HEAD_MAX ((size_t)16 << 10)

enum phase { PHASE_READING, PHASE_HANDLING, PHASE_SENDING, PHASE_UPGRADED };

struct peer { /* one connection */
	int fd;
	enum phase phase;
	int64_t since_ms;
	struct peer *next, *previous;
};

enum stage { STAGE_HEAD, STAGE_BODY, STAGE_HANDLING, STAGE_ANSWERED, STAGE_SENT };

struct exchange { /* one request and its answer; belongs to libmicrohttpd's thread except while handled */
	struct MHD_Connection *connection;
	struct http_request request;
	struct http_response response;
	struct buf received;
	enum stage stage;
	int target_code;
	struct error target_error;
	bool close;
	int64_t began_ns;
	struct exchange *next;
};

struct http_socket {
	struct MHD_UpgradeResponseHandle *handle;
};

struct http {
	struct http_options options;
	struct log log;
	char address[160];
	struct MHD_Daemon *daemon;
	int listen_fd;
	pthread_mutex_t lock; /* guards everything below */
	pthread_cond_t queued, swept;
	struct exchange *first, *last;
	struct peer *peers;
	bool draining, closing;
	/* Of the thread that opened it. */
	bool drained, sweeping;
	pthread_t *workers, sweeper;
	size_t worker_count;
};

struct head_problem {
	unsigned status;
	const char *code, *detail;
};

/* The method as a lasting string; NULL when it is none of those that HTTP names. */
const char *http_read_method(const char *method);
/* Checks the head and takes what handlers need out of it. False: *ret_problem says what is wrong. */
bool http_read_head(struct exchange *, const char *method, const char *version, int64_t max_body, struct head_problem *ret_problem);
/* RFC 6455 section 4.2.1. */
bool http_check_handshake(struct exchange *, char ret_accept[64], struct head_problem *ret_problem);
void http_add_common_headers(struct MHD_Response *, const struct exchange *);

#endif
