/* health.c - --health: asks the operations listener of the process that runs with these settings, for images without a shell or an HTTP client. */
#include "daemon/internal.h"

#include <arpa/inet.h>
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEALTH_MS 4000
#define ANSWER_MAX 4096u

/* Where a process that listens on this address is reached from its own machine; false: its port is any (0), which only its log tells. One that listens on
 * all addresses of IPv6 is asked by a name: there may be no loopback of IPv6, and it answers IPv4, too. */
static bool reach(const char *address, char ret[320])
{
	char host[256];
	struct in6_addr six;
	struct in_addr four;
	const char *port = ops_split(address, host);
	if (!port || strtol(port, NULL, 10) == 0)
		return false;
	if (inet_pton(AF_INET6, host, &six) == 1 && IN6_IS_ADDR_UNSPECIFIED(&six))
		snprintf(host, sizeof host, "localhost");
	else if (inet_pton(AF_INET, host, &four) == 1 && four.s_addr == htonl(INADDR_ANY))
		snprintf(host, sizeof host, "127.0.0.1");
	snprintf(ret, 320, strchr(host, ':') ? "http://[%s]:%s/healthz" : "http://%s:%s/healthz", host, port);
	return true;
}

static size_t take(char *data, size_t one, size_t n, void *arg)
{
	struct buf *answer = arg;
	buf_add(answer, data, one * n);
	return answer->overflow ? 0 : one * n;
}

/* The status, or 0: why stands in ret_why. */
static long ask(const char *url, struct buf *answer, char ret_why[CURL_ERROR_SIZE])
{
	long status = 0;
	CURL *curl = curl_easy_init();
	snprintf(ret_why, CURL_ERROR_SIZE, "there is no memory for it");
	if (!curl)
		return 0;
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http");
	curl_easy_setopt(curl, CURLOPT_PROXY, ""); /* whatever the environment says */
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)HEALTH_MS);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, ret_why);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
	CURLcode code = curl_easy_perform(curl);
	if (code == CURLE_OK)
		curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	else if (!*ret_why)
		snprintf(ret_why, CURL_ERROR_SIZE, "%s", curl_easy_strerror(code));
	curl_easy_cleanup(curl);
	return status;
}

int health_ask(const char *process, const char *address, struct buf *ret_said)
{
	char url[320], why[CURL_ERROR_SIZE], ours[64];
	if (!reach(address, url)) {
		buf_printf(ret_said, "weir-%s: ops.listen.%s is %s: give it a port of its own, else nobody knows where to ask\n", process, process, address);
		return 1;
	}
	struct buf answer = BUF_INIT(ANSWER_MAX);
	long status = ask(url, &answer, why);
	snprintf(ours, sizeof ours, "\"process\":\"%s\"", process);
	bool well = status == 200 && strstr(buf_str(&answer), ours);
	if (status == 0)
		buf_printf(ret_said, "weir-%s: %s: %s\n", process, url, why);
	else if (status == 200 && !well)
		buf_printf(ret_said, "weir-%s: %s is answered, but not by weir-%s\n", process, url, process);
	else
		buf_printf(ret_said, "weir-%s: %s answers %ld: %.*s\n", process, url, status, (int)strcspn(buf_str(&answer), "\r\n"), buf_str(&answer));
	buf_free(&answer);
	return well ? 0 : 1;
}
