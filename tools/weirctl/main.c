/* main.c - weirctl: arguments, and the table of commands. */
#include "weirctl.h"

#include "base/version.h"

#include <curl/curl.h>
#include <getopt.h>
#include <stdio.h>
#include <string.h>

#define ARGUMENTS_MAX 6

struct options {
	const char *subscription, *type, *reason, *cursor, *limit, *why;
};

enum shape { LIST, DOCUMENT };

struct command {
	const char *words;  /* "dlq list" */
	const char *help;
	bool admin;
	const char *path;   /* {chain}; {0}, {1}: arguments; {subscription} */
	const char *query;  /* names of options that go into the query, separated by blanks */
	const char *body;   /* POST: a template like path; NULL: GET */
	int arguments;      /* needed */
	enum shape shape;
	struct column columns[ARGUMENTS_MAX + 4];
};

static const struct command commands[] = {
	{ "status", "the whole suite at a glance", true, "/admin/v1/status", "", NULL, 0, DOCUMENT, { { NULL, NULL } } },
	{ "chains", "each chain: head, watermark, finality, lag", false, "/v1/chains", "", NULL, 0, LIST,
	  { { "CHAIN", "name" }, { "HEAD", "head.height" }, { "WATERMARK", "watermark.height" }, { "SAFE", "safe" }, { "FINALIZED", "finalized" },
	    { "LAG S", "lag_seconds" }, { "GAPS", "gaps" }, { "INCIDENTS", "incidents" }, { "PAUSED", "paused" } } },
	{ "gaps", "heights that the ledger waits for, and why", true, "/admin/v1/gaps", "cursor limit", NULL, 0, LIST,
	  { { "ID", "id" }, { "CHAIN", "chain" }, { "FROM", "from_height" }, { "TO", "to_height" }, { "REASON", "reason" }, { "TRIES", "attempts" },
	    { "DETAIL", "detail" } } },
	{ "incidents", "differences between ledger and chain", true, "/admin/v1/incidents", "cursor limit", NULL, 0, LIST,
	  { { "ID", "id" }, { "CHAIN", "chain" }, { "KIND", "kind" }, { "STATE", "state" }, { "HEIGHT", "height" }, { "FIRST WRONG", "first_wrong_height" },
	    { "EXPECTED", "expected" }, { "OBSERVED", "observed" }, { "RESOLUTION", "resolution" } } },
	{ "dlq list", "dead letters of a subscription (--subscription, --type, --reason)", true, "/admin/v1/dlq",
	  "subscription type reason cursor limit", NULL, 0, LIST,
	  { { "ID", "id" }, { "CHAIN", "chain" }, { "SUBSCRIPTION", "subscription" }, { "TYPE", "type" }, { "KEY", "key" }, { "REASON", "reason" },
	    { "ERROR", "error" } } },
	{ "dlq show", "one dead letter: dlq show ID --subscription S", true, "/admin/v1/dlq/{subscription}/{0}", "", NULL, 1, DOCUMENT, { { NULL, NULL } } },
	{ "dlq replay", "try dead letters again: all that match, or dlq replay ID", true, "/admin/v1/dlq/replay", "",
	  "{\"chain\":\"{chain}\",\"subscription\":\"{subscription}\"{filter}{ids}}", 0, DOCUMENT, { { NULL, NULL } } },
	{ "dlq purge", "drop dead letters (--why is needed)", true, "/admin/v1/dlq/purge", "",
	  "{\"chain\":\"{chain}\",\"subscription\":\"{subscription}\",\"why\":\"{why}\"{filter}{ids}}", 0, DOCUMENT, { { NULL, NULL } } },
	{ "refetch", "fetch a block again: refetch HEIGHT", true, "/admin/v1/chains/{chain}/refetch", "", "{\"from_height\":{0},\"to_height\":{0}}", 1, DOCUMENT,
	  { { NULL, NULL } } },
	{ "reconcile", "compare all known balances with the chain now", true, "/admin/v1/chains/{chain}/reconcile", "", "{}", 0, DOCUMENT, { { NULL, NULL } } },
	{ "pause", "stop following the chain", true, "/admin/v1/chains/{chain}/pause", "", "{\"reason\":\"{why}\"}", 0, DOCUMENT, { { NULL, NULL } } },
	{ "resume", "follow the chain again", true, "/admin/v1/chains/{chain}/resume", "", "{}", 0, DOCUMENT, { { NULL, NULL } } },
	{ "rewind", "supersede everything above HEIGHT and follow again from there", true, "/admin/v1/chains/{chain}/rewind", "",
	  "{\"to_height\":{0},\"reason\":\"{why}\"}", 1, DOCUMENT, { { NULL, NULL } } },
};
#define COMMANDS (sizeof commands / sizeof commands[0])

