/* webhook_post.c - posting to receivers that others chose. */
#include "webhook/webhook_post.h"

#include "base/clock.h"
#include "base/version.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define IDLE_CONNECTION_S 60L

struct transfer {
	struct webhook_poster *poster;
	uint64_t ticket;
	struct webhook_target target;
	char *url; /* owned */
	struct buf body;
	struct sockaddr_storage addresses[WEBHOOK_ADDRESSES_MAX]; /* checked; what the connection is pinned to */
	size_t address_count;
	CURL *easy; /* NULL while the name is looked up */
	struct curl_slist *headers, *pins;
	char words[CURL_ERROR_SIZE];
	char refused[200]; /* why no socket was opened */
	size_t answered;
	int64_t started_ms;
	webhook_posted *posted;
	void *arg;
	struct transfer *next, *previous;
};

struct webhook_poster {
	struct webhook_rules rules;
	int64_t timeout_ms;
	char *ca_file;
	struct webhook_resolver *resolver;
	CURLM *multi;
	struct transfer *transfers;
	size_t busy;
	uint64_t last_ticket;
};

static void wake(void *poster)
{
	webhook_poster_wake(poster);
}

int webhook_poster_open(const struct webhook_poster_options *options, struct webhook_poster **ret, struct error *err)
{
	struct webhook_poster *p = xmalloc(sizeof *p);
	*ret = p;
	p->rules = options->rules;
	p->timeout_ms = options->timeout_ms;
	p->ca_file = xstrdup(options->ca_file);
	p->multi = curl_multi_init();
	int code = p->multi ? 0 : error_set(err, WEIR_FULL, "no memory for HTTP");
	if (!code)
		code = webhook_resolver_open(options->lookup ? options->lookup : webhook_lookup_system, wake, p, &p->resolver, err);
	if (code)
		webhook_poster_close(ret);
	return code;
}

static void transfer_free(struct transfer *t)
{
	struct webhook_poster *p = t->poster;
	if (t->easy) {
		curl_multi_remove_handle(p->multi, t->easy);
		curl_easy_cleanup(t->easy);
	}
	*(t->previous ? &t->previous->next : &p->transfers) = t->next;
	if (t->next)
		t->next->previous = t->previous;
	p->busy--;
	curl_slist_free_all(t->headers);
	curl_slist_free_all(t->pins);
	buf_free(&t->body);
	free(t->url);
	free(t);
}

void webhook_poster_close(struct webhook_poster **pp)
{
	struct webhook_poster *p = *pp;
	if (!p)
		return;
	webhook_resolver_close(&p->resolver);
	while (p->transfers)
		transfer_free(p->transfers);
	if (p->multi)
		curl_multi_cleanup(p->multi);
	free(p->ca_file);
	xfree(pp);
}

void webhook_poster_wake(struct webhook_poster *p)
{
	curl_multi_wakeup(p->multi);
}

size_t webhook_poster_busy(const struct webhook_poster *p)
{
	return p->busy;
}

/* ---- one transfer ------------------------------------------------------------------------------------------------------------------- */

static void end(struct transfer *t, struct webhook_result *result)
{
	webhook_posted *posted = t->posted;
	void *arg = t->arg;
	result->took_ms = clock_mono_ms() - t->started_ms;
	transfer_free(t);
	posted(result, arg);
}

static void end_with(struct transfer *t, const char *words)
{
	struct webhook_result result = { 0 };
	snprintf(result.error, sizeof result.error, "%s", words);
	end(t, &result);
}

static size_t on_answer(char *data, size_t size, size_t count, void *arg)
{
	struct transfer *t = arg;
	(void)data;
	t->answered += size * count;
	return t->answered > WEBHOOK_ANSWER_MAX ? 0 : size * count; /* 0 ends the transfer: the status is known by now */
}

static bool same_address(const struct sockaddr *a, const struct sockaddr *b)
{
	char first[WEBHOOK_ADDRESS_TEXT], second[WEBHOOK_ADDRESS_TEXT];
	return strcmp(webhook_address_text(a, first), webhook_address_text(b, second)) == 0;
}

