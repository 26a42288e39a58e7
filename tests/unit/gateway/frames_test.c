/* frames_test.c - RFC 6455 and 7692 as cases, ordered as the sections of the Autobahn suite (1-7, 9, 10, 12, 13) and made anew from the RFCs.
 * Every case is given whole, byte by byte, and cut in two at every point of its first 300 bytes. WS_REPORT=file writes docs/websocket-conformance.md's
 * table, WS_INDEX=file docs/websocket-conformance.json, the same in the format of that suite's index.json: "UNIMPLEMENTED" is what the gateway refuses by its
 * documented choice. The last test compares both with what is published. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "services/gateway/http/deflate.h"
#include "services/gateway/live/frames.h"

#include <stdio.h>
#include <string.h>
#include <zlib.h>

enum { CONTINUED = 0, TEXT = 1, BINARY = 2, CLOSE = 8, PING = 9, PONG = 10, FIN = 0x80, RSV1 = 0x40, RSV2 = 0x20, RSV3 = 0x10 };

#define OPEN 0     /* the connection goes on */
#define GONE 65535 /* closed without a code, as it was closed */
#define LARGE ((size_t)128 << 10) /* more is cut at fewer points: its size is what matters */

/* ---- one case and what came of it --------------------------------------------------------------------------------------------------------- */

struct seen {
	size_t texts, pongs;
	struct buf last;   /* the last message */
	struct buf output; /* all frames that came out */
	uint16_t closed;
};

static void on_text(void *arg, struct bytes message)
{
	struct seen *seen = arg;
	seen->texts++;
	buf_reset(&seen->last);
	buf_add(&seen->last, message.data, message.size);
}

static void on_output(void *arg, struct bytes data)
{
	buf_add(&((struct seen *)arg)->output, data.data, data.size);
}

static void read_output(struct seen *seen)
{
	const uint8_t *p = seen->output.data;
	for (size_t at = 0; at + 2 <= seen->output.size;) {
		size_t n = p[at + 1] & 0x7f;
		assert_true(n <= 125 && (p[at + 1] & 0x80) == 0 && at + 2 + n <= seen->output.size);
		seen->pongs += p[at] == (FIN | PONG);
		if (p[at] == (FIN | CLOSE))
			seen->closed = n >= 2 ? (uint16_t)(p[at + 2] << 8 | p[at + 3]) : GONE;
		at += 2 + n;
	}
}

static struct seen run(struct bytes input, bool deflates, size_t first, size_t step)
{
	struct seen seen = { .last = BUF_INIT(1 << 20), .output = BUF_INIT(1 << 22) };
	const struct frames_callbacks callbacks = { on_text, NULL, on_output, &seen };
	struct frames *frames = frames_new(&callbacks, deflates);
	for (size_t at = 0, n = first; at < input.size; at += n, n = step) {
		if (n > input.size - at)
			n = input.size - at;
		if (!frames_input(frames, (struct bytes){ input.data + at, n }))
			break;
	}
	frames_free(&frames);
	read_output(&seen);
	return seen;
}

static FILE *report, *index_file; /* in memory */
static char *report_text, *index_text;
static size_t report_size, index_size;
static unsigned cases, ways;

/* Cases of a section are numbered as they come: "1.1" has 1.1.1, 1.1.2, … */
static unsigned number_in(const char *section)
{
	static struct {
		const char *name;
		unsigned count;
	} sections[100];
	size_t i = 0;
	while (i < 99 && sections[i].name && strcmp(sections[i].name, section) != 0)
		i++;
	sections[i].name = section;
	return ++sections[i].count;
}

/* Does the gateway refuse here, by choice, what another server would have to echo? */
static bool is_choice(const char *section, uint16_t closed)
{
	return closed == 1003 || (closed == 1009 && section[0] == '9');
}

static void add_to_index(const char *section, const char *what, uint16_t closed)
{
	fprintf(index_file, "%s\n\t\t\"%s.%u\": {\"behavior\": \"%s\", \"behaviorClose\": \"OK\", \"remoteCloseCode\": ", cases > 0 ? "," : "", section, number_in(section),
		is_choice(section, closed) ? "UNIMPLEMENTED" : "OK");
	if (closed != OPEN && closed != GONE)
		fprintf(index_file, "%u", closed);
	else
		fprintf(index_file, "null");
	fprintf(index_file, ", \"description\": \"%s\"}", what);
}

