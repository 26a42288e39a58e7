/* main.c - weirctl: options, and the table of commands. */
#include "weirctl.h"

#include "base/version.h"

#include <curl/curl.h>
#include <errno.h>
#include <getopt.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

enum option_name {
	API = 1, ADMIN, KEY, CHAIN, SUBSCRIPTION, TYPE, REASON, ERROR_CLASS, WHY, CURSOR, LIMIT, MESSAGE_KEY, KIND, FROM, TO, RATE, BURST, CONCURRENCY, STOP_PERCENT,
	IDEMPOTENCY_KEY, SHA256, ADDRESSES, EXPIRES_IN, ACCOUNT, ASSET, STATE, ALGORITHM, FROM_HEIGHT, OVERLAP, ALL, DRY_RUN, JSON, VERSION, HELP
};
#define TAKES(option) (UINT64_C(1) << (option))
#define EVERYWHERE (TAKES(API) | TAKES(ADMIN) | TAKES(KEY) | TAKES(JSON))
#define PAGES (TAKES(CURSOR) | TAKES(LIMIT))
#define LETTERS                                                                                                                        \
	(TAKES(CHAIN) | TAKES(SUBSCRIPTION) | TAKES(TYPE) | TAKES(REASON) | TAKES(ERROR_CLASS) | TAKES(MESSAGE_KEY) | TAKES(KIND) | TAKES(FROM) | TAKES(TO))
#define JOB (TAKES(RATE) | TAKES(BURST) | TAKES(CONCURRENCY) | TAKES(STOP_PERCENT) | TAKES(IDEMPOTENCY_KEY) | TAKES(DRY_RUN) | TAKES(WHY))
#define LETTER (TAKES(CHAIN) | TAKES(SUBSCRIPTION))

static const struct option known[] = {
	{ "api", required_argument, NULL, API },       { "admin", required_argument, NULL, ADMIN },
	{ "key", required_argument, NULL, KEY },       { "chain", required_argument, NULL, CHAIN },
	{ "subscription", required_argument, NULL, SUBSCRIPTION }, { "type", required_argument, NULL, TYPE },
	{ "error-class", required_argument, NULL, ERROR_CLASS },
	{ "reason", required_argument, NULL, REASON }, { "why", required_argument, NULL, WHY },
	{ "cursor", required_argument, NULL, CURSOR }, { "limit", required_argument, NULL, LIMIT },
	{ "message-key", required_argument, NULL, MESSAGE_KEY }, { "kind", required_argument, NULL, KIND },
	{ "from", required_argument, NULL, FROM },     { "to", required_argument, NULL, TO },
	{ "rate", required_argument, NULL, RATE },     { "burst", required_argument, NULL, BURST },
	{ "concurrency", required_argument, NULL, CONCURRENCY }, { "stop-percent", required_argument, NULL, STOP_PERCENT },
	{ "idempotency-key", required_argument, NULL, IDEMPOTENCY_KEY }, { "sha256", required_argument, NULL, SHA256 },
	{ "addresses", required_argument, NULL, ADDRESSES }, { "expires-in", required_argument, NULL, EXPIRES_IN },
	{ "account", required_argument, NULL, ACCOUNT }, { "asset", required_argument, NULL, ASSET },
	{ "state", required_argument, NULL, STATE },   { "algorithm", required_argument, NULL, ALGORITHM },
	{ "from-height", required_argument, NULL, FROM_HEIGHT }, { "overlap", required_argument, NULL, OVERLAP },
	{ "all", no_argument, NULL, ALL },             { "json", no_argument, NULL, JSON },
	{ "dry-run", no_argument, NULL, DRY_RUN },
	{ "version", no_argument, NULL, VERSION },     { "help", no_argument, NULL, HELP },
	{ NULL, 0, NULL, 0 },
};

