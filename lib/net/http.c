/* http.c - libcurl's multi interface behind http.h. */
#include "net/http.h"

#include "base/clock.h"
#include "base/log.h"
#include "base/version.h"

#include <curl/curl.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define HTTP_IDLE_MAX 32
#define HTTP_BUFFER_KEEP (512u << 10) /* a larger answer's memory is given back */

struct transfer {
	struct transfer *next, *previous; /* of the busy ones; next alone in the idle list */
	CURL *easy;
	struct curl_slist *headers;
	char *url, *auth_header; /* what the handle and headers were made for */
	struct buf answer;
	char words[CURL_ERROR_SIZE];
	int64_t started_ns;
	http_done_fn *on_done;
	void *arg;
};

struct http {
	CURLM *multi;
	struct transfer *busy, *idle;
	size_t idle_count;
};

struct http *http_new(void)
{
	struct http *h = xmalloc(sizeof *h);
	h->multi = curl_multi_init();
	if (!h->multi) {
		free(h);
		return NULL;
	}
	curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, 64L);
	return h;
}

static void transfer_free(struct transfer *t)
{
	curl_easy_cleanup(t->easy);
	curl_slist_free_all(t->headers);
	free(t->url);
	free(t->auth_header);
	buf_free(&t->answer);
	free(t);
}

static void unlink_busy(struct http *h, struct transfer *t)
{
	if (t->previous)
		t->previous->next = t->next;
	else
		h->busy = t->next;
	if (t->next)
		t->next->previous = t->previous;
	t->next = t->previous = NULL;
}

void http_free(struct http **h)
{
	if (!*h)
		return;
	while ((*h)->busy) {
		struct transfer *t = (*h)->busy;
		unlink_busy(*h, t);
		curl_multi_remove_handle((*h)->multi, t->easy);
		struct http_result result = { .code = WEIR_CANCELED };
		error_set(&result.error, WEIR_CANCELED, "canceled");
		t->on_done(&result, t->arg);
		transfer_free(t);
	}
	while ((*h)->idle) {
		struct transfer *t = (*h)->idle;
		(*h)->idle = t->next;
		transfer_free(t);
	}
	curl_multi_cleanup((*h)->multi);
	xfree(h);
}

int http_check_url(const char *url, struct error *err)
{
	char safe[256];
	if (strncasecmp(url, "http://", 7) != 0 && strncasecmp(url, "https://", 8) != 0)
		return error_set(err, WEIR_CONFIG, "\"%s\": an address that begins with http:// or https:// is expected", log_url(url, safe));
	CURLU *parts = curl_url();
	bool good = parts && curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK;
	curl_url_cleanup(parts);
	return good ? 0 : error_set(err, WEIR_CONFIG, "\"%s\" is not a valid address", log_url(url, safe));
}

/* -- one transfer --------------------------------------------------------------------------------------------------------- */

static size_t on_bytes(char *data, size_t size, size_t count, void *arg)
{
	struct transfer *t = arg;
	buf_add(&t->answer, data, size * count);
	return t->answer.overflow ? 0 : size * count; /* 0 ends the transfer */
}

static struct transfer *transfer_new(const struct http_request *request)
{
	struct transfer *t = xmalloc(sizeof *t);
	t->easy = curl_easy_init();
	if (!t->easy) {
		free(t);
		return NULL;
	}
	t->url = xstrdup(request->url);
	t->auth_header = xstrdup(request->auth_header);
	t->headers = curl_slist_append(t->headers, "Content-Type: application/json");
	t->headers = curl_slist_append(t->headers, "Accept: application/json");
	t->headers = curl_slist_append(t->headers, "Expect:"); /* no waiting for "100 Continue" */
	if (t->auth_header && *t->auth_header) {
		char *line = xasprintf("Authorization: %s", t->auth_header);
		t->headers = curl_slist_append(t->headers, line);
		free(line);
	}
	CURL *e = t->easy;
	curl_easy_setopt(e, CURLOPT_URL, t->url);
	curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(e, CURLOPT_HTTPHEADER, t->headers);
	curl_easy_setopt(e, CURLOPT_USERAGENT, "weir/" WEIR_RELEASE);
	curl_easy_setopt(e, CURLOPT_ACCEPT_ENCODING, "gzip");
	curl_easy_setopt(e, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_2TLS);
	curl_easy_setopt(e, CURLOPT_BUFFERSIZE, 65536L);
	curl_easy_setopt(e, CURLOPT_TCP_KEEPALIVE, 1L);
	curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, on_bytes);
	curl_easy_setopt(e, CURLOPT_WRITEDATA, t);
	curl_easy_setopt(e, CURLOPT_ERRORBUFFER, t->words);
	curl_easy_setopt(e, CURLOPT_PRIVATE, t);
	return t;
}

static bool same_text(const char *a, const char *b)
{
	return strcmp(a ? a : "", b ? b : "") == 0;
}

static struct transfer *transfer_take(struct http *h, const struct http_request *request)
{
	for (struct transfer **p = &h->idle; *p; p = &(*p)->next) {
		struct transfer *t = *p;
		if (!same_text(t->url, request->url) || !same_text(t->auth_header, request->auth_header))
			continue;
		*p = t->next;
		h->idle_count--;
		t->next = NULL;
		return t;
	}
	return transfer_new(request);
}

