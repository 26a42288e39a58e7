/* alert_post.c - alerts as messages, and one message to one destination. */
#include "daemon/alert_post.h"

#include "base/clock.h"
#include "wire/digest.h"
#include "wire/json.h"

#include <curl/curl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define POST_MS 5000
#define RECIPIENTS_MAX 16
#define MESSAGE_MAX ((size_t)1 << 20)

const char *alert_severity_name(enum alert_severity severity)
{
	return severity == ALERT_PAGE ? "page" : "ticket";
}

static const char *state_name(enum alert_state state)
{
	return state == ALERT_FIRING ? "FIRING" : "RESOLVED";
}

void alert_link(const struct config *config, const char *runbook, char ret[320])
{
	const char *base = config ? config->alerts.runbook_url : "";
	size_t n = strlen(base);
	if (n == 0)
		snprintf(ret, 320, "docs/runbook/%s.md", runbook);
	else
		snprintf(ret, 320, "%s%s%s.md", base, base[n - 1] == '/' ? "" : "/", runbook);
}

/* ---- text ------------------------------------------------------------------------------------------------------------------------------- */

static void put_line(const struct config *config, const char *process, const struct alert *a, struct buf *out)
{
	char link[320];
	alert_link(config, a->runbook, link);
	buf_printf(out, "[%s] weir %s: %s (%s)", state_name(a->state), process, a->text, link);
}

static void put_lines(const struct config *config, const char *process, const struct alert *alerts, size_t n, const char *end, struct buf *out)
{
	if (n > 1)
		buf_printf(out, "%zu alerts%s", n, end);
	for (size_t i = 0; i < n && i < ALERTS_SHOWN; i++) {
		put_line(config, process, &alerts[i], out);
		buf_add_str(out, i + 1 < n ? end : "");
	}
	if (n > ALERTS_SHOWN)
		buf_printf(out, "and %zu more: see the log", n - ALERTS_SHOWN);
}

void alert_write_slack(const struct config *config, const char *process, const struct alert *alerts, size_t n, struct buf *out)
{
	struct buf plain = BUF_INIT(MESSAGE_MAX);
	put_lines(config, process, alerts, n, "\n", &plain);
	buf_add_str(out, "{\"text\":");
	json_add_string(out, buf_str(&plain), plain.size);
	buf_add_byte(out, '}');
	buf_free(&plain);
}

static void put_text(struct buf *out, const char *name, const char *value)
{
	buf_printf(out, ",\"%s\":", name);
	json_add_string(out, value, strlen(value));
}

void alert_write_json(const struct config *config, const char *process, const struct alert *alerts, size_t n, struct buf *out)
{
	char link[320];
	buf_add_str(out, "{\"version\":1");
	put_text(out, "process", process);
	buf_printf(out, ",\"count\":%zu,\"alerts\":[", n);
	for (size_t i = 0; i < n && i < ALERTS_SHOWN; i++) {
		alert_link(config, alerts[i].runbook, link);
		buf_printf(out, "%s{\"at_ms\":%" PRId64, i > 0 ? "," : "", alerts[i].at_ms);
		put_text(out, "state", alerts[i].state == ALERT_FIRING ? "firing" : "resolved");
		put_text(out, "severity", alert_severity_name(alerts[i].severity));
		put_text(out, "key", alerts[i].key);
		put_text(out, "text", alerts[i].text);
		put_text(out, "runbook", link);
		buf_add_byte(out, '}');
	}
	buf_add_str(out, "]}");
}

/* ---- e-mail ------------------------------------------------------------------------------------------------------------------------------- */

/* RFC 2047: base64 words of at most 42 bytes, so that nothing but ASCII stands in the head and no line is too long. Cut between characters. */
static void put_subject(const char *text, struct buf *out)
{
	size_t n = strlen(text), at = 0;
	while (at < n) {
		size_t size = n - at < 42 ? n - at : 42;
		while (size > 1 && at + size < n && ((uint8_t)text[at + size] & 0xc0) == 0x80)
			size--;
		buf_add_str(out, at == 0 ? "=?utf-8?B?" : "\r\n =?utf-8?B?");
		base64_write((struct bytes){ (const uint8_t *)text + at, size }, out);
		buf_add_str(out, "?=");
		at += size;
	}
	buf_add_str(out, "\r\n");
}

static void put_base64_lines(const struct buf *text, struct buf *out)
{
	for (size_t at = 0; at < text->size; at += 57) {
		base64_write((struct bytes){ text->data + at, text->size - at < 57 ? text->size - at : 57 }, out);
		buf_add_str(out, "\r\n");
	}
}

static void put_date(int64_t now_ms, struct buf *out)
{
	static const char *const days[] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
	static const char *const months[] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };
	time_t seconds = (time_t)(now_ms / 1000);
	struct tm tm;
	gmtime_r(&seconds, &tm);
	buf_printf(out, "Date: %s, %d %s %d %02d:%02d:%02d +0000\r\n", days[tm.tm_wday], tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
		   tm.tm_sec);
}