static void usage(FILE *out)
{
	fprintf(out, "weirctl: look after a running weir\n\nusage: weirctl [options] COMMAND\n\n");
	for (size_t i = 0; i < COMMANDS; i++)
		fprintf(out, "  %-12s %s\n", commands[i].words, commands[i].help);
	fprintf(out, "  %-12s %s\n", "explain", "where a balance comes from: explain ACCOUNT ASSET [HEIGHT]");
	fprintf(out, "\noptions (environment):\n"
		     "  --api URL      the gateway's address for clients (WEIR_API, http://127.0.0.1:8080)\n"
		     "  --admin URL    the gateway's address for operators (WEIR_ADMIN, http://127.0.0.1:8081)\n"
		     "  --key KEY      API key, or file:/path (WEIR_KEY)\n"
		     "  --chain NAME   which chain (WEIR_CHAIN; needed only where there are several)\n"
		     "  --subscription NAME, --type NAME, --reason CODE, --why TEXT, --cursor C, --limit N\n"
		     "  --json         JSON for programs\n"
		     "Exit status: 0; 64 wrong usage or input, 66 not found, 69 no answer, 77 not allowed.\n");
}

static void add_json_text(struct buf *out, const char *text)
{
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			buf_add_byte(out, '\\');
		if ((unsigned char)*text >= 0x20)
			buf_add_byte(out, (uint8_t)*text);
	}
}

/* Fills {…} of a template. json: values are escaped for JSON, else for a URL. */
static int fill(const struct settings *s, const struct options *o, const char *template, char **arguments, int n, bool json, struct buf *out,
		struct error *err)
{
	for (const char *p = template; *p; p++) {
		const char *end = *p == '{' ? strchr(p, '}') : NULL;
		size_t length = end ? (size_t)(end - p - 1) : 0;
		const char *value = NULL;
		if (!end || length == 0 || strchr("\"}", p[1])) {
			buf_add_byte(out, (uint8_t)*p);
			continue;
		}
		if (strncmp(p, "{chain}", 7) == 0)
			value = s->chain;
		else if (strncmp(p, "{subscription}", 14) == 0)
			value = o->subscription ? o->subscription : "normalizer";
		else if (strncmp(p, "{why}", 5) == 0)
			value = o->why ? o->why : "";
		else if (length == 1 && p[1] >= '0' && p[1] - '0' < n)
			value = arguments[p[1] - '0'];
		else if (strncmp(p, "{filter}", 8) == 0 || strncmp(p, "{ids}", 5) == 0) {
			if (p[1] == 'f' && o->type)
				buf_printf(out, ",\"type\":\"%s\"", o->type);
			if (p[1] == 'f' && o->reason)
				buf_printf(out, ",\"reason\":\"%s\"", o->reason);
			if (p[1] == 'i' && n > 0)
				buf_printf(out, ",\"ids\":[\"%s\"]", arguments[0]);
			value = "";
		}
		if (!value)
			return error_set(err, WEIR_USAGE, "an argument is missing");
		if (json)
			add_json_text(out, value);
		else
			add_encoded(out, value);
		p = end;
	}
	return 0;
}

static void add_query(const struct options *o, const char *names, struct buf *path)
{
	const struct {
		const char *name, *value;
	} rows[] = { { "subscription", o->subscription }, { "type", o->type }, { "reason", o->reason }, { "cursor", o->cursor }, { "limit", o->limit } };
	char separator = '?';
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
		if (!rows[i].value || !strstr(names, rows[i].name))
			continue;
		buf_printf(path, "%c%s=", separator, rows[i].name);
		add_encoded(path, rows[i].value);
		separator = '&';
	}
}

static int run(const struct settings *s, const struct options *o, const struct command *c, int argc, char **argv, struct error *err)
{
	struct buf path = BUF_INIT(16384), body = BUF_INIT(65536);
	yyjson_doc *doc = NULL;
	int r = argc < c->arguments ? error_set(err, WEIR_USAGE, "%s: %s", c->words, c->help) : fill(s, o, c->path, argv, argc, false, &path, err);
	if (r == 0 && c->body)
		r = fill(s, o, c->body, argv, argc, true, &body, err);
	if (r == 0)
		add_query(o, c->query, &path);
	if (r == 0 && !(doc = ask(s, c->admin, buf_str(&path), c->body ? buf_str(&body) : NULL, err)))
		r = err->code;
	size_t n = 0;
	while (n < sizeof c->columns / sizeof c->columns[0] && c->columns[n].head)
		n++;
	if (r == 0 && c->shape == LIST)
		show_list(s, doc, c->columns, n);
	else if (r == 0)
		show_document(s, doc);
	yyjson_doc_free(doc);
	buf_free(&path);
	buf_free(&body);
	return r;
}