/* The last word: whatever came between the lookup and this socket, it goes to an address that was checked, and passes the check itself. */
static curl_socket_t on_open(void *arg, curlsocktype purpose, struct curl_sockaddr *address)
{
	struct transfer *t = arg;
	bool pinned = false;
	char text[WEBHOOK_ADDRESS_TEXT];
	for (size_t i = 0; i < t->address_count; i++)
		pinned = pinned || same_address(&address->addr, (struct sockaddr *)&t->addresses[i]);
	if (purpose == CURLSOCKTYPE_IPCXN && pinned && webhook_address_allowed(&t->poster->rules, &t->target, &address->addr))
		return socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
	snprintf(t->refused, sizeof t->refused, "a connection to %s was refused: it is not an address that was checked",
		 webhook_address_text(&address->addr, text));
	return CURL_SOCKET_BAD;
}

/* "+host:port:address,address": for this transfer, not for ever. */
static void pin(struct transfer *t)
{
	struct buf line = BUF_INIT((size_t)WEBHOOK_ADDRESSES_MAX * WEBHOOK_ADDRESS_TEXT + WEBHOOK_HOST_MAX + 16);
	char text[WEBHOOK_ADDRESS_TEXT];
	bool literal_v6 = strchr(t->target.host, ':');
	buf_printf(&line, "+%s%s%s:%u:", literal_v6 ? "[" : "", t->target.host, literal_v6 ? "]" : "", t->target.port);
	for (size_t i = 0; i < t->address_count; i++) {
		const struct sockaddr *address = (struct sockaddr *)&t->addresses[i];
		bool v6 = address->sa_family == AF_INET6;
		buf_printf(&line, "%s%s%s%s", i > 0 ? "," : "", v6 ? "[" : "", webhook_address_text(address, text), v6 ? "]" : "");
	}
	t->pins = curl_slist_append(NULL, buf_str(&line));
	buf_free(&line);
}

static void set_options(struct transfer *t, int64_t left_ms)
{
	const struct webhook_poster *p = t->poster;
	CURL *e = t->easy;
	curl_easy_setopt(e, CURLOPT_URL, t->url);
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, t->target.https ? "https" : "http");
	curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(e, CURLOPT_PROXY, ""); /* not the environment's: a proxy would connect where nobody checked */
	curl_easy_setopt(e, CURLOPT_RESOLVE, t->pins);
	curl_easy_setopt(e, CURLOPT_OPENSOCKETFUNCTION, on_open);
	curl_easy_setopt(e, CURLOPT_OPENSOCKETDATA, t);
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e, CURLOPT_TIMEOUT_MS, (long)left_ms + 1); /* it counts whole milliseconds, and may be one early */
	curl_easy_setopt(e, CURLOPT_MAXAGE_CONN, IDLE_CONNECTION_S);
	curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(e, CURLOPT_HTTPHEADER, t->headers);
	curl_easy_setopt(e, CURLOPT_USERAGENT, "weir-webhooks/" WEIR_RELEASE);
	curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)t->body.size);
	curl_easy_setopt(e, CURLOPT_POSTFIELDS, buf_str(&t->body));
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_answer);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(e, CURLOPT_ERRORBUFFER, t->words);
	curl_easy_setopt(e, CURLOPT_PRIVATE, t);
	if (p->ca_file) {
		curl_easy_setopt(e, CURLOPT_CAINFO, p->ca_file);
		curl_easy_setopt(e, CURLOPT_CAPATH, NULL);
	}
}

/* The name is known: check what it says, then connect there and nowhere else. */
static void connect_to(struct transfer *t, const struct webhook_answer *answer)
{
	struct error err = answer->error;
	int64_t left_ms = t->started_ms + t->poster->timeout_ms - clock_mono_ms();
	int code = answer->code;
	if (!code)
		code = webhook_addresses_check(&t->poster->rules, &t->target, answer->addresses, answer->count, &err);
	if (code) {
		end_with(t, err.text);
		return;
	}
	memcpy(t->addresses, answer->addresses, sizeof t->addresses);
	t->address_count = answer->count;
	t->easy = left_ms > 0 ? curl_easy_init() : NULL;
	if (!t->easy) {
		end_with(t, left_ms > 0 ? "no memory for HTTP" : "no answer in time: looking up the name took too long");
		return;
	}
	pin(t);
	set_options(t, left_ms);
	curl_multi_add_handle(t->poster->multi, t->easy);
}

