/* main.c - weirctl: options, and the table of commands. */
#include "weirctl.h"

#include "base/version.h"

#include <curl/curl.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

enum option_name { API = 1, ADMIN, KEY, CHAIN, SUBSCRIPTION, TYPE, REASON, WHY, CURSOR, LIMIT, ALL, JSON, VERSION, HELP };
#define TAKES(option) (1u << (option))
#define EVERYWHERE (TAKES(API) | TAKES(ADMIN) | TAKES(KEY) | TAKES(JSON))
#define PAGES (TAKES(CURSOR) | TAKES(LIMIT))
#define LETTERS (TAKES(CHAIN) | TAKES(SUBSCRIPTION) | TAKES(TYPE) | TAKES(REASON))

static const struct option known[] = {
	{ "api", required_argument, NULL, API },       { "admin", required_argument, NULL, ADMIN },
	{ "key", required_argument, NULL, KEY },       { "chain", required_argument, NULL, CHAIN },
	{ "subscription", required_argument, NULL, SUBSCRIPTION }, { "type", required_argument, NULL, TYPE },
	{ "reason", required_argument, NULL, REASON }, { "why", required_argument, NULL, WHY },
	{ "cursor", required_argument, NULL, CURSOR }, { "limit", required_argument, NULL, LIMIT },
	{ "all", no_argument, NULL, ALL },             { "json", no_argument, NULL, JSON },
	{ "version", no_argument, NULL, VERSION },     { "help", no_argument, NULL, HELP },
	{ NULL, 0, NULL, 0 },
};

static const struct command {
	const char *words, *arguments, *help;
	int least, most;
	unsigned takes; /* besides EVERYWHERE */
	command_fn *run;
} commands[] = {
	{ "status", "", "the whole suite at a glance", 0, 0, 0, status },
	{ "chains", "", "each chain: head, watermark, finality, lag", 0, 0, 0, chains },
	{ "gaps", "", "heights that the ledger waits for, and why; --all: closed ones too", 0, 0, TAKES(CHAIN) | TAKES(ALL) | PAGES, gaps },
	{ "incidents", "", "differences between ledger and chain; --all: closed ones too", 0, 0, TAKES(CHAIN) | TAKES(ALL) | PAGES, incidents },
	{ "dlq list", "", "dead letters, of all subscriptions or as --subscription, --type, --reason say", 0, 0, LETTERS | PAGES, dlq_list },
	{ "dlq show", "ID", "one dead letter; needs --subscription", 1, 1, TAKES(CHAIN) | TAKES(SUBSCRIPTION), dlq_show },
	{ "dlq replay", "[ID...]", "try again: these, or all of --subscription that match", 0, INT_MAX, LETTERS, dlq_replay },
	{ "dlq purge", "[ID...]", "drop these, what --type and --reason say, or --all of --subscription; needs --why", 0, INT_MAX,
	  LETTERS | TAKES(WHY) | TAKES(ALL), dlq_purge },
	{ "refetch", "HEIGHT [TO]", "fetch blocks again", 1, 2, TAKES(CHAIN) | TAKES(WHY), refetch },
	{ "reconcile", "[ACCOUNT [ASSET]]", "compare balances with the chain now: all, or of one account", 0, 2, TAKES(CHAIN), reconcile },
	{ "explain", "ACCOUNT ASSET [HEIGHT]", "where a balance comes from: each entry, its proof, the running balance", 2, 3, TAKES(CHAIN), explain },
	{ "pause", "", "stop following the chain", 0, 0, TAKES(CHAIN) | TAKES(WHY), pause_chain },
	{ "resume", "", "follow the chain again", 0, 0, TAKES(CHAIN), resume_chain },
	{ "rewind", "HEIGHT", "take back everything above HEIGHT and follow again from there; needs --why", 1, 1, TAKES(CHAIN) | TAKES(WHY), rewind_chain },
};
#define COMMANDS (sizeof commands / sizeof commands[0])

static void usage(FILE *out)
{
	fprintf(out, "weirctl: look after a running weir\n\nusage: weirctl [options] COMMAND\n\n");
	for (size_t i = 0; i < COMMANDS; i++) {
		char shown[64];
		snprintf(shown, sizeof shown, "%s %s", commands[i].words, commands[i].arguments);
		fprintf(out, "  %-31s %s\n", shown, commands[i].help);
	}
	fprintf(out, "\nASSET is \"native\", a token's contract, or contract:id.\n"
		     "\noptions (environment, default):\n"
		     "  --api URL      the gateway's address for clients (WEIR_API, http://127.0.0.1:8080)\n"
		     "  --admin URL    the gateway's address for operators (WEIR_ADMIN, http://127.0.0.1:8081)\n"
		     "  --key KEY      API key, or file:/path to read it from (WEIR_KEY)\n"
		     "  --chain NAME   which chain (WEIR_CHAIN); needed only where there are several\n"
		     "  --subscription NAME, --type NAME, --reason CODE, --why TEXT, --all, --cursor C, --limit N\n"
		     "  --json         JSON for programs, on one line\n"
		     "  --version, --help\n"
		     "\nExit status: 0; 64 wrong usage or input, 65 too large, 66 not found, 69 no answer, 74 output not written,\n"
		     "75 a change got in between: ask again, 76 not weir's gateway, or entries that do not add up, 77 not allowed.\n");
}

