/* script.c - weir.lua and the files it includes inside the program, and loading them. The path is relative to the repository, where the build runs. */
#include "bus/redis/command.h"
#include "bus/redis/connection.h"

#include <pthread.h>
#include <stdio.h>
#include <string.h>

#define SCRIPT(name)                                                                                                                                 \
	extern const char bus_##name##_begin[], bus_##name##_end[];                                                                                  \
	__asm__(".section .rodata\n"                                                                                                                 \
		".global bus_" #name "_begin\n"                                                                                                      \
		"bus_" #name "_begin:\n"                                                                                                             \
		".incbin \"lib/bus/redis/" #name ".lua\"\n"                                                                                                \
		".global bus_" #name "_end\n"                                                                                                        \
		"bus_" #name "_end:\n"                                                                                                               \
		".byte 0\n"                                                                                                                          \
		".previous\n")
SCRIPT(weir);
SCRIPT(audit);
SCRIPT(dead_letter);
SCRIPT(rate);
SCRIPT(replay_job);
SCRIPT(subscription);

static const struct script {
	const char *name, *begin, *end;
} scripts[] = {
	{ "weir", bus_weir_begin, bus_weir_end },
	{ "audit", bus_audit_begin, bus_audit_end },
	{ "dead_letter", bus_dead_letter_begin, bus_dead_letter_end },
	{ "rate", bus_rate_begin, bus_rate_end },
	{ "replay_job", bus_replay_job_begin, bus_replay_job_end },
	{ "subscription", bus_subscription_begin, bus_subscription_end },
};
#define SCRIPTS (sizeof scripts / sizeof scripts[0])

/* A mutant is the same script without the lines of one mechanism: its tests must fail. Empty: nothing is removed. */
static const char removed_marker[] =
#if defined(WEIR_MUTANT_NO_FENCE)
	"--[[fence]]";
#elif defined(WEIR_MUTANT_NO_LEASE_FENCE)
	"--[[lease]]";
#elif defined(WEIR_MUTANT_NO_RUN_FENCE)
	"--[[run]]";
#elif defined(WEIR_MUTANT_NO_SEQUENCE_CHECK)
	"--[[sequence]]";
#elif defined(WEIR_MUTANT_ACK_BEFORE_EFFECT)
	"--[[ack]]";
#elif defined(WEIR_MUTANT_NO_DEDUP)
	"--[[dedup]]";
#else
	"";
#endif

static pthread_once_t once = PTHREAD_ONCE_INIT;
static char prefix[32];

static void make_prefix(void)
{
	uint32_t hash = crc32c(0, removed_marker, sizeof removed_marker);
	for (size_t i = 0; i < SCRIPTS; i++)
		hash = crc32c(hash, scripts[i].begin, (size_t)(scripts[i].end - scripts[i].begin));
	snprintf(prefix, sizeof prefix, "weir_%08x_", hash);
}

const char *bus_function_prefix(void)
{
	pthread_once(&once, make_prefix);
	return prefix;
}

/* "--[[include NAME]]" */
static const struct script *included(const char *line, size_t size)
{
	static const char mark[] = "--[[include ";
	for (size_t i = 0; i < SCRIPTS && size > sizeof mark && memcmp(line, mark, sizeof mark - 1) == 0; i++)
		if (strncmp(line + sizeof mark - 1, scripts[i].name, strlen(scripts[i].name)) == 0)
			return &scripts[i];
	return NULL;
}

/* The first line says what the file is; weir.lua's is made anew. */
static void add_script(const struct script *script, struct buf *ret)
{
	const char *line = (const char *)memchr(script->begin, '\n', (size_t)(script->end - script->begin)) + 1;
	while (line < script->end) {
		const char *end = memchr(line, '\n', (size_t)(script->end - line));
		size_t size = end ? (size_t)(end + 1 - line) : (size_t)(script->end - line);
		const struct script *other = included(line, size);
		if (other)
			add_script(other, ret);
		else if (!*removed_marker || !memmem(line, size, removed_marker, strlen(removed_marker)))
			buf_add(ret, line, size);
		line += size;
	}
}

int bus_load_functions(struct bus *bus, int64_t deadline_ms, struct error *err)
{
	struct buf script = BUF_INIT(1 << 20);
	const char *name = bus_function_prefix();
	buf_printf(&script, "#!lua name=%.*s\nlocal NAME = '%s'\n", (int)strlen(name) - 1, name, name);
	add_script(&scripts[0], &script);
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
