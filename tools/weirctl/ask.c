/* ask.c - one HTTP request to the gateway and its JSON answer. */
#include "weirctl.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ANSWER_MAX (64u << 20)
#define TIMEOUT_MS 30000L
#define CONNECT_MS 10000L

static size_t on_data(char *data, size_t size, size_t count, void *arg)
{
	struct buf *answer = arg;
	buf_add(answer, data, size * count);
	return answer->overflow ? 0 : size * count;
}

void add_encoded(struct buf *out, const char *text)
{
	for (; *text; text++) {
		if (isalnum((unsigned char)*text) || strchr("-._~", *text))
			buf_add_byte(out, (uint8_t)*text);
		else
			buf_printf(out, "%%%02X", (unsigned char)*text);
	}
}

void add_query(struct buf *path, const char *name, const char *value)
{
	if (!value)
		return;
	buf_printf(path, "%c%s=", strchr(buf_str(path), '?') ? '&' : '?', name);
	add_encoded(path, value);
}

yyjson_mut_doc *new_body(void)
{
	yyjson_mut_doc *body = yyjson_mut_doc_new(NULL);
	yyjson_mut_doc_set_root(body, yyjson_mut_obj(body));
	return body;
}

void add_text(yyjson_mut_doc *body, const char *name, const char *value)
{
	if (value)
		yyjson_mut_obj_add_str(body, yyjson_mut_doc_get_root(body), name, value);
}

int read_height(const char *text, uint64_t *ret, struct error *err)
{
	errno = 0;
	char *end = NULL;
	if (isdigit((unsigned char)*text))
		*ret = strtoull(text, &end, 10);
	return end && !*end && errno == 0 ? 0 : error_set(err, WEIR_USAGE, "\"%s\" is not a height: give a whole number from 0", text);
}

int find_chain(struct settings *s, struct error *err)
{
	static char found[64];
	if (s->chain)
		return 0;
	yyjson_doc *doc = ask(s, false, "/v1/chains", NULL, err);
	if (!doc)
		return err->code;
	yyjson_val *items = yyjson_obj_get(yyjson_doc_get_root(doc), "items");
	size_t n = yyjson_arr_size(items), i, max;
	struct buf names = BUF_INIT(600);
	yyjson_val *item;
	yyjson_arr_foreach(items, i, max, item)
	{
		const char *name = yyjson_get_str(yyjson_obj_get(item, "name"));
		snprintf(found, sizeof found, "%s", name ? name : "");
		buf_printf(&names, "%s%s", i ? ", " : "", found);
	}
	s->chain = found;
	int r = n == 1 ? 0 : error_set(err, WEIR_USAGE, "%zu chains are served (%s): say which with --chain", n, buf_str(&names));
	buf_free(&names);
	yyjson_doc_free(doc);
	return r;
}

static int code_of(long status)
{
	static const struct {
		long status;
		int code;
	} rows[] = { { 401, WEIR_PERMISSION }, { 403, WEIR_PERMISSION }, { 404, WEIR_NOT_FOUND }, { 409, WEIR_CONFLICT },
		     { 410, WEIR_CONFLICT },   { 413, WEIR_LIMIT },      { 422, WEIR_CONFLICT },
		     { 429, WEIR_RATE_LIMITED } };
	for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
		if (rows[i].status == status)
			return rows[i].code;
	return status >= 500 ? WEIR_UNAVAILABLE : status >= 400 ? WEIR_INVALID : WEIR_PROTOCOL;
}

