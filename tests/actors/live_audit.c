/* live_audit.c - many WebSocket clients that keep books, in one process (tests/service/test_no_gap.py), because thousands cannot be had in Python.
 *
 *	live_audit CLIENTS CHAIN ACCOUNT HOST:PORT…
 *
 * Client i follows, from height 0, the entries, the blocks, the account's entries, or the entries with finality, in turn. It comes back wherever somebody answers, at
 * times without need, with the offset of its last push. It holds what it was given and not taken back, and notes as a fault: a push out of turn, an id that it holds
 * already, an id taken back that it does not hold or that is of another block.
 *
 * When all is over its standard input says "entries FILE", "blocks FILE" and "account FILE", each file with one id a line, and ends. Then every client goes on until
 * it holds exactly that, and a moment longer; it gives up when nothing comes any more. One line of JSON: what was given, and who lacks what. Status 1: some client does
 * not hold what it should, or noted a fault.
 */
#include "base/clock.h"
#include "base/mem.h"
#include "wire/hex.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <yyjson.h>

#define BASES_MAX 8
#define ID 16
#define AGAIN_MS 200     /* before a new connection, and as much again by chance */
#define ODDS 2000        /* one push in so many is followed by a reconnect without need */
#define STALLED_MS 60000 /* after the end: nothing came for so long, and not all hold what they should */
#define QUIET_MS 3000    /* and then nothing more may come */
#define READ_SIZE 65536
#define MESSAGE_MAX ((size_t)8 << 20)

enum kind { ENTRIES, BLOCKS, ACCOUNT, FINAL, KINDS };

/* ---- what a client holds: ids, each with the first bytes of its block's hash ---------------------------------------------------------------------- */

struct held {
	uint8_t id[ID];
	uint64_t block;
	uint8_t state; /* 0: free, 1: held, 2: was held */
};

struct books {
	struct held *rows;
	size_t capacity, used, count; /* used: not free */
};

static struct held *find(const struct books *b, const uint8_t id[ID])
{
	uint64_t hash;
	memcpy(&hash, id, sizeof hash); /* ids are digests */
	for (size_t i = hash & (b->capacity - 1);; i = (i + 1) & (b->capacity - 1))
		if (b->rows[i].state == 0 || memcmp(b->rows[i].id, id, ID) == 0)
			return &b->rows[i];
}

static void grow(struct books *b)
{
	struct books larger = { .capacity = b->capacity ? 2 * b->capacity : 256 };
	larger.rows = xcalloc(larger.capacity, sizeof *larger.rows);
	for (size_t i = 0; i < b->capacity; i++)
		if (b->rows[i].state == 1) {
			*find(&larger, b->rows[i].id) = b->rows[i];
			larger.used++;
		}
	larger.count = larger.used;
	free(b->rows);
	*b = larger;
}

/* False: it is held already. */
static bool hold(struct books *b, const uint8_t id[ID], uint64_t block)
{
	if (2 * (b->used + 1) > b->capacity)
		grow(b);
	struct held *row = find(b, id);
	if (row->state == 1)
		return false;
	b->used += row->state == 0;
	b->count++;
	*row = (struct held){ .block = block, .state = 1 };
	memcpy(row->id, id, ID);
	return true;
}

/* False: it is not held, or is another block's. */
static bool let_go(struct books *b, const uint8_t id[ID], uint64_t block)
{
	struct held *row = b->capacity ? find(b, id) : NULL;
	if (!row || row->state != 1 || row->block != block)
		return false;
	row->state = 2;
	b->count--;
	return true;
}

static bool holds_all(const struct books *b, const struct books *wanted)
{
	if (b->count != wanted->count)
		return false;
	for (size_t i = 0; i < wanted->capacity; i++)
		if (wanted->rows[i].state == 1 && (!b->capacity || find(b, wanted->rows[i].id)->state != 1))
			return false;
	return true;
}

/* ---- clients ---------------------------------------------------------------------------------------------------------------------------------------- */

struct client {
	enum kind kind;
	int fd; /* -1: comes back at again_ms */
	int64_t again_ms;
	bool open; /* behind the handshake */
	struct buf in;
	struct books books;
	uint64_t sequence; /* of the last push of this connection */
	char offset[128];  /* of the last push ever; empty: none yet */
};

static struct {
	const char *chain, *account;
	struct sockaddr_in bases[BASES_MAX];
	size_t base_count, count;
	struct client *clients;
	int epoll;
	bool over;
	struct books wanted[KINDS];
	uint64_t given, retracted, reconnects, faults;
	char fault[400]; /* the first */
} all;