/* texts: messages received, or any number when negative. */
static void expect(const char *section, const char *what, const struct buf *input, bool deflates, int texts, size_t pongs, uint16_t closed)
{
	const struct bytes in = { input->data, input->size };
	size_t cuts = input->size < 300 ? input->size : input->size > LARGE ? 20 : 300;
	for (size_t way = 0; way < cuts + 2; way++) {
		if (way == 1 && input->size > 70000)
			continue;
		struct seen seen = run(in, deflates, way == 0 ? in.size : way == 1 ? 1 : way - 1, way == 1 ? 1 : in.size);
		if ((texts >= 0 && seen.texts != (size_t)texts) || seen.pongs != pongs || seen.closed != closed)
			fail_msg("%s %s, way %zu: %zu messages (%d), %zu pongs (%zu), closed %u (%u)", section, what, way, seen.texts, texts, seen.pongs, pongs,
				 seen.closed, closed);
		buf_free(&seen.last);
		buf_free(&seen.output);
		ways++;
	}
	add_to_index(section, what, closed);
	cases++;
	if (closed != OPEN && closed != GONE)
		fprintf(report, "| %s | %s | closed with %u | pass |\n", section, what, closed);
	else
		fprintf(report, "| %s | %s | %s | pass |\n", section, what, closed == GONE ? "closed as asked" : pongs > 0 ? "answered" : "taken");
}

/* ---- building -------------------------------------------------------------------------------------------------------------------------------- */

static void frame_as(struct buf *out, int first, bool masked, const void *data, size_t size)
{
	static const uint8_t mask[4] = { 0x12, 0x9a, 0x00, 0xff };
	uint8_t bit = masked ? 0x80 : 0;
	buf_add_byte(out, (uint8_t)first);
	if (size < 126) {
		buf_add_byte(out, (uint8_t)(bit | size));
	} else if (size < 65536) {
		buf_add_byte(out, bit | 126);
		buf_add_byte(out, (uint8_t)(size >> 8));
		buf_add_byte(out, (uint8_t)size);
	} else {
		buf_add_byte(out, bit | 127);
		for (int i = 7; i >= 0; i--)
			buf_add_byte(out, (uint8_t)((uint64_t)size >> 8 * i));
	}
	if (masked)
		buf_add(out, mask, 4);
	for (size_t i = 0; i < size; i++)
		buf_add_byte(out, (uint8_t)(((const uint8_t *)data)[i] ^ (masked ? mask[i % 4] : 0)));
}

static void frame(struct buf *out, int first, const void *data, size_t size)
{
	frame_as(out, first, true, data, size);
}

static char *many(char c, size_t n)
{
	char *text = xmalloc(n + 1);
	memset(text, c, n);
	return text;
}

/* One frame. */
static void one(const char *section, const char *what, int first, const void *data, size_t size, int texts, size_t pongs, uint16_t closed)
{
	struct buf in = BUF_INIT(1 << 22);
	frame(&in, first, data, size);
	expect(section, what, &in, false, texts, pongs, closed);
	buf_free(&in);
}

/* ---- the sections ------------------------------------------------------------------------------------------------------------------------------ */

static void test_framing(void **state)
{
	(void)state;
	static const size_t sizes[] = { 0, 1, 125, 126, 127, 128, 65535, 65536 };
	char what[80];
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		char *text = many('*', sizes[i]);
		snprintf(what, sizeof what, "text of %zu bytes", sizes[i]);
		one("1.1", what, FIN | TEXT, text, sizes[i], 1, 0, OPEN);
		snprintf(what, sizeof what, "binary of %zu bytes", sizes[i]);
		one("1.2", what, FIN | BINARY, text, sizes[i], 0, 0, 1003);
		free(text);
	}
	struct buf in = BUF_INIT(1 << 10);
	frame_as(&in, FIN | TEXT, false, "hello", 5);
	expect("1.3", "a frame without a mask", &in, false, 0, 0, 1002);
	buf_free(&in);
}