void alert_write_mail(const struct config *config, const char *process, const char *to, const struct alert *alerts, size_t n, int64_t now_ms, struct buf *out)
{
	struct buf text = BUF_INIT(MESSAGE_MAX);
	char subject[200], host[64] = "localhost";
	gethostname(host, sizeof host - 1);
	if (n == 1)
		snprintf(subject, sizeof subject, "[%s] weir %s: %.120s", state_name(alerts[0].state), process, alerts[0].text);
	else
		snprintf(subject, sizeof subject, "weir %s: %zu alerts", process, n);
	buf_printf(out, "From: %s\r\nTo: %s\r\nSubject: ", config->alerts.smtp_from, to);
	put_subject(subject, out);
	put_date(now_ms, out);
	buf_printf(out, "Message-ID: <%016" PRIx64 "%016" PRIx64 "@%s>\r\n", random_u64(), random_u64(), host);
	buf_add_str(out, "Auto-Submitted: auto-generated\r\nMIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n"
			 "Content-Transfer-Encoding: base64\r\n\r\n");
	put_lines(config, process, alerts, n, "\r\n", &text);
	buf_add_str(&text, "\r\n");
	put_base64_lines(&text, out);
	buf_free(&text);
}

/* ---- sending ---------------------------------------------------------------------------------------------------------------------------------- */

struct sending {
	const struct buf *body;
	size_t sent;
	int64_t (*stop_at_ms)(void *arg);
	void *arg;
};

static size_t drop_answer(char *data, size_t size, size_t count, void *arg)
{
	(void)data;
	(void)arg;
	return size * count;
}

static size_t give_mail(char *to, size_t size, size_t count, void *arg)
{
	struct sending *s = arg;
	size_t left = s->body->size - s->sent, n = left < size * count ? left : size * count;
	memcpy(to, s->body->data + s->sent, n);
	s->sent += n;
	return n;
}

static int on_progress(void *arg, curl_off_t down_total, curl_off_t down, curl_off_t up_total, curl_off_t up)
{
	const struct sending *s = arg;
	(void)down_total;
	(void)down;
	(void)up_total;
	(void)up;
	int64_t at = s->stop_at_ms ? s->stop_at_ms(s->arg) : 0;
	return at > 0 && clock_mono_ms() >= at;
}

static struct curl_slist *recipients(const char *to)
{
	struct curl_slist *list = NULL;
	char address[256];
	for (int i = 0; *to && i < RECIPIENTS_MAX; i++) {
		size_t n = strcspn(to, ",");
		while (*to == ' ')
			to++, n--;
		snprintf(address, sizeof address, "%.*s", (int)n, to);
		list = curl_slist_append(list, address);
		to += n;
		to += *to == ',';
	}
	return list;
}

static void set_mail(CURL *curl, const struct config *config, struct curl_slist *to, struct sending *s)
{
	curl_easy_setopt(curl, CURLOPT_URL, config->alerts.smtp_url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
	curl_easy_setopt(curl, CURLOPT_USE_SSL, strcmp(config->alerts.smtp_tls, "required") == 0 ? (long)CURLUSESSL_ALL : (long)CURLUSESSL_NONE);
	if (*config->alerts.smtp_username) {
		curl_easy_setopt(curl, CURLOPT_USERNAME, config->alerts.smtp_username);
		curl_easy_setopt(curl, CURLOPT_PASSWORD, config->alerts.smtp_password);
	}
	curl_easy_setopt(curl, CURLOPT_MAIL_FROM, config->alerts.smtp_from);
	curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, to);
	curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(curl, CURLOPT_READFUNCTION, give_mail);
	curl_easy_setopt(curl, CURLOPT_READDATA, s);
}

static void set_post(CURL *curl, const char *url, struct curl_slist *headers, const struct buf *body)
{
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body->size);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, buf_str(body));
	curl_easy_setopt(curl, CURLOPT_FAILONERROR, 1L);
}

int alert_post(const struct config *config, const char *process, const struct alert_destination_config *d, const struct alert *alerts, size_t n,
	       int64_t (*stop_at_ms)(void *arg), void *arg, struct error *err)
{
	bool mail = strcmp(d->kind, "email") == 0;
	struct buf body = BUF_INIT(MESSAGE_MAX);
	struct sending s = { .body = &body, .stop_at_ms = stop_at_ms, .arg = arg };
	char words[CURL_ERROR_SIZE] = "";
	CURL *curl = curl_easy_init();
	struct curl_slist *list = mail ? recipients(d->to) : curl_slist_append(NULL, "Content-Type: application/json");
	if (!curl) {
		curl_slist_free_all(list);
		return error_set(err, WEIR_FULL, "no memory for an alert");
	}
	if (mail)
		alert_write_mail(config, process, d->to, alerts, n, clock_wall_ms(), &body);
	else if (strcmp(d->kind, "slack") == 0)
		alert_write_slack(config, process, alerts, n, &body);
	else
		alert_write_json(config, process, alerts, n, &body);
	if (mail)
		set_mail(curl, config, list, &s);
	else
		set_post(curl, d->url, list, &body);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)POST_MS);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, drop_answer);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, words);
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &s);
	CURLcode code = curl_easy_perform(curl);
	curl_slist_free_all(list);
	curl_easy_cleanup(curl);
	buf_free(&body);
	return code == CURLE_OK ? 0 : error_set(err, WEIR_UNAVAILABLE, "%s", *words ? words : curl_easy_strerror(code));
}
