/* door.c - see door.h. */
#include "http/http_internal.h"

#include "base/clock.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NO_ID "0000000000000000"
#define ID_SIZE (sizeof NO_ID - 1)
#define LENGTH_DIGITS 3

/* ---- the request -------------------------------------------------------------------------------------------------------------------------- */

static bool is_plain(char c) /* in a path: the same before and after decoding, and within JSON */
{
	return isalnum((unsigned char)c) || c == '/' || c == '-' || c == '.' || c == '_' || c == '~' || c == ':';
}

static bool read_request_line(const char *line, size_t size, struct http_arrival *ret)
{
	static const char before[] = "GET ", after[] = " HTTP/1.1";
	const size_t around = sizeof before - 1 + sizeof after - 1;
	if (size <= around || memcmp(line, before, sizeof before - 1) != 0 || memcmp(line + size - (sizeof after - 1), after, sizeof after - 1) != 0)
		return false;
	const char *target = line + sizeof before - 1;
	size_t n = size - around, path = 0;
	while (path < n && is_plain(target[path]))
		path++;
	*ret = (struct http_arrival){ .path = target, .path_size = path, .query = path < n };
	return target[0] == '/' && path <= DOOR_PATH_MAX && (path == n || target[path] == '?') && !memchr(target, ' ', n);
}

static bool is(const char *name, size_t size, const char *wanted)
{
	return strlen(wanted) == size && strncasecmp(name, wanted, size) == 0;
}

static bool read_field(const char *line, size_t size, size_t *hosts, struct http_arrival *ret)
{
	/* They say where the request ends, or that its answer differs. */
	static const char *const others[] = { "content-length", "transfer-encoding", "expect", "upgrade", "origin", "x-request-id" };
	size_t name = 0;
	while (name < size && (isalnum((unsigned char)line[name]) || line[name] == '-'))
		name++;
	if (name == 0 || name == size || line[name] != ':')
		return false;
	for (size_t i = 0; i < sizeof others / sizeof others[0]; i++)
		if (is(line, name, others[i]))
			return false;
	const char *value = line + name + 1;
	size_t left = size - name - 1;
	for (; left > 0 && *value == ' '; left--)
		value++;
	*hosts += is(line, name, "host");
	ret->credentials = ret->credentials || is(line, name, "authorization") || is(line, name, "x-api-key");
	return !is(line, name, "connection") || is(value, left, "keep-alive");
}

bool door_read(const char *head, size_t size, struct http_arrival *ret)
{
	const char *end = head + size, *line = head;
	size_t lines = 0, hosts = 0;
	for (const char *cr; line < end; line = cr + 2, lines++) {
		cr = memchr(line, '\r', (size_t)(end - line));
		if (!cr || lines > H1_FIELDS_MAX)
			return false;
		if (cr == line)
			break;
		size_t n = (size_t)(cr - line);
		if (lines == 0 ? !read_request_line(line, n, ret) : !read_field(line, n, &hosts, ret))
			return false;
	}
	return lines > 0 && hosts == 1;
}

/* ---- the answer --------------------------------------------------------------------------------------------------------------------------- */

static size_t behind(const char *text, size_t from, const char *label)
{
	const char *at = strstr(text + from, label);
	return at ? (size_t)(at - text) + strlen(label) : 0;
}

/* By those who make every other answer, so that it is one like them. */
static bool make(struct door *door, const struct http_options *o, int64_t second)
{
	struct exchange *x = xmalloc(sizeof *x);
	x->response = (struct http_response){ .type = "application/json", .body = BUF_INIT(DOOR_ANSWER_MAX), .retry_after = 1 };
	memcpy(x->request.id, NO_ID, ID_SIZE);
	o->turned_away(&x->response, "/", x->request.id, o->arg);
	buf_free(&door->text);
	door->text = (struct buf)BUF_INIT(DOOR_ANSWER_MAX - DOOR_PATH_MAX);
	http_print_head(x, &door->text);
	door->body = door->text.size;
	buf_add(&door->text, x->response.body.data, x->response.body.size);
	buf_free(&x->response.body);
	free(x);
	const char *text = buf_str(&door->text);
	door->id = behind(text, 0, "X-Request-Id: ");
	door->retry_after = behind(text, door->id, "Retry-After: ");
	door->length = behind(text, door->retry_after, "Content-Length: ");
	door->path = behind(text, door->body, "\"instance\":\"");
	door->id_again = door->path ? behind(text, door->path, "\"request_id\":\"") : 0;
	door->second = second;
	bool found = door->id && door->retry_after && door->length && door->path && door->id_again;
	return found && !door->text.overflow && text[door->length + LENGTH_DIGITS] == '\r';
}

static void put_id(char *at, uint64_t id)
{
	for (size_t i = 0; i < ID_SIZE; i++, id >>= 4)
		at[i] = "0123456789abcdef"[id & 15];
}

size_t door_answer(struct door *door, const struct http_options *o, const struct http_arrival *request, char ret[DOOR_ANSWER_MAX])
{
	const int64_t second = clock_wall_ms() / 1000;
	if (door->second != second && !make(door, o, second)) {
		door->second = 0;
		return 0;
	}
	const char *text = buf_str(&door->text);
	size_t length = door->text.size - door->body - 1 + request->path_size; /* it has "/" for a path */
	if (length < 100 || length > 999)
		return 0;
	memcpy(ret, text, door->path);
	memcpy(ret + door->path, request->path, request->path_size);
	char *rest = ret + door->path + request->path_size;
	memcpy(rest, text + door->path + 1, door->text.size - door->path - 1);
	uint64_t random = random_u64();
	put_id(ret + door->id, random);
	put_id(rest + door->id_again - door->path - 1, random);
	ret[door->retry_after] = (char)('1' + random % 5); /* not all at once */
	for (size_t i = LENGTH_DIGITS; i-- > 0; length /= 10)
		ret[door->length + i] = (char)('0' + length % 10);
	return door->body + door->text.size - door->body - 1 + request->path_size;
}

void door_free(struct door *door)
{
	buf_free(&door->text);
}