static void test_pings(void **state)
{
	(void)state;
	char *text = many('p', 126);
	one("2.1", "ping without payload", FIN | PING, "", 0, 0, 1, OPEN);
	one("2.2", "ping with text", FIN | PING, "hello", 5, 0, 1, OPEN);
	one("2.3", "ping with bytes", FIN | PING, "\x00\xff\xfe\xfd\xfc\xfb\x00\xff", 8, 0, 1, OPEN);
	one("2.4", "ping of 125 bytes", FIN | PING, text, 125, 0, 1, OPEN);
	one("2.5", "ping of 126 bytes", FIN | PING, text, 126, 0, 0, 1002);
	one("2.6", "ping of 125 bytes, in pieces", FIN | PING, text, 125, 0, 1, OPEN);
	one("2.7", "pong that nobody asked for", FIN | PONG, "", 0, 0, 0, OPEN);
	one("2.8", "pong with payload that nobody asked for", FIN | PONG, "x", 1, 0, 0, OPEN);
	struct buf in = BUF_INIT(1 << 12);
	frame(&in, FIN | PONG, "x", 1);
	frame(&in, FIN | PING, "y", 1);
	expect("2.9", "pong, then ping", &in, false, 0, 1, OPEN);
	buf_reset(&in);
	for (int i = 0; i < 10; i++)
		frame(&in, FIN | PING, &i, 1);
	expect("2.10", "ten pings", &in, false, 0, 10, OPEN);
	expect("2.11", "ten pings, in pieces", &in, false, 0, 10, OPEN);
	buf_free(&in);
	free(text);
}

/* A text, the frame, and a ping that nobody may answer any more. */
static void between(const char *section, const char *what, int first, const char *data)
{
	struct buf in = BUF_INIT(1 << 10);
	frame(&in, FIN | TEXT, "hello", 5);
	frame(&in, first, data, strlen(data));
	frame(&in, FIN | PING, "", 0);
	expect(section, what, &in, false, 1, 0, 1002);
	buf_free(&in);
}

static void test_reserved(void **state)
{
	(void)state;
	char what[80];
	between("3.2", "reserved bits 2 behind a text", FIN | RSV2 | TEXT, "hello");
	between("3.3", "reserved bits 3 behind a text", FIN | RSV2 | RSV3 | TEXT, "hello");
	between("3.4", "reserved bits 4 behind a text", FIN | RSV1 | TEXT, "hello");
	one("3.5", "binary with reserved bits 5", FIN | RSV1 | RSV3 | BINARY, "\0\377", 2, 0, 0, 1002);
	one("3.7", "close with reserved bits 7", FIN | RSV1 | RSV2 | RSV3 | CLOSE, "\3\350", 2, 0, 0, 1002);
	for (int opcode = 3; opcode < 16; opcode = opcode == 7 ? 11 : opcode + 1) {
		snprintf(what, sizeof what, "opcode %d behind a text", opcode);
		between(opcode < 8 ? "4.1" : "4.2", what, FIN | opcode, "hello");
	}
	for (int rsv = 1; rsv < 8; rsv++) {
		snprintf(what, sizeof what, "text with reserved bits %d", rsv);
		one("3.1", what, FIN | rsv << 4 | TEXT, "hello", 5, 0, 0, 1002);
		snprintf(what, sizeof what, "ping with reserved bits %d", rsv);
		one("3.6", what, FIN | rsv << 4 | PING, "hello", 5, 0, 0, 1002);
	}
	for (int opcode = 3; opcode < 16; opcode = opcode == 7 ? 11 : opcode + 1) {
		snprintf(what, sizeof what, "opcode %d", opcode);
		one(opcode < 8 ? "4.1" : "4.2", what, FIN | opcode, "", 0, 0, 0, 1002);
		snprintf(what, sizeof what, "opcode %d with payload", opcode);
		one(opcode < 8 ? "4.1" : "4.2", what, FIN | opcode, "hello", 5, 0, 0, 1002);
	}
}

static void fragments(const char *section, const char *what, int n, const int first[], int texts, size_t pongs, uint16_t closed)
{
	struct buf in = BUF_INIT(1 << 12);
	for (int i = 0; i < n; i++)
		frame(&in, first[i], "abc", 3);
	expect(section, what, &in, false, texts, pongs, closed);
	buf_free(&in);
}