static void note_fault(const struct client *c, const char *what, const char *text)
{
	if (all.faults++ == 0)
		snprintf(all.fault, sizeof all.fault, "client %zu: %s: %.300s", (size_t)(c - all.clients), what, text);
}

static void leave(struct client *c)
{
	if (c->fd >= 0)
		close(c->fd);
	c->fd = -1;
	c->again_ms = clock_mono_ms() + AGAIN_MS + (int64_t)(random_u64() % AGAIN_MS);
}

static void send_frame(struct client *c, uint8_t first, const char *text, size_t size)
{
	struct buf out = BUF_INIT(1024);
	buf_add_byte(&out, first);
	buf_add_byte(&out, (uint8_t)(0x80 | (size < 126 ? size : 126)));
	if (size >= 126) {
		buf_add_byte(&out, (uint8_t)(size >> 8));
		buf_add_byte(&out, (uint8_t)size);
	}
	buf_add(&out, "\0\0\0\0", 4);
	buf_add(&out, text, size);
	if (send(c->fd, out.data, out.size, MSG_NOSIGNAL) != (ssize_t)out.size)
		leave(c);
	buf_free(&out);
}

static void subscribe(struct client *c)
{
	char text[600], from[160] = "\"height\":0", account[120] = "";
	if (c->offset[0])
		snprintf(from, sizeof from, "\"offset\":\"%s\"", c->offset);
	if (c->kind == ACCOUNT)
		snprintf(account, sizeof account, ",\"account\":\"%s\"", all.account);
	int n = snprintf(text, sizeof text, "{\"id\":1,\"method\":\"subscribe\",\"params\":{\"topic\":\"%s\",\"chain\":\"%s\",\"from\":{%s}%s%s,\"laggard\":\"resume\"}}",
			 c->kind == BLOCKS ? "blocks" : "entries", all.chain, from, account, c->kind == FINAL ? ",\"finality\":true" : "");
	send_frame(c, 0x81, text, (size_t)n);
}

static void come_back(struct client *c)
{
	static const char handshake[] = "GET /v1/ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
					"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n";
	const struct sockaddr_in *base = &all.bases[random_u64() % all.base_count];
	all.reconnects++;
	buf_reset(&c->in);
	c->sequence = 0;
	c->open = false;
	c->fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); /* connecting to this machine does not wait */
	if (c->fd < 0 || connect(c->fd, (const struct sockaddr *)base, sizeof *base) != 0 ||
	    send(c->fd, handshake, sizeof handshake - 1, MSG_NOSIGNAL) != (ssize_t)sizeof handshake - 1) {
		leave(c);
		return;
	}
	fcntl(c->fd, F_SETFL, O_NONBLOCK);
	struct epoll_event event = { .events = EPOLLIN, .data.ptr = c };
	epoll_ctl(all.epoll, EPOLL_CTL_ADD, c->fd, &event);
}

/* ---- what comes --------------------------------------------------------------------------------------------------------------------------------------- */

static bool read_id(yyjson_val *value, uint8_t ret[ID])
{
	char hex[2 * ID + 3];
	if (yyjson_get_len(value) != 2 * (size_t)ID)
		return false;
	snprintf(hex, sizeof hex, "0x%s", yyjson_get_str(value));
	return hex_to_bytes(hex, strlen(hex), ret, ID) == 0;
}

static uint64_t block_of(yyjson_val *event)
{
	yyjson_val *hash = yyjson_obj_get(event, "block_hash");
	const char *text = yyjson_get_str(hash ? hash : yyjson_obj_get(event, "hash"));
	char digits[17] = "";
	if (text && strlen(text) > 18)
		memcpy(digits, text + 2, 16);
	return strtoull(digits, NULL, 16);
}

static void take_back(struct client *c, yyjson_val *event, const char *text)
{
	yyjson_val *item;
	yyjson_arr_iter iter = yyjson_arr_iter_with(yyjson_obj_get(event, "ids"));
	while ((item = yyjson_arr_iter_next(&iter))) {
		uint8_t id[ID];
		if (!read_id(item, id) || !let_go(&c->books, id, block_of(event)))
			note_fault(c, "taken back, but not held", text);
		all.retracted++;
	}
}

