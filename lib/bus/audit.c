/* audit.c - what operators did, one stream per chain, bounded: who, what, with which words. */
#include "bus/internal.h"

#include <stdio.h>

int bus_audit(struct bus *bus, const char *chain, const char *who, const char *action, const char *detail, struct error *err)
{
	struct bus_args a = { 0 };
	redisReply *reply = NULL;
	char key[KEY_MAX];
	snprintf(key, sizeof key, AUDIT_KEY_FORMAT, chain);
	const char *const words[] = { "XADD", key, "MAXLEN", "~", "100000", "*", "action", action, "who", who, "detail", detail };
	for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
		bus_args_add(&a, words[i]);
	int code = bus_run(bus, &a, 0, &reply, err);
	bus_args_free(&a);
	if (code == 0)
		freeReplyObject(reply);
	return code;
}