static void test_fragmentation(void **state)
{
	(void)state;
	fragments("5.1", "ping in two fragments", 2, (int[]){ PING, FIN | CONTINUED }, 0, 0, 1002);
	fragments("5.2", "pong in two fragments", 2, (int[]){ PONG, FIN | CONTINUED }, 0, 0, 1002);
	fragments("5.3", "text in two fragments", 2, (int[]){ TEXT, FIN | CONTINUED }, 1, 0, OPEN);
	fragments("5.4", "text in four fragments", 4, (int[]){ TEXT, CONTINUED, CONTINUED, FIN | CONTINUED }, 1, 0, OPEN);
	fragments("5.5", "text in eight fragments", 8, (int[]){ TEXT, CONTINUED, CONTINUED, CONTINUED, CONTINUED, CONTINUED, CONTINUED, FIN | CONTINUED }, 1, 0, OPEN);
	fragments("5.8", "pings between all fragments", 5, (int[]){ TEXT, FIN | PING, CONTINUED, FIN | PING, FIN | CONTINUED }, 1, 2, OPEN);
	fragments("5.10", "continuation of nothing, final, then two fragments", 3, (int[]){ FIN | CONTINUED, TEXT, FIN | CONTINUED }, 0, 0, 1002);
	fragments("5.11", "continuation behind a text in one frame", 2, (int[]){ FIN | TEXT, FIN | CONTINUED }, 1, 0, 1002);
	fragments("5.13", "continuation of nothing, then two fragments", 3, (int[]){ CONTINUED, TEXT, FIN | CONTINUED }, 0, 0, 1002);
	fragments("5.14", "continuation that is not final behind a text", 2, (int[]){ FIN | TEXT, CONTINUED }, 1, 0, 1002);
	fragments("5.16", "fragments with a continuation before the first, twice", 6, (int[]){ CONTINUED, TEXT, FIN | CONTINUED, CONTINUED, TEXT, FIN | CONTINUED }, 0, 0, 1002);
	fragments("5.17", "fragments with a final continuation before the first, twice", 6, (int[]){ FIN | CONTINUED, TEXT, FIN | CONTINUED, FIN | CONTINUED, TEXT, FIN | CONTINUED }, 0, 0, 1002);
	fragments("5.6", "ping between fragments", 3, (int[]){ TEXT, FIN | PING, FIN | CONTINUED }, 1, 1, OPEN);
	fragments("5.7", "pong between fragments", 3, (int[]){ TEXT, FIN | PONG, FIN | CONTINUED }, 1, 0, OPEN);
	fragments("5.9", "continuation of nothing, final", 2, (int[]){ FIN | CONTINUED, FIN | TEXT }, 0, 0, 1002);
	fragments("5.12", "continuation of nothing", 2, (int[]){ CONTINUED, FIN | TEXT }, 0, 0, 1002);
	fragments("5.15", "continuation behind a whole message", 3, (int[]){ TEXT, FIN | CONTINUED, FIN | CONTINUED }, 1, 0, 1002);
	fragments("5.18", "text within a text", 2, (int[]){ TEXT, FIN | TEXT }, 0, 0, 1002);
	fragments("5.19", "two pings among five fragments", 7, (int[]){ TEXT, CONTINUED, FIN | PING, CONTINUED, CONTINUED, FIN | PING, FIN | CONTINUED }, 1, 2, OPEN);
	fragments("5.20", "reserved bit in a continuation", 2, (int[]){ TEXT, FIN | RSV1 | CONTINUED }, 0, 0, 1002);
}

static void test_utf8(void **state)
{
	(void)state;
	static const char *const good[] = { "", "a", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf", "\xee\x80\x80", "\xef\xbf\xbd", "\xef\xbf\xbf", "\xf0\x90\x80\x80",
					    "\xf4\x8f\xbf\xbf", "\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5", "\xef\xbb\xbf", "\xf0\x9f\xbf\xbe" };
	static const char *const bad[] = { "\x80", "\xbf", "\xc0\xaf", "\xc1\xbf", "\xc2", "\xc2\x41", "\xe0\x80\xaf", "\xe0\x9f\xbf", "\xe0\xa0", "\xed\xa0\x80", "\xed\xbf\xbf",
					   "\xf0\x80\x80\xaf", "\xf0\x8f\xbf\xbf", "\xf0\x90\x80", "\xf4\x90\x80\x80", "\xf5\x80\x80\x80", "\xf8\x88\x80\x80\x80",
					   "\xfc\x84\x80\x80\x80\x80", "\xfe", "\xff", ("\xce\xba\xe1\xbd\xb9\xed\xa0\x80" "edited") };
	char what[80];
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		snprintf(what, sizeof what, "valid UTF-8 %zu", i + 1);
		assert_true(frames_is_utf8((struct bytes){ (const uint8_t *)good[i], strlen(good[i]) }));
		one("6.1", what, FIN | TEXT, good[i], strlen(good[i]), 1, 0, OPEN);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		snprintf(what, sizeof what, "invalid UTF-8 %zu", i + 1);
		assert_false(frames_is_utf8((struct bytes){ (const uint8_t *)bad[i], strlen(bad[i]) }));
		one("6.3", what, FIN | TEXT, bad[i], strlen(bad[i]), 0, 0, 1007);
	}
	struct buf in = BUF_INIT(1 << 10);
	frame(&in, TEXT, "\xce\xba\xe1", 3);
	frame(&in, FIN | CONTINUED, "\xbd\xb9", 2);
	expect("6.2", "a character over two fragments", &in, false, 1, 0, OPEN);
	buf_reset(&in);
	frame(&in, TEXT, "\xf4\x90", 2);
	expect("6.4", "invalid before the message ends", &in, false, 0, 0, 1007);
	buf_reset(&in);
	frame(&in, TEXT, "\xce\xba", 2);
	frame(&in, CONTINUED, "\xf4\x90", 2);
	expect("6.4", "invalid in a second fragment, before the message ends", &in, false, 0, 0, 1007);
	buf_reset(&in);
	frame(&in, TEXT, "\xce\xba\xe1", 3);
	frame(&in, FIN | CONTINUED, "", 0);
	expect("6.4", "a character that a final empty fragment cuts off", &in, false, 0, 0, 1007);
	buf_free(&in);
}