static void take_push(struct client *c, yyjson_val *root, yyjson_val *event, const char *text)
{
	const char *type = yyjson_get_str(yyjson_obj_get(event, "type")), *offset = yyjson_get_str(yyjson_obj_get(root, "offset"));
	uint8_t id[ID];
	if (yyjson_get_uint(yyjson_obj_get(root, "seq")) != ++c->sequence)
		note_fault(c, "out of turn", text);
	if (type && strcmp(type, "retracted") == 0) {
		take_back(c, event, text);
	} else if (yyjson_obj_get(event, "id")) {
		if (!read_id(yyjson_obj_get(event, "id"), id) || !hold(&c->books, id, block_of(event)))
			note_fault(c, "given twice", text);
		all.given++;
	}
	snprintf(c->offset, sizeof c->offset, "%s", offset ? offset : "");
}

/* False: this connection is left. */
static bool take_message(struct client *c, char *text, size_t size)
{
	yyjson_doc *doc = yyjson_read_opts(text, size, 0, NULL, NULL);
	yyjson_val *root = yyjson_doc_get_root(doc), *event = yyjson_obj_get(root, "event"), *error = yyjson_obj_get(root, "error");
	const char *code = yyjson_get_str(yyjson_obj_get(error, "code"));
	bool stays = doc != NULL;
	char shown[300];
	snprintf(shown, sizeof shown, "%.*s", (int)(size < sizeof shown ? size : sizeof shown - 1), text);
	for (char *p = shown; *p; p++)
		*p = *p == '"' || *p == '\\' || *p < ' ' ? '\'' : *p;
	if (event) {
		take_push(c, root, event, shown);
		stays = all.over || random_u64() % ODDS != 0;
	} else if (error) {
		if (!code || strcmp(code, "unavailable") != 0)
			note_fault(c, "refused", shown);
		stays = false;
	}
	yyjson_doc_free(doc);
	return stays;
}

/* One frame at the buffer's place. 0: it is not whole yet; negative: the connection ends. */
static ssize_t take_frame(struct client *c, uint8_t *data, size_t size)
{
	size_t head = 2, n = size >= 2 ? data[1] & 0x7f : 0;
	if (size < 2 || (n == 126 && size < 4) || (n == 127 && size < 10))
		return 0;
	if (n == 126) {
		head = 4;
		n = (size_t)data[2] << 8 | data[3];
	} else if (n == 127) {
		head = 10;
		n = 0;
		for (int i = 2; i < 10; i++)
			n = n << 8 | data[i];
	}
	if (n > MESSAGE_MAX)
		return -1;
	if (size < head + n)
		return 0;
	if (data[0] == 0x81)
		return take_message(c, (char *)data + head, n) ? (ssize_t)(head + n) : -1;
	if (data[0] == 0x89)
		send_frame(c, 0x8a, (char *)data + head, n);
	return data[0] == 0x88 || c->fd < 0 ? -1 : (ssize_t)(head + n);
}

static void take_input(struct client *c)
{
	size_t at = 0;
	if (!c->open) {
		const uint8_t *end = memmem(c->in.data, c->in.size, "\r\n\r\n", 4);
		if (!end)
			return;
		if (memcmp(c->in.data, "HTTP/1.1 101", 12) != 0) { /* it is stopping, or full */
			leave(c);
			return;
		}
		c->open = true;
		at = (size_t)(end + 4 - c->in.data);
		subscribe(c);
	}
	while (c->fd >= 0 && at < c->in.size) {
		ssize_t n = take_frame(c, c->in.data + at, c->in.size - at);
		if (n < 0)
			leave(c);
		if (n <= 0)
			break;
		at += (size_t)n;
	}
	c->in.size -= at;
	memmove(c->in.data, c->in.data + at, c->in.size);
}

static void read_some(struct client *c)
{
	uint8_t data[READ_SIZE];
	ssize_t n = recv(c->fd, data, sizeof data, 0);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		leave(c);
		return;
	}
	buf_add(&c->in, data, (size_t)n);
	take_input(c);
}

/* ---- the end -------------------------------------------------------------------------------------------------------------------------------------------- */

static void read_wanted(struct books *b, const char *path)
{
	char line[2 * ID + 2], hex[2 * ID + 3];
	uint8_t id[ID];
	FILE *file = fopen(path, "r");
	if (!file) {
		perror(path);
		exit(2);
	}
	grow(b);
	while (fscanf(file, "%32s", line) == 1) {
		snprintf(hex, sizeof hex, "0x%.32s", line);
		if (hex_to_bytes(hex, strlen(hex), id, ID) == 0)
			hold(b, id, 0);
	}
	fclose(file);
}

