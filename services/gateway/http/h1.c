/* h1.c - the grammar of RFC 9112, read strictly. */
#include "http/h1.h"

#include <string.h>

#define CHUNK_LINE_MAX 256       /* size and extensions of one chunk */
#define OVERHEAD_MAX ((size_t)64 << 10) /* a body of tiny chunks with long extensions costs more than it says */
#define TRAILER_MAX 4096

static bool is_tchar(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c && strchr("!#$%&'*+-.^_`|~", c));
}

static bool is_value(uint8_t c) /* field-vchar, space, tab */
{
	return c == '\t' || (c >= 0x20 && c != 0x7f);
}

bool h1_is_token(const char *s)
{
	const char *p = s;
	while (is_tchar((uint8_t)*p))
		p++;
	return p > s && !*p;
}

static bool refuse(struct h1_problem *p, unsigned status, const char *code, const char *detail)
{
	*p = (struct h1_problem){ status, code, detail };
	return false;
}

/* ---- where the head ends --------------------------------------------------------------------------------------------------------------- */

static bool look(struct h1_scan *s, const uint8_t *data, struct h1_problem *p)
{
	uint8_t c = data[s->at], before = s->at > s->line ? data[s->at - 1] : 0;
	if (c == '\n')
		return before == '\r' || refuse(p, 400, "bad_line_end", "a line ends with a line feed alone");
	if (before == '\r')
		return refuse(p, 400, "bad_line_end", "a carriage return is not followed by a line feed");
	if (c != '\r' && !is_value(c))
		return refuse(p, 400, s->lines ? "bad_header" : "bad_request_line", "there is a control character in the request's head");
	return true;
}

ssize_t h1_scan(struct h1_scan *s, const uint8_t *data, size_t size, struct h1_problem *p)
{
	for (; s->at < size; s->at++) {
		if (s->at - s->begin >= H1_HEAD_MAX) {
			if (s->lines == 0)
				refuse(p, 414, "target_too_long", "the request line is longer than this server reads");
			else
				refuse(p, 431, "head_too_large", "the request's head has more than 16 KiB or 64 fields");
			return -1;
		}
		if (!look(s, data, p))
			return -1;
		if (data[s->at] != '\n')
			continue;
		bool empty = s->at - s->line == 1;
		s->line = s->at + 1;
		if (!empty) {
			s->lines++;
		} else if (s->lines > 0) {
			s->at++;
			return (ssize_t)s->at;
		} else if (s->begin > 0) { /* one is forgiven (section 2.2) */
			refuse(p, 400, "bad_request_line", "there is no request line");
			return -1;
		} else {
			s->begin = s->line;
		}
	}
	return 0;
}

/* ---- what is in it --------------------------------------------------------------------------------------------------------------------- */

static bool read_version(const char *text, struct h1_head *ret, struct h1_problem *p)
{
	bool shaped = strncmp(text, "HTTP/", 5) == 0 && text[5] >= '0' && text[5] <= '9' && text[6] == '.' && text[7] >= '0' && text[7] <= '9' && !text[8];
	if (!shaped)
		return refuse(p, 400, "bad_request_line", "the request line does not end with HTTP/1.1");
	if (text[5] != '1')
		return refuse(p, 505, "version_not_supported", "HTTP/1.1 is spoken here");
	ret->minor = text[7] == '0' ? 0 : 1;
	return true;
}

/* method SP target SP version, exactly. */
static bool read_request_line(char *line, struct h1_head *ret, struct h1_problem *p)
{
	char *first = strchr(line, ' '), *second = first ? strchr(first + 1, ' ') : NULL;
	if (!first || !second || first == line || second == first + 1 || strchr(second + 1, ' ') || strchr(line, '\t'))
		return refuse(p, 400, "bad_request_line", "the request line is not method, target and version with one space between them");
	*first = *second = '\0';
	ret->method = line;
	ret->target = first + 1;
	if (!h1_is_token(line))
		return refuse(p, 400, "bad_request_line", "the method has characters that no method has");
	return read_version(second + 1, ret, p);
}

static bool read_field(char *line, struct h1_head *ret, struct h1_problem *p)
{
	if (*line == ' ' || *line == '\t')
		return refuse(p, 400, "bad_header", "a header line begins with white space: folded lines are not read");
	char *colon = strchr(line, ':');
	if (colon)
		*colon = '\0';
	if (!colon || !h1_is_token(line))
		return refuse(p, 400, "bad_header", "a header is not name:value, or its name has characters that are not allowed there");
	if (ret->field_count == H1_FIELDS_MAX)
		return refuse(p, 431, "head_too_large", "the request's head has more than 16 KiB or 64 fields");
	char *value = colon + 1 + strspn(colon + 1, " \t"), *end = value + strlen(value);
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		end--;
	*end = '\0';
	ret->fields[ret->field_count++] = (struct h1_field){ line, value };
	return true;
}

bool h1_parse(char *data, size_t size, struct h1_head *ret, struct h1_problem *p)
{
	bool first = true;
	ret->field_count = 0;
	for (char *line = data, *end = data + size; line < end;) {
		char *next = memchr(line, '\r', (size_t)(end - line));
		if (!next || next == line)
			break;
		*next = '\0';
		if (first ? !read_request_line(line, ret, p) : !read_field(line, ret, p))
			return false;
		first = false;
		line = next + 2;
	}
	return !first || refuse(p, 400, "bad_request_line", "there is no request line");
}