static void closing(const char *section, const char *what, int code, const char *reason, size_t size, uint16_t closed)
{
	uint8_t data[200] = { (uint8_t)(code >> 8), (uint8_t)code };
	memcpy(data + 2, reason, size);
	one(section, what, FIN | CLOSE, data, size + 2, 0, 0, closed);
}

static void test_close(void **state)
{
	(void)state;
	static const int good[] = { 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999 };
	static const int bad[] = { 0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999, 5000, 65535 };
	char what[80], *text = many('r', 124);
	struct buf in = BUF_INIT(1 << 12);
	frame(&in, FIN | TEXT, "hello", 5);
	frame(&in, FIN | CLOSE, "", 0);
	expect("7.1", "text, then close", &in, false, 1, 0, GONE);
	buf_reset(&in);
	frame(&in, FIN | CLOSE, "\x03\xe8", 2);
	frame(&in, FIN | TEXT, "late", 4);
	frame(&in, FIN | PING, "", 0);
	frame(&in, FIN | CLOSE, "\x03\xe8", 2);
	expect("7.1", "text, ping and close behind a close", &in, false, 0, 0, 1000);
	static const int behind[] = { FIN | CLOSE, FIN | PING, FIN | TEXT };
	static const char *const words[] = { "a close behind a close", "a ping behind a close", "a text behind a close" };
	for (size_t i = 0; i < 3; i++) {
		buf_reset(&in);
		frame(&in, FIN | CLOSE, "\x03\xe8", 2);
		frame(&in, behind[i], "\x03\xe8", i == 2 ? 0 : 2);
		expect("7.1", words[i], &in, false, 0, 0, 1000);
	}
	buf_reset(&in);
	frame(&in, TEXT, "abc", 3);
	frame(&in, FIN | CLOSE, "\x03\xe8", 2);
	frame(&in, FIN | CONTINUED, "def", 3);
	expect("7.1", "a close between fragments", &in, false, 0, 0, 1000);
	buf_free(&in);
	struct buf large = BUF_INIT(1 << 18);
	char *whole = many('7', FRAMES_MESSAGE_MAX);
	frame(&large, FIN | TEXT, whole, FRAMES_MESSAGE_MAX);
	frame(&large, FIN | CLOSE, "\x03\xe8", 2);
	frame(&large, FIN | PING, "", 0);
	expect("7.1", "a large text, a close and a ping", &large, false, 1, 0, 1000);
	buf_free(&large);
	free(whole);
	one("7.3", "close without a payload", FIN | CLOSE, "", 0, 0, 0, GONE);
	one("7.3", "close with one byte", FIN | CLOSE, "a", 1, 0, 0, 1002);
	closing("7.3", "close with a reason", 1000, "hello", 5, 1000);
	closing("7.3", "close with a reason of 123 bytes", 1000, text, 123, 1000);
	closing("7.3", "close with a reason of 124 bytes", 1000, text, 124, 1002);
	closing("7.5", "close with a reason that is not UTF-8", 1000, "\xce\xba\xed\xa0\x80", 5, 1007);
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
		snprintf(what, sizeof what, "close with %d", good[i]);
		closing("7.7", what, good[i], "", 0, (uint16_t)good[i]);
	}
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
		snprintf(what, sizeof what, "close with %d", bad[i]);
		closing("7.9", what, bad[i], "", 0, 1002);
	}
	free(text);
}