/* What the gateway says in a problem (RFC 9457), as one line. */
static void problem(long status, const struct buf *answer, const char *url, const char *option, struct error *err)
{
	yyjson_doc *doc = yyjson_read(buf_str(answer), answer->size, 0);
	yyjson_val *root = yyjson_doc_get_root(doc);
	const char *detail = yyjson_get_str(yyjson_obj_get(root, "detail")), *code = yyjson_get_str(yyjson_obj_get(root, "code"));
	if (code)
		error_set(err, code_of(status), "%s (%s, status %ld of %s)%s", detail ? detail : "no explanation", code, status, url,
			  status == 401 ? "; give the key with --key or WEIR_KEY" : "");
	else
		error_set(err, status >= 500 ? WEIR_UNAVAILABLE : WEIR_PROTOCOL,
			  "%s answers with status %ld and no problem document: that is not weir's gateway; correct %s", url, status, option);
	yyjson_doc_free(doc);
}

static struct curl_slist *headers_of(const struct settings *s, bool with_key, bool body)
{
	struct curl_slist *headers = curl_slist_append(NULL, "Accept: application/json");
	if (body)
		headers = curl_slist_append(headers, "Content-Type: application/json");
	if (body && s->idempotency_key) {
		char *line = xasprintf("Idempotency-Key: %s", s->idempotency_key);
		headers = curl_slist_append(headers, line);
		free(line);
	}
	if (with_key && *s->key) {
		char *line = xasprintf("Authorization: Bearer %s", s->key);
		headers = curl_slist_append(headers, line);
		free(line);
	}
	return headers;
}

static CURLcode perform(const struct settings *s, bool with_key, const char *url, yyjson_mut_doc *body, struct buf *answer, long *ret_status)
{
	static CURL *curl; /* kept: explain asks for every block, and all of it goes over one connection */
	struct curl_slist *headers = headers_of(s, with_key, body != NULL);
	char *text = body ? yyjson_mut_write(body, 0, NULL) : NULL;
	if (!curl)
		curl = curl_easy_init();
	curl_easy_reset(curl);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, TIMEOUT_MS);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	if (text)
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, text);
	CURLcode r = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, ret_status);
	curl_slist_free_all(headers);
	free(text);
	return r;
}

yyjson_doc *ask(const struct settings *s, bool admin, const char *path, yyjson_mut_doc *body, struct error *err)
{
	const char *base = admin ? s->admin : s->api, *option = admin ? "--admin or WEIR_ADMIN" : "--api or WEIR_API";
	size_t length = strlen(base);
	while (length > 0 && base[length - 1] == '/')
		length--;
	char *url = xasprintf("%.*s%s", (int)length, base, path);
	struct buf answer = BUF_INIT(ANSWER_MAX);
	yyjson_doc *doc = NULL;
	long status = 0;
	static bool clients_need_keys; /* gateway.anonymous is off; where it is on, the API would refuse an operators' key of the settings */
	CURLcode r = perform(s, admin || clients_need_keys, url, body, &answer, &status);
	if (!admin && !clients_need_keys && status == 401 && *s->key) {
		clients_need_keys = true;
		buf_reset(&answer);
		r = perform(s, true, url, body, &answer, &status);
	}
	if (answer.overflow)
		error_set(err, WEIR_LIMIT, "%s: the answer is larger than %u MiB; ask for less with --limit", url, ANSWER_MAX >> 20);
	else if (r == CURLE_OPERATION_TIMEDOUT)
		error_set(err, WEIR_TIMEOUT, "%s: no answer in time; is the gateway well? Its address is said with %s", url, option);
	else if (r == CURLE_URL_MALFORMAT || r == CURLE_UNSUPPORTED_PROTOCOL)
		error_set(err, WEIR_USAGE, "\"%s\" is not an http:// or https:// address; correct %s", base, option);
	else if (r != CURLE_OK)
		error_set(err, WEIR_UNAVAILABLE, "%s: %s; is the gateway running there? Its address is said with %s", url, curl_easy_strerror(r), option);
	else if (status < 200 || status > 299)
		problem(status, &answer, url, option, err);
	else if (!(doc = yyjson_read(buf_str(&answer), answer.size, 0)))
		error_set(err, WEIR_PROTOCOL, "%s answers something that is not JSON: that is not weir's gateway; correct %s", url, option);
	buf_free(&answer);
	xfree(&url);
	return doc;
}
