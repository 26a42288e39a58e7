/* statistics.c - how messages fared in each subscription, by type and error class. */
#include "weirctl.h"

int statistics_show(struct settings *s, int argc, char **argv, struct error *err)
{
	static const struct column columns[] = { { "CHAIN", "chain" },       { "TOPIC", "topic" },     { "SUBSCRIPTION", "subscription" },
						 { "TYPE", "type" },         { "CLASS", "error_class" }, { "ATTEMPTS", "attempts" },
						 { "RETRIED", "retried" },   { "RECOVERED", "recovered" }, { "PARKED", "parked" } };
	struct buf path = BUF_INIT(8192);
	(void)argc;
	(void)argv;
	buf_add_str(&path, "/admin/v1/statistics");
	add_query(&path, "chain", s->chain);
	add_query(&path, "subscription", s->subscription);
	int r = LIST(s, true, &path, columns, err);
	buf_free(&path);
	return r;
}