static void test_limits(void **state)
{
	(void)state;
	static const size_t pieces[] = { 64, 256, 1024, 4096, 16384, 65536 };
	char what[80], *text = many('l', 70000);
	struct buf in = BUF_INIT(1 << 22);
	static const size_t megabytes[] = { 256 << 10, 1 << 20, 4 << 20, 8 << 20, 16 << 20 };
	for (size_t i = 0; i < sizeof megabytes / sizeof megabytes[0]; i++)
		for (int binary = 0; binary < 2; binary++) {
			static const uint8_t begin[] = { 0x80 | 127, 0, 0, 0, 0 }, mask_and_more[] = { 0, 0, 0, 0, '*', '*' };
			buf_reset(&in);
			buf_add_byte(&in, (uint8_t)(FIN | (binary ? BINARY : TEXT)));
			buf_add(&in, begin, sizeof begin);
			for (int k = 3; k >= 0; k--)
				buf_add_byte(&in, (uint8_t)(megabytes[i] >> 8 * k));
			buf_add(&in, mask_and_more, sizeof mask_and_more);
			snprintf(what, sizeof what, "%s of %zu bytes is announced", binary ? "binary" : "text", megabytes[i]);
			expect(binary ? "9.2" : "9.1", what, &in, false, 0, 0, 1009);
		}
	buf_reset(&in);
	frame(&in, BINARY, text, 64);
	frame(&in, FIN | CONTINUED, text, 64);
	expect("9.4", "a binary message in fragments", &in, false, 0, 0, 1003);
	static const size_t sizes[] = { 0, 16, 64, 256, 1024, 4096, 16384 };
	for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
		struct buf thousand = BUF_INIT((size_t)32 << 20);
		for (int k = 0; k < 1000; k++)
			frame(&thousand, FIN | TEXT, text, sizes[i]);
		snprintf(what, sizeof what, "1000 texts of %zu bytes", sizes[i]);
		struct seen seen = run((struct bytes){ thousand.data, thousand.size }, false, thousand.size, 1);
		assert_int_equal(seen.texts, 1000);
		buf_free(&seen.last);
		buf_free(&seen.output);
		thousand.size = thousand.size / 1000 * 4; /* further pieces of it say no more */
		expect("9.7", what, &thousand, false, 4, 0, OPEN);
		buf_free(&thousand);
	}
	one("9.1", "a message one byte too long", FIN | TEXT, text, FRAMES_MESSAGE_MAX + 1, 0, 0, 1009);
	for (size_t k = 0; k < sizeof pieces / sizeof pieces[0]; k++)
		for (size_t extra = 0; extra < 2; extra++) {
			buf_reset(&in);
			size_t whole = FRAMES_MESSAGE_MAX + extra;
			for (size_t at = 0; at < whole; at += pieces[k]) {
				size_t n = whole - at < pieces[k] ? whole - at : pieces[k];
				frame(&in, (at == 0 ? TEXT : CONTINUED) | (at + n == whole ? FIN : 0), text + at, n);
			}
			snprintf(what, sizeof what, "%zu bytes in fragments of %zu", whole, pieces[k]);
			expect("9.3", what, &in, false, extra ? 0 : 1, 0, extra ? 1009 : OPEN);
		}
	for (size_t extra = 0; extra < 2; extra++) {
		buf_reset(&in);
		for (size_t i = 0; i < FRAMES_FRAGMENTS_MAX + extra; i++)
			frame(&in, (i == 0 ? TEXT : CONTINUED) | (i + 1 == FRAMES_FRAGMENTS_MAX + extra ? FIN : 0), text, i == 0);
		expect("9.3", extra ? "one fragment too many, all but one empty" : "as many fragments as may be, all but one empty", &in, false, extra ? 0 : 1, 0, extra ? 1009 : OPEN);
	}
	buf_reset(&in);
	for (size_t at = 0; at < 65536; at += 1300)
		frame(&in, (at == 0 ? TEXT : CONTINUED) | (at + 1300 >= 65536 ? FIN : 0), text + at, at + 1300 > 65536 ? 65536 - at : 1300);
	expect("10.1", "65536 bytes in fragments of 1300", &in, false, 1, 0, OPEN);
	buf_free(&in);
	free(text);
}