/* Where one chain is served nobody should have to name it. */
static int find_chain(struct settings *s, char ret[64], struct error *err)
{
	if (s->chain && *s->chain)
		return 0;
	yyjson_doc *doc = ask(s, false, "/v1/chains", NULL, err);
	if (!doc)
		return err->code;
	yyjson_val *items = yyjson_obj_get(yyjson_doc_get_root(doc), "items");
	size_t n = yyjson_arr_size(items);
	const char *name = yyjson_get_str(yyjson_obj_get(yyjson_arr_get_first(items), "name"));
	snprintf(ret, 64, "%s", name ? name : "");
	yyjson_doc_free(doc);
	s->chain = ret;
	return n == 1 ? 0 : error_set(err, WEIR_USAGE, "%zu chains are served: say which with --chain", n);
}

static const char *environment(const char *name, const char *otherwise)
{
	const char *value = getenv(name);
	return value && *value ? value : otherwise;
}

static const char *read_key(const char *key, char ret[512])
{
	if (strncmp(key, "file:", 5) != 0)
		return key;
	FILE *f = fopen(key + 5, "re");
	size_t n = f ? fread(ret, 1, 511, f) : 0;
	if (f)
		fclose(f);
	while (n > 0 && (ret[n - 1] == '\n' || ret[n - 1] == ' '))
		n--;
	ret[n] = 0;
	return ret;
}

static const struct command *find(int argc, char **argv, int *ret_words)
{
	for (size_t i = 0; i < COMMANDS; i++) {
		char words[64];
		int n = strchr(commands[i].words, ' ') ? 2 : 1;
		if (argc < n)
			continue;
		snprintf(words, sizeof words, n == 2 ? "%s %s" : "%s", argv[0], n == 2 ? argv[1] : "");
		*ret_words = n;
		if (strcmp(words, commands[i].words) == 0)
			return &commands[i];
	}
	return NULL;
}

int main(int argc, char **argv)
{
	enum { API = 1, ADMIN, KEY, CHAIN, SUBSCRIPTION, TYPE, REASON, WHY, CURSOR, LIMIT, JSON, VERSION, HELP };
	static const struct option known[] = {
		{ "api", required_argument, NULL, API },       { "admin", required_argument, NULL, ADMIN },
		{ "key", required_argument, NULL, KEY },       { "chain", required_argument, NULL, CHAIN },
		{ "subscription", required_argument, NULL, SUBSCRIPTION }, { "type", required_argument, NULL, TYPE },
		{ "reason", required_argument, NULL, REASON }, { "why", required_argument, NULL, WHY },
		{ "cursor", required_argument, NULL, CURSOR }, { "limit", required_argument, NULL, LIMIT },
		{ "json", no_argument, NULL, JSON },           { "version", no_argument, NULL, VERSION },
		{ "help", no_argument, NULL, HELP },           { NULL, 0, NULL, 0 },
	};
	char key[512], chain[64];
	struct options o = { 0 };
	struct settings s = { .api = environment("WEIR_API", "http://127.0.0.1:8080"),
			      .admin = environment("WEIR_ADMIN", "http://127.0.0.1:8081"),
			      .key = environment("WEIR_KEY", ""),
			      .chain = environment("WEIR_CHAIN", "") };
	const char **const targets[] = { NULL, &s.api, &s.admin, &s.key, &s.chain, &o.subscription, &o.type, &o.reason, &o.why, &o.cursor, &o.limit };
	for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
		if (option >= API && option <= LIMIT) {
			*targets[option] = optarg;
		} else if (option == JSON) {
			s.json = true;
		} else if (option == VERSION) {
			printf("weirctl %s\n", WEIR_VERSION);
			return 0;
		} else {
			usage(option == HELP ? stdout : stderr);
			return option == HELP ? 0 : error_exit_status(WEIR_USAGE);
		}
	}
	s.key = read_key(s.key, key);
	argc -= optind;
	argv += optind;
	int words = 0, r;
	struct error err = { 0 };
	const struct command *command = find(argc, argv, &words);
	bool explaining = argc > 0 && strcmp(argv[0], "explain") == 0;
	if (!command && !explaining) {
		usage(stderr);
		return error_exit_status(WEIR_USAGE);
	}
	curl_global_init(CURL_GLOBAL_DEFAULT);
	bool needs_chain = explaining || strstr(command->path, "{chain}") || (command->body && strstr(command->body, "{chain}"));
	r = needs_chain ? find_chain(&s, chain, &err) : 0;
	if (r == 0)
		r = explaining ? explain(&s, argc - 1, argv + 1, &err) : run(&s, &o, command, argc - words, argv + words, &err);
	curl_global_cleanup();
	if (r != 0)
		fprintf(stderr, "weirctl: %s\n", err.text);
	return error_exit_status(r);
}