/* "file:/path" is read from there, so that the key stands in no list of processes. */
static int read_key(const char **key, char ret[512], struct error *err)
{
	if (strncmp(*key, "file:", 5) == 0) {
		FILE *f = fopen(*key + 5, "re");
		size_t n = f ? fread(ret, 1, 511, f) : 0;
		int why = errno;
		if (f)
			fclose(f);
		while (n > 0 && strchr("\r\n ", ret[n - 1]))
			n--;
		ret[n] = 0;
		if (n == 0)
			return error_set(err, WEIR_USAGE, "the key's file %s: %s; correct --key or WEIR_KEY", *key + 5, f ? "holds no key" : strerror(why));
		*key = ret;
	}
	for (const char *p = *key; *p; p++)
		if ((unsigned char)*p < 0x21 || (unsigned char)*p > 0x7e)
			return error_set(err, WEIR_USAGE, "the key holds a blank or a character that no key has; correct --key or WEIR_KEY");
	return 0;
}

/* The command that the arguments begin with, or NULL with *err filled. */
static const struct command *find(int argc, char **argv, int *ret_words, struct error *err)
{
	struct buf second = BUF_INIT(200);
	for (size_t i = 0; i < COMMANDS && argc > 0; i++) {
		const char *words = commands[i].words, *blank = strchr(words, ' ');
		size_t length = blank ? (size_t)(blank - words) : strlen(words);
		if (strlen(argv[0]) != length || strncmp(argv[0], words, length) != 0)
			continue;
		if (!blank || (argc > 1 && strcmp(argv[1], blank + 1) == 0)) {
			*ret_words = blank ? 2 : 1;
			buf_free(&second);
			return &commands[i];
		}
		buf_printf(&second, "%s%s", second.size ? ", " : "", blank + 1);
	}
	if (argc == 0)
		error_set(err, WEIR_USAGE, "no command is given; weirctl --help lists them");
	else if (second.size > 0)
		error_set(err, WEIR_USAGE, "%s is followed by one of %s", argv[0], buf_str(&second));
	else
		error_set(err, WEIR_USAGE, "\"%s\" is no command; weirctl --help lists them", argv[0]);
	buf_free(&second);
	return NULL;
}

/* An option that a command would not look at is refused: it was meant to narrow something down. */
static int check(const struct command *c, unsigned given, int argc, struct error *err)
{
	for (const struct option *o = known; o->name; o++)
		if ((given & TAKES(o->val)) && !((c->takes | EVERYWHERE) & TAKES(o->val)))
			return error_set(err, WEIR_USAGE, "%s does not take --%s", c->words, o->name);
	if (argc < c->least || argc > c->most)
		return error_set(err, WEIR_USAGE, "%s takes other arguments: weirctl %s %s", c->words, c->words, c->arguments);
	return 0;
}

static const char *environment(const char *name, const char *otherwise)
{
	const char *value = getenv(name);
	return value && *value ? value : otherwise;
}

static int run(struct settings *s, unsigned given, int argc, char **argv, char key[512], struct error *err)
{
	int words = 0;
	const struct command *command = find(argc, argv, &words, err);
	if (!command || check(command, given, argc - words, err) || read_key(&s->key, key, err))
		return err->code;
	curl_global_init(CURL_GLOBAL_DEFAULT);
	return command->run(s, argc - words, argv + words, err);
}

int main(int argc, char **argv)
{
	struct error err = { 0 };
	unsigned given = 0;
	char key[512];
	struct settings s = { .api = environment("WEIR_API", "http://127.0.0.1:8080"),
			      .admin = environment("WEIR_ADMIN", "http://127.0.0.1:8081"),
			      .key = environment("WEIR_KEY", ""),
			      .chain = environment("WEIR_CHAIN", NULL) };
	const char **const targets[] = { NULL, &s.api, &s.admin, &s.key, &s.chain, &s.subscription, &s.type, &s.reason, &s.why, &s.cursor, &s.limit };
	for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
		if (option == VERSION) {
			printf("weirctl %s\n", WEIR_VERSION);
			return 0;
		}
		if (option == HELP) {
			usage(stdout);
			return 0;
		}
		if (option == '?')
			return error_exit_status(WEIR_USAGE); /* getopt named it */
		given |= TAKES(option);
		if (option <= LIMIT)
			*targets[option] = optarg;
		s.all = s.all || option == ALL;
		s.json = s.json || option == JSON;
	}
	int r = run(&s, given, argc - optind, argv + optind, key, &err);
	if (fclose(stdout) != 0 && r == 0)
		r = error_set(&err, WEIR_IO, "the output could not be written: %s", strerror(errno));
	if (r != 0)
		fprintf(stderr, "weirctl: %s\n", err.text);
	return error_exit_status(r);
}