/* A message as RFC 7692 section 7.2.1 makes it. */
static struct buf squeeze(const void *data, size_t size, int level, int bits)
{
	struct buf out = BUF_INIT(1 << 25);
	z_stream z = { 0 };
	union {
		const void *in;
		uint8_t *out;
	} input = { .in = data };
	assert_int_equal(deflateInit2(&z, level, Z_DEFLATED, -bits, 8, Z_DEFAULT_STRATEGY), Z_OK);
	buf_reserve(&out, deflateBound(&z, size) + 64);
	z.next_in = input.out;
	z.avail_in = (uInt)size;
	z.next_out = out.data;
	z.avail_out = (uInt)out.capacity;
	assert_int_equal(deflate(&z, Z_SYNC_FLUSH), Z_OK);
	out.size = z.total_out - 4;
	deflateEnd(&z);
	return out;
}

static void test_compression(void **state)
{
	(void)state;
	static const size_t sizes[] = { 0, 16, 64, 256, 1024, 4096, 8192, 16384, 32768, 65536 };
	static const struct {
		int level, bits;
	} ways_to[] = { { 0, 15 }, { 1, 15 }, { 9, 15 }, { 6, 9 }, { 6, 11 }, { 6, 13 } };
	char what[100];
	struct buf in = BUF_INIT(1 << 22);
	for (size_t w = 0; w < sizeof ways_to / sizeof ways_to[0]; w++)
		for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
			char *text = many('z', sizes[i]);
			for (size_t k = 0; k < sizes[i]; k++)
				text[k] = (char)(' ' + k * k % 90);
			struct buf small = squeeze(text, sizes[i], ways_to[w].level, ways_to[w].bits);
			buf_reset(&in);
			frame(&in, FIN | RSV1 | TEXT, small.data, small.size);
			snprintf(what, sizeof what, "%zu bytes, level %d, window %d", sizes[i], ways_to[w].level, ways_to[w].bits);
			if (small.size <= FRAMES_MESSAGE_MAX) {
				expect(w < 3 ? "12.1" : "13.1", what, &in, true, 1, 0, OPEN);
				struct seen seen = run((struct bytes){ in.data, in.size }, true, in.size, 1);
				assert_int_equal(seen.last.size, sizes[i]);
				assert_memory_equal(sizes[i] ? seen.last.data : (uint8_t *)text, text, sizes[i]);
				buf_free(&seen.last);
				buf_free(&seen.output);
			}
			buf_free(&small);
			free(text);
		}
	struct buf small = squeeze("hello hello hello", 17, 6, 15);
	buf_reset(&in);
	frame(&in, RSV1 | TEXT, small.data, 5);
	frame(&in, FIN | PING, "", 0);
	frame(&in, FIN | CONTINUED, small.data + 5, small.size - 5);
	expect("12.2", "compressed in fragments, a ping between", &in, true, 1, 1, OPEN);
	buf_reset(&in);
	frame(&in, FIN | TEXT, "plain", 5);
	frame(&in, FIN | RSV1 | TEXT, small.data, small.size);
	expect("12.3", "not compressed, then compressed", &in, true, 2, 0, OPEN);
	buf_reset(&in);
	frame(&in, FIN | RSV1 | TEXT, small.data, small.size);
	expect("12.4", "compressed where that was not agreed on", &in, false, 0, 0, 1002);
	buf_reset(&in);
	frame(&in, FIN | RSV1 | TEXT, "\xff\xff\xff\xff", 4);
	expect("12.5", "not deflate", &in, true, 0, 0, 1007);
	buf_reset(&in);
	frame(&in, FIN | RSV1 | TEXT, "\xf3\x48\xcd\xc9\xc9\x07\x00\x00", 8); /* section 7.2.3.4 */
	expect("12.6", "a final block", &in, true, 1, 0, OPEN);
	buf_free(&small);
	small = squeeze("\xed\xa0\x80", 3, 6, 15);
	buf_reset(&in);
	frame(&in, FIN | RSV1 | TEXT, small.data, small.size);
	expect("12.7", "compressed, not UTF-8", &in, true, 0, 0, 1007);
	buf_free(&small);
	char *bomb = xmalloc(16 << 20);
	small = squeeze(bomb, 16 << 20, 9, 15);
	assert_true(small.size < FRAMES_MESSAGE_MAX);
	buf_reset(&in);
	frame(&in, FIN | RSV1 | TEXT, small.data, small.size);
	expect("12.8", "16 MiB of zeros in 16 KiB", &in, true, 0, 0, 1009);
	buf_free(&small);
	buf_free(&in);
	free(bomb);
}

