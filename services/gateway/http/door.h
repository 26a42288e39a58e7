/* door.h - requests that are turned away as soon as their head is there: nothing is allocated, looked up, counted against a limit or logged for them, and the
 * answer is ready but for its id, its path and its Retry-After. The connection stays.
 *
 * Only what is surely one whole request can be answered so: GET of a plain path, with no header that says how the message goes on or that asks for an answer
 * of its own. Whatever is not takes the usual way, where it is refused all the same, only later.
 */
#ifndef WEIR_GATEWAY_DOOR_H
#define WEIR_GATEWAY_DOOR_H

#include "http/http.h"

#define DOOR_PATH_MAX 256
#define DOOR_ANSWER_MAX 2048

/* A head as h1_scan found it. False: it takes the usual way. */
bool door_read(const char *head, size_t size, struct http_arrival *ret);

struct door { /* of a loop; zeros at first */
	int64_t second; /* of its Date */
	struct buf text; /* an answer with places for what differs: */
	size_t id, retry_after, length, path, body, id_again;
};
/* The answer's size; 0: it can't be made of this. */
size_t door_answer(struct door *, const struct http_options *, const struct http_arrival *, char ret[DOOR_ANSWER_MAX]);
void door_free(struct door *);

#endif
