/* simulation_model_test.c - the simulator's model of Redis (lib/bus/memory/memory.lua) against a real one: thousands of commands, and both say the same. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "support/bus_fixture.h"
#include "support/sim_redis.h"

#include <hiredis/hiredis.h>
#include <stdio.h>
#include <string.h>

/* K: a key of the command's kind, F: a field or member, N: a small number, I: a stream id, C: a consumer */
static const char *const commands[] = {
	"HSET hK F N",
	"HSETNX hK F N",
	"HGET hK F",
	"HMGET hK F F",
	"HDEL hK F",
	"HINCRBY hK n N",
	"HEXISTS hK F",
	"HSTRLEN hK F",
	"SADD sK F F",
	"SREM sK F",
	"SISMEMBER sK F",
	"SMISMEMBER sK F F",
	"SCARD sK",
	"RPUSH lK F",
	"LPUSH lK F",
	"LPOP lK",
	"ZMSCORE zK F F",
	"SET yK F",
	"SET yK F NX",
	"SET yK F XX",
	"GET yK",
	"LPOP lK 2",
	"LLEN lK",
	"LINDEX lK N",
	"LRANGE lK 0 N",
	"LREM lK 1 F",
	"LREM lK 0 F",
	"LINSERT lK BEFORE F F",
	"ZADD zK N F",
	"ZADD zK XX CH N F",
	"ZREM zK F",
	"ZSCORE zK F",
	"ZCARD zK",
	"ZRANGE zK 0 N",
	"ZRANGE zK 0 -1",
	"ZREVRANGE zK 0 N",
	"ZRANGEBYSCORE zK -inf N LIMIT 0 3",
	"ZADD yK 0 F",
	"ZRANGEBYLEX yK - +",
	"ZRANGEBYLEX yK (F + LIMIT 0 2",
	"ZLEXCOUNT yK [F +",
	"ZREMRANGEBYRANK zK 0 -4",
	"XADD xK I d F",
	"XADD xK 9-* d F",
	"XADD xK MAXLEN 5 I d F",
	"XLEN xK",
	"XRANGE xK - + COUNT 3",
	"XRANGE xK (I +",
	"XREVRANGE xK + - COUNT 2",
	"XDEL xK I",
	"XTRIM xK MINID I",
	"XTRIM xK MAXLEN 3",
	"XGROUP CREATE xK g 0 MKSTREAM",
	"XGROUP SETID xK g I ENTRIESREAD 1",
	"XGROUP DELCONSUMER xK g C",
	"XREADGROUP GROUP g C COUNT 2 STREAMS xK >",
	"XREAD COUNT 2 STREAMS xK I",
	"XACK xK g I",
	"XCLAIM xK g C 0 I",
	"XCLAIM xK g C 0 I JUSTID",
	"XPENDING xK g",
	"XGROUP DESTROY xK g",
	"DEL xK",
	"EXISTS hK sK",
	"DEL zK lK",
	"XADD xK I d F",
	"XADD xK I d F",
	"XREADGROUP GROUP g C STREAMS xK >",
	"XGROUP CREATE xK g $ MKSTREAM",
};
enum { COMMANDS = sizeof commands / sizeof commands[0], WORDS = 12 };

static size_t make_command(char words[WORDS][24], const char *list[WORDS + 1])
{
	char text[128];
	size_t n = 0;
	snprintf(text, sizeof text, "%s", commands[sim_random(COMMANDS)]);
	for (char *save, *word = strtok_r(text, " ", &save); word; word = strtok_r(NULL, " ", &save)) {
		char *to = words[n];
		size_t length = strlen(word);
		char last = word[length - 1];
		bool marked = length < 3 && n > 0 && strchr("KFNIC", last) && (length == 1 || strchr("hslzyx([", word[0]));
		int lead = (int)(length - 1);
		if (!marked)
			snprintf(to, 24, "%s", word);
		else if (last == 'I')
			snprintf(to, 24, "%.*s%u-%u", lead, word, (unsigned)sim_random(12), 1 + (unsigned)sim_random(3));
		else
			snprintf(to, 24, "%.*s%s%u", lead, word,
				 last == 'F'   ? "f"
				 : last == 'C' ? "c"
					       : "",
				 (unsigned)sim_random(last == 'K' ? 2 : 6));
		list[n] = words[n];
		n++;
	}
	list[n] = NULL;
	return n;
}

static void print_reply(const redisReply *r, struct buf *out)
{
	switch (r->type) {
	case REDIS_REPLY_STRING:
		buf_printf(out, "$%zu\r\n", r->len);
		buf_add(out, r->str, r->len);
		buf_add_str(out, "\r\n");
		break;
	case REDIS_REPLY_INTEGER:
		buf_printf(out, ":%lld\r\n", r->integer);
		break;
	case REDIS_REPLY_STATUS:
		buf_printf(out, "+%s\r\n", r->str);
		break;
	case REDIS_REPLY_ERROR: /* its first word is what anybody may look at */
		buf_printf(out, "-%.*s", (int)strcspn(r->str, " "), r->str);
		break;
	case REDIS_REPLY_ARRAY:
		buf_printf(out, "*%zu\r\n", r->elements);
		for (size_t i = 0; i < r->elements; i++)
			print_reply(r->element[i], out);
		break;
	default:
		buf_add_str(out, "nil");
	}
}

static void the_model_answers_as_redis_does(void **state)
{
	(void)state;
	redisContext *real = redisConnectUnix(fixture_server.url + 7);
	assert_true(real && !real->err);
	sim_begin(7);
	for (int i = 0; i < 20000; i++) {
		char words[WORDS][24];
		const char *list[WORDS + 1];
		size_t n = make_command(words, list);
		redisReader *reader = redisReaderCreate();
		redisReply *a = redisCommandArgv(real, (int)n, list, NULL), *b = NULL;
		const char *wire = sim_ask(list);
		assert_int_equal(redisReaderFeed(reader, wire, strlen(wire)), REDIS_OK);
		assert_int_equal(redisReaderGetReply(reader, (void **)&b), REDIS_OK);
		struct buf x = BUF_INIT(1u << 20), y = BUF_INIT(1u << 20);
		assert_true(a && b);
		print_reply(a, &x);
		print_reply(b, &y);
		if (strcmp(buf_str(&x), buf_str(&y)) != 0) {
			for (size_t k = 0; k < n; k++)
				printf("%s ", list[k]);
			fail_msg("(command %d): Redis says %s, the model %s", i, buf_str(&x), buf_str(&y));
		}
		buf_free(&x);
		buf_free(&y);
		freeReplyObject(a);
		freeReplyObject(b);
		redisReaderFree(reader);
	}
	sim_end();
	redisFree(real);
}

int main(void)
{
	log_init(LOG_ERROR + 1, LOG_FORMAT_LOGFMT);
	const struct CMUnitTest tests[] = { cmocka_unit_test(the_model_answers_as_redis_does) };
	return fixture_run(tests);
}