static const struct command {
	const char *words, *arguments, *help;
	int least, most;
	uint64_t takes; /* besides EVERYWHERE */
	command_fn *run;
} commands[] = {
	{ "status", "", "the whole suite at a glance", 0, 0, 0, status },
	{ "chains", "", "each chain: head, watermark, finality, lag", 0, 0, 0, chains },
	{ "gaps", "", "heights that the ledger waits for, and why; --all: closed ones too", 0, 0, TAKES(CHAIN) | TAKES(ALL) | PAGES, gaps },
	{ "incidents", "", "differences between ledger and chain; --all: closed ones too", 0, 0, TAKES(CHAIN) | TAKES(ALL) | PAGES, incidents },
	{ "dlq list", "", "dead letters, of all subscriptions or as the filters say", 0, 0, LETTERS | PAGES, dlq_list },
	{ "dlq show", "ID", "one dead letter; needs --subscription", 1, 1, LETTER, dlq_show },
	{ "dlq replay", "[ID...]", "try again: these, or all of --subscription that match", 0, INT_MAX, LETTERS, dlq_replay },
	{ "dlq purge", "[ID...]", "drop these, what the filters say, or --all of --subscription; needs --why", 0, INT_MAX,
	  LETTERS | TAKES(WHY) | TAKES(ALL), dlq_purge },
	{ "dlq counts", "", "how many there are of each kind, type and reason", 0, 0, LETTER, dlq_counts },
	{ "dlq edit", "ID FILE", "give a letter another body, a packed message; needs --subscription, --why", 2, 2, LETTER | TAKES(WHY) | TAKES(SHA256), dlq_edit },
	{ "dlq skip", "ID", "let those behind this head go on without it; needs --subscription, --why", 1, 1, LETTER | TAKES(WHY), dlq_skip },
	{ "dlq export", "", "letters as lines of JSON, to standard output", 0, 0, LETTERS, dlq_export },
	{ "dlq import", "FILE", "take exported lines back; a second time changes nothing", 1, 1, LETTER, dlq_import },
	{ "dlq start", "[ID...]", "try again as a job: these, or all that match; --dry-run counts", 0, INT_MAX, LETTERS | JOB, dlq_start },
	{ "dlq jobs", "", "replay jobs and how far they are", 0, 0, LETTER, dlq_jobs },
	{ "dlq job", "JOB", "one replay job", 1, 1, TAKES(CHAIN), dlq_job },
	{ "dlq pause", "JOB", "offer no more of its letters", 1, 1, TAKES(CHAIN) | TAKES(WHY), dlq_pause },
	{ "dlq resume", "JOB", "go on with a paused job", 1, 1, TAKES(CHAIN) | TAKES(WHY), dlq_resume },
	{ "dlq cancel", "JOB", "end a job; what it did not try stays a dead letter", 1, 1, TAKES(CHAIN) | TAKES(WHY), dlq_cancel },
	{ "audit list", "", "what operators did, newest first", 0, 0, TAKES(CHAIN) | PAGES, audit_list },
	{ "audit verify", "[NUMBER HASH]", "is that record as it was written? With a line that you noted", 0, 2, TAKES(CHAIN), audit_verify },
	{ "key list", "", "API keys of the database; --all: revoked ones too", 0, 0, TAKES(ALL) | PAGES, key_list },
	{ "key make", "NAME SCOPE...", "make one, which is told once; scopes: read, stream, viewer, operator, admin", 2, 6, TAKES(ADDRESSES) | TAKES(EXPIRES_IN),
	  key_make },
	{ "key revoke", "ID", "end one everywhere, within a second; needs --why", 1, 1, TAKES(WHY), key_revoke },
	{ "token list", "", "tokens of issuers that were revoked and have not ended yet", 0, 0, PAGES, token_list },
	{ "token revoke", "jti|subject TEXT", "refuse one token, or all of a subject up to now, within a second; needs --expires-in (as long as they may last) and --why", 2, 2,
	  TAKES(EXPIRES_IN) | TAKES(WHY), token_revoke },
	{ "alert list", "", "where alerts go, and what is silenced", 0, 0, 0, alert_list },
	{ "alert test", "[DESTINATION]", "send a test alert to one destination, or to all", 0, 1, 0, alert_try },
	{ "alert silence", "PATTERN SECONDS", "hear no alert whose key (with * and ?) or page of the runbook is PATTERN; needs --why", 2, 2, TAKES(WHY), alert_silence },
	{ "alert unsilence", "ID", "end a silence", 1, 1, TAKES(WHY), alert_unsilence },
	{ "statistics", "", "attempts, retries and dead letters by message type and error class, of all subscriptions or of --subscription", 0, 0, LETTER,
	  statistics_show },
	{ "weights list", "", "how readers share their time among the classes, of all subscriptions or of --subscription", 0, 0, LETTER, weights_show },
	{ "weights set", "TOPIC SUBSCRIPTION NAME=N...", "change that while they run: critical=N, high=N, normal=N, low=N (1 to 1000), age_ms=N", 3, 7, TAKES(CHAIN),
	  weights_set },
	{ "webhook list", "", "receivers that are told of events", 0, 0, PAGES, webhook_list },
	{ "webhook show", "ID", "one receiver", 1, 1, 0, webhook_show },
	{ "webhook add", "URL TOPIC", "register one: blocks, entries, accounts or chain_status; shows its secret once", 2, 2,
	  TAKES(CHAIN) | TAKES(ACCOUNT) | TAKES(ASSET) | TAKES(KIND) | TAKES(ALGORITHM) | TAKES(FROM_HEIGHT), webhook_add },
	{ "webhook test", "ID", "send it a message of type test", 1, 1, 0, webhook_test },
	{ "webhook enable", "ID", "deliver again, at once; --from-height: and everything from there on", 1, 1, TAKES(FROM_HEIGHT) | TAKES(WHY), webhook_enable },
	{ "webhook disable", "ID", "deliver nothing for now; needs --why", 1, 1, TAKES(WHY), webhook_disable },
	{ "webhook remove", "ID", "forget it and what waits for it; needs --why", 1, 1, TAKES(WHY), webhook_remove },
	{ "webhook rotate", "ID", "make a new secret; the old one signs for --overlap seconds more (a day)", 1, 1, TAKES(ALGORITHM) | TAKES(OVERLAP) | TAKES(WHY),
	  webhook_rotate },
	{ "webhook deliveries", "ID", "its messages, newest first", 1, 1, TAKES(STATE) | TAKES(TYPE) | PAGES, webhook_deliveries },
	{ "webhook delivery", "ID DELIVERY", "one message, with each try", 2, 2, 0, webhook_delivery },
	{ "webhook replay", "ID [DELIVERY...]", "send again: these, what --state, --type and --account say, or --all", 1, INT_MAX,
	  TAKES(STATE) | TAKES(TYPE) | TAKES(ACCOUNT) | TAKES(ALL) | TAKES(DRY_RUN) | TAKES(WHY), webhook_replay },
	{ "kafka restart", "", "send the chain's events to Kafka anew: from kafka.start, or --from-height; needs --why", 0, 0,
	  TAKES(CHAIN) | TAKES(FROM_HEIGHT) | TAKES(WHY), kafka_restart },
	{ "user list", "", "operators who sign in by name", 0, 0, PAGES, user_list },
	{ "user make", "NAME ROLE FILE", "let one sign in; FILE has the password (-: standard input)", 3, 3, 0, user_make },
	{ "user password", "NAME FILE", "a new password; sessions end, and a disabled one may sign in again", 2, 2, 0, user_password },
	{ "user role", "NAME ROLE", "another role, at once, in open sessions too", 2, 2, 0, user_role },
	{ "user disable", "NAME", "end sessions and let nobody sign in by that name; needs --why", 1, 1, TAKES(WHY), user_disable },
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
		     "  --subscription NAME, --why TEXT, --all, --cursor C, --limit N\n"
		     "  --type NAME, --reason CODE, --error-class transient|dependency|permanent|crash, --message-key KEY, --kind head|follower|skipped, --from TIME, --to TIME:\n"
		     "                 which dead letters; times as 2026-01-31T12:00:00Z\n"
		     "  --rate N (letters per second), --burst N, --concurrency N, --stop-percent N, --dry-run: of a replay job\n"
		     "  --idempotency-key KEY  what is done under a key is done once; again, it gets the first answer (for a day)\n"
		     "  --addresses RANGES, --expires-in SECONDS: of a key that is made; of tokens that are revoked, how long they may still last\n"
		     "  --sha256 HASH  edit only if this is still the frame\n"
		     "  --account A, --asset ASSET, --kind NAME (of entries), --state pending|delivered|failed, --algorithm v1|v1a, --from-height N, --overlap SECONDS: of a webhook (--from-height: of kafka restart, too)\n"
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
static int check(const struct command *c, uint64_t given, int argc, struct error *err)
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

static int run(struct settings *s, uint64_t given, int argc, char **argv, char key[512], struct error *err)
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
	uint64_t given = 0;
	char key[512];
	struct settings s = { .api = environment("WEIR_API", "http://127.0.0.1:8080"),
			      .admin = environment("WEIR_ADMIN", "http://127.0.0.1:8081"),
			      .key = environment("WEIR_KEY", ""),
			      .chain = environment("WEIR_CHAIN", NULL) };
	const char **const targets[] = { NULL, &s.api, &s.admin, &s.key, &s.chain, &s.subscription, &s.type, &s.reason, &s.error_class, &s.why, &s.cursor, &s.limit,
					 &s.message_key, &s.kind, &s.from, &s.to, &s.rate, &s.burst, &s.concurrency, &s.stop_percent, &s.idempotency_key, &s.sha256,
					 &s.addresses, &s.expires_in, &s.account, &s.asset, &s.state, &s.algorithm, &s.from_height, &s.overlap };
	for (int option; (option = getopt_long(argc, argv, "", known, NULL)) != -1;) {
		if (option == VERSION) {
			printf("weirctl %s\n", weir_version);
			return 0;
		}
		if (option == HELP) {
			usage(stdout);
			return 0;
		}
		if (option == '?')
			return error_exit_status(WEIR_USAGE); /* getopt named it */
		given |= TAKES(option);
		if (option <= OVERLAP)
			*targets[option] = optarg;
		s.all = s.all || option == ALL;
		s.json = s.json || option == JSON;
		s.dry_run = s.dry_run || option == DRY_RUN;
	}
	int r = run(&s, given, argc - optind, argv + optind, key, &err);
	if (fclose(stdout) != 0 && r == 0)
		r = error_set(&err, WEIR_IO, "the output could not be written: %s", strerror(errno));
	if (r != 0)
		fprintf(stderr, "weirctl: %s\n", err.text);
	return error_exit_status(r);
}