static void add_header(struct transfer *t, const char *name, const char *value)
{
	char *line = xasprintf("%s: %s", name, value);
	t->headers = curl_slist_append(t->headers, line);
	free(line);
}

void webhook_poster_start(struct webhook_poster *p, const struct webhook_post *post, webhook_posted *posted, void *arg)
{
	struct transfer *t = xmalloc(sizeof *t);
	struct error err;
	char timestamp[24];
	t->poster = p;
	t->ticket = ++p->last_ticket;
	t->url = xstrdup(post->url);
	t->body = (struct buf)BUF_INIT(post->body.size);
	buf_add(&t->body, post->body.data, post->body.size);
	t->started_ms = clock_mono_ms();
	t->posted = posted;
	t->arg = arg;
	t->next = p->transfers;
	if (t->next)
		t->next->previous = t;
	p->transfers = t;
	p->busy++;
	snprintf(timestamp, sizeof timestamp, "%" PRId64, post->timestamp);
	add_header(t, "Content-Type", "application/json");
	add_header(t, "webhook-id", post->id);
	add_header(t, "webhook-timestamp", timestamp);
	add_header(t, "webhook-signature", post->signature);
	t->headers = curl_slist_append(t->headers, "Expect:"); /* no waiting for "100 Continue" */
	if (webhook_target_read(post->url, &p->rules, &t->target, &err) || webhook_resolver_ask(p->resolver, t->ticket, t->target.host, &err))
		end_with(t, err.text);
}

/* ---- all of them ------------------------------------------------------------------------------------------------------------------------ */

static void take_answers(struct webhook_poster *p)
{
	for (struct webhook_answer *answer; (answer = webhook_resolver_take(p->resolver)); free(answer))
		for (struct transfer *t = p->transfers; t; t = t->next)
			if (t->ticket == answer->ticket) {
				connect_to(t, answer);
				break;
			}
}

/* Those whose name nobody has answered for. */
static void end_late(struct webhook_poster *p)
{
	struct transfer *next;
	for (struct transfer *t = p->transfers; t; t = next) {
		next = t->next;
		if (!t->easy && clock_mono_ms() - t->started_ms >= p->timeout_ms)
			end_with(t, "no answer in time: looking up the name took too long");
	}
}

static void finish(struct transfer *t, CURLcode code)
{
	struct webhook_result result = { 0 };
	curl_off_t retry_after = 0;
	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &result.status);
	curl_easy_getinfo(t->easy, CURLINFO_RETRY_AFTER, &retry_after);
	result.retry_after_ms = retry_after > 0 && retry_after < INT64_MAX / 1000 ? (int64_t)retry_after * 1000 : 0;
	bool cut = code == CURLE_WRITE_ERROR && t->answered > WEBHOOK_ANSWER_MAX;
	if (code != CURLE_OK && !cut) {
		result.status = 0; /* an answer that broke off is none */
		snprintf(result.error, sizeof result.error, "%s", *t->refused ? t->refused : *t->words ? t->words : curl_easy_strerror(code));
	} else if (result.status >= 300 && result.status < 400) {
		snprintf(result.error, sizeof result.error, "the receiver answered %ld: redirects are not followed", result.status);
	} else if (result.status < 200 || result.status >= 300) {
		snprintf(result.error, sizeof result.error, "the receiver answered %ld", result.status);
	}
	end(t, &result);
}

void webhook_poster_turn(struct webhook_poster *p, int64_t timeout_ms)
{
	int running = 0, left = 0;
	take_answers(p);
	curl_multi_perform(p->multi, &running);
	for (CURLMsg *message; (message = curl_multi_info_read(p->multi, &left));) {
		void *t = NULL;
		CURLcode code = message->data.result;
		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&t);
		finish(t, code);
		timeout_ms = 0;
	}
	end_late(p);
	curl_multi_poll(p->multi, NULL, 0, (int)timeout_ms, NULL);
	take_answers(p);
	curl_multi_perform(p->multi, &running);
}
