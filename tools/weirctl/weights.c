/* weights.c - how readers of a subscription share their time among the classes. */
#include "weirctl.h"

#include <string.h>

int weights_show(struct settings *s, int argc, char **argv, struct error *err)
{
	static const struct column columns[] = { { "CHAIN", "chain" },   { "TOPIC", "topic" },   { "SUBSCRIPTION", "subscription" }, { "CRITICAL", "critical" },
						 { "HIGH", "high" },     { "NORMAL", "normal" }, { "LOW", "low" },                   { "AGE MS", "age_ms" },
						 { "CHANGED", "changed" } };
	struct buf path = BUF_INIT(8192);
	(void)argc;
	(void)argv;
	buf_add_str(&path, "/admin/v1/weights");
	add_query(&path, "chain", s->chain);
	add_query(&path, "subscription", s->subscription);
	int r = LIST(s, true, &path, columns, err);
	buf_free(&path);
	return r;
}

/* "class=weight" or "age_ms=n" each; what is not named stays. */
int weights_set(struct settings *s, int argc, char **argv, struct error *err)
{
	static const char *const names[] = { "critical", "high", "normal", "low", "age_ms" };
	yyjson_mut_doc *body = new_body();
	int r = 0;
	add_text(body, "chain", s->chain);
	add_text(body, "topic", argv[0]);
	add_text(body, "subscription", argv[1]);
	for (int i = 2; i < argc && r == 0; i++) {
		const char *equals = strchr(argv[i], '='), *name = NULL;
		for (size_t k = 0; equals && k < sizeof names / sizeof names[0]; k++)
			if (strlen(names[k]) == (size_t)(equals - argv[i]) && strncmp(names[k], argv[i], strlen(names[k])) == 0)
				name = names[k];
		r = name ? add_number(body, name, equals + 1, err)
			 : error_set(err, WEIR_USAGE, "\"%s\" is none of critical=N, high=N, normal=N, low=N and age_ms=N", argv[i]);
	}
	r = r ? r : answer_facts(s, ask(s, true, "/admin/v1/weights", body, err), err);
	yyjson_mut_doc_free(body);
	return r;
}
