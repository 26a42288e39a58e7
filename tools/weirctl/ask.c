/* ask.c - one HTTP request to the gateway and its JSON answer. */
#include "weirctl.h"

#include <ctype.h>
#include <curl/curl.h>
#include <stdio.h>
#include <string.h>

#define ANSWER_MAX (64u << 20)
#define TIMEOUT_MS 30000L

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

/* What the gateway says in a problem (RFC 9457), as one line. */
static int problem(long status, const struct buf *answer, const char *url, struct error *err)
{
	yyjson_doc *doc = yyjson_read(buf_str(answer), answer->size, 0);
	yyjson_val *root = yyjson_doc_get_root(doc);
	const char *detail = yyjson_get_str(yyjson_obj_get(root, "detail")), *title = yyjson_get_str(yyjson_obj_get(root, "title"));
	int code = status == 401 || status == 403 ? WEIR_PERMISSION :
		   status == 404 || status == 410 ? WEIR_NOT_FOUND :
		   status == 429                  ? WEIR_RATE_LIMITED :
		   status >= 500                  ? WEIR_UNAVAILABLE :
						    WEIR_INVALID;
	error_set(err, code, "%s: status %ld: %s%s%s", url, status, title ? title : "no explanation", detail ? ": " : "", detail ? detail : "");
	yyjson_doc_free(doc);
	return code;
}

static struct curl_slist *headers_of(const struct settings *s, bool admin, bool body)
{
	struct curl_slist *headers = curl_slist_append(NULL, "Accept: application/json");
	if (body)
		headers = curl_slist_append(headers, "Content-Type: application/json");
	if (admin && s->key && *s->key) {
		char *line = xasprintf("Authorization: Bearer %s", s->key);
		headers = curl_slist_append(headers, line);
		free(line);
	}
	return headers;
}

yyjson_doc *ask(const struct settings *s, bool admin, const char *path, const char *body, struct error *err)
{
	char *url = xasprintf("%s%s", admin ? s->admin : s->api, path);
	struct buf answer = BUF_INIT(ANSWER_MAX);
	struct curl_slist *headers = headers_of(s, admin, body != NULL);
	yyjson_doc *doc = NULL;
	long status = 0;
	CURL *curl = curl_easy_init();
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, TIMEOUT_MS);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	if (body)
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
	CURLcode r = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	if (r != CURLE_OK)
		error_set(err, WEIR_UNAVAILABLE, "%s: %s; is the gateway running there? (--api, --admin)", url, curl_easy_strerror(r));
	else if (status < 200 || status > 299)
		problem(status, &answer, url, err);
	else if (!(doc = yyjson_read(buf_str(&answer), answer.size, 0)))
		error_set(err, WEIR_PROTOCOL, "%s: the answer is not JSON", url);
	curl_easy_cleanup(curl);
	curl_slist_free_all(headers);
	buf_free(&answer);
	xfree(&url);
	return doc;
}