static void transfer_give_back(struct http *h, struct transfer *t)
{
	if (h->idle_count >= HTTP_IDLE_MAX) {
		transfer_free(t);
		return;
	}
	if (t->answer.capacity > HTTP_BUFFER_KEEP)
		buf_free(&t->answer);
	t->previous = NULL;
	t->next = h->idle;
	h->idle = t;
	h->idle_count++;
}

int http_start(struct http *h, const struct http_request *request, http_done_fn *on_done, void *arg, struct error *err)
{
	struct transfer *t = transfer_take(h, request);
	if (!t)
		return error_set(err, WEIR_INTERNAL, "libcurl gives no handle");
	buf_reset(&t->answer);
	t->answer.max = request->max_answer;
	t->words[0] = 0;
	t->started_ns = clock_mono_ns();
	t->on_done = on_done;
	t->arg = arg;
	curl_easy_setopt(t->easy, CURLOPT_POSTFIELDS, (const char *)request->body.data);
	curl_easy_setopt(t->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body.size);
	curl_easy_setopt(t->easy, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
	curl_easy_setopt(t->easy, CURLOPT_CONNECTTIMEOUT_MS, (long)(request->timeout_ms < 5000 ? request->timeout_ms : 5000));
	CURLMcode r = curl_multi_add_handle(h->multi, t->easy);
	if (r != CURLM_OK) {
		transfer_free(t);
		return error_set(err, WEIR_INTERNAL, "libcurl: %s", curl_multi_strerror(r));
	}
	t->next = h->busy;
	if (h->busy)
		h->busy->previous = t;
	h->busy = t;
	return 0;
}

/* -- what came out -------------------------------------------------------------------------------------------------------- */

static const struct {
	long from, to;
	int code;
} statuses[] = {
	{ 200, 200, 0 },
	{ 401, 401, WEIR_PERMISSION },
	{ 403, 403, WEIR_PERMISSION },
	{ 408, 408, WEIR_TIMEOUT },
	{ 413, 413, WEIR_LIMIT },
	{ 429, 429, WEIR_RATE_LIMITED },
	{ 500, 599, WEIR_UNAVAILABLE },
};

static int status_code(long status)
{
	for (size_t i = 0; i < sizeof statuses / sizeof statuses[0]; i++)
		if (status >= statuses[i].from && status <= statuses[i].to)
			return statuses[i].code;
	return WEIR_PROTOCOL;
}

static int curl_code(CURLcode r)
{
	switch (r) {
	case CURLE_OPERATION_TIMEDOUT:
		return WEIR_TIMEOUT;
	case CURLE_WRITE_ERROR: /* our size cap; decided by the caller */
		return WEIR_LIMIT;
	case CURLE_PARTIAL_FILE:
	case CURLE_BAD_CONTENT_ENCODING:
	case CURLE_UNSUPPORTED_PROTOCOL:
	case CURLE_WEIRD_SERVER_REPLY:
	case CURLE_HTTP2:
	case CURLE_HTTP2_STREAM:
		return WEIR_PROTOCOL;
	default:
		return WEIR_UNAVAILABLE;
	}
}

static void read_result(struct transfer *t, CURLcode r, struct http_result *ret)
{
	memset(ret, 0, sizeof *ret);
	ret->seconds = (double)(clock_mono_ns() - t->started_ns) / 1e9;
	curl_easy_getinfo(t->easy, CURLINFO_RESPONSE_CODE, &ret->status);
	if (t->answer.overflow) {
		ret->code = error_set(&ret->error, WEIR_LIMIT, "an answer of more than %zu MiB was cut off", t->answer.max >> 20);
		return;
	}
	if (r != CURLE_OK) {
		ret->code = error_set(&ret->error, curl_code(r), "%s", t->words[0] ? t->words : curl_easy_strerror(r));
		return;
	}
	curl_off_t wait = 0;
	if (curl_easy_getinfo(t->easy, CURLINFO_RETRY_AFTER, &wait) == CURLE_OK && wait > 0)
		ret->retry_after_ms = wait > 86400 ? 86400000 : (int64_t)wait * 1000;
	ret->answer = (struct bytes){ t->answer.data, t->answer.size };
	ret->code = status_code(ret->status);
	if (ret->code != 0)
		error_set(&ret->error, ret->code, "HTTP status %ld", ret->status);
}

static size_t finish_ended(struct http *h)
{
	size_t ended = 0;
	int left;
	for (CURLMsg *message; (message = curl_multi_info_read(h->multi, &left));) {
		if (message->msg != CURLMSG_DONE)
			continue;
		struct transfer *t = NULL;
		CURLcode r = message->data.result;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&t);
		curl_multi_remove_handle(h->multi, t->easy);
		unlink_busy(h, t);
		struct http_result result;
		read_result(t, r, &result);
		t->on_done(&result, t->arg);
		transfer_give_back(h, t);
		ended++;
	}
	return ended;
}

size_t http_poll(struct http *h, int64_t timeout_ms, int wake_fd)
{
	int running;
	curl_multi_perform(h->multi, &running);
	size_t ended = finish_ended(h);
	if (ended > 0 || timeout_ms <= 0)
		return ended;
	struct curl_waitfd wake = { .fd = wake_fd, .events = CURL_WAIT_POLLIN };
	curl_multi_poll(h->multi, wake_fd >= 0 ? &wake : NULL, wake_fd >= 0 ? 1 : 0, timeout_ms > 60000 ? 60000 : (int)timeout_ms, NULL);
	curl_multi_perform(h->multi, &running);
	return finish_ended(h);
}