/* Standard input is read when it has ended; until then it is only looked at. */
static void look_for_the_end(void)
{
	static char text[4096];
	static size_t size;
	struct pollfd in = { .fd = STDIN_FILENO, .events = POLLIN };
	char word[16], path[1024];
	int used;
	while (!all.over && poll(&in, 1, 0) > 0) {
		ssize_t n = read(STDIN_FILENO, text + size, sizeof text - 1 - size);
		size += n > 0 ? (size_t)n : 0;
		all.over = n <= 0;
	}
	for (const char *p = text; all.over && !all.wanted[ENTRIES].rows && sscanf(p, "%15s %1023s%n", word, path, &used) == 2; p += used)
		read_wanted(&all.wanted[strcmp(word, "entries") == 0 ? FINAL : strcmp(word, "blocks") == 0 ? BLOCKS : ACCOUNT], path);
	if (all.over)
		all.wanted[ENTRIES] = all.wanted[FINAL];
}

static size_t count_lacking(char ret_who[400])
{
	size_t n = 0;
	for (size_t i = 0; i < all.count; i++) {
		const struct client *c = &all.clients[i];
		if (holds_all(&c->books, &all.wanted[c->kind]))
			continue;
		if (n++ == 0)
			snprintf(ret_who, 400, "client %zu of kind %d holds %zu, wanted are %zu, at %s", i, (int)c->kind, c->books.count, all.wanted[c->kind].count, c->offset);
	}
	return n;
}

static void turn(struct epoll_event *events, int most)
{
	int64_t now = clock_mono_ms();
	for (size_t i = 0; i < all.count; i++)
		if (all.clients[i].fd < 0 && now >= all.clients[i].again_ms)
			come_back(&all.clients[i]);
	int n = epoll_wait(all.epoll, events, most, 50);
	for (int i = 0; i < n; i++)
		read_some(events[i].data.ptr);
}

static void open_all(int argc, char **argv)
{
	struct rlimit files = { 65536, 65536 };
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	setrlimit(RLIMIT_NOFILE, &files);
	all.count = strtoull(argv[1], NULL, 10);
	all.chain = argv[2];
	all.account = argv[3];
	for (int i = 4; i < argc && all.base_count < BASES_MAX; i++) {
		char *colon = strrchr(argv[i], ':');
		struct sockaddr_in *base = &all.bases[all.base_count++];
		*base = (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(colon ? colon + 1 : "0")), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	}
	all.epoll = epoll_create1(EPOLL_CLOEXEC);
	all.clients = xcalloc(all.count, sizeof *all.clients);
	for (size_t i = 0; i < all.count; i++)
		all.clients[i] = (struct client){ .kind = (enum kind)(i % KINDS), .fd = -1, .in = BUF_INIT(2 * MESSAGE_MAX) };
}

int main(int argc, char **argv)
{
	static struct epoll_event events[256];
	char who[400] = "";
	if (argc < 5) {
		fprintf(stderr, "usage: live_audit CLIENTS CHAIN ACCOUNT HOST:PORT…\n");
		return 2;
	}
	open_all(argc, argv);
	int64_t deadline = INT64_MAX, looked_ms = 0, level_ms = 0;
	uint64_t came = 0;
	size_t lacking = all.count;
	while (clock_mono_ms() < deadline && (level_ms == 0 || clock_mono_ms() < level_ms + QUIET_MS)) {
		turn(events, 256);
		look_for_the_end();
		if (!all.over || clock_mono_ms() - looked_ms < 500)
			continue;
		looked_ms = clock_mono_ms();
		if (deadline == INT64_MAX || all.given + all.retracted != came)
			deadline = looked_ms + STALLED_MS;
		came = all.given + all.retracted;
		lacking = count_lacking(who);
		level_ms = lacking > 0 ? 0 : level_ms > 0 ? level_ms : looked_ms;
	}
	lacking = count_lacking(who);
	printf("{\"clients\":%zu,\"given\":%llu,\"retracted\":%llu,\"reconnects\":%llu,\"lacking\":%zu,\"who\":\"%s\",\"faults\":%llu,\"fault\":\"%s\"}\n", all.count,
	       (unsigned long long)all.given, (unsigned long long)all.retracted, (unsigned long long)all.reconnects, lacking, lacking > 0 ? who : "",
	       (unsigned long long)all.faults, all.fault);
	return lacking > 0 || all.faults > 0;
}