/* ---- chunked bodies -------------------------------------------------------------------------------------------------------------------- */

enum { SIZE_FIRST, SIZE_MORE, SIZE_SPACE, EXTENSION_FIRST, EXTENSION, SIZE_LF, DATA, DATA_CR, DATA_LF, TRAILER_FIRST, TRAILER_NAME, TRAILER_VALUE, TRAILER_LF, LAST_LF };

static int hex(uint8_t c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool add_digit(struct h1_chunks *c, int digit, struct h1_problem *p)
{
	if (c->left >> 60)
		return refuse(p, 400, "bad_chunk", "a chunk's size is no number that fits");
	c->left = c->left << 4 | (uint64_t)digit;
	c->state = SIZE_MORE;
	return true;
}

static bool end_size(struct h1_chunks *c, struct h1_problem *p)
{
	if (c->left > c->max - c->total)
		return refuse(p, 413, "body_too_large", "the request's body is larger than this server takes");
	c->total += c->left;
	c->line = 0;
	c->state = c->left ? DATA : TRAILER_FIRST;
	return true;
}

static bool to(struct h1_chunks *c, int state)
{
	c->state = state;
	return true;
}

/* One byte that is not body. */
static bool step(struct h1_chunks *c, uint8_t b, bool *ret_done, struct h1_problem *p)
{
	static const char chunk[] = "bad_chunk";
	switch (c->state) {
	case SIZE_FIRST:
		c->left = 0;
		return hex(b) >= 0 ? add_digit(c, hex(b), p) : refuse(p, 400, chunk, "a chunk does not begin with its size");
	case SIZE_MORE:
		if (hex(b) >= 0)
			return add_digit(c, hex(b), p);
		/* fall through */
	case SIZE_SPACE:
		if (b == ';')
			return to(c, EXTENSION_FIRST);
		if (b == ' ' || b == '\t')
			return to(c, SIZE_SPACE);
		return b == '\r' && c->state == SIZE_MORE ? to(c, SIZE_LF) : refuse(p, 400, chunk, "behind a chunk's size comes neither an extension nor the line's end");
	case EXTENSION_FIRST:
		if (b == ' ' || b == '\t')
			return true;
		return is_tchar(b) ? to(c, EXTENSION) : refuse(p, 400, chunk, "a chunk's extension has no name");
	case EXTENSION:
		if (b == '\r')
			return to(c, SIZE_LF);
		return is_value(b) || refuse(p, 400, chunk, "there is a control character in a chunk's extension");
	case SIZE_LF:
		return b == '\n' ? end_size(c, p) : refuse(p, 400, chunk, "the line of a chunk's size does not end with CRLF");
	case DATA_CR:
		return b == '\r' ? to(c, DATA_LF) : refuse(p, 400, chunk, "a chunk is longer than it says");
	case DATA_LF:
		return b == '\n' ? to(c, SIZE_FIRST) : refuse(p, 400, chunk, "a chunk does not end with CRLF");
	case TRAILER_FIRST:
		if (b == '\r')
			return to(c, LAST_LF);
		return is_tchar(b) ? to(c, TRAILER_NAME) : refuse(p, 400, "bad_header", "a trailer is not name:value");
	case TRAILER_NAME:
		if (b == ':')
			return to(c, TRAILER_VALUE);
		return is_tchar(b) || refuse(p, 400, "bad_header", "a trailer is not name:value");
	case TRAILER_VALUE:
		if (b == '\r')
			return to(c, TRAILER_LF);
		return is_value(b) || refuse(p, 400, "bad_header", "there is a control character in a trailer");
	case TRAILER_LF:
		return b == '\n' ? to(c, TRAILER_FIRST) : refuse(p, 400, "bad_header", "a trailer does not end with CRLF");
	default:
		*ret_done = b == '\n';
		return *ret_done || refuse(p, 400, chunk, "the body does not end with CRLF");
	}
}

static bool count(struct h1_chunks *c, struct h1_problem *p)
{
	bool trailer = c->state >= TRAILER_FIRST;
	if (++c->line > (trailer ? TRAILER_MAX : CHUNK_LINE_MAX) && (trailer || c->state <= SIZE_LF))
		return trailer ? refuse(p, 431, "head_too_large", "the trailers have more than 4 KiB") :
				 refuse(p, 400, "bad_chunk", "the line of a chunk's size has more than 256 bytes");
	return ++c->overhead <= OVERHEAD_MAX + c->total || refuse(p, 400, "bad_chunk", "the chunks have more around them than in them");
}

ssize_t h1_dechunk(struct h1_chunks *c, const uint8_t *data, size_t size, struct buf *body, bool *ret_done, struct h1_problem *p)
{
	size_t at = 0;
	*ret_done = false;
	while (at < size && !*ret_done) {
		if (c->state == DATA) {
			size_t n = size - at < c->left ? size - at : (size_t)c->left;
			buf_add(body, data + at, n);
			at += n;
			c->left -= n;
			if (c->left == 0)
				c->state = DATA_CR;
		} else if (!count(c, p) || !step(c, data[at], ret_done, p)) {
			return -1;
		} else {
			at++;
		}
	}
	return (ssize_t)at;
}