/* What subscribers share, behind what is their own, is one message. */
static void test_shared_part(void **state)
{
	(void)state;
	struct deflate *d = deflate_new();
	char text[2000];
	for (size_t size = 0; size < sizeof text; size += 37) {
		for (size_t i = 0; i < size; i++)
			text[i] = (char)(' ' + (i / 7 * i) % 90);
		struct buf message = BUF_INIT(1 << 16), out = BUF_INIT(1 << 16);
		uint8_t header[DEFLATE_STORED_HEADER];
		deflate_stored(11, header);
		buf_add(&message, header, sizeof header);
		buf_add_str(&message, "{\"mine\":\"1\"");
		size_t before = message.size;
		if (!deflate_shared(d, (struct bytes){ (uint8_t *)text, size }, &message)) {
			assert_int_equal(message.size, before);
			assert_true(size < 600);
		} else {
			assert_true(deflate_inflate((struct bytes){ message.data, message.size }, &out));
			assert_int_equal(out.size, 11 + size);
			assert_memory_equal(out.data, "{\"mine\":\"1\"", 11);
			assert_memory_equal(out.data + 11, text, size);
		}
		buf_free(&message);
		buf_free(&out);
	}
	deflate_free(&d);
}

static void test_offers(void **state)
{
	(void)state;
	static const char *const good[] = { "permessage-deflate", "permessage-deflate; client_max_window_bits", "x-other, permessage-deflate",
					    "permessage-deflate; server_no_context_takeover; client_no_context_takeover", "PerMessage-Deflate;client_max_window_bits=10",
					    "permessage-deflate; server_max_window_bits=10, permessage-deflate", "permessage-deflate; server_max_window_bits=\"15\"" };
	static const char *const bad[] = { "", "deflate", "permessage-deflates", "permessage-deflate; x", "permessage-deflate; server_max_window_bits",
					   "permessage-deflate; server_max_window_bits=10", "permessage-deflate; client_max_window_bits=16", "permessage-deflate; client_max_window_bits=7",
					   "permessage-deflate; client_max_window_bits=010", "permessage-deflate; server_no_context_takeover=1",
					   "permessage-deflate; client_max_window_bits; client_max_window_bits", "permessage-deflate; client_max_window_bits=10x", "permessage-bzip2" };
	for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
		if (!deflate_accepts(good[i]))
			fail_msg("refused: %s", good[i]);
	for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
		if (deflate_accepts(bad[i]))
			fail_msg("accepted: %s", bad[i]);
	assert_false(deflate_accepts(NULL));
}

/* ---- what is published ----------------------------------------------------------------------------------------------------------------------- */

static void write_if_wanted(const char *variable, const char *text)
{
	const char *path = getenv(variable);
	FILE *file = path ? fopen(path, "w") : NULL;
	if (file) {
		fputs(text, file);
		fclose(file);
	}
}

static char *read_file(const char *path)
{
	FILE *file = fopen(path, "r");
	char *text = file ? xmalloc((size_t)1 << 20) : NULL;
	if (file) {
		text[fread(text, 1, ((size_t)1 << 20) - 1, file)] = '\0';
		fclose(file);
	}
	return text;
}

static void test_what_is_published_is_of_these_cases(void **state)
{
	(void)state;
	fprintf(index_file, "\n\t}\n}\n");
	fclose(index_file);
	fclose(report);
	write_if_wanted("WS_REPORT", report_text);
	write_if_wanted("WS_INDEX", index_text);
	char *table = read_file("docs/websocket-conformance.md"), *index = read_file("docs/websocket-conformance.json");
	if (!table || !index)
		skip(); /* this is not run where the sources are */
	const char *rows = strstr(table, "|---|---|---|---|\n");
	assert_non_null(rows);
	assert_string_equal(strchr(rows, '\n') + 1, report_text);
	assert_string_equal(index, index_text);
	free(table);
	free(index);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_framing), cmocka_unit_test(test_pings),  cmocka_unit_test(test_reserved),    cmocka_unit_test(test_fragmentation), cmocka_unit_test(test_utf8),
		cmocka_unit_test(test_close),   cmocka_unit_test(test_limits), cmocka_unit_test(test_compression), cmocka_unit_test(test_shared_part),   cmocka_unit_test(test_offers),
		cmocka_unit_test(test_what_is_published_is_of_these_cases),
	};
	report = open_memstream(&report_text, &report_size);
	index_file = open_memstream(&index_text, &index_size);
	fprintf(index_file, "{\n\t\"weir-gateway\": {");
	int failed = cmocka_run_group_tests(tests, NULL, NULL);
	printf("%u cases, %u ways\n", cases, ways);
	free(report_text);
	free(index_text);
	return failed;
}
