/* script.c - weir.lua inside the program, and loading it. The path is relative to the repository, where the build runs. */
#include "bus/internal.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

extern const char bus_script_begin[], bus_script_end[];
__asm__(".section .rodata\n"
	".global bus_script_begin\n"
	"bus_script_begin:\n"
	".incbin \"lib/bus/weir.lua\"\n"
	".global bus_script_end\n"
	"bus_script_end:\n"
	".byte 0\n"
	".previous\n");

/* A mutant is the same script without the lines of one mechanism: its tests must fail. Empty: nothing is removed. */
static const char removed_marker[] =
#if defined(WEIR_MUTANT_NO_FENCE)
	"--[[fence]]";
#elif defined(WEIR_MUTANT_NO_SEQUENCE_CHECK)
	"--[[sequence]]";
#elif defined(WEIR_MUTANT_ACK_BEFORE_EFFECT)
	"--[[ack]]";
#else
	"";
#endif

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char prefix[32];

static void make_prefix(void)
{
	uint32_t hash = crc32c(0, bus_script_begin, (size_t)(bus_script_end - bus_script_begin));
	hash = crc32c(hash, removed_marker, sizeof removed_marker);
	snprintf(prefix, sizeof prefix, "weir_%08x_", hash);
}

const char *bus_function_prefix(void)
{
	pthread_once(&once, make_prefix);
	return prefix;
}

int bus_load_functions(struct bus *bus, int64_t deadline_ms, struct error *err)
{
	struct buf script = BUF_INIT(1 << 20);
	const char *name = bus_function_prefix();
	buf_printf(&script, "#!lua name=%.*s\nlocal NAME = '%s'\n", (int)strlen(name) - 1, name, name);
	const char *line = (const char *)memchr(bus_script_begin, '\n', (size_t)(bus_script_end - bus_script_begin)) + 1;
	while (line < bus_script_end) {
		const char *end = memchr(line, '\n', (size_t)(bus_script_end - line));
		size_t size = end ? (size_t)(end + 1 - line) : (size_t)(bus_script_end - line);
		if (!*removed_marker || !memmem(line, size, removed_marker, strlen(removed_marker)))
			buf_add(&script, line, size);
		line += size;
	}
	struct bus_args a = { 0 };
	redisReply *reply;
	bus_args_add(&a, "FUNCTION");
	bus_args_add(&a, "LOAD");
	bus_args_add(&a, "REPLACE");
	bus_args_add_bytes(&a, (struct bytes){ script.data, script.size });
	int r = bus_attempt(bus, &a, 1, deadline_ms, &reply, err);
	bus_args_free(&a);
	buf_free(&script);
	if (r != 0)
		return r;
	r = bus_reply_error(bus, reply, "loading functions (Redis 7.0 or newer is needed)", err);
	freeReplyObject(reply);
	return r;
}
